//! A folder of mutants: packages of our builder and, where they are at hand, real ones, each truncated, bit-flipped,
//! spliced with bytes of another package, or zeroed at random places, beside the sound packages they were made of. The
//! real binary indexes it in bounded memory: every sound package is listed, every mutant is listed or refused by
//! name, and none is listed that the library refuses.
//!
//! So that most mutants get past checksums into the deep readers, two thirds are changed further in, and packed anew
//! around the change: in the tar, or in the text of one of its members. Since bytes that were changed can say another
//! name, all runs are with `--allow-mismatch`.
//!
//! `SIGINDEX_MUTANTS` (240 each way, unless it is set) says how many, `SIGINDEX_SEED` which. The long form:
//! `SIGINDEX_MUTANTS=5000 cargo test --test faults mutants -- --nocapture`.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use serde_json::json;
use sigindex::package::{ReadOptions, read_bytes};

use crate::limits::{Bounded, MIB, measured};
use crate::scene::builder::archive::{TAR_BLOCK, bz2, zstd};
use crate::scene::builder::zip::{ZipMember, zip_of};
use crate::scene::builder::{Format, PackageSpec, Random};
use crate::scene::{Run, Scene};
use crate::shared::shared;

/// How many mutants a test has, unless `SIGINDEX_MUTANTS` says another number.
const MUTANTS: u64 = 240;

/// What is changed, from outside in.
const DEPTHS: [&str; 3] = ["file", "tar", "member"];

/// How it is changed.
const DEEDS: [&str; 4] = ["truncated", "bit-flipped", "spliced", "zeroed"];

/// A sound package.
struct Sound {
    subdir: String,
    name: String,
    bytes: Vec<u8>,
}

/// A changed one: its name says how it was made.
struct Mutant {
    path: String,
    made: String,
    bytes: Vec<u8>,
}

fn number(variable: &str, otherwise: u64) -> u64 {
    let set = std::env::var(variable).ok();
    set.map_or(otherwise, |text| text.parse().expect(variable))
}

/// Packages with something in every document that is read, and some with bodies of many blocks.
fn of_our_own() -> Vec<Sound> {
    let about = json!({"home": "https://example.org", "summary": "s", "tags": ["a", "b"]});
    let base = |name: &str| {
        PackageSpec::new(name, "1.0", "h1_0")
            .about(about.clone())
            .run_exports(json!({"weak": ["x >=1", "y"], "strong": []}))
            .depends(["x >=1,<2", "y", "z 1.0.*"])
    };
    let specs = [
        base("plain"),
        base("pure").subdir("noarch"),
        base("last").info_last(true).conda_info_first(true),
        base("dotted").prefix_dot_slash(true),
        base("large").payload_size(60_000, 3),
        base("long").payload_compressible(300_000),
    ];
    let mut all = Vec::new();
    for spec in &specs {
        for format in Format::BOTH {
            let path = spec.path_in_channel(format);
            let (subdir, name) = path.split_once('/').unwrap();
            all.push(Sound {
                subdir: subdir.to_owned(),
                name: name.to_owned(),
                bytes: spec.bytes(format),
            });
        }
    }
    all
}

/// Those, and the real ones.
fn sound() -> Vec<Sound> {
    let mut all = of_our_own();
    let Some(channel) = shared("channel") else {
        return all;
    };
    for entry in walkdir::WalkDir::new(channel).sort_by_file_name() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_str().unwrap();
        if entry.file_type().is_file() && format_of(name).is_some() {
            let subdir = entry.path().parent().unwrap().file_name().unwrap();
            all.push(Sound {
                subdir: subdir.to_str().unwrap().to_owned(),
                name: name.to_owned(),
                bytes: std::fs::read(entry.path()).unwrap(),
            });
        }
    }
    all
}

fn format_of(name: &str) -> Option<Format> {
    let is = |format: &Format| name.ends_with(format.extension());
    Format::BOTH.into_iter().find(is)
}

