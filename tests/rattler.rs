//! Drives py-rattler, the client library of pixi, against channels that the real binary signed and indexed: it
//! solves and installs through shards, through the `.zst` twin and through `repodata.json` alone, with patches
//! applied in each, and the server's log tells which it took. The client comes from PyPI; where it is not to be
//! had, the tests say so and pass, but not in CI.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice
)]

use std::sync::OnceLock;

#[path = "support/builder.rs"]
mod builder;
#[path = "support/http.rs"]
mod http;
#[path = "support/program.rs"]
mod program;
#[path = "support/python.rs"]
mod python;
#[path = "support/rattler.rs"]
mod rattler;
#[path = "support/shared.rs"]
mod shared;

use builder::{Format, PackageSpec};
use http::Server;
use program::Home;
use rattler::Rattler;

/// The client, installed once for all tests here.
fn client() -> Option<&'static Rattler> {
    static CLIENT: OnceLock<Result<Rattler, String>> = OnceLock::new();
    let client = CLIENT.get_or_init(Rattler::install).as_ref();
    shared::demand("py-rattler", client.map_err(Clone::clone))
}

/// A signed channel: `app` needs `lib`, and by a patch also `extra`, which its package does not say. A newer `app` is
/// taken away by a patch.
fn channel(home: &Home) -> std::path::PathBuf {
    let channel = home.path("channel");
    let put = |name: &str, version: &str, subdir: &str, depends: &[&str], format| {
        let spec = PackageSpec::new(name, version, "0").subdir(subdir);
        spec.depends(depends).write_to(&channel, format);
    };
    put("app", "1.0", "linux-64", &["lib >=1"], Format::Conda);
    put("app", "2.0", "linux-64", &["lib >=1"], Format::Conda);
    put("lib", "1.0", "noarch", &[], Format::TarBz2);
    put("extra", "1.0", "noarch", &[], Format::Conda);
    std::fs::write(
        channel.join("linux-64/patch_instructions.json"),
        r#"{"patch_instructions_version":1,"packages":{},
            "packages.conda":{"app-1.0-0.conda":{"depends":["lib >=1","extra"]}},
            "revoke":[],"remove":["app-2.0-0.conda"]}"#,
    )
    .unwrap();
    home.run(0, ["keygen", "MyKey"]);
    channel
}

/// Indexes with these flags, lets the client install `app` by one kind of index, and gives what was asked for.
fn installs(source: &str, flags: &[&str]) -> Option<Vec<String>> {
    let client = client()?;
    let home = Home::new();
    let channel = channel(&home);
    let report = home.index(0, &channel, flags);
    assert_eq!(report["counts"]["signed"], 4, "{report}");
    let server = Server::of(&channel);
    let ran = client.run(&home, server.url(), "app", source).demand(0);
    assert_eq!(
        ran.stdout,
        "app-1.0-0.conda [\"lib >=1\", \"extra\"]\nextra-1.0-0.conda []\nlib-1.0-0.tar.bz2 []\n",
        "{source}: {}",
        ran.stderr
    );
    for name in ["app", "extra", "lib"] {
        assert!(
            home.path("prefix")
                .join(format!("conda-meta/{name}-1.0-0.json"))
                .exists()
        );
    }
    let log = server.log();
    let prefix = home.path("prefix");
    // What it wrote down of them is what the index says.
    let verified = home.run(
        0,
        ["verify".as_ref(), "--prefix".as_ref(), prefix.as_os_str()],
    );
    assert!(
        verified.stdout.contains(": valid (3 packages"),
        "{source}: {}",
        verified.stdout
    );
    Some(log)
}

/// Whether one of the requests that were answered was for such a path.
fn took(log: &[String], part: &str) -> bool {
    log.iter()
        .any(|line| line.starts_with("200 ") && line.contains(part))
}

#[test]
fn it_installs_through_shards() {
    let Some(log) = installs("shards", &[]) else {
        return;
    };
    assert!(
        took(&log, "linux-64/repodata_shards.msgpack.zst"),
        "{log:?}"
    );
    assert!(took(&log, "linux-64/shards/") && took(&log, "noarch/shards/"));
    assert!(!took(&log, "repodata.json"), "{log:?}");
}

#[test]
fn it_installs_through_the_zst_twin() {
    let Some(log) = installs("zst", &[]) else {
        return;
    };
    assert!(took(&log, "linux-64/repodata.json.zst"), "{log:?}");
    assert!(took(&log, "noarch/repodata.json.zst"), "{log:?}");
    assert!(!took(&log, "shards"), "{log:?}");
}

#[test]
fn it_installs_through_repodata_alone() {
    let Some(log) = installs("json", &["--no-write-shards", "--no-zst"]) else {
        return;
    };
    let plain = |line: &String| line == "200 linux-64/repodata.json";
    assert!(log.iter().any(plain), "{log:?}");
    assert!(!took(&log, "shards") && !took(&log, ".zst"), "{log:?}");
}

#[test]
fn it_installs_from_shards_where_there_is_nothing_else() {
    let Some(log) = installs("shards", &["--no-write-monolithic"]) else {
        return;
    };
    assert!(
        took(&log, "linux-64/repodata_shards.msgpack.zst"),
        "{log:?}"
    );
}
