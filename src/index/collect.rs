//! What the threads bring back. Owns the order in which it is made lasting: the signing log, the `.sig`
//! files, then the cache, batch by batch, so that a crash keeps what was done. Judges nothing.

use std::sync::Arc;

use super::examine::{Examined, Standing};
use super::judge::Refusal;
use crate::cache::{Cache, Checked, Entry};
use crate::error::Error;
use crate::keys::PublicKey;
use crate::record::hex;
use crate::sidecar;
use crate::signing_log::{Signed, SigningLog};
use crate::storage::{Change, Storage};

/// The most packages that are handed to the cache at once.
const BATCH: usize = 1_000;

/// Takes in examined packages.
pub struct Collector<'a> {
    target: &'a dyn Storage,
    cache: &'a mut dyn Cache,
    log: Option<&'a mut SigningLog>,
    dry_run: bool,
    examined: Vec<Examined>,
}

impl<'a> Collector<'a> {
    /// A collector that writes signatures to `target`, or nothing at all in a dry run.
    pub fn new(
        target: &'a dyn Storage,
        cache: &'a mut dyn Cache,
        log: Option<&'a mut SigningLog>,
        dry_run: bool,
    ) -> Collector<'a> {
        Collector {
            target,
            cache,
            log,
            dry_run,
            examined: Vec::new(),
        }
    }

    /// Takes some in, and makes them lasting. `key` is the one that signs, once it is open.
    ///
    /// # Errors
    /// When they can't be written.
    pub fn take(
        &mut self,
        mut examined: Vec<Examined>,
        key: Option<&PublicKey>,
    ) -> Result<(), Error> {
        if !self.dry_run {
            for batch in examined.chunks_mut(BATCH) {
                self.make_lasting(batch, key)?;
            }
        }
        self.examined.append(&mut examined);
        Ok(())
    }

    fn make_lasting(
        &mut self,
        batch: &mut [Examined],
        key: Option<&PublicKey>,
    ) -> Result<(), Error> {
        if let Some(key) = key {
            write_signatures(batch, key, self.target, self.log.as_deref_mut())?;
        }
        let news = batch.iter().filter(|one| one.news);
        let entries: Vec<Entry> = news.filter_map(entry).collect();
        if !entries.is_empty() {
            self.cache.store(&entries, &[])?;
        }
        Ok(())
    }

    /// Everything that was taken in.
    pub fn finish(self) -> Vec<Examined> {
        self.examined
    }
}

fn entry(one: &Examined) -> Option<Entry> {
    let (subdir, name) = (one.file.subdir.to_string(), one.file.name.clone());
    one.known.clone().map(|known| Entry {
        subdir,
        name,
        known,
    })
}

fn write_signatures(
    batch: &mut [Examined],
    key: &PublicKey,
    target: &dyn Storage,
    log: Option<&mut SigningLog>,
) -> Result<(), Error> {
    let (mut changes, mut made) = (Vec::new(), Vec::new());
    for one in batch.iter() {
        if let (
            Ok(Standing::Signed {
                signature,
                replaces,
            }),
            Some(known),
        ) = (&one.standing, &one.known)
        {
            let (path, content) = (one.file.sig_path(), Arc::new(signature.to_file_bytes()));
            changes.push(match replaces {
                true => Change::Write { path, content },
                false => Change::Create { path, content },
            });
            let (file, sha256) = (one.file.path(), hex(&known.facts.sha256));
            made.push(Signed { file, sha256 });
        }
    }
    if changes.is_empty() {
        return Ok(());
    }
    log.map_or(Ok(()), |log| log.append(key, &made))?;
    target.apply(changes)?;
    batch.iter_mut().for_each(|one| read_back(one, key, target));
    Ok(())
}

/// Only what is read back counts as written: somebody else may have put a signature there meanwhile.
fn read_back(one: &mut Examined, key: &PublicKey, target: &dyn Storage) {
    let (Ok(Standing::Signed { signature, .. }), Some(known)) = (&one.standing, one.known.as_mut())
    else {
        return;
    };
    let known = Arc::make_mut(known);
    match sidecar::read(target, &one.file.sig_path()) {
        Ok((found, stat)) if found == *signature => {
            let (key, fingerprint) = (found.key.clone(), key.fingerprint());
            known.signature = Some(Checked {
                stat,
                key,
                fingerprint,
                value: found.to_base64(),
            });
        }
        _ => {
            let why = "somebody else put a signature beside it while it was signed".to_owned();
            one.standing = Err(Refusal::Unsteady(why));
        }
    }
}
