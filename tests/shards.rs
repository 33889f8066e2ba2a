//! Holds shards against those that conda-index 0.13 writes of the same records: each record of each shard, in
//! the first form and in the third. It must not know how shards are made.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rmpv::Value;
use sigindex::channel::SubdirName;
use sigindex::details::{Details, Install};
use sigindex::json::{self, Json, Object};
use sigindex::match_spec::MatchSpec;
use sigindex::package::Format;
use sigindex::repodata::shards::{self, ShardIndex};
use sigindex::repodata::{Document, Formats, Listed, run_exports};

#[path = "support/shared.rs"]
mod shared;

use shared::shared;

/// The subdirs of the golden files.
const SUBDIRS: [&str; 5] = ["linux-64", "noarch", "osx-64", "win-32", "win-64"];
/// What the golden files list.
const PACKAGES: usize = 54;

fn parsed(path: &Path) -> Object {
    match json::parse(&std::fs::read(path).unwrap()).unwrap() {
        Json::Object(object) => object,
        other => panic!("{}: {other:?}", path.display()),
    }
}

fn take(object: &mut Object, key: &str) -> Object {
    match object.remove(key) {
        Some(Json::Object(found)) => found,
        _ => Object::new(),
    }
}

/// The packages of a golden `repodata.json`, wherever in it they stand.
fn listed(folder: &Path, run_exports: &BTreeMap<String, Object>) -> Vec<Listed> {
    let mut repodata = parsed(&folder.join("repodata.json"));
    let mut third = take(&mut repodata, "v3");
    let mut records = Object::new();
    for (extension, first) in [("tar.bz2", "packages"), ("conda", "packages.conda")] {
        records.extend(take(&mut repodata, first));
        let third = take(&mut third, extension).into_iter();
        records.extend(third.map(|(stem, record)| (format!("{stem}.{extension}"), record)));
    }
    let listed = records.into_iter().map(|(name, record)| Listed {
        format: Format::of(&name).unwrap(),
        record: record.compact(),
        details: Details::new(&run_exports[&name], &Object::new(), Install::default()),
        name,
    });
    listed.collect()
}

