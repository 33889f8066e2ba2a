//! What a run writes down for the next one: that it spares work and nothing else. Whatever changes in between, a run
//! ends where one does that knows nothing of those before.

use std::time::Duration;

use crate::cache::cache_files;
use crate::scene::builder::PackageSpec;
use crate::scene::{EPOCH, Scene};

const LATER: &str = "1800000000";
const NOTHING: [&str; 0] = [];

/// Two subdirs, two names with two versions.
fn scene() -> Scene {
    let scene = Scene::new();
    for (name, version, subdir) in [
        ("a", "1.0", "linux-64"),
        ("a", "2.0", "linux-64"),
        ("b", "1.0", "linux-64"),
        ("b", "1.0", "noarch"),
        ("c", "1.0", "noarch"),
    ] {
        put(&scene, name, version, subdir);
    }
    scene.index_at(EPOCH, &[]).exits(0);
    scene
}

fn put(scene: &Scene, name: &str, version: &str, subdir: &str) -> String {
    let spec = PackageSpec::new(name, version, "0").subdir(subdir);
    scene.put(&spec, crate::scene::builder::Format::Conda)
}

/// A run with a cache of its own, which knows nothing, has nothing to do.
fn is_as_if_made_anew(scene: &Scene, flags: &[&str]) {
    let before = scene.snapshot("channel");
    let flags = [flags, &["--cache", "fresh"]].concat();
    let run = scene.index_at(LATER, &flags).exits(0);
    run.has("files", &NOTHING).has("deleted", &NOTHING);
    assert!(scene.snapshot("channel") == before);
    scene.remove("fresh");
}

/// Changes a row of the cache: whoever asks for it reads that package again.
fn spoil_rows(scene: &Scene) {
    let rows = rusqlite::Connection::open(&cache_files(scene)[0]).unwrap();
    rows.execute("UPDATE package SET size = size + 1", [])
        .unwrap();
}

#[test]
fn where_nothing_changed_nothing_is_asked_of_the_cache_or_the_index() {
    let scene = scene();
    spoil_rows(&scene);
    let before = scene.snapshot("");
    let run = scene.index_at(LATER, &[]).exits(0).counts("opened", 0);
    let run = run.counts("listed", 5).counts("kept", 5);
    let run = run.counts("reused", 5).counts("signed", 0);
    run.has("files", &NOTHING).has("added", &NOTHING);
    let run = scene.index_at(LATER, &["--dry-run"]).exits(0);
    let report = run.counts("kept", 5).report();
    assert_eq!(
        (&report["published"], &report["dry_run"]),
        (&false.into(), &true.into())
    );
    assert!(scene.snapshot("") == before, "something was written");
    // Another cache, another question, and the rows are asked for.
    scene
        .index_at(LATER, &["--rehash"])
        .exits(0)
        .counts("opened", 5);
}

#[test]
fn whatever_changes_a_run_ends_as_one_that_knows_nothing() {
    let scene = scene();
    let run = |flags: &[&str]| {
        let run = scene.index_at(LATER, flags).exits(0);
        is_as_if_made_anew(&scene, flags);
        run
    };
    let d = put(&scene, "d", "1.0", "linux-64");
    run(&[]).has("added", &[&d]).counts("opened", 1);
    run(&[]).counts("opened", 0).has("files", &NOTHING);
    let a = put(&scene, "a", "3.0", "linux-64");
    let e = put(&scene, "e", "1.0", "noarch");
    run(&[]).has("added", &[&a, &e]).counts("opened", 2);
    scene.remove(&format!("channel/{d}"));
    scene.remove(&format!("channel/{d}.sig"));
    run(&[]).has("removed", &[&d]).counts("opened", 0);
    scene.remove(&format!("channel/{a}.sig"));
    run(&[]).has("signed", &[&a]).counts("opened", 1);
    run(&["--no-html"]).counts("opened", 0);
    run(&["--signatures", "detached", "--all"]).counts("opened", 0);
    let f = put(&scene, "b", "2.0", "noarch");
    run(&["--all"]).has("added", &[&f]);
    run(&[]).counts("opened", 0);
    let spec = PackageSpec::new("g", "1.0", "0").subdir("osx-arm64");
    let g = scene.put(&spec, crate::scene::builder::Format::TarBz2);
    run(&[]).has("added", &[&g]);
    std::fs::remove_dir_all(scene.path("channel/osx-arm64")).unwrap();
    run(&[]).counts("listed", 8);
}

#[test]
fn whatever_becomes_of_an_index_file_is_mended() {
    let scene = scene();
    let before = scene.snapshot("channel");
    let files: Vec<_> = before
        .iter()
        .filter(|(path, seen)| {
            let path = path.to_str().unwrap();
            seen.3.is_some() && !path.contains(".conda") && !path.ends_with(".lock")
        })
        .collect();
    assert!(files.len() > 12, "{files:?}");
    for (path, seen) in files {
        let bytes = seen.3.clone().unwrap();
        let mut other = bytes.clone();
        let middle = other.len() / 2;
        other[middle] ^= 1;
        for spoilt in [Some(&other), None] {
            let shown = path.display();
            match spoilt {
                Some(other) => std::fs::write(path, other).unwrap(),
                None => std::fs::remove_file(path).unwrap(),
            }
            // What tells what was published may be broken now: then nothing is published until it is mended.
            if scene.index_at(EPOCH, &[]).report()["error"].is_string() {
                std::fs::remove_file(path).unwrap();
                scene.index_at(EPOCH, &[]);
            }
            assert_eq!(std::fs::read(path).unwrap(), bytes, "{shown}");
            is_as_if_made_anew(&scene, &[]);
        }
    }
}

