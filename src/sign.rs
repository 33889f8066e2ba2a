//! `FILE.sig` for any file. Owns the order: read the file once, look at the signature that is there,
//! sign, log, write. Knows nothing of channels.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rayon::ThreadPool;

use crate::error::Error;
use crate::index::{self, SigningKey};
use crate::keys::Keyring;
use crate::package::{self, PackageError, ReadOptions};
use crate::progress::Progress;
use crate::record::hex;
use crate::shown::{shown, told};
use crate::sidecar::{self, Folders};
use crate::signature::{self, Check, Signature, reads_as_metadata};
use crate::signing_log::{Signed, SigningLog};
use crate::storage::{Change, Links, LocalStorage, Storage, clear_abandoned};

/// Why a folder is not signed.
const A_FOLDER: &str = "is a folder; sign the packages of a channel with `sigindex FOLDER`";

/// Why a signature that was made does not stand.
const TAKEN: &str = "somebody else put a signature beside it while it was signed";

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

/// What became of one file, while others are under way.
struct Done {
    /// Where it stands among all files.
    position: usize,
    outcome: Outcome,
    /// Its signature, which has yet to be written.
    made: Option<Made>,
}

/// A signature that has yet to be written.
struct Made {
    /// The name of its file.
    name: String,
    signature: Signature,
    /// Whether it replaces one that is there; else none may be there.
    replaces: bool,
    sha256: [u8; 32],
}

/// Signs files; gives what became of each, in their order.
///
/// # Errors
/// When no file can be signed at all, a signature or the log can't be written, or the run was interrupted.
pub fn sign(files: &[PathBuf], mut tools: Tools<'_>) -> Result<Vec<Outcome>, Error> {
    let (progress, folders) = (tools.progress, Folders::default());
    progress.start(u64::try_from(files.len()).unwrap_or(u64::MAX), 0);
    let mut writer = Writer {
        files,
        folders: &folders,
        key: tools.key,
        log: tools.log.take(),
        outcomes: vec![Outcome::Kept; files.len()],
        tidied: BTreeSet::new(),
    };
    let firsts = firsts(files);
    let one = |position| {
        let is_named_first = firsts.get(position) == Some(&position);
        let file: Option<&PathBuf> = files.get(position).filter(|_| is_named_first);
        let (outcome, made) = match file {
            Some(file) => sign_one(file, &folders, &tools)?,
            None => (Outcome::Kept, None),
        };
        progress.package();
        Ok(Done {
            position,
            outcome,
            made,
        })
    };
    // What was signed is written meanwhile, and stays when a later file stops the run.
    let done = index::each(tools.pool, files.len(), one, |batch| writer.take(batch));
    progress.finish();
    done.map(|()| of_each(&firsts, &writer.outcomes))
}

/// For each file, the position at which it was named first. A file is its name in a folder, since that is what its
/// signature lies beside: links to one file are several.
fn firsts(files: &[PathBuf]) -> Vec<usize> {
    let (mut seen, mut last) = (HashMap::new(), None);
    let files = files.iter().enumerate();
    files
        .map(|(position, file)| *seen.entry(real(file, &mut last)).or_insert(position))
        .collect()
}

/// A file's name, in the one name of its folder. `last` is the folder that was looked up last, and its one name.
fn real<'f>(file: &'f Path, last: &mut Option<(&'f Path, PathBuf)>) -> PathBuf {
    let folder = sidecar::folder_of(file);
    if last.as_ref().is_none_or(|(known, _)| *known != folder) {
        // One that is not there has no other name.
        let real = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        *last = Some((folder, real));
    }
    match (file.file_name(), last) {
        (Some(name), Some((_, real))) => real.join(name),
        _ => file.to_owned(),
    }
}

/// What became of each file; of one that was named before, the same, and its signature is there by now.
fn of_each(firsts: &[usize], outcomes: &[Outcome]) -> Vec<Outcome> {
    let positions = firsts.iter().enumerate();
    positions
        .filter_map(|(position, first)| match outcomes.get(*first)? {
            Outcome::Signed if position != *first => Some(Outcome::Kept),
            outcome => Some(outcome.clone()),
        })
        .collect()
}

