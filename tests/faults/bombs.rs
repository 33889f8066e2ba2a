//! Bombs: what is small and wants to become large, fed to the real binary in little address space. Each is refused, or
//! fails the run as the contract says; none is aborted for want of memory, and none hangs. It must not know how a
//! bomb is noticed.

use std::io::{Read as _, Write as _};

use serde_json::json;

use crate::limits::{MIB, bounded, measured};
use crate::scene::builder::archive::{
    TarMember, bomb_tar, bz2, bz2_from, file_header, tar_of_members, zstd, zstd_from,
    zstd_with_window,
};
use crate::scene::builder::zip::{ZipMember, zip_of};
use crate::scene::builder::{Format, PackageSpec, conda_members};
use crate::scene::{Run, Scene, fixtures};

/// So many bytes are a bomb, of which a thousandth is in the file.
const LARGE: u64 = 300 << 20;

/// 300 MiB of zeros before `index.json`: one stream, again and again, so that it is quickly made.
fn zeros(compress: fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let head = compress(&file_header("lib/zeros", LARGE));
    let piece = compress(&vec![0; 10 << 20]);
    [head, piece.repeat(30)].concat()
}

/// A `.conda` with other bytes in its payload (1) or its info (2).
fn conda_with(spec: &PackageSpec, at: usize, bytes: Vec<u8>) -> Vec<u8> {
    let (info, payload) = (spec.info_members(), spec.payload_members());
    let mut members = conda_members(&spec.stem(), &info, &payload);
    members[at] = ZipMember::stored(members[at].name.clone(), bytes);
    zip_of(&members)
}

/// A tar of a package, and in its `info/` a member of so many spaces, as `.tar.bz2`.
fn with_member(name: &str, size: u64) -> Vec<u8> {
    bz2_from(bomb_tar(name, size))
}

fn levelled(bytes: &[u8]) -> Vec<u8> {
    bz2(bytes, 9)
}

fn quick(bytes: &[u8]) -> Vec<u8> {
    zstd(bytes, 1)
}

/// Bombs by their names, with words of why they are refused; those that only a whole look finds are apart.
fn packages() -> Vec<(&'static str, Format, Vec<u8>, &'static str)> {
    let spec = PackageSpec::new("b", "1.0", "0");
    let (bz2, conda) = (Format::TarBz2, Format::Conda);
    let info = |bytes| conda_with(&spec, 2, bytes);
    let index_of = |size: u64| file_header("info/index.json", size);
    let named = |name: &str| tar_of_members(&[TarMember::file(name, "x")]);
    vec![
        ("zeros", bz2, zeros(levelled), "decompresses to more than"),
        ("zeros", conda, info(zeros(quick)), "decompresses to more"),
        (
            "an index.json of 17 MiB",
            bz2,
            with_member("info/index.json", 17 << 20),
            "16777216 are allowed",
        ),
        (
            "an index.json of 17 MiB",
            conda,
            info(zstd_from(bomb_tar("info/index.json", 17 << 20))),
            "16777216 are allowed",
        ),
        (
            "an index.json of 10 GB",
            bz2,
            levelled(&index_of(10_000_000_000)),
            "16777216 are allowed",
        ),
        (
            "an index.json of 10 GB",
            conda,
            info(quick(&index_of(10_000_000_000))),
            "16777216 are allowed",
        ),
        (
            "another member of 65 MiB",
            bz2,
            with_member("info/files", 65 << 20),
            "67108864 are allowed",
        ),
        (
            "run exports of 2 MiB",
            bz2,
            with_member("info/run_exports.json", 2 << 20),
            "1048576 are allowed",
        ),
        (
            "a name of 2 MiB",
            bz2,
            levelled(&named(&"n".repeat(2 << 20))),
            "1048576 are allowed",
        ),
        (
            "a window of 2 GiB",
            conda,
            info(zstd_with_window(&tar_of_members(&spec.info_members()), 31)),
            "zstd window",
        ),
        (
            "100,000 streams of nothing",
            bz2,
            levelled(b"").repeat(100_000),
            "next to nothing",
        ),
        (
            "100,000 frames of nothing",
            conda,
            info(quick(b"").repeat(100_000)),
            "ends early",
        ),
        (
            "a million members",
            bz2,
            levelled(&named("lib/x")[..512].repeat(600_000)),
            "",
        ),
    ]
}

