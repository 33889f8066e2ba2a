//! One run after the other: what the first does, that the next does nothing, and what each change of the
//! channel brings about, exactly.

use crate::scene::builder::{Format, PackageSpec};
use crate::scene::{EPOCH, Scene};

#[test]
fn the_first_run_signs_and_publishes_everything() {
    let scene = Scene::new();
    scene.copy_fixture("channel");
    let run = scene.index(&[]).exits(0).counts("listed", 9);
    let run = run
        .counts("signed", 9)
        .counts("opened", 9)
        .counts("kept", 0);
    run.counts("added", 9)
        .counts("reused", 0)
        .counts("refused", 0);
    for (package, keys) in [
        ("linux-64/hello-2.12-h5eee18b_0.conda", "fixture "),
        ("linux-64/tinyz-1.3.1-h7f98852_2.tar.bz2", "fixture "),
        ("noarch/greetings-1.0-pyh0_0.conda", "fixture "),
        ("osx-arm64/hello-2.12-h80987f9_0.tar.bz2", "fixture "),
    ] {
        let sig = scene.text(&format!("channel/{package}.sig"));
        assert!(sig.starts_with(keys) && sig.ends_with('\n'), "{sig}");
        assert_eq!(sig.split(' ').count(), 2);
        assert!(scene.is_listed(package));
    }
    scene
        .run(&["verify", "channel"])
        .exits(0)
        .never_says("ERROR");
}

#[test]
fn a_second_run_opens_no_package_and_changes_no_file() {
    let scene = Scene::new();
    scene.copy_fixture("channel");
    scene.index(&[]).exits(0);
    let before = scene.snapshot("");
    let run = scene.index(&[]).exits(0).counts("opened", 0);
    let run = run
        .counts("signed", 0)
        .counts("kept", 9)
        .counts("reused", 9);
    let nothing: [&str; 0] = [];
    let run = run.has("files", &nothing).has("added", &nothing);
    run.has("replaced", &nothing).has("removed", &nothing);
    assert!(scene.snapshot("") == before, "something was written");
}

#[test]
fn a_run_under_another_name_of_the_verb_is_the_same() {
    let scene = Scene::of_three();
    scene.index(&[]).exits(0);
    let before = scene.snapshot("channel");
    scene.run(&["index", "channel"]).exits(0);
    scene.run(&["./channel/"]).exits(0);
    assert!(scene.snapshot("channel") == before);
}

#[test]
fn one_added_one_removed_one_replaced_are_reported_exactly() {
    let scene = Scene::of_three();
    let (a, b) = (scene.package("a"), scene.package("b"));
    scene.index(&[]).exits(0);
    let d = scene.package("d");
    scene.remove(&format!("channel/{a}"));
    scene.remove(&format!("channel/{a}.sig"));
    scene.change(&b);
    let before = scene.snapshot("channel/linux-64");
    let index = scene.read("channel/linux-64/repodata.json");
    let run = scene.index(&[]).exits(1);
    run.refuses(&b, "changed since it was published")
        .says("nothing was published");
    assert_eq!(scene.read("channel/linux-64/repodata.json"), index);
    let mut after = scene.snapshot("channel/linux-64");
    let sig = scene.path(&format!("channel/{d}.sig"));
    assert!(after.remove(&sig).is_some(), "what was signed stays signed");
    after.remove(&scene.path("channel/linux-64"));
    let folder = scene.path("channel/linux-64");
    assert!(
        before
            .iter()
            .filter(|(path, _)| **path != folder)
            .eq(after.iter())
    );

    let run = scene.index(&["--replace"]).exits(0).has("added", &[d]);
    let run = run.has("removed", &[&a]).has("replaced", &[&b]);
    run.has("signed", &[&b]).counts("listed", 3);
    assert!(!scene.is_listed(&a));
    scene.run(&["verify", "channel"]).exits(0);
}

#[test]
fn exactly_the_new_package_is_signed() {
    let scene = Scene::of_three();
    scene.index(&[]).exits(0);
    let d = scene.package("d");
    let run = scene.index(&[]).exits(0).has("added", &[&d]);
    let run = run.has("signed", &[&d]).counts("opened", 1);
    run.counts("kept", 3).counts("reused", 3);
}

#[test]
fn replace_takes_only_what_its_pattern_names() {
    let scene = Scene::of_three();
    let (a, b) = (scene.package("a"), scene.package("b"));
    scene.index(&[]).exits(0);
    scene.change(&a);
    scene.change(&b);
    let run = scene.index(&["--replace=b-*"]).exits(1);
    run.refuses(&a, "changed since it was published");
    let run = scene.index(&["--replace=a-*", "--drop-refused"]).exits(3);
    run.has("replaced", &[&a]).has("refused", &[&b]);
    assert!(!scene.is_listed(&b));
}

#[test]
fn replaced_bytes_are_new_and_all_else_keeps_its_time() {
    let scene = Scene::of_three();
    let (a, b) = (scene.package("a"), scene.package("b"));
    scene.index_at("1000", &[]).exits(0);
    scene.change(&b);
    let run = scene.index_at("2000", &["--replace"]).exits(0);
    run.has("replaced", &[&b]);
    assert_eq!(scene.record(&a)["indexed_timestamp"], 1_000_000);
    assert_eq!(scene.record(&b)["indexed_timestamp"], 2_000_000);
}

