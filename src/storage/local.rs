//! A channel in a folder of this machine. Owns every system call on the channel's files: links never
//! lead out, nothing blocks, and a file is replaced by a rename. Must not know what the files mean.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{self as sys, AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use walkdir::WalkDir;

use super::batch::Batch;
use super::moves;
use super::{
    Change, Item, Kind, Links, Lock, LockFor, LockMode, OpenFile, Stat, Storage, StorageError,
};
use crate::shown::shown;

/// How often a path is looked up again while others rename folders.
const MAX_RACES: usize = 64;

/// A folder, opened: every path is looked up from here, so that renaming or replacing the folder in
/// the middle of a run changes nothing.
#[derive(Debug)]
pub struct LocalStorage {
    root: PathBuf,
    handle: OwnedFd,
}

impl LocalStorage {
    /// Opens an existing folder.
    ///
    /// # Errors
    /// When it isn't there, isn't a folder, or can't be entered.
    pub fn open(root: &Path) -> Result<LocalStorage, StorageError> {
        let said = |operation| move |cause: io::Error| io_error(shown(root), operation, cause);
        let root = root.canonicalize().map_err(said("open the folder"))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = sys::open(&root, flags, Mode::empty())
            .map_err(|e| said("open the folder")(e.into()))?;
        sys::statat(&handle, ".", AtFlags::empty())
            .map_err(|e| said("enter the folder")(e.into()))?;
        Ok(LocalStorage { root, handle })
    }

    /// Opens a folder for writing, and makes it where it isn't there.
    ///
    /// # Errors
    /// As [`LocalStorage::open`], and when it can't be made.
    pub fn create(root: &Path) -> Result<LocalStorage, StorageError> {
        match std::fs::create_dir_all(root) {
            // What stands there is opened, or says better why it can't be.
            Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => {
                let path = shown(root);
                Err(io_error(path, "make the folder", cause))
            }
            _ => LocalStorage::open(root),
        }
    }

    /// Whether [`LocalStorage::create`] would find or make a folder, as far as names and what has them tell.
    ///
    /// # Errors
    /// Where it would not.
    pub fn could_create(root: &Path) -> Result<(), StorageError> {
        could_make_folder(root).map_err(|cause| io_error(shown(root), "make the folder", cause))
    }

    /// The folder, absolute and without links.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Takes the channel's lock; it is held until the value is dropped or the process ends.
    ///
    /// # Errors
    /// When another process holds it (and `mode` doesn't wait), or the file system can't lock.
    pub fn lock(&self, mode: LockMode) -> Result<Lock, StorageError> {
        self.lock_for(LockFor::Alone, mode)
    }

    /// As [`LocalStorage::lock`], alone or beside others.
    ///
    /// # Errors
    /// When another process holds it in a way that excludes this one (and `mode` doesn't wait), or the file system can't
    /// lock.
    pub fn lock_for(&self, purpose: LockFor, mode: LockMode) -> Result<Lock, StorageError> {
        Lock::acquire(&self.root, purpose, mode)
    }

    /// Whether something else stands in the lock's place, which is looked at alone.
    ///
    /// # Errors
    /// As [`LocalStorage::lock_for`] then.
    pub fn could_lock(&self) -> Result<(), StorageError> {
        Lock::could_acquire(&self.root)
    }

    pub(super) fn shown(&self, path: &str) -> String {
        shown(self.root.join(path))
    }

    fn fail<'a>(
        &'a self,
        path: &'a str,
        operation: &'static str,
    ) -> impl Fn(io::Error) -> StorageError + 'a {
        move |cause| io_error(self.shown(path), operation, cause)
    }

    /// Opens below the root, with the kernel's own word that no link leads out of it.
    fn open_beneath(&self, path: &str, links: Links) -> Result<File, StorageError> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let mut resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        if links == Links::Refuse {
            resolve |= ResolveFlags::NO_SYMLINKS;
        }
        for _ in 0..MAX_RACES {
            return match sys::openat2(&self.handle, path, flags, Mode::empty(), resolve) {
                // Something was renamed while the kernel looked.
                Err(Errno::AGAIN) => continue,
                Ok(file) => Ok(file.into()),
                Err(Errno::LOOP) if links == Links::Refuse => {
                    Err(StorageError::Link(self.shown(path)))
                }
                Err(Errno::XDEV | Errno::NOSYS | Errno::PERM) => self.open_resolved(path, links),
                Err(error) => Err(self.fail(path, "open the file")(error.into())),
            };
        }
        Err(self.fail(path, "open the file")(Errno::AGAIN.into()))
    }

    /// The long way: for absolute links that end inside, and for kernels without `openat2`.
    fn open_resolved(&self, path: &str, links: Links) -> Result<File, StorageError> {
        let plain = self.root.join(path);
        let real = plain
            .canonicalize()
            .map_err(self.fail(path, "resolve the link"))?;
        let Ok(inside) = real.strip_prefix(&self.root) else {
            return Err(StorageError::Outside(self.shown(path)));
        };
        if links == Links::Refuse && real != plain {
            return Err(StorageError::Link(self.shown(path)));
        }
        let flags =
            OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW;
        sys::openat(&self.handle, inside, flags, Mode::empty())
            .map(File::from)
            .map_err(|error| self.fail(path, "open the file")(error.into()))
    }

    /// Opens a folder below the root through no link at all; with `make`, makes it where it isn't there.
    pub(super) fn folder(&self, path: &str, make: bool) -> Result<OwnedFd, StorageError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let start = sys::openat(&self.handle, ".", flags, Mode::empty());
        let mut folder = start.map_err(|error| self.fail(path, "open the folder")(error.into()))?;
        for part in path.split('/').filter(|part| !part.is_empty()) {
            let opened = match sys::openat(&folder, part, flags, Mode::empty()) {
                Err(Errno::NOENT) if make => {
                    let made = sys::mkdirat(&folder, part, Mode::from_raw_mode(0o777));
                    let made = match made {
                        // Somebody else was quicker, or it was made and an error reported all the same.
                        Err(Errno::EXIST) => Ok(()),
                        made => made,
                    };
                    made.and_then(|()| moves::sync_folder(&folder))
                        .and_then(|()| sys::openat(&folder, part, flags, Mode::empty()))
                }
                opened => opened,
            };
            folder = match opened {
                Err(error @ (Errno::LOOP | Errno::NOTDIR)) => {
                    let found = sys::statat(&folder, part, AtFlags::SYMLINK_NOFOLLOW);
                    let kind = found.map(|found| sys::FileType::from_raw_mode(found.st_mode));
                    return Err(match kind.is_ok_and(|kind| kind.is_symlink()) {
                        true => StorageError::Link(self.shown(path)),
                        false => self.fail(path, "open the folder")(error.into()),
                    });
                }
                opened => {
                    opened.map_err(|error| self.fail(path, "open the folder")(error.into()))?
                }
            };
        }
        Ok(folder)
    }
}

