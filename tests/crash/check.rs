//! What must hold after a fault, and once the next run has healed it. Owns what of two states has to be the same; what
//! a client may expect of a channel is `support/reader.rs`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rsa::pkcs1::DecodeRsaPrivateKey as _;
use rsa::pkcs8::{DecodePrivateKey as _, DecodePublicKey as _};
use rsa::{RsaPrivateKey, RsaPublicKey};
use serde_json::Value;

use crate::reader::{self, Keys, OnDisk};
use crate::scenario::Scenario;
use crate::scene::Scene;

/// Files by path below the scene, as far as two runs have to agree on them.
pub type State = BTreeMap<String, Vec<u8>>;

/// What runs leave behind that are killed, by beginnings and ends of names.
const LEFT_OVER: [Ends; 3] = [
    Ends(".sigindex-", ".tmp"),
    Ends(".sigindex-", ".new"),
    // A cache that was put aside: it was written so that this is never needed.
    Ends("", ".broken"),
];

/// How a name begins and ends.
struct Ends(&'static str, &'static str);

impl Ends {
    fn is(&self, name: &str) -> bool {
        name.starts_with(self.0) && name.ends_with(self.1)
    }
}

/// The state that a scenario is about, as far as any two ways there agree on it.
pub fn state(scenario: &Scenario, scene: &Scene) -> State {
    let mut state = whole_state(scenario, scene);
    // Versions count the runs.
    state.retain(|path, _| !path.contains(SIGNED));
    state
}

/// As `state`, and what is signed of the index: for runs from the same beginning.
pub fn whole_state(scenario: &Scenario, scene: &Scene) -> State {
    let mut state = State::new();
    for entry in walkdir::WalkDir::new(scene.path("")).into_iter().flatten() {
        let path = entry.path().strip_prefix(scene.path("")).unwrap();
        let path = path.to_str().unwrap().to_owned();
        if entry.file_type().is_file()
            && let Some(content) = told(scenario, &path, entry.path())
        {
            state.insert(path, content);
        }
    }
    state
}

/// What a file has to be in two states; nothing where it may differ.
fn told(scenario: &Scenario, path: &str, file: &Path) -> Option<Vec<u8>> {
    let name = path.rsplit('/').next().unwrap();
    let is_temporary = LEFT_OVER.iter().any(|left| left.is(name));
    // What keys are for is remembered before they are used for it, and where it can't be, said and left.
    let is_early = name == ".sigindex-uses.json";
    let is_other = is_temporary || is_early || name.ends_with(".lock") || name == "signed.log";
    if path.starts_with("cache/") || is_other {
        return None;
    }
    let bytes = std::fs::read(file).unwrap();
    // Two signatures of the same bytes are not the same: others look whether they hold.
    if name.ends_with(".sig") || (scenario.makes_key() && path.starts_with("home/")) {
        return Some(Vec::new());
    }
    if path.contains(SIGNED) && !path.contains("/tuf/targets/") {
        return Some(signed_part(&bytes));
    }
    if !scenario.embeds || path.starts_with("home/") {
        return Some(bytes);
    }
    match name {
        "repodata.json" => Some(without_signatures(&bytes)),
        // Named by their hashes, which are those of signatures.
        name if name.ends_with(".msgpack.zst") && path.contains("/shards/") => None,
        "retired.json" => None,
        _ => Some(Vec::new()),
    }
}

/// Where a signed index lies.
const SIGNED: &str = "/tuf/";

/// Of signed metadata what does not depend on the moment: a root's keys, and of all the version.
fn signed_part(bytes: &[u8]) -> Vec<u8> {
    let Ok(mut metadata) = serde_json::from_slice::<Value>(bytes) else {
        return b"no JSON".to_vec();
    };
    let signatures = metadata["signatures"].as_array().map(Vec::len);
    let signed = metadata["signed"].take();
    let told = ["_type", "version", "roles", "keys"].map(|key| &signed[key]);
    format!("{signatures:?} {told:?}").into_bytes()
}

/// An index without the values of its signatures.
fn without_signatures(bytes: &[u8]) -> Vec<u8> {
    let mut index: Value = serde_json::from_slice(bytes).unwrap_or_default();
    for section in ["packages", "packages.conda"] {
        for record in index[section].as_object_mut().into_iter().flatten() {
            record.1["signature"]["value"] = Value::Null;
        }
    }
    index.to_string().into_bytes()
}

/// The part of a state that a run which fails leaves as it was: all but signatures, which stay.
pub fn published(state: &State) -> State {
    let is_kept = |path: &&String| path.contains('/') && !path.ends_with(".sig");
    let kept = state.iter().filter(|(path, _)| is_kept(path));
    let kept = kept.filter(|(path, _)| !path.starts_with("home/"));
    kept.map(|(path, bytes)| (path.clone(), bytes.clone()))
        .collect()
}

