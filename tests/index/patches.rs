//! Patches, from wherever they come, in every index file alike.

use serde_json::json;

use crate::msgpack;
use crate::scene::Scene;
use crate::scene::builder::{Format, PackageSpec};

const FIXES: &str = r#"{"patch_instructions_version": 1,
    "packages": {"b-1.0-0.tar.bz2": {"license": "patched"}, "absent-1-0.tar.bz2": {"license": "x"}},
    "packages.conda": {"a-1.0-0.conda": {"depends": ["patched"], "sha256": "00"}},
    "revoke": ["d-1.0-0.conda"], "remove": ["c-1.0-0.conda"]}"#;

fn scene() -> Scene {
    let scene = Scene::of_three();
    scene.put(&PackageSpec::new("d", "1.0", "0"), Format::Conda);
    scene
}

/// What each index file has to say then.
fn assert_patched(scene: &Scene) {
    let repodata = scene.repodata("linux-64");
    let packages = &repodata["packages.conda"];
    assert_eq!(
        repodata["packages"]["b-1.0-0.tar.bz2"]["license"],
        "patched"
    );
    assert_eq!(packages["a-1.0-0.conda"]["depends"], json!(["patched"]));
    assert_eq!(packages["d-1.0-0.conda"]["revoked"], true);
    assert_eq!(repodata["removed"], json!(["c-1.0-0.conda"]));
    let before = scene.json("channel/linux-64/repodata_from_packages.json");
    assert_eq!(before["removed"], json!([]));
    assert!(before["packages.conda"]["c-1.0-0.conda"].is_object());
    assert_eq!(
        before["packages"]["b-1.0-0.tar.bz2"].get("license"),
        Some(&json!("BSD-3-Clause"))
    );
    let index = msgpack::read(&scene.path("channel/linux-64/repodata_shards.msgpack.zst"));
    let shard = |name: &str| {
        let digest = index["shards"][name].as_str().unwrap();
        msgpack::read(&scene.path(&format!("channel/linux-64/shards/{digest}.msgpack.zst")))
    };
    assert_eq!(
        shard("a")["packages.conda"]["a-1.0-0.conda"]["depends"],
        json!(["patched"])
    );
    assert_eq!(shard("c")["removed"], json!(["c-1.0-0.conda"]));
    assert_eq!(
        shard("d")["packages.conda"]["d-1.0-0.conda"]["revoked"],
        true
    );
    let current = scene.json("channel/linux-64/current_repodata.json");
    assert_eq!(current["packages"]["b-1.0-0.tar.bz2"]["license"], "patched");
    let channeldata = scene.json("channel/channeldata.json");
    assert_eq!(channeldata["packages"]["b"]["license"], "patched");
    assert_eq!(channeldata["packages"].get("c"), None);
    let page = scene.text("channel/linux-64/index.html");
    assert!(page.contains("patched") && !page.contains("c-1.0-0"));
    // Run exports are patched by the second version alone, and tell of every package (CEP 12).
    let run_exports = scene.json("channel/linux-64/run_exports.json");
    assert!(run_exports["packages.conda"]["c-1.0-0.conda"].is_object());
}

#[test]
fn the_subdirs_own_instructions_reach_every_file() {
    let scene = scene();
    scene.write("channel/linux-64/patch_instructions.json", FIXES);
    let run = scene.index(&["--all"]).exits(0);
    let report = &run.report()["patches"];
    assert_eq!(report.as_array().unwrap().len(), 1);
    let patches = &report[0];
    assert_eq!(patches["subdir"], "linux-64");
    assert_eq!(patches["source"], "linux-64/patch_instructions.json");
    assert_eq!(patches["unmatched"], json!(["absent-1-0.tar.bz2"]));
    assert_eq!(patches["removed"], json!(["c-1.0-0.conda"]));
    assert_eq!(patches["revoked"], json!(["d-1.0-0.conda"]));
    assert_patched(&scene);
    scene.index(&["--all"]).exits(0).has::<&str>("files", &[]);
    // What a patch took away is published all the same, and bound.
    let c = scene.package("c");
    scene.change(&c);
    scene
        .index(&["--all"])
        .exits(1)
        .refuses(&c, "changed since it was published");
    scene.package("c");
    scene.remove("channel/linux-64/patch_instructions.json");
    scene.index(&["--all"]).exits(0);
    assert!(!scene.exists("channel/linux-64/repodata_from_packages.json"));
    assert!(!scene.exists("channel/linux-64/repodata_from_packages.json.zst"));
    assert!(scene.is_listed(&c));
}

