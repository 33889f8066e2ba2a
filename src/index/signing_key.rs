//! The keys that sign, opened when the first signature is due and not before: that of packages, and that of a signed
//! index. Owns that moment, and that no key is both; which key it is, and how it is read, is decided by whoever makes
//! it.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use crate::error::Error;
use crate::keys::{Fingerprint, PublicKey};
use crate::signature::Signer;

/// Keys, by their fingerprints.
pub type Keys = BTreeSet<Fingerprint>;

type Open<'a> = Box<dyn Fn(&Keys) -> Result<Box<dyn Signer>, Error> + Send + Sync + 'a>;
type Check<'a> = Box<dyn Fn(&Keys) -> Result<Option<PublicKey>, Error> + Send + Sync + 'a>;
type Before<'a> = Box<dyn Fn() -> Result<(), Error> + Send + Sync + 'a>;

/// What a run needs of keys where the index is signed.
pub struct RoleKeys<'a> {
    /// Who may vouch for the channel's root.
    pub anchors: Vec<Fingerprint>,
    /// Opens the key that signs the index: one of those that the root names.
    pub open: Open<'a>,
    /// All of it that needs no passphrase; its public half, where that is known.
    pub check: Check<'a>,
}

/// A signing key that may never be needed.
pub struct SigningKey<'a> {
    open: Open<'a>,
    check: Check<'a>,
    /// Keys that it must not be, or of which it has to be one: whoever opens it knows.
    keys: Keys,
    /// What has to hold before it is opened.
    before: Before<'a>,
    opened: OnceLock<Result<Box<dyn Signer>, String>>,
    checked: OnceLock<Result<Option<PublicKey>, String>>,
}

impl<'a> SigningKey<'a> {
    /// A key that signs packages. `open` loads it and may ask for a passphrase; `check` does all of it that needs none,
    /// and gives the public half of a key that is known before it is opened. Both are told which keys sign indexes: it must be none of them.
    pub fn new(open: Open<'a>, check: Check<'a>) -> SigningKey<'a> {
        SigningKey {
            open,
            check,
            keys: Keys::new(),
            before: Box::new(|| Ok(())),
            opened: OnceLock::new(),
            checked: OnceLock::new(),
        }
    }

    /// A key that signs an index: one of these.
    pub fn among(open: Open<'a>, check: Check<'a>, keys: Keys) -> SigningKey<'a> {
        SigningKey {
            keys,
            ..SigningKey::new(open, check)
        }
    }

    /// The same key, which is none of `keys`, and is opened only once something else holds.
    pub fn unless<'b>(self, keys: Keys, before: Before<'b>) -> SigningKey<'b>
    where
        'a: 'b,
    {
        SigningKey {
            keys,
            before,
            ..SigningKey::new(self.open, self.check)
        }
    }

    /// The signer; loads the key at the first call.
    ///
    /// # Errors
    /// When the key can't be loaded; the same at every call.
    pub fn signer(&self) -> Result<&dyn Signer, Error> {
        let open = || (self.before)().and_then(|()| (self.open)(&self.keys));
        match self
            .opened
            .get_or_init(|| open().map_err(|error| error.to_string()))
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
        let check = || (self.before)().and_then(|()| (self.check)(&self.keys));
        let checked = self
            .checked
            .get_or_init(|| check().map_err(|error| error.to_string()));
        match checked {
            Ok(_) => Ok(()),
            Err(why) => Err(Error::Signer(why.clone())),
        }
    }

    /// The signer, if one was opened.
    pub fn opened(&self) -> Option<&dyn Signer> {
        self.opened.get()?.as_ref().ok().map(AsRef::as_ref)
    }

    /// The public half of the key that was opened or, where it was only checked, would have been.
    pub fn public_key(&self) -> Option<&PublicKey> {
        let checked = || self.checked.get()?.as_ref().ok()?.as_ref();
        let opened = self.opened().map(|signer| signer.public_key());
        opened.or_else(checked)
    }
}
