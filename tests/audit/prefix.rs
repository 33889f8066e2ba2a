//! An environment, held against the index of its channel: `conda-meta` as clients write it, in which one thing is
//! spoilt.

use serde_json::{Value, json};

use crate::scene::Scene;
use crate::scene::builder::{Format, PackageSpec};
use crate::{audited, good, has, lines};

/// Writes down a package as installed, as its record has it, from a channel.
fn install(scene: &Scene, package: &str, channel: &str) {
    let (subdir, file) = package.split_once('/').unwrap();
    let mut meta = scene.record(package);
    for key in ["sig", "signature", "indexed_timestamp"] {
        meta.as_object_mut().unwrap().remove(key);
    }
    meta["fn"] = json!(file);
    meta["url"] = json!(format!("{channel}/{subdir}/{file}"));
    meta["channel"] = json!(format!("{channel}/{subdir}"));
    meta["files"] = json!(["bin/x"]);
    scene.write(&place(file), meta.to_string());
}

fn place(file: &str) -> String {
    let stem = file.trim_end_matches(".conda").trim_end_matches(".tar.bz2");
    format!("env/conda-meta/{stem}.json")
}

fn with_env() -> (Scene, String) {
    let (scene, a) = good();
    let channel = format!("file://{}", scene.path("channel").display());
    install(&scene, &a, &channel);
    install(&scene, "linux-64/b-1.0-0.tar.bz2", &channel);
    scene.write("env/conda-meta/history", "==> 2026-01-01 <==\n");
    (scene, channel)
}

#[test]
fn each_key_that_is_chosen_vouches_for_something_there() {
    let (scene, _) = with_env();
    scene.give_public_key("other");
    let verify = |trust: &str, status| {
        let flags = ["--channel", "channel", "--trust", trust];
        scene
            .run(&[&["verify", "--prefix", "env"][..], &flags].concat())
            .exits(status)
    };
    verify("fixture", 0);
    // It may be the key of a signed index that was taken away.
    verify("fixture,other", 1).says("other is trusted for it, and vouches for nothing");
    // What vouches for a package that is not installed is none.
    scene.run(&["keygen", "second"]).exits(0);
    scene.put(&PackageSpec::new("late", "1.0", "0"), Format::Conda);
    scene
        .index(&["--key", "second"])
        .exits(0)
        .counts("signed", 1);
    verify("fixture,second", 0);
}

