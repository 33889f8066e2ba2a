//! Index files as clients would believe them: where the index is signed, the very bytes that it vouches for. Owns
//! holding files against their targets and twins against their plain files; must not know what index files say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use sha2::{Digest as _, Sha256};

use super::digesting::Digesting;
use super::{Context, What};
use crate::record::hex;
use crate::repodata::Codec;
use crate::upstream::UpstreamFault;

/// The largest index file that is read, in bytes: several times that of the largest channels.
pub(super) const MAX_INDEX: u64 = 1 << 30;

/// Extensions of compressed twins.
const TWINS: [(&str, Codec); 2] = [(".zst", Codec::Zstd(3)), (".bz2", Codec::Bzip2)];

/// What the signed index says of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hashed {
    /// Where it lies by hash.
    pub place: String,
    /// Bytes.
    pub length: u64,
    pub sha256: [u8; 32],
}

/// Files that the signed index vouches for, by path in the channel.
pub(super) type Targets = BTreeMap<String, Hashed>;

/// The index files of a channel.
pub(super) struct IndexFiles<'a> {
    pub context: Context<'a>,
    targets: Option<&'a Targets>,
    read: Mutex<BTreeSet<String>>,
}

impl<'a> IndexFiles<'a> {
    pub fn new(context: Context<'a>, targets: Option<&'a Targets>) -> IndexFiles<'a> {
        IndexFiles {
            context,
            targets,
            read: Mutex::default(),
        }
    }

    /// An index file with all that is wrong with it as a file; `None` where there is none to be believed.
    pub fn read(&self, path: &str) -> Option<Vec<u8>> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.insert(path.to_owned());
        drop(read);
        let bytes = match self.targets {
            None => self.plain(path),
            Some(targets) => match targets.get(path) {
                Some(target) => self.vouched(path, target),
                None => self.not_vouched(path),
            },
        }?;
        self.context.findings.valid(What::Index, path);
        Some(bytes)
    }

    fn plain(&self, path: &str) -> Option<Vec<u8>> {
        match self.context.place.fetch(path, MAX_INDEX) {
            Ok(bytes) => bytes,
            Err(error) => {
                let why = error.fault.to_string();
                self.context.findings.error(What::Index, path, why);
                None
            }
        }
    }

    /// A page is for people: no client believes it, and somebody else's is left alone.
    fn not_vouched(&self, path: &str) -> Option<Vec<u8>> {
        if !path.ends_with(".html") && self.context.place.has(path) {
            let why = "the signed index does not name it; index the channel anew, or remove it";
            self.context.findings.invalid(What::Target, path, why);
        }
        None
    }

    fn vouched(&self, path: &str, target: &Hashed) -> Option<Vec<u8>> {
        self.hold_plain(path, target);
        let findings = self.context.findings;
        match self.context.place.fetch(&target.place, target.length) {
            Ok(Some(bytes)) if Sha256::digest(&bytes)[..] == target.sha256[..] => {
                findings.valid(What::Target, path);
                Some(bytes)
            }
            Ok(Some(_)) => {
                findings.invalid(
                    What::Target,
                    &target.place,
                    "its bytes are not those that the signed index names",
                );
                None
            }
            Ok(None) => {
                findings.error(
                    What::Target,
                    &target.place,
                    "the signed index names it, and there is no such file",
                );
                None
            }
            Err(error) => {
                findings.error(What::Target, &target.place, error.fault.to_string());
                None
            }
        }
    }

    /// The file that clients without TUF read. Keys have none.
    fn hold_plain(&self, path: &str, target: &Hashed) {
        if path.starts_with("keys/") {
            return;
        }
        let findings = self.context.findings;
        let mut sink = Digesting::new(self.context.tools);
        let fetched = self.context.place.upstream().fetch_to(
            path,
            target.length.saturating_add(1),
            &mut sink,
        );
        let digests = sink.finish();
        match fetched {
            Ok(Some(_)) if digests.sha256 == target.sha256 => {}
            Ok(None) => findings.error(
                What::Target,
                path,
                "the signed index names it, and there is no such file: clients that read no signed index miss it",
            ),
            Ok(Some(_)) | Err(crate::upstream::UpstreamError { fault: UpstreamFault::TooLarge { .. }, .. }) => findings.invalid(
                What::Target,
                path,
                format!(
                    "it is not the file of the signed index (SHA-256 {}): clients that read no signed index are told something else",
                    hex(&target.sha256)
                ),
            ),
            Err(error) => findings.error(What::Target, path, error.fault.to_string()),
        }
    }

    /// Holds the compressed twins of a file against it.
    pub fn twins(&self, path: &str, plain: Option<&[u8]>) {
        for (extension, codec) in TWINS {
            let twin = format!("{path}{extension}");
            let Some(bytes) = self.read(&twin) else {
                continue;
            };
            let findings = self.context.findings;
            match plain {
                Some(plain) if codec.holds(&bytes, plain) => findings.valid(What::Twin, &twin),
                Some(_) => findings.invalid(
                    What::Twin,
                    &twin,
                    format!("it does not decompress to {path}, or holds more than that"),
                ),
                None => findings.error(
                    What::Twin,
                    &twin,
                    format!("there is no {path} to hold it against"),
                ),
            }
        }
    }

    /// A file with its twins.
    pub fn with_twins(&self, path: &str) -> Option<Vec<u8>> {
        let plain = self.read(path);
        self.twins(path, plain.as_deref());
        plain
    }

    /// Reads what the signed index names and nobody has read yet.
    pub fn read_rest(&self) {
        let rest: Vec<&String> = {
            let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
            let targets = self.targets.into_iter().flatten();
            let unread = targets.filter(|(path, _)| !read.contains(*path));
            unread.map(|(path, _)| path).collect()
        };
        for path in rest {
            self.read(path);
        }
    }
}
