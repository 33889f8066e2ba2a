//! Many workers on one channel, by the real binary: shares by number, at once and one after another, some of them killed,
//! and what is published of what they remembered. What they agree on by claims is tested in `claims`, on the library.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::string_slice
)]

#[cfg(feature = "postgres")]
#[path = "../support/postgres.rs"]
mod postgres;
#[path = "../support/scene.rs"]
mod scene;

mod claims;
mod manifests;
#[cfg(feature = "postgres")]
mod shared;
mod stages;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use scene::builder::{Format, PackageSpec, Random};
use scene::{EPOCH, Run, Scene, copy_tree};

/// Packages of each subdir.
const EACH: usize = 14;

/// A scene with packages in two subdirs, and their paths in the channel.
fn scene_of_many() -> (Scene, BTreeSet<String>) {
    let scene = Scene::new();
    let mut paths = BTreeSet::new();
    for (subdir, format) in ["linux-64", "noarch"].into_iter().zip(Format::BOTH) {
        for number in 0..EACH {
            let spec = PackageSpec::new(&format!("p{number}"), "1.0", "0").subdir(subdir);
            paths.insert(scene.put(&spec, format));
        }
    }
    (scene, paths)
}

/// One of the verbs on the channel, with flags, at a moment of the tests' own.
fn call(scene: &Scene, verb: &str, flags: &[&str]) -> scene::Call {
    let words = [&[verb, "channel", "--json"], flags].concat();
    scene.call(&words).env("SOURCE_DATE_EPOCH", EPOCH)
}

fn scan(scene: &Scene, flags: &[&str]) -> Run {
    call(scene, "scan", flags).run()
}

fn publish(scene: &Scene, flags: &[&str]) -> Run {
    call(scene, "publish", flags).run()
}

/// A list of a report.
fn names(run: &Run, list: &str) -> Vec<String> {
    serde_json::from_value(run.report()[list].clone()).unwrap()
}

/// The index files of a channel, by path.
fn index_files(channel: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in walkdir::WalkDir::new(channel) {
        let entry = entry.unwrap();
        let path = entry.path().strip_prefix(channel).unwrap();
        let path = path.to_str().unwrap().to_owned();
        let is_index = ![".conda", ".tar.bz2", ".sig", ".sigindex.lock"]
            .iter()
            .any(|end| path.ends_with(end));
        if entry.file_type().is_file() && is_index {
            files.insert(path, std::fs::read(entry.path()).unwrap());
        }
    }
    files
}

/// Each of these packages stands in just one of the reports.
#[track_caller]
fn assert_divided(runs: &[Run], paths: &BTreeSet<String>) {
    let opened: Vec<String> = runs.iter().flat_map(|run| names(run, "opened")).collect();
    assert_eq!(opened.len(), paths.len(), "{opened:?}");
    assert_eq!(&opened.into_iter().collect::<BTreeSet<_>>(), paths);
}

#[test]
fn parts_in_any_order_and_then_publish_give_the_bytes_of_one_index() {
    let (one, paths) = scene_of_many();
    let files: Vec<String> = paths.iter().map(|path| format!("channel/{path}")).collect();
    let words: Vec<&str> = ["sign"]
        .into_iter()
        .chain(files.iter().map(String::as_str))
        .collect();
    one.run(&words).exits(0);
    let many = Scene::new();
    copy_tree(&one.path("channel"), &many.path("channel"));
    one.index_at(EPOCH, &["--all"]).exits(0);
    let parts = ["3/4", "1/4", "4/4", "2/4"];
    let runs = parts.map(|part| scan(&many, &["--part", part]).exits(0));
    assert_divided(&runs, &paths);
    assert!(runs.iter().all(|run| names(run, "signed").is_empty()));
    assert!(index_files(&many.path("channel")).is_empty());
    publish(&many, &["--all"]).exits(0).counts("opened", 0);
    let [one, many] = [one, many].map(|scene| index_files(&scene.path("channel")));
    assert_eq!(
        one.keys().collect::<Vec<_>>(),
        many.keys().collect::<Vec<_>>()
    );
    for (path, bytes) in &one {
        assert!(many[path] == *bytes, "{path} differs");
    }
}

