//! `keygen`: pairs that are made, and what is never made; names of keys, wherever one is given.

use crate::scene::Scene;

#[test]
fn keygen_makes_a_pair_that_signs_and_verifies() {
    let scene = Scene::without_key();
    scene.remove("home/.conda");
    let run = scene.run(&["keygen", "mine"]).exits(0);
    let run = run.says("fingerprint").says(".conda/keys/mine.pub");
    let fingerprint = run.stdout.split_whitespace().last().unwrap().to_owned();
    assert_eq!(scene.mode("home/.conda/keys"), 0o700);
    assert_eq!(scene.mode("home/.conda/keys/mine"), 0o600);
    let private = std::fs::read_to_string(scene.key_path("mine")).unwrap();
    assert!(
        private.starts_with("-----BEGIN RSA PRIVATE KEY-----\n"),
        "PKCS#1, as ever"
    );
    let public = std::fs::read_to_string(scene.key_path("mine.pub")).unwrap();
    assert!(public.starts_with("-----BEGIN PUBLIC KEY-----\n"));
    let keys = scene.run(&["keys"]).exits(0).says("mine").says(" 2048 ");
    keys.says(&fingerprint).says("private");
    scene.write("data", "x");
    scene.run(&["sign", "data"]).exits(0);
    scene.run(&["verify", "data"]).exits(0).says("VALID");
}

#[test]
fn keygen_never_overwrites() {
    let scene = Scene::new();
    let before = scene.snapshot("home");
    scene
        .run(&["keygen", "fixture"])
        .exits(1)
        .says("exists already");
    assert!(scene.snapshot("home") == before);
    std::fs::remove_file(scene.key_path("fixture")).unwrap();
    scene
        .run(&["keygen", "fixture"])
        .exits(1)
        .says("fixture.pub");
    assert!(
        !scene.key_path("fixture").exists(),
        "nothing is left behind"
    );
}

#[test]
fn keygen_refuses_sizes_that_make_no_sense() {
    let scene = Scene::without_key();
    for (size, status) in [
        ("0", 1),
        ("512", 1),
        ("1016", 1),
        ("2049", 1),
        ("1000000", 1),
        ("16392", 1),
        ("-8", 2),
        ("big", 2),
    ] {
        let run = scene.run(&["keygen", "mine", &format!("--size={size}"), "--allow-weak"]);
        run.exits(status).says(size);
    }
    scene
        .run(&["keygen", "mine", "--size", "1024"])
        .exits(1)
        .says("--allow-weak");
    assert_eq!(std::fs::read_dir(scene.key_path("")).unwrap().count(), 0);
}

#[test]
fn keygen_into_a_place_that_is_no_folder_leaves_nothing() {
    let scene = Scene::without_key();
    scene.write("file", "");
    scene
        .run(&["keygen", "mine", "--keys-dir", "file"])
        .exits(1)
        .says("file");
    scene
        .run(&["keygen", "mine", "--keys-dir", "file/deeper"])
        .exits(1)
        .says("file");
    assert_eq!(scene.read("file"), b"");
}

#[test]
fn a_bad_name_is_refused_before_any_path_is_built() {
    let long = "a".repeat(65);
    let scene = Scene::new();
    scene.write("data", "x");
    let before = scene.snapshot("");
    for name in [
        "../x",
        "/tmp/x",
        "a/b",
        "new\nline",
        "",
        ".",
        "..",
        ".hidden",
        "x.pub",
        "ä",
        "a b",
        &long,
    ] {
        scene
            .run(&["keygen", name])
            .exits(1)
            .says("not a key's name");
        scene
            .run(&["sign", "data", "--key", name])
            .exits(1)
            .says("not a key's name");
        scene
            .run(&["sign", "data", "--create-key", name])
            .exits(1)
            .says("not a key's name");
    }
    assert!(scene.snapshot("") == before);
    let longest = "a".repeat(64);
    scene
        .run(&["keygen", &longest, "--size", "1024", "--allow-weak"])
        .exits(0);
}

#[test]
fn keygen_encrypts_with_the_passphrase_of_the_environment() {
    let scene = Scene::without_key();
    let call = |passphrase: &str| {
        let call = scene.call(&[
            "keygen",
            "sealed",
            "--encrypt",
            "--size",
            "1024",
            "--allow-weak",
        ]);
        call.env("SIGINDEX_PASSPHRASE", passphrase).run()
    };
    call("").exits(1).says("$SIGINDEX_PASSPHRASE is empty");
    call("open sesame").exits(0).never_says("sesame");
    scene.write("data", "x");
    let sign = |passphrase: &str| {
        let call = scene.call(&["sign", "data", "--min-bits", "1024"]);
        call.env("SIGINDEX_PASSPHRASE", passphrase).run()
    };
    sign("open barley")
        .exits(1)
        .says("passphrase is wrong")
        .never_says("barley");
    assert!(!scene.exists("data.sig"));
    sign("open sesame").exits(0);
    // To verify takes no private key.
    scene
        .run(&["verify", "data", "--min-bits", "1024"])
        .exits(0);
    scene.run(&["keys"]).exits(0).says("sealed");
}
