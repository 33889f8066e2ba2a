//! Workers that share packages by claims: the library's scan, on a memory of this test's own, in which workers die as
//! the test pleases.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use sigindex::cache::{
    Cache, CacheError, Claimed, Claims, Entry, Gone, Known, PackageName, Remembered, Seen, Unread,
    Versions,
};
use sigindex::channel::Selection;
use sigindex::error::Error;
use sigindex::index::{
    self, Config, Freshness, Keys, Patches, Places, Policy, RoleKeys, Share, SignedConfig,
    SigningKey, Tools,
};
use sigindex::keys::{KeyName, KeysDir};
use sigindex::progress::{Display, Progress};
use sigindex::repodata::{Formats, Pins};
use sigindex::report::Scanned;
use sigindex::signature::local_signer;
use sigindex::storage::{LocalStorage, Stat};

use crate::scene::Scene;
use crate::scene_of_many;

/// How a package stands in the agreement.
#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Free,
    Held(usize),
    /// At this moment of the table's clock.
    Finished(u64),
}

/// What the workers share.
#[derive(Default)]
struct Table {
    known: BTreeMap<PackageName, Arc<Remembered>>,
    claims: BTreeMap<PackageName, State>,
    clock: u64,
    /// Packages that were finished and not remembered.
    refused: Vec<PackageName>,
}

impl Table {
    fn finish(&mut self, name: &PackageName) {
        self.clock += 1;
        self.claims
            .insert(name.clone(), State::Finished(self.clock));
    }
}

/// When a worker dies.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Death {
    Never,
    /// When it has read and signed some, and is about to remember it.
    BeforeItRemembers,
    /// When it has claimed some.
    AfterClaiming,
}

/// One worker's seat at the table.
struct Seat<'a> {
    table: &'a Mutex<Table>,
    id: usize,
    /// The table's clock when it sat down: what was finished before, it knows.
    opened: u64,
    death: Death,
    /// What somebody else does when this worker has put up what it found.
    then: Option<&'a (dyn Fn(&mut Table) + Sync)>,
}

fn dead() -> CacheError {
    CacheError::Open {
        path: "table".to_owned(),
        operation: "go on",
        cause: io::Error::other("it died"),
    }
}

impl Cache for Seat<'_> {
    fn load(&mut self, subdir: &str) -> Result<Known, CacheError> {
        let table = self.table.lock().unwrap();
        let of_subdir = table.known.iter().filter(|(name, _)| name.subdir == subdir);
        Ok(of_subdir
            .map(|(name, known)| (name.name.clone(), Arc::clone(known)))
            .collect())
    }

    fn store(&mut self, learnt: &[Entry], _gone: &[Gone]) -> Result<(), CacheError> {
        if self.death == Death::BeforeItRemembers {
            return Err(dead());
        }
        let mut table = self.table.lock().unwrap();
        for entry in learnt {
            let (subdir, name) = (entry.subdir.clone(), entry.name.clone());
            let name = PackageName { subdir, name };
            table.known.insert(name.clone(), Arc::clone(&entry.known));
            table.finish(&name);
        }
        Ok(())
    }

    fn seen(&mut self, _: &Versions, _: Seen) -> Result<Versions, CacheError> {
        Ok(Versions::new())
    }

    fn ledger(&mut self, _: Option<&str>) -> Result<Option<String>, CacheError> {
        Ok(None)
    }

    fn claims(&mut self) -> Option<&mut dyn Claims> {
        Some(self)
    }
}

impl Claims for Seat<'_> {
    fn offer(&mut self, unread: &[Unread]) -> Result<(), CacheError> {
        let mut table = self.table.lock().unwrap();
        for Unread { package, .. } in unread {
            let state = table.claims.get(package).copied();
            let is_news = match state {
                None => true,
                Some(State::Finished(at)) => at <= self.opened,
                Some(_) => false,
            };
            if is_news {
                table.claims.insert(package.clone(), State::Free);
            }
        }
        if let Some(then) = self.then.take() {
            then(&mut table);
        }
        Ok(())
    }

    fn claim(&mut self, subdirs: &[&str], most: usize) -> Result<Claimed, CacheError> {
        let mut table = self.table.lock().unwrap();
        let is_of = |name: &PackageName| subdirs.contains(&name.subdir.as_str());
        let free = table
            .claims
            .iter()
            .filter(|(name, state)| **state == State::Free && is_of(name));
        let names: Vec<Unread> = free
            .map(|(name, _)| Unread {
                package: name.clone(),
                stat: Stat::default(),
            })
            .take(most.min(5))
            .collect();
        for one in &names {
            let held = State::Held(self.id);
            table.claims.insert(one.package.clone(), held);
        }
        let is_held = |state: &State| matches!(state, State::Held(_));
        match names.is_empty() {
            false if self.death == Death::AfterClaiming => Err(dead()),
            false => Ok(Claimed::Packages(names)),
            true if table.claims.values().any(is_held) => Ok(Claimed::Wait),
            true => Ok(Claimed::Over),
        }
    }

    fn finish(&mut self, refused: &[PackageName]) -> Result<(), CacheError> {
        let mut table = self.table.lock().unwrap();
        for name in refused {
            table.finish(name);
            table.refused.push(name.clone());
        }
        Ok(())
    }
}

