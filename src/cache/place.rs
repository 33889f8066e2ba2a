//! Where the cache lies. Owns the modes of its file and folder, and who may write them: whoever writes the
//! cache decides what is in the index. Must not know what is in it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{self as sys, CWD, RenameFlags};
use rustix::io::Errno;

use super::CacheError;
use crate::keys::is_foreign;
use crate::shown::shown;
use crate::storage::could_make_folder;

/// How many files that were put aside stay beside a cache.
const MOST_ASIDE: usize = 100;

/// How every file of SQLite begins (SQLite's file format, section 1.2).
const SQLITE: &[u8] = b"SQLite format 3\0";

/// Makes the folder and the file with their modes, in the calls that create them, and looks at those
/// that are there already.
pub(super) fn make_private(path: &Path) -> Result<(), CacheError> {
    let open_error = |path: &Path, operation| {
        let path = shown(path);
        move |cause: io::Error| CacheError::Open {
            path,
            operation,
            cause,
        }
    };
    let folder = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(open_error(folder, "make the cache's folder"))?;
    let found =
        std::fs::metadata(folder).map_err(open_error(folder, "look at the cache's folder"))?;
    trusted(folder, &found)?;
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    match made.and_then(|file| file.metadata()) {
        Ok(found) => trusted(path, &found),
        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {
            let found = std::fs::metadata(path).map_err(open_error(path, "look at the cache"))?;
            trusted(path, &found)
        }
        Err(cause) => Err(open_error(path, "make the cache")(cause)),
    }
}

/// Makes sure, before anything is made, that a cache can lie there: its folder can be made or is nobody else's, and so is
/// what lies there already.
///
/// # Errors
/// When it can't.
pub fn demand_place(path: &Path) -> Result<(), CacheError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    could_make_folder(folder).map_err(|cause| CacheError::Open {
        path: shown(folder),
        operation: "make the cache's folder",
        cause,
    })?;
    demand_file(path)?;
    // What is there and leads nowhere stands in the way; so does a journal that is no file.
    let leads_nowhere = path.symlink_metadata().is_ok() && !path.exists();
    let journal = beside(path, "-journal");
    let journal_stands = journal
        .symlink_metadata()
        .is_ok_and(|found| !found.is_file());
    if leads_nowhere || journal_stands {
        let what = if leads_nowhere { path } else { &journal };
        return Err(CacheError::Open {
            path: shown(what),
            operation: "open the cache",
            cause: io::Error::other("it is not a regular file"),
        });
    }
    for there in [folder, path] {
        if let Ok(found) = std::fs::metadata(there) {
            trusted(there, &found)?;
        }
    }
    Ok(())
}

/// Makes sure that what lies there, if anything does, is a regular file: to open a FIFO would wait for ever.
///
/// # Errors
/// When it is something else.
pub(super) fn demand_file(path: &Path) -> Result<(), CacheError> {
    match std::fs::metadata(path) {
        Ok(found) if !found.is_file() => Err(CacheError::Open {
            path: shown(path),
            operation: "open the cache",
            cause: io::Error::other("it is not a regular file"),
        }),
        // What can't be looked at says so itself when it is opened.
        _ => Ok(()),
    }
}

/// The owner is this user (or root), and nobody else may write. A sticky bit, as `/tmp` has, is not
/// enough: who may make files beside the cache can plant a journal, which SQLite would roll into it.
pub(super) fn trusted(path: &Path, found: &std::fs::Metadata) -> Result<(), CacheError> {
    let untrusted = |fault, remedy| {
        Err(CacheError::Untrusted {
            path: shown(path),
            fault,
            remedy,
        })
    };
    let user = rustix::process::geteuid().as_raw();
    if is_foreign(found.uid(), user) {
        return untrusted("belongs to another user", "name another place with --cache");
    }
    if found.mode() & 0o022 != 0 {
        return untrusted(
            "can be written by others",
            "take that away with chmod go-w, or name a folder of your own with --cache",
        );
    }
    Ok(())
}

/// Puts a useless cache aside, as `….broken`, `….broken-2` and so on: what was named with `--cache` may be no cache at
/// all, and so nothing that was put aside is overwritten, but by a file of SQLite another of them. Where it lies now.
pub(super) fn put_aside(path: &Path) -> Result<PathBuf, CacheError> {
    let fail = |cause| CacheError::Open {
        path: shown(path),
        operation: "put the broken cache aside",
        cause,
    };
    let aside = move_aside(path).map_err(fail)?;
    let journal = beside(path, "-journal");
    match std::fs::remove_file(&journal) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(fail(cause)),
        _ => {}
    }
    let made: io::Result<File> = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    made.map(|_| aside).map_err(fail)
}

/// Gives a file the first name that is free, or that an older cache has.
fn move_aside(path: &Path) -> io::Result<PathBuf> {
    let was_cache = is_sqlite(path);
    for number in 1..=MOST_ASIDE {
        let aside = match number {
            1 => beside(path, ".broken"),
            number => beside(path, &format!(".broken-{number}")),
        };
        if rename(path, &aside)? {
            return Ok(aside);
        }
        if was_cache && is_sqlite(&aside) {
            std::fs::rename(path, &aside)?;
            return Ok(aside);
        }
    }
    Err(io::Error::other(format!(
        "{MOST_ASIDE} files that were put aside lie there; look at them, and remove them"
    )))
}

/// Whether a file is one of SQLite; false where that can't be told.
fn is_sqlite(path: &Path) -> bool {
    let mut head = [0; SQLITE.len()];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut head));
    read.is_ok() && head == SQLITE
}

