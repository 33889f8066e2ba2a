//! The flags of `index` and of those runs that do a part of it, and the configuration that they mean.

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::files::FileArgs;
use crate::channel::{Selection, SubdirName};
use crate::cli::options::{
    KeysFolder, MinBits, SigningOptions, Threads, Verbosity, clock, now, read_text,
};
use crate::cli::place::Writes;
use crate::error::Error;
use crate::index::{Config, Freshness, Glob, Patches, Policy, SignList, SignedConfig, Signing};
use crate::repodata::{Formats, Pins};
use crate::shown::{shown, told};
use crate::upstream::without_secrets;

/// The largest list of what may be signed, in bytes: some two million lines.
const MAX_SIGN_LIST: u64 = 256 << 20;

/// In milliseconds.
const DAY: i64 = 24 * 3_600 * 1_000;

const TRUST_HEADING: &str = "What is signed and listed";
const SIGNED_HEADING: &str = "Signed index (switched on by `sigindex trust init`)";
const RUN_HEADING: &str = "Cache and lock";

/// Flags of `index`.
#[derive(Debug, clap::Args)]
#[command(mut_args(excluded_by_no_signing))]
pub struct Args {
    #[command(flatten)]
    pub signing: SigningOptions,
    #[command(flatten)]
    trust: TrustArgs,
    #[command(flatten)]
    hold: HoldArgs,
    #[command(flatten)]
    files: FileArgs,
    #[command(flatten)]
    accept: AcceptArgs,
    #[command(flatten)]
    index: SignedArgs,
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    anew: AnewArgs,
}

/// What every run on a channel takes.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = None::<&str>)]
pub struct Common {
    /// The channel: a folder with linux-64, noarch, … in it, or s3://BUCKET/PREFIX
    #[arg(required = true)]
    channel: Option<PathBuf>,
    /// Take just this subdir, of any name (repeatable)
    #[arg(long, value_name = "NAME", alias = "target-platform")]
    subdir: Vec<String>,
    /// Write index files and signatures here; the channel's folder is then only read
    #[arg(long, value_name = "PLACE")]
    pub output: Option<PathBuf>,
    /// Print what would be done, and touch nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print the report as JSON on stdout
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub verbosity: Verbosity,
    #[command(flatten)]
    pub threads: Threads,
    #[command(flatten)]
    pub folder: KeysFolder,
    #[command(flatten)]
    pub min_bits: MinBits,
    #[command(flatten)]
    pub run: RunArgs,
}

/// What is done about a signed index that is not as it should be.
#[derive(Debug, Clone, Copy, clap::Args)]
#[command(next_help_heading = SIGNED_HEADING)]
pub struct AcceptArgs {
    /// Take index files as they stand where the signed index is broken or was put back, and begin a new generation
    #[arg(long)]
    accept_index: bool,
}

/// What is done about the generations of a signed index.
#[derive(Debug, Clone, Copy, clap::Args)]
#[command(next_help_heading = SIGNED_HEADING)]
pub struct SignedArgs {
    /// How many generations stay, the newest among them; one that was replaced within the hour always does
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    keep_generations: u16,
}

/// What is signed, listed and refused.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = TRUST_HEADING)]
pub struct TrustArgs {
    /// Sign nothing; list packages without a signature as unsigned
    #[arg(long, conflicts_with_all = ["require_signed", "sign_only"])]
    no_sign: bool,
    /// Sign nothing, and refuse packages without a signature
    #[arg(long, conflicts_with = "sign_only")]
    require_signed: bool,
    /// Sign only what this list names, in the form of sha256sum
    #[arg(long, value_name = "FILE")]
    sign_only: Option<PathBuf>,
    /// Accept changed bytes and broken signatures, and sign them anew; of all packages, or those that match
    #[arg(long, value_name = "GLOB", num_args = 0..=1, require_equals = true, default_missing_value = "*")]
    replace: Option<String>,
    /// List packages signed by a key that isn't in the keys folder, marked as unverified
    #[arg(long)]
    keep_unknown: bool,
    /// List packages whose metadata contradicts their file name or subdir
    #[arg(long)]
    allow_mismatch: bool,
    /// Decode archives to their end: checksums, duplicates, paths, bytes behind the end
    #[arg(long)]
    check_archives: bool,
}

