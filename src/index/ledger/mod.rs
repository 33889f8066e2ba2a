//! What a run writes down for the next one: what it was asked, what it found, and how it left its files. Where all that
//! is still so, the next run has nothing to do, and a listing and a comparison tell; where only packages changed, the
//! cache tells what was published, and the index need not be read. Owns when that may be believed; must not know what
//! stands in an index file.
//!
//! It is believed of a file only as long as the file has the identity (size, times, inode) that it was left with, and at
//! all only as long as nothing was stored in the cache since: a run that fails half-way leaves none.

mod found;
mod left;

use std::collections::BTreeMap;

use rayon::ThreadPool;
use serde::{Deserialize, Serialize};

pub use left::{Files, Judged, Left};

use super::Config;
use super::judge::Signing;
use super::patching::Patches;
use super::places::Places;
use super::shelf::Lying;
use crate::cache::Cache;
use crate::channel::{PackageFile, Selection, SubdirName};
use crate::keys::Keyring;
use crate::repodata::{Published, REPODATA_FROM_PACKAGES};
use crate::report::Report;
use crate::storage::Stat;
use found::{Digesting, identities, is_tidy, names};

/// Rises with every change of what a ledger means.
const FORM: u32 = 2;

/// What a run that went through wrote down.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ledger {
    asked: String,
    /// A digest of every name in the channel.
    names: String,
    /// A digest of the packages' identities.
    identities: String,
    /// Index files but for shards, by path; none stands where there is no identity.
    files: BTreeMap<String, Option<Stat>>,
    /// What lay in the folder of shards, by subdir.
    shards: BTreeMap<String, String>,
    /// How many packages are listed in each subdir whose records have nothing from elsewhere.
    plain: BTreeMap<String, usize>,
    /// When it was written, in Unix milliseconds: it tells nothing of what a clock shows that went back.
    since: i64,
    /// When something has to be done though nothing changes, in Unix milliseconds.
    until: Option<i64>,
    /// What a run reports that finds everything so.
    report: Report,
}

/// What a run has to be asked again, and the keys that it goes by; `None` where its answer depends on more than a
/// ledger tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked(Option<String>);

impl Asked {
    /// What a run is asked that leaves no ledger.
    pub fn nothing() -> Asked {
        Asked(None)
    }

    /// What this run is asked. `signed` tells whether a signed index has a part in it.
    pub fn of(config: &Config, places: Places<'_>, keyring: &Keyring, signed: bool) -> Asked {
        let policy = &config.policy;
        let simple = !signed
            && !config.rehash
            && !config.update_only
            && !policy.resign
            && policy.replace.is_none()
            && !matches!(policy.signing, Signing::Listed(_))
            && matches!(config.patches, Patches::OfSubdirs)
            && matches!(config.selection, Selection::Standard);
        Asked(simple.then(|| {
            // All that decides what is published stands in the configuration, also what it will get one day.
            let mut config = Config {
                channel: String::new(),
                dry_run: false,
                now: 0,
                ..config.clone()
            };
            config.signed.clock = 0;
            let mut digest = Digesting::default();
            digest.text(&format!("{FORM} {} {config:?}", env!("CARGO_PKG_VERSION")));
            digest.text(&format!("{}", places.output.is_some()));
            for (name, key) in keyring.iter() {
                digest.text(name.as_str());
                digest.text(&match key {
                    Ok(key) => {
                        let fingerprint = key.fingerprint();
                        let signs_index = keyring.uses().signs_index(&fingerprint);
                        format!("{fingerprint} {} {signs_index}", key.bits())
                    }
                    Err(why) => why.to_string(),
                });
            }
            digest.finish()
        }))
    }
}

impl Ledger {
    /// The ledger in the cache, if it answers to what this run is asked, and the time has not come.
    pub fn open(cache: &mut dyn Cache, asked: &Asked, now: i64) -> Option<Ledger> {
        let Asked(Some(asked)) = asked else {
            return None;
        };
        // Whatever is wrong with it, the long way is right.
        let text = cache.ledger(None).ok()??;
        let ledger: Ledger = serde_json::from_str(&text).ok()?;
        let in_time = ledger.since <= now && ledger.until.is_none_or(|until| now < until);
        (ledger.asked == *asked && in_time).then_some(ledger)
    }

