//! An object that lies open. Owns that every byte is of the one object that was seen: reading on continues one answer of
//! the store, another place or a broken answer begins a new one under the same condition, and what was replaced
//! meanwhile is an error. Holds a few pieces of it at most.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf as _, Bytes};
use futures_util::StreamExt as _;
use object_store::Error;
use object_store::path::Path;
use tokio::sync::{mpsc, oneshot};

use super::client::Client;
use super::engine::{Engine, Stopped};
use super::fault::{self, Meaning, Replaced};
use super::view::Seen;
use crate::storage::{Stat, StorageError};

/// The pieces that wait to be read.
const AHEAD: usize = 2;

/// What is being done.
const READ: &str = "read the object";

/// A place that is so little ahead is read up to, in bytes.
const NEAR: u64 = 256 << 10;

/// An object that lies open.
pub struct Reading {
    client: Arc<Client>,
    engine: Arc<Engine>,
    path: String,
    key: Path,
    seen: Seen,
    source: Source,
}

enum Source {
    /// It was just written.
    Fresh(Arc<Vec<u8>>),
    /// The store gives it.
    Store(Mutex<Option<Stream>>),
}

/// One answer of the store, on its way.
struct Stream {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
    /// Where in the object the rest of the piece begins.
    at: u64,
    /// What the object was when its last piece had come.
    after: Option<oneshot::Receiver<Found>>,
}

/// What a store says of an object now.
type Found = Result<Option<Seen>, StorageError>;

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reading({})", self.client.place.shown(&self.path))
    }
}

impl Reading {
    /// An object of the store; nothing is asked for yet.
    pub fn new(
        engine: &Arc<Engine>,
        client: &Arc<Client>,
        path: &str,
        key: Path,
        seen: Seen,
    ) -> Reading {
        Reading {
            client: Arc::clone(client),
            engine: Arc::clone(engine),
            path: path.to_owned(),
            key,
            seen,
            source: Source::Store(Mutex::new(None)),
        }
    }

    /// The same, when it was just written.
    pub fn fresh(self, content: Arc<Vec<u8>>) -> Reading {
        Reading {
            source: Source::Fresh(content),
            ..self
        }
    }

    /// Asks for it now, for whoever is about to read it: answers to many are on their way side by side then.
    pub fn begin(self) -> Reading {
        if let (Source::Store(stream), 1..) = (&self.source, self.seen.size) {
            let mut stream = stream.lock().unwrap_or_else(PoisonError::into_inner);
            stream.get_or_insert_with(|| self.from(0, true));
        }
        self
    }

    /// The object as it is now or, where all of it was read from its beginning, as it was then.
    ///
    /// # Errors
    /// When there is none, or the store does not say.
    pub fn stat(&self) -> io::Result<Stat> {
        let after = match &self.source {
            Source::Fresh(_) => return Ok(self.seen.stat()),
            Source::Store(stream) => {
                let mut stream = stream.lock().unwrap_or_else(PoisonError::into_inner);
                let whole = stream.as_mut().filter(|stream| stream.at == self.seen.size);
                whole.and_then(|stream| stream.after.take())
            }
        };
        let found = self.engine.wait(async {
            let told = match after {
                Some(after) => after.await.ok(),
                None => None,
            };
            match told {
                Some(told) => told,
                None => self.client.head(&self.path).await,
            }
        });
        let found = found.unwrap_or_else(|stopped| Err(self.stopped(stopped)));
        let found = found.map_err(|error| io::Error::other(error.to_string()))?;
        found
            .map(|seen| seen.stat())
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    /// Whether it holds this content, where the store tells: in S3 the ETag of what was put with one request is most
    /// often its MD5. An ETag that looks so and is another says nothing. To pass for a content of ours, another would
    /// need the same MD5 as that one has, which nobody can make.
    pub fn told_to_hold(&self, content: &[u8]) -> Option<bool> {
        let etag = self.seen.etag.as_deref()?.trim_matches('"');
        let digest = md5_many::md5(content);
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let same = u64::try_from(content.len()) == Ok(self.seen.size);
        (same && etag.eq_ignore_ascii_case(&hex)).then_some(true)
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.seen.size
    }

    /// As `pread`.
    ///
    /// # Errors
    /// When the store does not give the bytes, or those of another object.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if buffer.is_empty() || offset >= self.seen.size {
            return Ok(0);
        }
        match &self.source {
            Source::Fresh(content) => {
                let at = usize::try_from(offset).unwrap_or(usize::MAX);
                Ok(copy(buffer, content.get(at..).unwrap_or_default()))
            }
            Source::Store(stream) => {
                let mut stream = stream.lock().unwrap_or_else(PoisonError::into_inner);
                let read = self.read_stream(&mut stream, buffer, offset);
                if read.is_err() {
                    *stream = None;
                }
                read
            }
        }
    }

    fn read_stream(
        &self,
        held: &mut Option<Stream>,
        buffer: &mut [u8],
        offset: u64,
    ) -> io::Result<usize> {
        let near =
            |stream: &&mut Stream| (stream.at..=stream.at.saturating_add(NEAR)).contains(&offset);
        let stream = match held.as_mut().filter(near) {
            Some(_) => held.as_mut(),
            None => Some(held.insert(self.from(offset, false))),
        };
        let stream = stream.ok_or(io::ErrorKind::UnexpectedEof)?;
        loop {
            let skip = offset.saturating_sub(stream.at);
            let skip = usize::try_from(skip).unwrap_or(usize::MAX);
            if skip < stream.piece.len() {
                stream.advance(skip);
                break;
            }
            stream.advance(stream.piece.len());
            let next = self.engine.next(&mut stream.pieces);
            let next = next.map_err(|stopped| io::Error::other(self.stopped(stopped).to_string()));
            stream.piece = match next? {
                Some(piece) => piece?,
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            };
        }
        let count = copy(buffer, &stream.piece);
        stream.advance(count);
        Ok(count)
    }

    fn stopped(&self, _: Stopped) -> StorageError {
        self.client.answers.stopped(&self.client.place)
    }

    /// Begins an answer. With `ask`, it is asked at its end what the object is then: beside other answers, and not when
    /// somebody waits for it.
    fn from(&self, offset: u64, ask: bool) -> Stream {
        let (sender, pieces) = mpsc::channel(AHEAD);
        let (found, after) = oneshot::channel();
        let pump = Pump {
            client: Arc::clone(&self.client),
            key: self.key.clone(),
            path: self.path.clone(),
            seen: self.seen.clone(),
            at: offset,
        };
        self.engine.spawn(pump.run(sender, ask.then_some(found)));
        Stream {
            pieces,
            piece: Bytes::new(),
            at: offset,
            after: ask.then_some(after),
        }
    }
}

