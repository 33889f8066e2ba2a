//! What can go wrong with a token, and what to do about it. No message holds a PIN.

use std::path::PathBuf;

use cryptoki::error::Error as Cryptoki;
use thiserror::Error;

use super::UriFault;
use crate::keys::PublicKeyFault;
use crate::shown::shown;

/// Why a token did not sign.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Pkcs11Error {
    /// The URI is not understood.
    #[error("the URI of the key (pkcs11:…) can't be read: {0}")]
    Uri(#[from] UriFault),
    /// Nobody said which library speaks with the token.
    #[error(
        "the URI of the key (pkcs11:…) names no library that speaks with the token; add `?module-path=/PATH/TO/MODULE.so` or set $SIGINDEX_PKCS11_MODULE"
    )]
    NoModule,
    /// The library can't be loaded.
    #[error(
        "{}: can't be loaded as a PKCS #11 module: {cause}; install it, or correct module-path or $SIGINDEX_PKCS11_MODULE",
        shown(path)
    )]
    Module {
        /// The library.
        path: PathBuf,
        /// What the system or the library said.
        cause: String,
    },
    /// No token fits.
    #[error(
        "no token fits the URI of the key ({there}); plug it in, or correct token, serial, model, manufacturer or slot-id"
    )]
    NoToken {
        /// Those that are there.
        there: String,
    },
    /// Several tokens fit.
    #[error("several tokens fit the URI of the key ({there}); add `serial=…` or `slot-id=…`")]
    SeveralTokens {
        /// Those that fit.
        there: String,
    },
    /// No PIN was given.
    #[error(
        "the token `{token}` wants a PIN; set $SIGINDEX_PIN, or name a file that only you can read with `?pin-source=/PATH`"
    )]
    NoPin {
        /// The token's label.
        token: String,
    },
    /// The PIN is wrong.
    #[error(
        "the token `{token}` does not take the PIN; it was tried once and won't be tried again, because a token locks itself after a few. Correct $SIGINDEX_PIN or the file of pin-source first"
    )]
    WrongPin {
        /// The token's label.
        token: String,
    },
    /// One wrong PIN locks the token.
    #[error(
        "the token `{token}` has one try left before it locks itself, and it is not used up here; enter the right PIN once with the token's own tool, and run again"
    )]
    LastTry {
        /// The token's label.
        token: String,
    },
    /// The token is locked.
    #[error("the token `{token}` has locked its PIN; unlock it with its security officer's PIN")]
    Locked {
        /// The token's label.
        token: String,
    },
    /// No key fits.
    #[error(
        "no private RSA key in the token `{token}` fits the URI ({there}); correct `object` or `id`, and see that the PIN is given"
    )]
    NoKey {
        /// The token's label.
        token: String,
        /// Those that are there.
        there: String,
    },
    /// Several keys fit.
    #[error("several keys in the token `{token}` fit the URI ({there}); choose one by its `id`")]
    SeveralKeys {
        /// The token's label.
        token: String,
        /// Those that fit.
        there: String,
    },
    /// The key can't do what is needed.
    #[error("the key {key} in the token `{token}` {why}")]
    Unfit {
        /// The token's label.
        token: String,
        /// The key.
        key: String,
        /// What it lacks, and what to do.
        why: String,
    },
    /// Its public half can't be used.
    #[error("the public half of the key {key} in the token `{token}` can't be used: {fault}")]
    PublicKey {
        /// The token's label.
        token: String,
        /// The key.
        key: String,
        /// Why.
        fault: PublicKeyFault,
    },
    /// The mechanism is missing.
    #[error(
        "the token `{token}` can't sign by CKM_RSA_PKCS_PSS, which is the one way that signatures are made here; take another token"
    )]
    Mechanism {
        /// The token's label.
        token: String,
    },
    /// The token has no session left.
    #[error("the token `{token}` has no session left; end other programs that use it")]
    Sessions {
        /// The token's label.
        token: String,
    },
    /// The library said something else.
    #[error("the token can't {operation}: {cause}")]
    Failed {
        /// What was being done.
        operation: &'static str,
        /// What the library said.
        cause: String,
    },
}

impl Pkcs11Error {
    /// An operation that the library failed, to be put behind `map_err`.
    pub(super) fn of(operation: &'static str) -> impl Fn(Cryptoki) -> Pkcs11Error {
        move |cause| Pkcs11Error::Failed {
            operation,
            cause: said(&cause),
        }
    }
}

/// What the library said, by the name that its documentation has.
pub(super) fn said(cause: &Cryptoki) -> String {
    match cause {
        Cryptoki::Pkcs11(code, function) => format!("{function:?} answered {code:?}"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use cryptoki::context::Function;
    use cryptoki::error::RvError;

    use super::*;

    #[test]
    fn what_a_library_says_has_the_names_of_its_documentation() {
        let cause = Cryptoki::Pkcs11(RvError::DeviceError, Function::Sign);
        assert_eq!(said(&cause), "Sign answered DeviceError");
        assert_eq!(
            said(&Cryptoki::NotSupported),
            Cryptoki::NotSupported.to_string()
        );
    }
}
