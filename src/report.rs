//! Report: what a run did. Owns the counts, the lists and their two forms, text and JSON; must not
//! print, nor know how the run was carried out.

mod scanned;

use std::collections::BTreeMap;
use std::fmt::{self, Display, Write as _};

use serde::{Deserialize, Serialize};

use crate::patch::{PackageKeys, PatchReport};
use crate::shown::line;
pub use scanned::{ScanCounts, Scanned};

/// How many names of a kind are shown before the rest is only counted.
const SHOWN: usize = 20;

/// The most characters of a message.
const MESSAGE: usize = 2_000;

/// What one run of `index` did, or would do.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Report {
    /// The channel's folder.
    pub channel: String,
    /// Whether this only says what would be done.
    pub dry_run: bool,
    /// Whether the index that is served now is this run's.
    pub published: bool,
    /// Why nothing was published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_published: Option<String>,
    /// How many of everything.
    pub counts: Counts,
    /// Packages that are new in the index.
    pub added: Vec<String>,
    /// Packages that were signed.
    pub signed: Vec<String>,
    /// Packages whose bytes changed since they were published, and that were taken all the same.
    pub replaced: Vec<String>,
    /// Packages that left the index, because their file is gone.
    pub removed: Vec<String>,
    /// Packages that are listed without a signature.
    pub unsigned: Vec<String>,
    /// Packages that are listed with a signature whose key isn't known.
    pub unverified: Vec<String>,
    /// Packages that were left out.
    pub refused: Vec<Refused>,
    /// The generation of the signed index that clients see; `None` where the index is not signed.
    pub signed_index: Option<SignedIndex>,
    /// Whether the channel had no index before.
    pub first: bool,
    /// What patches changed, for each subdir that has any.
    pub patches: Vec<PatchReport>,
    /// Files that were written, packages' signatures aside; the shards of a subdir as one.
    pub files: Vec<String>,
    /// Files that were deleted.
    pub deleted: Vec<String>,
    /// What an operator should know.
    pub warnings: Vec<String>,
    /// Seconds from start to end.
    pub seconds: f64,
}

/// A generation of a signed index.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedIndex {
    /// Whether this run makes it.
    pub new: bool,
    /// The version of each role's metadata.
    pub versions: BTreeMap<String, u64>,
    /// Whole days until each role's metadata expires; below 0 where it has.
    pub days_left: BTreeMap<String, i64>,
}

/// How many packages, and of which kind.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Counts {
    /// In the index.
    pub listed: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Signed in this run.
    pub signed: usize,
    /// With a valid signature that was there before.
    pub kept: usize,
    /// Known from an earlier run and not opened.
    pub reused: usize,
    /// Opened and read.
    pub opened: usize,
    /// New in the index.
    pub added: usize,
    /// Taken with other bytes than those published.
    pub replaced: usize,
    /// Gone from the index with their file.
    pub removed: usize,
    /// Listed without a signature.
    pub unsigned: usize,
    /// Listed with a signature by an unknown key.
    pub unverified: usize,
    /// Left out.
    pub refused: usize,
    /// Bytes that the signatures add to the index.
    pub signature_bytes: u64,
}

/// A package that was left out of the index.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Refused {
    /// Its path in the channel.
    pub package: String,
    /// Why, and what to do.
    pub reason: String,
}

impl Refused {
    /// It and why, on a line.
    fn line(&self) -> String {
        format!("{}: {}", self.package, self.reason)
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is in the index.
    Published,
    /// Published, but some packages were refused.
    PublishedInPart,
    /// Nothing was published.
    Failed,
}

impl Report {
    /// How the run ended, or how the real run would.
    pub fn outcome(&self) -> Outcome {
        match () {
            () if self.not_published.is_some() => Outcome::Failed,
            () if self.refused.is_empty() => Outcome::Published,
            () => Outcome::PublishedInPart,
        }
    }

    /// Brings the counts in line with the lists, and the lists in order.
    pub fn settle(&mut self) {
        let lists = [
            (&mut self.added, &mut self.counts.added),
            (&mut self.signed, &mut self.counts.signed),
            (&mut self.replaced, &mut self.counts.replaced),
            (&mut self.removed, &mut self.counts.removed),
            (&mut self.unsigned, &mut self.counts.unsigned),
            (&mut self.unverified, &mut self.counts.unverified),
        ];
        for (list, count) in lists {
            list.sort();
            *count = list.len();
        }
        for one in &mut self.refused {
            shorten(&mut one.reason);
        }
        self.refused.sort_by(|a, b| a.package.cmp(&b.package));
        self.counts.refused = self.refused.len();
    }

