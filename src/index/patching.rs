//! Patches on their way to what is listed. Owns where a subdir's instructions come from, and that every index file
//! is made of what they leave; what they mean is [`crate::patch`]'s.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use serde::Deserialize;
use serde_json::Value;

use super::Config;
use super::documents::SigningKeys;
use super::places::Places;
use super::shelf::Shelf;
use crate::channel::SubdirName;
use crate::error::Error;
use crate::keys::Keyring;
use crate::package::{self, ReadOptions};
use crate::patch::{CAPS, FILE_NAME, Instructions, PatchReport, Source, subdir_of};
use crate::publish::{self, Existing};
use crate::record::hex;
use crate::repodata::{Document, Listed};
use crate::sidecar;
use crate::signature::{self, Check};
use crate::storage::{Kind, Links, StorageError};
use crate::version::Version;

/// Where patches come from.
#[derive(Debug, Clone, Default)]
pub enum Patches {
    /// Each subdir's own `patch_instructions.json`, where it has one.
    #[default]
    OfSubdirs,
    /// What was named on the command line.
    From(Source),
    /// The newest package of this name in `noarch`.
    Package(String),
}

/// What a subdir lists, after patches.
pub struct Patched<'a> {
    /// After patches.
    pub document: Document<'a>,
    /// `repodata.json` as it would be without them, where there are any.
    pub unpatched: Option<Vec<u8>>,
    /// What they took away.
    pub taken: Vec<Listed>,
}

/// Patches that were looked at before anything is signed: what is wrong with them comes first.
pub struct Prepared<'c> {
    patches: &'c Patches,
    /// The subdirs' own instructions, in the order of shelves.
    of_subdirs: Vec<Option<Instructions>>,
    /// What an operator should know.
    pub warnings: Vec<String>,
}

/// Looks at where patches come from, as far as that can be done before packages are read.
///
/// # Errors
/// When a subdir's instructions can't be used, or no file in `noarch` has the name that was given.
pub fn prepare<'c>(
    config: &'c Config,
    places: Places<'_>,
    shelves: &[Shelf<'_>],
) -> Result<Prepared<'c>, Error> {
    let mut prepared = Prepared {
        patches: &config.patches,
        of_subdirs: Vec::new(),
        warnings: Vec::new(),
    };
    match &config.patches {
        Patches::From(_) => {}
        Patches::Package(name) => demand_in_noarch(name, shelves)?,
        Patches::OfSubdirs => {
            for shelf in shelves {
                let found = of_subdir(shelf, places, &mut prepared.warnings)?;
                prepared.of_subdirs.push(found);
            }
        }
    }
    Ok(prepared)
}

/// Whether there is a package of that name is known for sure only when all are read; a `noarch` that is not walked
/// may have it too.
fn demand_in_noarch(name: &str, shelves: &[Shelf<'_>]) -> Result<(), Error> {
    let noarch = SubdirName::noarch();
    let Some(shelf) = shelves
        .iter()
        .find(|shelf| shelf.lying.subdir.name == noarch)
    else {
        return Ok(());
    };
    let mut files = shelf.lying.subdir.packages.iter();
    match files.any(|file| package::name_in(&file.name) == name) {
        true => Ok(()),
        false => Err(not_in_noarch(name)),
    }
}

fn not_in_noarch(name: &str) -> Error {
    unusable(
        name,
        "no such file or folder, and no package of that name is in noarch as it is indexed here; name another, or take noarch in with --subdir noarch",
    )
}

fn unusable(name: &str, why: &str) -> Error {
    Error::Patches {
        path: name.escape_debug().to_string(),
        operation: "take repodata patches from it".to_owned(),
        cause: why.to_owned(),
    }
}

/// Patches what is listed.
///
/// # Errors
/// When instructions can't be had or read: nothing is published half patched. [`Error::Interrupted`] when the run is
/// to stop.
pub fn patched<'a>(
    config: &Config,
    places: Places<'_>,
    prepared: Prepared<'_>,
    documents: Vec<Document<'a>>,
    neighbours: &[Document<'_>],
    keys: &SigningKeys<'_>,
    cancelled: &AtomicBool,
) -> Result<(Vec<Patched<'a>>, Vec<PatchReport>), Error> {
    let of_package = match prepared.patches {
        Patches::Package(name) => {
            let found = Noarch {
                config,
                places,
                walked: &documents,
                neighbours,
                keyring: keys.keyring,
            };
            Some(found.source(name, cancelled)?)
        }
        _ => None,
    };
    let source = match prepared.patches {
        Patches::From(source) => Some(source),
        _ => of_package.as_ref(),
    };
    let mut of_subdirs = prepared.of_subdirs.into_iter();
    let (mut all, mut reports) = (Vec::with_capacity(documents.len()), Vec::new());
    for document in documents {
        let own = of_subdirs.next().flatten();
        let instructions = match source {
            Some(source) => {
                let repodata = || document.render(&config.formats);
                source.instructions(document.subdir.as_str(), &repodata, cancelled)?
            }
            None => own,
        };
        let instructions = instructions.filter(|instructions| !instructions.is_empty());
        all.push(match instructions {
            Some(instructions) => apply(config, document, &instructions, &mut reports)?,
            None => Patched {
                document,
                unpatched: None,
                taken: Vec::new(),
            },
        });
    }
    Ok((all, reports))
}

fn apply<'a>(
    config: &Config,
    mut document: Document<'a>,
    instructions: &Instructions,
    reports: &mut Vec<PatchReport>,
) -> Result<Patched<'a>, Error> {
    let unpatched = document.render(&config.formats);
    let applied = instructions.apply(&mut document);
    reports.push(applied.report);
    Ok(Patched {
        document,
        unpatched: Some(unpatched),
        taken: applied.taken,
    })
}

