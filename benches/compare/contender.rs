//! Who takes part: a command line and a copy of the channel of its own. Owns that copy and how it is put
//! back to nothing but packages; must not know what the command does.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::process::{Cost, Gauge};
use crate::rows::{Floor, Ours};
use crate::who::Words;

/// One of those that are compared.
pub struct Contender {
    /// As the table calls it.
    pub name: String,
    /// Which of them it is.
    pub who: Member,
    /// In how many rounds it takes part.
    pub rounds: usize,
    /// What it is asked to do. The words may hold `{channel}`, its copy of the channel, `{state}`, a folder that is
    /// emptied before each cold run, and `{files}`, all packages.
    pub words: Words,
    /// What is done once before its first run that is not cold.
    before: Option<Words>,
    channel: PathBuf,
    state: PathBuf,
    files: Vec<String>,
    has_run: Cell<bool>,
    /// How many files and folders were put away.
    spent: Cell<usize>,
}

/// One of those that take part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Member {
    Ours(Ours),
    Peer(String),
    Floor(Floor),
}

impl Contender {
    /// `home` is a folder that is not there yet.
    pub fn new(name: &str, who: Member, words: Words, home: &Path) -> Contender {
        Contender {
            name: name.to_owned(),
            who,
            rounds: usize::MAX,
            words,
            before: None,
            channel: home.join("channel"),
            state: home.join("state"),
            files: Vec::new(),
            has_run: Cell::new(false),
            spent: Cell::new(0),
        }
    }

    /// With something to be done once.
    pub fn after(mut self, before: Option<Words>) -> Contender {
        self.before = before;
        self
    }

    /// In so many rounds.
    pub fn in_rounds(mut self, rounds: usize) -> Contender {
        self.rounds = rounds;
        self
    }

    /// On a channel that others read too: it writes nothing.
    pub fn on(mut self, channel: &Path) -> Contender {
        self.channel = channel.to_owned();
        self
    }

    /// Its copy of the channel.
    pub fn channel(&self) -> &Path {
        &self.channel
    }

    /// The folder of what it remembers.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Whether it takes part in runs of a kind. A floor does the same whatever was done before; what has to be done
    /// once, before everything else, is no part of a cold run.
    pub fn takes_part(&self, is_cold: bool) -> bool {
        if is_cold {
            self.before.is_none()
        } else {
            !self.is_floor()
        }
    }

    fn is_floor(&self) -> bool {
        matches!(self.who, Member::Floor(_))
    }

    /// Copies the packages; hard links would let one contender's marks on a file be seen by another.
    pub fn take_packages(&mut self, from: &Path, packages: &BTreeSet<PathBuf>) -> io::Result<()> {
        fs::create_dir_all(&self.state)?;
        if self.is_floor() {
            return Ok(());
        }
        for package in packages {
            self.add(from, package)?;
            let path = self.channel.join(package);
            self.files.push(path.to_string_lossy().into_owned());
        }
        Ok(())
    }

    /// Copies one package.
    pub fn add(&self, from: &Path, package: &Path) -> io::Result<()> {
        let to = self.channel.join(package);
        fs::create_dir_all(to.parent().unwrap_or(&to))?;
        fs::copy(from.join(package), to).map(drop)
    }

    /// Takes away everything that an earlier run left, and packages that are not among these.
    pub fn reset(&self, packages: &BTreeSet<PathBuf>) -> io::Result<()> {
        if self.is_floor() {
            return Ok(());
        }
        for entry in walkdir::WalkDir::new(&self.channel)
            .min_depth(1)
            .contents_first(true)
        {
            let entry = entry?;
            let path = entry.path();
            let inside = path.strip_prefix(&self.channel).unwrap_or(path);
            if entry.file_type().is_dir() {
                // One that still holds a package stays.
                let _ = fs::remove_dir(path);
            } else if !packages.contains(inside) {
                self.put_away(path)?;
            }
        }
        if self.state.exists() {
            self.put_away(&self.state)?;
        }
        fs::create_dir_all(&self.state)
    }

    /// Moves something out of the way until all is over: where many files were deleted a moment ago, ext4 takes long to
    /// make new ones, and whoever runs next would pay for it.
    fn put_away(&self, path: &Path) -> io::Result<()> {
        let spent = self.channel.with_extension("spent");
        fs::create_dir_all(&spent)?;
        let number = self.spent.get();
        self.spent.set(number + 1);
        fs::rename(path, spent.join(number.to_string()))
    }

    /// Brings it to where nothing is left to do: what has to be done once, and a run that does not count.
    pub fn settle(&self, gauge: &Gauge) -> io::Result<()> {
        if self.has_run.get() {
            return Ok(());
        }
        if let Some(words) = &self.before {
            gauge.run(&self.filled(words))?;
        }
        self.run(gauge).map(drop)
    }

    /// Runs the command. What others left to be written to the disk is written before, so that nobody
    /// pays for another's files in a sync of his own.
    pub fn run(&self, gauge: &Gauge) -> io::Result<Cost> {
        rustix::fs::sync();
        let cost = gauge.run(&self.filled(&self.words))?;
        self.has_run.set(true);
        Ok(cost)
    }

    fn filled(&self, words: &Words) -> Words {
        let (channel, state) = (self.channel.to_string_lossy(), self.state.to_string_lossy());
        let fill = |word: &String| match word.as_str() {
            "{files}" => self.files.clone(),
            word => vec![
                word.replace("{channel}", &channel)
                    .replace("{state}", &state),
            ],
        };
        words.iter().flat_map(fill).collect()
    }
}
