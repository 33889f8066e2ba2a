//! Details from a package's own files. Owns what is taken from each, and which flaws are errors and which
//! only notes; must not know how the files came out of the archive.

use super::{Details, Install, recipe};
use crate::json::{self, Json, JsonError, Object};

/// What is taken from `info/about.json`: keys of `channeldata.json` (CEP 38, and conda-index for the rest).
const ABOUT: [&str; 15] = [
    "description",
    "dev_url",
    "doc_source_url",
    "doc_url",
    "home",
    "icon_hash",
    "icon_url",
    "identifiers",
    "keywords",
    "license",
    "recipe_origin",
    "source_git_url",
    "source_url",
    "summary",
    "tags",
];

/// The largest JSON file that is read, in bytes. Real ones stay below a tenth of it.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// The largest description that is kept, in bytes of compact JSON: one is in memory for every package.
const MAX_VALUE: usize = 64 * 1024;

/// The members of `info/` that details are made of, as far as the package has them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sources<'a> {
    /// `info/run_exports.json`
    pub run_exports_json: Option<&'a [u8]>,
    /// `info/about.json`
    pub about_json: Option<&'a [u8]>,
    /// `info/recipe/meta.yaml`
    pub recipe: Option<&'a [u8]>,
}

/// Why a package has no details: builds rely on its run exports, so none are guessed.
#[derive(Debug, thiserror::Error)]
pub enum DetailsError {
    /// Larger than any that people wrote.
    #[error("info/run_exports.json has more than {} MiB", MAX_BYTES / 1024 / 1024)]
    TooLarge,
    /// Not the JSON that clients can read.
    #[error("info/run_exports.json can't be read: {0}")]
    Json(#[from] JsonError),
    /// JSON of another kind.
    #[error("info/run_exports.json is neither an object nor a list of strings")]
    WrongType,
}

impl Details {
    /// Makes details of a package's files. The notes are clauses whose subject is the package file.
    ///
    /// `run_exports.json` is kept as it is when it is an object (CEP 12); a list of strings, as old packages have
    /// it, means `weak`, and null means none. What describes the project is never worth refusing a package for:
    /// a file that can't be read gives a note, and nothing is taken from it. Where both say it, the recipe's
    /// `source_url` wins, as in conda-index.
    ///
    /// # Errors
    /// When `run_exports.json` is unreadable or of another type.
    pub fn read(
        sources: &Sources<'_>,
        install: Install,
    ) -> Result<(Details, Vec<String>), DetailsError> {
        let run_exports = match sources.run_exports_json {
            Some(bytes) => run_exports(bytes)?,
            None => Object::new(),
        };
        let mut notes = Vec::new();
        let mut about = Object::new();
        if let Some(bytes) = sources.about_json {
            match descriptions(bytes) {
                Ok(taken) => about = taken,
                Err(cause) => notes.push(unreadable("info/about.json", &cause)),
            }
        }
        if let Some(bytes) = sources.recipe {
            match recipe::sources(bytes) {
                Ok(taken) => about.extend(taken),
                Err(cause) => notes.push(unreadable("info/recipe/meta.yaml", &cause.to_string())),
            }
        }
        about.retain(|key, value| {
            let small = value.compact().len() <= MAX_VALUE;
            if !small {
                let kib = MAX_VALUE / 1024;
                notes.push(format!(
                    "has a \"{key}\" of more than {kib} KiB, which is left out of what is said of the project"
                ));
            }
            small
        });
        Ok((Details::new(&run_exports, &about, install), notes))
    }
}

/// Whether a key is one of those under which descriptions are taken.
pub(super) fn is_about(key: &str) -> bool {
    ABOUT.contains(&key)
}

fn unreadable(member: &str, cause: &str) -> String {
    format!("has an {member} that can't be read: {cause}; nothing is taken from it")
}

fn run_exports(bytes: &[u8]) -> Result<Object, DetailsError> {
    if bytes.len() > MAX_BYTES {
        return Err(DetailsError::TooLarge);
    }
    match json::parse_small(bytes)? {
        Json::Object(run_exports) => Ok(run_exports),
        Json::Null => Ok(Object::new()),
        Json::Array(weak) if weak.is_empty() => Ok(Object::new()),
        Json::Array(weak) if weak.iter().all(|spec| spec.as_str().is_some()) => {
            Ok(Object::from([("weak".to_owned(), Json::Array(weak))]))
        }
        _ => Err(DetailsError::WrongType),
    }
}

/// What is taken from `about.json`, or why it can't be read.
fn descriptions(bytes: &[u8]) -> Result<Object, String> {
    if bytes.len() > MAX_BYTES {
        return Err(format!("it has more than {} MiB", MAX_BYTES / 1024 / 1024));
    }
    let Json::Object(mut said) = json::parse_small(bytes).map_err(|cause| cause.to_string())?
    else {
        return Err("it is not a JSON object".to_owned());
    };
    let taken = ABOUT.into_iter().filter_map(|key| {
        let value = match said.remove(key)? {
            Json::Null => return None,
            value if matches!(key, "description" | "summary") => one_line(value),
            value => value,
        };
        Some((key.to_owned(), value))
    });
    Ok(taken.collect())
}

/// A text in one line; a list of strings, as some packages have it, is one text. Other values stay.
fn one_line(value: Json) -> Json {
    let text: Option<String> = match &value {
        Json::String(text) => Some(text.clone()),
        Json::Array(parts) => parts.iter().map(Json::as_str).collect(),
        _ => None,
    };
    let text = text.map(|text| text.trim().replace("\r\n", " ").replace(['\n', '\r'], " "));
    text.map_or(value, Json::String)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(sources: &Sources<'_>) -> (Details, Vec<String>) {
        Details::read(sources, Install::default()).unwrap()
    }

    #[test]
    fn run_exports_are_an_object_or_a_list() {
        for (text, kept) in [
            (
                r#"{"weak":["x >=1"],"strong":[]}"#,
                Some(r#"{"strong":[],"weak":["x >=1"]}"#),
            ),
            (
                r#"{"of_tomorrow":{"a":1e3}}"#,
                Some(r#"{"of_tomorrow":{"a":1000.0}}"#),
            ),
            ("{}", Some("{}")),
            (r#"["x","y >1"]"#, Some(r#"{"weak":["x","y >1"]}"#)),
            ("[]", Some("{}")),
            (" null\n", Some("{}")),
            ("[1]", None),
            (r#"["x",null]"#, None),
            ("\"x\"", None),
            ("7", None),
            ("", None),
            ("{", None),
            (r#"{"weak":[],"weak":[]}"#, None),
        ] {
            let sources = Sources {
                run_exports_json: Some(text.as_bytes()),
                ..Sources::default()
            };
            match Details::read(&sources, Install::default()) {
                Ok((details, notes)) => {
                    assert_eq!(Some(details.run_exports()), kept, "{text}");
                    assert!(notes.is_empty());
                }
                Err(error) => {
                    assert_eq!(None, kept, "{text}: {error}");
                    assert!(error.to_string().starts_with("info/run_exports.json "));
                }
            }
        }
        let large = vec![b' '; MAX_BYTES + 1];
        let sources = Sources {
            run_exports_json: Some(&large),
            ..Sources::default()
        };
        assert!(Details::read(&sources, Install::default()).is_err());
        assert_eq!(read(&Sources::default()), (Details::default(), Vec::new()));
    }

    #[test]
    fn known_descriptions_are_taken() {
        let about = r#"{"home":"https://x","license":null,"root_pkgs":["a"],"tags":["a"],"description":" a\nb\r\nc\n",
            "summary":["a\n","b"],"identifiers":[],"doc_url":["u","v"],"recipe_origin":{"a":1},"version":"9"}"#;
        let (details, notes) = read(&Sources {
            about_json: Some(about.as_bytes()),
            ..Sources::default()
        });
        assert_eq!(
            details.about_text(),
            r#"{"description":"a b c","doc_url":["u","v"],"home":"https://x","identifiers":[],"recipe_origin":{"a":1},"summary":"a b","tags":["a"]}"#
        );
        assert!(notes.is_empty());
    }

    #[test]
    fn the_recipe_knows_the_sources_best() {
        let (details, _) = read(&Sources {
            about_json: Some(br#"{"source_url":"a","source_git_url":"b"}"#),
            recipe: Some(b"source: {url: c}"),
            ..Sources::default()
        });
        assert_eq!(
            details.about_text(),
            r#"{"source_git_url":"b","source_url":"c"}"#
        );
    }

    #[test]
    fn what_cannot_be_read_is_noted() {
        let (details, notes) = read(&Sources {
            about_json: Some(b"[]"),
            recipe: Some(b"source: [{url: a}"),
            ..Sources::default()
        });
        assert_eq!(details, Details::default());
        assert_eq!(notes.len(), 2);
        assert_eq!(
            notes.first().unwrap(),
            "has an info/about.json that can't be read: it is not a JSON object; nothing is taken from it"
        );
        assert!(notes.iter().all(|note| note.starts_with("has an info/")));

        let about = format!(
            r#"{{"summary":"s","description":"{}","tags":"{}"}}"#,
            "x".repeat(MAX_VALUE),
            "x".repeat(MAX_VALUE - 2),
        );
        let (details, notes) = read(&Sources {
            about_json: Some(about.as_bytes()),
            ..Sources::default()
        });
        let about = details.about();
        assert_eq!(about.keys().collect::<Vec<_>>(), ["summary", "tags"]);
        assert_eq!(
            notes,
            [
                "has a \"description\" of more than 64 KiB, which is left out of what is said of the project"
            ]
        );

        let large = vec![b' '; MAX_BYTES + 1];
        let (_, notes) = read(&Sources {
            about_json: Some(&large),
            ..Sources::default()
        });
        assert_eq!(notes.len(), 1);
    }
}