#[test]
fn bytes_that_changed_are_refused_again_and_again() {
    let scene = Scene::of_three();
    scene.index(&[]).exits(0);
    let b = scene.package("b");
    scene.change(&b);
    for _ in 0..3 {
        let run = scene.index(&[]).exits(1).counts("refused", 1);
        run.refuses(&b, "changed since it was published");
    }
    // Neither does another package make it pass.
    scene.package("d");
    scene
        .index(&[])
        .exits(1)
        .refuses(&b, "changed since it was published");
    scene.index(&["--replace"]).exits(0).has("replaced", &[&b]);
    scene
        .index(&[])
        .exits(0)
        .counts("opened", 0)
        .has("replaced", &NOTHING);
}

#[test]
fn a_key_that_is_taken_away_is_missed() {
    let scene = Scene::of_three();
    scene.index(&[]).exits(0);
    scene.index(&[]).exits(0).counts("opened", 0);
    scene.take_key("fixture");
    scene.index(&[]).exits(1).counts("refused", 3);
    scene.give_key("fixture");
    scene.index(&[]).exits(0).counts("kept", 3);
}

#[test]
fn shards_go_in_their_time_though_nothing_changes() {
    let scene = scene();
    put(&scene, "a", "4.0", "linux-64");
    scene.index_at("1790000000", &[]).exits(0);
    assert!(scene.exists("channel/linux-64/shards/retired.json"));
    let run = scene.index_at("1790000100", &[]).exits(0);
    run.has("deleted", &NOTHING);
    let run = scene.index_at(LATER, &[]).exits(0).counts("opened", 0);
    let deleted = run.report()["deleted"].to_string();
    assert!(deleted.contains("linux-64/shards"), "{deleted}");
    assert!(!scene.exists("channel/linux-64/shards/retired.json"));
}

#[test]
fn what_killed_runs_left_is_taken_away_though_nothing_changed() {
    let scene = scene();
    for folder in ["", "linux-64/", "noarch/shards/"] {
        let path = format!("channel/{folder}.sigindex-999999999-1-1.tmp");
        scene.write(&path, "half");
        scene.index_at(LATER, &[]).exits(0);
        assert!(!scene.exists(&path), "{path}");
    }
}

#[test]
fn a_signature_that_is_exchanged_is_seen() {
    let scene = Scene::of_three();
    let a = scene.package("a");
    scene.index(&[]).exits(0);
    let sig = format!("channel/{a}.sig");
    let whole = scene.text(&sig);
    // Past the clock's last tick, as nobody writes twice within one.
    std::thread::sleep(Duration::from_millis(20));
    let mut turned = whole.clone().into_bytes();
    let middle = turned.len() / 2;
    turned[middle] = if turned[middle] == b'A' { b'B' } else { b'A' };
    scene.write(&sig, turned);
    scene.index(&[]).exits(1).counts("refused", 1);
    scene.write(&sig, whole);
    scene.index(&[]).exits(0).counts("refused", 0);
}

#[test]
fn patches_that_came_or_went_reach_every_file() {
    let scene = scene();
    let patches = "channel/linux-64/patch_instructions.json";
    let wanted = |license: &str| {
        format!(
            r#"{{"patch_instructions_version": 1, "packages.conda": {{"b-1.0-0.conda": {{"license": "{license}"}}}}}}"#
        )
    };
    let settles = |added: &[&str]| {
        let run = scene.index_at(LATER, &[]).exits(0).has("added", added);
        is_as_if_made_anew(&scene, &[]);
        run
    };
    scene.write(patches, wanted("MIT"));
    settles(&[]);
    settles(&[]).has("files", &NOTHING);
    let d = put(&scene, "d", "1.0", "linux-64");
    settles(&[&d]);
    scene.write(patches, wanted("ISC"));
    settles(&[]);
    assert_eq!(scene.record("linux-64/b-1.0-0.conda")["license"], "ISC");
    scene.remove(patches);
    let e = put(&scene, "e", "1.0", "linux-64");
    settles(&[&e]);
    scene.write(patches, wanted("MIT"));
    settles(&[]);
    scene.remove(patches);
    settles(&[]);
    assert_ne!(scene.record("linux-64/b-1.0-0.conda")["license"], "MIT");
}

#[test]
fn what_the_cache_lost_is_taken_from_the_index() {
    let scene = scene();
    let before = scene.record("linux-64/b-1.0-0.conda");
    spoil_rows(&scene);
    let spec = PackageSpec::new("b", "1.0", "0").payload("something else\n");
    let b = scene.put(&spec, crate::scene::builder::Format::Conda);
    put(&scene, "d", "1.0", "linux-64");
    let run = scene.index_at(LATER, &[]).exits(1).counts("refused", 1);
    run.refuses(&b, "changed since it was published");
    scene.index_at(LATER, &["--drop-refused"]).exits(3);
    let spec = PackageSpec::new("b", "1.0", "0");
    scene.put(&spec, crate::scene::builder::Format::Conda);
    spoil_rows(&scene);
    scene.index_at(LATER, &[]).exits(0).counts("listed", 6);
    let after = scene.record("linux-64/a-1.0-0.conda");
    assert_eq!(after["indexed_timestamp"], before["indexed_timestamp"]);
}

#[test]
fn a_clock_that_went_back_is_told_of() {
    let scene = scene();
    let run = scene.index_at("1600000000", &[]).exits(0);
    run.says("first indexed in the future");
    let run = scene.index_at(LATER, &[]).exits(0);
    run.never_says("first indexed in the future");
}
