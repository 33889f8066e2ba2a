//! Attestations beside a package, `FILE.sigs` (CEP 50). Owns what such a file has to say, by what names it goes,
//! and whether a later one keeps what an earlier one said; must not know where they lie. Who made an attestation,
//! and whether its signature holds, is for clients to check (CEP 27): that takes identities to trust.

use std::collections::BTreeMap;
use std::fmt;

use base64ct::{Base64, Encoding as _};
use serde::de::{Deserializer as _, Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::json::{self, Json, JsonError, Object};
use crate::package::Format;
use crate::record::hex;

/// The largest file of attestations, in bytes: 16 MiB.
pub const MAX: u64 = 16 * 1024 * 1024;

/// What stands behind a package's file name in the name of its attestations.
pub const SUFFIX: &str = ".sigs";

/// The most values in one bundle, and in one statement. Real ones have a hundred; in memory each takes much more
/// than its text.
const MAX_VALUES: usize = 100_000;

/// A DSSE envelope around an in-toto statement.
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// An in-toto statement (CEP 27).
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// That the package was published (CEP 27).
const PUBLISH: &str = "https://schemas.conda.org/attestations-publish-1.schema.json";

/// The attestations of one package, each known to speak of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attestations {
    digest: [u8; 32],
    /// How often each bundle is there, by a digest of its value.
    bundles: BTreeMap<[u8; 32], usize>,
}

/// Why a file holds no attestations of a package; a clause whose subject is that file.
#[derive(Debug, thiserror::Error)]
pub enum AttestationError {
    /// Larger than [`MAX`].
    #[error("it has more than {} MiB", MAX / 1024 / 1024)]
    TooLarge,
    /// Not JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// JSON of another kind.
    #[error("it is not a JSON array of Sigstore bundles")]
    NotAnArray,
    /// An array of nothing: a package without attestations has no such file.
    #[error("it holds no attestation; remove it where there are none")]
    Empty,
    /// One of the bundles.
    #[error("bundle {number}: {flaw}")]
    Bundle {
        /// Which, counted from 1.
        number: usize,
        /// What is wrong with it.
        flaw: BundleFlaw,
    },
}

/// What is wrong with one bundle.
#[derive(Debug, thiserror::Error)]
pub enum BundleFlaw {
    /// The bundle is JSON that clients read in different ways.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// Larger than any that tools make.
    #[error("it has more than {MAX_VALUES} values")]
    TooManyValues,
    /// No bundle, or one that signs something else than a statement.
    #[error("it has no dsseEnvelope, so it attests nothing")]
    NoEnvelope,
    /// The envelope holds something else.
    #[error("what it signs is not of the type {PAYLOAD_TYPE}")]
    PayloadType,
    /// The envelope's content can't be decoded.
    #[error("its payload is not base64")]
    Payload,
    /// The statement is not JSON.
    #[error("its statement can't be read: {0}")]
    Statement(JsonError),
    /// Something else than an in-toto statement.
    #[error("its payload is not a statement of the type {STATEMENT_TYPE}")]
    StatementType,
    /// Nothing that it speaks of, or more than one thing.
    #[error("its statement does not have exactly one subject")]
    Subjects,
    /// It speaks of another file.
    #[error("its statement is about {}, not about this package", .0.escape_debug())]
    Name(String),
    /// It speaks of other bytes.
    #[error("its statement is about another package of that name: its SHA-256 differs")]
    Digest,
    /// It does not say what it states.
    #[error("its statement has no predicateType")]
    PredicateType,
    /// A publish attestation whose predicate is none.
    #[error(
        "its predicate is not that of a publish attestation: a targetChannel, which is a URL without a slash at its end"
    )]
    Predicate,
}

