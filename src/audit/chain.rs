//! The chain of signed metadata over a channel's index, and the package keys that it names. Owns how a chain that
//! does not hold is told; must not know how metadata is made.

use std::collections::{BTreeMap, BTreeSet};
#[cfg(feature = "tuf")]
use std::sync::Arc;

#[cfg(feature = "tuf")]
use super::Verdict;
#[cfg(feature = "tuf")]
use super::index_files::Hashed;
use super::index_files::{IndexFiles, Targets};
use super::place::SIGNED;
use super::{Anchor, Context, Request, What};
use crate::keys::{Fingerprint, KeyName, Keyring, PublicKey};
#[cfg(feature = "tuf")]
use crate::tuf;

/// What a signed index says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The version of each role's metadata.
    pub versions: BTreeMap<&'static str, u64>,
    /// When each expires, in Unix milliseconds.
    pub expires: BTreeMap<&'static str, i64>,
}

/// What a channel's chain vouches for; nothing where it does not hold, or there is none.
#[derive(Debug, Default)]
pub(super) struct Chain {
    /// Whether the channel has one, be it as it may.
    pub is_there: bool,
    /// Files by path.
    pub targets: Option<Targets>,
    /// Keys that sign metadata, with what they are.
    pub roles: BTreeMap<Fingerprint, &'static str>,
    pub signed: Option<Signed>,
    /// The root keys of the root that it begins with, and those that signed roots which lead to it.
    pub began: BTreeSet<Fingerprint>,
}

impl Chain {
    /// Follows the chain, if the channel has one.
    pub fn load(context: Context<'_>, request: &Request, notes: &mut Vec<String>) -> Chain {
        if !context.place.is_signed() {
            Chain::missing(context, request);
            notes.push("the index is not signed, so an older index, a mixture of index files, changed dependencies and a signed package in another's place would not be noticed; where it should be signed, name its root key with --trust; `sigindex trust init` signs it".to_owned());
            return Chain::default();
        }
        Chain {
            is_there: true,
            ..Chain::follow(context, request)
        }
    }

    /// Who trusts a key of an index or a root for a channel is owed a signed index.
    fn missing(context: Context<'_>, request: &Request) {
        let Anchor::Chosen(chosen) = &request.anchor else {
            return;
        };
        let uses = context.tools.keyring.uses();
        if let Some((name, _)) = chosen.iter().find(|(_, key)| uses.signs_index(key)) {
            let why = format!(
                "the index is not signed, and {name}, which is trusted for it, is a key of signed indexes; somebody took the signed index away, or it was never there"
            );
            context.findings.error(What::Chain, SIGNED, why);
        }
    }

    #[cfg(not(feature = "tuf"))]
    fn follow(context: Context<'_>, _: &Request) -> Chain {
        context.findings.error(
            What::Chain,
            SIGNED,
            "the index is signed, and this build can't check it; take one with the feature `tuf`",
        );
        Chain::default()
    }

    #[cfg(feature = "tuf")]
    fn follow(context: Context<'_>, request: &Request) -> Chain {
        let keys: Vec<Fingerprint> = match &request.anchor {
            Anchor::Chosen(chosen) => {
                let chosen = chosen.iter().map(|(_, key)| *key);
                let uses = context.tools.keyring.uses();
                chosen.filter(|key| !uses.signs_packages(key)).collect()
            }
            Anchor::Folder => {
                let keys = context.tools.keyring.vouching();
                keys.map(PublicKey::fingerprint).collect()
            }
        };
        let load = |expired| {
            tuf::load(tuf::Loading {
                upstream: Arc::clone(context.place.upstream()),
                anchor: tuf::Anchor::Pinned(&keys),
                memory: None,
                expired,
            })
        };
        let findings = context.findings;
        let loaded = load(tuf::Expired::Refused).or_else(|error| match error {
            // What is only late still tells what else is wrong.
            tuf::TufError::Expired { .. } => {
                findings.invalid(What::Chain, SIGNED, error.to_string());
                load(tuf::Expired::Allowed)
            }
            other => Err(other),
        });
        match loaded {
            Ok(generation) => {
                findings.valid(What::Chain, SIGNED);
                Chain::of(generation)
            }
            Err(error) => {
                let verdict = match &error {
                    tuf::TufError::Untrusted { .. } | tuf::TufError::Malformed { .. } => {
                        Verdict::Invalid(error.to_string())
                    }
                    _ => Verdict::Error(error.to_string()),
                };
                findings.add(What::Chain, SIGNED, verdict);
                Chain::default()
            }
        }
    }

    #[cfg(feature = "tuf")]
    fn of(generation: tuf::Generation) -> Chain {
        let mut roles = BTreeMap::new();
        for role in tuf::Role::ALL {
            for key in generation.root.keys(role) {
                let what = match role {
                    tuf::Role::Root => "root",
                    _ => "index",
                };
                roles.insert(key.fingerprint, what);
            }
        }
        let targets = generation.targets.into_iter().map(|(name, target)| {
            let hashed = Hashed {
                place: tuf::by_hash(&name, &target.sha256),
                length: target.length,
                sha256: target.sha256,
            };
            (name, hashed)
        });
        let versions = generation.versions.into_iter();
        let expires = generation.expires.into_iter();
        Chain {
            targets: Some(targets.collect()),
            roles,
            is_there: true,
            began: generation.began,
            signed: Some(Signed {
                versions: versions.map(|(role, it)| (role.as_str(), it)).collect(),
                expires: expires.map(|(role, it)| (role.as_str(), it)).collect(),
            }),
        }
    }
}

impl Chain {
    /// The package keys that the signed index names, held against those in the keys folder.
    pub fn package_keys(&self, files: &IndexFiles<'_>, targets: &Targets) -> Keyring {
        let mut ring = Keyring::default();
        for path in targets.keys() {
            if let Some(name) = key_name(path)
                && let Some(key) = self.package_key(files, path, name)
            {
                // Names of targets differ.
                let _ = ring.insert(key);
            }
        }
        ring
    }

    fn package_key(&self, files: &IndexFiles<'_>, path: &str, name: KeyName) -> Option<PublicKey> {
        let Context {
            findings, tools, ..
        } = files.context;
        let key = match PublicKey::from_pem(name, &files.read(path)?) {
            Ok(key) => key,
            Err(fault) => {
                findings.error(What::Key, path, format!("it is no public key: {fault}"));
                return None;
            }
        };
        match tools.keyring.get(key.name()) {
            _ if self.roles.contains_key(&key.fingerprint()) => findings.invalid(
                What::Key,
                path,
                "it signs the index, and is named as a key of packages: each has keys of its own",
            ),
            Some(Ok(known)) if known.fingerprint() != key.fingerprint() => findings.invalid(
                What::Key,
                path,
                format!(
                    "the keys folder has another key as {}; rename or remove the one that is wrong",
                    key.name()
                ),
            ),
            Some(Err(error)) => findings.error(What::Key, path, error.to_string()),
            _ => findings.valid(What::Key, path),
        }
        Some(key)
    }
}

/// The package key that a target holds, if it is one.
fn key_name(target: &str) -> Option<KeyName> {
    let name = target.strip_prefix("keys/")?.strip_suffix(".pub")?;
    KeyName::parse(name).ok()
}
