//! The search for `info/index.json`, and the documents beside it, in a package's tar stream. Owns where the search stops, the caps on members
//! and on what is decompressed, and the rules for names; must not know how the stream is compressed.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::io::{self, BufReader, Read};
use std::sync::atomic::{AtomicBool, Ordering};

use super::PackageError;
use super::documents::{Collected, Kind};
use super::error::show;
use super::members::{Member, Members};

const MIB: u64 = 1024 * 1024;
/// The largest `info/index.json`.
const INDEX_CAP: u64 = 16 * MIB;
/// The largest other member of `info/`.
const INFO_CAP: u64 = 64 * MIB;
/// The most members and folders that are held against each other, at 9 to 18 bytes each.
const MEMBERS_CAP: usize = 1_000_000;
/// The most folders that a member lies in, one in the other; real ones lie in a few dozen.
const DEPTH_CAP: usize = 1_000;
/// How much is decoded at a time, where all of it is.
pub(super) const DECODED_CHUNK: usize = 64 * 1024;
/// How much is decoded at a time on the way to `index.json`: bzip2 gives back no more of its block than it is asked for.
const SEARCHED_CHUNK: usize = 4 * 1024;

/// Which part of a package a tar stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it, or the info part of a `.conda`: `info/index.json` is in it.
    Info,
    /// The rest of a `.conda`: no `info/index.json` may be in it.
    Pkg,
}

/// The most bytes that may come out of `compressed` bytes: a thousand times as many, but 256 MiB at least (small
/// packages of zeros exist) and 64 GiB at most. Real packages stay far below; decoding up to the cap takes flat
/// memory and heeds cancelling. It bounds the time as well: the worst take some six seconds for each MiB of a
/// file, and one and a half where they are small.
pub(super) fn decoded_cap(compressed: u64) -> u64 {
    compressed
        .saturating_mul(1000)
        .clamp(256 * MIB, 64 * 1024 * MIB)
}

/// What looks through the tar streams of a package.
pub(super) trait Look {
    /// Whether it needs the pkg part of a `.conda` even where archives are not checked.
    fn everywhere(&self) -> bool;

    /// Looks through a decoder's output, which may have `cap` bytes.
    fn look_through(
        &mut self,
        part: Part,
        decoder: impl Read,
        cap: u64,
    ) -> Result<(), PackageError>;
}

/// One package's search, over one tar stream or two.
pub(super) struct Search<'a> {
    check: bool,
    cancelled: &'a AtomicBool,
    index_json: Option<Vec<u8>>,
    collected: Collected,
    /// Members that are no folders.
    seen: HashSet<u64>,
    /// What members lie beneath.
    folders: HashSet<u64>,
    state: RandomState,
}

impl<'a> Search<'a> {
    pub(super) fn new(check: bool, cancelled: &'a AtomicBool) -> Self {
        Search {
            check,
            cancelled,
            index_json: None,
            collected: Collected::default(),
            seen: HashSet::new(),
            folders: HashSet::new(),
            state: RandomState::new(),
        }
    }

    /// Looks through a decoder's output, to the first member outside `info/` that follows `index.json`, or to its
    /// end where there is none or where all is to be checked.
    pub(super) fn look_through(
        &mut self,
        part: Part,
        decoder: impl Read,
        cap: u64,
    ) -> Result<(), PackageError> {
        let capped = Capped {
            decoder,
            cancelled: self.cancelled,
            left: cap,
            cap,
        };
        let chunk = match self.check {
            true => DECODED_CHUNK,
            false => SEARCHED_CHUNK,
        };
        let mut members = Members::new(BufReader::with_capacity(chunk, capped));
        while let Some(member) = members.next()? {
            let name = Name::of(&member.path);
            let place = name.place();
            if place == Place::Folder {
                require_folder(&member)?;
            }
            if self.check {
                self.check_member(&member, &name)?;
            }
            match place {
                Place::Index => self.take_index(part, &member, &name, &mut members)?,
                Place::Document(kind) if part == Part::Info => {
                    member.require_size(INFO_CAP)?;
                    self.collected.take(kind, &member, &mut members)?;
                }
                Place::Document(_) | Place::Info => member.require_size(INFO_CAP)?,
                Place::Outside if self.index_json.is_some() && !self.check => return Ok(()),
                Place::Root | Place::Folder | Place::Outside => {}
            }
        }
        match members.finish()? {
            0 => Ok(()),
            bytes if self.check => Err(PackageError::TrailingBytes { bytes }),
            _ => Ok(()),
        }
    }

