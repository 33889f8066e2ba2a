//! `index.html`: pages for people, of a subdir and of the channel, that need no server and nothing from
//! outside. Owns what they show and how; must not know where a page is written.
//!
//! A page holds its packages as data, of which its script makes only the rows that are looked at: so 50,000
//! packages open at once. Whatever a package says is hostile: it is escaped here or put in as text by the script,
//! links lead to the web alone, and a policy (CSP) lets only our own style and script, by their hashes, take effect.

mod data;
mod existing;
mod glance;
mod group;
mod html;
mod state;
mod text;

use std::collections::BTreeMap;

pub use existing::may_replace;
pub use glance::Glance;
pub use state::{SigningKey, State, Tally, state};

use super::{Document, Formats};
use crate::channel::SubdirName;
use data::Spread;
use group::Group;

/// The name of a page, in the channel and in each subdir.
pub const PAGE: &str = "index.html";

/// What pages show of a subdir, read from its records once.
#[derive(Debug)]
pub struct Content<'a> {
    document: &'a Document<'a>,
    groups: Vec<Group<'a>>,
}

impl<'a> Content<'a> {
    /// What pages show of a subdir, after patches.
    pub fn of(document: &'a Document<'a>) -> Content<'a> {
        Content::new(document, document.listed.iter().map(Glance::new).collect())
    }

    /// The subdir.
    pub fn subdir(&self) -> &'a SubdirName {
        self.document.subdir
    }

    /// The same, of `glances` at all that the document lists.
    pub fn new(document: &'a Document<'a>, glances: Vec<Glance<'a>>) -> Content<'a> {
        Content {
            document,
            groups: group::groups(glances),
        }
    }
}

/// A subdir's page. `channel` is the state of the channel, with this subdir in it.
pub fn subdir_page(content: &Content<'_>, channel: &State, formats: &Formats) -> Vec<u8> {
    let Content { document, groups } = content;
    let data = data::subdir(document, groups, formats);
    html::subdir(
        document.subdir.as_str(),
        groups.len(),
        channel,
        formats,
        &data,
    )
    .into_bytes()
}

