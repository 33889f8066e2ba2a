//! Channel, Subdir, PackageFile: what lies in a channel's folder. Owns the walk and the rules for names
//! (CEP 26); must not open a package or know what was published.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use crate::attestation::{SidecarName, sidecar_name};
use crate::package::Format;
use crate::record::is_deceptive;
use crate::shown::shown;
use crate::sidecar;
use crate::storage::{Item, Kind, Storage, StorageError, is_own_temporary};
use crate::tuf::FOLDER;

/// The longest file name that common file systems take, in bytes.
pub(crate) const MAX_FILE_NAME: usize = 255;

/// The name of a subdir: `noarch`, `{os}-{arch}`, or whatever the operator named with `--subdir`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubdirName(Arc<str>);

impl SubdirName {
    /// The subdir that every channel has.
    pub fn noarch() -> SubdirName {
        SubdirName("noarch".into())
    }

    /// A name by the rule of CEP 26: `noarch`, or `^[a-z0-9]+-[a-z0-9]+$`, of at most 32 characters.
    pub fn standard(name: &str) -> Option<SubdirName> {
        let word = |w: &str| {
            !w.is_empty()
                && w.bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        };
        let platform = name
            .split_once('-')
            .is_some_and(|(os, arch)| word(os) && word(arch));
        ((platform && name.len() <= 32) || name == "noarch").then(|| SubdirName(name.into()))
    }

    /// Any folder name that stays in the channel, as the operator may name one; not that of signed metadata.
    pub fn chosen(name: &str) -> Option<SubdirName> {
        let safe = !name.is_empty()
            && name != FOLDER
            && !name.starts_with('.')
            && !name.contains('/')
            && !name.chars().any(|c| c != ' ' && is_deceptive(c));
        safe.then(|| SubdirName(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path, relative to the channel, of a file in this subdir.
    pub fn path_of(&self, file: &str) -> String {
        format!("{}/{file}", self.0)
    }
}

impl fmt::Display for SubdirName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A package's file in a subdir.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageFile {
    /// Where it lies.
    pub subdir: SubdirName,
    /// Its file name; UTF-8 without characters that deceive.
    pub name: String,
    /// By its extension.
    pub format: Format,
}

impl PackageFile {
    /// A file of that name, where a package can have it.
    pub fn named(subdir: &SubdirName, name: &str) -> Option<PackageFile> {
        let is_sound = !name.starts_with('.')
            && !name.contains('/')
            && !name.chars().any(is_deceptive)
            && name.len().saturating_add(sidecar::SUFFIX.len()) <= MAX_FILE_NAME;
        Some(PackageFile {
            subdir: subdir.clone(),
            name: name.to_owned(),
            format: Format::of(name).filter(|_| is_sound)?,
        })
    }

    /// Its path relative to the channel.
    pub fn path(&self) -> String {
        self.subdir.path_of(&self.name)
    }

    /// The path of its signature.
    pub fn sig_path(&self) -> String {
        self.path() + sidecar::SUFFIX
    }

    /// The file name without its extension.
    pub fn stem(&self) -> &str {
        self.format.stem(&self.name)
    }
}

/// Why a file can't be a package of the channel by its name alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    /// Not UTF-8: no JSON could name it.
    #[error("its file name is not UTF-8; rename it")]
    NotUtf8,
    /// Controls or characters that change how the name shows.
    #[error("its file name has the character {0:?}; rename it")]
    Deceptive(char),
    /// No room for `.sig` behind the name.
    #[error("its file name is too long for a signature beside it; shorten it")]
    TooLong,
    /// Another package's name in another case: they are one file on some clients' disks.
    #[error("its file name differs from {0} in case alone; rename one of them")]
    CaseCollision(String),
}

/// A subdir as it was listed.
#[derive(Debug, Clone)]
pub struct Subdir {
    /// Its name.
    pub name: SubdirName,
    /// The packages, by name.
    pub packages: Vec<PackageFile>,
    /// Files that look like packages and can't be, by printable name.
    pub refused: Vec<(String, NameFault)>,
    /// The names of packages beside which a `.sig` lies.
    pub signed: BTreeSet<String>,
    /// Every other plain name, such as index files, with what it is; folders that are named as signatures, too.
    pub others: BTreeMap<String, Kind>,
}

/// Which subdirs are taken.
#[derive(Debug, Clone, Default)]
pub enum Selection {
    /// `noarch` and every folder with a subdir's name.
    #[default]
    Standard,
    /// Just these.
    Named(Vec<SubdirName>),
}

/// A channel as it was walked.
#[derive(Debug, Clone, Default)]
pub struct Channel {
    /// The subdirs, by name.
    pub subdirs: Vec<Subdir>,
    /// What an operator should know of.
    pub warnings: Vec<String>,
}

impl Channel {
    /// Walks the channel.
    ///
    /// # Errors
    /// When a folder can't be listed, a subdir is a symbolic link, or a named subdir is not there.
    pub fn walk(storage: &dyn Storage, selection: &Selection) -> Result<Channel, StorageError> {
        let mut channel = Channel::default();
        match selection {
            Selection::Named(names) => {
                for name in names {
                    channel.enter(storage, name.clone())?;
                }
            }
            Selection::Standard => channel.enter_all(storage)?,
        }
        channel.subdirs.sort_by(|a, b| a.name.cmp(&b.name));
        channel.subdirs.dedup_by(|a, b| a.name == b.name);
        Ok(channel)
    }

