//! The index files beside `repodata.json`: which are written and removed, shards and how long they stay, pages of
//! others, subdirs that are not walked.

use serde_json::{Value, json};

use crate::msgpack;
use crate::scene::Scene;
use crate::scene::builder::{Format, PackageSpec};

/// The names in a folder of the channel, keys of shards shortened.
fn names(scene: &Scene, folder: &str) -> Vec<String> {
    let folder = scene.path("channel").join(folder);
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| {
            !name.ends_with(".conda") && !name.ends_with(".tar.bz2") && !name.ends_with(".sig")
        })
        .collect();
    names.sort();
    names
}

/// The shard index of linux-64.
fn shard_index(scene: &Scene) -> Value {
    msgpack::read(&scene.path("channel/linux-64/repodata_shards.msgpack.zst"))
}

/// The file names of the shards that are there.
fn shards(scene: &Scene) -> Vec<String> {
    let mut names = names(scene, "linux-64/shards");
    names.retain(|name| name.ends_with(".msgpack.zst"));
    names
}

const DEFAULT: [&str; 7] = [
    "index.html",
    "repodata.json",
    "repodata.json.zst",
    "repodata_shards.msgpack.zst",
    "run_exports.json",
    "run_exports.json.zst",
    "shards",
];

#[test]
fn each_flag_writes_its_files_and_takes_them_away_again() {
    let scene = Scene::of_three();
    scene.index(&[]).exits(0);
    assert_eq!(names(&scene, "linux-64"), DEFAULT);
    let root = [".sigindex.lock", "index.html", "linux-64", "noarch"];
    assert_eq!(names(&scene, ""), root);
    for (flag, subdir, channel) in [
        (
            "--current-repodata",
            &["current_repodata.json", "current_repodata.json.zst"][..],
            &[][..],
        ),
        ("--bz2", &["repodata.json.bz2", "run_exports.json.bz2"], &[]),
        ("--channeldata", &[], &["channeldata.json"]),
        ("--rss", &[], &["rss.xml"]),
    ] {
        scene.index(&[flag]).exits(0).counts("opened", 0);
        for name in subdir {
            assert!(
                names(&scene, "linux-64").contains(&(*name).to_owned()),
                "{flag}"
            );
        }
        assert_eq!(
            names(&scene, "linux-64").len(),
            DEFAULT.len() + subdir.len()
        );
        for name in channel {
            assert!(scene.exists(&format!("channel/{name}")), "{flag}");
        }
        scene
            .index(&[flag, &flag.replacen("--", "--no-", 1)])
            .exits(0);
        assert_eq!(names(&scene, "linux-64"), DEFAULT, "{flag}");
        assert_eq!(names(&scene, ""), root, "{flag}");
    }
    for (flag, gone) in [
        ("--no-write-shards", &["repodata_shards.msgpack.zst"][..]),
        (
            "--no-run-exports",
            &["run_exports.json", "run_exports.json.zst"],
        ),
        ("--no-html", &["index.html"]),
        ("--no-zst", &["repodata.json.zst", "run_exports.json.zst"]),
        (
            "--no-write-monolithic",
            &["repodata.json", "repodata.json.zst"],
        ),
    ] {
        scene.index(&[flag]).exits(0).counts("opened", 0);
        let mut left = DEFAULT.map(str::to_owned).to_vec();
        left.retain(|name| !gone.contains(&name.as_str()));
        assert_eq!(names(&scene, "linux-64"), left, "{flag}");
        assert_eq!(shards(&scene).is_empty(), flag == "--no-write-shards");
        assert!(scene.exists("channel/noarch/repodata.json"), "{flag}");
        scene.index(&[]).exits(0).counts("opened", 0);
        assert_eq!(names(&scene, "linux-64"), DEFAULT, "{flag}");
    }
    scene.index(&["--all"]).exits(0);
    scene.index(&["--all"]).exits(0).has::<&str>("files", &[]);
    let all = names(&scene, "linux-64");
    assert_eq!(all.len(), DEFAULT.len() + 5, "{all:?}");
    scene.index(&["--all", "--no-rss", "--no-bz2"]).exits(0);
    assert!(!scene.exists("channel/rss.xml") && scene.exists("channel/channeldata.json"));
}

