//! The target `repodata`: what a channel has published, by any tool. Forms by the first byte: 0 `repodata.json`; 1 two of
//! them, with a byte 0xFF between; 2 one in a zstd frame; 3 a shard; 4 a shard index; 5 and 6 the same, packed here; 7 and
//! 8 the same, made of JSON; 9 `run_exports.json`; 10 a page; 11 and 12 JSON in bzip2 and in zstd, packed here.

use std::collections::BTreeMap;
use std::io::Read as _;

use sigindex::channel::SubdirName;
use sigindex::details::{Details, Install};
use sigindex::json::{self, Json, Object};
use sigindex::package::Format;
use sigindex::repodata::shards::{self, ShardContent};
use sigindex::repodata::{Codec, Document, Formats, Listed, Published, page, run_exports};

use super::feed::{Feed, halves};

/// How much is decompressed of a twin.
const MIB: u64 = 1 << 20;

pub fn read(bytes: &[u8]) {
    let mut feed = Feed::new(bytes);
    let form = feed.byte() % 13;
    let rest = feed.rest();
    let packed = || Codec::Zstd(1).compress(rest).unwrap();
    match form {
        0 => index(rest),
        1 => two(rest),
        2 => unpacked(Codec::Zstd(1), rest),
        3 => shard(rest),
        4 => shard_index(rest),
        5 => shard(&packed()),
        6 => shard_index(&packed()),
        7 => shard(&of_json(rest)),
        8 => shard_index(&of_json(rest)),
        9 => exports(rest),
        10 => assert_eq!(page::may_replace(rest), page::may_replace(rest)),
        11 => unpacked(Codec::Bzip2, &Codec::Bzip2.compress(rest).unwrap()),
        _ => unpacked(Codec::Zstd(1), &packed()),
    }
}

/// MessagePack of JSON, packed.
fn of_json(text: &[u8]) -> Vec<u8> {
    let value: rmpv::Value = serde_json::from_slice(text).unwrap_or(rmpv::Value::Nil);
    let mut plain = Vec::new();
    rmpv::encode::write_value(&mut plain, &value).unwrap();
    Codec::Zstd(1).compress(&plain).unwrap()
}

fn unpacked(codec: Codec, bytes: &[u8]) {
    let mut plain = Vec::new();
    let reader = codec.reader(bytes).unwrap();
    let read = reader.take(MIB).read_to_end(&mut plain).is_ok();
    if read && u64::try_from(plain.len()).unwrap() < MIB {
        assert_eq!(codec.holds(bytes, &plain), codec.holds(bytes, &plain));
        index(&plain);
    }
}

fn index(text: &[u8]) {
    let Ok(published) = Published::parse("noarch/repodata.json", text) else {
        let again = Published::parse("noarch/repodata.json", text);
        assert!(
            again
                .unwrap_err()
                .to_string()
                .contains("noarch/repodata.json")
        );
        return;
    };
    let again = Published::parse("noarch/repodata.json", text).unwrap();
    assert_eq!(published.records.len(), again.records.len());
    for (name, record) in &published.records {
        let same = &again.records[name];
        // Where one name stands twice, either text may be the one.
        assert_eq!(record.sha256, same.sha256);
        if let Ok(text) = record.readable() {
            let parsed: serde_json::Value = serde_json::from_str(text).unwrap();
            assert!(parsed.is_object());
        }
        for (key, value) in &record.carried {
            assert!(matches!(key.as_str(), "signatures" | "attestations_sha256"));
            assert_eq!(&json::parse(value.compact().as_bytes()).unwrap(), value);
        }
    }
}

/// Two files that are told of together never vouch for two digests of one name.
fn two(bytes: &[u8]) {
    let (first, second) = halves(bytes);
    let texts = [
        (Published::FILES[0].to_owned(), first.to_vec()),
        (Published::FILES[1].to_owned(), second.to_vec()),
    ];
    let Ok(both) = Published::read(&texts) else {
        return;
    };
    let each: Vec<_> = texts
        .iter()
        .map(|(path, text)| Published::parse(path, text).unwrap())
        .collect();
    let ours = each.iter().filter(|one| one.by_sigindex);
    let binding = ours.clone().count();
    assert_eq!(both.by_sigindex, binding > 0);
    for one in ours {
        for (name, record) in &one.records {
            let told = both.records[name].sha256;
            assert!(told.is_none() || told == record.sha256, "{name}");
        }
    }
}

