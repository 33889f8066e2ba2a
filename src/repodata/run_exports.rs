//! `run_exports.json` (CEP 12): what each package exports to those that are built with it. Owns the file's
//! form, made and read back; must not know where run exports come from, nor what patches do to them.

use std::collections::BTreeMap;

use super::{Document, Formats, Listed};
use crate::json::{self, Json, Object};
use crate::package::Format;

/// The file's name.
pub const RUN_EXPORTS: &str = "run_exports.json";

/// How much memory the values of one that is read back may take, in bytes: twice that of a million packages.
const MAX_MEMORY: u64 = 2 << 30;

/// The file's text, with an entry for every package: those of the index, and those that patches took away
/// (`taken`), since CEP 12 wants all of the index before patches.
pub fn render(document: &Document<'_>, taken: &[Listed], formats: &Formats) -> Vec<u8> {
    let info = Object::from([
        (
            "subdir".to_owned(),
            Json::String(document.subdir.as_str().to_owned()),
        ),
        ("version".to_owned(), Json::Number("1".to_owned())),
    ]);
    let mut out = String::from("{\"info\":");
    out.push_str(&Json::Object(info).compact());
    for (key, format) in [
        (",\"packages\":{", Format::TarBz2),
        (",\"packages.conda\":{", Format::Conda),
    ] {
        out.push_str(key);
        write_entries(&mut out, taken.iter().chain(&document.listed), format);
        out.push('}');
    }
    out.push('}');
    match formats.compact {
        true => out.into_bytes(),
        false => json::indented(&out),
    }
}

/// Of two with one name the later counts.
fn write_entries<'d>(out: &mut String, all: impl Iterator<Item = &'d Listed>, format: Format) {
    let entries: BTreeMap<&str, &str> = all
        .filter(|one| one.format == format)
        .map(|one| (one.name.as_str(), one.details.run_exports()))
        .collect();
    for (position, (name, run_exports)) in entries.into_iter().enumerate() {
        if position > 0 {
            out.push(',');
        }
        json::write_string(out, name);
        out.push_str(":{\"run_exports\":");
        out.push_str(run_exports);
        out.push('}');
    }
}

/// Reads one by any tool: run exports by file name. Entries of another form are passed over; `None` where the
/// whole is none.
pub fn read(bytes: &[u8]) -> Option<BTreeMap<String, Object>> {
    let Json::Object(mut top) = json::parse_index(bytes, MAX_MEMORY)? else {
        return None;
    };
    let mut found = BTreeMap::new();
    for section in ["packages", "packages.conda"] {
        match top.remove(section) {
            None => {}
            Some(Json::Object(entries)) => found.extend(entries.into_iter().filter_map(entry)),
            Some(_) => return None,
        }
    }
    Some(found)
}

fn entry((name, about): (String, Json)) -> Option<(String, Object)> {
    match about {
        Json::Object(mut about) => match about.remove("run_exports")? {
            Json::Object(run_exports) => Some((name, run_exports)),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::channel::SubdirName;
    use crate::details::{Details, Install};

    fn listed(name: &str, weak: &[&str]) -> Listed {
        let weak = weak.iter().map(|spec| Json::String((*spec).to_owned()));
        let weak: Vec<_> = weak.collect();
        let run_exports = match weak.is_empty() {
            true => Object::new(),
            false => Object::from([("weak".to_owned(), Json::Array(weak))]),
        };
        Listed {
            name: name.to_owned(),
            format: Format::of(name).unwrap(),
            record: "{}".to_owned(),
            details: Details::new(&run_exports, &Object::new(), Install::default()),
        }
    }

    fn document(subdir: &SubdirName) -> Document<'_> {
        Document {
            subdir,
            listed: vec![
                listed("b-1-0.conda", &["b >=1"]),
                listed("a-1-0.conda", &[]),
                listed("\u{fc}-1-0.tar.bz2", &["\u{fc}"]),
            ],
            removed: Vec::new(),
            signing_keys: BTreeMap::new(),
            signatures: Object::new(),
        }
    }

    #[test]
    fn every_package_has_an_entry() {
        let subdir = SubdirName::noarch();
        let taken = [
            listed("ab-1-0.conda", &["x"]),
            listed("b-1-0.conda", &["other"]),
        ];
        for compact in [true, false] {
            let formats = Formats {
                compact,
                next: true,
                ..Formats::default()
            };
            let bytes = render(&document(&subdir), &taken, &formats);
            assert_eq!(bytes.contains(&b'\n'), !compact);
            assert_eq!(
                json::parse(&bytes).unwrap().compact(),
                r#"{"info":{"subdir":"noarch","version":1},"packages":{"\u00fc-1-0.tar.bz2":{"run_exports":{"weak":["\u00fc"]}}},"packages.conda":{"a-1-0.conda":{"run_exports":{}},"ab-1-0.conda":{"run_exports":{"weak":["x"]}},"b-1-0.conda":{"run_exports":{"weak":["b >=1"]}}}}"#
            );
            let read = read(&bytes).unwrap();
            assert_eq!(read.len(), 4);
            assert!(read["a-1-0.conda"].is_empty());
            assert!(read["b-1-0.conda"].contains_key("weak"));
        }
    }

    #[test]
    fn what_has_another_form_is_passed_over() {
        let odd = br#"{"packages":{"a":{"run_exports":[]},"b":7,"c":{},"d":{"run_exports":{}}}}"#;
        assert_eq!(read(odd).unwrap().into_keys().collect::<Vec<_>>(), ["d"]);
        assert!(read(b"{}").unwrap().is_empty());
        for none in [&b""[..], b"[]", b"{\"packages\":[]}", b"\xff", b"{"] {
            assert_eq!(read(none), None);
        }
    }
}
