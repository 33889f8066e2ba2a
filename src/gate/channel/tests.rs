//! Tests of what the gate lets through, over a channel in memory that changes as attackers would change it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::VecDeque;
use std::io::Write;

use base64ct::{Base64, Encoding as _};
use rmpv::Value as Pack;
use serde_json::{Value, json};

use super::super::answer::{Failed, Refusal, Wrong};
use super::super::keep::reader;
use super::super::store::StoreConfig;
use super::*;
use crate::keys::samples;
use crate::repodata::Codec;
use crate::signature::{RsaSigner, Signer, sign};
use crate::tuf::samples::{Channel, Fault, key, now, plan, public, root};
use crate::tuf::{Generation, Made, Root, Target, Targets, by_hash, key_target, make};
use crate::upstream::{UpstreamError, fetch};

const ROOT: usize = 0;
const INDEX: usize = 1;
const PACKAGE: usize = 2;
const OTHER: usize = 3;

/// A channel in memory that notes what it was asked for, and may change whenever it is asked.
#[derive(Debug)]
struct Noted(Arc<Channel>, Mutex<Vec<String>>, Mutex<Turns>);

/// What files become, one after the other, as they are asked for.
type Turns = HashMap<String, VecDeque<Vec<u8>>>;

impl Upstream for Noted {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn fetch_to(
        &self,
        path: &str,
        cap: u64,
        to: &mut dyn Write,
    ) -> Result<Option<u64>, UpstreamError> {
        self.1.lock().unwrap().push(path.to_owned());
        let mut turns = self.2.lock().unwrap();
        if let Some(next) = turns.get_mut(path).and_then(VecDeque::pop_front) {
            self.0.put(path, next);
        }
        drop(turns);
        self.0.fetch_to(path, cap, to)
    }
}

/// A channel, its publisher, and a gate in front of it.
struct Scene {
    scratch: tempfile::TempDir,
    channel: Arc<Channel>,
    upstream: Arc<Noted>,
    root: Root,
    generation: Option<Generation>,
    /// The records of linux-64, by file name.
    records: Value,
    /// Keys that the targets name.
    keys: Vec<usize>,
    events: Arc<Mutex<Vec<Event>>>,
    require: Require,
    pinned: Vec<usize>,
    fresh: Duration,
    grace: Duration,
}

impl Scene {
    fn new(require: Require) -> Scene {
        let channel = Channel::new();
        let root = root(&plan(1, &[ROOT], 1, &[INDEX]), &[ROOT]);
        channel.put_root(&root);
        Scene {
            scratch: tempfile::tempdir().unwrap(),
            upstream: Arc::new(Noted(
                Arc::clone(&channel),
                Mutex::default(),
                Mutex::default(),
            )),
            channel,
            root,
            generation: None,
            records: json!({}),
            keys: vec![PACKAGE],
            events: Arc::default(),
            require,
            pinned: vec![ROOT],
            fresh: Duration::ZERO,
            grace: Duration::from_secs(3600),
        }
    }

    /// A channel with one good package.
    fn good() -> Scene {
        let mut scene = Scene::new(Require::Index);
        scene.add("a-1-0.conda", b"package a", key(PACKAGE));
        scene.publish();
        scene
    }

    /// Puts a signed package into the channel, and its record into the next index.
    fn add(&mut self, file: &str, bytes: &[u8], signer: &dyn Signer) {
        self.channel.put(&format!("linux-64/{file}"), bytes);
        let signature = sign(signer, &Sha256::digest(bytes).into()).unwrap();
        self.records[file] = json!({
            "sha256": hex(&Sha256::digest(bytes)), "size": bytes.len(), "sig": ".",
            "signature": {"key": signature.key.as_str(), "value": signature.to_base64()},
        });
    }

    fn target(&self, targets: &mut Targets, name: &str, bytes: &[u8]) {
        let sha256 = Sha256::digest(bytes).into();
        let length = bytes.len() as u64;
        self.channel.put(&by_hash(name, &sha256), bytes);
        targets.insert(name.to_owned(), Target { length, sha256 });
    }

