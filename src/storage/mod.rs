//! Where a channel lies. Owns the [`Storage`] seam and its vocabulary: what a listing says of a file,
//! and a batch of changes. Knows nothing of packages, records or index files.

mod batch;
mod file;
mod local;
mod lock;
mod moves;
#[cfg(feature = "object-storage")]
mod object;
mod own;
mod url;

use std::ffi::OsString;
use std::io;
use std::sync::Arc;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

pub use batch::{is_left_over, is_own_temporary};
pub use file::{HasSize, OpenFile, ReadAt};
pub use local::{LocalStorage, could_make_folder};
pub use lock::{Lock, LockFor, LockMode};
pub use moves::{create_whole, replace_whole, sync_folder};
#[cfg(feature = "object-storage")]
pub use object::{Lease, ObjectOptions, ObjectStorage, Variables};
pub use own::{OwnFile, OwnPath, Unread, read_own, read_own_text};
pub use url::{is_object_url, open_url};

/// A channel's place. Paths are relative to it, with `/` between their parts.
pub trait Storage: Send + Sync {
    /// What stands in a folder, by name; an absent folder is an error of kind [`StorageError::is_absent`].
    ///
    /// # Errors
    /// When the folder can't be read to its end.
    fn list(&self, folder: &str) -> Result<Vec<Item>, StorageError>;

    /// A file's identity, or `None` where there is nothing of that name. A symbolic link is followed as
    /// in [`Storage::open`].
    ///
    /// # Errors
    /// As [`Storage::open`].
    fn stat(&self, path: &str) -> Result<Option<Stat>, StorageError>;

    /// The same of a file as it is at this moment, where what was seen of a channel before is kept.
    ///
    /// # Errors
    /// As [`Storage::stat`].
    fn look_again(&self, path: &str) -> Result<Option<Stat>, StorageError> {
        self.stat(path)
    }

    /// Opens a regular file for reading, without ever blocking on a FIFO or device.
    ///
    /// # Errors
    /// When it isn't there, is no regular file, leads out of the channel, or is a symbolic link and
    /// `links` says [`Links::Refuse`].
    fn open(&self, path: &str, links: Links) -> Result<(OpenFile, Stat), StorageError>;

    /// Carries out a batch: all contents are written beside their places and synced, then put in place in
    /// order; then the folders are synced. Each file is the old one or the new one at any moment. Object storage has no
    /// order of its own: there, each change follows when the store has acknowledged the one before, but for those of a
    /// [`Change::Group`].
    ///
    /// # Errors
    /// At the first failure. What was written or removed until then is put back, as far as the file system
    /// lets it; what was created stays. In object storage all stays that was done, and [`StorageError::LostRace`] says
    /// that another run replaced what this one rests on.
    fn apply(&self, changes: Vec<Change>) -> Result<(), StorageError>;

    /// What batches left to a later run without failing, with the reasons; each is told once.
    fn take_left(&self) -> Vec<String> {
        Vec::new()
    }

    /// Makes sure that all that was asked for until now was answered, be it with an error. What a store kept to itself
    /// says nothing of the files there.
    ///
    /// # Errors
    /// The first that was not.
    fn demand_answers(&self) -> Result<(), StorageError> {
        Ok(())
    }
}

/// Takes away the temporary files in a channel's or a file's folder that runs left which were killed long ago, as far as
/// that is possible. For whoever holds no lock.
pub fn clear_abandoned(storage: &dyn Storage) {
    for change in leftovers(storage, "").unwrap_or_default() {
        let found = storage.stat(change.path()).ok().flatten();
        if found.is_some_and(|stat| batch::is_abandoned(change.path(), &stat)) {
            // It is in nobody's way.
            let _ = storage.apply(vec![change]);
        }
    }
}

