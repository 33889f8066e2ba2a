//! Fetching a target file: from its place by hash, and held against its length and hash.

use std::io::Write;

use sha2::{Digest, Sha256};

use super::place::by_hash;
use super::{Target, TufError};
use crate::upstream::{Upstream, UpstreamError, UpstreamFault};

/// A target file, whole.
///
/// # Errors
/// [`TufError::Absent`], [`TufError::Untrusted`] where its length or hash differs, or what the channel said.
pub fn target(upstream: &dyn Upstream, name: &str, target: &Target) -> Result<Vec<u8>, TufError> {
    let mut bytes = Vec::new();
    target_to(upstream, name, target, &mut bytes)?;
    Ok(bytes)
}

/// Writes a target file to `to`. What was written counts only when this returns without an error.
///
/// # Errors
/// As [`target()`].
pub fn target_to(
    upstream: &dyn Upstream,
    name: &str,
    target: &Target,
    to: &mut dyn Write,
) -> Result<(), TufError> {
    let path = by_hash(name, &target.sha256);
    let place = || format!("{}/{path}", upstream.name());
    let untrusted = |why: String| {
        let path = place();
        TufError::Untrusted { path, why }
    };
    let mut hashing = Hashing {
        to,
        hash: Sha256::new(),
    };
    let length = match upstream.fetch_to(&path, target.length, &mut hashing) {
        Ok(Some(length)) => length,
        Ok(None) => return Err(TufError::Absent { path: place() }),
        Err(UpstreamError {
            fault: UpstreamFault::TooLarge { cap },
            ..
        }) => {
            return Err(untrusted(format!(
                "it has more than the {cap} bytes that were signed"
            )));
        }
        Err(cause) => return Err(TufError::Upstream(cause)),
    };
    if length != target.length {
        let signed = target.length;
        return Err(untrusted(format!(
            "it has {length} bytes, and {signed} were signed"
        )));
    }
    if hashing.hash.finalize().as_slice() != target.sha256 {
        return Err(untrusted(
            "its hash is not the one that was signed".to_owned(),
        ));
    }
    Ok(())
}

/// Hashes what it passes on.
struct Hashing<'a> {
    to: &'a mut dyn Write,
    hash: Sha256,
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.to.flush()
    }
}
