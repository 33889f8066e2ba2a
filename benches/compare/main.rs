//! Whole runs of the real binary beside other indexers and the floor, on made channels, in turn, each on its own
//! copy of the same files; what comes out is a table. Owns the command line:
//! `cargo bench --bench compare -- --rows all`. Without rows it does nothing, so that a bare `cargo bench` is
//! harmless.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice
)]
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

mod arena;
#[path = "../../tests/support/builder.rs"]
mod builder;
#[path = "../generate/channel.rs"]
mod channel;
mod contender;
#[path = "../floor/floor.rs"]
mod floor;
mod judge;
mod machine;
mod process;
#[path = "../generate/records.rs"]
mod records;
mod rows;
mod table;
mod who;

use arena::{Arena, Rules};
use judge::Measured;
use process::Gauge;
use rows::{Channel, Content, Floor, SETTINGS, Setting};
use who::{Keys, Peer, Peers};

/// Measures whole runs of sigindex beside other indexers and the least that any has to do, and prints a table.
///
/// Rows are small, large, all-conda, records, giant, sign, flat-5000, flat-100000 and million; `flat` is two of
/// them, and `all` is all. Without them it measures a channel of --packages, cold, with nothing changed, and with
/// one package more.
#[derive(Parser)]
#[command(name = "cargo bench --bench compare --")]
struct Options {
    /// The rows, by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = row)]
    rows: Vec<String>,
    /// How often each of the runs is made
    #[arg(long, value_name = "N", default_value_t = 5)]
    runs: usize,
    /// Let peers take part in so many rounds only, because they are slow
    #[arg(long, value_name = "N", default_value_t = usize::MAX, hide_default_value = true)]
    peer_runs: usize,
    /// Measure this indexer (repeatable), without a shell [default: those of rattler-index and conda-index
    /// that are in $PATH]
    #[arg(long, value_name = "NAME=COMMAND {channel}", value_parser = Peer::parse)]
    peer: Vec<Peer>,
    /// Look for no indexers in $PATH
    #[arg(long)]
    no_peers: bool,
    /// Take a part of the packages, to see whether all works
    #[arg(long, value_name = "PART", default_value_t = 1.0)]
    scale: f64,
    /// Measure a channel of so many packages
    #[arg(long, value_name = "N", conflicts_with = "rows")]
    packages: Option<usize>,
    /// The size of each of these on disk, on average
    #[arg(long, value_name = "BYTES", default_value_t = 20_000)]
    size: usize,
    /// The share of .conda files among these, from 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.5)]
    conda_share: f64,
    /// Where the channels are made, for as long as it runs [default: the system's temporary folder]
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// What this program calls itself with to be the floor: the work, and the channel or a number
    #[arg(long, hide = true, num_args = 2)]
    be_the_floor: Option<Vec<String>>,
    /// What cargo adds of itself
    #[arg(long, hide = true)]
    bench: bool,
}

fn row(name: &str) -> Result<String, String> {
    let is_there = SETTINGS.iter().any(|setting| setting.is_named(name));
    let names = SETTINGS.map(|setting| setting.key).join(", ");
    is_there
        .then(|| name.to_owned())
        .ok_or_else(|| format!("there are all, {names}"))
}

fn main() -> ExitCode {
    let options = Options::parse();
    let settings = settings(&options);
    let done = match options.be_the_floor.as_deref() {
        Some([work, about]) => be_the_floor(work, about),
        _ if settings.is_empty() => {
            println!("{}", Options::command().render_long_help());
            Ok(true)
        }
        _ => compare(&options, &settings),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("could not measure: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The rows that were asked for, in their order.
fn settings(options: &Options) -> Vec<Setting> {
    let is_named = |setting: &&Setting| options.rows.iter().any(|name| setting.is_named(name));
    let mut settings: Vec<Setting> = SETTINGS.iter().filter(is_named).cloned().collect();
    settings.extend(options.packages.map(|packages| {
        rows::custom(Channel {
            packages,
            size: options.size,
            conda_share: options.conda_share.clamp(0.0, 1.0),
            content: Content::Packages,
        })
    }));
    if options.scale != 1.0 {
        for setting in &mut settings {
            *setting = setting.scaled(options.scale);
        }
    }
    settings
}

fn be_the_floor(work: &str, about: &str) -> io::Result<bool> {
    let unknown = || io::Error::other(format!("there is no floor {work} of {about}"));
    let floor = Floor::of(work).ok_or_else(unknown)?;
    match floor.work() {
        Some(work) => floor::files(Path::new(about), work)?,
        None => floor::signatures(about.parse().map_err(|_| unknown())?)?,
    };
    Ok(true)
}

/// Measures, prints the table, and says whether everybody went through.
fn compare(options: &Options, settings: &[Setting]) -> io::Result<bool> {
    let scratch = match &options.scratch {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let rules = Rules {
        runs: options.runs.max(1),
        peer_runs: options.peer_runs,
        peers: Peers::find(&options.peer, !options.no_peers),
        scratch: scratch.path().to_owned(),
        keys: Keys::make(scratch.path())?,
        gauge: Gauge::new(scratch.path()),
    };
    for (name, why) in &rules.peers.missing {
        eprintln!("{name} is not measured: {why}");
    }
    let mut all: Vec<Measured> = Vec::new();
    for setting in settings {
        let folder = tempfile::tempdir_in(scratch.path())?;
        let arena = Arena::new(&rules, setting, folder.path())?;
        for task in setting.tasks {
            all.push(Measured {
                setting: setting.clone(),
                task: *task,
                lines: arena.measure(task.work)?,
            });
        }
    }
    println!("{}\n", machine::about(&rules));
    println!("{}", table::print(&all, &rules, options.scale));
    if options.scale == 1.0 {
        println!("{}", table::sum(&all));
    }
    let mut lines = all.iter().flat_map(|measured| &measured.lines);
    Ok(lines.all(|line| line.failed.is_none()))
}
