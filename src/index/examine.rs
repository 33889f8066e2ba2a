//! One package: from its name to what the index says of it. Owns freshness, the one reading, and the
//! order in which evidence is gathered; the verdict is `judge`'s, and writing is the collector's.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::Config;
use super::attest::is_gone;
use super::judge::{self, Evidence, Refusal, SigState, Verdict};
use super::places::Places;
use super::read::{Reading, Unread, vanished};
use super::share::Stage;
use super::shelf::Shelf;
use super::signing_key::{Keys, SigningKey};
use crate::cache::{Attested, Checked, Facts, Remembered};
use crate::channel::PackageFile;
use crate::error::Error;
use crate::keys::{Fingerprint, KeyName, Keyring};
use crate::package::Beside;
use crate::progress::Progress;
use crate::sidecar;
use crate::signature::{self, Check, Signature};
use crate::storage::{Stat, Storage};

/// Everything that it takes to examine packages, shared by all threads.
pub struct Examiner<'a> {
    /// What the run is asked to do.
    pub config: &'a Config,
    /// How much of it is this run's.
    pub(super) stage: Stage,
    /// Where packages and signatures lie.
    pub places: Places<'a>,
    /// The public keys.
    pub keyring: &'a Keyring,
    /// The private key.
    pub key: &'a SigningKey<'a>,
    /// Keys that sign indexes: their signatures of packages do not count.
    pub role_keys: &'a Keys,
    /// Where progress is told.
    pub progress: &'a Progress,
    /// Set when the run is to stop.
    pub cancelled: &'a AtomicBool,
}

/// What examining a package gave.
#[derive(Debug)]
pub struct Examined {
    /// The package.
    pub file: PackageFile,
    /// Whether its file was opened and read.
    pub opened: bool,
    /// What is known of it now, unless it could not be read.
    pub known: Option<Arc<Remembered>>,
    /// Whether that is more than was known before.
    pub news: bool,
    /// How it stands in the index, or why it does not.
    pub standing: Result<Standing, Refusal>,
    /// What an operator should know.
    pub warnings: Vec<String>,
}

/// How a package stands in the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// With the valid signature that it had.
    Kept,
    /// With a signature that was made now; its file has yet to be written.
    Signed {
        /// The signature.
        signature: Signature,
        /// Whether it replaces one that is there; else none may be there.
        replaces: bool,
    },
    /// As in `Signed`, in a dry run.
    WouldBeSigned,
    /// Without a signature.
    Unsigned,
    /// With a signature that nobody could check.
    Unverified {
        /// The name in it.
        key: KeyName,
        /// The signature, in base64.
        value: String,
    },
}

/// The list of attestations beside a package, or why it does not hold.
type Attestation = Result<Option<Attested>, String>;

/// What a first look at a package gives.
pub enum Surveyed {
    /// Everything is known; it needs not be opened.
    Settled(Box<Examined>),
    /// It has to be read; the file as it lies there.
    ToRead(Stat),
}

