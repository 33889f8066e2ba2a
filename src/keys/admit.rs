//! Taking public keys into the keys folder, and keys out of it. No key is overwritten, and none goes that was
//! not named; must not know where a key comes from, nor who is asked.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::create::{Made, refuse_existing, sync_folder};
use super::{ChannelPlace, DEFAULT_KEY_BITS, KeyError, KeyName, KeysDir, PublicKey, WeakSizes};

/// What became of a key that was to be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It is there now.
    New,
    /// It was there already, under the same name.
    Already,
}

/// Which files of a key are to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Halves {
    /// `NAME.pub`, where there is no private key.
    Public,
    /// `NAME` too, after which nothing can be signed with it any more.
    Both,
}

/// What was removed of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// `NAME.pub`.
    pub public: bool,
    /// `NAME`.
    pub private: bool,
    /// Where the key was trusted until now.
    pub channels: Vec<ChannelPlace>,
}

impl KeysDir {
    /// Puts a public key into the folder as `NAME.pub` (mode 0644); makes the folder (0700) where it is missing.
    ///
    /// # Errors
    /// [`KeyError::Weak`] for a key below 2048 bits unless that is allowed, [`KeyError::OtherKeyThere`] when
    /// another key has the name, and a variant for each step that can fail; then nothing is left behind.
    pub fn add_public(&self, key: &PublicKey, weak: WeakSizes) -> Result<Added, KeyError> {
        let (name, bits) = (key.name().clone(), key.bits());
        if bits < DEFAULT_KEY_BITS && weak == WeakSizes::Refuse {
            return Err(KeyError::Weak { name, bits });
        }
        let path = self.public_path(&name);
        if is_there(&path)? {
            let same = PublicKey::read(&path, &name)
                .is_ok_and(|there| there.fingerprint() == key.fingerprint());
            return match same {
                true => Ok(Added::Already),
                false => Err(KeyError::OtherKeyThere { path }),
            };
        }
        // A lone private key of that name may be of another pair.
        refuse_existing(&self.private_path(&name))?;
        let mut made = Made::default();
        made.folder(self.path())?;
        made.file(&path, 0o644, key.to_pem().as_bytes())?;
        sync_folder(self.path())?;
        made.keep();
        Ok(Added::New)
    }

    /// Removes a key, and trusts it for no channel any more.
    ///
    /// # Errors
    /// [`KeyError::NoSuchKey`] when nothing of it is there, [`KeyError::PrivateThere`] when its private key is and
    /// was not meant, and a variant for each step that can fail.
    pub fn remove(&self, name: &KeyName, halves: Halves) -> Result<Removed, KeyError> {
        let (public, private) = (self.public_path(name), self.private_path(name));
        let private_there = is_there(&private)?;
        if private_there && halves == Halves::Public {
            return Err(KeyError::PrivateThere { path: private });
        }
        let channels = self.unpin(name, None)?;
        let removed = Removed {
            private: remove(&private)?,
            public: remove(&public)?,
            channels,
        };
        if !removed.private && !removed.public && removed.channels.is_empty() {
            return Err(KeyError::NoSuchKey {
                name: name.clone(),
                folder: self.path().to_owned(),
            });
        }
        sync_folder(self.path())?;
        Ok(removed)
    }
}

fn is_there(path: &Path) -> Result<bool, KeyError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(false)
        }
        Err(source) => Err(KeyError::Open {
            path: path.to_owned(),
            source,
        }),
    }
}

