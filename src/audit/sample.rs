//! Packages chosen at random. Owns the choice; must not know what is done with what was chosen.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::{BuildHasher as _, Hasher as _};

use sha2::{Digest as _, Sha256};

/// How many packages are read, and the seed by which they are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// How many.
    pub size: usize,
    /// What the choice depends on, beside the packages' paths.
    pub seed: u64,
}

impl Sample {
    /// A seed that nobody can foretell: it is of the machine's randomness.
    pub fn any_seed() -> u64 {
        let state = std::collections::hash_map::RandomState::new();
        state.build_hasher().finish()
    }

    /// Chooses: without replacement, each with the same chance, and the same again for the same seed and paths in
    /// whatever order. The packages are ranked by a hash of seed and path, and the first are taken.
    pub fn choose<T>(self, all: Vec<T>, path: impl Fn(&T) -> &str) -> Vec<T> {
        let mut first = BinaryHeap::with_capacity(self.size.min(all.len()).saturating_add(1));
        for (place, one) in all.iter().enumerate() {
            first.push((self.rank(path(one)), place));
            if first.len() > self.size {
                first.pop();
            }
        }
        let mut chosen: Vec<usize> = first.into_iter().map(|(_, place)| place).collect();
        chosen.sort_unstable_by_key(|place| Reverse(*place));
        let mut taken = Vec::with_capacity(chosen.len());
        for (place, one) in all.into_iter().enumerate() {
            if chosen.last() == Some(&place) {
                chosen.pop();
                taken.push(one);
            }
        }
        taken
    }

    fn rank(self, path: &str) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(self.seed.to_be_bytes());
        hasher.update(path);
        hasher.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(size: usize, seed: u64, all: &[String]) -> Vec<String> {
        Sample { size, seed }.choose(all.to_vec(), String::as_str)
    }

    #[test]
    fn a_choice_can_be_repeated_and_takes_none_twice() {
        let all: Vec<String> = (0..100).map(|number| format!("a/{number:03}")).collect();
        let mut backwards = all.clone();
        backwards.reverse();
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..100 {
            let mut some = chosen(10, seed, &all);
            assert_eq!(some.len(), 10);
            let mut again = chosen(10, seed, &backwards);
            again.sort();
            some.sort();
            assert_eq!(some, again);
            some.dedup();
            assert_eq!(some.len(), 10);
            seen.extend(some);
        }
        assert_eq!(seen.len(), 100, "each has its chance");
        assert_eq!(chosen(200, 1, &all), all);
        assert!(chosen(0, 1, &all).is_empty());
        assert_ne!(Sample::any_seed(), Sample::any_seed());
    }
}
