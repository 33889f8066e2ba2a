//! Bars, held against what was measured. Owns what counts as met; it must not know how that is printed.

use crate::arena::Line;
use crate::contender::Member;
use crate::process::Cost;
use crate::rows::{Bar, Floor, Ours, Setting, Task, Work};

/// All that was measured of one kind of runs in one setting.
pub struct Measured {
    pub setting: Setting,
    pub task: Task,
    pub lines: Vec<Line>,
}

/// What was said of one bar.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The line that it is about.
    pub about: Member,
    /// The bar, in words.
    pub bar: String,
    /// What was measured, in the bar's unit, where all of it was.
    pub value: Option<f64>,
    /// Whether that is enough.
    pub is_met: bool,
}

impl Measured {
    /// What every bar of this task comes to; some look at other measurements.
    pub fn verdicts(&self, all: &[Measured]) -> Vec<Verdict> {
        let bars = self.task.bars.iter();
        bars.map(|bar| self.verdict(bar, all)).collect()
    }

    fn verdict(&self, bar: &Bar, all: &[Measured]) -> Verdict {
        let at_most = |about, bar, value: Option<f64>, most: f64| Verdict {
            about,
            bar,
            value,
            is_met: value.is_some_and(|value| value <= most),
        };
        match *bar {
            Bar::Faster { ours, than, times } => {
                let about = Member::Peer(than.to_owned());
                let value = ratio(self.seconds(&about), self.ours(ours));
                Verdict {
                    bar: format!("≥ {times} × {}", ours.name()),
                    is_met: value.is_some_and(|value| value >= times),
                    value,
                    about,
                }
            }
            Bar::Within {
                ours,
                floors,
                times,
            } => {
                let (about, slowest) = self.slowest(floors);
                let value = ratio(self.ours(ours), slowest);
                let bar = format!("{} ≤ {times} × this", ours.name());
                at_most(about, bar, value, times)
            }
            Bar::Seconds { ours, most } => {
                let value = self.ours(ours);
                at_most(Member::Ours(ours), format!("≤ {most} s"), value, most)
            }
            Bar::Megabytes { ours, most } => {
                let line = self.line(&Member::Ours(ours));
                let value = line.and_then(Line::peak_megabytes);
                at_most(Member::Ours(ours), format!("≤ {most} MB"), value, most)
            }
            Bar::Flat { ours, than, times } => {
                let other = all
                    .iter()
                    .find(|one| one.setting.key == than && one.task.work == self.task.work);
                let there = other.and_then(|other| other.for_each(ours));
                let value = ratio(self.for_each(ours), there);
                let bar = format!("≤ {times} × {than}, for each package");
                at_most(Member::Ours(ours), bar, value, times)
            }
        }
    }

    /// The line of one that took part.
    pub fn line(&self, who: &Member) -> Option<&Line> {
        self.lines.iter().find(|line| line.who == *who)
    }

    fn seconds(&self, who: &Member) -> Option<f64> {
        self.line(who).and_then(Line::seconds)
    }

    fn ours(&self, ours: Ours) -> Option<f64> {
        self.seconds(&Member::Ours(ours))
    }

    fn for_each(&self, ours: Ours) -> Option<f64> {
        let packages = self.setting.channel.packages as f64;
        self.ours(ours).map(|seconds| seconds / packages)
    }

    fn slowest(&self, floors: &[Floor]) -> (Member, Option<f64>) {
        let times = floors.iter().map(|floor| {
            let who = Member::Floor(*floor);
            let seconds = self.seconds(&who);
            (who, seconds)
        });
        times
            .max_by(|one, other| one.1.partial_cmp(&other.1).expect("no NaN"))
            .expect("a floor")
    }
}

impl Line {
    /// The median of its runs, unless it failed.
    pub fn seconds(&self) -> Option<f64> {
        let is_whole = self.failed.is_none();
        let seconds = self.costs.iter().map(|cost| cost.seconds);
        is_whole.then(|| median(seconds)).flatten()
    }

    /// The most memory of all its runs, in KiB.
    pub fn peak(&self) -> Option<u64> {
        self.costs.iter().filter_map(|cost: &Cost| cost.peak).max()
    }

    fn peak_megabytes(&self) -> Option<f64> {
        self.peak().map(|kib| kib as f64 * 1024.0 / 1e6)
    }
}

impl Work {
    /// As tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Work::Cold => "cold",
            Work::NoOp => "nothing changed",
            Work::PlusOne => "one package more",
            Work::Sign => "signed as files",
        }
    }
}

/// One by the other, where there are both.
pub fn ratio(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    Some(one? / other?)
}

/// The middle one, or the middle of the middle two.
pub fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        count if count % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}
