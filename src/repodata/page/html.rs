//! What stands in a page before its script runs: the state of the channel, its keys, its subdirs, its index
//! files, and the policy. Owns the templates; must not know records.

use std::fmt::Write as _;

use base64ct::{Base64, Encoding};
use sha2::{Digest, Sha256};

use super::PAGE;
use super::state::{SigningKey, State, Tally};
use super::text::{bytes, count, escaped, shown};
use crate::repodata::web::segment;
use crate::repodata::{Formats, REPODATA};

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The length of the bar of states, in its own units.
const BAR: u64 = 1_000;
/// The shortest part of it that is seen.
const LEAST: u64 = 6;

/// The most characters of the names of keys in the line that unfolds them.
const MAX_NAMES: usize = 80;

/// A subdir's page around its data; `names` is the number of its packages' names.
pub(super) fn subdir(
    subdir: &str,
    names: usize,
    state: &State,
    formats: &Formats,
    data: &str,
) -> String {
    let channel = channel_name(formats);
    let files = index_files(formats)
        .into_iter()
        .map(|name| file_link("", name));
    let tally = state.subdirs.iter().find(|(name, _)| name == subdir);
    let tally = tally.map(|(_, tally)| *tally).unwrap_or_default();
    let facts = facts(&tally, names);
    let heading = format!(
        "<a href=\"../{PAGE}\"><bdi>{}</bdi></a> <span class=\"soft\">/</span> <bdi>{}</bdi>",
        escaped(channel),
        escaped(subdir)
    );
    fill(&[
        (
            "title",
            &format!("{} · {}", escaped(subdir), escaped(channel)),
        ),
        ("heading", &heading),
        ("state", &state_section(state, 1)),
        ("subdirs", &subdir_links(state, subdir)),
        (
            "list",
            &format!("Packages of <bdi>{}</bdi>", escaped(subdir)),
        ),
        ("facts", &facts),
        ("files", &files.collect::<Vec<_>>().join("\n")),
        (
            "placeholder",
            "name, version, build, license, summary, SHA-256",
        ),
        ("data", data),
    ])
}

/// The channel's page around its data.
pub(super) fn channel(state: &State, formats: &Formats, data: &str) -> String {
    let channel = channel_name(formats);
    let wanted = [
        (formats.channeldata, "channeldata.json"),
        (formats.rss, "rss.xml"),
    ];
    let files = wanted.iter().filter(|(wanted, _)| *wanted);
    let files: Vec<String> = files.map(|(_, name)| file_link("", name)).collect();
    fill(&[
        ("title", &escaped(channel)),
        ("heading", &format!("<bdi>{}</bdi>", escaped(channel))),
        ("state", &state_section(state, 3)),
        ("subdirs", &subdir_table(state, formats)),
        ("list", "Packages of all subdirs"),
        ("facts", &facts(&state.whole, state.names)),
        ("files", &files.join("\n")),
        ("placeholder", "name, version, license, summary"),
        ("data", data),
    ])
}

/// Puts values in the places of the template, in one pass: a value is never looked into.
fn fill(values: &[(&str, &str)]) -> String {
    let hashes = [hash(STYLE), hash(SCRIPT)];
    let [style_hash, script_hash] = &hashes;
    let own = [
        ("style", STYLE),
        ("script", SCRIPT),
        ("style-hash", style_hash),
        ("script-hash", script_hash),
    ];
    let size: usize = values
        .iter()
        .chain(&own)
        .map(|(_, value)| value.len())
        .sum();
    let mut out = String::with_capacity(TEMPLATE.len().saturating_add(size));
    let mut pieces = TEMPLATE.split("{{");
    out.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let (name, rest) = piece.split_once("}}").unwrap_or(("", piece));
        let value = values.iter().chain(&own).find(|(key, _)| *key == name);
        out.push_str(value.map_or("", |(_, value)| value));
        out.push_str(rest);
    }
    out
}

/// A source that a policy admits (CSP level 3, 2.3.1).
fn hash(source: &str) -> String {
    format!(
        "'sha256-{}'",
        Base64::encode_string(&Sha256::digest(source))
    )
}

fn channel_name(formats: &Formats) -> &str {
    match formats.channel_name.trim() {
        "" => "channel",
        name => name,
    }
}

/// What a subdir's index files are called, as far as they are always there.
fn index_files(formats: &Formats) -> Vec<&'static str> {
    let whole = formats.monolithic;
    let current = formats.current_repodata;
    let wanted = [
        (whole, REPODATA),
        (whole && formats.zst, "repodata.json.zst"),
        (whole && formats.bz2, "repodata.json.bz2"),
        (current, "current_repodata.json"),
        (formats.shards, "repodata_shards.msgpack.zst"),
        (formats.run_exports, "run_exports.json"),
    ];
    let wanted = wanted.into_iter().filter(|(wanted, _)| *wanted);
    wanted.map(|(_, name)| name).collect()
}

