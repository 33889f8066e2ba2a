//! Channels in object storage, on servers of the S3 protocol that others wrote: what the Storage seam promises, kept
//! there; and whole runs of the real binary, quiet, disturbed and against each other.
//!
//! `SIGINDEX_S3_ROUNDS` sets how often two publishers meet (4 unless it says otherwise), `SIGINDEX_SEED` what chance
//! decides. The long form:
//!
//!     SIGINDEX_S3_ROUNDS=200 cargo test --features object-storage --test objects -- --nocapture
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::string_slice
)]

#[path = "../support/s3_proxy.rs"]
mod proxy;
#[path = "../support/python.rs"]
mod python;
#[path = "../support/s3.rs"]
mod s3;
#[path = "../support/scene.rs"]
mod scene;

mod beside;
mod channels;
mod ill;
mod listings;
mod locks;
mod meetings;
mod settings;
mod signed;
mod storage;

use std::time::Duration;

use sigindex::storage::{ObjectOptions, ObjectStorage};

/// The variables of the environment that lead to a server, or to what stands before it.
pub fn variables(endpoint: &str) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = s3::ACCESS
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    all.push(("AWS_ENDPOINT_URL".to_owned(), endpoint.to_owned()));
    all
}

/// How the library is to work with a server.
pub fn options(endpoint: &str) -> ObjectOptions {
    ObjectOptions {
        patience: Duration::from_secs(20),
        variables: variables(endpoint).into_iter().collect(),
        ..ObjectOptions::default()
    }
}

/// A new view of a channel.
pub fn open(bucket: &s3::Bucket, endpoint: &str) -> ObjectStorage {
    ObjectStorage::open(&bucket.url("channel"), options(endpoint)).unwrap()
}

/// Where a server is, without anything before it.
pub fn endpoint(server: &s3::Server) -> String {
    format!("http://{}", server.address())
}

/// A number that the environment gives.
pub fn asked(name: &str, else_: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(else_, |text| text.parse().unwrap())
}
