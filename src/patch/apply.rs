//! From instructions to changed records. Owns the order (fixes, revoke, remove), which names an instruction means,
//! and what is reported of it; only records that are touched are parsed and printed again.

use std::collections::{BTreeSet, HashSet};

use serde::{Deserialize, Serialize};

use super::merge::{differing, merge};
use super::{Fix, Instructions, Parts, RUN_EXPORTS};
use crate::details::Details;
use crate::json::{self, Json, Object};
use crate::package::Format;
use crate::record::may_name;
use crate::repodata::{Document, Listed};

const REVOKED: &str = "revoked";
const DEPENDS: &str = "depends";
/// A name that no package has: what depends on it can't be installed.
const REVOKED_MARK: &str = "package_has_been_revoked";

/// What became of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// For the run's report.
    pub report: PatchReport,
    /// The records that were taken away, as they stood after fixes.
    pub taken: Vec<Listed>,
}

/// What the instructions for one subdir did. All lists are sorted, in whatever order the packages were listed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchReport {
    /// The subdir.
    pub subdir: String,
    /// Where the instructions come from.
    pub source: String,
    /// Packages that fixes changed, and the keys that are not as they were; `run_exports` among them.
    pub changed: Vec<PackageKeys>,
    /// Packages that the instructions revoke.
    pub revoked: Vec<String>,
    /// Packages that they took away.
    pub removed: Vec<String>,
    /// Names in the instructions that no package has.
    pub unmatched: Vec<String>,
    /// Packages with fixes for keys that can't be patched, and these keys.
    pub ignored: Vec<PackageKeys>,
    /// Keys at the top of the instructions that mean nothing.
    pub unknown: Vec<String>,
    /// Packages whose records, left by another indexer, can't be read, and so were not changed.
    pub unreadable: Vec<String>,
}

/// A package and keys of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PackageKeys {
    /// The file name.
    pub package: String,
    /// The keys, sorted.
    pub keys: Vec<String>,
}

impl Instructions {
    /// Changes the records of `document` and takes packages away: fixes first, then `revoke`, then `remove`. To apply
    /// the same instructions once more changes nothing.
    pub fn apply(&self, document: &mut Document<'_>) -> Applied {
        let parts = &*self.0;
        let mut report = PatchReport {
            subdir: document.subdir.to_string(),
            source: parts.source.clone(),
            unmatched: parts.unmatched(&document.listed),
            unknown: parts.unknown.clone(),
            ..PatchReport::default()
        };
        for one in &mut document.listed {
            parts.patch(one, &mut report);
        }
        let removes = |one: &mut Listed| means(&parts.remove, one);
        let taken: Vec<Listed> = document.listed.extract_if(.., removes).collect();
        report.removed = taken.iter().map(|one| one.name.clone()).collect();
        document.removed.extend(report.removed.iter().cloned());
        document.removed.sort();
        document.removed.dedup();
        report.settle();
        Applied { report, taken }
    }
}

impl PatchReport {
    fn settle(&mut self) {
        self.changed.sort();
        self.ignored.sort();
        self.revoked.sort();
        self.removed.sort();
        self.unreadable.sort();
    }
}

/// The name under which instructions for the older format mean a package of the newer one too.
fn older_twin(one: &Listed) -> Option<String> {
    let stem = one.name.strip_suffix(Format::Conda.extension())?;
    Some(format!("{stem}{}", Format::TarBz2.extension()))
}

/// The other way round.
fn newer_twin(name: &str) -> Option<String> {
    let stem = name.strip_suffix(Format::TarBz2.extension())?;
    Some(format!("{stem}{}", Format::Conda.extension()))
}

/// Whether a package is among these names, or its older twin is.
fn means(names: &BTreeSet<String>, one: &Listed) -> bool {
    !names.is_empty()
        && (names.contains(&one.name) || older_twin(one).is_some_and(|twin| names.contains(&twin)))
}

