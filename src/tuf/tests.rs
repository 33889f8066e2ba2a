//! The chain as a whole: what is made is loaded again, and what an attacker changes is not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![allow(clippy::panic)]

use std::sync::Arc;

use serde_json::Value;

use super::samples::*;
use super::*;
use crate::upstream::{Upstream, UpstreamFault};

fn pinned(channel: &Arc<Channel>, pins: &[usize]) -> Result<Generation, TufError> {
    let pins: Vec<_> = pins.iter().map(|n| print(*n)).collect();
    load(loading(channel, Anchor::Pinned(&pins)))
}

/// The same, with a memory.
fn remembered(
    channel: &Arc<Channel>,
    memory: &std::path::Path,
    pins: &[usize],
) -> Result<Generation, TufError> {
    let pins: Vec<_> = pins.iter().map(|n| print(*n)).collect();
    load(Loading {
        memory: Some(memory),
        ..loading(channel, Anchor::Pinned(&pins))
    })
}

/// Changes a file of JSON.
fn edit(channel: &Channel, path: &str, change: impl Fn(&mut Value)) {
    let mut value = serde_json::from_slice(&channel.get(path)).unwrap();
    change(&mut value);
    channel.put(path, serde_json::to_vec(&value).unwrap());
}

#[test]
fn what_is_made_is_loaded() {
    let (channel, root, made) = published();
    let found = pinned(&channel, &[0]).unwrap();
    assert_eq!(found.targets, made.generation.targets);
    assert_eq!(found.versions, Role::ALL.map(|role| (role, 1)).into());
    assert_eq!(found.root.bytes(), root.bytes());
    let made = next(&channel, &root, Some(&found), "two");
    let found = load(loading(&channel, Anchor::Known(root))).unwrap();
    assert_eq!(found.targets, made.generation.targets);
    assert_eq!(found.versions[&Role::Timestamp], 2);
    assert_eq!(found.versions[&Role::Root], 1);
    for (name, wanted) in &found.targets {
        let bytes = target(channel.as_ref(), name, wanted).unwrap();
        assert_eq!(bytes, format!("{name}: two").as_bytes());
    }
    assert!(due(&found, &found.root.lifetimes(), now()).is_empty());
}

#[test]
fn tough_reads_the_channel_whole() {
    use tough::IntoVec as _;
    let (channel, root, made) = published();
    let (metadata, targets) = ChannelTransport::bases().unwrap();
    let transport = ChannelTransport::new(Arc::clone(&channel) as Arc<dyn Upstream>);
    runtime::run(async {
        let bytes = root.bytes();
        let loader = tough::RepositoryLoader::new(&bytes, metadata, targets);
        let repository = loader.transport(transport).load().await.unwrap();
        for name in made.generation.targets.keys() {
            let name = tough::TargetName::new(name.as_str()).unwrap();
            let stream = repository.read_target(&name).await.unwrap().unwrap();
            let bytes = stream.into_vec().await.unwrap();
            assert_eq!(bytes, format!("{}: one", name.raw()).as_bytes());
        }
    })
    .unwrap();
}

#[test]
fn only_a_pinned_key_begins_a_chain() {
    let (channel, _, _) = published();
    let error = pinned(&channel, &[2]).unwrap_err();
    assert!(
        matches!(error, TufError::NoAnchor { roots: 1, .. }),
        "{error}"
    );
    // The index key is in the root, and is no root key.
    assert!(pinned(&channel, &[1]).is_err());
    assert!(pinned(&channel, &[]).is_err());
    assert!(pinned(&channel, &[2, 0]).is_ok());
    let error = pinned(&Channel::new(), &[0]).unwrap_err();
    assert!(matches!(error, TufError::Absent { .. }), "{error}");
}

