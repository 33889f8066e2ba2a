//! Verifying a channel's chain of metadata, through `tough`: from an anchor to the newest root, the timestamp, the
//! snapshot and the targets. Owns the order, the limits, and what `tough`'s errors mean for a channel.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as _;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use tough::error::Error as Tough;
use tough::schema::RoleType;
use tough::{ExpirationEnforcement, Limits, Repository, RepositoryLoader};
use url::Url;

use super::first::{First, first};
use super::hurried::{Hurried, PATIENCE};
use super::memory::Memory;
use super::transport::ChannelTransport;
use super::{
    Generation, MAX_METADATA, MAX_ROOTS, MAX_TARGETS, MAX_VERSION, Role, Root, Target, Targets,
    TufError, is_target_name, metadata, runtime,
};
use crate::json::{self, Json};
use crate::keys::Fingerprint;
use crate::upstream::{Upstream, fetch};

/// What to do with metadata that has expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expired {
    /// It is refused: for whoever installs.
    Refused,
    /// It is taken: for the publisher, who renews it, and warns.
    Allowed,
}

/// Where trust begins.
#[derive(Debug)]
pub enum Anchor<'a> {
    /// Keys: the first root is the newest that meets its own threshold with one of them among its valid signatures.
    Pinned(&'a [Fingerprint]),
    /// A root that was accepted earlier.
    Known(Root),
}

/// A channel that is to be verified.
#[derive(Debug)]
pub struct Loading<'a> {
    /// The channel.
    pub upstream: Arc<dyn Upstream>,
    /// Where trust begins.
    pub anchor: Anchor<'a>,
    /// A folder that holds what was seen of this channel, and only of this one: nothing older is taken then. A root
    /// in it goes before the anchor's, unless that is newer, or the pinned keys are others than those it was taken for.
    pub memory: Option<&'a Path>,
    /// What to do with what has expired.
    pub expired: Expired,
}

/// Verifies a channel's metadata. It must not be called on a thread that runs asynchronous code.
///
/// # Errors
/// [`TufError`] says what does not hold; then nothing of the channel may be used.
pub fn load(loading: Loading<'_>) -> Result<Generation, TufError> {
    let loading = Loading {
        upstream: Arc::new(Hurried::new(loading.upstream, PATIENCE)),
        ..loading
    };
    let memory = loading.memory.map(Memory::open).transpose()?;
    if let (Some(memory), Expired::Allowed) = (&memory, loading.expired) {
        memory.forget_time()?;
    }
    let pinned = match &loading.anchor {
        Anchor::Pinned(pinned) => Some(*pinned),
        Anchor::Known(_) => None,
    };
    let known = match &memory {
        Some(memory) => memory.root(pinned)?,
        None => None,
    };
    let alone = |root: Root| First::after(None, root);
    let First { root, vouched } = match (loading.anchor, known) {
        (Anchor::Pinned(_), Some(known)) => alone(known),
        (Anchor::Pinned(pinned), None) => first(loading.upstream.as_ref(), pinned)?,
        (Anchor::Known(root), Some(known)) if known.version() > root.version() => alone(known),
        (Anchor::Known(root), _) => alone(root),
    };
    if let Some(memory) = &memory {
        memory.begin_with(&root)?;
    }
    let transport = ChannelTransport::new(loading.upstream);
    transport.know(metadata(Role::Root, root.version()), root.bytes());
    let datastore = memory.as_ref().map(Memory::copy);
    let loaded = runtime::run(begin(
        &root,
        ChannelTransport::bases()?,
        &transport,
        datastore,
        loading.expired,
    ))?;
    let loaded = loaded.map_err(|cause| match (cause, loading.memory) {
        (
            Tough::SystemTimeSteppedBackward {
                sys_time,
                latest_known_time,
            },
            Some(folder),
        ) => TufError::Clock {
            now: sys_time.to_string(),
            seen: latest_known_time.to_string(),
            path: Memory::time(folder),
        },
        (cause, _) => told(&transport, cause),
    });
    // The publisher takes what has expired, and asks for no time.
    let is_timed = loading.expired == Expired::Refused && loaded.is_ok();
    let kept = memory.map_or(Ok(()), |memory| memory.keep(pinned, is_timed));
    let repository = loaded?;
    kept?;
    generation(&repository, (root, vouched), &transport)
}

