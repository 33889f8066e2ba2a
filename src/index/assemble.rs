//! From examined packages to index files. Owns the lists of the report, the rule that nothing shrinks
//! silently, and what each document holds; writes nothing.

use std::collections::{BTreeMap, HashSet};

use rayon::ThreadPool;
use rayon::prelude::*;

use super::Config;
use super::examine::{Examined, Standing};
use super::shelf::{Places, Shelf};
use crate::channel::{PackageFile, SubdirName};
use crate::error::Error;
use crate::json::{self, Json, Object};
use crate::keys::{Fingerprint, KeyName, Keyring, PublicKey};
use crate::package::Format;
use crate::publish;
use crate::record::{Additions, SignatureNote, hex};
use crate::repodata::{Document, Listed, PublishedRecord, index_files, stale_files};
use crate::report::{Refused, Report};
use crate::storage::Change;

/// Where the names and sizes of signing keys are looked up.
pub struct SigningKeys<'a> {
    /// The keys folder.
    pub keyring: &'a Keyring,
    /// The key that signed in this run, which may be newer than the keyring.
    pub made_with: Option<&'a PublicKey>,
}

impl SigningKeys<'_> {
    fn find(&self, fingerprint: &Fingerprint) -> Option<(KeyName, u32)> {
        let made_with = self
            .made_with
            .filter(|key| key.fingerprint() == *fingerprint);
        let key = made_with.or_else(|| self.keyring.by_fingerprint(fingerprint))?;
        Some((key.name().clone(), key.bits()))
    }
}

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
        for (path, fault) in &shelf.subdir.refused {
            report.refused.push(Refused {
                package: path.clone(),
                reason: fault.to_string(),
            });
        }
        if !config.update_only {
            report.removed.extend(
                shelf
                    .gone()
                    .map(|(name, _)| shelf.subdir.name.path_of(name)),
            );
        }
        let stale = stale_files(&shelf.subdir.name, |name| {
            shelf.others_in_target.contains_key(name)
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
        match (
            shelf.published.records.get(&one.file.name),
            shelf.bound(&one.file.name),
        ) {
            (None, _) => report.added.push(path.clone()),
            (_, Some(bound)) if differs(one, bound.sha256.as_deref()) => {
                report.replaced.push(path.clone())
            }
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

fn differs(one: &Examined, published: Option<&str>) -> bool {
    one.known
        .as_ref()
        .map(|known| hex(&known.facts.sha256))
        .as_deref()
        != published
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
            .find(|shelf| shelf.subdir.name.as_str() == subdir)?;
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

/// What has to be written so that the channel's index is that of these packages, in order.
pub fn changes(
    config: &Config,
    shelves: &[Shelf<'_>],
    examined: &[Examined],
    keys: &SigningKeys<'_>,
    places: Places<'_>,
    pool: &ThreadPool,
) -> Result<Vec<Change>, Error> {
    let mut by_subdir: BTreeMap<&SubdirName, Vec<&Examined>> = BTreeMap::new();
    for one in examined {
        by_subdir.entry(&one.file.subdir).or_default().push(one);
    }
    let batch = |shelf: &Shelf<'_>| {
        let packages = by_subdir
            .get(&shelf.subdir.name)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let document = document(config, shelf, packages, keys)?;
        publish::changes(places.target(), &index_files(&document, &config.formats)?)
    };
    let batches: Vec<Vec<Change>> =
        pool.install(|| shelves.par_iter().map(batch).collect::<Result<_, _>>())?;
    Ok(batches.into_iter().flatten().collect())
}

fn document<'a>(
    config: &Config,
    shelf: &'a Shelf<'_>,
    packages: &[&Examined],
    keys: &SigningKeys<'_>,
) -> Result<Document<'a>, Error> {
    let mut document = Document {
        subdir: &shelf.subdir.name,
        listed: Vec::with_capacity(packages.len()),
        signing_keys: BTreeMap::new(),
        signatures: Object::new(),
    };
    let mut same = HashSet::new();
    for one in packages {
        if let Some(listed) = listed(config, shelf, one)? {
            same.extend(unchanged(shelf, one).map(|_| one.file.name.as_str()));
            document.listed.push(listed);
            let checked = one
                .known
                .as_ref()
                .and_then(|known| known.signature.as_ref());
            document.signing_keys.extend(checked.and_then(|checked| {
                keys.find(&checked.fingerprint)
                    .map(|found| (checked.fingerprint, found))
            }));
        }
    }
    if config.update_only {
        keep_gone(&mut document, shelf);
    }
    let foreign = shelf.published.signatures.iter();
    let foreign = foreign.filter(|(name, _)| same.contains(name.as_str()));
    document.signatures = foreign
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    Ok(document)
}

/// A package's published record, as long as it is of the same bytes.
fn unchanged<'s, 'a>(shelf: &'s Shelf<'a>, one: &Examined) -> Option<&'s PublishedRecord<'a>> {
    let sha256 = hex(&one.known.as_ref()?.facts.sha256);
    let published = shelf.published.records.get(&one.file.name);
    published.filter(|record| record.sha256.as_ref() == Some(&sha256))
}

/// A package's line in the index; `None` when it was refused.
fn listed(config: &Config, shelf: &Shelf<'_>, one: &Examined) -> Result<Option<Listed>, Error> {
    let (Ok(standing), Some(known)) = (&one.standing, &one.known) else {
        return Ok(None);
    };
    let embed = |value: &str| (!config.detached).then(|| value.to_owned());
    let signature = match (standing, &known.signature) {
        (Standing::Unverified { key, value }, _) => Some(SignatureNote {
            key: key.clone(),
            fingerprint: None,
            value: embed(value),
        }),
        (_, Some(checked)) => Some(SignatureNote {
            key: checked.key.clone(),
            fingerprint: Some(checked.fingerprint),
            value: embed(&checked.value),
        }),
        (_, None) => None,
    };
    let additions = Additions {
        indexed_timestamp: known.indexed_timestamp,
        signature,
        carried: unchanged(shelf, one)
            .map(|record| record.carried.clone())
            .unwrap_or_default(),
    };
    let PackageFile { name, format, .. } = one.file.clone();
    let fail = |cause| Error::Record {
        path: one.file.path(),
        cause,
    };
    Ok(Some(Listed {
        name,
        format,
        record: known.facts.record.published(&additions).map_err(fail)?,
    }))
}

/// `--update-only`: records whose files are gone stay as they were published.
fn keep_gone(document: &mut Document<'_>, shelf: &Shelf<'_>) {
    for (name, record) in shelf.gone() {
        let Some(format) = Format::of(name) else {
            continue;
        };
        let fields = match json::parse(record.text.as_bytes()) {
            Ok(Json::Object(fields)) => fields,
            // What another indexer wrote, and Python would not print so, stays as it is.
            _ => {
                let (name, record) = (name.clone(), record.text.to_owned());
                document.listed.push(Listed {
                    name,
                    format,
                    record,
                });
                continue;
            }
        };
        let fingerprint = match fields.get("signature") {
            Some(Json::Object(signature)) => signature.get("fingerprint").and_then(Json::as_str),
            _ => None,
        };
        let fingerprint = fingerprint.and_then(|hex| Fingerprint::parse(hex).ok());
        if let Some(fingerprint) = fingerprint
            && let Some(key) = shelf.published.signing_keys.get(&fingerprint)
        {
            document
                .signing_keys
                .entry(fingerprint)
                .or_insert_with(|| key.clone());
        }
        let record = Json::Object(fields).compact();
        document.listed.push(Listed {
            name: name.clone(),
            format,
            record,
        });
    }
}

fn shelf_of<'s, 'a>(shelves: &'s [Shelf<'a>], subdir: &SubdirName) -> Option<&'s Shelf<'a>> {
    shelves.iter().find(|shelf| shelf.subdir.name == *subdir)
}
