//! What a page's script works on: compact JSON of columns, in which every text stands once. Owns that form,
//! which `page.js` reads; must not know HTML.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{Display, Write as _};

use base64ct::{Base64, Encoding};

use super::glance::{Glance, Signature};
use super::group::{About, Group};
use super::state::Tally;
use super::text::{packages_base, shown};
use crate::json::write_string;
use crate::keys::Fingerprint;
use crate::package::Format;
use crate::repodata::{Document, Formats};
use crate::version::Version;

/// The most characters of a text that a page shows; the names of files are shorter.
const MAX_TEXT: usize = 300;

/// The largest integer that a script has exactly.
const MAX_NUMBER: u64 = (1 << 53) - 1;

/// Of a file: it is a .conda.
const CONDA: u8 = 1;
/// Of a file: a patch revoked it.
const REVOKED: u8 = 2;

/// Texts, each once, by number. The first is empty.
struct Texts {
    numbers: HashMap<String, usize>,
    json: String,
}

impl Texts {
    fn new() -> Texts {
        let mut texts = Texts {
            numbers: HashMap::new(),
            json: String::new(),
        };
        texts.number("");
        texts
    }

    fn number(&mut self, text: &str) -> usize {
        let text = shown(text, MAX_TEXT);
        if let Some(number) = self.numbers.get(&*text) {
            return *number;
        }
        let number = self.numbers.len();
        if number > 0 {
            self.json.push(',');
        }
        write_string(&mut self.json, &text);
        self.numbers.insert(text.into_owned(), number);
        number
    }
}

/// Items of a JSON array.
#[derive(Default)]
struct Items(String);

impl Items {
    fn put(&mut self, item: impl Display) {
        if !self.0.is_empty() {
            self.0.push(',');
        }
        // Writing into a String can't fail.
        let _ = write!(self.0, "{item}");
    }

    fn put_text(&mut self, text: &str) {
        let mut quoted = String::new();
        write_string(&mut quoted, text);
        self.put(quoted);
    }
}

/// The keys that a subdir's files name.
#[derive(Default)]
struct Keys<'a> {
    numbers: HashMap<(Option<Fingerprint>, String), usize>,
    json: Items,
    known: BTreeMap<Fingerprint, &'a str>,
}

impl Keys<'_> {
    /// 0 for no signature, else the key's number, from 1.
    fn number(&mut self, signature: &Signature<'_>) -> usize {
        let (fingerprint, name) = match signature {
            Signature::Unsigned => return 0,
            Signature::Unverified(name) => (None, &**name),
            Signature::Checked(fingerprint, name) => {
                let known = self.known.get(fingerprint).copied();
                (Some(*fingerprint), known.unwrap_or(name))
            }
        };
        let key = (fingerprint, shown(name, MAX_TEXT).into_owned());
        if let Some(number) = self.numbers.get(&key) {
            return *number;
        }
        let number = self.numbers.len().saturating_add(1);
        let mut of_key = Items::default();
        of_key.put_text(&key.1);
        of_key.put_text(
            &fingerprint
                .map(|print| print.to_string())
                .unwrap_or_default(),
        );
        self.json.put(format_args!("[{}]", of_key.0));
        self.numbers.insert(key, number);
        number
    }
}

/// The columns of a subdir's page.
struct Columns<'a> {
    texts: Texts,
    keys: Keys<'a>,
    packages: Items,
    files: Items,
    depends: Items,
    odd_names: Items,
    digests: Vec<u8>,
}

/// A subdir's packages.
///
/// `packages`: name, summary, home, number of files. `files`, for each of them: version, build, flags, size,
/// second of indexing, second of building, license, key. `sha256`: the digests, joined, in base64.
pub(super) fn subdir(document: &Document<'_>, groups: &[Group<'_>], formats: &Formats) -> String {
    let keys = document.signing_keys.iter();
    let mut columns = Columns {
        texts: Texts::new(),
        keys: Keys {
            known: keys
                .map(|(print, (name, _))| (*print, name.as_str()))
                .collect(),
            ..Keys::default()
        },
        packages: Items::default(),
        files: Items::default(),
        depends: Items::default(),
        odd_names: Items::default(),
        digests: Vec::new(),
    };
    let mut row = 0_usize;
    for group in groups {
        columns.put_package(group);
        for file in &group.files {
            columns.put_file(row, file, formats.html_dependencies);
            row = row.saturating_add(1);
        }
    }
    let subdir = document.subdir.as_str();
    let mut base = String::from("null");
    if let Some(link) = packages_base(formats.base_url.as_deref(), subdir) {
        base.clear();
        write_string(&mut base, &link);
    }
    safe(format!(
        "{{\"kind\":\"subdir\",\"base\":{base},\"texts\":[{}],\"keys\":[{}],\"packages\":[{}],\"files\":[{}],\
         \"names\":{{{}}},\"depends\":[{}],\"sha256\":\"{}\"}}",
        columns.texts.json,
        columns.keys.json.0,
        columns.packages.0,
        columns.files.0,
        columns.odd_names.0,
        columns.depends.0,
        Base64::encode_string(&columns.digests),
    ))
}

