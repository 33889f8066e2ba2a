//! The target `patches`. Forms by the first byte: 0 instructions for a few sound records; 1 a record and, behind a byte
//! 0xFF, instructions for it; 2 a package of patches, of members that are described (see `inner`). Scripts are the
//! operator's own programs, and no input.

use std::collections::BTreeMap;

use sigindex::channel::SubdirName;
use sigindex::details::{Details, Install};
use sigindex::json::{self, Json, Object};
use sigindex::package::{self, Format, ReadOptions};
use sigindex::patch::{Applied, CAPS, Instructions, Source, subdir_of};
use sigindex::record::may_name;
use sigindex::repodata::{Document, Formats, Listed, Published};
use std::sync::atomic::AtomicBool;

use super::builder::archive::bz2;
use super::feed::{Feed, halves};
use super::{held, inner};

const RECORD: &str = r#"{"attestations_sha256":"cc","build":"0","depends":["a","b >=1"],"indexed_timestamp":1,"md5":"aa","name":"x","sha256":"abababababababababababababababababababababababababababababababab","sig":".","signature":{"key":"K"},"size":5,"subdir":"noarch","version":"1"}"#;
const NAMES: [&str; 4] = [
    "x-1-0.conda",
    "x-1-0.tar.bz2",
    "y-2-0.conda",
    "z-1-0.tar.bz2",
];
/// What no patch may touch.
const PROTECTED: [&str; 8] = [
    "attestations_sha256",
    "indexed_timestamp",
    "md5",
    "sha256",
    "sig",
    "signature",
    "signatures",
    "size",
];
const IDENTITY: [&str; 4] = ["build", "name", "subdir", "version"];

pub fn read(bytes: &[u8]) {
    let mut feed = Feed::new(bytes);
    match feed.byte() % 3 {
        0 => apply_to(RECORD, feed.rest()),
        1 => {
            let (record, instructions) = halves(feed.rest());
            if let Ok(record) = std::str::from_utf8(record) {
                apply_to(record, instructions);
            }
        }
        _ => of_package(&bz2(&inner::members(&mut feed), 1)),
    }
}

fn apply_to(record: &str, instructions: &[u8]) {
    if let Ok(instructions) = Instructions::parse("patch_instructions.json", instructions) {
        apply(record, &instructions);
    }
}

fn of_package(bytes: &[u8]) {
    let options = ReadOptions {
        check_archives: true,
        cancelled: &AtomicBool::new(false),
        progress: &|_| {},
    };
    let file = held::memory(bytes);
    let wanted = |path: &str| subdir_of(path).is_some();
    let Ok((_, files)) = package::files(&file, "p-1-0.tar.bz2", &wanted, CAPS, &options) else {
        return;
    };
    let subdirs: Vec<_> = files
        .keys()
        .map(|path| subdir_of(path).unwrap().to_owned())
        .collect();
    let files = subdirs.iter().cloned().zip(files.into_values()).collect();
    let Ok(source) = Source::of_files("p-1-0.tar.bz2", files) else {
        return;
    };
    for subdir in subdirs {
        let none = || panic!("only scripts ask for the repodata");
        let found = source.instructions(&subdir, &none, &AtomicBool::new(false));
        apply(RECORD, &found.unwrap().expect("its subdir is there"));
    }
}

fn listed(name: &str, record: &str) -> Listed {
    let weak = Json::Array(vec![Json::String("w".to_owned())]);
    Listed {
        name: name.to_owned(),
        format: Format::of(name).unwrap(),
        record: record.to_owned(),
        details: Details::new(
            &Object::from([("weak".to_owned(), weak)]),
            &Object::new(),
            Install::default(),
        ),
    }
}

fn object(text: &str) -> Option<Object> {
    match json::parse(text.as_bytes()) {
        Ok(Json::Object(object)) => Some(object),
        _ => None,
    }
}

/// What was applied holds what patches may not touch, and to apply it once more changes nothing.
fn apply(record: &str, instructions: &Instructions) {
    let subdir = SubdirName::noarch();
    let mut document = Document {
        subdir: &subdir,
        listed: NAMES.iter().map(|name| listed(name, record)).collect(),
        removed: Vec::new(),
        signing_keys: BTreeMap::new(),
        signatures: Object::new(),
    };
    let Applied { report, taken } = instructions.apply(&mut document);
    assert_eq!(document.listed.len() + taken.len(), NAMES.len());
    for one in document.listed.iter().chain(&taken) {
        kept(record, &one.record);
        assert!(object(one.details.run_exports()).is_some());
        assert_eq!(document.removed.contains(&one.name), taken.contains(one));
    }
    assert!(report.changed.is_sorted() && report.unmatched.is_sorted());
    let once = (document.listed.clone(), document.removed.clone());
    let again = instructions.apply(&mut document);
    assert_eq!(once, (document.listed.clone(), document.removed.clone()));
    assert_eq!((again.report.changed, again.taken), (vec![], vec![]));
    rendered(&document);
}

fn kept(before: &str, after: &str) {
    let Some(before_fields) = object(before) else {
        assert_eq!(before, after, "a record that can't be read stays");
        return;
    };
    let after = object(after).expect("a patched record is an object");
    for key in PROTECTED {
        assert_eq!(before_fields.get(key), after.get(key), "{key}");
    }
    for key in IDENTITY {
        let sound = after.get(key).and_then(Json::as_str).is_some_and(may_name);
        assert!(sound || before_fields.get(key) == after.get(key), "{key}");
    }
}

/// What sound records became is still an index.
fn rendered(document: &Document<'_>) {
    if document
        .listed
        .iter()
        .any(|one| object(&one.record).is_none())
    {
        return;
    }
    let text = document.render(&Formats::default());
    let published = Published::parse("repodata.json", &text).unwrap();
    for one in &document.listed {
        assert!(published.records.contains_key(&one.name), "{}", one.name);
    }
}
