//! What is remembered of a channel between loads, in a folder: the newest metadata that was seen, so that nothing
//! older is taken, and for which pinned keys. A load works on a copy, which takes the folder's place file by file, each
//! in one step: a crash in between leaves whole files, and never forgets what refuses a rollback.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde_json::Value;
use tempfile::TempDir;

use super::first::is_signed;
use super::{MAX_TARGETS, Root, TufError};
use crate::keys::Fingerprint;
use crate::storage::{OwnPath, read_own, sync_folder};

/// The names that `tough` gives its files. The root goes first: who knows a newer root must not miss it.
const FILES: [&str; 4] = [
    "root.json",
    "timestamp.json",
    "snapshot.json",
    "targets.json",
];

/// When the channel was last read, by `tough`'s name.
const TIME: &str = "latest_known_time.json";

/// What the names of copies begin with.
const COPY: &str = ".load-";

/// The pinned keys for which the root was taken.
const PINS: &str = "pins";

/// A folder of memory, held against other loads, and the copy that a load works on.
pub struct Memory {
    folder: PathBuf,
    copy: TempDir,
    // Held until the end.
    _lock: File,
}

impl Memory {
    /// Opens a folder, which is made where it is missing, and waits for another load to end.
    ///
    /// # Errors
    /// [`TufError::Memory`] where something in it is damaged or can't be read.
    pub fn open(folder: &Path) -> Result<Memory, TufError> {
        let fail = |cause: io::Error| TufError::memory(folder, &cause);
        let mut private = DirBuilder::new();
        let made = private.recursive(true).mode(0o700).create(folder);
        made.map_err(fail)?;
        // Opened for reading, too: what is a FIFO by now is not waited for.
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let lock = options.open(folder.join("lock")).map_err(fail)?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|cause| fail(cause.into()))?;
        remove_copies(folder).map_err(fail)?;
        let copy = tempfile::Builder::new()
            .prefix(COPY)
            .tempdir_in(folder)
            .map_err(fail)?;
        for name in FILES.iter().chain([&TIME]) {
            let path = folder.join(name);
            let Some(bytes) = read(&path)? else { continue };
            // `tough` takes a damaged file for a missing one, and would forget what it refuses.
            serde_json::from_slice::<Value>(&bytes).map_err(|_| TufError::Memory {
                path: path.clone(),
                why: "is damaged".to_owned(),
            })?;
            fs::write(copy.path().join(name), bytes).map_err(fail)?;
        }
        let folder = folder.to_owned();
        Ok(Memory {
            folder,
            copy,
            _lock: lock,
        })
    }

    /// Where it stands when the channel was last read.
    pub fn time(folder: &Path) -> PathBuf {
        folder.join(TIME)
    }

    /// Leaves out of the copy when the channel was last read: for a load that asks for no time.
    ///
    /// # Errors
    /// [`TufError::Memory`] where it can't be.
    pub fn forget_time(&self) -> Result<(), TufError> {
        let path = self.copy.path().join(TIME);
        remove(&path).map_err(|cause| TufError::memory(&path, &cause))
    }

    /// The folder for `tough`.
    pub fn copy(&self) -> &Path {
        self.copy.path()
    }

    /// The newest root that was seen, if one of the pinned keys stands behind it: all for which it was taken are pinned
    /// still, or one of them signed it.
    ///
    /// # Errors
    /// [`TufError::Memory`] where it is damaged.
    pub fn root(&self, pinned: Option<&[Fingerprint]>) -> Result<Option<Root>, TufError> {
        let path = self.folder.join(FILES[0]);
        let pins = read(&self.folder.join(PINS))?;
        let is_theirs = |pinned| pins.as_deref().is_some_and(|pins| are_among(pins, pinned));
        let is_theirs = pinned.is_none_or(is_theirs);
        let Some(bytes) = read(&path)? else {
            return Ok(None);
        };
        match Root::parse(bytes).ok().filter(Root::meets_itself) {
            Some(root) if is_theirs || pinned.is_some_and(|pinned| is_signed(&root, pinned)) => {
                Ok(Some(root))
            }
            None if is_theirs => Err(TufError::Memory {
                path,
                why: "is damaged".to_owned(),
            }),
            _ => Ok(None),
        }
    }

    /// Puts the root that a load begins with into the copy. `tough` would do so later, and not at all where a newer
    /// root does not follow: what is kept then would be a root that other pinned keys were trusted for.
    ///
    /// # Errors
    /// [`TufError::Memory`] where it can't be written.
    pub fn begin_with(&self, root: &Root) -> Result<(), TufError> {
        let path = self.copy.path().join(FILES[0]);
        fs::write(&path, root.bytes()).map_err(|cause| TufError::memory(&path, &cause))
    }

    /// Remembers what a load left in its copy, whether it came to a good end or not: what it left there was verified.
    /// When that was is remembered where nothing but a good end says so: a clock that was wrong for once would refuse
    /// everything from then on.
    ///
    /// # Errors
    /// [`TufError::Memory`] where that can't be written.
    pub fn keep(self, pinned: Option<&[Fingerprint]>, is_timed: bool) -> Result<(), TufError> {
        let fail = |cause: io::Error| TufError::memory(&self.folder, &cause);
        // Other pins without the root that they are for would vouch for the root that stands there.
        if self.is_torn(FILES[0]) {
            return Ok(());
        }
        for name in FILES.iter().chain(is_timed.then_some(&TIME)) {
            let (from, to) = (self.copy.path().join(name), self.folder.join(name));
            if self.is_torn(name) {
                continue;
            }
            match File::open(&from).and_then(|file| file.sync_all()) {
                Ok(()) => fs::rename(&from, &to).map_err(fail)?,
                Err(cause) if cause.kind() == ErrorKind::NotFound => remove(&to).map_err(fail)?,
                Err(cause) => return Err(fail(cause)),
            }
        }
        if let Some(pinned) = pinned {
            let path = self.copy.path().join(PINS);
            let written = File::create(&path)
                .and_then(|mut file| {
                    file.write_all(&pins_text(pinned))
                        .and_then(|()| file.sync_all())
                })
                .and_then(|()| fs::rename(&path, self.folder.join(PINS)));
            written.map_err(fail)?;
        }
        let folder = File::open(&self.folder).and_then(|folder| Ok(sync_folder(&folder)?));
        folder.map_err(fail)
    }

    /// Whether there is half a file in the copy, as where the disk was full.
    fn is_torn(&self, name: &str) -> bool {
        let found = read(&self.copy.path().join(name)).ok().flatten();
        found.is_some_and(|bytes| serde_json::from_slice::<Value>(&bytes).is_err())
    }
}

