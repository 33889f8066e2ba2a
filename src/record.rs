//! Record: the published metadata of one package. Owns what is taken from `info/index.json`, what is
//! added, and what is checked; knows nothing of archives, signatures' validity, or index files.

use std::fmt::Write as _;
use std::sync::Arc;

use serde::Deserialize;

use crate::json::{self, Json, JsonError, Object};
use crate::keys::{Fingerprint, KeyName};

/// Keys of `info/index.json` that conda-index leaves out of the index.
const DROPPED: [&str; 10] = [
    "arch",
    "binstar",
    "has_prefix",
    "machine",
    "mtime",
    "operatingsystem",
    "platform",
    "requires_features",
    "target-triplet",
    "ucs",
];

/// Keys that only an index may set: a package that brings them does not speak for the channel.
const OF_THE_INDEX: [&str; 4] = [INDEXED_TIMESTAMP, SIG, SIGNATURE, ATTESTATIONS];

/// SHA-256 of the list of attestations beside the package (CEP 50), in lower-case hex.
pub const ATTESTATIONS: &str = "attestations_sha256";

const INDEXED_TIMESTAMP: &str = "indexed_timestamp";
const SIG: &str = "sig";
const SIGNATURE: &str = "signature";

/// The bytes that the index adds to a record, but for the signature itself.
const ROOM: usize = 300;

/// The scheme of every signature: RSASSA-PSS with SHA-256, MGF1-SHA-256 and a salt of 32 bytes (RFC 8017).
const SCHEME: &str = "rsa-pss-sha256";

/// A package's metadata as it stands in an index, less what differs from run to run.
///
/// Held as compact JSON in four pieces, split where the keys that are added at publication sort in
/// (`indexed_timestamp`, `sig`, `signature`), so that an unchanged record is spliced, not parsed and
/// printed again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pieces: Arc<str>,
}

/// What a record says of its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureNote {
    /// The name in the `.sig` file.
    pub key: KeyName,
    /// The key's fingerprint; unknown when the key is not in the keys folder.
    pub fingerprint: Option<Fingerprint>,
    /// The signature in base64, or `None` where signatures stay detached.
    pub value: Option<String>,
}

/// What is added to a record when it is published.
#[derive(Debug, Clone, Default)]
pub struct Additions {
    /// When this index first saw the package, in Unix milliseconds (CEP 47).
    pub indexed_timestamp: i64,
    /// The signature beside the package, if there is one.
    pub signature: Option<SignatureNote>,
    /// Keys that the published record had from elsewhere.
    pub carried: Object,
}

/// What the package's metadata says of itself, to be held against where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// `name-version-build`.
    pub stem: String,
    /// `version`.
    pub version: String,
    /// `build`.
    pub build: String,
    /// `subdir`, where index.json has one.
    pub subdir: Option<String>,
    /// `timestamp`, the builder's time, in Unix milliseconds.
    pub timestamp: Option<i64>,
}

/// Why `info/index.json` can't become a record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Not the JSON that clients can read.
    #[error("info/index.json can't be read: {0}")]
    Json(#[from] JsonError),
    /// Valid JSON, but not an object.
    #[error("info/index.json is not a JSON object")]
    NotAnObject,
    /// A required key is missing.
    #[error("info/index.json has no \"{0}\"")]
    Missing(&'static str),
    /// A key has a value of the wrong type.
    #[error("\"{key}\" in info/index.json is not {expected}")]
    WrongType {
        /// The key.
        key: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// A value has characters that can't stand in a file name, or that deceive a reader.
    #[error(
        "\"{key}\" in info/index.json has the character {character:?}, which is not allowed there"
    )]
    Character {
        /// The key.
        key: &'static str,
        /// The first such character.
        character: char,
    },
    /// The record is too large or broken in the cache.
    #[error("the remembered record is broken")]
    Pieces,
}

/// The largest value that clients take for seconds rather than milliseconds: 9999-12-31 (conda).
pub const LAST_SECOND: i64 = 253_402_300_799;

