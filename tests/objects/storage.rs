//! What the Storage seam promises, on each server.

use std::io::Read as _;
use std::sync::Arc;

use sigindex::storage::{
    Change, Kind, Links, ObjectOptions, ObjectStorage, ReadAt as _, Storage, StorageError,
};

use crate::proxy::{Manners, Proxy};
use crate::s3::{server, servers};
use crate::scene::builder::Random;
use crate::{endpoint, open, options};

fn write(path: &str, content: impl Into<Vec<u8>>) -> Change {
    Change::Write {
        path: path.to_owned(),
        content: Arc::new(content.into()),
    }
}

fn create(path: &str, content: &str) -> Change {
    Change::Create {
        path: path.to_owned(),
        content: Arc::new(content.into()),
    }
}

fn remove(path: &str) -> Change {
    Change::Remove {
        path: path.to_owned(),
    }
}

fn read(storage: &dyn Storage, path: &str, links: Links) -> String {
    let (mut file, stat) = storage.open(path, links).unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(stat.size, text.len() as u64);
    text
}

fn names(storage: &dyn Storage, folder: &str) -> Vec<String> {
    let items = storage.list(folder).unwrap().into_iter();
    let mut names: Vec<String> = items
        .map(|item| {
            let name = item.name.into_string().unwrap();
            match item.kind {
                Kind::Folder => name + "/",
                _ => name,
            }
        })
        .collect();
    names.sort();
    names
}

#[test]
fn a_batch_replaces_creates_links_and_removes() {
    for server in servers() {
        let bucket = server.bucket();
        bucket.put("channel/noarch/old", "old");
        bucket.put("channel/noarch/stands", "stands");
        bucket.put("channel/noarch/goes", "goes");
        bucket.put("elsewhere/noarch/x", "not ours");
        let storage = open(&bucket, &endpoint(server));
        assert_eq!(names(&storage, ""), ["noarch/"]);
        assert_eq!(names(&storage, "noarch"), ["goes", "old", "stands"]);
        let link = |from: &str, path: &str| Change::Link {
            from: from.to_owned(),
            path: path.to_owned(),
        };
        let changes = vec![
            write("noarch/old", "new"),
            create("noarch/stands", "never"),
            create("noarch/fresh", "fresh"),
            Change::Settle,
            link("noarch/fresh", "noarch/linked"),
            link("noarch/stands", "noarch/linked-too"),
            remove("noarch/goes"),
            remove("noarch/was-never-there"),
            write("linux-64/shards/a", "deep"),
        ];
        storage.apply(changes).unwrap();
        let all = ["fresh", "linked", "linked-too", "old", "stands"];
        let contents = ["fresh", "fresh", "stands", "new", "stands"];
        let other = open(&bucket, &endpoint(server));
        for view in [&storage, &other] {
            assert_eq!(names(view, "noarch"), all);
            let mut top = names(view, "");
            top.retain(|name| name != ".sigindex.lock");
            assert_eq!(top, ["linux-64/", "noarch/"]);
            assert_eq!(names(view, "linux-64/shards"), ["a"]);
            for (name, content) in all.iter().zip(contents) {
                for links in [Links::Follow, Links::Refuse] {
                    assert_eq!(read(view, &format!("noarch/{name}"), links), content);
                }
            }
        }
        for name in all {
            let path = format!("noarch/{name}");
            assert_eq!(
                storage.stat(&path).unwrap(),
                other.stat(&path).unwrap(),
                "{path}"
            );
        }
        assert_eq!(bucket.get("elsewhere/noarch/x").unwrap(), b"not ours");
    }
}

