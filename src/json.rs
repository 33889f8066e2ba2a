//! JSON as Python's `json` module reads and prints it, which is what signatures of records by other
//! tools depend on. Owns parsing without loss (big integers and duplicate keys are seen) and printing
//! (ASCII escapes, keys in code-point order, Python's numbers). Knows nothing of packages or records.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// How deep arrays and objects may stand in one another. Real metadata stays below ten.
const MAX_DEPTH: usize = 64;

/// How deep they may stand in an index: around what is of one package, an index has a few levels of its own.
const MAX_DEPTH_OF_INDEX: usize = 72;

/// Python refuses to read an integer of more digits (`sys.set_int_max_str_digits`), and with it the
/// whole document.
const MAX_INTEGER_DIGITS: usize = 4_300;

/// The most values in a text that [`parse_small`] reads. Real metadata has a thousand.
const MAX_VALUES: usize = 250_000;

/// What an object takes in memory at least, in bytes: a node of a `BTreeMap` has room for eleven members.
const OBJECT_BYTES: u64 = 700;

/// What any other value takes in memory, about, in bytes, its text aside.
const VALUE_BYTES: u64 = 80;

/// The members of a JSON object. UTF-8 sorts bytewise as its code points do.
pub type Object = BTreeMap<String, Json>;

/// A JSON value that keeps every integer, however large.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, as Python prints it.
    Number(String),
    /// A string.
    String(String),
    /// An array.
    Array(Vec<Json>),
    /// An object, sorted by key.
    Object(Object),
}

/// Why a text is not the JSON that a client can read.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// The bytes are not UTF-8 (RFC 8259, section 8.1).
    #[error("it is not UTF-8 (byte {0})")]
    NotUtf8(usize),
    /// A byte order mark stands in front.
    #[error("it begins with a byte order mark, which JSON does not allow")]
    ByteOrderMark,
    /// Not JSON by the grammar of RFC 8259, or a key stands twice, or a lone surrogate.
    #[error("it is not valid JSON: {0}")]
    Syntax(String),
    /// Arrays and objects nested too deep.
    #[error("it is nested more than {MAX_DEPTH} deep")]
    TooDeep,
    /// More values than anything of its kind has; in memory each takes many times its text.
    #[error("it has more than {MAX_VALUES} values")]
    TooMany,
    /// In memory it would take more than is allowed.
    #[error("its values would take more than {} MiB of memory", .0 / 1024 / 1024)]
    TooLarge(u64),
    /// A number that clients can't read.
    #[error("the number {0} is out of range")]
    Number(String),
}

impl From<serde_json::Error> for JsonError {
    fn from(error: serde_json::Error) -> Self {
        JsonError::Syntax(error.to_string())
    }
}

/// Reads one JSON document.
///
/// # Errors
/// Anything that Python's `json.loads` would refuse or lose: see [`JsonError`]. Duplicate keys are
/// refused, because clients disagree on which of the two counts.
pub fn parse(bytes: &[u8]) -> Result<Json, JsonError> {
    let text = std::str::from_utf8(bytes).map_err(|e| JsonError::NotUtf8(e.valid_up_to()))?;
    if text.starts_with('\u{feff}') {
        return Err(JsonError::ByteOrderMark);
    }
    value(serde_json::from_str::<&RawValue>(text)?, MAX_DEPTH)
}

/// Reads one document that somebody may have made to fill the memory: metadata of one package.
///
/// # Errors
/// As [`parse`], and when it holds too many values.
pub fn parse_small(bytes: &[u8]) -> Result<Json, JsonError> {
    // Each value but the first follows one of these; those within texts are counted too, which hurts nobody.
    let starts = bytes.iter().filter(|b| matches!(b, b',' | b'[' | b'{'));
    if starts.count() > MAX_VALUES {
        return Err(JsonError::TooMany);
    }
    parse(bytes)
}

/// Reads one document that may be large, and that somebody may have made to fill the memory, where a short text
/// becomes many values: an index, or what belongs to one.
///
/// # Errors
/// As [`parse`], and when its values would take more than so many bytes of memory, about.
pub fn parse_within(bytes: &[u8], memory: u64) -> Result<Json, JsonError> {
    if weight(bytes) > memory {
        return Err(JsonError::TooLarge(memory));
    }
    parse(bytes)
}

