//! The keys of a run: which one signs, the environment's key, and passphrases.

use std::io::{self, ErrorKind};

use zeroize::Zeroizing;

use super::elsewhere::Elsewhere;
use super::index_key::{IndexKey, is_among};
use super::options::{KeysFolder, MinBits, SigningOptions, variable};
use super::out;
use super::prompt::ask;
use crate::error::Error;
use crate::index::{Keys as Fingerprints, RoleKeys, SigningKey};
use crate::keys::{
    AskPassphrase, DEFAULT_KEY_BITS, KeyError, KeyName, KeySize, Keyring, KeysDir, PrivateKey,
    PublicKey, Use, WeakSizes,
};
use crate::progress::Progress;
use crate::shown::shown;
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
    /// The public keys in it, the one of the environment, and the one elsewhere.
    pub keyring: Keyring,
    /// A key that a command or a token holds, and its name.
    elsewhere: Option<(Elsewhere, KeyName)>,
    signing: SigningOptions,
    min_bits: u32,
}

impl Keys {
    /// Opens the folder. The environment's key counts as being there, and so does one elsewhere.
    pub fn open(
        folder: &KeysFolder,
        signing: &SigningOptions,
        min_bits: &MinBits,
    ) -> Result<Keys, Error> {
        let elsewhere = Elsewhere::of_flags(signing)?;
        let in_folder = signing.key.iter().filter(|_| elsewhere.is_none());
        for name in in_folder.chain(&signing.create_key) {
            KeyName::parse(name)?;
        }
        let folder = folder.open()?;
        let mut keyring = folder.public_keys()?;
        match join_environment(&mut keyring) {
            // It goes before what the environment has, whatever that is.
            Err(_) if signing.key.is_some() => {}
            joined => joined?,
        }
        demand_read(&keyring)?;
        let mut join = |elsewhere: Elsewhere| {
            let name = elsewhere.join(&mut keyring, &folder)?;
            Ok::<_, Error>((elsewhere, name))
        };
        let elsewhere = elsewhere.map(&mut join).transpose()?;
        Ok(Keys {
            folder,
            keyring,
            elsewhere,
            signing: signing.clone(),
            min_bits: min_bits.min_bits,
        })
    }

    /// The signing key, to be opened when it is needed.
    pub fn signing_key<'a>(&'a self, progress: &'a Progress) -> SigningKey<'a> {
        let open =
            move |roles: &Fingerprints| progress.suspend(|| self.open_signer(roles, progress));
        SigningKey::new(Box::new(open), Box::new(|roles| self.check_signer(roles)))
    }

    /// The keys of a signed index: whose roots count here, and the key that signs, to be opened when it is needed.
    pub fn roles<'a>(&'a self, progress: &'a Progress) -> RoleKeys<'a> {
        let open = move |named: &Fingerprints| progress.suspend(|| self.index_key().open(named));
        RoleKeys {
            anchors: self
                .keyring
                .vouching()
                .map(PublicKey::fingerprint)
                .collect(),
            open: Box::new(open),
            check: Box::new(|named| self.index_key().check(named)),
        }
    }

