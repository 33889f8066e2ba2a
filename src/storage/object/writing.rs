//! Batches of changes to a channel in object storage. Owns their order, how many are under way at once, and on which
//! version of an object each write rests; must not know what the objects mean.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt as _;
use futures_util::stream;

use super::ObjectStorage;
use super::client::{Expected, Put};
use super::listing::Listed;
use super::view::{Known, Seen, split};
use crate::storage::{Change, StorageError};

/// Requests that are under way at once.
const AT_ONCE: usize = 32;

/// From this many bytes on, the content of a [`Change::Create`] is sent in parts: one so large is named by its hash,
/// and so whoever else puts an object there, puts the same.
const IN_PARTS: usize = 64 << 20;

/// How many objects a request for one page of a listing is worth, when it is asked when they were written.
const WORTH_A_PAGE: usize = 16;

/// Keys in a page of a listing.
const PAGE: usize = 1_000;

/// Contents that this batch wrote and that it still has to link to, by path.
type Contents = Mutex<HashMap<String, Option<Arc<Vec<u8>>>>>;

/// Changes between two marks.
#[derive(Debug, Default)]
struct Group {
    /// Whether their order tells nothing.
    is_free: bool,
    changes: Vec<Change>,
}

/// The groups of a batch, in order.
fn groups(changes: Vec<Change>) -> Vec<Group> {
    let mut groups = vec![Group::default()];
    for change in changes {
        let is_free = match change {
            Change::Settle => groups.last().is_some_and(|group| group.is_free),
            Change::Group => true,
            change => {
                if let Some(group) = groups.last_mut() {
                    group.changes.push(change);
                }
                continue;
            }
        };
        groups.push(Group {
            is_free,
            changes: Vec::new(),
        });
    }
    groups.retain(|group| !group.changes.is_empty());
    groups
}

fn is_removed(change: &Change) -> bool {
    matches!(change, Change::Remove { .. } | Change::Retire { .. })
}

fn is_retired(change: &Change) -> bool {
    matches!(change, Change::Retire { .. })
}

/// Keeps a content that was written, where a link to it is to come.
fn note(contents: &Contents, path: Option<&str>, content: Arc<Vec<u8>>) {
    let mut contents = contents.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(place) = path.and_then(|path| contents.get_mut(path)) {
        *place = Some(content);
    }
}

impl ObjectStorage {
    /// Carries out a batch. Each object is the old one or the new one at any moment.
    ///
    /// # Errors
    /// At the first failure; what was done until then stays.
    pub(super) fn carry_out(&self, changes: Vec<Change>) -> Result<(), StorageError> {
        let linked = changes.iter().filter_map(|change| match change {
            Change::Link { from, .. } => Some((from.clone(), None)),
            _ => None,
        });
        let contents = Contents::new(linked.collect());
        let groups = groups(changes);
        if groups.is_empty() {
            return Ok(());
        }
        self.demand_conditions()?;
        self.view().forget_fresh();
        let mut written = Vec::new();
        let carried = groups.into_iter().try_for_each(|mut group| {
            self.engine.block_on(self.demand_lease(&group))?;
            let may_retire = self.engine.block_on(self.may_retire(&group))?;
            group
                .changes
                .retain(|change| may_retire || !is_retired(change));
            let is_named = group.changes.iter().any(|change| !is_retired(change));
            let done = self.engine.block_on(self.group(group, &contents));
            written.extend(done.0);
            match done.1 {
                // All that is published stands by then, and the next run removes what nothing of it names.
                Err(error) if !is_named => self.keep_left(&error),
                done => return done,
            }
            Ok(())
        });
        self.engine.block_on(self.date(written));
        carried
    }

