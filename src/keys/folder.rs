//! The folder of keys: which are there, the checks on a private key's file, and loading. What is in
//! a file is judged by [`super::public`] and [`super::private`].

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::pem::begins_like_private_key;
use super::private::{Found, private_error};
use super::{AskPassphrase, KeyError, KeyName, Keyring, MAX_KEY_FILE_BYTES, PrivateKey, PublicKey};
use crate::shown::shown;

/// How many bytes of a file are looked at to see whether it is a private key.
const HEAD_BYTES: u64 = 4096;

/// A folder that holds private keys as `NAME` and public keys as `NAME.pub`.
#[derive(Debug, Clone)]
pub struct KeysDir {
    path: PathBuf,
    group_readable: bool,
}

impl KeysDir {
    /// Names a folder, which need not be there. With `group_readable`, private keys that their group
    /// can read are taken, for the secret mounts of container systems.
    pub fn new(path: PathBuf, group_readable: bool) -> Self {
        Self {
            path,
            group_readable,
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the private key `name` lies, or would lie.
    pub fn private_path(&self, name: &KeyName) -> PathBuf {
        self.path.join(name.as_str())
    }

    /// Where the public key `name` lies, or would lie.
    pub fn public_path(&self, name: &KeyName) -> PathBuf {
        self.path.join(format!("{name}.pub"))
    }

    /// All public keys of the folder, with what they are for. One that cannot be used is kept with the reason; a folder that
    /// does not exist holds none. A file `X.pub` where `X` is no key's name is passed over, as no
    /// signature can name it.
    ///
    /// # Errors
    /// [`KeyError::ListFolder`] when the folder is there and cannot be listed, and [`KeyError::Settings`] when what
    /// the keys are for cannot be told.
    pub fn public_keys(&self) -> Result<Keyring, KeyError> {
        let mut ring = Keyring::default();
        for file in self.file_names()? {
            let Some(Ok(name)) = file.strip_suffix(".pub").map(KeyName::parse) else {
                continue;
            };
            let key = PublicKey::read(&self.public_path(&name), &name);
            ring.record(name, key);
        }
        ring.set_uses(self.uses()?);
        Ok(ring)
    }

    /// The sorted names of the private keys: regular files with a key's name that begin like a
    /// private key in PEM. One that cannot be read counts, so that it is not overlooked.
    ///
    /// # Errors
    /// [`KeyError::ListFolder`] when the folder is there and cannot be listed.
    pub fn private_names(&self) -> Result<Vec<KeyName>, KeyError> {
        let names = self.file_names()?.into_iter();
        let mut names: Vec<_> = names
            .filter_map(|file| KeyName::parse(&file).ok())
            .filter(|name| looks_like_private_key(&self.private_path(name)))
            .collect();
        names.sort();
        Ok(names)
    }

    /// All that [`KeysDir::load_private`] checks, short of decrypting an encrypted key; no
    /// passphrase is asked for. For dry runs. The key's public half.
    ///
    /// # Errors
    /// As [`KeysDir::load_private`], a wrong passphrase aside.
    pub fn check_private(&self, name: &KeyName) -> Result<PublicKey, KeyError> {
        let found = self.find_private(name)?;
        let public = self.public_beside(name)?;
        if let Found::Open(key) = &found {
            self.hold_against(key, &public)?;
        }
        Ok(public)
    }

    /// Loads a private key: one open file, its owner and mode, its content, and the public key
    /// beside it, which must be its own.
    ///
    /// # Errors
    /// Each check has its own variant of [`KeyError`]; and what `passphrase` gave.
    pub fn load_private(
        &self,
        name: &KeyName,
        passphrase: &AskPassphrase<'_>,
    ) -> Result<PrivateKey, KeyError> {
        let found = self.find_private(name)?;
        let public = self.public_beside(name)?;
        let place = self.private_path(name);
        let key = found.open(&shown(place), name, passphrase)?;
        self.hold_against(&key, &public)?;
        Ok(key)
    }

    fn find_private(&self, name: &KeyName) -> Result<Found, KeyError> {
        let path = self.private_path(name);
        let (file, metadata) = open_regular(&path).map_err(|error| match error {
            KeyError::Open { source, path } if source.kind() == ErrorKind::NotFound => {
                KeyError::NoPrivateKey {
                    name: name.clone(),
                    path,
                }
            }
            other => other,
        })?;
        self.check_access(&path, &metadata)?;
        let bytes = read_whole(file, &path)?;
        Found::read(name, &bytes).map_err(|fault| private_error(&shown(path), fault))
    }

    pub(super) fn check_access(&self, path: &Path, metadata: &Metadata) -> Result<(), KeyError> {
        let user = rustix::process::geteuid().as_raw();
        let owner = metadata.uid();
        if is_foreign(owner, user) {
            let path = path.to_owned();
            return Err(KeyError::Owner { path, owner, user });
        }
        let mode = metadata.mode() & 0o7777;
        let path = || path.to_owned();
        let group_may = if self.group_readable { 0o040 } else { 0 };
        if mode & 0o007 != 0 {
            Err(KeyError::OpenToOthers { path: path(), mode })
        } else if mode & 0o070 & !group_may != 0 {
            Err(KeyError::OpenToGroup { path: path(), mode })
        } else {
            Ok(())
        }
    }

    fn public_beside(&self, name: &KeyName) -> Result<PublicKey, KeyError> {
        PublicKey::read(&self.public_path(name), name).map_err(|error| match error {
            KeyError::Open { source, path } if source.kind() == ErrorKind::NotFound => {
                KeyError::NoPublicKey {
                    private: self.private_path(name),
                    public: path,
                }
            }
            other => other,
        })
    }

    fn hold_against(&self, key: &PrivateKey, public: &PublicKey) -> Result<(), KeyError> {
        if key.public().fingerprint() == public.fingerprint() {
            return Ok(());
        }
        Err(KeyError::Mismatch {
            private: self.private_path(key.name()),
            public: self.public_path(key.name()),
        })
    }

    /// The names in the folder that are UTF-8; no other can be a key's.
    fn file_names(&self) -> Result<Vec<String>, KeyError> {
        let failed = |source| KeyError::ListFolder {
            path: self.path.clone(),
            source,
        };
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            names.extend(entry.map_err(failed)?.file_name().into_string());
        }
        Ok(names)
    }
}

impl PublicKey {
    /// Reads a public key's file, anywhere.
    ///
    /// # Errors
    /// [`KeyError::Public`] when it is none, and other variants when it can't be read. Nothing of the file is shown.
    pub fn read(path: &Path, name: &KeyName) -> Result<PublicKey, KeyError> {
        let (file, _) = open_regular(path)?;
        let bytes = read_whole(file, path)?;
        PublicKey::from_pem(name.clone(), &bytes).map_err(|fault| KeyError::Public {
            place: shown(path),
            fault,
        })
    }
}

/// Whether a file's owner is neither the user that asks nor root, and so decides what is in it unasked.
pub(crate) fn is_foreign(owner: u32, user: u32) -> bool {
    owner != user && owner != 0
}

fn looks_like_private_key(path: &Path) -> bool {
    let file = match open_regular(path) {
        Ok((file, _)) => file,
        // A dangling link, or a file that went away, is no key; what may not be read may be one.
        Err(KeyError::Open { source, .. }) => return source.kind() != ErrorKind::NotFound,
        Err(_) => return false,
    };
    let mut head = Zeroizing::new(Vec::with_capacity(HEAD_BYTES as usize));
    match file.take(HEAD_BYTES).read_to_end(&mut head) {
        Ok(_) => begins_like_private_key(&head),
        Err(_) => true,
    }
}

/// Opens a file and looks at what was opened. Links are followed, as secret mounts are made of them.
pub(super) fn open_regular(path: &Path) -> Result<(File, Metadata), KeyError> {
    // Without O_NONBLOCK, opening a FIFO would wait for somebody to write.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let failed = |source| KeyError::Open {
        path: path.to_owned(),
        source,
    };
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_file() {
        Ok((file, metadata))
    } else {
        Err(KeyError::NotAFile {
            path: path.to_owned(),
        })
    }
}

