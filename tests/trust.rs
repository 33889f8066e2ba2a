//! `sigindex trust`, by the real binary: roots that are made, changed and signed on several machines, and metadata
//! that is renewed. What runs of `sigindex CHANNEL` publish is made here by the library.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice
)]
#![cfg(feature = "tuf")]

use std::sync::Arc;

use sigindex::keys::{KeyName, KeysDir};
use sigindex::signature::{Signer, local_signer};
use sigindex::storage::LocalStorage;
use sigindex::tuf::{
    Anchor, Expired, Generation, Loading, Role, Root, Target, Targets, TufError, by_hash, load,
    make,
};
use sigindex::upstream::StoredUpstream;

#[path = "support/http.rs"]
mod http;
#[path = "support/python.rs"]
mod python;
#[path = "support/scene.rs"]
mod scene;
#[path = "support/shared.rs"]
mod shared;

use http::Server;
use python::{Python, run};
use scene::{INIT, Run, Scene};

/// Reads a channel by python-tuf.
const PROGRAM: &str = include_str!("support/python_tuf.py");
const PYTHON_TUF: [&str; 2] = ["tuf==7.0.1", "securesystemslib[crypto]==1.6.0"];

/// In milliseconds.
const DAY: i64 = 86_400_000;

/// A scene with key pairs of 2048 bits.
fn with_keys(names: &[&str]) -> Scene {
    let scene = Scene::without_key();
    for name in names {
        scene.run(&["keygen", name]).exits(0);
    }
    scene
}

fn signer(scene: &Scene, name: &str) -> Box<dyn Signer> {
    let folder = KeysDir::new(scene.key_path(""), false);
    let name = KeyName::parse(name).unwrap();
    let key = folder.load_private(&name, &|_| panic!("no passphrase"));
    local_signer(key.unwrap())
}

fn root(scene: &Scene, version: u64) -> Root {
    Root::parse(scene.read(&format!("channel/tuf/{version}.root.json"))).unwrap()
}

/// What a client sees who has the public keys of these names.
fn client(scene: &Scene, names: &[&str]) -> Result<Generation, TufError> {
    let folder = KeysDir::new(scene.key_path(""), false);
    let ring = folder.public_keys().unwrap();
    let key = |name: &&str| {
        ring.get(&KeyName::parse(name).unwrap())
            .unwrap()
            .unwrap()
            .fingerprint()
    };
    let pins: Vec<_> = names.iter().map(key).collect();
    let storage = LocalStorage::open(&scene.path("channel")).unwrap();
    load(Loading {
        upstream: Arc::new(StoredUpstream::new("channel".to_owned(), Arc::new(storage))),
        anchor: Anchor::Pinned(&pins),
        memory: None,
        expired: Expired::Refused,
    })
}

/// Publishes a generation, as a run would.
fn publish(scene: &Scene, version: u64, key: &str) {
    publish_at(scene, version, key, jiff::Timestamp::now().as_millisecond());
}

/// The same at another time.
fn publish_at(scene: &Scene, version: u64, key: &str, now: i64) {
    use sha2::{Digest as _, Sha256};
    let text = b"{}";
    let sha256: [u8; 32] = Sha256::digest(text).into();
    let target = Target { length: 2, sha256 };
    let name = "noarch/repodata.json";
    scene.write(&format!("channel/{}", by_hash(name, &sha256)), text);
    let targets = Targets::from([(name.to_owned(), target)]);
    let root = root(scene, version);
    let made = make(
        &root,
        None,
        &targets,
        &root.lifetimes(),
        signer(scene, key).as_ref(),
        now,
    )
    .unwrap();
    for (path, bytes) in made.metadata.iter().chain([&made.timestamp]) {
        scene.write(&format!("channel/{path}"), bytes);
    }
}

/// A channel with root key `root`, index key `index`, and a generation.
fn published() -> Scene {
    let scene = Scene::without_key();
    scene.init_signed_index();
    publish(&scene, 1, "index");
    client(&scene, &["root"]).unwrap();
    scene
}

