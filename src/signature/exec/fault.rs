//! What can go wrong with a command that signs, and what to do about it. No message holds what may be a secret in the
//! command's words.

use std::time::Duration;

use thiserror::Error;

use super::message::MAX_ANSWER;
use crate::keys::{KeyName, PublicKeyFault};

/// Why a command did not sign.
#[derive(Debug, Clone, Error)]
#[error("the signing command `{command}`: {fault}")]
pub struct ExecError {
    /// The beginning of the command.
    pub command: String,
    /// What happened.
    pub fault: ExecFault,
}

/// What happened to a command that signs.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum ExecFault {
    /// It could not be started.
    #[error("/bin/sh can't be started for it: {0}")]
    Start(String),
    /// It ended before it had answered.
    #[error(
        "it ended ({0}) with requests still open; what it said itself stands above. Let it read lines until there are no more"
    )]
    Ended(String),
    /// It closed its standard input or output.
    #[error(
        "it runs on and closed its standard input or output; let it read requests from the one and answer on the other until there are no more"
    )]
    Closed,
    /// An answer did not come in time.
    #[error(
        "no answer for {} s. It has to answer every line at once, with one line, and to flush its output; if the key is just slow, allow more with --key-timeout SECONDS",
        .0.as_secs_f32()
    )]
    Late(Duration),
    /// An answer has no end.
    #[error("a line of its answer is longer than {MAX_ANSWER} bytes; one line of JSON is expected")]
    TooLong,
    /// It said something that nobody asked for.
    #[error(
        "it answered more than it was asked; a line for each request, and nothing else, goes to standard output (and messages for people to standard error)"
    )]
    Unasked,
    /// What it said is not an answer.
    #[error(
        "its answer is not one: {0}. Expected is a line {{\"signature\":\"BASE64\",\"public_key\":\"PEM\"}}, or {{\"error\":\"WHY\"}}"
    )]
    NotAnAnswer(String),
    /// It can't or won't sign.
    #[error("it refused: {0}")]
    Refused(String),
    /// Nobody said how the key is called.
    #[error(
        "neither you nor its answer (`\"key\"`) named the key; name it with --key-name NAME, or $SIGINDEX_INDEX_KEY_NAME where it signs the index"
    )]
    NoName,
    /// It signed with a key of another name.
    #[error("it was asked for the key {wanted} and answered for `{found}`")]
    OtherName {
        /// The name asked for.
        wanted: KeyName,
        /// The name answered, escaped.
        found: String,
    },
    /// The public key it gave can't be used.
    #[error("the public key in its answer can't be used: {0}")]
    PublicKey(PublicKeyFault),
    /// The public key changed.
    #[error(
        "its answers hold different public keys: the key was changed meanwhile; run again, and it begins with the new one"
    )]
    OtherKey,
    /// The first signature has another length than the key's.
    #[error(
        "its signature has {found} bytes, and one by the public key in its answer has {expected}: it signs with another key, or this is no RSA signature"
    )]
    Length {
        /// The signature's length in bytes.
        found: usize,
        /// The length that fits the key.
        expected: usize,
    },
    /// The first signature does not verify.
    #[error(
        "the public key in its answer does not verify its signature: it signs with another key, or in another scheme than RSASSA-PSS with SHA-256, MGF1 with SHA-256 and a salt of 32 bytes, or it hashes the digest once more"
    )]
    Scheme,
    /// A later signature does not verify.
    #[error(
        "its signature is not one of the digest that it was asked for; answers have to come in the order of the requests"
    )]
    Mismatch,
    /// The run is to stop.
    #[error("interrupted")]
    Interrupted,
}

/// The most characters that are shown of a text that a command gave.
const SHOWN: usize = 400;

/// A text of a command's, fit for one line of a message.
pub(super) fn one_line(text: &str) -> String {
    let text: String = text.trim().chars().take(SHOWN).collect();
    crate::shown::line(&text)
}

/// The first words of a command, as far as they are plain names of files: what follows may be anything, a token too.
pub(super) fn shown(command: &str) -> String {
    let is_plain = |word: &&str| {
        let plain = |c: char| c.is_alphanumeric() || "/._+~-".contains(c);
        !word.starts_with('-') && word.chars().all(plain)
    };
    let all = command.split_whitespace();
    let words: Vec<&str> = all.clone().take(2).take_while(is_plain).collect();
    match words.len() < all.count() {
        true => format!("{} …", words.join(" ")).trim_start().to_owned(),
        false => words.join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_of_a_command_is_shown_than_names_it() {
        for (command, said) in [
            ("sign.py", "sign.py"),
            ("python3 /opt/sign.py", "python3 /opt/sign.py"),
            ("sh sign.sh key.pem", "sh sign.sh …"),
            ("TOKEN=abc sh sign.sh", "…"),
            ("TOKEN='a secret' sh", "…"),
            ("curl -u user:pass https://x", "curl …"),
            ("curl https://user:pass@x", "curl …"),
            ("'a b' c", "…"),
            ("  ", ""),
        ] {
            assert_eq!(shown(command), said, "{command}");
        }
        assert_eq!(one_line(" a\u{1b}[2J\nb "), "a\\u{1b}[2J\\nb");
        assert_eq!(one_line(&"x".repeat(1000)).len(), SHOWN);
    }
}