    fn index_key(&self) -> IndexKey<'_> {
        IndexKey {
            folder: &self.folder,
            keyring: &self.keyring,
        }
    }

    fn choose(&self, roles: &Fingerprints) -> Result<Choice, Error> {
        if let Some(name) = &self.signing.key {
            return Ok(Choice::File(KeyName::parse(name)?));
        }
        let mut there = self.folder.private_names()?;
        if let Some(name) = &self.signing.create_key {
            let name = KeyName::parse(name)?;
            return Ok(if there.contains(&name) {
                Choice::File(name)
            } else {
                Choice::Missing(name)
            });
        }
        if let Some(name) = environment_name(PRIVATE_KEY, KEY_NAME)? {
            return Ok(Choice::Environment(name));
        }
        let of_index: Vec<_> = there
            .extract_if(.., |name| self.signs_index(name, roles))
            .collect();
        let folder = shown(self.folder.path());
        match there.as_slice() {
            [] if of_index.is_empty() => Err(Error::NoKey { folder }),
            [] => Err(Error::OnlyIndexKeys {
                folder,
                names: listed(&of_index),
            }),
            [only] => Ok(Choice::File(only.clone())),
            several => Err(Error::SeveralKeys {
                folder,
                names: listed(several),
            }),
        }
    }

    /// Whether a key of the folder signs an index. One whose public half can't be read is told of when it is loaded.
    fn signs_index(&self, name: &KeyName, roles: &Fingerprints) -> bool {
        let public = self.keyring.get(name).and_then(Result::ok);
        let marked = |key: &PublicKey| self.keyring.uses().signs_index(&key.fingerprint());
        public.is_some_and(marked) || is_among(&self.keyring, name, roles)
    }

    fn open_signer(
        &self,
        roles: &Fingerprints,
        progress: &Progress,
    ) -> Result<Box<dyn Signer>, Error> {
        let signer = match &self.elsewhere {
            Some((elsewhere, _)) => elsewhere.signer(&self.keyring, &self.folder)?,
            None => local_signer(self.open_key(roles)?),
        };
        self.demand_fitness(signer.public_key(), roles)?;
        self.remember_use(signer.public_key(), progress)?;
        Ok(signer)
    }

    fn open_key(&self, roles: &Fingerprints) -> Result<PrivateKey, Error> {
        match self.choose(roles)? {
            Choice::File(name) => Ok(self.folder.load_private(&name, &passphrase)?),
            Choice::Environment(name) => self.environments_key(&name, &passphrase),
            Choice::Missing(name) => {
                self.folder.create(&name, self.new_size()?, None)?;
                out::message(&format!(
                    "made the key {name} in {}",
                    shown(self.folder.path())
                ));
                Ok(self.folder.load_private(&name, &passphrase)?)
            }
        }
    }

    /// The size of a key that is made for this run: one that counts.
    fn new_size(&self) -> Result<KeySize, Error> {
        let bits = self.min_bits.max(DEFAULT_KEY_BITS);
        let bits = bits.checked_next_multiple_of(8).unwrap_or(bits);
        Ok(KeySize::new(bits, WeakSizes::Refuse)?)
    }

    /// The key of the environment, held against the public key of its name in the folder.
    fn environments_key(
        &self,
        name: &KeyName,
        ask: &AskPassphrase<'_>,
    ) -> Result<PrivateKey, Error> {
        let key = environment_key(PRIVATE_KEY, name, ask)?;
        match self.keyring.get(name) {
            Some(Ok(public)) if public.fingerprint() != key.public().fingerprint() => {
                let public = shown(self.folder.public_path(name));
                Err(Error::Environment(format!(
                    "{public} is not the public half of ${PRIVATE_KEY}; correct ${KEY_NAME}"
                )))
            }
            Some(Err(broken)) => Err(Error::Environment(broken.to_string())),
            _ => Ok(key),
        }
    }

    /// Whether a key may sign packages: one that signs indexes may not, lest one signature be passed off as another.
    fn demand_fitness(&self, key: &PublicKey, roles: &Fingerprints) -> Result<(), Error> {
        if roles.contains(&key.fingerprint()) {
            return Err(Error::RoleKey {
                name: key.name().clone(),
            });
        }
        let uses = self.keyring.uses();
        uses.allow(key.name(), &key.fingerprint(), Use::Package)?;
        let (name, bits, min) = (key.name().clone(), key.bits(), self.min_bits);
        if bits < min {
            Err(Error::WeakKey { name, bits, min })
        } else {
            Ok(())
        }
    }

    /// Marks a key as one of packages when it signs its first. A folder that may not be written, such as a secret
    /// mount, or isn't there, is no reason to fail: then the mark is missing.
    fn remember_use(&self, key: &PublicKey, progress: &Progress) -> Result<(), Error> {
        if !self.folder.path().is_dir() {
            return Ok(());
        }
        let (name, print) = (key.name(), key.fingerprint());
        match self.folder.mark(name, print, Use::Package) {
            Err(KeyError::Settings(why)) if why.is_denied() => Ok(()),
            Err(KeyError::Settings(why)) if why.is_of_place() => {
                // The bars are away while a key is opened.
                if !progress.is_silent() {
                    out::warning(&format!(
                        "that the key {name} signs packages can't be remembered, and so nothing keeps it from signing an index: {why}"
                    ));
                }
                Ok(())
            }
            marked => Ok(marked?),
        }
    }

    /// All that can be told of the signing key without a passphrase, and without making one.
    /// Its public half, where that is known.
    fn check_signer(&self, roles: &Fingerprints) -> Result<Option<PublicKey>, Error> {
        let public = match &self.elsewhere {
            Some((_, name)) => match self.keyring.get(name) {
                Some(Ok(public)) => Some(public.clone()),
                Some(Err(broken)) => return Err(Error::Environment(broken.to_string())),
                None => None,
            },
            None => self.check_key(roles)?,
        };
        if let Some(public) = &public {
            self.demand_fitness(public, roles)?;
        }
        Ok(public)
    }

    fn check_key(&self, roles: &Fingerprints) -> Result<Option<PublicKey>, Error> {
        match self.choose(roles)? {
            Choice::File(name) => Ok(Some(self.folder.check_private(&name)?)),
            Choice::Missing(name) => {
                self.new_size()?;
                self.folder.check_create(&name)?;
                Ok(None)
            }
            Choice::Environment(name) => match self.environments_key(&name, &set_passphrase) {
                Ok(key) => Ok(Some(key.public().clone())),
                Err(Error::Key(KeyError::NoPassphrase { .. })) => {
                    Ok(self.keyring.get(&name).and_then(Result::ok).cloned())
                }
                Err(error) => Err(error),
            },
        }
    }
}