#[test]
fn a_folder_a_package_a_name_and_a_script_do_the_same() {
    let scene = scene();
    scene.write("patches/linux-64/patch_instructions.json", FIXES);
    let package = PackageSpec::new("my-patches", "1", "0")
        .payload_path("linux-64/patch_instructions.json")
        .payload(FIXES);
    scene.write("patches.conda", package.bytes(Format::Conda));
    scene.write("patches.tar.bz2", package.bytes(Format::TarBz2));
    for (version, text) in [("2", FIXES), ("1.9", "{}")] {
        let package = PackageSpec::new("named", version, "0")
            .subdir("noarch")
            .payload_path("linux-64/patch_instructions.json")
            .payload(text);
        scene.put(&package, Format::Conda);
    }
    scene.write(
        "gen_patch.py",
        format!(
            "import json\nprint('a line of its own')\ndef _patch_repodata(repodata, subdir):\n    assert repodata['info']['subdir'] == subdir\n    print('another')\n    return json.loads('''{FIXES}''') if subdir == 'linux-64' else {{}}\n"
        ),
    );
    for source in [
        "patches",
        "patches.conda",
        "patches.tar.bz2",
        "named",
        "gen_patch.py",
    ] {
        if source.ends_with(".py") && !has_python() {
            continue;
        }
        scene
            .index(&["--all", "--patch-generator", source])
            .exits(0);
        assert_patched(&scene);
        scene
            .index(&["--all", "--patch-generator", source])
            .exits(0)
            .has::<&str>("files", &[]);
        scene.index(&["--all"]).exits(0);
        assert_eq!(scene.repodata("linux-64")["removed"], json!([]));
    }
    assert!(!scene.exists("__pycache__"));
}

fn has_python() -> bool {
    std::process::Command::new("python3")
        .arg("--version")
        .output()
        .is_ok()
}

