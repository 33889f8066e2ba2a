//! Links in files for people. Owns what may be linked to, and how a text stands in a link; must not know where the
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

/// A text that can be linked to: an address by http or https, without anything that deceives.
pub(super) fn web_address(text: &str) -> Option<String> {
    let text = text.trim();
    let (scheme, rest) = text.split_once("://")?;
    let web = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    let host = !rest.is_empty() && !rest.starts_with('/');
    let sound = host && text.len() <= MAX_ADDRESS && !text.chars().any(is_deceptive);
    (web && sound).then(|| text.to_owned())
}
