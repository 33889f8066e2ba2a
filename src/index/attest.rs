//! Lists of attestations beside packages (CEP 50). Owns when one is read again, that it only ever grows, and the
//! immutable twin under which a record names it; what makes one good is [`crate::attestation`]'s.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::sync::atomic::AtomicBool;

use rayon::ThreadPool;
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use super::examine::{Examined, Examiner};
use super::judge::Refusal;
use super::ledger::Ledger;
use super::places::Places;
use super::shelf::Shelf;
use crate::attestation::{self, Attestations, SUFFIX, SidecarName, sidecar_name};
use crate::cache::{Attested, Facts};
use crate::channel::{MAX_FILE_NAME, PackageFile};
use crate::json::Json;
use crate::publish::{self, Fate};
use crate::record::{ATTESTATIONS, hex, is_sha256};
use crate::repodata::{IndexFile, Rank};
use crate::storage::{Links, Stat, Storage, StorageError};

impl Examiner<'_> {
    /// The list beside a package, checked; `None` where there is none. Why it does not hold, in words.
    pub(super) fn attestations(
        &self,
        shelf: &Shelf<'_>,
        file: &PackageFile,
        facts: &Facts,
        remembered: Option<&Attested>,
    ) -> Result<Option<Attested>, String> {
        let name = format!("{}{SUFFIX}", file.name);
        if !shelf.lying.subdir.others.contains_key(&name) {
            return Ok(None);
        }
        let path = file.subdir.path_of(&name);
        // Also of one that an earlier run took in and could not publish.
        demand_room(&file.name, &path)?;
        let published = published(shelf, file, facts);
        if let (Some(known), Ok(Some(stat))) = (remembered, self.places.source.stat(&path))
            && !self.config.rehash
            && self.config.freshness.same(&known.stat, &stat)
            && published
                .as_ref()
                .is_none_or(|hash| *hash == hex(&known.sha256))
        {
            return Ok(Some(*known));
        }
        let (bytes, stat) = read(self.places.source, &path).map_err(|error| error.to_string())?;
        let list = attestation::check(&bytes, &file.name, &facts.sha256);
        let list = list.map_err(|error| format!("{path}: {error}"))?;
        let sha256 = list.digest();
        // Also lists that no record names now: to take one away for a while is no way to shorten it.
        let mut hashes = earlier(shelf, &file.name);
        let due = published.filter(|hash| *hash != hex(&sha256));
        hashes.extend(due.clone());
        // Its own twin proves nothing, and is mended where it is another.
        hashes.remove(&hex(&sha256));
        for hash in hashes {
            let twin = format!("{path}.{hash}");
            match self.earlier_list(&twin, &hash, file, facts)? {
                Some(earlier) if !list.keeps(&earlier) => {
                    return Err(format!(
                        "{path}: lost attestations of an earlier list; put them back, they are in {twin}"
                    ));
                }
                None if due.as_ref() == Some(&hash) => {
                    return Err(format!(
                        "{twin}: the list that was published is not there to compare with; put it back"
                    ));
                }
                _ => {}
            }
        }
        Ok(Some(Attested { stat, sha256 }))
    }

    /// An earlier list, under the immutable name that its hash gives it; `None` where it is not there, or speaks of
    /// other bytes than the package has now.
    fn earlier_list(
        &self,
        twin: &str,
        hash: &str,
        file: &PackageFile,
        facts: &Facts,
    ) -> Result<Option<Attestations>, String> {
        let Some(place) = place_of(self.places, twin) else {
            return Ok(None);
        };
        let (bytes, _) = read(place, twin).map_err(|error| error.to_string())?;
        if hex(&digest(&bytes)) != hash {
            return Err(format!(
                "{twin}: has other bytes than its name says; remove it"
            ));
        }
        Ok(attestation::check(&bytes, &file.name, &facts.sha256).ok())
    }
}

/// Whether the immutable name of a package's list is one that a file can have.
fn demand_room(package: &str, list: &str) -> Result<(), String> {
    // A dot and a SHA-256 in hex.
    let behind = SUFFIX.len().saturating_add(65);
    let length = package.len().saturating_add(behind);
    if length <= MAX_FILE_NAME {
        return Ok(());
    }
    let most = MAX_FILE_NAME.saturating_sub(behind);
    Err(format!(
        "{list}: its immutable name, with its SHA-256 behind it, would have {length} bytes, and a file's name has at most {MAX_FILE_NAME}; give the package a name of at most {most} bytes, with a list that says so, or remove this one"
    ))
}

/// The hashes in the names of the immutable twins that stand beside a package's list.
fn earlier(shelf: &Shelf<'_>, package: &str) -> BTreeSet<String> {
    let start = format!("{package}{SUFFIX}.");
    let listings = [&shelf.lying.subdir.others, &shelf.lying.in_target().others];
    let names = listings.into_iter().flat_map(|names| {
        let from = names.range(start.clone()..).map(|(name, _)| name);
        from.take_while(|name| name.starts_with(&start))
    });
    names
        .filter_map(|name| match sidecar_name(name)? {
            SidecarName::Immutable(of, hash) if of == package => Some(hex(&hash)),
            _ => None,
        })
        .collect()
}

