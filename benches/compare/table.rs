//! The Markdown table that goes into `docs/performance.md`. Owns its columns and words; it must not know how
//! anything was measured, nor what is enough.

use std::path::Path;

use crate::arena::{Line, Rules};
use crate::contender::Member;
use crate::judge::{Measured, Verdict, ratio};
use crate::rows::{Content, Ours};

const HEADING: &str = "| work | contender | runs | median s | min–max | × sigindex | × --no-sign | peak MiB | bar | asked to do |\n\
                       | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n";

/// The table, a line for each of those that took part. With a scale other than 1 nothing is judged.
pub fn print(all: &[Measured], rules: &Rules, scale: f64) -> String {
    let mut text = HEADING.to_owned();
    for measured in all {
        let verdicts = measured.verdicts(all);
        let bars = |who: &Member| -> String {
            let about = verdicts.iter().filter(|it| it.about == *who);
            let about: Vec<_> = about.map(|it| said(it, scale)).collect();
            about.join("; ")
        };
        let mut heading = work(measured);
        for line in &measured.lines {
            text.push_str(&row(&heading, measured, line, &bars(&line.who), rules));
            heading.clear();
        }
        // Bars about those that are not there: nothing is passed over in silence.
        let mut missing: Vec<&Member> = verdicts.iter().map(|it| &it.about).collect();
        missing.retain(|who| measured.line(who).is_none());
        missing.dedup();
        for who in missing {
            text.push_str(&absent(who, &bars(who), rules));
        }
    }
    text
}

/// How many bars are met, missed, and not measured.
pub fn sum(all: &[Measured]) -> String {
    let verdicts: Vec<_> = all.iter().flat_map(|it| it.verdicts(all)).collect();
    let count = |is: &dyn Fn(&Verdict) -> bool| verdicts.iter().filter(|it| is(it)).count();
    format!(
        "{} bars are met, {} are not, {} could not be judged.",
        count(&|it| it.is_met),
        count(&|it| !it.is_met && it.value.is_some()),
        count(&|it| it.value.is_none())
    )
}

fn row(heading: &str, measured: &Measured, line: &Line, bars: &str, rules: &Rules) -> String {
    let seconds = || line.costs.iter().map(|cost| cost.seconds);
    let (least, most) = (
        seconds().fold(f64::INFINITY, f64::min),
        seconds().fold(0.0, f64::max),
    );
    let times = |ours: &[Ours]| {
        let ours = ours
            .iter()
            .find_map(|ours| measured.line(&Member::Ours(*ours)))
            .and_then(Line::seconds);
        ratio(line.seconds(), ours).map_or(String::new(), |ratio| format!("{ratio:.2}"))
    };
    let median = match (&line.failed, line.seconds()) {
        (Some(why), _) => format!("failed: {}", why.replace('|', "\\|")),
        (None, Some(seconds)) => format!("{seconds:.3}"),
        (None, None) => "not run".to_owned(),
    };
    let peak = line.peak();
    format!(
        "| {heading} | {} | {} | {median} | {} | {} | {} | {} | {bars} | `{}` |\n",
        line.name,
        line.costs.len(),
        if line.costs.is_empty() {
            String::new()
        } else {
            format!("{least:.3}–{most:.3}")
        },
        times(&[Ours::Signing, Ours::SignFiles]),
        times(&[Ours::Plain]),
        peak.map_or("?".to_owned(), |kib| format!("{:.1}", kib as f64 / 1024.0)),
        asked(&line.words, rules)
    )
}

/// A line for one that took no part.
fn absent(who: &Member, bars: &str, rules: &Rules) -> String {
    let (name, why) = match who {
        Member::Peer(name) => {
            let missing = rules.peers.missing.iter().find(|(it, _)| it == name);
            (name.as_str(), missing.map(|(_, why)| why.as_str()))
        }
        Member::Ours(ours) => (ours.name(), None),
        Member::Floor(floor) => (floor.name(), None),
    };
    let why = why.unwrap_or("it took no part");
    format!("| | {name} | 0 | not measured: {why} | | | | | {bars} | |\n")
}

fn said(verdict: &Verdict, scale: f64) -> String {
    let value = verdict.value.map(|value| format!("{value:.2}"));
    let value = value.unwrap_or_else(|| "not measured".to_owned());
    let is_met = match verdict {
        Verdict { value: None, .. } => "not judged",
        _ if scale != 1.0 => "not judged",
        Verdict { is_met: true, .. } => "met",
        _ => "**not met**",
    };
    format!("{}: {value}, {is_met}", verdict.bar)
}

/// The channel, and what was done with it.
fn work(measured: &Measured) -> String {
    let channel = measured.setting.channel;
    let what = match channel.content {
        Content::Records => "records".to_owned(),
        Content::Packages => {
            let condas = match channel.conda_share {
                share if share <= 0.0 => "no .conda".to_owned(),
                share if share >= 1.0 => "all .conda".to_owned(),
                share => format!("{:.0} % .conda", share * 100.0),
            };
            format!("× {}, {condas}", bytes(channel.size))
        }
    };
    let work = measured.task.work.name();
    format!("{} {what}: {work}", thousands(channel.packages))
}

fn bytes(size: usize) -> String {
    let size = size as f64;
    match size {
        1e9.. => format!("{} GB", size / 1e9),
        1e6.. => format!("{} MB", size / 1e6),
        1e3.. => format!("{} kB", size / 1e3),
        _ => format!("{size} B"),
    }
}

fn thousands(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A command line without the folders of this machine.
fn asked(words: &[String], rules: &Rules) -> String {
    let short = |(at, word): (usize, &String)| {
        let path = Path::new(word);
        let name = || path.file_name().unwrap_or_default().to_string_lossy();
        if at == 0 {
            // Cargo puts a hash behind the name of this program.
            let name = name().into_owned();
            return name
                .rsplit_once('-')
                .filter(|(_, hash)| hash.len() == 16)
                .map_or(name.clone(), |(name, _)| name.to_owned());
        }
        match word.as_str() {
            "{channel}" => "CHANNEL".to_owned(),
            "{state}" => "CACHE".to_owned(),
            "{files}" => "FILES".to_owned(),
            _ if path.starts_with(&rules.scratch) => name().to_uppercase(),
            word => word.to_owned(),
        }
    };
    let words = words.iter().enumerate().map(short);
    words.collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
