//! The gate of the real binary in front of upstreams that lie, break off, hold back and lead elsewhere: what its
//! clients are told then, and that no byte gets through that was not checked.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]
#![cfg(feature = "gate")]

#[path = "support/gate.rs"]
mod gate;
#[path = "support/hostile.rs"]
mod hostile;
#[path = "support/http.rs"]
mod http;
#[path = "support/scene.rs"]
mod scene;

use std::io::Write as _;

use gate::Gate;
use hostile::{Deed, Hostile};
use scene::Scene;
use scene::builder::{Format, PackageSpec};

const PACKAGE: &str = "linux-64/b-1.0-0.tar.bz2";

/// A published channel of three packages, a server of it, and a gate in front of that.
fn behind() -> (Scene, Hostile, Gate) {
    let scene = Scene::of_three();
    scene.index(&[]).exits(0);
    let server = Hostile::of(&scene.path("channel"));
    let gate = gate(&scene, &server.url());
    (scene, server, gate)
}

fn gate(scene: &Scene, url: &str) -> Gate {
    let channel = format!("main={url}");
    let flags = ["--channel", &channel, "--trust", "main=fixture"];
    let how = ["--require", "package", "--fresh", "0"];
    gate_by(scene, &[flags.as_slice(), &how].concat())
}

/// A gate by these flags, on a free port.
fn gate_by(scene: &Scene, flags: &[&str]) -> Gate {
    let words = [&["gate", "--listen", "127.0.0.1:0"], flags].concat();
    Gate::start(scene.call(&words).command())
}

#[track_caller]
fn refused(gate: &Gate, path: &str, says: &str) {
    let reply = gate.get(&format!("main/{path}"));
    let text = reply.text();
    assert!(
        reply.status == 403 && text.contains(says),
        "{}: {text}",
        reply.status
    );
}

#[test]
fn what_an_upstream_changes_is_refused() {
    let (scene, server, gate) = behind();
    let whole = scene.read(&format!("channel/{PACKAGE}"));
    for deed in [
        Deed::Flip,
        Deed::Replace(b"other".to_vec()),
        Deed::Endless,
        Deed::Instead("linux-64/a-1.0-0.conda".to_owned()),
    ] {
        server.set(PACKAGE, deed.clone());
        refused(&gate, PACKAGE, "not those that the index names");
    }
    server.behave();
    let reply = gate.get(&format!("main/{PACKAGE}"));
    assert_eq!((reply.status, reply.body), (200, whole));
    // What was checked once is not fetched again.
    server.asked();
    server.set(PACKAGE, Deed::Flip);
    assert_eq!(gate.get(&format!("main/{PACKAGE}")).status, 200);
    assert_eq!(server.times(PACKAGE), 0);
}

#[test]
fn a_signature_by_somebody_else_is_refused() {
    let scene = Scene::of_three();
    scene.give_key("other");
    scene.index(&["--key", "other"]).exits(0);
    let server = Hostile::of(&scene.path("channel"));
    let gate = gate(&scene, &server.url());
    refused(&gate, PACKAGE, "the key other, which is not trusted");
    scene
        .index(&["--no-sign", "--signatures", "detached"])
        .exits(0);
    server.set(&format!("{PACKAGE}.sig"), Deed::Status(404));
    refused(&gate, PACKAGE, "its signature is missing");
    server.set(
        &format!("{PACKAGE}.sig"),
        Deed::Replace(b"fixture AAAA\n".to_vec()),
    );
    refused(&gate, PACKAGE, "by the key fixture is invalid");
    refused(&gate, "linux-64/none-1.0-0.conda", "does not name it");
}

#[test]
fn an_upstream_that_fails_is_told_apart() {
    let (_scene, server, gate) = behind();
    for deed in [
        Deed::Status(503),
        Deed::HangUp,
        Deed::Nonsense,
        Deed::Truncate(20),
        Deed::Redirect("http://127.0.0.2:9/x".to_owned()),
    ] {
        server.set(PACKAGE, deed.clone());
        let reply = gate.get(&format!("main/{PACKAGE}"));
        assert_eq!(reply.status, 502, "{deed:?}: {}", reply.text());
        server.set("noarch/repodata.json", deed.clone());
        let reply = gate.get("main/noarch/repodata.json");
        assert_eq!(reply.status, 502, "{deed:?}: {}", reply.text());
    }
    server.set(
        PACKAGE,
        Deed::Redirect(format!("{}/{PACKAGE}.old", server.url())),
    );
    assert_eq!(gate.get(&format!("main/{PACKAGE}")).status, 404);
}

#[test]
fn what_is_only_reported_is_fetched_once() {
    let scene = Scene::of_three();
    scene.index(&["--no-sign"]).exits(0);
    let unnamed = scene.put(&PackageSpec::new("late", "1.0", "0"), Format::Conda);
    let server = Hostile::of(&scene.path("channel"));
    let channel = format!("main={}", server.url());
    let flags = ["--channel", &channel, "--require", "none"];
    let gate = gate_by(&scene, &[flags.as_slice(), &["--fresh", "3600"]].concat());
    server.set("linux-64/a-1.0-0.conda.sig", Deed::Status(403));
    // One that the index does not name, one without a signature, and one whose signature can't be had.
    for path in [&unnamed, PACKAGE, "linux-64/a-1.0-0.conda"] {
        let there = scene.read(&format!("channel/{path}"));
        for range in [None, Some(("Range", "bytes=0-"))] {
            let headers: Vec<_> = range.into_iter().collect();
            let at = format!("main/{path}");
            assert_eq!(gate.ask("HEAD", &at, &headers).status, 200, "{path}");
            assert_eq!(gate.ask("GET", &at, &headers).body, there, "{path}");
        }
        assert_eq!(server.times(path), 1, "{path}");
    }
    let (_, said) = gate.stop();
    for why in ["does not name it", "signature is missing", "answered 403"] {
        assert!(said.contains(why), "{why}: {said}");
    }
}

