//! Putting the files of a signed index in their places: each lies by its hash, and its plain file is a link to that.
//! Owns what has to be written so that both hold the same bytes, and the check of files by hash; must not know what
//! the files mean, nor who signs.

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use sha2::{Digest as _, Sha256};

use super::{Existing, Fate, Standing, existing, fate, standing, unreadable};
use crate::error::Error;
use crate::repodata::{Content, IndexFile, Rank};
use crate::storage::{Change, Links, Stat, Storage, StorageError};
use crate::tuf::{Target, by_hash};

/// The bytes that are hashed at once.
const CHUNK: usize = 1 << 18;

/// What becomes of one file: what has to be done, and what signed metadata is to say of it.
#[derive(Debug, Default)]
pub struct Settled {
    /// What has to be done.
    pub changes: Vec<(Rank, Change)>,
    /// The file by its path, if it is to be there and to be named.
    pub target: Option<(String, Target)>,
    /// The file that stands there plainly, where that is right already and the index is not signed.
    pub stands: Option<Stat>,
}

impl Settled {
    /// What becomes of a file that no signed index names.
    ///
    /// # Errors
    /// As [`fate`].
    pub fn plainly(
        storage: &dyn Storage,
        file: &IndexFile,
        cancelled: &AtomicBool,
    ) -> Result<Settled, Error> {
        let mut settled = Settled::default();
        match fate(storage, file, cancelled)? {
            Fate::Stays(stands) => settled.stands = stands,
            Fate::Changes(change) => settled.changes.push((file.rank, change)),
        }
        Ok(settled)
    }
}

/// What a file's bytes are called in signed metadata.
pub fn target_of(bytes: &[u8]) -> Target {
    Target {
        length: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        sha256: Sha256::digest(bytes).into(),
    }
}

/// What has to be done so that an index file stands by its hash and plainly. `known` is what the generation before,
/// whose files were verified, says of it: its bytes stay as long as they hold the right content.
///
/// # Errors
/// When a file that stands there can't be read, or a twin can't be compressed; [`Error::Interrupted`] when that is to
/// stop.
pub fn settle(
    storage: &dyn Storage,
    file: &IndexFile,
    known: Option<&Target>,
    cancelled: &AtomicBool,
) -> Result<Settled, Error> {
    let content = match &file.content {
        Some(content) if file.is_target() => content,
        _ => {
            return Settled::plainly(storage, file, cancelled);
        }
    };
    let mut changes = Vec::new();
    let path = file.path.as_str();
    let target = match known {
        Some(known) if still_holds(storage, path, known, content)? => *known,
        _ => {
            // What stands there plainly, and is right, keeps its bytes.
            let bytes = match standing(storage, file)? {
                Standing::Right(bytes, _) => bytes,
                Standing::Folder => return Err(StorageError::NotAFile(file.path.clone()).into()),
                Standing::Absent | Standing::Wrong => content.bytes(cancelled)?,
            };
            let target = target_of(&bytes);
            changes.extend(laid_down(storage, path, &target, bytes)?);
            target
        }
    };
    if !stands_plainly(storage, path, &target)? {
        let link = Change::Link {
            from: by_hash(path, &target.sha256),
            path: path.to_owned(),
        };
        changes.push((file.rank, link));
    }
    Ok(Settled {
        changes,
        target: Some((path.to_owned(), target)),
        stands: None,
    })
}

/// What has to be done so that a file of a signed index lies by its hash.
///
/// # Errors
/// When what stands there can't be read.
pub fn laid_down(
    storage: &dyn Storage,
    name: &str,
    target: &Target,
    content: Arc<Vec<u8>>,
) -> Result<Option<(Rank, Change)>, Error> {
    let path = by_hash(name, &target.sha256);
    let change = match existing(storage, &path, target.length)? {
        Existing::File(there) if there == *content => return Ok(None),
        Existing::Absent => Change::Create { path, content },
        Existing::File(_) | Existing::Odd => Change::Write { path, content },
    };
    Ok(Some((Rank::Target, change)))
}

/// A file of a signed index, whole: the bytes that are given back are those that were held against its hash.
///
/// # Errors
/// When it is not there, or is another.
pub fn vouched(storage: &dyn Storage, name: &str, target: &Target) -> Result<Vec<u8>, Error> {
    let path = by_hash(name, &target.sha256);
    let found = existing(storage, &path, target.length)?.file();
    let whole = found.filter(|bytes| target_of(bytes) == *target);
    whole.ok_or_else(|| broken(&path))
}

