//! Each system call of a run fails or is the last one. Owns which faults each kind of call is given, and what the run
//! must do then.

use std::collections::BTreeMap;

use crate::check::{self, State};
use crate::loss::Disk;
use crate::refused;
use crate::scenario::Scenario;
use crate::scene::Scene;
use crate::trace::{End, FILLING, Point, Traced, traced};

pub const EIO: i32 = 5;
pub const ENOENT: i32 = 2;
pub const EINTR: i32 = 4;
pub const EEXIST: i32 = 17;
pub const EMFILE: i32 = 24;
pub const ENOSPC: i32 = 28;
pub const EMLINK: i32 = 31;
pub const ENOLCK: i32 = 37;
pub const ESTALE: i32 = 116;
pub const EDQUOT: i32 = 122;

pub const SIGINT: i32 = 2;
pub const SIGTERM: i32 = 15;

/// A fault, as the tracer's rule without its points and calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Killed before the call.
    Killed,
    /// Killed after it.
    KilledAfter,
    /// The call fails.
    Fails(i32),
    /// It is done, and fails all the same.
    DoneAndFails(i32),
    /// Half of the bytes.
    Short,
    /// From here on, nothing more has room.
    Full,
    /// From here on, every call fails.
    Dead,
    /// Asked by this signal to stop.
    Asked(i32),
}

impl Fault {
    /// The tracer's rule.
    pub fn rule(self, at: u64) -> String {
        match self {
            Fault::Killed => format!("{at}:{at}:*:k"),
            Fault::KilledAfter => format!("{at}:{at}:*:K"),
            Fault::Fails(error) => format!("{at}:{at}:*:e{error}"),
            Fault::DoneAndFails(error) => format!("{at}:{at}:*:d{error}"),
            Fault::Short => format!("{at}:{at}:*:s"),
            Fault::Full => format!("{at}:0:{FILLING}:e{ENOSPC}"),
            Fault::Dead => format!("{at}:0:*:e{EIO}"),
            Fault::Asked(signal) => format!("{at}:{at}:*:i{signal}"),
        }
    }

    /// Its kind, for the count.
    pub fn kind(self) -> &'static str {
        match self {
            Fault::Killed | Fault::KilledAfter => "killed",
            Fault::Fails(EIO) => "EIO",
            Fault::Fails(ENOSPC) => "ENOSPC",
            Fault::Fails(EDQUOT) => "EDQUOT",
            Fault::Fails(EMFILE) => "EMFILE",
            Fault::Fails(ESTALE) => "ESTALE",
            Fault::Fails(EINTR) => "EINTR",
            Fault::Fails(_) => "other errors",
            Fault::DoneAndFails(_) => "done, and an error all the same",
            Fault::Short => "half written or read",
            Fault::Full => "full from here on",
            Fault::Dead => "dead from here on",
            Fault::Asked(SIGINT) => "SIGINT",
            Fault::Asked(_) => "SIGTERM",
        }
    }
}

/// The faults that a call is given, as far as they can hit it: what fails by itself isn't done, and one byte has no half.
/// At each the run is asked to stop, by SIGINT and SIGTERM in turns.
pub fn faults_of(point: &Point) -> Vec<Fault> {
    let mut faults = all_faults_of(point);
    faults.push(match point.number % 2 {
        0 => Fault::Asked(SIGINT),
        _ => Fault::Asked(SIGTERM),
    });
    let result = point.result.unwrap_or_default();
    faults.retain(|fault| match fault {
        Fault::DoneAndFails(_) | Fault::KilledAfter => result >= 0,
        Fault::Short => result > 1,
        _ => true,
    });
    faults
}

