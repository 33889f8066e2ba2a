//! The policy file: TOML. Owns its form and its errors; an unknown word in it is an error.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use super::{ChannelName, MOST_FRESH, Source, Wanted, Words, require};
use crate::error::Error;
use crate::shown::shown;
use crate::upstream::without_secrets;

/// What a policy file says.
#[derive(Debug, Clone, Default)]
pub struct PolicyFile {
    /// Its channels, by name.
    pub channels: Vec<Wanted>,
    /// What it says for all of them.
    pub words: Words,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    require: Option<String>,
    min_bits: Option<u32>,
    fresh: Option<u32>,
    timeout: Option<u32>,
    #[serde(default)]
    channels: BTreeMap<String, Channel>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Channel {
    url: Option<String>,
    folder: Option<String>,
    #[serde(default)]
    trust: Vec<String>,
    require: Option<String>,
    min_bits: Option<u32>,
    /// Seconds.
    fresh: Option<u32>,
    /// Seconds.
    timeout: Option<u32>,
}

impl PolicyFile {
    /// Reads the text of a policy file, which lies at `path`: folders in it are relative to its own.
    ///
    /// # Errors
    /// When it is no TOML, has a word that it may not have, or lacks one. No value of it is quoted: URLs may hold
    /// credentials.
    pub fn parse(path: &Path, text: &str) -> Result<PolicyFile, Error> {
        let fail = |cause: String| Error::Usage(format!("{}: {cause}", shown(path)));
        let document: Document = toml::from_str(text).map_err(|error| fail(place(text, &error)))?;
        let general = words(
            document.require,
            document.min_bits,
            [document.fresh, document.timeout],
        );
        let mut channels = Vec::new();
        for (name, channel) in document.channels {
            let fail = |error: Error| fail(format!("channels.{}: {error}", without_secrets(&name)));
            let name = ChannelName::parse(&name).map_err(fail)?;
            channels.push(channel.wanted(name, path).map_err(fail)?);
        }
        let words = general.map_err(|error| fail(error.to_string()))?;
        Ok(PolicyFile { channels, words })
    }
}

impl Channel {
    fn wanted(self, name: ChannelName, path: &Path) -> Result<Wanted, Error> {
        let source = match (self.url, self.folder) {
            (Some(url), None) => match Source::parse(&url)? {
                Source::Folder(_) if !url.contains("://") => {
                    let how = "its url is none; a folder is given as `folder = …`";
                    return Err(Error::Usage(how.to_owned()));
                }
                source => source,
            },
            (None, Some(folder)) => {
                Source::Folder(path.parent().unwrap_or(Path::new("")).join(folder))
            }
            _ => {
                let how = "it needs either `url = …` or `folder = …`";
                return Err(Error::Usage(how.to_owned()));
            }
        };
        Ok(Wanted {
            name,
            source,
            trust: self.trust,
            words: words(self.require, self.min_bits, [self.fresh, self.timeout])?,
        })
    }
}

fn words(
    required: Option<String>,
    min_bits: Option<u32>,
    times: [Option<u32>; 2],
) -> Result<Words, Error> {
    let [fresh, timeout] = times;
    if fresh.is_some_and(|seconds| seconds > MOST_FRESH) {
        return Err(Error::Usage(format!(
            "`fresh` may be {MOST_FRESH} seconds at most: a signed index that is held back goes unnoticed for so long"
        )));
    }
    let seconds = |it: Option<u32>| it.map(|seconds| Duration::from_secs(seconds.into()));
    Ok(Words {
        require: required.as_deref().map(require).transpose()?,
        min_bits,
        fresh: seconds(fresh),
        timeout: seconds(timeout),
    })
}

/// The line and what is wrong, without the text itself.
fn place(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map(|before| before.matches('\n').count().saturating_add(1));
    let line = line.map_or_else(String::new, |line| format!("line {line}: "));
    format!("{line}{}", error.message())
}
