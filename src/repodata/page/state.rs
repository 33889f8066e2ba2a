//! The state of a whole channel in a few numbers, for the top of every page. Owns the counting; must not know
//! how it is shown.

use std::collections::{BTreeMap, HashSet};

use super::Content;
use super::glance::{Glance, Signature};
use crate::keys::{Fingerprint, KeyName};

/// The state of the whole channel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// Of all subdirs together.
    pub whole: Tally,
    /// How many different names its packages have.
    pub names: usize,
    /// The subdirs, by name.
    pub subdirs: Vec<(String, Tally)>,
    /// The keys that made the signatures that were checked, by name.
    pub keys: Vec<SigningKey>,
}

/// Counts of packages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// All packages.
    pub packages: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// Those whose signature was checked.
    pub checked: u64,
    /// Those whose signature is by a key that is not known.
    pub unverified: u64,
    /// Those without a signature.
    pub unsigned: u64,
    /// Those that a patch revoked.
    pub revoked: u64,
}

/// A key that made signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// Its name.
    pub name: KeyName,
    /// Of its public key.
    pub fingerprint: Fingerprint,
    /// The bits of its modulus.
    pub bits: u32,
    /// How many packages it signed.
    pub packages: u64,
}

/// Counts the packages of all subdirs.
pub fn state(contents: &[Content<'_>]) -> State {
    let mut names = HashSet::new();
    let mut signed: BTreeMap<Fingerprint, u64> = BTreeMap::new();
    let mut keys: BTreeMap<Fingerprint, &(KeyName, u32)> = BTreeMap::new();
    let mut state = State::default();
    for Content { document, groups } in contents {
        let mut tally = Tally::default();
        for file in groups.iter().flat_map(|group| &group.files) {
            tally.add(file);
            if let Signature::Checked(fingerprint, _) = &file.signature {
                let packages = signed.entry(*fingerprint).or_default();
                *packages = packages.saturating_add(1);
            }
        }
        names.extend(groups.iter().map(|group| &*group.name));
        keys.extend(
            document
                .signing_keys
                .iter()
                .map(|(print, key)| (*print, key)),
        );
        state.whole.join(&tally);
        let subdir = document.subdir.as_str().to_owned();
        state.subdirs.push((subdir, tally));
    }
    state.names = names.len();
    state.subdirs.sort_by(|(a, _), (b, _)| a.cmp(b));
    state.keys = keys
        .into_iter()
        .map(|(fingerprint, (name, bits))| SigningKey {
            name: name.clone(),
            fingerprint,
            bits: *bits,
            packages: signed.get(&fingerprint).copied().unwrap_or_default(),
        })
        .collect();
    state.keys.sort_by(|a, b| {
        let order = |key: &SigningKey| (key.name.clone(), key.fingerprint);
        order(a).cmp(&order(b))
    });
    state
}

impl Tally {
    /// Counts one more.
    pub(super) fn add(&mut self, file: &Glance<'_>) {
        self.join(&Tally {
            packages: 1,
            bytes: file.size.unwrap_or_default(),
            checked: u64::from(matches!(file.signature, Signature::Checked(..))),
            unverified: u64::from(matches!(file.signature, Signature::Unverified(_))),
            unsigned: u64::from(matches!(file.signature, Signature::Unsigned)),
            revoked: u64::from(file.revoked),
        });
    }

    fn join(&mut self, other: &Tally) {
        for (sum, more) in [
            (&mut self.packages, other.packages),
            (&mut self.bytes, other.bytes),
            (&mut self.checked, other.checked),
            (&mut self.unverified, other.unverified),
            (&mut self.unsigned, other.unsigned),
            (&mut self.revoked, other.revoked),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}
