//! What each channel behind the gate has to show, from a policy file (TOML) and from flags. Owns the names of
//! channels, which of several words wins, and the errors for words that don't fit; must not know what is done with
//! them.

mod file;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

pub use file::PolicyFile;

pub use super::channel::Require;
use crate::error::Error;
use crate::keys::{Fingerprint, KeyName, Keyring, PublicKey, Uses};
use crate::shown::told;
use crate::upstream::{is_meant_as_url, without_secrets};

/// How long an index is served before it is asked for again, unless something else is said.
pub const FRESH: Duration = Duration::from_secs(10);

/// The most seconds that can be said for it.
pub const MOST_FRESH: u32 = 86_400;

/// The smallest package key that counts, in bits, unless something else is said.
pub const MIN_BITS: u32 = crate::keys::DEFAULT_KEY_BITS;

/// Names that mean something else in the gate's paths or in the words of `exec`.
const RESERVED: [&str; 2] = ["t", "gate"];

/// A channel's name in the gate: the first part of its paths.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelName(String);

impl ChannelName {
    /// A name that is safe in a path and in a URL.
    ///
    /// # Errors
    /// Which names there are.
    pub fn parse(text: &str) -> Result<ChannelName, Error> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let first = text.bytes().next();
        let is_name = text.len() <= 64
            && text.bytes().all(is_plain)
            && first.is_some_and(|byte| byte.is_ascii_alphanumeric());
        if !is_name {
            return Err(usage(format!(
                "`{}` is no name for a channel: take up to 64 letters, digits, `.`, `_` and `-`, with a letter or \
                 digit first",
                without_secrets(text)
            )));
        }
        if RESERVED.contains(&text) {
            let why = "means something else to the gate; take another name for the channel";
            return Err(usage(format!("`{text}` {why}")));
        }
        Ok(ChannelName(text.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a channel is.
#[derive(Clone, PartialEq, Eq)]
pub enum Source {
    /// A folder of this machine.
    Folder(PathBuf),
    /// An http or https URL. It may hold credentials, and is never printed.
    Url(String),
}

impl Source {
    /// A folder, or a URL.
    ///
    /// # Errors
    /// When it is empty, or a URL of another kind.
    pub fn parse(text: &str) -> Result<Source, Error> {
        if let Some((scheme, rest)) = text.split_once("://") {
            return match scheme.to_ascii_lowercase().as_str() {
                "http" | "https" => Ok(Source::Url(text.to_owned())),
                "file" if rest.starts_with('/') => {
                    Ok(Source::Folder(crate::upstream::decoded(rest).into()))
                }
                _ => Err(usage(format!(
                    "the gate reads folders and http(s) URLs, and no {scheme} URLs"
                ))),
            };
        }
        if is_meant_as_url(text) {
            return Err(usage(format!(
                "{}: it is no URL, which has two slashes behind its scheme; before a folder that is called so write `./`",
                without_secrets(text)
            )));
        }
        match text {
            "" => Err(usage("a channel needs a folder or a URL".to_owned())),
            _ => Ok(Source::Folder(text.into())),
        }
    }

    /// What keys are pinned to: the folder or the URL as it was given.
    pub fn as_text(&self) -> String {
        match self {
            Source::Folder(path) => told(path),
            Source::Url(url) => url.clone(),
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Source::Folder(_) => "Folder",
            Source::Url(_) => "Url",
        })
    }
}

/// What a channel has to show.
#[derive(Debug, Clone)]
pub struct ChannelPolicy {
    /// Its name in the gate.
    pub name: ChannelName,
    /// Where it is.
    pub source: Source,
    /// What it has to show.
    pub require: Require,
    /// The keys that are trusted for it.
    pub trust: Vec<PublicKey>,
    /// The smallest package key that counts, in bits.
    pub min_bits: u32,
    /// How long an index is served before it is asked for again.
    pub fresh: Duration,
    /// How long its server may say nothing.
    pub timeout: Duration,
}

/// What is said for all channels, or for one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Words {
    /// What a channel has to show.
    pub require: Option<Require>,
    /// The smallest package key that counts, in bits.
    pub min_bits: Option<u32>,
    /// How long an index is served before it is asked for again.
    pub fresh: Option<Duration>,
    /// How long its server may say nothing.
    pub timeout: Option<Duration>,
}

impl Words {
    fn or(&self, others: &Words) -> Words {
        Words {
            require: self.require.or(others.require),
            min_bits: self.min_bits.or(others.min_bits),
            fresh: self.fresh.or(others.fresh),
            timeout: self.timeout.or(others.timeout),
        }
    }
}

/// A channel as it was asked for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Its name.
    pub name: ChannelName,
    /// Where it is.
    pub source: Source,
    /// The keys that are trusted for it, by name or fingerprint.
    pub trust: Vec<String>,
    /// What is said for it.
    pub words: Words,
}

