//! The cache in an SQLite file (rollback journal, no WAL: network file systems and read-only media
//! stay safe). Owns the file, its modes and its schema. A broken or foreign file is put aside, never an error.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Row, params};

use super::place::{make_private, put_aside, trusted};
use super::{Attested, Cache, CacheError, Checked, Entry, Facts, Remembered, Seen, Versions};
use crate::details::Details;
use crate::keys::{Fingerprint, KeyName};
use crate::record::Record;
use crate::storage::Stat;

/// Rises with every change of the schema or of what a column means.
const SCHEMA_VERSION: i64 = 2;

const SCHEMA: &str = "
    CREATE TABLE package (
        subdir TEXT NOT NULL, name TEXT NOT NULL,
        size INTEGER NOT NULL, mtime INTEGER NOT NULL, inode INTEGER NOT NULL, ctime INTEGER NOT NULL,
        sha256 BLOB NOT NULL, record TEXT NOT NULL, mismatch TEXT, decoded INTEGER NOT NULL,
        indexed_timestamp INTEGER NOT NULL,
        sig_size INTEGER, sig_mtime INTEGER, sig_inode INTEGER, sig_ctime INTEGER,
        sig_key TEXT, sig_fingerprint TEXT, sig_value TEXT,
        details TEXT NOT NULL,
        sigs_size INTEGER, sigs_mtime INTEGER, sigs_inode INTEGER, sigs_ctime INTEGER, sigs_sha256 BLOB,
        checksum INTEGER NOT NULL,
        PRIMARY KEY (subdir, name)
    ) WITHOUT ROWID;";

const LOAD: &str = "SELECT name, size, mtime, inode, ctime, sha256, record, mismatch, decoded, indexed_timestamp,
    sig_size, sig_mtime, sig_inode, sig_ctime, sig_key, sig_fingerprint, sig_value, details,
    sigs_size, sigs_mtime, sigs_inode, sigs_ctime, sigs_sha256, checksum FROM package WHERE subdir = ?1";

const STORE: &str = "INSERT OR REPLACE INTO package VALUES
    (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19,
     ?20, ?21, ?22, ?23, ?24, ?25)";

/// Made when it is needed, so that older caches go on as they are.
const SEEN: &str = "CREATE TABLE IF NOT EXISTS seen (role TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID;";

const LOAD_SEEN: &str = "SELECT role, version FROM seen";

const STORE_SEEN: &str = "INSERT INTO seen VALUES (?1, ?2)
    ON CONFLICT (role) DO UPDATE SET version = excluded.version";

/// A cache in a file of its own, mode 0600 in a folder of 0700.
#[derive(Debug)]
pub struct SqliteCache {
    path: PathBuf,
    connection: Connection,
    note: Option<String>,
}

impl SqliteCache {
    /// Opens or makes the cache. One that is corrupt or of another version is put aside, with a note.
    ///
    /// # Errors
    /// When the place can't be written, or others may write it.
    pub fn open(path: &Path) -> Result<SqliteCache, CacheError> {
        make_private(path)?;
        let mut note = None;
        let connection = match connect(path) {
            Ok(connection) => connection,
            Err(Unusable::Failed(error)) => return Err(error),
            Err(Unusable::Rebuild(why)) => {
                note = Some(format!(
                    "{}: the cache {why}; it is put aside as {}.broken and built anew",
                    path.display(),
                    path.display()
                ));
                put_aside(path)?;
                connect(path).map_err(|unusable| unusable.into_error(path))?
            }
        };
        Ok(SqliteCache {
            path: path.to_owned(),
            connection,
            note,
        })
    }

    /// Opens an existing cache without ever writing it, for a dry run. `None` where there is none that serves.
    pub fn open_read_only(path: &Path) -> Option<SqliteCache> {
        trusted(path, &std::fs::metadata(path).ok()?).ok()?;
        let connection =
            Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
        let read = |sql: &str| {
            connection
                .query_row(sql, [], |row| row.get::<_, rusqlite::types::Value>(0))
                .ok()
        };
        let version = read("PRAGMA user_version")?;
        let sound = read("PRAGMA quick_check(1)")?;
        let serves = version == SCHEMA_VERSION.into() && sound == "ok".to_owned().into();
        (serves && connection.prepare(LOAD).is_ok()).then(|| SqliteCache {
            path: path.to_owned(),
            connection,
            note: None,
        })
    }

    /// What the operator should know of how it was opened.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    fn fail(&self, operation: &'static str) -> impl Fn(rusqlite::Error) -> CacheError + use<> {
        let path = self.path.display().to_string();
        move |cause| CacheError::Database {
            path: path.clone(),
            operation,
            cause,
        }
    }
}

