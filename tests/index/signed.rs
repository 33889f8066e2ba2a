//! A channel whose index is signed: what a run verifies before it believes anything, what it publishes, and in which
//! states it fails closed. The root is made by the library; all runs are the binary's.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use sigindex::cache::NoCache;
use sigindex::index::{Places, RoleKeys, SigningKey, Tools, index};
use sigindex::keys::{Fingerprint, KeyName, KeysDir, PublicKey};
use sigindex::progress::{Display, Progress};
use sigindex::signature::{Signer, local_signer};
use sigindex::storage::{Change, Item, Links, LocalStorage, OpenFile, Stat, Storage, StorageError};
use sigindex::tuf::{
    Anchor, Expired, Generation, Lifetimes, Loading, Role, Root, RootPlan, Targets, by_hash, load,
    make, metadata,
};
use sigindex::upstream::StoredUpstream;

use crate::meddler;
use crate::scene::{EPOCH, Scene};

/// Milliseconds of a day.
const DAY: i64 = 86_400_000;

fn keys(scene: &Scene) -> KeysDir {
    KeysDir::new(scene.path("home/.conda/keys"), false)
}

fn signer(scene: &Scene, name: &str) -> Box<dyn Signer> {
    let name = KeyName::parse(name).unwrap();
    let key = keys(scene).load_private(&name, &|_| panic!("it has no passphrase"));
    local_signer(key.unwrap())
}

fn public(scene: &Scene, name: &str) -> PublicKey {
    signer(scene, name).public_key().clone()
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(since.unwrap().as_millis()).unwrap()
}

/// A root of a channel, signed by `root`, which names these index keys.
fn root(scene: &Scene, version: u64, index_keys: &[&str]) -> Root {
    let plan = RootPlan {
        version,
        expires: now() + 365 * DAY,
        root_keys: vec![public(scene, "root")],
        threshold: 1,
        index_keys: index_keys.iter().map(|name| public(scene, name)).collect(),
        lifetimes: Lifetimes::default(),
    };
    let root = Root::draft(&plan).unwrap();
    root.add_signature(signer(scene, "root").as_ref()).unwrap()
}

/// Switches the signed index on in a folder.
fn switch_on(scene: &Scene, folder: &str) {
    for name in ["root", "index"] {
        scene.run(&["keygen", name]).exits(0);
    }
    scene.write(
        &format!("{folder}/tuf/1.root.json"),
        root(scene, 1, &["index"]).bytes(),
    );
}

/// Three packages, and a root without a generation.
fn of_three() -> Scene {
    let scene = Scene::of_three();
    switch_on(&scene, "channel");
    scene
}

/// The same, published once.
fn published() -> Scene {
    let scene = of_three();
    scene.index(&[]).exits(0);
    scene
}

fn loaded(scene: &Scene, folder: &str) -> Generation {
    let storage = LocalStorage::open(&scene.path(folder)).unwrap();
    let anchor: [Fingerprint; 1] = [public(scene, "root").fingerprint()];
    let generation = load(Loading {
        upstream: Arc::new(StoredUpstream::new(folder.to_owned(), Arc::new(storage))),
        anchor: Anchor::Pinned(&anchor),
        memory: None,
        expired: Expired::Allowed,
    });
    generation.unwrap()
}

/// The generation that clients see, every file of which is there by hash and has its plain file beside it.
#[track_caller]
fn whole_in(scene: &Scene, folder: &str) -> Generation {
    let generation = loaded(scene, folder);
    for (name, target) in &generation.targets {
        let path = format!("{folder}/{}", by_hash(name, &target.sha256));
        let bytes = scene.read(&path);
        assert_eq!(bytes.len() as u64, target.length, "{name}");
        assert_eq!(sha256(&bytes), target.sha256, "{name}");
        if !name.starts_with("keys/") {
            assert_eq!(scene.read(&format!("{folder}/{name}")), bytes, "{name}");
        }
    }
    generation
}

fn whole(scene: &Scene) -> Generation {
    whole_in(scene, "channel")
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).into()
}

fn version(generation: &Generation) -> u64 {
    generation.versions[&Role::Timestamp]
}

/// The path by hash of a target in the channel.
fn hashed(generation: &Generation, name: &str) -> String {
    format!(
        "channel/{}",
        by_hash(name, &generation.targets[name].sha256)
    )
}

/// Puts another file in a plain file's place, as an attacker or a broken sync does.
fn replace(scene: &Scene, path: &str, bytes: impl AsRef<[u8]>) {
    let other = format!("{path}.other");
    scene.write(&other, bytes);
    std::fs::rename(scene.path(&other), scene.path(path)).unwrap();
}

/// Everything that lies in the channel, without times.
fn content(scene: &Scene, folder: &str) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let seen = scene.snapshot(folder).into_iter();
    seen.map(|(path, (_, _, _, content))| (path, content))
        .collect()
}

