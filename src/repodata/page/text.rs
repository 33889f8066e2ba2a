//! Text from packages made fit for a page. Owns escaping, what is shown of a text, links, and how sizes are
//! printed; must not know what the texts mean.

use std::borrow::Cow;

use crate::record::is_deceptive;
use crate::repodata::web::{segment, web_address};

/// At most `most` characters of a text, without those that don't show or change how others show.
pub(super) fn shown(text: &str, most: usize) -> Cow<'_, str> {
    let plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if plain && text.len() <= most {
        return Cow::Borrowed(text);
    }
    let visible = text.chars().filter_map(|c| match c {
        c if c.is_whitespace() => Some(' '),
        c if is_deceptive(c) => None,
        c => Some(c),
    });
    let mut visible = visible.peekable();
    let mut out: String = visible.by_ref().take(most).collect();
    if visible.peek().is_some() {
        out.push('…');
    }
    Cow::Owned(out)
}

/// A text as HTML shows it, between tags and in quoted attributes.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in shown(text, usize::MAX).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}

/// What stands before a file's name in a link from a subdir's page: nothing where packages lie beside it.
/// `None` where packages are served from what is no web address.
pub(super) fn packages_base(base_url: Option<&str>, subdir: &str) -> Option<String> {
    let Some(base) = base_url.filter(|base| !base.is_empty()) else {
        return Some(String::new());
    };
    // A relative one has no scheme (RFC 3986, 4.2): no colon in its first segment.
    let first = base.split(['/', '?', '#']).next().unwrap_or_default();
    let relative = !first.contains(':') && !base.chars().any(is_deceptive);
    let base = match web_address(base) {
        Some(address) => address,
        None if relative => base.to_owned(),
        None => return None,
    };
    Some(format!(
        "{}/{}/",
        base.trim_end_matches('/'),
        segment(subdir)
    ))
}

/// A size in bytes as people read it: `7 B`, `1.2 MB`; units of 1,000.
pub(super) fn bytes(size: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if size < 1_000 {
        return format!("{size} B");
    }
    let (mut tenths, mut units) = (size / 100, UNITS.into_iter());
    let mut unit = units.next().unwrap_or_default();
    while tenths >= 10_000 {
        let Some(next) = units.next() else { break };
        (tenths, unit) = (tenths / 1_000, next);
    }
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

/// A number with commas between thousands.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && digits.len().saturating_sub(position) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_deceives_is_not_shown() {
        for (text, is) in [
            ("plain", "plain"),
            ("a\u{202e}b\u{200b}c\u{0}d", "abcd"),
            ("two\nlines\u{2028}", "two lines "),
            ("äöü€😀", "äöü€😀"),
            ("123456789012", "1234567890…"),
            ("ääääääääääää", "ääääääääää…"),
            ("ääääääääää\u{200b}", "ääääääääää"),
        ] {
            assert_eq!(shown(text, 10), is);
        }
        assert_eq!(escaped("<a b='\"'>&"), "&lt;a b=&#39;&quot;&#39;&gt;&amp;");
    }

    #[test]
    fn links_go_only_to_the_web() {
        for (address, good) in [
            ("https://example.org/a?b#c", true),
            (" HTTP://example.org ", true),
            ("javascript:alert(1)", false),
            ("javascript://example.org/%0aalert(1)", false),
            ("data:text/html,x", false),
            ("//example.org", false),
            ("https://", false),
            ("https://exa\u{202e}mple.org", false),
            ("https://example.org/a b", false),
            ("java\nscript:https://x", false),
            ("", false),
        ] {
            assert_eq!(web_address(address).is_some(), good, "{address}");
        }
        assert_eq!(web_address(&format!("https://{}", "x".repeat(2_000))), None);
    }

    #[test]
    fn packages_lie_beside_the_page_or_below_the_base() {
        for (base, link) in [
            (None, Some("")),
            (Some(""), Some("")),
            (Some("https://x.org/c/"), Some("https://x.org/c/noarch/")),
            (Some("https://x.org/c"), Some("https://x.org/c/noarch/")),
            (Some("../../mirror"), Some("../../mirror/noarch/")),
            (Some("/mirror:1"), Some("/mirror:1/noarch/")),
            (Some("javascript:alert(1)//"), None),
            (Some("file:///c"), None),
            (Some("s3://bucket"), None),
            (Some("java\tscript:x"), None),
        ] {
            assert_eq!(packages_base(base, "noarch").as_deref(), link, "{base:?}");
        }
        assert_eq!(segment("a+b c/ü:%.conda"), "a%2Bb%20c%2F%C3%BC%3A%25.conda");
    }

    #[test]
    fn numbers_are_readable() {
        for (size, is) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (122_456, "122.4 kB"),
            (999_999, "999.9 kB"),
            (1_000_000, "1.0 MB"),
            (12_345_678_901, "12.3 GB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(bytes(size), is);
        }
        for (number, is) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(count(number), is);
        }
    }
}
