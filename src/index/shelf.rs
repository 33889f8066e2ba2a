//! A subdir in the course of a run: what lies there, what was published, what is remembered. Owns the
//! bringing together; judges nothing.

use std::collections::{BTreeMap, BTreeSet};

use rayon::ThreadPool;
use rayon::prelude::*;

use super::ledger::Ledger;
use super::places::Places;
use super::told::Told;
use crate::cache::{Cache, CacheError, Gone, Known};
use crate::channel::{Channel, PackageFile, Selection, Subdir, SubdirName};
use crate::error::Error;
use crate::json::{Json, Object};
use crate::patch::FILE_NAME;
use crate::repodata::shards::SHARDS;
use crate::repodata::{Published, REPODATA};
use crate::shown::shown;
use crate::sidecar;
use crate::storage::{self, Change, Kind, Stat, Storage, is_left_over};

/// What lies in a subdir.
#[derive(Debug)]
pub struct Lying {
    /// Where the packages are.
    pub subdir: Subdir,
    /// Where this run writes, when that is another place.
    output: Option<Subdir>,
    /// Its own patches, as they are before anything is read.
    pub patches: Option<Stat>,
}

impl Lying {
    /// Lists the subdirs where this run writes, beside those that were walked.
    ///
    /// # Errors
    /// When a folder can't be listed.
    pub fn beside(subdirs: Vec<Subdir>, places: Places<'_>) -> Result<Vec<Lying>, Error> {
        let both = subdirs.into_iter().map(|subdir| {
            let output = places.output.map(|output| names_in(output, &subdir.name));
            let patches = places.source.stat(&subdir.name.path_of(FILE_NAME));
            Ok(Lying {
                output: output.transpose()?,
                // Where they can't be looked at, they can't be read.
                patches: patches.unwrap_or_default(),
                subdir,
            })
        });
        both.collect()
    }

    /// What lies where this run writes.
    pub fn in_target(&self) -> &Subdir {
        self.output.as_ref().unwrap_or(&self.subdir)
    }

    /// Both, or the one that there is.
    pub fn listings(&self) -> impl Iterator<Item = &Subdir> {
        [&self.subdir].into_iter().chain(&self.output)
    }

    /// The names of signatures in a listing whose packages are not there.
    pub fn orphans<'l>(&'l self, listing: &'l Subdir) -> impl Iterator<Item = &'l String> {
        let packages = &self.subdir.packages;
        let is_there = |name: &String| {
            packages
                .binary_search_by(|file| file.name.cmp(name))
                .is_ok()
        };
        listing.signed.iter().filter(move |name| !is_there(name))
    }

    /// A warning for each signature in the output whose package is neither there nor where the packages are.
    pub fn left_in_output(&self) -> impl Iterator<Item = String> {
        let listings = self.output.iter();
        let left = listings.flat_map(|output| {
            let beside: BTreeSet<_> = output.packages.iter().map(|file| &file.name).collect();
            let left = self.orphans(output);
            left.filter(move |name| !beside.contains(name))
        });
        left.map(|name| {
            let path = self.subdir.name.path_of(&shown(name));
            format!(
                "{path}{}: a signature without its package, in the output",
                sidecar::SUFFIX
            )
        })
    }

    /// The storage in which a package's signature lies, if there is one: that of the output before that
    /// of the packages' folder.
    pub fn place_of_sig<'p>(
        &self,
        places: Places<'p>,
        file: &PackageFile,
    ) -> Option<&'p dyn Storage> {
        match () {
            () if self.in_target().signed.contains(&file.name) => Some(places.target()),
            () if self.subdir.signed.contains(&file.name) => Some(places.source),
            () => None,
        }
    }

    /// Whether a folder lies where a package's signature is written: it can't be replaced as a file can.
    pub fn sig_is_folder(&self, file: &PackageFile) -> bool {
        let name = format!("{}{}", file.name, sidecar::SUFFIX);
        self.in_target().others.get(&name) == Some(&Kind::Folder)
    }
}

/// One subdir.
#[derive(Debug)]
pub struct Shelf<'a> {
    /// What lies in it.
    pub lying: Lying,
    /// What lies in the folder of shards where this run writes.
    pub shards_in_target: BTreeMap<String, Kind>,
    /// What tells what was published.
    pub before: Before<'a>,
    /// What earlier runs learnt.
    pub known: Known,
}

/// What tells what was published in a subdir.
#[derive(Debug)]
pub enum Before<'a> {
    /// Its index files.
    Told(Published<'a>),
    /// What is remembered: the last run published just that and nothing from elsewhere, and its files are as it left
    /// them ([`super::ledger`]).
    Remembered,
}

