//! The two changes that a signature and an index are there to find: a byte that was changed after the signature was
//! made, and other bytes under a name that was published.

use crate::scene::Scene;
use crate::scene::builder::{Format, PackageSpec};

/// Packages of both formats whose payload is most of their file, and more than one block of bzip2.
fn signed() -> (Scene, Vec<String>) {
    let scene = Scene::of_three();
    let spec = PackageSpec::new("big", "1.0", "0").payload_size(1_200_000, 1);
    let paths = Format::BOTH.map(|format| scene.put(&spec, format));
    (scene, paths.to_vec())
}

#[test]
fn a_byte_that_changed_past_info_after_it_was_signed_is_invalid() {
    let (scene, paths) = signed();
    for path in &paths {
        scene.run(&["sign", &format!("channel/{path}")]).exits(0);
        let mut bytes = scene.read(&format!("channel/{path}"));
        let past = bytes.len() / 10 * 9;
        bytes[past] ^= 1;
        scene.write(&format!("channel/{path}"), &bytes);
    }
    let sigs: Vec<_> = paths
        .iter()
        .map(|path| scene.read(&format!("channel/{path}.sig")))
        .collect();
    for flags in [
        &[][..],
        &["--no-sign"],
        &["--keep-unknown"],
        &["--resign"],
        &["--rehash"],
    ] {
        let mut sorted = paths.clone();
        sorted.sort();
        let run = scene.index(flags).exits(3).has("refused", &sorted);
        // The info is sound, so that this is not for want of reading it.
        for why in run.refusals().values() {
            assert!(why.contains("invalid"), "{flags:?}: {why}");
        }
        for (path, sig) in paths.iter().zip(&sigs) {
            assert!(!scene.is_listed(path), "{path} {flags:?}");
            assert_eq!(&scene.read(&format!("channel/{path}.sig")), sig);
        }
    }
    let verify = scene.run(&["verify", "channel"]).exits(1);
    verify.says("INVALID").says("big-1.0-0.conda");
}

#[test]
fn a_package_that_was_uploaded_again_under_its_name_is_refused_as_changed() {
    for signature in ["left", "removed", "of the new bytes"] {
        let (scene, paths) = signed();
        scene.index(&[]).exits(0);
        let before = scene.snapshot("channel/linux-64/repodata.json");
        for path in &paths {
            let format = Format::BOTH
                .into_iter()
                .find(|it| path.ends_with(it.extension()));
            let spec = PackageSpec::new("big", "1.0", "0").payload_size(1_200_000, 2);
            scene.put(&spec, format.unwrap());
            let sig = format!("channel/{path}.sig");
            match signature {
                "removed" => scene.remove(&sig),
                "left" => {}
                _ => drop(
                    scene
                        .run(&["sign", "--force", &format!("channel/{path}")])
                        .exits(0),
                ),
            }
        }
        let mut sorted = paths.clone();
        sorted.sort();
        for cache in ["kept", "lost"] {
            if cache == "lost" {
                scene.remove("cache/sigindex");
            }
            for flags in [&[][..], &["--no-sign"], &["--resign"], &["--keep-unknown"]] {
                let run = scene.index(flags).exits(1).has("refused", &sorted);
                for why in run.refusals().values() {
                    let words = "changed since it was published";
                    assert!(why.contains(words), "{signature} {flags:?}: {why}");
                }
                let same = scene.snapshot("channel/linux-64/repodata.json") == before;
                assert!(same, "{signature} {cache} {flags:?}");
            }
        }
        scene.index(&["--replace"]).exits(0).counts("listed", 5);
        scene.run(&["verify", "channel"]).exits(0);
    }
}
