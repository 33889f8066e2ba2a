//! One subdir's index files, held against each other. Owns what they have to say alike, and what they list; must not
//! look at a package's file.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use rayon::prelude::*;
use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::head::Head;
use super::index_files::IndexFiles;
use super::packages::Expected;
use super::said::{Noted, Said};
use super::trust::Trust;
use super::{Context, What, shards};
use crate::channel::SubdirName;
use crate::json::{self, Json, Object};
use crate::package::Format;
use crate::record::may_name;
use crate::repodata::run_exports::{self, RUN_EXPORTS};
use crate::repodata::shards::SHARD_INDEX;
use crate::repodata::{
    CURRENT_REPODATA, Published, PublishedRecord, REPODATA, REPODATA_FROM_PACKAGES, stale_files,
};
use crate::upstream;

/// What an index says beside its records.
#[derive(serde::Deserialize)]
struct Top<'a> {
    #[serde(borrow, default)]
    info: Option<&'a RawValue>,
    #[serde(default)]
    removed: Option<Removed>,
    /// What some tools add, and no index of ours has.
    #[serde(borrow, default, rename = "packages.whl")]
    wheels: Option<&'a RawValue>,
}

/// The packages that an index names as removed. What is no name of a package is passed over: of nothing at all a file can
/// hold far more than fits in memory.
struct Removed(Vec<String>);

impl<'de> Deserialize<'de> for Removed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Removed;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of file names")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Removed, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = list.next_element::<String>()? {
                    if Format::of(&name).is_some() {
                        names.push(name);
                    }
                }
                Ok(Removed(names))
            }
        }
        deserializer.deserialize_seq(Collect)
    }
}

/// The first index file of a subdir, and what it says of itself: all others have to say the same.
type Leader = Option<(&'static str, Head)>;

/// What a subdir lists.
#[derive(Debug, Default)]
pub(super) struct Listed {
    /// The packages.
    pub packages: Vec<Expected>,
    /// Where they are served, when that is not beside the index.
    pub elsewhere: Option<String>,
    /// Whether there is an index at all.
    pub is_there: bool,
}

/// A subdir being audited.
pub(super) struct Subdir<'a> {
    pub files: &'a IndexFiles<'a>,
    pub trust: &'a Trust<'a>,
    pub name: &'a str,
}

