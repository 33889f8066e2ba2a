//! A file system that loses power: what a run did is done over in memory, call by call, and at a point all is lost that
//! no sync made lasting, or some of it. Owns what may be lost; must not know what the files mean.
//!
//! A folder's entries (names made, replaced, taken away) last once that folder, or its file system, was synced; a file's
//! bytes once the file was. Of the entries that were not synced any may be lost, each for itself (what POSIX leaves
//! open), or all from one on (as a journal does); but a change of a name is never kept where an earlier one of the same
//! name is lost. Of bytes that were not synced any write may be lost, cut short, or be zeros where the file grew.

use std::collections::BTreeMap;
use std::path::Path;

use crate::scene::builder::Random;
use crate::trace::Point;

/// A file by its number.
type Id = usize;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Folder,
    File(Id),
}

/// A change of names that happens as a whole.
#[derive(Debug, Clone)]
struct Renaming {
    /// Names and what they stand for from now on.
    names: Vec<(String, Option<Entry>)>,
}

/// A write, or a new length.
#[derive(Debug, Clone)]
enum Write {
    At(usize, Vec<u8>),
    Length(usize),
}

#[derive(Debug, Clone, Default)]
struct File {
    /// What survives.
    lasting: Vec<u8>,
    /// What may not.
    pending: Vec<Write>,
}

impl Write {
    fn to(&self, bytes: &mut Vec<u8>) {
        match self {
            Write::At(at, new) => {
                bytes.resize(bytes.len().max(at + new.len()), 0);
                bytes[*at..at + new.len()].copy_from_slice(new);
            }
            Write::Length(length) => bytes.resize(*length, 0),
        }
    }
}

impl File {
    fn now(&self) -> Vec<u8> {
        let mut bytes = self.lasting.clone();
        self.pending.iter().for_each(|write| write.to(&mut bytes));
        bytes
    }

    fn sync(&mut self) {
        self.lasting = self.now();
        self.pending.clear();
    }

    /// What may be left of it.
    fn left(&self, random: &mut Random) -> Vec<u8> {
        let mut bytes = self.lasting.clone();
        match random.below(5) {
            0 => {}
            1 => bytes = self.now(),
            // A journal wrote the length, and nobody the bytes.
            2 => bytes.resize(self.now().len().max(bytes.len()), 0),
            3 => {
                let kept = self.pending.iter().filter(|_| random.below(2) == 0);
                kept.for_each(|write| write.to(&mut bytes));
            }
            _ => {
                bytes = self.now();
                let grown = bytes.len().saturating_sub(self.lasting.len()) as u64;
                bytes.truncate(bytes.len() - usize::try_from(random.below(grown + 1)).unwrap());
            }
        }
        bytes
    }
}

/// How names are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// Each for itself.
    Any,
    /// All from one on.
    FromOneOn,
    /// None.
    Kept,
}

/// The file system.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    files: Vec<File>,
    /// What survives.
    lasting: BTreeMap<String, Entry>,
    /// What is seen now.
    now: BTreeMap<String, Entry>,
    /// What lies between.
    pending: Vec<Renaming>,
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or(".", |(folder, _)| folder)
}

impl Disk {
    /// All that lies in a folder, long synced.
    pub fn of(folder: &Path) -> Disk {
        let mut disk = Disk::default();
        for entry in walkdir::WalkDir::new(folder).min_depth(1) {
            let entry = entry.unwrap();
            let path = entry
                .path()
                .strip_prefix(folder)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            let made = match entry.file_type().is_dir() {
                true => Entry::Folder,
                false => disk.file(std::fs::read(entry.path()).unwrap()),
            };
            disk.lasting.insert(path, made);
        }
        disk.now = disk.lasting.clone();
        disk
    }

    fn file(&mut self, lasting: Vec<u8>) -> Entry {
        let pending = Vec::new();
        self.files.push(File { lasting, pending });
        Entry::File(self.files.len() - 1)
    }

    fn at(&mut self, path: &str) -> Option<&mut File> {
        match self.now.get(path) {
            Some(Entry::File(id)) => self.files.get_mut(*id),
            _ => None,
        }
    }

    fn rename(&mut self, names: Vec<(String, Option<Entry>)>) {
        for (name, entry) in &names {
            match entry {
                Some(entry) => self.now.insert(name.clone(), *entry),
                None => self.now.remove(name),
            };
        }
        self.pending.push(Renaming { names });
    }

