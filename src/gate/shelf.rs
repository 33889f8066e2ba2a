//! What a channel's index names, by subdir: packages and shards, those of the newest index and those of indexes that
//! were served within the grace. Owns reading index files for that, each once, and refusing those that lead clients
//! past the gate; must not know who may have what.

mod known;

use std::collections::HashMap;
use std::io::Read;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use self::known::{Known, Packages};
use super::answer::{Checked, Content, Failed, Stop, Wrong};
use super::flight::{Flights, lock};
use super::graced::{Graced, Named};
use super::index::{Basis, Index};
use super::keep::{Keeper, reader};
use super::records::{Entry, Records, Relations, Unfit, shards_folder};
use super::store::Hash;
use crate::package;
use crate::record::hex;
use crate::repodata::Codec;
use crate::repodata::shards::{self, EXTENSION, SHARD_INDEX, ShardIndex};

/// The most bytes of an index when it is decompressed.
const MOST_PLAIN: u64 = 4 << 30;

/// The most bytes of a shard's file, and of an index of shards.
const MOST_SHARD: u64 = 64 << 20;

/// What the index of one subdir names.
#[derive(Debug, Default)]
struct Shelf {
    records: Graced<Entry>,
    /// The shards by the name of their packages.
    shards: Graced<Hash>,
    /// Where the shards lie, below the subdir.
    folder: String,
}

/// What a channel's index names.
#[derive(Debug)]
pub(super) struct Shelves {
    keeper: Arc<Keeper>,
    grace: Duration,
    subdirs: Mutex<HashMap<String, Shelf>>,
    /// What was read of shards, by their hashes.
    known: Mutex<Known>,
    reading: Flights<Checked<()>>,
    /// Held by who unpacks a shard or an index of shards, which may take much memory for a while.
    unpacking: Mutex<()>,
}

/// A package that an index names.
#[derive(Debug)]
pub(super) struct Found {
    pub entry: Entry,
    /// What it rests on; `None` where only an older index names it.
    pub basis: Option<Basis>,
}

/// Whether an index names a package.
#[derive(Debug)]
pub(super) enum Lookup {
    Found(Found),
    /// There is an index, and it doesn't.
    Unnamed,
    /// There is no index of that subdir.
    NoSubdir,
}

impl Shelves {
    pub(super) fn new(keeper: Arc<Keeper>, grace: Duration) -> Shelves {
        Shelves {
            keeper,
            grace,
            subdirs: Mutex::default(),
            known: Mutex::default(),
            reading: Flights::default(),
            unpacking: Mutex::default(),
        }
    }

    /// Looks into an index file before it is served, and remembers what it names.
    pub(super) fn served(&self, index: &Index, path: &str, content: &Content) -> Checked<()> {
        let Some((subdir, name)) = path.split_once('/') else {
            return Ok(());
        };
        if !name.contains("repodata") {
            return Ok(());
        }
        let shards = match name == SHARD_INDEX {
            true => self.take_shards(index, subdir)?,
            false => None,
        };
        let records = self.take_records(index, subdir)?;
        // What is not signed may be another file each time it is asked for: to have read one says nothing of the next.
        let is_it = |basis: &Basis| basis.path == path && basis.hash == content.sha256;
        if !index.is_plain() || [shards, records].iter().flatten().any(is_it) {
            return Ok(());
        }
        // To look into a file leaves nothing on the shelf, as to take it does: nobody who waits for the one gets the other.
        let what = format!("looking into {path}");
        self.once(&what, &content.sha256, || {
            self.look_into(path, content, index.relations())
        })
    }

    /// What the index says of a package.
    pub(super) fn package(&self, index: &Index, subdir: &str, file: &str) -> Checked<Lookup> {
        let source = self.take_records(index, subdir)?;
        let now = Instant::now();
        let found = self.with(subdir, |shelf| {
            let named = shelf.records.get(file, now);
            named.map(|named| named.map(Entry::clone))
        });
        if let Some(named) = found {
            return Ok(Lookup::Found(match named {
                Named::Now(entry) => Found {
                    entry,
                    basis: source,
                },
                Named::Before(entry) => Found { entry, basis: None },
            }));
        }
        if source.is_some() {
            return Ok(Lookup::Unnamed);
        }
        let basis = self.take_shards(index, subdir)?;
        let (of, now) = (package::name_in(file), Instant::now());
        let found = self.with(subdir, |shelf| {
            let named = shelf.shards.get(of, now);
            named.map(|named| named.map(Hash::clone))
        });
        let (hash, basis) = match found {
            Some(Named::Now(hash)) => (hash, basis),
            Some(Named::Before(hash)) => (hash, None),
            None if basis.is_some() => return Ok(Lookup::Unnamed),
            None => return Ok(Lookup::NoSubdir),
        };
        let entries = self.shard_entries(subdir, &hash)?;
        let entry = entries.and_then(|entries| entries.get(file).cloned());
        Ok(entry.map_or(Lookup::Unnamed, |entry| {
            Lookup::Found(Found { entry, basis })
        }))
    }