/// Everything that flags say.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--channel`.
    pub channels: Vec<(ChannelName, Source)>,
    /// `--trust`.
    pub trust: Vec<(ChannelName, Vec<String>)>,
    /// `--require` with a name.
    pub require: Vec<(ChannelName, Require)>,
    /// What is said for all channels.
    pub words: Words,
}

/// The keys that there are.
pub struct Keys<'a> {
    /// The public keys of the keys folder.
    pub keyring: &'a Keyring,
    /// The folder, as people write it.
    pub folder: String,
    /// What `keys trust` pinned to a channel, which is given as it was written.
    pub pins: &'a dyn Fn(&str) -> Result<Vec<Fingerprint>, Error>,
}

impl fmt::Debug for Keys<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

/// The channels' policies. What flags say wins over the file, and what is said for one channel over what is said
/// for all of them in the same place; keys of flags join those of the file, and pins count where neither names any.
///
/// # Errors
/// When a channel comes twice or not at all, or a key is not there.
pub fn decide(
    file: Option<PolicyFile>,
    flags: Flags,
    keys: &Keys<'_>,
) -> Result<Vec<ChannelPolicy>, Error> {
    let file = file.unwrap_or_default();
    let mut wanted = file.channels;
    for (name, source) in flags.channels {
        if wanted.iter().any(|one| one.name == name) {
            return Err(usage(format!(
                "the channel {name} is named twice; call one of them otherwise"
            )));
        }
        let (trust, words) = Default::default();
        wanted.push(Wanted {
            name,
            source,
            trust,
            words,
        });
    }
    if wanted.is_empty() {
        let how =
            "name a channel with --channel NAME=URL (or a folder), or give a file with --policy";
        return Err(usage(how.to_owned()));
    }
    for (name, trusted) in flags.trust {
        find(&mut wanted, &name, "--trust")?.trust.extend(trusted);
    }
    for one in &mut wanted {
        one.words = flags.words.or(&one.words);
    }
    for (name, require) in flags.require {
        find(&mut wanted, &name, "--require")?.words.require = Some(require);
    }
    let policies = wanted.into_iter().map(|one| policy(one, &file.words, keys));
    policies.collect()
}

fn find<'a>(
    wanted: &'a mut [Wanted],
    name: &ChannelName,
    flag: &str,
) -> Result<&'a mut Wanted, Error> {
    let found = wanted.iter_mut().find(|one| one.name == *name);
    found.ok_or_else(|| {
        usage(format!(
            "{flag} {name}=…: there is no channel {name}; name it with --channel {name}=URL"
        ))
    })
}