pub(super) fn read_whole(file: File, path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let limit = MAX_KEY_FILE_BYTES + 1;
    // Room for all of it at once: a buffer that grew would leave copies of a secret behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(limit as usize + 32));
    let read = file
        .take(limit)
        .read_to_end(&mut bytes)
        .map_err(|source| KeyError::Read {
            path: path.to_owned(),
            source,
        })?;
    if read as u64 > MAX_KEY_FILE_BYTES {
        return Err(KeyError::TooLong {
            path: path.to_owned(),
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    #![allow(clippy::panic, clippy::string_slice)]
    use super::super::samples::{self, name};
    use super::*;
    use crate::keys::{PrivateKeyFault, PublicKeyFault};
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    fn never(_: &KeyName) -> Result<Zeroizing<String>, KeyError> {
        panic!("the key is not encrypted")
    }

    fn put(folder: &Path, file: &str, content: &str, mode: u32) -> PathBuf {
        let path = folder.join(file);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    /// A folder with the sample key `Weak`.
    fn folder() -> (tempfile::TempDir, KeysDir) {
        let scratch = tempfile::tempdir().unwrap();
        put(
            scratch.path(),
            "Weak",
            &samples::weak().to_pem(None).unwrap(),
            0o600,
        );
        put(
            scratch.path(),
            "Weak.pub",
            samples::weak().public().to_pem(),
            0o644,
        );
        let dir = KeysDir::new(scratch.path().to_owned(), false);
        (scratch, dir)
    }

    #[test]
    fn a_key_is_found_and_loaded() {
        let (scratch, dir) = folder();
        assert_eq!(dir.path(), scratch.path());
        let key = dir.load_private(&name("Weak"), &never).unwrap();
        assert_eq!(
            key.public().fingerprint(),
            samples::weak().public().fingerprint()
        );
        let public = dir.check_private(&name("Weak")).unwrap();
        assert_eq!(public.fingerprint(), key.public().fingerprint());
        let error = dir.load_private(&name("Nobody"), &never).unwrap_err();
        assert!(
            error.to_string().contains("sigindex keygen Nobody"),
            "{error}"
        );
    }

    #[test]
    fn a_folder_that_is_not_there_is_empty_and_a_file_is_no_folder() {
        let (scratch, _) = folder();
        let dir = KeysDir::new(scratch.path().join("no/such"), false);
        assert!(dir.public_keys().unwrap().iter().next().is_none());
        assert!(dir.private_names().unwrap().is_empty());
        let dir = KeysDir::new(scratch.path().join("Weak"), false);
        assert!(matches!(
            dir.public_keys(),
            Err(KeyError::ListFolder { .. })
        ));
        assert!(matches!(
            dir.private_names(),
            Err(KeyError::ListFolder { .. })
        ));
    }

    #[test]
    fn the_ring_keeps_broken_keys_under_their_names() {
        let (scratch, dir) = folder();
        let path = scratch.path();
        put(
            path,
            "Leak.pub",
            &samples::weak().to_pem(None).unwrap(),
            0o600,
        );
        put(path, "Long.pub", &"x".repeat(64 * 1024 + 1), 0o600);
        put(path, "Junk.pub", &"x".repeat(64 * 1024), 0o600);
        put(path, "no name.pub", "", 0o600);
        put(path, ".pub", "", 0o600);
        fs::create_dir(path.join("Dir.pub")).unwrap();
        symlink("nowhere", path.join("Dangling.pub")).unwrap();
        symlink("Weak.pub", path.join("Alias.pub")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            path.join("Fifo.pub"),
            rustix::fs::FileType::Fifo,
            0o600.into(),
            0,
        )
        .unwrap();
        let ring = dir.public_keys().unwrap();
        let names: Vec<_> = ring
            .iter()
            .map(|(name, key)| (name.as_str(), key.is_ok()))
            .collect();
        let expected = [
            ("Alias", true),
            ("Dangling", false),
            ("Dir", false),
            ("Fifo", false),
            ("Junk", false),
            ("Leak", false),
            ("Long", false),
            ("Weak", true),
        ];
        assert_eq!(names, expected);
        let error = |key: &str| ring.get(&name(key)).unwrap().unwrap_err();
        assert!(matches!(
            error("Leak"),
            KeyError::Public {
                fault: PublicKeyFault::IsPrivate,
                ..
            }
        ));
        assert!(matches!(error("Long"), KeyError::TooLong { .. }));
        assert!(matches!(error("Junk"), KeyError::Public { .. }));
        assert!(matches!(error("Dir"), KeyError::NotAFile { .. }));
        assert!(matches!(error("Fifo"), KeyError::NotAFile { .. }));
        assert!(matches!(error("Dangling"), KeyError::Open { .. }));
    }

    #[test]
    fn private_keys_are_told_by_their_first_line() {
        let (scratch, dir) = folder();
        let path = scratch.path();
        put(
            path,
            "Old",
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n",
            0o600,
        );
        put(path, "a.pem", "-----BEGIN PRIVATE KEY-----\n", 0o644);
        put(path, "notes.txt", "-----BEGIN NOTES-----\n", 0o600);
        put(path, "bad name", "-----BEGIN PRIVATE KEY-----\n", 0o600);
        put(path, "Copy.pub", "-----BEGIN PRIVATE KEY-----\n", 0o600);
        fs::create_dir(path.join("Dir")).unwrap();
        symlink("nowhere", path.join("Dangling")).unwrap();
        symlink("loop", path.join("loop")).unwrap();
        let names = dir.private_names().unwrap();
        let names: Vec<_> = names.iter().map(KeyName::as_str).collect();
        assert_eq!(names, ["Old", "Weak", "a.pem", "loop"]);
    }

    #[test]
    fn modes_of_private_keys() {
        let (scratch, strict) = folder();
        let lax = KeysDir::new(scratch.path().to_owned(), true);
        let path = scratch.path().join("Weak");
        // mode; whether it is taken; whether it is taken with --group-readable-keys
        for (mode, plain, group) in [
            (0o600, true, true),
            (0o400, true, true),
            (0o700, true, true),
            (0o640, false, true),
            (0o440, false, true),
            (0o660, false, false),
            (0o620, false, false),
            (0o650, false, false),
            (0o644, false, false),
            (0o604, false, false),
            (0o601, false, false),
            (0o602, false, false),
            (0o666, false, false),
        ] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            for (dir, good) in [(&strict, plain), (&lax, group)] {
                assert_eq!(dir.check_private(&name("Weak")).is_ok(), good, "{mode:o}");
                let error = dir.load_private(&name("Weak"), &never).err();
                assert_eq!(error.is_none(), good, "{mode:o}");
                if let Some(error) = error {
                    assert!(error.to_string().contains("chmod 600"), "{error}");
                }
            }
        }
    }

    #[test]
    fn owners_of_private_keys() {
        let (scratch, dir) = folder();
        // Only root can give a file away.
        if chown(scratch.path().join("Weak"), Some(54321), None).is_ok() {
            let error = dir.load_private(&name("Weak"), &never).unwrap_err();
            assert!(
                matches!(error, KeyError::Owner { owner: 54321, .. }),
                "{error}"
            );
            assert!(dir.check_private(&name("Weak")).is_err());
        }
    }

    #[test]
    fn a_file_is_ones_own_or_roots() {
        for (owner, user, foreign) in [
            (0, 0, false),
            (7, 7, false),
            (0, 7, false),
            (7, 0, true),
            (8, 7, true),
        ] {
            assert_eq!(is_foreign(owner, user), foreign, "{owner} {user}");
        }
    }

    #[test]
    fn a_half_that_cannot_be_looked_at_is_not_taken_for_absent() {
        for half in ["Weak", "Weak.pub"] {
            let (scratch, dir) = folder();
            fs::remove_file(scratch.path().join(half)).unwrap();
            symlink(half, scratch.path().join(half)).unwrap();
            for error in [
                dir.load_private(&name("Weak"), &never).err(),
                dir.check_private(&name("Weak")).err(),
            ] {
                assert!(matches!(error, Some(KeyError::Open { .. })), "{error:?}");
            }
        }
    }

    #[test]
    fn the_public_key_beside_it_must_be_its_own() {
        let (scratch, dir) = folder();
        let public = put(
            scratch.path(),
            "Weak.pub",
            samples::strong().public().to_pem(),
            0o644,
        );
        for error in [
            dir.load_private(&name("Weak"), &never).err(),
            dir.check_private(&name("Weak")).err(),
        ] {
            assert!(
                matches!(error, Some(KeyError::Mismatch { .. })),
                "{error:?}"
            );
        }
        fs::remove_file(&public).unwrap();
        for error in [
            dir.load_private(&name("Weak"), &never).err(),
            dir.check_private(&name("Weak")).err(),
        ] {
            let error = error.unwrap();
            assert!(matches!(error, KeyError::NoPublicKey { .. }), "{error}");
            assert!(error.to_string().contains("openssl rsa -in "), "{error}");
        }
    }

    #[test]
    fn an_encrypted_key_is_checked_without_its_passphrase() {
        let (scratch, dir) = folder();
        put(
            scratch.path(),
            "Weak",
            &samples::weak().to_pem(Some("secret word")).unwrap(),
            0o600,
        );
        dir.check_private(&name("Weak")).unwrap();
        let wrong = |_: &KeyName| Ok(Zeroizing::new("another word".to_owned()));
        let error = dir.load_private(&name("Weak"), &wrong).unwrap_err();
        let text = error.to_string();
        assert!(matches!(
            error,
            KeyError::Private {
                fault: PrivateKeyFault::WrongPassphrase,
                ..
            }
        ));
        assert!(!text.contains("word"), "{text}");
        let good = |_: &KeyName| Ok(Zeroizing::new("secret word".to_owned()));
        dir.load_private(&name("Weak"), &good).unwrap();
    }

    #[test]
    fn what_stands_in_a_keys_place_is_refused() {
        let (scratch, dir) = folder();
        fs::create_dir(scratch.path().join("Dir")).unwrap();
        assert!(matches!(
            dir.load_private(&name("Dir"), &never),
            Err(KeyError::NotAFile { .. })
        ));
        put(scratch.path(), "Long", &"x".repeat(100_000), 0o600);
        assert!(matches!(
            dir.load_private(&name("Long"), &never),
            Err(KeyError::TooLong { .. })
        ));
    }

    #[test]
    fn the_historic_keys_are_read() {
        let Some(legacy) = samples::legacy() else {
            return;
        };
        let scratch = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(legacy.join("keys")).unwrap() {
            let entry = entry.unwrap();
            let text = fs::read_to_string(entry.path()).unwrap();
            put(
                scratch.path(),
                entry.file_name().to_str().unwrap(),
                &text,
                0o600,
            );
        }
        let dir = KeysDir::new(scratch.path().to_owned(), false);
        let names = dir.private_names().unwrap();
        let text: Vec<_> = names.iter().map(KeyName::as_str).collect();
        assert_eq!(text, ["Big", "MyKey", "Other", "Sealed", "Small"]);
        let ask = |asked: &KeyName| {
            assert_eq!(asked.as_str(), "Sealed");
            Ok(Zeroizing::new("correct horse".to_owned()))
        };
        for name in &names {
            dir.check_private(name).unwrap();
            let key = dir.load_private(name, &ask).unwrap();
            let file = fs::read_to_string(dir.public_path(name)).unwrap();
            assert_eq!(key.public().to_pem().trim_end(), file.trim_end());
            if name.as_str() == "MyKey" {
                let file = fs::read_to_string(dir.private_path(name)).unwrap();
                assert_eq!(key.to_pem(None).unwrap().trim_end(), file.trim_end());
            }
        }
    }
}
