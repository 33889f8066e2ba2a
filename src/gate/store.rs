//! The gate's store: checked files by their SHA-256, in a folder of this user's own and, when small, in memory. Owns
//! its bounds, what goes first when they are reached, and that no file is handed out whose bytes were not hashed by
//! this process; must not know what files mean or where they come from.

mod fault;
mod folder;
mod held;
mod writer;

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

pub use fault::StoreError;
use folder::Folder;
pub use folder::StoreConfig;
use held::Held;
pub use writer::StoreWriter;

/// The folder is looked through when so small a part of its bound was kept anew.
const LOOKS: u64 = 64;

/// The SHA-256 of a file, which is its name here.
pub type Hash = [u8; 32];

/// The bytes of a checked file. What is held here stays readable when the store lets the file go.
#[derive(Debug, Clone)]
pub enum Place {
    /// A small file.
    Memory(Bytes),
    /// An open file. It has no position that matters: read it by offsets.
    File(std::sync::Arc<std::fs::File>),
}

impl Place {
    /// All bytes of it.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn read(&self) -> std::io::Result<Bytes> {
        use std::os::unix::fs::FileExt as _;
        let file = match self {
            Place::Memory(bytes) => return Ok(bytes.clone()),
            Place::File(file) => file,
        };
        let length = usize::try_from(file.metadata()?.len()).map_err(std::io::Error::other)?;
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes.into())
    }
}

/// A file of the store.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Bytes.
    pub length: u64,
    /// Where they are.
    pub place: Place,
}

/// A bounded store of checked files. Several processes may share its folder.
#[derive(Debug)]
pub struct Store {
    config: StoreConfig,
    folder: Folder,
    held: Mutex<Held>,
    /// Files that are being hashed for the first time.
    hashing: Mutex<HashSet<Hash>>,
    hashed: Condvar,
    /// The bytes that were kept since the folder was looked through.
    unseen: AtomicU64,
}

impl Store {
    /// Opens the folder, makes it where it is not there, and clears what a crash left in it.
    ///
    /// # Errors
    /// When it can't be made or read, or somebody else can write in it.
    pub fn open(config: StoreConfig) -> Result<Store, StoreError> {
        let folder = Folder::open(&config.folder)?;
        folder.clear_leftovers()?;
        let held = Held::of(folder.scan()?);
        let store = Store {
            config,
            folder,
            held: Mutex::new(held),
            hashing: Mutex::default(),
            hashed: Condvar::new(),
            unseen: AtomicU64::new(0),
        };
        store.make_room(0)?;
        Ok(store)
    }

    /// A file that this process has hashed already. Never waits for more than the opening of a file.
    pub fn at_hand(&self, hash: &Hash) -> Option<Stored> {
        let (length, memory) = self.held().use_checked(hash)?;
        if let Some(bytes) = memory {
            let place = Place::Memory(bytes);
            return Some(Stored { length, place });
        }
        match self.folder.open_file(hash) {
            Ok(Some(file)) if file.length == length => Some(file.stored()),
            // Another process let it go, or the disk fails: as if it had never been here.
            _ => {
                self.held().forget(hash);
                None
            }
        }
    }

    /// A file, hashed now if this process has not done so before.
    ///
    /// # Errors
    /// When the folder can't be read.
    pub fn get(&self, hash: &Hash) -> Result<Option<Stored>, StoreError> {
        loop {
            if let Some(stored) = self.at_hand(hash) {
                return Ok(Some(stored));
            }
            if self.begin_hashing(hash) {
                break;
            }
        }
        let found = self.check(hash);
        self.lock(&self.hashing).remove(hash);
        self.hashed.notify_all();
        found
    }

    /// Begins a file. What is written goes to the disk, and is no file of the store before [`Store::keep`].
    ///
    /// # Errors
    /// When it can't be made.
    pub fn writer(&self) -> Result<StoreWriter, StoreError> {
        self.folder.writer()
    }

    /// Keeps what was written as the file of that hash.
    ///
    /// # Errors
    /// [`StoreError::OtherBytes`] when it has another hash, and when it can't be renamed.
    pub fn keep(&self, writer: StoreWriter, hash: &Hash) -> Result<Stored, StoreError> {
        let (found, length) = (writer.sha256(), writer.length());
        if found != *hash {
            return Err(StoreError::OtherBytes);
        }
        if length > self.config.disk_bytes || !self.folder.make_way(hash) {
            // It is served from its open handle, and is gone with it.
            return Ok(writer.into_unnamed()?.stored());
        }
        self.make_room(length)?;
        let file = self.folder.keep(writer, hash)?;
        let stored = self.with_memory(hash, file.stored());
        self.held().insert_checked(*hash, length);
        self.remember(hash, &stored);
        Ok(stored)
    }

    /// Keeps bytes that are in memory already.
    ///
    /// # Errors
    /// When they can't be written.
    pub fn keep_bytes(&self, bytes: &[u8]) -> Result<(Hash, Stored), StoreError> {
        use std::io::Write as _;
        let mut writer = self.writer()?;
        writer
            .write_all(bytes)
            .map_err(|cause| self.folder.error("write a file", cause))?;
        let hash = writer.sha256();
        Ok((hash, self.keep(writer, &hash)?))
    }

