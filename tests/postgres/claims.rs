//! The agreement among workers, step by step and in any order: what is up, who holds it, what is finished, and what becomes
//! of those that are taken for dead.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sigindex::cache::postgres::{self, PostgresCache};
use sigindex::cache::{Cache as _, Claimed, Claims as _, PackageName, Unread};

use sigindex::storage::Stat;

use crate::postgres::{Server, Sql};
use crate::relay::Relay;
use crate::{SUBDIR, entry, stat};

fn package(name: &str) -> PackageName {
    PackageName {
        subdir: SUBDIR.to_owned(),
        name: name.to_owned(),
    }
}

fn unread(name: &str, size: u64) -> Unread {
    Unread {
        package: package(name),
        stat: stat(size),
    }
}

/// Packages that were claimed, whatever they looked like to whoever put them up.
fn packages(names: &[&str]) -> Claimed {
    Claimed::Packages(names.iter().map(|name| unseen(package(name))).collect())
}

fn unseen(package: PackageName) -> Unread {
    let stat = Stat::default();
    Unread { package, stat }
}

/// Claims some, and looks at their names.
fn claim(cache: &mut PostgresCache, subdirs: &[&str], most: usize) -> Claimed {
    match cache.claim(subdirs, most).unwrap() {
        Claimed::Packages(all) => {
            Claimed::Packages(all.into_iter().map(|one| unseen(one.package)).collect())
        }
        claimed => claimed,
    }
}

/// What happens when a worker's time is over and another one looks.
fn lapse(sql: &Sql, channel: &str) {
    sql.run(&format!(
        "DELETE FROM sigindex.worker WHERE channel = (SELECT id FROM sigindex.channel WHERE name = '{channel}')"
    ));
}

/// A channel of its own in one database, opened by several.
fn open(url: &str, channel: &str) -> PostgresCache {
    let mut cache = postgres::open(url, channel).unwrap();
    cache.load(SUBDIR).unwrap();
    cache
}

#[test]
fn what_is_put_up_is_taken_once_the_largest_first() {
    let Some(server) = Server::start() else {
        return;
    };
    let (url, sql) = (server.database("claims"), Sql::new(&server, "claims"));
    taking(&url);
    other_subdirs(&url);
    finishing(&url);
    another_file(&url);
    back_from_the_dead(&url, &sql);
    forgotten(&url, &sql);
    an_older_file(&url, &sql);
}

/// The server did it and the connection broke before it said so: what is asked again is told again.
#[test]
fn a_claim_whose_answer_is_lost_is_the_same_claim_again() {
    let Some(server) = Server::start() else {
        return;
    };
    let (url, relay) = (server.database("unheard"), Relay::to(server.port()));
    let [direct, relayed] = [server.port(), relay.port()].map(|port| format!(":{port}/"));
    let mut cache = open(&url.replace(&direct, &relayed), "unheard");
    cache.offer(&[unread("a", 1), unread("b", 2)]).unwrap();
    relay.swallow_an_answer();
    assert_eq!(claim(&mut cache, &[SUBDIR], 1), packages(&["b"]));
    assert!(relay.has_swallowed());
    assert_eq!(claim(&mut cache, &[SUBDIR], 1), packages(&["a"]));
}

/// A row that another transaction changes has another place in its table afterwards.
#[test]
fn a_package_whose_row_moves_while_it_is_finished_is_finished() {
    let Some(server) = Server::start() else {
        return;
    };
    let url = server.database("moves");
    let [sql, look] = [(); 2].map(|()| Sql::new(&server, "moves"));
    let mut cache = open(&url, "moves");
    cache.offer(&[unread("a", 1)]).unwrap();
    assert_eq!(claim(&mut cache, &[SUBDIR], 1), packages(&["a"]));
    sql.run("BEGIN; UPDATE sigindex.claim SET size = size");
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    std::thread::scope(|scope| {
        let stored = scope.spawn(|| cache.store(&[entry("a", 1, true)], &[]).unwrap());
        while !stored.is_finished() && look.number(waiting) == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(!stored.is_finished(), "it waits for the row");
        sql.run("COMMIT");
        stored.join().unwrap();
    });
    assert_eq!(claim(&mut cache, &[SUBDIR], 1), Claimed::Over);
}

