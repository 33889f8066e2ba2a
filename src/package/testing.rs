//! Packages made in memory, good ones and every kind of bad one. Owns the builders of this room's tests; must not
//! be compiled into the program.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use std::io::{self, Write};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use super::{Package, PackageError, ReadOptions, read_from};
use crate::storage::ReadAt;

pub(super) const INDEX: &[u8] = br#"{"name":"a","version":"1","build":"0"}"#;

/// A tar stream, member by member.
#[derive(Default, Clone)]
pub(super) struct Tar(pub(super) Vec<u8>);

impl Tar {
    /// The least that a package holds: `info/index.json`, another member of `info/`, and a file outside.
    pub(super) fn package() -> Tar {
        Tar::info().file("lib/a.txt", b"hello")
    }

    pub(super) fn info() -> Tar {
        Tar::default()
            .file("info/index.json", INDEX)
            .file("info/paths.json", b"{}")
    }

    pub(super) fn file(self, path: &str, body: &[u8]) -> Tar {
        self.member(path, b'0', body.len() as u64, body)
    }

    /// A ustar member whose type, size and body need not fit each other.
    pub(super) fn member(mut self, path: &str, kind: u8, size: u64, body: &[u8]) -> Tar {
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_size(size);
        header.set_mode(0o644);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.raw(body)
    }

    /// A GNU header, as long names and sparse files have it.
    pub(super) fn gnu(mut self, path: &str, kind: u8, body: &[u8], extended: bool) -> Tar {
        let mut header = tar::Header::new_gnu();
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_size(body.len() as u64);
        if extended {
            header.as_gnu_mut().unwrap().isextended[0] = 1;
        }
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        if extended {
            self.0.extend_from_slice(&[0; 512]);
        }
        self.raw(body)
    }

    pub(super) fn pax(self, kind: u8, records: &[(&str, &str)]) -> Tar {
        let mut body = Vec::new();
        for (key, value) in records {
            let rest = format!(" {key}={value}\n");
            let mut length = rest.len() + 1;
            while length != rest.len() + length.to_string().len() {
                length += 1;
            }
            write!(body, "{length}{rest}").unwrap();
        }
        self.member("PaxHeaders/x", kind, body.len() as u64, &body)
    }

    /// Bytes, filled up to a whole block.
    pub(super) fn raw(mut self, body: &[u8]) -> Tar {
        self.0.extend_from_slice(body);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// With the end mark.
    pub(super) fn done(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }

    pub(super) fn bz2(self) -> Vec<u8> {
        bz2(&self.done())
    }

    pub(super) fn zst(self) -> Vec<u8> {
        zstd::encode_all(&self.done()[..], 3).unwrap()
    }
}

pub(super) fn bz2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// One zip member; the fields that are `Some` lie.
#[derive(Clone, Default)]
pub(super) struct Stored {
    pub(super) name: String,
    pub(super) data: Vec<u8>,
    pub(super) flags: u16,
    pub(super) method: u16,
    pub(super) local_name: Option<String>,
    pub(super) local_flags: Option<u16>,
    pub(super) local_method: Option<u16>,
    pub(super) local_size: Option<u32>,
    /// In both headers.
    pub(super) lie: Option<u32>,
    pub(super) local_crc32: Option<u32>,
    pub(super) crc32: Option<u32>,
    /// Sizes and offset in zip64 fields.
    pub(super) zip64: bool,
    /// The data descriptor's signature, with 64-bit sizes or without; needs flag bit 3.
    pub(super) descriptor: Option<(bool, bool)>,
    pub(super) descriptor_crc32: Option<u32>,
    pub(super) extra: Vec<u8>,
    pub(super) start: Option<u32>,
}

impl Stored {
    pub(super) fn new(name: &str, data: impl Into<Vec<u8>>) -> Stored {
        Stored {
            name: name.to_owned(),
            data: data.into(),
            ..Stored::default()
        }
    }

    fn crc(&self) -> u32 {
        self.crc32.unwrap_or_else(|| crc32fast::hash(&self.data))
    }

