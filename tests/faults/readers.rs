//! Packages in which another reader (conda-package-streaming, rattler, Python's tarfile, GNU tar, libarchive) would take
//! another `info/index.json` for the package's than the one that is looked at here: each is refused, and what stands
//! next to it in the table, sound, is read. What is expected is said here, case by case, since no one reader is the
//! measure of the others.

use tar::EntryType;

use crate::archives::{BOTH, conda, read, spec, with_field};
use crate::scene::builder::archive::{TAR_BLOCK, TarMember, tar_of_members, zstd};
use crate::scene::builder::zip::{ZipMember, zip_of};
use crate::scene::builder::{Format, conda_members, package_of};

/// How a package is taken, with the words of the refusal.
#[derive(Clone, Copy)]
enum Taken {
    Read,
    Refused(&'static str),
}
use Taken::{Read, Refused};

/// Reads a package, checked or not, and holds what comes out against what is expected.
fn hold(what: &str, bytes: &[u8], format: Format, check_archives: bool, taken: Taken) {
    let what = format!("{what}, {format:?}, checked: {check_archives}");
    match (read(bytes, format, check_archives), taken) {
        (Ok(package), Read) => assert_eq!(package.index_json, spec().index_bytes(), "{what}"),
        (Err(said), Refused(words)) => assert!(said.contains(words), "{what}: {said}"),
        (Ok(_), Refused(words)) => panic!("{what}: read, and not `{words}`"),
        (Err(said), Read) => panic!("{what}: {said}"),
    }
}

#[test]
fn a_conda_has_no_other_member_that_clients_open_as_a_part() {
    let twin = Refused("which some clients open as a part of the package");
    let stem = spec().stem();
    let tar = zstd(&tar_of_members(&spec().info_members()), 1);
    for (name, taken) in [
        ("signatures".to_owned(), Read),
        ("info.txt".to_owned(), Read),
        ("x/metadata.json".to_owned(), Read),
        (format!("x/info-{stem}"), Read),
        (format!("info-{stem}"), twin),
        (format!("info-{stem}.txt"), twin),
        (format!("info-{stem}/e.tar.zst"), twin),
        ("info-z/e.tar.zst".to_owned(), twin),
        ("info-z\\e.tar.zst".to_owned(), twin),
        (format!("pkg-{stem}.tar.zst.sig"), twin),
        ("pkg-z/e.tar.zst".to_owned(), twin),
        ("other.tar.zst".to_owned(), twin),
        ("x/other.tar.zst".to_owned(), twin),
        (format!("./info-{stem}.tar.zst"), twin),
        (format!("/info-{stem}.tar.zst"), twin),
        (format!("x/../info-{stem}.tar.zst"), twin),
    ] {
        let mut members = conda_members(&stem, &spec().info_members(), &spec().payload_members());
        members.push(ZipMember::stored(name.clone(), tar.clone()));
        for check in [false, true] {
            hold(&name, &zip_of(&members), Format::Conda, check, taken);
        }
    }
    for check in [false, true] {
        hold(
            "the part itself",
            &conda(tar.clone()),
            Format::Conda,
            check,
            Read,
        );
    }
}

/// Members before `info/index.json` and the rest of `info/`, and behind it, in both formats: how each is taken
/// unchecked and checked.
fn hold_members(what: &str, before: &[TarMember], behind: &[TarMember], taken: [Taken; 2]) {
    let info = [before, &spec().info_members()].concat();
    let payload = [&spec().payload_members(), behind].concat();
    for format in Format::BOTH {
        let bytes = package_of(format, &spec().stem(), &info, &payload);
        for (check, taken) in [(false, taken[0]), (true, taken[1])] {
            hold(what, &bytes, format, check, taken);
        }
    }
}

#[test]
fn info_is_a_folder_and_nothing_else() {
    let no_folder = |kind| Refused(kind);
    for (kind, taken) in [
        (EntryType::Directory, Read),
        (
            EntryType::Symlink,
            no_folder("`info` that is a symbolic link"),
        ),
        (EntryType::Link, no_folder("`info` that is a hard link")),
        (EntryType::Fifo, no_folder("`info` that is a FIFO")),
        (EntryType::Regular, no_folder("`info` that is a file")),
    ] {
        for name in ["info", "info/", "./info", "info/.", "lib/../info"] {
            let mut info = TarMember::of_kind(name, kind);
            info.link = "share".to_owned();
            let what = format!("{name} as {kind:?}");
            let checked = match name.contains("..") && kind.is_dir() {
                true => Refused("another spelling"),
                false => taken,
            };
            hold_members(&what, std::slice::from_ref(&info), &[], [taken, checked]);
            // Behind the stop nothing is looked at, unless all is.
            hold_members(&what, &[], &[info], [Read, checked]);
        }
    }
}

#[test]
fn no_member_lies_beneath_a_link() {
    let file = |name: &str| TarMember::file(name, "x");
    let beneath = [Read, Refused("which is no folder")];
    let link = |name: &str| TarMember::symlink(name, "info");
    let folder = |name: &str| TarMember::of_kind(name, EntryType::Directory);
    let deep = format!("{}x", "d/".repeat(1_000));
    for (what, before, behind, taken) in [
        ("a link", vec![], vec![link("x")], [Read, Read]),
        (
            "a link to a folder",
            vec![],
            vec![
                folder("lib"),
                TarMember::symlink("lib64", "lib"),
                file("lib/x"),
            ],
            [Read, Read],
        ),
        (
            "a name that begins so",
            vec![],
            vec![link("x"), file("xy/index.json")],
            [Read, Read],
        ),
        (
            "through it",
            vec![],
            vec![link("x"), file("x/index.json")],
            beneath,
        ),
        (
            "through it, dotted",
            vec![],
            vec![link("./x"), file("x//./index.json")],
            beneath,
        ),
        (
            "through it, two deep",
            vec![],
            vec![link("a/x"), file("a/x/b/index.json")],
            beneath,
        ),
        (
            "a folder through it",
            vec![],
            vec![link("x"), folder("x/index.json")],
            beneath,
        ),
        (
            "before it",
            vec![],
            vec![file("x/index.json"), link("x")],
            beneath,
        ),
        (
            "a folder before it",
            vec![],
            vec![folder("x/index.json"), link("x")],
            beneath,
        ),
        (
            "a folder in its place",
            vec![],
            vec![link("x"), folder("x")],
            [Read, Refused("two members `x`")],
        ),
        (
            "in a folder's place",
            vec![],
            vec![folder("x"), link("./x")],
            beneath,
        ),
        (
            "a folder in its place, in the other part",
            vec![link("x")],
            vec![folder("x/")],
            [Read, Refused("`x")],
        ),
        (
            "in a folder's place, in the other part",
            vec![folder("x")],
            vec![link("x")],
            [Read, Refused("`x")],
        ),
        (
            "a folder and a folder",
            vec![folder("x")],
            vec![folder("x"), folder("./x/"), file("x/y")],
            [Read, Read],
        ),
        (
            "through a hard link",
            vec![],
            vec![
                link("x"),
                TarMember::hard_link("y", "x"),
                file("y/index.json"),
            ],
            beneath,
        ),
        (
            "beneath a file",
            vec![],
            vec![file("x"), file("x/index.json")],
            beneath,
        ),
        (
            "from one part into the other",
            vec![link("x")],
            vec![file("x/index.json")],
            beneath,
        ),
        (
            "and the other way round",
            vec![file("x/index.json")],
            vec![link("x")],
            beneath,
        ),
        (
            "back out of it",
            vec![],
            vec![link("x"), file("x/../index.json")],
            [Read, Refused("another spelling")],
        ),
        ("deep", vec![], vec![file(&deep)], [Read, Read]),
        (
            "too deep",
            vec![],
            vec![file(&format!("d/{deep}"))],
            [Read, Refused("more than 1000 folders")],
        ),
    ] {
        hold_members(what, &before, &behind, taken);
    }
}

/// A tar with something in front of `info/index.json` and, in another, behind it.
fn hold_tar(what: &str, some: &[u8], taken: Taken) {
    let info = tar_of_members(&spec().info_members());
    let whole = info.strip_suffix(&[0; 2 * TAR_BLOCK]).unwrap();
    for (place, tar) in [
        ("in front", [some, &info].concat()),
        ("behind", [whole, some, &[0; 2 * TAR_BLOCK]].concat()),
    ] {
        for (format, pack) in BOTH {
            for check in [false, true] {
                hold(
                    &format!("{what} {place}"),
                    &pack(&tar),
                    format,
                    check,
                    taken,
                );
            }
        }
    }
}

/// A member as a tar holds it, without what ends the tar.
fn blocks(member: &TarMember) -> Vec<u8> {
    let mut tar = Vec::new();
    member.append_to(&mut tar);
    tar
}

/// An extended header (POSIX.1-2024, pax) with these records, whatever fills up its last block.
fn pax(records: &[(&str, &str)], padding: &[u8]) -> Vec<u8> {
    let mut body = String::new();
    for (key, value) in records {
        body.push_str(&record(key, value));
    }
    let end = TAR_BLOCK + body.len();
    let mut tar = blocks(&TarMember {
        bytes: body.into_bytes(),
        ..TarMember::of_kind("PaxHeaders/x", EntryType::XHeader)
    });
    tar[end..end + padding.len()].copy_from_slice(padding);
    tar
}

fn record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let digits = (rest.len() + 2).to_string().len();
    format!("{}{rest}", rest.len() + digits)
}

