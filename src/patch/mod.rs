//! Repodata patches: what a channel says of its packages after they were built. Owns the form of
//! `patch_instructions.json` (versions 1 and 2, CEP 21), how a record changes by it, and where instructions come
//! from; must not know which index files follow, nor write one.

mod apply;
mod merge;
mod script;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::sync::Arc;

pub use apply::{Applied, PackageKeys, PatchReport};
pub use source::{CAPS, Source, subdir_of};

use crate::error::Error;
use crate::json::{self, Json, Object};

/// The file's name in a subdir, in a package of patches, and in a folder of patches.
pub const FILE_NAME: &str = "patch_instructions.json";

/// How much memory the values of one file may take, in bytes. The largest that are known take a tenth of it.
const MAX_MEMORY: u64 = 512 << 20;

const VERSION: &str = "patch_instructions_version";
const PACKAGES: &str = "packages";
const PACKAGES_CONDA: &str = "packages.conda";
const REVOKE: &str = "revoke";
const REMOVE: &str = "remove";
/// No key of a record, but of what other files say of a package (CEP 12).
const RUN_EXPORTS: &str = "run_exports";

/// Keys that say what a file is, and who vouches for it: no patch may touch them.
const PROTECTED: [&str; 8] = [
    "attestations_sha256",
    "indexed_timestamp",
    "md5",
    "sha256",
    "sig",
    "signature",
    "signatures",
    "size",
];

/// The instructions for one subdir. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Instructions(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    source: String,
    /// Whether any key is one of instructions.
    known: bool,
    packages: Fixes,
    packages_conda: Fixes,
    revoke: BTreeSet<String>,
    remove: BTreeSet<String>,
    /// Keys at the top that mean nothing.
    unknown: Vec<String>,
}

/// Fixes by file name.
type Fixes = BTreeMap<String, Fix>;

/// What is to change in one package.
#[derive(Debug, Default)]
struct Fix {
    /// Keys of the record.
    fields: Object,
    /// `run_exports` alone, or nothing.
    run_exports: Object,
    /// Keys that can't be patched.
    ignored: Vec<String>,
}

impl Instructions {
    /// Reads the text of a `patch_instructions.json`. `path` says in errors and in the report where it comes from.
    ///
    /// Unknown keys at the top are ignored; see [`Instructions::is_empty`].
    ///
    /// # Errors
    /// What [`json::parse_within`] refuses, a version other than 1 and 2 (1 where none is named), and values of other
    /// types than instructions have.
    pub fn parse(path: &str, bytes: &[u8]) -> Result<Instructions, Error> {
        let parts = Parts::parse(path, bytes).map_err(|cause| Error::Patches {
            path: path.to_owned(),
            operation: "use the repodata patches".to_owned(),
            cause,
        })?;
        Ok(Instructions(Arc::new(parts)))
    }

    /// Whether no key at the top is one of instructions, so that there are no patches. conda-index leaves such files
    /// behind (`{"zlib":{}}`), which a caller may want to say.
    pub fn is_empty(&self) -> bool {
        !self.0.known
    }

    /// Where they come from.
    pub fn source(&self) -> &str {
        &self.0.source
    }
}

impl Parts {
    fn parse(path: &str, bytes: &[u8]) -> Result<Parts, String> {
        let document = json::parse_within(bytes, MAX_MEMORY)
            .map_err(|cause| format!("{cause}; write it anew"))?;
        let Json::Object(mut members) = document else {
            return Err("it is not a JSON object; write it anew".to_owned());
        };
        let all = [VERSION, PACKAGES, PACKAGES_CONDA, REVOKE, REMOVE];
        let known = all.iter().any(|key| members.contains_key(*key));
        let version = version(members.get(VERSION))?;
        let unknown = members.keys().filter(|key| !all.contains(&key.as_str()));
        let unknown = unknown.cloned().collect();
        Ok(Parts {
            unknown,
            source: path.to_owned(),
            known,
            packages: fixes(&mut members, PACKAGES, version)?,
            packages_conda: fixes(&mut members, PACKAGES_CONDA, version)?,
            revoke: names(&mut members, REVOKE)?,
            remove: names(&mut members, REMOVE)?,
        })
    }
}

/// Which keys a fix may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    /// Patches run exports as well (CEP 21).
    Two,
}

fn version(value: Option<&Json>) -> Result<Version, String> {
    match value.map(|value| (value, value.as_i64())) {
        None | Some((_, Some(1))) => Ok(Version::One),
        Some((_, Some(2))) => Ok(Version::Two),
        Some((other, _)) => Err(format!(
            "its `{VERSION}` is {}, and only 1 and 2 are known; take a newer sigindex, or write instructions of \
             version 2",
            shown(other.compact())
        )),
    }
}

