//! The one reading of packages: bytes, digests and metadata, each from one open file that holds still, some of them
//! together. Owns invariant 1; must not know of signatures, nor of what was published.

use std::time::{Duration, SystemTime};

use super::Freshness;
use super::examine::Examiner;
use super::judge::Refusal;
use crate::cache::Facts;
use crate::channel::PackageFile;
use crate::details::{Details, Sources};
use crate::package::{self, Beside, Documents, Named, Package, PackageError, ReadOptions};
use crate::record::{Record, hex};
use crate::storage::{Links, OpenFile, Stat, remedy};

/// Within this time two changes of a file can carry the same time stamp (a kernel's tick, at most 10 ms).
pub(super) const TICK: Duration = Duration::from_millis(20);

/// How far a builder's clock may be ahead before it is worth a warning, in milliseconds.
const CLOCK_SLACK: i64 = 24 * 3_600 * 1_000;

/// Why a package was not read.
pub(super) enum Unread {
    /// The run is to stop.
    Cancelled,
    /// Something is wrong with the package.
    Refused(Refusal),
}

/// What was read of a package: the file's state, what is known of it now, and what an operator should know.
pub(super) type Reading = Result<(Stat, Facts, Vec<String>), Unread>;

/// A package that lies open.
struct Opened<'f> {
    file: &'f PackageFile,
    path: String,
    open: OpenFile,
    stat: Stat,
}

impl Examiner<'_> {
    /// The one reading of some packages' bytes, together. `beside` lends a thread.
    pub(super) fn facts(&self, files: &[&PackageFile], beside: &Beside) -> Vec<Reading> {
        let opened: Vec<_> = files.iter().map(|file| self.open(file)).collect();
        let named = opened.iter().flatten().map(|one| Named {
            file: &one.open,
            name: &one.file.name,
        });
        let options = ReadOptions {
            check_archives: self.config.check_archives,
            cancelled: self.cancelled,
            progress: &|count| self.progress.bytes(count),
        };
        let named: Vec<_> = named.collect();
        let mut readings = Vec::with_capacity(named.len());
        // What was found in some is made facts of before it is looked into others.
        while let Some(rest) = named.get(readings.len()..).filter(|rest| !rest.is_empty()) {
            let read = package::read_together(rest, &options, beside);
            let of = opened.iter().flatten().skip(readings.len());
            let facts = of
                .zip(read)
                .map(|(opened, package)| self.facts_of(opened, package));
            let facts: Vec<Reading> = facts.collect();
            readings.extend(facts);
        }
        let mut readings = readings.into_iter();
        let each = |opened: Result<Opened<'_>, Unread>| {
            opened.and_then(|_| readings.next().unwrap_or(Err(Unread::Cancelled)))
        };
        opened.into_iter().map(each).collect()
    }

    fn open<'f>(&self, file: &'f PackageFile) -> Result<Opened<'f>, Unread> {
        let path = file.path();
        match self.places.source.open(&path, Links::Follow) {
            Err(error) if error.is_absent() => Err(Unread::Refused(vanished())),
            Err(error) => Err(unreadable(error.to_string())),
            Ok((open, stat)) => Ok(Opened {
                file,
                path,
                open,
                stat,
            }),
        }
    }

    fn facts_of(&self, opened: &Opened<'_>, package: Result<Package, PackageError>) -> Reading {
        let Opened { file, path, .. } = opened;
        if let Err(PackageError::Cancelled) = package {
            return Err(Unread::Cancelled);
        }
        // First, because a file that is being written looks damaged.
        self.hold_still(path, &opened.open, &opened.stat)?;
        let package = package.map_err(|error| unreadable(error.to_string()))?;
        let digests = package.digests;
        let (sha256, md5) = (hex(&digests.sha256), hex(&digests.md5));
        let (record, claims) = Record::new(&package.index_json, &sha256, &md5, digests.size)
            .map_err(|error| unreadable(error.to_string()))?;
        let (details, notes) = details(&package.documents).map_err(unreadable)?;
        let notes = package.notes.iter().map(ToString::to_string).chain(notes);
        let mut warnings: Vec<String> = notes.map(|note| format!("{path}: {note}")).collect();
        let ahead = |built: &i64| *built > self.config.now.saturating_add(CLOCK_SLACK);
        if claims.timestamp.as_ref().is_some_and(ahead) {
            warnings.push(format!(
                "{path}: its timestamp lies in the future; the builder's clock may be wrong"
            ));
        }
        let facts = Facts {
            sha256: digests.sha256,
            record,
            details,
            mismatch: claims.mismatch(file.stem(), file.subdir.as_str()),
            decoded: self.config.check_archives,
        };
        Ok((opened.stat, facts, warnings))
    }

    /// Makes sure that the file that was read is whole and still the one of that name. Where it changed
    /// a moment ago, a further change could carry the same time, so the moment is let pass.
    fn hold_still(&self, path: &str, open: &OpenFile, before: &Stat) -> Result<(), Unread> {
        let unsteady = |what: &str| Unread::Refused(Refusal::Unsteady(what.to_owned()));
        let not_seen =
            |cause: String| unsteady(&format!("it could not be looked at after reading: {cause}"));
        if self.config.freshness == Freshness::Full && changed_just_now(before) {
            std::thread::sleep(TICK);
        }
        let after = open
            .stat()
            .map_err(|cause| not_seen(format!("{cause}{}", remedy(&cause))))?;
        if after != *before {
            return Err(unsteady("it changed while it was read"));
        }
        match self.places.source.stat(path) {
            Ok(Some(named)) if named == *before => Ok(()),
            Ok(None) => Err(unsteady("it vanished while it was read")),
            Err(error) if !error.is_no_folder() => Err(not_seen(error.to_string())),
            _ => Err(unsteady("it was replaced while it was read")),
        }
    }
}

fn unreadable(why: String) -> Unread {
    Unread::Refused(Refusal::Unreadable(why))
}

fn details(documents: &Documents) -> Result<(Details, Vec<String>), String> {
    let sources = Sources {
        run_exports_json: documents.run_exports_json.as_deref(),
        about_json: documents.about_json.as_deref(),
        recipe: documents.recipe.as_deref(),
    };
    Details::read(&sources, documents.install).map_err(|error| error.to_string())
}

/// A package that was listed and is not there.
pub(super) fn vanished() -> Refusal {
    Refusal::Unsteady("it vanished while the channel was indexed".to_owned())
}

fn changed_just_now(stat: &Stat) -> bool {
    let since_1970 = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let now = i64::try_from(since_1970.as_nanos()).unwrap_or(i64::MAX);
    let tick = i64::try_from(TICK.as_nanos()).unwrap_or(i64::MAX);
    (0..tick).contains(&now.saturating_sub(stat.ctime))
}
