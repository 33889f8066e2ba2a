//! A channel's signed index: the generation that was verified last, and when it is asked for again. Owns that only one
//! request refreshes it while the others wait, and what is served when that fails: nothing. An upstream that can't be
//! reached may be one that somebody holds back, so an index beyond its freshness is not passed off as news. Nor are
//! packages served by it, though they are in the store: it may be that the newest index names them no more, or that
//! their key is revoked. They stay there, and need not be fetched again once the index can be.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::answer::{Checked, Content, Event, Failed, Listener, Stop, Wrong};
use super::flight::Flights;
use super::keep::Keeper;
use super::store::Hash;
use super::trust::Trust;
use crate::keys::{Fingerprint, PublicKey};
use crate::tuf::{self, Anchor, Expired, Generation, Loading, Role, Target, TufError};
use crate::upstream::UpstreamFault;

/// What a signed index is read with.
pub(super) struct SignedIndex {
    pub keeper: Arc<Keeper>,
    /// The keys that the first root has to bear a signature of.
    pub pinned: Vec<PublicKey>,
    pub min_bits: u32,
    pub fresh: Duration,
    /// What was seen of this channel.
    pub memory: PathBuf,
    pub listener: Arc<Listener>,
    pub state: State,
}

/// What changes.
#[derive(Default)]
pub(super) struct State {
    view: RwLock<Option<Arc<View>>>,
    refreshes: Flights<Checked<Arc<View>>>,
}

/// A generation that was verified.
#[derive(Debug)]
pub(super) struct View {
    /// Rises when what may be served changes.
    pub number: u64,
    pub trust: Arc<Trust>,
    generation: Generation,
    keys: Vec<(Target, PublicKey)>,
    taken: Instant,
    /// The first expiry, in Unix milliseconds.
    expires: i64,
}

impl View {
    fn is_fresh(&self, fresh: Duration) -> bool {
        self.taken.elapsed() < fresh && now() < self.expires
    }
}

impl SignedIndex {
    /// The generation, verified within the freshness.
    pub(super) fn view(&self) -> Checked<Arc<View>> {
        match self.known().filter(|view| view.is_fresh(self.fresh)) {
            Some(view) => Ok(view),
            None => self.refreshed(None),
        }
    }

    /// The generation that is fresh, if one is; asks nobody.
    pub(super) fn at_hand(&self) -> Option<Arc<View>> {
        self.known().filter(|view| view.is_fresh(self.fresh))
    }

    /// An index file.
    pub(super) fn file(&self, path: &str) -> Checked<Option<Content>> {
        let begun = Instant::now();
        let view = self.view()?;
        match self.target(&view, path) {
            // A channel that was published often since may not have that generation any more.
            Err(Stop::Refuse(Wrong::Index, why)) if view.taken < begun => {
                let newer = self.refreshed(Some(begun))?;
                if newer.number == view.number {
                    return Err(Stop::refuse(Wrong::Index, why));
                }
                self.target(&newer, path)
            }
            done => done,
        }
    }

    fn target(&self, view: &View, path: &str) -> Checked<Option<Content>> {
        let Some(target) = view.generation.targets.get(path) else {
            return Ok(None);
        };
        let upstream = self.keeper.upstream();
        self.keeper.of_hash(&target.sha256, |to| {
            let fetched = tuf::target_to(upstream.as_ref(), path, target, to);
            fetched.map(|()| true).map_err(stop)
        })
    }

