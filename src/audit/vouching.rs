//! Whether each key that was chosen for a channel vouches for something there. Owns where that is looked for; must not
//! know how a signature or a chain is checked.

use std::collections::BTreeSet;

use super::chain::Chain;
use super::finding::Verdict;
use super::index_files::MAX_INDEX;
use super::packages::Judge;
use super::place::SIGNED;
use super::said::{Noted, Said};
use super::{Anchor, Request, What};
use crate::keys::{Fingerprint, KeyName};
use crate::repodata::{Published, PublishedRecord, REPODATA};

/// The most signatures that are read of packages which nobody asked for.
const MOST_READ: usize = 100;

/// The keys of an audit, once everything else was looked at.
pub(super) struct Vouching<'a> {
    pub chain: &'a Chain,
    pub request: &'a Request,
    pub judge: &'a Judge<'a>,
}

impl<'a> Vouching<'a> {
    /// Each key that is trusted for a channel has to vouch for its index, or for something in it. One that does not may be
    /// that of a signed index which somebody took away, or put another one in the place of.
    pub fn demand_all(&self) {
        if !self.chain.is_there && !self.idle().is_empty() {
            self.look_further();
        }
        let Some((name, _)) = self.idle().into_iter().next() else {
            return;
        };
        let why = match self.chain.is_there {
            true => format!(
                "{name} is trusted for it, and vouches for nothing in it: no root that leads to the newest names it, nor is it a key of packages; if the owner of the channel did not take it away, somebody else signed this index; if so, trust it no more"
            ),
            false => format!(
                "{name} is trusted for it, and vouches for nothing in it: if it is a key of a signed index, somebody took that away; if not, trust it no more"
            ),
        };
        let findings = self.judge.context.findings;
        findings.error(What::Chain, SIGNED, why);
    }

    /// The keys that were chosen and vouched for nothing so far. None where the chain does not hold, which is told
    /// already.
    fn idle(&self) -> Vec<&'a (KeyName, Fingerprint)> {
        let Vouching {
            chain,
            request,
            judge,
        } = self;
        let chosen = match &request.anchor {
            Anchor::Chosen(chosen) if !chain.is_there || chain.targets.is_some() => {
                chosen.as_slice()
            }
            _ => &[],
        };
        let trust = judge.trust;
        let is_known = |key| match chain.is_there {
            // That a signed index is missing is told already.
            false => trust.uses.signs_packages(key) || trust.uses.signs_index(key),
            true => {
                trust.uses.signs_packages(key)
                    || chain.roles.contains_key(key)
                    || chain.began.contains(key)
                    || trust.names(key)
            }
        };
        let idle = chosen.iter();
        idle.filter(|(_, key)| !is_known(key) && !trust.has_vouched(key))
            .collect()
    }

    /// Lets keys vouch for what is listed anywhere and was not asked for: by the SHA-256 in its record, which needs no
    /// package.
    fn look_further(&self) {
        let place = self.judge.context.place;
        let mut left = MOST_READ;
        for subdir in place.subdirs(&[], &BTreeSet::new()) {
            let path = format!("{subdir}/{REPODATA}");
            // What is wrong with it is no matter of an audit of something else.
            let Ok(Some(text)) = place.fetch(&path, MAX_INDEX) else {
                continue;
            };
            let Ok(published) = Published::parse(&path, &text) else {
                continue;
            };
            for (file, record) in &published.records {
                let idle = self.idle();
                if idle.is_empty() {
                    return;
                }
                self.hold(&format!("{subdir}/{file}"), record, &idle, &mut left);
            }
        }
    }

    /// Holds the signature of a package by one of these keys, if its record names one.
    fn hold(
        &self,
        path: &str,
        record: &PublishedRecord<'_>,
        keys: &[&(KeyName, Fingerprint)],
        left: &mut usize,
    ) -> Option<Verdict> {
        let said = Said::of(&record.text)?;
        let is_one = |key: &KeyName| keys.iter().any(|(name, _)| name == key);
        let signature = match said.signature {
            Noted::Here(signature, _) if is_one(&signature.key) => signature,
            Noted::Beside(Some(key)) if is_one(&key) => {
                *left = left.checked_sub(1)?;
                self.judge.beside(path).ok()?
            }
            _ => return None,
        };
        Some(self.judge.trust.hold(&signature, &said.sha256?))
    }
}