#[test]
fn what_monolithic_files_vouched_for_shards_vouch_for() {
    let scene = Scene::of_three();
    let a = scene.package("a");
    let shards_alone = ["--no-write-monolithic"];
    scene.index_at("1700000000", &shards_alone).exits(0);
    assert!(!scene.exists("channel/linux-64/repodata.json"));
    // Without the cache nothing but the published shards knows what was published, and when.
    scene.remove("cache");
    scene
        .index_at("1800000000", &shards_alone)
        .exits(0)
        .counts("opened", 3)
        .has::<&str>("files", &[]);
    scene.change(&a);
    scene
        .index_at("1800000000", &shards_alone)
        .exits(1)
        .refuses(&a, "changed since it was published");
    let index = shard_index(&scene);
    let digest = index["shards"]["b"].as_str().unwrap().to_owned();
    scene.write(
        &format!("channel/linux-64/shards/{digest}.msgpack.zst"),
        "cut",
    );
    scene.index(&shards_alone).exits(1).says("can't be read");
}

#[test]
fn an_old_shard_stays_for_a_while() {
    let scene = Scene::of_three();
    let at = |day: u64| (1_700_000_000 + day * 86_400).to_string();
    scene.index_at(&at(0), &[]).exits(0);
    let first = shards(&scene);
    assert_eq!(first.len(), 3);
    let spec = PackageSpec::new("a", "2.0", "0");
    scene.put(&spec, Format::Conda);
    scene.index_at(&at(1), &[]).exits(0);
    assert_eq!(
        shards(&scene).len(),
        4,
        "yesterday's index still finds its shard"
    );
    scene
        .index_at(&at(2), &[])
        .exits(0)
        .has::<&str>("files", &[]);
    scene
        .index_at(&at(7), &[])
        .exits(0)
        .has::<&str>("files", &[]);
    scene.index_at(&at(8), &[]).exits(0);
    let index = shard_index(&scene);
    let digests = index["shards"].as_object().unwrap().values();
    let mut named: Vec<String> = digests
        .map(|digest| format!("{}.msgpack.zst", digest.as_str().unwrap()))
        .collect();
    named.sort();
    assert_eq!(shards(&scene), named);
    assert_eq!(names(&scene, "linux-64/shards").len(), 3, "no list of none");
    scene.put(&PackageSpec::new("a", "3.0", "0"), Format::Conda);
    scene.index_at(&at(9), &["--keep-shards", "0"]).exits(0);
    assert_eq!(shards(&scene).len(), 3);
}

#[test]
fn a_shard_that_comes_back_is_not_taken_away() {
    let scene = Scene::of_three();
    let at = |day: u64| (1_700_000_000 + day * 86_400).to_string();
    scene.index_at(&at(0), &[]).exits(0);
    let first = shards(&scene);
    let a2 = scene.put(&PackageSpec::new("a", "2.0", "0"), Format::Conda);
    scene.index_at(&at(1), &[]).exits(0);
    scene.remove(&format!("channel/{a2}"));
    scene.index_at(&at(2), &["--keep-shards", "3"]).exits(0);
    scene.index_at(&at(5), &["--keep-shards", "3"]).exits(0);
    assert_eq!(shards(&scene), first);
}

#[test]
fn a_shard_that_was_cut_off_is_replaced() {
    let scene = Scene::of_three();
    scene.index(&[]).exits(0);
    let path = format!("channel/linux-64/shards/{}", shards(&scene)[1]);
    let whole = scene.read(&path);
    scene.write(&path, &whole[..whole.len() / 2]);
    scene
        .index(&[])
        .exits(0)
        .has("files", &["linux-64/shards/"]);
    assert_eq!(scene.read(&path), whole);
}

