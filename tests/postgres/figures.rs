//! How long loading and storing take, beside a cache in a file: a measurement, run by hand with
//! `cargo test --release --features postgres --test postgres figures -- --ignored --nocapture`.

use std::time::Instant;

use sigindex::cache::{Cache, Claims as _, PackageName, SqliteCache, Unread, postgres};

use crate::postgres::Server;
use crate::{SUBDIR, entry, say};

const PACKAGES: u64 = 20_000;

#[test]
#[ignore = "a measurement"]
fn loading_and_storing_twenty_thousand_packages() {
    let Some(server) = Server::start_with(&["fsync=on", "shared_buffers=128MB"], |_| {}) else {
        return;
    };
    let url = server.database("figures");
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let path = folder.path().join("own/cache.db");
    let mut shared = postgres::open(&url, "a").unwrap();
    let mut own = SqliteCache::open(&path, "a").unwrap();
    for _ in 0..2 {
        measure("SQLite", &mut own);
        measure("PostgreSQL", &mut shared);
    }
    let all: Vec<_> = (0..PACKAGES)
        .map(|at| entry(&format!("q{at}"), at, false))
        .collect();
    let unread = all.iter().map(|one| Unread {
        package: PackageName {
            subdir: one.subdir.clone(),
            name: one.name.clone(),
        },
        stat: one.known.stat,
    });
    let unread = unread.collect::<Vec<_>>();
    let start = Instant::now();
    shared.offer(&unread).unwrap();
    say(&format!("offer {PACKAGES}: {:?}", start.elapsed()));
    let start = Instant::now();
    shared.offer(&unread).unwrap();
    say(&format!("offer them again: {:?}", start.elapsed()));
    let start = Instant::now();
    for _ in all.chunks(100) {
        shared.claim(&[SUBDIR], 100).unwrap();
    }
    say(&format!(
        "claim {PACKAGES}, 100 at once: {:?}",
        start.elapsed()
    ));
    let start = Instant::now();
    all.chunks(100)
        .for_each(|part| shared.store(part, &[]).unwrap());
    say(&format!("store them, 100 at once: {:?}", start.elapsed()));
}

fn measure(name: &str, cache: &mut dyn Cache) {
    let start = Instant::now();
    for first in (0..PACKAGES).step_by(1_000) {
        let part = (first..first + 1_000).map(|at| entry(&format!("p{at}"), at, at % 2 == 0));
        cache.store(&part.collect::<Vec<_>>(), &[]).unwrap();
    }
    let stored = start.elapsed();
    let start = Instant::now();
    let known = cache.load(SUBDIR).unwrap();
    say(&format!(
        "{name}: store {PACKAGES}, 1,000 at once: {stored:?}; load: {:?}",
        start.elapsed()
    ));
    assert_eq!(known.len() as u64, PACKAGES);
}
