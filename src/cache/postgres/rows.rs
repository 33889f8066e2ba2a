//! Packages as rows of a shared cache. Owns the columns; must not know the server.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use crate::cache::row::checksum;
use crate::cache::{Attested, Checked, Entry, Facts, Gone, Remembered};
use crate::details::Details;
use crate::keys::{Fingerprint, KeyName};
use crate::record::Record;
use crate::storage::Stat;

/// The most packages that are sent at once.
const MOST_ROWS: usize = 1_000;
/// The most bytes, near enough; a package alone may have more.
const MOST_BYTES: usize = 8 << 20;

/// All of a subdir.
pub(super) const LOAD: &str =
    "SELECT name, stat, sha256, record, details, mismatch, decoded, indexed_timestamp, checksum,
    sig_stat, sig_key, sig_fingerprint, sig_value, sigs_stat, sigs_sha256
    FROM sigindex.package WHERE channel = $1 AND subdir = $2";

/// Puts packages in the place of those of the same names. What a worker stores gives way to what the others agreed on
/// meanwhile: where a package is not its own, and another file is up or was finished since the worker last loaded, what it
/// read is old.
pub(super) const STORE: &str = "INSERT INTO sigindex.package (channel, subdir, name, stat, sha256, record, details,
        mismatch, decoded, indexed_timestamp, checksum, sig_stat, sig_key, sig_fingerprint, sig_value, sigs_stat, sigs_sha256)
    SELECT $1, $2, new.* FROM unnest($3::text[], $4::bytea[], $5::bytea[], $6::text[], $7::text[], $8::bytea[],
        $9::boolean[], $10::bigint[], $11::bigint[], $12::bytea[], $13::text[], $14::bytea[], $15::text[], $16::bytea[],
        $17::bytea[]) AS new (name, stat)
    WHERE $18::text IS NULL OR NOT EXISTS (SELECT FROM sigindex.claim WHERE claim.channel = $1 AND claim.subdir = $2
        AND claim.name = new.name AND claim.stat <> new.stat AND claim.worker IS DISTINCT FROM $18::text::uuid
        AND (claim.finished IS NULL OR NOT pg_visible_in_snapshot(claim.finished_by, $19::text::pg_snapshot))
        OFFSET 0)
    ORDER BY new.name COLLATE \"C\"
    ON CONFLICT (channel, subdir, name) DO UPDATE SET (stat, sha256, record, details, mismatch, decoded, indexed_timestamp,
        checksum, sig_stat, sig_key, sig_fingerprint, sig_value, sigs_stat, sigs_sha256) = (excluded.stat, excluded.sha256,
        excluded.record, excluded.details, excluded.mismatch, excluded.decoded, excluded.indexed_timestamp,
        excluded.checksum, excluded.sig_stat, excluded.sig_key, excluded.sig_fingerprint, excluded.sig_value,
        excluded.sigs_stat, excluded.sigs_sha256)";

/// Forgets packages.
pub(super) const FORGET: &str =
    "DELETE FROM sigindex.package WHERE channel = $1 AND subdir = $2 AND name = ANY ($3)";

/// Packages of one subdir, column by column.
#[derive(Default)]
pub(super) struct Columns<'e> {
    pub subdir: &'e str,
    pub name: Vec<&'e str>,
    pub stat: Vec<[u8; 32]>,
    pub sha256: Vec<&'e [u8]>,
    pub record: Vec<&'e str>,
    pub details: Vec<String>,
    pub mismatch: Vec<Option<&'e [u8]>>,
    pub decoded: Vec<bool>,
    pub indexed_timestamp: Vec<i64>,
    pub checksum: Vec<i64>,
    pub sig_stat: Vec<Option<[u8; 32]>>,
    pub sig_key: Vec<Option<&'e str>>,
    pub sig_fingerprint: Vec<Option<&'e [u8]>>,
    pub sig_value: Vec<Option<&'e str>>,
    pub sigs_stat: Vec<Option<[u8; 32]>>,
    pub sigs_sha256: Vec<Option<&'e [u8]>>,
    bytes: usize,
}