#[test]
fn packages_that_become_large_are_refused_in_flat_memory() {
    let scene = Scene::of_three();
    let bombs = packages();
    for (at, (_, format, bytes, _)) in bombs.iter().enumerate() {
        let name = format!("b{at}-1.0-0{}", format.extension());
        scene.write(&format!("channel/linux-64/{name}"), bytes);
    }
    for flags in [&[][..], &["--check-archives"]] {
        let ran = measured(scene.index_call(flags), MIB);
        let run = ran.run.exits(3).counts("listed", 3);
        let refused = run.refusals();
        assert_eq!(refused.len(), bombs.len());
        for (at, (what, format, _, words)) in bombs.iter().enumerate() {
            let why = &refused[&format!("linux-64/b{at}-1.0-0{}", format.extension())];
            assert!(why.contains(words), "{what} {format:?}: {why}");
        }
        // Two threads, each with a window of 128 MiB at most, and little else.
        assert!(ran.peak < 400 << 10, "{} KiB", ran.peak);
    }
}

#[test]
fn payloads_that_become_large_are_refused_when_they_are_looked_into() {
    let scene = Scene::of_three();
    let spec = PackageSpec::new("b", "1.0", "0");
    let sound = tar_of_members(&[spec.info_members(), spec.payload_members()].concat());
    let (head, rest) = (&sound[..sound.len() - 1024], zeros(levelled));
    scene.write(
        "channel/linux-64/b-1.0-0.tar.bz2",
        [levelled(head), rest].concat(),
    );
    let conda = conda_with(&spec, 1, zeros(quick));
    scene.write("channel/linux-64/b-1.0-0.conda", conda);
    let run = measured(scene.index_call(&["--no-sign"]), MIB).run;
    run.exits(0).counts("listed", 4);
    let ran = measured(
        scene.index_call(&["--no-sign", "--check-archives", "--drop-refused"]),
        MIB,
    );
    let refused = ran.run.exits(3).counts("listed", 2).refusals();
    assert_eq!(refused.len(), 2);
    for why in refused.values() {
        assert!(why.contains("decompresses to more than"), "{why}");
    }
    assert!(ran.peak < 400 << 10, "{} KiB", ran.peak);
}

/// A channel that was published, whose cache is gone, so that what was published is read.
fn published(flags: &[&str]) -> Scene {
    let scene = Scene::of_three();
    scene.index(flags).exits(0);
    scene.remove("cache/sigindex");
    scene
}

/// JSON with so many members or elements, each as short as can be.
fn many(before: &str, count: usize, each: impl Fn(usize) -> String, behind: &str) -> Vec<u8> {
    let mut text = before.as_bytes().to_vec();
    for at in 0..count {
        text.extend_from_slice(if at == 0 { b"" } else { b"," });
        text.extend_from_slice(each(at).as_bytes());
    }
    text.extend_from_slice(behind.as_bytes());
    text
}

fn short_member(at: usize) -> String {
    format!("\"{at}\":{{}}")
}

/// So many that each of 100 bytes would be more than there is.
const MANY: usize = 1_500_000;