    fn sizes(&self, lie: Option<u32>) -> ([u8; 8], Vec<u8>) {
        let size = self.data.len() as u64;
        let short = if self.zip64 {
            u32::MAX
        } else {
            lie.unwrap_or(size as u32)
        };
        let mut both = [0; 8];
        both[..4].copy_from_slice(&short.to_le_bytes());
        both[4..].copy_from_slice(&short.to_le_bytes());
        let mut extra = self.extra.clone();
        if self.zip64 {
            extra.extend_from_slice(&[1, 0, 16, 0]);
            extra.extend_from_slice(&size.to_le_bytes());
            extra.extend_from_slice(&size.to_le_bytes());
        }
        (both, extra)
    }

    fn local(&self, out: &mut Vec<u8>) {
        let name = self.local_name.as_ref().unwrap_or(&self.name);
        let deferred = self.descriptor.is_some();
        let crc32 = self
            .local_crc32
            .unwrap_or(if deferred { 0 } else { self.crc() });
        let lie = self.local_size.or(deferred.then_some(0));
        let (sizes, extra) = self.sizes(lie.or(self.lie));
        out.extend_from_slice(b"PK\x03\x04\x2d\0");
        out.extend_from_slice(&self.local_flags.unwrap_or(self.flags).to_le_bytes());
        out.extend_from_slice(&self.local_method.unwrap_or(self.method).to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&crc32.to_le_bytes());
        out.extend_from_slice(&sizes);
        out.extend_from_slice(&(name.len() as u16).to_le_bytes());
        out.extend_from_slice(&(extra.len() as u16).to_le_bytes());
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(&extra);
        out.extend_from_slice(&self.data);
        if let Some((signed, wide)) = self.descriptor {
            if signed {
                out.extend_from_slice(b"PK\x07\x08");
            }
            out.extend_from_slice(&self.descriptor_crc32.unwrap_or(self.crc()).to_le_bytes());
            let size = self.data.len() as u64;
            let width = if wide { 8 } else { 4 };
            out.extend_from_slice(&size.to_le_bytes()[..width]);
            out.extend_from_slice(&size.to_le_bytes()[..width]);
        }
    }

