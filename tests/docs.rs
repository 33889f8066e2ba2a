//! The documents invent nothing: every command of ours in them, in blocks and in the text, in unit files and in
//! manifests, has flags and subcommands that the binary's own help knows; every benchmark has the options that its
//! source has.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Documents for people, by their paths.
fn documents() -> BTreeMap<String, String> {
    let root = Path::new(ROOT);
    let mut paths = vec![root.join("README.md"), root.join("CHANGELOG.md")];
    for entry in walkdir::WalkDir::new(root.join("docs")) {
        let path = entry.unwrap().into_path();
        if path.extension().is_some_and(|end| end == "md") {
            paths.push(path);
        }
    }
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    let documents = paths
        .iter()
        .map(|path| (path.display().to_string(), read(path)));
    documents.collect()
}

/// The commands of ours in a document, each as its words behind the program's name.
fn commands(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut is_block = false;
    // A command goes on where a line ends in a backslash.
    for line in text.replace("\\\n", " ").lines() {
        if line.trim_start().starts_with("```") {
            is_block = !is_block;
        } else if is_block {
            found.extend(command(line));
        } else {
            found.extend(line.split('`').skip(1).step_by(2).filter_map(command));
        }
    }
    found
}

/// The words of a command of ours, be it typed, in a unit file, or a list in a manifest.
fn command(text: &str) -> Option<Vec<String>> {
    let text = text.split(" #").next()?;
    let text = text.trim().trim_start_matches("$ ");
    let text = text
        .trim_start_matches("ExecStart=")
        .trim_start_matches("- ");
    let text = match text.split_once(": [") {
        Some((_, list)) => list.trim_end_matches(']').replace(['"', ','], " "),
        None => text.to_owned(),
    };
    let mut words = text
        .split_whitespace()
        .map(|word| word.trim_matches(['"', '\'']).to_owned());
    let program = words.next()?;
    let is_ours = program == "sigindex" || program.ends_with("/sigindex");
    // What stands behind `--`, or a `|` or `>` of a shell, is another program's or a file's.
    let is_end = |word: &String| matches!(word.as_str(), "--" | "|" | ">" | "&" | "&&");
    let is_continued = program.ends_with("SIGINDEX");
    (is_ours && !is_continued).then(|| words.take_while(|word| !is_end(word)).collect())
}

