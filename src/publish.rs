//! Putting index files in their places. Owns the decision which of them changed; what it is told to
//! write comes in the order of publication. Must not know what the files mean.

use std::io::Read as _;

use crate::error::Error;
use crate::repodata::IndexFile;
use crate::storage::{Change, Links, Storage, StorageError};

/// What has to be done so that the files stand as they should; nothing where they do already.
///
/// # Errors
/// When a file that stands there can't be read, or a twin can't be compressed.
pub fn changes(storage: &dyn Storage, files: &[IndexFile]) -> Result<Vec<Change>, Error> {
    let mut changes = Vec::new();
    for file in files {
        changes.extend(change(storage, file)?);
    }
    Ok(changes)
}

fn change(storage: &dyn Storage, file: &IndexFile) -> Result<Option<Change>, Error> {
    let path = file.path.clone();
    let existing = read(storage, &file.path)?;
    Ok(match (&file.content, existing) {
        (None, Existing::Nothing) => None,
        (None, _) => Some(Change::Remove { path }),
        (Some(content), Existing::Bytes(bytes)) if content.is_in(&bytes) => None,
        (Some(content), _) => Some(Change::Write {
            path,
            content: content.bytes()?,
        }),
    })
}

/// What stands in a file's place.
enum Existing {
    Nothing,
    /// A planted symbolic link, a FIFO: replaced as such, never followed.
    Other,
    Bytes(Vec<u8>),
}

fn read(storage: &dyn Storage, path: &str) -> Result<Existing, Error> {
    match storage.open(path, Links::Refuse) {
        Ok((mut file, _)) => {
            let mut bytes = Vec::new();
            match file.read_to_end(&mut bytes) {
                Ok(_) => Ok(Existing::Bytes(bytes)),
                Err(cause) => {
                    let (path, operation) =
                        (path.to_owned(), "read the index file that stands there");
                    Err(StorageError::Io {
                        path,
                        operation,
                        cause,
                    }
                    .into())
                }
            }
        }
        Err(error) if error.is_absent() => Ok(Existing::Nothing),
        Err(StorageError::Link(_) | StorageError::NotAFile(_) | StorageError::Outside(_)) => {
            Ok(Existing::Other)
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::repodata::{Codec, Content};
    use crate::storage::LocalStorage;
    use std::sync::Arc;

    #[test]
    fn only_what_differs_is_written() {
        let root = tempfile::tempdir().unwrap();
        let storage = LocalStorage::open(root.path()).unwrap();
        let plain = Arc::new(b"{}".to_vec());
        let file = |path: &str, content| IndexFile {
            path: path.to_owned(),
            content,
        };
        let wanted = |zst: bool| {
            [
                file(
                    "a.zst",
                    zst.then(|| Content::Twin(Codec::Zstd(3), Arc::clone(&plain))),
                ),
                file("a", Some(Content::Plain(Arc::clone(&plain)))),
            ]
        };
        let run = |zst| {
            let changes = changes(&storage, &wanted(zst)).unwrap();
            let paths: Vec<String> = changes
                .iter()
                .map(|change| change.path().to_owned())
                .collect();
            storage.apply(changes).unwrap();
            paths
        };
        assert_eq!(run(false), ["a"]);
        assert_eq!(
            run(true),
            ["a.zst"],
            "a twin that is switched on later is made"
        );
        assert_eq!(run(true), [""; 0]);
        std::fs::write(root.path().join("a.zst"), "broken").unwrap();
        assert_eq!(run(true), ["a.zst"]);
        assert_eq!(
            run(false),
            ["a.zst"],
            "a twin that is switched off is removed"
        );
        assert!(!root.path().join("a.zst").exists());
        std::fs::remove_file(root.path().join("a")).unwrap();
        std::os::unix::fs::symlink("planted", root.path().join("a")).unwrap();
        assert_eq!(run(false), ["a"]);
        assert!(!root.path().join("planted").exists());
    }
}
