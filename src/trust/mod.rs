//! Who may sign a channel's index: making its first root, changing it, signing it on other machines, and renewing what
//! expires. Owns the order of the steps and what has to hold before each; must not know flags, prompts or packages.

mod change;
mod desk;
mod draft;
mod refresh;
mod root;
mod words;

pub use change::Changes;
pub use desk::Desk;
pub use draft::{Draft, MAX_DRAFT};
pub use refresh::{OldKey, Refreshed, Which, refresh};
pub use root::{Done, Founding, IndexMetadata, change, found, propose};
pub use words::{Shown, ShownKey, ShownRole, days_left, described, shown};

use crate::error::Error;
use crate::tuf::Root;

/// Opens the private key that signs an index: one of those that a root names for the targets.
pub type OpenIndexKey<'a> = dyn Fn(&Root) -> Result<Box<dyn crate::signature::Signer>, Error> + 'a;

fn trouble(place: &str, why: impl Into<String>) -> Error {
    Error::Trust {
        place: place.to_owned(),
        why: why.into(),
    }
}
