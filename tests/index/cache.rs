//! The cache is only a cache: what makes it look again, and that its loss changes nothing.

use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, SystemTime};

use crate::scene::builder::{Format, PackageSpec};
use crate::scene::{EPOCH, Scene};

const LATER: &str = "1800000000";

pub fn cache_files(scene: &Scene) -> Vec<std::path::PathBuf> {
    let files = scene.snapshot("cache").into_iter();
    files
        .filter(|(_, seen)| seen.3.is_some())
        .map(|(path, _)| path)
        .collect()
}

fn set_mtime(scene: &Scene, path: &str, time: SystemTime) {
    let file = std::fs::File::options()
        .append(true)
        .open(scene.path(path))
        .unwrap();
    file.set_modified(time).unwrap();
}

fn mtime(scene: &Scene, path: &str) -> SystemTime {
    std::fs::metadata(scene.path(path))
        .unwrap()
        .modified()
        .unwrap()
}

/// Turns a byte of the payload, in place, and leaves size, inode and mtime as they were.
pub fn tamper(scene: &Scene, path: &str) {
    let time = mtime(scene, path);
    let mut bytes = scene.read(path);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    scene.write(path, bytes);
    set_mtime(scene, path, time);
}

/// A channel with one package, most of which is payload.
pub fn with_payload() -> (Scene, String) {
    let scene = Scene::new();
    let spec = PackageSpec::new("big", "1.0", "0").payload_size(20_000, 1);
    let big = scene.put(&spec, Format::Conda);
    scene.index(&[]).exits(0);
    (scene, big)
}

#[test]
fn it_lies_outside_the_channel_and_is_nobody_elses() {
    let scene = Scene::of_three();
    scene.index(&[]).exits(0);
    let files = cache_files(&scene);
    assert_eq!(files.len(), 1, "{files:?}");
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(&files[0]), 0o600);
    assert_eq!(mode(files[0].parent().unwrap()), 0o700);
    assert_eq!(scene.mode("cache/sigindex"), 0o700);
    for inside in ["channel/cache", "channel/../channel/linux-64"] {
        scene.index(&["--cache", inside]).exits(2).says("--cache");
    }
}

#[test]
fn without_xdg_it_lies_in_the_home() {
    let scene = Scene::of_three();
    scene
        .index_call(&[])
        .without_env("XDG_CACHE_HOME")
        .run()
        .exits(0);
    assert!(scene.exists("home/.cache/sigindex"));
    scene
        .index_call(&[])
        .env("XDG_CACHE_HOME", "relative")
        .run()
        .exits(0)
        .counts("opened", 0);
    assert!(!scene.exists("relative"));
}

#[test]
fn lost_it_is_rebuilt_and_the_output_is_the_same() {
    let scene = Scene::of_three();
    scene.index_at(EPOCH, &[]).exits(0);
    let before = scene.snapshot("channel");
    scene.remove("cache/sigindex");
    let run = scene.index_at(LATER, &[]).exits(0).counts("opened", 3);
    run.counts("kept", 3).counts("signed", 0);
    assert!(scene.snapshot("channel") == before);
    scene.index_at(LATER, &[]).exits(0).counts("opened", 0);
}

#[test]
fn corrupt_it_is_rebuilt_with_a_note() {
    let scene = Scene::of_three();
    scene.index_at(EPOCH, &[]).exits(0);
    let before = scene.snapshot("channel");
    let file = cache_files(&scene).remove(0);
    let whole = std::fs::read(&file).unwrap();
    let half = whole[..whole.len() / 2].to_vec();
    let mut turned = whole.clone();
    turned
        .iter_mut()
        .skip(100)
        .step_by(7)
        .for_each(|byte| *byte ^= 0x55);
    for (bytes, noted) in [
        (
            b"this is no database, and was never meant to be one".to_vec(),
            true,
        ),
        (half, true),
        (turned, true),
        (Vec::new(), false),
    ] {
        std::fs::write(&file, bytes).unwrap();
        let run = scene.index_at(LATER, &[]).exits(0).counts("listed", 3);
        if noted {
            run.says("cache");
        }
        assert!(scene.snapshot("channel") == before);
        scene.index_at(LATER, &[]).exits(0).counts("opened", 0);
    }
}

