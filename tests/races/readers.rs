//! An indexer and many readers, of a signed index too. Where the library runs in this process, on a storage that puts
//! one file in place after the other with a rest between them, readers meet every state that lies between two
//! generations; the real binary is too quick for that.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::asked;
use crate::field::{Ended, Ending, Field, held_back};
use crate::library::library;
use crate::scene::builder::Random;
use crate::slow;
use crate::uploader::upload;
use crate::uploading::watch;

/// Those who read packages too, and those who look at index files alone.
const READERS: usize = 4;
const GLANCERS: usize = 2;
/// Runs on one channel before it has to be quiet.
const RUNS: usize = 25;

/// Looks at index files again and again; what was wrong.
fn look(field: &Field, over: &AtomicBool, reads: &AtomicUsize) -> Vec<String> {
    while !over.load(Ordering::Relaxed) {
        let wrong = field.glance().wrong;
        if !wrong.is_empty() {
            over.store(true, Ordering::Relaxed);
            return wrong;
        }
        reads.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(1));
    }
    Vec::new()
}

/// How an indexer runs.
type Indexes<'i> = &'i dyn Fn(&Field) -> Result<(), String>;

fn race(field: &Field, rounds: usize, seed: u64, index: Indexes<'_>, always: &[&str]) -> String {
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
            let _ending = Ending(&[&stop, &over]);
            let chance = Random::new(seed.wrapping_mul(3_000_017).wrapping_add(series));
            let (stop, over, reads) = (&stop, &over, &reads);
            let uploader = scope.spawn(move || upload(field, chance, true, stop));
            let readers = (0..READERS).map(|_| scope.spawn(|| watch(field, over, reads)));
            let mut readers: Vec<_> = readers.collect();
            readers.extend((0..GLANCERS).map(|_| scope.spawn(|| look(field, over, reads))));
            let mut wrong = Vec::new();
            for _ in 0..RUNS {
                wrong.extend(index(field).err());
                done += 1;
                if over.load(Ordering::Relaxed) {
                    break;
                }
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
    let reads = reads.into_inner();
    let readers = READERS + GLANCERS;
    format!("{done} runs in {series} series, {readers} readers, {reads} readings, seed {seed}")
}

/// A run of the binary, which nobody kills.
fn binary(field: &Field, flags: &[&str]) -> Result<(), String> {
    match field.index(flags, None) {
        Ended::Exit(0 | 3, _) => Ok(()),
        Ended::Exit(1, run) => held_back(&run).map_or(Ok(()), Err),
        Ended::Exit(_, run) => Err(format!("{}\n{}", run.stdout, run.stderr)),
        Ended::Killed => Err("nobody killed it".to_owned()),
    }
}

#[test]
fn readers_of_a_channel_that_is_published_all_the_time_see_whole_files() {
    let (rounds, seed) = asked();
    let field = Field::new();
    field.put(&library()[0].path, 0);
    let always = ["--all"];
    let said = race(
        &field,
        rounds / 20,
        seed,
        &|field| binary(field, &always),
        &always,
    );
    eprintln!("an indexer and readers: {said}");
}

#[test]
fn readers_of_a_channel_that_is_published_slowly_see_whole_files() {
    let (rounds, seed) = asked();
    let field = Field::new();
    field.put(&library()[0].path, 0);
    let said = race(&field, rounds / 20, seed, &slow::index, &["--all"]);
    eprintln!("a slow indexer and readers: {said}");
}

#[cfg(feature = "tuf")]
#[test]
fn readers_of_a_signed_index_see_whole_generations() {
    let (rounds, seed) = asked();
    let field = Field::new();
    field.put(&library()[0].path, 0);
    field.scene.init_signed_index();
    let always = ["--key", "fixture", "--all"];
    field.scene.index_at(crate::scene::EPOCH, &always).exits(0);
    assert!(field.scene.exists("channel/tuf/timestamp.json"));
    let said = race(
        &field,
        rounds / 10,
        seed,
        &|field| binary(field, &always),
        &always,
    );
    eprintln!("a signed index and readers: {said}");
}
