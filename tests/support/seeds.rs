//! The inputs that fuzzing begins with, each named for what it is: packages by the builder, and texts. Whoever takes it
//! in has `builder` and `fixtures` at the root of his crate. Must not know what the targets do, but for the forms
//! that their files in `tests/fuzz/readers/` describe.

use std::collections::BTreeMap;

use base64ct::{Base64, Encoding as _};

use crate::builder::{PackageSpec, archive};
use crate::fixtures;

/// Inputs by `TARGET/NAME`.
pub type Inputs = BTreeMap<String, Vec<u8>>;

const INDEX: &str = r#"{"name":"flawed","version":"1.0","build":"h1_0","build_number":0,"depends":["a >=1,<2.0a0","python"],"license":"MIT","subdir":"linux-64","timestamp":1700000000000}"#;
const ABOUT: &str = r#"{"description":"a\nb","home":"https://example.org","license":null,"summary":["a","b"],"tags":["x"]}"#;
const EXPORTS: &str = r#"{"weak":["a >=1"],"strong":[]}"#;
const RECIPE: &str =
    "package:\n  name: a\nsource:\n  - url: https://example.org/a.tar.gz\n  - {git_url: b}\n";
const PATHS: &str = r#"{"paths":[{"_path":"etc/conda/activate.d/a.sh","prefix_placeholder":"/x","file_mode":"text"},{"_path":"bin/.a-post-link.sh"}],"paths_version":1}"#;
const PATCHES: &str = r#"{"patch_instructions_version":2,"packages":{"x-1-0.tar.bz2":{"depends":["c"],"license":null,"name":"","md5":"no","run_exports":{"weak":null,"strong":["s"]}}},"packages.conda":{"x-1-0.conda":{"constrains":["d"],"version":"2"}},"revoke":["y-2-0.conda"],"remove":["z-1-0.tar.bz2","gone-1-0.conda"],"zlib":{}}"#;

/// All that is made for fuzzing alone.
pub fn inputs() -> Inputs {
    let mut inputs = Inputs::new();
    tars(&mut inputs);
    zips(&mut inputs);
    index_json(&mut inputs);
    keys(&mut inputs);
    repodata(&mut inputs);
    patches(&mut inputs);
    cache(&mut inputs);
    texts(&mut inputs);
    inputs
}

fn add(inputs: &mut Inputs, target: &str, name: &str, form: u8, bytes: impl AsRef<[u8]>) {
    add_plain(inputs, target, name, [&[form], bytes.as_ref()].concat());
}

fn add_plain(inputs: &mut Inputs, target: &str, name: &str, bytes: impl Into<Vec<u8>>) {
    let twice = inputs.insert(format!("{target}/{name}"), bytes.into());
    assert!(twice.is_none(), "two seeds {target}/{name}");
}

/// The fixtures as they stand, each under the folder that says what is odd about it.
pub fn of_fixtures() -> Inputs {
    let mut inputs = Inputs::new();
    for (path, bytes) in fixtures::tree() {
        let target = match path.ends_with(".conda") {
            true => "conda",
            false => "tar_bz2",
        };
        let parts: Vec<_> = path.split('/').collect();
        let name = match parts[0] {
            "channel" => [parts[1], parts[2]].join("-"),
            _ => parts[1].to_owned(),
        };
        let name = format!("{}-{name}", parts[0]);
        add(&mut inputs, target, &name, 0, bytes);
    }
    inputs
}

/// A member as the readers' `inner` has it described: its kind by its place there, and its name.
fn member(kind: u8, name: &str, body: &str) -> Vec<u8> {
    let count = u8::try_from(name.len()).unwrap();
    let size = u16::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind | 32, count], name.as_bytes(), &size, body.as_bytes()].concat()
}

fn described(members: &[Vec<u8>]) -> Vec<u8> {
    [vec![0], members.concat()].concat()
}

fn index() -> Vec<u8> {
    member(0, "info/index.json", INDEX)
}

