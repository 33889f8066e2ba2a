//! What a channel publishes, in a form in which two channels can be held against each other: one that lived through
//! many runs, and one made from nothing. It owns what counts as published; it must not know how either came to be. A
//! test takes it in beside `msgpack`.
#![allow(dead_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice
)]

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use serde_json::Value;

use super::msgpack;

/// Ends of what operators and uploaders put into a channel, and an indexer reads.
const SOURCES: [&str; 4] = [".conda", ".tar.bz2", ".sig", "patch_instructions.json"];

/// Copies what a run from nothing begins with: packages, signatures and patches.
pub fn copy_sources(from: &Path, to: &Path) {
    for (path, whole) in files(from) {
        if SOURCES.iter().any(|end| path.ends_with(end)) {
            let place = to.join(&path);
            std::fs::create_dir_all(place.parent().unwrap()).unwrap();
            std::fs::copy(whole, place).unwrap();
        }
    }
}

/// Index files by path: compressed ones decompressed, as compressors do not promise their bytes; of the shard index
/// all but when it was made; of shards those that it names.
pub fn published(channel: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for (path, whole) in files(channel) {
        let is_source = SOURCES.iter().any(|end| path.ends_with(end));
        let is_other = path.contains("/shards/") || path.starts_with("tuf/");
        if is_source || is_other || path == ".sigindex.lock" {
            continue;
        }
        let bytes = std::fs::read(&whole).unwrap();
        if path.ends_with(".msgpack.zst") {
            let mut index = msgpack::value(&bytes);
            index["info"].as_object_mut().unwrap().remove("created_at");
            for (name, shard) in shards(whole.parent().unwrap(), &index) {
                found.insert(format!("{path} {name}"), shard);
            }
            index["shards"] = Value::Null;
            found.insert(path, index.to_string().into_bytes());
        } else {
            found.insert(path.clone(), plain(&path, bytes));
        }
    }
    found
}

/// All index files as they lie there, whole or not; what a killed run left is none.
pub fn index_files(channel: &Path) -> BTreeMap<String, Vec<u8>> {
    let is_other = |path: &str| {
        let ends = [".lock", ".tmp"];
        let mut ends = SOURCES.iter().chain(&ends);
        ends.any(|end| path.ends_with(end))
    };
    let all = files(channel).into_iter();
    all.filter(|(path, _)| !is_other(path))
        .map(|(path, whole)| (path, std::fs::read(whole).unwrap()))
        .collect()
}

/// The shards that an index names, by the name of their packages.
fn shards(folder: &Path, index: &Value) -> BTreeMap<String, Vec<u8>> {
    let shards = index["shards"].as_object().unwrap().iter();
    let read = |(name, hash): (&String, &Value)| {
        let file = format!("shards/{}.msgpack.zst", hash.as_str().unwrap());
        let shard = msgpack::read(&folder.join(file));
        (name.clone(), shard.to_string().into_bytes())
    };
    shards.map(read).collect()
}

/// How two channels differ, if they do.
pub fn difference(one: &Path, other: &Path) -> Option<String> {
    let (one, other) = (published(one), published(other));
    let shown = |bytes: Option<&Vec<u8>>| match bytes {
        None => "absent".to_owned(),
        Some(bytes) => String::from_utf8_lossy(bytes).chars().take(4_000).collect(),
    };
    let mut paths = one.keys().chain(other.keys());
    let path = paths.find(|path| one.get(*path) != other.get(*path))?;
    let (one, other) = (one.get(path), other.get(path));
    if let (Some(one), Some(other)) = (one, other) {
        let same = one.iter().zip(other).take_while(|(a, b)| a == b).count();
        let part = |bytes: &[u8]| {
            let range = same.saturating_sub(200)..bytes.len().min(same + 400);
            String::from_utf8_lossy(&bytes[range]).into_owned()
        };
        return Some(format!(
            "{path} from byte {same} on:\n{}\n---\n{}",
            part(one),
            part(other)
        ));
    }
    Some(format!("{path}:\n{}\n---\n{}", shown(one), shown(other)))
}

/// Files below a folder, by their paths in it.
fn files(folder: &Path) -> BTreeMap<String, std::path::PathBuf> {
    let all = walkdir::WalkDir::new(folder)
        .into_iter()
        .map(Result::unwrap);
    let files = all.filter(|entry| entry.file_type().is_file());
    let named = files.map(|entry| {
        let path = entry.path().strip_prefix(folder).unwrap();
        (path.to_str().unwrap().to_owned(), entry.into_path())
    });
    named.collect()
}

fn plain(path: &str, bytes: Vec<u8>) -> Vec<u8> {
    if path.ends_with(".zst") {
        return zstd::decode_all(bytes.as_slice()).unwrap();
    }
    if path.ends_with(".bz2") {
        let mut plain = Vec::new();
        let mut decoder = bzip2::read::MultiBzDecoder::new(bytes.as_slice());
        decoder.read_to_end(&mut plain).unwrap();
        return plain;
    }
    bytes
}
