//! Bytes that are hashed as they stream past, and kept nowhere. Owns the digests of what was fetched; must not know
//! what they are compared with.

use std::io::{self, Write};
use std::sync::atomic::Ordering;

use crate::package::{Digests, Hasher};
use crate::verify::Tools;

/// Takes a file's bytes.
pub(super) struct Digesting<'a> {
    hasher: Hasher,
    tools: &'a Tools<'a>,
}

impl<'a> Digesting<'a> {
    pub fn new(tools: &'a Tools<'a>) -> Digesting<'a> {
        Digesting {
            hasher: Hasher::default(),
            tools,
        }
    }

    /// The digests of all that came.
    pub fn finish(self) -> Digests {
        self.hasher.finish()
    }
}

impl Write for Digesting<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.tools.cancelled.load(Ordering::Relaxed) {
            return Err(io::Error::other("interrupted"));
        }
        self.hasher.update(bytes);
        let count = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.tools.progress.bytes(count);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
