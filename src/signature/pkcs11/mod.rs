//! A key in a token that speaks PKCS #11: `--key pkcs11:URI`. Owns the one mechanism, and the order in which a key is
//! found and tried; must not know where the PIN comes from.
//!
//! Signatures are made by CKM_RSA_PKCS_PSS with SHA-256, MGF1 with SHA-256 and a salt of 32 bytes (PKCS #11 3.1,
//! 6.1.10) over a digest that was computed here: no package travels to the token.

mod fault;
mod pool;
mod token;
mod uri;

use std::ffi::c_ulong;
use std::fmt;
use std::path::PathBuf;

use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use zeroize::Zeroizing;

use super::probe::{PROBE, demand_sound};
use super::{SignError, Signer};
use crate::keys::{KeyName, PublicKey};

pub use fault::Pkcs11Error;
use pool::Pool;
use token::{Key, Token, find_token};
pub use uri::{Uri, UriFault};

/// The salt's length in bytes: that of the hash.
const SALT: c_ulong = 32;

/// Which key in which token, and how to get at it.
pub struct Pkcs11Plan {
    /// What names it.
    pub uri: Uri,
    /// The library, where the URI names none.
    pub module: Option<PathBuf>,
    /// The PIN.
    pub pin: Option<Zeroizing<String>>,
    /// The key's name; where there is none, its label in the token has to be one.
    pub name: Option<KeyName>,
}

/// Signs through a token.
pub struct Pkcs11Signer {
    public: PublicKey,
    key: ObjectHandle,
    pool: Pool,
}

impl Pkcs11Signer {
    /// Finds the token and the key, logs in, and makes one signature that is thrown away.
    ///
    /// # Errors
    /// [`Pkcs11Error`] says which of it failed.
    pub fn open(plan: &Pkcs11Plan) -> Result<Pkcs11Signer, Pkcs11Error> {
        let (token, info) = find_token(plan)?;
        token.demand_mechanism()?;
        let session = token.open_session()?;
        let pin = plan.pin.as_ref().map(|pin| pin.as_str());
        token.log_in(&session, &info, pin)?;
        let key = token.find_key(&session, &plan.uri)?;
        let signer = Pkcs11Signer {
            public: public_key(&token, &key, plan.name.as_ref())?,
            key: key.handle,
            pool: Pool::new(&token, session),
        };
        let value = signer.signature(&PROBE)?;
        match demand_sound(&signer.public, &value) {
            Ok(()) => Ok(signer),
            Err(_) => Err(Pkcs11Error::Unfit {
                token: token.label.clone(),
                key: key.described(),
                why: "made a signature that its public half does not verify: they are no pair, or the token signs in another way".to_owned(),
            }),
        }
    }

    fn signature(&self, digest: &[u8; 32]) -> Result<Vec<u8>, Pkcs11Error> {
        let mechanism = Mechanism::RsaPkcsPss(PkcsPssParams {
            hash_alg: MechanismType::SHA256,
            mgf: PkcsMgfType::MGF1_SHA256,
            s_len: SALT.into(),
        });
        let sign = |session: &Session| session.sign(&mechanism, self.key, digest);
        self.pool
            .with(|session| sign(session).map_err(Pkcs11Error::of("sign")))
    }
}

fn public_key(token: &Token, key: &Key, name: Option<&KeyName>) -> Result<PublicKey, Pkcs11Error> {
    let named = name.cloned().map_or_else(|| KeyName::parse(&key.label), Ok);
    let name = named.map_err(|_| Pkcs11Error::Unfit {
        token: token.label.clone(),
        key: key.described(),
        why: "has a label that is no key's name here; name it with --key-name NAME, or $SIGINDEX_INDEX_KEY_NAME where it signs the index".to_owned(),
    })?;
    PublicKey::from_numbers(name, &key.modulus, &key.exponent).map_err(|fault| {
        Pkcs11Error::PublicKey {
            token: token.label.clone(),
            key: key.described(),
            fault,
        }
    })
}

impl Signer for Pkcs11Signer {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign_digest(&self, digest: &[u8; 32]) -> Result<Vec<u8>, SignError> {
        self.signature(digest).map_err(|error| SignError::Failed {
            key: self.public.name().clone(),
            why: error.to_string(),
        })
    }
}

// By hand, so that no secret can come in when a field is added.
impl fmt::Debug for Pkcs11Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pkcs11Signer").field(&self.public).finish()
    }
}
