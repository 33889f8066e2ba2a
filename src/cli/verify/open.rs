//! What `verify` was told to look at, opened: files, folders and channels, and the keys that a channel is held
//! against.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::audit::{Anchor, Place, is_channel};
use crate::cli::own_files::Closed;
use crate::error::Error;
use crate::keys::{ChannelPlace, Fingerprint, KeyName, Keyring, KeysDir, Pins};
use crate::shown::shown;
use crate::upstream::is_meant_as_url;

/// One thing to verify.
pub enum Target {
    /// A file, or a folder that is no channel.
    Files(PathBuf),
    /// A channel, and the keys that it is held against.
    Channel(Anchor, Place),
}

impl Target {
    /// Opens what an argument names.
    ///
    /// # Errors
    /// When it can't be opened, or keys were chosen for what is no channel: nothing would be held against them.
    pub fn open(argument: &OsStr, anchors: &Anchors<'_>) -> Result<Target, Error> {
        if let Some(url) = argument.to_str().filter(is_url) {
            let place = Place::open(url)?;
            return Ok(Target::Channel(anchors.of_another(url)?, place));
        }
        let path = Path::new(argument);
        if path.is_dir() {
            let anchor = anchors.for_channel(argument.to_str())?;
            // For whom keys are chosen, that is a channel, published or not.
            if matches!(anchor, Anchor::Chosen(_)) || is_channel(path) {
                anchors.lie_outside(path)?;
                return Ok(Target::Channel(anchor, Place::folder(path)?));
            }
        } else if !anchors.chosen.is_empty() {
            let path = shown(path);
            return Err(Error::Usage(format!(
                "--trust chooses keys for channels, and {path} is none; give its channel's folder, or leave --trust away"
            )));
        }
        Ok(Target::Files(path.to_owned()))
    }
}

fn is_url(text: &&str) -> bool {
    text.contains("://") || is_meant_as_url(text)
}

/// Which keys which channel is held against.
pub struct Anchors<'a> {
    chosen: Vec<(KeyName, Fingerprint)>,
    pins: Pins,
    folder: &'a KeysDir,
    keyring: &'a Keyring,
}

impl Anchors<'_> {
    /// By the flags, and the pins in the keys folder.
    pub fn of<'a>(
        trust: &[String],
        folder: &'a KeysDir,
        keyring: &'a Keyring,
    ) -> Result<Anchors<'a>, Error> {
        let mut chosen = Vec::new();
        for name in trust {
            let name = KeyName::parse(name)?;
            let key = keyring.get(&name).ok_or_else(|| {
                let folder = shown(folder.path());
                Error::Usage(format!("--trust {name}: there is no {name}.pub in {folder}; put it there, or choose one that `sigindex keys` lists"))
            })?;
            let fingerprint = key.map_err(|error| Error::Usage(format!("--trust: {error}")))?;
            chosen.push((name, fingerprint.fingerprint()));
        }
        Ok(Anchors {
            chosen,
            pins: folder.pins()?,
            folder,
            keyring,
        })
    }

    /// The keys for a channel that somebody named by a URL or a path; they lie outside of it.
    pub fn of_another(&self, channel: &str) -> Result<Anchor, Error> {
        if let Some(folder) = ChannelPlace::parse(channel)?.folder() {
            self.lie_outside(folder)?;
        }
        self.for_channel(Some(channel))
    }

    fn lie_outside(&self, channel: &Path) -> Result<(), Error> {
        Closed::new(self.folder).and_folder(channel).keep_keys_out()
    }

    /// The keys for one channel.
    fn for_channel(&self, channel: Option<&str>) -> Result<Anchor, Error> {
        if !self.chosen.is_empty() {
            return Ok(Anchor::Chosen(self.chosen.clone()));
        }
        // Nothing can be pinned to a folder whose name is not UTF-8.
        let Some(text) = channel else {
            return Ok(Anchor::Folder);
        };
        let pinned = self.pins.for_channel(&ChannelPlace::parse(text)?);
        if pinned.is_empty() {
            return Ok(Anchor::Folder);
        }
        let there = |(_, key): &(KeyName, Fingerprint)| self.keyring.by_fingerprint(key).is_some();
        match pinned.iter().find(|pin| !there(pin)) {
            None => Ok(Anchor::Chosen(pinned)),
            Some((name, key)) => Err(Error::Usage(format!(
                "{name} ({key}) is pinned to this channel and not in the keys folder; put it there with `sigindex keys add`, or choose keys with --trust"
            ))),
        }
    }
}