impl Cache for SqliteCache {
    fn load(&mut self, subdir: &str) -> Result<HashMap<String, Remembered>, CacheError> {
        let fail = self.fail("read");
        let mut statement = self.connection.prepare_cached(LOAD).map_err(&fail)?;
        let rows = statement
            .query_map([subdir], |row| Ok(remembered(row)))
            .map_err(&fail)?;
        // A row that makes no sense is as good as none: its package is read again.
        rows.filter_map(Result::transpose)
            .collect::<Result<_, _>>()
            .map_err(&fail)
    }

    fn store(&mut self, entries: &[Entry]) -> Result<(), CacheError> {
        let fail = self.fail("written");
        let transaction = self.connection.transaction().map_err(&fail)?;
        {
            let mut statement = transaction.prepare_cached(STORE).map_err(&fail)?;
            for Entry {
                subdir,
                name,
                known: entry,
            } in entries
            {
                let sig = entry.signature.as_ref();
                let sig_stat = sig.map(|sig| sig.stat);
                let sigs = entry.attestations.as_ref();
                let sigs_stat = sigs.map(|sigs| sigs.stat);
                statement
                    .execute(params![
                        subdir,
                        name,
                        entry.stat.size.cast_signed(),
                        entry.stat.mtime,
                        entry.stat.inode.cast_signed(),
                        entry.stat.ctime,
                        entry.facts.sha256,
                        entry.facts.record.stored(),
                        entry.facts.mismatch,
                        entry.facts.decoded,
                        entry.indexed_timestamp,
                        sig_stat.map(|stat| stat.size.cast_signed()),
                        sig_stat.map(|stat| stat.mtime),
                        sig_stat.map(|stat| stat.inode.cast_signed()),
                        sig_stat.map(|stat| stat.ctime),
                        sig.map(|sig| sig.key.as_str()),
                        sig.map(|sig| sig.fingerprint.to_string()),
                        sig.map(|sig| sig.value.as_str()),
                        entry.facts.details.stored(),
                        sigs_stat.map(|stat| stat.size.cast_signed()),
                        sigs_stat.map(|stat| stat.mtime),
                        sigs_stat.map(|stat| stat.inode.cast_signed()),
                        sigs_stat.map(|stat| stat.ctime),
                        sigs.map(|sigs| sigs.sha256),
                        checksum(name, entry),
                    ])
                    .map_err(&fail)?;
            }
        }
        transaction.commit().map_err(&fail)
    }

    fn forget(&mut self, subdir: &str, names: &[String]) -> Result<(), CacheError> {
        let fail = self.fail("written");
        let transaction = self.connection.transaction().map_err(&fail)?;
        for name in names {
            transaction
                .prepare_cached("DELETE FROM package WHERE subdir = ?1 AND name = ?2")
                .and_then(|mut statement| statement.execute(params![subdir, name]))
                .map_err(&fail)?;
        }
        transaction.commit().map_err(&fail)
    }

    fn seen(&mut self, versions: &Versions, which: Seen) -> Result<Versions, CacheError> {
        let fail = self.fail("written");
        let known = seen(&self.connection).map_err(self.fail("read"))?;
        let is_new = |(role, version): &(&String, &u64)| match (known.get(*role), which) {
            (None, _) => true,
            (Some(known), Seen::Higher) => known < *version,
            (Some(known), Seen::Any) => known != *version,
        };
        let news: Vec<_> = versions.iter().filter(is_new).collect();
        if news.is_empty() {
            return Ok(known);
        }
        self.connection.execute_batch(SEEN).map_err(&fail)?;
        let transaction = self.connection.transaction().map_err(&fail)?;
        for (role, version) in news {
            // SQLite counts to i64::MAX, and so high no version is.
            let version = i64::try_from(*version).unwrap_or(i64::MAX);
            let stored = transaction.execute(STORE_SEEN, params![role, version]);
            stored.map_err(&fail)?;
        }
        transaction.commit().map_err(&fail)?;
        seen(&self.connection).map_err(self.fail("read"))
    }
}

/// The versions that were seen; none where there is no table of them yet.
fn seen(connection: &Connection) -> rusqlite::Result<Versions> {
    let there = "SELECT count(*) FROM sqlite_master WHERE name = 'seen'";
    if connection.query_row(there, [], |row| row.get::<_, i64>(0))? == 0 {
        return Ok(Versions::new());
    }
    let mut statement = connection.prepare(LOAD_SEEN)?;
    let rows = statement.query_map([], |row| {
        Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned()))
    })?;
    rows.collect()
}