/// Renames a file where nothing has the other name; false where something does.
fn rename(path: &Path, to: &Path) -> io::Result<bool> {
    match sys::renameat_with(CWD, path, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        // File systems without that flag: only runs that share this cache put something there.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => rename_by_looks(path, to),
        Err(error) => Err(error.into()),
    }
}

/// The same, where a moment lies between the look and the renaming.
fn rename_by_looks(path: &Path, to: &Path) -> io::Result<bool> {
    match std::fs::symlink_metadata(to) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
            std::fs::rename(path, to).map(|()| true)
        }
        found => found.map(|_| false),
    }
}

/// The path of a file whose name goes on.
fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, chown};

    #[test]
    fn who_may_write_the_cache_is_looked_at_before_it_is_used() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("cache.db");
        make_private(&path).unwrap();
        for (mode, good) in [(0o600, true), (0o644, true), (0o620, false), (0o602, false)] {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&path, mode.clone()).unwrap();
            assert_eq!(make_private(&path).is_ok(), good, "{mode:?}");
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        // Only root can give a file away.
        if chown(&path, Some(54_321), None).is_ok() {
            let error = make_private(&path).unwrap_err();
            assert!(error.to_string().contains("another user"), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_made_is_not_taken_for_made() {
        let scratch = tempfile::tempdir().unwrap();
        let error = make_private(&scratch.path().join("x".repeat(300))).unwrap_err();
        assert!(error.to_string().contains("make the cache:"), "{error}");
    }

    #[test]
    fn a_cache_is_put_aside_with_its_journal_or_not_at_all() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("cache.db");
        let journal = scratch.path().join("cache.db-journal");
        assert!(put_aside(&path).is_err(), "there is none");
        std::fs::write(&path, "old").unwrap();
        put_aside(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"");
        let aside = scratch.path().join("cache.db.broken");
        assert_eq!(std::fs::read(aside).unwrap(), b"old");
        std::fs::write(&journal, "stale").unwrap();
        put_aside(&path).unwrap();
        assert!(!journal.exists());
        std::fs::create_dir(&journal).unwrap();
        assert!(put_aside(&path).is_err(), "its journal can't go");
    }

    #[test]
    fn what_was_put_aside_is_never_overwritten() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("cache.db");
        for number in 1..=MOST_ASIDE {
            std::fs::write(&path, format!("{number}: no file of SQLite")).unwrap();
            put_aside(&path).unwrap();
        }
        std::fs::write(&path, "one more").unwrap();
        let error = put_aside(&path).unwrap_err().to_string();
        assert!(error.contains("remove them"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"one more");
        for (name, text) in [("broken", "1"), ("broken-2", "2"), ("broken-100", "100")] {
            let aside = scratch.path().join(format!("cache.db.{name}"));
            let text = format!("{text}: no file of SQLite");
            assert_eq!(std::fs::read_to_string(aside).unwrap(), text);
        }
    }

    #[test]
    fn of_caches_that_were_put_aside_the_last_stays() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("cache.db");
        std::fs::write(&path, "no cache").unwrap();
        put_aside(&path).unwrap();
        let aside = scratch.path().join("cache.db.broken-2");
        for number in 0..2 * MOST_ASIDE {
            let cache = [SQLITE, number.to_string().as_bytes()].concat();
            std::fs::write(&path, &cache).unwrap();
            assert_eq!(put_aside(&path).unwrap(), aside);
            assert_eq!(std::fs::read(&aside).unwrap(), cache);
        }
        let first = scratch.path().join("cache.db.broken");
        assert_eq!(std::fs::read(first).unwrap(), b"no cache");
    }

    #[test]
    fn a_name_that_is_taken_is_left_where_the_system_does_not_look() {
        let scratch = tempfile::tempdir().unwrap();
        let [from, to] = ["a", "b"].map(|name| scratch.path().join(name));
        std::fs::write(&from, "a").unwrap();
        std::os::unix::fs::symlink("nowhere", &to).unwrap();
        assert!(!rename_by_looks(&from, &to).unwrap());
        std::fs::remove_file(&to).unwrap();
        assert!(rename_by_looks(&from, &to).unwrap());
        assert_eq!(std::fs::read(&to).unwrap(), b"a");
        let too_long = scratch.path().join("x".repeat(300));
        assert!(rename_by_looks(&to, &too_long).is_err());
    }

    #[test]
    fn where_a_cache_can_lie_is_known_before_it_is_made() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("new/cache.db");
        demand_place(&path).unwrap();
        assert!(!path.exists());
        make_private(&path).unwrap();
        demand_place(&path).unwrap();
        let refused = |why: &str| {
            let error = demand_place(&path).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        };
        let journal = beside(&path, "-journal");
        std::fs::write(&journal, "").unwrap();
        demand_place(&path).unwrap();
        std::fs::remove_file(&journal).unwrap();
        std::fs::create_dir(&journal).unwrap();
        refused("cache.db-journal: can't open the cache: it is not a regular file");
        std::fs::remove_dir(&journal).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        refused("written by others");
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("nowhere", &path).unwrap();
        refused("cache.db: can't open the cache: it is not a regular file");
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        refused("cache.db: can't open the cache: it is not a regular file");
        std::fs::remove_dir(&path).unwrap();
        std::fs::remove_dir(scratch.path().join("new")).unwrap();
        std::fs::write(scratch.path().join("new"), "").unwrap();
        refused("make the cache's folder");
    }
}
