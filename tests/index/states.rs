//! A package's states: the contract's table, row by row, and the order where several rows fit.

use crate::scene::Scene;

/// A scene with the published package `a`, whose `.sig` is by the key `other`, and the key `fixture`,
/// which signs. The public half of `other` is there.
fn signed_by_other() -> (Scene, String) {
    let scene = Scene::without_key();
    let a = scene.package("a");
    scene.give_key("other");
    scene.run(&["sign", &format!("channel/{a}")]).exits(0);
    scene.take_key("other");
    scene.give_key("fixture");
    (scene, a)
}

#[test]
fn a_valid_signature_by_any_key_of_the_folder_is_kept() {
    let (scene, a) = signed_by_other();
    scene.give_public_key("other");
    let sig = scene.read(&format!("channel/{a}.sig"));
    let run = scene.index(&[]).exits(0).counts("kept", 1);
    run.counts("signed", 0);
    assert_eq!(scene.read(&format!("channel/{a}.sig")), sig);
    assert_eq!(scene.record(&a)["signature"]["key"], "other");
}

#[test]
fn a_signature_by_an_unknown_key_is_refused() {
    let (scene, a) = signed_by_other();
    let b = scene.package("b");
    let sig = scene.read(&format!("channel/{a}.sig"));
    scene.index(&[]).exits(3).refuses(&a, "unknown key");
    assert!(!scene.is_listed(&a) && scene.is_listed(&b));
    let run = scene.index(&["--replace", "--resign"]).exits(3);
    run.refuses(&a, "unknown key");
    assert_eq!(scene.read(&format!("channel/{a}.sig")), sig);
}

#[test]
fn keep_unknown_lists_it_marked_as_unverified() {
    let (scene, a) = signed_by_other();
    let run = scene.index(&["--keep-unknown"]).exits(0);
    run.has("unverified", &[&a]).counts("unverified", 1);
    let record = scene.record(&a);
    assert_eq!(record["sig"], ".");
    assert_eq!(record["signature"]["verified"], false);
    assert_eq!(record["signature"]["key"], "other");
    let before = scene.snapshot("channel");
    let run = scene.index(&["--keep-unknown"]).exits(0);
    run.counts("opened", 0).counts("unverified", 1);
    assert!(scene.snapshot("channel") == before);
    // Without the flag it would leave the index, so nothing is published.
    scene.index(&[]).exits(1).refuses(&a, "unknown key");
    scene.give_public_key("other");
    scene.index(&[]).exits(0).counts("kept", 1);
    assert_eq!(scene.record(&a)["signature"].get("verified"), None);
}

#[test]
fn a_key_that_comes_to_the_folder_is_noticed() {
    let (scene, a) = signed_by_other();
    scene.index(&[]).exits(3);
    scene.give_public_key("other");
    scene
        .index(&[])
        .exits(0)
        .has("added", &[&a])
        .counts("kept", 1);
    assert!(scene.is_listed(&a));
}

#[test]
fn a_key_that_leaves_the_folder_is_noticed() {
    let (scene, a) = signed_by_other();
    scene.give_public_key("other");
    scene.index(&[]).exits(0);
    scene.index(&[]).exits(0).counts("opened", 0);
    scene.take_key("other");
    scene.index(&[]).exits(1).refuses(&a, "unknown key");
    assert!(scene.is_listed(&a), "nothing was published");
    scene.index(&["--drop-refused"]).exits(3);
    assert!(!scene.is_listed(&a));
}

#[test]
fn a_key_that_becomes_another_is_noticed() {
    let (scene, a) = signed_by_other();
    scene.give_public_key("other");
    scene.index(&[]).exits(0);
    let fixture = std::fs::read(scene.key_path("fixture.pub")).unwrap();
    std::fs::write(scene.key_path("other.pub"), fixture).unwrap();
    scene.index(&[]).exits(1).refuses(&a, "invalid");
}

#[test]
fn an_invalid_signature_is_refused_and_never_overwritten() {
    for (bytes, reason) in [
        (&b""[..], "empty"),
        (b"fixture", "words"),
        (b"fixture AAAA\n", "invalid"),
        (b"fixture A A\n", "words"),
        (b"fixture not*base64\n", "base64"),
        (b"../x AAAA\n", "key"),
        (b"fixture  AAAA\n", "one line"),
        (&[b'A'; 9_000][..], "8 KiB"),
        (b"\xff\xfe\x00", "one line"),
    ] {
        let scene = Scene::new();
        let (a, b) = (scene.package("a"), scene.package("b"));
        let sig = format!("channel/{a}.sig");
        scene.write(&sig, bytes);
        let run = scene.index(&[]).exits(3).refuses(&a, "signature");
        run.refuses(&a, reason);
        assert!(!scene.is_listed(&a) && scene.is_listed(&b));
        scene.index(&["--resign"]).exits(3);
        assert_eq!(scene.read(&sig), bytes);
    }
}