fn taking(url: &str) {
    let [mut one, mut two] = [open(url, "taking"), open(url, "taking")];
    assert_eq!(claim(&mut one, &[SUBDIR], 5), Claimed::Over);
    let all = [
        unread("a", 1),
        unread("b", 3),
        unread("c", 2),
        unread("b", 3),
    ];
    one.offer(&all).unwrap();
    two.offer(&all).unwrap();
    assert_eq!(claim(&mut one, &[SUBDIR], 0), Claimed::Wait);
    assert_eq!(claim(&mut one, &[SUBDIR], 2), packages(&["b", "c"]));
    assert_eq!(claim(&mut two, &[SUBDIR], 2), packages(&["a"]));
    assert_eq!(claim(&mut two, &[SUBDIR], 2), Claimed::Wait);
    // What is up stays in whosever hands.
    two.offer(&all).unwrap();
    assert_eq!(claim(&mut two, &[SUBDIR], 2), Claimed::Wait);
    // Who ends leaves the rest to others at once.
    drop(one);
    assert_eq!(claim(&mut two, &[SUBDIR], 1), packages(&["b"]));
    let mut elsewhere = open(url, "another channel");
    assert_eq!(claim(&mut elsewhere, &[SUBDIR], 5), Claimed::Over);
}

/// Packages of subdirs that a worker does not look at are neither its own nor waited for.
fn other_subdirs(url: &str) {
    let [mut one, mut two] = [open(url, "other subdirs"), open(url, "other subdirs")];
    let mut elsewhere = unread("b", 2);
    elsewhere.package.subdir = "osx-64".to_owned();
    one.offer(&[unread("a", 1), elsewhere.clone()]).unwrap();
    assert_eq!(claim(&mut two, &[SUBDIR], 5), packages(&["a"]));
    two.store(&[entry("a", 1, true)], &[]).unwrap();
    assert_eq!(claim(&mut two, &[SUBDIR], 5), Claimed::Over);
    let others = Claimed::Packages(vec![unseen(elsewhere.package)]);
    assert_eq!(claim(&mut one, &[SUBDIR, "osx-64"], 5), others);
    assert_eq!(claim(&mut two, &[SUBDIR], 5), Claimed::Over);
    assert_eq!(claim(&mut two, &["osx-64"], 5), Claimed::Wait);
}

fn finishing(url: &str) {
    let [mut one, mut two] = [open(url, "finishing"), open(url, "finishing")];
    let all = [unread("a", 1), unread("b", 2)];
    one.offer(&all).unwrap();
    assert_eq!(claim(&mut one, &[SUBDIR], 5), packages(&["b", "a"]));
    one.store(&[entry("a", 1, true)], &[]).unwrap();
    assert_eq!(claim(&mut two, &[SUBDIR], 5), Claimed::Wait);
    // Not two's to finish.
    two.finish(&[package("b")]).unwrap();
    assert_eq!(claim(&mut two, &[SUBDIR], 5), Claimed::Wait);
    one.finish(&[package("b")]).unwrap();
    assert_eq!(claim(&mut two, &[SUBDIR], 5), Claimed::Over);
    // Neither could know.
    two.offer(&all).unwrap();
    one.offer(&all).unwrap();
    assert_eq!(claim(&mut two, &[SUBDIR], 5), Claimed::Over);
    // Who comes later, knows, and puts it up nevertheless wants it read again.
    two = open(url, "finishing");
    two.offer(&all[..1]).unwrap();
    // A run that takes no part finishes what nobody holds, where it is just that file.
    let mut index = open(url, "finishing");
    index.store(&[entry("a", 1, true)], &[]).unwrap();
    assert_eq!(claim(&mut two, &[SUBDIR], 5), Claimed::Over);
    two = open(url, "finishing");
    two.offer(&all[..1]).unwrap();
    index.store(&[entry("a", 7, true)], &[]).unwrap();
    assert_eq!(claim(&mut two, &[SUBDIR], 5), packages(&["a"]));
    index.store(&[entry("a", 1, true)], &[]).unwrap();
    assert_eq!(claim(&mut one, &[SUBDIR], 5), Claimed::Wait);
}

