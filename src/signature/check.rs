//! Holding a signature against the trusted keys. It decides nothing about what to do with the answer.

use std::fmt;

use super::Signature;
use crate::keys::{Fingerprint, KeyName, Keyring};

/// What came out when a signature was held against a file's digest and the trusted keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// The key that it names is trusted, and made it.
    Valid {
        /// The key's fingerprint.
        fingerprint: Fingerprint,
        /// The key's size in bits.
        bits: u32,
    },
    /// The key that it names is trusted, and did not make it.
    Invalid(InvalidReason),
    /// No trusted key has the name.
    UnknownKey(KeyName),
    /// The key signs the index of a channel, and so no package; the signature was not looked at.
    IndexKey(KeyName),
    /// The key is smaller than what is demanded; the signature was not looked at.
    WeakKey {
        /// The key.
        name: KeyName,
        /// The key's size in bits.
        bits: u32,
        /// The smallest size that is taken, in bits.
        min: u32,
    },
    /// The key's file cannot be used.
    BrokenKey {
        /// The key.
        name: KeyName,
        /// Why, with the remedy.
        why: String,
    },
}

/// Why a signature by a trusted key is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidReason {
    /// It does not have the one length that signatures by this key have.
    Length {
        /// Its length in bytes.
        found: usize,
        /// The right length in bytes.
        expected: usize,
    },
    /// It is not this key's signature of these bytes in the one scheme that is used.
    Mismatch,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Valid { .. } => write!(f, "valid"),
            Self::Invalid(reason) => write!(f, "{reason}"),
            Self::UnknownKey(name) => {
                write!(
                    f,
                    "unknown key {name}: put {name}.pub into the keys folder if it is to be trusted"
                )
            }
            Self::IndexKey(name) => {
                write!(
                    f,
                    "the key {name} signs the index, not packages: its signature of a package does not count"
                )
            }
            Self::WeakKey { name, bits, min } => {
                write!(
                    f,
                    "weak key {name}: it has {bits} bits, and {min} are demanded (--min-bits)"
                )
            }
            Self::BrokenKey { name, why } => write!(f, "broken key {name}: {why}"),
        }
    }
}

impl fmt::Display for InvalidReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { found, expected } => {
                write!(
                    f,
                    "the signature has {found} bytes, and one by this key has {expected}"
                )
            }
            Self::Mismatch => write!(f, "the signature does not fit the file and the key"),
        }
    }
}

/// Holds `signature` against the SHA-256 of the file's bytes and the trusted keys. A key below
/// `min_bits`, or one that signs the index, is not asked.
pub fn check(signature: &Signature, digest: &[u8; 32], keys: &Keyring, min_bits: u32) -> Check {
    let name = || signature.key.clone();
    let key = match keys.get(&signature.key) {
        None => return Check::UnknownKey(name()),
        Some(Err(error)) => {
            let why = error.to_string();
            return Check::BrokenKey { name: name(), why };
        }
        Some(Ok(key)) => key,
    };
    let (bits, expected, found) = (key.bits(), key.signature_len(), signature.value.len());
    if keys.uses().signs_index(&key.fingerprint()) {
        Check::IndexKey(name())
    } else if bits < min_bits {
        let min = min_bits;
        Check::WeakKey {
            name: name(),
            bits,
            min,
        }
    } else if found != expected {
        Check::Invalid(InvalidReason::Length { found, expected })
    } else if key.verify(digest, &signature.value) {
        let fingerprint = key.fingerprint();
        Check::Valid { fingerprint, bits }
    } else {
        Check::Invalid(InvalidReason::Mismatch)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    #![allow(clippy::panic, clippy::string_slice)]
    use super::*;
    use crate::keys::{KeysDir, Use, samples};
    use sha2::{Digest, Sha256};
    use std::fs;

    /// The word that a vector's folder begins with, for what came out.
    fn verdict(sig: &[u8], digest: &[u8; 32], ring: &Keyring, min_bits: u32) -> String {
        let signature = match Signature::parse(sig) {
            Err(fault) => return format!("error: {fault}"),
            Ok(signature) => signature,
        };
        match check(&signature, digest, ring, min_bits) {
            Check::Valid { .. } => "valid".to_owned(),
            Check::Invalid(why) => format!("invalid: {why}"),
            other => format!("error: {other}"),
        }
    }

    #[test]
    fn the_historic_vectors() {
        let Some(legacy) = samples::legacy() else {
            return;
        };
        let ring = KeysDir::new(legacy.join("keys"), false)
            .public_keys()
            .unwrap();
        let mut checked = 0;
        for entry in fs::read_dir(&legacy).unwrap() {
            let folder = entry.unwrap().path();
            let what = folder.file_name().unwrap().to_str().unwrap().to_owned();
            let Some((expected, _)) = what.split_once('-') else {
                continue;
            };
            for entry in fs::read_dir(&folder).unwrap() {
                let sig = entry.unwrap().path();
                if sig.extension().is_none_or(|e| e != "sig") {
                    continue;
                }
                let digest = Sha256::digest(fs::read(sig.with_extension("")).unwrap()).into();
                let sig = fs::read(&sig).unwrap();
                let said = verdict(&sig, &digest, &ring, 1024);
                assert!(said.starts_with(expected), "{what}: {said}");
                if what == "valid-1024-too-small" {
                    let said = verdict(&sig, &digest, &ring, 2048);
                    assert!(said.starts_with("error: weak key"), "{what}: {said}");
                }
                if expected == "valid" {
                    let key = ring
                        .get(&Signature::parse(&sig).unwrap().key)
                        .unwrap()
                        .unwrap();
                    let value = Signature::parse(&sig).unwrap().value;
                    assert!(key.verify_slow(&digest, &value), "{what}");
                }
                checked += 1;
            }
        }
        assert!(checked >= 20, "only {checked} vectors");
    }

    #[test]
    fn a_key_of_an_index_vouches_for_no_package() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = KeysDir::new(scratch.path().to_owned(), false);
        let key = samples::weak().public();
        fs::write(dir.public_path(key.name()), key.to_pem()).unwrap();
        let digest = Sha256::digest(b"x").into();
        let made =
            crate::signature::sign(&crate::signature::RsaSigner::new(samples::weak()), &digest);
        let made = made.unwrap();
        let said = || check(&made, &digest, &dir.public_keys().unwrap(), 1024);
        assert!(matches!(said(), Check::Valid { .. }));
        dir.mark(key.name(), key.fingerprint(), Use::Root).unwrap();
        assert_eq!(said(), Check::IndexKey(key.name().clone()));
    }

    #[test]
    fn unknown_and_broken_keys() {
        let signature = Signature::parse(b"Nobody AAEC\n").unwrap();
        let mut ring = Keyring::default();
        let unknown = check(&signature, &[0; 32], &ring, 0);
        assert_eq!(unknown, Check::UnknownKey(samples::name("Nobody")));
        assert!(unknown.to_string().contains("Nobody.pub"));
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("Nobody.pub"), "junk").unwrap();
        ring = KeysDir::new(folder.path().to_owned(), false)
            .public_keys()
            .unwrap();
        let broken = check(&signature, &[0; 32], &ring, 0);
        assert!(matches!(broken, Check::BrokenKey { .. }));
        assert!(broken.to_string().contains("not a PEM file"), "{broken}");
    }
}
