//! What a signature may be passed off as: a file's signature and the signature of metadata of a signed index are of
//! one scheme, so that bytes which are such metadata must never be signed as a file.

use std::fmt;
use std::io::Read;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The types of metadata in TUF's specification (4.2), old and new.
const TYPES: [&str; 6] = [
    "root",
    "timestamp",
    "snapshot",
    "targets",
    "mirrors",
    "mirror",
];

/// Whether bytes are metadata of The Update Framework, as JSON of any layout: the whole file, or the part in it that
/// is signed.
pub fn is_metadata(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    reads_as_metadata(bytes)
}

/// The same of a file of any length, as far as it reads as JSON, in little memory. Bytes that stop being JSON later on
/// count by what came before: what another reader makes of them is not known.
pub fn reads_as_metadata(from: impl Read) -> bool {
    let mut found = false;
    let mut json = serde_json::Deserializer::from_reader(std::io::BufReader::new(from));
    let depth = 0;
    let probe = Probe {
        found: &mut found,
        depth,
    };
    // An error says that it is no JSON, which is no metadata.
    let _ = probe.deserialize(&mut json);
    found
}

/// Looks for a type in an object, and in its `signed`.
struct Probe<'a> {
    found: &'a mut bool,
    depth: usize,
}

/// Looks whether a value is the name of a type.
struct TypeName<'a>(&'a mut bool);

impl<'de> DeserializeSeed<'de> for Probe<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Probe<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Probe { found, depth } = self;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "_type" => map.next_value_seed(TypeName(found))?,
                "signed" if depth == 0 => map.next_value_seed(Probe { found, depth: 1 })?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for TypeName<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for TypeName<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, name: &str) -> Result<(), E> {
        *self.0 |= TYPES.contains(&name.to_lowercase().as_str());
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_known_in_any_layout() {
        for yes in [
            r#"{"_type":"root"}"#,
            r#" { "version" : 1, "_type" : "targets" } "#,
            r#"{"signed":{"_type":"timestamp"},"signatures":[]}"#,
            "{\n  \"signatures\": [],\n  \"signed\": {\"_type\": \"snapshot\"}\n}\n",
            r#"{"_type":"root"}{"#,
            r#"{"_type":"root""#,
            r#"{"_type":"root","_type":1}"#,
            r#"{"_type":[],"_type":"root"}"#,
            r#"{"_type":[1,[2]],"_type":"root"}"#,
            r#"{"_type":{"a":1},"_type":"root"}"#,
            r#"{"_type":true,"_type":-1,"_type":1,"_type":0.5,"_type":null,"_type":"root"}"#,
            r#"{"signed":{"_type":{"a":[1]},"_type":"root"}}"#,
            r#"{"\u005ftype":"root"}"#,
            r#"{"_type":"Targets"}"#,
            "\u{feff}{\"_type\":\"root\"}",
        ] {
            assert!(is_metadata(yes.as_bytes()), "{yes}");
        }
        for no in [
            "",
            "root",
            "[]",
            r#"{"type":"root"}"#,
            r#"{"_type":"package"}"#,
            r#"{"_type":1}"#,
            r#"{"signed":[]}"#,
            r#"{"signed":{"signed":{"_type":"root"}}}"#,
            r#"[{"_type":"root"}]"#,
            "\u{0}{\"_type\":\"root\"}",
        ] {
            assert!(!is_metadata(no.as_bytes()), "{no}");
        }
    }
}
