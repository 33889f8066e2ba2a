//! Somebody who writes into the channel between two steps of a run, which no run of the binary lets happen
//! at will: the library runs on a storage that meddles. The runs that follow are the binary's.

use std::fs::File;
use std::sync::atomic::AtomicBool;

use sigindex::cache::SqliteCache;
use sigindex::channel::Selection;
use sigindex::index::{
    Config, Freshness, Keys, Patches, Places, Policy, RoleKeys, SignedConfig, SigningKey, Tools,
    index,
};
use sigindex::keys::{KeyName, KeysDir};
use sigindex::progress::{Display, Progress};
use sigindex::repodata::{Formats, Pins};
use sigindex::report::Report;
use sigindex::signature::local_signer;
use sigindex::storage::{Change, Item, Links, LocalStorage, Stat, Storage, StorageError};

use crate::scene::Scene;

const FORGED: &str = "fixture Zm9yZ2Vk\n";
/// The same in the library's runs and in the binary's.
const CACHE: [&str; 2] = ["--cache", "own"];

/// When the meddler strikes.
#[derive(Clone, Copy, PartialEq)]
enum Moment {
    BeforeTheSignature,
    AfterTheSignature,
    BeforeTheIndex,
}

/// A folder in which a forged signature appears beside a package.
struct Meddler<'a> {
    scene: &'a Scene,
    storage: LocalStorage,
    /// The signature, by its path in the channel.
    sig: String,
    moment: Moment,
}

impl Meddler<'_> {
    fn plant(&self) {
        self.scene.write(&format!("channel/{}", self.sig), FORGED);
    }
}

impl Storage for Meddler<'_> {
    fn list(&self, folder: &str) -> Result<Vec<Item>, StorageError> {
        self.storage.list(folder)
    }

    fn stat(&self, path: &str) -> Result<Option<Stat>, StorageError> {
        self.storage.stat(path)
    }

    fn open(&self, path: &str, links: Links) -> Result<(File, Stat), StorageError> {
        self.storage.open(path, links)
    }

    fn apply(&self, changes: Vec<Change>) -> Result<(), StorageError> {
        let touches = |end: &str| changes.iter().any(|change| change.path().ends_with(end));
        let (signs, publishes) = (touches(&self.sig), touches("linux-64/repodata.json"));
        if (signs && self.moment == Moment::BeforeTheSignature)
            || (publishes && self.moment == Moment::BeforeTheIndex)
        {
            self.plant();
        }
        self.storage.apply(changes)?;
        if signs && self.moment == Moment::AfterTheSignature {
            self.plant();
        }
        Ok(())
    }
}

/// A plain run.
pub fn config() -> Config {
    Config {
        patches: Patches::OfSubdirs,
        pins: Pins::default(),
        keep_shards: 0,
        channel: "channel".to_owned(),
        selection: Selection::Standard,
        policy: Policy::default(),
        min_bits: 2048,
        formats: Formats::default(),
        detached: false,
        strict: false,
        drop_refused: false,
        update_only: false,
        check_archives: false,
        freshness: Freshness::Full,
        rehash: false,
        signed: SignedConfig {
            accept: false,
            keep: 3,
            clock: 1_700_000_000_000,
        },
        dry_run: false,
        now: 1_700_000_000_000,
    }
}

/// A whole run, in which the forged signature appears beside a package.
fn meddled(scene: &Scene, package: &str, moment: Moment) -> Report {
    let meddler = Meddler {
        scene,
        storage: LocalStorage::open(&scene.path("channel")).unwrap(),
        sig: format!("{package}.sig"),
        moment,
    };
    let folder = KeysDir::new(scene.path("home/.conda/keys"), false);
    let name = KeyName::parse("fixture").unwrap();
    let open = |_: &Keys| {
        let key = folder.load_private(&name, &|_| panic!("it has no passphrase"));
        Ok(local_signer(key?))
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build();
    let tools = Tools {
        places: Places::new(&meddler, None),
        cache: &mut SqliteCache::open(&scene.path("own/cache.db")).unwrap(),
        keyring: &folder.public_keys().unwrap(),
        key: SigningKey::new(Box::new(open), Box::new(|_| Ok(()))),
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
    index(&config(), tools).unwrap()
}

#[test]
fn a_signature_planted_around_ours_is_neither_overwritten_nor_taken_for_ours() {
    for moment in [Moment::BeforeTheSignature, Moment::AfterTheSignature] {
        let scene = Scene::of_three();
        let (a, b) = (scene.package("a"), scene.package("b"));
        let sig = format!("channel/{b}.sig");
        let report = meddled(&scene, &b, moment);
        let refused: Vec<_> = report.refused.iter().map(|one| &one.package).collect();
        assert_eq!(refused, [&b]);
        let why = &report.refused[0].reason;
        assert!(
            why.contains("somebody else put a signature beside it"),
            "{why}"
        );
        assert_eq!((report.published, report.counts.signed), (true, 2));
        assert_eq!(scene.text(&sig), FORGED);
        assert!(scene.is_listed(&a) && !scene.is_listed(&b));
        scene.run(&["verify", "channel"]).exits(1).says(&b);
        for flags in [&["--dry-run"][..], &[], &["--stat", "mtime-size"]] {
            let run = scene.index(&[&CACHE, flags].concat()).exits(3);
            run.refuses(&b, "invalid").counts("kept", 2);
        }
        assert_eq!(scene.text(&sig), FORGED);
        scene.remove(&sig);
        scene.index(&CACHE).exits(0).counts("signed", 1);
        scene.run(&["verify", "channel"]).exits(0);
    }
}

#[test]
fn a_signature_planted_after_ours_was_read_back_is_seen_by_the_next_run() {
    let scene = Scene::of_three();
    let b = scene.package("b");
    let report = meddled(&scene, &b, Moment::BeforeTheIndex);
    assert_eq!((report.published, report.counts.signed), (true, 3));
    scene.run(&["verify", "channel"]).exits(1).says(&b);
    let index = scene.read("channel/linux-64/repodata.json");
    for flags in [&["--dry-run"][..], &[]] {
        let run = scene.index(&[&CACHE, flags].concat()).exits(1);
        run.refuses(&b, "invalid").says("nothing");
    }
    assert_eq!(scene.read("channel/linux-64/repodata.json"), index);
}
