//! `sigindex verify`: checks files, the packages of folders, and whole channels.

mod json;
mod open;
mod table;

use std::ffi::OsString;
use std::path::PathBuf;

use super::options::{KeysFolder, MinBits, Threads, Verbosity};
use super::signals::stop_on_signals;
use super::signing::open_keyring;
use super::{out, status};
use crate::audit::{self, Audit, Keep, PrefixAudit, PrefixRequest, Request, Sample};
use crate::channel::SubdirName;
use crate::error::Error;
use crate::upstream::without_secrets;
use crate::verify::{self, Tools, Verdict, Verified};
use open::{Anchors, Target};

/// Flags of `verify`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files, folders, and channels by folder or URL
    #[arg(required_unless_present = "prefix", value_name = "FILE|CHANNEL")]
    targets: Vec<OsString>,
    /// Hold what is installed in an environment against the index of its channels
    #[arg(long, value_name = "ENV", help_heading = "Environments")]
    prefix: Option<PathBuf>,
    /// Hold it against this channel, by folder or URL [default: those that the packages name]
    #[arg(
        long,
        value_name = "CHANNEL",
        requires = "prefix",
        help_heading = "Environments"
    )]
    channel: Option<String>,
    /// Keys that a channel is held against [default: those pinned to it, else all in the folder]
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        help_heading = "Channels"
    )]
    trust: Vec<String>,
    /// Look into this subdir alone (repeatable)
    #[arg(long, value_name = "NAME", help_heading = "Channels")]
    subdir: Vec<String>,
    /// Read N packages, chosen at random; index files are read all the same
    #[arg(long, value_name = "N", help_heading = "Channels")]
    sample: Option<usize>,
    /// Choose the same again, by the seed that was printed
    #[arg(
        long,
        value_name = "SEED",
        requires = "sample",
        help_heading = "Channels"
    )]
    seed: Option<u64>,
    /// Print one JSON object
    #[arg(long, help_heading = "Output")]
    json: bool,
    #[command(flatten)]
    folder: KeysFolder,
    #[command(flatten)]
    min_bits: MinBits,
    #[command(flatten)]
    threads: Threads,
    #[command(flatten)]
    verbosity: Verbosity,
}

/// All that came out.
struct Outcome {
    files: Vec<Verified>,
    channels: Vec<Audit>,
    prefix: Option<PrefixAudit>,
}

impl Outcome {
    fn is_valid(&self) -> bool {
        let mut files = self.files.iter();
        files.all(|one| one.verdict == Verdict::Valid)
            && self.channels.iter().all(Audit::is_valid)
            && self.prefix.as_ref().is_none_or(PrefixAudit::is_valid)
    }
}

pub fn run(args: &Args) -> Result<u8, Error> {
    let folder = args.folder.open()?;
    let keyring = open_keyring(&folder)?;
    let cancelled = stop_on_signals()?;
    let progress = args.verbosity.progress();
    let tools = Tools {
        keyring: &keyring,
        min_bits: args.min_bits.min_bits,
        pool: &args.threads.pool()?,
        progress: &progress,
        cancelled: &cancelled,
    };
    let anchors = Anchors::of(&args.trust, &folder, &keyring)?;
    let outcome = args.outcome(&anchors, &tools)?;
    out::result(&match args.json {
        true => json::text(&outcome),
        false => table::text(&outcome, &args.verbosity),
    })?;
    Ok(if outcome.is_valid() {
        0
    } else {
        status::FAILED
    })
}

impl Args {
    fn outcome(&self, anchors: &Anchors<'_>, tools: &Tools<'_>) -> Result<Outcome, Error> {
        let (mut files, mut channels): (Vec<PathBuf>, _) = (Vec::new(), Vec::new());
        for target in &self.targets {
            match Target::open(target, anchors)? {
                Target::Files(path) => files.push(path),
                Target::Channel(anchor, place) => channels.push((anchor, place)),
            }
        }
        let subdirs = self.subdir.iter().map(|name| subdir(name));
        let mut request = Request {
            anchor: audit::Anchor::Folder,
            subdirs: subdirs.collect::<Result<_, Error>>()?,
            sample: self.sample.map(|size| Sample {
                size,
                seed: self.seed.unwrap_or_else(Sample::any_seed),
            }),
            keep: self.keep(),
        };
        let files = verify::verify(&files, tools)?;
        let mut audits = Vec::new();
        for (anchor, place) in &channels {
            request.anchor.clone_from(anchor);
            audits.push(audit::audit(place, &request, tools)?);
        }
        Ok(Outcome {
            files,
            channels: audits,
            prefix: self.prefix(anchors, tools)?,
        })
    }
}

impl Args {
    fn keep(&self) -> Keep {
        match self.verbosity.verbose {
            true => Keep::All,
            false => Keep::Faults,
        }
    }

    fn prefix(
        &self,
        anchors: &Anchors<'_>,
        tools: &Tools<'_>,
    ) -> Result<Option<PrefixAudit>, Error> {
        let Some(prefix) = &self.prefix else {
            return Ok(None);
        };
        let request = PrefixRequest {
            channel: self.channel.clone(),
            anchor: &|channel| anchors.of_another(channel),
            keep: self.keep(),
        };
        audit::audit_prefix(prefix, &request, tools).map(Some)
    }
}

fn subdir(name: &str) -> Result<SubdirName, Error> {
    SubdirName::chosen(name).ok_or_else(|| {
        let name = without_secrets(name);
        Error::Usage(format!("--subdir {name:?}: not the name of a subdir"))
    })
}
