//! A channel that was named on the command line: a folder, or a place in object storage. Owns telling these apart,
//! opening them, and waiting for their locks; knows nothing of what is done there.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::out;
use super::own_files::resolved;
use crate::cache::{is_meant_as_shared, is_shared};
use crate::error::Error;
use crate::shown::shown;
#[cfg(feature = "object-storage")]
use crate::storage::{Lease, ObjectOptions, ObjectStorage};
use crate::storage::{LocalStorage, Lock, LockFor, LockMode, Storage, StorageError, is_object_url};
use crate::upstream::{is_meant_as_url, without_secrets};

/// A place, opened.
pub enum Place {
    /// A folder of this machine.
    Folder(Arc<LocalStorage>),
    /// A bucket, or a part of one.
    #[cfg(feature = "object-storage")]
    Objects(Arc<ObjectStorage>),
}

/// Whether writes to object storage rest on their conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writes {
    /// Each replaces only what this run saw.
    Conditional,
    /// The operator makes sure that nobody else writes.
    Unconditional,
}

/// The lock of a place, held until this is dropped.
pub enum Held {
    /// By the kernel.
    Folder { _lock: Lock },
    /// By an object that is renewed.
    #[cfg(feature = "object-storage")]
    Objects { _lease: Lease },
    /// By nobody: those who get on with each other need none there.
    #[cfg(feature = "object-storage")]
    Free,
}

/// How a lock is taken, and what to do where somebody else holds it.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Who else may hold it meanwhile.
    pub purpose: LockFor,
    /// Wait, and do not fail.
    pub wait: bool,
    /// Say nothing of it.
    pub quiet: bool,
}

impl Place {
    /// Lets requests to object storage that change nothing be given up when this is set; a file system is not waited for.
    pub fn heed(&self, stop: Option<&Arc<AtomicBool>>) {
        match self {
            Place::Folder(_) => {
                let _ = stop;
            }
            #[cfg(feature = "object-storage")]
            Place::Objects(storage) => storage.heed(stop.cloned()),
        }
    }

    /// What is there.
    ///
    /// # Errors
    /// When there is no such folder, or the object storage can't be reached.
    pub fn open(name: &Path, writes: Writes) -> Result<Place, Error> {
        match url(name) {
            Some(url) => objects(url, writes),
            None => Ok(Place::Folder(Arc::new(LocalStorage::open(folder(name)?)?))),
        }
    }

    /// What is there, or a new folder.
    ///
    /// # Errors
    /// As [`Place::open`], and when the folder can't be made.
    pub fn create(name: &Path, writes: Writes) -> Result<Place, Error> {
        match url(name) {
            Some(url) => objects(url, writes),
            None => Ok(Place::Folder(Arc::new(LocalStorage::create(folder(
                name,
            )?)?))),
        }
    }

    /// Its files.
    pub fn storage(&self) -> &dyn Storage {
        match self {
            Place::Folder(storage) => storage.as_ref(),
            #[cfg(feature = "object-storage")]
            Place::Objects(storage) => storage.as_ref(),
        }
    }

    /// Its files, to be held on to.
    #[cfg(feature = "tuf")]
    pub fn shared(&self) -> Arc<dyn Storage> {
        match self {
            Place::Folder(storage) => Arc::clone(storage) as Arc<dyn Storage>,
            #[cfg(feature = "object-storage")]
            Place::Objects(storage) => Arc::clone(storage) as Arc<dyn Storage>,
        }
    }

    /// What it is called: the folder's path, absolute and without links, or the URL.
    pub fn name(&self) -> &OsStr {
        match self {
            Place::Folder(storage) => storage.root().as_os_str(),
            #[cfg(feature = "object-storage")]
            Place::Objects(storage) => OsStr::new(storage.url()),
        }
    }

    /// What tells it from all other places, for what is remembered of it: its name and, of a URL, which store it is in.
    pub fn identity(&self) -> &OsStr {
        match self {
            Place::Folder(_) => self.name(),
            #[cfg(feature = "object-storage")]
            Place::Objects(storage) => OsStr::new(storage.identity()),
        }
    }

