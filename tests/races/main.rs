//! Races: two and four indexers at once on one channel, some of them killed; an indexer and an uploader who writes
//! slowly, replaces, deletes and spoils packages and signatures; an indexer and many readers, also of a signed index.
//! The real binary runs, in the folder of a `Scene`.
//!
//! A *round* is one run of an indexer under attack. At every moment no reader may see an index file that is not whole,
//! or that names bytes which were not there: what uploaders do is written down with its times ([`history`]), so this is
//! exact. After each series all is quiet, and then a run ends as the state deserves, no package is lost, the
//! index is that of a run from nothing, and a run after that does nothing.
//!
//! `SIGINDEX_ROUNDS` sets the rounds of all tests together (1,000 unless it says otherwise), `SIGINDEX_SEED` what chance
//! decides; threads and processes still meet as they please. The long form:
//!
//!     SIGINDEX_ROUNDS=10000 cargo test --test races -- --nocapture
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::string_slice
)]

#[path = "../support/afresh.rs"]
mod afresh;
#[path = "../support/msgpack.rs"]
mod msgpack;
#[path = "../support/reader.rs"]
mod reader;
#[path = "../support/scene.rs"]
mod scene;

mod field;
mod history;
mod indexers;
mod library;
mod readers;
mod slow;
mod the_reader;
mod uploader;
mod uploading;

/// Rounds of all tests together, and the seed of all chance.
pub fn asked() -> (usize, u64) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().unwrap());
    let rounds = number("SIGINDEX_ROUNDS").unwrap_or(1_000);
    let seed = number("SIGINDEX_SEED").unwrap_or(1);
    (usize::try_from(rounds).unwrap(), seed)
}
