//! What an `index.json` says and what becomes of it, value by value.

use serde_json::{Value, json};

use crate::limits::bounded;
use crate::scene::builder::{Format, PackageSpec};
use crate::scene::{EPOCH, Scene};

#[test]
fn odd_values_are_kept_and_those_of_the_index_are_its_own() {
    let huge = "123456789012345678901234567890";
    let rows = [
        ("timestamp", "99999999999999", "99999999999999"),
        ("timestamp", "99999999999999.5", "99999999999999.5"),
        ("timestamp", "9223372036854775808", "9223372036854775808"),
        ("timestamp", "-1", "-1"),
        ("timestamp", "0", "0"),
        ("timestamp", huge, huge),
        ("timestamp", "1e300", "1e+300"),
        ("timestamp", "\"yesterday\"", "\"yesterday\""),
        ("timestamp", "null", "null"),
        ("build_number", "-7", "-7"),
        ("build_number", huge, huge),
        ("build_number", "1.5", "1.5"),
        ("build_number", "\"x\"", "\"x\""),
        ("depends", "\"python\"", "\"python\""),
        ("depends", "[1,null,[]]", "[1,null,[]]"),
        ("depends", "{}", "{}"),
        ("license", "[]", "[]"),
        ("noarch", "true", "true"),
        ("track_features", "7", "7"),
        ("unknown", "{\"a\":[]}", "{\"a\":[]}"),
        // What follows is the index's own, whatever the package says.
        ("size", "-1", ""),
        ("size", huge, ""),
        ("md5", "\"0\"", ""),
        ("sha256", "[]", ""),
        ("sig", "\"../../x\"", ""),
        ("signature", "7", ""),
        ("indexed_timestamp", "-1", ""),
    ];
    let scene = Scene::new();
    let mut paths = Vec::new();
    for (at, (key, value, _)) in rows.iter().enumerate() {
        let spec = PackageSpec::new(&format!("v{at}"), "1.0", "0").extra_text(key, value);
        paths.push(scene.put(&spec, Format::Conda));
    }
    let flags = ["channel", "--json", "--all"];
    let run = bounded(&scene, &flags).exits(0).counts("refused", 0);
    for ((key, value, _), path) in rows.iter().zip(&paths) {
        let ahead = *key == "timestamp" && value.parse().is_ok_and(|time: f64| time > 1e13);
        let warned = format!("{path}: its timestamp lies in the future");
        assert_eq!(run.stderr.contains(&warned), ahead, "{key} {value}");
    }
    let text = scene.text("channel/linux-64/repodata.json");
    for ((key, value, kept), path) in rows.iter().zip(&paths) {
        let record = scene.record(path);
        let length = scene.read(&format!("channel/{path}")).len();
        assert_eq!(record["size"], json!(length), "{key} {value}");
        assert_eq!(record["sig"], json!("."), "{key} {value}");
        assert_eq!(record["sha256"].as_str().unwrap().len(), 64);
        assert!(record["indexed_timestamp"].as_i64().unwrap() > 0);
        let said = format!("\"{key}\":{kept}");
        assert!(kept.is_empty() || text.contains(&said), "{said} is lost");
    }
}

#[test]
fn a_mismatch_of_every_kind_is_refused_and_listed_on_demand() {
    let spec = |at: usize| PackageSpec::new(&format!("x{at}"), "1.0", "0");
    let wrong: [(&str, Value); 7] = [
        ("name", json!("x")),
        ("name", json!("X0")),
        ("version", json!("1.00")),
        ("version", json!("1")),
        ("build", json!("00")),
        ("subdir", json!("noarch")),
        ("subdir", json!("linux-64/")),
    ];
    let scene = Scene::new();
    let rows = wrong.iter().enumerate();
    let paths: Vec<String> = rows
        .map(|(at, (key, value))| {
            let spec = spec(at).extra(key, value.clone()).folder("linux-64");
            scene.put(&spec, Format::Conda)
        })
        .collect();
    let run = scene.index(&[]).exits(3).has("refused", &paths);
    for why in run.refusals().values() {
        assert!(why.contains("--allow-mismatch"), "{why}");
    }
    let run = scene.index_at(EPOCH, &["--allow-mismatch"]);
    let listed = paths.iter().filter(|path| scene.is_listed(path)).count();
    assert!(listed >= 6, "{listed}: {}", run.stderr);
}

#[test]
fn names_that_no_record_may_have_are_refused_whatever_is_allowed() {
    let wrong = [
        ("name", json!("")),
        ("name", json!("../x")),
        ("name", json!("a/b")),
        ("name", json!("a\\b")),
        ("name", json!("a\u{0}b")),
        ("name", json!("a\u{1b}[2Jb")),
        ("name", json!("a\u{202e}b")),
        ("name", json!("a\u{2066}b")),
        ("name", json!("a\u{85}b")),
        ("name", json!("a\u{2028}b")),
        ("name", json!(["a"])),
        ("version", json!({"a": 1})),
        ("version", json!(true)),
        ("version", json!("1/2")),
        ("build", json!(0)),
        ("build", json!("0\n")),
    ];
    let scene = Scene::new();
    for (at, (key, value)) in wrong.iter().enumerate() {
        let spec = PackageSpec::new(&format!("w{at}"), "1.0", "0").extra(key, value.clone());
        scene.put(&spec, Format::Conda);
    }
    let run = scene.index(&["--allow-mismatch"]).exits(3);
    let refused = run.refusals();
    for (at, (key, value)) in wrong.iter().enumerate() {
        let why = refused.get(&format!("linux-64/w{at}-1.0-0.conda"));
        let why = why.unwrap_or_else(|| panic!("{key} {value} is listed"));
        assert!(!why.chars().any(char::is_control), "{key} {value}: {why:?}");
    }
}

#[test]
fn a_dash_in_a_version_or_build_is_a_mismatch() {
    let scene = Scene::new();
    for (name, version, build, agrees) in [
        ("openssl", "3.0", "0", true),
        ("openssl-fips", "9.8", "0", true),
        ("openssl", "fips-9.9", "0", false),
        ("openssl", "9-9", "0", false),
        ("openssl", "9", "1-0", false),
    ] {
        let path = scene.put(&PackageSpec::new(name, version, build), Format::Conda);
        let run = scene.index(&[]).exits(if agrees { 0 } else { 3 });
        assert_eq!(scene.is_listed(&path), agrees, "{path}");
        if !agrees {
            let why = &run.refusals()[&path];
            assert!(why.contains("--allow-mismatch"), "{why}");
            scene.index(&["--allow-mismatch"]).exits(0);
            assert!(scene.is_listed(&path), "{path}");
            scene.remove(&format!("channel/{path}"));
        }
    }
}
