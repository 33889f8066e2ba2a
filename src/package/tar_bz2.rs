//! The `.tar.bz2` format (CEP 35, version 1): bzip2 streams in a row around one tar stream. Owns where the
//! streams end; must not know what the tar stream holds.

use std::io::{self, BufRead, Read};

use bzip2::bufread::BzDecoder;

use super::documents::Collected;
use super::info::{Part, Search, decoded_cap};
use super::source::{ReadAt, Source};
use super::{Note, PackageError};

const PART: &str = "in its bzip2 data";
/// The 48 bits that stand before the checksum at the end of a stream (the digits of √π).
const END_OF_STREAM: u64 = 0x1772_4538_5090;

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
    let mut search = Search::new(check, source.cancelled());
    let cap = decoded_cap(source.size());
    search.look_through(Part::Info, Streams::new(&mut *source, check), cap)?;
    search.finish()
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
}

impl<R: BufRead> Streams<R> {
    pub(super) fn new(input: R, strict: bool) -> Self {
        Streams {
            decoder: Some(BzDecoder::new(input)),
            strict,
        }
    }
}

impl<R: BufRead> Read for Streams<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(decoder) = &mut self.decoder {
            let count = decoder.read(buffer).map_err(explain)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
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