/// What takes away the temporary files in a folder that runs left which were killed. For whoever holds the lock.
///
/// # Errors
/// When the folder can't be listed; one that is not there has none.
pub fn leftovers(storage: &dyn Storage, folder: &str) -> Result<Vec<Change>, StorageError> {
    let items = match storage.list(folder) {
        Err(error) if error.is_absent() || error.is_no_folder() => Vec::new(),
        listed => listed?,
    };
    let names = items.into_iter().filter(|item| item.kind == Kind::File);
    let names = names.filter_map(|item| item.name.into_string().ok());
    let left = names.filter(|name| is_left_over(name));
    Ok(left
        .map(|name| match folder {
            "" => Change::Remove { path: name },
            folder => Change::Remove {
                path: format!("{folder}/{name}"),
            },
        })
        .collect())
}

/// A place where nothing is and nothing can be put: the output of a dry run that has not been made yet.
#[derive(Debug, Clone, Copy)]
pub struct Nowhere;

impl Nowhere {
    fn absent(path: &str) -> StorageError {
        let cause = io::Error::from(io::ErrorKind::NotFound);
        StorageError::Io {
            path: path.to_owned(),
            operation: "find",
            cause,
        }
    }
}

impl Storage for Nowhere {
    fn list(&self, folder: &str) -> Result<Vec<Item>, StorageError> {
        if folder.is_empty() {
            Ok(Vec::new())
        } else {
            Err(Nowhere::absent(folder))
        }
    }

    fn stat(&self, _path: &str) -> Result<Option<Stat>, StorageError> {
        Ok(None)
    }

    fn open(&self, path: &str, _links: Links) -> Result<(OpenFile, Stat), StorageError> {
        Err(Nowhere::absent(path))
    }

    fn apply(&self, changes: Vec<Change>) -> Result<(), StorageError> {
        changes
            .first()
            .map_or(Ok(()), |change| Err(Nowhere::absent(change.path())))
    }
}

/// What a listing says of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The name in its folder.
    pub name: OsString,
    /// What it is.
    pub kind: Kind,
}

/// What a name in a folder is, a symbolic link not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A FIFO, socket or device.
    Special,
}

/// Whether a symbolic link is followed (inside the channel) or refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// Followed, as long as it ends inside the channel.
    Follow,
    /// Refused.
    Refuse,
}

/// What tells that a file is still the one that was read. Times in nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stat {
    /// Bytes.
    pub size: u64,
    /// When the content was last written, as far as the owner says.
    pub mtime: i64,
    /// The inode's number.
    pub inode: u64,
    /// When the inode was last changed; can't be set by its owner.
    pub ctime: i64,
}

/// One step of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Puts a file at a path, whatever stood there.
    Write {
        /// Where.
        path: String,
        /// The whole content, shared with whoever made it: an index file can have a hundred megabytes.
        content: Arc<Vec<u8>>,
    },
    /// Puts a file in the place of one that was seen; in object storage, where another run put something there since,
    /// that is left as it is, without an error, as far as the store knows conditions.
    Replace {
        /// Where.
        path: String,
        /// The whole content, shared with whoever made it.
        content: Arc<Vec<u8>>,
    },
    /// Puts a file where none stands; one that stands there already is left as it is, without an error.
    Create {
        /// Where.
        path: String,
        /// The whole content, shared with whoever made it: an index file can have a hundred megabytes.
        content: Arc<Vec<u8>>,
    },
    /// Puts a file at a path, whatever stood there, that shares its content with another: a hard link, or a copy
    /// where the file system has none, or between file systems.
    Link {
        /// The file that has the content: one that stands there, or that an earlier step of the batch puts there; of a
        /// [`Change::Group`], a step of an earlier one.
        from: String,
        /// Where.
        path: String,
    },
    /// Takes a file away; one that is already gone is no error.
    Remove {
        /// Which.
        path: String,
    },
    /// Takes a file away that nothing names any more; one that is already gone is no error. In object storage, where no
    /// condition protects what is removed, it stays for a later run unless this one holds the lease: another could be
    /// about to name it. Nor does a batch fail there that can't remove it: what was done before can't be taken back.
    Retire {
        /// Which.
        path: String,
    },
    /// Touches no file: begins a group, which ends with the next one. All before it is in place before any of the group
    /// is; the group's own changes need no order among them, and may be under way at once.
    Group,
    /// Touches no file: what the batch put in place or removed until here survives a loss of power before anything
    /// that follows is put in place or removed.
    Settle,
}

