//! The generation that a run builds on. Owns when it is believed: its chain of signatures, each of its files by hash,
//! and that nobody played an older one back.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::ThreadPool;
use rayon::prelude::*;

use super::super::Config;
use super::super::places::Places;
use super::super::signing_key::{Keys, RoleKeys, SigningKey};
use super::{Metadata, Standing, chain, demand_still_signed, metadata_in};
use crate::cache::{Cache, Seen, Versions};
use crate::error::Error;
use crate::keys::Fingerprint;
use crate::publish;
use crate::storage::Storage;
use crate::tuf::{
    Anchor, Expired, Generation, Loading, Role, TIMESTAMP, Target, Targets, claimed, load,
    newest_root,
};
use crate::upstream::MemoryUpstream;

/// A forged file name is not counted up from: nobody publishes so often between two runs.
const MOST_ABOVE: u64 = 10_000;

/// The signed index of the place where a run writes.
pub struct Signed<'a> {
    pub(super) basis: Basis,
    /// Whether the root is newer than the one that the last generation of this machine was signed under.
    pub(super) is_root_new: bool,
    /// The generation before or, where there is none that is believed, the newest trusted root and the versions that
    /// it claims.
    pub(super) before: Generation,
    /// The versions above which the next generation's lie.
    pub(super) floor: BTreeMap<Role, u64>,
    /// The metadata that lies there.
    pub(super) files: Vec<Metadata>,
    /// The key of the index.
    pub(super) key: SigningKey<'a>,
}

/// What is believed of a signed index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// The generation, whole.
    Verified,
    /// The generation, whole; but a newer one was seen once, and its versions have to be left behind.
    RolledBack,
    /// Nothing is signed yet.
    First,
    /// Nothing, and the operator knows: the files count as they stand.
    Accepted,
}

/// Looks whether indexes are signed, and verifies those that are. What an operator should know comes with it.
///
/// # Errors
/// When an index is signed and can't be built on.
pub fn begin<'a>(
    config: &Config,
    places: Places<'_>,
    roles: RoleKeys<'a>,
    cache: &mut dyn Cache,
    pool: &ThreadPool,
) -> Result<(Standing<'a>, Vec<String>), Error> {
    let mut warnings = Vec::new();
    let mut source = None;
    if places.output.is_some() && !metadata_in(places.source)?.is_empty() {
        let channel = chain::read(places.source, &config.channel)?;
        let generation = verified(Arc::new(channel), places.source, &roles.anchors, pool);
        source = accepted(config, generation, &mut warnings)?.map(|found| found.targets);
    }
    let files = metadata_in(places.target())?;
    if files.is_empty() {
        demand_still_signed(&config.channel, cache)?;
        let target = None;
        return Ok((Standing { target, source }, warnings));
    }
    let (basis, before) = basis(
        config,
        places,
        &roles.anchors,
        (&mut *cache, pool),
        &mut warnings,
    )?;
    let seen = cache.seen(&Versions::new(), Seen::Higher)?;
    let known_root = seen.get(Role::Root.as_str()).copied();
    let index_keys = before.root.keys(Role::Targets).into_iter();
    let index_keys: Keys = index_keys.map(|key| key.fingerprint).collect();
    let target = Some(Signed {
        basis,
        is_root_new: known_root.is_some_and(|known| known < before.root.version()),
        floor: floor(&before.versions, &seen, &files),
        before,
        files,
        key: SigningKey::among(roles.open, roles.check, index_keys),
    });
    Ok((Standing { target, source }, warnings))
}

/// What is believed of the place where the run writes, and the generation before.
fn basis(
    config: &Config,
    places: Places<'_>,
    anchors: &[Fingerprint],
    (cache, pool): (&mut dyn Cache, &ThreadPool),
    warnings: &mut Vec<String>,
) -> Result<(Basis, Generation), Error> {
    let storage = places.target();
    let files = chain::read(storage, &config.channel)?;
    let seen = cache.seen(&Versions::new(), Seen::Higher)?;
    let has_timestamp = files.has(TIMESTAMP);
    let is_first = !has_timestamp && is_first(&seen, &metadata_in(storage)?);
    let files = Arc::new(files);
    // Whatever may be accepted, it has a root that is trusted.
    let root = newest_root(files.as_ref(), anchors)?;
    let mut found = match is_first {
        true => (Basis::First, claimed(files.as_ref(), root.clone())?),
        false => {
            let generation = verified(Arc::clone(&files), storage, anchors, pool);
            match accepted(config, generation, warnings)? {
                Some(generation) => (Basis::Verified, generation),
                None => (Basis::Accepted, claimed(files.as_ref(), root.clone())?),
            }
        }
    };
    if let Some(why) = rolled_back(&found.1, &seen) {
        let error = Error::SignedIndex {
            place: config.channel.clone(),
            why,
        };
        if !config.signed.accept {
            return Err(error);
        }
        if found.0 == Basis::Verified {
            warnings.push(taken(&error));
            found.0 = Basis::RolledBack;
        }
    }
    // The root is remembered with the generation that is signed under it.
    let mut seen = match found.0 {
        _ if config.dry_run => Versions::new(),
        Basis::Verified => versions(&found.1),
        Basis::First => [(Role::Timestamp.as_str().to_owned(), 0)].into(),
        Basis::RolledBack | Basis::Accepted => Versions::new(),
    };
    seen.remove(Role::Root.as_str());
    cache.seen(&seen, Seen::Higher)?;
    Ok(found)
}

