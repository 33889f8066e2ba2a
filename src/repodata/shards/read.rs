//! Shards that were published, read back. Owns their form as it is met; must not judge what follows from it.

use std::collections::BTreeMap;

use rmpv::Value;

use super::pack;
use crate::json::{Json, Object};

/// The most bytes of a shard when it is decompressed: what newer conda takes.
pub(super) const LARGEST_SHARD: u64 = 64 << 20;

/// The most bytes of a shard index when it is decompressed.
pub(super) const LARGEST_INDEX: u64 = 256 << 20;

/// A shard index as it stands in the channel.
#[derive(Debug, Clone, PartialEq)]
pub struct ShardIndex {
    /// What it says of itself; `generator` as in `repodata.json`.
    pub info: Object,
    /// The SHA-256 of each shard's file, by the name of its packages.
    pub shards: BTreeMap<String, [u8; 32]>,
}

/// What a shard holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ShardContent {
    /// The packages by file name, also those that stand under `v3`.
    pub packages: BTreeMap<String, ShardRecord>,
    /// File names that patches took away.
    pub removed: Vec<String>,
}

/// One package in a shard.
#[derive(Debug, Clone, PartialEq)]
pub struct ShardRecord {
    /// The record in the form of `repodata.json`: its hashes as lower-case hex, without run exports.
    pub record: Object,
    /// Its run exports; `None` where the shard doesn't tell them (CEP 21).
    pub run_exports: Option<Object>,
}

/// Reads a shard index by any tool; `None` where it isn't one, or has more than 256 MiB when decompressed.
pub fn read_index(bytes: &[u8]) -> Option<ShardIndex> {
    let mut top = pack::members(pack::read(bytes, LARGEST_INDEX)?, Some)?;
    // rattler-index leaves it out.
    let version = top.get("version").map_or(Some(1), Value::as_u64);
    if version != Some(1) {
        return None;
    }
    let digest = |value: Value| match value {
        Value::Binary(bytes) => bytes.try_into().ok(),
        _ => None,
    };
    Some(ShardIndex {
        info: pack::members(top.remove("info")?, pack::json)?,
        shards: pack::members(top.remove("shards")?, digest)?,
    })
}

/// Whether a member of an index, at its top, holds records by file name: `packages`, and what some tools add to it.
pub fn is_section(key: &str) -> bool {
    key == "packages" || key.starts_with("packages.")
}

/// Reads a shard by any tool; `None` where it isn't one, or has more than 64 MiB when decompressed. Whether
/// the bytes are those that the index names is for the caller to check.
pub fn read_shard(bytes: &[u8]) -> Option<ShardContent> {
    let mut top = pack::members(pack::read(bytes, LARGEST_SHARD)?, Some)?;
    let mut content = ShardContent::default();
    let sections: Vec<String> = top.keys().filter(|key| is_section(key)).cloned().collect();
    for section in sections.iter().filter_map(|key| top.remove(key)) {
        content.packages.extend(pack::members(section, record)?);
    }
    if let Some(third) = top.remove("v3") {
        for (extension, section) in pack::members(third, Some)? {
            let records = pack::members(section, record)?.into_iter();
            let records = records.map(|(stem, record)| (format!("{stem}.{extension}"), record));
            content.packages.extend(records);
        }
    }
    if let Some(Json::Array(removed)) = top.remove("removed").and_then(pack::json) {
        let names = removed.iter().filter_map(Json::as_str);
        content.removed.extend(names.map(str::to_owned));
    }
    Some(content)
}

fn record(value: Value) -> Option<ShardRecord> {
    let mut record = pack::members(value, pack::json)?;
    let run_exports = match record.remove("run_exports") {
        Some(Json::Object(run_exports)) => Some(run_exports),
        _ => None,
    };
    Some(ShardRecord {
        record,
        run_exports,
    })
}
