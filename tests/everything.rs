//! Holds every index file that the real binary writes for 54 real packages against what conda-index 0.13 writes for
//! them, value by value. Where the two differ on purpose, the difference stands here by name; nothing else may.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

#[path = "support/msgpack.rs"]
mod msgpack;
#[path = "support/program.rs"]
mod program;
#[path = "support/shared.rs"]
mod shared;

use program::Home;
use shared::{copy_folder, shared};

const SUBDIRS: [&str; 5] = ["linux-64", "noarch", "osx-64", "win-32", "win-64"];
/// What the contract adds to a record.
const OWN_KEYS: [&str; 3] = ["indexed_timestamp", "sig", "signature"];
/// What the contract adds to `info`.
const OWN_INFO: [&str; 2] = ["generator", "signing_keys"];

/// Their index, and a channel that was indexed with these flags.
fn both(golden: &str, flags: &[&str]) -> Option<(PathBuf, Home, PathBuf)> {
    let theirs = shared("golden")?.join(golden);
    let home = Home::new();
    let channel = home.path("sample");
    copy_folder(&shared("channel")?, &channel);
    home.run(0, ["keygen", "MyKey"]);
    home.index(0, &channel, flags);
    Some((theirs, home, channel))
}

fn read(path: &Path) -> Value {
    let text = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap()
}

/// Takes keys out of an object; each must be there, so that no exception outlives its reason.
fn take(value: &mut Value, keys: &[&str]) {
    let object = value.as_object_mut().unwrap();
    for key in keys {
        assert!(object.remove(*key).is_some(), "no {key} in {object:?}");
    }
}

/// A document without what the contract adds.
fn without_own(mut document: Value) -> Value {
    take(&mut document["info"], &OWN_INFO);
    for section in ["packages", "packages.conda"] {
        for record in records(&mut document, section).values_mut() {
            take(record, &OWN_KEYS);
        }
    }
    document
}

fn records<'v>(document: &'v mut Value, section: &str) -> &'v mut Map<String, Value> {
    document[section].as_object_mut().unwrap()
}

/// The differences of two values, by path.
fn differences(path: &str, ours: &Value, theirs: &Value, found: &mut Vec<String>) {
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let (a, b) = (&ours[key], &theirs[key]);
                let path = format!("{path}/{key}");
                match (ours.get(key).is_some(), theirs.get(key).is_some()) {
                    (true, true) => differences(&path, a, b, found),
                    _ => found.push(format!("{path}: {a} here, {b} there")),
                }
            }
        }
        _ if ours == theirs => {}
        _ => found.push(format!("{path}: {ours} here, {theirs} there")),
    }
}

