//! Workers that share a cache in PostgreSQL, on a channel in a folder or in object storage, all of it real, by the real
//! binary: killed at random and started again, while the database crashes and the store misbehaves; and that what is
//! published is, byte by byte, what one run publishes of a folder.
//!
//! `SIGINDEX_FLEET` sets how many packages lie in the folder (600 unless it says otherwise), `SIGINDEX_FLEET_OBJECTS` how
//! many in object storage (60), `SIGINDEX_SEED` what chance decides.
//! The long form:
//!
//!     SIGINDEX_FLEET=20000 SIGINDEX_FLEET_OBJECTS=2000 cargo test --all-features --test fleet -- --nocapture
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::string_slice
)]

#[path = "../support/postgres.rs"]
mod postgres;
#[path = "../support/s3_proxy.rs"]
mod proxy;
#[path = "../support/python.rs"]
mod python;
#[path = "../support/s3.rs"]
mod s3;
#[path = "../support/scene.rs"]
mod scene;

mod storm;

use std::collections::BTreeMap;
use std::path::Path;

use scene::builder::{Format, PackageSpec};
use scene::{Call, EPOCH, Run, Scene};

/// A number that the environment gives.
fn asked(name: &str, else_: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(else_, |text| text.parse().unwrap())
}

/// One of the verbs on the channel in a bucket, at a moment of the tests' own.
fn call(scene: &Scene, endpoint: &str, verb: &str, words: &[&str]) -> Call {
    let call = scene
        .call(&[&[verb], words].concat())
        .env("SOURCE_DATE_EPOCH", EPOCH)
        .env("AWS_ENDPOINT_URL", endpoint);
    let access = s3::ACCESS.into_iter();
    access.fold(call, |call, (name, value)| call.env(name, value))
}

/// Packages of both formats in two subdirs.
fn fill(count: u64, put: impl Fn(&str, Vec<u8>)) {
    for number in 0..count {
        let (subdir, format) = match number % 3 {
            0 => ("noarch", Format::BOTH[0]),
            1 => ("linux-64", Format::BOTH[1]),
            _ => ("linux-64", Format::BOTH[0]),
        };
        let spec = PackageSpec::new(&format!("p{number}"), "1.0", "0").subdir(subdir);
        put(
            &format!("channel/{}", spec.path_in_channel(format)),
            spec.bytes(format),
        );
    }
}

fn is_package(path: &str) -> bool {
    let path = path.trim_end_matches(".sig");
    path.ends_with(".conda") || path.ends_with(".tar.bz2")
}

/// The index files of a channel, of packages and signatures as they lie in a bucket, as one run makes them in a folder
/// with the cache of a single machine.
fn of_one_machine(all: &BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
    let scene = Scene::without_key();
    scene.give_public_key("fixture");
    for (path, bytes) in all.iter().filter(|(path, _)| is_package(path)) {
        scene.write(&format!("channel/{path}"), bytes);
    }
    let run = scene.index_at(EPOCH, &["--all", "--no-sign"]).exits(0);
    let listed = all.keys().filter(|path| path.ends_with(".sig")).count();
    let run = run.counts("kept", listed as u64);
    assert_eq!(run.refusals(), BTreeMap::new());
    index_files(in_folder(&scene.path("channel")))
}

/// The files of a folder, by path.
fn in_folder(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = walkdir::WalkDir::new(root).into_iter().map(Result::unwrap);
    let files = files.filter(|entry| entry.file_type().is_file());
    let named = files.map(|entry| {
        let path = entry.path().strip_prefix(root).unwrap();
        let bytes = std::fs::read(entry.path()).unwrap();
        (path.to_str().unwrap().to_owned(), bytes)
    });
    named.collect()
}

fn index_files(all: impl IntoIterator<Item = (String, Vec<u8>)>) -> BTreeMap<String, Vec<u8>> {
    let files = all.into_iter();
    files
        .filter(|(path, _)| !is_package(path) && path != ".sigindex.lock")
        .collect()
}

#[track_caller]
fn assert_same(one: &BTreeMap<String, Vec<u8>>, other: &BTreeMap<String, Vec<u8>>) {
    let [names, others] = [one, other].map(|files| files.keys().collect::<Vec<_>>());
    assert_eq!(names, others);
    for (path, bytes) in one {
        assert!(other[path] == *bytes, "{path} differs");
    }
}

/// Lets some workers scan at once.
fn workers(count: usize, start: impl Fn() -> Call) -> Vec<Run> {
    let started: Vec<_> = (0..count).map(|_| start().start()).collect();
    started
        .into_iter()
        .map(|child| Run::of(child).exits(0))
        .collect()
}

#[test]
fn a_folder_and_one_cache_or_objects_and_a_shared_one_the_bytes_are_the_same() {
    let Some(database) = postgres::Server::start() else {
        return;
    };
    for server in s3::servers() {
        let at = format!("http://{}", server.address());
        let scene = Scene::new();
        let first = server.bucket();
        fill(30, |key, bytes| first.put(key, bytes));
        let mut expected = None;
        // The first ones sign; signatures hold chance, and so the others find them there.
        let fleets = [("four", 4), ("one", 1), ("index", 0)];
        for (name, count) in fleets {
            let cache = database.database(&format!("{name}_{}", server.name.replace('-', "_")));
            let bucket = server.bucket();
            for (path, bytes) in first.objects("channel") {
                if is_package(&path) {
                    bucket.put(&format!("channel/{path}"), bytes);
                }
            }
            let bucket = if expected.is_none() { &first } else { &bucket };
            let url = bucket.url("channel");
            let words = [url.as_str(), "--json", "--cache", &cache];
            let runs = workers(count, || call(&scene, &at, "scan", &words));
            let verb = if count == 0 { "index" } else { "publish" };
            let run = call(&scene, &at, verb, &[&words[..], &["--all"]].concat()).run();
            let run = run.exits(0).counts("listed", 30);
            assert!(count == 0 || run.report()["counts"]["opened"] == 0);
            assert!(runs.iter().all(|run| run.refusals().is_empty()));
            let all = bucket.objects("channel");
            let expected = expected.get_or_insert_with(|| of_one_machine(&all));
            assert_same(&index_files(all), expected);
        }
    }
}
