//! What an index says of packages: their hash, size and signature, by file name. Owns reading that out of
//! `repodata.json`, its twins, and shards, whoever wrote them; must not judge whether it is true.

mod leads;
mod plainness;
mod stream;

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::io::{BufReader, Read};

use base64ct::{Base64, Encoding as _};
use serde::Deserialize;
use serde::de::DeserializeSeed as _;

use self::leads::leads_away;
pub(super) use self::leads::{Relations, shards_folder};
use self::plainness::Plain;
use self::stream::{Note, Part, Taking, Text};
use super::store::Hash;
use crate::json::Json;
use crate::keys::KeyName;
use crate::package::Format;
use crate::record::unhex;
use crate::repodata::shards::ShardContent;
use crate::signature::Signature;

/// What an index says of one package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// The file's SHA-256.
    pub sha256: Hash,
    /// Its size in bytes, where the index says it.
    pub size: Option<u64>,
    /// Its signature.
    pub signature: Claim,
    /// The SHA-256 of its attestations.
    pub attestations: Option<Hash>,
}

/// What an index says of a package's signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Claim {
    /// It holds the signature.
    Held(Signature),
    /// It holds something that is no signature, and why not.
    Broken(String),
    /// It doesn't hold it; it may lie beside the package.
    Beside,
}

/// An index of packages.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// The packages, by file name. Those without a SHA-256 are not among them: nothing can be checked of them.
    pub entries: HashMap<String, Entry>,
    /// The bytes of their names and signatures.
    bytes: usize,
}

/// Why an index is not one that may be served; a clause whose subject is the file.
pub(super) type Unfit = String;

/// The most packages that an index names: a multiple of what the largest public channel has in one subdir. Each takes
/// memory, and an index that nobody signed may name any number.
const MOST_RECORDS: usize = 4_000_000;

/// The most letters of a signature in base64: the largest key makes 2,048 bytes.
const MOST_LETTERS: usize = 2_732;

/// The most bytes of names and signatures in an index.
const MOST_BYTES: usize = 1 << 30;

#[derive(Deserialize)]
struct Glance {
    #[serde(default)]
    sha256: Option<String>,
    /// What some clients call the file, whatever its record stands under.
    #[serde(default, rename = "fn")]
    file: Option<String>,
    /// What some clients join to the channel's URL, whatever folder its index lies in.
    #[serde(default)]
    subdir: Option<Text>,
    #[serde(default)]
    size: Option<u64>,
    #[serde(default)]
    signature: Option<Note>,
    #[serde(default)]
    attestations_sha256: Option<Text>,
}

impl Records {
    /// Reads `repodata.json`. What is not asked for is in memory only while it is passed over, a text at a time.
    pub(super) fn read(from: impl Read, relations: Relations) -> Result<Records, Unfit> {
        let mut taking = Taking::of(relations);
        // The parser asks for single bytes.
        let from = BufReader::with_capacity(1 << 16, Plain::new(from));
        let mut parser = serde_json::Deserializer::from_reader(from);
        let read = Part::Document(&mut taking).deserialize(&mut parser);
        let read = read.and_then(|()| parser.end());
        match (taking.unfit, read) {
            (Some(unfit), _) => Err(unfit),
            (None, Err(cause)) => Err(format!("can't be read: {cause}")),
            (None, Ok(())) => Ok(taking.records),
        }
    }

    /// Takes what a shard holds.
    pub(super) fn of_shard(content: ShardContent) -> Result<Records, Unfit> {
        let mut records = Records::default();
        for (name, record) in content.packages {
            let text = Json::Object(record.record).compact();
            let glance = serde_json::from_str(&text);
            records.add(
                name,
                glance.map_err(|cause| format!("can't be read: {cause}"))?,
            )?;
        }
        Ok(records)
    }

