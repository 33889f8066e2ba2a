//! Which index files follow from what is listed. Owns which of them are made of what, side by side on all threads,
//! and their order; what stands in each is [`crate::repodata`]'s.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;

use rayon::ThreadPool;
use rayon::prelude::*;

use super::Config;
use super::attest::Twins;
use super::ledger::Files;
use super::patching::Patched;
use super::places::Places;
use super::retired::retired;
use super::reuse::Reach;
use super::shelf::Shelf;
use crate::channel::SubdirName;
use crate::error::{Error, go_on};
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
    pub twins: Twins,
    /// What the generation before names, where the index is signed.
    pub known: Option<&'a Targets>,
    /// How much of each subdir's index has to be made anew.
    pub reaches: Vec<Reach>,
    /// The threads.
    pub pool: &'a ThreadPool,
    /// Set when the run is to stop.
    pub cancelled: &'a AtomicBool,
}

/// What has to be done so that the index is that of the packages.
pub struct Outcome {
    /// What has to be done, in order.
    pub changes: Vec<(Rank, Change)>,
    /// What a signed index is to name of it.
    pub targets: Targets,
    /// What an operator should know.
    pub warnings: Vec<String>,
    /// What stands once all that is done.
    pub files: Files,
}

/// Files as they should stand, and what there is to know of them.
#[derive(Default)]
struct Made {
    files: Vec<IndexFile>,
    /// What an operator should know.
    warnings: Vec<String>,
    /// Files that are somebody else's, and looked at all the same.
    left_alone: Vec<String>,
    /// When something has to be done though nothing changes, in Unix milliseconds.
    until: Option<i64>,
}

impl Made {
    fn of(files: impl Into<Vec<IndexFile>>) -> Made {
        let files = files.into();
        Made {
            files,
            ..Made::default()
        }
    }
}

/// A part of the work, held against what stands.
struct Part {
    settled: Vec<Settled>,
    files: Files,
    warnings: Vec<String>,
}

/// One part of the work, which needs no other.
type Job<'j> = Box<dyn Fn() -> Result<Made, Error> + Send + Sync + 'j>;

