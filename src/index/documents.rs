//! What each subdir's index lists: examined packages and, where they are to stay, published ones whose files are
//! gone. Owns what a record is given; writes nothing.

use std::collections::{BTreeMap, HashSet};

use rayon::ThreadPool;
use rayon::prelude::*;

use super::Config;
use super::attest::has_sidecar;
use super::examine::{Examined, Standing};
use super::places::Places;
use super::remains::Recollection;
use super::shelf::Shelf;
use crate::cache::Remembered;
use crate::channel::{PackageFile, SubdirName};
use crate::error::Error;
use crate::json::{self, Json, Object};
use crate::keys::{Fingerprint, KeyName, Keyring, PublicKey};
use crate::package::Format;
use crate::record::{ATTESTATIONS, Additions, SignatureNote, hex, is_sha256};
use crate::repodata::{Document, Listed, PublishedRecord};

/// Where the names and sizes of signing keys are looked up.
pub struct SigningKeys<'a> {
    /// The keys folder.
    pub keyring: &'a Keyring,
    /// The key that signed in this run, which may be newer than the keyring.
    pub made_with: Option<&'a PublicKey>,
}

impl SigningKeys<'_> {
    /// All that can be used.
    pub fn iter(&self) -> impl Iterator<Item = &PublicKey> {
        self.made_with.into_iter().chain(self.keyring.keys())
    }

    fn find(&self, fingerprint: &Fingerprint) -> Option<(KeyName, u32)> {
        let made_with = self
            .made_with
            .filter(|key| key.fingerprint() == *fingerprint);
        let key = made_with.or_else(|| self.keyring.by_fingerprint(fingerprint))?;
        Some((key.name().clone(), key.bits()))
    }
}

/// The index of each subdir, in the order of `shelves`, before patches.
///
/// # Errors
/// When a record that came from the cache is broken.
pub fn documents<'a>(
    config: &Config,
    places: Places<'_>,
    shelves: &'a [Shelf<'_>],
    examined: &[Examined],
    keys: &SigningKeys<'_>,
    pool: &ThreadPool,
) -> Result<Vec<Document<'a>>, Error> {
    let mut by_subdir: BTreeMap<&SubdirName, Vec<&Examined>> = BTreeMap::new();
    for one in examined {
        by_subdir.entry(&one.file.subdir).or_default().push(one);
    }
    let none = Vec::new();
    let packages = |shelf: &Shelf<'_>| by_subdir.get(&shelf.subdir.name).unwrap_or(&none);
    pool.install(|| {
        let documents = shelves.par_iter();
        documents
            .map(|shelf| document(config, places, shelf, packages(shelf), keys))
            .collect()
    })
}

fn document<'a>(
    config: &Config,
    places: Places<'_>,
    shelf: &'a Shelf<'_>,
    packages: &[&Examined],
    keys: &SigningKeys<'_>,
) -> Result<Document<'a>, Error> {
    let mut document = Document {
        subdir: &shelf.subdir.name,
        listed: Vec::with_capacity(packages.len()),
        removed: Vec::new(),
        signing_keys: BTreeMap::new(),
        signatures: Object::new(),
    };
    let listed = packages.par_iter().map(|one| listed(config, shelf, one));
    let listed: Vec<Option<Listed>> = listed.collect::<Result<_, Error>>()?;
    let mut same = HashSet::new();
    for (one, listed) in packages.iter().zip(listed) {
        let Some(listed) = listed else { continue };
        same.extend(unchanged(shelf, one).map(|_| one.file.name.as_str()));
        document.listed.push(listed);
        let known = one.known.as_ref();
        let checked = known.and_then(|known| known.signature.as_ref());
        let key = checked.and_then(|checked| {
            let found = keys.find(&checked.fingerprint)?;
            Some((checked.fingerprint, found))
        });
        document.signing_keys.extend(key);
    }
    if config.update_only {
        keep_gone(&mut document, shelf, places)?;
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
        // A dry run makes no signature, and the index would change by it all the same.
        (Standing::WouldBeSigned, _) => planned_note(),
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
        carried: carried(shelf, one, known),
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
        details: known.facts.details.clone(),
    }))
}

/// Stands in for a signature that a dry run does not make.
fn planned_note() -> Option<SignatureNote> {
    Some(SignatureNote {
        key: KeyName::parse("dry-run").ok()?,
        fingerprint: Some(Fingerprint::parse(&"0".repeat(64)).ok()?),
        value: None,
    })
}

/// Keys that other tools put into the published record, and the digest of the list of attestations: that of the list
/// which lies beside the package or, where none ever did, the one that the record has from elsewhere.
fn carried(shelf: &Shelf<'_>, one: &Examined, known: &Remembered) -> Object {
    let mut carried = unchanged(shelf, one)
        .map(|record| record.carried.clone())
        .unwrap_or_default();
    let published = carried.remove(ATTESTATIONS);
    let elsewhere = || {
        let hash = published.as_ref().and_then(Json::as_str)?;
        let keep = is_sha256(hash) && !has_sidecar(shelf, &one.file.name, hash);
        keep.then(|| hash.to_owned())
    };
    let attested = known.attestations.map(|attested| hex(&attested.sha256));
    if let Some(hash) = attested.or_else(elsewhere) {
        carried.insert(ATTESTATIONS.to_owned(), Json::String(hash));
    }
    carried
}

/// `--update-only`: records whose files are gone stay as they were published.
fn keep_gone(
    document: &mut Document<'_>,
    shelf: &Shelf<'_>,
    places: Places<'_>,
) -> Result<(), Error> {
    let mut recollection = Recollection::new(places, &shelf.subdir.name, &shelf.known);
    for (name, record) in shelf.gone() {
        let Some(format) = Format::of(name) else {
            continue;
        };
        let text = match json::parse(record.text.as_bytes()) {
            Ok(Json::Object(fields)) => {
                document.signing_keys.extend(key_of(shelf, &fields));
                Json::Object(fields).compact()
            }
            // What another indexer wrote, and Python would not print so, stays as it is.
            _ => record.text.to_string(),
        };
        let details = recollection.details(name, record)?;
        document.listed.push(Listed {
            name: name.clone(),
            format,
            record: text,
            details,
        });
    }
    Ok(())
}

/// The key that a published record names, as the published index knows it.
fn key_of(shelf: &Shelf<'_>, fields: &Object) -> Option<(Fingerprint, (KeyName, u32))> {
    let Some(Json::Object(signature)) = fields.get("signature") else {
        return None;
    };
    let fingerprint = signature.get("fingerprint").and_then(Json::as_str)?;
    let fingerprint = Fingerprint::parse(fingerprint).ok()?;
    let key = shelf.published.signing_keys.get(&fingerprint)?;
    Some((fingerprint, key.clone()))
}
