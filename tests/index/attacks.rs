//! Somebody who may write into the channel plants files in it, changes bytes behind the program's back,
//! and meddles with what is published; none of it passes for what it is not, and none of it is lost.

use std::fs::File;
use std::os::unix::fs::symlink;

use serde_json::json;

use crate::cache::{tamper, with_payload};
use crate::scene::builder::{Format, PackageSpec};
use crate::scene::{EPOCH, Run, Scene};
use crate::stopping::{start_until, with_a_long_one};

const LATER: &str = "1800000000";
const FORGED: &str = "fixture Zm9yZ2Vk\n";
const CHANGED: &str = "changed since it was published";

#[test]
fn a_signature_that_appears_meanwhile_is_never_overwritten() {
    let scene = with_a_long_one();
    let (c, long) = (scene.package("c"), "linux-64/b-1.0-0.tar.bz2");
    let sig = format!("channel/{c}.sig");
    let size = scene.path("channel").join(long);
    // One thread reads the largest first, which takes as long as nobody cuts it off.
    let (child, _stderr) = start_until(&scene, &["--threads", "1"], "reading");
    scene.write(&sig, FORGED);
    let file = File::options().write(true).open(size).unwrap();
    file.set_len(100).unwrap();
    let run = Run::of(child).exits(3).has("refused", &[long, &c]);
    let why = run.refusals().remove(&c).unwrap();
    assert!(
        why.contains("somebody else put a signature beside it"),
        "{why}"
    );
    assert_eq!(scene.text(&sig), FORGED);
    assert!(!scene.is_listed(&c));
    scene.remove(&format!("channel/{long}"));
    scene.index(&[]).exits(3).refuses(&c, "invalid");
    assert_eq!(scene.text(&sig), FORGED);
}

/// Puts another file with the same content in a file's place.
fn rewrite(scene: &Scene, path: &str) {
    let bytes = scene.read(path);
    scene.remove(path);
    scene.write(path, bytes);
}

#[test]
fn a_run_by_mtime_and_size_launders_no_changed_bytes() {
    let touch = |scene: &Scene, sig: &str| {
        let file = File::options().append(true).open(scene.path(sig)).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH)
            .unwrap();
    };
    for meddle in [|_: &Scene, _: &str| {}, touch, rewrite] {
        let (scene, big) = with_payload();
        let path = format!("channel/{big}");
        tamper(&scene, &path);
        meddle(&scene, &format!("{path}.sig"));
        for _ in 0..2 {
            let run = scene.index(&["--stat", "mtime-size"]).exits(0);
            run.counts("opened", 0).counts("kept", 1);
        }
        for flags in [&["--dry-run"][..], &[]] {
            scene.index(flags).exits(1).refuses(&big, CHANGED);
        }
        scene.run(&["verify", "channel"]).exits(1).says("INVALID");
    }
}

#[test]
fn what_stands_in_place_of_the_folder_of_shards_stops_a_dry_run_too() {
    const SHARDS: &str = "channel/linux-64/shards";
    let plant: [fn(&Scene); 3] = [
        |scene| scene.write(SHARDS, "a file"),
        |scene| symlink("nowhere", scene.path(SHARDS)).unwrap(),
        |scene| {
            let made = std::process::Command::new("mkfifo")
                .arg(scene.path(SHARDS))
                .status();
            assert!(made.unwrap().success());
        },
    ];
    for plant in plant {
        let scene = Scene::of_three();
        scene.index(&["--dry-run"]).exits(0);
        plant(&scene);
        let before = scene.snapshot("channel");
        scene.index(&["--dry-run"]).exits(1).says(SHARDS);
        assert_eq!(scene.snapshot("channel"), before);
        scene.index(&[]).exits(1).says(SHARDS);
    }
}

#[test]
fn a_folder_where_an_index_file_belongs_stops_all_before_anything_is_written() {
    for (planted, flags) in [
        ("noarch/repodata.json.zst", &[][..]),
        ("noarch/repodata.json.bz2", &["--bz2"]),
        ("linux-64/repodata.json.zst", &[]),
        ("noarch/repodata.json", &[]),
    ] {
        let scene = Scene::of_three();
        let spec = PackageSpec::new("n", "1.0", "0").subdir("noarch");
        scene.put(&spec, Format::Conda);
        scene.put(&spec.subdir("linux-64"), Format::Conda);
        scene.index(&["--no-zst"]).exits(0);
        for subdir in ["noarch", "linux-64"] {
            scene.remove(&format!("channel/{subdir}/n-1.0-0.conda"));
            scene.remove(&format!("channel/{subdir}/n-1.0-0.conda.sig"));
        }
        if scene.exists(&format!("channel/{planted}")) {
            scene.remove(&format!("channel/{planted}"));
        }
        scene.write(&format!("channel/{planted}/work"), "somebody's");
        let before = scene.snapshot("channel");
        for dry in [&["--dry-run"][..], &[]] {
            let run = scene.index(&[flags, dry].concat()).exits(1);
            run.says(planted).says("not a regular file");
            assert!(scene.snapshot("channel") == before, "{planted}");
        }
        scene.remove(&format!("channel/{planted}"));
        scene.index(flags).exits(0).counts("listed", 3);
    }
}

