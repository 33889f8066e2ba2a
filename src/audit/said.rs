//! What a record says that can be held against a file: digests, size, signature. Owns reading it out of the record of
//! any indexer; must not judge it.

use serde::Deserialize;
use serde_json::Value;

use crate::keys::{Fingerprint, KeyName};
use crate::record::unhex;
use crate::signature::Signature;

/// The scheme of signatures in records.
const SCHEME: &str = "rsa-pss-sha256";

/// What a record says of its package's file.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub sha256: Option<[u8; 32]>,
    pub md5: Option<[u8; 16]>,
    /// Bytes.
    pub size: Option<u64>,
    pub signature: Noted,
    /// What it says that the SHA-256 of its list of attestations is (CEP 50).
    pub attestations: Option<String>,
    pub depends: Vec<String>,
    pub constrains: Vec<String>,
    /// `name`, `version` and `build`.
    pub identity: [Option<String>; 3],
}

/// What a record says of the package's signature.
#[derive(Debug, Default)]
pub(super) enum Noted {
    /// Nothing.
    #[default]
    Nothing,
    /// That it lies beside the package, and the name of its key where that is told.
    Beside(Option<KeyName>),
    /// The signature itself, and the fingerprint of its key where that is told.
    Here(Signature, Option<Fingerprint>),
    /// Something that is no signature, and why.
    Broken(String),
}

#[derive(Deserialize)]
struct Text {
    #[serde(default)]
    sha256: Value,
    #[serde(default)]
    md5: Value,
    #[serde(default)]
    size: Value,
    #[serde(default)]
    sig: Value,
    #[serde(default)]
    signature: Value,
    #[serde(default)]
    attestations_sha256: Value,
    #[serde(default)]
    depends: Value,
    #[serde(default)]
    constrains: Value,
    #[serde(default)]
    name: Value,
    #[serde(default)]
    version: Value,
    #[serde(default)]
    build: Value,
}

impl Said {
    /// Reads a record; `None` where it is no JSON object.
    pub fn of(record: &str) -> Option<Said> {
        let text: Text = serde_json::from_str(record).ok()?;
        let owned = |value: &Value| value.as_str().map(str::to_owned);
        Some(Said {
            sha256: text.sha256.as_str().and_then(unhex),
            md5: text.md5.as_str().and_then(unhex),
            size: text.size.as_u64(),
            signature: noted(&text.sig, &text.signature),
            attestations: match &text.attestations_sha256 {
                Value::Null => None,
                Value::String(hash) => Some(hash.clone()),
                other => Some(other.to_string()),
            },
            depends: strings(&text.depends),
            constrains: strings(&text.constrains),
            identity: [&text.name, &text.version, &text.build].map(owned),
        })
    }
}

/// The strings in a list; what is no string shows as JSON, so that it is never equal to one by being left out.
pub(super) fn strings(list: &Value) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    let text = |item: &Value| {
        item.as_str()
            .map_or_else(|| item.to_string(), str::to_owned)
    };
    items.map(text).collect()
}

fn noted(sig: &Value, signature: &Value) -> Noted {
    let Some(members) = signature.as_object() else {
        return match (signature, sig) {
            (Value::Null, Value::Null) => Noted::Nothing,
            (Value::Null, _) => Noted::Beside(None),
            _ => Noted::Broken("\"signature\" is no object".to_owned()),
        };
    };
    let text = |key: &str| members.get(key).and_then(Value::as_str);
    if text("scheme") != Some(SCHEME) {
        return Noted::Broken(format!("the signature's scheme is not {SCHEME}"));
    }
    let (Some(key), value) = (text("key"), text("value")) else {
        return Noted::Broken("the signature names no key".to_owned());
    };
    let fingerprint = match text("fingerprint").map(Fingerprint::parse) {
        None => None,
        Some(Ok(fingerprint)) => Some(fingerprint),
        Some(Err(error)) => return Noted::Broken(error.to_string()),
    };
    let Some(value) = value else {
        return Noted::Beside(KeyName::parse(key).ok());
    };
    match Signature::parse(format!("{key} {value}").as_bytes()) {
        Ok(signature) => Noted::Here(signature, fingerprint),
        Err(fault) => Noted::Broken(fault.to_string()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_record_of_any_indexer_is_read() {
        let sha256 = "aB".repeat(32);
        let said = Said::of(&format!(
            r#"{{"sha256":"{sha256}","md5":7,"size":5,"depends":["a",1],"name":"x","sig":"."}}"#
        ))
        .unwrap();
        assert_eq!(said.sha256, Some([0xab; 32]));
        assert_eq!((said.md5, said.size), (None, Some(5)));
        assert_eq!(said.depends, ["a", "1"]);
        assert!(matches!(said.signature, Noted::Beside(None)));
        assert_eq!(said.attestations, None);
        for (value, hash) in [("null", None), ("\"a\"", Some("a")), ("[7]", Some("[7]"))] {
            let said = Said::of(&format!(r#"{{"attestations_sha256":{value}}}"#)).unwrap();
            assert_eq!(said.attestations.as_deref(), hash);
        }
        assert!(Said::of("7").is_none());
        for hash in ["", "a", "zz", &"ab".repeat(31), &"+a".repeat(32)] {
            assert_eq!(unhex::<32>(hash), None, "{hash}");
        }
    }

    #[test]
    fn a_note_is_a_signature_or_says_why_not() {
        let noted = |text: &str| {
            let said = Said::of(&format!(r#"{{"sig":".","signature":{text}}}"#));
            said.unwrap().signature
        };
        let good = r#"{"key":"k","scheme":"rsa-pss-sha256","value":"AAEC"}"#;
        assert!(matches!(noted(good), Noted::Here(..)));
        assert!(matches!(
            noted(r#"{"key":"k","scheme":"rsa-pss-sha256"}"#),
            Noted::Beside(Some(_))
        ));
        for broken in [
            "[]",
            "{}",
            r#"{"key":"k","scheme":"none","value":"AAEC"}"#,
            r#"{"key":"k","scheme":"rsa-pss-sha256","value":"!"}"#,
            r#"{"scheme":"rsa-pss-sha256","value":"AAEC"}"#,
            r#"{"key":"k","scheme":"rsa-pss-sha256","value":"AAEC","fingerprint":"x"}"#,
        ] {
            assert!(matches!(noted(broken), Noted::Broken(_)), "{broken}");
        }
    }
}
