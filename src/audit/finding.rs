//! What an audit finds: where, about what, and how it came out. Owns the words for the kinds and the counting; must
//! not know how anything is checked.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// The chain of signed metadata over the index.
    Chain,
    /// A package key, as the signed index and the keys folder have it.
    Key,
    /// A file by hash, or the plain file beside it.
    Target,
    /// An index file by itself.
    Index,
    /// A compressed twin of an index file.
    Twin,
    /// A shard, or the index of shards.
    Shard,
    /// What index files say of packages.
    Record,
    /// A package's file.
    Package,
    /// A package's signature.
    Signature,
    /// The list of attestations that a record names.
    Attestations,
    /// A file that no index names.
    Listing,
    /// A package that is installed.
    Installed,
}

impl What {
    /// The word for it, as people and programs read it.
    pub fn as_str(self) -> &'static str {
        match self {
            What::Chain => "chain",
            What::Key => "key",
            What::Target => "target",
            What::Index => "index",
            What::Twin => "twin",
            What::Shard => "shard",
            What::Record => "record",
            What::Package => "package",
            What::Signature => "signature",
            What::Attestations => "attestations",
            What::Listing => "listing",
            What::Installed => "installed",
        }
    }
}

/// How a check came out. What can't be checked is an error, never valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Valid,
    /// It contradicts what is signed or listed, and how.
    Invalid(String),
    /// It can't be told, or something is missing, and what.
    Error(String),
}

/// One thing that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file, by its path in the channel; empty for the channel itself.
    pub file: String,
    /// What about it.
    pub what: What,
    /// How it came out.
    pub verdict: Verdict,
}

/// How often a check came out in which way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// It held.
    pub valid: u64,
    /// It was contradicted.
    pub invalid: u64,
    /// It could not be told.
    pub error: u64,
}

/// Whether what is valid is kept by name, or only counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Everything.
    All,
    /// What is not valid.
    Faults,
}

/// What was found, told from many threads.
#[derive(Debug)]
pub struct Findings {
    keep: Keep,
    found: Mutex<(Vec<Finding>, Counts)>,
}

/// Counts by kind.
pub type Counts = BTreeMap<What, Count>;

impl Findings {
    /// Nothing yet.
    pub fn new(keep: Keep) -> Findings {
        Findings {
            keep,
            found: Mutex::default(),
        }
    }

    /// It holds.
    pub fn valid(&self, what: What, file: &str) {
        self.add(what, file, Verdict::Valid);
    }

    /// It is contradicted.
    pub fn invalid(&self, what: What, file: &str, why: impl Into<String>) {
        self.add(what, file, Verdict::Invalid(why.into()));
    }

    /// It can't be told.
    pub fn error(&self, what: What, file: &str, why: impl Into<String>) {
        self.add(what, file, Verdict::Error(why.into()));
    }

    /// However it came out.
    pub fn add(&self, what: What, file: &str, verdict: Verdict) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let (list, counts) = &mut *found;
        let count = counts.entry(what).or_default();
        let number = match verdict {
            Verdict::Valid => &mut count.valid,
            Verdict::Invalid(_) => &mut count.invalid,
            Verdict::Error(_) => &mut count.error,
        };
        *number = number.saturating_add(1);
        if self.keep == Keep::All || verdict != Verdict::Valid {
            let file = file.to_owned();
            list.push(Finding {
                file,
                what,
                verdict,
            });
        }
    }

    /// All of them, by file, and the counts.
    pub fn finish(self) -> (Vec<Finding>, Counts) {
        let found = self
            .found
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let (mut list, counts) = found;
        list.sort_by(|a, b| (&a.file, a.what).cmp(&(&b.file, b.what)));
        (list, counts)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn what_is_valid_is_counted_and_kept_only_on_demand() {
        for (keep, kept) in [(Keep::All, 3), (Keep::Faults, 2)] {
            let findings = Findings::new(keep);
            findings.valid(What::Package, "a");
            findings.invalid(What::Package, "c", "why");
            findings.error(What::Package, "b", "why");
            let (list, counts) = findings.finish();
            assert_eq!(list.len(), kept);
            assert_eq!(list[kept - 1].file, "c");
            let count = counts[&What::Package];
            assert_eq!((count.valid, count.invalid, count.error), (1, 1, 1));
        }
    }
}
