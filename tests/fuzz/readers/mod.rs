//! What the fuzz targets do: each takes bytes that may come from anybody, lets one of sigindex's readers loose on
//! them, and panics where a promise is broken. `cargo fuzz` feeds them by way of `bins/`, and `tests/corpus.rs` replays
//! as an ordinary test what was found worth keeping. Knows sigindex from outside alone.
//!
//! The first byte of an input mostly says which form the rest has: as it stands, or in a form in which checksums and
//! compression, which no chance gets right, are put around it here.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice
)]

#[path = "../../support/builder.rs"]
pub mod builder;
mod cache;
mod conda;
mod feed;
mod held;
mod index_json;
mod inner;
mod patches;
mod pem;
mod repodata;
mod sig;
mod tar_bz2;
mod texts;

/// A target: takes any bytes and comes back, or panics.
pub type Reader = fn(&[u8]);

/// The targets by name.
pub const READERS: [(&str, Reader); 9] = [
    ("cache", cache::read),
    ("conda", conda::read),
    ("index_json", index_json::read),
    ("patches", patches::read),
    ("pem", pem::read),
    ("repodata", repodata::read),
    ("sig", sig::read),
    ("tar_bz2", tar_bz2::read),
    ("texts", texts::read),
];

/// The target of that name, for `bins/`.
#[allow(dead_code)]
pub fn reader(name: &str) -> Reader {
    let found = READERS.iter().find(|(it, _)| *it == name);
    found.unwrap_or_else(|| panic!("no target {name}")).1
}