/// Tars of described members, by what is odd about them.
fn odd_tars() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let payload = member(0, "lib/a.txt", "a");
    let long = format!("lib/{}", "x".repeat(120));
    let documents = [
        index(),
        member(0, "info/about.json", ABOUT),
        member(0, "info/run_exports.json", EXPORTS),
        member(0, "info/paths.json", PATHS),
        member(0, "info/recipe/meta.yaml", RECIPE),
    ];
    vec![
        ("index-alone", vec![index()]),
        (
            "documents",
            [documents.to_vec(), vec![payload.clone()]].concat(),
        ),
        ("payload-first", vec![payload.clone(), index()]),
        (
            "dotted",
            vec![member(0, "./info/index.json", INDEX), payload.clone()],
        ),
        (
            "folders",
            vec![member(5, "info/", ""), index(), member(5, "lib/", "")],
        ),
        (
            "links",
            vec![index(), member(2, "lib/b", ""), member(3, "lib/c", "")],
        ),
        (
            "long-names",
            vec![index(), member(8, "././@LongLink", &long), payload.clone()],
        ),
        ("long-links", vec![member(9, "././@LongLink", "b"), index()]),
        (
            "pax",
            vec![
                member(10, "pax", "path=info/index.json\nmtime=1"),
                member(0, "x", INDEX),
            ],
        ),
        (
            "pax-size",
            vec![
                member(10, "pax", "size=2"),
                member(0, "info/index.json", "{}"),
            ],
        ),
        (
            "pax-global",
            vec![member(11, "pax", "comment=a"), index(), payload.clone()],
        ),
        ("sparse", vec![index(), member(13, "lib/b", "a")]),
        ("two-indexes", vec![index(), index()]),
        (
            "outside",
            vec![
                index(),
                member(0, "../outside", "a"),
                member(0, "/tmp/a", "b"),
            ],
        ),
        ("twice", vec![index(), payload.clone(), payload]),
    ]
}

fn tars(inputs: &mut Inputs) {
    for (name, members) in odd_tars() {
        let tar = described(&members);
        add(inputs, "tar_bz2", &format!("members-{name}"), 4, &tar);
        add(inputs, "conda", &format!("members-{name}"), 1, &tar);
    }
    let behind = [vec![3], b"BZh".to_vec(), described(&[index()])].concat();
    add(inputs, "tar_bz2", "members-bytes-behind", 5, behind);
    let spec = PackageSpec::new("flawed", "1.0", "h1_0");
    let members = [spec.info_members(), spec.payload_members()].concat();
    let tar = archive::tar_of_members(&members);
    add(inputs, "tar_bz2", "tar", 1, &tar);
    add(inputs, "tar_bz2", "tar-mended", 2, &tar);
    add(
        inputs,
        "tar_bz2",
        "tar-two-streams",
        3,
        [&[4, 0], &tar[..]].concat(),
    );
}

/// A zip's member as the target `conda` has it described.
fn zipped(name: u8, form: u8, lies: &[u8], content: &[u8]) -> Vec<u8> {
    let size = u16::try_from(content.len()).unwrap().to_be_bytes();
    let (first, rest) = lies.split_first().unwrap();
    [&[name | form << 3, *first], &size[..], content, rest].concat()
}

fn zips(inputs: &mut Inputs) {
    let info = described(&[index(), member(0, "info/about.json", ABOUT)]);
    let pkg = described(&[member(0, "lib/a.txt", "a")]);
    let zip = |form: u8, lies: &[u8]| {
        let members = [
            zipped(0, 6, &[0], b""),
            zipped(2, 3, &[0], &pkg),
            zipped(1, form, lies, &info),
        ];
        members.concat()
    };
    for (name, form, lies) in [
        ("sound", 3, &[0][..]),
        ("zip64", 3, &[1]),
        ("descriptor", 3, &[2]),
        ("zip64-and-descriptor", 3, &[3]),
        ("flags", 3, &[4, 0, 1]),
        ("method", 3, &[8, 8]),
        ("crc", 3, &[16, 1]),
        ("local-size", 3, &[32, 0, 9]),
        ("central-name", 3, &[64, 3]),
        ("overlapping", 3, &[128, 0, 0, 0]),
        ("size", 3, &[128, 1]),
        ("two-frames", 5, &[0]),
        ("not-packed", 0, &[0]),
    ] {
        add(inputs, "conda", &format!("zip-{name}"), 2, zip(form, lies));
    }
    // The window's exponent leads the content.
    for (name, exponent) in [("window", 10), ("large-window", 20)] {
        let info = [vec![exponent], info.clone()].concat();
        let members = [zipped(2, 3, &[0], &pkg), zipped(1, 4, &[0], &info)].concat();
        add(inputs, "conda", &format!("zip-{name}"), 2, members);
    }
    let changes = [&[3, 0, 1, b'x'], &zip(3, &[0])[..]].concat();
    add(inputs, "conda", "zip-changed", 3, changes);
    let untouched = [&[0], &zip(3, &[3])[..]].concat();
    add(inputs, "conda", "zip-unchanged", 3, untouched);
}

