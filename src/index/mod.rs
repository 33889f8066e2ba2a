//! THE STORY: a channel is walked, each new package is read once, made a record, signed, remembered, and
//! the index is published. Owns the order of the steps and the threads; each step is another room's.

mod attest;
mod collect;
mod crew;
mod documents;
mod examine;
mod judge;
mod neighbours;
mod outputs;
mod patching;
mod places;
mod read;
mod remains;
mod retired;
mod run;
mod shelf;
mod signed;
mod signing_key;
mod tally;
mod told;

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rayon::ThreadPool;

use collect::Collector;
pub(crate) use crew::each;
use documents::SigningKeys;
use examine::{Examined, Examiner};
pub use judge::{Policy, SignList, Signing};
use neighbours::Neighbour;
use outputs::{Outcome, Outputs};
pub use patching::Patches;
use patching::Prepared;
pub use places::Places;
use run::Run;
use shelf::Shelf;
pub use signed::SignedConfig;
use signed::{Listing, Signed};
pub use signing_key::{Keys, RoleKeys, SigningKey};

use crate::cache::{Cache, Seen, Versions};
use crate::channel::Selection;
use crate::error::Error;
use crate::keys::{Fingerprint, KeyName, Keyring};
use crate::progress::Progress;
use crate::repodata::{Document, Formats, IndexFile, Pins};
use crate::report::Report;
use crate::signing_log::SigningLog;
use crate::storage::{Change, Stat};
use crate::tuf::TARGETS;
use told::Told;

/// What stands in the path of every shard.
const SHARDS_FOLDER: &str = "/shards/";

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
    /// Where patches come from.
    pub patches: Patches,
    /// Versions that stay in `current_repodata.json` beside the newest.
    pub pins: Pins,
    /// How long shards stay that the index no longer names, in milliseconds.
    pub keep_shards: i64,
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
    /// What is done about a signed index.
    pub signed: SignedConfig,
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
    /// The keys of a signed index.
    pub roles: RoleKeys<'a>,
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
        roles,
        log,
        pool,
        progress,
        cancelled,
    } = tools;
    let (standing, mut warnings) = signed::begin(config, places, roles, cache, pool)?;
    let (places, role_keys) = (standing.vouch(places), &standing.role_keys());
    let key = standing.guard(key, role_keys.clone());
    let mut channel = shelf::walk(places, &config.selection)?;
    let neighbours = neighbours::neighbours(config, places, &mut channel)?;
    let told = shelf::told(places, &channel, pool)?;
    let first = neighbours.is_empty() && told.iter().all(Told::is_nothing);
    let shelves = shelf::shelves(channel.subdirs, &told, places, cache, pool)?;
    if !config.dry_run {
        places.target().apply(shelf::leftovers(places, &shelves)?)?;
    }

    let mut prepared = patching::prepare(config, places, &shelves)?;
    warnings.append(&mut channel.warnings);
    warnings.append(&mut prepared.warnings);

    let examiner = Examiner {
        config,
        places,
        keyring,
        key: &key,
        role_keys,
        progress,
        cancelled,
    };
    let run = Run {
        examiner: &examiner,
        shelves: &shelves,
        pool,
    };
    let mut examined = run.examine(Collector::new(places.target(), cache, log, config.dry_run))?;

    progress.phase("making the index");
    let twins = attest::twins(places, &shelves, &mut examined);
    let mut report = tally::report(config, warnings, &shelves, &examined, places);
    report.first = first;
    if report.not_published.is_none() {
        let made_with = key.opened().map(|signer| signer.public_key());
        let making = Making {
            config,
            places,
            shelves: &shelves,
            examined: &examined,
            twins,
            keys: SigningKeys { keyring, made_with },
            signed: standing.target.as_ref(),
            pool,
            cancelled,
        };
        making.publish(prepared, &neighbours, (cache, progress), &mut report)?;
    }
    report.shorten_warnings();
    report.seconds = started.elapsed().as_secs_f64();
    Ok(report)
}

/// The second half of the story: from examined packages to files.
struct Making<'a> {
    config: &'a Config,
    places: Places<'a>,
    shelves: &'a [Shelf<'a>],
    examined: &'a [Examined],
    twins: Vec<IndexFile>,
    keys: SigningKeys<'a>,
    signed: Option<&'a Signed<'a>>,
    pool: &'a ThreadPool,
    cancelled: &'a AtomicBool,
}

