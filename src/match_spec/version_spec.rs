//! Which versions are asked for (CEP 29, "Version matching"). Owns the clauses and how `,`, `|` and parentheses
//! join them; the order of versions is [`crate::version`]'s.

use std::fmt;

use super::pattern::Pattern;
use crate::version::Version;

/// How deep parentheses may stand in one another.
const MAX_DEPTH: usize = 16;

/// The most clauses of an expression, each of which takes hundreds of times its text in memory; those in use have a
/// dozen.
const MAX_CLAUSES: usize = 256;

/// How many of them may be regular expressions, which take more by far.
const MAX_EXPRESSIONS: usize = 16;

/// Which versions are asked for: clauses, and what stands between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct VersionSpec {
    /// A clause or a group always stands where one is due, and every parenthesis has its other half.
    tokens: Vec<Token>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Clause(Clause),
    And,
    Or,
    Open,
    Close,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Clause {
    /// `*`
    Any,
    /// How a version stands to this one.
    Compared(Operator, Version),
    /// `~=`: at least the first, and beginning with the second, which is the first less its last part.
    Compatible(Version, Option<Version>),
    /// What the text of a version is, or is not.
    Text { negated: bool, pattern: Pattern },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    /// `1.2`, `==1.2`
    Equal,
    /// `1.2.*`, `=1.2`
    Begins,
    /// `!=1.2`
    NotEqual,
    /// `!=1.2.*`
    NotBegins,
    /// `<1.2`
    Less,
    /// `<=1.2`
    LessOrEqual,
    /// `>1.2`
    Greater,
    /// `>=1.2`
    GreaterOrEqual,
}

/// As they are written; longer ones first.
const OPERATORS: [&str; 8] = ["==", "!=", "<=", ">=", "~=", "=", "<", ">"];

impl VersionSpec {
    /// Reads an expression; `None` where it breaks the grammar, or has too many clauses. White space does not count.
    pub fn parse(text: &str) -> Option<VersionSpec> {
        let (mut tokens, mut depth, mut rest) = (Vec::new(), 0_usize, text.trim());
        let (mut clauses, mut expressions) = (MAX_CLAUSES, MAX_EXPRESSIONS);
        while let Some(first) = rest.chars().next() {
            let due = !matches!(tokens.last(), Some(Token::Clause(_) | Token::Close));
            let (token, after) = match first {
                '(' if due && depth < MAX_DEPTH => (Token::Open, rest.strip_prefix('(')?),
                ')' if !due && depth > 0 => (Token::Close, rest.strip_prefix(')')?),
                ',' if !due => (Token::And, rest.strip_prefix(',')?),
                '|' if !due => (Token::Or, rest.strip_prefix('|')?),
                _ if due => {
                    let (clause, after) = rest.split_at_checked(clause_end(rest))?;
                    let clause = Clause::parse(clause)?;
                    clauses = clauses.checked_sub(1)?;
                    if clause.is_expression() {
                        expressions = expressions.checked_sub(1)?;
                    }
                    (Token::Clause(clause), after)
                }
                _ => return None,
            };
            depth = match token {
                Token::Open => depth.saturating_add(1),
                Token::Close => depth.saturating_sub(1),
                _ => depth,
            };
            tokens.push(token);
            rest = after.trim_start();
        }
        let whole = matches!(tokens.last(), Some(Token::Clause(_) | Token::Close));
        (whole && depth == 0).then_some(VersionSpec { tokens })
    }

    /// Whether a version is one. `,` binds closer than `|`.
    pub fn matches(&self, version: &Version) -> bool {
        // What of a group is known: whether one alternative holds, and whether the current one does so far.
        let (mut any, mut all) = (false, true);
        let mut outside = Vec::new();
        for token in &self.tokens {
            match token {
                Token::Clause(clause) => all = all && clause.matches(version),
                Token::And => {}
                Token::Or => (any, all) = (any || all, true),
                Token::Open => {
                    outside.push((any, all));
                    (any, all) = (false, true);
                }
                Token::Close => {
                    let group = any || all;
                    (any, all) = outside.pop().unwrap_or((false, true));
                    all = all && group;
                }
            }
        }
        any || all
    }

    /// Whether every version is one.
    pub fn is_any(&self) -> bool {
        matches!(self.tokens.as_slice(), [Token::Clause(Clause::Any)])
    }
}

impl fmt::Display for VersionSpec {
    /// What [`VersionSpec::parse`] reads as the same, without white space.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for token in &self.tokens {
            match token {
                Token::Clause(clause) => clause.fmt(f)?,
                Token::And => f.write_str(",")?,
                Token::Or => f.write_str("|")?,
                Token::Open => f.write_str("(")?,
                Token::Close => f.write_str(")")?,
            }
        }
        Ok(())
    }
}

