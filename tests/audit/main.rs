//! `sigindex verify CHANNEL` and `verify --prefix`, run as people run them: a good channel, in which one thing is
//! spoilt, and what is said of it. A module for each way in; `signed` alone takes a seat in the library, to sign an
//! index as it needs it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::string_slice
)]

#[cfg(feature = "http")]
#[path = "../support/http.rs"]
mod http;
#[path = "../support/scene.rs"]
mod scene;

mod channel;
mod prefix;
#[cfg(feature = "http")]
mod remote;
#[cfg(feature = "tuf")]
mod signed;

use scene::builder::{Format, PackageSpec};
use scene::{Run, Scene};
use serde_json::Value;

/// A published channel with all kinds of index files, `a` in both formats, `b` and `c`; and the paths of `a`.
fn good() -> (Scene, String) {
    let scene = Scene::of_three();
    let a = scene.package("a");
    let spec = PackageSpec::new("a", "1.0", "0").payload_size(20_000, 1);
    scene.put(&spec, Format::TarBz2);
    scene.put(&spec, Format::Conda);
    scene.index(&["--all"]).exits(0);
    (scene, a)
}

/// Audits, and gives what came out as JSON.
fn audited(scene: &Scene, status: i32, words: &[&str]) -> Value {
    let run = scene.run(&[&["verify", "--json"], words].concat());
    run.exits(status).report()
}

/// The findings of the only channel, each as `FILE: WHAT VERDICT: WHY`.
fn findings(report: &Value) -> Vec<String> {
    lines(&report["channels"][0]["findings"])
}

fn lines(findings: &Value) -> Vec<String> {
    let text = |one: &Value, key: &str| one[key].as_str().unwrap_or_default().to_owned();
    let line = |one: &Value| {
        let [file, what, verdict, why] =
            ["file", "what", "verdict", "why"].map(|key| text(one, key));
        format!("{file}: {what} {verdict}: {why}")
    };
    findings.as_array().unwrap().iter().map(line).collect()
}

/// One of the lines begins and goes on like this.
#[track_caller]
fn has(lines: &[String], begins: &str, part: &str) {
    let found = lines
        .iter()
        .any(|line| line.starts_with(begins) && line.contains(part));
    assert!(found, "{begins} … {part}: {}", lines.join("\n"));
}

/// Rewrites a JSON file.
fn edit(scene: &Scene, path: &str, edit: impl FnOnce(&mut Value)) {
    let mut json = scene.json(path);
    edit(&mut json);
    scene.write(path, json.to_string());
}

#[track_caller]
fn lines_of(run: &Run) -> Vec<&str> {
    run.stdout.lines().collect()
}
