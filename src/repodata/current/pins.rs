//! The versions that stay beside the newest: a YAML file that maps names to lists of versions, as conda-index's
//! `-m` takes it. Owns reading it, event by event: no aliases, no nesting; must not know which packages there are.

use std::collections::BTreeSet;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use crate::error::Error;
use crate::match_spec::MatchSpec;

/// Versions that stay beside the newest.
#[derive(Debug, Clone, Default)]
pub struct Pins {
    path: String,
    pins: Vec<Pin>,
    warnings: Vec<String>,
}

/// A version that stays.
#[derive(Debug, Clone)]
pub(super) struct Pin {
    /// As it was written: `name=version`.
    text: String,
    /// What it means: `version` and all that begin so.
    pub spec: MatchSpec,
}

/// What is being read.
enum Reading {
    /// What stands before the mapping.
    Start,
    /// The mapping's next key.
    Name,
    /// A name's versions.
    Versions(String),
    /// The next version of a name's list.
    List(String),
    /// What follows the mapping.
    End,
}

impl Pins {
    /// Reads a list. An empty file is an empty list; one version may stand without one.
    ///
    /// # Errors
    /// When it isn't YAML, or of another form, with the line.
    pub fn parse(path: &str, text: &str) -> Result<Pins, Error> {
        let mut pins = Pins {
            path: path.to_owned(),
            ..Pins::default()
        };
        let (mut reading, mut names) = (Reading::Start, BTreeSet::new());
        for event in Parser::new_from_str(text) {
            let fail = |line: usize, cause: String| Error::Pins {
                path: path.to_owned(),
                line,
                cause,
            };
            let (event, span) = event.map_err(|e| fail(e.marker().line(), e.info().to_owned()))?;
            let next = pins.take(reading, event, span, &mut names);
            reading = next.map_err(|cause| fail(span.start.line(), cause))?;
        }
        Ok(pins)
    }

    /// What the next event makes of what is being read.
    fn take(
        &mut self,
        reading: Reading,
        event: Event<'_>,
        span: Span,
        names: &mut BTreeSet<String>,
    ) -> Result<Reading, String> {
        Ok(match (reading, event) {
            (reading, Event::Nothing | Event::StreamStart | Event::StreamEnd) => reading,
            (Reading::Start, Event::DocumentStart(_)) => Reading::Start,
            (Reading::Start, Event::Scalar(text, ScalarStyle::Plain, ..))
                if matches!(&*text, "" | "~") =>
            {
                Reading::End
            }
            (Reading::Start, Event::MappingStart(..)) => Reading::Name,
            (Reading::Name, Event::Scalar(name, ..)) => {
                let name = name.into_owned();
                if !names.insert(name.to_ascii_lowercase()) {
                    return Err(format!("\"{}\" stands twice", name.escape_debug()));
                }
                Reading::Versions(name)
            }
            (Reading::Name, Event::MappingEnd) => Reading::End,
            (Reading::Versions(name), Event::SequenceStart(..)) => Reading::List(name),
            (Reading::Versions(name), Event::Scalar(version, style, ..)) => {
                self.add(&name, &version, style, span)?;
                Reading::Name
            }
            (Reading::List(name), Event::Scalar(version, style, ..)) => {
                self.add(&name, &version, style, span)?;
                Reading::List(name)
            }
            (Reading::List(_), Event::SequenceEnd) => Reading::Name,
            (Reading::Start | Reading::End, Event::DocumentEnd) => Reading::End,
            (_, Event::Alias(_)) => return Err("there is an alias, which is not read".to_owned()),
            (Reading::End, _) => return Err("there is more than one document".to_owned()),
            _ => return Err("it does not map names to lists of versions".to_owned()),
        })
    }

    fn add(
        &mut self,
        name: &str,
        version: &str,
        style: ScalarStyle,
        span: Span,
    ) -> Result<(), String> {
        let text = format!("{name}={}", version.trim());
        let one_name = name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
        let spec = MatchSpec::parse(&text).filter(|_| one_name);
        let spec = spec.ok_or_else(|| format!("\"{}\" can't be read", text.escape_debug()))?;
        if let Some(number) = as_number(version).filter(|_| style == ScalarStyle::Plain) {
            self.warnings.push(format!(
                "{}, line {}: {version} stands without quotes, and other tools read it as {number}; write \"{version}\"",
                self.path,
                span.start.line(),
            ));
        }
        self.pins.push(Pin { text, spec });
        Ok(())
    }