    /// Whether this thread is to hash the file. When another does, waits until it has.
    fn begin_hashing(&self, hash: &Hash) -> bool {
        let mut hashing = self.lock(&self.hashing);
        if hashing.insert(*hash) {
            return true;
        }
        while hashing.contains(hash) {
            let woken = self.hashed.wait(hashing);
            hashing = woken.unwrap_or_else(PoisonError::into_inner);
        }
        false
    }

    /// Hashes a file of the folder; a broken one is removed.
    fn check(&self, hash: &Hash) -> Result<Option<Stored>, StoreError> {
        let Some(file) = self.folder.open_file(hash)? else {
            self.held().forget(hash);
            return Ok(None);
        };
        if self.folder.hash(&file)? != *hash {
            self.folder.remove(hash)?;
            self.held().forget(hash);
            return Ok(None);
        }
        self.folder.touch(&file);
        let stored = self.with_memory(hash, file.stored());
        self.held().insert_checked(*hash, stored.length);
        self.remember(hash, &stored);
        Ok(Some(stored))
    }

    /// A small file is taken into memory, from the handle whose bytes were hashed, and hashed again there.
    fn with_memory(&self, hash: &Hash, stored: Stored) -> Stored {
        let (Place::File(file), true) = (&stored.place, stored.length <= self.config.small) else {
            return stored;
        };
        let Some(bytes) = folder::read_checked(file, stored.length, hash) else {
            return stored;
        };
        let place = Place::Memory(bytes);
        Stored { place, ..stored }
    }

    fn remember(&self, hash: &Hash, stored: &Stored) {
        if let Place::Memory(bytes) = &stored.place {
            let most = self.config.memory_bytes;
            self.held().remember(hash, bytes.clone(), most);
        }
    }

    /// Lets the files go that were used longest ago, until so many bytes more fit in.
    fn make_room(&self, more: u64) -> Result<(), StoreError> {
        let most = self.config.disk_bytes;
        // Other processes put files here too: what they may have put here since the last look is bounded.
        let unseen = self.unseen.fetch_add(more, Ordering::Relaxed);
        let unseen = unseen.saturating_add(more);
        let is_full = self.held().total().saturating_add(more) > most;
        if !is_full && unseen < most / LOOKS {
            return Ok(());
        }
        self.unseen.store(0, Ordering::Relaxed);
        let there = self.folder.scan()?;
        let going = {
            let mut held = self.held();
            held.update(there);
            held.oldest_beyond(most.saturating_sub(more))
        };
        for hash in going {
            self.folder.remove(&hash)?;
            self.held().forget(&hash);
        }
        Ok(())
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.lock(&self.held)
    }

