//! What an earlier run published. Owns reading an index back; must not judge what follows from it.

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{REPODATA, REPODATA_FROM_PACKAGES};
use crate::error::Error;
use crate::json::{self, Json, Object};
use crate::keys::{Fingerprint, KeyName};
use crate::record::unhex;

/// Keys that other tools put into a published record, and that stay while the package is the same.
const CARRIED: [&str; 2] = ["signatures", "attestations_sha256"];

/// How much memory the values may take, in bytes, that other tools put into an index.
const MAX_MEMORY: u64 = 1 << 30;

/// How much of it the values of a record may take that others wrote, and that stays as it is.
const MAX_RECORD: u64 = 64 << 20;

/// The least bytes that a record takes in an index, on average: its SHA-256 alone takes more.
const RECORD_BYTES: usize = 64;

/// The most extensions that the third revision may have records of.
const MAX_EXTENSIONS: usize = 100;

/// This many records may be shorter.
const FEW_RECORDS: usize = 1_000;

/// An index as it stands in the channel. Borrows the text of `repodata.json`, and owns what shards said.
#[derive(Debug, Default)]
pub struct Published<'a> {
    /// Whether sigindex wrote it: only then do its hashes bind.
    pub by_sigindex: bool,
    /// The records, by file name.
    pub records: HashMap<String, PublishedRecord<'a>>,
    /// The keys that made the signatures in it.
    pub signing_keys: BTreeMap<Fingerprint, (KeyName, u32)>,
    /// What conda-content-trust put at the top: signatures by file name.
    pub signatures: Object,
}

/// One package as it was published.
#[derive(Debug, Clone)]
pub struct PublishedRecord<'a> {
    /// The record, as it stands.
    pub text: Cow<'a, str>,
    /// The file's SHA-256; `None` also where what stands there is none.
    pub sha256: Option<[u8; 32]>,
    /// When an index first saw it, in Unix milliseconds (CEP 47).
    pub indexed_timestamp: Option<i64>,
    /// Keys from elsewhere.
    pub carried: Object,
}

/// What is not looked at, or only perhaps, stays text: values take many times as much memory.
#[derive(Deserialize)]
struct Text<'a> {
    #[serde(borrow, default)]
    info: Info<'a>,
    #[serde(borrow, default)]
    packages: Records<'a>,
    #[serde(borrow, default, rename = "packages.conda")]
    packages_conda: Records<'a>,
    /// Records by extension and file name without it (CEP 48).
    #[serde(borrow, default)]
    v3: Extensions<'a>,
    #[serde(borrow, default)]
    signatures: Option<&'a RawValue>,
}

/// Records by file name, no more of them than a text of this length can hold.
#[derive(Default)]
struct Records<'a>(HashMap<String, &'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Records<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Records<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let (mut records, mut bytes) = (HashMap::new(), 0usize);
                while let Some((name, raw)) = map.next_entry::<String, &RawValue>()? {
                    let length = name.len().saturating_add(raw.get().len());
                    bytes = bytes.saturating_add(length);
                    records.insert(name, raw);
                    let least = records.len().saturating_sub(FEW_RECORDS);
                    if bytes < least.saturating_mul(RECORD_BYTES) {
                        return Err(A::Error::custom("its records are too short to be any"));
                    }
                }
                Ok(Records(records))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// Records by extension, of which there are few.
#[derive(Default)]
struct Extensions<'a>(Vec<(String, Records<'a>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Extensions<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Extensions<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut extensions = Vec::new();
                while let Some(extension) = map.next_entry()? {
                    extensions.push(extension);
                    if extensions.len() > MAX_EXTENSIONS {
                        return Err(A::Error::custom("it has more extensions than there are"));
                    }
                }
                Ok(Extensions(extensions))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// How much memory the values of other tools may still take.
struct Budget(u64);

