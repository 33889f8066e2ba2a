//! One channel and all who work on it, in turn, each on its own copy of the same files. Owns the making of that
//! channel and the order of the runs; it must not know which bars there are.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use crate::channel;
use crate::contender::{Contender, Member};
use crate::process::{Cost, Gauge};
use crate::records;
use crate::rows::{self, Content, Ours, Setting, Who, Work};
use crate::who::{self, KEY, Keys, Peers};

/// How often everything is run, by whom, and where.
pub struct Rules {
    /// Rounds.
    pub runs: usize,
    /// Rounds of peers, where that is fewer.
    pub peer_runs: usize,
    /// The other indexers.
    pub peers: Peers,
    /// Where channels are made.
    pub scratch: PathBuf,
    /// Keys of ours.
    pub keys: Keys,
    /// How memory is measured.
    pub gauge: Gauge,
}

/// What one contender's runs of one kind cost.
#[derive(Clone, Debug)]
pub struct Line {
    /// As the table calls it.
    pub name: String,
    /// Which of them it is.
    pub who: Member,
    /// What it was asked to do.
    pub words: Vec<String>,
    /// One for each round.
    pub costs: Vec<Cost>,
    /// Why there are not more of them.
    pub failed: Option<String>,
}

/// The channel and all who take part.
pub struct Arena<'a> {
    rules: &'a Rules,
    setting: &'a Setting,
    contenders: Vec<Contender>,
    /// The packages that everybody starts with, relative to the channel.
    packages: BTreeSet<PathBuf>,
    /// Packages that are added one by one, relative to `more`.
    spare: Vec<PathBuf>,
    more: PathBuf,
}

impl<'a> Arena<'a> {
    /// Makes the channel in a folder, and everybody's copy.
    pub fn new(rules: &'a Rules, setting: &'a Setting, folder: &Path) -> io::Result<Arena<'a>> {
        let (master, more) = (folder.join("master"), folder.join("more"));
        let mut arena = Arena {
            rules,
            setting,
            contenders: contenders(rules, setting, folder)?,
            packages: BTreeSet::new(),
            spare: Vec::new(),
            more,
        };
        eprintln!("{}: making the channel", setting.key);
        match setting.channel.content {
            Content::Packages => {
                arena.packages = make(&plan(setting, &master, 1))?;
                for one in &mut arena.contenders {
                    one.take_packages(&master, &arena.packages)?;
                }
            }
            Content::Records => arena.make_records()?,
        }
        if setting.tasks.iter().any(|task| task.work == Work::PlusOne) {
            let mut plan = plan(setting, &arena.more, 2);
            plan.packages = rules.runs;
            arena.spare = make(&plan)?.into_iter().collect();
        }
        Ok(arena)
    }

    fn make_records(&self) -> io::Result<()> {
        for one in &self.contenders {
            let key = records::SignedBy::key_in(self.rules.keys.of_packages(), KEY)?;
            let key = (one.who == Member::Ours(Ours::Signing)).then_some(key);
            std::fs::create_dir_all(one.state())?;
            let plan = plan(self.setting, one.channel(), 1);
            records::make(&plan, &one.state().join("cache.db"), key.as_ref())?;
        }
        Ok(())
    }

    /// All in turn, round by round, so that a machine whose speed drifts is the same to all.
    pub fn measure(&self, work: Work) -> io::Result<Vec<Line>> {
        let is_cold = matches!(work, Work::Cold | Work::Sign);
        let there: Vec<&Contender> = self
            .contenders
            .iter()
            .filter(|one| one.takes_part(is_cold))
            .collect();
        let mut lines: Vec<Line> = there.iter().map(|one| Line::of(one)).collect();
        for (one, line) in there.iter().zip(&mut lines).filter(|_| !is_cold) {
            line.note(one.settle(&self.rules.gauge).map(|()| None));
        }
        for round in 0..self.rules.runs {
            for (one, line) in there.iter().zip(&mut lines) {
                if round < one.rounds && line.failed.is_none() {
                    let cost = self.run(one, work, round);
                    eprintln!(
                        "{}: {work:?}, round {}: {}",
                        self.setting.key,
                        round + 1,
                        said(one, &cost)
                    );
                    line.note(cost.map(Some));
                }
            }
        }
        Ok(lines)
    }

    fn run(&self, one: &Contender, work: Work, round: usize) -> io::Result<Cost> {
        match work {
            Work::Cold | Work::Sign => one.reset(&self.packages)?,
            Work::NoOp => {}
            Work::PlusOne => one.add(&self.more, &self.spare[round])?,
        }
        one.run(&self.rules.gauge)
    }
}

impl Line {
    fn of(one: &Contender) -> Line {
        Line {
            name: one.name.clone(),
            who: one.who.clone(),
            words: one.words.clone(),
            costs: Vec::new(),
            failed: None,
        }
    }

    fn note(&mut self, cost: io::Result<Option<Cost>>) {
        match cost {
            Ok(cost) => self.costs.extend(cost),
            Err(error) => self.failed = Some(error.to_string()),
        }
    }
}

fn said(one: &Contender, cost: &io::Result<Cost>) -> String {
    match cost {
        Ok(cost) => format!("{} {:.3} s", one.name, cost.seconds),
        Err(error) => format!("{} failed: {error}", one.name),
    }
}

fn plan(setting: &Setting, out: &Path, seed: u64) -> channel::Plan {
    let rows::Channel {
        packages,
        size,
        conda_share,
        ..
    } = setting.channel;
    channel::Plan {
        out: out.to_owned(),
        packages,
        size,
        conda_share,
        subdirs: vec!["linux-64".to_owned(), "noarch".to_owned()],
        seed,
        per_name: 5,
    }
}

/// Makes packages, and gives their paths in the channel.
fn make(plan: &channel::Plan) -> io::Result<BTreeSet<PathBuf>> {
    channel::make(plan)?;
    let files = walkdir::WalkDir::new(&plan.out).into_iter();
    let files = files.filter(|entry| {
        entry
            .as_ref()
            .is_ok_and(|entry| entry.file_type().is_file())
    });
    files
        .map(|entry| {
            let path = entry?.into_path();
            let inside = path.strip_prefix(&plan.out).map_err(io::Error::other)?;
            Ok(inside.to_owned())
        })
        .collect()
}

fn contenders(rules: &Rules, setting: &Setting, folder: &Path) -> io::Result<Vec<Contender>> {
    let mut all: Vec<Contender> = Vec::new();
    for who in setting.who {
        let home = folder.join(all.len().to_string());
        match *who {
            Who::Ours(ours) => {
                let words = rules.keys.words(ours);
                let one = Contender::new(ours.name(), Member::Ours(ours), words, &home);
                all.push(one.after(rules.keys.before(ours)));
            }
            Who::Peers => {
                for peer in &rules.peers.there {
                    let home = folder.join(all.len().to_string());
                    let member = Member::Peer(peer.name.clone());
                    let one = Contender::new(&peer.name, member, peer.words.clone(), &home);
                    all.push(one.in_rounds(rules.peer_runs));
                }
            }
            Who::Floor(floor) => {
                let words = who::floor(floor, setting.channel.packages)?;
                let one = Contender::new(floor.name(), Member::Floor(floor), words, &home);
                all.push(one.on(&folder.join("master")));
            }
        }
    }
    Ok(all)
}