#[test]
fn of_a_form_that_is_only_read_it_is_rebuilt_with_a_note() {
    let scene = Scene::of_three();
    scene.index(&[]).exits(0);
    let file = cache_files(&scene).remove(0);
    let mut bytes = std::fs::read(&file).unwrap();
    // SQLite's file format, 1.3: what writes has to be of this version.
    bytes[18] = 3;
    std::fs::write(&file, bytes).unwrap();
    scene.package("d");
    scene
        .index(&[])
        .exits(0)
        .says("is put aside")
        .counts("listed", 4);
    scene.index(&[]).exits(0).counts("opened", 0);
}

#[test]
fn elsewhere_it_serves_as_well() {
    let scene = Scene::of_three();
    scene.index_at(EPOCH, &[]).exits(0);
    let before = scene.snapshot("channel");
    let flags = ["--cache", "saved/cache"];
    scene.index_at(LATER, &flags).exits(0).counts("opened", 3);
    assert_eq!(scene.mode("saved/cache"), 0o700);
    assert!(scene.snapshot("channel") == before);
    scene.index_at(LATER, &flags).exits(0).counts("opened", 0);
}

#[test]
fn each_channel_has_its_own() {
    let scene = Scene::of_three();
    scene.index(&[]).exits(0);
    crate::scene::copy_tree(&scene.path("channel"), &scene.path("second"));
    scene.run(&["second"]).exits(0);
    assert_eq!(cache_files(&scene).len(), 2);
    scene.index(&[]).exits(0).counts("opened", 0);
}

#[test]
fn two_channels_in_one_file_know_nothing_of_each_other() {
    let (scene, big) = with_payload();
    scene.init_signed_index();
    let flags = ["--cache", "both", "--stat", "mtime-size"];
    scene.index(&flags).exits(0).counts("opened", 1);
    let published = scene.record(&big)["sha256"].clone();
    // The same name, size and mtime, and other bytes.
    let other = format!("second/{big}");
    scene.write(&other, scene.read(&format!("channel/{big}")));
    set_mtime(&scene, &other, mtime(&scene, &format!("channel/{big}")));
    tamper(&scene, &other);
    for opened in [1, 0] {
        let run = scene.run(&[&["second", "--json"], &flags[..]].concat());
        run.exits(0)
            .counts("opened", opened)
            .counts("kept", 1 - opened);
        scene.index(&flags).exits(0).counts("opened", 0);
    }
    let name = big.rsplit('/').next().unwrap();
    let theirs = scene.json("second/linux-64/repodata.json")["packages.conda"][name].clone();
    assert_ne!(theirs["sha256"], published);
    assert_eq!(scene.record(&big)["sha256"], published);
    for channel in ["channel", "second"] {
        scene.run(&["verify", channel]).exits(0);
    }
}

#[test]
fn a_file_of_another_time_or_inode_is_hashed_again_and_never_signed_again() {
    let scene = Scene::of_three();
    let a = format!("channel/{}", scene.package("a"));
    scene.index(&[]).exits(0);
    let sig = scene.read(&format!("{a}.sig"));
    let index = scene.snapshot("channel/noarch");
    let check = || {
        let run = scene.index(&[]).exits(0).counts("opened", 1);
        run.counts("kept", 3)
            .counts("signed", 0)
            .counts("replaced", 0);
        assert_eq!(scene.read(&format!("{a}.sig")), sig);
        scene.index(&[]).exits(0).counts("opened", 0);
    };
    set_mtime(
        &scene,
        &a,
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000),
    );
    check();
    // Another inode, with all else the same.
    let (bytes, time) = (scene.read(&a), mtime(&scene, &a));
    scene.write("copy", bytes);
    set_mtime(&scene, "copy", time);
    std::fs::rename(scene.path("copy"), scene.path(&a)).unwrap();
    check();
    assert!(scene.snapshot("channel/noarch") == index);
}

