//! What a second look at the program brought up: keys that are not needed, folders with odd names, links,
//! failures in the middle, and what `verify` must not pass over.

use std::os::unix::fs::symlink;

use serde_json::json;

use crate::scene::Scene;
use crate::scene::builder::{Format, PackageSpec};

const NOTHING: [&str; 0] = [];

#[test]
fn a_broken_package_alone_needs_no_key() {
    let scene = Scene::of_three();
    scene.index(&[]).exits(0);
    scene.take_key("fixture");
    scene.give_public_key("fixture");
    scene.write("channel/linux-64/bad-1.0-0.tar.bz2", "text");
    for flags in [&["--dry-run"][..], &[], &[]] {
        scene
            .index(flags)
            .exits(3)
            .counts("kept", 3)
            .has("signed", &NOTHING);
    }
}

#[test]
fn signing_what_is_signed_needs_no_private_key() {
    let scene = Scene::of_three();
    scene.index(&[]).exits(0);
    scene.take_key("fixture");
    scene.give_public_key("fixture");
    let folder = std::fs::read_dir(scene.path("channel/linux-64")).unwrap();
    let files =
        folder.map(|entry| format!("channel/linux-64/{}", entry.unwrap().file_name().display()));
    let packages: Vec<String> = files
        .filter(|file| file.contains(".tar.bz2") || file.contains(".conda"))
        .collect();
    let words: Vec<&str> = ["sign"]
        .into_iter()
        .chain(packages.iter().map(String::as_str))
        .collect();
    scene.run(&words).exits(0).says("KEPT").says("SKIPPED");
}

#[test]
fn a_file_that_is_named_twice_is_signed_once() {
    let scene = Scene::new();
    scene.write("data", "x");
    scene.run(&["sign", "data", "./data"]).exits(0);
    scene.run(&["verify", "data"]).exits(0);
}

#[test]
fn a_link_and_what_it_leads_to_are_two_files_to_sign() {
    let scene = Scene::new();
    scene.write("data", "x");
    symlink("data", scene.path("alias")).unwrap();
    symlink(".", scene.path("same")).unwrap();
    let run = scene.run(&["sign", "alias", "data", "same/data"]).exits(0);
    let words: Vec<&str> = run.stdout.split_whitespace().collect();
    let said = ["alias", "SIGNED", "data", "SIGNED", "same/data", "KEPT"];
    assert_eq!(words, said);
    scene.run(&["verify", "alias", "data"]).exits(0);
}

#[test]
fn a_file_that_can_not_be_signed_is_not_kept_the_second_time_either() {
    let scene = Scene::new();
    scene.write("data", "x");
    scene.write("data.sig", "nobody AAAA\n");
    for file in ["data", "missing", "."] {
        let run = scene.run(&["sign", file, file]).exits(1);
        assert!(!run.stdout.contains("KEPT"), "{file}: {}", run.stdout);
    }
}

#[test]
fn a_dangling_link_is_no_place_for_a_signature() {
    let scene = Scene::new();
    scene.write("data", "x");
    symlink("elsewhere", scene.path("data.sig")).unwrap();
    scene.run(&["sign", "data"]).exits(1).says("--force");
    scene.run(&["sign", "data", "--force"]).exits(0);
    assert!(!scene.exists("elsewhere"));
    scene.run(&["verify", "data"]).exits(0);
}

#[test]
fn the_environments_key_counts_for_verify_and_keys() {
    let scene = Scene::of_three();
    let pem = scene.text("home/.conda/keys/fixture");
    scene.take_key("fixture");
    let call = |words: &[&str]| {
        let call = scene.call(words).env("SIGINDEX_PRIVATE_KEY", &pem);
        call.env("SIGINDEX_KEY_NAME", "ci").run()
    };
    call(&["channel"]).exits(0);
    call(&["verify", "channel"]).exits(0);
    call(&["keys"]).exits(0).says("ci ");
    scene
        .run(&["verify", "channel"])
        .exits(1)
        .says("unknown key");
}

#[test]
fn a_broken_public_key_beside_the_environments_is_an_error() {
    let scene = Scene::of_three();
    let pem = scene.text("home/.conda/keys/fixture");
    scene.take_key("fixture");
    scene.write("home/.conda/keys/ci.pub", "junk");
    let call = scene.call(&["channel"]).env("SIGINDEX_PRIVATE_KEY", pem);
    call.env("SIGINDEX_KEY_NAME", "ci")
        .run()
        .exits(1)
        .says("ci.pub");
    assert!(!scene.exists("channel/linux-64/repodata.json"));
}

