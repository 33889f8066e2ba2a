//! A channel with a signed index: the chain, its files by hash and the plain ones beside them, and the keys in it.

use std::collections::BTreeMap;

use serde_json::json;
use sha2::{Digest as _, Sha256};
use sigindex::keys::{KeyName, KeysDir, PublicKey, Use};
use sigindex::signature::{Signer, local_signer};
use sigindex::tuf::{self, Lifetimes, Root, RootPlan, Target};

use crate::scene::{Scene, fixtures};
use crate::{audited, edit, findings, has};

const REPODATA: &str = "linux-64/repodata.json";

const DAY: i64 = 86_400_000;

/// Milliseconds since 1970.
fn now() -> i64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

fn signer(folder: &std::path::Path, name: &str) -> Box<dyn Signer> {
    let name = KeyName::parse(name).unwrap();
    let keys = KeysDir::new(folder.to_owned(), true);
    local_signer(keys.load_private(&name, &|_| unreachable!()).unwrap())
}

/// The index files of the channel, and these keys of packages under these names.
fn targets(scene: &Scene, keys: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
    let root = scene.path("channel");
    let mut found = BTreeMap::new();
    for entry in walkdir::WalkDir::new(&root) {
        let entry = entry.unwrap();
        let path = entry.path().strip_prefix(&root).unwrap();
        let path = path.to_str().unwrap().to_owned();
        let is_index = |end: &str| path.ends_with(end);
        let named = [".json", ".json.zst", ".msgpack.zst", ".html"];
        let is_other = path.contains("/shards/") || path.starts_with("tuf/");
        if entry.file_type().is_file() && named.into_iter().any(is_index) && !is_other {
            found.insert(path, std::fs::read(entry.path()).unwrap());
        }
    }
    for (name, key) in keys {
        let file = fixtures().join("keys").join(format!("{key}.pub"));
        found.insert(format!("keys/{name}.pub"), std::fs::read(file).unwrap());
    }
    found
}

/// Signs the index at a moment: the root by `other`, the rest by `Index`, which is made.
fn sign_index(scene: &Scene, keys: &[(&str, &str)], at: i64) {
    if !scene.exists("index-keys/Index") {
        scene
            .run(&["keygen", "Index", "--keys-dir", "index-keys"])
            .exits(0);
    }
    let index = signer(&scene.path("index-keys"), "Index");
    // Git keeps no modes: the fixture's is readable for others.
    scene.write(
        "root-keys/other",
        std::fs::read(fixtures().join("keys/other")).unwrap(),
    );
    scene.write(
        "root-keys/other.pub",
        std::fs::read(fixtures().join("keys/other.pub")).unwrap(),
    );
    scene.set_mode("root-keys", 0o700);
    scene.set_mode("root-keys/other", 0o600);
    let root_key = signer(&scene.path("root-keys"), "other");
    let public = |signer: &dyn Signer| -> Vec<PublicKey> { vec![signer.public_key().clone()] };
    let plan = RootPlan {
        version: 1,
        expires: now() + 365 * DAY,
        root_keys: public(root_key.as_ref()),
        threshold: 1,
        index_keys: public(index.as_ref()),
        lifetimes: Lifetimes::default(),
    };
    let root = Root::draft(&plan).unwrap();
    let root = root.add_signature(root_key.as_ref()).unwrap();
    let files = targets(scene, keys);
    let mut listed = tuf::Targets::new();
    for (name, bytes) in &files {
        let sha256 = Sha256::digest(bytes).into();
        let length = bytes.len() as u64;
        scene.write(&format!("channel/{}", tuf::by_hash(name, &sha256)), bytes);
        listed.insert(name.clone(), Target { length, sha256 });
    }
    let lifetimes = Lifetimes::default();
    let made = tuf::make(&root, None, &listed, &lifetimes, index.as_ref(), at).unwrap();
    scene.write("channel/tuf/1.root.json", root.bytes());
    for (path, bytes) in made.metadata.iter().chain([&made.timestamp]) {
        scene.write(&format!("channel/{path}"), bytes);
    }
}

/// A channel with a signed index. Whoever looks at it knows the root's key alone.
fn signed(keys: &[(&str, &str)]) -> Scene {
    let scene = Scene::of_three();
    scene.index(&[]).exits(0);
    sign_index(&scene, keys, now());
    scene.take_key("fixture");
    scene.give_public_key("other");
    scene
}

