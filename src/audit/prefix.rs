//! An environment, held against the signed index of the channels that its packages came from. Owns the order of the
//! steps, and what of an installed package has to be as the index says; must not know how a channel is verified.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::chain::Chain;
use super::index_files::IndexFiles;
use super::installed::Installed;
use super::packages::Judge;
use super::said::Said;
use super::vouching::Vouching;
use super::{Anchor, Audit, Context, Counts, Finding, Findings, Keep, Place, Request, What};
use super::{shards, trust_of};
use crate::channel::SubdirName;
use crate::error::Error;
use crate::package::{self, PackageError, ReadOptions};
use crate::record::hex;
use crate::repodata::{Published, REPODATA, shards::SHARD_INDEX};
use crate::shown::shown;
use crate::sidecar;
use crate::storage::{Kind, Links, LocalStorage, Storage as _};
use crate::upstream::{self, StoredUpstream};
use crate::verify::Tools;

/// The folder in which an environment remembers its packages.
const META: &str = "conda-meta";

/// The largest file that is read there, in bytes: each lists the files of one package.
const MAX_META: u64 = 64 << 20;

/// What is to be audited, and how.
pub struct PrefixRequest<'a> {
    /// The channel that all packages are held against; else each against the one that it names.
    pub channel: Option<String>,
    /// The keys that a channel is held against.
    pub anchor: &'a dyn Fn(&str) -> Result<Anchor, Error>,
    /// What is kept of what was found.
    pub keep: Keep,
}

/// What came out for an environment.
#[derive(Debug)]
pub struct PrefixAudit {
    /// The environment's folder.
    pub prefix: String,
    /// How many packages are installed in it.
    pub installed: u64,
    /// What was found of them, by the files of `conda-meta`.
    pub findings: Vec<Finding>,
    /// How often which check came out how.
    pub counts: Counts,
    /// The channels that they were held against, with what was found there.
    pub channels: Vec<Audit>,
}

impl PrefixAudit {
    /// Whether everything that was checked holds.
    pub fn is_valid(&self) -> bool {
        let mut counts = self.counts.values();
        counts.all(|count| count.invalid == 0 && count.error == 0)
            && self.channels.iter().all(Audit::is_valid)
    }
}

/// Audits an environment.
///
/// # Errors
/// When the folder is none, or the run was interrupted: everything else is a finding.
pub fn audit_prefix(
    prefix: &Path,
    request: &PrefixRequest<'_>,
    tools: &Tools<'_>,
) -> Result<PrefixAudit, Error> {
    let findings = Findings::new(request.keep);
    let all = installed(prefix, &findings)?;
    let count = u64::try_from(all.len()).unwrap_or(u64::MAX);
    tools.progress.start(count, 0);
    let mut channels = Vec::new();
    for (channel, packages) in by_channel(all, request, &findings) {
        match open(&channel, request) {
            Ok((place, anchor)) => {
                let audit = hold(&place, anchor, &packages, request, (&findings, tools))?;
                channels.push(audit);
            }
            Err(error) => {
                for one in packages {
                    let why = format!("its channel can't be asked: {error}");
                    findings.error(What::Installed, &one.file, why);
                }
            }
        }
    }
    tools.progress.finish();
    let (findings, counts) = findings.finish();
    Ok(PrefixAudit {
        prefix: shown(prefix),
        installed: count,
        findings,
        counts,
        channels,
    })
}

fn open(channel: &str, request: &PrefixRequest<'_>) -> Result<(Place, Anchor), Error> {
    Ok((Place::open(channel)?, (request.anchor)(channel)?))
}

/// What is installed, by what `conda-meta` says.
fn installed(prefix: &Path, findings: &Findings) -> Result<Vec<Installed>, Error> {
    let storage = LocalStorage::open(prefix)?;
    let items = storage.list(META)?;
    let folder = StoredUpstream::new(shown(prefix), Arc::new(storage));
    let mut found = Vec::new();
    for item in items.iter().filter(|item| item.kind != Kind::Folder) {
        let Some(name) = item.name.to_str() else {
            let name = shown(&item.name);
            let file = format!("{META}/{name}");
            findings.error(What::Installed, &file, "its name is not UTF-8");
            continue;
        };
        let file = format!("{META}/{name}");
        let is_package = name.ends_with(".json") && !name.starts_with('.');
        if !is_package && name != "history" {
            continue;
        }
        match upstream::fetch(&folder, &file, MAX_META) {
            Ok(Some(bytes)) if is_package => match Installed::read(&file, &bytes) {
                Ok(one) => found.push(one),
                Err(why) => findings.error(What::Installed, &file, why),
            },
            Ok(Some(bytes)) if std::str::from_utf8(&bytes).is_ok() => {}
            Ok(Some(_)) => findings.error(What::Installed, &file, "it is not text in UTF-8"),
            Ok(None) => findings.error(What::Installed, &file, "it is no file"),
            Err(error) => findings.error(What::Installed, &file, error.fault.to_string()),
        }
    }
    Ok(found)
}