fn remembered(row: &Row<'_>) -> Option<(String, Remembered)> {
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
            fingerprint: Fingerprint::parse(&row.get::<_, String>(15).ok()?).ok()?,
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
fn checksum(name: &str, entry: &Remembered) -> u32 {
    let Remembered {
        stat,
        facts,
        indexed_timestamp,
        signature,
        attestations,
    } = entry;
    let mut hash = crc32fast::Hasher::new();
    hash.update(format!("{name}\n{stat:?}\n{indexed_timestamp}\n").as_bytes());
    hash.update(&facts.sha256);
    hash.update(facts.record.stored().as_bytes());
    hash.update(format!("\n{:?}\n{}\n", facts.mismatch, facts.decoded).as_bytes());
    hash.update(facts.details.stored().as_bytes());
    hash.update(format!("\n{attestations:?}\n").as_bytes());
    if let Some(Checked {
        stat,
        key,
        fingerprint,
        value,
    }) = signature
    {
        hash.update(format!("{stat:?}\n{key}\n{fingerprint}\n{value}").as_bytes());
    }
    hash.finalize()
}

/// Why a file can't serve as the cache as it is.
enum Unusable {
    /// It is worthless; a new one takes its place.
    Rebuild(&'static str),
    /// Something else failed.
    Failed(CacheError),
}

impl Unusable {
    fn of<'p>(
        path: &'p Path,
        operation: &'static str,
    ) -> impl Fn(rusqlite::Error) -> Unusable + use<'p> {
        move |cause| match cause.sqlite_error_code() {
            Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt) => {
                Unusable::Rebuild("is corrupt")
            }
            _ => Unusable::Failed(CacheError::Database {
                path: path.display().to_string(),
                operation,
                cause,
            }),
        }
    }

    fn into_error(self, path: &Path) -> CacheError {
        match self {
            Unusable::Failed(error) => error,
            Unusable::Rebuild(fault) => CacheError::Untrusted {
                path: path.display().to_string(),
                fault,
                remedy: "remove it",
            },
        }
    }
}

