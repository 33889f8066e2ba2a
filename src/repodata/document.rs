//! `repodata.json` as text. Owns its top-level form (CEP 36); records come as text and are spliced.

use std::collections::BTreeMap;

use crate::channel::SubdirName;
use crate::error::Error;
use crate::json::{self, Json, Object};
use crate::keys::{Fingerprint, KeyName};
use crate::package::Format;

/// One subdir's index: the packages' records, sorted by file name.
#[derive(Debug, Clone)]
pub struct Document<'a> {
    /// The subdir.
    pub subdir: &'a SubdirName,
    /// The packages, in any order.
    pub listed: Vec<Listed>,
    /// The keys that made the signatures in it, with the bits of their moduli.
    pub signing_keys: BTreeMap<Fingerprint, (KeyName, u32)>,
    /// What conda-content-trust put there: signatures by file name.
    pub signatures: Object,
}

/// A package as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The file name.
    pub name: String,
    /// By its extension.
    pub format: Format,
    /// Its record, as compact JSON.
    pub record: String,
}

impl Document<'_> {
    /// The file's text: one line, or indented by two with a final newline.
    ///
    /// # Errors
    /// Never for the compact form; for the other when a record's text is no JSON.
    pub fn render(&self, compact: bool) -> Result<Vec<u8>, Error> {
        let text = self.compact();
        if compact {
            return Ok(text.into_bytes());
        }
        Ok(json::parse(text.as_bytes())
            .map_err(Error::Print)?
            .pretty()
            .into_bytes())
    }

    fn compact(&self) -> String {
        let size: usize = self
            .listed
            .iter()
            .map(|one| one.record.len().saturating_add(80))
            .sum();
        let mut out = String::with_capacity(size.saturating_add(1_000));
        out.push_str("{\"info\":");
        out.push_str(&self.info().compact());
        for (key, format) in [
            ("packages", Format::TarBz2),
            ("packages.conda", Format::Conda),
        ] {
            out.push_str(",\"");
            out.push_str(key);
            out.push_str("\":{");
            self.write_records(&mut out, format);
            out.push('}');
        }
        out.push_str(",\"removed\":[],\"repodata_version\":1");
        if !self.signatures.is_empty() {
            out.push_str(",\"signatures\":");
            out.push_str(&Json::Object(self.signatures.clone()).compact());
        }
        out.push('}');
        out
    }

    fn info(&self) -> Json {
        let text = |text: &str| Json::String(text.to_owned());
        let keys = self.signing_keys.iter().map(|(fingerprint, (name, bits))| {
            let about = Object::from([
                ("bits".to_owned(), Json::Number(bits.to_string())),
                ("name".to_owned(), text(name.as_str())),
            ]);
            (fingerprint.to_string(), Json::Object(about))
        });
        Json::Object(Object::from([
            ("generator".to_owned(), text("sigindex")),
            ("signing_keys".to_owned(), Json::Object(keys.collect())),
            ("subdir".to_owned(), text(self.subdir.as_str())),
        ]))
    }

    fn write_records(&self, out: &mut String, format: Format) {
        let mut listed: Vec<&Listed> = self
            .listed
            .iter()
            .filter(|one| one.format == format)
            .collect();
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        for (position, one) in listed.into_iter().enumerate() {
            if position > 0 {
                out.push(',');
            }
            json::write_string(out, &one.name);
            out.push(':');
            out.push_str(&one.record);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_document_is_what_python_would_print() {
        let listed = |name: &str, format| Listed {
            name: name.to_owned(),
            format,
            record: "{\"name\":\"x\"}".to_owned(),
        };
        let subdir = SubdirName::noarch();
        let key = (KeyName::parse("MyKey").unwrap(), 2048);
        let document = Document {
            subdir: &subdir,
            listed: vec![
                listed("b.conda", Format::Conda),
                listed("ü.conda", Format::Conda),
                listed("a.tar.bz2", Format::TarBz2),
                listed("A.conda", Format::Conda),
            ],
            signing_keys: BTreeMap::from([(Fingerprint::parse(&"ab".repeat(32)).unwrap(), key)]),
            signatures: Object::from([("a.tar.bz2".to_owned(), Json::Null)]),
        };
        let text = String::from_utf8(document.render(true).unwrap()).unwrap();
        let fingerprint = "ab".repeat(32);
        assert_eq!(
            text,
            format!(
                "{{\"info\":{{\"generator\":\"sigindex\",\"signing_keys\":{{\"{fingerprint}\":{{\"bits\":2048,\"name\":\"MyKey\"}}}},\"subdir\":\"noarch\"}},\"packages\":{{\"a.tar.bz2\":{{\"name\":\"x\"}}}},\"packages.conda\":{{\"A.conda\":{{\"name\":\"x\"}},\"b.conda\":{{\"name\":\"x\"}},\"\\u00fc.conda\":{{\"name\":\"x\"}}}},\"removed\":[],\"repodata_version\":1,\"signatures\":{{\"a.tar.bz2\":null}}}}"
            )
        );
        assert_eq!(json::parse(text.as_bytes()).unwrap().compact(), text);
        let pretty = document.render(false).unwrap();
        assert_eq!(json::parse(&pretty).unwrap().compact(), text);
        assert!(
            pretty.starts_with(b"{\n  \"info\": {\n    \"generator\"")
                && pretty.ends_with(b"\n}\n")
        );
    }
}
