//! MessagePack in a zstd frame. Owns how JSON becomes it and comes back, and how much is read of a file that
//! anybody may have written; must not know what shards are.

use std::collections::BTreeMap;
use std::io::{self, Read};

use rmpv::Value;
use zstd::zstd_safe;

use crate::error::Error;
use crate::json::{Json, Object};
use crate::record::hex;

/// How deep values may stand in one another, as [`rmpv::decode`] counts: two for each array or map. Records of
/// 64 levels, the most that JSON is read with, fit.
const MAX_DEPTH: usize = 160;

/// How often decompressed bytes may be read: each value takes one to four reads. It holds the memory for a file
/// full of empty values to about 1 GB; a shard with 50,000 records takes some 7 million.
pub(super) const MAX_READS: usize = 16_000_000;

/// A JSON value as MessagePack has it. Integers beyond 64 bits become floats, the largest where they are
/// beyond floats too.
pub(super) fn value(json: Json) -> Value {
    match json {
        Json::Null => Value::Nil,
        Json::Bool(it) => Value::Boolean(it),
        Json::Number(text) => number(&text),
        Json::String(text) => Value::from(text),
        Json::Array(items) => Value::Array(items.into_iter().map(value).collect()),
        Json::Object(members) => object(members),
    }
}

/// The members of an object in a text whose keys are sorted, as in all that we print; much quicker than [`value`].
/// `None` for what is no such object, and for numbers that only [`value`] has a form for.
pub(super) fn members_of(text: &str) -> Option<Vec<(Value, Value)>> {
    match serde_json::from_str(text).ok()? {
        Value::Map(members) if is_sorted(&members) => Some(members),
        _ => None,
    }
}

/// Whether no key stands twice, nor before a smaller one, at any depth; the parser limits that.
fn is_sorted(members: &[(Value, Value)]) -> bool {
    let keys = members.iter().map(|(key, _)| key.as_str());
    let values = members.iter().map(|(_, value)| value);
    keys.is_sorted_by(|a, b| a < b) && values.into_iter().all(is_sorted_within)
}

fn is_sorted_within(value: &Value) -> bool {
    match value {
        Value::Map(members) => is_sorted(members),
        Value::Array(items) => items.iter().all(is_sorted_within),
        _ => true,
    }
}

/// As [`value`], for an object.
pub(super) fn object(members: Object) -> Value {
    map(members.into_iter().map(|(key, json)| (key, value(json))))
}

/// A map of members in their order.
pub(super) fn map<K: Into<String>>(members: impl IntoIterator<Item = (K, Value)>) -> Value {
    let members = members.into_iter();
    Value::Map(
        members
            .map(|(key, value)| (Value::from(key.into()), value))
            .collect(),
    )
}

fn number(text: &str) -> Value {
    if let Ok(number) = text.parse::<u64>() {
        return Value::from(number);
    }
    if let Ok(number) = text.parse::<i64>() {
        return Value::from(number);
    }
    let float = text.parse::<f64>().unwrap_or_default();
    Value::F64(float.clamp(f64::MIN, f64::MAX))
}

/// A MessagePack value as JSON, bytes as lower-case hex; `None` for what JSON has no form for: keys that are
/// no text or stand twice, text that is not UTF-8, floats that are no numbers, extensions.
pub(super) fn json(value: Value) -> Option<Json> {
    Some(match value {
        Value::Nil => Json::Null,
        Value::Boolean(it) => Json::Bool(it),
        Value::Integer(number) => Json::Number(number.to_string()),
        Value::F32(float) => Json::float(f64::from(float))?,
        Value::F64(float) => Json::float(float)?,
        Value::String(text) => Json::String(text.into_str()?),
        Value::Binary(bytes) => Json::String(hex(&bytes)),
        Value::Array(items) => Json::Array(items.into_iter().map(json).collect::<Option<_>>()?),
        Value::Map(_) => Json::Object(members(value, json)?),
        Value::Ext(..) => return None,
    })
}

/// The members of a map, each value read by `each`; `None` for what is no map, or has keys that are no text or
/// stand twice.
pub(super) fn members<T>(
    value: Value,
    each: impl Fn(Value) -> Option<T>,
) -> Option<BTreeMap<String, T>> {
    let Value::Map(pairs) = value else {
        return None;
    };
    let mut members = BTreeMap::new();
    for (key, value) in pairs {
        let Value::String(key) = key else {
            return None;
        };
        let twice = members.insert(key.into_str()?, each(value)?);
        if twice.is_some() {
            return None;
        }
    }
    Some(members)
}

/// The bytes of a value, not compressed.
///
/// # Errors
/// For want of memory.
pub(super) fn plain(value: &Value) -> Result<Vec<u8>, Error> {
    let mut plain = Vec::new();
    rmpv::encode::write_value(&mut plain, value)
        .map_err(|cause| Error::Compress(io::Error::other(cause)))?;
    Ok(plain)
}

/// The value in a compressed file; `None` where it isn't exactly one, or has more than `largest` bytes when it
/// is decompressed.
pub(super) fn read(bytes: &[u8], largest: u64) -> Option<Value> {
    let told = zstd_safe::get_frame_content_size(bytes).ok()?;
    if told.is_some_and(|size| size > largest) {
        return None;
    }
    let decoder = zstd::Decoder::with_buffer(bytes).ok()?;
    let mut plain = Vec::new();
    let mut limited = decoder.take(largest.saturating_add(1));
    limited.read_to_end(&mut plain).ok()?;
    if u64::try_from(plain.len()).ok()? > largest {
        return None;
    }
    decode(&plain, MAX_READS).map(|(value, _)| value)
}

