//! What the store knows of its files: which this process has hashed, when each was used, and the small ones' bytes.
//! Owns the choice of what goes first; does nothing itself.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;

use super::Hash;

/// A file in the folder, as it was found there.
#[derive(Debug, Clone, Copy)]
pub(super) struct There {
    pub hash: Hash,
    pub length: u64,
    /// When it was last used, in seconds since 1970, as exactly as files tell.
    pub used: i64,
}

#[derive(Debug)]
struct Entry {
    length: u64,
    /// Whether this process has hashed it.
    is_checked: bool,
    /// The turn in which it was last used; none before the first use by this process.
    turn: u64,
    /// When others used it, in seconds since 1970.
    used: i64,
    memory: Option<Bytes>,
}

impl Entry {
    fn age(&self) -> (u64, i64) {
        (self.turn, self.used)
    }
}

/// All files of the store.
#[derive(Debug, Default)]
pub(super) struct Held {
    entries: HashMap<Hash, Entry>,
    /// The bytes of all files.
    total: u64,
    /// The bytes of those in memory.
    in_memory: u64,
    turn: u64,
}

impl Held {
    pub fn of(there: Vec<There>) -> Held {
        let mut held = Held::default();
        held.update(there);
        held
    }

    /// Holds what is known against what is in the folder now.
    pub fn update(&mut self, there: Vec<There>) {
        let names: HashSet<Hash> = there.iter().map(|one| one.hash).collect();
        let gone: Vec<Hash> = self.entries.keys().copied().collect();
        for hash in gone.iter().filter(|hash| !names.contains(*hash)) {
            self.forget(hash);
        }
        for one in there {
            let is_same = self
                .entries
                .get(&one.hash)
                .is_some_and(|entry| entry.length == one.length);
            if !is_same {
                self.insert(one.hash, one.length, one.used);
            }
        }
    }

    pub fn total(&self) -> u64 {
        self.total
    }

    /// The length of a file that was hashed, and its bytes when they are in memory. It counts as used.
    pub fn use_checked(&mut self, hash: &Hash) -> Option<(u64, Option<Bytes>)> {
        self.turn = self.turn.saturating_add(1);
        let entry = self.entries.get_mut(hash).filter(|it| it.is_checked)?;
        entry.turn = self.turn;
        Some((entry.length, entry.memory.clone()))
    }

    /// A file that was hashed, and is in the folder.
    pub fn insert_checked(&mut self, hash: Hash, length: u64) {
        self.insert(hash, length, 0);
        self.turn = self.turn.saturating_add(1);
        if let Some(entry) = self.entries.get_mut(&hash) {
            (entry.is_checked, entry.turn) = (true, self.turn);
        }
    }

    fn insert(&mut self, hash: Hash, length: u64, used: i64) {
        self.forget(&hash);
        self.total = self.total.saturating_add(length);
        let entry = Entry {
            length,
            is_checked: false,
            turn: 0,
            used,
            memory: None,
        };
        self.entries.insert(hash, entry);
    }

    /// A file that is no longer in the folder.
    pub fn forget(&mut self, hash: &Hash) {
        if let Some(entry) = self.entries.remove(hash) {
            self.total = self.total.saturating_sub(entry.length);
            self.in_memory = self.in_memory.saturating_sub(in_memory(&entry));
        }
    }

    /// Puts a file's bytes into memory, of which at most `most` are used; others leave it.
    pub fn remember(&mut self, hash: &Hash, bytes: Bytes, most: u64) {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if self.in_memory.saturating_add(length) > most {
            // A quarter more than is needed, so that this is rare.
            let target = most.saturating_sub(most / 4).saturating_sub(length);
            self.leave_memory(target);
        }
        if self.in_memory.saturating_add(length) > most {
            return;
        }
        if let Some(entry) = self.entries.get_mut(hash) {
            self.in_memory = self.in_memory.saturating_sub(in_memory(entry));
            self.in_memory = self.in_memory.saturating_add(length);
            entry.memory = Some(bytes);
        }
    }

    fn leave_memory(&mut self, target: u64) {
        let in_use = self.entries.values_mut().filter(|it| it.memory.is_some());
        let mut oldest: Vec<&mut Entry> = in_use.collect();
        oldest.sort_by_key(|entry| entry.age());
        for entry in oldest {
            if self.in_memory <= target {
                break;
            }
            self.in_memory = self.in_memory.saturating_sub(in_memory(entry));
            entry.memory = None;
        }
    }

    /// The files that have to go, used longest ago, so that about a tenth less than `most` bytes stay.
    pub fn oldest_beyond(&self, most: u64) -> Vec<Hash> {
        let mut total = self.total;
        if total <= most {
            return Vec::new();
        }
        let target = most.saturating_sub(most / 10);
        let mut oldest: Vec<(&Hash, &Entry)> = self.entries.iter().collect();
        oldest.sort_by_key(|(_, entry)| entry.age());
        let mut going = Vec::new();
        for (hash, entry) in oldest {
            if total <= target {
                break;
            }
            total = total.saturating_sub(entry.length);
            going.push(*hash);
        }
        going
    }
}

fn in_memory(entry: &Entry) -> u64 {
    let bytes = entry.memory.as_ref().map_or(0, Bytes::len);
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there(name: u8, length: u64, used: i64) -> There {
        let hash = [name; 32];
        There { hash, length, used }
    }

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let mut held = Held::of(vec![there(1, 40, 7), there(2, 40, 5), there(3, 20, 6)]);
        assert_eq!(held.oldest_beyond(100), Vec::<Hash>::new());
        assert_eq!(held.oldest_beyond(99), [[2; 32]]);
        held.insert_checked([2; 32], 40);
        assert_eq!(held.oldest_beyond(60), [[3; 32], [1; 32]]);
        assert_eq!(held.total(), 100);
        held.update(vec![there(2, 40, 5), there(4, 1, 1)]);
        assert_eq!(held.total(), 41);
        assert!(held.use_checked(&[2; 32]).is_some());
        assert!(held.use_checked(&[4; 32]).is_none());
        // Other bytes came under the name: they were not hashed.
        held.update(vec![there(2, 41, 5)]);
        assert!(held.use_checked(&[2; 32]).is_none());
    }

    #[test]
    fn memory_has_a_bound() {
        let mut held = Held::default();
        for name in 0..10 {
            held.insert_checked([name; 32], 10);
            held.remember(&[name; 32], Bytes::from_static(&[0; 10]), 40);
            assert!(held.in_memory <= 40, "{}", held.in_memory);
        }
        let kept = (0..10).filter(|name| {
            held.use_checked(&[*name; 32])
                .is_some_and(|it| it.1.is_some())
        });
        let kept: Vec<u8> = kept.collect();
        assert!(kept.len() >= 2 && kept.ends_with(&[9]), "{kept:?}");
        held.remember(&[0; 32], Bytes::from_static(&[0; 41]), 40);
        assert!(held.use_checked(&[0; 32]).is_some_and(|it| it.1.is_none()));
        for name in 0..10 {
            held.forget(&[name; 32]);
        }
        assert_eq!((held.total, held.in_memory), (0, 0));
    }
}