    fn repodata(&self) -> Vec<u8> {
        json!({"info": {"subdir": "linux-64"}, "packages.conda": self.records})
            .to_string()
            .into_bytes()
    }

    /// Publishes a signed generation.
    fn publish(&mut self) {
        let repodata = self.repodata();
        self.publish_files(&[("linux-64/repodata.json", &repodata)]);
    }

    fn publish_files(&mut self, files: &[(&str, &[u8])]) {
        let mut targets = Targets::new();
        for (name, bytes) in files {
            self.target(&mut targets, name, bytes);
        }
        for public in public(&self.keys) {
            let name = key_target(public.name());
            self.target(&mut targets, &name, public.to_pem().as_bytes());
        }
        let made: Made = make(
            &self.root,
            self.generation.as_ref(),
            &targets,
            &self.root.lifetimes(),
            key(INDEX),
            now(),
        )
        .unwrap();
        self.channel.publish(&made);
        self.generation = Some(made.generation);
    }

    /// A gate that remembers what earlier ones saw.
    fn gate(&self) -> Gated {
        let store = StoreConfig {
            folder: self.scratch.path().join("store"),
            disk_bytes: 1 << 20,
            memory_bytes: 1 << 20,
            small: 1 << 10,
        };
        let events = Arc::clone(&self.events);
        let guard = Guard {
            name: "ours".to_owned(),
            upstream: Arc::clone(&self.upstream) as Arc<dyn Upstream>,
            require: self.require,
            pinned: public(&self.pinned),
            min_bits: 2048,
            fresh: self.fresh,
            grace: self.grace,
            state: self.scratch.path().join("state"),
            listener: Arc::new(move |event| events.lock().unwrap().push(event)),
        };
        Gated::open(guard, Arc::new(Store::open(store).unwrap())).unwrap()
    }

    /// What a file is when it is asked for next, and then, and at last.
    fn turns<const N: usize>(&self, path: &str, turns: [&[u8]; N]) {
        let turns = turns.map(<[u8]>::to_vec).into();
        let mut all = self.upstream.2.lock().unwrap();
        all.insert(path.to_owned(), turns);
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.upstream.1.lock().unwrap())
    }
}

fn bytes(content: &Content) -> Vec<u8> {
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut reader(content), &mut bytes).unwrap();
    assert_eq!(content.length, bytes.len() as u64);
    assert_eq!(content.sha256, <[u8; 32]>::from(Sha256::digest(&bytes)));
    bytes
}

#[track_caller]
fn served(gate: &Gated, path: &str) -> Vec<u8> {
    match gate.answer(path) {
        Answer::Serve(content) => bytes(&content),
        other => panic!("{path}: {other:?}"),
    }
}

#[track_caller]
fn refused(gate: &Gated, path: &str) -> Refusal {
    match gate.answer(path) {
        Answer::Refuse(refusal) => {
            let begins = format!("ours/{path} is not let through: ");
            assert!(refusal.sentence.starts_with(&begins), "{refusal:?}");
            refusal
        }
        other => panic!("{path}: {other:?}"),
    }
}

#[track_caller]
fn absent(gate: &Gated, path: &str) {
    let answer = gate.answer(path);
    assert!(matches!(answer, Answer::Absent), "{path}: {answer:?}");
}

const A: &str = "linux-64/a-1-0.conda";

