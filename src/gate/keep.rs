//! From the upstream into the store: each file once, however many ask, held back until its last byte was hashed. Owns
//! that, and reading what is kept; must not know what may be served.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use super::answer::{Checked, Content, Failed, Stop, Wrong};
use super::flight::Flights;
use super::store::{Hash, Place, Store, Stored};
use crate::record::hex;
use crate::upstream::{Upstream, UpstreamError, UpstreamFault};

/// An upstream, and the store that its files go to.
#[derive(Debug)]
pub(super) struct Keeper {
    upstream: Arc<dyn Upstream>,
    store: Arc<Store>,
    flights: Flights<Checked<Option<Content>>>,
}

impl Keeper {
    pub(super) fn new(upstream: Arc<dyn Upstream>, store: Arc<Store>) -> Keeper {
        Keeper {
            upstream,
            store,
            flights: Flights::default(),
        }
    }

    pub(super) fn upstream(&self) -> &Arc<dyn Upstream> {
        &self.upstream
    }

    /// What is in the store, without waiting for anything.
    pub(super) fn at_hand(&self, hash: &Hash) -> Option<Content> {
        Some(content(*hash, self.store.at_hand(hash)?))
    }

    /// A file of this hash: from the store, or fetched to it by `fetch`, which says whether there was one.
    pub(super) fn of_hash(
        &self,
        hash: &Hash,
        fetch: impl FnOnce(&mut dyn Write) -> Checked<bool>,
    ) -> Checked<Option<Content>> {
        if let Some(found) = self.look(hash)? {
            return Ok(Some(found));
        }
        self.flights.run(&hex(hash), broken(), || {
            // Somebody may have fetched it between the look and now.
            if let Some(found) = self.look(hash)? {
                return Ok(Some(found));
            }
            let mut writer = self.store.writer().map_err(|cause| Stop::here(&cause))?;
            if !fetch(&mut writer)? {
                return Ok(None);
            }
            if writer.sha256() != *hash {
                return Err(Stop::refuse(Wrong::Changed, CHANGED.to_owned()));
            }
            let kept = self.store.keep(writer, hash);
            let kept = kept.map_err(|cause| Stop::here(&cause))?;
            Ok(Some(content(*hash, kept)))
        })
    }

    /// A file of this hash and of at most `cap` bytes, at its own path.
    pub(super) fn at_path(&self, hash: &Hash, path: &str, cap: u64) -> Checked<Option<Content>> {
        self.of_hash(hash, |to| match self.upstream.fetch_to(path, cap, to) {
            Ok(found) => Ok(found.is_some()),
            Err(UpstreamError {
                fault: UpstreamFault::TooLarge { .. },
                ..
            }) => Err(Stop::refuse(Wrong::Changed, CHANGED.to_owned())),
            Err(cause) => Err(Stop::upstream(&cause)),
        })
    }

    /// Whatever lies at a path, of at most `cap` bytes. Nothing is known of it but its hash.
    pub(super) fn anything(&self, path: &str, cap: u64) -> Checked<Option<Content>> {
        self.flights.run(path, broken(), || {
            let mut writer = self.store.writer().map_err(|cause| Stop::here(&cause))?;
            let fetched = self.upstream.fetch_to(path, cap, &mut writer);
            if fetched.map_err(|cause| Stop::upstream(&cause))?.is_none() {
                return Ok(None);
            }
            let hash = writer.sha256();
            let kept = self.store.keep(writer, &hash);
            let kept = kept.map_err(|cause| Stop::here(&cause))?;
            Ok(Some(content(hash, kept)))
        })
    }

    /// Keeps bytes of our own making.
    pub(super) fn bytes(&self, bytes: &[u8]) -> Checked<Content> {
        let kept = self.store.keep_bytes(bytes);
        let (hash, kept) = kept.map_err(|cause| Stop::here(&cause))?;
        Ok(content(hash, kept))
    }

    fn look(&self, hash: &Hash) -> Checked<Option<Content>> {
        let found = self.store.get(hash).map_err(|cause| Stop::here(&cause))?;
        Ok(found.map(|stored| content(*hash, stored)))
    }
}

/// What is said of bytes that are not those that the index names.
const CHANGED: &str = "its bytes are not those that the index names; do not install it from elsewhere either, and tell whoever keeps the channel";

fn broken<T>() -> Checked<T> {
    let why = "the gate could not finish this; try again, and report it as a fault of sigindex";
    Err(Stop::Fail(Failed::Here, why.to_owned()))
}

fn content(sha256: Hash, stored: Stored) -> Content {
    Content {
        sha256,
        length: stored.length,
        place: stored.place,
    }
}

/// Reads what is kept from its beginning.
pub(super) fn reader(content: &Content) -> Box<dyn Read + Send> {
    match &content.place {
        Place::Memory(bytes) => Box::new(io::Cursor::new(bytes.clone())),
        Place::File(file) => Box::new(FromStart {
            file: Arc::clone(file),
            offset: 0,
        }),
    }
}

/// A reader of its own over a file that many read.
struct FromStart {
    file: Arc<File>,
    offset: u64,
}

impl Read for FromStart {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        let more = u64::try_from(read).unwrap_or(u64::MAX);
        self.offset = self.offset.saturating_add(more);
        Ok(read)
    }
}
