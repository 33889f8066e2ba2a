//! The zip structure of a `.conda`, read strictly: every byte before the directory belongs to exactly one stored
//! member, and the two places that describe a member agree. Owns the APPNOTE 6.3.10 records that this takes; must
//! not know what members mean. (General readers are forgiving about what is ambiguous, each in its own way; what
//! is signed must be the same archive to all of them.)

mod end;
mod fields;

use std::collections::HashSet;
use std::io::Read;

use end::directory;
use fields::{Fields, SEE64_SHORT, slice, zip64_field};

use super::PackageError;
use super::error::{ZipFlaw, show};

const LOCAL: u32 = 0x0403_4b50;
const DESCRIPTOR: u32 = 0x0807_4b50;
/// In bytes: its signature, the CRC-32, and two sizes of 64 bits.
const LONGEST_DESCRIPTOR: u64 = 24;
const CENTRAL: u32 = 0x0201_4b50;

const FLAG_DESCRIPTOR: u16 = 1 << 3;
/// Encrypted, strongly encrypted, with masked headers.
const FLAGS_ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;

/// One stored member, as the directory describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ZipMember {
    pub(super) name: Vec<u8>,
    pub(super) crc32: u32,
    /// The bytes of its data: stored, so compressed and uncompressed size are one.
    pub(super) size: u64,
    flags: u16,
    /// Where its local header stands.
    start: u64,
    /// Where what follows it stands: the next member or the directory.
    end: u64,
}

impl ZipMember {
    /// The first place at which its data can end: a data descriptor may stand between them and what follows.
    pub(super) fn data_end(&self) -> u64 {
        self.end.saturating_sub(LONGEST_DESCRIPTOR)
    }
}

/// The members in the order in which they stand in the file, without a gap from its first byte to the directory.
///
/// `tail` is the end of a file of `size` bytes and must hold the whole directory.
pub(super) fn members(tail: &[u8], size: u64) -> Result<Vec<ZipMember>, PackageError> {
    let tail_start = size.checked_sub(tail.len() as u64).ok_or(ZipFlaw::End)?;
    let directory = directory(tail, tail_start)?;
    let start = directory
        .start
        .checked_sub(tail_start)
        .ok_or(ZipFlaw::DirectoryTooLarge)?;
    let mut input = Fields(slice(tail, start, directory.size).ok_or(ZipFlaw::End)?);
    let mut members = Vec::new();
    while !input.0.is_empty() {
        members.push(central_header(&mut input)?);
    }
    if members.len() as u64 != directory.count {
        return Err(ZipFlaw::Count.into());
    }
    lay_out(&mut members, directory.start)?;
    Ok(members)
}

/// Reads the member's local header from `source`, which stands at its first byte, and holds it against the
/// directory. The data follow.
pub(super) fn read_local_header(
    source: &mut impl Read,
    member: &ZipMember,
) -> Result<(), PackageError> {
    let mut fixed = [0; 30];
    fill(source, &mut fixed)?;
    let short = || disagree(member, "header");
    let mut fields = Fields(&fixed);
    let signature = fields.u32().ok_or_else(short)?;
    let _version = fields.u16();
    let flags = fields.u16().ok_or_else(short)?;
    let method = fields.u16().ok_or_else(short)?;
    let _time = fields.u32();
    let crc32 = fields.u32().ok_or_else(short)?;
    let packed = fields.u32().ok_or_else(short)?;
    let unpacked = fields.u32().ok_or_else(short)?;
    let name_length = fields.u16().ok_or_else(short)?;
    let extra_length = fields.u16().ok_or_else(short)?;
    require(signature == LOCAL, member, "place")?;
    require(flags == member.flags, member, "flags")?;
    require(method == 0, member, "method")?;
    require(
        usize::from(name_length) == member.name.len(),
        member,
        "name",
    )?;
    let mut name = vec![0; usize::from(name_length)];
    fill(source, &mut name)?;
    require(name == member.name, member, "name")?;
    let mut extra = vec![0; usize::from(extra_length)];
    fill(source, &mut extra)?;
    let mut zip64 = zip64_field(&extra).ok_or_else(|| disagree(member, "extra fields"))?;
    let unpacked = zip64
        .widen(unpacked)
        .ok_or_else(|| disagree(member, "size"))?;
    let packed = zip64
        .widen(packed)
        .ok_or_else(|| disagree(member, "size"))?;
    // With a data descriptor the numbers may be left for it to say.
    let deferred = flags & FLAG_DESCRIPTOR != 0;
    require(
        crc32 == member.crc32 || deferred && crc32 == 0,
        member,
        "CRC-32",
    )?;
    for size in [packed, unpacked] {
        require(size == member.size || deferred && size == 0, member, "size")?;
    }
    let header = 30u64
        .saturating_add(u64::from(name_length))
        .saturating_add(u64::from(extra_length));
    check_room(member, header)
}

