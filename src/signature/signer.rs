//! Making signatures: the seam [`Signer`], its two local implementations, and the one function that
//! signs. It knows nothing of what is signed but a digest.
//!
//! # What RUSTSEC-2023-0071 means here
//!
//! The advisory says that the private-key operations of the crate `rsa` do not take the same time for
//! every input, and that who can time them may, with many measurements, learn enough to use or
//! recover the key. There is no 0.9 release without it, so `cargo audit` names it for sigindex too.
//! The published attack (Marvin, in the line of Bleichenbacher's) needs a service that decrypts
//! PKCS#1 v1.5 texts of the attacker's choice and can be timed over a network.
//!
//! sigindex decrypts nothing with RSA and answers no network requests, so that attack as published has
//! nothing to hold on to. What is left is timing from nearby, by another process on the same machine
//! or another virtual machine on the same processor:
//! - Signing with 2048 to 8192 bits goes through AWS-LC, whose private-key code is written to take the
//!   same time whatever the secret. A key of that size which AWS-LC does not take, and any smaller or
//!   larger key, is signed with by `rsa`, with blinding: a fresh random factor is multiplied in for
//!   each signature, so that who chose the file does not know which number is worked on. Blinding makes
//!   such measurements much harder; it does not make the arithmetic constant-time.
//! - Making a key, and checking its numbers when it is loaded, is done by `rsa` at every size. That
//!   happens once in a run, on numbers that nobody outside chooses.
//! - Verifying uses no secret.
//!
//! So: use 2048 to 8192 bits, and make keys and sign on a machine that you do not share with people you
//! do not trust. On a shared machine the weakness stays, small, and is not solved here.

use std::fmt;

use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::signature::{RSA_PSS_SHA256, RsaKeyPair};
use rsa::pss::BlindedSigningKey;
use rsa::rand_core::OsRng;
use rsa::signature::SignatureEncoding;
use rsa::signature::hazmat::RandomizedPrehashSigner;
use sha2::Sha256;
use thiserror::Error;

use super::Signature;
use crate::keys::{KeyName, PrivateKey, PublicKey, SALT_BYTES};

/// What can sign digests with one key: here a key in memory; elsewhere a command, or a token.
///
/// `sign_digest` gives a bare RSASSA-PSS signature (RFC 8017, 8.1.1: SHA-256, MGF1-SHA-256, salt of 32
/// bytes) for a SHA-256. It is called from many threads at once.
pub trait Signer: Send + Sync {
    /// The public key that verifies what this signs.
    fn public_key(&self) -> &PublicKey;

    /// Signs the SHA-256 of a file.
    ///
    /// # Errors
    /// [`SignError::Failed`] when no signature could be made.
    fn sign_digest(&self, digest: &[u8; 32]) -> Result<Vec<u8>, SignError>;
}

/// Why something was not signed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SignError {
    /// The signer gave no signature.
    #[error("cannot sign with the key {key}: {why}")]
    Failed {
        /// The key.
        key: KeyName,
        /// What the signer said.
        why: String,
    },
    /// The signer gave something that its own public key does not verify.
    #[error(
        "the key {key} made a signature that its own public key does not verify, and it was thrown away; the key or this machine's memory is damaged: check the key with `openssl rsa -check`"
    )]
    DoesNotVerify {
        /// The key.
        key: KeyName,
    },
}

/// Signs the SHA-256 of a file, and verifies the signature once before it is given out: a fault in the
/// computation would give away the key to whoever sees its result.
///
/// # Errors
/// What the signer gave, or [`SignError::DoesNotVerify`].
pub fn sign(signer: &dyn Signer, digest: &[u8; 32]) -> Result<Signature, SignError> {
    let public = signer.public_key();
    let key = public.name().clone();
    let value = signer.sign_digest(digest)?;
    if public.verify(digest, &value) {
        Ok(Signature { key, value })
    } else {
        Err(SignError::DoesNotVerify { key })
    }
}

/// The faster signer that takes this key: AWS-LC for 2048 to 8192 bits, `rsa` for all others and for
/// keys that AWS-LC does not like.
pub fn local_signer(key: PrivateKey) -> Box<dyn Signer> {
    match AwsLcSigner::new(&key) {
        Some(fast) => Box::new(fast),
        None => Box::new(RsaSigner::new(&key)),
    }
}

/// Signs through AWS-LC.
pub struct AwsLcSigner {
    public: PublicKey,
    pair: RsaKeyPair,
}

impl AwsLcSigner {
    /// Takes a key, unless AWS-LC does not: that is, unless it has 2048 to 8192 bits and a common form.
    pub fn new(key: &PrivateKey) -> Option<Self> {
        if !(2048..=8192).contains(&key.public().bits()) {
            return None;
        }
        let der = key.to_pkcs1_der().ok()?;
        let pair = RsaKeyPair::from_der(der.as_bytes()).ok()?;
        let public = key.public().clone();
        // `sign_digest` panics on a buffer of another length than its own.
        (pair.public_modulus_len() == public.signature_len()).then_some(Self { public, pair })
    }
}