fn shard_index(bytes: &[u8]) {
    let Some(read) = shards::read_index(bytes) else {
        return;
    };
    assert_eq!(shards::read_index(bytes).as_ref(), Some(&read));
    let records = read
        .shards
        .keys()
        .map(|name| (name.clone(), "{}".to_owned()));
    let published = Published::from_shards("x", &read.info, records);
    let Ok(published) = published else {
        return;
    };
    let ours = read.info.get("generator").and_then(Json::as_str) == Some("sigindex");
    assert_eq!(published.by_sigindex, ours);
    // The index that we make of it names the same shards.
    let subdir = SubdirName::noarch();
    let document = document(&subdir, Vec::new());
    let formats = Formats {
        zst_level: 1,
        ..Formats::default()
    };
    let made = shards::index(&document, &formats, &read.shards, Some(bytes), 0).unwrap();
    assert_eq!(shards::read_index(&made).unwrap().shards, read.shards);
}

fn document(subdir: &SubdirName, listed: Vec<Listed>) -> Document<'_> {
    Document {
        subdir,
        listed,
        removed: Vec::new(),
        signing_keys: BTreeMap::new(),
        signatures: Object::new(),
    }
}

/// What a shard holds, in a shard of ours, is the same, and there once more.
fn shard(bytes: &[u8]) {
    let Some(content) = shards::read_shard(bytes) else {
        return;
    };
    assert_eq!(shards::read_shard(bytes).as_ref(), Some(&content));
    let texts = content.packages.iter();
    let texts = texts.map(|(name, one)| (name.clone(), Json::Object(one.record.clone()).compact()));
    // Deeper ones than JSON is read with are errors.
    let _ = Published::from_shards("x", &Object::new(), texts);
    let Some(once) = made_anew(&content) else {
        return;
    };
    let twice = made_anew(&once).expect("a shard of ours");
    assert_eq!(once, twice);
}

/// The same packages in a shard of ours; `None` where they are no packages.
fn made_anew(content: &ShardContent) -> Option<ShardContent> {
    let subdir = SubdirName::noarch();
    let mut listed = Vec::new();
    for (name, one) in &content.packages {
        let none = Object::new();
        let run_exports = one.run_exports.as_ref().unwrap_or(&none);
        let record = Json::Object(one.record.clone()).compact();
        json::parse(record.as_bytes()).ok()?;
        let exports = Json::Object(run_exports.clone()).compact();
        json::parse(exports.as_bytes()).ok()?;
        listed.push(Listed {
            name: name.clone(),
            format: Format::of(name)?,
            record,
            details: Details::new(run_exports, &Object::new(), Install::default()),
        });
    }
    let group = shards::Group {
        listed: listed.iter().collect(),
        removed: content.removed.iter().map(String::as_str).collect(),
    };
    let formats = Formats {
        zst_level: 1,
        ..Formats::default()
    };
    let shard = shards::shard(&subdir, &group, &formats).expect("JSON that was read");
    let made = shards::read_shard(&shard.bytes).expect("a shard of ours");
    assert!(made.packages.keys().eq(content.packages.keys()));
    assert_eq!(made.removed, content.removed);
    Some(made)
}

fn exports(bytes: &[u8]) {
    let Some(read) = run_exports::read(bytes) else {
        return;
    };
    let subdir = SubdirName::noarch();
    let listed = read.iter().filter_map(|(name, said)| {
        Some(Listed {
            name: name.clone(),
            format: Format::of(name)?,
            record: "{}".to_owned(),
            details: Details::new(said, &Object::new(), Install::default()),
        })
    });
    let document = document(&subdir, listed.collect());
    let formats = Formats::default();
    let made = run_exports::render(&document, &[], &formats);
    let made = run_exports::read(&made).expect("a file of ours");
    let packages = read
        .into_iter()
        .filter(|(name, _)| Format::of(name).is_some());
    assert_eq!(made, packages.collect::<BTreeMap<_, _>>());
}
