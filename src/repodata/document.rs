//! `repodata.json` as text. Owns its top-level form (CEP 15, 36, 42, 48); records come as text and are spliced.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::Formats;
use super::revision::{Entry, Revision, Sections, Unfit, is_for_third};
use crate::channel::SubdirName;
use crate::details::Details;
use crate::json::{self, Json, Object};
use crate::keys::{Fingerprint, KeyName};
use crate::package::Format;

/// One subdir's index: the packages' records, sorted by file name.
#[derive(Debug, Clone)]
pub struct Document<'a> {
    /// The subdir.
    pub subdir: &'a SubdirName,
    /// The packages, in any order.
    pub listed: Vec<Listed>,
    /// File names that patches took away, sorted.
    pub removed: Vec<String>,
    /// The keys that made the signatures in it, with the bits of their moduli.
    pub signing_keys: BTreeMap<Fingerprint, (KeyName, u32)>,
    /// What conda-content-trust put there: signatures by file name.
    pub signatures: Object,
}

/// A package as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The file name.
    pub name: String,
    /// By its extension.
    pub format: Format,
    /// Its record, as compact JSON.
    pub record: String,
    /// What other index files say of it.
    pub details: Details,
}

impl Document<'_> {
    /// The same without packages that need the third revision.
    pub fn without_third(&self) -> Cow<'_, Self> {
        if !self.listed.iter().any(is_for_third) {
            return Cow::Borrowed(self);
        }
        let mut document = self.clone();
        document.listed.retain(|one| !is_for_third(one));
        Cow::Owned(document)
    }

    /// The file's text: one line, or indented by two with a final newline.
    pub fn render(&self, formats: &Formats) -> Vec<u8> {
        let text = self.compact(formats);
        match formats.compact {
            true => text.into_bytes(),
            false => json::indented(&text),
        }
    }

    /// What an operator should know of the records under `v3`: MatchSpecs that stay as they came, because the
    /// form that CEP 48 wants there can't say them. The same for every file that holds these records.
    pub fn warnings(&self, formats: &Formats) -> Vec<String> {
        let sections = Sections::of(&self.listed, formats.next);
        let unfit = sections.unfit.into_iter();
        unfit
            .map(|Unfit { file, spec }| {
                let (path, spec) = (self.subdir.path_of(file), spec.escape_debug());
                format!(
                    "{path}: under \"v3\" a dependency is a name with brackets (CEP 48), and \"{spec}\" can't be said so; it is published as it is, and clients may refuse it: mend it in the package or by a patch"
                )
            })
            .collect()
    }

    fn compact(&self, formats: &Formats) -> String {
        let sections = Sections::of(&self.listed, formats.next);
        let records = self.listed.iter().map(|one| one.record.len());
        let size: usize = records.map(|length| length.saturating_add(80)).sum();
        let mut out = String::with_capacity(size.saturating_add(1_000));
        out.push_str("{\"info\":");
        out.push_str(&Json::Object(self.info(formats, &sections.revision)).compact());
        for (key, format) in [
            (",\"packages\":", Format::TarBz2),
            (",\"packages.conda\":", Format::Conda),
        ] {
            out.push_str(key);
            write_records(&mut out, sections.first.of(format));
        }
        let removed = self.removed.iter().cloned().map(Json::String).collect();
        out.push_str(",\"removed\":");
        out.push_str(&Json::Array(removed).compact());
        // CEP 15: 2 tells older clients that packages are elsewhere.
        let version = if base_url(formats).is_some() {
            '2'
        } else {
            '1'
        };
        out.push_str(",\"repodata_version\":");
        out.push(version);
        if !self.signatures.is_empty() {
            out.push_str(",\"signatures\":");
            out.push_str(&Json::Object(self.signatures.clone()).compact());
        }
        if formats.next || !sections.third.is_empty() {
            out.push_str(",\"v3\":{\"conda\":");
            write_records(&mut out, sections.third.of(Format::Conda));
            out.push_str(",\"tar.bz2\":");
            write_records(&mut out, sections.third.of(Format::TarBz2));
            out.push('}');
        }
        out.push('}');
        out
    }

    /// What `repodata.json` says of itself, and the shard index too.
    pub(super) fn info(&self, formats: &Formats, revision: &Revision) -> Object {
        let text = |text: &str| Json::String(text.to_owned());
        let keys = self.signing_keys.iter().map(|(fingerprint, (name, bits))| {
            let about = Object::from([
                ("bits".to_owned(), Json::Number(bits.to_string())),
                ("name".to_owned(), text(name.as_str())),
            ]);
            (fingerprint.to_string(), Json::Object(about))
        });
        let mut info = Object::from([
            ("generator".to_owned(), text("sigindex")),
            ("signing_keys".to_owned(), Json::Object(keys.collect())),
            ("subdir".to_owned(), text(self.subdir.as_str())),
        ]);
        if let Some(url) = base_url(formats) {
            let url = format!("{url}/{}/", self.subdir);
            info.insert("base_url".to_owned(), Json::String(url));
        }
        if !formats.relations.is_empty() {
            let relations = formats.relations.iter();
            let relations = relations.map(|(relation, channel)| (relation.clone(), text(channel)));
            let relations = Json::Object(relations.collect());
            info.insert("channel_relations".to_owned(), relations);
        }
        if formats.next || !revision.is_empty() {
            info.insert("repodata_revisions".to_owned(), revision.json());
        }
        info
    }
}

