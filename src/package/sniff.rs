//! What a file is by its first bytes. Owns the words for what it is instead of a package; must not decode
//! anything.

use super::{Format, PackageError};

/// Beginnings that are not packages, and what to say of them.
const OTHERS: &[(&[u8], &str)] = &[
    (b"\x1f\x8b", "is compressed by gzip"),
    (
        b"\x28\xb5\x2f\xfd",
        "is compressed by zstd, without the zip around it",
    ),
    (b"\xfd7zXZ\0", "is compressed by xz"),
    (b"7z\xbc\xaf\x27\x1c", "is a 7z archive"),
    (
        b"version https://git-lfs",
        "is a Git LFS pointer, not the file itself (`git lfs pull` fetches it)",
    ),
    (b"\x7fELF", "is a program"),
];

/// Makes sure that `head`, the first bytes of the file, can begin an archive of `expected`.
pub(super) fn require(expected: Format, head: &[u8]) -> Result<(), PackageError> {
    match format(head) {
        Some(really) if really == expected => Ok(()),
        Some(really) => Err(PackageError::OtherFormat { really }),
        None => Err(PackageError::NotThisFormat {
            expected,
            found: describe(head),
        }),
    }
}

fn format(head: &[u8]) -> Option<Format> {
    match head {
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => Some(Format::TarBz2),
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Some(Format::Conda),
        _ => None,
    }
}

fn describe(head: &[u8]) -> &'static str {
    let start = head.get(..512).unwrap_or(head);
    if let Some((_, what)) = OTHERS.iter().find(|(magic, _)| start.starts_with(magic)) {
        return what;
    }
    if start.get(257..262) == Some(b"ustar".as_slice()) {
        return "is a tar archive that is not compressed";
    }
    let text = start.trim_ascii_start();
    let begins = |word: &[u8]| {
        text.get(..word.len())
            .is_some_and(|found| found.eq_ignore_ascii_case(word))
    };
    if begins(b"<!doctype html") || begins(b"<html") {
        return "is an HTML page (a download that failed?)";
    }
    if text.starts_with(b"{") || text.starts_with(b"[") {
        return "looks like JSON (a download that failed?)";
    }
    if start
        .iter()
        .all(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..=0x7e))
    {
        return "is a text file";
    }
    if start.iter().all(|byte| *byte == 0) {
        return "begins with zeros (a copy that failed?)";
    }
    "begins with other bytes"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_is_instead_is_said() {
        let tar = [&[b'x'; 257][..], b"ustar\0"].concat();
        let almost_tar = [&[b'x'; 256][..], b"ustar\0"].concat();
        let text_and_more = [&[b'x'; 512][..], &[0xff]].concat();
        for (head, says) in [
            (&b"\x1f\x8b\x08"[..], "gzip"),
            (b"\x28\xb5\x2f\xfd\0", "zstd"),
            (b"\xfd7zXZ\0", "xz"),
            (b"7z\xbc\xaf\x27\x1c", "7z"),
            (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
            (b"\x7fELF", "a program"),
            (&tar, "not compressed"),
            (&almost_tar, "other bytes"),
            (b"\n <!DOCTYPE HTML>", "an HTML page"),
            (b"<HTML lang=x>", "an HTML page"),
            (b"<htm", "a text file"),
            (b" {\"a\":1}", "looks like JSON"),
            (b"[1]", "looks like JSON"),
            (b"Not found\tat all\r\n~", "a text file"),
            (&text_and_more, "a text file"),
            (b"Not found\x7f", "other bytes"),
            (b"\0\0\0", "zeros"),
            (b"\0\0\x01", "other bytes"),
            (b"BZh0", "a text file"),
            (b"BZh", "a text file"),
            (b"PK\x03\x05", "other bytes"),
            (b"PK\x05\x04", "other bytes"),
        ] {
            for format in [Format::TarBz2, Format::Conda] {
                let said = require(format, head).map_err(|error| error.to_string());
                let said = said.err().unwrap_or_default();
                assert!(said.contains(says), "{says}: {said}");
            }
        }
    }

    #[test]
    fn a_package_is_known_by_its_beginning() {
        for (head, format) in [
            (&b"BZh1"[..], Format::TarBz2),
            (b"BZh9 and more", Format::TarBz2),
            (b"PK\x03\x04", Format::Conda),
            (b"PK\x05\x06 and more", Format::Conda),
        ] {
            for expected in [Format::TarBz2, Format::Conda] {
                let fits = require(expected, head).is_ok();
                assert_eq!(fits, expected == format, "{head:?}");
            }
        }
    }
}
