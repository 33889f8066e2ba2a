//! For unit tests: keys of roles, and a channel in memory that misbehaves as it is told.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, LazyLock, Mutex};

use super::*;
use crate::keys::{KeyName, KeySize, PrivateKey, PublicKey};
use crate::signature::{RsaSigner, Signer, local_signer};
use crate::upstream::{Upstream, UpstreamError, UpstreamFault};

/// 2026-01-01, which is past wherever the tests run with a clock that is set.
pub const PAST: i64 = 1_767_225_600_000;

/// Keys by number.
pub fn key(number: usize) -> &'static dyn Signer {
    static KEYS: LazyLock<Vec<Box<dyn Signer>>> = LazyLock::new(|| {
        let name = |n: usize| KeyName::parse(&format!("key{n}")).unwrap();
        let key = |n| local_signer(PrivateKey::generate(name(n), KeySize::default()).unwrap());
        (0..5).map(key).collect()
    });
    KEYS.get(number).unwrap().as_ref()
}

pub fn weak() -> RsaSigner {
    RsaSigner::new(crate::keys::samples::weak())
}

pub fn public(numbers: &[usize]) -> Vec<PublicKey> {
    numbers
        .iter()
        .map(|n| key(*n).public_key().clone())
        .collect()
}

pub fn print(number: usize) -> crate::keys::Fingerprint {
    key(number).public_key().fingerprint()
}

pub fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// A plan for a root: its version, its keys, the threshold, the index keys.
pub fn plan(version: u64, roots: &[usize], threshold: u64, indexes: &[usize]) -> RootPlan {
    let lifetimes = Lifetimes::default();
    RootPlan {
        version,
        expires: lifetimes.until(Role::Root, now()),
        root_keys: public(roots),
        threshold,
        index_keys: public(indexes),
        lifetimes,
    }
}

/// A root, signed by keys.
pub fn root(plan: &RootPlan, signers: &[usize]) -> Root {
    let draft = Root::draft(plan).unwrap();
    signers
        .iter()
        .fold(draft, |root, n| root.add_signature(key(*n)).unwrap())
}

/// What goes wrong with a path.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    Unreachable,
    Endless,
}

/// A channel in memory.
#[derive(Debug, Default)]
pub struct Channel {
    pub files: Mutex<BTreeMap<String, Vec<u8>>>,
    pub faults: Mutex<BTreeMap<String, Fault>>,
}

impl Channel {
    pub fn new() -> Arc<Channel> {
        Arc::default()
    }

    pub fn put(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.files
            .lock()
            .unwrap()
            .insert(path.to_owned(), bytes.into());
    }

    pub fn get(&self, path: &str) -> Vec<u8> {
        self.files.lock().unwrap().get(path).cloned().unwrap()
    }

    pub fn fail(&self, path: &str, fault: Fault) {
        self.faults.lock().unwrap().insert(path.to_owned(), fault);
    }

    pub fn put_root(&self, root: &Root) {
        self.put(&metadata(Role::Root, root.version()), root.bytes());
    }

    pub fn publish(&self, made: &Made) {
        for (path, bytes) in made.metadata.iter().chain([&made.timestamp]) {
            self.put(path, bytes.clone());
        }
    }

    pub fn all(&self) -> BTreeMap<String, Vec<u8>> {
        self.files.lock().unwrap().clone()
    }

    pub fn set_all(&self, files: BTreeMap<String, Vec<u8>>) {
        *self.files.lock().unwrap() = files;
    }
}

impl Upstream for Channel {
    fn name(&self) -> &str {
        "channel"
    }

    fn fetch_to(
        &self,
        path: &str,
        cap: u64,
        to: &mut dyn Write,
    ) -> Result<Option<u64>, UpstreamError> {
        let fail = |fault| UpstreamError {
            place: format!("channel/{path}"),
            fault,
        };
        match self.faults.lock().unwrap().get(path) {
            Some(Fault::Unreachable) => {
                return Err(fail(UpstreamFault::Unreachable("no route".to_owned())));
            }
            Some(Fault::Endless) => return Err(fail(UpstreamFault::TooLarge { cap })),
            None => {}
        }
        let files = self.files.lock().unwrap();
        let Some(bytes) = files.get(path) else {
            return Ok(None);
        };
        let length = bytes.len() as u64;
        if length > cap {
            return Err(fail(UpstreamFault::TooLarge { cap }));
        }
        to.write_all(bytes)
            .map_err(|cause| fail(UpstreamFault::Sink(cause)))?;
        Ok(Some(length))
    }
}

/// Two targets, and their files.
pub fn targets(channel: &Channel, text: &str) -> Targets {
    use sha2::{Digest as _, Sha256};
    let mut targets = Targets::new();
    for name in ["linux-64/repodata.json", "index.html"] {
        let bytes = format!("{name}: {text}").into_bytes();
        let target = Target {
            length: bytes.len() as u64,
            sha256: Sha256::digest(&bytes).into(),
        };
        channel.put(&by_hash(name, &target.sha256), bytes);
        targets.insert(name.to_owned(), target);
    }
    targets
}

/// A channel with a first root by key 0, index key 1, and one generation.
pub fn published() -> (Arc<Channel>, Root, Made) {
    let channel = Channel::new();
    let root = root(&plan(1, &[0], 1, &[1]), &[0]);
    channel.put_root(&root);
    let made = next(&channel, &root, None, "one");
    (channel, root, made)
}

/// Publishes a next generation by key 1.
pub fn next(channel: &Channel, root: &Root, before: Option<&Generation>, text: &str) -> Made {
    let targets = targets(channel, text);
    let made = make(root, before, &targets, &root.lifetimes(), key(1), now()).unwrap();
    channel.publish(&made);
    made
}

pub fn loading<'a>(channel: &Arc<Channel>, anchor: Anchor<'a>) -> Loading<'a> {
    Loading {
        upstream: Arc::clone(channel) as Arc<dyn Upstream>,
        anchor,
        memory: None,
        expired: Expired::Refused,
    }
}
