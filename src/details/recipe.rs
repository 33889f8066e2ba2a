//! The recipe of a package, as far as it says where the sources came from. Owns what is taken from
//! `info/recipe/meta.yaml`; must not know what else describes a package.

use super::yaml::{self, YamlError};
use crate::json::{Json, Object};

/// The largest recipe that is read, in bytes. Readers of YAML need many times the text's size.
const MAX_BYTES: usize = 1024 * 1024;

/// Why a recipe can't be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecipeError {
    /// Larger than any recipe that people wrote.
    #[error("it has more than {} KiB", MAX_BYTES / 1024)]
    TooLarge,
    /// Not text.
    #[error("it is not UTF-8 (byte {0})")]
    NotUtf8(usize),
    /// Not YAML.
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// YAML of another kind.
    #[error("it is not a mapping")]
    NotAMapping,
}

/// `source_url` and `source_git_url`, as far as the recipe has them.
///
/// One source gives its `url` and `git_url`; several give the list of their `url`s (CEP 38). An unrendered recipe
/// gives nothing: what stands between Jinja's braces is not known.
///
/// # Errors
/// See [`RecipeError`].
pub(super) fn sources(recipe: &[u8]) -> Result<Object, RecipeError> {
    if recipe.len() > MAX_BYTES {
        return Err(RecipeError::TooLarge);
    }
    let text = std::str::from_utf8(recipe).map_err(|e| RecipeError::NotUtf8(e.valid_up_to()))?;
    if text.contains("{{") || text.contains("{%") {
        return Ok(Object::new());
    }
    let recipe = match yaml::parse(text)? {
        Json::Object(recipe) => recipe,
        Json::Null => Object::new(),
        _ => return Err(RecipeError::NotAMapping),
    };
    let mut taken = Object::new();
    let mut take = |key: &str, value: Option<Json>| {
        if let Some(value) = value {
            taken.insert(key.to_owned(), value);
        }
    };
    match recipe.get("source") {
        Some(Json::Object(source)) => {
            take("source_url", source.get("url").and_then(one_or_more));
            take(
                "source_git_url",
                source.get("git_url").and_then(one_or_more),
            );
        }
        Some(Json::Array(sources)) => {
            let urls = sources.iter().filter_map(|source| match source {
                Json::Object(source) => source.get("url"),
                _ => None,
            });
            let urls: Vec<Json> = urls.flat_map(texts).collect();
            take(
                "source_url",
                (!urls.is_empty()).then_some(Json::Array(urls)),
            );
        }
        _ => {}
    }
    Ok(taken)
}

/// A string, or the strings of a list: the same source at several places.
fn one_or_more(value: &Json) -> Option<Json> {
    let mut texts = texts(value);
    match value {
        Json::Array(_) => (!texts.is_empty()).then_some(Json::Array(texts)),
        _ => texts.pop(),
    }
}

/// The strings in a value, the empty ones left out.
fn texts(value: &Json) -> Vec<Json> {
    let values = match value {
        Json::Array(values) => values.as_slice(),
        value => std::slice::from_ref(value),
    };
    let texts = values
        .iter()
        .filter(|value| value.as_str().is_some_and(|text| !text.is_empty()));
    texts.cloned().collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_recipe_tells_its_sources() {
        for (recipe, taken) in [
            ("package: {name: x}", "{}"),
            ("", "{}"),
            ("source:", "{}"),
            ("source: x", "{}"),
            ("source: []", "{}"),
            (
                "source:\n  url: https://x/1.tar.gz\n  fn: x\n  sha256: ab\n",
                r#"{"source_url":"https://x/1.tar.gz"}"#,
            ),
            (
                "source:\n  git_url: https://x/1.git\n  git_rev: 1.10\n  git_tag: x",
                r#"{"source_git_url":"https://x/1.git"}"#,
            ),
            (
                "source: {url: [a, '', b, {c: d}, ~]}",
                r#"{"source_url":["a","b"]}"#,
            ),
            ("source: {url: [], git_url: {a: b}}", "{}"),
            ("source: {url: ~, git_url: ''}", "{}"),
            (
                "source:\n- url: a\n- git_url: b\n- url: [c, d]\n- e\n- path: f",
                r#"{"source_url":["a","c","d"]}"#,
            ),
            ("source:\n- url: a", r#"{"source_url":["a"]}"#),
            ("source:\n- path: a\n- git_url: b", "{}"),
            ("source: &s {url: a}\nabout: *s", r#"{"source_url":"a"}"#),
            ("about: &s {url: a}\nsource: *s", "{}"),
            ("source: {url: a}\nbuild: '{{ x }}'", "{}"),
            ("{% set v = 1 %}\nsource: {url: a}", "{}"),
        ] {
            let sources = Json::Object(sources(recipe.as_bytes()).unwrap());
            assert_eq!(sources.compact(), taken, "{recipe}");
        }
    }

    #[test]
    fn what_is_no_recipe_is_an_error() {
        let large = "#".repeat(MAX_BYTES + 1);
        let cases: [(&[u8], &str); 5] = [
            (b"- a", "not a mapping"),
            (b"a", "not a mapping"),
            (b"a: [", "not valid YAML"),
            (b"a: \xff", "not UTF-8 (byte 3)"),
            (large.as_bytes(), "more than 1024 KiB"),
        ];
        for (recipe, why) in cases {
            let error = sources(recipe).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
