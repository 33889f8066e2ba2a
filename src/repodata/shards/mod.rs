//! Shards: an index in pieces, one for the packages of each name (CEP 16, 21). Owns their content and that of
//! the index that names them; must not know where they are written, nor when old ones go.

mod pack;
mod read;
mod room;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use rmpv::Value;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use read::{LARGEST_INDEX, LARGEST_SHARD};
pub use read::{ShardContent, ShardIndex, ShardRecord, is_section, read_index, read_shard};
pub use room::{FEW, Room, Weight, light, weight};

use super::revision::{Entry, Revision, Sections};
use super::{Codec, Document, Formats, Listed};
use crate::channel::SubdirName;
use crate::error::Error;
use crate::json::{self, Json, JsonError, Object};
use crate::package::{self, Format};
use crate::record::hex;

/// The index of the shards.
pub const SHARD_INDEX: &str = "repodata_shards.msgpack.zst";

/// The folder of the shards in a subdir.
pub const SHARDS: &str = "shards";

/// What shards' names end with, behind the SHA-256 of their bytes in lower-case hex.
pub const EXTENSION: &str = ".msgpack.zst";

/// The key of run exports in a record.
const RUN_EXPORTS: &str = "run_exports";

/// The most bytes of a shard, when it is decompressed, that every conda takes.
const LARGEST_FOR_CONDA: u64 = 16 << 20;

/// All that a shard tells: what has one name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group<'d> {
    /// The packages, by file name.
    pub listed: Vec<&'d Listed>,
    /// File names that patches took away, sorted.
    pub removed: Vec<&'d str>,
}

/// One shard as it should stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// The SHA-256 of the bytes.
    pub digest: [u8; 32],
    /// The file's bytes: one zstd frame that carries its content size.
    pub bytes: Vec<u8>,
    /// How many bytes it has when it is decompressed.
    pub plain_size: u64,
}

impl Shard {
    /// What an operator should know of the shard of this name.
    pub fn warning(&self, subdir: &SubdirName, name: &str) -> Option<String> {
        (self.plain_size > LARGEST_FOR_CONDA).then(|| {
            let (name, size) = (name.escape_debug(), self.plain_size >> 20);
            format!(
                "{subdir}: the shard of {name} has {size} MiB when it is decompressed, and conda refuses shards of more than 16 MiB; clients that read shards will not see {name}: take old packages out, or leave signatures out with --signatures detached"
            )
        })
    }
}

/// The file name in [`SHARDS`] of a shard with this SHA-256.
pub fn file_name(digest: &[u8; 32]) -> String {
    hex(digest) + EXTENSION
}

/// [`by_name`], of these names alone.
pub fn of_names<'d>(
    document: &'d Document<'_>,
    names: &BTreeSet<String>,
) -> BTreeMap<String, Group<'d>> {
    // To search a record for a name is far cheaper than to parse it.
    let quoted = names
        .iter()
        .map(|name| Json::String(name.clone()).compact());
    let quoted: Vec<String> = quoted.collect();
    let may_have = |one: &&Listed| {
        let plain = quoted.iter().any(|name| one.record.contains(name.as_str()));
        plain || names.contains(package::name_in(&one.name))
    };
    let mut groups = grouped(document.listed.iter().filter(may_have), &document.removed);
    groups.retain(|name, _| names.contains(name));
    groups
}

/// The packages by the `name` in their records, and the names of removed files by the name that they begin with
/// (CEP 26), which also stands in where a record has none.
pub fn by_name<'d>(document: &'d Document<'_>) -> BTreeMap<String, Group<'d>> {
    grouped(&document.listed, &document.removed)
}

fn grouped<'d>(
    listed: impl IntoIterator<Item = &'d Listed>,
    removed: &'d [String],
) -> BTreeMap<String, Group<'d>> {
    let mut groups: BTreeMap<String, Group<'d>> = BTreeMap::new();
    for one in listed {
        let name = name_in(&one.record).unwrap_or_else(|| package::name_in(&one.name).into());
        let group = groups.entry(name.into_owned()).or_default();
        group.listed.push(one);
    }
    for file in removed {
        let group = groups.entry(package::name_in(file).to_owned()).or_default();
        group.removed.push(file);
    }
    for group in groups.values_mut() {
        group.listed.sort_by(|a, b| a.name.cmp(&b.name));
        group.removed.sort_unstable();
    }
    groups
}