fn all_faults_of(point: &Point) -> Vec<Fault> {
    use Fault::{Dead, DoneAndFails, Fails, Full, Killed, KilledAfter, Short};
    let there = point.result.is_some_and(|result| result >= 0);
    match point.call.as_str() {
        "create" => vec![
            Killed,
            Fails(EIO),
            Fails(ENOSPC),
            Fails(EDQUOT),
            Fails(EMFILE),
            Fails(ESTALE),
            Full,
        ],
        "open" | "opendir" | "openat2" if there => {
            vec![Fails(EIO), Fails(EMFILE), Fails(ESTALE), Fails(EINTR)]
        }
        "open" | "opendir" | "openat2" => vec![Fails(EIO), Fails(EMFILE)],
        "read" => vec![Fails(EIO), Short, Fails(EINTR)],
        "list" | "stat" | "fstat" | "access" | "readlink" => vec![Fails(EIO), Fails(ESTALE)],
        "write" | "pwrite" | "writev" | "pwritev" | "copy" => {
            vec![
                Killed,
                KilledAfter,
                Fails(EIO),
                Fails(ENOSPC),
                Fails(EDQUOT),
                Short,
                Fails(EINTR),
                Full,
            ]
        }
        "fsync" | "syncdir" | "syncfs" => {
            vec![
                Killed,
                KilledAfter,
                Fails(EIO),
                Fails(ENOSPC),
                Fails(EDQUOT),
                Dead,
            ]
        }
        "rename" | "renamex" => {
            vec![
                Killed,
                KilledAfter,
                Fails(EIO),
                Fails(ENOSPC),
                Fails(EDQUOT),
                Dead,
                DoneAndFails(EIO),
                DoneAndFails(ENOENT),
            ]
        }
        "link" => vec![
            Killed,
            Fails(EIO),
            Fails(ENOSPC),
            Fails(EMLINK),
            Full,
            Dead,
            DoneAndFails(EEXIST),
        ],
        "unlink" | "rmdir" => vec![
            Killed,
            Fails(EIO),
            Dead,
            DoneAndFails(ENOENT),
            DoneAndFails(EIO),
        ],
        "mkdir" if there => vec![
            Killed,
            KilledAfter,
            Fails(EIO),
            Fails(ENOSPC),
            Full,
            DoneAndFails(EEXIST),
        ],
        "mkdir" => vec![Killed, Fails(EIO)],
        "flock" | "lock" => vec![Fails(EIO), Fails(ENOLCK)],
        "ftruncate" | "fallocate" | "symlink" => vec![Killed, Fails(EIO), Fails(ENOSPC)],
        _ => vec![Killed, Fails(EIO)],
    }
}

/// A scenario at rest: what it was, what it becomes, and the calls on the way.
pub struct Known {
    pub before: State,
    /// After the command; like `before` with what is signed of the index.
    pub after: State,
    /// After the next run.
    pub wanted: State,
    pub points: Vec<Point>,
    /// The bytes that the calls wrote.
    pub data: Vec<u8>,
    /// The disk before.
    pub disk: Disk,
}

/// Runs a scenario without faults.
pub fn known(scenario: &Scenario, scene: &Scene) -> Known {
    scenario.prepare(scene);
    let before = check::whole_state(scenario, scene);
    let disk = Disk::of(&scene.path(""));
    let run = traced(scene, scenario.command, &[]);
    assert_eq!(
        run.end,
        End::Exit(0),
        "{}: {}{}",
        scenario.name,
        run.stdout,
        run.stderr
    );
    let after = check::whole_state(scenario, scene);
    scenario.heal(scene).unwrap();
    let wanted = check::state(scenario, scene);
    check::healed(scenario, scene, &wanted)
        .unwrap_or_else(|why| panic!("{}: {why}", scenario.name));
    Known {
        before,
        after,
        wanted,
        points: run.points,
        data: run.data,
        disk,
    }
}

/// What became of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Struck {
    /// It hit the call that was meant.
    AsMeant,
    /// It hit another: threads took their turns otherwise.
    Another,
    /// It hit nothing.
    Nothing,
}

fn struck(known: &Known, run: &Traced, at: u64) -> Struck {
    let meant = known.points.iter().find(|point| point.number == at);
    match run.hit() {
        None => Struck::Nothing,
        Some(hit) if meant.is_some_and(|meant| meant.call == hit.call) => Struck::AsMeant,
        Some(_) => Struck::Another,
    }
}

