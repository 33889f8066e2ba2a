//! A run of the library on a storage that rests between two files: the seam that publication goes through, in its order.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use sigindex::cache::{SqliteCache, channel_name};
use sigindex::channel::Selection;
use sigindex::index::{
    Config, Freshness, Keys, Patches, Places, Policy, RoleKeys, SignedConfig, SigningKey, Tools,
};
use sigindex::keys::{KeyName, KeysDir};
use sigindex::progress::{Display, Progress};
use sigindex::repodata::{Formats, Pins};
use sigindex::signature::local_signer;
use sigindex::storage::{Change, Item, Links, LocalStorage, OpenFile, Stat, Storage, StorageError};

use crate::field::Field;
use crate::scene::EPOCH;

/// How long it rests after each file.
const REST: Duration = Duration::from_micros(700);

struct Slow(LocalStorage);

impl Storage for Slow {
    fn list(&self, folder: &str) -> Result<Vec<Item>, StorageError> {
        self.0.list(folder)
    }

    fn stat(&self, path: &str) -> Result<Option<Stat>, StorageError> {
        self.0.stat(path)
    }

    fn open(&self, path: &str, links: Links) -> Result<(OpenFile, Stat), StorageError> {
        self.0.open(path, links)
    }

    fn apply(&self, changes: Vec<Change>) -> Result<(), StorageError> {
        for change in changes {
            self.0.apply(vec![change])?;
            std::thread::sleep(REST);
        }
        Ok(())
    }
}

/// Indexes the channel of a field, with every file.
pub fn index(field: &Field) -> Result<(), String> {
    let began = Instant::now();
    let storage = Slow(LocalStorage::open(&field.scene.path("channel")).unwrap());
    let folder = KeysDir::new(field.scene.path("home/.conda/keys"), false);
    let name = KeyName::parse("fixture").unwrap();
    let open = |_: &Keys| {
        let key = folder.load_private(&name, &|_| panic!("it has no passphrase"));
        Ok(local_signer(key?))
    };
    let place = storage.0.root().as_os_str();
    let name = channel_name(place, place);
    let mut cache = SqliteCache::open(&field.scene.path("own/cache.db"), &name).unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build();
    let tools = Tools {
        places: Places::new(&storage, None),
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
        cancelled: &AtomicBool::new(false),
    };
    let report = sigindex::index::index(&config(), tools).map_err(|error| error.to_string())?;
    match (&report.not_published, report.refused.is_empty()) {
        (None, _) => field.history.ran(began),
        (Some(_), false) => {}
        (Some(why), true) => return Err(why.clone()),
    }
    Ok(())
}

fn config() -> Config {
    let now = EPOCH.parse::<i64>().unwrap() * 1_000;
    Config {
        channel: "channel".to_owned(),
        selection: Selection::Standard,
        policy: Policy::default(),
        min_bits: 2048,
        formats: Formats {
            current_repodata: true,
            channeldata: true,
            rss: true,
            bz2: true,
            channel_name: "channel".to_owned(),
            ..Formats::default()
        },
        patches: Patches::OfSubdirs,
        pins: Pins::default(),
        keep_shards: 7 * 24 * 3_600 * 1_000,
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
            clock: now,
        },
        dry_run: false,
        now,
    }
}
