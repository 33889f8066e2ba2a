//! How much of the story a run tells, and which packages it tells it of. Owns the division of a channel among workers by
//! their numbers, which needs no agreement; must not know how a package is read.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// How much of *walk → read once → record → sign → remember → publish* a run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// All of it.
    Whole,
    /// All up to what is remembered, for a share of the packages.
    Scan(Share),
    /// What follows from what is remembered; no package is opened.
    Publish,
}

impl Stage {
    /// The packages that the run looks at.
    pub(super) fn share(self) -> Share {
        match self {
            Stage::Scan(share) => share,
            Stage::Whole | Stage::Publish => Share::All,
        }
    }

    /// Whether others may be at work on the same channel.
    pub(super) fn is_shared(self) -> bool {
        matches!(self, Stage::Scan(_))
    }
}

/// Which packages a worker reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// All.
    All,
    /// Those of one part.
    Part(Part),
    /// Those that it claims from the others; all, where the cache keeps no claims.
    Claimed,
}

impl Share {
    /// Whether a package may be this worker's.
    pub(super) fn has(&self, path: &str) -> bool {
        match self {
            Share::Part(part) => part.has(path),
            Share::All | Share::Claimed => true,
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Share::All => f.write_str("all"),
            Share::Part(part) => part.fmt(f),
            Share::Claimed => f.write_str("claimed"),
        }
    }
}

/// One of several parts of about the same size, by the packages' paths alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    number: u32,
    of: u32,
}

impl Part {
    /// Part `number`, counted from 1, of so many; `None` where there is no such part.
    pub fn new(number: u32, of: u32) -> Option<Part> {
        (1..=of).contains(&number).then_some(Part { number, of })
    }

    /// Whether a package is in it, by its path in the channel: any other worker comes to the same answer.
    pub fn has(&self, path: &str) -> bool {
        let digest = Sha256::digest(path);
        let first = digest.iter().take(size_of::<u64>());
        let hash = first.fold(0_u64, |hash, byte| hash << 8 | u64::from(*byte));
        hash.checked_rem(self.of.into()) == Some(u64::from(self.number.saturating_sub(1)))
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_package_is_in_one_part_and_the_parts_are_of_a_size() {
        let paths: Vec<String> = (0..8_000)
            .map(|n| format!("linux-64/p-{n}-0.conda"))
            .collect();
        for of in [1, 2, 3, 4, 16] {
            let parts = (1..=of).map(|number| Part::new(number, of).unwrap());
            let sizes = parts.map(|part| paths.iter().filter(|path| part.has(path)).count());
            let sizes: Vec<usize> = sizes.collect();
            assert_eq!(sizes.iter().sum::<usize>(), paths.len());
            let even = paths.len() / sizes.len();
            let is_near = |size: &usize| size.abs_diff(even) < even / 5;
            assert!(sizes.iter().all(is_near), "{sizes:?}");
        }
    }

    #[test]
    fn a_package_stays_in_its_part() {
        // Workers of two versions may share a channel.
        let part_of = |path: &str| (1..=7).find(|n| Part::new(*n, 7).unwrap().has(path));
        let found = [
            "noarch/a-1-0.conda",
            "noarch/b-1-0.conda",
            "linux-64/a-1-0.conda",
        ]
        .map(part_of);
        assert_eq!(found, [Some(4), Some(7), Some(7)]);
    }

    #[test]
    fn a_part_is_one_of_those_that_there_are() {
        assert_eq!(Part::new(2, 3).unwrap().to_string(), "2/3");
        assert!(Part::new(3, 3).is_some() && Part::new(1, 1).is_some());
        assert!(
            Part::new(0, 3).is_none() && Part::new(4, 3).is_none() && Part::new(0, 0).is_none()
        );
    }
}
