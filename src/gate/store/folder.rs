//! The store's folder on the disk: `files/HASH` for kept files, `new/` for those on their way. Owns modes, names,
//! renames and what a crash leaves; must not know which files are to go.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use rustix::fs::OFlags;
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::held::There;
use super::{Hash, Place, StoreError, StoreWriter, Stored};
use crate::record::{hex, unhex};
use crate::shown::shown;

/// Where kept files are.
const FILES: &str = "files";

/// Where files are written.
const NEW: &str = "new";

/// The bytes that are hashed at once.
const CHUNK: usize = 256 << 10;

/// A file on its way that nobody holds locked is cleared when it is as old as this: its maker may not have come to
/// lock it yet.
const LEFT_BEHIND: Duration = Duration::from_secs(60);

/// The bounds of a store.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// Its folder.
    pub folder: PathBuf,
    /// The most bytes on the disk.
    pub disk_bytes: u64,
    /// The most bytes in memory.
    pub memory_bytes: u64,
    /// The largest file that is taken into memory.
    pub small: u64,
}

/// An open file of known length.
#[derive(Debug)]
pub(super) struct Opened {
    pub file: Arc<File>,
    pub length: u64,
}

impl Opened {
    pub fn stored(self) -> Stored {
        Stored {
            length: self.length,
            place: Place::File(self.file),
        }
    }
}

pub(super) fn io_error(path: &Path, operation: &'static str, cause: io::Error) -> StoreError {
    StoreError::Io {
        path: shown(path),
        operation,
        cause,
    }
}

/// The folder of a store.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Names files on their way.
    number: AtomicU64,
}

impl Folder {
    pub fn open(path: &Path) -> Result<Folder, StoreError> {
        for folder in [path, &path.join(FILES), &path.join(NEW)] {
            make_private(folder)?;
        }
        Ok(Folder {
            path: path.to_owned(),
            number: AtomicU64::new(0),
        })
    }

    pub fn error(&self, operation: &'static str, cause: io::Error) -> StoreError {
        io_error(&self.path, operation, cause)
    }

    fn place(&self, hash: &Hash) -> PathBuf {
        self.path.join(FILES).join(hex(hash))
    }

    /// All kept files.
    pub fn scan(&self) -> Result<Vec<There>, StoreError> {
        let mut found = Vec::new();
        for (path, about) in self.list(FILES)? {
            let name = path.file_name().and_then(|name| name.to_str());
            if let Some(hash) = name.and_then(parse_hash).filter(|_| about.is_file()) {
                found.push(There {
                    hash,
                    length: about.len(),
                    used: about.mtime(),
                });
            }
        }
        Ok(found)
    }

    /// Removes what was on its way when its process ended. What is no file came from elsewhere, and stays.
    pub fn clear_leftovers(&self) -> Result<(), StoreError> {
        for (path, about) in self.list(NEW)? {
            if !about.is_file() {
                continue;
            }
            let made = about.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            let age = made.elapsed().unwrap_or_default();
            let is_held = open_itself(&path).is_ok_and(|file| file.try_lock().is_err());
            if age >= LEFT_BEHIND && !is_held {
                removed(&path)?;
            }
        }
        Ok(())
    }

