//! Workers that share a cache in PostgreSQL and claim their packages there, by the real binary: killed at random and
//! started again, they read each package to its end once. Without PostgreSQL the tests say so and are skipped.

use std::collections::BTreeSet;
use std::process::Child;
use std::time::Duration;

use crate::postgres::Server;
use crate::scene::builder::Random;
use crate::scene::{EPOCH, Run, Scene};
use crate::{assert_divided, call, index_files, publish, scan, scene_of_many};

/// Starts a worker.
fn worker(scene: &Scene, cache: &str) -> Child {
    call(scene, "scan", &["--cache", cache, "--threads", "1"]).start()
}

#[test]
fn four_workers_divide_a_channel_and_the_index_is_that_of_one() {
    let Some(server) = Server::start() else {
        return;
    };
    let cache = server.database("four");
    let (scene, paths) = scene_of_many();
    let started: Vec<Child> = (0..4).map(|_| worker(&scene, &cache)).collect();
    let runs: Vec<Run> = started
        .into_iter()
        .map(|child| Run::of(child).exits(0))
        .collect();
    assert!(runs.iter().all(|run| run.report()["share"] == "claimed"));
    assert_divided(&runs, &paths);
    publish(&scene, &["--cache", &cache])
        .exits(0)
        .counts("opened", 0)
        .counts("kept", paths.len() as u64);
    scene.run(&["verify", "channel"]).exits(0);
    // The signatures are there now; one run by itself, with a cache of its own, publishes the same bytes.
    let many = index_files(&scene.path("channel"));
    for path in many.keys() {
        scene.remove(&format!("channel/{path}"));
    }
    scene.index_at(EPOCH, &["--cache", "own"]).exits(0);
    assert!(index_files(&scene.path("channel")) == many);
}

#[test]
fn workers_that_are_killed_and_come_back_lose_nothing() {
    let Some(server) = Server::start() else {
        return;
    };
    let cache = server.database("killed");
    let (scene, paths) = scene_of_many();
    let mut random = Random::new(11);
    let mut workers: Vec<Child> = (0..4).map(|_| worker(&scene, &cache)).collect();
    for _ in 0..10 {
        std::thread::sleep(Duration::from_millis(random.below(120)));
        let which = usize::try_from(random.below(4)).unwrap();
        let _ = workers[which].kill();
        let _ = workers[which].wait();
        workers[which] = worker(&scene, &cache);
    }
    let runs: Vec<Run> = workers
        .into_iter()
        .map(|child| Run::of(child).exits(0))
        .collect();
    let opened: Vec<String> = runs
        .iter()
        .flat_map(|run| crate::names(run, "opened"))
        .collect();
    let distinct: BTreeSet<&String> = opened.iter().collect();
    assert_eq!(distinct.len(), opened.len(), "read by two: {opened:?}");
    scan(&scene, &["--cache", &cache])
        .exits(0)
        .counts("opened", 0);
    publish(&scene, &["--cache", &cache])
        .exits(0)
        .counts("listed", paths.len() as u64);
    scene.run(&["verify", "channel"]).exits(0);
}
