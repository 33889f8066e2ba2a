//! What keys are for: a key of an index signs no package, and its signature of one does not count; a key that
//! signed a package is remembered as one of packages.

use crate::scene::Scene;

const USES: &str = "home/.conda/keys/.sigindex-uses.json";

/// Remembers that a key signs an index, as `trust init` does.
fn mark(scene: &Scene, name: &str, is_for: &str) {
    let keys = scene.run(&["keys", "--json"]).report();
    let keys = keys["keys"].as_array().unwrap();
    let key = keys.iter().find(|key| key["name"] == name).unwrap();
    let one = serde_json::json!({"fingerprint": key["fingerprint"], "uses": [is_for]});
    let text = serde_json::json!({"version": 1, "keys": [one]}).to_string();
    scene.write(USES, text);
    scene.set_mode(USES, 0o600);
}

#[test]
fn a_key_of_an_index_signs_no_package() {
    for is_for in ["index", "root"] {
        let scene = Scene::of_three();
        mark(&scene, "fixture", is_for);
        scene.run(&["keys"]).exits(0).says(is_for);
        scene.write("data", "x");
        let before = scene.snapshot("home");
        for flags in [&["--key", "fixture"][..], &["--create-key", "fixture"]] {
            let wrong = scene.run(&[&["sign", "data"], flags].concat()).exits(1);
            wrong.says("the key fixture").says(is_for);
            let wrong = scene.index(&[&["--keep-unknown"], flags].concat()).exits(1);
            wrong.says("the key fixture");
            scene.index(&[&["--dry-run"], flags].concat()).exits(1);
        }
        // It is passed over, as if it were not there.
        scene.run(&["sign", "data"]).exits(1).says("sign an index");
        scene.index(&[]).exits(1).says("sign an index");
        assert!(!scene.exists("data.sig"));
        assert!(scene.snapshot("home") == before);
        scene.give_key("other");
        scene.index(&[]).exits(0);
        scene.run(&["sign", "data"]).exits(0);
        assert!(scene.text("data.sig").starts_with("other "));
    }
}

#[test]
fn the_key_of_the_environment_may_be_one_of_an_index() {
    let scene = Scene::new();
    scene.write("data", "x");
    mark(&scene, "fixture", "index");
    let pem = String::from_utf8(crate::fixture("keys/fixture")).unwrap();
    let sign = |name: &str| {
        let call = scene.call(&["sign", "data"]);
        let call = call.env("SIGINDEX_PRIVATE_KEY", &pem);
        call.env("SIGINDEX_KEY_NAME", name).run()
    };
    // Its name is no matter.
    for name in ["fixture", "alias"] {
        sign(name).exits(1).says("key of the index");
    }
    assert!(!scene.exists("data.sig"));
}

#[test]
fn a_package_signed_by_a_key_of_an_index_is_refused() {
    let scene = Scene::new();
    let package = scene.package("a");
    let file = format!("channel/{package}");
    scene.index(&[]).exits(0);
    scene.run(&["verify", &file]).exits(0);
    mark(&scene, "fixture", "index");
    let run = scene.run(&["verify", &file]).exits(1);
    run.says("ERROR: ").says("signs the index, not packages");
    scene.run(&["verify", "channel"]).exits(1);
    scene.give_key("other");
    // What the cache remembers does not count either; the package is published, so nothing is.
    scene
        .index(&[])
        .exits(1)
        .refuses(&package, "signs the index, not packages");
    let run = scene.run(&["sign", &file, "--key", "other"]).exits(1);
    run.says("--force");
    let before = scene.text(&format!("{file}.sig"));
    assert!(before.starts_with("fixture "));
    scene
        .run(&["sign", &file, "--key", "other", "--force"])
        .exits(0);
    scene.index(&[]).exits(0);
    scene.run(&["verify", "channel"]).exits(0);
}

#[test]
fn a_key_is_marked_when_it_signs_its_first_package() {
    let scene = Scene::new();
    scene.package("a");
    scene.index(&["--dry-run"]).exits(0);
    scene.index(&["--no-sign"]).exits(0);
    assert!(!scene.exists(USES));
    scene.index(&[]).exits(0);
    scene.run(&["keys"]).exits(0).says("package");
    assert_eq!(scene.mode(USES), 0o600);
    let before = scene.snapshot("home");
    scene.package("b");
    scene.index(&[]).exits(0);
    scene.write("data", "x");
    scene.run(&["sign", "data"]).exits(0);
    assert!(scene.snapshot("home") == before);
}

#[test]
fn a_folder_that_can_not_be_written_stops_nothing() {
    let scene = Scene::new();
    scene.write("data", "x");
    // Others could put a file there: none is written, nor believed.
    scene.set_mode("home/.conda/keys", 0o777);
    scene.run(&["sign", "data"]).exits(0);
    assert!(!scene.exists(USES));
    scene.set_mode("home/.conda/keys", 0o700);
    mark(&scene, "fixture", "index");
    scene.set_mode("home/.conda/keys", 0o777);
    let run = scene.run(&["verify", "data"]).exits(1);
    run.says("chmod go-w");
    scene.set_mode("home/.conda/keys", 0o500);
    scene.run(&["verify", "data"]).exits(1).says("not packages");
    scene.set_mode("home/.conda/keys", 0o700);
    // The environment's key needs no folder, and makes none.
    let pem = String::from_utf8(crate::fixture("keys/fixture")).unwrap();
    scene.remove("home/.conda");
    scene.remove("data.sig");
    let call = scene.call(&["sign", "data"]).env("SIGINDEX_KEY_NAME", "ci");
    call.env("SIGINDEX_PRIVATE_KEY", pem).run().exits(0);
    assert!(!scene.exists("home/.conda"));
}

#[test]
fn that_a_use_can_not_be_remembered_is_said() {
    let scene = Scene::of_three();
    scene.set_mode("home/.conda/keys", 0o775);
    scene.write("data", "x");
    let run = scene.run(&["sign", "data"]).exits(0);
    run.says("the key fixture signs packages can't be remembered")
        .says("chmod go-w");
    assert!(!scene.exists(USES));
    scene.set_mode("home/.conda/keys", 0o700);
    // What can't be understood is no reason to go on.
    scene.write(USES, "junk");
    scene.set_mode(USES, 0o600);
    scene.write("more", "x");
    scene.run(&["sign", "more"]).exits(1).says(USES);
}

#[test]
fn a_lock_that_nobody_lets_go_is_an_error_that_names_it() {
    let scene = Scene::of_three();
    let lock = std::fs::File::create(scene.path("home/.conda/keys/.sigindex-keys.lock")).unwrap();
    lock.lock().unwrap();
    scene.write("data", "x");
    let run = scene.run(&["sign", "data"]).exits(1);
    run.says(".sigindex-keys.lock").says("another process");
    assert!(!scene.exists("data.sig"));
    drop(lock);
    scene.run(&["sign", "data"]).exits(0);
}

#[test]
fn the_name_of_a_folder_begins_no_line_among_keys() {
    let scene = Scene::of_three();
    let folder = "odd\nroot  2048  forged";
    std::fs::create_dir(scene.path(folder)).unwrap();
    scene.set_mode("home/.conda/keys", 0o700);
    let flags = ["keys", "trust", "fixture", "--channel", folder];
    for words in [&flags[..], &["keys"]] {
        let run = scene.run(words).exits(0).says("odd\\nroot");
        assert!(!run.stdout.contains("\nroot"), "{}", run.stdout);
    }
    let untrust = [&flags[..], &["--remove"]].concat();
    scene.run(&untrust);
}
