//! Packages in which another reader (conda-package-streaming, rattler, Python's tarfile, GNU tar, libarchive) would take
//! another `info/index.json` for the package's than the one that is looked at here: each is refused, and what stands
//! next to it in the table, sound, is read. What is expected is said here, case by case, since no one reader is the
//! measure of the others.

use crate::archives::{conda, read, spec};
use crate::scene::builder::archive::{tar_of_members, zstd};
use crate::scene::builder::zip::{ZipMember, zip_of};
use crate::scene::builder::{Format, conda_members};

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