#[test]
fn workers_at_once_share_a_cache_and_a_log() {
    let (scene, paths) = scene_of_many();
    let start = |part: usize| {
        let part = format!("{part}/4");
        let flags = ["--part", &part, "--signing-log", "log", "--threads", "1"];
        call(&scene, "scan", &flags).start()
    };
    let started: Vec<_> = (1..=4).map(start).collect();
    let runs: Vec<Run> = started.into_iter().map(Run::of).collect();
    let runs: Vec<Run> = runs.into_iter().map(|run| run.exits(0)).collect();
    assert_divided(&runs, &paths);
    let logged = scene.text("log");
    let logged: BTreeSet<&str> = logged.lines().collect();
    assert_eq!(logged.len(), paths.len(), "each is signed once");
    publish(&scene, &[])
        .exits(0)
        .counts("kept", paths.len() as u64);
    scene.run(&["verify", "channel"]).exits(0);
    // What is there already is not read again.
    scan(&scene, &[])
        .exits(0)
        .counts("opened", 0)
        .counts("reused", paths.len() as u64);
    publish(&scene, &[]).exits(0).has::<&str>("files", &[]);
    scene
        .index_at(EPOCH, &[])
        .exits(0)
        .has::<&str>("files", &[]);
}

#[test]
fn a_worker_that_was_killed_is_started_again_and_nothing_is_lost() {
    let (scene, paths) = scene_of_many();
    let mut random = Random::new(7);
    for round in 0..12 {
        let part = format!("{}/2", round % 2 + 1);
        let mut child = call(&scene, "scan", &["--part", &part, "--threads", "1"]).start();
        std::thread::sleep(Duration::from_millis(random.below(60)));
        let _ = child.kill();
        let _ = child.wait();
    }
    for part in ["1/2", "2/2"] {
        scan(&scene, &["--part", part]).exits(0);
    }
    publish(&scene, &[])
        .exits(0)
        .counts("listed", paths.len() as u64);
    scene.run(&["verify", "channel"]).exits(0);
    let left = index_files(&scene.path("channel"));
    let is_left_over = |path: &&String| path.contains(".sigindex");
    assert_eq!(left.keys().find(is_left_over), None);
}

#[test]
fn the_environment_of_a_job_array_tells_the_part() {
    let (scene, paths) = scene_of_many();
    let by = |cache: &str, variables: &[(&str, String)]| {
        let call = call(&scene, "scan", &["--no-sign", "--cache", cache]);
        let with = |call: scene::Call, (name, value): &(&str, String)| call.env(name, value);
        variables.iter().fold(call, with).run()
    };
    let kubernetes = |n: usize| {
        let index = ("JOB_COMPLETION_INDEX", n.to_string());
        by("k", &[index, ("SIGINDEX_PARTS", "3".to_owned())])
    };
    let slurm = |n: usize| {
        let id = ("SLURM_ARRAY_TASK_ID", (n + 1).to_string());
        let others = ["COUNT", "MIN", "MAX", "STEP"].map(|it| format!("SLURM_ARRAY_TASK_{it}"));
        let mut all = vec![id];
        all.extend(
            others
                .iter()
                .zip(["3", "1", "3", "1"])
                .map(|(name, value)| (name.as_str(), value.to_owned())),
        );
        by("s", &all)
    };
    let aws_batch = |n: usize| {
        let index = ("AWS_BATCH_JOB_ARRAY_INDEX", n.to_string());
        by("a", &[index, ("AWS_BATCH_JOB_ARRAY_SIZE", "3".to_owned())])
    };
    let arrays: [&dyn Fn(usize) -> Run; 3] = [&kubernetes, &slurm, &aws_batch];
    for array in arrays {
        let runs: Vec<Run> = (0..3).map(|n| array(n).exits(0)).collect();
        assert_divided(&runs, &paths);
        assert_eq!(runs[1].report()["share"], "2/3");
    }
    let index = ("JOB_COMPLETION_INDEX", "1".to_owned());
    by("e", &[index]).exits(2).says("how many there are");
    call(&scene, "scan", &["--parts", "3"])
        .run()
        .exits(2)
        .says("no task of a job array");
    call(&scene, "scan", &["--parts", "3", "--no-sign"])
        .env("JOB_COMPLETION_INDEX", "2")
        .run()
        .exits(0);
    scan(&scene, &["--part", "4/3"]).exits(2).says("not a part");
}

#[test]
fn workers_get_on_with_each_other_and_with_no_indexer() {
    let scene = Scene::of_three();
    let open = || {
        let path = scene.path("channel/.sigindex.lock");
        let mut options = std::fs::File::options();
        options.read(true).write(true).create(true).truncate(false);
        options.open(path).unwrap()
    };
    let indexer = open();
    indexer.lock().unwrap();
    scan(&scene, &[]).exits(1).says("is being indexed by");
    scan(&scene, &["--no-lock", "--part", "1/9"]).exits(0);
    drop(indexer);
    let worker = open();
    worker.lock_shared().unwrap();
    scan(&scene, &[]).exits(0);
    publish(&scene, &[]).exits(1).says("is being indexed by");
    scene.index(&[]).exits(1).says("is being indexed by");
    drop(worker);
    publish(&scene, &["--wait"]).exits(0);
}
