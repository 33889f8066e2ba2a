//! The bytes of one open file, each read from it once and hashed. Owns chunk sizes, cancelling,
//! progress and the check that the file did not change its length; must not know what the bytes mean.
//!
//! A file of up to [`WHOLE`] bytes is read in one go. A larger one is read in chunks that reuse one buffer; its
//! last [`TAIL`] bytes can be taken first, are kept, and are handed out again, from memory, at their turn.
//!
//! First the file is looked into, and then the rest of it is hashed: what of it was passed over to get to the kept end,
//! and that end. Bytes reach the digests in the order of the file, each out of the memory that was looked into. So
//! the second part can be done side by side for many files, which is where [`super::together`] gets its speed.

use std::io::{self, BufRead, Read};
use std::sync::atomic::{AtomicBool, Ordering};

use super::digest::{Digests, Hasher, Piece};
use super::{PackageError, ReadOptions};
use crate::storage::ReadAt;

/// Files of up to this many bytes are held whole.
const WHOLE: u64 = 1024 * 1024;
/// How much of a larger file is read at a time: many such pieces, of files that are read side by side, lie in a core's
/// cache together.
const CHUNK: u64 = 64 * 1024;
/// How much of it is read first. What is looked into is hashed by itself, which is slower than side by side.
const FIRST: u64 = 16 * 1024;
/// How much of a larger file's end is kept: a zip's end record with the longest comment, and its directory.
const TAIL: u64 = 128 * 1024;
/// Kept ends begin at a multiple of this, so that digests, which take blocks of 64 bytes, get whole blocks before.
const ALIGNMENT: u64 = 64;

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
    /// Has taken every byte before `next`, and the tail at last.
    hasher: Hasher,
    /// The bytes before `next`, as many as were read last.
    chunk: Vec<u8>,
    /// Where in the file the next chunk begins.
    next: u64,
    /// The file's last bytes, or none.
    tail: Vec<u8>,
    /// Where in the file they begin.
    tail_start: u64,
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
            tail_start: size,
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
        let start = if size <= WHOLE {
            0
        } else {
            aligned(size.saturating_sub(TAIL))
        };
        source.read_exactly_from(start)?;
        Ok(source)
    }

    /// Keeps the file from `offset` on too, where that makes no more than [`WHOLE`] bytes: so that what is looked
    /// into there needs nothing that stands before it.
    pub(super) fn keep_from(&mut self, offset: u64) -> Result<(), PackageError> {
        let start = aligned(offset).max(self.next);
        let fits = self.size.saturating_sub(start) <= WHOLE;
        if self.current == Current::Chunk && start < self.tail_start && fits {
            let end = std::mem::take(&mut self.tail);
            let known = self.tail_start;
            let mut tail = Vec::new();
            self.read_exactly(&mut tail, start, known.saturating_sub(start))?;
            tail.extend_from_slice(&end);
            (self.tail, self.tail_start) = (tail, start);
        }
        Ok(())
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

    /// The file's last bytes, at any time: all of a small file, at least [`TAIL`] bytes of another.
    pub(super) fn tail(&self) -> &[u8] {
        &self.tail
    }

    /// Bytes that come next, without consuming them; none at the end.
    pub(super) fn peek(&mut self) -> Result<&[u8], PackageError> {
        while self.available().is_empty() && self.load()? {}
        Ok(self.available())
    }

    /// Passes over bytes, which are hashed like all others. Those that end in the kept tail are only taken up when the
    /// rest of the file is.
    pub(super) fn skip(&mut self, mut bytes: u64) -> Result<(), PackageError> {
        if self.current == Current::Chunk && !self.tail.is_empty() {
            let ready = self.available().len() as u64;
            let end = self.next.saturating_sub(ready).saturating_add(bytes);
            if let Some(inside) = end.checked_sub(self.tail_start) {
                self.enter_tail();
                bytes = inside;
            }
        }
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
        while self.advance()? {
            let Piece { hasher, bytes } = self.piece();
            hasher.update(bytes);
        }
        Ok(self.digests())
    }

    /// Takes up the next bytes for the digests, which [`Self::piece`] shows. False when they have taken all, and the
    /// file was found to end there. What is looked into has to be done with by then.
    pub(super) fn advance(&mut self) -> Result<bool, PackageError> {
        self.check_cancelled()?;
        let hashed = self.hasher.size();
        if hashed < self.tail_start {
            return self.read_chunk();
        }
        if hashed < self.size {
            self.enter_tail();
            return Ok(true);
        }
        if self.read_some(&mut [0], self.size)? != 0 {
            return Err(PackageError::Changed { size: self.size });
        }
        Ok(false)
    }

    /// The bytes that [`Self::advance`] took up, and the digests that are to take them.
    pub(super) fn piece(&mut self) -> Piece<'_> {
        let bytes = match self.hasher.size() < self.tail_start {
            true => &self.chunk,
            false => &self.tail,
        };
        Piece {
            hasher: &mut self.hasher,
            bytes,
        }
    }

    /// As [`Self::piece`], for somebody who keeps the bytes; `spare` is the buffer for what comes next.
    pub(super) fn take_piece(&mut self, spare: Vec<u8>) -> (&mut Hasher, Vec<u8>) {
        let place = match self.hasher.size() < self.tail_start {
            true => &mut self.chunk,
            false => &mut self.tail,
        };
        (&mut self.hasher, std::mem::replace(place, spare))
    }

    /// The digests of what was taken.
    pub(super) fn digests(self) -> Digests {
        self.hasher.finish()
    }

    fn available(&self) -> &[u8] {
        let buffer = match self.current {
            Current::Chunk => &self.chunk,
            Current::Tail => &self.tail,
        };
        buffer.get(self.used..).unwrap_or_default()
    }

    /// Replaces the current buffer by the bytes that follow it; false at the end.
    fn load(&mut self) -> Result<bool, PackageError> {
        self.check_cancelled()?;
        if self.current == Current::Chunk && self.read_chunk()? {
            self.hasher.update(&self.chunk);
            return Ok(true);
        }
        Ok(self.enter_tail())
    }

    /// Reads the chunk that follows; false where the tail or the file's end does.
    fn read_chunk(&mut self) -> Result<bool, PackageError> {
        let most = if self.next == 0 { FIRST } else { CHUNK };
        let length = self.tail_start.saturating_sub(self.next).min(most);
        if length == 0 {
            return Ok(false);
        }
        let mut chunk = std::mem::take(&mut self.chunk);
        self.read_exactly(&mut chunk, self.next, length)?;
        self.chunk = chunk;
        self.next = self.next.saturating_add(length);
        self.used = 0;
        (self.options.progress)(length);
        Ok(true)
    }

    /// Goes on with the tail; false where that was done, or there is none.
    fn enter_tail(&mut self) -> bool {
        if self.current == Current::Tail || self.tail.is_empty() {
            self.used = usize::MAX;
            return false;
        }
        self.current = Current::Tail;
        self.used = 0;
        (self.options.progress)(self.tail.len() as u64);
        true
    }

    /// Keeps all bytes from there on.
    fn read_exactly_from(&mut self, start: u64) -> Result<(), PackageError> {
        let mut tail = Vec::new();
        self.read_exactly(&mut tail, start, self.size.saturating_sub(start))?;
        (self.tail, self.tail_start) = (tail, start);
        Ok(())
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

/// The multiple of [`ALIGNMENT`] at or before an offset.
fn aligned(offset: u64) -> u64 {
    offset.saturating_sub(offset % ALIGNMENT)
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::sync::Mutex;

    use super::super::testing::{Stored, Tar, Zip, noise, with_options};
    use super::*;
    use crate::package::read_from;

    const MIB: u64 = 1 << 20;
    const KIB: u64 = 1 << 10;

    /// A file that remembers what was asked of it: where, and how many bytes.
    struct Logged {
        bytes: Vec<u8>,
        asked: Mutex<Vec<(u64, u64)>>,
    }

    impl Logged {
        fn new(bytes: Vec<u8>) -> Logged {
            let asked = Mutex::default();
            Logged { bytes, asked }
        }

        fn size(&self) -> u64 {
            self.bytes.len() as u64
        }

        fn asked(&self) -> Vec<(u64, u64)> {
            std::mem::take(&mut self.asked.lock().unwrap())
        }
    }

    impl ReadAt for Logged {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            self.asked
                .lock()
                .unwrap()
                .push((offset, buffer.len() as u64));
            self.bytes.as_slice().read_at(buffer, offset)
        }
    }

    fn digests_of(bytes: &[u8]) -> Digests {
        let mut hasher = Hasher::default();
        hasher.update(bytes);
        hasher.finish()
    }

    #[test]
    fn what_streams_comes_in_chunks_of_which_the_first_is_short() {
        let file = Logged::new(noise(100_000, 1));
        let digests = with_options(false, |options| {
            Source::streaming(&file, file.size(), options).finish()
        });
        assert_eq!(digests.unwrap(), digests_of(&file.bytes));
        let (first, next) = (16 * KIB, 80 * KIB);
        let asked = [
            (0, first),
            (first, 64 * KIB),
            (next, 100_000 - next),
            (100_000, 1),
        ];
        assert_eq!(file.asked(), asked);
    }

    #[test]
    fn small_files_are_held_whole_and_of_others_the_end() {
        for (size, start) in [
            (1, 0),
            (MIB, 0),
            (MIB + 1, MIB - 128 * KIB),
            (MIB + 63, MIB - 128 * KIB),
            (MIB + 64, MIB - 128 * KIB + 64),
        ] {
            let file = Logged::new(noise(size as usize, 2));
            with_options(false, |options| {
                let source = Source::with_tail(&file, size, options).unwrap();
                assert_eq!(file.asked(), [(start, size - start)]);
                assert_eq!(source.tail(), &file.bytes[start as usize..]);
                assert_eq!(source.finish().unwrap(), digests_of(&file.bytes));
            });
            let asked = file.asked();
            assert_eq!(asked.last(), Some(&(size, 1)));
            let rest: u64 = asked.iter().map(|(_, length)| length).sum();
            assert_eq!(rest, start + 1, "what was held is not read again");
        }
    }

    #[test]
    fn more_of_the_end_is_kept_up_to_a_mib_of_it() {
        let size = 3 * MIB;
        let file = Logged::new(noise(size as usize, 3));
        let end = size - 128 * KIB;
        with_options(false, |options| {
            let source = || {
                let source = Source::with_tail(&file, size, options).unwrap();
                file.asked();
                source
            };
            for (from, asked) in [
                (size - MIB, vec![(size - MIB, MIB - 128 * KIB)]),
                (size - MIB + 63, vec![(size - MIB, MIB - 128 * KIB)]),
                (size - MIB - 1, vec![]),
                (0, vec![]),
                (end, vec![]),
                (size, vec![]),
                (u64::MAX, vec![]),
            ] {
                let mut source = source();
                source.keep_from(from).unwrap();
                assert_eq!(file.asked(), asked, "{from}");
                let start = asked.first().map_or(end, |(start, _)| *start);
                assert_eq!(source.tail(), &file.bytes[start as usize..]);
                assert_eq!(source.finish().unwrap(), digests_of(&file.bytes));
            }
            // Where the end is being handed out already, it stays what it is.
            let mut source = source();
            source.skip(size - 10).unwrap();
            source.keep_from(size - MIB).unwrap();
            assert_eq!(file.asked(), []);
            assert_eq!(source.peek().unwrap(), &file.bytes[(size - 10) as usize..]);
            assert_eq!(source.finish().unwrap(), digests_of(&file.bytes));
            assert_eq!(
                file.asked().len(),
                48,
                "47 chunks, and whether there is more"
            );
        });
    }

    #[test]
    fn what_stands_behind_the_largest_member_is_kept_unless_all_is_decoded() {
        let licence = Tar::info().file("info/licence", &noise(300_000, 5)).zst();
        let pkg = Tar::default().file("lib/big", &noise(2_000_000, 6)).zst();
        let zip = Zip::package().change(1, |m| m.data = pkg);
        let file = Logged::new(zip.change(2, |m| m.data = licence).bytes());
        for (check, seek) in [(false, true), (true, false)] {
            let name = "a-1-0.conda";
            let read = with_options(check, |options| {
                read_from(&file, file.size(), name, options)
            });
            assert_eq!(read.unwrap().digests, digests_of(&file.bytes));
            let asked = file.asked();
            assert!(asked[0].0 > 2 * MIB, "{asked:?}");
            // Behind the first chunk, which tells what kind of file it is.
            assert_eq!(asked[2].0 > 2_000_000 - 64, seek, "{asked:?}");
        }
    }

    #[test]
    fn a_large_package_may_have_the_longest_comment() {
        let pkg = Tar::default().file("lib/big", &noise(1_500_000, 6)).zst();
        let zip = Zip {
            comment: vec![b'c'; 65_535],
            ..Zip::package().change(1, |m| m.data = pkg)
        };
        let zip = zip.and(Stored::new("notes", "x"));
        let bytes = zip.bytes();
        let read = with_options(false, |options| {
            read_from(&bytes[..], bytes.len() as u64, "a-1-0.conda", options)
        });
        read.unwrap();
    }

    /// Fails in some way the first time, or always.
    struct Failing {
        kind: io::ErrorKind,
        times: Mutex<usize>,
    }

    impl ReadAt for Failing {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            let mut times = self.times.lock().unwrap();
            if *times > 0 {
                *times -= 1;
                return Err(self.kind.into());
            }
            b"abc"[..].read_at(buffer, offset)
        }
    }

    #[test]
    fn reading_goes_on_after_an_interruption_and_after_no_other_error() {
        let failing = |kind, times| {
            let times = Mutex::new(times);
            let file = Failing { kind, times };
            with_options(false, |options| {
                Source::streaming(&file, 3, options).finish()
            })
        };
        let interrupted = failing(io::ErrorKind::Interrupted, 3);
        assert_eq!(interrupted.unwrap(), digests_of(b"abc"));
        let other = failing(io::ErrorKind::PermissionDenied, 1);
        assert!(matches!(other, Err(PackageError::Read { offset: 0, .. })));
    }

    #[test]
    fn a_pass_that_is_cancelled_ends_though_reading_is_interrupted_for_ever() {
        let cancelled = AtomicBool::new(false);
        let options = ReadOptions {
            check_archives: false,
            cancelled: &cancelled,
            progress: &|_| {},
        };
        let file = Failing {
            kind: io::ErrorKind::Interrupted,
            times: Mutex::new(usize::MAX),
        };
        let mut source = Source::streaming(&file, 3, &options);
        cancelled.store(true, Ordering::Relaxed);
        assert!(matches!(source.peek(), Err(PackageError::Cancelled)));
        let read = source.read_some(&mut [0], 0);
        assert!(matches!(read, Err(PackageError::Cancelled)));
    }

    #[test]
    fn bytes_that_are_not_there_can_not_be_passed_over() {
        let file = Logged::new(vec![7; 10]);
        with_options(false, |options| {
            let mut source = Source::with_tail(&file, 10, options).unwrap();
            source.skip(4).unwrap();
            source.skip(0).unwrap();
            assert_eq!(source.peek().unwrap().len(), 6);
            source.skip(6).unwrap();
            assert!(source.peek().unwrap().is_empty());
            let past = source.skip(1);
            assert!(matches!(past, Err(PackageError::Changed { size: 10 })));
        });
    }

    #[test]
    fn ends_begin_at_whole_blocks() {
        for (offset, start) in [
            (0, 0),
            (63, 0),
            (64, 64),
            (65, 64),
            (u64::MAX, u64::MAX - 63),
        ] {
            assert_eq!(aligned(offset), start);
        }
    }
}
