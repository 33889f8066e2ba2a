//! Which points are tried, by how many workers, and what is told of it. Owns the sample and the count.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use crate::faults::{EIO, ENOSPC, Fault, Known, Struck, Tried, faults_of, heal, known, try_one};
use crate::scenario::{ALL_SCENARIOS, Scenario};
use crate::scene::Scene;
use crate::scene::builder::Random;
use crate::trace::{End, Point, traced, tracer};

/// Faults of each scenario in a sample, and those killed twice.
const SAMPLE: usize = 16;
const TWICE: usize = 1;
/// The same in the long form.
const TWICE_LONG: usize = 200;

/// What is asked by the environment.
pub fn asked() -> String {
    std::env::var("SIGINDEX_POINTS").unwrap_or_default()
}

pub fn seed() -> u64 {
    let seed = std::env::var("SIGINDEX_SEED").ok();
    seed.and_then(|seed| seed.parse().ok()).unwrap_or(6)
}

/// Jobs, done by workers with a scene each; what is wrong, a line each.
pub fn workers<'j, J: Sync>(
    jobs: &'j [J],
    work: impl Fn(&Scene, &'j J) -> Result<(), String> + Sync,
) -> Vec<String> {
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads.min(8) {
            scope.spawn(|| {
                let scene = Scene::without_key();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(number) else { break };
                    if number > 0 && number % 500 == 0 {
                        eprintln!("{number} of {} are done", jobs.len());
                    }
                    if let Err(why) = work(&scene, job) {
                        eprintln!("WRONG {why}");
                        wrong.lock().unwrap().push(why);
                    }
                }
            });
        }
    });
    wrong.into_inner().unwrap()
}

/// Fails with what is wrong.
pub fn none(wrong: &[String], tried: &str) {
    let shown = wrong
        .iter()
        .take(10)
        .cloned()
        .collect::<Vec<_>>()
        .join("\n");
    assert!(
        wrong.is_empty(),
        "{} of {tried} went wrong:\n{shown}",
        wrong.len()
    );
}

/// Scenarios with what they are without faults.
pub fn all_known() -> &'static [(&'static Scenario, Known)] {
    static KNOWN: OnceLock<Vec<(&'static Scenario, Known)>> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let found = Mutex::new(Vec::new());
        let wrong = workers(ALL_SCENARIOS, |scene, scenario| {
            let known = known(scenario, scene);
            found.lock().unwrap().push((scenario, known));
            Ok(())
        });
        assert!(wrong.is_empty());
        let mut found = found.into_inner().unwrap();
        found.sort_by_key(|(scenario, _)| scenario.name);
        found
    })
}

/// One fault at one point of one scenario.
type One<'k> = (&'k (&'static Scenario, Known), &'k Point, Fault);

