//! The file that holds the PIN of a token: who may read it, and what it says. It must not know the token.

use std::path::Path;

use zeroize::Zeroizing;

use super::folder::{open_regular, read_whole};
use super::{KeyError, KeysDir};

impl KeysDir {
    /// Reads a PIN: a file anywhere that, like a private key, only its user can read. A line end behind it is not part
    /// of it.
    ///
    /// # Errors
    /// [`KeyError::Pin`]; nothing of the file is shown.
    pub fn read_pin(&self, path: &Path) -> Result<Zeroizing<String>, KeyError> {
        let fail = |why: String| KeyError::Pin {
            path: path.to_owned(),
            why,
        };
        let read = || {
            let (file, metadata) = open_regular(path)?;
            self.check_access(path, &metadata)?;
            read_whole(file, path)
        };
        let bytes = read().map_err(|error| fail(why(&error)))?;
        let text = std::str::from_utf8(&bytes).map_err(|_| fail("it is not UTF-8".to_owned()))?;
        let pin = text.strip_suffix('\n').unwrap_or(text);
        let pin = pin.strip_suffix('\r').unwrap_or(pin);
        match pin.is_empty() || pin.contains(['\n', '\r', '\0']) {
            true => Err(fail("it is not one line, which is the PIN".to_owned())),
            false => Ok(Zeroizing::new(pin.to_owned())),
        }
    }
}

/// What is wrong with the file, in words that speak of no key.
fn why(error: &KeyError) -> String {
    match error {
        KeyError::Open { source, .. } => format!("it can't be opened: {source}"),
        KeyError::Read { source, .. } => format!("it can't be read: {source}"),
        KeyError::NotAFile { .. } => "it is not a regular file".to_owned(),
        KeyError::Owner { owner, .. } => {
            format!("it belongs to user {owner}, who can read and change it; take one of your own")
        }
        KeyError::OpenToOthers { mode, .. } => {
            format!(
                "everybody may read or change it (mode {mode:04o}); `chmod 600` it, and change the PIN"
            )
        }
        KeyError::OpenToGroup { mode, .. } => format!(
            "its group may read or change it (mode {mode:04o}); `chmod 600` it, or pass --group-readable-keys for a secret mount that the group only reads"
        ),
        KeyError::TooLong { .. } => "it is longer than 64 KiB".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs::{Permissions, set_permissions, write};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_pin_is_read_as_a_key_is() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("pin");
        let dir = KeysDir::new(scratch.path().to_owned(), false);
        let mounted = KeysDir::new(scratch.path().to_owned(), true);
        let put = |text: &[u8], mode: u32| {
            write(&path, text).unwrap();
            set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        };
        for (text, pin) in [("12 34", "12 34"), ("1234\n", "1234"), ("1234\r\n", "1234")] {
            put(text.as_bytes(), 0o600);
            assert_eq!(*dir.read_pin(&path).unwrap(), pin);
        }
        let refused = |dir: &KeysDir| dir.read_pin(&path).unwrap_err().to_string();
        for text in ["", "\n", "12\n34\n", "12\0"] {
            put(text.as_bytes(), 0o600);
            assert!(refused(&dir).contains("not one line"), "{text:?}");
        }
        put(b"\xff", 0o600);
        assert!(refused(&dir).contains("not UTF-8"));
        put(b"1234", 0o644);
        assert!(refused(&mounted).contains("everybody may read"));
        put(b"1234", 0o640);
        assert!(refused(&dir).contains("its group may") && !refused(&dir).contains("1234"));
        assert_eq!(*mounted.read_pin(&path).unwrap(), "1234");
        put(&[b'1'; 70_000], 0o600);
        assert!(refused(&dir).contains("64 KiB"));
        let error = dir.read_pin(scratch.path()).unwrap_err().to_string();
        assert!(error.contains("not a regular file"), "{error}");
    }
}