impl Stream {
    fn advance(&mut self, count: usize) {
        let count = count.min(self.piece.len());
        self.piece.advance(count);
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.at = self.at.saturating_add(count);
    }
}

fn copy(buffer: &mut [u8], bytes: &[u8]) -> usize {
    let count = buffer.len().min(bytes.len());
    if let (Some(to), Some(from)) = (buffer.get_mut(..count), bytes.get(..count)) {
        to.copy_from_slice(from);
    }
    count
}

/// Brings the pieces of an object, from a place in it to its end.
struct Pump {
    client: Arc<Client>,
    key: Path,
    path: String,
    seen: Seen,
    at: u64,
}

impl Pump {
    /// Until the end, a failure, or nobody reads any more.
    async fn run(
        mut self,
        to: mpsc::Sender<io::Result<Bytes>>,
        found: Option<oneshot::Sender<Found>>,
    ) {
        let mut patience = self.client.patience();
        while self.at < self.seen.size {
            let before = self.at;
            let Err(error) = self.answer(&to).await else {
                if let Some(found) = found.filter(|_| self.at == self.seen.size) {
                    let _ = found.send(self.client.head(&self.path).await);
                }
                return;
            };
            if self.at > before {
                patience = self.client.patience();
            }
            let error = match error {
                Broken::Replaced => io::Error::other(Replaced),
                Broken::Told(_) if patience.lasts() => {
                    tokio::select! {
                        () = to.closed() => return,
                        () = patience.pause() => continue,
                    }
                }
                Broken::Told(error) => {
                    let error = self.client.told(&self.path, READ, &error);
                    io::Error::other(error.to_string())
                }
                Broken::Failed(error) => io::Error::other(error),
            };
            let _ = to.send(Err(error)).await;
            return;
        }
    }

    /// One answer of the store: `Ok` when nothing more is to be done.
    async fn answer(&mut self, to: &mpsc::Sender<io::Result<Bytes>>) -> Result<(), Broken> {
        let got = self.client.get(&self.key, Some(&self.seen), self.at).await;
        let (found, mut pieces) = match got {
            Ok(got) => got,
            Err(error) => {
                return Err(match fault::meaning(&error) {
                    Meaning::Refused | Meaning::Absent => Broken::Replaced,
                    Meaning::Unsure | Meaning::Unanswered | Meaning::NoCredentials => {
                        Broken::Told(error)
                    }
                    Meaning::Failed => {
                        let error = self.client.told(&self.path, READ, &error);
                        Broken::Failed(error.to_string())
                    }
                });
            }
        };
        if !found.is(&self.seen) {
            return Err(Broken::Replaced);
        }
        while let Some(piece) = pieces.next().await {
            let piece = match piece {
                Ok(piece) => piece,
                Err(error) if fault::meaning(&error) == Meaning::Refused => {
                    return Err(Broken::Replaced);
                }
                Err(error) => return Err(Broken::Told(error)),
            };
            let end = u64::try_from(piece.len()).ok();
            let end = end.and_then(|length| self.at.checked_add(length));
            match end.filter(|end| *end <= self.seen.size) {
                Some(end) => self.at = end,
                None => {
                    return Err(Broken::Failed(
                        "the store gave more than there is".to_owned(),
                    ));
                }
            }
            if to.send(Ok(piece)).await.is_err() {
                return Ok(());
            }
        }
        match self.at == self.seen.size {
            true => Ok(()),
            false => Err(Broken::Told(Error::Generic {
                store: "reading",
                source: fault::EARLY.into(),
            })),
        }
    }
}

/// Why an answer ended.
enum Broken {
    /// There is another object now, or none.
    Replaced,
    /// For a reason that may pass.
    Told(Error),
    /// For one that does not.
    Failed(String),
}