/// As [`parse_within`], of an index: whatever [`parse`] reads of one package may stand in it. `None` where it can't be
/// read.
pub fn parse_index(bytes: &[u8], memory: u64) -> Option<Json> {
    let text = std::str::from_utf8(bytes).ok();
    let text = text.filter(|_| weight(bytes) <= memory)?;
    value(serde_json::from_str(text).ok()?, MAX_DEPTH_OF_INDEX).ok()
}

/// How many bytes of memory a document's values take, about, its text aside.
pub fn weight(bytes: &[u8]) -> u64 {
    let weight = |byte: &u8| match byte {
        b'{' => OBJECT_BYTES,
        b',' | b'[' => VALUE_BYTES,
        _ => 0,
    };
    // Those within texts are counted too, which hurts nobody.
    bytes.iter().map(weight).sum()
}

/// Each level is cut into the texts of its members first: serde_json would turn a big integer into a
/// float, while a text keeps it. `deeper` is how many levels there may be below this one.
fn value(raw: &RawValue, deeper: usize) -> Result<Json, JsonError> {
    let below = |raw: &RawValue| value(raw, deeper.checked_sub(1).ok_or(JsonError::TooDeep)?);
    let text = raw.get();
    Ok(match text.as_bytes().first() {
        Some(b'{') => {
            let Members(members) = serde_json::from_str(text)?;
            let mut object = Object::new();
            for (key, raw) in members {
                if object.contains_key(&key) {
                    let key = key.escape_debug();
                    return Err(JsonError::Syntax(format!("duplicate key \"{key}\"")));
                }
                object.insert(key, below(raw)?);
            }
            Json::Object(object)
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text)?;
            Json::Array(items.into_iter().map(below).collect::<Result<_, _>>()?)
        }
        Some(b'"') => Json::String(serde_json::from_str(text)?),
        Some(b't') => Json::Bool(true),
        Some(b'f') => Json::Bool(false),
        Some(b'n') => Json::Null,
        _ => Json::Number(number(text)?),
    })
}

/// The members of one object in their order, each value still a text. A key may stand twice here.
#[derive(Debug, Default)]
pub struct Members<'a>(pub Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// A number's text as Python prints it after reading it.
fn number(text: &str) -> Result<String, JsonError> {
    let out_of_range = || JsonError::Number(text.chars().take(40).collect());
    if text.bytes().all(|b| b.is_ascii_digit() || b == b'-') {
        return match text {
            "-0" => Ok("0".to_owned()),
            _ if text.trim_start_matches('-').len() > MAX_INTEGER_DIGITS => Err(out_of_range()),
            _ => Ok(text.to_owned()),
        };
    }
    let float: f64 = text.parse().map_err(|_| out_of_range())?;
    if float.is_finite() {
        Ok(python_float(float))
    } else {
        Err(out_of_range())
    }
}

/// `repr(float)`: the shortest digits that read back as the same float; an exponent of at least two
/// digits from 1e16 up and below 1e-4.
fn python_float(float: f64) -> String {
    let scientific = format!("{float:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let fixed = format!("{float}");
        if fixed.contains('.') {
            fixed
        } else {
            fixed + ".0"
        }
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs())
    }
}

impl Json {
    /// A number of that value; `None` for infinities and what is not a number.
    pub fn float(value: f64) -> Option<Json> {
        value.is_finite().then(|| Json::Number(python_float(value)))
    }

    /// A string's text; `None` for every other value.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Json::String(text) => Some(text),
            _ => None,
        }
    }

    /// An integer that fits 64 bits; `None` for every other value.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Json::Number(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// `json.dumps(…, sort_keys=True, separators=(",", ":"))`.
    pub fn compact(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, None);
        out
    }

    /// `json.dumps(…, sort_keys=True, indent=2)` and a final newline.
    pub fn pretty(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, Some(0));
        out.push('\n');
        out
    }

    /// Prints into `out`; `indent` is the depth so far, or `None` for the compact form.
    fn write(&self, out: &mut String, indent: Option<usize>) {
        match self {
            Json::Null => out.push_str("null"),
            Json::Bool(true) => out.push_str("true"),
            Json::Bool(false) => out.push_str("false"),
            Json::Number(text) => out.push_str(text),
            Json::String(text) => write_string(out, text),
            Json::Array(items) => write_items(
                out,
                indent,
                ['[', ']'],
                items.iter(),
                |out, item, indent| {
                    item.write(out, indent);
                },
            ),
            Json::Object(members) => {
                write_items(
                    out,
                    indent,
                    ['{', '}'],
                    members.iter(),
                    |out, (key, value), indent| {
                        write_string(out, key);
                        out.push_str(if indent.is_some() { ": " } else { ":" });
                        value.write(out, indent);
                    },
                );
            }
        }
    }
}

