//! `sigindex CHANNEL`: signs what is unsigned, indexes, publishes. Opens what the run works with: places,
//! lock, cache, keys.

mod args;
mod files;
pub mod open;

use std::sync::atomic::Ordering;

use super::options::{or_interrupted, signing_log, stop_on_signals};
use super::place::Place;
use super::signing::Keys;
use super::{out, status};
use crate::error::Error;
use crate::index::{self, Places, Tools};
use crate::report::{Outcome, Report};
pub use args::Args;
use open::{Memory, Output};

pub fn run(args: &Args) -> Result<u8, Error> {
    let result = run_index(args);
    match &result {
        Ok(report) => print(args, report)?,
        Err(error) if args.json => {
            let text = serde_json::json!({ "published": false, "error": error.to_string() });
            out::result(&format!("{text}\n"))?;
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
    let source = Place::open(args.channel()?)?;
    open::demand_channel(&source)?;
    let output = Output::open(args, &source)?;
    let target = output.place().unwrap_or(&source);
    let cancelled = stop_on_signals()?;
    // A run that has yet to begin has nothing to bring to an end: a signal ends it at once.
    if cancelled.swap(true, Ordering::Relaxed) {
        return Err(Error::Interrupted);
    }
    let _lock = open::lock(args, target)?;
    cancelled.store(false, Ordering::Relaxed);
    let mut memory = Memory::open(args, &source, target)?;
    let keys = Keys::open(&args.folder, &args.signing, &args.min_bits)?;
    let mut log = signing_log(&args.signing, args.dry_run)?;
    let tools = Tools {
        places: Places::new(source.storage(), output.storage()),
        cache: memory.cache(),
        keyring: &keys.keyring,
        key: keys.signing_key(&progress),
        roles: keys.roles(&progress),
        log: log.as_mut(),
        pool: &args.threads.pool()?,
        progress: &progress,
        cancelled: &cancelled,
    };
    let result = index::index(&config, tools);
    progress.finish();
    let mut report = or_interrupted(result, &cancelled)?;
    report.warnings.extend(memory.note());
    Ok(report)
}

fn print(args: &Args, report: &Report) -> Result<(), Error> {
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
        let text = serde_json::to_string(report).unwrap_or_default();
        out::result(&format!("{text}\n"))
    } else if !quiet {
        out::result(&report.text(args.verbosity.verbose))
    } else {
        Ok(())
    }
}