    /// Makes warnings fit to be read: packages may bring texts of any length.
    pub fn shorten_warnings(&mut self) {
        self.warnings.iter_mut().for_each(shorten);
    }

    /// The report for a person. With `all`, long lists are shown whole.
    pub fn text(&self, all: bool) -> String {
        let mut out = String::new();
        let whole_if = |shown: bool| {
            if all || (shown && self.dry_run) {
                usize::MAX
            } else if shown {
                SHOWN
            } else {
                0
            }
        };
        let lists: [(&str, &[String], usize); 9] = [
            ("refused", &self.refusals(), whole_if(true)),
            (
                "added",
                &self.added,
                whole_if(self.dry_run || self.added.len() <= SHOWN),
            ),
            ("signed", &self.signed, whole_if(self.dry_run)),
            ("replaced", &self.replaced, whole_if(true)),
            ("removed", &self.removed, whole_if(true)),
            ("unsigned", &self.unsigned, whole_if(true)),
            ("unverified", &self.unverified, whole_if(true)),
            ("written", &self.files, whole_if(self.dry_run)),
            ("deleted", &self.deleted, whole_if(self.dry_run)),
        ];
        for (word, names, limit) in lists {
            let planned = self.dry_run || (self.not_published.is_some() && word != "refused");
            let title = if planned {
                format!("would be {word}")
            } else {
                word.to_owned()
            };
            list(&mut out, limit, &title, names);
        }
        for patches in &self.patches {
            describe(&mut out, patches, whole_if(true));
        }
        // Writing into a String can't fail.
        let _ = write!(out, "{}", self.summary());
        out
    }

    fn refusals(&self) -> Vec<String> {
        self.refused.iter().map(Refused::line).collect()
    }

    fn summary(&self) -> Summary<'_> {
        Summary(self)
    }
}

/// Cuts off what nobody reads.
fn shorten(text: &mut String) {
    let end = text.char_indices().nth(MESSAGE).map(|(at, _)| at);
    if let Some(end) = end {
        text.truncate(end);
        text.push('…');
    }
}

/// A titled list of at most `limit` names, which may be those of a planted index; nothing where there are none to show.
fn list(out: &mut String, limit: usize, title: &str, names: &[String]) {
    if names.is_empty() || limit == 0 {
        return;
    }
    let _ = writeln!(out, "{title}:");
    for name in names.iter().take(limit) {
        let _ = writeln!(out, "  {}", line(name));
    }
    if let Some(more @ 1..) = names.len().checked_sub(limit) {
        let _ = writeln!(out, "  and {more} more (-v or --json lists them)");
    }
}

/// What the patches of one subdir did.
fn describe(out: &mut String, patches: &PatchReport, limit: usize) {
    let _ = writeln!(
        out,
        "patched {} by {}: {} changed, {} revoked, {} removed, {} not there",
        patches.subdir,
        line(&patches.source),
        patches.changed.len(),
        patches.revoked.len(),
        patches.removed.len(),
        patches.unmatched.len()
    );
    let named = |list: &[PackageKeys]| -> Vec<String> {
        let lines = list.iter();
        lines
            .map(|one| format!("{}: {}", one.package, one.keys.join(", ")))
            .collect()
    };
    for (title, names, limit) in [
        // Of a large channel these are thousands, and all is well with them.
        (
            "changed",
            named(&patches.changed),
            limit.saturating_sub(SHOWN),
        ),
        (
            "revoked",
            patches.revoked.clone(),
            limit.saturating_sub(SHOWN),
        ),
        (
            "removed by a patch",
            patches.removed.clone(),
            limit.saturating_sub(SHOWN),
        ),
        (
            "not there",
            patches.unmatched.clone(),
            limit.saturating_sub(SHOWN),
        ),
        (
            "mean nothing in instructions",
            patches.unknown.clone(),
            limit,
        ),
        ("can't be patched so", named(&patches.ignored), limit),
        (
            "can't be read, and so not patched",
            patches.unreadable.clone(),
            limit,
        ),
    ] {
        list(out, limit, title, &names);
    }
}

struct Summary<'a>(&'a Report);

