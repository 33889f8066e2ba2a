//! Real clients through the gate, over http: conda 4.2.7 and py-rattler install what is good, and what is not is
//! refused, with the gate's sentence before the user, and nothing installed. The clients come from PyPI; where they
//! are not to be had, the tests say so and pass, but not in CI.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice
)]

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

#[path = "support/builder.rs"]
mod builder;
#[path = "support/conda.rs"]
mod conda;
#[path = "support/gate.rs"]
mod gate;
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
#[path = "support/signed.rs"]
mod signed;

use builder::PackageSpec;
use conda::Conda;
use http::Server;
use program::Ran;
use signed::{Operator, User, replace_folder};

const FILE: &str = "noarch/good-1.0-0.tar.bz2";

/// A client that installs `good` from a URL.
trait Client {
    fn install(&self, user: &User, url: &str) -> Ran;
    /// Whether it is installed.
    fn installed(&self, user: &User) -> bool;
}

impl Client for Conda {
    fn install(&self, user: &User, url: &str) -> Ran {
        let words = [
            "create",
            "-y",
            "-q",
            "-n",
            "e",
            "--override-channels",
            "-c",
            url,
            "good",
        ];
        self.run(&user.home.path(""), &words)
    }

    fn installed(&self, user: &User) -> bool {
        user.home.path("envs/e/conda-meta/good-1.0-0.json").exists()
    }
}

impl Client for rattler::Rattler {
    fn install(&self, user: &User, url: &str) -> Ran {
        self.run(&user.home, url, "good", "shards")
    }

    fn installed(&self, user: &User) -> bool {
        user.home.path("prefix/conda-meta/good-1.0-0.json").exists()
    }
}

/// The clients that are to be had here.
fn clients() -> &'static [Box<dyn Client + Send + Sync>] {
    static CLIENTS: OnceLock<Vec<Box<dyn Client + Send + Sync>>> = OnceLock::new();
    CLIENTS.get_or_init(|| {
        let mut clients: Vec<Box<dyn Client + Send + Sync>> = Vec::new();
        match Conda::install() {
            Ok(conda) => clients.push(Box::new(conda)),
            Err(why) => shared::not_to_be_had("conda 4.2.7", &why),
        }
        match rattler::Rattler::install() {
            Ok(rattler) => clients.push(Box::new(rattler)),
            Err(why) => shared::not_to_be_had("py-rattler", &why),
        }
        clients
    })
}

/// How the channel is checked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// By its signed index.
    Index,
    /// Packages alone.
    Package,
}