#[test]
fn a_subdir_may_have_a_space_in_its_name() {
    let scene = Scene::new();
    let spec = PackageSpec::new("a", "1.0", "0")
        .subdir("linux-64")
        .folder("my pkgs");
    let package = scene.put(&spec, Format::Conda);
    scene.index(&[]).exits(0).says("--subdir 'my pkgs'");
    let flags = ["--subdir", "my pkgs", "--allow-mismatch"];
    scene.index(&flags).exits(0).has("added", &[&package]);
}

#[test]
fn an_output_inside_the_channel_is_wrong_usage() {
    let scene = Scene::of_three();
    for flags in [
        &["--output", "channel/out"][..],
        &["--output", "channel/linux-64"],
    ] {
        for flags in [&[flags, &["--dry-run"]].concat(), flags] {
            scene.index(flags).exits(2).says("inside the channel");
        }
    }
    assert!(!scene.exists("channel/out"));
    // Nor by a link to what is not there yet.
    symlink("channel/index-out", scene.path("link")).unwrap();
    for flags in [
        &["--output", "link", "--dry-run"][..],
        &["--output", "link"],
    ] {
        scene.index(flags).exits(2).says("inside the channel");
    }
    assert!(!scene.exists("channel/index-out"));
    assert!(!scene.exists("channel/linux-64/repodata.json"));
}

#[test]
fn a_cache_that_is_no_regular_file_is_an_error_and_no_wait() {
    let scene = Scene::of_three();
    let make = |path: &std::path::Path, program: &str| {
        let made = std::process::Command::new(program).arg(path).status();
        assert!(made.unwrap().success());
    };
    for program in ["mkfifo", "mkdir"] {
        let folder = scene.path(program);
        std::fs::create_dir(&folder).unwrap();
        scene.set_mode(program, 0o700);
        make(&folder.join("cache.db"), program);
        for flags in [
            &["--cache", program, "--dry-run"][..],
            &["--cache", program],
        ] {
            scene.index(flags).exits(1).says("it is not a regular file");
        }
    }
}

#[test]
fn what_stops_a_run_before_it_begins_stops_a_dry_run_too() {
    let scene = Scene::of_three();
    scene.write("file", "x");
    symlink("nowhere", scene.path("dangling")).unwrap();
    symlink("ring", scene.path("ring")).unwrap();
    std::fs::create_dir(scene.path("open")).unwrap();
    scene.set_mode("open", 0o777);
    let same = |flags: &[&str], why: &str| {
        for flags in [&[flags, &["--dry-run"]].concat(), flags] {
            scene.index(flags).exits(1).says(why);
        }
    };
    same(
        &["--output", "file/below"],
        "file/below: can't make the folder",
    );
    same(&["--output", "dangling"], "dangling");
    same(&["--cache", "open"], "can be written by others");
    same(&["--cache", "file/below"], "make the cache's folder");
    same(&["--cache", &"x".repeat(300)], "make the cache's folder");
    same(&["--signing-log", "ring"], "signing log");
    std::fs::create_dir_all(scene.path("linked/cache.db-journal")).unwrap();
    scene.set_mode("linked", 0o700);
    same(
        &["--cache", "linked"],
        "cache.db-journal: can't open the cache",
    );
    symlink("nowhere", scene.path("linked/cache.db")).unwrap();
    same(
        &["--cache", "linked"],
        "linked/cache.db: can't open the cache",
    );
    let lock = "channel/.sigindex.lock";
    scene.remove(lock);
    std::fs::create_dir(scene.path(lock)).unwrap();
    same(&[], ".sigindex.lock");
    scene.remove(lock);
    symlink("nowhere", scene.path(lock)).unwrap();
    same(&[], ".sigindex.lock");
    scene.remove(lock);
    scene.index(&["--dry-run"]).exits(0);
    assert!(!scene.exists("channel/noarch/repodata.json"));
}

