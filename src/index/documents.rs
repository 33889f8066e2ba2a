//! What each subdir's index lists: examined packages and, where they are to stay, published ones whose files are
//! gone. Owns what a record is given; writes nothing.

use std::collections::{BTreeMap, BTreeSet};

use rayon::ThreadPool;
use rayon::prelude::*;

use super::Config;
use super::attest::has_sidecar;
use super::examine::{Examined, Standing};
use super::places::Places;
use super::remains::Recollection;
use super::shelf::{Shelf, Was};
use crate::cache::Remembered;
use crate::channel::{PackageFile, SubdirName};
use crate::error::Error;
use crate::json::{self, Json, Object};
use crate::keys::{DEFAULT_KEY_BITS, Fingerprint, KeyName, Keyring, PublicKey};
use crate::package::Format;
use crate::record::{ATTESTATIONS, Additions, SignatureNote, hex, is_sha256};
use crate::repodata::{Document, Listed, REPODATA};
use crate::signature::Signature;

/// The name of a key that a dry run does not know: the first signature makes it, or asks for its passphrase.
const PLANNED: &str = "dry-run";

/// Where the names and sizes of signing keys are looked up.
pub struct SigningKeys<'a> {
    /// The keys folder.
    pub keyring: &'a Keyring,
    /// The key that signed in this run, or would have; it may be newer than the keyring.
    pub signing: Option<&'a PublicKey>,
}

impl SigningKeys<'_> {
    /// All that can be used.
    pub fn iter(&self) -> impl Iterator<Item = &PublicKey> {
        self.signing.into_iter().chain(self.keyring.keys())
    }

    fn find(&self, fingerprint: &Fingerprint) -> Option<(KeyName, u32)> {
        if self.signing.is_none() && is_unknown(fingerprint) {
            return Some((KeyName::parse(PLANNED).ok()?, DEFAULT_KEY_BITS));
        }
        let signing = self.signing;
        let signing = signing.filter(|key| key.fingerprint() == *fingerprint);
        let key = signing.or_else(|| self.keyring.by_fingerprint(fingerprint))?;
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
    examined: Vec<Examined>,
    keys: &SigningKeys<'_>,
    pool: &ThreadPool,
) -> Result<Vec<Document<'a>>, Error> {
    let mut by_subdir: BTreeMap<SubdirName, Vec<Examined>> = BTreeMap::new();
    for one in examined {
        by_subdir
            .entry(one.file.subdir.clone())
            .or_default()
            .push(one);
    }
    let packages = |shelf: &Shelf<'_>| by_subdir.remove(&shelf.lying.subdir.name);
    let packages: Vec<Vec<Examined>> = shelves
        .iter()
        .map(packages)
        .map(Option::unwrap_or_default)
        .collect();
    pool.install(|| {
        let documents = shelves.par_iter().zip(packages);
        documents
            .map(|(shelf, packages)| document(config, places, shelf, packages, keys))
            .collect()
    })
}

fn document<'a>(
    config: &Config,
    places: Places<'_>,
    shelf: &'a Shelf<'_>,
    packages: Vec<Examined>,
    keys: &SigningKeys<'_>,
) -> Result<Document<'a>, Error> {
    let mut document = Document {
        subdir: &shelf.lying.subdir.name,
        listed: Vec::with_capacity(packages.len()),
        removed: Vec::new(),
        signing_keys: BTreeMap::new(),
        signatures: Object::new(),
    };
    // What is remembered of a package is let go as soon as its line is made.
    let lines = packages.into_par_iter();
    let lines = lines.map(|one| line(config, shelf, &one, keys.signing));
    let lines: Vec<Option<Line>> = lines.collect::<Result<_, Error>>()?;
    let mut signed_by = BTreeSet::new();
    for line in lines.into_iter().flatten() {
        document.signatures.extend(line.foreign);
        document.listed.push(line.listed);
        signed_by.extend(line.signed_by);
    }
    let found = signed_by
        .into_iter()
        .filter_map(|key| Some((key, keys.find(&key)?)));
    document.signing_keys.extend(found);
    if config.update_only {
        keep_gone(&mut document, shelf, places)?;
    }
    Ok(document)
}

/// What a package adds to a document.
struct Line {
    listed: Listed,
    /// The key of its signature.
    signed_by: Option<Fingerprint>,
    /// Its signatures by another tool, as long as it has the same bytes.
    foreign: Option<(String, Json)>,
}