fn listed(names: &[KeyName]) -> String {
    let names: Vec<&str> = names.iter().map(KeyName::as_str).collect();
    names.join(", ")
}

/// The public keys of the folder, and the public half of the environment's key, which counts as being there.
pub fn open_keyring(folder: &KeysDir) -> Result<Keyring, Error> {
    let mut keyring = folder.public_keys()?;
    join_environment(&mut keyring)?;
    Ok(keyring)
}

/// Nobody is asked for a passphrase merely to verify: without one, `NAME.pub` has to be in the folder.
fn join_environment(keyring: &mut Keyring) -> Result<(), Error> {
    let Some(name) = environment_name(PRIVATE_KEY, KEY_NAME)? else {
        return Ok(());
    };
    if keyring.get(&name).is_some() {
        return Ok(());
    }
    match environment_key(PRIVATE_KEY, &name, &set_passphrase) {
        Err(Error::Key(KeyError::NoPassphrase { .. })) => Ok(()),
        key => Ok(keyring.insert(key?.public().clone())?),
    }
}

/// The name of the environment's key, if there is one.
pub fn environments_key_name() -> Result<Option<KeyName>, Error> {
    environment_name(PRIVATE_KEY, KEY_NAME)
}

/// What depends on all keys goes without none that is there and could not be read.
pub fn demand_read(keyring: &Keyring) -> Result<(), Error> {
    let unread = keyring.unread();
    unread.map_or(Ok(()), |why| Err(Error::Signer(why.to_string())))
}

pub fn environment_name(key: &str, name: &str) -> Result<Option<KeyName>, Error> {
    match (variable(key)?, variable(name)?) {
        (None, _) => Ok(None),
        (Some(_), Some(name)) => Ok(Some(KeyName::parse(&name)?)),
        (Some(_), None) => Err(Error::Environment(format!(
            "${key} is set and ${name} is not; set it to the key's name"
        ))),
    }
}

pub fn environment_key(
    variable_name: &str,
    name: &KeyName,
    ask: &AskPassphrase<'_>,
) -> Result<PrivateKey, Error> {
    let pem = Zeroizing::new(variable(variable_name)?.unwrap_or_default());
    Ok(PrivateKey::from_env_pem(name.clone(), &pem, ask)?)
}

/// The passphrase of an encrypted key: from the environment, or asked for.
pub fn passphrase(name: &KeyName) -> Result<Zeroizing<String>, KeyError> {
    if is_passphrase_set() {
        return set_passphrase(name);
    }
    let asked = ask(&format!("Passphrase for the key {name}: "));
    asked.map_err(|why| unasked(name, &why))
}

/// Whether the environment is to have one. An empty one is that of a CI which has no such secret, and nobody to ask.
fn is_passphrase_set() -> bool {
    std::env::var_os(PASSPHRASE).is_some()
}

/// The passphrase that the environment has.
pub fn set_passphrase(name: &KeyName) -> Result<Zeroizing<String>, KeyError> {
    let no = |why: &str| no_passphrase(name, format!("${PASSPHRASE} {why}"));
    match std::env::var(PASSPHRASE) {
        Ok(passphrase) if passphrase.is_empty() => Err(no("is empty")),
        Ok(passphrase) => Ok(Zeroizing::new(passphrase)),
        Err(std::env::VarError::NotUnicode(_)) => Err(no("is not UTF-8")),
        Err(std::env::VarError::NotPresent) => Err(no("is not set")),
    }
}

/// A passphrase for a new key, which is asked for twice.
pub fn new_passphrase(name: &KeyName) -> Result<Zeroizing<String>, Error> {
    if is_passphrase_set() {
        return Ok(passphrase(name)?);
    }
    let first = ask(&format!("New passphrase for the key {name}: "));
    let first = first.map_err(|why| unasked(name, &why))?;
    let again = ask("The same again: ").map_err(|why| unasked(name, &why))?;
    if *first == *again {
        Ok(first)
    } else {
        Err(no_passphrase(name, "the two passphrases differ".to_owned()).into())
    }
}

fn no_passphrase(name: &KeyName, why: String) -> KeyError {
    KeyError::NoPassphrase {
        name: name.clone(),
        why,
    }
}

fn unasked(name: &KeyName, why: &io::Error) -> KeyError {
    let why = match why.kind() {
        ErrorKind::NotFound => {
            format!("${PASSPHRASE} is not set, and there is no terminal to ask on")
        }
        ErrorKind::UnexpectedEof => "none was typed".to_owned(),
        ErrorKind::Interrupted => "the question was interrupted".to_owned(),
        ErrorKind::InvalidInput => "what was typed is longer than 4,096 bytes".to_owned(),
        ErrorKind::InvalidData => "what was typed is no text in UTF-8".to_owned(),
        _ => format!("the terminal can't be asked: {why}"),
    };
    no_passphrase(name, why)
}