#[test]
fn sparse_members_by_extended_headers_are_refused() {
    let file = blocks(&TarMember::file("info/y", "abc"));
    let sparse = Refused("a sparse file");
    for (what, records, taken) in [
        ("nothing of it", &[("comment", "GNU.sparse.name")][..], Read),
        ("a name", &[("GNU.sparse.name", "info/index.json")], sparse),
        ("a size", &[("GNU.sparse.size", "3")], sparse),
        ("a real size", &[("GNU.sparse.realsize", "3")], sparse),
        ("a map", &[("GNU.sparse.map", "0,3")], sparse),
        (
            "a version",
            &[("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0")],
            sparse,
        ),
        ("star's size", &[("SCHILY.realsize", "3")], sparse),
        ("Solaris' map", &[("SUN.holesdata", " 0 3")], sparse),
    ] {
        hold_tar(what, &[pax(records, b""), file.clone()].concat(), taken);
    }
}

#[test]
fn what_describes_members_is_no_member_to_anybody() {
    let file = blocks(&TarMember::file("info/y", "abc"));
    let named = |name: &str| {
        let mut tar = pax(&[("comment", "x")], b"");
        tar[..100].fill(0);
        tar[..name.len()].copy_from_slice(name.as_bytes());
        with_field(&tar, 0, 156, b"g")
    };
    let long = || {
        blocks(&TarMember {
            bytes: b"info/z\0".to_vec(),
            ..TarMember::of_kind("././@LongLink", EntryType::GNULongName)
        })
    };
    let oldest = |tar: &[u8]| with_field(tar, 0, 257, &[0; 8]);
    let metadata = Refused("has the name of metadata");
    let between = Refused("stands between a header");
    let old = Refused("of the oldest form");
    let global = named("pax_global_header");
    for (what, headers, taken) in [
        ("for all", vec![global.clone()], Read),
        ("for all, of Python", vec![named("././@PaxHeader")], Read),
        (
            "for all, of POSIX",
            vec![named("/tmp/GlobalHead.1.1")],
            Read,
        ),
        (
            "for all, as metadata",
            vec![named("info/index.json")],
            metadata,
        ),
        (
            "for all, as the same",
            vec![named("./info//index.json")],
            metadata,
        ),
        (
            "for all, as more of it",
            vec![named("info/about.json")],
            metadata,
        ),
        ("for all, before others", vec![global.clone(), long()], Read),
        (
            "for all, behind a name",
            vec![long(), global.clone()],
            between,
        ),
        (
            "for all, behind records",
            vec![pax(&[("comment", "x")], b""), global.clone()],
            between,
        ),
        ("for all, of old", vec![oldest(&global)], old),
        ("a name, of old", vec![oldest(&long())], old),
        (
            "records, of old",
            vec![oldest(&pax(&[("comment", "x")], b""))],
            old,
        ),
    ] {
        hold_tar(what, &[headers.concat(), file.clone()].concat(), taken);
    }
}

