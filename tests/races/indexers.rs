//! Two and four indexers at once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::asked;
use crate::field::{Ended, Ending, Field, killing};
use crate::library::{library, lying_in};
use crate::scene::builder::Random;

/// Bouts on one channel before it has to be quiet.
const BOUTS: usize = 8;

/// One of those who run at once: whether it waits, and which cache it has.
#[derive(Clone, Debug)]
struct Indexer {
    flags: Vec<&'static str>,
    waits: bool,
}

fn indexer(chance: &mut Random, common: bool, number: usize) -> Indexer {
    let mut flags = Vec::new();
    if !common {
        flags.extend(["--cache", ["one", "two", "three", "four"][number]]);
    }
    let waits = chance.below(2) == 0;
    flags.extend(waits.then_some("--wait"));
    if chance.below(6) == 0 {
        flags.push("--rehash");
    }
    if chance.below(6) == 0 {
        flags.push("--all");
    }
    Indexer { flags, waits }
}

/// Packages come and go between bouts; nobody replaces any.
fn change(field: &Field, chance: &mut Random) {
    let channel = field.scene.path("channel");
    for _ in 0..=chance.below(3) {
        let package = &library()[chance.below(library().len() as u64) as usize];
        match channel.join(&package.path).exists() {
            true => field.take(&package.path),
            false => field.put(&package.path, 0),
        }
    }
    if lying_in(&channel).is_empty() {
        field.put(&library()[0].path, 0);
    }
}

/// Several at once, one of them perhaps killed; how many ran.
fn bout(field: &Field, chance: &mut Random) -> usize {
    change(field, chance);
    let count = if chance.below(3) == 0 { 4 } else { 2 };
    let common = chance.below(2) == 0;
    let indexers: Vec<_> = (0..count)
        .map(|number| (indexer(chance, common, number), killing(chance, 5)))
        .collect();
    let all_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _ending = Ending(&[&all_over]);
        let reader = scope.spawn(|| {
            while !all_over.load(Ordering::Relaxed) {
                let wrong = field.read().wrong;
                assert!(wrong.is_empty(), "{wrong:#?}\n{indexers:?}");
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let running: Vec<_> = indexers
            .iter()
            .map(|(indexer, kill)| scope.spawn(|| field.index(&indexer.flags, *kill)))
            .collect();
        let mut through = false;
        let mut killed = false;
        for ((indexer, _), running) in indexers.iter().zip(running) {
            match running.join().unwrap() {
                Ended::Killed => killed = true,
                Ended::Exit(0, _) => through = true,
                Ended::Exit(1, run) if !indexer.waits => {
                    drop(run.says("the channel is being indexed by"));
                }
                Ended::Exit(_, run) => drop(run.exits(0)),
            }
        }
        all_over.store(true, Ordering::Relaxed);
        reader.join().unwrap();
        assert!(through || killed, "nobody held the lock: {indexers:?}");
    });
    count
}

#[test]
fn two_or_four_indexers_at_once_lose_no_package() {
    let (rounds, seed) = asked();
    let rounds = rounds * 2 / 5;
    let (done, series) = (AtomicUsize::new(0), AtomicUsize::new(0));
    while done.load(Ordering::Relaxed) < rounds {
        let number = series.fetch_add(1, Ordering::Relaxed) as u64;
        let mut chance = Random::new(seed.wrapping_mul(1_000_003).wrapping_add(number));
        let field = Field::new();
        for _ in 0..BOUTS {
            done.fetch_add(bout(&field, &mut chance), Ordering::Relaxed);
        }
        field.settle(&[]);
    }
    let (done, series) = (done.into_inner(), series.into_inner());
    eprintln!("indexers at once: {done} runs in {series} series, seed {seed}");
}
