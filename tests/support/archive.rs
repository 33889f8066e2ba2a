//! Tars, bz2 and zstd streams as plain bytes, the same for the same input on every run. It knows how
//! archives are laid out, also wrong ones; it must not know what a conda package is.
#![allow(dead_code)]

use std::io::{Read, Write};

use tar::{EntryType, Header};

/// The size of a tar block in bytes; headers and contents are padded to it.
pub const TAR_BLOCK: usize = 512;

/// One member of a tar, true or flawed: nothing is checked, so `../x` is a name like any other.
#[derive(Clone, Debug)]
pub struct TarMember {
    /// The name as it stands in the archive; above 100 bytes it is written as a GNU long name.
    pub name: String,
    /// What the header says it is.
    pub kind: EntryType,
    /// Where a link leads, empty for all else.
    pub link: String,
    /// The contents.
    pub bytes: Vec<u8>,
}

impl TarMember {
    /// A plain file.
    pub fn file(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            bytes: bytes.into(),
            ..Self::of_kind(name, EntryType::Regular)
        }
    }

    /// A symbolic link to `target`.
    pub fn symlink(name: impl Into<String>, target: &str) -> Self {
        Self {
            link: target.to_owned(),
            ..Self::of_kind(name, EntryType::Symlink)
        }
    }

    /// A hard link to the earlier member `target`.
    pub fn hard_link(name: impl Into<String>, target: &str) -> Self {
        Self {
            link: target.to_owned(),
            ..Self::of_kind(name, EntryType::Link)
        }
    }

    /// A member of any kind without contents: a folder, a device, a FIFO.
    pub fn of_kind(name: impl Into<String>, kind: EntryType) -> Self {
        Self {
            name: name.into(),
            kind,
            link: String::new(),
            bytes: Vec::new(),
        }
    }

    /// Appends header, contents and padding to a tar that is being made.
    pub fn append_to(&self, tar: &mut Vec<u8>) {
        if self.name.len() > 100 {
            let long_name = [self.name.as_bytes(), &[0]].concat();
            append_raw(tar, "././@LongLink", EntryType::GNULongName, "", &long_name);
        }
        append_raw(tar, &self.name, self.kind, &self.link, &self.bytes);
    }
}

fn append_raw(tar: &mut Vec<u8>, name: &str, kind: EntryType, link: &str, bytes: &[u8]) {
    tar.extend_from_slice(header(name, kind, link, bytes.len() as u64).as_bytes());
    tar.extend_from_slice(bytes);
    tar.resize(tar.len().next_multiple_of(TAR_BLOCK), 0);
}

/// A header with fixed owner, mode and time, so that the bytes depend on nothing but the arguments.
fn header(name: &str, kind: EntryType, link: &str, size: u64) -> Header {
    let mut header = Header::new_ustar();
    let fields = header.as_old_mut();
    for (field, text) in [(&mut fields.name, name), (&mut fields.linkname, link)] {
        for (to, from) in field.iter_mut().zip(text.bytes()) {
            *to = from;
        }
    }
    header.set_entry_type(kind);
    header.set_mode(if kind == EntryType::Directory {
        0o755
    } else {
        0o644
    });
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header.set_cksum();
    header
}

/// The header of a plain file of any size, whose contents are put behind it by the caller.
pub fn file_header(name: &str, size: u64) -> Vec<u8> {
    header(name, EntryType::Regular, "", size)
        .as_bytes()
        .to_vec()
}

/// A whole tar of plain files.
pub fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let members: Vec<_> = files
        .iter()
        .map(|(name, bytes)| TarMember::file(*name, *bytes))
        .collect();
    tar_of_members(&members)
}

/// A whole tar of members of any kind, in this order, with the two empty blocks that end it.
pub fn tar_of_members(members: &[TarMember]) -> Vec<u8> {
    let mut tar = Vec::new();
    for member in members {
        member.append_to(&mut tar);
    }
    end_tar(&mut tar);
    tar
}

/// Appends the two empty blocks that end a tar.
pub fn end_tar(tar: &mut Vec<u8>) {
    tar.resize(tar.len() + 2 * TAR_BLOCK, 0);
}

/// One bz2 stream; `level` is 1 to 9, and the block size in units of 100,000 bytes.
pub fn bz2(bytes: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::new(level));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// One zstd frame with its content size in the header.
pub fn zstd(bytes: &[u8], level: i32) -> Vec<u8> {
    zstd::bulk::compress(bytes, level).unwrap()
}

/// One zstd frame of raw blocks whose header claims a window of `1 << window_log` bytes (RFC 8878,
/// 3.1.1.1.2), whatever its size: what asks a careless decoder for gigabytes.
pub fn zstd_with_window(bytes: &[u8], window_log: u8) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, (window_log - 10) << 3];
    let mut chunks = bytes.chunks(100_000).peekable();
    while let Some(chunk) = chunks.next() {
        let block_header = (chunk.len() as u32) << 3 | u32::from(chunks.peek().is_none());
        frame.extend_from_slice(&block_header.to_le_bytes()[..3]);
        frame.extend_from_slice(chunk);
    }
    frame
}

/// A tar whose one member, `name`, is `size` spaces, read piece by piece: for bombs, which no one wants
/// in memory or in the repository.
pub fn bomb_tar(name: &str, size: u64) -> impl Read {
    let header = header(name, EntryType::Regular, "", size)
        .as_bytes()
        .to_vec();
    let padding = size.next_multiple_of(TAR_BLOCK as u64) - size + 2 * TAR_BLOCK as u64;
    std::io::Cursor::new(header)
        .chain(std::io::repeat(b' ').take(size))
        .chain(std::io::repeat(0).take(padding))
}

/// Compresses a long reader as one bz2 stream.
pub fn bz2_from(mut reader: impl Read) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
    std::io::copy(&mut reader, &mut encoder).unwrap();
    encoder.finish().unwrap()
}

/// Compresses a long reader as one zstd frame, which cannot know its content size.
pub fn zstd_from(mut reader: impl Read) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    std::io::copy(&mut reader, &mut encoder).unwrap();
    encoder.finish().unwrap()
}
