//! Which index files follow from what is listed. Owns which of them are made of what, side by side on all threads,
//! and their order; what stands in each is [`crate::repodata`]'s.

use std::borrow::Cow;
use std::collections::BTreeSet;

use rayon::ThreadPool;
use rayon::prelude::*;

use super::Config;
use super::patching::Patched;
use super::places::Places;
use super::retired::retired;
use super::shelf::Shelf;
use crate::channel::SubdirName;
use crate::error::Error;
use crate::publish::signed::Settled;
use crate::publish::{self, Existing};
use crate::record::is_sha256;
use crate::repodata::{
    CHANNELDATA, CURRENT_REPODATA, Document, IndexFile, REPODATA, REPODATA_FROM_PACKAGES, RSS,
    Rank, current, gather, page, rss, run_exports, shards, with_twins,
};
use crate::storage::Change;
use crate::tuf::Targets;

/// The largest shard index and page that are looked at, in bytes.
const MAX_EXISTING: u64 = 256 << 20;

/// What index files are made of.
pub struct Outputs<'a> {
    /// What the run is asked to do.
    pub config: &'a Config,
    /// Where files go.
    pub places: Places<'a>,
    /// The subdirs.
    pub shelves: &'a [Shelf<'a>],
    /// What each of them lists.
    pub patched: &'a [Patched<'a>],
    /// What subdirs list that this run leaves as they are.
    pub neighbours: &'a [Document<'a>],
    /// Lists of attestations under the names that records give.
    pub twins: Vec<IndexFile>,
    /// What the generation before names, where the index is signed.
    pub known: Option<&'a Targets>,
    /// The threads.
    pub pool: &'a ThreadPool,
}

/// What has to be done so that the index is that of the packages.
pub struct Outcome {
    /// What has to be done, in order.
    pub changes: Vec<(Rank, Change)>,
    /// What a signed index is to name of it.
    pub targets: Targets,
    /// What an operator should know.
    pub warnings: Vec<String>,
}

/// Files as they should stand, and what an operator should know of them.
type Made = (Vec<IndexFile>, Vec<String>);

/// One part of the work, which needs no other.
type Job<'j> = Box<dyn Fn() -> Result<Made, Error> + Send + Sync + 'j>;

