//! Sign and index a conda channel in one step.
//!
//! # The house
//! Data goes one way: **walk → read once → record → sign → remember → publish**.
//!
//! | storey | rooms |
//! | --- | --- |
//! | edge | `main`, `lib`, [`cli`]: flags become opened objects; the only room that prints |
//! | stories | [`index`](mod@index), [`sign`](mod@sign), [`verify`](mod@verify), [`audit`](mod@audit), `trust`, `gate`: the order of the steps, and the threads |
//! | middle | [`channel`], [`package`], [`signature`], [`sidecar`], [`attestation`], [`repodata`], [`patch`], [`publish`], [`report`], [`progress`], [`signing_log`], [`tuf`] |
//! | floor | [`storage`], [`upstream`], [`cache`], [`keys`], [`record`], [`details`], [`version`], [`match_spec`], [`json`], [`shown`], `child`, [`error`] |
//!
//! Nothing looks up: a room knows those of its own storey and below. `tests/house.rs` holds this.
//!
//! # Invariants
//! 1. A package that is not in the cache is read exactly once, from one open file, in bounded memory. (One that
//!    holds patches is read once more for them, and has to be the same.)
//! 2. The index never names bytes that were not read, and never a package that was refused.
//! 3. Readers never see half a file, nor a name that is not there: signatures come first, then shards and kin,
//!    the shard index, compressed twins, and `repodata.json` last; only then old shards go. Where the index is signed,
//!    all of it lies by hash before any plain file is touched, and the timestamp, which makes the new generation count,
//!    goes last ([`repodata::Rank`]). What is named survives a loss of power before what names it is put in place, and
//!    that before what it named goes ([`repodata::Tier`]).
//! 4. The same packages and signatures give the same bytes, recorded times aside; a run that changes
//!    nothing writes nothing. What a run writes down for the next one (`index::ledger`) spares work and nothing else: with
//!    it, a run ends where one ends that knows nothing of those before.
//! 5. `verify` and `audit` never trust the cache.
//! 6. A signed index is built only on one that verifies, unless the operator takes another upon themselves, and what
//!    was made is verified before it is published. A package key signs no index, and an index key no package: a
//!    signature of the one never counts for the other.
//! 7. The gate serves nothing that was not checked to its last byte, unless the operator asked for reports alone. What
//!    it serves later are the same bytes, by their hash.
//! 8. A check that can't be done counts as failed.
//! 9. Only stories put threads to work, in a pool that [`cli`] makes; only [`cli`] prints (bars and lines of
//!    progress aside); only [`storage`] touches channel files; only [`keys`] reads key files.
//!
//! # Seams
//! [`storage::Storage`], [`upstream::Upstream`], [`cache::Cache`] and [`signature::Signer`]: one to four methods each,
//! synchronous.

pub mod attestation;
pub mod audit;
pub mod cache;
pub mod channel;
mod child;
pub mod cli;
pub mod details;
pub mod error;
#[cfg(feature = "gate")]
pub mod gate;
pub mod index;
pub mod json;
pub mod keys;
pub mod match_spec;
pub mod package;
pub mod patch;
pub mod progress;
pub mod publish;
pub mod record;
pub mod repodata;
pub mod report;
pub mod shown;
pub mod sidecar;
pub mod sign;
pub mod signature;
pub mod signing_log;
pub mod storage;
#[cfg(feature = "tuf")]
pub mod trust;
pub mod tuf;
pub mod upstream;
pub mod verify;
pub mod version;

/// Runs the command line of this process; what it returns is the exit status of the contract.
pub fn run() -> std::process::ExitCode {
    cli::run()
}
