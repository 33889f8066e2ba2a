//! Shards, held against their index and against `repodata.json`. Owns what of them has to agree; must not know how
//! shards are written.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use super::{Context, What};
use crate::json::{self, Json, Object};
use crate::record::hex;
use crate::repodata::shards::{self, EXTENSION, SHARDS, ShardContent, ShardIndex};
use crate::repodata::{Published, REPODATA};

/// The largest shard, in bytes: what newer conda takes when it is decompressed.
const MAX_SHARD: u64 = 64 << 20;

/// The most bytes of records that are kept of a subdir's shards.
const MAX_RECORDS: u64 = 1 << 30;

/// The shards of a subdir.
pub(super) struct Shards<'a> {
    pub context: Context<'a>,
    pub subdir: &'a str,
    /// What `repodata.json` lists, where it is there.
    pub served: Option<&'a Published<'a>>,
    /// What is kept of records, where it is not.
    pub room: Room,
}

/// How many more bytes of records are kept.
pub(super) struct Room(AtomicU64);

impl Default for Room {
    fn default() -> Self {
        Room(AtomicU64::new(MAX_RECORDS))
    }
}

impl Room {
    /// Whether there is room for one more record; once there is none, there is none for any.
    fn keeps(&self, file: &str, record: &str) -> bool {
        let bytes = file.len().saturating_add(record.len());
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let take = |room: u64| Some(room.saturating_sub(bytes));
        let before = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        before.is_ok_and(|room| room > bytes)
    }

    fn is_full(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

/// What the index of shards says of itself, and what the shards list, where no `repodata.json` does.
pub(super) struct Sharded {
    pub info: Object,
    pub listed: Option<Published<'static>>,
}

impl Shards<'_> {
    /// Holds all of them; `None` where there is no index of shards that can be read.
    pub fn audit(&self, path: &str, bytes: &[u8]) -> Option<Sharded> {
        let findings = self.context.findings;
        let Some(index) = shards::read_index(bytes) else {
            findings.error(
                What::Shard,
                path,
                "it is no index of shards, or was cut off",
            );
            return None;
        };
        let listed = self.listed(path, &index);
        Some(Sharded {
            info: index.info,
            listed,
        })
    }

    fn listed(&self, path: &str, index: &ShardIndex) -> Option<Published<'static>> {
        let findings = self.context.findings;
        if let Some(elsewhere) = served_elsewhere(index) {
            let why = format!(
                "the shards are served at {elsewhere}, which is not looked at; verify them there"
            );
            findings.error(What::Shard, path, why);
            return None;
        }
        let mut digests = HashSet::new();
        let (shards, again): (Vec<_>, Vec<_>) =
            (index.shards.iter()).partition(|(_, digest)| digests.insert(**digest));
        if let Some((name, _)) = again.first() {
            let why = format!("it names the shard of {name} as that of another name, too");
            findings.invalid(What::Shard, path, why);
        }
        let names: Vec<(String, Option<String>)> = self.context.tools.pool.install(|| {
            let one = |(name, digest): &(&String, &[u8; 32])| self.one(name, digest);
            shards.par_iter().flat_map_iter(one).collect()
        });
        if let Some(served) = self.served {
            self.hold_complete(served, path, &names);
            return None;
        }
        if self.room.is_full() {
            let why = format!("its shards have more than {MAX_RECORDS} bytes of records");
            findings.error(What::Shard, path, why);
            return None;
        }
        let records = names.into_iter();
        let records = records.filter_map(|(name, record)| Some((name, record?)));
        match Published::from_shards(path, &index.info, records) {
            Ok(published) => Some(published),
            Err(error) => {
                findings.error(What::Shard, path, error.to_string());
                None
            }
        }
    }

    /// Every package of `repodata.json` is in a shard.
    fn hold_complete(
        &self,
        served: &Published<'_>,
        path: &str,
        names: &[(String, Option<String>)],
    ) {
        let sharded: HashSet<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
        for name in served.records.keys() {
            if !sharded.contains(name.as_str()) {
                let path_of = format!("{}/{name}", self.subdir);
                let why = format!("{REPODATA} lists it, and no shard of {path} does");
                self.context.findings.invalid(What::Record, &path_of, why);
            }
        }
    }

    /// One shard: the names of its packages, with their records where they are needed.
    fn one(&self, name: &str, digest: &[u8; 32]) -> Vec<(String, Option<String>)> {
        let path = format!("{}/{SHARDS}/{}{EXTENSION}", self.subdir, hex(digest));
        let Some(content) = self.read(&path, digest) else {
            return Vec::new();
        };
        let mut listed = Vec::with_capacity(content.packages.len());
        for (file, one) in content.packages {
            let record = Json::Object(one.record);
            if record_name(&record) != Some(name) {
                let why = format!("it stands in the shard of {name}, and is not of that name");
                self.fault(&file, why);
            }
            match self.served {
                None => {
                    let record = record.compact();
                    if self.room.keeps(&file, &record) {
                        listed.push((file, Some(record)));
                    }
                }
                Some(served) => {
                    self.hold_record(served, &file, &record);
                    listed.push((file, None));
                }
            }
        }
        listed
    }

