//! Holds what is gathered of a channel's records against the `channeldata.json` that conda-index 0.13 wrote for
//! the same packages. It must not know what the packages' own files say: that is the index run's to bring in.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use std::collections::BTreeMap;

use serde_json::Value;
use sigindex::channel::SubdirName;
use sigindex::details::Details;
use sigindex::json::Object;
use sigindex::package::Format;
use sigindex::repodata::{Document, Formats, Listed, gather, rss};

#[path = "support/shared.rs"]
mod shared;

use shared::shared;

const SUBDIRS: [&str; 5] = ["linux-64", "noarch", "osx-64", "win-32", "win-64"];

/// Names whose newest package is not the one that was built last: conda-index takes the time of any one.
const BUILT_LATER: [&str; 6] = [
    "another_dependent",
    "conda-index-pkg-a",
    "dependency",
    "dependent",
    "dummy-package",
    "feature",
];

fn listed(repodata: &Value) -> Vec<Listed> {
    let records = ["packages", "packages.conda"].map(|key| repodata[key].as_object().unwrap());
    let records = records.into_iter().flatten();
    let listed = records.map(|(file, record)| Listed {
        name: file.clone(),
        format: Format::of(file).unwrap(),
        record: record.to_string(),
        details: Details::default(),
    });
    listed.collect()
}

#[test]
fn records_alone_tell_what_conda_index_tells() {
    let Some(golden) = shared("golden/conda-index-0.13") else {
        return;
    };
    let read = |path: &str| -> Value {
        serde_json::from_slice(&std::fs::read(golden.join(path)).unwrap()).unwrap()
    };
    let subdirs = SUBDIRS.map(|subdir| SubdirName::standard(subdir).unwrap());
    let documents = subdirs.each_ref().map(|subdir| Document {
        subdir,
        listed: listed(&read(&subdir.path_of("repodata.json"))),
        removed: Vec::new(),
        signing_keys: BTreeMap::new(),
        signatures: Object::new(),
    });
    let data = gather(&documents.iter().collect::<Vec<_>>());
    let ours: Value = serde_json::from_slice(&data.render(&Formats::default())).unwrap();
    let theirs = read("channeldata.json");

    assert_eq!(ours["channeldata_version"], theirs["channeldata_version"]);
    assert_eq!(ours["subdirs"], theirs["subdirs"]);
    let (ours, theirs) = [ours, theirs]
        .map(|data| data["packages"].as_object().unwrap().clone())
        .into();
    assert!(ours.keys().eq(theirs.keys()));
    for (name, theirs) in &theirs {
        let ours = &ours[name];
        for key in ["version", "subdirs"] {
            assert_eq!(ours[key], theirs[key], "{key} of {name}");
        }
        let [our_time, their_time] = [ours, theirs].map(|it| it["timestamp"].as_i64().unwrap());
        if BUILT_LATER.contains(&name.as_str()) {
            assert!(our_time > their_time, "{name}");
        } else {
            assert_eq!(our_time, their_time, "{name}");
        }
        let keys = |it: &Value| it.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        for key in keys(ours) {
            assert!(keys(theirs).contains(&key), "{key} of {name}");
        }
        if let Some(license) = ours.get("license") {
            assert_eq!(license, &theirs["license"], "{name}");
        }
    }
    let feed = String::from_utf8(rss::render(&data, &Formats::default()).unwrap()).unwrap();
    assert_eq!(feed.matches("<item>").count(), theirs.len());
    assert!(feed.contains("<lastBuildDate>Tue, 28 Jul 2026 22:11:57 GMT</lastBuildDate>"));
}
