//! The cache in an SQLite file (rollback journal, no WAL: network file systems and read-only media
//! stay safe), which holds any number of channels, each by its name. Owns the file, its modes and its schema. A broken or foreign file is put aside, never an error.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{
    Connection, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior, params,
};

use super::place::{demand_file, make_private, put_aside, trusted};
use super::row;
use super::{Cache, CacheError, Entry, Gone, Known, Seen, Versions};
use crate::shown::shown;

/// Rises with every change of the schema or of what a column means.
const SCHEMA_VERSION: i64 = 4;

const SCHEMA: &str = "
    CREATE TABLE channel (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, used INTEGER NOT NULL);
    CREATE TABLE package (
        channel INTEGER NOT NULL, subdir TEXT NOT NULL, name TEXT NOT NULL,
        size INTEGER NOT NULL, mtime INTEGER NOT NULL, inode INTEGER NOT NULL, ctime INTEGER NOT NULL,
        sha256 BLOB NOT NULL, record TEXT NOT NULL, mismatch TEXT, decoded INTEGER NOT NULL,
        indexed_timestamp INTEGER NOT NULL,
        sig_size INTEGER, sig_mtime INTEGER, sig_inode INTEGER, sig_ctime INTEGER,
        sig_key TEXT, sig_fingerprint BLOB, sig_value TEXT,
        details TEXT NOT NULL,
        sigs_size INTEGER, sigs_mtime INTEGER, sigs_inode INTEGER, sigs_ctime INTEGER, sigs_sha256 BLOB,
        checksum INTEGER NOT NULL,
        PRIMARY KEY (channel, subdir, name)
    ) WITHOUT ROWID;
    CREATE TABLE ledger (channel INTEGER PRIMARY KEY, text TEXT NOT NULL, checksum INTEGER NOT NULL);
    CREATE TABLE seen (
        channel INTEGER NOT NULL, role TEXT NOT NULL, version INTEGER NOT NULL,
        PRIMARY KEY (channel, role)
    ) WITHOUT ROWID;";

/// Pages that are held in memory, in KiB and negative: all are read once, in their order.
const READING: i64 = -4_096;

/// The same for writing: enough for 50,000 packages of a run, however their names sort.
const WRITING: i64 = -65_536;

/// Large enough that a row fits into its page: of smaller pages each row would take one more for its rest.
const PAGE_SIZE: i64 = 16_384;

const LOAD_SEEN: &str = "SELECT role, version FROM seen
    WHERE channel = (SELECT id FROM channel WHERE name = ?1)";

const STORE_SEEN: &str = "INSERT INTO seen VALUES (?1, ?2, ?3)
    ON CONFLICT (channel, role) DO UPDATE SET version = excluded.version";

/// Channels of which nothing was written for more days than this are forgotten, but for the versions of their metadata.
/// Days are all that is kept of when that was: what stays as it is on a day is not written again.
const MOST_DAYS: i64 = 90;

const FORGET_PACKAGES: &str = "DELETE FROM package
    WHERE channel IN (SELECT id FROM channel WHERE used < unixepoch() / 86400 - ?1)";

const FORGET_LEDGERS: &str = "DELETE FROM ledger
    WHERE channel IN (SELECT id FROM channel WHERE used < unixepoch() / 86400 - ?1)";

const LOAD_LEDGER: &str = "SELECT text, checksum FROM ledger
    WHERE channel = (SELECT id FROM channel WHERE name = ?1)";

/// A channel's part of a cache in a file, mode 0600 in a folder of 0700.
#[derive(Debug)]
pub struct SqliteCache {
    path: PathBuf,
    channel: String,
    connection: Connection,
    note: Option<String>,
    read_only: bool,
}

impl SqliteCache {
    /// Opens or makes the cache, for a channel of this name. One that is corrupt or of another version is put aside, with a note.
    ///
    /// # Errors
    /// When the place can't be written, or others may write it.
    pub fn open(path: &Path, channel: &str) -> Result<SqliteCache, CacheError> {
        make_private(path)?;
        demand_file(path)?;
        let mut note = None;
        let connection = match connect(path) {
            Ok(connection) => connection,
            Err(Unusable::Failed(error)) => return Err(error),
            Err(Unusable::Rebuild(why)) => {
                let (connection, said) = anew(path, why)?;
                note = Some(said);
                connection
            }
        };
        Ok(SqliteCache {
            path: path.to_owned(),
            channel: channel.to_owned(),
            connection,
            note,
            read_only: false,
        })
    }