/// What a package adds; `None` when it was refused.
fn line(
    config: &Config,
    shelf: &Shelf<'_>,
    one: &Examined,
    signing: Option<&PublicKey>,
) -> Result<Option<Line>, Error> {
    let Some(listed) = listed(config, shelf, one, signing)? else {
        return Ok(None);
    };
    let foreign = shelf
        .told()
        .and_then(|told| told.signatures.get_key_value(&one.file.name))
        .filter(|_| unchanged(shelf, one).is_some());
    Ok(Some(Line {
        listed,
        signed_by: signed_by(one, signing),
        foreign: foreign.map(|(name, value)| (name.clone(), value.clone())),
    }))
}

/// The key of the signature that a package has, or gets once a dry run is one no more.
fn signed_by(one: &Examined, signing: Option<&PublicKey>) -> Option<Fingerprint> {
    if let Ok(Standing::WouldBeSigned) = &one.standing {
        return Some(planned_by(signing));
    }
    let checked = one.known.as_ref()?.signature.as_ref()?;
    Some(checked.fingerprint)
}

/// A package's published record, as long as it is of the same bytes.
fn unchanged<'s>(shelf: &'s Shelf<'_>, one: &Examined) -> Option<Was<'s>> {
    let sha256 = one.known.as_ref()?.facts.sha256;
    let was = shelf.was(&one.file.name);
    was.filter(|was| was.sha256 == Some(sha256))
}

/// A package's line in the index; `None` when it was refused. In a dry run, one that would be signed with `signing` has
/// a signature of its size, and of no value.
///
/// # Errors
/// When its record is broken.
pub fn listed(
    config: &Config,
    shelf: &Shelf<'_>,
    one: &Examined,
    signing: Option<&PublicKey>,
) -> Result<Option<Listed>, Error> {
    let (Ok(standing), Some(known)) = (&one.standing, &one.known) else {
        return Ok(None);
    };
    let embed = |value: &str| (!config.detached).then(|| value.to_owned());
    let signature = match (standing, &known.signature) {
        // A dry run makes no signature, and the index would change by it all the same.
        (Standing::WouldBeSigned, _) => {
            let planned = planned(signing)?;
            Some(SignatureNote {
                fingerprint: Some(planned_by(signing)),
                value: embed(&planned.to_base64()),
                key: planned.key,
            })
        }
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

/// Stands in for a signature that a dry run does not make: by the key that would sign, as far as it is known, and of the
/// size of its signatures.
fn planned(signing: Option<&PublicKey>) -> Result<Signature, Error> {
    let bits = signing.map_or(DEFAULT_KEY_BITS, PublicKey::bits);
    let key = match signing {
        Some(signing) => signing.name().clone(),
        None => KeyName::parse(PLANNED)?,
    };
    let bytes = usize::try_from(bits.div_ceil(u8::BITS)).unwrap_or_default();
    let value = vec![0; bytes];
    Ok(Signature { key, value })
}

/// The key of such a signature: no key's fingerprint where it is not known yet.
fn planned_by(signing: Option<&PublicKey>) -> Fingerprint {
    signing.map_or(Fingerprint::from_bytes([0; 32]), PublicKey::fingerprint)
}

/// Whether a key stands in for one that a dry run does not know.
pub fn is_unknown(key: &Fingerprint) -> bool {
    *key == planned_by(None)
}

/// Keys that other tools put into the published record, and the digest of the list of attestations: that of the list
/// which lies beside the package or, where none ever did, the one that the record has from elsewhere.
fn carried(shelf: &Shelf<'_>, one: &Examined, known: &Remembered) -> Object {
    let mut carried = unchanged(shelf, one)
        .map(|was| was.all_carried())
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
    let mut recollection = Recollection::new(places, &shelf.lying.subdir.name, &shelf.known);
    for name in shelf.gone() {
        let record = shelf.told().and_then(|told| told.records.get(name));
        let (Some(format), Some(record)) = (Format::of(name), record) else {
            continue;
        };
        let text = match json::parse(record.text.as_bytes()) {
            Ok(Json::Object(fields)) => {
                document.signing_keys.extend(key_of(shelf, &fields));
                Json::Object(fields).compact()
            }
            // What another indexer wrote, and Python would not print so, stays as it is.
            _ => {
                let text = record.readable().map_err(|cause| Error::BrokenIndex {
                    path: format!("{}/{REPODATA}: {name}", shelf.lying.subdir.name),
                    cause,
                })?;
                text.to_owned()
            }
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
    let key = shelf.told()?.signing_keys.get(&fingerprint)?;
    Some((fingerprint, key.clone()))
}
