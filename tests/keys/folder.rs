//! `keys add`, `remove`, `trust`, `export` and `list`: what comes into the keys folder, what goes, and what is
//! never let in.

use std::os::unix::fs::symlink;

use serde_json::Value;

use crate::http::Server;
use crate::scene::{Run, Scene, fixtures};

const PINS: &str = "home/.conda/keys/.sigindex-pins.json";

/// The fingerprint of a key of the fixtures.
fn fingerprint(name: &str) -> String {
    let scene = Scene::without_key();
    scene.give_public_key(name);
    let keys = listed(&scene);
    keys[0]["fingerprint"].as_str().unwrap().to_owned()
}

/// What `keys --json` says.
fn listed(scene: &Scene) -> Vec<Value> {
    let run = scene.run(&["keys", "--json"]);
    run.report()["keys"].as_array().unwrap().clone()
}

/// Adds a key of the fixtures from its file.
fn add(scene: &Scene, name: &str, more: &[&str]) -> Run {
    let path = fixtures().join("keys").join(format!("{name}.pub"));
    scene.run(&[&["keys", "add", path.to_str().unwrap()], more].concat())
}

#[test]
fn a_key_is_added_from_a_file_and_vouches_then() {
    let publisher = Scene::new();
    publisher.write("data", "x");
    publisher.run(&["sign", "data"]).exits(0);
    let scene = Scene::without_key();
    scene.remove("home/.conda");
    scene.write("data", "x");
    scene.write("data.sig", publisher.read("data.sig"));
    scene.run(&["verify", "data"]).exits(1).says("unknown key");
    let run = add(&scene, "fixture", &[]).exits(0);
    run.says(&fingerprint("fixture")).says("compare");
    assert_eq!(scene.mode("home/.conda/keys"), 0o700);
    scene.run(&["verify", "data"]).exits(0);
    let before = scene.snapshot("home");
    add(&scene, "fixture", &[]).exits(0).says("was there");
    assert!(scene.snapshot("home") == before);
}

#[test]
fn a_fingerprint_is_held_against_the_key() {
    let scene = Scene::without_key();
    let (right, other) = (fingerprint("fixture"), fingerprint("other"));
    let run = add(&scene, "fixture", &["--fingerprint", &other]).exits(1);
    run.says(&right).says(&other);
    add(&scene, "fixture", &["--fingerprint", "12"]).exits(1);
    assert!(listed(&scene).is_empty());
    let pairs: Vec<String> = right
        .as_bytes()
        .chunks(2)
        .map(|pair| String::from_utf8_lossy(pair).to_uppercase())
        .collect();
    let run = add(&scene, "fixture", &["--fingerprint", &pairs.join(":")]);
    run.exits(0).never_says("compare");
}

#[test]
fn a_key_is_never_overwritten() {
    let scene = Scene::new();
    let before = scene.snapshot("home");
    add(&scene, "other", &["--name", "fixture"])
        .exits(1)
        .says("--name");
    add(&scene, "other", &["--name", "../x"])
        .exits(1)
        .says("not a key's name");
    add(&scene, "other", &["--name", "x.pub"]).exits(1);
    assert!(scene.snapshot("home") == before);
    scene.write("here/key.pem", crate::fixture("keys/other.pub"));
    scene
        .run(&["keys", "add", "here/key.pem"])
        .exits(2)
        .says("--name");
    scene
        .run(&["keys", "add", "here/key.pem", "--name", "theirs"])
        .exits(0);
    scene.run(&["keys"]).exits(0).says("theirs");
}

