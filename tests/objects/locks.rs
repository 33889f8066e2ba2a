//! The lease of a channel, and stores that do not hold writes to their conditions.

use std::time::Duration;

use sigindex::storage::{LockMode, ObjectOptions, ObjectStorage, Storage as _, StorageError};

use crate::channels::{call, index};
use crate::proxy::{Manners, Proxy};
use crate::s3::{Bucket, server, servers};
use crate::scene::Scene;
use crate::{endpoint, options};

fn leased(bucket: &Bucket, milliseconds: u64) -> ObjectStorage {
    let options = ObjectOptions {
        lease: Duration::from_millis(milliseconds),
        ..options(&endpoint(bucket.server))
    };
    ObjectStorage::open(&bucket.url("channel"), options).unwrap()
}

#[test]
fn one_holds_the_lease_and_gives_it_back() {
    for server in servers() {
        let bucket = server.bucket();
        let first = leased(&bucket, 2_000);
        let held = first.lock(LockMode::Fail).unwrap();
        let refused = leased(&bucket, 2_000).lock(LockMode::Fail).unwrap_err();
        assert!(matches!(refused, StorageError::Locked { .. }), "{refused}");
        assert!(
            refused
                .to_string()
                .contains(&std::process::id().to_string()),
            "{refused}"
        );
        let waiting = std::thread::scope(|scope| {
            let waiter = scope.spawn(|| leased(&bucket, 2_000).lock(LockMode::Wait).is_ok());
            std::thread::sleep(Duration::from_millis(3_000));
            assert!(!waiter.is_finished(), "it was renewed all the time");
            assert!(!held.is_lost());
            drop(held);
            waiter.join().unwrap()
        });
        assert!(waiting);
        drop(leased(&bucket, 2_000).lock(LockMode::Fail).unwrap());
    }
}

#[test]
fn a_lease_that_nobody_renews_is_taken_over() {
    for server in servers() {
        let bucket = server.bucket();
        for dead in [
            "{\"holder\":\"a dead one\",\"token\":\"x\",\"renewed\":3}",
            "no claim at all",
            "",
        ] {
            bucket.put("channel/.sigindex.lock", dead);
            let storage = leased(&bucket, 500);
            drop(storage.lock(LockMode::Fail).unwrap());
        }
    }
}

#[test]
fn a_lease_that_was_taken_over_is_known_for_lost() {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let storage = leased(&bucket, 400);
    let held = storage.lock(LockMode::Fail).unwrap();
    let other = "{\"holder\":\"another\",\"token\":\"y\",\"renewed\":0}";
    bucket.put("channel/.sigindex.lock", other);
    let begun = std::time::Instant::now();
    while !held.is_lost() && begun.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(held.is_lost());
    drop(held);
    let there = bucket.get("channel/.sigindex.lock").unwrap();
    assert_eq!(there, other.as_bytes(), "another's is left alone");
}

#[test]
fn a_store_that_ignores_conditions_is_refused() {
    let manners = Manners {
        unconditional: true,
        ..Manners::default()
    };
    is_refused(manners);
}

#[test]
fn a_store_that_knows_no_conditions_is_refused() {
    let manners = Manners {
        ignorant: true,
        ..Manners::default()
    };
    is_refused(manners);
}

fn is_refused(manners: Manners) {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let proxy = Proxy::before(server.address(), manners);
    let open = |unconditional| {
        let options = ObjectOptions {
            unconditional,
            patience: Duration::from_secs(2),
            ..options(proxy.endpoint())
        };
        ObjectStorage::open(&bucket.url("channel"), options).unwrap()
    };
    let write = || sigindex::storage::Change::Write {
        path: "noarch/a".to_owned(),
        content: std::sync::Arc::default(),
    };
    let error = open(false).lock(LockMode::Fail).unwrap_err();
    assert!(
        error.to_string().contains("--no-conditional-writes"),
        "{error}"
    );
    let error = open(false).apply(vec![write()]).unwrap_err();
    assert!(
        matches!(error, StorageError::Unconditional { .. }),
        "{error}"
    );
    assert_eq!(bucket.keys("channel/noarch"), [""; 0]);
    let storage = open(true);
    let held = storage.lock(LockMode::Fail).unwrap();
    storage.apply(vec![write()]).unwrap();
    drop(held);
    assert_eq!(bucket.keys("channel/noarch"), ["a"]);
}

