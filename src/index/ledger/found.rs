//! Digests of what a run finds: names, and the identities of files. Owns what counts for a channel that is as it was;
//! opens nothing.

use std::collections::BTreeMap;

use rayon::ThreadPool;
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use crate::attestation::SUFFIX;
use crate::channel::{PackageFile, SubdirName};
use crate::index::places::Places;
use crate::index::shelf::Lying;
use crate::index::{Config, Freshness};
use crate::record::hex;
use crate::repodata::shards::SHARDS;
use crate::storage::{Item, Stat, Storage, is_own_temporary};

/// Packages that are looked at by one thread at a time.
const CHUNK: usize = 2_048;

/// A digest of every name in a channel but those of index files, and of what the walk had to say.
pub(super) fn names<'l>(
    warnings: &[String],
    lying: impl Iterator<Item = &'l Lying>,
    own: &BTreeMap<String, Option<Stat>>,
) -> String {
    let mut digest = Digesting::default();
    digest.list(warnings.iter().map(String::as_str));
    for lying in lying {
        let subdir = &lying.subdir;
        digest.text(subdir.name.as_str());
        digest.list(subdir.packages.iter().map(|file| file.name.as_str()));
        for listing in lying.listings() {
            let others = listing.others.iter();
            // The folder of shards is looked at by itself.
            let is_own =
                |name: &str| name == SHARDS || own.contains_key(&subdir.name.path_of(name));
            let others = others.filter(|(name, _)| !is_own(name));
            let others: Vec<String> = others
                .map(|(name, kind)| format!("{kind:?} {name}"))
                .collect();
            digest.list(others.iter().map(String::as_str));
            digest.list(lying.orphans(listing).map(String::as_str));
            digest.list(listing.refused.iter().map(|(path, _)| path.as_str()));
        }
        digest.stat(lying.patches.as_ref(), Freshness::Full);
    }
    digest.finish()
}

/// A digest of the identities of all packages and of what lies beside them.
pub(super) fn identities<'l>(
    lying: impl Iterator<Item = &'l Lying>,
    config: &Config,
    pool: &ThreadPool,
    look: impl Fn(&Lying, &PackageFile) -> Option<[Option<Stat>; 3]> + Sync,
) -> Option<String> {
    let mut digest = Digesting::default();
    for lying in lying {
        let of_chunk = |files: &[PackageFile]| {
            let mut digest = Digesting::default();
            for file in files {
                let identities = look(lying, file)?;
                identities
                    .iter()
                    .for_each(|stat| digest.stat(stat.as_ref(), config.freshness));
            }
            Some(digest.finish())
        };
        let chunks = lying.subdir.packages.par_chunks(CHUNK).map(of_chunk);
        let chunks: Option<Vec<String>> = pool.install(|| chunks.collect());
        digest.list(chunks?.iter().map(String::as_str));
    }
    Some(digest.finish())
}

/// Whether no run that was killed left anything behind beside the subdirs.
pub(super) fn is_tidy(places: Places<'_>) -> bool {
    let is_own = |item: &Item| item.name.to_str().is_some_and(is_own_temporary);
    let items = places.target().list("");
    items.is_ok_and(|items| !items.iter().any(is_own))
}

/// What lies in a subdir's folder of shards, by path; `None` where that can't be told.
pub(super) fn shards(storage: &dyn Storage, subdir: &SubdirName) -> Option<BTreeMap<String, Stat>> {
    let folder = subdir.path_of(SHARDS);
    let items = match storage.list(&folder) {
        Ok(items) => items,
        Err(error) if error.is_absent() => Vec::new(),
        Err(_) => return None,
    };
    let stat = |item: Item| {
        let path = format!("{folder}/{}", item.name.to_str()?);
        let stat = storage.stat(&path).ok()??;
        Some((path, stat))
    };
    items.into_iter().map(stat).collect()
}

/// A digest of these files.
pub(super) fn digest_of(files: &BTreeMap<String, Stat>) -> String {
    let mut digest = Digesting::default();
    for (path, stat) in files {
        digest.text(path);
        digest.stat(Some(stat), Freshness::Full);
    }
    digest.finish()
}

/// A digest in the making. Every piece is led by its length, so that no two sequences read alike.
#[derive(Default)]
pub(super) struct Digesting(Sha256);

impl Digesting {
    pub(super) fn text(&mut self, text: &str) {
        self.0.update(text.len().to_le_bytes());
        self.0.update(text);
    }

    fn list<'t>(&mut self, texts: impl Iterator<Item = &'t str>) {
        let mut count = 0_u64;
        for text in texts {
            self.text(text);
            count = count.saturating_add(1);
        }
        self.0.update(count.to_le_bytes());
    }

    fn stat(&mut self, stat: Option<&Stat>, freshness: Freshness) {
        self.0.update([u8::from(stat.is_some())]);
        let Some(stat) = stat else { return };
        self.0.update(stat.size.to_le_bytes());
        self.0.update(stat.mtime.to_le_bytes());
        if freshness == Freshness::Full {
            self.0.update(stat.inode.to_le_bytes());
            self.0.update(stat.ctime.to_le_bytes());
        }
    }

    pub(super) fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}

impl Lying {
    /// The identities of a package, its signature and its list of attestations, as far as these are there.
    pub(super) fn identities(
        &self,
        places: Places<'_>,
        file: &PackageFile,
    ) -> Option<[Option<Stat>; 3]> {
        let there = |storage: &dyn Storage, path: &str| storage.stat(path).ok()?.map(Some);
        let package = there(places.source, &file.path())?;
        let signature = match self.place_of_sig(places, file) {
            Some(place) => there(place, &file.sig_path())?,
            None => None,
        };
        let list = format!("{}{SUFFIX}", file.name);
        let attestations = match self.subdir.others.contains_key(&list) {
            true => there(places.source, &file.subdir.path_of(&list))?,
            false => None,
        };
        Some([package, signature, attestations])
    }
}