fn name_in(record: &str) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Name<'a> {
        #[serde(borrow)]
        name: Cow<'a, str>,
    }
    let found = serde_json::from_str::<Name<'_>>(record).ok()?;
    Some(found.name).filter(|name| !name.is_empty())
}

/// Makes the shard of one name's packages.
///
/// # Errors
/// When a record is no JSON, which only one can be that another indexer wrote, when nobody could read the shard back,
/// or when compression fails.
pub fn shard(subdir: &SubdirName, group: &Group<'_>, formats: &Formats) -> Result<Shard, Error> {
    let plain = plain(subdir, group, formats)?;
    if !pack::comes_back(&plain, LARGEST_SHARD) {
        let listed = group.listed.iter().map(|one| one.name.as_str());
        let file = listed.chain(group.removed.iter().copied()).next();
        return Err(Error::LargeShard {
            path: subdir.path_of(file.unwrap_or(SHARDS)),
            what: "the shard of its name, with what patches and --update-only add to it,",
            mebibytes: LARGEST_SHARD >> 20,
        });
    }
    let bytes = Codec::Zstd(formats.zst_level).compress(&plain)?;
    Ok(Shard {
        digest: Sha256::digest(&bytes).into(),
        bytes,
        plain_size: u64::try_from(plain.len()).unwrap_or(u64::MAX),
    })
}

/// A shard's bytes before they are compressed.
fn plain(subdir: &SubdirName, group: &Group<'_>, formats: &Formats) -> Result<Vec<u8>, Error> {
    let sections = Sections::of(group.listed.iter().copied(), formats.next);
    let records = |entries: &[Entry<'_>]| -> Result<Value, Error> {
        let members = entries.iter().map(|entry| {
            let record = record(entry).map_err(|cause| Error::Shard {
                path: subdir.path_of(&entry.listed.name),
                cause,
            })?;
            Ok((entry.key, record))
        });
        Ok(pack::map(members.collect::<Result<Vec<_>, Error>>()?))
    };
    let mut top = vec![
        ("packages", records(sections.first.of(Format::TarBz2))?),
        ("packages.conda", records(sections.first.of(Format::Conda))?),
    ];
    if !group.removed.is_empty() {
        let names = group.removed.iter().map(|name| Value::from(*name));
        top.push(("removed", Value::Array(names.collect())));
    }
    if !sections.third.is_empty() {
        let third = [
            ("conda", records(sections.third.of(Format::Conda))?),
            ("tar.bz2", records(sections.third.of(Format::TarBz2))?),
        ];
        top.push(("v3", pack::map(third)));
    }
    pack::plain(&pack::map(top))
}

/// A record as shards have it: hashes as bytes (CEP 16), run exports always (CEP 21).
fn record(entry: &Entry<'_>) -> Result<Value, JsonError> {
    let mut members = members(&entry.record)?;
    for (key, value) in &mut members {
        let length = match key.as_str() {
            Some("md5") => 16,
            Some("sha256") => 32,
            _ => continue,
        };
        if let Some(bytes) = value.as_str().and_then(|text| bytes_of(text, length)) {
            *value = Value::Binary(bytes);
        }
    }
    let run_exports = Value::Map(self::members(entry.listed.details.run_exports())?);
    members.retain(|(key, _)| key.as_str() != Some(RUN_EXPORTS));
    let place = members.partition_point(|(key, _)| key.as_str() < Some(RUN_EXPORTS));
    members.insert(place, (Value::from(RUN_EXPORTS), run_exports));
    Ok(Value::Map(members))
}

