//! The `.conda` format (CEP 35, version 2): which zip members there are, which is decoded and which only hashed.
//! Owns their names and checksums; must not know zip records or tar headers.

use std::io::{self, BufRead, Read};

use crc32fast::Hasher as Crc32;

use super::documents::Collected;
use super::error::show;
use super::info::{Look, Part, Search, decoded_cap};
use super::source::Source;
use super::zip::{self, ZipMember};
use super::{Note, PackageError};
use crate::json::{Json, parse_small};
use crate::storage::ReadAt;

/// The largest zstd window, as a power of two: 128 MiB, zstd's own default and so what clients accept; level 22
/// needs it. As much of it is used as data is decoded.
const WINDOW_LOG: u32 = 27;
/// The largest `metadata.json`.
const METADATA_CAP: u64 = 64 * 1024;

/// What a zip member is to a `.conda`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Metadata,
    Info,
    Pkg,
    /// Some clients open it in place of one of these, or beside them.
    Twin,
    /// Clients pass over it.
    Other,
}

impl Role {
    /// Clients find the parts each in its own way: conda-package-streaming by the beginning of a name, whatever follows it;
    /// rattler by its end, in whatever folder.
    fn of(name: &[u8]) -> Role {
        let slash = |byte: &u8| matches!(byte, b'/' | b'\\');
        let unnamed = |part: &&[u8]| matches!(*part, b"" | b"." | b"..");
        let last = name.split(slash).rfind(|part| !unnamed(part));
        let tarball = last.is_some_and(|last| last.ends_with(b".tar.zst"));
        let (info, pkg) = (name.starts_with(b"info-"), name.starts_with(b"pkg-"));
        match name {
            b"metadata.json" => Role::Metadata,
            _ if info && last == Some(name) && tarball => Role::Info,
            _ if pkg && last == Some(name) && tarball => Role::Pkg,
            _ if info || pkg || tarball => Role::Twin,
            _ => Role::Other,
        }
    }
}

/// Takes `info/index.json` and the documents beside it out of a source that stands at its first byte. `stem` is the file's own.
pub(super) fn search<F: ReadAt + ?Sized>(
    source: &mut Source<'_, F>,
    stem: &str,
    notes: &mut Vec<Note>,
) -> Result<(Vec<u8>, Collected), PackageError> {
    let check = source.check_archives();
    let members = zip::members(source.tail(), source.size())?;
    require_roles(&members, check, notes)?;
    compare_stems(&members, stem, notes);
    if !check {
        source.keep_from(behind_the_largest(&members))?;
    }
    let mut search = Search::new(check, source.cancelled());
    read_members(source, &members, &mut search)?;
    search.finish()
}

/// Where in the file what follows the largest member's data begins, or a little before: a data descriptor, and the members
/// behind it. The largest is the one that is not decoded.
fn behind_the_largest(members: &[ZipMember]) -> u64 {
    let largest = members.iter().max_by_key(|member| member.size);
    largest.map_or(u64::MAX, ZipMember::data_end)
}

/// Reads all members, in the order in which they stand in the file, to their ends.
pub(super) fn read_members<F: ReadAt + ?Sized>(
    source: &mut Source<'_, F>,
    members: &[ZipMember],
    look: &mut impl Look,
) -> Result<(), PackageError> {
    let mut position = 0u64;
    for member in members {
        let mut counted = Counted {
            source: &mut *source,
            count: &mut position,
        };
        zip::read_local_header(&mut counted, member)?;
        read_member(source, member, look)?;
        position = position.saturating_add(member.size);
        let mut counted = Counted {
            source: &mut *source,
            count: &mut position,
        };
        let at = *counted.count;
        zip::read_descriptor(&mut counted, at, member)?;
    }
    Ok(())
}

