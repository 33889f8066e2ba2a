//! The digests of a file, fed piece by piece. Owns which digests there are and the order in which bytes reach
//! them; must not know where the bytes come from.

mod lanes;

use std::fmt;

pub(super) use lanes::{Lanes, Piece};
use md5_many::Md5State;
use sha2::{Digest, Sha256};

/// Bytes that both digests take before either takes more: small enough to stay in a core's cache.
const STEP: usize = 64 * 1024;

/// SHA-256 (FIPS 180-4), MD5 (RFC 1321) and the size of the same bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digests {
    /// The SHA-256.
    pub sha256: [u8; 32],
    /// The MD5: old clients look for it. It protects from nothing.
    pub md5: [u8; 16],
    /// The size in bytes.
    pub size: u64,
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.size;
        f.debug_struct("Hasher")
            .field("size", &size)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Digests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digests { sha256: ")?;
        self.sha256.iter().try_for_each(|b| write!(f, "{b:02x}"))?;
        f.write_str(", md5: ")?;
        self.md5.iter().try_for_each(|b| write!(f, "{b:02x}"))?;
        write!(f, ", size: {} }}", self.size)
    }
}

/// Digests in the making.
#[derive(Default)]
pub struct Hasher {
    sha256: Sha256,
    md5: Md5,
    size: u64,
}

/// An MD5 in the making: the part of a [`Hasher`] that another thread may take over for a while.
#[derive(Clone, Copy, Default)]
pub(super) struct Md5(Md5State);

impl Hasher {
    /// Takes the bytes that follow those taken before.
    pub fn update(&mut self, bytes: &[u8]) {
        for step in bytes.chunks(STEP) {
            self.sha256.update(step);
            self.md5.update(step);
        }
        self.count(bytes);
    }

    /// How many bytes were taken.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Takes bytes into everything but the MD5, which somebody else gives the same bytes.
    pub(super) fn update_but_md5(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.count(bytes);
    }

    /// The MD5, to be fed elsewhere.
    pub(super) fn md5(&mut self) -> &mut Md5 {
        &mut self.md5
    }

    fn count(&mut self, bytes: &[u8]) {
        self.size = self.size.saturating_add(bytes.len() as u64);
    }

    /// The digests of all bytes that were taken.
    pub fn finish(self) -> Digests {
        Digests {
            sha256: self.sha256.finalize().into(),
            md5: self.md5.0.finalize(),
            size: self.size,
        }
    }
}

impl Md5 {
    /// Takes the bytes that follow those taken before.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// How many bytes were taken.
    pub(super) fn size(&self) -> u64 {
        self.0.bytes_hashed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_vectors_in_any_pieces() {
        let mut whole = Hasher::default();
        whole.update(b"abc");
        assert_eq!((whole.size(), whole.md5().size()), (3, 3));
        assert_eq!(format!("{whole:?}"), "Hasher { size: 3, .. }");
        let mut pieces = Hasher::default();
        pieces.update(b"a");
        pieces.update(b"");
        pieces.update(b"bc");
        let digests = whole.finish();
        assert_eq!(digests, pieces.finish());
        assert_eq!(
            format!("{digests:?}"),
            "Digests { sha256: ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad, \
             md5: 900150983cd24fb0d6963f7d28e17f72, size: 3 }"
        );
    }
}