/// The channel's page; `contents` are all subdirs, and `channel` their state.
pub fn channel_page(contents: &[Content<'_>], channel: &State, formats: &Formats) -> Vec<u8> {
    let mut sorted: Vec<&Content<'_>> = contents.iter().collect();
    sorted.sort_by_key(|content| content.document.subdir);
    let mut spread: Spread<'_, '_> = BTreeMap::new();
    for (subdir, content) in sorted.iter().enumerate() {
        for group in &content.groups {
            spread
                .entry(&*group.name)
                .or_default()
                .push((subdir, group));
        }
    }
    let subdirs: Vec<&str> = sorted
        .iter()
        .map(|content| content.document.subdir.as_str())
        .collect();
    html::channel(channel, formats, &data::channel(&subdirs, &spread)).into_bytes()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::channel::SubdirName;
    use crate::details::{Details, Install};
    use crate::json::{self, Json, Object};
    use crate::keys::{Fingerprint, KeyName};
    use crate::package::Format;
    use crate::repodata::Listed;

    fn listed(name: &str, record: &str, summary: &str) -> Listed {
        let about = Object::from([("summary".to_owned(), Json::String(summary.to_owned()))]);
        Listed {
            name: name.to_owned(),
            format: Format::of(name).unwrap(),
            record: record.to_owned(),
            details: Details::new(&Object::new(), &about, Install::default()),
        }
    }

    fn document(subdir: &SubdirName, listed: Vec<Listed>) -> Document<'_> {
        let key = (KeyName::parse("MyKey").unwrap(), 2048);
        Document {
            subdir,
            listed,
            removed: Vec::new(),
            signing_keys: BTreeMap::from([(Fingerprint::parse(&"ab".repeat(32)).unwrap(), key)]),
            signatures: Object::new(),
        }
    }

    fn contents<'a>(documents: &[&'a Document<'a>]) -> Vec<Content<'a>> {
        documents
            .iter()
            .map(|document| Content::of(document))
            .collect()
    }

    fn whole(documents: &[&Document<'_>], formats: &Formats) -> Vec<u8> {
        let contents = contents(documents);
        channel_page(&contents, &state(&contents), formats)
    }

    fn some() -> Vec<Listed> {
        let signature = format!(
            r#""signature":{{"key":"MyKey","fingerprint":"{}"}}"#,
            "ab".repeat(32)
        );
        vec![
            listed(
                "a-1-0.conda",
                &format!(r#"{{"name":"a","version":"1","build":"0","size":7,{signature}}}"#),
                "old",
            ),
            listed(
                "a-2-0.conda",
                r#"{"name":"a","version":"2","build":"0","size":5,"revoked":true}"#,
                "new",
            ),
            listed(
                "a-2-0.tar.bz2",
                r#"{"name":"a","version":"2","build":"0","signature":{"verified":false}}"#,
                "",
            ),
            listed("odd.conda", "{}", ""),
        ]
    }

    /// The data of a page, as its script reads it.
    fn data(page: &[u8]) -> serde_json::Value {
        let text = std::str::from_utf8(page).unwrap();
        let (_, data) = text.split_once("id=\"data\">").unwrap();
        let (data, _) = data.split_once("</script>").unwrap();
        json::parse(data.as_bytes()).unwrap();
        serde_json::from_str(data).unwrap()
    }

    #[test]
    fn the_state_counts_every_subdir() {
        let (noarch, linux) = (
            SubdirName::noarch(),
            SubdirName::standard("linux-64").unwrap(),
        );
        let (a, b) = (document(&noarch, some()), document(&linux, some()));
        let state = state(&contents(&[&a, &b]));
        let tally = Tally {
            packages: 8,
            bytes: 24,
            checked: 2,
            unverified: 2,
            unsigned: 4,
            revoked: 2,
        };
        assert_eq!((state.whole, state.names), (tally, 2));
        let subdirs: Vec<_> = state
            .subdirs
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(subdirs, ["linux-64", "noarch"]);
        assert_eq!((state.keys.len(), state.keys[0].packages), (1, 2));
    }

    #[test]
    fn the_same_packages_give_the_same_bytes() {
        let (noarch, linux) = (
            SubdirName::noarch(),
            SubdirName::standard("linux-64").unwrap(),
        );
        let formats = Formats::default();
        let mut turned = some();
        turned.reverse();
        let (a, b, c) = (
            document(&noarch, some()),
            document(&noarch, turned),
            document(&linux, some()),
        );
        let state_of_both = state(&contents(&[&a, &c]));
        assert_eq!(state_of_both, state(&contents(&[&c, &b])));
        assert_eq!(
            subdir_page(&Content::of(&a), &state_of_both, &formats),
            subdir_page(&Content::of(&b), &state_of_both, &formats)
        );
        assert_eq!(whole(&[&a, &c], &formats), whole(&[&c, &b], &formats));
    }

    #[test]
    fn the_newest_comes_first_and_speaks_for_its_name() {
        let noarch = SubdirName::noarch();
        let document = document(&noarch, some());
        let data = data(&subdir_page(
            &Content::of(&document),
            &state(&contents(&[&document])),
            &Formats::default(),
        ));
        let text =
            |value: &serde_json::Value| data["texts"][value.as_u64().unwrap() as usize].clone();
        assert_eq!(data["packages"].as_array().unwrap().len(), 8);
        assert_eq!(
            (text(&data["packages"][0]), text(&data["packages"][1])),
            ("a".into(), "new".into())
        );
        let versions: Vec<_> = (0..4).map(|row| text(&data["files"][row * 8])).collect();
        assert_eq!(versions, ["2", "2", "1", ""]);
        // What the script can't put together from the record.
        assert_eq!(data["names"], serde_json::json!({"3": "odd.conda"}));
        assert_eq!(
            data["keys"],
            serde_json::json!([["", ""], ["MyKey", "ab".repeat(32)]])
        );
    }

    #[test]
    fn nothing_ends_its_element() {
        let noarch = SubdirName::noarch();
        let evil = "</script><!--<script>'\"{{data}}\u{2028}\u{1F600}";
        let record = Json::Object(Object::from(
            ["name", "version", "build", "license"]
                .map(|key| (key.to_owned(), Json::String(evil.to_owned()))),
        ));
        let document = document(
            &noarch,
            vec![listed("<\"'>.conda", &record.compact(), evil)],
        );
        let formats = Formats {
            channel_name: evil.to_owned(),
            html_dependencies: true,
            ..Formats::default()
        };
        let pages = [
            subdir_page(
                &Content::of(&document),
                &state(&contents(&[&document])),
                &formats,
            ),
            whole(&[&document], &formats),
        ];
        for page in pages {
            data(&page);
            let page = String::from_utf8(page).unwrap();
            assert_eq!(
                page.matches("</script").count(),
                2,
                "the data and our own script"
            );
            assert_eq!(page.matches("<script").count(), 2);
            assert!(!page.contains("<!--") && page.ends_with("</html>\n"));
            assert_eq!(page.matches("</style").count(), 1);
            for outside in ["src=", "@import", "url("] {
                assert!(!page.contains(outside), "{outside}");
            }
        }
    }

    #[test]
    fn a_page_without_its_script_leads_on() {
        let noarch = SubdirName::noarch();
        let document = document(&noarch, some());
        let formats = Formats::default();
        let page = String::from_utf8(whole(&[&document], &formats)).unwrap();
        for words in [
            "<noscript>",
            "href=\"noarch/index.html\"",
            "href=\"noarch/repodata.json\"",
            "<span>abababab</span>",
        ] {
            assert!(page.contains(words), "{words}");
        }
        let page = subdir_page(
            &Content::of(&document),
            &state(&contents(&[&document])),
            &formats,
        );
        let page = String::from_utf8(page).unwrap();
        for words in [
            "<noscript>",
            "href=\"../index.html\"",
            "href=\"repodata.json\"",
            "4 packages, 2 names, 12 B",
        ] {
            assert!(page.contains(words), "{words}");
        }
    }

    #[test]
    fn an_empty_channel_has_pages() {
        let noarch = SubdirName::noarch();
        let document = document(&noarch, Vec::new());
        data(&subdir_page(
            &Content::of(&document),
            &State::default(),
            &Formats::default(),
        ));
        data(&whole(&[], &Formats::default()));
    }
}
