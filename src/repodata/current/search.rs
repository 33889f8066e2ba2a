//! The search for what meets one dependency. Owns what is found on each shelf, which is searched once however many
//! clients see it; must not decide which dependencies are looked at.

use std::collections::BTreeMap;

use super::{Choice, Place};
use crate::error::Error;
use crate::error::go_on;
use crate::match_spec::MatchSpec;
use crate::version::Version;

/// What was found of a dependency so far, by shelf.
pub(super) struct Search<'c, 's, 'a> {
    choice: &'c Choice<'s, 'a>,
    spec: &'c MatchSpec,
    /// Whether a package that is kept meets it.
    met: BTreeMap<usize, bool>,
    /// The newest version that meets it.
    newest: BTreeMap<usize, Option<&'s Version>>,
}

impl<'c, 's, 'a> Search<'c, 's, 'a> {
    pub fn new(choice: &'c Choice<'s, 'a>, spec: &'c MatchSpec) -> Search<'c, 's, 'a> {
        Search {
            choice,
            spec,
            met: BTreeMap::new(),
            newest: BTreeMap::new(),
        }
    }

    /// All builds of the newest version that meets the dependency in a view, where none that is kept does.
    pub fn missing_in(&mut self, view: &[usize]) -> Result<Vec<Place>, Error> {
        for at in view {
            if self.is_met(*at)? {
                return Ok(Vec::new());
            }
        }
        let mut best = None;
        for at in view {
            best = best.max(self.newest(*at)?);
        }
        let Some(best) = best else {
            return Ok(Vec::new());
        };
        let mut places = Vec::new();
        for at in view {
            let shelf = self.choice.shelves.get(*at);
            if let Some(shelf) = shelf.filter(|_| self.newest.get(at) == Some(&Some(best))) {
                let builds = shelf.builds_of(self.spec.name(), best);
                places.extend(builds.map(|place| (*at, place)));
            }
        }
        Ok(places)
    }

    fn is_met(&mut self, at: usize) -> Result<bool, Error> {
        if let Some(known) = self.met.get(&at) {
            return Ok(*known);
        }
        go_on(self.choice.cancelled)?;
        let met = self.choice.shelves.get(at).is_some_and(|shelf| {
            let kept = shelf.places(self.spec.name());
            kept.filter(|place| self.choice.is_kept((at, *place)))
                .any(|place| shelf.accepted(place, self.spec))
        });
        self.met.insert(at, met);
        Ok(met)
    }

    fn newest(&mut self, at: usize) -> Result<Option<&'s Version>, Error> {
        if let Some(known) = self.newest.get(&at) {
            return Ok(*known);
        }
        go_on(self.choice.cancelled)?;
        let shelf = self.choice.shelves.get(at);
        let newest = shelf.and_then(|shelf| shelf.newest_match(self.spec));
        self.newest.insert(at, newest);
        Ok(newest)
    }
}
