//! The generation that a run publishes. Owns what it names: the index files of this run, those of subdirs that the run
//! leaves as they are, and the keys whose signatures are listed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::load::{Basis, versions};
use super::{Listing, Next, Signed, SignedConfig, old};
use crate::channel::SubdirName;
use crate::error::Error;
use crate::keys::{KeyName, PublicKey};
use crate::publish::signed::{laid_down, target_of, vouched};
use crate::repodata::shards::SHARD_INDEX;
use crate::repodata::{REPODATA, Rank};
use crate::report::SignedIndex;
use crate::storage::{Change, Kind, Storage};
use crate::tuf::{
    FOLDER, Generation, Made, Role, Targets, due, key_name, key_target, make, metadata,
};

/// In milliseconds.
const DAY: i64 = 24 * 3_600 * 1_000;

impl Signed<'_> {
    /// The generation that follows; that before where nothing it names has changed.
    ///
    /// # Errors
    /// When the index key can't be opened or may not sign, or what stands there can't be read.
    pub fn next(&self, listing: Listing<'_>, config: SignedConfig) -> Result<Next, Error> {
        let mut next = Naming {
            targets: listing.targets.clone(),
            changes: Vec::new(),
            warnings: Vec::new(),
        };
        let carried = self.carry(&listing, &mut next)?;
        self.name_keys(&listing, &carried, &mut next)?;
        let Naming {
            targets,
            mut changes,
            mut warnings,
        } = next;
        let is_new = match self.basis {
            Basis::Verified => self.is_root_new || targets != self.before.targets,
            Basis::RolledBack | Basis::First | Basis::Accepted => true,
        };
        let mut generation = self.before.clone();
        if is_new {
            let made = self.made(&targets, &listing, config.clock)?;
            changes.extend(files(made.metadata, Rank::Metadata));
            changes.extend(files(vec![made.timestamp], Rank::Timestamp));
            generation = made.generation;
        }
        let current = old::Current {
            generation: &generation,
            targets: &targets,
            is_new,
        };
        changes.extend(old::retired(
            listing.storage,
            &self.files,
            &current,
            config,
        )?);
        warnings.extend(self.times(&generation, is_new, listing.channel, config.clock));
        Ok(Next {
            changes,
            versions: versions(&generation),
            report: said(&generation, is_new, config.clock),
            warnings,
        })
    }

    /// New metadata; in a dry run its names alone.
    fn made(&self, targets: &Targets, listing: &Listing<'_>, now: i64) -> Result<Made, Error> {
        let root = &self.before.root;
        let lifetimes = root.lifetimes();
        if !listing.dry_run {
            let signer = self.key.signer()?;
            let mut before = self.before.clone();
            before.versions.clone_from(&self.floor);
            let made = make(root, Some(&before), targets, &lifetimes, signer, now);
            return Ok(made?);
        }
        self.key.check()?;
        let mut generation = self.before.clone();
        generation.targets = targets.clone();
        for role in [Role::Targets, Role::Snapshot, Role::Timestamp] {
            let version = self.floor.get(&role).copied().unwrap_or(0);
            generation.versions.insert(role, version.saturating_add(1));
            generation.expires.insert(role, lifetimes.until(role, now));
        }
        generation.expires.insert(Role::Root, root.expires());
        let version = |role| generation.versions.get(&role).copied().unwrap_or(1);
        let file = |role| (metadata(role, version(role)), Vec::new());
        Ok(Made {
            metadata: vec![file(Role::Targets), file(Role::Snapshot)],
            timestamp: file(Role::Timestamp),
            generation: generation.clone(),
        })
    }

    /// Names the files of subdirs that this run leaves as they are and that are still there; which subdirs these are.
    fn carry(&self, listing: &Listing<'_>, next: &mut Naming) -> Result<BTreeSet<String>, Error> {
        let items = listing.storage.list("")?.into_iter();
        let folders: BTreeSet<String> = items
            .filter(|item| item.kind == Kind::Folder)
            .filter_map(|item| SubdirName::chosen(item.name.to_str()?))
            .map(|name| name.to_string())
            .filter(|name| name != FOLDER)
            .filter(|name| !listing.walked.iter().any(|walked| walked.as_str() == name))
            .collect();
        let mut carried = BTreeSet::new();
        for (name, target) in &self.before.targets {
            let Some((subdir, _)) = name.split_once('/') else {
                continue;
            };
            if key_name(name).is_none() && folders.contains(subdir) {
                carried.insert(subdir.to_owned());
                next.targets.insert(name.clone(), *target);
            }
        }
        for subdir in folders.difference(&carried) {
            if is_published(listing.storage, subdir) {
                next.warnings.push(format!(
                    "{subdir}: its index is not signed: no generation names it, and this run does not take it in; run once with --subdir {subdir}, or without --subdir"
                ));
            }
        }
        Ok(carried)
    }

    /// Names the keys whose signatures are listed.
    fn name_keys(
        &self,
        listing: &Listing<'_>,
        carried: &BTreeSet<String>,
        next: &mut Naming,
    ) -> Result<(), Error> {
        let roles = self.role_keys();
        let earlier = self.earlier_keys(listing.storage)?;
        for (fingerprint, name) in &listing.keys {
            if roles.contains(fingerprint) {
                return Err(Error::RoleKey { name: name.clone() });
            }
            let known = listing.known_keys.iter().copied();
            let mut known = known.chain(earlier.values());
            let Some(key) = known.find(|key| key.fingerprint() == *fingerprint) else {
                next.warnings.push(format!(
                    "the key {name} ({fingerprint}) made signatures that are listed, and is not in the keys folder: it is not among the keys that the signed index names"
                ));
                continue;
            };
            next.add_key(listing.storage, key)?;
        }
        // What a subdir lists whose records were not read is not known: its keys stay.
        let untold = |subdir: &String| !listing.told.iter().any(|told| told.as_str() == subdir);
        if carried.iter().any(untold) {
            for key in earlier.values() {
                next.add_key(listing.storage, key)?;
            }
        }
        Ok(())
    }

    /// The keys that the generation before names.
    fn earlier_keys(&self, storage: &dyn Storage) -> Result<BTreeMap<KeyName, PublicKey>, Error> {
        let mut keys = BTreeMap::new();
        for (target, length) in &self.before.targets {
            if let Some(name) = key_name(target) {
                let pem = vouched(storage, target, length)?;
                if let Ok(key) = PublicKey::from_pem(name.clone(), &pem) {
                    keys.insert(name, key);
                }
            }
        }
        Ok(keys)
    }

    /// What an operator should know of the times of a generation.
    fn times(&self, now: &Generation, is_new: bool, channel: &str, clock: i64) -> Vec<String> {
        let mut warnings = Vec::new();
        let due = match (is_new, self.basis) {
            (false, _) => due(now, &now.root.lifetimes(), clock),
            (true, Basis::Verified | Basis::RolledBack) => {
                due(&self.before, &now.root.lifetimes(), clock)
            }
            (true, Basis::First | Basis::Accepted) => Vec::new(),
        };
        let mut renew = false;
        for role in due {
            let expires = self.before.expires.get(&role).copied().unwrap_or_default();
            let left = expires.saturating_sub(clock).div_euclid(DAY);
            let word = role.as_str();
            let is_renewed = is_new && role != Role::Root;
            match (left < 0, is_renewed) {
                (true, true) => warnings.push(format!("{channel}: the {word} metadata had expired, and is renewed by this run")),
                (true, false) => warnings.push(format!("{channel}: the {word} metadata has expired: clients that check it refuse the channel")),
                (false, false) => warnings.push(format!("{channel}: the {word} metadata is good for {left} more days, less than a third of its time")),
                (false, true) => {}
            }
            renew |= !is_renewed && role != Role::Root;
            if role == Role::Root {
                warnings.push(format!(
                    "{channel}: sign the next root metadata with `sigindex trust root`"
                ));
            }
        }
        if renew {
            warnings.push(format!("{channel}: nothing changed, and so nothing was renewed; `sigindex trust refresh {channel}` renews it"));
        }
        warnings
    }
}

