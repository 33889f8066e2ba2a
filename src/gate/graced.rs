//! What the newest index names, and what older ones named that clients may still hold. Owns what stays servable and
//! for how long; must not know what is named.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::store::Hash;

/// The values that stay for their grace in any case; beyond these, as many as the newest index has, or the one before it.
/// An index that nobody signed may have others each time that it is asked for.
const FEW: usize = 10_000;

/// A map that remembers for a while what it no longer says.
#[derive(Debug)]
pub(super) struct Graced<V> {
    /// The SHA-256 of the file that says it.
    source: Option<Hash>,
    current: HashMap<String, V>,
    retired: HashMap<String, Vec<(V, Instant)>>,
}

impl<V> Default for Graced<V> {
    fn default() -> Self {
        Graced {
            source: None,
            current: HashMap::new(),
            retired: HashMap::new(),
        }
    }
}

impl<V: Clone + PartialEq> Graced<V> {
    /// Whether this file said it.
    pub(super) fn is_of(&self, source: &Hash) -> bool {
        self.source.as_ref() == Some(source)
    }

    /// Whether no file ever said anything.
    pub(super) fn is_empty(&self) -> bool {
        self.source.is_none() && self.current.is_empty() && self.retired.is_empty()
    }

    /// Takes what a newer file says. What it no longer says stays until `now` plus `grace`.
    pub(super) fn replace(
        &mut self,
        source: Option<Hash>,
        newer: HashMap<String, V>,
        now: Instant,
        grace: Duration,
    ) {
        let older = std::mem::replace(&mut self.current, newer);
        self.source = source;
        self.retired.retain(|_, values| {
            values.retain(|(_, until)| *until > now);
            !values.is_empty()
        });
        let Some(until) = now.checked_add(grace) else {
            return;
        };
        let most = older.len().max(self.current.len()).saturating_add(FEW);
        for (name, value) in older {
            if self.current.get(&name) != Some(&value) {
                let values = self.retired.entry(name).or_default();
                values.retain(|(known, _)| *known != value);
                values.push((value, until));
            }
        }
        self.retire_for_good(most);
    }

    /// Lets those go that were said longest ago, until so many stay.
    fn retire_for_good(&mut self, most: usize) {
        let values = self.retired.values().flatten();
        let mut ends: Vec<Instant> = values.map(|(_, until)| *until).collect();
        let going = ends.len().saturating_sub(most);
        let Some(last) = going.checked_sub(1) else {
            return;
        };
        let (before, last, _) = ends.select_nth_unstable(last);
        let last = *last;
        // Of those that end at the same time, no more than have to.
        let earlier = before.iter().filter(|until| **until < last).count();
        let mut ties = going.saturating_sub(earlier);
        self.retired.retain(|_, values| {
            values.retain(|(_, until)| {
                let is_tie = *until == last && ties > 0;
                ties = ties.saturating_sub(usize::from(is_tie));
                *until >= last && !is_tie
            });
            !values.is_empty()
        });
    }

    /// What is said of a name: by the newest file, else by the last one that named it, within its grace.
    pub(super) fn get(&self, name: &str, now: Instant) -> Option<Named<&V>> {
        if let Some(value) = self.current.get(name) {
            return Some(Named::Now(value));
        }
        let values = self.retired.get(name)?;
        let living = values.iter().rev().find(|(_, until)| *until > now);
        living.map(|(value, _)| Named::Before(value))
    }

    /// Whether any name has this value, now or within its grace.
    pub(super) fn holds(&self, value: &V, now: Instant) -> Option<Named<()>> {
        if self.current.values().any(|it| it == value) {
            return Some(Named::Now(()));
        }
        let mut values = self.retired.values().flatten();
        let living = values.any(|(it, until)| it == value && *until > now);
        living.then_some(Named::Before(()))
    }
}

/// Who names something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named<T> {
    /// The newest index.
    Now(T),
    /// One that was served within the grace.
    Before(T),
}

impl<T> Named<T> {
    pub(super) fn map<U>(self, to: impl FnOnce(T) -> U) -> Named<U> {
        match self {
            Named::Now(it) => Named::Now(to(it)),
            Named::Before(it) => Named::Before(to(it)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, u32)]) -> HashMap<String, u32> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), *value))
            .collect()
    }

    #[test]
    fn what_is_gone_stays_for_its_grace() {
        let (start, grace) = (Instant::now(), Duration::from_secs(10));
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut graced = Graced::default();
        graced.replace(Some([1; 32]), map(&[("a", 1), ("b", 1)]), at(0), grace);
        graced.replace(Some([2; 32]), map(&[("b", 2), ("c", 2)]), at(5), grace);
        assert!(graced.is_of(&[2; 32]) && !graced.is_of(&[1; 32]));
        assert_eq!(graced.get("a", at(14)), Some(Named::Before(&1)));
        assert_eq!(graced.get("a", at(15)), None);
        assert_eq!(graced.get("b", at(6)), Some(Named::Now(&2)));
        assert_eq!(graced.holds(&1, at(6)), Some(Named::Before(())));
        assert_eq!(graced.holds(&1, at(15)), None);
        graced.replace(None, map(&[]), at(8), grace);
        assert_eq!(graced.get("b", at(9)), Some(Named::Before(&2)));
        graced.replace(None, map(&[]), at(20), grace);
        assert!(graced.retired.is_empty());
    }
    #[test]
    fn what_changes_each_time_is_not_remembered_without_end() {
        let (start, grace) = (Instant::now(), Duration::from_secs(3600));
        let mut graced = Graced::default();
        let name = |turn: u32, number: u32| format!("{turn}-{number}");
        let retired = |graced: &Graced<u32>| graced.retired.values().map(Vec::len).sum::<usize>();
        for turn in 0..8 {
            let newer = (0..6000).map(|number| (name(turn, number), turn)).collect();
            let now = start + Duration::from_secs(turn.into());
            graced.replace(None, newer, now, grace);
            assert_eq!(retired(&graced), (6000 * turn as usize).min(6000 + FEW));
        }
        // The newest of them stay, and of the oldest as many as there is room for.
        let found = |turn: u32| {
            let is_found = |at: &u32| graced.get(&name(turn, *at), start).is_some();
            (0..6000).filter(is_found).count()
        };
        let found: Vec<usize> = (0..8).map(found).collect();
        assert_eq!(found, [0, 0, 0, 0, 4000, 6000, 6000, 6000]);
        // An index that is gone for a moment takes nothing of the last one with it.
        graced.replace(None, HashMap::new(), start + Duration::from_secs(8), grace);
        assert!((0..6000).all(|at| graced.get(&name(7, at), start).is_some()));
        assert_eq!(retired(&graced), 6000 + FEW);
    }
}
