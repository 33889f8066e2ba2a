//! The members of a tar stream, one after the other, in memory that does not grow with what the archive claims.
//! Owns GNU long names, PAX records and sparse maps, and refuses what readers of tar take differently; must not know
//! what a package is, but for the folder of its metadata. (`tar::Entries` reads long names and PAX records of any size into memory, and
//! passes over malformed ones.)

use std::io::BufRead;

use tar::{EntryType, GnuExtSparseHeader, Header};

use super::PackageError;
use super::error::show;
use super::header::{self, flaw};
use super::info::Name;

const BLOCK: u64 = 512;
/// Long names and PAX records of one member may take this many bytes each.
const EXTENSION_CAP: u64 = 1024 * 1024;
const PART: &str = "in its tar archive";
const SPARSE: &str =
    "an extended header says that a member is a sparse file; build it anew with whole files";

/// One member, its body not yet read.
pub(super) struct Member {
    /// The name as it stands in the archive.
    pub(super) path: Vec<u8>,
    pub(super) kind: EntryType,
    /// The bytes that the archive holds for it.
    pub(super) size: u64,
}

impl Member {
    /// Demands that the body has at most so many bytes.
    pub(super) fn require_size(&self, limit: u64) -> Result<(), PackageError> {
        if self.size <= limit {
            return Ok(());
        }
        Err(PackageError::MemberTooLarge {
            member: show(&self.path),
            size: self.size,
            limit,
        })
    }

    /// Why it is not a plain file, if it is not.
    pub(super) fn unfit(&self) -> Option<&'static str> {
        match self.kind {
            EntryType::Regular | EntryType::Continuous if self.path.ends_with(b"/") => {
                Some("a file and a folder")
            }
            // The body is pieces of the file.
            EntryType::GNUSparse => Some("a sparse file"),
            EntryType::Regular | EntryType::Continuous => None,
            EntryType::Directory => Some("a folder"),
            EntryType::Symlink => Some("a symbolic link"),
            EntryType::Link => Some("a hard link"),
            EntryType::Char | EntryType::Block => Some("a device"),
            EntryType::Fifo => Some("a FIFO"),
            _ => Some("something else"),
        }
    }
}

/// A tar stream; a short one is an error everywhere.
pub(super) struct Members<R> {
    input: R,
    /// What is left of the current member's body.
    body: u64,
    /// Zeros that fill the body's last block.
    padding: u64,
}

/// What extension headers say of the member that follows them.
#[derive(Default)]
struct Extensions {
    long_name: Option<Vec<u8>>,
    long_link: bool,
    pax: Option<Pax>,
}

/// The PAX records that decide what a member is.
#[derive(Default)]
struct Pax {
    path: Option<Vec<u8>>,
    size: Option<u64>,
}

impl<R: BufRead> Members<R> {
    pub(super) fn new(input: R) -> Self {
        Members {
            input,
            body: 0,
            padding: 0,
        }
    }

    /// The next member, whatever was read of the last; `None` at the end mark.
    pub(super) fn next(&mut self) -> Result<Option<Member>, PackageError> {
        let mut extensions = Extensions::default();
        loop {
            self.skip_member()?;
            let Some(header) = self.header()? else {
                return if extensions.is_empty() {
                    Ok(None)
                } else {
                    Err(flaw(
                        "a header that describes the next member has none after it",
                    ))
                };
            };
            self.enter(header::size(&header)?)?;
            match header.entry_type().as_byte() {
                b'L' => put(&mut extensions.long_name, self.long_name()?)?,
                b'K' => {
                    self.extension()?;
                    if std::mem::replace(&mut extensions.long_link, true) {
                        return Err(flaw("two headers describe the same member"));
                    }
                }
                b'x' => put(&mut extensions.pax, Pax::parse(&self.extension()?)?)?,
                b'g' if !extensions.is_empty() => {
                    return Err(flaw(
                        "a global header stands between a header and the member that it describes",
                    ));
                }
                b'g' => {
                    require_own_name(&header.path_bytes())?;
                    Pax::parse(&self.extension()?)?.require_harmless()?;
                }
                b'X' => {
                    return Err(flaw(
                        "it has extended headers of a kind that few tools know",
                    ));
                }
                _ => return self.member(&header, extensions).map(Some),
            }
        }
    }

