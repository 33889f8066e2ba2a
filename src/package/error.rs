//! Why a package file is refused. Owns the wording, a clause whose subject is the file (the caller puts the path
//! before it); must not know how the causes are found.

use std::io;

use super::Format;
use crate::storage::remedy;

/// Why a file could not be read as a package.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackageError {
    /// The name ends in neither extension.
    #[error("is no package by its name: packages end in .conda or .tar.bz2")]
    NotAPackageName,
    /// A folder, FIFO, socket or device.
    #[error("is not a regular file")]
    NotAFile,
    /// No bytes at all.
    #[error("is empty (0 bytes): copy or build it anew")]
    Empty,
    /// Its metadata could not be asked for.
    #[error("could not be examined: {source}{}", remedy(source))]
    Stat {
        /// What the system said.
        source: io::Error,
    },
    /// The operating system failed to read.
    #[error("could not be read at byte {offset}: {source}{}", remedy(source))]
    Read {
        /// Where in the file.
        offset: u64,
        /// What the system said.
        source: io::Error,
    },
    /// More or fewer bytes than the file had at the start.
    #[error(
        "changed while it was read (it had {size} bytes at the start): run again when nothing writes to it"
    )]
    Changed {
        /// Its size in bytes at the start.
        size: u64,
    },
    /// The run was told to stop.
    #[error("was not read to its end: the run was interrupted")]
    Cancelled,

    /// The one format under the other's name.
    #[error("is really a {} archive: rename it to end in {}", of_kind(*.really), .really.extension())]
    OtherFormat {
        /// What it really is.
        really: Format,
    },
    /// Neither format.
    #[error("is not a {} archive: it {found}", of_kind(*.expected))]
    NotThisFormat {
        /// What its name says.
        expected: Format,
        /// What the first bytes say, as a clause whose subject is the file.
        found: &'static str,
    },
    /// The archive was cut off.
    #[error("ends early ({part}): it was cut off; copy or build it anew")]
    EndsEarly {
        /// What was being read.
        part: &'static str,
    },
    /// A decoder refused its input.
    #[error("is damaged: its {codec} data can not be decoded ({reason})")]
    Damaged {
        /// `bzip2` or `zstd`.
        codec: &'static str,
        /// What the decoder said.
        reason: String,
    },
    /// A zstd frame asks for more memory than clients give.
    #[error(
        "is compressed with a zstd window of more than {mib} MiB, which conda clients refuse too"
    )]
    Window {
        /// The limit.
        mib: u32,
    },
    /// Bytes that belong to nothing.
    #[error("has {bytes} bytes behind the end of its archive")]
    TrailingBytes {
        /// How many, at least.
        bytes: u64,
    },
    /// A bomb, or as good as one.
    #[error("decompresses to more than {limit} bytes, which no package of its size needs")]
    Bomb {
        /// The limit for a file of this size.
        limit: u64,
    },
    /// Many bzip2 streams that hold next to nothing.
    #[error(
        "has more than {limit} bzip2 streams that hold next to nothing: compress it anew, as one stream"
    )]
    ShortStreams {
        /// The limit.
        limit: usize,
    },

    /// The zip structure breaks a rule.
    #[error("is a damaged or unsafe zip archive: {0}")]
    Zip(ZipFlaw),
    /// A zip member whose bytes do not have the checksum that the directory names.
    #[error("is damaged: the CRC-32 of `{member}` is wrong")]
    Checksum {
        /// The member.
        member: String,
    },
    /// Not the one `info-*.tar.zst` that there must be.
    #[error("has {count} members info-….tar.zst; a .conda has one")]
    InfoMembers {
        /// How many there are.
        count: usize,
    },
    /// Not the one `pkg-*.tar.zst` that there must be.
    #[error("has {count} members pkg-….tar.zst; a .conda has one")]
    PkgMembers {
        /// How many there are.
        count: usize,
    },
    /// What clients take for one of the two.
    #[error(
        "has a member `{member}`, which some clients open as a part of the package, beside info-….tar.zst and pkg-….tar.zst: build it anew without"
    )]
    TwinMember {
        /// The member.
        member: String,
    },
    /// The zip member `metadata.json` is too large or not JSON.
    #[error("has a metadata.json that is not what CEP 35 asks for: {reason}")]
    Metadata {
        /// Why.
        reason: String,
    },
    /// A later `.conda` format.
    #[error("has `conda_pkg_format_version` {version}; only version 2 is known")]
    FormatVersion {
        /// What `metadata.json` names.
        version: String,
    },

    /// A tar header can not be read, or readers would disagree about it.
    #[error("is a damaged tar archive: {reason}")]
    Tar {
        /// Why.
        reason: String,
    },
    /// A long name or PAX header beyond the cap.
    #[error("has a tar header of {size} bytes; {limit} are allowed")]
    TarHeaderTooLarge {
        /// What it claims.
        size: u64,
        /// The cap.
        limit: u64,
    },
    /// More members than can be held against each other.
    #[error("has more than {limit} members and folders, too many to check")]
    TooManyMembers {
        /// The cap.
        limit: usize,
    },
    /// A member of `info/` beyond its cap.
    #[error("has a member `{member}` of {size} bytes; {limit} are allowed")]
    MemberTooLarge {
        /// The member.
        member: String,
        /// What it claims, in bytes.
        size: u64,
        /// The cap, in bytes.
        limit: u64,
    },
    /// No `info/index.json`.
    #[error("has no info/index.json: it is not a conda package")]
    MissingIndex,
    /// More than one `info/index.json`.
    #[error("has two members info/index.json")]
    TwoIndexes,
    /// `info/index.json` is no regular file.
    #[error("has an info/index.json that is {kind}, not a regular file")]
    IndexNotAFile {
        /// `a symbolic link` and the like.
        kind: &'static str,
    },
    /// `info/index.json` by way of `..` or `/`.
    #[error("has an info/index.json under another spelling: `{member}`")]
    IndexMisspelt {
        /// How it is spelt.
        member: String,
    },
    /// The part that is to hold everything else holds `info/index.json`.
    #[error("has an info/index.json in its pkg member")]
    IndexInPkg,
    /// `info` itself is something else than a folder.
    #[error("has a member `info` that is {kind}, not a folder: build it anew")]
    InfoNotAFolder {
        /// `a symbolic link` and the like.
        kind: &'static str,
    },
    /// A member beneath a link, or beneath a file.
    #[error("has members beneath `{member}`, which is no folder: build it anew")]
    BeneathMember {
        /// What they lie beneath.
        member: String,
    },
    /// A name of more folders than any that is real.
    #[error("has a member that lies in more than {limit} folders")]
    TooDeep {
        /// The cap.
        limit: usize,
    },
    /// `../x` or `/x`.
    #[error("has a member that leaves the package's folder: `{member}`")]
    UnsafePath {
        /// The member.
        member: String,
    },
    /// A member that is looked for, by way of `..` or `/`.
    #[error("has a member under another spelling than its own: `{member}`")]
    Misspelt {
        /// How it is spelt.
        member: String,
    },
    /// A member that is looked for is no regular file.
    #[error("has a member `{member}` that is {kind}, not a regular file")]
    MemberNotAFile {
        /// The member.
        member: String,
        /// `a symbolic link` and the like.
        kind: &'static str,
    },
    /// The members that are looked for are too large together.
    #[error("has more than {limit} bytes in the members that are looked for")]
    MembersTooLarge {
        /// The cap, in bytes.
        limit: u64,
    },
    /// Two members of one name.
    #[error("has two members `{member}`")]
    DuplicateMember {
        /// The member.
        member: String,
    },
}

