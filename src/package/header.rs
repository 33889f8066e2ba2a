//! One header of a tar, as every reader of tar takes it, or refused: its checksum, its kind of header, and where its
//! member's name stands. Owns its fields; must not know what follows the header.

use tar::Header;

use super::PackageError;

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
    let stored = header.cksum().map_err(|error| bad_number(&error))?;
    if sum != stored {
        return Err(flaw("the checksum of a header is wrong"));
    }
    match bytes.get(257..265) {
        Some(b"ustar\x0000") => Ok(()),
        Some([b'u', b's', b't', b'a', b'r', 0, ..]) => Err(flaw(
            "a header is of a version of ustar that few tools know; build it anew",
        )),
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

/// What the tar crate says holds pieces of the header, whatever they are.
pub(super) fn bad_number(error: &std::io::Error) -> PackageError {
    flaw(super::error::show(error.to_string().as_bytes()))
}

pub(super) fn flaw(reason: impl Into<String>) -> PackageError {
    PackageError::Tar {
        reason: reason.into(),
    }
}