#[test]
fn shards_of_conda_index_go_when_their_time_has_come() {
    let scene = Scene::of_three();
    let theirs = format!("channel/linux-64/{}.msgpack.zst", "ab".repeat(32));
    scene.write(&theirs, "x");
    let mine = "channel/linux-64/data.msgpack.zst";
    scene.write(mine, "x");
    scene.index_at("1700000000", &[]).exits(0);
    assert!(scene.exists(&theirs));
    scene.index_at("1700800000", &[]).exits(0);
    assert!(!scene.exists(&theirs) && scene.exists(mine));
}

#[test]
fn the_time_of_a_shard_index_is_that_of_its_last_change() {
    let scene = Scene::of_three();
    scene.index_at("1700000000", &[]).exits(0);
    let created = || shard_index(&scene)["info"]["created_at"].clone();
    assert_eq!(created(), "2023-11-14T22:13:20Z");
    scene
        .index_at("1800000000", &["--rehash"])
        .exits(0)
        .has::<&str>("files", &[]);
    assert_eq!(created(), "2023-11-14T22:13:20Z");
    scene.put(&PackageSpec::new("z", "1", "0"), Format::Conda);
    scene.index_at("1800000000", &[]).exits(0);
    assert_eq!(created(), "2027-01-15T08:00:00Z");
}

#[test]
fn somebodys_own_page_is_left_alone() {
    let scene = Scene::of_three();
    scene.write("channel/index.html", "<h1>Welcome</h1>");
    scene.write("channel/linux-64/index.html", "");
    scene
        .index(&[])
        .exits(0)
        .says("index.html: neither sigindex nor conda-index wrote this page; it is left alone");
    assert_eq!(scene.text("channel/index.html"), "<h1>Welcome</h1>");
    scene.index(&["--no-html"]).exits(0);
    assert_eq!(scene.text("channel/index.html"), "<h1>Welcome</h1>");
    assert!(!scene.exists("channel/noarch/index.html"));
    // A link to it, too.
    scene.remove("channel/index.html");
    scene.write("welcome.html", "<h1>Welcome</h1>");
    let link = scene.path("channel/index.html");
    std::os::unix::fs::symlink("../welcome.html", &link).unwrap();
    scene.index(&[]).exits(0).says("it is left alone");
    assert!(link.is_symlink());
}

#[test]
fn subdirs_that_are_not_walked_are_told_of_all_the_same() {
    let scene = Scene::of_three();
    scene.put(
        &PackageSpec::new("n", "1.0", "0").subdir("noarch"),
        Format::Conda,
    );
    scene.index(&["--all"]).exits(0);
    let before = scene.snapshot("channel");
    scene
        .index(&["--all", "--subdir", "linux-64"])
        .exits(0)
        .has::<&str>("files", &[]);
    assert!(scene.snapshot("channel") == before);
    scene.put(&PackageSpec::new("d", "1.0", "0"), Format::Conda);
    let run = scene.index(&["--all", "--subdir", "linux-64"]).exits(0);
    let files = run.report()["files"].clone();
    let files: Vec<&str> = files
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f.as_str().unwrap())
        .collect();
    assert!(
        files.contains(&"channeldata.json") && files.contains(&"index.html"),
        "{files:?}"
    );
    assert!(
        !files.iter().any(|file| file.starts_with("noarch/")),
        "{files:?}"
    );
    let names = scene.json("channel/channeldata.json")["packages"].clone();
    let names: Vec<&String> = names.as_object().unwrap().keys().collect();
    assert_eq!(names, ["a", "b", "c", "d", "n"]);
    let page = scene.text("channel/index.html");
    assert!(page.contains("noarch"), "{page}");
}

