//! Somebody who writes into the channel between two steps of a run, which no run of the binary lets happen
//! at will: the library runs on a storage that meddles. The runs that follow are the binary's.

use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use sigindex::cache::{SqliteCache, channel_name};
use sigindex::channel::Selection;
use sigindex::error::Error;
use sigindex::index::{
    Config, Freshness, Keys, Patches, Places, Policy, RoleKeys, SignedConfig, SigningKey, Tools,
    index,
};
use sigindex::keys::{KeyName, KeysDir};
use sigindex::progress::{Display, Progress};
use sigindex::repodata::{Formats, Pins};
use sigindex::report::Report;
use sigindex::signature::local_signer;
use sigindex::storage::{Change, Item, Links, LocalStorage, OpenFile, Stat, Storage, StorageError};

use crate::scene::Scene;
use crate::scene::builder::{Format, PackageSpec};

const FORGED: &str = "fixture Zm9yZ2Vk\n";
/// The same in the library's runs and in the binary's.
const CACHE: [&str; 2] = ["--cache", "own"];

/// When the meddler strikes.
#[derive(Clone, Copy, PartialEq)]
enum Moment {
    BeforeTheSignature,
    AfterTheSignature,
    BeforeTheIndex,
    /// While a package is read.
    WhileRead(Deed),
    /// When the run looks at the twin that stands there, before it makes the next: the run is told to stop.
    BeforeATwin,
}

/// What is done to a package that is being read.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Deed {
    Grow,
    Shrink,
    Touch,
    Vanish,
    Replace,
}

/// A folder in which a forged signature appears beside a package.
struct Meddler<'a> {
    scene: &'a Scene,
    storage: LocalStorage,
    /// The signature, by its path in the channel.
    sig: String,
    moment: Moment,
    /// Whether the package was opened.
    opened: AtomicBool,
    /// Whether the run is to stop.
    cancelled: AtomicBool,
}

impl Meddler<'_> {
    fn plant(&self) {
        self.scene.write(&format!("channel/{}", self.sig), FORGED);
    }

    /// Does it to the package, which is open and was not yet read.
    fn meddle(&self, package: &str, deed: Deed) {
        let path = self.scene.path(&format!("channel/{package}"));
        let length = std::fs::metadata(&path).unwrap().len();
        let file = || File::options().append(true).open(&path).unwrap();
        match deed {
            Deed::Grow => file().set_len(length + 1).unwrap(),
            Deed::Shrink => file().set_len(length - 1).unwrap(),
            Deed::Touch => file().set_modified(SystemTime::UNIX_EPOCH).unwrap(),
            Deed::Vanish => std::fs::remove_file(&path).unwrap(),
            Deed::Replace => {
                std::fs::copy(&path, self.scene.path("copy")).unwrap();
                std::fs::rename(self.scene.path("copy"), &path).unwrap();
            }
        }
    }
}

impl Storage for Meddler<'_> {
    fn list(&self, folder: &str) -> Result<Vec<Item>, StorageError> {
        self.storage.list(folder)
    }

    fn stat(&self, path: &str) -> Result<Option<Stat>, StorageError> {
        self.storage.stat(path)
    }

    fn open(&self, path: &str, links: Links) -> Result<(OpenFile, Stat), StorageError> {
        let opened = self.storage.open(path, links);
        if self.moment == Moment::BeforeATwin && path == "linux-64/repodata.json.zst" {
            self.cancelled.store(true, Ordering::SeqCst);
        }
        if let Moment::WhileRead(deed) = self.moment
            && self.sig.strip_suffix(".sig") == Some(path)
            && !self.opened.swap(true, Ordering::SeqCst)
        {
            self.meddle(path, deed);
        }
        opened
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

/// A whole run, in which the forged signature appears beside a package, or the package itself is changed.
fn meddled(scene: &Scene, package: &str, moment: Moment) -> Report {
    try_meddled(scene, package, moment).unwrap()
}

fn try_meddled(scene: &Scene, package: &str, moment: Moment) -> Result<Report, Error> {
    let meddler = Meddler {
        scene,
        storage: LocalStorage::open(&scene.path("channel")).unwrap(),
        sig: format!("{package}.sig"),
        moment,
        opened: AtomicBool::new(false),
        cancelled: AtomicBool::new(false),
    };
    let folder = KeysDir::new(scene.path("home/.conda/keys"), false);
    let name = KeyName::parse("fixture").unwrap();
    let open = |_: &Keys| {
        let key = folder.load_private(&name, &|_| panic!("it has no passphrase"));
        Ok(local_signer(key?))
    };
    let place = scene.path("channel").canonicalize().unwrap();
    let name = channel_name(place.as_os_str(), place.as_os_str());
    let mut cache = SqliteCache::open(&scene.path("own/cache.db"), &name).unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build();
    let tools = Tools {
        places: Places::new(&meddler, None),
        cache: &mut cache,
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
        cancelled: &meddler.cancelled,
    };
    index(&config(), tools)
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
fn a_run_that_is_told_to_stop_while_it_makes_the_index_publishes_nothing() {
    let scene = Scene::of_three();
    scene.index(&CACHE).exits(0);
    let index = || {
        let names = [
            "repodata.json",
            "repodata.json.zst",
            "repodata_shards.msgpack.zst",
        ];
        names.map(|name| scene.read(&format!("channel/linux-64/{name}")))
    };
    let before = index();
    let late = scene.put(&PackageSpec::new("late", "1.0", "0"), Format::Conda);
    let ended = try_meddled(&scene, &late, Moment::BeforeATwin);
    assert!(matches!(ended, Err(Error::Interrupted)), "{ended:?}");
    assert!(index() == before);
    // Its signature is there, and stays.
    scene
        .index(&CACHE)
        .exits(0)
        .counts("signed", 0)
        .counts("kept", 4);
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

#[test]
fn a_package_that_changes_while_it_is_read_is_refused_alone() {
    for deed in [
        Deed::Grow,
        Deed::Shrink,
        Deed::Touch,
        Deed::Vanish,
        Deed::Replace,
    ] {
        let scene = Scene::of_three();
        let (a, b) = (scene.package("a"), scene.package("b"));
        let report = meddled(&scene, &b, Moment::WhileRead(deed));
        let refused: Vec<_> = report.refused.iter().collect();
        assert_eq!((report.published, refused.len()), (true, 1), "{deed:?}");
        assert_eq!(refused[0].package, b);
        let why = &refused[0].reason;
        assert!(why.contains("while it was read"), "{deed:?}: {why}");
        assert!(scene.is_listed(&a) && !scene.is_listed(&b), "{deed:?}");
        assert!(
            !scene.exists(&format!("channel/{b}.sig")),
            "{deed:?}: signed"
        );
        // What lies there now is what the next run reads.
        scene.package("b");
        scene.index(&CACHE).exits(0).counts("listed", 3);
        scene.run(&["verify", "channel"]).exits(0);
    }
}
