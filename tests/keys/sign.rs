//! `sign`: `.sig` files that are made and kept, and private keys that do not serve.

use std::os::unix::ffi::OsStrExt as _;

use crate::scene::Scene;
use crate::{fixture, signed};

#[test]
fn sign_keeps_what_is_valid_and_overwrites_another_only_by_force() {
    let scene = signed();
    let sig = scene.read("data.sig");
    scene.run(&["sign", "data"]).exits(0).says("KEPT");
    assert_eq!(scene.read("data.sig"), sig);
    for wrong in ["", "fixture AAAA\n", "nobody AAAA\n", "rubbish"] {
        scene.write("data.sig", wrong);
        scene.run(&["sign", "data"]).exits(1).says("--force");
        assert_eq!(scene.text("data.sig"), wrong);
        scene
            .run(&["sign", "data", "--force"])
            .exits(0)
            .says("SIGNED");
        scene.run(&["verify", "data"]).exits(0);
    }
    scene.write("data", "other bytes");
    scene.run(&["sign", "data"]).exits(1).says("--force");
}

#[test]
fn a_signature_is_skipped_and_one_that_is_not_there_is_an_error() {
    let scene = signed();
    scene.run(&["sign", "data.sig"]).exits(0).says("SKIPPED");
    let run = scene.run(&["sign", "missing.sig"]).exits(1);
    run.says("missing.sig").never_says("SKIPPED");
}

#[test]
fn force_takes_the_chosen_key_in_the_place_of_another() {
    let scene = signed();
    scene.give_key("other");
    let flags = ["sign", "data", "--key", "other"];
    // A valid signature stays, whichever key of the folder made it.
    scene.run(&flags).exits(0).says("KEPT");
    scene
        .run(&[&flags[..], &["--force"]].concat())
        .exits(0)
        .says("SIGNED");
    assert!(scene.text("data.sig").starts_with("other "));
    let sig = scene.read("data.sig");
    scene.run(&[&flags[..], &["--force"]].concat()).exits(0);
    assert!(scene.read("data.sig").starts_with(b"other ") && !sig.is_empty());
}

#[test]
fn metadata_of_an_index_is_not_signed_as_a_file() {
    let scene = Scene::new();
    scene.write(
        "whole",
        r#"{"signatures": [], "signed": {"_type": "root"}}"#,
    );
    scene.write("part", r#"{"_type":"targets","version":1}"#);
    // Canonical JSON, which is what is signed of metadata, need be no JSON.
    scene.write("canonical", "{\"A\":\"\n\",\"_type\":\"root\"}");
    scene.write("other.json", r#"{"type": "root"}"#);
    for file in ["whole", "part", "canonical"] {
        scene
            .run(&["sign", file, "--force"])
            .exits(1)
            .says("metadata of a signed index");
        assert!(!scene.path(&format!("{file}.sig")).exists());
    }
    scene.run(&["sign", "other.json"]).exits(0).says("SIGNED");
    scene.run(&["verify", "other.json"]).exits(0);
}

#[test]
fn sign_takes_many_files_and_names_those_it_could_not() {
    let scene = Scene::new();
    scene.write("one", "1");
    scene.write("deep/two", "");
    std::fs::create_dir(scene.path("folder")).unwrap();
    let run = scene.run(&[
        "sign",
        "one",
        "missing",
        "folder",
        "deep/two",
        "--signing-log",
        "log",
    ]);
    run.exits(1).says("missing").says("folder");
    scene.run(&["verify", "one", "deep/two"]).exits(0);
    assert_eq!(scene.text("log").lines().count(), 2);
    assert!(scene.text("log").contains("\"file\":\"deep/two\""));
}

#[test]
fn a_name_begins_no_line_of_its_own() {
    let scene = Scene::new();
    let forged = "doc\nother.conda            SIGNED";
    let odd = std::ffi::OsStr::from_bytes(b"doc\xff");
    scene.write(forged, "1");
    std::fs::write(scene.path("").join(odd), "1").unwrap();
    let run = |verb: &str, status: i32| {
        let mut call = scene.call(&[verb, forged, "doc\nmissing"]);
        call.command().arg(odd);
        call.run()
            .exits(status)
            .says(r"doc\nother.conda            SIGNED")
            .says(r"doc\nmissing")
            .says(r"doc\xff")
            .never_says("\nother.conda")
            .never_says("\nmissing")
    };
    run("sign", 1).says("error: ");
    run("verify", 1);
    let no_flag = "--x\nother.conda            SIGNED";
    let told = scene.run(&["sign", no_flag]).exits(2);
    told.says(r"--x\nother.conda").never_says("\nother.conda");
    let no_number = scene.run(&["sign", "doc", "--threads", "1\nother.conda SIGNED"]);
    no_number.exits(2).never_says("\nother.conda");
    scene.write("data", "2");
    for (flag, status) in [("--keys-dir", 1), ("--signing-log", 1)] {
        let told = scene.run(&["sign", "data", flag, "no/such\nother.conda SIGNED"]);
        told.exits(status)
            .says(r"such\nother.conda")
            .never_says("\nother.conda");
    }
}

#[test]
fn a_private_key_of_any_form_signs() {
    let scene = Scene::new();
    let openssl = |args: &[&str]| {
        let mut command = std::process::Command::new("openssl");
        command
            .args(args)
            .current_dir(scene.key_path(""))
            .output()
            .is_ok_and(|out| out.status.success())
    };
    if !openssl(&[
        "pkcs8",
        "-topk8",
        "-nocrypt",
        "-in",
        "fixture",
        "-out",
        "converted",
    ]) {
        eprintln!("skipped: there is no openssl on this machine");
        return;
    }
    std::fs::rename(scene.key_path("converted"), scene.key_path("fixture")).unwrap();
    scene.set_mode("home/.conda/keys/fixture", 0o600);
    assert!(
        scene
            .text("home/.conda/keys/fixture")
            .starts_with("-----BEGIN PRIVATE KEY-----")
    );
    scene.write("data", "x");
    scene.run(&["sign", "data"]).exits(0);
    scene.run(&["verify", "data"]).exits(0);
}

#[test]
fn a_private_key_that_is_none_does_not_sign() {
    let private = String::from_utf8(fixture("keys/fixture")).unwrap();
    for wrong in [
        String::new(),
        "rubbish".to_owned(),
        String::from_utf8(fixture("keys/fixture.pub")).unwrap(),
        private[..private.len() / 2].to_owned(),
        format!("{private}{private}"),
        private.replacen('A', "B", 1),
    ] {
        let scene = Scene::new();
        scene.write("data", "x");
        std::fs::write(scene.key_path("fixture"), wrong).unwrap();
        let run = scene.run(&["sign", "data", "--key", "fixture"]).exits(1);
        run.says("keys/fixture");
        assert!(!scene.exists("data.sig"));
    }
}
