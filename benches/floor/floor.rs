//! The least that an indexer has to do that hashes one file at a time: read every package, compute both digests, sign as many. Owns
//! doing that on all cores, the largest file first; it must not know of records, caches or index files.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::digest::{Digest as AwsDigest, SHA256};
use aws_lc_rs::signature::{RSA_PSS_SHA256, RsaKeyPair};
use bzip2::read::BzDecoder;
use md5::Md5;
use rayon::prelude::*;
use rsa::pkcs1::{DecodeRsaPrivateKey, EncodeRsaPrivateKey};
use sha2::{Digest, Sha256};

/// A key of 2048 bits for tests only.
const KEY: &str = include_str!("../../fixtures/keys/fixture");
/// What is read at a time.
const CHUNK: usize = 256 * 1024;
/// Bytes that both digests take before either takes more, so that they stay in a core's cache.
const STEP: usize = 64 * 1024;

/// What is done with each file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Work {
    /// Which digests are computed.
    pub digests: Digests,
    /// Sign its SHA-256 with a 2048-bit key through AWS-LC, without verifying or writing anything.
    pub sign: bool,
    /// Decode a `.tar.bz2` up to the first member outside `info/`, which takes its first block: nobody sees its
    /// metadata for less.
    pub metadata: bool,
}

/// Digests of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Digests {
    /// SHA-256 and MD5, which an index holds.
    #[default]
    Both,
    /// SHA-256 alone.
    Sha256,
    /// MD5 alone.
    Md5,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Files, or digests where there were no files.
    pub items: usize,
    /// Bytes that were read.
    pub bytes: u64,
}

/// Reads and hashes every package in the folders of a channel.
pub fn files(channel: &Path, work: Work) -> io::Result<Done> {
    let signer = work.sign.then(key).transpose()?;
    let mut files = packages(channel)?;
    files.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    let next = AtomicUsize::new(0);
    let results = rayon::broadcast(|_| {
        let mut buffer = vec![0; CHUNK];
        let mut bytes = 0;
        while let Some((path, _)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            bytes += one(path, work, signer.as_ref(), &mut buffer)?;
        }
        Ok(bytes)
    });
    let bytes = results.into_iter().sum::<io::Result<u64>>()?;
    Ok(Done {
        items: files.len(),
        bytes,
    })
}

fn one(path: &Path, work: Work, key: Option<&RsaKeyPair>, buffer: &mut [u8]) -> io::Result<u64> {
    let mut file = File::open(path)?;
    let (mut sha256, mut md5, mut bytes) = (Sha256::new(), Md5::new(), 0);
    loop {
        let count = file.read(buffer)?;
        if count == 0 {
            break;
        }
        for step in buffer[..count].chunks(STEP) {
            if work.digests != Digests::Md5 {
                sha256.update(step);
            }
            if work.digests != Digests::Sha256 {
                md5.update(step);
            }
        }
        bytes += count as u64;
    }
    std::hint::black_box(md5.finalize());
    let digest = std::hint::black_box(sha256.finalize());
    if work.metadata && path.extension().is_some_and(|extension| extension == "bz2") {
        decode_info(path)?;
    }
    key.map_or(Ok(()), |key| sign(key, &digest.into()))?;
    Ok(bytes)
}

fn decode_info(path: &Path) -> io::Result<()> {
    let decoder = BzDecoder::new(BufReader::new(File::open(path)?));
    for member in tar::Archive::new(decoder).entries()? {
        if !member?.path()?.starts_with("info") {
            break;
        }
    }
    Ok(())
}

/// Makes one signature and throws it away.
fn sign(key: &RsaKeyPair, digest: &[u8; 32]) -> io::Result<()> {
    let mut value = vec![0; key.public_modulus_len()];
    AwsDigest::import_less_safe(digest, &SHA256)
        .and_then(|digest| key.sign_digest(&RSA_PSS_SHA256, &digest, &mut value))
        .map_err(|_| io::Error::other("AWS-LC gave no signature"))?;
    std::hint::black_box(value);
    Ok(())
}

/// Signs this many digests on all cores, and reads nothing.
pub fn signatures(digests: usize) -> io::Result<Done> {
    let key = key()?;
    let digest = |number: usize| Sha256::digest(number.to_le_bytes()).into();
    (0..digests)
        .into_par_iter()
        .try_for_each(|number| sign(&key, &digest(number)))?;
    Ok(Done {
        items: digests,
        bytes: 0,
    })
}

/// The key for tests.
fn key() -> io::Result<RsaKeyPair> {
    let der = rsa::RsaPrivateKey::from_pkcs1_pem(KEY).and_then(|key| key.to_pkcs1_der());
    let der = der.map_err(|error| io::Error::other(error.to_string()))?;
    RsaKeyPair::from_der(der.as_bytes()).map_err(|error| io::Error::other(error.to_string()))
}

fn packages(channel: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    for entry in walkdir::WalkDir::new(channel).min_depth(2).max_depth(2) {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy();
        if name.ends_with(".conda") || name.ends_with(".tar.bz2") {
            found.push((entry.path().to_owned(), entry.metadata()?.len()));
        }
    }
    Ok(found)
}