    /// Nothing that is done under a lock leaves half a change behind.
    fn lock<'a, T>(&self, mutex: &'a Mutex<T>) -> MutexGuard<'a, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    use super::*;

    fn open(folder: &Path) -> Store {
        let config = StoreConfig {
            folder: folder.join("gate"),
            disk_bytes: 100,
            memory_bytes: 20,
            small: 10,
        };
        Store::open(config).unwrap()
    }

    fn files(folder: &Path) -> usize {
        std::fs::read_dir(folder.join("gate/files"))
            .unwrap()
            .count()
    }

    #[test]
    fn what_is_kept_is_found_until_others_take_its_room() {
        let scratch = tempfile::tempdir().unwrap();
        let store = open(scratch.path());
        let (small, stored) = store.keep_bytes(b"small").unwrap();
        assert!(matches!(stored.place, Place::Memory(_)));
        let (first, stored) = store.keep_bytes(&[1; 60]).unwrap();
        assert!(matches!(stored.place, Place::File(_)));
        assert_eq!(
            store.get(&first).unwrap().unwrap().place.read().unwrap(),
            vec![1; 60]
        );
        assert!(store.at_hand(&small).is_some());
        let (second, _) = store.keep_bytes(&[2; 60]).unwrap();
        assert!(store.get(&first).unwrap().is_none());
        // It stays readable for whoever has it.
        assert_eq!(stored.place.read().unwrap(), vec![1; 60]);
        assert!(store.at_hand(&second).is_some() && store.at_hand(&small).is_some());
        assert_eq!(files(scratch.path()), 2);
        // What is larger than the whole store is served and not kept.
        let (large, stored) = store.keep_bytes(&[3; 101]).unwrap();
        assert_eq!(stored.place.read().unwrap(), vec![3; 101]);
        assert!(store.get(&large).unwrap().is_none());
        assert_eq!(files(scratch.path()), 2);
    }

    #[test]
    fn other_bytes_are_never_handed_out() {
        let scratch = tempfile::tempdir().unwrap();
        let store = open(scratch.path());
        let (hash, _) = store.keep_bytes(b"what was checked").unwrap();
        let mut writer = store.writer().unwrap();
        std::io::Write::write_all(&mut writer, b"else").unwrap();
        assert!(matches!(
            store.keep(writer, &[0; 32]),
            Err(StoreError::OtherBytes)
        ));
        let path = scratch
            .path()
            .join("gate/files")
            .join(crate::record::hex(&hash));
        let other = open(scratch.path());
        assert!(other.at_hand(&hash).is_none());
        assert!(other.get(&hash).unwrap().is_some());
        std::fs::write(&path, b"what was changed").unwrap();
        let third = open(scratch.path());
        assert!(third.get(&hash).unwrap().is_none());
        assert!(!path.exists());
        // Who had hashed it finds it gone.
        assert!(other.at_hand(&hash).is_none());
    }

    #[test]
    fn what_a_crash_left_is_cleared() {
        let scratch = tempfile::tempdir().unwrap();
        let store = open(scratch.path());
        let new = scratch.path().join("gate/new");
        let old = SystemTime::now() - Duration::from_secs(3600);
        std::fs::write(new.join("left"), "behind").unwrap();
        std::fs::write(new.join("young"), "made now").unwrap();
        let writer = store.writer().unwrap();
        for entry in std::fs::read_dir(&new).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name() != "young" {
                let file = std::fs::File::open(entry.path()).unwrap();
                file.set_modified(old).unwrap();
            }
        }
        let _other = open(scratch.path());
        assert!(!new.join("left").exists() && new.join("young").exists());
        assert_eq!(std::fs::read_dir(&new).unwrap().count(), 2);
        drop(writer);
        assert_eq!(std::fs::read_dir(&new).unwrap().count(), 1);
    }

    fn fifo(path: &Path) {
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
        rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, 0).unwrap();
    }

    #[test]
    fn what_is_no_file_among_those_on_their_way_is_passed_over() {
        let scratch = tempfile::tempdir().unwrap();
        drop(open(scratch.path()));
        let new = scratch.path().join("gate/new");
        fifo(&new.join("fifo"));
        std::os::unix::fs::symlink("/nowhere", new.join("link")).unwrap();
        let folder = new.join("folder");
        std::fs::create_dir(&folder).unwrap();
        let old = SystemTime::now() - Duration::from_secs(3600);
        let opened = std::fs::File::open(&folder).unwrap();
        opened.set_modified(old).unwrap();
        // Who opens the FIFO waits for ever.
        let (path, (done, wait)) = (scratch.path().to_owned(), std::sync::mpsc::channel());
        std::thread::spawn(move || done.send(open(&path).keep_bytes(b"x").is_ok()));
        assert_eq!(wait.recv_timeout(Duration::from_secs(120)), Ok(true));
        assert_eq!(std::fs::read_dir(&new).unwrap().count(), 3);
    }

    #[test]
    fn what_is_no_file_under_a_files_name_is_none() {
        let scratch = tempfile::tempdir().unwrap();
        let (bytes, elsewhere) = (b"what was checked", scratch.path().join("elsewhere"));
        std::fs::write(&elsewhere, bytes).unwrap();
        let store = open(scratch.path());
        let (hash, _) = store.keep_bytes(bytes).unwrap();
        let path = scratch.path().join("gate/files");
        let path = path.join(crate::record::hex(&hash));
        let (link, folder) = (
            |path: &Path| std::os::unix::fs::symlink(&elsewhere, path).unwrap(),
            |path: &Path| std::fs::create_dir(path).unwrap(),
        );
        let socket = |path: &Path| drop(std::os::unix::net::UnixListener::bind(path).unwrap());
        for odd in [&link as &dyn Fn(&Path), &folder, &fifo, &socket] {
            std::fs::remove_file(&path).unwrap();
            odd(&path);
            let store = open(scratch.path());
            assert!(store.get(&hash).unwrap().is_none());
            let (_, stored) = store.keep_bytes(bytes).unwrap();
            assert_eq!(stored.place.read().unwrap(), &bytes[..]);
            assert!(path.symlink_metadata().unwrap().is_file());
            assert!(store.get(&hash).unwrap().is_some());
        }
        // What somebody put into a folder of that name stays there, and the file is served without being kept.
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("dear"), "to somebody").unwrap();
        let store = open(scratch.path());
        let (_, stored) = store.keep_bytes(bytes).unwrap();
        assert_eq!(stored.place.read().unwrap(), &bytes[..]);
        assert!(store.get(&hash).unwrap().is_none() && path.join("dear").exists());
        let new = scratch.path().join("gate/new");
        assert_eq!(std::fs::read_dir(new).unwrap().count(), 0);
        assert_eq!(std::fs::read(elsewhere).unwrap(), bytes);
    }

    #[test]
    fn many_ask_for_one_file_at_once() {
        let scratch = tempfile::tempdir().unwrap();
        let (hash, _) = open(scratch.path()).keep_bytes(&[7; 50]).unwrap();
        let store = open(scratch.path());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| assert!(store.get(&hash).unwrap().is_some()));
                scope.spawn(|| assert!(store.get(&[0; 32]).unwrap().is_none()));
            }
        });
    }
}
