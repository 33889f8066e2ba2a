//! A channel in a folder of this machine. Owns every system call on the channel's files: links never
//! lead out, nothing blocks, and a file is replaced by a rename. Must not know what the files mean.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{self as sys, AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use walkdir::WalkDir;

use super::{Change, Item, Kind, Links, Lock, LockMode, Stat, Storage, StorageError};

/// From this many files on, one `syncfs` costs less than a sync of each.
const SYNC_TOGETHER: usize = 16;

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
        let said = |operation| {
            move |cause: io::Error| io_error(root.display().to_string(), operation, cause)
        };
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
        std::fs::create_dir_all(root)
            .map_err(|cause| io_error(root.display().to_string(), "make the folder", cause))?;
        LocalStorage::open(root)
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
        Lock::acquire(&self.root, mode)
    }

    fn shown(&self, path: &str) -> String {
        self.root.join(path).display().to_string()
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
        match sys::openat2(&self.handle, path, flags, Mode::empty(), resolve) {
            Ok(file) => Ok(file.into()),
            Err(Errno::LOOP) if links == Links::Refuse => Err(StorageError::Link(self.shown(path))),
            Err(Errno::XDEV | Errno::NOSYS | Errno::PERM | Errno::AGAIN) => {
                self.open_resolved(path, links)
            }
            Err(error) => Err(self.fail(path, "open the file")(error.into())),
        }
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

    /// Writes a temporary file beside the place where it will stand.
    fn stage(&self, path: &str, content: &[u8]) -> Result<Staged, StorageError> {
        let place = self.root.join(path);
        let folder = place.parent().unwrap_or(&self.root);
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o777)
            .create(folder)
            .map_err(self.fail(path, "make the folder for the file"))?;
        let temporary = folder.join(own_temporary());
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o666)
            .open(&temporary)
            .map_err(self.fail(path, "create a temporary file beside"))?;
        let staged = Staged {
            temporary,
            place,
            renamed: false,
        };
        file.write_all(content).map_err(self.fail(path, "write"))?;
        Ok(staged)
    }

    /// Makes what was written survive a loss of power.
    fn sync_contents(&self, staged: &[Staged]) -> Result<(), StorageError> {
        if cfg!(target_os = "linux") && staged.len() >= SYNC_TOGETHER {
            return sys::syncfs(&self.handle)
                .map_err(|e| self.fail("", "sync the file system of")(e.into()));
        }
        for one in staged {
            File::open(&one.temporary)
                .and_then(|file| file.sync_all())
                .map_err(|cause| io_error(one.place.display().to_string(), "sync", cause))?;
        }
        Ok(())
    }

    fn sync_folders(&self, paths: &[String]) -> Result<(), StorageError> {
        let folders: BTreeSet<PathBuf> = paths
            .iter()
            .filter_map(|path| self.root.join(path).parent().map(Path::to_owned))
            .collect();
        for folder in folders {
            match File::open(&folder).and_then(|folder| folder.sync_all()) {
                Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                    return Err(io_error(
                        folder.display().to_string(),
                        "sync the folder",
                        cause,
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn remove(&self, path: &str) -> Result<(), StorageError> {
        match std::fs::remove_file(self.root.join(path)) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                Err(self.fail(path, "remove")(cause))
            }
            _ => Ok(()),
        }
    }
}

impl Storage for LocalStorage {
    fn list(&self, folder: &str) -> Result<Vec<Item>, StorageError> {
        let walk = WalkDir::new(self.root.join(folder))
            .min_depth(1)
            .max_depth(1)
            .follow_links(false);
        walk.into_iter()
            .map(|entry| {
                let entry = entry.map_err(|e| self.fail(folder, "list the folder")(e.into()))?;
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

    fn open(&self, path: &str, links: Links) -> Result<(File, Stat), StorageError> {
        let file = self.open_beneath(path, links)?;
        let found = file
            .metadata()
            .map_err(self.fail(path, "look at the open file"))?;
        if !found.is_file() {
            return Err(StorageError::NotAFile(self.shown(path)));
        }
        Ok((file, Stat::of(&found)))
    }

    fn apply(&self, changes: Vec<Change>) -> Result<(), StorageError> {
        let paths: Vec<String> = changes
            .iter()
            .map(|change| change.path().to_owned())
            .collect();
        let mut staged = Vec::new();
        for change in &changes {
            if let Change::Write { path, content } = change {
                staged.push(self.stage(path, content)?);
            }
        }
        self.sync_contents(&staged)?;
        let mut ready = staged.into_iter();
        for change in &changes {
            match change {
                Change::Remove { path } => self.remove(path)?,
                Change::Write { .. } => {
                    ready.next().map_or(Ok(()), |mut staged| staged.rename())?
                }
            }
        }
        self.sync_folders(&paths)
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

/// A file that was written and not yet put in its place; dropped, it is taken away again.
struct Staged {
    temporary: PathBuf,
    place: PathBuf,
    renamed: bool,
}

impl Staged {
    fn rename(&mut self) -> Result<(), StorageError> {
        std::fs::rename(&self.temporary, &self.place).map_err(|cause| {
            io_error(
                self.place.display().to_string(),
                "put the new file in its place",
                cause,
            )
        })?;
        self.renamed = true;
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.renamed {
            // A failure is under way already; the next run takes away what stays.
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

fn nanoseconds(seconds: i64, nanoseconds: i64) -> i64 {
    seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(nanoseconds)
}

fn io_error(path: String, operation: &'static str, cause: io::Error) -> StorageError {
    StorageError::Io {
        path,
        operation,
        cause,
    }
}

/// A name that no package has, unlike any that another process of this machine uses now.
fn own_temporary() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let since_1970 = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    format!(
        ".sigindex-{}-{}-{count}.tmp",
        std::process::id(),
        since_1970.as_nanos()
    )
}

/// Whether a name is one that [`Storage::apply`] gives its temporary files. Under the channel's lock
/// such a file is left over from a run that was killed.
pub fn is_own_temporary(name: &str) -> bool {
    name.starts_with(".sigindex-") && name.ends_with(".tmp")
}
