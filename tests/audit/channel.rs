//! A channel in a folder: each kind of finding, sampling, keys, and how it is told.

use serde_json::{Value, json};

use crate::scene::builder::{Format, PackageSpec};
use crate::scene::{SUBDIR, Scene};
use crate::{audited, edit, findings, good, has, lines_of};

const REPODATA: &str = "channel/linux-64/repodata.json";

/// What is spoilt, the findings that follow: how a line begins, and what stands in it.
type Case = (
    &'static str,
    fn(&Scene),
    &'static [(&'static str, &'static str)],
);

fn record<'v>(index: &'v mut Value, name: &str) -> &'v mut Value {
    let kind = match name.ends_with(".conda") {
        true => "packages.conda",
        false => "packages",
    };
    &mut index[kind][name]
}

fn flip(scene: &Scene, path: &str) {
    let mut bytes = scene.read(path);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    scene.write(path, bytes);
}

/// The only file in a folder whose name ends so.
fn file_in(scene: &Scene, folder: &str, end: &str) -> String {
    let names = std::fs::read_dir(scene.path(folder)).unwrap();
    let mut names: Vec<String> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(end))
        .collect();
    names.sort();
    format!("{folder}/{}", names[0])
}

/// Changes what the index of shards says of itself.
fn edit_shard_info(scene: &Scene, change: fn(&mut Vec<(rmpv::Value, rmpv::Value)>)) {
    edit_shards(scene, |top| {
        let info = top.iter_mut().find(|(key, _)| key.as_str() == Some("info"));
        let rmpv::Value::Map(info) = &mut info.unwrap().1 else {
            panic!("its info is no map")
        };
        change(info);
    });
}

/// Changes the index of shards.
fn edit_shards(scene: &Scene, change: impl FnOnce(&mut Vec<(rmpv::Value, rmpv::Value)>)) {
    let path = "channel/linux-64/repodata_shards.msgpack.zst";
    let bytes = zstd::decode_all(scene.read(path).as_slice()).unwrap();
    let mut value = rmpv::decode::read_value(&mut bytes.as_slice()).unwrap();
    let rmpv::Value::Map(top) = &mut value else {
        panic!("{value}")
    };
    change(top);
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, &value).unwrap();
    scene.write(path, zstd::encode_all(bytes.as_slice(), 3).unwrap());
}

fn set(info: &mut [(rmpv::Value, rmpv::Value)], name: &str, value: rmpv::Value) {
    let member = info.iter_mut().find(|(key, _)| key.as_str() == Some(name));
    member.unwrap().1 = value;
}

const PACKAGES: &[Case] = &[
    (
        "other bytes",
        |scene| flip(scene, "channel/linux-64/a-1.0-0.conda"),
        &[("linux-64/a-1.0-0.conda: package invalid", "SHA-256")],
    ),
    (
        "more bytes",
        |scene| {
            let mut bytes = scene.read("channel/linux-64/a-1.0-0.conda");
            bytes.push(0);
            scene.write("channel/linux-64/a-1.0-0.conda", bytes);
        },
        &[("linux-64/a-1.0-0.conda: package invalid", "more bytes")],
    ),
    (
        "fewer bytes",
        |scene| scene.write("channel/linux-64/a-1.0-0.conda", "x"),
        &[("linux-64/a-1.0-0.conda: package invalid", "its size is 1")],
    ),
    (
        "another MD5",
        |scene| {
            edit(scene, REPODATA, |index| {
                record(index, "a-1.0-0.conda")["md5"] = json!("0".repeat(32));
            });
        },
        &[
            ("linux-64/a-1.0-0.conda: package invalid", "MD5"),
            ("linux-64/a-1.0-0.conda: record invalid", "its shard"),
            ("linux-64/repodata.json.zst: twin invalid", "decompress"),
            ("linux-64/repodata.json.bz2: twin invalid", "decompress"),
        ],
    ),
    (
        "no file",
        |scene| scene.remove("channel/linux-64/a-1.0-0.conda"),
        &[
            ("linux-64/a-1.0-0.conda: package error", "no such file"),
            (
                "linux-64/a-1.0-0.conda.sig: listing error",
                "without its package",
            ),
        ],
    ),
    (
        "not listed",
        |scene| {
            let spec = PackageSpec::new("new", "1.0", "0");
            let new = format!("channel/{}", scene.put(&spec, Format::Conda));
            scene.run(&["sign", &new]).exits(0);
        },
        &[(
            "linux-64/new-1.0-0.conda: listing error",
            "no index lists it",
        )],
    ),
    (
        "not listed and not signed",
        |scene| drop(scene.put(&PackageSpec::new("new", "1.0", "0"), Format::Conda)),
        &[
            (
                "linux-64/new-1.0-0.conda: listing error",
                "no index lists it",
            ),
            ("linux-64/new-1.0-0.conda: signature error", "no signature"),
        ],
    ),
    (
        "served elsewhere",
        |scene| {
            edit(scene, REPODATA, |index| {
                index["info"]["base_url"] = json!("https://packages.example/linux-64/");
            });
            scene.remove("channel/linux-64/a-1.0-0.conda");
        },
        &[(
            "linux-64: package error",
            "served at https://packages.example",
        )],
    ),
];

