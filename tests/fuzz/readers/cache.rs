//! The target `cache`: what may lie in place of the cache. Forms by the first byte: 0 a file as it stands; 1 a true cache
//! with some bytes changed; 2 one whose columns hold other values; 3 one with a journal that a dead run left. Whatever
//! it is, it is read as it was, or built anew, and then serves.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rusqlite::Connection;
use rusqlite::types::Value;
use sigindex::cache::{
    Attested, Cache, Checked, Entry, Facts, Known, Remembered, Seen, SqliteCache,
};
use sigindex::details::Details;
use sigindex::keys::{Fingerprint, KeyName};
use sigindex::record::Record;
use sigindex::storage::Stat;
use tempfile::TempDir;

use super::feed::Feed;

const INDEX: &[u8] = br#"{"name":"a","version":"1","build":"0","license":"x","depends":["b >=1"]}"#;
/// What every run stores.
const NEW: &str = "c-1-0.conda";
const CHANNEL: &str = "/srv/channel";
const UNREADABLE: &str = "what can't be read is built anew";
const COLUMNS: [&str; 25] = [
    "subdir",
    "name",
    "size",
    "mtime",
    "inode",
    "ctime",
    "sha256",
    "record",
    "mismatch",
    "decoded",
    "indexed_timestamp",
    "sig_size",
    "sig_mtime",
    "sig_inode",
    "sig_ctime",
    "sig_key",
    "sig_fingerprint",
    "sig_value",
    "details",
    "sigs_size",
    "sigs_mtime",
    "sigs_inode",
    "sigs_ctime",
    "sigs_sha256",
    "checksum",
];

pub fn read(bytes: &[u8]) {
    let place = place();
    clear(&place);
    let path = place.join("cache.db");
    let mut feed = Feed::new(bytes);
    match feed.byte() % 4 {
        0 => fs::write(&path, feed.rest()).unwrap(),
        1 => fs::write(&path, changed(feed.rest())).unwrap(),
        2 => {
            fs::write(&path, template()).unwrap();
            edit(&path, &mut feed);
        }
        _ => {
            fs::write(&path, template()).unwrap();
            fs::write(place.join("cache.db-journal"), feed.rest()).unwrap();
        }
    }
    if let Some(mut dry) = SqliteCache::open_read_only(&path, CHANNEL) {
        let _ = dry.load("noarch");
        let _ = dry.ledger(None);
        assert!(dry.store(&[], &[]).is_err());
    }
    serves(&path);
}

/// A folder in memory, where there is one; of each thread, which takes it away at its end.
fn place() -> PathBuf {
    thread_local! {
        static PLACE: TempDir = {
            let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
            folder.unwrap()
        };
    }
    PLACE.with(|folder| folder.path().to_owned())
}

fn clear(place: &Path) {
    for entry in fs::read_dir(place).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
}

fn entry(name: &str, signed: bool) -> Entry {
    let (record, _) = Record::new(INDEX, &"ab".repeat(32), &"cd".repeat(16), 7).unwrap();
    let stat = Stat {
        size: 7,
        mtime: -5,
        inode: u64::MAX,
        ctime: i64::MAX,
    };
    let checked = Checked {
        stat,
        key: KeyName::parse("K").unwrap(),
        fingerprint: Fingerprint::from_bytes([3; 32]),
        value: "AAAA".to_owned(),
    };
    let attested = Attested {
        stat,
        sha256: [9; 32],
    };
    let known = Remembered {
        stat,
        facts: Facts {
            sha256: [7; 32],
            record,
            details: Details::default(),
            mismatch: signed.then(|| "why".to_owned()),
            decoded: signed,
        },
        indexed_timestamp: 42,
        signature: signed.then_some(checked),
        attestations: signed.then_some(attested),
    };
    Entry {
        subdir: "noarch".to_owned(),
        name: name.to_owned(),
        known: Arc::new(known),
    }
}