/// Where the file changes, it is another offer.
fn another_file(url: &str) {
    let [mut one, mut two] = [open(url, "another file"), open(url, "another file")];
    one.offer(&[unread("a", 1)]).unwrap();
    two.offer(&[unread("a", 2)]).unwrap();
    assert_eq!(claim(&mut one, &[SUBDIR], 5), packages(&["a"]));
    // It held 2, and 3 is seen meanwhile.
    two.offer(&[unread("a", 3)]).unwrap();
    assert_eq!(claim(&mut two, &[SUBDIR], 5), Claimed::Wait);
    one.store(&[entry("a", 2, true)], &[]).unwrap();
    assert_eq!(claim(&mut two, &[SUBDIR], 5), packages(&["a"]));
    // Found changed by whoever has it: what was read counts.
    two.store(&[entry("a", 4, true)], &[]).unwrap();
    assert_eq!(claim(&mut one, &[SUBDIR], 5), Claimed::Over);
    one.offer(&[unread("a", 4)]).unwrap();
    assert_eq!(claim(&mut one, &[SUBDIR], 5), Claimed::Over);
    one.offer(&[unread("a", 5)]).unwrap();
    assert_eq!(claim(&mut one, &[SUBDIR], 5), packages(&["a"]));
    // Seen by another, and read by the one who has it.
    two.offer(&[unread("a", 6)]).unwrap();
    one.store(&[entry("a", 6, true)], &[]).unwrap();
    assert_eq!(claim(&mut two, &[SUBDIR], 5), Claimed::Over);
    one.offer(&[unread("b", 1)]).unwrap();
    assert_eq!(claim(&mut one, &[SUBDIR], 5), packages(&["b"]));
    two.offer(&[unread("b", 2)]).unwrap();
    one.finish(&[package("b")]).unwrap();
    assert_eq!(claim(&mut two, &[SUBDIR], 5), packages(&["b"]));
}

/// A worker that was paused, taken for dead, and comes back.
fn back_from_the_dead(url: &str, sql: &Sql) {
    let [mut one, mut two] = [open(url, "dead"), open(url, "dead")];
    one.offer(&[unread("a", 3), unread("b", 2), unread("c", 1)])
        .unwrap();
    assert_eq!(claim(&mut one, &[SUBDIR], 2), packages(&["a", "b"]));
    lapse(sql, "dead");
    assert_eq!(claim(&mut two, &[SUBDIR], 1), packages(&["a"]));
    // It does not know yet. Neither does it end what another one has, nor take what it lost for its own.
    one.finish(&[package("a"), package("b")]).unwrap();
    one.store(&[entry("b", 2, true)], &[]).unwrap();
    assert_eq!(claim(&mut one, &[SUBDIR], 5), packages(&["c"]));
    assert_eq!(claim(&mut one, &[SUBDIR], 5), Claimed::Wait);
    one.store(&[entry("a", 3, false)], &[]).unwrap();
    two.store(&[entry("a", 3, true), entry("c", 1, true)], &[])
        .unwrap();
    // One's again, under its new name.
    assert_eq!(claim(&mut two, &[SUBDIR], 5), Claimed::Wait);
    one.store(&[entry("c", 1, true)], &[]).unwrap();
    assert_eq!(claim(&mut two, &[SUBDIR], 5), Claimed::Over);
    let known = two.load(SUBDIR).unwrap();
    assert_eq!(known["a"], entry("a", 3, true).known);
    assert_eq!(known.len(), 3);
}

/// Where nobody is left, who comes puts up what is there then.
fn forgotten(url: &str, sql: &Sql) {
    let mut one = open(url, "forgotten");
    one.offer(&[unread("a", 1)]).unwrap();
    lapse(sql, "forgotten");
    let mut two = open(url, "forgotten");
    assert_eq!(claim(&mut two, &[SUBDIR], 1), Claimed::Over);
}

