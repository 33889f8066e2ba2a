//! What an environment says of a package that is installed in it: a file of `conda-meta`. Owns reading it, with care,
//! since anything may have written it; must not judge what it says.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

use super::said::strings;
use crate::record::unhex;
use crate::upstream::decoded;

/// A package as an environment remembers it.
#[derive(Debug)]
pub(super) struct Installed {
    /// The file that says so, by its path in the environment.
    pub file: String,
    /// The package's file name.
    pub package: String,
    /// `name`, `version` and `build`.
    pub identity: [Option<String>; 3],
    /// The channel by its URL, and the subdir, where that is told.
    pub origin: Option<(String, String)>,
    pub sha256: Option<[u8; 32]>,
    pub md5: Option<[u8; 16]>,
    /// Bytes.
    pub size: Option<u64>,
    pub depends: Vec<String>,
    /// `None` where old clients did not write them down.
    pub constrains: Option<Vec<String>>,
    /// Where the package's own file was.
    pub tarball: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Text {
    #[serde(default)]
    name: Value,
    #[serde(default)]
    version: Value,
    #[serde(default)]
    build: Value,
    #[serde(default, rename = "fn")]
    file_name: Value,
    #[serde(default)]
    url: Value,
    #[serde(default)]
    sha256: Value,
    #[serde(default)]
    md5: Value,
    #[serde(default)]
    size: Value,
    #[serde(default)]
    depends: Value,
    #[serde(default)]
    constrains: Value,
    #[serde(default)]
    package_tarball_full_path: Value,
}

impl Installed {
    /// Reads a file of `conda-meta`.
    ///
    /// # Errors
    /// Why it is none, in words for the user.
    pub fn read(file: &str, bytes: &[u8]) -> Result<Installed, String> {
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            return Err("it is not a JSON object".to_owned());
        }
        let text: Text = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let owned = |value: &Value| value.as_str().map(str::to_owned);
        let url = text.url.as_str().unwrap_or_default();
        let origin = origin(url);
        let named = text.file_name.as_str();
        let package = match (&origin, named) {
            (Some((_, _, in_url)), Some(named)) if in_url != named => {
                return Err(format!(
                    "its URL ends in {in_url:?}, and its file is called {named:?}"
                ));
            }
            (Some((_, _, in_url)), _) => in_url.clone(),
            (None, named) => named.unwrap_or_default().to_owned(),
        };
        Ok(Installed {
            file: file.to_owned(),
            package,
            identity: [&text.name, &text.version, &text.build].map(owned),
            origin: origin.map(|(channel, subdir, _)| (channel, subdir)),
            sha256: text.sha256.as_str().and_then(unhex),
            md5: text.md5.as_str().and_then(unhex),
            size: text.size.as_u64(),
            depends: strings(&text.depends),
            constrains: text
                .constrains
                .is_array()
                .then(|| strings(&text.constrains)),
            tarball: owned(&text.package_tarball_full_path)
                .filter(|path| !path.is_empty())
                .map(PathBuf::from),
        })
    }
}

/// Channel, subdir and file of a package's URL; `None` for one of no channel.
fn origin(url: &str) -> Option<(String, String, String)> {
    let (_, rest) = url.split_once("://")?;
    // What stands behind them is no part of a file's name.
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    let url = url.get(..url.len().checked_sub(rest.len())?.checked_add(end)?)?;
    let (folder, file) = url.rsplit_once('/')?;
    let (channel, subdir) = folder.rsplit_once('/')?;
    let is_whole = !file.is_empty() && !subdir.is_empty() && !channel.ends_with('/');
    // A version may have an epoch or a local part, `1!2+3`, which some clients write as `1%212%2B3`.
    is_whole.then(|| (channel.to_owned(), subdir.to_owned(), decoded(file)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_package_is_of_the_channel_in_its_url() {
        let read = |text: &str| Installed::read("f", text.as_bytes());
        let one = read(
            r#"{"name":"a","url":"https://h/t/tok/c/noarch/a-1-0.conda?x=y","depends":["b"]}"#,
        );
        let one = one.unwrap();
        let origin = ("https://h/t/tok/c".to_owned(), "noarch".to_owned());
        assert_eq!(one.origin, Some(origin));
        assert_eq!(
            (one.package.as_str(), one.constrains),
            ("a-1-0.conda", None)
        );
        assert_eq!(one.depends, ["b"]);
        let one =
            read(r#"{"fn":"a-1!2+3-0.conda","url":"https://h/c/noarch/a-1%212%2b3-0.conda"}"#);
        assert_eq!(one.unwrap().package, "a-1!2+3-0.conda");
        for none in [
            "",
            "a.conda",
            "https://",
            "https://a.conda",
            "file:///a.conda",
            "https://h/c/noarch/",
        ] {
            let one = read(&format!(r#"{{"fn":"a.conda","url":"{none}"}}"#)).unwrap();
            assert_eq!(one.origin, None, "{none}");
        }
        for broken in [
            "",
            "[]",
            "{",
            r#"{"fn":"b.conda","url":"https://h/c/noarch/a.conda"}"#,
        ] {
            assert!(read(broken).is_err(), "{broken}");
        }
    }
}
