//! Other programs that are started: what they do not get to see. Owns which variables of ours go on to them; must not
//! know what is started, nor why.

use std::ffi::OsStr;
use std::process::Command;

/// Variables of ours hold keys, passphrases, PINs, tokens and passwords in URLs, and so do those that will come.
const OURS: &str = "SIGINDEX_";

/// Names and places, which are no secrets.
const HARMLESS: [&str; 3] = [
    "SIGINDEX_KEYS_DIR",
    "SIGINDEX_KEY_NAME",
    "SIGINDEX_INDEX_KEY_NAME",
];

/// A program that is about to be started: it has the environment of this process, without what is secret there, and
/// none of its open files (they are all close-on-exec). This is the one place where a [`Command`] is made.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    let names = std::env::vars_os().map(|(name, _)| name);
    for name in names.filter(|name| is_secret(name)) {
        command.env_remove(name);
    }
    command
}

fn is_secret(name: &OsStr) -> bool {
    let is_ours = name.as_encoded_bytes().starts_with(OURS.as_bytes());
    is_ours && !HARMLESS.iter().any(|harmless| name == *harmless)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_to_be_harmless_is_secret() {
        for (name, secret) in [
            ("SIGINDEX_PRIVATE_KEY", true),
            ("SIGINDEX_INDEX_PRIVATE_KEY", true),
            ("SIGINDEX_PASSPHRASE", true),
            ("SIGINDEX_PIN", true),
            ("SIGINDEX_GATE_URL", true),
            ("SIGINDEX_ANYTHING", true),
            ("SIGINDEX_KEYS_DIR", false),
            ("SIGINDEX_KEY_NAME", false),
            ("PATH", false),
            ("SIGINDEX", false),
        ] {
            assert_eq!(is_secret(OsStr::new(name)), secret, "{name}");
        }
    }
}
