//! What the newest index names, and what older ones named that clients may still hold. Owns what stays servable and
//! for how long; must not know what is named.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::store::Hash;

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
        for (name, value) in older {
            if self.current.get(&name) != Some(&value) {
                let values = self.retired.entry(name).or_default();
                values.retain(|(known, _)| *known != value);
                values.push((value, until));
            }
        }
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
}
