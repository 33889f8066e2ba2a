//! Every flawed package of the fixtures among good ones: it is named with a reason, the others are
//! published, and nothing panics. And every odd one is listed.
use std::collections::BTreeMap;

use crate::scene::builder::archive::{bomb_tar, bz2_from};
use crate::scene::{Scene, fixtures};

/// The packages of a folder of the fixtures by their path, with their bytes.
fn packages(folder: &str) -> BTreeMap<String, Vec<u8>> {
    let root = fixtures().join(folder);
    let files = walkdir::WalkDir::new(&root).into_iter().map(Result::unwrap);
    files
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| {
            let path = entry.path().strip_prefix(&root).unwrap();
            (
                path.to_str().unwrap().to_owned(),
                std::fs::read(entry.path()).unwrap(),
            )
        })
        .collect()
}

fn flaws(folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(fixtures().join(folder)).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(!names.is_empty());
    names
}

/// Does something with every flaw or oddity of a folder, on some threads, each of which has
/// a channel of good packages that serves one after the other.
fn for_each(folder: &str, each: impl Fn(&Scene, &str) + Sync) {
    let names = flaws(folder);
    std::thread::scope(|scope| {
        for some in names.chunks(names.len().div_ceil(4)) {
            let each = &each;
            scope.spawn(move || {
                let scene = Scene::of_three();
                some.iter().for_each(|name| each(&scene, name));
            });
        }
    });
}

/// Indexes a flawed channel among good packages; gives why each package was refused.
fn refusals(scene: &Scene, flaw: &str, flags: &[&str]) -> BTreeMap<String, String> {
    scene.copy_fixture(flaw);
    let expected: Vec<String> = packages(flaw).into_keys().collect();
    let run = scene.index(flags).exits(3).has("refused", &expected);
    let run = run.counts("listed", 3);
    for package in &expected {
        assert!(!scene.is_listed(package), "{flaw}: {package} is listed");
        assert!(
            !scene.exists(&format!("channel/{package}.sig")),
            "{flaw}: signed"
        );
        scene.remove(&format!("channel/{package}"));
    }
    let below = |folder: &str| std::fs::read_dir(scene.path(folder)).unwrap().count();
    // home, cache, channel; linux-64, noarch, the lock, the page.
    assert_eq!((below(""), below("channel")), (3, 4), "{flaw}: unpacked");
    run.refusals()
}

/// A reason is something to read: not empty, without anything that moves a cursor.
fn assert_readable(flaw: &str, reason: &str) {
    let plain = |c: char| !c.is_control() && !('\u{202a}'..='\u{202e}').contains(&c);
    assert!(
        reason.len() > 10 && reason.chars().all(plain),
        "{flaw}: {reason:?}"
    );
}

#[test]
fn every_flawed_package_is_refused_and_the_others_are_published() {
    for_each("flawed", |scene, flaw| {
        for (_, reason) in refusals(scene, &format!("flawed/{flaw}"), &[]) {
            assert_readable(flaw, &reason);
        }
    });
}

#[test]
fn with_strict_every_flaw_publishes_nothing() {
    for flaw in [
        "empty",
        "duplicate-keys",
        "conda-wrong-crc",
        "name-with-slash",
    ] {
        let scene = Scene::of_three();
        scene.copy_fixture(&format!("flawed/{flaw}"));
        scene.index(&["--strict"]).exits(1);
        assert!(!scene.exists("channel/linux-64/repodata.json"), "{flaw}");
    }
}

#[test]
fn the_reason_says_what_is_wrong() {
    let scene = Scene::of_three();
    for (flaw, word) in [
        ("empty", "empty"),
        ("conda-named-tar-bz2", ".conda"),
        ("tar-bz2-named-conda", ".tar.bz2"),
        ("no-index-json", "info/index.json"),
        ("two-index-json", "info/index.json"),
        ("conda-zstd-window-of-2-gib", "window"),
        ("duplicate-keys", "name"),
        ("name-mismatch", "--allow-mismatch"),
        ("subdir-mismatch", "--allow-mismatch"),
        ("version-missing", "version"),
        ("build-not-a-string", "build"),
        ("index-json-bom", "byte order mark"),
        ("index-json-not-utf8", "UTF-8"),
    ] {
        for (_, reason) in refusals(&scene, &format!("flawed/{flaw}"), &[]) {
            assert!(reason.contains(word), "{flaw}: {reason}");
        }
    }
}

#[test]
fn what_hides_behind_the_metadata_is_refused_when_archives_are_checked() {
    for_each("flawed-checked", |scene, flaw| {
        let folder = format!("flawed-checked/{flaw}");
        for (_, reason) in refusals(scene, &folder, &["--check-archives"]) {
            assert_readable(flaw, &reason);
        }
        let scene = Scene::new();
        scene.copy_fixture(&folder);
        scene.index(&[]).exits(0);
    });
}

#[test]
fn what_is_odd_and_valid_is_listed() {
    for_each("odd", |_, oddity| {
        for flags in [&[][..], &["--check-archives"]] {
            let scene = Scene::of_three();
            let folder = format!("odd/{oddity}");
            scene.copy_fixture(&folder);
            let run = scene.index(flags).exits(0);
            let warned = run.report()["warnings"].as_array().unwrap().len();
            let worth_a_word = [
                "timestamp-future",
                "timestamp-huge",
                "conda-members-of-another-stem",
            ];
            let expected = if worth_a_word.contains(&oddity) {
                packages(&folder).len()
            } else {
                0
            };
            assert_eq!(warned, expected, "{oddity}: {}", run.stderr);
            for package in packages(&folder).keys() {
                assert!(scene.is_listed(package), "{oddity}");
            }
        }
    });
}

#[test]
fn a_package_cut_off_anywhere_is_refused_or_as_it_was() {
    let sound = packages("channel");
    for name in [
        "linux-64/hello-2.12-h5eee18b_0.conda",
        "linux-64/oldtimer-0.9-0.tar.bz2",
    ] {
        let bytes = &sound[name];
        let scene = Scene::new();
        let good = scene.package("a");
        for length in (0..bytes.len()).step_by(bytes.len() / 12) {
            scene.write(&format!("channel/{name}"), &bytes[..length]);
            let _ = std::fs::remove_file(scene.path(&format!("channel/{name}.sig")));
            let run = scene.index(&["--check-archives"]).exits(3);
            run.has("refused", &[name]);
            assert!(scene.is_listed(&good));
        }
    }
}

#[test]
fn metadata_beyond_its_cap_is_refused() {
    let scene = Scene::of_three();
    let bomb = bz2_from(bomb_tar("info/index.json", 17 << 20));
    scene.write("channel/linux-64/bomb-1.0-0.tar.bz2", bomb);
    let run = scene.index(&[]).exits(3);
    run.refuses("linux-64/bomb-1.0-0.tar.bz2", "16777216 are allowed")
        .counts("listed", 3);
}
