//! The URI that names a key in a token (RFC 7512): which attributes are understood, and that no secret stands in one.
//! It must not know tokens. What is not understood is refused: it might have told two keys apart.

use std::path::PathBuf;

use thiserror::Error;

/// What a URI says of a key and its token. What it leaves out fits any.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Uri {
    /// The token's label.
    pub token: Option<String>,
    /// The token's manufacturer.
    pub manufacturer: Option<String>,
    /// The token's model.
    pub model: Option<String>,
    /// The token's serial number.
    pub serial: Option<String>,
    /// The number of the slot that the token is in.
    pub slot_id: Option<u64>,
    /// The key's label (CKA_LABEL).
    pub object: Option<String>,
    /// The key's identifier (CKA_ID).
    pub id: Option<Vec<u8>>,
    /// The library that speaks with the token.
    pub module_path: Option<PathBuf>,
    /// The file that holds the PIN.
    pub pin_source: Option<PathBuf>,
}

/// Why a text is not a URI that is understood. No value is shown.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UriFault {
    /// It has no scheme.
    #[error("it does not begin with `pkcs11:`")]
    Scheme,
    /// A part is no `name=value`.
    #[error("a part of it is not NAME=VALUE; parts are parted by `;`, and by `&` behind the `?`")]
    Part,
    /// A value is not well encoded.
    #[error(
        "the value of `{0}` is not UTF-8, or a `%` in it is not followed by two hexadecimal digits"
    )]
    Value(&'static str),
    /// An attribute is there twice.
    #[error("`{0}` stands in it twice")]
    Twice(&'static str),
    /// An attribute that is not understood.
    #[error(
        "`{0}` is not understood here: there are token, manufacturer, model, serial, slot-id, object, id and type, and behind the `?` module-path and pin-source"
    )]
    Unknown(String),
    /// A PIN in the open.
    #[error(
        "`pin-value` would show the PIN to everybody on this machine: set $SIGINDEX_PIN, or name a file with `?pin-source=PATH`; and change the PIN, if it stood in a shell's history or a log"
    )]
    PinValue,
    /// A path that is none.
    #[error("`{0}` is not the absolute path of a file (`/PATH` or `file:/PATH`)")]
    Path(&'static str),
    /// Not a private key.
    #[error("`type` is another than `private`, and only a private key signs")]
    Type,
    /// Not a number.
    #[error("`slot-id` is not a number")]
    SlotId,
}

impl Uri {
    /// Reads a URI.
    ///
    /// # Errors
    /// [`UriFault`] says which part is not understood.
    pub fn parse(text: &str) -> Result<Uri, UriFault> {
        let rest = text.strip_prefix("pkcs11:").ok_or(UriFault::Scheme)?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut uri = Uri::default();
        for part in path.split(';').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or(UriFault::Part)?;
            uri.take_path(name, value)?;
        }
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or(UriFault::Part)?;
            uri.take_query(name, value)?;
        }
        Ok(uri)
    }

    fn take_path(&mut self, name: &str, value: &str) -> Result<(), UriFault> {
        match name {
            "token" => put(&mut self.token, "token", text("token", value)?),
            "manufacturer" => {
                let value = text("manufacturer", value)?;
                put(&mut self.manufacturer, "manufacturer", value)
            }
            "model" => put(&mut self.model, "model", text("model", value)?),
            "serial" => put(&mut self.serial, "serial", text("serial", value)?),
            "object" => put(&mut self.object, "object", text("object", value)?),
            "id" => put(&mut self.id, "id", decoded("id", value)?),
            "slot-id" => {
                let number = value.parse().map_err(|_| UriFault::SlotId)?;
                put(&mut self.slot_id, "slot-id", number)
            }
            "type" if value == "private" => Ok(()),
            "type" => Err(UriFault::Type),
            name => Err(unknown(name)),
        }
    }

    fn take_query(&mut self, name: &str, value: &str) -> Result<(), UriFault> {
        match name {
            "pin-value" => Err(UriFault::PinValue),
            "module-path" => {
                let path = path("module-path", value)?;
                put(&mut self.module_path, "module-path", path)
            }
            "pin-source" => {
                let path = path("pin-source", value)?;
                put(&mut self.pin_source, "pin-source", path)
            }
            name => Err(unknown(name)),
        }
    }
}