/// Holds a file of a signed index against its hash, without keeping it.
///
/// # Errors
/// As [`vouched`].
pub fn hold(storage: &dyn Storage, name: &str, target: &Target) -> Result<(), Error> {
    let path = by_hash(name, &target.sha256);
    match is_at(storage, &path, target)? {
        true => Ok(()),
        false => Err(broken(&path)),
    }
}

fn broken(path: &str) -> Error {
    Error::SignedIndex {
        place: path.to_owned(),
        why: "the signed index names this file, and it is missing or not what was signed"
            .to_owned(),
    }
}

/// Whether the bytes of the generation before hold the content that is wanted now.
fn still_holds(
    storage: &dyn Storage,
    path: &str,
    known: &Target,
    content: &Content,
) -> Result<bool, Error> {
    Ok(match content {
        Content::Plain(plain) => target_of(plain) == *known,
        Content::Twin(..) if known.length > content.largest() => false,
        Content::Twin(..) => content.is_in(&vouched(storage, path, known)?),
    })
}

/// Whether the plain file is a link to that by hash, or has the same bytes.
fn stands_plainly(storage: &dyn Storage, path: &str, target: &Target) -> Result<bool, Error> {
    let by_hash = storage.open(&by_hash(path, &target.sha256), Links::Refuse);
    match (by_hash, storage.open(path, Links::Refuse)) {
        (Ok((_, one)), Ok((_, other))) if one.inode == other.inode && one.size == other.size => {
            Ok(true)
        }
        (_, Err(StorageError::NotAFile(_))) if storage.list(path).is_ok() => {
            Err(StorageError::NotAFile(path.to_owned()).into())
        }
        _ => is_at(storage, path, target),
    }
}