#[test]
fn what_verifies_is_served() {
    let mut scene = Scene::good();
    scene.fresh = Duration::from_secs(3600);
    let gate = scene.gate();
    for path in ["linux-64/repodata.json", A, "linux-64/a-1-0.conda.sig"] {
        assert!(gate.at_hand(path).is_none(), "{path}");
    }
    assert_eq!(served(&gate, A), b"package a");
    assert_eq!(served(&gate, "linux-64/repodata.json"), scene.repodata());
    let sig = served(&gate, "linux-64/a-1-0.conda.sig");
    assert!(sig.starts_with(b"key2 "), "{sig:?}");
    let name = key_target(key(PACKAGE).public_key().name());
    served(&gate, &name);
    // All of it may be served again without a word to the upstream, or to anybody.
    scene.asked();
    for path in ["linux-64/repodata.json", A, "linux-64/a-1-0.conda.sig"] {
        let first = bytes(&gate.at_hand(path).unwrap());
        assert_eq!(first, served(&gate, path));
    }
    assert!(scene.asked().is_empty());
    for path in [
        "noarch/repodata.json",
        "noarch/b-1-0.conda",
        "linux-64/repodata.json.zst",
        "linux-64/a-1-0.conda.sigs",
        "linux-64/",
        "",
        "tuf/timestamp.json",
        "tuf/1.root.json",
        "a-1-0.conda",
        "linux-64/x/a-1-0.conda",
    ] {
        absent(&gate, path);
        assert!(gate.at_hand(path).is_none());
    }
    let refusal = refused(&gate, "linux-64/b-1-0.conda");
    assert_eq!(refusal.kind, Wrong::NotInIndex);
    let verified = scene.events.lock().unwrap();
    assert!(matches!(
        verified.as_slice(),
        [Event::Verified { version: 1, .. }]
    ));
}

#[test]
fn what_is_not_fresh_is_asked_for_again() {
    let mut scene = Scene::good();
    let gate = scene.gate();
    served(&gate, A);
    assert!(gate.at_hand(A).is_none());
    scene.asked();
    served(&gate, A);
    let asked = scene.asked();
    assert!(
        asked.contains(&"tuf/timestamp.json".to_owned()),
        "{asked:?}"
    );
    assert!(!asked.contains(&A.to_owned()), "{asked:?}");
    scene.add("b-1-0.conda", b"package b", key(PACKAGE));
    scene.publish();
    assert_eq!(served(&gate, "linux-64/b-1-0.conda"), b"package b");
}

#[test]
fn changed_bytes_are_refused() {
    let scene = Scene::good();
    for bytes in [&b"package A"[..], b"package", b"package a and more"] {
        scene.channel.put(A, bytes);
        let refusal = refused(&scene.gate(), A);
        assert_eq!(refusal.kind, Wrong::Changed, "{bytes:?}");
    }
    // What is not an upstream's fault either: it has the package no more.
    scene.channel.files.lock().unwrap().remove(A);
    absent(&scene.gate(), A);
}

