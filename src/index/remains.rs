//! Details of packages whose files this run does not read: from the cache, or from what published files still tell.
//! Owns where they are looked for; a record itself is never made up.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::places::{Places, Witness};
use super::told::in_shards;
use crate::cache::{Known, Remembered};
use crate::channel::SubdirName;
use crate::details::Details;
use crate::error::Error;
use crate::json::{self, Json, Object};
use crate::package;
use crate::publish::Existing;
use crate::repodata::{CHANNELDATA, PublishedRecord, REPODATA_FROM_PACKAGES, run_exports};

/// The largest run exports and summary of the channel that are read back, in bytes.
const MAX_REMAINS: u64 = 256 << 20;

/// How much memory the values of the summary may take, in bytes.
const MAX_MEMORY: u64 = 1 << 30;

/// Finds the details of a subdir's published packages.
pub struct Recollection<'a> {
    places: Places<'a>,
    subdir: &'a SubdirName,
    known: &'a Known,
    /// Read once, where it is needed.
    remains: Option<Remains>,
    /// Whether the subdir is patched; looked at once, where it is needed.
    patched: Option<bool>,
}

impl<'a> Recollection<'a> {
    /// With what the cache knows of the subdir.
    pub fn new(places: Places<'a>, subdir: &'a SubdirName, known: &'a Known) -> Self {
        Recollection {
            places,
            subdir,
            known,
            remains: None,
            patched: None,
        }
    }

    /// The details of a package, as far as anything tells them.
    ///
    /// # Errors
    /// When a published file can't be read.
    pub fn details(&mut self, file: &str, record: &PublishedRecord<'_>) -> Result<Details, Error> {
        let same = |known: &&Arc<Remembered>| record.sha256 == Some(known.facts.sha256);
        if let Some(known) = self.known.get(file).filter(same) {
            return Ok(known.facts.details.clone());
        }
        Ok(self.remains()?.details(file))
    }

    /// The same, as the subdir's own files tell it: after patches, which change run exports.
    ///
    /// # Errors
    /// As [`Recollection::details`].
    pub fn served(&mut self, file: &str, record: &PublishedRecord<'_>) -> Result<Details, Error> {
        let details = self.details(file, record)?;
        if !self.is_patched()? {
            return Ok(details);
        }
        let told = self.remains()?.run_exports.get(file);
        Ok(told.map_or_else(|| details.clone(), |told| details.with_run_exports(told)))
    }

    fn is_patched(&mut self) -> Result<bool, Error> {
        if let Some(known) = self.patched {
            return Ok(known);
        }
        let path = self.subdir.path_of(REPODATA_FROM_PACKAGES);
        let witnesses = [
            Some(self.places.published()),
            self.places.published_in_source(),
        ];
        let mut found = false;
        for witness in witnesses.into_iter().flatten() {
            // That it is there is enough.
            found |= !matches!(witness.existing(&path, 0)?, Existing::Absent);
        }
        Ok(*self.patched.insert(found))
    }

    fn remains(&mut self) -> Result<&Remains, Error> {
        let remains = match self.remains.take() {
            Some(remains) => remains,
            None => Remains::of(self.places, self.subdir)?,
        };
        Ok(self.remains.insert(remains))
    }
}

/// What is left of packages' details where neither their files nor the cache tell them.
#[derive(Debug)]
struct Remains {
    /// Run exports, by file name.
    run_exports: BTreeMap<String, Object>,
    /// What `channeldata.json` says, by package name.
    about: Object,
}

impl Remains {
    /// What the published files of a subdir tell: those of the output, or else those where the packages lie. A file
    /// of another form tells nothing.
    ///
    /// # Errors
    /// When a file can't be read.
    fn of(places: Places<'_>, subdir: &SubdirName) -> Result<Remains, Error> {
        let remains = Remains::by(places.published(), subdir)?;
        match places.published_in_source() {
            Some(source) if remains.is_nothing() => Remains::by(source, subdir),
            _ => Ok(remains),
        }
    }

    fn by(witness: Witness<'_>, subdir: &SubdirName) -> Result<Remains, Error> {
        let file = |path: &str| witness.existing(path, MAX_REMAINS);
        let run_exports = file(&subdir.path_of(run_exports::RUN_EXPORTS))?.file();
        let run_exports = match run_exports.and_then(|bytes| run_exports::read(&bytes)) {
            Some(run_exports) => Some(run_exports),
            None => match in_shards(witness, subdir) {
                Ok(shards) => shards.map(|shards| shards.run_exports),
                Err(Error::BrokenIndex { .. }) => None,
                Err(error) => return Err(error),
            },
        };
        let about = file(CHANNELDATA)?.file().and_then(|bytes| {
            let Json::Object(mut top) = json::parse_index(&bytes, MAX_MEMORY)? else {
                return None;
            };
            match top.remove("packages") {
                Some(Json::Object(packages)) => Some(packages),
                _ => None,
            }
        });
        Ok(Remains {
            run_exports: run_exports.unwrap_or_default(),
            about: about.unwrap_or_default(),
        })
    }

    fn is_nothing(&self) -> bool {
        self.run_exports.is_empty() && self.about.is_empty()
    }

    /// The details of a package, as far as they are left.
    fn details(&self, file: &str) -> Details {
        let name = package::name_in(file);
        let nothing = Object::new();
        let about = match self.about.get(name) {
            Some(Json::Object(about)) => about,
            _ => &nothing,
        };
        Details::recovered(self.run_exports.get(file).unwrap_or(&nothing), about)
    }
}