/// Checks the attestations beside the package `file_name`, whose file has that SHA-256.
///
/// The file is a JSON array of one or more Sigstore bundles (CEP 50). Each is a DSSE envelope around an in-toto
/// statement whose one subject is this package, by its file name and its SHA-256 (CEP 27). What the statement says
/// of it may be anything, as CEP 50 lets other predicates stand beside those of CEP 27, such as a build's
/// provenance; only a publish attestation's predicate is looked at. No signature is checked.
///
/// # Errors
/// The first flaw: see [`AttestationError`].
pub fn check(
    bytes: &[u8],
    file_name: &str,
    sha256: &[u8; 32],
) -> Result<Attestations, AttestationError> {
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX {
        return Err(AttestationError::TooLarge);
    }
    let text = std::str::from_utf8(bytes).map_err(|e| JsonError::NotUtf8(e.valid_up_to()))?;
    if text.starts_with('\u{feff}') {
        return Err(JsonError::ByteOrderMark.into());
    }
    if !text.trim_ascii_start().starts_with('[') {
        return Err(AttestationError::NotAnArray);
    }
    let mut checked = Checked {
        subject: Subject {
            name: file_name,
            sha256: hex(sha256),
        },
        bundles: BTreeMap::new(),
        number: 0,
        flaw: None,
    };
    let mut reader = serde_json::Deserializer::from_str(text);
    let outcome = reader
        .deserialize_seq(&mut checked)
        .and_then(|()| reader.end());
    if let Some(flaw) = checked.flaw {
        let number = checked.number;
        return Err(AttestationError::Bundle { number, flaw });
    }
    outcome.map_err(JsonError::from)?;
    if checked.bundles.is_empty() {
        return Err(AttestationError::Empty);
    }
    Ok(Attestations {
        digest: Sha256::digest(bytes).into(),
        bundles: checked.bundles,
    })
}

impl Attestations {
    /// Whether all that were published are still there, each as often: attestations are only ever added. They are
    /// held against each other by value: the order of keys and the white space between them don't count.
    pub fn keeps(&self, published: &Attestations) -> bool {
        published.bundles.iter().all(|(bundle, count)| {
            let here = self.bundles.get(bundle);
            here.is_some_and(|here| here >= count)
        })
    }

    /// The SHA-256 of the file's bytes: `attestations_sha256` in the record, and the end of the immutable name.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }
}

/// What every statement has to be about.
struct Subject<'a> {
    name: &'a str,
    /// In lower-case hex.
    sha256: String,
}

/// The bundles that were checked so far. They pass one by one: only one is in memory as values.
struct Checked<'a> {
    subject: Subject<'a>,
    bundles: BTreeMap<[u8; 32], usize>,
    /// Which bundle came last, counted from 1.
    number: usize,
    flaw: Option<BundleFlaw>,
}

impl<'de> Visitor<'de> for &mut Checked<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of Sigstore bundles")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        while let Some(raw) = array.next_element::<&RawValue>()? {
            self.number = self.number.saturating_add(1);
            match bundle(raw.get(), &self.subject) {
                Ok(digest) => {
                    let count = self.bundles.entry(digest).or_insert(0);
                    *count = count.saturating_add(1);
                }
                Err(flaw) => {
                    self.flaw = Some(flaw);
                    return Err(A::Error::custom("a flaw in a bundle"));
                }
            }
        }
        Ok(())
    }
}

/// Checks one bundle, and gives a digest of its value.
fn bundle(text: &str, subject: &Subject<'_>) -> Result<[u8; 32], BundleFlaw> {
    let bundle = parse(text.as_bytes())??;
    let envelope = match &bundle {
        Json::Object(bundle) => bundle.get("dsseEnvelope"),
        _ => None,
    };
    let Some(Json::Object(envelope)) = envelope else {
        return Err(BundleFlaw::NoEnvelope);
    };
    if string(envelope, "payloadType") != Some(PAYLOAD_TYPE) {
        return Err(BundleFlaw::PayloadType);
    }
    let payload = string(envelope, "payload").ok_or(BundleFlaw::Payload)?;
    let payload = Base64::decode_vec(payload).map_err(|_| BundleFlaw::Payload)?;
    statement(&payload, subject)?;
    let mut digest = Sha256::new();
    feed(&bundle, &mut digest);
    Ok(digest.finalize().into())
}

