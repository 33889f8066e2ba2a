//! Which keys are trusted for which channel. A pin binds a fingerprint: another key that comes to have the same
//! name is not trusted. Owns the file that remembers it; must not know what trust in a key leads to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::settings::{self, Settings, VERSION};
use super::{ChannelPlace, Fingerprint, KeyError, KeyName, KeysDir};

/// The keys that are pinned to channels.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "PinsFile", into = "PinsFile")]
pub struct Pins {
    by_channel: BTreeMap<ChannelPlace, BTreeMap<KeyName, Fingerprint>>,
}

impl Pins {
    /// The keys that are trusted for a channel, sorted by their names then; what counts is the fingerprint.
    pub fn for_channel(&self, channel: &ChannelPlace) -> Vec<(KeyName, Fingerprint)> {
        let keys = self.by_channel.get(channel).into_iter().flatten();
        keys.map(|(name, key)| (name.clone(), *key)).collect()
    }

    /// All pins, sorted by channel and name.
    pub fn iter(&self) -> impl Iterator<Item = (&ChannelPlace, &KeyName, &Fingerprint)> {
        self.by_channel
            .iter()
            .flat_map(|(channel, keys)| keys.iter().map(move |(name, key)| (channel, name, key)))
    }

    fn add(
        &mut self,
        name: &KeyName,
        key: Fingerprint,
        channel: &ChannelPlace,
    ) -> Result<(), KeyError> {
        let keys = self.by_channel.entry(channel.clone()).or_default();
        match keys.insert(name.clone(), key) {
            Some(pinned) if pinned != key => Err(KeyError::PinnedOtherwise {
                name: name.clone(),
                channel: channel.clone(),
                pinned,
            }),
            _ => Ok(()),
        }
    }
}

impl Settings for Pins {
    const FILE: &'static str = ".sigindex-pins.json";
}

impl KeysDir {
    /// Which keys are trusted for which channel, as the keys folder remembers it.
    ///
    /// # Errors
    /// [`KeyError::Settings`] when that can't be read, or others may have written it.
    pub fn pins(&self) -> Result<Pins, KeyError> {
        Ok(settings::read(self.path())?)
    }

    /// Trusts a key for a channel.
    ///
    /// # Errors
    /// [`KeyError::PinnedOtherwise`] when another key of that name is trusted for it, and [`KeyError::Settings`]
    /// when it can't be remembered.
    pub fn pin(
        &self,
        name: &KeyName,
        key: Fingerprint,
        channel: &ChannelPlace,
    ) -> Result<(), KeyError> {
        settings::change(self.path(), |pins: &mut Pins| pins.add(name, key, channel))
    }

    /// Trusts the key of that name no more: for one channel, or for any. The channels that it was trusted for.
    ///
    /// # Errors
    /// [`KeyError::Settings`] when it can't be remembered.
    pub fn unpin(
        &self,
        name: &KeyName,
        channel: Option<&ChannelPlace>,
    ) -> Result<Vec<ChannelPlace>, KeyError> {
        let is_meant = |there: &ChannelPlace| channel.is_none_or(|it| it == there);
        let find = |pins: &Pins| -> Vec<ChannelPlace> {
            let found = pins
                .iter()
                .filter(|(there, who, _)| *who == name && is_meant(there));
            found.map(|(there, ..)| there.clone()).collect()
        };
        if find(&self.pins()?).is_empty() {
            return Ok(Vec::new());
        }
        let mut gone = Vec::new();
        settings::change(self.path(), |pins: &mut Pins| {
            gone = find(pins);
            for channel in &gone {
                if let Some(keys) = pins.by_channel.get_mut(channel) {
                    keys.remove(name);
                }
            }
            pins.by_channel.retain(|_, keys| !keys.is_empty());
            Ok(())
        })?;
        Ok(gone)
    }
}

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PinsFile {
    version: u32,
    pins: Vec<Pin>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pin {
    channel: String,
    key: String,
    fingerprint: String,
}

impl TryFrom<PinsFile> for Pins {
    type Error = String;

    fn try_from(file: PinsFile) -> Result<Pins, String> {
        settings::check_version(file.version)?;
        let mut pins = Pins::default();
        for pin in file.pins {
            let channel = ChannelPlace::parse_normal(&pin.channel)?;
            let name = KeyName::parse(&pin.key).map_err(|error| error.to_string())?;
            let key = Fingerprint::parse(&pin.fingerprint).map_err(|error| error.to_string())?;
            pins.add(&name, key, &channel)
                .map_err(|error| error.to_string())?;
        }
        Ok(pins)
    }
}

impl From<Pins> for PinsFile {
    fn from(pins: Pins) -> PinsFile {
        let pins = pins.iter().map(|(channel, name, key)| Pin {
            channel: channel.as_str().to_owned(),
            key: name.to_string(),
            fingerprint: key.to_string(),
        });
        PinsFile {
            version: VERSION,
            pins: pins.collect(),
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

    fn channel(text: &str) -> ChannelPlace {
        ChannelPlace::parse(text).unwrap()
    }

    #[test]
    fn a_pin_holds_a_key_and_not_a_name() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = KeysDir::new(scratch.path().join("keys"), false);
        let (here, there) = (channel("https://h/a"), channel("https://h/b"));
        assert!(dir.unpin(&name("A"), None).unwrap().is_empty());
        assert!(!dir.path().exists());
        for (who, key, channel) in [
            ("B", 2, &here),
            ("A", 1, &here),
            ("A", 1, &there),
            ("A", 1, &here),
        ] {
            dir.pin(&name(who), self::key(key), channel).unwrap();
        }
        let pins = dir.pins().unwrap();
        let both = [(name("A"), key(1)), (name("B"), key(2))];
        assert_eq!(pins.for_channel(&channel("https://H:443/a/")), both);
        assert_eq!(pins.for_channel(&there), both[..1]);
        assert_eq!(pins.for_channel(&channel("http://h/a")), []);
        let error = dir.pin(&name("A"), key(3), &here).unwrap_err();
        assert!(matches!(error, KeyError::PinnedOtherwise { .. }), "{error}");
        assert!(error.to_string().contains("--remove"), "{error}");
        assert_eq!(dir.pins().unwrap(), pins);
        let only = std::slice::from_ref(&there);
        assert_eq!(dir.unpin(&name("A"), Some(&there)).unwrap(), only);
        assert_eq!(dir.pins().unwrap().for_channel(&here), both);
        assert_eq!(dir.unpin(&name("A"), None).unwrap(), [here]);
        assert_eq!(dir.pins().unwrap().iter().count(), 1);
    }

    #[test]
    fn a_file_that_contradicts_itself_is_refused() {
        let pin = |channel: &str, name: &str, key: Fingerprint| {
            format!(r#"{{"channel":"{channel}","key":"{name}","fingerprint":"{key}"}}"#)
        };
        let read = |version: u32, pins: &str| {
            let text = format!(r#"{{"version":{version},"pins":[{pins}]}}"#);
            serde_json::from_str::<Pins>(&text)
        };
        let good = pin("https://h/a", "A", key(1));
        assert!(read(1, &good).is_ok());
        for wrong in [
            pin("https://h/a/", "A", key(1)),
            pin("a", "A", key(1)),
            pin("https://h/a", "../A", key(1)),
            format!("{good},{}", pin("https://h/a", "A", key(2))),
            good.replace(r#""key""#, r#""name""#),
        ] {
            assert!(read(1, &wrong).is_err(), "{wrong}");
        }
        assert!(read(2, &good).is_err());
    }
}
