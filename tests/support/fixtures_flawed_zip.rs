//! `.conda` files whose ZIP is inconsistent, or whose info member cannot be read. It adds to the flaws of
//! `fixtures_flawed.rs` and writes nothing itself.

use super::{Flaws, INDEX, sound};
use crate::builder::zip::{self, ZipMember};
use crate::builder::{Format, archive};

/// Adds all of them.
pub(super) fn add(flaws: &mut Flaws<'_>) {
    flaws.put_zip("conda-without-info", |all| all.truncate(2));
    flaws.put_zip("conda-two-info-members", |all| {
        let mut other = all[2].clone();
        other.name = "info-other-2.0-0.tar.zst".to_owned();
        all.push(other);
    });
    flaws.put_zip("conda-duplicate-member", |all| all.push(all[2].clone()));
    flaws.put_zip("conda-deflated-member", |all| {
        let info = all.remove(2);
        let packed = ZipMember::deflated(info.name, &info.bytes);
        all.push(ZipMember {
            bytes: packed.bytes.into_owned().into(),
            ..packed
        });
    });
    flaws.put_zip("conda-encrypted-flag", |all| all[2].flags = zip::ENCRYPTED);
    flaws.put_zip("conda-local-central-differ", |all| {
        all[2].central_name = Some(all[2].name.clone());
        all[2].name = all[2].name.replace("info-", "xnfo-");
    });
    flaws.put_zip("conda-local-central-sizes-differ", |all| {
        all[2].local_size = Some(17)
    });
    flaws.put_zip("conda-overlapping-members", |all| overlap(all));
    flaws.put_zip("conda-offset-beyond-end", |all| {
        all[2].central_offset = Some(1 << 30)
    });
    flaws.put_zip("conda-size-beyond-end", |all| {
        all[2].size = 1 << 30;
        all[2].local_size = Some(1 << 30);
    });
    flaws.put_zip("conda-wrong-crc", |all| all[2].crc ^= 1);
    flaws.put_zip("conda-info-not-zstd", |all| {
        all[2] = ZipMember::stored(all[2].name.clone(), sound().tar_bz2());
    });
    flaws.put_zip("conda-info-truncated", |all| {
        let whole = &all[2].bytes;
        all[2] = ZipMember::stored(all[2].name.clone(), whole[..whole.len() / 2].to_vec());
    });
    flaws.put_zip("conda-zstd-window-of-2-gib", |all| {
        let tar = archive::tar_of(&[(INDEX, &sound().index_bytes())]);
        all[2] = ZipMember::stored(all[2].name.clone(), archive::zstd_with_window(&tar, 31));
    });
    let mut flipped = sound().conda();
    let info_at = flipped.len() - 700;
    flipped[info_at] ^= 1;
    flaws.put("flipped-bit-conda", Format::Conda, flipped);
}

/// Lays the info member inside the payload's bytes, in a zstd frame that decoders skip (RFC 8878,
/// 3.1.2), so that each of the two is sound by itself.
fn overlap(all: &mut [ZipMember<'static>]) {
    let mut inner = Vec::new();
    all[2].append_local(&mut inner);
    let mut payload = all[1].bytes.to_vec();
    payload.extend_from_slice(&0x184d_2a50_u32.to_le_bytes());
    payload.extend_from_slice(&(inner.len() as u32).to_le_bytes());
    let inner_at = local_size(&all[0]) + 30 + all[1].name.len() + payload.len();
    payload.extend_from_slice(&inner);
    all[1] = ZipMember::stored(all[1].name.clone(), payload);
    all[2].central_offset = Some(inner_at as u32);
}

/// The bytes that an honest member takes: a header of 30, its name, its contents.
fn local_size(member: &ZipMember<'_>) -> usize {
    30 + member.name.len() + member.bytes.len()
}
