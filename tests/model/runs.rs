//! Runs: of the library on a storage that may fail, and of the real binary with the same flags.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use sigindex::cache::{SqliteCache, channel_name};
use sigindex::channel::Selection;
use sigindex::index::{
    Config, Freshness, Glob, Keys, Patches, Places, Policy, RoleKeys, SignedConfig, Signing,
    SigningKey, Tools, index,
};
use sigindex::keys::{KeyName, KeysDir};
use sigindex::progress::{Display, Progress};
use sigindex::repodata::{Formats, Pins};
use sigindex::report::Outcome;
use sigindex::signature::local_signer;
use sigindex::storage::{Change, Item, Links, LocalStorage, OpenFile, Stat, Storage, StorageError};

use crate::ops::{Files, RunOp, Signs};
use crate::scene::Scene;
use crate::world::World;

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit status; `None` when it died.
    pub status: Option<i32>,
    /// What it reported, or the error.
    pub report: Value,
}

/// A channel in which the indexer dies.
struct Failing {
    storage: LocalStorage,
    /// Writings that go through before it dies, and changes of the last that are still done.
    dies: Option<(usize, usize)>,
    count: AtomicUsize,
}

impl Storage for Failing {
    fn list(&self, folder: &str) -> Result<Vec<Item>, StorageError> {
        self.storage.list(folder)
    }

    fn stat(&self, path: &str) -> Result<Option<Stat>, StorageError> {
        self.storage.stat(path)
    }

    fn open(&self, path: &str, links: Links) -> Result<(OpenFile, Stat), StorageError> {
        self.storage.open(path, links)
    }

    fn apply(&self, mut changes: Vec<Change>) -> Result<(), StorageError> {
        let number = match changes.is_empty() {
            true => return Ok(()),
            false => self.count.fetch_add(1, Ordering::Relaxed),
        };
        match self.dies {
            Some((at, done)) if number >= at => {
                changes.truncate(if number == at { done } else { 0 });
                self.storage.apply(changes)?;
                Err(StorageError::Outside("the indexer died".to_owned()))
            }
            _ => self.storage.apply(changes),
        }
    }
}

