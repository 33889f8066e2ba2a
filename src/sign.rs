//! `FILE.sig` for any file. Owns the order: read the file once, look at the signature that is there,
//! sign, log, write. Knows nothing of channels.

use std::collections::{BTreeMap, HashSet};
use std::io::Seek as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rayon::ThreadPool;
use rayon::prelude::*;

use crate::error::Error;
use crate::index::SigningKey;
use crate::keys::Keyring;
use crate::package::{self, PackageError, ReadOptions};
use crate::progress::Progress;
use crate::record::hex;
use crate::sidecar;
use crate::signature::{self, Check, Signature, reads_as_metadata};
use crate::signing_log::{Signed, SigningLog};
use crate::storage::{Change, Links, LocalStorage, Storage};

/// How many files are signed before their signatures are written.
const BATCH: usize = 1_000;

/// What signing works with.
pub struct Tools<'a> {
    /// The public keys.
    pub keyring: &'a Keyring,
    /// The private key.
    pub key: &'a SigningKey<'a>,
    /// The smallest key that counts, in bits.
    pub min_bits: u32,
    /// Overwrite signatures that are invalid, unknown, or by another key.
    pub force: bool,
    /// Where signatures are logged.
    pub log: Option<&'a mut SigningLog>,
    /// The threads.
    pub pool: &'a ThreadPool,
    /// What people see meanwhile.
    pub progress: &'a Progress,
    /// Set when the run is to stop soon.
    pub cancelled: &'a AtomicBool,
}

/// What became of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Signed now.
    Signed,
    /// A valid signature was there.
    Kept,
    /// It is a signature itself.
    Skipped,
    /// It was not signed, and why.
    Failed(String),
}

/// A signature that has yet to be written.
struct Made {
    /// Where its file stands in its batch.
    position: usize,
    file: PathBuf,
    signature: Signature,
    /// Whether it replaces one that is there; else none may be there.
    replaces: bool,
    sha256: [u8; 32],
}

impl Made {
    /// Only what is read back counts as written.
    fn is_there(&self) -> bool {
        sidecar::place_of(&self.file).is_ok_and(|(storage, name)| {
            let read = sidecar::read(&storage, &(name + sidecar::SUFFIX));
            read.is_ok_and(|(found, _)| found == self.signature)
        })
    }
}

/// Signs files; gives what became of each, in their order.
///
/// # Errors
/// When no file can be signed at all, a signature or the log can't be written, or the run was interrupted.
pub fn sign(files: &[PathBuf], mut tools: Tools<'_>) -> Result<Vec<Outcome>, Error> {
    tools
        .progress
        .start(u64::try_from(files.len()).unwrap_or(u64::MAX), 0);
    let mut outcomes = Vec::with_capacity(files.len());
    // In batches, so that what was signed stays when a later file stops the run.
    let done = files.chunks(BATCH).try_for_each(|batch| {
        let (mut batch_outcomes, made) = sign_batch(batch, &tools)?;
        write(&made, &mut tools)?;
        for one in made.iter().filter(|one| !one.is_there()) {
            if let Some(outcome) = batch_outcomes.get_mut(one.position) {
                let why = "somebody else put a signature beside it while it was signed; run again";
                *outcome = Outcome::Failed(why.to_owned());
            }
        }
        outcomes.extend(batch_outcomes);
        Ok(())
    });
    tools.progress.finish();
    done.map(|()| outcomes)
}

fn sign_batch(files: &[PathBuf], tools: &Tools<'_>) -> Result<(Vec<Outcome>, Vec<Made>), Error> {
    let first = firsts(files);
    let one = |(position, file): (usize, &PathBuf)| {
        let result = match first.contains(&position) {
            true => sign_one(file, position, tools),
            false => Ok((Outcome::Kept, None)),
        };
        tools.progress.package();
        result
    };
    let results: Vec<_> = tools.pool.install(|| {
        files
            .par_iter()
            .enumerate()
            .map(one)
            .collect::<Result<_, _>>()
    })?;
    let (outcomes, made): (Vec<Outcome>, Vec<Option<Made>>) = results.into_iter().unzip();
    Ok((outcomes, made.into_iter().flatten().collect()))
}

/// The positions of files that were not named before, under whatever name.
fn firsts(files: &[PathBuf]) -> HashSet<usize> {
    let mut seen = HashSet::new();
    let real = |file: &PathBuf| file.canonicalize().unwrap_or_else(|_| file.clone());
    let files = files.iter().enumerate();
    files
        .filter(|(_, file)| seen.insert(real(file)))
        .map(|(position, _)| position)
        .collect()
}