impl Budget {
    /// Such a value.
    ///
    /// # Errors
    /// When it would take more than is left: it would be lost silently otherwise.
    fn value(&mut self, raw: &RawValue) -> Result<Option<Json>, serde_json::Error> {
        let text = raw.get().as_bytes();
        let left = self.0.checked_sub(json::weight(text));
        self.0 = left.ok_or_else(|| {
            let most = MAX_MEMORY >> 20;
            serde_json::Error::custom(format!(
                "the signatures that other tools put into it would take more than {most} MiB of memory"
            ))
        })?;
        Ok(json::parse(text).ok())
    }
}

#[derive(Deserialize, Default)]
struct Info<'a> {
    #[serde(borrow, default)]
    generator: Option<&'a RawValue>,
    #[serde(borrow, default)]
    signing_keys: Option<&'a RawValue>,
}

impl Info<'_> {
    fn is_ours(&self) -> bool {
        text_of(self.generator).as_deref() == Some("sigindex")
    }

    fn signing_keys(&self) -> BTreeMap<Fingerprint, (KeyName, u32)> {
        let known = self.signing_keys.map(|raw| raw.get().as_bytes());
        let Some(Ok(Json::Object(keys))) = known.map(json::parse_small) else {
            return BTreeMap::new();
        };
        let keys = keys.into_iter();
        keys.filter_map(|(fingerprint, about)| {
            let Json::Object(about) = about else {
                return None;
            };
            let name = KeyName::parse(about.get("name")?.as_str()?).ok()?;
            let bits = u32::try_from(about.get("bits")?.as_i64()?).ok()?;
            Some((Fingerprint::parse(&fingerprint).ok()?, (name, bits)))
        })
        .collect()
    }
}

/// The string that a value is; `None` for every other.
fn text_of(raw: Option<&RawValue>) -> Option<String> {
    serde_json::from_str(raw?.get()).ok()
}

/// The few keys of a record that are looked at. Other indexers may have put anything there.
#[derive(Deserialize)]
struct Glance<'a> {
    #[serde(borrow, default)]
    sha256: Option<&'a RawValue>,
    #[serde(borrow, default)]
    indexed_timestamp: Option<&'a RawValue>,
    #[serde(borrow, default)]
    signatures: Option<&'a RawValue>,
    #[serde(borrow, default)]
    attestations_sha256: Option<&'a RawValue>,
}

