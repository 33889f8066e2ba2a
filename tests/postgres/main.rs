//! The shared cache, against a real PostgreSQL that each test starts for itself: the same meaning as the cache in a file, its
//! schema, trouble with the server, the agreement among workers, and runs of the real binary. Without PostgreSQL the tests
//! say so and are skipped; CI must have it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice
)]

#[path = "../support/postgres.rs"]
mod postgres;
#[path = "../support/scene.rs"]
mod scene;

mod binary;
mod cases;
mod claims;
mod figures;
mod relay;
mod schema;
mod tls;
mod trouble;
mod workers;

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use sigindex::cache::postgres::Limits;
use sigindex::cache::{Attested, Checked, Entry, Facts, Remembered};
use sigindex::details::Details;
use sigindex::keys::{Fingerprint, KeyName};
use sigindex::record::Record;
use sigindex::storage::Stat;

/// The subdir of all entries, unless a test says otherwise.
const SUBDIR: &str = "noarch";

/// A file of some size.
fn stat(size: u64) -> Stat {
    Stat {
        size,
        mtime: -5,
        inode: u64::MAX,
        ctime: i64::MAX,
    }
}

/// A package of some size, with all that can be remembered, or with the least.
fn entry(name: &str, size: u64, full: bool) -> Entry {
    let index = br#"{"name":"a","version":"1","build":"0","license":"x"}"#;
    let (record, _) = Record::new(index, "aa", "bb", size).unwrap();
    let stat = stat(size);
    let signature = full.then(|| Checked {
        stat,
        key: KeyName::parse("K").unwrap(),
        fingerprint: Fingerprint::parse(&"ab".repeat(32)).unwrap(),
        value: "AAAA".to_owned(),
    });
    let facts = Facts {
        sha256: [7; 32],
        record,
        // PostgreSQL's text could not hold this.
        mismatch: full.then(|| "why\0not".to_owned()),
        decoded: full,
        details: Details::default(),
    };
    let sha256 = [9; 32];
    let known = Remembered {
        stat,
        facts,
        indexed_timestamp: 42,
        signature,
        attestations: full.then_some(Attested { stat, sha256 }),
    };
    Entry {
        subdir: SUBDIR.to_owned(),
        name: name.to_owned(),
        known: Arc::new(known),
    }
}

/// Limits for a server that will not answer.
fn soon() -> Limits {
    Limits {
        connect: Duration::from_millis(500),
        retry: Duration::from_secs(1),
        ..Limits::default()
    }
}

/// Says a line on stderr itself: the harness hides what the macros print.
fn say(line: &str) {
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}
