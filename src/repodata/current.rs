//! `current_repodata.json`, the short index of the classic solver. Owns which packages it lists: the newest, what
//! is pinned, and what these depend on; must not know how a record is printed, nor where patches come from.
//!
//! # What is listed
//! 1. A .tar.bz2 whose .conda twin is listed is left out; the .conda's record gains `legacy_bz2_md5`.
//! 2. Per subdir and name every build of the newest version, and of the newest one that each pin means.
//! 3. A client sees a platform's subdir and noarch, or noarch alone where the channel has no subdir for its
//!    platform. Where a dependency of a package that is listed is met by none that are listed, all builds of the
//!    newest version that meets it are listed too, where they lie; until nothing is missing that the channel has.
//! 4. Where a package that is listed has features, or tracks some, the newest package of its name in the subdir
//!    that has none is listed too.
//!
//! Packages are added in rounds, each judged by what was listed before it, so that no order of records counts.
//!
//! # What it takes
//! A dependency takes hundreds of times its text in memory once it is read, and to look for it takes time for each
//! version that it names and each package of its name. So none is kept once it was looked at, and no shelf is
//! searched twice for it in a round; of a package whose dependencies name too many versions, the last are left out.

mod pins;
mod search;
mod shelf;

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::rc::Rc;
use std::sync::atomic::AtomicBool;

use super::{Document, Listed};
use crate::error::{Error, go_on};
use crate::match_spec::{self, MAX_VERSIONS, MatchSpec};
use crate::version::Version;
pub use pins::Pins;
use search::Search;
use shelf::Shelf;

