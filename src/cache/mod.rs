//! What earlier runs learnt of a channel's packages. Owns the [`Cache`] seam and what is remembered;
//! must not know how freshness is judged or what is published.

mod claims;
mod place;
#[cfg(feature = "postgres")]
pub mod postgres;
mod row;
mod sqlite;

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::sync::Arc;

use rusqlite::ErrorCode;

use crate::details::Details;
use crate::keys::{Fingerprint, KeyName};
use crate::record::Record;
use crate::shown::shown;
use crate::storage::Stat;

pub use claims::{Claimed, Claims, PackageName, Unread};
pub use place::demand_place;
#[cfg(feature = "postgres")]
pub use postgres::PostgresCache;
pub use sqlite::SqliteCache;

/// Whether a cache of this name is shared, in PostgreSQL: `postgres://…` or `postgresql://…`.
pub fn is_shared(name: &str) -> bool {
    ["postgres://", "postgresql://"]
        .iter()
        .any(|scheme| name.starts_with(scheme))
}

/// Whether a name is written as a shared cache's and is none: it may hold a password, and is taken for no path. A folder
/// that is called so is given as `./postgres:`.
pub fn is_meant_as_shared(name: &str) -> bool {
    let begins = |scheme: &str| {
        let head = name.trim_start().get(..scheme.len());
        head.is_some_and(|head| head.eq_ignore_ascii_case(scheme))
    };
    !is_shared(name) && ["postgres:", "postgresql:"].into_iter().any(begins)
}

/// What a channel is called in a cache, which holds many: its place (the folder's path, absolute and without links, or
/// the URL, with the endpoint where one is named), and that of its output where that is another one.
pub fn channel_name(source: &OsStr, target: &OsStr) -> String {
    match source == target {
        true => shown(source),
        // No shown path has a line break in it.
        false => format!("{}\n{}", shown(source), shown(target)),
    }
}

/// A channel's memory of its packages. Losing it costs time, never correctness.
pub trait Cache: Send {
    /// Everything that is remembered of a subdir, by file name.
    ///
    /// # Errors
    /// When the memory can't be read.
    fn load(&mut self, subdir: &str) -> Result<Known, CacheError>;

    /// Remembers packages, in place of what was known of the same names, and forgets those that are gone. All or
    /// nothing; the ledger goes with it, because it tells of a state that is no more.
    ///
    /// # Errors
    /// When the memory can't be written.
    fn store(&mut self, learnt: &[Entry], gone: &[Gone]) -> Result<(), CacheError>;

    /// Remembers versions of signed metadata, by role. What is remembered then; with no versions nothing is written.
    ///
    /// # Errors
    /// When the memory can't be read or written.
    fn seen(&mut self, versions: &Versions, which: Seen) -> Result<Versions, CacheError>;

    /// What the last run that went through wrote down at its end, as long as nothing was stored since; with `next`,
    /// that is written down instead.
    ///
    /// # Errors
    /// When the memory can't be read or written.
    fn ledger(&mut self, next: Option<&str>) -> Result<Option<String>, CacheError>;

    /// The agreement among workers that share this memory, where it keeps one.
    fn claims(&mut self) -> Option<&mut dyn Claims> {
        None
    }
}

/// What is remembered of a subdir's packages, by file name.
pub type Known = HashMap<String, Arc<Remembered>>;

/// A package that is to be forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    /// The subdir.
    pub subdir: String,
    /// The file name.
    pub name: String,
}

/// Which versions take the place of those that were seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Higher ones: nothing makes a memory of newer metadata go away unasked.
    Higher,
    /// All: an operator accepted what stands there, a root that began anew, too.
    Any,
}

/// Versions of signed metadata, by role.
pub type Versions = BTreeMap<String, u64>;

/// A memory that knows nothing and keeps nothing, for a dry run where there is no cache yet.
#[derive(Debug, Clone, Copy)]
pub struct NoCache;

impl Cache for NoCache {
    fn load(&mut self, _subdir: &str) -> Result<Known, CacheError> {
        Ok(Known::new())
    }

    fn store(&mut self, _learnt: &[Entry], _gone: &[Gone]) -> Result<(), CacheError> {
        Ok(())
    }

    fn seen(&mut self, _versions: &Versions, _which: Seen) -> Result<Versions, CacheError> {
        Ok(Versions::new())
    }

    fn ledger(&mut self, _next: Option<&str>) -> Result<Option<String>, CacheError> {
        Ok(None)
    }
}

/// A package and what is to be remembered of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The subdir.
    pub subdir: String,
    /// The file name.
    pub name: String,
    /// What is known.
    pub known: Arc<Remembered>,
}

/// What is remembered of one package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// The file that was read.
    pub stat: Stat,
    /// What was read from it.
    pub facts: Facts,
    /// When this index first saw it, in Unix milliseconds (CEP 47).
    pub indexed_timestamp: i64,
    /// Its signature, where a valid one was found or made.
    pub signature: Option<Checked>,
    /// The list of attestations beside it (CEP 50), where one was checked.
    pub attestations: Option<Attested>,
}

