//! `sigindex keys trust`: pins a key to a channel, or takes a pin away.

use super::public_key;
use crate::cli::options::KeysFolder;
use crate::cli::out;
use crate::error::Error;
use crate::keys::{ChannelPlace, KeyError, KeyName};
use crate::shown::shown;

/// Flags of `keys trust`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the key
    name: String,
    /// URL or folder of the channel
    #[arg(long, value_name = "URL")]
    channel: String,
    /// Trust the key for this channel no more
    #[arg(long)]
    remove: bool,
    #[command(flatten)]
    folder: KeysFolder,
    /// Say nothing but errors
    #[arg(short, long)]
    quiet: bool,
}

pub fn run(args: &Args) -> Result<u8, Error> {
    let name = KeyName::parse(&args.name)?;
    let channel = ChannelPlace::parse(&args.channel)?;
    let folder = args.folder.open()?;
    let said = if args.remove {
        if folder.unpin(&name, Some(&channel))?.is_empty() {
            return Err(KeyError::NotPinned { name, channel }.into());
        }
        format!("the key {name} is trusted for {channel} no more\n")
    } else {
        // A name of a channel that means a URL to some client is a folder here.
        if let Some(path) = channel.folder().filter(|path| !path.is_dir()) {
            return Err(Error::Usage(format!(
                "{}: there is no such folder; name the folder of a channel, or its URL with http:// or https://",
                shown(path)
            )));
        }
        let key = public_key(&folder, &name)?.fingerprint();
        folder.pin(&name, key, &channel)?;
        format!("the key {name} (fingerprint {key}) is trusted for {channel}\n")
    };
    if !args.quiet {
        out::result(&said)?;
    }
    Ok(0)
}
