//! Which files are written and where, and what a record in them holds.

use std::io::Read as _;

use serde_json::{Value, json};

use crate::scene::Scene;
use crate::scene::builder::{Format, PackageSpec};

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_record_is_the_packages_own_metadata_and_what_the_contract_adds() {
    use sha2::Digest as _;
    let scene = Scene::new();
    let spec = PackageSpec::new("a", "1.0", "0")
        .depends(["python >=3.9,<3.10.0a0", "Numpy  1.8*"])
        .extra_text("unheard_of", "[1.10, 1e3, 12345678901234567890123, \"é\"]")
        .extra("has_prefix", json!("dropped as conda-index drops it"))
        .extra("md5", json!("a lie"));
    let a = scene.put(&spec, Format::Conda);
    scene.index_at("1763795000", &[]).exits(0);
    let record = scene.record(&a);
    let bytes = scene.read(&format!("channel/{a}"));
    assert_eq!(
        record["depends"],
        json!(["python >=3.9,<3.10.0a0", "Numpy  1.8*"])
    );
    assert_eq!(record["sha256"], hex(&sha2::Sha256::digest(&bytes)));
    assert_eq!(record["md5"], hex(&md5::Md5::digest(&bytes)));
    assert_eq!(record["size"], bytes.len());
    assert_eq!(record["indexed_timestamp"], 1_763_795_000_000_u64);
    assert_eq!(record["sig"], ".");
    assert_eq!((record.get("has_prefix"), record.get("arch")), (None, None));
    let signature = &record["signature"];
    let sig = scene.text(&format!("channel/{a}.sig"));
    assert_eq!(
        sig,
        format!("fixture {}\n", signature["value"].as_str().unwrap())
    );
    assert_eq!(signature["key"], "fixture");
    assert_eq!(signature["scheme"], "rsa-pss-sha256");
    assert_eq!(signature["fingerprint"].as_str().unwrap().len(), 64);
    assert_eq!(signature.as_object().unwrap().len(), 4);
    let text = scene.text("channel/linux-64/repodata.json");
    let as_python_prints = r#""unheard_of":[1.1,1000.0,12345678901234567890123,"\u00e9"]"#;
    assert!(text.contains(as_python_prints), "{text}");
}

#[test]
fn the_index_names_its_maker_its_subdir_and_its_keys() {
    let scene = Scene::of_three();
    scene.index(&[]).exits(0);
    let repodata = scene.repodata("linux-64");
    let fingerprint = scene.record("linux-64/a-1.0-0.conda")["signature"]["fingerprint"].clone();
    let info = json!({
        "generator": "sigindex",
        "subdir": "linux-64",
        "signing_keys": {fingerprint.as_str().unwrap(): {"name": "fixture", "bits": 2048}},
    });
    assert_eq!(repodata["info"], info);
    assert_eq!(repodata["repodata_version"], 1);
    scene
        .run(&["keys"])
        .exits(0)
        .says(fingerprint.as_str().unwrap());
    // There is always a noarch.
    assert_eq!(scene.repodata("noarch")["info"]["subdir"], "noarch");
}

#[test]
fn detached_leaves_the_signatures_themselves_out() {
    let scene = Scene::of_three();
    let a = scene.package("a");
    scene.index(&["--signatures", "detached"]).exits(0);
    let record = scene.record(&a);
    assert_eq!(record["sig"], ".");
    assert_eq!(record["signature"].get("value"), None);
    assert_eq!(record["signature"]["key"], "fixture");
    assert!(scene.exists(&format!("channel/{a}.sig")));
    let run = scene.index(&[]).exits(0).counts("opened", 0);
    run.counts("signed", 0);
    assert!(scene.record(&a)["signature"]["value"].is_string());
}

#[test]
fn the_zst_twin_says_how_long_its_content_is() {
    let scene = Scene::of_three();
    scene.index(&[]).exits(0);
    let (plain, twin) = (
        scene.read("channel/linux-64/repodata.json"),
        scene.read("channel/linux-64/repodata.json.zst"),
    );
    let size = zstd::zstd_safe::get_frame_content_size(&twin).unwrap();
    assert_eq!(size, Some(u64::try_from(plain.len()).unwrap()));
    let length = zstd::zstd_safe::find_frame_compressed_size(&twin).unwrap();
    assert_eq!(length, twin.len(), "it is one frame");
    assert_eq!(zstd::decode_all(twin.as_slice()).unwrap(), plain);
}

#[test]
fn what_a_flag_turns_off_is_removed() {
    let scene = Scene::of_three();
    let at = |name: &str| format!("channel/linux-64/{name}");
    scene.index(&["--bz2"]).exits(0);
    let mut plain = Vec::new();
    let twin = scene.read(&at("repodata.json.bz2"));
    bzip2::read::BzDecoder::new(twin.as_slice())
        .read_to_end(&mut plain)
        .unwrap();
    assert_eq!(plain, scene.read(&at("repodata.json")));
    assert!(scene.exists(&at("repodata.json.zst")));
    scene.index(&["--no-zst"]).exits(0).counts("opened", 0);
    assert!(!scene.exists(&at("repodata.json.zst")) && !scene.exists(&at("repodata.json.bz2")));
    scene.index(&[]).exits(0);
    assert!(scene.exists(&at("repodata.json.zst")) && !scene.exists(&at("repodata.json.bz2")));
}

#[test]
fn no_compact_indents_and_says_the_same() {
    let scene = Scene::of_three();
    scene.index(&[]).exits(0);
    let compact = scene.text("channel/linux-64/repodata.json");
    assert!(!compact.contains('\n'));
    scene.index(&["--no-compact"]).exits(0);
    let indented = scene.text("channel/linux-64/repodata.json");
    assert!(
        indented.starts_with("{\n  \"info\": {\n    \"generator\": \"sigindex\""),
        "{indented}"
    );
    let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(parse(&compact), parse(&indented));
}

