//! Records without packages: files of the right names and sizes that hold nothing, and a cache that knows them. So
//! a run in which next to nothing changed can be measured at sizes for which nobody would make the packages.
//! This is the one place in the benchmarks that writes the cache, through the library that reads it.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use base64ct::{Base64, Encoding as _};
use rayon::prelude::*;
use sigindex::cache::{Cache, Checked, Entry, Facts, Remembered, SqliteCache, channel_name};
use sigindex::details::{Details, Install, Sources};
use sigindex::keys::{Fingerprint, KeyName, KeysDir};
use sigindex::record::{Record, hex};
use sigindex::storage::Stat;

use crate::builder::Random;
use crate::channel::Plan;

/// Bytes of a signature by a key of 2048 bits, which reads as 344 characters.
const SIGNATURE: usize = 256;
/// When all records were first seen, in Unix milliseconds.
const SEEN: i64 = 1_763_795_000_000;
/// So many are made and stored at a time.
const AT_ONCE: usize = 20_000;

/// The key whose signatures are remembered; they are chance, and hold until somebody verifies them.
pub struct SignedBy {
    key: KeyName,
    fingerprint: Fingerprint,
}

impl SignedBy {
    /// A key by its name in a keys folder.
    pub fn key_in(folder: &Path, name: &str) -> io::Result<SignedBy> {
        let key = KeyName::parse(name).map_err(io::Error::other)?;
        let keys = KeysDir::new(folder.to_owned(), false).public_keys();
        let keys = keys.map_err(io::Error::other)?;
        let found = keys
            .get(&key)
            .ok_or_else(|| io::Error::other("there is no such key"))?;
        let fingerprint = found
            .map_err(|error| io::Error::other(error.to_string()))?
            .fingerprint();
        Ok(SignedBy { key, fingerprint })
    }
}

/// Fills the channel's folders and the cache. It takes one run of sigindex, by whoever calls this, to publish them.
pub fn make(plan: &Plan, cache: &Path, signed: Option<&SignedBy>) -> io::Result<()> {
    plan.make_folders()?;
    let channel = plan.out.canonicalize()?;
    let channel = channel_name(channel.as_os_str(), channel.as_os_str());
    let mut cache = SqliteCache::open(cache, &channel).map_err(io::Error::other)?;
    let numbers: Vec<usize> = (0..plan.packages).collect();
    for some in numbers.chunks(AT_ONCE) {
        let entries = some.par_iter().map(|number| entry(plan, *number, signed));
        let entries = entries.collect::<io::Result<Vec<Entry>>>()?;
        cache.store(&entries, &[]).map_err(io::Error::other)?;
    }
    Ok(())
}

fn entry(plan: &Plan, number: usize, signed: Option<&SignedBy>) -> io::Result<Entry> {
    let (identity, format) = (plan.identity(number), plan.format(number));
    let path = identity.path(format);
    let mut random = Random::new(plan.seed ^ (number as u64) << 20 ^ 0x2d);
    let size = plan.size as u64 / 2 + random.below(plan.size.max(1) as u64);
    let sha256 = bytes(&mut random);
    let md5: [u8; 16] = bytes(&mut random);
    let (record, _) = Record::new(&identity.index_json(), &hex(&sha256), &hex(&md5), size)
        .map_err(io::Error::other)?;
    let info = plan.info(&identity);
    let (run_exports, about) = (info.run_exports_json(), info.about_json());
    let sources = Sources {
        run_exports_json: run_exports.as_deref(),
        about_json: Some(&about),
        ..Sources::default()
    };
    let (details, _) = Details::read(&sources, Install::default()).map_err(io::Error::other)?;
    let facts = Facts {
        sha256,
        record,
        details,
        mismatch: None,
        decoded: false,
    };
    let known = Remembered {
        stat: hollow(&plan.out.join(&path), size)?,
        facts,
        indexed_timestamp: SEEN,
        signature: signed
            .map(|by| checked(&plan.out.join(format!("{path}.sig")), by, &mut random))
            .transpose()?,
        attestations: None,
    };
    let (subdir, name) = path.split_once('/').expect("a path in a subdir");
    Ok(Entry {
        subdir: subdir.to_owned(),
        name: name.to_owned(),
        known: Arc::new(known),
    })
}

/// A signature of chance.
fn checked(path: &Path, by: &SignedBy, random: &mut Random) -> io::Result<Checked> {
    let value: [u8; SIGNATURE] = bytes(random);
    let value = Base64::encode_string(&value);
    let size = by.key.as_str().len() + 1 + value.len() + 1;
    Ok(Checked {
        stat: hollow(path, size as u64)?,
        key: by.key.clone(),
        fingerprint: by.fingerprint,
        value,
    })
}

/// A file of a size that takes no room on the disk.
fn hollow(path: &Path, size: u64) -> io::Result<Stat> {
    let file = File::create(path)?;
    file.set_len(size)?;
    Ok(Stat::of(&file.metadata()?))
}

fn bytes<const N: usize>(random: &mut Random) -> [u8; N] {
    let bytes = random.bytes(N, 8);
    bytes.try_into().expect("as many as were asked for")
}