const SIGNATURES: &[Case] = &[
    (
        "no signature",
        |scene| scene.remove("channel/linux-64/a-1.0-0.conda.sig"),
        &[("linux-64/a-1.0-0.conda: signature error", "no signature")],
    ),
    (
        "another package's signature",
        |scene| {
            let other = scene.read("channel/linux-64/b-1.0-0.tar.bz2.sig");
            scene.write("channel/linux-64/a-1.0-0.conda.sig", other);
        },
        &[("linux-64/a-1.0-0.conda: signature invalid", "does not fit")],
    ),
    (
        "no signature at all in the file",
        |scene| scene.write("channel/linux-64/a-1.0-0.conda.sig", "one two three\n"),
        &[("linux-64/a-1.0-0.conda: signature error", "words")],
    ),
    (
        "unknown key",
        |scene| scene.take_key("fixture"),
        &[(
            "linux-64/a-1.0-0.conda: signature error",
            "unknown key fixture",
        )],
    ),
    (
        "another package's signature in the record",
        |scene| {
            edit(scene, REPODATA, |index| {
                let other = record(index, "b-1.0-0.tar.bz2")["signature"].clone();
                record(index, "a-1.0-0.conda")["signature"] = other;
            });
        },
        &[(
            "linux-64/a-1.0-0.conda: signature invalid",
            "in its record is not valid",
        )],
    ),
    (
        "no signature at all in the record",
        |scene| {
            edit(scene, REPODATA, |index| {
                record(index, "a-1.0-0.conda")["signature"]["scheme"] = json!("none");
            });
        },
        &[("linux-64/a-1.0-0.conda: record error", "scheme")],
    ),
    (
        "another key in the record",
        |scene| {
            edit(scene, REPODATA, |index| {
                record(index, "a-1.0-0.conda")["signature"]["fingerprint"] = json!("0".repeat(64));
            });
        },
        &[(
            "linux-64/a-1.0-0.conda: record invalid",
            "another key as fixture",
        )],
    ),
];

/// Puts bytes behind a file's end.
fn append(scene: &Scene, path: &str, more: &[u8]) {
    let bytes = [&scene.read(path), more].concat();
    scene.write(path, bytes);
}

