//! The second part of reading packages: hashing what is left of files that were looked into, many side by side or one
//! with a thread more. Owns in which order pieces of different files are taken; must not know what they mean, nor make
//! threads.

use std::io;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use super::PackageError;
use super::digest::{Digests, Lanes, Md5, Piece};
use super::source::{ReadAt, Source};

/// Files with this much to read are worth a thread more.
const WORTH_A_THREAD: u64 = 16 * 1024 * 1024;
/// How many pieces may wait for the other thread.
const WAITING: usize = 8;

/// Work for a thread of its own.
pub type Elsewhere<'w> = Box<dyn FnOnce() + Send + 'w>;
/// Work for this thread.
pub type Here<'w> = Box<dyn FnOnce() + 'w>;
/// Runs the one while the other runs, and comes back after both. Who owns the threads gives it.
pub type Beside = dyn Fn(Elsewhere<'_>, Here<'_>) + Sync;

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
    beside(elsewhere, here);
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
