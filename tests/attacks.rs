//! The attacks of the TUF specification (1.0, 1.5.2) against the gate: the real binary in front of an upstream that
//! its attacker controls, who has every file of the channel and none of its keys, unless a test gives him one.
//! Each test is named by its attack; `docs/trust.md` has the table.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

#[path = "support/builder.rs"]
mod builder;
#[path = "support/gate.rs"]
mod gate;
#[path = "support/hostile.rs"]
mod hostile;
#[path = "support/http.rs"]
mod http;
#[path = "support/program.rs"]
mod program;
#[path = "support/shared.rs"]
mod shared;
#[path = "support/signed.rs"]
mod signed;

use builder::PackageSpec;
use gate::{Gate, Reply};
use hostile::{Deed, Hostile};
use http::Server;
use signed::{Operator, User, replace_folder};

const GOOD: &str = "main/noarch/good-1.0-0.tar.bz2";
const REPODATA: &str = "main/noarch/repodata.json";

/// What the attacker finds of a target by hash.
fn by_hash(channel: &Path, name: &str) -> PathBuf {
    let (folder, name) = name.rsplit_once('/').unwrap();
    let folder = channel.join("tuf/targets").join(folder);
    let mut found: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let file = path.file_name().unwrap().to_str().unwrap();
            file.len() == 65 + name.len() && file.ends_with(&format!(".{name}"))
        })
        .collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found.pop().unwrap()
}

