//! The packages of one subdir, by name and from the newest down. Owns what is looked at in a record; must not
//! decide which packages are listed.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Versions;
use crate::json::{self, Members};
use crate::match_spec::MatchSpec;
use crate::package::Format;
use crate::repodata::Listed;
use crate::version::Version;

const LEGACY_BZ2_MD5: &str = "legacy_bz2_md5";

/// The packages of one subdir.
pub(super) struct Shelf<'a> {
    /// By name; those of one name from the newest down.
    packages: Vec<Shelved<'a>>,
    /// Where those of one name stand.
    names: HashMap<Rc<str>, Range<usize>>,
    /// Where the newest of each name stands that has no features.
    plain: HashMap<Rc<str>, usize>,
}

/// A package.
pub(super) struct Shelved<'a> {
    listed: &'a Listed,
    name: Rc<str>,
    /// The version; of an empty text where there is none.
    pub version: Rc<Version>,
    build: Cow<'a, str>,
    build_number: i64,
    timestamp: i64,
    depends: Option<&'a RawValue>,
    /// Whether it has features, or tracks some.
    featured: bool,
    /// The record of the .tar.bz2 of the same name.
    twin: Option<&'a Listed>,
}

/// What is looked at in a record, of any type.
#[derive(Deserialize)]
struct Glance<'a> {
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    version: Option<&'a RawValue>,
    #[serde(borrow)]
    build: Option<&'a RawValue>,
    #[serde(borrow)]
    build_number: Option<&'a RawValue>,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
    #[serde(borrow)]
    depends: Option<&'a RawValue>,
    #[serde(borrow)]
    features: Option<&'a RawValue>,
    #[serde(borrow)]
    track_features: Option<&'a RawValue>,
}

/// A text that is copied only where it has escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

fn text(raw: Option<&RawValue>) -> Option<Cow<'_, str>> {
    let Text(text) = serde_json::from_str(raw?.get()).ok()?;
    Some(text)
}

fn integer(raw: Option<&RawValue>) -> i64 {
    raw.and_then(|raw| raw.get().parse().ok()).unwrap_or(0)
}

/// Whether a string or a list names a feature.
fn names_any(raw: Option<&RawValue>) -> bool {
    let named = |text: &str| !text.trim_matches([' ', ',']).is_empty();
    let listed = |raw: &RawValue| {
        let items: Vec<&RawValue> = serde_json::from_str(raw.get()).unwrap_or_default();
        items
            .into_iter()
            .any(|item| text(Some(item)).is_some_and(|it| named(&it)))
    };
    match text(raw) {
        Some(text) => named(&text),
        None => raw.is_some_and(listed),
    }
}

impl<'a> Shelf<'a> {
    /// Sorts a subdir's packages, without each .tar.bz2 whose .conda twin is listed.
    pub fn new(listed: &'a [Listed], versions: &mut Versions<'a>) -> Shelf<'a> {
        let of = |format: Format| listed.iter().filter(move |one| one.format == format);
        let stem = |one: &'a Listed| one.format.stem(&one.name);
        let mut twins: HashMap<&str, &Listed> =
            of(Format::TarBz2).map(|one| (stem(one), one)).collect();
        let conda = of(Format::Conda).map(|one| (one, twins.remove(stem(one))));
        let mut chosen: Vec<_> = conda.collect();
        chosen.extend(twins.into_values().map(|one| (one, None)));
        let packages = chosen.into_iter();
        let mut packages: Vec<_> = packages
            .filter_map(|(one, twin)| Shelved::new(one, twin, versions))
            .collect();
        packages.sort_by(|a, b| {
            let order = a.name.cmp(&b.name).then_with(|| b.version.cmp(&a.version));
            order.then_with(|| a.later_first().cmp(&b.later_first()))
        });
        let mut names = HashMap::<Rc<str>, Range<usize>>::new();
        let mut plain = HashMap::new();
        for (place, package) in packages.iter().enumerate() {
            let end = place.saturating_add(1);
            let range = names.entry(Rc::clone(&package.name));
            range.or_insert(place..end).end = end;
            if !package.featured {
                plain.entry(Rc::clone(&package.name)).or_insert(place);
            }
        }
        Shelf {
            packages,
            names,
            plain,
        }
    }

    /// How many packages there are.
    pub fn len(&self) -> usize {
        self.packages.len()
    }

    /// All names, in any order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(|name| &**name)
    }

    /// The package at a place.
    pub fn get(&self, place: usize) -> Option<&Shelved<'a>> {
        self.packages.get(place)
    }

    /// Where the packages of a name stand, from the newest down.
    pub fn places(&self, name: &str) -> Range<usize> {
        self.names.get(name).cloned().unwrap_or_default()
    }

    /// Where all packages of a name and version stand.
    pub fn builds_of(&self, name: &str, version: &Version) -> Range<usize> {
        let Range { start, end } = self.places(name);
        let group = self.packages.get(start..end).unwrap_or_default();
        let newer = group.partition_point(|package| *package.version > *version);
        let not_older = group.partition_point(|package| *package.version >= *version);
        start.saturating_add(newer)..start.saturating_add(not_older)
    }

    /// Whether the package at a place is one that is asked for, of those of its name.
    pub fn accepted(&self, place: usize, spec: &MatchSpec) -> bool {
        self.get(place).is_some_and(|package| {
            spec.accepts(&package.version, &package.build, package.build_number)
        })
    }

    /// The newest version that is asked for.
    pub fn newest_match(&self, spec: &MatchSpec) -> Option<&Version> {
        let mut places = self.places(spec.name());
        let newest = places.find(|place| self.accepted(*place, spec))?;
        Some(&self.get(newest)?.version)
    }

    /// For a package with features, the newest of its name without; it is no newer than any of the name.
    pub fn without_features_for(&self, place: usize) -> Option<usize> {
        let package = self.get(place).filter(|package| package.featured)?;
        self.plain.get(&package.name).copied()
    }

    /// What a package depends on. Whatever isn't a list of texts is left out.
    pub fn dependencies(&self, place: usize) -> Vec<Cow<'a, str>> {
        let depends = self.get(place).and_then(|package| package.depends);
        let items: Option<Vec<&RawValue>> =
            depends.and_then(|raw| serde_json::from_str(raw.get()).ok());
        let items = items.unwrap_or_default().into_iter();
        items.filter_map(|item| text(Some(item))).collect()
    }

    /// The packages that are kept, as an index lists them, sorted by file name.
    pub fn listed(&self, kept: &[bool]) -> Vec<Listed> {
        let packages = self.packages.iter().zip(kept);
        let kept = packages.filter(|(_, kept)| **kept);
        let mut listed: Vec<_> = kept.map(|(package, _)| package.listed()).collect();
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        listed
    }
}

