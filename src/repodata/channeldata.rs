//! `channeldata.json`: what a whole channel says of each name (CEP 38). Owns which package's word counts; must
//! not know where records and details come from.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Document, Formats, Listed};
use crate::details::{Details, Install};
use crate::json::{self, Json, Object};
use crate::package::Format;
use crate::record::{LAST_SECOND, builders_time};
use crate::version::Version;

/// What a channel says of its names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ChannelData {
    /// The subdirs, with and without packages.
    pub subdirs: BTreeSet<String>,
    /// Each name that has packages.
    pub packages: BTreeMap<String, ChannelPackage>,
}

/// What the packages of one name say together.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelPackage {
    /// The newest version.
    pub version: String,
    /// Descriptions, under their keys in `channeldata.json`; none is empty.
    pub about: Object,
    /// What installing does, of any of the packages.
    pub install: Install,
    /// The subdirs where it has packages.
    pub subdirs: BTreeSet<String>,
    /// `run_exports` (CEP 12) by version, where there are any.
    pub run_exports: Object,
    /// The latest of the builders' times, in Unix seconds; 0 where none is known.
    pub timestamp: i64,
}

/// Gathers what the records of all subdirs of a channel say, patched as they are.
///
/// A description is that of the newest package: of the highest version, then by `timestamp`, then by file name.
/// Where it has none, the next older package that has one tells. A record's own key wins over what the package's
/// files say. A `.tar.bz2` beside its `.conda` is the same package, and left out of account. Values of a type
/// that they should not have count as absent, and so do records without a name or a version.
pub fn gather(documents: &[&Document<'_>]) -> ChannelData {
    let mut builds: BTreeMap<String, Vec<Build<'_>>> = BTreeMap::new();
    for document in documents {
        let conda: HashSet<&str> = document
            .listed
            .iter()
            .filter(|one| one.format == Format::Conda)
            .map(|one| one.format.stem(&one.name))
            .collect();
        for one in &document.listed {
            if one.format == Format::TarBz2 && conda.contains(one.format.stem(&one.name)) {
                continue;
            }
            if let Some((name, build)) = Build::of(one, document.subdir.as_str()) {
                builds.entry(name).or_default().push(build);
            }
        }
    }
    let subdirs = documents.iter().map(|it| it.subdir.as_str().to_owned());
    let packages = builds.into_iter();
    let packages = packages.filter_map(|(name, builds)| Some((name, ChannelPackage::of(builds)?)));
    ChannelData {
        subdirs: subdirs.collect(),
        packages: packages.collect(),
    }
}

impl ChannelData {
    /// The text of `channeldata.json`: one line, or indented by two with a final newline.
    pub fn render(&self, formats: &Formats) -> Vec<u8> {
        let packages = self.packages.iter();
        let packages = packages.map(|(name, package)| (name.clone(), package.json()));
        let number = |number: &str| Json::Number(number.to_owned());
        let data = Json::Object(Object::from([
            ("channeldata_version".to_owned(), number("1")),
            ("packages".to_owned(), Json::Object(packages.collect())),
            ("subdirs".to_owned(), strings(&self.subdirs)),
        ]));
        let text = if formats.compact {
            data.compact()
        } else {
            data.pretty()
        };
        text.into_bytes()
    }
}

impl ChannelPackage {
    /// A description, where it is a text.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.about.get(key).and_then(Json::as_str)
    }

    /// Of all packages of one name; `None` where there are none.
    fn of(mut builds: Vec<Build<'_>>) -> Option<ChannelPackage> {
        builds.sort_unstable_by(|a, b| b.rank().cmp(&a.rank()));
        let newest = builds.first()?;
        let mut package = ChannelPackage {
            version: newest.version_text.clone(),
            about: Object::new(),
            install: Install::default(),
            subdirs: BTreeSet::new(),
            run_exports: Object::new(),
            timestamp: 0,
        };
        // Builds of a version mostly say the same.
        let mut heard = "";
        for build in &builds {
            package.hear(&build.said);
            let about = build.details.about_text();
            if about != heard {
                heard = about;
                if let Ok(said) = serde_json::from_str(about) {
                    package.hear(&said);
                }
            }
            package.add(build);
        }
        Some(package)
    }

    /// Takes the descriptions that no newer package gave.
    fn hear(&mut self, said: &Said<'_>) {
        for (key, raw) in said.descriptions() {
            let Some(raw) = raw.filter(|raw| !is_empty(raw)) else {
                continue;
            };
            if !self.about.contains_key(key)
                && let Ok(value) = json::parse(raw.get().as_bytes())
            {
                self.about.insert(key.to_owned(), value);
            }
        }
    }

    fn add(&mut self, build: &Build<'_>) {
        self.install.merge(build.details.install);
        if !self.subdirs.contains(build.subdir) {
            self.subdirs.insert(build.subdir.to_owned());
        }
        self.timestamp = self.timestamp.max(build.timestamp / 1_000);
        let run_exports = build.details.run_exports();
        if run_exports != "{}"
            && !self.run_exports.contains_key(&build.version_text)
            && let Ok(run_exports) = json::parse(run_exports.as_bytes())
        {
            let version = build.version_text.clone();
            self.run_exports.insert(version, run_exports);
        }
    }

    fn json(&self) -> Json {
        let mut members = self.about.clone();
        for (key, does) in self.install.by_key() {
            members.insert(key.to_owned(), Json::Bool(does));
        }
        let timestamp = Json::Number(self.timestamp.to_string());
        members.insert("timestamp".to_owned(), timestamp);
        let version = Json::String(self.version.clone());
        members.insert("version".to_owned(), version);
        members.insert("subdirs".to_owned(), strings(&self.subdirs));
        let run_exports = Json::Object(self.run_exports.clone());
        members.insert("run_exports".to_owned(), run_exports);
        Json::Object(members)
    }
}

