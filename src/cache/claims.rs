//! Who reads which packages, where several workers share one memory. Owns the words of that agreement; must not know
//! how packages are read, nor where the agreement is kept.

use super::CacheError;
use crate::storage::Stat;

/// An agreement among workers of one channel: each package that has to be read is read by one of them. A worker that
/// dies loses what it holds after a while, and others take that over.
pub trait Claims: Send {
    /// Puts up packages that this worker found unread. One that is up already stays as it is, in whosever hands; so does
    /// one that somebody finished after this worker opened this memory, because then the worker could not know.
    ///
    /// # Errors
    /// When the agreement can't be reached.
    fn offer(&mut self, unread: &[Unread]) -> Result<(), CacheError>;

    /// Takes at most so many packages of some subdirs for this worker, the largest first. They stay its own as long as
    /// it lives. Those of other subdirs are left to others, and not waited for.
    ///
    /// # Errors
    /// When the agreement can't be reached.
    fn claim(&mut self, subdirs: &[&str], most: usize) -> Result<Claimed, CacheError>;

    /// Says that packages are finished of which nothing is to be remembered, because they were refused. Those that
    /// [`super::Cache::store`] takes are finished by that.
    ///
    /// # Errors
    /// When the agreement can't be reached.
    fn finish(&mut self, refused: &[PackageName]) -> Result<(), CacheError>;
}

/// A package's name in its channel.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageName {
    /// The subdir.
    pub subdir: String,
    /// The file name.
    pub name: String,
}

/// A package that has to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// Which.
    pub package: PackageName,
    /// The file as it lies there now: where it changes, it is another offer.
    pub stat: Stat,
}

/// What there is for a worker to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// These packages, which nobody else reads, each as whoever put it up saw it. Never none.
    Packages(Vec<Unread>),
    /// Nothing at the moment: others have what is left of these subdirs in their hands, and may die.
    Wait,
    /// Nothing any more: all that was put up of these subdirs is finished.
    Over,
}
