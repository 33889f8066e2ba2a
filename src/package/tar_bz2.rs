//! The `.tar.bz2` format (CEP 35, version 1): bzip2 streams in a row around one tar stream. Owns where the
//! streams end; must not know what the tar stream holds.

use std::io::{self, BufRead, Read};

use bzip2::bufread::BzDecoder;

use super::documents::Collected;
use super::info::{Part, Search, decoded_cap};
use super::source::Source;
use super::{Note, PackageError};
use crate::storage::ReadAt;

const PART: &str = "in its bzip2 data";
/// The 48 bits that stand before the checksum at the end of a stream (the digits of √π).
const END_OF_STREAM: u64 = 0x1772_4538_5090;

/// A stream that holds less than this is short: every tool that makes several puts one block at least in each.
const SHORT: u64 = 64 * 1024;
/// The most short streams of a file. Each costs as much to begin as a long one, so that a file of nothing else would
/// take hours.
const SHORT_STREAMS: usize = 1_000;

/// How many bytes a block may have for each level (the digit in a stream's header).
const LEVEL: u64 = 100_000;
/// How many times their size most small packages have when they are unpacked.
const USUAL_RATIO: u64 = 8;

/// Takes `info/index.json` and the documents beside it out of a source that stands at its first byte.
pub(super) fn search<F: ReadAt + ?Sized>(
    source: &mut Source<'_, F>,
    notes: &mut Vec<Note>,
) -> Result<(Vec<u8>, Collected), PackageError> {
    let check = source.check_archives();
    let trailing = bytes_behind(source.tail())?;
    if trailing > 0 {
        if check {
            return Err(PackageError::TrailingBytes { bytes: trailing });
        }
        notes.push(Note::TrailingBytes { bytes: trailing });
    }
    let cap = decoded_cap(source.size());
    if let Some((head, rest)) = smaller(source) {
        let mut search = Search::new(check, source.cancelled());
        let streams = Streams::new(head.as_slice().chain(rest), check);
        match search.look_through(Part::Info, streams, cap) {
            // Perhaps a block that is larger than was guessed.
            Err(PackageError::Damaged { .. }) => {}
            looked => return looked.and_then(|()| search.finish()),
        }
    }
    let mut search = Search::new(check, source.cancelled());
    search.look_through(Part::Info, Streams::new(&mut *source, check), cap)?;
    search.finish()
}

/// A file that is held whole, as the bytes that say how large its blocks may be and the rest; but with a size that is
/// enough for a file so short. The decoder clears four times as much memory, in most files to use a twentieth of it.
/// What it gives is the same, unless a block is larger than that, and then it calls the data damaged.
fn smaller<'s, F: ReadAt + ?Sized>(source: &'s Source<'_, F>) -> Option<([u8; 4], &'s [u8])> {
    let (head, rest) = source.tail().split_first_chunk::<4>()?;
    let whole = source.tail().len() as u64 == source.size();
    let [b'B', b'Z', b'h', said @ b'1'..=b'9'] = *head else {
        return None;
    };
    let unpacked = source.size().saturating_mul(USUAL_RATIO);
    let level = unpacked.div_ceil(LEVEL).clamp(1, 9);
    let level = u8::try_from(level).ok()?.saturating_add(b'0');
    (whole && level < said).then_some(([b'B', b'Z', b'h', level], rest))
}

/// How many bytes stand behind the last stream, by the file's last bytes alone: so a file that was cut off is
/// known without decoding it. (One that was cut off exactly between two streams is not: its tar stream then ends early,
/// which is seen when it is decoded to there.)
pub(super) fn bytes_behind(tail: &[u8]) -> Result<u64, PackageError> {
    let short = tail
        .len()
        .checked_sub(16)
        .and_then(|at| tail.get(at..))
        .unwrap_or(tail);
    if last_stream_end(short) == Some(short.len()) {
        return Ok(0);
    }
    let behind = last_stream_end(tail).and_then(|end| tail.get(end..));
    match behind {
        // More than the tail behind the end, no end at all, or a further stream without its end.
        None => Err(PackageError::EndsEarly { part: PART }),
        Some(rest) if begins_stream(rest) => Err(PackageError::EndsEarly { part: PART }),
        Some(rest) => Ok(rest.len() as u64),
    }
}

