//! The members of `info/` that are taken beside `index.json`. Owns which they are, their caps, and what becomes of
//! those that can't be taken; must not know what stands in them, `paths.json` aside, which is looked through as it
//! streams by and never held.

use std::io::{BufRead, Read};

use super::error::show;
use super::members::{Member, Members};
use super::paths;
use super::{Note, PackageError};
use crate::details::Install;

/// The largest document that is taken, in bytes. Real ones stay below a tenth of it.
const CAP: u64 = 1024 * 1024;

/// What a package says of itself beside `info/index.json`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Documents {
    /// The bytes of `info/run_exports.json`.
    pub run_exports_json: Option<Vec<u8>>,
    /// The bytes of `info/about.json`.
    pub about_json: Option<Vec<u8>>,
    /// The bytes of `info/recipe/meta.yaml`, or what old packages have in its place.
    pub recipe: Option<Vec<u8>>,
    /// What `info/paths.json` says of installing it.
    pub install: Install,
}

/// Which member it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    RunExports,
    About,
    Recipe,
    Paths,
}

impl Kind {
    /// By the parts of the name, `info` left out.
    pub(super) fn of(parts: &[&[u8]]) -> Option<Kind> {
        match parts {
            [b"run_exports.json"] => Some(Kind::RunExports),
            [b"about.json"] => Some(Kind::About),
            [b"paths.json"] => Some(Kind::Paths),
            [b"recipe", b"meta.yaml"] | [b"recipe", b"meta.yaml.rendered"] | [b"meta.yaml"] => {
                Some(Kind::Recipe)
            }
            _ => None,
        }
    }
}

/// Documents in the making.
#[derive(Default)]
pub(super) struct Collected {
    documents: Documents,
    paths_seen: bool,
    notes: Vec<Note>,
}

impl Collected {
    /// What was collected, and what is odd about it.
    pub(super) fn finish(self) -> (Documents, Vec<Note>) {
        (self.documents, self.notes)
    }

    /// Takes the member that `members` stands at. Builds rely on run exports, so those must be readable; of the
    /// others, which only describe, nothing is taken where they are not what they should be.
    pub(super) fn take(
        &mut self,
        kind: Kind,
        member: &Member,
        members: &mut Members<impl BufRead>,
    ) -> Result<(), PackageError> {
        let name = || show(&member.path);
        if self.is_taken(kind) {
            return match kind {
                // The first of several spellings of the recipe counts.
                Kind::Recipe => Ok(()),
                _ => Err(PackageError::DuplicateMember { member: name() }),
            };
        }
        if let Some(found) = member.unfit() {
            return match kind {
                Kind::RunExports => Err(PackageError::MemberNotAFile {
                    member: name(),
                    kind: found,
                }),
                _ => {
                    self.pass_over(name(), format!("is {found}"));
                    Ok(())
                }
            };
        }
        match kind {
            Kind::RunExports => {
                member.require_size(CAP)?;
                self.documents.run_exports_json = Some(members.read_body()?);
            }
            Kind::Paths => self.look_through_paths(member, members)?,
            Kind::About | Kind::Recipe if member.size > CAP => {
                self.pass_over(name(), format!("has {} bytes", member.size));
            }
            Kind::About => self.documents.about_json = Some(members.read_body()?),
            Kind::Recipe => self.documents.recipe = Some(members.read_body()?),
        }
        Ok(())
    }

    fn is_taken(&self, kind: Kind) -> bool {
        match kind {
            Kind::RunExports => self.documents.run_exports_json.is_some(),
            Kind::About => self.documents.about_json.is_some(),
            Kind::Recipe => self.documents.recipe.is_some(),
            Kind::Paths => self.paths_seen,
        }
    }

    fn look_through_paths(
        &mut self,
        member: &Member,
        members: &mut Members<impl BufRead>,
    ) -> Result<(), PackageError> {
        self.paths_seen = true;
        let looked = if member.size <= CAP {
            paths::install(members.read_body()?.as_slice())
        } else {
            paths::install_streaming(&mut Body { members })
        };
        match looked {
            Ok(install) => self.documents.install = install,
            Err(error) if error.is_io() => {
                return Err(PackageError::from_io(error.into(), "in its tar archive"));
            }
            Err(error) => self.pass_over(show(&member.path), format!("can't be read: {error}")),
        }
        Ok(())
    }

    fn pass_over(&mut self, member: String, why: String) {
        self.notes.push(Note::PassedOver { member, why });
    }
}

/// What is left of a member's body, as a reader.
struct Body<'m, R> {
    members: &'m mut Members<R>,
}

impl<R: BufRead> Read for Body<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.members
            .read_some(buffer)
            .map_err(PackageError::into_io)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::{BufReader, Chain, Cursor};

    use super::*;
    use crate::package::testing::Tar;

    /// What comes of one document.
    fn taken(kind: Kind, path: &str, body: &[u8]) -> (Documents, Vec<Note>) {
        let tar = Tar::default().file(path, body).done();
        let (mut members, mut collected) = (Members::new(tar.as_slice()), Collected::default());
        let member = members.next().unwrap().unwrap();
        collected.take(kind, &member, &mut members).unwrap();
        collected.finish()
    }

    #[test]
    fn a_document_may_have_as_many_bytes_as_the_cap() {
        let mut body = vec![b' '; usize::try_from(CAP).unwrap()];
        let (documents, notes) = taken(Kind::About, "info/about.json", &body);
        assert_eq!(
            (documents.about_json.as_ref(), notes),
            (Some(&body), vec![])
        );
        body.push(b' ');
        let (documents, notes) = taken(Kind::About, "info/about.json", &body);
        assert_eq!((documents.about_json, notes.len()), (None, 1));
    }

    /// Its first half, an error, and the rest.
    struct Hiccup(bool);

    impl Read for Hiccup {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            match std::mem::take(&mut self.0) {
                true => Err(std::io::Error::from_raw_os_error(5)),
                false => Ok(0),
            }
        }
    }

    type Halves = Chain<Chain<Cursor<Vec<u8>>, Hiccup>, Cursor<Vec<u8>>>;

    /// A tar stream of one large `paths.json`, which is read with an error in the middle or without.
    fn paths(body: &[u8], hiccup: bool) -> Members<BufReader<Halves>> {
        let tar = Tar::default().file("info/paths.json", body).done();
        let (first, rest) = tar.split_at(tar.len() / 2);
        let [first, rest] = [first, rest].map(|half| Cursor::new(half.to_vec()));
        Members::new(BufReader::new(first.chain(Hiccup(hiccup)).chain(rest)))
    }

    #[test]
    fn a_large_list_of_files_that_could_not_be_read_is_not_passed_over() {
        let mut body = br#"{"paths": []}"#.to_vec();
        body.resize(usize::try_from(CAP).unwrap() + 1, b' ');
        for hiccup in [false, true] {
            let mut members = paths(&body, hiccup);
            let member = members.next().unwrap().unwrap();
            let took = Collected::default().take(Kind::Paths, &member, &mut members);
            assert_eq!(took.is_err(), hiccup);
        }
    }

    #[test]
    fn a_large_list_of_files_is_never_held() {
        // The error in the middle is reached by who takes all of it, and not by who sees at once that it is no JSON.
        let body = vec![b'x'; usize::try_from(CAP).unwrap() + 1];
        let mut members = paths(&body, true);
        let member = members.next().unwrap().unwrap();
        let mut collected = Collected::default();
        collected.take(Kind::Paths, &member, &mut members).unwrap();
        assert_eq!(collected.finish().1.len(), 1);
    }
}
