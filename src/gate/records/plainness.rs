//! JSON of an index that anybody may have written, on its way to the parser, which takes each text into memory whole and
//! remembers each bracket that is open. Owns how long the one and how many of the other may be; must not know what they
//! say, nor whether it is JSON.

use std::io::{self, ErrorKind, Read};

/// The most letters of a text or a number: what is published of a package's `info/index.json`, which has 16 MiB at most,
/// fits. An escape is one letter.
const MOST_LETTERS: u64 = 16 << 20;

/// The most brackets that are open at once.
const MOST_DEPTH: u64 = 128;

/// Reads what is plain enough to be parsed, and fails at what is not.
#[derive(Debug)]
pub(super) struct Plain<R> {
    from: R,
    at: At,
    /// The most letters of a text.
    most: u64,
    /// The letters of what is being read.
    letters: u64,
    /// The brackets that are open.
    depth: u64,
}

/// Where the next byte stands.
#[derive(Debug, Clone, Copy)]
enum At {
    /// Outside texts.
    Outside,
    /// In a text.
    Text,
    /// Behind the backslash of an escape.
    Escape,
    /// Before so many more digits of an escape.
    Digits(u8),
}

impl<R> Plain<R> {
    pub(super) fn new(from: R) -> Plain<R> {
        Plain {
            from,
            most: MOST_LETTERS,
            at: At::Outside,
            letters: 0,
            depth: 0,
        }
    }

    fn follow(&mut self, byte: u8) {
        self.at = match (self.at, byte) {
            (At::Outside, b'"') => self.begin(At::Text),
            (At::Outside, b'[' | b'{') => {
                self.depth = self.depth.saturating_add(1);
                self.begin(At::Outside)
            }
            (At::Outside, b']' | b'}') => {
                self.depth = self.depth.saturating_sub(1);
                self.begin(At::Outside)
            }
            (At::Outside, b',' | b':' | b' ' | b'\t' | b'\r' | b'\n') => self.begin(At::Outside),
            (At::Outside, _) => self.letter(At::Outside),
            (At::Text | At::Digits(_), b'"') => self.begin(At::Outside),
            (At::Text | At::Digits(_), b'\\') => At::Escape,
            (At::Text, _) => self.letter(At::Text),
            (At::Escape, b'u') => self.letter(At::Digits(4)),
            (At::Escape, _) => self.letter(At::Text),
            (At::Digits(more), _) => match more.saturating_sub(1) {
                0 => At::Text,
                more => At::Digits(more),
            },
        };
    }

    fn begin(&mut self, at: At) -> At {
        self.letters = 0;
        at
    }

    fn letter(&mut self, at: At) -> At {
        self.letters = self.letters.saturating_add(1);
        at
    }

    fn fault(&self) -> Option<String> {
        if self.letters > self.most {
            return Some(format!("a text in it has more than {} letters", self.most));
        }
        let is_deep = self.depth > MOST_DEPTH;
        is_deep.then(|| format!("more than {MOST_DEPTH} brackets are open in it at once"))
    }
}

impl<R: Read> Read for Plain<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        for byte in buffer.get(..read).unwrap_or_default() {
            self.follow(*byte);
            if let Some(fault) = self.fault() {
                return Err(io::Error::new(ErrorKind::InvalidData, fault));
            }
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Gives so many bytes at once.
    struct Pieces<R>(R, usize);

    impl<R: Read> Read for Pieces<R> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = buffer.len().min(self.1);
            self.0.read(buffer.get_mut(..most).unwrap())
        }
    }

    /// The letters of a text, where these tests count them.
    const MOST: usize = 1000;

    /// The fault in a text, read in pieces of any length.
    fn fault(text: &str) -> Option<String> {
        let read = |piece: usize| {
            let mut plain = Plain::new(Pieces(text.as_bytes(), piece));
            plain.most = u64::try_from(MOST).unwrap();
            let mut out = Vec::new();
            let fault = plain.read_to_end(&mut out).err();
            assert_eq!(fault.is_none(), out == text.as_bytes(), "{piece}");
            fault.map(|fault| fault.to_string())
        };
        let whole = read(usize::MAX);
        for piece in [1, 2, 3, 7, 500] {
            assert_eq!(read(piece), whole, "{piece}");
        }
        whole
    }

    #[test]
    fn texts_are_read_up_to_their_limit() {
        let long = Some(format!("a text in it has more than {MOST} letters"));
        let (fits, more) = ("a".repeat(MOST), "a".repeat(MOST + 1));
        assert_eq!(fault(&format!(r#"{{"{fits}":"{fits}"}}"#)), None);
        assert_eq!(fault(&format!(r#"{{"{more}":1}}"#)), long);
        assert_eq!(fault(&format!(r#"["{more}"#)), long);
        assert_eq!(fault(&format!("[{}]", "1".repeat(MOST + 1))), long);
        assert_eq!(fault(&"1 ".repeat(MOST)), None);
    }

    #[test]
    fn an_escape_is_one_letter_and_ends_no_text() {
        for letter in [r#"\""#, r"\\", r"\n", r"\u0022", r"\u005c"] {
            let text = |letters: usize| format!(r#"["{}"]"#, letter.repeat(letters));
            assert_eq!(fault(&text(MOST)), None, "{letter}");
            assert!(fault(&text(MOST + 1)).is_some(), "{letter}");
        }
        // Digits that are none are not passed over for ever.
        assert!(fault(&format!(r#"["\u1"{}"#, "[".repeat(200))).is_some());
    }

    #[test]
    fn brackets_are_open_up_to_their_limit() {
        let deep = |open: &str, close: &str, times: usize| {
            fault(&format!("{}{}", open.repeat(times), close.repeat(times)))
        };
        for (open, close) in [("[", "]"), (r#"{"x":"#, "}"), (r#"{"[\"":["#, "]}")] {
            let levels = open.matches(['[', '{']).count() - usize::from(open.contains("\\\""));
            let most = usize::try_from(MOST_DEPTH).unwrap() / levels;
            assert_eq!(deep(open, close, most), None, "{open}");
            let fault = deep(open, close, most + 1).unwrap();
            assert_eq!(fault, "more than 128 brackets are open in it at once");
        }
        assert_eq!(fault(&"[]".repeat(1000)), None);
        assert_eq!(fault(&format!(r#"["{}"]"#, "[{".repeat(400))), None);
    }
}
