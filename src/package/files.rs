//! Named files out of a package, wherever in it they stand. Owns which members count as these files and how large
//! they may be; the archive's own rules are those of every reader here. Must not know what the files hold.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{self, BufReader, Read};

use super::error::show;
use super::info::{Capped, DECODED_CHUNK, Look, Name, Part, Search, decoded_cap};
use super::members::{Member, Members};
use super::source::Source;
use super::tar_bz2::{Streams, bytes_behind};
use super::{Digests, Format, PackageError, ReadOptions, conda, regular_size, sniff, zip};
use crate::storage::{HasSize, ReadAt};

/// How large the files may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileCaps {
    /// The most bytes that one of them may have.
    pub each: u64,
    /// The most bytes that all of them may have together.
    pub together: u64,
}

/// Reads those files out of a package, in one pass over an open file, whose paths in it are `wanted`; `./a` is `a`.
/// Decodes the whole archive, both parts of a `.conda`, by the rules of [`super::read`]: `check_archives` demands the
/// same of members as there. Gives the files by path; none is no error.
///
/// # Errors
/// [`PackageError`] as of [`super::read`], `info/index.json` aside, and when one of the files stands twice, is no
/// regular file, is spelt with `..` or as an absolute path, or is too large.
pub fn files(
    file: &(impl HasSize + ?Sized),
    file_name: &str,
    wanted: &dyn Fn(&str) -> bool,
    caps: FileCaps,
    options: &ReadOptions<'_>,
) -> Result<(Digests, BTreeMap<String, Vec<u8>>), PackageError> {
    files_from(file, regular_size(file)?, file_name, wanted, caps, options)
}

fn files_from<F: ReadAt + ?Sized>(
    file: &F,
    size: u64,
    file_name: &str,
    wanted: &dyn Fn(&str) -> bool,
    caps: FileCaps,
    options: &ReadOptions<'_>,
) -> Result<(Digests, BTreeMap<String, Vec<u8>>), PackageError> {
    let format = Format::of(file_name).ok_or(PackageError::NotAPackageName)?;
    if size == 0 {
        return Err(PackageError::Empty);
    }
    let mut source = Source::with_tail(file, size, options)?;
    sniff::require(format, source.peek()?)?;
    let mut collection = Collection {
        wanted,
        caps,
        options,
        rules: Search::new(options.check_archives, options.cancelled),
        left: caps.together,
        found: BTreeMap::new(),
    };
    match format {
        Format::TarBz2 => through_tar_bz2(&mut source, &mut collection)?,
        Format::Conda => through_conda(&mut source, &mut collection)?,
    }
    Ok((source.finish()?, collection.found))
}

fn through_tar_bz2<F: ReadAt + ?Sized>(
    source: &mut Source<'_, F>,
    look: &mut impl Look,
) -> Result<(), PackageError> {
    let check = source.check_archives();
    match bytes_behind(source.tail())? {
        bytes if bytes > 0 && check => return Err(PackageError::TrailingBytes { bytes }),
        _ => {}
    }
    let cap = decoded_cap(source.size());
    look.look_through(Part::Info, Streams::new(&mut *source, check), cap)
}

fn through_conda<F: ReadAt + ?Sized>(
    source: &mut Source<'_, F>,
    look: &mut impl Look,
) -> Result<(), PackageError> {
    let members = zip::members(source.tail(), source.size())?;
    conda::require_roles(&members, source.check_archives(), &mut Vec::new())?;
    conda::read_members(source, &members, look)
}

/// The files that were found so far.
struct Collection<'a> {
    wanted: &'a dyn Fn(&str) -> bool,
    caps: FileCaps,
    options: &'a ReadOptions<'a>,
    /// Holds names against each other where archives are checked.
    rules: Search<'a>,
    /// What the files may still have together.
    left: u64,
    found: BTreeMap<String, Vec<u8>>,
}

