//! Replays what fuzzing begins with and what it found, as ordinary tests, on the toolchain that builds sigindex: the
//! packages in `fixtures`, seeds (`tests/fuzz/seeds`, made by `support/seeds.rs`), cases that were wrong once or that
//! chance would not find (`tests/fuzz/cases`), and inputs that long runs found to reach something new
//! (`tests/fuzz/found`, packed). Owns how these are kept; what must hold of them is said in `tests/fuzz/readers`.
//!
//! `SIGINDEX_BLESS=1` writes the seeds anew. To fuzz on, and to keep what that finds, see `tests/fuzz/README.md`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::string_slice
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

#[path = "support/fixtures.rs"]
mod fixtures;
#[path = "fuzz/readers/mod.rs"]
mod readers;
#[path = "support/seeds.rs"]
mod seeds;

use readers::{READERS, builder};
use seeds::Inputs;

/// The largest seeds, cases and packed inputs of all targets, in bytes.
const SEEDS_CAP: usize = 300_000;
const FOUND_CAP: u64 = 2_000_000;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz")
}

/// The files two levels below a folder, by `TARGET/NAME`; none where there is no folder.
fn files(root: &Path) -> Inputs {
    let mut files = Inputs::new();
    for entry in walkdir::WalkDir::new(root).min_depth(2).max_depth(2) {
        let Ok(entry) = entry else { continue };
        let name = entry.path().strip_prefix(root).unwrap().to_str().unwrap();
        files.insert(name.to_owned(), fs::read(entry.path()).unwrap());
    }
    files
}

/// What a target's pack holds: each input led by its length, four bytes with the lowest first, all in a zstd frame.
fn found(target: &str) -> Vec<Vec<u8>> {
    let Ok(packed) = fs::read(root().join("found").join(format!("{target}.zst"))) else {
        return Vec::new();
    };
    let mut plain = Vec::new();
    let mut decoder = zstd::Decoder::new(packed.as_slice()).unwrap();
    decoder.read_to_end(&mut plain).unwrap();
    let (mut rest, mut inputs) = (plain.as_slice(), Vec::new());
    while let Some((length, behind)) = rest.split_first_chunk() {
        let length = u32::from_le_bytes(*length) as usize;
        inputs.push(behind[..length].to_vec());
        rest = &behind[length..];
    }
    inputs
}

/// Every input of a target, by what it is called.
fn inputs(target: &str) -> BTreeMap<String, Vec<u8>> {
    let folder = format!("{target}/");
    let mut inputs = BTreeMap::new();
    for (kind, files) in [
        ("fixtures", seeds::of_fixtures()),
        ("seeds", files(&root().join("seeds"))),
        ("cases", files(&root().join("cases"))),
    ] {
        for (name, bytes) in files {
            if let Some(name) = name.strip_prefix(&folder) {
                inputs.insert(format!("{kind}-{name}"), bytes);
            }
        }
    }
    let found = found(target).into_iter().enumerate();
    inputs.extend(found.map(|(at, bytes)| (format!("found-{at}"), bytes)));
    inputs
}

fn replay(target: &str) {
    let reader = readers::reader(target);
    let inputs = inputs(target);
    let mut wrong = Vec::new();
    for (name, bytes) in &inputs {
        if std::panic::catch_unwind(|| reader(bytes)).is_err() {
            wrong.push(name);
        }
    }
    eprintln!("{target}: {} inputs", inputs.len());
    assert!(
        wrong.is_empty(),
        "{target}: {wrong:?}; what broke stands above"
    );
    assert!(inputs.len() > 5, "{target}: where are the inputs?");
}

macro_rules! replayed {
    ($($target:ident)*) => {
        $(#[test]
        fn $target() {
            replay(stringify!($target));
        })*

        const REPLAYED: &[&str] = &[$(stringify!($target)),*];
    };
}

replayed!(cache conda index_json patches pem repodata sig tar_bz2 texts);

