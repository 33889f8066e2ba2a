//! Trouble with the server: it is cut off, restarted, dead, silent, too slow; and what people are told of it.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use sigindex::cache::postgres::{self, Limits, PostgresCache};
use sigindex::cache::{Cache as _, CacheError, Claims as _};

use crate::postgres::{PASSWORD, Server, Sql, Stop};
use crate::{SUBDIR, entry, soon};

/// What went wrong, in words that have no password.
fn said(opened: Result<PostgresCache, CacheError>) -> String {
    let error = opened.map(drop).unwrap_err();
    let said = format!("{error} {error:?}");
    assert!(!said.contains(PASSWORD), "{said}");
    said
}

#[test]
fn a_cut_connection_costs_no_more_than_a_moment() {
    let Some(server) = Server::start() else {
        return;
    };
    let url = server.database("cut");
    let mut cache = postgres::open(&url, "a").unwrap();
    let entries: Vec<_> = (0..3_000)
        .map(|at| entry(&format!("p{at}"), at, true))
        .collect();
    cache.store(&entries, &[]).unwrap();
    assert!(server.cut("cut") > 0);
    assert_eq!(cache.load(SUBDIR).unwrap().len(), 3_000);
    assert!(server.cut("cut") > 0);
    cache.store(&entries[..5], &[]).unwrap();
    let cuts = std::thread::scope(|scope| {
        // So few that it ends on any machine.
        let cutter = scope.spawn(|| {
            let cut = |_| {
                std::thread::sleep(Duration::from_millis(100));
                server.cut("cut")
            };
            (0..15).map(cut).sum::<usize>()
        });
        for round in 0..12_u64 {
            let part = (0..500).map(|at| entry(&format!("r{round}-{at}"), at, true));
            cache.store(&part.collect::<Vec<_>>(), &[]).unwrap();
            let known = cache.load(SUBDIR).unwrap();
            let expected = 3_000 + 500 * (usize::try_from(round).unwrap() + 1);
            assert_eq!(known.len(), expected);
            cache.ledger(Some("all is well")).unwrap();
            assert!(cache.ledger(None).unwrap().is_some());
        }
        cutter.join().unwrap()
    });
    assert!(cuts > 0);
}

#[test]
fn a_server_that_restarts_in_the_middle_is_waited_for() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let url = server.database("again");
    let mut cache = postgres::open(&url, "a").unwrap();
    for (how, name) in [(Stop::Fast, "b"), (Stop::Crash, "c")] {
        cache.store(&[entry(name, 1, true)], &[]).unwrap();
        server.stop(how);
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| {
                cache.store(&[entry("a", 2, true)], &[]).unwrap();
                cache.claim(&[SUBDIR], 1).unwrap();
                cache.load(SUBDIR).unwrap().len()
            });
            // It is asked while nobody is there.
            std::thread::sleep(Duration::from_secs(1));
            server.go();
            assert!(asked.join().unwrap() >= 2);
        });
        let known = cache.load(SUBDIR).unwrap();
        assert!(known.contains_key("a") && known.contains_key(name));
    }
}

#[test]
fn a_dead_server_is_said_to_be_dead() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let url = server.database("dead");
    let mut cache = postgres::open_with(&url, "a", soon()).unwrap();
    cache.store(&[entry("a", 1, true)], &[]).unwrap();
    server.stop(Stop::Fast);
    for failed in [
        cache.load(SUBDIR).map(drop),
        cache.store(&[entry("b", 1, true)], &[]),
        cache.claim(&[SUBDIR], 1).map(drop),
    ] {
        let error = failed.unwrap_err().to_string();
        assert!(
            error.contains(&format!(
                "postgres://tester@127.0.0.1:{}/dead",
                server.port()
            )),
            "{error}"
        );
        assert!(error.contains("see that the server runs"), "{error}");
        assert!(!error.contains(PASSWORD), "{error}");
    }
    let error = said(postgres::open_with(&url, "a", soon()));
    assert!(error.contains("onnection refused"), "{error}");
    server.go();
    // Nothing is lost, and the same one goes on.
    assert_eq!(cache.load(SUBDIR).unwrap().len(), 1);
    // One that is there and says nothing.
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = silent.local_addr().unwrap().port();
    let start = Instant::now();
    let error = said(postgres::open_with(
        &format!("postgres://me:{PASSWORD}@127.0.0.1:{port}/a"),
        "a",
        soon(),
    ));
    assert!(
        error.contains("no answer") || error.contains("timed out"),
        "{error}"
    );
    assert!(
        start.elapsed() < Duration::from_secs(60),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn a_wrong_password_is_said_at_once_and_not_repeated() {
    let Some(server) = Server::start() else {
        return;
    };
    let url = server.database("wrong").replace(PASSWORD, "another-word");
    let error = said(postgres::open(&url, "a"));
    assert!(error.contains("password authentication failed"), "{error}");
    assert!(error.contains("$PGPASSWORD"), "{error}");
    assert!(!error.contains("another-word"), "{error}");
}

#[test]
fn statements_and_locks_have_limits_in_time() {
    let Some(server) = Server::start() else {
        return;
    };
    let url = server.database("slow");
    let limits = Limits {
        statement: Duration::from_millis(700),
        lock: Duration::from_millis(200),
        retry: Duration::from_millis(800),
        ..Limits::default()
    };
    let mut cache = postgres::open_with(&url, "a", limits).unwrap();
    cache.store(&[entry("a", 1, true)], &[]).unwrap();
    let sql = Sql::new(&server, "slow");
    sql.run("BEGIN; SELECT * FROM sigindex.package FOR UPDATE");
    let error = cache
        .store(&[entry("a", 2, true)], &[])
        .unwrap_err()
        .to_string();
    assert!(error.contains("lock timeout"), "{error}");
    sql.run("COMMIT");
    cache.store(&[entry("a", 2, true)], &[]).unwrap();
    sql.run(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN NEW; END';
         CREATE TRIGGER slow BEFORE UPDATE ON sigindex.package FOR EACH ROW EXECUTE FUNCTION slow()",
    );
    let error = cache.store(&[entry("a", 3, true), entry("b", 1, true)], &[]);
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("statement timeout") && error.contains("time limit"),
        "{error}"
    );
    sql.run("DROP TRIGGER slow ON sigindex.package");
    // All or nothing.
    let known = cache.load(SUBDIR).unwrap();
    assert_eq!(known.len(), 1);
    assert_eq!(known["a"].stat.size, 2);
}
