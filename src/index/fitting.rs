//! Which packages find room in the shard of their name. Owns who goes first where not all do; what a shard holds is
//! [`shards`]'s.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use rayon::ThreadPool;
use rayon::prelude::*;

use super::Config;
use super::documents;
use super::examine::Examined;
use super::judge::Refusal;
use super::shelf::Shelf;
use crate::cache::Remembered;
use crate::channel::SubdirName;
use crate::error::Error;
use crate::keys::PublicKey;
use crate::package;
use crate::repodata::shards::{self, FEW, Room, Weight};

/// Refuses packages that find no room in the shard of their name: no client reads a shard that is too large, and where no
/// `repodata.json` stands beside it, no run either. First come those that are published, then all others, by their
/// file names; a small one may still fit where a large one does not. Patches are not looked at.
///
/// # Errors
/// When a record that came from the cache is broken.
pub fn refuse_what_finds_no_room(
    config: &Config,
    shelves: &[Shelf<'_>],
    signing: Option<&PublicKey>,
    examined: &mut [Examined],
    pool: &ThreadPool,
) -> Result<(), Error> {
    if !config.formats.shards {
        return Ok(());
    }
    for ((subdir, _), mut positions) in crowds(examined) {
        let of_subdir = |shelf: &&Shelf<'_>| shelf.lying.subdir.name == subdir;
        let Some(shelf) = shelves.iter().find(of_subdir) else {
            continue;
        };
        positions.sort_by_cached_key(|at| {
            let name = examined.get(*at).map(|one| one.file.name.clone());
            let is_new = name.as_ref().is_none_or(|name| shelf.was(name).is_none());
            (is_new, name)
        });
        let weight = |at: &usize| match examined.get(*at) {
            Some(one) => weight(config, shelf, one, signing),
            None => Ok(None),
        };
        let weights: Vec<Option<Weight>> = pool.install(|| {
            let weights = positions.par_iter().map(weight);
            weights.collect::<Result<_, Error>>()
        })?;
        let mut room = Room::default();
        for (at, weight) in positions.into_iter().zip(weights) {
            if weight.is_some_and(|weight| !room.take(weight))
                && let Some(one) = examined.get_mut(at)
            {
                one.standing = Err(Refusal::NoRoom);
            }
        }
    }
    Ok(())
}

fn weight(
    config: &Config,
    shelf: &Shelf<'_>,
    one: &Examined,
    signing: Option<&PublicKey>,
) -> Result<Option<Weight>, Error> {
    let listed = documents::listed(config, shelf, one, signing)?;
    let weight = |listed| shards::weight(&one.file.subdir, &listed, &config.formats);
    listed.map(weight).transpose()
}

/// The positions of packages of one name, in a subdir, that have to be weighed. There hardly ever are any, and so what
/// costs least comes first: the beginnings of file names, which are those of the names.
fn crowds(examined: &[Examined]) -> BTreeMap<(SubdirName, String), Vec<usize>> {
    let mut beginnings: HashMap<(&SubdirName, Cow<'_, str>), usize> = HashMap::new();
    for (one, known) in examined.iter().filter_map(listed) {
        let text = beginnings
            .entry((&one.file.subdir, beginning(one, known)))
            .or_default();
        *text = text.saturating_add(light(known));
    }
    beginnings.retain(|_, text| *text > FEW);
    if beginnings.is_empty() {
        return BTreeMap::new();
    }
    let mut crowds: BTreeMap<(SubdirName, String), (usize, Vec<usize>)> = BTreeMap::new();
    for (at, one) in examined.iter().enumerate() {
        let Some((one, known)) = listed(one) else {
            continue;
        };
        if beginnings.contains_key(&(&one.file.subdir, beginning(one, known))) {
            let key = (one.file.subdir.clone(), name_of(one, known));
            let (text, positions) = crowds.entry(key).or_default();
            *text = text.saturating_add(light(known));
            positions.push(at);
        }
    }
    let crowds = crowds.into_iter().filter(|(_, (text, _))| *text > FEW);
    crowds
        .map(|(key, (_, positions))| (key, positions))
        .collect()
}

fn listed(one: &Examined) -> Option<(&Examined, &Remembered)> {
    let known = one.known.as_deref()?;
    one.standing.is_ok().then_some((one, known))
}

fn light(known: &Remembered) -> usize {
    let facts = &known.facts;
    let record = facts.record.stored().len();
    shards::light(record.saturating_add(facts.details.run_exports().len()))
}

/// What stands before the first dash of a package's name, be that the name in its metadata or in its file's.
fn beginning<'e>(one: &'e Examined, known: &Remembered) -> Cow<'e, str> {
    match known.facts.mismatch {
        Some(_) => Cow::Owned(first(&name_of(one, known)).to_owned()),
        None => Cow::Borrowed(first(&one.file.name)),
    }
}

fn first(name: &str) -> &str {
    name.split('-').next().unwrap_or_default()
}

/// The name under which it stands in shards.
fn name_of(one: &Examined, known: &Remembered) -> String {
    let name = known.facts.record.name().filter(|name| !name.is_empty());
    name.unwrap_or_else(|| package::name_in(&one.file.name).to_owned())
}
