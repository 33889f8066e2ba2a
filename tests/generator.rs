//! Holds the channel generator of the benchmarks to what it promises: valid packages, each another, the
//! same on every run. It makes a few dozen and reads them with the crates alone.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice
)]

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

#[path = "support/builder.rs"]
mod builder;
#[path = "../benches/generate/channel.rs"]
mod channel;
#[path = "../benches/generate/splice.rs"]
mod splice;

use splice::Blocks;

fn made(out: &Path, size: usize) -> BTreeMap<String, Vec<u8>> {
    let subdirs = vec!["linux-64".to_owned(), "noarch".to_owned()];
    let plan = channel::Plan {
        out: out.to_owned(),
        packages: 40,
        size,
        conda_share: 0.5,
        subdirs: subdirs.clone(),
        seed: 1,
        per_name: 5,
    };
    let made = channel::make(&plan).unwrap();
    assert_eq!(made.packages, 40);
    let mut files = BTreeMap::new();
    for subdir in subdirs {
        for entry in std::fs::read_dir(out.join(&subdir)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            files.insert(
                format!("{subdir}/{name}"),
                std::fs::read(entry.path()).unwrap(),
            );
        }
    }
    assert_eq!(
        files.values().map(|file| file.len() as u64).sum::<u64>(),
        made.bytes
    );
    files
}

/// One bz2 stream, no more: what some readers stop behind.
fn unpacked(bz2: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut decoder = bzip2::bufread::BzDecoder::new(bz2);
    decoder.read_to_end(&mut bytes).unwrap();
    assert!(decoder.into_inner().is_empty(), "bytes behind the stream");
    bytes
}

#[test]
fn packages_are_valid_and_named_by_their_metadata() {
    let folder = tempfile::tempdir().unwrap();
    let files = made(folder.path(), 4_000);
    assert_eq!(files.len(), 40);
    let tars: Vec<_> = files
        .iter()
        .filter(|(path, _)| path.ends_with(".tar.bz2"))
        .collect();
    assert_eq!(tars.len(), 20);
    for (path, bytes) in tars {
        let tar = unpacked(bytes);
        let mut archive = tar::Archive::new(tar.as_slice());
        let mut members = archive.entries().unwrap().map(Result::unwrap);
        let index: serde_json::Value = serde_json::from_reader(members.next().unwrap()).unwrap();
        let text = |key: &str| index[key].as_str().unwrap().to_owned();
        let expected = format!(
            "{}/{}-{}-{}.tar.bz2",
            text("subdir"),
            text("name"),
            text("version"),
            text("build")
        );
        assert_eq!(*path, expected);
        assert_eq!(members.count(), 5, "{path}");
    }
}

#[test]
fn sizes_are_near_what_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let total: usize = made(folder.path(), 20_000).values().map(Vec::len).sum();
    assert!(
        (700_000..900_000).contains(&total),
        "40 packages of 20,000 bytes have {total}"
    );
}

#[test]
fn the_same_plan_gives_the_same_bytes() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert!(made(first.path(), 2_000) == made(second.path(), 2_000));
}

#[test]
fn spliced_blocks_unpack_to_what_went_in() {
    let mut random = builder::Random::new(3);
    let large = random.bytes(1_500_000, 4);
    for size in [0, 1, 2, 3, 100, 5_000, 80_000] {
        let head = random.bytes(size, 5);
        for tail in [&large[..0], &large[..1], &large[..1_000], &large] {
            let stream = Blocks::of_few(&head).stream_with(&Blocks::of(tail));
            assert!(
                unpacked(&stream) == [head.as_slice(), tail].concat(),
                "{size} and {}",
                tail.len()
            );
        }
    }
}