#[test]
fn nothing_stands_behind_what_describes_the_next_member() {
    let file = blocks(&TarMember::file("info/y", "abc"));
    let named = |kind, name: &str, behind: &[u8]| {
        let mut tar = blocks(&TarMember {
            bytes: name.as_bytes().to_vec(),
            ..TarMember::of_kind("././@LongLink", kind)
        });
        let end = TAR_BLOCK + name.len();
        tar[end..end + behind.len()].copy_from_slice(behind);
        tar
    };
    let (long, link) = (EntryType::GNULongName, EntryType::GNULongLink);
    let comment = [("comment", "x")];
    let global = |padding: &[u8]| {
        let tar = pax(&comment, padding);
        with_field(&tar, 0, 156, b"g")
    };
    let behind = Refused("bytes stand between");
    let path = record("path", "info/index.json");
    for (what, header, taken) in [
        ("records", pax(&comment, b""), Read),
        (
            "records behind records",
            pax(&comment, path.as_bytes()),
            behind,
        ),
        (
            "a byte behind records",
            pax(&comment, &[&[0; 400][..], b"x"].concat()),
            behind,
        ),
        ("records for all", global(b""), Read),
        (
            "records behind records for all",
            global(path.as_bytes()),
            behind,
        ),
        ("a long name", named(long, "info/y", b"\0"), Read),
        (
            "the end of a long name",
            named(long, "info/index.jso", b"n"),
            behind,
        ),
        (
            "more behind a long name",
            named(long, "info/y", b"\0x"),
            behind,
        ),
        ("a long link", named(link, "x", b"\0"), Read),
        ("more behind a long link", named(link, "x", b"y"), behind),
    ] {
        hold_tar(what, &[header, file.clone()].concat(), taken);
    }
    // Behind a file they are nobody's matter.
    let mut padded = file;
    padded[TAR_BLOCK + 3] = b'x';
    hold_tar("behind a file", &padded, Read);
}

