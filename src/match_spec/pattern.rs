//! How a field that is a string, or a number, is asked for (CEP 29, "String matching"). Owns equality, globs and
//! regular expressions, all of bounded cost; knows nothing of the fields.

use regex_automata::meta::{Config, Regex};
use regex_automata::util::syntax;

/// The most bytes of a regular expression; those in use have some dozens.
const MAX_EXPRESSION: usize = 256;

/// The most memory that a compiled expression may take, in bytes; one that repeats repetitions would take more.
const MAX_COMPILED: usize = 1 << 17;

/// How deep groups may stand in one another in an expression.
const MAX_GROUPS: u32 = 16;

/// What a string has to be. Upper and lower case are the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pattern {
    /// This text.
    Exact(String),
    /// This text, where `*` is any text.
    Glob(String),
    /// `^…$`
    Regex(Expression),
}

/// A regular expression from `^` to `$`.
#[derive(Debug, Clone)]
pub(super) struct Expression {
    text: String,
    regex: Regex,
}

/// What a number has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NumberPattern {
    /// Its text is so.
    Text(Pattern),
    /// It stands so to this one.
    Compared(Relation, i64),
}

/// How a number stands to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    /// `>=`
    AtLeast,
    /// `<=`
    AtMost,
    /// `!=`
    Not,
    /// `>`
    Above,
    /// `<`
    Below,
}

impl Pattern {
    /// Reads what stands for one string; `None` where nothing could be so.
    pub fn parse(text: &str) -> Option<Pattern> {
        if text.starts_with('^') || text.ends_with('$') {
            return Expression::parse(text).map(Pattern::Regex);
        }
        let sound = |c: char| c.is_ascii_alphanumeric() || "_.+-!*".contains(c);
        if text.is_empty() || !text.chars().all(sound) {
            return None;
        }
        Some(match text.contains('*') {
            true => Pattern::Glob(text.to_owned()),
            false => Pattern::Exact(text.to_owned()),
        })
    }

    /// Whether a text is so.
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Pattern::Exact(pattern) => pattern.eq_ignore_ascii_case(text),
            Pattern::Glob(pattern) => {
                glob(&pattern.to_ascii_lowercase(), &text.to_ascii_lowercase())
            }
            Pattern::Regex(expression) => expression.regex.is_match(text.as_bytes()),
        }
    }

    /// What was read.
    pub fn as_str(&self) -> &str {
        match self {
            Pattern::Exact(text) | Pattern::Glob(text) => text,
            Pattern::Regex(expression) => &expression.text,
        }
    }

    /// Whether every text is so.
    pub fn is_any(&self) -> bool {
        matches!(self, Pattern::Glob(text) if text.bytes().all(|b| b == b'*'))
    }
}

/// The first place where a piece stands is the best one, so that no piece is looked for twice.
fn glob(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(text) = text.strip_prefix(pieces.next().unwrap_or_default()) else {
        return false;
    };
    let Some(last) = pieces.next_back() else {
        return text.is_empty();
    };
    let Some(mut text) = text.strip_suffix(last) else {
        return false;
    };
    for piece in pieces {
        match text.split_once(piece) {
            Some((_, after)) => text = after,
            None => return false,
        }
    }
    true
}

impl Expression {
    /// This engine never goes back in the text, so that its time grows with the text's length alone; it has no
    /// look-around and no references back, which CEP 29 advises against.
    fn parse(text: &str) -> Option<Expression> {
        let whole = text.len() >= 2 && text.starts_with('^') && text.ends_with('$');
        let sound = text.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
        if !whole || !sound || text.len() > MAX_EXPRESSION {
            return None;
        }
        let limits = Config::new()
            .utf8_empty(false)
            .nfa_size_limit(Some(MAX_COMPILED));
        let syntax = syntax::Config::new()
            .case_insensitive(true)
            .nest_limit(MAX_GROUPS)
            .unicode(false)
            .utf8(false);
        let regex = Regex::builder()
            .configure(limits)
            .syntax(syntax)
            .build(text);
        Some(Expression {
            text: text.to_owned(),
            regex: regex.ok()?,
        })
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Expression) -> bool {
        self.text == other.text
    }
}

impl Eq for Expression {}

impl NumberPattern {
    /// Longer operators come first.
    const RELATIONS: [(&str, Relation); 5] = [
        (">=", Relation::AtLeast),
        ("<=", Relation::AtMost),
        ("!=", Relation::Not),
        (">", Relation::Above),
        ("<", Relation::Below),
    ];