/// Changes bytes at random places.
fn change(bytes: &mut Vec<u8>, deed: &str, other: &[u8], random: &mut Random) {
    let length = bytes.len() as u64;
    if length == 0 {
        return;
    }
    let at = random.below(length) as usize;
    // Mostly a few bytes, and sometimes most of them.
    let most = [8, 64, 512, length][random.below(4) as usize].min(length - at as u64);
    let end = at + 1 + random.below(most) as usize;
    match deed {
        "truncated" => bytes.truncate(at),
        "bit-flipped" => {
            for _ in 0..=random.below(8) {
                bytes[random.below(length) as usize] ^= 1 << random.below(8);
            }
        }
        "spliced" => {
            let from = random.below(other.len() as u64) as usize;
            let piece = &other[from..(from + end - at).min(other.len())];
            // In the place of as many, or between two bytes.
            let until = if random.below(2) == 0 { at } else { end };
            bytes.splice(at..until, piece.iter().copied());
        }
        "zeroed" => bytes[at..end].fill(0),
        _ => unreachable!("{deed}"),
    }
}

/// The tar in a package that decides what is known of it, and what packs another in its place.
type Inner<'a> = (Vec<u8>, Box<dyn Fn(&[u8]) -> Vec<u8> + 'a>);

fn inner(bytes: &[u8], format: Format) -> Inner<'_> {
    match format {
        Format::TarBz2 => {
            let mut tar = Vec::new();
            let mut decoder = bzip2::read::MultiBzDecoder::new(bytes);
            std::io::copy(&mut decoder, &mut tar).unwrap();
            (tar, Box::new(|tar| bz2(tar, 1)))
        }
        Format::Conda => {
            let archive = rawzip::ZipArchive::from_slice(bytes).unwrap();
            let members = archive.entries().map(|entry| {
                let entry = entry.unwrap();
                let name = String::from_utf8(entry.file_path().as_ref().to_vec()).unwrap();
                let data = archive.get_entry(entry.wayfinder()).unwrap().data();
                ZipMember::stored(name, data.to_vec())
            });
            let members: Vec<_> = members.collect();
            let info = |member: &ZipMember<'_>| member.name.starts_with("info-");
            let at = members.iter().position(info).unwrap();
            let tar = ::zstd::decode_all(&*members[at].bytes).unwrap();
            let pack = move |tar: &[u8]| {
                let mut members = members.clone();
                members[at] = ZipMember::stored(members[at].name.clone(), zstd(tar, 1));
                zip_of(&members)
            };
            (tar, Box::new(pack))
        }
    }
}

/// The first file whose header stands in a tar at a random place, or the next one: where its text begins, and where
/// it ends.
fn member_in(tar: &[u8], random: &mut Random) -> (usize, usize) {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(header) = tar.get(at..at + TAR_BLOCK) {
        let size = tar::Header::from_byte_slice(header).entry_size();
        let size = size.unwrap_or(0) as usize;
        let start = at + TAR_BLOCK;
        // Where the documents are that are read.
        if size > 0 && start + size <= tar.len() && size < 100_000 {
            found.push((start, start + size));
        }
        at = start + size.next_multiple_of(TAR_BLOCK);
    }
    found[random.below(found.len() as u64) as usize]
}

fn pick<'a>(all: &'a [Sound], random: &mut Random) -> &'a Sound {
    &all[random.below(all.len() as u64) as usize]
}

/// A mutant of a package; its number makes its name, in its own subdir.
fn mutant(number: u64, all: &[Sound], random: &mut Random) -> Mutant {
    let (of, other) = (pick(all, random), pick(all, random));
    let depth = DEPTHS[random.below(3) as usize];
    let deed = DEEDS[random.below(4) as usize];
    let format = format_of(&of.name).unwrap();
    let bytes = match depth {
        "file" => {
            let mut bytes = of.bytes.clone();
            change(&mut bytes, deed, &other.bytes, random);
            bytes
        }
        _ => {
            let (mut tar, pack) = inner(&of.bytes, format);
            let (theirs, _) = inner(&other.bytes, format_of(&other.name).unwrap());
            if depth == "tar" {
                change(&mut tar, deed, &theirs, random);
            } else {
                // The header stays true: what is cut off or squeezed in is made up for by spaces, or left out.
                let (start, end) = member_in(&tar, random);
                let mut text = tar[start..end].to_vec();
                change(&mut text, deed, &theirs, random);
                text.resize(end - start, b' ');
                tar[start..end].copy_from_slice(&text);
            }
            pack(&tar)
        }
    };
    Mutant {
        path: format!("{}/m{number}-1.0-0{}", of.subdir, format.extension()),
        made: format!("{} {deed} in its {depth}", of.name),
        bytes,
    }
}