#[test]
fn what_nothing_names_goes_only_where_no_other_run_can_be_about_to_name_it() {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let retire = || sigindex::storage::Change::Retire {
        path: "noarch/shards/a".to_owned(),
    };
    let is_there = || bucket.get("channel/noarch/shards/a").is_some();
    bucket.put("channel/noarch/shards/a", "x");
    let alone = leased(&bucket, 10_000);
    alone.apply(vec![retire()]).unwrap();
    assert!(is_there(), "without a lease, another run may name it");
    let storage = leased(&bucket, 10_000);
    let held = storage.lock(LockMode::Fail).unwrap();
    storage.apply(vec![retire()]).unwrap();
    assert!(!is_there(), "there is no other");
    bucket.put("channel/noarch/shards/a", "x");
    let other = "{\"holder\":\"another\",\"token\":\"y\",\"renewed\":0}";
    bucket.put("channel/.sigindex.lock", other);
    storage.forget();
    storage.apply(vec![retire()]).unwrap();
    assert!(is_there(), "another run has the lease, and may name it");
    let write = sigindex::storage::Change::Create {
        path: "noarch/b".to_owned(),
        content: std::sync::Arc::default(),
    };
    let error = storage.apply(vec![write]).unwrap_err();
    assert!(error.is_lost_race(), "{error}");
    assert_eq!(bucket.get("channel/noarch/b"), None);
    drop(held);
}

#[test]
fn an_index_is_signed_on_a_store_without_conditions_where_that_is_asked_for() {
    const WITHOUT: &str = "--no-conditional-writes";
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let manners = Manners {
        unconditional: true,
        ..Manners::default()
    };
    let proxy = Proxy::before(server.address(), manners);
    let scene = Scene::new();
    index(&scene, &bucket, proxy.endpoint(), &[WITHOUT]).exits(0);
    for name in ["rootkey", "indexkey"] {
        scene.run(&["keygen", name]).exits(0);
    }
    let url = bucket.url("channel");
    let trust = |words: &[&str]| call(&scene, proxy.endpoint(), words).run();
    let keys = ["--root-key", "rootkey", "--index-key", "indexkey"];
    let init = [&["trust", "init", &url][..], &keys].concat();
    trust(&init).exits(1).says(WITHOUT);
    assert!(bucket.get("channel/tuf/1.root.json").is_none());
    trust(&[&init[..], &[WITHOUT]].concat()).exits(0);
    assert!(bucket.get("channel/tuf/1.root.json").is_some());
    index(&scene, &bucket, proxy.endpoint(), &[WITHOUT]).exits(0);
    trust(&["trust", "refresh", &url, WITHOUT]).exits(0);
}

#[test]
fn what_nothing_names_and_cannot_be_removed_fails_nothing() {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let manners = Manners {
        never: Some("?delete"),
        ..Manners::default()
    };
    let proxy = Proxy::before(server.address(), manners);
    let options = ObjectOptions {
        lease: Duration::from_secs(4),
        ..options(proxy.endpoint())
    };
    let storage = ObjectStorage::open(&bucket.url("channel"), options).unwrap();
    let paths = ["noarch/shards/a", "noarch/shards/b"];
    for path in paths {
        bucket.put(&format!("channel/{path}"), "x");
    }
    let group = |change: fn(String) -> sigindex::storage::Change| {
        let changes = paths.iter().map(|path| change((*path).to_owned()));
        [sigindex::storage::Change::Group]
            .into_iter()
            .chain(changes)
            .collect::<Vec<_>>()
    };
    let held = storage.lock(LockMode::Fail).unwrap();
    let write = sigindex::storage::Change::Write {
        path: "noarch/repodata.json".to_owned(),
        content: std::sync::Arc::default(),
    };
    let mut changes = vec![write];
    changes.extend(group(|path| sigindex::storage::Change::Retire { path }));
    storage.apply(changes).unwrap();
    let left = storage.take_left();
    assert!(
        left.len() == 1 && left[0].contains("can't remove"),
        "{left:?}"
    );
    assert_eq!(storage.take_left(), [""; 0]);
    assert!(bucket.get("channel/noarch/repodata.json").is_some());
    // What is published by its absence is another matter.
    let remove = group(|path| sigindex::storage::Change::Remove { path });
    storage.apply(remove).unwrap_err();
    drop(held);
}