/// A state without what is new and nothing names yet, which stays for the next run: of a signed index, all that the
/// timestamp leads to.
pub fn named(found: &State, before: &State, after: &State) -> State {
    let is_unnamed = |path: &str, bytes: &Vec<u8>| {
        let leads = path.ends_with("/timestamp.json") || path.ends_with(".root.json");
        let is_new = !before.contains_key(path) && after.get(path) == Some(bytes);
        path.contains(SIGNED) && is_new && !leads
    };
    let named = found
        .iter()
        .filter(|(path, bytes)| !is_unnamed(path, bytes));
    named
        .map(|(path, bytes)| (path.clone(), bytes.clone()))
        .collect()
}

/// How two states differ, in words.
pub fn differ(found: &State, wanted: &State) -> Option<String> {
    let paths: BTreeSet<&String> = found.keys().chain(wanted.keys()).collect();
    let mut wrong = Vec::new();
    for path in paths {
        match (found.get(path), wanted.get(path)) {
            (Some(found), Some(wanted)) if found == wanted => {}
            (Some(_), Some(_)) => wrong.push(format!("{path} is another")),
            (Some(_), None) => wrong.push(format!("{path} should not be there")),
            (None, _) => wrong.push(format!("{path} is missing")),
        }
    }
    (!wrong.is_empty()).then(|| wrong.join("; "))
}

/// All files of a channel at rest agree with each other.
pub fn agree(scenario: &Scenario, scene: &Scene) -> Result<(), String> {
    if scenario.place() != "channel" || !scenario.indexes() {
        return Ok(());
    }
    let keys = Keys::of(&scene.key_path(""));
    let seen = reader::read_at_rest(&scene.path("channel"), &keys);
    match seen.wrong.is_empty() {
        true => Ok(()),
        false => Err(seen.wrong.join("; ")),
    }
}

/// What is neither as it was nor as it is to be, file by file, in words.
pub fn neither(found: &State, before: &State, after: &State) -> Option<String> {
    let paths = found.keys().chain(before.keys()).chain(after.keys());
    let paths: BTreeSet<&String> = paths.collect();
    let is_mixed = |path: &&&String| {
        let now = found.get(**path);
        now != before.get(**path) && now != after.get(**path)
    };
    let mixed: Vec<&str> = paths
        .iter()
        .filter(is_mixed)
        .map(|path| path.as_str())
        .collect();
    (!mixed.is_empty()).then(|| format!("neither old nor new: {}", mixed.join(", ")))
}

/// What clients may expect at any moment.
pub fn readable(scenario: &Scenario, scene: &Scene) -> Result<(), String> {
    let keys = Keys::of(&scene.key_path(""));
    let channel = scene.path(scenario.place());
    if !channel.exists() {
        return Ok(());
    }
    let mut wrong = match scenario.place() {
        "channel" => {
            let packages = OnDisk {
                channel: &channel,
                keys: &keys,
            };
            let touched = Touched {
                packages,
                path: scenario.touched,
            };
            reader::read(&channel, &keys, &touched).wrong
        }
        _ => {
            let (packages, signatures) = (scene.path("channel"), channel.clone());
            let apart = Apart {
                packages,
                signatures,
                keys: &keys,
            };
            reader::read(&channel, &keys, &apart).wrong
        }
    };
    wrong.extend(broken_signatures(scenario, scene, &keys));
    wrong.extend(broken_keys(scene));
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(format!("a client finds: {}", wrong.join("; "))),
    }
}

/// Signatures that are there, listed or not, are whole and hold.
fn broken_signatures(scenario: &Scenario, scene: &Scene, keys: &Keys) -> Vec<String> {
    let mut wrong = Vec::new();
    for entry in walkdir::WalkDir::new(scene.path("")).into_iter().flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|end| end != "sig") {
            continue;
        }
        let mut file = path.with_extension("");
        if !file.exists() {
            let below = path.strip_prefix(scene.path(scenario.place()));
            file = scene
                .path("channel")
                .join(below.unwrap())
                .with_extension("");
        }
        let Ok(bytes) = std::fs::read(&file) else {
            continue;
        };
        let held = keys.verify_file(&std::fs::read(path).unwrap(), &reader::digest(&bytes));
        // Who replaces a package leaves its old signature there until the run.
        if let Err(why) = held
            && !scenario.command.contains(&"--replace")
        {
            wrong.push(format!("{}: {why}", path.display()));
        }
    }
    wrong
}