    /// A shard that the index names, by its path below the channel.
    pub(super) fn shard(
        &self,
        index: &Index,
        subdir: &str,
        rest: &str,
        hash: &Hash,
    ) -> Checked<Option<(Content, Option<Basis>)>> {
        let basis = self.take_shards(index, subdir)?;
        let now = Instant::now();
        let named = self.with(subdir, |shelf| {
            let is_there = rest == format!("{}{}{EXTENSION}", shelf.folder, hex(hash));
            shelf.shards.holds(hash, now).filter(|_| is_there)
        });
        let basis = match named {
            None => return Ok(None),
            Some(Named::Now(())) => basis,
            Some(Named::Before(())) => None,
        };
        // Nobody signed what it names: it is held to what is asked of the whole index.
        if index.is_plain() && self.shard_entries(subdir, hash)?.is_none() {
            return Ok(None);
        }
        let content = self.shard_content(subdir, hash)?;
        Ok(content.map(|content| (content, basis)))
    }

    fn shard_content(&self, subdir: &str, hash: &Hash) -> Checked<Option<Content>> {
        let folder = self.with(subdir, |shelf| shelf.folder.clone());
        let path = format!("{subdir}/{folder}{}{EXTENSION}", hex(hash));
        self.keeper.at_path(hash, &path, MOST_SHARD)
    }

    fn shard_entries(&self, subdir: &str, hash: &Hash) -> Checked<Option<Packages>> {
        if let Some(known) = lock(&self.known).get(hash) {
            return Ok(Some(known));
        }
        let Some(content) = self.shard_content(subdir, hash)? else {
            return Ok(None);
        };
        let name = format!("the shard {}", hex(hash));
        let broken = |why: &str| unfit(&name, why);
        let _alone = lock(&self.unpacking);
        // Somebody may have read it meanwhile.
        if let Some(known) = lock(&self.known).get(hash) {
            return Ok(Some(known));
        }
        let bytes = whole(&name, &content)?;
        let shard = shards::read_shard(&bytes).ok_or_else(|| broken("is none"))?;
        let records = Records::of_shard(shard).map_err(|why| broken(&why))?;
        let read = Arc::new(records.entries);
        lock(&self.known).keep(*hash, &read);
        Ok(Some(read))
    }

    /// An index of shards, and the folder that they lie in.
    fn shard_index(
        &self,
        path: &str,
        content: &Content,
        relations: Relations,
    ) -> Checked<(ShardIndex, String)> {
        let _alone = lock(&self.unpacking);
        let read = shards::read_index(&whole(path, content)?);
        let read = read.ok_or_else(|| unfit(path, "is no index of shards"))?;
        let folder = shards_folder(&read, relations).map_err(|why| unfit(path, &why))?;
        Ok((read, folder))
    }

    /// Looks into an index file for what may not be served.
    fn look_into(&self, path: &str, content: &Content, relations: Relations) -> Checked<()> {
        if path.ends_with(SHARD_INDEX) {
            return self.shard_index(path, content, relations).map(drop);
        }
        let read = records(content, codec(path), relations);
        read.map(drop).map_err(|why| unfit(path, &why))
    }

    /// Brings what is known of a subdir's packages up to date; the file that tells it.
    fn take_records(&self, index: &Index, subdir: &str) -> Checked<Option<Basis>> {
        for name in index.sources() {
            let path = format!("{subdir}/{name}");
            let Some(content) = index.file(&path)? else {
                continue;
            };
            let hash = content.sha256;
            if !self.with(subdir, |shelf| shelf.records.is_of(&hash)) {
                self.once(&path, &hash, || {
                    let read = records(&content, codec(name), index.relations());
                    let entries = read.map_err(|why| unfit(&path, &why))?.entries;
                    let (now, grace) = (Instant::now(), self.grace);
                    self.with(subdir, |shelf| {
                        if !shelf.records.is_of(&hash) {
                            shelf.records.replace(Some(hash), entries, now, grace);
                        }
                    });
                    Ok(())
                })?;
            }
            return Ok(Some(index.basis(&path, hash)));
        }
        self.gone(subdir, |shelf, now, grace| {
            shelf.records.replace(None, HashMap::new(), now, grace);
        });
        Ok(None)
    }

