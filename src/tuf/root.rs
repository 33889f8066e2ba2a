//! Root metadata: which keys may sign which role, and how many of them have to. Owns its form, what a sensible one
//! is, and its signatures; whether one is to be trusted is decided elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tough::schema::decoded::{Decoded, Hex};
use tough::schema::{self, Role as _, Signed};

use super::form::{OURS, check_plan, check_size, checked, key_id, planned, printed, role_type};
use super::lifetimes::Lifetimes;
use super::{MAX_METADATA, Role, TufError};
use crate::keys::{Fingerprint, KeyName, PublicKey};
use crate::signature::{Signer, sign};

/// The sizes of keys in a signed index, in bits: those that every client takes.
pub const ROLE_KEY_BITS: RangeInclusive<u32> = 2048..=8192;

/// A key of a role.
#[derive(Debug, Clone)]
pub struct RoleKey {
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// Its size.
    pub bits: u32,
    /// Its SubjectPublicKeyInfo in PEM, with a final newline.
    pub pem: String,
    /// The name under which the channel's keeper knows it, or the start of its fingerprint.
    pub name: KeyName,
    /// The key.
    pub key: PublicKey,
    /// Its id in this root.
    pub(super) id: Decoded<Hex>,
}

/// What a root is made of.
#[derive(Debug, Clone)]
pub struct RootPlan {
    /// From 1.
    pub version: u64,
    /// In milliseconds since 1970.
    pub expires: i64,
    /// The keys of the root itself.
    pub root_keys: Vec<PublicKey>,
    /// How many of them have to sign.
    pub threshold: u64,
    /// The keys of the timestamp, the snapshot and the targets; one of them signs.
    pub index_keys: Vec<PublicKey>,
    /// How long metadata is good for from now on.
    pub lifetimes: Lifetimes,
}

/// Root metadata, of the right form, with its bytes.
#[derive(Debug, Clone)]
pub struct Root(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    bytes: Vec<u8>,
    signed: Signed<schema::Root>,
    keys: BTreeMap<Role, Vec<RoleKey>>,
}

impl Root {
    /// Reads root metadata. That its form is right says nothing about whose it is.
    ///
    /// # Errors
    /// [`TufError::Malformed`].
    pub fn parse(bytes: Vec<u8>) -> Result<Root, TufError> {
        let fail = |why: String| TufError::Malformed {
            path: "root.json".to_owned(),
            why,
        };
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_METADATA {
            return Err(fail(format!("it has more than {MAX_METADATA} bytes")));
        }
        let signed: Signed<schema::Root> =
            serde_json::from_slice(&bytes).map_err(|cause| fail(cause.to_string()))?;
        let keys = checked(&signed.signed).map_err(fail)?;
        Ok(Root(Arc::new(Parts {
            bytes,
            signed,
            keys,
        })))
    }

    /// Makes a root that nobody has signed yet.
    ///
    /// # Errors
    /// [`TufError::KeySize`] or [`TufError::Plan`].
    pub fn draft(plan: &RootPlan) -> Result<Root, TufError> {
        check_plan(plan)?;
        let signed = Signed {
            signed: planned(plan)?,
            signatures: Vec::new(),
        };
        Root::of(signed)
    }

    fn of(signed: Signed<schema::Root>) -> Result<Root, TufError> {
        Root::parse(printed(&signed)?)
    }

    /// The file's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// From 1.
    pub fn version(&self) -> u64 {
        self.0.signed.signed.version.get()
    }

    /// When it expires, in milliseconds since 1970.
    pub fn expires(&self) -> i64 {
        self.0.signed.signed.expires.as_millisecond()
    }

    /// The keys of a role, none twice.
    pub fn keys(&self, role: Role) -> Vec<RoleKey> {
        self.0.keys.get(&role).cloned().unwrap_or_default()
    }

    /// How many signatures a role needs.
    pub fn threshold(&self, role: Role) -> u64 {
        let keys = self.0.signed.signed.roles.get(&role_type(role));
        keys.map_or(u64::MAX, |keys| keys.threshold.get())
    }

    /// How long metadata is good for in this channel.
    pub fn lifetimes(&self) -> Lifetimes {
        let mut lifetimes = Lifetimes::default();
        for role in Role::ALL {
            let said = self
                .ours("lifetimes", role.as_str())
                .and_then(Value::as_i64);
            // What is out of range stays at its default.
            let _ = said.map(|seconds| lifetimes.set(role, seconds));
        }
        lifetimes
    }

    fn ours(&self, part: &str, name: &str) -> Option<&Value> {
        self.0.signed.signed._extra.get(OURS)?.get(part)?.get(name)
    }

    /// What it is made of, so that a next one can be made.
    pub fn plan(&self) -> RootPlan {
        let keys = |role| self.keys(role).into_iter().map(|key| key.key).collect();
        RootPlan {
            version: self.version(),
            expires: self.expires(),
            root_keys: keys(Role::Root),
            threshold: self.threshold(Role::Root),
            index_keys: keys(Role::Targets),
            lifetimes: self.lifetimes(),
        }
    }