/// What somebody read long ago gives way to what others agreed on meanwhile.
fn an_older_file(url: &str, sql: &Sql) {
    let [mut one, mut two] = [open(url, "older"), open(url, "older")];
    one.offer(&[unread("a", 1), unread("b", 1)]).unwrap();
    assert_eq!(claim(&mut one, &[SUBDIR], 2), packages(&["a", "b"]));
    lapse(sql, "older");
    two.offer(&[unread("a", 2), unread("b", 2)]).unwrap();
    assert_eq!(claim(&mut two, &[SUBDIR], 1), packages(&["a"]));
    two.store(&[entry("a", 2, true)], &[]).unwrap();
    assert_eq!(claim(&mut two, &[SUBDIR], 1), packages(&["b"]));
    // One is finished and one is in two's hands, both as other files.
    one.store(&[entry("a", 1, true), entry("b", 1, true)], &[])
        .unwrap();
    let known = two.load(SUBDIR).unwrap();
    assert_eq!(known["a"].stat, stat(2));
    assert!(!known.contains_key("b"));
    assert_eq!(claim(&mut one, &[SUBDIR], 1), Claimed::Wait);
    // Once it looked again, it knows what it does.
    one.load(SUBDIR).unwrap();
    one.store(&[entry("a", 1, true)], &[]).unwrap();
    assert_eq!(two.load(SUBDIR).unwrap()["a"].stat, stat(1));
}

/// One step of one of the workers.
#[derive(Debug, Clone)]
enum Step {
    Look(usize),
    Claim(usize, usize),
    Store(usize, usize),
    Refuse(usize),
    Change(usize),
    Lapse(usize),
    ComeBack(usize),
}

const WORKERS: usize = 3;
const PACKAGES: usize = 8;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (worker, some) = (0..WORKERS, 1..5_usize);
    let step = prop_oneof![
        3 => worker.clone().prop_map(Step::Look),
        5 => (worker.clone(), some.clone()).prop_map(|(worker, most)| Step::Claim(worker, most)),
        5 => (worker.clone(), some).prop_map(|(worker, most)| Step::Store(worker, most)),
        1 => worker.clone().prop_map(Step::Refuse),
        2 => (0..PACKAGES).prop_map(Step::Change),
        2 => worker.prop_map(Step::Lapse),
        2 => (0..9_usize).prop_map(Step::ComeBack),
    ];
    proptest::collection::vec(step, 1..40)
}

/// A worker, what it holds with the file that it read of it, and its name in the database.
struct Worker {
    cache: PostgresCache,
    holds: BTreeMap<String, u64>,
}

struct World<'w> {
    url: &'w str,
    sql: &'w Sql,
    channel: String,
    workers: Vec<Worker>,
    /// Those that were taken for dead, and don't know it.
    ghosts: Vec<Worker>,
    /// The files: their sizes tell one from another.
    files: BTreeMap<String, u64>,
    refused: BTreeSet<(String, u64)>,
}

