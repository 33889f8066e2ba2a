//! A file that lies open, wherever its channel lies. Owns what can be asked of it; must not know what it holds.

use std::fs::File;
use std::io::{self, Read};

use super::Stat;
#[cfg(feature = "object-storage")]
use super::object::Reading;

/// Reading at an offset, without a cursor that others could move.
pub trait ReadAt {
    /// As `pread`: 0 at the end, fewer bytes than asked for at any time.
    ///
    /// # Errors
    /// When the bytes can't be had.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

/// A file that has a size, unless it is no regular one.
pub trait HasSize: ReadAt {
    /// The size in bytes, where this is something that has one: no folder, FIFO or device.
    ///
    /// # Errors
    /// When it can't be told.
    fn size(&self) -> io::Result<Option<u64>>;
}

impl ReadAt for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, buffer, offset)
    }
}

impl HasSize for File {
    fn size(&self) -> io::Result<Option<u64>> {
        let found = self.metadata()?;
        Ok(found.is_file().then_some(found.len()))
    }
}

/// A regular file of a channel, open for reading. What was opened is what is read, whatever takes its name meanwhile.
#[derive(Debug)]
pub struct OpenFile {
    held: Held,
    /// Where [`Read`] goes on.
    next: u64,
}

#[derive(Debug)]
enum Held {
    Local(File),
    #[cfg(feature = "object-storage")]
    Object(Reading),
}

impl OpenFile {
    /// The file as it is now.
    ///
    /// # Errors
    /// When it can't be looked at.
    pub fn stat(&self) -> io::Result<Stat> {
        match &self.held {
            Held::Local(file) => Ok(Stat::of(&file.metadata()?)),
            #[cfg(feature = "object-storage")]
            Held::Object(reading) => reading.stat(),
        }
    }

    /// Whether it holds this content, where that can be told without reading it: some stores name contents by their
    /// digest. `None` where it can't.
    pub fn told_to_hold(&self, content: &[u8]) -> Option<bool> {
        match &self.held {
            Held::Local(_) => {
                let _ = content;
                None
            }
            #[cfg(feature = "object-storage")]
            Held::Object(reading) => reading.told_to_hold(content),
        }
    }
}

impl From<File> for OpenFile {
    fn from(file: File) -> OpenFile {
        OpenFile {
            held: Held::Local(file),
            next: 0,
        }
    }
}

#[cfg(feature = "object-storage")]
impl From<Reading> for OpenFile {
    fn from(reading: Reading) -> OpenFile {
        OpenFile {
            held: Held::Object(reading),
            next: 0,
        }
    }
}

impl ReadAt for OpenFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match &self.held {
            Held::Local(file) => ReadAt::read_at(file, buffer, offset),
            #[cfg(feature = "object-storage")]
            Held::Object(reading) => reading.read_at(buffer, offset),
        }
    }
}

impl HasSize for OpenFile {
    fn size(&self) -> io::Result<Option<u64>> {
        match &self.held {
            Held::Local(file) => file.size(),
            #[cfg(feature = "object-storage")]
            Held::Object(reading) => Ok(Some(reading.size())),
        }
    }
}

impl Read for OpenFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.read_at(buffer, self.next)?;
        let count = u64::try_from(read).unwrap_or(u64::MAX);
        self.next = self.next.saturating_add(count);
        Ok(read)
    }
}