impl Change {
    /// The path that it touches; empty where it touches none.
    pub fn path(&self) -> &str {
        match self {
            Change::Settle | Change::Group => "",
            Change::Write { path, .. }
            | Change::Replace { path, .. }
            | Change::Create { path, .. }
            | Change::Link { path, .. }
            | Change::Remove { path }
            | Change::Retire { path } => path,
        }
    }
}

/// What went wrong with a file of the channel.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The operating system said no.
    #[error("{path}: can't {operation}: {cause}{}", channel_remedy(.cause))]
    Io {
        /// The file or folder.
        path: String,
        /// What was being done.
        operation: &'static str,
        /// Why it failed.
        cause: io::Error,
    },
    /// A symbolic link that ends outside the channel.
    #[error("{0}: the symbolic link leads out of the channel; put the file itself there")]
    Outside(String),
    /// A symbolic link where none is followed.
    #[error(
        "{0}: is a symbolic link, which is not followed here; remove it or put the file itself there"
    )]
    Link(String),
    /// A FIFO, device, socket or folder where a file should be.
    #[error("{0}: is not a regular file; remove it")]
    NotAFile(String),
    /// Someone else holds the lock.
    #[error(
        "{path}: the channel is being indexed by {holder}; wait for it to end, or let this run wait with --wait"
    )]
    Locked {
        /// The lock file.
        path: String,
        /// Who holds it, as far as the kernel tells.
        holder: String,
    },
    /// What this run rests on was replaced while it worked.
    #[error("{path}: another run published meanwhile; run again, on what that one left")]
    LostRace {
        /// The object.
        path: String,
    },
    /// A request to object storage failed.
    #[error("{path}: can't {operation}: {cause}; {remedy}")]
    Object {
        /// The object, by its URL.
        path: String,
        /// What was being done.
        operation: &'static str,
        /// Why it failed, as the store says.
        cause: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// A request to object storage got no answer, or none that says anything, however often it was made.
    #[error("{path}: can't {operation}: {cause}; {remedy}")]
    Unavailable {
        /// The object, by its URL.
        path: String,
        /// What was being done.
        operation: &'static str,
        /// Why it failed, as far as the store says.
        cause: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// A URL that names no place in object storage.
    #[error("{url}: this names no place in object storage: {why}")]
    ObjectUrl {
        /// The URL, or as much of it as may be shown.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The store takes writes whatever their conditions say.
    #[error(
        "{path}: the store does not hold writes to their conditions (If-None-Match, If-Match), and so two runs at once could mix what they publish; --no-conditional-writes goes without, when you make sure that no second run is under way"
    )]
    Unconditional {
        /// The place, by its URL.
        path: String,
    },
    /// This build has no object storage.
    #[error(
        "this sigindex was built without object storage; build it with `cargo install --locked --path . --features object-storage`"
    )]
    NoObjects,
    /// The file system knows no locks.
    #[error(
        "{path}: the file system can't lock files ({cause}); --no-lock goes without, when you make sure that no second run is under way"
    )]
    NoLocks {
        /// The lock file.
        path: String,
        /// What the kernel said.
        cause: io::Error,
    },
}

impl StorageError {
    /// Whether there is simply nothing of that name.
    pub fn is_absent(&self) -> bool {
        matches!(self, StorageError::Io { cause, .. } if cause.kind() == io::ErrorKind::NotFound)
    }

    /// Whether another run replaced what this one rests on, so that it has to be begun anew.
    pub fn is_lost_race(&self) -> bool {
        match self {
            StorageError::LostRace { .. } => true,
            #[cfg(feature = "object-storage")]
            StorageError::Io { cause, .. } => cause
                .get_ref()
                .is_some_and(|inner| inner.is::<object::Replaced>()),
            _ => false,
        }
    }

    /// Whether there is nothing below a name, because it is no folder's.
    pub fn is_no_folder(&self) -> bool {
        matches!(self, StorageError::Io { cause, .. } if cause.kind() == io::ErrorKind::NotADirectory)
    }
}

