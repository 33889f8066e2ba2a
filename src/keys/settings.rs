//! Small files of settings in the keys folder: read strictly, and replaced whole under a lock, so that two
//! writers at once lose nothing. Owns who may have written such a file; must not know what one says.

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::io::Errno;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::KeyError;
use super::create::make_folder;
use super::folder::is_foreign;
use crate::shown::shown;
use crate::storage::{remedy, replace_whole};

/// The most bytes that are read of a file of settings.
const MAX_BYTES: u64 = 1024 * 1024;

/// The file whose lock a writer holds. It stays, as taking it away would let two writers hold two locks.
const LOCK_FILE: &str = ".sigindex-keys.lock";

/// How long a writer waits for another one, which needs a moment.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long it waits before it looks again.
const TICK: Duration = Duration::from_millis(20);

/// The form of the files that this version reads and writes.
pub(super) const VERSION: u32 = 1;

/// Refuses a form that a later version may have written.
pub(super) fn check_version(version: u32) -> Result<(), String> {
    match version {
        VERSION => Ok(()),
        other => Err(format!(
            "it is of version {other}, and this sigindex reads version {VERSION}"
        )),
    }
}

/// What one file says. Its type reads only what is right.
pub(super) trait Settings:
    Serialize + DeserializeOwned + Default + Clone + PartialEq
{
    /// The file's name: with a dot in front, so that no key can have it.
    const FILE: &'static str;
}

/// Why a file of settings in the keys folder can't be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The system refused something.
    #[error("cannot {operation} {}: {source}{}", shown(path), remedy(source))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was being done.
        operation: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A link, a folder or a device stands in its place.
    #[error(
        "{} is not a regular file of its own (it may be a link); move it away",
        shown(path)
    )]
    NotAFile {
        /// What stands there.
        path: PathBuf,
    },
    /// It belongs to somebody else.
    #[error(
        "{} belongs to user {owner}, who could decide with it what is trusted; move it away, or run as its owner",
        shown(path)
    )]
    Owner {
        /// The file or folder.
        path: PathBuf,
        /// The user ID of its owner.
        owner: u32,
    },
    /// Others can write it.
    #[error("{path} can be written by others (mode {mode:04o}), who could decide with it what is trusted: look at what it says, then `chmod go-w {path}`", path = shown(path))]
    OpenToOthers {
        /// The file or folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Another process holds the lock.
    #[error(
        "{} is locked by another process, which should take a moment and has taken 10 seconds; end it (`fuser` tells which it is), and try again",
        shown(path)
    )]
    Locked {
        /// The lock's file.
        path: PathBuf,
    },
    /// It has more bytes than such a file may have.
    #[error(
        "{} has more than 1 MiB, so sigindex did not write it; move it away",
        shown(path)
    )]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// It does not say what such a file says.
    #[error(
        "{} can't be understood: {why}; restore it from a backup, or move it away and say again what it said",
        shown(path)
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl SettingsError {
    /// Whether the system lets this user write nothing there.
    pub fn is_denied(&self) -> bool {
        use ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
        let denied =
            |error: &io::Error| matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem);
        matches!(self, SettingsError::Io { source, .. } if denied(source))
    }

    /// Whether it is the place that is unfit for settings: others may write there, or it has no room or no locks.
    pub fn is_of_place(&self) -> bool {
        matches!(
            self,
            SettingsError::Owner { .. }
                | SettingsError::OpenToOthers { .. }
                | SettingsError::Io { .. }
        )
    }
}

/// What a file says; one that is not there says nothing.
pub(super) fn read<T: Settings>(folder: &Path) -> Result<T, SettingsError> {
    let path = folder.join(T::FILE);
    let Some((file, metadata)) = open(&path)? else {
        return Ok(T::default());
    };
    check_writers(&path, &metadata, 0)?;
    check_folder(folder)?;
    let mut bytes = Vec::new();
    let read = file.take(MAX_BYTES + 1).read_to_end(&mut bytes);
    let read = read.map_err(failed(&path, "read"))?;
    if read as u64 > MAX_BYTES {
        return Err(SettingsError::TooLong { path });
    }
    serde_json::from_slice(&bytes).map_err(|error| SettingsError::Malformed {
        path,
        why: error.to_string(),
    })
}

/// Changes what a file says, alone; makes the folder (0700) and the file (0600) where they are missing, and
/// writes nothing where nothing changes.
pub(super) fn change<T: Settings>(
    folder: &Path,
    change: impl FnOnce(&mut T) -> Result<(), KeyError>,
) -> Result<(), KeyError> {
    make_folder(folder)?;
    check_folder(folder)?;
    let _lock = lock(folder, PATIENCE)?;
    let was: T = read(folder)?;
    let mut now = was.clone();
    change(&mut now)?;
    if now == was {
        return Ok(());
    }
    replace(folder, &now)
}

