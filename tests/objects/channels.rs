//! Whole runs on a channel in object storage, beside the same on a folder.

use std::collections::BTreeMap;

use crate::proxy::{Manners, Proxy};
use crate::s3::{Bucket, servers};
use crate::scene::builder::{Format, PackageSpec};
use crate::scene::{Call, EPOCH, Run, Scene};
use crate::{asked, endpoint, variables};

/// A run on a channel in object storage.
pub fn call(scene: &Scene, endpoint: &str, words: &[&str]) -> Call {
    let call = scene.call(words).env("SOURCE_DATE_EPOCH", EPOCH);
    let all = variables(endpoint).into_iter();
    all.fold(call, |call, (name, value)| call.env(&name, value))
}

pub fn index(scene: &Scene, bucket: &Bucket, endpoint: &str, flags: &[&str]) -> Run {
    let url = bucket.url("channel");
    call(
        scene,
        endpoint,
        &[&[url.as_str(), "--json"], flags].concat(),
    )
    .run()
}

/// Packages of both formats in two subdirs.
fn some_packages(scene: &Scene, count: usize) {
    for number in 0..count {
        let (subdir, format) = match number % 3 {
            0 => ("noarch", Format::BOTH[0]),
            1 => ("linux-64", Format::BOTH[1]),
            _ => ("linux-64", Format::BOTH[0]),
        };
        let spec = PackageSpec::new(&format!("p{number}"), "1.0", "0").subdir(subdir);
        scene.put(&spec, format);
    }
}

/// What lies in a folder, by path.
fn files(scene: &Scene) -> BTreeMap<String, Vec<u8>> {
    let root = scene.path("channel");
    let all = walkdir::WalkDir::new(&root).into_iter().map(Result::unwrap);
    let all = all.filter(|entry| entry.file_type().is_file());
    all.map(|entry| {
        let name = entry.path().strip_prefix(&root).unwrap();
        let bytes = std::fs::read(entry.path()).unwrap();
        (name.to_str().unwrap().to_owned(), bytes)
    })
    .collect()
}

/// What lies in a bucket; the lock aside, which a folder has too, with other words in it.
pub fn objects(bucket: &Bucket) -> BTreeMap<String, Vec<u8>> {
    let mut all = bucket.objects("channel");
    all.remove(".sigindex.lock");
    all
}

#[test]
fn buckets_of_one_name_in_two_stores_share_no_cache() {
    for server in servers() {
        let (scene, bucket) = (Scene::new(), server.bucket());
        let spec = PackageSpec::new("a", "1.0", "0").subdir("noarch");
        let path = spec.path_in_channel(Format::BOTH[0]);
        bucket.put(&format!("channel/{path}"), spec.bytes(Format::BOTH[0]));
        let stores = [0, 1].map(|_| Proxy::before(server.address(), Manners::default()));
        for (store, opened) in [(0, 1), (0, 0), (1, 1), (1, 0), (0, 0)] {
            let run = index(&scene, &bucket, stores[store].endpoint(), &[]);
            run.exits(0).counts("opened", opened);
        }
    }
}

#[test]
fn a_channel_is_the_same_in_a_folder_and_in_object_storage() {
    for server in servers() {
        let scene = Scene::new();
        some_packages(&scene, 9);
        // Signatures hold chance: those of the packages are made once, for both.
        scene.run(&["sign", "channel"]).status();
        let bucket = server.bucket();
        scene.index_at(EPOCH, &["--all"]).exits(0);
        let is_package = |name: &str| {
            let name = name.trim_end_matches(".sig");
            name.ends_with(".conda") || name.ends_with(".tar.bz2")
        };
        bucket.upload(&scene.path("channel"), "channel", is_package);
        let there = Scene::without_key();
        there.give_key("fixture");
        index(&there, &bucket, &endpoint(server), &["--all"]).exits(0);
        let mut expected = files(&scene);
        expected.remove(".sigindex.lock");
        let found = objects(&bucket);
        assert!(
            found.keys().eq(expected.keys()),
            "{:#?}\n{:#?}",
            found.keys(),
            expected.keys()
        );
        for (path, bytes) in &expected {
            assert!(found[path] == *bytes, "{path} on {}", server.name);
        }
    }
}

