//! One request and one answer of the conversation with a command that signs, as lines of JSON. It must not know how
//! lines travel.

use base64ct::{Base64, Encoding};
use serde::{Deserialize, Serialize};

use super::ExecFault;
use super::fault::one_line;
use crate::keys::{KeyName, PublicKey};

/// The longest answer, in bytes, without its line end. One with the largest key takes about 6 KiB.
pub(super) const MAX_ANSWER: usize = 64 * 1024;

/// The one scheme: RSASSA-PSS (RFC 8017, 8.1) with SHA-256, MGF1 with SHA-256, and a salt of 32 bytes.
const SCHEME: &str = "rsassa-pss-sha256-mgf1-sha256-salt32";

#[derive(Serialize)]
struct Request<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    scheme: &'a str,
    digest: String,
}

/// The line that asks for a signature of a SHA-256, with its end. No character in it is escaped.
pub(super) fn request(digest: &[u8; 32], key: Option<&KeyName>) -> Vec<u8> {
    let request = Request {
        key: key.map(KeyName::as_str),
        scheme: SCHEME,
        digest: Base64::encode_string(digest),
    };
    // Three texts always print.
    let mut line = serde_json::to_vec(&request).unwrap_or_default();
    line.push(b'\n');
    line
}

/// What a command answered. Members that nobody knows here are passed over.
#[derive(Deserialize)]
pub(super) struct Answer {
    signature: Option<String>,
    public_key: Option<String>,
    key: Option<String>,
    error: Option<String>,
}

impl Answer {
    /// Reads a line; an error that the command tells of is one.
    pub(super) fn read(line: &[u8]) -> Result<Answer, ExecFault> {
        let not_one = |why: String| ExecFault::NotAnAnswer(why);
        // serde_json's own words may quote the line, which may hold anything.
        let answer: Answer = serde_json::from_slice(line).map_err(|error| {
            let (what, column) = (error.classify(), error.column());
            not_one(format!(
                "it is no JSON object with texts in it ({what:?} error at column {column})"
            ))
        })?;
        match &answer.error {
            Some(why) => Err(ExecFault::Refused(one_line(why))),
            None => Ok(answer),
        }
    }

    /// The key's name: the one that was asked for, which the answer may repeat, or the one it gives.
    pub(super) fn demand_name(&self, wanted: Option<&KeyName>) -> Result<KeyName, ExecFault> {
        match (wanted, &self.key) {
            (None, None) => Err(ExecFault::NoName),
            (None, Some(found)) => {
                KeyName::parse(found).map_err(|error| ExecFault::NotAnAnswer(error.to_string()))
            }
            (Some(wanted), Some(found)) if found != wanted.as_str() => Err(ExecFault::OtherName {
                wanted: wanted.clone(),
                found: one_line(found),
            }),
            (Some(wanted), _) => Ok(wanted.clone()),
        }
    }

    /// Whether its public key is this one, letter by letter.
    pub(super) fn is_of(&self, key: &PublicKey) -> bool {
        let text = self.public_key.as_deref().map(str::trim_ascii);
        text == Some(key.to_pem().trim_ascii())
    }

    /// Its public key.
    pub(super) fn public_key(&self, name: KeyName) -> Result<PublicKey, ExecFault> {
        let missing = || ExecFault::NotAnAnswer("it has no `public_key`".to_owned());
        let pem = self.public_key.as_ref().ok_or_else(missing)?;
        PublicKey::from_pem(name, pem.as_bytes()).map_err(ExecFault::PublicKey)
    }

    /// Its signature.
    pub(super) fn signature(&self) -> Result<Vec<u8>, ExecFault> {
        let no = |why: &str| ExecFault::NotAnAnswer(why.to_owned());
        let base64 = self.signature.as_deref();
        let base64 = base64.ok_or_else(|| no("it has no `signature`"))?;
        if base64.is_empty() {
            return Err(no(
                "its `signature` is empty; what should have made it may have said why, above",
            ));
        }
        Base64::decode_vec(base64)
            .map_err(|_| no("its `signature` is not base64 (padded, without line breaks)"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::keys::samples;

    #[test]
    fn a_request_is_one_line_that_a_shell_can_take_apart() {
        let name = KeyName::parse("MyKey").unwrap();
        let line = String::from_utf8(request(&[0xff; 32], Some(&name))).unwrap();
        let digest = "//////////////////////////////////////////8=";
        assert_eq!(
            line,
            format!("{{\"key\":\"MyKey\",\"scheme\":\"{SCHEME}\",\"digest\":\"{digest}\"}}\n")
        );
        assert!(request(&[0; 32], None).starts_with(b"{\"scheme\""));
    }

    #[test]
    fn an_answer_with_the_largest_key_is_none_too_long() {
        let (signature, pem) = ("A".repeat(2_732), "A".repeat(2_900));
        let line = serde_json::json!({"signature": signature, "public_key": pem});
        assert!(line.to_string().len() < MAX_ANSWER);
    }

    #[test]
    fn an_answer_is_taken_at_its_word_and_no_further() {
        let name = KeyName::parse("Weak").unwrap();
        let pem = samples::weak().public().to_pem();
        let line = serde_json::json!({"signature": "AAEC", "public_key": pem.trim(), "more": [1]});
        let answer = Answer::read(line.to_string().as_bytes()).unwrap();
        assert_eq!(answer.signature().unwrap(), [0, 1, 2]);
        assert!(
            answer.is_of(samples::weak().public()) && !answer.is_of(samples::strong().public())
        );
        assert_eq!(answer.demand_name(Some(&name)).unwrap(), name);
        assert!(matches!(answer.demand_name(None), Err(ExecFault::NoName)));
        let key = answer.public_key(name.clone()).unwrap();
        assert_eq!(key.fingerprint(), samples::weak().public().fingerprint());
        let other = Answer::read(br#"{"key":"Other\u0007"}"#).unwrap();
        let fault = other.demand_name(Some(&name)).unwrap_err().to_string();
        assert!(fault.contains("`Other\\u{7}`"), "{fault}");
        assert!(other.signature().is_err() && other.public_key(name).is_err());
    }

    #[test]
    fn what_is_no_answer_says_so_and_is_not_quoted() {
        for line in [
            "",
            "secret",
            "[]",
            "1",
            "{\"signature\":7}",
            "{\"signature\":\"secret\"",
        ] {
            let fault = Answer::read(line.as_bytes()).err().unwrap().to_string();
            assert!(
                fault.contains("not one") && !fault.contains("secret"),
                "{fault}"
            );
        }
        for base64 in ["AAE", "AA\\nEC", "AA-_", "!"] {
            let line = format!("{{\"signature\":\"{base64}\"}}");
            let answer = Answer::read(line.as_bytes()).unwrap();
            assert!(
                answer
                    .signature()
                    .unwrap_err()
                    .to_string()
                    .contains("base64")
            );
        }
        let Err(ExecFault::Refused(why)) = Answer::read(br#"{"error":"no\nmoney"}"#) else {
            panic!("an error was taken for an answer");
        };
        assert_eq!(why, "no\\nmoney");
    }
}
