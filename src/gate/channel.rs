//! One channel behind the gate: what may be served of it. Owns the order of the checks; must not know HTTP on the
//! client's side, flags, or policy files.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::answer::{Answer, Checked, Content, Event, Failed, Listener, Stop, Wrong};
use super::index::{Basis, Index};
use super::keep::Keeper;
use super::package::{Packages, Passed, shard_hash};
use super::plain::PlainIndex;
use super::shelf::Shelves;
use super::signed::{SignedIndex, State};
use super::store::{Hash, Store};
use super::trust::Trust;
use crate::attestation::{SidecarName, sidecar_name};
use crate::error::Error;
use crate::keys::PublicKey;
use crate::package::Format;
use crate::record::hex;
use crate::shown::shown;
use crate::sidecar;
use crate::upstream::Upstream;

/// The most paths of which it is remembered that they were served.
const MOST_SERVED: usize = 100_000;

/// The most bytes of a file where nothing is demanded.
const MOST: u64 = 16 << 30;

/// What a channel has to show before anything of it is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Require {
    /// A signed index, and signed packages that it names.
    Index,
    /// Signed packages.
    Package,
    /// Nothing: what would be refused is only reported.
    None,
}

impl Require {
    /// The word for it in flags, policies and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Require::Index => "index",
            Require::Package => "package",
            Require::None => "none",
        }
    }

    /// What it stops, and what it does not.
    pub fn meaning(self) -> &'static str {
        match self {
            Require::Index => {
                "Only what the signed index names is served, with valid signatures by its keys."
            }
            Require::Package => {
                "Only packages with a valid signature by a trusted key are served. The index is not checked: an old \
                 package offered as new, changed dependencies, and an index that is held back are not stopped."
            }
            Require::None => {
                "Everything is served; what is wrong with it is only reported. Nothing is stopped."
            }
        }
    }
}

/// How a channel is guarded.
pub struct Guard {
    /// The channel's name in the gate.
    pub name: String,
    /// Where it is.
    pub upstream: Arc<dyn Upstream>,
    /// What it has to show.
    pub require: Require,
    /// The keys that are trusted for it: the first root has to bear a signature by one of them, and packages may.
    pub pinned: Vec<PublicKey>,
    /// The smallest package key that counts, in bits.
    pub min_bits: u32,
    /// How long an index is served before it is asked for again.
    pub fresh: Duration,
    /// How long packages of an index that was served stay servable when a newer one no longer names them.
    pub grace: Duration,
    /// A folder of the gate's own for this channel, in which it remembers what it saw. It need not be there.
    pub state: PathBuf,
    /// Who hears of events.
    pub listener: Arc<Listener>,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("name", &self.name)
            .field("upstream", &self.upstream)
            .field("require", &self.require)
            .finish_non_exhaustive()
    }
}

/// A channel behind the gate.
#[derive(Debug)]
pub struct Gated {
    name: String,
    require: Require,
    listener: Hears,
    keeper: Arc<Keeper>,
    index: Index,
    packages: Packages,
    /// What was served, by path, and what that rests on.
    served: RwLock<HashMap<String, (Hash, Basis)>>,
}

/// What a path asks for.
enum Asked<'a> {
    Package(&'a str, &'a str),
    Sig(&'a str, &'a str),
    Sigs(&'a str, &'a str, SidecarName<'a>),
    Shard(&'a str, &'a str, Hash),
    /// A file of the index, or nothing that a channel has.
    Index,
    /// What the gate keeps to itself: the metadata of the signed index, which it has verified and clients don't.
    Metadata,
}

impl Gated {
    /// Takes a channel under guard. Nothing is asked of its upstream yet.
    ///
    /// # Errors
    /// When the folder for what it saw can't be made: a gate that forgot what it saw would take an older index for
    /// news.
    pub fn open(guard: Guard, store: Arc<Store>) -> Result<Gated, Error> {
        let keeper = Arc::new(Keeper::new(Arc::clone(&guard.upstream), store));
        let shelves = Shelves::new(Arc::clone(&keeper), guard.grace);
        let index = match guard.require {
            Require::Index => Index::Signed(SignedIndex {
                keeper: Arc::clone(&keeper),
                memory: memory(&guard)?,
                pinned: guard.pinned,
                min_bits: guard.min_bits,
                fresh: guard.fresh,
                listener: Arc::clone(&guard.listener),
                state: State::default(),
            }),
            Require::Package | Require::None => {
                let trust = Trust::pinned(&guard.pinned, guard.min_bits);
                let plain = PlainIndex {
                    keeper: Arc::clone(&keeper),
                    fresh: guard.fresh,
                    seen: Mutex::default(),
                };
                Index::Plain(plain, Arc::new(trust))
            }
        };
        Ok(Gated {
            name: guard.name,
            require: guard.require,
            listener: Hears(guard.listener),
            packages: Packages {
                keeper: Arc::clone(&keeper),
                shelves,
            },
            keeper,
            index,
            served: RwLock::default(),
        })
    }