#[test]
fn a_huge_file_where_an_index_file_belongs_is_never_read() {
    let scene = Scene::of_three();
    scene.index(&[]).exits(0);
    let plant = |name: &str| {
        let path = format!("channel/linux-64/{name}");
        let huge = File::create(scene.path(&path)).unwrap();
        if let Err(why) = huge.set_len(1 << 40) {
            eprintln!("skipped: no file can be that large here: {why}");
            return None;
        }
        Some(path)
    };
    let Some(zst) = plant("repodata.json.zst") else {
        return;
    };
    scene.index(&[]).exits(0);
    assert!(std::fs::metadata(scene.path(&zst)).unwrap().len() < 1 << 20);
    let json = plant("repodata.json").unwrap();
    for flags in [&["--dry-run"][..], &[]] {
        let run = scene.index(flags).exits(1).says("linux-64/repodata.json");
        run.says("too large").says("remove it");
    }
    scene.remove(&json);
    scene.index(&[]).exits(0).counts("kept", 3);
}

#[test]
fn a_planted_index_without_packages_makes_nothing_new() {
    for packages in [json!({}), json!({"d-1.0-0.tar.bz2": {}})] {
        let scene = Scene::of_three();
        let b = scene.package("b");
        scene.index(&[]).exits(0);
        scene.change(&b);
        let planted = json!({"info": {"generator": "sigindex"}, "packages": packages});
        let path = "channel/linux-64/repodata_from_packages.json";
        scene.write(path, planted.to_string());
        for flags in [&["--dry-run"][..], &[]] {
            scene.index(flags).exits(1).refuses(&b, CHANGED);
        }
        scene.write(path, "{}");
        scene.index(&[]).exits(1).refuses(&b, CHANGED);
    }
}

#[test]
fn verify_looks_into_folders_of_any_name() {
    let scene = Scene::of_three();
    scene.index(&[]).exits(0);
    scene.write("channel/.hidden/e-1.0-0.conda", "");
    for folder in ["uploads", "Of Any Name"] {
        let spec = PackageSpec::new("e", "1.0", "0").folder(folder);
        let e = format!("channel/{}", scene.put(&spec, Format::Conda));
        let verify = || scene.run(&["verify", "-v", "channel"]);
        verify().exits(1).says(&e).says("no signature");
        scene.run(&["sign", &e]).exits(0);
        verify().exits(0).says(&e);
        tamper(&scene, &e);
        verify().exits(1).says(&e).says("INVALID");
        scene.remove(&format!("channel/{folder}"));
    }
}

#[test]
fn a_foreign_folder_that_can_not_be_listed_is_no_failure() {
    if rustix::process::geteuid().is_root() {
        eprintln!("skipped: root may list every folder");
        return;
    }
    let scene = Scene::of_three();
    scene.write("channel/lost+found/file", "");
    let mode = |mode| scene.set_mode("channel/lost+found", mode);
    mode(0);
    let runs = [&["--dry-run"][..], &[]].map(|flags| scene.index(flags));
    mode(0o700);
    for run in runs {
        run.exits(0).counts("listed", 3).says("lost+found");
    }
}

#[test]
fn a_changed_row_of_the_cache_is_read_anew() {
    let scene = Scene::of_three();
    scene.index_at(EPOCH, &["--cache", "own"]).exits(0);
    let before = scene.snapshot("channel");
    for record in [
        "replace(record, 'BSD-3-Clause', 'MIT')",
        "record || ','",
        "'{'",
        "'{}'",
        "''",
        "x'ff'",
        "NULL",
    ] {
        let rows = rusqlite::Connection::open(scene.path("own/cache.db")).unwrap();
        let sql = format!("UPDATE OR IGNORE package SET record = {record} WHERE name LIKE 'a-%'");
        let changed = rows.execute(&sql, []).unwrap();
        // Otherwise nothing is asked of the rows.
        rows.execute("DELETE FROM ledger", []).unwrap();
        drop(rows);
        let run = scene.index_at(LATER, &["--cache", "own"]).exits(0);
        let run = run.counts("opened", u64::try_from(changed).unwrap());
        run.counts("kept", 3).counts("signed", 0);
        assert!(scene.snapshot("channel") == before, "{record}");
    }
}

#[test]
fn a_cache_reached_through_the_channel_is_refused() {
    let scene = Scene::of_three();
    scene.write("channel/uploads/file", "");
    symlink(scene.path("channel/uploads"), scene.path("into")).unwrap();
    symlink("into", scene.path("twice")).unwrap();
    for cache in ["into", "into/x", "into/x/y", "twice/x", "into/../x"] {
        for flags in [&["--dry-run"][..], &[]] {
            let run = scene.index(&[&["--cache", cache], flags].concat());
            run.exits(2).says("lies inside the channel");
        }
    }
    assert!(!scene.exists("channel/linux-64/repodata.json"));
    assert!(!scene.exists("channel/uploads/x") && !scene.exists("channel/x"));
}
