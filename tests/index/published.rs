//! What was published before, by sigindex or by others: times that survive, hashes that are put right,
//! and keys of a record that are kept.

use serde_json::{Value, json};

use crate::scene::Scene;

/// Makes the published index of a subdir one that another indexer wrote.
fn disown(scene: &Scene, subdir: &str, change: impl Fn(&mut Value)) {
    let path = format!("channel/{subdir}/repodata.json");
    let mut repodata = scene.json(&path);
    repodata["info"] = json!({"subdir": subdir});
    change(&mut repodata);
    scene.write(&path, repodata.to_string());
    scene.remove("cache/sigindex");
}

fn timestamp(scene: &Scene, package: &str) -> Value {
    scene.record(package)["indexed_timestamp"].clone()
}

#[test]
fn the_time_of_first_sight_survives_every_run() {
    let scene = Scene::of_three();
    let a = scene.package("a");
    scene.index_at("1000", &[]).exits(0);
    scene.index_at("2000", &["--resign"]).exits(0);
    scene
        .index_at("3000", &["--rehash", "--no-compact"])
        .exits(0);
    assert_eq!(timestamp(&scene, &a), 1_000_000);
    let d = scene.package("d");
    scene.index_at("4000", &[]).exits(0);
    assert_eq!(timestamp(&scene, &a), 1_000_000);
    assert_eq!(timestamp(&scene, &d), 4_000_000);
}

#[test]
fn the_time_never_falls_when_the_clock_does() {
    let scene = Scene::of_three();
    let (a, b) = (scene.package("a"), scene.package("b"));
    scene.index_at("5000", &[]).exits(0);
    scene.change(&b);
    scene.package("d");
    let run = scene.index_at("3000", &["--replace"]).exits(0);
    run.says("clock");
    assert_eq!(timestamp(&scene, &a), 5_000_000);
    assert!(timestamp(&scene, &b).as_u64() >= Some(5_000_000));
}

#[test]
fn a_clock_at_either_end_of_time_is_no_crash() {
    for seconds in ["0", "4294967296", "9223372036854775"] {
        let scene = Scene::of_three();
        scene.index_at(seconds, &[]).exits(0);
    }
    for wrong in ["-1", "soon", "1e9", "9223372036854775807"] {
        let scene = Scene::of_three();
        scene
            .index_at(wrong, &[])
            .exits(2)
            .says("SOURCE_DATE_EPOCH");
        assert!(!scene.exists("channel/linux-64/repodata.json"));
    }
}

#[test]
fn hashes_that_another_indexer_left_stale_are_put_right() {
    let scene = Scene::of_three();
    let a = scene.package("a");
    scene.index_at("1000", &[]).exits(0);
    let right = scene.record(&a);
    disown(&scene, "linux-64", |repodata| {
        let record = &mut repodata["packages.conda"]["a-1.0-0.conda"];
        record["sha256"] = json!("0".repeat(64));
        record["md5"] = json!("1".repeat(32));
    });
    let run = scene.index_at("2000", &[]).exits(0).says(&a).says("stale");
    run.counts("signed", 0).counts("refused", 0);
    let found = scene.record(&a);
    assert_eq!(
        (&found["sha256"], &found["md5"]),
        (&right["sha256"], &right["md5"])
    );
    assert_eq!(scene.repodata("linux-64")["info"]["generator"], "sigindex");
    // The second time it is sigindex's own, and no warning is due.
    scene.index(&[]).exits(0).never_says("stale");
}

#[test]
fn another_indexers_index_is_taken_over() {
    let scene = Scene::of_three();
    let a = scene.package("a");
    scene.index_at("1000", &[]).exits(0);
    for package in ["a-1.0-0.conda", "b-1.0-0.tar.bz2", "c-1.0-0.conda"] {
        scene.remove(&format!("channel/linux-64/{package}.sig"));
    }
    disown(&scene, "linux-64", |repodata| {
        for kind in ["packages", "packages.conda"] {
            for record in repodata[kind].as_object_mut().unwrap().values_mut() {
                for key in ["indexed_timestamp", "sig", "signature"] {
                    record.as_object_mut().unwrap().remove(key);
                }
            }
        }
    });
    let nothing: [&str; 0] = [];
    let run = scene.index_at("2000", &[]).exits(0).counts("signed", 3);
    run.has("added", &nothing).has("replaced", &nothing);
    assert_eq!(timestamp(&scene, &a), 2_000_000);
    scene.run(&["verify", "channel"]).exits(0);
}

#[test]
fn a_refused_package_of_another_indexers_index_holds_up_nothing() {
    // What others published does not bind: only what sigindex wrote shrinks silently to nobody.
    let scene = Scene::of_three();
    let a = scene.package("a");
    scene.index(&[]).exits(0);
    disown(&scene, "linux-64", |_| {});
    scene.change(&a);
    scene.index(&[]).exits(3).has("refused", &[&a]);
}

#[test]
fn what_repodata_from_packages_says_was_published_comes_first() {
    let scene = Scene::of_three();
    let a = scene.package("a");
    scene.index_at("1000", &[]).exits(0);
    let from = "channel/linux-64/repodata_from_packages.json";
    let mut repodata = scene.repodata("linux-64");
    repodata["packages.conda"]["a-1.0-0.conda"]["sha256"] = json!("0".repeat(64));
    scene.write(from, repodata.to_string());
    scene
        .index(&[])
        .exits(1)
        .refuses(&a, "changed since it was published");
}

#[test]
fn keys_that_a_record_had_from_elsewhere_are_kept() {
    let scene = Scene::of_three();
    let a = scene.package("a");
    scene.index(&[]).exits(0);
    let attestation = json!("ab".repeat(32));
    let signatures = json!({"00ff": {"signature": "beef"}});
    disown(&scene, "linux-64", |repodata| {
        let record = &mut repodata["packages.conda"]["a-1.0-0.conda"];
        record["attestations_sha256"] = attestation.clone();
        record["signatures"] = signatures.clone();
        repodata["signatures"] = json!({"a-1.0-0.conda": signatures, "gone-1-0.conda": {}});
    });
    for _ in 0..2 {
        scene.index(&[]).exits(0);
        let record = scene.record(&a);
        assert_eq!(record["attestations_sha256"], attestation);
        assert_eq!(record["signatures"], signatures);
        let top = scene.repodata("linux-64")["signatures"].clone();
        assert_eq!(top["a-1.0-0.conda"], signatures);
    }
    scene.change(&a);
    scene.index(&["--replace"]).exits(0);
    assert_eq!(
        scene.record(&a).get("attestations_sha256"),
        None,
        "they were of other bytes"
    );
}

#[test]
fn an_index_that_cannot_be_read_is_a_failure_and_stays() {
    let scene = Scene::of_three();
    for broken in [
        "",
        "{",
        "[]",
        "\u{0}",
        "{\"packages\": []}",
        &"[".repeat(200_000),
    ] {
        scene.write("channel/linux-64/repodata.json", broken);
        let run = scene.index(&[]).exits(1);
        run.says("linux-64/repodata.json").says("remove it");
        assert_eq!(scene.text("channel/linux-64/repodata.json"), broken);
    }
}