impl Outputs<'_> {
    /// What has to be done so that the channel's index is that of these packages.
    ///
    /// # Errors
    /// When a file can't be made, or one that stands there can't be read. [`Error::Interrupted`] when the run is to
    /// stop.
    pub fn outcome(&self) -> Result<Outcome, Error> {
        let all = self.documents();
        let pages = self.contents(&all);
        let state = page::state(&pages);
        let mut jobs: Vec<Job<'_>> = vec![Box::new(|| self.current(&all))];
        let subdirs = self.shelves.iter().zip(self.patched).zip(&self.reaches);
        for ((shelf, patched), reach) in subdirs {
            let names = match reach {
                Reach::All => None,
                Reach::Names(names, _) => Some(names),
                Reach::Page(_) => continue,
            };
            jobs.push(Box::new(move || self.shards(shelf, patched, names)));
            jobs.push(Box::new(|| Ok(self.repodata(patched))));
            jobs.push(Box::new(|| Ok(self.run_exports(patched))));
        }
        jobs.push(Box::new(|| self.summaries(&all)));
        self.add_pages(&pages, &state, &mut jobs);
        jobs.push(Box::new(|| Ok(Made::of(self.twins.due.clone()))));
        let parts: Vec<Part> = self.pool.install(|| {
            let settled = jobs.par_iter().map(|job| self.settle(job()?));
            settled.collect::<Result<_, Error>>()
        })?;
        let mut outcome = Outcome {
            changes: Vec::new(),
            targets: Targets::new(),
            warnings: Vec::new(),
            files: Files::default(),
        };
        for reach in &self.reaches {
            if let Reach::Page(files) | Reach::Names(_, files) = reach {
                outcome.files.extend(files.clone());
            }
        }
        for (path, stat) in &self.twins.standing {
            outcome.files.note(path.clone(), Some(*stat));
        }
        for part in parts {
            for file in part.settled {
                outcome.changes.extend(file.changes);
                outcome.targets.extend(file.target);
            }
            outcome.files.extend(part.files);
            outcome.warnings.extend(part.warnings);
        }
        in_order(&mut outcome.changes);
        let removed = self.removed_of_others(&outcome.changes);
        outcome.warnings.extend(removed);
        Ok(outcome)
    }

    /// What has to be done for the files of one part; what stands already is let go at once.
    fn settle(&self, made: Made) -> Result<Part, Error> {
        let target = self.places.target();
        let settled = made.files.into_par_iter().map(|file| {
            go_on(self.cancelled)?;
            let settled = match self.known {
                Some(known) => {
                    publish::signed::settle(target, &file, known.get(&file.path), self.cancelled)
                }
                None => Settled::plainly(target, &file, self.cancelled),
            };
            Ok((file.path, settled?))
        });
        let settled: Vec<(String, Settled)> = settled.collect::<Result<_, Error>>()?;
        let mut part = Part {
            settled: Vec::with_capacity(settled.len()),
            files: Files::until(made.until),
            warnings: made.warnings,
        };
        for (path, settled) in settled {
            part.files.note(path, settled.stands);
            part.settled.push(settled);
        }
        for path in made.left_alone {
            part.files.note(path, None);
        }
        Ok(part)
    }

    /// Whoever takes over a channel wants to know which of its files go.
    fn removed_of_others(&self, changes: &[(Rank, Change)]) -> Option<String> {
        let foreign = |shelf: &Shelf<'_>| !shelf.by_sigindex();
        let is_channels = self.neighbours.is_empty() && self.shelves.iter().all(foreign);
        let taken_over = |path: &str| match path.split_once('/') {
            None => is_channels,
            Some((subdir, _)) => {
                let mut shelves = self.shelves.iter();
                shelves.any(|shelf| shelf.lying.subdir.name.as_str() == subdir && foreign(shelf))
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

    fn repodata(&self, patched: &Patched<'_>) -> Made {
        let formats = &self.config.formats;
        let document = &patched.document;
        // Without noarch/repodata.json clients take the folder for no channel.
        let monolithic = formats.monolithic || *document.subdir == SubdirName::noarch();
        let text = monolithic.then(|| document.render(formats));
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
        Made {
            files,
            warnings: document.warnings(formats),
            ..Made::default()
        }
    }

    fn run_exports(&self, patched: &Patched<'_>) -> Made {
        let formats = &self.config.formats;
        let subdir = patched.document.subdir;
        let text = formats
            .run_exports
            .then(|| run_exports::render(&patched.document, &patched.taken, formats));
        let files = with_twins(Rank::Kin, subdir, run_exports::RUN_EXPORTS, text, formats);
        Made::of(files)
    }

    /// What pages show, as far as there are any.
    fn contents<'d>(&self, all: &[&'d Document<'d>]) -> Vec<page::Content<'d>> {
        if !self.config.formats.html {
            return Vec::new();
        }
        let contents = all.par_iter().map(|document| {
            let glances = document.listed.par_iter().map(page::Glance::new);
            page::Content::new(document, glances.collect())
        });
        self.pool.install(|| contents.collect())
    }

    /// The shards of all names, or of these alone.
    fn shards(
        &self,
        shelf: &Shelf<'_>,
        patched: &Patched<'_>,
        names: Option<&BTreeSet<String>>,
    ) -> Result<Made, Error> {
        let (config, formats) = (self.config, &self.config.formats);
        let document = &patched.document;
        let index_path = document.subdir.path_of(shards::SHARD_INDEX);
        if !formats.shards {
            let (mut files, until) = retired(config, self.places, shelf, &BTreeSet::new())?;
            files.push(IndexFile::plain(Rank::ShardIndex, index_path, None));
            return Ok(Made {
                files,
                until,
                ..Made::default()
            });
        }
        let published = self.places.published();
        let existing = published.existing(&index_path, MAX_EXISTING)?.file();
        let known = names.zip(existing.as_deref().and_then(shards::read_index));
        let by_name: Vec<_> = match &known {
            Some((names, _)) => shards::of_names(document, names),
            None => shards::by_name(document),
        }
        .into_iter()
        .collect();
        let made: Vec<(String, shards::Shard)> = by_name
            .into_par_iter()
            .map(|(name, group)| {
                go_on(self.cancelled)?;
                let shard = shards::shard(document.subdir, &group, formats)?;
                Ok((name, shard))
            })
            .collect::<Result<_, Error>>()?;
        let mut digests = known.map_or_else(BTreeMap::new, |(names, index)| {
            let mut kept = index.shards;
            kept.retain(|name, _| !names.contains(name));
            kept
        });
        digests.extend(
            made.iter()
                .map(|(name, shard)| (name.clone(), shard.digest)),
        );
        let index = shards::index(document, formats, &digests, existing.as_deref(), config.now)?;
        let mut warnings = Vec::new();
        let mut files = Vec::new();
        let named = digests.values().map(shards::file_name).collect();
        for (name, shard) in made {
            warnings.extend(shard.warning(document.subdir, &name));
            let file = shards::file_name(&shard.digest);
            let path = document
                .subdir
                .path_of(&format!("{}/{file}", shards::SHARDS));
            files.push(IndexFile::plain(Rank::Shard, path, Some(shard.bytes)));
        }
        let (retired, until) = retired(config, self.places, shelf, &named)?;
        files.extend(retired);
        files.push(IndexFile::plain(Rank::ShardIndex, index_path, Some(index)));
        Ok(Made {
            files,
            warnings,
            until,
            ..Made::default()
        })
    }

    fn current(&self, all: &[&Document<'_>]) -> Result<Made, Error> {
        let formats = &self.config.formats;
        let off = |subdir| with_twins(Rank::Kin, subdir, CURRENT_REPODATA, None, formats);
        if !formats.current_repodata {
            let patched = self.patched.iter();
            let files = patched.flat_map(|one| off(one.document.subdir));
            return Ok(Made::of(files.collect::<Vec<_>>()));
        }
        // The classic solver knows no third revision: what needs it can't stand in for what does not.
        let known: Vec<Cow<'_, Document<'_>>> = match formats.next {
            true => all.iter().map(|one| Cow::Borrowed(*one)).collect(),
            false => all.iter().map(|one| one.without_third()).collect(),
        };
        let known: Vec<&Document<'_>> = known.iter().map(|one| &**one).collect();
        let kept = current(&known, &self.config.pins, self.cancelled)?;
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
                Some(document.render(formats)),
                formats,
            ));
        }
        Ok(Made {
            files,
            warnings: kept.warnings,
            ..Made::default()
        })
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
        let files = [file(CHANNELDATA, channeldata_json), file(RSS, rss_xml)];
        Ok(Made::of(files))
    }

    /// A page for each subdir and one for the channel.
    fn add_pages<'j>(
        &'j self,
        contents: &'j [page::Content<'j>],
        state: &'j page::State,
        jobs: &mut Vec<Job<'j>>,
    ) {
        let formats = &self.config.formats;
        jobs.push(Box::new(|| {
            let page = || page::channel_page(contents, state, formats);
            self.page(page::PAGE.to_owned(), &page)
        }));
        for patched in self.patched {
            let subdir = patched.document.subdir;
            let content = contents.iter().find(|content| content.subdir() == subdir);
            jobs.push(Box::new(move || {
                let page = || content.map(|content| page::subdir_page(content, state, formats));
                self.page(subdir.path_of(page::PAGE), &|| page().unwrap_or_default())
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
            return Ok(Made {
                warnings: vec![format!("{path}: {why}")],
                left_alone: vec![path],
                ..Made::default()
            });
        }
        let content = self.config.formats.html.then(page);
        Ok(Made::of([IndexFile::plain(Rank::Kin, path, content)]))
    }
}

/// Puts changes into the order of publication.
pub fn in_order(changes: &mut [(Rank, Change)]) {
    changes.sort_by(|(a, one), (b, other)| a.cmp(b).then_with(|| one.path().cmp(other.path())));
}