fn file_link(folder: &str, name: &str) -> String {
    format!("<a href=\"{folder}{name}\">{name}</a>")
}

fn facts(tally: &Tally, names: usize) -> String {
    let names = u64::try_from(names).unwrap_or(u64::MAX);
    format!(
        "{} {}, {} {}, {}",
        count(tally.packages),
        plural(tally.packages, "package", "packages"),
        count(names),
        plural(names, "name", "names"),
        bytes(tally.bytes)
    )
}

fn plural<'a>(number: u64, one: &'a str, many: &'a str) -> &'a str {
    if number == 1 { one } else { many }
}

/// The numbers, the bar of states, and the keys; up to `most` keys are shown unfolded.
fn state_section(state: &State, most: usize) -> String {
    let whole = &state.whole;
    let figure = |name: &str, value: &str| format!("<div><dt>{name}</dt><dd>{value}</dd></div>\n");
    let names = u64::try_from(state.names).unwrap_or(u64::MAX);
    let keys = u64::try_from(state.keys.len()).unwrap_or(u64::MAX);
    let mut out = String::from("<div class=\"overview\">\n<dl class=\"figures\">\n");
    out.push_str(&figure("Packages", &count(whole.packages)));
    out.push_str(&figure("Names", &count(names)));
    out.push_str(&figure("Size", &bytes(whole.bytes)));
    out.push_str(&figure("Signing keys", &count(keys)));
    out.push_str("</dl>\n<div>\n");
    out.push_str(&bar(whole));
    out.push_str(&legend(whole));
    out.push_str("</div>\n</div>\n");
    out.push_str(&key_list(&state.keys, most));
    out
}

/// The states as (class, what it is called, packages).
fn states(tally: &Tally) -> [(&'static str, &'static str, u64); 3] {
    [
        ("checked", "signed, signature checked", tally.checked),
        ("unverified", "signed by an unknown key", tally.unverified),
        ("unsigned", "unsigned", tally.unsigned),
    ]
}

/// A picture of the legend; a state that occurs is never too small to be seen.
fn bar(tally: &Tally) -> String {
    let mut out = format!(
        "<svg class=\"bar\" viewBox=\"0 0 {BAR} 10\" preserveAspectRatio=\"none\" aria-hidden=\"true\">"
    );
    let mut from = 0_u64;
    for ((class, _, _), width) in states(tally).into_iter().zip(widths(tally)) {
        // Writing into a String can't fail.
        let _ = write!(
            out,
            "<rect class=\"{class}\" x=\"{from}\" width=\"{width}\" height=\"10\"/>"
        );
        from = from.saturating_add(width);
    }
    out + "</svg>\n"
}

/// The parts of the bar: the longest has what the others leave.
fn widths(tally: &Tally) -> [u64; 3] {
    let mut widths = states(tally).map(|(_, _, packages)| {
        let share = u128::from(packages) * u128::from(BAR) / u128::from(tally.packages.max(1));
        let least = if packages == 0 { 0 } else { LEAST };
        u64::try_from(share).unwrap_or(BAR).max(least)
    });
    let sum: u64 = widths.iter().sum();
    if let Some(longest) = widths.iter_mut().max().filter(|longest| **longest > 0) {
        let others = sum.saturating_sub(*longest);
        *longest = BAR.saturating_sub(others);
    }
    widths
}

fn legend(tally: &Tally) -> String {
    let mut out = String::from("<ul class=\"legend\">\n");
    let revoked = ("revoked", "revoked", tally.revoked);
    let revoked = (tally.revoked > 0).then_some(revoked);
    for (class, name, packages) in states(tally).into_iter().chain(revoked) {
        let none = if packages == 0 { " none" } else { "" };
        let number = count(packages);
        let _ = writeln!(
            out,
            "<li class=\"{class}{none}\"><b>{number}</b> {name}</li>"
        );
    }
    out + "</ul>\n"
}