impl<'e> Columns<'e> {
    /// Packages in parts that are sent at once, in the order of their names, so that no two workers wait for each other. Of
    /// two of a name, the later one counts.
    pub fn of(learnt: &'e [Entry]) -> Vec<Columns<'e>> {
        let last = learnt
            .iter()
            .map(|entry| ((&entry.subdir, &entry.name), entry));
        let last: BTreeMap<_, _> = last.collect();
        let mut parts: Vec<Columns<'e>> = Vec::new();
        for entry in last.into_values() {
            match parts.last_mut().filter(|part| part.has_room_for(entry)) {
                Some(part) => part.push(entry),
                None => {
                    let mut part = Columns {
                        subdir: &entry.subdir,
                        ..Columns::default()
                    };
                    part.push(entry);
                    parts.push(part);
                }
            }
        }
        parts
    }

    fn has_room_for(&self, entry: &Entry) -> bool {
        self.subdir == entry.subdir && self.name.len() < MOST_ROWS && self.bytes < MOST_BYTES
    }

    fn push(&mut self, entry: &'e Entry) {
        let Remembered {
            stat,
            facts,
            indexed_timestamp,
            signature,
            attestations,
        } = &*entry.known;
        let (sig, sigs) = (signature.as_ref(), attestations.as_ref());
        let details = facts.details.stored();
        let bytes = details.len().saturating_add(facts.record.stored().len());
        self.bytes = self.bytes.saturating_add(bytes);
        self.name.push(&entry.name);
        self.stat.push(packed(stat));
        self.sha256.push(&facts.sha256);
        self.record.push(facts.record.stored());
        self.details.push(details);
        self.mismatch
            .push(facts.mismatch.as_deref().map(str::as_bytes));
        self.decoded.push(facts.decoded);
        self.indexed_timestamp.push(*indexed_timestamp);
        self.checksum
            .push(checksum(&entry.name, &entry.known).into());
        self.sig_stat.push(sig.map(|sig| packed(&sig.stat)));
        self.sig_key.push(sig.map(|sig| sig.key.as_str()));
        self.sig_fingerprint
            .push(sig.map(|sig| sig.fingerprint.as_bytes().as_slice()));
        self.sig_value.push(sig.map(|sig| sig.value.as_str()));
        self.sigs_stat.push(sigs.map(|sigs| packed(&sigs.stat)));
        self.sigs_sha256
            .push(sigs.map(|sigs| sigs.sha256.as_slice()));
    }
}

/// The names that are to be forgotten, by subdir.
pub(super) fn by_subdir(gone: &[Gone]) -> BTreeMap<&str, Vec<&str>> {
    let mut names: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for Gone { subdir, name } in gone {
        names.entry(subdir).or_default().push(name);
    }
    names
}

/// What a row says; `None` where it makes no sense.
pub(super) fn remembered(row: &Row) -> Option<(String, Arc<Remembered>)> {
    let name: String = get(row, 0)?;
    let facts = Facts {
        sha256: get::<&[u8]>(row, 2)?.try_into().ok()?,
        record: Record::from_stored(get(row, 3)?).ok()?,
        details: Details::from_stored(get(row, 4)?)?,
        mismatch: match get::<Option<&[u8]>>(row, 5)? {
            Some(bytes) => Some(String::from_utf8(bytes.to_vec()).ok()?),
            None => None,
        },
        decoded: get(row, 6)?,
    };
    let signature = get::<Option<&[u8]>>(row, 9)?.and_then(|stat| {
        Some(Checked {
            stat: unpacked(stat)?,
            key: KeyName::parse(get(row, 10)?).ok()?,
            fingerprint: Fingerprint::from_bytes(get::<&[u8]>(row, 11)?.try_into().ok()?),
            value: get(row, 12)?,
        })
    });
    let attestations = get::<Option<&[u8]>>(row, 13)?.and_then(|stat| {
        Some(Attested {
            stat: unpacked(stat)?,
            sha256: get::<&[u8]>(row, 14)?.try_into().ok()?,
        })
    });
    let known = Remembered {
        stat: unpacked(get(row, 1)?)?,
        facts,
        indexed_timestamp: get(row, 7)?,
        signature,
        attestations,
    };
    let sound = get::<i64>(row, 8)? == i64::from(checksum(&name, &known));
    sound.then(|| (name, Arc::new(known)))
}

fn get<'r, T: FromSql<'r>>(row: &'r Row, column: usize) -> Option<T> {
    row.try_get(column).ok()
}

/// A stat as it is kept: each number the largest byte first.
pub(super) fn packed(stat: &Stat) -> [u8; 32] {
    let mut bytes = [0; 32];
    let numbers = [
        stat.size.to_be_bytes(),
        stat.mtime.to_be_bytes(),
        stat.inode.to_be_bytes(),
        stat.ctime.to_be_bytes(),
    ];
    let (parts, _) = bytes.as_chunks_mut::<8>();
    parts
        .iter_mut()
        .zip(numbers)
        .for_each(|(part, number)| *part = number);
    bytes
}

pub(super) fn unpacked(bytes: &[u8]) -> Option<Stat> {
    let (parts, rest) = bytes.as_chunks::<8>();
    let [size, mtime, inode, ctime] = parts else {
        return None;
    };
    rest.is_empty().then_some(Stat {
        size: u64::from_be_bytes(*size),
        mtime: i64::from_be_bytes(*mtime),
        inode: u64::from_be_bytes(*inode),
        ctime: i64::from_be_bytes(*ctime),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_stat_comes_back_as_it_was() {
        let stat = Stat {
            size: u64::MAX,
            mtime: -5,
            inode: 1 << 63,
            ctime: i64::MIN,
        };
        assert_eq!(unpacked(&packed(&stat)), Some(stat));
        for broken in [&[0; 31][..], &[0; 33], &[]] {
            assert_eq!(unpacked(broken), None);
        }
    }

    #[test]
    fn a_part_is_full_with_so_many_packages_or_bytes() {
        let (record, _) =
            Record::new(br#"{"name":"a","version":"1","build":"0"}"#, "", "", 1).unwrap();
        let facts = Facts {
            sha256: [0; 32],
            record,
            mismatch: None,
            decoded: true,
            details: Details::default(),
        };
        let known = Remembered {
            stat: Stat::default(),
            facts,
            indexed_timestamp: 0,
            signature: None,
            attestations: None,
        };
        let entry = |at: usize| Entry {
            subdir: "noarch".to_owned(),
            name: format!("p{at:04}"),
            known: Arc::new(known.clone()),
        };
        let learnt: Vec<Entry> = (0..=MOST_ROWS).map(entry).collect();
        let parts = Columns::of(&learnt);
        let lengths: Vec<usize> = parts.iter().map(|part| part.name.len()).collect();
        assert_eq!(lengths, [MOST_ROWS, 1]);
        for (bytes, has_room) in [(MOST_BYTES - 1, true), (MOST_BYTES, false)] {
            let part = Columns {
                subdir: "noarch",
                bytes,
                ..Columns::default()
            };
            assert_eq!(part.has_room_for(&entry(0)), has_room);
        }
    }
}
