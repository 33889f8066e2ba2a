//! Where an index leads the clients that read it: to packages and shards beside it, to other places, to other channels.
//! Owns which of that leads past the checks of the gate; must not know records.

use serde::Deserialize;

use super::Unfit;
use super::stream::{Lead, Text};
use crate::json::Json;
use crate::repodata::shards::ShardIndex;

/// The most characters that are quoted of where an index leads.
const QUOTED: usize = 200;

/// Whether an index may lead its clients to other channels beside its own (CEP 42), which they find behind the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::gate) enum Relations {
    /// Its keeper says so, and signed that.
    Signed,
    /// Anybody may have said so, to lead clients to a channel of which less is demanded.
    #[default]
    Refused,
}

/// What an index says of itself, as far as clients follow it.
#[derive(Default, Deserialize)]
pub(super) struct Info {
    #[serde(default)]
    base_url: Option<Text>,
    #[serde(default)]
    channel_relations: Option<Lead>,
}

impl Info {
    /// Whether all that clients read by this comes through the gate, and is checked there.
    pub fn is_fit(&self, relations: Relations) -> Result<(), Unfit> {
        is_here(self.base_url.as_ref().and_then(|base| base.0.as_deref()))?;
        match (&self.channel_relations, relations) {
            (None | Some(Lead::Nowhere), _) | (Some(Lead::Beside(_)), Relations::Signed) => Ok(()),
            (Some(Lead::Beside(to)), Relations::Refused) => Err(format!(
                "leads to another channel, {}, and is not signed: anybody may have written that",
                quoted(to)
            )),
            (Some(Lead::Away(to)), _) => Err(format!(
                "leads to another channel by {}, which is no path to one beside it, so clients would go past the gate",
                quoted(to)
            )),
        }
    }
}

/// Where a shard index says that its shards lie: a folder below the subdir, with a final slash, or nothing for the
/// subdir itself.
pub(in crate::gate) fn shards_folder(
    index: &ShardIndex,
    relations: Relations,
) -> Result<String, Unfit> {
    let text = |key: &str| match index.info.get(key) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(format!("has a {key} that is no text")),
    };
    text("base_url")?;
    let info: Info = serde_json::from_str(&Json::Object(index.info.clone()).compact())
        .map_err(|cause| format!("can't be read: {cause}"))?;
    info.is_fit(relations)?;
    let base = text("shards_base_url")?.unwrap_or_default();
    let base = base.strip_prefix("./").unwrap_or(base);
    let base = base.strip_suffix('/').unwrap_or(base);
    if base.is_empty() || base == "." {
        return Ok(String::new());
    }
    match base.split('/').all(is_plain) {
        true => Ok(format!("{base}/")),
        false => Err(elsewhere(base, "shards")),
    }
}

/// Whether a part of a path is a name that means itself in every URL.
fn is_plain(part: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    !part.is_empty() && part != "." && part != ".." && part.bytes().all(good)
}

/// Whether a file's name is more than a name: joined to a URL, it could lead to another host, or to another channel
/// behind the gate, whose policy asks for less.
pub(super) fn leads_away(name: &str) -> bool {
    name.contains(['/', '\\', '?', '#', '%', ':'])
}

/// Whether packages lie beside the index (CEP 15): clients fetch them past the gate where they lie elsewhere.
fn is_here(base_url: Option<&str>) -> Result<(), Unfit> {
    match base_url {
        None | Some("" | "." | "./") => Ok(()),
        Some(base) => Err(elsewhere(base, "packages")),
    }
}

fn elsewhere(base: &str, what: &str) -> Unfit {
    let base = quoted(base);
    format!("says that its {what} lie at {base}, where clients would fetch them past the gate")
}

fn quoted(text: &str) -> String {
    let text = text.chars().take(QUOTED);
    text.flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::json::Object;

    #[test]
    fn shards_lie_below_the_subdir() {
        let folder = |base_url: &str, shards: &str| {
            let info = [("base_url", base_url), ("shards_base_url", shards)];
            let info = info.map(|(key, text)| (key.to_owned(), Json::String(text.to_owned())));
            let info = Object::from(info);
            let shards = Default::default();
            shards_folder(&ShardIndex { info, shards }, Relations::Refused)
        };
        assert_eq!(folder("", "./shards/").unwrap(), "shards/");
        assert_eq!(folder("./", "a/b").unwrap(), "a/b/");
        assert_eq!(folder("", "").unwrap(), "");
        assert_eq!(folder("", "./").unwrap(), "");
        for (base_url, shards) in [
            ("https://evil", ""),
            ("", "https://evil/"),
            ("", "../x"),
            ("", "/x"),
            ("", "//evil/x"),
        ] {
            assert!(folder(base_url, shards).is_err(), "{base_url} {shards}");
        }
    }

    #[test]
    fn relations_lead_to_channels_beside_where_they_are_signed() {
        let fit = |info: &str, relations| {
            let info: Info = serde_json::from_str(info).unwrap();
            info.is_fit(relations)
        };
        for nothing in ["null", "{}", r#"{"base":null}"#] {
            let info = format!(r#"{{"channel_relations":{nothing}}}"#);
            assert_eq!(fit(&info, Relations::Refused), Ok(()), "{info}");
        }
        for beside in ["../x", "../..", "../../a/b", "../x/"] {
            let info = format!(r#"{{"channel_relations":{{"x":null,"base":"{beside}"}}}}"#);
            assert_eq!(fit(&info, Relations::Signed), Ok(()), "{info}");
            let why = fit(&info, Relations::Refused).unwrap_err();
            assert!(why.contains("is not signed"), "{why}");
        }
        for away in [
            r#"{"base":"https://evil/x"}"#,
            r#"{"base":"//evil/x"}"#,
            r#"{"base":"..//evil"}"#,
            r#"{"base":"../%2e%2e"}"#,
            r#"{"base":"..\\x"}"#,
            r#"{"base":"../x?y"}"#,
            r#"{"base":""}"#,
            r#"{"base":"../x","overrides":"https://evil/x"}"#,
            r#"{"overrides":"https://evil/x","base":"../x"}"#,
            r#"{"base":["https://evil/x"]}"#,
            r#"{"base":{"url":"https://evil/x"}}"#,
            r#""https://evil/x""#,
            r#"["https://evil/x"]"#,
            "5",
        ] {
            let info = format!(r#"{{"channel_relations":{away}}}"#);
            for relations in [Relations::Signed, Relations::Refused] {
                let why = fit(&info, relations).unwrap_err();
                assert!(why.contains("past the gate"), "{info}: {why}");
            }
            let Json::Object(info) = crate::json::parse(info.as_bytes()).unwrap() else {
                unreachable!()
            };
            let shards = Default::default();
            let index = ShardIndex { info, shards };
            assert!(shards_folder(&index, Relations::Signed).is_err());
        }
    }
}