/// Whether nothing was ever signed here: no generation lies there or was seen, but for one that a run of this machine
/// began and did not end.
fn is_first(seen: &Versions, files: &[Metadata]) -> bool {
    match seen.get(Role::Timestamp.as_str()) {
        Some(0) => true,
        Some(_) => false,
        None => files.iter().all(|file| file.role == Role::Root),
    }
}

/// A generation's versions, for the memory.
pub(super) fn versions(generation: &Generation) -> Versions {
    let of = |(role, version): (&Role, &u64)| (role.as_str().to_owned(), *version);
    generation.versions.iter().map(of).collect()
}

/// Why a generation is older than what this machine saw, if it is.
fn rolled_back(found: &Generation, seen: &Versions) -> Option<String> {
    Role::ALL.into_iter().find_map(|role| {
        let (seen, found) = (*seen.get(role.as_str())?, *found.versions.get(&role)?);
        (found < seen).then(|| {
            format!(
                "its {} metadata is of version {found}, and this machine saw version {seen}: the channel was put back to an older state",
                role.as_str()
            )
        })
    })
}

/// The next versions lie above all that were seen or lie there, so that no name ever stands for two contents.
fn floor(
    versions: &BTreeMap<Role, u64>,
    seen: &Versions,
    files: &[Metadata],
) -> BTreeMap<Role, u64> {
    let above = |(role, version): (&Role, &u64)| {
        let seen = seen.get(role.as_str()).copied().unwrap_or(0);
        let known = seen.max(*version);
        let most = known.saturating_add(MOST_ABOVE);
        let lying = files.iter().filter(|file| file.role == *role);
        let lying = lying.map(|file| file.version).filter(|it| *it <= most);
        (*role, lying.max().unwrap_or(0).max(known))
    };
    versions.iter().map(above).collect()
}

/// A generation: its chain, and every file that it names.
fn verified(
    channel: Arc<MemoryUpstream>,
    storage: &dyn Storage,
    anchors: &[Fingerprint],
    pool: &ThreadPool,
) -> Result<Generation, Error> {
    let generation = load(Loading {
        upstream: channel,
        anchor: Anchor::Pinned(anchors),
        memory: None,
        expired: Expired::Allowed,
    })?;
    let hold = |(name, target): (&String, &Target)| publish::signed::hold(storage, name, target);
    pool.install(|| generation.targets.par_iter().try_for_each(hold))?;
    Ok(generation)
}

/// A generation that does not hold is an error, or with `--accept-index` a warning.
fn accepted(
    config: &Config,
    generation: Result<Generation, Error>,
    warnings: &mut Vec<String>,
) -> Result<Option<Generation>, Error> {
    let error = match generation {
        Ok(generation) => return Ok(Some(generation)),
        Err(Error::Metadata(why)) => Error::SignedIndex {
            place: config.channel.clone(),
            why,
        },
        Err(error @ Error::SignedIndex { .. }) => error,
        Err(other) => return Err(other),
    };
    if !config.signed.accept {
        return Err(error);
    }
    warnings.push(taken(&error));
    Ok(None)
}

fn taken(error: &Error) -> String {
    let Error::SignedIndex { place, why } = error else {
        return error.to_string();
    };
    format!(
        "{place}: {why}; by --accept-index the index is taken as it stands, and a new generation begins"
    )
}

impl Signed<'_> {
    /// What tells what was published, instead of the plain files; `None` where these count as they stand.
    pub fn vouched(&self) -> Option<&Targets> {
        match self.basis {
            Basis::Verified | Basis::RolledBack => Some(&self.before.targets),
            Basis::First | Basis::Accepted => None,
        }
    }

    /// What the generation before names.
    pub fn known(&self) -> &Targets {
        &self.before.targets
    }

    /// The keys of the index and its root.
    pub fn role_keys(&self) -> Keys {
        let keys = Role::ALL.map(|role| self.before.root.keys(role));
        keys.into_iter()
            .flatten()
            .map(|key| key.fingerprint)
            .collect()
    }

    /// Whether the index key is at hand, as far as can be told without a passphrase.
    ///
    /// # Errors
    /// When it is not.
    pub fn check_key(&self) -> Result<(), Error> {
        self.key.check()
    }
}
