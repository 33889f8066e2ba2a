//! Workers that are killed, a database that crashes, a store that answers as it pleases: all at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use sigindex::cache::postgres as cache;
use sigindex::storage::is_object_url;

use crate::postgres::{Server, Sql, Stop};
use crate::proxy::{Manners, Proxy};
use crate::s3;
use crate::scene::Scene;
use crate::scene::builder::Random;
use crate::{asked, assert_same, call, fill, in_folder, index_files, of_one_machine};

/// The database of the cache.
const DATABASE: &str = "fleet";

/// How many packages lie in a folder, and in object storage.
const PACKAGES: [u64; 2] = [600, 60];

/// How many workers there are at any moment.
const WORKERS: usize = 4;

/// Of so many requests to the store one goes wrong.
const FAULTS: u64 = 40;

/// The longest time between two kills on a folder and in object storage, in milliseconds: as many as there are packages,
/// within these. A worker has to list the channel again, for which the test servers take long.
const BETWEEN_KILLS: [(u64, u64); 2] = [(200, 4_000), (2_000, 20_000)];

/// Writes down who stored what, in the database itself: even what changes nothing, and even what a killed one stored.
const WITNESS: &str = "CREATE TABLE public.witness (subdir text, name text, worker text);
    CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO public.witness VALUES (NEW.subdir, NEW.name, current_setting('application_name'));
        RETURN NEW;
    END $$;
    CREATE TRIGGER note BEFORE INSERT ON sigindex.package FOR EACH ROW EXECUTE FUNCTION public.note()";

/// What lies in a channel, by path.
type Files = BTreeMap<String, Vec<u8>>;

/// Those who work on a channel, and what becomes of them.
struct Fleet<'a> {
    scene: &'a Scene,
    endpoint: String,
    channel: String,
    cache: String,
    working: Vec<(usize, Child)>,
    started: usize,
    killed: u64,
    /// What those read who lived to tell.
    opened: Vec<String>,
}

impl Drop for Fleet<'_> {
    /// Where a test fails, nobody works on.
    fn drop(&mut self) {
        for (_, worker) in &mut self.working {
            let _ = worker.kill();
            let _ = worker.wait();
        }
    }
}

impl Fleet<'_> {
    fn start(&mut self) {
        let number = self.started;
        // Each has a name of its own, so that what it stored is known for its.
        let cache = format!("{}&application_name=worker{number}", self.cache);
        let words = [
            &*self.channel,
            "--json",
            "--cache",
            &cache,
            "--threads",
            "1",
        ];
        // A report can be longer than a pipe holds.
        let report = File::create(self.scene.path(&format!("report{number}"))).unwrap();
        let mut call = call(self.scene, &self.endpoint, "scan", &words);
        let command = call.command().stdout(report).stderr(Stdio::piped());
        self.working.push((number, command.spawn().unwrap()));
        self.started += 1;
    }

    fn kill(&mut self, which: usize) {
        let (_, mut worker) = self.working.swap_remove(which);
        let _ = worker.kill();
        worker.wait().unwrap();
        self.killed += 1;
        self.start();
    }

    /// Hears those that ended by themselves.
    fn look(&mut self) {
        let has_ended = |one: &mut (usize, Child)| one.1.try_wait().unwrap().is_some();
        while let Some(at) = self.working.iter_mut().position(has_ended) {
            let (number, worker) = self.working.swap_remove(at);
            let ended = worker.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&ended.stderr);
            assert_eq!(ended.status.code(), Some(0), "worker {number}: {said}");
            let report = self.scene.json(&format!("report{number}"));
            assert_eq!(report["refused"], serde_json::json!([]), "worker {number}");
            let opened: Vec<String> = serde_json::from_value(report["opened"].clone()).unwrap();
            self.opened.extend(opened);
        }
    }

    /// Nobody read to its end what somebody else had read to its end.
    fn assert_divided(&self, sql: &Sql, packages: u64) {
        let mut seen = BTreeSet::new();
        for path in &self.opened {
            assert!(seen.insert(path), "{path} was read by two");
        }
        let twice = sql.texts(
            "SELECT concat(subdir, '/', name, ' by ', string_agg(DISTINCT worker, ', ')) FROM public.witness
            GROUP BY subdir, name HAVING count(DISTINCT worker) > 1",
        );
        assert_eq!(twice, [""; 0], "read to the end by more than one");
        let all = "SELECT count(*) FROM (SELECT DISTINCT subdir, name FROM public.witness) AS one";
        assert_eq!(sql.number(all).unsigned_abs(), packages, "each by one");
    }
}

