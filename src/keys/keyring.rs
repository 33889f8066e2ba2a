//! The public keys that are trusted, by name. It is only a collection: where the keys come from is
//! not its matter.

use std::collections::BTreeMap;

use super::{Fingerprint, KeyError, KeyName, PublicKey, Uses};

/// Public keys by name, in the order of their names. A name whose key cannot be used is kept with
/// the reason, so that a signature by it is told from one by an unknown key.
#[derive(Debug, Default)]
pub struct Keyring {
    keys: BTreeMap<KeyName, Result<PublicKey, KeyError>>,
    uses: Uses,
}

impl Keyring {
    /// What is known under `name`: nothing, a key, or why its file cannot be used.
    pub fn get(&self, name: &KeyName) -> Option<Result<&PublicKey, &KeyError>> {
        self.keys.get(name).map(Result::as_ref)
    }

    /// Why a key could not be read that is there, if the machine failed to read any.
    pub fn unread(&self) -> Option<&KeyError> {
        let mut broken = self.keys.values().filter_map(|key| key.as_ref().err());
        broken.find(|error| error.is_unread())
    }

    /// All names, sorted, each with its key or with why it cannot be used.
    pub fn iter(&self) -> impl Iterator<Item = (&KeyName, Result<&PublicKey, &KeyError>)> {
        self.keys.iter().map(|(name, key)| (name, key.as_ref()))
    }

    /// The usable keys, sorted by name.
    pub fn keys(&self) -> impl Iterator<Item = &PublicKey> {
        self.keys.values().filter_map(|key| key.as_ref().ok())
    }

    /// The first key, by name, that has this fingerprint.
    pub fn by_fingerprint(&self, fingerprint: &Fingerprint) -> Option<&PublicKey> {
        self.keys().find(|key| key.fingerprint() == *fingerprint)
    }

    /// The usable keys that may vouch for the root of an index: not those that are known to sign packages.
    pub fn vouching(&self) -> impl Iterator<Item = &PublicKey> {
        self.keys()
            .filter(|key| !self.uses.signs_packages(&key.fingerprint()))
    }

    /// What the keys are for, as far as that is known.
    pub fn uses(&self) -> &Uses {
        &self.uses
    }

    /// Adds a key from elsewhere, such as the environment, as if it were in the folder. The same key
    /// under the same name is fine.
    ///
    /// # Errors
    /// [`KeyError::NameTaken`] when another key, or a broken one, has that name.
    pub fn insert(&mut self, key: PublicKey) -> Result<(), KeyError> {
        match self.keys.get(key.name()) {
            None => {
                self.keys.insert(key.name().clone(), Ok(key));
                Ok(())
            }
            Some(Ok(there)) if there.fingerprint() == key.fingerprint() => Ok(()),
            Some(_) => Err(KeyError::NameTaken {
                name: key.name().clone(),
            }),
        }
    }

    /// Takes what the keys folder remembers of uses.
    pub(super) fn set_uses(&mut self, uses: Uses) {
        self.uses = uses;
    }

    /// Takes what was read of a file in the keys folder.
    pub(super) fn record(&mut self, name: KeyName, key: Result<PublicKey, KeyError>) {
        self.keys.insert(name, key);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    #![allow(clippy::panic, clippy::string_slice)]
    use super::super::samples::{self, name};
    use super::super::{KeysDir, Use};
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn what_could_not_be_read_is_told_from_what_is_no_key() {
        let open = |error: Errno| KeyError::Open {
            path: "x.pub".into(),
            source: error.into(),
        };
        for (error, is_unread) in [
            (open(Errno::IO), true),
            (open(Errno::MFILE), true),
            (open(Errno::NOENT), false),
            (open(Errno::ACCESS), false),
            (KeyError::EmptyPassphrase, false),
        ] {
            let mut ring = Keyring::default();
            ring.record(name("X"), Err(error));
            assert_eq!(ring.unread().is_some(), is_unread);
        }
        assert!(Keyring::default().unread().is_none());
    }

    #[test]
    fn a_key_that_signs_packages_vouches_for_no_root() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = KeysDir::new(scratch.path().join("keys"), false);
        let (weak, strong) = (samples::weak().public(), samples::strong().public());
        let mut ring = Keyring::default();
        for key in [weak, strong] {
            ring.insert(key.clone()).unwrap();
        }
        assert_eq!(ring.vouching().count(), 2);
        dir.mark(weak.name(), weak.fingerprint(), Use::Package)
            .unwrap();
        dir.mark(strong.name(), strong.fingerprint(), Use::Index)
            .unwrap();
        ring.set_uses(dir.uses().unwrap());
        let vouching: Vec<_> = ring.vouching().map(PublicKey::fingerprint).collect();
        assert_eq!(vouching, [strong.fingerprint()]);
    }

    #[test]
    fn a_key_from_elsewhere_joins_under_its_own_name_only() {
        let mut ring = Keyring::default();
        assert!(ring.iter().next().is_none());
        let key = samples::weak().public();
        ring.insert(key.clone()).unwrap();
        ring.insert(key.clone()).unwrap();
        assert_eq!(ring.iter().count(), 1);
        let other = PublicKey::from_pem(
            key.name().clone(),
            samples::strong().public().to_pem().as_bytes(),
        )
        .unwrap();
        assert!(matches!(
            ring.insert(other),
            Err(KeyError::NameTaken { .. })
        ));

        assert_eq!(
            ring.by_fingerprint(&key.fingerprint()).unwrap().name(),
            key.name()
        );
        assert!(
            ring.by_fingerprint(&samples::strong().public().fingerprint())
                .is_none()
        );
        assert!(ring.get(&name("Nobody")).is_none());

        ring.record(name("Broken"), Err(KeyError::EmptyPassphrase));
        assert!(ring.get(&name("Broken")).unwrap().is_err());
        assert_eq!(ring.iter().count(), 2);
        assert_eq!(ring.keys().count(), 1);
        let broken = PublicKey::from_pem(name("Broken"), key.to_pem().as_bytes()).unwrap();
        assert!(matches!(
            ring.insert(broken),
            Err(KeyError::NameTaken { .. })
        ));
    }
}