    /// Does a call over.
    pub fn follow(&mut self, point: &Point, data: &[u8]) {
        let Some(result) = point.result.filter(|result| *result >= 0) else {
            return;
        };
        let (path, value) = (
            point.path.as_str(),
            usize::try_from(point.value).unwrap_or(0),
        );
        match point.call.as_str() {
            "create" if self.now.contains_key(path) => {
                if value & 0o1000 != 0
                    && let Some(file) = self.at(path)
                {
                    file.pending.push(Write::Length(0));
                }
            }
            "create" => {
                let file = self.file(Vec::new());
                self.rename(vec![(path.to_owned(), Some(file))]);
            }
            "write" | "pwrite" | "writev" | "pwritev" | "copy" => {
                let from = point.data.expect("bytes of a write");
                let bytes = data[from..from + usize::try_from(result).unwrap()].to_vec();
                if let Some(file) = self.at(path) {
                    file.pending.push(Write::At(value, bytes));
                }
            }
            "ftruncate" => {
                if let Some(file) = self.at(path) {
                    file.pending.push(Write::Length(value));
                }
            }
            "mkdir" => self.rename(vec![(path.to_owned(), Some(Entry::Folder))]),
            "unlink" | "rmdir" => self.rename(vec![(path.to_owned(), None)]),
            "rename" | "renamex" => {
                let moved = self.now.get(path).copied();
                let same = moved == self.now.get(&point.path2).copied();
                if !same {
                    self.rename(vec![(path.to_owned(), None), (point.path2.clone(), moved)]);
                }
            }
            "link" => {
                let linked = self.now.get(path).copied();
                self.rename(vec![(point.path2.clone(), linked)]);
            }
            "fsync" => {
                if let Some(file) = self.at(path) {
                    file.sync();
                }
            }
            "syncdir" => self.sync_folder(path),
            "syncfs" => {
                self.files.iter_mut().for_each(File::sync);
                self.lasting = self.now.clone();
                self.pending.clear();
            }
            _ => {}
        }
    }

    /// What was done to names in a folder lasts, with all that was done to the same names before.
    fn sync_folder(&mut self, folder: &str) {
        let mut left = Vec::new();
        for renaming in std::mem::take(&mut self.pending) {
            let (last, _) = renaming.names.last().unwrap();
            match folder_of(last) == folder {
                true => apply(&mut self.lasting, &renaming),
                false => left.push(renaming),
            }
        }
        self.pending = left;
    }

    /// What is left when the power goes: files and folders by path.
    pub fn left(&self, names: Names, random: &mut Random) -> BTreeMap<String, Option<Vec<u8>>> {
        let mut entries = self.lasting.clone();
        let kept = random.below(self.pending.len() as u64 + 1);
        let mut lost: Vec<&str> = Vec::new();
        for (at, renaming) in self.pending.iter().enumerate() {
            let keep = match names {
                Names::Any => random.below(2) == 0,
                Names::FromOneOn => (at as u64) < kept,
                Names::Kept => true,
            };
            let all = renaming.names.iter().map(|(name, _)| name.as_str());
            if keep && !all.clone().any(|name| lost.contains(&name)) {
                apply(&mut entries, renaming);
            } else {
                lost.extend(all);
            }
        }
        let contents: BTreeMap<Id, Vec<u8>> = entries
            .values()
            .filter_map(|entry| match entry {
                Entry::File(id) => Some((*id, self.files[*id].left(random))),
                Entry::Folder => None,
            })
            .collect();
        let has_folder = |path: &str| {
            let above = Path::new(path).ancestors().skip(1);
            let mut above = above
                .filter_map(Path::to_str)
                .filter(|path| !path.is_empty());
            above.all(|folder| entries.get(folder) == Some(&Entry::Folder))
        };
        let there = entries.iter().filter(|(path, _)| has_folder(path));
        there
            .map(|(path, entry)| match entry {
                Entry::Folder => (path.clone(), None),
                Entry::File(id) => (path.clone(), Some(contents[id].clone())),
            })
            .collect()
    }
}

fn apply(entries: &mut BTreeMap<String, Entry>, renaming: &Renaming) {
    for (name, entry) in &renaming.names {
        match entry {
            Some(entry) => entries.insert(name.clone(), *entry),
            None => entries.remove(name),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(call: &str, path: &str, path2: &str, data: Option<usize>) -> Point {
        Point {
            number: 1,
            call: call.to_owned(),
            result: Some(3),
            value: 0,
            data,
            path: path.to_owned(),
            path2: path2.to_owned(),
            hit: false,
        }
    }

    /// A file is written beside its place and renamed, with or without these syncs.
    fn contents(synced: &[&str]) -> std::collections::BTreeSet<Option<Vec<u8>>> {
        let mut disk = Disk::default();
        disk.now.insert("d".to_owned(), Entry::Folder);
        disk.lasting = disk.now.clone();
        let old = disk.file(b"old".to_vec());
        disk.now.insert("d/a".to_owned(), old);
        disk.lasting = disk.now.clone();
        disk.follow(&point("create", "d/t", "", None), b"");
        disk.follow(&point("write", "d/t", "", Some(0)), b"new");
        if synced.contains(&"file") {
            disk.follow(&point("fsync", "d/t", "", None), b"");
        }
        disk.follow(&point("rename", "d/t", "d/a", None), b"");
        if synced.contains(&"folder") {
            disk.follow(&point("syncdir", "d", "", None), b"");
        }
        let mut random = Random::new(1);
        (0..200)
            .map(|_| disk.left(Names::Any, &mut random).remove("d/a").flatten())
            .collect()
    }

    #[test]
    fn what_is_synced_stays_and_nothing_else_is_sure() {
        let new = Some(b"new".to_vec());
        let old = Some(b"old".to_vec());
        assert_eq!(contents(&["file", "folder"]), [new.clone()].into());
        assert_eq!(contents(&["file"]), [new.clone(), old.clone()].into());
        assert!(contents(&["folder"]).contains(&Some(Vec::new())));
        assert!(contents(&[]).is_superset(&[new, old, Some(vec![0; 3])].into()));
    }
}
