//! Tars made of an input: of any blocks, whose checksums are mended, or of members that the input describes in a few
//! bytes each. Must not know how they are packed.

use tar::{EntryType, Header};

use super::feed::Feed;

const BLOCK: usize = 512;

/// Kinds of members, by half a byte.
const KINDS: &[u8; 16] = b"0\x001235670LKxgXSV";

/// Names that mean something, by their place.
pub const NAMES: [&[u8]; 24] = [
    b"info/index.json",
    b"info/about.json",
    b"info/paths.json",
    b"info/run_exports.json",
    b"info/recipe/meta.yaml",
    b"info/recipe/meta.yaml.rendered",
    b"info/meta.yaml",
    b"info/files",
    b"info/",
    b"info",
    b"./info/index.json",
    b"info//index.json",
    b"/info/index.json",
    b"lib/../info/index.json",
    b"info/index.json/",
    b"lib/a.txt",
    b"lib/",
    b"../outside",
    b"/tmp/outside",
    b"info/../../a",
    b"noarch/patch_instructions.json",
    b"linux-64/patch_instructions.json",
    b"./noarch/patch_instructions.json",
    b"././@LongLink",
];

/// A tar of members that the input describes: for each a byte that says which kind it is, whether its name is one of
/// [`NAMES`] (16), whether its size stands in two bytes (32), whether it lies about its size (64), and whether a
/// byte of its header is another (128).
pub fn members(feed: &mut Feed<'_>) -> Vec<u8> {
    let end = feed.byte();
    let mut tar = Vec::new();
    while !feed.is_empty() && tar.len() < 1 << 20 {
        member(feed, &mut tar);
    }
    let blocks = match end {
        0..=199 => 2,
        200..=219 => 1,
        220..=239 => 0,
        240.. => 20,
    };
    tar.resize(tar.len() + blocks * BLOCK, 0);
    tar
}

fn member(feed: &mut Feed<'_>, tar: &mut Vec<u8>) {
    let control = feed.byte();
    let kind = KINDS[usize::from(control & 15)];
    let name = match control & 16 {
        0 => feed.short_text(),
        _ => NAMES[usize::from(feed.byte()) % NAMES.len()],
    };
    let body = match control & 32 {
        0 => feed.short_text(),
        _ => feed.text(),
    };
    let body = match kind {
        b'x' | b'g' => pax(body),
        _ => body.to_vec(),
    };
    let size = body.len() as u64;
    let size = match control & 64 {
        0 => size,
        _ => match feed.byte() {
            lie @ 0..=127 => size ^ u64::from(lie),
            lie => 1 << (lie & 63),
        },
    };
    let mut header = match kind {
        b'L' | b'K' | b'S' => Header::new_gnu(),
        _ => Header::new_ustar(),
    };
    let bytes = header.as_mut_bytes();
    let count = name.len().min(100);
    bytes[..count].copy_from_slice(&name[..count]);
    header.set_entry_type(EntryType::new(kind));
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    if control & 128 != 0 {
        header.as_mut_bytes()[feed.short() % BLOCK] = feed.byte();
    }
    header.set_cksum();
    tar.extend_from_slice(header.as_bytes());
    tar.extend_from_slice(&body);
    tar.resize(tar.len().next_multiple_of(BLOCK), 0);
}

/// Lines of the form `key=value`, as PAX records; what begins with a digit stays as it is.
fn pax(body: &[u8]) -> Vec<u8> {
    if body.first().is_none_or(u8::is_ascii_digit) {
        return body.to_vec();
    }
    let mut records = Vec::new();
    for line in body.split(|byte| *byte == b'\n') {
        let mut length = line.len() + 3;
        while length != line.len() + 2 + length.to_string().len() {
            length += 1;
        }
        records.extend_from_slice(length.to_string().as_bytes());
        records.push(b' ');
        records.extend_from_slice(line);
        records.push(b'\n');
    }
    records
}

/// The blocks with the checksum of every header put right, as far as headers follow one another.
pub fn mended(bytes: &[u8]) -> Vec<u8> {
    let mut tar = bytes.to_vec();
    let mut at = 0usize;
    while let Some(block) = tar.get_mut(at..at.saturating_add(BLOCK)) {
        at = at.saturating_add(BLOCK);
        if block == [0; BLOCK] {
            continue;
        }
        let mut header = Header::new_old();
        header.as_mut_bytes().copy_from_slice(block);
        header.set_cksum();
        block.copy_from_slice(header.as_bytes());
        let size = header.entry_size().unwrap_or(0);
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        at = at.saturating_add(size.checked_next_multiple_of(BLOCK).unwrap_or(usize::MAX));
    }
    tar
}
