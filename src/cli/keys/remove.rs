//! `sigindex keys remove`: takes a key out of the keys folder. A private key goes only when that is said twice.

use std::io::{BufRead as _, IsTerminal as _};

use crate::cli::options::KeysFolder;
use crate::cli::{out, status};
use crate::error::Error;
use crate::keys::{Halves, KeyName, KeysDir};
use crate::shown::shown;

/// Flags of `keys remove`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the key
    name: String,
    /// Remove the private key, too
    #[arg(long)]
    private: bool,
    /// Don't ask
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    folder: KeysFolder,
    /// Say nothing but errors
    #[arg(short, long)]
    quiet: bool,
}

pub fn run(args: &Args) -> Result<u8, Error> {
    let name = KeyName::parse(&args.name)?;
    let folder = args.folder.open()?;
    let halves = match args.private {
        true => Halves::Both,
        false => Halves::Public,
    };
    let loses_private = args.private && folder.private_path(&name).symlink_metadata().is_ok();
    if loses_private && !args.yes && !agreed(&folder, &name)? {
        out::message(&format!("the key {name} stays"));
        return Ok(status::FAILED);
    }
    let removed = folder.remove(&name, halves)?;
    if args.quiet {
        return Ok(0);
    }
    let mut said = Vec::new();
    if removed.private {
        said.push(format!(
            "private key  {}",
            shown(folder.private_path(&name))
        ));
    }
    if removed.public {
        said.push(format!("public key   {}", shown(folder.public_path(&name))));
    }
    said.extend(
        removed
            .channels
            .iter()
            .map(|channel| format!("trust for    {channel}")),
    );
    let lines = said.iter().map(|what| format!("removed  {what}\n"));
    out::result(&lines.collect::<String>())?;
    Ok(0)
}

fn agreed(folder: &KeysDir, name: &KeyName) -> Result<bool, Error> {
    let path = folder.private_path(name);
    let path = shown(path);
    if !std::io::stdin().is_terminal() {
        return Err(Error::Usage(format!(
            "{path}: to remove a private key has to be confirmed, and there is no terminal to ask on; say --yes"
        )));
    }
    out::message(&format!(
        "{path}: nothing more can be signed with this key once it is removed. Remove it? [y/N]"
    ));
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    read.map_err(|cause| Error::File {
        path: "standard input".to_owned(),
        operation: "read the answer",
        cause,
    })?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