/// The place behind the last end of a stream in `bytes`. Streams are made of bits and end at whole bytes.
fn last_stream_end(bytes: &[u8]) -> Option<usize> {
    const MASK: u64 = (1 << 48) - 1;
    let mut window = 0u64;
    let mut found = None;
    for (at, byte) in bytes.iter().enumerate() {
        window = window << 8 | u64::from(*byte);
        // Up to 7 bits of this byte may follow the mark; 32 bits of checksum and the rest of a byte do. Either
        // way the stream ends with the fourth byte after this one.
        let ended = (0u32..8).any(|late| window >> late & MASK == END_OF_STREAM);
        if ended {
            found = Some(at.saturating_add(5))
                .filter(|end| *end <= bytes.len())
                .or(found);
        }
    }
    found
}

/// Whether `bytes` begin a stream, as far as they go.
fn begins_stream(bytes: &[u8]) -> bool {
    let known = bytes.len().min(3);
    !bytes.is_empty() && bytes.get(..known) == b"BZh".get(..known)
}

/// All streams as one.
pub(super) struct Streams<R> {
    /// `None` behind the last stream.
    decoder: Option<BzDecoder<R>>,
    /// Refuse what follows the last stream; clients ignore it.
    strict: bool,
    /// How many bytes the current stream gave.
    given: u64,
    /// How many short streams there may still be.
    short: usize,
}

impl<R: BufRead> Streams<R> {
    pub(super) fn new(input: R, strict: bool) -> Self {
        Streams {
            decoder: Some(BzDecoder::new(input)),
            strict,
            given: 0,
            short: SHORT_STREAMS,
        }
    }