impl Storage for LocalStorage {
    fn list(&self, folder: &str) -> Result<Vec<Item>, StorageError> {
        let root = self.root.join(folder);
        // A walk of a file would find nothing, and no error.
        let is_folder = root.symlink_metadata().map(|found| found.is_dir());
        if !is_folder.map_err(self.fail(folder, "list the folder"))? {
            let cause = io::Error::from(io::ErrorKind::NotADirectory);
            return Err(self.fail(folder, "list the folder")(cause));
        }
        let walk = WalkDir::new(root)
            .min_depth(1)
            .max_depth(1)
            .follow_links(false);
        walk.into_iter()
            .map(|entry| {
                let entry = entry.map_err(|error| {
                    // Of a loop there is no error of the system; links are not followed.
                    let cause = error.into_io_error().unwrap_or(io::ErrorKind::Other.into());
                    self.fail(folder, "list the folder")(cause)
                })?;
                let kind = entry.file_type();
                let kind = match () {
                    () if kind.is_file() => Kind::File,
                    () if kind.is_dir() => Kind::Folder,
                    () if kind.is_symlink() => Kind::Link,
                    () => Kind::Special,
                };
                Ok(Item {
                    name: entry.file_name().to_owned(),
                    kind,
                })
            })
            .collect()
    }

    fn stat(&self, path: &str) -> Result<Option<Stat>, StorageError> {
        let found = match sys::statat(&self.handle, path, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(self.fail(path, "look at the file")(error.into())),
            Ok(found) => found,
        };
        if sys::FileType::from_raw_mode(found.st_mode).is_file() {
            return Ok(Some(Stat {
                size: u64::try_from(found.st_size).unwrap_or(0),
                mtime: nanoseconds(found.st_mtime, found.st_mtime_nsec.try_into().unwrap_or(0)),
                inode: found.st_ino,
                ctime: nanoseconds(found.st_ctime, found.st_ctime_nsec.try_into().unwrap_or(0)),
            }));
        }
        self.open(path, Links::Follow).map(|(_, stat)| Some(stat))
    }

    fn open(&self, path: &str, links: Links) -> Result<(OpenFile, Stat), StorageError> {
        let file = self.open_beneath(path, links)?;
        let found = file
            .metadata()
            .map_err(self.fail(path, "look at the open file"))?;
        if !found.is_file() {
            return Err(StorageError::NotAFile(self.shown(path)));
        }
        Ok((file.into(), Stat::of(&found)))
    }

    fn apply(&self, changes: Vec<Change>) -> Result<(), StorageError> {
        Batch::stage(self, &changes)?.place()
    }
}

impl Stat {
    /// The identity of an open file.
    pub fn of(found: &std::fs::Metadata) -> Stat {
        Stat {
            size: found.len(),
            mtime: nanoseconds(found.mtime(), found.mtime_nsec()),
            inode: found.ino(),
            ctime: nanoseconds(found.ctime(), found.ctime_nsec()),
        }
    }
}

fn nanoseconds(seconds: i64, nanoseconds: i64) -> i64 {
    seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(nanoseconds)
}

pub(super) fn io_error(path: String, operation: &'static str, cause: io::Error) -> StorageError {
    StorageError::Io {
        path,
        operation,
        cause,
    }
}

/// Whether a folder stands in this place or could be made there with those above it, as far as names and what has them
/// tell.
///
/// # Errors
/// Where something else stands in the way, as for [`std::fs::create_dir_all`].
pub fn could_make_folder(path: &Path) -> io::Result<()> {
    for there in std::path::absolute(path)?.ancestors() {
        match std::fs::symlink_metadata(there) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
            Err(cause) => return Err(cause),
            Ok(_) if there.is_dir() => break,
            // A link to nothing, too.
            Ok(_) => return Err(io::ErrorKind::AlreadyExists.into()),
        }
    }
    Ok(())
}
