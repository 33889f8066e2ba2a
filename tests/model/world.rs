//! The channel, its keys, cache and clock, and what each thing that happens does to them.

use std::fs::{File, FileTimes, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::checks;
use crate::fates::BROKEN_PATCHES;
use crate::goods::{SUBDIRS, goods};
use crate::ops::{CacheFault, Damage, Fault, KeyOp, Op, PatchOp, SigOp, Upload};
use crate::reader::{Keys, digest};
use crate::scene::Scene;

/// Two changes of a file within this time may leave it with the same times: a tick of the kernel's clock, and more.
const TICK: Duration = Duration::from_millis(20);

/// Everything that there is.
pub struct World {
    pub scene: Scene,
    /// In Unix milliseconds.
    pub now: i64,
}

impl World {
    /// A channel with one content of every package, and the key `fixture`.
    pub fn new() -> Self {
        let scene = Scene::new();
        for subdir in SUBDIRS {
            std::fs::create_dir_all(scene.path("channel").join(subdir)).unwrap();
        }
        let world = Self {
            scene,
            now: 1_700_000_000_000,
        };
        for (package, contents) in goods().contents.iter().enumerate() {
            world.put(package, &contents[0].0, Upload::Renamed);
        }
        world
    }

    pub fn channel(&self) -> PathBuf {
        self.scene.path("channel")
    }

    fn place(&self, package: usize) -> PathBuf {
        self.channel().join(&goods().paths[package])
    }

    fn sig(&self, package: usize) -> PathBuf {
        self.channel()
            .join(format!("{}.sig", goods().paths[package]))
    }

    pub fn cache(&self) -> PathBuf {
        self.scene.path("own/cache.db")
    }

    /// Lets it happen.
    pub fn apply(&mut self, op: &Op) {
        match op {
            Op::Put {
                package,
                content,
                how,
            } => self.put(*package, &goods().contents[*package][*content].0, *how),
            Op::Break { package, fault } => {
                self.put(*package, &broken(*package, *fault), Upload::Renamed)
            }
            Op::Take { package, with_sig } => {
                let _ = std::fs::remove_file(self.place(*package));
                if *with_sig {
                    let _ = std::fs::remove_file(self.sig(*package));
                }
            }
            Op::Sig { package, what } => self.change_sig(*package, *what),
            Op::Key(key) => self.change_key(*key),
            Op::Patch { subdir, what } => self.patch(SUBDIRS[*subdir], *what),
            Op::Touch { package } => touch(&self.place(*package)),
            Op::TouchIndex(index) => {
                if let Some(path) = self.index_file(*index) {
                    touch(&path);
                }
            }
            Op::Damage { file, how } => {
                if let Some(path) = self.index_file(*file) {
                    damage(&path, *how);
                }
            }
            Op::Cache(fault) => self.damage_cache(*fault),
            Op::Mend => self.mend(),
            Op::Move => self.move_channel(),
            Op::Clock(minutes) => self.now += minutes * 60_000,
            Op::Run(run) => checks::run(self, run),
        }
    }

    fn put(&self, package: usize, bytes: &[u8], how: Upload) {
        let place = self.place(package);
        match how {
            Upload::Renamed => write(&place, bytes),
            Upload::InPlace => std::fs::write(place, bytes).unwrap(),
            Upload::WithOldTimes => {
                let old = place.metadata().and_then(|found| found.modified());
                let mut file = File::create(&place).unwrap();
                file.write_all(bytes).unwrap();
                if let Ok(old) = old {
                    file.set_times(FileTimes::new().set_modified(old)).unwrap();
                }
            }
        }
    }

    fn change_sig(&self, package: usize, what: SigOp) {
        let sig = self.sig(package);
        match what {
            SigOp::Remove => drop(std::fs::remove_file(sig)),
            SigOp::Empty => write(&sig, b""),
            SigOp::Forge => write(&sig, b"fixture AAAA\n"),
            SigOp::Made { by_other, content } => {
                let (_, sigs) = &goods().contents[package][content];
                write(&sig, &sigs[usize::from(by_other)]);
            }
        }
    }

    fn change_key(&self, key: KeyOp) {
        let scene = &self.scene;
        let public = |pair: usize| goods().pairs[pair].1.as_slice();
        match key {
            KeyOp::Other(None) => scene.take_key("other"),
            KeyOp::Other(Some(true)) => scene.give_public_key("other"),
            KeyOp::Other(Some(false)) => write(&scene.key_path("other.pub"), public(1)),
            KeyOp::Own(true) => scene.give_key("fixture"),
            KeyOp::Own(false) => {
                scene.give_key("fixture");
                // The mode of the private half stays.
                std::fs::write(scene.key_path("fixture"), &goods().pairs[0].0).unwrap();
                write(&scene.key_path("fixture.pub"), public(0));
            }
        }
    }

    fn patch(&self, subdir: &str, what: PatchOp) {
        let path = self.channel().join(subdir).join("patch_instructions.json");
        match what {
            PatchOp::Take => drop(std::fs::remove_file(path)),
            PatchOp::Empty => write(&path, b"{\"zlib\": {}}"),
            PatchOp::Break => write(&path, BROKEN_PATCHES),
            PatchOp::Put(number) => {
                let text = format!(
                    r#"{{"patch_instructions_version": 1, "packages": {{"a-{number}.0-0.tar.bz2": {{"license": "{number}"}},
                    "b-1.0-0.tar.bz2": {{"depends": ["c"]}}}}, "packages.conda": {{"c-1.0-0.conda": {{"license": null}}}},
                    "revoke": ["a-1.0-0.conda"]}}"#
                );
                write(&path, text.as_bytes());
            }
        }
    }

    /// Some index file, if there are any.
    fn index_file(&self, index: proptest::sample::Index) -> Option<PathBuf> {
        let all = walkdir::WalkDir::new(self.channel()).sort_by_file_name();
        let all = all.into_iter().map(Result::unwrap);
        let files: Vec<PathBuf> = all
            .filter(|entry| entry.file_type().is_file())
            .map(walkdir::DirEntry::into_path)
            .filter(|path| {
                let name = path.file_name().unwrap().to_str().unwrap();
                let ends = [
                    ".conda",
                    ".tar.bz2",
                    ".sig",
                    ".lock",
                    "patch_instructions.json",
                ];
                !ends.iter().any(|end| name.ends_with(end))
            })
            .collect();
        (!files.is_empty()).then(|| index.get(&files).clone())
    }

    fn damage_cache(&self, fault: CacheFault) {
        let cache = self.cache();
        let Ok(bytes) = std::fs::read(&cache) else {
            return;
        };
        let sql = |sql: &str| {
            if let Ok(rows) = rusqlite::Connection::open(&cache) {
                let _ = rows.execute(sql, []);
            }
        };
        match fault {
            CacheFault::Delete => self.scene.remove("own"),
            CacheFault::Garbage => std::fs::write(&cache, [7; 5_000]).unwrap(),
            CacheFault::CutOff => std::fs::write(&cache, &bytes[..bytes.len() / 2]).unwrap(),
            CacheFault::Sizes => sql("UPDATE package SET size = size + 1"),
            CacheFault::OneRow => sql("DELETE FROM package WHERE name LIKE 'a-1%'"),
            CacheFault::NoLedger => sql("DELETE FROM ledger"),
            CacheFault::BrokenLedger => sql("UPDATE ledger SET text = '{'"),
        }
    }

    fn mend(&self) {
        self.change_key(KeyOp::Own(true));
        self.change_key(KeyOp::Other(Some(true)));
        let keys = Keys::of(&self.scene.path("home/.conda/keys"));
        for subdir in SUBDIRS {
            self.patch(subdir, PatchOp::Take);
        }
        for (package, path) in goods().paths.iter().enumerate() {
            let bytes = std::fs::read(self.place(package)).unwrap_or_default();
            let sha256 = digest(&bytes);
            if goods().whole.get(&sha256) != Some(path) {
                let _ = std::fs::remove_file(self.place(package));
            }
            let sig = std::fs::read(self.sig(package)).unwrap_or_default();
            if !self.place(package).exists() || keys.verify_file(&sig, &sha256).is_err() {
                let _ = std::fs::remove_file(self.sig(package));
            }
        }
    }

    /// Every file gets a new inode and keeps its time of change.
    fn move_channel(&self) {
        let (channel, old) = (self.channel(), self.scene.path("old"));
        std::fs::rename(&channel, &old).unwrap();
        for entry in walkdir::WalkDir::new(&old) {
            let entry = entry.unwrap();
            let place = channel.join(entry.path().strip_prefix(&old).unwrap());
            if entry.file_type().is_dir() {
                std::fs::create_dir(place).unwrap();
            } else {
                std::fs::copy(entry.path(), &place).unwrap();
                let modified = entry.metadata().unwrap().modified().unwrap();
                let file = OpenOptions::new().write(true).open(place).unwrap();
                file.set_modified(modified).unwrap();
            }
        }
        std::fs::remove_dir_all(old).unwrap();
    }
}