impl Subdir<'_> {
    /// Holds the index files against each other; what they list.
    pub fn audit(&self) -> Listed {
        let text = self.files.with_twins(&self.path(REPODATA));
        let served = text.as_deref().and_then(|text| self.parse(REPODATA, text));
        let before_text = self.files.with_twins(&self.path(REPODATA_FROM_PACKAGES));
        let before = before_text
            .as_deref()
            .and_then(|text| self.parse(REPODATA_FROM_PACKAGES, text));
        let mut leader = None;
        let removed = self.top(REPODATA, text.as_deref(), &mut leader);
        self.top(REPODATA_FROM_PACKAGES, before_text.as_deref(), &mut leader);
        if let (Some(served), Some(before)) = (&served, &before) {
            self.hold_patches(served, before, &removed);
        }
        let sharded = self.sharded(served.as_ref(), &mut leader);
        let is_there = served.is_some() || sharded.is_some();
        let all = [&served, &before, &sharded];
        self.hold_kin(&all, &removed, &mut leader);
        self.files.read(&self.path("index.html"));
        self.hold_strangers();
        let mut records: HashMap<&str, &PublishedRecord<'_>> = HashMap::new();
        for published in all.into_iter().flatten() {
            for (name, record) in &published.records {
                records.entry(name).or_insert(record);
            }
        }
        Listed {
            packages: self.expected(records),
            elsewhere: leader.and_then(|(_, head)| head.elsewhere().map(str::to_owned)),
            is_there,
        }
    }

    fn path(&self, file: &str) -> String {
        format!("{}/{file}", self.name)
    }

    fn parse<'t>(&self, file: &str, text: &'t [u8]) -> Option<Published<'t>> {
        let path = self.path(file);
        match Published::parse(&path, text) {
            Ok(published) => Some(published),
            Err(error) => {
                let why = error.to_string();
                let why = why.strip_prefix(&format!("{path}: ")).unwrap_or(&why);
                self.files.context.findings.error(What::Index, &path, why);
                None
            }
        }
    }

    /// Holds what an index file says of itself; the packages that it names as removed.
    fn top(&self, file: &'static str, text: Option<&[u8]>, leader: &mut Leader) -> Vec<String> {
        let Some(text) = text else {
            return Vec::new();
        };
        let read = || {
            let top: Top<'_> = serde_json::from_slice(text).map_err(|error| error.to_string())?;
            let info = top.info.map(|raw| json::parse_small(raw.get().as_bytes()));
            let head = match info.transpose().map_err(|error| error.to_string())? {
                None => self.head(Object::new())?,
                Some(Json::Object(info)) => self.head(info)?,
                Some(_) => return Err("its info is no object".to_owned()),
            };
            let wheels = top.wheels.is_some_and(|wheels| wheels.get() != "{}");
            Ok((
                head,
                top.removed.map_or(Vec::new(), |removed| removed.0),
                wheels,
            ))
        };
        match read() {
            Ok((head, removed, wheels)) => {
                self.hold_head(file, head, leader);
                if wheels {
                    let why = "it lists wheels, which can't be checked; some clients read them";
                    let findings = self.files.context.findings;
                    findings.error(What::Index, &self.path(file), why);
                }
                removed
            }
            Err(why) => {
                let why = format!("what it says of itself can't be read: {why}");
                let findings = self.files.context.findings;
                findings.error(What::Index, &self.path(file), why);
                Vec::new()
            }
        }
    }

    fn head(&self, info: Object) -> Result<Head, String> {
        let channel = self.files.context.place.name();
        let home = upstream::is_url(channel)
            .then(|| format!("{}/{}", channel.trim_end_matches('/'), self.name));
        Head::of(info, home.as_deref())
    }

    /// An index of another subdir is not this one's; and whichever of them a client reads, it is led to the same place.
    fn hold_head(&self, file: &'static str, head: Head, leader: &mut Leader) {
        let fault = |why: String| {
            let findings = self.files.context.findings;
            findings.invalid(What::Record, &self.path(file), why);
        };
        if let Some(subdir) = head.of_another(self.name) {
            fault(format!("it says that it is the index of {subdir}"));
        }
        match leader {
            None => *leader = Some((file, head)),
            Some((first, leader)) => {
                if let Some(key) = head.led_astray(leader) {
                    fault(format!(
                        "its {key} is another than that of {first}: clients that read this one are led elsewhere"
                    ));
                }
            }
        }
    }

    /// Patches change what records say, and take records away; they never change a file, nor add one.
    fn hold_patches(&self, served: &Published<'_>, before: &Published<'_>, removed: &[String]) {
        let fault = |name: &str, why: String| {
            let findings = self.files.context.findings;
            findings.invalid(What::Record, &self.path(name), why);
        };
        for (name, record) in &served.records {
            match before.records.get(name) {
                None => fault(
                    name,
                    format!("{REPODATA} lists it, and {REPODATA_FROM_PACKAGES} does not"),
                ),
                Some(other) if other.sha256 != record.sha256 => fault(
                    name,
                    format!("{REPODATA} and {REPODATA_FROM_PACKAGES} list it with another SHA-256"),
                ),
                Some(_) => {}
            }
        }
        let removed: BTreeSet<&str> = removed.iter().map(String::as_str).collect();
        for name in before.records.keys() {
            if !served.records.contains_key(name) && !removed.contains(name.as_str()) {
                fault(
                    name,
                    format!(
                        "{REPODATA_FROM_PACKAGES} lists it, and {REPODATA} neither lists it nor names it as removed"
                    ),
                );
            }
        }
    }

    fn sharded(
        &self,
        served: Option<&Published<'_>>,
        leader: &mut Leader,
    ) -> Option<Published<'static>> {
        let path = self.path(SHARD_INDEX);
        let bytes = self.files.read(&path)?;
        let shards = shards::Shards {
            context: self.files.context,
            subdir: self.name,
            served,
            room: shards::Room::default(),
        };
        let sharded = shards.audit(&path, &bytes)?;
        match self.head(sharded.info) {
            Ok(head) => self.hold_head(SHARD_INDEX, head, leader),
            Err(why) => {
                let findings = self.files.context.findings;
                findings.error(What::Shard, &path, why);
            }
        }
        sharded.listed
    }

    /// Index files that some clients read, and that are not checked here.
    fn hold_strangers(&self) {
        let Context {
            place, findings, ..
        } = self.files.context;
        let Some(subdir) = SubdirName::chosen(self.name) else {
            return;
        };
        let untold = RefCell::new(None);
        let is_there = |name: &str| {
            let path = subdir.path_of(name);
            place.is_there(&path).unwrap_or_else(|why| {
                untold.borrow_mut().get_or_insert((path, why));
                false
            })
        };
        let strangers: Vec<String> = stale_files(&subdir, is_there).collect();
        if let Some((path, why)) = untold.take() {
            findings.error(
                What::Index,
                &path,
                format!("whether it is there can't be told: {why}"),
            );
        }
        for path in strangers {
            let why = "another indexer's: some clients read it, and it can't be checked; remove it";
            findings.error(What::Index, &path, why);
        }
    }

    /// Files beside the index name no package that it does not.
    fn hold_kin(&self, all: &[&Option<Published<'_>>], removed: &[String], leader: &mut Leader) {
        let findings = self.files.context.findings;
        let all = || all.iter().filter_map(|one| one.as_ref());
        let listed = |name: &str| {
            all().any(|one| one.records.contains_key(name))
                || removed.iter().any(|other| other == name)
        };
        let path = self.path(RUN_EXPORTS);
        if let Some(text) = self.files.with_twins(&path) {
            match run_exports::read(&text) {
                None => findings.error(What::Index, &path, "it is no such file"),
                Some(entries) => {
                    for name in entries.keys().filter(|name| !listed(name)) {
                        let why = format!("{RUN_EXPORTS} names it, and the index does not list it");
                        findings.invalid(What::Record, &self.path(name), why);
                    }
                }
            }
        }
        let Some(text) = self.files.with_twins(&self.path(CURRENT_REPODATA)) else {
            return;
        };
        let Some(current) = self.parse(CURRENT_REPODATA, &text) else {
            return;
        };
        self.top(CURRENT_REPODATA, Some(&text), leader);
        for (name, record) in &current.records {
            let same = all().any(|one| {
                let other = one.records.get(name);
                other.is_some_and(|other| other.sha256 == record.sha256)
            });
            if !same {
                let why = format!(
                    "{CURRENT_REPODATA} lists it, and {REPODATA} does not, or with another SHA-256"
                );
                findings.invalid(What::Record, &self.path(name), why);
            }
        }
    }

    /// What each record says of its package, with the signatures that stand in records checked.
    fn expected(&self, records: HashMap<&str, &PublishedRecord<'_>>) -> Vec<Expected> {
        let records: BTreeMap<&str, &PublishedRecord<'_>> = records.into_iter().collect();
        let all: Vec<_> = records.into_iter().collect();
        let one = |(name, record): &(&str, &PublishedRecord<'_>)| self.one(name, record);
        self.files
            .context
            .tools
            .pool
            .install(|| all.par_iter().filter_map(one).collect())
    }

    fn one(&self, name: &str, record: &PublishedRecord<'_>) -> Option<Expected> {
        let findings = self.files.context.findings;
        let path = self.path(name);
        let fault = |why: &str| findings.error(What::Record, &path, why);
        if Format::of(name).is_none() || !may_name(name) {
            fault("the index lists it, and its name is not that of a package");
            return None;
        }
        let Some(said) = Said::of(&record.text) else {
            fault("its record is no JSON object");
            return None;
        };
        let Some(sha256) = said.sha256.filter(|_| record.sha256.is_some()) else {
            fault("the index lists it without a SHA-256, or twice with different ones");
            return None;
        };
        let signature = match said.signature {
            Noted::Broken(why) => {
                findings.error(What::Record, &path, why);
                None
            }
            Noted::Here(signature, fingerprint) => {
                let known = self.trust.key(&signature.key);
                let known = known.map(crate::keys::PublicKey::fingerprint);
                if known.is_some() && fingerprint.is_some() && known != fingerprint {
                    let why = format!(
                        "its record names another key as {} than the one that is known by this name",
                        signature.key
                    );
                    findings.invalid(What::Record, &path, why);
                }
                Some(signature)
            }
            Noted::Nothing | Noted::Beside(_) => None,
        };
        Some(Expected {
            path,
            sha256,
            md5: said.md5,
            size: said.size,
            attestations: said.attestations,
            noted: signature.map(|signature| self.trust.note(&signature, &sha256)),
        })
    }
}
