//! THE STORY: a channel is walked, each new package is read once, made a record, signed, remembered, and
//! the index is published. Owns the order of the steps and the threads; each step is another room's.

mod assemble;
mod collect;
mod examine;
mod judge;
mod read;
mod run;
mod shelf;
mod signing_key;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rayon::ThreadPool;

use assemble::SigningKeys;
use collect::Collector;
use examine::Examiner;
pub use judge::{Policy, SignList, Signing};
use run::Run;
pub use shelf::Places;
use shelf::Shelf;
pub use signing_key::SigningKey;

use crate::cache::Cache;
use crate::channel::Selection;
use crate::error::Error;
use crate::keys::Keyring;
use crate::progress::Progress;
use crate::repodata::Formats;
use crate::report::Report;
use crate::signing_log::SigningLog;
use crate::storage::Stat;

/// What a run is asked to do.
#[derive(Debug, Clone)]
pub struct Config {
    /// The channel, as it is named in the report.
    pub channel: String,
    /// Which subdirs.
    pub selection: Selection,
    /// What is signed, listed and refused.
    pub policy: Policy,
    /// The smallest key that counts, in bits.
    pub min_bits: u32,
    /// Which index files are written.
    pub formats: Formats,
    /// Leave the signatures themselves out of the records.
    pub detached: bool,
    /// Publish nothing when anything is refused.
    pub strict: bool,
    /// Let refused packages leave the index that were in it.
    pub drop_refused: bool,
    /// Keep records whose files are gone.
    pub update_only: bool,
    /// Decode archives to their end.
    pub check_archives: bool,
    /// What tells that a file is the one that was read.
    pub freshness: Freshness,
    /// Read every package, whatever is remembered.
    pub rehash: bool,
    /// Write nothing at all.
    pub dry_run: bool,
    /// The time of this run, in Unix milliseconds.
    pub now: i64,
}

/// What tells that a file is the one that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Freshness {
    /// Size, mtime, inode and ctime.
    #[default]
    Full,
    /// Size and mtime: for machines that bring the cache and not the files' inodes.
    SizeAndMtime,
}

impl Freshness {
    fn same(self, known: &Stat, found: &Stat) -> bool {
        match self {
            Freshness::Full => known == found,
            Freshness::SizeAndMtime => known.size == found.size && known.mtime == found.mtime,
        }
    }
}

/// What a run works with, opened.
pub struct Tools<'a> {
    /// Where packages are read and files are written.
    pub places: Places<'a>,
    /// What is remembered.
    pub cache: &'a mut dyn Cache,
    /// The public keys.
    pub keyring: &'a Keyring,
    /// The private key.
    pub key: SigningKey<'a>,
    /// Where signatures are logged.
    pub log: Option<&'a mut SigningLog>,
    /// The threads.
    pub pool: &'a ThreadPool,
    /// What people see meanwhile.
    pub progress: &'a Progress,
    /// Set when the run is to stop soon.
    pub cancelled: &'a AtomicBool,
}

/// Signs what is unsigned, indexes, and publishes. The caller holds the channel's lock.
///
/// # Errors
/// When the run as a whole failed: nothing was published then, and signatures that were made stay. What
/// is wrong with single packages is in the report.
pub fn index(config: &Config, tools: Tools<'_>) -> Result<Report, Error> {
    let started = Instant::now();
    let Tools {
        places,
        cache,
        keyring,
        key,
        log,
        pool,
        progress,
        cancelled,
    } = tools;
    let channel = shelf::walk(places, &config.selection)?;
    let texts = shelf::published(places, &channel)?;
    let shelves = shelf::shelves(channel.subdirs, &texts, places, cache)?;
    if !config.dry_run {
        let leftovers = shelves.iter().flat_map(Shelf::leftovers).collect();
        places.target().apply(leftovers)?;
    }

    let examiner = Examiner {
        config,
        places,
        keyring,
        key: &key,
        progress,
        cancelled,
    };
    let run = Run {
        examiner: &examiner,
        shelves: &shelves,
        pool,
    };
    let examined = run.examine(Collector::new(places.target(), cache, log, config.dry_run))?;

    progress.phase("making the index");
    let mut report = assemble::report(config, channel.warnings, &shelves, &examined, places);
    if report.not_published.is_none() {
        let keys = SigningKeys {
            keyring,
            made_with: key.opened().map(|signer| signer.public_key()),
        };
        let changes = assemble::changes(config, &shelves, &examined, &keys, places, pool)?;
        if cancelled.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        progress.phase("publishing");
        report.files = changes
            .iter()
            .map(|change| change.path().to_owned())
            .collect();
        if !config.dry_run {
            // One batch for all subdirs: where it fails in one, none is published.
            places.target().apply(changes)?;
            report.published = true;
            forget(&shelves, cache, &mut report);
        }
    }
    report.seconds = started.elapsed().as_secs_f64();
    Ok(report)
}

/// Lets the cache forget what is gone. The index is published by then, whatever becomes of the cache.
fn forget(shelves: &[Shelf<'_>], cache: &mut dyn Cache, report: &mut Report) {
    for shelf in shelves {
        if let Err(error) = shelf.forget(cache) {
            report.warnings.push(error.to_string());
        }
    }
}
