//! Renewing the metadata of a channel whose packages nobody touches: what expires soon is signed anew, over the same
//! targets, once these were held against their hashes. It reads no package.

use super::desk::{Desk, older};
use super::{OpenIndexKey, trouble};
use crate::error::Error;
use crate::tuf::{self, Generation, Role, Root, TufError};

/// What is to be renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// What has less than a third of its time left.
    Due,
    /// All, whenever it expires.
    All,
}

/// Whether metadata by a key that the newest root no longer names is built on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OldKey {
    /// No: a key may have been revoked because it was stolen.
    Refused,
    /// Yes, where the root just before names it: it was revoked for another reason, and is in no other hands.
    Trusted,
}

/// What was renewed.
#[derive(Debug)]
pub struct Refreshed {
    /// What stands there now; in a dry run, what stood there before.
    pub generation: Generation,
    /// Why it was renewed; empty where it was not.
    pub due: Vec<Role>,
    /// Whether it was signed anew because the index key changed.
    pub new_key: bool,
}

impl Refreshed {
    /// Whether metadata was signed anew, or would be.
    pub fn is_new(&self) -> bool {
        self.new_key || !self.due.is_empty()
    }

    /// Whether the root is due, which only its own keys can renew.
    pub fn root_is_due(&self, now: i64) -> bool {
        let lifetimes = self.generation.root.lifetimes();
        tuf::due(&self.generation, &lifetimes, now).contains(&Role::Root)
    }
}

/// Renews what is due, after the generation that stands there was verified.
///
/// # Errors
/// When nothing was published yet, what stands there does not verify, or no key of the index is here.
pub fn refresh(
    desk: &Desk<'_>,
    (which, old_key): (Which, OldKey),
    open: &OpenIndexKey<'_>,
) -> Result<Refreshed, Error> {
    let root = desk.root()?;
    let (generation, new_key) = verified(desk, &root, old_key)?;
    let lifetimes = root.lifetimes();
    let mut due: Vec<_> = match which {
        Which::Due => tuf::due(&generation, &lifetimes, desk.now),
        Which::All => Role::ALL.to_vec(),
    };
    due.retain(|role| *role != Role::Root);
    let is_renewed = new_key || !due.is_empty();
    desk.demand_newest(&generation)?;
    if is_renewed {
        desk.hold(&generation)?;
    }
    if desk.dry_run || !is_renewed {
        return Ok(Refreshed {
            generation,
            due,
            new_key,
        });
    }
    let signer = open(&root)?;
    let made = tuf::refresh(&root, &generation, &lifetimes, signer.as_ref(), desk.now)?;
    desk.publish(None, Some(&made))?;
    Ok(Refreshed {
        generation: made.generation,
        due,
        new_key,
    })
}

/// The generation, and whether it is by a key that the newest root no longer names.
fn verified(desk: &Desk<'_>, root: &Root, old_key: OldKey) -> Result<(Generation, bool), Error> {
    let none = || {
        let why = "nothing was published under its root yet; run `sigindex` on the channel first";
        trouble(desk.name(), why)
    };
    let untrusted = match desk.generation() {
        Ok(generation) => return Ok((generation.ok_or_else(none)?, false)),
        Err(rollback @ TufError::Rollback { .. }) => {
            return Err(older(desk.name(), &rollback.to_string()));
        }
        Err(untrusted @ TufError::Untrusted { .. }) if root.version() > 1 => untrusted,
        Err(other) => return Err(other.into()),
    };
    match (desk.generation_before(root), old_key) {
        (Ok(Some(generation)), OldKey::Trusted) => Ok((generation, true)),
        (Ok(Some(_)), OldKey::Refused) => {
            let why = "what is published there is signed by an index key that the newest root revoked; if that key is not in other hands, sign it anew with `sigindex trust refresh --trust-old-key`, else publish from the packages with `sigindex CHANNEL --accept-index`";
            Err(trouble(desk.name(), why))
        }
        _ => Err(untrusted.into()),
    }
}
