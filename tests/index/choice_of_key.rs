//! Which key signs: the only one, the one that is named, the one that is made, the one of the
//! environment; and what is said when that can't be told.

use serde_json::Value;

use crate::scene::{Scene, fixtures};

fn private_pem(name: &str) -> String {
    std::fs::read_to_string(fixtures().join("keys").join(name)).unwrap()
}

#[test]
fn without_a_key_it_is_said_how_to_make_one() {
    let scene = Scene::without_key();
    scene.package("a");
    let run = scene.index(&[]).exits(1);
    run.says("sigindex keygen")
        .says("--create-key")
        .says(".conda/keys");
    assert!(!scene.exists("channel/linux-64/repodata.json"));
    scene.index(&["--dry-run"]).exits(1).says("sigindex keygen");
}

#[test]
fn several_keys_are_listed_and_one_is_chosen() {
    let scene = Scene::of_three();
    scene.give_key("other");
    scene
        .index(&[])
        .exits(1)
        .says("fixture")
        .says("other")
        .says("--key");
    assert!(!scene.exists("channel/linux-64/repodata.json"));
    scene
        .index(&["--key", "other"])
        .exits(0)
        .counts("signed", 3);
    assert!(
        scene
            .text("channel/linux-64/a-1.0-0.conda.sig")
            .starts_with("other ")
    );
    // With nothing to sign, no key has to be chosen.
    scene.index(&[]).exits(0).counts("kept", 3);
}

#[test]
fn a_key_that_is_not_there_is_an_error() {
    let scene = Scene::of_three();
    let run = scene.index(&["--key", "nobody"]).exits(1);
    run.says("nobody").says("keygen");
    for name in ["../x", "/tmp/x", "a\nb", "", ".hidden", "x.pub"] {
        scene
            .index(&["--key", name])
            .exits(1)
            .says("not a key's name");
    }
    assert!(!scene.exists("channel/linux-64/repodata.json"));
}

#[test]
fn create_key_makes_it_when_it_is_missing_and_uses_it_after() {
    let scene = Scene::without_key();
    scene.remove("home/.conda/keys");
    scene.package("a");
    let flags = ["--create-key", "mine"];
    scene
        .index(&[&flags[..], &["--dry-run"]].concat())
        .exits(0)
        .counts("signed", 1);
    assert!(!scene.exists("home/.conda/keys"));
    scene.index(&flags).exits(0).counts("signed", 1);
    assert_eq!(scene.mode("home/.conda/keys"), 0o700);
    assert_eq!(scene.mode("home/.conda/keys/mine"), 0o600);
    let key = std::fs::read(scene.key_path("mine")).unwrap();
    scene.package("b");
    scene
        .index(&flags)
        .exits(0)
        .counts("signed", 1)
        .counts("kept", 1);
    assert_eq!(std::fs::read(scene.key_path("mine")).unwrap(), key);
    scene.run(&["verify", "channel"]).exits(0);
    let keys = scene.repodata("linux-64")["info"]["signing_keys"].clone();
    let keys: Vec<&Value> = keys.as_object().unwrap().values().collect();
    assert_eq!(keys, [&serde_json::json!({"name": "mine", "bits": 2048})]);
}

#[test]
fn the_folder_of_keys_can_be_named() {
    let scene = Scene::without_key();
    scene.package("a");
    scene.give_key("fixture");
    std::fs::rename(scene.path("home/.conda/keys"), scene.path("elsewhere")).unwrap();
    scene.index(&[]).exits(1);
    let call = scene
        .index_call(&[])
        .env("SIGINDEX_KEYS_DIR", scene.path("elsewhere"));
    call.run().exits(0).counts("signed", 1);
    scene.package("b");
    let call = scene.index_call(&["--keys-dir", "elsewhere"]);
    call.env("SIGINDEX_KEYS_DIR", "/nowhere")
        .run()
        .exits(0)
        .counts("signed", 1);
}

#[test]
fn a_key_of_the_environment_signs_and_counts_as_being_there() {
    let scene = Scene::without_key();
    scene.remove("home/.conda/keys");
    let a = scene.package("a");
    let index = || {
        let call = scene.index_call(&[]).env("SIGINDEX_KEY_NAME", "ci");
        call.env("SIGINDEX_PRIVATE_KEY", private_pem("other")).run()
    };
    index().exits(0).counts("signed", 1);
    assert!(scene.text(&format!("channel/{a}.sig")).starts_with("ci "));
    assert_eq!(scene.record(&a)["signature"]["key"], "ci");
    index().exits(0).counts("kept", 1).counts("opened", 0);
    assert!(!scene.exists("home/.conda/keys"));
    // Without it, nobody knows the key.
    scene.index(&[]).exits(1).refuses(&a, "unknown key");
}

#[test]
fn the_flag_wins_over_the_environment() {
    let scene = Scene::of_three();
    let call = scene
        .index_call(&["--key", "fixture"])
        .env("SIGINDEX_KEY_NAME", "ci");
    call.env("SIGINDEX_PRIVATE_KEY", private_pem("other"))
        .run()
        .exits(0);
    assert!(
        scene
            .text("channel/linux-64/a-1.0-0.conda.sig")
            .starts_with("fixture ")
    );
}

