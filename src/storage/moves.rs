//! Single changes in open folders. Owns what odd file systems make of them: those without hard links or without renames
//! that never replace, those that can't sync a folder, and network file systems that do a change and report an error all
//! the same, because they sent it twice. Must not know batches.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{self as sys, AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use rustix::path::Arg;

use super::Stat;
use super::batch::{is_abandoned, own_temporary};

/// Puts a file of this mode in a place where none stands: whole and synced, or not at all. Its folder has to be synced
/// thereafter. What is left there of a run that was killed long ago goes.
///
/// # Errors
/// Of kind [`io::ErrorKind::AlreadyExists`] where something stands there.
pub fn create_whole(path: &Path, mode: u32, content: &[u8]) -> io::Result<()> {
    let staged = Staged::write(path, mode, content)?;
    match create(&staged.folder, &staged.temporary, staged.name)? {
        true => Ok(()),
        false => Err(io::ErrorKind::AlreadyExists.into()),
    }
}

/// The same where a file may stand already, which goes; a link there is replaced, and not followed. The folder is synced,
/// too.
///
/// # Errors
/// When it can't be written; then what stands there stays.
pub fn replace_whole(path: &Path, mode: u32, content: &[u8]) -> io::Result<()> {
    let staged = Staged::write(path, mode, content)?;
    replace(&staged.folder, &staged.temporary, staged.name)?;
    Ok(sync_folder(&staged.folder)?)
}

/// A file that was written beside its place, under a name that nobody else has. What is not put in place goes.
struct Staged<'a> {
    folder: OwnedFd,
    temporary: String,
    name: &'a OsStr,
}

impl<'a> Staged<'a> {
    /// Writes and syncs one.
    fn write(path: &'a Path, mode: u32, content: &[u8]) -> io::Result<Staged<'a>> {
        let place = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = sys::open(place, flags, Mode::empty())?;
        clear_abandoned(place, &folder);
        let temporary = own_temporary();
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = sys::openat(&folder, &temporary, flags, Mode::from_raw_mode(mode))?;
        let staged = Staged {
            folder,
            temporary,
            name,
        };
        let mut file = File::from(file);
        file.write_all(content)?;
        file.sync_all()?;
        Ok(staged)
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        let _ = remove(&self.folder, &self.temporary);
    }
}

/// Takes away what runs left that were killed long ago, as far as that is possible: whoever holds no lock can't tell a
/// run of another machine from a dead one.
fn clear_abandoned(folder: &Path, handle: &OwnedFd) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let found = entry.metadata().ok().filter(std::fs::Metadata::is_file);
        if found.is_some_and(|found| is_abandoned(&name, &Stat::of(&found))) {
            let _ = remove(handle, &name);
        }
    }
}

/// Whether there is nothing of a name.
fn is_gone(folder: &OwnedFd, name: &str) -> bool {
    let found = sys::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
    matches!(found, Err(Errno::NOENT))
}

/// What a file is, whatever its name: its device and its inode.
fn identity(folder: &OwnedFd, name: impl Arg) -> Result<(u64, u64), Errno> {
    let found = sys::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok((found.st_dev, found.st_ino))
}

/// Whether two names are of one file.
fn is_same(folder: &OwnedFd, one: impl Arg, other: impl Arg) -> bool {
    identity(folder, one).is_ok_and(|one| identity(folder, other) == Ok(one))
}

/// Puts a temporary file of ours in a place, whatever stands there.
pub(super) fn replace(
    folder: &OwnedFd,
    temporary: &str,
    name: impl Arg + Copy,
) -> Result<(), Errno> {
    let ours = identity(folder, temporary)?;
    match sys::renameat(folder, temporary, folder, name) {
        // It is where it should be, whatever was said.
        Err(_) if is_gone(folder, temporary) && identity(folder, name) == Ok(ours) => Ok(()),
        done => done,
    }
}

/// Takes a file away; one that is already gone is no error.
pub(super) fn remove(folder: &OwnedFd, name: &str) -> Result<(), Errno> {
    match sys::unlinkat(folder, name, AtFlags::empty()) {
        Err(_) if is_gone(folder, name) => Ok(()),
        done => done,
    }
}

/// Makes changes of a folder survive a loss of power, where the file system can do that at all.
///
/// # Errors
/// When it can, and did not.
pub fn sync_folder(folder: impl AsFd) -> Result<(), Errno> {
    match sys::fsync(folder) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => Ok(()),
        done => done,
    }
}

/// Keeps what stands in a place under another name, by a hard link, or by a copy where the file system or the file's owner
/// forbids links; false where nothing stands there.
pub(super) fn keep(folder: &OwnedFd, name: &str, kept: &str) -> io::Result<bool> {
    match sys::linkat(folder, name, folder, kept, AtFlags::empty()) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(_) if is_same(folder, name, kept) => Ok(true),
        Err(_) => match copy(folder, name, folder, kept) {
            Ok(()) => Ok(true),
            Err(error) => {
                // Half a copy is no way back.
                let _ = sys::unlinkat(folder, kept, AtFlags::empty());
                Err(error)
            }
        },
    }
}