    fn enter_all(&mut self, storage: &dyn Storage) -> Result<(), StorageError> {
        for item in storage.list("")? {
            let Some(name) = item.name.to_str() else {
                self.warnings.extend(warning_of_odd(&item));
                continue;
            };
            match (SubdirName::standard(name), item.kind) {
                (Some(_), Kind::Link) => return Err(StorageError::Link(name.to_owned())),
                (Some(subdir), Kind::Folder) => self.enter(storage, subdir)?,
                (None, Kind::Folder) if !name.starts_with('.') => {
                    self.warn_of_packages_in(storage, name)
                }
                (None, Kind::File | Kind::Link) if Format::of(name).is_some() => {
                    self.warnings.push(warning_of_stray(&item))
                }
                _ => {}
            }
        }
        if self.subdirs.is_empty() {
            self.warnings.push(
                "the channel has no subdir (noarch, linux-64, …); an empty noarch is indexed"
                    .to_owned(),
            );
        }
        if !self
            .subdirs
            .iter()
            .any(|subdir| subdir.name == SubdirName::noarch())
        {
            self.subdirs.push(Subdir::empty(SubdirName::noarch()));
        }
        Ok(())
    }

    fn enter(&mut self, storage: &dyn Storage, name: SubdirName) -> Result<(), StorageError> {
        let (subdir, warnings) = Subdir::list(storage, name)?;
        self.subdirs.push(subdir);
        self.warnings.extend(warnings);
        Ok(())
    }

