//! The second part of reading packages: hashing what is left of files that were looked into, many side by side or one
//! with a thread more. Owns in which order pieces of different files are taken; must not know what they mean, nor make
//! threads.

use std::io;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use super::PackageError;
use super::digest::{Digests, Lanes, Md5, Piece};
use super::source::Source;
use crate::storage::ReadAt;

/// Files with this much to read are worth a thread more.
const WORTH_A_THREAD: u64 = 16 * 1024 * 1024;
/// How many pieces may wait for the other thread.
const WAITING: usize = 8;

/// Work for a thread of its own.
pub type Elsewhere<'w> = Box<dyn FnOnce() + Send + 'w>;
/// Work for this thread.
pub type Here<'w> = Box<dyn FnOnce() + 'w>;
/// Runs the one while the other runs, and comes back after both; or runs neither, and says `false`, where there is no
/// thread to lend. Who owns the threads gives it.
pub type Beside = dyn Fn(Elsewhere<'_>, Here<'_>) -> bool + Sync;

/// Hashes what is left of each file, a piece of each at a time. One that fails does not stop the others.
pub(super) fn finish<F: ReadAt + ?Sized>(
    sources: Vec<Source<'_, F>>,
    beside: &Beside,
) -> Vec<Result<Digests, PackageError>> {
    let mut open: Vec<_> = sources.into_iter().enumerate().collect();
    if let [(_, only)] = open.as_slice()
        && only.size() >= WORTH_A_THREAD
    {
        let only = open.into_iter().map(|(_, only)| finish_one(only, beside));
        return only.collect();
    }
    let lanes = Lanes::new();
    let mut done = Vec::with_capacity(open.len());
    while !open.is_empty() {
        let mut going = Vec::with_capacity(open.len());
        for (at, mut source) in open {
            match source.advance() {
                Ok(true) => going.push((at, source)),
                Ok(false) => done.push((at, Ok(source.digests()))),
                Err(error) => done.push((at, Err(error))),
            }
        }
        let pieces = going.iter_mut().map(|(_, source)| source.piece());
        lanes.update(&mut pieces.collect::<Vec<Piece<'_>>>());
        open = going;
    }
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Hashes what is left of a file: its MD5, the slower of the two, on the other thread.
fn finish_one<F: ReadAt + ?Sized>(
    mut source: Source<'_, F>,
    beside: &Beside,
) -> Result<Digests, PackageError> {
    let (pieces, to_hash) = sync_channel(WAITING);
    let (used, spare) = channel();
    let mut md5 = *source.piece().hasher.md5();
    let mut read = Ok(());
    let elsewhere: Elsewhere<'_> = Box::new(|| take_all(&mut md5, to_hash, used));
    let here: Here<'_> = Box::new(|| read = feed(&mut source, pieces, &spare));
    if !beside(elsewhere, here) {
        return source.finish();
    }
    read?;
    let offset = md5.size();
    let hasher = source.piece().hasher;
    if offset != hasher.size() {
        let source = io::Error::other("the thread that computes its MD5 ended early");
        return Err(PackageError::Read { offset, source });
    }
    *hasher.md5() = md5;
    Ok(source.digests())
}

/// Reads the file, computes all but the MD5, and hands each piece over for that. Whoever takes them ends when `pieces`
/// is gone.
fn feed<F: ReadAt + ?Sized>(
    source: &mut Source<'_, F>,
    pieces: SyncSender<Vec<u8>>,
    spare: &Receiver<Vec<u8>>,
) -> Result<(), PackageError> {
    while source.advance()? {
        let (hasher, bytes) = source.take_piece(spare.try_recv().unwrap_or_default());
        hasher.update_but_md5(&bytes);
        // Nobody takes it: the MD5 then lacks bytes, which is seen.
        let _ = pieces.send(bytes);
    }
    Ok(())
}

/// Takes pieces until no more can come, and gives their buffers back.
fn take_all(md5: &mut Md5, pieces: Receiver<Vec<u8>>, used: Sender<Vec<u8>>) {
    for piece in pieces {
        md5.update(&piece);
        // Where nobody wants the buffer, it is done with.
        let _ = used.send(piece);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use super::super::testing::{Counting, noise, with_options};
    use super::super::{Hasher, ReadOptions};
    use super::*;

    fn beside(elsewhere: Elsewhere<'_>, here: Here<'_>) -> bool {
        std::thread::scope(|scope| {
            scope.spawn(elsewhere);
            here();
        });
        true
    }

    fn digests(bytes: &[u8]) -> Digests {
        let mut hasher = Hasher::default();
        hasher.update(bytes);
        hasher.finish()
    }

    /// A file that fails, or is changed, at some place.
    struct Flawed {
        bytes: Vec<u8>,
        fails_at: u64,
    }

    impl ReadAt for Flawed {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            if offset >= self.fails_at && offset < self.bytes.len() as u64 {
                return Err(io::Error::other("the disk is broken"));
            }
            self.bytes.as_slice().read_at(buffer, offset)
        }
    }

    #[test]
    fn files_of_any_sizes_side_by_side() {
        let sizes = [
            0, 1, 63, 64, 65, 16_384, 16_385, 100_000, 1_048_576, 1_048_577, 3_000_001,
        ];
        let files: Vec<Counting> = sizes
            .iter()
            .map(|size| Counting::new(noise(*size, *size as u64)))
            .collect();
        with_options(false, |options| {
            for tail in [false, true] {
                let sources = files.iter().map(|file| {
                    let size = file.bytes.len() as u64;
                    match tail {
                        true => Source::with_tail(file, size, options).unwrap(),
                        false => Source::streaming(file, size, options),
                    }
                });
                let found = finish(sources.collect(), &beside);
                for (file, found) in files.iter().zip(found) {
                    assert_eq!(found.unwrap(), digests(&file.bytes));
                    let mut reads = file.reads.lock().unwrap();
                    assert!(reads.iter().all(|times| *times == 1));
                    reads.fill(0);
                }
            }
        });
    }

    #[test]
    fn two_threads_give_what_one_gives() {
        let file = Counting::new(noise(WORTH_A_THREAD as usize + 12_345, 7));
        let size = file.bytes.len() as u64;
        let told = AtomicU64::new(0);
        let cancelled = AtomicBool::new(false);
        let options = ReadOptions {
            check_archives: false,
            cancelled: &cancelled,
            progress: &|count| {
                told.fetch_add(count, Ordering::Relaxed);
            },
        };
        let mut source = Source::with_tail(&file, size, &options).unwrap();
        // A part is looked into, and most of it passed over to the kept end.
        source.skip(100_000).unwrap();
        source.skip(size - 100_000 - 1_000).unwrap();
        assert_eq!(source.peek().unwrap(), &file.bytes[size as usize - 1_000..]);
        let found = finish(vec![source], &beside).remove(0).unwrap();
        assert_eq!(found, digests(&file.bytes));
        assert_eq!(told.load(Ordering::Relaxed), size);
        assert!(file.reads.lock().unwrap().iter().all(|times| *times == 1));
        // Whoever lends no thread gets an error, not another digest.
        let alone = Source::streaming(&file, size, &options);
        let lost = finish(vec![alone], &|elsewhere, here| {
            drop(elsewhere);
            here();
            true
        });
        assert!(matches!(lost[..], [Err(PackageError::Read { .. })]));
        // Where there is none to lend, one does all.
        let alone = Source::streaming(&file, size, &options);
        let found = finish(vec![alone], &|_, _| false).remove(0).unwrap();
        assert_eq!(found, digests(&file.bytes));
    }

    #[test]
    fn what_goes_wrong_with_one_does_not_touch_the_others() {
        let bytes = noise(2_000_000, 3);
        let size = bytes.len() as u64;
        let file = |fails_at, length| Flawed {
            bytes: bytes[..length].to_vec(),
            fails_at,
        };
        let files = [
            file(u64::MAX, 2_000_000),
            file(900_000, 2_000_000),
            file(u64::MAX, 1_500_000),
            file(u64::MAX, 2_000_000),
        ];
        with_options(false, |options| {
            let sources = files
                .iter()
                .map(|file| Source::streaming(file, size, options));
            let found = finish(sources.collect(), &beside);
            let [Ok(first), Err(broken), Err(short), Ok(last)] = &found[..] else {
                panic!("{found:?}");
            };
            assert_eq!([*first, *last], [digests(&bytes); 2]);
            assert!(matches!(broken, PackageError::Read { offset, .. } if *offset >= 900_000));
            assert!(matches!(short, PackageError::Changed { .. }), "{short:?}");
            let grown = Source::streaming(&files[0], size - 1, options);
            let found = finish(vec![grown], &beside);
            assert!(matches!(found[..], [Err(PackageError::Changed { .. })]));
        });
        let large = Flawed {
            bytes: noise(WORTH_A_THREAD as usize + 1, 5),
            fails_at: WORTH_A_THREAD / 2,
        };
        with_options(false, |options| {
            let source = Source::streaming(&large, WORTH_A_THREAD + 1, options);
            let found = finish(vec![source], &beside);
            assert!(matches!(found[..], [Err(PackageError::Read { .. })]));
        });
    }

    #[test]
    fn cancelling_stops_one_and_many() {
        let bytes = noise(WORTH_A_THREAD as usize, 9);
        let size = bytes.len() as u64;
        for files in [1, 3] {
            let cancelled = AtomicBool::new(false);
            let told = AtomicU64::new(0);
            let options = ReadOptions {
                check_archives: false,
                cancelled: &cancelled,
                progress: &|count| {
                    if told.fetch_add(count, Ordering::Relaxed) > size / 2 {
                        cancelled.store(true, Ordering::Relaxed);
                    }
                },
            };
            let sources = (0..files).map(|_| Source::streaming(&bytes[..], size, &options));
            let found = finish(sources.collect(), &beside);
            assert_eq!(found.len(), files);
            let stopped = |one: &Result<Digests, _>| matches!(one, Err(PackageError::Cancelled));
            assert!(found.iter().all(stopped));
            assert!(told.load(Ordering::Relaxed) < size);
        }
    }
}