/// Makes a file that shares the content of another, which is a regular one.
pub(super) fn share(from: &OwnedFd, name: &str, to: &OwnedFd, temporary: &str) -> io::Result<()> {
    match sys::linkat(from, name, to, temporary, AtFlags::empty()) {
        Ok(()) => {}
        Err(Errno::NOENT) => return Err(Errno::NOENT.into()),
        // It was done, and the answer to that got lost.
        Err(_) if identity(from, name).is_ok_and(|it| identity(to, temporary) == Ok(it)) => {}
        // No hard links here, or not between these two file systems, or not of somebody else's file.
        Err(_) => return copy(from, name, to, temporary),
    }
    let found = sys::statat(to, temporary, AtFlags::SYMLINK_NOFOLLOW)?;
    match sys::FileType::from_raw_mode(found.st_mode).is_file() {
        true => Ok(()),
        false => Err(io::ErrorKind::Unsupported.into()),
    }
}

fn copy(folder: &OwnedFd, name: &str, to_folder: &OwnedFd, to: &str) -> io::Result<()> {
    let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let write = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut from = File::from(sys::openat(folder, name, read, Mode::empty())?);
    if !from.metadata()?.is_file() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let mut to = File::from(sys::openat(
        to_folder,
        to,
        write,
        Mode::from_raw_mode(0o666),
    )?);
    io::copy(&mut from, &mut to)?;
    to.sync_all()
}

/// Puts a temporary file of ours where nothing may stand; false where something does.
pub(super) fn create(
    folder: &OwnedFd,
    temporary: &str,
    name: impl Arg + Copy,
) -> Result<bool, Errno> {
    let ours = identity(folder, temporary)?;
    match sys::renameat_with(folder, temporary, folder, name, RenameFlags::NOREPLACE) {
        Ok(()) => return Ok(true),
        Err(_) if is_gone(folder, temporary) && identity(folder, name) == Ok(ours) => {
            return Ok(true);
        }
        Err(Errno::EXIST) => return Ok(false),
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
        Err(error) => return Err(error),
    }
    // File systems without that flag, such as NFS, have hard links, which never replace.
    match sys::linkat(folder, temporary, folder, name, AtFlags::empty()) {
        Err(error) if !is_same(folder, temporary, name) => match error {
            Errno::EXIST => Ok(false),
            error => Err(error),
        },
        _ => {
            remove(folder, temporary)?;
            Ok(true)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_link_whose_answer_got_lost_is_one() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = OwnedFd::from(File::open(scratch.path()).unwrap());
        let path = |name: &str| scratch.path().join(name);
        std::fs::write(path("name"), "ours").unwrap();
        std::fs::hard_link(path("name"), path("there")).unwrap();
        share(&folder, "name", &folder, "there").unwrap();
        std::fs::write(path("other"), "another's").unwrap();
        share(&folder, "name", &folder, "other").unwrap_err();
        assert_eq!(std::fs::read(path("other")).unwrap(), b"another's");
    }

    #[test]
    fn what_somebody_else_took_away_was_not_put_in_place() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = OwnedFd::from(File::open(scratch.path()).unwrap());
        std::fs::write(scratch.path().join("name"), "another's").unwrap();
        assert_eq!(replace(&folder, "gone", "name"), Err(Errno::NOENT));
        assert_eq!(create(&folder, "gone", "name"), Err(Errno::NOENT));
        std::fs::write(scratch.path().join("ours"), "ours").unwrap();
        assert_eq!(create(&folder, "ours", "name"), Ok(false));
        assert_eq!(replace(&folder, "ours", "name"), Ok(()));
        assert_eq!(std::fs::read(scratch.path().join("name")).unwrap(), b"ours");
    }

    #[test]
    fn a_file_is_replaced_whole_or_stays() {
        use std::os::unix::ffi::OsStrExt as _;
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let scratch = tempfile::tempdir().unwrap();
        let names = || std::fs::read_dir(scratch.path()).unwrap().count();
        let path = scratch.path().join(OsStr::from_bytes(b"n\xffme"));
        for content in ["first", "second"] {
            replace_whole(&path, 0o600, content.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
        }
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!((mode & 0o7777, names()), (0o600, 1));
        let link = scratch.path().join("link");
        symlink(&path, &link).unwrap();
        replace_whole(&link, 0o600, b"third").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"second");
        assert_eq!(std::fs::read(&link).unwrap(), b"third");
        assert!(!link.is_symlink());
        let folder = scratch.path().join("folder");
        std::fs::create_dir(&folder).unwrap();
        assert!(replace_whole(&folder, 0o600, b"x").is_err());
        assert!(replace_whole(&link.join("x"), 0o600, b"x").is_err());
        assert!(replace_whole(Path::new("/"), 0o600, b"x").is_err());
        assert_eq!(names(), 3, "nothing else is left");
    }
}
