//! What a page takes from one record's text. Owns the rule that a value of the wrong type counts as absent;
//! must not know how it is shown.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::keys::Fingerprint;
use crate::record::{LAST_SECOND, milliseconds, unhex};
use crate::repodata::Listed;

/// 9999-12-31, in Unix milliseconds: no date beyond it can be shown.
const LAST_DATE: i64 = LAST_SECOND * 1_000;

/// One listed package, as far as a page shows it. Borrows the record's text.
#[derive(Debug)]
pub struct Glance<'a> {
    /// The package as it is listed.
    pub listed: &'a Listed,
    /// The package's name; what the file is called where the record has none.
    pub name: Cow<'a, str>,
    /// Empty where the record has none.
    pub version: Cow<'a, str>,
    /// The build string, empty where the record has none.
    pub build: Cow<'a, str>,
    /// Orders the builds of one version.
    pub build_number: i64,
    /// In bytes.
    pub size: Option<u64>,
    /// When an index first saw it, in Unix milliseconds (CEP 47).
    pub indexed: Option<i64>,
    /// When it was built, in Unix milliseconds.
    pub built: Option<i64>,
    /// Empty where the record has none.
    pub license: Cow<'a, str>,
    /// Of the file.
    pub sha256: Option<[u8; 32]>,
    /// Whether a patch revoked it.
    pub revoked: bool,
    /// What the record says of its signature.
    pub signature: Signature<'a>,
    depends: Option<&'a RawValue>,
}

/// What a record says of its signature.
#[derive(Debug, PartialEq, Eq)]
pub enum Signature<'a> {
    /// It was checked with this key, of that name.
    Checked(Fingerprint, Cow<'a, str>),
    /// It claims to be by a key of this name, which was not there to check it.
    Unverified(Cow<'a, str>),
    /// There is none.
    Unsigned,
}

/// The keys of a record that are looked at, each still a text.
#[derive(Deserialize, Default)]
struct Text<'a> {
    #[serde(borrow, default)]
    name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    version: Option<&'a RawValue>,
    #[serde(borrow, default)]
    build: Option<&'a RawValue>,
    #[serde(borrow, default)]
    build_number: Option<&'a RawValue>,
    #[serde(borrow, default)]
    size: Option<&'a RawValue>,
    #[serde(borrow, default)]
    indexed_timestamp: Option<&'a RawValue>,
    #[serde(borrow, default)]
    timestamp: Option<&'a RawValue>,
    #[serde(borrow, default)]
    license: Option<&'a RawValue>,
    #[serde(borrow, default)]
    sha256: Option<&'a RawValue>,
    #[serde(borrow, default)]
    revoked: Option<&'a RawValue>,
    #[serde(borrow, default)]
    signature: Option<&'a RawValue>,
    #[serde(borrow, default)]
    depends: Option<&'a RawValue>,
}

/// The keys of a package's details that a page shows.
#[derive(Deserialize, Default)]
struct AboutText<'a> {
    #[serde(borrow, default)]
    summary: Option<&'a RawValue>,
    #[serde(borrow, default)]
    home: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct SignatureText<'a> {
    #[serde(borrow, default)]
    key: Option<&'a RawValue>,
    #[serde(borrow, default)]
    fingerprint: Option<&'a RawValue>,
}

impl<'a> Glance<'a> {
    /// Reads a record; one that is no JSON object says nothing.
    pub fn new(listed: &'a Listed) -> Glance<'a> {
        let record: Text<'a> = object(&listed.record).unwrap_or_default();
        let stem = listed.format.stem(&listed.name);
        let text = |raw| string(raw).unwrap_or_default();
        let date = |raw: Option<&RawValue>| {
            let date = milliseconds(number(raw)?);
            (0..=LAST_DATE).contains(&date).then_some(date)
        };
        Glance {
            listed,
            name: string(record.name)
                .filter(|name| !name.is_empty())
                .unwrap_or(Cow::Borrowed(stem)),
            version: text(record.version),
            build: text(record.build),
            build_number: number(record.build_number).unwrap_or_default(),
            size: number(record.size),
            indexed: date(record.indexed_timestamp),
            built: date(record.timestamp),
            license: text(record.license),
            sha256: string(record.sha256).and_then(|hex| unhex(&hex)),
            revoked: record.revoked.is_some_and(|raw| raw.get() == "true"),
            signature: Signature::new(record.signature),
            depends: record.depends,
        }
    }

    /// What it says of its project: summary and home, empty where there is none.
    pub(super) fn about(&self) -> [Cow<'a, str>; 2] {
        let about: AboutText<'a> = object(self.listed.details.about_text()).unwrap_or_default();
        [about.summary, about.home].map(|raw| string(raw).unwrap_or_default())
    }

    /// What it depends on, as MatchSpecs.
    pub(super) fn depends(&self) -> Vec<Cow<'a, str>> {
        let items: Option<Vec<&'a RawValue>> = self
            .depends
            .and_then(|raw| serde_json::from_str(raw.get()).ok());
        let items = items.into_iter().flatten();
        items.filter_map(|raw| string(Some(raw))).collect()
    }
}

