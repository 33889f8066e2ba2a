//! Holds the real binary against 54 real packages and what conda-index 0.13 writes for them: the same records
//! in the same form of JSON, signatures that OpenSSL verifies, and a second run that does nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use serde_json::value::RawValue;

#[path = "support/program.rs"]
mod program;
#[path = "support/shared.rs"]
mod shared;

use program::{Home, Ran, have, openssl_verifies};
use shared::{copy_folder, shared};

/// What the channel has.
const SUBDIRS: [&str; 5] = ["linux-64", "noarch", "osx-64", "win-32", "win-64"];
const PACKAGES: usize = 54;
/// What the contract adds to a record.
const OWN_KEYS: [&str; 3] = ["indexed_timestamp", "sig", "signature"];

/// A home with a key and a copy of the channel.
fn channel() -> Option<(Home, PathBuf)> {
    let from = shared("channel")?;
    let home = Home::new();
    let channel = home.path("channel");
    copy_folder(&from, &channel);
    home.run(0, ["keygen", "MyKey"]);
    Some((home, channel))
}

/// The same, signed and indexed with more flags.
fn indexed(flags: &[&str]) -> Option<(Home, PathBuf)> {
    let (home, channel) = channel()?;
    let report = home.index(0, &channel, flags);
    for (count, expected) in [
        ("listed", PACKAGES),
        ("signed", PACKAGES),
        ("opened", PACKAGES),
        ("added", PACKAGES),
        ("kept", 0),
        ("reused", 0),
        ("refused", 0),
        // 344 characters of base64, and their key.
        ("signature_bytes", PACKAGES * 355),
    ] {
        assert_eq!(report["counts"][count], expected, "{count} of {report}");
    }
    Some((home, channel))
}

#[test]
fn the_report_says_what_signatures_add() {
    let Some((home, channel)) = indexed(&[]) else {
        return;
    };
    let added = |flags: &[&str]| {
        let report = home.index(0, &channel, flags);
        report["counts"]["signature_bytes"].as_u64().unwrap()
    };
    let size = || -> u64 {
        let files = SUBDIRS.map(|subdir| channel.join(subdir).join("repodata.json"));
        files
            .iter()
            .map(|file| file.metadata().unwrap().len())
            .sum()
    };
    let (embedded, with) = (added(&[]), size());
    let (detached, without) = (added(&["--signatures", "detached"]), size());
    assert_eq!(detached, 0);
    assert_eq!(embedded, with - without);
}

/// One JSON object, its values as they were written: no number passes through a float.
type Texts = BTreeMap<String, Box<RawValue>>;
/// The records of one section by their file names.
type Section = BTreeMap<String, Texts>;

