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
        let is_empty = |it: &Json| matches!(it, Json::Null) || *it == Json::Object(Object::new());
        Ok(Head {
            subdir,
            base_url: base_url.filter(|url| !is_here(url, home)),
            leads: LEADS.map(|key| info.remove(key).filter(|it| !is_empty(it))),
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

/// Whether packages that are served there lie beside the index.
fn is_here(base_url: &str, home: Option<&str>) -> bool {
    matches!(base_url, "" | "." | "./")
        || home.is_some_and(|home| home.trim_end_matches('/') == base_url.trim_end_matches('/'))
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
    fn what_no_client_can_read_is_no_head() {
        for (info, key) in [
            (r#"{"subdir":5}"#, "subdir"),
            (r#"{"base_url":["x"]}"#, "base_url"),
        ] {
            assert_eq!(head(info).unwrap_err(), format!("its {key} is no text"));
        }
    }
}
