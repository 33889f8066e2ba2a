//! `sigindex CHANNEL`: signs what is unsigned, indexes, publishes. Turns flags into the run's
//! configuration and opens what it works with: places, lock, cache, keys.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use globset::{Glob, GlobMatcher};
use sha2::{Digest as _, Sha256};

use super::options::{
    Keys, KeysFolder, MinBits, SigningOptions, Threads, Verbosity, home, stop_on_signals, variable,
};
use super::{out, status};
use crate::cache::{Cache, NoCache, SqliteCache};
use crate::channel::{Selection, SubdirName};
use crate::error::Error;
use crate::index::{self, Config, Freshness, Places, Policy, SignList, Signing, Tools, hex};
use crate::repodata::Formats;
use crate::report::{Outcome, Report};
use crate::signing_log::SigningLog;
use crate::storage::{LocalStorage, Lock, LockMode, Nowhere, Storage};

/// The file of the cache in its folder.
const CACHE_FILE: &str = "cache.db";

/// Flags of `index`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The channel's folder: linux-64, noarch, … with packages in them
    #[arg(required = true)]
    channel: Option<PathBuf>,
    /// Take just this subdir, of any name (repeatable)
    #[arg(long, value_name = "NAME")]
    subdir: Vec<String>,
    /// Write index files and signatures here; the channel's folder is then only read
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Print what would be done, and touch nothing
    #[arg(long)]
    dry_run: bool,
    /// Print the report as JSON on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    verbosity: Verbosity,
    #[command(flatten)]
    threads: Threads,
    #[command(flatten)]
    folder: KeysFolder,
    #[command(flatten)]
    signing: SigningOptions,
    #[command(flatten)]
    min_bits: MinBits,
    #[command(flatten)]
    trust: TrustArgs,
    #[command(flatten)]
    files: FileArgs,
    #[command(flatten)]
    run: RunArgs,
}

/// What is signed, listed and refused.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "What is signed and listed")]
struct TrustArgs {
    /// Sign nothing; list packages without a signature as unsigned
    #[arg(long, conflicts_with_all = ["key", "create_key", "signing_log", "require_signed", "sign_only", "resign"])]
    no_sign: bool,
    /// Sign nothing, and refuse packages without a signature
    #[arg(long, conflicts_with_all = ["key", "create_key", "signing_log", "sign_only", "resign"])]
    require_signed: bool,
    /// Sign only what this list names, in the form of sha256sum
    #[arg(long, value_name = "FILE")]
    sign_only: Option<PathBuf>,
    /// Sign every package anew with the chosen key (rotation)
    #[arg(long)]
    resign: bool,
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
    /// Let refused packages leave the index that were in it
    #[arg(long)]
    drop_refused: bool,
    /// Publish nothing when any package is refused
    #[arg(long)]
    strict: bool,
    /// Keep records of packages whose files are gone
    #[arg(long)]
    update_only: bool,
}

/// Which index files are written.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Index files")]
struct FileArgs {
    /// Write repodata.json.zst [default]
    #[arg(long, overrides_with = "no_zst")]
    zst: bool,
    /// Do not write repodata.json.zst, and remove it
    #[arg(long, overrides_with = "zst")]
    no_zst: bool,
    /// Compression level of .zst files
    #[arg(long, value_name = "LEVEL", default_value_t = 3, value_parser = clap::value_parser!(i32).range(1..=22))]
    zst_level: i32,
    /// Write repodata.json.bz2, for clients of long ago
    #[arg(long, overrides_with = "no_bz2")]
    bz2: bool,
    /// Do not write repodata.json.bz2, and remove it [default]
    #[arg(long, overrides_with = "bz2")]
    no_bz2: bool,
    /// Write JSON on one line [default]
    #[arg(long, overrides_with = "no_compact")]
    compact: bool,
    /// Write JSON indented by two
    #[arg(long, overrides_with = "compact")]
    no_compact: bool,
    /// Whether records hold the signatures themselves, or only whose they are
    #[arg(long, value_name = "WHERE", value_enum, default_value_t = Signatures::Embedded)]
    signatures: Signatures,
}

/// Where signatures stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Signatures {
    /// In the records, and in the `.sig` files
    Embedded,
    /// In the `.sig` files alone
    Detached,
}

/// How a run goes about its work.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Cache and lock")]
struct RunArgs {
    /// The cache: a folder, or a file in it [default: one for this channel under $XDG_CACHE_HOME/sigindex]
    #[arg(long, value_name = "PATH")]
    cache: Option<PathBuf>,
    /// What tells that a file is unchanged; mtime-size is for fresh machines that bring a saved cache
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = StatMode::Full)]
    stat: StatMode,
    /// Read every package again
    #[arg(long)]
    rehash: bool,
    /// Wait for another run on this channel to end
    #[arg(long)]
    wait: bool,
    /// Go without the lock, on file systems that have none
    #[arg(long, conflicts_with = "wait")]
    no_lock: bool,
}