#[test]
fn a_name_is_in_two_halves_in_ustar_headers_alone() {
    let gnu = b"ustar  \0";
    let half = Refused("half a name");
    let version = Refused("a version of ustar");
    for (what, magic, kind, prefix, taken) in [
        ("ustar", b"ustar\x0000", b'0', &b"info"[..], Read),
        ("no magic, no prefix", &[0; 8], b'0', b"", Read),
        ("no magic", &[0; 8], b'0', b"info", half),
        ("no magic, a folder", &[0; 8], b'5', b"info", half),
        ("no magic, of an unknown kind", &[0; 8], b'Z', b"info", half),
        ("ustar with a space", b"ustar 00", b'0', b"info", half),
        (
            "ustar without a version",
            b"ustar\0\0\0",
            b'0',
            b"info",
            version,
        ),
        (
            "ustar without a version, no prefix",
            b"ustar\0\0\0",
            b'0',
            b"",
            version,
        ),
        (
            "ustar of another version",
            b"ustar\x0001",
            b'0',
            b"",
            version,
        ),
        ("GNU", gnu, b'0', b"", Read),
        ("GNU with a time", gnu, b'0', b"14613460201\0", half),
        ("GNU with a prefix", gnu, b'0', b"info", half),
        (
            "GNU with a folder's time",
            gnu,
            b'5',
            b"14613460201\0",
            half,
        ),
        (
            "GNU with more behind a zero",
            gnu,
            b'0',
            b"\x0014613460201",
            Read,
        ),
        (
            "GNU's own type with a time",
            gnu,
            b'S',
            b"14613460201\0",
            Read,
        ),
    ] {
        // Nothing of the name but what is no index.json, in whatever place.
        let tar = blocks(&TarMember::of_kind("y", EntryType::new(kind)));
        let tar = with_field(&with_field(&tar, 0, 257, magic), 0, 345, prefix);
        hold_tar(what, &tar, taken);
    }
    let index = TarMember::file("index.json", "{}");
    let split = |magic| with_field(&with_field(&blocks(&index), 0, 257, magic), 0, 345, b"info");
    hold_tar(
        "index.json in halves",
        &split(b"ustar\x0000"),
        Refused("two members"),
    );
    hold_tar("index.json in Python's halves", &split(gnu), half);
    hold_tar("and without a magic", &split(&[0; 8]), half);
}

