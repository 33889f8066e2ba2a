//! The order of versions (CEP 33), as conda implements it. Owns how a version's text is cut into parts and how
//! two of them compare; knows nothing of the queries that use it.

use std::cmp::Ordering;

/// A version, ordered as conda orders them: `1.1` and `1.1.0` are equal.
///
/// A text that breaks the rules comes before all that keep them, and among its like by its bytes.
#[derive(Debug, Clone)]
pub struct Version {
    text: Box<str>,
    /// `None` for a text that breaks the rules.
    parts: Option<Parts>,
}

/// What a text that keeps the rules is cut into.
#[derive(Debug, Clone)]
struct Parts {
    /// The epoch, then the segments of the main version.
    main: Vec<Segment>,
    /// The segments of the local version: none where there is none.
    local: Vec<Segment>,
}

/// What stands between two dots, cut where digits and letters meet. It begins with a number.
type Segment = Vec<Part>;

/// A run of digits or of letters, in the order of their rank.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// `dev`
    Dev,
    /// Any other letters, in lower case.
    Letters(Box<str>),
    /// A number.
    Number(u64),
    /// A number that 64 bits don't hold: how many digits it has without leading zeros, and these.
    Large(usize, Box<str>),
    /// `post`
    Post,
}

/// What stands where the other version has more.
const FILL: Part = Part::Number(0);

impl Version {
    /// Reads any text as a version. White space around it does not count.
    pub fn parse(text: &str) -> Version {
        Version {
            text: text.into(),
            parts: Parts::parse(&text.trim().to_ascii_lowercase()),
        }
    }

    /// The text that was read.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the text keeps the rules.
    pub fn is_sound(&self) -> bool {
        self.parts.is_some()
    }

    /// Whether this version is one of those that `prefix.*` means: `1.2.3` and `1.2` begin with `1.2.0`, as
    /// far as that goes, `1.20` does not. Letters at the end of the prefix may go on.
    pub fn starts_with(&self, prefix: &Version) -> bool {
        let (Some(version), Some(prefix)) = (&self.parts, &prefix.parts) else {
            return false;
        };
        if prefix.local.is_empty() {
            segments_start_with(&version.main, &prefix.main)
        } else {
            compare(&version.main, &prefix.main).is_eq()
                && segments_start_with(&version.local, &prefix.local)
        }
    }
}

impl Parts {
    /// Cuts a text that is in lower case.
    fn parse(text: &str) -> Option<Parts> {
        let (epoch, rest) = text.split_once('!').unwrap_or(("0", text));
        if epoch.is_empty() || !epoch.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let (version, local) = match rest.split_once('+') {
            Some((version, local)) => (version, Some(local)),
            None => (rest, None),
        };
        // At the end, `_` belongs to what stands before it: 1.0.1_ is less than 1.0.1a (OpenSSL's versions).
        let (version, last) = match version.strip_suffix(is_dash) {
            Some(version) => (version, "_"),
            None => (version, ""),
        };
        let mut main = vec![segment(epoch, "")?];
        main.append(&mut segments(version, last)?);
        let local = local.map_or(Some(Vec::new()), |local| segments(local, ""))?;
        Some(Parts { main, local })
    }
}

/// Dashes are not allowed in names of files, and stand for `_` elsewhere.
fn is_dash(c: char) -> bool {
    matches!(c, '_' | '-')
}

/// The segments of a text, with `last` at the end of the last one.
fn segments(text: &str, last: &str) -> Option<Vec<Segment>> {
    let mut texts = text.split(|c| c == '.' || is_dash(c)).peekable();
    let mut segments = Vec::with_capacity(4);
    while let Some(text) = texts.next() {
        let last = if texts.peek().is_none() { last } else { "" };
        segments.push(segment(text, last)?);
    }
    Some(segments)
}

/// Cuts a segment into runs. `last` is letters that stand at its end.
fn segment(text: &str, last: &str) -> Option<Segment> {
    if text.is_empty() && last.is_empty() {
        return None;
    }
    if !text.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    let mut segment = Segment::new();
    // Numbers and letters are kept in step.
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        segment.push(FILL);
    }
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let digits = first.is_ascii_digit();
        let end = rest.find(|c: char| c.is_ascii_digit() != digits);
        let (run, after) = rest.split_at_checked(end.unwrap_or(rest.len()))?;
        segment.push(match digits {
            true => Part::number(run),
            false if after.is_empty() => Part::letters([run, last].concat().into()),
            false => Part::letters(run.into()),
        });
        rest = after;
    }
    if !last.is_empty() && !text.ends_with(|c: char| c.is_ascii_alphabetic()) {
        segment.push(Part::letters(last.into()));
    }
    Some(segment)
}