    fn central(&self, start: u32, out: &mut Vec<u8>) {
        let (sizes, extra) = self.sizes(self.lie);
        out.extend_from_slice(b"PK\x01\x02\x2d\x03\x2d\0");
        out.extend_from_slice(&self.flags.to_le_bytes());
        out.extend_from_slice(&self.method.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.crc().to_le_bytes());
        out.extend_from_slice(&sizes);
        out.extend_from_slice(&(self.name.len() as u16).to_le_bytes());
        out.extend_from_slice(&(extra.len() as u16).to_le_bytes());
        out.extend_from_slice(&[0; 10]);
        out.extend_from_slice(&self.start.unwrap_or(start).to_le_bytes());
        out.extend_from_slice(self.name.as_bytes());
        out.extend_from_slice(&extra);
    }
}

/// A zip; the fields that are `Some` lie.
#[derive(Clone, Default)]
pub(super) struct Zip {
    pub(super) members: Vec<Stored>,
    pub(super) before: Vec<u8>,
    /// Between the last member and the directory.
    pub(super) between: Vec<u8>,
    pub(super) behind: Vec<u8>,
    pub(super) comment: Vec<u8>,
    pub(super) count: Option<u16>,
    pub(super) directory_size: Option<u32>,
    pub(super) zip64: bool,
    pub(super) zip64_count: Option<u64>,
}

impl Zip {
    /// The least that a `.conda` holds.
    pub(super) fn package() -> Zip {
        Zip::of(vec![
            Stored::new("metadata.json", *br#"{"conda_pkg_format_version": 2}"#),
            Stored::new(
                "pkg-a-1-0.tar.zst",
                Tar::default().file("lib/a", b"x").zst(),
            ),
            Stored::new("info-a-1-0.tar.zst", Tar::info().zst()),
        ])
    }

    pub(super) fn of(members: Vec<Stored>) -> Zip {
        Zip {
            members,
            ..Zip::default()
        }
    }

    /// The package with other members in `info-a-1-0.tar.zst`.
    pub(super) fn with_info(tar: Tar) -> Zip {
        Zip::package().change(2, |member| member.data = tar.zst())
    }

    pub(super) fn change(mut self, at: usize, change: impl FnOnce(&mut Stored)) -> Zip {
        change(&mut self.members[at]);
        self
    }

    pub(super) fn and(mut self, member: Stored) -> Zip {
        self.members.push(member);
        self
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut out = self.before.clone();
        let mut central = Vec::new();
        for member in &self.members {
            member.central(out.len() as u32, &mut central);
            member.local(&mut out);
        }
        out.extend_from_slice(&self.between);
        let start = out.len() as u64;
        let count = self.members.len() as u64;
        out.extend_from_slice(&central);
        let size = central.len() as u64;
        if self.zip64 {
            let record = out.len() as u64;
            out.extend_from_slice(b"PK\x06\x06\x2c\0\0\0\0\0\0\0\x2d\0\x2d\0\0\0\0\0\0\0\0\0");
            let counted = self.zip64_count.unwrap_or(count);
            for number in [counted, counted, size, start] {
                out.extend_from_slice(&number.to_le_bytes());
            }
            out.extend_from_slice(b"PK\x06\x07\0\0\0\0");
            out.extend_from_slice(&record.to_le_bytes());
            out.extend_from_slice(&1u32.to_le_bytes());
        }
        let wide = self.zip64;
        let count = if wide {
            u16::MAX
        } else {
            self.count.unwrap_or(count as u16)
        };
        let size = if wide {
            u32::MAX
        } else {
            self.directory_size.unwrap_or(size as u32)
        };
        let start = if wide { u32::MAX } else { start as u32 };
        out.extend_from_slice(b"PK\x05\x06\0\0\0\0");
        out.extend_from_slice(&count.to_le_bytes());
        out.extend_from_slice(&count.to_le_bytes());
        out.extend_from_slice(&size.to_le_bytes());
        out.extend_from_slice(&start.to_le_bytes());
        out.extend_from_slice(&(self.comment.len() as u16).to_le_bytes());
        out.extend_from_slice(&self.comment);
        out.extend_from_slice(&self.behind);
        out
    }
}

/// A file in memory that counts how often each byte was read.
pub(super) struct Counting {
    pub(super) bytes: Vec<u8>,
    pub(super) reads: Mutex<Vec<u8>>,
}

impl Counting {
    pub(super) fn new(bytes: Vec<u8>) -> Counting {
        let reads = Mutex::new(vec![0; bytes.len()]);
        Counting { bytes, reads }
    }
}

impl ReadAt for Counting {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = self.bytes.get(offset as usize..).unwrap_or_default();
        // Odd pieces, as a file system may hand them out.
        let count = rest.len().min(buffer.len()).min(77_777);
        buffer[..count].copy_from_slice(&rest[..count]);
        let mut reads = self.reads.lock().unwrap();
        for times in reads.iter_mut().skip(offset as usize).take(count) {
            *times += 1;
        }
        Ok(count)
    }
}

pub(super) fn read(bytes: &[u8], name: &str, check: bool) -> Result<Package, PackageError> {
    read_counting(&Counting::new(bytes.to_vec()), name, check)
}

pub(super) fn read_counting(
    file: &Counting,
    name: &str,
    check: bool,
) -> Result<Package, PackageError> {
    with_options(check, |options| {
        read_from(file, file.bytes.len() as u64, name, options)
    })
}

pub(super) fn with_options<T>(check: bool, run: impl FnOnce(&ReadOptions<'_>) -> T) -> T {
    let cancelled = AtomicBool::new(false);
    run(&ReadOptions {
        check_archives: check,
        cancelled: &cancelled,
        progress: &|_| {},
    })
}

/// Bytes that look random but are the same every time (xorshift64).
pub(super) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}