#[test]
fn init_makes_a_root_and_says_what_users_install() {
    let scene = with_keys(&["root", "index"]);
    let flags = ["--expires", "timestamp=1d", "--expires", "root=2y"];
    let run = scene.run(&[INIT, &flags].concat());
    run.exits(0)
        .says("sigindex keys add root.pub --fingerprint")
        .says("the next run of");
    let made = root(&scene, 1);
    assert!(made.meets_itself());
    assert_eq!(made.lifetimes().of(Role::Timestamp), 86_400);
    assert_eq!(made.lifetimes().of(Role::Root), 2 * 365 * 86_400);
    assert_eq!(made.keys(Role::Snapshot)[0].name.as_str(), "index");
    scene
        .run(&["trust", "show", "channel"])
        .exits(0)
        .says("nothing is published under this root yet");
    scene
        .run(&["trust", "refresh", "channel"])
        .exits(1)
        .says("run `sigindex` on the channel first");
    // Never a second first root.
    let before = scene.snapshot("channel");
    scene.run(INIT).exits(1).says("sigindex trust root");
    assert_eq!(scene.snapshot("channel"), before);
}

#[test]
fn a_dry_run_writes_nothing() {
    let scene = with_keys(&["root", "index"]);
    let before = (scene.snapshot("channel"), scene.snapshot("home"));
    scene
        .run(&[INIT, &["--dry-run"]].concat())
        .exits(0)
        .says("would be signed here by: root");
    assert_eq!((scene.snapshot("channel"), scene.snapshot("home")), before);
    let scene = published();
    let before = scene.snapshot("channel");
    for words in [
        &["trust", "root", "channel", "--renew", "--dry-run"][..],
        &["trust", "refresh", "channel", "--all", "--dry-run"],
    ] {
        scene.run(words).exits(0);
        assert_eq!(scene.snapshot("channel"), before);
    }
}

#[test]
fn a_cache_that_is_put_aside_is_told_of() {
    let scene = published();
    let renew = ["trust", "refresh", "channel", "--all"];
    // What makes the cache.
    scene.run(&["index", "channel", "--no-sign"]).exits(0);
    let run = scene.run(&renew).exits(0);
    assert!(!run.stderr.contains("put aside"), "{}", run.stderr);
    let files = scene.snapshot("cache").into_keys();
    let mut caches = files.filter(|path| path.ends_with("cache.db"));
    std::fs::write(caches.next().unwrap(), [7; 5_000]).unwrap();
    scene.run(&renew).exits(0).says("it is put aside as");
}

#[test]
fn keys_that_do_not_serve_are_refused() {
    let scene = with_keys(&["root", "index"]);
    scene
        .run(&["keygen", "weak", "--size", "1024", "--allow-weak"])
        .exits(0);
    scene.give_key("fixture");
    scene.package("a");
    scene.run(&["channel", "--key", "fixture"]).exits(0);
    let init = |root: &str, index: &str, more: &[&str]| {
        let words = [
            "trust",
            "init",
            "channel",
            "--root-key",
            root,
            "--index-key",
            index,
        ];
        scene.run(&[&words[..], more].concat())
    };
    init("weak", "index", &[]).exits(1).says("2048 to 8192");
    init("root", "weak", &[]).exits(1).says("2048 to 8192");
    init("root", "root", &[]).exits(1).says("keys of their own");
    init("root", "nobody", &[]).exits(1).says("nobody.pub");
    init("root", "index", &["--threshold", "2"])
        .exits(1)
        .says("threshold is 2");
    init("root", "index", &["--threshold", "0"])
        .exits(1)
        .says("threshold is 0");
    init("root", "index", &["--expires", "keys=1d"])
        .exits(2)
        .says("the roles are");
    // It signed a package.
    init("root", "fixture", &[]).exits(1).says("sign");
    assert!(!scene.exists("channel/tuf"));
    init("root", "index", &[]).exits(0);
}

