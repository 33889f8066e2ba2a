//! Compressed twins of an index file. Owns both codecs; must not know what is compressed.

use std::cell::RefCell;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::atomic::AtomicBool;

use bzip2::bufread::BzDecoder;
use bzip2::write::BzEncoder;
use zstd::bulk::Compressor;
use zstd::zstd_safe;

use crate::error::{Error, go_on};

/// The most bytes that the header of a zstd frame takes (RFC 8878, 3.1.1.1), which says how much the frame holds.
pub const HEAD_BYTES: usize = 18;

/// Up to this many bytes a text is small.
const SMALL: usize = 1 << 20;

/// Up to this level a large text takes about a second, and is compressed at once: in pieces it would take a fourth longer.
const FAST: i32 = 6;

/// Of a large one otherwise, so many bytes are compressed before it is asked whether to go on.
const PIECE: usize = 256 << 10;

/// A bzip2 stream that holds less than this is short: every tool that makes several puts one block at least in each.
const SHORT_STREAM: u64 = 64 << 10;
/// The most short streams in a row: each costs as much to begin as a long one, so that a file of nothing else would take
/// hours.
const SHORT_STREAMS: usize = 1_000;

/// How a twin is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// One frame that carries its content size, which conda needs; of a level from 1 to 22.
    Zstd(i32),
    /// bzip2, level 9.
    Bzip2,
}

impl Codec {
    /// Compresses the whole of `plain`, which is not very long.
    ///
    /// # Errors
    /// When the compressor fails, as for want of memory.
    pub fn compress(self, plain: &[u8]) -> Result<Vec<u8>, Error> {
        self.compress_until(plain, &AtomicBool::new(false))
    }

