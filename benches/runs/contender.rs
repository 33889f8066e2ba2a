//! Who takes part: a command line and a copy of the channel of its own. Owns that copy and how it is put
//! back to nothing but packages; must not know what the command does.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::process::{Cost, Gauge};

/// One of those that are compared.
pub struct Contender {
    /// As the table calls it.
    pub name: String,
    /// Whether it is ours, and the others are held against it.
    pub ours: bool,
    /// Whether it does the same whatever was done before, so that only a cold run says something.
    pub cold_only: bool,
    /// In how many rounds it takes part.
    pub rounds: usize,
    words: Vec<String>,
    home: PathBuf,
}

impl Contender {
    /// `words` may hold `{channel}`, its copy of the channel, and `{state}`, a folder that is emptied
    /// before each cold run. `home` is a folder that is not there yet.
    pub fn new(name: &str, words: Vec<String>, home: PathBuf) -> Contender {
        Contender {
            name: name.to_owned(),
            ours: false,
            cold_only: false,
            rounds: usize::MAX,
            words,
            home,
        }
    }

    fn channel(&self) -> PathBuf {
        self.home.join("channel")
    }

    fn state(&self) -> PathBuf {
        self.home.join("state")
    }

    /// Copies the packages; hard links would let one contender's marks on a file be seen by another.
    pub fn take_packages(&self, from: &Path, packages: &BTreeSet<PathBuf>) -> io::Result<()> {
        for package in packages {
            self.add(from, package)?;
        }
        Ok(())
    }

    /// Copies one package.
    pub fn add(&self, from: &Path, package: &Path) -> io::Result<()> {
        let to = self.channel().join(package);
        fs::create_dir_all(to.parent().unwrap_or(&to))?;
        fs::copy(from.join(package), to).map(drop)
    }

    /// Takes away everything that an earlier run left, and packages that are not among these.
    pub fn reset(&self, packages: &BTreeSet<PathBuf>) -> io::Result<()> {
        let channel = self.channel();
        for entry in walkdir::WalkDir::new(&channel)
            .min_depth(1)
            .contents_first(true)
        {
            let entry = entry?;
            let path = entry.path();
            let inside = path.strip_prefix(&channel).unwrap_or(path);
            if entry.file_type().is_dir() {
                // One that still holds a package stays.
                let _ = fs::remove_dir(path);
            } else if !packages.contains(inside) {
                fs::remove_file(path)?;
            }
        }
        match fs::remove_dir_all(self.state()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::create_dir_all(self.state())
    }

    /// Runs the command. What others left to be written to the disk is written before, so that nobody
    /// pays for another's files in a sync of his own.
    pub fn run(&self, gauge: &Gauge) -> io::Result<Cost> {
        let (channel, state) = (self.channel(), self.state());
        let fill = |word: &String| {
            word.replace("{channel}", &channel.to_string_lossy())
                .replace("{state}", &state.to_string_lossy())
        };
        rustix::fs::sync();
        gauge.run(&self.words.iter().map(fill).collect::<Vec<_>>())
    }
}