/// A package as it was published.
#[derive(Debug, Clone, Copy)]
pub struct Was<'s> {
    /// The file's SHA-256; `None` where nothing vouches for it.
    pub sha256: Option<[u8; 32]>,
    /// When an index first saw it, in Unix milliseconds (CEP 47).
    pub indexed_timestamp: Option<i64>,
    carried: Option<&'s Object>,
}

impl<'s> Was<'s> {
    /// A key that it had from elsewhere.
    pub fn carried(&self, key: &str) -> Option<&'s Json> {
        self.carried?.get(key)
    }

    /// All keys that it had from elsewhere.
    pub fn all_carried(&self) -> Object {
        self.carried.cloned().unwrap_or_default()
    }
}

/// Walks the channel; adds the subdirs that only the output has, and `noarch`, which every channel has.
pub fn walk(places: Places<'_>, selection: &Selection) -> Result<Channel, Error> {
    let mut channel = Channel::walk(places.source, selection)?;
    match selection {
        Selection::Named(_) => {
            let noarch = SubdirName::noarch();
            let listed = channel.subdirs.iter().any(|subdir| subdir.name == noarch);
            let path = noarch.path_of(REPODATA);
            if !listed && places.target().stat(&path)?.is_none() {
                match names_in(places.source, &noarch)?.packages.is_empty() {
                    true => channel.subdirs.push(Subdir::empty(noarch)),
                    false => channel.warnings.push(
                        "noarch: it has packages and no index, without which clients take the folder for no channel; index it too"
                            .to_owned(),
                    ),
                }
            }
        }
        Selection::Standard => {
            let output = places
                .output
                .map_or(Ok(Vec::new()), |output| output.list(""))?;
            for name in output
                .iter()
                .filter_map(|item| SubdirName::standard(item.name.to_str()?))
            {
                let listed = channel.subdirs.iter().any(|subdir| subdir.name == name);
                if !listed && !Told::of(places, &name)?.is_nothing() {
                    channel.subdirs.push(Subdir::empty(name));
                }
            }
        }
    }
    Ok(channel)
}

/// What the cache remembers of each subdir.
///
/// # Errors
/// When the cache can't be read.
pub fn known(
    lying: &[Lying],
    cache: &mut dyn Cache,
    pool: &ThreadPool,
) -> Result<Vec<Known>, CacheError> {
    let load = |one: &Lying| cache.load(one.subdir.name.as_str());
    // In the pool, not beside it: what one thread of it takes from memory, it gives back for the same one to use again.
    pool.install(|| lying.iter().map(load).collect())
}

/// What tells what was published, for each subdir; `None` where the ledger says that the cache does.
///
/// # Errors
/// When an index can't be read.
pub fn told(
    places: Places<'_>,
    lying: &[Lying],
    known: &[Known],
    ledger: Option<&Ledger>,
    pool: &ThreadPool,
) -> Result<Vec<Option<Told>>, Error> {
    let told = |(one, known): (&Lying, &Known)| {
        let subdir = &one.subdir.name;
        match ledger.is_some_and(|ledger| ledger.tells_of(places, subdir, known.len())) {
            true => Ok(None),
            false => Told::of(places, subdir).map(Some),
        }
    };
    pool.install(|| lying.par_iter().zip(known).map(told).collect())
}

/// Brings together what is known of each subdir.
///
/// # Errors
/// When an index is not of an index's form, or a folder can't be read.
pub fn shelves<'a>(
    lying: Vec<Lying>,
    known: Vec<Known>,
    told: &'a [Option<Told>],
    places: Places<'_>,
    pool: &ThreadPool,
) -> Result<Vec<Shelf<'a>>, Error> {
    let before = |told: &'a Option<Told>| match told {
        Some(told) => told.published().map(Before::Told),
        None => Ok(Before::Remembered),
    };
    let before: Result<Vec<Before<'a>>, Error> =
        pool.install(|| told.par_iter().map(before).collect());
    let all = lying.into_iter().zip(before?).zip(known);
    all.map(|((lying, before), known)| Shelf::new(lying, places, before, known))
        .collect()
}

/// What a run that was killed left behind where this one writes.
///
/// # Errors
/// When the channel's folder can't be listed.
pub fn leftovers(places: Places<'_>, shelves: &[Shelf<'_>]) -> Result<Vec<Change>, Error> {
    let mut left = storage::leftovers(places.target(), "")?;
    left.extend(shelves.iter().flat_map(Shelf::leftovers));
    Ok(left)
}

