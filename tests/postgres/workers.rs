//! Workers at work, in threads and in processes of their own: each package is read by one of them, those that are killed are
//! missed after a while, and those that are slow are not.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sigindex::cache::postgres::{self, Limits, PostgresCache};
use sigindex::cache::{Cache as _, Claimed, Claims as _, PackageName, Unread};

use crate::postgres::{Server, Sql, Stop};
use crate::{SUBDIR, entry, say, stat};

/// Where a worker in a process of its own goes.
const URL: &str = "SIGINDEX_TEST_WORKER_URL";
const PATIENCE: Duration = Duration::from_secs(120);

fn unread(names: impl Iterator<Item = usize>) -> Vec<Unread> {
    let unread = names.map(|at| Unread {
        package: PackageName {
            subdir: SUBDIR.to_owned(),
            name: format!("p{at}"),
        },
        stat: stat(at as u64),
    });
    unread.collect()
}

fn limits(lease: u64) -> Limits {
    Limits {
        lease: Duration::from_secs(lease),
        ..Limits::default()
    }
}

/// Reads all that there is for it to read, and tells of each package.
fn work(cache: &mut PostgresCache, packages: usize, read: impl Fn(&str)) {
    let known = cache.load(SUBDIR).unwrap();
    let offered = (0..packages).filter(|at| !known.contains_key(&format!("p{at}")));
    cache.offer(&unread(offered)).unwrap();
    loop {
        match cache.claim(&[SUBDIR], 7).unwrap() {
            Claimed::Packages(packages) => {
                let entries = packages.iter().map(|Unread { package, .. }| {
                    read(&package.name);
                    let size = package.name.trim_start_matches('p').parse().unwrap();
                    entry(&package.name, size, true)
                });
                cache.store(&entries.collect::<Vec<_>>(), &[]).unwrap();
            }
            Claimed::Wait => std::thread::sleep(Duration::from_millis(20)),
            Claimed::Over => return,
        }
    }
}

#[test]
fn many_workers_read_each_package_once() {
    let Some(mut server) = Server::start() else {
        return;
    };
    for (database, restart) in [("many", false), ("restarted", true)] {
        let url = server.database(database);
        let reads = Mutex::new(BTreeMap::<String, u32>::new());
        let done = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut cache = postgres::open(&url, "a").unwrap();
                    work(&mut cache, 600, |name| {
                        *reads.lock().unwrap().entry(name.to_owned()).or_default() += 1;
                        done.fetch_add(1, Ordering::Relaxed);
                    });
                });
            }
            if restart {
                let start = Instant::now();
                while done.load(Ordering::Relaxed) < 100 {
                    assert!(start.elapsed() < PATIENCE);
                    std::thread::sleep(Duration::from_millis(5));
                }
                server.stop(Stop::Crash);
                server.go();
            }
        });
        let reads = reads.into_inner().unwrap();
        assert_eq!(reads.len(), 600);
        let twice: Vec<_> = reads.iter().filter(|(_, times)| **times > 1).collect();
        assert!(twice.is_empty(), "{database}: {twice:?}");
        let mut cache = postgres::open(&url, "a").unwrap();
        assert_eq!(cache.load(SUBDIR).unwrap().len(), 600);
    }
}

/// A process that claims packages, says which, and does nothing with them until it is killed.
#[test]
#[ignore = "runs as a process of other tests"]
fn a_worker_that_only_claims() {
    let Some(url) = std::env::var_os(URL) else {
        return;
    };
    let mut cache = postgres::open_with(url.to_str().unwrap(), "a", limits(6)).unwrap();
    cache.load(SUBDIR).unwrap();
    cache.offer(&unread(0..3)).unwrap();
    let claimed = cache.claim(&[SUBDIR], 9).unwrap();
    say(&format!("claimed {claimed:?}"));
    std::thread::sleep(PATIENCE);
}

fn start_worker(url: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([
        "workers::a_worker_that_only_claims",
        "--exact",
        "--ignored",
        "--nocapture",
    ]);
    let command = command
        .env(URL, url)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let said = lines
        .map_while(Result::ok)
        .find(|line| line.contains("claimed"));
    assert!(said.unwrap().contains("Packages"));
    child
}

