//! Where a run reads and where it writes, and what tells what was published there: the plain files or, where the index
//! is signed, the files that it names. Owns that distinction alone.

use crate::error::Error;
use crate::publish::{self, Existing};
use crate::storage::Storage;
use crate::tuf::Targets;

/// Where packages are read, and where everything is written; one folder unless `--output` is given.
#[derive(Clone, Copy)]
pub struct Places<'a> {
    /// Where the packages lie.
    pub source: &'a dyn Storage,
    /// Where index files and signatures go; `None` when that is the same place.
    pub output: Option<&'a dyn Storage>,
    /// What the signed index of the target names, and that of the source.
    vouched: [Option<&'a Targets>; 2],
}

impl<'a> Places<'a> {
    /// Places whose plain files tell what was published.
    pub fn new(source: &'a dyn Storage, output: Option<&'a dyn Storage>) -> Places<'a> {
        Places {
            source,
            output,
            vouched: [None, None],
        }
    }

    /// The same places, where signed indexes tell what was published: in the target, and in the source.
    pub fn vouched(self, target: Option<&'a Targets>, source: Option<&'a Targets>) -> Places<'a> {
        Places {
            vouched: [target, source],
            ..self
        }
    }

    /// Where index files and signatures go.
    pub fn target(&self) -> &'a dyn Storage {
        self.output.unwrap_or(self.source)
    }

    /// Makes sure that what was found there is so: what a store did not answer is no fault of a package.
    ///
    /// # Errors
    /// When a store left something unanswered.
    pub fn demand_answers(&self) -> Result<(), Error> {
        self.source.demand_answers()?;
        Ok(self.target().demand_answers()?)
    }

    /// What tells what was published in the target.
    pub fn published(&self) -> Witness<'a> {
        let [vouched, _] = self.vouched;
        let storage = self.target();
        Witness { storage, vouched }
    }

    /// What tells what was published where the packages lie, when that is another place.
    pub fn published_in_source(&self) -> Option<Witness<'a>> {
        let [_, vouched] = self.vouched;
        let storage = self.source;
        self.output.map(|_| Witness { storage, vouched })
    }
}

/// Reads what was published in one place.
#[derive(Clone, Copy)]
pub struct Witness<'a> {
    /// The place.
    pub storage: &'a dyn Storage,
    /// What its signed index names, when it has one: then its plain files tell nothing.
    pub vouched: Option<&'a Targets>,
}

impl Witness<'_> {
    /// An index file, as long as it has at most `cap` bytes.
    ///
    /// # Errors
    /// When it can't be read, or the signed index names it and it is not what was signed.
    pub fn existing(&self, path: &str, cap: u64) -> Result<Existing, Error> {
        let Some(targets) = self.vouched else {
            return publish::existing(self.storage, path, cap);
        };
        match targets.get(path) {
            None => Ok(Existing::Absent),
            Some(target) if target.length > cap => Ok(Existing::Odd),
            Some(target) => {
                publish::signed::vouched(self.storage, path, target).map(Existing::File)
            }
        }
    }
}
