//! A channel in object storage. Owns every request on its objects: what was listed is answered without one, a write rests
//! on what was first seen, and an object is replaced whole. Must not know what the objects mean.
//!
//! An [`ObjectStorage`] is a view of the channel, as this run first saw it and as it left it since. Who wants to see what
//! others did meanwhile opens another, or lets this one [forget](ObjectStorage::forget).

mod answers;
mod client;
mod connect;
mod engine;
mod fault;
mod identity;
mod lease;
mod listing;
mod patience;
mod place;
mod profile;
mod reading;
mod settings;
mod variables;
mod view;
mod writing;

use std::fmt;
use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::client::Client;
use self::engine::{Engine, Stopped};
use self::place::Place;
use self::view::{Known, Seen, View};
use super::{Change, Item, Links, OpenFile, Stat, Storage, StorageError};

pub use fault::Replaced;
pub use lease::Lease;
pub use reading::Reading;
pub use variables::Variables;

/// What an operator decides about object storage.
#[derive(Debug, Clone)]
pub struct ObjectOptions {
    /// Go without conditional writes, where the store does not know them. Then nothing keeps two runs at once from
    /// mixing what they write.
    pub unconditional: bool,
    /// How long one request is tried again.
    pub patience: Duration,
    /// How long a lease holds that is not renewed.
    pub lease: Duration,
    /// The most keys in a page of a listing, where that is less than what stores give.
    pub page: Option<usize>,
    /// What tells of credentials, endpoint and region.
    pub variables: Variables,
}

impl Default for ObjectOptions {
    fn default() -> Self {
        ObjectOptions {
            unconditional: false,
            patience: Duration::from_secs(180),
            lease: Duration::from_secs(60),
            page: None,
            variables: Variables::default(),
        }
    }
}

/// A bucket, or a part of it, as it was first seen.
pub struct ObjectStorage {
    client: Arc<Client>,
    engine: Arc<Engine>,
    identity: String,
    view: Mutex<View>,
    /// Whether the store does what conditions say.
    probed: Mutex<bool>,
    /// The lease that was taken, while it is held.
    lease: Mutex<lease::Taken>,
    /// What was left to a later run, and why.
    left: Mutex<Vec<String>>,
}

impl fmt::Debug for ObjectStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectStorage({})", self.url())
    }
}

impl ObjectStorage {
    /// Opens a place by its URL, as in `s3://BUCKET/PREFIX`. No request is made yet. Credentials, endpoint and region
    /// are those of the environment (`AWS_…`, `GOOGLE_…`, `AZURE_…`) and, for S3, of a profile.
    ///
    /// # Errors
    /// When the URL has no such form, or what the environment says is of no use.
    pub fn open(url: &str, options: ObjectOptions) -> Result<ObjectStorage, StorageError> {
        let place = Place::of(url)?;
        let engine = Engine::new().map_err(|cause| StorageError::Io {
            path: place.shown(""),
            operation: "start the threads for requests",
            cause,
        })?;
        let client = Client::new(place, options)?;
        Ok(ObjectStorage {
            identity: identity::identity(&client.place, &client.options.variables),
            client: Arc::new(client),
            engine: Arc::new(engine),
            view: Mutex::default(),
            probed: Mutex::new(false),
            lease: Mutex::default(),
            left: Mutex::default(),
        })
    }

    /// The URL, normalised; it holds no credentials.
    pub fn url(&self) -> &str {
        self.client.place.url()
    }

    /// What tells it from all other places: the URL and, where the environment names them, the store's host and port, and
    /// the account. It holds no credentials.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Lets go of all that was seen: what is asked for from now on, is as it stands then. For a run that begins anew.
    pub fn forget(&self) {
        *self.view() = View::default();
        self.client.answers.forget();
    }

    /// Lets requests that change nothing be given up when this is set.
    pub fn heed(&self, stop: Option<Arc<AtomicBool>>) {
        self.engine.heed(stop);
    }

    fn wait<T>(
        &self,
        what: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<T, StorageError> {
        let done = self.engine.wait(what);
        done.unwrap_or_else(|Stopped| Err(self.client.answers.stopped(&self.client.place)))
    }

    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn absent(&self, path: &str, operation: &'static str) -> StorageError {
        StorageError::Io {
            path: self.client.place.shown(path),
            operation,
            cause: io::ErrorKind::NotFound.into(),
        }
    }

    /// Asks for one object, whose folder was not listed.
    async fn ask(&self, path: &str) -> Result<Option<Seen>, StorageError> {
        let found = self.client.head(path).await?;
        Ok(self.view().ask(path, found))
    }

    /// An object, as this run sees it.
    fn find(&self, path: &str) -> Result<Option<Seen>, StorageError> {
        let known = self.view().find(path);
        match known {
            Known::Object(seen) => Ok(Some(seen)),
            Known::Absent => Ok(None),
            Known::Unknown => self.wait(self.ask(path)),
        }
    }
}

impl Storage for ObjectStorage {
    fn list(&self, folder: &str) -> Result<Vec<Item>, StorageError> {
        const OPERATION: &str = "list the folder";
        let (items, is_folder, is_object) = {
            let view = self.view();
            if view.is_no_folder(folder) {
                (Some(Vec::new()), false, view.find(folder))
            } else {
                (view.items(folder), view.is_folder(folder), Known::Unknown)
            }
        };
        let (items, is_there) = match items {
            Some(items) => (items, is_folder),
            None => {
                let listed = self.wait(self.client.list(folder))?;
                let mut view = self.view();
                view.list(folder, listed.folder);
                (
                    view.items(folder).unwrap_or_default(),
                    listed.is_there || is_folder,
                )
            }
        };
        if items.is_empty() && !is_there && !folder.is_empty() {
            return Err(match is_object {
                Known::Object(_) => StorageError::Io {
                    path: self.client.place.shown(folder),
                    operation: OPERATION,
                    cause: io::ErrorKind::NotADirectory.into(),
                },
                _ => self.absent(folder, OPERATION),
            });
        }
        Ok(items)
    }

    fn stat(&self, path: &str) -> Result<Option<Stat>, StorageError> {
        Ok(self.find(path)?.map(|seen| seen.stat()))
    }

    fn look_again(&self, path: &str) -> Result<Option<Stat>, StorageError> {
        let found = self.wait(self.see(path))?;
        Ok(found.map(|seen| seen.stat()))
    }

    fn open(&self, path: &str, links: Links) -> Result<(OpenFile, Stat), StorageError> {
        let absent = || self.absent(path, "open the file");
        let seen = self.find(path)?.ok_or_else(absent)?;
        let key = self.client.place.key(path).ok_or_else(absent)?;
        let stat = seen.stat();
        let reading = Reading::new(&self.engine, &self.client, path, key, seen);
        let fresh = self.view().fresh(path);
        let reading = match (fresh, links) {
            (Some(content), _) => reading.fresh(content),
            // Packages are read, whatever else; index files are often looked at and not read.
            (None, Links::Follow) => reading.begin(),
            (None, Links::Refuse) => reading,
        };
        Ok((reading.into(), stat))
    }

    fn apply(&self, changes: Vec<Change>) -> Result<(), StorageError> {
        self.carry_out(changes)
    }

    fn take_left(&self) -> Vec<String> {
        std::mem::take(&mut *self.left.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn demand_answers(&self) -> Result<(), StorageError> {
        self.client.answers.demand()
    }
}