    /// What is wrong with the list, and yet can be read.
    pub(super) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Pin> {
        self.pins.iter()
    }

    /// The warning for a pin that means nothing.
    pub(super) fn without_match(&self, pin: &Pin) -> String {
        format!("{}: no package of the channel is {}", self.path, pin.text)
    }
}

/// What a YAML reader makes of a plain version that it takes for a number, where its text is then another one:
/// `3.1` of `3.10`, `8` of `010`.
fn as_number(text: &str) -> Option<String> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let number = match text.split_once('.') {
        Some((whole, part)) if !whole.is_empty() => {
            let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
            let float: f64 = text
                .parse()
                .ok()
                .filter(|_| digits(whole) && digits(part))?;
            format!("{float:?}")
        }
        None if digits && text.starts_with('0') => i64::from_str_radix(text, 8).ok()?.to_string(),
        _ => return None,
    };
    (number != text).then_some(number)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn texts(pins: &Pins) -> Vec<&str> {
        pins.iter().map(|pin| pin.text.as_str()).collect()
    }

    #[test]
    fn lists_of_every_form() {
        for (text, pins) in [
            ("", &[][..]),
            ("# nothing\n", &[]),
            ("---\n...\n", &[]),
            ("{}", &[]),
            ("python: []", &[]),
            ("python: ['2.7', \"3.6\"]\n", &["python=2.7", "python=3.6"]),
            (
                "---\npython:\n- 2.7\n- 3.6.* *_cpython\nNumPy: 1.11 # one\n...",
                &["python=2.7", "python=3.6.* *_cpython", "NumPy=1.11"],
            ),
        ] {
            let read = Pins::parse("pins.yaml", text).unwrap();
            assert_eq!(texts(&read), pins, "{text}");
            assert_eq!(read.warnings().len(), 0, "{text}");
        }
    }

    #[test]
    fn numbers_that_others_read_as_different_ones_are_warned_of() {
        let text = "python:\n- 3.10\n- \"3.10\"\n- 3.1\n- 2\n- 3.10.1\n- 010\n- 1.0\n- 1.00\n";
        let pins = Pins::parse("pins.yaml", text).unwrap();
        assert_eq!(texts(&pins).first(), Some(&"python=3.10"));
        assert_eq!(
            pins.warnings(),
            [
                "pins.yaml, line 2: 3.10 stands without quotes, and other tools read it as 3.1; write \"3.10\"",
                "pins.yaml, line 7: 010 stands without quotes, and other tools read it as 8; write \"010\"",
                "pins.yaml, line 9: 1.00 stands without quotes, and other tools read it as 1.0; write \"1.00\"",
            ]
        );
    }

    #[test]
    fn what_is_no_list() {
        let deep = "a: ".to_owned() + &"[".repeat(100_000);
        let keys = "? ".repeat(50_000);
        for (text, line) in [
            ("python", 1),
            ("- python", 1),
            ("python: {a: b}", 1),
            ("python: [[1]]", 1),
            ("[a]: b", 1),
            ("a: &x ['1']\nb: *x", 2),
            ("a: ['1']\n\nA: ['2']", 3),
            ("a:\n- '1'\n- ' '", 3),
            ("a:\n- '1..2'", 2),
            ("a:\n- ", 2),
            ("a:", 1),
            ("'a*': '1'", 1),
            ("'a[build=b]': '1'", 1),
            ("a: '1'\n---\nb: '2'", 2),
            ("a: '1", 1),
            ("a: ['1'\n", 2),
            (&deep, 1),
            (&keys, 1),
        ] {
            let start: String = text.chars().take(40).collect();
            let error = Pins::parse("pins.yaml", text).unwrap_err().to_string();
            assert!(error.starts_with("pins.yaml, line "), "{start}: {error}");
            assert!(
                error.starts_with(&format!("pins.yaml, line {line}: ")),
                "{start}: {error}"
            );
            assert!(error.contains("write"), "{start}: {error}");
        }
    }
}
