//! Keys that are elsewhere: `exec:COMMAND` and `pkcs11:URI`. Owns their addresses, what the environment says about
//! them, and when they are opened; must not know which checks a key has to pass.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::options::{SigningOptions, variable};
use super::signals::also_stop;
use crate::error::Error;
use crate::keys::{KeyName, Keyring, KeysDir, PublicKey};
use crate::shown::shown;
use crate::signature::{ExecPlan, ExecSigner, Group, Signer};

const KEY_NAME: &str = "SIGINDEX_KEY_NAME";

/// How long a command may take where no flag says so, in seconds.
const TIMEOUT: u32 = 60;

/// Where a key is that no file holds.
#[derive(Debug, Clone)]
enum Address {
    /// What `/bin/sh -c` gets.
    Exec(String),
    /// A URI of RFC 7512, with its scheme.
    Pkcs11(String),
}

impl Address {
    /// Reads what may be the name of a key in the folder too: no name has a colon. What has one may be secret, and
    /// is never told.
    fn parse(text: &str) -> Result<Option<Address>, Error> {
        let Some((scheme, rest)) = text.split_once(':') else {
            return Ok(None);
        };
        match scheme.trim().to_ascii_lowercase().as_str() {
            "exec" if rest.trim().is_empty() => Err(Error::Usage(
                "--key exec: has no command; write it behind the colon, as in --key 'exec:python3 sign.py'"
                    .to_owned(),
            )),
            "exec" => Ok(Some(Address::Exec(rest.to_owned()))),
            "pkcs11" => Ok(Some(Address::Pkcs11(format!("pkcs11:{rest}")))),
            _ => Err(Error::Usage(
                "what is given as a key begins neither with exec: nor with pkcs11:, and no name of a key has a colon"
                    .to_owned(),
            )),
        }
    }
}

/// A key elsewhere.
pub struct Elsewhere {
    address: Address,
    /// Its name, unless only the command or the token knows it.
    name: Option<KeyName>,
    timeout: Duration,
    /// Opened already, to learn its public half.
    opened: Mutex<Option<Box<dyn Signer>>>,
}

impl Elsewhere {
    /// The one of `--key`, unless that names a key in the folder.
    pub fn of_flags(signing: &SigningOptions) -> Result<Option<Elsewhere>, Error> {
        let address = signing.key.as_deref().map(Address::parse).transpose()?;
        match (address.flatten(), &signing.key_name) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err(Error::Usage(
                "--key-name is for keys elsewhere (--key exec:… or pkcs11:…); a key in the folder has its name"
                    .to_owned(),
            )),
            (Some(address), name) => {
                let name = name.clone().map_or_else(|| variable(KEY_NAME), |name| Ok(Some(name)));
                Self::new(address, name?, signing.key_timeout).map(Some)
            }
        }
    }

    /// The one that a variable tells of, and its name by another.
    pub fn of_environment(key: &str, name: &str) -> Result<Option<Elsewhere>, Error> {
        let Some(text) = variable(key)? else {
            return Ok(None);
        };
        let neither =
            || Error::Environment(format!("${key} is neither exec:COMMAND nor pkcs11:URI"));
        let address = Address::parse(&text).ok().flatten().ok_or_else(neither)?;
        Self::new(address, variable(name)?, TIMEOUT).map(Some)
    }

    fn new(address: Address, name: Option<String>, seconds: u32) -> Result<Elsewhere, Error> {
        Ok(Elsewhere {
            address,
            name: name.as_deref().map(KeyName::parse).transpose()?,
            timeout: Duration::from_secs(seconds.into()),
            opened: Mutex::new(None),
        })
    }

    /// Lets the key count as being in the folder: what it signed before is known by it. It is opened for that, unless
    /// its public half is in the folder. Gives its name.
    pub fn join(&self, keyring: &mut Keyring, folder: &KeysDir) -> Result<KeyName, Error> {
        if let Some(name) = &self.name
            && keyring.get(name).is_some()
        {
            return Ok(name.clone());
        }
        let signer = self.open(folder)?;
        let public = signer.public_key().clone();
        hold_against(&public, keyring, folder)?;
        if keyring.get(public.name()).is_none() {
            keyring.insert(public.clone())?;
        }
        *self.kept() = Some(signer);
        Ok(public.name().clone())
    }

    /// Its public half, as far as its name and the folder tell it.
    pub fn public<'k>(&self, keyring: &'k Keyring) -> Option<&'k PublicKey> {
        keyring.get(self.name.as_ref()?)?.ok()
    }

    /// What signs, which has to be the key that the folder has under its name.
    pub fn signer(&self, keyring: &Keyring, folder: &KeysDir) -> Result<Box<dyn Signer>, Error> {
        let kept = self.kept().take();
        let signer = kept.map_or_else(|| self.open(folder), Ok)?;
        hold_against(signer.public_key(), keyring, folder)?;
        Ok(signer)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Option<Box<dyn Signer>>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, folder: &KeysDir) -> Result<Box<dyn Signer>, Error> {
        match &self.address {
            Address::Exec(command) => self.start(command),
            Address::Pkcs11(uri) => pkcs11::open(uri, self.name.as_ref(), folder),
        }
    }

    fn start(&self, command: &str) -> Result<Box<dyn Signer>, Error> {
        let stop = also_stop()?;
        let plan = ExecPlan {
            command: command.to_owned(),
            name: self.name.clone(),
            timeout: self.timeout,
            group: group(),
            stop: Arc::clone(&stop),
        };
        match ExecSigner::start(&plan) {
            Ok(signer) => Ok(Box::new(signer)),
            Err(_) if stop.load(Ordering::Relaxed) => Err(Error::Interrupted),
            Err(error) => Err(Error::Signer(error.to_string())),
        }
    }
}

