//! What may be signed is the operator's choice: `--no-sign`, `--require-signed`, `--sign-only`, `--resign`;
//! and the log of what was.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::scene::Scene;

const NOTHING: [&str; 0] = [];

fn sha256(scene: &Scene, package: &str) -> String {
    let digest = Sha256::digest(scene.read(&format!("channel/{package}")));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn no_sign_needs_no_private_key_and_lists_what_is_unsigned() {
    let scene = Scene::without_key();
    let (a, b) = (scene.package("a"), scene.package("b"));
    scene.give_key("fixture");
    scene.run(&["sign", &format!("channel/{a}")]).exits(0);
    scene.take_key("fixture");
    scene.give_public_key("fixture");
    let sig = scene.read(&format!("channel/{a}.sig"));
    let run = scene.index(&["--no-sign"]).exits(0).counts("kept", 1);
    run.has("unsigned", &[&b]).has("signed", &NOTHING);
    assert_eq!(
        scene.read(&format!("channel/{a}.sig")),
        sig,
        "no .sig is deleted"
    );
    assert_eq!(scene.record(&a)["signature"]["key"], "fixture");
    let record = scene.record(&b);
    assert_eq!((record.get("sig"), record.get("signature")), (None, None));
    assert!(!scene.exists(&format!("channel/{b}.sig")));
    let before = scene.snapshot("");
    scene.index(&["--no-sign"]).exits(0).counts("opened", 0);
    assert!(scene.snapshot("") == before);
}

#[test]
fn no_sign_works_without_a_keys_folder() {
    let scene = Scene::without_key();
    scene.remove("home/.conda");
    scene.package("a");
    scene.index(&["--no-sign"]).exits(0).counts("unsigned", 1);
    assert!(!scene.exists("home/.conda"));
}

#[test]
fn what_was_listed_unsigned_is_signed_by_the_next_plain_run() {
    let scene = Scene::of_three();
    scene.index(&["--no-sign"]).exits(0).counts("unsigned", 3);
    let run = scene.index(&[]).exits(0).counts("signed", 3);
    run.has("added", &NOTHING).has("replaced", &NOTHING);
    scene.run(&["verify", "channel"]).exits(0);
}

#[test]
fn require_signed_refuses_what_is_unsigned() {
    let scene = Scene::without_key();
    let (a, b) = (scene.package("a"), scene.package("b"));
    scene.give_key("fixture");
    scene.run(&["sign", &format!("channel/{a}")]).exits(0);
    std::fs::remove_file(scene.key_path("fixture")).unwrap();
    let run = scene.index(&["--require-signed"]).exits(3);
    run.refuses(&b, "no signature")
        .counts("kept", 1)
        .counts("signed", 0);
    assert!(scene.is_listed(&a) && !scene.is_listed(&b));
    assert!(!scene.exists(&format!("channel/{b}.sig")));
}

#[test]
fn sign_only_signs_what_the_list_names() {
    let scene = Scene::of_three();
    let (a, b, c) = (scene.package("a"), scene.package("b"), scene.package("c"));
    let list = format!(
        "{}  {a}\n{} *{}\n{}  {c}\n",
        sha256(&scene, &a),
        sha256(&scene, &b),
        b.rsplit('/').next().unwrap(),
        sha256(&scene, &a),
    );
    scene.write("list", list);
    let run = scene.index(&["--sign-only", "list"]).exits(3);
    run.has("signed", &[&a, &b]).refuses(&c, "another SHA-256");
    assert!(!scene.exists(&format!("channel/{c}.sig")));
    scene.write("list", format!("{}  {a}\n", sha256(&scene, &a)));
    let run = scene.index(&["--sign-only", "list"]).exits(3);
    run.refuses(&c, "does not name it").counts("kept", 2);
}

#[test]
fn a_list_that_is_none_is_an_error() {
    let scene = Scene::of_three();
    for list in [
        "abc  a.conda\n",
        "rubbish\n",
        &format!("{}\n", "0".repeat(64)),
    ] {
        scene.write("list", list);
        scene
            .index(&["--sign-only", "list"])
            .exits(1)
            .says("list, line 1");
    }
    scene
        .index(&["--sign-only", "missing"])
        .exits(1)
        .says("missing");
    assert!(!scene.exists("channel/linux-64/repodata.json"));
    // One that names nothing signs nothing.
    scene.write("list", "");
    scene
        .index(&["--sign-only", "list"])
        .exits(3)
        .counts("refused", 3);
}

#[test]
fn resign_signs_anew_what_was_missing_or_valid() {
    let scene = Scene::of_three();
    let (a, b, c) = (scene.package("a"), scene.package("b"), scene.package("c"));
    scene.index_at("1000", &[]).exits(0);
    let d = scene.package("d");
    scene.write(&format!("channel/{c}.sig"), "fixture AAAA\n");
    scene.give_key("other");
    let flags = ["--resign", "--key", "other", "--drop-refused"];
    let run = scene.index_at("2000", &flags).exits(3);
    run.has("signed", &[&a, &b, &d]).refuses(&c, "invalid");
    assert_eq!(scene.text(&format!("channel/{c}.sig")), "fixture AAAA\n");
    for package in [&a, &b, &d] {
        assert!(
            scene
                .text(&format!("channel/{package}.sig"))
                .starts_with("other ")
        );
        assert_eq!(scene.record(package)["signature"]["key"], "other");
    }
    assert_eq!(
        scene.record(&a)["indexed_timestamp"],
        1_000_000,
        "the package is not new"
    );
    // Nothing is left of the old key in the index.
    let keys = scene.repodata("linux-64")["info"]["signing_keys"].clone();
    let keys: Vec<Value> = keys.as_object().unwrap().values().cloned().collect();
    assert_eq!(keys, [serde_json::json!({"name": "other", "bits": 2048})]);
}

#[test]
fn the_log_has_a_line_for_every_signature() {
    let scene = Scene::of_three();
    let flags = ["--signing-log", "log"];
    scene.index(&["--signing-log", "log", "--dry-run"]).exits(0);
    assert!(!scene.exists("log"));
    scene.index(&flags).exits(0);
    scene.index(&flags).exits(0);
    let d = scene.package("d");
    scene.index(&flags).exits(0);
    let log = scene.text("log");
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 4);
    let last = lines.last().unwrap();
    assert_eq!(last["key"], "fixture");
    assert_eq!(last["file"], *d);
    assert_eq!(last["sha256"], sha256(&scene, &d));
    assert_eq!(
        last["fingerprint"],
        scene.record(&d)["signature"]["fingerprint"]
    );
    assert!(last["time"].as_str().unwrap().starts_with("20"));
    assert_eq!(last.as_object().unwrap().len(), 5);
}