fn remove(path: &Path) -> Result<bool, KeyError> {
    if !is_there(path)? {
        return Ok(false);
    }
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(source) => Err(KeyError::Remove {
            path: path.to_owned(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::samples::{self, name};
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn folder() -> (tempfile::TempDir, KeysDir) {
        let scratch = tempfile::tempdir().unwrap();
        let dir = KeysDir::new(scratch.path().join("keys"), false);
        (scratch, dir)
    }

    /// The other sample key, under the first one's name.
    fn impostor() -> PublicKey {
        let pem = samples::weak().public().to_pem();
        PublicKey::from_pem(name("Strong"), pem.as_bytes()).unwrap()
    }

    #[test]
    fn a_key_is_added_once_and_never_overwritten() {
        let (_scratch, dir) = folder();
        let key = samples::strong().public();
        let add = |key: &PublicKey| dir.add_public(key, WeakSizes::Allow);
        assert_eq!(add(key).unwrap(), Added::New);
        assert_eq!(add(key).unwrap(), Added::Already);
        let path = dir.public_path(key.name());
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & !0o644, 0);
        assert_eq!(fs::read_to_string(&path).unwrap(), key.to_pem());
        let error = add(&impostor()).unwrap_err();
        assert!(matches!(error, KeyError::OtherKeyThere { .. }), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), key.to_pem());
        fs::remove_file(&path).unwrap();
        symlink("nowhere", &path).unwrap();
        assert!(matches!(add(key), Err(KeyError::OtherKeyThere { .. })));
        fs::remove_file(&path).unwrap();
        fs::write(dir.private_path(key.name()), "of another pair").unwrap();
        assert!(matches!(add(key), Err(KeyError::Exists { .. })));
        assert!(!path.exists());
    }

    #[test]
    fn a_folder_that_cannot_be_looked_into_is_not_taken_for_empty() {
        let scratch = tempfile::tempdir().unwrap();
        symlink("loop", scratch.path().join("loop")).unwrap();
        let dir = KeysDir::new(scratch.path().join("loop"), false);
        let key = samples::strong().public();
        let added = dir.add_public(key, WeakSizes::Refuse).unwrap_err();
        assert!(matches!(added, KeyError::Open { .. }), "{added}");
        let removed = dir.remove(key.name(), Halves::Both).unwrap_err();
        assert!(matches!(removed, KeyError::Open { .. }), "{removed}");
        // What lies below a file is not there.
        fs::write(scratch.path().join("file"), "").unwrap();
        assert!(!is_there(&scratch.path().join("file/below")).unwrap());
    }

    #[test]
    fn a_weak_key_has_to_be_wanted() {
        let (_scratch, dir) = folder();
        let key = samples::weak().public();
        let error = dir.add_public(key, WeakSizes::Refuse).unwrap_err();
        assert!(
            matches!(error, KeyError::Weak { bits: 1024, .. }),
            "{error}"
        );
        assert!(!dir.path().exists());
        dir.add_public(key, WeakSizes::Allow).unwrap();
    }

    #[test]
    fn what_goes_is_what_was_named() {
        let (_scratch, dir) = folder();
        let channel = ChannelPlace::parse("https://h/a").unwrap();
        let key = samples::strong().public();
        let none = dir.remove(key.name(), Halves::Both).unwrap_err();
        assert!(matches!(none, KeyError::NoSuchKey { .. }), "{none}");
        dir.add_public(key, WeakSizes::Refuse).unwrap();
        dir.pin(key.name(), key.fingerprint(), &channel).unwrap();
        fs::write(dir.private_path(key.name()), "x").unwrap();
        let error = dir.remove(key.name(), Halves::Public).unwrap_err();
        assert!(matches!(error, KeyError::PrivateThere { .. }), "{error}");
        assert_eq!(dir.pins().unwrap().iter().count(), 1);
        let removed = dir.remove(key.name(), Halves::Both).unwrap();
        assert!(removed.public && removed.private);
        assert_eq!(removed.channels, [channel]);
        assert!(dir.public_keys().unwrap().iter().next().is_none());
        assert_eq!(dir.pins().unwrap().iter().count(), 0);
        // A key that can't be used goes, too.
        symlink("nowhere", dir.public_path(key.name())).unwrap();
        assert!(dir.remove(key.name(), Halves::Public).unwrap().public);
    }
}
