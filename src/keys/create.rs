//! Making a key: both files, whole and synced, or nothing. It overwrites nothing, and takes back what
//! it made when a later step fails.

use std::fs::{self, DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::{KeyError, KeyName, KeySize, KeysDir, PrivateKey, PublicKey};
use crate::storage::{self, could_make_folder};

impl KeysDir {
    /// Makes a key: `NAME` (PKCS#1 PEM, or PKCS#8 encrypted with `passphrase`) with mode 0600, and
    /// `NAME.pub` with mode 0644; and the folder with mode 0700 where it is missing. The public half.
    ///
    /// # Errors
    /// [`KeyError::Exists`] when either file is there, and a variant for each step that can fail;
    /// then nothing is left behind.
    pub fn create(
        &self,
        name: &KeyName,
        size: KeySize,
        passphrase: Option<&str>,
    ) -> Result<PublicKey, KeyError> {
        let (private, public) = (self.private_path(name), self.public_path(name));
        // All that can be known is looked at first: a large key takes minutes to make.
        if passphrase == Some("") {
            return Err(KeyError::EmptyPassphrase);
        }
        self.refuse_pair(name)?;
        let mut made = Made::default();
        made.folder(self.path())?;
        check_writable(self.path())?;

        let key = PrivateKey::generate(name.clone(), size)?;
        made.file(&private, 0o600, key.to_pem(passphrase)?.as_bytes())?;
        made.file(&public, 0o644, key.public().to_pem().as_bytes())?;
        sync_folder(self.path())?;
        made.keep();
        Ok(key.public().clone())
    }

    /// Whether a key of this name could be made, as far as that can be told without making one.
    ///
    /// # Errors
    /// As [`KeysDir::create`].
    pub fn check_create(&self, name: &KeyName) -> Result<(), KeyError> {
        self.refuse_pair(name)?;
        let whole = absolute(self.path())?;
        let is_there = |folder: &&Path| folder.exists();
        let there = whole.ancestors().find(is_there).unwrap_or(&whole);
        could_make_folder(&whole).map_err(|source| KeyError::MakeFolder {
            path: whole.clone(),
            source,
        })?;
        check_writable(there).map_err(|error| match error {
            KeyError::FolderNotWritable { source, .. } if there != whole => {
                let path = whole.clone();
                KeyError::MakeFolder { path, source }
            }
            error => error,
        })
    }

    /// Refuses the name of a key of which either file is there.
    fn refuse_pair(&self, name: &KeyName) -> Result<(), KeyError> {
        let (private, public) = (self.private_path(name), self.public_path(name));
        match (refuse_existing(&private), refuse_existing(&public)) {
            (Err(KeyError::Exists { path }), Ok(())) => Err(KeyError::HalfThere { path, public }),
            (private, public) => private.and(public),
        }
    }
}

/// Refuses a name in use, by whatever it is; a dangling link too.
pub(super) fn refuse_existing(path: &Path) -> Result<(), KeyError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(source) => Err(KeyError::Create {
            path: path.to_owned(),
            source,
        }),
        Ok(_) => Err(KeyError::Exists {
            path: path.to_owned(),
        }),
    }
}

fn absolute(path: &Path) -> Result<PathBuf, KeyError> {
    std::path::absolute(path).map_err(|source| KeyError::MakeFolder {
        path: path.to_owned(),
        source,
    })
}

fn check_writable(folder: &Path) -> Result<(), KeyError> {
    access(folder, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| {
        KeyError::FolderNotWritable {
            path: folder.to_owned(),
            source: error.into(),
        }
    })
}

/// Makes a folder and those above it that are missing, each with mode 0700.
pub(super) fn make_folder(path: &Path) -> Result<(), KeyError> {
    let mut made = Made::default();
    made.folder(path)?;
    made.keep();
    Ok(())
}

pub(super) fn sync_folder(path: &Path) -> Result<(), KeyError> {
    File::open(path)
        .and_then(|folder| Ok(storage::sync_folder(&folder)?))
        .map_err(|source| KeyError::SyncFolder {
            path: path.to_owned(),
            source,
        })
}

/// What was made so far; it is removed again unless it is kept.
#[derive(Default)]
pub(super) struct Made {
    folders: Vec<PathBuf>,
    files: Vec<PathBuf>,
}

impl Made {
    /// Makes a folder and those above it that are missing, each with mode 0700.
    pub(super) fn folder(&mut self, path: &Path) -> Result<(), KeyError> {
        // Absolute, so that each folder has one above it, to be synced.
        let whole = absolute(path)?;
        let folders = whole.ancestors();
        let missing: Vec<_> = folders.take_while(|folder| !folder.exists()).collect();
        for folder in missing.into_iter().rev() {
            match DirBuilder::new().mode(0o700).create(folder) {
                Ok(()) => self.folders.push(folder.to_owned()),
                // Somebody else was quicker; then it is not ours to remove.
                Err(error) if error.kind() == ErrorKind::AlreadyExists && folder.is_dir() => {}
                Err(source) => {
                    let path = folder.to_owned();
                    return Err(KeyError::MakeFolder { path, source });
                }
            }
            folder.parent().map_or(Ok(()), sync_folder)?;
        }
        Ok(())
    }

