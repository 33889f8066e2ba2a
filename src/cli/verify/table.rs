//! What `verify` found, as people read it: a line for each file, and for channels a table of what is wrong, with
//! counts. On a terminal lines are broken at its width; elsewhere each finding has one line.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::IsTerminal as _;

use super::super::options::Verbosity;
use super::Outcome;
use crate::audit::{Audit, Counts, Finding, PrefixAudit, Verdict};
use crate::shown::{line, shown};
use crate::verify::{self, Verified};

/// The narrowest column of file names.
const NARROW: usize = 40;

/// The widest: what is longer pushes its line out.
const WIDE: usize = 72;

/// What stands before the broken end of a line.
const INDENT: &str = "    ";

pub fn text(outcome: &Outcome, verbosity: &Verbosity) -> String {
    let mut text = String::new();
    for one in &outcome.files {
        line_of_file(&mut text, one, verbosity);
    }
    let width = terminal_width();
    for audit in &outcome.channels {
        channel(&mut text, audit, verbosity, width);
    }
    if let Some(audit) = &outcome.prefix {
        for audit in &audit.channels {
            channel(&mut text, audit, verbosity, width);
        }
        prefix(&mut text, audit, verbosity, width);
    }
    text
}

fn prefix(text: &mut String, audit: &PrefixAudit, verbosity: &Verbosity, width: Option<usize>) {
    table(text, &audit.prefix, &audit.findings, width);
    if !verbosity.quiet {
        let verdict = said(audit.is_valid());
        let (name, installed) = (&audit.prefix, audit.installed);
        let line = format!("{name}: {verdict} ({installed} packages are installed)");
        broken(text, &line, width);
        broken(text, &counted(&audit.counts), width);
        let note = format!(
            "{INDENT}note: what other programs, such as pip, put there is not seen, nor whether installed files were changed"
        );
        broken(text, &note, width);
    }
}

fn said(is_valid: bool) -> &'static str {
    match is_valid {
        true => "valid",
        false => "NOT VALID",
    }
}

fn line_of_file(text: &mut String, one: &Verified, verbosity: &Verbosity) {
    let verdict = match &one.verdict {
        verify::Verdict::Valid if verbosity.quiet => return,
        verify::Verdict::Valid => "VALID".to_owned(),
        verify::Verdict::Invalid => "INVALID".to_owned(),
        verify::Verdict::Error(why) => format!("ERROR: {}", one_line(why)),
    };
    // Writing into a String can't fail.
    let file = shown(&one.file);
    let _ = writeln!(text, "{file:<NARROW$} {verdict}");
}

fn one_line(text: &str) -> String {
    text.replace('\n', " ")
}

fn channel(text: &mut String, audit: &Audit, verbosity: &Verbosity, width: Option<usize>) {
    table(text, &audit.channel, &audit.findings, width);
    if !verbosity.quiet {
        summary(text, audit, width);
    }
}

fn table(text: &mut String, root: &str, findings: &[Finding], width: Option<usize>) {
    let rows = rows(root, findings);
    let longest = rows.iter().map(|row| row.file.chars().count()).max();
    let column = longest.unwrap_or(0).clamp(NARROW, WIDE);
    for Row { file, verdict } in &rows {
        broken(text, &format!("{file:<column$} {verdict}"), width);
    }
}

struct Row {
    file: String,
    verdict: String,
}

/// A row for each fault; what is valid in every way has one.
fn rows(root: &str, findings: &[Finding]) -> Vec<Row> {
    let faulty = |finding: &&Finding| finding.verdict != Verdict::Valid;
    let faults: BTreeSet<&str> = findings
        .iter()
        .filter(faulty)
        .map(|finding| finding.file.as_str())
        .collect();
    let mut named = BTreeSet::new();
    let mut rows = Vec::new();
    for Finding {
        file,
        what,
        verdict,
    } in findings
    {
        let verdict = match verdict {
            Verdict::Valid if faults.contains(file.as_str()) || !named.insert(file) => continue,
            Verdict::Valid => "VALID".to_owned(),
            Verdict::Invalid(why) => format!("{:<9} INVALID: {}", what.as_str(), one_line(why)),
            Verdict::Error(why) => format!("{:<9} ERROR: {}", what.as_str(), one_line(why)),
        };
        let file = match file.as_str() {
            "" => root.to_owned(),
            file => format!("{root}/{}", line(file)),
        };
        rows.push(Row { file, verdict });
    }
    rows
}

fn summary(text: &mut String, audit: &Audit, width: Option<usize>) {
    let verdict = said(audit.is_valid());
    let name = &audit.channel;
    let subdirs = audit.subdirs.join(", ");
    broken(text, &format!("{name}: {verdict} ({subdirs})"), width);
    broken(text, &counted(&audit.counts), width);
    if let Some(signed) = &audit.signed {
        let of = |(role, version): (&&str, &u64)| format!("{role} {version}");
        let versions: Vec<_> = signed.versions.iter().map(of).collect();
        let line = format!("{INDENT}signed index: {}", versions.join(", "));
        broken(text, &line, width);
    }
    if let Some(sample) = audit.sample {
        let (read, all, seed) = (audit.read, audit.packages, sample.seed);
        let line = format!("{INDENT}sample: {read} of {all} packages; again with --seed {seed}");
        broken(text, &line, width);
    }
    for note in &audit.notes {
        broken(text, &format!("{INDENT}note: {}", line(note)), width);
    }
}

fn counted(counts: &Counts) -> String {
    let mut counted = Vec::new();
    for (what, count) in counts {
        let mut said = format!("{} {}", count.valid, what.as_str());
        for (number, word) in [(count.invalid, "invalid"), (count.error, "in error")] {
            if number > 0 {
                let _ = write!(said, " ({number} {word})");
            }
        }
        counted.push(said);
    }
    let counted = match counted.is_empty() {
        true => "nothing".to_owned(),
        false => counted.join(", "),
    };
    format!("{INDENT}checked and valid: {counted}")
}

/// A line, broken between words where a terminal is narrower.
fn broken(text: &mut String, line: &str, width: Option<usize>) {
    let Some(width) = width else {
        text.push_str(line);
        text.push('\n');
        return;
    };
    let mut length = 0;
    for (position, word) in line.split(' ').enumerate() {
        let needed = word.chars().count().saturating_add(1);
        if position > 0
            && length > INDENT.len()
            && needed.saturating_add(length) > width
            && !word.is_empty()
        {
            while text.ends_with(' ') {
                text.pop();
            }
            text.push('\n');
            text.push_str(INDENT);
            length = INDENT.len();
        } else if position > 0 {
            text.push(' ');
        }
        text.push_str(word);
        length = length.saturating_add(needed);
    }
    text.push('\n');
}

fn terminal_width() -> Option<usize> {
    let stdout = std::io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(&stdout).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns >= 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_between_words_where_the_terminal_ends() {
        let mut text = String::new();
        broken(
            &mut text,
            "file          ERROR one two three four",
            Some(20),
        );
        assert_eq!(text, "file          ERROR\n    one two three\n    four\n");
        let mut text = String::new();
        broken(&mut text, "a line that stays as long as it is", None);
        assert_eq!(text, "a line that stays as long as it is\n");
    }
}