impl<'a> Published<'a> {
    /// The files that may tell what was published: before patches, and after them.
    pub const FILES: [&'static str; 2] = [REPODATA_FROM_PACKAGES, REPODATA];

    /// Reads [`Published::FILES`], by path, as far as they are there. All that sigindex wrote bind
    /// together, so that neither hides what the other says; else the first tells.
    ///
    /// # Errors
    /// When one isn't JSON of an index's form.
    pub fn read(texts: &'a [(String, Vec<u8>)]) -> Result<Published<'a>, Error> {
        let mut told: Option<Published<'a>> = None;
        for (path, text) in texts {
            let next = Published::parse(path, text)?;
            told = Some(match told {
                Some(told) if !next.by_sigindex => told,
                Some(told) if told.by_sigindex => told.joined_with(next),
                _ => next,
            });
        }
        Ok(told.unwrap_or_default())
    }

    /// What both say. Where they contradict each other, no digest is vouched for.
    pub fn joined_with(mut self, other: Published<'a>) -> Published<'a> {
        for (name, record) in other.records {
            self.add(name, record);
        }
        self.signing_keys.extend(other.signing_keys);
        self.signatures.extend(other.signatures);
        self
    }

    /// Adds a record. Where two of one name contradict each other, no digest is vouched for.
    fn add(&mut self, name: String, record: PublishedRecord<'a>) {
        match self.records.entry(name) {
            Entry::Vacant(vacant) => drop(vacant.insert(record)),
            Entry::Occupied(mut known) if known.get().sha256 != record.sha256 => {
                known.get_mut().sha256 = None;
            }
            Entry::Occupied(_) => {}
        }
    }

    /// What a shard index says of itself, and the records in its shards by file name, as JSON with hashes as
    /// hex. For a channel without `repodata.json`.
    ///
    /// # Errors
    /// When a record isn't a JSON object; `path`, that of the shard index, is named then.
    pub fn from_shards(
        path: &str,
        info: &Object,
        records: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Published<'a>, Error> {
        let fail = |cause| Error::BrokenIndex {
            path: path.to_owned(),
            cause,
        };
        let info = Json::Object(info.clone()).compact();
        let info: Info<'_> = object(info.as_bytes()).map_err(fail)?;
        let mut published = Published {
            by_sigindex: info.is_ours(),
            signing_keys: info.signing_keys(),
            ..Published::default()
        };
        let mut budget = Budget(MAX_MEMORY);
        for (name, text) in records {
            let record = PublishedRecord::glance(Cow::Owned(text), &mut budget).map_err(fail)?;
            published.add(name, record);
        }
        Ok(published)
    }

    /// Reads an index.
    ///
    /// # Errors
    /// When it isn't JSON of an index's form.
    pub fn parse(path: &str, text: &'a [u8]) -> Result<Published<'a>, Error> {
        let fail = |cause| Error::BrokenIndex {
            path: path.to_owned(),
            cause,
        };
        let text: Text<'a> = object(text).map_err(fail)?;
        let third = text.v3.0.into_iter().flat_map(|(extension, records)| {
            let named = move |stem| format!("{stem}.{extension}");
            let records = records.0.into_iter();
            records.map(move |(stem, raw)| (named(stem), raw))
        });
        let records = text.packages.0.into_iter().chain(text.packages_conda.0);
        let mut budget = Budget(MAX_MEMORY);
        let signatures = text.signatures.map(|raw| budget.value(raw)).transpose();
        let signatures = signatures.map_err(fail)?.flatten();
        let mut published = Published {
            by_sigindex: text.info.is_ours(),
            signing_keys: text.info.signing_keys(),
            records: HashMap::new(),
            signatures: match signatures {
                Some(Json::Object(signatures)) => signatures,
                _ => Object::new(),
            },
        };
        for (name, raw) in records.chain(third) {
            let record =
                PublishedRecord::glance(Cow::Borrowed(raw.get()), &mut budget).map_err(fail)?;
            published.add(name, record);
        }
        Ok(published)
    }
}

impl<'a> PublishedRecord<'a> {
    /// The text, where clients can read it: others may have written a lone surrogate, or a number beyond all bounds.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn readable(&self) -> Result<&str, serde_json::Error> {
        if json::weight(self.text.as_bytes()) > MAX_RECORD {
            return Err(serde_json::Error::custom("it has too many values"));
        }
        serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&self.text)?;
        Ok(&self.text)
    }

    fn glance(
        text: Cow<'a, str>,
        budget: &mut Budget,
    ) -> Result<PublishedRecord<'a>, serde_json::Error> {
        let glance: Glance<'_> = object(text.as_bytes())?;
        let found = CARRIED
            .into_iter()
            .zip([glance.signatures, glance.attestations_sha256]);
        let mut carried = Object::new();
        for (key, raw) in found {
            let value = raw.map(|raw| budget.value(raw)).transpose()?.flatten();
            carried.extend(value.map(|value| (key.to_owned(), value)));
        }
        Ok(PublishedRecord {
            sha256: text_of(glance.sha256).and_then(|text| unhex(&text)),
            indexed_timestamp: glance
                .indexed_timestamp
                .and_then(|raw| raw.get().parse().ok()),
            carried,
            text,
        })
    }
}

/// Reads a JSON object; serde would take an array of the fields as well.
fn object<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, serde_json::Error> {
    match text.trim_ascii_start().first() {
        Some(b'{') => serde_json::from_slice(text),
        _ => Err(serde_json::Error::custom("it is not a JSON object")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    /// Makes SHA-256s of two digits, each 32 times.
    fn full(text: &str) -> String {
        let mut text = text.to_owned();
        for digits in ["AB", "aa", "ac", "bb", "bc", "cc"] {
            let short = format!("\"sha256\":\"{digits}\"");
            text = text.replace(&short, &short.replace(digits, &digits.repeat(32)));
        }
        text
    }

    #[test]
    fn an_index_of_any_tool_is_read() {
        let text = r#"{"info":{"generator":"sigindex"},"packages":{"a.tar.bz2":{"sha256":"AB","indexed_timestamp":5,
            "signatures":{"k":1},"attestations_sha256":null}},"packages.conda":{"b.conda":{"sha256":7}},
            "signatures":{"a.tar.bz2":{}},"unknown":[]}"#;
        let text = full(text);
        let published = Published::parse("x", text.as_bytes()).unwrap();
        assert!(published.by_sigindex);
        let a = &published.records["a.tar.bz2"];
        assert_eq!((a.sha256, a.indexed_timestamp), (Some([0xab; 32]), Some(5)));
        assert!(
            a.carried.contains_key("signatures") && !a.carried.contains_key("attestations_sha256")
        );
        assert_eq!(published.records["b.conda"].sha256, None);
        assert!(published.signatures.contains_key("a.tar.bz2"));
        assert!(!Published::parse("x", b"{}").unwrap().by_sigindex);
    }

