//! Whose package signatures count. Owns the keys of one generation or, where no index is signed, of the user, and the
//! words for what is wrong with a signature; must not know where signatures lie.

use super::answer::{Stop, Wrong};
use crate::keys::{Fingerprint, KeyName, Keyring, PublicKey};
use crate::signature::{Check, Signature, check};

/// The keys that are asked.
#[derive(Debug)]
pub(super) struct Trust {
    keys: Keyring,
    min_bits: u32,
    /// What is said of a key that is not among them.
    unknown: fn(&KeyName) -> String,
}

impl Trust {
    /// The keys that a signed index names: a pinned key says whose index it is, and nothing of packages. A key that
    /// signs the index never vouches for a package.
    pub(super) fn named(keys: &[PublicKey], of_index: &[Fingerprint], min_bits: u32) -> Trust {
        let vouches = |key: &&PublicKey| !of_index.contains(&key.fingerprint());
        Trust {
            keys: ring(keys.iter().filter(vouches)),
            min_bits,
            unknown: |key| {
                format!(
                    "it is signed by the key {key}, which the signed index does not name; do not install it, and tell whoever keeps the channel"
                )
            },
        }
    }

    /// The keys that the user pinned, where no signed index is demanded.
    pub(super) fn pinned(keys: &[PublicKey], min_bits: u32) -> Trust {
        Trust {
            keys: ring(keys.iter()),
            min_bits,
            unknown: |key| {
                format!(
                    "it is signed by the key {key}, which is not trusted for this channel; if it is to be trusted, get the key from whoever keeps the channel and pin it with `sigindex keys trust {key} --channel URL`"
                )
            },
        }
    }

    /// Whether a trusted key made this signature over a file of that SHA-256.
    pub(super) fn judge(&self, signature: &Signature, sha256: &[u8; 32]) -> Result<(), Stop> {
        let key = &signature.key;
        Err(match check(signature, sha256, &self.keys, self.min_bits) {
            Check::Valid { .. } => return Ok(()),
            Check::UnknownKey(_) => Stop::refuse(Wrong::UnknownKey, (self.unknown)(key)),
            Check::Invalid(why) => Stop::refuse(
                Wrong::Invalid,
                format!(
                    "its signature by the key {key} is invalid ({why}); do not install it, and tell whoever keeps the channel"
                ),
            ),
            other => Stop::refuse(
                Wrong::UnfitKey,
                format!("its signature does not count: {other}; tell whoever keeps the channel"),
            ),
        })
    }
}

/// Two keys of one name in one place can't be; the first stays.
fn ring<'k>(keys: impl Iterator<Item = &'k PublicKey>) -> Keyring {
    let mut ring = Keyring::default();
    for key in keys {
        let _ = ring.insert(key.clone());
    }
    ring
}
