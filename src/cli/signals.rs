//! SIGINT and SIGTERM: in a run that brings itself to an end, and while a question is asked. Owns which of the two hears
//! them; must not know what ends.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use super::status;
use crate::error::Error;

const SIGNALS: [i32; 2] = [SIGINT, SIGTERM];

/// What a run stops by.
static RUN: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// What questions stop by.
static QUESTIONS: OnceLock<Ears> = OnceLock::new();

/// A flag that SIGINT and SIGTERM set; a second one ends the process at once.
pub fn stop_on_signals() -> Result<Arc<AtomicBool>, Error> {
    let stop = RUN.get_or_init(Arc::default);
    for signal in SIGNALS {
        let ends = i32::from(status::INTERRUPTED);
        flag::register_conditional_shutdown(signal, ends, Arc::clone(stop))
            .and_then(|_| flag::register(signal, Arc::clone(stop)))
            .map_err(unheard)?;
    }
    if let Some(ears) = QUESTIONS.get() {
        ears.is_default.store(false, Ordering::SeqCst);
    }
    Ok(Arc::clone(stop))
}

/// A flag that signals set beside that of the run itself.
pub fn also_stop() -> Result<Arc<AtomicBool>, Error> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in SIGNALS {
        flag::register(signal, Arc::clone(&stop)).map_err(unheard)?;
    }
    Ok(stop)
}

fn unheard(cause: io::Error) -> Error {
    Error::Environment(format!("can't listen for signals: {cause}"))
}

/// Where a run failed after a signal, the signal is why: a question for a passphrase ends with some error.
pub fn or_interrupted<T>(result: Result<T, Error>, stop: &AtomicBool) -> Result<T, Error> {
    match result {
        Err(_) if stop.load(Ordering::Relaxed) => Err(Error::Interrupted),
        result => result,
    }
}

/// Whether a signal ended a question.
pub fn ended_a_question() -> bool {
    let ears = QUESTIONS.get();
    ears.is_some_and(|ears| ears.heard.load(Ordering::SeqCst))
}

/// What is heard of signals while a question is asked.
struct Ears {
    heard: Arc<AtomicBool>,
    /// Whether they do what they always do: when nothing is asked, and no run heeds them.
    is_default: Arc<AtomicBool>,
}

/// A question that is being asked: signals end it, and nothing else.
pub struct Asking<'a>(&'a Ears);

impl Asking<'_> {
    /// From now on, until it is dropped.
    ///
    /// # Errors
    /// When the system lets nobody listen.
    pub fn begin() -> io::Result<Asking<'static>> {
        let is_first = QUESTIONS.get().is_none();
        let ears = QUESTIONS.get_or_init(|| Ears {
            heard: Arc::default(),
            is_default: Arc::default(),
        });
        if is_first {
            for signal in SIGNALS {
                flag::register_conditional_default(signal, Arc::clone(&ears.is_default))?;
                flag::register(signal, Arc::clone(&ears.heard))?;
            }
        }
        ears.is_default.store(false, Ordering::SeqCst);
        Ok(Asking(ears))
    }

    /// Whether a signal came.
    pub fn is_over(&self) -> bool {
        self.0.heard.load(Ordering::SeqCst)
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let is_default = RUN.get().is_none();
        self.0.is_default.store(is_default, Ordering::SeqCst);
    }
}
