//! The schema: how it comes to be, and who may use it.

use std::time::Duration;

use sigindex::cache::postgres::{self, Limits};
use sigindex::cache::{Cache as _, Claimed, Claims as _, PackageName, Unread};

use crate::postgres::{ROLE, Server, Sql};
use crate::{SUBDIR, entry, stat};

#[test]
fn workers_that_begin_at_once_make_the_schema_together() {
    let Some(server) = Server::start() else {
        return;
    };
    for round in 0..3 {
        let url = server.database(&format!("at_once_{round}"));
        let database = format!("at_once_{round}");
        std::thread::scope(|scope| {
            let begin = |name: &'static str| {
                let url = &url;
                move || {
                    let mut cache = postgres::open(url, name).unwrap();
                    cache.store(&[entry(name, 1, true)], &[]).unwrap();
                }
            };
            let begun = ["a", "b", "c", "c"].map(|name| scope.spawn(begin(name)));
            for one in begun {
                one.join().unwrap();
            }
        });
        let sql = Sql::new(&server, &database);
        assert_eq!(sql.number("SELECT count(*) FROM sigindex.migration"), 1);
        // Each channel for itself.
        assert_eq!(sql.number("SELECT count(*) FROM sigindex.channel"), 3);
        let mut cache = postgres::open(&url, "b").unwrap();
        assert!(cache.load(SUBDIR).unwrap().keys().eq(["b"]));
    }
}

#[test]
fn what_a_database_is_and_has_is_looked_at_first() {
    let Some(server) = Server::start() else {
        return;
    };
    let url = server.database("newer");
    assert!(postgres::open_read_only(&url, "a").unwrap().is_none());
    let sql = Sql::new(&server, "newer");
    let schemas = "SELECT count(*) FROM pg_namespace WHERE nspname = 'sigindex'";
    assert_eq!(sql.number(schemas), 0, "a dry run makes nothing");
    drop(postgres::open(&url, "a").unwrap());
    assert!(postgres::open_read_only(&url, "a").unwrap().is_some());
    assert!(postgres::open_read_only(&url, "b").unwrap().is_none());
    sql.run("INSERT INTO sigindex.migration VALUES (99)");
    for error in [
        postgres::open(&url, "a").unwrap_err(),
        postgres::open_read_only(&url, "a").unwrap_err(),
    ] {
        let error = error.to_string();
        assert!(
            error.contains("a newer sigindex made its schema"),
            "{error}"
        );
        assert!(error.contains("version 99"), "{error}");
    }
    let create = "CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'";
    Sql::new(&server, "postgres").run(create);
    let error = postgres::open(&server.url("latin"), "a").unwrap_err();
    assert!(error.to_string().contains("LATIN1"), "{error}");
    let error = postgres::open(&server.url("none"), "a").unwrap_err();
    assert!(error.to_string().contains("createdb"), "{error}");
}

#[test]
fn a_schema_that_is_not_as_sigindex_made_it_is_called_so() {
    let Some(server) = Server::start() else {
        return;
    };
    let foreign = [
        "CREATE TABLE sigindex.migration (version int)",
        "CREATE TABLE sigindex.migration AS SELECT -1 AS version",
        "CREATE TABLE sigindex.migration AS SELECT 0 AS version",
        "CREATE TABLE sigindex.migration AS SELECT 1 AS version",
        "CREATE TABLE sigindex.migration AS SELECT 1::bigint AS version",
        "CREATE TABLE sigindex.migration AS SELECT '1'::text AS version",
        "CREATE TABLE sigindex.migration (v int)",
        "CREATE TABLE sigindex.channel (a int)",
    ];
    let foreign = foreign.map(|made| format!("CREATE SCHEMA sigindex; {made}"));
    let changed = [
        "channel ALTER id TYPE bigint",
        "channel RENAME name TO title",
    ];
    let changed = changed.map(|change| format!("ALTER TABLE sigindex.{change}"));
    for (at, made) in foreign.iter().chain(&changed).enumerate() {
        let database = format!("foreign_{at}");
        let (url, sql) = (server.database(&database), Sql::new(&server, &database));
        if made.starts_with("ALTER") {
            drop(postgres::open(&url, "a").unwrap());
        }
        sql.run(made);
        for error in [
            postgres::open(&url, "a").map(drop).unwrap_err(),
            postgres::open_read_only(&url, "a").map(drop).unwrap_err(),
        ] {
            let error = error.to_string();
            assert!(
                error.contains("the schema sigindex is not as sigindex made it"),
                "{made}: {error}"
            );
        }
    }
    // One that is empty serves.
    let (url, sql) = (server.database("empty"), Sql::new(&server, "empty"));
    sql.run("CREATE SCHEMA sigindex");
    assert!(postgres::open_read_only(&url, "a").unwrap().is_none());
    drop(postgres::open(&url, "a").unwrap());
}

