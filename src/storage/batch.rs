//! A batch of changes to a folder of this machine: everything is written beside its place and synced,
//! then put in place in order; a failure in the middle is undone. Every step goes through an open folder,
//! so that a link that is planted meanwhile leads nowhere. Must not know what the files mean.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use rustix::fs::{self as sys, AtFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, getpid, test_kill_process};

use super::local::io_error;
use super::moves;
use super::{Change, LocalStorage, Stat, StorageError};

/// From this many files on, one `syncfs` costs less than a sync of each.
const SYNC_TOGETHER: usize = 16;

/// Changes, staged and then placed.
pub(super) struct Batch<'a> {
    storage: &'a LocalStorage,
    folders: BTreeMap<String, OwnedFd>,
    steps: Vec<Step>,
    /// Whether each file is synced as it is written.
    sync_each: bool,
    /// Folders with changes that a loss of power would undo.
    unsynced: BTreeSet<String>,
}

/// One change on its way.
struct Step {
    folder: String,
    name: String,
    action: Action,
    state: State,
    before: Before,
}

/// What stood in a place before it was written over or emptied.
enum Before {
    /// It is not known, so there is no way back.
    Unknown,
    /// Nothing.
    Nothing,
    /// A file, which is kept under this name until all is done.
    Kept(String),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    Write,
    Create,
    Link,
    Remove,
    Settle,
}