#[test]
fn signatures_are_held_against_the_keys() {
    let mut scene = Scene::good();
    let (weak, fixed) = (RsaSigner::new(samples::weak()), key(PACKAGE));
    scene.add("other-1-0.conda", b"o", key(OTHER));
    scene.add("index-1-0.conda", b"i", key(INDEX));
    scene.add("weak-1-0.conda", b"w", &weak);
    scene.add("forged-1-0.conda", b"f", fixed);
    scene.add("broken-1-0.conda", b"b", fixed);
    scene.add("missing-1-0.conda", b"m", fixed);
    scene.add("beside-1-0.conda", b"s", fixed);
    scene.add("junk-1-0.conda", b"j", fixed);
    scene.records["forged-1-0.conda"]["signature"]["value"] =
        json!(Base64::encode_string(&[1; 256]));
    scene.records["broken-1-0.conda"]["signature"]["value"] = json!("!");
    for file in ["missing-1-0.conda", "beside-1-0.conda", "junk-1-0.conda"] {
        let record = scene.records[file].as_object_mut().unwrap();
        record.remove("signature");
    }
    let beside = sign(fixed, &Sha256::digest(b"s").into()).unwrap();
    let sig = "linux-64/beside-1-0.conda.sig";
    scene.channel.put(sig, beside.to_file_bytes());
    scene
        .channel
        .put("linux-64/junk-1-0.conda.sig", vec![b'x'; 9000]);
    scene.publish();
    let gate = scene.gate();
    for (file, kind, says) in [
        (
            "other",
            Wrong::UnknownKey,
            "the key key3, which the signed index does not name",
        ),
        ("index", Wrong::UnknownKey, "the key key1"),
        ("weak", Wrong::UnknownKey, "the key Weak"),
        ("forged", Wrong::Invalid, "by the key key2 is invalid"),
        ("broken", Wrong::Invalid, "invalid"),
        ("missing", Wrong::Missing, "missing"),
        ("junk", Wrong::Invalid, "longer than any"),
    ] {
        for path in [
            format!("linux-64/{file}-1-0.conda"),
            format!("linux-64/{file}-1-0.conda.sig"),
        ] {
            let refusal = refused(&gate, &path);
            assert_eq!(refusal.kind, kind, "{path}");
            assert!(refusal.sentence.contains(says), "{refusal:?}");
        }
    }
    assert_eq!(served(&gate, "linux-64/beside-1-0.conda"), b"s");
    assert_eq!(served(&gate, sig), beside.to_file_bytes());
    // Keys that sign the index vouch for no package, even among the targets or pinned; nor do keys that the index does
    // not name, or names no more.
    scene.keys = vec![PACKAGE, INDEX];
    scene.pinned = vec![ROOT, INDEX, OTHER];
    scene.publish();
    let gate = scene.gate();
    for file in ["index", "other"] {
        let refusal = refused(&gate, &format!("linux-64/{file}-1-0.conda"));
        assert_eq!(refusal.kind, Wrong::UnknownKey);
        assert!(refusal.sentence.contains("the signed index does not name"));
    }
}

#[test]
fn what_an_index_named_stays_for_its_grace() {
    let mut scene = Scene::good();
    let gate = scene.gate();
    served(&gate, "linux-64/repodata.json");
    scene.records = json!({});
    scene.add("b-1-0.conda", b"package b", key(PACKAGE));
    scene.publish();
    served(&gate, "linux-64/repodata.json");
    assert_eq!(served(&gate, A), b"package a");
    assert_eq!(served(&gate, "linux-64/b-1-0.conda"), b"package b");
    assert!(gate.at_hand(A).is_none());
    // A key that is revoked vouches no longer for what older indexes named.
    scene.keys = vec![OTHER];
    scene.publish();
    assert_eq!(refused(&gate, A).kind, Wrong::UnknownKey);

    let mut scene = Scene::good();
    scene.grace = Duration::ZERO;
    let gate = scene.gate();
    served(&gate, A);
    scene.records = json!({});
    scene.publish();
    assert_eq!(refused(&gate, A).kind, Wrong::NotInIndex);
}

#[test]
fn an_older_index_is_refused_also_by_the_next_gate() {
    let mut scene = Scene::good();
    let before = scene.channel.all();
    scene.add("a-1-0.conda", b"a mended", key(PACKAGE));
    scene.publish();
    assert_eq!(served(&scene.gate(), A), b"a mended");
    scene.channel.set_all(before);
    let gate = scene.gate();
    for path in ["linux-64/repodata.json", A] {
        let refusal = refused(&gate, path);
        assert_eq!(refusal.kind, Wrong::Index);
        assert!(
            refusal.sentence.contains("older than what was seen"),
            "{refusal:?}"
        );
    }
}

#[test]
fn an_index_is_believed_only_from_whom_it_should_be() {
    let mut scene = Scene::good();
    scene.pinned = vec![OTHER];
    let refusal = refused(&scene.gate(), "linux-64/repodata.json");
    assert_eq!(refusal.kind, Wrong::UnknownKey);

    let scene = Scene::good();
    let repodata = scene.repodata();
    let place = by_hash("linux-64/repodata.json", &Sha256::digest(&repodata).into());
    let changed = String::from_utf8(repodata).unwrap().replace("size", "SIZE");
    scene.channel.put(&place, changed);
    let refusal = refused(&scene.gate(), "linux-64/repodata.json");
    assert_eq!(refusal.kind, Wrong::Index);
    scene.channel.files.lock().unwrap().remove(&place);
    let refusal = refused(&scene.gate(), A);
    assert_eq!(refusal.kind, Wrong::Index);

    let scene = Scene::new(Require::Index);
    scene.channel.files.lock().unwrap().clear();
    scene.channel.put("linux-64/repodata.json", "{}");
    let refusal = refused(&scene.gate(), "linux-64/repodata.json");
    assert_eq!(refusal.kind, Wrong::NoSignedIndex);
    assert!(
        refusal.sentence.contains("--require package"),
        "{refusal:?}"
    );
}

