//! What the documents promise to newcomers, run as it is written: from nothing to a refused bad package by the
//! README's commands alone, and the settings of docs/trust.md that bring conda and pixi behind a gate. conda is
//! 4.2.7, and rattler is what pixi is built on; where they are not to be had, the tests say so and pass, but not
//! in CI.
#![cfg(feature = "gate")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice
)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

#[path = "support/conda.rs"]
mod conda;
#[path = "support/gate.rs"]
mod gate;
#[path = "support/program.rs"]
mod program;
#[path = "support/python.rs"]
mod python;
#[path = "support/rattler.rs"]
mod rattler;
#[path = "support/shared.rs"]
mod shared;

use conda::Conda;
use gate::Gate;
use program::{Home, Ran};
use rattler::Rattler;

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// conda, where it is to be had.
fn conda() -> Option<Conda> {
    shared::demand("conda 4.2.7", Conda::install())
}

/// A home with the fixtures' channel, and conda and sigindex among its programs.
fn home_with(conda: &Conda) -> Home {
    let home = Home::new();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/channel");
    shared::copy_folder(&fixtures, &home.path("channel"));
    std::fs::create_dir(home.path("bin")).unwrap();
    let wrapper = home.path("bin/conda");
    let python = conda.python();
    let script = format!("#!/bin/sh\nexec '{}' -m conda \"$@\"\n", python.display());
    std::fs::write(&wrapper, script).unwrap();
    std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = env!("CARGO_BIN_EXE_sigindex");
    std::os::unix::fs::symlink(program, home.path("bin/sigindex")).unwrap();
    home
}

/// A command line in a home, as a shell takes it.
fn shell(home: &Home, line: &str) -> Command {
    let mut command = Command::new("sh");
    let path = std::env::var("PATH").unwrap_or_default();
    command.args(["-c", line]).env_clear();
    command.env("PATH", format!("{}:{path}", home.path("bin").display()));
    command
        .env("HOME", home.path(""))
        .env("NO_PROXY", "127.0.0.1");
    command.env("CONDA_ENVS_DIRS", home.path("envs"));
    command.current_dir(home.path(""));
    command
}

/// The commands of the README's blocks from one heading on, up to another.
fn commands<'a>(readme: &'a str, from: &str, to: &str) -> Vec<&'a str> {
    let (_, text) = readme.split_once(from).expect(from);
    let (text, _) = text.split_once(to).expect(to);
    text.lines()
        .filter_map(|line| line.strip_prefix("$ "))
        .collect()
}

#[test]
fn from_nothing_to_a_refused_bad_package() {
    let Some(conda) = conda() else {
        return;
    };
    let home = home_with(&conda);
    let readme = read("README.md");
    let lines = commands(&readme, "## The workflow in five steps", "## In CI");
    let (last, good) = lines.split_last().unwrap();
    for line in good {
        let ran = Ran::of(&mut shell(&home, line));
        assert!(ran.ok(), "{line}: {}{}", ran.stdout, ran.stderr);
    }
    assert!(home.path("good/conda-meta").read_dir().unwrap().count() > 0);
    let ran = Ran::of(&mut shell(&home, last));
    assert!(!ran.ok(), "{last}: {}{}", ran.stdout, ran.stderr);
    let said = ran.stdout + &ran.stderr;
    assert!(said.contains("oldtimer-0.9-0.tar.bz2"), "{said}");
    let meta = home.path("bad/conda-meta").read_dir();
    let installed = meta.into_iter().flatten().flatten();
    let packages =
        installed.filter(|file| file.path().extension().is_some_and(|end| end == "json"));
    assert_eq!(packages.count(), 0, "{said}");
}

/// Signs the index of a home's channel and starts a gate for it.
fn gate(home: &Home) -> Gate {
    for line in [
        "sigindex keygen packages",
        "sigindex keygen root",
        "sigindex keygen index",
        "sigindex trust init channel --root-key root --index-key index",
        "sigindex channel --bz2 --key packages",
        "sigindex keys trust root --channel channel",
    ] {
        let ran = Ran::of(&mut shell(home, line));
        assert!(ran.ok(), "{line}: {}{}", ran.stdout, ran.stderr);
    }
    let line = "exec sigindex gate --channel mine=channel --listen 127.0.0.1:0";
    Gate::start(&mut shell(home, line))
}

/// The block of docs/trust.md in some language that has a word in it, with the gate's real address.
fn setting(language: &str, word: &str, gate: &Gate) -> String {
    let docs = read("docs/trust.md");
    let blocks = docs.split("```").skip(1).step_by(2);
    let mut blocks = blocks.filter_map(|block| block.strip_prefix(&format!("{language}\n")));
    let block = blocks.find(|block| block.contains(word)).expect(word);
    block.replace("http://127.0.0.1:7423", &gate.url)
}

#[test]
fn conda_finds_the_channel_by_its_name_behind_the_gate() {
    let Some(conda) = conda() else {
        return;
    };
    let home = home_with(&conda);
    let gate = gate(&home);
    // This conda can't read .condarc any more, with the YAML of today: it takes the same word as a variable.
    let setting = setting("yaml", "channel_alias", &gate);
    let alias = setting
        .lines()
        .find_map(|line| line.strip_prefix("channel_alias: "));
    let line = "conda create --yes --quiet --prefix env --override-channels --channel mine numbers \
                && conda list --prefix env --explicit";
    let mut command = shell(&home, line);
    let ran = Ran::of(command.env("CONDA_CHANNEL_ALIAS", alias.unwrap()));
    assert!(ran.ok(), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains(&gate.url), "{}", ran.stdout);
}

#[test]
fn pixis_mirrors_keep_the_true_url() {
    let (Some(conda), Some(rattler)) = (conda(), shared::demand("py-rattler", Rattler::install()))
    else {
        return;
    };
    let home = home_with(&conda);
    let gate = gate(&home);
    let setting: toml::Table = setting("toml", "[mirrors]", &gate).parse().unwrap();
    let mirrors = setting["mirrors"].as_table().unwrap();
    let (channel, mirror) = mirrors.iter().next().unwrap();
    let mirror = mirror[0].as_str().unwrap();
    let ran = rattler.run_by_mirror(&home, channel, mirror, "numbers");
    assert!(ran.ok(), "{}{}", ran.stdout, ran.stderr);
    let urls: Vec<String> = std::fs::read_dir(home.path("prefix/conda-meta"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        .map(|path| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
        .map(|record: serde_json::Value| record["url"].as_str().unwrap().to_owned())
        .collect();
    let is_true = |url: &String| url.starts_with("https://channels.example.org/mine/");
    assert!(!urls.is_empty() && urls.iter().all(is_true), "{urls:?}");
}