/// What is spoilt in the record of `a`, and what is said.
type Case = (&'static str, fn(&mut Value), &'static str, &'static str);

const CASES: &[Case] = &[
    (
        "changed depends",
        |meta| meta["depends"] = json!(["evil"]),
        "installed invalid",
        "its depends has \"evil\"",
    ),
    (
        "another version",
        |meta| meta["version"] = json!("2.0"),
        "installed invalid",
        "its version is 2.0",
    ),
    (
        "another SHA-256",
        |meta| meta["sha256"] = json!("0".repeat(64)),
        "installed invalid",
        "its SHA-256 is 0000",
    ),
    (
        "another size",
        |meta| meta["size"] = json!(1),
        "installed invalid",
        "its size",
    ),
    (
        "another MD5",
        |meta| meta["md5"] = json!("0".repeat(32)),
        "installed invalid",
        "its MD5",
    ),
    (
        "no SHA-256",
        |meta| meta["sha256"] = json!(null),
        "installed error",
        "MD5 proves nothing",
    ),
    (
        "made by hand",
        |meta| meta["url"] = json!(null),
        "installed error",
        "names no channel",
    ),
    (
        "another file",
        |meta| meta["fn"] = json!("x-1-0.conda"),
        "installed error",
        "its URL ends in",
    ),
    (
        "not listed",
        |meta| {
            let url = meta["url"].as_str().unwrap().replace("a-1.0-0", "a-9.0-0");
            meta["url"] = json!(url);
            meta["fn"] = json!("a-9.0-0.conda");
        },
        "installed error",
        "does not list linux-64/a-9.0-0.conda",
    ),
    (
        "no such channel",
        |meta| meta["url"] = json!("file:///nowhere/at/all/linux-64/a-1.0-0.conda"),
        "installed error",
        "can't be asked",
    ),
    (
        "no channel's URL",
        |meta| meta["url"] = json!("ftp://me:hunter2@h/c/linux-64/a-1.0-0.conda"),
        "installed error",
        "can't be asked",
    ),
    (
        "a subdir that leads out",
        |meta| {
            let url = meta["url"].as_str().unwrap().replace("/linux-64/", "/../");
            meta["url"] = json!(url);
        },
        "installed error",
        "",
    ),
];

#[test]
fn what_is_installed_is_what_the_index_lists() {
    let (scene, _) = with_env();
    let report = audited(&scene, 0, &["--prefix", "env"]);
    let audit = &report["prefix"];
    assert_eq!(
        (&audit["installed"], &audit["valid"]),
        (&json!(2), &json!(true))
    );
    assert_eq!(audit["counts"]["signature"]["valid"], 2);
    let good = scene.text(&place("a-1.0-0.conda"));
    for (what, spoil, kind, part) in CASES {
        let mut meta: Value = serde_json::from_str(&good).unwrap();
        spoil(&mut meta);
        scene.write(&place("a-1.0-0.conda"), meta.to_string());
        let run = scene.run(&["verify", "--prefix", "env", "--json"]).exits(1);
        let run = run.never_says("hunter2");
        let found = lines(&run.report()["prefix"]["findings"]);
        eprintln!("{what}");
        has(&found, &format!("conda-meta/a-1.0-0.json: {kind}"), part);
        let table = scene.run(&["verify", "--prefix", "env"]).exits(1);
        table
            .says("env: NOT VALID (")
            .says("env/conda-meta/a-1.0-0.json");
    }
}

#[test]
fn a_file_of_conda_meta_that_is_broken_is_a_finding() {
    let (scene, _) = with_env();
    let deep = "[".repeat(100_000);
    for (name, bytes) in [
        ("x.json", &b"{"[..]),
        ("x.json", b"[]"),
        ("x.json", b""),
        ("x.json", b"\xff"),
        ("x.json", format!("{{\"name\":{deep}").as_bytes()),
        ("history", b"\xff\xfe"),
    ] {
        scene.write(&format!("env/conda-meta/{name}"), bytes);
        let report = audited(&scene, 1, &["--prefix", "env"]);
        let found = lines(&report["prefix"]["findings"]);
        has(&found, &format!("conda-meta/{name}: installed error"), "");
        scene.remove(&format!("env/conda-meta/{name}"));
    }
    std::os::unix::fs::symlink("/dev/zero", scene.path("env/conda-meta/z.json")).unwrap();
    audited(&scene, 1, &["--prefix", "env"]);
    scene
        .run(&["verify", "--prefix", "home"])
        .exits(1)
        .says("conda-meta");
    scene
        .run(&["verify", "--channel", "channel", "channel"])
        .exits(2);
}

#[test]
fn the_channel_can_be_named() {
    let (scene, a) = good();
    // Through a gate, packages name the gate.
    install(&scene, &a, "http://127.0.0.1:1/name");
    let words = ["--prefix", "env", "--channel", "channel"];
    audited(&scene, 0, &words);
    scene.take_key("fixture");
    let report = audited(&scene, 1, &words);
    has(
        &lines(&report["prefix"]["findings"]),
        "conda-meta/a-1.0-0.json: signature error",
        "unknown key",
    );
}

#[test]
fn the_signature_is_held_even_where_it_stands_beside_the_package_alone() {
    let scene = Scene::of_three();
    scene.index(&["--signatures", "detached"]).exits(0);
    install(&scene, "linux-64/a-1.0-0.conda", "http://127.0.0.1:1/name");
    let words = ["--prefix", "env", "--channel", "channel"];
    audited(&scene, 0, &words);
    scene.remove("channel/linux-64/a-1.0-0.conda.sig");
    let report = audited(&scene, 1, &words);
    let found = lines(&report["prefix"]["findings"]);
    has(
        &found,
        "conda-meta/a-1.0-0.json: signature error",
        "no signature",
    );
}

#[test]
fn a_package_that_is_still_in_the_clients_cache_is_read() {
    let (scene, _) = with_env();
    let file = place("a-1.0-0.conda");
    crate::edit(&scene, &file, |meta| {
        let tarball = scene.path("pkgs/a-1.0-0.conda");
        meta["package_tarball_full_path"] = json!(tarball.display().to_string());
    });
    // Caches are emptied.
    audited(&scene, 0, &["--prefix", "env"]);
    scene.write(
        "pkgs/a-1.0-0.conda",
        scene.read("channel/linux-64/a-1.0-0.conda"),
    );
    audited(&scene, 0, &["--prefix", "env"]);
    scene.write("pkgs/a-1.0-0.conda", "other");
    let report = audited(&scene, 1, &["--prefix", "env"]);
    let found = lines(&report["prefix"]["findings"]);
    has(
        &found,
        "conda-meta/a-1.0-0.json: installed invalid",
        "its file",
    );
}

#[test]
fn an_empty_environment_is_valid_and_nothing_was_checked() {
    let scene = Scene::new();
    scene.write("env/conda-meta/history", "");
    let run = scene.run(&["verify", "--prefix", "env"]).exits(0);
    run.says("0 packages are installed")
        .says("checked and valid: nothing\n");
}

#[test]
fn a_gate_that_is_gone_is_no_channel_to_hold_against() {
    let (scene, channel) = with_env();
    let away = format!("file://{}", scene.path("away").display());
    std::fs::create_dir(scene.path("away")).unwrap();
    for package in ["linux-64/a-1.0-0.conda", "linux-64/b-1.0-0.tar.bz2"] {
        install(&scene, package, &away);
    }
    let run = scene.run(&["verify", "--prefix", "env"]).exits(1);
    run.says("through a gate").says("--channel");
    let words = ["verify", "--prefix", "env", "--channel", &channel];
    scene.run(&words).exits(0);
}
