//! One signature: made, and verified. Owns the keys; it must not know what is signed but a digest.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion};
use rsa::pkcs1::{EncodeRsaPrivateKey as _, LineEnding};
use sha2::{Digest as _, Sha256};
use sigindex::keys::{KeyName, PrivateKey};
use sigindex::signature::local_signer;

/// A key of 2048 bits for tests only.
const KEY: &str = include_str!("../../fixtures/keys/fixture");
const DOES_NOT_ASK: &str = "the key is not encrypted";

/// One signature, by keys of both usual sizes.
pub fn keys(criterion: &mut Criterion) {
    let large = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 4096).expect("a key");
    let large = large.to_pkcs1_pem(LineEnding::LF).expect("its text");
    let digest: [u8; 32] = Sha256::digest("a package").into();
    let mut group = criterion.benchmark_group("signature");
    for (bits, pem) in [(2048, KEY), (4096, &large)] {
        let name = KeyName::parse("bench").expect("a name");
        let key = PrivateKey::from_env_pem(name, pem, &|_| unreachable!("{DOES_NOT_ASK}"));
        let key = key.expect("a key");
        let public = key.public().clone();
        let signer = local_signer(key);
        group.bench_function(BenchmarkId::new("sign", bits), |bencher| {
            bencher.iter(|| black_box(signer.sign_digest(&digest)));
        });
        let value = signer.sign_digest(&digest).expect("a signature");
        group.bench_function(BenchmarkId::new("verify", bits), |bencher| {
            bencher.iter(|| assert!(public.verify(&digest, &value)));
        });
    }
}
