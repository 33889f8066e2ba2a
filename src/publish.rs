//! Putting index files in their places. Owns the decision which of them changed; what it is told to
//! write comes in the order of publication. Must not know what the files mean.

pub mod signed;

use std::io::Read as _;

use crate::error::Error;
use crate::repodata::IndexFile;
use crate::storage::{Change, Links, Storage, StorageError};

/// What has to be done so that a file stands as it should; `None` where it does already.
///
/// # Errors
/// When a file that stands there can't be read, or a twin can't be compressed.
pub fn change(storage: &dyn Storage, file: &IndexFile) -> Result<Option<Change>, Error> {
    let path = file.path.clone();
    Ok(match (&file.content, standing(storage, file)?) {
        (None, Standing::Absent | Standing::Folder) | (Some(_), Standing::Right(_)) => None,
        // A folder can't be replaced by a file, and may hold somebody's work.
        (Some(_), Standing::Folder) => return Err(StorageError::NotAFile(path).into()),
        (None, _) => Some(Change::Remove { path }),
        (Some(content), _) => Some(Change::Write {
            path,
            content: content.bytes()?,
        }),
    })
}

/// What stands in an index file's place.
#[derive(Debug)]
pub enum Existing {
    /// Nothing.
    Absent,
    /// A file, with its content.
    File(Vec<u8>),
    /// A link, a folder, something special, or a file that is too large to be an index file.
    Odd,
}

impl Existing {
    /// The content of a file; what is odd is as good as nothing, where it will be replaced.
    pub fn file(self) -> Option<Vec<u8>> {
        match self {
            Existing::File(content) => Some(content),
            Existing::Absent | Existing::Odd => None,
        }
    }
}

/// What stands in an index file's place, read as long as it has at most `cap` bytes; never through a link.
///
/// # Errors
/// When it can't be read.
pub fn existing(storage: &dyn Storage, path: &str, cap: u64) -> Result<Existing, Error> {
    let (file, stat) = match storage.open(path, Links::Refuse) {
        Ok(opened) => opened,
        Err(StorageError::Link(_) | StorageError::NotAFile(_) | StorageError::Outside(_)) => {
            return Ok(Existing::Odd);
        }
        Err(error) if error.is_absent() || error.is_no_folder() => return Ok(Existing::Absent),
        Err(error) => return Err(error.into()),
    };
    if stat.size > cap {
        return Ok(Existing::Odd);
    }
    let mut bytes = Vec::new();
    let read = file.take(cap).read_to_end(&mut bytes);
    read.map_err(|cause| unreadable(path, cause))?;
    Ok(Existing::File(bytes))
}

fn unreadable(path: &str, cause: std::io::Error) -> StorageError {
    StorageError::Io {
        path: path.to_owned(),
        operation: "read the index file that stands there",
        cause,
    }
}

/// What stands in a file's place.
enum Standing {
    Absent,
    /// The content that is wanted, in these bytes.
    Right(Vec<u8>),
    /// A folder, which is nobody's index file.
    Folder,
    /// Other content, or a planted symbolic link or FIFO: replaced as such, never followed.
    Wrong,
}

fn standing(storage: &dyn Storage, wanted: &IndexFile) -> Result<Standing, Error> {
    let path = &wanted.path;
    let (file, stat) = match storage.open(path, Links::Refuse) {
        Ok(opened) => opened,
        Err(error) if error.is_absent() || error.is_no_folder() => return Ok(Standing::Absent),
        Err(StorageError::NotAFile(_)) if storage.list(path).is_ok() => {
            return Ok(Standing::Folder);
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
    read.map_err(|cause| unreadable(path, cause))?;
    Ok(if content.is_in(&bytes) {
        Standing::Right(bytes)
    } else {
        Standing::Wrong
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::repodata::{Codec, Content, Rank};
    use crate::storage::LocalStorage;
    use std::sync::Arc;

    fn all(storage: &LocalStorage, files: &[IndexFile]) -> Result<Vec<Change>, Error> {
        let changes = files
            .iter()
            .filter_map(|file| change(storage, file).transpose());
        changes.collect()
    }

    #[test]
    fn only_what_differs_is_written() {
        let root = tempfile::tempdir().unwrap();
        let storage = LocalStorage::open(root.path()).unwrap();
        let plain = Arc::new(b"{}".to_vec());
        let file = |path: &str, content| IndexFile {
            rank: Rank::Kin,
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
            let changes = all(&storage, &wanted(zst)).unwrap();
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
            all(&storage, &wanted(true)).is_err(),
            "a folder is not replaced"
        );
        std::fs::remove_dir(root.path().join("a.zst")).unwrap();
        let huge = std::fs::File::create(root.path().join("a.zst")).unwrap();
        huge.set_len(1 << 40).unwrap();
        assert_eq!(run(true), ["a.zst"], "a huge file is replaced unread");
    }
}
