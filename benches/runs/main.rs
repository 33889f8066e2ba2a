//! Whole runs of the real binary on a made channel: cold, with nothing changed, and with one package more;
//! beside other indexers and the floor, in turn, each on its own copy of the same files. Owns the order of
//! the runs. `cargo bench --bench runs -- --packages 4000 --peer 'NAME=COMMAND {channel}'`
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice
)]
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::{Parser, ValueEnum};

#[path = "../../tests/support/builder.rs"]
mod builder;
#[path = "../generate/channel.rs"]
mod channel;
mod contender;
#[path = "../floor/floor.rs"]
mod floor;
mod process;
#[path = "../generate/splice.rs"]
mod splice;
mod table;

use contender::Contender;
use process::Gauge;
use table::Row;

const SIGINDEX: &str = env!("CARGO_BIN_EXE_sigindex");

/// Measures whole runs of sigindex, and of others beside it.
#[derive(Parser)]
#[command(name = "cargo bench --bench runs --")]
struct Options {
    /// How many packages the channel has
    #[arg(long, value_name = "N", default_value_t = 200)]
    packages: usize,
    /// The size of a package on disk, on average
    #[arg(long, value_name = "BYTES", default_value_t = 20_000)]
    size: usize,
    /// The share of .conda files, from 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.5)]
    conda_share: f64,
    /// How often each of the runs is made
    #[arg(long, value_name = "N", default_value_t = 3)]
    runs: usize,
    /// The kinds of runs, by commas
    #[arg(long, value_delimiter = ',', default_value = "cold,warm,plus-one")]
    work: Vec<Work>,
    /// Measure `sigindex --no-sign` too
    #[arg(long)]
    no_sign: bool,
    /// Measure the floor too: hashing alone, with bz2 metadata, with signatures; in the cold runs
    #[arg(long)]
    floor: bool,
    /// Measure another indexer too (repeatable): its command line, parted by spaces, without a shell
    #[arg(long, value_name = "NAME=COMMAND {channel}", value_parser = peer)]
    peer: Vec<(String, Vec<String>)>,
    /// Let peers take part in so many rounds only
    #[arg(long, value_name = "N", default_value_t = usize::MAX, hide_default_value = true)]
    peer_runs: usize,
    /// Where the channels are made, for as long as it runs [default: the system's temporary folder]
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// What this program calls itself with to be the floor: the work and the channel
    #[arg(long, hide = true, num_args = 2)]
    be_the_floor: Option<Vec<String>>,
    /// What cargo adds of itself
    #[arg(long, hide = true)]
    bench: bool,
}

/// A kind of runs.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Work {
    /// Nothing is known of the channel
    Cold,
    /// Nothing changed since the last run
    Warm,
    /// One package was added since the last run
    PlusOne,
}

fn peer(text: &str) -> Result<(String, Vec<String>), String> {
    let (name, command) = text.split_once('=').ok_or("there is no = in it")?;
    if !command.contains("{channel}") {
        return Err("the command has no {channel} in it".to_owned());
    }
    let words = command.split_whitespace().map(str::to_owned).collect();
    Ok((name.to_owned(), words))
}

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match options.be_the_floor.as_deref() {
        Some([work, channel]) => be_the_floor(work, Path::new(channel)),
        _ => compare(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("could not measure: {error}");
            ExitCode::FAILURE
        }
    }
}

fn be_the_floor(work: &str, channel: &Path) -> io::Result<()> {
    let work = floor::Work {
        sign: work.contains("sign"),
        metadata: work.contains("metadata"),
    };
    floor::files(channel, work).map(drop)
}

