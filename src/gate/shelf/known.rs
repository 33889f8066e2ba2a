//! What was read of shards, so that none is read for each of its packages. Owns how much of it stays in memory; must not
//! know what names shards.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::records::Entry;
use super::super::store::Hash;

/// The most shards of which it stays in memory what they hold.
const MOST_SHARDS: usize = 256;

/// The most packages in all of them.
const MOST_PACKAGES: usize = 100_000;

/// What a shard holds, by file name.
pub(super) type Packages = Arc<HashMap<String, Entry>>;

/// What was read of shards, by their hashes.
#[derive(Debug, Default)]
pub(super) struct Known {
    shards: HashMap<Hash, Packages>,
    /// How many packages they hold.
    packages: usize,
}

impl Known {
    pub fn get(&self, hash: &Hash) -> Option<Packages> {
        self.shards.get(hash).cloned()
    }

    /// Keeps what was read, alone if it takes the room of the others, and not at all if that isn't enough.
    pub fn keep(&mut self, hash: Hash, read: &Packages) {
        if self.shards.contains_key(&hash) || read.len() > MOST_PACKAGES {
            return;
        }
        let packages = self.packages.saturating_add(read.len());
        if packages > MOST_PACKAGES || self.shards.len() >= MOST_SHARDS {
            *self = Known::default();
        }
        self.packages = self.packages.saturating_add(read.len());
        self.shards.insert(hash, Arc::clone(read));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::super::records::Claim;
    use super::*;

    /// A shard of so many packages.
    fn shard(packages: usize) -> Packages {
        let entry = Entry {
            sha256: [0; 32],
            size: None,
            signature: Claim::Beside,
            attestations: None,
        };
        let names = (0..packages).map(|number| (number.to_string(), entry.clone()));
        Arc::new(names.collect())
    }

    fn hash(number: usize) -> Hash {
        let mut hash = [0; 32];
        hash.get_mut(..8)
            .unwrap()
            .copy_from_slice(&number.to_le_bytes());
        hash
    }

    #[test]
    fn shards_and_the_packages_in_them_have_a_bound() {
        let mut known = Known::default();
        for number in 0..1000 {
            known.keep(hash(number), &shard(1));
            assert!(known.get(&hash(number)).is_some());
            assert!(known.shards.len() <= MOST_SHARDS && known.packages == known.shards.len());
        }
        let large = shard(MOST_PACKAGES / 3);
        for number in 0..10 {
            known.keep(hash(number + 5000), &large);
            known.keep(hash(number + 5000), &large);
            let held: usize = known.shards.values().map(|shard| shard.len()).sum();
            assert!(known.packages == held && held <= MOST_PACKAGES, "{held}");
        }
        assert!(known.get(&hash(5009)).is_some());
        let (before, most) = (known.shards.len(), shard(MOST_PACKAGES));
        known.keep(hash(6000), &shard(MOST_PACKAGES + 1));
        assert!(known.get(&hash(6000)).is_none() && known.shards.len() == before);
        known.keep(hash(6001), &most);
        assert_eq!((known.shards.len(), known.packages), (1, MOST_PACKAGES));
    }
}
