//! What `trust` works with, opened: the place of the index, its lock, the keys that are trusted.

use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::cache::{Cache as _, Seen, SqliteCache, Versions, channel_name};
use crate::cli::index::open::default_cache_path;
use crate::cli::options::{KeysFolder, Verbosity, cache_home, clock};
use crate::cli::out;
use crate::cli::own_files::Closed;
use crate::cli::place::{self, Held, Patience, Writes};
use crate::cli::signing::demand_read;
use crate::error::Error;
use crate::keys::{Fingerprint, Keyring, KeysDir, PublicKey};
use crate::record::hex;
use crate::shown::shown;
use crate::storage::LockFor;
use crate::trust::{Desk, OldKey};
use crate::upstream::StoredUpstream;

/// Flags of verbs that work on a channel.
#[derive(Debug, clap::Args)]
pub struct PlaceArgs {
    /// The channel's folder; with an --output of its own, that folder
    #[arg(value_name = "CHANNEL")]
    pub channel: PathBuf,
    #[command(flatten)]
    pub folder: KeysFolder,
}

/// Flags of verbs that write.
#[derive(Debug, clap::Args)]
pub struct WriteArgs {
    /// Say what would be done, and touch nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Wait for another run on this channel to end
    #[arg(long)]
    wait: bool,
    /// Go without the lock, on file systems that have none
    #[arg(long, conflicts_with = "wait")]
    no_lock: bool,
    /// Write to object storage that knows no conditional writes
    #[arg(long)]
    no_conditional_writes: bool,
    #[command(flatten)]
    pub verbosity: Verbosity,
}

/// What becomes of an index that a revoked key signed.
#[derive(Debug, clap::Args)]
pub struct OldKeyArgs {
    /// Sign anew what an index key signed that the root revokes, if that key is in no other hands
    #[arg(long)]
    trust_old_key: bool,
}

impl OldKeyArgs {
    pub fn old_key(&self) -> OldKey {
        match self.trust_old_key {
            true => OldKey::Trusted,
            false => OldKey::Refused,
        }
    }
}

/// An open channel.
pub struct Place {
    pub name: String,
    pub folder: KeysDir,
    pub keyring: Keyring,
    place: place::Place,
    upstream: Arc<StoredUpstream>,
    trusted: Vec<Fingerprint>,
    memory: Option<PathBuf>,
    cache: Option<PathBuf>,
    seen: Versions,
    now: i64,
    dry_run: bool,
    _lock: Option<Held>,
}

impl Place {
    /// To look at.
    pub fn open(args: &PlaceArgs) -> Result<Place, Error> {
        Place::open_for(args, Writes::Conditional)
    }

    fn open_for(args: &PlaceArgs, writes: Writes) -> Result<Place, Error> {
        let folder = args.folder.open()?;
        let keyring = folder.public_keys()?;
        demand_read(&keyring)?;
        let name = shown(&args.channel);
        let place = place::Place::open(&args.channel, writes)?;
        Closed::new(&folder).and(&place).keep_keys_out()?;
        let name = match name.trim_end_matches('/') {
            "" => "/".to_owned(),
            name => name.to_owned(),
        };
        Ok(Place {
            upstream: Arc::new(StoredUpstream::new(name.clone(), place.shared())),
            trusted: keyring.vouching().map(PublicKey::fingerprint).collect(),
            now: clock(),
            memory: None,
            cache: None,
            seen: Versions::new(),
            dry_run: true,
            _lock: None,
            name,
            folder,
            keyring,
            place,
        })
    }

    /// To write in, under the channel's lock.
    pub fn lock(args: &PlaceArgs, write: &WriteArgs) -> Result<Place, Error> {
        let writes = match write.no_conditional_writes {
            true => Writes::Unconditional,
            false => Writes::Conditional,
        };
        let mut place = Place::open_for(args, writes)?;
        if write.dry_run {
            return Ok(place);
        }
        place.dry_run = false;
        place.memory = Some(memory(&place.place)?);
        if !write.no_lock {
            place._lock = Some(place.place.lock(Patience {
                purpose: LockFor::Alone,
                wait: write.wait,
                quiet: write.verbosity.quiet,
            })?);
        }
        let cache = default_cache_path(&place.place, &place.place)?;
        place.cache = cache.is_file().then_some(cache);
        place.seen = place.saw(&Versions::new())?;
        Ok(place)
    }

    /// Lets the runs of this machine know what stands there now; what they saw. Runs with an output or a cache of their
    /// own have their own memory.
    pub fn saw(&self, versions: &Versions) -> Result<Versions, Error> {
        let Some(path) = &self.cache else {
            return Ok(Versions::new());
        };
        let place = self.place.identity();
        let mut cache = SqliteCache::open(path, &channel_name(place, place))?;
        let seen = cache.seen(versions, Seen::Higher)?;
        // With a cache that was put aside, what was seen before is gone.
        if let Some(note) = cache.note() {
            out::warning(note);
        }
        Ok(seen)
    }

    /// Forgets what was remembered of an index that is no more: a new one begins.
    pub fn forget(&self) -> Result<(), Error> {
        let Some(path) = &self.memory else {
            return Ok(());
        };
        match std::fs::remove_dir_all(path) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => Err(Error::File {
                path: shown(path),
                operation: "forget what was seen of the index before",
                cause,
            }),
            _ => Ok(()),
        }
    }

    pub fn desk(&self) -> Desk<'_> {
        Desk {
            storage: self.place.storage(),
            upstream: Arc::clone(&self.upstream) as _,
            trusted: &self.trusted,
            memory: self.memory.clone(),
            seen: self.seen.clone(),
            now: self.now,
            dry_run: self.dry_run,
        }
    }
}

/// A folder in the user's cache for what was seen of the index in this place.
fn memory(place: &place::Place) -> Result<PathBuf, Error> {
    let digest = Sha256::digest(place.identity().as_encoded_bytes());
    let digest: String = hex(&digest).chars().take(16).collect();
    Ok(cache_home()?
        .join("sigindex")
        .join(format!("trust-{digest}")))
}