#[test]
fn a_base_url_and_relations_stand_in_repodata_and_shards() {
    let scene = Scene::of_three();
    let flags = [
        "--base-url",
        "https://example.org/c/",
        "--base-channel",
        "../conda-forge",
        "--overrides-channel",
        "../..",
    ];
    scene.index(&flags).exits(0);
    let relations = json!({"base": "../conda-forge", "overrides": "../.."});
    let repodata = scene.repodata("linux-64");
    assert_eq!(
        repodata["info"]["base_url"],
        "https://example.org/c/linux-64/"
    );
    assert_eq!(repodata["repodata_version"], 2);
    assert_eq!(repodata["info"]["channel_relations"], relations);
    let index = shard_index(&scene);
    assert_eq!(index["info"]["base_url"], "https://example.org/c/linux-64/");
    assert_eq!(index["info"]["channel_relations"], relations);
    scene.index(&flags).exits(0).has::<&str>("files", &[]);
    scene.index(&[]).exits(0);
    assert_eq!(scene.repodata("linux-64")["repodata_version"], 1);
    assert_eq!(shard_index(&scene)["info"]["base_url"], "");
    scene.index(&["--base-channel", "conda-forge"]).exits(2);
    scene
        .index(&["--base-channel", "../a", "--overrides-channel", "../a"])
        .exits(2);
}

#[test]
fn records_that_need_the_third_revision_go_there() {
    let scene = Scene::of_three();
    let needs = PackageSpec::new("d", "1.0", "0")
        .depends(["numpy >=2[when=\"python >=3.10\"]", "pip", "x 1.*"])
        .extra("schema_version", json!(3));
    let d = scene.put(&needs, Format::Conda);
    scene.index_at("1700000000", &[]).exits(0);
    let repodata = scene.repodata("linux-64");
    assert!(!scene.is_listed(&d));
    let record = &repodata["v3"]["conda"]["d-1.0-0"];
    assert_eq!(
        record["depends"],
        json!([
            "numpy[version=\">=2\",when=\"python >=3.10\"]",
            "pip",
            "x[version=\"1.*\"]"
        ])
    );
    assert_eq!(record["sig"], ".");
    let revision =
        json!({"n_packages": 1, "oldest": 1_700_000_000_000_u64, "newest": 1_700_000_000_000_u64});
    assert_eq!(
        repodata["info"]["repodata_revisions"],
        json!({ "v3": revision })
    );
    assert_eq!(
        repodata["packages.conda"].as_object().unwrap().len()
            + repodata["packages"].as_object().unwrap().len(),
        3
    );
    // It is published as much as any other.
    scene.remove("cache");
    scene
        .index_at("1800000000", &[])
        .exits(0)
        .has::<&str>("files", &[]);
    let other = needs.clone().payload("something else\n");
    scene.put(&other, Format::Conda);
    scene
        .index(&[])
        .exits(1)
        .refuses(&d, "changed since it was published");
    scene.remove(&format!("channel/{d}"));
    scene.index(&[]).exits(0).has("removed", &[&d]);
    assert_eq!(scene.repodata("linux-64").get("v3"), None);
}

#[test]
fn records_without_files_keep_their_run_exports() {
    let scene = Scene::of_three();
    let spec = PackageSpec::new("d", "1.0", "0").run_exports(json!({"weak": ["d >=1"]}));
    let d = scene.put(&spec, Format::Conda);
    scene.index(&[]).exits(0);
    scene.remove(&format!("channel/{d}"));
    scene
        .index(&["--update-only"])
        .exits(0)
        .has::<&str>("files", &[]);
    scene.remove("cache");
    scene
        .index(&["--update-only"])
        .exits(0)
        // What its page said of it beyond its record is lost with the cache.
        .has("files", &["index.html", "linux-64/index.html"]);
    let run_exports = scene.json("channel/linux-64/run_exports.json");
    let found = &run_exports["packages.conda"]["d-1.0-0.conda"]["run_exports"];
    assert_eq!(*found, json!({"weak": ["d >=1"]}));
}

