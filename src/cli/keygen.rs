//! `sigindex keygen`: makes a key pair.

use super::options::KeysFolder;
use super::out;
use super::signing::new_passphrase;
use crate::error::Error;
use crate::keys::{DEFAULT_KEY_BITS, KeyName, KeySize, WeakSizes};
use crate::shown::shown;

/// Flags of `keygen`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the key: NAME is the private one, NAME.pub the public one
    name: String,
    /// Size in bits: a multiple of 8 from 1024 to 16384
    #[arg(long, value_name = "BITS", default_value_t = DEFAULT_KEY_BITS)]
    size: u32,
    /// Make a key of less than 2048 bits all the same
    #[arg(long)]
    allow_weak: bool,
    /// Encrypt the private key; the passphrase comes from $SIGINDEX_PASSPHRASE or a prompt
    #[arg(long)]
    encrypt: bool,
    #[command(flatten)]
    folder: KeysFolder,
    /// Say nothing but errors
    #[arg(short, long)]
    quiet: bool,
}

pub fn run(args: &Args) -> Result<u8, Error> {
    let name = KeyName::parse(&args.name)?;
    let weak = if args.allow_weak {
        WeakSizes::Allow
    } else {
        WeakSizes::Refuse
    };
    let size = KeySize::new(args.size, weak)?;
    let folder = args.folder.open()?;
    let passphrase = if args.encrypt {
        Some(new_passphrase(&name)?)
    } else {
        None
    };
    if !args.quiet && args.size > 4_096 {
        out::message(&format!(
            "making a key of {} bits can take minutes",
            args.size
        ));
    }
    let key = folder.create(&name, size, passphrase.as_ref().map(|text| text.as_str()))?;
    if !args.quiet {
        out::result(&format!(
            "private key  {}\npublic key   {}\nfingerprint  {}\n",
            shown(folder.private_path(&name)),
            shown(folder.public_path(&name)),
            key.fingerprint()
        ))?;
    }
    Ok(0)
}