/// Private keys that are there are whole, and their public keys are theirs.
fn broken_keys(scene: &Scene) -> Vec<String> {
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(scene.key_path("")).unwrap() {
        let path = entry.unwrap().path();
        let public = path.with_extension("pub");
        let pem = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.ends_with(".json") && serde_json::from_str::<Value>(&pem).is_err() {
            wrong.push(format!("{} is no JSON", path.display()));
        }
        if name.contains('.') {
            continue;
        }
        let is_whole = match (private_key(&pem), std::fs::read_to_string(public)) {
            (Some(key), Ok(public)) => {
                RsaPublicKey::from_public_key_pem(&public) == Ok(key.to_public_key())
            }
            (key, _) => key.is_some(),
        };
        if !is_whole {
            wrong.push(format!("{} is no whole key", path.display()));
        }
    }
    wrong
}

fn private_key(pem: &str) -> Option<RsaPrivateKey> {
    let read = RsaPrivateKey::from_pkcs1_pem(pem).ok();
    read.or_else(|| RsaPrivateKey::from_pkcs8_pem(pem).ok())
}

/// Packages of which one was removed or replaced before the run: what was published of it is no longer there.
struct Touched<'k> {
    packages: OnDisk<'k>,
    path: Option<&'static str>,
}

impl Touched<'_> {
    /// Whether an index that was published before names it.
    fn is_before(&self, named: &reader::Named<'_>) -> bool {
        let there = std::fs::read(self.packages.channel.join(named.path));
        let is_same = there.is_ok_and(|bytes| reader::digest(&bytes) == named.sha256);
        self.path == Some(named.path) && !is_same
    }
}

impl reader::Packages for Touched<'_> {
    fn bytes(&self, named: &reader::Named<'_>) -> Result<(), String> {
        match self.is_before(named) {
            true => Ok(()),
            false => self.packages.bytes(named),
        }
    }

    fn signature(&self, named: &reader::Named<'_>) -> Result<(), String> {
        match self.is_before(named) {
            true => Ok(()),
            false => self.packages.signature(named),
        }
    }

    fn is_there(&self, path: &str) -> Result<(), String> {
        match self.path == Some(path) {
            true => Ok(()),
            false => self.packages.is_there(path),
        }
    }
}

/// Index files and signatures in one folder, packages in another.
struct Apart<'k> {
    packages: std::path::PathBuf,
    signatures: std::path::PathBuf,
    keys: &'k Keys,
}

impl reader::Packages for Apart<'_> {
    fn bytes(&self, named: &reader::Named<'_>) -> Result<(), String> {
        let (channel, keys) = (self.packages.as_path(), self.keys);
        OnDisk { channel, keys }.bytes(named)
    }

    fn signature(&self, named: &reader::Named<'_>) -> Result<(), String> {
        let (channel, keys) = (self.signatures.as_path(), self.keys);
        OnDisk { channel, keys }.signature(named)
    }

    fn is_there(&self, path: &str) -> Result<(), String> {
        let there = self.packages.join(path).exists();
        there.then_some(()).ok_or("is not there".to_owned())
    }
}

/// What must hold once a run went through: all that a run without faults leaves, and nothing else.
pub fn healed(scenario: &Scenario, scene: &Scene, wanted: &State) -> Result<(), String> {
    readable(scenario, scene)?;
    if let Some(why) = differ(&state(scenario, scene), wanted) {
        return Err(why);
    }
    agree(scenario, scene)?;
    log_is_whole(scene)?;
    left_over(scene)
}

/// What was signed can be read line by line; a line that was cut off stands alone.
fn log_is_whole(scene: &Scene) -> Result<(), String> {
    let Ok(log) = std::fs::read_to_string(scene.path("signed.log")) else {
        return Ok(());
    };
    let is_json = |line: &str| serde_json::from_str::<Value>(line).is_ok();
    let glued = log
        .lines()
        .find(|line| line.ends_with('}') && !is_json(line));
    match glued {
        None => Ok(()),
        Some(line) => Err(format!("two lines of the signing log are one: {line}")),
    }
}

/// Nothing is left of what was killed.
pub fn left_over(scene: &Scene) -> Result<(), String> {
    for entry in walkdir::WalkDir::new(scene.path("")).into_iter().flatten() {
        let name = entry.file_name().to_str().unwrap();
        if LEFT_OVER.iter().any(|left| left.is(name)) {
            return Err(format!("{} is left over", entry.path().display()));
        }
    }
    Ok(())
}

/// Takes away a cache that was put aside.
pub fn remove_cache_put_aside(scene: &Scene) {
    for entry in walkdir::WalkDir::new(scene.path("cache"))
        .into_iter()
        .flatten()
    {
        if entry.file_name().to_string_lossy().ends_with(".broken") {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
}
