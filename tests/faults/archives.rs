//! Archives that were never made by a packager, read by the library, which is quick enough for thousands: headers of zip
//! and tar with every kind of wrong number or name, and streams of bzip2 and zstd that hold next to nothing. What is
//! read is what the most used other reader reads; all else is refused.

use std::io::Read as _;
use std::sync::atomic::AtomicBool;

use sigindex::package::{Package, ReadOptions, read_bytes};

use crate::scene::builder::archive::{TAR_BLOCK, TarMember, bz2, tar_of_members, zstd};
use crate::scene::builder::zip::{ZipMember, zip_of};
use crate::scene::builder::{Format, PackageSpec, Random, conda_members};

/// A package's tar, compressed in some way, as a file of this format.
pub type Pack = fn(&[u8]) -> Vec<u8>;
pub const BOTH: [(Format, Pack); 2] = [
    (Format::TarBz2, |tar| bz2(tar, 1)),
    (Format::Conda, |tar| conda(zstd(tar, 1))),
];

pub fn spec() -> PackageSpec {
    PackageSpec::new("a", "1.0", "0")
}

/// A `.conda` whose info member has these bytes.
pub fn conda(info: Vec<u8>) -> Vec<u8> {
    let stem = spec().stem();
    let mut members = conda_members(&stem, &[], &[]);
    members[2] = ZipMember::stored(members[2].name.clone(), info);
    zip_of(&members)
}

pub fn read(bytes: &[u8], format: Format, check_archives: bool) -> Result<Package, String> {
    let options = ReadOptions {
        check_archives,
        cancelled: &AtomicBool::new(false),
        progress: &|_| {},
    };
    let read = read_bytes(bytes, &spec().file_name(format), &options);
    read.map_err(|error| error.to_string())
}

/// What the tar crate finds under the name, as plain files: every one, as far as it can read.
fn theirs(tar: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut archive = tar::Archive::new(tar);
    for entry in archive.entries().unwrap() {
        let Ok(mut entry) = entry else { break };
        let path = entry.path_bytes().into_owned();
        let path = path.strip_prefix(b"./").unwrap_or(&path);
        // Contiguous files are files (POSIX.1-2024, pax, ustar: typeflag 7).
        let kind = entry.header().entry_type();
        if path == b"info/index.json" && (kind.is_file() || kind.is_contiguous()) {
            let mut bytes = Vec::new();
            if entry.read_to_end(&mut bytes).is_ok() {
                found.push(bytes);
            }
        }
    }
    found
}

/// Reads a tar in both formats, with and without all checks; gives how often it was read. What is read is what the
/// tar crate finds, too.
fn hold(what: &str, tar: &[u8]) -> usize {
    let theirs = theirs(tar);
    let mut passed = 0;
    for (format, pack) in BOTH {
        for check in [false, true] {
            if let Ok(package) = read(&pack(tar), format, check) {
                let same = theirs.first() == Some(&package.index_json);
                assert!(same, "{what} {format:?}: another index.json than tar's");
                passed += 1;
            }
        }
    }
    passed
}

/// A tar whose header at `at` has other bytes in a field, and a checksum that fits.
pub fn with_field(tar: &[u8], at: usize, field: usize, value: &[u8]) -> Vec<u8> {
    let mut tar = tar.to_vec();
    tar[at + field..at + field + value.len()].copy_from_slice(value);
    let header = &mut tar[at..at + TAR_BLOCK];
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    tar
}

/// The members of `info/`, between a file before them and one behind.
fn whole() -> Vec<u8> {
    let first = TarMember::file("info/first", "first\n");
    let info = spec().info_members();
    tar_of_members(&[vec![first], info, spec().payload_members()].concat())
}

/// Where the headers of `info/first`, of `info/index.json` and of what follows stand.
fn headers() -> [usize; 3] {
    let index = 2 * TAR_BLOCK;
    let size = spec().index_bytes().len();
    [
        0,
        index,
        index + TAR_BLOCK + size.next_multiple_of(TAR_BLOCK),
    ]
}