#[test]
fn a_root_is_signed_on_two_machines() {
    // Here is the index key; the root keys are elsewhere, one each.
    let here = with_keys(&["index"]);
    let (alice, bob) = (with_keys(&["alice"]), with_keys(&["bob"]));
    for (other, key) in [(&alice, "alice"), (&bob, "bob")] {
        let file = format!("{key}.pub");
        std::fs::copy(other.key_path(&file), here.key_path(&file)).unwrap();
    }
    let init = [
        "trust",
        "init",
        "channel",
        "--root-key",
        "alice",
        "--root-key",
        "bob",
        "--threshold",
        "2",
        "--index-key",
        "index",
    ];
    here.run(&init)
        .exits(1)
        .says("2 signatures of its own root keys missing")
        .says("--write-draft");
    here.run(&[&init[..], &["--write-draft", "draft"]].concat())
        .exits(0)
        .says("trust sign");
    assert!(!here.exists("channel/tuf"));
    let bring = |draft: &str| here.run(&["trust", "root", "channel", "--draft", draft]);
    bring("draft").exits(1).says("2 signatures");
    // Each signs a copy.
    for (other, key) in [(&alice, "alice"), (&bob, "bob")] {
        other.write("draft", here.read("draft"));
        let run = other.run(&["trust", "sign", "draft", "--root-key", key]);
        run.exits(0)
            .says("root version 1")
            .says("this is the first root")
            .says("index key    index");
        here.write(key, other.read("draft"));
    }
    bring("alice").exits(1).says("1 signature of its own");
    let both = [
        "trust", "root", "channel", "--draft", "alice", "--draft", "bob",
    ];
    here.run(&both).exits(0).says("root version 1 is published");
    publish(&here, 1, "index");
    client(&here, &["alice"]).unwrap();
    client(&here, &["bob"]).unwrap();
    // The next one: bob leaves, and both sign it.
    let change = [
        "trust",
        "root",
        "channel",
        "--revoke-root-key",
        "bob",
        "--threshold",
        "1",
        "--write-draft",
        "draft",
    ];
    here.run(&change).exits(0).says("root key bob");
    for (other, key) in [(&alice, "alice"), (&bob, "bob")] {
        other.write("draft", here.read("draft"));
        other
            .run(&["trust", "sign", "draft", "--root-key", key])
            .exits(0)
            .says("is revoked")
            .says("1 root keys have to sign, and not 2");
        here.write(key, other.read("draft"));
    }
    bring("alice")
        .exits(1)
        .says("of the root keys before it missing");
    here.run(&both).exits(0).says("the signed index stays good");
    assert!(root(&here, 2).follows(&root(&here, 1)));
    // A draft that was overtaken.
    here.run(&both).exits(1).says("make it anew");
    client(&here, &["bob"]).unwrap();
}

/// A scene in which `trust init` writes a draft into the folder `shared`, as the root key `other` is elsewhere; and the
/// words for that.
fn drafting() -> (Scene, Vec<&'static str>) {
    let scene = with_keys(&["root", "other", "index"]);
    std::fs::remove_file(scene.key_path("other")).unwrap();
    std::fs::create_dir(scene.path("shared")).unwrap();
    scene.write("victim", "precious");
    let more = ["--root-key", "other", "--threshold", "2"];
    let to = ["--write-draft", "shared/draft"];
    (scene, [INIT, &more, &to].concat())
}

