//! A signed index: metadata of The Update Framework (specification 1.0) over a channel's index files. Owns its names
//! and places, the roles and how long they last, the verification of a chain, and the making of a new generation.
//! It must not know how index files come to be, nor write them.

#[cfg(feature = "tuf")]
mod error;
#[cfg(feature = "tuf")]
mod fetch;
#[cfg(feature = "tuf")]
mod first;
#[cfg(feature = "tuf")]
mod form;
#[cfg(feature = "tuf")]
mod hurried;
#[cfg(feature = "tuf")]
mod lifetimes;
#[cfg(feature = "tuf")]
mod load;
#[cfg(feature = "tuf")]
mod make;
#[cfg(feature = "tuf")]
mod memory;
mod place;
#[cfg(feature = "tuf")]
mod root;
#[cfg(feature = "tuf")]
mod runtime;
#[cfg(feature = "tuf")]
#[cfg(test)]
pub(crate) mod samples;
#[cfg(feature = "tuf")]
#[cfg(test)]
mod tests;
#[cfg(feature = "tuf")]
mod transport;

pub use crate::signature::is_metadata;
#[cfg(feature = "tuf")]
pub use error::TufError;
#[cfg(feature = "tuf")]
pub use fetch::{target, target_to};
#[cfg(feature = "tuf")]
pub use first::{first_root, newest_root};
#[cfg(feature = "tuf")]
pub use lifetimes::{Lifetimes, parse_lifetime};
#[cfg(feature = "tuf")]
pub use load::{Anchor, Expired, Loading, claimed, load};
#[cfg(feature = "tuf")]
pub use make::{Made, due, make, refresh};
pub use place::{
    FOLDER, Role, TARGETS, TIMESTAMP, by_hash, by_hex, key_name, key_target, metadata,
};
#[cfg(feature = "tuf")]
pub use root::{ROLE_KEY_BITS, RoleKey, Root, RootPlan};
#[cfg(feature = "tuf")]
pub use transport::ChannelTransport;

use std::collections::BTreeMap;
#[cfg(feature = "tuf")]
use std::collections::BTreeSet;

#[cfg(feature = "tuf")]
use crate::keys::Fingerprint;

/// The most bytes that one file of metadata may have, the targets aside.
pub const MAX_METADATA: u64 = 1 << 20;

/// The most bytes that the targets metadata may have.
pub const MAX_TARGETS: u64 = 16 << 20;

/// The most root metadata files that are read after one another.
pub const MAX_ROOTS: u64 = 1024;

/// The highest version that is read or made: every JSON reader takes it (RFC 8259, 6).
pub const MAX_VERSION: u64 = (1 << 53) - 1;

/// The version of the specification that metadata names.
#[cfg(feature = "tuf")]
const SPEC_VERSION: &str = "1.0.0";

/// What signed metadata says of one target file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Bytes.
    pub length: u64,
    /// SHA-256 of the file.
    pub sha256: [u8; 32],
}

/// Target files by name: paths in the channel, with `/` between their parts.
pub type Targets = BTreeMap<String, Target>;

/// What a verified chain of metadata vouches for.
#[cfg(feature = "tuf")]
#[derive(Debug, Clone)]
pub struct Generation {
    /// The version of each role's metadata.
    pub versions: BTreeMap<Role, u64>,
    /// When each role's metadata expires, in milliseconds since 1970.
    pub expires: BTreeMap<Role, i64>,
    /// The target files.
    pub targets: Targets,
    /// The newest trusted root.
    pub root: Root,
    /// The root keys of the root that trust began with, and those that signed roots which lead to it.
    pub began: BTreeSet<Fingerprint>,
}

/// Whether a target's name is a plain path in the channel: no empty part, none that leads elsewhere, no control
/// characters or backslashes.
#[cfg(feature = "tuf")]
fn is_target_name(name: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part != "." && part != "..";
    let odd = |c: char| c.is_control() || c == '\\';
    name.len() <= 1024 && name.split('/').all(part) && !name.contains(odd)
}