#[test]
fn a_worker_needs_no_more_than_the_docs_say() {
    let Some(server) = Server::start() else {
        return;
    };
    let url = server.database("grants");
    let sql = Sql::new(&server, "grants");
    sql.run("CREATE ROLE worker LOGIN PASSWORD 'a-word'");
    sql.run("REVOKE ALL ON SCHEMA public FROM PUBLIC");
    let of_worker = server.socket_url("grants").replace(ROLE, "worker");
    let error = postgres::open(&of_worker, "a").unwrap_err().to_string();
    assert!(error.contains("permission denied"), "{error}");
    drop(postgres::open(&url, "a").unwrap());
    let error = postgres::open(&of_worker, "a").unwrap_err().to_string();
    assert!(error.contains("grant this one USAGE"), "{error}");
    sql.run(
        "GRANT USAGE ON SCHEMA sigindex TO worker;
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA sigindex TO worker",
    );
    let mut cache = postgres::open(&of_worker, "b").unwrap();
    cache.load(SUBDIR).unwrap();
    cache.ledger(Some("all is well")).unwrap();
    let versions = [("root".to_owned(), 7)].into();
    cache
        .seen(&versions, sigindex::cache::Seen::Higher)
        .unwrap();
    let package = PackageName {
        subdir: SUBDIR.to_owned(),
        name: "a".to_owned(),
    };
    let unread = Unread {
        package: package.clone(),
        stat: stat(1),
    };
    cache.offer(std::slice::from_ref(&unread)).unwrap();
    assert_eq!(
        cache.claim(&[SUBDIR], 5).unwrap(),
        Claimed::Packages(vec![unread])
    );
    cache.finish(&[package]).unwrap();
    cache.store(&[entry("a", 1, true)], &[]).unwrap();
    assert_eq!(cache.claim(&[SUBDIR], 5).unwrap(), Claimed::Over);
    let gone = sigindex::cache::Gone {
        subdir: SUBDIR.to_owned(),
        name: "a".to_owned(),
    };
    cache.store(&[], &[gone]).unwrap();
}

#[test]
fn what_is_old_is_removed_when_a_worker_begins() {
    let Some(server) = Server::start() else {
        return;
    };
    let url = server.database("old");
    let sql = Sql::new(&server, "old");
    let mut cache = postgres::open_with(
        &url,
        "a",
        Limits {
            lease: Duration::from_secs(20),
            ..Limits::default()
        },
    )
    .unwrap();
    let unread = ["a", "b"].map(|name| Unread {
        package: PackageName {
            subdir: SUBDIR.to_owned(),
            name: name.to_owned(),
        },
        stat: stat(1),
    });
    cache.offer(&unread).unwrap();
    cache.store(&[entry("a", 1, true)], &[]).unwrap();
    let counts = || {
        ["claim", "stored"]
            .map(|table| sql.number(&format!("SELECT count(*) FROM sigindex.{table}")))
    };
    assert_eq!(counts(), [2, 1]);
    drop(postgres::open(&url, "a").unwrap());
    assert_eq!(counts(), [2, 1]);
    sql.run("UPDATE sigindex.claim SET finished = finished - interval '25 hours'");
    sql.run("UPDATE sigindex.stored SET stored = stored - interval '25 hours'");
    drop(postgres::open(&url, "b").unwrap());
    assert_eq!(counts(), [2, 1], "another channel's");
    drop(postgres::open(&url, "a").unwrap());
    assert_eq!(counts(), [1, 0], "what is not finished stays");
}
