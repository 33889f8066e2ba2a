//! Packages, each held against what the index says of it and against its signature. Owns the judgement of one file
//! and the order of the work; must not know how the index came to be believed.

use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use super::digesting::Digesting;
use super::finding::Verdict;
use super::said::Noted;
use super::sample::Sample;
use super::trust::Trust;
use super::{Context, What};
use crate::attestation;
use crate::error::Error;
use crate::package::Digests;
use crate::record::{hex, is_sha256};
use crate::sidecar;
use crate::signature::{MAX_SIG_BYTES, Signature};
use crate::upstream::{UpstreamError, UpstreamFault};
use crate::verify::{self, Found};

/// The largest package that is read, whatever size the index tells, in bytes.
const MAX_PACKAGE: u64 = 64 << 30;

/// A package as the index has it.
#[derive(Debug)]
pub(super) struct Expected {
    /// Its path in the channel.
    pub path: String,
    pub sha256: [u8; 32],
    pub md5: Option<[u8; 16]>,
    /// Bytes.
    pub size: Option<u64>,
    /// What its record says that the SHA-256 of its list of attestations is.
    pub attestations: Option<String>,
    /// The signature in its record, already checked.
    pub noted: Option<Checked>,
}

/// A signature in a record, held against the SHA-256 in it.
#[derive(Debug)]
pub(super) struct Checked {
    /// The SHA-256 of what its file should hold.
    digest: [u8; 32],
    verdict: Verdict,
}

impl Trust<'_> {
    /// Checks a signature in a record, which needs no file: what is signed is the file's SHA-256.
    pub fn note(&self, signature: &Signature, sha256: &[u8; 32]) -> Checked {
        Checked {
            digest: fold(signature),
            verdict: self.hold(signature, sha256),
        }
    }
}

fn fold(signature: &Signature) -> [u8; 32] {
    Sha256::digest(signature.to_file_bytes()).into()
}

/// A file to read.
pub(super) enum Task {
    /// The index lists it.
    Listed(Expected),
    /// It only lies there, by its path as it is shown: its signature is all that can be checked.
    Loose(Found, String),
}

impl Task {
    fn path(&self) -> &str {
        match self {
            Task::Listed(expected) => &expected.path,
            Task::Loose(_, path) => path,
        }
    }

    fn size(&self) -> u64 {
        match self {
            Task::Listed(expected) => expected.size.unwrap_or(0),
            Task::Loose(..) => 0,
        }
    }
}

/// What packages are judged with.
pub(super) struct Judge<'a> {
    pub context: Context<'a>,
    pub trust: &'a Trust<'a>,
}