/// What is wrong with the zip structure of a `.conda`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ZipFlaw {
    /// No end record, or a name of a comment that is not there.
    #[error("the end of its directory is missing, it was probably cut off; copy or build it anew")]
    NoEnd,
    /// Bytes behind the end record.
    #[error("bytes follow its end")]
    BytesBehind,
    /// Numbers in the end records disagree with each other or with the file.
    #[error("the end record does not fit the directory")]
    End,
    /// Spread over disks.
    #[error("it is one of several volumes")]
    Volumes,
    /// The directory is far larger than that of three members.
    #[error("its directory is larger than that of a .conda can be")]
    DirectoryTooLarge,
    /// A directory entry can not be read.
    #[error("its directory is malformed")]
    Directory,
    /// The end record names another number of members.
    #[error("the number of members is not the one that its end record names")]
    Count,
    /// Bytes before the first member, or between members.
    #[error("bytes that belong to no member stand before byte {0}")]
    Stray(u64),
    /// Two members share bytes, or one reaches into the directory.
    #[error("`{0}` overlaps what follows it")]
    Overlap(String),
    /// Two members of one name.
    #[error("two members are called `{0}`")]
    Duplicate(String),
    /// Encrypted.
    #[error("`{0}` is encrypted")]
    Encrypted(String),
    /// Compressed by zip itself; CEP 35 forbids it.
    #[error("`{0}` is compressed by zip (method {1}); a .conda stores its members")]
    Compressed(String, u16),
    /// The local header or data descriptor says something else than the directory.
    #[error("the header of `{0}` and the directory disagree about its {1}")]
    Disagree(String, &'static str),
}