/// What is read and signed though it is known.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct AnewArgs {
    /// Sign every package anew with the chosen key (rotation)
    #[arg(long, help_heading = TRUST_HEADING)]
    resign: bool,
    /// Read every package again
    #[arg(long, help_heading = RUN_HEADING)]
    rehash: bool,
}

/// What is published when not all is well.
#[derive(Debug, Clone, Copy, clap::Args)]
#[command(next_help_heading = TRUST_HEADING)]
pub struct HoldArgs {
    /// Let refused packages leave the index that were in it; they count as new from then on
    #[arg(long)]
    drop_refused: bool,
    /// Publish nothing when any package is refused
    #[arg(long)]
    strict: bool,
    /// Keep records of packages whose files are gone
    #[arg(long, overrides_with = "no_update_only")]
    update_only: bool,
    #[arg(long, overrides_with = "update_only", hide = true)]
    no_update_only: bool,
}

/// How a run goes about its work.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = RUN_HEADING)]
pub struct RunArgs {
    /// The cache: a folder, or a file in it [default: one for this channel under $XDG_CACHE_HOME/sigindex]; or a shared
    /// one, postgres://USER@HOST/DATABASE
    #[arg(long, value_name = "PATH")]
    pub cache: Option<PathBuf>,
    /// What tells that a file is unchanged; mtime-size is for fresh machines that bring a saved cache
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = StatMode::Full)]
    stat: StatMode,
    /// Wait for another run on this channel to end
    #[arg(long)]
    pub wait: bool,
    /// Go without the lock, on file systems that have none
    #[arg(long, conflicts_with = "wait")]
    pub no_lock: bool,
    /// Write to object storage that knows no conditional writes
    #[arg(long)]
    no_conditional_writes: bool,
}

impl RunArgs {
    /// Whether writes to object storage rest on their conditions.
    pub fn writes(&self) -> Writes {
        match self.no_conditional_writes {
            true => Writes::Unconditional,
            false => Writes::Conditional,
        }
    }
}

/// What tells that a file is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StatMode {
    /// Size, mtime, inode and ctime
    Full,
    /// Size and mtime
    MtimeSize,
}

/// Flags that mean nothing where nothing is signed.
pub fn excluded_by_no_signing(arg: clap::Arg) -> clap::Arg {
    match arg.get_id().as_str() {
        "key" | "create_key" | "signing_log" | "resign" => {
            arg.conflicts_with_all(["no_sign", "require_signed"])
        }
        _ => arg,
    }
}

/// The flags of a run, as far as its verb has them.
pub struct Flags<'a> {
    pub common: &'a Common,
    pub trust: &'a TrustArgs,
    pub accept: AcceptArgs,
    /// Of runs that read and sign.
    pub anew: Option<AnewArgs>,
    /// Of runs that publish.
    pub publishing: Option<(HoldArgs, &'a FileArgs, SignedArgs)>,
}

impl Common {
    /// The channel's folder. Clap demands it, except beside another verb.
    pub fn channel(&self) -> Result<&Path, Error> {
        self.channel
            .as_deref()
            .ok_or_else(|| Error::Usage("name a channel, or see --help".to_owned()))
    }

    fn selection(&self) -> Result<Selection, Error> {
        let names = self.subdir.iter().map(|name| {
            SubdirName::chosen(name).ok_or_else(|| {
                Error::Usage(format!(
                    "--subdir {}: not the name of a folder in the channel",
                    without_secrets(name).escape_debug()
                ))
            })
        });
        let names: Vec<SubdirName> = names.collect::<Result<_, _>>()?;
        Ok(match names.is_empty() {
            true => Selection::Standard,
            false => Selection::Named(names),
        })
    }
}

impl Args {
    /// What the run is asked to do.
    pub fn config(&self) -> Result<Config, Error> {
        let flags = Flags {
            common: &self.common,
            trust: &self.trust,
            accept: self.accept,
            anew: Some(self.anew),
            publishing: Some((self.hold, &self.files, self.index)),
        };
        flags.config()
    }
}

