//! Error: why a run failed. Owns the words that a user reads, with the file, the operation, the cause
//! and the remedy; must not know how a run is carried out, but that it may be told to stop.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cache::CacheError;
use crate::json::JsonError;
use crate::keys::{KeyError, KeyName};
use crate::storage::{StorageError, remedy};
use crate::upstream::UpstreamError;

/// Why a run failed. Nothing was published then, beyond what the report says.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the channel.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The cache.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// A key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A channel behind a folder or a URL.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// The gate's store of checked files.
    #[error("{0}")]
    Store(String),
    /// The gate can't listen.
    #[error(
        "{address}: can't listen there: {cause}; name another place with --listen ADDRESS:PORT"
    )]
    Listen {
        /// The address and the port.
        address: String,
        /// Why.
        cause: io::Error,
    },
    /// A command that should have been run.
    #[error("{program}: can't run it: {cause}; see that it is installed and on the PATH")]
    Run {
        /// Its name.
        program: String,
        /// Why.
        cause: io::Error,
    },
    /// No private key that may sign the channel's index.
    #[error(
        "{folder}: none of the private keys here signs the channel's index ({fingerprints}), and without one nothing can be published; put it there with its public half (NAME.pub), or give it in $SIGINDEX_INDEX_PRIVATE_KEY and $SIGINDEX_INDEX_KEY_NAME, or name a command or token that has it in $SIGINDEX_INDEX_KEY"
    )]
    NoIndexKey {
        /// The keys folder.
        folder: String,
        /// Those that may sign.
        fingerprints: String,
    },
    /// The root of a signed index that can't be made, changed or published.
    #[error("{place}: {why}")]
    Trust {
        /// The channel or the draft.
        place: String,
        /// Why, and what to do.
        why: String,
    },
    /// No private key to sign with.
    #[error(
        "{folder}: there is no private key to sign with; make one with `sigindex keygen NAME`, or let this run make it with --create-key NAME, or index without signing with --no-sign"
    )]
    NoKey {
        /// The keys folder.
        folder: String,
    },
    /// All private keys sign an index.
    #[error(
        "{folder}: the private keys there ({names}) sign an index, and so no package; make one for packages with `sigindex keygen NAME`, or index without signing with --no-sign"
    )]
    OnlyIndexKeys {
        /// The keys folder.
        folder: String,
        /// Their names.
        names: String,
    },
    /// More than one private key, and none was chosen.
    #[error("{folder}: there are several private keys ({names}); choose one with --key NAME")]
    SeveralKeys {
        /// The keys folder.
        folder: String,
        /// Their names.
        names: String,
    },
    /// The key that was chosen is weak.
    #[error(
        "the key {name} has {bits} bits, and signatures by keys below {min} bits do not count; take a stronger key, or lower --min-bits"
    )]
    WeakKey {
        /// The key.
        name: KeyName,
        /// Its size.
        bits: u32,
        /// The size that is demanded.
        min: u32,
    },
    /// The environment names a key and not the other half of it.
    #[error("{0}")]
    Environment(String),
    /// A signature could not be made.
    #[error("{path}: can't sign: {cause}")]
    Sign {
        /// The file.
        path: String,
        /// Why.
        cause: String,
    },
    /// A signed index that can't be built on: nothing is signed over what is not understood.
    #[error(
        "{place}: {why}, and nothing is published on top of it; put back what was published or, when you know why it is so, take the index files as they stand and start a new generation with --accept-index"
    )]
    SignedIndex {
        /// The file or channel.
        place: String,
        /// What is wrong with it.
        why: String,
    },
    /// An index that was signed once, and is not any more.
    #[error(
        "{place}: its index was signed (this machine saw version {version}), and tuf/ is gone; put that folder back or, to go without from now on, remove the cache of this channel too"
    )]
    Unsigned {
        /// The channel.
        place: String,
        /// The version that was seen.
        version: u64,
    },
    /// A signed index whose metadata can't be read or made.
    #[error("{0}")]
    Metadata(String),
    /// A key of the signed index, where one that signs packages is needed.
    #[error(
        "the key {name} signs indexes, and such a key never signs a package; take another with --key NAME, or make one with `sigindex keygen NAME`"
    )]
    RoleKey {
        /// The key.
        name: KeyName,
    },
    /// A key that may not sign the channel's index.
    #[error(
        "the key {name} may not sign the channel's index: its root does not name it; give one that it names in $SIGINDEX_INDEX_PRIVATE_KEY, or name this one with `sigindex trust root`"
    )]
    NotIndexKey {
        /// The key.
        name: KeyName,
    },
    /// A key could not be opened.
    #[error("{0}")]
    Signer(String),
    /// A published index that can't be read. Nothing is known then of what was published.
    #[error(
        "{path}: the published index can't be read: {cause}; put a good copy there, or remove it, and every package counts as new"
    )]
    BrokenIndex {
        /// The file.
        path: String,
        /// What is wrong with it.
        cause: serde_json::Error,
    },
    /// The compressor failed.
    #[error("can't compress an index file: {0}")]
    Compress(io::Error),
    /// The feed could not be printed.
    #[error("can't make rss.xml: {0}")]
    Feed(io::Error),
    /// A record in the cache is broken.
    #[error("{path}: the record can't be made: {cause}; remove the cache and run again")]
    Record {
        /// The package.
        path: String,
        /// What is wrong with it.
        cause: crate::record::RecordError,
    },
    /// A record that is no JSON can't be told in MessagePack.
    #[error(
        "{path}: the record can't be put into a shard: {cause}; remove the cache and run again, and where its file is gone, run without --update-only"
    )]
    Shard {
        /// The package.
        path: String,
        /// What is wrong with it.
        cause: JsonError,
    },
    /// Nobody could read it back.
    #[error(
        "{path}: {what} would have more than {mebibytes} MiB when it is decompressed, or more values than are read back; take old packages out, or leave shards out with --no-write-shards"
    )]
    LargeShard {
        /// A package in it, or the index of shards.
        path: String,
        /// Which file.
        what: &'static str,
        /// The most that it may have.
        mebibytes: u64,
    },
    /// Repodata patches that can't be had or used.
    #[error("{path}: can't {operation}: {cause}")]
    Patches {
        /// Where they come from.
        path: String,
        /// What was being done.
        operation: String,
        /// Why it failed, and what to do.
        cause: String,
    },
    /// A file that was named on the command line.
    #[error("{path}: can't {operation}: {cause}{}", remedy(.cause))]
    File {
        /// The file.
        path: String,
        /// What was being done.
        operation: &'static str,
        /// Why it failed.
        cause: io::Error,
    },
    /// A list for `--sign-only` that isn't one.
    #[error(
        "{path}, line {line}: not in the form of sha256sum: 64 hex digits, two spaces, a file name"
    )]
    SignList {
        /// The file.
        path: String,
        /// The line, counted from 1.
        line: usize,
    },
    /// A file that was looked at changed before it was used.
    #[error("{path}: changed while the channel was indexed; run again when it is at rest")]
    Unsteady {
        /// The file.
        path: String,
    },
    /// A list of versions for `current_repodata.json` that isn't one.
    #[error(
        "{path}, line {line}: {cause}; write names, and for each a list of versions in quotes, as in `python: [\"3.9\", \"3.10\"]`"
    )]
    Pins {
        /// The file.
        path: String,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong there.
        cause: String,
    },
    /// A package that another worker put up, and that this one can't take.
    #[error(
        "{package}: another worker on this channel put it up, and this one can't take it, because that is no name of a package; let all workers be of one version of sigindex, and start this one again"
    )]
    OthersPackage {
        /// Its path in the channel.
        package: String,
    },
    /// Words on the command line that don't go together.
    #[error("{0}")]
    Usage(String),
    /// The pool of threads.
    #[error("can't start the worker threads: {0}; try fewer with --threads")]
    Threads(String),
    /// SIGINT or SIGTERM.
    #[error("interrupted; signatures that were made stay, and nothing was published")]
    Interrupted,
}

/// Ends what is being done when it is to stop.
///
/// # Errors
/// [`Error::Interrupted`] then.
pub fn go_on(cancelled: &AtomicBool) -> Result<(), Error> {
    match cancelled.load(Ordering::Relaxed) {
        true => Err(Error::Interrupted),
        false => Ok(()),
    }
}

impl Error {
    /// Whether another run replaced what this one rests on, so that it has to be begun anew.
    pub fn is_lost_race(&self) -> bool {
        matches!(self, Error::Storage(cause) if cause.is_lost_race())
    }
}