/// Removes the copies that loads left which were killed. Whoever holds the lock is alone.
fn remove_copies(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(COPY) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Whether all of these pins, of which there are some, are pinned.
fn are_among(pins: &[u8], pinned: &[Fingerprint]) -> bool {
    let pinned = pins_text(pinned);
    let mut lines = pins.split_inclusive(|byte| *byte == b'\n').peekable();
    lines.peek().is_some()
        && lines.all(|line| {
            pinned
                .split_inclusive(|byte| *byte == b'\n')
                .any(|it| it == line)
        })
}

fn pins_text(pinned: &[Fingerprint]) -> Vec<u8> {
    let mut lines: Vec<_> = pinned.iter().map(|print| format!("{print}\n")).collect();
    lines.sort_unstable();
    lines.dedup();
    lines.concat().into_bytes()
}

/// Reads what is remembered, of which targets are the largest.
fn read(path: &Path) -> Result<Option<Vec<u8>>, TufError> {
    let found = read_own(&OwnPath::Default(path.to_owned()), MAX_TARGETS)
        .map_err(|cause| TufError::memory(path, &cause.into()))?;
    Ok(found.map(|file| file.bytes))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != ErrorKind::NotFound => Err(cause),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_lock_that_is_a_fifo_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = rustix::fs::FileType::Fifo;
        let place = folder.path().join("lock");
        rustix::fs::mknodat(rustix::fs::CWD, place, fifo, 0o600.into(), 0).unwrap();
        for _ in 0..2 {
            drop(Memory::open(folder.path()).unwrap());
        }
    }

    #[test]
    fn half_a_file_takes_the_place_of_none() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("memory");
        let load = |targets: &str| {
            let memory = Memory::open(&folder).unwrap();
            fs::write(memory.copy().join("targets.json"), targets).unwrap();
            memory.keep(None, true).unwrap();
            fs::read_to_string(folder.join("targets.json"))
        };
        assert!(load("{\"a\":").is_err());
        assert_eq!(load("{\"a\":1}").unwrap(), "{\"a\":1}");
        assert_eq!(load("{\"b\":").unwrap(), "{\"a\":1}");
        assert_eq!(load("").unwrap(), "{\"a\":1}");
        assert_eq!(load("{\"b\":1}").unwrap(), "{\"b\":1}");
    }

    #[test]
    fn half_a_root_changes_nothing_that_is_remembered() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("memory");
        let keep = |root: &str, pin: &str| {
            let memory = Memory::open(&folder).unwrap();
            fs::write(memory.copy().join(FILES[0]), root).unwrap();
            memory
                .keep(Some(&[Fingerprint::parse(&pin.repeat(64)).unwrap()]), true)
                .unwrap();
            let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
            (read(FILES[0]), read(PINS))
        };
        let first = keep("{\"a\":1}", "1");
        assert_eq!(keep("{\"b\":", "2"), first);
        assert_ne!(keep("{\"b\":1}", "2"), first);
    }

    #[test]
    fn no_more_is_read_of_a_file_than_the_index_may_have() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("memory");
        drop(Memory::open(&folder).unwrap());
        for name in FILES.iter().chain([&TIME]) {
            let file = File::create(folder.join(name)).unwrap();
            file.set_len(1 << 40).unwrap();
            let why = Memory::open(&folder).map(drop).unwrap_err().to_string();
            assert!(
                why.contains(name) && why.contains("more than 16777216 bytes"),
                "{why}"
            );
            fs::remove_file(folder.join(name)).unwrap();
        }
        let file = File::create(folder.join(PINS)).unwrap();
        file.set_len(1 << 40).unwrap();
        let memory = Memory::open(&folder).unwrap();
        let why = memory.root(Some(&[])).map(drop).unwrap_err().to_string();
        assert!(why.contains(PINS), "{why}");
    }
}
