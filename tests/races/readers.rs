//! An indexer and many readers, of a signed index too.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::asked;
use crate::field::{Ended, Field, held_back};
use crate::library::library;
use crate::scene::builder::Random;
use crate::uploader::upload;
use crate::uploading::watch;

const READERS: usize = 6;
/// Runs on one channel before it has to be quiet.
const RUNS: usize = 25;

fn race(field: &Field, rounds: usize, always: &[&str], seed: u64) -> (usize, usize) {
    let (reads, stop, over) = (
        AtomicUsize::new(0),
        AtomicBool::new(false),
        AtomicBool::new(false),
    );
    let (mut done, mut series) = (0, 0);
    while done < rounds {
        series += 1;
        stop.store(false, Ordering::Relaxed);
        over.store(false, Ordering::Relaxed);
        let wrong: Vec<String> = std::thread::scope(|scope| {
            let chance = Random::new(seed.wrapping_mul(3_000_017).wrapping_add(series));
            let (stop, over, reads) = (&stop, &over, &reads);
            let uploader = scope.spawn(move || upload(field, chance, true, stop));
            let readers: Vec<_> = (0..READERS)
                .map(|_| scope.spawn(|| watch(field, over, reads)))
                .collect();
            let mut wrong = Vec::new();
            for _ in 0..RUNS {
                match field.index(always, None) {
                    Ended::Exit(0 | 3, _) => {}
                    Ended::Exit(1, run) => wrong.extend(held_back(&run)),
                    Ended::Exit(_, run) => wrong.push(format!("{}\n{}", run.stdout, run.stderr)),
                    Ended::Killed => wrong.push("nobody killed it".to_owned()),
                }
                done += 1;
            }
            stop.store(true, Ordering::Relaxed);
            uploader.join().unwrap();
            over.store(true, Ordering::Relaxed);
            wrong.extend(readers.into_iter().flat_map(|one| one.join().unwrap()));
            wrong
        });
        assert!(wrong.is_empty(), "series {series}, seed {seed}: {wrong:#?}");
        field.settle(always);
    }
    (done, reads.into_inner())
}

#[test]
fn readers_of_a_channel_that_is_published_all_the_time_see_whole_files() {
    let (rounds, seed) = asked();
    let field = Field::new();
    field.put(&library()[0].path, 0);
    field
        .scene
        .index_at(crate::scene::EPOCH, &["--all"])
        .exits(0);
    let (done, reads) = race(&field, rounds / 10, &["--all"], seed);
    eprintln!("an indexer and {READERS} readers: {done} runs, {reads} readings, seed {seed}");
}

#[cfg(feature = "tuf")]
#[test]
fn readers_of_a_signed_index_see_whole_generations() {
    let (rounds, seed) = asked();
    let field = Field::new();
    field.put(&library()[0].path, 0);
    for key in ["index", "root"] {
        field.scene.run(&["keygen", key]).exits(0);
    }
    let init = [
        "trust",
        "init",
        "channel",
        "--root-key",
        "root",
        "--index-key",
        "index",
    ];
    field.scene.run(&init).exits(0);
    let always = ["--key", "fixture", "--all"];
    field.scene.index_at(crate::scene::EPOCH, &always).exits(0);
    assert!(field.scene.exists("channel/tuf/timestamp.json"));
    let (done, reads) = race(&field, rounds / 10, &always, seed);
    eprintln!("a signed index and {READERS} readers: {done} runs, {reads} readings, seed {seed}");
}