impl Outputs<'_> {
    /// What has to be done so that the channel's index is that of these packages.
    ///
    /// # Errors
    /// When a file can't be made, or one that stands there can't be read.
    pub fn outcome(&self) -> Result<Outcome, Error> {
        let all = self.documents();
        let state = page::state(&all);
        let mut jobs: Vec<Job<'_>> = vec![Box::new(|| self.current(&all))];
        for (shelf, patched) in self.shelves.iter().zip(self.patched) {
            jobs.push(Box::new(|| self.shards(shelf, patched)));
            jobs.push(Box::new(|| self.repodata(patched)));
            jobs.push(Box::new(|| self.run_exports(patched)));
        }
        jobs.push(Box::new(|| self.summaries(&all)));
        self.add_pages(&all, &state, &mut jobs);
        jobs.push(Box::new(|| Ok((self.twins.clone(), Vec::new()))));
        let settled: Vec<(Vec<Settled>, Vec<String>)> = self.pool.install(|| {
            let settled = jobs.par_iter().map(|job| self.settle(job()?));
            settled.collect::<Result<_, Error>>()
        })?;
        let mut outcome = Outcome {
            changes: Vec::new(),
            targets: Targets::new(),
            warnings: Vec::new(),
        };
        for (files, warnings) in settled {
            for file in files {
                outcome.changes.extend(file.changes);
                outcome.targets.extend(file.target);
            }
            outcome.warnings.extend(warnings);
        }
        in_order(&mut outcome.changes);
        let removed = self.removed_of_others(&outcome.changes);
        outcome.warnings.extend(removed);
        Ok(outcome)
    }

    /// What has to be done for the files of one part; what stands already is let go at once.
    fn settle(&self, (files, warnings): Made) -> Result<(Vec<Settled>, Vec<String>), Error> {
        let target = self.places.target();
        let settled = files.into_par_iter().map(|file| match self.known {
            Some(known) => publish::signed::settle(target, &file, known.get(&file.path)),
            None => {
                let change = publish::change(target, &file)?;
                let changes = change.map(|change| (file.rank, change)).into_iter();
                Ok(Settled {
                    changes: changes.collect(),
                    target: None,
                })
            }
        });
        Ok((settled.collect::<Result<_, Error>>()?, warnings))
    }

    /// Whoever takes over a channel wants to know which of its files go.
    fn removed_of_others(&self, changes: &[(Rank, Change)]) -> Option<String> {
        let foreign = |shelf: &Shelf<'_>| !shelf.published.by_sigindex;
        let is_channels = self.neighbours.is_empty() && self.shelves.iter().all(foreign);
        let taken_over = |path: &str| match path.split_once('/') {
            None => is_channels,
            Some((subdir, _)) => {
                let mut shelves = self.shelves.iter();
                shelves.any(|shelf| shelf.subdir.name.as_str() == subdir && foreign(shelf))
            }
        };
        let removed = changes.iter().filter_map(|(_, change)| match change {
            Change::Remove { path } if taken_over(path) => path.rsplit('/').next(),
            _ => None,
        });
        // There may be thousands, and they go with the index that named them.
        let is_shard = |name: &str| {
            let hex = name.strip_suffix(shards::EXTENSION);
            hex.is_some_and(is_sha256)
        };
        let names: BTreeSet<&str> = removed.filter(|name| !is_shard(name)).collect();
        let names: Vec<&str> = names.into_iter().collect();
        (!names.is_empty()).then(|| {
            format!(
                "another tool wrote index files that no flag of this run does, and that would go stale; they are removed: {}",
                names.join(", ")
            )
        })
    }

    /// The whole channel, by subdir.
    fn documents(&self) -> Vec<&Document<'_>> {
        let patched = self.patched.iter().map(|patched| &patched.document);
        let mut all: Vec<&Document<'_>> = patched.chain(self.neighbours).collect();
        all.sort_by_key(|document| document.subdir);
        all
    }

    fn repodata(&self, patched: &Patched<'_>) -> Result<Made, Error> {
        let formats = &self.config.formats;
        let document = &patched.document;
        // Without noarch/repodata.json clients take the folder for no channel.
        let monolithic = formats.monolithic || *document.subdir == SubdirName::noarch();
        let text = monolithic.then(|| document.render(formats)).transpose()?;
        // Nothing else tells what was published before patches.
        let unpatched = patched.unpatched.clone();
        let mut files = Vec::from(with_twins(
            Rank::Repodata,
            document.subdir,
            REPODATA,
            text,
            formats,
        ));
        files.extend(with_twins(
            Rank::Kin,
            document.subdir,
            REPODATA_FROM_PACKAGES,
            unpatched,
            formats,
        ));
        Ok((files, document.warnings(formats)))
    }

    fn run_exports(&self, patched: &Patched<'_>) -> Result<Made, Error> {
        let formats = &self.config.formats;
        let subdir = patched.document.subdir;
        let text = formats
            .run_exports
            .then(|| run_exports::render(&patched.document, &patched.taken, formats))
            .transpose()?;
        let files = with_twins(Rank::Kin, subdir, run_exports::RUN_EXPORTS, text, formats);
        Ok((files.into(), Vec::new()))
    }

    fn shards(&self, shelf: &Shelf<'_>, patched: &Patched<'_>) -> Result<Made, Error> {
        let (config, formats) = (self.config, &self.config.formats);
        let document = &patched.document;
        let index_path = document.subdir.path_of(shards::SHARD_INDEX);
        if !formats.shards {
            let mut files = retired(config, self.places, shelf, &BTreeSet::new())?;
            files.push(IndexFile::plain(Rank::ShardIndex, index_path, None));
            return Ok((files, Vec::new()));
        }
        let by_name: Vec<_> = shards::by_name(document).into_iter().collect();
        let made: Vec<(String, shards::Shard)> = by_name
            .into_par_iter()
            .map(|(name, group)| {
                let shard = shards::shard(document.subdir, &group, formats)?;
                Ok((name, shard))
            })
            .collect::<Result<_, Error>>()?;
        let digests = made
            .iter()
            .map(|(name, shard)| (name.clone(), shard.digest))
            .collect();
        let published = self.places.published();
        let existing = published.existing(&index_path, MAX_EXISTING)?.file();
        let index = shards::index(document, formats, &digests, existing.as_deref(), config.now)?;
        let mut warnings = Vec::new();
        let (mut files, mut named) = (Vec::new(), BTreeSet::new());
        for (name, shard) in made {
            warnings.extend(shard.warning(document.subdir, &name));
            let file = shard.file_name();
            let path = document
                .subdir
                .path_of(&format!("{}/{file}", shards::SHARDS));
            named.insert(file);
            files.push(IndexFile::plain(Rank::Shard, path, Some(shard.bytes)));
        }
        files.extend(retired(config, self.places, shelf, &named)?);
        files.push(IndexFile::plain(Rank::ShardIndex, index_path, Some(index)));
        Ok((files, warnings))
    }

    fn current(&self, all: &[&Document<'_>]) -> Result<Made, Error> {
        let formats = &self.config.formats;
        let off = |subdir| with_twins(Rank::Kin, subdir, CURRENT_REPODATA, None, formats);
        if !formats.current_repodata {
            let patched = self.patched.iter();
            let files = patched.flat_map(|one| off(one.document.subdir)).collect();
            return Ok((files, Vec::new()));
        }
        // The classic solver knows no third revision: what needs it can't stand in for what does not.
        let known: Vec<Cow<'_, Document<'_>>> = match formats.next {
            true => all.iter().map(|one| Cow::Borrowed(*one)).collect(),
            false => all.iter().map(|one| one.without_third()).collect(),
        };
        let known: Vec<&Document<'_>> = known.iter().map(|one| &**one).collect();
        let kept = current(&known, &self.config.pins);
        let mut files = Vec::new();
        for (document, listed) in all.iter().zip(kept.listed) {
            let ours = |one: &Patched<'_>| one.document.subdir == document.subdir;
            if !self.patched.iter().any(ours) {
                continue;
            }
            let document = Document {
                listed,
                ..(*document).clone()
            };
            files.extend(with_twins(
                Rank::Kin,
                document.subdir,
                CURRENT_REPODATA,
                Some(document.render(formats)?),
                formats,
            ));
        }
        Ok((files, kept.warnings))
    }

    /// What sums up the channel by package name.
    fn summaries(&self, all: &[&Document<'_>]) -> Result<Made, Error> {
        let formats = &self.config.formats;
        let (mut channeldata_json, mut rss_xml) = (None, None);
        if formats.channeldata || formats.rss {
            let data = gather(all);
            channeldata_json = formats.channeldata.then(|| data.render(formats));
            rss_xml = formats
                .rss
                .then(|| rss::render(&data, formats))
                .transpose()?;
        }
        let file = |path: &str, content| IndexFile::plain(Rank::Kin, path.to_owned(), content);
        let files = vec![file(CHANNELDATA, channeldata_json), file(RSS, rss_xml)];
        Ok((files, Vec::new()))
    }

    /// A page for each subdir and one for the channel.
    fn add_pages<'j>(
        &'j self,
        all: &'j [&'j Document<'j>],
        state: &'j page::State,
        jobs: &mut Vec<Job<'j>>,
    ) {
        let formats = &self.config.formats;
        jobs.push(Box::new(|| {
            let page = || page::channel_page(all, formats);
            self.page(page::PAGE.to_owned(), &page)
        }));
        for patched in self.patched {
            jobs.push(Box::new(move || {
                let page = || page::subdir_page(&patched.document, state, formats);
                self.page(patched.document.subdir.path_of(page::PAGE), &page)
            }));
        }
    }

    /// A page, unless somebody's own stands in its place.
    fn page(&self, path: String, page: &dyn Fn() -> Vec<u8>) -> Result<Made, Error> {
        let ours = match publish::existing(self.places.target(), &path, MAX_EXISTING)? {
            Existing::Absent => true,
            Existing::File(existing) => page::may_replace(&existing),
            // Neither indexer writes such a thing.
            Existing::Odd => false,
        };
        if !ours {
            let why = "neither sigindex nor conda-index wrote this page; it is left alone";
            return Ok((Vec::new(), vec![format!("{path}: {why}")]));
        }
        let content = self.config.formats.html.then(page);
        Ok((vec![IndexFile::plain(Rank::Kin, path, content)], Vec::new()))
    }
}

/// Puts changes into the order of publication.
pub fn in_order(changes: &mut [(Rank, Change)]) {
    changes.sort_by(|(a, one), (b, other)| a.cmp(b).then_with(|| one.path().cmp(other.path())));
}
