//! A channel that was named on the command line: a folder, or a place in object storage. Owns telling these apart,
//! opening them, and waiting for their locks; knows nothing of what is done there.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use super::out;
use crate::error::Error;
use crate::storage::{LocalStorage, Lock, LockFor, LockMode, Storage, StorageError, is_object_url};

/// A place, opened.
pub enum Place {
    /// A folder of this machine.
    Folder(Arc<LocalStorage>),
}

/// The lock of a place, held until this is dropped.
pub enum Held {
    /// By the kernel.
    Folder { _lock: Lock },
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
    /// What is there.
    ///
    /// # Errors
    /// When there is no such folder, or the object storage can't be reached.
    pub fn open(name: &Path) -> Result<Place, Error> {
        match url(name) {
            Some(url) => objects(url),
            None => Ok(Place::Folder(Arc::new(LocalStorage::open(name)?))),
        }
    }

    /// What is there, or a new folder.
    ///
    /// # Errors
    /// As [`Place::open`], and when the folder can't be made.
    pub fn create(name: &Path) -> Result<Place, Error> {
        match url(name) {
            Some(url) => objects(url),
            None => Ok(Place::Folder(Arc::new(LocalStorage::create(name)?))),
        }
    }

    /// Its files.
    pub fn storage(&self) -> &dyn Storage {
        match self {
            Place::Folder(storage) => storage.as_ref(),
        }
    }

    /// Its files, to be held on to.
    pub fn shared(&self) -> Arc<dyn Storage> {
        match self {
            Place::Folder(storage) => Arc::clone(storage) as Arc<dyn Storage>,
        }
    }

    /// What tells it from all other places: the folder's path, absolute and without links, or the URL.
    pub fn identity(&self) -> &OsStr {
        match self {
            Place::Folder(storage) => storage.root().as_os_str(),
        }
    }

    /// The folder, where it is one.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Place::Folder(storage) => Some(storage.root()),
        }
    }

    /// The last part of its name.
    pub fn last_name(&self) -> Option<&str> {
        Path::new(self.identity()).file_name()?.to_str()
    }

    /// Whether it is another place, which lies in this one.
    pub fn holds(&self, other: &Place) -> bool {
        let [outer, inner] = [self, other].map(|place| Path::new(place.identity()));
        outer != inner && inner.starts_with(outer)
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

    fn try_lock(&self, purpose: LockFor, mode: LockMode) -> Result<Held, StorageError> {
        match self {
            Place::Folder(storage) => storage
                .lock_for(purpose, mode)
                .map(|_lock| Held::Folder { _lock }),
        }
    }
}

/// A name that is the URL of a place in object storage.
pub fn url(name: &Path) -> Option<&str> {
    name.to_str().filter(|name| is_object_url(name))
}

fn objects(url: &str) -> Result<Place, Error> {
    Err(Error::Usage(format!(
        "{url}: this sigindex was built without the feature `object-storage`; build it with `cargo install --locked --path . --features object-storage`"
    )))
}
