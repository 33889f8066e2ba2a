//! Sessions with a token, for many threads: one each, kept for the next who needs one, and no more than the token
//! gives. It must not know what they are used for.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use cryptoki::context::Pkcs11;
use cryptoki::error::{Error as Cryptoki, RvError};
use cryptoki::session::Session;
use cryptoki::slot::Slot;

use super::Pkcs11Error;
use super::token::Token;

/// The sessions. They share one login, which lasts as long as any of them is open: none is closed before all are.
pub(super) struct Pool {
    context: Pkcs11,
    slot: Slot,
    idle: Mutex<Vec<Session>>,
    /// Told when a session comes back.
    back: Condvar,
}

impl Pool {
    /// With the session that logged in.
    pub(super) fn new(token: &Token, first: Session) -> Pool {
        Pool {
            context: token.context.clone(),
            slot: token.slot,
            idle: Mutex::new(vec![first]),
            back: Condvar::new(),
        }
    }

    /// Works with a session that nobody else has meanwhile. A signature that fails leaves no operation open in it (PKCS
    /// #11 3.1, C_Sign).
    pub(super) fn with<T>(
        &self,
        work: impl FnOnce(&Session) -> Result<T, Pkcs11Error>,
    ) -> Result<T, Pkcs11Error> {
        let session = self.take()?;
        let done = work(&session);
        self.lock().push(session);
        self.back.notify_one();
        done
    }

    fn take(&self) -> Result<Session, Pkcs11Error> {
        let mut idle = self.lock();
        loop {
            if let Some(session) = idle.pop() {
                return Ok(session);
            }
            match self.context.open_ro_session(self.slot) {
                Ok(session) => return Ok(session),
                // The token has no more; the first one comes back.
                Err(Cryptoki::Pkcs11(RvError::SessionCount, _)) => {
                    let waited = self.back.wait(idle);
                    idle = waited.unwrap_or_else(PoisonError::into_inner);
                }
                Err(cause) => return Err(Pkcs11Error::of("open a session")(cause)),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Session>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
