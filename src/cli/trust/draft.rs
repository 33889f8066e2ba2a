//! Drafts as files, and `sigindex trust sign`, which needs no channel: it runs where a root key is.

use std::path::{Path, PathBuf};

use super::keys;
use crate::cli::options::{KeysFolder, clock, read_text};
use crate::cli::{out, place};
use crate::error::Error;
use crate::keys::{KeyName, PublicKey, Use};
use crate::shown::shown;
use crate::storage::replace_whole;
use crate::trust::{Draft, MAX_DRAFT, described};

/// Flags of `trust sign`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The draft, which gets the signature; what it says is shown first
    #[arg(value_name = "DRAFT")]
    draft: PathBuf,
    /// Root key that signs (repeatable)
    #[arg(long = "root-key", value_name = "NAME", required = true)]
    root_keys: Vec<String>,
    /// Show what would be signed, and sign nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    folder: KeysFolder,
}

pub fn run(args: &Args) -> Result<u8, Error> {
    let folder = args.folder.open()?;
    let mut draft = read(&args.draft)?;
    out::result(&described(&draft, clock()))?;
    for name in &args.root_keys {
        let name = KeyName::parse(name)?;
        let public: PublicKey = folder.check_private(&name)?;
        folder
            .uses()?
            .allow(&name, &public.fingerprint(), Use::Root)?;
        if !args.dry_run {
            draft = draft.sign(keys::signer(&folder, &name)?.as_ref())?;
            folder.mark(&name, public.fingerprint(), Use::Root)?;
        }
    }
    if args.dry_run {
        return Ok(0);
    }
    write(&args.draft, &draft)?;
    let names = args.root_keys.join(", ");
    let rest = match draft.finished() {
        Ok(_) => "it has all signatures: publish it with `sigindex trust root CHANNEL --draft`"
            .to_owned(),
        Err(missing) => missing,
    };
    out::result(&format!(
        "{}: signed by {names}; {rest}\n",
        shown(&args.draft)
    ))?;
    Ok(0)
}

/// Reads a draft.
pub fn read(path: &Path) -> Result<Draft, Error> {
    let text = read_text(path, MAX_DRAFT, "read the draft")?;
    Draft::parse(&text, &shown(path))
}

/// Writes a draft, whole or not at all; `-` is standard output.
pub fn write(path: &Path, draft: &Draft) -> Result<(), Error> {
    let text = draft.print()?;
    if path.as_os_str() == "-" {
        return out::result(&text);
    }
    replace_whole(place::file(path)?, 0o666, text.as_bytes()).map_err(|cause| Error::File {
        path: shown(path),
        operation: "write the draft",
        cause,
    })
}
