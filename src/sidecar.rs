//! The signature beside a file: `FILE.sig` next to `FILE`. Owns where it lies and how it is read; whether it
//! holds is [`crate::signature`]'s to say.

use std::io::Read as _;
use std::path::Path;

use crate::signature::{MAX_SIG_BYTES, Signature};
use crate::storage::{Links, LocalStorage, Stat, Storage};

/// What stands behind a file's name in the name of its signature.
pub const SUFFIX: &str = ".sig";

/// Reads a `.sig` file, never more of it than a signature can have.
///
/// # Errors
/// Why there is no signature to be had of it, in words for the user.
pub fn read(storage: &dyn Storage, path: &str) -> Result<(Signature, Stat), String> {
    let (file, stat) = storage
        .open(path, Links::Follow)
        .map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_SIG_BYTES).unwrap_or(u64::MAX);
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|cause| format!("{path}: can't read: {cause}"))?;
    let signature = Signature::parse(&bytes).map_err(|fault| fault.to_string())?;
    Ok((signature, stat))
}

/// Whether a file has a signature beside it, be it good or bad.
pub fn is_there(storage: &dyn Storage, path: &str) -> bool {
    // A dangling link is there, too: nothing is put in its place unasked.
    !matches!(storage.stat(path), Ok(None))
}

/// The folder of a file that was named on the command line, and its name in it.
///
/// # Errors
/// When it has no name, or its folder can't be opened; in words for the user.
pub fn place_of(file: &Path) -> Result<(LocalStorage, String), String> {
    let name = file.file_name().and_then(|name| name.to_str());
    let name = name.ok_or("its name is not that of a file, in UTF-8")?;
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let storage =
        LocalStorage::open(folder.unwrap_or(Path::new("."))).map_err(|error| error.to_string())?;
    Ok((storage, name.to_owned()))
}