#[test]
fn a_key_of_the_environment_needs_a_name_and_sense() {
    let scene = Scene::of_three();
    let with = |key: &str, name: &str| {
        let call = scene.index_call(&[]).env("SIGINDEX_KEY_NAME", name);
        call.env("SIGINDEX_PRIVATE_KEY", key).run()
    };
    with(&private_pem("other"), "")
        .exits(1)
        .says("SIGINDEX_KEY_NAME");
    with(&private_pem("other"), "../x")
        .exits(1)
        .says("not a key's name");
    with("rubbish", "ci")
        .exits(1)
        .says("SIGINDEX_PRIVATE_KEY")
        .never_says("rubbish");
    // The folder has another key of that name: whose signature would it be?
    with(&private_pem("other"), "fixture")
        .exits(1)
        .says("fixture");
    assert!(!scene.exists("channel/linux-64/repodata.json"));
}

#[test]
fn a_private_key_that_others_can_read_does_not_sign() {
    let scene = Scene::of_three();
    for (mode, flags, status) in [
        (0o644, &[][..], 1),
        (0o604, &[], 1),
        (0o640, &[], 1),
        (0o644, &["--group-readable-keys"], 1),
        (0o640, &["--group-readable-keys"], 0),
    ] {
        scene.set_mode("home/.conda/keys/fixture", mode);
        let dry = scene.index(&[flags, &["--dry-run"]].concat());
        dry.exits(status);
        let run = scene.index(flags).exits(status);
        if status == 1 {
            run.says("chmod 600");
            assert!(!scene.exists("channel/linux-64/repodata.json"));
        }
    }
    // Nothing is to be signed: no private key is looked at.
    scene.set_mode("home/.conda/keys/fixture", 0o644);
    scene.index(&[]).exits(0).counts("kept", 3);
}

#[test]
fn a_private_key_without_its_public_half_does_not_sign() {
    let scene = Scene::of_three();
    let other = std::fs::read(fixtures().join("keys/other.pub")).unwrap();
    std::fs::write(scene.key_path("fixture.pub"), other).unwrap();
    scene
        .index(&[])
        .exits(1)
        .says("fixture.pub")
        .says("not the public key");
    std::fs::remove_file(scene.key_path("fixture.pub")).unwrap();
    scene.index(&[]).exits(1).says("fixture.pub");
    assert!(!scene.exists("channel/linux-64/a-1.0-0.conda.sig"));
}

