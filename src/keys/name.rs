//! The small validated values: a key's name, its fingerprint, the size of a key that is to be made.
//! They know nothing of files, and no path is built from a name before it is a [`KeyName`].

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use super::{DEFAULT_KEY_BITS, KeyError, MAX_KEY_BITS, MIN_KEY_BITS};
use crate::upstream::without_secrets;

/// The most characters that a key's name may have.
const MAX_NAME_CHARS: usize = 64;

/// The name of a key, which is the name of its file too.
///
/// It matches `[A-Za-z0-9][A-Za-z0-9._-]{0,63}` and does not end in `.pub`, so it can hold no path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(String);

impl KeyName {
    /// Reads a name.
    ///
    /// # Errors
    /// [`KeyError::Name`] when `text` is not a key's name; the message shows at most 64 characters
    /// of it, escaped.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let mut bytes = text.bytes();
        let first = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric());
        let rest = bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if first && rest && text.len() <= MAX_NAME_CHARS && !text.ends_with(".pub") {
            Ok(Self(text.to_owned()))
        } else {
            Err(KeyError::Name {
                name: shown(&without_secrets(text)),
            })
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for KeyName {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::parse(text)
    }
}

/// Text from outside made fit for a message: escaped, and cut.
pub(super) fn shown(text: &str) -> String {
    let mut out: String = text
        .chars()
        .take(MAX_NAME_CHARS)
        .flat_map(char::escape_default)
        .collect();
    if text.chars().nth(MAX_NAME_CHARS).is_some() {
        out.push_str("...");
    }
    out
}

/// The SHA-256 of a public key's DER SubjectPublicKeyInfo (RFC 5280, 4.1.2.7). It displays as 64
/// lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a DER SubjectPublicKeyInfo.
    pub(super) fn of_spki(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }

    /// Reads 64 lower-case hexadecimal digits.
    ///
    /// # Errors
    /// [`KeyError::Fingerprint`] when `text` is anything else.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let refused = || KeyError::Fingerprint { text: shown(text) };
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if !rest.is_empty() || pairs.len() != 32 {
            return Err(refused());
        }
        let mut bytes = [0; 32];
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte =
                hex_digit(*high).ok_or_else(refused)? << 4 | hex_digit(*low).ok_or_else(refused)?;
        }
        Ok(Self(bytes))
    }

    /// A fingerprint whose 32 bytes were remembered.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes of the hash.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        // Every record and every row of the cache names one: formatting byte by byte shows in a profile.
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            let digit = |value: u8| DIGITS.get(usize::from(value)).copied().unwrap_or_default();
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl FromStr for Fingerprint {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::parse(text)
    }
}

/// Whether a key below 2048 bits may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeakSizes {
    /// No: such a size is an error.
    Refuse,
    /// Yes, down to 1024 bits: someone asked for it in so many words.
    Allow,
}

/// The size of a key that is to be made, in bits: a multiple of 8 from 1024 to 16,384.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeySize(u32);

impl KeySize {
    /// Takes a size in bits.
    ///
    /// # Errors
    /// [`KeyError::SizeOutOfRange`], [`KeyError::SizeStep`], or [`KeyError::SizeWeak`] for a size
    /// below 2048 where `weak` refuses those.
    pub fn new(bits: u32, weak: WeakSizes) -> Result<Self, KeyError> {
        if !(MIN_KEY_BITS..=MAX_KEY_BITS).contains(&bits) {
            Err(KeyError::SizeOutOfRange { bits })
        } else if !bits.is_multiple_of(8) {
            Err(KeyError::SizeStep { bits })
        } else if bits < DEFAULT_KEY_BITS && weak == WeakSizes::Refuse {
            Err(KeyError::SizeWeak { bits })
        } else {
            Ok(Self(bits))
        }
    }

    /// The size in bits.
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl Default for KeySize {
    fn default() -> Self {
        Self(DEFAULT_KEY_BITS)
    }
}

impl fmt::Display for KeySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    #![allow(clippy::panic, clippy::string_slice)]
    use super::*;

    #[test]
    fn names_that_are_taken() {
        let long = "a".repeat(64);
        for name in [
            "a",
            "MyKey",
            "0",
            "a.b_c-d",
            "key.pub.old",
            "pub",
            long.as_str(),
        ] {
            assert_eq!(KeyName::parse(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn names_that_are_refused() {
        let long = "a".repeat(65);
        let cases = [
            "",
            ".",
            "..",
            "../x",
            "/tmp/x",
            "a/b",
            "a\\b",
            "a\0b",
            "a\n",
            "a b",
            "-a",
            ".a",
            "_a",
            "MyKey.pub",
            "a.pub",
            "é",
            "a\u{202e}b",
            "a:b",
            "~",
            long.as_str(),
        ];
        for name in cases {
            let error = KeyName::parse(name).expect_err(name);
            assert!(matches!(error, KeyError::Name { .. }), "{name:?}");
        }
    }

    #[test]
    fn a_refused_name_is_shown_escaped_and_cut() {
        let text = KeyName::parse("a\n\u{202e}\0").unwrap_err().to_string();
        assert!(text.contains(r"a\n\u{202e}\u{0}"), "{text}");
        let text = KeyName::parse(&"x".repeat(5000)).unwrap_err().to_string();
        assert!(text.len() < 400, "{text}");
    }

    #[test]
    fn fingerprints_go_to_text_and_back() {
        let print = Fingerprint::of_spki(b"");
        let text = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(print.to_string(), text);
        assert_eq!(Fingerprint::parse(text).unwrap(), print);
        assert_eq!(format!("{print:?}"), format!("Fingerprint({text})"));
        assert_eq!(print.as_bytes()[..4], [0xe3, 0xb0, 0xc4, 0x42]);
        assert_eq!(Fingerprint::from_bytes(*print.as_bytes()), print);
        for bad in [
            "",
            "e3",
            &text[1..],
            &text.to_uppercase(),
            &text.replace('e', "g"),
            &format!("{text}0"),
            "é",
        ] {
            assert!(Fingerprint::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes() {
        use WeakSizes::{Allow, Refuse};
        for (bits, weak, good) in [
            (2048, Refuse, true),
            (2056, Refuse, true),
            (16_384, Refuse, true),
            (1024, Allow, true),
            (2040, Allow, true),
            (0, Allow, false),
            (512, Allow, false),
            (1016, Allow, false),
            (1024, Refuse, false),
            (2040, Refuse, false),
            (2049, Refuse, false),
            (2049, Allow, false),
            (16_392, Allow, false),
            (1_000_000, Allow, false),
            (u32::MAX, Allow, false),
        ] {
            assert_eq!(KeySize::new(bits, weak).is_ok(), good, "{bits}");
        }
        assert_eq!(KeySize::default().bits(), 2048);
        assert_eq!(KeySize::default().to_string(), "2048");
    }
}