    /// Opens an existing cache without ever writing it, for a dry run. `None` where there is none that serves.
    pub fn open_read_only(path: &Path, channel: &str) -> Option<SqliteCache> {
        demand_file(path).ok()?;
        trusted(path, &std::fs::metadata(path).ok()?).ok()?;
        let connection =
            Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
        let version = connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0));
        let serves = version.is_ok_and(|version| version == SCHEMA_VERSION)
            && connection.prepare(row::LOAD).is_ok();
        serves.then(|| SqliteCache {
            path: path.to_owned(),
            channel: channel.to_owned(),
            connection,
            note: None,
            read_only: true,
        })
    }

    /// What the operator should know: that it was built anew, and why.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    fn fail(&self, operation: &'static str) -> impl Fn(rusqlite::Error) -> CacheError + use<> {
        let path = shown(&self.path);
        move |cause| CacheError::Database {
            path: path.clone(),
            operation,
            cause,
        }
    }

    /// Does something with the file. Where that finds it corrupt, a new one takes its place and it is done with that:
    /// to look through the whole file beforehand would cost every run more than all else that it asks.
    fn healed<T: Default>(
        &mut self,
        operation: &'static str,
        work: impl Fn(&mut Connection, &str) -> rusqlite::Result<T>,
    ) -> Result<T, CacheError> {
        match work(&mut self.connection, &self.channel) {
            Err(cause) if self.read_only && is_corrupt(&cause) => Ok(T::default()),
            Err(cause) if !self.read_only && is_worthless(&self.path, &cause) => {
                let (connection, said) = anew(&self.path, "is corrupt")?;
                (self.connection, self.note) = (connection, Some(said));
                work(&mut self.connection, &self.channel).map_err(self.fail(operation))
            }
            done => done.map_err(self.fail(operation)),
        }
    }
}

/// Puts a file aside, and makes a new one in its place; what an operator is told of that.
fn anew(path: &Path, why: &str) -> Result<(Connection, String), CacheError> {
    let aside = put_aside(path)?;
    let connection = connect(path).map_err(|unusable| unusable.into_error(path))?;
    let (path, aside) = (shown(path), shown(aside));
    let said = format!("{path}: the cache {why}; it is put aside as {aside} and built anew");
    Ok((connection, said))
}

impl Cache for SqliteCache {
    fn load(&mut self, subdir: &str) -> Result<Known, CacheError> {
        self.healed("read", |connection, channel| {
            let mut statement = connection.prepare_cached(row::LOAD)?;
            let rows = statement.query_map([channel, subdir], |row| Ok(row::remembered(row)))?;
            // A row that makes no sense is as good as none: its package is read again.
            let sound = rows.filter_map(Result::transpose);
            sound
                .map(|row| row.map(|(name, known)| (name, Arc::new(known))))
                .collect()
        })
    }

    fn store(&mut self, learnt: &[Entry], gone: &[Gone]) -> Result<(), CacheError> {
        self.healed("written", |connection, channel| {
            connection.pragma_update(None, "cache_size", WRITING)?;
            let transaction = connection.transaction()?;
            let id = id_of(&transaction, channel)?;
            transaction.execute("DELETE FROM ledger WHERE channel = ?1", [id])?;
            for entry in learnt {
                row::store(&transaction, id, entry)?;
            }
            for Gone { subdir, name } in gone {
                row::forget(&transaction, id, subdir, name)?;
            }
            transaction.commit()
        })
    }

    fn seen(&mut self, versions: &Versions, which: Seen) -> Result<Versions, CacheError> {
        let known = self.healed("read", |connection, channel| seen(connection, channel))?;
        let is_new = |(role, version): &(&String, &u64)| match (known.get(*role), which) {
            (None, _) => true,
            (Some(known), Seen::Higher) => known < *version,
            (Some(known), Seen::Any) => known != *version,
        };
        let news: Vec<_> = versions.iter().filter(is_new).collect();
        if news.is_empty() {
            return Ok(known);
        }
        self.healed("written", |connection, channel| {
            let transaction = connection.transaction()?;
            let id = id_of(&transaction, channel)?;
            for (role, version) in &news {
                // SQLite counts to i64::MAX, and so high no version is.
                let version = i64::try_from(**version).unwrap_or(i64::MAX);
                transaction.execute(STORE_SEEN, params![id, role, version])?;
            }
            transaction.commit()?;
            seen(connection, channel)
        })
    }