/// What tells that a file is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StatMode {
    /// Size, mtime, inode and ctime
    Full,
    /// Size and mtime
    MtimeSize,
}

pub fn run(args: &Args) -> Result<u8, Error> {
    let result = run_index(args);
    match &result {
        Ok(report) => print(args, report),
        Err(error) if args.json => {
            let text = serde_json::json!({ "published": false, "error": error.to_string() });
            out::result(&format!("{text}\n"));
        }
        Err(_) => {}
    }
    Ok(match result?.outcome() {
        Outcome::Published => 0,
        Outcome::PublishedInPart => status::IN_PART,
        Outcome::Failed => status::FAILED,
    })
}

fn run_index(args: &Args) -> Result<Report, Error> {
    let config = config(args)?;
    let progress = args.verbosity.progress();
    let source = LocalStorage::open(channel(args)?)?;
    let output = output(args, &source)?;
    let target = output.as_deref().unwrap_or(&source);
    let _lock = lock(args, target)?;
    // Until here a signal just ends the process, a wait for the lock included.
    let cancelled = stop_on_signals()?;
    let (mut cache, note) = cache(args, &source, target)?;
    let keys = Keys::open(&args.folder, &args.signing, &args.min_bits)?;
    let log = args
        .signing
        .signing_log
        .as_deref()
        .filter(|_| !args.dry_run);
    let mut log = log.map(SigningLog::open).transpose()?;
    let nowhere = Nowhere;
    let missing: Option<&dyn Storage> = args.output.is_some().then_some(&nowhere);
    let tools = Tools {
        places: Places {
            source: &source,
            output: output.as_deref().map_or(missing, |output| Some(output)),
        },
        cache: cache.as_mut(),
        keyring: &keys.keyring,
        key: keys.signing_key(&progress),
        log: log.as_mut(),
        pool: &args.threads.pool()?,
        progress: &progress,
        cancelled: &cancelled,
    };
    let result = index::index(&config, tools);
    progress.finish();
    let mut report = result?;
    report.warnings.extend(note);
    Ok(report)
}

/// Clap demands the channel, except beside another verb.
fn channel(args: &Args) -> Result<&Path, Error> {
    args.channel
        .as_deref()
        .ok_or_else(|| Error::Usage("name a channel, or see --help".to_owned()))
}

fn print(args: &Args, report: &Report) {
    let quiet = args.verbosity.quiet;
    if !quiet {
        report
            .warnings
            .iter()
            .for_each(|warning| out::warning(warning));
    }
    if quiet || args.json {
        for one in &report.refused {
            out::error(&format!("{}: {}", one.package, one.reason));
        }
    }
    if let (Some(why), true) = (&report.not_published, quiet) {
        out::error(&format!("nothing was published: {why}"));
    }
    if args.json {
        // A report is numbers, texts and lists: it always prints.
        out::result(&format!(
            "{}\n",
            serde_json::to_string(report).unwrap_or_default()
        ));
    } else if !quiet {
        out::result(&report.text(args.verbosity.verbose));
    }
}

fn config(args: &Args) -> Result<Config, Error> {
    let names = args.subdir.iter().map(|name| {
        SubdirName::chosen(name).ok_or_else(|| {
            Error::Usage(format!(
                "--subdir {}: not the name of a folder in the channel",
                name.escape_debug()
            ))
        })
    });
    let names: Vec<SubdirName> = names.collect::<Result<_, _>>()?;
    Ok(Config {
        channel: channel(args)?.display().to_string(),
        selection: if names.is_empty() {
            Selection::Standard
        } else {
            Selection::Named(names)
        },
        policy: policy(&args.trust)?,
        min_bits: args.min_bits.min_bits,
        formats: Formats {
            zst: !args.files.no_zst,
            zst_level: args.files.zst_level,
            bz2: args.files.bz2,
            compact: !args.files.no_compact,
        },
        detached: args.files.signatures == Signatures::Detached,
        strict: args.trust.strict,
        drop_refused: args.trust.drop_refused,
        update_only: args.trust.update_only,
        check_archives: args.trust.check_archives,
        freshness: match args.run.stat {
            StatMode::Full => Freshness::Full,
            StatMode::MtimeSize => Freshness::SizeAndMtime,
        },
        rehash: args.run.rehash,
        dry_run: args.dry_run,
        now: now()?,
    })
}

fn policy(args: &TrustArgs) -> Result<Policy, Error> {
    let signing = match &args.sign_only {
        Some(path) => Signing::Listed(sign_list(path)?),
        None if args.no_sign => Signing::Off,
        None if args.require_signed => Signing::Required,
        None => Signing::All,
    };
    Ok(Policy {
        signing,
        replace: args.replace.as_deref().map(glob).transpose()?,
        resign: args.resign,
        keep_unknown: args.keep_unknown,
        allow_mismatch: args.allow_mismatch,
    })
}

