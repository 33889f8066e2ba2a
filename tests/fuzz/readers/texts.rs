//! The target `texts`: small texts within metadata and beside packages. Forms by the first byte: 0 a MatchSpec; 1 up to
//! three versions, with bytes 0xFF between; 2 a list of pins; 3 run exports, what a package is about, and a recipe, with
//! bytes 0xFF between; 4 attestations; 5 what may be metadata of a signed index; 6 names; 7 a MatchSpec, and a
//! version behind a byte 0xFF.

use std::cmp::Ordering;

use serde_json::Value;
use sigindex::attestation;
use sigindex::channel::SubdirName;
use sigindex::details::{Details, Install, Sources};
use sigindex::json;
use sigindex::keys::{Fingerprint, KeyName};
use sigindex::match_spec::MatchSpec;
use sigindex::package::{Format, name_in};
use sigindex::record::{hex, is_sha256, unhex};
use sigindex::repodata::Pins;
use sigindex::signature::is_metadata;
use sigindex::version::Version;

use super::feed::{Feed, halves};

pub fn read(bytes: &[u8]) {
    let mut feed = Feed::new(bytes);
    let form = feed.byte() % 8;
    let rest = feed.rest();
    let text = String::from_utf8_lossy(rest);
    match form {
        0 => spec(&text, "1.2.3"),
        1 => versions(rest),
        2 => pins(&text),
        3 => details(rest),
        4 => attestations(rest),
        5 => metadata(rest),
        6 => names(&text),
        _ => {
            let (spec_text, version) = halves(rest);
            let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
            spec(&text(spec_text), &text(version));
        }
    }
}

/// A MatchSpec means in brackets what it means as it was written.
fn spec(text: &str, version: &str) {
    let Some(spec) = MatchSpec::parse(text) else {
        return;
    };
    assert_eq!(MatchSpec::parse(text).as_ref(), Some(&spec));
    let matches = spec.matches(version, "py_0", 1);
    let Some(brackets) = spec.in_brackets() else {
        return;
    };
    let again = MatchSpec::parse(&brackets).expect("a form that is read");
    assert_eq!(again.in_brackets().as_deref(), Some(brackets.as_str()));
    assert_eq!(again.matches(version, "py_0", 1), matches, "{brackets}");
    assert_eq!(again.name(), spec.name());
    assert_eq!(again.needs_v3(), spec.needs_v3());
}

/// Versions have one order.
fn versions(bytes: &[u8]) {
    let parts = bytes.splitn(3, |byte| *byte == 0xff);
    let mut all: Vec<_> = parts
        .map(|part| Version::parse(&String::from_utf8_lossy(part)))
        .collect();
    for one in &all {
        assert_eq!(one.cmp(one), Ordering::Equal);
        for other in &all {
            assert_eq!(one.cmp(other), other.cmp(one).reverse());
            assert_eq!(one == other, one.cmp(other) == Ordering::Equal);
            let _ = one.starts_with(other);
        }
        assert!(!one.is_sound() || one.starts_with(one), "{}", one.as_str());
    }
    all.sort();
    for pair in all.windows(2) {
        assert!(pair[0] <= pair[1]);
    }
    if let [first, _, last] = all.as_slice() {
        assert!(first <= last);
    }
}

fn pins(text: &str) {
    let read = Pins::parse("pins.yaml", text);
    let again = Pins::parse("pins.yaml", text);
    match (read, again) {
        (Ok(one), Ok(other)) => assert_eq!(format!("{one:?}"), format!("{other:?}")),
        (Err(one), Err(other)) => assert_eq!(one.to_string(), other.to_string()),
        _ => panic!("read twice, and not the same"),
    }
}

fn details(bytes: &[u8]) {
    let mut parts = bytes.splitn(3, |byte| *byte == 0xff);
    let mut part = || parts.next().filter(|part| !part.is_empty());
    let sources = Sources {
        recipe: part(),
        run_exports_json: part(),
        about_json: part(),
    };
    let Ok((details, notes)) = Details::read(&sources, Install::default()) else {
        return;
    };
    let again = Details::read(&sources, Install::default()).unwrap();
    assert_eq!((&details, notes), (&again.0, again.1));
    for text in [details.run_exports(), details.about_text()] {
        assert!(json::parse(text.as_bytes()).is_ok(), "{text}");
    }
    assert_eq!(Details::from_stored(&details.stored()), Some(details));
}

fn attestations(bytes: &[u8]) {
    let check = |digest| attestation::check(bytes, "a-1-0.conda", digest);
    let Ok(found) = check(&[0xab; 32]) else {
        return;
    };
    assert!(found.keeps(&found) && check(&[0xab; 32]).unwrap() == found);
    assert!(check(&[0xac; 32]).is_err());
}

/// What is metadata stays so as the part that is signed, and has the word in it that tells.
fn metadata(bytes: &[u8]) {
    let found = is_metadata(bytes);
    assert_eq!(found, is_metadata(bytes));
    let plain = |part: &[u8]| bytes.windows(part.len()).any(|it| it == part);
    assert!(!found || plain(b"_type") || plain(b"\\u"));
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else {
        return;
    };
    // Whatever else stands in it, also as the bytes that are signed of it.
    let is_metadata_of = |it: &Value| matches!(it["_type"].as_str(), Some("root" | "targets"));
    assert!(found || !is_metadata_of(&value) && !is_metadata_of(&value["signed"]));
    if is_metadata_of(&value) {
        assert!(is_metadata(&canonical(&value)));
    }
}

/// OLPC's canonical JSON, which knows no other escapes than those of `"` and `\`. Numbers are as they are here.
fn canonical(value: &Value) -> Vec<u8> {
    let quoted = |text: &str| {
        let text = text.replace('\\', "\\\\").replace('"', "\\\"");
        format!("\"{text}\"").into_bytes()
    };
    match value {
        Value::String(text) => quoted(text),
        Value::Array(list) => {
            let list: Vec<_> = list.iter().map(canonical).collect();
            [b"[", list.join(&b","[..]).as_slice(), b"]"].concat()
        }
        Value::Object(members) => {
            let members = members.iter();
            let members = members.map(|(key, it)| [quoted(key), canonical(it)].join(&b":"[..]));
            let members: Vec<_> = members.collect();
            [b"{", members.join(&b","[..]).as_slice(), b"}"].concat()
        }
        other => other.to_string().into_bytes(),
    }
}

fn names(text: &str) {
    if let Ok(name) = KeyName::parse(text) {
        assert_eq!(name.as_str(), text);
        assert!(!text.contains(['/', '\0', '\n']) && !text.starts_with('.'));
    }
    if let Ok(fingerprint) = Fingerprint::parse(text) {
        assert!(fingerprint.to_string().eq_ignore_ascii_case(text));
    }
    if let Some(subdir) = SubdirName::chosen(text) {
        assert!(subdir.as_str() == text && !text.contains(['/', '\0']) && text != "..");
    }
    if let Some(bytes) = unhex::<32>(text) {
        assert!(hex(&bytes).eq_ignore_ascii_case(text) && is_sha256(&hex(&bytes)));
    }
    if let Some(format) = Format::of(text) {
        assert_eq!(format!("{}{}", format.stem(text), format.extension()), text);
    }
    assert!(text.starts_with(name_in(text)));
    let _ = attestation::sidecar_name(text);
}