    /// The bytes of `info/index.json`, and the documents beside it.
    pub(super) fn finish(self) -> Result<(Vec<u8>, Collected), PackageError> {
        let index_json = self.index_json.ok_or(PackageError::MissingIndex)?;
        Ok((index_json, self.collected))
    }

    fn take_index(
        &mut self,
        part: Part,
        member: &Member,
        name: &Name<'_>,
        members: &mut Members<impl io::BufRead>,
    ) -> Result<(), PackageError> {
        if part == Part::Pkg {
            return Err(PackageError::IndexInPkg);
        }
        if name.leaves || name.climbs {
            return Err(PackageError::IndexMisspelt {
                member: show(&member.path),
            });
        }
        if let Some(kind) = member.unfit() {
            return Err(PackageError::IndexNotAFile { kind });
        }
        if self.index_json.is_some() {
            return Err(PackageError::TwoIndexes);
        }
        member.require_size(INDEX_CAP)?;
        self.index_json = Some(members.read_body()?);
        Ok(())
    }

    pub(super) fn check_member(
        &mut self,
        member: &Member,
        name: &Name<'_>,
    ) -> Result<(), PackageError> {
        // Of index.json there is more to say than this; see `take_index`.
        if name.place() == Place::Index {
            return Ok(());
        }
        let shown = || show(&member.path);
        if name.leaves {
            return Err(PackageError::UnsafePath { member: shown() });
        }
        // What `x/..` is hangs on what `x` is.
        if name.climbs {
            return Err(PackageError::Misspelt { member: shown() });
        }
        let whole = self.check_folders(name)?;
        // A folder may be named again and again; what is something else as well is neither.
        if member.kind.is_dir() {
            if self.seen.contains(&whole) {
                return Err(PackageError::DuplicateMember { member: shown() });
            }
            return self.remember_folder(whole);
        }
        if self.folders.contains(&whole) {
            return Err(PackageError::BeneathMember { member: shown() });
        }
        self.require_room()?;
        if !self.seen.insert(whole) {
            return Err(PackageError::DuplicateMember { member: shown() });
        }
        Ok(())
    }

    /// Demands that what a member lies beneath is no member but a folder: beneath a link it would be written to where
    /// that leads. In whatever order they stand, since tools unpack the parts of a `.conda` each in its own. Gives
    /// what the whole name is remembered by.
    fn check_folders(&mut self, name: &Name<'_>) -> Result<u64, PackageError> {
        if name.parts.len().saturating_sub(1) > DEPTH_CAP {
            return Err(PackageError::TooDeep { limit: DEPTH_CAP });
        }
        let mut hasher = self.state.build_hasher();
        for (depth, part) in name.parts.iter().enumerate() {
            let folder = hasher.finish();
            if self.seen.contains(&folder) {
                let above: Vec<_> = name.parts.iter().take(depth).copied().collect();
                let member = show(&above.join(&b'/'));
                return Err(PackageError::BeneathMember { member });
            }
            self.remember_folder(folder)?;
            part.hash(&mut hasher);
        }
        Ok(hasher.finish())
    }

    fn remember_folder(&mut self, folder: u64) -> Result<(), PackageError> {
        if !self.folders.contains(&folder) {
            self.require_room()?;
            self.folders.insert(folder);
        }
        Ok(())
    }

    fn require_room(&self) -> Result<(), PackageError> {
        match self.seen.len().saturating_add(self.folders.len()) {
            count if count >= MEMBERS_CAP => {
                Err(PackageError::TooManyMembers { limit: MEMBERS_CAP })
            }
            _ => Ok(()),
        }
    }
}

/// Demands of `info` itself that it is a folder: anything else would lead what lies in it elsewhere.
fn require_folder(member: &Member) -> Result<(), PackageError> {
    if member.kind.is_dir() {
        return Ok(());
    }
    let kind = member.unfit().unwrap_or("a file");
    Err(PackageError::InfoNotAFolder { kind })
}

