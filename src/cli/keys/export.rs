//! `sigindex keys export`: a public key on standard output, to be handed out.

use std::io::IsTerminal as _;

use super::public_key;
use crate::cli::options::KeysFolder;
use crate::cli::out;
use crate::error::Error;
use crate::keys::KeyName;

/// Flags of `keys export`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the key
    name: String,
    /// Form of the key, which is a SubjectPublicKeyInfo
    #[arg(long, value_enum, default_value_t = Form::Pem)]
    format: Form,
    #[command(flatten)]
    folder: KeysFolder,
    /// Say the key's fingerprint, too, on standard error
    #[arg(short, long)]
    verbose: bool,
}

/// Forms of a public key.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Form {
    /// Text, as in NAME.pub
    Pem,
    /// Bytes, whose SHA-256 is the fingerprint
    Der,
}

pub fn run(args: &Args) -> Result<u8, Error> {
    let name = KeyName::parse(&args.name)?;
    let key = public_key(&args.folder.open()?, &name)?;
    match args.format {
        Form::Pem => out::result(key.to_pem())?,
        Form::Der if std::io::stdout().is_terminal() => {
            let why = "a key in DER is no text; send it into a file or a program";
            return Err(Error::Usage(why.to_owned()));
        }
        Form::Der => out::bytes(key.to_der())?,
    }
    if args.verbose {
        out::message(&format!("fingerprint  {}", key.fingerprint()));
    }
    Ok(0)
}
