//! Shards that the index names no longer. Owns how long they stay, so that a client with yesterday's index still
//! finds its shards, and the list of them beside the shards: only the channel itself knows it on every machine.

use std::collections::{BTreeMap, BTreeSet};

use super::Config;
use super::places::Places;
use super::shelf::Shelf;
use crate::error::Error;
use crate::json::{self, Json, Object};
use crate::publish;
use crate::record::is_sha256;
use crate::repodata::shards::{EXTENSION, SHARDS};
use crate::repodata::{IndexFile, Rank};
use crate::storage::Kind;

/// Since when which shards are no longer named: paths in the subdir, Unix milliseconds.
const LIST: &str = "retired.json";

/// The largest list that is read back, in bytes.
const MAX_LIST: u64 = 64 << 20;

/// How much memory its values may take, in bytes.
const MAX_MEMORY: u64 = 256 << 20;

/// What becomes of the shards in a subdir that `named`, file names, does not have; and when the next of them goes, in
/// Unix milliseconds.
///
/// # Errors
/// When the folder of shards can't be listed, or the list can't be read.
pub fn retired(
    config: &Config,
    places: Places<'_>,
    shelf: &Shelf<'_>,
    named: &BTreeSet<String>,
) -> Result<(Vec<IndexFile>, Option<i64>), Error> {
    let path_of = |path: &str| shelf.lying.subdir.name.path_of(path);
    let list = format!("{SHARDS}/{LIST}");
    let list_there = publish::existing(places.target(), &path_of(&list), MAX_LIST)?;
    let since = known(list_there.file());
    let keep = if config.formats.shards {
        config.keep_shards
    } else {
        0
    };
    let (mut files, mut stay, mut next) = (Vec::new(), Object::new(), None);
    for path in unnamed(shelf, named) {
        // A clock that went back makes no shard older than it is.
        let since = since.get(&path).map_or(config.now, |s| *s.min(&config.now));
        if config.now.saturating_sub(since) >= keep {
            files.push(IndexFile::plain(Rank::Retired, path_of(&path), None));
        } else {
            let due = since.saturating_add(keep);
            next = Some(next.map_or(due, |next: i64| next.min(due)));
            stay.insert(path, Json::Number(since.to_string()));
        }
    }
    let content = (!stay.is_empty()).then(|| Json::Object(stay).compact().into_bytes());
    // No client reads it, and so no signed index names it: it goes with the shards.
    files.push(IndexFile::plain(Rank::Shard, path_of(&list), content));
    Ok((files, next))
}

/// Shards by their names, ours and those that conda-index lays beside the packages.
fn unnamed(shelf: &Shelf<'_>, named: &BTreeSet<String>) -> Vec<String> {
    let is_shard = |name: &str, kind: &Kind| {
        let hex = name.strip_suffix(EXTENSION).unwrap_or_default();
        matches!(kind, Kind::File | Kind::Link) && is_sha256(hex)
    };
    let of_folder = shelf
        .shards_in_target
        .iter()
        .filter(|(name, kind)| is_shard(name, kind) && !named.contains(*name));
    let beside = shelf.lying.in_target().others.iter();
    let beside = beside.filter(|(name, kind)| is_shard(name, kind));
    let of_folder = of_folder.map(|(name, _)| format!("{SHARDS}/{name}"));
    of_folder
        .chain(beside.map(|(name, _)| name.clone()))
        .collect()
}

/// A list that can't be read knows nothing: its shards stay the longer for it.
fn known(list: Option<Vec<u8>>) -> BTreeMap<String, i64> {
    let list = list.and_then(|bytes| json::parse_within(&bytes, MAX_MEMORY).ok());
    let Some(Json::Object(list)) = list else {
        return BTreeMap::new();
    };
    let times = list.into_iter();
    times
        .filter_map(|(path, since)| Some((path, since.as_i64()?)))
        .collect()
}