    /// The report of a run that finds everything as the last one left it; `None` where it does not.
    pub fn nothing_new(
        &self,
        config: &Config,
        places: Places<'_>,
        walked: (&[Lying], &[String]),
        pool: &ThreadPool,
    ) -> Option<Report> {
        let (lying, warnings) = walked;
        // What costs least comes first.
        let same = self.names == names(warnings, lying.iter(), &self.files)
            && is_tidy(places)
            && self.files.keys().all(|path| self.stands(places, path))
            && lying
                .iter()
                .all(|one| self.shards_of(places, one).is_some());
        let look = |one: &Lying, file: &PackageFile| one.identities(places, file);
        let same = same && identities(lying.iter(), config, pool, look)? == self.identities;
        same.then(|| Report {
            channel: config.channel.clone(),
            dry_run: config.dry_run,
            published: !config.dry_run,
            ..self.report.clone()
        })
    }

    /// Whether the cache, which knows so many of its packages, tells what was published in a subdir: it knows all of
    /// them, nothing in its index is from elsewhere, and the files that would tell are as they were left.
    pub fn tells_of(&self, places: Places<'_>, subdir: &SubdirName, known: usize) -> bool {
        let paths = Published::FILES.map(|name| subdir.path_of(name));
        let is_there = |path: &String| matches!(self.files.get(path), Some(Some(_)));
        self.plain.get(subdir.as_str()) == Some(&known)
            && paths.iter().any(is_there)
            && paths.iter().all(|path| self.stands(places, path))
    }

    /// Whether an index file is as it was left; shards are not asked for one by one.
    pub fn stands(&self, places: Places<'_>, path: &str) -> bool {
        let left = self.files.get(path);
        matches!((left, places.target().stat(path)), (Some(left), Ok(found)) if *left == found)
    }

    /// The identity of an index file that is there as it was left.
    pub fn identity(&self, places: Places<'_>, path: &str) -> Option<Stat> {
        let left = (*self.files.get(path)?)?;
        self.stands(places, path).then_some(left)
    }

    /// A subdir's files as they were left, those that `wanted` takes; `None` where one of them is not.
    pub fn files_of(
        &self,
        places: Places<'_>,
        subdir: &str,
        wanted: impl Fn(&str) -> bool,
    ) -> Option<Files> {
        let of_subdir = |path: &str| path.split_once('/').is_some_and(|(of, _)| of == subdir);
        let left = self.files.iter();
        let left = left.filter(|(path, _)| of_subdir(path) && wanted(path));
        let mut files = Files::until(self.until);
        for (path, stat) in left {
            self.stands(places, path).then_some(())?;
            files.note(path.clone(), *stat);
        }
        Some(files)
    }

    /// A subdir's shards, where they are as they were left.
    pub fn shards_of(&self, places: Places<'_>, lying: &Lying) -> Option<Files> {
        let subdir = &lying.subdir.name;
        let lie = found::shards(places.target(), subdir)?;
        let left = self.shards.get(subdir.as_str());
        (left == Some(&found::digest_of(&lie))).then(|| {
            let mut files = Files::until(self.until);
            files.standing = lie
                .into_iter()
                .map(|(path, stat)| (path, Some(stat)))
                .collect();
            files
        })
    }

    /// Whether the index of a subdir was made without patches.
    pub fn is_unpatched(&self, subdir: &SubdirName) -> bool {
        let before_patches = self.files.get(&subdir.path_of(REPODATA_FROM_PACKAGES));
        matches!(before_patches, Some(None))
    }

    /// Whether the last run had nothing to say that this one would have to say again.
    pub fn is_silent(&self) -> bool {
        self.report.warnings.is_empty()
    }
}