impl From<ZipFlaw> for PackageError {
    fn from(flaw: ZipFlaw) -> Self {
        PackageError::Zip(flaw)
    }
}

impl PackageError {
    /// Takes the error back out of the `io::Error` in which it passed a decoder; see [`Self::into_io`].
    pub(super) fn from_io(error: io::Error, part: &'static str) -> PackageError {
        match error.downcast::<PackageError>() {
            Ok(own) => own,
            Err(other) if other.kind() == io::ErrorKind::UnexpectedEof => {
                PackageError::EndsEarly { part }
            }
            // Sources and decoders name their errors themselves; this is for what they may miss.
            Err(other) => PackageError::Damaged {
                codec: "compressed",
                reason: other.to_string(),
            },
        }
    }

    /// Wraps the error so that it can pass through `Read`.
    pub(super) fn into_io(self) -> io::Error {
        io::Error::other(self)
    }
}

/// A member's name for people: no control characters, no raw bytes, not endless.
pub(super) fn show(name: &[u8]) -> String {
    const LONGEST: usize = 200;
    let text = String::from_utf8_lossy(name);
    let mut shown: String = text
        .chars()
        .take(LONGEST)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

fn of_kind(format: Format) -> &'static str {
    match format {
        Format::TarBz2 => ".tar.bz2 (bzip2)",
        Format::Conda => ".conda (zip)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_escaped_and_cut() {
        assert_eq!(show(b"lib/a\x1b[2J\n"), r"lib/a\u{1b}[2J\n");
        assert_eq!(show(&[b'a'; 200]), "a".repeat(200));
        assert_eq!(show(&[b'a'; 201]), format!("{}…", "a".repeat(200)));
    }

    #[test]
    fn errors_pass_through_readers_and_those_of_others_get_names() {
        let own = PackageError::from_io(PackageError::Cancelled.into_io(), "here");
        assert!(matches!(own, PackageError::Cancelled), "{own}");
        let cut = PackageError::from_io(io::ErrorKind::UnexpectedEof.into(), "here");
        assert!(matches!(cut, PackageError::EndsEarly { part: "here" }));
        let other = PackageError::from_io(io::Error::other("odd"), "here");
        assert!(matches!(other, PackageError::Damaged { .. }), "{other}");
    }
}
