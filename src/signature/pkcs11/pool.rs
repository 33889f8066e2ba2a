//! Sessions with a token, for many threads: one each, kept for the next who needs one, and no more than the token
//! gives. It must not know what they are used for.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use cryptoki::context::Pkcs11;
use cryptoki::error::{Error as Cryptoki, RvError};
use cryptoki::session::Session;
use cryptoki::slot::Slot;

use super::Pkcs11Error;
use super::token::Token;

/// The sessions. They share one login, which lasts as long as any of them is open.
pub(super) struct Pool {
    context: Pkcs11,
    slot: Slot,
    token: String,
    state: Mutex<State>,
    /// Told when a session comes back.
    back: Condvar,
}

struct State {
    idle: Vec<Session>,
    /// How many are open.
    open: usize,
}

impl Pool {
    /// With the session that logged in.
    pub(super) fn new(token: &Token, first: Session) -> Pool {
        Pool {
            context: token.context.clone(),
            slot: token.slot,
            token: token.label.clone(),
            state: Mutex::new(State {
                idle: vec![first],
                open: 1,
            }),
            back: Condvar::new(),
        }
    }

    /// Works with a session that nobody else has meanwhile. One whose work failed is closed: an operation may be open
    /// in it.
    pub(super) fn with<T>(
        &self,
        work: impl FnOnce(&Session) -> Result<T, Pkcs11Error>,
    ) -> Result<T, Pkcs11Error> {
        let session = self.take()?;
        let done = work(&session);
        let mut state = self.lock();
        match &done {
            Ok(_) => state.idle.push(session),
            // The last one holds the login.
            Err(_) if state.open == 1 => state.idle.push(session),
            Err(_) => {
                state.open = state.open.saturating_sub(1);
                drop(session);
            }
        }
        drop(state);
        self.back.notify_one();
        done
    }

    fn take(&self) -> Result<Session, Pkcs11Error> {
        let mut state = self.lock();
        loop {
            if let Some(session) = state.idle.pop() {
                return Ok(session);
            }
            match self.context.open_ro_session(self.slot) {
                Ok(session) => {
                    state.open = state.open.saturating_add(1);
                    return Ok(session);
                }
                Err(Cryptoki::Pkcs11(RvError::SessionCount, _)) if state.open > 0 => {
                    let waited = self.back.wait(state);
                    state = waited.unwrap_or_else(PoisonError::into_inner);
                }
                Err(Cryptoki::Pkcs11(RvError::SessionCount, _)) => {
                    let token = self.token.clone();
                    return Err(Pkcs11Error::Sessions { token });
                }
                Err(cause) => return Err(Pkcs11Error::of("open a session")(cause)),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