/// Where the clause ends that a text begins with. A regular expression may hold what else ends one.
fn clause_end(text: &str) -> usize {
    let ends = |text: &str| text.is_empty() || text.starts_with([',', '|', ')']);
    let end = match text.starts_with('^') {
        true => text.match_indices('$').find_map(|(at, dollar)| {
            let end = at.saturating_add(dollar.len());
            ends(text.get(end..)?.trim_start()).then_some(end)
        }),
        false => text.find([',', '|', '(', ')']),
    };
    end.unwrap_or(text.len())
}

impl Clause {
    fn parse(text: &str) -> Option<Clause> {
        let text = text.trim();
        if text.starts_with('^') || text.ends_with('$') {
            return Clause::text(false, text);
        }
        let operator = OPERATORS.iter().find(|known| text.starts_with(**known));
        let operator = operator.copied().unwrap_or_default();
        let version = text.strip_prefix(operator)?.trim_start();
        if version.contains(char::is_whitespace) {
            return None;
        }
        let base = version.trim_end_matches('*');
        let globbed = base.len() < version.len();
        if base.contains('*') {
            return match operator {
                "" | "=" | "==" => Clause::text(false, version),
                "!=" => Clause::text(true, version),
                _ => None,
            };
        }
        if base.is_empty() {
            return (globbed && matches!(operator, "" | "=" | "==")).then_some(Clause::Any);
        }
        Clause::compared(operator, globbed, base.trim_end_matches('.'))
    }

    fn text(negated: bool, text: &str) -> Option<Clause> {
        let pattern = Pattern::parse(text)?;
        Some(Clause::Text { negated, pattern })
    }

    /// A version behind an operator, which a trailing `*` changes only for equality.
    fn compared(operator: &str, globbed: bool, text: &str) -> Option<Clause> {
        let sound = |text: &str| Some(Version::parse(text)).filter(Version::is_sound);
        let version = sound(text)?;
        let operator = match (operator, globbed) {
            ("" | "==", false) => Operator::Equal,
            ("" | "==", true) | ("=", _) => Operator::Begins,
            // CEP 29 would have `!=1.2` leave out 1.2.3 as well; to conda it is 1.2 alone, and so in its solver.
            ("!=", false) => Operator::NotEqual,
            ("!=", true) => Operator::NotBegins,
            ("<", _) => Operator::Less,
            ("<=", _) => Operator::LessOrEqual,
            (">", _) => Operator::Greater,
            (">=", _) => Operator::GreaterOrEqual,
            ("~=", false) => {
                // `~=1` leaves nothing to begin with.
                let base = match text.rsplit_once('.') {
                    Some((base, _)) => Some(sound(base)?),
                    None => None,
                };
                return Some(Clause::Compatible(version, base));
            }
            _ => return None,
        };
        Some(Clause::Compared(operator, version))
    }

    fn is_expression(&self) -> bool {
        matches!(self, Clause::Text { pattern, .. } if matches!(pattern, Pattern::Regex(_)))
    }

    fn matches(&self, version: &Version) -> bool {
        match self {
            Clause::Any => true,
            Clause::Compared(operator, other) => operator.holds(version, other),
            Clause::Compatible(least, prefix) => {
                let begins = |prefix| version.starts_with(prefix);
                version >= least && prefix.as_ref().is_none_or(begins)
            }
            Clause::Text { negated, pattern } => pattern.matches(version.as_str()) != *negated,
        }
    }
}

impl Operator {
    fn holds(self, version: &Version, other: &Version) -> bool {
        match self {
            Operator::Equal => version == other,
            Operator::Begins => version.starts_with(other),
            Operator::NotEqual => version != other,
            Operator::NotBegins => !version.starts_with(other),
            Operator::Less => version < other,
            Operator::LessOrEqual => version <= other,
            Operator::Greater => version > other,
            Operator::GreaterOrEqual => version >= other,
        }
    }
}

