//! Two publishers at once, without the lease that would keep them apart: what they leave is the index of one of them,
//! whole, and then of all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::channels::{call, index};
use crate::proxy::{Manners, Proxy};
use crate::s3::{Bucket, servers};
use crate::scene::builder::{Format, PackageSpec};
use crate::scene::{Run, Scene};
use crate::{asked, endpoint};

fn put(bucket: &Bucket, name: &str) -> String {
    let spec = PackageSpec::new(name, "1.0", "0").subdir("noarch");
    let path = spec.path_in_channel(Format::BOTH[0]);
    bucket.put(&format!("channel/{path}"), spec.bytes(Format::BOTH[0]));
    path
}

/// The names that the published index lists; each of them and its signature lie there.
fn listed(bucket: &Bucket) -> Vec<String> {
    let bytes = bucket.get("channel/noarch/repodata.json").unwrap();
    let index: Value = serde_json::from_slice(&bytes).unwrap();
    let mut names = Vec::new();
    for part in ["packages", "packages.conda"] {
        for (name, record) in index[part].as_object().unwrap() {
            let bytes = bucket.get(&format!("channel/noarch/{name}")).unwrap();
            assert_eq!(record["size"], bytes.len());
            let sig = bucket.get(&format!("channel/noarch/{name}.sig")).unwrap();
            let sig = String::from_utf8(sig).unwrap();
            assert_eq!(
                record["signature"]["value"],
                sig.split_whitespace().nth(1).unwrap()
            );
            names.push(name.clone());
        }
    }
    names.sort();
    names
}

#[test]
fn two_publishers_at_once_leave_a_whole_index() {
    let rounds = asked("SIGINDEX_S3_ROUNDS", 4);
    for server in servers() {
        // These servers look at a condition first and write then; real stores do both at once.
        let manners = Manners {
            one_by_one: true,
            ..Manners::default()
        };
        let proxy = Proxy::before(server.address(), manners);
        let bucket = server.bucket();
        let scenes = [Scene::new(), Scene::new()];
        put(&bucket, "first");
        index(&scenes[0], &bucket, proxy.endpoint(), &[]).exits(0);
        let url = bucket.url("channel");
        let (mut lost, mut before) = (0, Vec::new());
        for round in 0..rounds {
            // What the round before brought, goes.
            let gone: Vec<String> = std::mem::take(&mut before);
            gone.iter()
                .for_each(|path| bucket.delete(&format!("channel/{path}")));
            before.push(put(&bucket, &format!("p{round}")));
            let start = |scene: &Scene| {
                let words = [url.as_str(), "--json", "--no-lock"];
                call(scene, proxy.endpoint(), &words).start()
            };
            let one = start(&scenes[0]);
            before.push(put(&bucket, &format!("q{round}")));
            let other = start(&scenes[1]);
            for run in [one, other].map(Run::of) {
                let lost_it = run.stderr.contains("another run published meanwhile")
                    || run.stderr.contains("replaced or removed while it was read");
                lost += u64::from(lost_it);
                assert!(run.status() == Some(0) || lost_it, "{}", run.stderr);
            }
            // Whoever was first: it is whole, and of one of them: both saw the first of the new packages.
            let seen = listed(&bucket);
            assert!(
                seen.iter()
                    .any(|name| name.starts_with(&format!("p{round}-"))),
                "{seen:?}"
            );
            index(&scenes[0], &bucket, &endpoint(server), &[]).exits(0);
            assert_eq!(listed(&bucket).len(), 3);
        }
        eprintln!(
            "{}: {rounds} rounds, {lost} races lost and begun anew",
            server.name
        );
    }
}

#[test]
fn whoever_loses_a_race_begins_anew_on_what_the_other_left() {
    for server in servers() {
        let bucket = Arc::new(server.bucket());
        let (slow, quick) = (Scene::new(), Arc::new(Scene::new()));
        put(&bucket, "first");
        index(&slow, &bucket, &endpoint(server), &[]).exits(0);
        put(&bucket, "second");
        let (of_quick, by_quick) = (Arc::clone(&bucket), Arc::clone(&quick));
        let once = AtomicBool::new(false);
        let meddler = move |request: &str| {
            let is_last = request.starts_with("PUT") && request.contains("noarch/repodata.json");
            if is_last && !once.swap(true, Ordering::Relaxed) {
                put(&of_quick, "third");
                let there = endpoint(of_quick.server);
                index(&by_quick, &of_quick, &there, &["--no-lock"]).exits(0);
            }
        };
        let proxy = Proxy::meddling(server.address(), Manners::default(), Box::new(meddler));
        let run = index(&slow, &bucket, proxy.endpoint(), &["--no-lock"]).exits(0);
        assert!(run.stderr.contains("beginning anew"), "{}", run.stderr);
        assert_eq!(listed(&bucket).len(), 3);
        let log = proxy.log();
        let read = |name: &str| {
            let is_read = |line: &&String| line.starts_with("GET") && line.ends_with(name);
            log.iter().filter(is_read).count()
        };
        assert_eq!(
            read("second-1.0-0.tar.bz2") + read("second-1.0-0.conda"),
            1,
            "{log:#?}"
        );
    }
}

#[test]
fn a_killed_run_is_completed_by_the_next() {
    for server in servers() {
        let bucket = server.bucket();
        let scene = Scene::new();
        for number in 0..8 {
            put(&bucket, &format!("p{number}"));
        }
        let url = bucket.url("channel");
        for milliseconds in [30, 150, 400, 800] {
            let words = [url.as_str(), "--json", "--no-lock"];
            let mut killed = call(&scene, &endpoint(server), &words).start();
            std::thread::sleep(std::time::Duration::from_millis(milliseconds));
            let _ = killed.kill();
            killed.wait().unwrap();
            if bucket.get("channel/noarch/repodata.json").is_some() {
                listed(&bucket);
            }
        }
        index(&scene, &bucket, &endpoint(server), &["--no-lock"]).exits(0);
        assert_eq!(listed(&bucket).len(), 8);
    }
}
