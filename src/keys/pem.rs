//! One PEM block (RFC 7468) and nothing around it. It knows labels and base64, not what a key is.

use pkcs8::der::pem;
use thiserror::Error;
use zeroize::Zeroizing;

const BEGIN: &[u8] = b"-----BEGIN ";
const DASHES: &[u8] = b"-----";
/// RFC 1421's header of an encrypted block, as OpenSSL's traditional form still writes it.
const PROC_TYPE: &[u8] = b"\nProc-Type:";

/// Why a text is not one whole PEM block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PemFault {
    /// There is no PEM block.
    #[error("it is not a PEM file, which begins with a line like `-----BEGIN PUBLIC KEY-----`")]
    NotPem,
    /// Something stands before or behind the block, or there are several.
    #[error(
        "there is something else in the file before or behind the PEM block; leave just the one block"
    )]
    Junk,
    /// The line ends are a backslash and an `n`, as in a text quoted for JSON.
    #[error(
        "its line ends are written as a backslash and `n`; give it with real line ends, as in the file"
    )]
    EscapedLineEnds,
    /// The base64 or the last line is not what RFC 7468 asks for.
    #[error(
        "its PEM block is damaged: lines of 64 base64 characters between a BEGIN and an END line are expected; `openssl pkey` (with `-pubin` for a public key) writes a good one anew"
    )]
    Damaged,
}

/// A PEM block whose label is known and whose content is not yet decoded.
#[derive(Clone, Copy)]
pub(super) struct Pem<'a> {
    label: &'a str,
    text: &'a [u8],
}

impl<'a> Pem<'a> {
    /// Finds the block in `bytes`; white space may stand around it, and nothing else.
    pub(super) fn find(bytes: &'a [u8]) -> Result<Self, PemFault> {
        let text = bytes.trim_ascii();
        let Some(after) = text.strip_prefix(BEGIN) else {
            let further = count(text, BEGIN) > 0;
            return Err(if further {
                PemFault::Junk
            } else {
                PemFault::NotPem
            });
        };
        let label = label(after).ok_or(PemFault::NotPem)?;
        if count(text, b"-----\\n") > 0 {
            return Err(PemFault::EscapedLineEnds);
        }
        if count(text, BEGIN) > 1 {
            return Err(PemFault::Junk);
        }
        let end = format!("-----END {label}-----");
        if !text.ends_with(end.as_bytes()) {
            let further = count(text, end.as_bytes()) > 0;
            return Err(if further {
                PemFault::Junk
            } else {
                PemFault::Damaged
            });
        }
        Ok(Self { label, text })
    }

    /// The label, printable ASCII of at most 40 characters.
    pub(super) fn label(&self) -> &'a str {
        self.label
    }

    /// Whether the block has the header of OpenSSL's traditional encryption.
    pub(super) fn is_traditionally_encrypted(&self) -> bool {
        count(self.text, PROC_TYPE) > 0
    }

    /// The bytes that the block holds.
    pub(super) fn decode(&self) -> Result<Zeroizing<Vec<u8>>, PemFault> {
        let (_, der) = pem::decode_vec(self.text).map_err(|_| PemFault::Damaged)?;
        Ok(Zeroizing::new(der))
    }
}

/// Whether a file that begins with `head` is a private key of any kind, by its label alone.
pub(super) fn begins_like_private_key(head: &[u8]) -> bool {
    let after = head.trim_ascii_start().strip_prefix(BEGIN);
    after
        .and_then(label)
        .is_some_and(|label| label.ends_with("PRIVATE KEY"))
}

/// The label that `after`, the text behind `-----BEGIN `, starts with.
fn label(after: &[u8]) -> Option<&str> {
    let length = after
        .windows(DASHES.len())
        .take(41)
        .position(|w| w == DASHES)?;
    let label = std::str::from_utf8(after.get(..length)?).ok()?;
    let plain = label
        .bytes()
        .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b" .#_".contains(&b));
    plain.then_some(label)
}

/// How often `part` stands in `text`.
fn count(text: &[u8], part: &[u8]) -> usize {
    text.windows(part.len()).filter(|w| *w == part).count()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    #![allow(clippy::panic, clippy::string_slice)]
    use super::*;

    const GOOD: &str = "-----BEGIN PUBLIC KEY-----\nAAEC\n-----END PUBLIC KEY-----\n";

    #[test]
    fn one_block_with_white_space_around() {
        for text in [
            GOOD.to_owned(),
            GOOD.trim_end().to_owned(),
            format!("\n {GOOD}\r\n\n"),
            GOOD.replace('\n', "\r\n"),
        ] {
            let pem = Pem::find(text.as_bytes()).expect(&text);
            assert_eq!(pem.label(), "PUBLIC KEY");
            assert_eq!(**pem.decode().expect(&text), [0, 1, 2]);
        }
    }

    #[test]
    fn what_is_not_one_block() {
        let end = "-----END PUBLIC KEY-----";
        for (text, fault) in [
            (String::new(), PemFault::NotPem),
            ("ssh-rsa AAAA".to_owned(), PemFault::NotPem),
            ("-----BEGIN ".to_owned(), PemFault::NotPem),
            ("-----BEGIN \u{7}-----\n".to_owned(), PemFault::NotPem),
            (
                format!("-----BEGIN {}-----\n", "A".repeat(50)),
                PemFault::NotPem,
            ),
            (format!("x\n{GOOD}"), PemFault::Junk),
            (format!("{GOOD}x"), PemFault::Junk),
            (format!("{GOOD}{GOOD}"), PemFault::Junk),
            (GOOD.replace(end, ""), PemFault::Damaged),
            (
                GOOD.replace(end, "-----END PRIVATE KEY-----"),
                PemFault::Damaged,
            ),
        ] {
            assert_eq!(Pem::find(text.as_bytes()).err(), Some(fault), "{text:?}");
        }
        for text in [
            GOOD.replace("AAEC", "AA!C"),
            GOOD.replace("AAEC", "AAE"),
            GOOD.replace("AAEC", "A: b\n\nAAEC"),
        ] {
            assert_eq!(
                Pem::find(text.as_bytes()).unwrap().decode().err(),
                Some(PemFault::Damaged),
                "{text:?}"
            );
        }
    }

    #[test]
    fn labels_of_private_keys() {
        for label in [
            "PRIVATE KEY",
            "RSA PRIVATE KEY",
            "ENCRYPTED PRIVATE KEY",
            "OPENSSH PRIVATE KEY",
        ] {
            assert!(begins_like_private_key(
                format!("-----BEGIN {label}-----\n").as_bytes()
            ));
        }
        for head in [
            "",
            "-----BEGIN PUBLIC KEY-----",
            "-----BEGIN PRIVATE KEY",
            "x-----BEGIN PRIVATE KEY-----",
        ] {
            assert!(!begins_like_private_key(head.as_bytes()), "{head}");
        }
    }
}