#[test]
fn a_log_that_cannot_be_written_is_a_failure_before_anything_is_signed() {
    let scene = Scene::of_three();
    let run = scene.index(&["--signing-log", "no/such/log"]).exits(1);
    run.says("no/such/log");
    assert!(!scene.exists("channel/linux-64/a-1.0-0.conda.sig"));
}

#[test]
fn a_log_has_its_own_place_and_nothing_else_stands_in_it() {
    let scene = Scene::of_three();
    scene.write("notes", "keep me\n");
    scene.write("channel/uploads/file", "");
    scene.write("output/file", "");
    std::os::unix::fs::symlink("channel/log", scene.path("link")).unwrap();
    let package = scene.path("channel/linux-64/a-1.0-0.conda");
    std::fs::copy(package, scene.path("a-1.0-0.conda")).unwrap();
    let key = scene.key_path("fixture").to_str().unwrap().to_owned();
    let new = scene.key_path("log").to_str().unwrap().to_owned();
    let before = ["channel", "home"].map(|folder| scene.snapshot(folder));
    for (log, status, why) in [
        (key.as_str(), 2, "keys folder"),
        (&new, 2, "keys folder"),
        ("channel/log", 2, "inside the channel"),
        ("channel/linux-64/a-1.0-0.conda", 2, "inside the channel"),
        ("channel/uploads/../log", 2, "inside the channel"),
        ("link", 2, "inside the channel"),
        ("output/log", 2, "inside the channel"),
        ("notes", 1, "no record of a signature"),
        ("a-1.0-0.conda", 1, "no record of a signature"),
    ] {
        for more in [&[][..], &["--dry-run"]] {
            let flags = ["--signing-log", log, "--output", "output"];
            let run = scene.index(&[&flags, more].concat()).exits(status);
            run.says("signing log").says("--signing-log").says(why);
        }
        if !why.contains("channel") {
            let run = scene.run(&["sign", "notes", "--signing-log", log]);
            run.exits(status).says(why);
        }
    }
    assert!(["channel", "home"].map(|folder| scene.snapshot(folder)) == before);
    assert_eq!(scene.text("notes"), "keep me\n");
    assert!(scene.read("a-1.0-0.conda") == scene.read("channel/linux-64/a-1.0-0.conda"));
    for path in ["notes.sig", "output/log", "output/linux-64"] {
        assert!(!scene.exists(path), "{path}");
    }
    let flags = ["--signing-log", "log", "--output", "output"];
    scene.index(&flags).exits(0);
    assert_eq!(scene.text("log").lines().count(), 3);
}

