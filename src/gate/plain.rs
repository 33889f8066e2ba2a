//! The index of a channel that has no signed one, or of which none is demanded. It passes through, as nothing vouches
//! for it. Owns how long a file of it is kept before it is asked for again, and which files count as its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::answer::{Checked, Content};
use super::flight::lock;
use super::keep::Keeper;
use super::store::Hash;

/// The most bytes of an index file: the largest public channel's has a fifth of it.
const MOST: u64 = 2 << 30;

/// What index files are called, less the endings of twins.
const NAMES: [&str; 8] = [
    "repodata.json",
    "current_repodata.json",
    "repodata_from_packages.json",
    "run_exports.json",
    "channeldata.json",
    "repodata_shards.msgpack",
    "index.html",
    "rss.xml",
];

/// The most paths of which it is remembered what is there.
const MOST_PATHS: usize = 10_000;

/// An index without signatures.
#[derive(Debug)]
pub(super) struct PlainIndex {
    pub keeper: Arc<Keeper>,
    pub fresh: Duration,
    pub seen: Mutex<HashMap<String, Seen>>,
}

/// What was found at a path.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    at: Instant,
    hash: Option<Hash>,
}

impl PlainIndex {
    /// An index file.
    pub(super) fn file(&self, path: &str) -> Checked<Option<Content>> {
        if !is_index(path) {
            return Ok(None);
        }
        // From before it is asked for: what is published meanwhile has to wait no longer than the freshness.
        let asked = Instant::now();
        self.look(path, MOST, || asked)
    }

    /// Whatever lies at a path, of at most `cap` bytes: asked for once within the freshness, which begins when all of
    /// it is there, as a package may take longer than that.
    pub(super) fn anything(&self, path: &str, cap: u64) -> Checked<Option<Content>> {
        self.look(path, cap, Instant::now)
    }

    fn look(
        &self,
        path: &str,
        cap: u64,
        from: impl FnOnce() -> Instant,
    ) -> Checked<Option<Content>> {
        let known = self.seen(path);
        if known.is_some_and(|seen| seen.hash.is_none()) {
            return Ok(None);
        }
        let known = known.and_then(|seen| self.keeper.at_hand(&seen.hash?));
        if known.is_some() {
            return Ok(known);
        }
        let found = self.keeper.anything(path, cap)?;
        let (at, hash) = (from(), found.as_ref().map(|content| content.sha256));
        let mut seen = lock(&self.seen);
        if seen.len() >= MOST_PATHS {
            seen.clear();
        }
        seen.insert(path.to_owned(), Seen { at, hash });
        Ok(found)
    }

    /// Whether a path was found to hold this, within the freshness.
    pub(super) fn is_current(&self, path: &str, hash: &Hash) -> bool {
        let seen = self.seen(path);
        seen.and_then(|seen| seen.hash).as_ref() == Some(hash)
    }

    fn seen(&self, path: &str) -> Option<Seen> {
        let seen = lock(&self.seen);
        let seen = seen.get(path).copied();
        seen.filter(|seen| seen.at.elapsed() < self.fresh)
    }
}

fn is_index(path: &str) -> bool {
    let name = match path.split_once('/') {
        Some((_, name)) => name,
        None => path,
    };
    let plain = [".zst", ".bz2", ".gz"]
        .iter()
        .find_map(|ending| name.strip_suffix(ending));
    NAMES.contains(&name) || plain.is_some_and(|name| NAMES.contains(&name))
}