#[test]
fn an_encrypted_key_signs_with_its_passphrase_only() {
    let scene = Scene::without_key();
    scene.package("a");
    let keygen = [
        "keygen",
        "sealed",
        "--encrypt",
        "--size",
        "1024",
        "--allow-weak",
    ];
    scene
        .call(&keygen)
        .env("SIGINDEX_PASSPHRASE", "open sesame")
        .run()
        .exits(0);
    let pem = std::fs::read_to_string(scene.key_path("sealed")).unwrap();
    assert!(pem.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
    let flags = ["--min-bits", "1024"];
    let with = |passphrase: &str| {
        let call = scene
            .index_call(&flags)
            .env("SIGINDEX_PASSPHRASE", passphrase);
        call.run().never_says("sesame")
    };
    with("open barley").exits(1).says("passphrase is wrong");
    with("").exits(1).says("sealed");
    assert!(!scene.exists("channel/linux-64/repodata.json"));
    // A plan needs no passphrase.
    scene
        .index(&["--min-bits", "1024", "--dry-run"])
        .exits(0)
        .counts("signed", 1);
    with("open sesame").exits(0).counts("signed", 1);
    // Nothing is to be signed, so none is asked for.
    scene.index(&flags).exits(0).counts("kept", 1);
}

#[test]
fn without_a_terminal_a_passphrase_is_not_waited_for() {
    let scene = Scene::without_key();
    scene.package("a");
    let keygen = [
        "keygen",
        "sealed",
        "--encrypt",
        "--size",
        "1024",
        "--allow-weak",
    ];
    scene
        .call(&keygen)
        .env("SIGINDEX_PASSPHRASE", "open sesame")
        .run()
        .exits(0);
    let mut command = std::process::Command::new("setsid");
    let binary = env!("CARGO_BIN_EXE_sigindex");
    command
        .args(["--wait", binary, "channel", "--min-bits", "1024"])
        .env_clear();
    command
        .env("HOME", scene.path("home"))
        .env("XDG_CACHE_HOME", scene.path("cache"));
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    let output = command
        .current_dir(scene.path(""))
        .stdin(std::process::Stdio::null())
        .output();
    let Ok(output) = output else {
        eprintln!("skipped: there is no setsid on this machine");
        return;
    };
    let run = crate::scene::Run::new("(without a terminal)".to_owned(), &output);
    run.exits(1).says("no terminal").says("SIGINDEX_PASSPHRASE");
}

#[test]
fn a_key_that_can_not_be_made_stops_a_dry_run_too() {
    let scene = Scene::of_three();
    let create = ["--create-key", "made"];
    let both_fail = |says: &str| {
        for dry in [&["--dry-run"][..], &[]] {
            scene.index(&[&create, dry].concat()).exits(1).says(says);
        }
        assert!(!scene.exists("channel/linux-64/repodata.json"));
    };
    scene.write("home/.conda/keys/made.pub", "somebody's");
    both_fail("made.pub");
    scene.remove("home/.conda/keys/made.pub");
    std::fs::create_dir(scene.key_path("made")).unwrap();
    both_fail("made");
    std::fs::remove_dir(scene.key_path("made")).unwrap();
    // A folder below a file can't be made.
    let flags = ["--keys-dir", "channel/linux-64/a-1.0-0.conda/keys"];
    let elsewhere = ["--keys-dir", "home/file/keys"];
    scene.write("home/file", "");
    for dry in [&["--dry-run"][..], &[]] {
        scene.index(&[&create, &flags[..], dry].concat()).exits(2);
        let run = scene.index(&[&create, &elsewhere[..], dry].concat());
        run.exits(1).says("home/file/keys");
    }
}

#[test]
fn a_key_that_is_made_for_a_run_counts_in_it() {
    let scene = Scene::of_three();
    let flags = ["--create-key", "made", "--min-bits", "2049"];
    scene.index(&[&flags[..], &["--dry-run"]].concat()).exits(0);
    scene.index(&flags).exits(0).counts("signed", 3);
    scene.run(&["keys"]).exits(0).says(" 2056 ");
}

#[test]
fn a_faulty_key_in_the_environment_is_left_aside_for_one_that_is_named() {
    let scene = Scene::of_three();
    let (key, name) = ("SIGINDEX_PRIVATE_KEY", "SIGINDEX_KEY_NAME");
    let index = |flags: &[&str]| scene.index_call(flags).env(key, "secret junk");
    index(&[]).env(name, "ci").run().exits(1).never_says("junk");
    let run = index(&["--key", "fixture"]).run().exits(0);
    run.never_says("junk");
    index(&["--key", "fixture"]).env(name, "ci").run().exits(0);
    let listed = scene.call(&["keys", "--json"]).env(name, "ci");
    let listed = listed.env(key, private_pem("other")).run().exits(0);
    let keys = listed.report()["keys"].clone();
    let of_ci = |entry: &&Value| entry["name"] == "ci";
    let entry = keys.as_array().unwrap().iter().find(of_ci).unwrap();
    assert_eq!(entry["private"], true);
}

#[test]
fn no_key_lies_where_it_would_be_published() {
    let scene = Scene::of_three();
    for (keys, flags) in [
        ("channel/noarch", &[][..]),
        ("channel", &[]),
        ("out/keys", &["--output", "out"]),
    ] {
        for more in [&["--create-key", "made"][..], &["--no-sign"]] {
            let flags = [flags, &["--keys-dir", keys], more].concat();
            scene.index(&flags).exits(2).says("keys folder lies inside");
        }
        assert!(!scene.exists(&format!("{keys}/made")));
    }
    // Nor is anybody trusted there.
    scene.index(&["--create-key", "made"]).exits(0);
    for words in [
        &[
            "trust",
            "init",
            "channel",
            "--root-key",
            "a",
            "--index-key",
            "b",
        ][..],
        &["trust", "show", "channel"],
        &["verify", "channel"],
    ] {
        let words = [words, &["--keys-dir", "channel/keys"]].concat();
        scene.run(&words).exits(2).says("keys folder lies inside");
        assert!(!scene.exists("channel/keys"));
    }
    let channel = scene.path("channel").display().to_string();
    let url = format!("file://{channel}");
    std::fs::create_dir_all(scene.path("env/conda-meta")).unwrap();
    let record =
        r#"{"name":"a","version":"1.0","build":"0","fn":"a-1.0-0.conda","subdir":"linux-64"}"#;
    std::fs::write(scene.path("env/conda-meta/a-1.0-0.json"), record).unwrap();
    std::fs::create_dir(scene.path("channel/keys")).unwrap();
    let (key, there) = ("home/.conda/keys/made.pub", "channel/keys/made.pub");
    std::fs::copy(scene.path(key), scene.path(there)).unwrap();
    // Where an environment is looked at, that is an error of what came from the channel.
    for (words, status) in [
        (&["channel"][..], 2),
        (&[&url], 2),
        (&["--prefix", "env", "--channel", &channel], 1),
        (&["--prefix", "env", "--channel", &url], 1),
    ] {
        let words = [&["verify", "--keys-dir", "channel/keys"], words].concat();
        let run = scene.run(&words).exits(status);
        let said = format!("{}{}", run.stdout, run.stderr);
        assert!(said.contains("keys folder lies inside"), "{said}");
    }
}

#[test]
fn what_may_be_a_secret_in_a_key_is_not_told() {
    let scene = Scene::of_three();
    for key in [
        "PKCS11:object=b?pin-value=s3cret",
        " Exec:echo s3cret; false",
        "kms:s3cret",
    ] {
        let run = scene.index(&["--key", key]);
        assert_ne!(run.status(), Some(0));
        run.never_says("s3cret");
    }
}
