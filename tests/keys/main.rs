//! `keygen`, `sign`, `verify` and `keys`, run as people run them: key files, `.sig` files, and what is
//! said of those that are wrong.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::string_slice
)]

#[path = "../support/http.rs"]
mod http;
#[path = "../support/scene.rs"]
mod scene;

mod folder;
mod keygen;
mod prompt;
mod public;
mod sign;
mod uses;
mod verify;

use scene::{Scene, fixtures};

fn fixture(path: &str) -> Vec<u8> {
    std::fs::read(fixtures().join(path)).unwrap()
}

/// A scene with the file `data`, signed by `fixture`.
fn signed() -> Scene {
    let scene = Scene::new();
    scene.write("data", "to be signed\n");
    scene.run(&["sign", "data"]).exits(0).says("SIGNED");
    scene
}