impl Part {
    fn number(digits: &str) -> Part {
        let digits = digits.trim_start_matches('0');
        match digits.parse() {
            Ok(number) => Part::Number(number),
            Err(_) if digits.is_empty() => FILL,
            Err(_) => Part::Large(digits.len(), digits.into()),
        }
    }

    fn letters(text: Box<str>) -> Part {
        match &*text {
            "dev" => Part::Dev,
            "post" => Part::Post,
            _ => Part::Letters(text),
        }
    }
}

/// Compares lists of segments, the shorter ones filled up.
fn compare(left: &[Segment], right: &[Segment]) -> Ordering {
    for at in 0..left.len().max(right.len()) {
        let order = compare_parts(at_or_empty(left, at), at_or_empty(right, at));
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

fn at_or_empty(segments: &[Segment], at: usize) -> &[Part] {
    segments.get(at).map_or(&[], Vec::as_slice)
}

fn compare_parts(left: &[Part], right: &[Part]) -> Ordering {
    for at in 0..left.len().max(right.len()) {
        let (left, right) = (left.get(at), right.get(at));
        let order = left.unwrap_or(&FILL).cmp(right.unwrap_or(&FILL));
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

/// Whether the version's segments are equal to the prefix's, and its last run begins as the prefix's does.
fn segments_start_with(version: &[Segment], prefix: &[Segment]) -> bool {
    let Some((last, before)) = prefix.split_last() else {
        return true;
    };
    let same = version.get(..before.len()).unwrap_or(version);
    let same_segments = compare(same, before).is_eq();
    let version = at_or_empty(version, before.len());
    let Some((last, before)) = last.split_last() else {
        return same_segments;
    };
    let same = version.get(..before.len()).unwrap_or(version);
    let same_parts = compare_parts(same, before).is_eq();
    let goes_on = match (version.get(before.len()).unwrap_or(&FILL), last) {
        (Part::Letters(letters), Part::Letters(prefix)) => letters.starts_with(&**prefix),
        (part, prefix) => part == prefix,
    };
    same_segments && same_parts && goes_on
}

impl Ord for Version {
    fn cmp(&self, other: &Version) -> Ordering {
        match (&self.parts, &other.parts) {
            (Some(left), Some(right)) => {
                compare(&left.main, &right.main).then_with(|| compare(&left.local, &right.local))
            }
            (None, None) => self.text.cmp(&other.text),
            (left, right) => left.is_some().cmp(&right.is_some()),
        }
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Version) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Version) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use proptest::prelude::*;

    /// Each line is less than the next; what stands in one line is equal.
    fn ascends(lines: &[&[&str]]) {
        let versions: Vec<(usize, Version)> = lines
            .iter()
            .enumerate()
            .flat_map(|(line, texts)| texts.iter().map(move |text| (line, Version::parse(text))))
            .collect();
        for (left_line, left) in &versions {
            for (right_line, right) in &versions {
                let (a, b) = (left.as_str(), right.as_str());
                assert_eq!(left.cmp(right), left_line.cmp(right_line), "{a} and {b}");
                assert_eq!(left == right, left_line == right_line, "{a} and {b}");
            }
        }
    }

    #[test]
    fn the_list_of_cep_33() {
        ascends(&[
            &["0.4", "0.4.0"],
            &["0.4.1.rc", "0.4.1.RC"],
            &["0.4.1+local"],
            &["0.4.1+0.local"],
            &["0.4.1", "0.4.1+0"],
            &["0.4.1+1.local"],
            &["0.5a1"],
            &["0.5b3"],
            &["0.5C1"],
            &["0.5"],
            &["0.9.6"],
            &["0.960923"],
            &["1.0"],
            &["1.1dev1"],
            &["1.1_"],
            &["1.1a1"],
            &["1.1.0dev1", "1.1.dev1"],
            &["1.1.a1"],
            &["1.1.0rc1"],
            &["1.1.0.0", "1.1.0", "1.1"],
            &["1.1.post1", "1.1.0post1"],
            &["1.1post1"],
            &["1996.07.12"],
            &["1!0.4.1"],
            &["1!3.1.1.6"],
            &["2!0.4.1"],
        ]);
        ascends(&[&["1.1rc"], &["1.1.0rc", "1.1.rc"]]);
    }

    #[test]
    fn letters_of_openssl() {
        ascends(&[
            &["1.0.1dev"],
            &["1.0.1_", "1.0.1-", "1-0-1_"],
            &["1.0.1a"],
            &["1.0.1a_"],
            &["1.0.1b"],
            &["1.0.1h"],
            &["1.0.1"],
            &["1.0.1post", "1.0.1POST"],
            &["1.0.2_"],
            &["1.0.2a"],
            &["1.0.2"],
        ]);
    }

    #[test]
    fn numbers_of_any_length() {
        let nines = "9".repeat(5_000);
        let large = "1".to_owned() + &"0".repeat(5_000);
        ascends(&[
            &["1.2", "01.002"],
            &["1.18446744073709551615"],
            &["1.18446744073709551616", "1.00018446744073709551616"],
            &["1.18446744073709551617"],
            &["1.99999999999999999999"],
            &[&format!("1.{nines}")],
            &[&format!("1.{large}"), &format!("1.000{large}")],
            &["2"],
        ]);
    }

    #[test]
    fn local_versions_and_epochs() {
        ascends(&[
            &["2.1+sirius6.0.3"],
            &["2.1+sirius6.0.7"],
            &["2.1"],
            &["2.1+1", "2.1.0+1", "0!2.1+1.0", "00!2.1+1_0"],
            &["2.1+1.1"],
            &["2.1.1+0"],
            &["1!0", "01!0"],
            &["99999999999999999999!0"],
        ]);
    }

    #[test]
    fn what_breaks_the_rules_comes_first() {
        let broken = [
            "", " ", "!1", "+1", "1!", "1!!2", "1!2!3", "1+", "1+2+3", "1..2", "1._2", "1.", ".1",
            "1+2!3", "1+a_", "a!1", "1.2*", "1 2", "1,2", "ü", "1.ü", "\u{0}", "1/2", "@",
        ];
        for text in broken {
            let version = Version::parse(text);
            assert!(!version.is_sound(), "{text:?}");
            assert!(version < Version::parse("0dev"), "{text:?}");
            assert!(!version.starts_with(&version));
        }
        assert!(Version::parse("1..2") < Version::parse("1..3"));
        for text in ["_", "a", "1__", " 1.0 ", "v1", "1-2_3", "1.0+a.b_c"] {
            assert!(Version::parse(text).is_sound(), "{text}");
        }
    }

    #[test]
    fn a_version_begins_with_another() {
        let table = [
            (
                "1.2",
                &[
                    "1.2",
                    "1.2.3",
                    "1.2.0",
                    "1.2.dev1",
                    "1.2.post1",
                    "1.2+5",
                    "1.2a1",
                ][..],
                &["1.20", "1.1", "1!1.2"][..],
            ),
            (
                "1.2.0",
                &["1.2", "1.2.0.5", "1.2.0", "1.2.rc"],
                &["1.2.1", "1.20"],
            ),
            ("1.2a", &["1.2a1", "1.2alpha", "1.2a.3"], &["1.2b", "1.2"]),
            ("1.2a1", &["1.2a1", "1.2a1.7"], &["1.2a2", "1.2a", "1.2a10"]),
            ("1.2post", &["1.2post1"], &["1.2", "1.2poster"]),
            ("1!2", &["1!2.1"], &["2.1"]),
            (
                "1.2+3",
                &["1.2+3.1", "1.2.0+3"],
                &["1.2.1+3", "1.2", "1.2+4"],
            ),
        ];
        for (prefix, with, without) in table {
            let begins = |text: &&str| Version::parse(text).starts_with(&Version::parse(prefix));
            for text in with {
                assert!(begins(text), "{text} begins with {prefix}");
            }
            for text in without {
                assert!(!begins(text), "{text} does not begin with {prefix}");
            }
        }
    }

    fn texts() -> impl Strategy<Value = String> {
        let word = prop::sample::select(vec![
            "0",
            "1",
            "2",
            "00",
            "10",
            "99999999999999999999",
            "a",
            "b",
            "dev",
            "post",
            "DEV",
            "rc",
            ".",
            ".",
            "_",
            "-",
            "+",
            "!",
            "*",
        ]);
        prop_oneof![
            prop::collection::vec(word, 0..8).prop_map(|words| words.concat()),
            "[0-9a-c.]{1,6}",
            ".{0,9}"
        ]
    }

    proptest! {
        #[test]
        fn the_order_is_total(a in texts(), b in texts(), c in texts()) {
            let mut three = [a, b, c].map(|text| Version::parse(&text));
            let [a, b, c] = &three;
            prop_assert_eq!(a.cmp(a), Ordering::Equal);
            prop_assert_eq!(a.cmp(b), b.cmp(a).reverse());
            prop_assert_eq!(a == b, a.cmp(b).is_eq());
            if a <= b && b <= c {
                prop_assert!(a <= c);
            }
            if a == b {
                prop_assert_eq!(a.cmp(c), b.cmp(c));
            }
            three.sort();
            prop_assert!(three[0] <= three[1] && three[1] <= three[2] && three[0] <= three[2]);
        }

        #[test]
        fn a_sound_version_begins_with_itself(text in texts(), more in 0_u8..20) {
            let version = Version::parse(&text);
            prop_assert_eq!(version.starts_with(&version), version.is_sound());
            let longer = Version::parse(&format!("{text}.{more}"));
            prop_assert!(!longer.is_sound() || !version.is_sound() || longer.starts_with(&version));
        }
    }
}
