//! Nobody means harm, and the machine is what it is: places with several names, links on the way, a full
//! disk behind stdout, the wrong file named, a process that is killed again and again.

use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::scene::builder::{Format, PackageSpec};
use crate::scene::{Run, Scene, fixtures};

#[test]
fn an_output_that_is_the_channel_is_the_channel() {
    let nothing: [&str; 0] = [];
    for output in ["channel", "./channel/", "channel/../channel", "link"] {
        let scene = Scene::of_three();
        symlink("channel", scene.path("link")).unwrap();
        let flags = ["--output", output];
        let both = |expect: &dyn Fn(Run)| {
            for dry in [&["--dry-run"][..], &[]] {
                expect(scene.index(&[&flags, dry].concat()));
            }
        };
        both(&|run| drop(run.exits(0).counts("signed", 3).counts("added", 3)));
        assert!(scene.exists("channel/linux-64/a-1.0-0.conda.sig"));
        let before = scene.snapshot("channel");
        both(&|run| drop(run.exits(0).counts("opened", 0).has("files", &nothing)));
        // And in place it is the same channel, with the same cache.
        scene.index(&[]).exits(0).counts("opened", 0);
        assert!(scene.snapshot("channel") == before, "{output}");
        scene.package("d");
        scene.change("linux-64/b-1.0-0.tar.bz2");
        both(&|run| drop(run.exits(1).says("changed since it was published")));
    }
}

#[test]
fn a_cache_may_lie_behind_a_link() {
    let scene = Scene::of_three();
    scene.write("elsewhere/file", "");
    symlink("elsewhere", scene.path("link")).unwrap();
    for xdg in ["link", "link/deeper"] {
        let index = |flags: &[&str]| {
            let call = scene.index_call(flags);
            call.env("XDG_CACHE_HOME", scene.path(xdg)).run().exits(0)
        };
        index(&[]).counts("opened", 3);
        index(&["--dry-run"]).counts("opened", 0);
        index(&[]).counts("opened", 0);
    }
    assert!(scene.exists("elsewhere/sigindex") && scene.exists("elsewhere/deeper/sigindex"));
    let cache = ["--cache", "link/named"];
    scene.index(&cache).exits(0).counts("opened", 3);
    scene.index(&cache).exits(0).counts("opened", 0);
    assert!(scene.exists("elsewhere/named/cache.db"));
}

#[test]
fn another_file_named_as_the_cache_is_put_aside_whole() {
    let scene = Scene::of_three();
    let precious = "pages of notes, and no database\n".repeat(1_000);
    scene.write("notes.txt", &precious);
    let flags = ["--cache", "notes.txt"];
    scene.index(&["--cache", "notes.txt", "--dry-run"]).exits(0);
    assert_eq!(scene.text("notes.txt"), precious);
    let run = scene.index(&flags).exits(0).says("notes.txt.broken");
    run.counts("signed", 3);
    assert_eq!(scene.text("notes.txt.broken"), precious);
    let run = scene.index(&flags).exits(0).counts("opened", 0);
    run.never_says("broken");
    // What was put aside before stays, too.
    scene.write("notes.txt", "other notes");
    scene.index(&flags).exits(0).says("notes.txt.broken-2");
    assert_eq!(scene.text("notes.txt.broken"), precious);
    assert_eq!(scene.text("notes.txt.broken-2"), "other notes");
}

#[test]
fn what_is_plainly_another_file_is_never_taken_for_the_cache() {
    let scene = Scene::of_three();
    let key = scene.key_path("fixture");
    scene.write("pem", std::fs::read(&key).unwrap());
    scene.write(
        "a-1.0-0.conda",
        scene.read("channel/linux-64/a-1.0-0.conda"),
    );
    scene.write(
        "b-1.0-0.tar.bz2",
        scene.read("channel/linux-64/b-1.0-0.tar.bz2"),
    );
    scene.write("repodata.json", "{\"packages\": {}}\n");
    let public = scene.key_path("fixture.pub");
    let keys = scene.key_path("");
    let before = scene.snapshot("home");
    for (cache, why) in [
        (key.to_str().unwrap(), "keys folder"),
        (public.to_str().unwrap(), "keys folder"),
        (keys.to_str().unwrap(), "keys folder"),
        ("pem", "a key or certificate"),
        ("a-1.0-0.conda", "a package"),
        ("b-1.0-0.tar.bz2", "a package"),
        ("repodata.json", "JSON"),
    ] {
        let content = scene.path(cache).is_file().then(|| scene.read(cache));
        for flags in [&["--dry-run"][..], &[]] {
            let run = scene.index(&[&["--cache", cache], flags].concat());
            run.exits(2).says(cache).says(why).says("--cache");
        }
        assert!(content.is_none_or(|content| scene.read(cache) == content));
        assert!(!scene.path(&format!("{cache}.broken")).exists());
    }
    assert!(scene.snapshot("home") == before);
    assert!(!scene.exists("channel/linux-64/a-1.0-0.conda.sig"));
    // What has the cache's own name is one, whatever it holds by now.
    for content in ["-----BEGIN X-----", "{}"] {
        scene.write("own/cache.db", content);
        for cache in ["own", "own/cache.db"] {
            scene
                .index(&["--cache", cache])
                .exits(0)
                .counts("listed", 3);
        }
    }
    assert_eq!(scene.text("own/cache.db.broken-2"), "{}");
}

