//! THE STORY: a channel is walked, each new package is read once, made a record, signed, remembered, and
//! the index is published. Owns the order of the steps and the threads; each step is another room's.

mod attest;
mod claimed;
mod collect;
mod crew;
mod documents;
mod examine;
mod fitting;
mod glob;
mod judge;
mod ledger;
mod making;
mod neighbours;
mod outputs;
mod patching;
mod places;
mod read;
mod remains;
mod retired;
mod reuse;
mod run;
mod scan;
mod share;
mod shelf;
mod signed;
mod signing_key;
mod tally;
mod told;

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use rayon::ThreadPool;

use attest::Twins;
use collect::Collector;
pub(crate) use crew::each;
use documents::SigningKeys;
use examine::{Examined, Examiner};
pub use glob::{Glob, GlobError};
pub use judge::{Policy, SignList, Signing};
use ledger::{Asked, Judged, Ledger, Left};
use making::Making;
use neighbours::Neighbour;
pub use patching::Patches;
use patching::Prepared;
pub use places::Places;
use reuse::News;
use run::Run;
pub use scan::scan;
use share::Stage;
pub use share::{Part, Share};
use shelf::{Lying, Shelf};
pub use signed::SignedConfig;
use signed::Standing;
pub use signing_key::{Keys, RoleKeys, SigningKey};

use crate::cache::Cache;
use crate::channel::Selection;
use crate::error::Error;
use crate::keys::Keyring;
use crate::progress::Progress;
use crate::repodata::{Formats, Pins};
use crate::report::Report;
use crate::signing_log::SigningLog;
use crate::storage::Stat;
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
    run_to_its_end(config, Stage::Whole, tools)
}

/// Publishes what [`scan()`] remembered, and opens no package (but one that holds patches): one that is not remembered as
/// it lies there now is refused. The caller holds the channel's lock.
///
/// # Errors
/// As [`index()`].
pub fn publish(config: &Config, tools: Tools<'_>) -> Result<Report, Error> {
    run_to_its_end(config, Stage::Publish, tools)
}

fn run_to_its_end(config: &Config, stage: Stage, tools: Tools<'_>) -> Result<Report, Error> {
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
    let (standing, warnings) = signed::begin(config, places, roles, cache, pool)?;
    let places = standing.vouch(places);
    let walked = Walked::of(config, places, warnings)?;
    let apart = standing.is_signed() || !walked.neighbours.is_empty();
    let asked = Asked::of(config, places, keyring, apart);
    let ledger = Ledger::open(cache, &asked, config.now);
    let same = |ledger: &Ledger| {
        let walked = (walked.lying.as_slice(), walked.warnings.as_slice());
        ledger.nothing_new(config, places, walked, pool)
    };
    let mut report = match ledger.as_ref().and_then(same) {
        Some(report) => report,
        None => {
            let anew = Anew {
                config,
                stage,
                places,
                keyring,
                standing: &standing,
                asked: &asked,
                ledger: ledger.as_ref(),
                pool,
                progress,
                cancelled,
            };
            anew.index(walked, key, (cache, log))?
        }
    };
    report.shorten_warnings();
    report.seconds = started.elapsed().as_secs_f64();
    Ok(report)
}

/// A run that has something to do, and what it builds on.
struct Anew<'a> {
    config: &'a Config,
    stage: Stage,
    places: Places<'a>,
    keyring: &'a Keyring,
    standing: &'a Standing<'a>,
    asked: &'a Asked,
    ledger: Option<&'a Ledger>,
    pool: &'a ThreadPool,
    progress: &'a Progress,
    cancelled: &'a AtomicBool,
}