#[test]
fn the_folder_of_signed_metadata_is_no_subdir() {
    let scene = Scene::of_three();
    let run = scene.index(&["--subdir", "tuf"]).exits(2);
    run.says("--subdir tuf: not the name");
    scene.write("channel/tuf/a-1.0-0.conda", "x");
    let run = scene.index(&[]).exits(0);
    run.says("tuf: packages in a folder")
        .says("rename it")
        .never_says("--subdir");
}

#[test]
fn the_longest_name_of_a_channel_has_a_cache() {
    let scene = Scene::of_three();
    let name = "\u{e4}".repeat(127);
    std::fs::rename(scene.path("channel"), scene.path(&name)).unwrap();
    for flags in [&["--dry-run"][..], &[]] {
        scene.run(&[&[&*name], flags].concat()).exits(0);
    }
    assert!(scene.exists(&format!("{name}/noarch/repodata.json")));
}

#[test]
fn verify_passes_over_nothing_that_may_hold_packages() {
    let scene = Scene::of_three();
    scene.index(&[]).exits(0);
    scene.run(&["verify", "channel"]).exits(0);
    let spec = PackageSpec::new("deep", "1.0", "0").folder("label/main/linux-64");
    let deep = scene.put(&spec, Format::Conda);
    scene.run(&["verify", "channel"]).exits(1).says(&deep);
    scene.remove("channel/label");
    symlink(scene.path("home"), scene.path("channel/elsewhere")).unwrap();
    scene
        .run(&["verify", "channel"])
        .exits(1)
        .says("not entered");
}

#[test]
fn verify_follows_the_links_that_index_follows() {
    let scene = Scene::new();
    let a = scene.package("a");
    let name = a.rsplit('/').next().unwrap();
    std::fs::create_dir(scene.path("channel/linux-32")).unwrap();
    symlink(
        format!("../{a}"),
        scene.path(&format!("channel/linux-32/{name}")),
    )
    .unwrap();
    scene
        .index(&["--allow-mismatch"])
        .exits(0)
        .counts("signed", 2);
    scene.run(&["verify", "channel"]).exits(0);
}

#[test]
fn the_signatures_of_other_tools_go_with_the_bytes_that_they_are_of() {
    let scene = Scene::of_three();
    scene.index(&[]).exits(0);
    let (a, b) = ("a-1.0-0.tar.bz2", "b-1.0-0.tar.bz2");
    let mut repodata = scene.repodata("linux-64");
    repodata["signatures"] = json!({ a: {"k": {}}, b: {"k": {}}, "gone-1.0-0.conda": {} });
    scene.write("channel/linux-64/repodata.json", repodata.to_string());
    scene.change(&format!("linux-64/{a}"));
    scene.index(&["--replace"]).exits(0);
    assert_eq!(
        scene.repodata("linux-64")["signatures"],
        json!({ b: {"k": {}} })
    );
}

#[test]
fn a_dry_run_names_what_would_be_signed() {
    let scene = Scene::of_three();
    let run = scene.run(&["channel", "--dry-run"]).exits(0);
    run.says("would be signed:\n  linux-64/a-1.0-0");
}

#[test]
fn a_dry_run_makes_nothing_of_a_broken_cache() {
    let scene = Scene::of_three();
    scene.index(&["--cache", "cache/own"]).exits(0);
    let path = "cache/own/cache.db";
    let half = scene.read(path).len() / 2;
    scene.write(path, &scene.read(path)[..half]);
    scene
        .index(&["--cache", "cache/own", "--dry-run"])
        .exits(0)
        .counts("opened", 3);
    scene
        .index(&["--cache", "cache/own"])
        .exits(0)
        .counts("opened", 3);
}

#[test]
fn a_noarch_without_an_index_is_named_when_another_subdir_is_indexed() {
    let scene = Scene::of_three();
    scene.index(&["--subdir", "linux-64"]).exits(0);
    assert!(
        scene.exists("channel/noarch/repodata.json"),
        "every channel has it"
    );
    scene.remove("channel/noarch/repodata.json");
    scene.remove("channel/noarch/repodata.json.zst");
    let spec = PackageSpec::new("n", "1.0", "0").subdir("noarch");
    scene.put(&spec, Format::Conda);
    let run = scene.index(&["--subdir", "linux-64"]).exits(0);
    run.says("noarch: it has packages and no index");
    assert!(
        !scene.exists("channel/noarch/repodata.json"),
        "it would leave them out"
    );
}