fn sign_one(
    file: &Path,
    position: usize,
    tools: &Tools<'_>,
) -> Result<(Outcome, Option<Made>), Error> {
    if file.extension().is_some_and(|extension| extension == "sig") {
        return Ok((Outcome::Skipped, None));
    }
    let failed = |why: String| Ok((Outcome::Failed(why), None));
    if file.is_dir() {
        return failed(
            "is a folder; sign the packages of a channel with `sigindex FOLDER`".to_owned(),
        );
    }
    let (storage, name) = match sidecar::place_of(file) {
        Ok(place) => place,
        Err(why) => return failed(why),
    };
    let sha256 = match digest(&storage, &name, tools)? {
        Ok(sha256) => sha256,
        Err(why) => return failed(why),
    };
    let standing = standing(&storage, &name, &sha256, tools)?;
    let replaces = standing.is_some();
    match standing {
        Some(Outcome::Kept) => return Ok((Outcome::Kept, None)),
        Some(outcome) if !tools.force => return Ok((outcome, None)),
        _ => {}
    }
    let signature = signature::sign(tools.key.signer()?, &sha256).map_err(|error| Error::Sign {
        path: file.display().to_string(),
        cause: error.to_string(),
    })?;
    Ok((
        Outcome::Signed,
        Some(Made {
            position,
            file: file.to_owned(),
            signature,
            replaces,
            sha256,
        }),
    ))
}

/// The file's SHA-256; the inner error is the file's own.
fn digest(
    storage: &LocalStorage,
    name: &str,
    tools: &Tools<'_>,
) -> Result<Result<[u8; 32], String>, Error> {
    let options = ReadOptions {
        check_archives: false,
        cancelled: tools.cancelled,
        progress: &|count| tools.progress.bytes(count),
    };
    let open = match storage.open(name, Links::Follow) {
        Ok((open, _)) => open,
        Err(error) => return Ok(Err(error.to_string())),
    };
    if reads_as_metadata(&open) {
        let why = "is metadata of a signed index (TUF), and its signature could be passed off as that of an index; `sigindex trust` signs those, with keys of their own";
        return Ok(Err(why.to_owned()));
    }
    if let Err(cause) = (&open).rewind() {
        return Ok(Err(format!("can't be read: {cause}")));
    }
    match package::digest(&open, &options) {
        Ok(digests) => Ok(Ok(digests.sha256)),
        Err(PackageError::Cancelled) => Err(Error::Interrupted),
        Err(error) => Ok(Err(error.to_string())),
    }
}

/// What the signature that is there makes of a file; `None` when there is none.
fn standing(
    storage: &LocalStorage,
    name: &str,
    sha256: &[u8; 32],
    tools: &Tools<'_>,
) -> Result<Option<Outcome>, Error> {
    let path = name.to_owned() + sidecar::SUFFIX;
    if !sidecar::is_there(storage, &path) {
        return Ok(None);
    }
    let why = match sidecar::read(storage, &path) {
        Err(why) => why,
        Ok((found, _)) => match signature::check(&found, sha256, tools.keyring, tools.min_bits) {
            Check::Valid { fingerprint, .. } => {
                let ours =
                    !tools.force || tools.key.signer()?.public_key().fingerprint() == fingerprint;
                return Ok(Some(if ours {
                    Outcome::Kept
                } else {
                    Outcome::Failed("is signed by another key".to_owned())
                }));
            }
            other => other.to_string(),
        },
    };
    Ok(Some(Outcome::Failed(format!(
        "has a signature that does not hold: {why}; overwrite it with --force"
    ))))
}

/// Logs the signatures, then puts them in place, folder by folder.
fn write(made: &[Made], tools: &mut Tools<'_>) -> Result<(), Error> {
    if made.is_empty() {
        return Ok(());
    }
    if let Some(log) = tools.log.as_deref_mut() {
        let lines = made.iter().map(|made| Signed {
            file: made.file.display().to_string(),
            sha256: hex(&made.sha256),
        });
        let lines: Vec<Signed> = lines.collect();
        log.append(tools.key.signer()?.public_key(), &lines)?;
    }
    let mut folders: BTreeMap<PathBuf, (LocalStorage, Vec<Change>)> = BTreeMap::new();
    for made in made {
        let path = made.file.display().to_string();
        let (storage, name) =
            sidecar::place_of(&made.file).map_err(|cause| Error::Sign { path, cause })?;
        let folder = folders
            .entry(storage.root().to_owned())
            .or_insert((storage, Vec::new()));
        let (path, content) = (
            name + sidecar::SUFFIX,
            Arc::new(made.signature.to_file_bytes()),
        );
        folder.1.push(match made.replaces {
            true => Change::Write { path, content },
            false => Change::Create { path, content },
        });
    }
    let mut folders = folders.into_values();
    folders.try_for_each(|(storage, changes)| Ok(storage.apply(changes)?))
}