    fn ledger(&mut self, next: Option<&str>) -> Result<Option<String>, CacheError> {
        if let Some(text) = next {
            return self.healed("written", |connection, channel| {
                let transaction = connection.transaction()?;
                let id = id_of(&transaction, channel)?;
                let row = params![id, text, crc32fast::hash(text.as_bytes())];
                transaction.execute("INSERT OR REPLACE INTO ledger VALUES (?1, ?2, ?3)", row)?;
                // A page that is broken in the right way takes a row, and never gives it back.
                let kept = ledger(&transaction, channel)?;
                if kept.as_deref() != Some(text) {
                    return Err(rusqlite::Error::QueryReturnedNoRows);
                }
                transaction.commit()?;
                Ok(kept)
            });
        }
        self.healed("read", |connection, channel| ledger(connection, channel))
    }
}

/// What was noted of the channel, if that is what was written.
fn ledger(connection: &Connection, channel: &str) -> rusqlite::Result<Option<String>> {
    let found = connection.query_row(LOAD_LEDGER, [channel], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, u32>(1)?))
    });
    let sound = |(text, checksum): &(String, u32)| crc32fast::hash(text.as_bytes()) == *checksum;
    Ok(found.optional()?.filter(sound).map(|(text, _)| text))
}

/// The versions that were seen.
fn seen(connection: &Connection, channel: &str) -> rusqlite::Result<Versions> {
    let mut statement = connection.prepare(LOAD_SEEN)?;
    let rows = statement.query_map([channel], |row| {
        Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned()))
    })?;
    rows.collect()
}

/// What stands for a channel in the tables; it gets a number with the first that is written of it. Then others are
/// forgotten that nothing was written of for long: they lie elsewhere now, or nowhere.
fn id_of(connection: &Connection, channel: &str) -> rusqlite::Result<i64> {
    let again = "UPDATE channel SET used = unixepoch() / 86400 WHERE name = ?1 RETURNING id";
    let found = connection.query_row(again, [channel], |row| row.get(0));
    if let Some(id) = found.optional()? {
        return Ok(id);
    }
    for forget in [FORGET_PACKAGES, FORGET_LEDGERS] {
        connection.execute(forget, [MOST_DAYS])?;
    }
    let first = "INSERT INTO channel (name, used) VALUES (?1, unixepoch() / 86400) RETURNING id";
    connection.query_row(first, [channel], |row| row.get(0))
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
        move |cause| match is_worthless(path, &cause) {
            true => Unusable::Rebuild("is corrupt"),
            false => Unusable::Failed(CacheError::Database {
                path: shown(path),
                operation,
                cause,
            }),
        }
    }

    fn into_error(self, path: &Path) -> CacheError {
        match self {
            Unusable::Failed(error) => error,
            Unusable::Rebuild(fault) => CacheError::Untrusted {
                path: shown(path),
                fault,
                remedy: "remove it",
            },
        }
    }
}

/// Whether the file is broken, or its tables are not those that [`SCHEMA`] makes: all statements are fixed, so one that
/// SQLite does not take, or that gives values of another kind, tells of the tables.
fn is_corrupt(cause: &rusqlite::Error) -> bool {
    use rusqlite::Error::{
        FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, QueryReturnedNoRows,
        SqlInputError, Utf8Error,
    };
    use rusqlite::ErrorCode::{
        ConstraintViolation, DatabaseCorrupt, NotADatabase, TypeMismatch, Unknown,
    };
    match cause {
        FromSqlConversionFailure(..)
        | IntegralValueOutOfRange(..)
        | InvalidColumnType(..)
        | QueryReturnedNoRows
        | SqlInputError { .. }
        | Utf8Error(..) => true,
        cause => matches!(
            cause.sqlite_error_code(),
            Some(NotADatabase | DatabaseCorrupt | Unknown | ConstraintViolation | TypeMismatch)
        ),
    }
}

