//! What a run of `index` works with, opened: the channel, the output, the lock, the cache.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::Common;
#[cfg(feature = "postgres")]
use crate::cache::postgres::{self, PostgresCache};
use crate::cache::{Cache, NoCache, SqliteCache, channel_name, demand_place, is_shared};
use crate::channel::SubdirName;
use crate::cli::options::cache_home;
use crate::cli::own_files::{Closed, Own, demand_cache, resolved};
use crate::cli::place::{self, Held, Patience, Place};
use crate::error::Error;
use crate::package::Format;
use crate::record::hex;
use crate::shown::shown;
use crate::storage::{LocalStorage, LockFor, Nowhere, Storage};

/// The most characters of a channel's name in the name of its cache, which has room for a hash then.
const MAX_NAME: usize = 50;

/// The file of the cache in its folder.
const CACHE_FILE: &str = "cache.db";

/// Where index files and signatures go.
pub enum Output {
    /// Where the packages lie.
    InPlace,
    /// Elsewhere.
    Elsewhere(Place),
    /// Into a folder that a dry run does not make.
    NotYet,
}

impl Output {
    pub fn open(args: &Common, source: &Place) -> Result<Output, Error> {
        let Some(path) = &args.output else {
            return Ok(Output::InPlace);
        };
        let inside = || {
            Error::Usage(format!(
                "--output {}: lies inside the channel, which is only read then; name a place outside",
                shown(path)
            ))
        };
        // Before anything is made there, which the next run would take for a part of the channel.
        if place::url(path).is_none() && source.would_hold(path) {
            return Err(inside());
        }
        let output = match args.dry_run {
            true if place::url(path).is_none() && !place::folder(path)?.exists() => {
                LocalStorage::could_create(path)?;
                return Ok(Output::NotYet);
            }
            true => Place::open(path, args.run.writes())?,
            false => Place::create(path, args.run.writes())?,
        };
        if source.holds(&output) {
            return Err(inside());
        }
        Ok(match output.identity() == source.identity() {
            true => Output::InPlace,
            false => Output::Elsewhere(output),
        })
    }

    pub fn place(&self) -> Option<&Place> {
        match self {
            Output::Elsewhere(output) => Some(output),
            Output::InPlace | Output::NotYet => None,
        }
    }

    pub fn storage(&self) -> Option<&dyn Storage> {
        match self {
            Output::InPlace => None,
            Output::Elsewhere(output) => Some(output.storage()),
            Output::NotYet => Some(&Nowhere),
        }
    }
}

/// Whoever names a subdir means its channel.
pub fn demand_channel(source: &Place) -> Result<(), Error> {
    let name = source.last_name().and_then(SubdirName::standard);
    let Some(name) = name else { return Ok(()) };
    if source
        .storage()
        .list("")?
        .iter()
        .any(|item| Format::of_os(&item.name).is_some())
    {
        let folder = shown(source.name());
        return Err(Error::Usage(format!(
            "{folder} is the subdir {name} of a channel, as it seems; name the channel's folder, which holds it, and --subdir {name} for it alone"
        )));
    }
    Ok(())
}

pub fn lock(args: &Common, target: &Place, purpose: LockFor) -> Result<Option<Held>, Error> {
    // A lease can't be held together; workers do nothing that would need one.
    let is_needless = purpose == LockFor::Beside && target.folder().is_none();
    if args.run.no_lock || is_needless {
        return Ok(None);
    }
    if args.dry_run {
        return target.could_lock().map(|()| None);
    }
    let patience = Patience {
        purpose,
        wait: args.run.wait,
        quiet: args.verbosity.quiet,
    };
    target.lock(patience).map(Some)
}

/// The cache of a run.
pub enum Memory {
    /// In its file.
    Kept(SqliteCache),
    /// In a server, shared with other workers.
    #[cfg(feature = "postgres")]
    Shared(PostgresCache),
    /// None, for a dry run where there is no cache yet.
    None(NoCache),
}

