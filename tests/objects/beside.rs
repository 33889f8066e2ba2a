//! Runs beside each other on one channel, neither of which holds the lease: what one of them signs meanwhile counts for
//! the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::channels::{call, index};
use crate::proxy::{Manners, Proxy};
use crate::s3::{Bucket, servers};
use crate::scene::Scene;

/// The package, its path, and two signatures of it by the same key: each holds chance.
fn signed_twice(scene: &Scene) -> (String, [Vec<u8>; 2]) {
    let path = scene.package("a");
    let sign = || {
        let file = format!("channel/{path}");
        scene.run(&["sign", &file]).exits(0);
        let sig = scene.read(&format!("{file}.sig"));
        scene.remove(&format!("{file}.sig"));
        sig
    };
    let both = [sign(), sign()];
    assert_ne!(both[0], both[1]);
    (path, both)
}

/// When somebody else puts a signature there.
const MOMENTS: [(&str, &str); 3] = [("GET", ""), ("GET", ".sig"), ("PUT", ".sig")];

/// A proxy that puts a signature into the bucket when the package is first read, or its signature is read or written.
/// And whether it did.
fn meddling(
    bucket: &Arc<Bucket>,
    path: &str,
    moment: (&str, &str),
    sig: Vec<u8>,
) -> (Proxy, Arc<AtomicBool>) {
    let (method, end) = (moment.0.to_owned(), format!("{path}{}", moment.1));
    let (bucket, path) = (Arc::clone(bucket), path.to_owned());
    let address = bucket.server.address();
    let done = Arc::new(AtomicBool::new(false));
    let once = Arc::clone(&done);
    let meddler = move |request: &str| {
        let is_it = request.starts_with(&method) && request.ends_with(&end);
        if is_it && !once.swap(true, Ordering::Relaxed) {
            bucket.put(&format!("channel/{path}.sig"), sig.clone());
        }
    };
    let proxy = Proxy::meddling(address, Manners::default(), Box::new(meddler));
    (proxy, done)
}

#[test]
fn a_signature_that_another_one_put_there_meanwhile_counts() {
    let verbs = [("scan", &["--resign"][..]), ("scan", &[]), ("index", &[])];
    let each = MOMENTS
        .into_iter()
        .flat_map(|moment| verbs.map(|verb| (moment, verb)));
    for server in servers() {
        for (moment, (verb, flags)) in each.clone() {
            if moment == MOMENTS[1] && flags.is_empty() {
                // There is none to be read.
                continue;
            }
            let scene = Scene::new();
            let (path, [before, meanwhile]) = signed_twice(&scene);
            let bucket = Arc::new(server.bucket());
            bucket.put(
                &format!("channel/{path}"),
                scene.read(&format!("channel/{path}")),
            );
            if !flags.is_empty() {
                bucket.put(&format!("channel/{path}.sig"), before);
            }
            let (proxy, done) = meddling(&bucket, &path, moment, meanwhile.clone());
            let url = bucket.url("channel");
            let words = [&[verb, &url, "--json"], flags].concat();
            let run = call(&scene, proxy.endpoint(), &words).run().exits(0);
            assert!(done.load(Ordering::Relaxed), "{verb} {moment:?}");
            assert!(!run.stderr.contains("beginning anew"), "{}", run.stderr);
            // One that is there before the old one is looked at is an old one too.
            let is_old = !flags.is_empty() && moment.0 == "GET";
            let signed = u64::from(is_old);
            assert_eq!(
                run.report()["counts"]["signed"],
                signed,
                "{verb} {moment:?}"
            );
            let there = bucket.get(&format!("channel/{path}.sig"));
            assert_eq!(there == Some(meanwhile), !is_old, "{verb} {moment:?}");
            index(&scene, &bucket, proxy.endpoint(), &[])
                .exits(0)
                .counts("opened", 0);
        }
    }
}

#[test]
fn a_signature_that_nobody_can_check_does_not() {
    assert_does_not_count(|_, _| b"mallory AAAA\n".to_vec());
}

#[test]
fn a_signature_by_the_key_that_was_to_go_does_not() {
    // Whoever signs all anew, with another key, is not told that it is done where it is not.
    assert_does_not_count(|scene, path| {
        let file = format!("channel/{path}");
        scene.run(&["keygen", "old"]).exits(0);
        scene.run(&["sign", "--key", "old", &file]).exits(0);
        let sig = scene.read(&format!("{file}.sig"));
        scene.remove(&format!("{file}.sig"));
        sig
    });
}

/// Where somebody puts a signature there while the old one is replaced.
fn assert_does_not_count(other: impl Fn(&Scene, &str) -> Vec<u8>) {
    for server in servers() {
        let scene = Scene::new();
        let (path, [before, _]) = signed_twice(&scene);
        let other = other(&scene, &path);
        let bucket = Arc::new(server.bucket());
        bucket.put(
            &format!("channel/{path}"),
            scene.read(&format!("channel/{path}")),
        );
        bucket.put(&format!("channel/{path}.sig"), before);
        let (proxy, _) = meddling(&bucket, &path, MOMENTS[2], other);
        let url = bucket.url("channel");
        let words = ["scan", &url, "--json", "--resign", "--key", "fixture"];
        call(&scene, proxy.endpoint(), &words)
            .run()
            .exits(3)
            .refuses(&path, "somebody else put a signature beside it");
    }
}
