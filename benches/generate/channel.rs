//! Makes a channel of any size, fast: each package has its own name, version, build and index.json, while
//! what follows in it is one of a few shapes, compressed once. Whoever takes it in has `builder` and
//! `splice` at the root of his crate.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;
use serde_json::json;

use crate::builder::archive::{self, TarMember};
use crate::builder::zip::{ZipMember, zip_of};
use crate::builder::{Format, METADATA_JSON, PackageSpec, Random};
use crate::splice::Blocks;

/// How many bytes a payload unpacks to for each on disk: its bytes hold four bits of chance.
const UNPACKED: f64 = 2.0;
/// The zstd level; the reader's work hardly depends on it.
const ZSTD_LEVEL: i32 = 3;

/// What channel to make.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The channel's folder; it is made where it is not there.
    pub out: PathBuf,
    /// How many packages.
    pub packages: usize,
    /// The size of a file in bytes, on average: they vary from about half to one and a half of it.
    /// Packages have about 1,000 bytes even without a payload.
    pub size: usize,
    /// The share of `.conda` files, from 0 to 1.
    pub conda_share: f64,
    /// The subdirs; all packages of one name lie in the same.
    pub subdirs: Vec<String>,
    /// Another seed gives other names, sizes and contents.
    pub seed: u64,
    /// How many packages have the same name.
    pub per_name: usize,
}

/// What was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    /// Files.
    pub packages: usize,
    /// Their size on disk in bytes.
    pub bytes: u64,
}

/// Makes the channel, in parallel; files of the same names are overwritten.
pub fn make(plan: &Plan) -> std::io::Result<Made> {
    for subdir in &plan.subdirs {
        std::fs::create_dir_all(plan.out.join(subdir))?;
    }
    let shapes = Shapes::new(plan);
    let bytes = AtomicU64::new(0);
    (0..plan.packages)
        .into_par_iter()
        .with_min_len(16.min(plan.packages / 64 + 1))
        .try_for_each_init(
            || zstd::bulk::Compressor::new(ZSTD_LEVEL),
            |zstd, number| {
                let zstd = zstd
                    .as_mut()
                    .map_err(|error| std::io::Error::other(error.to_string()))?;
                let format = plan.format(number);
                let spec = plan.spec(number);
                let package = shapes.package(&spec, format, plan.shape(number), zstd)?;
                bytes.fetch_add(package.len() as u64, Ordering::Relaxed);
                std::fs::write(plan.out.join(spec.path_in_channel(format)), package)
            },
        )?;
    Ok(Made {
        packages: plan.packages,
        bytes: bytes.into_inner(),
    })
}

impl Plan {
    /// As many shapes as there are packages to use them, fewer where each is costly.
    fn shapes(&self) -> usize {
        let most = if self.size < 1_000_000 { 16 } else { 2 };
        self.packages.clamp(1, most)
    }

    fn shape(&self, number: usize) -> usize {
        // By turns, but for both formats: so the average is what was asked for.
        number / 2 % self.shapes()
    }

    /// Spreads the formats evenly.
    fn format(&self, number: usize) -> Format {
        let condas_below = |count: usize| (count as f64 * self.conda_share) as usize;
        if condas_below(number + 1) > condas_below(number) {
            Format::Conda
        } else {
            Format::TarBz2
        }
    }

    fn name(&self, number: usize) -> String {
        format!("package-{:06}", number / self.per_name)
    }

