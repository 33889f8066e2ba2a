//! Patterns of package names, as the operator gives them (`--replace=GLOB`). Owns how they are read, up to a limit, and
//! what they name; must not know what is done with the packages.

use globset::{ErrorKind, GlobSet, GlobSetBuilder};

use crate::shown::line;

/// The longest pattern, in characters: two hundred file names. What is compiled of it stays small.
const MAX_LENGTH: usize = 8_192;

/// The most characters of a pattern that an error shows.
const SHOWN: usize = 60;

/// A pattern of packages, by their paths or their file names alone.
#[derive(Debug, Clone)]
pub struct Glob(GlobSet);

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{pattern}: no pattern of package names: {why}; write one as 'a-1.*', with * for anything and {{a,b}} for a choice"
)]
pub struct GlobError {
    /// The text, cut.
    pub pattern: String,
    /// What is wrong with it.
    pub why: String,
}

impl Glob {
    /// Reads a pattern.
    ///
    /// # Errors
    /// When it is none, is longer than 8,192 characters, or makes too much when it is compiled.
    pub fn parse(pattern: &str) -> Result<Glob, GlobError> {
        let fail = |why: String| GlobError {
            pattern: cut(pattern),
            why,
        };
        if pattern.chars().nth(MAX_LENGTH).is_some() {
            return Err(fail(format!("it has more than {MAX_LENGTH} characters")));
        }
        // A matcher of a pattern alone panics where its expression can't be compiled; a set says so.
        let set = globset::Glob::new(pattern)
            .and_then(|glob| GlobSetBuilder::new().add(glob).build())
            .map_err(|error| match error.kind() {
                ErrorKind::Regex(_) => fail("it is too large or too deeply nested".to_owned()),
                kind => fail(kind.to_string()),
            })?;
        Ok(Glob(set))
    }

    /// Whether it names a package, by its path or by its file name alone.
    pub(super) fn covers(&self, path: &str) -> bool {
        let name = path.rsplit('/').next().unwrap_or(path);
        self.0.is_match(path) || self.0.is_match(name)
    }
}

fn cut(pattern: &str) -> String {
    let start: String = pattern.chars().take(SHOWN).collect();
    let mut shown = line(&start);
    if pattern.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn a_pattern_names_packages_by_path_or_name() {
        let covers = |pattern: &str, path: &str| Glob::parse(pattern).unwrap().covers(path);
        for (pattern, is_named) in [
            ("*", true),
            ("a-*", true),
            ("*.conda", true),
            ("a-1-0.conda", true),
            ("noarch/a-1-0.conda", true),
            ("noarch/*", true),
            ("**/a-1-0.conda", true),
            ("{b,a}-?-[0-9].{conda,tar.bz2}", true),
            ("b-*", false),
            ("linux-64/*", false),
            ("*.tar.bz2", false),
            ("a-1-0", false),
            ("", false),
        ] {
            assert_eq!(covers(pattern, "noarch/a-1-0.conda"), is_named, "{pattern}");
        }
    }

    #[test]
    fn what_can_not_be_compiled_is_an_error() {
        let why = |pattern: &str| Glob::parse(pattern).unwrap_err().why;
        for count in [8_193, 100_000] {
            assert!(why(&"*".repeat(count)).contains("8192 characters"));
        }
        assert!(why(&("{a,".repeat(5_000) + &"}".repeat(5_000))).contains("characters"));
        for depth in [256, 2_048] {
            assert!(why(&("{a,".repeat(depth) + &"}".repeat(depth))).contains("nested"));
        }
        let names = (0..200).map(|at| format!("package-{at}-1.0.0-h1234567_0.conda"));
        let names: Vec<String> = names.collect();
        let all = format!("{{{}}}", names.join(","));
        assert!(
            Glob::parse(&all)
                .unwrap()
                .covers(&format!("noarch/{}", names[7]))
        );
        assert!(why("a[").contains("class"));
        assert!(why("{a").contains("group"));
        let shown = Glob::parse(&"x".repeat(9_000)).unwrap_err().to_string();
        assert!(shown.chars().count() < 250, "{shown}");
    }

    #[test]
    fn whatever_is_not_too_long_compiles_or_is_an_error() {
        for (open, close) in [
            ("{a,", "}"),
            ("{", "}"),
            ("{*,", "}"),
            ("[a", "]"),
            ("[^\u{10ffff}]", ""),
            ("**/", ""),
            ("*", ""),
            ("?", ""),
            ("é", ""),
            ("{[!a-z]*,?", "}"),
            ("\\", ""),
        ] {
            for count in 1..=MAX_LENGTH {
                let pattern = open.repeat(count) + &close.repeat(count);
                // The steps in between tell nothing new.
                let is_tried = count < 4 || count % 997 == 0;
                if pattern.chars().count() > MAX_LENGTH {
                    break;
                }
                let last = pattern.chars().count() + 1 + close.len() > MAX_LENGTH;
                if (is_tried || last)
                    && let Ok(glob) = Glob::parse(&pattern)
                {
                    glob.covers("noarch/a-1-0.conda");
                }
            }
        }
    }
}
