//! A channel in object storage as this run first saw it, and as it left it since. Owns what is answered without a
//! request, and on which version of an object a write rests; makes no request.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::storage::{Item, Kind, Stat};

/// The most bytes of contents just written that are kept, to be read back without a request.
const MOST_FRESH: usize = 8 << 20;

/// The largest content that is kept so.
const LARGEST_FRESH: usize = 16 << 10;

/// An object, as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What tells its content from any other that had or will have its name.
    pub etag: Option<Arc<str>>,
    /// The same, where the store asks for it in conditions.
    pub version: Option<Arc<str>>,
    /// Bytes.
    pub size: u64,
    /// When it was written, in whole seconds since 1970: answers to different requests give different parts of one.
    /// `None` of what was just written, and not yet asked for.
    pub written: Option<i64>,
}

impl Seen {
    /// Its identity, in the words of folders.
    pub fn stat(&self) -> Stat {
        let mtime = self
            .written
            .unwrap_or_default()
            .saturating_mul(1_000_000_000);
        let digest = match &self.etag {
            Some(etag) => Sha256::digest(etag.as_bytes()),
            None => Sha256::digest(format!("{} {mtime}", self.size)),
        };
        let mut bytes = digest.iter();
        let mut number = || {
            let eight = bytes.by_ref().take(8);
            eight.fold(0_u64, |number, byte| (number << 8) | u64::from(*byte))
        };
        Stat {
            size: self.size,
            mtime,
            inode: number(),
            ctime: number().cast_signed(),
        }
    }

    /// Whether it is the same content, as far as the store tells.
    pub fn is(&self, other: &Seen) -> bool {
        self.size == other.size
            && match (&self.etag, &other.etag) {
                (Some(one), Some(other)) => one == other,
                _ => self.written == other.written,
            }
    }
}

/// What is known of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// An object.
    Object(Seen),
    /// There is none.
    Absent,
    /// Nothing.
    Unknown,
}

/// What lies in a folder.
#[derive(Debug, Clone, Default)]
pub struct Folder {
    /// The objects, by name.
    pub objects: BTreeMap<String, Seen>,
    /// The folders.
    pub folders: BTreeSet<String>,
}

/// All that is known.
#[derive(Debug, Default)]
pub struct View {
    /// Folders that were listed to their end.
    listed: HashMap<String, Folder>,
    /// Objects that were asked for one by one.
    asked: HashMap<String, Option<Seen>>,
    /// Contents that were just written.
    fresh: HashMap<String, Arc<Vec<u8>>>,
    fresh_bytes: usize,
}

impl View {
    /// What is known of a path.
    pub fn find(&self, path: &str) -> Known {
        let (folder, name) = split(path);
        if let Some(listed) = self.listed.get(folder) {
            return match (listed.objects.get(name), self.asked.get(path)) {
                (Some(seen), _) if seen.etag.is_some() => Known::Object(seen.clone()),
                // Some stores name contents only when they are asked for one by one, or not at all.
                (Some(_), Some(Some(seen))) => Known::Object(seen.clone()),
                (Some(_), _) => Known::Unknown,
                (None, _) => Known::Absent,
            };
        }
        match self.asked.get(path) {
            Some(Some(seen)) => Known::Object(seen.clone()),
            Some(None) => Known::Absent,
            None if self.is_no_folder(folder) => Known::Absent,
            None => Known::Unknown,
        }
    }

    /// Whether a folder is known not to be there.
    pub fn is_no_folder(&self, folder: &str) -> bool {
        if folder.is_empty() || self.listed.contains_key(folder) {
            return false;
        }
        let (above, name) = split(folder);
        match self.listed.get(above) {
            Some(listed) => !listed.folders.contains(name),
            None => self.is_no_folder(above),
        }
    }

    /// Whether a folder is named in that above it.
    pub fn is_folder(&self, folder: &str) -> bool {
        let (above, name) = split(folder);
        let listed = self.listed.get(above);
        listed.is_some_and(|listed| listed.folders.contains(name))
    }

    /// What lies in a folder, where that is known.
    pub fn items(&self, folder: &str) -> Option<Vec<Item>> {
        let listed = self.listed.get(folder)?;
        let item = |name: &String, kind| Item {
            name: OsString::from(name),
            kind,
        };
        let objects = listed.objects.keys().map(|name| item(name, Kind::File));
        let folders = listed.folders.iter();
        let folders = folders.map(|name| item(name, Kind::Folder));
        Some(objects.chain(folders).collect())
    }

    /// How many objects and folders lie in a folder that was listed.
    pub fn count(&self, folder: &str) -> Option<usize> {
        let listed = self.listed.get(folder)?;
        Some(listed.objects.len().saturating_add(listed.folders.len()))
    }

    /// Takes in a folder as it was listed; what was seen of it before, stays as it was seen.
    pub fn list(&mut self, folder: &str, mut found: Folder) {
        if self.listed.contains_key(folder) {
            return;
        }
        self.asked.retain(|path, seen| {
            let (of, name) = split(path);
            if of != folder {
                return true;
            }
            match seen.take() {
                Some(seen) => found.objects.insert(name.to_owned(), seen),
                None => found.objects.remove(name),
            };
            false
        });
        self.listed.insert(folder.to_owned(), found);
    }

    /// Takes in what was asked of one path; what was seen before stays.
    pub fn ask(&mut self, path: &str, seen: Option<Seen>) -> Option<Seen> {
        match self.find(path) {
            Known::Object(before) => Some(before),
            Known::Absent => None,
            Known::Unknown => {
                let (folder, name) = split(path);
                match (self.listed.get_mut(folder), &seen) {
                    (Some(listed), Some(found)) if found.etag.is_some() => {
                        listed.objects.insert(name.to_owned(), found.clone());
                    }
                    (Some(listed), None) => {
                        listed.objects.remove(name);
                    }
                    _ => {
                        self.asked.insert(path.to_owned(), seen.clone());
                    }
                }
                seen
            }
        }
    }

