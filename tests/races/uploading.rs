//! An indexer and an uploader, while readers look.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::asked;
use crate::field::{Ended, Ending, Field, held_back, killing};
use crate::scene::builder::Random;
use crate::uploader::upload;

/// Runs on one channel before it has to be quiet.
const RUNS: usize = 14;

/// Flags of one run. What stays on throughout a series is in `always`.
fn flags(chance: &mut Random, always: &[&'static str]) -> Vec<&'static str> {
    let mut flags = always.to_vec();
    match chance.below(5) {
        0 => {}
        1 => flags.push("--drop-refused"),
        _ => flags.extend(["--replace", "--drop-refused"]),
    }
    for flag in ["--rehash", "--resign", "--no-lock"] {
        if chance.below(8) == 0 {
            flags.push(flag);
        }
    }
    flags
}

/// Reads again and again; how often, and what was wrong.
pub fn watch(field: &Field, over: &AtomicBool, reads: &AtomicUsize) -> Vec<String> {
    while !over.load(Ordering::Relaxed) {
        let seen = field.read();
        if !seen.wrong.is_empty() {
            over.store(true, Ordering::Relaxed);
            return seen.wrong;
        }
        // Before the first publication there is nothing to see.
        reads.fetch_add(usize::from(seen.records > 0), Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(25));
    }
    Vec::new()
}

#[test]
fn an_indexer_beside_an_uploader_names_only_what_was_there() {
    let (rounds, seed) = asked();
    let rounds = rounds * 2 / 5;
    let (mut done, mut series, mut uploads) = (0, 0, 0);
    let reads = AtomicUsize::new(0);
    while done < rounds {
        let mut chance = Random::new(seed.wrapping_mul(2_000_003).wrapping_add(series));
        let always: &[&str] = match series % 3 {
            0 => &[],
            1 => &["--all"],
            _ => &["--signatures", "detached", "--bz2"],
        };
        let field = Field::new();
        let (stop, over) = (AtomicBool::new(false), AtomicBool::new(false));
        let wrong: Vec<String> = std::thread::scope(|scope| {
            let _ending = Ending(&[&stop, &over]);
            let upload_chance = Random::new(chance.number());
            let uploader = scope.spawn(|| upload(&field, upload_chance, false, &stop));
            let readers: Vec<_> = (0..2)
                .map(|_| scope.spawn(|| watch(&field, &over, &reads)))
                .collect();
            let mut wrong = Vec::new();
            for _ in 0..RUNS {
                let flags = flags(&mut chance, always);
                match field.index(&flags, killing(&mut chance, 5)) {
                    Ended::Killed | Ended::Exit(0 | 3, _) => {}
                    Ended::Exit(1, run) => wrong.extend(held_back(&run)),
                    Ended::Exit(status, run) => {
                        wrong.push(format!("{status}: {}\n{}", run.stdout, run.stderr));
                    }
                }
                done += 1;
            }
            stop.store(true, Ordering::Relaxed);
            uploads += uploader.join().unwrap();
            over.store(true, Ordering::Relaxed);
            wrong.extend(readers.into_iter().flat_map(|one| one.join().unwrap()));
            wrong
        });
        assert!(wrong.is_empty(), "series {series}, seed {seed}: {wrong:#?}");
        field.settle(always);
        series += 1;
    }
    let reads = reads.into_inner();
    assert!(reads > series as usize, "only {reads} readings");
    eprintln!(
        "an indexer and an uploader: {done} runs in {series} series, {uploads} uploads, {reads} readings, seed {seed}"
    );
}