/// The key that signs has to be the one that is known by its name.
fn hold_against(public: &PublicKey, keyring: &Keyring, folder: &KeysDir) -> Result<(), Error> {
    let name = public.name();
    match keyring.get(name) {
        Some(Ok(known)) if known.fingerprint() != public.fingerprint() => {
            let path = folder.public_path(name);
            let place = match path.is_file() {
                true => shown(path),
                false => format!("the key {name} of the environment"),
            };
            Err(Error::Environment(format!(
                "{place} is another key than the one that signs ({}); name this one otherwise, with --key-name or what names it in the environment, or let the other have its public half",
                public.fingerprint()
            )))
        }
        Some(Err(broken)) => Err(Error::Environment(broken.to_string())),
        _ => Ok(()),
    }
}

/// Before a terminal, a command may ask there, and Ctrl-C ends all of it; elsewhere, nobody else would end what it started.
fn group() -> Group {
    match std::fs::File::open("/dev/tty") {
        Ok(_) => Group::Shared,
        Err(_) => Group::Own,
    }
}

#[cfg(feature = "pkcs11")]
mod pkcs11 {
    use zeroize::Zeroizing;

    use super::{Error, KeyName, KeysDir, Signer, variable};
    use crate::signature::{Pkcs11Error, Pkcs11Plan, Pkcs11Signer, Uri};

    const PIN: &str = "SIGINDEX_PIN";
    const MODULE: &str = "SIGINDEX_PKCS11_MODULE";

    pub fn open(
        uri: &str,
        name: Option<&KeyName>,
        folder: &KeysDir,
    ) -> Result<Box<dyn Signer>, Error> {
        let failed = |error: Pkcs11Error| Error::Signer(error.to_string());
        let uri =
            Uri::parse(uri).map_err(|fault| Error::Usage(Pkcs11Error::Uri(fault).to_string()))?;
        let pin = match &uri.pin_source {
            Some(path) => Some(folder.read_pin(path)?),
            None => variable(PIN)?.map(Zeroizing::new),
        };
        let plan = Pkcs11Plan {
            module: variable(MODULE)?.map(Into::into),
            name: name.cloned(),
            uri,
            pin,
        };
        Ok(Box::new(Pkcs11Signer::open(&plan).map_err(failed)?))
    }
}

#[cfg(not(feature = "pkcs11"))]
mod pkcs11 {
    use super::{Error, KeyName, KeysDir, Signer};

    pub fn open(_: &str, _: Option<&KeyName>, _: &KeysDir) -> Result<Box<dyn Signer>, Error> {
        Err(Error::Usage(
            "this sigindex was built without PKCS #11; build it with `--features pkcs11`"
                .to_owned(),
        ))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_are_told_from_names() {
        let parse = |text: &str| Address::parse(text).map(|found| format!("{found:?}"));
        assert_eq!(parse("MyKey").unwrap(), "None");
        let other = parse("secret:secret").unwrap_err().to_string();
        assert!(!other.contains("secret"), "{other}");
        assert_eq!(parse("exec:a 'b:c'").unwrap(), "Some(Exec(\"a 'b:c'\"))");
        assert_eq!(
            parse("pkcs11:token=a").unwrap(),
            "Some(Pkcs11(\"pkcs11:token=a\"))"
        );
        assert_eq!(parse(" EXEC:a").unwrap(), "Some(Exec(\"a\"))");
        assert!(matches!(parse("exec: "), Err(Error::Usage(_))));
    }
}