fn by_channel(
    all: Vec<Installed>,
    request: &PrefixRequest<'_>,
    findings: &Findings,
) -> BTreeMap<String, Vec<Installed>> {
    let mut channels: BTreeMap<String, Vec<Installed>> = BTreeMap::new();
    for one in all {
        let named = one.origin.as_ref().map(|(channel, _)| channel);
        match request.channel.as_ref().or(named) {
            Some(channel) => channels.entry(channel.clone()).or_default().push(one),
            None => findings.error(
                What::Installed,
                &one.file,
                "it names no channel: made by hand, or installed from a file; say which with --channel",
            ),
        }
    }
    channels
}

/// Holds the packages of one channel against its index.
fn hold(
    place: &Place,
    anchor: Anchor,
    packages: &[Installed],
    request: &PrefixRequest<'_>,
    (installed, tools): (&Findings, &Tools<'_>),
) -> Result<Audit, Error> {
    let findings = Findings::new(request.keep);
    let context = Context {
        place,
        tools,
        findings: &findings,
    };
    let whole = Request {
        anchor,
        subdirs: Vec::new(),
        sample: None,
        keep: request.keep,
    };
    let mut notes = Vec::new();
    let chain = Chain::load(context, &whole, &mut notes);
    let files = IndexFiles::new(context, chain.targets.as_ref());
    let trust = trust_of(&files, &chain, &whole);
    let judge = Judge {
        context,
        trust: &trust,
    };
    let mut subdirs: BTreeMap<&str, Vec<&Installed>> = BTreeMap::new();
    for one in packages {
        match one.origin.as_ref().map(|(_, subdir)| subdir.as_str()) {
            Some(subdir) if SubdirName::chosen(subdir).is_some() => {
                subdirs.entry(subdir).or_default().push(one);
            }
            _ => installed.error(
                What::Installed,
                &one.file,
                "it does not say of which subdir it is",
            ),
        }
    }
    for (subdir, packages) in &subdirs {
        let text = files.read(&format!("{subdir}/{REPODATA}"));
        let index = Index::of(&files, subdir, text.as_deref());
        for one in packages {
            if tools.cancelled.load(std::sync::atomic::Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            hold_one(one, &index, &judge, installed)?;
            tools.progress.package();
        }
    }
    Vouching {
        chain: &chain,
        request: &whole,
        judge: &judge,
    }
    .demand_all();
    let subdirs = subdirs.into_keys().map(str::to_owned).collect();
    let (findings, counts) = findings.finish();
    Ok(Audit {
        channel: place.name().to_owned(),
        signed: chain.signed,
        subdirs,
        findings,
        counts,
        packages: u64::try_from(packages.len()).unwrap_or(u64::MAX),
        read: 0,
        sample: None,
        notes,
    })
}

/// What a subdir lists.
struct Index<'a> {
    subdir: &'a str,
    listed: Option<Published<'a>>,
}

impl<'a> Index<'a> {
    fn of(files: &IndexFiles<'_>, subdir: &'a str, text: Option<&'a [u8]>) -> Index<'a> {
        let findings = files.context.findings;
        let listed = match text {
            Some(text) => {
                let path = format!("{subdir}/{REPODATA}");
                let parsed = Published::parse(&path, text);
                let report = |error: &Error| findings.error(What::Index, &path, error.to_string());
                parsed.inspect_err(report).ok()
            }
            None => {
                let path = format!("{subdir}/{SHARD_INDEX}");
                files.read(&path).and_then(|bytes| {
                    let shards = shards::Shards {
                        context: files.context,
                        subdir,
                        served: None,
                        room: shards::Room::default(),
                    };
                    shards.audit(&path, &bytes)?.listed
                })
            }
        };
        if listed.is_none() {
            let why = "there is no index that can be believed";
            findings.error(What::Index, subdir, why);
        }
        Index { subdir, listed }
    }
}

fn hold_one(
    one: &Installed,
    index: &Index<'_>,
    judge: &Judge<'_>,
    findings: &Findings,
) -> Result<(), Error> {
    let name = judge.context.place.name();
    let Some(listed) = &index.listed else {
        let why = format!(
            "the index of {name} can't be believed; for a package that came through a gate, name its channel with --channel"
        );
        findings.error(What::Installed, &one.file, why);
        return Ok(());
    };
    let record = listed.records.get(&one.package);
    let Some(said) = record.and_then(|record| Said::of(&record.text)) else {
        let why = format!(
            "the index of {name} does not list {}/{}",
            index.subdir, one.package
        );
        findings.error(What::Installed, &one.file, why);
        return Ok(());
    };
    let mut wrong = contradictions(one, &said);
    let Some(sha256) = said.sha256 else {
        findings.error(
            What::Installed,
            &one.file,
            "the index tells no SHA-256 of it",
        );
        return Ok(());
    };
    if let Some(why) = tarball(one, &sha256, judge.context.tools)? {
        wrong.push(why);
    }
    for why in &wrong {
        findings.invalid(What::Installed, &one.file, why);
    }
    if one.sha256.is_none() {
        findings.error(
            What::Installed,
            &one.file,
            "no SHA-256 was written down when it was installed, and MD5 proves nothing; install it anew",
        );
    } else if wrong.is_empty() {
        findings.valid(What::Installed, &one.file);
    }
    let path = format!("{}/{}", index.subdir, one.package);
    let verdict = judge.by_digest(&path, said.signature, &sha256);
    findings.add(What::Signature, &one.file, verdict);
    Ok(())
}

/// How what is installed differs from what the index says.
fn contradictions(one: &Installed, said: &Said) -> Vec<String> {
    let mut wrong = Vec::new();
    for (key, (here, there)) in ["name", "version", "build"]
        .iter()
        .zip(one.identity.iter().zip(&said.identity))
    {
        if here != there {
            let shown = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
            let (here, there) = (shown(here), shown(there));
            wrong.push(format!("its {key} is {here}, and the index says {there}"));
        }
    }
    if let (Some(here), Some(there)) = (&one.sha256, &said.sha256)
        && here != there
    {
        let (here, there) = (hex(here), hex(there));
        wrong.push(format!("its SHA-256 is {here}, and the index says {there}"));
    }
    if matches!((&one.md5, &said.md5), (Some(here), Some(there)) if here != there) {
        wrong.push("its MD5 is not that of the index".to_owned());
    }
    if matches!((one.size, said.size), (Some(here), Some(there)) if here != there) {
        wrong.push("its size is not that of the index".to_owned());
    }
    let none = Vec::new();
    let constrains = one.constrains.as_ref();
    for (key, here, there) in [
        ("depends", &one.depends, &said.depends),
        (
            "constrains",
            constrains.unwrap_or(&none),
            constrains.map_or(&none, |_| &said.constrains),
        ),
    ] {
        wrong.extend(changed(key, here, there));
    }
    wrong
}

/// How two lists differ, in whatever order they stand.
fn changed(key: &str, here: &[String], there: &[String]) -> Option<String> {
    let only = |a: &[String], b: &[String]| {
        let only: Vec<String> = a.iter().filter(|it| !b.contains(it)).cloned().collect();
        only.join("\", \"")
    };
    let (more, less) = (only(here, there), only(there, here));
    match (more.as_str(), less.as_str()) {
        ("", "") => None,
        (more, "") => Some(format!(
            "its {key} has \"{more}\", which the index does not say"
        )),
        ("", less) => Some(format!("its {key} lacks \"{less}\", which the index says")),
        (more, less) => Some(format!(
            "its {key} has \"{more}\", where the index says \"{less}\""
        )),
    }
}

/// The package's own file, where it is still there, is what the index lists.
fn tarball(one: &Installed, sha256: &[u8; 32], tools: &Tools<'_>) -> Result<Option<String>, Error> {
    let Some(path) = &one.tarball else {
        return Ok(None);
    };
    let shown = shown(path);
    let opened = sidecar::place_of(path).and_then(|(storage, name)| {
        let opened = storage.open(&name, Links::Follow);
        opened.map_err(|error| error.to_string())
    });
    // Caches are emptied; then the digest that was written down has to do.
    let Ok((file, _)) = opened else {
        return Ok(None);
    };
    let options = ReadOptions {
        check_archives: false,
        cancelled: tools.cancelled,
        progress: &|count| tools.progress.bytes(count),
    };
    match package::digest(&file, &options) {
        Ok(digests) if digests.sha256 == *sha256 => Ok(None),
        Ok(digests) => Ok(Some(format!(
            "its file {shown} has the SHA-256 {}, and the index says {}",
            hex(&digests.sha256),
            hex(sha256)
        ))),
        Err(PackageError::Cancelled) => Err(Error::Interrupted),
        Err(error) => Ok(Some(format!("its file {shown} can't be read: {error}"))),
    }
}
