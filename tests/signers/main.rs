//! Keys that no worker holds, through the real binary: a command that signs (`--key exec:…`), and a token
//! (`--key pkcs11:…`, a build with that feature). It knows the command line, the files and the exit statuses, and
//! nothing of the library.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice
)]

#[cfg(feature = "pkcs11")]
#[path = "../support/compiler.rs"]
mod compiler;
#[path = "../support/program.rs"]
mod program;
#[path = "../support/scene.rs"]
mod scene;
#[path = "../support/shared.rs"]
mod shared;

mod answers;
mod exec;
#[cfg(feature = "pkcs11")]
mod habits;
#[cfg(feature = "pkcs11")]
mod softhsm;
#[cfg(feature = "pkcs11")]
mod tokens;

use std::collections::BTreeMap;
use std::path::PathBuf;

use scene::{EPOCH, Run, Scene, fixtures};

/// A private key of the fixtures.
fn private(name: &str) -> PathBuf {
    fixtures().join("keys").join(name)
}

/// The script for openssl that the documents show, as it stands there.
fn example() -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/keys-elsewhere.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, text) = text.split_once("\n### openssl\n").unwrap();
    let (_, text) = text.split_once("```sh\n").unwrap();
    let script = text.split_once("```").unwrap().0.to_owned();
    assert!(script.lines().count() <= 10, "{script}");
    script
}

/// A scene whose channel has this many packages, and in which that script lies.
fn scene_of(packages: usize) -> Scene {
    let scene = Scene::without_key();
    for number in 0..packages {
        scene.package(&format!("p{number}"));
    }
    scene.write("openssl.sh", example());
    std::fs::copy(private("fixture"), scene.path("key.pem")).unwrap();
    scene
}

/// Indexes with a key elsewhere, called `fixture`, and more flags.
fn index_by(scene: &Scene, key: &str, flags: &[&str]) -> Run {
    let words = ["--key", key, "--key-name", "fixture"];
    scene.index_at(EPOCH, &[&words[..], flags].concat())
}

/// What is published, the signatures aside: every file of the channel but `.sig` files, by its path.
fn published(scene: &Scene) -> BTreeMap<PathBuf, Vec<u8>> {
    let channel = scene.path("channel");
    let files = walkdir::WalkDir::new(&channel)
        .into_iter()
        .map(Result::unwrap);
    files
        .filter(|file| file.file_type().is_file())
        .map(|file| file.into_path())
        .filter(|path| path.extension().is_none_or(|end| end != "sig"))
        .map(|path| {
            let name = path.strip_prefix(&channel).unwrap().to_owned();
            (name, std::fs::read(path).unwrap())
        })
        .collect()
}

/// Demands what a key file of the same key gives, signatures aside, and that others verify all of them.
fn demand_same_as_by_file(scene: &Scene, packages: usize) {
    let plain = scene_of(packages);
    plain.give_key("fixture");
    let flags = ["--key", "fixture", "--signatures", "detached"];
    plain.index_at(EPOCH, &flags).exits(0);
    assert!(published(scene) == published(&plain), "other bytes");
    let public = private("fixture.pub");
    let mut verified = 0;
    for file in published(scene).into_keys() {
        let path = scene.path("channel").join(&file);
        if PathBuf::from(format!("{}.sig", path.display())).exists() {
            assert!(program::openssl_verifies(&path, &public, &scene.path("")));
            verified += 1;
        }
    }
    assert_eq!(verified, packages);
}
