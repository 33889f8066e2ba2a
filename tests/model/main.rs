//! Any state of a channel, any sequence of what can happen to it, and a model that says what must come of it: which
//! packages a run lists, which it refuses and why, how it ends. The model ([`fates`]) is the contract's table of states,
//! read off the files by code of its own; it knows nothing of earlier runs but what the published index tells.
//!
//! After every run that publishes, the index is that of a run from nothing in the same folder, which is told when each
//! package was first seen and nothing else; readers find nothing wrong; `sigindex verify` agrees; a run after it does
//! nothing. After one that does not, the index is as it was.
//!
//! Most runs are the library's, in this process; some are the real binary's. `PROPTEST_CASES` sets the number of
//! cases; seeds of cases that failed are kept in `proptest-regressions/model.txt`. The long form:
//!
//!     PROPTEST_CASES=1000 cargo test --test model -- --nocapture
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::string_slice
)]

#[path = "../support/afresh.rs"]
mod afresh;
#[path = "../support/msgpack.rs"]
mod msgpack;
#[path = "../support/reader.rs"]
mod reader;
#[path = "../support/scene.rs"]
mod scene;

mod checks;
mod fates;
mod goods;
mod ops;
mod published;
mod runs;
mod world;

use std::collections::BTreeMap;
use std::sync::Mutex;

use proptest::prelude::ProptestConfig;
use proptest::test_runner::{FileFailurePersistence, TestRunner};

use ops::{By, Op, sequence};
use world::World;

/// Cases in the ordinary suite, for each of the two tests.
const CASES: u32 = 24;

fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok();
    ProptestConfig {
        cases: cases.map_or(CASES, |cases| cases.parse().unwrap()),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(
            "proptest-regressions/model.txt",
        ))),
        // A case runs a program many times over.
        max_shrink_iters: 400,
        ..ProptestConfig::default()
    }
}

/// What came of runs so far, and how often.
static SEEN: Mutex<BTreeMap<String, usize>> = Mutex::new(BTreeMap::new());

/// Counts something that came of a run.
fn count(what: String) {
    *SEEN.lock().unwrap().entry(what).or_default() += 1;
}

/// Lives through sequences of one kind, and tells what was seen.
fn live_all(by: By) {
    let mut runner = TestRunner::new(config());
    let most = if by == By::Library { 24 } else { 18 };
    let result = runner.run(&sequence(by, most), |ops| {
        live(&ops);
        Ok(())
    });
    eprintln!("{by:?}: {:?}", SEEN.lock().unwrap());
    if let Err(error) = result {
        panic!("{error}");
    }
}

/// Lives through a sequence; panics at the first thing that is not as the model says.
fn live(ops: &[Op]) {
    let mut world = World::new();
    for (number, op) in ops.iter().enumerate() {
        let lived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.apply(op)));
        if let Err(panic) = lived {
            let why = panic.downcast_ref::<String>().cloned();
            let why = why.or_else(|| panic.downcast_ref::<&str>().map(|why| (*why).to_owned()));
            panic!("step {number}, {op:?}: {}", why.unwrap_or_default());
        }
    }
}

#[test]
fn whatever_happens_a_run_of_the_library_ends_as_the_model_says() {
    live_all(By::Library);
}

#[test]
fn whatever_happens_a_run_of_the_binary_ends_as_the_model_says() {
    live_all(By::Either);
}

#[test]
fn the_last_package_of_a_name_takes_its_shard_with_it() {
    let run = || Op::Run(Box::default());
    let take = |package| Op::Take {
        package,
        with_sig: true,
    };
    live(&[run(), take(5), run(), take(3), run()]);
}