impl Making<'_> {
    /// Makes what has to be done, and does it.
    fn publish(
        self,
        patches: Prepared<'_>,
        neighbours: &[Neighbour],
        (cache, progress): (&mut dyn Cache, &Progress),
        report: &mut Report,
    ) -> Result<(), Error> {
        let (config, places, shelves) = (self.config, self.places, self.shelves);
        let (changes, seen) = self.changes(patches, neighbours, cache, report)?;
        progress.phase("publishing");
        [report.files, report.deleted] = paths(&changes);
        if !config.dry_run {
            // One batch for all subdirs: where it fails in one, none is published.
            places.target().apply(changes)?;
            report.published = true;
            remember(&seen, config, cache, report);
            forget(config, shelves, cache, report);
        }
        Ok(())
    }

    /// Records, then patches, then every file that follows from them, then the generation that names these; and the
    /// versions of its metadata, where there is one.
    fn changes(
        self,
        patches: Prepared<'_>,
        neighbours: &[Neighbour],
        cache: &mut dyn Cache,
        report: &mut Report,
    ) -> Result<(Vec<Change>, Versions), Error> {
        let Making {
            config,
            places,
            shelves,
            examined,
            ..
        } = self;
        let documents =
            documents::documents(config, places, shelves, examined, &self.keys, self.pool)?;
        let (others, warnings) = neighbours::documents(places, neighbours, cache)?;
        report.warnings.extend(warnings);
        let (patched, reports) = patching::patched(
            config,
            places,
            patches,
            documents,
            &others,
            &self.keys,
            self.cancelled,
        )?;
        report.patches = reports;
        let outputs = Outputs {
            config,
            places,
            shelves,
            patched: &patched,
            neighbours: &others,
            twins: self.twins,
            known: self.signed.map(Signed::known),
            pool: self.pool,
        };
        let mut outcome = outputs.outcome()?;
        report.warnings.append(&mut outcome.warnings);
        let mut seen = Versions::new();
        if let Some(signed) = self.signed {
            let documents = patched.iter().map(|patched| &patched.document);
            let listing = Listing {
                storage: places.target(),
                channel: &config.channel,
                targets: std::mem::take(&mut outcome.targets),
                walked: documents.clone().map(|one| one.subdir).collect(),
                told: others.iter().map(|one| one.subdir).collect(),
                keys: signers(documents.chain(&others)),
                known_keys: self.keys.iter().collect(),
                dry_run: config.dry_run,
            };
            seen = follow(signed, listing, config, &mut outcome, report)?;
        }
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        outputs::in_order(&mut outcome.changes);
        let changes = outcome.changes.into_iter().map(|(_, change)| change);
        Ok((changes.collect(), seen))
    }
}

/// Adds the generation that follows to what has to be done; its versions.
fn follow(
    signed: &Signed<'_>,
    listing: Listing<'_>,
    config: &Config,
    outcome: &mut Outcome,
    report: &mut Report,
) -> Result<Versions, Error> {
    let next = signed.next(listing, config.signed)?;
    outcome.changes.extend(next.changes);
    report.warnings.extend(next.warnings);
    report.signed_index = Some(next.report);
    Ok(next.versions)
}

/// The keys whose signatures documents list.
fn signers<'d>(
    documents: impl Iterator<Item = &'d Document<'d>>,
) -> BTreeMap<Fingerprint, KeyName> {
    let keys = documents.flat_map(|document| &document.signing_keys);
    keys.map(|(fingerprint, (name, _))| (*fingerprint, name.clone()))
        .collect()
}

/// What is written, and what is deleted, for the report. The shards of a subdir count as one, and so do files by hash:
/// they are many, and a dry run can't know the names of those with signatures that it does not make.
fn paths(changes: &[Change]) -> [Vec<String>; 2] {
    let mut seen = HashSet::new();
    let [mut written, mut deleted] = [Vec::new(), Vec::new()];
    for change in changes {
        let path = match change.path().split_once(SHARDS_FOLDER) {
            _ if change.path().starts_with(TARGETS) => format!("{TARGETS}/"),
            Some((subdir, _)) => format!("{subdir}{SHARDS_FOLDER}"),
            None => change.path().to_owned(),
        };
        let is_deleted = matches!(change, Change::Remove { .. });
        if seen.insert((is_deleted, path.clone())) {
            match is_deleted {
                true => deleted.push(path),
                false => written.push(path),
            }
        }
    }
    [written, deleted]
}

/// Lets the cache forget what is gone. The index is published by then, whatever becomes of the cache.
fn forget(config: &Config, shelves: &[Shelf<'_>], cache: &mut dyn Cache, report: &mut Report) {
    // Records that stay without their files need what is remembered of them.
    if config.update_only {
        return;
    }
    for shelf in shelves {
        if let Err(error) = shelf.forget(cache) {
            report.warnings.push(error.to_string());
        }
    }
}

/// Lets the cache remember which generation was published.
fn remember(seen: &Versions, config: &Config, cache: &mut dyn Cache, report: &mut Report) {
    let which = match config.signed.accept {
        true => Seen::Any,
        false => Seen::Higher,
    };
    if let Err(error) = cache.seen(seen, which) {
        report.warnings.push(error.to_string());
    }
}
