//! The index files of a subdir. Owns what each kind of file holds and in which order they are
//! published; must not know where records come from, nor write a file.

mod channeldata;
mod current;
mod document;
mod file;
pub mod page;
mod published;
mod revision;
pub mod rss;
pub mod run_exports;
pub mod shards;
mod twin;
mod web;

use std::collections::BTreeMap;

pub use channeldata::{ChannelData, ChannelPackage, gather};
pub use current::{Current, Pins, current};
pub use document::{Document, Listed};
pub use file::{Content, IndexFile, Rank, Tier, with_twins};
pub use published::{Published, PublishedRecord};
pub use twin::{Codec, HEAD_BYTES};
pub use web::is_path_to_channel;

use crate::channel::SubdirName;

/// The index that every client reads.
pub const REPODATA: &str = "repodata.json";

/// The index before patches, where patches exist.
pub const REPODATA_FROM_PACKAGES: &str = "repodata_from_packages.json";

/// The newest packages and what they need, for the classic solver.
pub const CURRENT_REPODATA: &str = "current_repodata.json";

/// A summary of the channel by package name (CEP 38).
pub const CHANNELDATA: &str = "channeldata.json";

/// What is new in the channel.
pub const RSS: &str = "rss.xml";

/// Names of index files that other indexers write, and sigindex does not: they would go stale beside ours.
const OF_OTHERS: [&str; 2] = ["repodata.jlap", "repodata_shards_from_packages.msgpack.zst"];

/// Which index files are written, and how.
#[derive(Debug, Clone)]
pub struct Formats {
    /// `repodata.json`, with its twins.
    pub monolithic: bool,
    /// The shard index and the shards (CEP 16).
    pub shards: bool,
    /// `run_exports.json` (CEP 12).
    pub run_exports: bool,
    /// `current_repodata.json`, for the classic solver.
    pub current_repodata: bool,
    /// `channeldata.json` (CEP 38).
    pub channeldata: bool,
    /// `rss.xml`
    pub rss: bool,
    /// `index.html`
    pub html: bool,
    /// Pages name each package's dependencies.
    pub html_dependencies: bool,
    /// `.json.zst` twins.
    pub zst: bool,
    /// Their compression level, and that of shards, 1 to 22.
    pub zst_level: i32,
    /// `.json.bz2` twins.
    pub bz2: bool,
    /// One line, or Python's `indent=2`.
    pub compact: bool,
    /// All records under `v3` (CEP 48), not only those that need it.
    pub next: bool,
    /// Where packages are served when not beside the index (CEP 15): a URL of the channel, or a relative one.
    pub base_url: Option<String>,
    /// Channels that are used together with this one (CEP 42): `base`, `overrides`.
    pub relations: BTreeMap<String, String>,
    /// The channel's name, for people.
    pub channel_name: String,
}

impl Default for Formats {
    /// Level 3 makes 50,000 records 2 % larger than level 9 does, in a fifth of the time.
    fn default() -> Self {
        Formats {
            monolithic: true,
            shards: true,
            run_exports: true,
            current_repodata: false,
            channeldata: false,
            rss: false,
            html: true,
            html_dependencies: false,
            zst: true,
            zst_level: 3,
            bz2: false,
            compact: true,
            next: false,
            base_url: None,
            relations: BTreeMap::new(),
            channel_name: String::new(),
        }
    }
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
