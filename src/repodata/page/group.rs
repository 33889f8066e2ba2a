//! The packages of a page by their names. Owns the order of names and files, and what a name says of itself;
//! must not know how it is shown.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use super::glance::Glance;
use super::text::shown;
use crate::repodata::web::web_address;
use crate::version::Version;

/// The most characters of a summary that a page shows.
const MAX_SUMMARY: usize = 200;

/// The files of one name in one subdir, newest first.
#[derive(Debug)]
pub(super) struct Group<'a> {
    /// The package's name.
    pub name: Cow<'a, str>,
    /// At least one.
    pub files: Vec<Glance<'a>>,
}

/// What a package says of its project.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct About {
    /// One line, cut; empty where there is none.
    pub summary: String,
    /// A web address, or empty.
    pub home: String,
}

/// A subdir's packages, sorted by name.
pub(super) fn groups(files: Vec<Glance<'_>>) -> Vec<Group<'_>> {
    let ranks = ranks(files.iter().map(|file| &file.version));
    let mut groups: BTreeMap<Cow<'_, str>, Vec<(usize, Glance<'_>)>> = BTreeMap::new();
    for file in files {
        let rank = ranks.get(&*file.version).copied().unwrap_or_default();
        let name = groups.entry(file.name.clone()).or_default();
        name.push((rank, file));
    }
    let groups = groups.into_iter().map(|(name, mut files)| {
        files.sort_by(|(a_rank, a), (b_rank, b)| {
            let newer = (b_rank, b.build_number).cmp(&(a_rank, a.build_number));
            // Builds of one number in the order of their names, .conda first.
            newer.then_with(|| a.build.cmp(&b.build)).then_with(|| {
                let extension = |file: &Glance<'_>| file.listed.format.extension();
                let by_format = extension(a).cmp(extension(b));
                by_format.then_with(|| a.listed.name.cmp(&b.listed.name))
            })
        });
        let files = files.into_iter().map(|(_, file)| file).collect();
        Group { name, files }
    });
    groups.collect()
}

/// The place of each version among all of them, so that each text is read and compared only once.
fn ranks<'v>(versions: impl Iterator<Item = &'v Cow<'v, str>>) -> HashMap<String, usize> {
    let different: HashSet<&str> = versions.map(|version| &**version).collect();
    let mut sorted: Vec<(Version, &str)> = different
        .into_iter()
        .map(|text| (Version::parse(text), text))
        .collect();
    sorted.sort();
    let ranked = sorted.into_iter().zip(0..);
    ranked
        .map(|((_, text), rank)| (text.to_owned(), rank))
        .collect()
}

impl Group<'_> {
    /// What the newest file says that has a summary; an older one is asked only where newer ones have none.
    pub(super) fn about(&self) -> About {
        let mut found = About::default();
        for file in &self.files {
            let [summary, home] = file.about();
            if found.home.is_empty() {
                found.home = web_address(&home).unwrap_or_default();
            }
            found.summary = shown(summary.trim(), MAX_SUMMARY).into_owned();
            if !found.summary.is_empty() {
                break;
            }
        }
        found
    }
}
