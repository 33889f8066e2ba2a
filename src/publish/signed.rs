//! Putting the files of a signed index in their places: each lies by its hash, and its plain file is a link to that.
//! Owns what has to be written so that both hold the same bytes, and the check of files by hash; must not know what
//! the files mean, nor who signs.

use std::io::Read as _;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::{Existing, Fate, Standing, existing, fate, standing, unreadable};
use crate::error::Error;
use crate::repodata::{Content, IndexFile, Rank};
use crate::storage::{Change, Links, Stat, Storage, StorageError};
use crate::tuf::{Target, by_hash};

/// The bytes that are hashed at once.
const CHUNK: usize = 1 << 18;

/// What becomes of one file: what has to be done, and what signed metadata is to say of it.
#[derive(Debug, Default)]
pub struct Settled {
    /// What has to be done.
    pub changes: Vec<(Rank, Change)>,
    /// The file by its path, if it is to be there and to be named.
    pub target: Option<(String, Target)>,
    /// The file that stands there plainly, where that is right already and the index is not signed.
    pub stands: Option<Stat>,
}

impl Settled {
    /// What becomes of a file that no signed index names.
    ///
    /// # Errors
    /// As [`fate`].
    pub fn plainly(storage: &dyn Storage, file: &IndexFile) -> Result<Settled, Error> {
        let mut settled = Settled::default();
        match fate(storage, file)? {
            Fate::Stays(stands) => settled.stands = stands,
            Fate::Changes(change) => settled.changes.push((file.rank, change)),
        }
        Ok(settled)
    }
}

/// What a file's bytes are called in signed metadata.
pub fn target_of(bytes: &[u8]) -> Target {
    Target {
        length: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        sha256: Sha256::digest(bytes).into(),
    }
}

/// What has to be done so that an index file stands by its hash and plainly. `known` is what the generation before,
/// whose files were verified, says of it: its bytes stay as long as they hold the right content.
///
/// # Errors
/// When a file that stands there can't be read, or a twin can't be compressed.
pub fn settle(
    storage: &dyn Storage,
    file: &IndexFile,
    known: Option<&Target>,
) -> Result<Settled, Error> {
    let content = match &file.content {
        Some(content) if file.is_target() => content,
        _ => {
            return Settled::plainly(storage, file);
        }
    };
    let mut changes = Vec::new();
    let path = file.path.as_str();
    let target = match known {
        Some(known) if still_holds(storage, path, known, content)? => *known,
        _ => {
            // What stands there plainly, and is right, keeps its bytes.
            let bytes = match standing(storage, file)? {
                Standing::Right(bytes, _) => bytes,
                Standing::Folder => return Err(StorageError::NotAFile(file.path.clone()).into()),
                Standing::Absent | Standing::Wrong => content.bytes()?,
            };
            let target = target_of(&bytes);
            changes.extend(laid_down(storage, path, &target, bytes)?);
            target
        }
    };
    if !stands_plainly(storage, path, &target)? {
        let link = Change::Link {
            from: by_hash(path, &target.sha256),
            path: path.to_owned(),
        };
        changes.push((file.rank, link));
    }
    Ok(Settled {
        changes,
        target: Some((path.to_owned(), target)),
        stands: None,
    })
}

/// What has to be done so that a file of a signed index lies by its hash.
///
/// # Errors
/// When what stands there can't be read.
pub fn laid_down(
    storage: &dyn Storage,
    name: &str,
    target: &Target,
    content: Arc<Vec<u8>>,
) -> Result<Option<(Rank, Change)>, Error> {
    let path = by_hash(name, &target.sha256);
    let change = match existing(storage, &path, target.length)? {
        Existing::File(there) if there == *content => return Ok(None),
        Existing::Absent => Change::Create { path, content },
        Existing::File(_) | Existing::Odd => Change::Write { path, content },
    };
    Ok(Some((Rank::Target, change)))
}

/// A file of a signed index, whole: the bytes that are given back are those that were held against its hash.
///
/// # Errors
/// When it is not there, or is another.
pub fn vouched(storage: &dyn Storage, name: &str, target: &Target) -> Result<Vec<u8>, Error> {
    let path = by_hash(name, &target.sha256);
    let found = existing(storage, &path, target.length)?.file();
    let whole = found.filter(|bytes| target_of(bytes) == *target);
    whole.ok_or_else(|| broken(&path))
}

/// Holds a file of a signed index against its hash, without keeping it.
///
/// # Errors
/// As [`vouched`].
pub fn hold(storage: &dyn Storage, name: &str, target: &Target) -> Result<(), Error> {
    let path = by_hash(name, &target.sha256);
    match is_at(storage, &path, target)? {
        true => Ok(()),
        false => Err(broken(&path)),
    }
}

fn broken(path: &str) -> Error {
    Error::SignedIndex {
        place: path.to_owned(),
        why: "the signed index names this file, and it is missing or not what was signed"
            .to_owned(),
    }
}

/// Whether the bytes of the generation before hold the content that is wanted now.
fn still_holds(
    storage: &dyn Storage,
    path: &str,
    known: &Target,
    content: &Content,
) -> Result<bool, Error> {
    Ok(match content {
        Content::Plain(plain) => target_of(plain) == *known,
        Content::Twin(..) if known.length > content.largest() => false,
        Content::Twin(..) => content.is_in(&vouched(storage, path, known)?),
    })
}

/// Whether the plain file is a link to that by hash, or has the same bytes.
fn stands_plainly(storage: &dyn Storage, path: &str, target: &Target) -> Result<bool, Error> {
    let by_hash = storage.open(&by_hash(path, &target.sha256), Links::Refuse);
    match (by_hash, storage.open(path, Links::Refuse)) {
        (Ok((_, one)), Ok((_, other))) if one.inode == other.inode && one.size == other.size => {
            Ok(true)
        }
        (_, Err(StorageError::NotAFile(_))) if storage.list(path).is_ok() => {
            Err(StorageError::NotAFile(path.to_owned()).into())
        }
        _ => is_at(storage, path, target),
    }
}

/// Whether a regular file with these bytes stands at a path.
fn is_at(storage: &dyn Storage, path: &str, target: &Target) -> Result<bool, Error> {
    let (mut file, stat) = match storage.open(path, Links::Refuse) {
        Ok(opened) => opened,
        Err(StorageError::Link(_) | StorageError::NotAFile(_) | StorageError::Outside(_)) => {
            return Ok(false);
        }
        Err(error) if error.is_absent() || error.is_no_folder() => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    if stat.size != target.length {
        return Ok(false);
    }
    let (mut hash, mut total) = (Sha256::new(), 0_u64);
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = file.read(&mut chunk);
        let read = read.map_err(|cause| unreadable(path, cause))?;
        let bytes = chunk.get(..read).unwrap_or_default();
        if bytes.is_empty() {
            break;
        }
        hash.update(bytes);
        total = total.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        if total > target.length {
            return Ok(false);
        }
    }
    Ok(total == target.length && hash.finalize().as_slice() == target.sha256)
}
