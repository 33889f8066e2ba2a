//! The room as a whole: good packages in all their shapes, a table of flaws, and every cut and flipped bit. Owns
//! nothing but tests.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice
)]

use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::testing::{
    Counting, INDEX, Stored, Tar, Zip, bz2, noise, read, read_counting, with_options,
};
use super::*;

const BZ2: &str = "a-1-0.tar.bz2";
const CONDA: &str = "a-1-0.conda";

#[test]
fn formats_by_name() {
    assert_eq!(Format::of("a-1-0.conda"), Some(Format::Conda));
    assert_eq!(Format::of("a-1-0.tar.bz2"), Some(Format::TarBz2));
    for name in ["a.CONDA", ".conda", ".tar.bz2", "a.bz2", "a.conda.sig", ""] {
        assert_eq!(Format::of(name), None, "{name}");
    }
    assert_eq!(Format::TarBz2.stem("a-1-0.tar.bz2"), "a-1-0");
    assert_eq!(Format::Conda.stem("a-1-0.conda"), "a-1-0");
    assert_eq!(Format::of_os("a.conda".as_ref()), Some(Format::Conda));
    let odd = std::os::unix::ffi::OsStrExt::from_bytes(b"\xff.conda");
    assert_eq!(Format::of_os(odd), Some(Format::Conda));
}

#[test]
fn names_by_name() {
    for (file, name) in [
        ("a-1-0.conda", "a"),
        ("scikit-learn-1.0-py_0.tar.bz2", "scikit-learn"),
        ("a-1-0", "a"),
        ("a-1.conda", "a-1"),
        ("a.conda", "a"),
        ("", ""),
    ] {
        assert_eq!(name_in(file), name, "{file}");
    }
}

