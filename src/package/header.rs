//! One header of a tar, as every reader of tar takes it, or refused: its checksum, its kind of header, and where its
//! member's name stands. Owns its fields; must not know what follows the header.

use tar::Header;

use super::PackageError;
use super::error::show;

/// The second half of a long name, in the newest kind of header; other kinds have other things there.
const PREFIX: usize = 345;

/// Demands a checksum that is right and a name that stands where all readers look for it.
pub(super) fn check(header: &Header) -> Result<(), PackageError> {
    let bytes = header.as_bytes();
    // The checksum counts its own field (bytes 148 to 155) as spaces (POSIX.1-2024, pax, ustar).
    let sum = bytes.iter().enumerate().fold(0u32, |sum, (at, byte)| {
        let counted = match at {
            148..156 => b' ',
            _ => *byte,
        };
        sum.saturating_add(u32::from(counted))
    });
    if octal(&header.as_old().cksum) != Some(u64::from(sum)) {
        return Err(flaw("the checksum of a header is wrong"));
    }
    match bytes.get(257..265) {
        Some(b"ustar\x0000") => Ok(()),
        Some([b'u', b's', b't', b'a', b'r', 0, ..]) => Err(flaw(
            "a header is of a version of ustar that few tools know; build it anew",
        )),
        // To some readers they are members then, of the names that they have themselves.
        magic
            if magic != Some(b"ustar  \0") && matches!(kind(header), b'L' | b'K' | b'x' | b'g') =>
        {
            Err(flaw(
                "a header of the oldest form describes another member; build it anew",
            ))
        }
        // Some put it before the name in headers of every kind but of GNU's own types (Python), some in no other (GNU tar).
        _ if bytes.get(PREFIX) != Some(&0) && !matches!(kind(header), b'L' | b'K' | b'S') => Err(
            flaw("a header has half a name where only ustar has one; build it anew"),
        ),
        _ => Ok(()),
    }
}

fn kind(header: &Header) -> u8 {
    header.entry_type().as_byte()
}

/// How many bytes the archive holds for the member.
pub(super) fn size(header: &Header) -> Result<u64, PackageError> {
    let field = &header.as_old().size;
    let size = match field {
        // Left empty.
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] => Some(0),
        // Too large for octal digits. Readers that count in 64 bits with a sign stop at their end.
        [0x80, 0, 0, 0, bytes @ ..] => {
            Some(u64::from_be_bytes(*bytes)).filter(|size| i64::try_from(*size).is_ok())
        }
        _ => octal(field),
    };
    size.ok_or_else(|| {
        let (field, name) = (show(field), show(&header.path_bytes()));
        flaw(format!(
            "the size of `{name}` is no number that all readers take alike (`{field}`); build it anew"
        ))
    })
}

/// Octal digits behind spaces, and nothing but spaces and NULs behind them. Readers differ about all else: about signs,
/// other white space, and what stands behind the first NUL.
fn octal(field: &[u8]) -> Option<u64> {
    let start = field.iter().position(|byte| *byte != b' ')?;
    let text = field.get(start..)?;
    let behind = |byte: &u8| !matches!(byte, b'0'..=b'7');
    let end = text.iter().position(behind).unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(end)?;
    if digits.is_empty() || rest.iter().any(|byte| !matches!(byte, 0 | b' ')) {
        return None;
    }
    // Twelve of them have 36 bits.
    let append = |number: u64, digit: &u8| number << 3 | u64::from(digit & 7);
    Some(digits.iter().fold(0, append))
}

pub(super) fn flaw(reason: impl Into<String>) -> PackageError {
    PackageError::Tar {
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_digits_between_spaces_and_nothing_else() {
        for (field, number) in [
            (&b"00000000017\0"[..], Some(15)),
            (b"777777777777", Some(0o777_777_777_777)),
            (b"         17 ", Some(15)),
            (b"17 \0\0 \0", Some(15)),
            (b"0", Some(0)),
            (b"", None),
            (b"        ", None),
            (b"\0\0\0\0", None),
            (b"\x0017", None),
            (b"+17\0", None),
            (b"-17\0", None),
            (b"0o17\0", None),
            (b"1_7\0", None),
            (b"18\0", None),
            (b"\t17\0", None),
            (b"17\t\0", None),
            (b"17\n\0", None),
            (b"1 7\0", None),
            (b"17\x007", None),
            (b"\x8017", None),
        ] {
            assert_eq!(octal(field), number, "{field:?}");
        }
    }

    #[test]
    fn sizes_that_are_too_large_for_digits_stand_in_bytes() {
        let mut header = Header::new_ustar();
        for (field, number) in [
            ([0; 12], Some(0)),
            ([0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2], Some(258)),
            (
                [0x80, 0, 0, 0, 0x7f, 255, 255, 255, 255, 255, 255, 255],
                Some(u64::MAX / 2),
            ),
            ([0x80, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0], None),
            ([0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1], None),
            ([0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], None),
            ([0x81, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], None),
            ([0xff; 12], None),
            (*b"00000000017\0", Some(15)),
            (*b"           \0", None),
        ] {
            header.as_old_mut().size = field;
            assert_eq!(size(&header).ok(), number, "{field:?}");
        }
    }
}
