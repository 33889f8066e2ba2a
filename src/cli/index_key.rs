//! The key that signs an index, and those that vouch for its root: how runs and `trust` find them. Owns the choice and
//! the environment's index key, be it there or elsewhere; must not know of package keys.

use super::elsewhere::Elsewhere;
use super::signing::{environment_key, environment_name, passphrase, set_passphrase};
use crate::error::Error;
use crate::index::Keys as Fingerprints;
use crate::keys::{KeyError, KeyName, Keyring, KeysDir, PublicKey, Use};
use crate::shown::shown;
use crate::signature::{Signer, local_signer};

const PRIVATE_KEY: &str = "SIGINDEX_INDEX_PRIVATE_KEY";
const KEY_NAME: &str = "SIGINDEX_INDEX_KEY_NAME";
/// A key that a command or a token holds.
const ELSEWHERE: &str = "SIGINDEX_INDEX_KEY";

/// Where the key is looked for.
pub struct IndexKey<'a> {
    /// The folder.
    pub folder: &'a KeysDir,
    /// The public keys in it.
    pub keyring: &'a Keyring,
}

/// The key that was chosen.
enum Choice {
    File(KeyName),
    Environment(KeyName),
    Elsewhere(Elsewhere),
}

impl IndexKey<'_> {
    /// One in the folder that the root names, or that of the environment, or why there is none.
    fn choose(&self, named: &Fingerprints) -> Result<Choice, Error> {
        for name in self.folder.private_names()? {
            if is_among(self.keyring, &name, named) {
                return Ok(Choice::File(name));
            }
        }
        if let Some(name) = environment_name(PRIVATE_KEY, KEY_NAME)? {
            return Ok(Choice::Environment(name));
        }
        let elsewhere = Elsewhere::of_environment(ELSEWHERE, KEY_NAME)?;
        elsewhere.map(Choice::Elsewhere).ok_or_else(|| {
            let prints: Vec<_> = named.iter().map(ToString::to_string).collect();
            Error::NoIndexKey {
                folder: shown(self.folder.path()),
                fingerprints: prints.join(", "),
            }
        })
    }

    /// Opens it.
    pub fn open(&self, named: &Fingerprints) -> Result<Box<dyn Signer>, Error> {
        let signer = match self.choose(named)? {
            Choice::File(name) => local_signer(self.folder.load_private(&name, &passphrase)?),
            Choice::Environment(name) => {
                local_signer(environment_key(PRIVATE_KEY, &name, &passphrase)?)
            }
            Choice::Elsewhere(elsewhere) => elsewhere.signer(self.keyring, self.folder)?,
        };
        self.demand_fitness(signer.public_key(), named)?;
        Ok(signer)
    }

    /// All that can be told of it without a passphrase. Its public half, where that is known.
    pub fn check(&self, named: &Fingerprints) -> Result<Option<PublicKey>, Error> {
        let key = match self.choose(named)? {
            Choice::File(name) => self.folder.check_private(&name)?,
            Choice::Elsewhere(elsewhere) => match elsewhere.public(self.keyring) {
                Some(key) => key.clone(),
                // It is told when it signs.
                None => return Ok(None),
            },
            Choice::Environment(name) => {
                match environment_key(PRIVATE_KEY, &name, &set_passphrase) {
                    Err(Error::Key(KeyError::NoPassphrase { .. })) => return Ok(None),
                    key => key?.public().clone(),
                }
            }
        };
        self.demand_fitness(&key, named)?;
        Ok(Some(key))
    }

    fn demand_fitness(&self, key: &PublicKey, named: &Fingerprints) -> Result<(), Error> {
        let (name, print) = (key.name(), key.fingerprint());
        if !named.contains(&print) {
            return Err(Error::NotIndexKey { name: name.clone() });
        }
        Ok(self.keyring.uses().allow(name, &print, Use::Index)?)
    }
}

/// Whether a key of the folder is one of these, by its public half.
pub fn is_among(keyring: &Keyring, name: &KeyName, keys: &Fingerprints) -> bool {
    match keyring.get(name) {
        Some(Ok(key)) => keys.contains(&key.fingerprint()),
        _ => false,
    }
}