    fn known(&self) -> Option<Arc<View>> {
        let view = self.state.view.read();
        view.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks the upstream, unless somebody did so meanwhile, or since a moment.
    fn refreshed(&self, since: Option<Instant>) -> Checked<Arc<View>> {
        let broken = || {
            let why = "the gate could not finish reading the signed index; try again";
            Err(Stop::Fail(Failed::Here, why.to_owned()))
        };
        self.state.refreshes.run("", broken(), || {
            let known = self.known();
            let enough = |view: &Arc<View>| match since {
                Some(since) => view.taken >= since,
                None => view.is_fresh(self.fresh),
            };
            if let Some(view) = known.as_ref().filter(|view| enough(view)) {
                return Ok(Arc::clone(view));
            }
            let view = Arc::new(self.load(known.as_deref())?);
            let place = self.state.view.write();
            *place.unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&view));
            Ok(view)
        })
    }

    fn load(&self, known: Option<&View>) -> Checked<View> {
        // From before the load: what is published during it has to wait no longer than the freshness.
        let taken = Instant::now();
        let pinned: Vec<Fingerprint> = self.pinned.iter().map(PublicKey::fingerprint).collect();
        let generation = tuf::load(Loading {
            upstream: Arc::clone(self.keeper.upstream()),
            anchor: Anchor::Pinned(&pinned),
            memory: Some(&self.memory),
            expired: Expired::Refused,
        });
        let generation = generation.map_err(stop)?;
        let expires = generation.expires.values().copied().min();
        let expires = expires.unwrap_or_default();
        let same = known.filter(|view| {
            view.generation.targets == generation.targets
                && view.generation.root.version() == generation.root.version()
        });
        if let Some(view) = same {
            return Ok(View {
                number: view.number,
                trust: Arc::clone(&view.trust),
                keys: view.keys.clone(),
                generation,
                taken,
                expires,
            });
        }
        let keys = self.keys(&generation, known)?;
        let (listener, version) = (&self.listener, generation.versions.get(&Role::Timestamp));
        listener(Event::Verified {
            version: version.copied().unwrap_or_default(),
            expires,
        });
        Ok(View {
            number: known.map_or(1, |view| view.number.saturating_add(1)),
            trust: Arc::new(self.trust(&generation, &keys)),
            keys,
            generation,
            taken,
            expires,
        })
    }

    /// The package keys of a generation; those that are known already are not fetched again.
    fn keys(
        &self,
        generation: &Generation,
        known: Option<&View>,
    ) -> Checked<Vec<(Target, PublicKey)>> {
        let mut keys = Vec::new();
        for (path, target) in &generation.targets {
            let Some(name) = tuf::key_name(path) else {
                continue;
            };
            let mut before = known.iter().flat_map(|view| &view.keys);
            if let Some(same) = before.find(|(it, key)| it == target && *key.name() == name) {
                keys.push(same.clone());
                continue;
            }
            let bytes = tuf::target(self.keeper.upstream().as_ref(), path, target);
            // What is no key vouches for nothing.
            if let Ok(key) = PublicKey::from_pem(name, &bytes.map_err(stop)?) {
                keys.push((*target, key));
            }
        }
        Ok(keys)
    }

    fn trust(&self, generation: &Generation, keys: &[(Target, PublicKey)]) -> Trust {
        let roles = Role::ALL.into_iter();
        let of_index = roles.flat_map(|role| generation.root.keys(role));
        let of_index: Vec<Fingerprint> = of_index.map(|key| key.fingerprint).collect();
        let keys: Vec<PublicKey> = keys.iter().map(|(_, key)| key.clone()).collect();
        Trust::named(&keys, &of_index, self.min_bits)
    }

    /// Whether this generation is the newest, and fresh.
    pub(super) fn is_current(&self, number: u64) -> bool {
        self.at_hand().is_some_and(|view| view.number == number)
    }

    /// The hash of an index file in the newest generation.
    pub(super) fn hash(&self, path: &str) -> Option<Hash> {
        let view = self.at_hand()?;
        Some(view.generation.targets.get(path)?.sha256)
    }
}

fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// What trouble with the signed index means for a client.
fn stop(cause: TufError) -> Stop {
    match cause {
        TufError::Upstream(cause) => match cause.fault {
            UpstreamFault::TooLarge { .. } => Stop::refuse(
                Wrong::Index,
                format!("the channel's signed index can't be read: {cause}; tell whoever keeps it"),
            ),
            _ => Stop::upstream(&cause),
        },
        TufError::Absent { ref path } if path.ends_with("/tuf/1.root.json") => Stop::refuse(
            Wrong::NoSignedIndex,
            "the channel has no signed index, and the gate demands one; whoever keeps the channel makes it with `sigindex trust init`, and until then --require package checks packages alone".to_owned(),
        ),
        TufError::NoAnchor { .. } => Stop::refuse(Wrong::UnknownKey, cause.to_string()),
        TufError::Clock { .. } => Stop::Fail(Failed::Here, cause.to_string()),
        TufError::Memory { .. } | TufError::System(_) => Stop::here(&cause),
        other => Stop::refuse(
            Wrong::Index,
            format!("the channel's signed index does not verify: {other}"),
        ),
    }
}