    /// Everything of a package that is its own.
    fn spec(&self, number: usize) -> PackageSpec {
        let mut random = Random::new(self.seed ^ (number as u64) << 20);
        let version = format!("{}.{}", number % self.per_name, random.below(20));
        let build_number = random.below(4);
        let build = format!("h{:07x}_{build_number}", random.below(1 << 28));
        let mut depends = vec![format!("python >=3.{},<4.0a0", 8 + random.below(6))];
        for _ in 0..random.below(6) {
            let other = random.below(self.packages as u64) as usize;
            depends.push(format!("{} >={}", self.name(other), random.below(10)));
        }
        let day = random.below(4_000);
        PackageSpec::new(&self.name(number), &version, &build)
            .subdir(&self.subdirs[number / self.per_name % self.subdirs.len()])
            .build_number(build_number)
            .depends(depends)
            .extra("license_family", json!("BSD"))
            .extra("timestamp", json!(1_420_070_400_000 + day * 86_400_000))
    }
}

/// What follows index.json in a package, ready to be put behind it.
struct Shape {
    /// For `.tar.bz2`: the other members of `info/`, the payload, the end of the tar.
    blocks: Blocks,
    /// For `.conda`: the other members of `info/`, the end of the tar; not compressed.
    info_rest: Vec<u8>,
    /// For `.conda`: the payload as `.tar.zst`.
    payload: Vec<u8>,
}

struct Shapes(Vec<Shape>);

impl Shapes {
    fn new(plan: &Plan) -> Self {
        let count = plan.shapes();
        let bare = Self::payload_free(plan);
        let shape = |at: usize| {
            let size = plan.size as f64 * (0.5 + (at as f64 + 0.5) / count as f64);
            let payload = ((size - bare).max(0.0) * UNPACKED) as usize;
            let bytes = Random::new(plan.seed ^ (at as u64) << 40).bytes(payload, 4);
            Shape::new(&PackageSpec::new(&format!("shape-{at}"), "1", "0").payload(bytes))
        };
        Self((0..count).into_par_iter().map(shape).collect())
    }

    /// The size on disk of a package that has no payload, on average over both formats.
    fn payload_free(plan: &Plan) -> f64 {
        let shapes = Self(vec![Shape::new(
            &PackageSpec::new("shape-0", "1", "0").payload(""),
        )]);
        let mut zstd = zstd::bulk::Compressor::new(ZSTD_LEVEL).expect("a zstd level that exists");
        let size = |number: usize| {
            let package = shapes.package(&plan.spec(number), plan.format(number), 0, &mut zstd);
            package.map_or(0, |package| package.len())
        };
        (0..16).map(size).sum::<usize>() as f64 / 16.0
    }

    fn package(
        &self,
        spec: &PackageSpec,
        format: Format,
        shape: usize,
        zstd: &mut zstd::bulk::Compressor<'_>,
    ) -> std::io::Result<Vec<u8>> {
        let shape = &self.0[shape];
        let mut info = Vec::new();
        spec.index_member().append_to(&mut info);
        if format == Format::TarBz2 {
            return Ok(Blocks::of_few(&info).stream_with(&shape.blocks));
        }
        info.extend_from_slice(&shape.info_rest);
        let info = zstd
            .compress(&info)
            .map_err(|error| std::io::Error::other(error.to_string()))?;
        let stem = spec.stem();
        Ok(zip_of(&[
            ZipMember::stored("metadata.json", METADATA_JSON),
            ZipMember::stored(format!("pkg-{stem}.tar.zst"), shape.payload.as_slice()),
            ZipMember::stored(format!("info-{stem}.tar.zst"), info),
        ]))
    }
}

impl Shape {
    fn new(spec: &PackageSpec) -> Self {
        let (mut info_rest, mut payload) = (Vec::new(), Vec::new());
        append_all(&mut info_rest, &spec.other_info_members());
        append_all(&mut payload, &spec.payload_members());
        archive::end_tar(&mut payload);
        let blocks = Blocks::of(&[info_rest.as_slice(), payload.as_slice()].concat());
        archive::end_tar(&mut info_rest);
        Self {
            blocks,
            info_rest,
            payload: archive::zstd(&payload, ZSTD_LEVEL),
        }
    }
}

fn append_all(tar: &mut Vec<u8>, members: &[TarMember]) {
    for member in members {
        member.append_to(tar);
    }
}