fn choose<'k>(all: &'k [(&'static Scenario, Known)]) -> Vec<One<'k>> {
    let asked = asked();
    let name = asked.split(':').next().unwrap_or_default();
    let is_name = ALL_SCENARIOS.iter().any(|one| one.name == name);
    let point: Option<u64> = asked.split(':').nth(1).and_then(|point| point.parse().ok());
    let mut each: Vec<One<'k>> = Vec::new();
    for known in all.iter().filter(|one| !is_name || one.0.name == name) {
        for at in &known.1.points {
            if point.is_none_or(|point| point == at.number) {
                each.extend(faults_of(at).into_iter().map(|fault| (known, at, fault)));
            }
        }
    }
    match name {
        "" => sample(each),
        "all" => part(every(each), asked.split(':').nth(1)),
        "signals" => part(signals(each), asked.split(':').nth(1)),
        "turns" => part(in_turn(each), asked.split(':').nth(1)),
        _ => {
            assert!(is_name, "{name}: there is no such scenario");
            each
        }
    }
}

/// The faults that every point is given in the long form.
const ALWAYS: [Fault; 3] = [Fault::Killed, Fault::Fails(EIO), Fault::Fails(ENOSPC)];

/// Of every point both errors, as far as they can come of it, and a kill and a signal to stop where it changes something;
/// those first.
fn every(each: Vec<One<'_>>) -> Vec<One<'_>> {
    let mut each = shuffled(each);
    each.retain(|(_, point, fault)| match fault {
        Fault::Killed => point.changes() && point.result.is_some_and(|result| result >= 0),
        Fault::Asked(_) => point.changes(),
        fault => ALWAYS.contains(fault),
    });
    each.sort_by_key(|(_, point, _)| !point.changes());
    each
}

/// Every point, at which the run is asked to stop.
fn signals(each: Vec<One<'_>>) -> Vec<One<'_>> {
    let mut each = shuffled(each);
    each.retain(|(_, _, fault)| matches!(fault, Fault::Asked(_)));
    each
}

/// Of every point one of the other faults, by turns.
fn in_turn(each: Vec<One<'_>>) -> Vec<One<'_>> {
    let mut each = shuffled(each);
    each.retain(|(_, point, fault)| {
        let mut others = faults_of(point);
        others.retain(|one| !ALWAYS.contains(one));
        let turn = usize::try_from(point.number + seed()).unwrap();
        let turn = turn.checked_rem(others.len());
        turn.is_some_and(|turn| others[turn] == *fault)
    });
    each
}

/// The second of eight parts, where `2/8` is asked; else all.
fn part<T>(all: Vec<T>, asked: Option<&str>) -> Vec<T> {
    let Some(asked) = asked else { return all };
    let parts = asked.split_once('/').expect("`I/N` names a part");
    let (part, of): (usize, usize) = (parts.0.parse().unwrap(), parts.1.parse().unwrap());
    assert!((1..=of).contains(&part), "{asked}: there is no such part");
    let each = all.into_iter().skip(part - 1);
    each.step_by(of).collect()
}

fn shuffled<T>(mut all: Vec<T>) -> Vec<T> {
    let mut random = Random::new(seed());
    for at in (1..all.len()).rev() {
        all.swap(at, usize::try_from(random.below(at as u64 + 1)).unwrap());
    }
    all
}

/// Every fault of every call once, one signal at each call, and of every scenario so many.
fn sample(each: Vec<One<'_>>) -> Vec<One<'_>> {
    let mut each = shuffled(each);
    let (mut kinds, mut counts) = (BTreeSet::new(), BTreeMap::<&str, usize>::new());
    each.retain(|(known, point, fault)| {
        if let Fault::Asked(_) = fault {
            return kinds.insert((point.call.clone(), Fault::Asked(0)));
        }
        let count = counts.entry(known.0.name).or_default();
        let is_new = kinds.insert((point.call.clone(), *fault));
        let taken = is_new || (*count < SAMPLE && point.changes());
        *count += usize::from(taken);
        taken
    });
    each
}

#[test]
fn a_fault_at_any_point_leaves_a_whole_channel_that_the_next_run_heals() {
    if tracer().is_none() {
        return;
    }
    let all = all_known();
    let points: usize = all.iter().map(|(_, known)| known.points.len()).sum();
    let chosen = choose(all);
    let count = Mutex::new(Count::default());
    let wrong = workers(&chosen, |scene, ((scenario, known), point, fault)| {
        let tried = try_one(scenario, scene, known, point.number, *fault);
        let at = format!("{}:{}", scenario.name, point.number);
        let tried = tried.map_err(|why| format!("{at}: {why}"))?;
        count.lock().unwrap().add(at, point, *fault, tried);
        Ok(())
    });
    let count = count.into_inner().unwrap();
    let (tried, scenarios, seed) = (count.points.len(), all.len(), seed());
    eprintln!(
        "{} faults planned; {} tried at {tried} of {points} points of {scenarios} scenarios (seed {seed}), {} of them at another call; {} hit nothing: {:?}",
        chosen.len(),
        count.tried,
        count.elsewhere,
        count.missed.len(),
        count.missed
    );
    eprintln!(
        "  by kind: {}\n  by call: {}",
        count.kinds.shown(),
        count.calls.shown()
    );
    none(&wrong, "faults");
    hit_enough(count.missed.len(), chosen.len());
}

/// What was tried: faults that hit something.
#[derive(Default)]
struct Count {
    tried: usize,
    /// Of these, those that another call got, because threads took their turns otherwise.
    elsewhere: usize,
    missed: Vec<String>,
    kinds: Tried,
    calls: Tried,
    points: BTreeSet<String>,
}

impl Count {
    fn add(&mut self, at: String, point: &Point, fault: Fault, struck: Struck) {
        if struck == Struck::Nothing {
            self.missed.push(format!("{at} {} {fault:?}", point.call));
            return;
        }
        self.tried += 1;
        self.elsewhere += usize::from(struck == Struck::Another);
        self.kinds.count(fault.kind());
        self.calls.count(&point.call);
        self.points.insert(at);
    }
}

/// Fails where more faults hit nothing than threads explain, which take their turns as they like: one in two hundred.
pub fn hit_enough(missed: usize, planned: usize) {
    assert!(
        missed <= planned.div_ceil(200),
        "{missed} of {planned} faults hit nothing"
    );
}

#[test]
fn a_run_that_is_killed_twice_is_healed() {
    if tracer().is_none() {
        return;
    }
    let all = all_known();
    let rounds = match asked().as_str() {
        "" => TWICE,
        _ => TWICE_LONG,
    };
    let jobs: Vec<_> = all
        .iter()
        .flat_map(|one| (0..rounds).map(move |round| (one, round)))
        .collect();
    let (first, second) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let wrong = workers(&jobs, |scene, ((scenario, known), round)| {
        let name: u64 = scenario.name.bytes().map(u64::from).sum();
        let mut random = Random::new(seed() ^ (name << 32) ^ (*round as u64));
        let at: Vec<u64> = (0..2)
            .map(|_| 1 + random.below(known.points.len() as u64))
            .collect();
        let said = |why| format!("{}: killed at {at:?}: {why}", scenario.name);
        let killed = twice(scenario, scene, known, &at).map_err(said)?;
        for (count, killed) in [&first, &second].into_iter().zip(killed) {
            count.fetch_add(usize::from(killed), Ordering::Relaxed);
        }
        Ok(())
    });
    let (first, second) = (first.into_inner(), second.into_inner());
    eprintln!(
        "{} runs: {first} killed, and {second} of them again by the run that follows (seed {})",
        jobs.len(),
        seed()
    );
    none(&wrong, "runs");
    hit_enough(jobs.len() - first, jobs.len());
    assert!(second > 0, "no run was killed twice");
}

/// Which of the two runs were killed.
fn twice(
    scenario: &Scenario,
    scene: &Scene,
    known: &Known,
    at: &[u64],
) -> Result<Vec<bool>, String> {
    scenario.prepare(scene);
    let mut killed = Vec::new();
    for at in at {
        let run = traced(scene, scenario.command, &[Fault::Killed.rule(*at)]);
        match run.end {
            // The second run may have less to do, or nothing.
            End::Signal | End::Exit(0 | 1) => {}
            end => return Err(format!("it ended with {end:?}")),
        }
        killed.push(run.hit().is_some());
        crate::check::readable(scenario, scene)?;
    }
    heal(scenario, scene, known)?;
    Ok(killed)
}
