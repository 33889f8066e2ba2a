//! What is done with a package's bytes: both digests, and the whole reading of a file. Owns the sizes; it must not know
//! how packages are made.

use std::fs::File;
use std::hint::black_box;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use sigindex::package::{self, Hasher, ReadOptions};

use crate::builder::{Format, Random};
use crate::packages;

/// Both digests.
pub fn hashing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("both digests");
    for (name, size) in [
        ("20 kB", 20_000),
        ("1 MB", 1_000_000),
        ("100 MB", 100_000_000),
    ] {
        let bytes = Random::new(1).bytes(size, 8);
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut hasher = Hasher::default();
                // As a file is read.
                for chunk in bytes.chunks(256 * 1024) {
                    hasher.update(chunk);
                }
                black_box(hasher.finish())
            });
        });
    }
}

/// A package from its open file to digests and documents.
pub fn packages(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut group = criterion.benchmark_group("read a package");
    for (format, name) in [(Format::Conda, ".conda"), (Format::TarBz2, ".tar.bz2")] {
        for (size_name, size) in [("20 kB", 20_000), ("10 MB", 10_000_000)] {
            let path = folder
                .path()
                .join(packages::one(folder.path(), size, format));
            let bytes = path.metadata().expect("a file").len();
            group.throughput(Throughput::Bytes(bytes));
            group.bench_with_input(BenchmarkId::new(name, size_name), &path, |bencher, path| {
                bencher.iter_batched(
                    || File::open(path).expect("a file"),
                    |file| black_box(read(&file, path)),
                    BatchSize::PerIteration,
                );
            });
        }
    }
}

fn read(file: &File, path: &Path) -> package::Package {
    let never = AtomicBool::new(false);
    let options = ReadOptions {
        check_archives: false,
        cancelled: &never,
        progress: &|_| {},
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    package::read(file, &name, &options).expect("a sound package")
}