impl Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = &self.0.counts;
        let size = indicatif::HumanBytes(counts.bytes);
        let packages = plural(counts.listed, "package");
        writeln!(
            f,
            "{packages} ({size}): {} signed, {} kept, {} unsigned, {} unverified",
            counts.signed, counts.kept, counts.unsigned, counts.unverified
        )?;
        writeln!(
            f,
            "{} reused from the cache, {} opened; {} added, {} replaced, {} removed, {} refused",
            counts.reused,
            counts.opened,
            counts.added,
            counts.replaced,
            counts.removed,
            counts.refused
        )?;
        if counts.signature_bytes > 5_000_000 {
            let size = indicatif::HumanBytes(counts.signature_bytes);
            writeln!(
                f,
                "the signatures add {size} to the index; --signatures detached leaves them out"
            )?;
        }
        if let Some(signed) = &self.0.signed_index {
            writeln!(f, "{signed}")?;
        }
        let seconds = self.0.seconds;
        match (&self.0.not_published, self.0.dry_run) {
            (Some(why), false) => writeln!(f, "nothing was published: {why} ({seconds:.2} s)"),
            (Some(why), true) => writeln!(f, "nothing would be published: {why} ({seconds:.2} s)"),
            (None, _) => {
                let (written, deleted) = (self.0.files.len(), self.0.deleted.len());
                let files = match (written, deleted) {
                    (_, 0) => format!("{} written", plural(written, "file")),
                    (0, _) => format!("{} deleted", plural(deleted, "file")),
                    _ => format!("{} written, {deleted} deleted", plural(written, "file")),
                };
                match (written.saturating_add(deleted), self.0.dry_run) {
                    (0, _) => writeln!(f, "the index is up to date ({seconds:.2} s)"),
                    (_, true) => writeln!(f, "would publish: {files} ({seconds:.2} s)"),
                    (_, false) => writeln!(f, "published: {files} ({seconds:.2} s)"),
                }
            }
        }?;
        let is_new = self.0.published && self.0.first && self.0.signed_index.is_none();
        if is_new && cfg!(feature = "tuf") {
            writeln!(
                f,
                "the index itself is not signed; `sigindex trust init` switches that on"
            )?;
        }
        Ok(())
    }
}

impl Display for SignedIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |of: &BTreeMap<String, i64>| {
            let roles = ["root", "targets", "snapshot", "timestamp"].into_iter();
            let roles = roles.filter_map(|role| Some(format!("{role} {}", of.get(role)?)));
            roles.collect::<Vec<_>>().join(", ")
        };
        let version = self.versions.get("timestamp").copied().unwrap_or(0);
        let word = if self.new {
            "new generation"
        } else {
            "generation"
        };
        let days = list(&self.days_left);
        write!(f, "signed index: {word} {version}; days left: {days}")
    }
}

fn plural(count: usize, noun: &str) -> String {
    if count == 1 {
        format!("1 {noun}")
    } else {
        format!("{count} {noun}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_planted_index_begin_no_line() {
        let names = vec!["noarch/a\nb-1-0.conda".to_owned()];
        let patches = PatchReport {
            source: "p\nq".to_owned(),
            unmatched: names.clone(),
            ..PatchReport::default()
        };
        let report = Report {
            removed: names,
            patches: vec![patches],
            ..Report::default()
        };
        let text = report.text(true);
        assert_eq!(
            text.matches(r"  noarch/a\nb-1-0.conda").count(),
            2,
            "{text}"
        );
        assert!(text.contains(r"by p\nq:"), "{text}");
    }

    #[test]
    fn the_text_names_what_matters_and_counts_the_rest() {
        let mut report = Report {
            added: (0..30).map(|n| format!("noarch/a-{n}-0.conda")).collect(),
            removed: (0..25)
                .map(|n| format!("noarch/r-{n:02}-0.conda"))
                .collect(),
            refused: vec![Refused {
                package: "noarch/bad.conda".into(),
                reason: "is empty".into(),
            }],
            ..Report::default()
        };
        report.settle();
        let text = report.text(false);
        assert!(
            text.contains("noarch/bad.conda: is empty") && text.contains("and 5 more"),
            "{text}"
        );
        assert!(
            !text.contains("noarch/a-1-0.conda")
                && report.text(true).contains("noarch/a-1-0.conda")
        );
        assert!(
            text.contains("30 added, 0 replaced, 25 removed, 1 refused"),
            "{text}"
        );
        assert_eq!(report.outcome(), Outcome::PublishedInPart);
        report.not_published = Some("why".into());
        assert_eq!(report.outcome(), Outcome::Failed);
    }
}
