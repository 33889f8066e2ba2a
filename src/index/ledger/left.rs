//! What a run writes down at its end. Owns what becomes of it there, and when it is not sure enough to be written; must
//! not know how it is used.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rayon::ThreadPool;

use super::found::{self, identities, names};
use super::{Asked, Ledger};
use crate::cache::{Cache, Remembered};
use crate::channel::{PackageFile, SubdirName};
use crate::index::examine::{Examined, Standing};
use crate::index::places::Places;
use crate::index::read::TICK;
use crate::index::shelf::{Lying, Shelf};
use crate::index::{Config, SHARDS_FOLDER};
use crate::report::{Counts, Report};
use crate::storage::Stat;

/// What a run left behind, to be written down.
pub struct Left<'r> {
    /// What it was asked.
    pub asked: &'r Asked,
    /// What the walk had to say.
    pub warnings: &'r [String],
    /// The subdirs.
    pub shelves: &'r [Shelf<'r>],
    /// Their packages.
    pub judged: Judged,
    /// How it left its files.
    pub files: Files,
}

/// The packages of a run, by what was judged of them.
#[derive(Debug, Default)]
pub struct Judged {
    /// A digest of their identities; `None` where one of them is looked at again by each run.
    identities: Option<String>,
    /// Subdirs with lists of attestations.
    attested: BTreeSet<SubdirName>,
    /// When, in Unix milliseconds.
    now: i64,
}

impl Judged {
    /// What is to be written down of packages; `examined` are those of all shelves.
    pub fn of(
        config: &Config,
        shelves: &[Shelf<'_>],
        examined: &[Examined],
        pool: &ThreadPool,
    ) -> Judged {
        let attested = examined.iter().filter(|one| {
            let known = one.known.as_ref();
            known.is_some_and(|known| known.attestations.is_some())
        });
        let by_file: HashMap<&PackageFile, &Examined> =
            examined.iter().map(|one| (&one.file, one)).collect();
        let look = |_: &Lying, file: &PackageFile| {
            // What was first seen in the future is worth a warning until then.
            let past = |one: &&&Examined| {
                let known = one.known.as_ref();
                known.is_none_or(|known| known.indexed_timestamp <= config.now)
            };
            remembered(by_file.get(file).filter(past)?)
        };
        let lying = shelves.iter().map(|shelf| &shelf.lying);
        Judged {
            identities: identities(lying, config, pool, look),
            attested: attested.map(|one| one.file.subdir.clone()).collect(),
            now: config.now,
        }
    }
}

/// How a run leaves the index files.
#[derive(Debug, Default, Clone)]
pub struct Files {
    /// All of them, by path; with the identity of each that stood rightly before.
    pub standing: BTreeMap<String, Option<Stat>>,
    /// Whether it is not sure that all is as it was made.
    pub unsure: bool,
    /// When something has to be done though nothing changes, in Unix milliseconds.
    pub until: Option<i64>,
}

impl Files {
    /// No files yet, and the time until which they stay as they will be.
    pub fn until(until: Option<i64>) -> Files {
        Files {
            until,
            ..Files::default()
        }
    }

    /// Takes in those of another part of the work.
    pub fn extend(&mut self, other: Files) {
        self.standing.extend(other.standing);
        self.unsure |= other.unsure;
        self.until = [self.until, other.until].into_iter().flatten().min();
    }

    /// Notes one.
    pub fn note(&mut self, path: String, stat: Option<Stat>) {
        self.standing.insert(path, stat);
    }

    /// Notes the identities of files that were written just now, with so many bytes each, or deleted: at once, before
    /// somebody else does anything to them.
    pub fn settle(&mut self, places: Places<'_>, done: &HashMap<String, Option<u64>>) {
        for (path, stat) in &mut self.standing {
            if stat.is_some() && !done.contains_key(path) {
                continue;
            }
            let found = places.target().stat(path);
            let found = found
                .inspect_err(|_| self.unsure = true)
                .unwrap_or_default();
            let size = found.map(|found| found.size);
            self.unsure |= done.get(path).is_some_and(|wanted| *wanted != size);
            *stat = found;
        }
    }
}

impl Left<'_> {
    /// Writes down how a run ended, where the next one may build on it. Without that the next one takes the long way,
    /// which is right too.
    pub fn write_down(self, places: Places<'_>, report: &Report, cache: &mut dyn Cache) {
        let ledger = self.ledger(places, report);
        let text = ledger.and_then(|ledger| serde_json::to_string(&ledger).ok());
        if let Some(text) = text {
            let _ = cache.ledger(Some(&text));
        }
    }

