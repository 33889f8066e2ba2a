//! THE AUDIT: is a whole channel what its index says, and is the index what its keys vouch for? And is what was
//! installed from it the same? Owns the order of the steps; reads all of every file, never asks the cache, and
//! writes nothing.

mod chain;
mod digesting;
mod finding;
mod head;
mod index_files;
mod installed;
mod listing;
mod packages;
mod place;
mod prefix;
mod said;
mod sample;
mod shards;
mod subdir;
mod trust;
mod vouching;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::Ordering;

pub use chain::Signed;
pub use finding::{Count, Counts, Finding, Findings, Keep, Verdict, What};
pub use place::{Place, is_channel};
pub use prefix::{PrefixAudit, PrefixRequest, audit_prefix};
pub use sample::Sample;

use crate::channel::SubdirName;
use crate::error::Error;
use crate::keys::{Fingerprint, KeyName, Keyring};
use crate::repodata::{CHANNELDATA, RSS};
use crate::verify::Tools;
use chain::Chain;
use index_files::IndexFiles;
use listing::Listing;
use packages::{Expected, Judge, Task};
use subdir::Subdir;
use trust::{Keys, Trust};
use vouching::Vouching;

/// Which keys a channel is held against.
#[derive(Debug, Clone, Default)]
pub enum Anchor {
    /// All in the keys folder.
    #[default]
    Folder,
    /// These, which the user chose for this channel.
    Chosen(Vec<(KeyName, Fingerprint)>),
}

/// What is to be audited, and how.
#[derive(Debug)]
pub struct Request {
    /// The keys that the channel is held against.
    pub anchor: Anchor,
    /// The subdirs; all where there are none.
    pub subdirs: Vec<SubdirName>,
    /// Whether all packages are read, or some.
    pub sample: Option<Sample>,
    /// What is kept of what was found.
    pub keep: Keep,
}

/// What came out for one channel.
#[derive(Debug)]
pub struct Audit {
    /// The channel, as people write it.
    pub channel: String,
    /// What the signed index vouches for, where it holds.
    pub signed: Option<Signed>,
    /// The subdirs that were looked into.
    pub subdirs: Vec<String>,
    /// What was found, by file.
    pub findings: Vec<Finding>,
    /// How often which check came out how.
    pub counts: Counts,
    /// How many packages there are, by the index and by the listing.
    pub packages: u64,
    /// How many of them were read.
    pub read: u64,
    /// How they were chosen.
    pub sample: Option<Sample>,
    /// What this audit does not show.
    pub notes: Vec<String>,
}

impl Audit {
    /// Whether everything that was checked holds.
    pub fn is_valid(&self) -> bool {
        let mut counts = self.counts.values();
        counts.all(|count| count.invalid == 0 && count.error == 0)
    }
}

/// What the parts of an audit work with.
#[derive(Clone, Copy)]
struct Context<'a> {
    place: &'a Place,
    tools: &'a Tools<'a>,
    findings: &'a Findings,
}

/// Audits a channel.
///
/// # Errors
/// Only when the run was interrupted: everything else is a finding.
pub fn audit(place: &Place, request: &Request, tools: &Tools<'_>) -> Result<Audit, Error> {
    let findings = Findings::new(request.keep);
    let context = Context {
        place,
        tools,
        findings: &findings,
    };
    let mut notes = Vec::new();
    if let Err(error) = place.demand_listing() {
        let why = format!("what lies there can't be listed: {error}");
        findings.error(What::Listing, place.name(), why);
    }
    let chain = Chain::load(context, request, &mut notes);
    let files = IndexFiles::new(context, chain.targets.as_ref());
    let trust = trust_of(&files, &chain, request);
    let (listed, elsewhere) = hold_index(&files, &trust, &chain, request)?;
    let mut tasks = Listing {
        context,
        subdirs: &listed,
        in_part: !request.subdirs.is_empty(),
    }
    .loose();
    let subdirs = listed.keys().cloned().collect();
    for (subdir, packages) in listed {
        match elsewhere.get(&subdir) {
            Some(url) => tasks.extend(at_hand(context, &subdir, url, packages)),
            None => tasks.extend(packages.into_iter().map(Task::Listed)),
        }
    }
    let packages = u64::try_from(tasks.len()).unwrap_or(u64::MAX);
    let judge = Judge {
        context,
        trust: &trust,
    };
    let read = judge.all(tasks, request.sample)?;
    Vouching {
        chain: &chain,
        request,
        judge: &judge,
    }
    .demand_all();
    if !place.can_be_listed() {
        notes.push("a URL can't be listed: files that no index names, and signatures without their package, are not seen; verify the channel's folder for those".to_owned());
    }
    let (findings, counts) = findings.finish();
    Ok(Audit {
        channel: place.name().to_owned(),
        signed: chain.signed,
        subdirs,
        findings,
        counts,
        packages,
        read,
        sample: request.sample,
        notes,
    })
}

