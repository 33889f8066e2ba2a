//! What can go wrong with a signed index, as kinds that callers tell apart: a channel that can't be reached, one that
//! lies, and one that is only late.

use std::io;
use std::path::PathBuf;

use super::Role;
use super::root::ROLE_KEY_BITS;
use crate::error::Error;
use crate::keys::{Fingerprint, KeyName};
use crate::shown::shown;
use crate::signature::SignError;
use crate::storage;
use crate::upstream::UpstreamError;

/// Why metadata or a target was not had, not believed, or not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TufError {
    /// A file could not be fetched: unreachable, too slow, too large.
    #[error(transparent)]
    Upstream(UpstreamError),
    /// A file that has to be there is not.
    #[error(
        "{path}: it is not there, and the signed index needs it; whoever keeps the channel publishes it anew with `sigindex CHANNEL`"
    )]
    Absent {
        /// The file.
        path: String,
    },
    /// No root has a valid signature by a key that is trusted.
    #[error(
        "{channel}: none of its {roots} root metadata files has a valid signature by a key that is trusted for it; get the channel's root key from whoever keeps it, and put it into the keys folder with `sigindex keys add`"
    )]
    NoAnchor {
        /// The channel.
        channel: String,
        /// How many roots were looked at.
        roots: u64,
    },
    /// More root metadata files than are read.
    #[error(
        "{channel}: it has more than {} root metadata files after the one that is trusted, which no channel needs; something is wrong with the server",
        super::MAX_ROOTS
    )]
    TooManyRoots {
        /// The channel.
        channel: String,
    },
    /// Metadata is older than what was seen before.
    #[error(
        "{channel}: the {role} metadata is older than what was seen before ({why}); a mirror may lag behind, or somebody plays an old index back: try again later, or ask whoever keeps the channel"
    )]
    Rollback {
        /// The channel.
        channel: String,
        /// The role.
        role: Role,
        /// Which versions.
        why: String,
    },
    /// Metadata has expired.
    #[error(
        "{path}: it expired {}; whoever keeps the channel renews it with `sigindex trust refresh` (for the root: `sigindex trust root`)",
        day(*since)
    )]
    Expired {
        /// The file.
        path: String,
        /// The role.
        role: Role,
        /// When it expired, in milliseconds since 1970; 0 where that is not known.
        since: i64,
    },
    /// A signature, threshold, hash or length does not hold.
    #[error(
        "{path}: it can't be trusted: {why}; nothing of it was used{}",
        remedy(path)
    )]
    Untrusted {
        /// The file.
        path: String,
        /// What does not hold.
        why: String,
    },
    /// A file is no metadata of the form that is read.
    #[error("{path}: it is not metadata of a signed index: {why}{}", remedy(path))]
    Malformed {
        /// The file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// The key that is to sign is not one of the role's.
    #[error(
        "the key {name} ({fingerprint}) may not sign the {role} metadata: root metadata version {version} does not name it; take a key that it names, or change it with `sigindex trust root`"
    )]
    WrongKey {
        /// The key.
        name: KeyName,
        /// Its fingerprint.
        fingerprint: Fingerprint,
        /// The role.
        role: Role,
        /// The version of the root.
        version: u64,
    },
    /// A key's size is not one that every client takes.
    #[error(
        "the key {name} has {bits} bits, and keys of a signed index have {} to {}; make one with `sigindex keygen`",
        ROLE_KEY_BITS.start(),
        ROLE_KEY_BITS.end()
    )]
    KeySize {
        /// The key.
        name: KeyName,
        /// Its size.
        bits: u32,
    },
    /// A set of roles that can't work.
    #[error("{0}")]
    Plan(String),
    /// What was remembered of a channel can't be read or kept.
    #[error(
        "{}: what is remembered of the channel {why}; without it an old index could be played back. If the disk is sound, remove this folder, and the channel is trusted anew from its pinned keys",
        shown(path)
    )]
    Memory {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The clock went back since the last load.
    #[error(
        "this machine's clock went back since the channel was last read ({now} after {seen}), so that nobody can tell what has expired; set the clock, or if it is right, and was ahead then, remove {}",
        shown(path)
    )]
    Clock {
        /// What it says.
        now: String,
        /// What it said then.
        seen: String,
        /// Where that is remembered.
        path: PathBuf,
    },
    /// A signature could not be made.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The machine failed.
    #[error("can't verify the signed index: {0}")]
    System(String),
}

impl TufError {
    pub(super) fn system(cause: &dyn std::fmt::Display) -> TufError {
        TufError::System(cause.to_string())
    }

    pub(super) fn memory(path: &std::path::Path, cause: &io::Error) -> TufError {
        TufError::Memory {
            path: path.to_owned(),
            why: format!("can't be read or kept: {cause}{}", storage::remedy(cause)),
        }
    }

    /// Whether it is the index that does not hold, and neither this machine nor the way to the channel.
    pub fn is_of_index(&self) -> bool {
        let is_ours = matches!(
            self,
            TufError::Memory { .. } | TufError::Clock { .. } | TufError::System(_)
        );
        !is_ours && !self.is_upstream()
    }

    /// Whether the channel could not be asked, or did not answer whole: it may do so later.
    pub fn is_upstream(&self) -> bool {
        matches!(self, TufError::Upstream(_))
    }
}

/// What the keeper of a channel does about a file that does not hold: whoever may write the folder can put a next root
/// there, and it stops every run until it is gone.
fn remedy(path: &str) -> &'static str {
    if path.ends_with(".root.json") {
        "; roots are made with `sigindex trust root`: the channel's keeper takes away one that came there otherwise"
    } else {
        ""
    }
}

impl From<TufError> for Error {
    fn from(error: TufError) -> Error {
        match error {
            TufError::Upstream(error) => error.into(),
            other => Error::Metadata(other.to_string()),
        }
    }
}

/// A time for people: the day and the minute, in UTC.
fn day(millis: i64) -> String {
    match jiff::Timestamp::from_millisecond(millis) {
        Ok(at) if millis > 0 => format!("on {}", at.strftime("%Y-%m-%d %H:%M UTC")),
        _ => "already".to_owned(),
    }
}
