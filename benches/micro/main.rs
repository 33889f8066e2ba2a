//! Parts of a run, one by one, in memory where that is possible: `cargo bench --bench micro`, or with a name behind
//! `--` those that have it in theirs. Owns how long each is measured; what is measured is in the files beside it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice
)]

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

#[path = "../../tests/support/builder.rs"]
mod builder;
#[path = "../generate/channel.rs"]
mod channel;
mod packages;
mod reading;
mod rendering;
mod signing;

/// Few samples: what is worth doing shows in ten, and all of them together are to take a minute or two.
fn few() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

criterion_group! {
    name = parts;
    config = few();
    targets = reading::hashing, reading::packages, signing::keys, rendering::records, rendering::files
}
criterion_main!(parts);
