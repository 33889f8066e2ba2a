//! What a channel's own files tell of what was published: the contract's words, read by code of its own.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::msgpack;
use crate::reader::{digest, records_of};

/// What was published in a subdir.
#[derive(Debug, Default, Clone)]
pub struct Published {
    /// Whether sigindex wrote it, so that it binds.
    pub binds: bool,
    /// By file name: the SHA-256, `None` where nothing vouches for it, and the record.
    pub records: BTreeMap<String, (Option<String>, Value)>,
}

/// Why nothing can be told: this file is broken.
#[derive(Debug)]
pub struct Broken(pub String);

impl Published {
    /// Of a subdir: `repodata_from_packages.json` and `repodata.json` or, without the latter, the shards.
    pub fn of(channel: &Path, subdir: &str) -> Result<Published, Broken> {
        let mut told: Option<Published> = None;
        let mut shards = None;
        for name in ["repodata_from_packages.json", "repodata.json"] {
            let path = channel.join(subdir).join(name);
            let Ok(bytes) = std::fs::read(&path) else {
                if name == "repodata.json" {
                    shards = of_shards(&channel.join(subdir))?;
                }
                continue;
            };
            let shown = path.display().to_string();
            let next = of_text(&bytes).ok_or(Broken(shown))?;
            told = Some(match told {
                Some(told) if !next.binds => told,
                Some(told) if told.binds => told.joined(next),
                _ => next,
            });
        }
        Ok(match (told.unwrap_or_default(), shards) {
            (told, None) => told,
            (told, Some(shards)) if told.binds => told.joined(shards),
            (_, Some(shards)) => shards,
        })
    }

    fn joined(mut self, other: Published) -> Published {
        for (name, (sha256, record)) in other.records {
            let entry = self.records.entry(name);
            entry
                .and_modify(|known| {
                    if known.0 != sha256 {
                        known.0 = None;
                    }
                })
                .or_insert((sha256, record));
        }
        self
    }
}

fn record(record: Value) -> Option<(Option<String>, Value)> {
    let is_hex =
        |text: &&str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let sha256 = record.as_object()?.get("sha256").and_then(Value::as_str);
    let sha256 = sha256.filter(is_hex).map(str::to_lowercase);
    Some((sha256, record))
}

fn of_text(bytes: &[u8]) -> Option<Published> {
    let index: Value = serde_json::from_slice(bytes).ok()?;
    let top = index.as_object()?;
    let is_absent_or_object = |key: &str| top.get(key).is_none_or(Value::is_object);
    if !["packages", "packages.conda", "v3", "info"]
        .iter()
        .all(|key| is_absent_or_object(key))
    {
        return None;
    }
    let mut published = Published {
        binds: index["info"]["generator"] == "sigindex",
        ..Published::default()
    };
    for (name, one) in records_of(&index) {
        published.records.insert(name, record(one)?);
    }
    Some(published)
}

fn of_shards(folder: &Path) -> Result<Option<Published>, Broken> {
    let path = folder.join("repodata_shards.msgpack.zst");
    let Ok(bytes) = std::fs::read(&path) else {
        return Ok(None);
    };
    let broken = |path: &Path| Broken(path.display().to_string());
    let index = msgpack::try_value(&bytes).map_err(|_| broken(&path))?;
    if index["info"]["generator"] != "sigindex" {
        return Ok(None);
    }
    let mut published = Published {
        binds: true,
        ..Published::default()
    };
    for hash in index["shards"].as_object().into_iter().flatten() {
        let hash = hash.1.as_str().unwrap_or_default();
        let shard = folder.join(format!("shards/{hash}.msgpack.zst"));
        let bytes = std::fs::read(&shard)
            .ok()
            .filter(|bytes| digest(bytes) == hash);
        let shard = bytes.and_then(|bytes| msgpack::try_value(&bytes).ok());
        // The remedy is to take away the index that names it.
        for (name, one) in records_of(&shard.ok_or_else(|| broken(&path))?) {
            published.records.extend(record(one).map(|one| (name, one)));
        }
    }
    Ok(Some(published))
}
