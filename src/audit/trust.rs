//! Whose package signatures count in an audit. Owns which keys those are and how a signature that does not count is
//! told; must not know where signatures come from.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use super::finding::Verdict;
use crate::keys::{Fingerprint, KeyName, Keyring, PublicKey, Uses};
use crate::signature::{Check, Signature, check};

/// Where the keys that count come from.
#[derive(Debug)]
pub(super) enum Keys<'a> {
    /// All in the keys folder.
    Folder(&'a Keyring),
    /// Those in the keys folder that were chosen for this channel.
    Chosen(Keyring),
    /// Those that the signed index names.
    Signed(Keyring),
}

/// Whose package signatures count.
#[derive(Debug)]
pub(super) struct Trust<'a> {
    pub keys: Keys<'a>,
    /// The smallest key that counts, in bits.
    pub min_bits: u32,
    /// Keys that sign the index, and so never a package, with what they are.
    pub roles: BTreeMap<Fingerprint, &'static str>,
    /// What is known here of keys.
    pub uses: &'a Uses,
    /// The keys that made a signature which counts.
    pub vouched: Mutex<BTreeSet<Fingerprint>>,
}

impl Trust<'_> {
    /// The key of a name.
    pub fn key(&self, name: &KeyName) -> Option<&PublicKey> {
        self.ring().get(name)?.ok()
    }

    fn ring(&self) -> &Keyring {
        match &self.keys {
            Keys::Folder(ring) => ring,
            Keys::Chosen(ring) | Keys::Signed(ring) => ring,
        }
    }

    /// Whether a key is one of packages, by the signed index.
    pub fn names(&self, key: &Fingerprint) -> bool {
        matches!(&self.keys, Keys::Signed(ring) if ring.by_fingerprint(key).is_some())
    }

    /// Whether a key made a signature that counts.
    pub fn has_vouched(&self, key: &Fingerprint) -> bool {
        let vouched = self.vouched.lock();
        let vouched = vouched.unwrap_or_else(PoisonError::into_inner);
        vouched.contains(key)
    }

    /// Holds a signature against the SHA-256 of a file.
    pub fn hold(&self, signature: &Signature, digest: &[u8; 32]) -> Verdict {
        match check(signature, digest, self.ring(), self.min_bits) {
            Check::Valid { fingerprint, .. } => match self.roles.get(&fingerprint) {
                None if !self.uses.signs_index(&fingerprint) => {
                    let vouched = self.vouched.lock();
                    let mut vouched = vouched.unwrap_or_else(PoisonError::into_inner);
                    vouched.insert(fingerprint);
                    Verdict::Valid
                }
                role => {
                    let (key, role) = (&signature.key, role.unwrap_or(&"index"));
                    let why = format!(
                        "signed by {key}, a key of the {role}: such a key signs no package"
                    );
                    Verdict::Invalid(why)
                }
            },
            Check::IndexKey(name) => Verdict::Invalid(Check::IndexKey(name).to_string()),
            Check::Invalid(reason) => Verdict::Invalid(reason.to_string()),
            Check::UnknownKey(name) => Verdict::Error(self.unknown(&name)),
            other => Verdict::Error(other.to_string()),
        }
    }

    fn unknown(&self, name: &KeyName) -> String {
        match &self.keys {
            Keys::Folder(_) => Check::UnknownKey(name.clone()).to_string(),
            Keys::Chosen(_) => {
                format!("unknown key {name}: it is not among the keys trusted for this channel")
            }
            Keys::Signed(_) => format!(
                "unknown key {name}: the signed index does not name it, or not any more; sign the package anew"
            ),
        }
    }
}
