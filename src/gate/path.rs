//! What a request asks for, by its path. Owns decoding, which is done once, and the rules by which a path is none;
//! must not know what is there.

use super::token::Token;

/// The most bytes of a path.
const LONGEST: usize = 1024;

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// The gate's own page.
    Page,
    /// The same for programs.
    Status,
    /// What there is to say of one channel.
    ChannelPage(String),
    /// A file of a channel: the channel's name, and the path below it. A folder ends with `/`.
    File(String, String),
}

impl Target {
    /// What the path of a URL stands for; nothing where it breaks a rule, or lacks the token.
    pub fn parse(path: &str, token: Option<&Token>) -> Option<Target> {
        let mut parts = decode(path)?;
        if let Some(token) = token {
            // `/t/TOKEN/…`; what fails here fails as a file that isn't there.
            let is_let_in = parts.first().is_some_and(|part| part == "t")
                && parts.get(1).is_some_and(|word| token.is(word))
                && parts.len() > 2;
            is_let_in.then_some(())?;
            parts.drain(..2);
        }
        let words: Vec<&str> = parts.iter().map(String::as_str).collect();
        Some(match words.as_slice() {
            [""] => Target::Page,
            ["-", "status.json"] => Target::Status,
            ["-", ..] => return None,
            [channel] | [channel, ""] => Target::ChannelPage((*channel).to_owned()),
            [channel, rest @ ..] => Target::File((*channel).to_owned(), rest.join("/")),
            [] => return None,
        })
    }
}

/// The decoded parts between slashes; only the last may be empty.
fn decode(path: &str) -> Option<Vec<String>> {
    let path = path.strip_prefix('/').filter(|it| it.len() <= LONGEST)?;
    let parts: Option<Vec<String>> = path.split('/').map(decode_part).collect();
    let parts = parts?;
    let (_, before) = parts.split_last()?;
    before.iter().all(|part| !part.is_empty()).then_some(())?;
    Some(parts)
}

/// One part, decoded once. What would be a path of its own, or is not printed, is none.
fn decode_part(part: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                u8::try_from(high.checked_mul(16)?.checked_add(low)?).ok()?
            }
            _ => byte,
        });
    }
    let text = String::from_utf8(bytes).ok()?;
    let is_plain = !text.contains(['/', '\\']) && !text.chars().any(char::is_control);
    (is_plain && text != "." && text != "..").then_some(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn file(channel: &str, path: &str) -> Option<Target> {
        Some(Target::File(channel.to_owned(), path.to_owned()))
    }

    #[test]
    fn paths_are_decoded_once() {
        for (path, target) in [
            ("/", Some(Target::Page)),
            ("/-/status.json", Some(Target::Status)),
            ("/main", Some(Target::ChannelPage("main".to_owned()))),
            ("/main/", Some(Target::ChannelPage("main".to_owned()))),
            ("/main/channeldata.json", file("main", "channeldata.json")),
            (
                "/main/noarch/a%2Bb-1.conda",
                file("main", "noarch/a+b-1.conda"),
            ),
            ("/main/noarch/1%2521", file("main", "noarch/1%21")),
            ("/main/noarch/", file("main", "noarch/")),
            ("/t/x/main/a", file("t", "x/main/a")),
        ] {
            assert_eq!(Target::parse(path, None), target, "{path}");
        }
    }

    #[test]
    fn what_leaves_the_channel_is_no_path() {
        for path in [
            "",
            "main",
            "//",
            "/main//a",
            "/../etc",
            "/main/..",
            "/main/../a",
            "/main/%2e%2e/a",
            "/main/.",
            "/main/a%2fb",
            "/main/a%5cb",
            "/main/a\\b",
            "/main/%00",
            "/main/a%0ab",
            "/main/%7f",
            "/main/%c2%85",
            "/main/%",
            "/main/%2",
            "/main/%zz",
            "/main/%+1",
            "/main/%ff",
            "/-/",
            "/-/other",
            "/-/a/b",
            "http://elsewhere/main/a",
        ] {
            assert_eq!(Target::parse(path, None), None, "{path}");
        }
        assert_eq!(Target::parse(&format!("/{}", "a".repeat(2000)), None), None);
    }

    #[test]
    fn without_the_token_nothing_is_there() {
        let token = Token::parse("0123456789abcdef").unwrap();
        let parse = |path| Target::parse(path, Some(&token));
        assert_eq!(parse("/t/0123456789abcdef/"), Some(Target::Page));
        assert_eq!(parse("/t/0123456789abcdef/main/a"), file("main", "a"));
        for path in [
            "/",
            "/main/a",
            "/-/status.json",
            "/t/0123456789abcdeg/main/a",
            "/t/0123456789abcdef",
            "/t//main/a",
            "/x/0123456789abcdef/main/a",
            "/0123456789abcdef/main/a",
        ] {
            assert_eq!(parse(path), None, "{path}");
        }
    }
}
