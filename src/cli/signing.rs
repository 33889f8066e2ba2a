//! The keys of a run: which one signs, the environment's key, and passphrases.

use zeroize::Zeroizing;

use super::options::{KeysFolder, MinBits, SigningOptions, variable};
use super::out;
use crate::error::Error;
use crate::index::SigningKey;
use crate::keys::{
    AskPassphrase, KeyError, KeyName, KeySize, Keyring, KeysDir, PrivateKey, PublicKey,
};
use crate::progress::Progress;
use crate::signature::{Signer, local_signer};

const PASSPHRASE: &str = "SIGINDEX_PASSPHRASE";
const PRIVATE_KEY: &str = "SIGINDEX_PRIVATE_KEY";
const KEY_NAME: &str = "SIGINDEX_KEY_NAME";

/// The key that was chosen to sign.
enum Choice {
    File(KeyName),
    Missing(KeyName),
    Environment(KeyName),
}

/// The keys of one run.
pub struct Keys {
    /// The folder.
    pub folder: KeysDir,
    /// The public keys in it, and the one of the environment.
    pub keyring: Keyring,
    signing: SigningOptions,
    min_bits: u32,
}

impl Keys {
    /// Opens the folder. The environment's key counts as being there.
    pub fn open(
        folder: &KeysFolder,
        signing: &SigningOptions,
        min_bits: &MinBits,
    ) -> Result<Keys, Error> {
        let named = signing.key.iter().chain(&signing.create_key);
        named
            .map(|name| KeyName::parse(name))
            .collect::<Result<Vec<_>, _>>()?;
        let folder = folder.open()?;
        let keyring = open_keyring(&folder)?;
        Ok(Keys {
            folder,
            keyring,
            signing: signing.clone(),
            min_bits: min_bits.min_bits,
        })
    }

    /// The signing key, to be opened when it is needed.
    pub fn signing_key<'a>(&'a self, progress: &'a Progress) -> SigningKey<'a> {
        let open = move || progress.suspend(|| self.open_signer());
        SigningKey::new(Box::new(open), Box::new(|| self.check_signer()))
    }

    fn choose(&self) -> Result<Choice, Error> {
        if let Some(name) = &self.signing.key {
            return Ok(Choice::File(KeyName::parse(name)?));
        }
        let there = self.folder.private_names()?;
        if let Some(name) = &self.signing.create_key {
            let name = KeyName::parse(name)?;
            return Ok(if there.contains(&name) {
                Choice::File(name)
            } else {
                Choice::Missing(name)
            });
        }
        if let Some(name) = environment_name()? {
            return Ok(Choice::Environment(name));
        }
        let folder = self.folder.path().display().to_string();
        match there.as_slice() {
            [] => Err(Error::NoKey { folder }),
            [only] => Ok(Choice::File(only.clone())),
            several => {
                let names: Vec<&str> = several.iter().map(KeyName::as_str).collect();
                Err(Error::SeveralKeys {
                    folder,
                    names: names.join(", "),
                })
            }
        }
    }

    fn open_signer(&self) -> Result<Box<dyn Signer>, Error> {
        let key = match self.choose()? {
            Choice::File(name) => self.folder.load_private(&name, &passphrase)?,
            Choice::Environment(name) => self.environments_key(&name, &passphrase)?,
            Choice::Missing(name) => {
                self.folder.create(&name, KeySize::default(), None)?;
                out::message(&format!(
                    "made the key {name} in {}",
                    self.folder.path().display()
                ));
                self.folder.load_private(&name, &passphrase)?
            }
        };
        self.demand_strength(key.public())?;
        Ok(local_signer(key))
    }

    /// The key of the environment, held against the public key of its name in the folder.
    fn environments_key(
        &self,
        name: &KeyName,
        ask: &AskPassphrase<'_>,
    ) -> Result<PrivateKey, Error> {
        let key = environment_key(name, ask)?;
        match self.keyring.get(name) {
            Some(Ok(public)) if public.fingerprint() != key.public().fingerprint() => {
                let public = self.folder.public_path(name).display().to_string();
                Err(Error::Environment(format!(
                    "{public} is not the public half of ${PRIVATE_KEY}; correct ${KEY_NAME}"
                )))
            }
            Some(Err(broken)) => Err(Error::Environment(broken.to_string())),
            _ => Ok(key),
        }
    }

