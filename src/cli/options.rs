//! What several verbs share: the keys folder and the choice of the signing key, passphrases, threads,
//! how much is said, and stopping on a signal.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use rayon::{ThreadPool, ThreadPoolBuilder};
use signal_hook::consts::{SIGINT, SIGTERM};
use zeroize::Zeroizing;

use super::{out, status};
use crate::error::Error;
use crate::index::SigningKey;
use crate::keys::{
    AskPassphrase, KeyError, KeyName, KeySize, Keyring, KeysDir, PrivateKey, PublicKey,
};
use crate::progress::{Display, Progress};
use crate::signature::{Signer, local_signer};
use crate::signing_log::SigningLog;

const PASSPHRASE: &str = "SIGINDEX_PASSPHRASE";
const PRIVATE_KEY: &str = "SIGINDEX_PRIVATE_KEY";
const KEY_NAME: &str = "SIGINDEX_KEY_NAME";
const KEYS_DIR: &str = "SIGINDEX_KEYS_DIR";

/// Where keys are.
#[derive(Debug, Clone, Args)]
pub struct KeysFolder {
    /// Folder of keys [default: $SIGINDEX_KEYS_DIR, else ~/.conda/keys]
    #[arg(long, value_name = "DIR", help_heading = "Keys")]
    pub keys_dir: Option<PathBuf>,
    /// Take private keys that their group can read (for secret mounts)
    #[arg(long, help_heading = "Keys")]
    pub group_readable_keys: bool,
}

impl KeysFolder {
    pub fn open(&self) -> Result<KeysDir, Error> {
        let path = match (&self.keys_dir, variable(KEYS_DIR)?) {
            (Some(path), _) => path.clone(),
            (None, Some(path)) => path.into(),
            (None, None) => home()?.join(".conda").join("keys"),
        };
        Ok(KeysDir::new(path, self.group_readable_keys))
    }
}

/// How small a key may be.
#[derive(Debug, Clone, Args)]
pub struct MinBits {
    /// Smallest key whose signatures count, in bits
    #[arg(
        long,
        value_name = "BITS",
        default_value_t = 2048,
        help_heading = "Keys"
    )]
    pub min_bits: u32,
}

/// Which key signs.
#[derive(Debug, Clone, Args)]
pub struct SigningOptions {
    /// Key that signs [default: the only private key in the folder]
    #[arg(long, value_name = "NAME", help_heading = "Keys")]
    pub key: Option<String>,
    /// Key that signs; made when it isn't there
    #[arg(
        long,
        value_name = "NAME",
        conflicts_with = "key",
        help_heading = "Keys"
    )]
    pub create_key: Option<String>,
    /// Append a JSON line for every signature that is made
    #[arg(long, value_name = "FILE", help_heading = "Keys")]
    pub signing_log: Option<PathBuf>,
}

/// How many threads work.
#[derive(Debug, Clone, Args)]
pub struct Threads {
    /// Threads that read and sign [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}

impl Threads {
    pub fn pool(&self) -> Result<ThreadPool, Error> {
        let threads = usize::from(self.threads.unwrap_or(0));
        ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .map_err(|error| Error::Threads(error.to_string()))
    }
}

/// How much is said.
#[derive(Debug, Clone, Args)]
pub struct Verbosity {
    /// Say nothing but errors
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say everything
    #[arg(short, long)]
    pub verbose: bool,
}

impl Verbosity {
    pub fn progress(&self) -> Progress {
        use std::io::IsTerminal as _;
        Progress::new(match () {
            () if self.quiet => Display::Silent,
            () if std::io::stderr().is_terminal() => Display::Bars,
            () => Display::Lines,
        })
    }
}

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

/// An environment variable; an empty one counts as none.
pub fn variable(name: &str) -> Result<Option<String>, Error> {
    match std::env::var(name) {
        Ok(value) if value.is_empty() => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(Error::Environment(format!(
            "${name} is not UTF-8; correct it"
        ))),
    }
}

/// The user's home folder.
pub fn home() -> Result<PathBuf, Error> {
    let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty());
    home.ok_or_else(|| {
        Error::Environment(
            "there is no home folder ($HOME is not set); name folders with --keys-dir and --cache"
                .to_owned(),
        )
    })
}

/// The signing log, if there is to be one. A dry run makes sure that it could be opened, and leaves it.
pub fn signing_log(signing: &SigningOptions, dry_run: bool) -> Result<Option<SigningLog>, Error> {
    match signing.signing_log.as_deref() {
        None => Ok(None),
        Some(path) if dry_run => SigningLog::check(path).map(|()| None),
        Some(path) => SigningLog::open(path).map(Some),
    }
}

/// A flag that SIGINT and SIGTERM set; a second one ends the process at once.
pub fn stop_on_signals() -> Result<Arc<AtomicBool>, Error> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        let ends = i32::from(status::INTERRUPTED);
        signal_hook::flag::register_conditional_shutdown(signal, ends, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .map_err(|cause| Error::Environment(format!("can't listen for signals: {cause}")))?;
    }
    Ok(stop)
}

/// Where a run failed after a signal, the signal is why: a prompt for a passphrase ends with some error.
pub fn or_interrupted<T>(result: Result<T, Error>, stop: &AtomicBool) -> Result<T, Error> {
    match result {
        Err(_) if stop.load(Ordering::Relaxed) => Err(Error::Interrupted),
        result => result,
    }
}