    /// A folder that isn't a subdir by its name may still be meant as one.
    fn warn_of_packages_in(&mut self, storage: &dyn Storage, folder: &str) {
        let items = match storage.list(folder) {
            Ok(items) => items,
            Err(error) => {
                self.warnings.push(format!(
                    "{error}; whether there are packages in it is not known"
                ));
                return;
            }
        };
        let count = items
            .iter()
            .filter(|item| Format::of_os(&item.name).is_some())
            .count();
        if count > 0 {
            let remedy = match SubdirName::chosen(folder) {
                Some(name) => format!("take them with --subdir '{name}'"),
                None => "rename it".to_owned(),
            };
            let folder = shown(folder);
            self.warnings.push(format!(
                "{folder}: packages in a folder that has no subdir's name are not indexed ({count} of them); {remedy}"
            ));
        }
    }
}

fn warning_of_stray(item: &Item) -> String {
    let name = shown(&item.name);
    format!("{name}: a package beside the subdirs is not indexed; move it into its subdir")
}

/// What has a name that is not UTF-8 stands in no index, and no folder of such a name is entered.
fn warning_of_odd(item: &Item) -> Option<String> {
    match item.kind {
        _ if item.name.as_encoded_bytes().starts_with(b".") => None,
        Kind::Folder => Some(format!(
            "{}: a folder whose name is not UTF-8 is not entered; if there are packages in it, rename it",
            shown(&item.name)
        )),
        Kind::File | Kind::Link if Format::of_os(&item.name).is_some() => {
            Some(warning_of_stray(item))
        }
        _ => None,
    }
}

/// The package that a file is the signature of, by its name.
fn package_of_signature(name: &str) -> Option<&str> {
    let package = name.strip_suffix(sidecar::SUFFIX)?;
    (!name.starts_with('.') && Format::of(package).is_some()).then_some(package)
}

impl Subdir {
    /// A subdir without anything in it.
    pub fn empty(name: SubdirName) -> Subdir {
        Subdir {
            name,
            packages: Vec::new(),
            refused: Vec::new(),
            signed: BTreeSet::new(),
            others: BTreeMap::new(),
        }
    }

    /// Lists a subdir's folder, which must be there.
    ///
    /// # Errors
    /// When it can't be listed to its end.
    pub fn list(
        storage: &dyn Storage,
        name: SubdirName,
    ) -> Result<(Subdir, Vec<String>), StorageError> {
        let mut subdir = Subdir::empty(name);
        let (mut warnings, mut signed) = (Vec::new(), Vec::new());
        for item in storage.list(subdir.name.as_str())? {
            let package = item.name.to_str().and_then(package_of_signature);
            match package {
                Some(package) => {
                    if item.kind == Kind::Folder {
                        let name = format!("{package}{}", sidecar::SUFFIX);
                        subdir.others.insert(name, item.kind);
                    }
                    signed.push(package.to_owned());
                }
                None => subdir.sort_in(&item, &mut warnings),
            }
        }
        subdir.packages.sort_unstable();
        // At once: one by one, in the disorder of a listing, would cost as much as all else.
        subdir.signed = signed.into_iter().collect();
        subdir.warn_of_orphans(&mut warnings);
        Ok((subdir, warnings))
    }

    fn sort_in(&mut self, item: &Item, warnings: &mut Vec<String>) {
        let Some(name) = item.name.to_str() else {
            if Format::of_os(&item.name).is_some() {
                let path = self.name.path_of(&shown(&item.name));
                self.refused.push((path, NameFault::NotUtf8));
            }
            return;
        };
        if name.starts_with('.') && !is_own_temporary(name) {
            return;
        }
        let Some(format) = Format::of(name).filter(|_| !name.starts_with('.')) else {
            self.others.insert(name.to_owned(), item.kind);
            return;
        };
        let path = || self.name.path_of(&shown(name));
        if matches!(item.kind, Kind::Folder | Kind::Special) {
            warnings.push(format!(
                "{}: named like a package, but not a file; skipped",
                path()
            ));
        } else if let Some(c) = name.chars().find(|c| is_deceptive(*c)) {
            let path = path();
            self.refused.push((path, NameFault::Deceptive(c)));
        } else if name.len().saturating_add(sidecar::SUFFIX.len()) > MAX_FILE_NAME {
            let path = path();
            self.refused.push((path, NameFault::TooLong));
        } else {
            self.packages.push(PackageFile {
                subdir: self.name.clone(),
                name: name.to_owned(),
                format,
            });
        }
    }

