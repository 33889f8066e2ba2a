//! The command line of the floor: `cargo bench --bench floor -- --channel DIR` reads and hashes a channel's
//! packages, `--digests N` signs that many. It says how long that took, and without either it does nothing.
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

use clap::{CommandFactory, Parser, ValueEnum};

// The name must not be that of the crate, which is `floor` too.
#[path = "floor.rs"]
mod least;

/// Does the least that any indexer has to do, on all cores, and prints the time.
#[derive(Parser)]
#[command(name = "cargo bench --bench floor --")]
struct Options {
    /// Read every package in this channel, and compute its SHA-256 and MD5
    #[arg(long, value_name = "DIR")]
    channel: Option<PathBuf>,
    /// The digests that are computed
    #[arg(long, value_enum, default_value_t = Hash::Both)]
    hash: Hash,
    /// Sign each package's SHA-256 with a 2048-bit key too
    #[arg(long)]
    sign: bool,
    /// Decode each .tar.bz2 too, up to its first member outside info/
    #[arg(long)]
    metadata: bool,
    /// Sign this many digests, and read nothing
    #[arg(long, value_name = "N", conflicts_with = "channel")]
    digests: Option<usize>,
    /// What cargo adds of itself
    #[arg(long, hide = true)]
    bench: bool,
}

/// Which digests are computed.
#[derive(Clone, Copy, ValueEnum)]
enum Hash {
    /// SHA-256 and MD5
    Both,
    /// SHA-256 alone
    Sha256,
    /// MD5 alone
    Md5,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let work = least::Work {
        digests: match options.hash {
            Hash::Both => least::Digests::Both,
            Hash::Sha256 => least::Digests::Sha256,
            Hash::Md5 => least::Digests::Md5,
        },
        sign: options.sign,
        metadata: options.metadata,
    };
    let start = Instant::now();
    let done = match (&options.channel, options.digests) {
        (Some(channel), _) => least::files(channel, work),
        (None, Some(digests)) => least::signatures(digests),
        (None, None) => {
            println!("{}", Options::command().render_help());
            return ExitCode::SUCCESS;
        }
    };
    match done {
        Ok(done) => {
            let seconds = start.elapsed().as_secs_f64();
            let (items, bytes) = (done.items, done.bytes);
            println!(
                "{items} items, {bytes} bytes, in {seconds:.3} s: {:.0} items and {:.1} MB a second",
                items as f64 / seconds,
                bytes as f64 / 1e6 / seconds
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("could not do the work: {error}");
            ExitCode::FAILURE
        }
    }
}
