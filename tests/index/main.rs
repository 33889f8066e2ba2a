//! `sigindex CHANNEL`, run as people run it, sentence by sentence of what the program promises; a module
//! for each theme. It knows the command line, the files and the exit statuses, and nothing of the library;
//! `meddler` alone takes a seat in the library, to interfere between two steps of a run.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::string_slice
)]

#[path = "../support/msgpack.rs"]
mod msgpack;
#[path = "../support/scene.rs"]
mod scene;

mod attacks;
mod attestations;
mod cache;
mod choice_of_key;
mod files;
mod folder;
mod kin;
mod ledger;
mod meddler;
mod mishaps;
mod patches;
mod published;
mod runs;
mod saying;
mod second_look;
#[cfg(feature = "tuf")]
mod signed;
mod states;
mod stopping;
mod what_is_signed;
