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

use sha2::{Digest, Sha256};

#[path = "support/builder.rs"]
mod builder;
#[path = "../benches/generate/channel.rs"]
mod channel;

use channel::splice::Blocks;

fn plan(out: &Path, size: usize) -> channel::Plan {
    channel::Plan {
        out: out.to_owned(),
        packages: 40,
        size,
        conda_share: 0.5,
        subdirs: vec!["linux-64".to_owned(), "noarch".to_owned()],
        seed: 1,
        per_name: 5,
    }
}

fn made(out: &Path, size: usize) -> BTreeMap<String, Vec<u8>> {
    let plan = plan(out, size);
    let made = channel::make(&plan).unwrap();
    assert_eq!(made.packages, 40);
    let mut files = BTreeMap::new();
    for subdir in plan.subdirs {
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
        let members: BTreeMap<String, Vec<u8>> = archive
            .entries()
            .unwrap()
            .map(|member| {
                let mut member = member.unwrap();
                let mut bytes = Vec::new();
                member.read_to_end(&mut bytes).unwrap();
                (member.path().unwrap().to_str().unwrap().to_owned(), bytes)
            })
            .collect();
        let json = |name: &str| -> serde_json::Value {
            serde_json::from_slice(&members[&format!("info/{name}")]).unwrap()
        };
        let index = json("index.json");
        let text = |key: &str| index[key].as_str().unwrap().to_owned();
        let expected = format!(
            "{}/{}-{}-{}.tar.bz2",
            text("subdir"),
            text("name"),
            text("version"),
            text("build")
        );
        assert_eq!(*path, expected);
        assert!(json("about.json")["root_pkgs"].is_array(), "{path}");
        let recipe = String::from_utf8(members["info/recipe/meta.yaml"].clone()).unwrap();
        assert!(recipe.contains(&text("build")), "{path}: {recipe}");
        for installed in json("paths.json")["paths"].as_array().unwrap() {
            let bytes = &members[installed["_path"].as_str().unwrap()];
            assert_eq!(installed["size_in_bytes"], bytes.len(), "{path}");
            let sha256 = Sha256::digest(bytes);
            let hex: String = sha256.iter().map(|it| format!("{it:02x}")).collect();
            assert_eq!(installed["sha256"], hex, "{path}");
        }
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

/// The first block of a stream, taken out by its place: what a reader has to decode before it sees anything.
#[test]
fn the_first_block_holds_info_and_what_follows() {
    let folder = tempfile::tempdir().unwrap();
    let plan = channel::Plan {
        packages: 1,
        conda_share: 0.0,
        ..plan(folder.path(), 3_000_000)
    };
    channel::make(&plan).unwrap();
    let path = plan.identity(0).path(builder::Format::TarBz2);
    let bz2 = std::fs::read(folder.path().join(path)).unwrap();
    let tar = unpacked(&bz2);
    let identity = plan.identity(0);
    let info = plan.info(&identity).about_json();
    let about = tar.windows(info.len()).position(|at| at == info).unwrap();
    assert!(about < 50_000);
    // The level says how large blocks may be, and the second begins where most of the first is used.
    assert_eq!(&bz2[..4], b"BZh9");
    let starts = block_starts(&bz2);
    assert_eq!(starts[0], 32);
    let (first, second) = (starts[0] / 8, starts[1] / 8);
    assert!(
        (400_000..500_000).contains(&(second - first)),
        "{first} to {second}"
    );
}

/// Where blocks begin, in bits.
fn block_starts(bz2: &[u8]) -> Vec<usize> {
    let mut last = 0_u64;
    let mut starts = Vec::new();
    for at in 0..bz2.len() * 8 {
        let bit = bz2[at / 8] >> (7 - at % 8) & 1;
        last = (last << 1 | u64::from(bit)) & 0xffff_ffff_ffff;
        if last == 0x3141_5926_5359 {
            starts.push(at + 1 - 48);
        }
    }
    starts
}

#[test]
fn a_payload_that_repeats_itself_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let plan = channel::Plan {
        packages: 1,
        conda_share: 1.0,
        ..plan(folder.path(), 40_000_000)
    };
    channel::make(&plan).unwrap();
    let path = plan.identity(0).path(builder::Format::Conda);
    let bytes = std::fs::read(folder.path().join(path)).unwrap();
    let frame = [0x28, 0xb5, 0x2f, 0xfd];
    let start = bytes.windows(4).position(|at| at == frame).unwrap();
    let mut tar = Vec::new();
    let mut decoder = zstd::Decoder::new(&bytes[start..]).unwrap();
    // What follows the frames is the next member's header, which is no frame.
    let _ = decoder.read_to_end(&mut tar);
    let mut archive = tar::Archive::new(tar.as_slice());
    let mut members = archive.entries().unwrap().map(Result::unwrap);
    let mut large = members.next().unwrap();
    let size = std::io::copy(&mut large, &mut std::io::sink()).unwrap();
    assert!(size > 60_000_000 && size == large.header().size().unwrap());
}

#[test]
fn spliced_blocks_unpack_to_what_went_in() {
    let mut random = builder::Random::new(3);
    let large = random.bytes(1_500_000, 4);
    for size in [0, 1, 2, 3, 100, 5_000, 80_000, 850_000] {
        let head = random.bytes(size, 5);
        for tail in [&large[..0], &large[..1], &large[..1_000], &large] {
            let stream = Blocks::of_one(&head).stream_with(&Blocks::of(tail));
            assert!(
                unpacked(&stream) == [head.as_slice(), tail].concat(),
                "{size} and {}",
                tail.len()
            );
        }
    }
}
