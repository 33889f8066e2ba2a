//! `sigindex scan`: one worker of several that read and sign a channel's packages. Owns which share of them is its own:
//! by flags, by an agreement in the cache, or by what a job array says.

use super::array::Array;
use super::index::args::{AcceptArgs, AnewArgs, Flags, TrustArgs, excluded_by_no_signing};
use super::index::{Common, Opening, exit_status, show, tell};
use super::options::{SigningOptions, variable};
use super::out;
use crate::error::Error;
use crate::index::{self, Part, Share};
use crate::report::Scanned;
use crate::storage::LockFor;

/// Flags of `scan`.
#[derive(Debug, clap::Args)]
#[command(mut_args(excluded_by_no_signing), after_help = AFTER_HELP)]
pub struct Args {
    #[command(flatten)]
    share: ShareArgs,
    #[command(flatten)]
    signing: SigningOptions,
    #[command(flatten)]
    trust: TrustArgs,
    #[command(flatten)]
    accept: AcceptArgs,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    anew: AnewArgs,
}

const AFTER_HELP: &str = "\
Which packages are this worker's is decided by the first of these that is there:
  1. --part I/N, or --parts N with the number of the task in a job array
  2. a cache that keeps claims (PostgreSQL): each worker claims some, reads them, and claims again
  3. a job array: JOB_COMPLETION_INDEX (Kubernetes; SIGINDEX_PARTS says how many there are),
     SLURM_ARRAY_TASK_ID, AWS_BATCH_JOB_ARRAY_INDEX
  4. all of them

Exit status:
  0 all is well · 1 failed · 2 wrong usage · 3 some packages were refused · 130 interrupted";

/// Which packages are this worker's.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Which packages")]
struct ShareArgs {
    /// Take part I of N, counted from 1
    #[arg(long, value_name = "I/N", value_parser = part)]
    part: Option<Part>,
    /// Take one of N parts; which, says the job array that this task belongs to
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "part")]
    parts: Option<u32>,
}

fn part(text: &str) -> Result<Part, String> {
    let numbers = text.split_once('/');
    let numbers = numbers.and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
    let part = numbers.and_then(|(number, of)| Part::new(number, of));
    part.ok_or_else(|| "not a part, as in 1/4, 2/4, 3/4 and 4/4".to_owned())
}

pub fn run(args: &Args) -> Result<u8, Error> {
    let result = scan(args);
    match &result {
        Ok(report) => {
            tell(&args.common, &report.warnings, &report.refused);
            show(&args.common, report, |all| report.text(all))?;
        }
        Err(error) if args.common.json => {
            let text = serde_json::json!({ "error": error.to_string() });
            out::result(&format!("{text}\n"))?;
        }
        Err(_) => {}
    }
    Ok(exit_status(result?.outcome()))
}

fn scan(args: &Args) -> Result<Scanned, Error> {
    let flags = Flags {
        common: &args.common,
        trust: &args.trust,
        accept: args.accept,
        anew: Some(args.anew),
        publishing: None,
    };
    let config = flags.config()?;
    let asked = args.share.asked()?;
    let opening = Opening {
        common: &args.common,
        signing: Some(&args.signing),
        lock: LockFor::Beside,
    };
    let (mut report, note) = opening.work(|tools| {
        let share = match asked {
            Some(part) => Share::Part(part),
            // A dry run claims nothing.
            None if !config.dry_run && tools.cache.claims().is_some() => Share::Claimed,
            None => {
                let array = Array::found(variable)?;
                let part = array.map(|array| array.part(None)).transpose()?;
                part.map_or(Share::All, Share::Part)
            }
        };
        index::scan(&config, share, tools)
    })?;
    report.warnings.extend(note);
    Ok(report)
}

impl ShareArgs {
    /// The part that the flags ask for.
    fn asked(&self) -> Result<Option<Part>, Error> {
        let Some(parts) = self.parts else {
            return Ok(self.part);
        };
        let array = Array::found(variable)?.ok_or_else(|| {
            Error::Usage(format!(
                "--parts {parts}: this is no task of a job array that would say which of them it takes; give --part I/{parts}"
            ))
        })?;
        array.part(Some(parts)).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_written_with_a_slash() {
        assert_eq!(part("2/4").ok(), Part::new(2, 4));
        for text in [
            "", "2", "0/4", "5/4", "2/0", "a/4", "2/4/8", "-1/4", "2 of 4",
        ] {
            assert!(part(text).is_err(), "{text}");
        }
    }
}
