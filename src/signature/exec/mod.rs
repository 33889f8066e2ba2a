//! A key that only a command of the operator's can use: `--key exec:COMMAND`. Owns what is asked of it and what an
//! answer has to hold; [`talk`] is how both travel. It must not know which service is behind the command.
//!
//! One process serves a whole run. It gets a line of JSON for each request and answers each with one line, in their
//! order; the next requests may come before an answer is out. docs/keys-elsewhere.md tells it to whoever writes one.

mod fault;
mod message;
mod talk;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::probe::{PROBE, ProbeFault, demand_sound};
use super::{SignError, Signer};
use crate::keys::{KeyName, PublicKey};

pub use fault::{ExecError, ExecFault};
use message::{Answer, request};
use talk::Talk;

/// How a command is started, and what is expected of it.
#[derive(Debug, Clone)]
pub struct ExecPlan {
    /// What `/bin/sh -c` gets.
    pub command: String,
    /// The key's name; where there is none, the command's first answer has to give one.
    pub name: Option<KeyName>,
    /// How long an answer may take, from the one before it or, if none is due, from its request.
    pub timeout: Duration,
    /// Who ends what the command started.
    pub group: Group,
    /// Set when the run is to stop soon.
    pub stop: Arc<AtomicBool>,
}

/// The process group that a command is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// That of this process: the command may ask on the terminal, and Ctrl-C reaches it.
    Shared,
    /// One of its own, so that a command which hangs is ended together with all that it started.
    Own,
}

/// Signs through a command. The command ends with it.
pub struct ExecSigner {
    talk: Talk,
    /// What errors call the command.
    shown: String,
    public: PublicKey,
}

impl ExecSigner {
    /// Starts the command, and has it sign one fixed digest: so the key is known, and that the command can sign.
    ///
    /// # Errors
    /// [`ExecError`], which names the command.
    pub fn start(plan: &ExecPlan) -> Result<ExecSigner, ExecError> {
        let shown = fault::shown(&plan.command);
        let start = || {
            let talk = Talk::start(plan)?;
            match learn(&talk, plan.name.as_ref()) {
                Ok(public) => Ok((talk, public)),
                Err(fault) => Err(talk.give_up(fault)),
            }
        };
        match start() {
            Ok((talk, public)) => Ok(ExecSigner {
                talk,
                shown,
                public,
            }),
            Err(fault) => Err(ExecError {
                command: shown,
                fault,
            }),
        }
    }

    fn signature(&self, digest: &[u8; 32]) -> Result<Vec<u8>, ExecFault> {
        let line = self.talk.ask(&request(digest, Some(self.public.name())))?;
        // One answer that does not fit says that no later one can be relied on, and a refusal fails the run: nobody
        // is to wait for what others asked.
        self.judge(&line, digest)
            .map_err(|fault| self.talk.give_up(fault))
    }

    fn judge(&self, line: &[u8], digest: &[u8; 32]) -> Result<Vec<u8>, ExecFault> {
        let answer = Answer::read(line)?;
        let name = self.public.name();
        answer.demand_name(Some(name))?;
        if !answer.is_of(&self.public) {
            let other = answer.public_key(name.clone())?;
            if other.fingerprint() != self.public.fingerprint() {
                return Err(ExecFault::OtherKey);
            }
        }
        let value = answer.signature()?;
        match self.public.verify(digest, &value) {
            true => Ok(value),
            false => Err(ExecFault::Mismatch),
        }
    }
}

/// The public key, from the first answer.
fn learn(talk: &Talk, name: Option<&KeyName>) -> Result<PublicKey, ExecFault> {
    let line = talk.ask(&request(&PROBE, name))?;
    let answer = Answer::read(&line)?;
    let name = answer.demand_name(name)?;
    let public = answer.public_key(name)?;
    let value = answer.signature()?;
    match demand_sound(&public, &value) {
        Ok(()) => Ok(public),
        Err(ProbeFault::Length) => Err(ExecFault::Length {
            found: value.len(),
            expected: public.signature_len(),
        }),
        Err(ProbeFault::Mismatch) => Err(ExecFault::Scheme),
    }
}

impl Signer for ExecSigner {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign_digest(&self, digest: &[u8; 32]) -> Result<Vec<u8>, SignError> {
        self.signature(digest).map_err(|fault| {
            let command = self.shown.clone();
            SignError::Failed {
                key: self.public.name().clone(),
                why: ExecError { command, fault }.to_string(),
            }
        })
    }
}

impl fmt::Debug for ExecSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ExecSigner").field(&self.public).finish()
    }
}