fn assert_same(file: &str, ours: &Value, theirs: &Value) {
    let mut found = Vec::new();
    differences(file, ours, theirs, &mut found);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn repodata() {
    let Some((theirs, _home, channel)) = both("conda-index-0.13", &["--all"]) else {
        return;
    };
    for subdir in SUBDIRS {
        let file = format!("{subdir}/repodata.json");
        let ours = without_own(read(&channel.join(&file)));
        assert_same(&file, &ours, &read(&theirs.join(&file)));
        // Without patches there is nothing that the packages alone would say otherwise.
        let before = format!("{subdir}/repodata_from_packages.json");
        assert!(theirs.join(&before).exists() && !channel.join(before).exists());
    }
}

#[test]
fn run_exports() {
    let Some((theirs, _home, channel)) = both("conda-index-0.13", &["--all"]) else {
        return;
    };
    for subdir in SUBDIRS {
        let file = format!("{subdir}/run_exports.json");
        assert_same(
            &file,
            &read(&channel.join(&file)),
            &read(&theirs.join(&file)),
        );
    }
}

#[test]
fn current_repodata() {
    let Some((theirs, _home, channel)) = both("conda-index-0.13", &["--all"]) else {
        return;
    };
    for subdir in SUBDIRS {
        let file = format!("{subdir}/current_repodata.json");
        let ours = without_own(read(&channel.join(&file)));
        let mut theirs = read(&theirs.join(&file));
        // A null where there is no twin says nothing.
        for record in records(&mut theirs, "packages.conda").values_mut() {
            if record["legacy_bz2_md5"].is_null() {
                take(record, &["legacy_bz2_md5"]);
            }
        }
        assert_same(&file, &ours, &theirs);
    }
}

#[test]
fn channeldata() {
    let Some((theirs, _home, channel)) = both("conda-index-0.13", &["--all"]) else {
        return;
    };
    let ours = read(&channel.join("channeldata.json"));
    let mut theirs = read(&theirs.join("channeldata.json"));
    let mut newest: BTreeMap<String, i64> = BTreeMap::new();
    for subdir in SUBDIRS {
        let repodata = read(&channel.join(subdir).join("repodata.json"));
        for section in ["packages", "packages.conda"] {
            for record in repodata[section].as_object().unwrap().values() {
                let name = record["name"].as_str().unwrap().to_owned();
                let time = record["timestamp"].as_i64().unwrap_or(0);
                let seconds = if time > 253_402_300_799 {
                    time / 1000
                } else {
                    time
                };
                let entry = newest.entry(name).or_default();
                *entry = seconds.max(*entry);
            }
        }
    }
    // The timestamp is the newest of all records of the name (CEP 38), not that of any one.
    let mut differed = BTreeSet::new();
    for (name, package) in theirs["packages"].as_object_mut().unwrap() {
        if package["timestamp"] != json!(newest[name]) {
            package["timestamp"] = json!(newest[name]);
            differed.insert(name.clone());
        }
    }
    let differed: Vec<&str> = differed.iter().map(String::as_str).collect();
    assert_eq!(differed, BUILT_LATER);
    // Its recipe has a YAML tag over which conda-index stumbles.
    let url = ours["packages"]["flask"]["source_url"].clone();
    assert!(
        url.as_str().unwrap().ends_with("Flask-0.11.1.tar.gz"),
        "{url}"
    );
    theirs["packages"]["flask"]["source_url"] = url;
    assert_same("channeldata.json", &ours, &theirs);
}

/// Names whose newest package is not the one that was built last: conda-index takes the time of any one.
const BUILT_LATER: [&str; 6] = [
    "another_dependent",
    "conda-index-pkg-a",
    "dependency",
    "dependent",
    "dummy-package",
    "feature",
];

/// All shards of a subdir, by package name, from an index and the folder that it names.
fn shards(subdir: &Path, index: &Value) -> BTreeMap<String, Value> {
    let base = index["info"]["shards_base_url"].as_str().unwrap();
    let folder = subdir.join(base);
    let names = index["shards"].as_object().unwrap().iter();
    names
        .map(|(name, digest)| {
            let file = format!("{}.msgpack.zst", digest.as_str().unwrap());
            (name.clone(), msgpack::read(&folder.join(file)))
        })
        .collect()
}

#[test]
fn every_shard() {
    let Some((theirs, _home, channel)) = both("conda-index-0.13", &["--all"]) else {
        return;
    };
    for subdir in SUBDIRS {
        let file = "repodata_shards.msgpack.zst";
        let (ours, theirs) = (channel.join(subdir), theirs.join(subdir));
        let (mut index, their_index) = (
            msgpack::read(&ours.join(file)),
            msgpack::read(&theirs.join(file)),
        );
        let (a, b) = (shards(&ours, &index), shards(&theirs, &their_index));
        assert_eq!(
            a.keys().collect::<Vec<_>>(),
            b.keys().collect::<Vec<_>>(),
            "{subdir}"
        );
        for (name, mut shard) in a {
            for section in ["packages", "packages.conda"] {
                for record in records(&mut shard, section).values_mut() {
                    take(record, &OWN_KEYS);
                }
            }
            assert_same(&format!("{subdir}/{name}"), &shard, &b[&name]);
        }
        // Shards lie in a folder of their own, and the index was made at another time.
        take(&mut index["info"], &OWN_INFO);
        assert_eq!(index["info"]["shards_base_url"], "./shards/");
        index["info"]["shards_base_url"] = json!("");
        index["info"]["created_at"] = their_index["info"]["created_at"].clone();
        index["shards"] = their_index["shards"].clone();
        assert_same(subdir, &index, &their_index);
    }
}

/// A MatchSpec as CEP 48 wants it, for the few forms that the real packages have.
fn bracketed(spec: &str) -> String {
    let end = spec.find([' ', '<', '>', '=', '!']).unwrap_or(spec.len());
    let (name, rest) = spec.split_at(end);
    // `1.2*` and `1.2.*` mean the same (CEP 29), and the form has one way to say it.
    let rest = rest.trim().replace('*', ".*").replace("..*", ".*");
    match rest.split_once(' ') {
        None if rest.is_empty() => name.to_owned(),
        None => format!("{name}[version=\"{}\"]", rest),
        Some((version, build)) => format!("{name}[version=\"{version}\",build=\"{build}\"]"),
    }
}

#[test]
fn the_third_revision() {
    let flags = ["--repodata-next", "--no-compact", "--no-html"];
    let Some((theirs, _home, channel)) = both("conda-index-0.13-v3", &flags) else {
        return;
    };
    for subdir in SUBDIRS {
        let file = format!("{subdir}/repodata.json");
        let mut ours = without_own(read(&channel.join(&file)));
        let mut theirs = read(&theirs.join(&file));
        // Wheels are not indexed, and the revision's times are when packages were indexed.
        take(&mut theirs["v3"], &["whl"]);
        let (mut first, mut last) = (i64::MAX, i64::MIN);
        for section in ["conda", "tar.bz2"] {
            for record in records(&mut ours["v3"], section).values_mut() {
                let time = record["indexed_timestamp"].as_i64().unwrap();
                (first, last) = (first.min(time), last.max(time));
                take(record, &OWN_KEYS);
            }
            for record in records(&mut theirs["v3"], section).values_mut() {
                for key in ["depends", "constrains"] {
                    for spec in record
                        .get_mut(key)
                        .and_then(Value::as_array_mut)
                        .into_iter()
                        .flatten()
                    {
                        *spec = json!(bracketed(spec.as_str().unwrap()));
                    }
                }
            }
        }
        theirs["info"]["repodata_revisions"]["v3"]["oldest"] = json!(first);
        theirs["info"]["repodata_revisions"]["v3"]["newest"] = json!(last);
        assert_same(&file, &ours, &theirs);
    }
}

#[test]
fn twins_are_the_plain_files_again() {
    let Some((theirs, _home, channel)) = both("conda-index-0.13", &["--all"]) else {
        return;
    };
    for subdir in SUBDIRS {
        for name in ["repodata", "run_exports", "current_repodata"] {
            let path = |extension: &str| channel.join(format!("{subdir}/{name}.json{extension}"));
            let plain = std::fs::read(path("")).unwrap();
            let zst = std::fs::read(path(".zst")).unwrap();
            assert_eq!(zstd::decode_all(zst.as_slice()).unwrap(), plain);
            let size = zstd::zstd_safe::get_frame_content_size(&zst).unwrap();
            assert_eq!(size, Some(plain.len() as u64), "{subdir}/{name}");
            let frame = zstd::zstd_safe::find_frame_compressed_size(&zst).unwrap();
            assert_eq!(frame, zst.len(), "one frame");
            let bz2 = std::fs::File::open(path(".bz2")).unwrap();
            let mut text = Vec::new();
            std::io::copy(&mut bzip2::read::MultiBzDecoder::new(bz2), &mut text).unwrap();
            assert_eq!(text, plain);
            assert!(theirs.join(format!("{subdir}/{name}.json.bz2")).exists());
        }
    }
}
