//! A channel behind a URL: the same findings, as far as what can't be listed can show them.

use crate::http::Server;
use crate::{audited, findings, good, has};

#[test]
fn a_url_is_audited_by_what_its_index_names() {
    let (scene, a) = good();
    let server = Server::of(&scene.path("channel"));
    let url = server.url();
    let before = scene.snapshot("");
    let report = audited(&scene, 0, &[url]);
    let audit = &report["channels"][0];
    assert_eq!(audit["channel"], url.trim_end_matches('/'));
    assert_eq!(audit["packages_read"], 4);
    assert!(audit["notes"].to_string().contains("can't be listed"));
    assert!(scene.snapshot("") == before, "nothing is kept");
    let log = server.log();
    assert!(log.contains(&format!("200 {a}")) && log.contains(&format!("200 {a}.sig")));

    scene.change(&a);
    scene.remove("channel/linux-64/b-1.0-0.tar.bz2");
    scene.write("channel/linux-64/c-1.0-0.conda.sig", "");
    let report = audited(&scene, 1, &[url]);
    let found = findings(&report);
    has(&found, &format!("{a}: package invalid"), "");
    has(
        &found,
        "linux-64/b-1.0-0.tar.bz2: package error",
        "no such file",
    );
    has(&found, "linux-64/c-1.0-0.conda: signature error", "empty");
    // Orphans can't be seen.
    assert!(
        !found.iter().any(|line| line.contains("listing")),
        "{found:?}"
    );
}

#[test]
fn pins_are_by_url() {
    let (scene, a) = good();
    scene.give_public_key("other");
    let server = Server::of(&scene.path("channel"));
    let trust = ["keys", "trust", "other", "--channel", server.url()];
    scene.run(&trust).exits(0);
    let report = audited(&scene, 1, &[server.url()]);
    has(
        &findings(&report),
        &format!("{a}: signature error"),
        "not among the keys",
    );
    audited(&scene, 0, &["channel"]);
}

#[test]
fn a_server_that_is_not_there_is_a_failure_and_no_secret_is_said() {
    let (scene, _) = good();
    // A port that nobody listens on.
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let url = format!("http://me:hunter2@127.0.0.1:{port}/t/sesame/channel");
    let run = scene.run(&["verify", &url]).exits(1);
    run.says("***").never_says("hunter2").never_says("sesame");
    let run = scene
        .run(&["verify", "ftp://me:hunter2@h/channel"])
        .exits(2);
    run.never_says("hunter2").says("https://");
}

#[test]
fn a_url_where_none_serves_is_told_of_without_its_secrets() {
    let (scene, _) = good();
    let url = "https://me:hunter2@h/t/sesame/channel";
    let slashless = "https:/me:hunter2@h/t/sesame/channel";
    let before = scene.snapshot("");
    for (words, said) in [
        (&[url][..], "a folder is needed"),
        (&["index", slashless], "a folder is needed"),
        (&["scan", url], "a folder is needed"),
        (&["publish", url], "a folder is needed"),
        (&["channel", "--output", url], "a folder is needed"),
        (
            &["channel", "--dry-run", "--output", slashless],
            "a folder is needed",
        ),
        (&["verify", slashless], "not a channel's URL"),
        (&["verify", "--json", "HTTP:me:hunter2@h"], "http://"),
        (
            &["verify", "channel", "--min-bits", url],
            "invalid value 'https://h/t/***/channel'",
        ),
        (&["keygen", "a", url], "unexpected argument"),
        (&["channel", "--subdir", url], "h/t/***/channel"),
        (&["verify", "channel", "--subdir", url], "h/t/***/channel"),
        (&["sign", url], "a file is needed"),
        (&["channel", "--sign-only", url], "a file is needed"),
        (&["keys", "add", "--name", "a", slashless], "http://"),
    ] {
        let run = scene.run(words).exits(2).says(said);
        run.never_says("hunter2").never_says("sesame");
    }
    for (words, status, said) in [
        (
            &["keys", "trust", "fixture", "--channel", slashless][..],
            1,
            "h/t/***/channel",
        ),
        (
            &["channel", "--key", url],
            2,
            "no name of a key has a colon",
        ),
    ] {
        let run = scene.run(words).exits(status).says(said);
        run.never_says("hunter2").never_says("sesame");
    }
    assert!(scene.snapshot("") == before, "and nothing is made");
    // A folder can be called so.
    std::fs::rename(scene.path("channel"), scene.path("http:")).unwrap();
    scene.run(&["verify", "./http:"]).exits(0);
}
