//! That the reader finds what is wrong, or all of this would show nothing.

use crate::reader::{Keys, read_at_rest};
use crate::scene::Scene;

#[test]
fn a_reader_finds_whatever_is_wrong() {
    let scene = Scene::of_three();
    scene.index(&["--all"]).exits(0);
    let keys = Keys::of(&scene.path("home/.conda/keys"));
    let channel = scene.path("channel");
    let seen = read_at_rest(&channel, &keys);
    assert!(seen.wrong.is_empty(), "{:?}", seen.wrong);
    assert!(seen.records >= 18 && seen.files.len() > 20, "{seen:?}");
    let finds = |path: &str, bytes: Option<&[u8]>, what: &str| {
        let whole = scene.read(path);
        match bytes {
            Some(bytes) => scene.write(path, bytes),
            None => scene.remove(path),
        }
        let wrong = read_at_rest(&channel, &keys).wrong;
        scene.write(path, &whole);
        assert!(
            wrong.iter().any(|why| why.contains(what)),
            "{path}: {wrong:?}"
        );
    };
    let folder = "channel/linux-64";
    let other = scene.read(&format!("{folder}/c-1.0-0.conda"));
    let other_sig = scene.read(&format!("{folder}/c-1.0-0.conda.sig"));
    for (file, what) in [
        ("a-1.0-0.conda", "a-1.0-0.conda can't be read"),
        ("a-1.0-0.conda.sig", "a-1.0-0.conda can't be read"),
    ] {
        finds(&format!("{folder}/{file}"), None, what);
    }
    finds(
        &format!("{folder}/a-1.0-0.conda"),
        Some(&other),
        "has the SHA-256",
    );
    finds(
        &format!("{folder}/a-1.0-0.conda.sig"),
        Some(&other_sig),
        "does not hold",
    );
    let text = scene.text(&format!("{folder}/repodata.json"));
    for file in [
        "repodata.json.zst",
        "repodata.json.bz2",
        "repodata.json",
        "run_exports.json",
    ] {
        let whole = scene.read(&format!("{folder}/{file}"));
        finds(
            &format!("{folder}/{file}"),
            Some(&whole[..whole.len() - 9]),
            file,
        );
    }
    let older = text.replace("\"license\":\"BSD-3-Clause\"", "\"license\":\"MIT\"");
    finds(
        &format!("{folder}/repodata.json"),
        Some(older.as_bytes()),
        "differs",
    );
    finds(
        &format!("{folder}/index.html"),
        Some(b"<html>"),
        "does not end",
    );
    let shards = std::fs::read_dir(channel.join("linux-64/shards")).unwrap();
    let shard = shards
        .map(|entry| entry.unwrap().file_name())
        .next()
        .unwrap();
    let shard = format!("{folder}/shards/{}", shard.to_str().unwrap());
    finds(&shard, None, "the shard of");
    finds(&shard, Some(b"x"), "is not what its name");
    assert!(read_at_rest(&channel, &keys).wrong.is_empty());
}