impl Memory {
    /// The cache of a channel. A dry run reads one that is there, and makes none.
    ///
    /// # Errors
    /// When it lies in the channel, or can't be opened or made.
    pub fn open(args: &Common, source: &Place, target: &Place) -> Result<Memory, Error> {
        let channel = channel_name(source.identity(), target.identity());
        let named = args.run.cache.as_deref().and_then(Path::to_str);
        if let Some(url) = named.filter(|name| is_shared(name)) {
            return shared(url, &channel, args.dry_run);
        }
        let path = cache_path(args, source, target)?;
        demand_place(&path)?;
        if !args.dry_run {
            return Ok(Memory::Kept(SqliteCache::open(&path, &channel)?));
        }
        let opened = SqliteCache::open_read_only(&path, &channel);
        Ok(opened.map_or(Memory::None(NoCache), Memory::Kept))
    }

    /// The cache itself.
    pub fn cache(&mut self) -> &mut dyn Cache {
        match self {
            Memory::Kept(cache) => cache,
            #[cfg(feature = "postgres")]
            Memory::Shared(cache) => cache,
            Memory::None(cache) => cache,
        }
    }

    /// What there is to say of it once the run is over.
    pub fn note(&self) -> Option<String> {
        match self {
            Memory::Kept(cache) => cache.note().map(str::to_owned),
            #[cfg(feature = "postgres")]
            Memory::Shared(_) => None,
            Memory::None(_) => None,
        }
    }
}

/// The part of a channel in a shared cache.
#[cfg(feature = "postgres")]
fn shared(url: &str, channel: &str, dry_run: bool) -> Result<Memory, Error> {
    if !dry_run {
        return Ok(Memory::Shared(postgres::open(url, channel)?));
    }
    let opened = postgres::open_read_only(url, channel)?;
    Ok(opened.map_or(Memory::None(NoCache), Memory::Shared))
}

#[cfg(not(feature = "postgres"))]
fn shared(_url: &str, _channel: &str, _dry_run: bool) -> Result<Memory, Error> {
    Err(Error::Usage(
        "--cache postgres://…: this sigindex was built without a shared cache; build it with `--features postgres`, or name a folder".to_owned(),
    ))
}

fn cache_path(args: &Common, source: &Place, target: &Place) -> Result<PathBuf, Error> {
    let path = match &args.run.cache {
        None => default_cache_path(source, target)?,
        Some(path) => {
            let path = resolved(place::here(path)?).map_err(|cause| Error::File {
                path: shown(path),
                operation: "find the cache",
                cause,
            })?;
            if path.is_file() {
                path
            } else {
                path.join(CACHE_FILE)
            }
        }
    };
    closed(args, source)?.keep_out(Own::Cache, &path)?;
    // What has this name was a cache, whatever it holds now.
    if path.file_name() != Some(CACHE_FILE.as_ref()) {
        demand_cache(&path)?;
    }
    Ok(path)
}

/// The folders that are closed to a run's own files.
pub fn closed(args: &Common, source: &Place) -> Result<Closed, Error> {
    let closed = Closed::new(&args.folder.open()?).and(source);
    let closed = closed.and_output(args.output.as_deref())?;
    closed.keep_keys_out()?;
    Ok(closed)
}

/// A folder for this channel and its output, told apart by a hash of both names.
pub fn default_cache_path(source: &Place, target: &Place) -> Result<PathBuf, Error> {
    let base = cache_home()?;
    let mut hash = Sha256::new();
    hash.update(source.identity().as_encoded_bytes());
    hash.update([0]);
    hash.update(target.identity().as_encoded_bytes());
    let digest: String = hex(&hash.finalize()).chars().take(16).collect();
    let name = Path::new(source.name()).file_name();
    let name = name.unwrap_or_default().to_string_lossy();
    let name: String = name.chars().take(MAX_NAME).collect();
    let base = resolved(&base).unwrap_or(base);
    Ok(base
        .join("sigindex")
        .join(format!("{name}-{digest}"))
        .join(CACHE_FILE))
}