impl Parts {
    /// The names that mean no package of these.
    fn unmatched(&self, listed: &[Listed]) -> Vec<String> {
        let there: HashSet<&str> = listed.iter().map(|one| one.name.as_str()).collect();
        let stands = |name: &str| {
            there.contains(name) || newer_twin(name).is_some_and(|twin| there.contains(&*twin))
        };
        let names = self
            .packages
            .keys()
            .chain(&self.revoke)
            .chain(&self.remove)
            .filter(|name| !stands(name));
        // Here no name means a twin, nor a package of the older format.
        let conda = self.packages_conda.keys().filter(|name| {
            !name.ends_with(Format::Conda.extension()) || !there.contains(name.as_str())
        });
        let unmatched: BTreeSet<&String> = names.chain(conda).collect();
        unmatched.into_iter().cloned().collect()
    }

    /// The fixes for a package, in the order in which they apply.
    fn fixes(&self, one: &Listed) -> Vec<&Fix> {
        let twin = older_twin(one).and_then(|twin| self.packages.get(&twin));
        let own = self.packages.get(&one.name);
        let conda = match one.name.ends_with(Format::Conda.extension()) {
            true => self.packages_conda.get(&one.name),
            false => None,
        };
        [twin, own, conda].into_iter().flatten().collect()
    }

    /// Applies the fixes for one package, and revokes it.
    fn patch(&self, one: &mut Listed, report: &mut PatchReport) {
        let fixes = self.fixes(one);
        let revoke = means(&self.revoke, one);
        if fixes.is_empty() && !revoke {
            return;
        }
        let [mut keys, refused] = match change_record(&mut one.record, &fixes, revoke) {
            Ok(keys) => {
                if revoke {
                    report.revoked.push(one.name.clone());
                }
                keys
            }
            Err(NotARecord) => {
                report.unreadable.push(one.name.clone());
                [Vec::new(), Vec::new()]
            }
        };
        if change_run_exports(&mut one.details, &fixes) {
            keys.push(RUN_EXPORTS.to_owned());
        }
        keys.sort();
        let ignored = fixes.iter().flat_map(|fix| &fix.ignored).chain(&refused);
        let ignored: BTreeSet<&String> = ignored.collect();
        let ignored = ignored.into_iter().cloned().collect();
        for (list, keys) in [(&mut report.changed, keys), (&mut report.ignored, ignored)] {
            if !keys.is_empty() {
                let package = one.name.clone();
                list.push(PackageKeys { package, keys });
            }
        }
    }
}

/// A record's text is not the JSON of an object.
struct NotARecord;

/// What a package goes by: a fix may correct it, and not take it away.
const IDENTITY: [&str; 4] = ["build", "name", "subdir", "version"];

/// Changes a record's text, where anything in it changes; gives the keys that fixes changed, and those that they could
/// not.
fn change_record(
    record: &mut String,
    fixes: &[&Fix],
    revoke: bool,
) -> Result<[Vec<String>; 2], NotARecord> {
    if !revoke && fixes.iter().all(|fix| fix.fields.is_empty()) {
        return Ok([Vec::new(), Vec::new()]);
    }
    let Ok(Json::Object(before)) = json::parse(record.as_bytes()) else {
        return Err(NotARecord);
    };
    let mut after = before.clone();
    for fix in fixes {
        merge(&mut after, &fix.fields);
    }
    let refused = keep_identity(&before, &mut after);
    let mut keys = differing(&before, &after);
    if revoke {
        revoke_record(&mut after);
        // A fix of `depends` takes the mark of an earlier application away, and it comes back here.
        keys.retain(|key| before.get(key) != after.get(key));
    }
    if before != after {
        *record = Json::Object(after).compact();
    }
    Ok([keys, refused])
}

/// Puts back what no package may have for a name, and gives the keys.
fn keep_identity(before: &Object, after: &mut Object) -> Vec<String> {
    let mut refused = Vec::new();
    for key in IDENTITY {
        let sound = after.get(key).and_then(Json::as_str).is_some_and(may_name);
        if sound || before.get(key) == after.get(key) {
            continue;
        }
        match before.get(key) {
            Some(value) => after.insert(key.to_owned(), value.clone()),
            None => after.remove(key),
        };
        refused.push(key.to_owned());
    }
    refused
}

