//! Repodata's third revision (CEP 48). Owns which records need it and the form that they take there; must not
//! know the files that hold them.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::Listed;
use crate::json::{self, Json, Members, Object};
use crate::match_spec::{self, MAX_VERSIONS, MatchSpec};
use crate::package::Format;

/// A record that needs the revision has one of these words in its text: the keywords that CEPs 43, 44 and 45
/// bring, and the keys of a record that say so. To search for them is far cheaper than to parse.
const WORDS: [&str; 5] = [
    "when",
    "extras",
    "flags",
    "\"extra_depends\"",
    "\"schema_version\"",
];

/// From here on, `info/index.json` can't stand in the sections that older clients read (CEP 43).
const SCHEMA_VERSION: f64 = 3.0;

/// Records by the section in which they are published, and in the form that they have there.
#[derive(Debug, Default)]
pub(super) struct Sections<'d> {
    /// `packages` and `packages.conda`: keyed by file name.
    pub first: ByFormat<'d>,
    /// `v3`: keyed by file name without extension.
    pub third: ByFormat<'d>,
    /// What `info.repodata_revisions` says of the third revision.
    pub revision: Revision,
    /// MatchSpecs that the form of the third revision can't say.
    pub unfit: Vec<Unfit<'d>>,
}

/// Records by their packages' format, each list sorted by key.
#[derive(Debug, Default)]
pub(super) struct ByFormat<'d> {
    tar_bz2: Vec<Entry<'d>>,
    conda: Vec<Entry<'d>>,
}

/// A record as it is published.
#[derive(Debug)]
pub(super) struct Entry<'d> {
    /// Its key in the section.
    pub key: &'d str,
    /// Its text.
    pub record: Cow<'d, str>,
    /// The package.
    pub listed: &'d Listed,
}

/// A MatchSpec that stays as it came.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unfit<'d> {
    /// The package's file name.
    pub file: &'d str,
    /// The MatchSpec.
    pub spec: String,
}

/// The third revision, as clients that don't know it are told of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Revision {
    packages: u64,
    oldest: Option<i64>,
    newest: Option<i64>,
}

impl<'d> Sections<'d> {
    /// Places these packages' records; with `next`, all in the third revision.
    pub fn of(listed: impl IntoIterator<Item = &'d Listed>, next: bool) -> Sections<'d> {
        let mut sections = Sections::default();
        for one in listed {
            match third(&one.record, next) {
                Some(members) => sections.place_in_third(one, &members),
                None => sections.first.list(one.format).push(Entry {
                    key: &one.name,
                    record: Cow::Borrowed(&one.record),
                    listed: one,
                }),
            }
        }
        sections.first.sort();
        sections.third.sort();
        sections.unfit.sort_by_key(|unfit| unfit.file);
        sections
    }

    fn place_in_third(&mut self, one: &'d Listed, members: &Members<'_>) {
        self.revision.add(members);
        let mut unfit = Vec::new();
        let record = in_brackets(members, &mut unfit);
        let unfit = unfit.into_iter().map(|spec| Unfit {
            file: &one.name,
            spec,
        });
        self.unfit.extend(unfit);
        self.third.list(one.format).push(Entry {
            key: one.format.stem(&one.name),
            record: record.map_or(Cow::Borrowed(one.record.as_str()), Cow::Owned),
            listed: one,
        });
    }
}

impl<'d> ByFormat<'d> {
    /// The records of one format's packages.
    pub fn of(&self, format: Format) -> &[Entry<'d>] {
        match format {
            Format::TarBz2 => &self.tar_bz2,
            Format::Conda => &self.conda,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tar_bz2.is_empty() && self.conda.is_empty()
    }

    fn list(&mut self, format: Format) -> &mut Vec<Entry<'d>> {
        match format {
            Format::TarBz2 => &mut self.tar_bz2,
            Format::Conda => &mut self.conda,
        }
    }

    fn sort(&mut self) {
        self.tar_bz2.sort_by_key(|entry| entry.key);
        self.conda.sort_by_key(|entry| entry.key);
    }
}

impl Revision {
    /// What [`Sections::of`] would find, without the records' new form.
    pub fn of<'d>(listed: impl IntoIterator<Item = &'d Listed>, next: bool) -> Revision {
        let mut revision = Revision::default();
        for one in listed {
            if let Some(members) = third(&one.record, next) {
                revision.add(&members);
            }
        }
        revision
    }

    /// Whether no record needs the third revision.
    pub fn is_empty(&self) -> bool {
        self.packages == 0
    }

