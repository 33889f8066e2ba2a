//! The command lines of those who take part: our own with their keys, the peers that are on this machine, the
//! floors. Owns these; it must not know what is measured.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::rows::{Floor, Ours, PEERS};

const SIGINDEX: &str = env!("CARGO_BIN_EXE_sigindex");
/// The key that signs packages.
pub const KEY: &str = "bench";

/// Words of a command line, in which `{channel}`, `{state}` and `{files}` are filled in later.
pub type Words = Vec<String>;

/// Another indexer.
#[derive(Clone, Debug)]
pub struct Peer {
    pub name: String,
    pub words: Words,
}

/// The other indexers.
#[derive(Clone, Debug, Default)]
pub struct Peers {
    pub there: Vec<Peer>,
    /// Those that are not, and why.
    pub missing: Vec<(String, String)>,
}

impl Peers {
    /// Those that were named, and those that are looked for unless they were.
    pub fn find(named: &[Peer], look: bool) -> Peers {
        let mut peers = Peers {
            there: named.to_vec(),
            missing: Vec::new(),
        };
        for (name, command) in PEERS {
            let peer = Peer::parse(&format!("{name}={command}")).expect("a command line");
            if named.iter().any(|peer| peer.name == name) {
                continue;
            } else if !look {
                let why = "it was left out with --no-peers";
                peers.missing.push((name.to_owned(), why.to_owned()));
            } else if in_path(&peer.words[0]) {
                peers.there.push(peer);
            } else {
                let why = format!(
                    "it is not in $PATH; say --peer '{name}=/where/it/is/{command}', or leave it out with --no-peers"
                );
                peers.missing.push((name.to_owned(), why));
            }
        }
        peers
    }
}

impl Peer {
    /// `NAME=COMMAND {channel}`, parted by spaces, without a shell.
    pub fn parse(text: &str) -> Result<Peer, String> {
        let (name, command) = text.split_once('=').ok_or("there is no = in it")?;
        if !command.contains("{channel}") {
            return Err("the command has no {channel} in it".to_owned());
        }
        Ok(Peer {
            name: name.to_owned(),
            words: command.split_whitespace().map(str::to_owned).collect(),
        })
    }

    /// What it says of its version, if anything.
    pub fn version(&self) -> Option<String> {
        let output = Command::new(&self.words[0])
            .arg("--version")
            .output()
            .ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let line = text.lines().next()?.trim();
        (output.status.success() && !line.is_empty()).then(|| line.to_owned())
    }
}

fn in_path(program: &str) -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| folder.join(program).is_file())
}

/// Folders of keys, made once.
pub struct Keys {
    /// The key of packages alone.
    packages: PathBuf,
    /// That, and those of a signed index.
    index: PathBuf,
}

impl Keys {
    /// Makes them in a folder.
    pub fn make(scratch: &Path) -> io::Result<Keys> {
        let keys = Keys {
            packages: scratch.join("keys"),
            index: scratch.join("keys-of-an-index"),
        };
        keygen(&keys.packages, KEY)?;
        for name in [KEY, "root", "index"] {
            keygen(&keys.index, name)?;
        }
        Ok(keys)
    }

    /// The folder with the key of packages.
    pub fn of_packages(&self) -> &Path {
        &self.packages
    }

    /// What ours is asked to do.
    pub fn words(&self, ours: Ours) -> Words {
        let packages = self.packages.to_string_lossy();
        let index = self.index.to_string_lossy();
        let run = ["index", "{channel}", "--quiet", "--cache", "{state}"];
        let more: &[&str] = match ours {
            Ours::Signing => &["--keys-dir", &packages, "--key", KEY],
            Ours::Plain => &["--keys-dir", &packages, "--no-sign"],
            Ours::SignedIndex => &["--keys-dir", &index, "--key", KEY],
            Ours::SignFiles => {
                let sign = ["sign", "--quiet", "--keys-dir", &packages, "--key", KEY];
                return ours_with(&[&sign[..], &["{files}"]].concat());
            }
        };
        ours_with(&[&run[..], more].concat())
    }

    /// What has to be done once, before the first run.
    pub fn before(&self, ours: Ours) -> Option<Words> {
        let index = self.index.to_string_lossy();
        let init = [
            "trust",
            "init",
            "{channel}",
            "--quiet",
            "--keys-dir",
            &index,
            "--root-key",
            "root",
            "--index-key",
            "index",
        ];
        (ours == Ours::SignedIndex).then(|| ours_with(&init))
    }
}

/// What a floor is asked to do: this program is it.
pub fn floor(floor: Floor, count: usize) -> io::Result<Words> {
    let this = std::env::current_exe()?.to_string_lossy().into_owned();
    let about = match floor {
        Floor::Signatures => count.to_string(),
        _ => "{channel}".to_owned(),
    };
    Ok([&this, "--be-the-floor", floor.word(), &about]
        .map(str::to_owned)
        .to_vec())
}

fn ours_with(words: &[&str]) -> Words {
    let words = words.iter().map(|word| (*word).to_owned());
    std::iter::once(SIGINDEX.to_owned()).chain(words).collect()
}

fn keygen(folder: &Path, name: &str) -> io::Result<()> {
    let made = Command::new(SIGINDEX)
        .args(["keygen", name, "--keys-dir"])
        .arg(folder)
        .output()?;
    if made.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&made.stderr).into_owned();
    Err(io::Error::other(said))
}