/// A document's text as [`Json::pretty`] prints it, with its values and the order of its keys as they stand there: it is
/// not read, so that whatever could be written can be printed.
pub fn indented(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len().saturating_mul(2));
    let (mut depth, mut opened) = (0_usize, false);
    let (mut in_text, mut escaped) = (false, false);
    let new_line = |out: &mut Vec<u8>, depth: usize| {
        out.push(b'\n');
        out.extend(std::iter::repeat_n(b' ', depth.saturating_mul(2)));
    };
    for byte in text.bytes() {
        if in_text {
            out.push(byte);
            (in_text, escaped) = (escaped || byte != b'"', !escaped && byte == b'\\');
            continue;
        }
        if byte.is_ascii_whitespace() {
            continue;
        }
        let closes = matches!(byte, b']' | b'}');
        if closes {
            depth = depth.saturating_sub(1);
        }
        // An empty container stays on its line.
        if opened != closes {
            new_line(&mut out, depth);
        }
        out.push(byte);
        opened = matches!(byte, b'[' | b'{');
        in_text = byte == b'"';
        match byte {
            b'[' | b'{' => depth = depth.saturating_add(1),
            b',' => new_line(&mut out, depth),
            b':' => out.push(b' '),
            _ => {}
        }
    }
    out.push(b'\n');
    out
}

/// Items between brackets; an empty container stays on its line, as Python prints it.
fn write_items<T>(
    out: &mut String,
    indent: Option<usize>,
    [open, close]: [char; 2],
    items: impl ExactSizeIterator<Item = T>,
    each: impl Fn(&mut String, T, Option<usize>),
) {
    let inner = indent.map(|depth| depth.saturating_add(1));
    let empty = items.len() == 0;
    out.push(open);
    for (position, item) in items.enumerate() {
        if position > 0 {
            out.push(',');
        }
        new_line(out, inner);
        each(out, item, inner);
    }
    if !empty {
        new_line(out, indent);
    }
    out.push(close);
}

fn new_line(out: &mut String, indent: Option<usize>) {
    if let Some(depth) = indent {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    }
}

