//! The metadata of a channel, read once into memory. Owns which files are read; believes none of them.

use std::collections::BTreeMap;

use super::metadata_in;
use crate::error::Error;
use crate::publish::{self, Existing};
use crate::storage::{Storage, StorageError};
use crate::tuf::{MAX_TARGETS, Role, metadata};
use crate::upstream::MemoryUpstream;

type Files = BTreeMap<String, Vec<u8>>;

/// All roots, and the chain that the timestamp names, read once: what is verified is what is used.
///
/// # Errors
/// When one that is there can't be read.
pub fn read(storage: &dyn Storage, channel: &str) -> Result<MemoryUpstream, Error> {
    let mut files = Files::new();
    for file in metadata_in(storage)? {
        if file.role == Role::Root {
            take(&mut files, storage, metadata(Role::Root, file.version))?;
        }
    }
    let mut version = 0;
    for (role, names) in [
        (Role::Timestamp, Some("snapshot.json")),
        (Role::Snapshot, Some("targets.json")),
        (Role::Targets, None),
    ] {
        let path = metadata(role, version);
        take(&mut files, storage, path.clone())?;
        let next = names.and_then(|name| named(files.get(&path)?, name));
        let Some(next) = next else { break };
        version = next;
    }
    Ok(MemoryUpstream::new(channel.to_owned(), files))
}

fn take(files: &mut Files, storage: &dyn Storage, path: String) -> Result<(), Error> {
    match publish::existing(storage, &path, MAX_TARGETS)? {
        Existing::File(bytes) => drop(files.insert(path, bytes)),
        // Too large, or a planted link: there, and nothing that verifies. A root is never done without.
        Existing::Odd if path.ends_with(".root.json") => {
            let why = "it is too large, or no file of its own; put back what was published";
            return Err(Error::Storage(StorageError::Io {
                path,
                operation: "read the root",
                cause: std::io::Error::other(why),
            }));
        }
        Existing::Odd => drop(files.insert(path, Vec::new())),
        Existing::Absent => {}
    }
    Ok(())
}

/// The version of another file that one names; whether that is true is for the verification to say.
fn named(metadata: &[u8], name: &str) -> Option<u64> {
    let file: serde_json::Value = serde_json::from_slice(metadata).ok()?;
    file.get("signed")?
        .get("meta")?
        .get(name)?
        .get("version")?
        .as_u64()
}