/// Reads what stands between the member's data and what follows it: nothing, or a data descriptor that agrees
/// with the directory. `position` is where `source` stands.
pub(super) fn read_descriptor(
    source: &mut impl Read,
    position: u64,
    member: &ZipMember,
) -> Result<(), PackageError> {
    let overlap = || ZipFlaw::Overlap(show(&member.name));
    let gap = member.end.checked_sub(position).ok_or_else(overlap)?;
    if gap == 0 && member.flags & FLAG_DESCRIPTOR == 0 {
        return Ok(());
    }
    let (signed, wide) = match (member.flags & FLAG_DESCRIPTOR != 0, gap) {
        (true, 12) => (false, false),
        (true, 16) => (true, false),
        (true, 20) => (false, true),
        (true, 24) => (true, true),
        (true, 0) => return Err(disagree(member, "data descriptor")),
        _ => return Err(ZipFlaw::Stray(member.end).into()),
    };
    let mut bytes = vec![0; usize::try_from(gap).unwrap_or(0)];
    fill(source, &mut bytes)?;
    let mut fields = Fields(&bytes);
    let signature = if signed {
        fields.u32()
    } else {
        Some(DESCRIPTOR)
    };
    let crc32 = fields.u32();
    let mut number = || {
        if wide {
            fields.u64()
        } else {
            fields.u32().map(u64::from)
        }
    };
    let sizes = [number(), number()];
    let agrees = signature == Some(DESCRIPTOR)
        && crc32 == Some(member.crc32)
        && sizes == [Some(member.size); 2];
    require(agrees, member, "data descriptor")
}

/// Makes sure that header and data end before what follows, so that skipping them can not pass it.
fn check_room(member: &ZipMember, header: u64) -> Result<(), PackageError> {
    let end = member
        .start
        .checked_add(header)
        .and_then(|data| data.checked_add(member.size));
    match end {
        Some(end) if end <= member.end => Ok(()),
        _ => Err(ZipFlaw::Overlap(show(&member.name)).into()),
    }
}

