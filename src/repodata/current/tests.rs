//! What `current_repodata.json` lists, of small channels and of channels nobody thought of.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Choice, Current, Pins, Shelf, Versions, current, views};
use crate::channel::SubdirName;
use crate::details::Details;
use crate::error::Error;
use crate::json;
use crate::match_spec::{MAX_VERSIONS, MatchSpec};
use crate::package::Format;
use crate::repodata::{Document, Listed};
use proptest::prelude::*;
use serde_json::{Value, json};

/// A package of a file name, with more fields than that says.
fn package(file: &str, more: Value) -> Listed {
    let format = Format::of(file).unwrap();
    let mut parts = format.stem(file).rsplitn(3, '-');
    let (build, version, name) = (parts.next(), parts.next(), parts.next());
    let mut record =
        json!({"build": build, "build_number": 0, "name": name, "version": version, "md5": file});
    let more = more.as_object().unwrap().clone();
    record.as_object_mut().unwrap().extend(more);
    Listed {
        name: file.to_owned(),
        format,
        record: record.to_string(),
        details: Details::default(),
    }
}

/// A package that depends on others.
fn needs(file: &str, depends: &[&str]) -> Listed {
    package(file, json!({"depends": depends}))
}

fn run(subdirs: &[(&str, Vec<Listed>)], pins: &Pins) -> Current {
    with_documents(subdirs, |documents| {
        current(documents, pins, &AtomicBool::new(false)).unwrap()
    })
}

