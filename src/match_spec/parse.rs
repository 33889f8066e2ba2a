//! The forms in which MatchSpecs are written (CEP 29, "Syntax"). Owns what stands before the brackets, and which
//! of both counts; the grammars of single fields are elsewhere.

use std::collections::BTreeMap;

use super::MatchSpec;
use super::condition::is_condition;
use super::fields::{self, Value};
use super::pattern::{NumberPattern, Pattern};
use super::version_spec::VersionSpec;

/// The most bytes of a MatchSpec; those in use have some hundreds at most.
const MAX_LENGTH: usize = 16 * 1024;

/// The characters that end a name.
const OPERATORS: [char; 5] = ['=', '<', '>', '!', '~'];

/// Reads a MatchSpec. Conditions stand in those that are in no condition.
pub(super) fn parse(text: &str, conditions: bool) -> Option<MatchSpec> {
    if text.len() > MAX_LENGTH {
        return None;
    }
    let text = text.trim();
    let (positional, brackets) = match text.strip_suffix(']') {
        Some(text) => text.split_once('[')?,
        None => (text, ""),
    };
    let mut spec = from_positions(positional.trim())?;
    for (key, value) in fields::parse(brackets)? {
        if key == "when" && !conditions {
            return None;
        }
        spec.set(&key, value)?;
    }
    spec.version = spec.version.filter(|version| !version.is_any());
    spec.build = spec.build.filter(|build| !build.is_any());
    spec.build_number = spec.build_number.filter(|number| !number.is_any());
    Some(spec)
}

impl MatchSpec {
    /// Sets a field of the brackets, in place of what came before them.
    fn set(&mut self, key: &str, value: Value) -> Option<()> {
        match key {
            "version" => self.version = Some(VersionSpec::parse(&value.one()?)?),
            "build" => self.build = Some(Pattern::parse(value.one()?.trim())?),
            "build_number" => {
                self.build_number = Some(NumberPattern::parse(value.one()?.trim())?);
            }
            "when" => {
                let when = value.one()?.trim().to_owned();
                self.when = Some(when).filter(|when| is_condition(when));
                self.when.as_ref()?;
            }
            "extras" => self.extras = names(value, is_group)?,
            "flags" => self.flags = names(value, is_flag)?,
            // The one before the brackets counts.
            "name" => {}
            _ => {
                self.others.insert(key.to_owned(), value.one()?);
            }
        }
        Some(())
    }
}

/// Names of a field that takes one or more.
fn names(value: Value, sound: impl Fn(&str) -> bool) -> Option<Vec<String>> {
    let names = value.many().into_iter();
    names
        .map(|name| Some(name.trim().to_owned()).filter(|name| sound(name)))
        .collect()
}

/// A group's name (CEP 44).
fn is_group(name: &str) -> bool {
    let sound = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.+-".contains(&b);
    (1..=64).contains(&name.len()) && name.bytes().all(sound)
}

/// A flag or a glob of flags (CEP 45).
fn is_flag(flag: &str) -> bool {
    let sound = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_*".contains(&b);
    let word = |word: &str| !word.is_empty() && word.bytes().all(sound);
    match flag.split_once(':') {
        Some((key, value)) => word(key) && word(value),
        None => word(flag),
    }
}

/// Reads what stands before the brackets: channel, name, version and build.
fn from_positions(text: &str) -> Option<MatchSpec> {
    let end = text.find(|c: char| c.is_whitespace() || OPERATORS.contains(&c));
    let (head, rest) = text.split_at_checked(end.unwrap_or(text.len()))?;
    let (origin, name) = head.rsplit_once(':').unwrap_or(("", head));
    let mut spec = MatchSpec {
        name: sound_name(name)?,
        version: None,
        build: None,
        build_number: None,
        when: None,
        extras: Vec::new(),
        flags: Vec::new(),
        others: BTreeMap::new(),
    };
    // A namespace stands between two colons, or before a single one, and means nothing.
    if let Some((channel, _)) = origin
        .rsplit_once(':')
        .filter(|(channel, _)| !channel.is_empty())
    {
        spec.others.insert("channel".to_owned(), channel.to_owned());
    }
    if !rest.trim().is_empty() {
        let (version, build) = version_and_build(rest)?;
        spec.version = Some(version);
        spec.build = build;
    }
    Some(spec)
}

/// A name, in lower case, or what stands for names.
fn sound_name(name: &str) -> Option<String> {
    let sound = |c: char| c.is_ascii_alphanumeric() || "_-.+*".contains(c);
    let exact = !name.is_empty() && name.chars().all(sound);
    if exact {
        return Some(name.to_ascii_lowercase());
    }
    let expression = name.starts_with('^') && Pattern::parse(name).is_some();
    expression.then(|| name.to_owned())
}

/// Reads what follows the name. One `=` is a separator as well as an operator, so that `name=1.8` means 1.8.*,
/// `name 1.8` and `name=1.8=build` 1.8 alone, and `name =1.8 build` 1.8.* again.
fn version_and_build(rest: &str) -> Option<(VersionSpec, Option<Pattern>)> {
    let attached = !rest.starts_with(char::is_whitespace);
    let (version, build) = split_build(rest.trim());
    let build = match build {
        Some(build) => Some(Pattern::parse(build)?),
        None => None,
    };
    let separated = version
        .strip_prefix('=')
        .filter(|version| attached && build.is_some() && !version.contains(['=', ',', '|']));
    Some((VersionSpec::parse(separated.unwrap_or(version))?, build))
}

/// Cuts a build off a version: what stands last, behind white space or a `=` that belongs to no operator.
fn split_build(text: &str) -> (&str, Option<&str>) {
    let at = match text.ends_with('$') {
        true => text.rfind(" ^").max(text.rfind("=^")),
        false => text.rfind(|c: char| c.is_whitespace() || "=,|<>~()".contains(c)),
    };
    let Some((version, tail)) = at.and_then(|at| text.split_at_checked(at)) else {
        return (text, None);
    };
    let build = tail.trim_start_matches(|c: char| c == '=' || c.is_whitespace());
    let parted = build.len() < tail.len() && !build.is_empty();
    let version = version.trim_end();
    let whole = !version.is_empty() && !version.ends_with(['=', '!', '|', ',', '<', '>', '~', '(']);
    match parted && whole {
        true => (version, Some(build)),
        false => (text, None),
    }
}
