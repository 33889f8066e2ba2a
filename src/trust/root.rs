//! Making and changing a root: from a plan over the signatures to what is published. A root is published only once
//! clients would take it, and where it changes the index key, together with metadata by the new one.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::change::{Changes, set};
use super::desk::Desk;
use super::draft::Draft;
use super::refresh::OldKey;
use super::{OpenIndexKey, trouble};
use crate::error::Error;
use crate::keys::PublicKey;
use crate::storage::{Kind, Links};
use crate::tuf::{Generation, Lifetimes, Made, Role, Root, RootPlan, refresh};

/// What a first root is made of.
#[derive(Debug)]
pub struct Founding {
    /// The root's keys.
    pub root_keys: Vec<PublicKey>,
    /// How many of them have to sign.
    pub threshold: u64,
    /// The index keys.
    pub index_keys: Vec<PublicKey>,
    /// How long metadata is good for, where not by default: in seconds.
    pub lifetimes: Vec<(Role, i64)>,
}

/// What became of a draft.
#[derive(Debug)]
pub enum Done {
    /// It is published.
    Published {
        /// The root.
        root: Root,
        /// What happened to the metadata that an index key signs.
        index: IndexMetadata,
    },
    /// It lacks signatures; nothing was published.
    Unfinished {
        /// With the signatures so far.
        draft: Draft,
        /// What is missing, in words.
        missing: String,
    },
}

/// What happens to the metadata under a new root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexMetadata {
    /// Nothing was published yet.
    None,
    /// It stays good.
    Stays,
    /// It was signed anew, by the new key.
    Signed,
    /// It is by a key that was revoked, and was not signed anew: clients refuse it until it is.
    Waits,
}

/// Plans a channel's first root.
///
/// # Errors
/// When there is one, or the keys don't serve.
pub fn found(desk: &Desk<'_>, founding: Founding) -> Result<Draft, Error> {
    if desk.is_signed()? {
        let why = "its index is signed already; change its root with `sigindex trust root`";
        return Err(trouble(desk.name(), why));
    }
    let lifetimes = set(Lifetimes::default(), &founding.lifetimes)?;
    let plan = RootPlan {
        version: 1,
        expires: lifetimes.until(Role::Root, desk.now),
        root_keys: founding.root_keys,
        threshold: founding.threshold,
        index_keys: founding.index_keys,
        lifetimes,
    };
    demand_own_keys(desk, &plan)?;
    let (before, root) = (None, Root::draft(&plan)?);
    Ok(Draft { before, root })
}

/// Plans the next root of a channel.
///
/// # Errors
/// When there is no root to begin with, or the keys don't serve.
pub fn propose(desk: &Desk<'_>, changes: &Changes) -> Result<Draft, Error> {
    let before = desk.root()?;
    let plan = changes.plan(&before, desk.now)?;
    demand_own_keys(desk, &plan)?;
    let root = Root::draft(&plan)?;
    let before = Some(before);
    Ok(Draft { before, root })
}

/// Publishes a draft, if it has the signatures that clients ask for.
///
/// # Errors
/// When it does not follow what stands there, or can't be written.
pub fn change(
    desk: &Desk<'_>,
    draft: Draft,
    old_key: OldKey,
    open: &OpenIndexKey<'_>,
) -> Result<Done, Error> {
    let generation = match &draft.before {
        None if desk.is_signed()? => {
            let why = "its index is signed already, and a first root can't be put under it; change its root with `sigindex trust root`";
            return Err(trouble(desk.name(), why));
        }
        None => None,
        Some(before) => {
            let newest = desk.root()?;
            if newest.bytes() != before.bytes() && !newest.is_same_as(before) {
                let version = newest.version();
                let why = format!(
                    "the draft is not made on top of root version {version}, which stands there; make it anew"
                );
                return Err(trouble(desk.name(), why));
            }
            desk.generation()
                .or_else(|error| match error.is_of_index() {
                    // One that does not verify stays as it is; runs that publish deal with that.
                    true => Ok(None),
                    false => Err(error),
                })?
        }
    };
    demand_own_keys(desk, &draft.root.plan())?;
    let root = match draft.finished() {
        Ok(root) => root,
        Err(missing) => return Ok(Done::Unfinished { draft, missing }),
    };
    demand_anchor(desk, &draft, &root)?;
    let (index, made) = resigned(desk, &root, generation, (old_key, open))?;
    desk.publish(Some(&root), made.as_ref())?;
    Ok(Done::Published { root, index })
}