impl Columns<'_> {
    fn put_package(&mut self, group: &Group<'_>) {
        let about = group.about();
        for text in [&*group.name, &about.summary] {
            self.packages.put(self.texts.number(text));
        }
        // An address is linked to only as a whole.
        self.packages.put(home(&mut self.texts, &about));
        self.packages.put(group.files.len());
    }

    fn put_file(&mut self, row: usize, file: &Glance<'_>, depends: bool) {
        let flag = |is: bool, flag: u8| if is { flag } else { 0 };
        let flags = flag(file.listed.format == Format::Conda, CONDA) | flag(file.revoked, REVOKED);
        let files = &mut self.files;
        files.put(self.texts.number(&file.version));
        files.put(self.texts.number(&file.build));
        files.put(flags);
        files.put(file.size.unwrap_or_default().min(MAX_NUMBER));
        files.put(seconds(file.indexed));
        files.put(seconds(file.built));
        files.put(self.texts.number(&file.license));
        files.put(self.keys.number(&file.signature));
        self.digests.extend(file.sha256.unwrap_or_default());
        if !is_named_by_record(file) {
            let mut name = String::new();
            write_string(&mut name, &file.listed.name);
            self.odd_names.put(format_args!("\"{row}\":{name}"));
        }
        if depends {
            let mut numbers = Items::default();
            for spec in file.depends() {
                numbers.put(self.texts.number(&spec));
            }
            self.depends.put(format_args!("[{}]", numbers.0));
        }
    }
}

/// One name in all subdirs: the groups of that name, each with its subdir's number.
pub(super) type Spread<'g, 'a> = BTreeMap<&'g str, Vec<(usize, &'g Group<'a>)>>;

/// A channel's packages.
///
/// `packages`: name, summary, home, version, license, number of rows. `rows`, a subdir each: its number, newest
/// version, files, bytes, checked, unverified, unsigned, second of the last indexing.
pub(super) fn channel(subdirs: &[&str], spread: &Spread<'_, '_>) -> String {
    let (mut texts, mut names) = (Texts::new(), Items::default());
    let (mut packages, mut rows) = (Items::default(), Items::default());
    for subdir in subdirs {
        names.put_text(subdir);
    }
    for (name, groups) in spread {
        let newest = groups.iter().filter_map(|(_, group)| group.files.first());
        let newest = newest.max_by_key(|file| (Version::parse(&file.version), file.build_number));
        let (version, license) = newest.map_or(("", ""), |file| (&*file.version, &*file.license));
        let about = about(groups, version);
        for text in [*name, &about.summary] {
            packages.put(texts.number(text));
        }
        packages.put(home(&mut texts, &about));
        packages.put(texts.number(version));
        packages.put(texts.number(license));
        packages.put(groups.len());
        for (subdir, group) in groups {
            put_row(&mut rows, &mut texts, *subdir, group);
        }
    }
    safe(format!(
        "{{\"kind\":\"channel\",\"subdirs\":[{}],\"texts\":[{}],\"packages\":[{}],\"rows\":[{}]}}",
        names.0, texts.json, packages.0, rows.0
    ))
}

fn put_row(rows: &mut Items, texts: &mut Texts, subdir: usize, group: &Group<'_>) {
    let mut tally = Tally::default();
    for file in &group.files {
        tally.add(file);
    }
    let newest = group.files.first().map_or("", |file| &*file.version);
    let indexed = group.files.iter().filter_map(|file| file.indexed).max();
    rows.put(subdir);
    rows.put(texts.number(newest));
    for number in [
        tally.packages,
        tally.bytes.min(MAX_NUMBER),
        tally.checked,
        tally.unverified,
        tally.unsigned,
    ] {
        rows.put(number);
    }
    rows.put(seconds(indexed));
}

/// What the subdir with the newest version says, or another where that one says nothing.
fn about(groups: &[(usize, &Group<'_>)], version: &str) -> About {
    let is_newest = |group: &&Group<'_>| {
        group
            .files
            .first()
            .is_some_and(|file| file.version == version)
    };
    let (newest, others): (Vec<&Group<'_>>, Vec<&Group<'_>>) =
        groups.iter().map(|(_, group)| *group).partition(is_newest);
    let mut found = About::default();
    for group in newest.into_iter().chain(others) {
        found = group.about();
        if !found.summary.is_empty() {
            break;
        }
    }
    found
}

/// An address that was cut would lead elsewhere.
fn home(texts: &mut Texts, about: &About) -> usize {
    match about.home.chars().count() <= MAX_TEXT {
        true => texts.number(&about.home),
        false => 0,
    }
}

/// Whether the file is called `name-version-build` and its extension, as the script puts it together.
fn is_named_by_record(file: &Glance<'_>) -> bool {
    let stem = file.listed.format.stem(&file.listed.name);
    let rest = stem
        .strip_prefix(&*file.name)
        .and_then(|rest| rest.strip_prefix('-'));
    let rest = rest.and_then(|rest| rest.strip_prefix(&*file.version));
    let build = rest.and_then(|rest| rest.strip_prefix('-'));
    build == Some(&*file.build) && shown(stem, MAX_TEXT) == stem
}

fn seconds(milliseconds: Option<i64>) -> i64 {
    milliseconds.map_or(0, |time| time / 1_000)
}

/// No text can end the script element, nor begin a comment in it (HTML, 13.2.5.4).
fn safe(json: String) -> String {
    json.replace('<', "\\u003c")
}