#[test]
fn a_log_that_is_an_output_goes_where_a_shell_collects_it() {
    let scene = Scene::of_three();
    scene.write("notes", "keep me\n");
    std::os::unix::fs::symlink("/dev/stdout", scene.path("link")).unwrap();
    for log in ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link", "all"] {
        // Other lines stand before.
        scene.write("all", "it begins\n");
        let all = std::fs::File::options()
            .append(true)
            .open(scene.path("all"));
        let call = scene.call(&["sign", "notes", "-q", "--signing-log", log]);
        call.stdout(all.unwrap()).run().exits(0);
        assert_eq!(scene.text("all").lines().count(), 2, "{log}");
        scene.remove("notes.sig");
    }
    // A folder of devices may hold files, too: scenes lie in /dev/shm, where that is there.
    let log = scene.path("notes");
    let run = scene.index(&["--signing-log", log.to_str().unwrap()]);
    run.exits(1).says("no record of a signature");
    assert_eq!(scene.text("notes"), "keep me\n");
}

#[test]
fn a_pattern_that_can_not_be_compiled_is_wrong_usage() {
    let scene = Scene::of_three();
    for pattern in [
        "*".repeat(100_000),
        "{a,".repeat(5_000) + &"}".repeat(5_000),
        "{a,".repeat(256) + &"}".repeat(256),
        "a[".to_owned(),
    ] {
        let flag = format!("--replace={pattern}");
        let run = scene.index(&[&flag]).exits(2).says("--replace=");
        run.says("no pattern of package names")
            .never_says("panicked");
    }
    assert!(!scene.exists("channel/linux-64/repodata.json"));
}

#[test]
fn flags_that_contradict_each_other_are_wrong_usage() {
    let scene = Scene::of_three();
    for flags in [
        &["--no-sign", "--key", "fixture"][..],
        &["--no-sign", "--require-signed"],
        &["--no-sign", "--sign-only", "list"],
        &["--require-signed", "--resign"],
        &["--key", "a", "--create-key", "b"],
        &["--no-such-flag"],
        &["--min-bits", "many"],
        &["--stat", "feeling"],
        &["--replace=[", ""],
    ] {
        scene.index(flags).exits(2);
    }
    assert!(!scene.exists("channel/linux-64/repodata.json"));
}