impl Record {
    /// Makes a record of a package's `info/index.json` and its file's digests (lower-case hex) and size in bytes.
    ///
    /// Every key that is not named in the contract keeps its value; nothing is added or normalised.
    ///
    /// # Errors
    /// Unreadable JSON; `name`, `version` or `build` that is missing, of another type, or has characters
    /// that are not allowed in a file name; a `subdir` that is not a string.
    pub fn new(
        index_json: &[u8],
        sha256: &str,
        md5: &str,
        size: u64,
    ) -> Result<(Record, Claims), RecordError> {
        let Json::Object(mut fields) = json::parse_small(index_json)? else {
            return Err(RecordError::NotAnObject);
        };
        let claims = Claims::of(&fields)?;
        for key in DROPPED.iter().chain(&OF_THE_INDEX) {
            fields.remove(*key);
        }
        fields.insert("sha256".to_owned(), Json::String(sha256.to_owned()));
        fields.insert("md5".to_owned(), Json::String(md5.to_owned()));
        fields.insert("size".to_owned(), Json::Number(size.to_string()));
        Ok((Record::of_fields(&fields), claims))
    }

    fn of_fields(fields: &Object) -> Record {
        let mut pieces = ["", "", "", ""].map(String::from);
        for (key, value) in fields {
            let passed = [INDEXED_TIMESTAMP, SIG, SIGNATURE]
                .iter()
                .filter(|k| key.as_str() > **k)
                .count();
            if let Some(piece) = pieces.get_mut(passed) {
                if !piece.is_empty() {
                    piece.push(',');
                }
                json::write_string(piece, key);
                piece.push(':');
                piece.push_str(&value.compact());
            }
        }
        Record {
            pieces: pieces.join("\n").into(),
        }
    }

    /// The package's name, as its metadata has it.
    pub fn name(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Named {
            name: String,
        }
        // One of the pieces has it.
        let mut pieces = self.pieces.split('\n');
        pieces.find_map(|piece| {
            let named = serde_json::from_str::<Named>(&format!("{{{piece}}}"));
            named.ok().map(|named| named.name)
        })
    }

    /// The form in which a cache keeps the record.
    pub fn stored(&self) -> &str {
        &self.pieces
    }

    /// Takes a record back from [`Record::stored`].
    ///
    /// # Errors
    /// When the text is not of that form.
    pub fn from_stored(text: String) -> Result<Record, RecordError> {
        let sound = text.is_ascii() && text.bytes().filter(|b| *b == b'\n').count() == 3;
        if sound {
            Ok(Record {
                pieces: text.into(),
            })
        } else {
            Err(RecordError::Pieces)
        }
    }

    /// The record as it stands in an index: compact JSON with sorted keys.
    ///
    /// # Errors
    /// Only when a record that came from a cache is broken.
    pub fn published(&self, additions: &Additions) -> Result<String, RecordError> {
        let text = self.splice(additions);
        if additions.carried.is_empty() {
            return Ok(text);
        }
        let Json::Object(mut fields) = json::parse(text.as_bytes())? else {
            return Err(RecordError::Pieces);
        };
        for (key, value) in &additions.carried {
            fields.entry(key.clone()).or_insert_with(|| value.clone());
        }
        Ok(Json::Object(fields).compact())
    }

    fn splice(&self, additions: &Additions) -> String {
        let signature = additions.signature.as_ref();
        let value = signature.and_then(|signature| signature.value.as_ref());
        let room = value.map_or(0, String::len).saturating_add(ROOM);
        let mut out = String::with_capacity(self.pieces.len().saturating_add(room));
        let mut pieces = self.pieces.split('\n');
        let put = |out: &mut String, member: &str| {
            if !member.is_empty() {
                out.push(if out.is_empty() { '{' } else { ',' });
                out.push_str(member);
            }
        };
        put(&mut out, pieces.next().unwrap_or_default());
        put(
            &mut out,
            &format!("\"{INDEXED_TIMESTAMP}\":{}", additions.indexed_timestamp),
        );
        put(&mut out, pieces.next().unwrap_or_default());
        if additions.signature.is_some() {
            put(&mut out, "\"sig\":\".\"");
        }
        put(&mut out, pieces.next().unwrap_or_default());
        if let Some(signature) = signature {
            put(&mut out, &format!("\"{SIGNATURE}\":"));
            signature.write(&mut out);
        }
        put(&mut out, pieces.next().unwrap_or_default());
        out.push('}');
        out
    }
}