async fn begin(
    root: &Root,
    (metadata, targets): (Url, Url),
    transport: &ChannelTransport,
    memory: Option<&Path>,
    expired: Expired,
) -> Result<Repository, Tough> {
    let limits = Limits {
        max_root_size: MAX_METADATA,
        max_targets_size: MAX_TARGETS,
        max_timestamp_size: MAX_METADATA,
        max_snapshot_size: MAX_METADATA,
        max_root_updates: MAX_ROOTS,
    };
    let bytes = root.bytes();
    let mut loader = RepositoryLoader::new(&bytes, metadata, targets)
        .transport(transport.clone())
        .limits(limits)
        .expiration_enforcement(match expired {
            Expired::Refused => ExpirationEnforcement::Safe,
            Expired::Allowed => ExpirationEnforcement::Unsafe,
        });
    if let Some(memory) = memory {
        loader = loader.datastore(memory);
    }
    loader.load().await
}

/// What a verified repository says, in our words.
fn generation(
    repository: &Repository,
    (anchor, mut began): (Root, BTreeSet<Fingerprint>),
    transport: &ChannelTransport,
) -> Result<Generation, TufError> {
    let (root, timestamp) = (&repository.root().signed, &repository.timestamp().signed);
    let (snapshot, targets) = (&repository.snapshot().signed, &repository.targets().signed);
    let versions = BTreeMap::from([
        (Role::Root, root.version.get()),
        (Role::Timestamp, timestamp.version.get()),
        (Role::Snapshot, snapshot.version.get()),
        (Role::Targets, targets.version.get()),
    ]);
    let expires = BTreeMap::from([
        (Role::Root, root.expires.as_millisecond()),
        (Role::Timestamp, timestamp.expires.as_millisecond()),
        (Role::Snapshot, snapshot.expires.as_millisecond()),
        (Role::Targets, targets.expires.as_millisecond()),
    ]);
    if versions.values().any(|version| *version > MAX_VERSION) {
        let (path, why) = (transport.channel(), "a version is out of range".to_owned());
        return Err(TufError::Malformed { path, why });
    }
    began.extend(
        anchor
            .keys(Role::Root)
            .into_iter()
            .map(|key| key.fingerprint),
    );
    let path = metadata(Role::Root, root.version.get());
    let root = match transport.seen(&path) {
        Some(bytes) if root.version.get() != anchor.version() => {
            Root::parse(bytes).map_err(|cause| placed(transport, &path, cause))?
        }
        _ => anchor,
    };
    let path = metadata(Role::Targets, targets.version.get());
    let malformed = |why: String| TufError::Malformed {
        path: transport.placed(&path),
        why,
    };
    let mut names = Targets::new();
    for (name, target) in &targets.targets {
        let sha256 = <[u8; 32]>::try_from(target.hashes.sha256.as_ref());
        match sha256 {
            Ok(sha256) if is_target_name(name.raw()) => {
                let length = target.length;
                names.insert(name.raw().to_owned(), Target { length, sha256 });
            }
            _ => return Err(malformed(format!("the target {:?} is not one", name.raw()))),
        }
    }
    Ok(Generation {
        versions,
        expires,
        targets: names,
        root,
        began,
    })
}

fn placed(transport: &ChannelTransport, path: &str, cause: TufError) -> TufError {
    match cause {
        TufError::Malformed { why, .. } => TufError::Malformed {
            path: transport.placed(path),
            why,
        },
        other => other,
    }
}

/// What an error of `tough` means for the channel.
fn told(transport: &ChannelTransport, cause: Tough) -> TufError {
    let at = |role: RoleType| transport.placed(&transport.newest(role_of(role)));
    let channel = || transport.channel();
    let malformed = |path: String, why: String| TufError::Malformed { path, why };
    match cause {
        Tough::Transport { url, source, .. } => fetched(transport, url.path(), source),
        Tough::ExpiredMetadata { role, .. } => {
            let path_of = transport.newest(role_of(role));
            let (role, path) = (role_of(role), at(role));
            let since = expiry(transport, &path_of).unwrap_or_default();
            TufError::Expired { path, role, since }
        }
        Tough::OlderMetadata {
            role,
            current_version,
            new_version,
            ..
        } => TufError::Rollback {
            channel: channel(),
            role: role_of(role),
            why: format!("version {new_version} after {current_version}"),
        },
        Tough::OlderSnapshotInTimestamp {
            snapshot_new,
            snapshot_old,
            ..
        } => TufError::Rollback {
            channel: channel(),
            role: Role::Snapshot,
            why: format!("version {snapshot_new} after {snapshot_old}"),
        },
        ref rollback @ (Tough::SnapshotRoleMissing { .. } | Tough::SnapshotRoleRollback { .. }) => {
            TufError::Rollback {
                channel: channel(),
                role: Role::Targets,
                why: rollback.to_string(),
            }
        }
        Tough::ParseMetadata { role, source, .. } => malformed(at(role), source.to_string()),
        Tough::ParseTrustedMetadata { source, .. } => {
            malformed(channel(), format!("the trusted root: {source}"))
        }
        Tough::VerifyMetadata { role, source, .. } => TufError::Untrusted {
            path: at(role),
            why: source.to_string(),
        },
        Tough::MaxUpdatesExceeded { .. } => TufError::TooManyRoots { channel: channel() },
        other => TufError::Untrusted {
            path: channel(),
            why: other.to_string(),
        },
    }
}