#[test]
fn the_classic_solver_keeps_what_it_understands() {
    let scene = Scene::of_three();
    let a2 = PackageSpec::new("a", "2.0", "0").depends(["b[when=\"c\"]"]);
    scene.put(&a2, Format::Conda);
    scene.index(&["--current-repodata"]).exits(0);
    let current = scene.json("channel/linux-64/current_repodata.json");
    assert!(current["packages.conda"]["a-1.0-0.conda"].is_object());
    assert_eq!(current.get("v3"), None);
    assert!(scene.repodata("linux-64")["v3"]["conda"]["a-2.0-0"].is_object());
    scene.write("pins.yaml", "a: [3.10, \"1.0\", '9']\n");
    let run = scene
        .index(&["--current-repodata", "-m", "pins.yaml"])
        .exits(0);
    run.says("3.10").says("9");
    scene.write("pins.yaml", "a: &x [1]\nb: *x\n");
    scene
        .index(&["--current-repodata", "-m", "pins.yaml"])
        .exits(1)
        .says("pins.yaml, line 2");
}

#[test]
fn a_subdir_that_is_not_walked_and_is_broken_is_left_out() {
    let scene = Scene::of_three();
    scene.put(
        &PackageSpec::new("n", "1.0", "0").subdir("noarch"),
        Format::Conda,
    );
    scene.put(
        &PackageSpec::new("o", "1.0", "0").subdir("osx-64"),
        Format::Conda,
    );
    scene.index(&[]).exits(0);
    scene.write("channel/osx-64/repodata.json", "{");
    let run = scene.index(&["--subdir", "linux-64"]).exits(0);
    run.says("the channel's own files say nothing of osx-64");
    scene.remove("channel/osx-64/repodata.json");
    std::os::unix::fs::symlink("elsewhere", scene.path("channel/osx-64/repodata.json")).unwrap();
    let run = scene.index(&["--subdir", "linux-64"]).exits(0);
    run.says("the channel's own files say nothing of osx-64");
    let page = scene.text("channel/index.html");
    assert!(page.contains("noarch") && !page.contains("osx-64"));
}

#[test]
fn what_the_cache_forgot_the_published_files_tell() {
    let scene = Scene::of_three();
    let spec = PackageSpec::new("n", "1.0", "0")
        .subdir("noarch")
        .about(json!({"summary": "Of noarch", "home": "https://example.org"}))
        .run_exports(json!({"weak": ["n >=1"]}));
    let n = scene.put(&spec, Format::Conda);
    let flags = ["--channeldata", "--rss", "--no-run-exports"];
    scene.index(&flags).exits(0);
    let before = scene.snapshot("channel");
    scene.remove("cache");
    let walked = [&flags[..], &["--subdir", "linux-64"]].concat();
    scene.index(&walked).exits(0).has::<&str>("files", &[]);
    assert!(scene.snapshot("channel") == before);
    scene.remove("cache");
    scene.remove(&format!("channel/{n}"));
    let kept = [&flags[..], &["--update-only"]].concat();
    scene.index(&kept).exits(0).has::<&str>("files", &[]);
    // A new output begins with it.
    scene.remove("cache");
    let elsewhere = [&kept[..], &["--output", "public", "--channeldata"]].concat();
    scene.index(&elsewhere).exits(0);
    let [here, there] =
        ["channel", "public"].map(|it| scene.json(&format!("{it}/channeldata.json")));
    assert_eq!(here["packages"]["n"], there["packages"]["n"]);
}