pub(super) fn require_roles(
    members: &[ZipMember],
    check: bool,
    notes: &mut Vec<Note>,
) -> Result<(), PackageError> {
    let count = |role| {
        members
            .iter()
            .filter(|member| Role::of(&member.name) == role)
            .count()
    };
    let mut twins = members
        .iter()
        .filter(|member| Role::of(&member.name) == Role::Twin);
    if let Some(twin) = twins.next() {
        return Err(PackageError::TwinMember {
            member: show(&twin.name),
        });
    }
    match count(Role::Info) {
        1 => {}
        count => return Err(PackageError::InfoMembers { count }),
    }
    match count(Role::Pkg) {
        1 => Ok(()),
        0 if !check => {
            notes.push(Note::NoPackageMember);
            Ok(())
        }
        count => Err(PackageError::PkgMembers { count }),
    }
}

fn compare_stems(members: &[ZipMember], stem: &str, notes: &mut Vec<Note>) {
    let info = members
        .iter()
        .find(|member| Role::of(&member.name) == Role::Info);
    let inner = info
        .and_then(|member| member.name.strip_prefix(b"info-"))
        .and_then(|name| name.strip_suffix(b".tar.zst"));
    if let Some(inner) = inner.filter(|inner| *inner != stem.as_bytes()) {
        notes.push(Note::StemDiffers {
            member: show(inner),
        });
    }
}

/// Reads one member's data to their end: decoded, looked at or only hashed, as its role says.
fn read_member<F: ReadAt + ?Sized>(
    source: &mut Source<'_, F>,
    member: &ZipMember,
    look: &mut impl Look,
) -> Result<(), PackageError> {
    let check = source.check_archives();
    let role = Role::of(&member.name);
    if check && role == Role::Other {
        require_tame(&member.name)?;
    }
    let decoded = look.everywhere() && role == Role::Pkg;
    if !check && !decoded && !matches!(role, Role::Metadata | Role::Info) {
        return source.skip(member.size);
    }
    let mut data = Data {
        source,
        left: member.size,
        crc32: Crc32::new(),
    };
    match role {
        Role::Metadata => read_metadata(&mut data)?,
        Role::Info => decode(&mut data, Part::Info, look)?,
        Role::Pkg => decode(&mut data, Part::Pkg, look)?,
        Role::Twin | Role::Other => {}
    }
    if data.finish()? != member.crc32 {
        return Err(PackageError::Checksum {
            member: show(&member.name),
        });
    }
    Ok(())
}

fn decode(
    data: &mut Data<'_, impl BufRead>,
    part: Part,
    look: &mut impl Look,
) -> Result<(), PackageError> {
    let cap = decoded_cap(data.left);
    let mut decoder = zstd::Decoder::with_buffer(data).map_err(|error| explain(&error))?;
    decoder
        .window_log_max(WINDOW_LOG)
        .map_err(|error| explain(&error))?;
    look.look_through(part, Explained(decoder), cap)
}

/// Reads `metadata.json`, as strictly as all JSON. CEP 35 asks for it and for its version; but clients
/// (conda-package-streaming, rattler) open the tarballs by their names and never read it, so that a package without it, or
/// without a version in it, is installed everywhere, and is listed. What it says wrongly is refused.
fn read_metadata(data: &mut Data<'_, impl BufRead>) -> Result<(), PackageError> {
    let bad = |reason: String| PackageError::Metadata { reason };
    if data.left > METADATA_CAP {
        return Err(bad(format!("it has {} bytes", data.left)));
    }
    let mut text = Vec::new();
    data.read_to_end(&mut text)
        .map_err(|error| PackageError::from_io(error, "in metadata.json"))?;
    let Json::Object(object) = parse_small(&text).map_err(|error| bad(error.to_string()))? else {
        return Err(bad("it is not an object".to_owned()));
    };
    match object.get("conda_pkg_format_version") {
        Some(version) if version.as_i64() != Some(2) => Err(PackageError::FormatVersion {
            version: show(version.compact().as_bytes()),
        }),
        _ => Ok(()),
    }
}

