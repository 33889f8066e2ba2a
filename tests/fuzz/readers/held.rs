//! What holds of every package that is read, and of one that is accepted: in whatever way it is read, it is the same
//! package, and others read it so, too. Must not know where its bytes come from.

use std::fs::File;
use std::io::{Read, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use md5::Md5;
use rustix::fs::{MemfdFlags, memfd_create};
use sha2::{Digest as _, Sha256};
use sigindex::package::{self, FileCaps, Format, Named, Package, PackageError, ReadOptions};
use sigindex::record::hex;

use super::builder::PackageSpec;
use super::builder::archive::tar_of_members;
use super::{conda, index_json};

const MIB: usize = 1 << 20;
const INDEX: &str = "info/index.json";

/// Reads a package in all ways. While fuzzing, those that cost most have their turn with some inputs each.
pub fn package(name: &str, bytes: &[u8]) {
    let turn = crc32fast::hash(bytes) % 4;
    let has_turn = |which| !cfg!(fuzzing) || turn == which;
    let quick = read(name, bytes, false);
    if has_turn(0) {
        same(&quick, &read(name, bytes, false), "read once more");
    }
    let file = memory(bytes);
    let whole = with_options(true, |options| package::read(&file, name, options));
    if has_turn(1) {
        same(&whole, &read(name, bytes, true), "read from memory");
    }
    if has_turn(2) {
        together(name, &file, &quick);
    }
    if let Ok(whole) = &whole {
        agree(quick.as_ref().expect("checked, and then not"), whole);
        if has_turn(3) {
            found_elsewhere(name, &file, whole);
        }
    }
    if let Ok(quick) = &quick {
        digests(quick, bytes);
        if let Some(theirs) = read_by_others(name, bytes) {
            let ours = String::from_utf8_lossy(&quick.index_json);
            assert_eq!(ours, String::from_utf8_lossy(&theirs), "others read this");
        }
        index_json::of_package(quick);
    }
}

type Outcome = Result<Package, PackageError>;

fn with_options<T>(check_archives: bool, work: impl FnOnce(&ReadOptions<'_>) -> T) -> T {
    work(&ReadOptions {
        check_archives,
        cancelled: &AtomicBool::new(false),
        progress: &|_| {},
    })
}

fn read(name: &str, bytes: &[u8], check_archives: bool) -> Outcome {
    let read = AtomicU64::new(0);
    let outcome = package::read_bytes(
        bytes,
        name,
        &ReadOptions {
            check_archives,
            cancelled: &AtomicBool::new(false),
            progress: &|count| {
                read.fetch_add(count, Ordering::Relaxed);
            },
        },
    );
    let (read, size) = (read.into_inner(), bytes.len() as u64);
    assert!(
        read <= size && (outcome.is_err() || read == size),
        "each byte once"
    );
    outcome
}

fn same(one: &Outcome, other: &Outcome, how: &str) {
    match (one, other) {
        (Ok(one), Ok(other)) => assert_eq!(one, other, "{how}"),
        (Err(one), Err(other)) => assert_eq!(one.to_string(), other.to_string(), "{how}"),
        _ => panic!("{how}: {one:?} and {other:?}"),
    }
}

/// An open file that is nowhere but in memory.
pub fn memory(bytes: &[u8]) -> File {
    let mut file = File::from(memfd_create("package", MemfdFlags::CLOEXEC).unwrap());
    file.write_all(bytes).unwrap();
    file
}

/// A package, and what it is when it is read alone.
struct Companion {
    name: &'static str,
    bytes: Vec<u8>,
    alone: Package,
}

/// Sound packages of both formats.
fn companions() -> &'static [Companion; 2] {
    static SOUND: OnceLock<[Companion; 2]> = OnceLock::new();
    SOUND.get_or_init(|| {
        let spec = PackageSpec::new("sound", "1.0", "0");
        let (info, pkg) = (spec.info_members(), spec.payload_members());
        let conda = conda::sound(&tar_of_members(&info), &tar_of_members(&pkg));
        let both = [
            ("sound-1.0-0.conda", conda),
            ("sound-1.0-0.tar.bz2", spec.tar_bz2()),
        ];
        both.map(|(name, bytes)| Companion {
            alone: read(name, &bytes, false).unwrap(),
            name,
            bytes,
        })
    })
}

/// Between others, and twice, it is what it is alone, and so are they.
fn together(name: &str, file: &File, alone: &Outcome) {
    let [first, last] = companions();
    let files = [memory(&first.bytes), memory(&last.bytes)];
    let named = [
        Named {
            file: &files[0],
            name: first.name,
        },
        Named { file, name },
        Named {
            file: &files[1],
            name: last.name,
        },
        Named { file, name },
    ];
    let read = with_options(false, |options| {
        package::read_together(&named, options, &|_, _| false)
    });
    for (at, outcome) in read.iter().enumerate() {
        match at {
            0 => assert_eq!(outcome.as_ref().unwrap(), &first.alone),
            2 => assert_eq!(outcome.as_ref().unwrap(), &last.alone),
            _ => same(alone, outcome, "read together"),
        }
    }
    // Only large contents let the rest wait.
    assert!(read.len() == 4 || read.len() > 1 && alone.is_ok());
}

/// What was read to the stop is what was read to the end, as far as it goes.
fn agree(quick: &Package, whole: &Package) {
    assert_eq!(quick.digests, whole.digests);
    assert_eq!(quick.index_json, whole.index_json);
    let (quick, whole) = (&quick.documents, &whole.documents);
    for (quick, whole) in [
        (&quick.run_exports_json, &whole.run_exports_json),
        (&quick.about_json, &whole.about_json),
        (&quick.recipe, &whole.recipe),
    ] {
        assert!(quick.is_none() || quick == whole);
    }
    let none = sigindex::details::Install::default();
    assert!(quick.install == none || quick.install == whole.install);
}

/// The search for named files finds the same `index.json` in a package that was checked.
fn found_elsewhere(name: &str, file: &File, whole: &Package) {
    let caps = FileCaps {
        each: 16 * MIB as u64,
        together: 16 * MIB as u64,
    };
    let found = with_options(true, |options| {
        package::files(file, name, &|path| path == INDEX, caps, options)
    });
    let (digests, files) = found.expect("checked, and then not");
    assert_eq!(digests, whole.digests);
    assert_eq!(files.get(INDEX), Some(&whole.index_json));
}

/// Digests and size are those of the bytes, and what was taken keeps its caps.
fn digests(package: &Package, bytes: &[u8]) {
    let digests = &package.digests;
    assert_eq!(digests.size, bytes.len() as u64);
    assert_eq!(hex(&digests.sha256), hex(&Sha256::digest(bytes)));
    assert_eq!(hex(&digests.md5), hex(&Md5::digest(bytes)));
    assert!(package.index_json.len() <= 16 * MIB);
    let documents = &package.documents;
    for document in [
        &documents.run_exports_json,
        &documents.about_json,
        &documents.recipe,
    ] {
        assert!(document.as_ref().is_none_or(|text| text.len() <= MIB));
    }
}

/// The first `info/index.json` that readers by others find, if they come so far.
fn read_by_others(name: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    match Format::of(name)? {
        Format::TarBz2 => first_index(bzip2::read::MultiBzDecoder::new(bytes)),
        Format::Conda => {
            let archive = rawzip::ZipArchive::from_slice(bytes).ok()?;
            let (mut found, mut unpacked) = (None, 0);
            for entry in archive.entries() {
                let entry = entry.ok()?;
                let path = entry.file_path();
                let path: &[u8] = path.as_ref();
                // Some take it by its beginning, some unpack all that ends so.
                unpacked += usize::from(path.ends_with(b".tar.zst"));
                if path.starts_with(b"info-") {
                    assert!(found.is_none(), "others see two info members");
                    found = Some(archive.get_entry(entry.wayfinder()).ok()?.data());
                }
            }
            assert!(unpacked <= 2, "others unpack more than the two parts");
            first_index(zstd::Decoder::new(found?).ok()?)
        }
    }
}

fn first_index(stream: impl Read) -> Option<Vec<u8>> {
    let mut archive = tar::Archive::new(stream.take(64 * MIB as u64));
    for entry in archive.entries().ok()? {
        let mut entry = entry.ok()?;
        let path = entry.path_bytes().into_owned();
        let parts = path.split(|byte| *byte == b'/');
        let parts: Vec<&[u8]> = parts.filter(|part| !matches!(*part, b"" | b".")).collect();
        if parts == [b"info".as_slice(), b"index.json"] {
            let mut index = Vec::new();
            entry.read_to_end(&mut index).ok()?;
            return Some(index);
        }
    }
    None
}
