//! A channel that is raced: its folder, its history, the indexers that run on it, and what must hold when all is quiet.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::afresh::{copy_sources, difference};
use crate::history::{Attacked, History};
use crate::library::{library, lying_in, package_at};
use crate::reader::{Keys, OnDisk, Seen, Unasked, digest, read, read_at_rest, records_of, subdirs};
use crate::scene::builder::Random;
use crate::scene::{EPOCH, Run, Scene};

/// The longest that anything may take, which is forever.
const FOREVER: Duration = Duration::from_secs(120);

/// A raced channel.
pub struct Field {
    pub scene: Scene,
    pub keys: Keys,
    pub history: History,
}

/// How an indexer ended.
pub enum Ended {
    /// It was killed in time.
    Killed,
    /// With this exit status.
    Exit(i32, Run),
}

impl Field {
    /// An empty channel.
    pub fn new() -> Self {
        let scene = Scene::new();
        let keys = Keys::of(&scene.path("home/.conda/keys"));
        let history = History::new();
        for subdir in crate::library::SUBDIRS {
            std::fs::create_dir_all(scene.path("channel").join(subdir)).unwrap();
        }
        Self {
            scene,
            keys,
            history,
        }
    }

    /// Runs an indexer, and kills it after that time, unless it has ended.
    pub fn index(&self, flags: &[&str], kill: Option<Duration>) -> Ended {
        let began = Instant::now();
        let call = self.scene.index_call(flags).env("SOURCE_DATE_EPOCH", EPOCH);
        let mut child = call.start();
        if let Some(after) = kill {
            std::thread::sleep(after);
            let _ = child.kill();
        }
        let output = wait(child);
        let run = Run::new(format!("{flags:?}"), &output);
        match output.status.code() {
            None => Ended::Killed,
            Some(status) => {
                if matches!(status, 0 | 3) {
                    self.history.ran(began);
                }
                Ended::Exit(status, run)
            }
        }
    }

    /// As a client, now.
    pub fn read(&self) -> Seen {
        let channel = self.scene.path("channel");
        let on_disk = OnDisk {
            channel: &channel,
            keys: &self.keys,
        };
        let packages = Attacked::now(on_disk, &self.history);
        read(&channel, &self.keys, &packages)
    }

    /// The index files alone, again and again: whether each is whole, whatever it names.
    pub fn glance(&self) -> Seen {
        read(&self.scene.path("channel"), &self.keys, &Unasked)
    }

    /// All is quiet: what a plain run has to say is what the state deserves, then all is taken as it is, nothing is lost,
    /// all is as if made from nothing, and a further run does nothing.
    pub fn settle(&self, flags: &[&str]) {
        let scene = &self.scene;
        let (refused, status) = self.deserved();
        let run = self.quiet(flags).exits(status);
        let found: BTreeSet<String> = run.refusals().into_keys().collect();
        assert_eq!(found, refused, "{}", run.stdout);
        let run = self.quiet(&[flags, &["--replace", "--drop-refused"]].concat());
        let run = run.exits(0);
        self.nothing_is_lost();
        let again = self.quiet(flags).exits(0).counts("opened", 0);
        again.has::<&str>("files", &[]).has::<&str>("deleted", &[]);
        self.as_if_from_nothing(flags, &run.stdout);
        let orphans = self.orphans();
        if !orphans.is_empty() {
            let run = scene.run(&["verify", "channel"]).exits(1);
            run.says("a signature without its package");
            for sig in orphans {
                std::fs::remove_file(sig).unwrap();
            }
        }
        scene.run(&["verify", "channel"]).exits(0);
    }

    /// Signatures whose packages are gone.
    fn orphans(&self) -> Vec<PathBuf> {
        let channel = self.scene.path("channel");
        let sigs = library()
            .iter()
            .filter(|one| !channel.join(&one.path).exists());
        let sigs = sigs.map(|one| channel.join(format!("{}.sig", one.path)));
        sigs.filter(|sig| sig.exists()).collect()
    }

    fn quiet(&self, flags: &[&str]) -> Run {
        self.scene.index_at(EPOCH, flags)
    }

