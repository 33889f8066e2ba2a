//! The bytes of an answer on their way out: small ones from memory, those of files in pieces, so that an answer of
//! any length takes the same memory. Pieces that the system has in its memory are read at once; for others a thread
//! waits for the disk. Must not know what the bytes are.

use std::fs::File;
use std::future::Future as _;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, SizeHint};
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use tokio::task::JoinHandle;

use super::store::Place;

/// The bytes that are read of a file at once.
const PIECE: usize = 128 << 10;

/// What is left of an answer.
#[derive(Debug)]
pub(super) struct GateBody(Rest);

#[derive(Debug)]
enum Rest {
    Bytes(Bytes),
    File(FileRest),
}

impl GateBody {
    pub fn empty() -> GateBody {
        GateBody::bytes(Bytes::new())
    }

    pub fn bytes(bytes: Bytes) -> GateBody {
        GateBody(Rest::Bytes(bytes))
    }

    /// A part of a file that has it.
    pub fn part(place: Place, from: u64, length: u64) -> GateBody {
        GateBody(match place {
            Place::File(file) => Rest::File(FileRest::new(file, from, length)),
            Place::Memory(bytes) => {
                let from = usize::try_from(from).unwrap_or(usize::MAX).min(bytes.len());
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                let end = from.saturating_add(length).min(bytes.len());
                Rest::Bytes(bytes.slice(from..end))
            }
        })
    }
}

impl Body for GateBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let piece = match &mut self.0 {
            Rest::Bytes(bytes) if bytes.is_empty() => return Poll::Ready(None),
            Rest::Bytes(bytes) => Ok(std::mem::take(bytes)),
            Rest::File(rest) if rest.length == 0 => return Poll::Ready(None),
            Rest::File(rest) => ready!(rest.poll_piece(cx)),
        };
        Poll::Ready(Some(piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left())
    }
}

impl GateBody {
    fn left(&self) -> u64 {
        match &self.0 {
            Rest::Bytes(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            Rest::File(rest) => rest.length,
        }
    }
}

/// A buffer, and how much of it was read.
type Read = io::Result<(BytesMut, usize)>;

/// What is left of a file.
#[derive(Debug)]
struct FileRest {
    file: Arc<File>,
    from: u64,
    length: u64,
    /// Buffers that were handed out; once they were sent, they are filled again.
    out: Vec<Bytes>,
    /// A thread that waits for the disk.
    reading: Option<JoinHandle<Read>>,
}

impl FileRest {
    fn new(file: Arc<File>, from: u64, length: u64) -> FileRest {
        let (out, reading) = (Vec::new(), None);
        FileRest {
            file,
            from,
            length,
            out,
            reading,
        }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        if self.reading.is_none() {
            let buffer = self.buffer();
            match read_at_once(&self.file, self.from, buffer) {
                Ok(read) => return Poll::Ready(read.and_then(|read| self.hand_out(read))),
                Err(buffer) => self.wait_for_disk(buffer),
            }
        }
        let Some(reading) = &mut self.reading else {
            return Poll::Ready(Err(io::ErrorKind::Other.into()));
        };
        let done = ready!(Pin::new(reading).poll(cx));
        self.reading = None;
        let read = done.unwrap_or_else(|error| Err(io::Error::other(error)));
        Poll::Ready(read.and_then(|read| self.hand_out(read)))
    }

    /// A buffer that was sent, or a new one.
    fn buffer(&mut self) -> BytesMut {
        let sent = self.out.iter().position(Bytes::is_unique);
        let sent = sent.map(|at| self.out.swap_remove(at).try_into_mut());
        match sent {
            Some(Ok(buffer)) => buffer,
            _ => BytesMut::zeroed(PIECE),
        }
    }

    fn wait_for_disk(&mut self, mut buffer: BytesMut) {
        let (file, from) = (Arc::clone(&self.file), self.from);
        self.reading = Some(tokio::task::spawn_blocking(move || {
            let read = file.read_at(&mut buffer, from)?;
            Ok((buffer, read))
        }));
    }

    fn hand_out(&mut self, (buffer, read): (BytesMut, usize)) -> io::Result<Bytes> {
        let left = usize::try_from(self.length).unwrap_or(usize::MAX);
        let length = read.min(left);
        if length == 0 {
            // The file is shorter than it was when it was hashed.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let sent = u64::try_from(length).map_err(io::Error::other)?;
        self.from = self.from.saturating_add(sent);
        self.length = self.length.saturating_sub(sent);
        let buffer = buffer.freeze();
        let piece = buffer.slice(..length);
        self.out.push(buffer);
        Ok(piece)
    }
}

/// Reads what the system has in memory. Where it would have to wait for the disk, the buffer comes back.
fn read_at_once(file: &File, from: u64, mut buffer: BytesMut) -> Result<Read, BytesMut> {
    let slices = &mut [IoSliceMut::new(&mut buffer)];
    match preadv2(file, slices, from, ReadWriteFlags::NOWAIT) {
        Ok(read) => Ok(Ok((buffer, read))),
        Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INTR) => Err(buffer),
        Err(error) => Ok(Err(error.into())),
    }
}