    /// Makes a file that must not be there yet, whole and with its mode from the first moment on.
    pub(super) fn file(&mut self, path: &Path, mode: u32, content: &[u8]) -> Result<(), KeyError> {
        storage::create_whole(path, mode, content).map_err(|source| {
            let path = path.to_owned();
            match source.kind() {
                ErrorKind::AlreadyExists => KeyError::Exists { path },
                _ => KeyError::Create { path, source },
            }
        })?;
        self.files.push(path.to_owned());
        Ok(())
    }

    /// Lets what was made stay.
    pub(super) fn keep(mut self) {
        self.files.clear();
        self.folders.clear();
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        // The error that is on its way says more than one from here could.
        for file in self.files.iter().rev() {
            let _ = fs::remove_file(file);
        }
        for folder in self.folders.iter().rev() {
            let _ = fs::remove_dir(folder);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    #![allow(clippy::panic, clippy::string_slice)]
    use super::super::samples::{self, name};
    use super::*;
    use crate::keys::WeakSizes;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use zeroize::Zeroizing;

    fn small() -> KeySize {
        KeySize::new(1024, WeakSizes::Allow).unwrap()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn entries(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn a_key_is_made_with_its_folders() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = KeysDir::new(scratch.path().join("a/keys"), false);
        let public = dir.create(&name("New"), small(), Some("word")).unwrap();
        assert_eq!(public.bits(), 1024);
        assert_eq!(mode(&scratch.path().join("a")), 0o700);
        assert_eq!(mode(dir.path()), 0o700);
        assert_eq!(mode(&dir.private_path(&name("New"))), 0o600);
        // The umask may take bits away, and none are added.
        assert_eq!(mode(&dir.public_path(&name("New"))) & !0o644, 0);
        assert_eq!(entries(dir.path()), 2);
        let ask = |_: &KeyName| Ok(Zeroizing::new("word".to_owned()));
        let key = dir.load_private(&name("New"), &ask).unwrap();
        assert_eq!(key.public().fingerprint(), public.fingerprint());
    }

    #[test]
    fn nothing_is_overwritten() {
        for file in ["New", "New.pub"] {
            let scratch = tempfile::tempdir().unwrap();
            let dir = KeysDir::new(scratch.path().to_owned(), false);
            fs::write(scratch.path().join(file), "mine").unwrap();
            let error = dir.create(&name("New"), small(), None).unwrap_err();
            match file {
                "New" => assert!(matches!(error, KeyError::HalfThere { .. }), "{error}"),
                _ => assert!(matches!(error, KeyError::Exists { .. }), "{error}"),
            }
            assert_eq!(fs::read(scratch.path().join(file)).unwrap(), b"mine");
            assert_eq!(entries(scratch.path()), 1);
        }
        let scratch = tempfile::tempdir().unwrap();
        symlink("elsewhere", scratch.path().join("New")).unwrap();
        let dir = KeysDir::new(scratch.path().to_owned(), false);
        assert!(matches!(
            dir.create(&name("New"), small(), None),
            Err(KeyError::HalfThere { .. })
        ));
        assert!(!scratch.path().join("elsewhere").exists());
    }

    #[test]
    fn what_cannot_be_looked_at_is_not_taken_for_absent() {
        let scratch = tempfile::tempdir().unwrap();
        symlink("loop", scratch.path().join("loop")).unwrap();
        let dir = KeysDir::new(scratch.path().join("loop"), false);
        let error = dir.create(&name("New"), small(), None).unwrap_err();
        assert!(matches!(error, KeyError::Create { .. }), "{error}");
        assert!(sync_folder(&scratch.path().join("absent")).is_err());
        assert!(check_writable(&scratch.path().join("absent")).is_err());
        // Not even root may search what is no folder and nobody's to run.
        let file = scratch.path().join("file");
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(check_writable(&file).is_err());
        assert!(check_writable(scratch.path()).is_ok());
    }

    #[test]
    fn a_link_to_nowhere_is_no_folder() {
        let scratch = tempfile::tempdir().unwrap();
        let link = scratch.path().join("link");
        symlink("nowhere", &link).unwrap();
        let error = make_folder(&link).unwrap_err();
        assert!(matches!(error, KeyError::MakeFolder { .. }), "{error}");
        assert!(make_folder(Path::new("")).is_err());
        // One that is there by a relative path is made neither there nor above.
        make_folder(Path::new(".")).unwrap();
    }

    #[test]
    fn folders_may_be_made_by_several_at_once() {
        let scratch = tempfile::tempdir().unwrap();
        let barrier = std::sync::Barrier::new(4);
        let make = |round: usize| {
            barrier.wait();
            make_folder(&scratch.path().join(format!("{round}/a/b/keys")))
        };
        // Nobody fails before all rounds are over: the others would wait for them.
        let all = || (0..50).map(make).collect::<Vec<_>>();
        let made = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(all)).collect();
            let made = threads.into_iter().flat_map(|it| it.join().unwrap());
            made.collect::<Result<Vec<()>, KeyError>>()
        });
        made.unwrap();
        assert_eq!(entries(scratch.path()), 50);
    }

