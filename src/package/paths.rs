//! What `info/paths.json` says of installing a package. Owns its reading, entry by entry, none of which is held;
//! what an entry means is [`Install`]'s.

use std::fmt;
use std::io::{BufReader, Read};

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::details::Install;

/// Looks through a text that is held.
pub(super) fn install(text: &[u8]) -> Result<Install, serde_json::Error> {
    let mut install = Install::default();
    let mut json = serde_json::Deserializer::from_slice(text);
    Document(&mut install).deserialize(&mut json)?;
    json.end()?;
    Ok(install)
}

/// Looks through a text as it streams by.
pub(super) fn install_streaming(text: &mut dyn Read) -> Result<Install, serde_json::Error> {
    let mut install = Install::default();
    let mut json = serde_json::Deserializer::from_reader(BufReader::new(text));
    Document(&mut install).deserialize(&mut json)?;
    json.end()?;
    Ok(install)
}

/// The whole file.
struct Document<'i>(&'i mut Install);

impl<'de> DeserializeSeed<'de> for Document<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if key == "paths" {
                map.next_value_seed(Entries(self.0))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// The list of files.
struct Entries<'i>(&'i mut Install);

impl<'de> DeserializeSeed<'de> for Entries<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of files")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while let Some(entry) = entries.next_element::<Entry>()? {
            let placeholder = entry
                .prefix_placeholder
                .is_some_and(|text| !text.is_empty());
            let binary = entry.file_mode.as_deref() == Some("binary");
            self.0.see(&entry.path, placeholder, binary);
        }
        Ok(())
    }
}

/// One file of the package (CEP 34).
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "_path")]
    path: String,
    #[serde(default)]
    prefix_placeholder: Option<String>,
    #[serde(default)]
    file_mode: Option<String>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn entries_are_looked_at_one_by_one() {
        let text = br#"{"paths":[{"_path":"bin/a","prefix_placeholder":"/x","file_mode":"binary","sha256":"0"},
            {"_path":"bin/.a-post-link.sh","path_type":"hardlink"},{"_path":"etc/conda/activate.d/a.sh"}],
            "paths_version":1}"#;
        let found = install(text).unwrap();
        assert_eq!(install_streaming(&mut text.as_slice()).unwrap(), found);
        let expected = Install {
            binary_prefix: true,
            post_link: true,
            activate: true,
            ..Install::default()
        };
        assert_eq!(found, expected);
        assert_eq!(install(b"{}").unwrap(), Install::default());
        let none = br#"{"paths":[{"_path":"a","prefix_placeholder":"","file_mode":"binary"}]}"#;
        assert_eq!(install(none).unwrap(), Install::default());
        let text = none.to_vec();
        let text = String::from_utf8(text)
            .unwrap()
            .replace(r#":"","#, r#":"/x","#);
        let text = text.replace("binary", "text");
        let found = install(text.as_bytes()).unwrap();
        assert!(!found.binary_prefix);
        assert_ne!(found, Install::default());
    }

    #[test]
    fn what_is_no_list_of_files_is_an_error() {
        let deep = "[".repeat(100_000);
        for text in [
            "",
            "[]",
            "{\"paths\":{}}",
            "{\"paths\":[7]}",
            "{\"paths\":[{}]}",
            "{} x",
            &deep,
        ] {
            assert!(install(text.as_bytes()).is_err(), "{text:.40}");
            assert!(install_streaming(&mut text.as_bytes()).is_err());
        }
        for (text, says) in [
            ("[]", "expected an object"),
            (r#"{"paths":{}}"#, "expected a list of files"),
        ] {
            let error = install(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