fn fixes(members: &mut Object, key: &str, version: Version) -> Result<Fixes, String> {
    let fixes = match members.remove(key) {
        None => return Ok(Fixes::new()),
        Some(Json::Object(fixes)) => fixes.into_iter(),
        Some(_) => {
            return Err(format!(
                "`{key}` is not an object of file names; write it anew"
            ));
        }
    };
    fixes
        .map(|(name, fix)| match Fix::of(fix, version) {
            Ok(fix) => Ok((name, fix)),
            Err(what) => Err(format!(
                "under `{key}`, {what} of `{}` is not an object; write it anew",
                shown(name)
            )),
        })
        .collect()
}

fn names(members: &mut Object, key: &str) -> Result<BTreeSet<String>, String> {
    let fail = || format!("`{key}` is not a list of file names; write it anew");
    let names = match members.remove(key) {
        None => return Ok(BTreeSet::new()),
        Some(Json::Array(names)) => names.into_iter(),
        Some(_) => return Err(fail()),
    };
    names
        .map(|name| match name {
            Json::String(name) => Ok(name),
            _ => Err(fail()),
        })
        .collect()
}

impl Fix {
    /// Sorts a fix's keys by what becomes of them; an error says which part of it is not an object.
    fn of(fix: Json, version: Version) -> Result<Fix, &'static str> {
        let Json::Object(members) = fix else {
            return Err("the fix");
        };
        let mut fix = Fix::default();
        for (key, value) in members {
            match key.as_str() {
                RUN_EXPORTS if version == Version::Two => {
                    if !matches!(value, Json::Object(_) | Json::Null) {
                        return Err("`run_exports` in the fix");
                    }
                    fix.run_exports.insert(key, value);
                }
                RUN_EXPORTS => fix.ignored.push(key),
                name if PROTECTED.contains(&name) => fix.ignored.push(key),
                _ => {
                    fix.fields.insert(key, value);
                }
            }
        }
        Ok(fix)
    }
}

/// A text from outside, for an error: escaped, and not endless.
fn shown(text: impl Display) -> String {
    const LONGEST: usize = 100;
    let text = text.to_string();
    let mut shown: String = text
        .chars()
        .take(LONGEST)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn instructions_of_both_versions_are_read() {
        for (text, empty) in [
            ("{}", true),
            (r#"{"zlib":{}}"#, true),
            (r#"{"zlib":{"packages":[]},"version":7}"#, true),
            (r#"{"patch_instructions_version":1}"#, false),
            (
                r#"{"patch_instructions_version":2,"packages":{"a":{"run_exports":null}}}"#,
                false,
            ),
            (
                r#"{"packages":{},"packages.conda":{},"revoke":["a"],"remove":[],"x":1}"#,
                false,
            ),
            (r#"{"packages":{"a":{"run_exports":7,"md5":[]}}}"#, false),
        ] {
            let instructions = Instructions::parse("x", text.as_bytes()).unwrap();
            assert_eq!(instructions.is_empty(), empty, "{text}");
        }
    }

    #[test]
    fn what_is_not_instructions_is_refused() {
        let deep = format!("{{\"packages\":{{\"a\":{}", "{\"b\":".repeat(100_000));
        for (text, says) in [
            ("", "not valid JSON"),
            ("[]", "not a JSON object"),
            (deep.as_str(), "JSON"),
            (r#"{"revoke":[],"revoke":[]}"#, "duplicate key"),
            (
                r#"{"patch_instructions_version":3}"#,
                "is 3, and only 1 and 2",
            ),
            (r#"{"patch_instructions_version":0}"#, "is 0, and"),
            (r#"{"patch_instructions_version":1.0}"#, "is 1.0, and"),
            (r#"{"patch_instructions_version":"1"}"#, "only 1 and 2"),
            (r#"{"patch_instructions_version":null}"#, "is null, and"),
            (r#"{"packages":[]}"#, "`packages` is not an object"),
            (
                r#"{"packages.conda":null}"#,
                "`packages.conda` is not an object",
            ),
            (
                r#"{"packages":{"a\u001b":[]}}"#,
                r"under `packages`, the fix of `a\u{1b}` is not an object",
            ),
            (
                r#"{"patch_instructions_version":2,"packages":{"a":{"run_exports":[]}}}"#,
                "`run_exports` in the fix of `a` is not an object",
            ),
            (r#"{"revoke":{}}"#, "`revoke` is not a list of file names"),
            (r#"{"revoke":"a"}"#, "`revoke` is not a list"),
            (r#"{"remove":["a",1]}"#, "`remove` is not a list"),
        ] {
            let said = Instructions::parse("noarch/patch_instructions.json", text.as_bytes())
                .unwrap_err()
                .to_string();
            assert!(said.contains(says), "{text}: {said}");
            assert!(
                said.starts_with("noarch/patch_instructions.json: can't use"),
                "{said}"
            );
        }
    }
}
