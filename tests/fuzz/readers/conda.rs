//! The target `conda`. Forms by the first byte: 0 the file as it stands; 1 members of the info part that are described
//! (see `inner`), in a sound zip; 2 zip members that are described, true or not; 3 the same with bytes of the whole
//! file changed behind that.

use super::builder::archive::{tar_of, zstd, zstd_with_window};
use super::builder::zip::{ZipMember, zip_of};
use super::feed::Feed;
use super::{held, inner};

const NAME: &str = "flawed-1.0-h1_0.conda";
const METADATA: &[u8] = b"{\"conda_pkg_format_version\": 2}";

pub fn read(bytes: &[u8]) {
    held::package(NAME, &file(bytes));
}

/// The package that an input stands for.
fn file(bytes: &[u8]) -> Vec<u8> {
    let mut feed = Feed::new(bytes);
    match feed.byte() % 4 {
        0 => feed.rest().to_vec(),
        1 => sound(&inner::members(&mut feed), &tar_of(&[("lib/a.txt", b"a")])),
        2 => zip(&mut feed),
        _ => {
            let changes = feed.short_text();
            changed(zip(&mut feed), changes)
        }
    }
}

/// A sound zip around two tars. (They are packed quickly; and zstd's strongest levels trip AddressSanitizer where gcc
/// builds it: it takes a table that was moved out of a function for that function's stack.)
pub fn sound(info: &[u8], pkg: &[u8]) -> Vec<u8> {
    zip_of(&[
        ZipMember::stored("metadata.json", METADATA),
        ZipMember::stored("pkg-flawed-1.0-h1_0.tar.zst", zstd(pkg, 1)),
        ZipMember::stored("info-flawed-1.0-h1_0.tar.zst", zstd(info, 1)),
    ])
}

/// A zip of members that the input describes: for each a byte that says its name and what form its content has,
/// and one that says which lies its headers tell.
fn zip(feed: &mut Feed<'_>) -> Vec<u8> {
    let mut members = Vec::new();
    while !feed.is_empty() && members.len() < 12 {
        let control = feed.byte();
        let lies = feed.byte();
        let name = name(control & 7, feed);
        let content = content(control >> 3 & 7, feed.text());
        members.push(lying(ZipMember::stored(name, content), lies, feed));
    }
    zip_of(&members)
}

fn name(which: u8, feed: &mut Feed<'_>) -> String {
    match which {
        0 => "metadata.json".to_owned(),
        1 => "info-flawed-1.0-h1_0.tar.zst".to_owned(),
        2 => "pkg-flawed-1.0-h1_0.tar.zst".to_owned(),
        3 => "info-other-1-0.tar.zst".to_owned(),
        4 => "sub/pkg-flawed-1.0-h1_0.tar.zst".to_owned(),
        5 => "../outside".to_owned(),
        _ => String::from_utf8_lossy(feed.short_text()).into_owned(),
    }
}

fn content(form: u8, bytes: &[u8]) -> Vec<u8> {
    let mut feed = Feed::new(bytes);
    match form {
        0 => bytes.to_vec(),
        1 => zstd(bytes, 1),
        2 => zstd(&inner::mended(bytes), 1),
        3 => zstd(&inner::members(&mut feed), 1),
        4 => {
            let window = 10 + feed.byte() % 32;
            zstd_with_window(&inner::members(&mut feed), window)
        }
        5 => {
            let half = zstd(&inner::members(&mut feed), 1);
            [half.clone(), half].concat()
        }
        6 => METADATA.to_vec(),
        _ => {
            let at = feed.short();
            let tar = inner::members(&mut feed);
            let (first, second) = tar.split_at(at.min(tar.len()));
            [zstd(first, 1), zstd(second, 3)].concat()
        }
    }
}

fn lying<'a>(mut member: ZipMember<'a>, lies: u8, feed: &mut Feed<'_>) -> ZipMember<'a> {
    let lie = |bit: u8| lies & 1 << bit != 0;
    member.zip64 = lie(0);
    member.descriptor = lie(1);
    if lie(2) {
        member.flags = u16::try_from(feed.short()).unwrap_or(0);
    }
    if lie(3) {
        member.method = u16::from(feed.byte());
    }
    if lie(4) {
        member.crc ^= u32::from(feed.byte());
    }
    if lie(5) {
        member.local_size = Some(u32::try_from(feed.short()).unwrap_or(0));
    }
    if lie(6) {
        member.central_name = Some(name(feed.byte(), feed));
    }
    if lie(7) {
        match feed.byte() {
            0 => member.central_offset = Some(u32::try_from(feed.short()).unwrap_or(0)),
            other => member.size ^= u32::from(other),
        }
    }
    member
}

/// The file with some bytes changed: each change is a place, counted from the end where it is odd, and a value.
fn changed(mut file: Vec<u8>, changes: &[u8]) -> Vec<u8> {
    for change in changes.chunks_exact(3) {
        let place = usize::from(change[0]) << 8 | usize::from(change[1]);
        let at = match place % 2 {
            0 => Some(place / 2),
            _ => file.len().checked_sub(1 + place / 2),
        };
        if let Some(byte) = at.and_then(|at| file.get_mut(at)) {
            *byte = change[2];
        }
    }
    file
}