fn names(targets: &Targets) -> BTreeSet<&str> {
    targets.keys().map(String::as_str).collect()
}

#[test]
fn a_generation_names_every_index_file_and_the_package_key() {
    let scene = of_three();
    let run = scene.index(&[]).exits(0).counts("signed", 3);
    let report = run.report();
    assert_eq!(report["signed_index"]["new"], true);
    assert_eq!(report["signed_index"]["versions"]["timestamp"], 1);
    // Whole days: less than a fourteenth one is over, unless it was made and told in one moment.
    let left = report["signed_index"]["days_left"]["timestamp"].as_u64();
    assert!(matches!(left, Some(13 | 14)), "{left:?}");
    let generation = whole(&scene);
    let expected = [
        "index.html",
        "keys/fixture.pub",
        "linux-64/index.html",
        "linux-64/repodata.json",
        "linux-64/repodata.json.zst",
        "linux-64/repodata_shards.msgpack.zst",
        "linux-64/run_exports.json",
        "linux-64/run_exports.json.zst",
        "noarch/index.html",
        "noarch/repodata.json",
        "noarch/repodata.json.zst",
        "noarch/repodata_shards.msgpack.zst",
        "noarch/run_exports.json",
        "noarch/run_exports.json.zst",
    ];
    assert_eq!(names(&generation.targets), BTreeSet::from(expected));
    let key = scene.read(&hashed(&generation, "keys/fixture.pub"));
    assert_eq!(key, public(&scene, "fixture").to_pem().as_bytes());
    scene.run(&["verify", "channel"]).exits(0);
}

#[test]
fn a_file_and_its_target_are_one_file() {
    let scene = published();
    let generation = whole(&scene);
    let inode = |path: &str| std::fs::metadata(scene.path(path)).unwrap().ino();
    for name in names(&generation.targets) {
        if !name.starts_with("keys/") {
            assert_eq!(
                inode(&format!("channel/{name}")),
                inode(&hashed(&generation, name)),
                "{name}"
            );
        }
    }
}

#[test]
fn a_run_that_changes_nothing_writes_nothing() {
    let scene = published();
    let before = scene.snapshot("channel");
    let nothing: [&str; 0] = [];
    for flags in [&[][..], &["--rehash"]] {
        let run = scene.index(flags).exits(0).has("files", &nothing);
        assert_eq!(run.report()["signed_index"]["new"], false);
    }
    let run = scene.run(&["channel"]).exits(0).says("up to date");
    run.says(
        "signed index: generation 1; days left: root 364, targets 89, snapshot 29, timestamp 13",
    );
    assert_eq!(scene.snapshot("channel"), before);
    // Neither does one without the index key, which nothing is signed with.
    scene.take_key("index");
    scene.index(&[]).exits(0);
    assert_eq!(scene.snapshot("channel"), before);
}

#[test]
fn a_new_package_makes_a_new_generation_and_the_old_one_stays() {
    let scene = published();
    let before = whole(&scene);
    scene.package("d");
    let run = scene.index(&[]).exits(0).counts("signed", 1);
    assert_eq!(run.report()["signed_index"]["versions"]["timestamp"], 2);
    let after = whole(&scene);
    assert!(
        after
            .versions
            .iter()
            .all(|(role, version)| { *version == if *role == Role::Root { 1 } else { 2 } })
    );
    for (name, target) in &before.targets {
        let path = format!("channel/{}", by_hash(name, &target.sha256));
        assert_eq!(sha256(&scene.read(&path)), target.sha256, "{name}");
    }
    let unchanged = "noarch/repodata.json";
    assert_eq!(before.targets[unchanged], after.targets[unchanged]);
    assert_ne!(
        before.targets["linux-64/repodata.json"],
        after.targets["linux-64/repodata.json"]
    );
}

#[test]
fn a_plain_file_that_differs_is_written_again_and_not_believed() {
    let scene = published();
    let before = content(&scene, "channel");
    let a = scene.package("a");
    let mut forged = scene.repodata("linux-64");
    forged["packages.conda"]["a-1.0-0.conda"]["indexed_timestamp"] = 1.into();
    replace(&scene, "channel/linux-64/repodata.json", forged.to_string());
    for path in [
        "linux-64/repodata.json.zst",
        "linux-64/run_exports.json",
        "linux-64/repodata_shards.msgpack.zst",
        "noarch/repodata.json",
    ] {
        replace(&scene, &format!("channel/{path}"), "planted");
    }
    scene.remove("channel/noarch/repodata.json.zst");
    scene.remove("cache/sigindex");
    let run = scene.index(&[]).exits(0).counts("added", 0);
    assert_eq!(run.report()["signed_index"]["new"], false);
    assert_ne!(scene.record(&a)["indexed_timestamp"], 1);
    assert_eq!(content(&scene, "channel"), before);
    whole(&scene);
}