fn sign_list(path: &Path) -> Result<SignList, Error> {
    let text = std::fs::read_to_string(path).map_err(|cause| Error::File {
        path: path.display().to_string(),
        operation: "read the list of what may be signed",
        cause,
    })?;
    SignList::parse(&path.display().to_string(), &text)
}

fn glob(pattern: &str) -> Result<GlobMatcher, Error> {
    let glob = Glob::new(pattern)
        .map_err(|error| Error::Usage(format!("--replace={pattern}: {error}")))?;
    Ok(glob.compile_matcher())
}

/// The time of this run in Unix milliseconds; `SOURCE_DATE_EPOCH` (seconds) wins.
fn now() -> Result<i64, Error> {
    if let Some(seconds) = variable("SOURCE_DATE_EPOCH")? {
        let milliseconds = seconds
            .parse::<i64>()
            .ok()
            .and_then(|seconds| seconds.checked_mul(1_000));
        return milliseconds.filter(|ms| *ms >= 0).ok_or_else(|| {
            Error::Usage(format!(
                "SOURCE_DATE_EPOCH={}: not a number of seconds since 1970",
                seconds.escape_debug()
            ))
        });
    }
    Ok(jiff::Timestamp::now().as_millisecond().max(0))
}

/// The storage that is written, where it isn't the channel's folder. A dry run makes no folder.
fn output(args: &Args, source: &LocalStorage) -> Result<Option<Box<LocalStorage>>, Error> {
    let Some(path) = &args.output else {
        return Ok(None);
    };
    if args.dry_run && !path.exists() {
        return Ok(None);
    }
    let output = if args.dry_run {
        LocalStorage::open(path)?
    } else {
        LocalStorage::create(path)?
    };
    Ok((output.root() != source.root()).then(|| Box::new(output)))
}

fn lock(args: &Args, target: &LocalStorage) -> Result<Option<Lock>, Error> {
    if args.dry_run || args.run.no_lock {
        return Ok(None);
    }
    if !args.run.wait {
        return Ok(Some(target.lock(LockMode::Fail)?));
    }
    match target.lock(LockMode::Fail) {
        Ok(lock) => return Ok(Some(lock)),
        Err(error) if !args.verbosity.quiet => out::message(&format!("{error}; waiting")),
        Err(_) => {}
    }
    Ok(Some(target.lock(LockMode::Wait)?))
}

/// The cache, and what there is to say of it. A dry run reads one that is there, and makes none.
fn cache(
    args: &Args,
    source: &LocalStorage,
    target: &LocalStorage,
) -> Result<(Box<dyn Cache>, Option<String>), Error> {
    let path = cache_path(args, source, target)?;
    if args.dry_run {
        let opened = SqliteCache::open_read_only(&path);
        return Ok((
            opened.map_or_else(
                || Box::new(NoCache) as Box<dyn Cache>,
                |cache| Box::new(cache),
            ),
            None,
        ));
    }
    let cache = SqliteCache::open(&path)?;
    let note = cache.note().map(str::to_owned);
    Ok((Box::new(cache), note))
}

fn cache_path(args: &Args, source: &LocalStorage, target: &LocalStorage) -> Result<PathBuf, Error> {
    let Some(path) = &args.run.cache else {
        return default_cache_path(source, target);
    };
    let path = std::path::absolute(path).map_err(|cause| Error::File {
        path: path.display().to_string(),
        operation: "find the cache",
        cause,
    })?;
    let inside = |root: &Path| {
        path.starts_with(root) || path.canonicalize().is_ok_and(|path| path.starts_with(root))
    };
    if inside(source.root()) || inside(target.root()) {
        return Err(Error::Usage(format!(
            "--cache {}: lies inside the channel, where whoever may upload packages could write it; name a place outside",
            path.display()
        )));
    }
    Ok(if path.is_file() {
        path
    } else {
        path.join(CACHE_FILE)
    })
}

/// A folder for this channel and its output, told apart by a hash of both paths.
fn default_cache_path(source: &LocalStorage, target: &LocalStorage) -> Result<PathBuf, Error> {
    let base = variable("XDG_CACHE_HOME")?
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let base = match base {
        Some(base) => base,
        None => home()?.join(".cache"),
    };
    let mut hash = Sha256::new();
    hash.update(source.root().as_os_str().as_encoded_bytes());
    hash.update([0]);
    hash.update(target.root().as_os_str().as_encoded_bytes());
    let digest: String = hex(&hash.finalize()).chars().take(16).collect();
    let name = source
        .root()
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    Ok(base
        .join("sigindex")
        .join(format!("{name}-{digest}"))
        .join(CACHE_FILE))
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
                .and_then(|args| config(&args).ok())
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