fn with_documents<T>(
    subdirs: &[(&str, Vec<Listed>)],
    then: impl FnOnce(&[&Document<'_>]) -> T,
) -> T {
    let names: Vec<_> = subdirs
        .iter()
        .map(|(name, _)| SubdirName::standard(name).unwrap())
        .collect();
    let documents: Vec<_> = names
        .iter()
        .zip(subdirs)
        .map(|(subdir, (_, listed))| Document {
            subdir,
            listed: listed.clone(),
            removed: Vec::new(),
            signing_keys: BTreeMap::new(),
            signatures: json::Object::new(),
        })
        .collect();
    then(&documents.iter().collect::<Vec<_>>())
}

/// The file names of each subdir, without those that are a subdir's newest anyway.
fn names(subdirs: &[(&str, Vec<Listed>)]) -> Vec<Vec<String>> {
    let listed = run(subdirs, &Pins::default()).listed.into_iter();
    listed
        .map(|listed| listed.into_iter().map(|one| one.name).collect())
        .collect()
}

#[test]
fn all_builds_of_the_newest_version() {
    let listed = [
        "a-1-0.conda",
        "a-1.9-0.conda",
        "a-1.10-0.conda",
        "a-1.10.0-1.conda",
        "b-1-0.tar.bz2",
    ];
    let listed = listed.map(|file| needs(file, &[])).to_vec();
    assert_eq!(
        names(&[("noarch", listed)]),
        [["a-1.10-0.conda", "a-1.10.0-1.conda", "b-1-0.tar.bz2"]]
    );
    assert_eq!(names(&[]), Vec::<Vec<String>>::new());
    assert_eq!(names(&[("linux-64", Vec::new())]), [Vec::<String>::new()]);
}

#[test]
fn a_twin_is_left_out_and_told_of() {
    let files = [
        "a-1-0.conda",
        "a-1-0.tar.bz2",
        "b-1-0.conda",
        "c-1-0.conda",
        "c-1-0.tar.bz2",
    ];
    let mut listed = files.map(|file| needs(file, &[])).to_vec();
    listed[4] = package("c-1-0.tar.bz2", json!({"md5": 5}));
    let current = run(&[("noarch", listed)], &Pins::default());
    let records: Vec<_> = current.listed[0]
        .iter()
        .map(|one| one.record.as_str())
        .collect();
    assert_eq!(
        records,
        [
            r#"{"build":"0","build_number":0,"depends":[],"legacy_bz2_md5":"a-1-0.tar.bz2","md5":"a-1-0.conda","name":"a","version":"1"}"#,
            r#"{"build":"0","build_number":0,"depends":[],"md5":"b-1-0.conda","name":"b","version":"1"}"#,
            r#"{"build":"0","build_number":0,"depends":[],"md5":"c-1-0.conda","name":"c","version":"1"}"#,
        ]
    );
}

#[test]
fn dependencies_are_followed_to_the_end_and_into_noarch() {
    let linux =
        ["d-1-0.conda", "d-2-0.conda", "e-1-0.conda", "e-2-0.conda"].map(|file| needs(file, &[]));
    let linux = [
        vec![needs("a-1-0.conda", &["b <2", "nothing", "d"])],
        linux.to_vec(),
    ]
    .concat();
    let noarch = vec![
        needs("b-1-0.conda", &["c =1"]),
        needs("b-1-1.conda", &[]),
        needs("b-0.9-0.conda", &[]),
        needs("b-2-0.conda", &[]),
        needs("c-1.5-0.conda", &["e 1.*"]),
        needs("c-1.4-0.conda", &[]),
        needs("c-2-0.conda", &[]),
    ];
    let windows = vec![
        needs("e-1-5.conda", &[]),
        needs("e-2-0.conda", &["b >1|<1"]),
    ];
    let subdirs = [("linux-64", linux), ("noarch", noarch), ("win-64", windows)];
    assert_eq!(
        names(&subdirs),
        [
            &["a-1-0.conda", "d-2-0.conda", "e-1-0.conda", "e-2-0.conda"][..],
            &[
                "b-1-0.conda",
                "b-1-1.conda",
                "b-2-0.conda",
                "c-1.5-0.conda",
                "c-2-0.conda"
            ],
            &["e-1-5.conda", "e-2-0.conda"],
        ]
    );
}

#[test]
fn a_platform_without_a_subdir_sees_noarch_alone() {
    let noarch = vec![
        needs("a-1-0.conda", &["b <2"]),
        needs("b-1-0.conda", &[]),
        needs("b-2-0.conda", &[]),
    ];
    let linux = vec![needs("b-1.5-0.conda", &[])];
    assert_eq!(
        names(&[("noarch", noarch), ("linux-64", linux)]),
        [
            &["a-1-0.conda", "b-1-0.conda", "b-2-0.conda"][..],
            &["b-1.5-0.conda"],
        ]
    );
}

#[test]
fn the_newest_without_features_stays() {
    for (key, value, stays) in [
        ("features", json!("mkl"), true),
        ("track_features", json!("mkl nomkl"), true),
        ("track_features", json!(["mkl"]), true),
        ("track_features", json!(""), false),
        ("track_features", json!(" , "), false),
        ("features", json!([]), false),
        ("features", json!([""]), false),
        ("features", json!({"a": 1}), false),
        ("features", json!(7), false),
        ("features", json!(null), false),
    ] {
        let listed = vec![
            package("a-3-0.conda", json!({key: value})),
            package("a-2-0.conda", json!({key: "x"})),
            package("a-1-0.conda", json!({"build_number": 0})),
            package(
                "a-1-1.conda",
                json!({"build_number": 1, "depends": ["b 1"]}),
            ),
            package("b-1-0.conda", json!({})),
            package("b-2-0.conda", json!({})),
        ];
        let expected: &[&str] = match stays {
            true => &["a-1-1.conda", "a-3-0.conda", "b-1-0.conda", "b-2-0.conda"],
            false => &["a-3-0.conda", "b-2-0.conda"],
        };
        assert_eq!(names(&[("noarch", listed)]), [expected], "{key}: {value}");
    }
}

#[test]
fn pins_keep_versions_beside_the_newest() {
    let files = [
        "a-1.2-0.conda",
        "a-1.2.5-0.conda",
        "a-1.2.5-1.conda",
        "a-1.3-0.conda",
        "a-2-0.conda",
    ];
    let listed = files.map(|file| needs(file, &[])).to_vec();
    let windows = vec![needs("a-1.2-0.conda", &[]), needs("a-3-0.conda", &[])];
    let pins = "a: ['1.2', '1.2.5', '1.4']\nA-b: [1.10]\n";
    let pins = Pins::parse("pins", pins).unwrap();
    let current = run(&[("noarch", listed), ("win-64", windows)], &pins);
    let names = |at: usize| {
        current.listed[at]
            .iter()
            .map(|one| one.name.as_str())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names(0),
        ["a-1.2.5-0.conda", "a-1.2.5-1.conda", "a-2-0.conda"]
    );
    assert_eq!(names(1), ["a-1.2-0.conda", "a-3-0.conda"]);
    assert_eq!(
        current.warnings,
        [
            "pins, line 2: 1.10 stands without quotes, and other tools read it as 1.1; write \"1.10\"",
            "pins: no package of the channel is a=1.4",
            "pins: no package of the channel is A-b=1.10",
        ]
    );
}

#[test]
fn what_is_of_another_type_counts_as_absent() {
    let listed = vec![
        package(
            "a-1-0.conda",
            json!({"version": 1, "build": [], "build_number": "x", "depends": {}, "timestamp": 1.5}),
        ),
        package(
            "b-1-0.conda",
            json!({"depends": [1, null, "c =1", ["c"], "c ((", "c*"]}),
        ),
        package("c-1-0.conda", json!({"depends": "d"})),
        package("c-2-0.conda", json!({})),
        package("d-1-0.conda", json!({"name": 7})),
        Listed {
            record: "[\"e\",\"1\"]".to_owned(),
            ..package("e-1-0.conda", json!({}))
        },
        Listed {
            record: "{".to_owned(),
            ..package("f-1-0.conda", json!({}))
        },
    ];
    assert_eq!(
        names(&[("noarch", listed)]),
        [["a-1-0.conda", "b-1-0.conda", "c-1-0.conda", "c-2-0.conda"]]
    );
}

#[test]
fn dependencies_that_name_too_many_versions_are_left_out() {
    // Each names five versions, and there is one too many at last.
    let of = |at: usize| format!("a {at}|9|9|9|9");
    let mut depends: Vec<_> = (0..MAX_VERSIONS / 5).map(of).collect();
    let versions = [0, 7, MAX_VERSIONS / 5 - 1, MAX_VERSIONS / 5, 5000];
    let mut listed: Vec<_> = versions
        .iter()
        .map(|version| needs(&format!("a-{version}-0.conda"), &[]))
        .collect();
    for (more, kept, warned) in [
        (None, &versions[..3], false),
        (Some(of(MAX_VERSIONS / 5)), &versions[..3], true),
    ] {
        depends.extend(more);
        listed.retain(|one| !one.name.starts_with("crowd"));
        let depends = json!({"depends": depends});
        listed.push(package("crowd-1-0.conda", depends));
        let current = run(&[("noarch", listed.clone())], &Pins::default());
        let names: Vec<_> = current.listed[0].iter().map(|one| &one.name).collect();
        let mut expected: Vec<_> = kept.iter().map(|it| format!("a-{it}-0.conda")).collect();
        expected.extend(["a-5000-0.conda".to_owned(), "crowd-1-0.conda".to_owned()]);
        expected.sort();
        assert_eq!(names, expected.iter().collect::<Vec<_>>());
        let says = "noarch/crowd-1-0.conda: its dependencies name more than 10000 versions";
        assert_eq!(current.warnings.len(), usize::from(warned));
        assert!(current.warnings.iter().all(|it| it.starts_with(says)));
    }
}

#[test]
fn whoever_stops_the_run_is_heeded_at_each_step() {
    let listed = vec![
        needs("a-1-0.conda", &["b <2"]),
        needs("b-1-0.conda", &[]),
        needs("b-2-0.conda", &[]),
    ];
    let cancelled = AtomicBool::new(true);
    with_documents(&[("noarch", listed)], |documents| {
        let stopped = current(documents, &Pins::default(), &cancelled);
        assert!(matches!(stopped, Err(Error::Interrupted)));
        let shelves = [Shelf::new(&documents[0].listed, &mut Versions::default())];
        let mut choice = Choice::new(&shelves, views(documents), &cancelled);
        let newest = choice.newest();
        // Before a package's dependencies are read, and before a shelf is searched for one.
        assert!(matches!(choice.missing(&newest), Err(Error::Interrupted)));
        let searched = |choice: &Choice<'_, '_>| choice.backfill("b <2", &[0]);
        assert!(matches!(searched(&choice), Err(Error::Interrupted)));
        cancelled.store(false, Ordering::Relaxed);
        assert_eq!(searched(&choice).unwrap(), [(0, 2)]);
        assert_eq!(choice.missing(&newest).unwrap().len(), 1);
    });
}

fn channels() -> impl Strategy<Value = Vec<(&'static str, Vec<Listed>)>> {
    let file = (0..4_usize, 1..5_u8, 0..2_u8, any::<bool>());
    let dependency = (
        "[a-d]",
        prop::sample::select(vec![
            "", " <3", " 1.*", "=2", " >=2,!=4", " * 1", " 3 0", " 9",
        ]),
    );
    let dependency = dependency.prop_map(|(name, which)| format!("{name}{which}"));
    let feature = prop::sample::select(vec!["", "", "", "f"]);
    let one = (file, prop::collection::vec(dependency, 0..3), feature);
    let one = one.prop_map(|((name, version, build, conda), depends, features)| {
        let (name, end) = (
            ["a", "b", "c", "d"][name],
            if conda { "conda" } else { "tar.bz2" },
        );
        let file = format!("{name}-{version}-{build}.{end}");
        package(
            &file,
            json!({"depends": depends, "features": features, "build_number": build}),
        )
    });
    let subdir = prop::collection::vec(one, 0..14).prop_map(|mut listed| {
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        listed.dedup_by(|a, b| a.name == b.name);
        listed
    });
    prop::array::uniform3(subdir).prop_map(|three| {
        ["linux-64", "noarch", "win-64"]
            .into_iter()
            .zip(three)
            .collect()
    })
}

/// Whether one of these packages meets a dependency.
fn meets(packages: &[&Listed], dependency: &str) -> bool {
    let spec = MatchSpec::parse(dependency).unwrap();
    packages.iter().any(|one| {
        let record: Value = serde_json::from_str(&one.record).unwrap();
        let field = |key: &str| record[key].as_str().unwrap().to_owned();
        let number = record["build_number"].as_i64().unwrap();
        field("name") == spec.name() && spec.matches(&field("version"), &field("build"), number)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn the_order_of_records_makes_no_difference(channel in channels(), seed in any::<u64>()) {
        let listed = run(&channel, &Pins::default()).listed;
        let mut mixed = channel.clone();
        for (at, (_, listed)) in mixed.iter_mut().enumerate() {
            let key = |one: &Listed| {
                let bytes = one.name.bytes();
                bytes.fold(seed.rotate_left(at as u32), |sum, b| (sum ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
            };
            listed.sort_by_key(key);
        }
        mixed.reverse();
        let mut again = run(&mixed, &Pins::default()).listed;
        again.reverse();
        prop_assert_eq!(listed, again);
    }

    #[test]
    fn what_the_channel_can_meet_is_met(channel in channels()) {
        let listed = run(&channel, &Pins::default()).listed;
        let is_twin = |at: usize, one: &Listed| {
            let twin = one.name.replace(".tar.bz2", ".conda");
            twin != one.name && channel[at].1.iter().any(|other| other.name == twin)
        };
        let subdirs = [SubdirName::standard("linux-64"), Some(SubdirName::noarch()), SubdirName::standard("win-64")];
        let subdirs = subdirs.map(Option::unwrap);
        let documents = subdirs.each_ref().map(|subdir| Document {
            subdir,
            listed: Vec::new(),
            removed: Vec::new(),
            signing_keys: BTreeMap::new(),
            signatures: json::Object::new(),
        });
        let views = views(&documents.each_ref());
        prop_assert_eq!(&views, &[vec![0, 1], vec![2, 1], vec![1]]);
        for view in views {
            let whole: Vec<&Listed> = view
                .iter()
                .flat_map(|at| channel[*at].1.iter().filter(|one| !is_twin(*at, one)))
                .collect();
            let kept: Vec<&Listed> = view.iter().flat_map(|at| &listed[*at]).collect();
            for one in &kept {
                let record: Value = serde_json::from_str(&one.record).unwrap();
                for dependency in record["depends"].as_array().unwrap() {
                    let dependency = dependency.as_str().unwrap();
                    prop_assert!(!meets(&whole, dependency) || meets(&kept, dependency), "{} in {}", dependency, one.name);
                }
            }
        }
    }
}