/// What is staged beside a file's place.
enum Staging<'c> {
    /// A new file.
    New(&'c [u8]),
    /// One that shares the content of another, by its path.
    Shared(&'c str),
    /// Nothing.
    Nothing,
}

enum State {
    /// The new content lies in this file beside the place.
    Staged(String),
    /// Nothing has to be staged, or nothing is left to do.
    Idle,
    /// Done, and to be undone when a later step fails.
    Placed,
}

impl<'a> Batch<'a> {
    /// Writes the contents beside their places and makes them survive a loss of power.
    pub(super) fn stage(
        storage: &'a LocalStorage,
        changes: &[Change],
    ) -> Result<Batch<'a>, StorageError> {
        // A folder keeps every order anyway.
        let changes = changes.iter().filter(|change| **change != Change::Group);
        let changes: Vec<&Change> = changes.collect();
        let sync_each = changes.len() < SYNC_TOGETHER;
        let (folders, steps) = (BTreeMap::new(), Vec::new());
        let mut batch = Batch {
            storage,
            folders,
            steps,
            sync_each,
            unsynced: BTreeSet::new(),
        };
        for change in changes {
            batch.stage_one(change)?;
        }
        if !sync_each {
            batch.sync_file_systems()?;
        }
        Ok(batch)
    }

    /// Subdirs can lie on file systems of their own; each is synced once.
    fn sync_file_systems(&self) -> Result<(), StorageError> {
        let mut synced = BTreeSet::new();
        for (path, folder) in &self.folders {
            let device = sys::fstat(folder).map(|found| found.st_dev);
            let device = device.map_err(|error| self.fail(path, "look at the folder", error))?;
            if synced.insert(device) {
                match sys::syncfs(folder) {
                    // No such call here: each file by itself.
                    Err(Errno::NOSYS | Errno::INVAL | Errno::NOTSUP) => self.sync_staged()?,
                    done => {
                        done.map_err(|error| self.fail(path, "sync the file system of", error))?
                    }
                }
            }
        }
        Ok(())
    }

    fn sync_staged(&self) -> Result<(), StorageError> {
        self.steps.iter().try_for_each(|step| {
            let State::Staged(temporary) = &step.state else {
                return Ok(());
            };
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let synced = self.handle(step).and_then(|folder| {
                let file = sys::openat(folder, temporary, flags, Mode::empty())?;
                Ok(sys::fsync(file)?)
            });
            synced.map_err(|error| self.fail(&step.path(), "sync", error))
        })
    }

    fn stage_one(&mut self, change: &Change) -> Result<(), StorageError> {
        let (folder, name) = split(change.path());
        let (folder, name) = (folder.to_owned(), name.to_owned());
        let (action, staging) = match change {
            Change::Write { content, .. } | Change::Replace { content, .. } => {
                (Action::Write, Staging::New(content))
            }
            Change::Create { content, .. } => (Action::Create, Staging::New(content)),
            Change::Link { from, .. } => (Action::Link, Staging::Shared(from)),
            Change::Remove { .. } | Change::Retire { .. } => (Action::Remove, Staging::Nothing),
            Change::Settle | Change::Group => (Action::Settle, Staging::Nothing),
        };
        match (action, self.open_folder(&folder, action)) {
            (Action::Remove, Err(error)) if error.is_absent() => return Ok(()),
            (_, opened) => opened?,
        }
        let mut step = Step {
            folder,
            name,
            action,
            state: State::Idle,
            before: Before::Unknown,
        };
        let temporary = own_temporary();
        let staged = match staging {
            Staging::Nothing => {
                self.steps.push(step);
                return Ok(());
            }
            Staging::New(content) => self.write(&step, &temporary, content),
            Staging::Shared(from) => self.share(&step, &temporary, from)?,
        };
        step.state = State::Staged(temporary);
        self.steps.push(step);
        staged.map_err(|error| self.fail(change.path(), "write", error))
    }

    /// Opens the folder in which something is done; what puts a file there makes it where it is missing.
    fn open_folder(&mut self, folder: &str, to: Action) -> Result<(), StorageError> {
        let make = matches!(to, Action::Write | Action::Create | Action::Link);
        if to != Action::Settle && !self.folders.contains_key(folder) {
            let handle = self.storage.folder(folder, make)?;
            self.folders.insert(folder.to_owned(), handle);
        }
        Ok(())
    }

    /// Stages a file that shares the content of another: of the last step for its place, or of what stands there.
    fn share(
        &mut self,
        step: &Step,
        temporary: &str,
        from: &str,
    ) -> Result<io::Result<()>, StorageError> {
        let (folder, name) = split(from);
        self.open_folder(folder, Action::Remove)?;
        let staged = self.steps.iter().rev().find_map(|earlier| {
            let same = earlier.folder == folder && earlier.name == name;
            match &earlier.state {
                State::Staged(staged) if same => Some(staged.as_str()),
                _ => None,
            }
        });
        let both = self.folders.get(folder).zip(self.folders.get(&step.folder));
        let (from, to) = both.ok_or_else(|| self.fail(from, "find", io::ErrorKind::NotFound))?;
        Ok(moves::share(from, staged.unwrap_or(name), to, temporary))
    }

    fn write(&self, step: &Step, temporary: &str, content: &[u8]) -> io::Result<()> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o666);
        let mut file = File::from(sys::openat(self.handle(step)?, temporary, flags, mode)?);
        file.write_all(content)?;
        if self.sync_each {
            file.sync_all()
        } else {
            Ok(())
        }
    }

    /// Puts everything in place in order, and makes that survive a loss of power. Where it fails, what
    /// was replaced or removed is put back; what was created stays.
    pub(super) fn place(mut self) -> Result<(), StorageError> {
        let placed = (0..self.steps.len()).try_for_each(|at| self.place_one(at));
        let synced = placed.and_then(|()| self.sync_folders());
        if synced.is_err() {
            self.undo();
            // What was synced on the way is undone with the rest.
            self.unsynced = self.folders.keys().cloned().collect();
            let _ = self.sync_folders();
        }
        synced
    }

    fn place_one(&mut self, at: usize) -> Result<(), StorageError> {
        let Some(step) = self.steps.get(at) else {
            return Ok(());
        };
        if step.action == Action::Settle {
            return self.sync_folders();
        }
        let (path, folder) = (step.path(), step.folder.clone());
        let mut before = Before::Unknown;
        let placed = self.try_place(step, &mut before);
        self.unsynced.insert(folder);
        if let Some(step) = self.steps.get_mut(at) {
            step.before = before;
            if matches!(placed, Ok(true)) {
                step.state = State::Placed;
            }
        }
        let failed = |error| self.fail(&path, "put in place or remove", error);
        placed.map(drop).map_err(failed)
    }

    /// False where something stands that may not be replaced. `before` is told even where it fails.
    fn try_place(&self, step: &Step, before: &mut Before) -> io::Result<bool> {
        let folder = self.handle(step)?;
        if step.action != Action::Create {
            let kept = own_temporary();
            *before = match moves::keep(folder, &step.name, &kept) {
                Ok(true) => Before::Kept(kept),
                Ok(false) => Before::Nothing,
                Err(_) => Before::Unknown,
            };
        }
        match (&step.state, step.action) {
            (State::Staged(temporary), Action::Create) => {
                return Ok(moves::create(folder, temporary, &step.name)?);
            }
            (State::Staged(temporary), Action::Link) => {
                moves::replace(folder, temporary, &step.name)?;
                // Where both are the same file already, a rename does nothing at all.
                let _ = sys::unlinkat(folder, temporary, AtFlags::empty());
            }
            (State::Staged(temporary), _) => moves::replace(folder, temporary, &step.name)?,
            _ => moves::remove(folder, &step.name)?,
        }
        Ok(true)
    }

    /// Makes what was put in place or removed survive a loss of power.
    fn sync_folders(&mut self) -> Result<(), StorageError> {
        for (path, folder) in &self.folders {
            if self.unsynced.contains(path) {
                let synced = moves::sync_folder(folder);
                synced.map_err(|error| self.fail(path, "sync the folder", error))?;
            }
        }
        self.unsynced.clear();
        Ok(())
    }

    /// Puts back what was replaced or removed, the last first. A failure is under way already: what
    /// can't be undone is left to the next run.
    fn undo(&self) {
        for step in self
            .steps
            .iter()
            .rev()
            .filter(|step| matches!(step.state, State::Placed))
        {
            let Ok(folder) = self.handle(step) else {
                continue;
            };
            let _ = match (&step.before, step.action) {
                (Before::Kept(kept), _) => sys::renameat(folder, kept, folder, &step.name),
                (Before::Nothing, Action::Write | Action::Link) => {
                    sys::unlinkat(folder, &step.name, AtFlags::empty())
                }
                _ => Ok(()),
            };
        }
    }

    /// Takes away temporary files; the next run does it where this one can't.
    fn clean_up(&self) {
        for step in &self.steps {
            let Ok(folder) = self.handle(step) else {
                continue;
            };
            if let State::Staged(temporary) = &step.state {
                let _ = sys::unlinkat(folder, temporary, AtFlags::empty());
            }
            if let Before::Kept(kept) = &step.before {
                let _ = sys::unlinkat(folder, kept, AtFlags::empty());
            }
        }
    }

    fn handle(&self, step: &Step) -> io::Result<&OwnedFd> {
        self.folders
            .get(&step.folder)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn fail(
        &self,
        path: &str,
        operation: &'static str,
        error: impl Into<io::Error>,
    ) -> StorageError {
        io_error(self.storage.shown(path), operation, error.into())
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        self.clean_up();
    }
}

