//! Packages that must be refused, in folders named by their flaw; each folder is a channel of its own, and
//! the flaw is the only thing wrong in it. What is sound about them is the builder's.

use tar::EntryType;

use super::Tree;
use crate::builder::archive::{self, TarMember};
use crate::builder::zip::{self, ZipMember};
use crate::builder::{Format, PackageSpec, Random, conda_members, package_of};

#[path = "fixtures_flawed_zip.rs"]
mod zips;

const INDEX: &str = "info/index.json";

/// What each flawed package would be without its flaw.
fn sound() -> PackageSpec {
    PackageSpec::new("flawed", "1.0", "h1_0")
}

/// The files of one folder, `flawed` or `flawed-checked`.
struct Flaws<'a> {
    tree: &'a mut Tree,
    root: &'static str,
}

impl Flaws<'_> {
    fn put(&mut self, flaw: &str, format: Format, bytes: Vec<u8>) {
        let path = format!(
            "{}/{flaw}/linux-64/{}",
            self.root,
            sound().file_name(format)
        );
        let earlier = self.tree.insert(path, bytes);
        assert!(earlier.is_none(), "two files for the flaw {flaw}");
    }

    /// The same flaw in both formats.
    fn put_both(&mut self, flaw: &str, bytes: impl Fn(Format) -> Vec<u8>) {
        for format in Format::BOTH {
            self.put(flaw, format, bytes(format));
        }
    }

    /// Members of `info/` that differ from the sound ones.
    fn put_info(&mut self, flaw: &str, info: &[TarMember]) {
        let spec = sound();
        self.put_both(flaw, |format| {
            package_of(format, &spec.stem(), info, &spec.payload_members())
        });
    }

    /// An index.json of any bytes.
    fn put_index(&mut self, flaw: &str, index: impl Into<Vec<u8>>) {
        let spec = sound().index_json(index);
        self.put_both(flaw, |format| spec.bytes(format));
    }

    /// A sound index.json with some of its text replaced.
    fn put_index_with(&mut self, flaw: &str, old: &str, new: &str) {
        let text = index_text();
        assert!(text.contains(old), "{flaw}: nothing to replace");
        self.put_index(flaw, text.replacen(old, new, 1));
    }

    /// A `.conda` whose ZIP members (metadata.json, payload, info) are edited.
    fn put_zip(&mut self, flaw: &str, edit: impl Fn(&mut Vec<ZipMember<'static>>)) {
        let spec = sound();
        let mut members =
            conda_members(&spec.stem(), &spec.info_members(), &spec.payload_members());
        edit(&mut members);
        self.put(flaw, Format::Conda, zip::zip_of(&members));
    }
}

fn index_text() -> String {
    String::from_utf8(sound().index_bytes()).unwrap()
}

/// Adds `flawed/`: refused by every run.
pub fn add(tree: &mut Tree) {
    let mut flaws = Flaws {
        tree,
        root: "flawed",
    };
    broken_files(&mut flaws);
    broken_tars(&mut flaws);
    broken_json(&mut flaws);
    broken_rules(&mut flaws);
    mismatches(&mut flaws);
    zips::add(&mut flaws);
}

fn broken_files(flaws: &mut Flaws<'_>) {
    flaws.put_both("empty", |_| Vec::new());
    flaws.put_both("text-file", |_| b"404 Not Found\n".to_vec());
    flaws.put_both("random-bytes", |_| Random::new(7).bytes(500, 8));
    for (flaw, format) in [
        ("truncated-tar-bz2", Format::TarBz2),
        ("truncated-conda", Format::Conda),
    ] {
        let whole = sound().bytes(format);
        flaws.put(flaw, format, whole[..whole.len() * 2 / 3].to_vec());
    }
    flaws.put("conda-named-tar-bz2", Format::TarBz2, sound().conda());
    flaws.put("tar-bz2-named-conda", Format::Conda, sound().tar_bz2());
    let mut flipped = sound().tar_bz2();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    flaws.put("flipped-bit-tar-bz2", Format::TarBz2, flipped);
}

fn broken_tars(flaws: &mut Flaws<'_>) {
    let others = sound().other_info_members();
    flaws.put_info("no-index-json", &others);
    let instead = [
        (
            "index-json-is-symlink",
            TarMember::symlink(INDEX, "about.json"),
        ),
        (
            "index-json-is-hard-link",
            TarMember::hard_link(INDEX, "info/about.json"),
        ),
        (
            "index-json-is-folder",
            TarMember::of_kind(INDEX, EntryType::Directory),
        ),
        (
            "index-json-is-device",
            TarMember::of_kind(INDEX, EntryType::Char),
        ),
        (
            "index-json-is-fifo",
            TarMember::of_kind(INDEX, EntryType::Fifo),
        ),
    ];
    for (flaw, member) in instead {
        // Behind the others, so that a hard link has something to lead to.
        flaws.put_info(flaw, &[others.clone(), vec![member]].concat());
    }
    let twice = [vec![sound().index_member()], sound().info_members()].concat();
    flaws.put_info("two-index-json", &twice);
    let mut dotted = sound().index_member();
    dotted.name = format!("./{INDEX}");
    flaws.put_info(
        "two-index-json-one-dotted",
        &[vec![dotted], sound().info_members()].concat(),
    );
    flaws.put_both("tar-header-checksum", |format| {
        let mut tar = archive::tar_of_members(&sound().info_members());
        tar[0] = b'j';
        match format {
            Format::TarBz2 => archive::bz2(&tar, 9),
            Format::Conda => {
                let mut members = conda_members(&sound().stem(), &[], &[]);
                members[2] = ZipMember::stored(members[2].name.clone(), archive::zstd(&tar, 19));
                zip::zip_of(&members)
            }
        }
    });
}

