//! Where a run's own files may lie, the cache and the signing log: never where others upload packages, never among keys,
//! and never in the place of somebody's other file. Must not know what is in them.

use std::io;
use std::path::{Path, PathBuf};

use super::place::{self, Place};
use crate::error::Error;
use crate::keys::KeysDir;
use crate::shown::shown;

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

    /// The same, and an output, which need not be there yet.
    pub fn and_output(mut self, output: Option<&Path>) -> Closed {
        let folder = output.filter(|output| place::url(output).is_none());
        let folder = folder.and_then(|output| resolved(output).ok());
        self.published.extend(folder);
        self
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
}