const INDEX: &[Case] = &[
    (
        "wheels, which some clients read",
        |scene| {
            edit(scene, REPODATA, |index| {
                index["packages.whl"] = json!({"a-1-py3-none-any.whl": {"url": "https://evil"}});
            });
        },
        &[("linux-64/repodata.json: index error", "it lists wheels")],
    ),
    (
        "a twin of another index",
        |scene| {
            let other = scene.read("channel/noarch/repodata.json.zst");
            scene.write("channel/linux-64/repodata.json.zst", other);
        },
        &[("linux-64/repodata.json.zst: twin invalid", "decompress")],
    ),
    (
        "a frame behind a twin's, which readers skip",
        |scene| {
            let more = b"\x50\x2a\x4d\x18\x04\0\0\0more";
            append(scene, "channel/linux-64/repodata.json.zst", more);
        },
        &[("linux-64/repodata.json.zst: twin invalid", "more than that")],
    ),
    (
        "an empty frame behind a twin's",
        |scene| {
            // A header without a size, and a last block of nothing (RFC 8878, 3.1.1).
            let empty = b"\x28\xb5\x2f\xfd\x00\x00\x01\0\0";
            append(scene, "channel/linux-64/repodata.json.zst", empty);
        },
        &[("linux-64/repodata.json.zst: twin invalid", "more than that")],
    ),
    (
        "what is no stream behind a twin's",
        |scene| append(scene, "channel/linux-64/repodata.json.bz2", b"more"),
        &[("linux-64/repodata.json.bz2: twin invalid", "more than that")],
    ),
    (
        "a twin alone",
        |scene| scene.remove("channel/linux-64/run_exports.json"),
        &[("linux-64/run_exports.json.zst: twin error", "there is no")],
    ),
    (
        "a changed shard",
        |scene| flip(scene, &file_in(scene, "channel/linux-64/shards", ".zst")),
        &[("linux-64/shards/", "shard invalid")],
    ),
    (
        "a missing shard",
        |scene| scene.remove(&file_in(scene, "channel/linux-64/shards", ".zst")),
        &[
            ("linux-64/shards/", "shard error"),
            ("linux-64/", "no shard of"),
        ],
    ),
    (
        "no index of shards",
        |scene| scene.write("channel/linux-64/repodata_shards.msgpack.zst", "junk"),
        &[(
            "linux-64/repodata_shards.msgpack.zst: shard error",
            "cut off",
        )],
    ),
    (
        "the index of shards of another subdir",
        |scene| {
            let other = scene.read("channel/noarch/repodata_shards.msgpack.zst");
            scene.write("channel/linux-64/repodata_shards.msgpack.zst", other);
        },
        &[("linux-64/a-1.0-0.conda: record invalid", "no shard of")],
    ),
    (
        "shards that lead elsewhere",
        |scene| {
            edit_shard_info(scene, |info| {
                set(info, "base_url", "https://evil.example/linux-64/".into());
            });
        },
        &[(
            "linux-64/repodata_shards.msgpack.zst: record invalid",
            "its base_url is another than that of repodata.json",
        )],
    ),
    (
        "shards that say they are another subdir's",
        |scene| edit_shard_info(scene, |info| set(info, "subdir", "win-64".into())),
        &[(
            "linux-64/repodata_shards.msgpack.zst: record invalid",
            "the index of win-64",
        )],
    ),
    (
        "shards that name other keys",
        |scene| {
            edit_shard_info(scene, |info| {
                set(info, "signing_keys", rmpv::Value::Map(Vec::new()));
            });
        },
        &[(
            "linux-64/repodata_shards.msgpack.zst: record invalid",
            "its signing_keys is another",
        )],
    ),
    (
        "shards whose base_url no client can read",
        |scene| edit_shard_info(scene, |info| set(info, "base_url", 7.into())),
        &[(
            "linux-64/repodata_shards.msgpack.zst: shard error",
            "its base_url is no text",
        )],
    ),
    (
        "an index before patches that leads elsewhere",
        |scene| {
            let path = "channel/linux-64/repodata_from_packages.json";
            scene.write(path, scene.read(REPODATA));
            edit(scene, path, |index| {
                index["info"]["channel_relations"] = json!({"base": "../evil"});
            });
        },
        &[(
            "linux-64/repodata_from_packages.json: record invalid",
            "its channel_relations is another",
        )],
    ),
    (
        "an index whose words of itself no client can read",
        |scene| {
            edit(scene, REPODATA, |index| {
                index["info"] = json!({"subdir": 5, "base_url": "https://evil.example/"});
            });
        },
        &[(
            "linux-64/repodata.json: index error",
            "its subdir is no text",
        )],
    ),
    (
        "changed depends",
        |scene| {
            edit(scene, REPODATA, |index| {
                record(index, "a-1.0-0.conda")["depends"] = json!(["evil"]);
            });
        },
        &[(
            "linux-64/a-1.0-0.conda: record invalid",
            "say different things",
        )],
    ),
    (
        "run exports of what is not listed",
        |scene| {
            edit(scene, "channel/linux-64/run_exports.json", |index| {
                index["packages"]["x-1-0.tar.bz2"] = json!({"run_exports": {}});
            });
        },
        &[("linux-64/x-1-0.tar.bz2: record invalid", "run_exports.json")],
    ),
    (
        "a current index with another package",
        |scene| {
            edit(scene, "channel/linux-64/current_repodata.json", |index| {
                let sha256 = json!("0".repeat(64));
                index["packages"]["x-1-0.tar.bz2"] = json!({"name": "x", "sha256": sha256});
            });
        },
        &[(
            "linux-64/x-1-0.tar.bz2: record invalid",
            "current_repodata.json",
        )],
    ),
    (
        "an index before patches that lacks one, and has another",
        |scene| {
            let mut before = scene.json(REPODATA);
            before["packages.conda"]["y-1-0.conda"] =
                before["packages.conda"]["a-1.0-0.conda"].take();
            before["packages.conda"]
                .as_object_mut()
                .unwrap()
                .remove("a-1.0-0.conda");
            let path = "channel/linux-64/repodata_from_packages.json";
            scene.write(path, before.to_string());
        },
        &[
            (
                "linux-64/a-1.0-0.conda: record invalid",
                "repodata_from_packages.json does not",
            ),
            (
                "linux-64/y-1-0.conda: record invalid",
                "nor names it as removed",
            ),
        ],
    ),
    (
        "the index of another subdir",
        |scene| {
            let other = scene.read("channel/noarch/repodata.json");
            scene.write(REPODATA, other);
        },
        &[
            (
                "linux-64/repodata.json: record invalid",
                "the index of noarch",
            ),
            ("linux-64/a-1.0-0.conda: record invalid", "a shard lists it"),
        ],
    ),
    (
        "an index that is none",
        |scene| scene.write(REPODATA, "[]"),
        &[("linux-64/repodata.json: index error", "not a JSON object")],
    ),
    (
        "an index of another indexer",
        |scene| scene.write("channel/linux-64/repodata.jlap", "x"),
        &[(
            "linux-64/repodata.jlap: index error",
            "some clients read it",
        )],
    ),
    (
        "no index",
        |scene| {
            for name in ["repodata.json", "repodata_shards.msgpack.zst"] {
                scene.remove(&format!("channel/linux-64/{name}"));
            }
        },
        &[("linux-64: index error", "no index")],
    ),
    (
        "records that can't be checked",
        |scene| {
            edit(scene, REPODATA, |index| {
                let a = record(index, "a-1.0-0.conda").clone();
                index["packages.conda"]["../a-1.0-0.conda"] = a;
                record(index, "a-1.0-0.conda")["sha256"] = json!(7);
            });
        },
        &[
            ("linux-64/a-1.0-0.conda: record error", "without a SHA-256"),
            (
                "linux-64/../a-1.0-0.conda: record error",
                "not that of a package",
            ),
        ],
    ),
];

