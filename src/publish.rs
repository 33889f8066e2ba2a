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
    Ok(match (&file.content, standing(storage, file)?) {
        (None, Standing::Absent) | (Some(_), Standing::Right) => None,
        (None, _) => Some(Change::Remove { path }),
        (Some(content), _) => Some(Change::Write {
            path,
            content: content.bytes()?,
        }),
    })
}

/// What stands in a file's place.
enum Standing {
    Absent,
    Right,
    /// Other content, or a planted symbolic link or FIFO: replaced as such, never followed.
    Wrong,
}

fn standing(storage: &dyn Storage, wanted: &IndexFile) -> Result<Standing, Error> {
    let path = &wanted.path;
    let (file, stat) = match storage.open(path, Links::Refuse) {
        Ok(opened) => opened,
        Err(error) if error.is_absent() => return Ok(Standing::Absent),
        // A folder can't be replaced by a file, and may hold somebody's work.
        Err(StorageError::NotAFile(_)) if storage.list(path).is_ok() => {
            return Err(StorageError::NotAFile(path.clone()).into());
        }
        Err(StorageError::Link(_) | StorageError::NotAFile(_) | StorageError::Outside(_)) => {
            return Ok(Standing::Wrong);
        }
        Err(error) => return Err(error.into()),
    };
    let Some(content) = &wanted.content else {
        return Ok(Standing::Wrong);
    };
    // A file that can't be right by its size is not read at all.
    if stat.size > content.largest() {
        return Ok(Standing::Wrong);
    }
    let mut bytes = Vec::new();
    let read = file.take(content.largest()).read_to_end(&mut bytes);
    read.map_err(|cause| {
        let (path, operation) = (path.clone(), "read the index file that stands there");
        StorageError::Io {
            path,
            operation,
            cause,
        }
    })?;
    Ok(if content.is_in(&bytes) {
        Standing::Right
    } else {
        Standing::Wrong
    })
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
        std::fs::create_dir(root.path().join("a.zst")).unwrap();
        assert!(
            changes(&storage, &wanted(true)).is_err(),
            "a folder is not replaced"
        );
        std::fs::remove_dir(root.path().join("a.zst")).unwrap();
        let huge = std::fs::File::create(root.path().join("a.zst")).unwrap();
        huge.set_len(1 << 40).unwrap();
        assert_eq!(run(true), ["a.zst"], "a huge file is replaced unread");
    }
}