#[test]
fn a_run_with_nothing_new_asks_for_pages_alone() {
    // The listings of the other one do not name contents, as those of real stores do.
    for server in servers().filter(|server| server.name == "moto") {
        let mut counts = Vec::new();
        for packages in [50, asked("SIGINDEX_S3_PACKAGES", 500)] {
            let packages = usize::try_from(packages).unwrap();
            let scene = Scene::new();
            some_packages(&scene, packages);
            let bucket = server.bucket();
            bucket.upload(&scene.path("channel"), "channel", |_| true);
            let proxy = Proxy::before(server.address(), Manners::default());
            let begun = std::time::Instant::now();
            let first = index(&scene, &bucket, proxy.endpoint(), &[]).exits(0);
            let took = begun.elapsed();
            first.counts("signed", packages as u64);
            let of_first = proxy.log();
            index(&scene, &bucket, proxy.endpoint(), &[])
                .exits(0)
                .counts("opened", 0);
            let before = proxy.log();
            let begun = std::time::Instant::now();
            index(&scene, &bucket, proxy.endpoint(), &[])
                .exits(0)
                .counts("opened", 0);
            let of_second = proxy.log();
            let pages =
                |log: &[String]| log.iter().filter(|line| line.contains("list-type")).count();
            eprintln!(
                "{}, {packages} packages: {} requests first ({} listings, {took:?}), {} then, {} with nothing new ({} listings, {:?})",
                server.name,
                of_first.len(),
                pages(&of_first),
                before.len(),
                of_second.len(),
                pages(&of_second),
                begun.elapsed(),
            );
            assert!(of_first.len() < packages * 5 + 100, "{}", of_first.len());
            assert!(
                !of_second
                    .iter()
                    .any(|line| line.contains("repodata") || line.contains(".conda")),
                "{of_second:#?}"
            );
            counts.push(of_second.len() - pages(&of_second));
        }
        assert_eq!(
            counts[0], counts[1],
            "all but pages is the same for many packages"
        );
    }
}

#[test]
fn a_store_with_faults_is_lived_with() {
    let seed = asked("SIGINDEX_SEED", 1);
    for server in servers() {
        let scene = Scene::new();
        some_packages(&scene, 12);
        let bucket = server.bucket();
        bucket.upload(&scene.path("channel"), "channel", |_| true);
        for round in 0..3 {
            let manners = Manners {
                faults: 6,
                seed: seed * 1_000 + round,
                ..Manners::default()
            };
            let proxy = Proxy::before(server.address(), manners);
            let more = PackageSpec::new(&format!("more{round}"), "1.0", "0");
            let path = more.path_in_channel(Format::BOTH[0]);
            bucket.put(&format!("channel/{path}"), more.bytes(Format::BOTH[0]));
            index(&scene, &bucket, proxy.endpoint(), &["--all"]).exits(0);
        }
        let published = objects(&bucket);
        // A run from nothing, undisturbed, has nothing to change.
        let anew = Scene::new();
        let report = index(&anew, &bucket, &endpoint(server), &["--all"])
            .exits(0)
            .report();
        assert_eq!(report["files"], serde_json::json!([]), "{report:#}");
        assert_eq!(report["counts"]["signed"], 0);
        assert_eq!(objects(&bucket), published);
        assert_eq!(
            published
                .keys()
                .filter(|path| path.ends_with(".sig"))
                .count(),
            15
        );
    }
}

#[test]
fn what_changed_is_published_and_what_is_gone_leaves() {
    for server in servers() {
        let scene = Scene::new();
        some_packages(&scene, 6);
        let bucket = server.bucket();
        bucket.upload(&scene.path("channel"), "channel", |_| true);
        let run = |flags: &[&str]| index(&scene, &bucket, &endpoint(server), flags);
        run(&[]).exits(0).counts("added", 6);
        let gone = bucket.keys("channel/noarch").into_iter();
        let gone = gone.filter(|name| name.starts_with("p0-"));
        for name in gone {
            bucket.delete(&format!("channel/noarch/{name}"));
        }
        let new = PackageSpec::new("new", "1.0", "0").subdir("noarch");
        let path = new.path_in_channel(Format::BOTH[1]);
        bucket.put(&format!("channel/{path}"), new.bytes(Format::BOTH[1]));
        run(&[]).exits(0).counts("added", 1).counts("removed", 1);
        // Other bytes under a name that is published.
        let other = new.clone().payload("other");
        bucket.put(&format!("channel/{path}"), other.bytes(Format::BOTH[1]));
        run(&[]).exits(1);
        run(&["--replace"]).exits(0).counts("replaced", 1);
        let repodata = bucket.get("channel/noarch/repodata.json").unwrap();
        let text = String::from_utf8(repodata).unwrap();
        assert!(text.contains("\"new-1.0-0") && !text.contains("\"p0-1.0-0"));
    }
}
