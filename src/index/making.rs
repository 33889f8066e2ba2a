//! The second half of the story: from examined packages to records, patches, files, and a generation that names them.
//! Owns the order of these steps; each is another room's.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::ThreadPool;

use super::attest::Twins;
use super::documents::{self, SigningKeys};
use super::examine::Examined;
use super::ledger::{Files, Ledger};
use super::neighbours::{self, Neighbour};
use super::outputs::{self, Outcome, Outputs};
use super::patching::{self, Prepared};
use super::places::Places;
use super::reuse::News;
use super::shelf::Shelf;
use super::signed::{Listing, Signed};
use super::{Config, SHARDS_FOLDER};
use crate::cache::{Cache, Gone, Seen, Versions};
use crate::error::Error;
use crate::keys::{Fingerprint, KeyName};
use crate::progress::Progress;
use crate::publish;
use crate::repodata::{Document, Rank};
use crate::report::Report;
use crate::storage::{Change, Storage};
use crate::tuf::TARGETS;

/// What files are made of, and where they go.
pub struct Making<'a> {
    pub(super) config: &'a Config,
    pub(super) places: Places<'a>,
    pub(super) shelves: &'a [Shelf<'a>],
    pub(super) news: News,
    pub(super) twins: Twins,
    pub(super) keys: SigningKeys<'a>,
    pub(super) signed: Option<&'a Signed<'a>>,
    pub(super) ledger: Option<&'a Ledger>,
    pub(super) pool: &'a ThreadPool,
    pub(super) progress: &'a Progress,
    pub(super) cancelled: &'a AtomicBool,
}

impl Making<'_> {
    /// Makes what has to be done, and does it; what stands then.
    pub(super) fn publish(
        mut self,
        before: (Vec<Examined>, Prepared<'_>),
        neighbours: &[Neighbour],
        cache: &mut dyn Cache,
        report: &mut Report,
    ) -> Result<Files, Error> {
        let (config, places, progress) = (self.config, self.places, self.progress);
        let gone = std::mem::take(&mut self.news.gone);
        let mut due = self.changes(before, neighbours, cache, report)?;
        progress.phase("publishing");
        [report.files, report.deleted] = paths(&due.changes);
        if config.dry_run {
            demand_folders(places.target(), &due.changes)?;
        } else {
            // One batch for all subdirs: where it fails in one, none is published.
            let done = sizes(&due.changes);
            places.target().apply(publish::settled(due.changes))?;
            due.files.settle(places, &done);
            report.published = true;
            report.warnings.extend(places.target().take_left());
            let said = report.warnings.len();
            remember(&due.seen, config, cache, report);
            forget(&gone, cache, report);
            due.files.unsure |= report.warnings.len() > said;
        }
        Ok(due.files)
    }

    /// Records, then patches, then every file that follows from them, then the generation that names these; and the
    /// versions of its metadata, where there is one.
    fn changes(
        self,
        (examined, patches): (Vec<Examined>, Prepared<'_>),
        neighbours: &[Neighbour],
        cache: &mut dyn Cache,
        report: &mut Report,
    ) -> Result<Due, Error> {
        let Making {
            config,
            places,
            shelves,
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
            reaches: self.news.reaches(self.ledger, places, shelves, &patched),
            patched: &patched,
            neighbours: &others,
            twins: self.twins,
            known: self.signed.map(Signed::known),
            pool: self.pool,
            cancelled: self.cancelled,
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
        Ok(Due {
            changes: outcome.changes,
            seen,
            files: outcome.files,
        })
    }
}

/// What has to be done so that the index is right.
struct Due {
    /// In the order of publication.
    changes: Vec<(Rank, Change)>,
    /// Versions of signed metadata, to be remembered afterwards.
    seen: Versions,
    /// What stands then.
    files: Files,
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

/// The keys whose signatures documents list, but one that a dry run does not know.
fn signers<'d>(
    documents: impl Iterator<Item = &'d Document<'d>>,
) -> BTreeMap<Fingerprint, KeyName> {
    let keys = documents.flat_map(|document| &document.signing_keys);
    keys.filter(|(fingerprint, _)| !documents::is_unknown(fingerprint))
        .map(|(fingerprint, (name, _))| (*fingerprint, name.clone()))
        .collect()
}

/// The size in bytes of each file that is written, by path; none of those that are deleted.
fn sizes(changes: &[(Rank, Change)]) -> HashMap<String, Option<u64>> {
    let sizes = changes.iter().filter_map(|(_, change)| {
        let size = match change {
            Change::Write { content, .. } | Change::Replace { content, .. } => {
                u64::try_from(content.len()).ok()
            }
            Change::Remove { .. } | Change::Retire { .. } => None,
            // What stands there already, or is a link to it, may have any.
            Change::Create { .. } | Change::Link { .. } | Change::Settle | Change::Group => {
                return None;
            }
        };
        Some((change.path().to_owned(), size))
    });
    sizes.collect()
}

/// What is written, and what is deleted, for the report. The shards of a subdir count as one, and so do files by hash:
/// they are many, and a dry run can't know the names of those with signatures that it does not make.
fn paths(changes: &[(Rank, Change)]) -> [Vec<String>; 2] {
    let mut seen = HashSet::new();
    let [mut written, mut deleted] = [Vec::new(), Vec::new()];
    for (_, change) in changes {
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

/// What a dry run asks of the folders in which something would be done, as the real run fails where one is none. Those that are
/// not there yet would be made.
fn demand_folders(target: &dyn Storage, changes: &[(Rank, Change)]) -> Result<(), Error> {
    let folders = changes.iter().filter_map(|(_, change)| {
        let (folder, _) = change.path().rsplit_once('/')?;
        Some(folder)
    });
    for folder in folders.collect::<BTreeSet<_>>() {
        match target.list(folder) {
            Err(error) if !error.is_absent() => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

/// Lets the cache forget what is gone. The index is published by then, whatever becomes of the cache.
fn forget(gone: &[Gone], cache: &mut dyn Cache, report: &mut Report) {
    if gone.is_empty() {
        return;
    }
    if let Err(error) = cache.store(&[], gone) {
        report.warnings.push(error.to_string());
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