fn broken_json(flaws: &mut Flaws<'_>) {
    let text = index_text();
    flaws.put_index("index-json-empty", "");
    flaws.put_index("index-json-not-json", "name: flawed\nversion: 1.0\n");
    flaws.put_index("index-json-array", format!("[{text}]"));
    flaws.put_index("index-json-null", "null");
    flaws.put_index("index-json-cut-off", text.trim_end().trim_end_matches('}'));
    flaws.put_index("index-json-trailing-junk", format!("{text}{text}"));
    flaws.put_index("index-json-bom", format!("\u{feff}{text}"));
    flaws.put_index(
        "index-json-utf16",
        text.encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect::<Vec<_>>(),
    );
    let latin1 = text.replacen("BSD", "Gr\u{1}n", 1).into_bytes();
    let latin1: Vec<_> = latin1
        .into_iter()
        .map(|byte| if byte == 1 { 0xfc } else { byte })
        .collect();
    flaws.put_index("index-json-not-utf8", latin1);
    flaws.put_index_with(
        "index-json-nan",
        "\"build_number\": 0",
        "\"build_number\": NaN",
    );
    flaws.put_index_with(
        "index-json-infinity",
        "\"build_number\": 0",
        "\"build_number\": -Infinity",
    );
    flaws.put_index_with(
        "index-json-lone-surrogate",
        "\"BSD-3-Clause\"",
        "\"\\ud800\"",
    );
    let deep = format!(
        "\"deep\": {}{},\n  \"depends\"",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    flaws.put_index_with("index-json-deep", "\"depends\"", &deep);
    flaws.put_index_with(
        "duplicate-keys",
        "\"license\"",
        "\"name\": \"flawed\",\n  \"license\"",
    );
    let nested = "\"unknown\": {\"a\": 1, \"a\": 2},\n  \"license\"";
    flaws.put_index_with("duplicate-keys-nested", "\"license\"", nested);
}

fn broken_rules(flaws: &mut Flaws<'_>) {
    let fields = [
        ("name", "\"flawed\""),
        ("version", "\"1.0\""),
        ("build", "\"h1_0\""),
    ];
    for (field, value) in fields {
        let old = format!("\"{field}\": {value}");
        let values = [
            ("not-a-string", "1"),
            ("null", "null"),
            ("empty", "\"\""),
            ("with-slash", "\"h1/0\""),
            ("with-control", "\"h1\\u0007\""),
            ("with-newline", "\"h1\\n0\""),
            ("with-bidi", "\"h1\u{202e}0\""),
        ];
        for (flaw, new) in values {
            let flaw = format!("{field}-{flaw}");
            flaws.put_index_with(&flaw, &old, &format!("\"{field}\": {new}"));
        }
        let missing = sound().without(field);
        flaws.put_both(&format!("{field}-missing"), |format| missing.bytes(format));
    }
}

/// Sound packages that are not what their place says; `--allow-mismatch` lists them.
fn mismatches(flaws: &mut Flaws<'_>) {
    flaws.put_index_with("name-mismatch", "\"flawed\"", "\"other\"");
    flaws.put_index_with("version-mismatch", "\"1.0\"", "\"1.1\"");
    flaws.put_index_with("build-mismatch", "\"h1_0\"", "\"h2_0\"");
    flaws.put_index_with("subdir-mismatch", "\"linux-64\"", "\"osx-64\"");
}

/// Adds `flawed-checked/`: refused with `--check-archives`, where all of an archive is decoded.
pub fn add_checked(tree: &mut Tree) {
    let mut flaws = Flaws {
        tree,
        root: "flawed-checked",
    };
    flaws.put(
        "bytes-behind-the-end",
        Format::TarBz2,
        [sound().tar_bz2(), b"junk".to_vec()].concat(),
    );
    let payloads = [
        (
            "path-leaves-folder",
            TarMember::file("../outside.txt", "x\n"),
        ),
        (
            "path-leaves-folder-inside",
            TarMember::file("lib/../../outside.txt", "x\n"),
        ),
        (
            "path-absolute",
            TarMember::file("/tmp/sigindex-outside.txt", "x\n"),
        ),
        ("second-index-json-at-the-end", sound().index_member()),
        ("duplicate-member", sound().payload_members().remove(0)),
    ];
    for (flaw, member) in payloads {
        let payload = [sound().payload_members(), vec![member]].concat();
        flaws.put_both(flaw, |format| {
            package_of(format, &sound().stem(), &sound().info_members(), &payload)
        });
    }
    flaws.put_zip("conda-payload-wrong-crc", |all| all[1].crc ^= 1);
    flaws.put_zip("conda-payload-not-zstd", |all| {
        all[1] = ZipMember::stored(all[1].name.clone(), b"no zstd".as_slice());
    });
}