/// Checks an in-toto statement (CEP 27).
fn statement(payload: &[u8], subject: &Subject<'_>) -> Result<(), BundleFlaw> {
    let Json::Object(statement) = parse(payload)?.map_err(BundleFlaw::Statement)? else {
        return Err(BundleFlaw::StatementType);
    };
    if string(&statement, "_type") != Some(STATEMENT_TYPE) {
        return Err(BundleFlaw::StatementType);
    }
    let subjects = match statement.get("subject") {
        Some(Json::Array(subjects)) => subjects.as_slice(),
        _ => &[],
    };
    let [Json::Object(resource)] = subjects else {
        return Err(BundleFlaw::Subjects);
    };
    let name = string(resource, "name").unwrap_or_default();
    if name != subject.name {
        return Err(BundleFlaw::Name(name.chars().take(200).collect()));
    }
    let sha256 = match resource.get("digest") {
        Some(Json::Object(digests)) => string(digests, "sha256"),
        _ => None,
    };
    if sha256 != Some(subject.sha256.as_str()) {
        return Err(BundleFlaw::Digest);
    }
    match string(&statement, "predicateType") {
        None | Some("") => Err(BundleFlaw::PredicateType),
        Some(PUBLISH) if !is_publish(statement.get("predicate")) => Err(BundleFlaw::Predicate),
        Some(_) => Ok(()),
    }
}

/// The predicate of CEP 27: nothing, or the channel that the package was meant for.
fn is_publish(predicate: Option<&Json>) -> bool {
    match predicate {
        None | Some(Json::Null) => true,
        Some(Json::Object(predicate)) => {
            let url = string(predicate, "targetChannel").unwrap_or_default();
            let (scheme, rest) = url.split_once("://").unwrap_or_default();
            scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
                && !rest.is_empty()
                && !rest.starts_with('/')
                && !rest.ends_with('/')
                && !rest.contains(|c: char| c.is_whitespace() || c.is_control())
        }
        Some(_) => false,
    }
}

/// Reads a JSON text that has no more values than it may have.
fn parse(text: &[u8]) -> Result<Result<Json, JsonError>, BundleFlaw> {
    // Before each value but the first stands one of these; some in strings are counted, too.
    let values = text.iter().filter(|b| matches!(b, b',' | b'[' | b'{'));
    if values.count() > MAX_VALUES {
        return Err(BundleFlaw::TooManyValues);
    }
    Ok(json::parse(text))
}

fn string<'a>(object: &'a Object, key: &str) -> Option<&'a str> {
    object.get(key).and_then(Json::as_str)
}

/// Feeds a value, whose depth [`json::parse`] has limited, in a form that no other value has.
fn feed(value: &Json, digest: &mut Sha256) {
    let mut text = |kind: u8, text: &str| {
        digest.update([kind]);
        digest.update(text.len().to_le_bytes());
        digest.update(text);
    };
    match value {
        Json::Null => text(b'z', ""),
        Json::Bool(value) => text(b'b', if *value { "1" } else { "" }),
        Json::Number(number) => text(b'n', number),
        Json::String(string) => text(b's', string),
        Json::Array(items) => {
            text(b'a', &items.len().to_string());
            items.iter().for_each(|item| feed(item, digest));
        }
        Json::Object(members) => {
            text(b'o', &members.len().to_string());
            for (key, value) in members {
                feed(&Json::String(key.clone()), digest);
                feed(value, digest);
            }
        }
    }
}

/// The name of a file of attestations (CEP 50).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SidecarName<'a> {
    /// `PACKAGE.sigs`, which grows: the package's file name.
    Mutable(&'a str),
    /// `PACKAGE.sigs.SHA256`, which never changes: the package's file name, and the SHA-256 of this file's bytes.
    Immutable(&'a str, [u8; 32]),
}

/// Reads a file's name as that of attestations; `None` where it is another's. Only packages have them, suffixes
/// are case-sensitive, and the digest is of 64 lower-case hex digits.
pub fn sidecar_name(file_name: &str) -> Option<SidecarName<'_>> {
    let package = |name| Format::of(name).map(|_| name);
    if let Some(name) = file_name.strip_suffix(SUFFIX) {
        return package(name).map(SidecarName::Mutable);
    }
    let (name, digest) = file_name.rsplit_once('.')?;
    let name = package(name.strip_suffix(SUFFIX)?)?;
    Some(SidecarName::Immutable(name, digest_of(digest)?))
}