    /// The folder, where it is one.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Place::Folder(storage) => Some(storage.root()),
            #[cfg(feature = "object-storage")]
            Place::Objects(_) => None,
        }
    }

    /// Lets go of what was seen, where that is kept: for a run that begins anew.
    pub fn forget(&self) {
        match self {
            Place::Folder(_) => {}
            #[cfg(feature = "object-storage")]
            Place::Objects(storage) => storage.forget(),
        }
    }

    /// The last part of its name.
    pub fn last_name(&self) -> Option<&str> {
        Path::new(self.name()).file_name()?.to_str()
    }

    /// Whether it is another place, which lies in this one.
    pub fn holds(&self, other: &Place) -> bool {
        let [outer, inner] = [self, other].map(|place| Path::new(place.name()));
        outer != inner && inner.starts_with(outer)
    }

    /// Whether a folder, which may not be there yet, would lie in this one.
    pub fn would_hold(&self, folder: &Path) -> bool {
        let (outer, inner) = (self.folder(), resolved(folder).ok());
        outer
            .zip(inner)
            .is_some_and(|(outer, inner)| inner != outer && inner.starts_with(outer))
    }

    /// Takes the lock.
    ///
    /// # Errors
    /// When somebody else holds it, and nobody waits, or there are no locks there.
    pub fn lock(&self, patience: Patience) -> Result<Held, Error> {
        match self.try_lock(patience.purpose, LockMode::Fail) {
            Err(error @ StorageError::Locked { .. }) if patience.wait => {
                if !patience.quiet {
                    out::message(&format!("waiting: {error}"));
                }
                Ok(self.try_lock(patience.purpose, LockMode::Wait)?)
            }
            lock => Ok(lock?),
        }
    }

    /// Makes sure, as far as can be seen, that the lock could be taken, for a dry run.
    ///
    /// # Errors
    /// When something else stands in its place.
    pub fn could_lock(&self) -> Result<(), Error> {
        match self {
            Place::Folder(storage) => Ok(storage.could_lock()?),
            #[cfg(feature = "object-storage")]
            Place::Objects(_) => Ok(()),
        }
    }

    fn try_lock(&self, purpose: LockFor, mode: LockMode) -> Result<Held, StorageError> {
        match self {
            Place::Folder(storage) => storage
                .lock_for(purpose, mode)
                .map(|_lock| Held::Folder { _lock }),
            #[cfg(feature = "object-storage")]
            Place::Objects(storage) => match purpose {
                LockFor::Alone => storage.lock(mode).map(|_lease| Held::Objects { _lease }),
                LockFor::Beside => Ok(Held::Free),
            },
        }
    }
}

/// A name that is the URL of a place in object storage.
pub fn url(name: &Path) -> Option<&str> {
    name.to_str().filter(|name| is_object_url(name))
}

/// A folder's path.
///
/// # Errors
/// When it is a URL, of a kind that is only read from.
pub fn folder(name: &Path) -> Result<&Path, Error> {
    let needed = "a folder is needed here, or a place in object storage (s3://, gs:// or az://)";
    no_url(
        name,
        &format!("{needed}: name the channel's own folder, and no other URL"),
    )
}

/// A file's path.
///
/// # Errors
/// When it is a URL.
pub fn file(name: &Path) -> Result<&Path, Error> {
    no_url(name, "a file is needed here, and no URL: download it")
}

/// A path on this machine, of a file or a folder.
///
/// # Errors
/// When it is a URL, or written as one of PostgreSQL: a folder of that name would show the password.
pub fn here(name: &Path) -> Result<&Path, Error> {
    // Also of what is no text.
    if is_meant_as_shared(&name.to_string_lossy()) || is_shared(&name.to_string_lossy()) {
        return Err(Error::Usage(
            "postgres:…: this is no path, and no URL that can be used here; a shared cache is named as --cache postgres://USER@HOST:PORT/DATABASE, a folder that is called so as ./postgres:".to_owned(),
        ));
    }
    no_url(name, "a path on this machine is needed here, and no URL")
}

/// A URL that was taken for a path would be shown with its password.
fn no_url<'a>(name: &'a Path, needed: &str) -> Result<&'a Path, Error> {
    match name.to_str().filter(|text| is_meant_as_url(text)) {
        None => Ok(name),
        Some(url) => {
            let url = shown(without_secrets(url));
            Err(Error::Usage(format!("{url}: {needed}")))
        }
    }
}

#[cfg(feature = "object-storage")]
fn objects(url: &str, writes: Writes) -> Result<Place, Error> {
    let options = ObjectOptions {
        unconditional: writes == Writes::Unconditional,
        ..ObjectOptions::default()
    };
    Ok(Place::Objects(Arc::new(ObjectStorage::open(url, options)?)))
}

#[cfg(not(feature = "object-storage"))]
fn objects(_url: &str, _writes: Writes) -> Result<Place, Error> {
    Err(StorageError::NoObjects.into())
}
