//! Bad input and faults: what must happen, case by case. `cases` is the list of them, each part with the test that
//! shows it; the others show what is shown nowhere else, by the real binary or, where it shows more, by the library.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::string_slice
)]

#[path = "../support/compiler.rs"]
mod compiler;
#[path = "../support/scene.rs"]
mod scene;
#[path = "../support/shared.rs"]
mod shared;

mod archives;
mod bombs;
mod cases;
mod clock;
mod flawed;
mod folder;
mod limits;
mod metadata;
mod mutants;
mod operators;
mod readers;
mod run;
mod signatures;