/// Whether it is corrupt, or may be written to and says of itself that it is of a version that is only read.
fn is_worthless(path: &Path, cause: &rusqlite::Error) -> bool {
    let only_read = cause.sqlite_error_code() == Some(rusqlite::ErrorCode::ReadOnly);
    is_corrupt(cause) || (only_read && File::options().write(true).open(path).is_ok())
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
    connection
        .pragma_update(None, "cache_size", READING)
        .map_err(&read)?;
    let found = form(&connection).map_err(&read)?;
    let (version, tables) = match found {
        (0, 0) => make(&connection).map_err(Unusable::of(path, "made"))?,
        found => found,
    };
    match (version, tables) {
        (SCHEMA_VERSION, 1..) if !is_whole(&connection, path).map_err(&read)? => {
            Err(Unusable::Rebuild("is corrupt"))
        }
        (SCHEMA_VERSION, 1..) => match connection.prepare(row::LOAD).map(drop) {
            Ok(()) => Ok(connection),
            Err(_) => Err(Unusable::Rebuild("has another form")),
        },
        _ => Err(Unusable::Rebuild("is of another version")),
    }
}

/// The version of what stands in a file, and how many tables and indexes it has.
fn form(connection: &Connection) -> rusqlite::Result<(i64, i64)> {
    // In one statement: another run may make it in between.
    let both = "SELECT (SELECT user_version FROM pragma_user_version), count(*) FROM sqlite_master";
    connection.query_row(both, [], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// Makes the tables, unless another run did so meanwhile: runs with outputs of their own may share a cache, and no
/// channel's lock keeps them apart.
fn make(connection: &Connection) -> rusqlite::Result<(i64, i64)> {
    connection.pragma_update(None, "page_size", PAGE_SIZE)?;
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    if form(&transaction)? == (0, 0) {
        transaction.execute_batch(SCHEMA)?;
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    }
    let made = form(&transaction)?;
    transaction.commit()?;
    Ok(made)
}

/// Whether the file has all the pages that it says it has.
fn is_whole(connection: &Connection, path: &Path) -> rusqlite::Result<bool> {
    let number = |pragma: &str| {
        let read = connection.query_row(pragma, [], |row| row.get::<_, i64>(0));
        read.map(i64::cast_unsigned)
    };
    let (pages, size) = (number("PRAGMA page_count")?, number("PRAGMA page_size")?);
    let found = std::fs::metadata(path).map_or(0, |found| found.len());
    Ok(pages.saturating_mul(size) <= found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use crate::cache::{Attested, Checked, Facts, Remembered};
    use crate::details::Details;
    use crate::keys::{Fingerprint, KeyName};
    use crate::record::Record;
    use crate::storage::Stat;
    use std::os::unix::fs::PermissionsExt as _;

    const CHANNEL: &str = "/srv/channel";

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
            known: Arc::new(known),
        }
    }

    #[test]
    fn runs_that_make_it_at_the_same_moment_share_it() {
        for _ in 0..20 {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("made/cache.db");
            std::thread::scope(|scope| {
                let open = || {
                    SqliteCache::open(&path, CHANNEL).map(|cache| cache.note().map(str::to_owned))
                };
                let opened: Vec<_> = (0..4).map(|_| scope.spawn(open)).collect();
                for one in opened {
                    assert_eq!(one.join().unwrap().unwrap(), None);
                }
            });
        }
    }

    #[test]
    fn what_is_stored_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/cache.db");
        let mut cache = SqliteCache::open(&path, CHANNEL).unwrap();
        let entries = [entry("a", 1, true), entry("b", 2, false)];
        cache.store(&entries, &[]).unwrap();
        cache.store(&entries[..1], &[]).unwrap();
        drop(cache);
        let modes = [path.parent().unwrap(), &path]
            .map(|p| std::fs::metadata(p).unwrap().permissions().mode() & 0o777);
        assert_eq!(modes, [0o700, 0o600]);
        let mut cache = SqliteCache::open(&path, CHANNEL).unwrap();
        assert_eq!(cache.note(), None);
        let loaded = cache.load("noarch").unwrap();
        assert_eq!(loaded.get("a"), Some(&entries[0].known));
        assert_eq!(loaded.get("b"), Some(&entries[1].known));
        let gone = Gone {
            subdir: "noarch".to_owned(),
            name: "a".to_owned(),
        };
        assert_eq!(
            cache.ledger(Some("all is well")).unwrap().as_deref(),
            Some("all is well")
        );
        assert_eq!(cache.ledger(None).unwrap().as_deref(), Some("all is well"));
        cache.store(&[], &[gone]).unwrap();
        assert_eq!(cache.ledger(None).unwrap(), None);
        assert_eq!(cache.load("noarch").unwrap().len(), 1);
        let mut dry = SqliteCache::open_read_only(&path, CHANNEL).unwrap();
        assert_eq!(dry.load("noarch").unwrap().len(), 1);
        assert!(dry.store(&entries, &[]).is_err());
    }

    #[test]
    fn versions_that_were_seen_only_rise_unless_others_were_accepted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own/cache.db");
        let versions = |timestamp, root| {
            let of = [("timestamp", timestamp), ("root", root)];
            Versions::from(of.map(|(role, version)| (role.to_owned(), version)))
        };
        let mut cache = SqliteCache::open(&path, CHANNEL).unwrap();
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
        let mut dry = SqliteCache::open_read_only(&path, CHANNEL).unwrap();
        assert_eq!(
            dry.seen(&Versions::new(), Seen::Higher).unwrap(),
            versions(7, 2)
        );
        // What is known already is not written again.
        assert_eq!(
            dry.seen(&versions(7, 2), Seen::Higher).unwrap(),
            versions(7, 2)
        );
        assert!(dry.seen(&versions(8, 2), Seen::Higher).is_err());
        let mut cache = SqliteCache::open(&path, CHANNEL).unwrap();
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
            let mut cache = SqliteCache::open(&path, CHANNEL).unwrap();
            cache.store(&entries, &[]).unwrap();
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
            assert!(SqliteCache::open_read_only(&path, CHANNEL).is_none() || spoil == "truncated");
            let mut cache = SqliteCache::open(&path, CHANNEL).unwrap();
            assert!(cache.note().is_some(), "{spoil}");
            assert!(cache.load("noarch").unwrap().is_empty(), "{spoil}");
        }
    }

    #[test]
    fn a_file_that_lost_its_last_bytes_or_has_other_tables_is_built_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own/cache.db");
        drop(SqliteCache::open(&path, CHANNEL).unwrap());
        let whole = std::fs::metadata(&path).unwrap().len();
        let file = std::fs::OpenOptions::new().write(true).open(&path);
        // Less than a page, which SQLite itself does not see.
        file.unwrap().set_len(whole - 1).unwrap();
        let cache = SqliteCache::open(&path, CHANNEL).unwrap();
        assert!(cache.note().unwrap().contains("is corrupt"));
        assert_eq!(std::fs::metadata(&path).unwrap().len(), whole);
        drop(cache);
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch("DROP TABLE package").unwrap();
        drop(connection);
        assert!(SqliteCache::open_read_only(&path, CHANNEL).is_none());
        let cache = SqliteCache::open(&path, CHANNEL).unwrap();
        let note = cache.note().unwrap();
        assert!(note.contains("has another form"), "{note}");
        let aside = format!("put aside as {}.broken", path.display());
        assert!(note.contains(&aside), "{note}");
    }

    #[test]
    fn corruption_that_is_found_later_is_healed_where_that_may_be() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own/cache.db");
        let mut cache = SqliteCache::open(&path, CHANNEL).unwrap();
        let entries: Vec<_> = (0..500)
            .map(|at| entry(&format!("p{at}"), 1, true))
            .collect();
        cache.store(&entries, &[]).unwrap();
        drop(cache);
        let mut bytes = std::fs::read(&path).unwrap();
        let pages = bytes.len() / PAGE_SIZE as usize;
        assert!(pages > 4, "only {pages} pages");
        // All but the first page, which has the tables' forms.
        bytes[PAGE_SIZE as usize..].fill(0xff);
        std::fs::write(&path, &bytes).unwrap();
        let mut dry = SqliteCache::open_read_only(&path, CHANNEL).unwrap();
        assert!(dry.load("noarch").unwrap().is_empty());
        assert_eq!(dry.note(), None);
        assert!(std::fs::read(&path).unwrap() == bytes, "it was written");
        let mut cache = SqliteCache::open(&path, CHANNEL).unwrap();
        assert_eq!(cache.note(), None);
        assert!(cache.load("noarch").unwrap().is_empty());
        assert!(cache.note().unwrap().contains("is corrupt"));
        cache.store(&entries, &[]).unwrap();
        assert_eq!(cache.load("noarch").unwrap().len(), 500);
    }

    #[test]
    fn tables_of_another_form_are_built_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own/cache.db");
        let versions = Versions::from([("root".to_owned(), 7)]);
        for change in [
            "ALTER TABLE ledger RENAME COLUMN checksum TO sum",
            "DROP TABLE ledger",
            "UPDATE ledger SET text = x'ff'",
            "UPDATE ledger SET checksum = 'a'",
            "UPDATE ledger SET checksum = -1",
            "ALTER TABLE package ADD COLUMN more TEXT",
            "CREATE TRIGGER no BEFORE INSERT ON package BEGIN SELECT RAISE(ABORT, 'no'); END",
            "DROP TABLE seen; CREATE TABLE seen (name TEXT)",
            "UPDATE seen SET version = 'a'",
        ] {
            let mut cache = SqliteCache::open(&path, CHANNEL).unwrap();
            cache.store(&[entry("a", 1, true)], &[]).unwrap();
            cache.ledger(Some("all is well")).unwrap();
            cache.seen(&versions, Seen::Any).unwrap();
            let other = Connection::open(&path).unwrap();
            other.execute_batch(change).unwrap();
            drop(other);
            let mut read_only = SqliteCache::open_read_only(&path, CHANNEL).unwrap();
            read_only.ledger(None).unwrap();
            read_only.seen(&Versions::new(), Seen::Any).unwrap();
            let mut cache = SqliteCache::open(&path, CHANNEL).unwrap();
            cache.ledger(None).unwrap();
            cache.seen(&versions, Seen::Higher).unwrap();
            let entries = [entry("a", 1, true), entry("b", 2, false)];
            cache.store(&entries, &[]).unwrap();
            assert_eq!(cache.load("noarch").unwrap().len(), 2, "{change}");
            let note = cache.note().unwrap_or_default();
            assert!(note.contains("is corrupt"), "{change}: {note}");
        }
    }

    #[test]
    fn a_row_that_was_changed_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own/cache.db");
        let mut cache = SqliteCache::open(&path, CHANNEL).unwrap();
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
                .store(&[entry("a", 1, true), entry("b", 2, false)], &[])
                .unwrap();
            let sql = format!("UPDATE package SET {change} WHERE name = 'a'");
            Connection::open(&path).unwrap().execute(&sql, []).unwrap();
            let loaded = cache.load("noarch").unwrap();
            assert_eq!(loaded.keys().collect::<Vec<_>>(), ["b"], "{change}");
        }
    }

    #[test]
    fn channels_that_are_no_more_are_forgotten_when_another_comes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own/cache.db");
        let versions = Versions::from([("root".to_owned(), 7)]);
        for channel in ["/srv/old", "/srv/used"] {
            let mut cache = SqliteCache::open(&path, channel).unwrap();
            cache.store(&[entry("a", 1, true)], &[]).unwrap();
            cache.ledger(Some("all is well")).unwrap();
            cache.seen(&versions, Seen::Any).unwrap();
        }
        let long_ago = "UPDATE channel SET used = used - 91 WHERE name = '/srv/old'";
        let rows = Connection::open(&path).unwrap();
        assert_eq!(rows.execute(long_ago, []).unwrap(), 1);
        let known = |channel: &str| {
            let mut cache = SqliteCache::open_read_only(&path, channel).unwrap();
            assert_eq!(cache.seen(&Versions::new(), Seen::Any).unwrap(), versions);
            (
                cache.load("noarch").unwrap().len(),
                cache.ledger(None).unwrap().is_some(),
            )
        };
        let mut used = SqliteCache::open(&path, "/srv/used").unwrap();
        used.store(&[entry("b", 1, true)], &[]).unwrap();
        assert_eq!(known("/srv/old"), (1, true));
        let mut new = SqliteCache::open(&path, "/srv/new").unwrap();
        new.store(&[], &[]).unwrap();
        assert_eq!(known("/srv/old"), (0, false));
        assert_eq!(known("/srv/used"), (2, false));
    }

    #[test]
    fn a_cache_that_others_may_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own/cache.db");
        drop(SqliteCache::open(&path, CHANNEL).unwrap());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        assert!(matches!(
            SqliteCache::open(&path, CHANNEL),
            Err(CacheError::Untrusted { .. })
        ));
    }
}