#[test]
fn the_deepest_metadata_that_is_taken_in_is_printed_in_every_form() {
    let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    let scene = Scene::of_three();
    let deep = PackageSpec::new("deep", "1.0", "0").extra("x", nested(63));
    let deep = deep.run_exports(json!({"weak": nested(63)}));
    scene.put(&deep, Format::Conda);
    let name = "deep-1.0-0.conda";
    scene.index(&["--channeldata"]).exits(0);
    let compact = ["repodata.json", "run_exports.json"].map(|file| {
        let path = format!("channel/linux-64/{file}");
        (path.clone(), scene.json(&path))
    });
    scene.index(&["--no-compact", "--channeldata"]).exits(0);
    for (path, compact) in compact {
        assert!(scene.text(&path).starts_with("{\n  \"info\""), "{path}");
        assert_eq!(scene.json(&path), compact);
        assert!(compact["packages.conda"][name].is_object());
    }
    scene.run(&["verify", "channel"]).exits(0);
    // What is left of a package whose file is gone, once nothing is remembered of it.
    scene.remove(&format!("channel/linux-64/{name}"));
    scene.remove("cache");
    let run_exports = scene.read("channel/linux-64/run_exports.json");
    let data = scene.read("channel/channeldata.json");
    let flags = ["--no-compact", "--channeldata", "--update-only"];
    scene.index(&flags).exits(0);
    assert_eq!(scene.read("channel/linux-64/run_exports.json"), run_exports);
    assert_eq!(scene.read("channel/channeldata.json"), data);
}

#[test]
fn with_an_output_the_packages_folder_is_only_read() {
    let scene = Scene::of_three();
    let a = scene.package("a");
    let before = scene.snapshot("channel");
    scene
        .index(&["--output", "public"])
        .exits(0)
        .counts("signed", 3);
    assert!(
        scene.snapshot("channel") == before,
        "the packages' folder was written"
    );
    assert!(scene.exists(&format!("public/{a}.sig")));
    assert!(scene.exists("public/noarch/repodata.json"));
    let repodata = scene.json("public/linux-64/repodata.json");
    assert_eq!(repodata["packages.conda"]["a-1.0-0.conda"]["sig"], ".");
    let output = scene.snapshot("public");
    let run = scene.index(&["--output", "public"]).exits(0);
    run.counts("opened", 0).counts("kept", 3);
    assert!(scene.snapshot("public") == output && scene.snapshot("channel") == before);
    scene.change(&a);
    let run = scene.index(&["--output", "public"]).exits(1);
    run.refuses(&a, "changed since");
    scene.remove(&format!("channel/{a}"));
    let run = scene.index(&["--output", "public"]).exits(0);
    let run = run.has("removed", &[&a]).counts("listed", 2);
    let left = format!("{a}.sig: a signature without its package, in the output");
    run.says(&left);
    scene.index(&["--output", "public"]).exits(0).says(&left);
    // Not so where the package lies beside it.
    scene.write(&format!("public/{a}"), "x");
    let run = scene.index(&["--output", "public"]);
    run.never_says("without its package");
    scene.remove(&format!("public/{a}"));
    scene.remove(&format!("public/{a}.sig"));
    let run = scene.index(&["--output", "public"]).exits(0);
    run.never_says("without its package");
}

#[test]
fn a_signature_beside_the_package_counts_with_an_output_too() {
    let scene = Scene::of_three();
    scene.index(&[]).exits(0);
    let run = scene.index(&["--output", "public"]).exits(0);
    run.counts("kept", 3).counts("signed", 0);
    let record = &scene.json("public/linux-64/repodata.json")["packages.conda"]["a-1.0-0.conda"];
    let signature = &scene.record("linux-64/a-1.0-0.conda")["signature"];
    assert_eq!(&record["signature"], signature);
}

#[test]
fn subdir_takes_just_those_and_leaves_the_others() {
    let scene = Scene::new();
    scene.copy_fixture("channel");
    scene.index(&[]).exits(0);
    let (linux, noarch) = (
        scene.snapshot("channel/linux-64"),
        scene.snapshot("channel/noarch"),
    );
    scene.put(&PackageSpec::new("x", "1", "0"), Format::Conda);
    scene.put(
        &PackageSpec::new("y", "1", "0").subdir("osx-arm64"),
        Format::Conda,
    );
    let y = "osx-arm64/y-1-0.conda";
    let run = scene.index(&["--subdir", "osx-arm64"]).exits(0);
    run.has("added", &[y]).has("signed", &[y]);
    let now = scene.snapshot("channel/linux-64");
    let file = scene.path("channel/linux-64/repodata.json");
    assert_eq!(linux.get(&file), now.get(&file));
    assert!(scene.snapshot("channel/noarch") == noarch);
    let run = scene
        .index(&["--subdir", "linux-64", "--subdir", "noarch"])
        .exits(0);
    run.has("added", &["linux-64/x-1-0.conda"]);
}

#[test]
fn a_subdir_of_any_name_is_taken_when_it_is_named() {
    let scene = Scene::new();
    let spec = PackageSpec::new("a", "1.0", "0").subdir("My_Platform");
    let a = scene.put(&spec, Format::Conda);
    let run = scene.index(&[]).exits(0).counts("listed", 0);
    run.says("My_Platform").says("--subdir");
    scene
        .index(&["--subdir", "My_Platform"])
        .exits(0)
        .has("added", &[&a]);
    assert!(scene.is_listed(&a));
    for (name, status) in [("absent-64", 1), ("../channel", 2), ("", 2), (".git", 2)] {
        scene.index(&["--subdir", name]).exits(status).says(name);
    }
}
