//! How much of a subdir's index has to be made anew. Owns that judgement, which rests on the ledger; where there is
//! none, or anything is in doubt, all is made anew and held against what stands.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Config;
use super::examine::Examined;
use super::ledger::{Files, Ledger};
use super::patching::Patched;
use super::places::Places;
use super::shelf::{Before, Shelf};
use crate::cache::{Gone, Remembered};
use crate::channel::SubdirName;
use crate::package;
use crate::record::Record;
use crate::repodata::page;
use crate::repodata::shards::SHARD_INDEX;

/// How much of a subdir's index has to be made anew.
#[derive(Debug)]
pub enum Reach {
    /// All of it.
    All,
    /// Its files, but the shards of these names alone: packages of no other name came, went or changed. What lies in
    /// its folder of shards.
    Names(BTreeSet<String>, Files),
    /// Nothing but its page, which tells of the whole channel; these files stay.
    Page(Files),
}

/// What changed since the last run, as far as that is known without its index.
#[derive(Debug, Default)]
pub struct News {
    /// The names whose packages came, went or changed, for each shelf; `None` where that is not known.
    touched: Vec<Option<BTreeSet<String>>>,
    /// What the cache is to forget.
    pub gone: Vec<Gone>,
}

impl News {
    /// What is new with the packages of all shelves.
    pub fn of(config: &Config, shelves: &[Shelf<'_>], examined: &[Examined]) -> News {
        let mut by_subdir: BTreeMap<&SubdirName, Vec<&Examined>> = BTreeMap::new();
        for one in examined {
            by_subdir.entry(&one.file.subdir).or_default().push(one);
        }
        let touched = shelves.iter().map(|shelf| {
            let examined = by_subdir.remove(&shelf.lying.subdir.name);
            let remembered = matches!(shelf.before, Before::Remembered);
            let touched = remembered.then(|| touched(shelf, &examined.unwrap_or_default()));
            touched.flatten()
        });
        // Records that stay without their files need what is remembered of them.
        let forgetful = shelves.iter().filter(|_| !config.update_only);
        News {
            touched: touched.collect(),
            gone: forgetful.flat_map(Shelf::forgettable).collect(),
        }
    }

    /// How much has to be made anew, for each of `shelves`.
    pub fn reaches(
        self,
        ledger: Option<&Ledger>,
        places: Places<'_>,
        shelves: &[Shelf<'_>],
        patched: &[Patched<'_>],
    ) -> Vec<Reach> {
        // What the last run had to say of files, this one has to say again, and so has to look.
        let ledger = ledger.filter(|ledger| ledger.is_silent());
        let all = shelves.iter().zip(patched).zip(self.touched);
        all.map(|((shelf, patched), touched)| {
            let known = ledger.zip(touched);
            let reach =
                known.and_then(|(ledger, touched)| reach(ledger, places, shelf, patched, touched));
            reach.unwrap_or(Reach::All)
        })
        .collect()
    }
}

fn reach(
    ledger: &Ledger,
    places: Places<'_>,
    shelf: &Shelf<'_>,
    patched: &Patched<'_>,
    touched: BTreeSet<String>,
) -> Option<Reach> {
    let subdir = &shelf.lying.subdir.name;
    // A patch may change any record, and so may one that was taken away.
    let plain = patched.unpatched.is_none() && patched.taken.is_empty();
    (plain && ledger.is_unpatched(subdir)).then_some(())?;
    let mut shards = ledger.shards_of(places, &shelf.lying)?;
    // On a network file system the folder may have come late to this run's listing.
    let is_listed = |path: &String| shelf.lists_shard(path);
    shards.standing.keys().all(is_listed).then_some(())?;
    if touched.is_empty() {
        let page = subdir.path_of(page::PAGE);
        let files = ledger.files_of(places, subdir.as_str(), |path| path != page);
        shards.extend(files?);
        return Some(Reach::Page(shards));
    }
    let index = subdir.path_of(SHARD_INDEX);
    let stands = ledger.stands(places, &index);
    stands.then_some(Reach::Names(touched, shards))
}

/// The names whose packages came, went or changed since the last run; `None` where one of them left its place in the
/// index for another reason.
fn touched(shelf: &Shelf<'_>, examined: &[&Examined]) -> Option<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    // A package may lie under a name that its metadata contradicts.
    let mut touch = |file: &str, known: [Option<&Arc<Remembered>>; 2]| {
        names.insert(package::name_in(file).to_owned());
        let records = known.into_iter().flatten().map(|known| &known.facts.record);
        names.extend(records.filter_map(Record::name));
    };
    for one in examined {
        one.standing.as_ref().ok()?;
        let was = shelf.known.get(&one.file.name);
        if one.opened || one.news || was.is_none() {
            touch(&one.file.name, [was, one.known.as_ref()]);
        }
    }
    for name in shelf.gone() {
        touch(name, [shelf.known.get(name), None]);
    }
    Some(names)
}