fn index_json(inputs: &mut Inputs) {
    let target = "index_json";
    let spec = PackageSpec::new("a", "1.0", "py_0");
    add_plain(inputs, target, "usual", spec.index_bytes());
    for (name, text) in [
        ("compact", INDEX),
        ("least", r#"{"name":"a","version":"1","build":"0"}"#),
        (
            "numbers",
            r#"{"name":"a","version":"1","build":"0","x":[1.50,1e3,-0.0,1e-7,123456789012345678901234567890,-1,1E400]}"#,
        ),
        (
            "dropped",
            r#"{"name":"a","version":"1","build":"0","arch":"x","sig":".","signature":{},"md5":"x","size":-1,"attestations_sha256":null}"#,
        ),
        (
            "escapes",
            r#"{"name":"\u00fc","version":"1!2+3","build":"0","x":"\ud83c\udf89\\\"\n\u007f/","":{"a":[{}]}}"#,
        ),
        (
            "third-revision",
            r#"{"name":"a","version":"1","build":"0","depends":["b[when=\"c\"]","d 1.*"],"extra_depends":{"x":["y"]},"flags":["f:1"],"schema_version":3}"#,
        ),
        ("bom", "\u{feff}{}"),
        ("nan", r#"{"name":NaN}"#),
        ("surrogate", r#"{"name":"\ud800"}"#),
        ("twice", r#"{"name":"a","name":"a"}"#),
        (
            "bidi",
            "{\"name\":\"a\u{202e}\",\"version\":\"1\",\"build\":\"0\"}",
        ),
        ("array", "[{}]"),
    ] {
        add_plain(inputs, target, name, text);
    }
    add_plain(
        inputs,
        target,
        "deep",
        ["[".repeat(70), "]".repeat(70)].concat(),
    );
}

fn keys(inputs: &mut Inputs) {
    for (name, text) in [
        ("short", "fixture AAEC\n"),
        ("crlf", "MyKey AAEC\r\n"),
        ("no-line-end", "MyKey AA=="),
        ("three-words", "MyKey AAEC AAEC\n"),
        ("path", "../keys/x AAEC\n"),
        ("pub", "MyKey.pub AAEC\n"),
        ("not-canonical", "MyKey AAF=\n"),
        ("empty", ""),
    ] {
        add_plain(inputs, "sig", name, text);
    }
    let public = include_str!("../../fixtures/keys/fixture.pub");
    let private = include_str!("../../fixtures/keys/fixture");
    for (name, form, text) in [
        ("public", 0, public.to_owned()),
        ("public-crlf", 0, public.replace('\n', "\r\n")),
        ("public-as-pkcs1", 0, public.replace("PUBLIC", "RSA PUBLIC")),
        ("public-twice", 0, public.repeat(2)),
        ("private", 1, private.to_owned()),
        (
            "private-as-pkcs8",
            1,
            private.replace("RSA PRIVATE", "PRIVATE"),
        ),
        ("openssh", 1, private.replace("RSA", "OPENSSH")),
        (
            "old-encryption",
            1,
            private.replace(
                "KEY-----\nM",
                "KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: A,0\n\nM",
            ),
        ),
    ] {
        add(inputs, "pem", name, form, text);
    }
    add(inputs, "pem", "public-der", 2, der(public));
    add(inputs, "pem", "private-der", 3, der(private));
}

/// What a PEM block holds.
fn der(pem: &str) -> Vec<u8> {
    pkcs8::der::pem::decode_vec(pem.as_bytes()).unwrap().1
}

fn repodata(inputs: &mut Inputs) {
    let sha256 = "ab".repeat(32);
    let record = format!(
        r#"{{"build":"0","depends":["b"],"indexed_timestamp":5,"md5":"{}","name":"a","run_exports":{{"weak":["a"]}},"sha256":"{sha256}","signatures":{{"k":1}},"x":[1.5,-1,null]}}"#,
        "cd".repeat(16)
    );
    let info = format!(
        r#"{{"base_url":"","created_at":"2025-11-22T07:03:20Z","generator":"sigindex","shards_base_url":"./shards/","signing_keys":{{"{sha256}":{{"bits":2048,"name":"MyKey"}}}},"subdir":"noarch"}}"#
    );
    let index = format!(
        r#"{{"info":{info},"packages":{{"a-1-0.tar.bz2":{record}}},"packages.conda":{{"a-1-0.conda":{record}}},"removed":["b-1-0.conda"],"repodata_version":1,"signatures":{{"a-1-0.conda":{{}}}},"v3":{{"conda":{{"c-1-0":{record}}}}}}}"#
    );
    let other = index.replace("abab", "acac").replace("5,", "6,");
    let foreign = other.replace("sigindex", "conda-index");
    let both = |second: &str| [index.as_bytes(), &[0xff], second.as_bytes()].concat();
    let shard = format!(
        r#"{{"packages":{{"a-1-0.tar.bz2":{record}}},"packages.conda":{{"a-1-0.conda":{record}}},"removed":["b-1-0.conda"],"v3":{{"conda":{{"c-1-0":{record}}}}}}}"#
    );
    let shards = format!(r#"{{"info":{info},"shards":{{}},"version":1}}"#);
    let exports = r#"{"info":{"subdir":"noarch","version":1},"packages":{"a-1-0.tar.bz2":{"run_exports":{}}},"packages.conda":{"b-1-0.conda":{"run_exports":{"weak":["b"]}},"odd":7}}"#;
    let page = "<!DOCTYPE html>\n<html><head><meta name=\"generator\" content=\"sigindex\">";
    // A map of one shard: its SHA-256 stands as bytes, which JSON has none of.
    let packed = |value: &rmpv::Value| {
        let mut plain = Vec::new();
        rmpv::encode::write_value(&mut plain, value).unwrap();
        plain
    };
    let text = |text: &str| rmpv::Value::from(text);
    let digest = rmpv::Value::Binary(vec![7; 32]);
    let index_of_one = packed(&rmpv::Value::Map(vec![
        (text("info"), serde_json::from_str(&info).unwrap()),
        (text("shards"), rmpv::Value::Map(vec![(text("a"), digest)])),
        (text("version"), rmpv::Value::from(1)),
    ]));
    let shard_bytes = packed(&serde_json::from_str(&shard).unwrap());
    for (name, form, bytes) in [
        ("index", 0, index.clone().into_bytes()),
        ("index-least", 0, b"{}".to_vec()),
        ("two-that-differ", 1, both(&other)),
        ("two-of-other-tools", 1, both(&foreign)),
        ("zst", 2, archive::zstd(index.as_bytes(), 3)),
        ("shard-packed", 3, archive::zstd(&shard_bytes, 3)),
        ("shard-index-packed", 4, archive::zstd(&index_of_one, 3)),
        ("shard", 5, shard_bytes),
        ("shard-index", 6, index_of_one),
        ("shard-as-json", 7, shard.into_bytes()),
        ("shard-index-as-json", 8, shards.into_bytes()),
        ("run-exports", 9, exports.as_bytes().to_vec()),
        ("page", 10, page.as_bytes().to_vec()),
        ("bz2", 11, index.clone().into_bytes()),
        ("zst-of-text", 12, index.into_bytes()),
    ] {
        add(inputs, "repodata", name, form, bytes);
    }
}

fn patches(inputs: &mut Inputs) {
    let record =
        r#"{"build":"0","depends":"a","md5":"aa","name":"x","run_exports":{},"version":"1"}"#;
    let merging = r#"{"packages":{"x-1-0.tar.bz2":{"a":{"b":{"c":null,"d":[1,{}]}},"name":"\u202e","subdir":null}},"remove":[]}"#;
    let pair = |record: &str, fixes: &str| [record.as_bytes(), &[0xff], fixes.as_bytes()].concat();
    let of_package = described(&[
        member(0, "noarch/patch_instructions.json", PATCHES),
        member(0, "linux-64/patch_instructions.json", "{}"),
    ]);
    for (name, form, bytes) in [
        ("all", 0, PATCHES.as_bytes().to_vec()),
        ("none", 0, b"{}".to_vec()),
        ("stray", 0, br#"{"zlib":{}}"#.to_vec()),
        (
            "version-3",
            0,
            br#"{"patch_instructions_version":3}"#.to_vec(),
        ),
        ("merging", 0, merging.as_bytes().to_vec()),
        ("record", 1, pair(record, PATCHES)),
        ("record-merging", 1, pair(record, merging)),
        ("record-not-json", 1, pair("[]", PATCHES)),
        ("package", 2, of_package),
    ] {
        add(inputs, "patches", name, form, bytes);
    }
}

fn cache(inputs: &mut Inputs) {
    let text = |column: u8, text: &str| [&[column, 4, text.len() as u8], text.as_bytes()].concat();
    let journal = [
        &[0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7][..],
        &[
            0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 2, 0, 0, 0, 0x40, 0,
        ],
    ]
    .concat();
    for (name, form, bytes) in [
        ("nothing", 0, Vec::new()),
        ("text", 0, b"404 Not Found\n".to_vec()),
        (
            "head",
            0,
            b"SQLite format 3\0\x40\0\x01\x01\0\x40\x20\x20".to_vec(),
        ),
        ("untouched", 1, Vec::new()),
        ("version", 1, vec![0, 0, 63, 9]),
        ("schema-text", 1, vec![0, 0x3f, 0xf0, b'x']),
        ("first-page", 1, vec![0, 0, 100, 0, 0, 0, 103, 200]),
        ("a-row", 1, vec![0, 0x7f, 0xf0, 1]),
        ("size", 2, vec![2, 2, 9]),
        ("checksum", 2, vec![24, 1, 0xff, 0, 0, 0, 0, 0, 0, 0]),
        ("no-key", 2, vec![15, 0]),
        ("key", 2, text(15, "../x")),
        ("record", 2, text(7, "{}")),
        ("details", 2, text(18, "fly\n{}\n{}")),
        ("subdir", 2, text(0, "linux-64")),
        ("sha256", 2, vec![6, 5, 2, 1, 2]),
        ("journal", 3, journal),
        ("no-journal", 3, vec![0; 28]),
    ] {
        add(inputs, "cache", name, form, bytes);
    }
}

fn texts(inputs: &mut Inputs) {
    let specs = [
        "a",
        "numpy 1.8*",
        "numpy >=1.8,<2|1.9.* py27_0",
        "conda-forge/linux-64::a[version='>=1,<2',build=\"py*\",build_number=0]",
        "a[when=\"__unix and b>=1\",extras=[x,y],flags=[\"blas:*\"]]",
        "*[name=a,md5=0b]",
        "^a.*$ ==1.0",
        "a ~=1.2,!=1.2.3",
        "a (>=1,(<2|>3))",
    ];
    for (at, spec) in specs.iter().enumerate() {
        add(inputs, "texts", &format!("spec-{at}"), 0, spec);
        let with_version = [spec.as_bytes(), b"\xff1!1.9.0+a1"].concat();
        add(
            inputs,
            "texts",
            &format!("spec-and-version-{at}"),
            7,
            with_version,
        );
    }
    let versions = [
        "1.0dev\u{ff}",
        "1!2.0.post1",
        "1.1.0a_3+local.7",
        "0.4.1.rc.1-",
    ];
    for (at, version) in versions.iter().enumerate() {
        let three = [version.as_bytes(), b"\xff1.0\xff1.0.0post"].concat();
        add(inputs, "texts", &format!("versions-{at}"), 1, three);
    }
    let details = [RECIPE, EXPORTS, ABOUT].map(str::as_bytes).join(&0xff);
    let aliases = b"a: &x {b: [c, *x]}\n'd': |\n  e\n? [f]\n: !!str g\n---\n".as_slice();
    let statement = format!(
        r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"name":"a-1-0.conda","digest":{{"sha256":"{}"}}}}],"predicateType":"https://schemas.conda.org/attestations-publish-1.schema.json","predicate":{{"targetChannel":"https://example.org/c"}}}}"#,
        "ab".repeat(32)
    );
    let payload = Base64::encode_string(statement.as_bytes());
    let bundle = format!(
        r#"{{"dsseEnvelope":{{"payload":"{payload}","payloadType":"application/vnd.in-toto+json","signatures":[]}},"mediaType":"x"}}"#
    );
    let bundles = format!("[{bundle},\n{bundle}]");
    for (name, form, bytes) in [
        ("pins", 2, b"a: [1.0, '2']\nb: 3\n".as_slice()),
        ("pins-aliases", 2, aliases),
        ("details", 3, &details),
        ("details-aliases", 3, aliases),
        ("attestations", 4, bundles.as_bytes()),
        (
            "metadata",
            5,
            br#"{"signed":{"_type":"root"},"signatures":[]}"#,
        ),
        (
            "metadata-bare",
            5,
            b"\xef\xbb\xbf{\"_typ\\u0065\":\"targets\"}",
        ),
        ("key-name", 6, b"My.Key-1_"),
        ("fingerprint", 6, "aB".repeat(32).as_bytes()),
        ("file-name", 6, b"a-b-1.0-py_0.tar.bz2"),
        ("subdir", 6, b"linux-64"),
        ("sidecar", 6, b"a-1-0.conda.v0.sigs"),
    ] {
        add(inputs, "texts", name, form, bytes);
    }
}