#[test]
fn many_are_written_and_removed_at_once_and_are_known_as_listed() {
    for server in servers() {
        let bucket = server.bucket();
        let proxy = Proxy::before(server.address(), Manners::default());
        let storage = open(&bucket, proxy.endpoint());
        assert_eq!(names(&storage, ""), [""; 0]);
        assert!(storage.list("noarch").unwrap_err().is_absent());
        let path = |number: usize| format!("noarch/{number}.sig");
        let mut changes = vec![Change::Group];
        changes.extend((0..60).map(|number| create(&path(number), &number.to_string())));
        proxy.log();
        storage.apply(changes).unwrap();
        let asked = proxy.log();
        let of = |method: &str| asked.iter().filter(|line| line.starts_with(method)).count();
        // Sixty, one for the lock's object, and two that must be refused.
        assert_eq!(of("PUT"), 63, "{asked:#?}");
        if server.name == "moto" {
            assert!(of("GET") <= 2 && of("HEAD") == 0, "{asked:#?}");
        }
        for number in 0..60 {
            assert_eq!(
                read(&storage, &path(number), Links::Follow),
                number.to_string()
            );
        }
        assert_eq!(proxy.log(), [""; 0], "what was just written is known");
        let other = open(&bucket, proxy.endpoint());
        assert_eq!(names(&other, "noarch"), names(&storage, "noarch"));
        for number in 0..60 {
            let stats = [&storage, &other].map(|view| view.stat(&path(number)).unwrap());
            assert_eq!(stats[0], stats[1]);
        }
        let gone = (0..60).map(|number| remove(&path(number)));
        other
            .apply([Change::Group].into_iter().chain(gone).collect())
            .unwrap();
        assert_eq!(bucket.keys("channel/noarch"), [""; 0]);
    }
}

#[test]
fn pages_folder_markers_and_keys_that_are_prefixes() {
    for server in servers() {
        let bucket = server.bucket();
        let proxy = Proxy::before(server.address(), Manners::default());
        let paged = |page| {
            let options = ObjectOptions {
                page: Some(page),
                ..options(proxy.endpoint())
            };
            ObjectStorage::open(&bucket.url("channel"), options).unwrap()
        };
        for number in 0..23 {
            bucket.put(&format!("channel/noarch/{number}"), "x");
        }
        if server.name == "moto" {
            bucket.put("channel/noarch", "a key that is a prefix");
            bucket.signed("PUT", "channel/");
            bucket.signed("PUT", "channel/noarch/");
            bucket.signed("PUT", "channel/empty/");
        }
        let storage = paged(10);
        assert_eq!(storage.list("noarch").unwrap().len(), 23);
        assert_eq!(proxy.log().len(), 3);
        assert!(storage.stat("noarch/7").unwrap().is_some());
        assert!(storage.stat("noarch/77").unwrap().is_none());
        assert!(
            storage
                .open("noarch/77", Links::Refuse)
                .unwrap_err()
                .is_absent()
        );
        if server.name == "moto" {
            assert_eq!(proxy.log(), [""; 0], "a view answers without a request");
        }
        if server.name == "moto" {
            assert_eq!(names(&storage, ""), ["empty/", "noarch", "noarch/"]);
            assert_eq!(names(&storage, "empty"), [""; 0]);
            let error = paged(10).list("noarch/7").unwrap_err();
            assert!(error.is_absent() || error.is_no_folder(), "{error}");
        }
    }
}

#[test]
fn keys_that_no_file_can_have_are_passed_over() {
    for server in servers().filter(|server| server.name == "moto") {
        let bucket = server.bucket();
        for number in 0..30 {
            bucket.put(&format!("channel/noarch/{number:02}.conda"), "x");
        }
        let odd = [
            "channel/noarch//a",
            "channel/noarch/../b",
            "channel//c",
            "channel/noarch/./d",
        ];
        for odd in odd {
            let made = bucket.signed("PUT", odd);
            assert!(made.starts_with("HTTP/1.1 200"), "{odd}: {made}");
        }
        bucket.put("channel/noarch/ü b+c%2F.conda", "odd and good");
        let storage = open(&bucket, &endpoint(server));
        assert_eq!(names(&storage, ""), ["noarch/"]);
        let found = names(&storage, "noarch");
        assert_eq!(found.len(), 31, "{found:?}");
        let path = "noarch/ü b+c%2F.conda";
        assert_eq!(read(&storage, path, Links::Follow), "odd and good");
        for odd in ["noarch//a", "../x", "noarch/", "", "a\nb"] {
            assert!(matches!(storage.stat(odd), Ok(None)), "{odd:?}");
            assert!(storage.apply(vec![write(odd, "x")]).is_err(), "{odd:?}");
        }
    }
}

