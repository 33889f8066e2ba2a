//! The target `index_json`: a package's `info/index.json`, as it stands. What becomes of it is a record with the same
//! values, in every index file that says it.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use sigindex::channel::SubdirName;
use sigindex::details::{Details, Sources};
use sigindex::json::{self, Json, Object};
use sigindex::keys::KeyName;
use sigindex::package::{Format, Package};
use sigindex::record::{Additions, Claims, Record, SignatureNote, hex, may_name};
use sigindex::repodata::{Document, Formats, Listed, Published, shards};

const FILE: &str = "a-1-0.conda";
/// Keys that never come out of a package.
const LEFT_OUT: [&str; 14] = [
    "arch",
    "attestations_sha256",
    "binstar",
    "has_prefix",
    "indexed_timestamp",
    "machine",
    "mtime",
    "operatingsystem",
    "platform",
    "requires_features",
    "sig",
    "signature",
    "target-triplet",
    "ucs",
];

pub fn read(bytes: &[u8]) {
    record(bytes, &"ab".repeat(32), &"cd".repeat(16), 7);
}

/// The same for what a package held, and for the documents beside it.
pub fn of_package(package: &Package) {
    let digests = &package.digests;
    record(
        &package.index_json,
        &hex(&digests.sha256),
        &hex(&digests.md5),
        digests.size,
    );
    let documents = &package.documents;
    let sources = Sources {
        run_exports_json: documents.run_exports_json.as_deref(),
        about_json: documents.about_json.as_deref(),
        recipe: documents.recipe.as_deref(),
    };
    if let Ok((details, _)) = Details::read(&sources, documents.install) {
        assert_eq!(Details::from_stored(&details.stored()), Some(details));
    }
}

fn record(bytes: &[u8], sha256: &str, md5: &str, size: u64) {
    let parsed = json::parse(bytes);
    if let Ok(parsed) = &parsed {
        there_and_back(parsed);
    }
    let Ok((record, claims)) = Record::new(bytes, sha256, md5, size) else {
        return;
    };
    let again = Record::new(bytes, sha256, md5, size).unwrap();
    assert_eq!((&record, &claims), (&again.0, &again.1));
    let Ok(Json::Object(said)) = parsed else {
        panic!("a record of what is no object");
    };
    said_of_itself(&record, &claims, &said);
    let back = Record::from_stored(record.stored().to_owned()).unwrap();
    assert_eq!(back, record);
    for additions in additions() {
        let fields = published(&record, &additions);
        values(&said, &fields, &additions);
        let own = [("sha256", sha256), ("md5", md5)];
        assert!(
            own.iter()
                .all(|(key, value)| fields[*key].as_str() == Some(value))
        );
        assert_eq!(fields["size"], Json::Number(size.to_string()));
    }
    in_files(&record, sha256);
}

fn there_and_back(parsed: &Json) {
    for text in [parsed.compact(), parsed.pretty()] {
        assert_eq!(&json::parse(text.as_bytes()).unwrap(), parsed);
        assert!(text.is_ascii() && serde_json::from_str::<IgnoredAny>(&text).is_ok());
    }
}

fn said_of_itself(record: &Record, claims: &Claims, said: &Object) {
    let [name, version, build] =
        ["name", "version", "build"].map(|key| said[key].as_str().unwrap());
    assert!([name, version, build].into_iter().all(may_name));
    assert_eq!(claims.stem, format!("{name}-{version}-{build}"));
    assert_eq!(record.name().as_deref(), Some(name));
    let subdir = claims.subdir.as_deref().unwrap_or("noarch");
    // Of a file name the last two parts are version and build.
    let agrees = !version.contains('-') && !build.contains('-');
    assert_eq!(claims.mismatch(&claims.stem, subdir).is_none(), agrees);
    assert!(
        claims
            .mismatch(&format!("{}x", claims.stem), subdir)
            .is_some()
    );
}

fn additions() -> [Additions; 3] {
    let signature = SignatureNote {
        key: KeyName::parse("MyKey").unwrap(),
        fingerprint: None,
        value: Some("AAAA".to_owned()),
    };
    let carried = [
        ("signatures".to_owned(), Json::Object(Object::new())),
        ("attestations_sha256".to_owned(), Json::Null),
    ];
    let signed = Additions {
        indexed_timestamp: 5,
        signature: Some(signature),
        carried: Object::new(),
    };
    let carrying = Additions {
        carried: Object::from(carried),
        ..signed.clone()
    };
    [Additions::default(), signed, carrying]
}

/// The record's text is what JSON makes of it.
fn published(record: &Record, additions: &Additions) -> Object {
    let text = record.published(additions).unwrap();
    let parsed = json::parse(text.as_bytes()).unwrap();
    assert_eq!(parsed.compact(), text);
    match parsed {
        Json::Object(fields) => fields,
        _ => panic!("{text}"),
    }
}

/// Every value is the package's, or the index's.
fn values(said: &Object, fields: &Object, additions: &Additions) {
    let signed = additions.signature.is_some();
    assert_eq!(fields.contains_key("sig"), signed);
    assert_eq!(fields.contains_key("signature"), signed);
    let time = Json::Number(additions.indexed_timestamp.to_string());
    assert_eq!(fields["indexed_timestamp"], time);
    let of_the_index = ["sha256", "md5", "size"];
    for (key, value) in said {
        let key = key.as_str();
        if of_the_index.contains(&key) || additions.carried.contains_key(key) {
            continue;
        }
        match LEFT_OUT.contains(&key) {
            true => assert_ne!(
                fields.get(key),
                Some(value).filter(|_| !fields.contains_key(key))
            ),
            false => assert_eq!(fields.get(key), Some(value), "{key}"),
        }
    }
    for key in fields.keys().map(String::as_str) {
        let added = ["indexed_timestamp", "sig", "signature"].contains(&key)
            || of_the_index.contains(&key)
            || additions.carried.contains_key(key);
        assert!(
            added || said.contains_key(key) && !LEFT_OUT.contains(&key),
            "{key}"
        );
    }
}

/// `repodata.json` and a shard with the record in it are read back.
fn in_files(record: &Record, sha256: &str) {
    let subdir = SubdirName::noarch();
    let listed = Listed {
        name: FILE.to_owned(),
        format: Format::Conda,
        record: record.published(&Additions::default()).unwrap(),
        details: Details::default(),
    };
    let document = Document {
        subdir: &subdir,
        listed: vec![listed],
        removed: Vec::new(),
        signing_keys: BTreeMap::new(),
        signatures: Object::new(),
    };
    for (compact, next) in [(true, false), (false, true)] {
        let formats = Formats {
            compact,
            next,
            zst_level: 1,
            ..Formats::default()
        };
        document.warnings(&formats);
        let text = document.render(&formats);
        let published = Published::parse("repodata.json", &text).unwrap();
        assert!(published.by_sigindex);
        let found = published.records[FILE].sha256.map(|sha256| hex(&sha256));
        assert_eq!(found.as_deref(), Some(sha256));
        for (name, group) in shards::by_name(&document) {
            assert_eq!(Some(name), record.name());
            let shard = shards::shard(&subdir, &group, &formats).unwrap();
            let content = shards::read_shard(&shard.bytes).expect("a shard of ours");
            let there = &content.packages[FILE].record;
            assert_eq!(there["sha256"].as_str(), Some(sha256));
        }
    }
}