    /// `info.repodata_revisions`; times in Unix milliseconds.
    pub fn json(&self) -> Json {
        let number = |number: String| Json::Number(number);
        let mut about =
            Object::from([("n_packages".to_owned(), number(self.packages.to_string()))]);
        for (key, time) in [("newest", self.newest), ("oldest", self.oldest)] {
            about.extend(time.map(|time| (key.to_owned(), number(time.to_string()))));
        }
        Json::Object(Object::from([("v3".to_owned(), Json::Object(about))]))
    }

    fn add(&mut self, members: &Members<'_>) {
        self.packages = self.packages.saturating_add(1);
        let time = get(members, "indexed_timestamp");
        if let Some(time) = time.and_then(|raw| raw.get().parse().ok()) {
            self.oldest = Some(self.oldest.map_or(time, |oldest| oldest.min(time)));
            self.newest = Some(self.newest.map_or(time, |newest| newest.max(time)));
        }
    }
}

/// The members of a record that goes to the third revision; `None` for one that doesn't. What can't be parsed
/// has none.
fn third(record: &str, next: bool) -> Option<Members<'_>> {
    if !next && !WORDS.iter().any(|word| record.contains(word)) {
        return None;
    }
    let members = serde_json::from_str(record).unwrap_or_default();
    (next || needs_third(&members)).then_some(members)
}

/// Whether a package needs the third revision, so that clients of before can't be told of it.
pub fn is_for_third(one: &Listed) -> bool {
    third(&one.record, false).is_some()
}

fn needs_third(members: &Members<'_>) -> bool {
    members.0.iter().any(|(key, raw)| match key.as_str() {
        // Where they aren't read, clients of before are not told of what they may not understand.
        "depends" | "constrains" => {
            too_many(raw)
                || items(raw).iter().any(|item| {
                    let spec = text(item).filter(|spec| spec.contains('['));
                    let spec = spec.and_then(|spec| MatchSpec::parse(&spec));
                    spec.is_some_and(|spec| spec.needs_v3())
                })
        }
        "extra_depends" => {
            let groups: Option<Members<'_>> = serde_json::from_str(raw.get()).ok();
            groups.is_some_and(|groups| !groups.0.is_empty())
        }
        "schema_version" => raw
            .get()
            .parse::<f64>()
            .is_ok_and(|it| it >= SCHEMA_VERSION),
        _ => false,
    })
}

/// The record with its MatchSpecs as the third revision wants them; `None` where that changes nothing.
/// Collects those that it leaves as they came.
fn in_brackets(members: &Members<'_>, unfit: &mut Vec<String>) -> Option<String> {
    changed(members, &mut |key, raw| match key {
        "depends" | "constrains" => list_in_brackets(raw, unfit),
        "extra_depends" if !too_many(raw) => {
            let groups: Members<'_> = serde_json::from_str(raw.get()).ok()?;
            changed(&groups, &mut |_, list| list_in_brackets(list, unfit))
        }
        _ => None,
    })
}

fn list_in_brackets(raw: &RawValue, unfit: &mut Vec<String>) -> Option<String> {
    if too_many(raw) {
        return None;
    }
    let (mut out, mut changed) = (String::from("["), false);
    for (position, item) in items(raw).into_iter().enumerate() {
        if position > 0 {
            out.push(',');
        }
        let spec = text(item);
        let new = spec.as_deref().map(|spec| {
            let parsed = MatchSpec::parse(spec);
            parsed.and_then(|parsed| parsed.in_brackets())
        });
        match (spec, new) {
            (Some(spec), Some(Some(new))) if new != spec => {
                json::write_string(&mut out, &new);
                changed = true;
            }
            (Some(spec), Some(None)) => {
                out.push_str(item.get());
                unfit.push(spec);
            }
            _ => out.push_str(item.get()),
        }
    }
    out.push(']');
    changed.then_some(out)
}

/// Whether lists of MatchSpecs name more versions than are read; they keep their text then.
fn too_many(raw: &RawValue) -> bool {
    match_spec::versions_in(raw.get()) > MAX_VERSIONS
}

/// The items of an array; none of what is no array.
fn items(raw: &RawValue) -> Vec<&RawValue> {
    serde_json::from_str(raw.get()).unwrap_or_default()
}

/// A string's text; `None` for every other value.
fn text(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

/// The value of a key.
fn get<'a>(members: &Members<'a>, key: &str) -> Option<&'a RawValue> {
    let found = members.0.iter().find(|(name, _)| name == key);
    found.map(|(_, raw)| *raw)
}

