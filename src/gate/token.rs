//! The secret in the gate's paths, for machines with several users. Owns its form and its comparison, which takes
//! as long for a near miss as for any other; it is printed in no other way than as part of the gate's address.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::error::Error;
use crate::record::hex;

/// The bytes of a token that is made here.
const BYTES: usize = 16;

/// How many letters a token has.
const LENGTHS: std::ops::RangeInclusive<usize> = 16..=128;

/// A secret that stands in the path of every request.
#[derive(Clone)]
pub struct Token {
    text: String,
    digest: [u8; 32],
}

impl Token {
    /// Makes one that nobody can guess.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub fn make() -> Result<Token, Error> {
        let mut bytes = [0; BYTES];
        let flags = rustix::rand::GetRandomFlags::empty();
        match rustix::rand::getrandom(&mut bytes, flags) {
            Ok(BYTES) => Ok(Token::of(hex(&bytes))),
            _ => Err(Error::Environment(
                "the system gives no random bytes for a token; name one with --token-file"
                    .to_owned(),
            )),
        }
    }

    /// Takes one of the operator's. Letters, digits and `-`: conda knows such as a secret, and hides it.
    ///
    /// # Errors
    /// When it has another form. It is not quoted.
    pub fn parse(text: &str) -> Result<Token, Error> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if LENGTHS.contains(&text.len()) && text.bytes().all(is_plain) {
            return Ok(Token::of(text.to_owned()));
        }
        Err(Error::Usage(format!(
            "the gate's token needs {} to {} letters, digits and `-`, and nothing else",
            LENGTHS.start(),
            LENGTHS.end()
        )))
    }

    fn of(text: String) -> Token {
        let digest = Sha256::digest(&text).into();
        Token { text, digest }
    }

    /// What stands before everything else in a path: `t/TOKEN/`.
    pub(super) fn prefix(&self) -> String {
        format!("t/{}/", self.text)
    }

    /// Whether a word of a request is this token. Digests are compared: how long that takes tells nothing of the
    /// token itself.
    pub(super) fn is(&self, word: &str) -> bool {
        let other: [u8; 32] = Sha256::digest(word).into();
        self.digest == other
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_token_is_a_secret_of_plain_letters() {
        let (one, other) = (Token::make().unwrap(), Token::make().unwrap());
        assert_ne!(one.text, other.text);
        assert!(one.is(&one.text) && !one.is(&other.text) && !one.is(""));
        assert!(Token::parse(&one.text).unwrap().is(&one.text));
        assert_eq!(format!("{one:?}"), "Token");
        for bad in [
            "",
            "short",
            "with/slash/0123456789",
            "ünïcödé-0123456789",
            &"a".repeat(129),
        ] {
            let error = Token::parse(bad).unwrap_err().to_string();
            assert!(bad.is_empty() || !error.contains(bad), "{error}");
        }
    }
}