/// What each subdir lists, and where packages are served when that is not beside the index.
type Held = (BTreeMap<String, Vec<Expected>>, BTreeMap<String, String>);

/// Holds every index file: against what is signed, and against the others.
fn hold_index(
    files: &IndexFiles<'_>,
    trust: &Trust<'_>,
    chain: &Chain,
    request: &Request,
) -> Result<Held, Error> {
    let Context {
        place,
        tools,
        findings,
    } = files.context;
    let (mut listed, mut elsewhere) = (BTreeMap::new(), BTreeMap::new());
    for name in place.subdirs(&request.subdirs, &vouched_subdirs(chain)) {
        if tools.cancelled.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let subdir = Subdir {
            files,
            trust,
            name: &name,
        };
        let found = subdir.audit();
        if !found.is_there {
            let why = "there is no index that can be believed; index the channel";
            findings.error(What::Index, &name, why);
        }
        if let Some(url) = found.elsewhere {
            elsewhere.insert(name.clone(), url);
        }
        listed.insert(name, found.packages);
    }
    if request.subdirs.is_empty() {
        files.with_twins(CHANNELDATA);
        files.read(RSS);
        files.read("index.html");
        files.read_rest();
    }
    Ok((listed, elsewhere))
}

/// The subdirs whose index files are signed.
fn vouched_subdirs(chain: &Chain) -> BTreeSet<String> {
    let targets = chain.targets.iter().flatten();
    let folders = targets.filter_map(|(path, _)| path.split_once('/'));
    let folders = folders.filter(|(folder, _)| *folder != "keys");
    folders.map(|(folder, _)| folder.to_owned()).collect()
}

/// Whose package signatures count: where the index is signed, those of the keys that it names.
fn trust_of<'a>(files: &IndexFiles<'a>, chain: &Chain, request: &Request) -> Trust<'a> {
    let folder = files.context.tools.keyring;
    let keys = match (&chain.targets, &request.anchor) {
        (Some(targets), _) => Keys::Signed(chain.package_keys(files, targets)),
        (None, Anchor::Folder) => Keys::Folder(folder),
        (None, Anchor::Chosen(chosen)) => {
            let mut ring = Keyring::default();
            for (_, fingerprint) in chosen {
                if let Some(key) = folder.by_fingerprint(fingerprint) {
                    // Another key of this name can't be there: they come from one folder.
                    let _ = ring.insert(key.clone());
                }
            }
            Keys::Chosen(ring)
        }
    };
    Trust {
        keys,
        min_bits: files.context.tools.min_bits,
        roles: chain.roles.clone(),
        uses: folder.uses(),
        vouched: Mutex::default(),
    }
}

/// Of packages that are served elsewhere, those that lie here all the same; the others can't be looked at.
fn at_hand(
    context: Context<'_>,
    subdir: &str,
    url: &str,
    packages: Vec<Expected>,
) -> impl Iterator<Item = Task> {
    let names = listing::names_in(context, subdir).unwrap_or_default();
    let prefix = format!("{subdir}/");
    let (here, gone): (Vec<_>, Vec<_>) = packages.into_iter().partition(|expected| {
        let name = expected.path.strip_prefix(&prefix);
        name.is_some_and(|name| names.contains(name))
    });
    if !gone.is_empty() {
        let why = format!(
            "{} packages are served at {url}, which is not looked at; verify them there",
            gone.len()
        );
        context.findings.error(What::Package, subdir, why);
    }
    here.into_iter().map(Task::Listed)
}