const KEYS: [(&str, &str); 1] = [("fixture", "fixture")];

fn by_hash(scene: &Scene, target: &str) -> String {
    let sha256 = Sha256::digest(scene.read(&format!("channel/{target}"))).into();
    format!("channel/{}", tuf::by_hash(target, &sha256))
}

#[test]
fn each_key_that_is_chosen_is_one_of_the_signed_index() {
    let scene = signed(&KEYS);
    scene.give_public_key("fixture");
    scene.run(&["keygen", "second"]).exits(0);
    for (trust, status) in [
        ("other", 0),
        ("other,fixture", 0),
        ("other,second", 1),
        ("other,fixture,second", 1),
    ] {
        for part in [&[][..], &["--subdir", "noarch"]] {
            let words = [&["verify", "channel", "--trust", trust], part].concat();
            let run = scene.run(&words).exits(status);
            if status == 1 {
                run.says("second is trusted for it, and vouches for nothing");
            }
        }
    }
}

/// Who rotates a root key trusts the old one and the new one for a while.
#[test]
fn a_root_key_that_was_rotated_still_vouches_beside_the_new_one() {
    let scene = Scene::of_three();
    for name in ["old", "new", "index", "stranger"] {
        scene.run(&["keygen", name]).exits(0);
    }
    let trust = |words: &[&str]| scene.run(&[&["trust"], words].concat()).exits(0);
    trust(&[
        "init",
        "channel",
        "--root-key",
        "old",
        "--index-key",
        "index",
    ]);
    scene.index(&["--key", "fixture"]).exits(0);
    trust(&["root", "channel", "--add-root-key", "new"]);
    trust(&["root", "channel", "--revoke-root-key", "old"]);
    for (keys, status) in [
        ("old", 0),
        ("new", 0),
        ("old,new", 0),
        ("old,new,stranger", 1),
    ] {
        // As somebody who knows nothing but these keys.
        let folder = format!("home-of-{keys}");
        for key in keys.split(',') {
            scene.write(
                &format!("{folder}/{key}.pub"),
                scene.read(&format!("home/.conda/keys/{key}.pub")),
            );
        }
        scene.set_mode(&folder, 0o700);
        let words = ["verify", "channel", "--trust", keys, "--keys-dir", &folder];
        scene.run(&words).exits(status);
    }
}

#[test]
fn whoever_trusts_the_root_trusts_the_index_and_the_keys_in_it() {
    let scene = signed(&KEYS);
    let report = audited(&scene, 0, &["channel"]);
    let audit = &report["channels"][0];
    let versions = json!({"root": 1, "timestamp": 1, "snapshot": 1, "targets": 1});
    assert_eq!(audit["signed_index"]["versions"], versions);
    assert_eq!(audit["counts"]["key"]["valid"], 1);
    assert_eq!(audit["counts"]["signature"]["valid"], 3);
    assert_eq!(audit["notes"], json!([]));
    scene
        .run(&["verify", "channel"])
        .exits(0)
        .says("signed index: root 1");
    #[cfg(feature = "http")]
    {
        let server = crate::http::Server::of(&scene.path("channel"));
        let report = audited(&scene, 0, &[server.url()]);
        assert_eq!(report["channels"][0]["counts"]["signature"]["valid"], 3);
        assert_eq!(report["channels"][0]["signed_index"]["versions"], versions);
    }
}

/// What is spoilt, how a finding begins, and what stands in it.
type Case = (fn(&Scene), &'static str, &'static str);