fn strings(texts: &BTreeSet<String>) -> Json {
    Json::Array(texts.iter().cloned().map(Json::String).collect())
}

/// One package, as far as it is looked at.
struct Build<'a> {
    version: Version,
    version_text: String,
    /// In Unix milliseconds; 0 where none is known.
    timestamp: i64,
    file: &'a str,
    subdir: &'a str,
    said: Said<'a>,
    details: &'a Details,
}

impl<'a> Build<'a> {
    /// The package and its name.
    fn of(listed: &'a Listed, subdir: &'a str) -> Option<(String, Build<'a>)> {
        let said: Said<'a> = serde_json::from_str(&listed.record).ok()?;
        let version_text = text(said.version)?;
        let build = Build {
            version: Version::parse(&version_text),
            version_text,
            timestamp: said.timestamp.and_then(time).unwrap_or(0),
            file: &listed.name,
            subdir,
            details: &listed.details,
            said,
        };
        Some((text(build.said.name)?, build))
    }

    /// The newest package has the highest. The subdir only makes the order whole.
    fn rank(&self) -> (&Version, i64, &str, &str) {
        (&self.version, self.timestamp, self.file, self.subdir)
    }
}

/// The few keys of a record, or of details, that are looked at: each still a text, so that none has a wrong type.
#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow, default)]
    name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    version: Option<&'a RawValue>,
    #[serde(borrow, default)]
    timestamp: Option<&'a RawValue>,
    #[serde(borrow, default)]
    description: Option<&'a RawValue>,
    #[serde(borrow, default)]
    dev_url: Option<&'a RawValue>,
    #[serde(borrow, default)]
    doc_source_url: Option<&'a RawValue>,
    #[serde(borrow, default)]
    doc_url: Option<&'a RawValue>,
    #[serde(borrow, default)]
    home: Option<&'a RawValue>,
    #[serde(borrow, default)]
    icon_hash: Option<&'a RawValue>,
    #[serde(borrow, default)]
    icon_url: Option<&'a RawValue>,
    #[serde(borrow, default)]
    identifiers: Option<&'a RawValue>,
    #[serde(borrow, default)]
    keywords: Option<&'a RawValue>,
    #[serde(borrow, default)]
    license: Option<&'a RawValue>,
    #[serde(borrow, default)]
    recipe_origin: Option<&'a RawValue>,
    #[serde(borrow, default)]
    source_git_url: Option<&'a RawValue>,
    #[serde(borrow, default)]
    source_url: Option<&'a RawValue>,
    #[serde(borrow, default)]
    summary: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tags: Option<&'a RawValue>,
}

impl<'a> Said<'a> {
    fn descriptions(&self) -> [(&'static str, Option<&'a RawValue>); 15] {
        [
            ("description", self.description),
            ("dev_url", self.dev_url),
            ("doc_source_url", self.doc_source_url),
            ("doc_url", self.doc_url),
            ("home", self.home),
            ("icon_hash", self.icon_hash),
            ("icon_url", self.icon_url),
            ("identifiers", self.identifiers),
            ("keywords", self.keywords),
            ("license", self.license),
            ("recipe_origin", self.recipe_origin),
            ("source_git_url", self.source_git_url),
            ("source_url", self.source_url),
            ("summary", self.summary),
            ("tags", self.tags),
        ]
    }
}

