//! What stands in a MatchSpec's brackets (CEP 29, "keyword expressions"; lists by CEP 44 and 45). Owns keys,
//! quotes and lists; must not know what a key means.

/// The value of a field.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// A text.
    One(String),
    /// Texts in brackets of their own.
    Many(Vec<String>),
}

impl Value {
    /// A text.
    pub fn one(self) -> Option<String> {
        match self {
            Value::One(text) => Some(text),
            Value::Many(_) => None,
        }
    }

    /// One text or more.
    pub fn many(self) -> Vec<String> {
        match self {
            Value::One(text) => vec![text],
            Value::Many(texts) => texts,
        }
    }
}

/// Reads the fields, of which each stands once; `None` where they break the grammar. They are parted by commas, or
/// as of old by white space.
pub(super) fn parse(text: &str) -> Option<Vec<(String, Value)>> {
    let (mut fields, mut rest) = (Vec::<(String, Value)>::new(), text.trim());
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=')?;
        let key = key.trim();
        let sound = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let known = fields.iter().any(|(known, _)| known == key);
        if key.is_empty() || !key.chars().all(sound) || known {
            return None;
        }
        let after = after.trim_start();
        let (value, after) = match after.strip_prefix('[') {
            Some(after) => {
                let (texts, after) = list(after)?;
                (Value::Many(texts), after)
            }
            None => {
                let (text, after) = scalar(after, |c| c == ',' || c.is_whitespace())?;
                (Value::One(text), after)
            }
        };
        fields.push((key.to_owned(), value));
        let next = after.trim_start();
        rest = match next.strip_prefix(',') {
            Some(next) => Some(next.trim_start()).filter(|next| !next.is_empty())?,
            None if next.is_empty() || next.len() < after.len() => next,
            None => return None,
        };
    }
    Some(fields)
}

/// Reads a list up to its bracket, and gives what follows it.
fn list(text: &str) -> Option<(Vec<String>, &str)> {
    let (mut texts, mut rest) = (Vec::new(), text.trim_start());
    loop {
        if let Some(after) = rest.strip_prefix(']') {
            return Some((texts, after));
        }
        let (text, after) = scalar(rest, |c| matches!(c, ',' | ']'))?;
        texts.push(text);
        let after = after.trim_start();
        rest = match after.strip_prefix(',') {
            Some(after) => after.trim_start(),
            None if after.starts_with(']') => after,
            None => return None,
        };
    }
}

/// Reads a text in quotes, or a bare one up to where it `ends`, and gives what follows it.
fn scalar(text: &str, ends: impl Fn(char) -> bool) -> Option<(String, &str)> {
    if let Some(quote) = text.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        return quoted(text.strip_prefix(quote)?, quote);
    }
    let (bare, after) = text.split_at_checked(text.find(ends).unwrap_or(text.len()))?;
    let bare = bare.trim();
    let sound = !bare.is_empty() && !bare.contains(['"', '\'', '[', ']']);
    sound.then(|| (bare.to_owned(), after))
}

/// Reads a text up to its closing quote. A backslash takes its meaning from a quote or another backslash; before
/// anything else it stands for itself, as in the regular expressions of old MatchSpecs.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == quote {
            return Some((out, chars.as_str()));
        }
        let next = chars.clone().next();
        match next {
            Some(escaped @ ('\\' | '"' | '\'')) if c == '\\' => {
                out.push(escaped);
                chars.next();
            }
            _ => out.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn one(key: &str, text: &str) -> (String, Value) {
        (key.to_owned(), Value::One(text.to_owned()))
    }

    #[test]
    fn fields_of_every_form() {
        let many = |key: &str, texts: &[&str]| {
            let texts = texts.iter().map(|text| (*text).to_owned());
            (key.to_owned(), Value::Many(texts.collect()))
        };
        for (text, fields) in [
            ("", vec![]),
            ("a=b", vec![one("a", "b")]),
            (
                "a=b,c='d e' f=\"g,]\"",
                vec![one("a", "b"), one("c", "d e"), one("f", "g,]")],
            ),
            (" a = b , c=d ", vec![one("a", "b"), one("c", "d")]),
            ("a=>=1.0", vec![one("a", ">=1.0")]),
            (
                r#"a="\"\\\d'" b='"'"#,
                vec![one("a", r#""\\d'"#), one("b", "\"")],
            ),
            ("a=[]", vec![many("a", &[])]),
            (
                "a=[b, 'c' ,\"d\",],e=f",
                vec![many("a", &["b", "c", "d"]), one("e", "f")],
            ),
        ] {
            assert_eq!(parse(text), Some(fields), "{text}");
        }
    }

    #[test]
    fn what_breaks_the_grammar() {
        for text in [
            "a", "=b", "a=", "a=b,", ",a=b", "a=b,,c=d", "a=b,a=c", "a='b", "a=\"b\"c", "a=[b",
            "a=[b c=d", "a=[[b]]", "a=[b]c=d", "a=b]", "a b=c", "a=b'", "a=[,]", "ü=b", "a='b\\'",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