/// What the true cache holds.
fn entries() -> [Entry; 2] {
    [entry("a-1-0.conda", true), entry("b-1-0.tar.bz2", false)]
}

/// The bytes of a true cache.
pub fn template() -> &'static [u8] {
    static TEMPLATE: OnceLock<Vec<u8>> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache.db");
        let mut cache = SqliteCache::open(&path, CHANNEL).unwrap();
        cache.store(&entries(), &[]).unwrap();
        let seen = BTreeMap::from([("root".to_owned(), 3)]);
        cache.seen(&seen, Seen::Higher).unwrap();
        cache.ledger(Some("all is well")).unwrap();
        drop(cache);
        fs::read(&path).unwrap()
    })
}

/// The true cache with some bytes changed: each change is a place in three bytes, and a value.
fn changed(changes: &[u8]) -> Vec<u8> {
    let mut file = template().to_vec();
    for change in changes.chunks_exact(4) {
        let place = change[..3]
            .iter()
            .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        let at = place % file.len();
        file[at] = change[3];
    }
    file
}

/// Puts other values into columns, as far as SQLite takes them.
fn edit(path: &Path, feed: &mut Feed<'_>) {
    let connection = Connection::open(path).unwrap();
    while !feed.is_empty() {
        let column = COLUMNS[usize::from(feed.byte()) % COLUMNS.len()];
        let value = match feed.byte() % 6 {
            0 => Value::Null,
            1 => Value::Integer(feed.number().cast_signed()),
            2 => Value::Integer(i64::from(feed.byte())),
            3 => Value::Real(f64::from_bits(feed.number())),
            4 => Value::Text(String::from_utf8_lossy(feed.short_text()).into_owned()),
            _ => Value::Blob(feed.short_text().to_vec()),
        };
        let sql = format!("UPDATE package SET {column} = ?1 WHERE name = 'a-1-0.conda'");
        let _ = connection.execute(&sql, [value]);
    }
}

/// Two runs with what lies there. Neither fails; and where nothing had to be built anew, what a run remembers is there
/// for the next.
fn serves(path: &Path) {
    let built_anew = run(path, false);
    run(path, !built_anew);
}

/// Opens what lies there, as a run does, and uses it; whether it had to be built anew. `before` says that a run has
/// been here.
fn run(path: &Path, before: bool) -> bool {
    let mut cache = SqliteCache::open(path, CHANNEL).expect("what serves no more is built anew");
    let known = cache.load("noarch").expect(UNREADABLE);
    as_they_were(&known);
    let ledger = cache.ledger(None).expect(UNREADABLE);
    let seen = cache.seen(&BTreeMap::new(), Seen::Any).expect(UNREADABLE);
    if before && cache.note().is_none() {
        assert!(known.contains_key(NEW));
        assert_eq!(ledger.as_deref(), Some("done"));
        assert_eq!(seen.get("timestamp"), Some(&9));
    }
    let new = entry(NEW, true);
    cache
        .store(std::slice::from_ref(&new), &[])
        .expect("what can't be written is built anew");
    let known = cache.load("noarch").unwrap();
    assert_eq!(known.get(NEW), Some(&new.known));
    assert_eq!(cache.ledger(None).unwrap(), None);
    let seen = BTreeMap::from([("timestamp".to_owned(), 9)]);
    let seen = cache.seen(&seen, Seen::Any).expect(UNREADABLE);
    assert_eq!(seen.get("timestamp"), Some(&9));
    assert_eq!(cache.ledger(Some("done")).unwrap().as_deref(), Some("done"));
    cache.note().is_some()
}

/// What is remembered is what was stored.
fn as_they_were(known: &Known) {
    for (name, remembered) in known {
        let mut stored = entries().into_iter().chain([entry(NEW, true)]);
        let stored = stored.find(|entry| entry.name == *name);
        assert_eq!(
            stored.map(|entry| entry.known).as_ref(),
            Some(remembered),
            "{name}"
        );
    }
}