impl<'a> Shelved<'a> {
    fn new(
        listed: &'a Listed,
        twin: Option<&'a Listed>,
        versions: &mut Versions<'a>,
    ) -> Option<Shelved<'a>> {
        // serde would take an array of the fields as well.
        let object = Some(&listed.record).filter(|record| record.starts_with('{'))?;
        let glance: Glance<'a> = serde_json::from_str(object).ok()?;
        Some(Shelved {
            listed,
            name: text(glance.name)?.to_ascii_lowercase().into(),
            version: versions.read(text(glance.version).unwrap_or_default()),
            build: text(glance.build).unwrap_or_default(),
            build_number: integer(glance.build_number),
            timestamp: integer(glance.timestamp),
            depends: glance.depends,
            featured: names_any(glance.features) || names_any(glance.track_features),
            twin,
        })
    }

    /// The package's file name.
    pub fn file(&self) -> &'a str {
        &self.listed.name
    }

    /// The order of packages of one version.
    fn later_first(&self) -> (Reverse<i64>, Reverse<i64>, &str) {
        let (number, timestamp) = (self.build_number, self.timestamp);
        (Reverse(number), Reverse(timestamp), &self.listed.name)
    }

    fn listed(&self) -> Listed {
        let md5 = self.twin.and_then(|twin| {
            let Md5 { md5 } = serde_json::from_str(&twin.record).ok()?;
            text(md5).map(Cow::into_owned)
        });
        let record = md5.and_then(|md5| with_legacy_md5(&self.listed.record, &md5));
        Listed {
            name: self.listed.name.clone(),
            format: self.listed.format,
            record: record.unwrap_or_else(|| self.listed.record.clone()),
            details: self.listed.details.clone(),
        }
    }
}

#[derive(Deserialize)]
struct Md5<'a> {
    #[serde(borrow)]
    md5: Option<&'a RawValue>,
}

/// A record with the digest of its .tar.bz2 twin, where it sorts in.
fn with_legacy_md5(record: &str, md5: &str) -> Option<String> {
    let Members(members) = serde_json::from_str(record).ok()?;
    let mut out = String::with_capacity(record.len().saturating_add(60));
    let put = |out: &mut String, key: &str, write: &dyn Fn(&mut String)| {
        out.push(if out.is_empty() { '{' } else { ',' });
        json::write_string(out, key);
        out.push(':');
        write(out);
    };
    let mut due = true;
    for (key, value) in members.iter().filter(|(key, _)| key != LEGACY_BZ2_MD5) {
        if due && key.as_str() > LEGACY_BZ2_MD5 {
            put(&mut out, LEGACY_BZ2_MD5, &|out| {
                json::write_string(out, md5)
            });
            due = false;
        }
        put(&mut out, key, &|out| out.push_str(value.get()));
    }
    if due {
        put(&mut out, LEGACY_BZ2_MD5, &|out| {
            json::write_string(out, md5)
        });
    }
    out.push('}');
    Some(out)
}
