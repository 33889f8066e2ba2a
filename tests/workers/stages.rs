//! The two halves of a run, one after the other: what is refused by which of them, what each of them needs, and that
//! both together do what `index` does.

use crate::scene::builder::{Format, PackageSpec};
use crate::scene::{EPOCH, Scene};
use crate::{call, index_files, names, publish, scan};

const NOT_SCANNED: &str = "was not scanned as it lies there now";

#[test]
fn what_was_not_scanned_is_not_published() {
    let scene = Scene::of_three();
    let before = publish(&scene, &[]).exits(3).counts("listed", 0);
    assert_eq!(before.refusals().len(), 3);
    scan(&scene, &[]).exits(0);
    publish(&scene, &[]).exits(0).counts("listed", 3);
    let new = scene.package("new");
    publish(&scene, &[])
        .exits(3)
        .refuses(&new, NOT_SCANNED)
        .counts("listed", 3);
    scan(&scene, &[])
        .exits(0)
        .has("opened", &[&new])
        .has("signed", &[&new]);
    publish(&scene, &[]).exits(0).has("added", &[&new]);
    // What was published does not go because nobody scanned what lies there now.
    scene.change(&new);
    let files = index_files(&scene.path("channel"));
    publish(&scene, &[]).exits(1).refuses(&new, NOT_SCANNED);
    assert!(files == index_files(&scene.path("channel")));
    publish(&scene, &["--drop-refused"])
        .exits(3)
        .counts("listed", 3);
}

#[test]
fn a_refused_package_is_named_by_both() {
    let scene = Scene::of_three();
    scene.write("channel/linux-64/bad-1.0-0.conda", "no archive");
    let bad = "linux-64/bad-1.0-0.conda";
    scan(&scene, &[])
        .exits(3)
        .counts("signed", 3)
        .refuses(bad, "");
    let said = call(&scene, "scan", &["-q"]).run().exits(3);
    assert!(said.stderr.contains(bad), "{}", said.stderr);
    publish(&scene, &[])
        .exits(3)
        .refuses(bad, NOT_SCANNED)
        .counts("listed", 3);
    publish(&scene, &["--strict"]).exits(1);
}

#[test]
fn changed_bytes_have_to_be_accepted_by_both() {
    let scene = Scene::of_three();
    scene.index_at(EPOCH, &[]).exits(0);
    let changed = "linux-64/a-1.0-0.conda";
    scene.change(changed);
    let why = "changed since it was published";
    scan(&scene, &[]).exits(3).refuses(changed, why);
    publish(&scene, &[]).exits(1).refuses(changed, why);
    scan(&scene, &["--replace=a-*"])
        .exits(0)
        .has("signed", &[changed]);
    publish(&scene, &[]).exits(1).refuses(changed, why);
    publish(&scene, &["--replace=a-*"])
        .exits(0)
        .has("replaced", &[changed]);
    scene.run(&["verify", "channel"]).exits(0);
}

#[test]
fn unsigned_packages_are_published_where_that_is_asked() {
    let scene = Scene::without_key();
    let a = scene.package("a");
    scan(&scene, &[]).exits(1).says("there is no private key");
    scan(&scene, &["--no-sign"]).exits(0).has("opened", &[&a]);
    publish(&scene, &[]).exits(3).refuses(&a, NOT_SCANNED);
    publish(&scene, &["--require-signed"])
        .exits(3)
        .refuses(&a, "--require-signed");
    publish(&scene, &["--no-sign"])
        .exits(0)
        .has("unsigned", &[&a]);
    scan(&scene, &["--no-sign", "--key", "K"]).exits(2);
    scan(&scene, &["--require-signed", "--resign"]).exits(2);
}

#[test]
fn whoever_publishes_needs_no_private_key() {
    let scene = Scene::of_three();
    scan(&scene, &[]).exits(0).counts("signed", 3);
    std::fs::remove_file(scene.key_path("fixture")).unwrap();
    publish(&scene, &["--key", "fixture"]).exits(2);
    publish(&scene, &["--rehash"]).exits(2);
    publish(&scene, &[])
        .exits(0)
        .counts("kept", 3)
        .counts("opened", 0);
}

#[test]
fn signatures_can_be_made_anew_and_all_be_read_again() {
    let scene = Scene::of_three();
    scene.index_at(EPOCH, &[]).exits(0);
    scan(&scene, &["--rehash"])
        .exits(0)
        .counts("opened", 3)
        .counts("signed", 0);
    scan(&scene, &["--resign"]).exits(0).counts("signed", 3);
    publish(&scene, &[]).exits(0).counts("kept", 3);
    scene.run(&["verify", "channel"]).exits(0);
}

