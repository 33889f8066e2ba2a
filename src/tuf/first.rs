//! The first root: which of a channel's roots a reader begins with who has nothing but pinned keys.

use std::collections::BTreeSet;

use super::root::Root;
use super::{MAX_METADATA, MAX_ROOTS, Role, TufError, metadata};
use crate::keys::Fingerprint;
use crate::upstream::{Upstream, fetch};

/// The newest root that meets its own threshold with at least one pinned key among its valid signatures. Those before
/// it are not asked for anything; those after it have to follow by TUF's rules, as the load that begins here sees to.
///
/// # Errors
/// [`TufError::Absent`] without any root, [`TufError::NoAnchor`], [`TufError::TooManyRoots`], or what the channel said.
pub fn first_root(upstream: &dyn Upstream, pinned: &[Fingerprint]) -> Result<Root, TufError> {
    first(upstream, pinned).map(|first| first.root)
}

/// The root that a reader begins with, and who vouches for it.
#[derive(Clone)]
pub(super) struct First {
    pub root: Root,
    /// The keys that signed it as its own, or one before it from which each root follows the last by TUF's rules.
    pub vouched: BTreeSet<Fingerprint>,
}

impl First {
    /// A root, and the one before it.
    pub(super) fn after(before: Option<First>, root: Root) -> First {
        let followed = before.filter(|before| root.follows(&before.root));
        let mut vouched = followed.map(|before| before.vouched).unwrap_or_default();
        vouched.extend(root.signed_by(&root.keys(Role::Root)));
        First { root, vouched }
    }
}

/// As [`first_root`].
pub(super) fn first(upstream: &dyn Upstream, pinned: &[Fingerprint]) -> Result<First, TufError> {
    let mut newest = None;
    let mut before: Option<First> = None;
    let mut version: u64 = 1;
    loop {
        let path = metadata(Role::Root, version);
        let Some(bytes) = fetch(upstream, &path, MAX_METADATA).map_err(TufError::Upstream)? else {
            break;
        };
        if version > MAX_ROOTS {
            let channel = upstream.name().to_owned();
            return Err(TufError::TooManyRoots { channel });
        }
        // What is no root can't be the first one; whether it may stand there at all is for the load to say.
        let root = Root::parse(bytes).ok();
        let root = root.filter(|root| root.version() == version && root.meets_itself());
        before = root.map(|root| First::after(before.take(), root));
        if let Some(first) = before
            .as_ref()
            .filter(|first| is_signed(&first.root, pinned))
        {
            newest = Some(first.clone());
        }
        version = version.saturating_add(1);
    }
    match newest {
        Some(first) => Ok(first),
        None if version == 1 => Err(TufError::Absent {
            path: format!("{}/{}", upstream.name(), metadata(Role::Root, 1)),
        }),
        None => Err(TufError::NoAnchor {
            channel: upstream.name().to_owned(),
            roots: version.saturating_sub(1),
        }),
    }
}

/// The newest root: the first one, and all that follow it by TUF's rules. Whether it has expired is not asked.
///
/// # Errors
/// As [`first_root`], and [`TufError::Untrusted`] or [`TufError::Malformed`] for one that does not follow.
pub fn newest_root(upstream: &dyn Upstream, pinned: &[Fingerprint]) -> Result<Root, TufError> {
    let mut root = first_root(upstream, pinned)?;
    loop {
        let path = metadata(Role::Root, root.version().saturating_add(1));
        let Some(bytes) = fetch(upstream, &path, MAX_METADATA).map_err(TufError::Upstream)? else {
            return Ok(root);
        };
        let path = format!("{}/{path}", upstream.name());
        let next = match Root::parse(bytes) {
            Err(TufError::Malformed { why, .. }) => return Err(TufError::Malformed { path, why }),
            next => next?,
        };
        if !next.follows(&root) {
            let before = root.version();
            let why = format!(
                "it does not follow version {before} with the signatures that both versions ask for"
            );
            return Err(TufError::Untrusted { path, why });
        }
        root = next;
    }
}

/// Whether a pinned key is among those of a root that signed it.
pub fn is_signed(root: &Root, pinned: &[Fingerprint]) -> bool {
    let signers = root.signed_by(&root.keys(Role::Root));
    signers.iter().any(|signer| pinned.contains(signer))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::upstream::MemoryUpstream;

    #[test]
    fn no_more_roots_are_read_than_any_channel_needs() {
        let asked = |roots: u64| {
            let file = |version| (metadata(Role::Root, version), b"{}".to_vec());
            let files = (1..=roots).map(file).collect();
            first_root(&MemoryUpstream::new("there".to_owned(), files), &[])
        };
        let why = asked(MAX_ROOTS).map(drop).unwrap_err();
        assert!(matches!(
            why,
            TufError::NoAnchor {
                roots: MAX_ROOTS,
                ..
            }
        ));
        for more in [MAX_ROOTS + 1, 5_000] {
            let why = asked(more).map(drop).unwrap_err();
            assert!(matches!(why, TufError::TooManyRoots { .. }), "{why}");
            assert!(
                why.to_string()
                    .contains("there: it has more than 1024 root")
            );
        }
    }
}
