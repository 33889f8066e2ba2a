//! How members become a package of either format. It must not know what stands in the members.
#![allow(dead_code)]

use super::archive::{self, TarMember, tar_of_members};
use super::zip::{ZipMember, zip_of};

/// The contents of `metadata.json`, the first member of every `.conda`.
pub const METADATA_JSON: &[u8] = b"{\"conda_pkg_format_version\": 2}";

/// The two package formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A bz2-compressed tar.
    TarBz2,
    /// A ZIP of two zstd-compressed tars.
    Conda,
}

impl Format {
    /// Both, for tests that hold for either.
    pub const BOTH: [Self; 2] = [Self::TarBz2, Self::Conda];

    /// The end of a file name, with its dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::TarBz2 => ".tar.bz2",
            Self::Conda => ".conda",
        }
    }
}

/// The three members of a `.conda` in the usual order: metadata.json, payload, info.
pub fn conda_members(
    stem: &str,
    info: &[TarMember],
    payload: &[TarMember],
) -> Vec<ZipMember<'static>> {
    vec![
        ZipMember::stored("metadata.json", METADATA_JSON),
        ZipMember::stored(
            format!("pkg-{stem}.tar.zst"),
            archive::zstd(&tar_of_members(payload), 19),
        ),
        ZipMember::stored(
            format!("info-{stem}.tar.zst"),
            archive::zstd(&tar_of_members(info), 19),
        ),
    ]
}

/// A package of either format from any members, for those that a `PackageSpec` cannot describe.
pub fn package_of(
    format: Format,
    stem: &str,
    info: &[TarMember],
    payload: &[TarMember],
) -> Vec<u8> {
    match format {
        Format::TarBz2 => archive::bz2(&tar_of_members(&[info, payload].concat()), 9),
        Format::Conda => zip_of(&conda_members(stem, info, payload)),
    }
}
