//! `sigindex sign`: writes FILE.sig for any file.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::options::{KeysFolder, MinBits, SigningOptions, Threads, Verbosity, signing_log};
use super::own_files::Closed;
use super::signals::{or_interrupted, stop_on_signals};
use super::signing::Keys;
use super::{out, place, status};
use crate::error::Error;
use crate::shown::shown;
use crate::sign::{self, Outcome, Tools};

/// Flags of `sign`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files to sign
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Overwrite a signature that is invalid, of an unknown key, or by another key
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    folder: KeysFolder,
    #[command(flatten)]
    signing: SigningOptions,
    #[command(flatten)]
    min_bits: MinBits,
    #[command(flatten)]
    threads: Threads,
    #[command(flatten)]
    verbosity: Verbosity,
}

pub fn run(args: &Args) -> Result<u8, Error> {
    for file in &args.files {
        place::file(file)?;
    }
    let keys = Keys::open(&args.folder, &args.signing, &args.min_bits)?;
    let cancelled = stop_on_signals()?;
    let progress = args.verbosity.progress();
    let mut log = signing_log(&args.signing, &Closed::new(&keys.folder), false)?;
    let result = sign::sign(
        &args.files,
        Tools {
            keyring: &keys.keyring,
            key: &keys.signing_key(&progress),
            min_bits: args.min_bits.min_bits,
            force: args.force,
            log: log.as_mut(),
            pool: &args.threads.pool()?,
            progress: &progress,
            cancelled: &cancelled,
        },
    );
    let outcomes = or_interrupted(result, &cancelled)?;
    let mut text = String::new();
    let mut failed = false;
    for (file, outcome) in args.files.iter().zip(&outcomes) {
        let file = shown(file);
        let word = match outcome {
            Outcome::Signed => "SIGNED",
            Outcome::Kept => "KEPT",
            Outcome::Skipped => "SKIPPED: it is a signature",
            Outcome::Failed(why) => {
                failed = true;
                out::error(&format!("{file}: {why}"));
                continue;
            }
        };
        // Writing into a String can't fail.
        let _ = writeln!(text, "{file:<40} {word}");
    }
    if !args.verbosity.quiet {
        out::result(&text)?;
    }
    Ok(if failed { status::FAILED } else { 0 })
}