impl Signer for AwsLcSigner {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign_digest(&self, digest: &[u8; 32]) -> Result<Vec<u8>, SignError> {
        let mut value = vec![0; self.pair.public_modulus_len()];
        Digest::import_less_safe(digest, &SHA256)
            .and_then(|digest| self.pair.sign_digest(&RSA_PSS_SHA256, &digest, &mut value))
            .map_err(|_| failed(&self.public, "AWS-LC gave no reason"))?;
        Ok(value)
    }
}

/// Signs through the crate `rsa`, with blinding.
pub struct RsaSigner {
    public: PublicKey,
    key: BlindedSigningKey<Sha256>,
}

impl RsaSigner {
    /// Takes a key of any size.
    pub fn new(key: &PrivateKey) -> Self {
        Self {
            public: key.public().clone(),
            key: BlindedSigningKey::new_with_salt_len(key.rsa().clone(), SALT_BYTES),
        }
    }
}

impl Signer for RsaSigner {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign_digest(&self, digest: &[u8; 32]) -> Result<Vec<u8>, SignError> {
        self.key
            .sign_prehash_with_rng(&mut OsRng, digest)
            .map(|signature| signature.to_vec())
            .map_err(|error| failed(&self.public, &error.to_string()))
    }
}

fn failed(key: &PublicKey, why: &str) -> SignError {
    SignError::Failed {
        key: key.name().clone(),
        why: why.to_owned(),
    }
}

// By hand, so that no secret can come in when a field is added.
impl fmt::Debug for AwsLcSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AwsLcSigner").field(&self.public).finish()
    }
}

impl fmt::Debug for RsaSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RsaSigner").field(&self.public).finish()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    #![allow(clippy::panic, clippy::string_slice)]
    use super::*;
    use crate::keys::{Keyring, samples};
    use crate::signature::{Check, InvalidReason, check};

    const DIGEST: [u8; 32] = [7; 32];

    #[test]
    fn both_signers_and_both_verifiers_agree() {
        let key = samples::strong();
        let public = key.public();
        let fast = AwsLcSigner::new(key).unwrap();
        let slow = RsaSigner::new(key);
        for signer in [&fast as &dyn Signer, &slow] {
            let value = signer.sign_digest(&DIGEST).unwrap();
            let mut flipped = value.clone();
            flipped[100] ^= 1;
            for verify in [PublicKey::verify, PublicKey::verify_slow] {
                assert!(verify(public, &DIGEST, &value));
                assert!(!verify(public, &[8; 32], &value));
                assert!(!verify(public, &DIGEST, &flipped));
                assert!(!verify(public, &DIGEST, &value[1..]));
                assert!(!verify(public, &DIGEST, &[&[0], &value[..]].concat()));
                assert!(!verify(public, &DIGEST, &[]));
                assert!(!verify(public, &DIGEST, &[0xff; 256]));
            }
            assert_ne!(
                value,
                signer.sign_digest(&DIGEST).unwrap(),
                "the salt is not random"
            );
        }
    }

    #[test]
    fn a_small_key_is_signed_with_by_rsa() {
        assert!(AwsLcSigner::new(samples::weak()).is_none());
        let signer = RsaSigner::new(samples::weak());
        let signature = sign(&signer, &DIGEST).unwrap();
        assert_eq!(signature.value.len(), 128);
        let mut ring = Keyring::default();
        ring.insert(samples::weak().public().clone()).unwrap();
        let checked = check(&signature, &DIGEST, &ring, 1024);
        assert!(matches!(checked, Check::Valid { .. }));
        let weak = check(&signature, &DIGEST, &ring, 2048);
        assert!(
            matches!(
                weak,
                Check::WeakKey {
                    bits: 1024,
                    min: 2048,
                    ..
                }
            ),
            "{weak}"
        );
        let mut cut = signature.clone();
        cut.value.pop();
        let length = InvalidReason::Length {
            found: 127,
            expected: 128,
        };
        let invalid = check(&cut, &DIGEST, &ring, 1024);
        assert_eq!(invalid, Check::Invalid(length));
        let said = "the signature has 127 bytes, and one by this key has 128";
        assert_eq!(invalid.to_string(), said);
        let other = check(&signature, &[8; 32], &ring, 1024);
        assert_eq!(other, Check::Invalid(InvalidReason::Mismatch));
        assert!(other.to_string().contains("does not fit"), "{other}");
    }

    /// Signs with one key and claims another.
    struct Liar(RsaSigner);

    impl Signer for Liar {
        fn public_key(&self) -> &PublicKey {
            samples::strong().public()
        }

        fn sign_digest(&self, digest: &[u8; 32]) -> Result<Vec<u8>, SignError> {
            self.0.sign_digest(digest)
        }
    }

    #[test]
    fn a_signature_that_does_not_verify_is_not_given_out() {
        let error = sign(&Liar(RsaSigner::new(samples::weak())), &DIGEST).unwrap_err();
        assert!(matches!(error, SignError::DoesNotVerify { .. }), "{error}");
    }

    #[test]
    fn debug_shows_no_secret() {
        let fast = format!("{:?}", AwsLcSigner::new(samples::strong()).unwrap());
        let slow = format!("{:?}", RsaSigner::new(samples::strong()));
        assert!(
            fast.starts_with("AwsLcSigner(PublicKey") && slow.starts_with("RsaSigner(PublicKey")
        );
    }
}