impl SignatureNote {
    /// As compact JSON with sorted keys. Of a channel's records this is the part that every run writes anew.
    fn write(&self, out: &mut String) {
        // Writing into a String can't fail.
        let _ = match &self.fingerprint {
            Some(fingerprint) => write!(out, "{{\"fingerprint\":\"{fingerprint}\",\"key\":"),
            None => write!(out, "{{\"key\":"),
        };
        json::write_string(out, self.key.as_str());
        let _ = write!(out, ",\"scheme\":\"{SCHEME}\"");
        if let Some(value) = &self.value {
            out.push_str(",\"value\":");
            json::write_string(out, value);
        }
        if self.fingerprint.is_none() {
            out.push_str(",\"verified\":false");
        }
        out.push('}');
    }
}

impl Claims {
    fn of(fields: &Object) -> Result<Claims, RecordError> {
        let name = required(fields, "name")?;
        let version = required(fields, "version")?;
        let build = required(fields, "build")?;
        let subdir = match fields.get("subdir") {
            None | Some(Json::Null) => None,
            Some(Json::String(subdir)) => Some(subdir.clone()),
            Some(_) => {
                return Err(RecordError::WrongType {
                    key: "subdir",
                    expected: "a string",
                });
            }
        };
        Ok(Claims {
            stem: format!("{name}-{version}-{build}"),
            version: version.to_owned(),
            build: build.to_owned(),
            subdir,
            timestamp: fields.get("timestamp").and_then(|it| match it {
                Json::Number(text) => builders_time(text),
                _ => None,
            }),
        })
    }

    /// How the claims contradict the place where the package lies; `None` when they agree (CEP 26).
    pub fn mismatch(&self, stem: &str, subdir: &str) -> Option<String> {
        if self.stem != stem {
            let (says, printable) = (&self.stem, stem.escape_debug());
            return Some(format!(
                "its metadata says {says}, its file name says {printable}"
            ));
        }
        // Of a file name the last two parts are version and build, so that neither has a `-` in it.
        let (version, build) = (&self.version, &self.build);
        if version.contains('-') || build.contains('-') {
            return Some(format!(
                "its metadata says version {version} and build {build}, which are the last two parts of a file name, and so have no `-` in them"
            ));
        }
        let says = self.subdir.as_ref().filter(|says| *says != subdir)?;
        let says = says.escape_debug();
        Some(format!(
            "its metadata says that it is for {says}, and it lies in {subdir}"
        ))
    }
}

/// A builder's time in Unix milliseconds, from a number of any form and size: fractions are cut off, and what is beyond
/// the range is its end. `None` for what is no number.
pub fn builders_time(number: &str) -> Option<i64> {
    let whole = number.parse::<i64>().ok();
    // The cast cuts off, and keeps to the ends of the range.
    let time = whole.or_else(|| Some(number.parse::<f64>().ok()? as i64))?;
    Some(milliseconds(time))
}

/// A builder's time in Unix milliseconds, whether it is in seconds or milliseconds (conda tells them apart so).
pub fn milliseconds(timestamp: i64) -> i64 {
    if (0..=LAST_SECOND).contains(&timestamp) {
        timestamp.saturating_mul(1_000)
    } else {
        timestamp
    }
}

fn required<'a>(fields: &'a Object, key: &'static str) -> Result<&'a str, RecordError> {
    let value = fields.get(key).ok_or(RecordError::Missing(key))?;
    let text = value.as_str().ok_or(RecordError::WrongType {
        key,
        expected: "a string",
    })?;
    if text.is_empty() {
        return Err(RecordError::WrongType {
            key,
            expected: "a string of at least one character",
        });
    }
    match unfit(text) {
        Some(character) => Err(RecordError::Character { key, character }),
        None => Ok(text),
    }
}

/// The first character that can't stand in a name, version or build.
fn unfit(text: &str) -> Option<char> {
    text.chars()
        .find(|c| is_deceptive(*c) || matches!(c, '/' | '\\'))
}

/// Whether a text can be a name, version, build or subdir.
pub fn may_name(text: &str) -> bool {
    !text.is_empty() && unfit(text).is_none()
}

/// Characters that don't show, or change how what follows them shows: controls, white space, line
/// separators, bidirectional and other invisible format characters (Unicode TR 36).
pub fn is_deceptive(c: char) -> bool {
    c.is_control()
        || c.is_whitespace()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Digests in a record are lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| {
        DIGITS
            .get(usize::from(value))
            .map_or('0', |digit| char::from(*digit))
    };
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// The bytes of a digest in hex, in either case as other tools write it; `None` for what isn't one of that length.
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()?;
    }
    Some(bytes)
}