#[test]
fn what_rests_on_another_state_is_a_lost_race() {
    for server in servers() {
        let bucket = server.bucket();
        bucket.put("channel/noarch/repodata.json", "first");
        let views = [(); 2].map(|()| open(&bucket, &endpoint(server)));
        for view in &views {
            assert_eq!(view.list("noarch").unwrap().len(), 1);
            // Not all listings name contents; what is asked for is seen then.
            assert!(view.stat("noarch/repodata.json").unwrap().is_some());
        }
        let [one, other] = views;
        let batch = |name: &str| vec![write(name, "one's"), write("noarch/repodata.json", "one's")];
        one.apply(batch("noarch/a")).unwrap();
        let lost = |change| {
            let error = other.apply(vec![change]).unwrap_err();
            assert!(matches!(error, StorageError::LostRace { .. }), "{error}");
        };
        lost(write("noarch/repodata.json", "other's"));
        lost(write("noarch/a", "other's"));
        // What is right already is no race.
        other.apply(vec![write("noarch/a", "one's")]).unwrap();
        other.apply(vec![create("noarch/b", "b")]).unwrap();
        one.apply(vec![create("noarch/b", "another")]).unwrap();
        assert_eq!(read(&one, "noarch/b", Links::Follow), "b");
        one.apply(vec![remove("noarch/a")]).unwrap();
        lost(write("noarch/a", "anew"));
        assert_eq!(
            bucket.get("channel/noarch/repodata.json").unwrap(),
            b"one's"
        );
    }
}

#[test]
fn what_is_replaced_while_it_lies_open_is_never_mixed() {
    for server in servers() {
        let bucket = server.bucket();
        let manners = Manners {
            cut: Some(100_000),
            ..Manners::default()
        };
        let proxy = Proxy::before(server.address(), manners);
        let [old, new] = [1, 2].map(|seed| Random::new(seed).bytes(300_000, 8));
        bucket.put("channel/noarch/a.conda", old.clone());
        let storage = open(&bucket, proxy.endpoint());
        let (mut file, stat) = storage.open("noarch/a.conda", Links::Refuse).unwrap();
        let mut bytes = vec![0; 50_000];
        file.read_exact(&mut bytes).unwrap();
        bucket.put("channel/noarch/a.conda", new);
        let error = file.read_to_end(&mut bytes).unwrap_err();
        assert!(error.to_string().contains("replaced"), "{error}");
        assert!(old.starts_with(&bytes), "never a byte of the other");
        assert_ne!(file.stat().unwrap(), stat);
        // Whoever opens it by what was seen first, sees that it is gone.
        let (mut file, _) = storage.open("noarch/a.conda", Links::Follow).unwrap();
        let cause = file.read_to_end(&mut bytes).unwrap_err();
        let (path, operation) = ("x".to_owned(), "read");
        assert!(
            StorageError::Io {
                path,
                operation,
                cause
            }
            .is_lost_race()
        );
    }
}

#[test]
fn a_broken_answer_is_continued_and_any_place_is_read() {
    for server in servers() {
        let bucket = server.bucket();
        let manners = Manners {
            cut: Some(70_000),
            ..Manners::default()
        };
        let proxy = Proxy::before(server.address(), manners);
        let content = Random::new(3).bytes(1_000_000, 8);
        bucket.put("channel/noarch/a.conda", content.clone());
        bucket.put("channel/noarch/empty", "");
        let storage = open(&bucket, proxy.endpoint());
        let (mut file, _) = storage.open("noarch/a.conda", Links::Follow).unwrap();
        let mut read = Vec::new();
        file.read_to_end(&mut read).unwrap();
        assert!(read == content);
        let mut random = Random::new(4);
        for _ in 0..20 {
            let at = usize::try_from(random.below(1_000_010)).unwrap();
            let mut buffer = [0; 100];
            let count = file.read_at(&mut buffer, at as u64).unwrap();
            assert_eq!(buffer[..count], content[at.min(content.len())..][..count]);
            assert_eq!(count == 0, at >= content.len());
        }
        let (mut empty, stat) = storage.open("noarch/empty", Links::Follow).unwrap();
        assert_eq!((stat.size, empty.read_to_end(&mut read).unwrap()), (0, 0));
    }
}

