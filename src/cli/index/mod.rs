//! `sigindex CHANNEL`: signs what is unsigned, indexes, publishes. Opens what the run works with: places,
//! lock, cache, keys.

mod args;

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use sha2::{Digest as _, Sha256};

use super::options::{Keys, home, or_interrupted, stop_on_signals, variable};
use super::{out, status};
use crate::cache::{Cache, NoCache, SqliteCache};
use crate::error::Error;
use crate::index::{self, Places, Tools};
use crate::record::hex;
use crate::report::{Outcome, Report};
use crate::signing_log::SigningLog;
use crate::storage::{LocalStorage, Lock, LockMode, Nowhere, Storage};
pub use args::Args;

/// The file of the cache in its folder.
const CACHE_FILE: &str = "cache.db";

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
    let config = args.config()?;
    let progress = args.verbosity.progress();
    let source = LocalStorage::open(args.channel()?)?;
    let output = output(args, &source)?;
    let target = output.as_deref().unwrap_or(&source);
    let cancelled = stop_on_signals()?;
    // A run that has yet to begin has nothing to bring to an end: a signal ends it at once.
    cancelled.store(true, Ordering::Relaxed);
    let _lock = lock(args, target)?;
    cancelled.store(false, Ordering::Relaxed);
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
    let mut report = or_interrupted(result, &cancelled)?;
    report.warnings.extend(note);
    Ok(report)
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
    if let (Some(why), true) = (&report.not_published, quiet || args.json) {
        let done = if report.dry_run { "would be" } else { "was" };
        out::error(&format!("nothing {done} published: {why}"));
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
