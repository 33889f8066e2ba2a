//! THE MIRROR: is a file, or every package of a channel, signed by a key in the keys folder? Reads all
//! of every file and never asks the cache. Judges signatures alone; writes nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rayon::ThreadPool;
use rayon::prelude::*;

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

/// A file to verify.
pub(crate) struct Found {
    /// As it is shown.
    pub(crate) file: PathBuf,
    /// Where it lies.
    pub(crate) place: Place,
}

/// Where a file lies.
pub(crate) enum Place {
    /// In the folder that its path names.
    Alone,
    /// In a folder that was named whole, by its path there.
    In(Arc<LocalStorage>, String),
    /// Where it can't be verified, and why.
    Nowhere(String),
}

/// Verifies files, and every package of folders.
///
/// # Errors
/// Only when the run was interrupted: everything else is a file's verdict.
pub fn verify(targets: &[PathBuf], tools: &Tools<'_>) -> Result<Vec<Verified>, Error> {
    let mut found = Vec::new();
    for target in targets {
        match target.is_dir() {
            true => found.extend(all_of(target)),
            false => found.push(Found {
                file: target.clone(),
                place: Place::Alone,
            }),
        }
    }
    let count = u64::try_from(found.len()).unwrap_or(u64::MAX);
    tools.progress.start(count, 0);
    let verified = tools.pool.install(|| {
        let one = |found| {
            let verified = look(found, tools)?;
            tools.progress.package();
            Ok(verified)
        };
        found.into_par_iter().map(one).collect()
    });
    tools.progress.finish();
    verified
}

/// Verifies one file.
///
/// # Errors
/// Only when the run was interrupted.
pub(crate) fn look(Found { file, place }: Found, tools: &Tools<'_>) -> Result<Verified, Error> {
    let verdict = match place {
        Place::Nowhere(why) => Verdict::Error(why),
        Place::In(storage, name) => judge(&storage, &name, tools)?,
        Place::Alone => match sidecar::place_of(&file) {
            Ok((storage, name)) => judge(&storage, &name, tools)?,
            Err(why) => Verdict::Error(why),
        },
    };
    Ok(Verified { file, verdict })
}

/// Every package of a folder that was named, in which there should be some.
fn all_of(root: &Path) -> Vec<Found> {
    let mut found = packages_of(root);
    if found.is_empty() {
        found.push(Found {
            file: root.to_owned(),
            place: Place::Nowhere("there is no package in it".to_owned()),
        });
    }
    found
}

/// Every package below a folder, be it a channel, one of its subdirs, or a folder of channels. What can't
/// be looked into is found, too: it may hold packages.
pub(crate) fn packages_of(root: &Path) -> Vec<Found> {
    let nowhere = |file: PathBuf, why: String| Found {
        file,
        place: Place::Nowhere(why),
    };
    let storage = match LocalStorage::open(root) {
        Ok(storage) => Arc::new(storage),
        Err(error) => return vec![nowhere(root.to_owned(), error.to_string())],
    };
    let mut found = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let items = match storage.list(&folder) {
            Ok(items) => items,
            Err(error) => {
                found.push(nowhere(root.join(&folder), error.to_string()));
                continue;
            }
        };
        for item in items.iter().filter(|item| !is_hidden(item)) {
            let file = root.join(&folder).join(&item.name);
            let is_package = Format::of_os(&item.name).is_some();
            let name = item.name.to_str().map(|name| format!("{folder}{name}"));
            match (item.kind, name) {
                (Kind::Folder, Some(name)) => folders.push(name + "/"),
                (Kind::Link, _) if file.is_dir() => {
                    found.push(nowhere(
                        file,
                        "is a link to a folder, which is not entered".to_owned(),
                    ));
                }
                (_, Some(name)) if is_package => {
                    found.push(Found {
                        file,
                        place: Place::In(Arc::clone(&storage), name),
                    });
                }
                (kind, None) if is_package || kind == Kind::Folder => {
                    found.push(nowhere(file, "its name is not UTF-8; rename it".to_owned()));
                }
                _ => {}
            }
        }
    }
    found.sort_by(|a, b| a.file.cmp(&b.file));
    found
}

fn is_hidden(item: &Item) -> bool {
    item.name.as_encoded_bytes().starts_with(b".")
}

fn judge(storage: &LocalStorage, name: &str, tools: &Tools<'_>) -> Result<Verdict, Error> {
    let signature = match signature_of(storage, name) {
        Ok(signature) => signature,
        Err(why) => return Ok(Verdict::Error(why)),
    };
    let open = match storage.open(name, Links::Follow) {
        Ok((open, _)) => open,
        Err(error) => return Ok(Verdict::Error(error.to_string())),
    };
    let options = ReadOptions {
        check_archives: false,
        cancelled: tools.cancelled,
        progress: &|count| tools.progress.bytes(count),
    };
    let digests = match package::digest(&open, &options) {
        Ok(digests) => digests,
        Err(PackageError::Cancelled) => return Err(Error::Interrupted),
        Err(error) => return Ok(Verdict::Error(error.to_string())),
    };
    Ok(
        match check(&signature, &digests.sha256, tools.keyring, tools.min_bits) {
            Check::Valid { .. } => Verdict::Valid,
            Check::Invalid(_) => Verdict::Invalid,
            other => Verdict::Error(other.to_string()),
        },
    )
}

/// Reads `FILE.sig`.
fn signature_of(storage: &LocalStorage, name: &str) -> Result<Signature, String> {
    if !sidecar::is_there(storage, name) {
        return Err("no such file".to_owned());
    }
    let path = name.to_owned() + sidecar::SUFFIX;
    if !sidecar::is_there(storage, &path) {
        return Err(format!("no signature: {path} is missing"));
    }
    Ok(sidecar::read(storage, &path)?.0)
}
