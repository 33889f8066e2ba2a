//! The signed index in the course of a run: the generation that it builds on, held against its signatures and hashes
//! before anything is believed, and the one that it publishes. Owns what is believed and what is signed; the form of
//! metadata is [`crate::tuf`]'s.

#[cfg(feature = "tuf")]
mod chain;
#[cfg(feature = "tuf")]
mod load;
#[cfg(feature = "tuf")]
mod next;
#[cfg(not(feature = "tuf"))]
mod off;
#[cfg(feature = "tuf")]
mod old;

#[cfg(feature = "tuf")]
pub use load::{Signed, begin};
#[cfg(not(feature = "tuf"))]
pub use off::{Signed, begin};

use std::collections::BTreeMap;

use super::places::Places;
use super::signing_key::{Keys, SigningKey};
use crate::cache::{Cache, Seen, Versions};
use crate::channel::SubdirName;
use crate::error::Error;
use crate::keys::{Fingerprint, KeyName, PublicKey};
use crate::repodata::Rank;
use crate::report::SignedIndex;
use crate::storage::{Change, Storage};
use crate::tuf::{FOLDER, Role, Targets};

/// What a run does about a signed index.
#[derive(Debug, Clone, Copy)]
pub struct SignedConfig {
    /// Where the index that stands there can't be built on: take its files as they are, and begin anew.
    pub accept: bool,
    /// How many generations stay, the new one among them.
    pub keep: usize,
    /// The time by the clock, in Unix milliseconds: what expires, does so by it.
    pub clock: i64,
}

/// What the signed indexes of a run's places name.
#[derive(Default)]
pub struct Standing<'a> {
    /// Of the place where it writes.
    pub target: Option<Signed<'a>>,
    /// Of the place where the packages lie, when that is another.
    pub source: Option<Targets>,
}

impl Standing<'_> {
    /// The places, where signed indexes tell what was published.
    pub fn vouch<'p>(&'p self, places: Places<'p>) -> Places<'p> {
        let target = self.target.as_ref().and_then(Signed::vouched);
        places.vouched(target, self.source.as_ref())
    }

    /// Whether there is any.
    pub fn is_signed(&self) -> bool {
        self.target.is_some() || self.source.is_some()
    }

    /// The key that signs packages: none of these and, where the index is signed, only once its own key is at hand too.
    pub fn guard<'k>(&'k self, key: SigningKey<'k>, role_keys: Keys) -> SigningKey<'k> {
        let check = || self.target.as_ref().map_or(Ok(()), Signed::check_key);
        key.unless(role_keys, Box::new(check))
    }

    /// The keys that sign this channel's index and root.
    pub fn role_keys(&self) -> Keys {
        self.target
            .as_ref()
            .map(Signed::role_keys)
            .unwrap_or_default()
    }
}

/// What a new generation is made of.
#[cfg_attr(
    not(feature = "tuf"),
    allow(dead_code, reason = "only `next` reads it")
)]
pub struct Listing<'a> {
    /// Where it is written.
    pub storage: &'a dyn Storage,
    /// The channel, as people write it.
    pub channel: &'a str,
    /// Index files that this run makes.
    pub targets: Targets,
    /// The subdirs that it takes in.
    pub walked: Vec<&'a SubdirName>,
    /// Those that it leaves as they are, and whose records it read.
    pub told: Vec<&'a SubdirName>,
    /// The keys whose signatures are listed, by fingerprint, with the names that records give.
    pub keys: BTreeMap<Fingerprint, KeyName>,
    /// Those of them that the keys folder has.
    pub known_keys: Vec<&'a PublicKey>,
    /// Whether nothing is to be written or signed.
    pub dry_run: bool,
}

/// The generation that follows.
pub struct Next {
    /// What has to be done.
    pub changes: Vec<(Rank, Change)>,
    /// Its versions, to be remembered once it is published.
    pub versions: Versions,
    /// What the report says of it.
    pub report: SignedIndex,
    /// What an operator should know.
    pub warnings: Vec<String>,
}

/// The files of metadata in a place; none where no index was ever signed.
fn metadata_in(storage: &dyn Storage) -> Result<Vec<Metadata>, Error> {
    let items = match storage.list(FOLDER) {
        Ok(items) => items,
        Err(error) if error.is_absent() || error.is_no_folder() => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let names = items.iter().filter_map(|item| item.name.to_str());
    Ok(names.filter_map(Metadata::of).collect())
}

/// One file of metadata.
#[cfg_attr(
    not(feature = "tuf"),
    allow(dead_code, reason = "that there is one is enough then")
)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Metadata {
    role: Role,
    /// 0 of the timestamp, which has none in its name.
    version: u64,
}

impl Metadata {
    /// By its name in the folder.
    fn of(name: &str) -> Option<Metadata> {
        if name == "timestamp.json" {
            let (role, version) = (Role::Timestamp, 0);
            return Some(Metadata { role, version });
        }
        let (version, role) = name.strip_suffix(".json")?.split_once('.')?;
        let version: u64 = version
            .parse()
            .ok()
            .filter(|v: &u64| v.to_string() == version)?;
        let role = Role::ALL.into_iter().find(|known| known.as_str() == role)?;
        (role != Role::Timestamp).then_some(Metadata { role, version })
    }
}

/// Fails where an index was signed once and is not any more: that is no choice of a run's.
fn demand_still_signed(place: &str, cache: &mut dyn Cache) -> Result<(), Error> {
    let seen = cache.seen(&Versions::new(), Seen::Higher)?;
    match seen.get(Role::Timestamp.as_str()) {
        None | Some(0) => Ok(()),
        Some(version) => Err(Error::Unsigned {
            place: place.to_owned(),
            version: *version,
        }),
    }
}
