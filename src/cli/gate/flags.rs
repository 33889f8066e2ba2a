//! What `gate` and `exec` share: which channels, what they have to show, and where checked files are kept.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::cli::options::{KeysFolder, read_text, users_folder};
use crate::cli::out;
use crate::cli::signing::open_keyring;
use crate::error::Error;
use crate::gate::log::{Event, What};
use crate::gate::policy::{self, ChannelName, Flags, Keys, PolicyFile, Source};
use crate::gate::store::StoreConfig;
use crate::gate::{Limits, Plan};
use crate::keys::ChannelPlace;
use crate::shown::{line, shown};
use crate::upstream::{is_meant_as_url, without_secrets};

/// The most bytes of a policy file.
const POLICY: u64 = 1 << 20;

/// The most bytes of files in memory.
const MEMORY: u64 = 128 << 20;

/// The largest file that is taken into memory.
const SMALL: u64 = 2 << 20;

/// Flags of the channels behind a gate.
#[derive(Debug, clap::Args)]
pub struct Channels {
    /// Put a channel, a URL or a folder, behind the gate under a name (repeatable)
    #[arg(long, value_name = "NAME=URL")]
    channel: Vec<String>,
    /// Trust keys, by name or fingerprint, for a channel (repeatable) [default: those pinned with `keys trust`]
    #[arg(long, value_name = "NAME=KEY,…", help_heading = "Keys")]
    trust: Vec<String>,
    /// What a channel, or each, has to show: index (signed index and packages), package, or none (repeatable)
    /// [default: index]
    #[arg(long, value_name = "[NAME=]WHAT")]
    require: Vec<String>,
    /// Read channels, and what each has to show, from a file (TOML)
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// How long an index is served before it is asked for again [default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(..=i64::from(policy::MOST_FRESH)))]
    fresh: Option<u32>,
    /// How long a channel's server may say nothing, or next to nothing [default: 30]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=3_600))]
    timeout: Option<u32>,
    /// Smallest package key whose signatures count [default: 2048]
    #[arg(long, value_name = "BITS", help_heading = "Keys")]
    min_bits: Option<u32>,
    /// Where checked files are kept [default: sigindex/gate in $XDG_CACHE_HOME]
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// Where it is remembered what was seen of channels, so that nothing older is taken
    /// [default: sigindex/gate in $XDG_STATE_HOME]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// The most that is kept
    #[arg(long, value_name = "SIZE", default_value = "10G", value_parser = size)]
    cache_size: u64,
    #[command(flatten)]
    keys: KeysFolder,
    /// Say nothing but errors, refusals and failures
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,
    /// Name every file that is fetched
    #[arg(short, long)]
    verbose: bool,
}

impl Channels {
    /// What is to be started, without a token.
    pub fn plan(&self, listen: SocketAddr) -> Result<Plan, Error> {
        let flags = self.flags()?;
        let folder = self.keys.open()?;
        let keyring = open_keyring(&folder)?;
        let pins = folder.pins()?;
        let file = match &self.policy {
            None => None,
            Some(path) => {
                let text = read_text(path, POLICY, "read the policy")?;
                Some(PolicyFile::parse(path, &text)?)
            }
        };
        let keys = Keys {
            keyring: &keyring,
            folder: shown(folder.path()),
            pins: &|place| {
                let pinned = pins.for_channel(&ChannelPlace::parse(place)?);
                Ok(pinned.into_iter().map(|(_, key)| key).collect())
            },
        };
        let channels = policy::decide(file, flags, &keys)?;
        for channel in &channels {
            self.warn(channel);
        }
        let cache = place(self.cache_dir.as_ref(), "XDG_CACHE_HOME", ".cache")?;
        let state = place(self.state_dir.as_ref(), "XDG_STATE_HOME", ".local/state")?;
        let (quiet, verbose) = (self.quiet, self.verbose);
        Ok(Plan {
            listen,
            token: None,
            channels,
            state,
            store: StoreConfig {
                folder: cache,
                disk_bytes: self.cache_size,
                memory_bytes: MEMORY,
                small: SMALL,
            },
            limits: Limits::default(),
            sink: Box::new(move |event| say(event, quiet, verbose)),
        })
    }

