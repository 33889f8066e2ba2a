//! The form of root metadata: a plan becomes what `tough` writes, and what it read is held against what channels use.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZeroU64;

use serde_json::{Value, json};
use tough::schema::decoded::{Decoded, Hex, RsaPem};
use tough::schema::key::{Key, RsaKey, RsaScheme};
use tough::schema::{self, RoleKeys, RoleType, Signed};

use super::root::{ROLE_KEY_BITS, RoleKey, RootPlan};
use super::{MAX_VERSION, Role, SPEC_VERSION, TufError};
use crate::keys::{KeyName, PublicKey};

/// What a root says of its own beyond the specification, where clients look past it.
pub const OURS: &str = "x-sigindex";

/// A role in `tough`'s words.
pub fn role_type(role: Role) -> RoleType {
    match role {
        Role::Root => RoleType::Root,
        Role::Timestamp => RoleType::Timestamp,
        Role::Snapshot => RoleType::Snapshot,
        Role::Targets => RoleType::Targets,
    }
}

/// The text of a metadata file: its keys in order, so that the same content has the same bytes.
pub fn printed<T: serde::Serialize>(signed: &Signed<T>) -> Result<Vec<u8>, TufError> {
    let value = serde_json::to_value(signed).map_err(|cause| TufError::system(&cause))?;
    let mut text = serde_json::to_vec_pretty(&value).map_err(|cause| TufError::system(&cause))?;
    text.push(b'\n');
    Ok(text)
}

/// A time as metadata writes it: whole seconds.
pub fn time(millis: i64) -> Result<jiff::Timestamp, TufError> {
    jiff::Timestamp::from_second(millis.div_euclid(1000)).map_err(|cause| TufError::system(&cause))
}

pub fn version(number: u64) -> Result<NonZeroU64, TufError> {
    let number = NonZeroU64::new(number).filter(|number| number.get() <= MAX_VERSION);
    number.ok_or_else(|| TufError::Plan("there is no further version number".to_owned()))
}

pub fn check_size(key: &PublicKey) -> Result<(), TufError> {
    if ROLE_KEY_BITS.contains(&key.bits()) {
        return Ok(());
    }
    let (name, bits) = (key.name().clone(), key.bits());
    Err(TufError::KeySize { name, bits })
}

pub fn check_plan(plan: &RootPlan) -> Result<(), TufError> {
    for key in plan.root_keys.iter().chain(&plan.index_keys) {
        check_size(key)?;
    }
    let prints = |keys: &[PublicKey]| {
        keys.iter()
            .map(PublicKey::fingerprint)
            .collect::<BTreeSet<_>>()
    };
    let (roots, indexes) = (prints(&plan.root_keys), prints(&plan.index_keys));
    let number = u64::try_from(roots.len()).unwrap_or(0);
    let why = if roots.is_empty() || indexes.is_empty() {
        "a signed index needs at least one root key and one index key".to_owned()
    } else if roots.len() != plan.root_keys.len() || indexes.len() != plan.index_keys.len() {
        "a key is named twice for one role; name each once".to_owned()
    } else if !roots.is_disjoint(&indexes) {
        "one key is to be a root key and an index key; take keys of their own, so that the root's can stay offline".to_owned()
    } else if plan.threshold == 0 || plan.threshold > number {
        let threshold = plan.threshold;
        format!(
            "the threshold is {threshold} and there are {number} root keys; it goes from 1 to their number"
        )
    } else {
        return Ok(());
    };
    Err(TufError::Plan(why))
}

/// A public key as metadata writes it.
fn tuf_key(key: &PublicKey) -> Result<Key, TufError> {
    let pem = key.to_pem().trim_end();
    let public: Decoded<RsaPem> =
        serde_json::from_value(json!(pem)).map_err(|cause| TufError::system(&cause))?;
    Ok(Key::Rsa {
        keyval: RsaKey {
            public,
            _extra: HashMap::new(),
        },
        scheme: RsaScheme::RsassaPssSha256,
        _extra: HashMap::new(),
    })
}

/// A key's id in metadata: the SHA-256 of its canonical JSON (TUF 4.2).
pub fn key_id(key: &PublicKey) -> Result<Decoded<Hex>, TufError> {
    tuf_key(key)?
        .key_id()
        .map_err(|cause| TufError::system(&cause))
}

