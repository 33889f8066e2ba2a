//! The signing log: one JSON line for every signature that was made (`--signing-log`). Owns the file and
//! the line's form; must not know why something was signed.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, OFlags, fcntl_setfl};
use serde_json::Value;

use crate::error::Error;
use crate::json::{Json, Object};
use crate::keys::PublicKey;
use crate::shown::shown;

/// How much of a log's end is looked at, in bytes: more than the longest line, whose path has 4,096 bytes at most, each
/// escaped by six.
const TAIL: u64 = 64 << 10;

/// What stands in a line.
const FIELDS: [&str; 5] = ["time", "key", "fingerprint", "file", "sha256"];

/// How a line begins.
const BEGIN: &[u8] = br#"{"file":""#;

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
    /// When it can't be opened for appending, or something else than such a log stands in it.
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
                if file.metadata()?.is_file() && is_cut_off(path)? {
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
            () if path.is_file() => {
                allowed(path, Access::WRITE_OK).and_then(|()| is_cut_off(path).map(drop))
            }
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

/// Whether the last line of a log has no end. A file that ends in something else than a record is no log.
fn is_cut_off(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail)?;
    // What a shell opened for this process is written to as it stands: whoever redirects, collects.
    let is_open = path.starts_with("/dev") || path.starts_with("/proc");
    if !is_open && !ends_in_record(&tail) {
        return Err(io::Error::other(
            "it holds something else, and ends in no record of a signature; name another file with --signing-log, or move this one away",
        ));
    }
    Ok(tail.last().is_some_and(|last| *last != b'\n'))
}

/// Whether a file that ends so is empty, or ends in a record or the beginning of one, as a run that was killed leaves it.
fn ends_in_record(tail: &[u8]) -> bool {
    let text = tail.trim_ascii_end();
    let line = text.rsplit(|byte| *byte == b'\n').next();
    let line = line.unwrap_or_default();
    let known = |record: &Value| FIELDS.iter().all(|field| record[field].is_string());
    match serde_json::from_slice(line) {
        Ok(record) => known(&record),
        Err(_) => line.starts_with(BEGIN) || BEGIN.starts_with(line),
    }
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
    #![allow(clippy::unwrap_used, clippy::string_slice)]
    use super::*;

    #[test]
    fn a_line_that_was_cut_off_is_ended_once() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("log");
        let whole = record("a\n\u{1f600}");
        for begun in 0..=whole.len() {
            for before in ["", &format!("{whole}\n")] {
                let there = format!("{before}{}", &whole[..begun]);
                let end = if begun == 0 { "" } else { "\n" };
                std::fs::write(&path, &there).unwrap();
                for _ in 0..2 {
                    SigningLog::check(&path).unwrap();
                    SigningLog::open(&path).unwrap();
                    assert_eq!(std::fs::read_to_string(&path).unwrap(), there.clone() + end);
                }
            }
        }
    }

    fn record(file: &str) -> String {
        let key = crate::keys::samples::weak().public();
        let signed = Signed {
            file: file.to_owned(),
            sha256: "ab".repeat(32),
        };
        line("2026-01-01T00:00:00Z", key, &signed).compact()
    }

    #[test]
    fn a_file_that_is_no_log_is_left_as_it_is() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("file");
        let ours = record("a");
        for other in [
            "-----BEGIN PRIVATE KEY-----\n",
            "notes",
            "{}\n",
            "[]\n",
            "{\"packages\":{}}\n",
            "{\"file\":1}",
            &format!("{ours}\nnotes\n"),
            &"x".repeat(200_000),
        ] {
            std::fs::write(&path, other).unwrap();
            for error in [
                SigningLog::check(&path).unwrap_err(),
                SigningLog::open(&path).unwrap_err(),
            ] {
                assert!(error.to_string().contains("--signing-log"), "{error}");
            }
            assert_eq!(std::fs::read_to_string(&path).unwrap(), other);
        }
        // What a killed run left is of no matter once others went on.
        std::fs::write(&path, format!("{{\"fi\n{ours}\n\n")).unwrap();
        SigningLog::open(&path).unwrap();
        let longest = record(&"\u{1}".repeat(4_096));
        std::fs::write(&path, format!("{ours}\n{longest}\n")).unwrap();
        SigningLog::open(&path).unwrap();
    }
}
