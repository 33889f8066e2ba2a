//! Channels that another indexer has indexed before are taken over without harm: its hashes are put right with a
//! warning, its files are replaced or named, and a dry run shows all of it first.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

#[path = "support/program.rs"]
mod program;
#[path = "support/shared.rs"]
mod shared;

use program::Home;
use shared::{copy_folder, shared};

/// The channel with everything that an indexer wrote for it.
fn indexed_by(other: &str) -> Option<(Home, PathBuf)> {
    let home = Home::new();
    let channel = home.path("sample");
    copy_folder(&shared("channel")?, &channel);
    copy_folder(&shared("golden")?.join(other), &channel);
    home.run(0, ["keygen", "MyKey"]);
    Some((home, channel))
}

fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = walkdir::WalkDir::new(folder).into_iter();
    let files = entries.map(|entry| entry.unwrap().into_path());
    let files = files.filter(|path| path.is_file() && !path.ends_with(".sigindex.lock"));
    files
        .map(|path| {
            let content = std::fs::read(&path).unwrap();
            (path, content)
        })
        .collect()
}

fn list(report: &Value, name: &str) -> Vec<String> {
    serde_json::from_value(report[name].clone()).unwrap()
}

#[test]
fn conda_indexs_channel() {
    let Some((home, channel)) = indexed_by("conda-index-0.13") else {
        return;
    };
    // The cache and a hash that it left stale.
    std::fs::create_dir(channel.join("noarch/.cache")).unwrap();
    std::fs::write(channel.join("noarch/.cache/cache.db"), "theirs").unwrap();
    let right = "f33afff2144e1d6c4cf2e3e184937db8bf825b4537df74662aea5ee207b6a31b";
    for name in ["repodata.json", "repodata_from_packages.json"] {
        let path = channel.join("linux-64").join(name);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(right));
        std::fs::write(&path, text.replace(right, &"00".repeat(32))).unwrap();
    }
    let before = contents(&channel);

    let planned = home.index(0, &channel, &["--dry-run"]);
    assert_eq!(contents(&channel), before);
    let report = home.index(0, &channel, &[]);
    for name in ["added", "removed", "replaced", "refused"] {
        assert_eq!(list(&report, name), [""; 0], "{name}");
    }
    assert_eq!(list(&planned, "files"), list(&report, "files"));
    assert_eq!(list(&planned, "warnings"), list(&report, "warnings"));
    let warnings = list(&report, "warnings").join("\n");
    for said in [
        "linux-64/zlib-1.2.11-h7b6447c_3.conda: the index had a stale SHA-256 of it, which is put right",
        "linux-64/patch_instructions.json: has no patches",
        "linux-64/repodata_shards_from_packages.msgpack.zst: an index file that sigindex does not write",
        "they are removed: channeldata.json, current_repodata.json, current_repodata.json.bz2,",
    ] {
        assert!(warnings.contains(said), "{said} in {warnings}");
    }
    assert_eq!(
        std::fs::read(channel.join("noarch/.cache/cache.db")).unwrap(),
        b"theirs"
    );
    let text = std::fs::read_to_string(channel.join("linux-64/repodata.json")).unwrap();
    assert!(text.contains(right) && text.contains("\"generator\":\"sigindex\""));
    // Nothing that goes stale is left, but what was named.
    let left: Vec<String> = std::fs::read_dir(channel.join("linux-64"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.contains("zlib"))
        .collect();
    for name in [
        "current_repodata.json",
        "repodata.json.bz2",
        "repodata_from_packages.json",
    ] {
        assert!(!left.contains(&name.to_owned()), "{name} of {left:?}");
    }
    let again = home.index(0, &channel, &[]);
    assert_eq!(list(&again, "files"), [""; 0]);
    assert_eq!(again["counts"]["opened"], 0);
}

#[test]
fn conda_indexs_third_revision() {
    let Some((home, channel)) = indexed_by("conda-index-0.13-v3") else {
        return;
    };
    let report = home.index(0, &channel, &[]);
    assert_eq!(list(&report, "added"), [""; 0]);
    assert_eq!(report["counts"]["listed"], 54);
    let report = home.index(0, &channel, &["--repodata-next"]);
    assert_eq!(report["counts"]["opened"], 0);
    assert_eq!(list(&report, "added"), [""; 0]);
}

#[test]
fn rattler_indexs_channel() {
    let Some((home, channel)) = indexed_by("rattler-index-0.34.5") else {
        return;
    };
    let theirs: Value =
        serde_json::from_slice(&std::fs::read(channel.join("linux-64/repodata.json")).unwrap())
            .unwrap();
    let report = home.index(0, &channel, &[]);
    assert_eq!(list(&report, "added"), [""; 0]);
    // When a package was first indexed is not for a new indexer to say anew (CEP 47).
    let ours: Value =
        serde_json::from_slice(&std::fs::read(channel.join("linux-64/repodata.json")).unwrap())
            .unwrap();
    let first = |index: &Value| {
        index["packages.conda"]["zlib-1.2.11-h7b6447c_3.conda"]["indexed_timestamp"].clone()
    };
    assert_eq!(first(&ours), first(&theirs));
}