#[test]
fn every_two_bytes_of_a_zips_headers_may_be_zero_one_or_full() {
    let (info, payload) = (spec().info_members(), spec().payload_members());
    let honest = conda_members(&spec().stem(), &info, &payload);
    let index = spec().index_bytes();
    let mut tried = 0;
    for (zip64, descriptor) in [(false, false), (true, false), (false, true)] {
        let mut members = honest.clone();
        for member in &mut members {
            (member.zip64, member.descriptor) = (zip64, descriptor);
        }
        let bytes = zip_of(&members);
        // What is stored has a checksum of its own, and is not what is tried here.
        let data = |at: usize| {
            let mut places = members.iter().filter_map(|member| {
                let place = bytes.windows(member.bytes.len());
                let start = place.clone().position(|it| it == &*member.bytes)?;
                Some(start..start + member.bytes.len())
            });
            places.any(|place| place.contains(&at))
        };
        let headers: Vec<_> = (0..bytes.len() - 1).filter(|at| !data(*at)).collect();
        for at in headers {
            for value in [0u16, 1, 0xff, 0x7fff, 0x8000, 0xffff] {
                let mut changed = bytes.clone();
                changed[at..at + 2].copy_from_slice(&value.to_le_bytes());
                for check in [false, true] {
                    tried += 1;
                    if let Ok(package) = read(&changed, Format::Conda, check) {
                        assert_eq!(package.index_json, index, "{value:#x} at {at}");
                    }
                }
            }
        }
    }
    assert!(tried > 5_000, "{tried}");
}

#[test]
fn every_size_in_a_tar_is_as_tar_reads_it_or_refused() {
    let mut binary = [0; 12];
    binary[0] = 0x80;
    let with = |bytes: &[(usize, u8)]| {
        let mut value = binary;
        for (at, byte) in bytes {
            value[*at] = *byte;
        }
        value
    };
    let values: [&[u8; 12]; 20] = [
        b"77777777777\0",
        b"777777777777",
        b"99999999999\0",
        b"-0000000001\0",
        b"+0000000001\0",
        b"0x000000010\0",
        b"           \0",
        b"            ",
        b"\0\0\0\0\0\0\0\0\0\0\0\0",
        b"00000000001 ",
        b"0000000001 \0",
        b" 0000000001\0",
        b"1\0\0\0\0\0\0\0\0\0\0\0",
        b"0000\x000000001",
        b"00000001000\0",
        &[0xff; 12],
        &with(&[(11, 1)]),
        &with(&[(11, 200)]),
        &with(&[(4, 0x7f)]),
        &with(&[(4, 0xff), (0, 0xff)]),
    ];
    let mut passed = 0;
    for header in headers() {
        for value in values {
            let tar = with_field(&whole(), header, 124, value);
            passed += hold(&format!("size {value:?} at {header}"), &tar);
        }
    }
    assert!(passed > 10, "{passed}");
}

#[test]
fn every_other_number_in_a_tar_is_as_tar_reads_it_or_refused() {
    let fields = [("mode", 100), ("uid", 108), ("gid", 116), ("major", 329)];
    let values: [&[u8; 8]; 5] = [
        b"7777777\0",
        b"99999999",
        b"-000001\0",
        b"\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x80\xff\xff\xff\xff\xff\xff\xff",
    ];
    for header in headers() {
        for (name, field) in fields {
            for value in values {
                let tar = with_field(&whole(), header, field, value);
                hold(&format!("{name} {value:?}"), &tar);
            }
        }
        // The checksum itself, which no other makes up for.
        for value in [
            &b"\0\0\0\0\0\0\0\0"[..],
            b"77777777",
            b"-0000001",
            b"99999999",
            b"\x80\0\0\0\0\0\0\x01",
            b"        ",
        ] {
            let mut tar = whole();
            tar[header + 148..header + 156].copy_from_slice(value);
            let passed = hold(&format!("checksum {value:?} at {header}"), &tar);
            // The last header is behind what is looked for, and passed unless all is checked.
            assert!(
                passed == 0 || header > headers()[1],
                "{value:?} at {header}"
            );
        }
        for kind in 0..=u8::MAX {
            let tar = with_field(&whole(), header, 156, &[kind]);
            hold(&format!("type {kind:#x} at {header}"), &tar);
        }
    }
}