fn failed(path: &Path, operation: &'static str) -> impl FnOnce(io::Error) -> SettingsError {
    let path = path.to_owned();
    move |source| SettingsError::Io {
        path,
        operation,
        source,
    }
}

/// Opens a file and looks at what was opened; links are not followed, as what is written would not go there.
fn open(path: &Path) -> Result<Option<(File, Metadata)>, SettingsError> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path);
    let not_a_file = || SettingsError::NotAFile {
        path: path.to_owned(),
    };
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) if Errno::from_io_error(&error) == Some(Errno::LOOP) => {
            return Err(not_a_file());
        }
        Err(error) => return Err(failed(path, "open")(error)),
    };
    let metadata = file.metadata().map_err(failed(path, "look at"))?;
    match metadata.is_file() {
        true => Ok(Some((file, metadata))),
        false => Err(not_a_file()),
    }
}

/// Who may write into the folder may put another file there; in one with the sticky bit, only their own.
fn check_folder(folder: &Path) -> Result<(), SettingsError> {
    const STICKY: u32 = 0o1000;
    let metadata = fs::metadata(folder).map_err(failed(folder, "look at"))?;
    check_writers(folder, &metadata, STICKY)
}

/// Refuses what belongs to somebody else than this user and root, or can be written by others; `but` is the mode
/// bit that makes the latter harmless.
fn check_writers(path: &Path, metadata: &Metadata, but: u32) -> Result<(), SettingsError> {
    let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
    let path = path.to_owned();
    if is_foreign(owner, rustix::process::geteuid().as_raw()) {
        Err(SettingsError::Owner { path, owner })
    } else if mode & 0o022 != 0 && mode & but == 0 {
        Err(SettingsError::OpenToOthers { path, mode })
    } else {
        Ok(())
    }
}

/// Waits for the lock of a folder, which is held for a moment; the kernel lets it go with the file.
fn lock(folder: &Path, patience: Duration) -> Result<File, SettingsError> {
    let path = folder.join(LOCK_FILE);
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(flags.bits().cast_signed())
        .open(&path);
    let file = opened.map_err(failed(&path, "open"))?;
    let began = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(cause)) => return Err(failed(&path, "lock")(cause)),
            Err(TryLockError::WouldBlock) if began.elapsed() > patience => {
                return Err(SettingsError::Locked { path });
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(TICK),
        }
    }
}