/// A string in ASCII: everything outside printable ASCII is escaped, astral characters as surrogate
/// pairs, 0x7f as `\u007f`, as Python's `ensure_ascii` does.
pub fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing into a String can't fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn metadata_of_too_many_values_is_refused() {
        let many = format!("[{}0]", "0,".repeat(MAX_VALUES));
        assert!(matches!(
            parse_small(many.as_bytes()),
            Err(JsonError::TooMany)
        ));
        assert!(parse(many.as_bytes()).is_ok() && parse_small(b"[0,{}]").is_ok());
    }

    #[test]
    fn documents_that_would_fill_the_memory_are_refused() {
        for (many, values) in [
            (format!("[{}0]", "0,".repeat(999)), 80 * 1_000),
            (format!("[{}0]", "{},".repeat(999)), 780 * 999 + 80),
        ] {
            assert!(parse_within(many.as_bytes(), values).is_ok());
            let refused = parse_within(many.as_bytes(), values - 1).unwrap_err();
            assert!(refused.to_string().contains("of memory"), "{refused}");
        }
    }

    #[test]
    fn numbers_are_pythons() {
        for (text, printed) in [
            ("0", "0"),
            ("-0", "0"),
            ("-0.0", "-0.0"),
            ("1e3", "1000.0"),
            ("1.50", "1.5"),
            ("1E400", ""),
            (
                "123456789012345678901234567890",
                "123456789012345678901234567890",
            ),
            ("1e15", "1000000000000000.0"),
            ("1e16", "1e+16"),
            ("1.25e22", "1.25e+22"),
            ("0.0001", "0.0001"),
            ("0.00001", "1e-05"),
            ("1.5e-7", "1.5e-07"),
            ("5e-324", "5e-324"),
            ("1.7976931348623157e308", "1.7976931348623157e+308"),
            ("9007199254740993.0", "9007199254740992.0"),
        ] {
            match parse(text.as_bytes()) {
                Ok(value) => assert_eq!(value.compact(), printed, "{text}"),
                Err(_) => assert_eq!("", printed, "{text}"),
            }
        }
        assert!(parse("9".repeat(5_000).as_bytes()).is_err());
    }

    #[test]
    fn strings_are_ascii() {
        let value =
            parse("\"ü \u{1F600} \u{7f} / \\u0000 \\\\ \\\" \\b\\f\\n\\r\\t\u{2028}\"".as_bytes())
                .unwrap();
        assert_eq!(
            value.compact(),
            r#""\u00fc \ud83d\ude00 \u007f / \u0000 \\ \" \b\f\n\r\t\u2028""#
        );
    }

    #[test]
    fn keys_stand_in_code_point_order() {
        let value =
            parse("{\"b\":1,\"a\":[],\"\u{e000}\":{},\"\u{1F600}\":null,\"A\":true}".as_bytes())
                .unwrap();
        assert_eq!(
            value.compact(),
            r#"{"A":true,"a":[],"b":1,"\ue000":{},"\ud83d\ude00":null}"#
        );
    }

    #[test]
    fn pretty_is_pythons_indent_2() {
        let value = parse(br#"{"b":[1,{"c":[]}],"a":{}}"#).unwrap();
        assert_eq!(
            value.pretty(),
            "{\n  \"a\": {},\n  \"b\": [\n    1,\n    {\n      \"c\": []\n    }\n  ]\n}\n"
        );
    }

    #[test]
    fn a_text_is_indented_as_its_values_would_be() {
        for text in [
            r#"{"a":{},"b":[1,{"c":[]}],"d":[[],[[]],{"e":{}}]}"#,
            r#"{"":"","\"":"\\","\\\"[":"a\\\\\"{b: [c,] }\\","z":[-1.5e+20,null,true,"\u00fc"]}"#,
            "[]",
            "{}",
            "7",
            r#""a b""#,
        ] {
            let value = parse(text.as_bytes()).unwrap();
            assert_eq!(value.compact(), text);
            let pretty = value.pretty();
            assert_eq!(indented(text), pretty.as_bytes());
            assert_eq!(indented(&pretty), pretty.as_bytes());
        }
        let deep = "[".repeat(1_000) + &"]".repeat(1_000);
        let lines = indented(&deep).iter().filter(|b| **b == b'\n').count();
        assert_eq!(lines, 1_999);
    }

    #[test]
    fn an_index_may_be_as_deep_as_a_package_and_some_levels_of_its_own() {
        let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        for (levels, of_package, of_index) in [
            (65, true, true),
            (66, false, true),
            (73, false, true),
            (74, false, false),
        ] {
            let text = deep(levels);
            assert_eq!(parse(text.as_bytes()).is_ok(), of_package, "{levels}");
            assert_eq!(
                parse_index(text.as_bytes(), 1 << 20).is_some(),
                of_index,
                "{levels}"
            );
        }
        assert!(parse_index(deep(10).as_bytes(), 10).is_none());
    }

    #[test]
    fn what_python_would_refuse_or_lose_is_refused() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        let cases: [(&str, &[u8]); 12] = [
            ("empty", b""),
            ("not JSON", b"name: x"),
            ("not UTF-8", b"\"\xff\""),
            ("byte order mark", b"\xef\xbb\xbf{}"),
            ("NaN", b"{\"a\":NaN}"),
            ("infinity", b"[-Infinity]"),
            ("lone surrogate", br#""\ud800""#),
            ("swapped surrogates", br#""\udc00\ud800""#),
            ("duplicate keys", br#"{"a":1,"\u0061":2}"#),
            ("duplicate keys below", br#"{"a":[{"b":1,"b":1}]}"#),
            ("deep", deep.as_bytes()),
            ("bytes behind the end", b"{} {}"),
        ];
        for (name, text) in cases {
            assert!(parse(text).is_err(), "{name}");
        }
    }
}
