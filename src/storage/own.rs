//! Small files that the operator keeps outside of channels: profiles, passwords, what is remembered. Owns that no more
//! of one is read than it may have, and that none holds a run up; must not know what it says.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

/// What was read of one, from one open file.
pub struct OwnFile {
    /// All that it holds.
    pub bytes: Vec<u8>,
    /// What was opened.
    pub metadata: Metadata,
}

/// Reads a whole file of at most `most` bytes; `None` where there is nothing of that name. Links are followed, as secret
/// mounts are made of them. A device is read as a file is, since `/dev/null` stands for none.
///
/// # Errors
/// When it can't be read, is no file, or has more bytes. The path is for the caller to name.
pub fn read_own(path: &Path, most: u64) -> io::Result<Option<OwnFile>> {
    let (file, metadata) = match open(path) {
        // As below a HOME of /dev/null.
        Err(cause) if is_absent(&cause) => return Ok(None),
        opened => opened?,
    };
    let kind = metadata.file_type();
    if kind.is_dir() {
        return Err(io::Error::other("it is a folder"));
    }
    if !kind.is_file() && !kind.is_char_device() {
        return Err(io::Error::other("it is no regular file"));
    }
    let limit = most.saturating_add(1);
    // Room for all of it at once: a buffer that grew would leave copies of a secret behind.
    let room = usize::try_from(metadata.len().min(most).saturating_add(1)).unwrap_or_default();
    let mut bytes = Vec::with_capacity(room);
    let read = file.take(limit).read_to_end(&mut bytes)?;
    match u64::try_from(read).is_ok_and(|read| read <= most) {
        true => Ok(Some(OwnFile { bytes, metadata })),
        false => Err(io::Error::other(format!("it has more than {most} bytes"))),
    }
}

/// As [`read_own()`], and text.
///
/// # Errors
/// As [`read_own()`], and when it is not UTF-8.
pub fn read_own_text(path: &Path, most: u64) -> io::Result<Option<String>> {
    let text = read_own(path, most)?.map(|file| String::from_utf8(file.bytes));
    text.transpose()
        .map_err(|_| io::Error::other("it is no text in UTF-8"))
}

fn open(path: &Path) -> io::Result<(File, Metadata)> {
    // Without O_NONBLOCK, opening a FIFO would wait for somebody to write.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(flags.bits().cast_signed());
    let file = options.open(path)?;
    let metadata = file.metadata()?;
    Ok((file, metadata))
}

fn is_absent(cause: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound};
    matches!(cause.kind(), NotFound | NotADirectory)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_limit_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("six"), "sixsix").unwrap();
        std::fs::write(at("latin"), b"\xe9").unwrap();
        File::create(at("sparse"))
            .unwrap()
            .set_len(1 << 40)
            .unwrap();
        std::os::unix::fs::symlink("six", at("link")).unwrap();
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, at("fifo"), kind, mode, 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        let read = |path: &Path, most| read_own_text(path, most).map_err(|why| why.to_string());
        let whole = Ok(Some("sixsix".to_owned()));
        assert_eq!(read(&at("six"), 6), whole);
        assert_eq!(read(&at("link"), 7), whole);
        assert_eq!(read(&at("absent"), 6), Ok(None));
        assert_eq!(read(&at("six/absent"), 6), Ok(None));
        assert_eq!(read(Path::new("/dev/null"), 6), Ok(Some(String::new())));
        for (path, words) in [
            (at("six"), "more than 5 bytes"),
            (at("sparse"), "more than 5 bytes"),
            (at("latin"), "UTF-8"),
            (at("fifo"), "no regular file"),
            (at("socket"), "os error"),
            (folder.path().to_owned(), "folder"),
            ("/dev/zero".into(), "more than 5 bytes"),
        ] {
            let why = read(&path, 5).unwrap_err();
            assert!(why.contains(words), "{}: {why}", path.display());
        }
    }
}