impl Flags<'_> {
    /// What the run is asked to do.
    pub fn config(&self) -> Result<Config, Error> {
        let (common, run) = (self.common, &self.common.run);
        let config = Config {
            channel: told(common.channel()?),
            selection: common.selection()?,
            policy: policy(self.trust, self.anew)?,
            min_bits: common.min_bits.min_bits,
            formats: Formats::default(),
            patches: Patches::OfSubdirs,
            pins: Pins::default(),
            keep_shards: 0,
            detached: false,
            strict: false,
            drop_refused: false,
            update_only: false,
            check_archives: self.trust.check_archives,
            freshness: match run.stat {
                StatMode::Full => Freshness::Full,
                StatMode::MtimeSize => Freshness::SizeAndMtime,
            },
            rehash: self.anew.is_some_and(|anew| anew.rehash),
            signed: SignedConfig {
                accept: self.accept.accept_index,
                keep: 1,
                clock: clock(),
            },
            dry_run: common.dry_run,
            now: now()?,
        };
        self.publishing(config)
    }

    /// The same, with what only a run that publishes is asked.
    fn publishing(&self, config: Config) -> Result<Config, Error> {
        let Some((hold, files, index)) = self.publishing else {
            return Ok(config);
        };
        Ok(Config {
            formats: files.formats(self.common.channel()?)?,
            patches: files.patches()?,
            pins: files.pins()?,
            keep_shards: i64::from(files.keep_shards).saturating_mul(DAY),
            detached: files.detached(),
            strict: hold.strict,
            drop_refused: hold.drop_refused,
            update_only: hold.update_only,
            signed: SignedConfig {
                keep: usize::from(index.keep_generations),
                ..config.signed
            },
            ..config
        })
    }
}

fn policy(args: &TrustArgs, anew: Option<AnewArgs>) -> Result<Policy, Error> {
    let signing = match &args.sign_only {
        Some(path) => Signing::Listed(sign_list(path)?),
        None if args.no_sign => Signing::Off,
        None if args.require_signed => Signing::Required,
        None => Signing::All,
    };
    Ok(Policy {
        signing,
        replace: args.replace.as_deref().map(glob).transpose()?,
        resign: anew.is_some_and(|anew| anew.resign),
        keep_unknown: args.keep_unknown,
        allow_mismatch: args.allow_mismatch,
    })
}

fn sign_list(path: &Path) -> Result<SignList, Error> {
    let text = read_text(path, MAX_SIGN_LIST, "read the list of what may be signed")?;
    SignList::parse(&shown(path), &text)
}

fn glob(pattern: &str) -> Result<Glob, Error> {
    Glob::parse(pattern).map_err(|error| Error::Usage(format!("--replace={error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory as _, Parser};

    #[derive(Debug, Parser)]
    struct Only {
        #[command(flatten)]
        args: Args,
    }

    fn parsed(words: &[&str]) -> Option<Args> {
        Only::try_parse_from(["sigindex"].iter().chain(words))
            .ok()
            .map(|only| only.args)
    }

    #[test]
    fn the_flags_are_consistent() {
        Only::command().debug_assert();
    }

    #[test]
    fn the_last_of_two_opposite_flags_wins() {
        let zst = |words: &[&str]| {
            parsed(words)
                .and_then(|args| args.config().ok())
                .map(|config| config.formats.zst)
        };
        assert_eq!(zst(&["c"]), Some(true));
        assert_eq!(zst(&["c", "--no-zst"]), Some(false));
        assert_eq!(zst(&["c", "--no-zst", "--zst"]), Some(true));
        assert_eq!(zst(&["c", "--zst", "--no-zst"]), Some(false));
    }

    #[test]
    fn replace_takes_a_pattern_or_none() {
        let replace = |words: &[&str]| parsed(words).and_then(|args| args.trust.replace);
        assert_eq!(replace(&["c", "--replace"]).as_deref(), Some("*"));
        assert_eq!(replace(&["--replace", "c"]).as_deref(), Some("*"));
        assert_eq!(replace(&["c", "--replace=a-*"]).as_deref(), Some("a-*"));
        assert_eq!(replace(&["c"]), None);
    }

    #[test]
    fn what_contradicts_itself_is_wrong_usage() {
        for words in [
            &["c", "--no-sign", "--key", "K"][..],
            &["c", "--no-sign", "--require-signed"],
            &["c", "--no-sign", "--resign"],
            &["c", "--key", "K", "--create-key", "L"],
            &["c", "--zst-level", "0"],
            &["c", "--threads", "0"],
            &["c", "-q", "-v"],
            &[],
        ] {
            assert!(parsed(words).is_none(), "{words:?}");
        }
    }
}