#[test]
fn what_was_refused_is_new_when_it_is_listed() {
    for forget in [false, true] {
        let scene = Scene::of_three();
        scene.index_at("1000", &[]).exits(0);
        let late = scene.put(&PackageSpec::new("late", "1.0", "0"), Format::Conda);
        for time in ["2000", "3000"] {
            scene
                .index_at(time, &["--require-signed"])
                .exits(3)
                .has("refused", &[&late]);
        }
        if forget {
            scene.remove("cache");
        }
        scene.index_at("4000", &[]).exits(0);
        assert_eq!(scene.record(&late)["indexed_timestamp"], 4_000_000);
        scene.index_at("5000", &["--rehash"]).exits(0);
        assert_eq!(scene.record(&late)["indexed_timestamp"], 4_000_000);
        // Where the index is lost, what is remembered is all there is.
        for lost in ["repodata.json", "repodata_shards.msgpack.zst", "shards"] {
            scene.remove(&format!("channel/linux-64/{lost}"));
        }
        scene.index_at("6000", &[]).exits(0);
        assert_eq!(scene.record(&late)["indexed_timestamp"], 4_000_000);
    }
}

#[test]
fn a_published_package_leaves_only_with_drop_refused() {
    let scene = Scene::of_three();
    let (a, b) = (scene.package("a"), scene.package("b"));
    scene.index(&[]).exits(0);
    scene.write(&format!("channel/{a}"), "not a package");
    let index = scene.read("channel/linux-64/repodata.json");
    let run = scene.index(&[]).exits(1).has("refused", &[&a]);
    run.says("--drop-refused");
    assert_eq!(scene.read("channel/linux-64/repodata.json"), index);
    let run = scene.index(&["--drop-refused"]).exits(3);
    run.has("refused", &[&a]);
    assert!(!scene.is_listed(&a) && scene.is_listed(&b));
    assert!(
        scene.exists(&format!("channel/{a}")),
        "no package is deleted"
    );
    // It is not published any more, so it holds up nothing.
    scene.index(&[]).exits(3);
}

#[test]
fn with_strict_one_refused_package_publishes_nothing() {
    let scene = Scene::of_three();
    scene.write("channel/linux-64/bad-1.0-0.conda", "not a package");
    let run = scene.index(&["--strict"]).exits(1);
    run.has("refused", &["linux-64/bad-1.0-0.conda"])
        .says("--strict");
    assert!(!scene.exists("channel/linux-64/repodata.json"));
    assert!(!scene.exists("channel/noarch/repodata.json"));
    scene.index(&[]).exits(3).counts("listed", 3);
}

#[test]
fn update_only_keeps_what_is_gone() {
    let scene = Scene::of_three();
    let a = scene.package("a");
    scene.index(&[]).exits(0);
    let record = scene.record(&a);
    let keys = scene.repodata("linux-64")["info"]["signing_keys"].clone();
    scene.remove(&format!("channel/{a}"));
    let nothing: [&str; 0] = [];
    scene
        .index(&["--update-only"])
        .exits(0)
        .has("removed", &nothing);
    assert_eq!(scene.record(&a), record);
    assert_eq!(scene.repodata("linux-64")["info"]["signing_keys"], keys);
    let run = scene.index(&[]).exits(0).has("removed", &[&a]);
    run.counts("removed", 1)
        .says(&format!("{a}.sig"))
        .says("without its package");
    assert!(!scene.is_listed(&a));
}

#[test]
fn update_only_keeps_nothing_that_no_client_can_read() {
    let scene = Scene::of_three();
    let a = scene.package("a");
    scene.index(&[]).exits(0);
    scene.remove(&format!("channel/{a}"));
    let path = "channel/linux-64/repodata.json";
    let text = scene.text(path);
    let size = "\"name\":\"a\",";
    assert!(text.contains(size), "{text}");
    for odd in [r#""x":"\udf89""#, r#""x":1e999"#] {
        scene.write(path, text.replace(size, &format!("{size}{odd},")));
        let run = scene.index(&["--update-only"]).exits(1);
        run.says("linux-64/repodata.json: a-1.0-0")
            .says("put a good copy there");
    }
    scene.index(&[]).exits(0);
}

#[test]
fn the_last_package_of_a_subdir_leaves_too() {
    let scene = Scene::new();
    let a = scene.package("a");
    scene.index(&[]).exits(0);
    scene.remove(&format!("channel/{a}"));
    scene
        .index(&[])
        .exits(0)
        .has("removed", &[a])
        .counts("listed", 0);
    assert_eq!(
        scene.repodata("linux-64")["packages.conda"],
        serde_json::json!({})
    );
}

#[test]
fn the_same_packages_and_signatures_give_the_same_bytes() {
    let (one, two) = (Scene::of_three(), Scene::new());
    one.index_at(EPOCH, &[]).exits(0);
    for file in ["c-1.0-0.conda", "a-1.0-0.conda", "b-1.0-0.tar.bz2"] {
        for file in [file.to_owned(), format!("{file}.sig")] {
            let path = format!("channel/linux-64/{file}");
            two.write(&path, one.read(&path));
        }
    }
    two.index_at(EPOCH, &["--threads", "1"])
        .exits(0)
        .counts("kept", 3);
    for file in [
        "linux-64/repodata.json",
        "linux-64/repodata.json.zst",
        "noarch/repodata.json",
    ] {
        let path = format!("channel/{file}");
        assert_eq!(one.read(&path), two.read(&path), "{file}");
    }
}

#[test]
fn a_package_in_both_formats_is_two_packages() {
    let scene = Scene::new();
    let spec = PackageSpec::new("a", "1.0", "0");
    let both = Format::BOTH.map(|format| scene.put(&spec, format));
    scene
        .index(&[])
        .exits(0)
        .counts("listed", 2)
        .counts("signed", 2);
    assert!(both.iter().all(|package| scene.is_listed(package)));
}