#[test]
fn a_key_of_the_environment_that_contradicts_the_folder_fails_the_plan_too() {
    let scene = Scene::without_key();
    scene.package("a");
    scene.give_public_key("fixture");
    let pem = std::fs::read_to_string(fixtures().join("keys/other")).unwrap();
    let before = scene.snapshot("channel");
    for flags in [&["--dry-run"][..], &[]] {
        let call = scene.index_call(flags).env("SIGINDEX_KEY_NAME", "fixture");
        let run = call.env("SIGINDEX_PRIVATE_KEY", &pem).run().exits(1);
        run.says("fixture.pub").says("SIGINDEX_KEY_NAME");
        assert!(!scene.exists("channel/linux-64/a-1.0-0.conda.sig"));
        assert!(!scene.exists("channel/linux-64/repodata.json"));
    }
    assert_eq!(scene.snapshot("channel/linux-64").len(), before.len() - 1);
}

#[test]
fn a_url_is_no_path_of_a_runs_own_files_and_is_told_without_its_password() {
    let scene = Scene::of_three();
    for flag in [
        "--cache",
        "--keys-dir",
        "--signing-log",
        "--patch-generator",
    ] {
        let run = scene
            .index(&[flag, "https://me:hunter2@example.org/x"])
            .exits(2);
        run.says("https://example.org/x: a path on this machine is needed here")
            .never_says("hunter2");
    }
    let relation = ["--base-channel", "https://me:hunter2@example.org/x"];
    scene.index(&relation).exits(2).never_says("hunter2");
    assert!(!scene.exists("https:"));
}

#[test]
fn the_environment_asks_for_no_more_threads_than_a_flag_may() {
    let scene = Scene::of_three();
    for (threads, flags) in [("1000000", &["--dry-run"][..]), ("none", &[])] {
        let run = scene
            .index_call(flags)
            .env("RAYON_NUM_THREADS", threads)
            .run();
        run.exits(0);
    }
}

#[test]
fn a_signing_log_that_can_not_be_opened_fails_the_plan_too() {
    let scene = Scene::of_three();
    scene.write("folder/file", "");
    scene.write("file", "");
    for log in ["missing/log", "file/log", "folder"] {
        for flags in [&["--dry-run"][..], &[]] {
            let run = scene.index(&[&["--signing-log", log], flags].concat());
            run.exits(1).says(log).says("signing log");
        }
    }
    assert!(!scene.exists("missing"));
    assert!(!scene.exists("channel/linux-64/a-1.0-0.conda.sig"));
}

#[test]
fn a_result_that_can_not_be_written_is_a_failure() {
    let full = || File::options().write(true).open("/dev/full");
    if full().is_err() {
        eprintln!("skipped: there is no /dev/full on this machine");
        return;
    }
    let scene = Scene::of_three();
    scene.index(&[]).exits(0);
    for args in [
        &["verify", "channel"][..],
        &["channel", "--json"],
        &["channel", "--json", "--dry-run"],
        &["channel"],
        &["keys"],
    ] {
        let run = scene.call(args).stdout(full().unwrap()).run();
        run.exits(1).says("standard output").says("No space left");
    }
    let call = scene.call(&["verify", "-q", "channel"]);
    call.stdout(full().unwrap()).run().exits(0);
}

#[test]
fn a_subdir_named_as_the_channel_is_wrong_usage() {
    let scene = Scene::of_three();
    let spec = PackageSpec::new("n", "1.0", "0").subdir("noarch");
    scene.put(&spec, Format::Conda);
    symlink("channel/noarch", scene.path("link")).unwrap();
    let before = scene.snapshot("");
    for subdir in [
        "channel/noarch",
        "channel/linux-64/",
        "channel/linux-64/.",
        "link",
    ] {
        for flags in [&["--dry-run"][..], &[]] {
            let run = scene.run(&[&[subdir], flags].concat()).exits(2);
            run.says("--subdir");
            assert!(scene.snapshot("") == before, "{subdir}");
        }
    }
    scene.index(&["--subdir", "noarch"]).exits(0);
}