/// What reading a package's bytes gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// SHA-256 of the file.
    pub sha256: [u8; 32],
    /// Its metadata.
    pub record: Record,
    /// What other index files say of it.
    pub details: Details,
    /// How its metadata contradicts its place, where it does.
    pub mismatch: Option<String>,
    /// Whether the whole archive was decoded (`--check-archives`).
    pub decoded: bool,
}

/// A signature that was held against the package's digest and was valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The `.sig` file that was read or written.
    pub stat: Stat,
    /// The name in it.
    pub key: KeyName,
    /// The key that it was checked with.
    pub fingerprint: Fingerprint,
    /// The signature, in base64.
    pub value: String,
}

/// A list of attestations that was held against the package's name and digest, and names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attested {
    /// The `.sigs` file that was read.
    pub stat: Stat,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
}

/// What went wrong with the cache.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The file or its folder can't be made or opened.
    #[error("{path}: can't {operation}: {cause}; name another place with --cache")]
    Open {
        /// The file or folder.
        path: String,
        /// What was being done.
        operation: &'static str,
        /// Why it failed.
        cause: std::io::Error,
    },
    /// Who may write the cache decides what is in the index.
    #[error("{path}: the cache {fault}, and so can't be trusted; {remedy}")]
    Untrusted {
        /// The file or folder.
        path: String,
        /// What is wrong with it.
        fault: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// SQLite failed.
    #[error("{path}: the cache can't be {operation}: {cause}; {}", remedy(.cause))]
    Database {
        /// The file.
        path: String,
        /// What was being done.
        operation: &'static str,
        /// What SQLite said.
        cause: rusqlite::Error,
    },
    /// PostgreSQL failed, or what leads to it.
    #[error("{place}: the shared cache can't be {operation}: {cause}; {remedy}")]
    Server {
        /// The server, the database and the user; never a password.
        place: String,
        /// What was being done.
        operation: &'static str,
        /// What the server said, or the system.
        cause: String,
        /// What to do.
        remedy: &'static str,
    },
}

/// What to do about an error of SQLite: where the disk is the cause, another cache would not get further.
fn remedy(cause: &rusqlite::Error) -> &'static str {
    match cause.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "make room, or name another place with --cache",
        Some(ErrorCode::SystemIoFailure) => {
            "look whether its file system has room, is sound, and takes files of that size, or name another place with --cache"
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "wait for the other run that uses it to end, or name another one with --cache"
        }
        Some(ErrorCode::CannotOpen) => {
            "look whether its folder can be written to and more files may be opened (ulimit -n), or name another place with --cache"
        }
        _ => "remove it, and it is built anew",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn no_two_channels_have_one_name() {
        use std::os::unix::ffi::OsStrExt as _;
        let name = |source: &[u8], target: &[u8]| {
            channel_name(OsStr::from_bytes(source), OsStr::from_bytes(target))
        };
        let names = [
            name(b"/a", b"/a"),
            name(b"/a", b"/b"),
            name(b"/a to /b", b"/a to /b"),
            name(b"/a\n/b", b"/a\n/b"),
            name(b"/a\xff", b"/a\xff"),
            name(b"/a\\xff", b"/a\\xff"),
        ];
        let different: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(different.len(), names.len(), "{names:?}");
        assert_eq!(names[0], "/a");
    }

    #[test]
    fn what_is_nearly_a_shared_cache_is_no_path() {
        for name in [
            "postgres:u:p@h/d",
            "postgresql:/h/d",
            " postgres://h/d",
            "\n\tpostgresql://h/d",
            "\u{a0}Postgres://h/d",
            "POSTGRESQL://h/d",
        ] {
            assert!(is_meant_as_shared(name) && !is_shared(name), "{name:?}");
        }
        for name in [
            "",
            "postgres",
            "./postgres:",
            "postgre:",
            "/postgres://h",
            "pöstgres:",
            "postgres://h/d",
        ] {
            assert!(!is_meant_as_shared(name), "{name:?}");
        }
    }

    #[test]
    fn no_cache_knows_and_keeps_nothing() {
        let versions = Versions::from([("root".to_owned(), 7)]);
        let mut none = NoCache;
        none.store(&[], &[]).unwrap();
        assert_eq!(none.ledger(Some("all is well")).unwrap(), None);
        assert_eq!(none.ledger(None).unwrap(), None);
        assert_eq!(none.seen(&versions, Seen::Any).unwrap(), Versions::new());
        assert!(none.load("noarch").unwrap().is_empty());
    }

    #[test]
    fn a_sound_cache_is_not_to_be_removed() {
        let of = |code| {
            remedy(&rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(code),
                None,
            ))
        };
        for (code, wanted) in [
            (rusqlite::ffi::SQLITE_FULL, "make room"),
            (rusqlite::ffi::SQLITE_IOERR, "file system"),
            (rusqlite::ffi::SQLITE_BUSY, "wait"),
            (rusqlite::ffi::SQLITE_LOCKED, "wait"),
            (rusqlite::ffi::SQLITE_CANTOPEN, "ulimit -n"),
        ] {
            assert!(
                of(code).contains(wanted) && !of(code).contains("remove it"),
                "{code}"
            );
        }
        assert!(of(rusqlite::ffi::SQLITE_CORRUPT).contains("remove it"));
    }
}
