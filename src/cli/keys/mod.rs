//! `sigindex keys`: what is in the keys folder, and which channel trusts which key. Lists them, unless a
//! command says what to change.

mod add;
mod export;
mod list;
mod remove;
mod trust;

use clap::Subcommand;

use crate::error::Error;
use crate::keys::{KeyError, KeyName, KeysDir, PublicKey};

/// Flags of `keys`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: list::Args,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the keys, what they are for, and where they are trusted (what `sigindex keys` does)
    List(list::Args),
    /// Take a public key into the keys folder, from a file or a URL
    Add(add::Args),
    /// Remove a key from the keys folder, and trust it for no channel any more
    Remove(remove::Args),
    /// Trust a key for a channel, by its fingerprint
    Trust(trust::Args),
    /// Print a public key
    Export(export::Args),
}

pub fn run(args: &Args) -> Result<u8, Error> {
    match &args.command {
        None => list::run(&args.list),
        Some(Command::List(args)) => list::run(args),
        Some(Command::Add(args)) => add::run(args),
        Some(Command::Remove(args)) => remove::run(args),
        Some(Command::Trust(args)) => trust::run(args),
        Some(Command::Export(args)) => export::run(args),
    }
}

/// A public key of the folder.
fn public_key(folder: &KeysDir, name: &KeyName) -> Result<PublicKey, Error> {
    let path = folder.public_path(name);
    PublicKey::read(&path, name).map_err(|error| match error {
        KeyError::Open { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            let folder = folder.path().to_owned();
            Error::Key(KeyError::NoSuchKey {
                name: name.clone(),
                folder,
            })
        }
        other => other.into(),
    })
}
