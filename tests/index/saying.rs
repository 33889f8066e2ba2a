//! What people and scripts see: plain lines, the JSON report, silence, the plan of a dry run; and places
//! that say nothing back, such as a closed stdout.

use crate::scene::{Run, Scene};

#[test]
fn a_plain_run_ends_with_the_counts() {
    let scene = Scene::of_three();
    scene.write("channel/linux-64/bad-1.0-0.conda", "not a package");
    let run = scene.run(&["channel"]).exits(3);
    let run = run.says("linux-64/bad-1.0-0.conda: ").says("3 packages");
    let run = run.says("3 signed").says("1 refused").says("0 kept");
    assert!(!run.stdout.contains('\r') && !run.stdout.contains('\u{1b}'));
    assert!(!run.stderr.contains('\u{1b}'), "a pipe gets plain lines");
    let run = scene.run(&["channel"]).exits(3);
    run.says("3 reused").says("3 kept").says("0 signed");
}

#[test]
fn json_is_one_object_on_stdout() {
    let scene = Scene::of_three();
    scene.index(&["--strict"]).exits(0);
    scene.write("channel/linux-64/x-1.0-0.conda.sig", "");
    let run = scene.index(&[]).exits(0);
    let report = run.report();
    assert_eq!(run.stdout.trim_end().lines().count(), 1);
    assert_eq!(report["published"], true);
    assert_eq!(report["dry_run"], false);
    assert!(report["seconds"].is_number());
    assert!(
        report["warnings"][0]
            .as_str()
            .unwrap()
            .contains("x-1.0-0.conda.sig")
    );
    assert!(run.stderr.contains("x-1.0-0.conda.sig"));
    // A failure is an object too.
    let run = scene.run(&["missing", "--json"]).exits(1);
    assert_eq!(run.report()["published"], false);
    assert!(run.report()["error"].as_str().unwrap().contains("missing"));
}

#[test]
fn quiet_says_nothing_but_errors() {
    let scene = Scene::of_three();
    let run = scene.run(&["channel", "-q"]).exits(0);
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("", ""));
    scene.write("channel/linux-64/bad-1.0-0.conda", "not a package");
    let run = scene.run(&["channel", "-q"]).exits(3);
    assert!(run.stdout.is_empty() && run.stderr.contains("bad-1.0-0.conda"));
    let run = scene.run(&["channel", "-q", "--strict"]).exits(1);
    assert!(run.stdout.is_empty() && run.stderr.contains("nothing was published"));
}

#[test]
fn verbose_names_every_file() {
    let scene = Scene::of_three();
    let run = scene.run(&["channel", "-v"]).exits(0);
    run.says("linux-64/repodata.json")
        .says("noarch/repodata.json.zst");
}

#[test]
fn a_newcomer_finds_the_way() {
    let scene = Scene::without_key();
    scene.run(&[]).exits(2).says("Usage");
    let help = scene
        .run(&["--help"])
        .exits(0)
        .says("keygen")
        .says("--dry-run");
    help.says("verify").says("CHANNEL");
    for verb in ["index", "keygen", "sign", "verify", "keys"] {
        scene.run(&[verb, "--help"]).exits(0).says("Usage");
    }
    scene
        .run(&["--version"])
        .exits(0)
        .says(env!("CARGO_PKG_VERSION"));
}

/// Runs dry, sees that nothing at all was touched, then runs for good with the same status and counts.
fn dry_then_real(scene: &Scene, flags: &[&str], status: i32) -> Run {
    let before = scene.snapshot("");
    let dry = scene.index(&[flags, &["--dry-run"]].concat()).exits(status);
    assert!(scene.snapshot("") == before, "a dry run touched something");
    let real = scene.index(flags).exits(status);
    let (plan, done) = (dry.report(), real.report());
    for list in [
        "added",
        "signed",
        "replaced",
        "removed",
        "unsigned",
        "unverified",
        "refused",
        "files",
    ] {
        assert_eq!(plan[list], done[list], "{list}");
    }
    for count in ["listed", "kept", "signed", "refused"] {
        assert_eq!(plan["counts"][count], done["counts"][count], "{count}");
    }
    assert_eq!(
        (&plan["dry_run"], &plan["published"]),
        (&true.into(), &false.into())
    );
    dry
}

#[test]
fn a_dry_run_touches_nothing_and_tells_what_the_real_one_does() {
    let scene = Scene::of_three();
    let (a, b) = (scene.package("a"), scene.package("b"));
    dry_then_real(&scene, &[], 0).has(
        "signed",
        &[
            "linux-64/a-1.0-0.conda",
            "linux-64/b-1.0-0.tar.bz2",
            "linux-64/c-1.0-0.conda",
        ],
    );
    dry_then_real(&scene, &[], 0)
        .counts("kept", 3)
        .counts("opened", 0);
    scene.package("d");
    scene.write("channel/linux-64/bad-1.0-0.conda", "not a package");
    dry_then_real(&scene, &[], 3).counts("signed", 1);
    scene.change(&b);
    dry_then_real(&scene, &[], 1).says("changed since it was published");
    dry_then_real(&scene, &["--replace"], 3).has("replaced", &[&b]);
    scene.remove(&format!("channel/{a}"));
    dry_then_real(&scene, &[], 3).has("removed", &[&a]);
    dry_then_real(&scene, &["--strict"], 1);
    dry_then_real(&scene, &["--bz2"], 3);
    dry_then_real(&scene, &["--output", "public"], 3);
}

#[test]
fn a_dry_run_names_the_files_that_another_key_changes() {
    let scene = Scene::of_three();
    scene.index(&[]).exits(0);
    scene.give_key("other");
    for signing in SIGNING {
        let flags = [&["--resign"], signing].concat();
        dry_then_real(&scene, &flags, 0).counts("signed", 3);
        let again = dry_then_real(&scene, &flags, 0).counts("signed", 3);
        let files = again.report()["files"].as_array().unwrap().len();
        assert_eq!(files == 0, signing.contains(&"detached"), "{signing:?}");
    }
}

/// Ways to sign, with keys that are there and one that the first signature makes.
const SIGNING: [&[&str]; 4] = [
    &["--key", "fixture"],
    &["--key", "other"],
    &["--key", "fixture", "--signatures", "detached"],
    &["--create-key", "made", "--signatures", "detached"],
];

#[test]
fn a_dry_run_in_plain_words_says_would() {
    let scene = Scene::of_three();
    let run = scene.run(&["channel", "--dry-run"]).exits(0);
    run.says("would be added").says("would publish");
    scene.index(&["--dry-run", "--output", "public"]).exits(0);
    assert!(!scene.exists("public"));
}

#[test]
fn a_closed_stdout_is_no_failure() {
    for args in [
        &["channel"][..],
        &["channel", "--json"],
        &["keys"],
        &["--help"],
    ] {
        let scene = Scene::of_three();
        let mut child = scene.call(args).start();
        drop(child.stdout.take());
        Run::of(child).exits(0);
    }
}

#[test]
fn without_a_home_places_can_be_named() {
    let scene = Scene::of_three();
    let homeless = |flags: &[&str]| {
        let call = scene.index_call(flags).without_env("HOME");
        call.without_env("XDG_CACHE_HOME").run()
    };
    let keys = scene.path("home/.conda/keys").display().to_string();
    homeless(&["--keys-dir", &keys, "--cache", "mine"])
        .exits(0)
        .counts("signed", 3);
    // The system may know a home all the same, which is none of a test's business: look, don't touch.
    homeless(&["--dry-run"]);
}