#[test]
fn a_signature_of_another_file_is_invalid() {
    let scene = Scene::new();
    let (a, b) = (scene.package("a"), scene.package("b"));
    scene.run(&["sign", &format!("channel/{b}")]).exits(0);
    let sig = scene.read(&format!("channel/{b}.sig"));
    scene.write(&format!("channel/{a}.sig"), sig);
    scene.index(&[]).exits(3).refuses(&a, "invalid");
    scene.index(&["--no-sign"]).exits(3).refuses(&a, "invalid");
    let run = scene.index(&["--replace"]).exits(0).has("signed", &[&a]);
    run.counts("kept", 1);
    scene.run(&["verify", "channel"]).exits(0);
}

#[test]
fn a_signature_that_is_no_file_is_refused() {
    let scene = Scene::new();
    let a = scene.package("a");
    std::fs::create_dir(scene.path(&format!("channel/{a}.sig"))).unwrap();
    let b = scene.package("b");
    std::os::unix::fs::symlink("/etc/passwd", scene.path(&format!("channel/{b}.sig"))).unwrap();
    let c = scene.package("c");
    std::os::unix::fs::symlink("nowhere", scene.path(&format!("channel/{c}.sig"))).unwrap();
    scene
        .index(&[])
        .exits(3)
        .has("refused", &[a.clone(), b.clone(), c.clone()]);
    // Links are replaced where that is asked for; a folder holds up nothing but its package.
    scene.package("d");
    let run = scene.index(&["--replace"]).exits(3).has("refused", &[a]);
    run.says("a folder lies where its signature belongs")
        .counts("signed", 3);
}

#[test]
fn windows_line_ends_are_no_fault() {
    let scene = Scene::of_three();
    scene.index(&[]).exits(0);
    let path = "channel/linux-64/a-1.0-0.conda.sig";
    let sig = scene.text(path);
    scene.write(path, sig.replace('\n', "\r\n"));
    scene
        .index(&[])
        .exits(0)
        .counts("kept", 3)
        .counts("opened", 0);
    scene.write(path, sig.trim_end());
    scene.index(&[]).exits(0).counts("kept", 3);
}

#[test]
fn where_several_states_fit_the_graver_is_told() {
    let (scene, a) = signed_by_other();
    scene.give_public_key("other");
    scene.index(&[]).exits(0);
    // Changed, and with it the signature invalid, and then its key unknown.
    scene.change(&a);
    scene.index(&[]).exits(1).refuses(&a, "changed since");
    scene.take_key("other");
    scene.index(&[]).exits(1).refuses(&a, "changed since");
    // Unreadable comes before all.
    scene.write(&format!("channel/{a}"), "no archive");
    let run = scene.index(&["--replace"]).exits(1);
    assert!(!run.refusals()[&a].contains("changed since"));
}

#[test]
fn a_signature_that_went_away_is_made_again() {
    let scene = Scene::of_three();
    let a = scene.package("a");
    scene.index(&[]).exits(0);
    scene.remove(&format!("channel/{a}.sig"));
    scene
        .index(&[])
        .exits(0)
        .has("signed", &[&a])
        .counts("kept", 2);
    scene.run(&["verify", "channel"]).exits(0);
}

#[test]
fn a_weak_key_neither_signs_nor_counts() {
    let scene = Scene::without_key();
    let a = scene.package("a");
    let keygen = ["keygen", "weak", "--size", "1024"];
    scene.run(&keygen).exits(1).says("--allow-weak");
    scene
        .run(&[&keygen[..], &["--allow-weak"]].concat())
        .exits(0);
    scene.index(&[]).exits(1).says("weak").says("1024");
    assert!(!scene.exists(&format!("channel/{a}.sig")));
    scene
        .index(&["--min-bits", "1024"])
        .exits(0)
        .counts("signed", 1);
    let keys = scene.repodata("linux-64")["info"]["signing_keys"].clone();
    let (_, key) = keys.as_object().unwrap().iter().next().unwrap();
    assert_eq!(*key, serde_json::json!({"name": "weak", "bits": 1024}));
    scene
        .run(&["verify", "channel"])
        .exits(1)
        .says("ERROR: weak key");
    scene
        .run(&["verify", "channel", "--min-bits", "1024"])
        .exits(0);
    scene.index(&[]).exits(1).refuses(&a, "weak key");
    scene
        .index(&["--min-bits", "1024"])
        .exits(0)
        .counts("kept", 1);
}
