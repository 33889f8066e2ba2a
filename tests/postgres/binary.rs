//! Runs of the real binary with a shared cache: the same files as with one in a file, and no word of a password.

use std::collections::BTreeMap;

use crate::postgres::{PASSWORD, Server, Sql, Stop};
use crate::scene::{EPOCH, Scene};

const LATER: &str = "1800000000";

/// The files below a folder.
fn files(scene: &Scene, folder: &str) -> BTreeMap<String, Vec<u8>> {
    let root = scene.path(folder);
    let files = scene.snapshot(folder).into_iter();
    let files = files.filter_map(|(path, seen)| {
        let path = path.strip_prefix(&root).unwrap().to_str().unwrap();
        Some((path.to_owned(), seen.3?))
    });
    files.collect()
}

#[test]
fn a_run_publishes_the_same_whatever_its_cache_is() {
    let Some(server) = Server::start() else {
        return;
    };
    let url = server.database("runs");
    let scene = Scene::of_three();
    // Signed first: no two signatures are alike.
    scene.index_at(EPOCH, &[]).exits(0);
    let in_file = ["--output", "out", "--cache", "cache/own"];
    let shared = ["--output", "out", "--cache", &url];
    let published = |flags: &[&str]| {
        let run = scene.index_at(EPOCH, flags).exits(0).counts("opened", 3);
        run.never_says(PASSWORD);
        files(&scene, "out")
    };
    let expected = published(&in_file);
    scene.remove("out");
    assert!(published(&shared) == expected);
    assert!(expected.len() > 5, "{:?}", expected.keys());
    // Nothing new: nothing is read, nothing is written.
    let before = scene.snapshot("out");
    scene.index_at(LATER, &shared).exits(0).counts("opened", 0);
    assert!(scene.snapshot("out") == before);
    // One more, read by a run with the one cache, and by one with the other.
    scene.package("d");
    scene
        .index_at(EPOCH, &["--cache", "cache/another"])
        .exits(0);
    scene.index_at(LATER, &shared).exits(0).counts("opened", 1);
    let expected = files(&scene, "out");
    scene.remove("out");
    scene.index_at(EPOCH, &in_file).exits(0).counts("opened", 1);
    assert_eq!(expected.len(), files(&scene, "out").len());
    // What another output and another channel are called.
    scene.index_at(EPOCH, &["--cache", &url]).exits(0);
    let names = "SELECT name FROM sigindex.channel ORDER BY name";
    let names = Sql::new(&server, "runs").texts(names);
    assert_eq!(names.len(), 2);
    assert!(
        names[0].ends_with("/channel") && names[1].contains("/channel\n"),
        "{names:?}"
    );
}

#[test]
fn a_dry_run_needs_no_cache_and_makes_none() {
    let Some(server) = Server::start() else {
        return;
    };
    let url = server.database("dry");
    let scene = Scene::of_three();
    let flags = ["--cache", &url, "--dry-run"];
    scene.index_at(EPOCH, &flags).exits(0).counts("opened", 3);
    let made = "SELECT count(*) FROM pg_namespace WHERE nspname = 'sigindex'";
    assert_eq!(Sql::new(&server, "dry").number(made), 0);
    scene
        .index_at(EPOCH, &flags[..2])
        .exits(0)
        .counts("opened", 3);
    scene.package("d");
    scene.index_at(EPOCH, &flags).exits(0).counts("opened", 1);
    scene.index_at(EPOCH, &flags).exits(0).counts("opened", 1);
}

#[test]
fn a_worker_that_waits_for_others_says_so() {
    let Some(server) = Server::start() else {
        return;
    };
    let url = server.database("waits");
    let sql = Sql::new(&server, "waits");
    let scene = Scene::of_three();
    let scan = ["scan", "channel", "--cache", &url, "--key", "fixture"];
    scene.run(&scan).exits(0).never_says("waiting for packages");
    sql.run(
        "INSERT INTO sigindex.worker (channel, alive_until)
            SELECT id, clock_timestamp() + interval '60 s' FROM sigindex.channel;
         UPDATE sigindex.claim SET finished = NULL, finished_by = NULL, ticket = 1,
            worker = (SELECT id FROM sigindex.worker)",
    );
    let run = std::thread::scope(|scope| {
        let run = scope.spawn(|| scene.run(&scan));
        std::thread::sleep(std::time::Duration::from_secs(15));
        sql.run("UPDATE sigindex.claim SET finished = clock_timestamp(), finished_by = pg_current_xact_id(), worker = NULL");
        run.join().unwrap()
    });
    run.exits(0)
        .says("waiting for packages that other workers hold");
}

#[test]
fn the_password_comes_from_the_environment_and_goes_nowhere() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let with = server.database("words");
    let without = with.replace(&format!(":{PASSWORD}"), "");
    let scene = Scene::of_three();
    let flags = ["--cache", &without, "--verbose"];
    let run = scene.index(&flags).never_says(PASSWORD);
    run.exits(1).says("password missing");
    let run = scene.index_call(&flags).env("PGPASSWORD", PASSWORD).run();
    run.exits(0).never_says(PASSWORD);
    scene.write("words", format!("127.0.0.1:*:words:tester:{PASSWORD}\n"));
    scene.set_mode("words", 0o600);
    let run = scene
        .index_call(&flags)
        .env("PGPASSFILE", scene.path("words").as_os_str())
        .run();
    run.exits(0).never_says(PASSWORD);
    for broken in [
        with.replace("sslmode", "mode"),
        with.replace("disable", "so"),
    ] {
        let run = scene.index(&["--cache", &broken]).never_says(PASSWORD);
        run.exits(1).says("%XX");
    }
    for nearly in ["postgres:", " postgres://", "Postgres://", "postgresql:/"] {
        let named = with.replace("postgres://", nearly);
        let run = scene.index(&["--cache", &named]).never_says(PASSWORD);
        run.exits(2).says("no path");
    }
    let names = std::fs::read_dir(scene.path("")).unwrap();
    let names = names.map(|item| item.unwrap().file_name().into_string().unwrap());
    assert!(!names.into_iter().any(|name| name.contains("postgres")));
    for path in files(&scene, "channel")
        .into_values()
        .chain(files(&scene, "cache").into_values())
    {
        assert!(
            !path
                .windows(PASSWORD.len())
                .any(|part| part == PASSWORD.as_bytes())
        );
    }
    server.stop(Stop::Fast);
    let dead = with.replace(&server.port().to_string(), "1");
    let run = scene
        .index(&["--cache", &dead, "--dry-run"])
        .never_says(PASSWORD);
    run.says("see that the server runs");
}