impl Drop for Seat<'_> {
    /// What a worker that is gone held, others may have.
    fn drop(&mut self) {
        let mut table = self.table.lock().unwrap();
        let held = State::Held(self.id);
        for state in table.claims.values_mut().filter(|state| **state == held) {
            *state = State::Free;
        }
    }
}

fn config() -> Config {
    Config {
        channel: "channel".to_owned(),
        selection: Selection::Standard,
        policy: Policy::default(),
        min_bits: 2048,
        formats: Formats::default(),
        patches: Patches::OfSubdirs,
        pins: Pins::default(),
        keep_shards: 0,
        detached: false,
        strict: false,
        drop_refused: false,
        update_only: false,
        check_archives: false,
        freshness: Freshness::Full,
        rehash: false,
        signed: SignedConfig {
            accept: false,
            keep: 3,
            clock: 1_700_000_000_000,
        },
        dry_run: false,
        now: 1_700_000_000_000,
    }
}

/// Lets a run work with the tools of a worker.
fn with_tools<T>(scene: &Scene, cache: &mut dyn Cache, work: impl FnOnce(Tools<'_>) -> T) -> T {
    let storage = LocalStorage::open(&scene.path("channel")).unwrap();
    let folder = KeysDir::new(scene.path("home/.conda/keys"), false);
    let name = KeyName::parse("fixture").unwrap();
    let open = |_: &Keys| {
        let key = folder.load_private(&name, &|_| panic!("it has no passphrase"));
        Ok(local_signer(key?))
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build();
    work(Tools {
        places: Places::new(&storage, None),
        cache,
        keyring: &folder.public_keys().unwrap(),
        key: SigningKey::new(Box::new(open), Box::new(|_| Ok(None))),
        roles: RoleKeys {
            anchors: Vec::new(),
            open: Box::new(|_| panic!("no index is signed")),
            check: Box::new(|_| panic!("no index is signed")),
        },
        log: None,
        pool: &pool.unwrap(),
        progress: &Progress::new(Display::Silent),
        cancelled: &AtomicBool::new(false),
    })
}

/// One worker, from its start to its end or death.
fn worker(scene: &Scene, mut seat: Seat<'_>) -> Result<Scanned, Error> {
    with_tools(scene, &mut seat, |tools| {
        index::scan(&config(), Share::Claimed, tools)
    })
}

fn seat(table: &Mutex<Table>, id: usize, death: Death) -> Seat<'_> {
    Seat {
        table,
        id,
        opened: table.lock().unwrap().clock,
        death,
        then: None,
    }
}

fn all_of(reports: &[Scanned], list: impl Fn(&Scanned) -> &Vec<String>) -> Vec<String> {
    reports.iter().flat_map(|it| list(it).clone()).collect()
}

#[test]
fn each_package_is_read_by_one_worker_and_what_the_dead_held_by_others() {
    use Death::{AfterClaiming, BeforeItRemembers, Never};
    let (scene, paths) = scene_of_many();
    let table = Mutex::new(Table::default());
    let deaths = [BeforeItRemembers, Never, AfterClaiming, Never, Never];
    let reports: Vec<Scanned> = std::thread::scope(|scope| {
        let start = |(id, death)| {
            let seat = seat(&table, id, death);
            let scene = &scene;
            scope.spawn(move || worker(scene, seat))
        };
        let started: Vec<_> = deaths.into_iter().enumerate().map(start).collect();
        started
            .into_iter()
            .filter_map(|it| it.join().unwrap().ok())
            .collect()
    });
    // Those who were to die may have come too late for it.
    assert!(reports.len() >= 3);
    let opened = all_of(&reports, |report| &report.opened);
    assert_eq!(opened.len(), paths.len(), "{opened:?}");
    assert_eq!(opened.into_iter().collect::<BTreeSet<_>>(), paths);
    assert_eq!(all_refused(&reports), Vec::<String>::new());
    assert_eq!(table.lock().unwrap().known.len(), paths.len());
    let mut seat = seat(&table, 9, Never);
    let report = with_tools(&scene, &mut seat, |tools| index::publish(&config(), tools)).unwrap();
    assert_eq!(
        (report.counts.kept, report.counts.refused),
        (paths.len(), 0)
    );
    scene.run(&["verify", "channel"]).exits(0);
}

fn all_refused(reports: &[Scanned]) -> Vec<String> {
    let refused = reports.iter().flat_map(|report| &report.refused);
    refused
        .map(|one| format!("{}: {}", one.package, one.reason))
        .collect()
}

#[test]
fn a_signature_that_the_dead_left_counts() {
    let scene = Scene::of_three();
    let table = Mutex::new(Table::default());
    worker(&scene, seat(&table, 0, Death::BeforeItRemembers)).unwrap_err();
    assert!(scene.exists("channel/linux-64/a-1.0-0.conda.sig"));
    let report = worker(&scene, seat(&table, 1, Death::Never)).unwrap();
    assert_eq!((report.counts.opened, report.counts.signed), (3, 0));
    assert_eq!(all_refused(&[report]), Vec::<String>::new());
}

#[test]
fn what_another_worker_signs_after_this_one_looked_counts_too() {
    let scene = Scene::of_three();
    let table = Mutex::new(Table::default());
    // Another one has read and signed all, and died, between this one's listing and its claim.
    let other = |_: &mut Table| {
        let files = ["a-1.0-0.conda", "b-1.0-0.tar.bz2", "c-1.0-0.conda"];
        for file in files {
            scene
                .run(&["sign", &format!("channel/linux-64/{file}")])
                .exits(0);
        }
    };
    let mut seat = seat(&table, 0, Death::Never);
    seat.then = Some(&other);
    let report = worker(&scene, seat).unwrap();
    assert_eq!((report.counts.opened, report.counts.signed), (3, 0));
    assert_eq!(all_refused(&[report]), Vec::<String>::new());
}

#[test]
fn a_package_that_came_later_is_read_by_whoever_claims_it() {
    let scene = Scene::of_three();
    let table = Mutex::new(Table::default());
    let other = |table: &mut Table| {
        let path = scene.package("late");
        let (subdir, name) = path.split_once('/').unwrap();
        let (subdir, name) = (subdir.to_owned(), name.to_owned());
        table
            .claims
            .insert(PackageName { subdir, name }, State::Free);
    };
    let mut seat = seat(&table, 0, Death::Never);
    seat.then = Some(&other);
    assert_eq!(worker(&scene, seat).unwrap().counts.signed, 4);
}

#[test]
fn a_package_that_is_gone_is_finished_and_nothing_to_refuse() {
    let scene = Scene::of_three();
    let table = Mutex::new(Table::default());
    let name = PackageName {
        subdir: "linux-64".to_owned(),
        name: "gone-1.0-0.conda".to_owned(),
    };
    let free = (name.clone(), State::Free);
    table.lock().unwrap().claims.extend([free]);
    let report = worker(&scene, seat(&table, 0, Death::Never)).unwrap();
    assert_eq!((report.counts.opened, report.counts.refused), (3, 0));
    assert_eq!(table.lock().unwrap().refused, [name]);
}

#[test]
fn a_package_that_is_refused_is_finished() {
    let scene = Scene::of_three();
    scene.write("channel/linux-64/bad-1.0-0.conda", "no archive");
    let table = Mutex::new(Table::default());
    let report = worker(&scene, seat(&table, 0, Death::Never)).unwrap();
    assert_eq!((report.counts.opened, report.counts.refused), (4, 1));
    let refused = &table.lock().unwrap().refused;
    let refused: Vec<&str> = refused.iter().map(|name| name.name.as_str()).collect();
    assert_eq!(refused, ["bad-1.0-0.conda"]);
}

#[test]
fn what_this_worker_does_not_take_is_not_lost() {
    let scene = Scene::of_three();
    let table = Mutex::new(Table::default());
    let (subdir, name) = ("osx-64".to_owned(), "a-1.0-0.conda".to_owned());
    let elsewhere = PackageName { subdir, name };
    table
        .lock()
        .unwrap()
        .claims
        .insert(elsewhere.clone(), State::Free);
    let report = worker(&scene, seat(&table, 0, Death::Never)).unwrap();
    assert_eq!(report.counts.signed, 3);
    assert_eq!(table.lock().unwrap().claims[&elsewhere], State::Free);
}