    /// The current member's whole body. The caller has held its size against a cap.
    pub(super) fn read_body(&mut self) -> Result<Vec<u8>, PackageError> {
        let mut bytes = Vec::new();
        while self.body > 0 {
            let ready = self.fill(self.body)?;
            bytes.extend_from_slice(ready);
            let count = ready.len();
            self.input.consume(count);
            self.body = self.body.saturating_sub(count as u64);
        }
        Ok(bytes)
    }

    /// Bytes that come next of the current member's body; 0 at its end.
    pub(super) fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, PackageError> {
        if self.body == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let ready = self.fill(self.body)?;
        let count = ready.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), ready.get(..count)) {
            to.copy_from_slice(from);
        }
        self.input.consume(count);
        self.body = self.body.saturating_sub(count as u64);
        Ok(count)
    }

    /// Reads on to the end of the stream, so that its decoder checks all of it. Gives the number of bytes
    /// behind the end mark that are not zero.
    pub(super) fn finish(mut self) -> Result<u64, PackageError> {
        let mut stray = 0u64;
        loop {
            let ready = self
                .input
                .fill_buf()
                .map_err(|error| PackageError::from_io(error, PART))?;
            if ready.is_empty() {
                return Ok(stray);
            }
            let count = ready.len();
            let full = ready.iter().filter(|byte| **byte != 0).count();
            stray = stray.saturating_add(full as u64);
            self.input.consume(count);
        }
    }

    fn member(&mut self, header: &Header, ext: Extensions) -> Result<Member, PackageError> {
        let pax = ext.pax.unwrap_or_default();
        if let Some(size) = pax.size {
            self.enter(size)?;
        }
        let path = match (ext.long_name, pax.path) {
            (Some(long), Some(pax)) if long != pax => {
                return Err(flaw("a member has two different long names"));
            }
            (Some(path), _) | (None, Some(path)) => path,
            (None, None) => header.path_bytes().into_owned(),
        };
        if path.is_empty() {
            return Err(flaw("a member has no name"));
        }
        let kind = header.entry_type();
        if matches!(kind.as_byte(), b'1'..=b'6') && self.body > 0 {
            return Err(flaw("a link, device or folder claims to have contents"));
        }
        if kind.is_gnu_sparse() {
            self.skip_sparse_maps(header)?;
        }
        Ok(Member {
            path,
            kind,
            size: self.body,
        })
    }

    /// The next header, or `None` where a block of zeros marks the end.
    fn header(&mut self) -> Result<Option<Header>, PackageError> {
        let mut header = Header::new_old();
        self.block(header.as_mut_bytes())?;
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        header::check(&header)?;
        Ok(Some(header))
    }

    fn block(&mut self, block: &mut [u8]) -> Result<(), PackageError> {
        self.input
            .read_exact(block)
            .map_err(|error| PackageError::from_io(error, PART))
    }

    /// Begins a body of `size` bytes.
    fn enter(&mut self, size: u64) -> Result<(), PackageError> {
        let whole = size
            .checked_next_multiple_of(BLOCK)
            .ok_or_else(|| flaw("a member claims an impossible size"))?;
        self.body = size;
        self.padding = whole.saturating_sub(size);
        Ok(())
    }

    fn skip_member(&mut self) -> Result<(), PackageError> {
        let mut left = self
            .body
            .checked_add(self.padding)
            .ok_or_else(|| flaw("a member claims an impossible size"))?;
        while left > 0 {
            let count = self.fill(left)?.len();
            self.input.consume(count);
            left = left.saturating_sub(count as u64);
        }
        self.body = 0;
        self.padding = 0;
        Ok(())
    }

    /// Bytes that are ready, at least one, at most `wanted`.
    fn fill(&mut self, wanted: u64) -> Result<&[u8], PackageError> {
        let ready = self
            .input
            .fill_buf()
            .map_err(|error| PackageError::from_io(error, PART))?;
        if ready.is_empty() {
            return Err(PackageError::EndsEarly { part: PART });
        }
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        Ok(ready.get(..wanted).unwrap_or(ready))
    }

    fn extension(&mut self) -> Result<Vec<u8>, PackageError> {
        if self.body > EXTENSION_CAP {
            return Err(PackageError::TarHeaderTooLarge {
                size: self.body,
                limit: EXTENSION_CAP,
            });
        }
        let body = self.read_body()?;
        self.require_empty_padding()?;
        Ok(body)
    }

    /// Some readers look for records and for a name's end in what fills up the last block, too.
    fn require_empty_padding(&mut self) -> Result<(), PackageError> {
        while self.padding > 0 {
            let ready = self.fill(self.padding)?;
            if ready.iter().any(|byte| *byte != 0) {
                return Err(flaw(
                    "bytes stand between a header that describes the next member and that member; build it anew",
                ));
            }
            let count = ready.len();
            self.input.consume(count);
            self.padding = self.padding.saturating_sub(count as u64);
        }
        Ok(())
    }

    fn long_name(&mut self) -> Result<Vec<u8>, PackageError> {
        let mut name = self.extension()?;
        if let Some(end) = name.iter().position(|byte| *byte == 0) {
            name.truncate(end);
        }
        Ok(name)
    }

    /// Old GNU sparse members continue their map in blocks that the size does not count.
    fn skip_sparse_maps(&mut self, header: &Header) -> Result<(), PackageError> {
        let gnu = header
            .as_gnu()
            .ok_or_else(|| flaw("a sparse member lacks the GNU header"))?;
        let mut more = gnu.is_extended();
        while more {
            let mut map = GnuExtSparseHeader::new();
            self.block(map.as_mut_bytes())?;
            more = map.is_extended();
        }
        Ok(())
    }
}