/// An object with other values where `change` gives any; `None` where it gives none.
fn changed(
    members: &Members<'_>,
    change: &mut dyn FnMut(&str, &RawValue) -> Option<String>,
) -> Option<String> {
    let (mut out, mut changed) = (String::from("{"), false);
    for (position, (key, raw)) in members.0.iter().enumerate() {
        if position > 0 {
            out.push(',');
        }
        json::write_string(&mut out, key);
        out.push(':');
        let new = change(key, raw);
        changed |= new.is_some();
        out.push_str(new.as_deref().unwrap_or(raw.get()));
    }
    out.push('}');
    changed.then_some(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::details::Details;

    fn listed(name: &str, record: &str) -> Listed {
        Listed {
            name: name.to_owned(),
            format: Format::of(name).unwrap(),
            record: record.to_owned(),
            details: Details::default(),
        }
    }

    /// The keys of the packages in each section.
    fn keys<'d>(sections: &Sections<'d>) -> [Vec<&'d str>; 2] {
        [&sections.first, &sections.third].map(|section| {
            let entries = section.tar_bz2.iter().chain(&section.conda);
            entries.map(|entry| entry.key).collect()
        })
    }

    /// A MatchSpec as it should stand.
    fn expected(spec: &str) -> String {
        let parsed = MatchSpec::parse(spec).and_then(|spec| spec.in_brackets());
        parsed.unwrap_or_else(|| spec.to_owned())
    }

    #[test]
    fn only_records_that_need_it_go_to_the_third_revision() {
        for (record, needs) in [
            (r#"{"depends":["a >=1","b"]}"#, false),
            (r#"{"schema_version":1}"#, false),
            (r#"{"schema_version":2}"#, false),
            (r#"{"schema_version":3}"#, true),
            (r#"{"schema_version":12}"#, true),
            (r#"{"schema_version":3.0}"#, true),
            (r#"{"schema_version":"3"}"#, false),
            (r#"{"schema_version":null}"#, false),
            (r#"{"other":{"schema_version":3}}"#, false),
            (r#"{"extra_depends":{}}"#, false),
            (r#"{"extra_depends":null}"#, false),
            (r#"{"extra_depends":["a"]}"#, false),
            (r#"{"extra_depends":{"test":[]}}"#, true),
            (r#"{"extra_depends":{"test":["a"]}}"#, true),
            (r#"{"summary":"when flags, extras"}"#, false),
            (r#"{"depends":"when","constrains":7}"#, false),
            ("when", false),
            ("[\"schema_version\"]", false),
        ] {
            let one = listed("a-1-0.conda", record);
            let sections = Sections::of([&one], false);
            assert_eq!(!sections.third.is_empty(), needs, "{record}");
            assert_eq!(sections.first.is_empty(), needs, "{record}");
            assert_eq!(Revision::of([&one], false), sections.revision);
            let all = Sections::of([&one], true);
            assert_eq!(keys(&all), [vec![], vec!["a-1-0"]], "{record}");
        }
    }

    #[test]
    fn a_match_spec_of_a_new_kind_needs_the_third_revision() {
        for spec in [
            r#"a[when=\"__unix\"]"#,
            r#"a >=1[when=\"python >=3\"]"#,
            "a[extras=test]",
            "a[extras=[x,y]]",
            "a[flags=cuda]",
        ] {
            for key in ["depends", "constrains"] {
                let one = listed("a-1-0.conda", &format!(r#"{{"{key}":["b","{spec}"]}}"#));
                assert!(Sections::of([&one], false).first.is_empty(), "{spec}");
            }
        }
        let old = listed("a-1-0.conda", r#"{"depends":["when","flags[version=1]"]}"#);
        assert!(Sections::of([&old], false).third.is_empty());
    }

    #[test]
    fn match_specs_stand_in_brackets() {
        let one = listed(
            "a-1-0.conda",
            r#"{"constrains":["c 1.2.*"],"depends":["pip","libgcc-ng >=7.3.0",7],"extra_depends":{"t":["d >=2","e"]},"z":["libgcc-ng >=7.3.0"]}"#,
        );
        let sections = Sections::of([&one], false);
        assert_eq!(
            sections.third.conda[0].record,
            r#"{"constrains":["c[version=\"1.2.*\"]"],"depends":["pip","libgcc-ng[version=\">=7.3.0\"]",7],"extra_depends":{"t":["d[version=\">=2\"]","e"]},"z":["libgcc-ng >=7.3.0"]}"#
        );
        assert_eq!(sections.unfit, []);
    }

    #[test]
    fn match_specs_take_their_form_and_the_rest_keeps_its_text() {
        let specs = ["pip", "libgcc-ng >=7.3.0", "", "\u{fc} >=1[", "c::d 1"];
        let [plain, new] = [false, true].map(|new| {
            let specs = specs.map(|spec| {
                let spec = if new { expected(spec) } else { spec.to_owned() };
                Json::String(spec).compact()
            });
            format!(
                r#"{{"a":1e0,"constrains":[{0}],"depends":[{0},null,[1.50]],"extra_depends":{{"\u00e9":[{0}],"x":7}},"z":["x >=1"]}}"#,
                specs.join(",")
            )
        });
        let one = listed("a-1-0.tar.bz2", &plain);
        let sections = Sections::of([&one], true);
        assert_eq!(sections.third.tar_bz2[0].record, new);
        let unfit: Vec<_> = sections.unfit.iter().map(|one| one.spec.as_str()).collect();
        let not_said = specs.into_iter().filter(|spec| {
            let spec = MatchSpec::parse(spec);
            spec.and_then(|spec| spec.in_brackets()).is_none()
        });
        assert_eq!(unfit, not_said.collect::<Vec<_>>().repeat(3));
        assert!(Sections::of([&one], false).revision.packages == 1, "extras");
    }

    #[test]
    fn lists_that_name_too_many_versions_keep_their_text() {
        let spec = format!("\"a 1{}\"", "|1".repeat(99));
        let list = |specs: usize| format!("[{}]", vec![&*spec; specs].join(","));
        let counts = (1..).find(|specs| match_spec::versions_in(&list(*specs)) > MAX_VERSIONS);
        let of = |specs: usize| {
            let record = format!(r#"{{"depends":{},"z":"when"}}"#, list(specs));
            listed("a-1-0.conda", &record)
        };
        let too_many = counts.unwrap();
        let most = of(too_many - 1);
        assert!(Sections::of([&most], false).third.is_empty());
        let third = Sections::of([&most], true).third;
        assert!(
            third.conda[0]
                .record
                .starts_with(r#"{"depends":["a[version=\"1|1"#)
        );
        let more = of(too_many);
        for next in [false, true] {
            let sections = Sections::of([&more], next);
            assert_eq!(sections.third.conda[0].record, more.record);
        }
    }

    #[test]
    fn a_record_that_nobody_can_parse_keeps_its_text() {
        for text in ["", "[]", "{\"depends\":[\"when\"", "{\"a\":1,\"a\":2}"] {
            let one = listed("a-1-0.conda", text);
            let sections = Sections::of([&one], true);
            assert_eq!(sections.third.conda[0].record, text);
            assert_eq!(sections.revision.packages, 1);
        }
    }

    #[test]
    fn keys_are_sorted_as_they_stand() {
        let packages = [
            "a-1-0.conda",
            "a-1-0-x.conda",
            "A-1-0.conda",
            "\u{fc}-1-0.conda",
        ]
        .map(|name| listed(name, "{}"));
        let [first, _] = keys(&Sections::of(&packages, false));
        assert_eq!(
            first,
            [
                "A-1-0.conda",
                "a-1-0-x.conda",
                "a-1-0.conda",
                "\u{fc}-1-0.conda"
            ]
        );
        let [_, third] = keys(&Sections::of(&packages, true));
        assert_eq!(third, ["A-1-0", "a-1-0", "a-1-0-x", "\u{fc}-1-0"]);
    }

    #[test]
    fn the_revision_tells_its_span() {
        let record = |time: &str| format!(r#"{{"indexed_timestamp":{time},"schema_version":3}}"#);
        for (times, says) in [
            (
                &["5", "-7", "9"][..],
                r#"{"v3":{"n_packages":3,"newest":9,"oldest":-7}}"#,
            ),
            (
                &["5", "null", "\"1\"", "1.5"],
                r#"{"v3":{"n_packages":4,"newest":5,"oldest":5}}"#,
            ),
            (&["{}"], r#"{"v3":{"n_packages":1}}"#),
            (&[], r#"{"v3":{"n_packages":0}}"#),
        ] {
            let packages: Vec<_> = times
                .iter()
                .map(|time| listed("a-1-0.conda", &record(time)))
                .collect();
            assert_eq!(
                Sections::of(&packages, false).revision.json().compact(),
                says
            );
            assert_eq!(Revision::of(&packages, true).json().compact(), says);
        }
    }
}
