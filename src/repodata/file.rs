//! An index file as it should stand. Owns when each is put in its place, and what makes two contents the same; must
//! not know what files mean, nor write one.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::{Codec, Formats};
use crate::channel::SubdirName;
use crate::error::Error;

/// When a file is put in its place: all of one rank before any of the next, over the whole channel, so that
/// nothing ever names what is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// Lists of attestations, which records name.
    Attestations,
    /// Shards, which the shard index names.
    Shard,
    /// Index files and keys by hash, which signed metadata names.
    Target,
    /// Signed metadata, which the timestamp names.
    Metadata,
    /// Run exports, pages and other kin.
    Kin,
    /// The shard index.
    ShardIndex,
    /// Compressed twins.
    Twin,
    /// `repodata.json`
    Repodata,
    /// The timestamp, which makes a new generation the one that counts.
    Timestamp,
    /// Shards and generations that nothing names any more.
    Retired,
}

/// Ranks that may be put in place in any order, as far as a loss of power goes: signed metadata and what it names are of
/// one, because nothing leads to either before the timestamp does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// Files that others name.
    Named,
    /// Files that name them.
    Naming,
    /// Files that nothing names any more.
    Unnamed,
}

impl Rank {
    /// The tier: one has to survive a loss of power before the next is begun, because then the order in which files
    /// were put in place tells nothing.
    pub fn tier(self) -> Tier {
        match self {
            Rank::Attestations | Rank::Shard | Rank::Target | Rank::Metadata => Tier::Named,
            Rank::Kin | Rank::ShardIndex | Rank::Twin | Rank::Repodata | Rank::Timestamp => {
                Tier::Naming
            }
            Rank::Retired => Tier::Unnamed,
        }
    }
}

/// One index file as it should stand.
#[derive(Debug, Clone)]
pub struct IndexFile {
    /// When it is put there.
    pub rank: Rank,
    /// Its path in the channel.
    pub path: String,
    /// Its content, or `None` where it should not be.
    pub content: Option<Content>,
}

/// The content of an index file; a twin is compressed only when it has to be written.
#[derive(Debug, Clone)]
pub enum Content {
    /// As it is.
    Plain(Arc<Vec<u8>>),
    /// Compressed.
    Twin(Codec, Arc<Vec<u8>>),
}

impl IndexFile {
    /// A file without twins; `None` where it should not be.
    pub fn plain(rank: Rank, path: String, content: Option<Vec<u8>>) -> IndexFile {
        IndexFile {
            rank,
            path,
            content: content.map(|bytes| Content::Plain(Arc::new(bytes))),
        }
    }

    /// Whether a signed index names it. Shards and lists of attestations are named, by their hashes, in files that
    /// it names.
    pub fn is_target(&self) -> bool {
        match self.rank {
            Rank::Kin | Rank::ShardIndex | Rank::Twin | Rank::Repodata => true,
            Rank::Attestations
            | Rank::Shard
            | Rank::Target
            | Rank::Metadata
            | Rank::Timestamp
            | Rank::Retired => false,
        }
    }
}

/// A file and its twins, as far as they are switched on; where the file should not be, none of them should.
pub fn with_twins(
    rank: Rank,
    subdir: &SubdirName,
    name: &str,
    plain: Option<Vec<u8>>,
    formats: &Formats,
) -> [IndexFile; 3] {
    let plain = plain.map(Arc::new);
    let path = subdir.path_of(name);
    let twin = |extension: &str, codec: Codec, wanted: bool| IndexFile {
        rank: Rank::Twin,
        path: format!("{path}{extension}"),
        content: plain
            .as_ref()
            .filter(|_| wanted)
            .map(|plain| Content::Twin(codec, Arc::clone(plain))),
    };
    [
        twin(".zst", Codec::Zstd(formats.zst_level), formats.zst),
        twin(".bz2", Codec::Bzip2, formats.bz2),
        IndexFile {
            rank,
            content: plain.clone().map(Content::Plain),
            path: path.clone(),
        },
    ]
}

impl Content {
    /// Whether a file already holds this content; a twin does when it decompresses to it.
    pub fn is_in(&self, existing: &[u8]) -> bool {
        match self {
            Content::Plain(plain) => existing == plain.as_slice(),
            Content::Twin(codec, plain) => codec.holds(existing, plain),
        }
    }

    /// Whether a file of this many bytes, which begins so, can hold this content: without reading all of it.
    pub fn may_be_in(&self, size: u64, head: &[u8]) -> bool {
        match self {
            Content::Plain(plain) => u64::try_from(plain.len()) == Ok(size),
            Content::Twin(codec, plain) => {
                size <= self.largest() && codec.may_hold(head, plain.len())
            }
        }
    }

    /// The most bytes that a file with this content can have.
    pub fn largest(&self) -> u64 {
        let (Content::Plain(plain) | Content::Twin(_, plain)) = self;
        let plain = u64::try_from(plain.len()).unwrap_or(u64::MAX);
        // Neither codec makes incompressible data longer than by a hundredth and some headers.
        plain.saturating_add(plain / 64).saturating_add(4_096)
    }

    /// The bytes to write.
    ///
    /// # Errors
    /// When compression fails; [`Error::Interrupted`] when it is to stop.
    pub fn bytes(&self, cancelled: &AtomicBool) -> Result<Arc<Vec<u8>>, Error> {
        match self {
            Content::Plain(plain) => Ok(Arc::clone(plain)),
            Content::Twin(codec, plain) => codec.compress_until(plain, cancelled).map(Arc::new),
        }
    }
}