/// What to do about an error of the operating system, in the channel.
fn channel_remedy(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::ReadOnlyFilesystem => {
            "; mount it writable, or write elsewhere with --output"
        }
        _ => remedy(cause),
    }
}

/// What to do about an error of the operating system: nothing, or a clause that begins with a semicolon.
pub fn remedy(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::PermissionDenied => {
            "; check the owner and the mode of the file and its folders"
        }
        io::ErrorKind::ReadOnlyFilesystem => "; mount it writable, or name another place",
        io::ErrorKind::StaleNetworkFileHandle => {
            "; it was replaced or mounted anew meanwhile: run again"
        }
        io::ErrorKind::Interrupted => "; run again",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; make room and run again",
        io::ErrorKind::FileTooLarge => {
            "; raise the limit on the size of files (ulimit -f), or write to another file system"
        }
        io::ErrorKind::IsADirectory => "; a folder has that name: move it away",
        io::ErrorKind::NotADirectory => {
            "; something else has that name: move it away, or name a folder"
        }
        io::ErrorKind::NotFound => "; look whether the path is right",
        _ => match cause.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::MFILE | Errno::NFILE) => "; raise the limit on open files (ulimit -n)",
            Some(Errno::IO) => "; look whether the disk is sound",
            Some(Errno::NAMETOOLONG) => "; give it a shorter name",
            Some(Errno::LOOP) => {
                "; symbolic links lead round in a ring: remove them, or put the file itself there"
            }
            _ => "",
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]
    use super::*;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    fn read(storage: &LocalStorage, path: &str, links: Links) -> Result<String, StorageError> {
        let (mut file, stat) = storage.open(path, links)?;
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(stat.size, text.len() as u64);
        Ok(text)
    }

    fn write(path: &str, content: &str) -> Change {
        Change::Write {
            path: path.to_owned(),
            content: Arc::new(content.into()),
        }
    }

    #[test]
    fn an_error_of_the_system_says_what_to_do() {
        for error in [
            Errno::ACCESS,
            Errno::DQUOT,
            Errno::FBIG,
            Errno::INTR,
            Errno::IO,
            Errno::LOOP,
            Errno::MFILE,
            Errno::NAMETOOLONG,
            Errno::NOENT,
            Errno::NOSPC,
            Errno::ROFS,
            Errno::STALE,
        ] {
            let cause = io::Error::from(error);
            assert!(remedy(&cause).starts_with("; "), "{cause}");
            assert!(channel_remedy(&cause).starts_with("; "), "{cause}");
        }
        assert_eq!(remedy(&io::Error::from(Errno::NOSYS)), "");
    }

    #[test]
    fn links_are_followed_inside_the_channel_alone() {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("channel");
        std::fs::create_dir_all(root.join("noarch")).unwrap();
        std::fs::write(outer.path().join("secret"), "no").unwrap();
        std::fs::write(root.join("noarch/real"), "yes").unwrap();
        for (target, name) in [
            ("real", "inside"),
            ("../noarch/real", "round"),
            ("../../secret", "outside"),
            ("absent", "dangling"),
            ("loop", "loop"),
        ] {
            symlink(target, root.join("noarch").join(name)).unwrap();
        }
        symlink(root.join("noarch/real"), root.join("noarch/absolute")).unwrap();
        symlink(
            outer.path().join("secret"),
            root.join("noarch/absolute-outside"),
        )
        .unwrap();
        let storage = LocalStorage::open(&root).unwrap();
        for name in ["real", "inside", "round", "absolute"] {
            let path = format!("noarch/{name}");
            assert_eq!(read(&storage, &path, Links::Follow).unwrap(), "yes");
            assert!(storage.stat(&path).unwrap().is_some());
        }
        for name in ["outside", "absolute-outside"] {
            let error = read(&storage, &format!("noarch/{name}"), Links::Follow).unwrap_err();
            assert!(matches!(error, StorageError::Outside(_)), "{error}");
        }
        for name in ["dangling", "loop"] {
            assert!(read(&storage, &format!("noarch/{name}"), Links::Follow).is_err());
        }
        let error = read(&storage, "noarch/inside", Links::Refuse).unwrap_err();
        assert!(matches!(error, StorageError::Link(_)), "{error}");
    }

    #[test]
    fn a_fifo_does_not_hang() {
        let root = tempfile::tempdir().unwrap();
        let made = std::process::Command::new("mkfifo")
            .arg(root.path().join("pipe"))
            .status();
        if !made.is_ok_and(|status| status.success()) {
            eprintln!("skipped: no mkfifo here");
            return;
        }
        let storage = LocalStorage::open(root.path()).unwrap();
        assert!(matches!(
            storage.open("pipe", Links::Follow),
            Err(StorageError::NotAFile(_))
        ));
    }

    #[test]
    fn a_batch_replaces_and_removes_and_leaves_nothing_behind() {
        let root = tempfile::tempdir().unwrap();
        let storage = LocalStorage::open(root.path()).unwrap();
        std::fs::write(root.path().join("elsewhere"), "kept").unwrap();
        symlink("elsewhere", root.path().join("b")).unwrap();
        let many: Vec<Change> = (0..50).map(|n| write(&format!("sub/{n}"), "x")).collect();
        storage.apply(many).unwrap();
        storage
            .apply(vec![
                write("sub/0", "new"),
                write("b", "own"),
                Change::Remove {
                    path: "sub/1".into(),
                },
            ])
            .unwrap();
        storage
            .apply(vec![Change::Remove {
                path: "sub/1".into(),
            }])
            .unwrap();
        assert_eq!(
            std::fs::read_to_string(root.path().join("sub/0")).unwrap(),
            "new"
        );
        assert_eq!(
            std::fs::read_to_string(root.path().join("elsewhere")).unwrap(),
            "kept"
        );
        assert_eq!(storage.list("sub").unwrap().len(), 49);
        assert_eq!(storage.list("").unwrap().len(), 3);
        // A rename onto a folder fails: nothing of the batch stays behind.
        std::fs::create_dir(root.path().join("sub/folder")).unwrap();
        assert!(storage.apply(vec![write("sub/folder", "x")]).is_err());
        assert_eq!(storage.list("sub").unwrap().len(), 50);
    }

    #[test]
    fn a_batch_that_fails_in_the_middle_is_undone() {
        let root = tempfile::tempdir().unwrap();
        let storage = LocalStorage::open(root.path()).unwrap();
        storage
            .apply(vec![write("sub/a", "old"), write("sub/gone", "old")])
            .unwrap();
        std::fs::create_dir(root.path().join("sub/folder")).unwrap();
        let remove = Change::Remove {
            path: "sub/gone".to_owned(),
        };
        let created = Change::Create {
            path: "sub/sig".to_owned(),
            content: Arc::new(b"new".to_vec()),
        };
        let changes = vec![
            created,
            write("sub/a", "new"),
            write("sub/b", "new"),
            remove,
            write("sub/folder", "x"),
        ];
        assert!(storage.apply(changes).is_err());
        assert_eq!(read(&storage, "sub/a", Links::Refuse).unwrap(), "old");
        assert_eq!(read(&storage, "sub/gone", Links::Refuse).unwrap(), "old");
        let mut names: Vec<_> = storage
            .list("sub")
            .unwrap()
            .into_iter()
            .map(|item| item.name)
            .collect();
        names.sort();
        assert_eq!(names, ["a", "folder", "gone", "sig"]);
    }

    #[test]
    fn what_is_created_never_replaces() {
        let root = tempfile::tempdir().unwrap();
        let storage = LocalStorage::open(root.path()).unwrap();
        let create = |content: &str| Change::Create {
            path: "sub/a".to_owned(),
            content: Arc::new(content.into()),
        };
        storage.apply(vec![create("first")]).unwrap();
        storage.apply(vec![create("second")]).unwrap();
        assert_eq!(read(&storage, "sub/a", Links::Refuse).unwrap(), "first");
        assert_eq!(storage.list("sub").unwrap().len(), 1);
    }

    fn link(from: &str, path: &str) -> Change {
        Change::Link {
            from: from.to_owned(),
            path: path.to_owned(),
        }
    }

    #[test]
    fn a_link_shares_what_stands_or_what_an_earlier_step_puts_there() {
        let root = tempfile::tempdir().unwrap();
        let storage = LocalStorage::open(root.path()).unwrap();
        let create = Change::Create {
            path: "by/hash".to_owned(),
            content: Arc::new(b"new".to_vec()),
        };
        storage
            .apply(vec![create, link("by/hash", "sub/a")])
            .unwrap();
        storage.apply(vec![link("sub/a", "b")]).unwrap();
        // Both are one file already.
        storage.apply(vec![link("by/hash", "b")]).unwrap();
        let inode = |path: &str| storage.stat(path).unwrap().unwrap().inode;
        assert_eq!(read(&storage, "b", Links::Refuse).unwrap(), "new");
        assert_eq!(
            (inode("sub/a"), inode("b")),
            (inode("by/hash"), inode("by/hash"))
        );
        let many: Vec<Change> = (0..30)
            .map(|n| link("by/hash", &format!("sub/{n}")))
            .collect();
        storage.apply(many).unwrap();
        assert_eq!(storage.list("sub").unwrap().len(), 31);
        assert_eq!(storage.list("").unwrap().len(), 3);
    }

    #[test]
    fn a_link_that_fails_leaves_nothing_and_is_undone_with_the_batch() {
        let root = tempfile::tempdir().unwrap();
        let storage = LocalStorage::open(root.path()).unwrap();
        storage
            .apply(vec![write("a", "old"), write("b", "other")])
            .unwrap();
        symlink("/etc/passwd", root.path().join("planted")).unwrap();
        std::fs::create_dir(root.path().join("folder")).unwrap();
        for from in ["absent", "no/folder", "planted", "folder"] {
            assert!(storage.apply(vec![link(from, "a")]).is_err(), "{from}");
        }
        assert!(
            storage
                .apply(vec![link("b", "a"), link("b", "c"), write("folder", "x")])
                .is_err()
        );
        assert_eq!(read(&storage, "a", Links::Refuse).unwrap(), "old");
        assert_eq!(storage.list("").unwrap().len(), 4);
    }

    #[test]
    fn what_is_settled_in_a_batch_is_undone_with_it_all_the_same() {
        let root = tempfile::tempdir().unwrap();
        let storage = LocalStorage::open(root.path()).unwrap();
        storage.apply(vec![write("sub/a", "old")]).unwrap();
        std::fs::create_dir(root.path().join("sub/folder")).unwrap();
        let changes = |last| vec![write("sub/a", "new"), Change::Settle, write(last, "x")];
        assert!(storage.apply(changes("sub/folder")).is_err());
        assert_eq!(read(&storage, "sub/a", Links::Refuse).unwrap(), "old");
        storage.apply(changes("other/b")).unwrap();
        assert_eq!(read(&storage, "sub/a", Links::Refuse).unwrap(), "new");
        assert_eq!(read(&storage, "other/b", Links::Refuse).unwrap(), "x");
    }

    #[test]
    fn a_whole_file_is_made_where_none_stands_and_what_was_left_there_goes() {
        let root = tempfile::tempdir().unwrap();
        let storage = LocalStorage::open(root.path()).unwrap();
        let path = root.path().join("key");
        // No process has the number 0; one that lives keeps its file, and so may one of another machine.
        let (dead, alive) = (".sigindex-0-1-0.tmp", ".sigindex-1-1-0.tmp");
        let young = ".sigindex-0-1-1.tmp";
        let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(7_200);
        for (name, is_old) in [(dead, true), (alive, true), (young, false)] {
            let file = std::fs::File::create(root.path().join(name)).unwrap();
            if is_old {
                file.set_modified(long_ago).unwrap();
            }
        }
        // What nobody can take away is in nobody's way.
        let folder = ".sigindex-0-1-2.tmp";
        std::fs::create_dir(root.path().join(folder)).unwrap();
        create_whole(&path, 0o600, b"first").unwrap();
        let again = create_whole(&path, 0o600, b"second").unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(read(&storage, "key", Links::Refuse).unwrap(), "first");
        let mut names: Vec<_> = storage
            .list("")
            .unwrap()
            .into_iter()
            .map(|it| it.name)
            .collect();
        names.sort();
        assert_eq!(names, [young, folder, alive, "key"]);
        assert!(leftovers(&storage, "absent").unwrap().is_empty());
        let path = young.to_owned();
        assert_eq!(leftovers(&storage, "").unwrap(), [Change::Remove { path }]);
        clear_abandoned(&storage);
        let file = std::fs::File::options()
            .write(true)
            .open(root.path().join(young));
        let file = file.unwrap();
        file.set_modified(long_ago).unwrap();
        clear_abandoned(&storage);
        assert!(leftovers(&storage, "").unwrap().is_empty());
        assert_eq!(storage.list("").unwrap().len(), 3);
    }

    #[test]
    fn no_write_goes_through_a_linked_folder() {
        let (root, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let storage = LocalStorage::open(root.path()).unwrap();
        symlink(elsewhere.path(), root.path().join("sub")).unwrap();
        let error = storage.apply(vec![write("sub/a", "x")]).unwrap_err();
        assert!(matches!(error, StorageError::Link(_)), "{error}");
        assert!(
            storage
                .apply(vec![Change::Remove {
                    path: "sub/a".to_owned()
                }])
                .is_err()
        );
        assert!(
            std::fs::read_dir(elsewhere.path())
                .unwrap()
                .next()
                .is_none()
        );
    }

    #[test]
    fn a_reader_sees_the_old_file_or_the_new_one() {
        let root = tempfile::tempdir().unwrap();
        let storage = LocalStorage::open(root.path()).unwrap();
        storage
            .apply(vec![write("f", &"a".repeat(100_000))])
            .unwrap();
        let (mut open, _) = storage.open("f", Links::Refuse).unwrap();
        storage
            .apply(vec![write("f", &"b".repeat(50_000))])
            .unwrap();
        let mut text = String::new();
        open.read_to_string(&mut text).unwrap();
        assert_eq!(text, "a".repeat(100_000));
        assert_eq!(
            read(&storage, "f", Links::Refuse).unwrap(),
            "b".repeat(50_000)
        );
    }

    #[test]
    fn one_holds_the_lock_and_a_dead_holder_does_not() {
        let root = tempfile::tempdir().unwrap();
        let storage = LocalStorage::open(root.path()).unwrap();
        let first = storage.lock(LockMode::Fail).unwrap();
        let Err(refused) = storage.lock(LockMode::Fail) else {
            panic!("locked twice")
        };
        assert!(
            refused
                .to_string()
                .contains(&std::process::id().to_string())
                || !cfg!(target_os = "linux"),
            "{refused}"
        );
        drop(first);
        storage.lock(LockMode::Fail).unwrap();
        storage.lock(LockMode::Wait).unwrap();
    }

    #[test]
    fn those_who_get_on_with_each_other_hold_the_lock_together() {
        let root = tempfile::tempdir().unwrap();
        let storage = LocalStorage::open(root.path()).unwrap();
        let beside = || storage.lock_for(LockFor::Beside, LockMode::Fail);
        let both = (beside().unwrap(), beside().unwrap());
        assert!(storage.lock(LockMode::Fail).is_err());
        drop(both.0);
        assert!(storage.lock(LockMode::Fail).is_err());
        drop(both.1);
        let alone = storage.lock(LockMode::Wait).unwrap();
        assert!(beside().is_err());
        drop(alone);
        storage.lock_for(LockFor::Beside, LockMode::Wait).unwrap();
    }

    #[test]
    fn a_planted_lock_is_not_followed() {
        let root = tempfile::tempdir().unwrap();
        symlink("elsewhere", root.path().join(".sigindex.lock")).unwrap();
        let storage = LocalStorage::open(root.path()).unwrap();
        assert!(storage.lock(LockMode::Fail).is_err());
        assert!(!root.path().join("elsewhere").exists());
    }
}
