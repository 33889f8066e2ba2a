//! Where instructions come from: a package, a folder or a script that the operator named. Owns reading them before
//! anything else happens; must not know what stands in them, nor look for any that nobody named.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use rustix::fs::OFlags;

use super::{FILE_NAME, Instructions, script};
use crate::channel::SubdirName;
use crate::error::Error;
use crate::package::{self, FileCaps, Format, ReadOptions};
use crate::shown::shown;

const MIB: u64 = 1024 * 1024;

/// How large instructions may be: one subdir's, and those of all subdirs together.
pub const CAPS: FileCaps = FileCaps {
    each: 64 * MIB,
    together: 256 * MIB,
};

/// Where instructions come from, opened once.
#[derive(Debug, Clone)]
pub struct Source(Kind);

#[derive(Debug, Clone)]
enum Kind {
    /// By subdir.
    Read(BTreeMap<String, Instructions>),
    /// Makes them from the repodata.
    Script(PathBuf),
}

impl Source {
    /// Opens what `--patch-generator` names: a package (`.conda`, `.tar.bz2`) or a folder that holds
    /// `SUBDIR/patch_instructions.json`, or a script (`.py`). Packages and folders are read at once, whole; a
    /// script is not run yet.
    ///
    /// # Errors
    /// When it is none of these, can't be read, or holds no instructions or any that [`Instructions::parse`] refuses.
    pub fn open(path: &Path) -> Result<Source, Error> {
        let metadata = fs::metadata(path).map_err(|cause| cant_read(path, cause))?;
        let name = path.file_name().unwrap_or_default();
        if metadata.is_dir() {
            Source::of_files(&shown(path), in_folder(path)?)
        } else if Format::of_os(name).is_some() {
            Source::of_files(&shown(path), in_package(path)?)
        } else if path.extension().is_some_and(|end| end == "py") {
            open(path)?;
            let shown = shown(path);
            script::require_python().map_err(|cause| cant_take(&shown, cause))?;
            Ok(Source(Kind::Script(path.to_owned())))
        } else {
            Err(Error::Usage(format!(
                "{}: is nothing that repodata patches come from; name a package (.conda, .tar.bz2) or a folder that \
                 holds SUBDIR/{FILE_NAME}, or a script (.py)",
                shown(path)
            )))
        }
    }

    /// Takes the texts of `patch_instructions.json`, by subdir, that were read elsewhere, such as out of a package of
    /// the channel; `name` says where.
    ///
    /// # Errors
    /// When there are none, or any that [`Instructions::parse`] refuses.
    pub fn of_files(name: &str, files: BTreeMap<String, Vec<u8>>) -> Result<Source, Error> {
        if files.is_empty() {
            return Err(cant_take(
                name,
                format!("it holds no SUBDIR/{FILE_NAME}; name another"),
            ));
        }
        let parse = |(subdir, bytes): (String, Vec<u8>)| {
            let instructions =
                Instructions::parse(&format!("{name}: {subdir}/{FILE_NAME}"), &bytes)?;
            Ok((subdir, instructions))
        };
        let files: Result<_, Error> = files.into_iter().map(parse).collect();
        Ok(Source(Kind::Read(files?)))
    }

    /// The instructions for a subdir; `None` where there are none for it. `repodata` gives the subdir's
    /// `repodata.json` before patches: it is asked for by scripts alone, and these run once for each call.
    ///
    /// # Errors
    /// [`Error::Interrupted`] once `cancelled` is set; when a script fails, or returns what [`Instructions::parse`] refuses.
    pub fn instructions(
        &self,
        subdir: &str,
        repodata: &dyn Fn() -> Vec<u8>,
        cancelled: &AtomicBool,
    ) -> Result<Option<Instructions>, Error> {
        match &self.0 {
            Kind::Read(instructions) => Ok(instructions.get(subdir).cloned()),
            Kind::Script(path) => {
                let text = script::run(path, subdir, &repodata(), cancelled)?;
                let name = format!("{}: {subdir}", shown(path));
                Instructions::parse(&name, &text).map(Some)
            }
        }
    }
}

