//! `sigindex keys`: lists the keys in the keys folder, what they are for, and where they are trusted.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::cli::options::KeysFolder;
use crate::cli::signing::{environments_key_name, open_keyring};
use crate::cli::{out, status};
use crate::error::Error;
use crate::keys::{ChannelPlace, Fingerprint, KeyName, KeysDir, Use};
use crate::shown::shown;

/// Flags of `keys`.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    folder: KeysFolder,
}

/// What is known of the keys of one name.
#[derive(Default)]
struct Entry {
    /// The public key: its size and fingerprint, or why it can't be used; nothing where there is none.
    public: Option<Result<(u32, Fingerprint), String>>,
    private: bool,
    uses: Vec<Use>,
    trusted_for: Vec<ChannelPlace>,
    /// Channels that trust a key of this name which is not here.
    other_trusted_for: Vec<(ChannelPlace, Fingerprint)>,
}

impl Entry {
    fn fingerprint(&self) -> Option<Fingerprint> {
        Some(self.public.as_ref()?.as_ref().ok()?.1)
    }

    /// Whether somebody has to look at it.
    fn is_broken(&self) -> bool {
        matches!(self.public, Some(Err(_))) || !self.other_trusted_for.is_empty()
    }
}

pub fn run(args: &Args) -> Result<u8, Error> {
    let folder = args.folder.open()?;
    let entries = entries(&folder)?;
    if entries.is_empty() && !args.json {
        out::message(&format!(
            "{}: there is no key; make one with `sigindex keygen NAME`",
            shown(folder.path())
        ));
    }
    match args.json {
        true => out::result(&format!("{}\n", in_json(&entries)))?,
        false => out::result(&in_lines(&entries))?,
    }
    let broken = entries.values().any(Entry::is_broken);
    Ok(if broken { status::FAILED } else { 0 })
}

fn entries(folder: &KeysDir) -> Result<BTreeMap<KeyName, Entry>, Error> {
    let keyring = open_keyring(folder)?;
    let mut entries: BTreeMap<KeyName, Entry> = BTreeMap::new();
    for (name, key) in keyring.iter() {
        let entry = entries.entry(name.clone()).or_default();
        if let Ok(key) = key {
            entry.uses = keyring.uses().of(&key.fingerprint()).collect();
        }
        let key = key.map(|key| (key.bits(), key.fingerprint()));
        entry.public = Some(key.map_err(ToString::to_string));
    }
    for name in folder
        .private_names()?
        .into_iter()
        .chain(environments_key_name()?)
    {
        entries.entry(name).or_default().private = true;
    }
    for (channel, name, key) in folder.pins()?.iter() {
        let entry = entries.entry(name.clone()).or_default();
        match entry.fingerprint() == Some(*key) {
            true => entry.trusted_for.push(channel.clone()),
            false => entry.other_trusted_for.push((channel.clone(), *key)),
        }
    }
    Ok(entries)
}

fn in_lines(entries: &BTreeMap<KeyName, Entry>) -> String {
    let width = entries.keys().map(|name| name.as_str().len());
    let width = width.max().unwrap_or(0).max(20);
    let mut text = String::new();
    for (name, entry) in entries {
        let kind = if entry.private { "private" } else { "public" };
        let line = match &entry.public {
            Some(Ok((bits, key))) => {
                let uses: Vec<_> = entry.uses.iter().map(ToString::to_string).collect();
                let uses = uses.join(", ");
                format!("{bits:>5}  {key}  {kind:<7}  {uses}")
            }
            Some(Err(why)) => format!("ERROR: {why}"),
            None if entry.private => {
                format!("{:>5}  {:<64}  {kind}", "-", "(no public key beside it)")
            }
            None => format!("{:>5}  {:<64}", "-", "(not here)"),
        };
        // Writing into a String can't fail.
        let _ = writeln!(text, "{:<width$}  {}", name.as_str(), line.trim_end());
        for channel in &entry.trusted_for {
            let _ = writeln!(text, "{:<width$}  trusted for {channel}", "");
        }
        for (channel, key) in &entry.other_trusted_for {
            let _ = writeln!(
                text,
                "{:<width$}  ERROR: trusted for {channel} is another key of this name, {key}",
                ""
            );
        }
    }
    text
}

fn in_json(entries: &BTreeMap<KeyName, Entry>) -> Value {
    let keys = entries.iter().map(|(name, entry)| {
        let (bits, key, error) = match &entry.public {
            Some(Ok((bits, key))) => (Some(*bits), Some(key.to_string()), None),
            Some(Err(why)) => (None, None, Some(why)),
            None => (None, None, None),
        };
        let uses: Vec<_> = entry.uses.iter().map(ToString::to_string).collect();
        let trusted: Vec<_> = entry.trusted_for.iter().map(ChannelPlace::as_str).collect();
        let others = entry.other_trusted_for.iter().map(
            |(channel, key)| json!({"channel": channel.as_str(), "fingerprint": key.to_string()}),
        );
        json!({
            "name": name.as_str(),
            "bits": bits,
            "fingerprint": key,
            "private": entry.private,
            "uses": uses,
            "trusted_for": trusted,
            "other_key_trusted_for": others.collect::<Vec<_>>(),
            "error": error,
        })
    });
    json!({ "keys": keys.collect::<Vec<_>>() })
}