impl Look for Collection<'_> {
    fn everywhere(&self) -> bool {
        true
    }

    fn look_through(
        &mut self,
        _part: Part,
        decoder: impl Read,
        cap: u64,
    ) -> Result<(), PackageError> {
        let capped = Capped {
            decoder,
            cancelled: self.options.cancelled,
            left: cap,
            cap,
        };
        let mut members = Members::new(BufReader::with_capacity(DECODED_CHUNK, capped));
        while let Some(member) = members.next()? {
            let name = Name::of(&member.path);
            if self.options.check_archives {
                self.rules.check_member(&member, &name)?;
            }
            if let Some(path) = self.path_of(&name) {
                self.take(path, &member, &name, &mut members)?;
            }
        }
        match members.finish()? {
            bytes if bytes > 0 && self.options.check_archives => {
                Err(PackageError::TrailingBytes { bytes })
            }
            _ => Ok(()),
        }
    }
}

impl Collection<'_> {
    /// A member's path, if it is one of the files.
    fn path_of(&self, name: &Name<'_>) -> Option<String> {
        let path = String::from_utf8(name.parts.join(&b'/')).ok()?;
        (self.wanted)(&path).then_some(path)
    }

    fn take(
        &mut self,
        path: String,
        member: &Member,
        name: &Name<'_>,
        members: &mut Members<impl io::BufRead>,
    ) -> Result<(), PackageError> {
        let shown = || show(&member.path);
        if name.leaves || name.climbs {
            return Err(PackageError::Misspelt { member: shown() });
        }
        if let Some(kind) = member.unfit() {
            let member = shown();
            return Err(PackageError::MemberNotAFile { member, kind });
        }
        let Entry::Vacant(place) = self.found.entry(path) else {
            return Err(PackageError::DuplicateMember { member: shown() });
        };
        member.require_size(self.caps.each)?;
        self.left = self
            .left
            .checked_sub(member.size)
            .ok_or(PackageError::MembersTooLarge {
                limit: self.caps.together,
            })?;
        place.insert(members.read_body()?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::package::testing::{Counting, INDEX, Stored, Tar, Zip, bz2, noise, with_options};

    const CAPS: FileCaps = FileCaps {
        each: 1_000,
        together: 1_500,
    };

    fn wanted(path: &str) -> bool {
        path.ends_with("/p.json")
    }

    fn found(bytes: &[u8], name: &str, check: bool) -> Result<Vec<(String, Vec<u8>)>, String> {
        let file = Counting::new(bytes.to_vec());
        let size = bytes.len() as u64;
        let result = with_options(check, |options| {
            files_from(&file, size, name, &wanted, CAPS, options)
        });
        let (digests, found) = result.map_err(|error| error.to_string())?;
        assert_eq!(digests.size, size);
        assert!(file.reads.lock().unwrap().iter().all(|times| *times == 1));
        Ok(found.into_iter().collect())
    }

    /// A `.conda` with one tar stream in each part.
    fn conda(info: Tar, pkg: Tar) -> Vec<u8> {
        let zip = Zip::with_info(info).change(1, |member| member.data = pkg.zst());
        zip.bytes()
    }

    fn file(path: &str, body: &[u8]) -> (String, Vec<u8>) {
        (path.to_owned(), body.to_vec())
    }

    #[test]
    fn files_come_from_anywhere_in_both_formats() {
        let tar = Tar::default()
            .file("./noarch/p.json", b"n")
            .file("info/index.json", INDEX)
            .file("lib/x", &noise(100_000, 7))
            .file("linux-64//p.json", b"l")
            .file("p.json", b"no");
        let both = vec![file("linux-64/p.json", b"l"), file("noarch/p.json", b"n")];
        for check in [false, true] {
            assert_eq!(
                found(&tar.clone().bz2(), "a-1-0.tar.bz2", check).unwrap(),
                both
            );
            let bytes = conda(Tar::info().file("a/p.json", b"a"), tar.clone());
            let mut three = both.clone();
            three.insert(0, file("a/p.json", b"a"));
            // The one rule of the search for info/index.json that this reader does not know.
            assert_eq!(found(&bytes, "a-1-0.conda", check).unwrap(), three);
            let none = found(&Tar::package().bz2(), "a-1-0.tar.bz2", check).unwrap();
            assert_eq!(none, []);
        }
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        let tar = Tar::default;
        for (what, tar, says) in [
            (
                "twice",
                tar().file("a/p.json", b"1").file("./a/p.json", b"1"),
                "two members `./a/p.json`",
            ),
            (
                "link",
                tar().member("a/p.json", b'2', 0, b""),
                "a symbolic link",
            ),
            (
                "hard link",
                tar().member("a/p.json", b'1', 0, b""),
                "a hard link",
            ),
            ("FIFO", tar().member("a/p.json", b'6', 0, b""), "a FIFO"),
            (
                "folder",
                tar().member("a/p.json/", b'5', 0, b""),
                "a folder",
            ),
            (
                "climbs",
                tar().file("x/../a/p.json", b"1"),
                "another spelling",
            ),
            (
                "absolute",
                tar().file("/a/p.json", b"1"),
                "another spelling",
            ),
            (
                "large",
                tar().file("a/p.json", &[b' '; 1_001]),
                "of 1001 bytes; 1000 are allowed",
            ),
            (
                "together",
                tar()
                    .file("a/p.json", &[b' '; 1_000])
                    .file("b/p.json", &[b' '; 501]),
                "more than 1500 bytes",
            ),
        ] {
            let bytes = conda(Tar::info(), tar.clone());
            for (name, bytes) in [("a.tar.bz2", tar.bz2()), ("a.conda", bytes)] {
                let said = found(&bytes, name, false).unwrap_err();
                assert!(said.contains(says), "{what} in {name}: {said}");
            }
        }
        let twin = tar().file("a/p.json", b"1");
        let said = found(&conda(twin.clone(), twin), "a.conda", false).unwrap_err();
        assert!(said.contains("two members"), "{said}");
    }

    #[test]
    fn archives_are_held_to_the_rules_of_every_reader() {
        let good = Tar::package().file("a/p.json", b"1");
        let behind = [good.clone().bz2(), b"junk".to_vec()].concat();
        let doubled = good.clone().file("lib/a.txt", b"").bz2();
        let leaves = good.clone().file("../x", b"").bz2();
        for (bytes, says) in [
            (behind, "behind the end"),
            (doubled, "two members"),
            (leaves, "leaves"),
        ] {
            assert_eq!(found(&bytes, "a.tar.bz2", false).unwrap().len(), 1);
            let said = found(&bytes, "a.tar.bz2", true).unwrap_err();
            assert!(said.contains(says), "{said}");
        }
        // What is known before anything is decoded is said first.
        let both = [good.clone().file("../x", b"").bz2(), b"junk".to_vec()].concat();
        let said = found(&both, "a.tar.bz2", true).unwrap_err();
        assert!(said.contains("behind the end"), "{said}");
        let behind_the_mark = bz2(&[good.clone().done(), b"junk".to_vec()].concat());
        assert_eq!(
            found(&behind_the_mark, "a.tar.bz2", false).unwrap().len(),
            1
        );
        let said = found(&behind_the_mark, "a.tar.bz2", true).unwrap_err();
        assert!(said.contains("behind the end"), "{said}");
        let zip = Zip::package().change(1, |member| member.data = good.clone().zst());
        let other = zip.clone().and(Stored::new("other", *b"x"));
        assert_eq!(found(&other.bytes(), "a.conda", false).unwrap().len(), 1);
        let crc = zip.change(1, |member| member.crc32 = Some(7));
        for (name, bytes, says) in [
            ("a.conda", crc.bytes(), "CRC-32"),
            ("a.conda", good.clone().bz2(), "is really a .tar.bz2"),
            ("a.tar.bz2", Vec::new(), "is empty"),
            ("a.zip", good.bz2(), "no package by its name"),
            ("a.tar.bz2", bz2(b"x"), "ends early"),
        ] {
            let said = found(&bytes, name, false).unwrap_err();
            assert!(said.contains(says), "{name}: {said}");
        }
    }
}