#[test]
fn an_upstream_that_fails_is_no_refusal() {
    let scene = Scene::good();
    let gate = scene.gate();
    scene.channel.fail("tuf/timestamp.json", Fault::Unreachable);
    let Answer::Fail(failure) = gate.answer("linux-64/repodata.json") else {
        panic!("it does not fail")
    };
    assert_eq!((failure.kind, failure.status()), (Failed::Upstream, 502));
    scene.channel.fail("tuf/timestamp.json", Fault::Endless);
    let refusal = refused(&gate, A);
    assert_eq!(refusal.kind, Wrong::Index);
    scene.channel.faults.lock().unwrap().clear();
    scene.channel.fail(A, Fault::Unreachable);
    assert!(matches!(gate.answer(A), Answer::Fail(_)));
    scene.channel.faults.lock().unwrap().clear();
    served(&gate, A);
}

#[test]
fn an_index_that_leads_past_the_gate_is_refused() {
    let mut scene = Scene::good();
    let repodata = r#"{"info":{"base_url":"https://elsewhere/"}}"#;
    scene.publish_files(&[("linux-64/repodata.json", repodata.as_bytes())]);
    let refusal = refused(&scene.gate(), "linux-64/repodata.json");
    assert_eq!(refusal.kind, Wrong::Index);
    assert!(refusal.sentence.contains("past the gate"), "{refusal:?}");
}

#[test]
fn many_ask_and_one_fetches() {
    let mut scene = Scene::good();
    scene.fresh = Duration::from_secs(3600);
    let gate = scene.gate();
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                assert_eq!(served(&gate, A), b"package a");
                served(&gate, "linux-64/repodata.json");
            });
        }
    });
    let asked = scene.asked();
    let times = |path: &str| asked.iter().filter(|it| *it == path).count();
    assert_eq!((times(A), times("tuf/timestamp.json")), (1, 1), "{asked:?}");
}

/// The channel of the fixtures, unsigned index and all.
fn plain(require: Require) -> (Scene, String) {
    let mut scene = Scene::new(require);
    scene.channel.files.lock().unwrap().clear();
    scene.pinned = vec![PACKAGE];
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/channel/noarch");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().flatten().collect();
    files.sort_by_key(|file| file.file_name());
    let is_conda = |name: &str| name.ends_with(".conda");
    let file = files
        .iter()
        .find(|it| is_conda(it.file_name().to_str().unwrap()));
    let path = file.unwrap().path();
    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
    put_plain(&mut scene, &name, &std::fs::read(path).unwrap());
    (scene, name)
}

fn put_plain(scene: &mut Scene, name: &str, bytes: &[u8]) {
    let path = format!("noarch/{name}");
    let signature = sign(key(PACKAGE), &Sha256::digest(bytes).into()).unwrap();
    scene.channel.put(&path, bytes);
    scene
        .channel
        .put(&format!("{path}.sig"), signature.to_file_bytes());
    scene.records[name] = json!({"sha256": hex(&Sha256::digest(bytes))});
    let repodata = json!({"packages.conda": scene.records}).to_string();
    scene.channel.put("noarch/repodata.json", repodata);
}

