//! Single requests to a store. Owns what each of them means for an object, and that a write is done under its condition
//! or not at all, however often it has to be sent; must not know what was seen before.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::list::PaginatedListStore;
use object_store::path::Path;
use object_store::{
    Error, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions,
    PutPayload, UpdateVersion, WriteMultipart,
};

use super::ObjectOptions;
use super::answers::Answers;
use super::connect::{Reached, reach};
use super::fault::{self, Meaning};
use super::patience::Patience;
use super::place::{Place, Scheme};
use super::view::Seen;
use crate::storage::StorageError;

/// From this many bytes on, a content is sent by a connection that has time.
const LARGE: usize = 8 << 20;

/// From this many bytes on, a content that no other can have the name of is sent in parts.
const IN_PARTS: usize = 64 << 20;

/// The most parts of a content that are under way at once.
const PARTS_AT_ONCE: usize = 8;

/// The most bytes that stores take in one request: 5 GiB.
const MOST_AT_ONCE: usize = 5 << 30;

/// What a write rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// That there is nothing.
    Nothing,
    /// That there is still this.
    This(Seen),
    /// Nothing at all.
    Anything,
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Put {
    /// What was to be written stands there.
    Done(Seen),
    /// Something else does, or nothing, and it was left so.
    Lost,
}

/// Makes requests.
pub struct Client {
    /// Where.
    pub place: Place,
    /// How.
    pub options: ObjectOptions,
    store: Arc<dyn ObjectStore>,
    large: Arc<dyn ObjectStore>,
    pages: Arc<dyn PaginatedListStore>,
    /// What it answered.
    pub answers: Answers,
}