#[test]
fn roots_are_rotated_and_old_pins_stay_good() {
    let (channel, first, _) = published();
    // Keys 2 and 3 take over from key 0, which signs a last time.
    let second = root(&plan(2, &[2, 3], 2, &[1]), &[0, 2, 3]);
    assert!(second.follows(&first));
    channel.put_root(&second);
    let third = root(&plan(3, &[2, 3], 2, &[1]), &[2, 3]);
    assert!(third.follows(&second) && !third.follows(&first));
    channel.put_root(&third);
    for pins in [&[0][..], &[2], &[3]] {
        let found = pinned(&channel, pins).unwrap();
        assert_eq!(found.root.bytes(), third.bytes(), "{pins:?}");
    }
    assert_eq!(
        load(loading(&channel, Anchor::Known(first)))
            .unwrap()
            .root
            .version(),
        3
    );
    // A root of its own that skips a version, or is not signed by those before it.
    for (signers, version) in [(&[4][..], 4), (&[2, 4], 4)] {
        channel.put_root(&root(&plan(version, &[4], 1, &[1]), signers));
        let error = pinned(&channel, &[0]).unwrap_err();
        assert!(matches!(error, TufError::Untrusted { .. }), "{error}");
    }
}

#[test]
fn a_threshold_counts_keys_not_signatures() {
    let both = plan(1, &[0, 2], 2, &[1]);
    let one = root(&both, &[0]);
    assert_eq!(one.missing(&one), 1);
    assert!(!one.meets_itself());
    let channel = Channel::new();
    channel.put_root(&one);
    assert!(matches!(
        pinned(&channel, &[0]),
        Err(TufError::NoAnchor { .. })
    ));
    // The same signature twice.
    edit(&channel, "tuf/1.root.json", |root| {
        let twice = root["signatures"][0].clone();
        root["signatures"].as_array_mut().unwrap().push(twice);
    });
    assert!(matches!(
        pinned(&channel, &[0]),
        Err(TufError::NoAnchor { .. })
    ));
    let whole = one.merge(&root(&both, &[2])).unwrap();
    assert!(whole.meets_itself());
    assert_eq!(whole.signed_by(&whole.keys(Role::Root)).len(), 2);
    let other = root(&plan(1, &[0, 2], 1, &[1]), &[2]);
    assert!(one.merge(&other).is_err());
}

#[test]
fn older_metadata_is_refused() {
    let (channel, root, made) = published();
    let (memory, pins) = (tempfile::tempdir().unwrap(), [print(0)]);
    let remembering = || Loading {
        memory: Some(memory.path()),
        ..loading(&channel, Anchor::Pinned(&pins))
    };
    let old = channel.all();
    next(&channel, &root, Some(&made.generation), "two");
    assert_eq!(load(remembering()).unwrap().versions[&Role::Targets], 2);
    channel.set_all(old.clone());
    let error = load(remembering()).unwrap_err();
    assert!(matches!(error, TufError::Rollback { .. }), "{error}");
    // The same under a fresh timestamp.
    let targets = made.generation.targets.clone();
    let fresh = make(&root, None, &targets, &root.lifetimes(), key(1), now()).unwrap();
    channel.publish(&fresh);
    assert!(matches!(
        load(remembering()),
        Err(TufError::Rollback { .. })
    ));
    // A root that was seen stays known, though the channel hides it.
    let second = samples::root(&plan(2, &[0], 1, &[2]), &[0]);
    channel.put_root(&second);
    assert!(load(remembering()).is_err());
    channel.files.lock().unwrap().remove("tuf/2.root.json");
    next(&channel, &root, Some(&made.generation), "two");
    let error = load(remembering()).unwrap_err();
    assert!(matches!(error, TufError::Untrusted { .. }), "{error}");
}