#[test]
fn every_target_is_known_everywhere() {
    let names: BTreeSet<_> = READERS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert!(names.iter().eq(REPLAYED));
    let stems = |folder: &str, end: &str| -> BTreeSet<String> {
        let names = fs::read_dir(root().join(folder)).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names
            .filter_map(|name| Some(name.strip_suffix(end)?.to_owned()))
            .collect()
    };
    assert_eq!(stems("bins", ".rs"), names);
    assert_eq!(stems("dictionaries", ".dict"), names);
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    for name in &names {
        assert!(
            manifest.contains(&format!("path = \"bins/{name}.rs\"")),
            "{name}"
        );
    }
}

#[test]
fn committed_seeds_are_what_is_made() {
    let made = seeds::inputs();
    let folder = root().join("seeds");
    if std::env::var_os("SIGINDEX_BLESS").is_some_and(|value| value == "1") {
        let _ = fs::remove_dir_all(&folder);
        fixtures::write(&made, &folder);
    }
    let committed = files(&folder);
    let differing = made
        .iter()
        .filter(|(name, bytes)| committed.get(*name) != Some(bytes));
    let differing: Vec<_> = differing.map(|(name, _)| name).collect();
    let unknown: Vec<_> = committed
        .keys()
        .filter(|name| !made.contains_key(*name))
        .collect();
    assert!(
        differing.is_empty() && unknown.is_empty(),
        "tests/fuzz/seeds is not what is made (SIGINDEX_BLESS=1 writes it anew): {differing:?}, {unknown:?}"
    );
}

#[test]
fn what_is_kept_is_small() {
    let all = files(&root().join("seeds"))
        .into_values()
        .chain(files(&root().join("cases")).into_values());
    let size: usize = all.map(|bytes| bytes.len()).sum();
    assert!(size <= SEEDS_CAP, "seeds and cases have {size} bytes");
    let packs = REPLAYED.iter().filter_map(|target| {
        let pack = root().join("found").join(format!("{target}.zst"));
        Some(fs::metadata(pack).ok()?.len())
    });
    let size: u64 = packs.sum();
    assert!(size <= FOUND_CAP, "what was found has {size} bytes");
}

/// Writes all inputs to where `cargo fuzz` looks for them.
#[test]
#[ignore = "a tool: what to fuzz on with"]
fn unpack() {
    for target in REPLAYED {
        let folder = root().join("corpus").join(target);
        fs::create_dir_all(&folder).unwrap();
        for (name, bytes) in inputs(target) {
            fs::write(folder.join(name), bytes).unwrap();
        }
    }
}

/// Packs what `cargo fuzz cmin` left there, without seeds and cases.
#[test]
#[ignore = "a tool: what was found is kept"]
fn pack() {
    fs::create_dir_all(root().join("found")).unwrap();
    for target in REPLAYED {
        let kept = [files(&root().join("seeds")), files(&root().join("cases"))];
        let kept: BTreeSet<Vec<u8>> = kept.into_iter().flat_map(Inputs::into_values).collect();
        let folder = format!("{target}/");
        let corpus = files(&root().join("corpus")).into_iter();
        let corpus =
            corpus.filter(|(name, bytes)| name.starts_with(&folder) && !kept.contains(bytes));
        let mut inputs: Vec<_> = corpus.map(|(_, bytes)| bytes).collect();
        inputs.sort_by_key(|bytes| (bytes.len(), bytes.clone()));
        let mut plain = Vec::new();
        for bytes in &inputs {
            plain.extend_from_slice(&u32::try_from(bytes.len()).unwrap().to_le_bytes());
            plain.extend_from_slice(bytes);
        }
        let packed = builder::archive::zstd(&plain, 19);
        let pack = root().join("found").join(format!("{target}.zst"));
        eprintln!("{target}: {} inputs, {} bytes", inputs.len(), packed.len());
        fs::write(pack, packed).unwrap();
    }
}
