//! A subdir in the course of a run: what lies there, what was published, what is remembered. Owns the
//! bringing together; judges nothing.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Read as _};

use crate::cache::{Cache, Remembered};
use crate::channel::{Channel, PackageFile, Selection, Subdir, SubdirName};
use crate::error::Error;
use crate::repodata::{Published, PublishedRecord};
use crate::storage::{Change, Kind, Links, Storage, StorageError, is_left_over};

/// The largest index that is read back, in bytes: many times that of the largest channels.
const MAX_PUBLISHED: u64 = 4 << 30;

/// One subdir.
#[derive(Debug)]
pub struct Shelf<'a> {
    /// What lies in it.
    pub subdir: Subdir,
    /// Names of packages whose `.sig` lies where this run writes.
    pub signed_in_target: BTreeSet<String>,
    /// Other files where this run writes.
    pub others_in_target: BTreeMap<String, Kind>,
    /// What was published.
    pub published: Published<'a>,
    /// What earlier runs learnt.
    pub known: HashMap<String, Remembered>,
}

/// Where packages are read, and where everything is written; one folder unless `--output` is given.
#[derive(Clone, Copy)]
pub struct Places<'a> {
    /// Where the packages lie.
    pub source: &'a dyn Storage,
    /// Where index files and signatures go; `None` when that is the same place.
    pub output: Option<&'a dyn Storage>,
}

impl<'a> Places<'a> {
    /// Where index files and signatures go.
    pub fn target(&self) -> &'a dyn Storage {
        self.output.unwrap_or(self.source)
    }
}

/// Walks the channel; adds the subdirs that only the output has, and `noarch`, which every channel has.
pub fn walk(places: Places<'_>, selection: &Selection) -> Result<Channel, Error> {
    let mut channel = Channel::walk(places.source, selection)?;
    match selection {
        Selection::Named(_) => {
            let noarch = SubdirName::noarch();
            let listed = channel.subdirs.iter().any(|subdir| subdir.name == noarch);
            if !listed && published_texts(places, &noarch)?.is_empty() {
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
                if !listed && !published_texts(places, &name)?.is_empty() {
                    channel.subdirs.push(Subdir::empty(name));
                }
            }
        }
    }
    Ok(channel)
}

/// What tells what was published, for each subdir of a channel.
pub fn published(places: Places<'_>, channel: &Channel) -> Result<Vec<Texts>, Error> {
    let subdirs = channel.subdirs.iter();
    subdirs
        .map(|subdir| published_texts(places, &subdir.name))
        .collect()
}

/// Brings together what is known of each subdir.
pub fn shelves<'a>(
    subdirs: Vec<Subdir>,
    texts: &'a [Texts],
    places: Places<'_>,
    cache: &mut dyn Cache,
) -> Result<Vec<Shelf<'a>>, Error> {
    let subdirs = subdirs.into_iter().zip(texts);
    subdirs
        .map(|(subdir, texts)| Shelf::new(subdir, places, texts, cache))
        .collect()
}

/// The files, by path, that tell what was published in a subdir. An output that has none yet begins
/// with what is published where the packages lie.
fn published_texts(places: Places<'_>, subdir: &SubdirName) -> Result<Texts, Error> {
    let texts = texts_in(places.target(), subdir)?;
    if texts.is_empty() && places.output.is_some() {
        return texts_in(places.source, subdir);
    }
    Ok(texts)
}

/// Paths and contents of index files.
pub type Texts = Vec<(String, Vec<u8>)>;

fn texts_in(storage: &dyn Storage, subdir: &SubdirName) -> Result<Texts, Error> {
    let mut found = Vec::new();
    for name in Published::FILES {
        let path = subdir.path_of(name);
        match storage.open(&path, Links::Refuse) {
            Err(error) if error.is_absent() => {}
            Err(error) => return Err(error.into()),
            Ok((file, stat)) => {
                let text = read_capped(file, stat.size).map_err(|cause| StorageError::Io {
                    path: path.clone(),
                    operation: "read the published index",
                    cause,
                })?;
                found.push((path, text));
            }
        }
    }
    Ok(found)
}

fn read_capped(file: File, size: u64) -> io::Result<Vec<u8>> {
    if size > MAX_PUBLISHED {
        let why = "it is too large for an index; remove it, or put the published one back";
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    let mut text = Vec::new();
    file.take(MAX_PUBLISHED).read_to_end(&mut text)?;
    Ok(text)
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
        published: &'a Texts,
        cache: &mut dyn Cache,
    ) -> Result<Shelf<'a>, Error> {
        let published = Published::read(published)?;
        subdir.refuse_collisions(|name| published.records.contains_key(name));
        let target = match places.output {
            Some(output) => Cow::Owned(names_in(output, &subdir.name)?),
            None => Cow::Borrowed(&subdir),
        };
        Ok(Shelf {
            signed_in_target: target.signed.clone(),
            others_in_target: target.others.clone(),
            known: cache.load(subdir.name.as_str())?,
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
    pub fn leftovers(&self) -> Vec<Change> {
        let names = self
            .others_in_target
            .iter()
            .filter(|(name, kind)| is_left_over(name) && **kind == Kind::File);
        names
            .map(|(name, _)| Change::Remove {
                path: self.subdir.name.path_of(name),
            })
            .collect()
    }
}