/// A file's value, maps sorted by key.
fn unpacked(bytes: &[u8]) -> Value {
    let plain = zstd::decode_all(bytes).unwrap();
    let mut rest = plain.as_slice();
    let value = rmpv::decode::read_value(&mut rest).unwrap();
    assert!(rest.is_empty());
    sorted(value)
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Map(members) => {
            let members = members.into_iter();
            let mut members: Vec<_> = members.map(|(key, value)| (key, sorted(value))).collect();
            members.sort_by_key(|(key, _)| key.as_str().unwrap().to_owned());
            Value::Map(members)
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

fn members(value: &Value) -> BTreeMap<&str, &Value> {
    let members = value.as_map().unwrap().iter();
    members
        .map(|(key, value)| (key.as_str().unwrap(), value))
        .collect()
}

/// What one subdir's golden files say and what is made of the same records.
struct Pair {
    folder: PathBuf,
    theirs: ShardIndex,
    ours: ShardIndex,
    shards: BTreeMap<String, shards::Shard>,
}

fn pairs(golden: &str, formats: &Formats) -> Option<Vec<Pair>> {
    let golden = shared(golden)?;
    let told = shared("golden/conda-index-0.13")?;
    let (mut pairs, mut packages) = (Vec::new(), 0);
    for subdir in SUBDIRS {
        let folder = golden.join(subdir);
        let run_exports = std::fs::read(told.join(subdir).join("run_exports.json")).unwrap();
        let run_exports = run_exports::read(&run_exports).unwrap();
        let subdir = SubdirName::standard(subdir).unwrap();
        let document = Document {
            subdir: &subdir,
            listed: listed(&folder, &run_exports),
            removed: Vec::new(),
            signing_keys: BTreeMap::new(),
            signatures: Object::new(),
        };
        packages += document.listed.len();
        let groups = shards::by_name(&document).into_iter();
        let shards: BTreeMap<_, _> = groups
            .map(|(name, group)| (name, shards::shard(&subdir, &group, formats).unwrap()))
            .collect();
        let digests = shards.iter();
        let digests = digests
            .map(|(name, shard)| (name.clone(), shard.digest))
            .collect();
        let ours = shards::index(&document, formats, &digests, None, 1_795_333_288_000).unwrap();
        let theirs = std::fs::read(folder.join(shards::SHARD_INDEX)).unwrap();
        pairs.push(Pair {
            theirs: shards::read_index(&theirs).unwrap(),
            ours: shards::read_index(&ours).unwrap(),
            folder,
            shards,
        });
    }
    assert_eq!(packages, PACKAGES);
    Some(pairs)
}

impl Pair {
    /// The shards of each name: ours, and theirs, which lie beside the packages.
    fn shards(&self) -> impl Iterator<Item = (&str, Value, Value)> {
        self.shards.iter().map(|(name, shard)| {
            let digest = self.theirs.shards[name];
            let file: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            let theirs = std::fs::read(self.folder.join(file + ".msgpack.zst")).unwrap();
            (name.as_str(), unpacked(&shard.bytes), unpacked(&theirs))
        })
    }

    /// What the indexes say of themselves, where they differ.
    fn differences(&self) -> BTreeSet<&str> {
        let (ours, theirs) = (&self.ours.info, &self.theirs.info);
        let keys = ours.keys().chain(theirs.keys());
        let keys = keys.filter(|key| ours.get(*key) != theirs.get(*key));
        keys.map(String::as_str)
            .filter(|key| *key != "created_at")
            .collect()
    }
}

#[test]
fn each_record_is_what_conda_index_writes() {
    let Some(pairs) = pairs("golden/conda-index-0.13", &Formats::default()) else {
        return;
    };
    let mut records = 0;
    for pair in pairs {
        assert!(pair.ours.shards.keys().eq(pair.theirs.shards.keys()));
        // Keys of ours, and the folder that shards lie in.
        let differ = ["generator", "shards_base_url", "signing_keys"];
        assert_eq!(pair.differences(), differ.into());
        assert_eq!(
            pair.ours.info["created_at"].as_str(),
            Some("2026-11-22T07:41:28Z")
        );
        for (name, ours, theirs) in pair.shards() {
            assert_eq!(
                members(&ours).into_keys().collect::<Vec<_>>(),
                ["packages", "packages.conda"]
            );
            for section in ["packages", "packages.conda"] {
                let (ours, theirs) = (members(&ours[section]), members(&theirs[section]));
                assert!(ours.keys().eq(theirs.keys()), "{name}");
                for (file, record) in ours {
                    assert_eq!(record, theirs[file], "{file}");
                    records += 1;
                }
            }
        }
    }
    assert_eq!(records, PACKAGES);
}

/// A record of theirs with its MatchSpecs in brackets: CEP 48 wants them so, and conda-index leaves them.
fn in_brackets(record: &Value) -> Value {
    let spec = |spec: &Value| {
        let parsed = spec.as_str().and_then(MatchSpec::parse);
        let new = parsed.and_then(|spec| spec.in_brackets());
        new.map_or_else(|| spec.clone(), Value::from)
    };
    let members = record.as_map().unwrap().iter().map(|(key, value)| {
        let value = match (key.as_str().unwrap(), value) {
            ("depends" | "constrains", Value::Array(specs)) => {
                Value::Array(specs.iter().map(spec).collect())
            }
            _ => value.clone(),
        };
        (key.clone(), value)
    });
    Value::Map(members.collect())
}

#[test]
fn each_record_of_the_third_revision_is_what_conda_index_writes_in_brackets() {
    let formats = Formats {
        next: true,
        ..Formats::default()
    };
    let Some(pairs) = pairs("golden/conda-index-0.13-v3", &formats) else {
        return;
    };
    let mut records = 0;
    for pair in pairs {
        assert!(pair.ours.shards.keys().eq(pair.theirs.shards.keys()));
        let differ = [
            "generator",
            "repodata_revisions",
            "shards_base_url",
            "signing_keys",
        ];
        assert_eq!(pair.differences(), differ.into());
        let revision = |info: &Object| match &info["repodata_revisions"] {
            Json::Object(revisions) => match &revisions["v3"] {
                Json::Object(about) => about.clone(),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        };
        // No record has an `indexed_timestamp`; theirs are the builders' times.
        let (ours, theirs) = (revision(&pair.ours.info), revision(&pair.theirs.info));
        assert_eq!(ours.keys().collect::<Vec<_>>(), ["n_packages"]);
        assert_eq!(ours["n_packages"], theirs["n_packages"]);
        for (name, ours, theirs) in pair.shards() {
            let first = ["packages", "packages.conda"].map(|section| &ours[section]);
            assert!(first.into_iter().all(|section| members(section).is_empty()));
            let extensions = members(&ours["v3"]).into_keys().collect::<Vec<_>>();
            assert_eq!(extensions, ["conda", "tar.bz2"], "theirs have whl, too");
            for extension in extensions {
                let ours = members(&ours["v3"][extension]);
                let theirs = members(&theirs["v3"][extension]);
                assert!(ours.keys().eq(theirs.keys()), "{name}");
                for (stem, record) in ours {
                    assert_eq!(*record, in_brackets(theirs[stem]), "{stem}.{extension}");
                    records += 1;
                }
            }
        }
    }
    assert_eq!(records, PACKAGES);
}

#[test]
fn shards_of_every_tool_are_read_back() {
    for (golden, place) in [
        ("conda-index-0.13", ""),
        ("conda-index-0.13-v3", ""),
        ("rattler-index-0.34.5", "shards"),
    ] {
        let Some(golden) = shared(&format!("golden/{golden}")) else {
            return;
        };
        let mut packages = BTreeMap::new();
        for subdir in SUBDIRS {
            let folder = golden.join(subdir);
            let index = std::fs::read(folder.join(shards::SHARD_INDEX)).unwrap();
            let index = shards::read_index(&index).unwrap();
            for digest in index.shards.values() {
                let file: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
                let file = folder.join(place).join(file + ".msgpack.zst");
                let content = shards::read_shard(&std::fs::read(file).unwrap()).unwrap();
                let content = content.packages.into_iter();
                packages.extend(content.map(|(file, it)| (format!("{subdir}/{file}"), it)));
            }
        }
        assert_eq!(packages.len(), PACKAGES, "{}", golden.display());
        for subdir in SUBDIRS {
            let mut told = parsed(&golden.join(subdir).join("repodata.json"));
            for section in ["packages", "packages.conda"] {
                for (file, record) in take(&mut told, section) {
                    let Json::Object(mut record) = record else {
                        panic!("{file}");
                    };
                    let read = &packages[&format!("{subdir}/{file}")];
                    // rattler-index has run exports in repodata.json, too.
                    if let Some(run_exports) = record.remove("run_exports") {
                        assert_eq!(
                            read.run_exports.clone().map(Json::Object),
                            Some(run_exports)
                        );
                    }
                    assert_eq!(read.record, record, "{file}");
                }
            }
        }
    }
}

#[test]
fn run_exports_are_what_conda_index_writes() {
    let Some(golden) = shared("golden/conda-index-0.13") else {
        return;
    };
    for subdir in SUBDIRS {
        let folder = golden.join(subdir);
        let text = std::fs::read(folder.join("run_exports.json")).unwrap();
        let subdir = SubdirName::standard(subdir).unwrap();
        let mut document = Document {
            subdir: &subdir,
            listed: listed(&folder, &run_exports::read(&text).unwrap()),
            removed: Vec::new(),
            signing_keys: BTreeMap::new(),
            signatures: Object::new(),
        };
        let taken: Vec<_> = document.listed.pop().into_iter().collect();
        let ours = run_exports::render(&document, &taken, &Formats::default());
        assert_eq!(String::from_utf8(ours), String::from_utf8(text));
    }
}