    /// The channel's name in the gate.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What may be said to a request for a path below the channel: decoded, with plain names between its slashes,
    /// and with an empty last one for a folder. Blocks while the upstream is asked.
    pub fn answer(&self, path: &str) -> Answer {
        let path = &*page(path);
        let checked = match self.checked(path) {
            Ok(Some((content, basis))) => {
                if let Some(basis) = basis {
                    self.remember(path, content.sha256, basis);
                }
                Ok(Some(content))
            }
            Ok(None) => Ok(None),
            Err(stop) => Err(stop),
        };
        let checked = match self.require {
            Require::None => self.let_through(path, checked),
            Require::Index | Require::Package => checked,
        };
        match checked {
            Ok(Some(content)) => Answer::Serve(content),
            Ok(None) => Answer::Absent,
            Err(stop) => stop.answer(&self.name, path),
        }
    }

    /// What may be served without asking the upstream: verified, fresh, and in the store. Never blocks on the
    /// network.
    pub fn at_hand(&self, path: &str) -> Option<Content> {
        let path = page(path);
        let served = self.served.read();
        let served = served.unwrap_or_else(PoisonError::into_inner);
        let (hash, basis) = served.get(&*path)?.clone();
        drop(served);
        let content = || self.keeper.at_hand(&hash);
        self.index.is_current(&basis).then(content).flatten()
    }

    fn checked(&self, path: &str) -> Checked<Passed> {
        let (index, packages) = (&self.index, &self.packages);
        match asked(path) {
            Asked::Package(subdir, file) => packages.package(index, subdir, file),
            Asked::Sig(subdir, file) => packages.sig(index, subdir, file),
            Asked::Sigs(subdir, name, sidecar) => packages.sigs(index, subdir, name, sidecar),
            Asked::Shard(subdir, rest, hash) => packages.shelves.shard(index, subdir, rest, &hash),
            Asked::Metadata => Ok(None),
            Asked::Index => {
                let Some(content) = index.file(path)? else {
                    return Ok(None);
                };
                packages.shelves.served(index, path, &content)?;
                let basis = index.basis(path, content.sha256);
                Ok(Some((content, Some(basis))))
            }
        }
    }

    /// Where nothing is demanded, what would be refused is reported, and served.
    fn let_through(
        &self,
        path: &str,
        checked: Checked<Option<Content>>,
    ) -> Checked<Option<Content>> {
        let stop = match checked {
            Ok(None) => None,
            Err(stop @ Stop::Refuse(..)) => Some(stop),
            // Who has the file may fail to give its signature.
            Err(Stop::Fail(Failed::Upstream, why)) => Some(Stop::refuse(Wrong::Unchecked, why)),
            done => return done,
        };
        let found = self.index.anything(path, MOST)?;
        let answer = stop.map(|stop| stop.answer(&self.name, path));
        if let (Some(_), Some(Answer::Refuse(refusal))) = (&found, answer) {
            (self.listener.0)(Event::LetThrough(refusal));
        }
        Ok(found)
    }

    fn remember(&self, path: &str, hash: Hash, basis: Basis) {
        let served = self.served.write();
        let mut served = served.unwrap_or_else(PoisonError::into_inner);
        if served.len() >= MOST_SERVED {
            served.clear();
        }
        served.insert(path.to_owned(), (hash, basis));
    }
}

/// Who hears of events; there is nothing to show of it.
struct Hears(Arc<Listener>);

impl fmt::Debug for Hears {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hears(..)")
    }
}

/// A folder for what was seen of this upstream: the same name may stand for another one tomorrow, and the same words
/// for another folder elsewhere. A link counts as itself: publishers turn it to the next copy of their channel.
fn memory(guard: &Guard) -> Result<PathBuf, Error> {
    let name = guard.upstream.name();
    let place = match crate::upstream::is_url(name) {
        true => PathBuf::from(name),
        false => std::path::absolute(name).unwrap_or_else(|_| name.into()),
    };
    let hash = hex(&Sha256::digest(place.as_os_str().as_encoded_bytes()));
    let folder = guard.state.join(hash);
    let made = DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder);
    made.map_err(|cause| Error::File {
        path: shown(&folder),
        operation: "make the folder for what the gate saw",
        cause,
    })?;
    Ok(folder)
}

/// A folder's page, for what names a folder.
fn page(path: &str) -> Cow<'_, str> {
    match path.is_empty() || path.ends_with('/') {
        true => Cow::Owned(format!("{path}index.html")),
        false => Cow::Borrowed(path),
    }
}

fn asked(path: &str) -> Asked<'_> {
    let Some((subdir, rest)) = path.split_once('/') else {
        return Asked::Index;
    };
    if subdir == crate::tuf::FOLDER {
        return Asked::Metadata;
    }
    if let Some(hash) = shard_hash(rest) {
        return Asked::Shard(subdir, rest, hash);
    }
    if rest.contains('/') {
        return Asked::Index;
    }
    if Format::of(rest).is_some() {
        return Asked::Package(subdir, rest);
    }
    if let Some(sidecar) = sidecar_name(rest) {
        return Asked::Sigs(subdir, rest, sidecar);
    }
    match rest.strip_suffix(sidecar::SUFFIX) {
        Some(file) if Format::of(file).is_some() => Asked::Sig(subdir, file),
        _ => Asked::Index,
    }
}

#[cfg(test)]
mod tests;