    fn list(&self, folder: &str) -> Result<Vec<(PathBuf, std::fs::Metadata)>, StoreError> {
        let folder = self.path.join(folder);
        let fail = |cause| io_error(&folder, "list the cache", cause);
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            match entry.metadata() {
                Ok(about) => found.push((entry.path(), about)),
                // Another process let it go.
                Err(cause) if cause.kind() == ErrorKind::NotFound => {}
                Err(cause) => return Err(fail(cause)),
            }
        }
        Ok(found)
    }

    pub fn writer(&self) -> Result<StoreWriter, StoreError> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        // No two processes, nor two folders in one, have the same name.
        let id = rustix::process::getpid().as_raw_nonzero();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.unwrap_or_default().as_nanos();
        let path = self.path.join(NEW).join(format!("{id}-{now}-{number}"));
        let fail = |cause| io_error(&path, "make a file", cause);
        let made = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        let file = made.map_err(fail)?;
        match file.try_lock() {
            // Where the file system has no locks, its age alone protects it.
            Ok(()) | Err(std::fs::TryLockError::Error(_)) => {}
            Err(held @ std::fs::TryLockError::WouldBlock) => return Err(fail(held.into())),
        }
        Ok(StoreWriter::new(file, path))
    }

    pub fn keep(&self, writer: StoreWriter, hash: &Hash) -> Result<Opened, StoreError> {
        writer.rename(self.place(hash))
    }

    /// Makes room for a kept file where something else has its name; whether there is room. What is no folder goes when
    /// the file takes its name.
    pub fn make_way(&self, hash: &Hash) -> bool {
        let path = self.place(hash);
        match std::fs::symlink_metadata(&path) {
            // One that is not empty may be dear to somebody.
            Ok(about) if about.is_dir() => std::fs::remove_dir(&path).is_ok(),
            _ => true,
        }
    }

    /// Opens a kept file, if it is there. What is no file under its name is as good as nothing.
    pub fn open_file(&self, hash: &Hash) -> Result<Option<Opened>, StoreError> {
        let path = self.place(hash);
        let fail = |cause| io_error(&path, "open a file", cause);
        let file = match open_itself(&path) {
            Err(cause) if is_none(&cause) => return Ok(None),
            opened => opened.map_err(fail)?,
        };
        let about = file.metadata().map_err(fail)?;
        Ok(about.is_file().then(|| Opened {
            file: Arc::new(file),
            length: about.len(),
        }))
    }

    pub fn hash(&self, file: &Opened) -> Result<Hash, StoreError> {
        let mut hasher = Sha256::new();
        let mut chunk = vec![0; CHUNK];
        let mut offset: u64 = 0;
        loop {
            let read = match file.file.read_at(&mut chunk, offset) {
                Ok(0) => return Ok(hasher.finalize().into()),
                Ok(read) => read,
                Err(cause) if cause.kind() == ErrorKind::Interrupted => continue,
                Err(cause) => return Err(self.error("read a file", cause)),
            };
            hasher.update(chunk.get(..read).unwrap_or_default());
            offset = offset.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        }
    }

    pub fn remove(&self, hash: &Hash) -> Result<(), StoreError> {
        removed(&self.place(hash))
    }

    /// Notes that it is in use, for gates to come: they let the others go first.
    pub fn touch(&self, file: &Opened) {
        // Only the order suffers when this can't be done.
        let _ = file.file.set_modified(SystemTime::now());
    }
}

/// Opens what has this name, and not what it leads to, without waiting for whoever may be at its other end.
fn open_itself(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Whether something can't be opened because it is not there, or is a link or a socket.
fn is_none(cause: &io::Error) -> bool {
    let odd = [Errno::LOOP, Errno::NXIO].map(|errno| Some(errno.raw_os_error()));
    cause.kind() == ErrorKind::NotFound || odd.contains(&cause.raw_os_error())
}

/// The bytes of an open file, if they have that hash.
pub(super) fn read_checked(file: &File, length: u64, hash: &Hash) -> Option<Bytes> {
    let mut bytes = vec![0; usize::try_from(length).ok()?];
    file.read_exact_at(&mut bytes, 0).ok()?;
    let found: Hash = Sha256::digest(&bytes).into();
    (found == *hash).then(|| bytes.into())
}

fn removed(path: &Path) -> Result<(), StoreError> {
    match std::fs::remove_file(path) {
        Err(cause) if cause.kind() != ErrorKind::NotFound => {
            Err(io_error(path, "remove a file", cause))
        }
        _ => Ok(()),
    }
}

/// Makes a folder for this user alone; one that is there has to be so.
fn make_private(path: &Path) -> Result<(), StoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|cause| io_error(path, "make the cache's folder", cause))?;
    let about = std::fs::symlink_metadata(path)
        .map_err(|cause| io_error(path, "look at the cache's folder", cause))?;
    let fault = if !about.is_dir() {
        "is no folder"
    } else if about.uid() != rustix::process::geteuid().as_raw() {
        "belongs to another user"
    } else if about.mode() & 0o077 != 0 {
        "is open to others"
    } else {
        return Ok(());
    };
    let path = shown(path);
    Err(StoreError::Untrusted { path, fault })
}

/// A file's name as this room writes it: lower case alone.
fn parse_hash(name: &str) -> Option<Hash> {
    unhex(name).filter(|hash| hex(hash) == name)
}