impl Judge<'_> {
    /// Reads all packages, or some of them; how many.
    ///
    /// # Errors
    /// Only when the run was interrupted.
    pub fn all(&self, tasks: Vec<Task>, sample: Option<Sample>) -> Result<u64, Error> {
        let tasks = match sample {
            Some(sample) => sample.choose(tasks, Task::path),
            None => tasks,
        };
        let tools = self.context.tools;
        let count = u64::try_from(tasks.len()).unwrap_or(u64::MAX);
        let bytes = tasks.iter().map(Task::size);
        tools.progress.start(
            count,
            bytes.fold(0, |sum: u64, size| sum.saturating_add(size)),
        );
        let judged = tools.pool.install(|| {
            let one = |task: Task| {
                match task {
                    Task::Listed(expected) => self.listed(&expected),
                    Task::Loose(found, path) => self.loose(found, &path)?,
                }
                tools.progress.package();
                match tools.cancelled.load(std::sync::atomic::Ordering::Relaxed) {
                    true => Err(Error::Interrupted),
                    false => Ok(()),
                }
            };
            tasks
                .into_par_iter()
                .map(one)
                .collect::<Result<(), Error>>()
        });
        tools.progress.finish();
        judged.map(|()| count)
    }

    fn listed(&self, expected: &Expected) {
        let findings = self.context.findings;
        match self.hold_bytes(expected) {
            Ok(()) => findings.valid(What::Package, &expected.path),
            Err(verdict) => findings.add(What::Package, &expected.path, verdict),
        }
        let verdict = self.signed(expected);
        findings.add(What::Signature, &expected.path, verdict);
        if let Some(hash) = &expected.attestations {
            let verdict = self.attested(&expected.path, hash);
            findings.add(What::Attestations, &expected.path, verdict);
        }
    }

    /// The list of attestations that a record names, under the immutable name that its hash gives it (CEP 50). What stands
    /// in it is for clients to check.
    fn attested(&self, package: &str, hash: &str) -> Verdict {
        if !is_sha256(hash) {
            return Verdict::Error("attestations_sha256 in its record is no SHA-256".to_owned());
        }
        let path = format!("{package}{}.{hash}", attestation::SUFFIX);
        let mut sink = Digesting::new(self.context.tools);
        let upstream = self.context.place.upstream();
        match upstream.fetch_to(&path, attestation::MAX, &mut sink) {
            Ok(Some(_)) => match hex(&sink.finish().sha256) {
                found if found == hash => Verdict::Valid,
                found => Verdict::Invalid(format!(
                    "the SHA-256 of its attestations is {found}, and its record says {hash}; index the channel anew"
                )),
            },
            Ok(None) => Verdict::Error(format!(
                "its record names attestations, and there is no {path}"
            )),
            Err(error) => Verdict::Error(format!("{path}: {}", error.fault)),
        }
    }

    fn hold_bytes(&self, expected: &Expected) -> Result<(), Verdict> {
        let mut sink = Digesting::new(self.context.tools);
        let cap = most(expected.size);
        let upstream = self.context.place.upstream();
        match upstream.fetch_to(&expected.path, cap, &mut sink) {
            Ok(Some(_)) => hold_digests(expected, &sink.finish()),
            Ok(None) => Err(Verdict::Error(
                "the index lists it, and there is no such file".to_owned(),
            )),
            Err(UpstreamError {
                fault: UpstreamFault::TooLarge { .. },
                ..
            }) if expected.size == Some(cap) => Err(Verdict::Invalid(format!(
                "it has more bytes than the index says ({cap})"
            ))),
            Err(error) => Err(Verdict::Error(error.fault.to_string())),
        }
    }

    /// The signature beside the package, over what the index lists; the one in the record is the same.
    fn signed(&self, expected: &Expected) -> Verdict {
        let beside = match self.beside(&expected.path) {
            Ok(signature) => signature,
            Err(why) => return Verdict::Error(why),
        };
        match &expected.noted {
            None => self.trust.hold(&beside, &expected.sha256),
            Some(noted) if noted.digest == fold(&beside) => noted.verdict.clone(),
            Some(noted) => match (self.trust.hold(&beside, &expected.sha256), &noted.verdict) {
                (Verdict::Valid, Verdict::Valid) => Verdict::Valid,
                (Verdict::Valid, _) => Verdict::Invalid(
                    "the signature in its record is not valid, and not the one beside it"
                        .to_owned(),
                ),
                (wrong, _) => wrong,
            },
        }
    }

    /// The signature of a package by its digest alone: the one in its record, else the one beside it.
    pub fn by_digest(&self, path: &str, noted: Noted, sha256: &[u8; 32]) -> Verdict {
        match noted {
            Noted::Here(signature, _) => self.trust.hold(&signature, sha256),
            Noted::Broken(why) => Verdict::Error(why),
            Noted::Beside(_) | Noted::Nothing => match self.beside(path) {
                Ok(signature) => self.trust.hold(&signature, sha256),
                Err(why) => Verdict::Error(why),
            },
        }
    }

    /// The signature beside a package.
    pub fn beside(&self, path: &str) -> Result<Signature, String> {
        let sig = format!("{path}{}", sidecar::SUFFIX);
        let cap = u64::try_from(MAX_SIG_BYTES).unwrap_or(u64::MAX);
        match self.context.place.fetch(&sig, cap) {
            Ok(Some(bytes)) => Signature::parse(&bytes).map_err(|fault| fault.to_string()),
            Ok(None) => Err(format!("no signature: {sig} is missing")),
            Err(error) => Err(error.fault.to_string()),
        }
    }

    fn loose(&self, found: Found, path: &str) -> Result<(), Error> {
        let findings = self.context.findings;
        match verify::look(found, self.context.tools)?.verdict {
            verify::Verdict::Valid => findings.valid(What::Package, path),
            verify::Verdict::Invalid => findings.invalid(
                What::Signature,
                path,
                "the signature does not fit the file and the key",
            ),
            verify::Verdict::Error(why) => findings.error(What::Signature, path, why),
        }
        Ok(())
    }
}

/// The most bytes that are read of a package whose size is told: a server may send as many as it says.
fn most(size: Option<u64>) -> u64 {
    size.map_or(MAX_PACKAGE, |size| size.min(MAX_PACKAGE))
}

fn hold_digests(expected: &Expected, found: &Digests) -> Result<(), Verdict> {
    let differs = |what: &str, found: String, listed: String| {
        let why = format!("its {what} is {found}, and the index says {listed}");
        Err(Verdict::Invalid(why))
    };
    match expected {
        Expected {
            size: Some(size), ..
        } if *size != found.size => differs("size", found.size.to_string(), size.to_string()),
        Expected { sha256, .. } if *sha256 != found.sha256 => {
            differs("SHA-256", hex(&found.sha256), hex(sha256))
        }
        Expected { md5: Some(md5), .. } if *md5 != found.md5 => {
            differs("MD5", hex(&found.md5), hex(md5))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_size_that_is_told_lifts_the_limit() {
        for (size, bytes) in [
            (None, MAX_PACKAGE),
            (Some(7), 7),
            (Some(1 << 62), MAX_PACKAGE),
        ] {
            assert_eq!(most(size), bytes);
        }
    }
}
