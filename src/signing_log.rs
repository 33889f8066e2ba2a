//! The signing log: one JSON line for every signature that was made (`--signing-log`). Owns the file and
//! the line's form; must not know why something was signed.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, OFlags, fcntl_setfl};
use rustix::io::Errno;
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

/// What the shell opened for this process: whoever redirects there, collects.
const OUTPUTS: [&str; 2] = ["/dev/stdout", "/dev/stderr"];

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
        let file = open(path, OpenOptions::new().create(true).mode(0o600))
            .and_then(|mut file| {
                if is_cut_off(path, &file)? {
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
        let checked: io::Result<()> = match path.metadata() {
            // A ring of links, or what can't be looked at.
            Err(cause) if cause.kind() != ErrorKind::NotFound => Err(cause),
            _ if path.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
            _ if path.is_file() => open(path, &mut OpenOptions::new())
                .and_then(|file| is_cut_off(path, &file).map(drop)),
            _ if path.exists() => allowed(path, Access::WRITE_OK),
            _ if folder.is_file() => Err(io::ErrorKind::NotADirectory.into()),
            _ => allowed(folder, Access::WRITE_OK | Access::EXEC_OK),
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

/// Opens a log for appending, and not for more: that a pipe has a reader is told by this alone.
fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    // A pipe that nobody reads is an error, and not waited for.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let opened = options.append(true).custom_flags(flags).open(path);
    let file = opened.map_err(|cause| match Errno::from_io_error(&cause) {
        Some(Errno::NXIO) => io::Error::other("nobody reads this pipe; start its reader first"),
        _ => cause,
    })?;
    fcntl_setfl(&file, OFlags::APPEND)?;
    Ok(file)
}

/// Whether the last line of a log has no end. A file that ends in something else than a record is no log.
fn is_cut_off(path: &Path, log: &File) -> io::Result<bool> {
    let found = log.metadata()?;
    if !found.is_file() {
        return Ok(false);
    }
    let Some(tail) = tail_of(path, &found)? else {
        return Ok(found.len() > 0);
    };
    let is_redirected = || {
        let outputs = OUTPUTS.iter().filter_map(|it| std::fs::metadata(it).ok());
        outputs.into_iter().any(|output| is_same(&output, &found))
    };
    if !ends_in_record(&tail) && !is_redirected() {
        return Err(io::Error::other(
            "it holds something else, and ends in no record of a signature; name another file with --signing-log, or move this one away",
        ));
    }
    Ok(tail.last().is_some_and(|last| *last != b'\n'))
}

/// The end of the file that was opened; `None` where it may be appended to and not read.
fn tail_of(path: &Path, opened: &Metadata) -> io::Result<Option<Vec<u8>>> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let mut options = OpenOptions::new();
    let mut file = match options.read(true).custom_flags(flags).open(path) {
        Err(cause) if cause.kind() == ErrorKind::PermissionDenied => return Ok(None),
        file => file?,
    };
    if !is_same(&file.metadata()?, opened) {
        return Err(io::Error::other(
            "another file was put in its place meanwhile; run again",
        ));
    }
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail)?;
    Ok(Some(tail))
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Whether a file that ends so is empty, or ends in a record or the beginning of one, as a run that was killed leaves it.
/// After a loss of power, NULs stand where a file system had made room and written nothing.
fn ends_in_record(tail: &[u8]) -> bool {
    let is_filler = |byte: &u8| *byte == 0 || byte.is_ascii_whitespace();
    let end = tail.iter().rposition(|byte| !is_filler(byte));
    let text = end.and_then(|end| tail.get(..=end)).unwrap_or_default();
    let line = text.rsplit(|byte| *byte == b'\n').next();
    let line = line.unwrap_or_default();
    let begin = line.iter().position(|byte| *byte != 0);
    let line = begin.and_then(|begin| line.get(begin..)).unwrap_or(line);
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

    #[test]
    fn nuls_that_a_loss_of_power_left_are_a_line_that_was_cut_off() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("log");
        let ours = record("a");
        for there in [
            format!("{ours}\n\0\0\0"),
            format!("{ours}\n\0\0\0\n"),
            format!("{ours}\n\0{ours}\n"),
            "\0\0".to_owned(),
            "{\"file\":\"a\0\0".to_owned(),
            "\0".repeat(200_000),
        ] {
            std::fs::write(&path, &there).unwrap();
            let end = if there.ends_with('\n') { "" } else { "\n" };
            for _ in 0..2 {
                SigningLog::check(&path).unwrap();
                SigningLog::open(&path).unwrap();
                assert_eq!(std::fs::read_to_string(&path).unwrap(), there.clone() + end);
            }
        }
        std::fs::write(&path, "notes\n\0\0").unwrap();
        SigningLog::check(&path).unwrap_err();
        SigningLog::open(&path).unwrap_err();
    }

    #[test]
    fn a_file_that_was_put_in_its_place_is_not_taken_for_it() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("log");
        let log = open(&path, OpenOptions::new().create(true)).unwrap();
        assert!(!is_cut_off(&path, &log).unwrap());
        std::fs::rename(&path, scratch.path().join("elsewhere")).unwrap();
        std::fs::write(&path, "").unwrap();
        let why = is_cut_off(&path, &log).unwrap_err().to_string();
        assert!(why.contains("run again"), "{why}");
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
