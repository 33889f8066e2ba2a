//! Where metadata and target files lie in a channel: consistent snapshots, in the layout of python-tuf.

use crate::keys::KeyName;
use crate::record::hex;

/// The folder of metadata in a channel.
pub const FOLDER: &str = "tuf";

/// The folder of target files by hash in a channel.
pub const TARGETS: &str = "tuf/targets";

/// The one file that names the generation, in the channel.
pub const TIMESTAMP: &str = "tuf/timestamp.json";

/// The folder of package keys among the targets.
const KEYS: &str = "keys/";

/// A role of TUF (specification 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Names the keys of all roles.
    Root,
    /// Names the newest snapshot.
    Timestamp,
    /// Names the version of the targets.
    Snapshot,
    /// Names the index files and package keys.
    Targets,
}

impl Role {
    /// All of them, from the root down.
    pub const ALL: [Role; 4] = [Role::Root, Role::Timestamp, Role::Snapshot, Role::Targets];

    /// Its name in metadata.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Root => "root",
            Role::Timestamp => "timestamp",
            Role::Snapshot => "snapshot",
            Role::Targets => "targets",
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where one version of a role's metadata lies in a channel; the timestamp has one place for all.
pub fn metadata(role: Role, version: u64) -> String {
    match role {
        Role::Timestamp => TIMESTAMP.to_owned(),
        _ => format!("{FOLDER}/{version}.{}.json", role.as_str()),
    }
}

/// Where a target file lies by hash in a channel: `tuf/targets/linux-64/HASH.repodata.json`.
pub fn by_hash(target: &str, sha256: &[u8; 32]) -> String {
    by_hex(target, &hex(sha256))
}

/// The same with the hash as it stands in metadata, in hex.
pub fn by_hex(target: &str, hash: &str) -> String {
    match target.rsplit_once('/') {
        Some((folder, name)) => format!("{TARGETS}/{folder}/{hash}.{name}"),
        None => format!("{TARGETS}/{hash}.{target}"),
    }
}

/// The target that holds a package key: `keys/NAME.pub`.
pub fn key_target(name: &KeyName) -> String {
    format!("{KEYS}{name}.pub")
}

/// The package key that a target holds, if it is one.
pub fn key_name(target: &str) -> Option<KeyName> {
    let name = target.strip_prefix(KEYS)?.strip_suffix(".pub")?;
    KeyName::parse(name).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn files_lie_where_python_tuf_looks() {
        assert_eq!(metadata(Role::Root, 3), "tuf/3.root.json");
        assert_eq!(metadata(Role::Timestamp, 3), "tuf/timestamp.json");
        let hash = "ab".repeat(32);
        assert_eq!(
            by_hash("linux-64/repodata.json", &[0xab; 32]),
            format!("tuf/targets/linux-64/{hash}.repodata.json")
        );
        assert_eq!(
            by_hash("index.html", &[0xab; 32]),
            format!("tuf/targets/{hash}.index.html")
        );
        let key = KeyName::parse("Alice").unwrap();
        assert_eq!(key_target(&key), "keys/Alice.pub");
        assert_eq!(key_name("keys/Alice.pub"), Some(key));
        for none in [
            "keys/../a.pub",
            "keys/a",
            "a.pub",
            "keys/x/y.pub",
            "keys/.pub",
        ] {
            assert_eq!(key_name(none), None, "{none}");
        }
    }
}
