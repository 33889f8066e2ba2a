//! Signed indexes in object storage: versions only rise, whoever publishes, and a generation is named when it is whole.

use sha2::{Digest as _, Sha256};

use crate::channels::{call, index};
use crate::proxy::{Manners, Proxy};
use crate::s3::{Bucket, servers};
use crate::scene::builder::{Format, PackageSpec};
use crate::scene::{Run, Scene, copy_tree};
use crate::{asked, endpoint};

/// The file name of a package.
fn file(name: &str) -> String {
    let spec = PackageSpec::new(name, "1.0", "0");
    let path = spec.path_in_channel(Format::BOTH[0]);
    path.rsplit('/').next().unwrap().to_owned()
}

fn put(bucket: &Bucket, name: &str) {
    let spec = PackageSpec::new(name, "1.0", "0").subdir("noarch");
    let path = spec.path_in_channel(Format::BOTH[0]);
    bucket.put(&format!("channel/{path}"), spec.bytes(Format::BOTH[0]));
}

/// The timestamp's version, and that all it leads to is there.
fn version(bucket: &Bucket) -> u64 {
    let get = |path: &str| {
        let bytes = bucket.get(&format!("channel/{path}"));
        bytes.unwrap_or_else(|| panic!("{path} is missing"))
    };
    let json = |path: &str| -> serde_json::Value { serde_json::from_slice(&get(path)).unwrap() };
    let timestamp = json("tuf/timestamp.json");
    let version_of = |file: &serde_json::Value, name: &str| {
        let version = file["signed"]["meta"][name]["version"].as_u64();
        version.unwrap()
    };
    let snapshot = json(&format!(
        "tuf/{}.snapshot.json",
        version_of(&timestamp, "snapshot.json")
    ));
    let targets = json(&format!(
        "tuf/{}.targets.json",
        version_of(&snapshot, "targets.json")
    ));
    for (name, target) in targets["signed"]["targets"].as_object().unwrap() {
        let hash = target["hashes"]["sha256"].as_str().unwrap();
        let (folder, file) = name
            .rsplit_once('/')
            .map_or((String::new(), name.as_str()), |(folder, file)| {
                (format!("{folder}/"), file)
            });
        let path = format!("tuf/targets/{folder}{hash}.{file}");
        let bytes = get(&path);
        assert_eq!(bytes.len() as u64, target["length"].as_u64().unwrap());
        let found = sigindex::record::hex(&Sha256::digest(&bytes));
        assert_eq!(found, hash, "{path}");
    }
    timestamp["signed"]["version"].as_u64().unwrap()
}

#[test]
fn versions_only_rise_whoever_publishes() {
    let rounds = asked("SIGINDEX_S3_ROUNDS", 3);
    for server in servers() {
        let manners = Manners {
            one_by_one: true,
            ..Manners::default()
        };
        let proxy = Proxy::before(server.address(), manners);
        let bucket = server.bucket();
        let url = bucket.url("channel");
        let scenes = [Scene::new(), Scene::without_key()];
        put(&bucket, "first");
        index(&scenes[0], &bucket, proxy.endpoint(), &[]).exits(0);
        let trust = |words: &[&str]| call(&scenes[0], proxy.endpoint(), words).run();
        for name in ["rootkey", "indexkey"] {
            scenes[0].run(&["keygen", name]).exits(0);
        }
        trust(&[
            "trust",
            "init",
            &url,
            "--root-key",
            "rootkey",
            "--index-key",
            "indexkey",
        ])
        .exits(0);
        copy_tree(&scenes[0].path("home"), &scenes[1].path("home"));
        index(&scenes[0], &bucket, proxy.endpoint(), &["--key", "fixture"]).exits(0);
        let (mut last, mut races) = (version(&bucket), 0);
        for round in 0..rounds {
            if let Some(before) = round.checked_sub(1) {
                for name in [format!("p{before}"), format!("q{before}")] {
                    let path = format!("channel/noarch/{}", file(&name));
                    bucket.delete(&path);
                    bucket.delete(&format!("{path}.sig"));
                }
            }
            put(&bucket, &format!("p{round}"));
            let start = |scene: &Scene| {
                let words = [url.as_str(), "--json", "--no-lock", "--key", "fixture"];
                call(scene, proxy.endpoint(), &words).start()
            };
            let one = start(&scenes[0]);
            put(&bucket, &format!("q{round}"));
            let other = start(&scenes[1]);
            for run in [one, other].map(Run::of) {
                let lost = run.stderr.contains("another run published meanwhile")
                    || run.stderr.contains("replaced or removed while it was read");
                assert!(run.status() == Some(0) || lost, "{}", run.stderr);
                races += u64::from(lost);
            }
            let now = version(&bucket);
            assert!(now >= last, "{now} after {last}");
            index(
                &scenes[0],
                &bucket,
                &endpoint(server),
                &["--key", "fixture"],
            )
            .exits(0);
            let now = version(&bucket);
            assert!(now > last, "{now} after {last}");
            last = now;
        }
        let asked = Proxy::before(server.address(), Manners::default());
        let run = || index(&scenes[0], &bucket, asked.endpoint(), &["--key", "fixture"]).exits(0);
        // Another endpoint has a cache of its own.
        run();
        asked.log();
        run().counts("opened", 0);
        let log = asked.log();
        assert!(
            !log.iter().any(|line| line.contains("/shards/")
                && line.starts_with("GET")
                && !line.ends_with("/retired.json")),
            "{log:#?}"
        );
        eprintln!(
            "{}: {rounds} rounds, {races} races lost and begun anew, version {last}",
            server.name
        );
        eprintln!(
            "{}: {} requests with nothing new, signed",
            server.name,
            log.len()
        );
    }
}
