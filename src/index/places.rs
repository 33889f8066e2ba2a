//! Where a run reads and where it writes. Owns that distinction alone.

use crate::storage::Storage;

/// Where packages are read, and where everything is written; one folder unless `--output` is given.
#[derive(Clone, Copy)]
pub struct Places<'a> {
    /// Where the packages lie.
    pub source: &'a dyn Storage,
    /// Where index files and signatures go; `None` when that is the same place.
    pub output: Option<&'a dyn Storage>,
}

impl<'a> Places<'a> {
    /// Where index files and signatures go.
    pub fn target(&self) -> &'a dyn Storage {
        self.output.unwrap_or(self.source)
    }
}
