//! Makes a channel of any size, fast: each package has its own name, version, build and `info/`, while its
//! payload is one of a few shapes, made once. Whoever takes it in has `builder` at the root of his crate.

mod info;
mod shape;
pub mod splice;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;
use serde_json::json;

use crate::builder::{Format, PackageSpec, Random};
use info::Info;
use shape::{Shape, Wanted, ZSTD_LEVEL};

/// How many bytes a payload unpacks to for each on disk: its bytes hold four bits of chance.
const UNPACKED: f64 = 2.0;
/// Below this size a package has little in its `info/`.
const LARGE_INFO: usize = 4_000;

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

/// What a package is called, and what its metadata says of it.
pub struct Identity {
    name: String,
    version: String,
    build: String,
    build_number: u64,
    depends: Vec<String>,
    subdir: String,
    timestamp: u64,
    seed: u64,
}

/// Makes the channel, in parallel; files of the same names are overwritten.
pub fn make(plan: &Plan) -> std::io::Result<Made> {
    plan.make_folders()?;
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
                let (identity, format) = (plan.identity(number), plan.format(number));
                let package = shapes.package(&identity, format, plan.shape(number), zstd)?;
                bytes.fetch_add(package.len() as u64, Ordering::Relaxed);
                std::fs::write(plan.out.join(identity.path(format)), package)
            },
        )?;
    Ok(Made {
        packages: plan.packages,
        bytes: bytes.into_inner(),
    })
}

impl Plan {
    /// Makes the channel's folders.
    pub fn make_folders(&self) -> std::io::Result<()> {
        let folders = self.subdirs.iter().map(|subdir| self.out.join(subdir));
        folders.into_iter().try_for_each(std::fs::create_dir_all)
    }

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
    pub fn format(&self, number: usize) -> Format {
        let condas_below = |count: usize| (count as f64 * self.conda_share) as usize;
        if condas_below(number + 1) > condas_below(number) {
            Format::Conda
        } else {
            Format::TarBz2
        }
    }

    /// The formats that there are.
    fn wanted(&self) -> Wanted {
        let has = |format| (0..self.packages).any(|number| self.format(number) == format);
        Wanted {
            conda: has(Format::Conda),
            tar_bz2: has(Format::TarBz2),
        }
    }

    fn name(&self, number: usize) -> String {
        format!("package-{:06}", number / self.per_name)
    }

    /// What a package's `info/` says.
    pub fn info<'a>(&self, identity: &'a Identity) -> Info<'a> {
        Info {
            identity,
            large: self.size >= LARGE_INFO,
        }
    }

    /// Everything of a package that is its own.
    pub fn identity(&self, number: usize) -> Identity {
        let seed = self.seed ^ (number as u64) << 20;
        let mut random = Random::new(seed);
        let version = format!("{}.{}", number % self.per_name, random.below(20));
        let build_number = random.below(4);
        let build = format!("h{:07x}_{build_number}", random.below(1 << 28));
        let mut depends = vec![format!("python >=3.{},<4.0a0", 8 + random.below(6))];
        for _ in 0..random.below(6) {
            let other = random.below(self.packages as u64) as usize;
            depends.push(format!("{} >={}", self.name(other), random.below(10)));
        }
        Identity {
            name: self.name(number),
            version,
            build,
            build_number,
            depends,
            subdir: self.subdirs[number / self.per_name % self.subdirs.len()].clone(),
            timestamp: 1_420_070_400_000 + random.below(4_000) * 86_400_000,
            seed,
        }
    }
}

impl Identity {
    fn spec(&self) -> PackageSpec {
        PackageSpec::new(&self.name, &self.version, &self.build)
            .subdir(&self.subdir)
            .build_number(self.build_number)
            .depends(&self.depends)
            .extra("license_family", json!("BSD"))
            .extra("timestamp", json!(self.timestamp))
    }

    /// Where the package lies in the channel.
    pub fn path(&self, format: Format) -> String {
        self.spec().path_in_channel(format)
    }

    /// Its `info/index.json`.
    pub fn index_json(&self) -> Vec<u8> {
        self.spec().index_bytes()
    }
}

struct Shapes<'a> {
    all: Vec<Shape>,
    plan: &'a Plan,
}

impl<'a> Shapes<'a> {
    fn new(plan: &'a Plan) -> Self {
        let count = plan.shapes();
        let bare = Self::payload_free(plan);
        let shape = |at: usize| {
            let size = plan.size as f64 * (0.5 + (at as f64 + 0.5) / count as f64);
            let payload = ((size - bare).max(0.0) * UNPACKED) as usize;
            Shape::new(payload, plan.seed ^ (at as u64) << 40, plan.wanted())
        };
        Self {
            all: (0..count).into_par_iter().map(shape).collect(),
            plan,
        }
    }

    /// The size on disk of a package that has no payload, on average over both formats.
    fn payload_free(plan: &'a Plan) -> f64 {
        let shapes = Self {
            all: vec![Shape::new(0, 0, plan.wanted())],
            plan,
        };
        let mut zstd = zstd::bulk::Compressor::new(ZSTD_LEVEL).expect("a zstd level that exists");
        let size = |number: usize| {
            let (identity, format) = (plan.identity(number), plan.format(number));
            let package = shapes.package(&identity, format, 0, &mut zstd);
            package.map_or(0, |package| package.len())
        };
        let count = plan.packages.clamp(1, 16);
        (0..count).map(size).sum::<usize>() as f64 / count as f64
    }

    fn package(
        &self,
        identity: &Identity,
        format: Format,
        shape: usize,
        zstd: &mut zstd::bulk::Compressor<'_>,
    ) -> std::io::Result<Vec<u8>> {
        let shape = &self.all[shape];
        let info = self.plan.info(identity).tar(shape.installed());
        match format {
            Format::TarBz2 => Ok(shape.tar_bz2(info)),
            Format::Conda => shape.conda(info, &identity.spec().stem(), zstd),
        }
    }
}
