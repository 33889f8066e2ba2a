//! A channel in a folder, or wherever else runs publish to, as a client sees it.

use std::fmt;
use std::io::{self, Read as _, Write};
use std::sync::Arc;

use super::{Upstream, UpstreamError, UpstreamFault};
use crate::storage::{Links, Storage, StorageError, remedy};

/// The bytes that are passed on at once.
const CHUNK: usize = 256 << 10;

/// A place that is read as a client reads a channel.
pub struct StoredUpstream {
    name: String,
    storage: Arc<dyn Storage>,
}

impl StoredUpstream {
    /// Takes an open place, and what people call it.
    pub fn new(name: String, storage: Arc<dyn Storage>) -> StoredUpstream {
        StoredUpstream { name, storage }
    }

    fn error(&self, path: &str, fault: UpstreamFault) -> UpstreamError {
        UpstreamError {
            place: format!("{}/{path}", self.name),
            fault,
        }
    }

    fn unreachable(&self, path: &str, cause: &dyn std::fmt::Display) -> UpstreamError {
        self.error(path, UpstreamFault::Unreachable(cause.to_string()))
    }
}

// By hand, because a place needs no form of its own to be shown: its name says which it is.
impl fmt::Debug for StoredUpstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StoredUpstream").field(&self.name).finish()
    }
}

impl Upstream for StoredUpstream {
    fn name(&self) -> &str {
        &self.name
    }

    fn fetch_to(
        &self,
        path: &str,
        cap: u64,
        to: &mut dyn Write,
    ) -> Result<Option<u64>, UpstreamError> {
        let (file, stat) = match self.storage.open(path, Links::Follow) {
            Ok(opened) => opened,
            Err(error) if error.is_absent() || error.is_no_folder() => return Ok(None),
            // A folder's page is index.html, which has a path of its own.
            Err(StorageError::NotAFile(_)) => return Ok(None),
            Err(error) => return Err(self.unreachable(path, &error)),
        };
        // Nothing of what is too large is read; it may still grow meanwhile.
        if stat.size > cap {
            return Err(self.error(path, UpstreamFault::TooLarge { cap }));
        }
        let mut file = file.take(cap.saturating_add(1));
        let mut chunk = vec![0; CHUNK];
        let mut total: u64 = 0;
        loop {
            let read = match file.read(&mut chunk) {
                Ok(0) => return Ok(Some(total)),
                Ok(read) => read,
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
                Err(cause) => {
                    let why = format!("{cause}{}", remedy(&cause));
                    return Err(self.unreachable(path, &why));
                }
            };
            total = total.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
            if total > cap {
                return Err(self.error(path, UpstreamFault::TooLarge { cap }));
            }
            let bytes = chunk.get(..read).unwrap_or_default();
            let written = to.write_all(bytes);
            written.map_err(|cause| self.error(path, UpstreamFault::Sink(cause)))?;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::fetch;
    use super::*;
    use crate::storage::LocalStorage;

    #[test]
    fn a_file_comes_whole_or_not_at_all() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("noarch")).unwrap();
        std::fs::write(root.path().join("noarch/a"), "abc").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", root.path().join("out")).unwrap();
        let storage = LocalStorage::open(root.path()).unwrap();
        let folder = StoredUpstream::new("channel".to_owned(), Arc::new(storage));
        assert_eq!(fetch(&folder, "noarch/a", 3).unwrap().unwrap(), b"abc");
        for absent in ["noarch/b", "other/a", "noarch/a/b", "noarch"] {
            assert_eq!(fetch(&folder, absent, 3).unwrap(), None, "{absent}");
        }
        let error = fetch(&folder, "noarch/a", 2).unwrap_err();
        assert!(matches!(error.fault, UpstreamFault::TooLarge { cap: 2 }));
        assert!(
            error.to_string().starts_with("channel/noarch/a: "),
            "{error}"
        );
        assert!(fetch(&folder, "out", 1 << 20).is_err());
    }
}
