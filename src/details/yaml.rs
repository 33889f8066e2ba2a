//! YAML as values of JSON. Owns what a document of other tools may look like: no depth beyond a limit, and
//! nothing that a short text makes long; must not know what stands in it.

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError};

use crate::json::{Json, Object};

/// How deep lists and mappings may stand in one another.
const MAX_DEPTH: usize = 64;

/// The most values of a document, as far as a look at its text tells.
const MAX_VALUES: usize = 100_000;

/// Why a text is not YAML that can be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum YamlError {
    /// Not YAML by its grammar.
    #[error("it is not valid YAML: {cause} (line {line})")]
    Syntax {
        /// What the reader met.
        cause: String,
        /// Where, counted from 1.
        line: usize,
    },
    /// Lists and mappings nested too deep.
    #[error("it is nested more than {MAX_DEPTH} deep")]
    TooDeep,
    /// More values than a recipe has; in memory each takes many times its text.
    #[error("it has more than {MAX_VALUES} values")]
    TooMany,
    /// A key that stands twice in one mapping.
    #[error("the key \"{}\" stands twice in one mapping", .0.escape_debug())]
    Duplicate(String),
    /// More than one document in the text.
    #[error("it holds more than one document")]
    SeveralDocuments,
}

impl From<ScanError> for YamlError {
    fn from(error: ScanError) -> Self {
        YamlError::Syntax {
            cause: error.info().escape_debug().to_string(),
            line: error.marker().line(),
        }
    }
}

/// Reads one document.
///
/// Scalars are strings as they stand there, whatever a schema would make of them; only a plain `null`, `~` or
/// nothing is null. Tags say nothing. An alias stands for null: it could make a short text arbitrarily long.
/// Members whose key is no scalar are left out.
///
/// # Errors
/// See [`YamlError`].
pub(super) fn parse(text: &str) -> Result<Json, YamlError> {
    // What begins a value, or ends the one before: the reader keeps whole collections of them.
    let starts = |b: &u8| matches!(b, b',' | b'[' | b'{' | b':' | b'\n');
    if text.as_bytes().iter().filter(|b| starts(b)).count() > MAX_VALUES {
        return Err(YamlError::TooMany);
    }
    let mut building = Building::default();
    for event in Parser::new_from_str(text) {
        let (event, _) = event?;
        building.take(event)?;
    }
    Ok(building.root.unwrap_or(Json::Null))
}

/// What is read so far: the collections that are still open, and the document once it is whole.
#[derive(Default)]
struct Building {
    open: Vec<Open>,
    root: Option<Json>,
}

enum Open {
    List(Vec<Json>),
    Mapping(Object, Key),
}

/// Where in a mapping the reader is.
enum Key {
    /// A key comes next.
    Awaited,
    /// The value of this key comes next.
    Text(String),
    /// The value of a key that is no string comes next.
    Other,
}

impl Building {
    fn take(&mut self, event: Event<'_>) -> Result<(), YamlError> {
        match event {
            Event::DocumentStart(_) if self.root.is_some() => Err(YamlError::SeveralDocuments),
            Event::Alias(_) => self.put(Json::Null),
            Event::Scalar(text, style, ..) => {
                let plain = style == ScalarStyle::Plain;
                self.put(if plain && is_null(&text) {
                    Json::Null
                } else {
                    Json::String(text.into_owned())
                })
            }
            Event::SequenceStart(..) => self.enter(Open::List(Vec::new())),
            Event::MappingStart(..) => self.enter(Open::Mapping(Object::new(), Key::Awaited)),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List(items)) => self.put(Json::Array(items)),
                Some(Open::Mapping(members, _)) => self.put(Json::Object(members)),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn enter(&mut self, open: Open) -> Result<(), YamlError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(YamlError::TooDeep);
        }
        self.open.push(open);
        Ok(())
    }

    /// Puts a whole value where it belongs.
    fn put(&mut self, value: Json) -> Result<(), YamlError> {
        match self.open.last_mut() {
            None => self.root = Some(value),
            Some(Open::List(items)) => items.push(value),
            Some(Open::Mapping(members, key)) => match std::mem::replace(key, Key::Awaited) {
                Key::Awaited => {
                    *key = match value {
                        Json::String(text) => Key::Text(text),
                        _ => Key::Other,
                    };
                }
                Key::Text(name) if members.contains_key(&name) => {
                    return Err(YamlError::Duplicate(name));
                }
                Key::Text(name) => {
                    members.insert(name, value);
                }
                Key::Other => {}
            },
        }
        Ok(())
    }
}

/// A plain scalar that every schema but the failsafe one takes for null (YAML 1.2.2, section 10.3.2).
fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn yaml_becomes_json() {
        for (yaml, json) in [
            ("", "null"),
            ("# nothing\n", "null"),
            ("a: 1.10", r#"{"a":"1.10"}"#),
            (
                "a: ~\nb: ''\nc: 'null'\nd:\ne: yes",
                r#"{"a":null,"b":"","c":"null","d":null,"e":"yes"}"#,
            ),
            (
                "- a\n- [b, {c: d}]\n-\n  - e",
                r#"["a",["b",{"c":"d"}],["e"]]"#,
            ),
            ("a: |\n  b\n  c\n", r#"{"a":"b\nc\n"}"#),
            ("a: 'b\n\n  c'", r#"{"a":"b\nc"}"#),
            ("a: &x [b]\nc: *x\n*x : d", r#"{"a":["b"],"c":null}"#),
            ("? [a]\n: b\n? {c: d}\n: [e]\nf: g", r#"{"f":"g"}"#),
            (
                "a: !!python/object:x.Y {b: c}\nd: !z e",
                r#"{"a":{"b":"c"},"d":"e"}"#,
            ),
            ("---\na: b\n...\n", r#"{"a":"b"}"#),
            ("\u{feff}a: b", r#"{"a":"b"}"#),
        ] {
            assert_eq!(parse(yaml).unwrap().compact(), json, "{yaml}");
        }
    }

    #[test]
    fn bad_yaml_is_refused() {
        let block = (0..100).map(|depth| format!("{}a:\n", " ".repeat(depth)));
        for (yaml, why) in [
            ("a: [".to_owned(), "not valid YAML"),
            ("a: b\n c: d".to_owned(), "not valid YAML"),
            ("a: *x".to_owned(), "not valid YAML"),
            ("a: b\0".to_owned(), "not valid YAML"),
            ("a: 1\nb: 2\na: 3".to_owned(), "\"a\" stands twice"),
            ("a: b\n---\nc: d".to_owned(), "more than one document"),
            (block.collect(), "more than 64 deep"),
            ("- ".repeat(100_000) + "a", "more than 64 deep"),
            ("[".repeat(100_000), "it is"),
            ("{".repeat(100_000), "it is"),
        ] {
            let error = parse(&yaml).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn nothing_panics(text in "([-?:,\\[\\]{}#&*!|>'\"%@` \n\t~a1\u{e9}\u{feff}\r\\\\<]|\n  |---|\\.\\.\\.|: |- |&a |\\*a |<<|!!x |\\\\x4){0,60}") {
            let _ = parse(&text);
        }
    }
}