#[test]
fn instructions_that_are_wrong_publish_nothing() {
    let scene = scene();
    scene.index(&[]).exits(0);
    let before = scene.snapshot("channel");
    let path = "channel/linux-64/patch_instructions.json";
    for (text, says) in [
        ("{", "patch_instructions.json"),
        (
            r#"{"patch_instructions_version": 3, "packages": {}}"#,
            "version",
        ),
        (r#"{"packages": []}"#, "packages"),
    ] {
        scene.write(path, text);
        scene.index(&[]).exits(1).says(says);
        scene.remove(path);
    }
    std::os::unix::fs::symlink("/etc/passwd", scene.path(path)).unwrap();
    scene.index(&[]).exits(1).says("is a symbolic link");
    scene.remove(path);
    // A folder's own time changes with what was put into it.
    for (path, seen) in scene.snapshot("channel") {
        assert!(
            seen.3.is_none() || before.get(&path) == Some(&seen),
            "{}",
            path.display()
        );
    }
    scene
        .index(&["--patch-generator", "absent.py"])
        .exits(1)
        .says("absent.py");
    scene
        .index(&["--patch-generator", "absent-package"])
        .says("absent-package");
}

#[test]
fn what_conda_index_leaves_behind_is_no_patch() {
    let scene = scene();
    scene.write(
        "channel/linux-64/patch_instructions.json",
        r#"{"a":{},"b":{}}"#,
    );
    scene.index(&[]).exits(0).says("it is not heeded");
    assert!(!scene.exists("channel/linux-64/repodata_from_packages.json"));
}

#[test]
fn patches_that_can_not_be_had_sign_nothing() {
    let scene = scene();
    let path = "channel/linux-64/patch_instructions.json";
    scene.write(path, "");
    let file = std::fs::File::options().write(true).open(scene.path(path));
    file.unwrap().set_len((64 << 20) + 1).unwrap();
    scene.index(&[]).exits(1).says("at most 64 MiB");
    scene.write(path, "{");
    scene.index(&[]).exits(1);
    scene.remove(path);
    let run = scene.index(&["--patch-generator", "nowhere"]).exits(1);
    run.says("no package of that name is in noarch");
    assert!(!scene.exists("channel/linux-64/a-1.0-0.conda.sig"));
}

#[test]
fn what_sums_up_the_channel_has_the_patches_of_subdirs_that_were_not_walked() {
    let scene = Scene::of_three();
    let spec = PackageSpec::new("exporting", "1.0", "0");
    let package = spec.run_exports(json!({"weak": ["exporting >=1"]}));
    scene.put(&package, Format::Conda);
    let fix = json!({"patch_instructions_version": 2, "packages.conda":
        {"exporting-1.0-0.conda": {"run_exports": {"weak": ["exporting >=1,<2"]}}}});
    scene.write("channel/linux-64/patch_instructions.json", fix.to_string());
    let told =
        || scene.json("channel/channeldata.json")["packages"]["exporting"]["run_exports"].clone();
    scene.index(&["--channeldata"]).exits(0);
    let patched = told();
    assert!(patched.to_string().contains("<2"), "{patched}");
    let before = scene.read("channel/channeldata.json");
    for _ in 0..2 {
        scene
            .index(&["--channeldata", "--subdir", "noarch"])
            .exits(0);
        assert_eq!(told(), patched);
        assert!(scene.read("channel/channeldata.json") == before);
        // Whether anything is remembered or not.
        scene.remove("cache");
    }
}

#[test]
fn a_package_of_patches_has_to_be_one_that_is_trusted() {
    let scene = scene();
    // Also where it is yet to be signed, in a dry run too.
    let other = PackageSpec::new("fresh", "1", "0")
        .subdir("noarch")
        .payload_path("linux-64/patch_instructions.json")
        .payload(FIXES);
    scene.put(&other, Format::Conda);
    scene
        .index(&["--dry-run", "--patch-generator", "fresh"])
        .exits(0);
    let package = PackageSpec::new("named", "1", "0")
        .subdir("noarch")
        .payload_path("linux-64/patch_instructions.json")
        .payload(FIXES);
    let package = scene.put(&package, Format::Conda);
    scene.index(&[]).exits(0);
    // It is found also where its subdir is not walked, and nothing else tells of the whole channel.
    let flags = [
        "--subdir",
        "linux-64",
        "--no-html",
        "--patch-generator",
        "named",
    ];
    scene.index(&flags).exits(0);
    assert_eq!(
        scene.repodata("linux-64")["removed"],
        json!(["c-1.0-0.conda"])
    );
    // There nothing vouches for it but its signature, whatever the published index says.
    let sig = format!("channel/{package}.sig");
    let good = scene.text(&sig);
    scene.write(&sig, scene.text("channel/linux-64/a-1.0-0.conda.sig"));
    let run = scene.index(&flags).exits(1);
    run.says("does not vouch for it").says("--subdir noarch");
    scene.remove(&sig);
    scene.index(&flags).exits(1).says("does not vouch for it");
    scene.write(&sig, good);
    let of_another = scene.text(&sig).replacen("fixture", "stranger", 1);
    scene.write(&sig, of_another);
    let flags = ["--keep-unknown", "--patch-generator", "named"];
    scene
        .index(&flags)
        .exits(1)
        .says("nobody could check the signature");
}

#[test]
fn what_patches_took_away_is_bound_also_where_there_are_only_shards() {
    let scene = scene();
    scene.write("channel/linux-64/patch_instructions.json", FIXES);
    let flags = ["--no-write-monolithic"];
    scene.index(&flags).exits(0);
    assert!(!scene.exists("channel/linux-64/repodata.json"));
    scene.remove("cache");
    scene
        .index(&flags)
        .exits(0)
        .has::<&str>("files", &[])
        .has::<&str>("added", &[]);
    let c = scene.package("c");
    scene.change(&c);
    scene
        .index(&flags)
        .exits(1)
        .refuses(&c, "changed since it was published");
}

#[test]
fn a_script_ends_with_the_run() {
    if !has_python() {
        return;
    }
    let scene = scene();
    scene.write(
        "slow.py",
        "import time\ndef _patch_repodata(repodata, subdir):\n    time.sleep(600)\n",
    );
    let run = scene.index_call(&["--patch-generator", "slow.py"]).start();
    let pid = run.id().to_string();
    // By then the packages are signed and the script runs, or the run ends all the sooner.
    while !scene.exists("channel/linux-64/d-1.0-0.conda.sig") {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    std::thread::sleep(std::time::Duration::from_millis(300));
    let kill = std::process::Command::new("kill")
        .args(["-TERM", &pid])
        .status();
    assert!(kill.unwrap().success());
    crate::scene::Run::of(run).exits(130);
    assert!(!scene.exists("channel/linux-64/repodata.json"));
}

#[test]
fn what_a_patch_may_not_take_away_stays_and_is_named() {
    let scene = scene();
    let fixes = json!({"removed": [], "packages.conda": {
        "a-1.0-0.conda": {"name": null, "version": 5, "build": "../x", "license": "fine"}}});
    scene.write(
        "channel/linux-64/patch_instructions.json",
        fixes.to_string(),
    );
    let run = scene.index(&[]).exits(0);
    let patches = &run.report()["patches"][0];
    let ignored = json!([{"package": "a-1.0-0.conda", "keys": ["build", "name", "version"]}]);
    assert_eq!(patches["ignored"], ignored);
    assert_eq!(patches["unknown"], json!(["removed"]));
    let record = scene.record("linux-64/a-1.0-0.conda");
    assert_eq!(
        (&record["name"], &record["license"]),
        (&json!("a"), &json!("fine"))
    );
}
