//! A subdir in the course of a run: what lies there, what was published, what is remembered. Owns the
//! bringing together; judges nothing.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::resume_unwind;

use rayon::ThreadPool;
use rayon::prelude::*;

use super::places::Places;
use super::told::Told;
use crate::cache::{Cache, CacheError, Remembered};
use crate::channel::{Channel, PackageFile, Selection, Subdir, SubdirName};
use crate::error::Error;
use crate::repodata::shards::SHARDS;
use crate::repodata::{Published, PublishedRecord, REPODATA};
use crate::storage::{Change, Kind, Storage, is_left_over};

/// One subdir.
#[derive(Debug)]
pub struct Shelf<'a> {
    /// What lies in it.
    pub subdir: Subdir,
    /// Names of packages whose `.sig` lies where this run writes.
    pub signed_in_target: BTreeSet<String>,
    /// Other files where this run writes.
    pub others_in_target: BTreeMap<String, Kind>,
    /// What lies in the folder of shards where this run writes.
    pub shards_in_target: BTreeMap<String, Kind>,
    /// What was published.
    pub published: Published<'a>,
    /// What earlier runs learnt.
    pub known: HashMap<String, Remembered>,
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

/// What tells what was published, for each subdir of a channel.
///
/// # Errors
/// When an index can't be read.
pub fn told(places: Places<'_>, channel: &Channel, pool: &ThreadPool) -> Result<Vec<Told>, Error> {
    let subdirs = channel.subdirs.par_iter();
    pool.install(|| {
        subdirs
            .map(|subdir| Told::of(places, &subdir.name))
            .collect()
    })
}

/// Brings together what is known of each subdir: the threads read what was published while this one asks the cache.
///
/// # Errors
/// When an index is not of an index's form, or a folder or the cache can't be read.
pub fn shelves<'a>(
    subdirs: Vec<Subdir>,
    told: &'a [Told],
    places: Places<'_>,
    cache: &mut dyn Cache,
    pool: &ThreadPool,
) -> Result<Vec<Shelf<'a>>, Error> {
    let (published, known) = std::thread::scope(|scope| {
        let published = scope.spawn(|| -> Result<Vec<Published<'a>>, Error> {
            pool.install(|| told.par_iter().map(Told::published).collect())
        });
        let known = subdirs
            .iter()
            .map(|subdir| cache.load(subdir.name.as_str()));
        let known: Result<Vec<_>, CacheError> = known.collect();
        let published = published
            .join()
            .unwrap_or_else(|panic| resume_unwind(panic));
        (published, known)
    });
    let (published, known) = (published?, known?);
    let all = subdirs.into_iter().zip(published).zip(known);
    all.map(|((subdir, published), known)| Shelf::new(subdir, places, published, known))
        .collect()
}

/// What a run that was killed left behind where this one writes.
///
/// # Errors
/// When the channel's folder can't be listed.
pub fn leftovers(places: Places<'_>, shelves: &[Shelf<'_>]) -> Result<Vec<Change>, Error> {
    let root = places.target().list("")?.into_iter();
    let root = root
        .filter(|item| item.kind == Kind::File)
        .filter_map(|item| item.name.into_string().ok())
        .filter(|name| is_left_over(name))
        .map(|path| Change::Remove { path });
    Ok(root
        .chain(shelves.iter().flat_map(Shelf::leftovers))
        .collect())
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
        mut subdir: Subdir,
        places: Places<'_>,
        published: Published<'a>,
        known: HashMap<String, Remembered>,
    ) -> Result<Shelf<'a>, Error> {
        subdir.refuse_collisions(|name| published.records.contains_key(name));
        let target = match places.output {
            Some(output) => Cow::Owned(names_in(output, &subdir.name)?),
            None => Cow::Borrowed(&subdir),
        };
        Ok(Shelf {
            signed_in_target: target.signed.clone(),
            others_in_target: target.others.clone(),
            shards_in_target: names_of_shards(places.target(), &subdir.name)?,
            known,
            published,
            subdir,
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
            () if self.signed_in_target.contains(&file.name) => Some(places.target()),
            () if self.subdir.signed.contains(&file.name) => Some(places.source),
            () => None,
        }
    }

    /// How sigindex published a package; what another indexer published does not bind.
    pub fn bound(&self, name: &str) -> Option<&PublishedRecord<'a>> {
        self.published
            .records
            .get(name)
            .filter(|_| self.published.by_sigindex)
    }

    /// Published packages whose files are gone.
    pub fn gone(&self) -> impl Iterator<Item = (&String, &PublishedRecord<'a>)> {
        let present: BTreeSet<&str> = self
            .subdir
            .packages
            .iter()
            .map(|file| file.name.as_str())
            .collect();
        let refused: BTreeSet<String> = self
            .subdir
            .refused
            .iter()
            .map(|(path, _)| path.clone())
            .collect();
        self.published.records.iter().filter(move |(name, _)| {
            !present.contains(name.as_str()) && !refused.contains(&self.subdir.name.path_of(name))
        })
    }

    /// Lets the cache forget packages whose files are gone.
    pub fn forget(&self, cache: &mut dyn Cache) -> Result<(), Error> {
        let packages = self.subdir.packages.iter();
        let present: BTreeSet<&str> = packages.map(|file| file.name.as_str()).collect();
        let gone = self
            .known
            .keys()
            .filter(|name| !present.contains(name.as_str()));
        let gone: Vec<String> = gone.cloned().collect();
        if gone.is_empty() {
            return Ok(());
        }
        Ok(cache.forget(self.subdir.name.as_str(), &gone)?)
    }

    /// What a run that was killed left behind.
    fn leftovers(&self) -> Vec<Change> {
        let shards = self.shards_in_target.iter();
        let shards = shards.map(|(name, kind)| (format!("{SHARDS}/{name}"), name, kind));
        let others = self.others_in_target.iter();
        let others = others.map(|(name, kind)| (name.clone(), name, kind));
        others
            .chain(shards)
            .filter(|(_, name, kind)| is_left_over(name) && **kind == Kind::File)
            .map(|(path, ..)| Change::Remove {
                path: self.subdir.name.path_of(&path),
            })
            .collect()
    }
}