/// A string that is not empty.
fn text(raw: Option<&RawValue>) -> Option<String> {
    let text: String = serde_json::from_str(raw?.get()).ok()?;
    (!text.is_empty()).then_some(text)
}

/// A builder's time in Unix milliseconds. What is before 1970 or beyond 9999 is no time that a builder had.
fn time(raw: &RawValue) -> Option<i64> {
    let time = builders_time(raw.get())?;
    (0..=LAST_SECOND)
        .contains(&(time / 1_000))
        .then_some(time.max(0))
}

/// What Python takes for false, and conda-index therefore for nothing said.
fn is_empty(raw: &RawValue) -> bool {
    matches!(
        raw.get(),
        "null" | "false" | "\"\"" | "[]" | "{}" | "0" | "0.0"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::channel::SubdirName;

    fn object(text: &str) -> Object {
        match json::parse(text.as_bytes()).unwrap() {
            Json::Object(object) => object,
            other => panic!("{other:?}"),
        }
    }

    fn listed(file: &str, record: &str, about: &str) -> Listed {
        Listed {
            name: file.to_owned(),
            format: Format::of(file).unwrap(),
            record: record.to_owned(),
            details: Details::new(&Object::new(), &object(about), Install::default()),
        }
    }

    fn of_documents(documents: &[(&str, Vec<Listed>)]) -> ChannelData {
        let subdirs: Vec<_> = documents
            .iter()
            .map(|(subdir, _)| SubdirName::chosen(subdir).unwrap())
            .collect();
        let documents: Vec<_> = documents
            .iter()
            .zip(&subdirs)
            .map(|((_, listed), subdir)| Document {
                subdir,
                listed: listed.clone(),
                removed: Vec::new(),
                signing_keys: BTreeMap::new(),
                signatures: Object::new(),
            })
            .collect();
        gather(&documents.iter().collect::<Vec<_>>())
    }

    fn of(listed: Vec<Listed>) -> ChannelPackage {
        let mut data = of_documents(&[("noarch", listed)]);
        assert_eq!(data.packages.len(), 1);
        data.packages.remove("x").unwrap()
    }

    fn record(version: &str, more: &str) -> String {
        format!(r#"{{"name":"x","version":"{version}"{more}}}"#)
    }

    #[test]
    fn the_newest_tells_and_older_ones_fill_in() {
        let package = of(vec![
            listed(
                "a.conda",
                &record("1", ""),
                r#"{"home":"h1","summary":"s1","tags":["t"]}"#,
            ),
            listed(
                "b.conda",
                &record("3", r#","timestamp":5"#),
                r#"{"home":"h3a","license":"no"}"#,
            ),
            listed(
                "c.conda",
                &record(
                    "3",
                    r#","timestamp":6,"license":"patched","summary":"","doc_url":null"#,
                ),
                r#"{"home":"h3b","license":"l3","keywords":[],"dev_url":7}"#,
            ),
            listed(
                "d.conda",
                &record("2", r#","timestamp":99"#),
                r#"{"summary":"s2","doc_url":"d"}"#,
            ),
        ]);
        assert_eq!(package.version, "3");
        assert_eq!(
            Json::Object(package.about.clone()).compact(),
            r#"{"dev_url":7,"doc_url":"d","home":"h3b","license":"patched","summary":"s2","tags":["t"]}"#
        );
        assert_eq!(package.text("home"), Some("h3b"));
        assert_eq!(package.text("dev_url"), None);
        assert_eq!(package.timestamp, 99);
    }

    #[test]
    fn the_order_is_whole() {
        let newest = |records: [(&str, &str); 2]| {
            let [a, b] = records.map(|(file, more)| {
                let about = format!(r#"{{"home":"{file}"}}"#);
                listed(file, &record("1", more), &about)
            });
            let home = of(vec![a.clone(), b.clone()])
                .text("home")
                .unwrap()
                .to_owned();
            assert_eq!(Some(home.as_str()), of(vec![b, a]).text("home"));
            home
        };
        assert_eq!(newest([("a.conda", ""), ("b.conda", "")]), "b.conda");
        let (seconds, millis) = (
            r#","timestamp":1500000001"#,
            r#","timestamp":1500000000000"#,
        );
        assert_eq!(
            newest([("a.conda", seconds), ("b.conda", millis)]),
            "a.conda"
        );
        assert_eq!(newest([("a.conda", millis), ("b.conda", "")]), "a.conda");
    }

    #[test]
    fn times_are_in_seconds() {
        for (timestamp, seconds) in [
            ("1508520039", 1_508_520_039),
            ("1508520039000", 1_508_520_039),
            ("1508520039999", 1_508_520_039),
            ("1508520039000.7", 1_508_520_039),
            ("1.5e9", 1_500_000_000),
            ("253402300799", 253_402_300_799),
            ("253402300800", 253_402_300),
            ("253402300799999", 253_402_300_799),
            ("253402300800000", 0),
            ("9223372036854775807", 0),
            ("123456789012345678901234567890", 0),
            ("-5", 0),
            ("-5e99", 0),
            ("\"1508520039\"", 0),
            ("null", 0),
            ("[1]", 0),
            ("true", 0),
        ] {
            let more = format!(r#","timestamp":{timestamp}"#);
            let package = of(vec![listed("a.conda", &record("1", &more), "{}")]);
            assert_eq!(package.timestamp, seconds, "{timestamp}");
        }
    }

    #[test]
    fn a_twin_is_left_out_of_account() {
        let twins = |extra: &str| {
            let bz2 = listed(
                "x-1-0.tar.bz2",
                &record("1", r#","timestamp":9"#),
                r#"{"home":"bz2"}"#,
            );
            let conda = listed(
                extra,
                &record("1", r#","timestamp":1"#),
                r#"{"summary":"s"}"#,
            );
            of(vec![bz2, conda])
        };
        assert_eq!(twins("x-1-0.conda").text("home"), None);
        assert_eq!(twins("x-1-0.conda").timestamp, 1);
        assert_eq!(twins("x-1-1.conda").text("home"), Some("bz2"));
    }

    #[test]
    fn values_of_wrong_types_never_fail() {
        let good = record("1", "");
        let data = of_documents(&[(
            "noarch",
            [
                r#"{"name":7,"version":"1"}"#,
                r#"{"version":"1"}"#,
                r#"{"name":"y"}"#,
                r#"{"name":"y","version":1}"#,
                r#"{"name":"","version":"1"}"#,
                r#"{"name":"y","name":"z","version":"1"}"#,
                "[]",
                "",
                good.as_str(),
            ]
            .map(|record| listed("a.conda", record, "{}"))
            .to_vec(),
        )]);
        assert_eq!(data.packages.keys().collect::<Vec<_>>(), ["x"]);
    }

    #[test]
    fn the_file_is_as_cep_38_says() {
        let mut one = listed(
            "x-2-0.conda",
            &record("2", r#","timestamp":7"#),
            r#"{"home":"h"}"#,
        );
        one.details = Details::new(
            &object(r#"{"weak":["x >=2"]}"#),
            &object(r#"{"home":"h"}"#),
            Install {
                pre_link: true,
                ..Install::default()
            },
        );
        let mut old = listed("x-1-0.tar.bz2", &record("1", ""), "{}");
        old.details.install.activate = true;
        let other = Listed {
            name: "x-2-1.conda".to_owned(),
            details: Details::default(),
            ..one.clone()
        };
        let data = of_documents(&[
            ("win-64", vec![one]),
            ("linux-64", vec![old, other]),
            ("noarch", Vec::new()),
        ]);
        let text = String::from_utf8(data.render(&Formats::default())).unwrap();
        assert_eq!(
            text,
            concat!(
                r#"{"channeldata_version":1,"packages":{"x":{"activate.d":true,"binary_prefix":false,"#,
                r#""deactivate.d":false,"home":"h","post_link":false,"pre_link":true,"pre_unlink":false,"#,
                r#""run_exports":{"2":{"weak":["x >=2"]}},"subdirs":["linux-64","win-64"],"text_prefix":false,"#,
                r#""timestamp":7,"version":"2"}},"subdirs":["linux-64","noarch","win-64"]}"#
            )
        );
        let pretty = Formats {
            compact: false,
            ..Formats::default()
        };
        let pretty = data.render(&pretty);
        assert_eq!(json::parse(&pretty).unwrap().compact(), text);
        assert!(pretty.ends_with(b"\n}\n"));
        let nothing = String::from_utf8(gather(&[]).render(&Formats::default())).unwrap();
        assert_eq!(
            nothing,
            r#"{"channeldata_version":1,"packages":{},"subdirs":[]}"#
        );
    }
}