#[test]
fn damaged_memory_fails_closed() {
    let (channel, ..) = published();
    let (memory, pins) = (tempfile::tempdir().unwrap(), [print(0)]);
    let remembering = || Loading {
        memory: Some(memory.path()),
        ..loading(&channel, Anchor::Pinned(&pins))
    };
    load(remembering()).unwrap();
    load(remembering()).unwrap();
    for file in ["root.json", "timestamp.json", "snapshot.json"] {
        let path = memory.path().join(file);
        let good = std::fs::read(&path).unwrap();
        std::fs::write(&path, &good[..good.len() / 2]).unwrap();
        let error = load(remembering()).unwrap_err();
        assert!(matches!(error, TufError::Memory { .. }), "{file}: {error}");
        std::fs::write(&path, good).unwrap();
    }
    std::fs::create_dir(memory.path().join(".load-killed")).unwrap();
    load(remembering()).unwrap();
    let left: Vec<_> = std::fs::read_dir(memory.path()).unwrap().collect();
    assert_eq!(left.len(), 7, "{left:?}");
    // Other pins begin anew.
    let other = [print(4)];
    let error = load(Loading {
        anchor: Anchor::Pinned(&other),
        ..remembering()
    });
    assert!(matches!(error, Err(TufError::NoAnchor { .. })));
}

#[test]
fn other_pins_forget_the_root_of_the_first_ones_though_the_load_fails() {
    let (channel, first, made) = published();
    let memory = tempfile::tempdir().unwrap();
    let load = |pins: &[usize]| remembered(&channel, memory.path(), pins);
    load(&[0]).unwrap();
    // Key 2 takes over, and is pinned instead; somebody breaks the load behind the root that it signed.
    channel.put_root(&root(&plan(2, &[2], 1, &[1]), &[0, 2]));
    channel.put("tuf/3.root.json", "{}");
    assert!(load(&[2]).is_err());
    // Whoever has key 0 goes on from the root that key 2 never signed.
    channel.files.lock().unwrap().remove("tuf/3.root.json");
    let forged = root(&plan(2, &[0], 1, &[1]), &[0]);
    assert!(forged.follows(&first));
    channel.put_root(&forged);
    next(&channel, &forged, Some(&made.generation), "two");
    let forged = load(&[2]).map(|found| found.root.bytes().to_vec());
    assert!(
        forged.is_err() || forged.is_ok_and(|root| root != channel.get("tuf/2.root.json")),
        "the first pins' root was gone on from"
    );
}

#[test]
fn one_more_pin_forgets_no_root() {
    let (channel, first, made) = published();
    let memory = tempfile::tempdir().unwrap();
    let load = |pins: &[usize]| remembered(&channel, memory.path(), pins);
    load(&[0]).unwrap();
    // The index key was stolen: key 2 takes over as that, and as a key of the root.
    let second = root(&plan(2, &[0, 3], 1, &[2]), &[0, 3]);
    assert!(second.follows(&first));
    channel.put_root(&second);
    let targets = targets(&channel, "two");
    let generation = Some(&made.generation);
    let after = make(
        &second,
        generation,
        &targets,
        &second.lifetimes(),
        key(2),
        now(),
    )
    .unwrap();
    channel.publish(&after);
    assert_eq!(load(&[0]).unwrap().root.version(), 2);
    // The thief takes the new root away, and publishes by the old one.
    channel.files.lock().unwrap().remove("tuf/2.root.json");
    next(&channel, &first, Some(&after.generation), "three");
    for pins in [&[0][..], &[0, 3], &[3]] {
        let error = load(pins).unwrap_err();
        assert!(matches!(error, TufError::Untrusted { .. }), "{error}");
    }
    // Who trusts another key alone begins anew.
    assert!(matches!(load(&[1]).unwrap_err(), TufError::NoAnchor { .. }));
}

#[test]
fn a_clock_that_was_ahead_is_remembered_by_a_good_load_alone() {
    let (channel, root, _) = published();
    let memory = tempfile::tempdir().unwrap();
    let time = memory.path().join("latest_known_time.json");
    let load = |expired| {
        super::load(Loading {
            memory: Some(memory.path()),
            expired,
            ..loading(&channel, Anchor::Known(root.clone()))
        })
    };
    load(Expired::Allowed).unwrap();
    assert!(!time.exists());
    load(Expired::Refused).unwrap();
    assert!(time.exists());
    std::fs::write(&time, "\"2106-02-07T06:28:15Z\"").unwrap();
    let error = load(Expired::Refused).unwrap_err().to_string();
    let path = time.to_str().unwrap();
    assert!(
        error.contains("clock went back") && error.contains(path),
        "{error}"
    );
    // The publisher renews what has expired, whatever the clock said once.
    load(Expired::Allowed).unwrap();
    std::fs::remove_file(&time).unwrap();
    let targets = targets(&channel, "old");
    let old = make(&root, None, &targets, &root.lifetimes(), key(1), PAST).unwrap();
    channel.publish(&old);
    std::fs::remove_dir_all(memory.path()).unwrap();
    assert!(matches!(
        load(Expired::Refused),
        Err(TufError::Expired { .. })
    ));
    assert!(!time.exists());
}