    /// Notes what this run put in a place, or found there when it could not put anything.
    pub fn put(&mut self, path: &str, seen: Seen) {
        let (folder, name) = split(path);
        self.make(folder);
        match self.listed.get_mut(folder) {
            Some(listed) => {
                self.asked.remove(path);
                listed.objects.insert(name.to_owned(), seen);
            }
            None => {
                self.asked.insert(path.to_owned(), Some(seen));
            }
        }
    }

    /// Notes that an object is gone.
    pub fn remove(&mut self, path: &str) {
        let (folder, name) = split(path);
        match self.listed.get_mut(folder) {
            Some(listed) => {
                listed.objects.remove(name);
            }
            None => {
                self.asked.insert(path.to_owned(), None);
            }
        }
    }

    /// Notes when an object was written, if it still is this one.
    pub fn date(&mut self, path: &str, found: &Seen) {
        let (folder, name) = split(path);
        let seen = match self.listed.get_mut(folder) {
            Some(listed) => listed.objects.get_mut(name),
            None => self.asked.get_mut(path).and_then(Option::as_mut),
        };
        if let Some(seen) = seen.filter(|seen| seen.etag == found.etag) {
            seen.written = found.written;
            seen.version = seen.version.take().or_else(|| found.version.clone());
        }
    }

    /// Lets go of contents that were kept to be read back.
    pub fn forget_fresh(&mut self) {
        self.fresh = HashMap::new();
        self.fresh_bytes = 0;
    }

    /// Keeps a small content that was just written, as long as there is room.
    pub fn keep_fresh(&mut self, path: &str, content: &Arc<Vec<u8>>) {
        let bytes = self.fresh_bytes.saturating_add(content.len());
        if content.len() <= LARGEST_FRESH && bytes <= MOST_FRESH {
            self.fresh_bytes = bytes;
            self.fresh.insert(path.to_owned(), Arc::clone(content));
        }
    }

    /// A content that was just written.
    pub fn fresh(&self, path: &str) -> Option<Arc<Vec<u8>>> {
        self.fresh.get(path).cloned()
    }

    /// Notes that a folder is there, and those above it. One that was known not to be there is known whole.
    fn make(&mut self, folder: &str) {
        if folder.is_empty() || self.listed.contains_key(folder) {
            return;
        }
        let was_none = self.is_no_folder(folder);
        let (above, name) = split(folder);
        self.make(above);
        if let Some(listed) = self.listed.get_mut(above) {
            listed.folders.insert(name.to_owned());
        }
        if was_none {
            self.listed.insert(folder.to_owned(), Folder::default());
        }
    }
}

/// A path's folder and its name there.
pub fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn seen(etag: &str) -> Seen {
        Seen {
            etag: Some(etag.into()),
            version: None,
            size: 1,
            written: Some(7),
        }
    }

    fn folder(objects: &[&str], folders: &[&str]) -> Folder {
        let objects = objects.iter().map(|name| ((*name).to_owned(), seen(name)));
        Folder {
            objects: objects.collect(),
            folders: folders.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn what_was_listed_is_answered() {
        let mut view = View::default();
        assert_eq!(view.find("noarch/a"), Known::Unknown);
        view.list("", folder(&["top", "noarch"], &["noarch"]));
        assert_eq!(view.find("noarch/a"), Known::Unknown);
        assert_eq!(view.find("linux-64/shards/a"), Known::Absent);
        assert!(view.is_no_folder("linux-64/shards") && !view.is_no_folder("noarch/shards"));
        assert_eq!(
            view.ask("noarch/b", Some(seen("first"))),
            Some(seen("first"))
        );
        view.list("noarch", folder(&["a", "b"], &[]));
        assert_eq!(view.find("noarch/b"), Known::Object(seen("first")));
        assert_eq!(view.find("noarch/a"), Known::Object(seen("a")));
        assert_eq!(view.find("noarch/c"), Known::Absent);
        let kinds: Vec<Kind> = view
            .items("")
            .unwrap()
            .iter()
            .map(|item| item.kind)
            .collect();
        assert_eq!(kinds, [Kind::File, Kind::File, Kind::Folder]);
    }

    #[test]
    fn what_was_written_is_known_with_its_folders() {
        let mut view = View::default();
        view.list("", folder(&[], &["noarch"]));
        view.put("linux-64/shards/a", seen("1"));
        assert_eq!(view.items("linux-64/shards").unwrap().len(), 1);
        assert_eq!(view.items("linux-64").unwrap().len(), 1);
        assert_eq!(view.items("").unwrap().len(), 2);
        view.put("noarch/a", seen("2"));
        assert!(
            view.items("noarch").is_none(),
            "the rest of it is not known"
        );
        assert_eq!(view.find("noarch/a"), Known::Object(seen("2")));
        view.remove("noarch/a");
        view.remove("linux-64/shards/a");
        assert_eq!(view.find("noarch/a"), Known::Absent);
        assert_eq!(view.find("linux-64/shards/a"), Known::Absent);
    }

    #[test]
    fn an_identity_is_that_of_the_content_and_its_time() {
        let one = seen("x");
        assert_eq!(one.stat(), seen("x").stat());
        assert_ne!(one.stat().inode, seen("y").stat().inode);
        assert_eq!(one.stat().mtime, 7_000_000_000);
        assert!(one.is(&seen("x")) && !one.is(&seen("y")));
    }
}
