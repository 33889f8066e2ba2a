//! Signatures: the form of a `.sig` file, holding one against the keys that are trusted, and making
//! one. It knows keys, and nothing of packages, channels or where a `.sig` file lies.

mod check;
mod exec;
#[cfg(feature = "pkcs11")]
mod pkcs11;
mod probe;
mod purpose;
mod signer;

pub use check::{Check, InvalidReason, check};
pub use exec::{ExecError, ExecFault, ExecPlan, ExecSigner, Group};
#[cfg(feature = "pkcs11")]
pub use pkcs11::{Pkcs11Error, Pkcs11Plan, Pkcs11Signer, Uri, UriFault};
pub use purpose::{is_metadata, reads_as_metadata};
pub use signer::{AwsLcSigner, RsaSigner, SignError, Signer, local_signer, sign};

use base64ct::{Base64, Encoding};
use thiserror::Error;

use crate::keys::{KeyError, KeyName};

/// The most bytes that a `.sig` file may have. The signature of the largest key takes 2,732
/// characters and its name 64, so there is nothing to read behind this.
pub const MAX_SIG_BYTES: usize = 8 * 1024;

/// A detached signature, as the file `FILE.sig` holds it: `NAME BASE64\n`.
///
/// The value is an RSASSA-PSS signature (RFC 8017, 8.1) with SHA-256, MGF1-SHA-256 and a salt of 32
/// bytes over the file's bytes. Whether it is valid is not known before [`check()`] said so; the name
/// of its key is a good name in any case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The name of the key that is said to have made it.
    pub key: KeyName,
    /// The signature's bytes.
    pub value: Vec<u8>,
}

/// Why the content of a `.sig` file is not read as a signature.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SignatureFault {
    /// It is longer than [`MAX_SIG_BYTES`].
    #[error("the signature file is longer than 8 KiB, so it is none")]
    TooLong,
    /// It is empty.
    #[error("the signature file is empty")]
    Empty,
    /// It is not printable ASCII on one line, the words parted by one space each.
    #[error("the signature file is not one line of the form `NAME BASE64`, with a single space")]
    NotOneLine,
    /// It has one word, or more than two.
    #[error("the signature file has the wrong number of words ({found}): it is `NAME BASE64`")]
    WordCount {
        /// How many words there are.
        found: usize,
    },
    /// Its first word is not a key's name.
    #[error("the signature file names no key: {0}")]
    KeyName(KeyError),
    /// Its second word is not padded base64 (RFC 4648, 4) in its one canonical form.
    #[error("the signature is not base64")]
    Base64,
}

impl Signature {
    /// Reads the content of a `.sig` file: exactly two words, one space between them. One line end
    /// (LF or CRLF) may follow, and need not.
    ///
    /// # Errors
    /// [`SignatureFault`] says what is wrong; nothing is decoded before the key's name is found good.
    pub fn parse(bytes: &[u8]) -> Result<Self, SignatureFault> {
        if bytes.len() > MAX_SIG_BYTES {
            return Err(SignatureFault::TooLong);
        }
        let line = one_line(bytes)?;
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            words if words.contains(&"") => Err(SignatureFault::NotOneLine),
            [name, value] => {
                let key = KeyName::parse(name).map_err(SignatureFault::KeyName)?;
                let value = Base64::decode_vec(value).map_err(|_| SignatureFault::Base64)?;
                Ok(Self { key, value })
            }
            words => Err(SignatureFault::WordCount { found: words.len() }),
        }
    }

    /// The content of the `.sig` file.
    pub fn to_file_bytes(&self) -> Vec<u8> {
        format!("{} {}\n", self.key, self.to_base64()).into_bytes()
    }

    /// The value as padded base64 (RFC 4648, 4), on one line.
    pub fn to_base64(&self) -> String {
        Base64::encode_string(&self.value)
    }
}

