//! `sigindex keys`: lists the keys in the keys folder.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::options::KeysFolder;
use super::signing::open_keyring;
use super::{out, status};
use crate::error::Error;
use crate::keys::KeyName;

/// Flags of `keys`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    folder: KeysFolder,
}

pub fn run(args: &Args) -> Result<u8, Error> {
    let folder = args.folder.open()?;
    let keyring = open_keyring(&folder)?;
    let private = folder.private_names()?;
    let mut lines: BTreeMap<KeyName, String> = BTreeMap::new();
    let mut broken = false;
    for (name, key) in keyring.iter() {
        let kind = if private.contains(name) {
            "private"
        } else {
            "public"
        };
        let line = match key {
            Ok(key) => format!("{:>5}  {}  {kind}", key.bits(), key.fingerprint()),
            Err(error) => {
                broken = true;
                format!("ERROR: {error}")
            }
        };
        lines.insert(name.clone(), line);
    }
    for name in private {
        let lone =
            "    -  (no public key beside it)                                         private";
        lines.entry(name).or_insert_with(|| lone.to_owned());
    }
    if lines.is_empty() {
        out::message(&format!(
            "{}: there is no key; make one with `sigindex keygen NAME`",
            folder.path().display()
        ));
    }
    let width = lines
        .keys()
        .map(|name| name.as_str().len())
        .max()
        .unwrap_or(0)
        .max(20);
    let mut text = String::new();
    for (name, line) in &lines {
        // Writing into a String can't fail.
        let _ = writeln!(text, "{:<width$}  {line}", name.as_str());
    }
    out::result(&text)?;
    Ok(if broken { status::FAILED } else { 0 })
}
