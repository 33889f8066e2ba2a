//! Holds the architecture: reads the sources as text, and keeps the storeys and invariants that the crate's
//! documentation tells of true. It must not know what the code does. Code for tests is left out.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The most lines that a file has, its tests aside.
const MOST_LINES: usize = 450;
/// The storeys of the table in lib.rs, from above.
const STOREYS: [&str; 4] = ["edge", "stories", "middle", "floor"];

/// A file of the crate, as it is built for users.
struct Source {
    /// Its path below src/.
    path: String,
    /// The first part of its path: `index` of both index.rs and index/mod.rs.
    room: String,
    /// How many modules it is below the crate's root.
    depth: usize,
    /// The text without tests and comments.
    code: String,
    /// The number of lines without tests.
    lines: usize,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Rust files below a folder, by their paths below it.
fn rust_files(folder: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for entry in walkdir::WalkDir::new(folder) {
        let path = entry.unwrap().into_path();
        if path.extension().is_some_and(|end| end == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let name = path.strip_prefix(folder).unwrap().to_str().unwrap();
            files.insert(name.replace('\\', "/"), text);
        }
    }
    files
}

/// The crate's files, without those that are built for tests alone.
fn sources() -> Vec<Source> {
    let files = rust_files(&root().join("src"));
    let tests: BTreeSet<_> = files
        .iter()
        .flat_map(|(path, text)| test_files(path, text))
        .collect();
    let files = files
        .into_iter()
        .filter(|(path, _)| !tests.contains(Path::new(path)));
    let sources: Vec<_> = files.map(|(path, text)| source(path, &text)).collect();
    assert!(sources.len() > 20, "only {} files", sources.len());
    sources
}

fn source(path: String, text: &str) -> Source {
    let text = without_tests(text);
    let module = path.trim_end_matches(".rs").trim_end_matches("/mod");
    Source {
        room: module.split('/').next().unwrap().to_owned(),
        depth: module.split('/').count(),
        code: without_comments(text),
        lines: text.lines().count(),
        path,
    }
}

/// The files of modules that this one declares for tests alone.
fn test_files(path: &str, text: &str) -> Vec<PathBuf> {
    let path = Path::new(path);
    let folder = match path.file_stem().unwrap().to_str().unwrap() {
        "mod" | "lib" | "main" => path.parent().unwrap().to_owned(),
        _ => path.with_extension(""),
    };
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let declared = lines.windows(2).filter_map(|pair| {
        let (_, module) = pair[1].strip_suffix(';')?.split_once("mod ")?;
        (pair[0] == "#[cfg(test)]").then(|| folder.join(format!("{module}.rs")))
    });
    declared.collect()
}

/// The text before the tests, which stand last.
fn without_tests(text: &str) -> &str {
    let tests = text.find("\n#[cfg(test)]\nmod tests {");
    &text[..tests.unwrap_or(text.len())]
}

fn without_comments(text: &str) -> String {
    let lines = text.lines().map(|line| {
        if line.trim_start().starts_with("//") {
            return "";
        }
        line.find(" // ").map_or(line, |comment| &line[..comment])
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The places in code where a path begins with these words, each with what follows.
fn after<'a>(code: &'a str, words: &str) -> Vec<&'a str> {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_' || c == '$' || c == ':';
    let found = code.match_indices(words);
    let found = found.filter(|(at, _)| !code[..*at].ends_with(part_of_name));
    found.map(|(at, _)| &code[at + words.len()..]).collect()
}

fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_'));
    &text[..end.unwrap_or(text.len())]
}

/// The rooms that code names by `crate::`.
fn rooms_named(code: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for path in after(code, "crate::") {
        match path.strip_prefix('{') {
            Some(group) => rooms.extend(firsts(group)),
            None => {
                rooms.insert(identifier(path).to_owned());
            }
        }
    }
    rooms
}

/// The first name of each path in a group, which ends with its brace.
fn firsts(group: &str) -> Vec<String> {
    let (mut depth, mut start, mut firsts) = (0_i32, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                firsts.push(identifier(group[start..at].trim()).to_owned());
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    firsts.retain(|name| !name.is_empty());
    firsts
}

/// Which storey each room is on, 0 above, as the table in lib.rs has it.
fn storeys() -> BTreeMap<String, usize> {
    let text = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let mut rooms = BTreeMap::new();
    for (storey, name) in STOREYS.iter().enumerate() {
        let start = format!("//! | {name} | ");
        let row = text.lines().find_map(|line| line.strip_prefix(&start));
        let row = row.unwrap_or_else(|| panic!("lib.rs has no row {name}"));
        for room in row.split('`').skip(1).step_by(2) {
            let twice = rooms.insert(room.to_owned(), storey);
            assert_eq!(twice, None, "{room} stands twice in the table of lib.rs");
        }
    }
    rooms
}

/// Fails with all that is wrong.
fn none(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Words that stand only in the code of some rooms.
fn only_in(rooms: &[&str], words: &[&str]) -> Vec<String> {
    let mut wrong = Vec::new();
    for source in sources() {
        if !rooms.contains(&source.room.as_str()) {
            let found = words
                .iter()
                .filter(|word| !after(&source.code, word).is_empty());
            wrong.extend(found.map(|word| format!("src/{}: {word}", source.path)));
        }
    }
    wrong
}

#[test]
fn every_room_has_its_storey() {
    let rooms: BTreeSet<_> = sources().into_iter().map(|source| source.room).collect();
    let table: BTreeSet<_> = storeys().into_keys().collect();
    assert_eq!(rooms, table, "the rooms, and those in the table of lib.rs");
}

#[test]
fn nothing_looks_up() {
    let storeys = storeys();
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for source in sources() {
        for room in rooms_named(&source.code) {
            let path = &source.path;
            seen += 1;
            match storeys.get(&room) {
                Some(storey) if *storey >= storeys[&source.room] => {}
                Some(_) => wrong.push(format!("src/{path} looks up to {room}")),
                None => wrong.push(format!("src/{path} names {room}, which is no room")),
            }
        }
    }
    assert!(seen > 50, "only {seen} paths were found");
    none(wrong);
}

#[test]
fn rooms_are_named_from_the_crates_root() {
    let mut wrong = Vec::new();
    for source in sources() {
        let out = "super::".repeat(source.depth);
        if !after(&source.code, &out).is_empty() {
            wrong.push(format!("src/{}: {out} leaves the room", source.path));
        }
    }
    none(wrong);
}

#[test]
fn verify_never_trusts_the_cache() {
    let rooms = ["verify", "audit"];
    let sources = sources();
    let of_rooms = sources
        .iter()
        .filter(|source| rooms.contains(&source.room.as_str()));
    for source in of_rooms {
        let named = rooms_named(&source.code);
        // Not by itself, and not through the story that works with it.
        assert!(!named.contains("cache") && !named.contains("index"));
    }
}

#[test]
fn only_cli_prints() {
    none(only_in(
        &[],
        &["println!", "eprintln!", "print!", "eprint!", "dbg!"],
    ));
    // Bars and lines of progress aside.
    let streams = [
        "std::io::stdout",
        "std::io::stderr",
        "io::stdout",
        "io::stderr",
    ];
    none(only_in(&["cli", "progress"], &streams));
}

#[test]
fn only_stories_start_threads() {
    // The command line makes the pool, which the stories use.
    let rooms = ["index", "sign", "verify", "audit", "cli"];
    // To sleep a moment starts none.
    let starts = [
        "thread::spawn",
        "thread::scope",
        "thread::Builder",
        "rayon::",
    ];
    none(only_in(&rooms, &starts));
}

#[test]
fn only_storage_touches_channel_files() {
    // The others have files of their own: the cache, keys, the log of signatures, patches that the user names,
    // lists of the user's, `~/.netrc`, what is remembered of a signed index, what the gate keeps.
    let rooms = [
        "storage",
        "cache",
        "keys",
        "signing_log",
        "patch",
        "tuf",
        "cli",
        "upstream",
        "gate",
    ];
    let mut wrong = only_in(&rooms, &["File::", "OpenOptions", "fs::"]);
    for source in sources() {
        // Whoever reads packages holds open files, which storage opened.
        let named = after(&source.code, "std::fs");
        if !rooms.contains(&source.room.as_str())
            && named.iter().any(|it| !it.starts_with("::File;"))
        {
            wrong.push(format!("src/{}: std::fs", source.path));
        }
    }
    none(wrong);
}

#[test]
fn libraries_stay_in_their_rooms() {
    for (rooms, library) in [
        (&["cli"][..], "clap"),
        (&["cli"], "signal_hook"),
        (&["cache"], "rusqlite"),
        (&["storage"], "walkdir"),
        (&["package"], "tar"),
        (&["package", "storage"], "md5_many"),
        (&["progress", "report"], "indicatif"),
        (&["keys", "signature"], "rsa"),
        (&["keys", "signature"], "aws_lc_rs"),
        (&["upstream"], "reqwest"),
        (&["package", "repodata"], "zstd"),
        (&["package", "repodata"], "bzip2"),
        (&["gate"], "hyper"),
        (&["gate"], "hyper_util"),
        (&["gate"], "toml"),
        (&["cache", "gate", "storage", "tuf"], "tokio"),
        (&["signature"], "cryptoki"),
        (&["cache"], "tokio_postgres"),
        (&["cache"], "deadpool_postgres"),
        (&["cache"], "rustls"),
        (&["storage"], "object_store"),
    ] {
        none(only_in(rooms, &[&format!("{library}::")]));
    }
}

#[test]
fn names_are_shown_by_one_function() {
    let raw = |source: &Source| source.code.contains(".display()");
    let wrong = sources().into_iter().filter(raw);
    let wrong = wrong.map(|it| format!("src/{}: .display(), which is for shown()", it.path));
    none(wrong.collect());
}

#[test]
fn other_programs_are_started_without_secrets() {
    none(only_in(&["child"], &["Command::new"]));
}

#[test]
fn every_file_says_what_it_owns() {
    let mut wrong = Vec::new();
    for folder in ["src", "tests", "benches"] {
        for (path, text) in rust_files(&root().join(folder)) {
            if !text.starts_with("//! ") {
                wrong.push(format!("{folder}/{path} does not open with //!"));
            }
        }
    }
    none(wrong);
}

#[test]
fn no_file_is_long() {
    let long = sources().into_iter().filter(|it| it.lines > MOST_LINES);
    let long = long.map(|it| format!("src/{}: {} lines without tests", it.path, it.lines));
    none(long.collect());
}

#[test]
fn this_test_sees_what_it_should() {
    let text = "//! Doc of crate::doc.\nuse crate::{a::B, c::{d, e}, f};\nfn g() { crate::h::i() } // crate::j\n\
                /// crate::k\nuse crate::l as m;\nuse nocrate::n;\n\n#[cfg(test)]\nmod tests {\n    use crate::o;\n}\n";
    let source = source("room/file.rs".to_owned(), text);
    let named: Vec<_> = rooms_named(&source.code).into_iter().collect();
    assert_eq!(named, ["a", "c", "f", "h", "l"]);
    assert_eq!((source.room.as_str(), source.depth), ("room", 2));
    let text = "mod a;\n#[cfg(test)]\npub(crate) mod b;\n#[cfg(test)]\nmod tests {\n";
    assert_eq!(test_files("room/mod.rs", text), [Path::new("room/b.rs")]);
    assert_eq!(test_files("room.rs", text), [Path::new("room/b.rs")]);
}
