//! The model: what becomes of each package, by the contract's table of states. Pure: it looks at files alone.

use std::collections::BTreeMap;
use std::path::Path;

use crate::goods::{SUBDIRS, goods};
use crate::ops::{RunOp, Signs};
use crate::published::{Broken, Published};
use crate::reader::{Keys, digest};

/// What becomes of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Kept,
    Signed,
    Unsigned,
    Unverified,
    /// With a reason that has these words.
    Refused(&'static str),
}

/// What a run must say.
#[derive(Debug)]
pub struct Expected {
    /// By path.
    pub fates: BTreeMap<String, Fate>,
    /// The exit status.
    pub status: i32,
    /// Whether the index becomes that of these fates.
    pub publishes: bool,
}

/// What a run must say, or the file for which it can't begin.
pub fn expected(channel: &Path, keys: &Keys, run: &RunOp) -> Result<Expected, Broken> {
    let mut fates = BTreeMap::new();
    let mut leaving = false;
    for subdir in SUBDIRS {
        let published = Published::of(channel, subdir)?;
        let patches = channel.join(subdir).join("patch_instructions.json");
        if std::fs::read(&patches).is_ok_and(|bytes| bytes == BROKEN_PATCHES) {
            return Err(Broken(patches.display().to_string()));
        }
        for path in goods().paths.iter().filter(|path| path.starts_with(subdir)) {
            let Ok(bytes) = std::fs::read(channel.join(path)) else {
                continue;
            };
            let name = path.rsplit('/').next().unwrap();
            let was = published.records.get(name).filter(|_| published.binds);
            let sig = std::fs::read(channel.join(format!("{path}.sig"))).ok();
            let was_sha256 = was.map(|(sha256, _)| sha256.as_deref());
            let fate = fate(path, &bytes, was_sha256, sig.as_deref(), keys, run);
            leaving |= was.is_some() && matches!(fate, Fate::Refused(_));
            fates.insert(path.clone(), fate);
        }
    }
    let refused = fates.values().any(|fate| matches!(fate, Fate::Refused(_)));
    let held_back = (run.strict && refused) || (leaving && !run.drop_refused);
    let status = match (held_back, refused) {
        (true, _) => 1,
        (_, true) => 3,
        _ => 0,
    };
    Ok(Expected {
        fates,
        status,
        publishes: !held_back && !run.dry_run,
    })
}

/// Patches that are none.
pub const BROKEN_PATCHES: &[u8] = b"{\"packages\": [";

/// One row of the table. Where several fit, the order is: unreadable, changed since published, invalid, unknown key.
fn fate(
    path: &str,
    bytes: &[u8],
    was: Option<Option<&str>>,
    sig: Option<&[u8]>,
    keys: &Keys,
    run: &RunOp,
) -> Fate {
    let sha256 = digest(bytes);
    match goods().whole.get(&sha256) {
        None => return Fate::Refused(""),
        Some(true_path) if true_path != path => return Fate::Refused("rename or move it"),
        Some(_) => {}
    }
    let replaces = match run.replace {
        None => false,
        Some(true) => true,
        // The pattern of it names packages that begin with an `a`.
        Some(false) => path.rsplit('/').next().unwrap().starts_with('a'),
    };
    if was.is_some_and(|was| was != Some(sha256.as_str())) && !replaces {
        return Fate::Refused("changed since it was published");
    }
    match sig.map(|sig| state(sig, &sha256, keys)) {
        None => match run.signs {
            Signs::All => Fate::Signed,
            Signs::Nothing => Fate::Unsigned,
            Signs::Required => Fate::Refused("it has no signature"),
        },
        Some(Sig::Valid) if run.resign => Fate::Signed,
        Some(Sig::Valid) => Fate::Kept,
        Some(Sig::Invalid) if replaces && run.signs == Signs::All => Fate::Signed,
        Some(Sig::Invalid) => Fate::Refused("its signature is invalid"),
        Some(Sig::Unknown) if run.keep_unknown => Fate::Unverified,
        Some(Sig::Unknown) => Fate::Refused("unknown key"),
    }
}

enum Sig {
    Valid,
    Invalid,
    Unknown,
}

fn state(sig: &[u8], sha256: &str, keys: &Keys) -> Sig {
    let text = std::str::from_utf8(sig).unwrap_or_default();
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        [name, _] if !keys.names().any(|known| known == *name) => Sig::Unknown,
        _ if keys.verify_file(sig, sha256).is_ok() => Sig::Valid,
        _ => Sig::Invalid,
    }
}