/// What the binary says of one of its commands.
fn help(path: &[String]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_sigindex"))
        .args(path)
        .arg("--help")
        .output()
        .unwrap();
    assert!(output.status.success(), "there is no command {path:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Whether a help lists a command.
fn has_command(help: &str, word: &str) -> bool {
    let (_, list) = help.split_once("\nCommands:\n").unwrap_or_default();
    let list = list.split("\n\n").next().unwrap_or_default();
    list.lines()
        .any(|line| line.split_whitespace().next() == Some(word))
}

/// Whether a help lists a flag.
fn has_flag(help: &str, flag: &str) -> bool {
    let is_end = |c: Option<char>| c.is_none_or(|c| !(c.is_ascii_alphanumeric() || c == '-'));
    let mut places = help.match_indices(flag);
    places.any(|(at, _)| {
        is_end(
            help.get(at + flag.len()..)
                .and_then(|rest| rest.chars().next()),
        )
    })
}

/// What is wrong with a command.
fn fault(words: &[String]) -> Option<String> {
    let mut path: Vec<String> = Vec::new();
    let mut text = help(&path);
    for word in words {
        if !has_command(&text, word) {
            break;
        }
        path.push(word.clone());
        text = help(&path);
    }
    // Where commands are listed, a plain word that is none was invented. `sigindex` itself takes a folder, too.
    let next = words.get(path.len());
    let is_folder = |word: &String| {
        word == "channel"
            || word.contains(['/', '.', '<', '[', '-'])
            || word.to_uppercase() == *word
    };
    if let Some(word) = next.filter(|word| path.is_empty() && !is_folder(word)) {
        return Some(format!("there is no command {word}"));
    }
    let flags = words
        .iter()
        .filter(|word| word.starts_with('-') && word.as_str() != "-");
    for flag in flags {
        let flag = flag.split(['=', '[', ']', '…']).next().unwrap_or_default();
        if !has_flag(&text, flag) {
            return Some(format!("`sigindex {}` has no {flag}", path.join(" ")));
        }
    }
    None
}

#[test]
fn every_command_in_the_documents_is_one() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for (path, text) in documents() {
        for words in commands(&text) {
            seen += 1;
            if let Some(fault) = fault(&words) {
                wrong.push(format!("{path}: sigindex {}: {fault}", words.join(" ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 20, "only {seen} commands were found");
}

#[test]
fn this_test_sees_what_it_should() {
    let text = "Say `sigindex keys add K.pub --name=K` or `x`.\n```console\n$ sigindex verify \\\n    channel --quiet # --no\n\
                ExecStart=/usr/bin/sigindex keys -- --no\ncommand: [\"sigindex\", \"keys\", \"--json\"]\nls\n```\n";
    let found: Vec<String> = commands(text).iter().map(|words| words.join(" ")).collect();
    assert_eq!(
        found,
        [
            "keys add K.pub --name=K",
            "verify channel --quiet",
            "keys",
            "keys --json"
        ]
    );
    let fault = |text: &str| {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        fault(&words)
    };
    for right in [
        "keys add K.pub --name=K",
        "CHANNEL --json",
        "channel -q",
        "keygen NAME --size 2048",
    ] {
        assert_eq!(fault(right), None, "{right}");
    }
    for wrong in [
        "keys add --channel x",
        "frobnicate",
        "CHANNEL --fingerprint",
        "keys --jso",
        "keygen -z",
    ] {
        assert!(fault(wrong).is_some(), "{wrong}");
    }
}

/// The benchmarks that a document runs: the name of each, and the words behind `--`.
fn benchmarks(text: &str) -> Vec<(String, Vec<String>)> {
    let text = text.replace("\\\n", " ");
    let found = text.split("cargo bench --bench ").skip(1).map(|rest| {
        let line = rest.split(['\n', '`']).next().unwrap_or_default();
        let line = line.split(" #").next().unwrap_or_default();
        // What is quoted is another program's.
        let ours: String = line.split('\'').step_by(2).collect();
        let mut words = ours.split_whitespace().map(str::to_owned);
        let name = words.next().unwrap_or_default();
        (
            name,
            words.skip_while(|word| word != "--").skip(1).collect(),
        )
    });
    found.collect()
}

#[test]
fn every_benchmark_in_the_documents_is_one() {
    let read = |path: &str| std::fs::read_to_string(Path::new(ROOT).join(path));
    let mut seen = BTreeSet::new();
    for (path, text) in documents() {
        for (name, words) in benchmarks(&text) {
            let main = read(&format!("benches/{name}/main.rs"));
            let main = main.unwrap_or_else(|_| panic!("{path}: there is no benchmark {name}"));
            for (at, word) in words.iter().enumerate() {
                // An option is a field of the same name.
                let field = word.strip_prefix("--").map(|flag| flag.replace('-', "_"));
                let is_there = field.is_none_or(|field| main.contains(&format!("    {field}: ")));
                assert!(is_there, "{path}: {name} has no {word}");
                if word == "--rows" {
                    let rows = read("benches/compare/rows.rs").unwrap();
                    for row in words[at + 1].split(',').filter(|row| *row != "all") {
                        assert!(
                            rows.contains(&format!("key: \"{row}")),
                            "{path}: no row {row}"
                        );
                    }
                }
            }
            seen.insert(name);
        }
    }
    let all = ["compare", "floor", "gate", "generate", "micro"];
    assert!(all.iter().all(|name| seen.contains(*name)), "only {seen:?}");
}

/// What is in backticks in a line.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

#[test]
fn the_tests_that_documents_name_are_there() {
    let read = |path: &str| std::fs::read_to_string(Path::new(ROOT).join(path));
    for (path, text) in documents() {
        for file in text.lines().flat_map(quoted) {
            let is_test = file.starts_with("tests/") && file.ends_with(".rs");
            assert!(!is_test || read(file).is_ok(), "{path}: there is no {file}");
        }
    }
    let docs = read("docs/trust.md").unwrap();
    let attacks = read("tests/attacks.rs").unwrap();
    let (_, table) = docs
        .split_once("The tests are in `tests/attacks.rs`")
        .expect("where the tests are");
    let (table, _) = table.split_once("\n## ").unwrap();
    let named = table.lines().flat_map(quoted);
    let named: BTreeSet<&str> = named.filter(|word| word.starts_with("attack_")).collect();
    let there = attacks
        .lines()
        .filter_map(|line| line.strip_prefix("fn attack_")?.split_once('('))
        .map(|(name, _)| format!("attack_{name}"));
    let there: BTreeSet<String> = there.collect();
    assert!(there.len() > 5, "{there:?}");
    let missing: Vec<_> = named.iter().filter(|it| !there.contains(**it)).collect();
    assert!(missing.is_empty(), "named and not there: {missing:?}");
    let unnamed: Vec<_> = there
        .iter()
        .filter(|it| !named.contains(it.as_str()))
        .collect();
    assert!(unnamed.is_empty(), "there and not named: {unnamed:?}");
    let rows = table.lines().filter(|line| line.starts_with("| **"));
    for row in rows {
        assert!(row.contains("`attack_"), "no test is named: {row}");
    }
}

#[test]
fn links_lead_somewhere() {
    for (path, text) in documents() {
        let folder = Path::new(&path).parent().unwrap();
        let targets = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://") && !target.starts_with('#')) {
            let file = target.split('#').next().unwrap();
            assert!(folder.join(file).exists(), "{path}: {target} is not there");
        }
    }
}