/// The names in the folder `shared`.
fn shared_names(scene: &Scene) -> Vec<String> {
    let entries = std::fs::read_dir(scene.path("shared")).unwrap();
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
    let mut names: Vec<_> = entries
        .map(|entry| name(entry).into_string().unwrap())
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn a_url_is_no_place_to_sign_and_its_password_is_not_said() {
    let scene = with_keys(&["root", "index"]);
    let url = "https://me:hunter2@h/t/sesame/channel";
    for words in [
        &[
            "trust",
            "init",
            url,
            "--root-key",
            "root",
            "--index-key",
            "index",
        ][..],
        &["trust", "show", url],
        &["trust", "root", url, "--renew"],
        &["trust", "refresh", url],
        &["trust", "sign", url, "--root-key", "root"],
        &["trust", "root", "channel", "--draft", url],
    ] {
        let run = scene.run(words).exits(2).says(" is needed here");
        run.never_says("hunter2").never_says("sesame");
    }
}

#[test]
fn a_draft_goes_nowhere_but_to_its_place() {
    let (scene, init) = drafting();
    let sign = ["trust", "sign", "shared/draft", "--root-key", "root"];
    let beside = scene.path("shared/draft.new");
    let link = |to: &str| std::os::unix::fs::symlink(to, &beside).unwrap();
    let plants: [&dyn Fn(); 4] = [
        &|| link("../victim"),
        &|| link("../nowhere"),
        &|| std::fs::write(&beside, "precious").unwrap(),
        &|| {
            let made = std::process::Command::new("mkfifo").arg(&beside).status();
            assert!(made.unwrap().success());
        },
    ];
    for plant in plants {
        plant();
        let planted = std::fs::symlink_metadata(&beside).unwrap();
        for words in [&init[..], &sign] {
            let mut run = scene.call(words).start();
            // One that opened the FIFO waits for a reader, and is ended.
            let mut patience = 3_000;
            while run.try_wait().unwrap().is_none() && patience > 0 {
                std::thread::sleep(std::time::Duration::from_millis(20));
                patience -= 1;
            }
            let _ = run.kill();
            Run::of(run).exits(0);
        }
        let there = std::fs::symlink_metadata(&beside).unwrap();
        assert_eq!(there.file_type(), planted.file_type());
        assert_eq!(there.modified().unwrap(), planted.modified().unwrap());
        assert_eq!(scene.text("victim"), "precious");
        assert!(!scene.exists("nowhere"));
        assert_eq!(shared_names(&scene), ["draft", "draft.new"]);
        std::fs::remove_file(&beside).unwrap();
        scene.remove("shared/draft");
    }
    // Nor does a link of the draft's own name lead it elsewhere.
    std::os::unix::fs::symlink("../victim", scene.path("shared/draft")).unwrap();
    scene.run(&init).exits(0);
    assert_eq!(scene.text("victim"), "precious");
    assert!(scene.text("shared/draft").contains("sigindex_draft"));
}

#[test]
fn a_draft_that_cannot_be_written_leaves_what_was_there() {
    let (scene, init) = drafting();
    // What the run writes of keys is written now.
    scene.run(&init).exits(0);
    let draft = scene.read("shared/draft");
    let limited = || {
        let mut call = scene.call(&init);
        let command = call.command();
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", "ulimit -f 0; exec \"$0\" \"$@\""]);
        shell.arg(command.get_program()).args(command.get_args());
        shell.env_clear().current_dir(scene.path(""));
        shell.envs(
            command
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        Run::new(format!("{init:?}"), &shell.output().unwrap())
    };
    limited()
        .exits(1)
        .says("shared/draft: can't write the draft");
    assert_eq!(scene.read("shared/draft"), draft);
    assert_eq!(shared_names(&scene), ["draft"]);
    scene.remove("shared/draft");
    limited().exits(1).says("ulimit -f");
    assert_eq!(shared_names(&scene), [""; 0]);
    // Nor where a folder has its name.
    std::fs::create_dir(scene.path("shared/draft")).unwrap();
    scene.run(&init).exits(1).says("can't write the draft");
    assert_eq!(shared_names(&scene), ["draft"]);
}