/// Whether a text is a SHA-256 as records and file names have it: lower-case hex.
pub fn is_sha256(text: &str) -> bool {
    let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    text.len() == 64 && text.bytes().all(lower_hex)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const INDEX: &str = r#"{"name":"a","version":"1","build":"0","build_number":0,"depends":["z","b >=1"],
        "subdir":"noarch","arch":"x","platform":"linux","unknown":[1.50,1e3],"md5":"liar","size":-1,
        "sig":"x","signature":{},"indexed_timestamp":5,"attestations_sha256":"x","timestamp":1763795000000}"#;

    fn record(index: &str) -> Result<(Record, Claims), RecordError> {
        Record::new(index.as_bytes(), "aa", "bb", 7)
    }

    fn note() -> SignatureNote {
        SignatureNote {
            key: KeyName::parse("MyKey").unwrap(),
            fingerprint: None,
            value: Some("AAAA".to_owned()),
        }
    }

    #[test]
    fn a_record_keeps_all_but_what_the_index_owns() {
        let (record, claims) = record(INDEX).unwrap();
        let additions = Additions {
            indexed_timestamp: 9,
            ..Additions::default()
        };
        assert_eq!(
            record.published(&additions).unwrap(),
            r#"{"build":"0","build_number":0,"depends":["z","b >=1"],"indexed_timestamp":9,"md5":"bb","name":"a","sha256":"aa","size":7,"subdir":"noarch","timestamp":1763795000000,"unknown":[1.5,1000.0],"version":"1"}"#
        );
        assert_eq!(claims.stem, "a-1-0");
        assert_eq!(claims.timestamp, Some(1_763_795_000_000));
    }

    #[test]
    fn additions_sort_in_among_any_keys() {
        let (record, _) =
            record(r#"{"name":"a","version":"1","build":"0","sigma":1,"si":2,"sig0":3,"indexed":4,"ü":5,"zz":6,"A":7}"#)
                .unwrap();
        let carried = Object::from([
            ("signatures".to_owned(), Json::Null),
            ("name".to_owned(), Json::Null),
        ]);
        for carried in [Object::new(), carried] {
            let additions = Additions {
                indexed_timestamp: 9,
                signature: Some(note()),
                carried,
            };
            let text = record.published(&additions).unwrap();
            let parsed = json::parse(text.as_bytes()).unwrap();
            assert_eq!(
                parsed.compact(),
                text,
                "the splice is what a whole print would be"
            );
            assert!(text.contains(
                r#""signature":{"key":"MyKey","scheme":"rsa-pss-sha256","value":"AAAA","verified":false}"#
            ));
            assert!(text.contains(r#""sig":".""#) && text.contains(r#""name":"a""#));
        }
    }

    #[test]
    fn the_stored_form_comes_back() {
        let (record, _) = record(INDEX).unwrap();
        assert_eq!(
            Record::from_stored(record.stored().to_owned()).unwrap(),
            record
        );
        for broken in ["", "a\nb", "\n\n\nü"] {
            assert!(Record::from_stored(broken.to_owned()).is_err());
        }
    }

    #[test]
    fn metadata_that_breaks_a_rule_is_refused() {
        for (index, says) in [
            ("[]", "not a JSON object"),
            (r#"{"version":"1","build":"0"}"#, "no \"name\""),
            (
                r#"{"name":"a","version":1,"build":"0"}"#,
                "\"version\" in info/index.json is not a string",
            ),
            (r#"{"name":"a","version":"1","build":null}"#, "\"build\""),
            (
                r#"{"name":"","version":"1","build":"0"}"#,
                "at least one character",
            ),
            (r#"{"name":"a/b","version":"1","build":"0"}"#, "'/'"),
            (r#"{"name":"a\u0000","version":"1","build":"0"}"#, "\\0"),
            (
                r#"{"name":"a\u202eb","version":"1","build":"0"}"#,
                "\\u{202e}",
            ),
            (
                r#"{"name":"a","version":"1","build":"0","subdir":7}"#,
                "\"subdir\"",
            ),
            (
                r#"{"name":"a","name":"b","version":"1","build":"0"}"#,
                "duplicate key",
            ),
        ] {
            let said = record(index).unwrap_err().to_string();
            assert!(said.contains(says), "{index}: {said}");
        }
    }

    #[test]
    fn claims_are_held_against_the_place() {
        let (_, claims) = record(INDEX).unwrap();
        assert_eq!(claims.mismatch("a-1-0", "noarch"), None);
        assert!(claims.mismatch("a-1-1", "noarch").is_some());
        for (name, version, build) in [("a", "b-1", "0"), ("a", "1", "0-0"), ("a-b", "-", "0")] {
            let index = format!(r#"{{"name":"{name}","version":"{version}","build":"{build}"}}"#);
            let (_, claims) = record(&index).unwrap();
            let stem = format!("{name}-{version}-{build}");
            let why = claims.mismatch(&stem, "noarch").unwrap();
            let says = format!("version {version} and build {build}, which are the last two parts");
            assert!(why.contains(&says), "{why}");
        }
        let (_, dashed) = record(r#"{"name":"a-b-c","version":"1","build":"0"}"#).unwrap();
        assert_eq!(dashed.mismatch("a-b-c-1-0", "noarch"), None);
        assert!(claims.mismatch("a-1-0", "linux-64").is_some());
        let (_, legacy) = record(r#"{"name":"a","version":"1","build":"0"}"#).unwrap();
        assert_eq!(legacy.mismatch("a-1-0", "linux-64"), None);
    }

    #[test]
    fn a_record_knows_its_name_wherever_it_sorts() {
        for index in [
            r#"{"name":"a","version":"1","build":"0"}"#,
            r#"{"name":"a","version":"1","build":"0","A":1,"sige":2,"zz":3}"#,
        ] {
            assert_eq!(record(index).unwrap().0.name().as_deref(), Some("a"));
        }
        let nameless = Record::from_stored("\n\n\n".to_owned()).unwrap();
        assert_eq!(nameless.name(), None);
    }

    #[test]
    fn what_deceives_a_reader_is_no_name() {
        for good in ["a", "numpy", "1.0_2-3", "!", "\u{e4}", "\u{7fff}"] {
            assert!(may_name(good), "{good}");
        }
        for bad in [
            "",
            "/",
            "\\",
            "a/b",
            "a b",
            "a\n",
            "\0",
            "\u{7f}",
            "\u{85}",
            "\u{a0}",
            "\u{ad}",
            "\u{200b}",
            "\u{200f}",
            "\u{202a}",
            "\u{202e}",
            "\u{2066}",
            "\u{feff}",
            "\u{e0041}",
        ] {
            assert!(!may_name(bad), "{bad:?}");
        }
        assert!(is_deceptive('\u{1b}') && is_deceptive(' ') && is_deceptive('\u{61c}'));
        assert!(!is_deceptive('/') && !is_deceptive('a'));
    }

    #[test]
    fn hex_goes_there_and_back() {
        let bytes: [u8; 256] = std::array::from_fn(|at| at as u8);
        let text = hex(&bytes);
        assert!(text.starts_with("000102") && text.ends_with("fdfeff"));
        assert_eq!(unhex::<256>(&text), Some(bytes));
        assert_eq!(unhex::<256>(&text.to_uppercase()), Some(bytes));
        assert_eq!(hex(&[]), "");
        assert_eq!(unhex::<2>("a05F"), Some([0xa0, 0x5f]));
        for bad in [
            "", "a05", "a0", "a05f0", "a05f00", "a05g", "g05f", "+05f", "a0 f", "ä5f",
        ] {
            assert_eq!(unhex::<2>(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_sha256_is_lower_case_hex_of_one_length() {
        let good = "0123456789abcdef".repeat(4);
        assert!(is_sha256(&good));
        for bad in [
            String::new(),
            good.to_uppercase(),
            good.replace('f', "g"),
            good.replace('0', "/"),
            good.replace('a', "`"),
            good.replace('9', ":"),
            good.repeat(2),
            format!("{good}0"),
            good.chars().skip(1).collect(),
        ] {
            assert!(!is_sha256(&bad), "{bad}");
        }
    }

    #[test]
    fn timestamps_in_seconds_are_seen_as_such() {
        for (raw, read) in [
            ("1542814864", 1_542_814_864_000),
            ("1542814864621", 1_542_814_864_621),
            ("-5", -5),
            ("99999999999999.5", 99_999_999_999_999),
            ("1e15", 1_000_000_000_000_000),
            ("9223372036854775808", i64::MAX),
            ("-1e300", i64::MIN),
        ] {
            let index = format!(r#"{{"name":"a","version":"1","build":"0","timestamp":{raw}}}"#);
            assert_eq!(record(&index).unwrap().1.timestamp, Some(read));
        }
    }
}
