//! `sigindex verify`: checks files, or every package of a channel.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::options::{KeysFolder, MinBits, Threads, Verbosity, stop_on_signals};
use super::signing::open_keyring;
use super::{out, status};
use crate::error::Error;
use crate::verify::{self, Tools, Verdict};

/// Flags of `verify`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files, or folders of channels
    #[arg(required = true, value_name = "FILE|CHANNEL")]
    targets: Vec<PathBuf>,
    #[command(flatten)]
    folder: KeysFolder,
    #[command(flatten)]
    min_bits: MinBits,
    #[command(flatten)]
    threads: Threads,
    #[command(flatten)]
    verbosity: Verbosity,
}

pub fn run(args: &Args) -> Result<u8, Error> {
    let keyring = open_keyring(&args.folder.open()?)?;
    let cancelled = stop_on_signals()?;
    let progress = args.verbosity.progress();
    let verified = verify::verify(
        &args.targets,
        &Tools {
            keyring: &keyring,
            min_bits: args.min_bits.min_bits,
            pool: &args.threads.pool()?,
            progress: &progress,
            cancelled: &cancelled,
        },
    )?;
    let mut text = String::new();
    for one in &verified {
        let verdict = match &one.verdict {
            Verdict::Valid if args.verbosity.quiet => continue,
            Verdict::Valid => "VALID".to_owned(),
            Verdict::Invalid => "INVALID".to_owned(),
            Verdict::Error(why) => format!("ERROR: {}", why.replace('\n', " ")),
        };
        // Writing into a String can't fail; a name with a line break stays on its line.
        let file = one.file.display().to_string().replace('\n', "\\n");
        let _ = writeln!(text, "{file:<40} {verdict}");
    }
    out::result(&text)?;
    let valid = verified.iter().all(|one| one.verdict == Verdict::Valid);
    Ok(if valid { 0 } else { status::FAILED })
}