#[test]
fn only_a_draft_of_a_root_is_signed_and_only_by_its_keys() {
    let scene = published();
    scene.run(&["keygen", "stranger"]).exits(0);
    scene
        .run(&["trust", "root", "channel", "--renew", "--dry-run"])
        .exits(0);
    for (text, says) in [
        ("", "it is no draft"),
        ("{}", "it is no draft"),
        (r#"{"sigindex_draft":1}"#, "it has no \"root\""),
        (
            r#"{"sigindex_draft":1,"root":{"signed":{},"signatures":[]}}"#,
            "it is no draft",
        ),
        (r#"{"sigindex_draft":2}"#, "it is no draft"),
    ] {
        scene.write("draft", text);
        scene
            .run(&["trust", "sign", "draft", "--root-key", "root"])
            .exits(1)
            .says(says);
        assert_eq!(scene.text("draft"), text);
    }
    let first: serde_json::Value = scene.json("channel/tuf/1.root.json");
    let draft = serde_json::json!({ "sigindex_draft": 1, "before": null, "root": first });
    scene.write("draft", draft.to_string());
    scene
        .run(&["trust", "sign", "draft", "--root-key", "stranger"])
        .exits(1)
        .says("may not sign");
    scene
        .run(&["trust", "sign", "draft", "--root-key", "root"])
        .exits(0);
    // It is a root that is there already.
    scene
        .run(&["trust", "root", "channel", "--draft", "draft"])
        .exits(1)
        .says("signed already");
}

#[test]
fn an_index_key_is_replaced_without_a_gap() {
    let scene = published();
    scene.run(&["keygen", "new"]).exits(0);
    let run = scene.run(&[
        "trust",
        "root",
        "channel",
        "--add-index-key",
        "new",
        "--revoke-index-key",
        "index",
        "--trust-old-key",
    ]);
    run.exits(0).says("the index was signed anew");
    let found = client(&scene, &["root"]).unwrap();
    assert_eq!(
        (found.root.version(), found.versions[&Role::Timestamp]),
        (2, 2)
    );
    // The old key signs no more.
    let now = jiff::Timestamp::now().as_millisecond();
    let old = signer(&scene, "index");
    let lifetimes = found.root.lifetimes();
    let refused = make(
        &found.root,
        Some(&found),
        &found.targets,
        &lifetimes,
        old.as_ref(),
        now,
    );
    assert!(matches!(refused, Err(TufError::WrongKey { .. })));
    publish(&scene, 1, "index");
    assert!(matches!(
        client(&scene, &["root"]),
        Err(TufError::Untrusted { .. })
    ));
    // And nothing it signed is renewed unless somebody says so.
    scene
        .run(&["trust", "refresh", "channel", "--all"])
        .exits(1)
        .says("revoked");
    scene
        .run(&["trust", "refresh", "channel", "--trust-old-key"])
        .exits(0)
        .says("renewed");
    client(&scene, &["root"]).unwrap();
}

#[test]
fn what_a_revoked_index_key_signed_is_signed_anew_only_when_somebody_says_so() {
    let scene = published();
    for key in ["new", "spare"] {
        scene.run(&["keygen", key]).exits(0);
    }
    let change = |flags: &[&str]| scene.run(&[&["trust", "root", "channel"][..], flags].concat());
    let index = || {
        let mut files = scene.snapshot("channel");
        files.retain(|path, _| !path.to_string_lossy().ends_with("root.json") && !path.is_dir());
        files.retain(|_, seen| seen.3.is_some());
        files
    };
    let before = index();
    // Another key that goes leaves good what this one signed.
    change(&["--add-index-key", "spare"]).exits(0);
    change(&["--revoke-index-key", "spare"])
        .exits(0)
        .says("stays good");
    client(&scene, &["root"]).unwrap();
    // The thief of a key may have signed what stands there.
    change(&["--add-index-key", "new", "--revoke-index-key", "index"])
        .exits(0)
        .says("clients refuse it until")
        .says("--accept-index");
    assert!(scene.exists("channel/tuf/4.root.json"));
    assert!(client(&scene, &["root"]).is_err());
    scene
        .run(&["trust", "refresh", "channel", "--all"])
        .exits(1)
        .says("--trust-old-key");
    assert_eq!(index(), before);
}

#[test]
fn only_files_that_are_what_was_signed_are_signed_anew() {
    let scene = published();
    scene.run(&["keygen", "new"]).exits(0);
    let generation = client(&scene, &["root"]).unwrap();
    let (name, target) = generation.targets.first_key_value().unwrap();
    scene.write(&format!("channel/{}", by_hash(name, &target.sha256)), "[]");
    let before = scene.snapshot("channel");
    let refresh = ["trust", "refresh", "channel", "--all"];
    for words in [
        &refresh[..],
        &[&refresh[..], &["--dry-run"]].concat(),
        &[
            "trust",
            "root",
            "channel",
            "--add-index-key",
            "new",
            "--revoke-index-key",
            "index",
            "--trust-old-key",
        ],
    ] {
        let run = scene.run(words);
        run.exits(1).says("missing or not what was signed");
        assert_eq!(scene.snapshot("channel"), before);
    }
}

#[test]
fn metadata_expires_by_the_clock_whatever_time_a_build_is_given() {
    let scene = published();
    for seconds in ["1000000000", "4102444800"] {
        for words in [
            &["trust", "refresh", "channel", "--all"][..],
            &["trust", "root", "channel", "--renew"],
        ] {
            let run = scene.call(words).env("SOURCE_DATE_EPOCH", seconds).run();
            run.exits(0);
            let found = client(&scene, &["root"]).unwrap();
            let now = jiff::Timestamp::now().as_millisecond();
            assert!(found.expires.values().all(|at| *at < now + 366 * DAY));
        }
    }
}

#[test]
fn a_new_index_key_on_another_machine_signs_later() {
    let scene = published();
    let other = with_keys(&["new"]);
    std::fs::copy(other.key_path("new.pub"), scene.key_path("new.pub")).unwrap();
    let change = [
        "trust",
        "root",
        "channel",
        "--add-index-key",
        "new",
        "--revoke-index-key",
        "index",
    ];
    scene.run(&change).exits(0).says("clients refuse it until");
    assert!(client(&scene, &["root"]).is_err());
    std::fs::copy(other.key_path("new"), scene.key_path("new")).unwrap();
    scene
        .run(&["trust", "refresh", "channel", "--trust-old-key"])
        .exits(0);
    client(&scene, &["root"]).unwrap();
}

#[test]
fn a_root_key_is_rotated_and_a_revoked_one_signs_no_more() {
    let scene = published();
    for key in ["second", "third"] {
        scene.run(&["keygen", key]).exits(0);
    }
    let change = |flags: &[&str]| scene.run(&[&["trust", "root", "channel"][..], flags].concat());
    change(&["--add-root-key", "second", "--revoke-root-key", "root"]).exits(0);
    scene.take_key("second");
    // What the new root asks for is not here; that the old one is does not help.
    change(&["--add-root-key", "third"])
        .exits(1)
        .says("missing");
    assert!(!scene.exists("channel/tuf/3.root.json"));
    // Whoever installed the first key is taken along.
    assert_eq!(client(&scene, &["root"]).unwrap().root.version(), 2);
    change(&["--revoke-root-key", "root"])
        .exits(1)
        .says("no root key of this channel");
    change(&[]).exits(2).says("--renew");
}

#[test]
fn refresh_renews_what_is_due() {
    let scene = published();
    let before = scene.snapshot("channel");
    scene
        .run(&["trust", "refresh", "channel"])
        .exits(0)
        .says("nothing is due");
    assert_eq!(scene.snapshot("channel"), before);
    scene
        .run(&["trust", "refresh", "channel", "--all"])
        .exits(0)
        .says("renewed");
    assert_eq!(
        client(&scene, &["root"]).unwrap().versions[&Role::Targets],
        2
    );
    // What expired, and a root that soon will.
    let scene = published();
    let now = jiff::Timestamp::now().as_millisecond();
    let first = root(&scene, 1);
    let mut plan = first.plan();
    (plan.version, plan.expires) = (2, now + 50 * DAY);
    let next = Root::draft(&plan).unwrap();
    let next = next.add_signature(signer(&scene, "root").as_ref()).unwrap();
    scene.write("channel/tuf/2.root.json", next.bytes());
    publish_at(&scene, 2, "index", now - 20 * DAY);
    assert!(matches!(
        client(&scene, &["root"]),
        Err(TufError::Expired { .. })
    ));
    scene
        .run(&["trust", "refresh", "channel"])
        .exits(0)
        .says("renewed")
        .says("--renew");
    let found = client(&scene, &["root"]).unwrap();
    assert_eq!(found.versions[&Role::Timestamp], 2);
    assert!(found.expires[&Role::Timestamp] > now + 13 * DAY);
    let shown = scene.run(&["trust", "show", "channel", "--json"]);
    let shown = shown.exits(0).report();
    assert_eq!(shown["roles"][0]["due"], true);
    assert_eq!(shown["roles"][1]["days_left"], 13);
    // Without the index key.
    scene.take_key("index");
    scene
        .run(&["trust", "refresh", "channel", "--all"])
        .exits(1)
        .says("SIGINDEX_INDEX_PRIVATE_KEY");
}

#[test]
fn keys_come_encrypted_or_from_the_environment() {
    let scene = with_keys(&["index"]);
    let with = |words: &[&str]| scene.call(words).env("SIGINDEX_PASSPHRASE", "word").run();
    with(&["keygen", "root", "--encrypt"]).exits(0);
    scene.run(INIT).exits(1).says("SIGINDEX_PASSPHRASE");
    assert!(!scene.exists("channel/tuf"));
    with(INIT).exits(0);
    publish(&scene, 1, "index");
    let pem = scene.text("home/.conda/keys/index");
    scene.take_key("index");
    let refresh = ["trust", "refresh", "channel", "--all"];
    let given = |name: &str| {
        let call = scene.call(&refresh).env("SIGINDEX_INDEX_PRIVATE_KEY", &pem);
        call.env("SIGINDEX_INDEX_KEY_NAME", name).run()
    };
    scene
        .run(&refresh)
        .exits(1)
        .says("SIGINDEX_INDEX_PRIVATE_KEY");
    given("").exits(1).says("SIGINDEX_INDEX_KEY_NAME");
    given("index")
        .exits(0)
        .says("renewed")
        .never_says("PRIVATE KEY");
    // A key that the root does not name.
    with(&["keygen", "other"]).exits(0);
    let other = scene.text("home/.conda/keys/other");
    let call = scene
        .call(&refresh)
        .env("SIGINDEX_INDEX_PRIVATE_KEY", other);
    let run = call.env("SIGINDEX_INDEX_KEY_NAME", "other").run();
    run.exits(1)
        .says("may not sign")
        .never_says("PRIVATE KEY-----");
}

#[test]
fn an_old_index_that_somebody_put_back_is_not_renewed() {
    let scene = published();
    let old = scene.read("channel/tuf/timestamp.json");
    let refresh = ["trust", "refresh", "channel", "--all"];
    scene.run(&refresh).exits(0);
    scene.run(&refresh).exits(0);
    scene.write("channel/tuf/timestamp.json", old);
    scene
        .run(&refresh)
        .exits(1)
        .says("older than what this machine saw");
    scene.remove("cache/sigindex");
    scene.run(&refresh).exits(0);
    // A new index in the same place is another one.
    scene.remove("channel/tuf");
    scene.run(INIT).exits(0);
    publish(&scene, 1, "index");
    scene.run(&refresh).exits(0);
}

#[test]
fn what_does_not_verify_is_not_signed_over() {
    let scene = published();
    let good = scene.text("channel/tuf/1.targets.json");
    scene.write(
        "channel/tuf/1.targets.json",
        good.replace("noarch/", "notour/"),
    );
    let before = scene.snapshot("channel");
    for verb in ["refresh", "show"] {
        scene
            .run(&["trust", verb, "channel"])
            .exits(1)
            .says("can't be trusted");
    }
    assert_eq!(scene.snapshot("channel"), before);
    // Nor where no key here vouches for the root.
    let scene = published();
    scene.take_key("root");
    scene
        .run(&["trust", "refresh", "channel", "--all"])
        .exits(1)
        .says("sigindex keys add");
    scene
        .run(&["trust", "show", "channel"])
        .exits(1)
        .says("sigindex keys add");
    // A channel without.
    let scene = with_keys(&[]);
    for words in [
        &["refresh", "channel"][..],
        &["show", "channel"],
        &["root", "channel", "--renew"],
    ] {
        scene
            .run(&[&["trust"], words].concat())
            .exits(1)
            .says("sigindex trust init");
    }
}

/// python-tuf, installed once.
fn python_tuf() -> Option<Python> {
    let make = |python: &Python| python.pip(&PYTHON_TUF, &[]);
    let check = |python: &Python| {
        let program = "import tuf.ngclient, cryptography";
        run(&mut python.command(&["-c", program])).map(drop)
    };
    match Python::installed("python-tuf", &PYTHON_TUF.join(" "), make, check) {
        Ok(python) => Some(python),
        Err(why) if std::env::var_os("CI").is_some_and(|value| value == "true") => {
            panic!("python-tuf is not to be had, and in CI it must be: {why}")
        }
        Err(why) => {
            shared::skip(&format!("python-tuf is not to be had: {why}"));
            None
        }
    }
}

#[test]
fn python_tuf_takes_the_channel_and_follows_its_roots() {
    let Some(python) = python_tuf() else { return };
    let scene = published();
    let server = Server::of(&scene.path("channel"));
    let target = "noarch/repodata.json";
    let read = |folder: &str| {
        let mut command = python.command(&["-c", PROGRAM, server.url()]);
        command.arg(scene.path("channel/tuf/1.root.json"));
        command.arg(scene.path(folder)).arg(target);
        run(command.env("HOME", scene.path("home")))
    };
    assert_eq!(read("first").unwrap(), format!("{target} 2\n"));
    scene.run(&["keygen", "second"]).exits(0);
    scene.run(&["keygen", "new"]).exits(0);
    let change = |flags: &[&str]| {
        let words = [&["trust", "root", "channel"][..], flags].concat();
        scene.run(&words).exits(0)
    };
    change(&["--add-root-key", "second", "--threshold", "2"]);
    change(&["--revoke-root-key", "root", "--threshold", "1"]);
    change(&[
        "--add-index-key",
        "new",
        "--revoke-index-key",
        "index",
        "--trust-old-key",
    ]);
    for folder in ["first", "fresh"] {
        assert_eq!(read(folder).unwrap(), format!("{target} 2\n"), "{folder}");
    }
    scene
        .run(&["trust", "refresh", "channel", "--all"])
        .exits(0);
    read("first").unwrap();
    // It sees what we see: an old timestamp, and one by a revoked key.
    let newest = scene.read("channel/tuf/timestamp.json");
    publish(&scene, 1, "index");
    assert!(read("first").is_err() && read("fresher").is_err());
    scene.write("channel/tuf/timestamp.json", newest);
    read("first").unwrap();
}

#[test]
fn python_tuf_takes_what_a_run_publishes() {
    let Some(python) = python_tuf() else { return };
    let scene = Scene::new();
    scene.package("a");
    scene.init_signed_index();
    let server = Server::of(&scene.path("channel"));
    for round in ["b", "c"] {
        scene.package(round);
        // The keys of roles are no choice: the one that is left signs packages.
        scene.index(&[]).exits(0);
        let found = client(&scene, &["root"]).unwrap();
        assert!(found.targets.contains_key("keys/fixture.pub"));
        let mut command = python.command(&["-c", PROGRAM, server.url()]);
        command.arg(scene.path("channel/tuf/1.root.json"));
        command.arg(scene.path("client")).args(found.targets.keys());
        let said = run(command.env("HOME", scene.path("home"))).unwrap();
        let lines = found.targets.iter();
        let lines: Vec<_> = lines
            .map(|(name, target)| format!("{name} {}\n", target.length))
            .collect();
        assert_eq!(said, lines.concat());
        let plain = scene.read("channel/linux-64/repodata.json");
        assert_eq!(
            found.targets["linux-64/repodata.json"].length,
            plain.len() as u64
        );
    }
    scene
        .run(&["trust", "refresh", "channel", "--all"])
        .exits(0);
    scene.index(&[]).exits(0);
}