/// Writes a file anew, so that none that is linked to it changes with it.
fn write(path: &Path, bytes: impl AsRef<[u8]>) {
    let _ = std::fs::remove_file(path);
    std::fs::write(path, bytes).unwrap();
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Both `repodata.json`s, the plain one and the one by hash, changed by the attacker.
fn change_repodata(operator: &Operator, change: impl Fn(&mut Value)) {
    let channel = operator.channel();
    for path in [
        by_hash(&channel, "noarch/repodata.json"),
        channel.join("noarch/repodata.json"),
    ] {
        let mut repodata = read_json(&path);
        change(&mut repodata);
        write(&path, serde_json::to_vec(&repodata).unwrap());
    }
}

/// The gate serves the package and its index.
fn passes(gate: &Gate) {
    for path in [REPODATA, GOOD] {
        let reply = gate.get(path);
        assert_eq!(reply.status, 200, "{path}: {}{}", reply.text(), gate.said());
    }
}

/// The gate refuses a path with these words in its sentence, both in the reason and in the body.
fn refuses(gate: &Gate, path: &str, words: &[&str]) -> Reply {
    let reply = gate.get(path);
    assert_eq!(reply.status, 403, "{path}: {reply:?} {}", gate.said());
    for word in words {
        assert!(reply.text().contains(word), "{path}: no {word}: {reply:?}");
        assert!(reply.reason.contains(word), "{path}: no {word}: {reply:?}");
    }
    reply
}

/// A channel's server, a user, and a gate of theirs that has seen nothing yet.
fn behind_a_gate(operator: &Operator) -> ((Server, User), Gate) {
    let (server, user) = (Server::of(&operator.channel()), operator.user(&["root"]));
    let gate = user.gate(server.url(), &[]);
    ((server, user), gate)
}

#[test]
fn what_is_good_passes() {
    let operator = Operator::new();
    let (_both, gate) = behind_a_gate(&operator);
    passes(&gate);
    let repodata = gate.get(REPODATA);
    let there = std::fs::read(operator.file("noarch/repodata.json")).unwrap();
    assert_eq!(repodata.body, there);
    let absent = gate.get("main/noarch/absent-1.0-0.tar.bz2");
    assert!(absent.status == 404 || absent.status == 403, "{absent:?}");
    assert_eq!(gate.get("main/osx-64/repodata.json").status, 404);
}

#[test]
fn attack_arbitrary_software() {
    let operator = Operator::new();
    // A package of the attacker's, named by an index of the attacker's.
    let evil = operator.put(&PackageSpec::new("evil", "1.0", "0"));
    let bytes = std::fs::read(operator.file(&evil)).unwrap();
    change_repodata(&operator, |repodata| {
        let mut record = repodata["packages"]["good-1.0-0.tar.bz2"].clone();
        record["name"] = json!("evil");
        record["sha256"] = json!(hex(&Sha256::digest(&bytes)));
        record["size"] = json!(bytes.len());
        repodata["packages"]["evil-1.0-0.tar.bz2"] = record;
    });
    let (_both, gate) = behind_a_gate(&operator);
    refuses(&gate, REPODATA, &["noarch/repodata.json"]);
    refuses(&gate, &format!("main/{evil}"), &[]);
}

#[test]
fn attack_arbitrary_software_under_a_good_name() {
    let operator = Operator::new();
    let package = operator.file("noarch/good-1.0-0.tar.bz2");
    let mut bytes = std::fs::read(&package).unwrap();
    bytes[3] ^= 1;
    write(&package, bytes);
    let (_both, gate) = behind_a_gate(&operator);
    assert_eq!(gate.get(REPODATA).status, 200);
    refuses(&gate, GOOD, &["good-1.0-0.tar.bz2"]);
}

#[test]
fn attack_extraneous_dependencies() {
    let operator = Operator::new();
    change_repodata(&operator, |repodata| {
        repodata["packages"]["good-1.0-0.tar.bz2"]["depends"] = json!(["lib", "evil"]);
    });
    let (_both, gate) = behind_a_gate(&operator);
    refuses(&gate, REPODATA, &["noarch/repodata.json"]);
}

#[test]
fn attack_malicious_mirror() {
    let operator = Operator::new();
    let honest = operator.copy();
    let user = operator.user(&["root"]);
    let server = Server::of(&operator.channel());
    // Another channel altogether, with keys of the same names.
    let forger = Operator::new();
    replace_folder(&operator.channel(), &forger.channel());
    let gate = user.gate(server.url(), &[]);
    refuses(&gate, REPODATA, &["root"]);
    refuses(&gate, GOOD, &["root"]);
    // It harms nothing for good: the honest one is taken as soon as it is there.
    replace_folder(&operator.channel(), honest.path());
    passes(&gate);
}

#[test]
fn attack_rollback() {
    let operator = Operator::new();
    let old = operator.copy();
    operator.put(&PackageSpec::new("good", "2.0", "0"));
    operator.publish();
    let user = operator.user(&["root"]);
    let server = Server::of(&operator.channel());
    let gate = user.gate(server.url(), &[]);
    passes(&gate);
    replace_folder(&operator.channel(), old.path());
    refuses(&gate, REPODATA, &["older"]);
    // What was seen is remembered.
    gate.stop();
    let gate = user.gate(server.url(), &[]);
    refuses(&gate, REPODATA, &["older"]);
    refuses(&gate, GOOD, &["older"]);
}

#[test]
fn attack_mix_and_match() {
    let operator = Operator::new();
    let old = operator.copy();
    operator.put(&PackageSpec::new("good", "2.0", "0"));
    operator.publish();
    let tuf = |folder: &Path, name: &str| folder.join("tuf").join(name);
    let versions = |folder: &Path| {
        let timestamp = read_json(&tuf(folder, "timestamp.json"));
        let of =
            |meta: &Value, file: &str| meta["signed"]["meta"][file]["version"].as_u64().unwrap();
        let snapshot = of(&timestamp, "snapshot.json");
        let file = tuf(folder, &format!("{snapshot}.snapshot.json"));
        (snapshot, of(&read_json(&file), "targets.json"))
    };
    let (before, now) = (versions(old.path()), versions(&operator.channel()));
    assert!(before < now);
    let whole = operator.copy();
    for (older, newer) in [
        (
            format!("{}.targets.json", before.1),
            format!("{}.targets.json", now.1),
        ),
        (
            format!("{}.snapshot.json", before.0),
            format!("{}.snapshot.json", now.0),
        ),
    ] {
        // One part of the older generation in the place of the newer one's.
        replace_folder(&operator.channel(), whole.path());
        let bytes = std::fs::read(tuf(old.path(), &older)).unwrap();
        write(&tuf(&operator.channel(), &newer), bytes);
        let (_both, gate) = behind_a_gate(&operator);
        refuses(&gate, REPODATA, &[]);
        refuses(&gate, GOOD, &[]);
    }
    // An older index file in the place of the newer one.
    replace_folder(&operator.channel(), whole.path());
    let bytes = std::fs::read(old.path().join("noarch/repodata.json")).unwrap();
    write(&by_hash_of_now(&operator), bytes);
    let (_both, gate) = behind_a_gate(&operator);
    refuses(&gate, REPODATA, &["noarch/repodata.json"]);
}

/// The newest `repodata.json` by hash.
fn by_hash_of_now(operator: &Operator) -> PathBuf {
    let plain = std::fs::read(operator.file("noarch/repodata.json")).unwrap();
    let hash = hex(&Sha256::digest(plain));
    operator.file(&format!("tuf/targets/noarch/{hash}.repodata.json"))
}

#[test]
fn attack_indefinite_freeze() {
    let operator = Operator::unsigned(&[]);
    operator.init(&["--expires", "timestamp=1s"]);
    operator.publish();
    // The mirror keeps what it has, and all of it is signed.
    std::thread::sleep(Duration::from_millis(1_500));
    let (_both, gate) = behind_a_gate(&operator);
    refuses(&gate, REPODATA, &["expired"]);
    refuses(&gate, GOOD, &["expired"]);
}

#[test]
fn attack_wrong_software_installation() {
    let operator = Operator::new();
    // Another package of the same channel, with its own good signature, under this one's name.
    for end in ["", ".sig"] {
        let other = std::fs::read(operator.file(&format!("noarch/lib-1.0-0.tar.bz2{end}")));
        let place = operator.file(&format!("noarch/good-1.0-0.tar.bz2{end}"));
        write(&place, other.unwrap());
    }
    let (_both, gate) = behind_a_gate(&operator);
    refuses(&gate, GOOD, &["good-1.0-0.tar.bz2"]);
}

/// All that a gate fetches before it serves the package.
fn on_the_way(operator: &Operator) -> Vec<String> {
    let plain = |path: &Path| {
        let path = path.strip_prefix(operator.channel()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let index = by_hash(&operator.channel(), "noarch/repodata.json");
    let mut paths = vec!["noarch/good-1.0-0.tar.bz2".to_owned(), plain(&index)];
    for entry in std::fs::read_dir(operator.file("tuf")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "json") {
            paths.push(plain(&path));
        }
    }
    assert!(paths.len() >= 6, "{paths:?}");
    paths
}

/// The deed is done to one file after another that a gate fetches, each before a gate of its own: what is served then
/// is good, what is not says why.
fn meets(deed: &Deed, statuses: &[u16], flags: &[&str]) {
    let operator = Operator::new();
    std::thread::scope(|scope| {
        for path in on_the_way(&operator) {
            let operator = &operator;
            scope.spawn(move || meets_at(operator, &path, deed, statuses, flags));
        }
    });
}

fn meets_at(operator: &Operator, path: &str, deed: &Deed, statuses: &[u16], flags: &[&str]) {
    let server = Hostile::of(&operator.channel());
    server.set(path, deed.clone());
    let user = operator.user(&["root"]);
    let gate = user.gate(&server.url(), flags);
    let replies = [REPODATA, GOOD].map(|asked| gate.get(asked));
    let bad: Vec<&Reply> = replies.iter().filter(|reply| reply.status != 200).collect();
    assert!(!bad.is_empty(), "{path}: {}", gate.said());
    for reply in bad {
        assert!(statuses.contains(&reply.status), "{path}: {reply:?}");
        let sentence = reply.text();
        assert!(!sentence.is_empty() && sentence.len() < 2_000, "{reply:?}");
    }
    // It harms nothing for good.
    server.behave();
    passes(&gate);
}

#[test]
fn attack_endless_data() {
    meets(&Deed::Endless, &[403, 502], &[]);
}

#[test]
fn attack_slow_retrieval() {
    let patience = ["--timeout", "1"];
    meets(&Deed::Drip(Duration::from_millis(50)), &[504], &patience);
    meets(&Deed::Stall(10), &[504], &patience);
    meets(&Deed::Silence, &[504], &patience);
}

/// Signs metadata anew with a stolen key: it is changed, made canonical (here, compact JSON with sorted keys is), and
/// signed as TUF has it.
fn forge(file: &Path, key: &Path, change: impl Fn(&mut Value)) {
    let mut metadata = read_json(file);
    change(&mut metadata["signed"]);
    let scratch = tempfile::tempdir().unwrap();
    let (message, signature) = (scratch.path().join("message"), scratch.path().join("sig"));
    std::fs::write(&message, serde_json::to_vec(&metadata["signed"]).unwrap()).unwrap();
    let mut openssl = Command::new("openssl");
    openssl.args(["dgst", "-sha256", "-sign"]).arg(key);
    for option in ["rsa_padding_mode:pss", "rsa_pss_saltlen:32"] {
        openssl.args(["-sigopt", option]);
    }
    openssl.arg("-out").arg(&signature).arg(&message);
    program::Ran::of(&mut openssl).demand(0);
    metadata["signatures"][0]["sig"] = json!(hex(&std::fs::read(&signature).unwrap()));
    write(file, serde_json::to_vec(&metadata).unwrap());
}

/// What an operator does whose index key was stolen: another key, and all signed anew.
fn replace_the_index_key(operator: &Operator) {
    operator.home.run(0, ["keygen", "index2"]);
    let keys = ["--add-index-key", "index2", "--revoke-index-key", "index"];
    operator.run(0, &["trust", "root"], &keys);
    operator.run(0, &["index"], &["--accept-index"]);
}

#[test]
fn attack_fast_forward() {
    if !program::have("openssl", "version") {
        return;
    }
    let operator = Operator::new();
    let (both, gate) = behind_a_gate(&operator);
    passes(&gate);
    // With the stolen key the attacker makes the version so high that no honest one ever comes after it.
    let clean = operator.copy();
    let stolen = operator.home.keys().join("index");
    forge(&operator.file("tuf/timestamp.json"), &stolen, |signed| {
        signed["version"] = json!(1_u64 << 52);
    });
    passes(&gate);
    replace_folder(&operator.channel(), clean.path());
    refuses(&gate, REPODATA, &["older"]);
    // Another key makes the numbers begin again (TUF specification 5.3.11).
    replace_the_index_key(&operator);
    passes(&gate);
    drop(both);
}

#[test]
fn attack_key_compromise() {
    let operator = Operator::new();
    let (both, gate) = behind_a_gate(&operator);
    passes(&gate);
    // Whoever has the index key and the channel can name packages and keys of their own: that is what it is for.
    let clean = operator.copy();
    let thief = program::Home::new();
    std::fs::create_dir_all(thief.keys()).unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(thief.keys(), std::fs::Permissions::from_mode(0o700)).unwrap();
    for key in ["index", "index.pub", "root.pub", "pkg.pub"] {
        std::fs::copy(operator.home.keys().join(key), thief.keys().join(key)).unwrap();
    }
    thief.run(0, ["keygen", "mallory"]);
    let evil = operator.put(&PackageSpec::new("evil", "1.0", "0"));
    let channel = operator.channel();
    thief.run(0, [channel.to_str().unwrap(), "--key", "mallory"]);
    let taken = operator.copy();
    let evil = format!("main/{evil}");
    assert_eq!(gate.get(&evil).status, 200, "{}", gate.said());
    // After the rotation neither the package nor what the stolen key signs is let through.
    replace_folder(&operator.channel(), clean.path());
    replace_the_index_key(&operator);
    passes(&gate);
    refuses(&gate, &evil, &["evil-1.0-0.tar.bz2"]);
    // His generation with the new root beside it.
    for entry in std::fs::read_dir(operator.file("tuf")).unwrap() {
        let path = entry.unwrap().path();
        if path.to_str().unwrap().ends_with(".root.json") {
            let place = taken.path().join("tuf").join(path.file_name().unwrap());
            let _ = std::fs::copy(&path, place);
        }
    }
    let honest = operator.copy();
    replace_folder(&operator.channel(), taken.path());
    for path in [REPODATA, GOOD, &evil] {
        refuses(&gate, path, &[]);
    }
    // The old root alone, before a gate that has seen the new one.
    replace_folder(&operator.channel(), honest.path());
    passes(&gate);
    drop(both);
}
