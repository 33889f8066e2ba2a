//! How much finds room in one shard: no more than is read back. Owns what a package takes of it; must not know which
//! packages go first.

use super::pack::{self, MAX_READS};
use super::read::LARGEST_SHARD;
use super::{Group, plain};
use crate::channel::SubdirName;
use crate::error::Error;
use crate::repodata::{Formats, Listed};

/// Packages whose records and run exports have no more text than this, and some more for each, fit into one
/// shard without being weighed. A value takes at least two bytes of text and at most four reads, and in a shard never
/// more than three times its text.
pub const FEW: usize = MAX_READS / 2;

/// What an index adds to a record's text, about.
const FEW_EACH: usize = 1_000;

/// What a text counts for in [`FEW`].
pub fn light(text: usize) -> usize {
    text.saturating_add(FEW_EACH)
}

/// What a package takes in a shard.
#[derive(Debug, Clone, Copy)]
pub struct Weight {
    bytes: u64,
    reads: usize,
}

/// What a package takes in the shard of its name, and a little more: as if it stood there alone.
///
/// # Errors
/// When its record is no JSON.
pub fn weight(subdir: &SubdirName, listed: &Listed, formats: &Formats) -> Result<Weight, Error> {
    let group = Group {
        listed: vec![listed],
        removed: Vec::new(),
    };
    let plain = plain(subdir, &group, formats)?;
    Ok(Weight {
        bytes: u64::try_from(plain.len()).unwrap_or(u64::MAX),
        reads: pack::reads(&plain).unwrap_or(usize::MAX),
    })
}

/// What is left of a shard.
#[derive(Debug)]
pub struct Room {
    bytes: u64,
    reads: usize,
}

impl Default for Room {
    fn default() -> Room {
        Room {
            bytes: LARGEST_SHARD,
            reads: MAX_READS,
        }
    }
}

impl Room {
    /// Puts a package there; false where it finds no room, and takes none.
    pub fn take(&mut self, weight: Weight) -> bool {
        let bytes = self.bytes.checked_sub(weight.bytes);
        match bytes.zip(self.reads.checked_sub(weight.reads)) {
            Some((bytes, reads)) => {
                *self = Room { bytes, reads };
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::details::Details;
    use crate::package::Format;
    use crate::repodata::shards::{read_shard, shard};

    fn of(number: usize, record: String) -> Listed {
        let name = format!("a-{number}-0.conda");
        Listed {
            format: Format::of(&name).unwrap(),
            details: Details::default(),
            name,
            record,
        }
    }

    fn group(listed: &[Listed]) -> Group<'_> {
        Group {
            listed: listed.iter().collect(),
            removed: Vec::new(),
        }
    }

    #[test]
    fn what_finds_room_is_read_back_and_no_more_does() {
        let (subdir, formats) = (SubdirName::noarch(), Formats::default());
        let text = format!(r#"{{"x":"{}"}}"#, "A".repeat(15 << 20));
        let mut room = Room::default();
        let mut listed = Vec::new();
        for fits in [true, true, true, true, false] {
            listed.push(of(listed.len(), text.clone()));
            let weight = weight(&subdir, listed.last().unwrap(), &formats).unwrap();
            assert_eq!(room.take(weight), fits);
            let made = shard(&subdir, &group(&listed), &formats);
            assert_eq!(made.is_ok(), fits);
            if let Ok(shard) = made {
                let content = read_shard(&shard.bytes).unwrap();
                assert_eq!(content.packages.len(), listed.len());
            }
        }
        let small = of(9, r#"{"x":1}"#.to_owned());
        assert!(room.take(weight(&subdir, &small, &formats).unwrap()));
    }

    #[test]
    fn packages_take_no_more_together_than_each_for_itself() {
        let (subdir, formats) = (SubdirName::noarch(), Formats::default());
        for record in [
            r#"{"x":{"a":[1.5,"",{}]}}"#,
            r#"{"depends":["a[when=\"b\"]"],"schema_version":3}"#,
        ] {
            for count in [1, 2, 15, 16, 17, 300, 70_000] {
                let listed: Vec<_> = (0..count).map(|n| of(n, record.to_owned())).collect();
                let one = weight(&subdir, listed.last().unwrap(), &formats).unwrap();
                let plain = plain(&subdir, &group(&listed), &formats).unwrap();
                assert!(plain.len() as u64 <= one.bytes * count as u64, "{count}");
                let reads = pack::reads(&plain).unwrap();
                assert!(reads <= one.reads * count, "{count}: {reads}");
            }
        }
    }

    #[test]
    fn few_fit_whatever_they_hold() {
        // The most reads, and the most bytes, for a text.
        for value in ["1.5", "\"\"", "\"a\"", "[]", "0", "65536"] {
            let values = [value; 1_000].join(",");
            let text = format!(r#"{{"x":[{values}]}}"#);
            let taken = weight(
                &SubdirName::noarch(),
                &of(0, text.clone()),
                &Formats::default(),
            );
            let taken = taken.unwrap();
            let times = FEW / text.len();
            assert!(taken.reads * times <= MAX_READS, "{value}");
            assert!(
                taken.bytes * u64::try_from(times).unwrap() <= LARGEST_SHARD,
                "{value}"
            );
        }
    }
}