#[test]
fn mtime_size_is_content_with_another_inode() {
    let scene = Scene::of_three();
    scene.index(&["--cache", "saved"]).exits(0);
    // A fresh machine: a copy with times kept.
    crate::scene::copy_tree(&scene.path("channel"), &scene.path("copy"));
    for entry in walkdir::WalkDir::new(scene.path("channel")) {
        let entry = entry.unwrap();
        if entry.file_type().is_file() {
            let name = entry.path().strip_prefix(scene.path("channel")).unwrap();
            let time = entry.metadata().unwrap().modified().unwrap();
            set_mtime(&scene, &format!("copy/{}", name.display()), time);
        }
    }
    scene.remove("channel");
    std::fs::rename(scene.path("copy"), scene.path("channel")).unwrap();
    let flags = ["--cache", "saved", "--stat", "mtime-size"];
    scene
        .index(&flags)
        .exits(0)
        .counts("opened", 0)
        .counts("kept", 3);
    let run = scene.index(&["--cache", "saved"]).exits(0);
    run.counts("opened", 3).counts("signed", 0);
}

#[test]
fn other_bytes_under_the_same_size_and_mtime_are_noticed() {
    let (scene, big) = with_payload();
    tamper(&scene, &format!("channel/{big}"));
    scene
        .index(&[])
        .exits(1)
        .refuses(&big, "changed since it was published");
}

#[test]
fn rehash_reads_all_whatever_stat_says() {
    let (scene, big) = with_payload();
    tamper(&scene, &format!("channel/{big}"));
    let flags = ["--stat", "mtime-size"];
    scene.index(&flags).exits(0).counts("opened", 0);
    let run = scene.index(&[&flags[..], &["--rehash"]].concat()).exits(1);
    run.refuses(&big, "changed since it was published");
}

#[test]
fn rehash_of_what_did_not_change_writes_nothing() {
    let scene = Scene::of_three();
    scene.index(&[]).exits(0);
    let before = scene.snapshot("channel");
    let run = scene.index(&["--rehash"]).exits(0).counts("opened", 3);
    run.counts("kept", 3).counts("signed", 0);
    assert!(scene.snapshot("channel") == before);
}

#[test]
fn check_archives_looks_at_what_was_not_decoded_before() {
    let scene = Scene::of_three();
    scene.index(&[]).exits(0).counts("opened", 3);
    scene
        .index(&["--check-archives"])
        .exits(0)
        .counts("opened", 3);
    scene
        .index(&["--check-archives"])
        .exits(0)
        .counts("opened", 0);
    scene.index(&[]).exits(0).counts("opened", 0);
}

#[test]
fn of_a_newer_version_it_is_rebuilt_with_a_note() {
    let scene = Scene::of_three();
    scene.index_at(EPOCH, &[]).exits(0);
    let before = scene.snapshot("channel");
    let newer = rusqlite::Connection::open(cache_files(&scene).remove(0)).unwrap();
    newer
        .pragma_update(None, "user_version", 1_000_000)
        .unwrap();
    drop(newer);
    scene.index(&["--dry-run"]).exits(0);
    let run = scene.index_at(LATER, &[]).exits(0).says("cache");
    run.counts("opened", 3).counts("kept", 3);
    assert!(scene.snapshot("channel") == before);
}

#[cfg(not(feature = "postgres"))]
#[test]
fn a_build_without_a_shared_cache_says_so() {
    let scene = Scene::of_three();
    let url = "postgres://me:a-password@host/channels";
    let run = scene.index(&["--cache", url]).never_says("a-password");
    run.exits(2).says("--features postgres");
    assert!(!scene.exists("channel/noarch"));
}
