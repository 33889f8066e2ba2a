//! Habits of network file systems and of odd ones: calls that are not there, names that come late, errors of what was
//! done. Owns the table of habits and what a run must do under each.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::check;
use crate::faults::{EEXIST, EINTR, EIO, ENOENT, ENOLCK, ESTALE, Known, excuse, heal};
use crate::plan::{all_known, asked, hit_enough, none, workers};
use crate::scenario::Scenario;
use crate::scene::Scene;
use crate::trace::{End, traced, tracer};

const EPERM: i32 = 1;
const EINVAL: i32 = 22;
const ENOSYS: i32 = 38;
const EOPNOTSUPP: i32 = 95;

/// What must come out.
#[derive(Clone, Copy)]
enum Must {
    /// As if nothing were odd.
    Work,
    /// It fails, and says this; with this flag it works.
    Say(&'static str, &'static str),
}

/// A habit: calls, what they do, at which of them (0: all), and what must come out.
struct Habit(&'static str, String, Must);

fn habits() -> Vec<Habit> {
    let all = |calls: &str, error: i32| format!("1:0:{calls}:e{error}");
    let mut habits = Vec::new();
    let no_locks = Must::Say("--no-lock", "--no-lock");
    for error in [ENOLCK, ENOSYS, EOPNOTSUPP] {
        habits.push(Habit(
            "no flock in the channel",
            all("flock", error),
            no_locks,
        ));
    }
    for error in [ENOSYS, EPERM] {
        habits.push(Habit("no openat2", all("openat2", error), Must::Work));
    }
    for error in [EPERM, EOPNOTSUPP, 31] {
        habits.push(Habit("no hard links", all("link", error), Must::Work));
    }
    for error in [EINVAL, ENOSYS] {
        habits.push(Habit(
            "no renames that never replace",
            all("renamex", error),
            Must::Work,
        ));
    }
    for error in [EINVAL, EOPNOTSUPP] {
        habits.push(Habit(
            "folders can't be synced",
            all("syncdir", error),
            Must::Work,
        ));
    }
    habits.push(Habit("no syncfs", all("syncfs", ENOSYS), Must::Work));
    habits.push(Habit(
        "fchown is not for users",
        all("chown", EPERM),
        Must::Work,
    ));
    habits
}

/// At how many looks at the folder of shards it comes late, in each scenario.
const MOST_OF_SHARDS: usize = 6;

/// The scenarios in which habits are tried.
const SCENARIOS: [&str; 6] = [
    "first publication",
    "one package more, all files, patches",
    "all signed anew",
    "one package more, signed index",
    "files signed",
    "a key made",
];

#[test]
fn a_run_lives_with_the_habits_of_network_file_systems() {
    if tracer().is_none() {
        return;
    }
    let habits = habits();
    let scenarios = all_known()
        .iter()
        .filter(|(one, _)| SCENARIOS.contains(&one.name));
    let jobs: Vec<_> = scenarios
        .flat_map(|one| habits.iter().map(move |habit| (one, habit)))
        .collect();
    let met = Mutex::new(BTreeMap::<&str, usize>::new());
    let wrong = workers(&jobs, |scene, ((scenario, known), habit)| {
        let Habit(name, rule, must) = habit;
        let is_met = live_with(scene, (scenario, known), rule, *must)
            .map_err(|why| format!("{}: {name} ({rule}): {why}", scenario.name))?;
        *met.lock().unwrap().entry(rule).or_default() += usize::from(is_met);
        Ok(())
    });
    let met = met.into_inner().unwrap();
    eprintln!(
        "{} runs under {} habits; {} met them",
        jobs.len(),
        habits.len(),
        met.values().sum::<usize>()
    );
    none(&wrong, "runs");
    let unmet = met.iter().find(|(_, count)| **count == 0);
    assert_eq!(unmet, None, "no run met this habit");
}

/// Whether the run met the habit.
fn live_with(
    scene: &Scene,
    (scenario, known): (&Scenario, &Known),
    rule: &str,
    must: Must,
) -> Result<bool, String> {
    scenario.prepare(scene);
    let rules = [rule.to_owned()];
    let mut run = traced(scene, scenario.command, &rules);
    if let Must::Say(text, flag) = must
        && scenario.indexes()
    {
        if run.end != End::Exit(1) || !run.stderr.contains(text) {
            return Err(format!(
                "it ends with {:?} and says {}",
                run.end, run.stderr
            ));
        }
        // The keys folder lies on a disk of this machine, and has locks.
        let own = known
            .points
            .iter()
            .filter(|point| point.call == "flock" && point.path.starts_with("home"));
        if own.count() > 0 {
            return Ok(true);
        }
        scenario.prepare(scene);
        run = traced(scene, &[scenario.command, &[flag]].concat(), &rules);
    }
    let said = |why: String| format!("{why}\n  it said: {}{}", run.stdout, run.stderr);
    check::readable(scenario, scene).map_err(said)?;
    match (run.end, must) {
        (End::Exit(0), _) => {
            let found = check::whole_state(scenario, scene);
            check::differ(&found, &known.after).map_or(Ok(()), |why| Err(said(why)))?;
        }
        (_, Must::Say(..)) if !scenario.indexes() => {}
        (end, _) => return Err(said(format!("it ends with {end:?}"))),
    }
    heal(scenario, scene, known).map_err(said)?;
    Ok(run.hit().is_some())
}

/// Names that come late or stay away for a while, handles that go stale, and answers that are lost. `SIGINDEX_POINTS=late`
/// tries every eighth call of each kind in every scenario.
#[test]
fn a_name_that_comes_late_or_an_answer_that_is_lost_does_no_harm() {
    if tracer().is_none() {
        return;
    }
    let all = asked() == "late";
    let mut jobs = Vec::new();
    for (at, one) in all_known().iter().enumerate() {
        // Of most scenarios a sample that is spread over them; of the one with all kinds of calls more.
        let (every, step) = match one.0.name {
            _ if all => (8, 1),
            "one package more, signed index" => (16, 1),
            _ => (64, 8),
        };
        let rules = rules_of(&one.1, every).into_iter().enumerate();
        let rules = rules.filter(|(number, (must, _))| *must || number % step == at % step);
        jobs.extend(rules.map(|(_, (_, rule))| (one, rule)));
    }
    let missed = Mutex::new(Vec::new());
    let wrong = workers(&jobs, |scene, ((scenario, known), rule)| {
        let is_hit = late(scene, scenario, known, rule)
            .map_err(|why| format!("{}: {rule}: {why}", scenario.name))?;
        if !is_hit {
            missed.lock().unwrap().push(rule);
        }
        Ok(())
    });
    let missed = missed.into_inner().unwrap();
    eprintln!(
        "{} late names, stale handles and lost answers; {} hit nothing: {missed:?}",
        jobs.len() - missed.len(),
        missed.len()
    );
    none(&wrong, "runs");
    hit_enough(missed.len(), jobs.len());
}

/// The rules for the first call of each kind in a run, and every so often one, and whether they are of the folder of
/// shards: what is not seen in it is not missed by anything else.
fn rules_of(known: &Known, every: usize) -> Vec<(bool, String)> {
    let mut rules = Vec::new();
    let mut calls = BTreeMap::<&str, usize>::new();
    let mut shards = 0;
    for point in &known.points {
        let seen = calls.entry(&point.call).or_default();
        let is_looked_at = matches!(point.call.as_str(), "open" | "openat2" | "stat" | "opendir");
        let of_shards = is_looked_at && point.path.ends_with("/shards") && shards < MOST_OF_SHARDS;
        shards += usize::from(of_shards);
        let is_chosen = of_shards || seen.is_multiple_of(every);
        *seen += 1;
        if !is_chosen || point.result.is_none_or(|result| result < 0) {
            continue;
        }
        let (at, after) = (point.number, point.number + 5);
        let once = |what: String| format!("{at}:{at}:*:{what}");
        if of_shards {
            rules.push((true, once(format!("e{ENOENT}"))));
            continue;
        }
        let mut add = |rule: String| rules.push((false, rule));
        match point.call.as_str() {
            "open" | "openat2" | "stat" => {
                add(once(format!("e{ENOENT}")));
                add(format!("{at}:{after}:{}:e{ENOENT}", point.call));
            }
            "list" => add(once("h".to_owned())),
            "rename" | "renamex" => add(once(format!("d{EIO}"))),
            "mkdir" | "link" => add(once(format!("d{EEXIST}"))),
            "unlink" => add(once(format!("d{ENOENT}"))),
            _ => {}
        }
        add(once(format!("e{ESTALE}")));
        add(once(format!("e{EINTR}")));
    }
    rules
}

/// Whether the rule hit something.
fn late(scene: &Scene, scenario: &Scenario, known: &Known, rule: &str) -> Result<bool, String> {
    scenario.prepare(scene);
    let run = traced(scene, scenario.command, &[rule.to_owned()]);
    let said = |why: String| {
        format!(
            "{why}\n  it ended with {:?} and said: {}{}",
            run.end, run.stdout, run.stderr
        )
    };
    if !matches!(run.end, End::Exit(0 | 1 | 3)) {
        return Err(said("it ends otherwise".to_owned()));
    }
    check::readable(scenario, scene).map_err(said)?;
    excuse(&run, scene);
    heal(scenario, scene, known).map_err(said)?;
    Ok(run.hit().is_some())
}