#[test]
fn a_list_that_sha256sum_made_of_whole_paths_serves() {
    let scene = Scene::of_three();
    let spec = PackageSpec::new("n", "1.0", "0").subdir("noarch");
    let n = scene.put(&spec, Format::Conda);
    let path = std::fs::canonicalize(scene.path("channel/noarch")).unwrap();
    let names: Vec<_> = std::fs::read_dir(path).unwrap().collect();
    let files = names.into_iter().map(|entry| entry.unwrap().path());
    let Ok(output) = Command::new("sha256sum").args(files).output() else {
        eprintln!("skipped: there is no sha256sum on this machine");
        return;
    };
    scene.write("list", output.stdout);
    for flags in [&["--dry-run"][..], &[]] {
        let run = scene.index(&[&["--sign-only", "list"], flags].concat());
        run.exits(3).has("signed", &[&n]).counts("refused", 3);
    }
    // The same name in another subdir is another package.
    let twin = scene.put(&spec.subdir("linux-64"), Format::Conda);
    let run = scene.index(&["--sign-only", "list"]).exits(3);
    run.counts("signed", 0).counts("refused", 4).says(&twin);
}

/// Files that a run left half written, anywhere in the channel.
fn leftovers(scene: &Scene) -> Vec<PathBuf> {
    let files = scene.snapshot("channel").into_keys();
    let is_left = |path: &PathBuf| path.to_string_lossy().contains("/.sigindex-");
    files.filter(is_left).collect()
}

#[test]
fn killed_again_and_again_it_comes_to_its_end() {
    let scene = Scene::new();
    for number in 0..150 {
        scene.package(&format!("p{number}"));
    }
    for round in 0..10u64 {
        scene.package(&format!("q{round}"));
        let mut child = scene.index_call(&[]).start();
        std::thread::sleep(Duration::from_millis(round * round * 3));
        child.kill().unwrap();
        child.wait().unwrap();
        let index = "channel/linux-64/repodata.json";
        if scene.exists(index) {
            let repodata = scene.json(index);
            for kind in ["packages", "packages.conda"] {
                for name in repodata[kind].as_object().unwrap().keys() {
                    assert!(scene.exists(&format!("channel/linux-64/{name}.sig")));
                }
            }
        }
    }
    scene.index(&[]).exits(0).counts("listed", 160);
    assert_eq!(leftovers(&scene), [""; 0].map(PathBuf::from));
    let run = scene.run(&["verify", "channel"]).exits(0);
    run.says(" 160 package, 160 signature");
    let before = scene.snapshot("");
    scene.index(&[]).exits(0).counts("opened", 0);
    assert!(scene.snapshot("") == before);
}

#[test]
fn a_limit_on_the_size_of_files_is_an_error_and_no_death() {
    let scene = Scene::of_three();
    scene.index(&[]).exits(0);
    let d = scene.package("d");
    // What files there are, and what is in them; a folder's times tell of the attempt.
    let contents = || -> Vec<_> {
        let seen = scene.snapshot("channel").into_iter();
        seen.map(|(path, (.., content))| (path, content)).collect()
    };
    let before = contents();
    let (sign, signature) = (format!("sign channel/{d}"), format!("{d}.sig"));
    let cases = [
        ("channel -q", signature.as_str(), "ulimit -f"),
        ("channel -q --no-sign", "cache.db", "file system"),
        (sign.as_str(), signature.as_str(), "ulimit -f"),
    ];
    for (words, file, cause) in cases {
        let run = Command::new("sh")
            .args(["-c", &format!("ulimit -f 0; exec \"$0\" {words}")])
            .arg(env!("CARGO_BIN_EXE_sigindex"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", scene.path("home"))
            .env("XDG_CACHE_HOME", scene.path("cache"))
            .current_dir(scene.path(""))
            .stdout(std::process::Stdio::piped())
            .output()
            .unwrap();
        let said = [run.stdout, run.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert_eq!(run.status.code(), Some(1), "{words}: {said}");
        assert!(said.contains(file) && said.contains(cause), "{said}");
        assert!(contents() == before, "{words}");
    }
    scene.index(&[]).exits(0).counts("added", 1);
}

#[test]
fn a_signing_log_that_is_a_pipe_is_written_to_whoever_reads_and_never_waited_for() {
    let scene = Scene::of_three();
    let pipe = scene.path("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let flags = ["--signing-log", "pipe"];
    scene
        .index(&flags)
        .exits(1)
        .says("signing log")
        .says("nobody reads this pipe");
    let reader = std::thread::spawn(move || std::fs::read_to_string(pipe).unwrap());
    // The reader may not have opened it yet.
    let read = (0..200).find(|_| {
        std::thread::sleep(Duration::from_millis(20));
        scene.index(&flags).status() == Some(0)
    });
    assert!(read.is_some());
    assert_eq!(reader.join().unwrap().lines().count(), 3);
}