fn texts(path: &Path) -> Texts {
    let text = std::fs::read_to_string(path).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn section(document: &Texts, name: &str) -> Section {
    serde_json::from_str(document[name].get()).unwrap()
}

fn packages(channel: &Path) -> Vec<PathBuf> {
    let files = walkdir::WalkDir::new(channel).into_iter();
    let mut files: Vec<_> = files.map(|entry| entry.unwrap().into_path()).collect();
    files.retain(|path| {
        path.to_str().unwrap().ends_with(".tar.bz2")
            || path.extension().is_some_and(|end| end == "conda")
    });
    files.sort();
    assert_eq!(files.len(), PACKAGES);
    files
}

/// Where two records differ, the contract's own keys aside.
fn differences(file: &str, ours: &Texts, theirs: &Texts) -> Vec<String> {
    let mut keys: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    keys.retain(|key| !OWN_KEYS.contains(&key.as_str()));
    let text = |record: &Texts, key: &str| record.get(key).map(|value| value.get().to_owned());
    keys.into_iter()
        .filter(|key| text(ours, key) != text(theirs, key))
        .map(|key| {
            format!(
                "{file}: {key}: {:?} here, {:?} there",
                text(ours, key),
                text(theirs, key)
            )
        })
        .collect()
}

#[test]
fn every_record_is_conda_indexs() {
    let Some(golden) = shared("golden/conda-index-0.13") else {
        return;
    };
    let Some((_home, channel)) = indexed(&[]) else {
        return;
    };
    let (mut compared, mut wrong) = (0, Vec::new());
    for subdir in SUBDIRS {
        let ours = texts(&channel.join(subdir).join("repodata.json"));
        // Before any patches, of which there are none here.
        let theirs = texts(&golden.join(subdir).join("repodata_from_packages.json"));
        for name in ["packages", "packages.conda"] {
            let (ours, theirs) = (section(&ours, name), section(&theirs, name));
            assert!(ours.keys().eq(theirs.keys()), "{subdir} {name}");
            for (file, record) in &ours {
                wrong.extend(differences(file, record, &theirs[file]));
                compared += 1;
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(compared, PACKAGES);
}

#[test]
fn every_record_holds_its_signature() {
    let Some((_home, channel)) = indexed(&[]) else {
        return;
    };
    for subdir in SUBDIRS {
        let document: Value = serde_json::from_slice(
            &std::fs::read(channel.join(subdir).join("repodata.json")).unwrap(),
        )
        .unwrap();
        let keys: Vec<_> = document
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(
            keys,
            [
                "info",
                "packages",
                "packages.conda",
                "removed",
                "repodata_version"
            ]
        );
        assert_eq!(document["repodata_version"], 1);
        assert_eq!(document["removed"], serde_json::json!([]));
        let info = document["info"].as_object().unwrap();
        let keys: Vec<_> = info.keys().map(String::as_str).collect();
        assert_eq!(keys, ["generator", "signing_keys", "subdir"]);
        assert_eq!(info["generator"], "sigindex");
        assert_eq!(info["subdir"], subdir);
        let (fingerprint, key) = info["signing_keys"]
            .as_object()
            .unwrap()
            .iter()
            .next()
            .unwrap();
        assert_eq!(*key, serde_json::json!({"name": "MyKey", "bits": 2048}));
        for name in ["packages", "packages.conda"] {
            for (file, record) in document[name].as_object().unwrap() {
                let path = channel.join(subdir).join(format!("{file}.sig"));
                let sig = std::fs::read_to_string(path).unwrap();
                let (key, value) = sig.trim_end().split_once(' ').unwrap();
                assert_eq!(record["sig"], ".", "{file}");
                let expected = serde_json::json!({
                    "key": key, "fingerprint": fingerprint, "scheme": "rsa-pss-sha256", "value": value,
                });
                assert_eq!(record["signature"], expected, "{file}");
                assert!(record["indexed_timestamp"].as_i64().unwrap() > 1_700_000_000_000);
            }
        }
    }
}

/// Python's own form of a JSON file.
fn python_json(path: &Path, form: &str) -> String {
    let program = format!(
        "import json, sys\nwith open(sys.argv[1], encoding='utf-8') as f: d = json.load(f)\nsys.stdout.write({form})"
    );
    let mut command = Command::new("python3");
    command.args(["-c", &program]).arg(path);
    Ran::of(&mut command).demand(0).stdout
}

fn is_pythons(flags: &[&str], form: &str) {
    if !have("python3", "--version") {
        return;
    }
    let Some((_home, channel)) = indexed(flags) else {
        return;
    };
    for subdir in SUBDIRS {
        let path = channel.join(subdir).join("repodata.json");
        let ours = std::fs::read_to_string(&path).unwrap();
        assert!(ours == python_json(&path, form), "{subdir}");
    }
}

#[test]
fn compact_json_is_pythons() {
    is_pythons(&[], "json.dumps(d, sort_keys=True, separators=(',', ':'))");
}

#[test]
fn indented_json_is_pythons() {
    is_pythons(
        &["--no-compact"],
        r"json.dumps(d, sort_keys=True, indent=2) + '\n'",
    );
}

#[test]
fn twins_hold_the_same_bytes() {
    let Some((_home, channel)) = indexed(&["--bz2"]) else {
        return;
    };
    for subdir in SUBDIRS {
        let read = |end: &str| {
            std::fs::read(channel.join(subdir).join(format!("repodata.json{end}"))).unwrap()
        };
        let (json, zst, bz2) = (read(""), read(".zst"), read(".bz2"));
        assert!(
            zstd::decode_all(zst.as_slice()).unwrap() == json,
            "{subdir}"
        );
        assert_eq!(
            zstd::zstd_safe::get_frame_content_size(&zst).unwrap(),
            Some(json.len() as u64),
            "{subdir}: conda wants the content's size in the frame"
        );
        assert_eq!(
            zstd::zstd_safe::find_frame_compressed_size(&zst).unwrap(),
            zst.len(),
            "{subdir}: conda wants one frame"
        );
        let mut unpacked = Vec::new();
        let mut decoder = bzip2::bufread::BzDecoder::new(bz2.as_slice());
        decoder.read_to_end(&mut unpacked).unwrap();
        assert!(
            unpacked == json && decoder.into_inner().is_empty(),
            "{subdir}"
        );
        assert_eq!(&bz2[..4], b"BZh9", "{subdir}: level 9");
    }
}

#[test]
fn openssl_verifies_every_signature() {
    if !have("openssl", "version") {
        return;
    }
    let Some((home, channel)) = indexed(&[]) else {
        return;
    };
    let public = home.keys().join("MyKey.pub");
    let scratch = home.path("scratch");
    std::fs::create_dir(&scratch).unwrap();
    for package in packages(&channel) {
        assert!(
            openssl_verifies(&package, &public, &scratch),
            "{}",
            package.display()
        );
    }
}

#[test]
fn the_whole_channel_verifies() {
    let Some((home, channel)) = indexed(&[]) else {
        return;
    };
    let ran = home.run(0, [Path::new("verify"), Path::new("-v"), &channel]);
    let of_package = |line: &&str| line.contains(".conda ") || line.contains(".tar.bz2 ");
    let lines = ran.stdout.lines().filter(of_package);
    let valid = lines.filter(|line| line.ends_with(" VALID")).count();
    assert_eq!(valid, PACKAGES, "{}", ran.stdout);
}

/// What tells whether a file was touched.
#[derive(PartialEq)]
struct State {
    bytes: Option<Vec<u8>>,
    inode: u64,
    written: (i64, i64),
    changed: (i64, i64),
}

/// Everything below a folder.
fn state(folder: &Path) -> BTreeMap<PathBuf, State> {
    use std::os::unix::fs::MetadataExt as _;
    let entries = walkdir::WalkDir::new(folder).into_iter();
    let entries = entries.map(|entry| {
        let path = entry.unwrap().into_path();
        let found = std::fs::symlink_metadata(&path).unwrap();
        let state = State {
            bytes: found.is_file().then(|| std::fs::read(&path).unwrap()),
            inode: found.ino(),
            written: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        };
        (path, state)
    });
    entries.collect()
}

/// What a report says of each list and count that a run can change.
fn changes(report: &Value) -> BTreeMap<&str, Value> {
    let lists = [
        "added",
        "signed",
        "replaced",
        "removed",
        "unsigned",
        "unverified",
        "warnings",
    ];
    let mut changes: BTreeMap<_, _> = lists
        .iter()
        .map(|list| (*list, report[*list].clone()))
        .collect();
    let refused = report["refused"].as_array().unwrap();
    let refused: Vec<_> = refused.iter().map(|one| one["package"].clone()).collect();
    changes.insert("refused", Value::Array(refused));
    changes.insert("opened", report["counts"]["opened"].clone());
    changes.retain(|_, value| *value != serde_json::json!([]));
    changes
}

/// What `changes` should be.
fn expected(opened: usize, lists: &[(&'static str, &str)]) -> BTreeMap<&'static str, Value> {
    let mut expected = BTreeMap::from([("opened", Value::from(opened))]);
    expected.extend(
        lists
            .iter()
            .map(|(list, package)| (*list, serde_json::json!([package]))),
    );
    expected
}

#[test]
fn a_second_run_opens_nothing_and_changes_nothing() {
    let Some((home, channel)) = indexed(&["--bz2"]) else {
        return;
    };
    let before = state(&channel);
    let report = home.index(0, &channel, &["--bz2"]);
    assert_eq!(changes(&report), expected(0, &[]), "{report}");
    assert_eq!(report["counts"]["reused"], PACKAGES);
    assert_eq!(report["counts"]["kept"], PACKAGES);
    assert_eq!(report["files"], serde_json::json!([]));
    assert!(
        state(&channel) == before,
        "the second run touched something"
    );
}

#[test]
fn the_same_packages_give_the_same_index_without_the_cache() {
    let Some((home, channel)) = indexed(&["--bz2"]) else {
        return;
    };
    let before = state(&channel);
    let cache = home.path("another-cache");
    let report = home.index(0, &channel, &["--bz2", "--cache", cache.to_str().unwrap()]);
    assert_eq!(changes(&report), expected(PACKAGES, &[]), "{report}");
    assert!(
        state(&channel) == before,
        "a run without the old cache touched something"
    );
}

#[test]
fn exactly_what_changed_is_in_the_report() {
    let Some((home, channel)) = indexed(&[]) else {
        return;
    };
    let fly = "osx-64/fly-2.5.2-0.tar.bz2";
    let aside = home.path("aside");
    std::fs::rename(channel.join(fly), &aside).unwrap();
    std::fs::remove_file(channel.join(format!("{fly}.sig"))).unwrap();
    let report = home.index(0, &channel, &[]);
    assert_eq!(
        changes(&report),
        expected(0, &[("removed", fly)]),
        "{report}"
    );
    // Every page tells of the whole channel; all else is the subdir's own.
    let files = report["files"].as_array().unwrap().iter();
    let mut files: Vec<&str> = files.map(|file| file.as_str().unwrap()).collect();
    files.retain(|file| !file.ends_with("index.html"));
    assert!(
        files.iter().all(|file| file.starts_with("osx-64/")),
        "{files:?}"
    );
    assert_eq!(files.len(), 6, "{files:?}");

    std::fs::rename(&aside, channel.join(fly)).unwrap();
    let report = home.index(0, &channel, &[]);
    assert_eq!(
        changes(&report),
        expected(1, &[("added", fly), ("signed", fly)]),
        "{report}"
    );

    let nano = "osx-64/nano-2.4.1-0.tar.bz2";
    replace(&channel.join(nano));
    let before = state(&channel);
    let report = home.index(1, &channel, &[]);
    assert_eq!(
        changes(&report),
        expected(1, &[("refused", nano)]),
        "{report}"
    );
    assert!(
        report["refused"][0]["reason"]
            .as_str()
            .unwrap()
            .contains("changed since it was published"),
        "{report}"
    );
    assert_eq!(report["published"], false);
    assert!(
        state(&channel) == before,
        "a refused package changed something"
    );

    let report = home.index(0, &channel, &["--replace"]);
    assert_eq!(
        changes(&report),
        expected(1, &[("replaced", nano), ("signed", nano)]),
        "{report}"
    );
    assert_eq!(report["counts"]["listed"], PACKAGES);
    home.run(0, [Path::new("verify"), &channel]);

    let report = home.index(0, &channel, &[]);
    assert_eq!(changes(&report), expected(0, &[]), "{report}");
}

/// The same package in other bytes: its streams compressed once more, less well.
fn replace(package: &Path) {
    let mut tar = Vec::new();
    let old = std::fs::read(package).unwrap();
    bzip2::read::MultiBzDecoder::new(old.as_slice())
        .read_to_end(&mut tar)
        .unwrap();
    let mut new = Vec::new();
    bzip2::read::BzEncoder::new(tar.as_slice(), bzip2::Compression::fast())
        .read_to_end(&mut new)
        .unwrap();
    assert!(new != old);
    std::fs::write(package, new).unwrap();
}
