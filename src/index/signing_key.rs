//! The key that signs, opened when the first signature is due and not before. Owns that moment; which
//! key it is, and how it is read, is decided by whoever makes it.

use std::sync::OnceLock;

use crate::error::Error;
use crate::signature::Signer;

type Open<'a> = Box<dyn Fn() -> Result<Box<dyn Signer>, Error> + Send + Sync + 'a>;
type Check<'a> = Box<dyn Fn() -> Result<(), Error> + Send + Sync + 'a>;

/// A signing key that may never be needed.
pub struct SigningKey<'a> {
    open: Open<'a>,
    check: Check<'a>,
    opened: OnceLock<Result<Box<dyn Signer>, String>>,
    checked: OnceLock<Result<(), String>>,
}

impl<'a> SigningKey<'a> {
    /// `open` loads the key and may ask for a passphrase; `check` does all of it that needs none.
    pub fn new(open: Open<'a>, check: Check<'a>) -> SigningKey<'a> {
        SigningKey {
            open,
            check,
            opened: OnceLock::new(),
            checked: OnceLock::new(),
        }
    }

    /// The signer; loads the key at the first call.
    ///
    /// # Errors
    /// When the key can't be loaded; the same at every call.
    pub fn signer(&self) -> Result<&dyn Signer, Error> {
        match self
            .opened
            .get_or_init(|| (self.open)().map_err(|error| error.to_string()))
        {
            Ok(signer) => Ok(signer.as_ref()),
            Err(why) => Err(Error::Signer(why.clone())),
        }
    }

    /// Whether the key could be loaded, as far as can be told without a passphrase.
    ///
    /// # Errors
    /// When it can't; the same at every call.
    pub fn check(&self) -> Result<(), Error> {
        let checked = self
            .checked
            .get_or_init(|| (self.check)().map_err(|error| error.to_string()));
        checked.clone().map_err(Error::Signer)
    }

    /// The signer, if one was opened.
    pub fn opened(&self) -> Option<&dyn Signer> {
        self.opened.get()?.as_ref().ok().map(AsRef::as_ref)
    }
}