    fn keep_left(&self, error: &StorageError) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.push(format!(
            "{error}; nothing that is published names it, and a later run removes it"
        ));
    }

    /// Whether what nothing names any more may go: when this run is alone. Even a run that has just lost to this one may
    /// have begun anew, and build on what lies there.
    async fn may_retire(&self, group: &Group) -> Result<bool, StorageError> {
        if !group.changes.iter().any(is_retired) {
            return Ok(true);
        }
        // What goes last is no reason to fail what was published: the next run removes it.
        Ok(matches!(self.is_leased().await, Ok(Some(true))))
    }

    /// Makes sure that a run that had the lease has it still: what it found standing and will name, another one may have
    /// removed since.
    async fn demand_lease(&self, group: &Group) -> Result<(), StorageError> {
        let is_kept = |change: &&Change| !is_retired(change);
        let Some(first) = group.changes.iter().find(is_kept) else {
            return Ok(());
        };
        match self.is_leased().await? {
            Some(false) => Err(StorageError::LostRace {
                path: self.client.place.shown(first.path()),
            }),
            Some(true) | None => Ok(()),
        }
    }

    /// Which objects were written, and whether all went well. What is under way when one fails is waited for.
    async fn group(
        &self,
        group: Group,
        contents: &Contents,
    ) -> (Vec<String>, Result<(), StorageError>) {
        let failed = AtomicBool::new(false);
        let (removed, put): (Vec<Change>, Vec<Change>) = group
            .changes
            .into_iter()
            .partition(|change| group.is_free && is_removed(change));
        let at_once = if group.is_free { AT_ONCE } else { 1 };
        let one = |change| {
            let failed = &failed;
            async move {
                if failed.load(Ordering::Relaxed) {
                    return Ok(None);
                }
                let done = self.one(change, contents).await;
                failed.fetch_or(done.is_err(), Ordering::Relaxed);
                done
            }
        };
        let all = stream::iter(put.into_iter().map(one)).buffer_unordered(at_once);
        let all: Vec<Result<Option<String>, StorageError>> = all.collect().await;
        let (mut written, mut result) = (Vec::new(), Ok(()));
        for done in all {
            match done {
                Ok(path) => written.extend(path),
                Err(error) if result.is_ok() => result = Err(error),
                Err(_) => {}
            }
        }
        if result.is_ok() {
            let removed: Vec<String> = removed.iter().map(|one| one.path().to_owned()).collect();
            result = self.remove(removed).await;
        }
        (written, result)
    }

    /// Carries out one change; the path of the object that it wrote.
    async fn one(
        &self,
        change: Change,
        contents: &Contents,
    ) -> Result<Option<String>, StorageError> {
        match change {
            Change::Create { path, content } => {
                let done = self.create(path, &content).await;
                done.inspect(|path| note(contents, path.as_deref(), content))
            }
            Change::Write { path, content } => {
                let done = self.write(path, &content).await;
                done.inspect(|path| note(contents, path.as_deref(), content))
            }
            Change::Replace { path, content } => match self.write(path.clone(), &content).await {
                // What somebody else put there is left as it is, and seen.
                Err(StorageError::LostRace { .. }) => self.see(&path).await.map(|_| None),
                done => done,
            },
            Change::Link { from, path } => {
                let content = {
                    let contents = contents.lock().unwrap_or_else(PoisonError::into_inner);
                    contents.get(&from).cloned().flatten()
                };
                let content = match content {
                    Some(content) => content,
                    None => self.content_of(&from).await?,
                };
                self.write(path, &content).await
            }
            Change::Remove { path } | Change::Retire { path } => {
                self.remove(vec![path]).await.map(|()| None)
            }
            Change::Settle | Change::Group => Ok(None),
        }
    }

    /// An object that stands there. A store's own copy would overwrite whatever stands in the other place.
    async fn content_of(&self, path: &str) -> Result<Arc<Vec<u8>>, StorageError> {
        let found = self.client.read(path, usize::MAX).await?;
        let absent = || self.absent(path, "read the object");
        found.map(|(bytes, _)| Arc::new(bytes)).ok_or_else(absent)
    }

    async fn create(
        &self,
        path: String,
        content: &Arc<Vec<u8>>,
    ) -> Result<Option<String>, StorageError> {
        let known = self.view().find(&path);
        if let Known::Object(_) = known {
            return Ok(None);
        }
        let expected = match self.client.options.unconditional || content.len() >= IN_PARTS {
            true if known == Known::Unknown && self.ask(&path).await?.is_some() => return Ok(None),
            true => Expected::Anything,
            false => Expected::Nothing,
        };
        match self.client.put(&path, content, &expected).await? {
            Put::Done(seen) => {
                let mut view = self.view();
                view.put(&path, seen);
                view.keep_fresh(&path, content);
                Ok(Some(path))
            }
            Put::Lost => self.see(&path).await.map(|_| None),
        }
    }

    /// Takes into the view what an object is at this moment.
    pub(super) async fn see(&self, path: &str) -> Result<Option<Seen>, StorageError> {
        let found = self.client.head(path).await?;
        let mut view = self.view();
        match &found {
            Some(seen) => view.put(path, seen.clone()),
            None => view.remove(path),
        }
        Ok(found)
    }

    async fn write(
        &self,
        path: String,
        content: &Arc<Vec<u8>>,
    ) -> Result<Option<String>, StorageError> {
        let known = self.view().find(&path);
        let known = match known {
            Known::Object(seen) => Some(seen),
            Known::Absent => None,
            Known::Unknown => self.ask(&path).await?,
        };
        let expected = match known {
            _ if self.client.options.unconditional => Expected::Anything,
            Some(seen) => Expected::This(seen),
            None => Expected::Nothing,
        };
        match self.client.put(&path, content, &expected).await? {
            Put::Done(seen) => {
                let mut view = self.view();
                view.put(&path, seen);
                view.keep_fresh(&path, content);
                Ok(Some(path))
            }
            Put::Lost => Err(StorageError::LostRace {
                path: self.client.place.shown(&path),
            }),
        }
    }

    async fn remove(&self, mut paths: Vec<String>) -> Result<(), StorageError> {
        paths.retain(|path| self.view().find(path) != Known::Absent);
        if paths.is_empty() {
            return Ok(());
        }
        self.client.delete(&paths).await?;
        let mut view = self.view();
        paths.iter().for_each(|path| view.remove(path));
        Ok(())
    }

    /// Asks when objects were written: by a listing where that costs less than asking for each. Of what is not told,
    /// the next run reads a little more than it would have to.
    async fn date(&self, written: Vec<String>) {
        let mut folders: BTreeMap<&str, Vec<&String>> = BTreeMap::new();
        for path in &written {
            folders.entry(split(path).0).or_default().push(path);
        }
        for (folder, paths) in folders {
            let count = self.view().count(folder);
            let pages = count.map(|count| (count / PAGE).saturating_add(1));
            let by_listing = pages.is_some_and(|pages| {
                paths.len() >= pages.saturating_mul(WORTH_A_PAGE) || (pages == 1 && paths.len() > 3)
            });
            let listed = match by_listing {
                true => self.client.list(folder).await.ok(),
                false => None,
            };
            let names_contents = |listed: &Listed| {
                let mut objects = listed.folder.objects.values();
                objects.all(|seen| seen.etag.is_some())
            };
            if let Some(listed) = listed.filter(names_contents) {
                let mut view = self.view();
                for path in paths {
                    if let Some(found) = listed.folder.objects.get(split(path).1) {
                        view.date(path, found);
                    }
                }
                continue;
            }
            let ask = |path: &String| {
                let path = path.clone();
                async move {
                    if let Ok(Some(found)) = self.client.head(&path).await {
                        self.view().date(&path, &found);
                    }
                }
            };
            let all = stream::iter(paths.into_iter().map(ask)).buffer_unordered(AT_ONCE);
            all.collect::<Vec<()>>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_free_between_its_mark_and_the_next() {
        let remove = |path: &str| Change::Remove {
            path: path.to_owned(),
        };
        let all = vec![
            remove("a"),
            remove("b"),
            Change::Group,
            remove("c"),
            Change::Settle,
            Change::Group,
            remove("d"),
            remove("e"),
            Change::Settle,
        ];
        let groups = groups(all);
        let said: Vec<(bool, usize)> = groups
            .iter()
            .map(|group| (group.is_free, group.changes.len()))
            .collect();
        assert_eq!(said, [(false, 2), (true, 1), (true, 2)]);
    }
}