    /// Reads what stands for one number, as string or by comparison, which clients know as well.
    pub fn parse(text: &str) -> Option<NumberPattern> {
        for (operator, relation) in NumberPattern::RELATIONS {
            if let Some(number) = text.strip_prefix(operator) {
                return Some(NumberPattern::Compared(
                    relation,
                    number.trim().parse().ok()?,
                ));
            }
        }
        let text = text.trim_start_matches('=').trim();
        Pattern::parse(text).map(NumberPattern::Text)
    }

    /// Whether a number is so.
    pub fn matches(&self, number: i64) -> bool {
        match self {
            NumberPattern::Text(pattern) => pattern.matches(&number.to_string()),
            NumberPattern::Compared(Relation::AtLeast, other) => number >= *other,
            NumberPattern::Compared(Relation::AtMost, other) => number <= *other,
            NumberPattern::Compared(Relation::Not, other) => number != *other,
            NumberPattern::Compared(Relation::Above, other) => number > *other,
            NumberPattern::Compared(Relation::Below, other) => number < *other,
        }
    }

    /// What [`NumberPattern::parse`] reads as this.
    pub fn text(&self) -> String {
        match self {
            NumberPattern::Text(pattern) => pattern.as_str().to_owned(),
            NumberPattern::Compared(relation, number) => {
                let known = NumberPattern::RELATIONS.iter();
                let operator = known.clone().find(|(_, known)| known == relation);
                format!("{}{number}", operator.map_or("", |(operator, _)| operator))
            }
        }
    }

    /// Whether every number is so.
    pub fn is_any(&self) -> bool {
        matches!(self, NumberPattern::Text(pattern) if pattern.is_any())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn strings_are_asked_for_in_three_ways() {
        for (pattern, with, without) in [
            ("py27_0", &["py27_0", "PY27_0"][..], &["py27_01", ""][..]),
            ("*", &["", "x"], &[]),
            ("py*", &["py", "py27_0"], &["xpy"]),
            ("*_mkl", &["a_mkl", "_mkl"], &["a_mkl_1"]),
            ("*mkl*", &["mkl", "a_MKL_1"], &["mk"]),
            ("a*b*a", &["aba", "axxbxxa"], &["ab", "aa", "ba"]),
            ("a**a", &["aa", "aba"], &["a"]),
            (
                "^py(27|3[0-9])_\\d+$",
                &["py27_0", "Py36_12"],
                &["py27_", "xpy27_0", "py26_0"],
            ),
            ("^a.*b$", &["ab", "axxb"], &["abc"]),
        ] {
            let parsed = Pattern::parse(pattern).unwrap();
            assert_eq!(parsed.as_str(), pattern);
            assert!(with.iter().all(|text| parsed.matches(text)), "{pattern}");
            assert!(
                !without.iter().any(|text| parsed.matches(text)),
                "{pattern}"
            );
        }
        for text in [
            "", "a b", "ü", "a\"b", "^", "$", "^a", "a$", "^(a$", "^(?=a)b$", r"^(a)\1$",
            "^\u{fc}$",
        ] {
            assert_eq!(Pattern::parse(text), None, "{text}");
        }
    }

    #[test]
    fn no_pattern_takes_long() {
        let long = "a".repeat(100_000);
        for pattern in [
            "^(a*)*b$",
            "^(a|aa)+$",
            "^(a?){60}a{60}b$",
            "*a*a*a*a*a*a*a*b",
        ] {
            assert!(
                !Pattern::parse(pattern)
                    .unwrap()
                    .matches(&format!("{long}c"))
            );
        }
        for pattern in [
            "^((a{100}){100}){100}$",
            "^(((((((((((((((((((a)))))))))))))))))))$",
        ] {
            assert_eq!(Pattern::parse(pattern), None);
        }
        assert_eq!(Pattern::parse(&format!("^{long}$")), None);
    }

    #[test]
    fn numbers_are_asked_for_as_text_or_by_comparison() {
        for (text, rendered, with, without) in [
            ("3", "3", 3, 4),
            ("=3", "3", 3, 4),
            ("==3", "3", 3, 4),
            ("1*", "1*", 10, 20),
            ("^1[0-4]$", "^1[0-4]$", 14, 15),
            (">= 3", ">=3", 3, 2),
            ("<=3", "<=3", 3, 4),
            (">3", ">3", 4, 3),
            ("<3", "<3", 2, 3),
            ("!=3", "!=3", 4, 3),
        ] {
            let pattern = NumberPattern::parse(text).unwrap();
            assert_eq!(pattern.text(), rendered);
            assert_eq!(NumberPattern::parse(rendered), Some(pattern.clone()));
            assert!(pattern.matches(with) && !pattern.matches(without), "{text}");
        }
        for text in ["", ">=", ">=x", ">=1.5", "=", "!=99999999999999999999"] {
            assert_eq!(NumberPattern::parse(text), None, "{text}");
        }
    }
}
