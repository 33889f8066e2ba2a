//! Files of the operator, and of others that are only looked at, beyond their limits: each is refused by its name and its
//! limit, in little memory, and nothing hangs. Owns the list; must not know how a file is read.

use crate::limits::{MIB, measured};
use crate::scene::Scene;

/// A file that is one byte too long: where it lies, how long it may be, and who reads it.
struct Beyond {
    path: &'static str,
    limit: u64,
    args: &'static [&'static str],
}

const BEYOND: &[Beyond] = &[
    Beyond {
        path: "list",
        limit: 256 << 20,
        args: &["channel", "--sign-only", "list"],
    },
    Beyond {
        path: "versions",
        limit: 1 << 20,
        args: &["channel", "--current-index-versions-file", "versions"],
    },
    #[cfg(feature = "gate")]
    Beyond {
        path: "policy.toml",
        limit: 1 << 20,
        args: &["gate", "--policy", "policy.toml"],
    },
    #[cfg(feature = "tuf")]
    Beyond {
        path: "draft",
        limit: 4 << 20,
        args: &["trust", "sign", "draft", "--root-key", "fixture"],
    },
    #[cfg(feature = "http")]
    Beyond {
        path: "home/.netrc",
        limit: 1 << 20,
        args: &["verify", "http://127.0.0.1:1/channel"],
    },
    Beyond {
        path: "env/conda-meta/a-1.0-0.json",
        limit: 64 << 20,
        args: &["verify", "--prefix", "env"],
    },
    Beyond {
        path: "channel/linux-64/repodata.json",
        limit: 1 << 30,
        args: &["verify", "channel"],
    },
    Beyond {
        path: "channel/linux-64/a-1.0-0.conda",
        limit: 64 << 30,
        args: &["verify", "channel"],
    },
];

#[test]
fn a_file_beyond_its_limit_is_refused_by_name_and_limit() {
    for Beyond { path, limit, args } in BEYOND {
        let scene = Scene::of_three();
        scene.index(&["--no-write-shards"]).exits(0);
        // No size in the record, which would be the limit.
        let index = scene.text("channel/linux-64/repodata.json");
        let mut index: serde_json::Value = serde_json::from_str(&index).unwrap();
        let record = index["packages.conda"]["a-1.0-0.conda"].as_object_mut();
        record.unwrap().remove("size");
        scene.write("channel/linux-64/repodata.json", index.to_string());
        scene.write("env/conda-meta/history", "");
        scene.write(path, "");
        let file = std::fs::File::create(scene.path(path)).unwrap();
        for length in [limit + 1, 1 << 40] {
            file.set_len(length).unwrap();
            let ran = measured(scene.call(args), MIB);
            let name = path.rsplit('/').next().unwrap();
            let run = ran.run.exits(1);
            let said = [run.stderr.as_str(), run.stdout.as_str()].concat();
            let bytes = format!("more than {limit} bytes");
            let is_told = |line: &str| line.contains(name) && line.contains(&bytes);
            assert!(said.lines().any(is_told), "{path}: {said}");
        }
    }
}
