//! The first half of the story: *walk → read once → record → sign → remember*, for one worker's share. Owns what a worker
//! says of it; the steps are those of [`index()`](super::index), and nothing is published.

use std::time::Instant;

use super::collect::Collector;
use super::examine::{Examined, Standing};
use super::ledger::Asked;
use super::share::{Share, Stage};
use super::shelf::{self, Lying, Shelf};
use super::signing_key::SigningKey;
use super::{Anew, Config, Tools, signed};
use crate::cache::Cache;
use crate::channel::Channel;
use crate::error::Error;
use crate::report::{Refused, Scanned};
use crate::signing_log::SigningLog;

/// Reads and signs what is not remembered of a share of the packages, and remembers it. Any number of such runs may work
/// on one channel side by side, as long as none of them is another kind of run.
///
/// # Errors
/// When the run as a whole failed; signatures that were made stay, and so does what is remembered. What is wrong with
/// single packages is in the report.
pub fn scan(config: &Config, share: Share, tools: Tools<'_>) -> Result<Scanned, Error> {
    let started = Instant::now();
    let (places, cache, pool) = (tools.places, tools.cache, tools.pool);
    let (standing, mut warnings) = signed::begin(config, places, tools.roles, cache, pool)?;
    let places = standing.vouch(places);
    let mut channel = shelf::walk(places, &config.selection)?;
    warnings.append(&mut channel.warnings);
    let anew = Anew {
        config,
        stage: Stage::Scan(share),
        places,
        keyring: tools.keyring,
        standing: &standing,
        // Whatever the last run left: what is read now is news.
        asked: &Asked::nothing(),
        ledger: None,
        pool,
        progress: tools.progress,
        cancelled: tools.cancelled,
    };
    let mut report = anew.scan(share, channel, tools.key, (cache, tools.log))?;
    report.warnings.splice(0..0, warnings);
    report.settle();
    report.seconds = started.elapsed().as_secs_f64();
    Ok(report)
}

impl Anew<'_> {
    fn scan(
        &self,
        share: Share,
        channel: Channel,
        key: SigningKey<'_>,
        (cache, log): (&mut dyn Cache, Option<&mut SigningLog>),
    ) -> Result<Scanned, Error> {
        let (config, places, pool) = (self.config, self.places, self.pool);
        let lying = Lying::beside(channel.subdirs, places)?;
        let known = shelf::known(&lying, cache, pool)?;
        let told = shelf::told(places, &lying, &known, None, pool)?;
        let shelves = shelf::shelves(lying, known, &told, places, pool)?;
        let role_keys = self.standing.role_keys();
        // The key of the index is at hand where it is published, and not here.
        let key = key.unless(role_keys.clone(), Box::new(|| Ok(())));
        let collector = Collector::new(places.target(), cache, log, config.dry_run);
        let examined = self.examine(&shelves, (&key, &role_keys), collector)?;
        Ok(report(config, share, &shelves, &examined))
    }
}

/// What a worker did.
fn report(config: &Config, share: Share, shelves: &[Shelf<'_>], examined: &[Examined]) -> Scanned {
    let mut report = Scanned {
        channel: config.channel.clone(),
        dry_run: config.dry_run,
        share: share.to_string(),
        ..Scanned::default()
    };
    for one in examined {
        count(&mut report, one);
    }
    let names = shelves.iter().flat_map(|shelf| &shelf.lying.subdir.refused);
    for (path, fault) in names.filter(|(path, _)| share.has(path)) {
        report.refused.push(Refused {
            package: path.clone(),
            reason: fault.to_string(),
        });
    }
    report
}

fn count(report: &mut Scanned, one: &Examined) {
    let path = one.file.path();
    report.warnings.extend(one.warnings.iter().cloned());
    if one.opened {
        let size = one.known.as_ref().map_or(0, |known| known.stat.size);
        report.counts.bytes = report.counts.bytes.saturating_add(size);
        report.opened.push(path.clone());
    }
    match &one.standing {
        Ok(Standing::Signed { .. } | Standing::WouldBeSigned) => report.signed.push(path),
        Ok(_) => {}
        Err(refusal) => report.refused.push(Refused {
            package: path,
            reason: refusal.to_string(),
        }),
    }
    if !one.opened && one.standing.is_ok() {
        report.counts.reused = report.counts.reused.saturating_add(1);
    }
}
