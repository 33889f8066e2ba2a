//! Where a run's own files may lie, keys, the cache and the signing log: never where others upload packages, never among keys,
//! and never in the place of somebody's other file. Must not know what is in them.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::place::{self, Place};
use crate::error::Error;
use crate::keys::KeysDir;
use crate::shown::shown;

/// How files begin that somebody would miss, and what they are.
const OTHERS: [(&[u8], &str); 13] = [
    (b"-----BEGIN ", "a key or certificate (PEM)"),
    (b"ssh-", "a public key of SSH"),
    (b"PK\x03\x04", "a package or another zip archive"),
    (b"PK\x05\x06", "a zip archive"),
    (b"BZh", "a package or another file of bzip2"),
    (b"\x1f\x8b", "a file of gzip"),
    (b"\x28\xb5\x2f\xfd", "a file of zstd"),
    (b"\xfd7zXZ\0", "a file of xz"),
    (b"\x7fELF", "a program"),
    (b"{\"", "JSON"),
    (b"{\n", "JSON"),
    (b"[{", "JSON"),
    (b"[\"", "JSON"),
];

/// How many links are followed that lead to nothing yet.
const MAX_LINKS: usize = 40;

/// A file of a run's own.
#[derive(Debug, Clone, Copy)]
pub enum Own {
    Cache,
    SigningLog,
}

impl Own {
    fn name(self) -> &'static str {
        match self {
            Own::Cache => "cache",
            Own::SigningLog => "signing log",
        }
    }

    fn flag(self) -> &'static str {
        match self {
            Own::Cache => "--cache",
            Own::SigningLog => "--signing-log",
        }
    }
}

/// The folders that a run's own files keep out of: all of the channel and of what is published, and the keys folder,
/// which may have other folders in it.
pub struct Closed {
    published: Vec<PathBuf>,
    keys: PathBuf,
}

impl Closed {
    pub fn new(keys: &KeysDir) -> Closed {
        Closed {
            published: Vec::new(),
            keys: resolved(keys.path()).unwrap_or_else(|_| keys.path().to_owned()),
        }
    }

    /// The same, and a channel.
    pub fn and(mut self, channel: &Place) -> Closed {
        self.published.extend(channel.folder().map(Path::to_owned));
        self
    }

    /// The same, and a folder to which others upload packages.
    pub fn and_folder(mut self, folder: &Path) -> Closed {
        // What can't be looked at says so itself when it is opened.
        self.published.extend(folder.canonicalize());
        self
    }

    /// The same, and an output, which need not be there yet.
    ///
    /// # Errors
    /// When its path can't be told.
    pub fn and_output(mut self, output: Option<&Path>) -> Result<Closed, Error> {
        let folder = output.filter(|output| place::url(output).is_none());
        if let Some(output) = folder {
            let folder = resolved(output).map_err(|cause| {
                let output = shown(output);
                Error::Usage(format!("{output}: can't be told where it is: {cause}; name it by its whole path with --output"))
            })?;
            self.published.push(folder);
        }
        Ok(self)
    }

    /// Makes sure that the keys folder is in none of them: who is trusted is not for those to say who upload packages.
    pub fn keep_keys_out(&self) -> Result<(), Error> {
        if !self
            .published
            .iter()
            .any(|root| self.keys.starts_with(root))
        {
            return Ok(());
        }
        Err(Error::Usage(format!(
            "{}: the keys folder lies inside the channel, where whoever may upload packages could add a key, and readers could find a private one; name a place outside with --keys-dir (or $SIGINDEX_KEYS_DIR; ~/.conda/keys where none is named)",
            shown(&self.keys)
        )))
    }

    /// Makes sure that a file lies in none of them; its path is absolute and without links, as far as it is there.
    pub fn keep_out(&self, own: Own, path: &Path) -> Result<(), Error> {
        let (name, flag) = (own.name(), own.flag());
        let why = if self.published.iter().any(|root| path.starts_with(root)) {
            "inside the channel, where whoever may upload packages could write it"
        } else if path.parent() == Some(self.keys.as_path()) {
            "in the keys folder, which is for keys alone"
        } else {
            return Ok(());
        };
        Err(Error::Usage(format!(
            "{}: the {name} lies {why}; name a place outside with {flag}",
            shown(path)
        )))
    }
}

/// A file that is named as the cache is one, or was, as far as can be told: what is broken is put aside. Not so what is
/// plainly something else.
pub fn demand_cache(path: &Path) -> Result<(), Error> {
    let mut head = [0; 64];
    // What can't be read says so itself when it is opened.
    let read = File::open(path).and_then(|mut file| file.read(&mut head));
    let head = head.get(..read.unwrap_or(0)).unwrap_or_default();
    let text = head.trim_ascii_start();
    let other = OTHERS.iter().find(|(begin, _)| text.starts_with(begin));
    match other {
        Some((_, what)) => Err(Error::Usage(format!(
            "{}: is no cache, but {what}, as it seems; name another place with --cache, or move this file away",
            shown(path)
        ))),
        None => Ok(()),
    }
}

/// A path that may not be there yet, as far as it is there without links.
pub fn resolved(path: &Path) -> io::Result<PathBuf> {
    let mut path = std::path::absolute(path)?;
    for _ in 0..MAX_LINKS {
        // A link to what is not there is followed by whoever makes that.
        match std::fs::read_link(&path) {
            Ok(target) if !path.exists() => path = path.parent().unwrap_or(&path).join(target),
            _ => break,
        }
    }
    for there in path.ancestors() {
        if let (Ok(real), Ok(rest)) = (there.canonicalize(), path.strip_prefix(there)) {
            // An empty rest would end the path in a `/`, which no file has.
            let whole = rest.as_os_str().is_empty();
            return Ok(if whole { real } else { real.join(rest) });
        }
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_link_to_nothing_leads_where_it_would_be_made() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("channel")).unwrap();
        symlink("channel/log", root.join("one")).unwrap();
        symlink(root.join("one"), root.join("two")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        for name in ["one", "two", "channel/log"] {
            assert_eq!(
                resolved(&root.join(name)).unwrap(),
                root.join("channel/log")
            );
        }
        assert_eq!(resolved(&root.join("loop")).unwrap(), root.join("loop"));
        assert_eq!(resolved(&root.join("no/x")).unwrap(), root.join("no/x"));
    }

    #[test]
    fn what_is_plainly_no_cache_is_not_taken_for_one() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("file");
        assert!(demand_cache(&path).is_ok(), "it is not there");
        for (bytes, serves) in [
            (&b""[..], true),
            (b"SQLite format 3\0 and so on", true),
            (b"notes, or bytes of a cache that were spoilt", true),
            (&[0xff; 100], true),
            (b"-----BEGIN PRIVATE KEY-----\n", false),
            (b"\n -----BEGIN PUBLIC KEY-----\n", false),
            (b"PK\x03\x04 a .conda", false),
            (b"BZh9 a .tar.bz2", false),
            (b"{\"packages\": {}}", false),
            (b"{\n  \"packages\": {}}", false),
            (b"[{\"a\": 1}]", false),
            (
                b"[ and {, which bytes may begin with that were spoilt",
                true,
            ),
            (b"{\xff", true),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let found = demand_cache(&path);
            assert_eq!(found.is_ok(), serves, "{bytes:?}");
            assert!(found.is_ok() || std::fs::read(&path).unwrap() == bytes);
        }
    }
}
