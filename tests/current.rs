//! Holds the choice of `current_repodata.json` against what conda-index 0.13 lists of 54 real packages. It must not
//! know how the file is printed.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;

use serde_json::Value;
use sigindex::channel::SubdirName;
use sigindex::details::Details;
use sigindex::json::Object;
use sigindex::package::Format;
use sigindex::repodata::{Document, Listed, Pins, current};

#[path = "support/shared.rs"]
mod shared;

const SUBDIRS: [&str; 5] = ["linux-64", "noarch", "osx-64", "win-32", "win-64"];

/// What is listed beyond conda-index's list, on purpose, and left out of it.
const MORE: [(&str, &str); 0] = [];
const LESS: [(&str, &str); 0] = [];

/// The records of an index, by subdir and file name.
fn records(file: &str) -> Option<BTreeMap<(&'static str, String), Value>> {
    let mut records = BTreeMap::new();
    for subdir in SUBDIRS {
        let path = shared::shared(&format!("golden/conda-index-0.13/{subdir}/{file}"))?;
        let index: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        for key in ["packages", "packages.conda"] {
            let packages = index[key].as_object().unwrap().iter();
            records.extend(packages.map(|(name, record)| ((subdir, name.clone()), record.clone())));
        }
    }
    Some(records)
}

#[test]
fn the_same_packages_are_current_as_for_conda_index() {
    let (Some(all), Some(golden)) = (records("repodata.json"), records("current_repodata.json"))
    else {
        return;
    };
    assert_eq!((all.len(), golden.len()), (54, 42));
    let subdirs = SUBDIRS.map(|subdir| SubdirName::standard(subdir).unwrap());
    let documents = subdirs.each_ref().map(|subdir| Document {
        subdir,
        listed: all
            .iter()
            .filter(|((of, _), _)| *of == subdir.as_str())
            .map(|((_, name), record)| Listed {
                name: name.clone(),
                format: Format::of(name).unwrap(),
                record: record.to_string(),
                details: Details::default(),
            })
            .collect(),
        removed: Vec::new(),
        signing_keys: BTreeMap::new(),
        signatures: Object::new(),
    });
    let ours = current(
        &documents.each_ref(),
        &Pins::default(),
        &AtomicBool::new(false),
    )
    .unwrap();
    assert_eq!(ours.warnings, Vec::<String>::new());
    let ours = SUBDIRS.into_iter().zip(ours.listed);
    let ours: BTreeMap<_, Value> = ours
        .flat_map(|(subdir, listed)| {
            listed
                .into_iter()
                .map(move |one| ((subdir, one.name), one.record))
        })
        .map(|(key, record)| (key, serde_json::from_str(&record).unwrap()))
        .collect();
    let keys = |one: &BTreeMap<(&'static str, String), Value>, other: &BTreeMap<_, Value>| {
        let keys = one.keys().filter(|key| !other.contains_key(*key)).cloned();
        keys.collect::<BTreeSet<_>>()
    };
    let listed = |those: &[(&'static str, &str)]| {
        let those = those
            .iter()
            .map(|(subdir, name)| (*subdir, (*name).to_owned()));
        those.collect::<BTreeSet<_>>()
    };
    assert_eq!(keys(&ours, &golden), listed(&MORE));
    assert_eq!(keys(&golden, &ours), listed(&LESS));
    for (key, mut record) in golden {
        // Where there is no twin, conda-index writes null.
        let fields = record.as_object_mut().unwrap();
        fields.retain(|key, value| key != "legacy_bz2_md5" || !value.is_null());
        assert_eq!(ours.get(&key), Some(&record), "{key:?}");
    }
}