impl fmt::Display for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (operator, text, end) = match self {
            Clause::Any => ("", "*", ""),
            Clause::Compatible(least, _) => ("~=", least.as_str(), ""),
            Clause::Text { negated, pattern } => {
                (if *negated { "!=" } else { "" }, pattern.as_str(), "")
            }
            Clause::Compared(operator, version) => {
                let (operator, end) = match operator {
                    Operator::Equal => ("", ""),
                    Operator::Begins => ("", ".*"),
                    Operator::NotEqual => ("!=", ""),
                    Operator::NotBegins => ("!=", ".*"),
                    Operator::Less => ("<", ""),
                    Operator::LessOrEqual => ("<=", ""),
                    Operator::Greater => (">", ""),
                    Operator::GreaterOrEqual => (">=", ""),
                };
                (operator, version.as_str(), end)
            }
        };
        write!(f, "{operator}{text}{end}")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn clauses_and_what_joins_them() {
        for (text, rendered, with, without) in [
            ("1.8", "1.8", &["1.8", "1.8.0"][..], &["1.8.1", "1.80"][..]),
            ("==1.8", "1.8", &["1.8"], &["1.8.1"]),
            ("1.8.", "1.8", &["1.8"], &["1.8.1"]),
            ("=1.8", "1.8.*", &["1.8", "1.8.1"], &["1.80", "1.9"]),
            ("1.8*", "1.8.*", &["1.8", "1.8.1"], &["1.80"]),
            ("1.8.*", "1.8.*", &["1.8.1"], &["1.9"]),
            ("=1.8.*", "1.8.*", &["1.8.1"], &["1.9"]),
            ("==1.8.*", "1.8.*", &["1.8.1"], &["1.9"]),
            ("!=1.8", "!=1.8", &["1.8.1"], &["1.8.0"]),
            ("!=1.8.*", "!=1.8.*", &["1.9"], &["1.8.1"]),
            (">=1.8.*", ">=1.8", &["1.8", "2"], &["1.7"]),
            (">1.8", ">1.8", &["1.8.1"], &["1.8"]),
            ("<=1.8", "<=1.8", &["1.8", "1.8rc1"], &["1.8.1"]),
            ("<2.0a0", "<2.0a0", &["1.9"], &["2.0", "2.0rc1"]),
            ("~=0.5.3", "~=0.5.3", &["0.5.3", "0.5.9"], &["0.5.2", "0.6"]),
            ("~=2", "~=2", &["2", "3.1"], &["1.9"]),
            ("*", "*", &["1", ""], &[]),
            ("=*", "*", &["1"], &[]),
            ("1.*.3", "1.*.3", &["1.2.3", "1.2.4.3"], &["1.3"]),
            ("!=1.*.3", "!=1.*.3", &["1.3"], &["1.2.3"]),
            (
                "^1\\.(2|3),?$",
                "^1\\.(2|3),?$",
                &["1.2", "1.3"],
                &["1.4", "1.22"],
            ),
            (
                " >= 1 , < 2 | 3.* ",
                ">=1,<2|3.*",
                &["1", "3.5"],
                &["2", "0.9"],
            ),
            (">=1|<2,>5", ">=1|<2,>5", &["1"], &["0"]),
            (
                ">=1,(<2|>=3,!=3.5)",
                ">=1,(<2|>=3,!=3.5)",
                &["1.5", "3"],
                &["2", "3.5"],
            ),
            (
                "(1.0|2.0),(2.0|3.0)",
                "(1.0|2.0),(2.0|3.0)",
                &["2"],
                &["1", "3"],
            ),
            ("^1.*$|^2,$|4", "^1.*$|^2,$|4", &["1.7", "4"], &["2", "3"]),
            ("1!2.*", "1!2.*", &["1!2.5"], &["2.5"]),
            ("1.0.1a|1.0_.*", "1.0.1a|1.0_.*", &["1.0.1a"], &["1.0.1"]),
        ] {
            let spec = VersionSpec::parse(text).unwrap_or_else(|| unreachable!("{text}"));
            assert_eq!(spec.to_string(), rendered);
            assert_eq!(
                VersionSpec::parse(rendered),
                Some(spec.clone()),
                "{rendered}"
            );
            for version in with {
                assert!(
                    spec.matches(&Version::parse(version)),
                    "{version} is {text}"
                );
            }
            for version in without {
                assert!(
                    !spec.matches(&Version::parse(version)),
                    "{version} is not {text}"
                );
            }
        }
    }

    #[test]
    fn what_breaks_the_grammar() {
        let deep = "(".repeat(100_000) + "1" + &")".repeat(100_000);
        for text in [
            "", " ", ",", "|", "()", "1,", "1|", ",1", "1||2", "(1", "1)", "(1)(2)", "(1)2",
            "1(2)", ">=", "=>1", "><1", ">=*", "!=*", "~=1.2.*", "1..2", "a b!", "^1", "1$",
            "===1", "<1.*.2", "1@2", "1 2", "> =1", "1 *", &deep,
        ] {
            assert_eq!(VersionSpec::parse(text), None, "{text}");
        }
        let nested = "(".repeat(MAX_DEPTH) + "1" + &")".repeat(MAX_DEPTH);
        assert!(VersionSpec::parse(&nested).is_some());
    }

    #[test]
    fn an_expression_has_so_many_clauses_and_no_more() {
        for (clause, most) in [
            ("<1", MAX_CLAUSES),
            ("(1.*)", MAX_CLAUSES),
            ("*", MAX_CLAUSES),
            ("1.*.3", MAX_CLAUSES),
            ("^1$", MAX_EXPRESSIONS),
        ] {
            for join in ["|", ","] {
                let of = |clauses: usize| VersionSpec::parse(&vec![clause; clauses].join(join));
                let last = format!("{}{join}2", vec![clause; most].join(join));
                assert!(of(most).is_some(), "{clause}");
                assert_eq!(of(most + 1), None, "{clause}");
                let more = VersionSpec::parse(&last);
                assert_eq!(more.is_some(), most < MAX_CLAUSES, "{clause}");
            }
        }
    }
}
