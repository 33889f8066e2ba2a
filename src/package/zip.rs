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