#[test]
fn an_upstream_that_keeps_its_clients_waiting_does_so_to_no_others() {
    let (scene, server, gate) = behind();
    drop(gate);
    let slow = format!("slow={}", server.url());
    let flags = ["--channel", &slow, "--channel", "main=channel"];
    let gate = gate_by(&scene, &[flags.as_slice(), &["--require", "none"]].concat());
    server.set_every(Deed::Silence);
    let waiting: Vec<_> = (0..270)
        .map(|_| {
            let mut client = gate.connect();
            let head = gate::head(gate.host(), "GET", "/slow/noarch/repodata.json", &[]);
            client.write_all(head.as_bytes()).unwrap();
            client
        })
        .collect();
    assert_eq!(gate.get(&format!("main/{PACKAGE}")).status, 200);
    for client in waiting {
        client.set_nonblocking(true).unwrap();
        let told = client.peek(&mut [0]).map_err(|error| error.kind());
        assert_eq!(told, Err(std::io::ErrorKind::WouldBlock));
    }
}

#[test]
fn an_index_takes_the_memory_of_what_is_asked_of_it() {
    let (_scene, server, gate) = behind();
    let much = "0,".repeat(8 << 20);
    let index = format!(r#"{{"packages":{{"a-1-0.conda":{{"signature":[{much}0]}}}}}}"#);
    server.set("noarch/repodata.json", Deed::Replace(index.into_bytes()));
    assert_eq!(gate.get("main/noarch/repodata.json").status, 200);
    assert!(gate.peak() < 96 << 20, "{} bytes", gate.peak());
}

#[test]
fn a_folder_is_remembered_by_its_whole_path() {
    let scene = Scene::of_three();
    scene.init_signed_index();
    scene.index(&["--key", "fixture"]).exits(0);
    let gate = gate_by(
        &scene,
        &["--channel", "main=channel", "--trust", "main=root"],
    );
    assert_eq!(gate.get("main/noarch/repodata.json").status, 200);
    drop(gate);
    let whole = format!("main={}", scene.path("channel").display());
    let gate = gate_by(&scene, &["--channel", &whole, "--trust", "main=root"]);
    assert_eq!(gate.get("main/noarch/repodata.json").status, 200);
    let seen = scene.path("home/.local/state/sigindex/gate/main");
    assert_eq!(std::fs::read_dir(seen).unwrap().count(), 1);
}

#[test]
fn credentials_reach_the_upstream_and_nobody_else() {
    let scene = Scene::of_three();
    scene.index(&[]).exits(0);
    let server = Hostile::of(&scene.path("channel"));
    let url = server.url().replace("http://", "http://me:geheim@") + "/t/tk-secret";
    let gate = gate(&scene, &url);
    server.set_every(Deed::Status(500));
    let reply = gate.get("main/linux-64/repodata.json");
    assert_eq!(reply.status, 502);
    assert_eq!(server.times("t/tk-secret/linux-64/repodata.json"), 1);
    let page = gate.get("");
    let (said, told) = (reply.text(), page.text());
    let (_, log) = gate.stop();
    for secret in ["geheim", "tk-secret"] {
        for text in [&said, &told, &log] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

#[test]
fn a_signed_index_is_served_and_an_older_one_is_not() {
    let scene = Scene::of_three();
    scene.init_signed_index();
    let run = ["--key", "fixture"];
    scene.index(&run).exits(0);
    scene::copy_tree(&scene.path("channel"), &scene.path("older"));
    let server = Hostile::of(&scene.path("channel"));
    let channel = format!("main={}", server.url());
    let flags = [
        "--channel",
        &channel,
        "--trust",
        "main=root",
        "--fresh",
        "0",
    ];
    let gate = gate_by(&scene, &flags);
    for path in [
        "linux-64/repodata.json",
        "linux-64/repodata.json.zst",
        "index.html",
        PACKAGE,
    ] {
        let reply = gate.get(&format!("main/{path}"));
        let text = String::from_utf8_lossy(&reply.body);
        assert_eq!(reply.status, 200, "{path}: {text}");
        assert_eq!(reply.body, scene.read(&format!("channel/{path}")), "{path}");
    }
    // Only what was signed counts: the file by its plain name may say what it likes.
    server.set("linux-64/repodata.json", Deed::Replace(b"{}".to_vec()));
    let reply = gate.get("main/linux-64/repodata.json");
    assert_eq!(reply.body, scene.read("channel/linux-64/repodata.json"));
    assert_eq!(gate.get("main/osx-64/repodata.json").status, 404);
    scene.package("d");
    scene.index(&run).exits(0);
    let reply = gate.get("main/linux-64/repodata.json");
    assert_eq!(reply.body, scene.read("channel/linux-64/repodata.json"));
    server.serve(&scene.path("older"));
    refused(&gate, "linux-64/repodata.json", "older than what was seen");
    drop(gate);
    let gate = gate_by(&scene, &flags);
    refused(&gate, PACKAGE, "older than what was seen");
    server.set_every(Deed::Status(500));
    assert_eq!(gate.get("main/linux-64/repodata.json").status, 502);
}
