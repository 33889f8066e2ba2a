//! What an index file says of itself: whose index it is, and where it leads clients. Owns when two say the same; must
//! not know which files there are.

use crate::json::{Json, Object};

/// What leads clients to other channels and to keys.
const LEADS: [&str; 2] = ["channel_relations", "signing_keys"];

/// The `info` of an index file, as far as clients follow it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Head {
    subdir: Option<String>,
    /// Where packages are (CEP 15); `None` where they lie beside the index.
    base_url: Option<String>,
    leads: [Option<Json>; 2],
}

impl Head {
    /// Reads one. `home` is the URL of the index's folder, where it has one.
    ///
    /// # Errors
    /// What in it no client can read.
    pub fn of(mut info: Object, home: Option<&str>) -> Result<Head, String> {
        let mut text = |key: &str| match info.remove(key) {
            Some(Json::String(text)) => Ok(Some(text)),
            None | Some(Json::Null) => Ok(None),
            Some(_) => Err(format!("its {key} is no text")),
        };
        let (subdir, base_url) = (text("subdir")?, text("base_url")?);
        let base_url = base_url.map(|url| url.trim_end_matches('/').to_owned());
        let home = home.map(|home| home.trim_end_matches('/'));
        let is_here = |url: &String| matches!(url.as_str(), "" | ".") || home == Some(url);
        Ok(Head {
            subdir,
            base_url: base_url.filter(|url| !is_here(url)),
            leads: LEADS.map(|key| info.remove(key).and_then(lead)),
        })
    }

    /// Where packages are served, when that is not beside the index.
    pub fn elsewhere(&self) -> Option<&str> {
        self.base_url.as_deref()
    }

    /// The subdir that it is of, where that is another than `subdir`.
    pub fn of_another(&self, subdir: &str) -> Option<&str> {
        self.subdir.as_deref().filter(|other| *other != subdir)
    }

    /// The first key by which clients that read this are led elsewhere than those that read `other`.
    pub fn led_astray(&self, other: &Head) -> Option<&'static str> {
        if self.base_url != other.base_url {
            return Some("base_url");
        }
        let mut all = LEADS.into_iter().zip(self.leads.iter().zip(&other.leads));
        all.find_map(|(key, (a, b))| (a != b).then_some(key))
    }
}

/// What leads anywhere: members that say nothing are as good as none.
fn lead(said: Json) -> Option<Json> {
    match said {
        Json::Null => None,
        Json::Object(mut members) => {
            members.retain(|_, it| *it != Json::Null);
            (!members.is_empty()).then_some(Json::Object(members))
        }
        said => Some(said),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::json;

    fn head(info: &str) -> Result<Head, String> {
        let Json::Object(info) = json::parse(info.as_bytes()).unwrap() else {
            unreachable!()
        };
        Head::of(info, Some("https://e.org/c/noarch"))
    }

    #[test]
    fn what_leads_to_the_same_place_is_the_same() {
        let plain = head("{}").unwrap();
        for (info, astray) in [
            (r#"{"subdir":"noarch","created_at":"x"}"#, None),
            (r#"{"base_url":""}"#, None),
            (r#"{"base_url":"./"}"#, None),
            (r#"{"base_url":null,"signing_keys":{}}"#, None),
            (r#"{"base_url":"https://e.org/c/noarch/"}"#, None),
            (r#"{"channel_relations":{"base":null}}"#, None),
            (
                r#"{"base_url":"https://e.org/d/noarch/"}"#,
                Some("base_url"),
            ),
            (r#"{"base_url":".."}"#, Some("base_url")),
            (r#"{"signing_keys":{"a":1}}"#, Some("signing_keys")),
            (r#"{"signing_keys":[]}"#, Some("signing_keys")),
            (
                r#"{"channel_relations":{"base":"../x"}}"#,
                Some("channel_relations"),
            ),
        ] {
            assert_eq!(head(info).unwrap().led_astray(&plain), astray, "{info}");
            assert_eq!(plain.led_astray(&head(info).unwrap()), astray, "{info}");
        }
    }

    #[test]
    fn a_slash_at_the_end_leads_nowhere_else() {
        let of = |url: &str| head(&format!(r#"{{"base_url":"{url}"}}"#)).unwrap();
        let (one, other) = (of("https://e.org/d"), of("https://e.org/d/"));
        assert_eq!(one.led_astray(&other), None);
        assert_eq!(one.elsewhere(), Some("https://e.org/d"));
    }

    #[test]
    fn what_no_client_can_read_is_no_head() {
        for (info, key) in [
            (r#"{"subdir":5}"#, "subdir"),
            (r#"{"base_url":["x"]}"#, "base_url"),
        ] {
            assert_eq!(head(info).unwrap_err(), format!("its {key} is no text"));
        }
    }
}