fn compare(options: &Options) -> io::Result<()> {
    let scratch = match &options.scratch {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let arena = Arena::new(options, scratch.path())?;
    println!(
        "{} packages of {} bytes, {:.0} % of them .conda; whole processes, wall seconds",
        options.packages,
        options.size,
        options.conda_share.clamp(0.0, 1.0) * 100.0
    );
    println!("{}", arena.gauge.about());
    if !options.work.contains(&Work::Cold) {
        for one in arena.contenders.iter().filter(|one| !one.cold_only) {
            one.reset(&arena.packages)?;
            one.run(&arena.gauge)?;
        }
    }
    let kinds = [
        (Work::Cold, "cold"),
        (Work::Warm, "nothing changed"),
        (Work::PlusOne, "one package more"),
    ];
    for (work, title) in kinds {
        if options.work.contains(&work) {
            println!(
                "{}",
                table::print(title, &arena.measure(work, options.runs)?)
            );
        }
    }
    Ok(())
}

/// The channel and all who take part.
struct Arena {
    gauge: Gauge,
    contenders: Vec<Contender>,
    /// The packages that everybody starts with, relative to the channel.
    packages: BTreeSet<PathBuf>,
    /// Packages that are added one by one, relative to `more`.
    spare: Vec<PathBuf>,
    more: PathBuf,
}

impl Arena {
    fn new(options: &Options, scratch: &Path) -> io::Result<Arena> {
        let (master, more) = (scratch.join("master"), scratch.join("more"));
        let packages = make(options, &master, options.packages, 1)?;
        let spare = make(options, &more, options.runs, 2)?;
        let contenders = contenders(options, scratch)?;
        for one in &contenders {
            one.take_packages(&master, &packages)?;
        }
        Ok(Arena {
            gauge: Gauge::new(scratch),
            contenders,
            packages,
            spare: spare.into_iter().collect(),
            more,
        })
    }

    /// All in turn, round by round, so that a machine whose speed drifts is the same to all.
    fn measure(&self, work: Work, runs: usize) -> io::Result<Vec<Row>> {
        let taking_part = |one: &&Contender| work == Work::Cold || !one.cold_only;
        let contenders: Vec<_> = self.contenders.iter().filter(taking_part).collect();
        let mut costs = vec![Vec::new(); contenders.len()];
        for round in 0..runs {
            let in_time = contenders.iter().zip(&mut costs);
            for (one, costs) in in_time.filter(|(one, _)| round < one.rounds) {
                match work {
                    Work::Cold => one.reset(&self.packages)?,
                    Work::Warm => {}
                    Work::PlusOne => one.add(&self.more, &self.spare[round])?,
                }
                costs.push(one.run(&self.gauge)?);
            }
        }
        let row = |(one, costs): (&&Contender, _)| Row {
            name: one.name.clone(),
            ours: one.ours,
            costs,
        };
        Ok(contenders.iter().zip(costs).map(row).collect())
    }
}

/// Makes packages, and gives their paths in the channel.
fn make(
    options: &Options,
    out: &Path,
    packages: usize,
    seed: u64,
) -> io::Result<BTreeSet<PathBuf>> {
    channel::make(&channel::Plan {
        out: out.to_owned(),
        packages,
        size: options.size,
        conda_share: options.conda_share.clamp(0.0, 1.0),
        subdirs: vec!["linux-64".to_owned(), "noarch".to_owned()],
        seed,
        per_name: 5,
    })?;
    let files = walkdir::WalkDir::new(out).into_iter();
    let files = files.filter(|entry| {
        entry
            .as_ref()
            .is_ok_and(|entry| entry.file_type().is_file())
    });
    files
        .map(|entry| {
            Ok(entry?
                .path()
                .strip_prefix(out)
                .map_err(io::Error::other)?
                .to_owned())
        })
        .collect()
}

fn contenders(options: &Options, scratch: &Path) -> io::Result<Vec<Contender>> {
    let mut all: Vec<Contender> = Vec::new();
    let mut add = |name: &str, words: Vec<String>| {
        let home = scratch.join(all.len().to_string());
        all.push(Contender::new(name, words, home));
        all.len() - 1
    };
    let signing = add("sigindex", sigindex(scratch, &["--key", "bench"])?);
    let mut ours = vec![signing];
    if options.no_sign {
        ours.push(add("--no-sign", sigindex(scratch, &["--no-sign"])?));
    }
    let mut peers = Vec::new();
    for (name, words) in &options.peer {
        peers.push(add(name, words.clone()));
    }
    let mut floors = Vec::new();
    if options.floor {
        for (name, work) in [
            ("floor: hash", "hash"),
            ("floor: hash, metadata", "hash,metadata"),
            ("floor: hash, metadata, sign", "hash,metadata,sign"),
        ] {
            let this = std::env::current_exe()?.to_string_lossy().into_owned();
            let words = [&this, "--be-the-floor", work, "{channel}"];
            floors.push(add(name, words.map(str::to_owned).to_vec()));
        }
    }
    ours.iter().for_each(|at| all[*at].ours = true);
    peers
        .iter()
        .for_each(|at| all[*at].rounds = options.peer_runs);
    floors.iter().for_each(|at| all[*at].cold_only = true);
    Ok(all)
}

/// Our own command line, with a key that is made once.
fn sigindex(scratch: &Path, more: &[&str]) -> io::Result<Vec<String>> {
    let keys = scratch.join("keys").to_string_lossy().into_owned();
    if !Path::new(&keys).exists() {
        let made = Command::new(SIGINDEX)
            .args(["keygen", "bench", "--keys-dir", &keys])
            .output()?;
        if !made.status.success() {
            return Err(io::Error::other(
                String::from_utf8_lossy(&made.stderr).into_owned(),
            ));
        }
    }
    let words = [
        SIGINDEX,
        "index",
        "{channel}",
        "--quiet",
        "--cache",
        "{state}",
        "--keys-dir",
        &keys,
    ];
    Ok(words
        .iter()
        .chain(more)
        .map(|word| (*word).to_owned())
        .collect())
}