impl Step {
    fn path(&self) -> String {
        match self.folder.as_str() {
            "" => self.name.clone(),
            folder => format!("{folder}/{}", self.name),
        }
    }
}

/// A path's folder and its name there.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// A name that no package has, unlike any that another process of this machine uses now.
pub(super) fn own_temporary() -> String {
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

/// Whether a name is one that a batch gives its temporary files.
pub fn is_own_temporary(name: &str) -> bool {
    name.starts_with(".sigindex-") && name.ends_with(".tmp")
}

/// How long a temporary file without a lock over it is taken for one in use, in nanoseconds: an hour.
const IN_USE: i64 = 3_600_000_000_000;

/// Whether a temporary file is left over, as far as one can tell who holds no lock: in another container, or on another
/// machine, a process may live that has this one's number or none here.
pub fn is_abandoned(name: &str, stat: &Stat) -> bool {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = i64::try_from(since_1970.unwrap_or_default().as_nanos()).unwrap_or(i64::MAX);
    is_left_over(name) && now.saturating_sub(stat.mtime) > IN_USE
}

/// Whether a temporary file is left over from a run that was killed: no other process of its number lives.
pub fn is_left_over(name: &str) -> bool {
    let process = name
        .strip_prefix(".sigindex-")
        .and_then(|rest| rest.split('-').next());
    let process = process.and_then(|digits| Pid::from_raw(digits.parse().ok()?));
    let Some(process) = process else {
        return is_own_temporary(name);
    };
    let alive = !matches!(test_kill_process(process), Err(Errno::SRCH));
    is_own_temporary(name) && (process == getpid() || !alive)
}