    fn ledger(self, places: Places<'_>, report: &Report) -> Option<Ledger> {
        let Asked(Some(asked)) = self.asked else {
            return None;
        };
        let next = next_report(report)?;
        if !report.files.is_empty() {
            // Until it has passed, whoever writes to a file of ours leaves it with the same times.
            std::thread::sleep(TICK);
        }
        let left = self;
        let Files {
            standing: mut files,
            unsure,
            until,
        } = left.files;
        let still = |(path, stat): (&String, &Option<Stat>)| {
            places.target().stat(path).is_ok_and(|found| found == *stat)
        };
        (!unsure && files.iter().all(still)).then_some(())?;
        let shards = left.shelves.iter().map(|shelf| {
            let subdir = &shelf.lying.subdir.name;
            let lie = found::shards(places.target(), subdir)?;
            // What came late, on a network file system, this run did not see: the next one has to look at it.
            let is_known = |path: &String| files.contains_key(path) || shelf.lists_shard(path);
            lie.keys().all(is_known).then_some(())?;
            Some((subdir.to_string(), found::digest_of(&lie)))
        });
        let shards = shards.collect::<Option<_>>()?;
        // Shards are many, and their folder is looked at as a whole.
        files.retain(|path, _| !path.contains(SHARDS_FOLDER));
        let lying = left.shelves.iter().map(|shelf| &shelf.lying);
        let attested = left.judged.attested;
        let plain = left
            .shelves
            .iter()
            .filter(|shelf| shelf.is_plain() && !attested.contains(&shelf.lying.subdir.name));
        let count = |shelf: &Shelf<'_>| {
            let subdir = &shelf.lying.subdir;
            (subdir.name.to_string(), subdir.packages.len())
        };
        Some(Ledger {
            asked: asked.clone(),
            names: names(left.warnings, lying, &files),
            identities: left.judged.identities?,
            shards,
            plain: plain.map(count).collect(),
            since: left.judged.now,
            files,
            until,
            report: next,
        })
    }
}

/// What a run reports that comes after this one and finds nothing new; `None` where that is not sure: a refused package
/// is looked at again by each run, and what this one says may be said only once.
fn next_report(report: &Report) -> Option<Report> {
    let changed = !report.files.is_empty()
        || !report.deleted.is_empty()
        || report.counts.opened > 0
        || !report.signed.is_empty()
        || !report.added.is_empty()
        || !report.replaced.is_empty()
        || !report.removed.is_empty();
    let sure = report.published
        && !report.dry_run
        && report.refused.is_empty()
        && report.unverified.is_empty()
        && (!changed || report.warnings.is_empty());
    let counts = &report.counts;
    sure.then(|| Report {
        counts: Counts {
            signed: 0,
            kept: counts.kept.saturating_add(counts.signed),
            reused: counts.listed,
            opened: 0,
            added: 0,
            replaced: 0,
            removed: 0,
            ..counts.clone()
        },
        added: Vec::new(),
        signed: Vec::new(),
        replaced: Vec::new(),
        removed: Vec::new(),
        files: Vec::new(),
        deleted: Vec::new(),
        first: false,
        ..report.clone()
    })
}

/// The identities of a package, its signature and its list of attestations, as they were judged.
fn remembered(one: &Examined) -> Option<[Option<Stat>; 3]> {
    let known: &Remembered = one.known.as_ref()?;
    let signature = known.signature.as_ref().map(|checked| checked.stat);
    let settled = match one.standing {
        Ok(Standing::Kept | Standing::Signed { .. }) => signature.is_some(),
        Ok(Standing::Unsigned) => signature.is_none(),
        _ => false,
    };
    let attestations = known.attestations.map(|attested| attested.stat);
    settled.then_some([Some(known.stat), signature, attestations])
}