#[test]
fn whatever_is_published_is_valid() {
    for flags in [
        &[][..],
        &["--all", "--repodata-next"],
        &["--signatures", "detached"],
        &["--no-compact"],
        &["--no-write-shards", "--no-zst", "--no-html"],
    ] {
        let scene = Scene::of_three();
        let needs = PackageSpec::new("needs", "1.0", "0").depends(["a >=1", "b 1.0.*|2"]);
        scene.put(&needs, Format::Conda);
        // Patches change one record, and take another away.
        let patches = json!({
            "patch_instructions_version": 1,
            "packages": {},
            "packages.conda": {"needs-1.0-0.conda": {"depends": ["a", "c"]}},
            "revoke": [],
            "remove": ["c-1.0-0.conda"],
        });
        scene.write(
            "channel/linux-64/patch_instructions.json",
            patches.to_string(),
        );
        scene.index(flags).exits(0);
        let report = audited(&scene, 0, &["channel"]);
        assert_eq!(findings(&report), [""; 0], "{flags:?}");
        assert_eq!(report["channels"][0]["packages_read"], 4);
    }
}

#[track_caller]
fn hold(cases: &[Case]) {
    let (scene, _) = good();
    let report = audited(&scene, 0, &["channel"]);
    assert_eq!(findings(&report), [""; 0], "a good channel");
    let saved = scene.path("saved");
    crate::scene::copy_tree(&scene.path("channel"), &saved);
    for (what, spoil, expected) in cases {
        scene.remove("channel");
        crate::scene::copy_tree(&saved, &scene.path("channel"));
        scene.give_key("fixture");
        spoil(&scene);
        let report = audited(&scene, 1, &["channel"]);
        let found = findings(&report);
        for (begins, part) in *expected {
            eprintln!("{what}");
            has(&found, begins, part);
        }
        let table = scene.run(&["verify", "channel"]).exits(1);
        table.says("channel: NOT VALID (");
    }
}

