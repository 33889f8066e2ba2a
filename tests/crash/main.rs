//! The real binary, killed or failing at every system call by which it reads and changes files. The tracer
//! (`tracer.c`) lets that happen; what a client may expect is `support/reader.rs`'s; after each fault the next plain run
//! heals, and leaves what a run without faults leaves.
//!
//! `cargo test --test crash` tries a sample: every scenario, and every fault of every call at least once. The seed is
//! printed; `SIGINDEX_SEED=N` repeats it. The long form tries every point of every scenario: a kill, and a signal to stop, at each call that
//! changes something, and EIO and ENOSPC at each call of which these can come; `all:2/8` is the second of eight parts of it;
//! `signals` asks the run to stop at each point, by SIGINT and SIGTERM in turns; `turns` gives each call one of the other
//! faults, by turns, which the seed turns:
//!
//!     SIGINDEX_POINTS=all cargo test --release --test crash -- --nocapture
//!
//! `SIGINDEX_POINTS='NAME:POINT'` tries every fault of one point of the scenario that is called so.
#![cfg(target_os = "linux")]
#![cfg(feature = "tuf")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::string_slice
)]

#[path = "../support/compiler.rs"]
mod compiler;
#[path = "../support/msgpack.rs"]
mod msgpack;
#[path = "../support/reader.rs"]
mod reader;
#[path = "../support/scene.rs"]
mod scene;
#[path = "../support/shared.rs"]
mod shared;

mod check;
mod faults;
mod loss;
mod network;
mod plan;
mod power;
mod refused;
mod scenario;
mod trace;
