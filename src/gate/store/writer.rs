//! A file on its way into the store: written beside the others, hashed on the way, and gone unless it is kept.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::folder::{Opened, io_error};
use super::{Hash, StoreError};

/// What is written is hashed. Dropped without being kept, it leaves nothing behind.
#[derive(Debug)]
pub struct StoreWriter {
    file: Arc<File>,
    path: PathBuf,
    hasher: Sha256,
    length: u64,
}

impl StoreWriter {
    pub(super) fn new(file: File, path: PathBuf) -> StoreWriter {
        StoreWriter {
            file: Arc::new(file),
            path,
            hasher: Sha256::new(),
            length: 0,
        }
    }

    /// The SHA-256 of what was written so far.
    pub fn sha256(&self) -> Hash {
        self.hasher.clone().finalize().into()
    }

    /// The bytes that were written so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// What was written so far, to be read again.
    pub fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Puts it into its place.
    pub(super) fn rename(mut self, to: PathBuf) -> Result<Opened, StoreError> {
        let fail = |cause| io_error(&to, "keep a file", cause);
        std::fs::rename(&self.path, &to).map_err(fail)?;
        self.path = PathBuf::new();
        // The lock says that somebody writes.
        self.file.unlock().map_err(fail)?;
        Ok(self.opened())
    }

    /// Takes its name away: it is readable until it is closed.
    pub(super) fn into_unnamed(mut self) -> Result<Opened, StoreError> {
        let fail = |cause| io_error(&self.path, "remove a file", cause);
        std::fs::remove_file(&self.path).map_err(fail)?;
        self.path = PathBuf::new();
        Ok(self.opened())
    }

    fn opened(&self) -> Opened {
        Opened {
            file: Arc::clone(&self.file),
            length: self.length,
        }
    }
}

impl Write for StoreWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = (&*self.file).write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or_default());
        let more = u64::try_from(written).unwrap_or(u64::MAX);
        self.length = self.length.saturating_add(more);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for StoreWriter {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            // What can't be removed now is a leftover, which the next gate clears.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
