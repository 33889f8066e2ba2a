//! The end records of a zip: where the directory stands and how many members it has. Owns which records must agree;
//! must not know the directory's entries.

use super::fields::{Fields, SEE64, SEE64_SHORT, slice};
use crate::package::error::ZipFlaw;

const END: u32 = 0x0605_4b50;
const END64: u32 = 0x0606_4b50;
const LOCATOR64: u32 = 0x0706_4b50;

const LOCATOR64_SIZE: usize = 20;
/// Of the record's fixed part, signature and length field included.
const END64_SIZE: u64 = 56;

/// Where the directory stands and how many members it has.
pub(super) struct Directory {
    pub(super) start: u64,
    pub(super) size: u64,
    pub(super) count: u64,
}

/// Reads them from `tail`, the end of a file, which begins at `tail_start`.
pub(super) fn directory(tail: &[u8], tail_start: u64) -> Result<Directory, ZipFlaw> {
    // The last signature counts, as it does for all readers; a comment that holds one hides the true record.
    let at = tail
        .windows(4)
        .rposition(|four| four == END.to_le_bytes())
        .ok_or(ZipFlaw::NoEnd)?;
    let mut fields = Fields(tail.get(at.saturating_add(4)..).unwrap_or_default());
    let disks = [fields.u16(), fields.u16()];
    let here = fields.u16().ok_or(ZipFlaw::NoEnd)?;
    let total = fields.u16().ok_or(ZipFlaw::NoEnd)?;
    let size = fields.u32().ok_or(ZipFlaw::NoEnd)?;
    let start = fields.u32().ok_or(ZipFlaw::NoEnd)?;
    let comment = usize::from(fields.u16().ok_or(ZipFlaw::NoEnd)?);
    if fields.0.len() != comment {
        let cut = fields.0.len() < comment;
        return Err(if cut {
            ZipFlaw::NoEnd
        } else {
            ZipFlaw::BytesBehind
        });
    }
    let end = tail_start.saturating_add(at as u64);
    let classic = Directory {
        start: u64::from(start),
        size: u64::from(size),
        count: u64::from(total),
    };
    if let Some((wide, end)) = directory64(tail, tail_start, at)? {
        let same = |short: bool, a: u64, b: u64| short || a == b;
        let agrees = here == total
            && same(total == SEE64_SHORT, classic.count, wide.count)
            && same(size == SEE64, classic.size, wide.size)
            && same(start == SEE64, classic.start, wide.start)
            && disks
                .iter()
                .all(|disk| matches!(disk, Some(0 | SEE64_SHORT)));
        return if agrees {
            ends_at(wide, end)
        } else {
            Err(ZipFlaw::End)
        };
    }
    if disks != [Some(0); 2] || here != total {
        return Err(ZipFlaw::Volumes);
    }
    ends_at(classic, end)
}

/// The directory reaches exactly to its end record.
fn ends_at(directory: Directory, end: u64) -> Result<Directory, ZipFlaw> {
    match directory.start.checked_add(directory.size) {
        Some(sum) if sum == end => Ok(directory),
        _ => Err(ZipFlaw::End),
    }
}

/// What the zip64 end record says, and where it stands, if a locator stands before the end record at `at`.
fn directory64(
    tail: &[u8],
    tail_start: u64,
    at: usize,
) -> Result<Option<(Directory, u64)>, ZipFlaw> {
    let Some(locator_at) = at.checked_sub(LOCATOR64_SIZE) else {
        return Ok(None);
    };
    let mut fields = Fields(tail.get(locator_at..at).unwrap_or_default());
    if fields.u32() != Some(LOCATOR64) {
        return Ok(None);
    }
    let disk = fields.u32();
    let start = fields.u64().ok_or(ZipFlaw::End)?;
    let disks = fields.u32();
    if disk != Some(0) || !matches!(disks, Some(0 | 1)) {
        return Err(ZipFlaw::Volumes);
    }
    let in_tail = start.checked_sub(tail_start).ok_or(ZipFlaw::End)?;
    let mut fields = Fields(slice(tail, in_tail, END64_SIZE).ok_or(ZipFlaw::End)?);
    let signature = fields.u32();
    let length = fields.u64();
    let _versions = fields.u32();
    let disks = [fields.u32(), fields.u32()];
    let here = fields.u64();
    let count = fields.u64().ok_or(ZipFlaw::End)?;
    let size = fields.u64().ok_or(ZipFlaw::End)?;
    let directory_start = fields.u64().ok_or(ZipFlaw::End)?;
    let locator = tail_start.saturating_add(locator_at as u64);
    let fits = signature == Some(END64)
        // The length field counts neither the signature nor itself.
        && length == Some(END64_SIZE.saturating_sub(12))
        && start.checked_add(END64_SIZE) == Some(locator)
        && disks == [Some(0); 2]
        && here == Some(count);
    if !fits {
        return Err(ZipFlaw::End);
    }
    Ok(Some((
        Directory {
            start: directory_start,
            size,
            count,
        },
        start,
    )))
}