fn put<T>(place: &mut Option<T>, name: &'static str, value: T) -> Result<(), UriFault> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(UriFault::Twice(name)),
    }
}

/// A name that is not understood; what stands in its place may be anything, so only what looks like one is shown.
fn unknown(name: &str) -> UriFault {
    if name == "pin-value" {
        return UriFault::PinValue;
    }
    let plain = |b: u8| b.is_ascii_lowercase() || b == b'-';
    let is_name = name.len() <= 32 && name.bytes().all(plain);
    UriFault::Unknown(if is_name {
        name.to_owned()
    } else {
        "…".to_owned()
    })
}

fn path(name: &'static str, value: &str) -> Result<PathBuf, UriFault> {
    let value = text(name, value)?;
    let path = value
        .strip_prefix("file://")
        .or(value.strip_prefix("file:"));
    let path = PathBuf::from(path.unwrap_or(&value));
    match path.is_absolute() {
        true => Ok(path),
        false => Err(UriFault::Path(name)),
    }
}

fn text(name: &'static str, value: &str) -> Result<String, UriFault> {
    String::from_utf8(decoded(name, value)?).map_err(|_| UriFault::Value(name))
}

/// The bytes that a value stands for (RFC 3986, 2.1).
fn decoded(name: &'static str, value: &str) -> Result<Vec<u8>, UriFault> {
    let digit = |b: u8| {
        char::from(b)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    let (mut bytes, mut out) = (value.bytes(), Vec::with_capacity(value.len()));
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let pair = (bytes.next().and_then(digit), bytes.next().and_then(digit));
        match pair {
            (Some(high), Some(low)) => out.push(high << 4 | low),
            _ => return Err(UriFault::Value(name)),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_tools_print_is_understood() {
        let uri = "pkcs11:model=SoftHSM%20v2;manufacturer=SoftHSM%20project;serial=9f;token=My%20Token;slot-id=7;\
                   id=%00%Ffa;object=key;type=private?module-path=/usr/lib/x.so&pin-source=file:/run/pin";
        let expected = Uri {
            token: Some("My Token".into()),
            manufacturer: Some("SoftHSM project".into()),
            model: Some("SoftHSM v2".into()),
            serial: Some("9f".into()),
            slot_id: Some(7),
            object: Some("key".into()),
            id: Some(vec![0, 0xff, b'a']),
            module_path: Some("/usr/lib/x.so".into()),
            pin_source: Some("/run/pin".into()),
        };
        assert_eq!(Uri::parse(uri).unwrap(), expected);
        assert_eq!(Uri::parse("pkcs11:").unwrap(), Uri::default());
        let source = Uri::parse("pkcs11:?pin-source=file:///run/pin").unwrap();
        assert_eq!(source.pin_source, expected.pin_source);
    }

    #[test]
    fn what_is_not_understood_is_refused_and_no_value_shown() {
        use UriFault as F;
        for (uri, fault) in [
            ("pkcs12:", F::Scheme),
            ("pkcs11:secret", F::Part),
            ("pkcs11:?secret", F::Part),
            ("pkcs11:token=a%2", F::Value("token")),
            ("pkcs11:token=%zz", F::Value("token")),
            ("pkcs11:object=%ff", F::Value("object")),
            ("pkcs11:token=a;token=a", F::Twice("token")),
            ("pkcs11:id=a;id=b", F::Twice("id")),
            (
                "pkcs11:library-version=3",
                F::Unknown("library-version".into()),
            ),
            ("pkcs11:SE CRET=3", F::Unknown("…".into())),
            ("pkcs11:?module-name=x", F::Unknown("module-name".into())),
            ("pkcs11:?pin-value=1234", F::PinValue),
            ("pkcs11:pin-value=1234", F::PinValue),
            ("pkcs11:?pin-source=relative", F::Path("pin-source")),
            ("pkcs11:?pin-source=%7Ccommand", F::Path("pin-source")),
            ("pkcs11:?module-path=x.so", F::Path("module-path")),
            ("pkcs11:type=cert", F::Type),
            ("pkcs11:slot-id=a", F::SlotId),
            ("pkcs11:slot-id=-1", F::SlotId),
        ] {
            let found = Uri::parse(uri).unwrap_err();
            assert!(!found.to_string().contains("1234"));
            assert_eq!(found, fault, "{uri}");
        }
    }
}