/// A member of `info/` whose name has exactly these bytes, in front of everything.
fn named(name: &[u8]) -> Vec<u8> {
    let mut tar = whole();
    tar[..100].fill(0);
    with_field(&tar, 0, 0, name)
}

#[test]
fn every_name_in_a_tar_is_as_tar_reads_it_or_refused() {
    let full = [b'n'; 100];
    let names: [&[u8]; 16] = [
        b"info/index.json",
        b"info/index.json\0.txt",
        b"info/index.json\n",
        b"info/index.json ",
        b"info\\index.json",
        b"info/\xff\xfe",
        b"\xff\xfe/index.json",
        b"INFO/INDEX.JSON",
        b"info//index.json",
        b"info/./index.json",
        b"info/x/../index.json",
        b"/info/index.json",
        b"",
        b"\0hidden",
        b"info/index.json/",
        &full,
    ];
    for name in names {
        hold(
            &format!("{:?}", String::from_utf8_lossy(name)),
            &named(name),
        );
    }
    // The two halves of a ustar name (POSIX.1-2024, pax, ustar): a prefix of 155 bytes and a name.
    for (prefix, name) in [
        (&b"info"[..], &b"index.json"[..]),
        (b"info/", b"index.json"),
        (b"./info", b"index.json"),
        (&[b'p'; 155], &full),
        (b"..", b"info/index.json"),
        (b"x\0y", b"index.json"),
    ] {
        let tar = with_field(&named(name), 0, 345, prefix);
        hold(&format!("{prefix:?} {name:?}"), &tar);
    }
    for long in [
        "l/".repeat(125),
        "l".repeat(250),
        "l".repeat(100_000),
        "\n".repeat(300),
        format!("{}info/index.json", "./".repeat(100)),
        format!("{}info/index.json", "x/../".repeat(100)),
    ] {
        let member = TarMember::file(long.clone(), "x");
        let tar = tar_of_members(&[vec![member], spec().info_members()].concat());
        hold(&format!("{} bytes of name", long.len()), &tar);
    }
}

/// A stream of bzip2 with some of its bytes replaced.
fn bz2_with(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut stream = bz2(&whole(), 9);
    stream[at..at + bytes.len()].copy_from_slice(bytes);
    stream
}

#[test]
fn what_is_wrong_with_bzip2_is_refused_and_streams_of_nothing_take_no_time() {
    let end = bz2(&whole(), 9).len();
    let nothing = bz2(b"", 9);
    for (what, bytes, words) in [
        ("a level of 0", bz2_with(3, b"0"), "not"),
        ("a level of :", bz2_with(3, b":"), "not"),
        ("the magic of a block", bz2_with(4, &[0]), "damaged"),
        ("the checksum of a block", bz2_with(10, &[0, 0]), "damaged"),
        ("the checksum of a stream", bz2_with(end - 4, &[0; 3]), ""),
        ("streams of nothing", nothing.repeat(100), "ends early"),
        (
            "100,000 streams of nothing",
            nothing.repeat(100_000),
            "hold next to nothing",
        ),
        (
            "100,000 streams of a byte",
            bz2(&[0], 1).repeat(100_000),
            "",
        ),
    ] {
        let error = read(&bytes, Format::TarBz2, true).unwrap_err();
        assert!(error.contains(words), "{what}: {error}");
    }
    let some = [nothing.repeat(100), bz2(&whole(), 9), nothing].concat();
    for check in [false, true] {
        assert!(read(&some, Format::TarBz2, check).is_ok());
    }
}