impl Extensions {
    fn is_empty(&self) -> bool {
        self.long_name.is_none() && !self.long_link && self.pax.is_none()
    }
}

impl Pax {
    /// Reads records of the form `LENGTH KEY=VALUE\n` (POSIX.1-2024, pax, extended header).
    fn parse(mut bytes: &[u8]) -> Result<Pax, PackageError> {
        let mut pax = Pax::default();
        while !bytes.is_empty() {
            let (key, value, rest) =
                record(bytes).ok_or_else(|| flaw("an extended header is malformed"))?;
            bytes = rest;
            match key {
                b"path" if value.is_empty() || value.contains(&0) => {
                    return Err(flaw("an extended header holds an impossible name"));
                }
                b"path" => put(&mut pax.path, value.to_vec())?,
                b"size" => put(&mut pax.size, decimal(value)?)?,
                // Those who know these take the name, the size and the map from here or from the body, each in its own way.
                b"SCHILY.realsize" | b"SUN.holesdata" => return Err(flaw(SPARSE)),
                _ if key.starts_with(b"GNU.sparse.") => return Err(flaw(SPARSE)),
                _ => {}
            }
        }
        Ok(pax)
    }

    /// Some readers apply a global header's name and size to every member, some to none.
    fn require_harmless(self) -> Result<(), PackageError> {
        if self.path.is_some() || self.size.is_some() {
            return Err(flaw("a global header sets names or sizes"));
        }
        Ok(())
    }
}

/// Some readers take a global header for a member of its name.
fn require_own_name(path: &[u8]) -> Result<(), PackageError> {
    match Name::of(path).parts.first() {
        Some(first) if *first == b"info" => Err(flaw(format!(
            "a global header has the name of metadata (`{}`); build it anew",
            show(path)
        ))),
        _ => Ok(()),
    }
}

fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(bytes.get(..space)?).ok()?).ok()?;
    let (record, rest) = bytes.split_at_checked(length)?;
    let pair = record.get(space.checked_add(1)?..)?.strip_suffix(b"\n")?;
    let equals = pair.iter().position(|byte| *byte == b'=')?;
    let value = pair.get(equals.checked_add(1)?..)?;
    Some((pair.get(..equals)?, value, rest))
}

