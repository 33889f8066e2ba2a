//! MatchSpecs (CEP 29, with CEP 43, 44 and 45): queries for packages. Owns what one asks for, which packages are
//! so, and its form in brackets (CEP 48); knows nothing of records or channels.
//!
//! # The form in brackets
//! `name[version=">=1,<2",build="py*",build_number=0,when="__unix",extras=["a","b"],flags=["blas:*"]]`, with the
//! fields in this order, that of CEP 48, without white space. Texts stand in double quotes, in single ones where
//! they hold double ones; a build number that is one stands bare. `1.8` means just that version, `1.8.*` all that
//! begin so; an expression that leaves nothing out (`*`) is left out itself. Conditions stay as they are.

mod condition;
mod fields;
mod parse;
mod pattern;
mod version_spec;

use std::collections::BTreeMap;

use crate::version::Version;
use pattern::{NumberPattern, Pattern};
use version_spec::VersionSpec;

/// The most versions that the MatchSpecs of one package may name, as [`versions_in`] counts them, to be all read: to
/// read one takes a thousand times as long as to pass over it. Real packages name some hundreds.
pub const MAX_VERSIONS: usize = 10_000;

/// How many versions a MatchSpec names, or a JSON list of them, at most, where each takes 16 bytes: a long one takes
/// the time of many. A regular expression counts as ten.
pub fn versions_in(text: &str) -> usize {
    let starts = text.bytes().map(|byte| match byte {
        b',' | b'|' => 1,
        b'^' => 9,
        _ => 0_usize,
    });
    starts
        .fold(text.len() / 16, usize::saturating_add)
        .saturating_add(1)
}

/// A query for packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatchSpec {
    name: String,
    version: Option<VersionSpec>,
    build: Option<Pattern>,
    build_number: Option<NumberPattern>,
    /// A condition (CEP 43), as it was written.
    when: Option<String>,
    /// Names of groups (CEP 44).
    extras: Vec<String>,
    /// Flags or globs of flags (CEP 45).
    flags: Vec<String>,
    /// All other fields: the channel, the subdir, digests.
    others: BTreeMap<String, String>,
}

impl MatchSpec {
    /// Reads one, in any of its forms; `None` where it breaks the grammar, or has more than 16 KiB.
    pub fn parse(text: &str) -> Option<MatchSpec> {
        parse::parse(text, true)
    }

    /// The name that is asked for, in lower case. It may be a glob or a regular expression:
    /// see [`MatchSpec::has_exact_name`].
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether one name is asked for.
    pub fn has_exact_name(&self) -> bool {
        !self.name.contains(['*', '^'])
    }

    /// Whether a package of that name, of that version and build, is one. See [`MatchSpec::accepts`].
    pub fn matches(&self, version: &str, build: &str, build_number: i64) -> bool {
        self.accepts(&Version::parse(version), build, build_number)
    }

    /// As [`MatchSpec::matches`], for a version that has been read. Fields that these can't tell, as the channel,
    /// flags, or whether a condition holds, count as met.
    pub fn accepts(&self, version: &Version, build: &str, build_number: i64) -> bool {
        let version = self
            .version
            .as_ref()
            .is_none_or(|spec| spec.matches(version));
        let number = |pattern: &NumberPattern| pattern.matches(build_number);
        version
            && self
                .build
                .as_ref()
                .is_none_or(|pattern| pattern.matches(build))
            && self.build_number.as_ref().is_none_or(number)
    }

    /// Whether only clients that know repodata's third revision understand it (CEP 48): it has a condition,
    /// extras or flags.
    pub fn needs_v3(&self) -> bool {
        self.when.is_some() || !self.extras.is_empty() || !self.flags.is_empty()
    }

    /// In the form of CEP 48, a bare name or name and brackets; `None` where that form can't say it: names that
    /// are not exact, other fields, and texts whose quotes would be read differently by different tools.
    pub fn in_brackets(&self) -> Option<String> {
        if !self.has_exact_name() || !self.others.is_empty() {
            return None;
        }
        let text = |key: &str, value: &str| Some(format!("{key}={}", quoted(value)?));
        let mut fields = Vec::new();
        if let Some(version) = &self.version {
            fields.push(text("version", &version.to_string())?);
        }
        if let Some(build) = &self.build {
            fields.push(text("build", build.as_str())?);
        }
        if let Some(number) = &self.build_number {
            let number = number.text();
            fields.push(match number.bytes().all(|b| b.is_ascii_digit()) {
                true => format!("build_number={number}"),
                false => text("build_number", &number)?,
            });
        }
        if let Some(when) = &self.when {
            fields.push(text("when", when)?);
        }
        for (key, names) in [("extras", &self.extras), ("flags", &self.flags)] {
            if !names.is_empty() {
                fields.push(format!("{key}=[\"{}\"]", names.join("\",\"")));
            }
        }
        Some(match fields.is_empty() {
            true => self.name.clone(),
            false => format!("{}[{}]", self.name, fields.join(",")),
        })
    }
}

/// A text in quotes, where nothing in it has to be escaped: some clients read no escapes.
fn quoted(text: &str) -> Option<String> {
    let quote = if text.contains('"') { '\'' } else { '"' };
    let escapes =
        text.ends_with('\\') || ["\\\\", "\\'", "\\\""].iter().any(|it| text.contains(it));
    (!text.contains(quote) && !escapes).then(|| format!("{quote}{text}{quote}"))
}

#[cfg(test)]
mod tests;