/// Puts a file in place, whole. The caller holds the lock.
fn replace<T: Settings>(folder: &Path, settings: &T) -> Result<(), KeyError> {
    let path = folder.join(T::FILE);
    let mut text = serde_json::to_string_pretty(settings)
        .map_err(|error| failed(&path, "print")(error.into()))?;
    text.push('\n');
    let written = replace_whole(&path, 0o600, text.as_bytes());
    Ok(written.map_err(failed(&path, "write"))?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use serde::Deserialize;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Numbers {
        numbers: Vec<u32>,
    }

    impl Settings for Numbers {
        const FILE: &'static str = ".numbers.json";
    }

    fn add(folder: &Path, number: u32) -> Result<(), KeyError> {
        change(folder, |it: &mut Numbers| {
            it.numbers.push(number);
            Ok(())
        })
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_file_is_made_with_its_folder_and_only_when_something_changes() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("a/keys");
        assert_eq!(read::<Numbers>(&folder).unwrap(), Numbers::default());
        change(&folder, |_: &mut Numbers| Ok(())).unwrap();
        assert!(!folder.join(Numbers::FILE).exists());
        add(&folder, 7).unwrap();
        assert_eq!(mode(&folder), 0o700);
        assert_eq!(mode(&folder.join(Numbers::FILE)), 0o600);
        let inode = fs::metadata(folder.join(Numbers::FILE)).unwrap().ino();
        change(&folder, |_: &mut Numbers| Ok(())).unwrap();
        assert_eq!(
            fs::metadata(folder.join(Numbers::FILE)).unwrap().ino(),
            inode
        );
        let refused = change(&folder, |it: &mut Numbers| {
            it.numbers.clear();
            Err(KeyError::EmptyPassphrase)
        });
        assert!(refused.is_err());
        assert_eq!(read::<Numbers>(&folder).unwrap().numbers, [7]);
        // Somebody was killed while they wrote.
        let left = File::create(folder.join(".sigindex-0-1-0.tmp")).unwrap();
        left.set_modified(std::time::UNIX_EPOCH).unwrap();
        add(&folder, 8).unwrap();
        assert_eq!(read::<Numbers>(&folder).unwrap().numbers, [7, 8]);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
    }

    #[test]
    fn many_writers_lose_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("keys");
        let barrier = std::sync::Barrier::new(8);
        std::thread::scope(|scope| {
            for first in 0..8 {
                let (folder, barrier) = (&folder, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    (0..5).for_each(|step| add(folder, first * 5 + step).unwrap());
                });
            }
        });
        let mut numbers = read::<Numbers>(&folder).unwrap().numbers;
        numbers.sort_unstable();
        assert_eq!(numbers, (0..40).collect::<Vec<_>>());
    }

    #[test]
    fn what_others_can_write_decides_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("keys");
        add(&folder, 7).unwrap();
        let file = folder.join(Numbers::FILE);
        for (path, wrong) in [(&file, 0o620), (&file, 0o602), (&folder, 0o770)] {
            let right = mode(path);
            set_mode(path, wrong);
            let error = read::<Numbers>(&folder).unwrap_err();
            assert!(
                matches!(error, SettingsError::OpenToOthers { mode, .. } if mode == wrong),
                "{error}"
            );
            assert!(add(&folder, 8).is_err());
            set_mode(path, right);
        }
        set_mode(&folder, 0o1777);
        assert_eq!(read::<Numbers>(&folder).unwrap().numbers, [7]);
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&file, Some(65_534), None).unwrap();
            let error = read::<Numbers>(&folder).unwrap_err();
            assert!(matches!(error, SettingsError::Owner { owner: 65_534, .. }));
        }
    }

    #[test]
    fn what_is_no_file_of_ours_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path();
        let file = folder.join(Numbers::FILE);
        fs::write(folder.join("elsewhere"), r#"{"numbers":[]}"#).unwrap();
        symlink("elsewhere", &file).unwrap();
        let error = read::<Numbers>(folder).unwrap_err();
        assert!(matches!(error, SettingsError::NotAFile { .. }), "{error}");
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        let error = read::<Numbers>(folder).unwrap_err();
        assert!(matches!(error, SettingsError::NotAFile { .. }), "{error}");
        fs::remove_dir(&file).unwrap();
        for (text, fits) in [
            ("{", false),
            ("", false),
            (r#"{"numbers":[],"more":1}"#, false),
            (r#"{"numbers":[],"numbers":[]}"#, false),
            (r#"{"numbers":[]} x"#, false),
            (r#"{"numbers":[]}"#, true),
        ] {
            fs::write(&file, text).unwrap();
            assert_eq!(read::<Numbers>(folder).is_ok(), fits, "{text}");
        }
        let text = r#"{"numbers":[7]}"#;
        let of_length = |bytes: usize| format!("{}{text}", " ".repeat(bytes - text.len()));
        fs::write(&file, of_length(1024 * 1024)).unwrap();
        assert_eq!(read::<Numbers>(folder).unwrap().numbers, [7]);
        fs::write(&file, of_length(1024 * 1024 + 1)).unwrap();
        let error = read::<Numbers>(folder).unwrap_err();
        assert!(matches!(error, SettingsError::TooLong { .. }), "{error}");
        symlink("nowhere", folder.join("link")).unwrap();
        let error = read::<Numbers>(&folder.join("elsewhere")).unwrap_err();
        assert!(matches!(error, SettingsError::Io { .. }), "{error}");
        fs::remove_file(&file).unwrap();
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &file, fifo, 0o600.into(), 0).unwrap();
        let error = read::<Numbers>(folder).unwrap_err();
        assert!(matches!(error, SettingsError::NotAFile { .. }), "{error}");
    }

    #[test]
    fn what_a_writer_needs_is_its_own() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path();
        let lock = folder.join(LOCK_FILE);
        fs::write(folder.join("elsewhere"), "").unwrap();
        symlink("elsewhere", &lock).unwrap();
        assert!(add(folder, 7).is_err(), "the lock of another file");
        assert!(!folder.join(Numbers::FILE).exists());
    }

    #[test]
    fn a_lock_is_not_waited_for_without_end() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path();
        let held = lock(folder, PATIENCE).unwrap();
        let error = lock(folder, TICK).unwrap_err();
        assert!(matches!(error, SettingsError::Locked { .. }), "{error}");
        drop(held);
        lock(folder, TICK).unwrap();
    }

    #[test]
    fn what_a_place_is_to_blame_for_is_told_from_what_stands_there() {
        let path = || PathBuf::from("keys");
        let io = |kind: ErrorKind| failed(&path(), "open")(kind.into());
        let cases = [
            (io(ErrorKind::PermissionDenied), true, true),
            (io(ErrorKind::ReadOnlyFilesystem), true, true),
            (io(ErrorKind::StorageFull), false, true),
            (
                SettingsError::Owner {
                    path: path(),
                    owner: 1,
                },
                false,
                true,
            ),
            (
                SettingsError::OpenToOthers {
                    path: path(),
                    mode: 0o666,
                },
                false,
                true,
            ),
            (SettingsError::NotAFile { path: path() }, false, false),
            (SettingsError::TooLong { path: path() }, false, false),
        ];
        for (error, denied, of_place) in cases {
            assert_eq!(
                (error.is_denied(), error.is_of_place()),
                (denied, of_place),
                "{error}"
            );
        }
    }
}