fn central_header(input: &mut Fields<'_>) -> Result<ZipMember, ZipFlaw> {
    const BAD: ZipFlaw = ZipFlaw::Directory;
    if input.u32() != Some(CENTRAL) {
        return Err(BAD);
    }
    let _versions = input.u32();
    let flags = input.u16().ok_or(BAD)?;
    let method = input.u16().ok_or(BAD)?;
    let _time = input.u32();
    let crc32 = input.u32().ok_or(BAD)?;
    let packed = input.u32().ok_or(BAD)?;
    let unpacked = input.u32().ok_or(BAD)?;
    let name_length = input.u16().ok_or(BAD)?;
    let extra_length = input.u16().ok_or(BAD)?;
    let comment_length = input.u16().ok_or(BAD)?;
    let disk = input.u16().ok_or(BAD)?;
    let _attributes = input.bytes(6);
    let start = input.u32().ok_or(BAD)?;
    let name = input.bytes(usize::from(name_length)).ok_or(BAD)?;
    let extra = input.bytes(usize::from(extra_length)).ok_or(BAD)?;
    input.bytes(usize::from(comment_length)).ok_or(BAD)?;
    let mut zip64 = zip64_field(extra).ok_or(BAD)?;
    let unpacked = zip64.widen(unpacked).ok_or(BAD)?;
    let packed = zip64.widen(packed).ok_or(BAD)?;
    let start = zip64.widen(start).ok_or(BAD)?;
    if disk != 0 && disk != SEE64_SHORT {
        return Err(ZipFlaw::Volumes);
    }
    if name.is_empty() || name.contains(&0) {
        return Err(BAD);
    }
    if flags & FLAGS_ENCRYPTED != 0 {
        return Err(ZipFlaw::Encrypted(show(name)));
    }
    if method != 0 {
        return Err(ZipFlaw::Compressed(show(name), method));
    }
    if packed != unpacked {
        return Err(ZipFlaw::Disagree(show(name), "size"));
    }
    Ok(ZipMember {
        name: name.to_vec(),
        crc32,
        size: packed,
        flags,
        start,
        end: start,
    })
}

/// Sorts members by place and finds where each ends at the latest.
fn lay_out(members: &mut [ZipMember], directory: u64) -> Result<(), ZipFlaw> {
    members.sort_by_key(|member| member.start);
    match members.first() {
        Some(first) if first.start > 0 => return Err(ZipFlaw::Stray(first.start)),
        None if directory > 0 => return Err(ZipFlaw::Stray(directory)),
        _ => {}
    }
    let ends: Vec<u64> = members
        .iter()
        .skip(1)
        .map(|next| next.start)
        .chain([directory])
        .collect();
    let mut names = HashSet::new();
    for (member, end) in members.iter_mut().zip(ends) {
        member.end = end;
        if !names.insert(member.name.as_slice()) {
            return Err(ZipFlaw::Duplicate(show(&member.name)));
        }
        let least = member
            .start
            .checked_add(30)
            .and_then(|least| least.checked_add(member.size));
        if least.is_none_or(|least| least > end) {
            return Err(ZipFlaw::Overlap(show(&member.name)));
        }
    }
    Ok(())
}

fn fill(source: &mut impl Read, buffer: &mut [u8]) -> Result<(), PackageError> {
    source
        .read_exact(buffer)
        .map_err(|error| PackageError::from_io(error, "in its zip headers"))
}

fn require(agrees: bool, member: &ZipMember, what: &'static str) -> Result<(), PackageError> {
    if agrees {
        Ok(())
    } else {
        Err(disagree(member, what))
    }
}