/// The members of an object in their order.
fn members(text: &str) -> Result<Vec<(Value, Value)>, JsonError> {
    if let Some(members) = pack::members_of(text) {
        return Ok(members);
    }
    match pack::object(object(text)?) {
        Value::Map(members) => Ok(members),
        _ => Ok(Vec::new()),
    }
}

fn object(text: &str) -> Result<Object, JsonError> {
    match json::parse(text.as_bytes())? {
        Json::Object(object) => Ok(object),
        _ => Err(JsonError::Syntax("it is not an object".to_owned())),
    }
}

/// The bytes of a hash of this length; `None` for what isn't one.
fn bytes_of(text: &str, length: usize) -> Option<Vec<u8>> {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let (pairs, rest) = text.as_bytes().as_chunks();
    let bytes = pairs
        .iter()
        .map(|[high, low]| Some((digit(*high)? << 4) | digit(*low)?));
    let bytes: Vec<u8> = bytes.collect::<Option<_>>()?;
    (rest.is_empty() && bytes.len() == length).then_some(bytes)
}

/// The bytes of [`SHARD_INDEX`] over shards of these digests, by name. Where the file that stands there differs
/// in nothing but the time of its making, it stays as it is.
///
/// `now` is in Unix milliseconds.
///
/// # Errors
/// When nobody could read it back, or compression fails.
pub fn index(
    document: &Document<'_>,
    formats: &Formats,
    digests: &BTreeMap<String, [u8; 32]>,
    existing: Option<&[u8]>,
    now: i64,
) -> Result<Vec<u8>, Error> {
    let codec = Codec::Zstd(formats.zst_level);
    let mut info = document.info(formats, &Revision::of(&document.listed, formats.next));
    // Both URLs have to be there, or some clients read nothing.
    let nothing = Json::String(String::new());
    info.entry("base_url".to_owned()).or_insert(nothing);
    let place = Json::String(format!("./{SHARDS}/"));
    info.insert("shards_base_url".to_owned(), place);
    let made_at = |time: String| {
        let mut info = info.clone();
        info.insert("created_at".to_owned(), Json::String(time));
        let shards = digests.iter();
        let shards = shards.map(|(name, digest)| (name.as_str(), Value::Binary(digest.to_vec())));
        pack::plain(&pack::map([
            ("info", pack::object(info)),
            ("shards", pack::map(shards)),
            ("version", Value::from(1)),
        ]))
    };
    if let Some(existing) = existing
        && let Some(time) = created_at(existing)
        && codec.holds(existing, &made_at(time)?)
    {
        return Ok(existing.to_vec());
    }
    let plain = made_at(rfc3339(now))?;
    if !pack::comes_back(&plain, LARGEST_INDEX) {
        return Err(Error::LargeShard {
            path: document.subdir.path_of(SHARD_INDEX),
            what: "it",
            mebibytes: LARGEST_INDEX >> 20,
        });
    }
    codec.compress(&plain)
}

/// When an index was made, as it says.
fn created_at(index: &[u8]) -> Option<String> {
    let index = read_index(index)?;
    let time = index.info.get("created_at")?.as_str()?;
    time.parse::<Timestamp>().ok().map(|_| time.to_owned())
}