    fn add(&mut self, name: String, glance: Glance) -> Result<(), Unfit> {
        // A wheel's record may say that it lies anywhere on the network.
        if Format::of(&name).is_none() {
            let name = name.escape_debug();
            return Err(format!(
                "names {name}, which is no conda package, so it could not be checked"
            ));
        }
        if leads_away(&name) || glance.file.as_deref().is_some_and(leads_away) {
            let name = name.escape_debug();
            return Err(format!("names {name} by what is no file's name alone"));
        }
        let subdir = glance
            .subdir
            .as_ref()
            .and_then(|subdir| subdir.0.as_deref());
        if subdir.is_some_and(|subdir| matches!(subdir, "." | "..") || leads_away(subdir)) {
            let name = name.escape_debug();
            return Err(format!(
                "says of {name} that its subdir is what is no folder's name alone"
            ));
        }
        let Some(sha256) = glance.sha256.as_deref().and_then(unhex) else {
            return Ok(());
        };
        if self.entries.len() >= MOST_RECORDS {
            return Err(format!("names more than {MOST_RECORDS} packages"));
        }
        let attestations = glance.attestations_sha256.and_then(|text| text.0);
        let attestations = attestations.as_deref().and_then(unhex);
        let entry = Entry {
            sha256,
            size: glance.size,
            signature: claim(glance.signature),
            attestations,
        };
        let bytes = self.bytes.saturating_add(bytes(&name, &entry));
        if bytes > MOST_BYTES {
            return Err(format!(
                "has more than {MOST_BYTES} bytes of names and signatures"
            ));
        }
        match self.entries.entry(name) {
            Slot::Vacant(slot) => {
                slot.insert(entry);
                self.bytes = bytes;
            }
            Slot::Occupied(slot) if *slot.get() == entry => {}
            Slot::Occupied(slot) => {
                let name = slot.key().escape_debug();
                return Err(format!("names {name} twice, and contradicts itself"));
            }
        }
        Ok(())
    }
}

/// The bytes of an entry that may be many.
fn bytes(name: &str, entry: &Entry) -> usize {
    let signature = match &entry.signature {
        Claim::Held(signature) => signature.value.len(),
        Claim::Broken(_) | Claim::Beside => 0,
    };
    name.len().saturating_add(signature)
}