#[test]
fn a_dry_run_knows_that_signatures_change_the_index() {
    let scene = Scene::of_three();
    scene.index(&["--no-sign"]).exits(0);
    let planned = scene.index(&["--dry-run"]).exits(0);
    let planned = planned.report()["files"].clone();
    let done = scene.index(&[]).exits(0).report()["files"].clone();
    assert_eq!(planned, done);
    assert!(done.as_array().unwrap().len() > 3, "{done}");
}

#[test]
fn what_is_deleted_is_said_to_be() {
    let scene = Scene::of_three();
    scene.index(&[]).exits(0);
    let flags = ["channel", "--no-run-exports", "--no-write-shards"];
    scene
        .run(&[&flags[..], &["--dry-run"]].concat())
        .exits(0)
        .says("would be deleted:")
        .says("linux-64/run_exports.json.zst")
        .says("noarch/repodata_shards.msgpack.zst");
    let deleted = scene.index(&flags[1..]).exits(0).report()["deleted"].clone();
    assert!(
        deleted
            .as_array()
            .unwrap()
            .contains(&json!("linux-64/shards/")),
        "{deleted}"
    );
}

#[test]
fn a_shard_index_that_tells_nothing_is_no_reason_to_forget() {
    let scene = Scene::of_three();
    let flags = ["--no-write-monolithic"];
    scene.index(&flags).exits(0);
    let path = "channel/linux-64/repodata_shards.msgpack.zst";
    let index = scene.read(path);
    scene.remove(path);
    std::os::unix::fs::symlink("elsewhere", scene.path(path)).unwrap();
    scene
        .index(&flags)
        .exits(1)
        .says("repodata_shards.msgpack.zst");
    scene.remove(path);
    scene.write(path, &index[..index.len() / 2]);
    scene
        .index(&flags)
        .exits(1)
        .says("repodata_shards.msgpack.zst");
}

#[test]
fn what_stands_in_the_way_of_index_files() {
    let scene = Scene::of_three();
    let fifo = scene.path("channel/rss.xml");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status();
    assert!(made.unwrap().success());
    std::fs::create_dir_all(scene.path("channel/channeldata.json/mine")).unwrap();
    std::fs::create_dir_all(scene.path("channel/linux-64")).unwrap();
    scene.write("channel/linux-64/shards", "mine");
    // What is off stays, unless it is an index file that goes stale, or was planted.
    scene.index(&["--no-write-shards"]).exits(0);
    assert!(scene.exists("channel/channeldata.json/mine"));
    assert_eq!(scene.text("channel/linux-64/shards"), "mine");
    scene.index(&["--rss", "--no-write-shards"]).exits(0);
    assert!(scene.text("channel/rss.xml").contains("<rss"));
    scene
        .index(&["--channeldata", "--no-write-shards"])
        .exits(1)
        .says("channeldata.json");
    scene.index(&[]).exits(1).says("linux-64/shards");
}

#[test]
fn many_subdirs_are_published_at_once() {
    let most = std::process::Command::new("sh")
        .args(["-c", "ulimit -Hn"])
        .output();
    let most = String::from_utf8(most.unwrap().stdout).unwrap();
    if most.trim().parse::<u64>().is_ok_and(|most| most < 2_048) {
        eprintln!("skipped: a process may hold {most} files open here");
        return;
    }
    let scene = Scene::new();
    for number in 0..600 {
        let spec = PackageSpec::new("a", "1.0", "0").subdir(&format!("os{number}-64"));
        scene.put(&spec, Format::Conda);
    }
    let run = std::process::Command::new("sh")
        .args(["-c", "ulimit -Sn 256; exec \"$0\" channel -q --no-html"])
        .arg(env!("CARGO_BIN_EXE_sigindex"))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", scene.path("home"))
        .env("XDG_CACHE_HOME", scene.path("cache"))
        .current_dir(scene.path(""))
        .output()
        .unwrap();
    assert!(
        run.status.success(),
        "{}",
        String::from_utf8_lossy(&run.stderr)
    );
    assert!(scene.exists("channel/os599-64/repodata.json"));
}