    /// Compresses the whole of `plain`, which may take minutes, unless that is to stop.
    ///
    /// # Errors
    /// As [`Codec::compress`]; [`Error::Interrupted`] where it is to stop.
    pub fn compress_until(self, plain: &[u8], cancelled: &AtomicBool) -> Result<Vec<u8>, Error> {
        go_on(cancelled)?;
        match self {
            Codec::Zstd(level) if plain.len() <= SMALL => small_frame(plain, level),
            Codec::Zstd(level) if level <= FAST => zstd::bulk::compress(plain, level),
            Codec::Zstd(level) => {
                let mut encoder = large_frame(plain.len(), level).map_err(Error::Compress)?;
                in_pieces(plain, &mut encoder, cancelled)?;
                encoder.finish()
            }
            Codec::Bzip2 => {
                let mut encoder = BzEncoder::new(Vec::new(), bzip2::Compression::best());
                in_pieces(plain, &mut encoder, cancelled)?;
                encoder.finish()
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
            Codec::Bzip2 => Box::new(Streams::new(BufReader::new(from))),
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

    /// Whether `existing` decompresses to exactly `plain`, with nothing behind it. Of zstd that is one frame: what stands
    /// beside it, clients read differently or not at all. bzip2 may have several streams, as parallel compressors write
    /// them: clients read them all. Reads no further than `plain` is long.
    pub fn holds(self, existing: &[u8], plain: &[u8]) -> bool {
        match self {
            Codec::Zstd(_) => {
                self.may_hold(existing, plain.len())
                    && zstd::Decoder::with_buffer(existing).is_ok_and(|decoder| {
                        let mut frame = decoder.single_frame();
                        same(&mut frame, plain) && frame.finish().is_empty()
                    })
            }
            Codec::Bzip2 => same(Streams::new(existing), plain),
        }
    }
}

/// bzip2 streams in a row, read as one.
struct Streams<R> {
    /// `None` behind the last.
    decoder: Option<BzDecoder<R>>,
    /// How many bytes the current one gave.
    given: u64,
    /// How many short ones there may still be.
    short: usize,
}

impl<R: BufRead> Streams<R> {
    fn new(input: R) -> Self {
        Streams {
            decoder: Some(BzDecoder::new(input)),
            given: 0,
            short: SHORT_STREAMS,
        }
    }

    /// Goes on with the stream that follows, if one does.
    fn next(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.given) < SHORT_STREAM {
            let too_many = || io::Error::other("it has too many streams of next to nothing");
            self.short = self.short.checked_sub(1).ok_or_else(too_many)?;
        }
        if let Some(mut input) = self.decoder.take().map(BzDecoder::into_inner)
            && !input.fill_buf()?.is_empty()
        {
            self.decoder = Some(BzDecoder::new(input));
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Streams<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(decoder) = &mut self.decoder {
            let count = decoder.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                self.given = self.given.saturating_add(count as u64);
                return Ok(count);
            }
            self.next()?;
        }
        Ok(0)
    }
}

/// Feeds an encoder, and looks now and then whether that is to stop.
fn in_pieces(plain: &[u8], encoder: &mut impl Write, cancelled: &AtomicBool) -> Result<(), Error> {
    for piece in plain.chunks(PIECE) {
        go_on(cancelled)?;
        encoder.write_all(piece).map_err(Error::Compress)?;
    }
    Ok(())
}

/// What makes one frame of so many bytes, with that size at its head.
fn large_frame(length: usize, level: i32) -> io::Result<zstd::Encoder<'static, Vec<u8>>> {
    let mut encoder = zstd::Encoder::new(Vec::new(), level)?;
    encoder.set_pledged_src_size(u64::try_from(length).ok())?;
    Ok(encoder)
}

/// One frame with its content size. What is small comes in thousands, and a compressor that is made anew for each
/// takes more time than the compression.
fn small_frame(plain: &[u8], level: i32) -> io::Result<Vec<u8>> {
    thread_local! {
        static COMPRESSOR: RefCell<Option<(i32, Compressor<'static>)>> = const { RefCell::new(None) };
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
    use std::sync::atomic::Ordering;

    #[test]
    fn twins_hold_what_they_were_made_of() {
        let plain = "repodata".repeat(50_000).into_bytes();
        for codec in [Codec::Zstd(3), Codec::Zstd(19), Codec::Bzip2] {
            for plain in [&plain[..], &plain.repeat(4), b""] {
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
    fn one_that_is_to_stop_does() {
        for codec in [Codec::Zstd(3), Codec::Bzip2] {
            for plain in [&b"x"[..], &[7; 3 * SMALL]] {
                let stopped = codec.compress_until(plain, &AtomicBool::new(true));
                assert!(matches!(stopped, Err(Error::Interrupted)));
            }
            // In the middle of it.
            let cancelled = AtomicBool::new(false);
            let mut pieces = 0;
            let mut encoder = Counting(|| {
                pieces += 1;
                cancelled.store(pieces == 2, Ordering::Relaxed);
            });
            let stopped = in_pieces(&[7; 3 * SMALL], &mut encoder, &cancelled);
            assert!(matches!(stopped, Err(Error::Interrupted)));
            assert_eq!(pieces, 2);
        }
    }

    /// Does something for each piece that is written.
    struct Counting<F>(F);

    impl<F: FnMut()> Write for Counting<F> {
        fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
            (self.0)();
            Ok(piece.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn streams_of_bzip2_are_read_as_one_unless_they_hold_nothing() {
        let (some, nothing) = ([b'x'; 1_000], Codec::Bzip2.compress(b"").unwrap());
        let one = Codec::Bzip2.compress(&some).unwrap();
        let whole = |twin: &[u8]| {
            let mut read = Vec::new();
            let mut reader = Codec::Bzip2.reader(twin).unwrap();
            reader.read_to_end(&mut read).map(|_| read)
        };
        assert_eq!(whole(&one.repeat(3)).unwrap(), some.repeat(3));
        let few = [nothing.repeat(500), one.clone()].concat();
        assert_eq!(whole(&few).unwrap(), some);
        for twin in [nothing.repeat(1_001), one.repeat(2_000)] {
            assert!(whole(&twin).is_err());
        }
        for junk in [&b"junk"[..], &one[..10], b"B"] {
            assert!(whole(&[&one, junk].concat()).is_err());
        }
        assert!(whole(b"").is_err());
    }

    #[test]
    fn nothing_stands_before_or_behind_the_one_frame_or_the_streams() {
        let plain = b"repodata".repeat(1_000);
        // A skippable frame (RFC 8878, 3.1.2) holds what no reader of the twin sees.
        let skippable = [
            &0x184d_2a50_u32.to_le_bytes()[..],
            &4_u32.to_le_bytes(),
            b"more",
        ];
        for (codec, more) in [
            (Codec::Zstd(3), skippable.concat()),
            (Codec::Zstd(3), Codec::Zstd(3).compress(b"").unwrap()),
            (Codec::Zstd(3), b"junk".to_vec()),
            (Codec::Zstd(3), vec![0]),
            (Codec::Bzip2, b"junk".to_vec()),
            (Codec::Bzip2, vec![0]),
        ] {
            let twin = codec.compress(&plain).unwrap();
            assert!(codec.holds(&twin, &plain));
            assert!(!codec.holds(&[&twin[..], &more].concat(), &plain));
            assert!(!codec.holds(&[&more[..], &twin].concat(), &plain));
        }
        let halves = plain.split_at(4_000);
        for (codec, is_held) in [(Codec::Zstd(3), false), (Codec::Bzip2, true)] {
            let two = [halves.0, halves.1].map(|half| codec.compress(half).unwrap());
            assert_eq!(codec.holds(&two.concat(), &plain), is_held);
        }
    }

    #[test]
    fn a_zst_twin_shows_its_size_in_one_frame() {
        for (level, size) in [(3, 1_000_000), (3, 3_000_000), (19, 3_000_000)] {
            let twin = Codec::Zstd(level).compress(&vec![7; size]).unwrap();
            assert_eq!(
                zstd_safe::get_frame_content_size(&twin).unwrap(),
                Some(size as u64)
            );
            assert_eq!(
                zstd_safe::find_frame_compressed_size(&twin).unwrap(),
                twin.len()
            );
        }
    }
}
