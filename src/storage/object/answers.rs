//! Whether a store answers. Owns what is asked of it again, and the first request that it left unanswered; must not
//! know what was asked.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use object_store::Error;

use super::fault::{self, Meaning};
use super::patience::Patience;
use super::place::Place;
use crate::storage::StorageError;

/// What a store answered until now.
#[derive(Debug, Default)]
pub struct Answers {
    /// Whether it ever did.
    any: AtomicBool,
    missing: Mutex<Option<Missing>>,
}

/// A request that was made as often as the patience lets, as in [`StorageError::Unavailable`].
type Missing = (String, &'static str, String, &'static str);

impl Answers {
    /// Whether a request that failed so is worth another try. Where no store ever answered, perhaps there is none; and
    /// what a store says that it does not know, it will hardly learn.
    pub fn is_worth(&self, error: &Error, patience: &Patience) -> bool {
        let meaning = fault::meaning(error);
        self.take(!matches!(
            meaning,
            Meaning::Unanswered | Meaning::NoCredentials
        ));
        match meaning {
            Meaning::Unsure if fault::is_unknown_to(error) => patience.lasts_shortly(),
            Meaning::Unanswered if !self.any.load(Ordering::Relaxed) => patience.lasts_shortly(),
            // Where there never were any, they are not waited for.
            Meaning::NoCredentials => self.any.load(Ordering::Relaxed) && patience.lasts(),
            Meaning::Unsure | Meaning::Unanswered => patience.lasts(),
            Meaning::Absent | Meaning::Refused | Meaning::Failed => false,
        }
    }

    /// Takes note of an answer.
    pub fn take(&self, is_one: bool) {
        self.any.fetch_or(is_one, Ordering::Relaxed);
    }

    /// Keeps an error that says nothing but that the store gives no answer.
    pub fn keep(&self, told: &StorageError) {
        if let StorageError::Unavailable {
            path,
            operation,
            cause,
            remedy,
        } = told
        {
            let mut missing = self.missing();
            missing.get_or_insert_with(|| (path.clone(), *operation, cause.clone(), *remedy));
        }
    }

    /// What is said of a request that was given up because the run is to stop. No package is judged by it.
    pub fn stopped(&self, place: &Place) -> StorageError {
        let stopped = StorageError::Unavailable {
            path: place.shown(""),
            operation: "wait for an answer",
            cause: "the run is to stop".to_owned(),
            remedy: "run again",
        };
        self.keep(&stopped);
        stopped
    }

    /// Lets go of it.
    pub fn forget(&self) {
        *self.missing() = None;
    }

    /// Makes sure that none is missing.
    ///
    /// # Errors
    /// The first that is.
    pub fn demand(&self) -> Result<(), StorageError> {
        let Some((path, operation, cause, remedy)) = self.missing().clone() else {
            return Ok(());
        };
        Err(StorageError::Unavailable {
            path,
            operation,
            cause,
            remedy,
        })
    }

    fn missing(&self) -> MutexGuard<'_, Option<Missing>> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
