//! Stores that are ill, that throttle, and that are not there.

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sigindex::storage::{Change, Links, ObjectOptions, ObjectStorage, Storage as _, StorageError};

use crate::proxy::{Manners, Proxy};
use crate::s3::{Bucket, server};
use crate::{endpoint, options};

fn patient(bucket: &Bucket, endpoint: &str, seconds: u64) -> ObjectStorage {
    let options = ObjectOptions {
        patience: Duration::from_secs(seconds),
        ..options(endpoint)
    };
    ObjectStorage::open(&bucket.url("channel"), options).unwrap()
}

fn write(path: &str) -> Change {
    Change::Write {
        path: path.to_owned(),
        content: std::sync::Arc::new(b"x".to_vec()),
    }
}

#[test]
fn a_store_that_is_ill_for_a_while_is_waited_for() {
    let Some(server) = server() else { return };
    for status in ["503 Slow Down", "500 Internal Server Error", "429 Too Many"] {
        let bucket = server.bucket();
        bucket.put("channel/noarch/a", "x");
        let manners = Manners {
            ill: Some((Duration::from_secs(12), status)),
            ..Manners::default()
        };
        let proxy = Proxy::before(server.address(), manners);
        let storage = patient(&bucket, proxy.endpoint(), 120);
        let asked = std::thread::scope(|scope| {
            let list = scope.spawn(|| storage.list("noarch").map(|items| items.len()));
            storage.apply(vec![write("noarch/b")]).unwrap();
            assert!(list.join().unwrap().unwrap() > 0);
            proxy.log().len()
        });
        assert!(asked < 60, "the pauses grow: {asked} requests");
    }
}

#[test]
fn a_store_that_never_answered_is_not_waited_for_long() {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let begun = Instant::now();
    let error = patient(&bucket, &nobody, 300).list("").unwrap_err();
    assert!(error.to_string().contains("AWS_ENDPOINT_URL"), "{error}");
    let took = begun.elapsed();
    assert!((5..60).contains(&took.as_secs()), "{took:?}");
}

#[test]
fn what_a_store_keeps_to_itself_is_told_from_what_it_denies() {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    bucket.put("channel/noarch/a.conda", "x");
    bucket.put("channel/noarch/b.conda", "x");
    let manners = Manners {
        never: Some("a.conda"),
        ..Manners::default()
    };
    let proxy = Proxy::before(server.address(), manners);
    let storage = patient(&bucket, proxy.endpoint(), 1);
    storage.list("noarch").unwrap();
    let mut text = String::new();
    let (mut file, _) = storage.open("noarch/b.conda", Links::Follow).unwrap();
    file.read_to_string(&mut text).unwrap();
    storage.demand_answers().unwrap();
    let (mut file, _) = storage.open("noarch/a.conda", Links::Follow).unwrap();
    file.read_to_string(&mut text).unwrap_err();
    let error = storage.demand_answers().unwrap_err();
    assert!(matches!(error, StorageError::Unavailable { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("a.conda: can't read the object: 500"),
        "{error}"
    );
    storage.forget();
    storage.demand_answers().unwrap();
    // Of what is not there it is an answer that it is not.
    let healthy = patient(&bucket, &endpoint(server), 1);
    assert!(healthy.stat("noarch/c.conda").unwrap().is_none());
    healthy.demand_answers().unwrap();
}

#[test]
fn whoever_waits_for_a_silent_store_gives_up_when_told_to() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let storage = ObjectStorage::open("s3://bucket/channel", options(&endpoint)).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    storage.heed(Some(Arc::clone(&stop)));
    let begun = Instant::now();
    let error = std::thread::scope(|scope| {
        let list = scope.spawn(|| storage.list("noarch").unwrap_err());
        std::thread::sleep(Duration::from_millis(500));
        assert!(!list.is_finished());
        stop.store(true, Ordering::Relaxed);
        list.join().unwrap()
    });
    assert!(error.to_string().contains("the run is to stop"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(10));
    // Nothing is taken for a fault of a package then.
    storage.demand_answers().unwrap_err();
}
