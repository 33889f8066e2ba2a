//! The real binary on a machine whose clock is wrong: all that asks libc for the time of day, and not only what honours
//! `SOURCE_DATE_EPOCH`. Owns the clock; must not know what the program asks it for.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

use crate::compiler::compile;
use crate::scene::{Run, Scene};
use crate::shared::not_to_be_had;

const DAY: i64 = 86_400;
const YEAR: i64 = 365 * DAY;
/// In 2106, when seconds since 1970 no longer fit 32 bits.
const FAR: i64 = 4_300_000_000;

fn now() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since_1970.as_secs()).unwrap()
}

/// The library that moves the clock; `None`, and a word about it, where it can't be made or has no effect.
fn library() -> Option<&'static Path> {
    static LIBRARY: OnceLock<Result<(TempDir, PathBuf), String>> = OnceLock::new();
    let made = LIBRARY.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clock.so");
        compile("tests/faults/clock.c", &path, &["-shared", "-fPIC"])?;
        probe(&path)?;
        Ok((folder, path))
    });
    match made {
        Ok((_, path)) => Some(path),
        Err(why) => {
            not_to_be_had("a clock that is wrong", why);
            None
        }
    }
}

/// Whether the binary itself has the library loaded: not where it is linked statically, or where no file in the folder
/// for scratch may be run. A package that is indexed tells.
fn probe(library: &Path) -> Result<(), String> {
    let scene = Scene::of_three();
    let call = scene.index_call(&[]).env("LD_PRELOAD", library);
    let run = call.env("CLOCK_OFFSET", DAY.to_string()).run();
    // A run that fails is the tests' matter.
    let is_right = run.status() == Some(0) && first_indexed(&scene, PACKAGES[0]) < now() + DAY / 2;
    match is_right {
        true => Err("a library that is preloaded has no effect".to_owned()),
        false => Ok(()),
    }
}

/// Runs the binary with a clock that is so many seconds off; it never panics.
fn run(scene: &Scene, offset: i64, args: &[&str]) -> Run {
    let call = scene.call(args).env("LD_PRELOAD", library().unwrap());
    let run = call.env("CLOCK_OFFSET", offset.to_string()).run();
    run.never_says("panicked")
}

fn index(scene: &Scene, offset: i64, flags: &[&str]) -> Run {
    run(scene, offset, &[&["channel", "--json"], flags].concat())
}

/// When a package was first indexed, in seconds since 1970.
fn first_indexed(scene: &Scene, package: &str) -> i64 {
    let record = scene.record(package);
    record["indexed_timestamp"].as_i64().unwrap() / 1_000
}

const PACKAGES: [&str; 3] = [
    "linux-64/a-1.0-0.conda",
    "linux-64/b-1.0-0.tar.bz2",
    "linux-64/c-1.0-0.conda",
];

#[test]
fn at_either_end_of_time_it_works_and_a_right_clock_goes_on_from_there() {
    if library().is_none() {
        return;
    }
    for moment in [DAY, FAR] {
        let offset = moment - now();
        let scene = Scene::of_three();
        index(&scene, offset, &[]).exits(0).counts("signed", 3);
        for package in PACKAGES {
            let first = first_indexed(&scene, package);
            // The clock is that of the library, or all of this shows nothing.
            assert!((moment..moment + 600).contains(&first), "{first}");
        }
        run(&scene, offset, &["verify", "channel"]).exits(0);
        let before: Vec<_> = PACKAGES.map(|one| first_indexed(&scene, one)).into();
        let published = scene.snapshot("channel");
        let again = index(&scene, offset, &[]).exits(0);
        again.counts("signed", 0).counts("listed", 3);
        let is_same = scene.snapshot("channel") == published;
        assert!(is_same, "nothing changed, and something was written");
        // The clock is set right: forward, or far back.
        scene.package("d");
        let run_right = index(&scene, 0, &[]).exits(0).counts("listed", 4);
        let run_right = run_right.counts("signed", 1).counts("kept", 3);
        match moment {
            FAR => drop(run_right.says("first indexed in the future")),
            _ => drop(run_right.never_says("first indexed in the future")),
        }
        let after: Vec<_> = PACKAGES.map(|one| first_indexed(&scene, one)).into();
        assert_eq!(before, after);
        run(&scene, 0, &["verify", "channel"]).exits(0);
    }
}

#[test]
fn where_it_goes_back_a_year_nothing_is_lost_and_no_time_falls() {
    if library().is_none() {
        return;
    }
    let scene = Scene::of_three();
    index(&scene, 0, &[]).exits(0);
    let before = PACKAGES.map(|one| first_indexed(&scene, one));
    scene.change("linux-64/b-1.0-0.tar.bz2");
    let d = scene.package("d");
    for gone in ["c-1.0-0.conda", "c-1.0-0.conda.sig"] {
        scene.remove(&format!("channel/linux-64/{gone}"));
    }
    let back = index(&scene, -YEAR, &["--replace"]).exits(0);
    let back = back.says("first indexed in the future");
    back.counts("added", 1).counts("removed", 1);
    assert_eq!(first_indexed(&scene, PACKAGES[0]), before[0]);
    assert!(first_indexed(&scene, PACKAGES[1]) >= before[1]);
    assert!(first_indexed(&scene, &d) < before[0]);
    run(&scene, -YEAR, &["verify", "channel"]).exits(0);
    let published = scene.snapshot("channel");
    index(&scene, -YEAR, &[]).exits(0).counts("listed", 3);
    let is_same = scene.snapshot("channel") == published;
    assert!(is_same, "nothing changed, and something was written");
    // By a right clock, what was retired a year ago may go; all else stays.
    let index_then = scene.read("channel/linux-64/repodata.json");
    index(&scene, 0, &[]).exits(0).counts("listed", 3);
    assert!(scene.read("channel/linux-64/repodata.json") == index_then);
    run(&scene, 0, &["verify", "channel"]).exits(0);
}

/// The version of the newest generation of a signed index.
#[cfg(feature = "tuf")]
fn version(scene: &Scene) -> u64 {
    let timestamp = scene.json("channel/tuf/timestamp.json");
    timestamp["signed"]["version"].as_u64().unwrap()
}

#[cfg(feature = "tuf")]
#[test]
fn a_signed_index_never_goes_down_in_version() {
    if library().is_none() {
        return;
    }
    let scene = Scene::of_three();
    scene.init_signed_index();
    let flags = ["--key", "fixture"];
    index(&scene, 0, &flags).exits(0).counts("listed", 3);
    let (first, far) = (DAY - now(), FAR - now());
    for (step, offset) in [0, -YEAR, 0, first, 0, 60 * DAY, far, 0]
        .into_iter()
        .enumerate()
    {
        let before = version(&scene);
        scene.package(&format!("p{step}"));
        index(&scene, offset, &flags).exits(0);
        assert_eq!(version(&scene), before + 1, "step {step}");
        let verified = run(&scene, offset, &["verify", "channel"]);
        match offset == far {
            true => verified.exits(1).says("1.root.json: it expired"),
            false => verified.exits(0),
        };
    }
    index(&scene, 0, &flags).exits(0).counts("listed", 11);
}
