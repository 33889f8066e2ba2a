//! THE MIRROR: is a file, or every package of a channel, signed by a key in the keys folder? Reads all
//! of every file and never asks the cache. Judges signatures alone; writes nothing.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use rayon::ThreadPool;
use rayon::prelude::*;

use crate::channel::SubdirName;
use crate::error::Error;
use crate::keys::Keyring;
use crate::package::{self, Format, PackageError, ReadOptions};
use crate::progress::Progress;
use crate::sidecar;
use crate::signature::{Check, Signature, check};
use crate::storage::{Item, Kind, Links, LocalStorage, Storage};

/// What verifying works with.
pub struct Tools<'a> {
    /// The public keys.
    pub keyring: &'a Keyring,
    /// The smallest key that counts, in bits.
    pub min_bits: u32,
    /// The threads.
    pub pool: &'a ThreadPool,
    /// What people see meanwhile.
    pub progress: &'a Progress,
    /// Set when the run is to stop soon.
    pub cancelled: &'a AtomicBool,
}

/// One file, verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The file, as it was named.
    pub file: PathBuf,
    /// What came out.
    pub verdict: Verdict,
}

/// What verifying a file gives. What can't be checked is an error, never valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Signed by a key in the keys folder.
    Valid,
    /// The signature does not hold for these bytes.
    Invalid,
    /// It can't be told, and why.
    Error(String),
}

/// Verifies files, and every package of folders.
///
/// # Errors
/// Only when the run was interrupted: everything else is a file's verdict.
pub fn verify(targets: &[PathBuf], tools: &Tools<'_>) -> Result<Vec<Verified>, Error> {
    let mut found = Vec::new();
    for target in targets {
        if target.is_dir() {
            found.extend(packages_of(target));
        } else {
            found.push((target.clone(), None));
        }
    }
    tools
        .progress
        .start(u64::try_from(found.len()).unwrap_or(u64::MAX), 0);
    let verified = tools.pool.install(|| {
        let one = |(file, fault): Found| {
            let verdict = match fault {
                Some(why) => Verdict::Error(why),
                None => verify_file(&file, tools)?,
            };
            tools.progress.package();
            Ok(Verified { file, verdict })
        };
        found.into_par_iter().map(one).collect()
    });
    tools.progress.finish();
    verified
}

/// A file to verify, or why it can't be.
type Found = (PathBuf, Option<String>);

/// Every package in a folder and in the folders in it, whatever their names: a channel, or a subdir.
fn packages_of(folder: &Path) -> Vec<Found> {
    let mut found = Vec::new();
    for item in packages_in(folder, &mut found) {
        let path = folder.join(&item.name);
        let is_subdir = item
            .name
            .to_str()
            .is_some_and(|name| SubdirName::standard(name).is_some());
        match item.kind {
            Kind::Folder => drop(packages_in(&path, &mut found)),
            Kind::Link if is_subdir => {
                found.push((
                    path,
                    Some("is a symbolic link, which is not entered".to_owned()),
                ));
            }
            _ => {}
        }
    }
    found.sort();
    if found.is_empty() {
        found.push((
            folder.to_owned(),
            Some("there is no package in it".to_owned()),
        ));
    }
    found
}

/// Adds the packages that lie in a folder itself; gives what else is there.
fn packages_in(folder: &Path, found: &mut Vec<Found>) -> Vec<Item> {
    let listed = LocalStorage::open(folder).and_then(|storage| storage.list(""));
    let items = listed.unwrap_or_else(|error| {
        found.push((folder.to_owned(), Some(error.to_string())));
        Vec::new()
    });
    let shown = items
        .into_iter()
        .filter(|item| !item.name.as_encoded_bytes().starts_with(b"."));
    let (packages, others) = shown.partition(|item: &Item| {
        let is_file = matches!(item.kind, Kind::File | Kind::Link);
        is_file && Format::of(&item.name.to_string_lossy()).is_some()
    });
    let packages: Vec<Item> = packages;
    found.extend(
        packages
            .into_iter()
            .map(|item| (folder.join(item.name), None)),
    );
    others
}

fn verify_file(file: &Path, tools: &Tools<'_>) -> Result<Verdict, Error> {
    let options = ReadOptions {
        check_archives: false,
        cancelled: tools.cancelled,
        progress: &|count| tools.progress.bytes(count),
    };
    Ok(match signature_of(file) {
        Err(why) => Verdict::Error(why),
        Ok((signature, storage, name)) => {
            let digests = match storage.open(&name, Links::Follow) {
                Err(error) => return Ok(Verdict::Error(error.to_string())),
                Ok((open, _)) => package::digest(&open, &options),
            };
            match digests {
                Err(PackageError::Cancelled) => return Err(Error::Interrupted),
                Err(error) => Verdict::Error(error.to_string()),
                Ok(digests) => {
                    match check(&signature, &digests.sha256, tools.keyring, tools.min_bits) {
                        Check::Valid { .. } => Verdict::Valid,
                        Check::Invalid(_) => Verdict::Invalid,
                        other => Verdict::Error(other.to_string()),
                    }
                }
            }
        }
    })
}

/// Reads `FILE.sig`; gives the folder of both, and the file's name in it.
fn signature_of(file: &Path) -> Result<(Signature, LocalStorage, String), String> {
    let (storage, name) = sidecar::place_of(file)?;
    if !sidecar::is_there(&storage, &name) {
        return Err("no such file".to_owned());
    }
    let path = name.clone() + sidecar::SUFFIX;
    if !sidecar::is_there(&storage, &path) {
        return Err(format!("no signature: {path} is missing"));
    }
    let (signature, _) = sidecar::read(&storage, &path)?;
    Ok((signature, storage, name))
}
