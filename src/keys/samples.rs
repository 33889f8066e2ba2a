//! Keys for unit tests: made once in each test process, as small as they may be. It also finds the
//! vectors of the historic format, where they are to be had.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

use std::path::PathBuf;
use std::sync::LazyLock;

use super::{KeyName, KeySize, PrivateKey, WeakSizes};

static WEAK: LazyLock<PrivateKey> = LazyLock::new(|| make("Weak", 1024));
static STRONG: LazyLock<PrivateKey> = LazyLock::new(|| make("Strong", 2048));

/// A key's name that is known to be good.
pub(crate) fn name(text: &str) -> KeyName {
    KeyName::parse(text).unwrap()
}

/// A key of 1024 bits, which the fast code does not take.
pub(crate) fn weak() -> &'static PrivateKey {
    &WEAK
}

/// A key of 2048 bits, which both codes take.
pub(crate) fn strong() -> &'static PrivateKey {
    &STRONG
}

fn make(key: &str, bits: u32) -> PrivateKey {
    let size = KeySize::new(bits, WeakSizes::Allow).unwrap();
    PrivateKey::generate(name(key), size).unwrap()
}

/// The folder of the historic vectors, or none, said on stderr.
pub(crate) fn legacy() -> Option<PathBuf> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let shared = std::env::var_os("SIGINDEX_SHARED").map_or(beside, PathBuf::from);
    let legacy = shared.join("legacy");
    if legacy.join("keys").is_dir() {
        return Some(legacy);
    }
    skipped(&format!(
        "no vectors in {}; set SIGINDEX_SHARED to the folder that holds legacy/",
        legacy.display()
    ));
    None
}

/// Says that a test, or a part of it, could not run.
pub(crate) fn skipped(why: &str) {
    eprintln!("skipped: {why}");
}