#[test]
fn what_is_no_public_key_is_not_let_in_and_not_shown() {
    let scene = Scene::without_key();
    let private = String::from_utf8(crate::fixture("keys/fixture")).unwrap();
    let secret = private.lines().nth(3).unwrap().to_owned();
    scene.write("leak.pub", &private);
    scene.write("long.pub", "x".repeat(70_000));
    scene.write("junk.pub", "junk");
    symlink("nowhere", scene.path("gone.pub")).unwrap();
    let add = |file: &str| scene.run(&["keys", "add", file]).exits(1);
    add("leak.pub")
        .says("it is a private key")
        .never_says(&secret);
    add("long.pub").says("64 KiB");
    add("junk.pub").says("junk.pub");
    add("gone.pub").says("gone.pub");
    add("/dev/zero.pub").says("zero.pub");
    scene
        .run(&["keys", "add", "/dev/zero", "--name", "zero"])
        .exits(1)
        .says("not a regular file");
    scene
        .run(&[
            "keygen",
            "small",
            "--size",
            "1024",
            "--allow-weak",
            "--keys-dir",
            "made",
        ])
        .exits(0);
    add("made/small.pub").says("1024 bits").says("--allow-weak");
    assert!(listed(&scene).is_empty());
    scene
        .run(&["keys", "add", "made/small.pub", "--allow-weak"])
        .exits(0);
}

#[test]
fn a_key_from_a_url_needs_its_fingerprint() {
    let server = Server::of(&fixtures());
    let url = format!("{}keys/fixture.pub", server.url());
    let scene = Scene::without_key();
    let right = fingerprint("fixture");
    scene
        .run(&["keys", "add", &url])
        .exits(2)
        .says("--fingerprint");
    assert!(server.log().is_empty());
    let add = |url: &str, key: &str| scene.run(&["keys", "add", url, "--fingerprint", key]);
    add(&url, &fingerprint("other")).exits(1).says(&right);
    // The private key lies there, too.
    let private = add(url.strip_suffix(".pub").unwrap(), &right).exits(2);
    private.says("--name");
    let gone = url.replace("fixture.pub", "gone.pub");
    add(&gone, &right).exits(1).says("404");
    add("ftp://example.org/a.pub", &right)
        .exits(2)
        .says("http://");
    add(&format!("{url}?token=secret"), &right)
        .exits(2)
        .never_says("secret");
    assert!(listed(&scene).is_empty());
    let secret = url.replace("http://", "http://me:secret@");
    add(&secret, &fingerprint("other"))
        .exits(1)
        .never_says("secret");
    add(&url, &right).exits(0);
    assert_eq!(listed(&scene)[0]["fingerprint"], right);
    let leak = url.replace("fixture.pub", "fixture");
    let run = scene.run(&[
        "keys",
        "add",
        &leak,
        "--fingerprint",
        &right,
        "--name",
        "leak",
    ]);
    run.exits(1).says("it is a private key");
}

#[test]
fn a_key_is_pinned_by_its_fingerprint() {
    let scene = Scene::new();
    let trust = |name: &str, more: &[&str]| {
        let words = ["keys", "trust", name, "--channel"];
        scene.run(&[&words, more].concat())
    };
    let url = "https://Me:secret@Example.org:443/channel/";
    let right = fingerprint("fixture");
    trust("fixture", &[url])
        .exits(0)
        .says(&right)
        .never_says("secret");
    assert_eq!(scene.mode(PINS), 0o600);
    let before = scene.snapshot("home");
    trust("fixture", &["https://example.org/channel"]).exits(0);
    assert!(scene.snapshot("home") == before);
    scene
        .run(&["keys"])
        .exits(0)
        .says("trusted for https://example.org/channel");
    assert_eq!(
        listed(&scene)[0]["trusted_for"][0],
        "https://example.org/channel"
    );
    trust("nobody", &[url])
        .exits(1)
        .says("there is no key nobody");
    trust("fixture", &["conda-forge"])
        .exits(2)
        .says("no such folder");
    trust("fixture", &["ftp://example.org"])
        .exits(1)
        .says("http");
    trust("fixture", &["channel"]).exits(0).says("/channel");

    // Another key takes the name: it is trusted for nothing.
    scene.take_key("fixture");
    add(&scene, "other", &["--name", "fixture"]).exits(0);
    scene
        .run(&["keys"])
        .exits(1)
        .says("another key")
        .says(&right);
    trust("fixture", &[url]).exits(1).says("--remove");
    trust("fixture", &[url, "--remove"]).exits(0);
    trust("fixture", &[url, "--remove"])
        .exits(1)
        .says("not trusted");
    trust("fixture", &[url])
        .exits(0)
        .says(&fingerprint("other"));
}