/// What `current_repodata.json` lists.
#[derive(Debug, Clone, Default)]
pub struct Current {
    /// The packages of each document in the given order, sorted by file name.
    pub listed: Vec<Vec<Listed>>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// Chooses the packages of `current_repodata.json` out of all subdirs of a channel.
///
/// Records come from outside: a field of the wrong type counts as absent, and a record without a name is left out,
/// as is a dependency that can't be read.
///
/// # Errors
/// [`Error::Interrupted`] when the run is to stop.
pub fn current(
    documents: &[&Document<'_>],
    pins: &Pins,
    cancelled: &AtomicBool,
) -> Result<Current, Error> {
    let mut versions = Versions::default();
    let mut shelves = Vec::with_capacity(documents.len());
    for document in documents {
        go_on(cancelled)?;
        shelves.push(Shelf::new(&document.listed, &mut versions));
    }
    let mut warnings = pins.warnings().to_vec();
    let mut choice = Choice::new(&shelves, views(documents), cancelled);
    let mut added = choice.newest();
    added.extend(choice.pinned(pins, &mut warnings));
    // Each round keeps a package more, or is the last.
    while !added.is_empty() {
        choice.keep(&added);
        added = choice.missing(&added)?;
    }
    warnings.extend(choice.crowded(documents));
    Ok(Current {
        listed: choice.listed(),
        warnings,
    })
}

/// The subdirs that each kind of client sees, by their places.
fn views(documents: &[&Document<'_>]) -> Vec<Vec<usize>> {
    let is_noarch = |at: &usize| {
        let document = documents.get(*at);
        document.is_some_and(|document| document.subdir.as_str() == "noarch")
    };
    let (noarch, platforms): (Vec<_>, Vec<_>) = (0..documents.len()).partition(is_noarch);
    let platforms = platforms.into_iter();
    let mut views: Vec<_> = platforms
        .map(|at| [vec![at], noarch.clone()].concat())
        .collect();
    views.push(noarch);
    views
}

/// Every text of a version, read once.
#[derive(Debug, Default)]
struct Versions<'a> {
    known: HashMap<Cow<'a, str>, Rc<Version>>,
}

impl<'a> Versions<'a> {
    fn read(&mut self, text: Cow<'a, str>) -> Rc<Version> {
        if let Some(known) = self.known.get(&text) {
            return Rc::clone(known);
        }
        let version = Rc::new(Version::parse(&text));
        self.known.insert(text, Rc::clone(&version));
        version
    }
}

/// A package: the place of its shelf, and its own place there.
type Place = (usize, usize);

/// Which packages are kept so far.
struct Choice<'s, 'a> {
    shelves: &'s [Shelf<'a>],
    /// By shelf and place.
    kept: Vec<Vec<bool>>,
    views: Vec<Vec<usize>>,
    /// Dependencies of which nothing is missing any more, each with the shelf that it stands on.
    settled: HashSet<(Cow<'a, str>, usize)>,
    /// Packages whose dependencies name too many versions.
    crowded: BTreeSet<Place>,
    cancelled: &'s AtomicBool,
}

impl<'s, 'a> Choice<'s, 'a> {
    fn new(
        shelves: &'s [Shelf<'a>],
        views: Vec<Vec<usize>>,
        cancelled: &'s AtomicBool,
    ) -> Choice<'s, 'a> {
        let kept = shelves.iter().map(|shelf| vec![false; shelf.len()]);
        Choice {
            shelves,
            kept: kept.collect(),
            views,
            settled: HashSet::new(),
            crowded: BTreeSet::new(),
            cancelled,
        }
    }

    /// All builds of the newest version, per shelf and name.
    fn newest(&self) -> BTreeSet<Place> {
        let shelves = self.shelves.iter().enumerate();
        let newest = shelves.flat_map(|(at, shelf)| {
            let groups = shelf.names().filter_map(|name| {
                let first = shelf.places(name).next()?;
                Some(shelf.builds_of(name, &shelf.get(first)?.version))
            });
            groups.flatten().map(move |place| (at, place))
        });
        newest.collect()
    }

    /// What pins keep; a warning for each that means no package.
    fn pinned(&self, pins: &Pins, warnings: &mut Vec<String>) -> BTreeSet<Place> {
        let mut places = BTreeSet::new();
        for pin in pins.iter() {
            let before = places.len();
            for (at, shelf) in self.shelves.iter().enumerate() {
                let newest = shelf.newest_match(&pin.spec);
                let builds = newest.map(|version| shelf.builds_of(pin.spec.name(), version));
                places.extend(builds.into_iter().flatten().map(|place| (at, place)));
            }
            // Pins of one name may mean the same version.
            let any = |shelf: &Shelf<'_>| shelf.newest_match(&pin.spec).is_some();
            if places.len() == before && !self.shelves.iter().any(any) {
                warnings.push(pins.without_match(pin));
            }
        }
        places
    }

    fn keep(&mut self, places: &BTreeSet<Place>) {
        for (shelf, place) in places {
            let kept = self.kept.get_mut(*shelf);
            if let Some(kept) = kept.and_then(|kept| kept.get_mut(*place)) {
                *kept = true;
            }
        }
    }

    fn is_kept(&self, (shelf, place): Place) -> bool {
        let kept = self.kept.get(shelf).and_then(|kept| kept.get(place));
        kept.copied().unwrap_or(false)
    }

    /// What packages that were kept last make necessary, and isn't kept yet.
    fn missing(&mut self, added: &BTreeSet<Place>) -> Result<BTreeSet<Place>, Error> {
        let mut missing = BTreeSet::new();
        let mut due = HashMap::<Cow<'a, str>, Vec<usize>>::new();
        for (at, place) in added {
            go_on(self.cancelled)?;
            let Some(shelf) = self.shelves.get(*at) else {
                continue;
            };
            missing.extend(shelf.without_features_for(*place).map(|place| (*at, place)));
            for dependency in self.dependencies((*at, *place)) {
                if self.settled.insert((dependency.clone(), *at)) {
                    due.entry(dependency).or_default().push(*at);
                }
            }
        }
        for (dependency, shelves) in due {
            missing.extend(self.backfill(&dependency, &shelves)?);
        }
        missing.retain(|place| !self.is_kept(*place));
        Ok(missing)
    }

    /// What a package depends on, up to where too many versions are named.
    fn dependencies(&mut self, (at, place): Place) -> Vec<Cow<'a, str>> {
        let shelf = self.shelves.get(at);
        let mut dependencies = shelf.map_or_else(Vec::new, |shelf| shelf.dependencies(place));
        let mut versions = 0_usize;
        let end = dependencies.iter().position(|text| {
            versions = versions.saturating_add(match_spec::versions_in(text));
            versions > MAX_VERSIONS
        });
        if let Some(end) = end {
            dependencies.truncate(end);
            self.crowded.insert((at, place));
        }
        dependencies
    }

    /// All builds of the newest version that meets a dependency of packages on these shelves, per view where none that
    /// is kept does.
    fn backfill(&self, dependency: &str, shelves: &[usize]) -> Result<Vec<Place>, Error> {
        let Some(spec) = MatchSpec::parse(dependency) else {
            return Ok(Vec::new());
        };
        let mut search = Search::new(self, &spec);
        let mut places = Vec::new();
        for view in &self.views {
            if shelves.iter().any(|at| view.contains(at)) {
                places.extend(search.missing_in(view)?);
            }
        }
        Ok(places)
    }

    /// A warning for each package whose dependencies name too many versions.
    fn crowded(&self, documents: &[&Document<'_>]) -> Vec<String> {
        let crowded = self.crowded.iter().filter_map(|(at, place)| {
            let file = self.shelves.get(*at)?.get(*place)?.file();
            Some(format!(
                "{}: its dependencies name more than {MAX_VERSIONS} versions; what the last ones need may be missing from current_repodata.json; build the package with fewer",
                documents.get(*at)?.subdir.path_of(file),
            ))
        });
        crowded.collect()
    }

    fn listed(&self) -> Vec<Vec<Listed>> {
        let shelves = self.shelves.iter().zip(&self.kept);
        shelves.map(|(shelf, kept)| shelf.listed(kept)).collect()
    }
}

#[cfg(test)]
mod tests;
