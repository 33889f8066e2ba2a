//! One indexer at a time, runs that are stopped or killed, and what they leave behind.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStderr};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::scene::{Run, Scene};

const LOCK: &str = "channel/.sigindex.lock";

fn hold(scene: &Scene) -> File {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(scene.path(LOCK))
        .unwrap();
    file.lock().unwrap();
    file
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_child(child);
    kill_process(pid, signal).unwrap();
}

/// Starts a run, and comes back when it says a word on stderr.
pub fn start_until(scene: &Scene, flags: &[&str], word: &str) -> (Child, BufReader<ChildStderr>) {
    let mut child = scene.index_call(flags).start();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains(word) {
        line.clear();
        assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "never says {word}");
    }
    (child, stderr)
}

#[test]
fn a_second_indexer_fails_and_says_who_holds_the_lock() {
    let scene = Scene::of_three();
    let held = hold(&scene);
    let run = scene.index(&[]).exits(1).says(".sigindex.lock");
    run.says(&std::process::id().to_string()).says("--wait");
    assert!(!scene.exists("channel/linux-64/repodata.json"));
    assert!(!scene.exists("channel/linux-64/a-1.0-0.conda.sig"));
    scene.index(&["--dry-run"]).exits(0).counts("signed", 3);
    drop(held);
    scene.index(&[]).exits(0);
    // The file stays, and holds nobody up: it is the kernel that holds the lock.
    assert!(scene.exists(LOCK));
    scene.index(&[]).exits(0);
}

#[test]
fn with_wait_it_goes_on_when_the_other_is_done() {
    let scene = Scene::of_three();
    let held = hold(&scene);
    let (child, _stderr) = start_until(&scene, &["--wait"], "waiting");
    assert!(!scene.exists("channel/linux-64/repodata.json"));
    drop(held);
    Run::of(child).exits(0).counts("signed", 3);
}

#[test]
fn who_waits_can_be_interrupted() {
    let scene = Scene::of_three();
    let held = hold(&scene);
    let (mut child, mut stderr) = start_until(&scene, &["--wait"], "waiting");
    signal(&child, Signal::INT);
    // Were it deaf, it would wait for as long as the lock is held.
    let mut patience = 100;
    while child.try_wait().unwrap().is_none() && patience > 0 {
        std::thread::sleep(Duration::from_millis(50));
        patience -= 1;
    }
    drop(held);
    let mut said = String::new();
    stderr.read_to_string(&mut said).unwrap();
    let status = child.wait().unwrap().code();
    assert_eq!((patience > 0, status), (true, Some(130)), "{said}");
    assert!(!scene.exists("channel/linux-64/repodata.json"));
}

#[test]
fn no_lock_goes_without() {
    let scene = Scene::of_three();
    let _held = hold(&scene);
    scene.index(&["--no-lock"]).exits(0).counts("signed", 3);
    scene.index(&["--no-lock", "--wait"]).exits(2);
}

#[test]
fn two_at_once_lose_no_package() {
    let scene = Scene::of_three();
    let children: Vec<Child> = (0..4)
        .map(|_| scene.index_call(&["--wait"]).start())
        .collect();
    for child in children {
        Run::of(child).exits(0).counts("listed", 3);
    }
    scene.run(&["verify", "channel"]).exits(0);
    scene.index(&[]).exits(0).counts("opened", 0);
}

/// A channel in which a package takes long to read, and takes no room.
pub fn with_a_long_one() -> Scene {
    let scene = Scene::of_three();
    let long = File::options()
        .append(true)
        .open(scene.path("channel/linux-64/b-1.0-0.tar.bz2"));
    long.unwrap().set_len(64 << 30).unwrap();
    scene
}

#[test]
fn an_interrupted_run_stops_soon_and_publishes_nothing() {
    for how in [Signal::INT, Signal::TERM] {
        let scene = with_a_long_one();
        let (child, mut stderr) = start_until(&scene, &[], "reading");
        signal(&child, how);
        Run::of(child).exits(130);
        let mut said = String::new();
        stderr.read_to_string(&mut said).unwrap();
        assert!(said.contains("interrupted"), "{said}");
        assert!(!scene.exists("channel/linux-64/repodata.json"));
        scene.remove("channel/linux-64/b-1.0-0.tar.bz2");
        scene.index(&[]).exits(0).counts("listed", 2);
        scene.run(&["verify", "channel"]).exits(0);
    }
}

#[test]
fn a_killed_run_is_completed_by_the_next() {
    let scene = with_a_long_one();
    for _ in 0..2 {
        let (mut child, _stderr) = start_until(&scene, &[], "reading");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!scene.exists("channel/linux-64/repodata.json"));
    }
    scene.remove("channel/linux-64/b-1.0-0.tar.bz2");
    scene.package("b");
    scene.index(&[]).exits(0).counts("listed", 3);
    scene.run(&["verify", "channel"]).exits(0);
}

#[test]
fn what_a_killed_run_left_is_cleared_away() {
    let scene = Scene::of_three();
    scene.index(&[]).exits(0);
    let left = "channel/linux-64/.sigindex-4711-1.tmp";
    scene.write(left, "half of an ind");
    scene.write("channel/linux-64/.other-4711-1.tmp", "not ours");
    scene.index(&["--dry-run"]).exits(0);
    assert!(scene.exists(left));
    scene.index(&[]).exits(0);
    assert!(!scene.exists(left));
    assert!(scene.exists("channel/linux-64/.other-4711-1.tmp"));
}

#[test]
fn signatures_without_an_index_are_kept_by_the_next_run() {
    let scene = Scene::of_three();
    scene.index(&[]).exits(0);
    scene.remove("channel/linux-64/repodata.json");
    scene.remove("channel/linux-64/repodata_shards.msgpack.zst");
    scene.remove("channel/noarch");
    let run = scene
        .index(&[])
        .exits(0)
        .counts("signed", 0)
        .counts("kept", 3);
    run.counts("added", 3);
    assert!(scene.exists("channel/noarch/repodata.json"));
}