const CASES: [Case; 10] = [
    (
        |scene| {
            edit(scene, "channel/linux-64/repodata.json", |index| {
                index["x"] = json!(1)
            })
        },
        "linux-64/repodata.json: target invalid",
        "not the file of the signed index",
    ),
    (
        |scene| scene.remove("channel/linux-64/repodata.json"),
        "linux-64/repodata.json: target error",
        "no such file",
    ),
    (
        |scene| {
            let file = by_hash(scene, REPODATA);
            let mut bytes = scene.read(&file);
            bytes[5] ^= 1;
            scene.write(&file, bytes);
        },
        "tuf/targets/linux-64/",
        "not those that the signed index names",
    ),
    (
        |scene| scene.remove(&by_hash(scene, REPODATA)),
        "tuf/targets/linux-64/",
        "no such file",
    ),
    (
        |scene| scene.write("channel/linux-64/repodata.json.bz2", "x"),
        "linux-64/repodata.json.bz2: target invalid",
        "does not name it",
    ),
    (
        |scene| {
            edit(scene, "channel/tuf/timestamp.json", |it| {
                it["signed"]["version"] = json!(7)
            });
        },
        "tuf: chain ",
        "timestamp",
    ),
    (
        |scene| scene.remove("channel/tuf/1.snapshot.json"),
        "tuf: chain error",
        "snapshot",
    ),
    (
        |scene| scene.take_key("other"),
        "tuf: chain error",
        "a key that is trusted",
    ),
    (
        |scene| {
            let other = std::fs::read(fixtures().join("keys/other.pub")).unwrap();
            scene.write("home/.conda/keys/fixture.pub", other);
        },
        "keys/fixture.pub: key invalid",
        "another key as fixture",
    ),
    (
        |scene| scene.change("linux-64/a-1.0-0.conda"),
        "linux-64/a-1.0-0.conda: package invalid",
        "the index says",
    ),
];

#[test]
fn whatever_differs_from_what_is_signed_is_found() {
    let scene = signed(&KEYS);
    let saved = scene.path("saved");
    crate::scene::copy_tree(&scene.path("channel"), &saved);
    for (spoil, begins, part) in CASES {
        scene.remove("channel");
        crate::scene::copy_tree(&saved, &scene.path("channel"));
        scene.take_key("fixture");
        scene.give_public_key("other");
        spoil(&scene);
        let report = audited(&scene, 1, &["channel"]);
        has(&findings(&report), begins, part);
    }
}

#[test]
fn an_expired_index_is_a_finding_and_the_rest_is_looked_at() {
    let scene = signed(&KEYS);
    scene.remove("channel/tuf");
    sign_index(&scene, &KEYS, now() - 400 * DAY);
    scene.change("linux-64/a-1.0-0.conda");
    let report = audited(&scene, 1, &["channel"]);
    let found = findings(&report);
    has(&found, "tuf: chain invalid", "expired");
    has(&found, "linux-64/a-1.0-0.conda: package invalid", "");
    assert_eq!(found.len(), 2, "{found:?}");
}

#[test]
fn a_key_that_the_index_does_not_name_is_unknown_whoever_has_it() {
    let scene = signed(&[]);
    scene.give_public_key("fixture");
    let report = audited(&scene, 1, &["channel"]);
    let begins = "linux-64/a-1.0-0.conda: signature error";
    has(
        &findings(&report),
        begins,
        "the signed index does not name it",
    );
}

#[test]
fn a_key_of_the_root_signs_no_package() {
    let scene = signed(&[("fixture", "fixture"), ("other", "other")]);
    scene.write(
        "home/.conda/keys/other",
        std::fs::read(fixtures().join("keys/other")).unwrap(),
    );
    scene.set_mode("home/.conda/keys/other", 0o600);
    let a = "channel/linux-64/a-1.0-0.conda";
    scene
        .run(&["sign", "--force", "--key", "other", a])
        .exits(0);
    // Where nobody remembers what it signed.
    scene.remove("home/.conda/keys/.sigindex-uses.json");
    let report = audited(&scene, 1, &["channel"]);
    let found = findings(&report);
    has(&found, "keys/other.pub: key invalid", "keys of its own");
    has(
        &found,
        "linux-64/a-1.0-0.conda: signature invalid",
        "signs no package",
    );
}

#[test]
fn an_index_whose_folder_is_gone_falls_back_on_the_keys_that_are_trusted() {
    let scene = signed(&KEYS);
    scene.remove("channel/tuf");
    // The root's key signs no package: nothing counts any more.
    let report = audited(&scene, 1, &["channel", "--trust", "other"]);
    let begins = "linux-64/a-1.0-0.conda: signature error";
    has(&findings(&report), begins, "unknown key fixture");
}

