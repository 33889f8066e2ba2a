//! The index files of a subdir. Owns what each kind of file holds and in which order they are
//! published; must not know where records come from, nor write a file.

mod document;
mod published;
mod twin;

use std::sync::Arc;

pub use document::{Document, Listed};
pub use published::{Published, PublishedRecord};
pub use twin::Codec;

use crate::channel::SubdirName;
use crate::error::Error;

/// The index that every client reads.
pub const REPODATA: &str = "repodata.json";

/// The index before patches, where patches exist.
pub const REPODATA_FROM_PACKAGES: &str = "repodata_from_packages.json";

/// Names of index files that other indexers write and that would go stale beside ours.
const OF_OTHERS: [&str; 10] = [
    "current_repodata.json",
    "current_repodata.json.bz2",
    "current_repodata.json.zst",
    REPODATA_FROM_PACKAGES,
    "repodata_from_packages.json.bz2",
    "repodata_from_packages.json.zst",
    "repodata_shards.msgpack.zst",
    "repodata_shards_from_packages.msgpack.zst",
    "run_exports.json",
    "run_exports.json.zst",
];

/// Which index files are written, and how.
#[derive(Debug, Clone)]
pub struct Formats {
    /// `repodata.json.zst`
    pub zst: bool,
    /// Its compression level, 1 to 22.
    pub zst_level: i32,
    /// `repodata.json.bz2`
    pub bz2: bool,
    /// One line, or Python's `indent=2`.
    pub compact: bool,
}

impl Default for Formats {
    /// Level 3 makes 50,000 records 2 % larger than level 9 does, in a fifth of the time.
    fn default() -> Self {
        Formats {
            zst: true,
            zst_level: 3,
            bz2: false,
            compact: true,
        }
    }
}

/// One index file as it should stand.
#[derive(Debug, Clone)]
pub struct IndexFile {
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

/// The index files of one subdir in the order of publication: twins first, `repodata.json` last.
///
/// # Errors
/// When the document can't be printed: see [`Document::render`].
pub fn index_files(document: &Document<'_>, formats: &Formats) -> Result<Vec<IndexFile>, Error> {
    let plain = Arc::new(document.render(formats.compact)?);
    let twin = |name: &str, codec: Codec, wanted: bool| IndexFile {
        path: document.subdir.path_of(name),
        content: wanted.then(|| Content::Twin(codec, Arc::clone(&plain))),
    };
    Ok(vec![
        twin(
            "repodata.json.zst",
            Codec::Zstd(formats.zst_level),
            formats.zst,
        ),
        twin("repodata.json.bz2", Codec::Bzip2, formats.bz2),
        IndexFile {
            path: document.subdir.path_of(REPODATA),
            content: Some(Content::Plain(plain)),
        },
    ])
}

/// Index files of other indexers among a subdir's files, that no run of ours brings up to date.
pub fn stale_files<'a>(
    subdir: &'a SubdirName,
    has: impl Fn(&str) -> bool + 'a,
) -> impl Iterator<Item = String> + 'a {
    OF_OTHERS
        .iter()
        .filter(move |name| has(name))
        .map(|name| subdir.path_of(name))
}

impl Content {
    /// Whether a file already holds this content; a twin does when it decompresses to it.
    pub fn is_in(&self, existing: &[u8]) -> bool {
        match self {
            Content::Plain(plain) => existing == plain.as_slice(),
            Content::Twin(codec, plain) => codec.holds(existing, plain),
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
    /// When compression fails.
    pub fn bytes(&self) -> Result<Vec<u8>, Error> {
        match self {
            Content::Plain(plain) => Ok(plain.as_ref().clone()),
            Content::Twin(codec, plain) => codec.compress(plain),
        }
    }
}
