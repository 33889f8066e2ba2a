//! The same meaning: cases that hold for a cache in a file and for one in PostgreSQL alike.

use std::path::Path;

use sigindex::cache::postgres;
use sigindex::cache::{Cache, Entry, Gone, Known, Seen, SqliteCache, Versions};

use crate::postgres::{Server, Sql};
use crate::{SUBDIR, entry};

/// A cache that can be opened again and again.
trait Place {
    fn open_for(&self, channel: &str) -> Box<dyn Cache>;
    fn open(&self) -> Box<dyn Cache> {
        self.open_for("channel")
    }
    fn open_read_only(&self) -> Option<Box<dyn Cache>>;
    /// Runs a statement on what is stored.
    fn meddle(&self, sql: &str);
}

struct InFile<'p>(&'p Path);

impl Place for InFile<'_> {
    fn open_for(&self, channel: &str) -> Box<dyn Cache> {
        Box::new(SqliteCache::open(self.0, channel).unwrap())
    }

    fn open_read_only(&self) -> Option<Box<dyn Cache>> {
        Some(Box::new(SqliteCache::open_read_only(self.0, "channel")?))
    }

    fn meddle(&self, sql: &str) {
        let database = rusqlite::Connection::open(self.0).unwrap();
        database
            .execute(&sql.replace("TABLE", "package"), [])
            .unwrap();
    }
}

struct InServer<'s> {
    server: &'s Server,
    database: String,
}

impl Place for InServer<'_> {
    fn open_for(&self, channel: &str) -> Box<dyn Cache> {
        Box::new(postgres::open(&self.server.url(&self.database), channel).unwrap())
    }

    fn open_read_only(&self) -> Option<Box<dyn Cache>> {
        let url = self.server.url(&self.database);
        Some(Box::new(
            postgres::open_read_only(&url, "channel").unwrap()?,
        ))
    }

    fn meddle(&self, sql: &str) {
        let sql = sql.replace("TABLE", "sigindex.package");
        let sql = sql.replace("zeroblob(32)", "decode(repeat('00', 32), 'hex')");
        Sql::new(self.server, &self.database).run(&sql);
    }
}

/// What holds for a cache in any place.
type Case = fn(&dyn Place);

const CASES: [(&str, Case); 8] = [
    ("stored", what_is_stored_is_loaded),
    ("replaced", what_is_stored_again_takes_the_place_of_what_was),
    ("gone", what_is_gone_is_forgotten),
    ("ledger", a_ledger_lasts_until_something_is_stored),
    ("seen", versions_only_rise_unless_others_were_accepted),
    ("changed", a_row_that_was_changed_is_forgotten),
    ("channels", channels_know_nothing_of_each_other),
    ("dry", a_dry_run_reads_and_never_writes),
];

#[test]
fn a_shared_cache_means_what_one_in_a_file_does() {
    let folder = tempfile::tempdir().unwrap();
    for (name, case) in CASES {
        case(&InFile(&folder.path().join(name).join("cache.db")));
    }
    let Some(server) = Server::start() else {
        return;
    };
    for (name, case) in CASES {
        let database = format!("cache_{name}");
        server.database(&database);
        let server = &server;
        case(&InServer { server, database });
    }
}

fn gone(name: &str) -> Gone {
    Gone {
        subdir: SUBDIR.to_owned(),
        name: name.to_owned(),
    }
}

