//! What tells what was published: `repodata.json` and its twin before patches or, where there is none, the shards.
//! Owns finding and reading them; judges nothing.

use std::collections::BTreeMap;
use std::io::{self, Read as _};

use serde::de::Error as _;
use sha2::{Digest as _, Sha256};

use super::places::{Places, Witness};
use crate::channel::SubdirName;
use crate::error::Error;
use crate::json::{Json, Object};
use crate::publish::{self, Existing};
use crate::record::hex;
use crate::repodata::{Published, REPODATA, shards};
use crate::storage::{Links, StorageError};

/// The largest index that is read back, in bytes: many times that of the largest channels.
const MAX_PUBLISHED: u64 = 4 << 30;

/// The largest shard and shard index that are read back, in bytes.
const MAX_SHARDS: u64 = 256 << 20;

/// What tells what was published in a subdir.
#[derive(Debug)]
pub struct Told {
    /// Index files, by path.
    texts: Vec<(String, Vec<u8>)>,
    /// The shards, where there is no `repodata.json`.
    shards: Option<Shards>,
}

/// What the shards of a subdir tell.
#[derive(Debug)]
pub struct Shards {
    /// The path of their index.
    path: String,
    /// What it says of itself.
    info: Object,
    /// Records, by file name.
    records: Vec<(String, String)>,
    /// Run exports, by file name.
    pub run_exports: BTreeMap<String, Object>,
}

impl Told {
    /// What tells of a subdir. An output that has nothing yet begins with what is published where the packages
    /// lie.
    ///
    /// # Errors
    /// When an index can't be read.
    pub fn of(places: Places<'_>, subdir: &SubdirName) -> Result<Told, Error> {
        let told = Told::by(places.published(), subdir)?;
        match places.published_in_source() {
            Some(source) if told.is_nothing() => Told::by(source, subdir),
            _ => Ok(told),
        }
    }

    /// The same of one place.
    ///
    /// # Errors
    /// When an index can't be read.
    pub fn by(witness: Witness<'_>, subdir: &SubdirName) -> Result<Told, Error> {
        let mut texts = Vec::new();
        let mut shards = None;
        for name in Published::FILES {
            let path = subdir.path_of(name);
            match text(witness, &path)? {
                Some(text) => texts.push((path, text)),
                None if name == REPODATA => shards = in_shards(witness, subdir)?,
                None => {}
            }
        }
        Ok(Told { texts, shards })
    }

    /// Whether nothing was published.
    pub fn is_nothing(&self) -> bool {
        self.texts.is_empty() && self.shards.is_none()
    }

    /// What was published, before and after patches.
    ///
    /// # Errors
    /// When an index is not of an index's form.
    pub fn published(&self) -> Result<Published<'_>, Error> {
        let read = Published::read(&self.texts)?;
        match &self.shards {
            None => Ok(read),
            Some(shards) if read.by_sigindex => Ok(read.joined_with(shards.published()?)),
            Some(shards) => shards.published(),
        }
    }

    /// What clients are served, after patches.
    ///
    /// # Errors
    /// When an index is not of an index's form.
    pub fn served(&self) -> Result<Published<'_>, Error> {
        match (&self.shards, self.texts.last()) {
            (Some(shards), _) => shards.published(),
            // The last is the one that clients read.
            (None, Some((path, text))) => Published::parse(path, text),
            (None, None) => Ok(Published::default()),
        }
    }
}

impl Shards {
    fn published(&self) -> Result<Published<'_>, Error> {
        Published::from_shards(&self.path, &self.info, self.records.iter().cloned())
    }
}

fn text(witness: Witness<'_>, path: &str) -> Result<Option<Vec<u8>>, Error> {
    if witness.vouched.is_some() {
        return match witness.existing(path, MAX_PUBLISHED)? {
            Existing::Odd => Err(too_large(path)),
            found => Ok(found.file()),
        };
    }
    match witness.storage.open(path, Links::Refuse) {
        Err(error) if error.is_absent() => Ok(None),
        Err(error) => Err(error.into()),
        Ok((file, stat)) => {
            if stat.size > MAX_PUBLISHED {
                return Err(too_large(path));
            }
            let mut text = Vec::new();
            let read = file.take(MAX_PUBLISHED).read_to_end(&mut text);
            read.map_err(|cause| unreadable(path, cause))?;
            Ok(Some(text))
        }
    }
}

fn too_large(path: &str) -> Error {
    let why = "it is too large for an index; remove it, or put the published one back";
    unreadable(path, io::Error::new(io::ErrorKind::FileTooLarge, why))
}

fn unreadable(path: &str, cause: io::Error) -> Error {
    let (path, operation) = (path.to_owned(), "read the published index");
    Error::Storage(StorageError::Io {
        path,
        operation,
        cause,
    })
}

/// What shards tell, where sigindex wrote them; shards by others bind nothing.
///
/// # Errors
/// When the index, or a shard that it names, is not there whole, or can't be read.
pub fn in_shards(witness: Witness<'_>, subdir: &SubdirName) -> Result<Option<Shards>, Error> {
    let path = subdir.path_of(shards::SHARD_INDEX);
    let there = witness.existing(&path, MAX_SHARDS)?;
    if matches!(there, Existing::Absent) {
        return Ok(None);
    }
    let broken = |path: &str, why| Error::BrokenIndex {
        path: path.to_owned(),
        cause: serde_json::Error::custom(why),
    };
    let index = there.file().and_then(|bytes| shards::read_index(&bytes));
    let index = index.ok_or_else(|| broken(&path, "it is no shard index, or was cut off"))?;
    if index.info.get("generator").and_then(Json::as_str) != Some("sigindex") {
        return Ok(None);
    }
    let (mut records, mut run_exports) = (Vec::new(), BTreeMap::new());
    for digest in index.shards.values() {
        let name = format!("{}/{}{}", shards::SHARDS, hex(digest), shards::EXTENSION);
        let path = subdir.path_of(&name);
        // The index pins it by its hash.
        let bytes = publish::existing(witness.storage, &path, MAX_SHARDS)?.file();
        let whole = bytes.filter(|bytes| Sha256::digest(bytes).as_slice() == digest);
        let shard = whole.and_then(|bytes| shards::read_shard(&bytes));
        let shard = shard.ok_or_else(|| {
            broken(
                &path,
                "it is missing, cut off, or not what the shard index names (without repodata.json nothing else tells what was published; remove the shard index beside it too, where there is no good copy)",
            )
        })?;
        for (name, one) in shard.packages {
            if let Some(found) = one.run_exports {
                run_exports.insert(name.clone(), found);
            }
            records.push((name, Json::Object(one.record).compact()));
        }
    }
    Ok(Some(Shards {
        path,
        info: index.info,
        records,
        run_exports,
    }))
}