/// The channel's URL without the slashes at its end; `None` where packages lie beside the index.
fn base_url(formats: &Formats) -> Option<&str> {
    let url = formats.base_url.as_deref().filter(|url| !url.is_empty());
    url.map(|url| url.trim_end_matches('/'))
}

fn write_records(out: &mut String, entries: &[Entry<'_>]) {
    out.push('{');
    for (position, entry) in entries.iter().enumerate() {
        if position > 0 {
            out.push(',');
        }
        json::write_string(out, entry.key);
        out.push(':');
        out.push_str(&entry.record);
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn the_document_is_what_python_would_print() {
        let listed = |name: &str, format| Listed {
            name: name.to_owned(),
            format,
            record: "{\"name\":\"x\"}".to_owned(),
            details: Details::default(),
        };
        let subdir = SubdirName::noarch();
        let key = (KeyName::parse("MyKey").unwrap(), 2048);
        let document = Document {
            subdir: &subdir,
            listed: vec![
                listed("b.conda", Format::Conda),
                listed("ü.conda", Format::Conda),
                listed("a.tar.bz2", Format::TarBz2),
                listed("A.conda", Format::Conda),
            ],
            removed: Vec::new(),
            signing_keys: BTreeMap::from([(Fingerprint::parse(&"ab".repeat(32)).unwrap(), key)]),
            signatures: Object::from([("a.tar.bz2".to_owned(), Json::Null)]),
        };
        let text = String::from_utf8(document.render(&Formats::default())).unwrap();
        let fingerprint = "ab".repeat(32);
        assert_eq!(
            text,
            format!(
                "{{\"info\":{{\"generator\":\"sigindex\",\"signing_keys\":{{\"{fingerprint}\":{{\"bits\":2048,\"name\":\"MyKey\"}}}},\"subdir\":\"noarch\"}},\"packages\":{{\"a.tar.bz2\":{{\"name\":\"x\"}}}},\"packages.conda\":{{\"A.conda\":{{\"name\":\"x\"}},\"b.conda\":{{\"name\":\"x\"}},\"\\u00fc.conda\":{{\"name\":\"x\"}}}},\"removed\":[],\"repodata_version\":1,\"signatures\":{{\"a.tar.bz2\":null}}}}"
            )
        );
        assert_eq!(json::parse(text.as_bytes()).unwrap().compact(), text);
        let pretty = Formats {
            compact: false,
            ..Formats::default()
        };
        let pretty = document.render(&pretty);
        assert_eq!(json::parse(&pretty).unwrap().compact(), text);
        assert!(
            pretty.starts_with(b"{\n  \"info\": {\n    \"generator\"")
                && pretty.ends_with(b"\n}\n")
        );
    }

    fn small(subdir: &SubdirName, listed: Vec<Listed>) -> Document<'_> {
        Document {
            subdir,
            listed,
            removed: vec!["x-1-0.conda".to_owned()],
            signing_keys: BTreeMap::new(),
            signatures: Object::new(),
        }
    }

    fn of(name: &str, record: &str) -> Listed {
        Listed {
            name: name.to_owned(),
            format: Format::of(name).unwrap(),
            record: record.to_owned(),
            details: Details::default(),
        }
    }

    fn rendered(document: &Document<'_>, formats: &Formats) -> String {
        let text = String::from_utf8(document.render(formats)).unwrap();
        assert_eq!(json::parse(text.as_bytes()).unwrap().compact(), text);
        text
    }

    #[test]
    fn a_base_url_ends_in_the_subdir_and_one_slash() {
        let subdir = SubdirName::standard("linux-64").unwrap();
        let document = small(&subdir, Vec::new());
        for (url, says) in [
            ("https://e.org/c", "https://e.org/c/linux-64/"),
            ("https://e.org/c///", "https://e.org/c/linux-64/"),
            ("..", "../linux-64/"),
            ("/", "/linux-64/"),
        ] {
            let formats = Formats {
                base_url: Some(url.to_owned()),
                ..Formats::default()
            };
            let text = rendered(&document, &formats);
            assert!(text.contains(&format!("{{\"info\":{{\"base_url\":\"{says}\",")));
            assert!(text.ends_with(",\"repodata_version\":2}"));
        }
        for none in [None, Some(String::new())] {
            let formats = Formats {
                base_url: none,
                ..Formats::default()
            };
            let text = rendered(&document, &formats);
            assert!(!text.contains("base_url") && text.ends_with(",\"repodata_version\":1}"));
        }
    }

    #[test]
    fn relations_stand_when_there_are_any() {
        let subdir = SubdirName::noarch();
        let document = small(&subdir, Vec::new());
        assert!(!rendered(&document, &Formats::default()).contains("channel_relations"));
        let relations = [("overrides", "../.."), ("base", "../conda-forge")];
        let formats = Formats {
            relations: relations.map(|(a, b)| (a.to_owned(), b.to_owned())).into(),
            ..Formats::default()
        };
        assert!(rendered(&document, &formats).contains(
            "{\"channel_relations\":{\"base\":\"../conda-forge\",\"overrides\":\"../..\"},\"generator\""
        ));
    }

    #[test]
    fn the_third_revision_stands_where_it_is_needed_or_wanted() {
        let subdir = SubdirName::noarch();
        let old = of("a-1-0.conda", "{\"indexed_timestamp\":5,\"name\":\"a\"}");
        let new = of(
            "b-1-0.tar.bz2",
            "{\"indexed_timestamp\":9,\"schema_version\":3}",
        );
        let next = Formats {
            next: true,
            ..Formats::default()
        };
        let text = rendered(&small(&subdir, vec![old.clone()]), &Formats::default());
        assert!(!text.contains("v3") && !text.contains("repodata_revisions"));
        let both = small(&subdir, vec![old, new]);
        assert_eq!(
            rendered(&both, &Formats::default()),
            r#"{"info":{"generator":"sigindex","repodata_revisions":{"v3":{"n_packages":1,"newest":9,"oldest":9}},"signing_keys":{},"subdir":"noarch"},"packages":{},"packages.conda":{"a-1-0.conda":{"indexed_timestamp":5,"name":"a"}},"removed":["x-1-0.conda"],"repodata_version":1,"v3":{"conda":{},"tar.bz2":{"b-1-0":{"indexed_timestamp":9,"schema_version":3}}}}"#
        );
        let text = rendered(&both, &next);
        assert!(text.contains(r#"{"v3":{"n_packages":2,"newest":9,"oldest":5}}"#));
        assert!(text.contains(r#""packages":{},"packages.conda":{},"removed""#));
        assert!(text.contains(r#""v3":{"conda":{"a-1-0":{"#));
        let text = rendered(&small(&subdir, Vec::new()), &next);
        assert!(text.contains(r#""repodata_revisions":{"v3":{"n_packages":0}}"#));
        assert!(text.ends_with(r#""v3":{"conda":{},"tar.bz2":{}}}"#));
    }

    #[test]
    fn match_specs_without_a_form_are_told() {
        let subdir = SubdirName::noarch();
        // A name that is a glob can't stand under `v3`.
        let record = r#"{"depends":["* >=1"],"schema_version":3}"#;
        let document = small(&subdir, vec![of("a-1-0.conda", record)]);
        let warnings = document.warnings(&Formats::default());
        assert!(warnings[0].starts_with("noarch/a-1-0.conda: ") && warnings[0].contains("* >=1"));
        assert!(rendered(&document, &Formats::default()).contains(record));
        let old = small(&subdir, vec![of("a-1-0.conda", r#"{"depends":["* >=1"]}"#)]);
        assert_eq!(old.warnings(&Formats::default()), Vec::<String>::new());
    }
}