/// How many reads these bytes take, which are not compressed; `None` where they are more than [`read`] grants.
pub(super) fn reads(plain: &[u8]) -> Option<usize> {
    decode(plain, MAX_READS).map(|(_, reads)| reads)
}

/// Whether [`read`] gives these bytes back once they are compressed.
pub(super) fn comes_back(plain: &[u8], largest: u64) -> bool {
    let length = plain.len();
    let is_short = u64::try_from(length).is_ok_and(|length| length <= largest);
    // No value takes more than four reads, nor less than one byte.
    is_short && (length.saturating_mul(4) <= MAX_READS || reads(plain).is_some())
}

/// The one value in these bytes, if it takes no more reads, and how many it takes.
fn decode(plain: &[u8], reads: usize) -> Option<(Value, usize)> {
    let mut counted = Counted {
        rest: plain,
        left: reads,
    };
    let value = rmpv::decode::read_value_with_max_depth(&mut counted, MAX_DEPTH).ok()?;
    let taken = reads.saturating_sub(counted.left);
    counted.rest.is_empty().then_some((value, taken))
}

/// Bytes that may be read only so many times.
struct Counted<'a> {
    rest: &'a [u8],
    left: usize,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let too_many = || io::Error::other("too many values");
        self.left = self.left.checked_sub(1).ok_or_else(too_many)?;
        self.rest.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::json;
    use crate::repodata::Codec;

    fn compressed(plain: &[u8]) -> Vec<u8> {
        Codec::Zstd(3).compress(plain).unwrap()
    }

    fn there_and_back(text: &str) -> String {
        let parsed = json::parse(text.as_bytes()).unwrap();
        let bytes = compressed(&plain(&value(parsed)).unwrap());
        super::json(read(&bytes, 1 << 20).unwrap())
            .unwrap()
            .compact()
    }

    #[test]
    fn json_comes_back() {
        for text in [
            "null",
            "true",
            "[]",
            "{}",
            r#"{"":"","a":[1,-1,0,127,128,-32,-33,65536,{"b":"\u00fc\ud83d\ude00\u0000"}]}"#,
            "18446744073709551615",
            "-9223372036854775808",
            "[1.5,-0.0,1000.0,1e-05,1.25e+22,5e-324,1.7976931348623157e+308]",
        ] {
            assert_eq!(there_and_back(text), text);
        }
        let deep = "[".repeat(64) + &"]".repeat(64);
        assert_eq!(there_and_back(&deep), deep);
    }

    #[test]
    fn integers_beyond_64_bits_are_floats() {
        for (text, back) in [
            ("18446744073709551616", "1.8446744073709552e+19"),
            ("-9223372036854775809", "-9.223372036854776e+18"),
        ] {
            assert_eq!(there_and_back(text), back);
        }
        let large = "9".repeat(4_000);
        assert_eq!(there_and_back(&large), "1.7976931348623157e+308");
    }

    #[test]
    fn what_json_has_no_form_for_is_refused() {
        let key = |key: Value| Value::Map(vec![(key, Value::Nil)]);
        let twice = Value::Map(vec![("a".into(), Value::Nil), ("a".into(), Value::Nil)]);
        for value in [
            Value::Ext(1, vec![0]),
            Value::F64(f64::NAN),
            Value::F32(f32::INFINITY),
            key(Value::from(1)),
            key(Value::Binary(vec![b'a'])),
            twice,
        ] {
            assert_eq!(
                super::json(Value::Array(vec![value.clone()])),
                None,
                "{value}"
            );
        }
        let not_utf8 = read(&compressed(&[0xa1, 0xff]), 10).unwrap();
        assert_eq!(super::json(not_utf8), None);
        assert_eq!(
            super::json(Value::Binary(vec![0xab, 1])).unwrap().compact(),
            "\"ab01\""
        );
    }

    #[test]
    fn what_is_read_has_bounds() {
        let whole = compressed(b"\x93\x01\x02\x03");
        assert!(read(&whole, 4).is_some() && read(&whole, 3).is_none());
        // A frame that does not tell its size.
        let silent = zstd::stream::encode_all(&b"\x93\x01\x02\x03"[..], 3).unwrap();
        assert_eq!(zstd_safe::get_frame_content_size(&silent).unwrap(), None);
        assert!(read(&silent, 4).is_some() && read(&silent, 3).is_none());
        let array = |count: u32| [&[0xdd][..], &count.to_be_bytes()].concat();
        let many = [array(1_000), vec![0xc0; 1_000]].concat();
        assert!(decode(&many, 1_010).is_some() && decode(&many, 1_000).is_none());
        for (name, plain) in [
            ("empty", Vec::new()),
            ("cut short", b"\x93\x01".to_vec()),
            ("bytes behind the end", b"\x01\x01".to_vec()),
            ("an array of 4 billion", array(u32::MAX)),
            ("a text of 4 GB", b"\xdb\xff\xff\xff\xffabc".to_vec()),
            ("deep", [vec![0x91; 1_000_000], vec![0xc0]].concat()),
        ] {
            assert!(read(&compressed(&plain), 1 << 28).is_none(), "{name}");
        }
        for junk in [&b""[..], b"text", &whole[..whole.len() - 1]] {
            assert!(read(junk, 1 << 20).is_none());
        }
    }
}
