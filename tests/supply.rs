//! What is built into the program: every dependency is a release from the registry, under a licence that deny.toml allows,
//! and nothing of ours is unsafe. It needs cargo and the crates that the build had anyway, no network. What it
//! can't see is advisories: `cargo deny check` reads the same deny.toml, where their list is at hand.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// Where releases come from, as Cargo.lock says it.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

fn file(path: &str) -> String {
    std::fs::read_to_string(Path::new(ROOT).join(path)).unwrap()
}

/// All packages that a build for Linux with every feature has, tests and benchmarks included.
fn packages() -> Vec<Value> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--locked", "--offline", "--format-version=1"]);
    cargo.args([
        "--all-features",
        "--filter-platform=x86_64-unknown-linux-gnu",
    ]);
    let output = cargo.current_dir(ROOT).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo metadata: {said}");
    let all: Value = serde_json::from_slice(&output.stdout).unwrap();
    let is_built: BTreeSet<&str> = all["resolve"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| node["id"].as_str().unwrap())
        .collect();
    let packages = all["packages"].as_array().unwrap().iter();
    let packages: Vec<Value> = packages
        .filter(|package| is_built.contains(package["id"].as_str().unwrap()))
        .cloned()
        .collect();
    assert!(packages.len() > 100, "only {} packages", packages.len());
    packages
}

fn policy() -> toml::Value {
    toml::from_str(&file("deny.toml")).unwrap()
}

#[test]
fn every_licence_is_allowed() {
    let policy = policy();
    let allowed = policy["licenses"]["allow"].as_array().unwrap().iter();
    let allowed: Vec<spdx::Licensee> = allowed
        .map(|name| spdx::Licensee::parse(name.as_str().unwrap()).unwrap())
        .collect();
    for package in packages() {
        let licence = package["license"].as_str().unwrap_or_default();
        let expression = spdx::Expression::parse_mode(licence, spdx::ParseMode::LAX);
        let expression = expression.unwrap_or_else(|error| panic!("{}: {error}", package["name"]));
        let is_allowed =
            expression.evaluate(|asked| allowed.iter().any(|licensee| licensee.satisfies(asked)));
        assert!(
            is_allowed,
            "{}: {licence} is not in deny.toml",
            package["name"]
        );
    }
}

#[test]
fn every_dependency_is_a_release_with_its_checksum() {
    for package in packages() {
        let name = package["name"].as_str().unwrap();
        let source = package["source"].as_str();
        assert_eq!(source, (name != "sigindex").then_some(REGISTRY), "{name}");
    }
    let lock: toml::Value = toml::from_str(&file("Cargo.lock")).unwrap();
    for package in lock["package"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let has_checksum = package.get("checksum").is_some();
        assert_eq!(has_checksum, name != "sigindex", "{name}");
    }
}

#[test]
fn no_crate_that_the_policy_bans() {
    let policy = policy();
    let banned = policy["bans"]["deny"].as_array().unwrap();
    assert!(!banned.is_empty());
    let packages = packages();
    for banned in banned {
        let banned = banned["crate"].as_str().unwrap();
        assert!(
            packages.iter().all(|package| package["name"] != banned),
            "{banned}"
        );
    }
}

#[test]
fn nothing_of_ours_is_unsafe() {
    let manifest: toml::Value = toml::from_str(&file("Cargo.toml")).unwrap();
    assert_eq!(
        manifest["lints"]["rust"]["unsafe_code"].as_str(),
        Some("forbid")
    );
}

#[test]
fn every_dependency_says_what_it_is_for() {
    let manifest = file("Cargo.toml");
    let mut section = "";
    let mut is_explained = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        }
        let of_dependencies = section.ends_with("dependencies]");
        match line {
            "" => is_explained = false,
            line if line.starts_with('#') => is_explained = true,
            line if of_dependencies && line.contains(" = ") && !line.starts_with(' ') => {
                assert!(is_explained, "no reason stands over {line}");
            }
            _ => {}
        }
    }
}