    /// The bytes that its signatures are over: canonical JSON.
    ///
    /// # Errors
    /// [`TufError::System`] where it has no such form.
    pub fn to_sign(&self) -> Result<Vec<u8>, TufError> {
        let canonical = self.0.signed.signed.canonical_form();
        canonical.map_err(|cause| TufError::system(&cause))
    }

    /// The keys among `keys` with a valid signature on it, each once.
    pub fn signed_by(&self, keys: &[RoleKey]) -> Vec<Fingerprint> {
        let Ok(bytes) = self.to_sign() else {
            return Vec::new();
        };
        let digest = Sha256::digest(bytes).into();
        let valid = |key: &&RoleKey| {
            let mut signatures = self.0.signed.signatures.iter();
            signatures.any(|s| s.keyid == key.id && key.key.verify(&digest, &s.sig))
        };
        keys.iter()
            .filter(valid)
            .map(|key| key.fingerprint)
            .collect()
    }

    /// How many valid signatures by keys of `judge`'s root role are missing: none for a root that `judge` accepts.
    pub fn missing(&self, judge: &Root) -> u64 {
        let keys = judge.keys(Role::Root);
        let valid = u64::try_from(self.signed_by(&keys).len()).unwrap_or(0);
        judge.threshold(Role::Root).saturating_sub(valid)
    }

    /// Whether it says the same as another, whoever signed it.
    pub fn is_same_as(&self, other: &Root) -> bool {
        matches!((self.to_sign(), other.to_sign()), (Ok(one), Ok(two)) if one == two)
    }

    /// Whether it meets its own threshold, by `tough`'s judgement too.
    pub fn meets_itself(&self) -> bool {
        self.missing(self) == 0 && self.0.signed.signed.verify_role(&self.0.signed).is_ok()
    }

    /// Whether it may follow `before` (TUF 5.3.4 and 5.3.5): the next version, signed by the thresholds of both.
    pub fn follows(&self, before: &Root) -> bool {
        before.version().checked_add(1) == Some(self.version())
            && self.meets_itself()
            && self.missing(before) == 0
            && before.0.signed.signed.verify_role(&self.0.signed).is_ok()
    }

    /// Adds a signature, or replaces the one by the same key.
    ///
    /// # Errors
    /// [`TufError::KeySize`], [`TufError::Sign`].
    pub fn add_signature(&self, signer: &dyn Signer) -> Result<Root, TufError> {
        let key = signer.public_key();
        check_size(key)?;
        let digest = Sha256::digest(self.to_sign()?).into();
        let print = key.fingerprint();
        let listed = self.0.keys.values().flatten();
        let mut listed = listed.filter(|known| known.fingerprint == print);
        let signature = schema::Signature {
            keyid: listed
                .next()
                .map_or_else(|| key_id(key), |known| Ok(known.id.clone()))?,
            sig: sign(signer, &digest)?.value.into(),
        };
        self.with(vec![signature])
    }

    /// Takes the signatures of another copy of the same root over.
    ///
    /// # Errors
    /// [`TufError::Plan`] where the other copy is of something else.
    pub fn merge(&self, other: &Root) -> Result<Root, TufError> {
        if !self.is_same_as(other) {
            return Err(TufError::Plan(
                "the signatures are of another draft; sign the newest one".to_owned(),
            ));
        }
        self.with(other.0.signed.signatures.clone())
    }

    fn with(&self, more: Vec<schema::Signature>) -> Result<Root, TufError> {
        let mut signed = self.0.signed.clone();
        for signature in more {
            signed.signatures.retain(|old| old.keyid != signature.keyid);
            signed.signatures.push(signature);
        }
        Root::of(signed)
    }

    /// The same without signatures that no key in its own root role, or in that of `before`, made.
    ///
    /// # Errors
    /// [`TufError::System`].
    pub fn cleaned(&self, before: Option<&Root>) -> Result<Root, TufError> {
        let mut keys = self.keys(Role::Root);
        keys.extend(before.map(|root| root.keys(Role::Root)).unwrap_or_default());
        let valid: BTreeSet<_> = self.signed_by(&keys).into_iter().collect();
        let good: BTreeSet<Decoded<Hex>> = keys
            .iter()
            .filter(|key| valid.contains(&key.fingerprint))
            .map(|key| key.id.clone())
            .collect();
        let mut signed = self.0.signed.clone();
        signed.signatures.retain(|s| good.contains(&s.keyid));
        Root::of(signed)
    }

    /// The id under which a role's key is known, where the role has it.
    pub(super) fn id_for(&self, role: Role, key: &PublicKey) -> Result<Decoded<Hex>, TufError> {
        check_size(key)?;
        let mut keys = self.0.keys.get(&role).into_iter().flatten();
        let known = keys.find(|known| known.fingerprint == key.fingerprint());
        known
            .map(|known| known.id.clone())
            .ok_or_else(|| TufError::WrongKey {
                name: key.name().clone(),
                fingerprint: key.fingerprint(),
                role,
                version: self.version(),
            })
    }
}
