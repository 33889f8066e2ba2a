//! The part of a file that a client asks for: `Range` and `If-Range` (RFC 9110, 13.1.5 and 14). Several ranges at
//! once are answered with the whole file, as that section allows.

use hyper::header::{self, HeaderMap};

/// What a client wants of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it.
    Whole,
    /// So many bytes, at least one, which are there.
    Part {
        /// The first of them, counted from 0.
        from: u64,
        /// How many.
        length: u64,
    },
    /// None that is there: 416.
    Beyond,
}

/// What the headers of a request want of a file with that ETag and length.
pub(super) fn wanted(asked: &HeaderMap, tag: &str, length: u64) -> Wanted {
    let text = |name| asked.get(name).and_then(|value| value.to_str().ok());
    let Some(range) = text(header::RANGE) else {
        return Wanted::Whole;
    };
    // What a client has of other bytes is of no use to it. A date says nothing here, as there are none.
    if asked.contains_key(header::IF_RANGE) && text(header::IF_RANGE) != Some(tag) {
        return Wanted::Whole;
    }
    parse(range, length).unwrap_or(Wanted::Whole)
}

/// A range; nothing where it is none.
fn parse(text: &str, length: u64) -> Option<Wanted> {
    let (unit, range) = text.split_once('=')?;
    let (first, last) = range.trim().split_once('-')?;
    unit.eq_ignore_ascii_case("bytes").then_some(())?;
    let end = length.saturating_sub(1);
    let (from, to) = match (first, last) {
        ("", last) => (length.saturating_sub(number(last)?), end),
        (first, "") => (number(first)?, end),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(())?;
            (first, last.min(end))
        }
    };
    if from > to || from >= length {
        return Some(Wanted::Beyond);
    }
    let length = to.saturating_sub(from).saturating_add(1);
    Some(Wanted::Part { from, length })
}

/// Digits alone; more than there can be count as the most.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn part(from: u64, length: u64) -> Wanted {
        Wanted::Part { from, length }
    }

    #[test]
    fn ranges() {
        for (text, expected) in [
            ("bytes=0-0", part(0, 1)),
            ("bytes=2-4", part(2, 3)),
            ("bytes=2-", part(2, 8)),
            ("bytes=-3", part(7, 3)),
            ("bytes=-30", part(0, 10)),
            ("Bytes=9-99999999999999999999999", part(9, 1)),
            ("bytes=10-", Wanted::Beyond),
            ("bytes=10-20", Wanted::Beyond),
            ("bytes=-0", Wanted::Beyond),
            ("bytes=4-2", Wanted::Whole),
            ("bytes=0-1,3-4", Wanted::Whole),
            ("bytes=a-", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("lines=1-2", Wanted::Whole),
            ("bytes", Wanted::Whole),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, text.parse().unwrap());
            assert_eq!(wanted(&headers, "\"x\"", 10), expected, "{text}");
            headers.insert(header::IF_RANGE, "\"x\"".parse().unwrap());
            assert_eq!(wanted(&headers, "\"x\"", 10), expected, "{text}");
            headers.insert(header::IF_RANGE, "\"y\"".parse().unwrap());
            assert_eq!(wanted(&headers, "\"x\"", 10), Wanted::Whole, "{text}");
        }
        let mut headers = HeaderMap::new();
        assert_eq!(wanted(&headers, "\"x\"", 0), Wanted::Whole);
        headers.insert(header::RANGE, "bytes=0-".parse().unwrap());
        assert_eq!(wanted(&headers, "\"x\"", 0), Wanted::Beyond);
    }
}
