//! The payload of packages: what they install, compressed once for any number of them. Owns how it goes
//! behind `info/` in both formats; it must not know what stands in `info/`.

use rayon::prelude::*;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::splice::Blocks;
use crate::builder::archive::{self, TarMember};
use crate::builder::zip::{ZipMember, zip_of};
use crate::builder::{METADATA_JSON, Random};

/// The zstd level; the reader's work hardly depends on it.
pub const ZSTD_LEVEL: i32 = 3;
/// Bytes of the payload in the bz2 block that holds `info/`: together they fill most of its 900,000.
const SHARED: usize = 850_000;
/// The most bytes of chance in a payload; a larger one repeats them, and so is made in no time.
const UNIT: usize = 32 << 20;
/// About how many bytes a file has, in payloads of several.
const FILE: usize = 8_000;
/// The most files of a payload.
const MOST_FILES: usize = 40;

/// The formats that payloads are made for.
#[derive(Clone, Copy)]
pub struct Wanted {
    pub conda: bool,
    pub tar_bz2: bool,
}

/// A payload, ready to be put behind any `info/`.
pub struct Shape {
    installed: Installed,
    /// For `.tar.bz2`: what shares the first block with `info/`.
    front: Vec<u8>,
    /// And all further blocks.
    tail: Blocks,
    /// For `.conda`: the payload as `.tar.zst`.
    payload: Vec<u8>,
}

/// What a payload installs, as `info/` tells it.
pub struct Installed {
    /// The paths, each with its line feed.
    pub files: String,
    /// `info/paths.json`
    pub paths_json: Vec<u8>,
}

/// The tar of a payload: `start`, then `again` so many times, then `end`.
struct Tar {
    start: Vec<u8>,
    again: Vec<u8>,
    times: usize,
    end: Vec<u8>,
}

impl Shape {
    /// A payload of so many bytes, unpacked.
    pub fn new(size: usize, seed: u64, wanted: Wanted) -> Self {
        let (tar, installed) = if size > UNIT {
            Tar::of_one_file(size.div_ceil(UNIT), seed)
        } else {
            Tar::of_files(size, seed)
        };
        let front = tar.start.len().min(SHARED);
        Self {
            installed,
            front: tar.start[..front].to_vec(),
            tail: if wanted.tar_bz2 {
                tar.blocks_behind(front)
            } else {
                Blocks::default()
            },
            payload: if wanted.conda { tar.zstd() } else { Vec::new() },
        }
    }

    /// What it installs.
    pub fn installed(&self) -> &Installed {
        &self.installed
    }

    /// A whole `.tar.bz2` with this `info/`: one stream, whose first block holds `info/` and the payload's front,
    /// as conda-build's have.
    pub fn tar_bz2(&self, info: Vec<u8>) -> Vec<u8> {
        let first = [info.as_slice(), &self.front].concat();
        Blocks::of_one(&first).stream_with(&self.tail)
    }

    /// A whole `.conda` with this `info/`.
    pub fn conda(
        &self,
        mut info: Vec<u8>,
        stem: &str,
        zstd: &mut zstd::bulk::Compressor<'_>,
    ) -> std::io::Result<Vec<u8>> {
        archive::end_tar(&mut info);
        let info = zstd
            .compress(&info)
            .map_err(|error| std::io::Error::other(error.to_string()))?;
        Ok(zip_of(&[
            ZipMember::stored("metadata.json", METADATA_JSON),
            ZipMember::stored(format!("pkg-{stem}.tar.zst"), self.payload.as_slice()),
            ZipMember::stored(format!("info-{stem}.tar.zst"), info),
        ]))
    }
}

impl Tar {
    /// Some files: more of them in larger payloads.
    fn of_files(size: usize, seed: u64) -> (Tar, Installed) {
        let count = (size / FILE).clamp(1, MOST_FILES);
        let mut installed = Vec::new();
        let mut start = Vec::new();
        for at in 0..count {
            let bytes = Random::new(seed ^ (at as u64) << 8).bytes(size / count, 4);
            let path = format!("lib/python3.11/site-packages/shape/module_{at:02}.bin");
            installed.push((path.clone(), Sha256::digest(&bytes).to_vec(), bytes.len()));
            TarMember::file(path, bytes).append_to(&mut start);
        }
        archive::end_tar(&mut start);
        let tar = Tar {
            start,
            again: Vec::new(),
            times: 0,
            end: Vec::new(),
        };
        (tar, Installed::new(&installed))
    }

    /// One large file, which is the same unit again and again.
    fn of_one_file(units: usize, seed: u64) -> (Tar, Installed) {
        let unit = Random::new(seed).bytes(UNIT, 4);
        let path = "lib/large.bin".to_owned();
        let size = units * UNIT;
        let mut sha256 = Sha256::new();
        (0..units).for_each(|_| sha256.update(&unit));
        let mut start = archive::file_header(&path, size as u64);
        start.extend_from_slice(&unit);
        let mut end = Vec::new();
        archive::end_tar(&mut end);
        let tar = Tar {
            start,
            again: unit,
            times: units - 1,
            end,
        };
        (
            tar,
            Installed::new(&[(path, sha256.finalize().to_vec(), size)]),
        )
    }

    /// Blocks of all that stands behind the first bytes.
    fn blocks_behind(&self, front: usize) -> Blocks {
        let mut blocks = Blocks::of(&self.start[front..]);
        let again = Blocks::of(&self.again);
        (0..self.times).for_each(|_| blocks.append(&again));
        blocks.append(&Blocks::of(&self.end));
        blocks
    }

    /// One zstd frame, or one for each part of a large payload.
    fn zstd(&self) -> Vec<u8> {
        let parts = [&self.start, &self.again, &self.end];
        let frames: Vec<_> = parts
            .into_par_iter()
            .map(|part| match part.as_slice() {
                [] => Vec::new(),
                part => archive::zstd(part, ZSTD_LEVEL),
            })
            .collect();
        let (start, again, end) = (&frames[0], &frames[1], &frames[2]);
        let mut all = Vec::with_capacity(start.len() + again.len() * self.times + end.len());
        all.extend_from_slice(start);
        (0..self.times).for_each(|_| all.extend_from_slice(again));
        all.extend_from_slice(end);
        all
    }
}

impl Installed {
    /// Of paths, with their SHA-256 and size.
    fn new(files: &[(String, Vec<u8>, usize)]) -> Self {
        let hex = |bytes: &[u8]| -> String { bytes.iter().map(|it| format!("{it:02x}")).collect() };
        let path = |(path, sha256, size): &(String, Vec<u8>, usize)| json!({"_path": path, "path_type": "hardlink", "sha256": hex(sha256), "size_in_bytes": size});
        let paths: Vec<_> = files.iter().map(path).collect();
        let paths = json!({"paths": paths, "paths_version": 1});
        Self {
            files: files.iter().map(|(path, ..)| format!("{path}\n")).collect(),
            paths_json: serde_json::to_vec_pretty(&paths).expect("what can be written"),
        }
    }
}
