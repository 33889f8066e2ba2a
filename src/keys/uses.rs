//! What keys are for: packages, the index of a channel, or its root. A key of the index or the root signs no
//! package, and a key of packages no index, so that one signature is never taken for another. Owns the file that
//! remembers it; must not know how anything is signed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::settings::{self, Settings, VERSION};
use super::{Fingerprint, KeyError, KeyName, KeysDir};

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Use {
    /// It signs packages.
    Package,
    /// It signs the targets, snapshots and timestamps of a channel's index.
    Index,
    /// It signs the root of a channel's index, which names all others.
    Root,
}

impl Use {
    /// Whether it signs TUF metadata, and so no package.
    fn is_of_metadata(self) -> bool {
        self != Use::Package
    }
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Use::Package => "package",
            Use::Index => "index",
            Use::Root => "root",
        })
    }
}

/// What each known key is for, by its fingerprint. Many keys have no entry: nothing was signed with them yet.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "UsesFile", into = "UsesFile")]
pub struct Uses {
    by_fingerprint: BTreeMap<Fingerprint, BTreeSet<Use>>,
}

impl Uses {
    /// What a key is for, as far as that is known.
    pub fn of(&self, key: &Fingerprint) -> impl Iterator<Item = Use> + '_ {
        self.by_fingerprint.get(key).into_iter().flatten().copied()
    }

    /// Whether a key signs an index or a root: then its signature of a package does not count.
    pub fn signs_index(&self, key: &Fingerprint) -> bool {
        self.of(key).any(Use::is_of_metadata)
    }

    /// Whether a key signs packages: then it signs no index and no root.
    pub fn signs_packages(&self, key: &Fingerprint) -> bool {
        self.of(key).any(|it| it == Use::Package)
    }

    /// Refuses a key for a use that goes with none of its others.
    ///
    /// # Errors
    /// [`KeyError::WrongUse`], which says what to do.
    pub fn allow(&self, name: &KeyName, key: &Fingerprint, wanted: Use) -> Result<(), KeyError> {
        let clashes = |it: &Use| it.is_of_metadata() != wanted.is_of_metadata();
        match self.of(key).find(clashes) {
            None => Ok(()),
            Some(has) => Err(KeyError::WrongUse {
                name: name.clone(),
                has,
                wanted,
            }),
        }
    }
}

impl Settings for Uses {
    const FILE: &'static str = ".sigindex-uses.json";
}

impl KeysDir {
    /// What the keys are for, as the keys folder remembers it.
    ///
    /// # Errors
    /// [`KeyError::Settings`] when that can't be read, or others may have written it.
    pub fn uses(&self) -> Result<Uses, KeyError> {
        Ok(settings::read(self.path())?)
    }

    /// Remembers what a key is for. Nothing is written where that is known.
    ///
    /// # Errors
    /// [`KeyError::WrongUse`] when the key is for something that does not go with it, and
    /// [`KeyError::Settings`] when it can't be remembered.
    pub fn mark(&self, name: &KeyName, key: Fingerprint, is_for: Use) -> Result<(), KeyError> {
        let known = self.uses()?;
        known.allow(name, &key, is_for)?;
        if known.of(&key).any(|it| it == is_for) {
            return Ok(());
        }
        settings::change(self.path(), |uses: &mut Uses| {
            uses.allow(name, &key, is_for)?;
            uses.by_fingerprint.entry(key).or_default().insert(is_for);
            Ok(())
        })
    }
}

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct UsesFile {
    version: u32,
    keys: Vec<KeyUses>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyUses {
    fingerprint: String,
    uses: BTreeSet<Use>,
}

impl TryFrom<UsesFile> for Uses {
    type Error = String;

    fn try_from(file: UsesFile) -> Result<Uses, String> {
        settings::check_version(file.version)?;
        let mut uses = Uses::default();
        for one in file.keys {
            let key = Fingerprint::parse(&one.fingerprint).map_err(|error| error.to_string())?;
            let kinds: BTreeSet<bool> = one.uses.iter().map(|it| it.is_of_metadata()).collect();
            let twice = uses.by_fingerprint.insert(key, one.uses).is_some();
            if twice || kinds.len() != 1 {
                return Err(format!("the uses of the key {key} contradict each other"));
            }
        }
        Ok(uses)
    }
}

impl From<Uses> for UsesFile {
    fn from(uses: Uses) -> UsesFile {
        let keys = uses.by_fingerprint.into_iter();
        UsesFile {
            version: VERSION,
            keys: keys
                .map(|(key, uses)| KeyUses {
                    fingerprint: key.to_string(),
                    uses,
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::samples::name;
    use super::*;

    fn key(byte: u8) -> Fingerprint {
        Fingerprint::parse(&format!("{byte:02x}").repeat(32)).unwrap()
    }

    #[test]
    fn a_key_is_for_packages_or_for_metadata() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = KeysDir::new(scratch.path().join("keys"), false);
        dir.mark(&name("A"), key(1), Use::Package).unwrap();
        dir.mark(&name("B"), key(2), Use::Index).unwrap();
        dir.mark(&name("B"), key(2), Use::Root).unwrap();
        let uses = dir.uses().unwrap();
        assert_eq!(
            uses.of(&key(2)).collect::<Vec<_>>(),
            [Use::Index, Use::Root]
        );
        assert!(uses.signs_packages(&key(1)) && !uses.signs_index(&key(1)));
        assert!(uses.signs_index(&key(2)) && !uses.signs_packages(&key(2)));
        assert!(!uses.signs_index(&key(3)) && !uses.signs_packages(&key(3)));
        for (who, wanted) in [(1, Use::Index), (1, Use::Root), (2, Use::Package)] {
            let error = dir.mark(&name("K"), key(who), wanted).unwrap_err();
            assert!(matches!(error, KeyError::WrongUse { .. }), "{error}");
        }
        assert_eq!(dir.uses().unwrap(), uses);
        assert_eq!(*dir.public_keys().unwrap().uses(), uses);
    }

    #[test]
    fn a_use_is_called_as_the_file_has_it() {
        for (is_for, word) in [
            (Use::Package, "package"),
            (Use::Index, "index"),
            (Use::Root, "root"),
        ] {
            assert_eq!(is_for.to_string(), word);
            assert_eq!(
                serde_json::to_string(&is_for).unwrap(),
                format!("\"{word}\"")
            );
        }
    }

    #[test]
    fn a_file_that_contradicts_itself_is_refused() {
        let one = key(1);
        let of = |uses: &str| format!(r#"{{"fingerprint":"{one}","uses":[{uses}]}}"#);
        let read = |version: u32, keys: &str| {
            let text = format!(r#"{{"version":{version},"keys":[{keys}]}}"#);
            serde_json::from_str::<Uses>(&text)
        };
        assert!(read(1, &of(r#""index""#)).is_ok());
        let twice = [of(r#""index""#), of(r#""package""#)].join(",");
        for wrong in [
            of(""),
            of(r#""index","package""#),
            of(r#""other""#),
            of(r#""index""#).to_uppercase(),
            twice,
        ] {
            assert!(read(1, &wrong).is_err(), "{wrong}");
        }
        assert!(read(2, "").is_err());
    }
}
