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

mod pins;
mod shelf;

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::rc::Rc;

use super::{Document, Listed};
use crate::match_spec::MatchSpec;
use crate::version::Version;
pub use pins::Pins;
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
pub fn current(documents: &[&Document<'_>], pins: &Pins) -> Current {
    let mut versions = Versions::default();
    let shelves = documents.iter();
    let shelves: Vec<_> = shelves
        .map(|document| Shelf::new(&document.listed, &mut versions))
        .collect();
    let mut warnings = pins.warnings().to_vec();
    let mut choice = Choice::new(&shelves, views(documents));
    let mut added = choice.newest();
    added.extend(choice.pinned(pins, &mut warnings));
    // Each round keeps a package more, or is the last.
    while !added.is_empty() {
        choice.keep(&added);
        added = choice.missing(&added);
    }
    Current {
        listed: choice.listed(),
        warnings,
    }
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
    /// Dependencies that were looked at: by their text, where in `specs`.
    known: HashMap<Cow<'a, str>, usize>,
    specs: Vec<Option<MatchSpec>>,
    /// Views and dependencies of which nothing is missing any more.
    settled: HashSet<(usize, usize)>,
}

impl<'s, 'a> Choice<'s, 'a> {
    fn new(shelves: &'s [Shelf<'a>], views: Vec<Vec<usize>>) -> Choice<'s, 'a> {
        let kept = shelves.iter().map(|shelf| vec![false; shelf.len()]);
        Choice {
            shelves,
            kept: kept.collect(),
            views,
            known: HashMap::new(),
            specs: Vec::new(),
            settled: HashSet::new(),
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
    fn missing(&mut self, added: &BTreeSet<Place>) -> BTreeSet<Place> {
        let mut missing = BTreeSet::new();
        for (at, place) in added {
            let Some(shelf) = self.shelves.get(*at) else {
                continue;
            };
            missing.extend(shelf.without_features_for(*place).map(|place| (*at, place)));
            for dependency in shelf.dependencies(*place) {
                let spec = self.spec(dependency);
                for view in 0..self.views.len() {
                    let seen = self.views.get(view).is_some_and(|view| view.contains(at));
                    if seen && self.settled.insert((view, spec)) {
                        missing.extend(self.backfill(view, spec));
                    }
                }
            }
        }
        missing.retain(|place| !self.is_kept(*place));
        missing
    }

    /// The number of a dependency, which is read once.
    fn spec(&mut self, text: Cow<'a, str>) -> usize {
        if let Some(known) = self.known.get(&text) {
            return *known;
        }
        let number = self.specs.len();
        self.specs.push(MatchSpec::parse(&text));
        self.known.insert(text, number);
        number
    }

    /// All builds of the newest version that meets a dependency in a view, where none that is kept does.
    fn backfill(&self, view: usize, spec: usize) -> Vec<Place> {
        let (Some(view), Some(Some(spec))) = (self.views.get(view), self.specs.get(spec)) else {
            return Vec::new();
        };
        let shelves = || {
            view.iter()
                .filter_map(|at| Some((*at, self.shelves.get(*at)?)))
        };
        let met = shelves().any(|(at, shelf)| {
            let kept = shelf.places(spec.name());
            kept.filter(|place| self.is_kept((at, *place)))
                .any(|place| shelf.accepted(place, spec))
        });
        if met {
            return Vec::new();
        }
        let newest = |shelf: &'s Shelf<'a>| shelf.newest_match(spec);
        let Some(best) = shelves().filter_map(|(_, shelf)| newest(shelf)).max() else {
            return Vec::new();
        };
        let meeting = shelves().filter(|(_, shelf)| newest(shelf) == Some(best));
        meeting
            .flat_map(|(at, shelf)| {
                let builds = shelf.builds_of(spec.name(), best);
                builds.map(move |place| (at, place)).collect::<Vec<_>>()
            })
            .collect()
    }

    fn listed(&self) -> Vec<Vec<Listed>> {
        let shelves = self.shelves.iter().zip(&self.kept);
        shelves.map(|(shelf, kept)| shelf.listed(kept)).collect()
    }
}

#[cfg(test)]
mod tests;