/// Indexes that were planted, each with what must come of it: exit status 1 and words, or 0.
fn indexes() -> Vec<(&'static str, Vec<u8>, Option<&'static str>)> {
    let ours = r#"{"info":{"generator":"sigindex"},"#;
    let record = r#""packages":{"a-1.0-0.conda":{"#;
    // In memory each takes 32 bytes, twice while there come more.
    let zeros = |before: &str, behind: &str| {
        let all = b"0,".repeat(17_000_000);
        [before.as_bytes(), &all, b"0", behind.as_bytes()].concat()
    };
    let digits = |end: &str| format!("{ours}{record}\"indexed_timestamp\":{end}}}}}}}");
    vec![
        (
            "many records",
            many(&format!("{ours}\"packages\":{{"), MANY, short_member, "}}"),
            Some("too short"),
        ),
        (
            "many records of .conda",
            many(
                &format!("{ours}\"packages.conda\":{{"),
                MANY,
                short_member,
                "}}",
            ),
            Some("too short"),
        ),
        (
            "a generator of many values",
            zeros(r#"{"info":{"generator":["#, "]}}"),
            None,
        ),
        (
            "signing keys of many values",
            zeros(r#"{"info":{"signing_keys":["#, "]}}"),
            None,
        ),
        (
            "a record of many values",
            zeros(&format!("{ours}{record}\"sha256\":["), "]}}}"),
            Some("changed since it was published"),
        ),
        (
            "signatures of many values",
            many(
                &format!("{ours}\"signatures\":{{"),
                MANY,
                short_member,
                "}}",
            ),
            Some("of memory"),
        ),
        (
            "deep",
            format!("{ours}\"packages\":{}", "[".repeat(10_000_000)).into(),
            Some("can't be read"),
        ),
        (
            "deep in a record",
            format!("{ours}{record}\"x\":{}", "{\"x\":".repeat(1_000_000)).into(),
            Some("can't be read"),
        ),
        (
            "ten million digits",
            digits(&"9".repeat(10_000_000)).into(),
            Some("changed since it was published"),
        ),
        (
            "an exponent of 999999",
            digits("1e999999").into(),
            Some("changed since it was published"),
        ),
        (
            "a key of ten megabytes",
            format!("{ours}\"{}\":1}}", "k".repeat(10_000_000)).into(),
            None,
        ),
        ("spaces", vec![b' '; 100_000_000], Some("can't be read")),
    ]
}

#[test]
fn a_planted_index_never_fills_the_memory() {
    for (what, bytes, fails) in indexes() {
        let scene = published(&[]);
        scene.write("channel/linux-64/repodata.json", &bytes);
        let run = bounded(&scene, &["channel", "--json"]);
        match fails {
            Some(words) => {
                drop(run.exits(1).says(words));
                let same = scene.read("channel/linux-64/repodata.json") == bytes;
                assert!(same, "{what}: it was touched");
            }
            None => drop(run.exits(0).counts("listed", 3)),
        }
    }
}

#[test]
fn packages_that_find_no_room_in_the_shard_of_their_name_are_refused() {
    let scene = Scene::of_three();
    let put = |version: &str, mebibytes: usize| {
        let spec = PackageSpec::new("large", version, "0");
        let spec = spec.extra("x", json!("A".repeat(mebibytes << 20)));
        scene.put(&spec, Format::Conda)
    };
    for version in ["1.0", "2.0", "3.0", "4.0"] {
        put(version, 15);
    }
    let last = put("5.0", 15);
    let flags = ["--no-write-monolithic", "--no-html", "--no-sign"];
    let plan = scene.index(&[&flags[..], &["--dry-run"]].concat()).exits(3);
    drop(plan.refuses(&last, "no room for it in the shard of its name"));
    let run = scene.index(&flags).exits(3).counts("listed", 7);
    drop(run.refuses(&last, "no room for it in the shard of its name"));
    // What is published keeps its place, whatever is remembered; and what is small finds one.
    let (first, small) = (put("0.5", 10), put("9.0", 1));
    scene.remove("cache/sigindex");
    let run = scene.index(&flags).exits(3).counts("listed", 8);
    let refused: Vec<String> = run.refusals().into_keys().collect();
    assert_eq!(refused, [first, last]);
    assert!(
        run.has("added", &[small])
            .stdout
            .contains("\"published\":true")
    );
}

#[test]
fn other_planted_files_never_fill_the_memory() {
    let deep = || "[".repeat(5_000_000).into_bytes();
    let zeros = |size: u64| zstd_from(std::io::repeat(0).take(size));
    // An array of arrays, as MessagePack: a few bytes of zstd, and a hundred million values.
    let nested = || zstd_from(std::io::repeat(0x90).take(200_000_000));
    let listed = |begin: &str| many(begin, MANY, short_member, "}}");
    let planted: Vec<(&str, Vec<u8>)> = vec![
        ("linux-64/repodata.json.zst", zeros(1 << 30)),
        (
            "linux-64/repodata.json.bz2",
            levelled(&[0; 1 << 20]).repeat(300),
        ),
        ("linux-64/repodata_shards.msgpack.zst", zeros(1 << 30)),
        ("linux-64/repodata_shards.msgpack.zst", nested()),
        (
            "linux-64/repodata_shards.msgpack.zst",
            zstd_with_window(&[0; 1000], 31),
        ),
        ("linux-64/run_exports.json", listed("{\"packages\":{")),
        ("linux-64/run_exports.json", deep()),
        ("linux-64/run_exports.json.zst", zeros(1 << 30)),
        ("linux-64/shards/retired.json", listed("{\"x\":{")),
        ("linux-64/index.html", deep()),
        ("index.html", vec![b'<'; 50_000_000]),
        ("channeldata.json", listed("{\"packages\":{")),
        ("channeldata.json", deep()),
        ("rss.xml", "<a>".repeat(5_000_000).into_bytes()),
        ("linux-64/current_repodata.json", listed("{\"packages\":{")),
    ];
    for (path, bytes) in planted {
        let scene = published(&["--all"]);
        // One package is gone, so that what is still told of it is looked for.
        scene.remove("channel/linux-64/c-1.0-0.conda");
        scene.write(&format!("channel/{path}"), &bytes);
        let words = ["channel", "--json", "--all", "--update-only"];
        let run = bounded(&scene, &words).exits(0).counts("listed", 2);
        assert!(scene.is_listed("linux-64/c-1.0-0.conda"), "{path}");
        // What clients read is whole again, whoever's page it is.
        let page = path.ends_with(".html");
        let place = format!("channel/{path}");
        let healed = !scene.exists(&place) || scene.read(&place) != bytes;
        assert!(
            healed || page || path.contains("retired"),
            "{path}: {}",
            run.stderr
        );
        let audit = bounded(&scene, &["verify", "channel"]);
        drop(audit.exits(1).says("no such file"));
    }
}

#[test]
fn an_audit_of_bombs_ends_with_what_is_wrong() {
    let scene = published(&["--all"]);
    let zst = zstd_from(std::io::repeat(b' ').take(1 << 30));
    for name in [
        "repodata.json.zst",
        "run_exports.json.zst",
        "repodata_shards.msgpack.zst",
    ] {
        scene.write(&format!("channel/linux-64/{name}"), &zst);
    }
    let bz2 = levelled(&[b' '; 1 << 20]).repeat(300);
    scene.write("channel/linux-64/repodata.json.bz2", bz2);
    let run = bounded(&scene, &["verify", "channel"]).exits(1);
    run.says("repodata.json.zst")
        .says("repodata_shards.msgpack.zst");
}

/// Patches in every place they come from.
#[test]
fn patches_that_become_large_are_refused() {
    let name = "patch_instructions.json";
    let planted = many("{\"packages\":{", MANY, short_member, "}}");
    let listed = [
        b"{\"remove\":[".as_slice(),
        &b"\"\",".repeat(10 * MANY),
        b"\"\"]}",
    ]
    .concat();
    let deep = format!("{{\"packages\":{}", "{\"x\":".repeat(1_000_000)).into_bytes();
    let huge = vec![b' '; (64 << 20) + 1];
    for (bytes, words) in [
        (planted, "of memory"),
        (listed, "of memory"),
        (deep, "patches"),
        (huge, name),
    ] {
        let scene = Scene::of_three();
        scene.write(&format!("channel/linux-64/{name}"), &bytes);
        scene.write(&format!("patches/linux-64/{name}"), &bytes);
        bounded(&scene, &["channel"]).exits(1).says(words);
        scene.remove(&format!("channel/linux-64/{name}"));
        let flags = ["channel", "--patch-generator", "patches"];
        bounded(&scene, &flags).exits(1).says(words);
        assert!(!scene.exists("channel/linux-64/repodata.json"));
    }
    // A package that holds them.
    let member = format!("linux-64/{name}");
    let spec = PackageSpec::new("p", "1.0", "0").payload_path(&member);
    let zst = zstd_from(bomb_tar(&member, 65 << 20));
    for (file, bytes) in [
        ("p-1.0-0.conda", conda_with(&spec, 1, zst)),
        ("p-1.0-0.conda", conda_with(&spec, 1, zeros(quick))),
        ("p-1.0-0.tar.bz2", with_member(&member, 65 << 20)),
        ("p-1.0-0.tar.bz2", zeros(levelled)),
    ] {
        let scene = Scene::of_three();
        scene.write(file, bytes);
        let run = bounded(&scene, &["channel", "--patch-generator", file]);
        run.exits(1).says(file);
    }
}

#[test]
fn documents_that_become_large_are_refused_or_passed_over() {
    let rows: Vec<(&str, &str, Vec<u8>, Option<&str>)> = vec![
        ("deep", "about.json", "[".repeat(900_000).into(), None),
        ("deep", "paths.json", "[".repeat(900_000).into(), None),
        (
            "deep",
            "run_exports.json",
            "[".repeat(900_000).into(),
            Some("run_exports.json can't be read"),
        ),
        (
            "many values",
            "run_exports.json",
            many("[", 500_000, |_| "0".into(), "]"),
            Some("run_exports.json"),
        ),
        (
            "many values",
            "about.json",
            many("[", 500_000, |_| "0".into(), "]"),
            None,
        ),
        (
            "a text of ten megabytes",
            "paths.json",
            format!(
                "{{\"paths\":[{{\"_path\":\"{}\"}}]}}",
                "p".repeat(10_000_000)
            )
            .into(),
            None,
        ),
        (
            "a key of ten megabytes",
            "paths.json",
            format!("{{\"{}\":[]}}", "p".repeat(10_000_000)).into(),
            None,
        ),
        ("deep", "recipe/meta.yaml", "[".repeat(500_000).into(), None),
        (
            "deep",
            "recipe/meta.yaml",
            "- ".repeat(500_000).into(),
            None,
        ),
        (
            "deep",
            "recipe/meta.yaml",
            "? ".repeat(500_000).into(),
            None,
        ),
        ("laughter", "recipe/meta.yaml", laughter(), None),
        (
            "anchors",
            "recipe/meta.yaml",
            "&a ".repeat(300_000).into(),
            None,
        ),
        (
            "tags",
            "recipe/meta.yaml",
            "!a ".repeat(300_000).into(),
            None,
        ),
        (
            "quotes",
            "recipe/meta.yaml",
            "\"\\x".repeat(300_000).into(),
            None,
        ),
        (
            "tabs",
            "recipe/meta.yaml",
            "\t:\n".repeat(300_000).into(),
            None,
        ),
        (
            "indentation",
            "recipe/meta.yaml",
            (0..1_400)
                .map(|depth| " ".repeat(depth) + "a:\n")
                .collect::<String>()
                .into(),
            None,
        ),
    ];
    let scene = Scene::new();
    for (at, (_, member, bytes, _)) in rows.iter().enumerate() {
        let spec = PackageSpec::new(&format!("d{at}"), "1.0", "0");
        let mut info = vec![spec.index_member()];
        info.push(TarMember::file(format!("info/{member}"), bytes.as_slice()));
        let tar = tar_of_members(&[info, spec.payload_members()].concat());
        scene.write(
            &format!("channel/linux-64/d{at}-1.0-0.tar.bz2"),
            bz2(&tar, 1),
        );
    }
    let run = bounded(&scene, &["channel", "--json", "--all"]).exits(3);
    let refused = run.refusals();
    for (at, (what, member, _, words)) in rows.iter().enumerate() {
        let path = format!("linux-64/d{at}-1.0-0.tar.bz2");
        let why = refused.get(&path);
        match words {
            Some(words) => assert!(why.unwrap().contains(words), "{what} in {member}: {why:?}"),
            None => assert!(why.is_none(), "{what} in {member}: {why:?}"),
        }
        assert_eq!(
            scene.is_listed(&path),
            words.is_none(),
            "{what} in {member}"
        );
    }
}

/// Aliases of aliases: a billion texts in a few lines.
fn laughter() -> Vec<u8> {
    let mut yaml = String::from("source: {url: &a0 [lol, lol]}\n");
    for depth in 1..60 {
        let last = depth - 1;
        yaml += &format!("a{depth}: &a{depth} [*a{last}, *a{last}, *a{last}, *a{last}]\n");
    }
    yaml.into_bytes()
}

#[test]
fn metadata_that_becomes_large_is_refused_or_listed() {
    let index = |text: &str| {
        let text = format!("{{\"name\":\"NAME\",\"version\":\"1.0\",\"build\":\"0\",{text}}}");
        text.into_bytes()
    };
    let rows: Vec<(&str, Vec<u8>, Option<&str>)> = vec![
        (
            "a megabyte of digits",
            index(&format!("\"build_number\":{}", "9".repeat(1 << 20))),
            Some("out of range"),
        ),
        (
            "a megabyte of digits behind a point",
            index(&format!("\"x\":0.{}", "9".repeat(1 << 20))),
            None,
        ),
        ("1e999999", index("\"timestamp\":1e999999"), Some("range")),
        (
            "a megabyte of an exponent",
            index(&format!("\"x\":1e-{}", "9".repeat(1 << 20))),
            None,
        ),
        (
            "a key of a megabyte",
            index(&format!("\"{}\":1", "k".repeat(1 << 20))),
            None,
        ),
        (
            "a million keys",
            index(
                &(0..1_000_000)
                    .map(|at| format!("\"{at}\":0"))
                    .collect::<Vec<_>>()
                    .join(","),
            ),
            Some("250000 values"),
        ),
        (
            "a million objects",
            index(&format!("\"x\":[{}0]", "{},".repeat(1_000_000))),
            Some("250000 values"),
        ),
        (
            "nested 5,000,000 deep",
            index(&format!("\"x\":{}", "[".repeat(5_000_000))),
            Some("250000 values"),
        ),
        (
            "nested 100,000 deep by objects",
            index(&format!("\"x\":{}", "{\"x\":".repeat(100_000))),
            Some("JSON"),
        ),
        (
            "a name of a megabyte",
            format!("{{\"name\":\"{}\"}}", "n".repeat(1 << 20)).into(),
            Some(""),
        ),
        (
            "a depends of 200,000",
            index(&format!("\"depends\":[{}\"x\"]", "\"x\",".repeat(200_000))),
            None,
        ),
        (
            "a depends of half a megabyte of brackets",
            index(&format!("\"depends\":[\"x[{}\"]", "(".repeat(500_000))),
            None,
        ),
        (
            "a version of half a megabyte",
            format!(
                "{{\"name\":\"NAME\",\"version\":\"{}1\",\"build\":\"0\"}}",
                "1.".repeat(250_000)
            )
            .into(),
            Some(""),
        ),
    ];
    let scene = Scene::new();
    for (at, (_, bytes, _)) in rows.iter().enumerate() {
        let name = format!("i{at}");
        let spec = PackageSpec::new(&name, "1.0", "0");
        let text = String::from_utf8(bytes.clone()).unwrap();
        let spec = spec.index_json(text.replacen("NAME", &name, 1));
        let tar = tar_of_members(&[vec![spec.index_member()], spec.payload_members()].concat());
        scene.write(
            &format!("channel/linux-64/i{at}-1.0-0.tar.bz2"),
            bz2(&tar, 1),
        );
    }
    let run = bounded(&scene, &["channel", "--json", "--all"]).exits(3);
    let refused = run.refusals();
    for (at, (what, _, words)) in rows.iter().enumerate() {
        let why = refused.get(&format!("linux-64/i{at}-1.0-0.tar.bz2"));
        match words {
            Some(words) => {
                let why = why.unwrap_or_else(|| panic!("{what} is listed"));
                assert!(why.contains(words) && why.len() < 3_000, "{what}: {why}");
            }
            None => assert!(why.is_none(), "{what}: {why:?}"),
        }
    }
}

/// One package of a few kilobytes whose dependencies are 16 MiB of versions, and hundreds with as many as are read.
#[test]
fn dependencies_that_name_many_versions_are_listed_in_flat_memory() {
    // So many MatchSpecs, each a little different, of so many clauses.
    let depends = |specs: usize, clauses: usize, clause: &str, end: &str| {
        let specs: Vec<String> = (0..specs)
            .map(|at| format!("a {at}{}{end}", clause.repeat(clauses - 1)))
            .collect();
        json!({"name": "NAME", "version": "1.0", "build": "0", "depends": specs}).to_string()
    };
    let scene = Scene::of_three();
    let write = |name: &str, text: &str| {
        let spec = PackageSpec::new(name, "1.0", "0").index_json(text.replacen("NAME", name, 1));
        let tar = tar_of_members(&[vec![spec.index_member()], spec.payload_members()].concat());
        scene.write(
            &format!("channel/noarch/{name}-1.0-0.tar.bz2"),
            bz2(&tar, 1),
        );
    };
    // Whether the package stands among those that every client sees: others may need more than it knows.
    let crowds = [
        (depends(1020, 8100, "|1", ""), true),
        (depends(100, 5400, "|<0", "[md5=when]"), false),
        (depends(100, 3200, "|^a$", ""), true),
        (depends(100, 1000, "|^(x{99}){9}$", "[md5=when]"), false),
        (depends(30_000, 60, "|1", ""), true),
        (depends(7_000, 15, "|^(x{99}){9}$", "[when=b]"), false),
    ];
    for (at, (text, _)) in crowds.iter().enumerate() {
        write(&format!("crowd{at}"), text);
    }
    for at in 0..260 {
        let text = depends(34, 256, "|1", "");
        write(
            &format!("many{at}"),
            &text.replace("a ", &format!("a {at}.")),
        );
    }
    let call = scene.call(&["channel", "--json", "--current-repodata"]);
    let ran = measured(call, MIB);
    let run = ran.run.exits(0).counts("listed", 269);
    for (at, (_, listed)) in crowds.iter().enumerate() {
        let file = format!("noarch/crowd{at}-1.0-0.tar.bz2");
        assert_eq!(scene.is_listed(&file), *listed, "{file}");
    }
    run.says("crowd0-1.0-0.tar.bz2: its dependencies name more than 10000 versions");
    assert!(ran.peak < 400 << 10, "{} KiB", ran.peak);
}

#[test]
fn a_cache_that_is_none_never_fills_the_memory() {
    let scene = Scene::of_three();
    scene.index(&["--cache", "own"]).exits(0);
    let whole = scene.read("own/cache.db");
    let mut claims = whole.clone();
    // The header's page count and the sizes in its first pages (SQLite, database file format, 1.3 and 1.6).
    claims[28..32].fill(0xff);
    claims[100..120].fill(0xff);
    let sparse = |length: u64| {
        let file = std::fs::File::create(scene.path("own/cache.db")).unwrap();
        file.set_len(length).unwrap();
        (&file).write_all(&whole).unwrap();
    };
    for kind in 0..3 {
        match kind {
            0 => scene.write("own/cache.db", &claims),
            1 => scene.write("own/cache.db", [&whole[..100], &[0xff; 100_000]].concat()),
            _ => sparse(1 << 40),
        }
        let run = bounded(&scene, &["channel", "--json", "--cache", "own"]);
        run.exits(0).counts("listed", 3).counts("signed", 0);
    }
    // A row of many megabytes.
    let rows = rusqlite::Connection::open(scene.path("own/cache.db")).unwrap();
    let huge = "UPDATE package SET record = replace(hex(zeroblob(10000000)), '0', '[')";
    rows.execute(huge, []).unwrap();
    rows.execute("DELETE FROM ledger", []).unwrap();
    drop(rows);
    let run = bounded(&scene, &["channel", "--json", "--cache", "own"]);
    run.exits(0).counts("listed", 3).counts("signed", 0);
}

/// Everything that is read of a signature and of keys, huge, and in each place where one is read.
#[test]
fn signatures_and_keys_that_are_large_are_not_read() {
    let huge = |scene: &Scene, path: &str, begin: &[u8]| {
        let file = std::fs::File::create(scene.path(path)).unwrap();
        (&file).write_all(begin).unwrap();
        file.set_len(1 << 40).unwrap();
    };
    let scene = Scene::of_three();
    let sig = "channel/linux-64/a-1.0-0.conda.sig";
    huge(&scene, sig, b"fixture ");
    let run = bounded(&scene, &["channel", "--json"]).exits(3);
    run.refuses("linux-64/a-1.0-0.conda", "8 KiB");
    let verify = bounded(&scene, &["verify", "channel"]).exits(1);
    verify.says("8 KiB");
    let begin = std::fs::read(fixtures().join("keys/fixture.pub")).unwrap();
    for key in ["huge.pub", "huge"] {
        let begin = if key == "huge" {
            &b"-----BEGIN RSA PRIVATE KEY-----\n"[..]
        } else {
            &begin
        };
        let path = format!("home/.conda/keys/{key}");
        huge(&scene, &path, begin);
        scene.set_mode(&path, 0o600);
        bounded(&scene, &["keys"]).exits(1).says("64 KiB");
    }
    scene.write("data", "x");
    let sign = bounded(&scene, &["sign", "data", "--key", "huge"]);
    sign.exits(1).says("64 KiB");
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}", "A".repeat(100_000));
    let call = scene.call(&["sign", "data"]);
    let call = call
        .env("SIGINDEX_PRIVATE_KEY", pem)
        .env("SIGINDEX_KEY_NAME", "it");
    measured(call, MIB)
        .run
        .exits(1)
        .says("SIGINDEX_PRIVATE_KEY");
}

/// A tag, a length and a value in DER.
fn der(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap().to_be_bytes();
    match value.len() {
        0..=0x7f => [&[tag, length[1]][..], value].concat(),
        0x80..=0xff => [&[tag, 0x81, length[1]][..], value].concat(),
        _ => [&[tag, 0x82][..], &length, value].concat(),
    }
}

fn integer(number: u64) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    let short: Vec<u8> = bytes.into_iter().skip_while(|byte| *byte == 0).collect();
    der(
        2,
        &[&[0][..], &short].concat()[usize::from(short[0] < 0x80)..],
    )
}

