//! A run, held against what the model says of it.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::afresh;
use crate::count;
use crate::fates::{Expected, Fate, expected};
use crate::goods::{SUBDIRS, goods};
use crate::ops::{RunOp, Signs};
use crate::published::Published;
use crate::reader::{Keys, digest, read_at_rest};
use crate::runs::{Ended, by_binary, by_library, verify};
use crate::world::World;

/// Lets an indexer run, and looks at everything that it did.
pub fn run(world: &World, run: &RunOp) {
    let keys = Keys::of(&world.scene.path("home/.conda/keys"));
    let channel = world.channel();
    let expected = match expected(&channel, &keys, run) {
        Err(broken) => {
            let ended = start(world, run);
            count("could not begin".to_owned());
            if ended.status.is_some() {
                let error = ended.report["error"].as_str().unwrap_or_default();
                assert_eq!(ended.status, Some(1), "{broken:?} and {ended:?}");
                assert!(!error.is_empty(), "{broken:?} and {ended:?}");
            }
            // The remedy that the error names.
            std::fs::remove_file(&broken.0).unwrap();
            return;
        }
        Ok(expected) => expected,
    };
    let times = times(&channel);
    let before = world.scene.snapshot("channel");
    let index_before = afresh::index_files(&channel);
    let ended = start(world, run);
    count(match ended.status {
        None => "died".to_owned(),
        Some(status) if run.dry_run => format!("dry run: {status}"),
        Some(status) => format!("exit {status}"),
    });
    if ended.status.is_none() {
        return;
    }
    let died_late = run.dies.is_some() && run.by_binary;
    if run.dies.is_none() || died_late {
        says_the_same(&expected, &ended);
    }
    if run.dry_run {
        assert!(world.scene.snapshot("channel") == before, "a dry run wrote");
        return;
    }
    if !expected.publishes {
        let same = afresh::index_files(&channel) == index_before;
        assert!(same, "nothing is published, and the index changed");
        return;
    }
    lists_the_same(world, &expected, &times);
    let seen = read_at_rest(&channel, &keys);
    assert!(seen.wrong.is_empty(), "{:#?}", seen.wrong);
    as_from_nothing(world, run, &expected, &ended);
    verifies(world, &expected);
    does_nothing_again(world, run, &expected);
}

fn start(world: &World, run: &RunOp) -> Ended {
    if run.without_cache && world.scene.exists("lost") {
        world.scene.remove("lost");
    }
    let cache = if run.without_cache { "lost" } else { "own" };
    match run.by_binary {
        true => by_binary(world, run, cache),
        false => {
            let cache = world.scene.path(cache).join("cache.db");
            let keys = world.scene.path("home/.conda/keys");
            by_library(run, world.now, &world.channel(), &cache, &keys)
        }
    }
}

/// The report tells the fates.
fn says_the_same(expected: &Expected, ended: &Ended) {
    let all = format!("{expected:#?}\n{:#}", ended.report);
    assert_eq!(ended.status, Some(expected.status), "{all}");
    let list = |fate: Fate| {
        let fates = expected
            .fates
            .iter()
            .filter(move |(_, found)| **found == fate);
        fates.map(|(path, _)| json!(path)).collect::<Vec<_>>()
    };
    for (fate, key) in [
        (Fate::Signed, "signed"),
        (Fate::Unsigned, "unsigned"),
        (Fate::Unverified, "unverified"),
    ] {
        assert_eq!(ended.report[key], Value::Array(list(fate)), "{key}: {all}");
    }
    let kept = list(Fate::Kept).len();
    assert_eq!(ended.report["counts"]["kept"], json!(kept), "kept: {all}");
    let refused = ended.report["refused"].as_array().unwrap();
    let refused: BTreeMap<&str, &str> = refused
        .iter()
        .map(|one| {
            (
                one["package"].as_str().unwrap(),
                one["reason"].as_str().unwrap(),
            )
        })
        .collect();
    for (path, fate) in &expected.fates {
        count(format!("{fate:?}"));
        match (fate, refused.get(path.as_str())) {
            (Fate::Refused(why), Some(reason)) => {
                let unreadable = why.is_empty() && !reason.contains("changed since");
                assert!(
                    unreadable || !why.is_empty() && reason.contains(why),
                    "{path}: {all}"
                );
            }
            (Fate::Refused(_), None) => panic!("{path} should be refused: {all}"),
            (_, Some(_)) => panic!("{path} should not be refused: {all}"),
            (_, None) => {}
        }
    }
}

/// When each package was first seen, as the index tells.
fn times(channel: &Path) -> BTreeMap<String, (Option<String>, i64)> {
    let mut times = BTreeMap::new();
    for subdir in SUBDIRS {
        let Ok(published) = Published::of(channel, subdir) else {
            continue;
        };
        for (name, (sha256, record)) in published.records {
            if let Some(time) = record["indexed_timestamp"].as_i64() {
                times.insert(format!("{subdir}/{name}"), (sha256, time));
            }
        }
    }
    times
}