    /// Brings what is known of a subdir's shards up to date; the file that tells it.
    fn take_shards(&self, index: &Index, subdir: &str) -> Checked<Option<Basis>> {
        let path = format!("{subdir}/{SHARD_INDEX}");
        let Some(content) = index.file(&path)? else {
            self.gone(subdir, |shelf, now, grace| {
                shelf.shards.replace(None, HashMap::new(), now, grace);
            });
            return Ok(None);
        };
        let hash = content.sha256;
        if !self.with(subdir, |shelf| shelf.shards.is_of(&hash)) {
            self.once(&path, &hash, || {
                let (read, folder) = self.shard_index(&path, &content, index.relations())?;
                let (now, grace) = (Instant::now(), self.grace);
                self.with(subdir, |shelf| {
                    shelf.folder = folder;
                    let shards = read.shards.into_iter().collect();
                    shelf.shards.replace(Some(hash), shards, now, grace);
                });
                Ok(())
            })?;
        }
        Ok(Some(index.basis(&path, hash)))
    }

    /// Does work on a file once at a time.
    fn once(&self, path: &str, hash: &Hash, work: impl FnOnce() -> Checked<()>) -> Checked<()> {
        let broken = "the gate could not read the index to its end; try again";
        let broken = Err(Stop::Fail(Failed::Here, broken.to_owned()));
        let key = format!("{path} {}", hex(hash));
        self.reading.run(&key, broken, work)
    }

    fn with<T>(&self, subdir: &str, work: impl FnOnce(&mut Shelf) -> T) -> T {
        let mut subdirs = lock(&self.subdirs);
        match subdirs.get_mut(subdir) {
            Some(shelf) => work(shelf),
            // What is asked of a subdir that isn't there leaves nothing behind.
            None => {
                let mut shelf = Shelf::default();
                let done = work(&mut shelf);
                if !shelf.records.is_empty() || !shelf.shards.is_empty() {
                    subdirs.insert(subdir.to_owned(), shelf);
                }
                done
            }
        }
    }

    fn gone(&self, subdir: &str, work: impl FnOnce(&mut Shelf, Instant, Duration)) {
        let mut subdirs = lock(&self.subdirs);
        if let Some(shelf) = subdirs.get_mut(subdir) {
            work(shelf, Instant::now(), self.grace);
        }
    }
}

/// How a file of this name is compressed.
fn codec(name: &str) -> Option<Codec> {
    match name.rsplit_once('.') {
        Some((_, "zst")) => Some(Codec::Zstd(0)),
        Some((_, "bz2")) => Some(Codec::Bzip2),
        _ => None,
    }
}

fn records(
    content: &Content,
    codec: Option<Codec>,
    relations: Relations,
) -> Result<Records, Unfit> {
    let from = std::io::BufReader::with_capacity(1 << 16, reader(content));
    let plain = match codec {
        None => Box::new(from),
        Some(codec) => {
            let plain = codec.reader(from);
            plain.map_err(|cause| format!("can't be decompressed: {cause}"))?
        }
    };
    within(plain, MOST_PLAIN, relations)
}

/// What an index of at most so many bytes names.
fn within(plain: impl Read, most: u64, relations: Relations) -> Result<Records, Unfit> {
    let mut plain = plain.take(most.saturating_add(1));
    let read = Records::read(&mut plain, relations);
    // What looks whole up to here goes on, and clients would read the rest.
    match plain.limit() {
        0 => Err(format!("has more than {most} bytes")),
        _ => read,
    }
}

/// All of a shard, or of an index of shards.
fn whole(path: &str, content: &Content) -> Checked<Vec<u8>> {
    // What looks whole up to here may go on, and clients would read the rest.
    if content.length > MOST_SHARD {
        return Err(unfit(path, &format!("has more than {MOST_SHARD} bytes")));
    }
    let mut bytes = Vec::new();
    let read = reader(content).take(MOST_SHARD).read_to_end(&mut bytes);
    read.map_err(|cause| Stop::here(&cause))?;
    Ok(bytes)
}

fn unfit(path: &str, why: &str) -> Stop {
    Stop::refuse(
        Wrong::Index,
        format!("{path} {why}; tell whoever keeps the channel"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within(plain: impl Read, most: u64) -> Result<Records, Unfit> {
        super::within(plain, most, Relations::Refused)
    }

    #[test]
    fn an_index_is_read_up_to_its_limit() {
        let index = br#"{"packages": {}}"#;
        let length = u64::try_from(index.len()).unwrap_or_default();
        assert!(within(&index[..], length).is_ok());
        for (bytes, most) in [
            (&index[..], length - 1),
            (br#"{"packages": {}} "#, length),
            (br#"{"packages": {}}{}"#, length),
        ] {
            let why = within(bytes, most).err();
            assert_eq!(why, Some(format!("has more than {most} bytes")));
        }
        let endless = within(std::io::repeat(b' '), 1 << 20).err();
        assert_eq!(endless.as_deref(), Some("has more than 1048576 bytes"));
    }
}