#[test]
fn packages_are_what_the_index_says() {
    hold(PACKAGES);
}

#[test]
fn signatures_hold_and_are_those_of_the_records() {
    hold(SIGNATURES);
}

#[test]
fn index_files_agree() {
    hold(INDEX);
}

#[test]
fn a_sample_can_be_repeated_and_leaves_no_index_file_out() {
    let scene = Scene::new();
    for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        scene.package(name);
        let spec = PackageSpec::new(name, "2.0", "0").subdir("noarch");
        scene.put(&spec.folder("noarch"), Format::Conda);
    }
    scene.index(&[]).exits(0);
    let words = ["-v", "channel", "--sample", "5", "--seed", "7"];
    let report = audited(&scene, 0, &words);
    let audit = &report["channels"][0];
    assert_eq!(audit["packages"], 16);
    assert_eq!(audit["packages_read"], 5);
    assert_eq!(audit["sample"], json!({"size": 5, "seed": 7}));
    assert_eq!(audit["counts"]["package"]["valid"], 5);
    assert_eq!(report, audited(&scene, 0, &words));
    // Each seed chooses otherwise; some of these take from both subdirs.
    let mut subdirs = std::collections::BTreeSet::new();
    for seed in ["1", "2", "3", "4"] {
        let report = audited(
            &scene,
            0,
            &["-v", "channel", "--sample", "5", "--seed", seed],
        );
        let found = findings(&report);
        let read = found.iter().filter(|line| line.contains(": package valid"));
        subdirs.extend(read.map(|line| line.split('/').next().unwrap().to_owned()));
    }
    assert_eq!(subdirs.len(), 2);
    // Without a seed it is said which was taken.
    let run = scene.run(&["verify", "channel", "--sample", "2"]).exits(0);
    run.says("sample: 2 of 16 packages; again with --seed ");
    let all = audited(&scene, 0, &["channel", "--sample", "100"]);
    assert_eq!(all["channels"][0]["packages_read"], 16);
    scene.run(&["verify", "channel", "--seed", "1"]).exits(2);
    scene.write("channel/noarch/repodata.json.zst", "junk");
    let report = audited(&scene, 1, &["channel", "--sample", "0"]);
    has(
        &findings(&report),
        "noarch/repodata.json.zst: twin invalid",
        "",
    );
}

#[test]
fn keys_are_those_that_were_chosen_for_the_channel() {
    let (scene, a) = good();
    scene.give_public_key("other");
    scene
        .run(&["verify", "channel", "--trust", "fixture"])
        .exits(0);
    let report = audited(&scene, 1, &["channel", "--trust", "other"]);
    let begins = format!("{a}: signature error");
    has(
        &findings(&report),
        &begins,
        "not among the keys trusted for this channel",
    );
    let run = scene
        .run(&["verify", "channel", "--trust", "nobody"])
        .exits(2);
    run.says("--trust nobody").says("nobody.pub");
    let report = audited(&scene, 1, &["channel", "--min-bits", "4096"]);
    has(&findings(&report), &begins, "weak key");
    // Pins do the same.
    scene
        .run(&["keys", "trust", "other", "--channel", "channel"])
        .exits(0);
    let report = audited(&scene, 1, &["channel"]);
    has(&findings(&report), &begins, "not among the keys trusted");
    scene
        .run(&["keys", "trust", "fixture", "--channel", "channel"])
        .exits(0);
    // The one that vouches for nothing may be that of a signed index which was taken away.
    let report = audited(&scene, 1, &["channel"]);
    has(
        &findings(&report),
        "tuf: chain error",
        "other is trusted for it",
    );
    // Nor is it excused where only a part is looked at.
    for part in [&["--sample", "1"], &["--subdir", "linux-64"]] {
        let found = findings(&audited(&scene, 1, &[&["channel"], &part[..]].concat()));
        has(&found, "tuf: chain error", "vouches for nothing in it");
    }
    scene
        .run(&["keys", "trust", "other", "--channel", "channel", "--remove"])
        .exits(0);
    for part in [&[][..], &["--sample", "0"], &["--subdir", "linux-64"]] {
        audited(&scene, 0, &[&["channel"], part].concat());
    }
}