/// The instructions that lie among a subdir's packages.
fn of_subdir(
    shelf: &Shelf<'_>,
    places: Places<'_>,
    warnings: &mut Vec<String>,
) -> Result<Option<Instructions>, Error> {
    let path = shelf.lying.subdir.name.path_of(FILE_NAME);
    match shelf.lying.subdir.others.get(FILE_NAME) {
        None => return Ok(None),
        Some(Kind::File) => {}
        Some(Kind::Link) => return Err(StorageError::Link(path).into()),
        Some(_) => return Err(StorageError::NotAFile(path).into()),
    }
    let bytes = match publish::existing(places.source, &path, CAPS.each)? {
        Existing::File(bytes) => bytes,
        // What was there a moment ago is not passed over.
        Existing::Absent => return Err(Error::Unsteady { path }),
        Existing::Odd => {
            let why = format!("it is no plain file of at most {} MiB", CAPS.each >> 20);
            return Err(unusable(&path, &why));
        }
    };
    let instructions = Instructions::parse(&path, &bytes)?;
    if instructions.is_empty() {
        warnings.push(format!(
            "{path}: has no patches, as conda-index leaves it behind; it is not heeded"
        ));
        return Ok(None);
    }
    Ok(Some(instructions))
}

/// What is looked at to find the newest package of a name. Other tools may have put anything there.
#[derive(Deserialize)]
struct Glance {
    #[serde(default)]
    name: Value,
    #[serde(default)]
    version: Value,
    #[serde(default)]
    build_number: Value,
    #[serde(default)]
    sha256: Value,
    #[serde(default)]
    signature: Value,
}

/// Where a package of patches is looked for.
struct Noarch<'n> {
    config: &'n Config,
    places: Places<'n>,
    walked: &'n [Document<'n>],
    neighbours: &'n [Document<'n>],
    keyring: &'n Keyring,
}

impl Noarch<'_> {
    /// The instructions in the newest package of a name. It is read once more for them, and has to be the one that is
    /// listed; where `noarch` is not walked, nothing vouches for that but its signature.
    fn source(&self, name: &str, cancelled: &AtomicBool) -> Result<Source, Error> {
        let noarch = SubdirName::noarch();
        let fail = |why: String| unusable(name, &why);
        let of_noarch = |document: &&Document<'_>| *document.subdir == noarch;
        let walked = self.walked.iter().find(of_noarch);
        let document = walked.or_else(|| self.neighbours.iter().find(of_noarch));
        let listed = document.into_iter().flat_map(|document| &document.listed);
        let newest = listed
            .filter_map(|one| {
                let glance: Glance = serde_json::from_str(&one.record).ok()?;
                (glance.name.as_str() == Some(name)).then_some((one, glance))
            })
            .max_by_key(|(one, glance)| {
                let version = Version::parse(glance.version.as_str().unwrap_or_default());
                (version, glance.build_number.as_i64(), &one.name)
            });
        let (one, glance) = newest.ok_or_else(|| not_in_noarch(name))?;
        let path = noarch.path_of(&one.name);
        if glance.signature.get("verified") == Some(&Value::Bool(false)) {
            return Err(fail(format!(
                "nobody could check the signature of {path}; put its public key into the keys folder"
            )));
        }
        let (file, _) = self.places.source.open(&path, Links::Follow)?;
        let options = ReadOptions {
            check_archives: false,
            cancelled,
            progress: &|_| {},
        };
        let wanted = |member: &str| subdir_of(member).is_some();
        let (digests, files) = package::files(&file, &one.name, &wanted, CAPS, &options)
            .map_err(|error| fail(format!("{path} {error}")))?;
        if glance.sha256.as_str() != Some(&hex(&digests.sha256)) {
            return Err(fail(format!(
                "{path} is not the package that is listed; run again"
            )));
        }
        if walked.is_none() {
            self.demand_signature(&path, &digests.sha256)
                .map_err(|why| {
                    fail(format!(
                        "noarch is not walked in this run, and the signature of {path} does not vouch for it: {why}; take noarch in with --subdir noarch"
                    ))
                })?;
        }
        let by_subdir: BTreeMap<String, Vec<u8>> = files
            .into_iter()
            .filter_map(|(member, bytes)| Some((subdir_of(&member)?.to_string(), bytes)))
            .collect();
        Source::of_files(&path, by_subdir)
    }

    fn demand_signature(&self, path: &str, sha256: &[u8; 32]) -> Result<(), String> {
        let sig = format!("{path}{}", sidecar::SUFFIX);
        let place = match sidecar::is_there(self.places.target(), &sig) {
            true => self.places.target(),
            false => self.places.source,
        };
        let (signature, _) = sidecar::read(place, &sig)?;
        match signature::check(&signature, sha256, self.keyring, self.config.min_bits) {
            Check::Valid { .. } => Ok(()),
            other => Err(other.to_string()),
        }
    }
}
