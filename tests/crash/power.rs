//! The power goes at any point of a run, and what was not synced is lost, or some of it. What is left is laid out anew,
//! read as a client reads it, and healed by the next plain run.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::check;
use crate::faults::{Known, known};
use crate::loss::Names;
use crate::plan::{asked, none, seed, workers};
use crate::scenario::{ALL_SCENARIOS, Scenario};
use crate::scene::Scene;
use crate::scene::builder::Random;
use crate::trace::{Point, tracer};

/// States of each scenario in a sample, and in the long form.
const SAMPLE: usize = 12;
const LONG: usize = 150;

#[test]
fn what_was_not_synced_is_lost_and_the_next_run_heals() {
    if tracer().is_none() {
        return;
    }
    let rounds = match asked().as_str() {
        "" => SAMPLE,
        _ => LONG,
    };
    // Each in the folder where it was recorded: where the cache lies depends on that.
    let wrong = workers(ALL_SCENARIOS, |scene, scenario| {
        let known = known(scenario, scene);
        let lost = (0..rounds).filter_map(|round| {
            let lost = lose(scenario, &known, round, scene).err();
            lost.map(|why| format!("{} {round}: {why}", scenario.name))
        });
        let lost: Vec<String> = lost.collect();
        lost.is_empty().then_some(()).ok_or_else(|| lost.join("\n"))
    });
    let jobs = ALL_SCENARIOS.len() * rounds;
    eprintln!("{} states after a loss of power (seed {})", jobs, seed());
    none(&wrong, "states");
}

/// After which call the power goes: the last, one that puts a file in its place, or any that changes something.
fn moment(known: &Known, round: usize, random: &mut Random) -> usize {
    let places = |point: &Point| {
        let is_cache = point.path.starts_with("cache");
        !is_cache && ["rename", "renamex", "unlink"].contains(&point.call.as_str())
    };
    let all = known.points.iter().enumerate();
    let chosen: Vec<usize> = match round % 4 {
        0 => Vec::new(),
        1 => all
            .filter(|(_, point)| point.changes())
            .map(|(at, _)| at)
            .collect(),
        _ => all
            .filter(|(_, point)| places(point))
            .map(|(at, _)| at)
            .collect(),
    };
    match chosen.len() as u64 {
        0 => known.points.len(),
        many => chosen[usize::try_from(random.below(many)).unwrap()] + 1,
    }
}

fn lose(scenario: &Scenario, known: &Known, round: usize, scene: &Scene) -> Result<(), String> {
    let name: u64 = scenario.name.bytes().map(u64::from).sum();
    let mut random = Random::new(seed() ^ (name << 32) ^ (round as u64));
    let at = moment(known, round, &mut random);
    let mut disk = known.disk.clone();
    known.points[..at]
        .iter()
        .for_each(|point| disk.follow(point, &known.data));
    let names = [
        Names::Any,
        Names::Any,
        Names::FromOneOn,
        Names::Any,
        Names::Kept,
    ][round % 5];
    let left = disk.left(names, &mut random);
    // Packages keep their times: with `--stat mtime-size` the cache that is left counts.
    scenario.prepare(scene);
    lay_out(&scene.path(""), &left);
    let last = known.points[at - 1].shown();
    let said = |why| format!("the power went after {last} ({names:?}): {why}");
    check::readable(scenario, scene).map_err(said)?;
    if at == known.points.len() && scenario.indexes() {
        // It said that it had published.
        let [found, wanted] =
            [&check::whole_state(scenario, scene), &known.after].map(check::published);
        if let Some(why) = check::differ(&found, &wanted) {
            return Err(said(format!("it had gone through, and: {why}")));
        }
    }
    match (scenario.indexes(), round % 2) {
        (true, 0) => scenario.heal_with(scene, &["--stat", "mtime-size"]),
        _ => scenario.heal(scene),
    }
    .map_err(said)?;
    check::healed(scenario, scene, &known.wanted).map_err(said)
}

/// Makes a folder hold these files and no others; files that are as they should be are left as they are.
fn lay_out(root: &Path, files: &std::collections::BTreeMap<String, Option<Vec<u8>>>) {
    let there = walkdir::WalkDir::new(root)
        .min_depth(1)
        .contents_first(true);
    for entry in there {
        let entry = entry.unwrap();
        let path = entry.path().strip_prefix(root).unwrap().to_str().unwrap();
        match (files.get(path), entry.file_type().is_dir()) {
            (None, true) => std::fs::remove_dir_all(entry.path()).unwrap(),
            (None, false) => std::fs::remove_file(entry.path()).unwrap(),
            (Some(_), _) => {}
        }
    }
    for (path, content) in files {
        let place = root.join(path);
        let is_private = path.starts_with("cache") || path.starts_with("home");
        let mode =
            |mode| std::fs::set_permissions(&place, std::fs::Permissions::from_mode(mode)).unwrap();
        match content {
            None => {
                std::fs::create_dir_all(&place).unwrap();
                mode(if is_private { 0o700 } else { 0o755 });
            }
            Some(content) => {
                if std::fs::read(&place).is_ok_and(|there| there == *content) {
                    continue;
                }
                std::fs::write(&place, content).unwrap();
                mode(if is_private { 0o600 } else { 0o644 });
            }
        }
    }
}