/// A time in Unix milliseconds by RFC 3339, in whole seconds.
fn rfc3339(milliseconds: i64) -> String {
    let time = Timestamp::from_second(milliseconds.div_euclid(1_000));
    time.unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
    use proptest::prelude::*;

    use super::*;
    use crate::details::{Details, Install};
    use crate::keys::{Fingerprint, KeyName};

    fn listed(name: &str, record: &str) -> Listed {
        Listed {
            name: name.to_owned(),
            format: Format::of(name).unwrap(),
            record: record.to_owned(),
            details: Details::default(),
        }
    }

    fn document(subdir: &SubdirName, listed: Vec<Listed>) -> Document<'_> {
        Document {
            subdir,
            listed,
            removed: Vec::new(),
            signing_keys: BTreeMap::new(),
            signatures: Object::new(),
        }
    }

    fn next() -> Formats {
        Formats {
            next: true,
            ..Formats::default()
        }
    }

    /// The only shard of these packages, with its content as MessagePack has it.
    fn made(listed: &[&Listed], removed: &[&str], formats: &Formats) -> (Shard, Value) {
        let group = Group {
            listed: listed.to_vec(),
            removed: removed.to_vec(),
        };
        let shard = shard(&SubdirName::noarch(), &group, formats).unwrap();
        let value = pack::read(&shard.bytes, 1 << 24).unwrap();
        (shard, value)
    }

    fn keys(map: &Value) -> Vec<&str> {
        let members = map.as_map().unwrap().iter();
        members.map(|(key, _)| key.as_str().unwrap()).collect()
    }

    #[test]
    fn packages_stand_by_the_name_in_their_records() {
        let subdir = SubdirName::noarch();
        let mut document = document(
            &subdir,
            vec![
                listed("a-1-1.conda", r#"{"name":"a"}"#),
                listed("a-1-0.tar.bz2", r#"{"name":"a"}"#),
                listed("renamed-1-0.conda", r#"{"name":"\u00e4"}"#),
                listed("b-c-1-0.conda", r#"{"signature":{"name":"x"}}"#),
                listed("odd.conda", r#"{"name":7}"#),
                listed("empty-1-0.conda", r#"{"name":""}"#),
            ],
        );
        let removed = [
            "a-2-0.conda",
            "a-1-2.conda",
            "b-c-2-0.tar.bz2",
            "gone-1-0.conda",
            "-",
        ];
        document.removed = removed.map(str::to_owned).to_vec();
        let groups: Vec<_> = by_name(&document)
            .into_iter()
            .map(|(name, group)| {
                let files: Vec<_> = group.listed.iter().map(|one| one.name.as_str()).collect();
                (name, files, group.removed)
            })
            .collect();
        let expected: [(&str, &[&str], &[&str]); 7] = [
            ("-", &[], &["-"]),
            (
                "a",
                &["a-1-0.tar.bz2", "a-1-1.conda"],
                &["a-1-2.conda", "a-2-0.conda"],
            ),
            ("b-c", &["b-c-1-0.conda"], &["b-c-2-0.tar.bz2"]),
            ("empty", &["empty-1-0.conda"], &[]),
            ("gone", &[], &["gone-1-0.conda"]),
            ("odd", &["odd.conda"], &[]),
            ("\u{e4}", &["renamed-1-0.conda"], &[]),
        ];
        let expected = expected
            .map(|(name, files, removed)| (name.to_owned(), files.to_vec(), removed.to_vec()));
        assert_eq!(groups, expected);
    }

    #[test]
    fn a_shard_holds_what_clients_expect() {
        let (md5, sha256) = ("0A".repeat(16), "0b".repeat(32));
        let text = format!(
            r#"{{"build_number":0,"depends":["b"],"md5":"{md5}","name":"a","sha256":"{sha256}","x":1.5}}"#
        );
        let mut one = listed("a-1-0.conda", &text);
        let weak = Json::Array(vec![Json::String("a".to_owned())]);
        let weak = Object::from([("weak".to_owned(), weak)]);
        one.details = Details::new(&weak, &Object::new(), Install::default());
        let odd = listed(
            "a-2-0.conda",
            r#"{"md5":"0b","run_exports":7,"sha256":null}"#,
        );
        let (shard, value) = made(&[&one, &odd], &[], &Formats::default());
        assert_eq!(shard.digest, <[u8; 32]>::from(Sha256::digest(&shard.bytes)));
        assert_eq!(
            file_name(&shard.digest),
            hex(&shard.digest) + ".msgpack.zst"
        );
        assert_eq!(shard.warning(&SubdirName::noarch(), "a"), None);
        assert_eq!(keys(&value), ["packages", "packages.conda"]);
        assert_eq!(keys(&value["packages"]), Vec::<&str>::new());
        let record = &value["packages.conda"]["a-1-0.conda"];
        assert_eq!(
            keys(record),
            [
                "build_number",
                "depends",
                "md5",
                "name",
                "run_exports",
                "sha256",
                "x"
            ]
        );
        assert_eq!(record["md5"], Value::Binary(vec![10; 16]));
        assert_eq!(record["sha256"], Value::Binary(vec![11; 32]));
        assert_eq!(record["run_exports"]["weak"][0].as_str(), Some("a"));
        assert_eq!(record["build_number"], Value::from(0));
        let odd = &value["packages.conda"]["a-2-0.conda"];
        assert_eq!(odd["md5"].as_str(), Some("0b"));
        assert!(odd["sha256"].is_nil());
        assert_eq!(keys(&odd["run_exports"]), Vec::<&str>::new());
    }

    #[test]
    fn sections_and_removed_names_stand_where_there_are_any() {
        let old = listed("a-1-0.conda", r#"{"name":"a"}"#);
        let new = listed("a-2-0.tar.bz2", r#"{"name":"a","schema_version":3}"#);
        let (_, value) = made(&[&old, &new], &["a-0-0.conda"], &Formats::default());
        assert_eq!(
            keys(&value),
            ["packages", "packages.conda", "removed", "v3"]
        );
        assert_eq!(keys(&value["packages.conda"]), ["a-1-0.conda"]);
        assert_eq!(value["removed"][0].as_str(), Some("a-0-0.conda"));
        assert_eq!(keys(&value["v3"]), ["conda", "tar.bz2"]);
        assert_eq!(keys(&value["v3"]["tar.bz2"]), ["a-2-0"]);
        let (shard, value) = made(&[&old, &new], &["a-0-0.conda"], &next());
        assert_eq!(keys(&value["v3"]["conda"]), ["a-1-0"]);
        let content = read_shard(&shard.bytes).unwrap();
        assert_eq!(
            content.packages.keys().collect::<Vec<_>>(),
            ["a-1-0.conda", "a-2-0.tar.bz2"]
        );
        assert_eq!(content.removed, ["a-0-0.conda"]);
        let (_, value) = made(&[], &["a-0-0.conda"], &next());
        assert_eq!(keys(&value), ["packages", "packages.conda", "removed"]);
    }

    #[test]
    fn a_shard_that_conda_refuses_is_told() {
        let text = format!(r#"{{"x":"{}"}}"#, "x".repeat(16 << 20));
        let one = listed("a-1-0.conda", &text);
        let group = Group {
            listed: vec![&one],
            removed: Vec::new(),
        };
        let noarch = SubdirName::noarch();
        let shard = shard(&noarch, &group, &Formats::default()).unwrap();
        let said = shard.warning(&noarch, "a").unwrap();
        assert!(said.contains("noarch: the shard of a has 16 MiB"), "{said}");
        assert!(read_shard(&shard.bytes).is_some());
    }

    #[test]
    fn a_record_that_is_no_json_is_an_error() {
        for text in ["", "[]", r#"{"a":1,"a":2}"#] {
            let one = listed("a-1-0.conda", text);
            let group = Group {
                listed: vec![&one],
                removed: Vec::new(),
            };
            let said = shard(&SubdirName::noarch(), &group, &Formats::default()).unwrap_err();
            assert!(said.to_string().starts_with("noarch/a-1-0.conda: "));
        }
    }

    #[test]
    fn the_index_names_the_shards_and_says_what_repodata_says() {
        let subdir = SubdirName::noarch();
        let mut document = document(
            &subdir,
            vec![listed(
                "a-1-0.conda",
                r#"{"indexed_timestamp":7,"schema_version":3}"#,
            )],
        );
        let key = (KeyName::parse("MyKey").unwrap(), 2048);
        let fingerprint = Fingerprint::parse(&"ab".repeat(32)).unwrap();
        document.signing_keys.insert(fingerprint, key);
        let digests = BTreeMap::from([("b".to_owned(), [1; 32]), ("a".to_owned(), [2; 32])]);
        let mut formats = Formats::default();
        let bytes = index(&document, &formats, &digests, None, 1_763_795_000_999).unwrap();
        let read = read_index(&bytes).unwrap();
        assert_eq!(read.shards, digests);
        assert_eq!(
            Json::Object(read.info).compact(),
            format!(
                r#"{{"base_url":"","created_at":"2025-11-22T07:03:20Z","generator":"sigindex","repodata_revisions":{{"v3":{{"n_packages":1,"newest":7,"oldest":7}}}},"shards_base_url":"./shards/","signing_keys":{{"{fingerprint}":{{"bits":2048,"name":"MyKey"}}}},"subdir":"noarch"}}"#
            )
        );
        formats.base_url = Some("https://e.org".to_owned());
        formats.relations = BTreeMap::from([("base".to_owned(), "../c".to_owned())]);
        let bytes = index(&document, &formats, &digests, None, -1).unwrap();
        let info = read_index(&bytes).unwrap().info;
        let text = Json::Object(info).compact();
        assert!(text.starts_with(
            r#"{"base_url":"https://e.org/noarch/","channel_relations":{"base":"../c"},"created_at":"1969-12-31T23:59:59Z""#
        ));
        let value = pack::read(&bytes, 1 << 20).unwrap();
        assert_eq!(keys(&value), ["info", "shards", "version"]);
        assert_eq!(keys(&value["shards"]), ["a", "b"]);
        assert_eq!(value["version"], Value::from(1));
    }

    #[test]
    fn an_index_in_which_nothing_changed_stays() {
        let subdir = SubdirName::noarch();
        let document = document(&subdir, Vec::new());
        let formats = Formats::default();
        let digests = BTreeMap::from([("a".to_owned(), [1; 32])]);
        let first = index(&document, &formats, &digests, None, 1_000).unwrap();
        let again = |digests, level, existing: &[u8]| {
            let formats = Formats {
                zst_level: level,
                ..Formats::default()
            };
            index(&document, &formats, digests, Some(existing), 9_000).unwrap()
        };
        assert_eq!(again(&digests, 3, &first), first);
        assert_eq!(again(&digests, 19, &first), first);
        let made_at = |bytes: &[u8]| created_at(bytes).unwrap();
        assert_eq!(made_at(&first), "1970-01-01T00:00:01Z");
        let more = BTreeMap::from([("a".to_owned(), [2; 32])]);
        assert_eq!(made_at(&again(&more, 3, &first)), "1970-01-01T00:00:09Z");
        for broken in [&b""[..], b"text", &first[..first.len() - 3]] {
            assert_eq!(made_at(&again(&digests, 3, broken)), "1970-01-01T00:00:09Z");
        }
        let other = next();
        let changed = index(&document, &other, &digests, Some(&first), 9_000).unwrap();
        assert_eq!(made_at(&changed), "1970-01-01T00:00:09Z");
    }

    #[test]
    fn what_is_no_shard_or_index_is_none() {
        let packed = |value: &Value| {
            Codec::Zstd(3)
                .compress(&pack::plain(value).unwrap())
                .unwrap()
        };
        let empty = || pack::map::<&str>([]);
        let index = |version: Option<Value>, shards: Value| {
            let mut top = vec![("info", empty()), ("shards", shards)];
            top.extend(version.map(|version| ("version", version)));
            read_index(&packed(&pack::map(top)))
        };
        assert!(index(None, empty()).is_some() && index(Some(Value::from(1)), empty()).is_some());
        for version in [Value::from(2), Value::Nil, Value::from("1")] {
            assert_eq!(index(Some(version), empty()), None);
        }
        for digest in [Value::Binary(vec![0; 31]), Value::from("a"), Value::Nil] {
            assert_eq!(index(None, pack::map([("a", digest)])), None);
        }
        assert_eq!(read_index(&packed(&empty())), None);
        assert_eq!(read_shard(&packed(&empty())), Some(ShardContent::default()));
        for (key, value) in [
            ("packages", Value::Nil),
            ("packages", pack::map([("a", Value::from(1))])),
            ("v3", pack::map([("conda", Value::from(1))])),
        ] {
            assert_eq!(read_shard(&packed(&pack::map([(key, value)]))), None);
        }
        assert_eq!(read_shard(&packed(&Value::Array(Vec::new()))), None);
    }

    /// Any JSON value whose integers have at most 64 bits.
    fn any_json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::Bool),
            any::<i64>().prop_map(|it| Json::Number(it.to_string())),
            any::<u64>().prop_map(|it| Json::Number(it.to_string())),
            any::<f64>().prop_filter_map("finite", Json::float),
            any::<String>().prop_map(Json::String),
        ];
        leaf.prop_recursive(4, 24, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Json::Array),
                prop::collection::btree_map(any::<String>(), inner, 0..6).prop_map(Json::Object),
            ]
        })
    }

    /// A record of any keys, without those that the third revision writes anew and run exports, which stand apart.
    fn any_record() -> impl Strategy<Value = Object> {
        let hash = |length: usize| {
            prop_oneof![
                3 => prop::collection::vec(any::<u8>(), length).prop_map(|it| Json::String(hex(&it))),
                1 => any_json().prop_filter("a hash in capitals", |json| json.as_str().is_none()),
            ]
        };
        let fields = prop::collection::btree_map("[a-z_]{1,8}", any_json(), 0..6);
        (fields, hash(16), hash(32)).prop_map(|(mut fields, md5, sha256)| {
            for key in ["depends", "constrains", "run_exports"] {
                fields.remove(key);
            }
            fields.insert("md5".to_owned(), md5);
            fields.insert("sha256".to_owned(), sha256);
            fields
        })
    }

    proptest! {
        #[test]
        fn a_record_survives_a_shard(record in any_record(), run_exports in prop::collection::btree_map(any::<String>(), any_json(), 0..3), all in any::<bool>()) {
            let text = Json::Object(record).compact();
            let mut one = listed("a-1-0.conda", &text);
            one.details = Details::new(&run_exports, &Object::new(), Install::default());
            let formats = Formats { next: all, ..Formats::default() };
            let (shard, _) = made(&[&one], &[], &formats);
            let mut content = read_shard(&shard.bytes).unwrap();
            let back = content.packages.remove("a-1-0.conda").unwrap();
            prop_assert_eq!(Json::Object(back.record).compact(), text);
            prop_assert_eq!(back.run_exports, Some(run_exports));
        }

        #[test]
        fn the_order_of_packages_changes_nothing(seed in any::<u64>(), all in any::<bool>()) {
            let subdir = SubdirName::noarch();
            let packages: Vec<_> = (0..12_u32).map(|i| {
                let record = format!(r#"{{"indexed_timestamp":{i},"name":"n{}","schema_version":{}}}"#, i % 3, i % 4);
                let format = if i % 2 == 0 { "conda" } else { "tar.bz2" };
                listed(&format!("n{}-{}-0.{format}", i % 3, i / 2), &record)
            }).collect();
            let mut shuffled = packages.clone();
            shuffled.sort_by_key(|one| Sha256::digest(format!("{seed}{}", one.name)).to_vec());
            let formats = Formats { next: all, ..Formats::default() };
            let [one, other] = [packages, shuffled].map(|listed| {
                let document = document(&subdir, listed);
                let shards: Vec<_> = by_name(&document).iter().map(|(name, group)| {
                    (name.clone(), shard(&subdir, group, &formats).unwrap())
                }).collect();
                let digests = shards.iter().map(|(name, shard)| (name.clone(), shard.digest)).collect();
                let index = index(&document, &formats, &digests, None, 0).unwrap();
                (document.render(&formats), shards, index)
            });
            prop_assert_eq!(one, other);
        }

        #[test]
        fn no_bytes_make_reading_fail(bytes in prop::collection::vec(any::<u8>(), 0..200), start in 0_u8..4) {
            // Maps, so that more than the first byte is looked at.
            let plain = [&[0x80 | start][..], &bytes].concat();
            for bytes in [Codec::Zstd(1).compress(&plain).unwrap(), bytes] {
                let _ = (read_index(&bytes), read_shard(&bytes));
            }
        }
    }
}
