//! The whole of the committed fixtures but the keys, as a map from path to bytes: what each file is for
//! is said here by its name. Making them is the builder's work; it must not use the library. Whoever
//! takes it in has `builder` at the root of his crate.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;

use crate::builder::{Format, PackageSpec, archive, zip};

#[path = "fixtures_flawed.rs"]
pub mod flawed;

/// Paths below `fixtures/`, with `/`, and what each file holds.
pub type Tree = BTreeMap<String, Vec<u8>>;

/// The folders of `fixtures/` that the code here makes.
pub const FOLDERS: [&str; 4] = ["channel", "flawed", "flawed-checked", "odd"];

/// Everything.
pub fn tree() -> Tree {
    let mut tree = Tree::new();
    channel(&mut tree);
    odd(&mut tree);
    flawed::add(&mut tree);
    flawed::add_checked(&mut tree);
    tree
}

/// Writes files below `root`, in new folders where need be.
pub fn write(tree: &Tree, root: &Path) {
    for (path, bytes) in tree {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
    }
}

fn add(tree: &mut Tree, channel: &str, spec: &PackageSpec, format: Format) {
    let path = format!("{channel}/{}", spec.path_in_channel(format));
    let earlier = tree.insert(path, spec.bytes(format));
    assert!(earlier.is_none(), "two fixtures of one path in {channel}");
}

/// A small channel that has a little of what real ones have.
fn channel(tree: &mut Tree) {
    for format in Format::BOTH {
        add(tree, "channel", &zlib("linux-64", "h7f98852_2"), format);
    }
    let packages = [
        (zlib("osx-arm64", "hb7217d7_2"), Format::Conda),
        (hello("linux-64", "h5eee18b_0"), Format::Conda),
        (hello("osx-arm64", "h80987f9_0"), Format::TarBz2),
        (greetings(), Format::Conda),
        (numbers(), Format::TarBz2),
        (legacy(), Format::TarBz2),
        (meta(), Format::Conda),
    ];
    for (spec, format) in packages {
        add(tree, "channel", &spec, format);
    }
}

fn zlib(subdir: &str, build: &str) -> PackageSpec {
    PackageSpec::new("tinyz", "1.3.1", build)
        .subdir(subdir)
        .build_number(2)
        .extra("license", json!("Zlib"))
        .run_exports(json!({"weak": ["tinyz >=1.3.1,<2.0a0"]}))
}

fn hello(subdir: &str, build: &str) -> PackageSpec {
    PackageSpec::new("hello", "2.12", build)
        .subdir(subdir)
        .depends(["tinyz >=1.3.1,<2.0a0"])
        .extra("constrains", json!(["greetings >=1.0"]))
}

