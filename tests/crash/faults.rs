//! Each system call of a run fails or is the last one. Owns which faults each kind of call is given, and what the run
//! must do then.

use std::collections::BTreeMap;

use crate::check::{self, State};
use crate::loss::Disk;
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
        }
    }
}

/// The faults that a call is given.
pub fn faults_of(point: &Point) -> Vec<Fault> {
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
        _ => vec![Killed, Fails(EIO)],
    }
}

/// A scenario at rest: what it was, what it becomes, and the calls on the way.
pub struct Known {
    pub before: State,
    /// After the command.
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
    let before = check::state(scenario, scene);
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
    let after = check::state(scenario, scene);
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

/// Runs a scenario under a fault at a point, and then without.
pub fn try_one(
    scenario: &Scenario,
    scene: &Scene,
    known: &Known,
    at: u64,
    fault: Fault,
) -> Result<(), String> {
    scenario.prepare(scene);
    let run = traced(scene, scenario.command, &[fault.rule(at)]);
    let hit = run.points.get(usize::try_from(at).unwrap() - 1);
    let hit = hit.map_or("nothing".to_owned(), Point::shown);
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
    // A cache that can't be read is put aside, and said to be; one whose run was killed never is.
    if run.stdout.contains("is put aside") && matches!(fault, Fault::Fails(_)) {
        check::remove_cache_put_aside(scene);
    }
    heal(scenario, scene, known).map_err(said)
}

/// The next run, and one more, which finds nothing to do.
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
    let found = check::state(scenario, scene);
    match run.end {
        End::Hang => Err("it hung".to_owned()),
        End::Signal if scenario.indexes() => {
            let [found, before, after] =
                [&found, &known.before, &known.after].map(check::published);
            check::neither(&found, &before, &after).map_or(Ok(()), Err)
        }
        End::Signal => Ok(()),
        End::Exit(0) => match check::differ(&found, &known.after) {
            None => Ok(()),
            Some(why) => Err(format!("it says that all is well, and: {why}")),
        },
        // A package or signature that can't be read is refused.
        End::Exit(3) if scenario.indexes() => Ok(()),
        End::Exit(1) => {
            told(run, fault)?;
            // Where nothing can be written any more, nothing can be put back.
            if fault == Fault::Dead || !scenario.indexes() {
                return Ok(());
            }
            let [found, before] = [&found, &known.before].map(check::published);
            match check::differ(&found, &before) {
                None => Ok(()),
                Some(why) => Err(format!(
                    "it failed, and what was published is not as it was: {why}"
                )),
            }
        }
        End::Exit(status) => Err(format!("it ends with {status}")),
    }
}

/// An error names the file, or its folder, and what the system said.
fn told(run: &Traced, fault: Fault) -> Result<(), String> {
    let said = format!("{}{}", run.stderr, run.stdout);
    let Fault::Fails(error) = fault else {
        return match said.contains("error") {
            true => Ok(()),
            false => Err("it does not say what is wrong".to_owned()),
        };
    };
    let hit = run
        .points
        .iter()
        .find(|point| point.result == Some(i64::from(-error)));
    let Some(hit) = hit else {
        return Ok(());
    };
    // A temporary file is named by its place, which lies in the same folder; what lies in the scene, by that.
    let paths = [&hit.path, &hit.path2].map(|path| path.split('/').rev().take(3));
    let mut named = paths.into_iter().flatten().filter(|part| !part.is_empty());
    let named = !hit.path.contains('/') || named.any(|part| said.contains(part));
    // SQLite and what reads signed metadata have words of their own.
    let own = hit.path.starts_with("cache");
    match named && (own || said.contains(&format!("(os error {error})"))) {
        true => Ok(()),
        false => Err("it does not say which file, or why".to_owned()),
    }
}

/// How often what was tried.
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
