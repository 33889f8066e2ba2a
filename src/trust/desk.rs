//! The place where a signed index is published, as whoever keeps it sees it: what stands there, read as a client would,
//! and how new metadata gets there.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::trouble;
use crate::cache::Versions;
use crate::error::Error;
use crate::keys::Fingerprint;
use crate::publish;
use crate::storage::{Change, Storage, leftovers};
use crate::tuf::{
    Anchor, Expired, FOLDER, Generation, Loading, MAX_METADATA, Made, Role, Root, TIMESTAMP,
    TufError, load, metadata, newest_root,
};
use crate::upstream::{Upstream, UpstreamError, UpstreamFault, fetch};

/// What the steps work at.
pub struct Desk<'a> {
    /// Where metadata is written.
    pub storage: &'a dyn Storage,
    /// The same place as a client reads it.
    pub upstream: Arc<dyn Upstream>,
    /// The public keys that may vouch for the root.
    pub trusted: &'a [Fingerprint],
    /// What this machine remembers of the index, so that it renews nothing older than it saw.
    pub memory: Option<PathBuf>,
    /// The versions that runs on this machine saw there, by role.
    pub seen: Versions,
    /// This moment, in milliseconds since 1970.
    pub now: i64,
    /// Whether nothing is to be written.
    pub dry_run: bool,
}

