//! Compressed twins of an index file. Owns both codecs; must not know what is compressed.

use std::cell::RefCell;
use std::io::{Read, Write as _};

use bzip2::read::MultiBzDecoder;
use bzip2::write::BzEncoder;
use zstd::bulk::Compressor;
use zstd::zstd_safe;

use crate::error::Error;

/// The most bytes that the header of a zstd frame takes (RFC 8878, 3.1.1.1), which says how much the frame holds.
pub const HEAD_BYTES: usize = 18;

/// Up to this many bytes a text is small.
const SMALL: usize = 1 << 20;

/// How a twin is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// One frame that carries its content size, which conda needs; of a level from 1 to 22.
    Zstd(i32),
    /// bzip2, level 9.
    Bzip2,
}

impl Codec {
    /// Compresses the whole of `plain`.
    ///
    /// # Errors
    /// When the compressor fails, as for want of memory.
    pub fn compress(self, plain: &[u8]) -> Result<Vec<u8>, Error> {
        match self {
            Codec::Zstd(level) => zstd_frame(plain, level),
            Codec::Bzip2 => {
                let mut encoder = BzEncoder::new(Vec::new(), bzip2::Compression::best());
                encoder.write_all(plain).and_then(|()| encoder.finish())
            }
        }
        .map_err(Error::Compress)
    }

    /// What `from` holds, decompressed as it is read. How much that is, is for the caller to limit.
    ///
    /// # Errors
    /// When the decompressor can't be had, as for want of memory.
    pub fn reader<'a>(
        self,
        from: impl Read + Send + 'a,
    ) -> std::io::Result<Box<dyn Read + Send + 'a>> {
        Ok(match self {
            Codec::Zstd(_) => Box::new(zstd::Decoder::new(from)?),
            Codec::Bzip2 => Box::new(MultiBzDecoder::new(from)),
        })
    }

    /// Whether what begins so can decompress to that many bytes, as far as its first [`HEAD_BYTES`] tell.
    pub fn may_hold(self, head: &[u8], plain: usize) -> bool {
        match self {
            Codec::Zstd(_) => {
                let size = zstd_safe::get_frame_content_size(head);
                size.ok().flatten() == u64::try_from(plain).ok()
            }
            Codec::Bzip2 => true,
        }
    }

    /// Whether `existing` decompresses to exactly `plain`. Reads no further than `plain` is long.
    pub fn holds(self, existing: &[u8], plain: &[u8]) -> bool {
        match self {
            Codec::Zstd(_) => {
                self.may_hold(existing, plain.len())
                    && zstd::Decoder::with_buffer(existing)
                        .is_ok_and(|decoder| same(decoder, plain))
            }
            Codec::Bzip2 => same(MultiBzDecoder::new(existing), plain),
        }
    }
}

/// One frame with its content size. What is small comes in thousands, and a compressor that is made anew for each
/// takes more time than the compression; for what is large one is kept no longer than it is needed.
fn zstd_frame(plain: &[u8], level: i32) -> std::io::Result<Vec<u8>> {
    thread_local! {
        static COMPRESSOR: RefCell<Option<(i32, Compressor<'static>)>> = const { RefCell::new(None) };
    }
    if plain.len() > SMALL {
        return zstd::bulk::compress(plain, level);
    }
    COMPRESSOR.with_borrow_mut(|kept| match kept {
        Some((known, compressor)) if *known == level => compressor.compress(plain),
        _ => {
            let (_, compressor) = kept.insert((level, Compressor::new(level)?));
            compressor.compress(plain)
        }
    })
}

/// Whether a reader gives exactly these bytes.
fn same(mut reader: impl Read, mut expected: &[u8]) -> bool {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let Ok(count) = reader.read(&mut buffer) else {
            return false;
        };
        if count == 0 {
            return expected.is_empty();
        }
        match (buffer.get(..count), expected.split_at_checked(count)) {
            (Some(got), Some((head, tail))) if got == head => expected = tail,
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn twins_hold_what_they_were_made_of() {
        let plain = "repodata".repeat(50_000).into_bytes();
        for codec in [Codec::Zstd(3), Codec::Zstd(19), Codec::Bzip2] {
            for plain in [&plain[..], b""] {
                let twin = codec.compress(plain).unwrap();
                assert!(codec.holds(&twin, plain));
                assert!(!codec.holds(&twin, &[plain, b"x"].concat()));
                assert!(!codec.holds(&twin[..twin.len() - 3], plain) || plain.is_empty());
                assert!(codec.may_hold(&twin[..twin.len().min(HEAD_BYTES)], plain.len()));
                assert!(!codec.holds(b"", b"x"));
                assert!(!codec.holds(b"text", plain));
            }
            assert!(!codec.holds(&codec.compress(&plain[1..]).unwrap(), &plain));
        }
    }

    #[test]
    fn a_zst_twin_shows_its_size_in_one_frame() {
        let twin = Codec::Zstd(3).compress(&[7; 1_000_000]).unwrap();
        assert_eq!(
            zstd_safe::get_frame_content_size(&twin).unwrap(),
            Some(1_000_000)
        );
        assert_eq!(
            zstd_safe::find_frame_compressed_size(&twin).unwrap(),
            twin.len()
        );
    }
}