/// An encrypted PKCS#8 (RFC 8018, PBES2) of this derivation, by its object identifier and parameters.
fn sealed(derivation: &[u8]) -> String {
    use base64ct::Encoding as _;
    let aes = [
        6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 0x2a, 4, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0,
    ];
    let pbes2 = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 13];
    let parameters = der(0x30, &[der(0x30, derivation), der(0x30, &aes)].concat());
    let algorithm = der(0x30, &[&pbes2[..], &parameters].concat());
    let info = der(0x30, &[algorithm, der(4, &[7; 64])].concat());
    let text = base64ct::Base64::encode_string(&info);
    let lines: Vec<String> = text
        .as_bytes()
        .chunks(64)
        .map(|line| String::from_utf8(line.to_vec()).unwrap())
        .collect();
    let label = "ENCRYPTED PRIVATE KEY";
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

#[test]
fn derivations_that_take_years_or_gigabytes_are_not_begun() {
    let scrypt = |n: u64, r: u64, p: u64| {
        let id = [6, 9, 0x2b, 6, 1, 4, 1, 0xda, 0x47, 4, 11];
        let cost = [der(4, &[1; 16]), integer(n), integer(r), integer(p)];
        [&id[..], &der(0x30, &cost.concat())].concat()
    };
    let pbkdf2 = |rounds: u64| {
        let id = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 12];
        let sha256 = [6, 8, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2, 9, 5, 0];
        let cost = [der(4, &[1; 16]), integer(rounds), der(0x30, &sha256)];
        [&id[..], &der(0x30, &cost.concat())].concat()
    };
    let scene = Scene::without_key();
    scene.write("data", "x");
    let sign = |pem: &str| {
        scene.write("home/.conda/keys/k", pem);
        scene.set_mode("home/.conda/keys/k", 0o600);
        let call = scene.call(&["sign", "data", "--key", "k"]);
        measured(call.env("SIGINDEX_PASSPHRASE", "it"), MIB)
            .run
            .exits(1)
    };
    for (what, derivation) in [
        ("scrypt of 8 TiB", scrypt(1 << 33, 8, 1)),
        ("scrypt of 1 GiB, which is not there", scrypt(1 << 20, 8, 1)),
        ("scrypt of 64 lanes of 128 MiB", scrypt(1 << 17, 8, 64)),
        ("scrypt of 65,535 lanes", scrypt(1 << 14, 8, 65_535)),
        ("scrypt of a block of 65,535", scrypt(1 << 16, 65_535, 1)),
        ("PBKDF2 of 99,999,999 rounds", pbkdf2(99_999_999)),
        ("PBKDF2 of 4 billion rounds", pbkdf2(u64::from(u32::MAX))),
        ("PBKDF2 of 2^60 rounds", pbkdf2(1 << 60)),
    ] {
        let run: Run = sign(&sealed(&derivation));
        let said = run.stderr.contains("too much memory or time")
            || run.stderr.contains("encrypted in a way");
        assert!(said, "{what}: {}", run.stderr);
    }
    // One that can be borne is derived, and its passphrase is wrong.
    let public = std::fs::read(fixtures().join("keys/fixture.pub")).unwrap();
    scene.write("home/.conda/keys/k.pub", public);
    sign(&sealed(&scrypt(1 << 14, 8, 1))).says("passphrase");
    sign(&sealed(&pbkdf2(10_000))).says("passphrase");
    assert!(!scene.exists("data.sig"));
}