/// Whether a regular file with these bytes stands at a path.
fn is_at(storage: &dyn Storage, path: &str, target: &Target) -> Result<bool, Error> {
    let (mut file, stat) = match storage.open(path, Links::Refuse) {
        Ok(opened) => opened,
        Err(StorageError::Link(_) | StorageError::NotAFile(_) | StorageError::Outside(_)) => {
            return Ok(false);
        }
        Err(error) if error.is_absent() || error.is_no_folder() => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    if stat.size != target.length {
        return Ok(false);
    }
    let (mut hash, mut total) = (Sha256::new(), 0_u64);
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = file.read(&mut chunk);
        let read = read.map_err(|cause| unreadable(path, cause))?;
        let bytes = chunk.get(..read).unwrap_or_default();
        if bytes.is_empty() {
            break;
        }
        hash.update(bytes);
        total = total.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        if total > target.length {
            return Ok(false);
        }
    }
    Ok(total == target.length && hash.finalize().as_slice() == target.sha256)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::repodata::Codec;
    use crate::storage::LocalStorage;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    static GO_ON: AtomicBool = AtomicBool::new(false);

    const PATH: &str = "noarch/repodata.json";

    struct Shelf {
        root: tempfile::TempDir,
        storage: LocalStorage,
    }

    impl Shelf {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let storage = LocalStorage::open(root.path()).unwrap();
            Self { root, storage }
        }

        /// Where a file is to lie, in a folder that is there, and nothing in its place.
        fn place(&self, path: &str) -> PathBuf {
            let place = self.root.path().join(path);
            std::fs::create_dir_all(place.parent().unwrap()).unwrap();
            let _ = std::fs::remove_file(&place);
            let _ = std::fs::remove_dir(&place);
            place
        }

        fn put(&self, path: &str, bytes: &[u8]) {
            std::fs::write(self.place(path), bytes).unwrap();
        }

        fn fifo(&self, path: &str) {
            let kind = rustix::fs::FileType::Fifo;
            let place = self.place(path);
            rustix::fs::mknodat(rustix::fs::CWD, place, kind, 0o600.into(), 0).unwrap();
        }

        fn settle(&self, file: &IndexFile, known: Option<&Target>) -> Settled {
            settle(&self.storage, file, known, &GO_ON).unwrap()
        }
    }

    fn file(rank: Rank, content: Option<Content>) -> IndexFile {
        IndexFile {
            rank,
            path: PATH.to_owned(),
            content,
        }
    }

    fn plain(text: &str) -> Content {
        Content::Plain(Arc::new(text.into()))
    }

    fn twin(level: i32, text: &str) -> Content {
        Content::Twin(Codec::Zstd(level), Arc::new(text.into()))
    }

    /// What a list of changes does, in words.
    fn said(changes: &[(Rank, Change)]) -> Vec<String> {
        let word = |change: &Change| match change {
            Change::Write { .. } | Change::Replace { .. } => "write",
            Change::Create { .. } => "create",
            Change::Link { .. } => "link",
            Change::Remove { .. } | Change::Retire { .. } => "remove",
            Change::Settle => "settle",
            Change::Group => "group",
        };
        let say = |(rank, change): &(Rank, Change)| {
            format!("{rank:?}: {} {}", word(change), change.path())
        };
        changes.iter().map(say).collect()
    }

    #[test]
    fn a_file_by_hash_is_what_was_signed_or_is_not_believed() {
        let shelf = Shelf::new();
        let storage = &shelf.storage;
        // More than is hashed at once.
        for signed in [&b"signed"[..], b"", &b"0123456789abcdef".repeat(40_000)] {
            let target = target_of(signed);
            let path = by_hash(PATH, &target.sha256);
            let good = || {
                let held = hold(storage, PATH, &target).is_ok();
                assert_eq!(is_at(storage, &path, &target).unwrap(), held);
                match vouched(storage, PATH, &target) {
                    Ok(bytes) => assert_eq!(bytes, signed),
                    Err(error) => {
                        assert!(!held);
                        assert!(matches!(error, Error::SignedIndex { .. }), "{error}");
                    }
                }
                held
            };
            assert!(!good(), "absent");
            shelf.put(&path, signed);
            assert!(good());
            let mut others = vec![[signed, b"x"].concat()];
            if let Some((last, rest)) = signed.split_last() {
                others.push(rest.to_vec());
                others.push([rest, &[last ^ 1]].concat());
            }
            for other in others {
                shelf.put(&path, &other);
                assert!(!good(), "{} bytes", other.len());
            }
            shelf.put("elsewhere", signed);
            symlink(shelf.root.path().join("elsewhere"), shelf.place(&path)).unwrap();
            assert!(!good(), "a link");
            std::fs::create_dir(shelf.place(&path)).unwrap();
            assert!(!good(), "a folder");
            shelf.fifo(&path);
            assert!(!good(), "a FIFO");
        }
    }

    #[test]
    fn what_cannot_be_looked_at_is_an_error_and_what_is_not_there_is_none() {
        let shelf = Shelf::new();
        let target = target_of(b"x");
        shelf.put("file", b"x");
        assert!(!is_at(&shelf.storage, "absent", &target).unwrap());
        assert!(!is_at(&shelf.storage, "file/below", &target).unwrap());
        let long = "x".repeat(300);
        assert!(is_at(&shelf.storage, &long, &target).is_err());
        assert!(existing(&shelf.storage, &long, 1).is_err());
        assert!(standing(&shelf.storage, &file(Rank::Kin, None)).is_ok());
        let long = IndexFile {
            path: long,
            ..file(Rank::Kin, None)
        };
        assert!(standing(&shelf.storage, &long).is_err());
    }

    #[test]
    fn a_file_by_hash_is_made_once_and_put_right() {
        let shelf = Shelf::new();
        let content = Arc::new(b"content".to_vec());
        let target = target_of(&content);
        let path = by_hash(PATH, &target.sha256);
        let lay = || {
            let done = laid_down(&shelf.storage, PATH, &target, Arc::clone(&content)).unwrap();
            let done = Vec::from_iter(done);
            let changes = done.iter().map(|(_, change)| change.clone()).collect();
            shelf.storage.apply(changes).unwrap();
            assert!(is_at(&shelf.storage, &path, &target).unwrap());
            said(&done)
        };
        assert_eq!(lay(), [format!("Target: create {path}")]);
        assert_eq!(lay(), [""; 0]);
        for wrong in [&b"kontent"[..], b"", b"conten", b"content and more"] {
            shelf.put(&path, wrong);
            assert_eq!(lay(), [format!("Target: write {path}")]);
        }
        symlink("elsewhere", shelf.place(&path)).unwrap();
        assert_eq!(lay(), [format!("Target: write {path}")]);
        assert!(!shelf.root.path().join("elsewhere").exists());
    }

    #[test]
    fn the_bytes_of_the_generation_before_stay_while_they_hold_the_content() {
        let shelf = Shelf::new();
        let holds =
            |known: &Target, content: &Content| still_holds(&shelf.storage, PATH, known, content);
        assert!(holds(&target_of(b"a"), &plain("a")).unwrap());
        assert!(!holds(&target_of(b"b"), &plain("a")).unwrap());
        let there = twin(19, "text").bytes(&GO_ON).unwrap();
        let known = target_of(&there);
        let content = twin(3, "text");
        assert!(holds(&known, &content).is_err(), "its file is not there");
        shelf.put(&by_hash(PATH, &known.sha256), &there);
        assert!(holds(&known, &content).unwrap());
        assert!(!holds(&known, &twin(3, "tex")).unwrap());
        // What is too long to hold it is not read; what has the last length that fits is.
        let of_length = |length| Target { length, ..known };
        assert!(!holds(&of_length(content.largest() + 1), &content).unwrap());
        assert!(holds(&of_length(content.largest()), &content).is_err());
    }

    #[test]
    fn a_plain_file_is_a_link_to_that_by_hash_or_has_its_bytes() {
        let shelf = Shelf::new();
        let target = target_of(b"right");
        let by_hash = by_hash(PATH, &target.sha256);
        let stands = || stands_plainly(&shelf.storage, PATH, &target);
        assert!(!stands().unwrap());
        shelf.put(PATH, b"right");
        assert!(stands().unwrap());
        shelf.put(&by_hash, b"right");
        assert!(stands().unwrap());
        shelf.put(PATH, b"wrong");
        assert!(!stands().unwrap(), "of the same length");
        shelf.put(PATH, b"right and more");
        assert!(!stands().unwrap());
        // A link is known by its inode: what lies by hash was verified before, and is not read again.
        shelf.put(&by_hash, b"wrong");
        std::fs::hard_link(shelf.root.path().join(&by_hash), shelf.place(PATH)).unwrap();
        assert!(stands().unwrap());
        shelf.fifo(PATH);
        assert!(!stands().unwrap(), "a FIFO is replaced");
        std::fs::create_dir(shelf.place(PATH)).unwrap();
        assert!(stands().is_err(), "a folder is not");
    }

    #[test]
    fn what_is_settled_lies_by_hash_and_plainly() {
        let shelf = Shelf::new();
        // Long enough that levels of compression differ.
        let text: String = (0..3_000).map(|n: u64| (n * n).to_string()).collect();
        let apply = |settled: &Settled| {
            let changes = settled.changes.iter().map(|(_, change)| change.clone());
            shelf.storage.apply(changes.collect()).unwrap();
        };
        let target = |settled: &Settled| settled.target.clone().unwrap().1;
        let wanted = file(Rank::Repodata, Some(twin(3, &text)));
        let first = shelf.settle(&wanted, None);
        let known = target(&first);
        let there = twin(19, &text).bytes(&GO_ON).unwrap();
        assert_ne!(target_of(&there), known);
        assert_eq!(known, target_of(&twin(3, &text).bytes(&GO_ON).unwrap()));
        let made = by_hash(PATH, &known.sha256);
        let both = [
            format!("Target: create {made}"),
            format!("Repodata: link {PATH}"),
        ];
        assert_eq!(said(&first.changes), both);
        apply(&first);
        for known in [None, Some(&known)] {
            let again = shelf.settle(&wanted, known);
            assert_eq!(said(&again.changes), [""; 0]);
            assert_eq!(target(&again), first.target.clone().unwrap().1);
        }
        // The same content in other bytes: those of the generation before stay, without the plain file too.
        let finer = file(Rank::Repodata, Some(twin(19, &text)));
        shelf.place(PATH);
        let kept = shelf.settle(&finer, Some(&known));
        assert_eq!(said(&kept.changes), [format!("Repodata: link {PATH}")]);
        assert_eq!(target(&kept), known);
        // So do those that stand plainly, where there was no generation.
        shelf.put(PATH, &there);
        assert_eq!(target(&shelf.settle(&wanted, None)), target_of(&there));
        let other = file(Rank::Repodata, Some(twin(3, "more")));
        let next = shelf.settle(&other, Some(&known));
        assert_eq!(
            target(&next),
            target_of(&twin(3, "more").bytes(&GO_ON).unwrap())
        );
        assert_eq!(next.changes.len(), 2);
        std::fs::create_dir(shelf.place(PATH)).unwrap();
        assert!(settle(&shelf.storage, &wanted, None, &GO_ON).is_err());
        assert!(settle(&shelf.storage, &wanted, Some(&known), &GO_ON).is_err());
    }

    #[test]
    fn what_no_signed_index_names_stands_plainly_alone() {
        let shelf = Shelf::new();
        let shard = file(Rank::Shard, Some(plain("x")));
        let settled = shelf.settle(&shard, Some(&target_of(b"x")));
        assert_eq!(said(&settled.changes), [format!("Shard: write {PATH}")]);
        assert_eq!(settled.target, None);
        assert_eq!(settled.stands, None);
        shelf.put(PATH, b"x");
        let settled = shelf.settle(&shard, None);
        assert_eq!(said(&settled.changes), [""; 0]);
        assert_eq!(settled.stands.map(|stat| stat.size), Some(1));
        let gone = file(Rank::Repodata, None);
        let settled = shelf.settle(&gone, Some(&target_of(b"x")));
        assert_eq!(said(&settled.changes), [format!("Repodata: remove {PATH}")]);
        assert_eq!(settled.target, None);
    }
}
