//! Reads a channel as clients do, and tells what is wrong with it: every index file that is there, alone and whole;
//! every package that one names, by the bytes that it names; every signature. It owns what a client may expect at any
//! moment, also in the middle of a publication, and what must hold once a channel is at rest. It knows the formats and
//! nothing of the library, nor of who publishes, and stands on crates alone. A test takes it in beside `msgpack`.
//!
//! While files are put in place one after the other, two of them may be of two generations: [`read`] holds each to
//! itself alone. Of a signed index it reads one generation by hash, and there all has to agree. [`read_at_rest`] demands
//! that all agree.
#![allow(dead_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice
)]

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use base64ct::{Base64, Encoding as _};
use rsa::pkcs8::DecodePublicKey as _;
use rsa::{Pss, RsaPublicKey};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::msgpack;

const REPODATA: &str = "repodata.json";
const SHARD_INDEX: &str = "repodata_shards.msgpack.zst";
/// JSON with records; each may have twins.
const INDEXES: [&str; 3] = [
    REPODATA,
    "repodata_from_packages.json",
    "current_repodata.json",
];
const RUN_EXPORTS: &str = "run_exports.json";
/// Where a signed index lies.
const SIGNED: &str = "tuf";

/// The public keys that a client has, by fingerprint, and the signatures that it has checked.
pub struct Keys {
    keys: BTreeMap<String, (String, RsaPublicKey)>,
    checked: Mutex<HashSet<[u8; 32]>>,
}

impl Keys {
    /// All `*.pub` of a keys folder.
    pub fn of(folder: &Path) -> Self {
        let mut keys = BTreeMap::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let Some(name) = name.strip_suffix(".pub") else {
                continue;
            };
            let pem = std::fs::read_to_string(&path).unwrap();
            let key = RsaPublicKey::from_public_key_pem(&pem).unwrap();
            let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
            let der = Base64::decode_vec(&body).unwrap();
            keys.insert(digest(&der), (name.to_owned(), key));
        }
        let checked = Mutex::default();
        Self { keys, checked }
    }

    /// The names of the keys.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.keys.values().map(|(name, _)| name.as_str())
    }

    /// Whether a signature in base64 holds for a file of this SHA-256, by the key of this fingerprint.
    fn verify(&self, fingerprint: &str, sha256: &str, value: &str) -> Result<(), String> {
        let known = Sha256::digest(format!("{fingerprint} {sha256} {value}")).into();
        if self.checked.lock().unwrap().contains(&known) {
            return Ok(());
        }
        let key = self.keys.get(fingerprint);
        let (_, key) = key.ok_or_else(|| format!("no key has the fingerprint {fingerprint}"))?;
        let raw = Base64::decode_vec(value).map_err(|_| "a signature is no base64".to_owned())?;
        let hash = unhex(sha256).ok_or_else(|| format!("`{sha256}` is no SHA-256"))?;
        let scheme = Pss::new_with_salt::<Sha256>(32);
        key.verify(scheme, &hash, &raw)
            .map_err(|_| "a signature does not hold".to_owned())?;
        self.checked.lock().unwrap().insert(known);
        Ok(())
    }

    /// Whether the bytes of a `.sig` file hold for a file of this SHA-256.
    pub fn verify_file(&self, sig: &[u8], sha256: &str) -> Result<(), String> {
        let text = std::str::from_utf8(sig).map_err(|_| "it is no text".to_owned())?;
        let words: Vec<&str> = text.split_whitespace().collect();
        let &[name, value] = words.as_slice() else {
            return Err("it does not have two words".to_owned());
        };
        let mut named = self.keys.iter().filter(|(_, (known, _))| known == name);
        match named.next() {
            Some((fingerprint, _)) => self.verify(fingerprint, sha256, value),
            None => Err(format!("no key is called {name}")),
        }
    }
}

/// What an index says of a package.
pub struct Named<'r> {
    /// `SUBDIR/FILE`.
    pub path: &'r str,
    /// In lower-case hex.
    pub sha256: &'r str,
    /// In bytes.
    pub size: u64,
}