/// New metadata, where what stands there is not good under a new root, and was not signed by a thief.
fn resigned(
    desk: &Desk<'_>,
    root: &Root,
    generation: Option<Generation>,
    (old_key, open): (OldKey, &OpenIndexKey<'_>),
) -> Result<(IndexMetadata, Option<Made>), Error> {
    let Some(generation) = generation else {
        let any = desk.storage.stat(crate::tuf::TIMESTAMP)?.is_some();
        let index = if any {
            IndexMetadata::Waits
        } else {
            IndexMetadata::None
        };
        return Ok((index, None));
    };
    if let Ok(Some(_)) = desk.generation_under(root) {
        return Ok((IndexMetadata::Stays, None));
    }
    if old_key == OldKey::Refused {
        return Ok((IndexMetadata::Waits, None));
    }
    desk.hold(&generation)?;
    let signer = match open(root) {
        Ok(signer) => signer,
        Err(Error::NoIndexKey { .. }) => return Ok((IndexMetadata::Waits, None)),
        Err(other) => return Err(other),
    };
    let made = refresh(
        root,
        &generation,
        &root.lifetimes(),
        signer.as_ref(),
        desk.now,
    )?;
    Ok((IndexMetadata::Signed, Some(made)))
}

/// Whoever publishes has to trust what is published: else the next run could not build on it.
fn demand_anchor(desk: &Desk<'_>, draft: &Draft, root: &Root) -> Result<(), Error> {
    let signers = root.signed_by(&root.keys(Role::Root));
    if draft.before.is_some() || signers.iter().any(|key| desk.trusted.contains(key)) {
        return Ok(());
    }
    let why = "none of the root keys that signed the draft is in the keys folder here; add one with `sigindex keys add`";
    Err(trouble(desk.name(), why))
}

/// A key that signed a package of the channel never signs its index.
fn demand_own_keys(desk: &Desk<'_>, plan: &RootPlan) -> Result<(), Error> {
    let signed = package_keys(desk)?;
    for key in plan.root_keys.iter().chain(&plan.index_keys) {
        if signed.contains(&key.fingerprint().to_string()) {
            let why = "it signed packages of this channel, and a key of a signed index signs nothing else; make one with `sigindex keygen`";
            return Err(trouble(key.name().as_str(), why));
        }
    }
    Ok(())
}

/// What an index file says of the keys that signed packages.
#[derive(Deserialize)]
struct Repodata {
    info: Option<Info>,
}

#[derive(Deserialize)]
struct Info {
    #[serde(default)]
    signing_keys: std::collections::BTreeMap<String, IgnoredAny>,
}

/// The fingerprints that the channel's index files name. One that can't be read is for runs that publish to judge.
fn package_keys(desk: &Desk<'_>) -> Result<BTreeSet<String>, Error> {
    let mut keys = BTreeSet::new();
    for item in desk.storage.list("")? {
        let Some(folder) = item.name.to_str().filter(|_| item.kind == Kind::Folder) else {
            continue;
        };
        let path = format!("{folder}/repodata.json");
        let Ok((file, _)) = desk.storage.open(&path, Links::Follow) else {
            continue;
        };
        let read: Result<Repodata, _> = serde_json::from_reader(std::io::BufReader::new(file));
        let info = read.ok().and_then(|repodata| repodata.info);
        keys.extend(
            info.into_iter()
                .flat_map(|info| info.signing_keys.into_keys()),
        );
    }
    Ok(keys)
}
