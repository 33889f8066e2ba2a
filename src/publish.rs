//! Putting index files in their places. Owns the decision which of them changed; what it is told to
//! write comes in the order of publication. Must not know what the files mean.

pub mod signed;

use std::io::{self, Read as _};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::error::Error;
use crate::repodata::{Content, HEAD_BYTES, IndexFile, Rank};
use crate::storage::{Change, Links, OpenFile, Stat, Storage, StorageError};

/// The bytes that are compared at once.
const CHUNK: usize = 1 << 18;

/// What becomes of a file that is to stand in its place, or not to be there.
#[derive(Debug)]
pub enum Fate {
    /// All is as it should be: this very file stands there, or none.
    Stays(Option<Stat>),
    /// Something has to be done.
    Changes(Change),
}

/// What has to be done so that a file stands as it should.
///
/// # Errors
/// When a file that stands there can't be read, or a twin can't be compressed; [`Error::Interrupted`] when that is to
/// stop.
pub fn fate(
    storage: &dyn Storage,
    file: &IndexFile,
    cancelled: &AtomicBool,
) -> Result<Fate, Error> {
    let path = file.path.clone();
    Ok(match (&file.content, standing(storage, file)?) {
        (None, Standing::Absent | Standing::Folder) => Fate::Stays(None),
        (Some(_), Standing::Right(_, stat)) => Fate::Stays(Some(stat)),
        // A folder can't be replaced by a file, and may hold somebody's work.
        (Some(_), Standing::Folder) => return Err(StorageError::NotAFile(path).into()),
        (None, _) => Fate::Changes(Change::Remove { path }),
        (Some(content), _) => Fate::Changes(Change::Write {
            path,
            content: content.bytes(cancelled)?,
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

fn unreadable(path: &str, cause: io::Error) -> StorageError {
    StorageError::Io {
        path: path.to_owned(),
        operation: "read the index file that stands there",
        cause,
    }
}

/// What stands in a file's place.
enum Standing {
    Absent,
    /// The content that is wanted, in these bytes, of this file.
    Right(Arc<Vec<u8>>, Stat),
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
    let held = held(file, stat.size, content).map_err(|cause| unreadable(path, cause))?;
    Ok(held.map_or(Standing::Wrong, |bytes| Standing::Right(bytes, stat)))
}

/// The bytes of a file that holds the content that is wanted. One that can't be right by its size, or by what a twin
/// says of itself at its beginning, is not read any further.
fn held(mut file: OpenFile, size: u64, wanted: &Content) -> io::Result<Option<Arc<Vec<u8>>>> {
    let mut bytes = Vec::new();
    if let Content::Twin(..) = wanted {
        let head = u64::try_from(HEAD_BYTES).unwrap_or_default();
        (&mut file).take(head).read_to_end(&mut bytes)?;
    }
    if !wanted.may_be_in(size, &bytes) {
        return Ok(None);
    }
    if let Content::Plain(plain) = wanted {
        return Ok(is_same(file, plain)?.then(|| Arc::clone(plain)));
    }
    file.take(wanted.largest()).read_to_end(&mut bytes)?;
    Ok(wanted.is_in(&bytes).then(|| Arc::new(bytes)))
}

/// Whether a file has exactly these bytes; it is never in memory as a whole.
fn is_same(mut file: OpenFile, expected: &[u8]) -> io::Result<bool> {
    if let Some(told) = file.told_to_hold(expected) {
        return Ok(told);
    }
    let mut rest = expected;
    let mut chunk = vec![0; CHUNK.min(expected.len().saturating_add(1))];
    loop {
        let count = file.read(&mut chunk)?;
        if count == 0 {
            return Ok(rest.is_empty());
        }
        match rest.split_at_checked(count) {
            Some((head, tail)) if chunk.get(..count) == Some(head) => rest = tail,
            _ => return Ok(false),
        }
    }
}

/// Changes in their order, each only once what it names, or what no longer names it, would survive a loss of power. Those
/// of one rank need no order among them.
pub fn settled(changes: Vec<(Rank, Change)>) -> Vec<Change> {
    let mut settled = Vec::with_capacity(changes.len().saturating_add(12));
    let mut before: Option<Rank> = None;
    for (rank, change) in changes {
        if before.is_some_and(|before| before.tier() != rank.tier()) {
            settled.push(Change::Settle);
        }
        if before != Some(rank) {
            settled.push(Change::Group);
        }
        before = Some(rank);
        settled.push(match change {
            Change::Remove { path } if rank == Rank::Retired => Change::Retire { path },
            change => change,
        });
    }
    settled
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;
    use crate::repodata::Codec;
    use crate::storage::LocalStorage;

    static GO_ON: AtomicBool = AtomicBool::new(false);

    #[test]
    fn only_the_same_bytes_are_right() {
        let root = tempfile::tempdir().unwrap();
        let storage = LocalStorage::open(root.path()).unwrap();
        let plain = Arc::new(b"repodata".repeat(100_000));
        let twin = |level| Content::Twin(Codec::Zstd(level), Arc::clone(&plain));
        let bzip2 = || Content::Twin(Codec::Bzip2, Arc::clone(&plain));
        let other = Content::Twin(Codec::Zstd(3), Arc::new(b"repodat4".repeat(100_000)));
        let shorter = Content::Twin(Codec::Zstd(3), Arc::new(plain[1..].to_vec()));
        let is_right = |wanted: Content, there: &[u8]| {
            std::fs::write(root.path().join("a"), there).unwrap();
            let wanted = IndexFile {
                rank: Rank::Kin,
                path: "a".to_owned(),
                content: Some(wanted),
            };
            match standing(&storage, &wanted).unwrap() {
                Standing::Right(bytes, _) => {
                    assert_eq!(*bytes, there);
                    true
                }
                _ => false,
            }
        };
        let wanted = || Content::Plain(Arc::clone(&plain));
        assert!(is_right(wanted(), &plain));
        assert!(is_right(Content::Plain(Arc::default()), b""));
        for (at, bit) in [(0, 1), (plain.len() - 1, 1), (CHUNK, 1)] {
            let mut flipped = plain.to_vec();
            flipped[at] ^= bit;
            assert!(!is_right(wanted(), &flipped), "{at}");
        }
        assert!(!is_right(wanted(), &plain[1..]));
        assert!(!is_right(wanted(), &[&plain[..], b"x"].concat()));
        assert!(is_right(twin(3), &twin(3).bytes(&GO_ON).unwrap()));
        assert!(is_right(twin(3), &twin(19).bytes(&GO_ON).unwrap()));
        assert!(is_right(bzip2(), &bzip2().bytes(&GO_ON).unwrap()));
        for wrong in [
            &other.bytes(&GO_ON).unwrap()[..],
            &shorter.bytes(&GO_ON).unwrap(),
            b"",
            b"x",
        ] {
            assert!(!is_right(twin(3), wrong));
            assert!(!is_right(bzip2(), wrong));
        }
    }

    #[test]
    fn what_stands_there_is_read_up_to_a_cap() {
        let root = tempfile::tempdir().unwrap();
        let storage = LocalStorage::open(root.path()).unwrap();
        let look = |path: &str, cap| existing(&storage, path, cap).unwrap();
        std::fs::write(root.path().join("a"), "12345").unwrap();
        std::fs::create_dir(root.path().join("folder")).unwrap();
        std::os::unix::fs::symlink("a", root.path().join("link")).unwrap();
        for (path, cap, content) in [
            ("a", 6, Some(&b"12345"[..])),
            ("a", 5, Some(b"12345")),
            ("a", 4, None),
            ("a", 0, None),
            ("folder", 5, None),
            ("link", 5, None),
        ] {
            let found = look(path, cap);
            assert_eq!(matches!(found, Existing::Odd), content.is_none(), "{path}");
            assert_eq!(found.file().as_deref(), content, "{path} {cap}");
        }
        for path in ["absent", "absent/b", "a/b"] {
            assert!(matches!(look(path, 5), Existing::Absent), "{path}");
        }
        assert!(existing(&storage, &"x".repeat(300), 5).is_err());
    }

    #[test]
    fn what_is_special_is_replaced_and_a_folder_is_not() {
        let root = tempfile::tempdir().unwrap();
        let storage = LocalStorage::open(root.path()).unwrap();
        let file = |path: &str, content| IndexFile {
            rank: Rank::Kin,
            path: path.to_owned(),
            content,
        };
        let wanted = |path| file(path, Some(Content::Plain(Arc::default())));
        let fifo = rustix::fs::FileType::Fifo;
        let place = root.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, place, fifo, 0o600.into(), 0).unwrap();
        std::fs::create_dir(root.path().join("folder")).unwrap();
        let is_change =
            |file: &IndexFile| matches!(fate(&storage, file, &GO_ON), Ok(Fate::Changes(_)));
        assert!(is_change(&wanted("fifo")) && is_change(&file("fifo", None)));
        assert!(fate(&storage, &wanted("folder"), &GO_ON).is_err());
        assert!(!is_change(&file("folder", None)));
        assert!(is_change(&wanted("absent")) && !is_change(&file("absent", None)));
        assert!(!is_change(&file("absent/below", None)));
    }

    fn all(storage: &LocalStorage, files: &[IndexFile]) -> Result<Vec<Change>, Error> {
        let fates = files.iter().map(|file| fate(storage, file, &GO_ON));
        let changes = fates.filter_map(|fate| match fate {
            Ok(Fate::Stays(_)) => None,
            Ok(Fate::Changes(change)) => Some(Ok(change)),
            Err(error) => Some(Err(error)),
        });
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

    #[test]
    fn what_others_name_is_synced_before_them() {
        let remove = |path: &str| Change::Remove {
            path: path.to_owned(),
        };
        let changes = [
            (Rank::Shard, remove("a")),
            (Rank::Shard, remove("b")),
            (Rank::Metadata, remove("c")),
            (Rank::ShardIndex, remove("d")),
            (Rank::Repodata, remove("e")),
            (Rank::Retired, remove("f")),
        ];
        let steps: Vec<_> = settled(changes.into())
            .into_iter()
            .map(|change| match change {
                Change::Settle => "settle".to_owned(),
                Change::Group => "group".to_owned(),
                Change::Remove { path } => path,
                Change::Retire { path } => format!("retire {path}"),
                other => panic!("{other:?}"),
            })
            .collect();
        let expected = "group a b group c settle group d group e settle group";
        let mut expected: Vec<_> = expected.split(' ').collect();
        expected.push("retire f");
        assert_eq!(steps, expected);
    }
}
