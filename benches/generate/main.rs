//! The command line of the channel generator: `cargo bench --bench generate -- --out DIR --packages N`.
//! It reads the options and says what was made; how it is made is `channel.rs`'s. Without `--out` it
//! writes nothing, so that a bare `cargo bench` is harmless.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice
)]
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{CommandFactory, Parser};

#[path = "../../tests/support/builder.rs"]
mod builder;
#[path = "channel.rs"]
mod channel;
mod records;

/// Makes a conda channel of any size, the same for the same options.
#[derive(Parser)]
#[command(name = "cargo bench --bench generate --")]
struct Options {
    /// The channel's folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// How many packages
    #[arg(long, value_name = "N", default_value_t = 1000)]
    packages: usize,
    /// The size of a package on disk, on average; it unpacks to about twice as much
    #[arg(long, value_name = "BYTES", default_value_t = 20_000)]
    size: usize,
    /// The share of .conda files, from 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.5)]
    conda_share: f64,
    /// The subdirs, by commas
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "linux-64,noarch"
    )]
    subdirs: Vec<String>,
    /// For another channel of the same kind
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// How many packages have the same name
    #[arg(long, value_name = "M", default_value_t = 5)]
    names: usize,
    /// Make no packages, but empty files of their names, and a cache that knows them: for runs in which next to
    /// nothing changed
    #[arg(long, requires = "cache")]
    records_only: bool,
    /// That cache, for `sigindex --cache`
    #[arg(long, value_name = "FILE", requires = "records_only")]
    cache: Option<PathBuf>,
    /// Let the cache know a signature of each, by a key of this folder
    #[arg(long, value_name = "DIR", requires_all = ["records_only", "key"])]
    keys_dir: Option<PathBuf>,
    /// The key's name
    #[arg(long, value_name = "NAME", requires = "keys_dir")]
    key: Option<String>,
    /// What cargo adds of itself
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let Some(out) = options.out.clone() else {
        println!("{}", Options::command().render_help());
        return ExitCode::SUCCESS;
    };
    let plan = channel::Plan {
        out,
        packages: options.packages,
        size: options.size,
        conda_share: options.conda_share.clamp(0.0, 1.0),
        subdirs: options.subdirs.clone(),
        seed: options.seed,
        per_name: options.names.max(1),
    };
    let start = Instant::now();
    match make(&plan, &options) {
        Ok(made) => {
            println!("made {made} in {:.2} s", start.elapsed().as_secs_f64());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("could not make the channel {}: {error}", plan.out.display());
            ExitCode::FAILURE
        }
    }
}

/// Makes what was asked for, and says what that is.
fn make(plan: &channel::Plan, options: &Options) -> std::io::Result<String> {
    let Some(cache) = &options.cache else {
        let made = channel::make(plan)?;
        return Ok(format!("{} packages, {} bytes,", made.packages, made.bytes));
    };
    let key = options.keys_dir.as_deref().zip(options.key.as_deref());
    let key = key
        .map(|(folder, name)| records::SignedBy::key_in(folder, name))
        .transpose()?;
    records::make(plan, cache, key.as_ref())?;
    Ok(format!("{} records", plan.packages))
}