impl World<'_> {
    fn worker(&self) -> Worker {
        Worker {
            cache: postgres::open(self.url, &self.channel).unwrap(),
            holds: BTreeMap::new(),
        }
    }

    fn look(&mut self, at: usize) {
        let known = self.workers[at].cache.load(SUBDIR).unwrap();
        let is_read = |name: &String, size: u64| {
            let known = known.get(name).is_some_and(|known| known.stat.size == size);
            known || self.refused.contains(&(name.clone(), size))
        };
        let files = self
            .files
            .iter()
            .filter(|&(name, &size)| !is_read(name, size));
        let unread: Vec<_> = files.map(|(name, &size)| unread(name, size)).collect();
        self.workers[at].cache.offer(&unread).unwrap();
    }

    /// Whether there is more to do.
    fn claim(&mut self, at: usize, most: usize) -> bool {
        let claimed = self.workers[at].cache.claim(&[SUBDIR], most).unwrap();
        let Claimed::Packages(packages) = claimed else {
            let held = self.workers.iter().any(|worker| !worker.holds.is_empty());
            assert!(
                !held || claimed == Claimed::Wait,
                "it is not over: some are held"
            );
            return claimed == Claimed::Wait;
        };
        assert!(!packages.is_empty() && packages.len() <= most);
        for Unread { package, .. } in packages {
            let name = package.name;
            let holder = self
                .workers
                .iter()
                .position(|worker| worker.holds.contains_key(&name));
            assert_eq!(holder, None, "{name} has two living holders");
            let size = self.files[&name];
            self.workers[at].holds.insert(name, size);
        }
        true
    }

    fn store(worker: &mut Worker, most: usize) {
        let some: Vec<_> = worker.holds.keys().take(most).cloned().collect();
        let some = some.into_iter().map(|name| {
            let size = worker.holds.remove(&name).unwrap();
            entry(&name, size, true)
        });
        let some: Vec<_> = some.collect();
        worker.cache.store(&some, &[]).unwrap();
    }

    fn refuse(&mut self, at: usize) {
        let worker = &mut self.workers[at];
        if let Some((name, size)) = worker.holds.pop_first() {
            worker.cache.finish(&[package(&name)]).unwrap();
            self.refused.insert((name, size));
        }
    }

    /// Takes a worker for dead; it goes on, and another one comes.
    fn lapse(&mut self, at: usize) {
        // Found by what only it holds: a ticket tells nothing of its worker.
        let Some(name) = self.workers[at].holds.keys().next().cloned() else {
            return;
        };
        self.sql.run(&format!(
            "DELETE FROM sigindex.worker WHERE id = (SELECT worker FROM sigindex.claim
                WHERE name = '{name}' AND channel = (SELECT id FROM sigindex.channel WHERE name = '{}'))",
            self.channel
        ));
        let new = self.worker();
        let ghost = std::mem::replace(&mut self.workers[at], new);
        self.ghosts.push(ghost);
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Look(at) => self.look(at),
            Step::Claim(at, most) => drop(self.claim(at, most)),
            Step::Store(at, most) => World::store(&mut self.workers[at], most),
            Step::Refuse(at) => self.refuse(at),
            Step::Change(at) => *self.files.get_mut(&format!("p{at}")).unwrap() += 100,
            Step::Lapse(at) => self.lapse(at),
            Step::ComeBack(at) => {
                if let Some(ghost) = self.ghosts.get_mut(at) {
                    World::store(ghost, 9);
                }
            }
        }
    }

    /// Whoever is left does what is left. Ghosts come back as late as can be.
    fn end(mut self) {
        for at in 0..WORKERS {
            self.look(at);
        }
        let mut rounds = 0;
        while self.claim(rounds % WORKERS, 3) {
            World::store(&mut self.workers[rounds % WORKERS], 9);
            rounds += 1;
            assert!(rounds < 100, "it does not end");
        }
        for ghost in &mut self.ghosts {
            World::store(ghost, 9);
        }
        let known = self.worker().cache.load(SUBDIR).unwrap();
        for (name, size) in &self.files {
            if !self.refused.contains(&(name.clone(), *size)) {
                let found = known.get(name).map(|known| known.stat.size);
                assert_eq!(found, Some(*size), "{name} is lost");
            }
        }
    }
}

#[test]
fn no_two_living_workers_hold_a_package_and_none_is_lost() {
    let Some(server) = Server::start() else {
        return;
    };
    let (url, sql) = (server.database("any_order"), Sql::new(&server, "any_order"));
    let mut cases = 0;
    let config = Config {
        cases: 24,
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let number = std::cell::RefCell::new(&mut cases);
    let done = runner.run(&steps(), |steps| {
        **number.borrow_mut() += 1;
        let channel = format!("channel {}", number.borrow());
        let mut world = World {
            url: &url,
            sql: &sql,
            channel,
            workers: Vec::new(),
            ghosts: Vec::new(),
            files: (0..PACKAGES)
                .map(|at| (format!("p{at}"), at as u64))
                .collect(),
            refused: BTreeSet::new(),
        };
        world.workers = (0..WORKERS).map(|_| world.worker()).collect();
        steps.iter().for_each(|step| world.take(step));
        world.end();
        Ok(())
    });
    done.unwrap_or_else(|error| panic!("{error}"));
}
