//! What is built into the program: every dependency is a release from the registry, under a licence that deny.toml allows,
//! and nothing of ours is unsafe; what only fuzzing builds is held to the same, as far as its lock file tells and its
//! crates are here. It needs cargo and the crates that the build had anyway, no network. What it can't see is advisories: `cargo deny check` reads the same deny.toml, where their list is at hand.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr
)]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// Where releases come from, as Cargo.lock says it.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The program, and what only fuzzing builds, which has a lock file of its own.
const OURS: &str = "";
const FUZZING: &str = "tests/fuzz";

fn file(path: &str) -> String {
    std::fs::read_to_string(Path::new(ROOT).join(path)).unwrap()
}

/// All packages that a build for Linux with every feature has, tests and benchmarks included.
fn packages() -> Vec<Value> {
    let packages = packages_of(OURS).unwrap_or_else(|said| panic!("cargo metadata: {said}"));
    assert!(packages.len() > 100, "only {} packages", packages.len());
    packages
}

/// The same of one of our workspaces; what cargo said where a crate is not here.
fn packages_of(folder: &str) -> Result<Vec<Value>, String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--locked", "--offline", "--format-version=1"]);
    cargo.args([
        "--all-features",
        "--filter-platform=x86_64-unknown-linux-gnu",
    ]);
    let folder = Path::new(ROOT).join(folder);
    let output = cargo.current_dir(folder).output().unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let all: Value = serde_json::from_slice(&output.stdout).unwrap();
    let is_built: BTreeSet<&str> = all["resolve"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| node["id"].as_str().unwrap())
        .collect();
    let packages = all["packages"].as_array().unwrap().iter();
    let packages = packages.filter(|package| is_built.contains(package["id"].as_str().unwrap()));
    Ok(packages.cloned().collect())
}

/// What a workspace's lock file pins, by name, ours aside.
fn locked(folder: &str) -> Vec<toml::Value> {
    let path = Path::new(folder).join("Cargo.lock");
    let lock: toml::Value = toml::from_str(&file(path.to_str().unwrap())).unwrap();
    let mut packages = lock["package"].as_array().unwrap().clone();
    packages.retain(|package| !is_ours(package["name"].as_str().unwrap()));
    assert!(packages.len() > 100, "only {} packages", packages.len());
    packages
}

fn is_ours(name: &str) -> bool {
    ["sigindex", "sigindex-fuzz"].contains(&name)
}

fn policy() -> toml::Value {
    toml::from_str(&file("deny.toml")).unwrap()
}

/// Fails where a package has a licence that neither all may have, nor it alone.
fn licences_are_allowed(packages: &[Value]) {
    let policy = policy();
    let named = |list: &toml::Value| -> Vec<spdx::Licensee> {
        let names = list.as_array().unwrap().iter();
        names
            .map(|name| spdx::Licensee::parse(name.as_str().unwrap()).unwrap())
            .collect()
    };
    let allowed = named(&policy["licenses"]["allow"]);
    let exceptions = policy["licenses"]["exceptions"].as_array().unwrap();
    for package in packages {
        let name = package["name"].as_str().unwrap();
        let its_own = exceptions
            .iter()
            .filter(|one| one["crate"].as_str() == Some(name));
        let its_own: Vec<_> = its_own.flat_map(|one| named(&one["allow"])).collect();
        let licence = package["license"].as_str().unwrap_or_default();
        let expression = spdx::Expression::parse_mode(licence, spdx::ParseMode::LAX);
        let expression = expression.unwrap_or_else(|error| panic!("{name}: {error}"));
        let is_allowed = expression.evaluate(|asked| {
            let mut licensees = allowed.iter().chain(&its_own);
            licensees.any(|licensee| licensee.satisfies(asked))
        });
        assert!(is_allowed, "{name}: {licence} is not in deny.toml");
    }
}

#[test]
fn every_licence_is_allowed() {
    licences_are_allowed(&packages());
}

#[test]
fn every_licence_of_what_fuzzing_builds_is_allowed() {
    match packages_of(FUZZING) {
        Ok(packages) => licences_are_allowed(&packages),
        Err(said) => {
            assert!(
                !said.contains("the lock file"),
                "tests/fuzz/Cargo.lock is old: {said}"
            );
            eprintln!("skipped: not all that fuzzing builds is here: {said}");
        }
    }
}

#[test]
fn no_exception_is_for_what_is_shipped() {
    let policy = policy();
    let exceptions = policy["licenses"]["exceptions"].as_array().unwrap();
    let shipped = locked(OURS);
    for exception in exceptions {
        let is_shipped = shipped
            .iter()
            .any(|package| package["name"] == exception["crate"]);
        assert!(!is_shipped, "{exception:?}");
    }
}

#[test]
fn every_dependency_is_a_release_with_its_checksum() {
    for package in packages() {
        let name = package["name"].as_str().unwrap();
        let source = package["source"].as_str();
        assert_eq!(source, (!is_ours(name)).then_some(REGISTRY), "{name}");
    }
    for package in [OURS, FUZZING].into_iter().flat_map(locked) {
        assert_eq!(package["source"].as_str(), Some(REGISTRY), "{package:?}");
        assert!(package.get("checksum").is_some(), "{package:?}");
    }
}

#[test]
fn a_release_is_the_same_wherever_it_is_locked() {
    let ours = locked(OURS);
    for package in locked(FUZZING) {
        let mut same = ours
            .iter()
            .filter(|one| one["name"] == package["name"] && one["version"] == package["version"]);
        assert!(
            same.all(|one| one["checksum"] == package["checksum"]),
            "{package:?}"
        );
    }
}

#[test]
fn no_crate_that_the_policy_bans() {
    let policy = policy();
    let banned = policy["bans"]["deny"].as_array().unwrap();
    assert!(!banned.is_empty());
    let (packages, fuzzing) = (packages(), locked(FUZZING));
    for banned in banned {
        let banned = banned["crate"].as_str().unwrap();
        let built = packages
            .iter()
            .filter_map(|package| package["name"].as_str());
        let locked = fuzzing
            .iter()
            .filter_map(|package| package["name"].as_str());
        assert!(built.chain(locked).all(|name| name != banned), "{banned}");
    }
}

#[test]
fn nothing_of_ours_is_unsafe() {
    for manifest in ["Cargo.toml", "tests/fuzz/Cargo.toml"] {
        let text: toml::Value = toml::from_str(&file(manifest)).unwrap();
        let level = text["lints"]["rust"]["unsafe_code"].as_str();
        assert_eq!(level, Some("forbid"), "{manifest}");
    }
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