    /// Counts the stream that ended.
    fn end_stream(&mut self) -> Result<(), PackageError> {
        let given = std::mem::take(&mut self.given);
        if given < SHORT {
            let left = self.short.checked_sub(1);
            self.short = left.ok_or(PackageError::ShortStreams {
                limit: SHORT_STREAMS,
            })?;
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Streams<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(decoder) = &mut self.decoder {
            let count = decoder.read(buffer).map_err(explain)?;
            if count > 0 || buffer.is_empty() {
                self.given = self.given.saturating_add(count as u64);
                return Ok(count);
            }
            self.end_stream().map_err(PackageError::into_io)?;
            let ended = self.decoder.take().map(BzDecoder::into_inner);
            let Some(mut input) = ended else { break };
            let rest = input.fill_buf()?;
            if begins_stream(rest) {
                self.decoder = Some(BzDecoder::new(input));
            } else if self.strict && !rest.is_empty() {
                let bytes = rest.len() as u64;
                return Err(PackageError::TrailingBytes { bytes }.into_io());
            }
        }
        Ok(0)
    }
}

fn explain(error: io::Error) -> io::Error {
    match error.downcast::<PackageError>() {
        Ok(own) => own.into_io(),
        Err(cut) if cut.kind() == io::ErrorKind::UnexpectedEof => {
            PackageError::EndsEarly { part: PART }.into_io()
        }
        Err(other) => PackageError::Damaged {
            codec: "bzip2",
            reason: other.to_string(),
        }
        .into_io(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::super::testing::{bz2, noise, with_options};
    use super::*;

    #[test]
    fn the_end_of_a_stream_is_found_at_any_bit() {
        let mut shifts = std::collections::HashSet::new();
        for length in 0..200 {
            let stream = bz2(&noise(length, 9));
            assert_eq!(last_stream_end(&stream), Some(stream.len()), "{length}");
            assert_eq!(bytes_behind(&stream).unwrap(), 0);
            let mark = (0..8).find(|late| {
                let end = u64::from_be_bytes(*stream.last_chunk().unwrap());
                let window = u128::from(end)
                    | u128::from(stream[stream.len() - 9]) << 64
                    | u128::from(stream[stream.len() - 10]) << 72
                    | u128::from(stream[stream.len() - 11]) << 80;
                window >> (32 + late) & 0xffff_ffff_ffff == 0x1772_4538_5090
            });
            shifts.insert(mark.unwrap());
            let junk = [&stream[..], b"junk"].concat();
            assert_eq!(bytes_behind(&junk).unwrap(), 4);
            let two = [&stream[..], &stream].concat();
            assert_eq!(last_stream_end(&two), Some(two.len()));
            for cut in 1..5 {
                let cut = &stream[..stream.len() - cut];
                assert_eq!(last_stream_end(cut), None);
                assert!(bytes_behind(cut).is_err());
                let begun = [&stream[..], &cut[..10]].concat();
                assert!(bytes_behind(&begun).is_err());
            }
            for begun in [&b"B"[..], b"BZ", b"BZh"] {
                assert!(bytes_behind(&[&stream[..], begun].concat()).is_err());
            }
        }
        assert_eq!(shifts.len(), 8, "{shifts:?}");
        assert_eq!(last_stream_end(b""), None);
        assert!(bytes_behind(b"").is_err());
    }

    #[test]
    fn a_stream_that_is_cut_off_is_said_to_end_early() {
        let stream = bz2(&noise(5_000, 9));
        let mut streams = Streams::new(&stream[..stream.len() - 20], true);
        let error = io::copy(&mut streams, &mut io::sink()).unwrap_err();
        let error = PackageError::from_io(error, "elsewhere");
        assert!(
            matches!(error, PackageError::EndsEarly { part: PART }),
            "{error}"
        );
    }

    #[test]
    fn what_may_begin_a_stream() {
        for (bytes, begins) in [
            (&b""[..], false),
            (b"B", true),
            (b"BZ", true),
            (b"BZh", true),
            (b"BZh9 and more", true),
            (b"BZx", false),
            (b"x", false),
            (b"\0\0\0\0", false),
        ] {
            assert_eq!(begins_stream(bytes), begins, "{bytes:?}");
        }
    }

    #[test]
    fn short_files_are_decoded_with_blocks_that_are_enough_for_most() {
        let level_of = |head: &[u8; 4], length: usize| {
            let bytes = [&head[..], &vec![0; length - 4]].concat();
            with_options(false, |options| {
                let source = Source::with_tail(&bytes[..], length as u64, options).unwrap();
                let found = smaller(&source).map(|(head, rest)| {
                    assert_eq!(head[..3], *b"BZh");
                    assert_eq!(rest.len(), length - 4);
                    head[3]
                });
                found.map(char::from)
            })
        };
        for (head, length, level) in [
            (b"BZh9", 4, Some('1')),
            (b"BZh9", 12_500, Some('1')),
            (b"BZh9", 12_501, Some('2')),
            (b"BZh9", 100_000, Some('8')),
            (b"BZh9", 100_001, None),
            (b"BZh9", 2_000_000, None),
            (b"BZh2", 12_500, Some('1')),
            (b"BZh2", 12_501, None),
            (b"BZh1", 12_500, None),
            (b"BZh0", 12_500, None),
            (b"xxxx", 12_500, None),
        ] {
            assert_eq!(level_of(head, length), level, "{head:?} {length}");
        }
        // The end of a file that is not held whole may look like a beginning.
        let mut bytes = vec![0; 2_000_000];
        let start = (bytes.len() - 128 * 1024) / 64 * 64;
        bytes[start..start + 4].copy_from_slice(b"BZh9");
        with_options(false, |options| {
            let source = Source::with_tail(&bytes[..], 2_000_000, options).unwrap();
            assert!(source.tail().starts_with(b"BZh9") && smaller(&source).is_none());
        });
    }
}
