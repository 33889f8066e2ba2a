//! What the threads bring back. Owns the order in which it is made lasting: the signing log, the `.sig`
//! files, then the cache, batch by batch, so that a crash keeps what was done. Judges nothing.

use std::sync::Arc;

use super::examine::{Examined, Standing};
use super::judge::Refusal;
use crate::cache::{Cache, Checked, Claims, Entry};
use crate::error::Error;
use crate::keys::{Fingerprint, PublicKey};
use crate::record::hex;
use crate::sidecar;
use crate::signature::Signature;
use crate::signing_log::{Signed, SigningLog};
use crate::storage::{Change, Stat, Storage};

/// The most packages that are handed to the cache at once.
const BATCH: usize = 1_000;

/// Tells who made a signature of a digest, where it counts.
pub type Vouch<'k> = &'k dyn Fn(&Signature, &[u8; 32]) -> Option<Fingerprint>;

/// Whose signatures are written.
#[derive(Clone, Copy)]
pub struct Hand<'k> {
    /// The key that signs, once it is open.
    pub key: &'k PublicKey,
    /// Lets the signatures of others count that were written meanwhile: others may sign too.
    pub vouch: Vouch<'k>,
}

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

    /// Takes some in, and makes them lasting. `hand` signs, once its key is open.
    ///
    /// # Errors
    /// When they can't be written.
    pub fn take(
        &mut self,
        mut examined: Vec<Examined>,
        hand: Option<Hand<'_>>,
    ) -> Result<(), Error> {
        if !self.dry_run {
            for batch in examined.chunks_mut(BATCH) {
                self.make_lasting(batch, hand)?;
            }
        }
        self.examined.append(&mut examined);
        Ok(())
    }

    fn make_lasting(
        &mut self,
        batch: &mut [Examined],
        hand: Option<Hand<'_>>,
    ) -> Result<(), Error> {
        if let Some(hand) = hand {
            write_signatures(batch, hand, self.target, self.log.as_deref_mut())?;
        }
        let news = batch.iter().filter(|one| one.news);
        let entries: Vec<Entry> = news.filter_map(entry).collect();
        if !entries.is_empty() {
            self.cache.store(&entries, &[])?;
        }
        Ok(())
    }

    /// The agreement with other workers, where the cache keeps one.
    pub fn claims(&mut self) -> Option<&mut dyn Claims> {
        self.cache.claims()
    }

    /// What was taken in so far.
    pub fn examined(&self) -> &[Examined] {
        &self.examined
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
    hand: Hand<'_>,
    target: &dyn Storage,
    log: Option<&mut SigningLog>,
) -> Result<(), Error> {
    // None of them needs another.
    let (mut changes, mut made) = (vec![Change::Group], Vec::new());
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
                true => Change::Replace { path, content },
                false => Change::Create { path, content },
            });
            let (file, sha256) = (one.file.path(), hex(&known.facts.sha256));
            made.push(Signed { file, sha256 });
        }
    }
    if made.is_empty() {
        return Ok(());
    }
    log.map_or(Ok(()), |log| log.append(hand.key, &made))?;
    target.apply(changes)?;
    batch
        .iter_mut()
        .for_each(|one| read_back(one, hand, target));
    Ok(())
}

/// Only what is read back counts as written: somebody else may have put a signature there meanwhile.
fn read_back(one: &mut Examined, hand: Hand<'_>, target: &dyn Storage) {
    let (
        Ok(Standing::Signed {
            signature,
            replaces,
        }),
        Some(known),
    ) = (&one.standing, one.known.as_mut())
    else {
        return;
    };
    let own = hand.key.fingerprint();
    let vouched = |found: &Signature| match found == signature {
        true => Some(own),
        // What was to be replaced is not what stands there in the end.
        false => (hand.vouch)(found, &known.facts.sha256).filter(|by| !replaces || *by == own),
    };
    let checked = |(found, stat): (Signature, Stat)| {
        let fingerprint = vouched(&found)?;
        let (is_own, value) = (found == *signature, found.to_base64());
        let checked = Checked {
            stat,
            key: found.key,
            fingerprint,
            value,
        };
        Some((checked, is_own))
    };
    match sidecar::read(target, &one.file.sig_path()).map(checked) {
        Ok(Some((checked, is_own))) => {
            Arc::make_mut(known).signature = Some(checked);
            if !is_own {
                one.standing = Ok(Standing::Kept);
            }
        }
        Ok(None) => {
            let why = "somebody else put a signature beside it while it was signed".to_owned();
            one.standing = Err(Refusal::Unsteady(why));
        }
        Err(why) => {
            let why = format!(
                "somebody else put a signature beside it while it was signed, or it can't be read back: {why}"
            );
            one.standing = Err(Refusal::Unsteady(why));
        }
    }
}
