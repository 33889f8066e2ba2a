//! The channel that is audited: what is fetched of it, and what a listing shows, where there is one. Owns the
//! difference between a folder and a URL; must not judge what comes.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::channel::SubdirName;
use crate::error::Error;
use crate::keys::ChannelPlace;
use crate::repodata::{CURRENT_REPODATA, REPODATA, shards};
use crate::shown::shown;
use crate::storage::{Kind, LocalStorage, Storage, StorageError, is_object_url, open_url};
use crate::upstream::{
    self, StoredUpstream, Upstream, UpstreamError, UpstreamFault, is_meant_as_url, without_secrets,
};

/// The folder of a signed index.
pub(super) const SIGNED: &str = "tuf";

/// Subdirs that are asked for behind a URL, which can't be listed: the platforms that conda knows.
const PLATFORMS: [&str; 20] = [
    "noarch",
    "emscripten-wasm32",
    "freebsd-64",
    "linux-32",
    "linux-64",
    "linux-aarch64",
    "linux-armv6l",
    "linux-armv7l",
    "linux-ppc64",
    "linux-ppc64le",
    "linux-riscv32",
    "linux-riscv64",
    "linux-s390x",
    "osx-64",
    "osx-arm64",
    "wasi-wasm32",
    "win-32",
    "win-64",
    "win-arm64",
    "zos-z",
];

/// Whether a subdir has an index that some client reads, by a question for a path.
fn any_index(folder: &str, has: impl Fn(&str) -> bool) -> bool {
    let plain = [REPODATA, shards::SHARD_INDEX, CURRENT_REPODATA].map(str::to_owned);
    let twins = ["zst", "bz2"].map(|end| format!("{REPODATA}.{end}"));
    let mut names = plain.iter().chain(&twins);
    names.any(|name| has(&format!("{folder}/{name}")))
}

/// A channel, opened.
pub struct Place {
    upstream: Arc<dyn Upstream>,
    /// What lists it, where it can be listed.
    storage: Option<Arc<dyn Storage>>,
    root: Option<PathBuf>,
}

impl Place {
    /// A folder of this machine.
    ///
    /// # Errors
    /// When it can't be opened.
    pub fn folder(root: &Path) -> Result<Place, StorageError> {
        let storage: Arc<dyn Storage> = Arc::new(LocalStorage::open(root)?);
        let name = shown(root);
        let name = match name.trim_end_matches('/') {
            "" => name,
            trimmed => trimmed.to_owned(),
        };
        Ok(Place {
            upstream: Arc::new(StoredUpstream::new(name, Arc::clone(&storage))),
            storage: Some(storage),
            root: Some(root.to_owned()),
        })
    }

    /// A channel by folder or URL.
    ///
    /// # Errors
    /// When there is no such folder, it is no URL of a channel, or this build has no HTTP.
    pub fn open(channel: &str) -> Result<Place, Error> {
        if upstream::is_url(channel) {
            return Ok(Place::remote(upstream::open(channel)?));
        }
        if is_object_url(channel) {
            let storage = open_url(channel)?;
            let name = channel.trim_end_matches('/').to_owned();
            return Ok(Place {
                upstream: Arc::new(StoredUpstream::new(name, Arc::clone(&storage))),
                storage: Some(storage),
                root: None,
            });
        }
        let scheme = channel.split_once("://").map(|(scheme, _)| scheme);
        let is_file = |scheme: &str| scheme.eq_ignore_ascii_case("file");
        if !scheme.map_or_else(|| !is_meant_as_url(channel), is_file) {
            return Err(Error::Usage(format!(
                "{}: not a channel's URL: those begin with http://, https://, s3://, gs://, az:// or file://",
                without_secrets(channel)
            )));
        }
        let parsed = ChannelPlace::parse(channel)?;
        Place::folder(parsed.folder().unwrap_or(Path::new(channel))).map_err(Error::from)
    }

    /// A channel that can be fetched and not listed.
    pub fn remote(upstream: Arc<dyn Upstream>) -> Place {
        Place {
            upstream,
            storage: None,
            root: None,
        }
    }

    /// What people call it.
    pub fn name(&self) -> &str {
        self.upstream.name()
    }

    /// What it is fetched through.
    pub fn upstream(&self) -> &Arc<dyn Upstream> {
        &self.upstream
    }

    /// Whether more can be seen of it than what is named.
    pub fn can_be_listed(&self) -> bool {
        self.storage.is_some()
    }

