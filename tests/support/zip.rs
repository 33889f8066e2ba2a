//! ZIP files as plain bytes (PKWARE APPNOTE 6.3.10), also inconsistent ones, which no ZIP library would
//! write. It must not know what a conda package is.
#![allow(dead_code)]

use std::borrow::Cow;

/// The flag bit of an encrypted member (APPNOTE 4.4.4).
pub const ENCRYPTED: u16 = 1;
/// The flag bit of a member whose sizes stand behind its contents.
const DESCRIPTOR: u16 = 1 << 3;
const STORED: u16 = 0;
const DEFLATED: u16 = 8;
/// 1980-01-01, the first day that ZIP knows, as conda-package-handling writes it.
const DATE: u16 = 0x0021;
/// A plain file of mode 0600, made on Unix.
const ATTRIBUTES: u32 = 0o100_600 << 16;

/// One member; each field is written as it stands, be it true or not.
#[derive(Clone, Debug)]
pub struct ZipMember<'a> {
    /// The name in the local header, and in the central one if `central_name` is none.
    pub name: String,
    /// Another name for the central directory.
    pub central_name: Option<String>,
    /// The general purpose flags, in both headers.
    pub flags: u16,
    /// The compression method, in both headers.
    pub method: u16,
    /// The contents as they lie in the file.
    pub bytes: Cow<'a, [u8]>,
    /// The size of the contents when unpacked.
    pub size: u32,
    /// The checksum of the unpacked contents.
    pub crc: u32,
    /// Another packed and unpacked size for the local header.
    pub local_size: Option<u32>,
    /// Sizes in zip64 extra fields, as some writers give them to small members too.
    pub zip64: bool,
    /// Checksum and sizes behind the contents, as writers to a pipe do.
    pub descriptor: bool,
    /// No local header of its own: the central directory says that it is here, in bytes from the start.
    pub central_offset: Option<u32>,
}

impl<'a> ZipMember<'a> {
    /// An honest stored member.
    pub fn stored(name: impl Into<String>, bytes: impl Into<Cow<'a, [u8]>>) -> Self {
        let bytes = bytes.into();
        Self {
            name: name.into(),
            central_name: None,
            flags: 0,
            method: STORED,
            size: bytes.len() as u32,
            crc: crc32fast::hash(&bytes),
            bytes,
            local_size: None,
            zip64: false,
            descriptor: false,
            central_offset: None,
        }
    }

    /// An honest member of method 8: deflate in blocks that are not packed (RFC 1951, 3.2.4).
    pub fn deflated(name: impl Into<String>, bytes: &'a [u8]) -> Self {
        let mut stream = Vec::new();
        let mut chunks = bytes.chunks(0xffff).peekable();
        while let Some(chunk) = chunks.next() {
            let length = chunk.len() as u16;
            stream.push(u8::from(chunks.peek().is_none()));
            stream.extend_from_slice(&length.to_le_bytes());
            stream.extend_from_slice(&(!length).to_le_bytes());
            stream.extend_from_slice(chunk);
        }
        Self {
            method: DEFLATED,
            bytes: stream.into(),
            ..Self::stored(name, bytes)
        }
    }

    fn flags(&self) -> u16 {
        self.flags | if self.descriptor { DESCRIPTOR } else { 0 }
    }

    /// What both headers share, from the version to the extra field's length.
    fn common(&self, name: &str, crc: u32, packed: u32, unpacked: u32) -> Vec<u8> {
        let mut header = Vec::new();
        for half in [
            if self.zip64 { 45 } else { 20 },
            self.flags(),
            self.method,
            0,
            DATE,
        ] {
            header.extend_from_slice(&half.to_le_bytes());
        }
        let (packed, unpacked) = if self.zip64 {
            (u32::MAX, u32::MAX)
        } else {
            (packed, unpacked)
        };
        for word in [crc, packed, unpacked] {
            header.extend_from_slice(&word.to_le_bytes());
        }
        header.extend_from_slice(&(name.len() as u16).to_le_bytes());
        header.extend_from_slice(&(self.extra().len() as u16).to_le_bytes());
        header
    }

    fn extra(&self) -> Vec<u8> {
        if !self.zip64 {
            return Vec::new();
        }
        let mut extra = vec![1, 0, 16, 0];
        extra.extend_from_slice(&u64::from(self.size).to_le_bytes());
        extra.extend_from_slice(&(self.bytes.len() as u64).to_le_bytes());
        extra
    }

    /// Appends the local header, the contents and the descriptor, if there is one.
    pub fn append_local(&self, zip: &mut Vec<u8>) {
        let packed = self.bytes.len() as u32;
        let (crc, local_packed, local_unpacked) = match (self.descriptor, self.local_size) {
            (true, _) => (0, 0, 0),
            (false, Some(size)) => (self.crc, size, size),
            (false, None) => (self.crc, packed, self.size),
        };
        zip.extend_from_slice(b"PK\x03\x04");
        zip.extend_from_slice(&self.common(&self.name, crc, local_packed, local_unpacked));
        zip.extend_from_slice(self.name.as_bytes());
        zip.extend_from_slice(&self.extra());
        zip.extend_from_slice(&self.bytes);
        if self.descriptor {
            zip.extend_from_slice(b"PK\x07\x08");
            for word in [self.crc, packed, self.size] {
                zip.extend_from_slice(&word.to_le_bytes());
            }
        }
    }

    fn append_central(&self, directory: &mut Vec<u8>, local_at: u32) {
        let name = self.central_name.as_ref().unwrap_or(&self.name);
        directory.extend_from_slice(b"PK\x01\x02");
        // Made on Unix (3) by version 2.0.
        directory.extend_from_slice(&[20, 3]);
        directory.extend_from_slice(&self.common(
            name,
            self.crc,
            self.bytes.len() as u32,
            self.size,
        ));
        // No comment, the first disk, no internal attributes.
        directory.extend_from_slice(&[0; 6]);
        directory.extend_from_slice(&ATTRIBUTES.to_le_bytes());
        directory.extend_from_slice(&self.central_offset.unwrap_or(local_at).to_le_bytes());
        directory.extend_from_slice(name.as_bytes());
        directory.extend_from_slice(&self.extra());
    }
}

/// A whole ZIP of honest stored members, in this order.
pub fn zip_stored(files: &[(&str, &[u8])]) -> Vec<u8> {
    let members: Vec<_> = files
        .iter()
        .map(|(name, bytes)| ZipMember::stored(*name, *bytes))
        .collect();
    zip_of(&members)
}

/// A whole ZIP of members of any kind, in this order.
pub fn zip_of(members: &[ZipMember<'_>]) -> Vec<u8> {
    let expected: usize = members
        .iter()
        .map(|member| member.bytes.len() + 2 * member.name.len() + 200)
        .sum();
    let mut zip = Vec::with_capacity(expected);
    let mut directory = Vec::new();
    for member in members {
        member.append_central(&mut directory, zip.len() as u32);
        if member.central_offset.is_none() {
            member.append_local(&mut zip);
        }
    }
    let directory_at = zip.len() as u32;
    zip.extend_from_slice(&directory);
    zip.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    for count in [members.len() as u16; 2] {
        zip.extend_from_slice(&count.to_le_bytes());
    }
    zip.extend_from_slice(&(directory.len() as u32).to_le_bytes());
    zip.extend_from_slice(&directory_at.to_le_bytes());
    zip.extend_from_slice(&[0; 2]);
    zip
}