/// The subdir whose instructions a path in a package, or in a folder, would be.
///
/// Any name that a subdir may have counts, since an operator may name any with `--subdir`.
pub fn subdir_of(path: &str) -> Option<&str> {
    let (subdir, file) = path.split_once('/')?;
    (file == FILE_NAME && SubdirName::chosen(subdir).is_some()).then_some(subdir)
}

fn in_package(path: &Path) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let file = open(path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // Patches speak for all packages, so theirs is checked as a whole.
    let options = ReadOptions {
        check_archives: true,
        cancelled: &AtomicBool::new(false),
        progress: &|_| {},
    };
    let wanted = |path: &str| subdir_of(path).is_some();
    let (_, files) = package::files(&file, &name, &wanted, CAPS, &options)
        .map_err(|cause| cant_take(&shown(path), format!("it {cause}")))?;
    let subdir = |(path, bytes): (String, _)| Some((subdir_of(&path)?.to_owned(), bytes));
    Ok(files.into_iter().filter_map(subdir).collect())
}

/// Links are the operator's own, and are followed.
fn in_folder(path: &Path) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let mut files = BTreeMap::new();
    let mut left = CAPS.together;
    for entry in fs::read_dir(path).map_err(|cause| cant_read(path, cause))? {
        let name = entry.map_err(|cause| cant_read(path, cause))?.file_name();
        let Some(subdir) = name.to_str().and_then(SubdirName::chosen) else {
            continue;
        };
        let file = path.join(subdir.as_str()).join(FILE_NAME);
        match fs::symlink_metadata(&file) {
            Err(cause)
                if matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                continue;
            }
            // A link that leads nowhere is no absence, and fails when it is opened.
            _ => {}
        }
        let bytes = read(&file, left.min(CAPS.each))?;
        left = left.saturating_sub(bytes.len() as u64);
        files.insert(subdir.to_string(), bytes);
    }
    Ok(files)
}

/// Opens a regular file.
fn open(path: &Path) -> Result<File, Error> {
    // Without O_NONBLOCK, opening a FIFO would wait for somebody to write.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(|cause| cant_read(path, cause))?;
    match file.metadata() {
        Ok(metadata) if metadata.is_file() => Ok(file),
        Ok(_) => Err(cant_read(path, io::Error::other("not a regular file"))),
        Err(cause) => Err(cant_read(path, cause)),
    }
}

fn read(path: &Path, cap: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    open(path)?
        .take(cap.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|cause| cant_read(path, cause))?;
    if bytes.len() as u64 > cap {
        let (each, together) = (CAPS.each / MIB, CAPS.together / MIB);
        let cause =
            format!("it is too large; a file may have {each} MiB, and all of them {together} MiB");
        return Err(cant_take(&shown(path), cause));
    }
    Ok(bytes)
}

fn cant_read(path: &Path, cause: io::Error) -> Error {
    Error::File {
        path: shown(path),
        operation: "read repodata patches",
        cause,
    }
}

fn cant_take(path: &str, cause: String) -> Error {
    Error::Patches {
        path: path.to_owned(),
        operation: "take repodata patches from it".to_owned(),
        cause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_lie_in_a_subdirs_folder() {
        for (path, subdir) in [
            ("noarch/patch_instructions.json", Some("noarch")),
            ("My Folder/patch_instructions.json", Some("My Folder")),
            (".git/patch_instructions.json", None),
            ("a/b/patch_instructions.json", None),
            ("patch_instructions.json", None),
            ("/patch_instructions.json", None),
            ("a\u{202e}/patch_instructions.json", None),
            ("noarch/patch_instructions.json.bz2", None),
        ] {
            assert_eq!(subdir_of(path), subdir, "{path}");
        }
    }
}
