//! What is to be different in the next root. Owns how a change becomes a plan.

use super::trouble;
use crate::error::Error;
use crate::keys::PublicKey;
use crate::tuf::{Lifetimes, Role, Root, RootPlan};

/// Changes to a root. None at all make a new version that expires later.
#[derive(Debug, Default)]
pub struct Changes {
    /// Root keys to add.
    pub add_root: Vec<PublicKey>,
    /// Root keys to take away: names as the root has them, or fingerprints.
    pub revoke_root: Vec<String>,
    /// How many root keys have to sign.
    pub threshold: Option<u64>,
    /// Index keys to add.
    pub add_index: Vec<PublicKey>,
    /// Index keys to take away.
    pub revoke_index: Vec<String>,
    /// How long metadata is good for, in seconds.
    pub lifetimes: Vec<(Role, i64)>,
}

impl Changes {
    /// The plan of the version after `before`, made at `now` (milliseconds since 1970).
    ///
    /// # Errors
    /// When a key is there already, or one to take away is not.
    pub fn plan(&self, before: &Root, now: i64) -> Result<RootPlan, Error> {
        let mut plan = before.plan();
        change(
            &mut plan.root_keys,
            &self.add_root,
            &self.revoke_root,
            "root",
        )?;
        change(
            &mut plan.index_keys,
            &self.add_index,
            &self.revoke_index,
            "index",
        )?;
        if let Some(threshold) = self.threshold {
            plan.threshold = threshold;
        }
        plan.lifetimes = set(plan.lifetimes, &self.lifetimes)?;
        plan.version = plan.version.saturating_add(1);
        plan.expires = plan.lifetimes.until(Role::Root, now);
        Ok(plan)
    }
}

/// Lifetimes with some changed.
pub fn set(mut lifetimes: Lifetimes, changes: &[(Role, i64)]) -> Result<Lifetimes, Error> {
    for (role, seconds) in changes {
        let set = lifetimes.set(*role, *seconds);
        set.map_err(|why| Error::Usage(format!("--expires {role}: {why}")))?;
    }
    Ok(lifetimes)
}

fn change(
    keys: &mut Vec<PublicKey>,
    add: &[PublicKey],
    revoke: &[String],
    role: &str,
) -> Result<(), Error> {
    for name in revoke {
        let is =
            |key: &PublicKey| key.name().as_str() == name || key.fingerprint().to_string() == *name;
        match keys.iter().filter(|key| is(key)).count() {
            1 => keys.retain(|key| !is(key)),
            0 => {
                let why = format!(
                    "it is no {role} key of this channel; `sigindex trust show` lists them"
                );
                return Err(trouble(name, why));
            }
            _ => {
                let why = format!("several {role} keys have this name; give the fingerprint");
                return Err(trouble(name, why));
            }
        }
    }
    for key in add {
        if keys
            .iter()
            .any(|known| known.fingerprint() == key.fingerprint())
        {
            let why = format!("it is a {role} key of this channel already");
            return Err(trouble(key.name().as_str(), why));
        }
        keys.push(key.clone());
    }
    Ok(())
}