/// What stopped a fetch: the channel, or a hash or length that does not hold.
fn fetched(transport: &ChannelTransport, path: &str, cause: tough::TransportError) -> TufError {
    let path = transport.placed(path.trim_start_matches('/'));
    if cause.kind() == tough::TransportErrorKind::FileNotFound {
        return TufError::Absent { path };
    }
    let why = cause.to_string();
    match transport.take_failure() {
        Some(cause) => TufError::Upstream(cause),
        None => match cause.source().and_then(|cause| cause.downcast_ref()) {
            Some(Tough::HashMismatch { .. }) => TufError::Untrusted {
                path,
                why: "its hash is not the one that was signed".to_owned(),
            },
            Some(Tough::MaxSizeExceeded { max_size, .. }) => TufError::Untrusted {
                path,
                why: format!("it has more than the {max_size} bytes that were signed"),
            },
            _ => TufError::System(why),
        },
    }
}

/// When a metadata file that was fetched expires.
fn expiry(transport: &ChannelTransport, path: &str) -> Option<i64> {
    let file: Value = serde_json::from_slice(&transport.seen(path)?).ok()?;
    let at: jiff::Timestamp = file.get("signed")?.get("expires")?.as_str()?.parse().ok()?;
    Some(at.as_millisecond())
}

/// What a channel that can't be verified claims of itself, for whoever signs over it with new metadata: the versions,
/// so that the new ones can be higher. Nothing of it is verified, and it names no targets.
///
/// # Errors
/// What the channel said.
pub fn claimed(upstream: &dyn Upstream, root: Root) -> Result<Generation, TufError> {
    let mut versions = BTreeMap::from([(Role::Root, root.version())]);
    let mut version = 0;
    for role in [Role::Timestamp, Role::Snapshot, Role::Targets] {
        let path = metadata(role, version);
        let file = fetch(upstream, &path, MAX_TARGETS).map_err(TufError::Upstream)?;
        let file = file.and_then(|bytes| json::parse_within(&bytes, MAX_CLAIMS).ok());
        let signed = member(file.as_ref(), "signed");
        let number = |value: Option<&Json>| {
            let number = member(value, "version").and_then(Json::as_i64);
            let number = number.and_then(|number| u64::try_from(number).ok());
            // Nobody publishes so often: a forged number is not counted up from.
            number.filter(|number| *number <= MOST_CLAIMED).unwrap_or(0)
        };
        versions.insert(role, number(signed).max(version));
        let next = match role {
            Role::Timestamp => "snapshot.json",
            _ => "targets.json",
        };
        version = number(member(member(signed, "meta"), next));
    }
    Ok(Generation {
        versions,
        expires: BTreeMap::new(),
        targets: Targets::new(),
        root,
        began: BTreeSet::new(),
    })
}

/// A member of what is an object, and has it.
fn member<'a>(value: Option<&'a Json>, key: &str) -> Option<&'a Json> {
    match value {
        Some(Json::Object(members)) => members.get(key),
        _ => None,
    }
}

/// How much memory the values of a file may take, in bytes, of which nothing is verified.
const MAX_CLAIMS: u64 = 256 << 20;

/// The highest version that is believed without a signature.
const MOST_CLAIMED: u64 = 1 << 32;

fn role_of(role: RoleType) -> Role {
    match role {
        RoleType::Root => Role::Root,
        RoleType::Timestamp => Role::Timestamp,
        RoleType::Snapshot => Role::Snapshot,
        RoleType::Targets | RoleType::DelegatedTargets => Role::Targets,
    }
}