/// A run as it is asked for, in a channel with a cache.
pub fn by_library(run: &RunOp, now: i64, channel: &Path, cache: &Path, keys: &Path) -> Ended {
    let failing = Failing {
        storage: LocalStorage::open(channel).unwrap(),
        dies: run.dies,
        count: AtomicUsize::new(0),
    };
    let folder = KeysDir::new(keys.to_owned(), false);
    let name = KeyName::parse("fixture").unwrap();
    let open = |_: &Keys| {
        let key = folder.load_private(&name, &|_| panic!("it has no passphrase"));
        Ok(local_signer(key?))
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build();
    let place = failing.storage.root().as_os_str();
    let name = channel_name(place, place);
    let mut read_only = sigindex::cache::NoCache;
    let mut kept = (!run.dry_run).then(|| SqliteCache::open(cache, &name).unwrap());
    let mut there = run
        .dry_run
        .then(|| SqliteCache::open_read_only(cache, &name))
        .flatten();
    let cache: &mut dyn sigindex::cache::Cache = match (&mut kept, &mut there) {
        (Some(kept), _) => kept,
        (None, Some(there)) => there,
        (None, None) => &mut read_only,
    };
    let tools = Tools {
        places: Places::new(&failing, None),
        cache,
        keyring: &folder.public_keys().unwrap(),
        key: SigningKey::new(Box::new(open), Box::new(|_| Ok(None))),
        roles: RoleKeys {
            anchors: Vec::new(),
            open: Box::new(|_| panic!("no index is signed")),
            check: Box::new(|_| panic!("no index is signed")),
        },
        log: None,
        pool: &pool.unwrap(),
        progress: &Progress::new(Display::Silent),
        cancelled: &AtomicBool::new(false),
    };
    match index(&config(run, now), tools) {
        Ok(report) => Ended {
            status: Some(match report.outcome() {
                Outcome::Published => 0,
                Outcome::PublishedInPart => 3,
                Outcome::Failed => 1,
            }),
            report: serde_json::to_value(report).unwrap(),
        },
        Err(error) => {
            let error = error.to_string();
            let died = error.contains("the indexer died");
            Ended {
                status: (!died).then_some(1),
                report: serde_json::json!({ "error": error }),
            }
        }
    }
}

fn config(run: &RunOp, now: i64) -> Config {
    let pattern = run.replace.map(|all| if all { "*" } else { "a*" });
    Config {
        channel: "channel".to_owned(),
        selection: Selection::Standard,
        policy: Policy {
            signing: match run.signs {
                Signs::All => Signing::All,
                Signs::Nothing => Signing::Off,
                Signs::Required => Signing::Required,
            },
            replace: pattern.map(|glob| Glob::parse(glob).unwrap()),
            resign: run.resign,
            keep_unknown: run.keep_unknown,
            allow_mismatch: false,
        },
        min_bits: 2048,
        formats: formats(&run.files),
        patches: Patches::OfSubdirs,
        pins: Pins::default(),
        keep_shards: 7 * 24 * 3_600 * 1_000,
        detached: run.detached,
        strict: run.strict,
        drop_refused: run.drop_refused,
        update_only: false,
        check_archives: run.check_archives,
        freshness: Freshness::Full,
        rehash: run.rehash,
        signed: SignedConfig {
            accept: false,
            keep: 3,
            clock: now,
        },
        dry_run: run.dry_run,
        now,
    }
}

fn formats(files: &Files) -> Formats {
    Formats {
        monolithic: !files.no_monolithic,
        shards: !files.no_shards,
        run_exports: !files.no_run_exports,
        current_repodata: files.current || files.all,
        channeldata: files.all,
        rss: files.all,
        html: !files.no_html,
        zst: !files.no_zst,
        bz2: files.bz2 || files.all,
        compact: !files.indented,
        channel_name: "channel".to_owned(),
        ..Formats::default()
    }
}

/// The same by the real binary.
pub fn by_binary(world: &World, run: &RunOp, cache: &str) -> Ended {
    let mut flags = vec!["--key", "fixture", "--cache", cache];
    if run.signs != Signs::All {
        flags.retain(|flag| !["--key", "fixture"].contains(flag));
    }
    let policy = [
        (run.signs == Signs::Nothing, "--no-sign"),
        (run.signs == Signs::Required, "--require-signed"),
        (run.replace == Some(true), "--replace"),
        (run.replace == Some(false), "--replace=a*"),
        (run.drop_refused, "--drop-refused"),
        (run.strict, "--strict"),
        (run.resign, "--resign"),
        (run.keep_unknown, "--keep-unknown"),
        (run.rehash, "--rehash"),
        (run.check_archives, "--check-archives"),
        (run.dry_run, "--dry-run"),
        (run.detached, "--signatures=detached"),
    ];
    let files = [
        (run.files.all, "--all"),
        (run.files.no_monolithic, "--no-write-monolithic"),
        (run.files.no_shards, "--no-write-shards"),
        (run.files.no_html, "--no-html"),
        (run.files.no_zst, "--no-zst"),
        (run.files.no_run_exports, "--no-run-exports"),
        (run.files.bz2, "--bz2"),
        (run.files.current, "--current-repodata"),
        (run.files.indented, "--no-compact"),
    ];
    let given = policy.iter().chain(&files).filter(|(given, _)| *given);
    flags.extend(given.map(|(_, flag)| flag));
    let seconds = (world.now / 1_000).to_string();
    let mut call = world
        .scene
        .index_call(&flags)
        .env("SOURCE_DATE_EPOCH", seconds);
    if let Some((_, after)) = run.dies {
        let mut child = call.start();
        std::thread::sleep(Duration::from_millis(after as u64 * 3));
        let _ = child.kill();
        let output = child.wait_with_output().unwrap();
        return Ended {
            status: output.status.code(),
            report: serde_json::from_slice(&output.stdout).unwrap_or_default(),
        };
    }
    let output = call.command().output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("panicked"), "{said}");
    Ended {
        status: output.status.code(),
        report: serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("no report: {error}: {said}")),
    }
}

/// Whether `verify` says that all is well, and what it says.
pub fn verify(scene: &Scene) -> (bool, String) {
    let mut call = scene.call(&["verify", "channel"]);
    let output = call.command().output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let well = match output.status.code() {
        Some(0) => true,
        Some(1) => false,
        status => panic!("verify ended with {status:?}: {said}"),
    };
    (well, said)
}
