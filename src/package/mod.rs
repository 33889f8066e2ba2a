//! One package file, read once: its digests, its size and the raw bytes of its `info/index.json`
//! and the documents beside it. Owns what
//! a package archive may look like and how much of it is decoded; must not know channels, signatures, the
//! cache, or what stands in `index.json`.

mod conda;
mod digest;
mod documents;
mod error;
mod files;
mod header;
mod info;
mod members;
mod paths;
mod sniff;
mod source;
mod tar_bz2;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod together;
mod zip;

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, BufRead};
use std::sync::atomic::AtomicBool;

pub use digest::{Digests, Hasher};
pub use documents::Documents;
pub use error::PackageError;
pub use files::{FileCaps, files};
use source::Source;
pub use together::{Beside, Elsewhere, Here};

use crate::storage::{HasSize, ReadAt};

/// The two archive formats of CEP 35.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    /// Version 1: a tar archive, compressed by bzip2.
    TarBz2,
    /// Version 2: a zip of stored members, two of which are tar archives compressed by zstd.
    Conda,
}

impl Format {
    /// The format that a file's name promises, or `None` where it is no package's name. Extensions are
    /// case-sensitive, and a name needs something before them.
    pub fn of(file_name: &str) -> Option<Format> {
        [Format::TarBz2, Format::Conda].into_iter().find(|format| {
            let stem = file_name.strip_suffix(format.extension());
            stem.is_some_and(|stem| !stem.is_empty())
        })
    }

    /// As [`Format::of`], for a name as the file system has it, which may not be UTF-8: whoever gave it such a name
    /// meant a package all the same.
    pub fn of_os(file_name: &OsStr) -> Option<Format> {
        Format::of(&file_name.to_string_lossy())
    }

    /// The extension, with its dot.
    pub fn extension(self) -> &'static str {
        match self {
            Format::TarBz2 => ".tar.bz2",
            Format::Conda => ".conda",
        }
    }

    /// The file's name without this format's extension; the whole name where it does not end so.
    pub fn stem(self, file_name: &str) -> &str {
        file_name
            .strip_suffix(self.extension())
            .unwrap_or(file_name)
    }
}

/// The name of the package that a file's name tells (CEP 26): what stands before the last two dashes, or all but the
/// extension where there are not two.
pub fn name_in(file_name: &str) -> &str {
    let stem = Format::of(file_name).map_or(file_name, |format| format.stem(file_name));
    stem.rsplitn(3, '-').nth(2).unwrap_or(stem)
}

/// What a package file is and says about itself. All of it comes from the same bytes, each read once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// The digests and the size of the whole file.
    pub digests: Digests,
    /// The bytes of `info/index.json`, at most 16 MiB, not looked into.
    pub index_json: Vec<u8>,
    /// What stands beside it.
    pub documents: Documents,
    /// What is odd about the archive, but no reason to refuse it.
    pub notes: Vec<Note>,
}

/// Something odd that a person should hear of; its text is a clause whose subject is the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// The `.conda` file was renamed: its info member bears another stem.
    StemDiffers {
        /// The stem that the info member bears.
        member: String,
    },
    /// Bytes follow the last bzip2 stream. Clients ignore them.
    TrailingBytes {
        /// How many.
        bytes: u64,
    },
    /// A member of `info/` from which nothing is taken, and why.
    PassedOver {
        /// The member.
        member: String,
        /// Why, as a clause whose subject is the member.
        why: String,
    },
    /// The `.conda` file has no `pkg-….tar.zst`, so it installs nothing.
    NoPackageMember,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::StemDiffers { member } => {
                write!(f, "was renamed: inside it is called `{member}`")
            }
            Note::TrailingBytes { bytes } => {
                write!(f, "has {bytes} bytes behind the end of its archive")
            }
            Note::PassedOver { member, why } => {
                write!(
                    f,
                    "has a member `{member}` that {why}; nothing is taken from it"
                )
            }
            Note::NoPackageMember => write!(f, "has no pkg-….tar.zst member"),
        }
    }
}

/// How a file is read.
#[derive(Clone, Copy)]
pub struct ReadOptions<'a> {
    /// Decode the whole archive: checksums, duplicate members, paths that leave the folder, bytes behind the
    /// end. Without it, decoding stops at the first member outside `info/` that follows `index.json`.
    pub check_archives: bool,
    /// Set from outside to stop soon; the reader then returns [`PackageError::Cancelled`].
    pub cancelled: &'a AtomicBool,
    /// Told how many bytes were read since it was last called; the sum is the file's size.
    pub progress: &'a (dyn Fn(u64) + Sync),
}

impl fmt::Debug for ReadOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadOptions")
            .field("check_archives", &self.check_archives)
            .finish_non_exhaustive()
    }
}

/// Reads a package from an open file: each byte once, in one pass, in bounded memory (see
/// `source::Source`; what a decoder needs comes on top: 4 MB for bzip2, for zstd as much of the window of at most
/// 128 MiB as the decoded data fills).
///
/// # Errors
/// [`PackageError`] when the archive breaks a rule of CEP 35 or of safe archives, when it can not be read, when it
/// yields fewer or more bytes than it had at the start, or when the run was cancelled.
pub fn read(
    file: &(impl HasSize + ?Sized),
    file_name: &str,
    options: &ReadOptions<'_>,
) -> Result<Package, PackageError> {
    read_from(file, regular_size(file)?, file_name, options)
}

/// A file to be read, and its name.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a, F> {
    /// The open file.
    pub file: &'a F,
    /// Its name, which tells the format.
    pub name: &'a str,
}

/// What was found in packages that are read together may take about this many bytes.
const HELD: usize = 1 << 20;