impl Desk<'_> {
    /// What people call the place.
    pub fn name(&self) -> &str {
        self.upstream.name()
    }

    /// Whether it has a signed index, or what is left of one.
    ///
    /// # Errors
    /// When that can't be seen.
    pub fn is_signed(&self) -> Result<bool, Error> {
        for path in [metadata(Role::Root, 1), TIMESTAMP.to_owned()] {
            if self.storage.stat(&path)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The newest root.
    ///
    /// # Errors
    /// When there is none, or none that a key of the keys folder vouches for.
    pub fn root(&self) -> Result<Root, Error> {
        if !self.is_signed()? {
            let why = "its index is not signed; switch that on with `sigindex trust init`";
            return Err(trouble(self.name(), why));
        }
        Ok(newest_root(self.upstream.as_ref(), self.trusted)?)
    }

    /// The generation that stands there, verified by the newest root; `None` where nothing was published yet.
    ///
    /// # Errors
    /// When it does not verify. That it expired is no matter.
    pub fn generation(&self) -> Result<Option<Generation>, TufError> {
        self.generation_of(Arc::clone(&self.upstream), self.memory.as_deref())
    }

    /// Refuses a generation that is older than what runs on this machine saw there.
    ///
    /// # Errors
    /// When it is.
    pub fn demand_newest(&self, generation: &Generation) -> Result<(), Error> {
        for (role, version) in &generation.versions {
            let seen = self.seen.get(role.as_str()).copied().unwrap_or(0);
            if *version < seen {
                let why = format!("version {version} of the {role} metadata after {seen}");
                return Err(older(self.name(), &why));
            }
        }
        Ok(())
    }

    /// Holds every file of a generation against its hash: only what is whole is signed anew.
    ///
    /// # Errors
    /// When one is missing, or is another.
    pub fn hold(&self, generation: &Generation) -> Result<(), Error> {
        let mut targets = generation.targets.iter();
        targets.try_for_each(|(name, target)| publish::signed::hold(self.storage, name, target))
    }

    /// The same by the root before `root`: what stands there when the keys were changed and nothing was signed with the
    /// new ones yet.
    ///
    /// # Errors
    /// As [`Desk::generation`].
    pub fn generation_before(&self, root: &Root) -> Result<Option<Generation>, TufError> {
        self.generation_with(root.version(), None)
    }

    /// The same by `root`, which is not published yet.
    ///
    /// # Errors
    /// As [`Desk::generation`].
    pub fn generation_under(&self, root: &Root) -> Result<Option<Generation>, TufError> {
        self.generation_with(root.version(), Some(root.bytes().to_owned()))
    }

    fn generation_with(
        &self,
        version: u64,
        root: Option<Vec<u8>>,
    ) -> Result<Option<Generation>, TufError> {
        let other = OtherRoot {
            inner: Arc::clone(&self.upstream),
            path: metadata(Role::Root, version),
            root,
        };
        self.generation_of(Arc::new(other), None)
    }

    fn generation_of(
        &self,
        upstream: Arc<dyn Upstream>,
        memory: Option<&Path>,
    ) -> Result<Option<Generation>, TufError> {
        let timestamp = fetch(upstream.as_ref(), TIMESTAMP, MAX_METADATA);
        if timestamp.map_err(TufError::Upstream)?.is_none() {
            return Ok(None);
        }
        let loading = Loading {
            upstream,
            anchor: Anchor::Pinned(self.trusted),
            memory,
            expired: Expired::Allowed,
        };
        load(loading).map(Some)
    }

    /// Publishes a root, and with it new metadata where there is some: what a timestamp names goes before it.
    ///
    /// # Errors
    /// When it can't be written, or somebody else published this version.
    pub fn publish(&self, root: Option<&Root>, made: Option<&Made>) -> Result<(), Error> {
        if self.dry_run {
            return Ok(());
        }
        let left = leftovers(self.storage, FOLDER)?;
        if !left.is_empty() {
            self.storage.apply(left)?;
        }
        let write = |(path, content): &(String, Vec<u8>)| Change::Write {
            path: path.clone(),
            content: Arc::new(content.clone()),
        };
        if let Some(made) = made {
            // What a run that was killed left under these names was never named by a timestamp.
            self.storage
                .apply(made.metadata.iter().map(write).collect())?;
        }
        if let Some(root) = root {
            self.create(root)?;
        }
        if let Some(made) = made {
            self.storage.apply(vec![write(&made.timestamp)])?;
            // Read again as clients do, and remembered.
            self.generation()?;
        }
        Ok(())
    }

    /// Two roots of one version would part the clients: the first one stays.
    fn create(&self, root: &Root) -> Result<(), Error> {
        let path = metadata(Role::Root, root.version());
        let content = Arc::new(root.bytes().to_owned());
        let create = Change::Create {
            path: path.clone(),
            content,
        };
        self.storage.apply(vec![create])?;
        let there = fetch(self.upstream.as_ref(), &path, MAX_METADATA)?;
        if there.as_deref() == Some(root.bytes()) {
            return Ok(());
        }
        let place = format!("{}/{path}", self.name());
        let why = "another root of this version is there, and it stays; look at it with `sigindex trust show`, and make the change anew on top of it";
        Err(trouble(&place, why))
    }
}

/// The refusal of what was put back.
pub fn older(channel: &str, why: &str) -> Error {
    let why = format!(
        "it is older than what this machine saw there, and is not renewed ({why}); put the newest back, or publish from the packages with `sigindex CHANNEL --accept-index`"
    );
    trouble(channel, why)
}

/// A channel with another file, or none, in the place of one root.
#[derive(Debug)]
struct OtherRoot {
    inner: Arc<dyn Upstream>,
    path: String,
    root: Option<Vec<u8>>,
}

impl Upstream for OtherRoot {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn fetch_to(
        &self,
        path: &str,
        cap: u64,
        to: &mut dyn Write,
    ) -> Result<Option<u64>, UpstreamError> {
        if path != self.path {
            return self.inner.fetch_to(path, cap, to);
        }
        let Some(root) = &self.root else {
            return Ok(None);
        };
        let fail = |fault| UpstreamError {
            place: format!("{}/{path}", self.name()),
            fault,
        };
        let length = u64::try_from(root.len()).unwrap_or(u64::MAX);
        if length > cap {
            return Err(fail(UpstreamFault::TooLarge { cap }));
        }
        let written = to.write_all(root);
        written.map_err(|cause| fail(UpstreamFault::Sink(cause)))?;
        Ok(Some(length))
    }
}