    #[test]
    fn what_would_fill_the_memory_is_an_error_and_not_lost_silently() {
        // Each is borne by itself.
        let signatures = format!("[{}0]", "{},".repeat(700_000));
        let one = format!("{{\"signatures\":{signatures}}}");
        let index = |packages: &str| format!("{{\"packages\":{{{packages}}}}}");
        let sound = index(&format!("\"a-1-0.tar.bz2\":{one}"));
        assert!(Published::parse("x", sound.as_bytes()).is_ok());
        let both = index(&format!("\"a-1-0.tar.bz2\":{one},\"b-1-0.tar.bz2\":{one}"));
        let said = Published::parse("x", both.as_bytes()).unwrap_err();
        assert!(said.to_string().contains("of memory"), "{said}");
        let of = |count: usize| -> String {
            let named: Vec<_> = (0..count).map(|at| format!("\"{at}\":{{}}")).collect();
            format!("{{\"v3\":{{{}}}}}", named.join(","))
        };
        assert!(Published::parse("x", of(100).as_bytes()).is_ok());
        assert!(Published::parse("x", of(101).as_bytes()).is_err());
    }

    #[test]
    fn the_third_revision_tells_as_the_first_does() {
        let text = r#"{"packages":{"a-1-0.tar.bz2":{"sha256":"aa"},"b-1-0.tar.bz2":{"sha256":"bb"}},
            "v3":{"tar.bz2":{"b-1-0":{"sha256":"bc"},"c-1-0":{"sha256":"cc"}},"conda":{"a-1-0":{"sha256":"ac"}},"whl":{}}}"#;
        let text = full(text);
        let published = Published::parse("x", text.as_bytes()).unwrap();
        let mut told: Vec<_> = published.records.iter().collect();
        told.sort_by_key(|(name, _)| *name);
        let told: Vec<_> = told
            .iter()
            .map(|(name, it)| (name.as_str(), it.sha256))
            .collect();
        assert_eq!(
            told,
            [
                ("a-1-0.conda", Some([0xac; 32])),
                ("a-1-0.tar.bz2", Some([0xaa; 32])),
                ("b-1-0.tar.bz2", None),
                ("c-1-0.tar.bz2", Some([0xcc; 32]))
            ]
        );
        for text in [
            r#"{"v3":[]}"#,
            r#"{"v3":{"conda":1}}"#,
            r#"{"v3":{"conda":{"a":1}}}"#,
        ] {
            assert!(Published::parse("x", text.as_bytes()).is_err());
        }
    }

    #[test]
    fn shards_tell_as_an_index_does() {
        let info = format!(
            r#"{{"generator":"sigindex","signing_keys":{{"{}":{{"bits":2048,"name":"MyKey"}}}}}}"#,
            "ab".repeat(32)
        );
        let info: Object = match json::parse(info.as_bytes()) {
            Ok(Json::Object(info)) => info,
            _ => Object::new(),
        };
        let record = full(r#"{"attestations_sha256":"x","indexed_timestamp":5,"sha256":"AB"}"#);
        let records = [("a-1-0.conda".to_owned(), record.clone())];
        let published = Published::from_shards("x", &info, records).unwrap();
        let a = &published.records["a-1-0.conda"];
        assert_eq!(
            (a.text.as_ref(), a.sha256, a.indexed_timestamp),
            (record.as_str(), Some([0xab; 32]), Some(5))
        );
        assert!(a.carried.contains_key("attestations_sha256") && published.by_sigindex);
        assert_eq!(published.signing_keys.len(), 1);
        let broken = [("a-1-0.conda".to_owned(), "[]".to_owned())];
        assert!(Published::from_shards("x", &info, broken).is_err());
        assert!(
            !Published::from_shards("x", &Object::new(), [])
                .unwrap()
                .by_sigindex
        );
    }

    #[test]
    fn neither_file_hides_what_the_other_says() {
        let text = |generator: &str, records: &str| {
            let text =
                format!(r#"{{"info":{{"generator":"{generator}"}},"packages":{{{records}}}}}"#);
            ("x".to_owned(), full(&text).into_bytes())
        };
        let (a, b, other_a) = (
            r#""a":{"sha256":"aa"}"#,
            r#""b":{"sha256":"bb"}"#,
            r#""a":{"sha256":"cc"}"#,
        );
        let sha256 = |texts: &[(String, Vec<u8>)], name: &str| {
            let published = Published::read(texts).unwrap();
            published.records.get(name).map(|record| record.sha256)
        };
        let ours = [text("sigindex", b), text("sigindex", a)];
        assert_eq!(sha256(&ours, "a"), Some(Some([0xaa; 32])));
        assert_eq!(sha256(&ours, "b"), Some(Some([0xbb; 32])));
        assert_eq!(
            sha256(&[text("sigindex", other_a), text("sigindex", a)], "a"),
            Some(None)
        );
        for foreign in [
            [text("x", other_a), text("sigindex", a)],
            [text("sigindex", a), text("x", other_a)],
        ] {
            assert!(Published::read(&foreign).unwrap().by_sigindex);
            assert_eq!(sha256(&foreign, "a"), Some(Some([0xaa; 32])));
        }
        assert_eq!(
            sha256(&[text("x", other_a), text("x", a)], "a"),
            Some(Some([0xcc; 32]))
        );
        assert!(Published::read(&[]).unwrap().records.is_empty());
    }

    #[test]
    fn what_is_made_to_fill_the_memory_is_refused_or_stays_text() {
        let many = |count: usize| -> String {
            let all: Vec<_> = (0..count).map(|at| format!("\"{at}\":{{}}")).collect();
            format!("{{{}}}", all.join(","))
        };
        for section in ["packages", "packages.conda", "v3"] {
            let index = |count| match section {
                "v3" => format!(r#"{{"v3":{{"conda":{}}}}}"#, many(count)),
                _ => format!("{{\"{section}\":{}}}", many(count)),
            };
            let read = |count| Published::parse("x", index(count).as_bytes()).map(|_| ());
            assert!(read(FEW_RECORDS).is_ok(), "{section}");
            let refused = read(2 * FEW_RECORDS).unwrap_err().to_string();
            assert!(refused.contains("too short to be any"), "{refused}");
        }
        let zeros = format!("[{}0]", "0,".repeat(300_000));
        let text = format!(
            r#"{{"info":{{"generator":{zeros},"signing_keys":{zeros}}},"packages":{{"a":
            {{"sha256":{zeros},"indexed_timestamp":{zeros},"signatures":{zeros}}}}}}}"#
        );
        let published = Published::parse("x", text.as_bytes()).unwrap();
        let a = &published.records["a"];
        assert!(!published.by_sigindex && published.signing_keys.is_empty());
        assert_eq!((a.sha256, a.indexed_timestamp), (None, None));
        // Nothing that may be a signature is lost.
        assert!(a.carried.contains_key("signatures"));
    }

    #[test]
    fn what_is_no_index_is_an_error() {
        for text in [
            &b""[..],
            b"[]",
            b"{\"packages\":[]}",
            b"{\"packages\":{\"a\":1}}",
            b"{\"info\":{}",
            b"\xff",
        ] {
            assert!(
                Published::parse("noarch/repodata.json", text)
                    .unwrap_err()
                    .to_string()
                    .contains("noarch/")
            );
        }
    }
}
