//! The keys of roles: public ones by their names, private ones that a root names, and what each is marked as.

use std::collections::BTreeSet;

use super::place::Place;
use crate::cli::index_key::IndexKey;
use crate::cli::signing::passphrase;
use crate::error::Error;
use crate::keys::{Fingerprint, KeyName, Keyring, KeysDir, PublicKey, Use};
use crate::shown::shown;
use crate::signature::{Signer, local_signer};
use crate::tuf::{Role, RoleKey, Root, RootPlan};

/// Public keys of the folder, by their names.
pub fn public(
    folder: &KeysDir,
    keyring: &Keyring,
    names: &[String],
) -> Result<Vec<PublicKey>, Error> {
    let one = |name: &String| {
        let name = KeyName::parse(name)?;
        match keyring.get(&name) {
            Some(Ok(key)) => Ok(key.clone()),
            Some(Err(broken)) => Err(Error::Environment(broken.to_string())),
            None => Err(Error::Trust {
                place: shown(folder.public_path(&name)),
                why: format!(
                    "the public key is not there; make the key with `sigindex keygen {name}`, or copy {name}.pub from the machine that has it"
                ),
            }),
        }
    };
    names.iter().map(one).collect()
}

/// Refuses keys that are for something else, and remembers what these are for.
pub fn mark(folder: &KeysDir, plan: &RootPlan, dry_run: bool) -> Result<(), Error> {
    let roots = plan.root_keys.iter().map(|key| (key, Use::Root));
    let all = || {
        roots
            .clone()
            .chain(plan.index_keys.iter().map(|key| (key, Use::Index)))
    };
    let uses = folder.uses()?;
    for (key, wanted) in all() {
        uses.allow(key.name(), &key.fingerprint(), wanted)?;
    }
    if !dry_run {
        for (key, wanted) in all() {
            folder.mark(key.name(), key.fingerprint(), wanted)?;
        }
    }
    Ok(())
}

/// The names of private keys in the folder that are among these.
pub fn private(folder: &KeysDir, wanted: &BTreeSet<Fingerprint>) -> Result<Vec<KeyName>, Error> {
    let mut found = Vec::new();
    for name in folder.private_names()? {
        match folder.check_private(&name) {
            Ok(key) if wanted.contains(&key.fingerprint()) => found.push(name),
            Err(unread) if unread.is_unread() => return Err(unread.into()),
            // A key that can't be used is none; if it is missed, that is said.
            Ok(_) | Err(_) => {}
        }
    }
    Ok(found)
}

/// Opens a private key of the folder.
pub fn signer(folder: &KeysDir, name: &KeyName) -> Result<Box<dyn Signer>, Error> {
    Ok(local_signer(folder.load_private(name, &passphrase)?))
}

pub fn prints(keys: &[RoleKey]) -> BTreeSet<Fingerprint> {
    keys.iter().map(|key| key.fingerprint).collect()
}

/// The key that signs an index.
pub fn index_signer(place: &Place, root: &Root) -> Result<Box<dyn Signer>, Error> {
    let key = IndexKey {
        folder: &place.folder,
        keyring: &place.keyring,
    };
    key.open(&prints(&root.keys(Role::Targets)))
}