/// The index lists what the fates say, by the bytes that lie there; times stay, and never fall.
fn lists_the_same(
    world: &World,
    expected: &Expected,
    before: &BTreeMap<String, (Option<String>, i64)>,
) {
    let channel = world.channel();
    let listed = expected.fates.iter();
    let listed = listed.filter(|(_, fate)| !matches!(fate, Fate::Refused(_)));
    let listed: BTreeMap<String, String> = listed
        .map(|(path, _)| {
            (
                path.clone(),
                digest(&std::fs::read(channel.join(path)).unwrap()),
            )
        })
        .collect();
    let after = times(&channel);
    let found: BTreeMap<String, String> = after
        .iter()
        .map(|(path, (sha256, _))| (path.clone(), sha256.clone().unwrap()))
        .collect();
    assert_eq!(found, listed);
    for (path, (sha256, time)) in &after {
        let Some((was, earlier)) = before.get(path) else {
            continue;
        };
        assert!(
            time >= earlier,
            "the time of {path} fell from {earlier} to {time}"
        );
        if was == sha256 {
            assert_eq!(time, earlier, "the time of {path}");
        }
    }
}

/// A run in the same folder that knows nothing but when each package was first seen.
fn as_from_nothing(world: &World, run: &RunOp, expected: &Expected, ended: &Ended) {
    let fresh = world.scene.path("fresh");
    let channel = fresh.join("channel");
    afresh::copy_sources(&world.channel(), &channel);
    for (path, fate) in &expected.fates {
        if matches!(fate, Fate::Refused(_)) {
            std::fs::remove_file(channel.join(path)).unwrap();
        }
    }
    for subdir in SUBDIRS {
        std::fs::create_dir_all(channel.join(subdir)).unwrap();
        let mut packages = serde_json::Map::new();
        for (path, (sha256, time)) in times(&world.channel()) {
            if let Some(name) = path.strip_prefix(subdir) {
                let record = json!({"sha256": sha256, "indexed_timestamp": time});
                packages.insert(name[1..].to_owned(), record);
            }
        }
        // Another indexer's index: it binds nobody.
        let index = json!({"info": {"subdir": subdir}, "packages": packages});
        std::fs::write(
            channel.join(subdir).join("repodata.json"),
            index.to_string(),
        )
        .unwrap();
    }
    let plain = RunOp {
        by_binary: false,
        replace: None,
        resign: false,
        strict: true,
        dies: None,
        rehash: false,
        check_archives: false,
        ..run.clone()
    };
    let keys = world.scene.path("home/.conda/keys");
    let theirs = by_library(&plain, world.now, &channel, &fresh.join("cache.db"), &keys);
    assert_eq!(theirs.status, Some(0), "{theirs:?}");
    assert_eq!(theirs.report["signed"], json!([]));
    let difference = afresh::difference(&world.channel(), &channel);
    std::fs::remove_dir_all(fresh).unwrap();
    if let Some(difference) = difference {
        panic!(
            "another index than that of a run from nothing: {difference}\n{:#}",
            ended.report
        );
    }
}

/// `verify` says that all is well exactly when nothing is refused, unsigned or unverified, and no signature is left over.
fn verifies(world: &World, expected: &Expected) {
    let well = |fate: &Fate| matches!(fate, Fate::Kept | Fate::Signed);
    let channel = world.channel();
    let orphan = goods()
        .paths
        .iter()
        .any(|path| !channel.join(path).exists() && channel.join(format!("{path}.sig")).exists());
    let should = expected.fates.values().all(well) && !orphan;
    let (found, said) = verify(&world.scene);
    assert_eq!(found, should, "{expected:#?}\n{said}");
}

/// The same asked again, less what asks for something to be done each time.
fn does_nothing_again(world: &World, run: &RunOp, expected: &Expected) {
    // What was let go because it had changed counts as new from then on.
    let changed = Fate::Refused("changed since it was published");
    if expected.fates.values().any(|fate| *fate == changed) {
        return;
    }
    let again = RunOp {
        replace: None,
        resign: false,
        dies: None,
        rehash: false,
        ..run.clone()
    };
    let index = world.scene.snapshot("channel");
    let ended = start(world, &again);
    let all = format!("{:#}", ended.report);
    assert_eq!(ended.report["files"], json!([]), "{all}");
    assert_eq!(ended.report["deleted"], json!([]), "{all}");
    assert_eq!(ended.report["signed"], json!([]), "{all}");
    let refuses = expected
        .fates
        .values()
        .any(|fate| matches!(fate, Fate::Refused(_)));
    if !refuses && !run.without_cache && run.signs == Signs::All {
        assert_eq!(ended.report["counts"]["opened"], json!(0), "{all}");
    }
    assert!(
        world.scene.snapshot("channel") == index,
        "something was written: {all}"
    );
}