#[test]
fn a_report_of_many_refusals_is_no_bomb_either() {
    let scene = Scene::of_three();
    for at in 0..3_000 {
        scene.write(&format!("channel/linux-64/r{at}-1.0-0.conda"), "no package");
    }
    let run = bounded(&scene, &["channel", "--json"]).exits(3);
    assert_eq!(run.refusals().len(), 3_000);
    let plain = bounded(&scene, &["channel"]).exits(3);
    assert!(plain.stdout.lines().count() < 3_100, "{}", plain.stdout);
    assert_eq!(json!(run.report()["counts"]["listed"]), 3);
}

/// Files of a signed index: dense with values, deep, and huge.
#[cfg(feature = "tuf")]
#[test]
fn a_planted_signed_index_never_fills_the_memory() {
    let scene = Scene::of_three();
    scene.init_signed_index();
    scene.index(&["--key", "fixture"]).exits(0);
    let dense = many(
        "{\"signed\":{\"meta\":[",
        1_000_000,
        |_| "{\"\":0}".into(),
        "]}}",
    );
    let deep = "{\"signed\":".repeat(1_000_000).into_bytes();
    let mut tried = 0;
    for entry in std::fs::read_dir(scene.path("channel/tuf")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.ends_with(".json") {
            continue;
        }
        let path = format!("channel/tuf/{name}");
        let whole = scene.read(&path);
        for bytes in [&dense, &deep, &Vec::new()] {
            scene.write(&path, bytes);
            if bytes.is_empty() {
                let file = std::fs::File::create(scene.path(&path)).unwrap();
                file.set_len(1 << 40).unwrap();
            }
            for args in [
                &["channel", "--key", "fixture", "--dry-run"][..],
                &["channel", "--key", "fixture", "--dry-run", "--accept-index"],
                &["trust", "show", "channel"],
                &["verify", "channel"],
            ] {
                tried += 1;
                let run = bounded(&scene, args);
                let said = [run.stderr.as_str(), &run.stdout].concat();
                assert!(said.contains(&format!("tuf/{name}")), "{args:?}: {said}");
                // Whoever takes the index as it stands takes it without its chain, but never without its root.
                let ended = match (args.contains(&"--accept-index"), run.status()) {
                    (true, Some(0)) => !name.ends_with(".root.json") && said.contains("warning: "),
                    (_, status) => status == Some(1),
                };
                assert!(ended, "{name} {args:?}: {:?} {said}", run.status());
            }
        }
        scene.write(&path, &whole);
    }
    assert!(tried > 30, "{tried}");
    scene
        .index(&["--key", "fixture"])
        .exits(0)
        .counts("opened", 0);
    scene.run(&["verify", "channel"]).exits(0);
}

#[test]
fn attestations_that_become_large_refuse_their_package_alone() {
    let scene = Scene::of_three();
    let (a, package) = (
        "channel/linux-64/a-1.0-0.conda.sigs",
        "linux-64/a-1.0-0.conda",
    );
    let payload = |text: String| {
        use base64ct::Encoding as _;
        let payload = base64ct::Base64::encode_string(text.as_bytes());
        format!("[{{\"dsseEnvelope\":{{\"payload\":\"{payload}\"}}}}]").into_bytes()
    };
    for bytes in [
        "[".repeat(5_000_000).into_bytes(),
        many("[{", 1_000_000, |at| format!("\"{at}\":0"), "}]"),
        many("[", 2_000_000, |_| "{}".into(), "]"),
        payload("[".repeat(5_000_000)),
        payload(format!("[{}0]", "{},".repeat(1_000_000))),
        vec![b' '; (16 << 20) + 1],
    ] {
        scene.write(a, bytes);
        let run = bounded(&scene, &["channel", "--json"]).exits(3);
        run.refuses(package, "").counts("listed", 2);
    }
}