impl<'a> Signature<'a> {
    fn new(raw: Option<&'a RawValue>) -> Signature<'a> {
        let Some(signature) = raw.and_then(|raw| object::<SignatureText<'a>>(raw.get())) else {
            return Signature::Unsigned;
        };
        let key = string(signature.key).unwrap_or_default();
        match string(signature.fingerprint).map(|text| Fingerprint::parse(&text)) {
            Some(Ok(fingerprint)) => Signature::Checked(fingerprint, key),
            _ => Signature::Unverified(key),
        }
    }
}

/// Reads a JSON object; serde would take an array of the fields as well.
fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
    let text = text.trim_start().starts_with('{').then_some(text)?;
    serde_json::from_str(text).ok()
}

fn string<'a>(raw: Option<&'a RawValue>) -> Option<Cow<'a, str>> {
    let text = raw?.get();
    let inside = text.strip_prefix('"')?.strip_suffix('"')?;
    if inside.contains('\\') {
        return serde_json::from_str(text).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inside))
}

fn number<T: std::str::FromStr>(raw: Option<&RawValue>) -> Option<T> {
    raw?.get().parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::details::Details;
    use crate::package::Format;

    fn listed(record: &str) -> Listed {
        Listed {
            name: "a-b-1-0.conda".to_owned(),
            format: Format::Conda,
            record: record.to_owned(),
            details: Details::default(),
        }
    }

    #[test]
    fn a_record_is_read() {
        let fingerprint = "0f".repeat(32);
        let text = format!(
            r#"{{"name":"a","version":"1\u0021","build":"0","build_number":3,"size":7,"timestamp":1500000000,
            "indexed_timestamp":1763795000000,"license":"MIT","sha256":"{}","revoked":true,"depends":["x >=1",5,"\u0079"],
            "signature":{{"key":"K","fingerprint":"{fingerprint}"}},"unknown":[1e3]}}"#,
            "Ab".repeat(32)
        );
        let listed = listed(&text);
        let file = Glance::new(&listed);
        assert_eq!((&*file.name, &*file.version), ("a", "1!"));
        assert_eq!((file.build_number, file.size), (3, Some(7)));
        assert_eq!(file.built, Some(1_500_000_000_000));
        assert_eq!(file.indexed, Some(1_763_795_000_000));
        assert_eq!(file.sha256, Some([0xab; 32]));
        assert!(file.revoked);
        assert_eq!(file.depends(), ["x >=1", "y"]);
        let fingerprint = Fingerprint::parse(&fingerprint).unwrap();
        assert_eq!(file.signature, Signature::Checked(fingerprint, "K".into()));
    }

    #[test]
    fn what_has_the_wrong_type_is_absent() {
        for text in [
            "",
            "[]",
            "7",
            "{}",
            "{\"name\":",
            r#"{"name":"a","name":"b"}"#,
            r#"{"name":1,"version":[],"build":{},"build_number":"1","size":-1,"timestamp":-5,
              "indexed_timestamp":999999999999999999,"license":null,"sha256":"ff","revoked":"true","signature":[],"depends":"x"}"#,
            r#"{"name":"","size":1.5,"build_number":99999999999999999999,"signature":"x","depends":{"a":1},"sha256":"\ud800"}"#,
        ] {
            let listed = listed(text);
            let file = Glance::new(&listed);
            assert_eq!(file.name, "a-b-1-0", "{text}");
            assert_eq!(
                format!("{}{}{}", file.version, file.build, file.license),
                ""
            );
            assert_eq!((file.build_number, file.size), (0, None), "{text}");
            assert_eq!((file.indexed, file.built, file.sha256), (None, None, None));
            assert_eq!(file.signature, Signature::Unsigned);
            assert!(!file.revoked && file.depends().is_empty());
        }
    }

    #[test]
    fn a_signature_is_checked_only_by_its_fingerprint() {
        for (signature, key) in [
            (r#"{"key":"K","verified":false}"#, "K"),
            (r#"{"key":"K","verified":true}"#, "K"),
            (r#"{"key":"K","fingerprint":"00"}"#, "K"),
            (r#"{"key":7,"fingerprint":[]}"#, ""),
        ] {
            let listed = listed(&format!("{{\"signature\":{signature}}}"));
            let file = Glance::new(&listed);
            assert_eq!(file.signature, Signature::Unverified(key.into()));
        }
    }
}
