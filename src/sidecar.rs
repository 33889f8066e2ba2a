//! The signature beside a file: `FILE.sig` next to `FILE`. Owns where it lies and how it is read; whether it
//! holds is [`crate::signature`]'s to say.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::signature::{MAX_SIG_BYTES, Signature};
use crate::storage::{Links, LocalStorage, Stat, Storage, remedy};

/// What stands behind a file's name in the name of its signature.
pub const SUFFIX: &str = ".sig";

/// Reads a `.sig` file, never more of it than a signature can have.
///
/// # Errors
/// Why there is no signature to be had of it, in words for the user.
pub fn read(storage: &dyn Storage, path: &str) -> Result<(Signature, Stat), String> {
    let (file, stat) = storage
        .open(path, Links::Follow)
        .map_err(|error| error.to_string())?;
    let limit = MAX_SIG_BYTES.saturating_add(1);
    // With room for a byte more than it has, one look tells that it ends there.
    let room = usize::try_from(stat.size).map_or(limit, |size| size.saturating_add(1).min(limit));
    let mut bytes = Vec::with_capacity(room);
    file.take(u64::try_from(limit).unwrap_or(u64::MAX))
        .read_to_end(&mut bytes)
        .map_err(|cause| format!("{path}: can't read: {cause}{}", remedy(&cause)))?;
    let signature = Signature::parse(&bytes).map_err(|fault| fault.to_string())?;
    Ok((signature, stat))
}

/// Whether a file has a signature beside it, be it good or bad.
pub fn is_there(storage: &dyn Storage, path: &str) -> bool {
    // A dangling link is there, too: nothing is put in its place unasked.
    !matches!(storage.stat(path), Ok(None))
}

/// The folder of a file that was named on the command line, and its name in it.
///
/// # Errors
/// When it has no name, or its folder can't be opened; in words for the user.
pub fn place_of(file: &Path) -> Result<(LocalStorage, String), String> {
    let (folder, name) = parts_of(file)?;
    Ok((open(folder)?, name.to_owned()))
}

/// The folders of files that were named on the command line. The last one stays open: most files lie beside the one
/// before.
#[derive(Debug, Default)]
pub struct Folders {
    last: Mutex<Option<(PathBuf, Arc<LocalStorage>)>>,
}

impl Folders {
    /// As [`place_of()`].
    ///
    /// # Errors
    /// As [`place_of()`].
    pub fn place_of(&self, file: &Path) -> Result<(Arc<LocalStorage>, String), String> {
        let (folder, name) = parts_of(file)?;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let storage = match &*last {
            Some((known, storage)) if known == folder => Arc::clone(storage),
            _ => {
                let storage = Arc::new(open(folder)?);
                *last = Some((folder.to_owned(), Arc::clone(&storage)));
                storage
            }
        };
        Ok((storage, name.to_owned()))
    }
}

/// The folder that a file is named in.
pub fn folder_of(file: &Path) -> &Path {
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

fn parts_of(file: &Path) -> Result<(&Path, &str), String> {
    let name = file.file_name().and_then(|name| name.to_str());
    let name = name.ok_or("its name is not that of a file, in UTF-8")?;
    Ok((folder_of(file), name))
}

fn open(folder: &Path) -> Result<LocalStorage, String> {
    LocalStorage::open(folder).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::print_stderr)]
    use super::*;
    use std::fs;

    #[test]
    fn a_signature_is_read_whole_and_never_more_of_it() {
        let root = tempfile::tempdir().unwrap();
        let storage = LocalStorage::open(root.path()).unwrap();
        let put = |content: &str| {
            fs::write(root.path().join("a.sig"), content).unwrap();
            read(&storage, "a.sig").map(|(signature, stat)| (signature.value.len(), stat.size))
        };
        assert_eq!(put("Key AAEC\n").unwrap(), (3, 9));
        let long = format!("Key {}\n", "AAEC".repeat(2_040));
        assert_eq!(put(&long).unwrap().0, 6_120);
        let too_long = format!("Key {}\n", "AAEC".repeat(2_048));
        assert!(put(&too_long).unwrap_err().contains("8 KiB"));
        assert!(put("").unwrap_err().contains("empty"));
    }

    /// How many bytes this thread has read so far, as the kernel counts them; `None` where it does not.
    fn bytes_read() -> Option<u64> {
        let counts = fs::read_to_string("/proc/thread-self/io").ok()?;
        let line = counts.lines().find_map(|line| line.strip_prefix("rchar: "));
        line?.parse().ok()
    }

    /// How many bytes of files this reads, and at most as many as the counts themselves have more; `None` where the kernel
    /// does not count.
    fn counted(reads: impl FnOnce()) -> Option<u64> {
        let before = bytes_read()?;
        reads();
        bytes_read()?.checked_sub(before)
    }

    /// More than the counts have.
    const COUNTS: u64 = 4_096;

    #[test]
    fn a_huge_one_is_unread_past_8_kib() {
        let root = tempfile::tempdir().unwrap();
        let storage = LocalStorage::open(root.path()).unwrap();
        let path = root.path().join("a.sig");
        fs::write(&path, format!("Key {}", "AAEC".repeat(100_000))).unwrap();
        fs::File::options()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_len(1 << 30))
            .unwrap();
        // There are kernels that have the counts, and count nothing.
        let known = root.path().join("known");
        fs::write(&known, [0; 10_000]).unwrap();
        let trial = counted(|| assert_eq!(fs::read(&known).unwrap().len(), 10_000));
        let refused = || assert!(read(&storage, "a.sig").unwrap_err().contains("8 KiB"));
        let (Some(10_000..), Some(read)) = (trial, counted(refused)) else {
            eprintln!("skipped: the kernel does not count what is read");
            return;
        };
        let limit = u64::try_from(MAX_SIG_BYTES).unwrap();
        assert!((limit..=limit + 1 + COUNTS).contains(&read), "{read} bytes");
    }

    #[test]
    fn the_last_folder_is_opened_once() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("sub")).unwrap();
        let folders = Folders::default();
        let place = |name: &str| folders.place_of(&root.path().join(name));
        let (first, name) = place("a").unwrap();
        assert_eq!(name, "a");
        assert!(Arc::ptr_eq(&first, &place("b").unwrap().0));
        let (other, name) = place("sub/c").unwrap();
        assert_eq!(
            (name.as_str(), other.root()),
            ("c", &*root.path().canonicalize().unwrap().join("sub"))
        );
        assert!(place("absent/d").is_err() && place("..").is_err());
        assert_eq!(place("a").unwrap().0.root(), first.root());
    }
}