/// Reads packages as [`read`] does each of them, at far less cost: many are hashed side by side, and a large one that is
/// alone by two threads. Up to 16 at a time are worth it; of each, at most 1 MiB and a piece are held, and what was
/// found in it. Where that grows large, the first packages alone are read, at least one: the caller then asks for the
/// rest. What is wrong with one does not touch the others.
///
/// # Errors
/// As [`read`], for each package.
pub fn read_together<F: HasSize>(
    files: &[Named<'_, F>],
    options: &ReadOptions<'_>,
    beside: &Beside,
) -> Vec<Result<Package, PackageError>> {
    let sizes: Vec<_> = files.iter().map(|one| regular_size(one.file)).collect();
    let sized = files.iter().zip(&sizes);
    let regular: Vec<_> = sized
        .filter_map(|(one, size)| Some((one.file, *size.as_ref().ok()?, one.name)))
        .collect();
    let mut read = read_together_from(&regular, options, beside).into_iter();
    let each = |size: Result<u64, PackageError>| match size {
        Ok(_) => read.next(),
        Err(error) => Some(Err(error)),
    };
    sizes.into_iter().map_while(each).collect()
}

/// Reads a package that is in memory, as [`read`] does.
///
/// # Errors
/// As [`read`].
pub fn read_bytes(
    bytes: &[u8],
    file_name: &str,
    options: &ReadOptions<'_>,
) -> Result<Package, PackageError> {
    let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    read_from(bytes, size, file_name, options)
}

/// Hashes any regular file, also an empty one, as [`read`] does, and looks into nothing.
///
/// # Errors
/// [`PackageError`] when the file can not be read, changes meanwhile, or the run was cancelled.
pub fn digest(
    file: &(impl HasSize + ?Sized),
    options: &ReadOptions<'_>,
) -> Result<Digests, PackageError> {
    digest_of(file, options, |_| Ok(())).map(|(digests, ())| digests)
}

/// As [`digest()`], of the very bytes of which `look` reads as many as it needs.
///
/// # Errors
/// As [`digest()`], and what `look` gives.
pub fn digest_of<T>(
    file: &(impl HasSize + ?Sized),
    options: &ReadOptions<'_>,
    look: impl FnOnce(&mut dyn BufRead) -> io::Result<T>,
) -> Result<(Digests, T), PackageError> {
    let mut source = Source::streaming(file, regular_size(file)?, options);
    let seen = look(&mut source).map_err(|error| PackageError::from_io(error, "the file"))?;
    Ok((source.finish()?, seen))
}

fn regular_size(file: &(impl HasSize + ?Sized)) -> Result<u64, PackageError> {
    let size = file
        .size()
        .map_err(|source| PackageError::Stat { source })?;
    size.ok_or(PackageError::NotAFile)
}

fn read_from<F: ReadAt + ?Sized>(
    file: &F,
    size: u64,
    file_name: &str,
    options: &ReadOptions<'_>,
) -> Result<Package, PackageError> {
    let looked = look_into(file, size, file_name, options)?;
    let digests = looked.source.finish()?;
    Ok(looked.inside.with(digests))
}

fn read_together_from<F: ReadAt + ?Sized>(
    files: &[(&F, u64, &str)],
    options: &ReadOptions<'_>,
    beside: &Beside,
) -> Vec<Result<Package, PackageError>> {
    let (mut insides, mut sources) = (Vec::new(), Vec::new());
    let mut held = 0usize;
    for (file, size, file_name) in files {
        insides.push(look_into(*file, *size, file_name, options).map(|looked| {
            held = held.saturating_add(looked.inside.bytes());
            sources.push(looked.source);
            looked.inside
        }));
        if held > HELD {
            break;
        }
    }
    let mut digests = together::finish(sources, beside).into_iter();
    let complete = |inside: Result<Inside, PackageError>| {
        let inside = inside?;
        // There is one for each that could be looked into.
        let digests = digests.next().ok_or(PackageError::Cancelled)??;
        Ok(inside.with(digests))
    };
    insides.into_iter().map(complete).collect()
}

/// What stands in a package.
struct Inside {
    index_json: Vec<u8>,
    documents: Documents,
    notes: Vec<Note>,
}

impl Inside {
    /// How much memory it takes, about.
    fn bytes(&self) -> usize {
        let Documents {
            run_exports_json,
            about_json,
            recipe,
            ..
        } = &self.documents;
        let documents = [run_exports_json, about_json, recipe].into_iter().flatten();
        documents.fold(self.index_json.len(), |sum, one| {
            sum.saturating_add(one.len())
        })
    }

    fn with(self, digests: Digests) -> Package {
        Package {
            digests,
            index_json: self.index_json,
            documents: self.documents,
            notes: self.notes,
        }
    }
}

/// A package that was looked into, and of which the rest has yet to be hashed.
struct Looked<'a, F: ?Sized> {
    source: Source<'a, F>,
    inside: Inside,
}

fn look_into<'a, F: ReadAt + ?Sized>(
    file: &'a F,
    size: u64,
    file_name: &str,
    options: &ReadOptions<'a>,
) -> Result<Looked<'a, F>, PackageError> {
    let format = Format::of(file_name).ok_or(PackageError::NotAPackageName)?;
    if size == 0 {
        return Err(PackageError::Empty);
    }
    let mut source = Source::with_tail(file, size, options)?;
    sniff::require(format, source.peek()?)?;
    let mut notes = Vec::new();
    let (index_json, collected) = match format {
        Format::TarBz2 => tar_bz2::search(&mut source, &mut notes)?,
        Format::Conda => conda::search(&mut source, format.stem(file_name), &mut notes)?,
    };
    let (documents, odd) = collected.finish();
    notes.extend(odd);
    let inside = Inside {
        index_json,
        documents,
        notes,
    };
    Ok(Looked { source, inside })
}