/// A zip member that nothing reads must still not leave the folder where something unpacks it.
fn require_tame(name: &[u8]) -> Result<(), PackageError> {
    let slash = |byte: &u8| matches!(byte, b'/' | b'\\');
    let climbs = name.split(slash).any(|part| part == b"..");
    if climbs || name.first().is_some_and(slash) {
        return Err(PackageError::UnsafePath { member: show(name) });
    }
    Ok(())
}

/// A source that counts what is read through it.
struct Counted<'c, R> {
    source: R,
    count: &'c mut u64,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        *self.count = self.count.saturating_add(count as u64);
        Ok(count)
    }
}

/// One member's data and their checksum.
struct Data<'s, R> {
    source: &'s mut R,
    left: u64,
    crc32: Crc32,
}

impl<R: BufRead> Data<'_, R> {
    /// Reads what is left, and gives the checksum of it all.
    fn finish(mut self) -> Result<u32, PackageError> {
        loop {
            let ready = self
                .fill_buf()
                .map_err(|error| PackageError::from_io(error, PART))?
                .len();
            if ready == 0 {
                break;
            }
            self.consume(ready);
        }
        if self.left > 0 {
            return Err(PackageError::EndsEarly { part: PART });
        }
        Ok(self.crc32.finalize())
    }
}

const PART: &str = "in a zip member";

impl<R: BufRead> BufRead for Data<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            return Ok(&[]);
        }
        let ready = self.source.fill_buf()?;
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        Ok(ready.get(..left).unwrap_or(ready))
    }

    fn consume(&mut self, count: usize) {
        if count == 0 {
            return;
        }
        // What was handed out is still there: no error, and no further read from the file.
        if let Some(bytes) = self
            .source
            .fill_buf()
            .ok()
            .and_then(|ready| ready.get(..count))
        {
            self.crc32.update(bytes);
        }
        self.source.consume(count);
        self.left = self.left.saturating_sub(count as u64);
    }
}

impl<R: BufRead> Read for Data<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

/// A zstd decoder whose errors say what they mean.
struct Explained<R>(R);

impl<R: Read> Read for Explained<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0
            .read(buffer)
            .map_err(|error| match error.downcast::<PackageError>() {
                Ok(own) => own.into_io(),
                Err(other) => explain(&other).into_io(),
            })
    }
}