/// Puts a new file in place.
fn write(path: &Path, bytes: &[u8]) {
    let part = path.with_extension("part");
    std::fs::write(&part, bytes).unwrap();
    std::fs::rename(part, path).unwrap();
}

fn touch(path: &Path) {
    if let Ok(file) = OpenOptions::new().write(true).open(path) {
        file.set_modified(SystemTime::now()).unwrap();
    }
}

fn broken(package: usize, fault: Fault) -> Vec<u8> {
    let bytes = &goods().contents[package][0].0;
    match fault {
        Fault::Empty => Vec::new(),
        Fault::Text => b"no package\n".to_vec(),
        Fault::CutOff => bytes[..bytes.len() - 30].to_vec(),
        // The next one of the same format.
        Fault::Misnamed => {
            let end = |path: &String| path.ends_with(".conda");
            let paths = &goods().paths;
            let mut others = (0..paths.len()).filter(|other| *other != package);
            let other = others.find(|other| end(&paths[*other]) == end(&paths[package]));
            goods().contents[other.unwrap()][0].0.clone()
        }
    }
}

fn damage(path: &Path, how: Damage) {
    // Past the clock's last tick, as nobody writes twice within one.
    std::thread::sleep(TICK);
    let bytes = std::fs::read(path).unwrap();
    // A page that neither indexer seems to have written is somebody's own, and left alone.
    let is_page = path.extension().is_some_and(|end| end == "html");
    match how {
        Damage::Delete => std::fs::remove_file(path).unwrap(),
        Damage::CutOff => std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap(),
        Damage::Garbage | Damage::Flip(_) if is_page => std::fs::remove_file(path).unwrap(),
        Damage::Garbage => std::fs::write(path, "garbage").unwrap(),
        Damage::Flip(at) => {
            let mut bytes = bytes;
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] ^= 4;
            }
            std::fs::write(path, bytes).unwrap();
        }
    }
}
