//! Links, in files for people and to other channels. Owns what may be linked to, and how a text stands in a link; must not know where the
//! text comes from.

use std::fmt::Write as _;

use crate::record::is_deceptive;

/// The longest web address that is linked to, in bytes.
const MAX_ADDRESS: usize = 1_000;

/// One segment of a path in a link: all but the unreserved characters is percent-encoded (RFC 3986, 2.3).
pub(super) fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing into a String can't fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// Whether a reference to a channel is a path to one beside it (CEP 42): it begins with `../`, and stays on its host for
/// every client. What is escaped in it means itself.
pub fn is_path_to_channel(reference: &str) -> bool {
    let path = reference.trim_end_matches('/');
    let odd = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '\\' | '?' | '#');
    let mut parts = path.split('/');
    parts.next() == Some("..")
        && path
            .split('/')
            .all(|part| !part.is_empty() && part != "." && is_escaped_well(part))
        && !path.chars().any(odd)
}

/// Whether each `%` begins an escape of what a client may unescape and change nothing by it.
fn is_escaped_well(part: &str) -> bool {
    part.split('%').skip(1).all(|behind| {
        let hex = behind.get(..2);
        let hex = hex.filter(|hex| hex.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let hex = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        hex.is_some_and(|byte| {
            !byte.is_ascii_control() && !matches!(byte, b'.' | b'/' | b'\\' | b'%')
        })
    })
}

/// A text that can be linked to: an address by http or https, without anything that deceives.
pub(super) fn web_address(text: &str) -> Option<String> {
    let text = text.trim();
    let (scheme, rest) = text.split_once("://")?;
    let web = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    let host = !rest.is_empty() && !rest.starts_with('/');
    let sound = host && text.len() <= MAX_ADDRESS && !text.chars().any(is_deceptive);
    (web && sound).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_to_a_channel_stays_beside_it() {
        for (path, is_one) in [
            ("../x", true),
            ("../..", true),
            ("../../a+b~c@d!e/", true),
            ("../\u{fc}", true),
            ("../a%20b:c", true),
            ("..", true),
            ("", false),
            ("x", false),
            ("/x", false),
            ("//evil/x", false),
            ("..//evil", false),
            ("../a/./b", false),
            ("../%2e%2e", false),
            ("../a%2Fb", false),
            ("../a%5cb", false),
            ("../a%252e", false),
            ("../a%0a", false),
            ("../a%", false),
            ("../a%zz", false),
            ("../a%+f", false),
            ("..\\x", false),
            ("../x?y", false),
            ("../x#y", false),
            ("../a b", false),
            ("https://evil/x", false),
        ] {
            assert_eq!(is_path_to_channel(path), is_one, "{path}");
        }
    }
}
