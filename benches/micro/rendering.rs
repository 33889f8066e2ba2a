//! From a package's documents to index files: records, `repodata.json`, a shard, a page, their compression. Owns the
//! number of records; it must not know how packages are read.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;

use base64ct::{Base64, Encoding as _};
use criterion::{Criterion, Throughput};
use sigindex::channel::SubdirName;
use sigindex::details::{Details, Install, Sources};
use sigindex::json::Object;
use sigindex::keys::{Fingerprint, KeyName};
use sigindex::package;
use sigindex::record::{Additions, Record, SignatureNote};
use sigindex::repodata::{Codec, Document, Formats, Listed, page, shards};

use crate::builder::{Format, Random};
use crate::packages;

/// Records of a subdir.
const RECORDS: usize = 5_000;

/// One package's record: made of its documents, and printed with its signature.
pub fn records(criterion: &mut Criterion) {
    let plan = packages::plan(Path::new(""), RECORDS, 20_000, Format::Conda);
    let identity = plan.identity(7);
    let (index, about) = (identity.index_json(), plan.info(&identity).about_json());
    let mut group = criterion.benchmark_group("a record");
    group.bench_function("of index.json", |bencher| {
        bencher.iter(|| record(black_box(&index)));
    });
    group.bench_function("of about.json", |bencher| {
        bencher.iter(|| details(black_box(&about)));
    });
    let (record, additions) = (record(&index), additions(7));
    group.bench_function("published", |bencher| {
        bencher.iter(|| black_box(record.published(&additions)));
    });
}

/// The files that tell of 5,000 records.
pub fn files(criterion: &mut Criterion) {
    let subdir = SubdirName::noarch();
    let document = document(&subdir);
    let formats = Formats::default();
    let text = document.render(&formats);
    let mut group = criterion.benchmark_group("5,000 records");
    group.bench_function("repodata.json", |bencher| {
        bencher.iter(|| black_box(document.render(&formats)));
    });
    group.bench_function("one of 1,000 shards", |bencher| {
        let groups = shards::by_name(&document);
        let (_, group) = groups.first_key_value().expect("a name");
        bencher.iter(|| black_box(shards::shard(&subdir, group, &formats)));
    });
    group.bench_function("a page", |bencher| {
        bencher.iter(|| {
            let contents = [page::Content::of(&document)];
            let state = page::state(&contents);
            black_box(page::subdir_page(&contents[0], &state, &formats))
        });
    });
    group.throughput(Throughput::Bytes(text.len() as u64));
    let zst = Codec::Zstd(formats.zst_level);
    for (name, codec) in [(".zst of repodata.json", zst), (".bz2 of it", Codec::Bzip2)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| black_box(codec.compress(&text)));
        });
    }
}

fn document(subdir: &SubdirName) -> Document<'_> {
    let plan = packages::plan(Path::new(""), RECORDS, 20_000, Format::Conda);
    let listed = (0..RECORDS).map(|number| {
        let identity = plan.identity(number);
        let path = identity.path(Format::Conda);
        let record = record(&identity.index_json());
        Listed {
            name: path.rsplit('/').next().unwrap_or_default().to_owned(),
            format: package::Format::Conda,
            record: record
                .published(&additions(number as u64))
                .expect("a record"),
            details: details(&plan.info(&identity).about_json()),
        }
    });
    Document {
        subdir,
        listed: listed.collect(),
        removed: Vec::new(),
        signing_keys: BTreeMap::new(),
        signatures: Object::new(),
    }
}

fn record(index_json: &[u8]) -> Record {
    let (sha256, md5) = ("ab".repeat(32), "cd".repeat(16));
    let made = Record::new(index_json, &sha256, &md5, 20_000);
    made.expect("a record").0
}

fn details(about_json: &[u8]) -> Details {
    let sources = Sources {
        about_json: Some(about_json),
        ..Sources::default()
    };
    let read = Details::read(&sources, Install::default());
    read.expect("details").0
}

/// A signature of chance, which does not compress: as any does.
fn additions(seed: u64) -> Additions {
    Additions {
        indexed_timestamp: 1_763_795_000_000,
        signature: Some(SignatureNote {
            key: KeyName::parse("bench").expect("a name"),
            fingerprint: Some(Fingerprint::parse(&"ef".repeat(32)).expect("a fingerprint")),
            value: Some(Base64::encode_string(&Random::new(seed).bytes(256, 8))),
        }),
        carried: Object::new(),
    }
}
