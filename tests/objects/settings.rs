//! Settings of which no request can be made: a run says which one it is, and shows none of it. No server is needed.

use crate::channels::call;
use crate::scene::Scene;

const NOBODY: &str = "http://127.0.0.1:1";

#[test]
fn a_setting_that_is_no_use_is_named() {
    let scene = Scene::new();
    let run = |url: &str, name: &str, value: &str| {
        let words = [url, "--no-sign", "--dry-run"];
        let run = call(&scene, NOBODY, &words).env(name, value).run().exits(1);
        assert!(!run.stderr.contains("hidden"), "{}", run.stderr);
        run.stderr
    };
    for (name, value) in [
        ("AWS_ENDPOINT_URL", "hidden:9000"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1\n"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1 "),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:99999"),
        ("AWS_ENDPOINT_URL", "http://"),
        ("AWS_ENDPOINT_URL", "http://[::1"),
        ("AWS_ACCESS_KEY_ID", "hidden\n"),
        ("AWS_SECRET_ACCESS_KEY", "hidden\n"),
        ("AWS_SESSION_TOKEN", "hidden\u{1}"),
        ("AWS_REGION", "hidden\n"),
        ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/hidden y"),
    ] {
        let said = run("s3://bucket/channel", name, value);
        assert!(said.contains(name), "{name} {value:?}: {said}");
    }
    for (url, name) in [
        ("az://box/x", "AZURE_ENDPOINT"),
        ("gs://b/x", "GOOGLE_BASE_URL"),
    ] {
        let said = run(url, name, "hidden:9000");
        assert!(said.contains(name), "{said}");
    }
    for url in [
        "s3://b b/c",
        "s3://b\n/c",
        "s3://../b",
        "s3://./c",
        "s3://b\\c/d",
    ] {
        let said = run(url, "AWS_REGION", "here");
        assert!(said.contains("no bucket has such a name"), "{url}: {said}");
    }
}

#[test]
fn a_value_of_a_profile_that_is_no_use_is_named() {
    let scene = Scene::new();
    let file = scene.path("credentials");
    let text = "[default]\naws_access_key_id = hidden\u{1}\naws_secret_access_key = hidden\n";
    std::fs::write(&file, text).unwrap();
    let mut call = call(
        &scene,
        NOBODY,
        &["s3://bucket/channel", "--no-sign", "--dry-run"],
    );
    for (name, value) in [
        ("AWS_ACCESS_KEY_ID", ""),
        ("AWS_SECRET_ACCESS_KEY", ""),
        ("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap()),
    ] {
        call = call.env(name, value);
    }
    let run = call.run().exits(1);
    for word in ["credentials", "aws_access_key_id", "control character"] {
        assert!(run.stderr.contains(word), "{}", run.stderr);
    }
    assert!(!run.stderr.contains("hidden"), "{}", run.stderr);
}