/// What must be read, checked or not.
#[test]
fn good_packages() {
    let long = format!("info/{}", "x".repeat(150));
    let descriptor = |signed, wide| {
        Zip::package().change(2, |m| {
            m.flags = 8;
            m.descriptor = Some((signed, wide));
        })
    };
    let streams = |tar: &[u8], pieces: usize| -> Vec<u8> {
        tar.chunks(tar.len().div_ceil(pieces))
            .flat_map(bz2)
            .collect()
    };
    let tar = Tar::package().done();
    let table: Vec<(&str, &str, Vec<u8>)> = vec![
        ("plain", BZ2, Tar::package().bz2()),
        (
            "dot names",
            BZ2,
            Tar::default()
                .member("./", b'5', 0, b"")
                .file("./info/index.json", INDEX)
                .bz2(),
        ),
        (
            "info last",
            BZ2,
            Tar::default()
                .file("lib/a", b"x")
                .file("info/index.json", INDEX)
                .bz2(),
        ),
        ("two streams", BZ2, streams(&tar, 2)),
        ("many streams", BZ2, streams(&tar, 40)),
        ("empty stream in front", BZ2, [bz2(b""), bz2(&tar)].concat()),
        (
            "gnu long name",
            BZ2,
            Tar::package()
                .gnu("L", b'L', long.as_bytes(), false)
                .file("x", b"y")
                .bz2(),
        ),
        (
            "long name of index",
            BZ2,
            Tar::default()
                .gnu("L", b'L', b"info/index.json\0", false)
                .file("x", INDEX)
                .bz2(),
        ),
        (
            "pax name of index",
            BZ2,
            Tar::default()
                .pax(b'x', &[("path", "info/index.json")])
                .file("x", INDEX)
                .bz2(),
        ),
        (
            "pax size",
            BZ2,
            Tar::default()
                .pax(b'x', &[("size", "38")])
                .member("info/index.json", b'0', 0, INDEX)
                .bz2(),
        ),
        (
            "harmless global header",
            BZ2,
            Tar::default()
                .pax(b'g', &[("comment", "x")])
                .file("info/index.json", INDEX)
                .bz2(),
        ),
        (
            "sparse elsewhere",
            BZ2,
            Tar::info().gnu("lib/sparse", b'S', b"", true).bz2(),
        ),
        (
            "link and folder",
            BZ2,
            Tar::info()
                .member("lib", b'5', 0, b"")
                .member("lib/l", b'2', 0, b"")
                .bz2(),
        ),
        (
            "streams of next to nothing",
            BZ2,
            [bz2(b"").repeat(999), Tar::package().bz2()].concat(),
        ),
        ("plain", CONDA, Zip::package().bytes()),
        (
            "no metadata.json",
            CONDA,
            Zip::of(Zip::package().members.split_off(1)).bytes(),
        ),
        ("no version in metadata.json", CONDA, with_metadata("{}")),
        (
            "more in metadata.json",
            CONDA,
            with_metadata(r#"{"x": [], "conda_pkg_format_version": 2}"#),
        ),
        (
            "info first",
            CONDA,
            Zip::of(Zip::package().members.into_iter().rev().collect()).bytes(),
        ),
        ("data descriptor", CONDA, descriptor(true, false).bytes()),
        (
            "data descriptor without signature",
            CONDA,
            descriptor(false, false).bytes(),
        ),
        (
            "wide data descriptor",
            CONDA,
            descriptor(true, true).bytes(),
        ),
        (
            "zip64 fields",
            CONDA,
            Zip::package().change(1, |m| m.zip64 = true).bytes(),
        ),
        (
            "zip64 end",
            CONDA,
            Zip {
                zip64: true,
                ..Zip::package()
            }
            .bytes(),
        ),
        (
            "comment",
            CONDA,
            Zip {
                comment: b"hi".to_vec(),
                ..Zip::package()
            }
            .bytes(),
        ),
        (
            "other member",
            CONDA,
            Zip::package().and(Stored::new("signatures", "x")).bytes(),
        ),
        ("two frames", CONDA, {
            let tar = Tar::info().done();
            let (a, b) = tar.split_at(700);
            let frames = [
                zstd::encode_all(a, 3).unwrap(),
                zstd::encode_all(b, 19).unwrap(),
            ];
            Zip::package()
                .change(2, |m| m.data = frames.concat())
                .bytes()
        }),
    ];
    for (what, name, bytes) in table {
        for check in [false, true] {
            let package = read(&bytes, name, check)
                .unwrap_or_else(|error| panic!("{what} {name} {check}: {error}"));
            assert_eq!(package.index_json, INDEX, "{what}");
            assert_eq!(package.digests.size, bytes.len() as u64, "{what}");
            assert!(package.notes.is_empty(), "{what}: {:?}", package.notes);
        }
    }
}

/// A sound `.conda` whose `metadata.json` says something else.
fn with_metadata(text: &str) -> Vec<u8> {
    let change = |member: &mut Stored| member.data = text.as_bytes().to_vec();
    Zip::package().change(0, change).bytes()
}

/// What must be refused, always (`true`) or where all is checked (`false`), with words of the message.
fn flaws() -> Vec<(&'static str, Vec<u8>, bool, &'static str)> {
    let index = |kind| Tar::default().member("info/index.json", kind, 0, b"");
    let html = b"<!DOCTYPE html><title>404</title>".to_vec();
    let big = |path: &str| Tar::default().member(path, b'0', 10 << 30, b"x");
    let zstd_with = |window: u8| {
        // A frame header that asks for a window of 2^(10 + window/8) bytes, and one raw block.
        [
            &[0x28, 0xb5, 0x2f, 0xfd, 0x00, window, 0x09, 0x00, 0x00][..],
            b"x",
        ]
        .concat()
    };
    let pkg = |tar: Tar| Zip::package().change(1, |m| m.data = tar.zst()).bytes();
    let info = |change: fn(&mut Stored)| Zip::package().change(2, change).bytes();
    vec![
        (BZ2, vec![], true, "is empty"),
        (CONDA, vec![], true, "is empty"),
        (BZ2, Zip::package().bytes(), true, "really a .conda (zip)"),
        (
            CONDA,
            Tar::package().bz2(),
            true,
            "really a .tar.bz2 (bzip2)",
        ),
        (BZ2, Tar::package().done(), true, "not compressed"),
        (BZ2, b"\x1f\x8b\x08 and so on".to_vec(), true, "gzip"),
        (CONDA, Tar::package().zst(), true, "zstd"),
        (CONDA, b"\xfd7zXZ\0\0".to_vec(), true, "xz"),
        (CONDA, html, true, "HTML"),
        (CONDA, b"Not found\n".to_vec(), true, "text"),
        (BZ2, noise(3000, 7), true, "other bytes"),
        (BZ2, b"BZh9".to_vec(), true, "ends early"),
        (
            CONDA,
            b"PK\x03\x04".to_vec(),
            true,
            "end of its directory is missing",
        ),
        (BZ2, bz2(b""), true, "ends early"),
        (BZ2, bz2(&Tar::info().0), true, "ends early"),
        (BZ2, Tar::default().bz2(), true, "no info/index.json"),
        (
            BZ2,
            Tar::default().file("index.json", INDEX).bz2(),
            true,
            "no info/index.json",
        ),
        (BZ2, index(b'2').bz2(), true, "a symbolic link"),
        (BZ2, index(b'1').bz2(), true, "a hard link"),
        (BZ2, index(b'3').bz2(), true, "a device"),
        (BZ2, index(b'6').bz2(), true, "a FIFO"),
        (BZ2, index(b'5').bz2(), true, "a folder"),
        (
            BZ2,
            Tar::default()
                .gnu("info/index.json", b'S', b"", false)
                .bz2(),
            true,
            "a sparse file",
        ),
        (
            BZ2,
            Tar::default()
                .pax(b'x', &[("GNU.sparse.major", "1")])
                .file("info/index.json", INDEX)
                .bz2(),
            true,
            "a sparse file",
        ),
        (
            BZ2,
            Tar::default().file("x/../info/index.json", INDEX).bz2(),
            true,
            "another spelling",
        ),
        (
            BZ2,
            Tar::default().file("/info/index.json", INDEX).bz2(),
            true,
            "another spelling",
        ),
        (
            BZ2,
            Tar::info().file("./info/index.json", INDEX).bz2(),
            true,
            "two members info/index.json",
        ),
        (
            BZ2,
            Tar::package().file("info/index.json", INDEX).bz2(),
            false,
            "two members info/index.json",
        ),
        (
            BZ2,
            Tar::package().file("lib/./a.txt", b"x").bz2(),
            false,
            "two members `lib/./a.txt`",
        ),
        (
            BZ2,
            Tar::info().file("../x", b"").bz2(),
            false,
            "leaves the package's folder",
        ),
        (
            BZ2,
            Tar::info().file("/x", b"").bz2(),
            false,
            "leaves the package's folder",
        ),
        (
            BZ2,
            Tar::info().file("\u{1b}[2J/../../x", b"").bz2(),
            false,
            "`\\u{1b}[2J/../../x`",
        ),
        (
            BZ2,
            [Tar::package().bz2(), b"junk".to_vec()].concat(),
            false,
            "4 bytes behind",
        ),
        (
            BZ2,
            bz2(&[Tar::info().done(), b"junk".to_vec()].concat()),
            false,
            "4 bytes behind",
        ),
        (
            BZ2,
            big("info/index.json").bz2(),
            true,
            "16777216 are allowed",
        ),
        (BZ2, big("info/x").bz2(), true, "67108864 are allowed"),
        (BZ2, big("lib/x").bz2(), true, "ends early"),
        (
            BZ2,
            Tar::default().member("L", b'L', 10 << 30, b"x").bz2(),
            true,
            "1048576 are allowed",
        ),
        (
            BZ2,
            Tar::default().member("x", b'x', 10 << 30, b"x").bz2(),
            true,
            "1048576 are allowed",
        ),
        (
            BZ2,
            Tar::default().member("x", b'x', 5, b"5 a=\n").bz2(),
            true,
            "has none after it",
        ),
        (
            BZ2,
            Tar::default().member("x", b'x', 5, b"9 a=\n").bz2(),
            true,
            "malformed",
        ),
        (
            BZ2,
            Tar::default()
                .pax(b'x', &[("size", "18446744073709551615")])
                .file("y", b"")
                .bz2(),
            true,
            "impossible size",
        ),
        (
            BZ2,
            Tar::default()
                .pax(b'x', &[("size", "-1")])
                .file("y", b"")
                .bz2(),
            true,
            "impossible number",
        ),
        (
            BZ2,
            Tar::default()
                .pax(b'x', &[("path", "a"), ("path", "b")])
                .file("y", b"")
                .bz2(),
            true,
            "two headers",
        ),
        (
            BZ2,
            Tar::default()
                .pax(b'g', &[("path", "info/index.json")])
                .file("y", INDEX)
                .bz2(),
            true,
            "global header",
        ),
        (
            BZ2,
            Tar::default()
                .gnu("L", b'L', b"a", false)
                .gnu("L", b'L', b"b", false)
                .bz2(),
            true,
            "two headers",
        ),
        (
            BZ2,
            Tar::default()
                .gnu("L", b'L', b"a", false)
                .pax(b'x', &[("path", "b")])
                .file("y", b"")
                .bz2(),
            true,
            "two different long names",
        ),
        (
            BZ2,
            Tar::default().member("lib/l", b'2', 512, INDEX).bz2(),
            true,
            "claims to have contents",
        ),
        (
            BZ2,
            Tar::default().raw(&[b'x'; 512]).bz2(),
            true,
            "damaged tar",
        ),
        (CONDA, Zip::of(vec![]).bytes(), true, "0 members info-"),
        (
            CONDA,
            Zip::package()
                .and(Stored::new("info-b.tar.zst", ""))
                .bytes(),
            true,
            "2 members info-",
        ),
        (
            CONDA,
            Zip::package().and(Stored::new("pkg-b.tar.zst", "")).bytes(),
            true,
            "2 members pkg-",
        ),
        (
            CONDA,
            Zip::of(vec![Stored::new("info-a-1-0.tar.zst", Tar::info().zst())]).bytes(),
            false,
            "0 members pkg-",
        ),
        (
            CONDA,
            Zip::package()
                .and(Stored::new("metadata.json", "{}"))
                .bytes(),
            true,
            "two members are called",
        ),
        (
            CONDA,
            with_metadata(r#"{"conda_pkg_format_version": 3}"#),
            true,
            "version` 3",
        ),
        (
            CONDA,
            with_metadata(r#"{"conda_pkg_format_version": "2"}"#),
            true,
            r#"version` \"2\""#,
        ),
        (
            CONDA,
            with_metadata(r#"{"conda_pkg_format_version": 3, "conda_pkg_format_version": 2}"#),
            true,
            "duplicate key",
        ),
        (
            CONDA,
            with_metadata(r#"{"x": 1, "x": 1}"#),
            true,
            "duplicate key",
        ),
        (CONDA, with_metadata("\u{feff}{}"), true, "byte order mark"),
        (CONDA, with_metadata("[]"), true, "not an object"),
        (
            CONDA,
            Zip::package()
                .change(0, |m| m.data = vec![b' '; 70_000])
                .bytes(),
            true,
            "70000 bytes",
        ),
        (CONDA, info(|m| m.flags = 1), true, "is encrypted"),
        (CONDA, info(|m| m.method = 8), true, "method 8"),
        (
            CONDA,
            info(|m| m.local_method = Some(8)),
            true,
            "its method",
        ),
        (CONDA, info(|m| m.local_flags = Some(1)), true, "its flags"),
        (
            CONDA,
            info(|m| m.local_name = Some("info-b-1-0.tar.zst".into())),
            true,
            "its name",
        ),
        (CONDA, info(|m| m.local_size = Some(7)), true, "its size"),
        (CONDA, info(|m| m.local_crc32 = Some(7)), true, "its CRC-32"),
        (CONDA, info(|m| m.local_crc32 = Some(0)), true, "its CRC-32"),
        (
            CONDA,
            info(|m| m.crc32 = Some(7)),
            true,
            "CRC-32 of `info-a-1-0.tar.zst` is wrong",
        ),
        (
            CONDA,
            Zip::package().change(1, |m| m.crc32 = Some(7)).bytes(),
            false,
            "CRC-32 of `pkg-a-1-0.tar.zst` is wrong",
        ),
        (CONDA, info(|m| m.flags = 8), true, "its data descriptor"),
        (
            CONDA,
            info(|m| {
                m.flags = 8;
                m.descriptor = Some((true, false));
                m.descriptor_crc32 = Some(1)
            }),
            true,
            "its data descriptor",
        ),
        (
            CONDA,
            info(|m| m.descriptor = Some((true, false))),
            true,
            "disagree",
        ),
        (CONDA, info(|m| m.extra = vec![1, 0, 9]), true, "malformed"),
        (
            CONDA,
            info(|m| m.extra = vec![0x75, 0x70, 1, 0, 1]),
            true,
            "malformed",
        ),
        (CONDA, info(|m| m.start = Some(60)), true, "overlaps"),
        (CONDA, info(|m| m.start = Some(u32::MAX)), true, "malformed"),
        (
            CONDA,
            Zip {
                before: b"#!/bin/sh\n".to_vec(),
                ..Zip::package()
            }
            .bytes(),
            true,
            "not a .conda (zip) archive",
        ),
        (
            CONDA,
            Zip {
                before: b"PK\x03\x04 and more".to_vec(),
                ..Zip::package()
            }
            .bytes(),
            true,
            "belong to no member",
        ),
        (
            CONDA,
            Zip {
                between: b"hidden".to_vec(),
                ..Zip::package()
            }
            .bytes(),
            true,
            "belong to no member",
        ),
        (
            CONDA,
            Zip {
                behind: b"x".to_vec(),
                ..Zip::package()
            }
            .bytes(),
            true,
            "bytes follow its end",
        ),
        (
            CONDA,
            Zip {
                count: Some(2),
                ..Zip::package()
            }
            .bytes(),
            true,
            "number of members",
        ),
        (
            CONDA,
            Zip {
                directory_size: Some(9),
                ..Zip::package()
            }
            .bytes(),
            true,
            "does not fit",
        ),
        (
            CONDA,
            Zip {
                zip64: true,
                zip64_count: Some(9),
                ..Zip::package()
            }
            .bytes(),
            true,
            "number of members",
        ),
        (
            CONDA,
            Zip::package().and(Stored::new("../x", "")).bytes(),
            false,
            "leaves the package's folder",
        ),
        (
            CONDA,
            Zip::with_info(Tar::default()).bytes(),
            true,
            "no info/index.json",
        ),
        (
            CONDA,
            Zip::with_info(Tar::info().file("info/index.json", b"")).bytes(),
            true,
            "two members info/index.json",
        ),
        (
            CONDA,
            Zip::with_info(Tar::package().file("info/index.json", b"")).bytes(),
            false,
            "two members info/index.json",
        ),
        (
            CONDA,
            pkg(Tar::default().file("info/index.json", INDEX)),
            false,
            "in its pkg member",
        ),
        (
            CONDA,
            pkg(Tar::default().file("info/paths.json", INDEX)),
            false,
            "two members `info/paths.json`",
        ),
        (
            CONDA,
            pkg(Tar::default().file("../x", b"")),
            false,
            "leaves the package's folder",
        ),
        (
            CONDA,
            Zip::package().change(1, |m| m.data.truncate(20)).bytes(),
            false,
            "ends early",
        ),
        (CONDA, info(|m| m.data.truncate(20)), true, "ends early"),
        (
            CONDA,
            info(|m| m.data = noise(300, 3)),
            true,
            "can not be decoded",
        ),
        (
            CONDA,
            Zip::package()
                .change(2, |m| m.data = zstd_with(0xb0))
                .bytes(),
            true,
            "window of more than 128 MiB",
        ),
        (
            BZ2,
            [bz2(b"").repeat(1_001), Tar::package().bz2()].concat(),
            true,
            "1000 bzip2 streams",
        ),
        (
            CONDA,
            Zip::package()
                .change(2, |m| m.data = zstd_with(0x88))
                .bytes(),
            true,
            "ends early",
        ),
    ]
}

#[test]
fn each_flaw_is_refused_in_words() {
    for (at, (name, bytes, always, words)) in flaws().into_iter().enumerate() {
        let error = read(&bytes, name, true)
            .err()
            .unwrap_or_else(|| panic!("{at} ({words}): passed with all checks"));
        assert!(error.to_string().contains(words), "{at}: {error} / {words}");
        let default = read(&bytes, name, false);
        assert_eq!(default.is_err(), always, "{at} ({words}): {default:?}");
    }
}

#[test]
fn oddities_are_noted() {
    let renamed = read(&Zip::package().bytes(), "b-2-0.conda", true).unwrap();
    let stem = Note::StemDiffers {
        member: "a-1-0".into(),
    };
    assert_eq!(renamed.notes, [stem]);
    let info_alone = Zip::of(Zip::package().members.split_off(2)).bytes();
    assert_eq!(
        read(&info_alone, CONDA, false).unwrap().notes,
        [Note::NoPackageMember]
    );
    // Behind an archive that is decoded to its end, and behind one that is not.
    for tar in [Tar::info(), Tar::package()] {
        let bytes = [tar.bz2(), vec![0; 100]].concat();
        let package = read(&bytes, BZ2, false).unwrap();
        assert_eq!(package.notes, [Note::TrailingBytes { bytes: 100 }]);
        assert_eq!(package.index_json, INDEX);
    }
}

#[test]
fn every_cut_is_refused() {
    let streams = [
        bz2(&Tar::package().done()[..1000]),
        bz2(&Tar::package().done()[1000..]),
    ];
    for (name, bytes) in [
        (CONDA, Zip::package().bytes()),
        (
            CONDA,
            Zip {
                zip64: true,
                ..Zip::package()
            }
            .bytes(),
        ),
        (BZ2, Tar::package().bz2()),
        (BZ2, streams.concat()),
    ] {
        for length in 0..bytes.len() {
            for check in [false, true] {
                let cut = read(&bytes[..length], name, check);
                assert!(
                    cut.is_err(),
                    "{name} cut to {length} of {} bytes",
                    bytes.len()
                );
            }
        }
    }
}

#[test]
fn every_flipped_bit_is_refused_or_changes_nothing() {
    for (name, bytes) in [
        (CONDA, Zip::package().bytes()),
        (
            CONDA,
            Zip {
                zip64: true,
                ..Zip::package()
            }
            .bytes(),
        ),
        (BZ2, Tar::package().bz2()),
        (BZ2, Tar::info().bz2()),
    ] {
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            for check in [false, true] {
                if let Ok(package) = read(&flipped, name, check) {
                    assert_eq!(package.index_json, INDEX, "{name}, bit {bit}");
                }
            }
        }
    }
}

#[test]
fn random_bytes_behind_a_good_beginning_are_refused() {
    for seed in 1..200 {
        for (name, head) in [
            (BZ2, &b"BZh91AY&SY"[..]),
            (CONDA, b"PK\x03\x04"),
            (BZ2, b""),
            (CONDA, b""),
        ] {
            let bytes = [head, &noise(2000, seed * 977)].concat();
            assert!(read(&bytes, name, seed % 2 == 0).is_err());
        }
    }
}

/// Packages of several chunks, so that a part of the end is kept while the rest streams past.
fn large() -> Vec<(&'static str, Vec<u8>)> {
    let body = noise(1_500_000, 42);
    let pkg = Tar::default().file("lib/big", &body).zst();
    let conda = Zip::package().change(1, |m| m.data = pkg);
    let mut info_first = conda.clone();
    info_first.members.reverse();
    let early = Tar::info().file("lib/big", &body).bz2();
    let late = Tar::default()
        .file("lib/big", &body)
        .file("info/index.json", INDEX)
        .bz2();
    vec![
        (CONDA, conda.bytes()),
        (CONDA, info_first.bytes()),
        (BZ2, early),
        (BZ2, late),
    ]
}

#[test]
fn each_byte_is_read_once_and_hashed() {
    let mut all = large();
    all.push((CONDA, Zip::package().bytes()));
    all.push((BZ2, Tar::package().bz2()));
    for (name, bytes) in all {
        for check in [false, true] {
            let file = Counting::new(bytes.clone());
            let package = read_counting(&file, name, check).unwrap();
            assert!(
                file.reads.lock().unwrap().iter().all(|times| *times == 1),
                "{name}"
            );
            assert_eq!(package.index_json, INDEX);
            let mut hasher = digest::Hasher::default();
            hasher.update(&bytes);
            assert_eq!(package.digests, hasher.finish());
        }
    }
}

#[test]
fn packages_that_are_read_together_are_what_each_is_alone() {
    let mut all = large();
    all.push((CONDA, Zip::package().bytes()));
    all.push((CONDA, b"no package".to_vec()));
    all.push((BZ2, Tar::package().bz2()));
    all.push((BZ2, Tar::package().bz2()[..100].to_vec()));
    all.extend(large());
    // An info part that is larger than what is kept of every file's end.
    let licence = Tar::info().file("info/licence", &noise(300_000, 5)).zst();
    let pkg = Tar::default().file("lib/big", &noise(2_000_000, 6)).zst();
    let wide = Zip::package().change(1, |m| m.data = pkg);
    all.push((CONDA, wide.change(2, |m| m.data = licence).bytes()));
    for check in [false, true] {
        let files: Vec<Counting> = all
            .iter()
            .map(|(_, bytes)| Counting::new(bytes.clone()))
            .collect();
        let named = files.iter().zip(&all);
        let named: Vec<_> = named
            .map(|(file, (name, bytes))| (file, bytes.len() as u64, *name))
            .collect();
        let beside = |elsewhere: Elsewhere<'_>, here: Here<'_>| {
            elsewhere();
            here();
            true
        };
        let together = with_options(check, |options| {
            let mut together = Vec::new();
            // Much that is found in some is handed out before it is looked into the others.
            while together.len() < named.len() {
                let some = read_together_from(&named[together.len()..], options, &beside);
                assert!(!some.is_empty());
                together.extend(some);
            }
            together
        });
        assert_eq!(together.len(), all.len());
        for ((found, (name, bytes)), file) in together.into_iter().zip(&all).zip(&files) {
            let alone = read(bytes, name, check);
            assert_eq!(format!("{found:?}"), format!("{alone:?}"), "{name}");
            let reads = file.reads.lock().unwrap();
            assert!(reads.iter().all(|times| *times <= 1), "{name}");
            assert!(found.is_err() || reads.iter().all(|times| *times == 1));
        }
    }
}

#[test]
fn blocks_may_be_larger_than_short_files_have_them() {
    // In a first block, and in one that comes after much was taken out of others.
    let text = b"the same again and again, ".repeat(30_000);
    let first = Tar::default()
        .file("lib/text", &text)
        .file("info/index.json", INDEX)
        .bz2();
    let later = Tar::default()
        .file("info/recipe/meta.yaml", b"package: {}")
        .file("info/text", &noise(20_000, 1))
        .file("info/more", &text)
        .file("info/again", &text)
        .file("info/index.json", INDEX)
        .bz2();
    for bytes in [first, later] {
        assert!(bytes.len() < 40_000, "{}", bytes.len());
        let package = read(&bytes, BZ2, false).unwrap();
        assert_eq!(package, read(&bytes, BZ2, true).unwrap());
        assert_eq!(package.index_json, INDEX);
    }
}

#[test]
fn cuts_of_large_packages_are_refused() {
    for (name, bytes) in large() {
        for length in (1..bytes.len()).step_by(199_999) {
            assert!(
                read(&bytes[..length], name, false).is_err(),
                "{name} {length}"
            );
        }
    }
}

#[test]
fn a_file_that_changes_its_length_is_refused() {
    for (name, bytes) in large().into_iter().chain([(CONDA, Zip::package().bytes())]) {
        let size = bytes.len() as u64;
        let mut grown = bytes.clone();
        grown.push(0);
        let shrunk = bytes[..bytes.len() - 1].to_vec();
        for other in [grown, shrunk] {
            let file = Counting::new(other);
            let result = with_options(false, |options| read_from(&file, size, name, options));
            assert!(
                matches!(result, Err(PackageError::Changed { .. })),
                "{name}: {result:?}"
            );
        }
    }
}

#[test]
fn a_bomb_stops_at_the_cap_and_heeds_cancelling() {
    // 300 MiB of zeros before the metadata, in a few thousand bytes: one piece, again and again.
    let head = Tar::default().member("lib/zeros", b'0', 300 << 20, b"").0;
    let zeros = vec![0; 10 << 20];
    let many = |head: Vec<u8>, piece: Vec<u8>| [head, piece.repeat(30)].concat();
    let zst = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
    let info = many(zst(&head), zst(&zeros));
    let conda = Zip::package().change(2, |m| m.data = info).bytes();
    let bz2 = many(bz2(&head), bz2(&zeros));
    for (name, bytes) in [(CONDA, conda), (BZ2, bz2)] {
        assert!(bytes.len() < 100_000);
        let bomb = read(&bytes, name, false);
        let stopped = matches!(bomb, Err(PackageError::Bomb { limit }) if limit == 256 << 20);
        assert!(stopped, "{bomb:?}");

        // Such a file is read in one go, so only the decoder's side can notice.
        let cancelled = AtomicBool::new(false);
        let stop = |_| cancelled.store(true, Ordering::Relaxed);
        let options = ReadOptions {
            check_archives: false,
            cancelled: &cancelled,
            progress: &stop,
        };
        let size = bytes.len() as u64;
        let result = read_from(&Counting::new(bytes), size, name, &options);
        assert!(matches!(result, Err(PackageError::Cancelled)), "{result:?}");
    }
}

#[test]
fn cancelling_stops_the_reader_and_progress_adds_up() {
    let (name, bytes) = large().remove(0);
    let size = bytes.len() as u64;
    let file = Counting::new(bytes);
    let total = AtomicU64::new(0);
    let cancelled = AtomicBool::new(false);
    let count = |bytes| {
        total.fetch_add(bytes, Ordering::Relaxed);
    };
    let options = ReadOptions {
        check_archives: false,
        cancelled: &cancelled,
        progress: &count,
    };
    read_from(&file, size, name, &options).unwrap();
    assert_eq!(total.load(Ordering::Relaxed), size);

    let stop = |_| cancelled.store(true, Ordering::Relaxed);
    let options = ReadOptions {
        check_archives: false,
        cancelled: &cancelled,
        progress: &stop,
    };
    let result = read_from(&file, size, name, &options);
    assert!(matches!(result, Err(PackageError::Cancelled)), "{result:?}");
}

#[test]
fn real_files_are_read_and_hashed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(CONDA);
    let bytes = Zip::package().bytes();
    std::fs::write(&path, &bytes).unwrap();
    let file = File::open(&path).unwrap();
    let package = with_options(true, |options| super::read(&file, CONDA, options)).unwrap();
    let digests = with_options(false, |options| super::digest(&file, options)).unwrap();
    assert_eq!(package.digests, digests);
    let folder = File::open(folder.path()).unwrap();
    let error = with_options(true, |options| super::digest(&folder, options));
    assert!(matches!(error, Err(PackageError::NotAFile)));
    std::fs::write(&path, b"").unwrap();
    let empty = with_options(true, |options| super::digest(&file, options)).unwrap();
    assert_eq!(empty.size, 0);
}

#[test]
fn real_files_are_read_together_each_with_its_own_result() {
    let folder = tempfile::tempdir().unwrap();
    let open = |name: &str, bytes: &[u8]| {
        std::fs::write(folder.path().join(name), bytes).unwrap();
        File::open(folder.path().join(name)).unwrap()
    };
    let conda = open("a.conda", &Zip::package().bytes());
    let bad = open("b.conda", b"no package");
    let bz2 = open("c.tar.bz2", &Tar::package().bz2());
    let not_a_file = File::open(folder.path()).unwrap();
    let named = |file, name| Named { file, name };
    let all = [
        named(&conda, "a.conda"),
        named(&not_a_file, "folder.conda"),
        named(&bad, "b.conda"),
        named(&bz2, "c.tar.bz2"),
    ];
    let beside = |elsewhere: Elsewhere<'_>, here: Here<'_>| {
        elsewhere();
        here();
        true
    };
    with_options(false, |options| {
        let together = read_together(&all, options, &beside);
        assert_eq!(together.len(), all.len());
        assert!(matches!(together[1], Err(PackageError::NotAFile)));
        for (found, one) in together.iter().zip(&all) {
            let alone = super::read(one.file, one.name, options);
            assert_eq!(format!("{found:?}"), format!("{alone:?}"), "{}", one.name);
        }
        assert!(read_together::<File>(&[], options, &beside).is_empty());
        let shown = format!("{options:?}");
        assert!(shown.contains("check_archives: false"), "{shown}");
    });
}

#[test]
fn what_is_held_of_packages_that_are_read_together_is_bounded() {
    let beside = |elsewhere: Elsewhere<'_>, here: Here<'_>| {
        elsewhere();
        here();
        true
    };
    let read_of = |index: usize, about: usize, count: usize| {
        let tar = Tar::default().file("info/index.json", &vec![b' '; index]);
        let bytes = tar.file("info/about.json", &vec![b' '; about]).bz2();
        let one = (&bytes[..], bytes.len() as u64, BZ2);
        let found = with_options(false, |options| {
            read_together_from(&vec![one; count], options, &beside)
        });
        assert!(found.iter().all(Result::is_ok));
        found.len()
    };
    assert_eq!(read_of(1000, 0, 5), 5);
    // One at least; up to 1 MiB are not too much; the one that makes it more is the last.
    assert_eq!(read_of(2 << 20, 0, 5), 1);
    assert_eq!(read_of(1 << 19, 0, 5), 3);
    assert_eq!(read_of(1 << 18, 1 << 18, 5), 3);
    assert_eq!(read_of((1 << 19) + 1, 0, 5), 2);
}

#[test]
fn metadata_may_have_64_kib() {
    let version = r#"{"conda_pkg_format_version": 2}"#;
    for (bytes, fits) in [(64 * 1024, true), (64 * 1024 + 1, false)] {
        let metadata = format!("{version}{}", " ".repeat(bytes - version.len()));
        let zip = Zip::package().change(0, |m| m.data = metadata.into());
        assert_eq!(read(&zip.bytes(), CONDA, false).is_ok(), fits, "{bytes}");
    }
}

/// The zip library that only tests use for structure reads what we read.
#[test]
fn another_reader_of_zip_agrees() {
    for zip in [
        Zip::package(),
        Zip {
            zip64: true,
            ..Zip::package()
        },
    ] {
        let bytes = zip.bytes();
        let ours = zip::members(&bytes, bytes.len() as u64).unwrap();
        let archive = rawzip::ZipArchive::from_slice(&bytes).unwrap();
        let theirs: Vec<_> = archive.entries().map(Result::unwrap).collect();
        assert_eq!(ours.len(), theirs.len());
        for (ours, theirs) in ours.iter().zip(theirs) {
            assert_eq!(ours.name, theirs.file_path().as_ref());
            assert_eq!(ours.size, theirs.compressed_size_hint());
            assert_eq!(ours.crc32, theirs.crc32());
        }
    }
}

#[test]
fn documents_beside_the_index_are_taken() {
    let paths = br#"{"paths":[{"_path":"etc/conda/activate.d/a.sh"}]}"#;
    // Longer than what is held at once.
    let filler = format!(r#"{{"_path":"lib/{}"}}"#, "x".repeat(100));
    let long = format!(
        r#"{{"paths":[{}{{"_path":"bin/.a-pre-unlink.sh"}}]}}"#,
        format!("{filler},").repeat(20_000)
    );
    let tar = |paths: &[u8]| {
        index_alone()
            .file("info/about.json", b"{}")
            .file("./info/run_exports.json", b"{\"weak\":[]}")
            .file("info/recipe/meta.yaml", b"source: {}")
            .file("info/recipe/meta.yaml.rendered", b"another")
            .file("info/test/about.json", b"no")
            .file("info/paths.json", paths)
    };
    for (paths, activate, pre_unlink) in [(&paths[..], true, false), (long.as_bytes(), false, true)]
    {
        for (name, bytes) in [
            (BZ2, tar(paths).file("lib/x", b"").bz2()),
            (CONDA, Zip::with_info(tar(paths)).bytes()),
        ] {
            let package = read(&bytes, name, false).unwrap();
            let documents = package.documents;
            assert_eq!(documents.about_json.as_deref(), Some(&b"{}"[..]));
            let run_exports = documents.run_exports_json.as_deref();
            assert_eq!(run_exports, Some(&b"{\"weak\":[]}"[..]));
            assert_eq!(documents.recipe.as_deref(), Some(&b"source: {}"[..]));
            assert_eq!(documents.install.activate, activate, "{name}");
            assert_eq!(documents.install.pre_unlink, pre_unlink, "{name}");
            assert!(package.notes.is_empty());
        }
    }
}

#[test]
fn documents_that_are_not_what_they_should_be() {
    let large = vec![b' '; 1_048_577];
    for (what, tar, says) in [
        (
            "about",
            index_alone().file("info/about.json", &large),
            "about.json` that has 1048577 bytes",
        ),
        (
            "link",
            index_alone().member("info/paths.json", b'2', 0, b""),
            "that is a symbolic link",
        ),
        (
            "paths",
            index_alone().file("info/paths.json", b"{"),
            "can't be read",
        ),
        (
            "long paths",
            index_alone().file("info/paths.json", &large),
            "can't be read",
        ),
    ] {
        let package = read(&tar.bz2(), BZ2, false).unwrap();
        assert_eq!(package.documents, Documents::default(), "{what}");
        let notes: Vec<String> = package.notes.iter().map(ToString::to_string).collect();
        assert!(
            notes.len() == 1 && notes[0].contains(says),
            "{what}: {notes:?}"
        );
    }
    let twice = |name: &str| index_alone().file(name, b"{}").file(name, b"{}");
    for (tar, says) in [
        (
            twice("info/run_exports.json"),
            "has two members `info/run_exports.json`",
        ),
        (twice("info/paths.json"), "has two members"),
        (
            index_alone().member("info/run_exports.json", b'2', 0, b""),
            "that is a symbolic link",
        ),
        (
            index_alone().file("info/run_exports.json", &large),
            "1048576 are allowed",
        ),
    ] {
        let error = read(&tar.bz2(), BZ2, false).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn documents_in_the_rest_of_a_conda_are_not_taken() {
    let pkg = Tar::default()
        .file("info/run_exports.json", b"{\"weak\":[]}")
        .file("lib/a", b"x");
    let zip = Zip::package().change(1, |member| member.data = pkg.zst());
    let package = read(&zip.bytes(), CONDA, true).unwrap();
    assert_eq!(package.documents.run_exports_json, None);
}

fn index_alone() -> Tar {
    Tar::default().file("info/index.json", INDEX)
}