    /// What a plain run has to refuse, and how it has to end.
    fn deserved(&self) -> (BTreeSet<String>, i32) {
        let channel = self.scene.path("channel");
        let (mut refused, mut status) = (BTreeSet::new(), 0);
        let published = self.published();
        for path in lying_in(&channel) {
            let sha256 = digest(&std::fs::read(channel.join(&path)).unwrap());
            let was = published.iter().find(|(name, _)| *name == path);
            let sig = std::fs::read(channel.join(format!("{path}.sig"))).ok();
            let verified = sig.is_none_or(|sig| self.keys.verify_file(&sig, &sha256).is_ok());
            if was.is_some_and(|(_, was)| *was != sha256) || !verified {
                refused.insert(path.clone());
                status = 3;
            }
        }
        // Nothing shrinks silently, whatever else is refused.
        let bound = |path: &String| published.iter().any(|(name, _)| name == path);
        let status = if refused.iter().any(bound) { 1 } else { status };
        (refused, status)
    }

    /// Packages in `repodata.json`, with the SHA-256 of each.
    fn published(&self) -> Vec<(String, String)> {
        let mut all = Vec::new();
        for subdir in subdirs(&self.scene.path("channel")) {
            if !self
                .scene
                .exists(&format!("channel/{subdir}/repodata.json"))
            {
                continue;
            }
            for (name, record) in records_of(&self.scene.repodata(&subdir)) {
                let sha256 = record["sha256"].as_str().unwrap().to_owned();
                all.push((format!("{subdir}/{name}"), sha256));
            }
        }
        all
    }

    fn nothing_is_lost(&self) {
        let channel = self.scene.path("channel");
        let listed: BTreeSet<String> = self.published().into_iter().map(|(path, _)| path).collect();
        let lying: BTreeSet<String> = lying_in(&channel).into_iter().collect();
        assert_eq!(listed, lying, "what lies there is listed");
        let seen = read_at_rest(&channel, &self.keys);
        assert!(seen.wrong.is_empty(), "{:#?}", seen.wrong);
    }

    fn as_if_from_nothing(&self, flags: &[&str], said: &str) {
        let fresh = Scene::new();
        copy_sources(&self.scene.path("channel"), &fresh.path("channel"));
        for subdir in subdirs(&self.scene.path("channel")) {
            std::fs::create_dir_all(fresh.path("channel").join(subdir)).unwrap();
        }
        let flags: Vec<&str> = flags
            .iter()
            .copied()
            .filter(|flag| *flag != "--no-lock")
            .collect();
        fresh.index_at(EPOCH, &flags).exits(0).counts("signed", 0);
        let (ours, theirs) = (self.scene.path("channel"), fresh.path("channel"));
        if let Some(difference) = difference(&ours, &theirs) {
            panic!("another index than that of a run from nothing: {difference}\n{said}");
        }
    }

    /// Puts a content of a package there in one step.
    pub fn put(&self, path: &str, content: usize) {
        let bytes = &package_at(path).contents[content].bytes;
        let part = self.scene.path(&format!("channel/{path}.part"));
        self.history.change(path, Some(bytes), || {
            std::fs::write(&part, bytes).unwrap();
            std::fs::rename(&part, self.scene.path(&format!("channel/{path}"))).unwrap();
        });
    }

    /// Takes a package and its signature away.
    pub fn take(&self, path: &str) {
        let sig = self.scene.path(&format!("channel/{path}.sig"));
        let package = self.scene.path(&format!("channel/{path}"));
        self.history.change(path, None, || {
            let _ = std::fs::remove_file(package);
        });
        self.history.touch(path, || {
            let _ = std::fs::remove_file(sig);
        });
    }
}

/// Waits for a child, but not for ever: a hang is a fault, and says what it is.
fn wait(mut child: Child) -> std::process::Output {
    let until = Instant::now() + FOREVER;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > until {
            let _ = child.kill();
            let output = child.wait_with_output().unwrap();
            panic!("it hangs: {output:?}");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    child.wait_with_output().unwrap()
}

/// Says that all is over when it goes, also where a test fails: else those who watch would never end.
pub struct Ending<'a>(pub &'a [&'a AtomicBool]);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0
            .iter()
            .for_each(|one| one.store(true, Ordering::Relaxed));
    }
}

/// A time after which to kill, for one in `one_in` runs.
pub fn killing(chance: &mut Random, one_in: u64) -> Option<Duration> {
    (chance.below(one_in) == 0).then(|| Duration::from_micros(chance.below(70_000)))
}

/// What is wrong when a run under attack ended with 1: a refused package that is in the index may stop it, and nothing else.
pub fn held_back(run: &Run) -> Option<String> {
    let report: Value = serde_json::from_str(&run.stdout).unwrap_or_default();
    let refused = report["refused"]
        .as_array()
        .is_some_and(|all| !all.is_empty());
    match report["not_published"].is_string() && refused {
        true => None,
        false => Some(format!("{}\n{}", run.stdout, run.stderr)),
    }
}