    fn read(&self, path: &str, digest: &[u8; 32]) -> Option<ShardContent> {
        let findings = self.context.findings;
        let bytes = match self.context.place.fetch(path, MAX_SHARD) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => {
                findings.error(
                    What::Shard,
                    path,
                    "the index of shards names it, and there is no such file",
                );
                return None;
            }
            Err(error) => {
                findings.error(What::Shard, path, error.fault.to_string());
                return None;
            }
        };
        if Sha256::digest(&bytes)[..] != digest[..] {
            let why = "its bytes are not those that the index of shards names";
            findings.invalid(What::Shard, path, why);
            return None;
        }
        let content = shards::read_shard(&bytes);
        match content {
            Some(_) => findings.valid(What::Shard, path),
            None => findings.error(What::Shard, path, "it is no shard"),
        }
        content
    }

    fn hold_record(&self, served: &Published<'_>, file: &str, record: &Json) {
        let Some(other) = served.records.get(file) else {
            self.fault(file, format!("a shard lists it, and {REPODATA} does not"));
            return;
        };
        let same = match json::parse(other.text.as_bytes()) {
            Ok(Json::Object(mut members)) => {
                // Shards carry them for CEP 21; where repodata.json does too, they are another file's matter.
                members.remove("run_exports");
                same(&Json::Object(members), record)
            }
            _ => false,
        };
        if !same {
            self.fault(
                file,
                format!("its shard and {REPODATA} say different things of it"),
            );
        }
    }

    fn fault(&self, file: &str, why: String) {
        let path = format!("{}/{file}", self.subdir);
        self.context.findings.invalid(What::Record, &path, why);
    }
}

/// Whether two values say the same; numbers beyond 64 bits are floats in shards, and those beyond all floats the last one.
fn same(a: &Json, b: &Json) -> bool {
    let float = |number: &str| {
        let float = number.parse::<f64>().ok();
        float.map(|float| float.clamp(f64::MIN, f64::MAX))
    };
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => {
            a == b || matches!((float(a), float(b)), (Some(a), Some(b)) if a == b)
        }
        (Json::Array(a), Json::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Json::Object(a), Json::Object(b)) => {
            let members = a.iter().zip(b);
            a.len() == b.len()
                && members
                    .into_iter()
                    .all(|((k, a), (l, b))| k == l && same(a, b))
        }
        // Hashes are bytes in shards, whatever their case was.
        (Json::String(a), Json::String(b)) => a == b || is_hash(a) && a.eq_ignore_ascii_case(b),
        _ => a == b,
    }
}

fn is_hash(text: &str) -> bool {
    matches!(text.len(), 32 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn record_name(record: &Json) -> Option<&str> {
    match record {
        Json::Object(members) => members.get("name").and_then(Json::as_str),
        _ => None,
    }
}

/// Where shards are, when it is not in their folder beside the index.
fn served_elsewhere(index: &ShardIndex) -> Option<&str> {
    let place = index.info.get("shards_base_url").and_then(Json::as_str)?;
    let plain = place.trim_start_matches("./").trim_end_matches('/');
    (!place.is_empty() && plain != SHARDS).then_some(place)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_same_said_otherwise_is_the_same() {
        let json = |text: &str| json::parse(text.as_bytes()).unwrap();
        let big = "1".repeat(30);
        let hash = "aB".repeat(32);
        for (a, b, is_same) in [
            (big.as_str(), "1.1111111111111111e29", true),
            ("1", "1.0", true),
            (&"9".repeat(400), "1.7976931348623157e308", true),
            (
                &format!("-{}", "9".repeat(400)),
                "1.7976931348623157e308",
                false,
            ),
            ("[1,2]", "[1]", false),
            (r#"{"a":1}"#, r#"{"b":1}"#, false),
            (r#"{"a":[1]}"#, r#"{"a":[1]}"#, true),
            ("\"aB\"", "\"ab\"", false),
            (
                &format!("\"{hash}\""),
                &format!("\"{}\"", "ab".repeat(32)),
                true,
            ),
            ("null", "false", false),
        ] {
            assert_eq!(same(&json(a), &json(b)), is_same, "{a} {b}");
        }
    }

    #[test]
    fn no_more_records_are_kept_than_there_is_room_for() {
        let room = Room(AtomicU64::new(10));
        for (record, is_kept, left) in [
            ("12345", true, 4),
            ("12", true, 1),
            ("", false, 0),
            ("", false, 0),
        ] {
            assert_eq!(room.keeps("a", record), is_kept, "{record}");
            assert_eq!(room.is_full(), left == 0, "{record}");
        }
    }
}
