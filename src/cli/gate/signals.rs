//! Signals as a list: for a server, which ends at one, and for a program that passes them on to another.

use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator;

use crate::cli::status;
use crate::error::Error;

/// Signals that came.
pub struct Signals(iterator::Signals);

impl Signals {
    /// What ends a server.
    pub fn of_server() -> Result<Signals, Error> {
        Signals::new(&[SIGINT, SIGTERM])
    }

    /// What is passed on to a command, and that it ended.
    pub fn of_command() -> Result<Signals, Error> {
        Signals::new(&[SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCHLD])
    }

    fn new(signals: &[i32]) -> Result<Signals, Error> {
        let made = iterator::Signals::new(signals);
        let made =
            made.map_err(|cause| Error::Environment(format!("can't listen for signals: {cause}")));
        made.map(Signals)
    }

    /// Waits until the server is to end. From then on, a signal ends the process at once.
    pub fn wait_for_end(&mut self) {
        self.0.forever().next();
        for signal in [SIGINT, SIGTERM] {
            // Where that fails, the last answers are waited for.
            let _ = signal_hook::flag::register_conditional_shutdown(
                signal,
                i32::from(status::INTERRUPTED),
                std::sync::Arc::new(true.into()),
            );
        }
    }

    /// Waits for the next ones.
    pub fn wait(&mut self) -> Vec<i32> {
        self.0.wait().collect()
    }
}