fn sign_one(
    file: &Path,
    folders: &Folders,
    tools: &Tools<'_>,
) -> Result<(Outcome, Option<Made>), Error> {
    // One that is not there is an error like any other file's.
    let is_signature = file.extension().is_some_and(|extension| extension == "sig");
    if is_signature && file.symlink_metadata().is_ok() {
        return Ok((Outcome::Skipped, None));
    }
    let failed = |why: String| match file.is_dir() {
        true => Outcome::Failed(A_FOLDER.to_owned()),
        false => Outcome::Failed(why),
    };
    let (storage, name) = match folders.place_of(file) {
        Ok(place) => place,
        Err(why) => return Ok((failed(why), None)),
    };
    let sha256 = match digest(&storage, &name, tools)? {
        Ok(sha256) => sha256,
        Err(why) => return Ok((failed(why), None)),
    };
    let standing = standing(&storage, &name, &sha256, tools)?;
    let replaces = standing.is_some();
    match standing {
        Some(Outcome::Kept) => return Ok((Outcome::Kept, None)),
        Some(outcome) if !tools.force => return Ok((outcome, None)),
        _ => {}
    }
    let signature = signature::sign(tools.key.signer()?, &sha256).map_err(|error| Error::Sign {
        path: shown(file),
        cause: error.to_string(),
    })?;
    let made = Made {
        name: name + sidecar::SUFFIX,
        signature,
        replaces,
        sha256,
    };
    Ok((Outcome::Signed, Some(made)))
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
    match package::digest_of(&open, &options, |bytes| reads_as_metadata(bytes)) {
        Ok((digests, false)) => Ok(Ok(digests.sha256)),
        Ok((_, true)) => Ok(Err("is metadata of a signed index (TUF), and its signature could be passed off as that of an index; `sigindex trust` signs those, with keys of their own".to_owned())),
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
    let read = match storage.stat(&path) {
        Ok(None) => return Ok(None),
        Ok(Some(_)) => sidecar::read(storage, &path),
        // A dangling link is there, too: nothing is put in its place unasked.
        Err(error) => Err(error.to_string()),
    };
    let why = match read {
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

/// Writes signatures while others are made, and keeps what became of each file.
struct Writer<'a> {
    files: &'a [PathBuf],
    folders: &'a Folders,
    key: &'a SigningKey<'a>,
    log: Option<&'a mut SigningLog>,
    outcomes: Vec<Outcome>,
    /// Folders in which nothing is left of runs that were killed.
    tidied: BTreeSet<PathBuf>,
}

/// A file, its position, and the signature that is to stand beside it.
type Beside<'f> = (&'f Path, usize, Made);

impl Writer<'_> {
    /// Logs the signatures, then puts them in place, folder by folder.
    fn take(&mut self, batch: Vec<Done>) -> Result<(), Error> {
        let files = self.files;
        let mut signed: Vec<Beside<'_>> = Vec::new();
        for done in batch {
            let file = files.get(done.position);
            signed.extend(
                file.zip(done.made)
                    .map(|(file, made)| (&**file, done.position, made)),
            );
            self.set(done.position, done.outcome);
        }
        if signed.is_empty() {
            return Ok(());
        }
        self.append_to_log(&signed)?;
        let mut folders: BTreeMap<&Path, Vec<Beside<'_>>> = BTreeMap::new();
        for one in signed {
            let folder = sidecar::folder_of(one.0);
            folders.entry(folder).or_default().push(one);
        }
        folders.values().try_for_each(|signed| self.write(signed))
    }

    fn append_to_log(&mut self, signed: &[Beside<'_>]) -> Result<(), Error> {
        let Some(log) = self.log.as_deref_mut() else {
            return Ok(());
        };
        let lines = signed.iter().map(|(file, _, made)| Signed {
            file: told(file),
            sha256: hex(&made.sha256),
        });
        let lines: Vec<Signed> = lines.collect();
        log.append(self.key.signer()?.public_key(), &lines)
    }

    /// Puts signatures in place that belong into one folder.
    fn write(&mut self, signed: &[Beside<'_>]) -> Result<(), Error> {
        let Some((first, ..)) = signed.first() else {
            return Ok(());
        };
        let place = self.folders.place_of(first);
        let (storage, _) = place.map_err(|cause| Error::Sign {
            path: shown(first),
            cause,
        })?;
        let changes = signed.iter().map(|(_, _, made)| {
            let path = made.name.clone();
            let content = Arc::new(made.signature.to_file_bytes());
            match made.replaces {
                true => Change::Write { path, content },
                false => Change::Create { path, content },
            }
        });
        if self.tidied.insert(sidecar::folder_of(first).to_owned()) {
            clear_abandoned(storage.as_ref());
        }
        storage.apply(changes.collect())?;
        for (_, position, made) in signed {
            // Only what is read back counts as written.
            let found = sidecar::read(storage.as_ref(), &made.name);
            let why = match found {
                Ok((found, _)) if found == made.signature => continue,
                Ok(_) => format!("{TAKEN}; run again"),
                Err(why) => format!("{TAKEN}, or it can't be read back: {why}"),
            };
            self.set(*position, Outcome::Failed(why));
        }
        Ok(())
    }

    fn set(&mut self, position: usize, outcome: Outcome) {
        if let Some(place) = self.outcomes.get_mut(position) {
            *place = outcome;
        }
    }
}