#[test]
fn sizes_are_numbers_that_all_readers_take_alike() {
    let unlike = Refused("is no number that all readers take alike");
    let tar = blocks(&TarMember::file("info/y", vec![b'y'; 0o1000]));
    for (field, taken) in [
        (b"00000001000\0", Read),
        (b"000000001000", Read),
        (b"00000001000 ", Read),
        (b"       1000\0", Read),
        (b"1000\0\0\0\0\0\0\0\0", Read),
        (b"\x80\0\0\0\0\0\0\0\0\0\x02\0", Read),
        (b"+0000001000\0", unlike),
        (b"-0000001000\0", unlike),
        (b"0o000001000\0", unlike),
        (b"000000_1000\0", unlike),
        (b"\t0000001000\0", unlike),
        (b"\r\x0b000001000\0", unlike),
        (b"0000001000\n\0", unlike),
        (b"0000001000\x007", unlike),
        (b"0000 001000\0", unlike),
        (b"\x0000000001000", unlike),
        (b"0000000100x\0", unlike),
        (b"\x81\0\0\0\0\0\0\0\0\0\x02\0", unlike),
        (b"\x80\x01\0\0\0\0\0\0\0\0\x02\0", unlike),
        (b"\x80\0\0\0\xff\0\0\0\0\0\x02\0", unlike),
        (b"            ", unlike),
    ] {
        hold_tar(
            &format!("{field:?}"),
            &with_field(&tar, 0, 124, field),
            taken,
        );
    }
    let empty = with_field(&blocks(&TarMember::file("info/y", "")), 0, 124, &[0; 12]);
    hold_tar("nothing at all", &empty, Read);
}

#[test]
fn the_checksum_of_a_header_is_a_number_that_all_readers_take_alike() {
    let tar = blocks(&TarMember::file("info/y", ""));
    let sum: u32 = (0..TAR_BLOCK)
        .map(|at| {
            if (148..156).contains(&at) {
                32
            } else {
                u32::from(tar[at])
            }
        })
        .sum();
    let wrong = Refused("the checksum of a header is wrong");
    for (field, taken) in [
        (format!("{sum:06o}\0 "), Read),
        (format!("{sum:07o}\0"), Read),
        (format!("{sum:08o}"), Read),
        (format!("{sum:>7o} "), Read),
        (format!("+{sum:06o}\0"), wrong),
        (format!("\t{sum:06o}\0"), wrong),
        (format!("{sum:06o}\n\0"), wrong),
        (format!("{sum:06o}\07"), wrong),
        (format!("{:06o}\0 ", sum + 1), wrong),
    ] {
        let mut tar = tar.clone();
        tar[148..156].copy_from_slice(field.as_bytes());
        hold_tar(&format!("{field:?}"), &tar, taken);
    }
}