/// Text beyond ASCII, as it is and as escapes, with an astral character and DEL.
fn greetings() -> PackageSpec {
    let summary = "Grüße, 你好, 🎉\u{7f}";
    PackageSpec::new("greetings", "1.0", "pyh0_0")
        .subdir("noarch")
        .depends(["hello >=2.12,<3", "python >=3.9"])
        .extra("noarch", json!("python"))
        .extra("summary", json!(summary))
        .extra_text("summary_escaped", r#""Gr\u00fc\u00dfe, \ud83c\udf89""#)
        .about(json!({"license": "MIT", "summary": summary, "home": "https://example.org/grüße"}))
}

/// Keys that nobody knows, and numbers that are hard to keep.
fn numbers() -> PackageSpec {
    PackageSpec::new("numbers", "0.1.0", "0")
        .subdir("noarch")
        .extra("an_unknown_key", json!({"z": [1, null, true], "a": {}}))
        .extra_text("a_float", "1.50")
        .extra_text("an_exponent", "1e3")
        .extra_text("a_small_float", "1e-7")
        .extra_text("a_big_integer", "123456789012345678901234567890")
        .extra_text("a_negative_zero", "-0.0")
}

/// As packages were before 2015: platform and arch, but no subdir.
fn legacy() -> PackageSpec {
    PackageSpec::new("oldtimer", "0.9", "0")
        .without("subdir")
        .without("timestamp")
        .without("license")
        .extra("requires", json!([]))
}

/// A package without a payload of its own, as a bundle of others.
fn meta() -> PackageSpec {
    PackageSpec::new("all-greetings", "2024.1", "0")
        .subdir("noarch")
        .depends(["greetings", "hello", "numbers 0.1.*"])
        .extra("track_features", json!("festive"))
        .payload("")
}

/// Unusual packages that are valid: each folder is a channel whose packages are all listed.
fn odd(tree: &mut Tree) {
    let spec = PackageSpec::new("odd", "1.0", "0");
    let specs = [
        ("dot-slash-members", spec.clone().prefix_dot_slash(true)),
        (
            "index-json-one-line",
            spec.clone().index_json(one_line(&spec)),
        ),
        ("no-depends", spec.clone().without("depends")),
        (
            "null-values",
            spec.clone()
                .extra("license", json!(null))
                .extra("timestamp", json!(null)),
        ),
        (
            "timestamp-future",
            spec.clone().extra_text("timestamp", "99999999999999"),
        ),
        (
            "timestamp-huge",
            spec.clone()
                .extra_text("timestamp", "123456789012345678901234567890"),
        ),
        (
            "timestamp-negative",
            spec.clone().extra("timestamp", json!(-1)),
        ),
        ("size-and-hashes-that-lie", lies(&spec)),
        ("empty-payload", spec.clone().payload("")),
    ];
    for (folder, spec) in specs {
        for format in Format::BOTH {
            add(tree, &format!("odd/{folder}"), &spec, format);
        }
    }
    add(
        tree,
        "odd/info-last",
        &spec.clone().info_last(true),
        Format::TarBz2,
    );
    add(
        tree,
        "odd/conda-info-first",
        &spec.clone().conda_info_first(true),
        Format::Conda,
    );
    odd_archives(tree, &spec);
}

fn one_line(spec: &PackageSpec) -> Vec<u8> {
    let lines = String::from_utf8(spec.index_bytes()).unwrap();
    lines
        .lines()
        .map(str::trim)
        .collect::<String>()
        .into_bytes()
}

/// Keys that an index sets from the file, whatever the package says.
fn lies(spec: &PackageSpec) -> PackageSpec {
    spec.clone()
        .extra("size", json!(1))
        .extra("md5", json!("0"))
        .extra("sha256", json!("0"))
        .extra("sig", json!("elsewhere"))
        .extra("indexed_timestamp", json!(1))
}

fn odd_archives(tree: &mut Tree, spec: &PackageSpec) {
    let stem = spec.stem();
    let mut put = |folder: &str, format: Format, bytes: Vec<u8>| {
        tree.insert(
            format!("odd/{folder}/linux-64/{stem}{}", format.extension()),
            bytes,
        );
    };
    let (info, payload) = (spec.info_members(), spec.payload_members());
    let tar = archive::tar_of_members(&[info.clone(), payload.clone()].concat());
    let (head, tail) = tar.split_at(700);
    put(
        "two-bz2-streams",
        Format::TarBz2,
        [archive::bz2(head, 1), archive::bz2(tail, 9)].concat(),
    );

    let long_name = format!("info/recipe/{}/meta.yaml", "long".repeat(30));
    let long = [
        vec![archive::TarMember::file(long_name, "x\n")],
        info.clone(),
    ]
    .concat();
    put(
        "gnu-long-name",
        Format::TarBz2,
        crate::builder::package_of(Format::TarBz2, &stem, &long, &payload),
    );

    let edited = |edit: &dyn Fn(&mut Vec<zip::ZipMember<'static>>)| {
        let mut members = crate::builder::conda_members(&stem, &info, &payload);
        edit(&mut members);
        zip::zip_of(&members)
    };
    put(
        "conda-zip64",
        Format::Conda,
        edited(&|all| all.iter_mut().for_each(|one| one.zip64 = true)),
    );
    put(
        "conda-data-descriptor",
        Format::Conda,
        edited(&|all| all.iter_mut().for_each(|one| one.descriptor = true)),
    );
    put(
        "conda-without-metadata-json",
        Format::Conda,
        edited(&|all| drop(all.remove(0))),
    );
    let renamed = |all: &mut Vec<zip::ZipMember<'static>>| {
        for member in all.iter_mut().skip(1) {
            member.name = member.name.replace("odd-1.0-0", "even-2.0-0");
        }
    };
    put(
        "conda-members-of-another-stem",
        Format::Conda,
        edited(&renamed),
    );
    let two_frames = |all: &mut Vec<zip::ZipMember<'static>>| {
        let info = archive::tar_of_members(&info);
        let (head, tail) = info.split_at(700);
        let frames = [archive::zstd(head, 3), archive::zstd(tail, 19)].concat();
        all[2] = zip::ZipMember::stored(all[2].name.clone(), frames);
    };
    put("conda-two-zstd-frames", Format::Conda, edited(&two_frames));
}
