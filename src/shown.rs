//! How names from outside stand in what people read. Owns the escape of names and paths: nothing in them moves a
//! cursor, hides text or begins a line of its own. Must not know where they come from.

use std::ffi::OsStr;

use crate::record::is_deceptive;

/// A name or path, fit for one line of a message: characters that deceive are spelled out (`\n`, `\u{202e}`), bytes that
/// are no UTF-8 too (`\xff`), and so is the backslash itself (`\\`). To be done once.
pub fn shown(name: impl AsRef<OsStr>) -> String {
    let mut out = String::new();
    for chunk in name.as_ref().as_encoded_bytes().utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                c => push(&mut out, c),
            }
        }
        for byte in chunk.invalid() {
            out.extend(std::ascii::escape_default(*byte).map(char::from));
        }
    }
    out
}

/// A name or path for programs, as JSON holds it: text as it is, and what is no text as [`shown`].
pub fn told(name: impl AsRef<OsStr>) -> String {
    let name = name.as_ref();
    name.to_str().map_or_else(|| shown(name), str::to_owned)
}

/// A text that may have several lines, with what deceives in them spelled out. What is [`shown`] stays as it is.
pub fn lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push(c),
            c => push(&mut out, c),
        }
    }
    out
}

/// A text, fit for one line of a message. What is [`shown`] stays as it is.
pub fn line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|c| push(&mut out, c));
    out
}

fn push(out: &mut String, c: char) {
    match is_deceptive(c) && c != ' ' {
        true => out.extend(c.escape_default()),
        false => out.push(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt as _;

    #[test]
    fn names_stay_on_their_line_and_are_told_apart() {
        for (name, then) in [
            (&b"a b/\xc3\xa9"[..], "a b/é"),
            (b"a\n\tb\x1b[2J", r"a\n\tb\u{1b}[2J"),
            (b"a\xe2\x80\xaeb", r"a\u{202e}b"),
            (b"\xff-1", r"\xff-1"),
            (b"\xfe-1", r"\xfe-1"),
            (br"\xff-1", r"\\xff-1"),
            (b"\xc3", r"\xc3"),
        ] {
            assert_eq!(shown(OsStr::from_bytes(name)), then);
        }
        assert_eq!(told("a\nb\\"), "a\nb\\");
        assert_eq!(told(OsStr::from_bytes(b"a\n\xff")), r"a\n\xff");
    }

    #[test]
    fn what_is_shown_is_not_escaped_twice() {
        let text = shown("a\n\\\u{202e}");
        assert_eq!(lines(&text), text);
        assert_eq!(line(&text), text);
        assert_eq!(lines("a\nb\r"), "a\nb\\r");
        assert_eq!(line("a\nb\r"), "a\\nb\\r");
    }
}