fn connect(path: &Path) -> Result<Connection, Unusable> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection =
        Connection::open_with_flags(path, flags).map_err(Unusable::of(path, "opened"))?;
    let read = Unusable::of(path, "read");
    connection
        .busy_timeout(Duration::from_secs(30))
        .map_err(&read)?;
    connection
        .pragma_update(None, "journal_mode", "DELETE")
        .map_err(&read)?;
    // Pages in memory, in KiB: enough for 50,000 packages of a run, however their names sort.
    connection
        .pragma_update(None, "cache_size", -65_536)
        .map_err(&read)?;
    let version: i64 = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(&read)?;
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))
        .map_err(&read)?;
    match (version, tables) {
        (SCHEMA_VERSION, 1..) => {
            let sound: String = connection
                .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
                .map_err(&read)?;
            let fits = connection.prepare(LOAD).is_ok();
            match sound.as_str() {
                "ok" if fits => Ok(connection),
                "ok" => Err(Unusable::Rebuild("has another form")),
                _ => Err(Unusable::Rebuild("is corrupt")),
            }
        }
        (0, 0) => {
            let make = format!("BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;");
            connection
                .execute_batch(&make)
                .map_err(Unusable::of(path, "made"))?;
            Ok(connection)
        }
        _ => Err(Unusable::Rebuild("is of another version")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn entry(name: &str, size: u64, signed: bool) -> Entry {
        let (record, _) = Record::new(
            br#"{"name":"a","version":"1","build":"0","license":"x"}"#,
            "aa",
            "bb",
            size,
        )
        .unwrap();
        let stat = Stat {
            size,
            mtime: -5,
            inode: u64::MAX,
            ctime: i64::MAX,
        };
        let signature = signed.then(|| Checked {
            stat,
            key: KeyName::parse("K").unwrap(),
            fingerprint: Fingerprint::parse(&"ab".repeat(32)).unwrap(),
            value: "AAAA".to_owned(),
        });
        let facts = Facts {
            sha256: [7; 32],
            record,
            mismatch: signed.then(|| "why".to_owned()),
            decoded: signed,
            details: Details::default(),
        };
        let sha256 = [9; 32];
        let known = Remembered {
            stat,
            facts,
            indexed_timestamp: 42,
            signature,
            attestations: signed.then_some(Attested { stat, sha256 }),
        };
        Entry {
            subdir: "noarch".to_owned(),
            name: name.to_owned(),
            known,
        }
    }

    #[test]
    fn what_is_stored_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/cache.db");
        let mut cache = SqliteCache::open(&path).unwrap();
        let entries = [entry("a", 1, true), entry("b", 2, false)];
        cache.store(&entries).unwrap();
        cache.store(&entries[..1]).unwrap();
        drop(cache);
        let modes = [path.parent().unwrap(), &path]
            .map(|p| std::fs::metadata(p).unwrap().permissions().mode() & 0o777);
        assert_eq!(modes, [0o700, 0o600]);
        let mut cache = SqliteCache::open(&path).unwrap();
        assert_eq!(cache.note(), None);
        let loaded = cache.load("noarch").unwrap();
        assert_eq!(loaded.get("a"), Some(&entries[0].known));
        assert_eq!(loaded.get("b"), Some(&entries[1].known));
        cache.forget("noarch", &["a".to_owned()]).unwrap();
        assert_eq!(cache.load("noarch").unwrap().len(), 1);
        let mut dry = SqliteCache::open_read_only(&path).unwrap();
        assert_eq!(dry.load("noarch").unwrap().len(), 1);
        assert!(dry.store(&entries).is_err());
    }

    #[test]
    fn versions_that_were_seen_only_rise_unless_others_were_accepted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own/cache.db");
        let versions = |timestamp, root| {
            let of = [("timestamp", timestamp), ("root", root)];
            Versions::from(of.map(|(role, version)| (role.to_owned(), version)))
        };
        let mut cache = SqliteCache::open(&path).unwrap();
        assert_eq!(
            cache.seen(&Versions::new(), Seen::Higher).unwrap(),
            Versions::new()
        );
        assert_eq!(
            cache.seen(&versions(0, 1), Seen::Higher).unwrap(),
            versions(0, 1)
        );
        assert_eq!(
            cache.seen(&versions(7, 1), Seen::Higher).unwrap(),
            versions(7, 1)
        );
        assert_eq!(
            cache.seen(&versions(3, 2), Seen::Higher).unwrap(),
            versions(7, 2)
        );
        drop(cache);
        let mut dry = SqliteCache::open_read_only(&path).unwrap();
        assert_eq!(
            dry.seen(&Versions::new(), Seen::Higher).unwrap(),
            versions(7, 2)
        );
        assert!(dry.seen(&versions(8, 2), Seen::Higher).is_err());
        let mut cache = SqliteCache::open(&path).unwrap();
        assert_eq!(
            cache.seen(&Versions::new(), Seen::Higher).unwrap(),
            versions(7, 2)
        );
        assert_eq!(cache.note(), None);
        assert_eq!(
            cache.seen(&versions(9, 1), Seen::Any).unwrap(),
            versions(9, 1)
        );
    }

    #[test]
    fn a_broken_or_foreign_cache_is_built_anew_with_a_note() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own/cache.db");
        let entries = [entry("a", 1, true)];
        for spoil in ["text", "version", "truncated"] {
            let mut cache = SqliteCache::open(&path).unwrap();
            cache.store(&entries).unwrap();
            drop(cache);
            match spoil {
                "text" => std::fs::write(&path, "x".repeat(5_000)).unwrap(),
                "version" => {
                    Connection::open(&path)
                        .unwrap()
                        .pragma_update(None, "user_version", 99)
                        .unwrap();
                }
                _ => {
                    let bytes = std::fs::read(&path).unwrap();
                    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
                }
            }
            assert!(SqliteCache::open_read_only(&path).is_none() || spoil == "truncated");
            let mut cache = SqliteCache::open(&path).unwrap();
            assert!(cache.note().is_some(), "{spoil}");
            assert!(cache.load("noarch").unwrap().is_empty(), "{spoil}");
        }
    }

    #[test]
    fn a_row_that_was_changed_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own/cache.db");
        let mut cache = SqliteCache::open(&path).unwrap();
        for change in [
            "record = replace(record, 'license', 'LICENSE')",
            "size = size + 1",
            "indexed_timestamp = 1",
            "sig_value = 'BBBB'",
            "sha256 = zeroblob(32)",
            "mismatch = NULL",
            "details = 'text_prefix' || details",
            "sigs_sha256 = zeroblob(32)",
        ] {
            cache
                .store(&[entry("a", 1, true), entry("b", 2, false)])
                .unwrap();
            let sql = format!("UPDATE package SET {change} WHERE name = 'a'");
            Connection::open(&path).unwrap().execute(&sql, []).unwrap();
            let loaded = cache.load("noarch").unwrap();
            assert_eq!(loaded.keys().collect::<Vec<_>>(), ["b"], "{change}");
        }
    }

    #[test]
    fn a_cache_that_others_may_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own/cache.db");
        drop(SqliteCache::open(&path).unwrap());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        assert!(matches!(
            SqliteCache::open(&path),
            Err(CacheError::Untrusted { .. })
        ));
    }
}