#[test]
fn a_package_that_changed_is_known_by_the_signed_index_alone() {
    let scene = published();
    let a = scene.package("a");
    scene.change(&a);
    for path in [
        "repodata.json",
        "repodata.json.zst",
        "repodata_shards.msgpack.zst",
    ] {
        scene.remove(&format!("channel/linux-64/{path}"));
    }
    scene.remove("cache/sigindex");
    let run = scene.index(&[]).exits(1);
    run.refuses(&a, "changed since it was published");
}

#[test]
fn a_broken_file_by_hash_is_an_error_until_it_is_accepted() {
    for name in [
        "linux-64/repodata.json",
        "noarch/index.html",
        "keys/fixture.pub",
    ] {
        for missing in [false, true] {
            let scene = published();
            let path = hashed(&whole(&scene), name);
            match missing {
                true => scene.remove(&path),
                false => replace(&scene, &path, "planted"),
            }
            scene.package("d");
            let before = content(&scene, "channel");
            for flags in [&["--dry-run"][..], &[], &["--subdir", "noarch"]] {
                let run = scene.index(flags).exits(1);
                run.says(name.rsplit('/').next().unwrap())
                    .says("--accept-index");
                assert_eq!(content(&scene, "channel"), before);
            }
            let run = scene.index(&["--accept-index"]).exits(0);
            run.says("a new generation begins").counts("added", 1);
            assert_eq!(version(&whole(&scene)), 2);
            scene.index(&[]).exits(0).never_says("accept");
        }
    }
}

/// A folder in which a file is another one when it is opened for the second time.
struct Swapping<'a> {
    scene: &'a Scene,
    storage: LocalStorage,
    path: String,
    opened: AtomicUsize,
}

impl Storage for Swapping<'_> {
    fn list(&self, folder: &str) -> Result<Vec<Item>, StorageError> {
        self.storage.list(folder)
    }

    fn stat(&self, path: &str) -> Result<Option<Stat>, StorageError> {
        self.storage.stat(path)
    }

    fn open(&self, path: &str, links: Links) -> Result<(OpenFile, Stat), StorageError> {
        if path == self.path && self.opened.fetch_add(1, Ordering::SeqCst) == 1 {
            let path = format!("channel/{path}");
            let other = self.scene.text(&path).replace("\"license\"", "\"licence\"");
            replace(self.scene, &path, other);
        }
        self.storage.open(path, links)
    }

    fn apply(&self, changes: Vec<Change>) -> Result<(), StorageError> {
        self.storage.apply(changes)
    }
}