fn claim(note: Option<Note>) -> Claim {
    let Some(Note {
        key,
        value: Some(value),
    }) = note
    else {
        return Claim::Beside;
    };
    let (Some(Text(Some(key))), Text(Some(value))) = (key, value) else {
        return Claim::Broken("it names no key, or has no value".to_owned());
    };
    if value.len() > MOST_LETTERS {
        return Claim::Broken("it is longer than any signature".to_owned());
    }
    let (Ok(key), Ok(value)) = (KeyName::parse(&key), Base64::decode_vec(&value)) else {
        return Claim::Broken("its key's name or its base64 is broken".to_owned());
    };
    Claim::Held(Signature { key, value })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn read(text: &str) -> Result<Records, Unfit> {
        Records::read(text.as_bytes(), Relations::Refused)
    }

    #[test]
    fn an_index_of_any_tool_is_read() {
        let (a, b) = ("aA".repeat(32), "bb".repeat(32));
        let text = format!(
            r#"{{"info":{{"subdir":"noarch","base_url":"./"}},"packages":{{"a-1-0.tar.bz2":{{"sha256":"{a}","size":3,
            "signature":{{"key":"MyKey","value":"AAEC"}},"attestations_sha256":"{b}"}},"old-1-0.tar.bz2":{{"md5":"x"}}}},
            "packages.conda":{{"b-1-0.conda":{{"sha256":"{b}","signature":{{"key":"MyKey"}}}},
            "c-1-0.conda":{{"sha256":"{b}","signature":{{"key":"../x","value":"AAEC"}}}}}},
            "v3":{{"conda":{{"d-1-0":{{"sha256":"{b}"}}}}}},"removed":[],"repodata_version":1}}"#
        );
        let records = read(&text).unwrap().entries;
        assert_eq!(records.len(), 4);
        let a = &records["a-1-0.tar.bz2"];
        assert_eq!((a.sha256, a.size), ([0xaa; 32], Some(3)));
        assert_eq!(a.attestations, Some([0xbb; 32]));
        assert!(matches!(&a.signature, Claim::Held(it) if it.value == [0, 1, 2]));
        assert_eq!(records["b-1-0.conda"].signature, Claim::Beside);
        assert!(matches!(records["c-1-0.conda"].signature, Claim::Broken(_)));
        assert_eq!(records["d-1-0.conda"].signature, Claim::Beside);
        assert!(read("{}").unwrap().entries.is_empty());
    }

    #[test]
    fn no_signature_is_held_that_no_key_can_make() {
        let bytes = usize::try_from(crate::keys::MAX_KEY_BITS).unwrap() / 8;
        assert_eq!(Base64::encode_string(&vec![0; bytes]).len(), MOST_LETTERS);
        let read = |bytes: usize| {
            let value = Base64::encode_string(&vec![0; bytes]);
            let signature = serde_json::json!({"key": "MyKey", "value": value});
            let record = serde_json::json!({"sha256": "aa".repeat(32), "signature": signature});
            let index = serde_json::json!({"packages.conda": {"a-1-0.conda": record}});
            let records = read(&index.to_string()).unwrap();
            let claim = records.entries["a-1-0.conda"].signature.clone();
            (matches!(claim, Claim::Held(_)), records.bytes)
        };
        assert_eq!(read(bytes), (true, bytes + "a-1-0.conda".len()));
        assert_eq!(read(bytes + 2), (false, "a-1-0.conda".len()));
    }

    #[test]
    fn names_and_signatures_have_a_bound() {
        let read = |from: usize| {
            let mut records = Records {
                bytes: MOST_BYTES - from,
                ..Records::default()
            };
            let record = format!(r#"{{"sha256":"{}"}}"#, "aa".repeat(32));
            let glance = serde_json::from_str(&record).unwrap();
            records.add("a-1-0.conda".to_owned(), glance)
        };
        assert_eq!(read("a-1-0.conda".len()), Ok(()));
        assert!(read("a-1-0.conda".len() - 1).unwrap_err().contains("bytes"));
    }

    #[test]
    fn an_index_that_leads_past_the_gate_is_unfit() {
        let (a, b) = ("aa".repeat(32), "bb".repeat(32));
        for (text, says) in [
            (
                r#"{"info":{"base_url":"https://evil/x"}}"#.to_owned(),
                "past the gate",
            ),
            (
                r#"{"info":{"base_url":"../x"}}"#.to_owned(),
                "past the gate",
            ),
            (
                r#"{"packages.conda":{"a-1-0.conda":{"subdir":"https://evil/x"}}}"#.to_owned(),
                "no folder's name",
            ),
            (
                r#"{"packages":{"a-1-0.tar.bz2":{"subdir":"../loose/linux-64"}}}"#.to_owned(),
                "no folder's name",
            ),
            (
                r#"{"packages":{"a-1-0.tar.bz2":{"subdir":".."}}}"#.to_owned(),
                "no folder's name",
            ),
            (
                r#"{"packages.whl":{"a-1-py3-none-any.whl":{"url":"https://evil"}}}"#.to_owned(),
                "no conda package",
            ),
            (
                r#"{"v3":{"whl":{"a-1":{"url":"https://evil"}}}}"#.to_owned(),
                "no conda package",
            ),
            (
                r#"{"packages":{"../../loose/noarch/a-1-0.conda":{}}}"#.to_owned(),
                "no file's name",
            ),
            (
                r#"{"packages":{"a-1-0.conda":{"fn":"../a-1-0.conda"}}}"#.to_owned(),
                "no file's name",
            ),
            (
                r#"{"packages.conda":{"https:evil-1-0.conda":{}}}"#.to_owned(),
                "no file's name",
            ),
            (
                r#"{"packages.conda":{"a-1-0.conda":{"fn":"https:evil"}}}"#.to_owned(),
                "no file's name",
            ),
            (
                r#"{"info":{"channel_relations":{"base":"https://evil/x"}}}"#.to_owned(),
                "past the gate",
            ),
            (
                r#"{"info":{"channel_relations":{"overrides":"../loose"}}}"#.to_owned(),
                "is not signed",
            ),
            (
                format!(
                    r#"{{"packages":{{"a-1-0.conda":{{"sha256":"{a}"}},"a-1-0.conda":{{"sha256":"{b}"}}}}}}"#
                ),
                "twice",
            ),
            ("{".to_owned(), "can't be read"),
            ("{} {}".to_owned(), "can't be read"),
            ("[]".to_owned(), "can't be read"),
            ("{\"packages\":[1]}".to_owned(), "can't be read"),
            (
                format!(
                    r#"{{"packages":{{"a-1-0.conda":{{"sha256":"{a}"}}}},"v3":{{"conda":{{"a-1-0":{{"sha256":"{b}"}}}}}}}}"#
                ),
                "twice",
            ),
        ] {
            let unfit = read(&text).unwrap_err();
            assert!(unfit.contains(says), "{text}: {unfit}");
        }
    }
}