/// What is remembered is the whole channel; what is published of it is what one run on one machine publishes of the same
/// packages and signatures, and it is valid.
fn assert_whole(fleet: &Fleet<'_>, packages: u64, all: impl Fn() -> Files) {
    let run = |verb: &str, more: &[&str]| {
        let words = [&[&*fleet.channel], more].concat();
        call(fleet.scene, &fleet.endpoint, verb, &words)
            .run()
            .exits(0)
    };
    run("scan", &["--json", "--cache", &fleet.cache]).counts("opened", 0);
    run("publish", &["--json", "--all", "--cache", &fleet.cache])
        .counts("opened", 0)
        .counts("kept", packages);
    run("verify", &["-q"]);
    let all = all();
    let expected = of_one_machine(&all);
    assert_same(&index_files(all), &expected);
}

/// Kills one of them now and then, and restarts the database when a third and when two thirds are done; until all ended.
fn storm(fleet: &mut Fleet<'_>, database: &mut Server, packages: u64) {
    let (least, most) = BETWEEN_KILLS[usize::from(is_object_url(&fleet.channel))];
    let mut random = Random::new(asked("SIGINDEX_SEED", 1));
    (0..WORKERS).for_each(|_| fleet.start());
    let longest = packages.clamp(least, most);
    // Each that is killed holds something for as long as a lease lasts.
    let most_killed = 20 + packages / 8;
    let mut pause = || Duration::from_millis(random.below(longest));
    let (mut restarts, mut next) = (0, Instant::now());
    let mut which = Random::new(asked("SIGINDEX_SEED", 1) + 1);
    while !fleet.working.is_empty() {
        std::thread::sleep(Duration::from_millis(20));
        fleet.look();
        let stored = Sql::new(database, DATABASE).number("SELECT count(*) FROM sigindex.package");
        let stored = stored.unsigned_abs();
        while restarts < 2 && stored * 3 >= packages * (restarts + 1) {
            restarts += 1;
            database.stop([Stop::Crash, Stop::Fast][usize::from(restarts == 2)]);
            database.go();
        }
        // The first ones are left to begin with something; the last ones are let go, so that it ends.
        let workers = fleet.working.len() as u64;
        if Instant::now() >= next
            && workers > 0
            && stored > 0
            && stored * 10 < packages * 9
            && fleet.killed < most_killed
        {
            fleet.kill(usize::try_from(which.below(workers)).unwrap());
            next = Instant::now() + pause();
        }
    }
    assert!(restarts == 2 && fleet.killed > 0);
}

/// Lets a fleet work on a channel until all of it is done, and looks at what came of that. `endpoint` is where the
/// store is found, if there is one, and `calm` ends its faults.
fn weather(
    scene: &Scene,
    channel: String,
    endpoint: &str,
    packages: u64,
    calm: impl FnOnce(),
    all: impl Fn() -> Files,
) {
    let Some(mut database) = Server::start() else {
        return;
    };
    let mut fleet = Fleet {
        scene,
        endpoint: endpoint.to_owned(),
        channel,
        cache: database.database(DATABASE),
        working: Vec::new(),
        started: 0,
        killed: 0,
        opened: Vec::new(),
    };
    cache::open(&fleet.cache, "a channel that nobody indexes").unwrap();
    Sql::new(&database, DATABASE).run(WITNESS);
    let begun = Instant::now();
    storm(&mut fleet, &mut database, packages);
    eprintln!(
        "{}: {packages} packages, {WORKERS} workers, {} killed, PostgreSQL restarted twice: {:?}",
        fleet.channel,
        fleet.killed,
        begun.elapsed()
    );
    fleet.assert_divided(&Sql::new(&database, DATABASE), packages);
    calm();
    assert_whole(&fleet, packages, all);
}

#[test]
fn killed_workers_and_a_crashing_database_lose_nothing() {
    let packages = asked("SIGINDEX_FLEET", PACKAGES[0]);
    let scene = Scene::new();
    fill(packages, |path, bytes| scene.write(path, bytes));
    let all = || in_folder(&scene.path("channel"));
    weather(&scene, "channel".to_owned(), "", packages, || {}, all);
}

#[test]
fn killed_workers_a_crashing_database_and_a_bad_store_lose_nothing() {
    let packages = asked("SIGINDEX_FLEET_OBJECTS", PACKAGES[1]);
    let Some(server) = s3::server() else { return };
    let scene = Scene::new();
    let bucket = server.bucket();
    fill(packages, |key, bytes| bucket.put(key, bytes));
    let manners = Manners {
        faults: FAULTS,
        seed: asked("SIGINDEX_SEED", 1),
        ..Manners::default()
    };
    let proxy = Proxy::before(server.address(), manners);
    let all = || bucket.objects("channel");
    let (url, calm) = (bucket.url("channel"), || proxy.heal());
    weather(&scene, url, proxy.endpoint(), packages, calm, all);
    let requests = proxy.log().len();
    eprintln!("one of {FAULTS} of {requests} requests was spoilt");
}