fn names(known: &Known) -> Vec<&str> {
    let mut names: Vec<_> = known.keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

fn what_is_stored_is_loaded(place: &dyn Place) {
    let mut elsewhere = entry("a", 3, true);
    elsewhere.subdir = "linux-64".to_owned();
    let entries = [entry("a", 1, true), entry("b", 2, false), elsewhere];
    let mut cache = place.open();
    assert!(cache.load(SUBDIR).unwrap().is_empty());
    cache.store(&entries, &[]).unwrap();
    drop(cache);
    let mut cache = place.open();
    let loaded = cache.load(SUBDIR).unwrap();
    assert_eq!(names(&loaded), ["a", "b"]);
    assert_eq!(loaded["a"], entries[0].known);
    assert_eq!(loaded["b"], entries[1].known);
    let loaded = cache.load("linux-64").unwrap();
    assert_eq!(loaded["a"], entries[2].known);
    assert!(cache.load("win-64").unwrap().is_empty());
    // More than is sent or fetched at once, names that sort otherwise elsewhere, and one twice: the later one counts.
    let mut many: Vec<Entry> = (0..4_500)
        .map(|at| entry(&format!("ä{at}"), at, at % 7 == 0))
        .collect();
    many.push(entry("ä7", 8, false));
    cache.store(&many, &[]).unwrap();
    let loaded = cache.load(SUBDIR).unwrap();
    assert_eq!(loaded.len(), 4_502);
    assert_eq!(loaded["ä4499"], many[4_499].known);
    assert_eq!(loaded["ä7"], many[4_500].known);
}

fn what_is_stored_again_takes_the_place_of_what_was(place: &dyn Place) {
    let mut cache = place.open();
    for (size, full) in [(1, true), (2, false), (3, true)] {
        let one = entry("a", size, full);
        cache.store(std::slice::from_ref(&one), &[]).unwrap();
        assert_eq!(cache.load(SUBDIR).unwrap()["a"], one.known);
    }
}

fn what_is_gone_is_forgotten(place: &dyn Place) {
    let mut cache = place.open();
    let entries = [
        entry("a", 1, true),
        entry("b", 2, false),
        entry("c", 3, false),
    ];
    cache.store(&entries, &[]).unwrap();
    cache.store(&[], &[gone("a"), gone("none")]).unwrap();
    assert_eq!(names(&cache.load(SUBDIR).unwrap()), ["b", "c"]);
    // Of what is learnt and gone at once, it is gone that counts.
    cache.store(&entries[..2], &[gone("b"), gone("c")]).unwrap();
    assert_eq!(names(&cache.load(SUBDIR).unwrap()), ["a"]);
    let elsewhere = Gone {
        subdir: "linux-64".to_owned(),
        name: "a".to_owned(),
    };
    cache.store(&[], &[elsewhere]).unwrap();
    assert_eq!(names(&cache.load(SUBDIR).unwrap()), ["a"]);
}

fn a_ledger_lasts_until_something_is_stored(place: &dyn Place) {
    let mut cache = place.open();
    assert_eq!(cache.ledger(None).unwrap(), None);
    cache.store(&[entry("a", 1, true)], &[]).unwrap();
    for text in ["all is well", "ü\0\n", ""] {
        assert_eq!(cache.ledger(Some(text)).unwrap().as_deref(), Some(text));
        assert_eq!(cache.ledger(None).unwrap().as_deref(), Some(text));
        let mut another = place.open();
        assert_eq!(another.ledger(None).unwrap().as_deref(), Some(text));
        another.load(SUBDIR).unwrap();
    }
    cache.store(&[], &[gone("a")]).unwrap();
    assert_eq!(cache.ledger(None).unwrap(), None);
    assert_eq!(place.open().ledger(None).unwrap(), None);
    let mut another = place.open();
    assert_eq!(another.ledger(Some("b")).unwrap().as_deref(), Some("b"));
    assert_eq!(cache.ledger(None).unwrap().as_deref(), Some("b"));
    cache.store(&[], &[]).unwrap();
    assert_eq!(another.ledger(None).unwrap(), None);
}

fn versions_only_rise_unless_others_were_accepted(place: &dyn Place) {
    let versions = |timestamp, root| {
        let of = [("timestamp", timestamp), ("root", root)];
        Versions::from(of.map(|(role, version)| (role.to_owned(), version)))
    };
    let mut cache = place.open();
    let none = cache.seen(&Versions::new(), Seen::Higher).unwrap();
    assert_eq!(none, Versions::new());
    for (next, which, then) in [
        (versions(0, 1), Seen::Higher, versions(0, 1)),
        (versions(7, 1), Seen::Higher, versions(7, 1)),
        (versions(3, 2), Seen::Higher, versions(7, 2)),
        (versions(9, 1), Seen::Any, versions(9, 1)),
        (
            versions(8, u64::MAX),
            Seen::Higher,
            versions(9, i64::MAX as u64),
        ),
    ] {
        assert_eq!(cache.seen(&next, which).unwrap(), then);
        assert_eq!(place.open().seen(&Versions::new(), which).unwrap(), then);
    }
    let mut dry = place.open_read_only().unwrap();
    let known = versions(9, i64::MAX as u64);
    // What is known already is not written again.
    assert_eq!(dry.seen(&known, Seen::Higher).unwrap(), known);
    assert!(dry.seen(&versions(10, 2), Seen::Higher).is_err());
}

fn a_row_that_was_changed_is_forgotten(place: &dyn Place) {
    let mut cache = place.open();
    for change in [
        "record = replace(record, 'license', 'LICENSE')",
        "indexed_timestamp = 1",
        "sig_value = 'BBBB'",
        "sha256 = zeroblob(32)",
        "mismatch = NULL",
        "details = 'text_prefix' || details",
        "sigs_sha256 = zeroblob(32)",
        "checksum = 5",
        "sig_key = NULL",
        "record = 'none'",
    ] {
        let entries = [entry("a", 1, true), entry("b", 2, false)];
        cache.store(&entries, &[]).unwrap();
        place.meddle(&format!("UPDATE TABLE SET {change} WHERE name = 'a'"));
        let loaded = cache.load(SUBDIR).unwrap();
        assert_eq!(names(&loaded), ["b"], "{change}");
    }
}

fn channels_know_nothing_of_each_other(place: &dyn Place) {
    let (mut one, mut other) = (place.open_for("/srv/one"), place.open_for("/srv/other"));
    let entries = [entry("a", 1, true), entry("b", 2, false)];
    let versions = Versions::from([("root".to_owned(), 7)]);
    one.store(&entries, &[]).unwrap();
    one.seen(&versions, Seen::Higher).unwrap();
    one.ledger(Some("all is well")).unwrap();
    let of_other = entry("b", 5, true);
    other
        .store(std::slice::from_ref(&of_other), &[gone("a")])
        .unwrap();
    assert_eq!(other.ledger(None).unwrap(), None);
    assert_eq!(
        other.seen(&Versions::new(), Seen::Any).unwrap(),
        Versions::new()
    );
    let known = other.load(SUBDIR).unwrap();
    assert_eq!(names(&known), ["b"]);
    assert_eq!(known["b"], of_other.known);
    let known = one.load(SUBDIR).unwrap();
    assert_eq!(names(&known), ["a", "b"]);
    assert_eq!(known["b"], entries[1].known);
    assert_eq!(one.ledger(None).unwrap().as_deref(), Some("all is well"));
    assert_eq!(one.seen(&Versions::new(), Seen::Any).unwrap(), versions);
}

fn a_dry_run_reads_and_never_writes(place: &dyn Place) {
    assert!(place.open_read_only().is_none());
    let entries = [entry("a", 1, true)];
    place.open().store(&entries, &[]).unwrap();
    let mut dry = place.open_read_only().unwrap();
    assert_eq!(names(&dry.load(SUBDIR).unwrap()), ["a"]);
    assert!(dry.store(&entries, &[]).is_err());
    assert!(dry.ledger(Some("all is well")).is_err());
    assert_eq!(dry.ledger(None).unwrap(), None);
}