fn disagree(member: &ZipMember, what: &'static str) -> PackageError {
    ZipFlaw::Disagree(show(&member.name), what).into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::super::testing::{Stored, Tar, Zip, read};

    const CONDA: &str = "a-1-0.conda";

    fn said(bytes: &[u8]) -> String {
        read(bytes, CONDA, false).map_or_else(|error| error.to_string(), |_| "read".to_owned())
    }

    fn place_of(bytes: &[u8], signature: &[u8]) -> usize {
        let found = bytes.windows(4).rposition(|four| four == signature);
        found.unwrap()
    }

    /// The archive with other bytes at a distance from the last of these signatures.
    fn patched(zip: &Zip, signature: &[u8], at: usize, to: &[u8]) -> String {
        let mut bytes = zip.bytes();
        let start = place_of(&bytes, signature) + at;
        bytes[start..start + to.len()].copy_from_slice(to);
        said(&bytes)
    }

    fn info(change: impl FnOnce(&mut Stored)) -> String {
        said(&Zip::package().change(2, change).bytes())
    }

    #[test]
    fn whatever_says_encrypted_is_refused() {
        for flag in [1, 1 << 6, 1 << 13] {
            let found = info(|m| m.flags = flag);
            assert!(found.contains("is encrypted"), "{flag}: {found}");
        }
        // Names in UTF-8.
        assert_eq!(info(|m| m.flags = 1 << 11), "read");
    }

    #[test]
    fn what_a_directory_entry_may_say() {
        let entry = |at, to: &[u8]| patched(&Zip::package(), b"PK\x01\x02", at, to);
        for (at, to, says) in [
            (20, &[9][..], "disagree about its size"),
            (24, &[9], "disagree about its size"),
            (34, &[1, 0], "several volumes"),
            (34, &[0xff, 0xff], "read"),
            (32, &[1, 0], "malformed"),
        ] {
            let found = entry(at, to);
            assert!(found.contains(says), "{at}: {found}");
        }
        for name in ["", "a\0b"] {
            let zip = Zip::package().and(Stored::new(name, "x"));
            let found = said(&zip.bytes());
            assert!(found.contains("malformed"), "{name:?}: {found}");
        }
    }

    #[test]
    fn what_a_data_descriptor_may_say() {
        let deferred = |signed, wide, change: fn(&mut Stored)| {
            info(|m| {
                m.flags = 8;
                m.descriptor = Some((signed, wide));
                change(m);
            })
        };
        for (signed, wide) in [(false, false), (true, false), (false, true), (true, true)] {
            assert_eq!(deferred(signed, wide, |_| {}), "read");
            // Where none is announced, the same bytes belong to nothing.
            let stray = info(|m| {
                m.descriptor = Some((signed, wide));
                m.local_crc32 = Some(crc32fast::hash(&m.data));
                m.local_size = Some(m.data.len() as u32);
            });
            assert!(stray.contains("belong to no member"), "{stray}");
            // Numbers that are said at once, too, have to be right.
            let known = deferred(signed, wide, |m| {
                m.local_crc32 = Some(crc32fast::hash(&m.data));
                m.local_size = Some(m.data.len() as u32);
            });
            assert_eq!(known, "read");
            let found = deferred(signed, wide, |m| m.local_crc32 = Some(7));
            assert!(found.contains("its CRC-32"), "{found}");
            let found = deferred(signed, wide, |m| m.local_size = Some(7));
            assert!(found.contains("its size"), "{found}");
            let found = deferred(signed, wide, |m| m.descriptor_crc32 = Some(7));
            assert!(found.contains("its data descriptor"), "{found}");
        }
        let zip = Zip::package().change(2, |m| {
            m.flags = 8;
            m.descriptor = Some((true, true));
        });
        let descriptor = |at, to: &[u8]| patched(&zip, b"PK\x07\x08", at, to);
        assert_eq!(descriptor(0, b"PK\x07\x08"), "read");
        for (at, to) in [(0, &b"PK\x07\x09"[..]), (8, &[1]), (16, &[1])] {
            let found = descriptor(at, to);
            assert!(found.contains("its data descriptor"), "{at}: {found}");
        }
    }

    #[test]
    fn no_byte_belongs_to_no_member() {
        let between = |members: Vec<Stored>| {
            let zip = Zip {
                between: b"PK\x03\x04".to_vec(),
                ..Zip::of(members)
            };
            said(&zip.bytes())
        };
        assert!(between(vec![]).contains("belong to no member"));
        assert!(between(Zip::package().members).contains("belong to no member"));
        let overlapping = info(|m| m.extra = vec![0x99, 0x99, 1, 0, 0]);
        assert_eq!(
            overlapping, "read",
            "extra fields that nobody knows are passed over"
        );
        let twice = info(|m| {
            m.zip64 = true;
            m.extra = vec![1, 0, 0, 0];
        });
        assert!(twice.contains("malformed"), "{twice}");
    }

    #[test]
    fn a_member_may_not_reach_into_what_follows_it() {
        let name = "info-a-1-0.tar.zst";
        let size = Tar::info().zst().len() as u32;
        // A name in the local header alone would make the data end later; it disagrees first. Extra fields may differ.
        let mut bytes = Zip::package().bytes();
        let local = place_of(&bytes, b"PK\x03\x04");
        assert_eq!(bytes[local + 18..local + 22], size.to_le_bytes());
        bytes[local + 28] = 4;
        let found = said(&bytes);
        assert!(found.contains(name), "{found}");
        // Longer in both headers: within what the header takes beyond its least, and further.
        for (at, name) in [(1, "pkg-a-1-0.tar.zst"), (2, name)] {
            for more in [1, 2, 200] {
                let lie = |m: &mut Stored| m.lie = Some(m.data.len() as u32 + more);
                let found = said(&Zip::package().change(at, lie).bytes());
                let overlaps = format!("`{name}` overlaps what follows it");
                assert!(found.contains(&overlaps), "{found}");
            }
        }
    }

    #[test]
    fn what_the_end_record_may_say() {
        let end = |at, to: &[u8]| patched(&Zip::package(), b"PK\x05\x06", at, to);
        for (at, to, says) in [
            (4, &[0, 0][..], "read"),
            (4, &[1, 0], "several volumes"),
            (6, &[1, 0], "several volumes"),
            (8, &[2, 0], "several volumes"),
            (10, &[2, 0], "several volumes"),
            (8, &[2, 0, 2, 0], "number of members"),
            (12, &[1], "does not fit"),
            (16, &[1], "does not fit"),
            (20, &[1, 0], "end of its directory is missing"),
        ] {
            let found = end(at, to);
            assert!(found.contains(says), "{at}: {found}");
        }
    }

    #[test]
    fn what_the_two_end_records_may_say() {
        let zip = Zip {
            zip64: true,
            ..Zip::package()
        };
        let bytes = zip.bytes();
        let record = place_of(&bytes, b"PK\x06\x06");
        let number = |at: usize| bytes[record + at..record + at + 8].to_vec();
        let (size, start) = (number(40), number(48));
        let less = |number: &[u8]| [&[number[0].wrapping_sub(1)], &number[1..]].concat();
        let volumes = "several volumes";
        let unfit = "does not fit";
        // The old record beside a new one: each number is left to the new one, or the same.
        for (at, to, says) in [
            (4, &[0xff, 0xff, 0xff, 0xff][..], "read"),
            (4, &[1, 0], unfit),
            (6, &[1, 0], unfit),
            (8, &[3, 0], unfit),
            (8, &[3, 0, 3, 0], "read"),
            (8, &[2, 0, 2, 0], unfit),
            (12, &size[..4], "read"),
            (12, &less(&size)[..4], unfit),
            (16, &start[..4], "read"),
            (16, &less(&start)[..4], unfit),
        ] {
            let found = patched(&zip, b"PK\x05\x06", at, to);
            assert!(found.contains(says), "old, {at}: {found}");
        }
        for (at, to, says) in [
            (0, &b"PK\x06\x09"[..], unfit),
            (4, &[43], unfit),
            (4, &[45], unfit),
            (16, &[1], unfit),
            (20, &[1], unfit),
            (24, &[2], unfit),
            (32, &[2], unfit),
            (24, &[2, 0, 0, 0, 0, 0, 0, 0, 2], "number of members"),
            (40, &less(&size), unfit),
            (48, &less(&start), unfit),
        ] {
            let found = patched(&zip, b"PK\x06\x06", at, to);
            assert!(found.contains(says), "new, {at}: {found}");
        }
        let place = (record as u64).to_le_bytes();
        for (at, to, says) in [
            (4, &[1][..], volumes),
            (8, &less(&place), unfit),
            (8, &[0xff; 8], unfit),
            (16, &[0], "read"),
            (16, &[2], volumes),
        ] {
            let found = patched(&zip, b"PK\x06\x07", at, to);
            assert!(found.contains(says), "locator, {at}: {found}");
        }
        // Something between the two records.
        let mut apart = bytes;
        let locator = place_of(&apart, b"PK\x06\x07");
        apart.insert(locator, 0);
        let found = said(&apart);
        assert!(found.contains(unfit), "{found}");
    }
}