fn names_of_shards(
    storage: &dyn Storage,
    subdir: &SubdirName,
) -> Result<BTreeMap<String, Kind>, Error> {
    let items = match storage.list(&subdir.path_of(SHARDS)) {
        Ok(items) => items,
        // A file of that name stands in the way of shards alone, and writing them says so.
        Err(error) if error.is_absent() || error.is_no_folder() => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let items = items.into_iter();
    Ok(items
        .filter_map(|item| Some((item.name.into_string().ok()?, item.kind)))
        .collect())
}

fn names_in(storage: &dyn Storage, name: &SubdirName) -> Result<Subdir, Error> {
    match Subdir::list(storage, name.clone()) {
        Ok((subdir, _)) => Ok(subdir),
        Err(error) if error.is_absent() => Ok(Subdir::empty(name.clone())),
        Err(error) => Err(error.into()),
    }
}

impl<'a> Shelf<'a> {
    fn new(
        mut lying: Lying,
        places: Places<'_>,
        before: Before<'a>,
        known: Known,
    ) -> Result<Shelf<'a>, Error> {
        lying.subdir.refuse_collisions(|name| match &before {
            Before::Told(published) => published.records.contains_key(name),
            Before::Remembered => known.contains_key(name),
        });
        Ok(Shelf {
            shards_in_target: names_of_shards(places.target(), &lying.subdir.name)?,
            lying,
            before,
            known,
        })
    }

    /// How a package was published.
    pub fn was(&self, name: &str) -> Option<Was<'_>> {
        match &self.before {
            Before::Told(published) => published.records.get(name).map(|record| Was {
                sha256: record.sha256,
                indexed_timestamp: record.indexed_timestamp,
                carried: Some(&record.carried),
            }),
            Before::Remembered => self.known.get(name).map(|known| Was {
                sha256: Some(known.facts.sha256),
                indexed_timestamp: Some(known.indexed_timestamp),
                carried: None,
            }),
        }
    }

    /// How sigindex published a package; what another indexer published does not bind.
    pub fn bound(&self, name: &str) -> Option<Was<'_>> {
        self.was(name).filter(|_| self.by_sigindex())
    }

    /// Whether sigindex wrote what was published.
    pub fn by_sigindex(&self) -> bool {
        match &self.before {
            Before::Told(published) => published.by_sigindex,
            Before::Remembered => true,
        }
    }

    /// Whether nothing in what was published came from elsewhere.
    pub fn is_plain(&self) -> bool {
        self.told().is_none_or(|published| {
            published.signatures.is_empty()
                && published.records.values().all(|one| one.carried.is_empty())
        })
    }

    /// The published index itself, where that was read.
    pub fn told(&self) -> Option<&Published<'a>> {
        match &self.before {
            Before::Told(published) => Some(published),
            Before::Remembered => None,
        }
    }

    /// The names of published packages whose files are gone.
    pub fn gone(&self) -> impl Iterator<Item = &String> {
        let present: BTreeSet<&str> = self
            .lying
            .subdir
            .packages
            .iter()
            .map(|file| file.name.as_str())
            .collect();
        let refused: BTreeSet<String> = self
            .lying
            .subdir
            .refused
            .iter()
            .map(|(path, _)| path.clone())
            .collect();
        let (told, known) = match &self.before {
            Before::Told(published) => (Some(published.records.keys()), None),
            Before::Remembered => (None, Some(self.known.keys())),
        };
        let published = told
            .into_iter()
            .flatten()
            .chain(known.into_iter().flatten());
        published.filter(move |name| {
            !present.contains(name.as_str())
                && !refused.contains(&self.lying.subdir.name.path_of(name))
        })
    }

    /// Lets go of what is remembered, once every package was examined: what counts of it went over to them. Where index
    /// files told what was published, a part of it is still asked for.
    pub fn settle(&mut self) {
        if matches!(self.before, Before::Remembered) {
            self.known = Known::new();
        }
    }

    /// What is remembered of packages whose files are gone, to be forgotten.
    pub fn forgettable(&self) -> Vec<Gone> {
        let packages = self.lying.subdir.packages.iter();
        let present: BTreeSet<&str> = packages.map(|file| file.name.as_str()).collect();
        let gone = self
            .known
            .keys()
            .filter(|name| !present.contains(name.as_str()));
        gone.map(|name| Gone {
            subdir: self.lying.subdir.name.to_string(),
            name: name.clone(),
        })
        .collect()
    }

    /// Whether a file, by its path in the channel, lay in the folder of shards when this run listed it.
    pub fn lists_shard(&self, path: &str) -> bool {
        let name = path.rsplit('/').next();
        name.is_some_and(|name| self.shards_in_target.contains_key(name))
    }

    /// What a run that was killed left behind.
    fn leftovers(&self) -> Vec<Change> {
        let shards = self.shards_in_target.iter();
        let shards = shards.map(|(name, kind)| (format!("{SHARDS}/{name}"), name, kind));
        let others = self.lying.in_target().others.iter();
        let others = others.map(|(name, kind)| (name.clone(), name, kind));
        others
            .chain(shards)
            .filter(|(_, name, kind)| is_left_over(name) && **kind == Kind::File)
            .map(|(path, ..)| Change::Remove {
                path: self.lying.subdir.name.path_of(&path),
            })
            .collect()
    }
}