/// The line without its end, when it is printable ASCII and spaces.
fn one_line(bytes: &[u8]) -> Result<&str, SignatureFault> {
    let line = match bytes {
        [line @ .., b'\r', b'\n'] | [line @ .., b'\n'] => line,
        line => line,
    };
    if line.is_empty() {
        return Err(SignatureFault::Empty);
    }
    let plain = line.iter().all(|b| b.is_ascii_graphic() || *b == b' ');
    std::str::from_utf8(line)
        .ok()
        .filter(|_| plain)
        .ok_or(SignatureFault::NotOneLine)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    #![allow(clippy::panic, clippy::string_slice)]
    use super::*;

    #[test]
    fn the_form_goes_there_and_back() {
        let signature = Signature::parse(b"MyKey AAEC\n").unwrap();
        assert_eq!(signature.key.as_str(), "MyKey");
        assert_eq!(signature.value, [0, 1, 2]);
        assert_eq!(signature.to_base64(), "AAEC");
        assert_eq!(signature.to_file_bytes(), b"MyKey AAEC\n");
        for same in ["MyKey AAEC", "MyKey AAEC\r\n"] {
            assert_eq!(Signature::parse(same.as_bytes()).unwrap(), signature);
        }
    }

    #[test]
    fn what_is_longer_than_the_limit_is_not_looked_at() {
        assert_eq!(MAX_SIG_BYTES, 8192);
        let of = |bytes: usize| format!("MyKey {}", "A".repeat(bytes - "MyKey ".len()));
        let fault = |bytes| Signature::parse(of(bytes).as_bytes()).unwrap_err();
        // The last length that is read; it is a multiple of four, less the name, and so no base64.
        assert!(matches!(fault(MAX_SIG_BYTES), SignatureFault::Base64));
        assert!(matches!(fault(MAX_SIG_BYTES + 1), SignatureFault::TooLong));
    }

    #[test]
    fn what_is_no_signature_file() {
        let long = format!("MyKey {}", "A".repeat(MAX_SIG_BYTES));
        let cases: &[(&[u8], &str)] = &[
            (b"", "empty"),
            (b"\n", "empty"),
            (b"\r\n", "empty"),
            (long.as_bytes(), "longer"),
            (b"AAEC\n", "words (1)"),
            (b"MyKey AAEC AAEC\n", "words (3)"),
            (b"MyKey\n", "words (1)"),
            (b"MyKey \n", "one line"),
            (b" MyKey AAEC\n", "one line"),
            (b"MyKey AAEC \n", "one line"),
            (b"MyKey  AAEC\n", "one line"),
            (b"MyKey\tAAEC\n", "one line"),
            (b"MyKey AAEC\n\n", "one line"),
            (b"MyKey AAEC\r", "one line"),
            (b"MyKey AAEC\nMore\n", "one line"),
            (b"MyKey AA\nEC\n", "one line"),
            (b"MyKey A\0EC\n", "one line"),
            (b"\xef\xbb\xbfMyKey AAEC\n", "one line"),
            (b"My\xffKey AAEC\n", "one line"),
            (b"../keys/MyKey AAEC\n", "not a key's name"),
            (b"/tmp/x AAEC\n", "not a key's name"),
            (b"MyKey.pub AAEC\n", "not a key's name"),
            (b"MyKey AAE\n", "not base64"),
            (b"MyKey AA==AA==\n", "not base64"),
            (b"MyKey AAF=\n", "not base64"),
            (b"MyKey AA\n", "not base64"),
            (b"MyKey AA-_\n", "not base64"),
            (b"MyKey !!!!\n", "not base64"),
            (b"MyKey ====\n", "not base64"),
        ];
        for (bytes, part) in cases {
            let shown = String::from_utf8_lossy(bytes);
            let fault = Signature::parse(bytes).expect_err(&shown).to_string();
            assert!(fault.contains(part), "{shown:?}: {fault}");
        }
    }
}
