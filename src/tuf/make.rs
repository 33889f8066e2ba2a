//! Making a generation: targets, snapshot and timestamp, signed by an index key. What was made is verified as a client
//! would before it is given out.

use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tough::TargetName;
use tough::schema::{self, Hashes, Metafile, Signed};

use super::form::{printed, time, version};
use super::load::{Anchor, Expired, Loading, load};
use super::{
    Generation, Lifetimes, Role, Root, SPEC_VERSION, Target, Targets, TufError, is_target_name,
    metadata,
};
use crate::signature::{Signer, sign};
use crate::upstream::MemoryUpstream;

/// New metadata, as files by their paths in the channel, in the order in which they have to be written.
#[derive(Debug, Clone)]
pub struct Made {
    /// The targets and the snapshot, each under a name of its own.
    pub metadata: Vec<(String, Vec<u8>)>,
    /// The timestamp, which makes them the newest: it goes last, behind all that they name.
    pub timestamp: (String, Vec<u8>),
    /// What clients see then.
    pub generation: Generation,
}

/// Makes and signs metadata over `targets`, one version above `previous`, at `now` (milliseconds since 1970).
///
/// # Errors
/// [`TufError::WrongKey`] where `root` does not name the signer's key, [`TufError::KeySize`], [`TufError::Sign`], or
/// what a client would say of the result.
pub fn make(
    root: &Root,
    previous: Option<&Generation>,
    targets: &Targets,
    lifetimes: &Lifetimes,
    signer: &dyn Signer,
    now: i64,
) -> Result<Made, TufError> {
    let making = Making {
        root,
        previous,
        lifetimes,
        signer,
        now,
    };
    let (targets_file, listed) = making.targets(targets)?;
    let (snapshot_file, listed) = making.listing(Role::Snapshot, "targets.json", listed)?;
    let (timestamp, _) = making.listing(Role::Timestamp, "snapshot.json", listed)?;
    let files = [&targets_file, &snapshot_file, &timestamp];
    let generation = verified(root, &files)?;
    if generation.targets != *targets {
        return Err(TufError::System(
            "the metadata that was made names other targets; nothing was published".to_owned(),
        ));
    }
    Ok(Made {
        metadata: vec![targets_file, snapshot_file],
        timestamp,
        generation,
    })
}

/// The roles with less than a third of their time left at `now`, the root too.
pub fn due(generation: &Generation, lifetimes: &Lifetimes, now: i64) -> Vec<Role> {
    let expires = |role| generation.expires.get(&role).copied().unwrap_or(i64::MIN);
    let due = |role: &Role| lifetimes.is_due(*role, expires(*role), now);
    Role::ALL.into_iter().filter(due).collect()
}

/// Makes the metadata of a generation anew, with the same targets: all three roles, so that they expire in step.
///
/// # Errors
/// As [`make`].
pub fn refresh(
    root: &Root,
    previous: &Generation,
    lifetimes: &Lifetimes,
    signer: &dyn Signer,
    now: i64,
) -> Result<Made, TufError> {
    make(
        root,
        Some(previous),
        &previous.targets,
        lifetimes,
        signer,
        now,
    )
}

struct Making<'a> {
    root: &'a Root,
    previous: Option<&'a Generation>,
    lifetimes: &'a Lifetimes,
    signer: &'a dyn Signer,
    now: i64,
}

type File = (String, Vec<u8>);

impl Making<'_> {
    fn version(&self, role: Role) -> Result<std::num::NonZeroU64, TufError> {
        let before = self
            .previous
            .and_then(|previous| previous.versions.get(&role));
        version(before.copied().unwrap_or(0).saturating_add(1))
    }

    fn expires(&self, role: Role) -> Result<jiff::Timestamp, TufError> {
        time(self.lifetimes.until(role, self.now))
    }

    fn targets(&self, targets: &Targets) -> Result<(File, Metafile), TufError> {
        let role = Role::Targets;
        let mut signed = schema::Targets::new(
            SPEC_VERSION.to_owned(),
            self.version(role)?,
            self.expires(role)?,
        );
        signed.delegations = None;
        for (name, target) in targets {
            let known = Some(name).filter(|name| is_target_name(name));
            let known = known.and_then(|name| TargetName::new(name.as_str()).ok());
            let known = known
                .ok_or_else(|| TufError::Plan(format!("{name:?} can't be the name of a target")))?;
            signed.add_target(known, listed(target));
        }
        self.file(role, signed)
    }

    /// The snapshot or the timestamp, which names one other file.
    fn listing(
        &self,
        role: Role,
        name: &str,
        file: Metafile,
    ) -> Result<(File, Metafile), TufError> {
        let meta = HashMap::from([(name.to_owned(), file)]);
        let (version, expires) = (self.version(role)?, self.expires(role)?);
        if role == Role::Timestamp {
            let mut signed = schema::Timestamp::new(SPEC_VERSION.to_owned(), version, expires);
            signed.meta = meta;
            return self.file(role, signed);
        }
        let mut signed = schema::Snapshot::new(SPEC_VERSION.to_owned(), version, expires);
        signed.meta = meta;
        self.file(role, signed)
    }

    /// Signs a role's metadata: the file, and what the next one says of it.
    fn file<T: schema::Role>(&self, role: Role, signed: T) -> Result<(File, Metafile), TufError> {
        let keyid = self.root.id_for(role, self.signer.public_key())?;
        let canonical = signed.canonical_form();
        let canonical = canonical.map_err(|cause| TufError::system(&cause))?;
        let signature = sign(self.signer, &Sha256::digest(canonical).into())?;
        let version = signed.version();
        let bytes = printed(&Signed {
            signed,
            signatures: vec![schema::Signature {
                keyid,
                sig: signature.value.into(),
            }],
        })?;
        let file = Metafile {
            length: u64::try_from(bytes.len()).ok(),
            hashes: Some(hashes(Sha256::digest(&bytes).to_vec())),
            version,
            _extra: HashMap::new(),
        };
        Ok(((metadata(role, version.get()), bytes), file))
    }
}

fn hashes(sha256: Vec<u8>) -> Hashes {
    Hashes {
        sha256: sha256.into(),
        _extra: HashMap::new(),
    }
}

fn listed(target: &Target) -> schema::Target {
    schema::Target {
        length: target.length,
        hashes: hashes(target.sha256.to_vec()),
        custom: HashMap::new(),
        _extra: HashMap::new(),
    }
}

/// What a client makes of new files under this root. What it makes of times is left to it.
fn verified(root: &Root, files: &[&File]) -> Result<Generation, TufError> {
    let files = files
        .iter()
        .map(|(path, bytes)| (path.clone(), bytes.clone()));
    load(Loading {
        upstream: Arc::new(MemoryUpstream::new(
            "the new metadata".to_owned(),
            files.collect(),
        )),
        anchor: Anchor::Known(root.clone()),
        memory: None,
        expired: Expired::Allowed,
    })
}