/// A zstd frame of one raw block (RFC 8878, 3.1.1) behind a frame header of these bytes.
fn frame(header: &[u8], text: &[u8]) -> Vec<u8> {
    let block = (text.len() as u32) << 3 | 1;
    let magic = 0xfd2f_b528_u32.to_le_bytes();
    [&magic, header, &block.to_le_bytes()[..3], text].concat()
}

/// A skippable frame (RFC 8878, 3.1.2) that claims so many bytes.
fn skippable(claimed: u32, there: &[u8]) -> Vec<u8> {
    let magic = 0x184d_2a50_u32.to_le_bytes();
    [&magic, &claimed.to_le_bytes()[..], there].concat()
}

#[test]
fn what_is_wrong_with_zstd_is_refused_and_frames_of_nothing_are_nothing() {
    let whole = whole();
    let zst = zstd(&whole, 3);
    // One segment; the size of the content in one byte, which is 0.
    let nothing = frame(&[0x20, 0], b"");
    let piece = b"x".repeat(100);
    for (what, info, words) in [
        ("text", b"no zstd at all".to_vec(), ""),
        ("nothing at all", Vec::new(), "ends early"),
        ("frames of nothing", nothing.repeat(100_000), "ends early"),
        ("a dictionary", frame(&[0x21, 7, 100], &piece), "damaged"),
        ("a reserved bit", frame(&[0x28, 100], &piece), "damaged"),
        ("too much content", frame(&[0x20, 99], &piece), "damaged"),
        ("too little content", frame(&[0x20, 101], &piece), ""),
        ("a window of 2 GiB", frame(&[0, 21 << 3], &piece), "window"),
        ("a window of 3.75 TiB", frame(&[0, 0xff], &piece), "window"),
        (
            "a content of 2^64 bytes in one segment",
            frame(&[&[0xe0][..], &[0xff; 8]].concat(), &piece),
            "",
        ),
        (
            "4 GiB to be skipped",
            skippable(u32::MAX, &piece),
            "ends early",
        ),
        (
            "4 GiB to be skipped behind all",
            [zst.clone(), skippable(u32::MAX, &piece)].concat(),
            "",
        ),
        ("junk behind all", [&zst[..], b"junk"].concat(), ""),
    ] {
        let error = read(&conda(info), Format::Conda, true).unwrap_err();
        assert!(error.contains(words), "{what}: {error}");
    }
    let skipped = skippable(100, &piece);
    for info in [
        [skipped.clone(), zst.clone(), skipped].concat(),
        [nothing.repeat(100_000), zst].concat(),
    ] {
        for check in [false, true] {
            let package = read(&conda(info.clone()), Format::Conda, check).unwrap();
            assert_eq!(package.index_json, spec().index_bytes());
        }
    }
}

#[test]
fn random_bytes_behind_every_magic_are_refused() {
    let magics: [(Format, &[u8]); 6] = [
        (Format::TarBz2, b"BZh9\x31\x41\x59\x26\x53\x59"),
        (Format::TarBz2, b"BZh1\x17\x72\x45\x38\x50\x90"),
        (Format::TarBz2, b"BZh"),
        (Format::Conda, b"PK\x03\x04\x14\0\0\0\0\0"),
        (Format::Conda, b"PK\x05\x06"),
        (Format::Conda, b"PK\x03\x04"),
    ];
    for seed in 0..200 {
        let noise = Random::new(seed).bytes(3_000, 8);
        for (format, magic) in magics {
            for check in [false, true] {
                assert!(read(&[magic, &noise].concat(), format, check).is_err());
            }
        }
        assert!(read(&conda(noise), Format::Conda, false).is_err());
    }
}
