//! Packages, their signatures and attestations: what is held against the index and the keys before they are served.
//! Owns the order of these checks; must not know where the index comes from.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::answer::{Checked, Content, Stop, Wrong};
use super::index::{Basis, Index};
use super::keep::Keeper;
use super::records::{Claim, Entry};
use super::shelf::{Found, Lookup, Shelves};
use super::store::{Hash, Place};
use crate::attestation::{self, SidecarName};
use crate::package::{self, Format, ReadOptions};
use crate::record::{Record, hex, unhex};
use crate::signature::{MAX_SIG_BYTES, Signature};
use crate::upstream::{UpstreamError, UpstreamFault, fetch};

/// The most bytes of a package, whatever the index says: they go to the disk before they can be checked.
const MOST: u64 = 16 << 30;

/// What packages are held against.
#[derive(Debug)]
pub(super) struct Packages {
    pub keeper: Arc<Keeper>,
    pub shelves: Shelves,
}

/// What may be served, and what that rests on; without the latter it is asked again each time.
pub(super) type Passed = Option<(Content, Option<Basis>)>;

impl Packages {
    /// A package.
    pub(super) fn package(&self, index: &Index, subdir: &str, file: &str) -> Checked<Passed> {
        let Some(Found { entry, basis }) = self.named(index, subdir, file)? else {
            return Ok(None);
        };
        let path = format!("{subdir}/{file}");
        let most = most(&entry)?;
        self.signature(index, &path, &entry)?;
        let Some(content) = self.keeper.at_path(&entry.sha256, &path, most)? else {
            return Ok(None);
        };
        if entry.size.is_some_and(|size| size != content.length) {
            let why =
                "its size is not the one that the index names; tell whoever keeps the channel";
            return Err(Stop::refuse(Wrong::Changed, why.to_owned()));
        }
        if index.is_plain() {
            bears_its_name(&content, subdir, file)?;
        }
        Ok(Some((content, basis)))
    }

    /// The signature beside a package.
    pub(super) fn sig(&self, index: &Index, subdir: &str, file: &str) -> Checked<Passed> {
        let Some(Found { entry, basis }) = self.named(index, subdir, file)? else {
            return Ok(None);
        };
        let signature = self.signature(index, &format!("{subdir}/{file}"), &entry)?;
        let content = self.keeper.bytes(&signature.to_file_bytes())?;
        Ok(Some((content, basis)))
    }

    /// The attestations beside a package, as far as the index names them by hash.
    pub(super) fn sigs(
        &self,
        index: &Index,
        subdir: &str,
        name: &str,
        sidecar: SidecarName<'_>,
    ) -> Checked<Passed> {
        let (file, wanted) = match sidecar {
            SidecarName::Mutable(file) => (file, None),
            SidecarName::Immutable(file, hash) => (file, Some(hash)),
        };
        let Some(Found { entry, basis }) = self.named(index, subdir, file)? else {
            return Ok(None);
        };
        let named = entry.attestations;
        let Some(hash) = named.filter(|hash| wanted.is_none_or(|wanted| wanted == *hash)) else {
            return Ok(None);
        };
        let path = format!("{subdir}/{name}");
        let content = self.keeper.at_path(&hash, &path, attestation::MAX)?;
        Ok(content.map(|content| (content, basis)))
    }

    fn named(&self, index: &Index, subdir: &str, file: &str) -> Checked<Option<Found>> {
        match self.shelves.package(index, subdir, file)? {
            Lookup::Found(found) => Ok(Some(found)),
            Lookup::NoSubdir => Ok(None),
            Lookup::Unnamed => Err(Stop::refuse(
                Wrong::NotInIndex,
                "the channel's index does not name it; let your client read the index anew, and if it still asks for this file, tell whoever keeps the channel".to_owned(),
            )),
        }
    }

    /// The signature of a package, by a key that is trusted.
    fn signature(&self, index: &Index, path: &str, entry: &Entry) -> Checked<Signature> {
        let signature = match &entry.signature {
            Claim::Held(signature) => signature.clone(),
            Claim::Broken(why) => return Err(invalid(why)),
            Claim::Beside => self.beside(path)?,
        };
        index.trust()?.judge(&signature, &entry.sha256)?;
        Ok(signature)
    }

    fn beside(&self, path: &str) -> Checked<Signature> {
        let sig = format!("{path}.sig");
        let cap = u64::try_from(MAX_SIG_BYTES).unwrap_or(u64::MAX);
        let bytes = match fetch(self.keeper.upstream().as_ref(), &sig, cap) {
            Ok(bytes) => bytes,
            Err(UpstreamError {
                fault: UpstreamFault::TooLarge { .. },
                ..
            }) => return Err(invalid("the .sig file is longer than any signature")),
            Err(cause) => return Err(Stop::upstream(&cause)),
        };
        let Some(bytes) = bytes else {
            return Err(Stop::refuse(
                Wrong::Missing,
                "its signature is missing: neither the index nor a .sig file beside it has one; ask whoever keeps the channel to sign it".to_owned(),
            ));
        };
        Signature::parse(&bytes).map_err(|fault| invalid(&fault.to_string()))
    }
}

/// The most bytes that a package has.
fn most(entry: &Entry) -> Checked<u64> {
    match entry.size {
        Some(size) if size > MOST => Err(Stop::refuse(
            Wrong::TooLarge,
            format!(
                "the index says that it has {size} bytes, and the gate takes {MOST} at most; tell whoever keeps the channel"
            ),
        )),
        size => Ok(size.unwrap_or(MOST)),
    }
}

fn invalid(why: &str) -> Stop {
    Stop::refuse(
        Wrong::Invalid,
        format!(
            "its signature is invalid ({why}); do not install it, and tell whoever keeps the channel"
        ),
    )
}

/// Whether a package says itself what it is called, and for which subdir it is. Without a signed index nothing else
/// does: a signed package could stand under another's name.
fn bears_its_name(content: &Content, subdir: &str, file: &str) -> Checked<()> {
    let misnamed = |why: String| {
        Stop::refuse(
            Wrong::Misnamed,
            format!("{why}; do not install it, and tell whoever keeps the channel"),
        )
    };
    let options = ReadOptions {
        check_archives: false,
        cancelled: &AtomicBool::new(false),
        progress: &|_| {},
    };
    let read = match &content.place {
        Place::File(open) => package::read(open.as_ref(), file, &options),
        Place::Memory(bytes) => package::read_bytes(bytes, file, &options),
    };
    let package =
        read.map_err(|cause| misnamed(format!("it can't be read as a package: {cause}")))?;
    let made = Record::new(&package.index_json, "", "", content.length);
    let (_, claims) = made.map_err(|cause| misnamed(cause.to_string()))?;
    let stem = Format::of(file).map_or(file, |format| format.stem(file));
    match claims.mismatch(stem, subdir) {
        None => Ok(()),
        Some(why) => Err(misnamed(format!("it is another package: {why}"))),
    }
}

/// The hash in a shard's name.
pub(super) fn shard_hash(rest: &str) -> Option<Hash> {
    let name = rest.rsplit('/').next()?;
    let stem = name.strip_suffix(crate::repodata::shards::EXTENSION)?;
    let hash = unhex(stem)?;
    (hex(&hash) == stem).then_some(hash)
}