/// Whether a record named a list that lies there no longer.
pub fn is_gone(shelf: &Shelf<'_>, file: &PackageFile) -> bool {
    let was = shelf.was(&file.name);
    let named = was.and_then(|was| was.carried(ATTESTATIONS));
    let named = named.and_then(Json::as_str);
    named.is_some_and(|hash| has_sidecar(shelf, &file.name, hash))
}

/// The immutable twins that records name.
#[derive(Debug, Default)]
pub struct Twins {
    /// Those that have to be written.
    pub due: Vec<IndexFile>,
    /// Those that stand as they should, by path.
    pub standing: Vec<(String, Stat)>,
}

/// The twins that records name. One that is as the last run left it is not read; any other is held against the list, so
/// that whatever became of it is mended. A list that changed since it was checked refuses its package.
pub fn twins(
    places: Places<'_>,
    ledger: Option<&Ledger>,
    examined: &mut [Examined],
    pool: &ThreadPool,
) -> Twins {
    let one = |one: &mut Examined| {
        let attested = one.known.as_ref()?.attestations?;
        one.standing.as_ref().ok()?;
        let twin = Twin::of(places, ledger, &one.file, &attested);
        twin.map_err(|refusal| one.standing = Err(refusal)).ok()
    };
    let all: Vec<Twin> = pool.install(|| examined.par_iter_mut().filter_map(one).collect());
    let mut twins = Twins::default();
    for twin in all {
        match twin {
            Twin::Due(file) => twins.due.push(file),
            Twin::Stands(path, stat) => twins.standing.push((path, stat)),
        }
    }
    twins
}

/// One of them.
enum Twin {
    Due(IndexFile),
    Stands(String, Stat),
}

impl Twin {
    fn of(
        places: Places<'_>,
        ledger: Option<&Ledger>,
        file: &PackageFile,
        attested: &Attested,
    ) -> Result<Twin, Refusal> {
        let list = file.subdir.path_of(&format!("{}{SUFFIX}", file.name));
        let path = format!("{list}.{}", hex(&attested.sha256));
        if let Some(stat) = ledger.and_then(|ledger| ledger.identity(places, &path)) {
            return Ok(Twin::Stands(path, stat));
        }
        let refused = |why: String| Refusal::Attestations(why);
        let (bytes, _) = read(places.source, &list).map_err(|error| refused(error.to_string()))?;
        if digest(&bytes) != attested.sha256 {
            let why = format!("{list} changed while the channel was indexed");
            return Err(Refusal::Unsteady(why));
        }
        let due = IndexFile::plain(Rank::Attestations, path, Some(bytes));
        match publish::fate(places.target(), &due, &AtomicBool::new(false)) {
            Ok(Fate::Stays(Some(stat))) => Ok(Twin::Stands(due.path, stat)),
            Ok(_) => Ok(Twin::Due(due)),
            Err(error) => Err(refused(error.to_string())),
        }
    }
}

/// What the index that is published says of the same package.
fn published(shelf: &Shelf<'_>, file: &PackageFile, facts: &Facts) -> Option<String> {
    let was = shelf.was(&file.name)?;
    let same = was.sha256 == Some(facts.sha256);
    let hash = was.carried(ATTESTATIONS).and_then(Json::as_str)?;
    (same && shelf.by_sigindex() && is_sha256(hash)).then(|| hash.to_owned())
}

/// Whether a package has a list beside it, or had: a record that names one then stands or falls with it.
pub fn has_sidecar(shelf: &Shelf<'_>, name: &str, hash: &str) -> bool {
    let known = shelf.known.get(name);
    let twin = format!("{name}{SUFFIX}.{hash}");
    known.is_some_and(|known| known.attestations.is_some())
        || shelf.lying.subdir.others.contains_key(&twin)
        || shelf.lying.in_target().others.contains_key(&twin)
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn place_of<'p>(places: Places<'p>, path: &str) -> Option<&'p dyn Storage> {
    let places = [places.target(), places.source];
    places
        .into_iter()
        .find(|place| !matches!(place.stat(path), Ok(None)))
}

fn read(storage: &dyn Storage, path: &str) -> Result<(Vec<u8>, Stat), StorageError> {
    let (file, stat) = storage.open(path, Links::Follow)?;
    let mut bytes = Vec::new();
    let read = file
        .take(attestation::MAX.saturating_add(1))
        .read_to_end(&mut bytes);
    read.map_err(|cause| StorageError::Io {
        path: path.to_owned(),
        operation: "read the list of attestations",
        cause,
    })?;
    Ok((bytes, stat))
}
