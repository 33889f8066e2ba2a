//! What a worker's run did, which publishes nothing. Owns its counts, its lists and their two forms, text and JSON.

use std::fmt::{self, Display};

use serde::Serialize;

use super::{Outcome, Refused, SHOWN, list, plural, shorten};

/// What one run of `scan` did, or would do.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Scanned {
    /// The channel's folder.
    pub channel: String,
    /// Whether this only says what would be done.
    pub dry_run: bool,
    /// Which packages were this worker's: `all`, `claimed`, or a part as in `2/4`.
    pub share: String,
    /// How many of everything.
    pub counts: ScanCounts,
    /// Packages that were opened and read.
    pub opened: Vec<String>,
    /// Packages that were signed.
    pub signed: Vec<String>,
    /// Packages that will be left out of the index.
    pub refused: Vec<Refused>,
    /// What an operator should know.
    pub warnings: Vec<String>,
    /// Seconds from start to end.
    pub seconds: f64,
}

/// How many packages of a worker's share, and of which kind.
#[derive(Debug, Default, Clone, Serialize)]
pub struct ScanCounts {
    /// Opened and read.
    pub opened: usize,
    /// The bytes of those, as far as they could be read.
    pub bytes: u64,
    /// Signed.
    pub signed: usize,
    /// Known from an earlier run, of whichever worker, and not opened.
    pub reused: usize,
    /// Refused.
    pub refused: usize,
}

impl Scanned {
    /// How the run ended, or how the real run would.
    pub fn outcome(&self) -> Outcome {
        match self.refused.is_empty() {
            true => Outcome::Published,
            false => Outcome::PublishedInPart,
        }
    }

    /// Brings the counts in line with the lists, and the lists in order.
    pub fn settle(&mut self) {
        self.opened.sort();
        self.signed.sort();
        self.refused.sort_by(|a, b| a.package.cmp(&b.package));
        self.refused
            .iter_mut()
            .for_each(|one| shorten(&mut one.reason));
        self.warnings.iter_mut().for_each(shorten);
        self.counts.opened = self.opened.len();
        self.counts.signed = self.signed.len();
        self.counts.refused = self.refused.len();
    }

    /// The report for a person. With `all`, long lists are shown whole.
    pub fn text(&self, all: bool) -> String {
        let mut out = String::new();
        let refusals: Vec<String> = self.refused.iter().map(Refused::line).collect();
        let shown = if all || self.dry_run {
            usize::MAX
        } else {
            SHOWN
        };
        let only_if_asked = if shown > SHOWN { shown } else { 0 };
        for (word, names, limit) in [
            ("refused", &refusals, shown),
            ("opened", &self.opened, only_if_asked),
            ("signed", &self.signed, only_if_asked),
        ] {
            let title = match self.dry_run {
                true => format!("would be {word}"),
                false => word.to_owned(),
            };
            list(&mut out, limit, &title, names);
        }
        out + &self.to_string()
    }
}

impl Display for Scanned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = &self.counts;
        let share = match self.share.as_str() {
            "all" => String::new(),
            "claimed" => " as claimed from all".to_owned(),
            part => format!(" of part {part}"),
        };
        writeln!(
            f,
            "{} opened{share} ({}): {} signed, {} refused; {} known from the cache",
            plural(counts.opened, "package"),
            indicatif::HumanBytes(counts.bytes),
            counts.signed,
            counts.refused,
            counts.reused
        )?;
        let done = match self.dry_run {
            true => "nothing would be published",
            false => "nothing is published yet: `sigindex publish` does that",
        };
        writeln!(f, "{done} ({:.2} s)", self.seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_names_what_was_refused_and_counts_the_rest() {
        let mut report = Scanned {
            share: "2/4".into(),
            opened: vec!["noarch/b-1-0.conda".into(), "noarch/a-1-0.conda".into()],
            refused: vec![Refused {
                package: "noarch/bad.conda".into(),
                reason: "is empty".into(),
            }],
            ..Scanned::default()
        };
        report.settle();
        let text = report.text(false);
        assert!(text.contains("noarch/bad.conda: is empty"), "{text}");
        assert!(text.contains("2 packages opened of part 2/4"), "{text}");
        assert!(!text.contains("a-1-0") && report.text(true).contains("a-1-0"));
        assert_eq!(report.outcome(), Outcome::PublishedInPart);
        report.dry_run = true;
        assert!(report.text(false).contains("would be opened"));
    }
}
