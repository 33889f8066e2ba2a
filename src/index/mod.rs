//! THE STORY: a channel is walked, each new package is read once, made a record, signed, remembered, and
//! the index is published. Owns the order of the steps and the threads; each step is another room's.

mod assemble;
mod collect;
mod examine;
mod judge;
mod read;
mod shelf;
mod signing_key;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Instant;

use rayon::ThreadPool;
use rayon::prelude::*;

use collect::Collector;
use examine::{Examined, Examiner, Surveyed};
pub use judge::{Policy, SignList, Signing};
pub use shelf::Places;
use shelf::Shelf;
pub use signing_key::SigningKey;

use crate::cache::Cache;
use crate::channel::{PackageFile, Selection};
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
    let texts = channel
        .subdirs
        .iter()
        .map(|subdir| shelf::published_texts(places, &subdir.name));
    let texts = texts.collect::<Result<Vec<_>, _>>()?;
    let subdirs = channel.subdirs.into_iter().zip(&texts);
    let shelves = subdirs.map(|(subdir, text)| Shelf::new(subdir, places, text, cache));
    let shelves = shelves.collect::<Result<Vec<_>, _>>()?;
    if !config.dry_run {
        places
            .target()
            .apply(shelves.iter().flat_map(Shelf::leftovers).collect())?;
    }

    let examiner = Examiner {
        config,
        places,
        keyring,
        key: &key,
        progress,
        cancelled,
    };
    let (settled, jobs) = survey(&examiner, &shelves, pool);
    let mut collector = Collector::new(places.target(), cache, log, config.dry_run);
    let run = Run {
        examiner: &examiner,
        shelves: &shelves,
        pool,
    };
    let examined = run
        .read_all(settled, &jobs, &mut collector)
        .map(|()| collector.finish())?;

    progress.phase("making the index");
    let mut report = Report {
        channel: config.channel.clone(),
        dry_run: config.dry_run,
        warnings: channel.warnings,
        ..Report::default()
    };
    assemble::tally(&mut report, config, &shelves, &examined);
    assemble::hold_back(&mut report, config, &shelves, places);
    if report.not_published.is_none() {
        let keys = assemble::SigningKeys {
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
            shelves.iter().try_for_each(|shelf| {
                cache.forget(shelf.subdir.name.as_str(), &shelf.forgotten())
            })?;
            report.published = true;
        }
    }
    report.seconds = started.elapsed().as_secs_f64();
    report.settle();
    Ok(report)
}

/// A package that has to be read.
struct Job<'a> {
    shelf: usize,
    file: &'a PackageFile,
    size: u64,
}

/// Looks at every package of every subdir; the largest come first of those that have to be read.
fn survey<'a>(
    examiner: &Examiner<'_>,
    shelves: &'a [Shelf<'_>],
    pool: &ThreadPool,
) -> (Vec<Examined>, Vec<Job<'a>>) {
    let files = shelves
        .iter()
        .enumerate()
        .flat_map(|(shelf, one)| one.subdir.packages.iter().map(move |file| (shelf, file)));
    let files: Vec<(usize, &PackageFile)> = files.collect();
    let surveyed: Vec<Surveyed> = pool.install(|| {
        let look = |(shelf, file): &(usize, &PackageFile)| {
            shelves.get(*shelf).map(|one| examiner.survey(one, file))
        };
        files.par_iter().filter_map(look).collect()
    });
    let (mut settled, mut jobs) = (Vec::new(), Vec::new());
    for (one, (shelf, file)) in surveyed.into_iter().zip(files) {
        match one {
            Surveyed::Settled(examined) => settled.push(*examined),
            Surveyed::ToRead(size) => jobs.push(Job { shelf, file, size }),
        }
    }
    jobs.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.file.cmp(b.file)));
    (settled, jobs)
}

/// The parallel part.
struct Run<'a> {
    examiner: &'a Examiner<'a>,
    shelves: &'a [Shelf<'a>],
    pool: &'a ThreadPool,
}

impl Run<'_> {
    /// Reads the packages on all threads, and makes what they find lasting on this one.
    fn read_all(
        &self,
        settled: Vec<Examined>,
        jobs: &[Job<'_>],
        collector: &mut Collector<'_>,
    ) -> Result<(), Error> {
        self.open_key_early(jobs)?;
        let bytes = jobs
            .iter()
            .fold(0u64, |sum, job| sum.saturating_add(job.size));
        self.examiner
            .progress
            .start(u64::try_from(jobs.len()).unwrap_or(u64::MAX), bytes);
        for one in settled {
            collector.take(one, None)?;
        }
        let next = AtomicUsize::new(0);
        let key = || self.examiner.key.opened().map(|signer| signer.public_key());
        std::thread::scope(|scope| {
            let (sender, results) = sync_channel(1_024);
            scope.spawn(|| {
                let sender = sender;
                self.pool.broadcast(|_| {
                    while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let result = self.read(job);
                        let last = result.is_err();
                        if sender.send(result).is_err() || last {
                            break;
                        }
                    }
                });
            });
            let collected = results
                .iter()
                .try_for_each(|result| collector.take(result?, key()));
            // Without a receiver every thread ends with its next package.
            drop(results);
            collected.and(collector.flush(key()))
        })
    }

    fn read(&self, job: &Job<'_>) -> Result<Examined, Error> {
        if self.examiner.cancelled.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let shelf = self.shelves.get(job.shelf).ok_or(Error::Interrupted)?;
        let examined = self.examiner.read(shelf, job.file);
        self.examiner.progress.package();
        examined
    }

    /// Where it is known that something will be signed, the passphrase is asked for before the bars begin.
    fn open_key_early(&self, jobs: &[Job<'_>]) -> Result<(), Error> {
        let signs = |job: &Job<'_>| {
            let shelf = self.shelves.get(job.shelf);
            shelf.is_some_and(|shelf| shelf.place_of_sig(self.examiner.places, job.file).is_none())
        };
        let policy = &self.examiner.config.policy;
        let may_sign = matches!(policy.signing, Signing::All);
        let will_sign = jobs.iter().any(signs) || (policy.resign && !jobs.is_empty());
        if may_sign && will_sign && !self.examiner.config.dry_run {
            self.examiner.key.signer()?;
        }
        Ok(())
    }
}
