//! One package as a row of the SQLite cache. Owns its columns and the checksum over them; must not know the file.

use rusqlite::{Connection, Row, params};

use super::{Attested, Checked, Entry, Facts, Remembered};
use crate::details::Details;
use crate::keys::{Fingerprint, KeyName};
use crate::record::Record;
use crate::storage::Stat;

/// All of a channel's subdir.
pub(super) const LOAD: &str =
    "SELECT name, size, mtime, inode, ctime, sha256, record, mismatch, decoded, indexed_timestamp,
    sig_size, sig_mtime, sig_inode, sig_ctime, sig_key, sig_fingerprint, sig_value, details,
    sigs_size, sigs_mtime, sigs_inode, sigs_ctime, sigs_sha256, checksum FROM package
    WHERE channel = (SELECT id FROM channel WHERE name = ?1) AND subdir = ?2";

const STORE: &str = "INSERT OR REPLACE INTO package VALUES
    (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19,
     ?20, ?21, ?22, ?23, ?24, ?25, ?26)";

/// Puts a package's row in the place of one of the same name.
pub(super) fn store(connection: &Connection, channel: i64, entry: &Entry) -> rusqlite::Result<()> {
    let Entry {
        subdir,
        name,
        known,
    } = entry;
    let sig = known.signature.as_ref();
    let sig_stat = sig.map(|sig| sig.stat);
    let sigs = known.attestations.as_ref();
    let sigs_stat = sigs.map(|sigs| sigs.stat);
    connection.prepare_cached(STORE)?.execute(params![
        channel,
        subdir,
        name,
        known.stat.size.cast_signed(),
        known.stat.mtime,
        known.stat.inode.cast_signed(),
        known.stat.ctime,
        known.facts.sha256,
        known.facts.record.stored(),
        known.facts.mismatch,
        known.facts.decoded,
        known.indexed_timestamp,
        sig_stat.map(|stat| stat.size.cast_signed()),
        sig_stat.map(|stat| stat.mtime),
        sig_stat.map(|stat| stat.inode.cast_signed()),
        sig_stat.map(|stat| stat.ctime),
        sig.map(|sig| sig.key.as_str()),
        sig.map(|sig| *sig.fingerprint.as_bytes()),
        sig.map(|sig| sig.value.as_str()),
        known.facts.details.stored(),
        sigs_stat.map(|stat| stat.size.cast_signed()),
        sigs_stat.map(|stat| stat.mtime),
        sigs_stat.map(|stat| stat.inode.cast_signed()),
        sigs_stat.map(|stat| stat.ctime),
        sigs.map(|sigs| sigs.sha256),
        checksum(name, known),
    ])?;
    Ok(())
}

/// Takes a package's row away.
pub(super) fn forget(
    connection: &Connection,
    channel: i64,
    subdir: &str,
    name: &str,
) -> rusqlite::Result<()> {
    let forget = "DELETE FROM package WHERE channel = ?1 AND subdir = ?2 AND name = ?3";
    let row = params![channel, subdir, name];
    connection.prepare_cached(forget)?.execute(row).map(drop)
}

/// What a row says; `None` where it makes no sense.
pub(super) fn remembered(row: &Row<'_>) -> Option<(String, Remembered)> {
    let stat = |first: usize| {
        Some(Stat {
            size: row.get::<_, i64>(first).ok()?.cast_unsigned(),
            mtime: row.get(first.checked_add(1)?).ok()?,
            inode: row
                .get::<_, i64>(first.checked_add(2)?)
                .ok()?
                .cast_unsigned(),
            ctime: row.get(first.checked_add(3)?).ok()?,
        })
    };
    let signature = stat(10).and_then(|stat| {
        Some(Checked {
            stat,
            key: KeyName::parse(&row.get::<_, String>(14).ok()?).ok()?,
            fingerprint: Fingerprint::from_bytes(row.get(15).ok()?),
            value: row.get(16).ok()?,
        })
    });
    let facts = Facts {
        sha256: row.get(5).ok()?,
        record: Record::from_stored(row.get(6).ok()?).ok()?,
        mismatch: row.get(7).ok()?,
        decoded: row.get(8).ok()?,
        details: Details::from_stored(&row.get::<_, String>(17).ok()?)?,
    };
    let attestations = stat(18).and_then(|stat| {
        let sha256 = row.get(22).ok()?;
        Some(Attested { stat, sha256 })
    });
    let name: String = row.get(0).ok()?;
    let entry = Remembered {
        stat: stat(1)?,
        facts,
        indexed_timestamp: row.get(9).ok()?,
        signature,
        attestations,
    };
    let sound = row.get::<_, u32>(23).ok()? == checksum(&name, &entry);
    sound.then_some((name, entry))
}

/// What SQLite's own check does not see: a value that was changed within its row.
pub(super) fn checksum(name: &str, entry: &Remembered) -> u32 {
    let Remembered {
        stat,
        facts,
        indexed_timestamp,
        signature,
        attestations,
    } = entry;
    let mut hash = crc32fast::Hasher::new();
    // Each text is led by its length, and what may be absent by whether it is there: no two entries read alike.
    let mut text = |text: &str| {
        hash.update(&text.len().to_le_bytes());
        hash.update(text.as_bytes());
    };
    text(name);
    text(facts.record.stored());
    text(&facts.details.stored());
    facts.mismatch.iter().for_each(|mismatch| text(mismatch));
    if let Some(checked) = signature {
        text(checked.key.as_str());
        text(&checked.value);
    }
    hash.update(&facts.sha256);
    hash.update(&indexed_timestamp.to_le_bytes());
    hash.update(&[
        u8::from(facts.mismatch.is_some()),
        u8::from(facts.decoded),
        u8::from(signature.is_some()),
        u8::from(attestations.is_some()),
    ]);
    let of_signature = signature.iter().map(|checked| {
        hash.update(checked.fingerprint.as_bytes());
        &checked.stat
    });
    let of_signature: Vec<&Stat> = of_signature.collect();
    let of_list = attestations.iter().map(|attested| {
        hash.update(&attested.sha256);
        &attested.stat
    });
    let of_list: Vec<&Stat> = of_list.collect();
    for stat in [stat].into_iter().chain(of_signature).chain(of_list) {
        hash.update(&stat.size.to_le_bytes());
        hash.update(&stat.mtime.to_le_bytes());
        hash.update(&stat.inode.to_le_bytes());
        hash.update(&stat.ctime.to_le_bytes());
    }
    hash.finalize()
}