impl Examiner<'_> {
    /// Looks at a package without opening it. What is wrong with it is its standing, and so it is that it would have to
    /// be opened where none is.
    pub fn survey(&self, shelf: &Shelf<'_>, file: &PackageFile) -> Surveyed {
        match self.look(shelf, file) {
            Surveyed::ToRead(_) if self.stage == Stage::Publish => {
                Surveyed::Settled(Box::new(refused(file, Refusal::NotScanned)))
            }
            surveyed => surveyed,
        }
    }

    fn look(&self, shelf: &Shelf<'_>, file: &PackageFile) -> Surveyed {
        let stat = match self.places.source.stat(&file.path()) {
            Ok(Some(stat)) => stat,
            Ok(None) => return Surveyed::Settled(Box::new(refused(file, vanished()))),
            Err(error) => {
                return Surveyed::Settled(Box::new(refused(
                    file,
                    Refusal::Unreadable(error.to_string()),
                )));
            }
        };
        let Some(known) = shelf
            .known
            .get(&file.name)
            .filter(|known| self.is_fresh(known, &stat))
        else {
            return Surveyed::ToRead(stat);
        };
        let facts = known.facts.clone();
        let place = shelf.lying.place_of_sig(self.places, file);
        let signature = self.signature(shelf, place, file, &facts, known.signature.as_ref());
        let attestations = self.attestations(shelf, file, &facts, known.attestations.as_ref());
        match self.verdict(shelf, file, &facts, signature, &attestations) {
            // A signature is made only over bytes that were read.
            Verdict::Sign => Surveyed::ToRead(stat),
            verdict => {
                // What was read stays what is remembered: with `--stat mtime-size` the file that lies
                // there now may be another one, which nobody has read.
                let mut examined =
                    self.conclude(shelf, file, known.stat, facts, attestations, verdict);
                examined.news = examined.known.as_ref() != Some(known);
                if !examined.news {
                    examined.known = Some(Arc::clone(known));
                }
                Surveyed::Settled(Box::new(examined))
            }
        }
    }

    /// Opens packages, reads each once, and signs those where that is due. `beside` lends a thread.
    ///
    /// # Errors
    /// For each: when no package could be signed, or the run is to stop.
    pub fn read(
        &self,
        packages: &[(&Shelf<'_>, &PackageFile)],
        beside: &Beside,
    ) -> Vec<Result<Examined, Error>> {
        let files: Vec<_> = packages.iter().map(|(_, file)| *file).collect();
        let readings = self.facts(&files, beside).into_iter();
        let each = readings.zip(packages);
        each.map(|(reading, (shelf, file))| self.examined(shelf, file, reading))
            .collect()
    }

    fn examined(
        &self,
        shelf: &Shelf<'_>,
        file: &PackageFile,
        reading: Reading,
    ) -> Result<Examined, Error> {
        let (stat, facts, warnings) = match reading {
            Ok(read) => read,
            Err(Unread::Cancelled) => return Err(Error::Interrupted),
            Err(Unread::Refused(refusal)) => {
                self.places.demand_answers()?;
                return Ok(Examined {
                    opened: true,
                    ..refused(file, refusal)
                });
            }
        };
        let remembered = shelf
            .known
            .get(&file.name)
            .filter(|known| known.facts.sha256 == facts.sha256 && !self.config.rehash);
        let checked = remembered.and_then(|known| known.signature.as_ref());
        let place = self.place_of_sig(shelf, file);
        let signature = self.signature(shelf, place, file, &facts, checked);
        let attested = remembered.and_then(|known| known.attestations.as_ref());
        let attestations = self.attestations(shelf, file, &facts, attested);
        let replaces = signature != SigState::Absent;
        let verdict = self.verdict(shelf, file, &facts, signature, &attestations);
        let sign = verdict == Verdict::Sign;
        let mut examined = self.conclude(shelf, file, stat, facts, attestations, verdict);
        if examined.standing.is_err() {
            self.places.demand_answers()?;
        }
        if sign {
            self.sign(&mut examined, replaces)?;
        }
        Ok(Examined {
            opened: true,
            news: true,
            warnings: [examined.warnings, warnings].concat(),
            ..examined
        })
    }

    fn is_fresh(&self, known: &Remembered, stat: &Stat) -> bool {
        !self.config.rehash
            && self.config.freshness.same(&known.stat, stat)
            && (known.facts.decoded || !self.config.check_archives)
    }

    fn verdict(
        &self,
        shelf: &Shelf<'_>,
        file: &PackageFile,
        facts: &Facts,
        signature: SigState,
        attestations: &Attestation,
    ) -> Verdict {
        // A published record without a digest vouches for nothing.
        let evidence = Evidence {
            path: &file.path(),
            sha256: &facts.sha256,
            changed: shelf
                .bound(&file.name)
                .is_some_and(|was| was.sha256 != Some(facts.sha256)),
            mismatch: facts.mismatch.as_deref(),
            signature,
            attestations: attestations.as_ref().err().map(String::as_str),
        };
        judge::judge(evidence, &self.config.policy)
    }

    /// Where a package's signature lies now, if there is one: another worker may have put it there since the channel was
    /// listed, and died before it told of it.
    fn place_of_sig(&self, shelf: &Shelf<'_>, file: &PackageFile) -> Option<&dyn Storage> {
        let listed = shelf.lying.place_of_sig(self.places, file);
        let target = self.places.target();
        let is_new = || self.stage.is_shared() && sidecar::is_there(target, &file.sig_path());
        listed.or_else(|| is_new().then_some(target))
    }

    /// What is known of a package's signature; reads the `.sig` file in that place unless it is the one that was checked.
    fn signature(
        &self,
        shelf: &Shelf<'_>,
        place: Option<&dyn Storage>,
        file: &PackageFile,
        facts: &Facts,
        remembered: Option<&Checked>,
    ) -> SigState {
        let Some(place) = place else {
            return SigState::Absent;
        };
        let path = file.sig_path();
        if let (Some(checked), Ok(Some(stat))) = (remembered, place.stat(&path))
            && self.config.freshness.same(&checked.stat, &stat)
            && self.still_trusted(checked)
        {
            return SigState::Valid(checked.clone());
        }
        let (signature, stat) = match read_sig(place, &path) {
            Ok(read) => read,
            Err(_) if shelf.lying.sig_is_folder(file) => {
                return SigState::Blocked(path);
            }
            Err(why) => return SigState::Invalid(why),
        };
        let check = signature::check(
            &signature,
            &facts.sha256,
            self.keyring,
            self.config.min_bits,
        );
        let value = signature.to_base64();
        match check {
            Check::Valid { fingerprint, .. } if self.role_keys.contains(&fingerprint) => {
                let key = signature.key;
                SigState::Unusable(format!(
                    "it is signed by {key}, a key that signs indexes, and such a signature does not count for a package; remove {path}, and sign the package with a key of its own"
                ))
            }
            Check::Valid { fingerprint, .. } => SigState::Valid(Checked {
                stat,
                key: signature.key,
                fingerprint,
                value,
            }),
            Check::UnknownKey(key) => SigState::Unknown { key, value },
            Check::Invalid(why) => SigState::Invalid(why.to_string()),
            unusable => SigState::Unusable(unusable.to_string()),
        }
    }

    /// Who made a signature of a digest, where it counts for a package.
    pub(super) fn vouch(&self, signature: &Signature, sha256: &[u8; 32]) -> Option<Fingerprint> {
        match signature::check(signature, sha256, self.keyring, self.config.min_bits) {
            Check::Valid { fingerprint, .. } if !self.role_keys.contains(&fingerprint) => {
                Some(fingerprint)
            }
            _ => None,
        }
    }

    /// Whether the keys folder still has the key that a signature was checked with, for packages.
    fn still_trusted(&self, checked: &Checked) -> bool {
        match self.keyring.get(&checked.key) {
            Some(Ok(key)) => {
                key.fingerprint() == checked.fingerprint
                    && key.bits() >= self.config.min_bits
                    && !self.keyring.uses().signs_index(&checked.fingerprint)
                    && !self.role_keys.contains(&checked.fingerprint)
            }
            _ => false,
        }
    }

    fn conclude(
        &self,
        shelf: &Shelf<'_>,
        file: &PackageFile,
        stat: Stat,
        facts: Facts,
        attestations: Attestation,
        verdict: Verdict,
    ) -> Examined {
        let sha256 = facts.sha256;
        let is_refused = matches!(verdict, Verdict::Refuse(_));
        let indexed_timestamp = self.indexed_timestamp(shelf, file, &sha256, is_refused);
        let mut known = Remembered {
            stat,
            facts,
            indexed_timestamp,
            signature: None,
            attestations: attestations.unwrap_or_default(),
        };
        let standing = match verdict {
            Verdict::Keep(checked) => {
                known.signature = Some(checked);
                Ok(Standing::Kept)
            }
            Verdict::Sign => Ok(Standing::WouldBeSigned),
            Verdict::Unsigned => Ok(Standing::Unsigned),
            Verdict::Unverified { key, value } => Ok(Standing::Unverified { key, value }),
            Verdict::Refuse(refusal) => Err(refusal),
        };
        let mut warnings = Vec::new();
        if known.attestations.is_none() && standing.is_ok() && is_gone(shelf, file) {
            let path = file.path();
            warnings.push(format!(
                "{path}: the list of attestations that its record named is gone, and so its record names none now"
            ));
        }
        let published = shelf.was(&file.name).and_then(|was| was.sha256);
        if !shelf.by_sigindex()
            && standing.is_ok()
            && published.is_some_and(|published| published != sha256)
        {
            let path = file.path();
            warnings.push(format!(
                "{path}: the index had a stale SHA-256 of it, which is put right"
            ));
        }
        Examined {
            file: file.clone(),
            opened: false,
            known: Some(Arc::new(known)),
            news: false,
            standing,
            warnings,
        }
    }

    /// When this index first had the package (CEP 47). Bytes that were replaced are new; the time never falls.
    fn indexed_timestamp(
        &self,
        shelf: &Shelf<'_>,
        file: &PackageFile,
        sha256: &[u8; 32],
        is_refused: bool,
    ) -> i64 {
        let now = self.config.now;
        let published = shelf.was(&file.name);
        // A package that was looked at and not listed is new in the index that lists it.
        let is_new = published.is_none() && shelf.by_sigindex();
        let is_listed = !is_refused && !matches!(self.stage, Stage::Scan(_));
        let remembered = shelf
            .known
            .get(&file.name)
            .filter(|known| known.facts.sha256 == *sha256 && !(is_new && is_listed))
            .map(|known| known.indexed_timestamp);
        let earlier = published
            .and_then(|record| record.indexed_timestamp)
            .or(remembered);
        let replaced = shelf
            .bound(&file.name)
            .is_some_and(|was| was.sha256 != Some(*sha256));
        match earlier {
            Some(earlier) if replaced => earlier.max(now),
            Some(earlier) => earlier,
            None => now,
        }
    }

    fn sign(&self, examined: &mut Examined, replaces: bool) -> Result<(), Error> {
        if self.config.dry_run {
            return self.key.check();
        }
        let Some(known) = &examined.known else {
            return Ok(());
        };
        let signer = self.key.signer()?;
        let signature =
            signature::sign(signer, &known.facts.sha256).map_err(|error| Error::Sign {
                path: examined.file.path(),
                cause: error.to_string(),
            })?;
        examined.standing = Ok(Standing::Signed {
            signature,
            replaces,
        });
        Ok(())
    }
}

/// A `.sig` file; where another run put another one in its place since it was seen, that.
fn read_sig(place: &dyn Storage, path: &str) -> Result<(Signature, Stat), String> {
    sidecar::read(place, path).or_else(|why| {
        let before = place.stat(path).ok().flatten();
        match place.look_again(path).ok().flatten() {
            Some(now) if before != Some(now) => sidecar::read(place, path),
            _ => Err(why),
        }
    })
}

fn refused(file: &PackageFile, refusal: Refusal) -> Examined {
    Examined {
        file: file.clone(),
        opened: false,
        known: None,
        news: false,
        standing: Err(refusal),
        warnings: Vec::new(),
    }
}