#[test]
fn a_key_vouches_also_for_what_a_part_leaves_out() {
    for flags in [&[][..], &["--signatures", "detached"]] {
        let (scene, _) = good();
        scene.run(&["keygen", "second"]).exits(0);
        let late = PackageSpec::new("late", "1.0", "0").subdir("noarch");
        scene.put(&late, Format::Conda);
        let signed = scene.index(&[&["--key", "second"], flags].concat());
        signed.exits(0).counts("signed", 1);
        let trust = ["channel", "--trust", "fixture,second"];
        for part in [
            &[][..],
            &["--subdir", "noarch"],
            &["--subdir", "linux-64"],
            &["--sample", "0"],
            &["--sample", "1", "--seed", "1"],
        ] {
            audited(&scene, 0, &[&trust[..], part].concat());
        }
    }
}

#[test]
fn a_signed_index_that_was_taken_away_is_missed_where_nothing_is_listed() {
    let (scene, _) = good();
    scene.give_public_key("other");
    scene.remove("channel/noarch");
    // What clients read first, and nothing beside it.
    for file in ["repodata.json.zst", "current_repodata.json"] {
        scene.remove("channel/linux-64");
        scene.write(&format!("channel/linux-64/{file}"), "theirs");
        for words in [&["channel"][..], &["channel", "--trust", "other"]] {
            let found = findings(&audited(&scene, 1, words));
            has(&found, "linux-64: index error", "no index");
        }
    }
    scene.remove("channel/linux-64");
    scene.write("channel/noarch/repodata.json", "{}");
    let found = findings(&audited(&scene, 1, &["channel", "--trust", "other"]));
    has(&found, "tuf: chain error", "other is trusted for it");
    // Nor is a folder without any index passed over then, or a file.
    scene.remove("channel/noarch");
    let found = findings(&audited(&scene, 1, &["channel", "--trust", "other"]));
    has(&found, "tuf: chain error", "other is trusted for it");
    scene.write("file", "x");
    let run = scene.run(&["verify", "file", "--trust", "other"]).exits(2);
    run.says("file is none");
}

#[test]
fn a_key_that_is_known_to_sign_an_index_signs_no_package() {
    let (scene, a) = good();
    let fingerprint = scene.record(&a)["signature"]["fingerprint"].clone();
    let uses = json!({"version": 1, "keys": [{"fingerprint": fingerprint, "uses": ["index"]}]});
    scene.write("home/.conda/keys/.sigindex-uses.json", uses.to_string());
    scene.set_mode("home/.conda/keys/.sigindex-uses.json", 0o600);
    let report = audited(&scene, 1, &["channel"]);
    has(
        &findings(&report),
        &format!("{a}: signature invalid"),
        "signs the index",
    );
}

#[test]
fn a_channel_of_shards_alone_is_audited_as_well() {
    let scene = Scene::of_three();
    scene.index(&["--no-write-monolithic"]).exits(0);
    assert!(!scene.exists(REPODATA));
    let report = audited(&scene, 0, &["channel"]);
    assert_eq!(report["channels"][0]["counts"]["package"]["valid"], 3);
    scene.change("linux-64/a-1.0-0.conda");
    let report = audited(&scene, 1, &["channel"]);
    has(
        &findings(&report),
        "linux-64/a-1.0-0.conda: package invalid",
        "",
    );
}

#[test]
fn no_shard_is_that_of_two_names() {
    let scene = Scene::of_three();
    scene.index(&["--no-write-monolithic"]).exits(0);
    edit_shards(&scene, |top| {
        let shards = top
            .iter_mut()
            .find(|(key, _)| key.as_str() == Some("shards"));
        let rmpv::Value::Map(shards) = &mut shards.unwrap().1 else {
            panic!("its shards are no map")
        };
        let digest = shards[0].1.clone();
        shards.push(("z".into(), digest));
    });
    let found = findings(&audited(&scene, 1, &["channel"]));
    has(
        &found,
        "linux-64/repodata_shards.msgpack.zst: shard invalid",
        "shard of z",
    );
}