/// Runs a scenario under a fault at a point, and then without.
pub fn try_one(
    scenario: &Scenario,
    scene: &Scene,
    known: &Known,
    at: u64,
    fault: Fault,
) -> Result<Struck, String> {
    scenario.prepare(scene);
    let run = traced(scene, scenario.command, &[fault.rule(at)]);
    let hit = run.hit().map_or("nothing".to_owned(), Point::shown);
    let said = |why: String| {
        let Traced {
            end,
            stdout,
            stderr,
            ..
        } = &run;
        format!("{fault:?} at {hit}: {why}\n  it ended with {end:?} and said: {stdout}{stderr}")
    };
    after(scenario, scene, known, &run, fault).map_err(said)?;
    check::readable(scenario, scene).map_err(said)?;
    if matches!(fault, Fault::Fails(_)) {
        excuse(&run, scene);
    }
    heal(scenario, scene, known).map_err(said)?;
    Ok(struck(known, &run, at))
}

/// Takes away a cache that couldn't be read and was put aside, where that is said; one whose run was killed never is.
pub fn excuse(run: &Traced, scene: &Scene) {
    if run.stdout.contains("is put aside") || run.stderr.contains("is put aside") {
        check::remove_cache_put_aside(scene);
    }
}

/// The next run, after which all is as a run without faults leaves it.
pub fn heal(scenario: &Scenario, scene: &Scene, known: &Known) -> Result<(), String> {
    scenario.heal(scene)?;
    check::healed(scenario, scene, &known.wanted)
}

/// What a run may leave and say after a fault.
fn after(
    scenario: &Scenario,
    scene: &Scene,
    known: &Known,
    run: &Traced,
    fault: Fault,
) -> Result<(), String> {
    if run.stderr.contains("panicked") {
        return Err("it panicked".to_owned());
    }
    let found = check::whole_state(scenario, scene);
    let (before, after) = (&known.before, &known.after);
    match run.end {
        End::Hang => Err("it hung".to_owned()),
        End::Signal if scenario.indexes() => {
            let [found, before, after] = [&found, before, after].map(check::published);
            check::neither(&found, &before, &after).map_or(Ok(()), Err)
        }
        End::Signal => check::neither(&found, before, after).map_or(Ok(()), Err),
        End::Stopped(_) => ended_by_signal(scenario, &found, known),
        End::Exit(130) => interrupted(scenario, &found, known, run, fault),
        End::Exit(0) => match check::differ(&found, &known.after) {
            None => Ok(()),
            Some(why) => Err(format!("it says that all is well, and: {why}")),
        },
        // A package or signature that can't be read is refused.
        End::Exit(3) if scenario.indexes() && !matches!(fault, Fault::Asked(_)) => {
            refused::all_others_are_published(scenario, scene, &run.stdout, [before, after])
        }
        // What came of a signal is never another error.
        End::Exit(1) if !matches!(fault, Fault::Asked(_)) => {
            told(run, fault)?;
            failed(scenario, &found, known, fault)
        }
        End::Exit(status) => Err(format!("it ends with {status}")),
    }
}

/// What a run leaves that was asked to stop, and did: it says so, and what was published is as it was.
fn interrupted(
    scenario: &Scenario,
    found: &State,
    known: &Known,
    run: &Traced,
    fault: Fault,
) -> Result<(), String> {
    if !matches!(fault, Fault::Asked(_)) {
        return Err("nobody asked it to stop".to_owned());
    }
    let is_said = |line: &&str| line.starts_with("error: interrupted;");
    match run.stderr.lines().filter(is_said).count() {
        1 => failed(scenario, found, known, fault),
        // One that waits for its turn is ended at once, and has nothing to tell of.
        0 => check::differ(found, &known.before).map_or(Ok(()), |why| {
            Err(format!(
                "it does not say that it was interrupted, and: {why}"
            ))
        }),
        _ => Err("it says twice that it was interrupted".to_owned()),
    }
}

