//! The signing log: one JSON line for every signature that was made (`--signing-log`). Owns the file and
//! the line's form; must not know why something was signed.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, OFlags, fcntl_setfl};

use crate::error::Error;
use crate::json::{Json, Object};
use crate::keys::PublicKey;
use crate::shown::shown;

/// An append-only file of JSON lines.
#[derive(Debug)]
pub struct SigningLog {
    path: PathBuf,
    file: File,
}

/// One signature that was made.
#[derive(Debug)]
pub struct Signed {
    /// The file that was signed.
    pub file: String,
    /// Its SHA-256, in lower-case hex.
    pub sha256: String,
}

impl SigningLog {
    /// Opens the log, or makes it with mode 0600. A line that a run left half written is ended, so that none is glued to
    /// it.
    ///
    /// # Errors
    /// When it can't be opened for appending.
    pub fn open(path: &Path) -> Result<SigningLog, Error> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            // A pipe that nobody reads is an error, and not waited for.
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
            .open(path)
            .and_then(|file| {
                fcntl_setfl(&file, OFlags::APPEND)?;
                Ok(file)
            })
            .and_then(|mut file| {
                if is_cut_off(path) {
                    file.write_all(b"\n")?;
                }
                Ok(file)
            })
            .map_err(|cause| Error::File {
                path: shown(path),
                operation: "open the signing log",
                cause,
            })?;
        Ok(SigningLog {
            path: path.to_owned(),
            file,
        })
    }

    /// Whether the log could be opened, without making it.
    ///
    /// # Errors
    /// When it could not.
    pub fn check(path: &Path) -> Result<(), Error> {
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        let allowed = |place: &Path, access| Ok(rustix::fs::access(place, access)?);
        let checked: io::Result<()> = match () {
            () if path.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
            () if path.exists() => allowed(path, Access::WRITE_OK),
            () if folder.is_file() => Err(io::ErrorKind::NotADirectory.into()),
            () => allowed(folder, Access::WRITE_OK | Access::EXEC_OK),
        };
        checked.map_err(|cause| Error::File {
            path: shown(path),
            operation: "open the signing log",
            cause,
        })
    }

    /// Appends a line for each signature and syncs the file, before the signatures are put in place.
    ///
    /// # Errors
    /// When the lines can't be written.
    pub fn append(&mut self, key: &PublicKey, signed: &[Signed]) -> Result<(), Error> {
        let time = jiff::Timestamp::now().to_string();
        let mut lines = String::new();
        for one in signed {
            lines.push_str(&line(&time, key, one).compact());
            lines.push('\n');
        }
        self.file
            .write_all(lines.as_bytes())
            .and_then(|()| match self.file.sync_data() {
                // A pipe has nothing to sync.
                Err(cause)
                    if matches!(
                        cause.kind(),
                        ErrorKind::InvalidInput | ErrorKind::Unsupported
                    ) =>
                {
                    Ok(())
                }
                synced => synced,
            })
            .map_err(|cause| Error::File {
                path: shown(&self.path),
                operation: "append to the signing log",
                cause,
            })
    }
}

/// Whether the last line of a log has no end, as far as it can be read.
fn is_cut_off(path: &Path) -> bool {
    let mut last = [b'\n'];
    let read = File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)
    });
    read.is_ok() && last != *b"\n"
}

fn line(time: &str, key: &PublicKey, signed: &Signed) -> Json {
    let fields = [
        ("time", time),
        ("key", key.name().as_str()),
        ("fingerprint", &key.fingerprint().to_string()),
        ("file", &signed.file),
        ("sha256", &signed.sha256),
    ];
    Json::Object(
        fields
            .into_iter()
            .map(|(key, text)| (key.to_owned(), Json::String(text.to_owned())))
            .collect::<Object>(),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_line_that_was_cut_off_is_ended_once() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("log");
        for (there, then) in [("", ""), ("{}\n", "{}\n"), ("{}\n{\"ti", "{}\n{\"ti\n")] {
            std::fs::write(&path, there).unwrap();
            for _ in 0..2 {
                SigningLog::open(&path).unwrap();
                assert_eq!(std::fs::read_to_string(&path).unwrap(), then);
            }
        }
    }
}
