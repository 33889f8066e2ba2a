//! How long things may take with a shared cache. Owns the numbers, and how the server is told; must not know what takes so
//! long.

use std::time::Duration;

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// To connect to one address of the server.
    pub connect: Duration,
    /// A statement, on the server.
    pub statement: Duration,
    /// To wait for a lock that another worker holds.
    pub lock: Duration,
    /// From the first failure that passes by itself until it is given up, once the cache is open. A cache that can't be
    /// opened is given up after 15 seconds at most: nothing is lost by that.
    pub retry: Duration,
    /// A worker that says nothing for so long is dead. It says something in each third of that.
    pub lease: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connect: Duration::from_secs(10),
            statement: Duration::from_secs(60),
            lock: Duration::from_secs(30),
            retry: Duration::from_secs(120),
            lease: Duration::from_secs(30),
        }
    }
}

impl Limits {
    /// The limits that the server keeps, for one transaction: it may be another's connection the next time, behind a
    /// pooler. Names are looked up in the system's schema alone.
    pub(super) fn settings(&self) -> String {
        format!(
            "SET LOCAL statement_timeout = {}; SET LOCAL lock_timeout = {};
             SET LOCAL idle_in_transaction_session_timeout = {}; SET LOCAL search_path = pg_catalog",
            self.statement.as_millis(),
            self.lock.as_millis(),
            self.statement.as_millis(),
        )
    }
}