#[test]
fn without_a_signed_index_packages_alone_are_checked() {
    let (mut scene, name) = plain(Require::Package);
    let path = format!("noarch/{name}");
    let bytes = scene.channel.get(&path);
    let gate = scene.gate();
    served(&gate, "noarch/repodata.json");
    assert_eq!(served(&gate, &path), bytes);
    scene.channel.put("noarch/index.html", "page");
    assert_eq!(served(&gate, "noarch/"), b"page");
    for hidden in ["noarch/evil", "noarch/x/repodata.json", "setup.exe"] {
        scene.channel.put(hidden, "x");
        absent(&gate, hidden);
    }
    absent(&gate, "linux-64/repodata.json");
    // An old package under a new name is signed, and named by whoever has the index.
    put_plain(&mut scene, "renamed-2-0.conda", &bytes);
    let refusal = refused(&gate, "noarch/renamed-2-0.conda");
    assert_eq!(refusal.kind, Wrong::Misnamed);
    assert!(
        refusal.sentence.contains("its file name says renamed-2-0"),
        "{refusal:?}"
    );
    scene.channel.put(&path, "changed");
    served(&gate, &path);
    let elsewhere = r#"{"info":{"base_url":"https://elsewhere/"}}"#;
    scene.channel.put("noarch/current_repodata.json", elsewhere);
    let refusal = refused(&gate, "noarch/current_repodata.json");
    assert_eq!(refusal.kind, Wrong::Index);
    scene.pinned = vec![OTHER];
    assert_eq!(refused(&scene.gate(), &path).kind, Wrong::UnknownKey);
    scene
        .channel
        .files
        .lock()
        .unwrap()
        .remove(&format!("{path}.sig"));
    assert_eq!(refused(&scene.gate(), &path).kind, Wrong::Missing);
}

#[test]
fn where_nothing_is_demanded_it_is_only_reported() {
    let (mut scene, name) = plain(Require::None);
    scene.pinned = vec![OTHER];
    let path = format!("noarch/{name}");
    scene.channel.put("index.html", "page");
    let gate = scene.gate();
    let upstream = |path: &str| {
        fetch(scene.channel.as_ref(), path, 1 << 20)
            .unwrap()
            .unwrap()
    };
    for path in [path.as_str(), "noarch/repodata.json", "index.html"] {
        assert_eq!(served(&gate, path), upstream(path));
    }
    absent(&gate, "noarch/none");
    let events = scene.events.lock().unwrap();
    let [Event::LetThrough(refusal)] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert_eq!((refusal.kind, &refusal.path), (Wrong::UnknownKey, &path));
}

/// A file as shards are.
fn packed(value: &Pack) -> Vec<u8> {
    let mut plain = Vec::new();
    rmpv::encode::write_value(&mut plain, value).unwrap();
    Codec::Zstd(3).compress(&plain).unwrap()
}

/// A shard of these packages, of which nothing is said.
fn shard(section: &str, names: &[&str]) -> Vec<u8> {
    let record = |name: &&str| (Pack::from(*name), Pack::Map(Vec::new()));
    let records = Pack::Map(names.iter().map(record).collect());
    let section = match section.strip_prefix("v3.") {
        Some(ending) => (
            Pack::from("v3"),
            Pack::Map(vec![(Pack::from(ending), records)]),
        ),
        None => (Pack::from(section), records),
    };
    packed(&Pack::Map(vec![section]))
}

/// An index of one shard, of what is called `a`, which lies at `base`.
fn shard_index(base: &str, hash: &Hash) -> Vec<u8> {
    let text = |text: &str| Pack::from(text);
    let info = vec![
        (text("subdir"), text("linux-64")),
        (text("base_url"), text("")),
        (text("shards_base_url"), text(base)),
    ];
    let shards = vec![(text("a"), Pack::Binary(hash.to_vec()))];
    packed(&Pack::Map(vec![
        (text("version"), Pack::from(1)),
        (text("info"), Pack::Map(info)),
        (text("shards"), Pack::Map(shards)),
    ]))
}