    fn demand_strength(&self, key: &PublicKey) -> Result<(), Error> {
        let (name, bits, min) = (key.name().clone(), key.bits(), self.min_bits);
        if bits < min {
            Err(Error::WeakKey { name, bits, min })
        } else {
            Ok(())
        }
    }

    /// All that can be told of the signing key without a passphrase, and without making one.
    fn check_signer(&self) -> Result<(), Error> {
        let public = match self.choose()? {
            Choice::File(name) => self.folder.check_private(&name)?,
            Choice::Missing(_) => return Ok(()),
            Choice::Environment(name) => match self.environments_key(&name, &set_passphrase) {
                Err(Error::Key(KeyError::NoPassphrase { .. })) => return Ok(()),
                key => key?.public().clone(),
            },
        };
        self.demand_strength(&public)
    }
}

/// The public keys of the folder, and the public half of the environment's key, which counts as being
/// there. Nobody is asked for a passphrase merely to verify: without one, `NAME.pub` has to be in the folder.
pub fn open_keyring(folder: &KeysDir) -> Result<Keyring, Error> {
    let mut keyring = folder.public_keys()?;
    if let Some(name) = environment_name()?
        && keyring.get(&name).is_none()
    {
        match environment_key(&name, &set_passphrase) {
            Err(Error::Key(KeyError::NoPassphrase { .. })) => {}
            key => keyring.insert(key?.public().clone())?,
        }
    }
    Ok(keyring)
}

fn environment_name() -> Result<Option<KeyName>, Error> {
    match (variable(PRIVATE_KEY)?, variable(KEY_NAME)?) {
        (None, _) => Ok(None),
        (Some(_), Some(name)) => Ok(Some(KeyName::parse(&name)?)),
        (Some(_), None) => Err(Error::Environment(format!(
            "${PRIVATE_KEY} is set and ${KEY_NAME} is not; set it to the key's name"
        ))),
    }
}

fn environment_key(name: &KeyName, ask: &AskPassphrase<'_>) -> Result<PrivateKey, Error> {
    let pem = Zeroizing::new(variable(PRIVATE_KEY)?.unwrap_or_default());
    Ok(PrivateKey::from_env_pem(name.clone(), &pem, ask)?)
}

/// The passphrase of an encrypted key: from the environment, or asked for.
fn passphrase(name: &KeyName) -> Result<Zeroizing<String>, KeyError> {
    if std::env::var_os(PASSPHRASE).is_some() {
        return set_passphrase(name);
    }
    ask(&format!("Passphrase for the key {name}: ")).map_err(|_| KeyError::NoPassphrase {
        name: name.clone(),
        why: format!("${PASSPHRASE} is not set, and there is no terminal to ask on"),
    })
}

/// The passphrase that the environment has.
fn set_passphrase(name: &KeyName) -> Result<Zeroizing<String>, KeyError> {
    let no = |why: &str| KeyError::NoPassphrase {
        name: name.clone(),
        why: format!("${PASSPHRASE} {why}"),
    };
    match std::env::var(PASSPHRASE) {
        Ok(passphrase) => Ok(Zeroizing::new(passphrase)),
        Err(std::env::VarError::NotUnicode(_)) => Err(no("is not UTF-8")),
        Err(std::env::VarError::NotPresent) => Err(no("is not set")),
    }
}

/// A passphrase for a new key, which is asked for twice.
pub fn new_passphrase(name: &KeyName) -> Result<Zeroizing<String>, Error> {
    if std::env::var_os(PASSPHRASE).is_some() {
        return Ok(passphrase(name)?);
    }
    let no = |why: &str| KeyError::NoPassphrase {
        name: name.clone(),
        why: why.to_owned(),
    };
    let unasked = |_| {
        no(&format!(
            "${PASSPHRASE} is not set, and there is no terminal to ask on"
        ))
    };
    let first = ask(&format!("New passphrase for the key {name}: ")).map_err(unasked)?;
    let again = ask("The same again: ").map_err(unasked)?;
    if *first == *again {
        Ok(first)
    } else {
        Err(no("the two passphrases differ").into())
    }
}

fn ask(prompt: &str) -> std::io::Result<Zeroizing<String>> {
    rpassword::prompt_password(prompt).map(Zeroizing::new)
}
