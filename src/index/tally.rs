//! What became of the packages. Owns the lists of the report and the rule that nothing shrinks silently;
//! makes no index.

use super::Config;
use super::examine::{Examined, Standing};
use super::places::Places;
use super::shelf::Shelf;
use crate::channel::SubdirName;
use crate::repodata::stale_files;
use crate::report::{Refused, Report};

/// What the run did, but for what it is about to publish.
pub fn report(
    config: &Config,
    warnings: Vec<String>,
    shelves: &[Shelf<'_>],
    examined: &[Examined],
    places: Places<'_>,
) -> Report {
    let (channel, dry_run) = (config.channel.clone(), config.dry_run);
    let mut report = Report {
        channel,
        dry_run,
        warnings,
        ..Report::default()
    };
    tally(&mut report, config, shelves, examined);
    hold_back(&mut report, config, shelves, places);
    report.settle();
    report
}

/// Fills the report's lists.
fn tally(report: &mut Report, config: &Config, shelves: &[Shelf<'_>], examined: &[Examined]) {
    for one in examined {
        count(report, shelves, one);
        let added = signature_bytes(config, one);
        report.counts.signature_bytes = report.counts.signature_bytes.saturating_add(added);
    }
    for shelf in shelves {
        for (path, fault) in &shelf.lying.subdir.refused {
            report.refused.push(Refused {
                package: path.clone(),
                reason: fault.to_string(),
            });
        }
        if !config.update_only {
            report.removed.extend(
                shelf
                    .gone()
                    .map(|name| shelf.lying.subdir.name.path_of(name)),
            );
        }
        let stale = stale_files(&shelf.lying.subdir.name, |name| {
            shelf.lying.in_target().others.contains_key(name)
        });
        report.warnings.extend(stale.map(|path| {
            format!(
                "{path}: an index file that sigindex does not write, and that goes stale; remove it"
            )
        }));
    }
    warn_of_clock(report, config, examined);
}

fn count(report: &mut Report, shelves: &[Shelf<'_>], one: &Examined) {
    let path = one.file.path();
    let counts = &mut report.counts;
    counts.opened = counts.opened.saturating_add(usize::from(one.opened));
    report.warnings.extend(one.warnings.iter().cloned());
    let standing = match &one.standing {
        Ok(standing) => standing,
        Err(refusal) => {
            report.refused.push(Refused {
                package: path,
                reason: refusal.to_string(),
            });
            return;
        }
    };
    counts.listed = counts.listed.saturating_add(1);
    counts.reused = counts.reused.saturating_add(usize::from(!one.opened));
    counts.bytes = counts
        .bytes
        .saturating_add(one.known.as_ref().map_or(0, |known| known.stat.size));
    if let Some(shelf) = shelf_of(shelves, &one.file.subdir) {
        match (shelf.was(&one.file.name), shelf.bound(&one.file.name)) {
            (None, _) => report.added.push(path.clone()),
            (_, Some(bound)) if differs(one, bound.sha256) => report.replaced.push(path.clone()),
            _ => {}
        }
    }
    match standing {
        Standing::Kept => counts.kept = counts.kept.saturating_add(1),
        Standing::Signed { .. } | Standing::WouldBeSigned => report.signed.push(path),
        Standing::Unsigned => report.unsigned.push(path),
        Standing::Unverified { .. } => report.unverified.push(path),
    }
}

/// The bytes that a package's signature adds to its record, and that `--signatures detached` leaves out.
fn signature_bytes(config: &Config, one: &Examined) -> u64 {
    let value = match (&one.standing, &one.known) {
        _ if config.detached => None,
        (Err(_), _) => None,
        (Ok(Standing::Unverified { value, .. }), _) => Some(value.len()),
        (Ok(_), Some(known)) => known.signature.as_ref().map(|checked| checked.value.len()),
        (Ok(_), None) => None,
    };
    let key = r#","value":"""#.len();
    value.map_or(0, |value| value.saturating_add(key) as u64)
}

fn differs(one: &Examined, published: Option<[u8; 32]>) -> bool {
    one.known.as_ref().map(|known| known.facts.sha256) != published
}

fn warn_of_clock(report: &mut Report, config: &Config, examined: &[Examined]) {
    let known = examined.iter().filter_map(|one| one.known.as_ref());
    let ahead = known
        .filter(|known| known.indexed_timestamp > config.now)
        .count();
    if ahead > 0 {
        report.warnings.push(format!(
            "{ahead} packages were first indexed in the future by this machine's clock; look whether it is right"
        ));
    }
}

/// Decides whether the index may be published: nothing shrinks silently.
fn hold_back(report: &mut Report, config: &Config, shelves: &[Shelf<'_>], places: Places<'_>) {
    if config.strict && !report.refused.is_empty() {
        report.not_published = Some("a package was refused, and --strict is given".to_owned());
        return;
    }
    if config.drop_refused {
        return;
    }
    let was_published = |path: &str| {
        let (subdir, name) = path.split_once('/')?;
        let shelf = shelves
            .iter()
            .find(|shelf| shelf.lying.subdir.name.as_str() == subdir)?;
        shelf
            .bound(name)
            .filter(|_| !matches!(places.source.stat(path), Ok(None)))
    };
    let leaving = report
        .refused
        .iter()
        .filter(|one| was_published(&one.package).is_some())
        .count();
    if leaving > 0 {
        report.not_published = Some(format!(
            "{} in the published index and would leave it; mend them, or let them go with --drop-refused",
            if leaving == 1 {
                "1 refused package is".to_owned()
            } else {
                format!("{leaving} refused packages are")
            }
        ));
    }
}

fn shelf_of<'s, 'a>(shelves: &'s [Shelf<'a>], subdir: &SubdirName) -> Option<&'s Shelf<'a>> {
    shelves
        .iter()
        .find(|shelf| shelf.lying.subdir.name == *subdir)
}