impl Anew<'_> {
    fn index(
        self,
        walked: Walked,
        key: SigningKey<'_>,
        (cache, log): (&mut dyn Cache, Option<&mut SigningLog>),
    ) -> Result<Report, Error> {
        let (config, places, pool) = (self.config, self.places, self.pool);
        let known = shelf::known(&walked.lying, cache, pool)?;
        let told = shelf::told(places, &walked.lying, &known, self.ledger, pool)?;
        let is_first = |told: &Option<Told>| told.as_ref().is_some_and(Told::is_nothing);
        let first = walked.neighbours.is_empty() && told.iter().all(is_first);
        let shelves = shelf::shelves(walked.lying, known, &told, places, pool)?;
        if !config.dry_run {
            places.target().apply(shelf::leftovers(places, &shelves)?)?;
        }
        let mut prepared = patching::prepare(config, places, &shelves)?;
        let of_patches = std::mem::take(&mut prepared.warnings);
        let role_keys = &self.standing.role_keys();
        let key = self.standing.guard(key, role_keys.clone());
        let collector = Collector::new(places.target(), cache, log, config.dry_run);
        let mut examined = self.examine(&shelves, (&key, role_keys), collector)?;

        self.progress.phase("making the index");
        fitting::refuse_what_finds_no_room(
            config,
            &shelves,
            key.public_key(),
            &mut examined,
            pool,
        )?;
        let twins = attest::twins(places, self.ledger, &mut examined, pool);
        let warnings = walked.warnings.iter().cloned().chain(of_patches).collect();
        let mut report = tally::report(config, warnings, &shelves, &examined, places);
        report.first = first;
        if report.not_published.is_none() {
            let found = Found {
                shelves,
                examined,
                twins,
                prepared,
                neighbours: walked.neighbours,
                warnings: walked.warnings,
            };
            self.publish(found, &key, cache, &mut report)?;
        }
        Ok(report)
    }

    /// Looks at every package, and reads those that have to be.
    fn examine(
        &self,
        shelves: &[Shelf<'_>],
        (key, role_keys): (&SigningKey<'_>, &signing_key::Keys),
        collector: Collector<'_>,
    ) -> Result<Vec<Examined>, Error> {
        let examiner = Examiner {
            config: self.config,
            stage: self.stage,
            places: self.places,
            keyring: self.keyring,
            key,
            role_keys,
            progress: self.progress,
            cancelled: self.cancelled,
        };
        let run = Run {
            examiner: &examiner,
            shelves,
            pool: self.pool,
        };
        run.examine(collector)
    }

    /// Makes the index of what was found, publishes it, and writes down how that ended.
    fn publish(
        &self,
        mut found: Found<'_>,
        key: &SigningKey<'_>,
        cache: &mut dyn Cache,
        report: &mut Report,
    ) -> Result<(), Error> {
        let (config, places, pool) = (self.config, self.places, self.pool);
        let judged = Judged::of(config, &found.shelves, &found.examined, pool);
        let news = News::of(config, &found.shelves, &found.examined);
        found.shelves.iter_mut().for_each(Shelf::settle);
        let shelves = found.shelves.as_slice();
        let making = Making {
            config,
            places,
            shelves,
            news,
            twins: found.twins,
            keys: SigningKeys {
                keyring: self.keyring,
                signing: key.public_key(),
            },
            signed: self.standing.target.as_ref(),
            ledger: self.ledger,
            pool,
            progress: self.progress,
            cancelled: self.cancelled,
        };
        let before = (found.examined, found.prepared);
        let files = making.publish(before, &found.neighbours, cache, report)?;
        let left = Left {
            asked: self.asked,
            warnings: &found.warnings,
            shelves,
            judged,
            files,
        };
        left.write_down(places, report, cache);
        Ok(())
    }
}

/// What a run found, before an index is made of it.
struct Found<'a> {
    shelves: Vec<Shelf<'a>>,
    examined: Vec<Examined>,
    twins: Twins,
    prepared: Prepared<'a>,
    neighbours: Vec<Neighbour>,
    /// What the walk had to say.
    warnings: Vec<String>,
}

/// What lies in a channel, before anything is opened.
struct Walked {
    lying: Vec<Lying>,
    neighbours: Vec<Neighbour>,
    warnings: Vec<String>,
}

impl Walked {
    /// Walks the channel; `warnings` come before what the walk has to say.
    fn of(config: &Config, places: Places<'_>, mut warnings: Vec<String>) -> Result<Self, Error> {
        let mut channel = shelf::walk(places, &config.selection)?;
        let neighbours = neighbours::neighbours(config, places, &mut channel)?;
        warnings.append(&mut channel.warnings);
        let lying = Lying::beside(channel.subdirs, places)?;
        warnings.extend(lying.iter().flat_map(Lying::left_in_output));
        Ok(Walked {
            lying,
            neighbours,
            warnings,
        })
    }
}
