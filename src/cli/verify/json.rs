//! What `verify` found, as one JSON object.

use serde_json::{Map, Value, json};

use super::Outcome;
use crate::audit::{Audit, Counts, Finding, PrefixAudit, Verdict};
use crate::json::parse;
use crate::shown::told;
use crate::verify::{self, Verified};

pub fn text(outcome: &Outcome) -> String {
    let files: Vec<Value> = outcome.files.iter().map(file).collect();
    let channels: Vec<Value> = outcome.channels.iter().map(channel).collect();
    let object = json!({
        "valid": outcome.is_valid(),
        "files": files,
        "channels": channels,
        "prefix": outcome.prefix.as_ref().map(prefix),
    });
    // In ASCII: what is escaped for a terminal would be no JSON any more.
    let object = object.to_string();
    match parse(object.as_bytes()) {
        Ok(object) => object.compact() + "\n",
        Err(_) => object + "\n",
    }
}

fn file(one: &Verified) -> Value {
    let (verdict, why) = match &one.verdict {
        verify::Verdict::Valid => ("valid", None),
        verify::Verdict::Invalid => ("invalid", None),
        verify::Verdict::Error(why) => ("error", Some(why)),
    };
    json!({"file": told(&one.file), "verdict": verdict, "why": why})
}

fn counts(counts: &Counts) -> Map<String, Value> {
    let counts = counts.iter().map(|(what, count)| {
        let count = json!({"valid": count.valid, "invalid": count.invalid, "error": count.error});
        (what.as_str().to_owned(), count)
    });
    counts.collect()
}

fn prefix(audit: &PrefixAudit) -> Value {
    json!({
        "prefix": audit.prefix,
        "valid": audit.is_valid(),
        "installed": audit.installed,
        "counts": counts(&audit.counts),
        "findings": audit.findings.iter().map(finding).collect::<Vec<_>>(),
        "channels": audit.channels.iter().map(channel).collect::<Vec<_>>(),
    })
}

fn channel(audit: &Audit) -> Value {
    let signed = audit
        .signed
        .as_ref()
        .map(|signed| json!({"versions": signed.versions, "expires": signed.expires}));
    let sample = audit
        .sample
        .map(|sample| json!({"size": sample.size, "seed": sample.seed}));
    json!({
        "channel": audit.channel,
        "valid": audit.is_valid(),
        "subdirs": audit.subdirs,
        "signed_index": signed,
        "packages": audit.packages,
        "packages_read": audit.read,
        "sample": sample,
        "counts": counts(&audit.counts),
        "findings": audit.findings.iter().map(finding).collect::<Vec<_>>(),
        "notes": audit.notes,
    })
}

fn finding(finding: &Finding) -> Value {
    let (verdict, why) = match &finding.verdict {
        Verdict::Valid => ("valid", None),
        Verdict::Invalid(why) => ("invalid", Some(why)),
        Verdict::Error(why) => ("error", Some(why)),
    };
    json!({"file": finding.file, "what": finding.what.as_str(), "verdict": verdict, "why": why})
}