/// A digest of 64 lower-case hex digits.
fn digest_of(text: &str) -> Option<[u8; 32]> {
    let nibble = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit.wrapping_sub(b'0')),
        b'a'..=b'f' => Some(digit.wrapping_sub(b'a').wrapping_add(10)),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let mut digest = [0; 32];
    if pairs.len() != digest.len() || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in digest.iter_mut().zip(pairs) {
        *byte = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::string_slice)]
    use proptest::prelude::*;

    use super::*;

    const FILE: &str = "x-1.0-0.conda";
    const SHA256: [u8; 32] = [0xab; 32];

    fn statement_of(name: &str, sha256: &str, more: &str) -> String {
        format!(
            r#"{{"_type":"{STATEMENT_TYPE}","subject":[{{"name":"{name}","digest":{{"sha256":"{sha256}"}}}}]{more}}}"#
        )
    }

    fn good_statement() -> String {
        let more = format!(
            r#","predicateType":"{PUBLISH}","predicate":{{"targetChannel":"https://x.org/c"}}"#
        );
        statement_of(FILE, &hex(&SHA256), &more)
    }

    fn bundle_of(statement: &str) -> String {
        let payload = Base64::encode_string(statement.as_bytes());
        format!(
            r#"{{"mediaType":"m","dsseEnvelope":{{"payload":"{payload}","payloadType":"{PAYLOAD_TYPE}","signatures":[{{"sig":"AA=="}}]}}}}"#
        )
    }

    fn checked(text: &str) -> Result<Attestations, AttestationError> {
        check(text.as_bytes(), FILE, &SHA256)
    }

    /// Why one bundle around this statement fails, or an empty text.
    fn flaw(statement: &str) -> String {
        let text = format!("[{}]", bundle_of(statement));
        checked(&text).map_or_else(|error| error.to_string(), |_| String::new())
    }

    #[test]
    fn attestations_of_the_package_are_taken() {
        let bundle = bundle_of(&good_statement());
        let text = format!(" [{bundle}\n, {bundle}] ");
        let attestations = checked(&text).unwrap();
        assert_eq!(
            attestations.digest(),
            <[u8; 32]>::from(Sha256::digest(&text))
        );
        let digest = hex(&SHA256);
        let publish = format!(r#","predicateType":"{PUBLISH}""#);
        for more in [
            publish.clone(),
            format!(r#"{publish},"predicate":null"#),
            format!(r#"{publish},"predicate":{{"targetChannel":"s3://b/c","more":[]}}"#),
            r#","predicateType":"https://slsa.dev/provenance/v1","predicate":{"a":[1]}"#.to_owned(),
        ] {
            assert_eq!(flaw(&statement_of(FILE, &digest, &more)), "", "{more}");
        }
    }

    #[test]
    fn a_statement_about_anything_else_is_refused() {
        let (digest, kind) = (hex(&SHA256), r#","predicateType":"https://p""#);
        let publish = |predicate: &str| {
            let more = format!(r#","predicateType":"{PUBLISH}","predicate":{predicate}"#);
            statement_of(FILE, &digest, &more)
        };
        let subject = format!(r#"{{"name":"{FILE}","digest":{{"sha256":"{digest}"}}}}"#);
        let of_subjects = |subjects: &str| {
            format!(r#"{{"_type":"{STATEMENT_TYPE}","subject":{subjects}{kind}}}"#)
        };
        for (statement, why) in [
            (
                statement_of("y-1.0-0.conda", &digest, kind),
                "about y-1.0-0.conda",
            ),
            (
                statement_of("x-1.0-0.tar.bz2", &digest, kind),
                "about x-1.0-0.tar.bz2",
            ),
            (
                statement_of(FILE, &digest.to_uppercase(), kind),
                "SHA-256 differs",
            ),
            (
                statement_of(FILE, &"ac".repeat(32), kind),
                "SHA-256 differs",
            ),
            (statement_of(FILE, "", kind), "SHA-256 differs"),
            (statement_of(FILE, &digest, ""), "no predicateType"),
            (
                statement_of(FILE, &digest, r#","predicateType":7"#),
                "no predicateType",
            ),
            (
                statement_of(FILE, &digest, r#","predicateType":"""#),
                "no predicateType",
            ),
            (of_subjects("[]"), "exactly one subject"),
            (of_subjects("{}"), "exactly one subject"),
            (of_subjects("[1]"), "exactly one subject"),
            (
                of_subjects(&format!("[{subject},{subject}]")),
                "exactly one subject",
            ),
            (of_subjects(r#"[{"name":7}]"#), "about ,"),
            (
                of_subjects(&format!(r#"[{{"name":"{FILE}","digest":[]}}]"#)),
                "SHA-256 differs",
            ),
            (
                format!(r#"{{"subject":[{subject}]{kind}}}"#),
                "not a statement",
            ),
            ("[]".to_owned(), "not a statement"),
            (good_statement().replace("/v1", "/v0.1"), "not a statement"),
            (String::new(), "can't be read"),
            (good_statement() + "x", "can't be read"),
            (
                good_statement().replacen('{', r#"{"_type":"x","#, 1),
                "duplicate key",
            ),
            ("[".repeat(90_000), "can't be read"),
            ("[".repeat(200_000), "more than 100000 values"),
            (publish("{}"), "targetChannel"),
            (publish("[]"), "targetChannel"),
            (publish(r#"{"targetChannel":7}"#), "targetChannel"),
            (
                publish(r#"{"targetChannel":"conda-forge"}"#),
                "targetChannel",
            ),
            (
                publish(r#"{"targetChannel":"https://x/"}"#),
                "targetChannel",
            ),
            (publish(r#"{"targetChannel":"https://"}"#), "targetChannel"),
            (publish(r#"{"targetChannel":"file:///x"}"#), "targetChannel"),
            (
                publish(r#"{"targetChannel":"https://x y"}"#),
                "targetChannel",
            ),
        ] {
            let flaw = flaw(&statement);
            assert!(
                flaw.starts_with("bundle 1: ") && flaw.contains(why),
                "{flaw}: {why}"
            );
        }
    }

    #[test]
    fn what_is_no_array_of_bundles_is_refused() {
        let good = bundle_of(&good_statement());
        let payload = format!(
            r#""payload":"{}""#,
            Base64::encode_string(good_statement().as_bytes())
        );
        let envelope = |members: &str| format!(r#"[{{"dsseEnvelope":{{{members}}}}}]"#);
        let kind = format!(r#""payloadType":"{PAYLOAD_TYPE}""#);
        for (text, why) in [
            (String::new(), "not a JSON array"),
            ("{}".to_owned(), "not a JSON array"),
            (good.clone(), "not a JSON array"),
            ("null".to_owned(), "not a JSON array"),
            (format!("\u{feff}[{good}]"), "byte order mark"),
            ("[]".to_owned(), "no attestation"),
            ("[".to_owned(), "not valid JSON"),
            (format!("[{good}"), "not valid JSON"),
            (format!("[{good},]"), "not valid JSON"),
            (format!("[{good}] []"), "not valid JSON"),
            (format!("[{good},7]"), "bundle 2: it has no dsseEnvelope"),
            ("[null]".to_owned(), "no dsseEnvelope"),
            ("[{}]".to_owned(), "no dsseEnvelope"),
            (r#"[{"messageSignature":{}}]"#.to_owned(), "no dsseEnvelope"),
            (r#"[{"dsseEnvelope":[]}]"#.to_owned(), "no dsseEnvelope"),
            (envelope(&payload), "not of the type"),
            (
                envelope(&format!(r#"{payload},"payloadType":"text/plain""#)),
                "not of the type",
            ),
            (envelope(&kind), "not base64"),
            (envelope(&format!(r#"{kind},"payload":7"#)), "not base64"),
            (
                envelope(&format!(r#"{kind},"payload":"e30""#)),
                "not base64",
            ),
            (
                envelope(&format!(r#"{kind},"payload":"e3 0=""#)),
                "not base64",
            ),
            (
                envelope(&format!(r#"{kind},{kind},{payload}"#)),
                "duplicate key",
            ),
            (format!("[{}]", "[".repeat(90_000)), "not valid JSON"),
            (
                format!("[{}{}]", "[".repeat(90_000), "]".repeat(90_000)),
                "more than 64 deep",
            ),
            (
                format!("[[{}0]]", "0,".repeat(200_000)),
                "more than 100000 values",
            ),
        ] {
            let error = checked(&text).unwrap_err().to_string();
            assert!(error.contains(why), "{error}: {why}");
        }
        assert!(check(b"[\"\xff\"]", FILE, &SHA256).is_err());
        let large = vec![b' '; usize::try_from(MAX).unwrap() + 1];
        let error = check(&large, FILE, &SHA256).unwrap_err();
        assert_eq!(error.to_string(), "it has more than 16 MiB");
    }

    #[test]
    fn attestations_are_only_added() {
        let a = bundle_of(&good_statement());
        let b = a.replace("AA==", "AB==");
        // The same value in other words.
        let a_again = a.replace("\"m\"", " \"\\u006d\"").replacen('{', "{\n", 1);
        assert_ne!(a, a_again);
        let of = |bundles: &[&String]| {
            let bundles: Vec<&str> = bundles.iter().map(|it| it.as_str()).collect();
            checked(&format!("[{}]", bundles.join(","))).unwrap()
        };
        for (now, before, keeps) in [
            (of(&[&a]), of(&[&a]), true),
            (of(&[&b, &a]), of(&[&a]), true),
            (of(&[&b, &a_again]), of(&[&a, &b]), true),
            (of(&[&b]), of(&[&a]), false),
            (of(&[&a]), of(&[&a, &b]), false),
            (of(&[&a, &b]), of(&[&a, &a]), false),
            (of(&[&a, &b, &a_again]), of(&[&a, &a]), true),
        ] {
            assert_eq!(now.keeps(&before), keeps);
        }
    }

    #[test]
    fn values_that_differ_have_other_digests() {
        let digest = |text: &str| {
            let mut digest = Sha256::new();
            feed(&json::parse(text.as_bytes()).unwrap(), &mut digest);
            <[u8; 32]>::from(digest.finalize())
        };
        let texts = [
            "null",
            "false",
            "true",
            "0",
            "1",
            "1.0",
            "\"\"",
            "\"0\"",
            "[]",
            "{}",
            "[[]]",
            "[[],[]]",
            "[null]",
            "[\"a\",\"b\"]",
            "[\"ab\"]",
            "[\"b\",\"a\"]",
            "{\"a\":\"b\"}",
            "[[\"a\"],\"b\"]",
            "[[\"a\",\"b\"]]",
            "{\"a\":{\"b\":1}}",
            "{\"a\":{},\"b\":1}",
        ];
        let digests: std::collections::BTreeSet<_> =
            texts.iter().map(|text| digest(text)).collect();
        assert_eq!(digests.len(), texts.len());
        assert_eq!(
            digest("{\"a\":1,\"b\":2}"),
            digest("{ \"b\":2, \"\\u0061\":1 }")
        );
    }

    #[test]
    fn names_are_read_strictly() {
        let digest = "0123456789abcdef".repeat(4);
        let bytes = digest_of(&digest).unwrap();
        assert_eq!(hex(&bytes), digest);
        let immutable = |name: &str| format!("{name}.sigs.{digest}");
        for (name, read) in [
            ("x.conda.sigs", Some(SidecarName::Mutable("x.conda"))),
            ("x.tar.bz2.sigs", Some(SidecarName::Mutable("x.tar.bz2"))),
            (
                &immutable("x.conda"),
                Some(SidecarName::Immutable("x.conda", bytes)),
            ),
            (
                &immutable("x.tar.bz2"),
                Some(SidecarName::Immutable("x.tar.bz2", bytes)),
            ),
            (&immutable("x.conda.sigs"), None),
            (&immutable("x"), None),
            (&immutable("x.conda").to_uppercase(), None),
            (&format!("x.conda.sigs.{}", digest.to_uppercase()), None),
            (&format!("{}0", immutable("x.conda")), None),
            (&format!("x.conda.sigs.+{}", &digest[1..]), None),
            (&format!("x.conda.sigs.\u{e9}{}", &digest[2..]), None),
            (&format!("x.conda.{digest}"), None),
            ("x.conda.sigs.", None),
            ("x.conda.sigs.sigs", None),
            ("x.conda.SIGS", None),
            ("x.conda.sig", None),
            ("x.conda", None),
            ("x.sigs", None),
            (".conda.sigs", None),
            (".sigs", None),
            ("", None),
        ] {
            assert_eq!(sidecar_name(name), read, "{name}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in any::<Vec<u8>>(), name in any::<String>(), at in 0_usize..600) {
            let _ = check(&bytes, &name, &SHA256);
            let _ = sidecar_name(&name);
            let mut text = format!("[{}]", bundle_of(&good_statement())).into_bytes();
            let at = at % text.len();
            text.splice(at..at + 1, bytes.into_iter().take(3));
            let _ = check(&text, FILE, &SHA256);
        }
    }
}