#[test]
fn what_is_read_after_the_verification_is_held_against_its_hash_again() {
    let scene = published();
    let generation = whole(&scene);
    let name = "linux-64/repodata.json";
    let swapping = Swapping {
        scene: &scene,
        storage: LocalStorage::open(&scene.path("channel")).unwrap(),
        path: by_hash(name, &generation.targets[name].sha256),
        opened: AtomicUsize::new(0),
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build();
    let tools = Tools {
        places: Places::new(&swapping, None),
        cache: &mut NoCache,
        keyring: &keys(&scene).public_keys().unwrap(),
        key: SigningKey::new(
            Box::new(|_| panic!("all is signed")),
            Box::new(|_| Ok(None)),
        ),
        roles: RoleKeys {
            anchors: vec![public(&scene, "root").fingerprint()],
            open: Box::new(|_| Ok(signer(&scene, "index"))),
            check: Box::new(|_| Ok(None)),
        },
        log: None,
        pool: &pool.unwrap(),
        progress: &Progress::new(Display::Silent),
        cancelled: &AtomicBool::new(false),
    };
    let error = index(&meddler::config(), tools).unwrap_err();
    assert!(error.to_string().contains("not what was signed"), "{error}");
    assert!(swapping.opened.into_inner() > 1);
    assert_eq!(loaded(&scene, "channel").targets, generation.targets);
}

#[test]
fn metadata_that_does_not_verify_is_an_error_until_it_is_accepted() {
    for (role, version) in [
        (Role::Timestamp, 0),
        (Role::Snapshot, 1),
        (Role::Targets, 1),
    ] {
        for how in ["missing", "other signature", "no json"] {
            let scene = published();
            let path = format!("channel/{}", metadata(role, version));
            match how {
                "missing" => scene.remove(&path),
                "no json" => replace(&scene, &path, "{"),
                _ => {
                    let mut file = scene.json(&path);
                    let signature = file["signatures"][0]["sig"].as_str().unwrap().to_owned();
                    let first = if signature.starts_with('0') { "1" } else { "0" };
                    file["signatures"][0]["sig"] = format!("{first}{}", &signature[1..]).into();
                    replace(&scene, &path, file.to_string());
                }
            }
            scene.package("d");
            let before = content(&scene, "channel");
            scene.index(&[]).exits(1).says("--accept-index");
            assert_eq!(content(&scene, "channel"), before, "{role:?} {how}");
            scene.index(&["--accept-index"]).exits(0).counts("added", 1);
            assert!(self::version(&whole(&scene)) >= 2, "{role:?} {how}");
        }
    }
}

#[test]
fn who_takes_the_timestamp_away_makes_no_first_generation() {
    let scene = published();
    scene.remove("channel/tuf/timestamp.json");
    // Neither with the rest of the generation gone, nor on a machine that never saw it.
    scene.index(&[]).exits(1).says("--accept-index");
    let seen = scene.path("cache/sigindex");
    std::fs::rename(&seen, scene.path("cache/away")).unwrap();
    scene.index(&[]).exits(1).says("--accept-index");
    std::fs::remove_dir_all(&seen).unwrap();
    std::fs::rename(scene.path("cache/away"), &seen).unwrap();
    scene.remove("channel/tuf/1.snapshot.json");
    scene.remove("channel/tuf/1.targets.json");
    scene.index(&[]).exits(1).says("--accept-index");
    scene.index(&["--accept-index"]).exits(0);
    assert_eq!(version(&whole(&scene)), 2, "it lies above what was seen");
}

#[test]
fn who_takes_the_signed_index_away_does_not_switch_it_off() {
    let scene = published();
    let before = scene.snapshot("channel");
    std::fs::rename(scene.path("channel/tuf"), scene.path("tuf")).unwrap();
    for flags in [&[][..], &["--accept-index"], &["--dry-run"]] {
        scene.index(flags).exits(1).says("its index was signed");
    }
    std::fs::rename(scene.path("tuf"), scene.path("channel/tuf")).unwrap();
    assert_eq!(scene.snapshot("channel").len(), before.len());
    scene.index(&[]).exits(0);
    scene.remove("channel/tuf");
    scene.remove("cache/sigindex");
    scene.index(&[]).exits(0);
}

#[test]
fn a_folder_that_was_put_back_is_refused_and_versions_rise_above_what_was_seen() {
    let scene = published();
    crate::scene::copy_tree(&scene.path("channel"), &scene.path("old"));
    for package in ["d", "e"] {
        scene.package(package);
        scene.index(&[]).exits(0);
    }
    assert_eq!(version(&whole(&scene)), 3);
    std::fs::rename(scene.path("channel"), scene.path("new")).unwrap();
    std::fs::rename(scene.path("old"), scene.path("channel")).unwrap();
    let before = content(&scene, "channel");
    let run = scene.index(&[]).exits(1).says("put back to an older state");
    run.says("--accept-index");
    assert_eq!(content(&scene, "channel"), before);
    let run = scene.index(&["--accept-index"]).exits(0);
    run.says("put back").counts("listed", 3);
    let generation = whole(&scene);
    assert!(
        generation
            .versions
            .iter()
            .all(|(role, version)| { *version == if *role == Role::Root { 1 } else { 4 } })
    );
    scene.index(&[]).exits(0).never_says("put back");
}

#[test]
fn without_the_roots_public_key_nothing_is_published() {
    let scene = published();
    scene.take_key("root");
    scene.package("d");
    let before = content(&scene, "channel");
    for flags in [&[][..], &["--accept-index"]] {
        scene.index(flags).exits(1).says("sigindex keys add");
        assert_eq!(content(&scene, "channel"), before);
    }
}

#[test]
fn without_the_index_key_it_fails_before_anything_is_signed() {
    let scene = of_three();
    let index = scene.read("home/.conda/keys/index");
    scene.take_key("index");
    let before = content(&scene, "channel");
    for flags in [&[][..], &["--dry-run"]] {
        let run = scene.index(flags).exits(1);
        run.says("$SIGINDEX_INDEX_PRIVATE_KEY");
        let lock = scene.path("channel/.sigindex.lock");
        let mut after = content(&scene, "channel");
        after.remove(&lock);
        assert_eq!(after, before, "{flags:?}");
    }
    let call = scene.index_call(&[]);
    let call = call.env(
        "SIGINDEX_INDEX_PRIVATE_KEY",
        String::from_utf8(index).unwrap(),
    );
    call.run().exits(1).says("SIGINDEX_INDEX_KEY_NAME");
}

#[test]
fn the_index_key_may_come_from_the_environment() {
    let scene = of_three();
    let index = String::from_utf8(scene.read("home/.conda/keys/index")).unwrap();
    let other = String::from_utf8(scene.read("home/.conda/keys/fixture")).unwrap();
    scene.take_key("index");
    let with = |key: &str| {
        let call = scene.index_call(&[]).env("SIGINDEX_INDEX_PRIVATE_KEY", key);
        call.env("SIGINDEX_INDEX_KEY_NAME", "index").run()
    };
    with(&other)
        .exits(1)
        .says("may not sign the channel's index");
    assert!(!scene.exists("channel/linux-64/a-1.0-0.conda.sig"));
    with(&index).exits(0).counts("signed", 3);
}

#[test]
fn role_keys_sign_no_package() {
    let scene = of_three();
    for name in ["root", "index"] {
        let run = scene.index(&["--key", name]).exits(1);
        run.says(name).says("signs indexes");
        assert!(!scene.exists("channel/linux-64/a-1.0-0.conda.sig"));
    }
    scene.take_key("fixture");
    scene.index(&[]).exits(1).says("keygen");
    // A signature that one of them made elsewhere does not count here.
    scene.give_key("fixture");
    let name = KeyName::parse("index").unwrap();
    let signer = signer(&scene, "index");
    let digest = sha256(&scene.read("channel/linux-64/a-1.0-0.conda"));
    let signature = sigindex::signature::sign(signer.as_ref(), &digest).unwrap();
    assert_eq!(signature.key, name);
    scene.write(
        "channel/linux-64/a-1.0-0.conda.sig",
        signature.to_file_bytes(),
    );
    let run = scene.index(&[]).exits(3);
    run.refuses("linux-64/a-1.0-0.conda", "signs indexes");
}

#[test]
fn other_subdirs_are_carried_over_and_those_that_vanished_leave() {
    let scene = of_three();
    for subdir in ["osx-64", "win-64"] {
        std::fs::create_dir(scene.path(&format!("channel/{subdir}"))).unwrap();
    }
    scene.index(&[]).exits(0);
    let before = whole(&scene);
    scene.remove("channel/win-64");
    scene.package("d");
    scene.index(&["--subdir", "linux-64"]).exits(0);
    let after = whole(&scene);
    assert!(names(&before.targets).contains("win-64/repodata.json"));
    assert!(
        !names(&after.targets)
            .iter()
            .any(|name| name.starts_with("win-64/"))
    );
    for name in [
        "osx-64/repodata.json",
        "noarch/repodata.json",
        "keys/fixture.pub",
    ] {
        assert_eq!(before.targets[name], after.targets[name], "{name}");
    }
}

#[test]
fn subdirs_that_no_generation_named_are_not_signed() {
    let scene = of_three();
    std::fs::rename(scene.path("channel/tuf"), scene.path("tuf")).unwrap();
    scene.index(&["--key", "fixture"]).exits(0);
    std::fs::rename(scene.path("tuf"), scene.path("channel/tuf")).unwrap();
    let run = scene.index(&["--subdir", "noarch"]).exits(0);
    run.says("linux-64: its index is not signed");
    let generation = whole(&scene);
    assert!(
        !names(&generation.targets)
            .iter()
            .any(|name| name.starts_with("linux-64/"))
    );
    scene
        .index(&[])
        .exits(0)
        .never_says("its index is not signed");
    assert!(names(&whole(&scene).targets).contains("linux-64/repodata.json"));
}

#[test]
fn an_index_key_is_replaced_through_the_root() {
    let scene = published();
    scene.run(&["keygen", "index2"]).exits(0);
    let both = root(&scene, 2, &["index", "index2"]);
    let second = root(&scene, 3, &["index2"]);
    scene.write("channel/tuf/2.root.json", both.bytes());
    scene.take_key("index");
    // What the old key signed still holds, and is signed anew by the new one.
    let run = scene.index(&[]).exits(0);
    assert_eq!(run.report()["signed_index"]["new"], true);
    assert_eq!(version(&whole(&scene)), 2);
    scene.write("channel/tuf/3.root.json", second.bytes());
    for new in [true, false] {
        let run = scene.index(&[]).exits(0);
        assert_eq!(run.report()["signed_index"]["new"], new);
        assert_eq!(run.report()["signed_index"]["versions"]["root"], 3);
    }
    // An older root is a rollback too.
    scene.remove("channel/tuf/3.root.json");
    scene.index(&[]).exits(1).says("put back to an older state");
}

#[test]
fn a_root_that_begins_anew_is_accepted_once() {
    let scene = published();
    scene.write(
        "channel/tuf/2.root.json",
        root(&scene, 2, &["index"]).bytes(),
    );
    scene.index(&[]).exits(0);
    // Lost, and made anew: its number is lower than the one that was seen.
    std::fs::remove_dir_all(scene.path("channel/tuf")).unwrap();
    scene.write(
        "channel/tuf/1.root.json",
        root(&scene, 1, &["index"]).bytes(),
    );
    scene.index(&[]).exits(1).says("--accept-index");
    scene.index(&["--accept-index"]).exits(0);
    let run = scene.index(&[]).exits(0);
    assert_eq!(run.report()["signed_index"]["new"], false);
    whole(&scene);
}

#[test]
fn a_root_that_does_not_follow_is_not_taken() {
    let scene = published();
    scene.run(&["keygen", "other"]).exits(0);
    let plan = RootPlan {
        version: 2,
        root_keys: vec![public(&scene, "other")],
        ..root(&scene, 1, &["index"]).plan()
    };
    let other = Root::draft(&plan).unwrap();
    let other = other
        .add_signature(signer(&scene, "other").as_ref())
        .unwrap();
    scene.take_key("other");
    scene.package("d");
    for planted in [other.bytes(), b"{}", b""] {
        scene.write("channel/tuf/2.root.json", planted);
        let before = content(&scene, "channel");
        let run = scene.index(&[]).exits(1);
        run.says("2.root.json").says("takes away");
        assert_eq!(content(&scene, "channel"), before);
    }
    // As the message says.
    scene.remove("channel/tuf/2.root.json");
    scene.index(&[]).exits(0).counts("added", 1);
    whole(&scene);
}

#[test]
fn what_stood_there_before_is_the_first_generations() {
    let scene = Scene::of_three();
    let a = scene.package("a");
    scene.index_at("1000", &[]).exits(0);
    let before = content(&scene, "channel/linux-64");
    switch_on(&scene, "channel");
    let run = scene.index(&[]).exits(0).counts("added", 0);
    assert_eq!(run.report()["signed_index"]["new"], true);
    assert_eq!(scene.record(&a)["indexed_timestamp"], 1_000_000);
    assert_eq!(content(&scene, "channel/linux-64"), before);
    whole(&scene);
}

#[test]
fn with_output_the_signed_index_is_the_outputs() {
    let scene = Scene::of_three();
    switch_on(&scene, "out");
    let before = content(&scene, "channel");
    for new in [true, false] {
        let run = scene.index(&["--output", "out"]).exits(0);
        assert_eq!(run.report()["signed_index"]["new"], new);
    }
    assert_eq!(content(&scene, "channel"), before);
    let generation = loaded(&scene, "out");
    for (name, target) in &generation.targets {
        let bytes = scene.read(&format!("out/{}", by_hash(name, &target.sha256)));
        assert_eq!(sha256(&bytes), target.sha256);
    }
    let path = format!(
        "out/{}",
        by_hash(
            "noarch/repodata.json",
            &generation.targets["noarch/repodata.json"].sha256
        )
    );
    replace(&scene, &path, "planted");
    scene
        .index(&["--output", "out"])
        .exits(1)
        .says("--accept-index");
}

#[test]
fn a_dry_run_plans_a_generation_and_touches_nothing() {
    let scene = of_three();
    let before = scene.snapshot("channel");
    let run = scene.index(&["--dry-run"]).exits(0);
    let report = run.report();
    assert_eq!(report["signed_index"]["new"], true);
    let files: Vec<&str> = report["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one.as_str().unwrap())
        .collect();
    for file in [
        "tuf/1.snapshot.json",
        "tuf/timestamp.json",
        "tuf/targets/",
        "noarch/repodata.json",
    ] {
        assert!(files.contains(&file), "{files:?}");
    }
    assert_eq!(scene.snapshot("channel"), before);
    assert!(!scene.exists("cache/sigindex"));
    scene.index(&[]).exits(0).has("files", &files);
}

/// Publishes what stands there once more, in metadata of `days` ago.
fn publish_days_ago(scene: &Scene, days: i64) {
    let before = loaded(scene, "channel");
    let signer = signer(scene, "index");
    let made = make(
        &before.root,
        Some(&before),
        &before.targets,
        &Lifetimes::default(),
        signer.as_ref(),
        now() - days * DAY,
    );
    let made = made.unwrap();
    for (path, bytes) in made.metadata.iter().chain([&made.timestamp]) {
        replace(scene, &format!("channel/{path}"), bytes);
    }
}

#[test]
fn what_expires_is_told_and_renewed_with_the_next_change() {
    let scene = published();
    publish_days_ago(&scene, 10);
    let run = scene
        .index(&[])
        .exits(0)
        .says("the timestamp metadata is good for 3 more days");
    run.says("sigindex trust refresh")
        .never_says("snapshot metadata");
    publish_days_ago(&scene, 20);
    let before = content(&scene, "channel");
    let run = scene
        .index(&[])
        .exits(0)
        .says("the timestamp metadata has expired");
    let run = run.says("sigindex trust refresh");
    assert!(run.report()["signed_index"]["days_left"]["timestamp"].as_i64() < Some(0));
    assert_eq!(content(&scene, "channel"), before);
    scene.package("d");
    let run = scene
        .index(&[])
        .exits(0)
        .says("had expired, and is renewed");
    run.never_says("trust refresh");
    scene.index(&[]).exits(0).never_says("expired");
}

/// Gives a file another time.
fn age(scene: &Scene, path: &str, hours: u64) {
    let file = File::options().write(true).open(scene.path(path)).unwrap();
    let at = SystemTime::now() - Duration::from_secs(hours * 3_600);
    file.set_modified(at).unwrap();
}

#[test]
fn old_generations_go_after_an_hour_but_for_the_last_three() {
    let scene = published();
    let first = whole(&scene);
    for package in ["d", "e", "f", "g"] {
        scene.package(package);
        scene.index(&["--keep-shards", "0"]).exits(0);
    }
    let has = |version| scene.exists(&format!("channel/tuf/{version}.snapshot.json"));
    assert!((1..=5).all(has), "all are young");
    for version in 1..=5 {
        age(&scene, &format!("channel/tuf/{version}.snapshot.json"), 2);
    }
    let run = scene.index(&["--dry-run"]).exits(0);
    assert!(!run.report()["deleted"].as_array().unwrap().is_empty());
    assert!((1..=5).all(has));
    scene.index(&[]).exits(0);
    assert_eq!(
        (1..=5).map(has).collect::<Vec<_>>(),
        [false, false, true, true, true]
    );
    assert!(
        !scene.exists("channel/tuf/1.targets.json") && scene.exists("channel/tuf/3.targets.json")
    );
    assert!(scene.exists("channel/tuf/1.root.json"));
    assert!(!scene.exists(&hashed(&first, "linux-64/repodata.json")));
    let current = whole(&scene);
    let before = scene.snapshot("channel");
    scene.index(&[]).exits(0);
    assert_eq!(scene.snapshot("channel"), before);
    scene.index(&["--keep-generations", "1"]).exits(0);
    assert_eq!((3..=5).map(has).collect::<Vec<_>>(), [false, false, true]);
    assert_eq!(whole(&scene).targets, current.targets);
    let named: BTreeSet<PathBuf> = current
        .targets
        .keys()
        .map(|name| scene.path(&hashed(&current, name)))
        .collect();
    let files = content(&scene, "channel/tuf/targets").into_iter();
    let files: BTreeSet<PathBuf> = files
        .filter(|(_, content)| content.is_some())
        .map(|(path, _)| path)
        .collect();
    assert_eq!(files, named);
}

#[test]
fn runs_and_refresh_remember_what_the_other_saw() {
    let scene = published();
    let refresh = ["trust", "refresh", "channel", "--all"];
    let first = scene.read("channel/tuf/timestamp.json");
    scene.run(&refresh).exits(0);
    let second = scene.read("channel/tuf/timestamp.json");
    scene.write("channel/tuf/timestamp.json", &first);
    scene.index(&[]).exits(1).says("this machine saw version 2");
    scene.write("channel/tuf/timestamp.json", &second);
    scene.package("d");
    scene.index(&[]).exits(0);
    assert_eq!(version(&whole(&scene)), 3);
    scene.write("channel/tuf/timestamp.json", &second);
    scene
        .run(&refresh)
        .exits(1)
        .says("older than what this machine saw");
}

#[test]
fn what_is_planted_under_old_names_stops_no_run() {
    let scene = published();
    for package in ["d", "e"] {
        scene.package(package);
        scene.index(&[]).exits(0);
    }
    let path = |name: &str| scene.path(&format!("channel/tuf/{name}"));
    for name in ["1.snapshot.json", "1.targets.json", "2.snapshot.json"] {
        std::fs::remove_file(path(name)).unwrap();
    }
    let fifo = std::process::Command::new("mkfifo")
        .arg(path("1.snapshot.json"))
        .status();
    assert!(fifo.unwrap().success());
    std::fs::create_dir(path("1.targets.json")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", path("2.snapshot.json")).unwrap();
    scene.package("f");
    scene.index(&["--keep-generations", "1"]).exits(0);
    assert_eq!(version(&whole(&scene)), 4);
    assert!(path("1.targets.json").is_dir());
}

/// Every state in which a run can be killed while it publishes: the files of its batch are put in place one by one.
#[test]
fn whenever_a_run_is_killed_readers_see_one_generation_and_the_next_run_heals() {
    let scene = of_three();
    scene.index_at(EPOCH, &[]).exits(0);
    crate::scene::copy_tree(&scene.path("channel"), &scene.path("old"));
    let old = whole(&scene);
    scene.package("d");
    let report = scene.index_at(EPOCH, &[]).exits(0).report();
    let new = whole(&scene);
    let files: Vec<String> = serde_json::from_value(report["files"].clone()).unwrap();
    assert_eq!(files.last().map(String::as_str), Some("tuf/timestamp.json"));
    let expected = content(&scene, "channel/linux-64");
    std::fs::rename(scene.path("channel"), scene.path("new")).unwrap();
    std::fs::rename(scene.path("cache"), scene.path("cache-new")).unwrap();
    for placed in 0..=files.len() {
        crate::scene::copy_tree(&scene.path("old"), &scene.path("channel"));
        for sig in [
            "d-1.0-0.conda",
            "d-1.0-0.conda.sig",
            "d-1.0-0.tar.bz2",
            "d-1.0-0.tar.bz2.sig",
        ] {
            let from = scene.path(&format!("new/linux-64/{sig}"));
            if from.exists() {
                std::fs::copy(from, scene.path(&format!("channel/linux-64/{sig}"))).unwrap();
            }
        }
        for file in &files[..placed] {
            let (from, to) = (
                scene.path(&format!("new/{file}")),
                scene.path(&format!("channel/{file}")),
            );
            match file.ends_with('/') {
                true => crate::scene::copy_tree(&from, &to),
                false => drop(std::fs::copy(from, to).unwrap()),
            }
        }
        let seen = loaded(&scene, "channel");
        let is_new = placed == files.len();
        assert_eq!(
            seen.targets,
            if is_new { &new } else { &old }.targets,
            "{placed}"
        );
        for (name, target) in &seen.targets {
            let bytes = scene.read(&format!("channel/{}", by_hash(name, &target.sha256)));
            assert_eq!(sha256(&bytes), target.sha256, "{placed} {name}");
        }
        // The time of first sight is in the cache of the run that was killed.
        crate::scene::copy_tree(&scene.path("cache-new"), &scene.path("cache"));
        forget_versions(&scene);
        scene.index_at(EPOCH, &[]).exits(0);
        let healed = whole(&scene);
        assert_eq!(healed.targets, new.targets, "{placed}");
        assert!(version(&healed) >= 2);
        assert_eq!(content(&scene, "channel/linux-64"), expected, "{placed}");
        let before = scene.snapshot("channel");
        scene.index_at(EPOCH, &[]).exits(0);
        assert_eq!(scene.snapshot("channel"), before, "{placed}");
        scene.remove("channel");
        scene.remove("cache");
    }
}

/// A run that is killed remembers no version that it did not publish.
fn forget_versions(scene: &Scene) {
    for entry in walkdir::WalkDir::new(scene.path("cache")) {
        let path = entry.unwrap().into_path();
        if path.ends_with("cache.db") {
            let cache = rusqlite::Connection::open(path).unwrap();
            cache.execute("UPDATE seen SET version = 1", []).unwrap();
        }
    }
}

#[test]
fn a_first_generation_that_was_killed_is_completed() {
    let scene = of_three();
    scene.index(&[]).exits(0);
    scene.remove("channel/tuf/timestamp.json");
    for entry in walkdir::WalkDir::new(scene.path("cache")) {
        let path = entry.unwrap().into_path();
        if path.ends_with("cache.db") {
            let cache = rusqlite::Connection::open(path).unwrap();
            cache
                .execute("UPDATE seen SET version = 0 WHERE role = 'timestamp'", [])
                .unwrap();
            cache
                .execute("DELETE FROM seen WHERE role IN ('snapshot', 'targets')", [])
                .unwrap();
        }
    }
    scene.index(&[]).exits(0);
    whole(&scene);
}

#[test]
fn somebodys_own_page_is_left_alone_and_not_signed() {
    let scene = of_three();
    scene.write("channel/index.html", "<p>ours</p>");
    scene.index(&[]).exits(0).says("left alone");
    assert_eq!(scene.text("channel/index.html"), "<p>ours</p>");
    assert!(!names(&whole(&scene).targets).contains("index.html"));
}

#[test]
fn flags_that_take_files_away_take_them_out_of_the_targets() {
    let scene = published();
    scene
        .index(&["--no-zst", "--no-html", "--no-write-monolithic"])
        .exits(0);
    let generation = whole(&scene);
    let expected = [
        "keys/fixture.pub",
        "linux-64/repodata_shards.msgpack.zst",
        "linux-64/run_exports.json",
        "noarch/repodata.json",
        "noarch/repodata_shards.msgpack.zst",
        "noarch/run_exports.json",
    ];
    assert_eq!(names(&generation.targets), BTreeSet::from(expected));
    // What was published is then told by the signed shard index and the shards that it pins.
    let a = scene.package("a");
    scene.change(&a);
    scene.remove("cache/sigindex");
    let run = scene
        .index(&["--no-zst", "--no-html", "--no-write-monolithic"])
        .exits(1);
    run.refuses(&a, "changed since it was published");
}

#[test]
fn the_report_says_once_how_to_switch_it_on() {
    let hint = "sigindex trust init";
    let scene = Scene::of_three();
    scene
        .run(&["channel", "--dry-run"])
        .exits(0)
        .never_says(hint);
    let run = scene.run(&["channel"]).exits(0).says(hint);
    assert!(run.stdout.trim_end().lines().last().unwrap().contains(hint));
    scene.package("d");
    scene.run(&["channel"]).exits(0).never_says(hint);
    let run = scene.index(&[]).exits(0);
    assert_eq!(run.report()["signed_index"], Value::Null);
    let quiet = Scene::of_three();
    quiet.run(&["channel", "-q"]).exits(0).never_says(hint);
    let signed = of_three();
    signed.run(&["channel"]).exits(0).never_says(hint);
}