fn revoke_record(fields: &mut Object) {
    fields.insert(REVOKED.to_owned(), Json::Bool(true));
    let mark = Json::String(REVOKED_MARK.to_owned());
    let mut depends = match fields.remove(DEPENDS) {
        Some(Json::Array(depends)) => depends,
        // Very old packages have one string.
        Some(Json::String(one)) => vec![Json::String(one)],
        _ => Vec::new(),
    };
    if !depends.contains(&mark) {
        depends.push(mark);
    }
    fields.insert(DEPENDS.to_owned(), Json::Array(depends));
}

/// Changes a package's run exports; whether anything in them is not as it was.
fn change_run_exports(details: &mut Details, fixes: &[&Fix]) -> bool {
    if fixes.iter().all(|fix| fix.run_exports.is_empty()) {
        return false;
    }
    let before = match json::parse(details.run_exports().as_bytes()) {
        Ok(Json::Object(run_exports)) => run_exports,
        _ => Object::new(),
    };
    let mut holder = Object::from([(RUN_EXPORTS.to_owned(), Json::Object(before.clone()))]);
    for fix in fixes {
        merge(&mut holder, &fix.run_exports);
    }
    let after = match holder.remove(RUN_EXPORTS) {
        Some(Json::Object(run_exports)) => run_exports,
        _ => Object::new(),
    };
    let changed = before != after;
    if changed {
        *details = details.with_run_exports(&after);
    }
    changed
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::channel::SubdirName;
    use crate::details::Install;
    use crate::patch::PROTECTED;

    const RECORD: &str = r#"{"attestations_sha256":"cc","depends":["a","b"],"indexed_timestamp":1,"md5":"aa","name":"x","sha256":"bb","sig":".","signature":{"key":"K"},"size":5}"#;

    fn listed(name: &str, record: &str) -> Listed {
        let weak = Json::Array(vec![Json::String("w".to_owned())]);
        let run_exports = Object::from([("weak".to_owned(), weak)]);
        Listed {
            name: name.to_owned(),
            format: Format::of(name).unwrap(),
            record: record.to_owned(),
            details: Details::new(&run_exports, &Object::new(), Install::default()),
        }
    }

    fn document(subdir: &SubdirName, listed: Vec<Listed>) -> Document<'_> {
        Document {
            subdir,
            listed,
            removed: Vec::new(),
            signing_keys: BTreeMap::new(),
            signatures: Object::new(),
        }
    }

    /// What becomes of packages that all have [`RECORD`].
    fn applied(names: &[&str], instructions: &str) -> (Vec<Listed>, Vec<String>, Applied) {
        let subdir = SubdirName::noarch();
        let mut document = document(
            &subdir,
            names.iter().map(|name| listed(name, RECORD)).collect(),
        );
        let instructions = Instructions::parse("src", instructions.as_bytes()).unwrap();
        let applied = instructions.apply(&mut document);
        let once = (document.listed.clone(), document.removed.clone());
        let again = instructions.apply(&mut document);
        assert_eq!(once, (document.listed.clone(), document.removed));
        assert_eq!((again.report.changed, again.taken), (vec![], vec![]));
        (document.listed, once.1, applied)
    }

    fn field(one: &Listed, key: &str) -> Option<String> {
        match json::parse(one.record.as_bytes()).unwrap() {
            Json::Object(fields) => fields.get(key).map(Json::compact),
            _ => panic!("{}", one.record),
        }
    }

    fn keys(list: &[PackageKeys]) -> Vec<String> {
        let one = |it: &PackageKeys| format!("{}: {}", it.package, it.keys.join(" "));
        list.iter().map(one).collect()
    }

    #[test]
    fn a_fix_means_the_newer_twin_too() {
        let (listed, _, applied) = applied(
            &["y.conda", "x.conda", "x.tar.bz2"],
            r#"{"packages":{"x.tar.bz2":{"depends":["c"],"license":"MIT"},"y.conda":{"license":"BSD"},"z.tar.bz2":{}},
                "packages.conda":{"x.conda":{"license":null,"name":"X"},"x.tar.bz2":{"name":"no"},"q.conda":{}}}"#,
        );
        let of = |key| {
            listed
                .iter()
                .map(|one| field(one, key).unwrap_or_default())
                .collect::<Vec<_>>()
        };
        assert_eq!(of("depends"), [r#"["a","b"]"#, r#"["c"]"#, r#"["c"]"#]);
        assert_eq!(of("license"), [r#""BSD""#, "", r#""MIT""#]);
        assert_eq!(of("name"), [r#""x""#, r#""X""#, r#""x""#]);
        assert_eq!(
            keys(&applied.report.changed),
            [
                "x.conda: depends name",
                "x.tar.bz2: depends license",
                "y.conda: license"
            ]
        );
        assert_eq!(
            applied.report.unmatched,
            ["q.conda", "x.tar.bz2", "z.tar.bz2"]
        );
        assert_eq!(
            (&*applied.report.subdir, &*applied.report.source),
            ("noarch", "src")
        );
    }

    #[test]
    fn a_name_of_the_older_format_is_matched_by_its_twin() {
        let (_, _, applied) = applied(
            &["x.conda"],
            r#"{"packages":{"x.tar.bz2":{"a":1}},"revoke":["x.tar.bz2"],"remove":["x","conda",".conda"]}"#,
        );
        assert_eq!(applied.report.unmatched, [".conda", "conda", "x"]);
    }

    #[test]
    fn what_says_what_a_file_is_stays() {
        let all = PROTECTED.map(|key| format!(r#""{key}":null"#)).join(",");
        let (listed, _, applied) = applied(
            &["x.conda"],
            &format!(
                r#"{{"packages":{{"x.tar.bz2":{{{all}}}}},"packages.conda":{{"x.conda":{{"md5":7,"run_exports":{{}}}}}}}}"#
            ),
        );
        assert_eq!(listed[0].record, RECORD);
        assert!(applied.report.changed.is_empty());
        assert_eq!(
            keys(&applied.report.ignored),
            [
                "x.conda: attestations_sha256 indexed_timestamp md5 run_exports sha256 sig signature signatures size"
            ]
        );
    }

    #[test]
    fn version_2_patches_run_exports() {
        for (fix, conda_fix, run_exports, keys_changed) in [
            (
                r#"{"weak":["v"]}"#,
                "{}",
                r#"{"weak":["v"]}"#,
                "run_exports",
            ),
            (
                r#"{"strong":["s"]}"#,
                r#"{"weak":null}"#,
                r#"{"strong":["s"]}"#,
                "run_exports",
            ),
            (
                "null",
                r#"{"noarch":["n"]}"#,
                r#"{"noarch":["n"]}"#,
                "run_exports",
            ),
            ("null", "{}", "{}", "run_exports"),
            (
                r#"{"weak":["w"],"strong":null}"#,
                "{}",
                r#"{"weak":["w"]}"#,
                "",
            ),
        ] {
            let (listed, _, applied) = applied(
                &["x.conda"],
                &format!(
                    r#"{{"patch_instructions_version":2,"packages":{{"x.tar.bz2":{{"run_exports":{fix}}}}},
                        "packages.conda":{{"x.conda":{{"run_exports":{conda_fix}}}}}}}"#
                ),
            );
            assert_eq!(listed[0].details.run_exports(), run_exports, "{fix}");
            assert_eq!(listed[0].record, RECORD);
            let changed = applied.report.changed.first();
            assert_eq!(
                changed.map_or(String::new(), |it| it.keys.join(" ")),
                keys_changed,
                "{fix}"
            );
        }
    }

    #[test]
    fn revoked_packages_depend_on_what_does_not_exist() {
        let (listed, removed, applied) = applied(
            &["x.tar.bz2", "x.conda", "y.conda"],
            r#"{"packages":{"x.tar.bz2":{"depends":["c"]}},"revoke":["x.tar.bz2","x.tar.bz2","no.conda"]}"#,
        );
        for one in &listed[..2] {
            let depends = field(one, "depends").unwrap();
            assert_eq!(depends, r#"["c","package_has_been_revoked"]"#);
            assert_eq!(field(one, "revoked").unwrap(), "true");
        }
        assert_eq!(listed[2].record, RECORD);
        assert_eq!(applied.report.revoked, ["x.conda", "x.tar.bz2"]);
        assert_eq!(
            keys(&applied.report.changed),
            ["x.conda: depends", "x.tar.bz2: depends"]
        );
        assert_eq!(applied.report.unmatched, ["no.conda"]);
        assert!(removed.is_empty());
        for (depends, revoked) in [
            ("", r#"["package_has_been_revoked"]"#),
            (r#""depends":null"#, r#"["package_has_been_revoked"]"#),
            (r#""depends":"a""#, r#"["a","package_has_been_revoked"]"#),
            (
                r#""depends":["package_has_been_revoked","a"]"#,
                r#"["package_has_been_revoked","a"]"#,
            ),
        ] {
            let mut record = format!("{{{depends}}}");
            assert!(change_record(&mut record, &[], true).is_ok());
            assert_eq!(record, format!(r#"{{"depends":{revoked},"revoked":true}}"#));
        }
    }

    #[test]
    fn removed_packages_are_named_where_they_were() {
        let (listed, removed, applied) = applied(
            &["z.conda", "x.conda", "b.tar.bz2", "a.conda", "b.conda"],
            r#"{"remove":["x.tar.bz2","b.tar.bz2","a.conda","no.conda"],"packages":{"x.tar.bz2":{"name":"X"}}}"#,
        );
        assert_eq!(listed.len(), 1);
        assert_eq!(removed, ["a.conda", "b.conda", "b.tar.bz2", "x.conda"]);
        assert_eq!(applied.report.removed, removed);
        assert_eq!(applied.taken.len(), 4);
        assert_eq!(applied.taken[0].name, "x.conda");
        assert_eq!(field(&applied.taken[0], "name").unwrap(), r#""X""#);
        assert_eq!(applied.report.unmatched, ["no.conda"]);
    }

    #[test]
    fn only_what_changes_is_printed_again() {
        let subdir = SubdirName::noarch();
        // Not as it would be printed.
        let odd = r#"{ "name": "x", "a": 1.50 }"#;
        let names = ["same.conda", "none.conda", "broken.conda", "other.conda"];
        let mut all: Vec<Listed> = names.iter().map(|name| listed(name, odd)).collect();
        all[2].record = "{".to_owned();
        let mut document = document(&subdir, all);
        let instructions = r#"{"packages":{"same.conda":{"a":1.5,"b":null},"broken.conda":{"a":1},"other.conda":{"b":1}},
            "revoke":["broken.conda"]}"#;
        let instructions = Instructions::parse("", instructions.as_bytes()).unwrap();
        let report = instructions.apply(&mut document).report;
        assert_eq!(document.listed[0].record, odd);
        assert_eq!(document.listed[1].record, odd);
        assert_eq!(document.listed[2].record, "{");
        assert_eq!(document.listed[3].record, r#"{"a":1.5,"b":1,"name":"x"}"#);
        assert_eq!(keys(&report.changed), ["other.conda: b"]);
        assert_eq!(report.unreadable, ["broken.conda"]);
        assert!(report.revoked.is_empty());
    }

    #[test]
    fn many_records_and_fixes_take_no_time() {
        let subdir = SubdirName::noarch();
        let name = |at: usize| format!("package-{at}-1.0-0.conda");
        let all = (0..50_000).map(|at| listed(&name(at), RECORD)).collect();
        let mut document = document(&subdir, all);
        let fixes: Vec<String> = (0..20_000)
            .map(|at| format!(r#""package-{at}-1.0-0.tar.bz2":{{"depends":["c"]}}"#))
            .collect();
        let instructions = format!(r#"{{"packages":{{{}}}}}"#, fixes.join(","));
        let start = std::time::Instant::now();
        let instructions = Instructions::parse("", instructions.as_bytes()).unwrap();
        assert_eq!(
            instructions.apply(&mut document).report.changed.len(),
            20_000
        );
        // Two seconds without optimisation on a slow machine; a search for each would take minutes.
        assert!(start.elapsed().as_secs() < 30);
    }

    const NAMES: [&str; 6] = [
        "a.conda",
        "a.tar.bz2",
        "b.conda",
        "b.tar.bz2",
        "c.conda",
        "no.tar.bz2",
    ];

    fn value() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("true".to_owned()),
            (0_u8..3).prop_map(|number| number.to_string()),
            Just("\"s\"".to_owned()),
            Just("[\"package_has_been_revoked\"]".to_owned()),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3)
                    .prop_map(|items| format!("[{}]", items.join(","))),
                object_of(&["x", "y"], inner),
            ]
        })
    }

    fn object_of(
        keys: &'static [&'static str],
        value: impl Strategy<Value = String> + 'static,
    ) -> impl Strategy<Value = String> {
        let members = prop::collection::btree_map(prop::sample::select(keys), value, 0..4);
        members.prop_map(|members| {
            let member = |(key, value)| format!("\"{key}\":{value}");
            let members: Vec<String> = members.into_iter().map(member).collect();
            format!("{{{}}}", members.join(","))
        })
    }

    fn record() -> impl Strategy<Value = String> {
        const KEYS: [&str; 7] = ["depends", "extra", "md5", "name", "revoked", "sig", "size"];
        object_of(&KEYS, value())
    }

    fn instructions() -> impl Strategy<Value = String> {
        const KEYS: [&str; 7] = ["depends", "extra", "md5", "name", "revoked", "sig", "size"];
        let run_exports = prop_oneof![Just("null".to_owned()), object_of(&["weak", "x"], value())];
        let fix = (object_of(&KEYS, value()), prop::option::of(run_exports)).prop_map(
            |(fix, run_exports)| match run_exports {
                Some(it) if fix == "{}" => format!("{{\"run_exports\":{it}}}"),
                Some(it) => fix.replacen('{', &format!("{{\"run_exports\":{it},"), 1),
                None => fix,
            },
        );
        let fix = fix.boxed();
        let names = || {
            prop::collection::vec(prop::sample::select(&NAMES[..]), 0..3)
                .prop_map(|names| serde_json::to_string(&names).unwrap())
        };
        (
            1..3,
            object_of(&NAMES, fix.clone()),
            object_of(&NAMES, fix),
            names(),
            names(),
        )
            .prop_map(|(version, packages, conda, revoke, remove)| {
                format!(
                    r#"{{"patch_instructions_version":{version},"packages":{packages},"packages.conda":{conda},"revoke":{revoke},"remove":{remove}}}"#
                )
            })
    }

    fn of_index(one: &Listed) -> Vec<Option<String>> {
        PROTECTED.iter().map(|key| field(one, key)).collect()
    }

    proptest! {
        #[test]
        fn twice_is_once_in_any_order(
            records in prop::collection::vec(record(), NAMES.len() - 1),
            text in instructions(),
            turn in 0..NAMES.len() - 1,
        ) {
            let subdir = SubdirName::noarch();
            let instructions = Instructions::parse("", text.as_bytes()).unwrap();
            let before: Vec<Listed> = NAMES.iter().zip(&records).map(|(name, text)| listed(name, text)).collect();
            let mut document = document(&subdir, before.clone());
            let mut turned = document.clone();
            turned.listed.rotate_left(turn);

            let applied = instructions.apply(&mut document);
            let in_turn = instructions.apply(&mut turned);
            turned.listed.sort_by(|a, b| a.name.cmp(&b.name));
            prop_assert_eq!(&document.listed, &turned.listed);
            prop_assert_eq!(&document.removed, &turned.removed);
            prop_assert_eq!(&applied.report, &in_turn.report);

            for one in document.listed.iter().chain(&applied.taken) {
                let old = before.iter().find(|old| old.name == one.name).unwrap();
                prop_assert_eq!(of_index(old), of_index(one));
            }

            let once = document.clone();
            let again = instructions.apply(&mut document);
            prop_assert_eq!(&once.listed, &document.listed);
            prop_assert_eq!(&once.removed, &document.removed);
            prop_assert!(again.taken.is_empty() && again.report.changed.is_empty());
        }
    }
}