#[test]
fn expired_metadata_is_refused_and_the_publisher_may_renew_it() {
    let (channel, root, _) = published();
    let targets = targets(&channel, "old");
    let old = make(&root, None, &targets, &root.lifetimes(), key(1), PAST).unwrap();
    channel.publish(&old);
    let error = pinned(&channel, &[0]).unwrap_err();
    let TufError::Expired { role, since, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!((*role, *since), (Role::Timestamp, PAST + 14 * 86_400_000));
    let allowed = Loading {
        expired: Expired::Allowed,
        ..loading(&channel, Anchor::Known(root.clone()))
    };
    let found = load(allowed).unwrap();
    assert_eq!(due(&found, &root.lifetimes(), now()).len(), 3);
    let fresh = refresh(&root, &found, &root.lifetimes(), key(1), now()).unwrap();
    channel.publish(&fresh);
    let found = pinned(&channel, &[0]).unwrap();
    assert_eq!(found.versions[&Role::Timestamp], 2);
    assert_eq!(found.targets, targets);
    // A root.
    let mut expired = plan(2, &[0], 1, &[1]);
    expired.expires = PAST;
    channel.put_root(&samples::root(&expired, &[0]));
    let error = pinned(&channel, &[0]).unwrap_err();
    assert!(
        matches!(
            error,
            TufError::Expired {
                role: Role::Root,
                since: PAST,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn only_the_index_key_signs_a_generation() {
    let (channel, root, made) = published();
    let lifetimes = root.lifetimes();
    let by = |signer| {
        make(
            &root,
            None,
            &made.generation.targets,
            &lifetimes,
            signer,
            now(),
        )
    };
    for wrong in [0, 2] {
        assert!(matches!(by(key(wrong)), Err(TufError::WrongKey { .. })));
    }
    assert!(matches!(by(&weak()), Err(TufError::KeySize { .. })));
    // The root key's own chain, put under ours.
    let other = samples::root(&plan(1, &[2], 1, &[3]), &[2]);
    let theirs = make(
        &other,
        None,
        &made.generation.targets,
        &lifetimes,
        key(3),
        now(),
    )
    .unwrap();
    channel.publish(&theirs);
    let error = pinned(&channel, &[0]).unwrap_err();
    assert!(matches!(error, TufError::Untrusted { .. }), "{error}");
}

#[test]
fn generations_are_not_mixed() {
    for file in ["snapshot", "targets"] {
        let (channel, root, made) = published();
        let old = channel.get(&format!("tuf/1.{file}.json"));
        next(&channel, &root, Some(&made.generation), "two");
        channel.put(&format!("tuf/2.{file}.json"), old);
        let error = pinned(&channel, &[0]).unwrap_err();
        assert!(matches!(error, TufError::Untrusted { .. }), "{error}");
        channel
            .files
            .lock()
            .unwrap()
            .remove(&format!("tuf/2.{file}.json"));
        let error = pinned(&channel, &[0]).unwrap_err();
        assert!(matches!(error, TufError::Absent { .. }), "{error}");
    }
}

#[test]
fn a_channel_that_fails_is_told_from_one_that_lies() {
    let paths = [
        "tuf/1.root.json",
        "tuf/2.root.json",
        "tuf/timestamp.json",
        "tuf/1.snapshot.json",
        "tuf/1.targets.json",
    ];
    for path in paths {
        for fault in [Fault::Unreachable, Fault::Endless] {
            let (channel, ..) = published();
            channel.fail(path, fault);
            let error = pinned(&channel, &[0]).unwrap_err();
            let TufError::Upstream(cause) = &error else {
                panic!("{path}: {error}")
            };
            let large = matches!(cause.fault, UpstreamFault::TooLarge { .. });
            assert_eq!(large, matches!(fault, Fault::Endless), "{path}");
        }
    }
}

#[test]
fn targets_are_held_against_length_and_hash() {
    let (channel, _, made) = published();
    let (name, wanted) = made.generation.targets.first_key_value().unwrap();
    let path = by_hash(name, &wanted.sha256);
    let good = channel.get(&path);
    let mut changed = good.clone();
    changed[0] ^= 1;
    for bad in [changed, good[1..].to_vec(), [&good[..], b"x"].concat()] {
        channel.put(&path, bad);
        let error = target(channel.as_ref(), name, wanted).unwrap_err();
        assert!(matches!(error, TufError::Untrusted { .. }), "{error}");
    }
    channel.files.lock().unwrap().remove(&path);
    let error = target(channel.as_ref(), name, wanted).unwrap_err();
    assert!(matches!(error, TufError::Absent { .. }), "{error}");
}

#[test]
fn no_bytes_make_it_panic() {
    let (good, ..) = published();
    let paths = ["1.root", "2.root", "timestamp", "1.snapshot", "1.targets"];
    for path in paths.map(|path| format!("tuf/{path}.json")) {
        let whole = good.all().get(&path).cloned().unwrap_or_default();
        let mut cases: Vec<Vec<u8>> = ["", "{", "[]", "null", "0", "{}", "\"a\"", "\u{0}"]
            .map(|text| text.as_bytes().to_vec())
            .into();
        cases.push(b"[".repeat(100_000));
        cases.push(b"{\"signed\":".repeat(50_000));
        cases.push(vec![0xff; 64]);
        cases.push(br#"{"signed":{"_type":"root"},"signatures":[]}"#.to_vec());
        for parts in 1..8 {
            cases.push(whole[..whole.len() * parts / 8].to_vec());
        }
        for case in cases {
            let (channel, pins) = (Channel::new(), [print(0)]);
            channel.set_all(good.all());
            channel.put(&path, case.clone());
            let loaded = load(loading(&channel, Anchor::Pinned(&pins)));
            assert!(
                loaded.is_err(),
                "{path}: {:?}",
                String::from_utf8_lossy(&case[..case.len().min(80)])
            );
        }
    }
}

#[test]
fn no_value_makes_it_panic() {
    let values = [
        "null",
        "-1",
        "0",
        "18446744073709551615",
        "1e400",
        "1.5",
        "\"\"",
        "\"x\"",
        "[]",
        "{}",
        "true",
        "\"9999-99-99T00:00:00Z\"",
        "[[]]",
        "{\"\":{}}",
    ];
    let (good, ..) = published();
    for path in [
        "tuf/1.root.json",
        "tuf/timestamp.json",
        "tuf/1.snapshot.json",
        "tuf/1.targets.json",
    ] {
        let text = String::from_utf8(good.get(path)).unwrap();
        // Each line that holds a value, with each of the others.
        for (at, line) in text.lines().enumerate() {
            let Some((name, _)) = line.split_once(": ") else {
                continue;
            };
            // `tough` looks past the type, and puts the right one into what it verifies.
            if name.contains("_type") {
                continue;
            }
            for value in values {
                let comma = if line.ends_with(',') { "," } else { "" };
                let changed = format!("{name}: {value}{comma}");
                if changed == line {
                    continue;
                }
                let lines: Vec<_> = text
                    .lines()
                    .enumerate()
                    .map(|(n, old)| if n == at { &changed } else { old })
                    .collect();
                let (channel, pins) = (Channel::new(), [print(0)]);
                channel.set_all(good.all());
                channel.put(path, lines.join("\n"));
                let _ = Root::parse(lines.join("\n").into_bytes());
                assert!(
                    load(loading(&channel, Anchor::Pinned(&pins))).is_err(),
                    "{path}: {changed}"
                );
            }
        }
    }
}

#[test]
fn roots_that_cannot_work_are_not_made() {
    let wrong = [
        plan(1, &[], 1, &[1]),
        plan(1, &[0], 1, &[]),
        plan(1, &[0], 0, &[1]),
        plan(1, &[0], 2, &[1]),
        plan(1, &[0, 0], 1, &[1]),
        plan(1, &[0], 1, &[1, 1]),
        plan(1, &[0], 1, &[0]),
        plan(0, &[0], 1, &[1]),
        plan(u64::MAX, &[0], 1, &[1]),
    ];
    for wrong in wrong {
        assert!(matches!(Root::draft(&wrong), Err(TufError::Plan(_))));
    }
    let mut small = plan(1, &[0], 1, &[1]);
    small
        .index_keys
        .push(crate::keys::samples::weak().public().clone());
    assert!(matches!(Root::draft(&small), Err(TufError::KeySize { .. })));
    // Nor read.
    let good = root(&plan(1, &[0], 1, &[1]), &[0]);
    for (from, to) in [
        ("\"version\": 1", "\"version\": 9007199254740992"),
        (
            "\"consistent_snapshot\": true",
            "\"consistent_snapshot\": false",
        ),
        ("\"spec_version\": \"1.0.0\"", "\"spec_version\": \"2.0.0\""),
        ("\"threshold\": 1", "\"threshold\": 2"),
        ("\"keytype\": \"rsa\"", "\"keytype\": \"ed25519\""),
    ] {
        let text = String::from_utf8(good.bytes().to_vec()).unwrap();
        assert!(text.contains(from), "{from}");
        assert!(
            Root::parse(text.replace(from, to).into_bytes()).is_err(),
            "{to}"
        );
    }
}

#[test]
fn a_root_says_what_it_was_made_of() {
    let mut made = plan(1, &[0, 2], 2, &[1, 3]);
    made.lifetimes.set(Role::Timestamp, 3600).unwrap();
    let read = root(&made, &[0]).plan();
    assert_eq!(read.lifetimes, made.lifetimes);
    assert_eq!(read.expires, made.expires);
    assert_eq!((read.version, read.threshold), (1, 2));
    for (read, made) in [
        (&read.root_keys, &made.root_keys),
        (&read.index_keys, &made.index_keys),
    ] {
        let of = |keys: &[crate::keys::PublicKey]| {
            keys.iter()
                .map(|k| (k.name().clone(), k.fingerprint()))
                .collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(of(read), of(made));
    }
}

#[test]
fn signatures_of_strangers_are_left_out() {
    let first = root(&plan(1, &[0], 1, &[1]), &[0]);
    let second = root(&plan(2, &[2], 1, &[1]), &[0, 2, 4]);
    let clean = second.cleaned(Some(&first)).unwrap();
    let text = String::from_utf8(clean.bytes().to_vec()).unwrap();
    assert_eq!(text.matches("\"sig\"").count(), 2);
    assert!(clean.follows(&first));
}

#[test]
fn versions_go_on_where_nothing_can_be_verified() {
    let (channel, root, made) = published();
    next(&channel, &root, Some(&made.generation), "two");
    edit(&channel, "tuf/timestamp.json", |file| {
        file["signed"]["expires"] = "x".into()
    });
    assert!(pinned(&channel, &[0]).is_err());
    let claimed = claimed(channel.as_ref(), root.clone()).unwrap();
    assert_eq!(claimed.versions[&Role::Targets], 2);
    let made = next(&channel, &root, Some(&claimed), "three");
    assert_eq!(made.generation.versions[&Role::Timestamp], 3);
    assert!(pinned(&channel, &[0]).is_ok());
    for junk in [
        "",
        "{}",
        "[]",
        r#"{"signed":{"version":-1}}"#,
        r#"{"signed":{"version":1e99,"meta":[]}}"#,
    ] {
        channel.put("tuf/timestamp.json", junk);
        super::claimed(channel.as_ref(), root.clone()).unwrap();
    }
}