#[test]
fn a_worker_that_lives_keeps_what_it_has_and_one_that_was_killed_does_not() {
    let Some(server) = Server::start() else {
        return;
    };
    let (url, sql) = (server.database("killed"), Sql::new(&server, "killed"));
    let mut one = start_worker(&url);
    let until = || {
        sql.texts("SELECT alive_until::text FROM sigindex.worker")
            .pop()
    };
    let mut cache = postgres::open_with(&url, "a", limits(6)).unwrap();
    cache.load(SUBDIR).unwrap();
    // It says that it lives, again and again, until its first lease would be over for long.
    let (start, mut seen) = (Instant::now(), Vec::new());
    while seen.len() < 5 {
        assert!(start.elapsed() < PATIENCE, "{seen:?}");
        seen.extend(until());
        seen.dedup();
        assert_eq!(cache.load(SUBDIR).unwrap().len(), 0);
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(cache.claim(&[SUBDIR], 9).unwrap(), Claimed::Wait);
    one.kill().unwrap();
    one.wait().unwrap();
    let start = Instant::now();
    let claimed = loop {
        match cache.claim(&[SUBDIR], 9).unwrap() {
            Claimed::Wait => std::thread::sleep(Duration::from_millis(100)),
            claimed => break claimed,
        }
        assert!(start.elapsed() < PATIENCE);
    };
    assert!(start.elapsed() > Duration::from_secs(1), "it had a lease");
    let Claimed::Packages(packages) = claimed else {
        panic!("{claimed:?}")
    };
    assert_eq!(packages.len(), 3);
}

#[test]
fn nobody_is_dead_because_the_server_was_away() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let url = server.database("away");
    let [mut one, mut two] = [0, 1].map(|_| postgres::open_with(&url, "a", limits(3_600)).unwrap());
    one.load(SUBDIR).unwrap();
    one.offer(&unread(0..2)).unwrap();
    assert!(
        matches!(one.claim(&[SUBDIR], 9).unwrap(), Claimed::Packages(packages) if packages.len() == 2)
    );
    server.stop(Stop::Crash);
    server.go();
    // As if it had been away for longer than any lease.
    let sql = Sql::new(&server, "away");
    sql.run("UPDATE sigindex.worker SET alive_until = clock_timestamp() - interval '1 hour'");
    assert_eq!(two.claim(&[SUBDIR], 9).unwrap(), Claimed::Wait);
    assert_eq!(one.claim(&[SUBDIR], 9).unwrap(), Claimed::Wait);
    one.store(&[entry("p0", 0, true), entry("p1", 1, true)], &[])
        .unwrap();
    assert_eq!(two.claim(&[SUBDIR], 9).unwrap(), Claimed::Over);
}

#[test]
fn a_dead_worker_whose_lease_lies_in_the_future_is_missed_after_a_while() {
    let Some(server) = Server::start() else {
        return;
    };
    let (url, sql) = (server.database("future"), Sql::new(&server, "future"));
    let [mut alive, mut other] = [0, 1].map(|_| postgres::open_with(&url, "a", limits(3)).unwrap());
    alive.load(SUBDIR).unwrap();
    alive.offer(&unread(0..1)).unwrap();
    assert!(matches!(
        alive.claim(&[SUBDIR], 9).unwrap(),
        Claimed::Packages(_)
    ));
    other.load(SUBDIR).unwrap();
    other.offer(&unread(1..3)).unwrap();
    // One that never renews, and the clock was put back since both took their packages.
    sql.run(
        "INSERT INTO sigindex.worker (channel, alive_until) SELECT id, now() FROM sigindex.channel;
         UPDATE sigindex.claim SET ticket = 1, worker = (SELECT id FROM sigindex.worker
            WHERE id NOT IN (SELECT worker FROM sigindex.claim WHERE worker IS NOT NULL)
            ORDER BY alive_until LIMIT 1) WHERE name <> 'p0';
         UPDATE sigindex.worker SET alive_until = clock_timestamp() + interval '1 hour'",
    );
    let held = "SELECT count(*) FROM sigindex.claim WHERE name <> 'p0' AND worker IS NOT NULL";
    assert_eq!(sql.number(held), 2);
    let start = Instant::now();
    let packages = loop {
        match other.claim(&[SUBDIR], 9).unwrap() {
            Claimed::Packages(packages) => break packages,
            claimed => assert_eq!(claimed, Claimed::Wait),
        }
        assert!(start.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(100));
    };
    let names: Vec<&str> = packages
        .iter()
        .map(|one| one.package.name.as_str())
        .collect();
    assert_eq!(names, ["p2", "p1"], "who lives keeps what it has");
    let until = "SELECT count(*) FROM sigindex.worker WHERE alive_until > clock_timestamp() + interval '3 s'";
    assert_eq!(sql.number(until), 0);
}

#[test]
fn what_somebody_else_stored_makes_a_ledger_void() {
    let Some(server) = Server::start() else {
        return;
    };
    let (url, sql) = (server.database("ledger"), Sql::new(&server, "ledger"));
    let [mut one, mut two] = [0, 1].map(|_| postgres::open(&url, "a").unwrap());
    one.store(&[entry("a", 1, true)], &[]).unwrap();
    one.load(SUBDIR).unwrap();
    two.load(SUBDIR).unwrap();
    two.store(&[entry("b", 1, true)], &[]).unwrap();
    // It does not know of b.
    assert_eq!(one.ledger(Some("a alone")).unwrap(), None);
    assert_eq!(one.ledger(None).unwrap(), None);
    one.load(SUBDIR).unwrap();
    assert_eq!(
        one.ledger(Some("a and b")).unwrap().as_deref(),
        Some("a and b")
    );
    assert_eq!(two.ledger(None).unwrap().as_deref(), Some("a and b"));
    // Stored by a transaction that was open while the ledger was written, which could not see that.
    one.load(SUBDIR).unwrap();
    let late = Sql::new(&server, "ledger");
    late.run(
        "BEGIN; INSERT INTO sigindex.stored SELECT id, gen_random_uuid(), pg_current_xact_id(), clock_timestamp()
            FROM sigindex.channel",
    );
    one.ledger(Some("a and b")).unwrap();
    assert_eq!(two.ledger(None).unwrap().as_deref(), Some("a and b"));
    late.run("COMMIT");
    assert_eq!(two.ledger(None).unwrap(), None);
    // Believed, and no more true when the packages are loaded.
    sql.run("TRUNCATE sigindex.stored");
    assert!(one.ledger(None).unwrap().is_some());
    two.store(&[entry("c", 1, true)], &[]).unwrap();
    let error = one.load(SUBDIR).unwrap_err().to_string();
    assert!(error.contains("another run stored packages"), "{error}");
}
