//! Generations that are not the newest any more. Owns how long they stay, so that a client that began with one ends
//! with it.

use std::collections::BTreeSet;

use super::{Metadata, SignedConfig};
use crate::error::Error;
use crate::publish;
use crate::record::is_sha256;
use crate::repodata::Rank;
use crate::storage::{Change, Kind, Storage, StorageError, is_left_over};
use crate::tuf::{
    FOLDER, Generation, MAX_TARGETS, Role, TARGETS, Targets, by_hash, by_hex, metadata,
};

/// How long a generation stays after the next one took its place, in milliseconds.
const GRACE: i64 = 3_600 * 1_000;

/// The generation that clients see after this run.
pub struct Current<'a> {
    /// Its metadata.
    pub generation: &'a Generation,
    /// What it names.
    pub targets: &'a Targets,
    /// Whether this run makes it.
    pub is_new: bool,
}

/// What goes: metadata and files by hash that neither the generation that clients see nor one that stays names.
///
/// # Errors
/// When a folder can't be listed, or metadata can't be read.
pub fn retired(
    storage: &dyn Storage,
    files: &[Metadata],
    current: &Current<'_>,
    config: SignedConfig,
) -> Result<Vec<(Rank, Change)>, Error> {
    let version = |role| current.generation.versions.get(&role).copied().unwrap_or(0);
    let mut metadata_kept = BTreeSet::from([
        metadata(Role::Snapshot, version(Role::Snapshot)),
        metadata(Role::Targets, version(Role::Targets)),
    ]);
    let named = current.targets.iter();
    let mut named: BTreeSet<String> = named
        .map(|(name, target)| by_hash(name, &target.sha256))
        .collect();
    for snapshot in kept(storage, files, current, config)? {
        let path = metadata(Role::Snapshot, snapshot);
        let targets = read(storage, &path)?;
        let targets = targets.and_then(|file| {
            file.get("signed")?
                .get("meta")?
                .get("targets.json")?
                .get("version")?
                .as_u64()
        });
        metadata_kept.insert(path);
        if let Some(version) = targets {
            let path = metadata(Role::Targets, version);
            named.extend(names(read(storage, &path)?));
            metadata_kept.insert(path);
        }
    }
    let lying = files.iter();
    let lying = lying.filter(|file| matches!(file.role, Role::Snapshot | Role::Targets));
    let mut gone: Vec<String> = lying
        .map(|file| metadata(file.role, file.version))
        .filter(|path| !metadata_kept.contains(path))
        .collect();
    // A folder of such a name is nobody's metadata, and may hold somebody's work.
    let odd = list(storage, FOLDER)?.into_iter();
    let odd = odd.filter(|(_, kind)| *kind == Kind::Folder);
    let odd: BTreeSet<String> = odd.map(|(name, _)| format!("{FOLDER}/{name}")).collect();
    gone.retain(|path| !odd.contains(path));
    gone.extend(unnamed(storage, &named)?);
    let change = |path| (Rank::Retired, Change::Remove { path });
    Ok(gone.into_iter().map(change).collect())
}

/// The generations before the current one that stay, by the versions of their snapshots.
fn kept(
    storage: &dyn Storage,
    files: &[Metadata],
    current: &Current<'_>,
    config: SignedConfig,
) -> Result<Vec<u64>, Error> {
    let newest = current
        .generation
        .versions
        .get(&Role::Snapshot)
        .copied()
        .unwrap_or(0);
    let earlier = files.iter().filter(|file| file.role == Role::Snapshot);
    let mut earlier: Vec<u64> = earlier
        .map(|file| file.version)
        .filter(|it| *it < newest)
        .collect();
    earlier.sort_unstable_by(|a, b| b.cmp(a));
    let mut kept = Vec::new();
    // Since when the generation after it is there: of the newest before this run's, since now.
    let mut superseded = match current.is_new {
        true => config.clock,
        false => made(storage, newest)?.unwrap_or(config.clock),
    };
    for (at, version) in earlier.into_iter().enumerate() {
        let is_young = config.clock.saturating_sub(superseded) < GRACE;
        if at.saturating_add(1) < config.keep || is_young {
            kept.push(version);
        }
        superseded = made(storage, version)?
            .unwrap_or(config.clock)
            .min(superseded);
    }
    Ok(kept)
}

/// When a snapshot was written, in Unix milliseconds.
fn made(storage: &dyn Storage, snapshot: u64) -> Result<Option<i64>, Error> {
    let stat = match storage.stat(&metadata(Role::Snapshot, snapshot)) {
        // What somebody planted under an old name tells no time, and stops nobody.
        Err(StorageError::Link(_) | StorageError::NotAFile(_) | StorageError::Outside(_)) => None,
        stat => stat?,
    };
    Ok(stat.map(|stat| stat.mtime.div_euclid(1_000_000)))
}

fn read(storage: &dyn Storage, path: &str) -> Result<Option<serde_json::Value>, Error> {
    let bytes = publish::existing(storage, path, MAX_TARGETS)?.file();
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// The files by hash that metadata names.
fn names(targets: Option<serde_json::Value>) -> BTreeSet<String> {
    let listed = targets
        .as_ref()
        .and_then(|file| file.get("signed")?.get("targets")?.as_object());
    let listed = listed.into_iter().flatten();
    let path = |(name, target): (&String, &serde_json::Value)| {
        let hash = target.get("hashes")?.get("sha256")?.as_str()?;
        Some(by_hex(name, hash))
    };
    listed.filter_map(path).collect()
}

/// Files by hash that nothing names, and what a run that was killed left.
fn unnamed(storage: &dyn Storage, named: &BTreeSet<String>) -> Result<Vec<String>, Error> {
    let mut gone = Vec::new();
    let mut folders = Vec::new();
    for (name, kind) in list(storage, TARGETS)? {
        // Names of targets have one folder at most.
        if kind == Kind::Folder {
            folders.push(format!("{TARGETS}/{name}"));
        }
    }
    folders.push(TARGETS.to_owned());
    for folder in folders {
        for (name, kind) in list(storage, &folder)? {
            let is_by_hash = name
                .split_once('.')
                .is_some_and(|(hash, _)| is_sha256(hash));
            let path = format!("{folder}/{name}");
            let goes = is_left_over(&name) || (is_by_hash && !named.contains(&path));
            if kind == Kind::File && goes {
                gone.push(path);
            }
        }
    }
    let metadata = list(storage, FOLDER)?.into_iter();
    let left = metadata.filter(|(name, kind)| *kind == Kind::File && is_left_over(name));
    gone.extend(left.map(|(name, _)| format!("{FOLDER}/{name}")));
    gone.sort();
    Ok(gone)
}

fn list(storage: &dyn Storage, folder: &str) -> Result<Vec<(String, Kind)>, Error> {
    let items = match storage.list(folder) {
        Ok(items) => items.into_iter(),
        Err(error) if error.is_absent() || error.is_no_folder() => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let named = |item: crate::storage::Item| Some((item.name.into_string().ok()?, item.kind));
    Ok(items.filter_map(named).collect())
}