#[test]
fn shards_are_an_index_too() {
    let text = |text: &str| Pack::from(text);
    let mut scene = Scene::good();
    let signature = scene.records["a-1-0.conda"]["signature"].clone();
    let pack = |key: &str| (text(key), text(signature[key].as_str().unwrap()));
    let hash = Pack::Binary(Sha256::digest(b"package a").to_vec());
    let record = Pack::Map(vec![
        (text("sha256"), hash),
        (
            text("signature"),
            Pack::Map(vec![pack("key"), pack("value")]),
        ),
    ]);
    let records = Pack::Map(vec![(text("a-1-0.conda"), record)]);
    let shard = packed(&Pack::Map(vec![(text("packages.conda"), records)]));
    let shard_hash: [u8; 32] = Sha256::digest(&shard).into();
    let index = |base: &str| shard_index(base, &shard_hash);
    let place = format!("linux-64/shards/{}.msgpack.zst", hex(&shard_hash));
    let path = "linux-64/repodata_shards.msgpack.zst";
    scene.channel.put(&place, shard.clone());
    scene.publish_files(&[(path, &index("./shards/"))]);
    let gate = scene.gate();
    assert_eq!(served(&gate, &place), shard);
    assert_eq!(served(&gate, path), index("./shards/"));
    assert_eq!(served(&gate, A), b"package a");
    assert_eq!(
        refused(&gate, "linux-64/a-2-0.conda").kind,
        Wrong::NotInIndex
    );
    absent(&gate, &place.replace("shards/", "other/"));
    absent(
        &gate,
        &format!("linux-64/shards/{}.msgpack.zst", "ab".repeat(32)),
    );
    // An index that no longer names it lets it live for its grace.
    scene.publish_files(&[(path, &index("https://elsewhere/"))]);
    assert_eq!(refused(&gate, path).kind, Wrong::Index);
    scene.publish();
    assert_eq!(served(&gate, &place), shard);
    scene.channel.put(&place, "other");
    scene.publish_files(&[(path, &index("./shards/"))]);
    scene.scratch = tempfile::tempdir().unwrap();
    assert_eq!(refused(&scene.gate(), &place).kind, Wrong::Changed);
}

#[test]
fn the_index_that_is_served_is_the_one_that_was_looked_into() {
    let away = br#"{"info":{"base_url":"https://elsewhere/"}}"#;
    let (here, led) = (
        shard_index("", &[1; 32]),
        shard_index("//elsewhere", &[1; 32]),
    );
    let twin = |plain: &[u8]| Codec::Zstd(3).compress(plain).unwrap();
    for (name, bad, good) in [
        ("repodata.json", away.to_vec(), b"{}".to_vec()),
        ("repodata.json.zst", twin(away), twin(b"{}")),
        ("current_repodata.json", away.to_vec(), b"{}".to_vec()),
        ("repodata_shards.msgpack.zst", led, here),
    ] {
        let scene = Scene::new(Require::Package);
        let path = format!("noarch/{name}");
        // Each time that the gate asks, it is the other one.
        scene.turns(&path, [&bad, &good, &good, &good]);
        let gate = scene.gate();
        assert_eq!(refused(&gate, &path).kind, Wrong::Index, "{path}");
        scene.turns(&path, [&good, &bad, &bad, &bad]);
        match gate.answer(&path) {
            Answer::Serve(content) => assert_eq!(bytes(&content), good, "{path}"),
            Answer::Refuse(refusal) => assert_eq!(refusal.kind, Wrong::Index, "{path}"),
            other => panic!("{path}: {other:?}"),
        }
        scene.turns(&path, [&good]);
        assert_eq!(served(&gate, &path), good, "{path}");
    }
}

