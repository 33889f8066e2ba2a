//! Decodes MessagePack in zstd, as shards are: values as JSON, bytes as lower-case hex. It must not know what a shard
//! is.
#![allow(dead_code)]

use std::path::Path;

use serde_json::{Number, Value};

/// Reads a file.
pub fn read(path: &Path) -> Value {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    value(&bytes)
}

/// Reads the bytes of a file.
pub fn value(bytes: &[u8]) -> Value {
    try_value(bytes).unwrap()
}

/// The same of bytes that may be no such file.
pub fn try_value(bytes: &[u8]) -> Result<Value, String> {
    let plain = zstd::decode_all(bytes).map_err(|error| error.to_string())?;
    let mut rest = plain.as_slice();
    let value = rmpv::decode::read_value(&mut rest).map_err(|error| error.to_string())?;
    match rest.is_empty() {
        true => Ok(json(value)),
        false => Err("bytes behind the end".to_owned()),
    }
}

fn json(value: rmpv::Value) -> Value {
    match value {
        rmpv::Value::Nil => Value::Null,
        rmpv::Value::Boolean(value) => value.into(),
        rmpv::Value::Integer(value) => match (value.as_i64(), value.as_u64()) {
            (Some(value), _) => value.into(),
            (None, value) => value.unwrap().into(),
        },
        rmpv::Value::F32(value) => Number::from_f64(value.into()).unwrap().into(),
        rmpv::Value::F64(value) => Number::from_f64(value).unwrap().into(),
        rmpv::Value::String(value) => value.as_str().unwrap().into(),
        rmpv::Value::Binary(bytes) => hex(&bytes).into(),
        rmpv::Value::Array(items) => items.into_iter().map(json).collect(),
        rmpv::Value::Map(members) => members
            .into_iter()
            .map(|(key, value)| (key.as_str().unwrap().to_owned(), json(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        rmpv::Value::Ext(..) => panic!("an extension type"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
