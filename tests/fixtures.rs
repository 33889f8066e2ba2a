//! Holds the committed fixtures against the code that makes them, byte for byte. It owns nothing but the
//! comparison; with `SIGINDEX_BLESS=1` it writes them anew.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice
)]

use std::path::{Path, PathBuf};

#[path = "support/builder.rs"]
mod builder;
#[path = "support/fixtures.rs"]
mod fixtures;

use fixtures::Tree;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// Every file below the generated folders, by its path below `fixtures/`.
fn committed(root: &Path) -> Tree {
    let mut tree = Tree::new();
    for folder in fixtures::FOLDERS {
        for entry in walkdir::WalkDir::new(root.join(folder)) {
            let entry = entry.unwrap();
            if entry.file_type().is_file() {
                let path = entry.path().strip_prefix(root).unwrap().to_str().unwrap();
                tree.insert(
                    path.replace('\\', "/"),
                    std::fs::read(entry.path()).unwrap(),
                );
            }
        }
    }
    tree
}

fn bless(tree: &Tree, root: &Path) {
    for folder in fixtures::FOLDERS {
        match std::fs::remove_dir_all(root.join(folder)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                panic!("{folder}: {error}")
            }
            _ => {}
        }
    }
    fixtures::write(tree, root);
}

#[test]
fn committed_fixtures_are_what_the_builder_makes() {
    let expected = fixtures::tree();
    if std::env::var_os("SIGINDEX_BLESS").is_some_and(|value| value == "1") {
        bless(&expected, &root());
    }
    let found = committed(&root());
    let missing: Vec<_> = expected
        .keys()
        .filter(|path| !found.contains_key(*path))
        .collect();
    let unknown: Vec<_> = found
        .keys()
        .filter(|path| !expected.contains_key(*path))
        .collect();
    let differing = expected
        .iter()
        .filter(|(path, bytes)| found.get(*path).is_some_and(|it| it != *bytes));
    let differing: Vec<_> = differing.map(|(path, _)| path).collect();
    assert!(
        missing.is_empty() && unknown.is_empty() && differing.is_empty(),
        "fixtures/ is not what the builder makes (SIGINDEX_BLESS=1 writes it anew)\n\
         missing: {missing:?}\nunknown: {unknown:?}\ndiffering: {differing:?}"
    );
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    assert!(
        fixtures::tree() == fixtures::tree(),
        "the builder's bytes depend on more than its input"
    );
}

#[test]
fn committed_packages_are_small() {
    for (path, bytes) in fixtures::tree() {
        let limit = if path.starts_with("channel/") {
            2048
        } else {
            4096
        };
        assert!(bytes.len() < limit, "{path} has {} bytes", bytes.len());
    }
}