/// Whether the library reads it.
fn is_read(mutant: &Mutant, check_archives: bool) -> bool {
    let options = ReadOptions {
        check_archives,
        cancelled: &AtomicBool::new(false),
        progress: &|_| {},
    };
    let name = mutant.path.rsplit('/').next().unwrap();
    read_bytes(&mutant.bytes, name, &options).is_ok()
}

/// What every index of a channel lists, by path.
fn listed(scene: &Scene, subdirs: &[String]) -> BTreeMap<String, ()> {
    let mut all = BTreeMap::new();
    for subdir in subdirs {
        let repodata = scene.repodata(subdir);
        for kind in ["packages", "packages.conda"] {
            let names = repodata[kind].as_object().unwrap().keys();
            all.extend(names.map(|name| (format!("{subdir}/{name}"), ())));
        }
    }
    all
}

/// A reason is something to read: not empty, not endless, without anything that moves a cursor.
fn is_readable(reason: &str) -> bool {
    let plain = |c: char| !c.is_control() && !('\u{202a}'..='\u{202e}').contains(&c);
    (10..3_000).contains(&reason.len()) && reason.chars().all(plain)
}

fn index(scene: &Scene, flags: &[&str]) -> Bounded {
    let flags = [flags, &["--allow-mismatch"]].concat();
    measured(scene.index_call(&flags), MIB)
}

/// Indexes a channel of mutants with these flags, and holds what came out against what the library says.
fn hold(seed: u64, flags: &[&str]) {
    let count = number("SIGINDEX_MUTANTS", MUTANTS);
    let all = sound();
    let scene = Scene::new();
    for one in &all {
        scene.write(&format!("channel/{}/{}", one.subdir, one.name), &one.bytes);
    }
    let mut subdirs: Vec<String> = all.iter().map(|one| one.subdir.clone()).collect();
    subdirs.sort();
    subdirs.dedup();
    let mut random = Random::new(seed);
    let mutants: Vec<Mutant> = (0..count)
        .map(|number| mutant(number, &all, &mut random))
        .collect();
    for one in &mutants {
        scene.write(&format!("channel/{}", one.path), &one.bytes);
    }
    let Bounded { run, peak } = index(&scene, flags);
    let run = run.exits(3);
    let refused = run.refusals();
    let listed = listed(&scene, &subdirs);
    for one in &all {
        let path = format!("{}/{}", one.subdir, one.name);
        assert!(listed.contains_key(&path), "seed {seed}: {path} is lost");
    }
    let (mut deep, check) = (0, flags.contains(&"--check-archives"));
    for one in &mutants {
        let what = format!("seed {seed}: {}, {}", one.path, one.made);
        match (listed.contains_key(&one.path), refused.get(&one.path)) {
            (true, None) => assert!(is_read(one, check), "{what}: listed, not readable"),
            (false, Some(why)) => assert!(is_readable(why), "{what}: {why:?}"),
            other => panic!("{what}: {other:?}"),
        }
        // Read by the library and refused for what it says, or listed: past all checksums.
        deep += usize::from(is_read(one, check));
    }
    assert_eq!(listed.len() + refused.len(), all.len() + mutants.len());
    second_run(&scene, flags, listed.len(), refused.len());
    let of = format!("{} sound packages and {count} mutants", all.len());
    let (refused, listed) = (refused.len(), listed.len() - all.len());
    eprintln!(
        "{of} (seed {seed}, {flags:?}): {refused} refused, {listed} listed, {deep} with metadata that was read, \
         at most {} MiB resident, {MIB} MiB of address space",
        peak / 1024
    );
}

/// Nothing that was listed is opened again, and nothing changes.
fn second_run(scene: &Scene, flags: &[&str], listed: usize, refused: usize) {
    let before = scene.snapshot("channel");
    let run: Run = index(scene, flags).run.exits(3);
    let opened = run.report()["counts"]["opened"].as_u64().unwrap();
    assert!(
        opened <= refused as u64,
        "{opened} opened, {refused} refused"
    );
    run.counts("listed", listed as u64);
    assert!(scene.snapshot("channel") == before, "a second run wrote");
}

#[test]
fn mutants_are_listed_or_refused_and_nothing_breaks() {
    hold(number("SIGINDEX_SEED", 1), &[]);
}

#[test]
fn mutants_are_listed_or_refused_when_archives_are_checked() {
    hold(number("SIGINDEX_SEED", 1) + 1, &["--check-archives"]);
}