/// Whether a package that an index names is there as it says. What is wrong is told in words.
pub trait Packages: Sync {
    /// The bytes that a record names.
    fn bytes(&self, named: &Named<'_>) -> Result<(), String>;

    /// The signature beside a package whose record says that there is one.
    fn signature(&self, named: &Named<'_>) -> Result<(), String>;

    /// A file that is named without its bytes.
    fn is_there(&self, path: &str) -> Result<(), String>;
}

/// Packages as they lie in the channel's folder, which nobody else changes.
pub struct OnDisk<'c> {
    /// The folder.
    pub channel: &'c Path,
    /// The keys.
    pub keys: &'c Keys,
}

impl Packages for OnDisk<'_> {
    fn bytes(&self, named: &Named<'_>) -> Result<(), String> {
        let bytes = bytes_of(&self.channel.join(named.path))?;
        let found = (digest(&bytes), bytes.len() as u64);
        if found != (named.sha256.to_owned(), named.size) {
            let (sha256, size) = found;
            let said = format!("{} of {} bytes", named.sha256, named.size);
            return Err(format!(
                "has the SHA-256 {sha256} and {size} bytes, and the index names {said}"
            ));
        }
        Ok(())
    }

    fn signature(&self, named: &Named<'_>) -> Result<(), String> {
        let sig = bytes_of(&self.channel.join(format!("{}.sig", named.path)))?;
        let verified = self.keys.verify_file(&sig, named.sha256);
        verified.map_err(|why| format!("has a signature beside it that fails: {why}"))
    }

    fn is_there(&self, path: &str) -> Result<(), String> {
        bytes_of(&self.channel.join(path)).map(drop)
    }
}

/// Packages that nobody asks for, where index files alone are looked at.
pub struct Unasked;

impl Packages for Unasked {
    fn bytes(&self, _: &Named<'_>) -> Result<(), String> {
        Ok(())
    }

    fn signature(&self, _: &Named<'_>) -> Result<(), String> {
        Ok(())
    }

    fn is_there(&self, _: &str) -> Result<(), String> {
        Ok(())
    }
}

/// What a reader saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// What is wrong, a line each.
    pub wrong: Vec<String>,
    /// The index files that were read, by path.
    pub files: BTreeSet<String>,
    /// How many records they had.
    pub records: usize,
}

/// Reads every index file of a channel, which may be in the middle of a publication.
pub fn read(channel: &Path, keys: &Keys, packages: &dyn Packages) -> Seen {
    let mut reader = Reader::new(channel, keys, packages);
    reader.all();
    reader.seen
}

/// The same of a channel to which nobody does anything, so that its files agree with each other too.
pub fn read_at_rest(channel: &Path, keys: &Keys) -> Seen {
    let packages = OnDisk { channel, keys };
    let mut reader = Reader::new(channel, keys, &packages);
    reader.all();
    reader.agreement();
    reader.seen
}

/// The subdirs of a channel, by the index files in them.
pub fn subdirs(channel: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(channel).unwrap() {
        let path = entry.unwrap().path();
        let is_index = |name: &str| path.join(name).exists();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name != SIGNED && [REPODATA, SHARD_INDEX].into_iter().any(is_index) {
            found.push(name);
        }
    }
    found.sort();
    found
}

/// Records of `packages`, `packages.conda` and `v3` by file name, with hashes in hex.
pub fn records_of(index: &Value) -> BTreeMap<String, Value> {
    let mut records = BTreeMap::new();
    for section in ["packages", "packages.conda"] {
        for (name, record) in index[section].as_object().into_iter().flatten() {
            records.insert(name.clone(), record.clone());
        }
    }
    for (extension, section) in index["v3"].as_object().into_iter().flatten() {
        for (stem, record) in section.as_object().into_iter().flatten() {
            records.insert(format!("{stem}.{extension}"), record.clone());
        }
    }
    records
}

struct Reader<'a> {
    channel: &'a Path,
    keys: &'a Keys,
    packages: &'a dyn Packages,
    seen: Seen,
}

impl<'a> Reader<'a> {
    fn new(channel: &'a Path, keys: &'a Keys, packages: &'a dyn Packages) -> Self {
        let seen = Seen::default();
        Self {
            channel,
            keys,
            packages,
            seen,
        }
    }