fn policy(wanted: Wanted, general: &Words, keys: &Keys<'_>) -> Result<ChannelPolicy, Error> {
    let words = wanted.words.or(general);
    let require = words.require.unwrap_or(Require::Index);
    let mut trust = trusted(&wanted, keys)?;
    let name = &wanted.name;
    demand_use(name, require, &mut trust, keys)?;
    if trust.is_empty() && require != Require::None {
        return Err(usage(format!(
            "the channel {name} has no trusted key: name one of {} with --trust {name}=KEY, or pin it with `sigindex \
             keys trust KEY --channel …`",
            keys.folder
        )));
    }
    Ok(ChannelPolicy {
        require,
        trust,
        min_bits: words.min_bits.unwrap_or(MIN_BITS),
        fresh: words.fresh.unwrap_or(FRESH),
        timeout: words.timeout.unwrap_or(crate::upstream::PATIENCE),
        name: wanted.name,
        source: wanted.source,
    })
}

/// Leaves the keys that may vouch for what is demanded: those of packages for no index, and those of an index or a
/// root for no package.
fn demand_use(
    name: &ChannelName,
    require: Require,
    trust: &mut Vec<PublicKey>,
    keys: &Keys<'_>,
) -> Result<(), Error> {
    let uses = keys.keyring.uses();
    let (serves, why): (fn(&Uses, &Fingerprint) -> bool, &str) = match require {
        Require::Index => (
            |uses, key| !uses.signs_packages(key),
            "signs packages, and vouches for no index: name a key of its root, or ask for signed packages alone with \
             --require package",
        ),
        Require::Package => (
            |uses, key| !uses.signs_index(key),
            "signs an index, and vouches for no package: name a key that signs its packages",
        ),
        Require::None => return Ok(()),
    };
    let others: Vec<_> = trust
        .extract_if(.., |key| !serves(uses, &key.fingerprint()))
        .collect();
    match others.first() {
        Some(key) if trust.is_empty() => {
            let key = key.name();
            Err(usage(format!("the channel {name}: {key} {why}")))
        }
        _ => Ok(()),
    }
}

fn trusted(wanted: &Wanted, keys: &Keys<'_>) -> Result<Vec<PublicKey>, Error> {
    let mut found: Vec<PublicKey> = Vec::new();
    for word in &wanted.trust {
        found.push(named(word, keys)?.clone());
    }
    if wanted.trust.is_empty() {
        for pin in (keys.pins)(&wanted.source.as_text())? {
            let key = keys.keyring.by_fingerprint(&pin);
            let key = key.ok_or_else(|| {
                usage(format!("{}: the key {pin} is pinned to the channel {}, and is not there; add it with `sigindex keys add`, or pin another",
                    keys.folder, wanted.name))
            })?;
            found.push(key.clone());
        }
    }
    let mut seen = Vec::new();
    found.retain(|key| {
        let is_new = !seen.contains(&key.fingerprint());
        seen.push(key.fingerprint());
        is_new
    });
    Ok(found)
}

/// A key by its name or its fingerprint.
fn named<'a>(word: &str, keys: &Keys<'a>) -> Result<&'a PublicKey, Error> {
    let absent = || {
        usage(format!(
            "{}: there is no public key {word}; add it with `sigindex keys add FILE`",
            keys.folder
        ))
    };
    if let Ok(fingerprint) = word.parse::<Fingerprint>() {
        return keys.keyring.by_fingerprint(&fingerprint).ok_or_else(absent);
    }
    let name = KeyName::parse(word)?;
    match keys.keyring.get(&name) {
        Some(Ok(key)) => Ok(key),
        Some(Err(error)) => Err(usage(error.to_string())),
        None => Err(absent()),
    }
}

/// What a channel has to show, by its word.
///
/// # Errors
/// Which words there are.
pub fn require(word: &str) -> Result<Require, Error> {
    match word {
        "index" => Ok(Require::Index),
        "package" => Ok(Require::Package),
        "none" => Ok(Require::None),
        _ => Err(usage(format!(
            "`{}` is not what a channel can be asked for: take index, package or none",
            without_secrets(word)
        ))),
    }
}

fn usage(text: String) -> Error {
    Error::Usage(text)
}