fn explain(error: &io::Error) -> PackageError {
    let reason = error.to_string();
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return PackageError::EndsEarly {
            part: "in its zstd data",
        };
    }
    // The decoder has a code for this, of which only the text reaches us.
    if reason.contains("too much memory") {
        return PackageError::Window {
            mib: 1 << WINDOW_LOG.saturating_sub(20),
        };
    }
    PackageError::Damaged {
        codec: "zstd",
        reason,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::testing::{Stored, Tar, Zip, noise};
    use super::*;

    #[test]
    fn members_have_their_roles_by_name() {
        for (name, role) in [
            ("metadata.json", Role::Metadata),
            ("info-a-1-0.tar.zst", Role::Info),
            ("info-.tar.zst", Role::Info),
            ("pkg-a-1-0.tar.zst", Role::Pkg),
            ("pkg-.tar.zst", Role::Pkg),
            ("x/metadata.json", Role::Other),
            ("info", Role::Other),
            ("info.txt", Role::Other),
            ("x/info-a-1-0", Role::Other),
            ("other.zst", Role::Other),
            ("other.tar.bz2", Role::Other),
            ("other.tar.zst.asc", Role::Other),
            ("tar.zst", Role::Other),
            (".", Role::Other),
            ("info-a-1-0", Role::Twin),
            ("info-a-1-0/", Role::Twin),
            ("info-a-1-0.txt", Role::Twin),
            ("info-a-1-0.tar.bz2", Role::Twin),
            ("info-a-1-0.tar.zst.asc", Role::Twin),
            ("info-a-1-0.tar.zst/", Role::Twin),
            ("info-a/b.tar.zst", Role::Twin),
            ("info-a\\b.tar.zst", Role::Twin),
            ("x/info-a.tar.zst", Role::Twin),
            ("x\\info-a.tar.zst", Role::Twin),
            ("./info-a.tar.zst", Role::Twin),
            ("/info-a.tar.zst", Role::Twin),
            ("x/../info-a.tar.zst", Role::Twin),
            ("x.tar.zst/.", Role::Twin),
            ("x.tar.zst/..", Role::Twin),
            ("pkg-a/b.tar.zst", Role::Twin),
            ("pkg-a-1-0.tar", Role::Twin),
            ("other.tar.zst", Role::Twin),
            ("Info-a.tar.zst", Role::Twin),
        ] {
            assert_eq!(Role::of(name.as_bytes()), role, "{name}");
        }
    }

    #[test]
    fn the_largest_member_is_passed_over_to_what_may_be_its_descriptor() {
        let pkg = Tar::default().file("lib/big", &noise(5_000, 6)).zst();
        let bytes = Zip::package().change(1, |m| m.data = pkg).bytes();
        let members = zip::members(&bytes, bytes.len() as u64).unwrap();
        let name = b"info-a-1-0.tar.zst";
        let found = bytes.windows(name.len()).position(|it| it == name).unwrap() as u64;
        assert_eq!(behind_the_largest(&members), found - 30 - 24);
        assert_eq!(behind_the_largest(&[]), u64::MAX);
    }

    #[test]
    fn names_that_leave_the_folder() {
        for (name, tame) in [
            ("x", true),
            ("x/y", true),
            ("..x", true),
            ("x/..y", true),
            ("..", false),
            ("../x", false),
            ("x/..", false),
            ("x\\..\\y", false),
            ("/x", false),
            ("\\x", false),
        ] {
            assert_eq!(require_tame(name.as_bytes()).is_ok(), tame, "{name}");
        }
    }

    #[test]
    fn one_info_member_and_one_pkg_member() {
        let count = |info: usize, pkg: usize, check: bool| {
            let of = |part: &str, count: usize| -> Vec<_> {
                let names = (0..count).map(|at| format!("{part}-{at}.tar.zst"));
                names.map(|name| Stored::new(&name, "x")).collect()
            };
            let bytes = Zip::of([of("info", info), of("pkg", pkg)].concat()).bytes();
            let members = zip::members(&bytes, bytes.len() as u64).unwrap();
            let mut notes = Vec::new();
            let found = require_roles(&members, check, &mut notes);
            (found.is_ok(), notes.len())
        };
        assert_eq!(count(1, 1, false), (true, 0));
        assert_eq!(count(1, 1, true), (true, 0));
        assert_eq!(count(1, 0, false), (true, 1));
        assert_eq!(count(1, 0, true), (false, 0));
        for check in [false, true] {
            assert_eq!(count(0, 1, check), (false, 0));
            assert_eq!(count(2, 1, check), (false, 0));
            assert_eq!(count(1, 2, check), (false, 0));
        }
    }

    #[test]
    fn a_members_data_are_all_there_with_their_checksum() {
        let data = |bytes: &[u8], left| {
            let crc32 = Crc32::new();
            Data {
                source: &mut &bytes[..],
                left,
                crc32,
            }
            .finish()
        };
        assert_eq!(data(b"abcdef", 3).unwrap(), crc32fast::hash(b"abc"));
        assert_eq!(data(b"abc", 3).unwrap(), crc32fast::hash(b"abc"));
        assert_eq!(data(b"abc", 0).unwrap(), crc32fast::hash(b""));
        assert!(matches!(
            data(b"ab", 3),
            Err(PackageError::EndsEarly { .. })
        ));
    }
}