    /// Says what a policy does not stop.
    fn warn(&self, channel: &policy::ChannelPolicy) {
        if !self.quiet && channel.require != policy::Require::Index {
            let name = &channel.name;
            let (word, means) = (channel.require.as_str(), channel.require.meaning());
            out::warning(&format!("{name}: --require {word}: {means}"));
        }
    }

    fn flags(&self) -> Result<Flags, Error> {
        let mut flags = Flags::default();
        for text in &self.channel {
            let (name, place) = named("--channel", text)?;
            flags.channels.push((name, Source::parse(place)?));
        }
        for text in &self.trust {
            let (name, keys) = named("--trust", text)?;
            let keys = keys.split(',').map(|key| key.trim().to_owned());
            flags.trust.push((name, keys.collect()));
        }
        for word in &self.require {
            match word.contains('=') {
                false => flags.words.require = Some(policy::require(word)?),
                true => {
                    let (name, word) = named("--require", word)?;
                    flags.require.push((name, policy::require(word)?));
                }
            }
        }
        flags.words.min_bits = self.min_bits;
        let time = |seconds: u32| Duration::from_secs(seconds.into());
        flags.words.fresh = self.fresh.map(time);
        flags.words.timeout = self.timeout.map(time);
        Ok(flags)
    }
}

/// A folder of the gate's: the one that was named, else one below a folder of the user's (XDG base directories).
fn place(named: Option<&PathBuf>, base: &str, below_home: &str) -> Result<PathBuf, Error> {
    if let Some(path) = named {
        return Ok(path.clone());
    }
    let base = users_folder(base, below_home)?;
    Ok(base.join("sigindex").join("gate"))
}

/// Says what happened, on stderr.
fn say(event: &Event, quiet: bool, verbose: bool) {
    let is_said = match event.what {
        What::Refused | What::Failed => true,
        What::LetThrough => !quiet,
        What::Served | What::Note => verbose,
    };
    if is_said {
        out::message(&line(&format!("{:.0} {event}", event.time)));
    }
}

/// What a flag says of the channel that it names. Not for clap, which quotes what it can't read: a URL may hold a password.
fn named<'a>(flag: &str, text: &'a str) -> Result<(ChannelName, &'a str), Error> {
    let fail = |why: &str| Error::Usage(format!("{flag} {}: {why}", shown(without_secrets(text))));
    let (name, rest) = text
        .split_once('=')
        .ok_or_else(|| fail("there is no = in it; write NAME=…"))?;
    match is_meant_as_url(name) {
        true => Err(fail("there is no name in front of it; write NAME=…")),
        false => Ok((ChannelName::parse(name)?, rest)),
    }
}

/// Bytes, with K, M, G or T for powers of 1024.
fn size(text: &str) -> Result<u64, String> {
    let number = text.trim_end_matches(['i', 'B']);
    let (number, shift) = match number.bytes().last() {
        Some(b'K' | b'k') => (number.trim_end_matches(['K', 'k']), 10),
        Some(b'M') => (number.trim_end_matches('M'), 20),
        Some(b'G') => (number.trim_end_matches('G'), 30),
        Some(b'T') => (number.trim_end_matches('T'), 40),
        _ => (number, 0),
    };
    let bytes = number.parse::<u64>().ok();
    let bytes = bytes.and_then(|number| number.checked_mul(1 << shift));
    bytes.ok_or_else(|| "write a number of bytes, or one with K, M, G or T, as in 10G".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("1024", Some(1024)),
            ("2K", Some(2048)),
            ("3M", Some(3 << 20)),
            ("10G", Some(10 << 30)),
            ("10GiB", Some(10 << 30)),
            ("1T", Some(1 << 40)),
            ("", None),
            ("G", None),
            ("-1", None),
            ("1.5G", None),
            ("99999999999T", None),
        ] {
            assert_eq!(size(text).ok(), bytes, "{text}");
        }
    }
}