/// What a run leaves that was ended by a signal. `keygen` and `trust` have no handler, as they are done at once or wait
/// for a prompt; the others have one before they change anything.
fn ended_by_signal(scenario: &Scenario, found: &State, known: &Known) -> Result<(), String> {
    let (before, after) = (&known.before, &known.after);
    match scenario.indexes() || scenario.signs_files() {
        true => check::differ(found, before).map_or(Ok(()), Err),
        false => check::neither(found, before, after).map_or(Ok(()), Err),
    }
}

/// What a run leaves that says that it failed.
fn failed(scenario: &Scenario, found: &State, known: &Known, fault: Fault) -> Result<(), String> {
    let (before, after) = (&known.before, &known.after);
    if fault == Fault::Dead && scenario.indexes() {
        // Where nothing can be written any more, nothing can be put back.
        let [found, before, after] = [found, before, after].map(check::published);
        return check::neither(&found, &before, &after).map_or(Ok(()), Err);
    }
    if scenario.indexes() {
        let [found, before, after] = [found, before, after].map(check::published);
        let why = check::differ(&check::named(&found, &before, &after), &before);
        let said = "it failed, and what was published is not as it was";
        return why.map_or(Ok(()), |why| Err(format!("{said}: {why}")));
    }
    // Each signature is whole by itself, and stays.
    if fault == Fault::Dead || scenario.signs_files() {
        return check::neither(found, before, after).map_or(Ok(()), Err);
    }
    let as_before = check::differ(&check::named(found, before, after), before);
    match (as_before, check::differ(found, after)) {
        (None, _) | (_, None) => Ok(()),
        (Some(why), _) => Err(format!("it failed, and something is half done: {why}")),
    }
}

/// An error names the file, or its folder, what the system said, and what to do.
fn told(run: &Traced, fault: Fault) -> Result<(), String> {
    let said = format!("{}{}", run.stderr, run.stdout);
    let error = match fault {
        Fault::Fails(error) | Fault::DoneAndFails(error) => error,
        Fault::Full => ENOSPC,
        Fault::Dead => EIO,
        Fault::Killed | Fault::KilledAfter | Fault::Short | Fault::Asked(_) => {
            let is_told = said.contains("error: ");
            return is_told
                .then_some(())
                .ok_or("it does not say what is wrong".to_owned());
        }
    };
    let mut hits = run.points.iter().filter(|point| point.hit).peekable();
    if hits.peek().is_none() {
        return Ok(());
    }
    match hits.any(|hit| said.lines().any(|line| is_told(line, hit, error))) {
        true => Ok(()),
        false => Err("it does not say which file, why, and what to do".to_owned()),
    }
}

/// Whether a line tells of an error at a call, and what to do about it.
fn is_told(line: &str, hit: &Point, error: i32) -> bool {
    let is_named = [&hit.path, &hit.path2].into_iter().any(|path| {
        let (folder, name) = path.rsplit_once('/').unwrap_or((".", path));
        let parts: Vec<&str> = path.split('/').collect();
        let word = match parts.as_slice() {
            // What is remembered is named by its folder.
            ["cache", "sigindex", own, ..] => own,
            // A temporary file by its place, which lies in the same folder.
            _ if name.starts_with(".sigindex-") => folder,
            _ => name,
        };
        !path.is_empty() && (word == "." || line.contains(word))
    });
    // SQLite has words of its own.
    let system = format!("(os error {error})");
    let is_own = hit.path.starts_with("cache") || line.contains("the cache can't be");
    let cause = match is_own {
        true => line.split_once(": ").map(|(_, rest)| rest),
        false => line.split_once(&system).map(|(_, rest)| rest),
    };
    is_named && cause.is_some_and(|rest| rest.contains("; "))
}

/// Counts by what they count.
#[derive(Default)]
pub struct Tried(BTreeMap<String, usize>);

impl Tried {
    pub fn count(&mut self, what: &str) {
        *self.0.entry(what.to_owned()).or_default() += 1;
    }

    pub fn shown(&self) -> String {
        let parts: Vec<_> = self
            .0
            .iter()
            .map(|(what, count)| format!("{count} {what}"))
            .collect();
        parts.join(", ")
    }
}