/// A content, shared with whoever made it.
struct Shared(Arc<Vec<u8>>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Client {
    /// Prepares requests; makes none.
    ///
    /// # Errors
    /// When the environment's settings are of no use.
    pub fn new(place: Place, options: ObjectOptions) -> Result<Client, StorageError> {
        let Reached {
            store,
            large,
            pages,
        } = reach(&place, &options)?;
        Ok(Client {
            place,
            options,
            store,
            large,
            pages,
            answers: Answers::default(),
        })
    }

    /// A failure, told; and kept, where it says nothing but that the store gives no answer.
    pub fn told(&self, path: &str, operation: &'static str, error: &Error) -> StorageError {
        let told = fault::told(self.place.shown(path), operation, error);
        self.answers.keep(&told);
        told
    }

    /// How long a request is tried again.
    pub fn patience(&self) -> Patience {
        Patience::up_to(self.options.patience)
    }

    /// The pages of listings.
    pub fn pages(&self) -> &dyn PaginatedListStore {
        self.pages.as_ref()
    }

    /// The key of a path that something is done with.
    fn key(&self, path: &str) -> Result<Path, StorageError> {
        self.place.key(path).ok_or_else(|| StorageError::Object {
            path: self.place.shown(&path.escape_debug().to_string()),
            operation: "name the object",
            cause: "it has an empty part, `.`, `..` or a control character".to_owned(),
            remedy: "give it another name",
        })
    }

    /// What an object is; `None` where there is none.
    ///
    /// # Errors
    /// When the store does not say.
    pub async fn head(&self, path: &str) -> Result<Option<Seen>, StorageError> {
        let Some(key) = self.place.key(path) else {
            return Ok(None);
        };
        match self.again(|| self.store.head(&key)).await {
            Ok(meta) => Ok(Some(seen(&meta))),
            Err(error) if fault::meaning(&error) == Meaning::Absent => Ok(None),
            Err(error) => Err(self.told(path, "look at the object", &error)),
        }
    }

    /// The bytes of an object from one on, as long as it is the one that was seen.
    ///
    /// # Errors
    /// As the store says.
    pub async fn get(
        &self,
        path: &Path,
        expected: Option<&Seen>,
        from: u64,
    ) -> Result<(Seen, BoxStream<'static, Result<Bytes, Error>>), Error> {
        let etag = expected.and_then(|seen| seen.etag.as_deref());
        let options = GetOptions {
            if_match: etag
                .filter(|etag| !etag.starts_with("W/"))
                .map(str::to_owned),
            range: (from > 0).then_some(GetRange::Offset(from)),
            ..GetOptions::default()
        };
        let got = self.store.get_opts(path, options).await?;
        let found = seen(&got.meta);
        Ok((found, got.into_stream()))
    }

    /// A small object, whole; `None` where there is none. Of one that is larger than `most` nothing but its beginning.
    ///
    /// # Errors
    /// When it can't be read.
    pub async fn read(
        &self,
        path: &str,
        most: usize,
    ) -> Result<Option<(Vec<u8>, Seen)>, StorageError> {
        let key = self.key(path)?;
        match self.again(|| self.read_once(&key, most)).await {
            Ok(read) => Ok(Some(read)),
            Err(error) if fault::meaning(&error) == Meaning::Absent => Ok(None),
            Err(error) => Err(self.told(path, "read the object", &error)),
        }
    }

    async fn read_once(&self, key: &Path, most: usize) -> Result<(Vec<u8>, Seen), Error> {
        let (seen, mut stream) = self.get(key, None, 0).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.next().await {
            bytes.extend_from_slice(&chunk?);
            if bytes.len() > most {
                bytes.truncate(most);
                break;
            }
        }
        Ok((bytes, seen))
    }

    /// Asks again where an answer got lost on its way or the store had none, with ever longer pauses, as long as the
    /// patience lasts. For what may be done twice.
    ///
    /// # Errors
    /// The last that came.
    pub async fn again<T, F: Future<Output = Result<T, Error>>>(
        &self,
        ask: impl Fn() -> F,
    ) -> Result<T, Error> {
        self.patiently(self.patience(), ask).await
    }

    async fn patiently<T, F: Future<Output = Result<T, Error>>>(
        &self,
        mut patience: Patience,
        ask: impl Fn() -> F,
    ) -> Result<T, Error> {
        loop {
            match ask().await {
                Err(error) if self.answers.is_worth(&error, &patience) => patience.pause().await,
                done => {
                    self.answers.take(done.is_ok());
                    return done;
                }
            }
        }
    }

    /// Writes an object under a condition. Where an answer got lost, what stands there tells whether it was done.
    ///
    /// # Errors
    /// When it can't be written, or the store does not say whether it was.
    pub async fn put(
        &self,
        path: &str,
        content: &Arc<Vec<u8>>,
        expected: &Expected,
    ) -> Result<Put, StorageError> {
        const OPERATION: &str = "write the object";
        let key = self.key(path)?;
        if content.len() > MOST_AT_ONCE {
            return Err(StorageError::Object {
                path: self.place.shown(path),
                operation: OPERATION,
                cause: "it has more than 5 GiB, which no store takes in one conditional request"
                    .to_owned(),
                remedy: "leave out repodata.json (--no-monolithic-repodata) or signatures (--signatures detached)",
            });
        }
        let expected = match self.with_version(path, expected).await? {
            Some(expected) => expected,
            None => return Ok(Put::Lost),
        };
        let mut patience = self.patience();
        loop {
            let error = match self.put_once(&key, content, &expected).await {
                Ok(seen) => return Ok(Put::Done(seen)),
                Err(error) => error,
            };
            let in_time = patience.lasts();
            match fault::meaning(&error) {
                Meaning::Refused => match self.same(path, &key, content).await? {
                    Some(Ok(seen)) => return Ok(Put::Done(seen)),
                    // It stood there for a moment, or two were written at once.
                    None if expected == Expected::Nothing && in_time => {}
                    // Another write to it was under way: the next answer tells whether that one was done.
                    Some(Err(())) if is_conflict(&error, &expected) && in_time => {}
                    _ => return Ok(Put::Lost),
                },
                _ if self.answers.is_worth(&error, &patience) => {}
                _ if expected != Expected::Anything && fault::is_unknown_to(&error) => {
                    let path = self.place.shown("");
                    return Err(StorageError::Unconditional { path });
                }
                _ => return Err(self.told(path, OPERATION, &error)),
            }
            patience.pause().await;
        }
    }

    /// Whether the store refuses a write whose condition does not hold.
    ///
    /// # Errors
    /// When it does not say.
    pub async fn is_refused(
        &self,
        path: &str,
        content: &Arc<Vec<u8>>,
        expected: &Expected,
    ) -> Result<bool, StorageError> {
        let key = self.key(path)?;
        let mut patience = self.patience();
        loop {
            let error = match self.put_once(&key, content, expected).await {
                Ok(_) => return Ok(false),
                Err(error) => error,
            };
            match fault::meaning(&error) {
                Meaning::Refused => return Ok(true),
                _ if self.answers.is_worth(&error, &patience) => patience.pause().await,
                _ if fault::is_unknown_to(&error) => return Ok(false),
                _ => return Err(self.told(path, "try a conditional write of", &error)),
            }
        }
    }

    /// The condition, as the store wants it; `None` where it does not hold any more.
    async fn with_version(
        &self,
        path: &str,
        expected: &Expected,
    ) -> Result<Option<Expected>, StorageError> {
        match expected {
            Expected::This(seen)
                if self.place.scheme == Scheme::Google && seen.version.is_none() =>
            {
                let found = self.head(path).await?.filter(|found| found.is(seen));
                Ok(found.map(Expected::This))
            }
            expected => Ok(Some(expected.clone())),
        }
    }

    async fn put_once(
        &self,
        key: &Path,
        content: &Arc<Vec<u8>>,
        expected: &Expected,
    ) -> Result<Seen, Error> {
        let payload = Bytes::from_owner(Shared(Arc::clone(content)));
        let store = match content.len() {
            0..LARGE => &self.store,
            _ => &self.large,
        };
        let mode = match expected {
            Expected::Nothing => PutMode::Create,
            Expected::Anything => PutMode::Overwrite,
            Expected::This(seen) => PutMode::Update(UpdateVersion {
                e_tag: seen.etag.as_deref().map(str::to_owned),
                version: seen.version.as_deref().map(str::to_owned),
            }),
        };
        let put = match (expected, content.len()) {
            (Expected::Anything, IN_PARTS..) => {
                let upload = store.put_multipart(key).await?;
                let mut upload = WriteMultipart::new_with_chunk_size(upload, LARGE);
                let mut rest = payload;
                while !rest.is_empty() {
                    upload.wait_for_capacity(PARTS_AT_ONCE).await?;
                    upload.put(rest.split_to(rest.len().min(LARGE)));
                }
                upload.finish().await?
            }
            _ => {
                let options = PutOptions::from(mode);
                store
                    .put_opts(key, PutPayload::from(payload), options)
                    .await?
            }
        };
        Ok(Seen {
            etag: put.e_tag.map(Arc::from),
            version: put.version.map(Arc::from),
            size: u64::try_from(content.len()).unwrap_or(u64::MAX),
            written: None,
        })
    }

    /// Whether an object has this content: `None` where there is none, `Err` where it has another.
    async fn same(
        &self,
        path: &str,
        key: &Path,
        content: &[u8],
    ) -> Result<Option<Result<Seen, ()>>, StorageError> {
        match self.again(|| self.same_once(key, content)).await {
            Ok(same) => Ok(Some(same)),
            Err(error) if fault::meaning(&error) == Meaning::Absent => Ok(None),
            Err(error) => Err(self.told(path, "read back the object", &error)),
        }
    }

    async fn same_once(&self, key: &Path, content: &[u8]) -> Result<Result<Seen, ()>, Error> {
        let (seen, mut stream) = self.get(key, None, 0).await?;
        let mut rest = content;
        if u64::try_from(content.len()) != Ok(seen.size) {
            return Ok(Err(()));
        }
        while let Some(chunk) = stream.next().await {
            let chunk = chunk?;
            match rest.split_at_checked(chunk.len()) {
                Some((head, tail)) if head == chunk.as_ref() => rest = tail,
                _ => return Ok(Err(())),
            }
        }
        Ok(if rest.is_empty() { Ok(seen) } else { Err(()) })
    }

    /// Takes objects away, many with one request where the store can; one that is already gone is no error.
    ///
    /// # Errors
    /// At the first that could not be taken away.
    pub async fn delete(&self, paths: &[String]) -> Result<(), StorageError> {
        let keys: Vec<Path> = paths
            .iter()
            .map(|path| self.key(path))
            .collect::<Result<_, _>>()?;
        let operation = match keys.len() {
            0 | 1 => "remove the object",
            _ => "remove the object or others",
        };
        let first = paths.first().map_or("", String::as_str);
        // No condition protects what stands there by the time: what got no answer is not asked for again for long enough
        // that another run can have taken over.
        let patience = Patience::up_to(self.options.patience.min(self.options.lease / 4));
        let gone = self.patiently(patience, || self.delete_once(&keys)).await;
        gone.map_err(|error| self.told(first, operation, &error))
    }

    async fn delete_once(&self, keys: &[Path]) -> Result<(), Error> {
        let mut gone = match keys {
            [key] => stream::once(self.store.delete(key))
                .map_ok(|()| key.clone())
                .boxed(),
            keys => {
                let keys: Vec<Result<Path, Error>> = keys.iter().cloned().map(Ok).collect();
                self.store.delete_stream(stream::iter(keys).boxed())
            }
        };
        while let Some(one) = gone.next().await {
            match one {
                Err(error) if fault::meaning(&error) != Meaning::Absent => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Whether a write of something in another's place met with another write at the same moment.
fn is_conflict(error: &Error, expected: &Expected) -> bool {
    matches!(error, Error::AlreadyExists { .. }) && matches!(expected, Expected::This(_))
}

/// What an answer says of an object.
pub fn seen(meta: &ObjectMeta) -> Seen {
    Seen {
        etag: meta.e_tag.as_deref().map(Arc::from),
        version: meta.version.as_deref().map(Arc::from),
        size: meta.size,
        written: Some(meta.last_modified.timestamp()),
    }
}