impl Look for Search<'_> {
    fn everywhere(&self) -> bool {
        false
    }

    fn look_through(
        &mut self,
        part: Part,
        decoder: impl Read,
        cap: u64,
    ) -> Result<(), PackageError> {
        Search::look_through(self, part, decoder, cap)
    }
}

/// Where a name leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The package's folder itself.
    Root,
    Index,
    /// `info` itself.
    Folder,
    /// One of the documents in `info/` that are taken.
    Document(Kind),
    /// Elsewhere in `info`.
    Info,
    Outside,
}

/// A member's name, resolved as a file system would.
pub(super) struct Name<'n> {
    pub(super) parts: Vec<&'n [u8]>,
    /// Absolute, or above the package's folder at some point.
    pub(super) leaves: bool,
    /// Has a `..` in it.
    pub(super) climbs: bool,
}

impl<'n> Name<'n> {
    pub(super) fn of(path: &'n [u8]) -> Name<'n> {
        let mut name = Name {
            parts: Vec::new(),
            leaves: path.starts_with(b"/"),
            climbs: false,
        };
        for part in path.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => {
                    name.climbs = true;
                    name.leaves |= name.parts.pop().is_none();
                }
                other => name.parts.push(other),
            }
        }
        name
    }

    fn place(&self) -> Place {
        match self.parts.as_slice() {
            [] => Place::Root,
            [b"info"] => Place::Folder,
            [b"info", b"index.json"] => Place::Index,
            [b"info", rest @ ..] => Kind::of(rest).map_or(Place::Info, Place::Document),
            _ => Place::Outside,
        }
    }
}

/// A decoder's output, up to a cap, until the run is cancelled.
pub(super) struct Capped<'a, R> {
    pub(super) decoder: R,
    pub(super) cancelled: &'a AtomicBool,
    pub(super) left: u64,
    pub(super) cap: u64,
}

impl<R: Read> Read for Capped<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // A bomb comes out of few bytes, so the source's own look at the flag is not enough.
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(PackageError::Cancelled.into_io());
        }
        let count = self.decoder.read(buffer)?;
        self.left = self
            .left
            .checked_sub(count as u64)
            .ok_or_else(|| PackageError::Bomb { limit: self.cap }.into_io())?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_resolve_as_a_file_system_would() {
        use Place::{Document, Folder, Index, Info, Outside, Root};
        for (path, place, leaves) in [
            ("info/index.json", Index, false),
            ("./info/index.json", Index, false),
            ("info//./index.json", Index, false),
            ("/info/index.json", Index, true),
            ("lib/../info/index.json", Index, false),
            ("info/../../x/info/index.json", Outside, true),
            ("info", Folder, false),
            ("./info/recipe/meta.yaml", Document(Kind::Recipe), false),
            ("info/about.json", Document(Kind::About), false),
            ("info/test/about.json", Info, false),
            ("info/", Folder, false),
            ("lib/../info/.", Folder, false),
            ("info/index.json/x", Info, false),
            ("info/../lib", Outside, false),
            ("information/index.json", Outside, false),
            ("./", Root, false),
            ("..", Root, true),
            ("../x", Outside, true),
            ("/x", Outside, true),
        ] {
            let name = Name::of(path.as_bytes());
            assert_eq!((name.place(), name.leaves), (place, leaves), "{path}");
        }
    }

    #[test]
    fn no_more_names_are_remembered_than_there_is_room_for() {
        let go_on = AtomicBool::new(false);
        let mut search = Search::new(true, &go_on);
        let most = MEMBERS_CAP as u64;
        search.folders.insert(0);
        search.seen.extend(2..most);
        assert!(search.require_room().is_ok());
        search.seen.insert(most);
        assert!(matches!(
            search.require_room(),
            Err(PackageError::TooManyMembers { limit: MEMBERS_CAP })
        ));
    }

    #[test]
    fn caps_grow_with_the_file_within_bounds() {
        assert_eq!(decoded_cap(1), 256 * MIB);
        assert_eq!(decoded_cap(MIB), 1000 * MIB);
        assert_eq!(decoded_cap(u64::MAX), 64 * 1024 * MIB);
    }
}