/// What every client must refuse after an attacker has changed a good channel, with these words in what it says.
fn refused(mode: Mode, flags: &[&'static str], spoil: impl Fn(&Operator), words: &[&str]) {
    for client in clients() {
        let operator = channel(mode, flags);
        spoil(&operator);
        let server = Server::of(&operator.channel());
        let user = user(&operator, mode);
        let gate = gate(&user, mode, &server);
        let ran = client.install(&user, &format!("{}/main", gate.url));
        let said = format!("{}{}", ran.stdout, ran.stderr);
        assert!(!ran.ok(), "{said}");
        assert!(!client.installed(&user), "{said}");
        for word in words {
            assert!(said.contains(word), "no {word:?}: {said}\n{}", gate.said());
        }
    }
}

fn channel(mode: Mode, flags: &[&'static str]) -> Operator {
    match mode {
        Mode::Index => Operator::with_flags(flags),
        Mode::Package => {
            let operator = Operator::unsigned(flags);
            operator.publish();
            operator
        }
    }
}

/// The old conda verifies for itself, too, and wants the key of the packages.
fn user(operator: &Operator, mode: Mode) -> User {
    let user = operator.user(match mode {
        Mode::Index => &["root"],
        Mode::Package => &["pkg"],
    });
    let file = "pkg.pub";
    std::fs::copy(operator.home.keys().join(file), user.home.keys().join(file)).unwrap();
    user
}

fn gate(user: &User, mode: Mode, server: &Server) -> gate::Gate {
    let flags: &[&str] = match mode {
        Mode::Index => &[],
        Mode::Package => &["--require", "package"],
    };
    user.gate(server.url(), flags)
}

fn edit(path: &Path, change: impl Fn(&mut Value)) {
    let mut value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    change(&mut value);
    write(path, serde_json::to_vec(&value).unwrap());
}

/// Writes a file anew, so that none that is linked to it changes with it.
fn write(path: &Path, bytes: impl AsRef<[u8]>) {
    let _ = std::fs::remove_file(path);
    std::fs::write(path, bytes).unwrap();
}

/// The record of `good` as the attacker would have it, in a channel without a signed index: there is one form of
/// the index, so that every client takes it.
fn edit_record(operator: &Operator, change: impl Fn(&mut Value)) {
    for other in ["repodata.json.zst", "repodata_shards.msgpack.zst"] {
        let _ = std::fs::remove_file(operator.file(&format!("noarch/{other}")));
    }
    edit(&operator.file("noarch/repodata.json"), |repodata| {
        change(&mut repodata["packages"]["good-1.0-0.tar.bz2"]);
    });
}

fn package(operator: &Operator) -> PathBuf {
    operator.file(FILE)
}

/// Changes one byte that no reader of the archive minds.
fn change_a_byte(path: &Path) -> Vec<u8> {
    let mut bytes = std::fs::read(path).unwrap();
    assert_eq!(&bytes[..4], b"BZh9");
    bytes[3] = b'8';
    write(path, &bytes);
    bytes
}

fn digests(record: &mut Value, bytes: &[u8]) {
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    record["sha256"] = json!(hex(&Sha256::digest(bytes)));
    record["md5"] = json!(hex(&md5::Md5::digest(bytes)));
    record["size"] = json!(bytes.len());
}

#[test]
fn good_packages_install() {
    for mode in [Mode::Index, Mode::Package] {
        for client in clients() {
            let operator = channel(mode, &[]);
            let server = Server::of(&operator.channel());
            let user = user(&operator, mode);
            let gate = gate(&user, mode, &server);
            let ran = client.install(&user, &format!("{}/main", gate.url));
            assert!(ran.ok(), "{}{}\n{}", ran.stdout, ran.stderr, gate.said());
            assert!(client.installed(&user), "{}{}", ran.stdout, ran.stderr);
        }
    }
}

#[test]
fn changed_bytes_are_refused() {
    for mode in [Mode::Index, Mode::Package] {
        let spoil = |operator: &Operator| drop(change_a_byte(&package(operator)));
        refused(mode, &[], spoil, &["good-1.0-0.tar.bz2"]);
    }
}

#[test]
fn changed_bytes_in_an_index_that_was_changed_too_are_refused() {
    let spoil = |operator: &Operator| {
        let bytes = change_a_byte(&package(operator));
        edit_record(operator, |record| digests(record, &bytes));
    };
    refused(
        Mode::Package,
        &[],
        spoil,
        &["good-1.0-0.tar.bz2", "invalid"],
    );
}

#[test]
fn a_forged_signature_is_refused() {
    // Another key under the same name signs the changed bytes.
    let spoil = |operator: &Operator| {
        let bytes = change_a_byte(&package(operator));
        let forger = program::Home::new();
        forger.run(0, ["keygen", "pkg"]);
        forger.run(0, ["sign", "--force", package(operator).to_str().unwrap()]);
        let sig = std::fs::read_to_string(operator.file(&format!("{FILE}.sig"))).unwrap();
        let value = sig.trim_end().split_once(' ').unwrap().1.to_owned();
        edit_record(operator, |record| {
            digests(record, &bytes);
            record["signature"]["value"] = json!(value);
        });
    };
    refused(
        Mode::Package,
        &[],
        spoil,
        &["good-1.0-0.tar.bz2", "invalid"],
    );
    // Where the index is signed, and the signatures lie beside the packages alone.
    let spoil = |operator: &Operator| {
        let forger = program::Home::new();
        forger.run(0, ["keygen", "pkg"]);
        let sig = operator.file(&format!("{FILE}.sig"));
        std::fs::remove_file(&sig).unwrap();
        forger.run(0, ["sign", package(operator).to_str().unwrap()]);
    };
    let detached = ["--signatures", "detached"];
    refused(
        Mode::Index,
        &detached,
        spoil,
        &["good-1.0-0.tar.bz2", "invalid"],
    );
}

#[test]
fn an_unknown_key_is_refused() {
    // Signed by a key of the attacker's, under a name that nobody knows.
    let spoil = |operator: &Operator| {
        let bytes = change_a_byte(&package(operator));
        let forger = program::Home::new();
        forger.run(0, ["keygen", "mallory"]);
        forger.run(0, ["sign", "--force", package(operator).to_str().unwrap()]);
        let sig = std::fs::read_to_string(operator.file(&format!("{FILE}.sig"))).unwrap();
        let value = sig.trim_end().split_once(' ').unwrap().1.to_owned();
        let listed = forger.run(0, ["keys"]).stdout;
        let is_fingerprint = |word: &&str| word.len() == 64;
        let fingerprint = listed.split_whitespace().find(is_fingerprint).unwrap();
        edit_record(operator, |record| {
            digests(record, &bytes);
            record["signature"]["key"] = json!("mallory");
            record["signature"]["fingerprint"] = json!(fingerprint);
            record["signature"]["value"] = json!(value);
        });
    };
    let words = ["good-1.0-0.tar.bz2", "mallory"];
    refused(Mode::Package, &[], spoil, &words);
}

#[test]
fn a_missing_signature_is_refused() {
    // The operator himself published it so.
    refused(
        Mode::Index,
        &["--no-sign"],
        |_| {},
        &["signature is missing"],
    );
    // The attacker took it away.
    let spoil = |operator: &Operator| {
        std::fs::remove_file(operator.file(&format!("{FILE}.sig"))).unwrap();
        edit_record(operator, |record| {
            record.as_object_mut().unwrap().remove("signature");
            record.as_object_mut().unwrap().remove("sig");
        });
    };
    let words = ["good-1.0-0.tar.bz2", "signature is missing"];
    refused(Mode::Package, &[], spoil, &words);
}

#[test]
fn changed_depends_are_refused() {
    let spoil = |operator: &Operator| {
        for folder in ["noarch", "tuf/targets/noarch"] {
            for entry in std::fs::read_dir(operator.file(folder)).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap();
                if name.ends_with("repodata.json") {
                    edit(&path, |repodata| {
                        repodata["packages"]["good-1.0-0.tar.bz2"]["depends"] = json!([]);
                    });
                } else if name.contains("repodata") {
                    // In its other forms, too: whatever they are, they are not what was signed.
                    write(&path, b"changed");
                }
            }
        }
    };
    // conda 4.2.7 takes a noarch that may not pass for one that is not there, and says no more than that.
    refused(Mode::Index, &[], spoil, &[]);
}

#[test]
fn an_older_index_is_refused() {
    for client in clients() {
        let operator = Operator::new();
        let old = operator.copy();
        operator.put(&PackageSpec::new("lib", "2.0", "0"));
        operator.publish();
        let server = Server::of(&operator.channel());
        let user = user(&operator, Mode::Index);
        let gate = gate(&user, Mode::Index, &server);
        assert_eq!(gate.get("main/noarch/repodata.json").status, 200);
        replace_folder(&operator.channel(), old.path());
        let ran = client.install(&user, &format!("{}/main", gate.url));
        let said = format!("{}{}", ran.stdout, ran.stderr);
        assert!(!ran.ok() && !client.installed(&user), "{said}");
        assert!(said.contains("older"), "{said}");
    }
}

#[test]
fn a_package_swapped_for_another_signed_one_is_refused() {
    let spoil = |operator: &Operator| {
        let other = std::fs::read(operator.file("noarch/lib-1.0-0.tar.bz2")).unwrap();
        write(&package(operator), other);
    };
    refused(Mode::Index, &[], spoil, &["good-1.0-0.tar.bz2"]);
    // The index of the attacker's says so, too, and the signature is good.
    let spoil = |operator: &Operator| {
        let other = std::fs::read(operator.file("noarch/lib-1.0-0.tar.bz2")).unwrap();
        write(&package(operator), &other);
        let sig = std::fs::read(operator.file("noarch/lib-1.0-0.tar.bz2.sig")).unwrap();
        write(&operator.file(&format!("{FILE}.sig")), &sig);
        let text = String::from_utf8(sig).unwrap();
        let value = text.trim_end().split_once(' ').unwrap().1.to_owned();
        edit_record(operator, |record| {
            digests(record, &other);
            record["signature"]["value"] = json!(value);
        });
    };
    refused(Mode::Package, &[], spoil, &["good-1.0-0.tar.bz2"]);
}