    /// The folder, where it is one.
    pub fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    /// A file of at most `cap` bytes.
    pub fn fetch(&self, path: &str, cap: u64) -> Result<Option<Vec<u8>>, UpstreamError> {
        upstream::fetch(self.upstream.as_ref(), path, cap)
    }

    /// Whether there is such a file. Only its absence is sure; what can't be read is there.
    pub fn has(&self, path: &str) -> bool {
        !matches!(self.is_there(path), Ok(false))
    }

    /// Whether there is such a file.
    ///
    /// # Errors
    /// When that can't be told. One that is larger than nothing is there.
    pub fn is_there(&self, path: &str) -> Result<bool, UpstreamError> {
        match self.upstream.fetch_to(path, 0, &mut Nowhere) {
            Ok(None) => Ok(false),
            Ok(Some(_)) => Ok(true),
            Err(error) if matches!(error.fault, UpstreamFault::TooLarge { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// The plain files and links in a folder of the channel, by name; `None` where nothing can be listed.
    ///
    /// # Errors
    /// When the folder is there and can't be listed to its end.
    pub fn names_in(&self, folder: &str) -> Result<Option<BTreeSet<String>>, StorageError> {
        let Some(storage) = self.storage.as_ref() else {
            return Ok(None);
        };
        let items = match storage.list(folder) {
            Err(error) if error.is_absent() || error.is_no_folder() => Vec::new(),
            listed => listed?,
        };
        let files = items.into_iter().filter(|item| item.kind != Kind::Folder);
        let names = files.filter_map(|item| item.name.into_string().ok());
        Ok(Some(names.collect()))
    }

    /// Makes sure that what can be listed is listed: what the channel seems not to have, it has not.
    ///
    /// # Errors
    /// When it can't be listed.
    pub fn demand_listing(&self) -> Result<(), StorageError> {
        let listed = self.storage.as_ref().map(|storage| storage.list(""));
        listed.map_or(Ok(()), |listed| listed.map(drop))
    }

    /// The subdirs to look into: those that are asked for, or all that can be found.
    pub fn subdirs(&self, asked: &[SubdirName], vouched: &BTreeSet<String>) -> BTreeSet<String> {
        if !asked.is_empty() {
            return asked.iter().map(|name| name.as_str().to_owned()).collect();
        }
        let mut found = vouched.clone();
        match self.storage.as_deref() {
            Some(storage) => {
                found.extend(folders(storage).filter(|name| {
                    SubdirName::standard(name).is_some() || has_index(storage, name)
                }))
            }
            // Where the index is signed it names all subdirs.
            None if vouched.is_empty() => {
                let there = PLATFORMS
                    .iter()
                    .filter(|name| any_index(name, |path| self.has(path)));
                found.extend(there.map(|name| (*name).to_owned()));
            }
            None => {}
        }
        found.insert(SubdirName::noarch().as_str().to_owned());
        found
    }

    /// Whether the channel says that its index is signed.
    pub fn is_signed(&self) -> bool {
        match &self.storage {
            // What is no folder was put in its place.
            Some(storage) => match storage.list("") {
                Ok(items) => items.iter().any(|item| item.name == SIGNED),
                // Then nothing vouches for what is there, and that is found out.
                Err(_) => true,
            },
            None => ["timestamp.json", "1.root.json"]
                .iter()
                .any(|name| self.has(&format!("{SIGNED}/{name}"))),
        }
    }
}

/// Whether a folder is a channel: one that was published.
pub fn is_channel(root: &Path) -> bool {
    let Ok(storage) = LocalStorage::open(root) else {
        return false;
    };
    folders(&storage).any(|name| {
        name == SIGNED || SubdirName::standard(&name).is_some() && has_index(&storage, &name)
    })
}

/// Whether a subdir was published.
fn has_index(storage: &dyn Storage, folder: &str) -> bool {
    any_index(folder, |path| matches!(storage.stat(path), Ok(Some(_))))
}

/// The folders in a channel that are not hidden, by name.
fn folders(storage: &dyn Storage) -> impl Iterator<Item = String> + use<> {
    let items = storage.list("").unwrap_or_default().into_iter();
    let folders = items.filter(|item| item.kind == Kind::Folder);
    let names = folders.filter_map(|item| item.name.into_string().ok());
    names.filter(|name| !name.starts_with('.'))
}

/// Takes no byte.
struct Nowhere;

impl Write for Nowhere {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