    #[test]
    fn a_failure_leaves_nothing_behind() {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("file"), "").unwrap();
        for path in ["file", "file/keys"] {
            let dir = KeysDir::new(scratch.path().join(path), false);
            assert!(dir.create(&name("New"), small(), None).is_err(), "{path}");
        }
        let dir = KeysDir::new(scratch.path().join("new"), false);
        assert!(matches!(
            dir.create(&name("New"), small(), Some("")),
            Err(KeyError::EmptyPassphrase)
        ));
        assert_eq!(entries(scratch.path()), 1);
    }

    #[test]
    fn a_read_only_folder_is_refused_before_a_key_is_made() {
        let scratch = tempfile::tempdir().unwrap();
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o500)).unwrap();
        // Root may write nevertheless, and then there is nothing to see.
        if fs::write(scratch.path().join("probe"), "").is_err() {
            let dir = KeysDir::new(scratch.path().to_owned(), false);
            let error = dir.create(&name("New"), small(), None).unwrap_err();
            assert!(
                matches!(error, KeyError::FolderNotWritable { .. }),
                "{error}"
            );
            let dir = KeysDir::new(scratch.path().join("keys"), false);
            let error = dir.create(&name("New"), small(), None).unwrap_err();
            assert!(matches!(error, KeyError::MakeFolder { .. }), "{error}");
            assert_eq!(entries(scratch.path()), 0);
        }
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o700)).unwrap();
    }

    #[test]
    fn what_was_made_goes_again_unless_it_is_kept() {
        let scratch = tempfile::tempdir().unwrap();
        let inner = scratch.path().join("a/b");
        let mut made = Made::default();
        made.folder(&inner).unwrap();
        made.file(&inner.join("New"), 0o600, b"secret").unwrap();
        assert_eq!(mode(&inner.join("New")), 0o600);
        let again = made.file(&inner.join("New"), 0o600, b"other");
        assert!(matches!(again, Err(KeyError::Exists { .. })));
        drop(made);
        assert_eq!(entries(scratch.path()), 0);

        // A file of somebody else in a folder of ours: neither goes.
        let mut made = Made::default();
        made.folder(&inner).unwrap();
        fs::write(inner.join("theirs"), "").unwrap();
        drop(made);
        assert!(inner.join("theirs").exists());
    }

    #[test]
    fn openssl_reads_what_is_made() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("key");
        for passphrase in [None, Some("word")] {
            fs::write(
                &file,
                samples::weak().to_pem(passphrase).unwrap().as_bytes(),
            )
            .unwrap();
            let ran = std::process::Command::new("openssl")
                .args(["rsa", "-pubout", "-passin", "pass:word", "-in"])
                .arg(&file)
                .output();
            match ran {
                Ok(out) => {
                    assert_eq!(
                        String::from_utf8_lossy(&out.stdout),
                        samples::weak().public().to_pem()
                    )
                }
                Err(error) => samples::skipped(&format!("no openssl: {error}")),
            }
        }
    }

    #[test]
    fn whether_a_key_can_be_made_is_known_before_it_is_made() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = KeysDir::new(scratch.path().join("a/keys"), false);
        dir.check_create(&name("New")).unwrap();
        assert_eq!(entries(scratch.path()), 0, "nothing was made");
        dir.create(&name("New"), small(), None).unwrap();
        let taken = dir.check_create(&name("New"));
        assert!(matches!(taken, Err(KeyError::Exists { .. })), "{taken:?}");
        dir.check_create(&name("Newer")).unwrap();
        symlink("nowhere", scratch.path().join("link")).unwrap();
        let beneath = KeysDir::new(scratch.path().join("link/keys"), false);
        let error = beneath.check_create(&name("New")).unwrap_err();
        assert!(matches!(error, KeyError::MakeFolder { .. }), "{error}");
        // The superuser writes anywhere.
        if !rustix::process::geteuid().is_root() {
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o500)).unwrap();
            let error = dir.check_create(&name("Newer")).unwrap_err();
            assert!(
                matches!(error, KeyError::FolderNotWritable { .. }),
                "{error}"
            );
            let inner = KeysDir::new(dir.path().join("inner"), false);
            let error = inner.check_create(&name("Newer")).unwrap_err();
            assert!(matches!(error, KeyError::MakeFolder { .. }), "{error}");
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        }
    }
}