#[test]
fn archives_are_published_that_were_read_to_their_end() {
    let scene = Scene::of_three();
    scan(&scene, &[]).exits(0);
    publish(&scene, &["--check-archives"])
        .exits(3)
        .counts("listed", 0);
    scan(&scene, &["--check-archives"])
        .exits(0)
        .counts("opened", 3);
    publish(&scene, &["--check-archives"])
        .exits(0)
        .counts("listed", 3);
}

#[test]
fn a_dry_run_of_either_touches_nothing() {
    let scene = Scene::of_three();
    let before = scene.snapshot("");
    let run = scan(&scene, &["--dry-run"]).exits(0);
    assert_eq!(names(&run, "signed").len(), 3);
    publish(&scene, &["--dry-run"]).exits(3);
    assert!(scene.snapshot("") == before);
}

#[test]
fn records_of_packages_that_are_gone_stay_where_that_is_asked() {
    let scene = Scene::of_three();
    scene.index_at(EPOCH, &[]).exits(0);
    scene.remove("channel/linux-64/a-1.0-0.conda");
    scan(&scene, &[]).exits(0).counts("opened", 0);
    publish(&scene, &["--update-only"]).exits(0);
    assert!(scene.is_listed("linux-64/a-1.0-0.conda"));
    publish(&scene, &[])
        .exits(0)
        .has("removed", &["linux-64/a-1.0-0.conda"]);
}

#[test]
fn patches_apply_where_the_index_is_made() {
    let scene = Scene::of_three();
    let patch = r#"{"patch_instructions_version": 1, "packages.conda": {"a-1.0-0.conda": {"license": "patched"}}}"#;
    scene.write("channel/linux-64/patch_instructions.json", patch);
    scan(&scene, &[]).exits(0);
    publish(&scene, &[]).exits(0);
    assert_eq!(scene.record("linux-64/a-1.0-0.conda")["license"], "patched");
}

#[test]
fn with_an_output_the_channel_is_only_read() {
    let scene = Scene::of_three();
    let before = scene.snapshot("channel");
    scan(&scene, &["--output", "out"])
        .exits(0)
        .counts("signed", 3);
    publish(&scene, &["--output", "out"])
        .exits(0)
        .counts("kept", 3);
    assert!(scene.snapshot("channel") == before);
    assert!(scene.exists("out/linux-64/repodata.json"));
}

#[test]
fn names_in_two_cases_are_told_by_one_worker() {
    let scene = Scene::new();
    scene.package("a");
    let spec = PackageSpec::new("a", "1.0", "0");
    let twin = scene.path("channel/linux-64/A-1.0-0.conda");
    std::fs::write(twin, spec.bytes(Format::Conda)).unwrap();
    let told = |part: &str| {
        let run = scan(&scene, &["--part", part, "--allow-mismatch"]);
        run.refusals().len()
    };
    let told = ["1/3", "2/3", "3/3"].map(told);
    assert_eq!(told.iter().sum::<usize>(), 1, "{told:?}");
}

#[test]
fn the_text_tells_what_follows() {
    let scene = Scene::of_three();
    let run = scene.run(&["scan", "channel", "--part", "1/1"]).exits(0);
    let run = run
        .says("3 packages opened of part 1/1")
        .says("3 signed, 0 refused");
    run.says("nothing is published yet: `sigindex publish` does that");
}

#[cfg(feature = "tuf")]
#[test]
fn the_key_of_a_signed_index_is_needed_where_it_is_published() {
    let scene = Scene::of_three();
    scene.init_signed_index();
    scene.index(&["--key", "fixture"]).exits(0);
    let new = scene.package("new");
    let private = scene.key_path("index");
    let away = scene.path("index-key");
    std::fs::rename(&private, &away).unwrap();
    scene.index(&["--key", "fixture"]).exits(1);
    let flags = ["scan", "channel", "--json", "--key"];
    let scan = |key: &str| scene.run(&[&flags[..], &[key]].concat());
    // A key that signs indexes signs no package, here neither.
    scan("root").exits(1);
    scan("fixture").exits(0).has("signed", &[&new]);
    scene.run(&["publish", "channel"]).exits(1);
    std::fs::rename(&away, &private).unwrap();
    let run = scene.run(&["publish", "channel", "--json"]).exits(0);
    assert_eq!(run.report()["signed_index"]["new"], true);
    assert_eq!(names(&run, "added"), [new]);
    scene.run(&["verify", "channel"]).exits(0);
}