fn decimal(digits: &[u8]) -> Result<u64, PackageError> {
    std::str::from_utf8(digits)
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| flaw("an extended header holds an impossible number"))
}

/// Fills a place that may be filled once: where it is filled twice, readers disagree which one counts.
fn put<T>(place: &mut Option<T>, value: T) -> Result<(), PackageError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(flaw("two headers describe the same member")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::super::testing::{INDEX, Tar};
    use super::*;

    type NamedBody = (String, Vec<u8>);

    /// What stands in a tar stream: names and bodies, and how many bytes follow its end; or what is wrong with it.
    fn listed(tar: Tar) -> Result<(Vec<NamedBody>, u64), String> {
        let bytes = tar.done();
        let mut members = Members::new(bytes.as_slice());
        let mut all = Vec::new();
        let said = |error: PackageError| error.to_string();
        while let Some(member) = members.next().map_err(said)? {
            let body = members.read_body().map_err(said)?;
            assert_eq!(body.len() as u64, member.size);
            all.push((String::from_utf8(member.path).unwrap(), body));
        }
        Ok((all, members.finish().map_err(said)?))
    }

    fn names(tar: Tar) -> Vec<String> {
        let (all, behind) = listed(tar).unwrap();
        assert_eq!(behind, 0);
        all.into_iter().map(|(name, _)| name).collect()
    }

    fn flaw_of(tar: Tar) -> String {
        listed(tar).unwrap_err()
    }

    #[test]
    fn a_body_ends_where_the_stream_does() {
        // Without an end mark; whether one is there is not the body's concern.
        let tar = Tar::default().file("a", &[7; 512]).0;
        let mut members = Members::new(tar.as_slice());
        members.next().unwrap().unwrap();
        let mut buffer = [0; 600];
        assert_eq!(members.read_some(&mut []).unwrap(), 0);
        assert_eq!(members.read_some(&mut buffer).unwrap(), 512);
        assert_eq!(members.read_some(&mut buffer).unwrap(), 0);
        assert_eq!(members.read_some(&mut []).unwrap(), 0);
    }

    #[test]
    fn members_come_one_after_the_other_with_their_bodies() {
        for size in [0, 1, 511, 512, 513, 1024] {
            let body = vec![7; size];
            let tar = Tar::default().file("a", &body).file("b", b"x");
            let (all, behind) = listed(tar).unwrap();
            assert_eq!(all, [("a".into(), body), ("b".into(), b"x".to_vec())]);
            assert_eq!(behind, 0);
        }
    }

    #[test]
    fn a_body_is_read_in_pieces_and_what_is_left_of_it_passed_over() {
        let bytes = Tar::default().file("a", b"12345").file("b", b"").done();
        let mut members = Members::new(bytes.as_slice());
        members.next().unwrap().unwrap();
        let mut three = [0; 3];
        assert_eq!(members.read_some(&mut []).unwrap(), 0);
        assert_eq!(members.read_some(&mut three).unwrap(), 3);
        assert_eq!(three, *b"123");
        let mut rest = [0; 9];
        assert_eq!(members.read_some(&mut rest).unwrap(), 2);
        assert_eq!(rest.first_chunk(), Some(b"45"));
        assert_eq!(members.read_some(&mut rest).unwrap(), 0);
        assert_eq!(members.next().unwrap().unwrap().path, b"b");
        let mut members = Members::new(bytes.as_slice());
        members.next().unwrap().unwrap();
        members.read_some(&mut three).unwrap();
        assert_eq!(members.next().unwrap().unwrap().path, b"b");
    }

    #[test]
    fn bytes_behind_the_end_are_counted_unless_they_are_zeros() {
        let mut bytes = Tar::default().file("a", b"x").done();
        bytes.extend_from_slice(b"\0ab\0c");
        let mut members = Members::new(bytes.as_slice());
        while members.next().unwrap().is_some() {}
        assert_eq!(members.finish().unwrap(), 3);
    }

    #[test]
    fn what_describes_the_next_member() {
        let long = "long/".repeat(40);
        let gnu = |kind: u8, text: &str| Tar::default().gnu("L", kind, text.as_bytes(), false);
        let pax = |records: &[(&str, &str)]| Tar::default().pax(b'x', records);
        assert_eq!(names(gnu(b'L', &long).file("x", b"")), [long.as_str()]);
        assert_eq!(names(gnu(b'L', "a\0b").file("x", b"")), ["a"]);
        assert_eq!(names(gnu(b'K', &long).file("x", b"")), ["x"]);
        assert_eq!(
            names(pax(&[("path", &long)]).file("x", b"")),
            [long.as_str()]
        );
        let both = gnu(b'L', "a").pax(b'x', &[("path", "a")]);
        assert_eq!(names(both.file("x", b"")), ["a"]);
        let both = gnu(b'L', "a").gnu("L", b'K', b"b", false);
        assert_eq!(names(both.file("x", b"").file("y", b"")), ["a", "y"]);
        let sized = pax(&[("size", "3"), ("mtime", "1.5")]).member("x", b'0', 0, b"abc");
        let (all, _) = listed(sized.file("y", b"")).unwrap();
        assert_eq!(all, [("x".into(), b"abc".to_vec()), ("y".into(), vec![])]);
        for global in ["comment", "mtime"] {
            let tar = Tar::default().pax(b'g', &[(global, "x")]);
            assert_eq!(names(tar.file("x", b"")), ["x"]);
        }
    }

    #[test]
    fn what_readers_of_tar_take_differently() {
        let gnu = |kind: u8| Tar::default().gnu("L", kind, b"a", false);
        let pax = |records: &[(&str, &str)]| Tar::default().pax(b'x', records);
        let global = |key, value| Tar::default().pax(b'g', &[(key, value)]).file("x", b"");
        let record = |text: &[u8]| {
            let tar = Tar::default().member("x", b'x', text.len() as u64, text);
            tar.file("x", b"")
        };
        let (twice, none_after) = ("two headers describe", "has none after it");
        let (name, number) = ("an impossible name", "an impossible number");
        for (tar, says) in [
            (gnu(b'L').gnu("L", b'L', b"a", false), twice),
            (gnu(b'K').gnu("L", b'K', b"a", false), twice),
            (pax(&[("a", "b")]).pax(b'x', &[("a", "b")]), twice),
            (pax(&[("size", "1"), ("size", "1")]), twice),
            (gnu(b'L'), none_after),
            (gnu(b'K'), none_after),
            (pax(&[("a", "b")]), none_after),
            (gnu(b'X').file("x", b""), "few tools know"),
            (
                pax(&[("GNU.sparse.major", "1")]).file("x", b""),
                "a sparse file",
            ),
            (
                pax(&[("SUN.holesdata", "0")]).file("x", b""),
                "a sparse file",
            ),
            (
                pax(&[("SCHILY.realsize", "0")]).file("x", b""),
                "a sparse file",
            ),
            (pax(&[("path", "")]).file("x", b""), name),
            (pax(&[("path", "a\0b")]).file("x", b""), name),
            (pax(&[("size", "")]).file("x", b""), number),
            (pax(&[("size", "+1")]).file("x", b""), number),
            (
                pax(&[("size", "18446744073709551616")]).file("x", b""),
                number,
            ),
            (
                pax(&[("size", "18446744073709551615")]).file("x", b""),
                "impossible size",
            ),
            (global("path", "a"), "a global header"),
            (global("size", "1"), "a global header"),
            (global("GNU.sparse.size", "1"), "a sparse file"),
            (
                gnu(b'L').pax(b'g', &[("a", "b")]).file("x", b""),
                "stands between a header",
            ),
            (
                pax(&[("path", "y")])
                    .pax(b'g', &[("a", "b")])
                    .file("x", b""),
                "stands between a header",
            ),
            (record(b"6 a=b"), "malformed"),
            (record(b"6 a=b "), "malformed"),
            (record(b"6 a-b\n"), "malformed"),
            (record(b"6a=b\n"), "malformed"),
            (record(b" 6 a=b\n"), "malformed"),
            (record(b"000000000000000000006 a=b\n"), "malformed"),
            (Tar::default().file("", b"x"), "has no name"),
            (
                gnu(b'L').pax(b'x', &[("path", "b")]).file("x", b""),
                "two different long names",
            ),
            // The end mark goes for its body, and is not enough of it.
            (Tar::default().member("x", b'0', 2000, b""), "ends early"),
        ] {
            match listed(tar) {
                Err(error) => assert!(error.contains(says), "{says}: {error}"),
                Ok(found) => panic!("{says}: {found:?}"),
            }
        }
        for kind in b'1'..=b'6' {
            let tar = Tar::default().member("x", kind, 1, b"a");
            assert!(flaw_of(tar).contains("claims to have contents"), "{kind}");
            assert_eq!(names(Tar::default().member("x", kind, 0, b"")), ["x"]);
        }
    }

    #[test]
    fn the_checksum_counts_every_byte_but_its_own() {
        for at in [0, 99, 147, 156, 511] {
            let mut tar = Tar::default().file("a", b"");
            if let Some(byte) = tar.0.get_mut(at) {
                *byte = byte.wrapping_add(1);
            }
            assert!(flaw_of(tar).contains("checksum"), "{at}");
        }
        // How it is padded is nobody's matter.
        let mut tar = Tar::default().file("a", b"");
        if let Some(end) = tar.0.get_mut(155) {
            *end = b' ';
        }
        assert_eq!(names(tar), ["a"]);
    }

    #[test]
    fn extension_headers_have_a_last_length() {
        let name = |length: usize| Tar::default().gnu("L", b'L', &vec![b'a'; length], false);
        let long = names(name(1024 * 1024).file("x", b""));
        assert_eq!(long.first().map(String::len), Some(1024 * 1024));
        let error = flaw_of(name(1024 * 1024 + 1).file("x", b""));
        assert!(error.contains("1048576 are allowed"), "{error}");
    }

    #[test]
    fn sparse_members_are_told_and_their_maps_passed_over() {
        for extended in [false, true] {
            let tar = Tar::default().gnu("s", b'S', b"abc", extended);
            let bytes = tar.file("info/index.json", INDEX).done();
            let mut members = Members::new(bytes.as_slice());
            let sparse = members.next().unwrap().unwrap();
            assert_eq!(sparse.size, 3);
            assert_eq!(sparse.unfit(), Some("a sparse file"));
            assert_eq!(members.read_body().unwrap(), b"abc");
            let index = members.next().unwrap().unwrap();
            assert_eq!(index.unfit(), None);
            assert_eq!(members.read_body().unwrap(), INDEX);
        }
        let error = flaw_of(Tar::default().member("s", b'S', 0, b""));
        assert!(error.contains("lacks the GNU header"), "{error}");
    }

    #[test]
    fn kinds_have_their_names() {
        for (kind, unfit) in [
            (b'0', None),
            (0, None),
            (b'7', None),
            (b'1', Some("a hard link")),
            (b'2', Some("a symbolic link")),
            (b'3', Some("a device")),
            (b'4', Some("a device")),
            (b'5', Some("a folder")),
            (b'6', Some("a FIFO")),
            (b'V', Some("something else")),
        ] {
            let bytes = Tar::default().member("x", kind, 0, b"").done();
            let mut members = Members::new(bytes.as_slice());
            assert_eq!(members.next().unwrap().unwrap().unfit(), unfit, "{kind}");
        }
        for (kind, unfit) in [
            (b'0', "a file and a folder"),
            (b'2', "a symbolic link"),
            (b'5', "a folder"),
        ] {
            let bytes = Tar::default().member("x/", kind, 0, b"").done();
            let mut members = Members::new(bytes.as_slice());
            assert_eq!(members.next().unwrap().unwrap().unfit(), Some(unfit));
        }
    }

    #[test]
    fn a_size_is_held_against_a_limit() {
        let bytes = Tar::default().file("x", b"12345").done();
        let member = Members::new(bytes.as_slice()).next().unwrap().unwrap();
        assert!(member.require_size(6).is_ok());
        assert!(member.require_size(5).is_ok());
        assert!(member.require_size(4).is_err());
    }
}
