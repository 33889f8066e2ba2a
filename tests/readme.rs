//! The README tells the truth: its workflow runs as it is written, and its commands are those of CI.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(ROOT).join(path)).unwrap()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn the_five_steps_run_as_they_are_written() {
    let readme = read("README.md");
    let (_, block) = readme.split_once("```console\n").expect("a console block");
    let (block, _) = block.split_once("```").unwrap();
    let scratch = tempfile::tempdir().unwrap();
    copy(
        &Path::new(ROOT).join("fixtures/channel"),
        &scratch.path().join("channel"),
    );
    let mut steps = 0;
    for line in block.lines() {
        let words = line
            .strip_prefix("$ sigindex ")
            .expect("a command of ours")
            .split_whitespace();
        let output = Command::new(env!("CARGO_BIN_EXE_sigindex"))
            .args(words)
            .current_dir(scratch.path())
            .env("HOME", scratch.path())
            .env_remove("XDG_CACHE_HOME")
            .env_remove("SIGINDEX_KEYS_DIR")
            .env_remove("SIGINDEX_PRIVATE_KEY")
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{line}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        steps += 1;
    }
    assert_eq!(steps, 5);
    for file in [
        "repodata.json",
        "repodata.json.zst",
        "repodata.json.bz2",
        "greetings-1.0-pyh0_0.conda.sig",
    ] {
        assert!(
            scratch.path().join("channel/noarch").join(file).exists(),
            "{file}"
        );
    }
    assert!(scratch.path().join(".conda/keys/MyKey.pub").exists());
}

#[test]
fn ci_runs_the_two_commands_of_the_readme() {
    let (readme, ci) = (read("README.md"), read(".ci/run"));
    let mut commands = 0;
    for line in ci.lines() {
        if let Some(command) = line
            .strip_prefix("main_command='")
            .or(line.strip_prefix("test_command='"))
        {
            let command = command.strip_suffix('\'').unwrap();
            assert!(readme.contains(&format!("\n{command}\n")), "{command}");
            commands += 1;
        }
    }
    assert_eq!(commands, 2);
}

#[test]
fn the_flags_of_other_indexers_are_taken_as_the_tables_say() {
    let readme = read("README.md");
    let mut seen = 0;
    for line in readme.lines().filter(|line| line.starts_with("| `-")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").collect();
        let (theirs, ours) = (cells.first().unwrap(), cells.last().unwrap());
        if ours.trim_start().starts_with("none") {
            continue;
        }
        // Where a flag is called otherwise here, the last column says how.
        let is_same = ours.contains("the same") || ours.contains("the old name is taken too");
        let named = if is_same { theirs } else { ours };
        let flags = named.split('`').skip(1).step_by(2);
        for flag in
            flags.filter_map(|flag| flag.split([' ', '/']).find(|word| word.starts_with("--")))
        {
            let output = Command::new(env!("CARGO_BIN_EXE_sigindex"))
                .arg(flag)
                .output()
                .unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(!said.contains("unexpected argument"), "{flag}: {said}");
            seen += 1;
        }
    }
    assert!(seen > 35, "{seen}");
}