#[test]
fn what_others_can_write_is_not_trusted() {
    let scene = Scene::new();
    scene.write("data", "x");
    let trust = [
        "keys",
        "trust",
        "fixture",
        "--channel",
        "https://example.org/a",
    ];
    scene.run(&trust).exits(0);
    scene.set_mode(PINS, 0o666);
    scene.run(&["keys"]).exits(1).says("chmod go-w");
    scene.run(&trust).exits(1).says("chmod go-w");
    scene.set_mode(PINS, 0o600);
    scene.set_mode("home/.conda/keys", 0o777);
    scene.run(&trust).exits(1).says("chmod go-w");
    scene.set_mode("home/.conda/keys", 0o700);
    for wrong in [
        "",
        "{}",
        r#"{"version":2,"pins":[]}"#,
        r#"{"version":1,"pins":[],"more":1}"#,
    ] {
        scene.write(PINS, wrong);
        scene.run(&["keys"]).exits(1).says("pins.json");
        scene.run(&trust).exits(1).says("pins.json");
        assert_eq!(scene.text(PINS), wrong);
    }
}

#[test]
fn what_is_removed_was_named() {
    let scene = Scene::new();
    scene.give_public_key("other");
    let url = "https://example.org/channel";
    scene
        .run(&["keys", "trust", "other", "--channel", url])
        .exits(0);
    scene
        .run(&["keys", "trust", "fixture", "--channel", url])
        .exits(0);
    let run = scene.run(&["keys", "remove", "other"]).exits(0);
    run.says("other.pub").says(url);
    assert_eq!(listed(&scene).len(), 1);
    scene
        .run(&["keys", "remove", "other"])
        .exits(1)
        .says("there is no key other");
    let before = scene.snapshot("home");
    scene
        .run(&["keys", "remove", "fixture"])
        .exits(1)
        .says("--private");
    // There is nobody to ask.
    scene
        .run(&["keys", "remove", "fixture", "--private"])
        .exits(2)
        .says("--yes");
    scene
        .run(&["keys", "remove", "../x"])
        .exits(1)
        .says("not a key's name");
    assert!(scene.snapshot("home") == before);
    let run = scene
        .run(&["keys", "remove", "fixture", "--private", "--yes"])
        .exits(0);
    run.says("keys/fixture\n").says("fixture.pub").says(url);
    assert!(listed(&scene).is_empty());
}

#[test]
fn a_public_key_is_exported_and_no_private_one() {
    let scene = Scene::new();
    let pem = String::from_utf8(crate::fixture("keys/fixture.pub")).unwrap();
    let run = scene.run(&["keys", "export", "fixture"]).exits(0);
    assert_eq!(
        (run.stdout.as_str(), run.stderr.as_str()),
        (pem.as_str(), "")
    );
    let run = scene.run(&["keys", "export", "fixture", "-v"]).exits(0);
    assert_eq!(run.stdout, pem);
    assert!(run.stderr.contains(&fingerprint("fixture")));
    let file = std::fs::File::create(scene.path("der")).unwrap();
    let call = scene.call(&["keys", "export", "fixture", "--format", "der"]);
    call.stdout(file).run().exits(0);
    assert_eq!(sha256(&scene.read("der")), fingerprint("fixture"));
    scene.remove("home/.conda/keys/fixture.pub");
    scene
        .run(&["keys", "export", "fixture"])
        .exits(1)
        .says("there is no key fixture");
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
