//! Small files that the operator keeps outside of channels: profiles, passwords, what is remembered. Owns that no more
//! of one is read than it may have, and that none holds a run up that nobody named; must not know what it says.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;

/// Where one lies, and who says so.
#[derive(Debug, Clone)]
pub enum OwnPath {
    /// The operator named it. A FIFO is read as a file is, as that of `<(COMMAND)` in a shell; its writer is waited for.
    Named(PathBuf),
    /// It is where such files are. Nothing there is waited for, and a FIFO is refused.
    Default(PathBuf),
}

impl OwnPath {
    /// The path itself.
    pub fn path(&self) -> &Path {
        match self {
            OwnPath::Named(path) | OwnPath::Default(path) => path,
        }
    }
}

/// What was read of one, from one open file.
#[derive(Debug)]
pub struct OwnFile {
    /// All that it holds.
    pub bytes: Vec<u8>,
    /// What was opened.
    pub metadata: Metadata,
}

impl OwnFile {
    /// What it holds, as text.
    ///
    /// # Errors
    /// When it is not UTF-8.
    pub fn text(self) -> Result<String, Unread> {
        String::from_utf8(self.bytes).map_err(|_| Unread::NoText)
    }
}

/// Why one was not read. The path is for the caller to name.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// A folder.
    #[error("it is a folder")]
    Folder,
    /// A socket, a block device, or a FIFO that nobody named.
    #[error("it is no regular file")]
    NoFile,
    /// Longer than such files are.
    #[error("it has more than {0} bytes")]
    TooLong(u64),
    /// Not UTF-8.
    #[error("it is no text in UTF-8")]
    NoText,
    /// What the operating system says.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Unread {
    /// Whether it is there, as far as can be told, and this user may not read it.
    pub fn is_denied(&self) -> bool {
        // EACCES and EPERM.
        matches!(self, Unread::Io(cause) if cause.kind() == io::ErrorKind::PermissionDenied)
    }
}

impl From<Unread> for io::Error {
    fn from(why: Unread) -> io::Error {
        match why {
            Unread::Io(cause) => cause,
            why => io::Error::other(why),
        }
    }
}

/// Reads a whole file of at most `most` bytes; `None` where there is nothing of that name. Links are followed, as secret
/// mounts are made of them. A device is read as a file is, since `/dev/null` stands for none.
///
/// # Errors
/// When it can't be read, is no file, or has more bytes.
pub fn read_own(place: &OwnPath, most: u64) -> Result<Option<OwnFile>, Unread> {
    let (file, metadata) = match open(place) {
        // As below a HOME of /dev/null.
        Err(cause) if is_absent(&cause) => return Ok(None),
        // So a socket is refused.
        Err(cause) if cause.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => {
            return Err(Unread::NoFile);
        }
        opened => opened?,
    };
    let kind = metadata.file_type();
    let is_pipe = kind.is_fifo() && matches!(place, OwnPath::Named(_));
    if kind.is_dir() {
        return Err(Unread::Folder);
    }
    if !kind.is_file() && !kind.is_char_device() && !is_pipe {
        return Err(Unread::NoFile);
    }
    // Room for all of it at once: a buffer that grew would leave copies of a secret behind.
    let size = if is_pipe { most } else { metadata.len() };
    let room = usize::try_from(size.min(most).saturating_add(1)).unwrap_or_default();
    let mut bytes = Vec::with_capacity(room);
    let read = file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    match u64::try_from(read).is_ok_and(|read| read <= most) {
        true => Ok(Some(OwnFile { bytes, metadata })),
        false => Err(Unread::TooLong(most)),
    }
}

/// As [`read_own()`], and text.
///
/// # Errors
/// As [`read_own()`], and when it is not UTF-8.
pub fn read_own_text(place: &OwnPath, most: u64) -> Result<Option<String>, Unread> {
    read_own(place, most)?.map(OwnFile::text).transpose()
}

fn open(place: &OwnPath) -> io::Result<(File, Metadata)> {
    let flags = match place {
        OwnPath::Named(_) => OFlags::NOCTTY,
        // Without O_NONBLOCK, opening a FIFO would wait for somebody to write.
        OwnPath::Default(_) => OFlags::NOCTTY | OFlags::NONBLOCK,
    };
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(flags.bits().cast_signed());
    let file = options.open(place.path())?;
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

    fn fifo(path: &Path) {
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, 0).unwrap();
    }

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
        fifo(&at("fifo"));
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        for by in [OwnPath::Named, OwnPath::Default] {
            let read = |path: &Path, most| {
                read_own_text(&by(path.to_owned()), most).map_err(|why| why.to_string())
            };
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
                (at("socket"), "no regular file"),
                (folder.path().to_owned(), "folder"),
                ("/dev/zero".into(), "more than 5 bytes"),
            ] {
                let why = read(&path, 5).unwrap_err();
                assert!(why.contains(words), "{}: {why}", path.display());
            }
        }
        let unnamed = OwnPath::Default(at("fifo"));
        assert!(matches!(read_own(&unnamed, 5), Err(Unread::NoFile)));
    }

    #[test]
    fn a_pipe_that_was_named_is_read_to_its_end_or_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        fifo(&path);
        for (most, whole) in [(6, true), (5, false)] {
            let to = path.clone();
            let writer = std::thread::spawn(move || std::fs::write(to, "sixsix"));
            let read = read_own_text(&OwnPath::Named(path.clone()), most);
            match whole {
                true => assert_eq!(read.unwrap().unwrap(), "sixsix"),
                false => assert!(matches!(read, Err(Unread::TooLong(5)))),
            }
            writer.join().unwrap().unwrap();
        }
    }

    #[test]
    fn what_may_not_be_read_is_told_from_other_faults() {
        for (errno, is_denied) in [
            (Errno::ACCESS, true),
            (Errno::PERM, true),
            (Errno::IO, false),
            (Errno::LOOP, false),
        ] {
            assert_eq!(Unread::Io(errno.into()).is_denied(), is_denied);
        }
        assert!(!Unread::NoFile.is_denied());
    }
}