fn key_list(keys: &[SigningKey], most: usize) -> String {
    if keys.is_empty() {
        return String::new();
    }
    let open = if keys.len() <= most { " open" } else { "" };
    let mut names: Vec<&str> = keys.iter().map(|key| key.name.as_str()).collect();
    names.dedup();
    let names = shown(&names.join(", "), MAX_NAMES).into_owned();
    let mut out = format!(
        "<details class=\"keys\"{open}><summary>Signing keys <span class=\"soft\">{}</span></summary>\n<ul>\n",
        escaped(&names)
    );
    for key in keys {
        let _ = writeln!(
            out,
            "<li><span class=\"key-name\">{}</span> <span class=\"soft\">RSA {} bits, {} {}</span>\
             <code class=\"fingerprint\">{}</code></li>",
            escaped(key.name.as_str()),
            key.bits,
            count(key.packages),
            plural(key.packages, "package", "packages"),
            grouped(&key.fingerprint.to_string())
        );
    }
    out + "</ul>\n<p>To check a package yourself, get the key from where you trust it, compare its fingerprint \
           (<code>sigindex keys</code>), and run <code>sigindex verify FILE</code> with <code>FILE.sig</code> beside it.</p>\n</details>\n"
}

/// Digits in groups that people can compare; the groups are no characters, so that copies have none.
fn grouped(digits: &str) -> String {
    let digits: Vec<char> = digits.chars().collect();
    let groups = digits.chunks(8).map(|group| {
        let group: String = group.iter().collect();
        format!("<span>{group}</span>")
    });
    groups.collect()
}

/// The other pages, from a subdir's.
fn subdir_links(state: &State, current: &str) -> String {
    let mut out = String::from("<nav class=\"subdirs\" aria-label=\"Subdirs\"><ul>\n");
    let _ = writeln!(out, "<li><a href=\"../{PAGE}\">All subdirs</a></li>");
    for (name, tally) in &state.subdirs {
        let is_current = if name == current {
            " aria-current=\"page\""
        } else {
            ""
        };
        let _ = writeln!(
            out,
            "<li><a href=\"../{}/{PAGE}\"{is_current}><bdi>{}</bdi> <small>{}</small></a></li>",
            segment(name),
            escaped(name),
            count(tally.packages)
        );
    }
    out + "</ul></nav>\n"
}

/// The subdirs with their counts, on the channel's page.
fn subdir_table(state: &State, formats: &Formats) -> String {
    let mut out = String::from(
        "<div class=\"scroll\"><table class=\"subdir-table\">\n<caption class=\"unseen\">Subdirs</caption>\n<thead><tr>\
         <th scope=\"col\">Subdir</th><th scope=\"col\" class=\"n\">Packages</th><th scope=\"col\" class=\"n\">Size</th>\
         <th scope=\"col\" class=\"n\">Checked</th><th scope=\"col\" class=\"n\">Unknown key</th>\
         <th scope=\"col\" class=\"n\">Unsigned</th><th scope=\"col\">Index files</th></tr></thead>\n<tbody>\n",
    );
    for (name, tally) in &state.subdirs {
        let folder = format!("{}/", segment(name));
        let files = index_files(formats).into_iter();
        let files: Vec<String> = files.map(|file| file_link(&folder, file)).collect();
        let _ = write!(
            out,
            "<tr><th scope=\"row\"><a href=\"{folder}{PAGE}\"><bdi>{}</bdi></a></th><td class=\"n\">{}</td><td class=\"n\">{}</td>",
            escaped(name),
            count(tally.packages),
            bytes(tally.bytes)
        );
        for (class, _, packages) in states(tally) {
            let class = if packages == 0 { "none" } else { class };
            let _ = write!(out, "<td class=\"n {class}\">{}</td>", count(packages));
        }
        let _ = writeln!(out, "<td class=\"files\">{}</td></tr>", files.join(" "));
    }
    out + "</tbody></table></div>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_that_occurs_is_seen_in_the_bar() {
        for (checked, unverified, unsigned, is) in [
            (0, 0, 0, [0, 0, 0]),
            (5, 0, 0, [1_000, 0, 0]),
            (1, 1, 1, [333, 333, 334]),
            (50_000, 1, 1, [988, 6, 6]),
            (1, 0, u64::MAX - 1, [6, 0, 994]),
        ] {
            let tally = Tally {
                packages: checked + unverified + unsigned,
                checked,
                unverified,
                unsigned,
                ..Tally::default()
            };
            assert_eq!(widths(&tally), is);
        }
    }

    #[test]
    fn values_are_not_looked_into() {
        let page = fill(&[("title", "{{data}}"), ("data", "{\"a\":{\"b\":{}}}")]);
        assert!(page.contains("<title>{{data}}</title>"));
        assert!(page.contains("id=\"data\">{\"a\":{\"b\":{}}}</script>"));
        assert!(page.contains(&hash(STYLE)) && page.contains(&hash(SCRIPT)));
    }
}
