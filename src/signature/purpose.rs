//! What a signature may be passed off as: a file's signature and the signature of metadata of a signed index are of
//! one scheme, so that bytes which are such metadata must never be signed as a file.

use std::io::{self, BufRead};

/// The types of metadata in TUF's specification (4.2), old and new.
const TYPES: [&str; 6] = [
    "root",
    "timestamp",
    "snapshot",
    "targets",
    "mirrors",
    "mirror",
];

/// The most bytes of a string that are looked at: each letter of a name may be written as six.
const LONGEST: usize = 64;

/// Whether bytes are metadata of The Update Framework, as JSON of any layout: the whole file, or the part in it that
/// is signed.
pub fn is_metadata(bytes: &[u8]) -> bool {
    // Bytes in memory can be read.
    reads_as_metadata(bytes).unwrap_or(true)
}

/// The same of a file of any length, in little memory: it reads on until that is known.
///
/// What is signed of metadata is canonical JSON, in which strings hold control characters as they are, so that readers
/// of JSON may fail on it. That is why only strings and brackets are looked at here, and bytes that are no JSON in any
/// form count by what stands in them.
///
/// # Errors
/// When it can't be read; then nothing is known of it.
pub fn reads_as_metadata(mut from: impl BufRead) -> io::Result<bool> {
    let mut scan = Scan::default();
    loop {
        let bytes = from.fill_buf()?;
        if bytes.is_empty() {
            return Ok(false);
        }
        if let Some(known) = bytes.iter().find_map(|byte| scan.take(*byte)) {
            return Ok(known);
        }
        let count = bytes.len();
        from.consume(count);
    }
}

/// What has a meaning here, of the members of an object.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Member {
    Type,
    Signed,
    Other,
}

/// Looks for a type in an object, and in its `signed`.
#[derive(Default)]
struct Scan {
    /// How many objects and lists are open; none before the first.
    depth: u64,
    /// The second of them is the value of `signed`.
    in_signed: bool,
    /// The string that is being read.
    open: Option<Text>,
    /// The string that was read, if it may be a key.
    read: Option<Text>,
    /// The member whose value is being read.
    member: Option<Member>,
}

impl Scan {
    /// Whether it is metadata, as soon as that is known.
    fn take(&mut self, byte: u8) -> Option<bool> {
        if let Some(text) = &mut self.open {
            return match text.take(byte) {
                true => self.close_string(),
                false => None,
            };
        }
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => {}
            // The mark of UTF-8.
            0xef | 0xbb | 0xbf if self.depth == 0 => {}
            b'{' if self.depth == 0 => self.depth = 1,
            _ if self.depth == 0 => return Some(false),
            b'"' => self.open = Some(Text::default()),
            b'{' | b'[' => {
                let signed = self.depth == 1 && self.member == Some(Member::Signed);
                self.in_signed |= signed && byte == b'{';
                self.depth = self.depth.saturating_add(1);
                self.next();
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                self.in_signed &= self.depth > 1;
                self.next();
                if self.depth == 0 {
                    return Some(false);
                }
            }
            b':' => self.member = self.read.take().map(|text| text.member()),
            b',' => self.next(),
            _ => {}
        }
        None
    }

    /// Here neither a key nor its value is known.
    fn next(&mut self) {
        (self.read, self.member) = (None, None);
    }

    fn close_string(&mut self) -> Option<bool> {
        let text = self.open.take()?;
        if self.depth == 1 || (self.depth == 2 && self.in_signed) {
            match self.member {
                Some(Member::Type) if text.is_type() => return Some(true),
                Some(_) => {}
                None => self.read = Some(text),
            }
        }
        None
    }
}

/// A string as it is written, as far as it can be of interest.
#[derive(Default)]
struct Text {
    bytes: Vec<u8>,
    is_long: bool,
    is_escaped: bool,
}

impl Text {
    /// Takes a byte behind the first quotation mark; whether it is the last one.
    fn take(&mut self, byte: u8) -> bool {
        if byte == b'"' && !self.is_escaped {
            return true;
        }
        self.is_escaped = byte == b'\\' && !self.is_escaped;
        self.is_long |= self.bytes.len() >= LONGEST;
        if !self.is_long {
            self.bytes.push(byte);
        }
        false
    }

    /// What is written. No name that is looked for has what JSON can't say.
    fn name(&self) -> Option<String> {
        let quoted = [b"\"", self.bytes.as_slice(), b"\""].concat();
        serde_json::from_slice(&quoted)
            .ok()
            .filter(|_| !self.is_long)
    }

    fn member(&self) -> Member {
        match self.name().as_deref() {
            Some("_type") => Member::Type,
            Some("signed") => Member::Signed,
            _ => Member::Other,
        }
    }

    fn is_type(&self) -> bool {
        let name = self.name().unwrap_or_default();
        TYPES.contains(&name.to_lowercase().as_str())
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
            // Canonical JSON that is no JSON.
            "{\"A\":\"\n\",\"_type\":\"root\"}",
            "{\"\u{0}\\\"\\\\\":[\"\u{1f}\"],\"_type\":\"snapshot\"}",
            "{\"signatures\":[],\"signed\":{\"A\":{\"\t\":\"}\"},\"_type\":\"targets\"}}",
            r#"{"a" "b" 1.e 'c' "_type":"timestamp""#,
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
            r#"{"a":{"_type":"root"}}"#,
            r#"{"a":{"b":{},"_type":"root"}}"#,
            r#"{"signed":{},"a":{"_type":"root"}}"#,
            r#"{"a":"_type","b":"root"}"#,
            r#"{"_type":["root"],"a":"root"}"#,
            r#"{"signed":[{"_type":"root"}]}"#,
            r#"{"\"_type":"root"}"#,
            r#"{"_type\"":"root"}"#,
            r#"{"a":"\\","_types":"root"}"#,
            r#"{}{"_type":"root"}"#,
            "\u{0}{\"_type\":\"root\"}",
        ] {
            assert!(!is_metadata(no.as_bytes()), "{no}");
        }
    }

    #[test]
    fn of_a_long_string_only_the_beginning_is_kept() {
        let mut text = Text::default();
        assert!((0..1_000).all(|_| !text.take(b'a')));
        assert_eq!(text.bytes.len(), LONGEST);
        assert!(text.take(b'"') && text.name().is_none());
    }
}