    fn warn_of_orphans(&self, warnings: &mut Vec<String>) {
        let names: BTreeSet<&str> = self
            .packages
            .iter()
            .map(|package| package.name.as_str())
            .collect();
        for orphan in self
            .signed
            .iter()
            .filter(|name| !names.contains(name.as_str()))
        {
            let path = self.name.path_of(&shown(orphan));
            warnings.push(format!(
                "{path}{}: a signature without its package",
                sidecar::SUFFIX
            ));
        }
        let lists = self.others.keys().filter(|name| {
            matches!(sidecar_name(name), Some(SidecarName::Mutable(package)) if !names.contains(package))
        });
        for list in lists {
            let path = self.name.path_of(&shown(list));
            warnings.push(format!("{path}: attestations without their package"));
        }
    }

    /// Takes out packages whose names differ in case alone. The one that was published stays, else the
    /// first by name.
    pub fn refuse_collisions(&mut self, published: impl Fn(&str) -> bool) {
        let mut holders: HashMap<String, String> = HashMap::new();
        let (first, second): (Vec<_>, Vec<_>) = std::mem::take(&mut self.packages)
            .into_iter()
            .partition(|package| published(&package.name));
        for package in first.into_iter().chain(second) {
            let folded = without_case(&package.name);
            match holders.get(&folded) {
                Some(holder) => self
                    .refused
                    .push((package.path(), NameFault::CaseCollision(holder.clone()))),
                None => {
                    holders.insert(folded, package.name.clone());
                    self.packages.push(package);
                }
            }
        }
        self.packages.sort();
    }
}

/// A name without its case. Letters whose lower case depends on what stands around them (`ς`), and those that share one
/// upper case (`ſ` and `s`, `ß` and `ss`), meet by way of that.
fn without_case(name: &str) -> String {
    match name.is_ascii() {
        true => name.to_ascii_lowercase(),
        false => {
            let upper = name.chars().flat_map(char::to_uppercase);
            upper.flat_map(char::to_lowercase).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::storage::LocalStorage;

    #[test]
    fn a_name_from_elsewhere_is_one_that_the_walk_would_take() {
        let named = |name: &str| PackageFile::named(&SubdirName::noarch(), name);
        assert_eq!(named("a-1-0.conda").unwrap().path(), "noarch/a-1-0.conda");
        let long = format!("{}-1-0.conda", "a".repeat(250));
        for name in [
            "a",
            ".a-1-0.conda",
            "../a-1-0.conda",
            "a\n-1-0.conda",
            &long,
        ] {
            assert_eq!(named(name), None, "{name}");
        }
    }

    #[test]
    fn subdir_names_follow_cep_26() {
        for name in ["noarch", "linux-64", "osx-arm64", "emscripten-wasm32"] {
            assert!(SubdirName::standard(name).is_some(), "{name}");
        }
        for name in [
            "",
            "linux",
            "Linux-64",
            "linux-64-x",
            "-64",
            "linux-",
            "a b-c",
            &format!("{}-64", "x".repeat(30)),
        ] {
            assert!(SubdirName::standard(name).is_none(), "{name}");
        }
        assert!(SubdirName::chosen("My Things").is_some());
        for name in ["", ".", "..", ".git", "a/b", "a\n", "tuf"] {
            assert!(SubdirName::chosen(name).is_none(), "{name:?}");
        }
        assert!(SubdirName::chosen("custom").is_some());
    }

    fn channel(files: &[&str]) -> (tempfile::TempDir, LocalStorage) {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            if file.ends_with('/') {
                std::fs::create_dir_all(path).unwrap();
            } else {
                std::fs::write(path, "").unwrap();
            }
        }
        let storage = LocalStorage::open(root.path()).unwrap();
        (root, storage)
    }

    #[test]
    fn the_walk_sorts_what_it_finds() {
        let (_root, storage) = channel(&[
            "linux-64/b-1-0.conda",
            "linux-64/b-1-0.conda.sig",
            "linux-64/a-1-0.tar.bz2",
            "linux-64/gone-1-0.conda.sig",
            "linux-64/.hidden.conda",
            "linux-64/x.conda.part",
            "linux-64/X.CONDA",
            "linux-64/folder.conda/",
            "linux-64/repodata.json",
            "linux-64/.sigindex-1-2.tmp",
            "custom/c-1-0.conda",
            "docs/readme.txt",
            "top-1-0.conda",
        ]);
        let channel = Channel::walk(&storage, &Selection::Standard).unwrap();
        let names: Vec<&str> = channel.subdirs.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["linux-64", "noarch"]);
        let linux = &channel.subdirs[0];
        let packages: Vec<&str> = linux.packages.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(packages, ["a-1-0.tar.bz2", "b-1-0.conda"]);
        assert_eq!(linux.packages[0].stem(), "a-1-0");
        assert!(linux.signed.contains("b-1-0.conda"));
        let others: Vec<&str> = linux.others.keys().map(String::as_str).collect();
        assert_eq!(
            others,
            [
                ".sigindex-1-2.tmp",
                "X.CONDA",
                "repodata.json",
                "x.conda.part"
            ]
        );
        let warnings = channel.warnings.join("\n");
        for part in [
            "gone-1-0.conda.sig",
            "folder.conda",
            "--subdir 'custom'",
            "top-1-0.conda",
        ] {
            assert!(warnings.contains(part), "{part} in {warnings}");
        }
        let custom = Selection::Named(vec![SubdirName::chosen("custom").unwrap()]);
        assert_eq!(
            Channel::walk(&storage, &custom).unwrap().subdirs[0]
                .packages
                .len(),
            1
        );
        let absent = Selection::Named(vec![SubdirName::chosen("absent").unwrap()]);
        assert!(Channel::walk(&storage, &absent).unwrap_err().is_absent());
    }

    #[test]
    fn names_that_deceive_or_collide_are_refused() {
        let long = format!("noarch/{}.conda", "x".repeat(246));
        let (_root, storage) = channel(&[
            "noarch/A-1-0.conda",
            "noarch/a-1-0.conda",
            "noarch/b\u{202e}-1-0.conda",
            "noarch/c\n.conda",
            &long,
        ]);
        let channel = Channel::walk(&storage, &Selection::Standard).unwrap();
        let mut noarch = channel.subdirs[0].clone();
        assert_eq!(noarch.refused.len(), 3, "{:?}", noarch.refused);
        assert!(
            noarch
                .refused
                .iter()
                .all(|(path, _)| !path.contains(['\n', '\u{202e}']))
        );
        noarch.refuse_collisions(|name| name == "a-1-0.conda");
        assert_eq!(noarch.packages[0].name, "a-1-0.conda");
        assert_eq!(
            noarch.refused[3].1,
            NameFault::CaseCollision("a-1-0.conda".to_owned())
        );
    }

    #[test]
    fn names_are_held_against_each_other_without_their_case() {
        for (one, other) in [
            ("Ab-1_X", "aB-1_x"),
            ("mes\u{17f}age", "MESSAGE"),
            ("\u{3bb}\u{3cc}\u{3b3}\u{3bf}\u{3c2}", "ΛΌΓΟΣ"),
            ("straße", "STRASSE"),
            ("\u{212a}elvin", "kelvin"),
            ("É", "é"),
            ("ǅ", "ǆ"),
        ] {
            assert_eq!(without_case(one), without_case(other), "{one}");
        }
        for (one, other) in [("a-1", "a_1"), ("e", "é"), ("é", "e\u{301}")] {
            assert_ne!(without_case(one), without_case(other), "{one}");
        }
    }

    #[test]
    fn a_subdir_that_is_a_link_is_not_entered() {
        let (root, storage) = channel(&["noarch/a-1-0.conda"]);
        std::os::unix::fs::symlink("/", root.path().join("linux-64")).unwrap();
        assert!(matches!(
            Channel::walk(&storage, &Selection::Standard),
            Err(StorageError::Link(_))
        ));
    }
}
