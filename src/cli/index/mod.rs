//! `sigindex CHANNEL`: signs what is unsigned, indexes, publishes. Opens what the run works with: places,
//! lock, cache, keys; and what the runs of workers work with, who share them.

pub mod args;
pub mod files;
pub mod open;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::options::{SigningOptions, signing_log};
use super::place::Place;
use super::signals::{or_interrupted, stop_on_signals};
use super::signing::Keys;
use super::{out, status};
use crate::error::Error;
use crate::index::{self, Places, Tools};
use crate::report::{Outcome, Refused, Report};
use crate::shown::line;
use crate::storage::LockFor;
pub use args::{Args, Common};
use open::{Memory, Output};

pub fn run(args: &Args) -> Result<u8, Error> {
    let result = args.config().and_then(|config| {
        let opening = Opening {
            common: &args.common,
            signing: Some(&args.signing),
            lock: LockFor::Alone,
        };
        opening.work(|tools| index::index(&config, tools))
    });
    end(&args.common, result)
}

/// Prints what a run did that was to publish; its exit status.
pub fn end(args: &Common, result: Result<(Report, Option<String>), Error>) -> Result<u8, Error> {
    let result = result.map(|(mut report, note)| {
        report.warnings.extend(note);
        report
    });
    match &result {
        Ok(report) => print(args, report)?,
        Err(error) if args.json => {
            let text = serde_json::json!({ "published": false, "error": error.to_string() });
            out::result(&format!("{text}\n"))?;
        }
        Err(_) => {}
    }
    Ok(exit_status(result?.outcome()))
}

/// The exit status of a run.
pub fn exit_status(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Published => 0,
        Outcome::PublishedInPart => status::IN_PART,
        Outcome::Failed => status::FAILED,
    }
}

/// How often a run is begun while others publish in between.
const TRIES: usize = 5;

/// What a run works with, to be opened.
pub struct Opening<'a> {
    pub common: &'a Common,
    /// Which key signs packages; `None` where none does.
    pub signing: Option<&'a SigningOptions>,
    /// Who else may be at work on the channel.
    pub lock: LockFor,
}

impl Opening<'_> {
    /// Opens it, and lets a run work with it; what came of that, and what there is to say of the cache. Where another run
    /// published meanwhile, all of it is done again on what that one left: what was read is remembered.
    pub fn work<T>(
        &self,
        work: impl Fn(Tools<'_>) -> Result<T, Error>,
    ) -> Result<(T, Option<String>), Error> {
        let args = self.common;
        let source = Place::open(args.channel()?, args.run.writes())?;
        open::demand_channel(&source)?;
        let output = Output::open(args, &source)?;
        let cancelled = stop_on_signals()?;
        for _ in 1..TRIES {
            match self.attempt(&source, &output, &cancelled, &work) {
                Err(error) if error.is_lost_race() => {
                    if !args.verbosity.quiet {
                        out::message(&format!("beginning anew: {error}"));
                    }
                    output.place().unwrap_or(&source).forget();
                    source.forget();
                }
                done => return done,
            }
        }
        self.attempt(&source, &output, &cancelled, &work)
    }

    fn attempt<T>(
        &self,
        source: &Place,
        output: &Output,
        cancelled: &Arc<AtomicBool>,
        work: impl Fn(Tools<'_>) -> Result<T, Error>,
    ) -> Result<(T, Option<String>), Error> {
        let args = self.common;
        let progress = args.verbosity.progress();
        let target = output.place().unwrap_or(source);
        let heed = |stop| [source, target].iter().for_each(|place| place.heed(stop));
        heed(None);
        // A run that has yet to begin has nothing to bring to an end: a signal ends it at once.
        if cancelled.swap(true, Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let _lock = open::lock(args, target, self.lock)?;
        cancelled.store(false, Ordering::Relaxed);
        heed(Some(cancelled));
        let mut memory = Memory::open(args, source, target)?;
        // What was seen while others were waited for may be of long ago.
        source.forget();
        let signing = self.signing.cloned().unwrap_or_default();
        let keys = Keys::open(&args.folder, &signing, &args.min_bits)?;
        let mut log = signing_log(&signing, &open::closed(args, source)?, args.dry_run)?;
        let tools = Tools {
            places: Places::new(source.storage(), output.storage()),
            cache: memory.cache(),
            keyring: &keys.keyring,
            key: keys.signing_key(&progress),
            roles: keys.roles(&progress),
            log: log.as_mut(),
            pool: &args.threads.pool()?,
            progress: &progress,
            cancelled,
        };
        let result = work(tools);
        progress.finish();
        Ok((or_interrupted(result, cancelled)?, memory.note()))
    }
}

fn print(args: &Common, report: &Report) -> Result<(), Error> {
    tell(args, &report.warnings, &report.refused);
    let quiet = args.verbosity.quiet;
    if let (Some(why), true) = (&report.not_published, quiet || args.json) {
        let done = if report.dry_run { "would be" } else { "was" };
        out::error(&format!("nothing {done} published: {why}"));
    }
    show(args, report, |all| report.text(all))
}

/// Says what an operator should know, and names what was refused where no list of it is printed.
pub fn tell(args: &Common, warnings: &[String], refused: &[Refused]) {
    let quiet = args.verbosity.quiet;
    if !quiet {
        warnings.iter().for_each(|warning| out::warning(warning));
    }
    if quiet || args.json {
        for one in refused {
            out::error(&line(&format!("{}: {}", one.package, one.reason)));
        }
    }
}

/// Prints a report: as JSON, as text, or not at all.
pub fn show(
    args: &Common,
    report: &impl serde::Serialize,
    text: impl FnOnce(bool) -> String,
) -> Result<(), Error> {
    if args.json {
        // A report is numbers, texts and lists: it always prints.
        let text = serde_json::to_string(report).unwrap_or_default();
        out::result(&format!("{text}\n"))
    } else if !args.verbosity.quiet {
        out::result(&text(args.verbosity.verbose))
    } else {
        Ok(())
    }
}
