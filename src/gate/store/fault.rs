//! What can go wrong with the gate's store, and what to do about it.

use std::io;

use crate::error::Error;

/// Why the store can't do what it should.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A call to the system failed.
    #[error(
        "{path}: can't {operation}: {cause}; see to the disk, or name another folder with --cache-dir"
    )]
    Io {
        /// The file or folder.
        path: String,
        /// What was being done.
        operation: &'static str,
        /// Why it failed.
        cause: io::Error,
    },
    /// The folder is not this user's alone.
    #[error(
        "{path}: {fault}; take that away with chmod 700, or name another folder with --cache-dir"
    )]
    Untrusted {
        /// The folder.
        path: String,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// What was written has another SHA-256 than it should.
    #[error("the bytes that came are not those that were expected")]
    OtherBytes,
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Error {
        Error::Store(error.to_string())
    }
}
