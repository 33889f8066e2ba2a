//! Races.
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
#[path = "../support/reader.rs"]
mod reader;
#[path = "../support/scene.rs"]
mod scene;

#[test]
fn a_reader_finds_nothing_wrong_and_then_something() {
    let scene = scene::Scene::of_three();
    scene.index(&["--all"]).exits(0);
    let keys = reader::Keys::of(&scene.path("home/.conda/keys"));
    let seen = reader::read_at_rest(&scene.path("channel"), &keys);
    assert!(seen.wrong.is_empty(), "{:?}", seen.wrong);
    assert!(seen.records >= 18 && seen.files.len() > 20, "{seen:?}");
    scene.change("linux-64/a-1.0-0.conda");
    let seen = reader::read_at_rest(&scene.path("channel"), &keys);
    assert!(
        seen.wrong.iter().any(|why| why.contains("a-1.0-0")),
        "{seen:?}"
    );
}