/// A generation in the making.
struct Naming {
    targets: Targets,
    changes: Vec<(Rank, Change)>,
    warnings: Vec<String>,
}

impl Naming {
    fn add_key(&mut self, storage: &dyn Storage, key: &PublicKey) -> Result<(), Error> {
        let (name, pem) = (key_target(key.name()), key.to_pem().as_bytes().to_vec());
        let target = target_of(&pem);
        if let Some(other) = self.targets.get(&name) {
            if *other != target {
                self.warnings.push(format!(
                    "two keys called {} made signatures that are listed; the signed index names one of them",
                    key.name()
                ));
            }
            return Ok(());
        }
        self.changes
            .extend(laid_down(storage, &name, &target, Arc::new(pem))?);
        self.targets.insert(name, target);
        Ok(())
    }
}

fn files(made: Vec<(String, Vec<u8>)>, rank: Rank) -> impl Iterator<Item = (Rank, Change)> {
    let files = made.into_iter();
    files.map(move |(path, content)| {
        let content = Arc::new(content);
        (rank, Change::Write { path, content })
    })
}

/// Whether an index lies in a folder, as far as that can be told.
fn is_published(storage: &dyn Storage, subdir: &str) -> bool {
    let mut files = [REPODATA, SHARD_INDEX].into_iter();
    files.any(|name| matches!(storage.stat(&format!("{subdir}/{name}")), Ok(Some(_))))
}

/// What the report says of a generation.
fn said(generation: &Generation, is_new: bool, clock: i64) -> SignedIndex {
    let name = |role: Role| role.as_str().to_owned();
    let versions = generation.versions.iter();
    let expires = generation.expires.iter();
    let days = |expires: i64| expires.saturating_sub(clock).div_euclid(DAY);
    SignedIndex {
        new: is_new,
        versions: versions
            .map(|(role, version)| (name(*role), *version))
            .collect(),
        days_left: expires
            .map(|(role, expires)| (name(*role), days(*expires)))
            .collect(),
    }
}
