//! The bytes of one open file, each read from it once and hashed as it passes. Owns chunk sizes, cancelling,
//! progress and the check that the file did not change its length; must not know what the bytes mean.
//!
//! A file of up to [`WHOLE`] bytes is read in one go. A larger one is read in chunks that reuse one buffer; its
//! last [`TAIL`] bytes can be taken first, are kept, and are handed out again, from memory, at their turn.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::sync::atomic::{AtomicBool, Ordering};

use super::digest::{Digests, Hasher};
use super::{PackageError, ReadOptions};

/// Files of up to this many bytes are held whole.
const WHOLE: u64 = 1024 * 1024;
/// How much of a larger file is read at a time.
const CHUNK: u64 = 256 * 1024;
/// How much of a larger file's end is kept: a zip's end record with the longest comment, and its directory.
const TAIL: u64 = 128 * 1024;

/// Reading at an offset, without a cursor that others could move.
pub(super) trait ReadAt {
    /// As `pread`: 0 at the end, fewer bytes than asked for at any time.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl ReadAt for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, buffer, offset)
    }
}

impl ReadAt for [u8] {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let mut rest = self.get(from..).unwrap_or_default();
        rest.read(buffer)
    }
}

/// Which buffer is being handed out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Current {
    Chunk,
    Tail,
}

/// One pass over a file.
pub(super) struct Source<'a, F: ?Sized> {
    file: &'a F,
    size: u64,
    options: ReadOptions<'a>,
    hasher: Hasher,
    /// The bytes before `tail`, as many as were read last.
    chunk: Vec<u8>,
    /// Where in the file the next chunk begins.
    next: u64,
    /// The file's last bytes, or none.
    tail: Vec<u8>,
    current: Current,
    /// How much of the current buffer was consumed.
    used: usize,
}

impl<'a, F: ReadAt + ?Sized> Source<'a, F> {
    /// A pass that needs nothing ahead of its turn.
    pub(super) fn streaming(file: &'a F, size: u64, options: &ReadOptions<'a>) -> Self {
        Source {
            file,
            size,
            options: *options,
            hasher: Hasher::default(),
            chunk: Vec::new(),
            next: 0,
            tail: Vec::new(),
            current: Current::Chunk,
            used: 0,
        }
    }

    /// A pass that reads the file's end first; [`Self::tail`] shows it.
    pub(super) fn with_tail(
        file: &'a F,
        size: u64,
        options: &ReadOptions<'a>,
    ) -> Result<Self, PackageError> {
        let mut source = Self::streaming(file, size, options);
        source.check_cancelled()?;
        let length = if size <= WHOLE { size } else { TAIL };
        let mut tail = Vec::new();
        source.read_exactly(&mut tail, size.saturating_sub(length), length)?;
        source.tail = tail;
        Ok(source)
    }

    /// The file's size in bytes when the pass began.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// How the file is to be read.
    pub(super) fn check_archives(&self) -> bool {
        self.options.check_archives
    }

    /// The flag that stops the pass.
    pub(super) fn cancelled(&self) -> &'a AtomicBool {
        self.options.cancelled
    }

    /// The file's last bytes, at any time: all of a small file, [`TAIL`] bytes of another.
    pub(super) fn tail(&self) -> &[u8] {
        &self.tail
    }

    /// Bytes that come next, without consuming them; none at the end.
    pub(super) fn peek(&mut self) -> Result<&[u8], PackageError> {
        while self.available().is_empty() && self.load()? {}
        Ok(self.available())
    }

    /// Passes over bytes, which are hashed like all others.
    pub(super) fn skip(&mut self, mut bytes: u64) -> Result<(), PackageError> {
        while bytes > 0 {
            let ready = self.peek()?.len();
            if ready == 0 {
                return Err(PackageError::Changed { size: self.size });
            }
            let step = ready.min(usize::try_from(bytes).unwrap_or(usize::MAX));
            self.consume(step);
            bytes = bytes.saturating_sub(step as u64);
        }
        Ok(())
    }

    /// Reads what is left, makes sure that nothing follows, and gives the digests.
    pub(super) fn finish(mut self) -> Result<Digests, PackageError> {
        while self.load()? {}
        if self.read_some(&mut [0], self.size)? != 0 {
            return Err(PackageError::Changed { size: self.size });
        }
        Ok(self.hasher.finish())
    }

    fn available(&self) -> &[u8] {
        let buffer = match self.current {
            Current::Chunk => &self.chunk,
            Current::Tail => &self.tail,
        };
        buffer.get(self.used..).unwrap_or_default()
    }

    /// Replaces the current buffer by the bytes that follow it, hashed; false at the end.
    fn load(&mut self) -> Result<bool, PackageError> {
        self.check_cancelled()?;
        let tail_start = self.size.saturating_sub(self.tail.len() as u64);
        let length = tail_start.saturating_sub(self.next).min(CHUNK);
        if length > 0 {
            let mut chunk = std::mem::take(&mut self.chunk);
            self.read_exactly(&mut chunk, self.next, length)?;
            self.chunk = chunk;
            self.next = self.next.saturating_add(length);
        } else if self.current == Current::Chunk && !self.tail.is_empty() {
            self.current = Current::Tail;
        } else {
            self.used = usize::MAX;
            return Ok(false);
        }
        self.used = 0;
        let fresh = match self.current {
            Current::Chunk => &self.chunk,
            Current::Tail => &self.tail,
        };
        self.hasher.update(fresh);
        (self.options.progress)(fresh.len() as u64);
        Ok(true)
    }

    /// Fills `buffer` with exactly `length` bytes; a file that has fewer has shrunk.
    fn read_exactly(
        &self,
        buffer: &mut Vec<u8>,
        offset: u64,
        length: u64,
    ) -> Result<(), PackageError> {
        let changed = || PackageError::Changed { size: self.size };
        buffer.resize(usize::try_from(length).map_err(|_| changed())?, 0);
        let mut rest = buffer.as_mut_slice();
        let mut offset = offset;
        while !rest.is_empty() {
            let count = self.read_some(rest, offset)?;
            if count == 0 {
                return Err(changed());
            }
            rest = rest.get_mut(count..).unwrap_or_default();
            offset = offset.saturating_add(count as u64);
        }
        Ok(())
    }

    fn read_some(&self, buffer: &mut [u8], offset: u64) -> Result<usize, PackageError> {
        loop {
            match self.file.read_at(buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    self.check_cancelled()?
                }
                other => return other.map_err(|source| PackageError::Read { offset, source }),
            }
        }
    }

    fn check_cancelled(&self) -> Result<(), PackageError> {
        match self.options.cancelled.load(Ordering::Relaxed) {
            true => Err(PackageError::Cancelled),
            false => Ok(()),
        }
    }
}

impl<F: ReadAt + ?Sized> Read for Source<'_, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl<F: ReadAt + ?Sized> BufRead for Source<'_, F> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.peek().map_err(PackageError::into_io)
    }

    fn consume(&mut self, count: usize) {
        self.used = self.used.saturating_add(count);
    }
}