    fn wrong(&mut self, path: &str, why: impl std::fmt::Display) {
        self.seen.wrong.push(format!("{path}: {why}"));
    }

    /// The bytes of an index file that may not be there.
    fn file(&mut self, path: &str) -> Option<Vec<u8>> {
        match std::fs::read(self.channel.join(path)) {
            Ok(bytes) => {
                self.seen.files.insert(path.to_owned());
                Some(bytes)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => {
                self.wrong(path, error);
                None
            }
        }
    }

    fn all(&mut self) {
        for subdir in subdirs(self.channel) {
            self.subdir(&subdir);
        }
        for (path, end) in [("index.html", "</html>"), ("rss.xml", "</rss>")] {
            self.text(path, end);
        }
        if let Some(bytes) = self.file("channeldata.json") {
            self.json("channeldata.json", &bytes);
        }
        if self.channel.join(SIGNED).join("timestamp.json").exists() {
            self.signed();
        }
    }

    fn subdir(&mut self, subdir: &str) {
        self.text(&format!("{subdir}/index.html"), "</html>");
        for name in INDEXES {
            for (path, json) in self.twins(subdir, name) {
                self.index(subdir, &path, &json);
            }
        }
        for (path, json) in self.twins(subdir, RUN_EXPORTS) {
            self.run_exports(subdir, &path, &json);
        }
        let path = format!("{subdir}/{SHARD_INDEX}");
        if let Some(bytes) = self.file(&path) {
            self.shards(subdir, &path, &bytes);
        }
    }

    /// A page or feed, which ends as such a file does.
    fn text(&mut self, path: &str, end: &str) {
        if let Some(bytes) = self.file(path) {
            let text = String::from_utf8_lossy(&bytes);
            if !text.trim_end().ends_with(end) {
                self.wrong(path, format_args!("does not end with {end}"));
            }
        }
    }

    fn json(&mut self, path: &str, bytes: &[u8]) -> Option<Value> {
        let read = serde_json::from_slice(bytes);
        read.map_err(|error| self.wrong(path, error)).ok()
    }

    /// A file and its compressed twins, as far as they are there.
    fn twins(&mut self, subdir: &str, name: &str) -> Vec<(String, Value)> {
        let mut found = Vec::new();
        for end in ["", ".zst", ".bz2"] {
            let path = format!("{subdir}/{name}{end}");
            let Some(bytes) = self.file(&path) else {
                continue;
            };
            match plain(end, bytes) {
                Ok(plain) => {
                    let json = self.json(&path, &plain);
                    found.extend(json.map(|json| (path, json)));
                }
                Err(why) => self.wrong(&path, why),
            }
        }
        found
    }

    /// An index with records.
    fn index(&mut self, subdir: &str, path: &str, index: &Value) {
        if index["info"]["subdir"].as_str().is_none() {
            self.wrong(path, "has no info.subdir");
        }
        for (name, record) in records_of(index) {
            self.record(subdir, path, &name, &record);
        }
    }

    fn record(&mut self, subdir: &str, index: &str, name: &str, record: &Value) {
        self.seen.records += 1;
        let path = format!("{subdir}/{name}");
        if let Err(why) = self.check(&path, record) {
            self.wrong(index, format_args!("{path} {why}"));
        }
    }

    fn check(&self, path: &str, record: &Value) -> Result<(), String> {
        let sha256 = record["sha256"].as_str().ok_or("has no sha256")?;
        let size = record["size"].as_u64().ok_or("has no size")?;
        let signature = &record["signature"];
        let verified = signature["verified"] != false;
        if record["sig"].is_string() != signature.is_object() {
            return Err("has only one of sig and signature".to_owned());
        }
        if let (Some(value), true) = (signature["value"].as_str(), verified) {
            let fingerprint = signature["fingerprint"].as_str();
            let fingerprint = fingerprint.ok_or("has a signature without a fingerprint")?;
            self.keys.verify(fingerprint, sha256, value)?;
        }
        let named = Named { path, sha256, size };
        self.packages.bytes(&named)?;
        match signature.is_object() && verified {
            true => self.packages.signature(&named),
            false => Ok(()),
        }
    }

    fn run_exports(&mut self, subdir: &str, path: &str, index: &Value) {
        for name in records_of(index).keys() {
            if let Err(why) = self.packages.is_there(&format!("{subdir}/{name}")) {
                self.wrong(path, format_args!("{subdir}/{name} {why}"));
            }
        }
    }

    /// A shard index, and every shard that it names.
    fn shards(&mut self, subdir: &str, path: &str, bytes: &[u8]) {
        let index = match msgpack::try_value(bytes) {
            Ok(index) => index,
            Err(why) => return self.wrong(path, why),
        };
        for (name, hash) in index["shards"].as_object().into_iter().flatten() {
            match self.shard(subdir, hash.as_str().unwrap_or_default()) {
                Err(why) => self.wrong(path, format_args!("the shard of {name} {why}")),
                Ok(shard) => {
                    for (file, record) in records_of(&shard) {
                        if record["name"] != name.as_str() {
                            self.wrong(path, format_args!("{file} is in the shard of {name}"));
                        }
                        self.record(subdir, path, &file, &record);
                    }
                }
            }
        }
    }

    fn shard(&self, subdir: &str, hash: &str) -> Result<Value, String> {
        let path = format!("{subdir}/shards/{hash}.msgpack.zst");
        let bytes = bytes_of(&self.channel.join(&path))?;
        match digest(&bytes) == hash {
            true => msgpack::try_value(&bytes),
            false => Err(format!("is not what its name {path} says")),
        }
    }

    /// The generation of a signed index that its timestamp names, by hash.
    fn signed(&mut self) {
        if let Err(why) = self.generation() {
            self.wrong(SIGNED, why);
        }
    }

    fn generation(&mut self) -> Result<(), String> {
        let timestamp = self.metadata("timestamp.json")?;
        let snapshot = version(&timestamp, "snapshot.json")?;
        let snapshot = self.metadata(&format!("{snapshot}.snapshot.json"))?;
        let targets = version(&snapshot, "targets.json")?;
        let targets = self.metadata(&format!("{targets}.targets.json"))?;
        let targets = targets["signed"]["targets"].as_object();
        let targets = targets.ok_or("the targets metadata names no targets")?;
        let mut generation = BTreeMap::new();
        for (name, target) in targets {
            let hash = target["hashes"]["sha256"].as_str();
            let hash = hash.ok_or_else(|| format!("{name} has no SHA-256"))?;
            let bytes = bytes_of(&self.channel.join(by_hash(name, hash)))
                .map_err(|why| format!("{name} {why}"))?;
            if digest(&bytes) != hash || target["length"] != bytes.len() {
                return Err(format!("{name} is not what the generation names"));
            }
            generation.insert(name.clone(), bytes);
        }
        self.one_generation(&generation)
    }

    fn metadata(&mut self, name: &str) -> Result<Value, String> {
        let path = format!("{SIGNED}/{name}");
        let bytes = bytes_of(&self.channel.join(&path)).map_err(|why| format!("{name} {why}"))?;
        self.seen.files.insert(path);
        serde_json::from_slice(&bytes).map_err(|error| format!("{name}: {error}"))
    }

    /// Index files of one generation agree.
    fn one_generation(&mut self, files: &BTreeMap<String, Vec<u8>>) -> Result<(), String> {
        let repodata = files.iter().filter(|(path, _)| path.ends_with(REPODATA));
        for (path, text) in repodata {
            for end in [".zst", ".bz2"] {
                let twin = files.get(&format!("{path}{end}"));
                if let Some(twin) =
                    twin.filter(|twin| plain(end, twin.to_vec()).as_ref() != Ok(text))
                {
                    let bytes = twin.len();
                    return Err(format!(
                        "{path}{end}, {bytes} bytes, is of another generation"
                    ));
                }
            }
        }
        for (path, text) in files {
            let (subdir, name) = path.split_once('/').unwrap_or(("", path));
            if name == REPODATA {
                let json: Value =
                    serde_json::from_slice(text).map_err(|e| format!("{path}: {e}"))?;
                self.index(subdir, &format!("{SIGNED}: {path}"), &json);
                if let Some(index) = files.get(&format!("{subdir}/{SHARD_INDEX}")) {
                    self.same_records(subdir, &json, index)?;
                }
            }
        }
        Ok(())
    }

    /// Shards have the records of the index beside them.
    fn same_records(&self, subdir: &str, index: &Value, shards: &[u8]) -> Result<(), String> {
        let shards = msgpack::try_value(shards)?;
        let mut found = BTreeMap::new();
        for hash in shards["shards"].as_object().into_iter().flatten() {
            let shard = self.shard(subdir, hash.1.as_str().unwrap_or_default())?;
            found.extend(records_of(&shard));
        }
        for record in found.values_mut().filter_map(Value::as_object_mut) {
            record.remove("run_exports");
        }
        match found == records_of(index) {
            true => Ok(()),
            false => Err(format!("{subdir}: shards and {REPODATA} differ")),
        }
    }

    /// Once a channel is at rest its files are of one generation.
    fn agreement(&mut self) {
        for subdir in subdirs(self.channel) {
            for name in INDEXES.into_iter().chain([RUN_EXPORTS]) {
                let twins = self.twins(&subdir, name);
                let differs = |pair: &[(String, Value)]| pair[0].1 != pair[1].1;
                if twins.windows(2).any(differs) {
                    self.wrong(&format!("{subdir}/{name}"), "differs from a twin");
                }
            }
            let repodata = self.twins(&subdir, REPODATA).into_iter().next();
            let shards = self.file(&format!("{subdir}/{SHARD_INDEX}"));
            if let (Some((path, index)), Some(shards)) = (&repodata, shards)
                && let Err(why) = self.same_records(&subdir, index, &shards)
            {
                self.wrong(path, why);
            }
            let run_exports = self.twins(&subdir, RUN_EXPORTS).into_iter().next();
            if let (Some((_, index)), Some((path, run_exports))) = (&repodata, run_exports) {
                let told = records_of(&run_exports);
                // Patches take packages out of the index alone.
                if let Some(name) = records_of(index)
                    .keys()
                    .find(|name| !told.contains_key(*name))
                {
                    self.wrong(&path, format_args!("lacks {name}"));
                }
            }
        }
        for left in leftovers(self.channel) {
            self.wrong(&left.display().to_string(), "is a temporary file");
        }
    }
}

/// Temporary files that nobody has taken away.
pub fn leftovers(channel: &Path) -> Vec<PathBuf> {
    let all = walkdir::WalkDir::new(channel).into_iter().flatten();
    let is_temporary = |path: &PathBuf| path.extension().is_some_and(|end| end == "tmp");
    let paths = all.map(walkdir::DirEntry::into_path);
    paths.filter(is_temporary).collect()
}

/// Decompresses a twin, by the end of its name.
fn plain(end: &str, bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    let said = |error: std::io::Error| format!("can't be decompressed: {error}");
    match end {
        ".zst" => zstd::decode_all(bytes.as_slice()).map_err(said),
        ".bz2" => {
            let mut plain = Vec::new();
            let mut decoder = bzip2::read::MultiBzDecoder::new(bytes.as_slice());
            decoder.read_to_end(&mut plain).map_err(said)?;
            Ok(plain)
        }
        _ => Ok(bytes),
    }
}

fn version(metadata: &Value, of: &str) -> Result<u64, String> {
    let version = metadata["signed"]["meta"][of]["version"].as_u64();
    version.ok_or_else(|| format!("no version of {of} is named"))
}

fn by_hash(target: &str, hash: &str) -> String {
    match target.rsplit_once('/') {
        Some((folder, name)) => format!("{SIGNED}/targets/{folder}/{hash}.{name}"),
        None => format!("{SIGNED}/targets/{hash}.{target}"),
    }
}

fn bytes_of(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("can't be read: {error}"))
}

/// The SHA-256 in lower-case hex.
pub fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2).map(std::str::from_utf8);
    pairs
        .map(|pair| u8::from_str_radix(pair.ok()?, 16).ok())
        .collect()
}
