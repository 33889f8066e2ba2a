//! One indexer at a time. Owns the lock file in the channel; the kernel holds the lock, so a holder
//! that died never blocks. Must not know what is done under the lock.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::StorageError;

/// The file that is locked. It stays: taking it away would let two runs hold two locks.
const LOCK_FILE: &str = ".sigindex.lock";

/// What to do when another process holds the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// Fail and say who holds it.
    Fail,
    /// Wait for it.
    Wait,
}

/// The lock, held until this is dropped.
#[derive(Debug)]
pub struct Lock {
    _held: File,
}

impl Lock {
    pub(super) fn acquire(root: &Path, mode: LockMode) -> Result<Lock, StorageError> {
        let path = root.join(LOCK_FILE);
        let shown = path.display().to_string();
        let nofollow = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o666)
            .custom_flags(nofollow.bits().cast_signed())
            .open(&path)
            .map_err(|cause| StorageError::Io {
                path: shown.clone(),
                operation: "open the lock file",
                cause,
            })?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) if mode == LockMode::Fail => {
                return Err(StorageError::Locked {
                    path: shown,
                    holder: holder(&file),
                });
            }
            Err(TryLockError::WouldBlock) => {
                file.lock()
                    .map_err(|cause| StorageError::NoLocks { path: shown, cause })?;
            }
            Err(TryLockError::Error(cause)) => {
                return Err(StorageError::NoLocks { path: shown, cause });
            }
        }
        Ok(Lock { _held: file })
    }
}

/// Who holds the lock: Linux lists it in `/proc/locks`, by inode.
fn holder(file: &File) -> String {
    let inode = file
        .metadata()
        .map(|found| format!(":{}", found.ino()))
        .unwrap_or_default();
    let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    let process = locks.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(4);
        let (pid, place) = (words.next()?, words.next()?);
        (place.ends_with(&inode) && pid.parse::<u32>().is_ok()).then(|| pid.to_owned())
    });
    match process {
        Some(pid) => format!("process {pid}"),
        None => "another process, perhaps on another machine".to_owned(),
    }
}