#[test]
fn a_shard_is_held_to_what_is_asked_of_an_index() {
    for (section, name, says) in [
        ("packages.conda", "a-1-0.conda", None),
        (
            "packages.conda",
            "https://elsewhere/a-1-0.conda",
            Some("no file's name"),
        ),
        (
            "packages",
            "../../loose/noarch/a-1-0.tar.bz2",
            Some("no file's name"),
        ),
        ("packages", "https:a-1-0.tar.bz2", Some("no file's name")),
        ("v3.whl", "a-1", Some("no conda package")),
        (
            "packages.whl",
            "a-1-py3-none-any.whl",
            Some("no conda package"),
        ),
    ] {
        let scene = Scene::new(Require::Package);
        let shard = shard(section, &[name]);
        let hash: Hash = Sha256::digest(&shard).into();
        let path = format!("noarch/{}.msgpack.zst", hex(&hash));
        scene.channel.put(&path, shard.clone());
        let index = shard_index("", &hash);
        scene
            .channel
            .put("noarch/repodata_shards.msgpack.zst", index);
        let gate = scene.gate();
        match says {
            None => assert_eq!(served(&gate, &path), shard),
            Some(says) => {
                let refusal = refused(&gate, &path);
                assert_eq!(refusal.kind, Wrong::Index, "{name}");
                assert!(refusal.sentence.contains(says), "{refusal:?}");
            }
        }
    }
}

#[test]
fn a_signed_index_may_lead_to_channels_beside_it_and_no_other_may() {
    let repodata = |to: &str| {
        let info = json!({"subdir": "linux-64", "channel_relations": {"base": to}});
        json!({"info": info}).to_string().into_bytes()
    };
    let (beside, away) = (repodata("../base"), repodata("https://elsewhere/base"));
    let path = "linux-64/repodata.json";
    let mut scene = Scene::good();
    let gate = scene.gate();
    scene.publish_files(&[(path, &beside)]);
    assert_eq!(served(&gate, path), beside);
    scene.publish_files(&[(path, &away)]);
    assert_eq!(refused(&gate, path).kind, Wrong::Index);
    let scene = Scene::new(Require::Package);
    for repodata in [&beside, &away] {
        scene.channel.put(path, repodata.clone());
        let refusal = refused(&scene.gate(), path);
        assert_eq!(refusal.kind, Wrong::Index);
        assert!(refusal.sentence.contains("another channel"), "{refusal:?}");
    }
}

#[test]
fn a_record_lifts_no_limit() {
    let (mut scene, name) = plain(Require::Package);
    for size in [(16_u64 << 30) + 1, 1 << 62, u64::MAX] {
        scene.records[&name]["size"] = json!(size);
        let repodata = json!({"packages.conda": scene.records}).to_string();
        scene.channel.put("noarch/repodata.json", repodata);
        let path = format!("noarch/{name}");
        let refusal = refused(&scene.gate(), &path);
        assert_eq!(refusal.kind, Wrong::TooLarge);
        let says = format!("has {size} bytes, and the gate takes 17179869184 at most");
        assert!(refusal.sentence.contains(&says), "{refusal:?}");
        assert!(!scene.asked().contains(&path));
    }
}

#[test]
fn an_index_of_one_long_text_or_of_brackets_is_refused_before_it_is_in_memory() {
    let long = "a".repeat((16 << 20) + 1);
    let texts = [
        format!(r#"{{"{long}":1}}"#),
        format!(r#"{{"packages":{{"a-1-0.conda":{{"sha256":"{long}"}}}}}}"#),
    ];
    let brackets = [
        r#"{"x":"#.repeat(129),
        format!(r#"{{"x":{}"#, "[".repeat(128)),
    ];
    let texts = texts.map(|text| (text, "a text in it has more than"));
    let brackets = brackets.map(|text| (text, "more than 128 brackets"));
    for (text, says) in texts.into_iter().chain(brackets) {
        let scene = Scene::new(Require::Package);
        let path = "noarch/repodata.json.zst";
        let file = Codec::Zstd(3).compress(text.as_bytes()).unwrap();
        scene.channel.put(path, file);
        let refusal = refused(&scene.gate(), path);
        assert_eq!(refusal.kind, Wrong::Index);
        assert!(refusal.sentence.contains(says), "{refusal:?}");
    }
}
