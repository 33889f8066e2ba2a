//! One indexer at a time, or any number of workers that get on with each other. Owns the lock file in the channel; the
//! kernel holds the lock, so a holder that died never blocks. Must not know what is done under the lock.

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::StorageError;
use crate::shown::shown;

/// The file that is locked. It stays: taking it away would let two runs hold two locks.
const LOCK_FILE: &str = ".sigindex.lock";

/// How often the list of locks is looked through for one that has to be in it.
const LOOKS: usize = 5;

/// What to do when another process holds the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// Fail and say who holds it.
    Fail,
    /// Wait for it.
    Wait,
}

/// Who else may hold the lock meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockFor {
    /// Nobody.
    Alone,
    /// Those who take it in this way too.
    Beside,
}

/// The lock, held until this is dropped.
#[derive(Debug)]
pub struct Lock {
    _held: File,
}

impl Lock {
    pub(super) fn acquire(
        root: &Path,
        purpose: LockFor,
        mode: LockMode,
    ) -> Result<Lock, StorageError> {
        let path = root.join(LOCK_FILE);
        loop {
            let file = open(&path)?;
            hold(&file, &path, purpose, mode)?;
            // A lock on a file that was taken away meanwhile keeps nobody out.
            let named = std::fs::symlink_metadata(&path).ok();
            let same = |named: &Metadata, held: &Metadata| {
                named.ino() == held.ino() && named.dev() == held.dev()
            };
            if file
                .metadata()
                .is_ok_and(|held| named.is_some_and(|named| same(&named, &held)))
            {
                return Ok(Lock { _held: file });
            }
        }
    }

    pub(super) fn could_acquire(root: &Path) -> Result<(), StorageError> {
        let path = root.join(LOCK_FILE);
        match std::fs::symlink_metadata(&path) {
            Ok(found) if found.is_symlink() => Err(StorageError::Link(shown(path))),
            Ok(found) if !found.is_file() => Err(StorageError::NotAFile(shown(path))),
            // What can't be looked at is the lock's to find.
            _ => Ok(()),
        }
    }
}

fn open(path: &Path) -> Result<File, StorageError> {
    let shown = shown(path);
    let nofollow = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o666)
        .custom_flags(nofollow.bits().cast_signed())
        .open(path);
    let file = opened.map_err(|cause| match Errno::from_io_error(&cause) {
        Some(Errno::LOOP) => StorageError::Link(shown.clone()),
        Some(Errno::ISDIR) => StorageError::NotAFile(shown.clone()),
        _ => StorageError::Io {
            path: shown.clone(),
            operation: "open the lock file",
            cause,
        },
    })?;
    match file.metadata() {
        Ok(found) if !found.is_file() => Err(StorageError::NotAFile(shown)),
        _ => Ok(file),
    }
}

fn hold(file: &File, path: &Path, purpose: LockFor, mode: LockMode) -> Result<(), StorageError> {
    let shown = shown(path);
    let tried = match purpose {
        LockFor::Alone => file.try_lock(),
        LockFor::Beside => file.try_lock_shared(),
    };
    match tried {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) if mode == LockMode::Fail => Err(StorageError::Locked {
            path: shown,
            holder: holder(file),
        }),
        Err(TryLockError::WouldBlock) => {
            let waited = match purpose {
                LockFor::Alone => file.lock(),
                LockFor::Beside => file.lock_shared(),
            };
            waited.map_err(|cause| StorageError::NoLocks { path: shown, cause })
        }
        Err(TryLockError::Error(cause)) => Err(StorageError::NoLocks { path: shown, cause }),
    }
}

/// Who holds the lock: Linux lists it in `/proc/locks`, by inode. That list is handed out in pieces, and what changes
/// meanwhile can hide an entry from one who reads it.
fn holder(file: &File) -> String {
    let inode = file.metadata().map(|found| format!(":{}", found.ino()));
    let inode = inode.unwrap_or_default();
    match (0..LOOKS).find_map(|_| process_with(&inode)) {
        Some(pid) => format!("process {pid}"),
        None => "another process, perhaps on another machine".to_owned(),
    }
}

/// The process that holds a lock on a file whose place ends so.
fn process_with(inode: &str) -> Option<String> {
    let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    locks.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(4);
        let (pid, place) = (words.next()?, words.next()?);
        (place.ends_with(inode) && pid.parse::<u32>().is_ok()).then(|| pid.to_owned())
    })
}