#[test]
fn a_write_that_got_no_answer_is_known_for_ours() {
    for server in servers() {
        let bucket = server.bucket();
        for seed in 0..3 {
            let manners = Manners {
                faults: 3,
                seed,
                ..Manners::default()
            };
            let proxy = Proxy::before(server.address(), manners);
            let storage = open(&bucket, proxy.endpoint());
            storage.list("noarch").ok();
            for number in 0..4 {
                let name = |kind| format!("noarch/{seed}-{number}-{kind}");
                let text = |round| format!("{seed} {number} {round}");
                storage.apply(vec![create(&name("c"), &text(0))]).unwrap();
                for round in 0..2 {
                    storage.apply(vec![write(&name("w"), text(round))]).unwrap();
                }
                for (kind, round) in [("c", 0), ("w", 1)] {
                    let there = bucket.get(&format!("channel/{}", name(kind))).unwrap();
                    assert_eq!(there, text(round).into_bytes());
                }
            }
        }
    }
}

fn said(storage: Result<ObjectStorage, StorageError>) -> String {
    match storage.and_then(|storage| storage.list("").map(|_| ())) {
        Ok(()) => panic!("nothing was wrong"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn errors_say_what_to_do_and_no_secret() {
    for server in servers() {
        let open = |url: &str, more: &[(&str, &str)]| {
            let mut all = crate::variables(&endpoint(server));
            let more = more
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            all.retain(|(name, _)| !more.clone().any(|(other, _)| other == *name));
            all.extend(more);
            let options = ObjectOptions {
                patience: std::time::Duration::from_secs(1),
                variables: all.into_iter().collect(),
                ..ObjectOptions::default()
            };
            assert!(!format!("{options:?}").contains("not-to-be-shown"));
            ObjectStorage::open(url, options)
        };
        let bucket = server.bucket();
        let url = bucket.url("channel");
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let nobody = format!("http://{}", closed.local_addr().unwrap());
        drop(closed);
        let mut cases = vec![
            (open("s3://no-such-bucket-here/x", &[]), "bucket's name"),
            (
                open(&url, &[("AWS_ENDPOINT_URL", &nobody)]),
                "AWS_ENDPOINT_URL",
            ),
            (open(&url, &[("AWS_ALLOW_HTTP", "false")]), "AWS_ALLOW_HTTP"),
            (
                open(&url, &[("AWS_PROFILE", "no-such-profile")]),
                "no-such-profile",
            ),
            (
                open(
                    &url,
                    &[
                        ("AWS_ACCESS_KEY_ID", ""),
                        ("AWS_SECRET_ACCESS_KEY", ""),
                        ("AWS_METADATA_ENDPOINT", &nobody),
                    ],
                ),
                "AWS_ACCESS_KEY_ID",
            ),
        ];
        if server.name == "s3s-fs" {
            cases.push((
                open(&url, &[("AWS_SECRET_ACCESS_KEY", "wrong")]),
                "credentials",
            ));
        }
        for (storage, words) in cases {
            let said = said(storage);
            assert!(
                said.contains(words) && said.contains("s3://"),
                "{words}: {said}"
            );
            assert!(
                !said.contains("not-to-be-shown") && !said.contains("id-of-a-key"),
                "{said}"
            );
        }
    }
}

#[test]
fn what_came_since_the_listing_is_seen_where_it_is_looked_for_again() {
    let Some(server) = server() else { return };
    let bucket = server.bucket();
    bucket.put("channel/noarch/a", "x");
    let storage = open(&bucket, &endpoint(server));
    storage.list("noarch").unwrap();
    bucket.put("channel/noarch/b", "later");
    assert_eq!(storage.stat("noarch/b").unwrap(), None, "as it was listed");
    let found = storage.look_again("noarch/b").unwrap().unwrap();
    assert_eq!(found.size, 5);
    assert_eq!(storage.stat("noarch/b").unwrap(), Some(found));
    let (file, stat) = storage.open("noarch/b", Links::Follow).unwrap();
    assert_eq!(stat, found);
    drop(file);
    bucket.delete("channel/noarch/a");
    assert_eq!(storage.look_again("noarch/a").unwrap(), None);
    assert_eq!(storage.stat("noarch/a").unwrap(), None);
}
