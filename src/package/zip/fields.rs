//! Numbers in zip records. Owns their byte order and the zip64 rule for numbers that do not fit; must not know which
//! record holds what.

/// Says "see the zip64 field" in a 32-bit or 16-bit number.
pub(super) const SEE64: u32 = u32::MAX;
pub(super) const SEE64_SHORT: u16 = u16::MAX;
const EXTRA_ZIP64: u16 = 0x0001;
/// Gives another name to those who know it.
const EXTRA_UNICODE_PATH: u16 = 0x7075;

/// Little-endian numbers in a row; `None` where the bytes end.
pub(super) struct Fields<'b>(pub(super) &'b [u8]);

impl<'b> Fields<'b> {
    pub(super) fn bytes(&mut self, count: usize) -> Option<&'b [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// The number that a 32-bit field stands for, where `self` holds the zip64 numbers in their order.
    pub(super) fn widen(&mut self, short: u32) -> Option<u64> {
        if short == SEE64 {
            self.u64()
        } else {
            Some(u64::from(short))
        }
    }
}

/// The zip64 numbers of an extra field; none where there is no such field. `None`: malformed, or with another
/// name for those who know it.
pub(super) fn zip64_field(extra: &[u8]) -> Option<Fields<'_>> {
    let mut input = Fields(extra);
    let mut zip64 = None;
    while !input.0.is_empty() {
        let id = input.u16()?;
        let length = input.u16()?;
        let data = input.bytes(usize::from(length))?;
        let again = id == EXTRA_ZIP64 && zip64.replace(data).is_some();
        if again || id == EXTRA_UNICODE_PATH {
            return None;
        }
    }
    Some(Fields(zip64.unwrap_or_default()))
}

/// `length` bytes from `start` on, if they are there.
pub(super) fn slice(bytes: &[u8], start: u64, length: u64) -> Option<&[u8]> {
    let start = usize::try_from(start).ok()?;
    let end = start.checked_add(usize::try_from(length).ok()?)?;
    bytes.get(start..end)
}
