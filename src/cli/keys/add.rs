//! `sigindex keys add`: takes a public key into the keys folder, from a file, or from a URL by its fingerprint.

use std::path::Path;

use crate::cli::options::KeysFolder;
use crate::cli::out;
use crate::error::Error;
use crate::keys::{
    Added, ChannelPlace, Fingerprint, KeyError, KeyName, KeysDir, MAX_KEY_FILE_BYTES, PublicKey,
    WeakSizes,
};
use crate::shown::shown;
use crate::upstream::{self, UpstreamError, UpstreamFault, is_meant_as_url};

/// Flags of `keys add`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Public key (SubjectPublicKeyInfo in PEM): a file, or a URL together with --fingerprint
    #[arg(value_name = "FILE|URL")]
    from: String,
    /// Fingerprint that the key must have, as its owner told it
    #[arg(long, value_name = "HEX")]
    fingerprint: Option<String>,
    /// Name of the key here [default: NAME of NAME.pub]
    #[arg(long)]
    name: Option<String>,
    /// Take a key of less than 2048 bits all the same
    #[arg(long)]
    allow_weak: bool,
    #[command(flatten)]
    folder: KeysFolder,
    /// Say nothing but errors
    #[arg(short, long)]
    quiet: bool,
}

/// Where a key is from.
enum Source<'a> {
    /// A file of this machine.
    File(&'a Path),
    /// A folder behind HTTP, and the file in it.
    Web(&'a str, &'a str),
}

pub fn run(args: &Args) -> Result<u8, Error> {
    let expected = args.fingerprint.as_deref().map(fingerprint).transpose()?;
    let local = local_path(&args.from)?;
    let source = match &local {
        Some(path) => Source::File(path),
        None => web(&args.from, expected.as_ref())?,
    };
    let name = source.name(args.name.as_deref())?;
    let key = source.fetch(&name)?;
    if let Some(expected) = expected.filter(|it| *it != key.fingerprint()) {
        return Err(Error::Key(KeyError::OtherFingerprint {
            place: source.shown(),
            found: key.fingerprint(),
            expected,
        }));
    }
    let weak = match args.allow_weak {
        true => WeakSizes::Allow,
        false => WeakSizes::Refuse,
    };
    let folder = args.folder.open()?;
    let added = folder.add_public(&key, weak)?;
    if !args.quiet {
        out::result(&said(&folder, &key, added))?;
        if expected.is_none() && added == Added::New {
            out::message("compare the fingerprint with the one that the key's owner tells");
        }
    }
    Ok(0)
}

fn said(folder: &KeysDir, key: &PublicKey, added: Added) -> String {
    let what = match added {
        Added::New => "added      ",
        Added::Already => "was there  ",
    };
    format!(
        "{what}  {}\nfingerprint  {}\n",
        shown(folder.public_path(key.name())),
        key.fingerprint()
    )
}

/// A fingerprint as people pass it on: capitals and colons make no difference.
fn fingerprint(text: &str) -> Result<Fingerprint, KeyError> {
    Fingerprint::parse(&text.trim().replace(':', "").to_ascii_lowercase())
}

/// The path, unless the text is a URL of the web.
fn local_path(from: &str) -> Result<Option<std::path::PathBuf>, Error> {
    match from.split_once("://") {
        None if is_meant_as_url(from) => Ok(None),
        None => Ok(Some(from.into())),
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("file") => {
            let place = ChannelPlace::parse(from)?;
            Ok(place.folder().map(Path::to_owned))
        }
        Some(_) => Ok(None),
    }
}

/// A URL in its two parts. Without a fingerprint, whoever had the server or the way to it would choose the key.
fn web<'a>(url: &'a str, expected: Option<&Fingerprint>) -> Result<Source<'a>, Error> {
    let usage = |why: &str| Err(Error::Usage(why.to_owned()));
    if !upstream::is_url(url) {
        return usage("a key is in a file, or behind a URL with http:// or https://");
    }
    if expected.is_none() {
        return usage(
            "a key from a URL is taken only with its fingerprint (--fingerprint HEX), which its owner tells you in another way",
        );
    }
    match url.rsplit_once('/') {
        Some((_, file)) if file.is_empty() || file.contains(['?', '#', '%']) => {
            usage("the URL does not end in a plain file name; download the file, and add that")
        }
        Some((folder, file)) if !folder.ends_with('/') => Ok(Source::Web(folder, file)),
        _ => usage("the URL names no file"),
    }
}

impl Source<'_> {
    /// The key's name, which a file that is called NAME.pub tells.
    fn name(&self, given: Option<&str>) -> Result<KeyName, Error> {
        if let Some(name) = given {
            return Ok(KeyName::parse(name)?);
        }
        let file = match self {
            Source::File(path) => path.file_name().and_then(|name| name.to_str()),
            Source::Web(_, file) => Some(*file),
        };
        let name = file.and_then(|file| file.strip_suffix(".pub"));
        let unnamed = || {
            Error::Usage(
                "the file is not called NAME.pub; say how the key is to be called with --name NAME"
                    .to_owned(),
            )
        };
        Ok(KeyName::parse(name.ok_or_else(unnamed)?)?)
    }

    fn fetch(&self, name: &KeyName) -> Result<PublicKey, Error> {
        let (folder, file) = match self {
            Source::File(path) => return Ok(PublicKey::read(path, name)?),
            Source::Web(folder, file) => (folder, file),
        };
        let server = upstream::open(folder)?;
        let found = upstream::fetch(server.as_ref(), file, MAX_KEY_FILE_BYTES)?;
        let place = format!("{}/{file}", server.name());
        let Some(bytes) = found else {
            let fault = UpstreamFault::Status(404);
            return Err(UpstreamError { place, fault }.into());
        };
        PublicKey::from_pem(name.clone(), &bytes)
            .map_err(|fault| KeyError::Public { place, fault }.into())
    }

    /// Where it is from, without credentials.
    fn shown(&self) -> String {
        match self {
            Source::File(path) => shown(path),
            Source::Web(folder, file) => match ChannelPlace::parse(folder) {
                Ok(place) => format!("{place}/{file}"),
                Err(_) => (*file).to_owned(),
            },
        }
    }
}