pub fn planned(plan: &RootPlan) -> Result<schema::Root, TufError> {
    let role_keys = |keys: &[PublicKey], threshold: u64| {
        let keyids = keys.iter().map(key_id).collect::<Result<_, _>>()?;
        let (threshold, _extra) = (version(threshold)?, HashMap::new());
        Ok::<_, TufError>(RoleKeys {
            keyids,
            threshold,
            _extra,
        })
    };
    let all = || plan.root_keys.iter().chain(&plan.index_keys);
    let keys = all().map(|key| Ok((key_id(key)?, tuf_key(key)?)));
    let mut roles = HashMap::new();
    for role in Role::ALL {
        let keys = match role {
            Role::Root => role_keys(&plan.root_keys, plan.threshold)?,
            _ => role_keys(&plan.index_keys, 1)?,
        };
        roles.insert(role_type(role), keys);
    }
    let names: BTreeMap<_, _> = all()
        .map(|key| (key.fingerprint().to_string(), key.name().as_str()))
        .collect();
    let lifetimes = Role::ALL.map(|role| (role.as_str(), plan.lifetimes.of(role)));
    let lifetimes = BTreeMap::from(lifetimes);
    let ours = json!({ "names": names, "lifetimes": lifetimes });
    Ok(schema::Root {
        spec_version: SPEC_VERSION.to_owned(),
        consistent_snapshot: true,
        version: version(plan.version)?,
        expires: time(plan.expires)?,
        keys: keys.collect::<Result<_, TufError>>()?,
        roles,
        _extra: HashMap::from([(OURS.to_owned(), ours)]),
    })
}

/// The keys of each role, where a root has the form that channels use.
pub fn checked(root: &schema::Root) -> Result<BTreeMap<Role, Vec<RoleKey>>, String> {
    if !root.spec_version.starts_with("1.") {
        return Err("it is of another version of TUF's specification than 1".to_owned());
    }
    if !root.consistent_snapshot {
        return Err("it has no consistent snapshots".to_owned());
    }
    if root.version.get() > MAX_VERSION {
        return Err("its version is out of range".to_owned());
    }
    let names = root._extra.get(OURS).and_then(|ours| ours.get("names"));
    let mut all = BTreeMap::new();
    for role in Role::ALL {
        let listed = root.roles.get(&role_type(role));
        let listed = listed.ok_or_else(|| format!("it has no role {role}"))?;
        let mut keys: Vec<RoleKey> = Vec::new();
        for id in &listed.keyids {
            let key = root.keys.get(id);
            let key = key.ok_or_else(|| format!("a key of the role {role} is not in it"))?;
            let key = role_key(id, key, names)?;
            if keys
                .iter()
                .any(|known| known.fingerprint == key.fingerprint)
            {
                return Err(format!("the role {role} has a key twice"));
            }
            keys.push(key);
        }
        if listed.threshold.get() > u64::try_from(keys.len()).unwrap_or(0) {
            return Err(format!("the role {role} has fewer keys than have to sign"));
        }
        all.insert(role, keys);
    }
    Ok(all)
}

fn role_key(id: &Decoded<Hex>, key: &Key, names: Option<&Value>) -> Result<RoleKey, String> {
    let Key::Rsa { keyval, .. } = key else {
        return Err("it has a key that is not RSA, which this channel can't use".to_owned());
    };
    let pem: String = serde_json::to_value(&keyval.public)
        .and_then(serde_json::from_value)
        .map_err(|cause| cause.to_string())?;
    let named = |text: &str| KeyName::parse(text).map_err(|cause| cause.to_string());
    let read = |name| PublicKey::from_pem(name, pem.as_bytes()).map_err(|cause| cause.to_string());
    let key = read(named("key")?)?;
    if !ROLE_KEY_BITS.contains(&key.bits()) {
        return Err(format!("it has a key of {} bits", key.bits()));
    }
    let print = key.fingerprint().to_string();
    let told = names.and_then(|names| names.get(&print)?.as_str());
    let start: String = print.chars().take(16).collect();
    let name = match told.and_then(|told| KeyName::parse(told).ok()) {
        Some(name) => name,
        None => named(&start)?,
    };
    let key = read(name.clone())?;
    Ok(RoleKey {
        fingerprint: key.fingerprint(),
        bits: key.bits(),
        pem: key.to_pem().to_owned(),
        name,
        key,
        id: id.clone(),
    })
}
