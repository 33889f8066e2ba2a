//! What lies in a channel's folder and stands in no index. Owns which files should not be there; must not read one.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::packages::{Expected, Task};
use super::{Context, What};
use crate::package::Format;
use crate::shown::told;
use crate::sidecar;
use crate::verify::{self, Found, Place};

const UNLISTED: &str =
    "no index lists it: refused, or put there since; index the channel anew, or remove it";

/// What lies in the folder beside what the index lists.
pub(super) struct Listing<'a> {
    pub context: Context<'a>,
    /// The subdirs that were looked into.
    pub subdirs: &'a BTreeMap<String, Vec<Expected>>,
    /// Whether only some subdirs were asked for.
    pub in_part: bool,
}

/// What lies in a subdir, by name, where that can be listed; where it should be and is not, that is a finding.
pub(super) fn names_in(context: Context<'_>, subdir: &str) -> Option<BTreeSet<String>> {
    match context.place.names_in(subdir) {
        Ok(names) => names,
        Err(error) => {
            let why = format!("what lies there can't be listed: {error}");
            context.findings.error(What::Listing, subdir, why);
            None
        }
    }
}

impl Listing<'_> {
    /// Packages that no index lists, to be held against their signatures; nothing where nothing can be listed.
    pub fn loose(&self) -> Vec<Task> {
        self.orphans();
        let listed: HashSet<&str> = self
            .subdirs
            .values()
            .flatten()
            .map(|expected| expected.path.as_str())
            .collect();
        let Some(root) = self.context.place.root() else {
            self.unlisted(&listed);
            return Vec::new();
        };
        let mut loose = Vec::new();
        for found in verify::packages_of(root) {
            let path = match found.file.strip_prefix(root) {
                Ok(path) => told(path),
                Err(_) => told(&found.file),
            };
            let subdir = path.split_once('/').map(|(subdir, _)| subdir);
            let subdir = subdir.filter(|name| self.subdirs.contains_key(*name));
            if listed.contains(path.as_str()) || self.in_part && subdir.is_none() {
                continue;
            }
            self.say(&found, &path, subdir.is_some());
            loose.push(Task::Loose(found, path));
        }
        loose
    }

    /// Where nothing indexes it, a package deceives nobody; only its signature is looked at.
    fn say(&self, found: &Found, path: &str, is_in_subdir: bool) {
        let is_file = matches!(found.place, Place::In(..));
        if is_file && is_in_subdir && path.matches('/').count() == 1 {
            self.context.findings.error(What::Listing, path, UNLISTED);
        }
    }

    /// Names the packages that no index lists, where what lies there can be listed and is no folder of this machine.
    fn unlisted(&self, listed: &HashSet<&str>) {
        for subdir in self.subdirs.keys() {
            let names = names_in(self.context, subdir).unwrap_or_default();
            let packages = names.iter().filter(|name| Format::of(name).is_some());
            let paths = packages.map(|name| format!("{subdir}/{name}"));
            for path in paths.filter(|path| !listed.contains(path.as_str())) {
                self.context.findings.error(What::Listing, &path, UNLISTED);
            }
        }
    }

    fn orphans(&self) {
        for subdir in self.subdirs.keys() {
            let Some(names) = names_in(self.context, subdir) else {
                continue;
            };
            for name in &names {
                let package = name.strip_suffix(sidecar::SUFFIX);
                let package = package.filter(|package| Format::of(package).is_some());
                if package.is_some_and(|package| !names.contains(package)) {
                    self.context.findings.error(
                        What::Listing,
                        &format!("{subdir}/{name}"),
                        "a signature without its package; remove it, or put the package back",
                    );
                }
            }
        }
    }
}