#[test]
fn shards_alone_that_are_served_elsewhere_are_not_taken_for_those_beside_them() {
    let scene = Scene::of_three();
    scene.index(&["--no-write-monolithic"]).exits(0);
    edit_shard_info(&scene, |info| {
        set(info, "base_url", "https://evil.example/linux-64/".into());
    });
    scene.remove("channel/linux-64/a-1.0-0.conda");
    let report = audited(&scene, 1, &["channel"]);
    has(
        &findings(&report),
        "linux-64: package error",
        "served at https://evil.example",
    );
}

#[test]
fn the_name_of_a_channel_begins_no_line() {
    let (scene, _) = good();
    let name = "channel\nother: valid";
    crate::scene::copy_tree(&scene.path("channel"), &scene.path(name));
    let run = scene.run(&["verify", name]).exits(0);
    assert!(lines_of(&run)[0].starts_with("channel\\nother: valid: valid"));
}

#[test]
fn some_subdirs_can_be_asked_for() {
    let (scene, _) = good();
    scene.write("channel/linux-64/repodata.json.zst", "junk");
    let report = audited(&scene, 0, &["channel", "--subdir", "noarch"]);
    assert_eq!(report["channels"][0]["subdirs"], json!(["noarch"]));
    audited(&scene, 1, &["channel", "--subdir", SUBDIR]);
    scene.run(&["verify", "channel", "--subdir", ".."]).exits(2);
}

#[test]
fn it_is_told_in_lines_and_only_as_much_as_is_asked_for() {
    let (scene, a) = good();
    let run = scene.run(&["verify", "channel"]).exits(0);
    assert!(lines_of(&run)[0].starts_with("channel: valid (linux-64, noarch)"));
    run.never_says(" VALID")
        .says("note: the index is not signed");
    let run = scene.run(&["verify", "-v", "channel", &format!("channel/{a}")]);
    let line = format!("{:<40} VALID", format!("channel/{a}"));
    assert_eq!(lines_of(&run.exits(0))[0], line, "a file as ever");
    let run = scene.run(&["verify", "-v", "channel"]).exits(0);
    let valid =
        |line: &&str| line.starts_with(&format!("channel/{a} ")) && line.ends_with(" VALID");
    assert_eq!(lines_of(&run).into_iter().filter(valid).count(), 1);
    assert_eq!(scene.run(&["verify", "-q", "channel"]).exits(0).stdout, "");
    flip(&scene, &format!("channel/{a}"));
    let run = scene.run(&["verify", "-q", "channel"]).exits(1);
    let line = lines_of(&run)[0];
    assert!(line.starts_with(&format!("channel/{a} ")), "{line}");
    assert!(
        line.contains(" package   INVALID: its SHA-256 is "),
        "{line}"
    );
    assert_eq!(lines_of(&run).len(), 1);
    // Anything else than a channel is judged by its signatures alone.
    let run = scene.run(&["verify", "channel/linux-64"]).exits(1);
    run.says(" INVALID").never_says("NOT VALID");
}

#[test]
fn no_name_and_no_text_brings_a_line_break_or_an_escape() {
    let (scene, _) = good();
    edit(&scene, REPODATA, |index| {
        index["packages"]["evil\n\u{1b}[2J VALID-1-0.tar.bz2"] = json!({});
        index["info"]["subdir"] = json!("x\nVALID \u{1b}[2J");
    });
    let run = scene.run(&["verify", "channel"]).exits(1);
    assert!(!run.stdout.contains('\u{1b}'));
    assert!(!run.stdout.lines().any(|line| line.starts_with("VALID")));
    edit(&scene, REPODATA, |index| {
        index["packages"]["\u{202e}\u{7f}-1-0.tar.bz2"] = json!({});
    });
    let report = audited(&scene, 1, &["channel"]);
    has(
        &findings(&report),
        "linux-64/\u{202e}\u{7f}-1-0.tar.bz2: record error",
        "not that of a package",
    );
}