#[test]
fn what_is_installed_is_held_against_the_signed_index() {
    let scene = signed(&KEYS);
    let mut meta = scene.record("linux-64/a-1.0-0.conda");
    meta["fn"] = json!("a-1.0-0.conda");
    meta["url"] = json!("http://127.0.0.1:1/name/linux-64/a-1.0-0.conda");
    scene.write("env/conda-meta/a-1.0-0.json", meta.to_string());
    let words = ["--prefix", "env", "--channel", "channel"];
    let report = audited(&scene, 0, &words);
    let versions = &report["prefix"]["channels"][0]["signed_index"]["versions"];
    assert_eq!(versions["root"], 1);
    // Depends that were changed on the way to the client, as a mirror would: the plain file is not believed.
    edit(&scene, "channel/linux-64/repodata.json", |index| {
        index["packages.conda"]["a-1.0-0.conda"]["depends"] = json!(["evil"]);
    });
    meta["depends"] = json!(["evil"]);
    scene.write("env/conda-meta/a-1.0-0.json", meta.to_string());
    let report = audited(&scene, 1, &words);
    let found = crate::lines(&report["prefix"]["findings"]);
    has(&found, "conda-meta/a-1.0-0.json: installed invalid", "evil");
}

#[test]
fn a_signed_index_that_was_taken_away_is_missed_by_who_trusts_its_root() {
    let scene = signed(&KEYS);
    scene.give_public_key("fixture");
    let trust = ["keys", "trust", "other", "--channel", "channel"];
    scene.run(&trust).exits(0);
    audited(&scene, 0, &["channel"]);
    std::fs::rename(scene.path("channel/tuf"), scene.path("away")).unwrap();
    for words in [&["channel"][..], &["channel", "--trust", "other"]] {
        let found = findings(&audited(&scene, 1, words));
        has(&found, "linux-64/", "not among the keys trusted");
    }
    // Where it is known what the key is for, that is said.
    let keys = KeysDir::new(scene.path("home/.conda/keys"), true);
    let name = KeyName::parse("other").unwrap();
    let key = keys.public_keys().unwrap();
    let print = key.get(&name).unwrap().unwrap().fingerprint();
    keys.mark(&name, print, Use::Root).unwrap();
    let found = findings(&audited(&scene, 1, &["channel"]));
    has(&found, "tuf: chain error", "other, which is trusted for it");
    // Nor is anything else in its place no signed index.
    scene.write("channel/tuf", "");
    let found = findings(&audited(&scene, 1, &["channel"]));
    has(&found, "tuf: chain error", "");
    scene.run(&["keys", "trust", "other", "--channel", "channel", "--remove"]);
    let found = findings(&audited(&scene, 1, &["channel"]));
    has(&found, "tuf: chain error", "1.root.json");
}

#[test]
fn a_key_of_packages_vouches_for_no_index() {
    // Who has it may sign a root with it, where nobody knows what it is for.
    let thief = Scene::new();
    thief.give_key("other");
    thief.package("a");
    thief.run(&["keygen", "index"]).exits(0);
    let init = ["trust", "init", "channel", "--root-key", "fixture"];
    thief
        .run(&[&init[..], &["--index-key", "index"]].concat())
        .exits(0);
    thief.index(&["--key", "other"]).exits(0);
    let scene = Scene::new();
    scene.package("b");
    crate::scene::copy_tree(&thief.path("channel"), &scene.path("theirs"));
    scene.run(&["verify", "theirs"]).exits(0);
    // Here it signs a package.
    scene.index(&[]).exits(0);
    for words in [&["theirs"][..], &["theirs", "--trust", "fixture"]] {
        let found = findings(&audited(&scene, 1, words));
        has(&found, "tuf: chain", "by a key that is trusted");
    }
    let gate = |require: &str| {
        let words = ["gate", "--listen", "127.0.0.1:0", "--require", require];
        let channel = ["--channel", "main=theirs", "--trust", "main=fixture"];
        scene.run(&[&words[..], &channel].concat())
    };
    gate("index").exits(2).says("fixture signs packages");
    let gate = |require: &str| {
        let words = ["gate", "--listen", "127.0.0.1:0", "--require", require];
        let channel = ["--channel", "main=theirs", "--trust", "main=index"];
        thief.run(&[&words[..], &channel].concat())
    };
    gate("package").exits(2).says("index signs an index");
}
