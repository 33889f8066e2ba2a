//! Drives conda 4.2.7, which verifies signatures of this format, against channels that the real binary signed
//! and indexed: what is good installs, what was tampered with does not, and it is the signature that tells.
//! The client comes from PyPI; where it is not to be had, the tests say so and pass, but not in CI.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice
)]

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use md5::{Digest as _, Md5};
use sha2::Sha256;

#[path = "support/builder.rs"]
mod builder;
#[path = "support/conda.rs"]
mod conda;
#[path = "support/http.rs"]
mod http;
#[path = "support/program.rs"]
mod program;
#[path = "support/python.rs"]
mod python;
#[path = "support/shared.rs"]
mod shared;

use builder::{Format, PackageSpec};
use conda::Conda;
use http::Server;
use program::{Home, Ran};

/// The package that is asked for, and its file.
const NAME: &str = "signed";
const FILE: &str = "signed-1.0-0.tar.bz2";
/// The text in it, by which it is known to be installed.
const TEXT: &str = "This is what was signed.\n";

/// The client, installed once for all tests here.
fn client() -> Option<&'static Conda> {
    static CLIENT: OnceLock<Result<Conda, String>> = OnceLock::new();
    let client = CLIENT.get_or_init(Conda::install).as_ref();
    shared::demand("conda 4.2.7", client.map_err(Clone::clone))
}

/// A channel with a package, signed and indexed, and a user of it who has the public key.
struct Scene {
    client: &'static Conda,
    operator: Home,
    user: Home,
    subdir: &'static str,
}

impl Scene {
    /// A key of some bits, and the package in noarch.
    fn new(bits: &str) -> Option<Self> {
        Self::in_subdir("noarch", bits, &[])
    }

    fn in_subdir(subdir: &'static str, bits: &str, flags: &[&str]) -> Option<Self> {
        let scene = Self {
            client: client()?,
            operator: Home::new(),
            user: Home::new(),
            subdir,
        };
        let channel = scene.channel();
        for (name, subdir) in [(NAME, subdir), ("another", platform())] {
            let package = PackageSpec::new(name, "1.0", "0");
            package
                .subdir(subdir)
                .payload(TEXT)
                .write_to(&channel, Format::TarBz2);
        }
        scene.operator.run(0, ["keygen", "MyKey", "--size", bits]);
        let report = scene.operator.index(0, &channel, flags);
        assert_eq!(report["counts"]["signed"], 2, "{report}");
        std::fs::create_dir_all(scene.user.keys()).unwrap();
        let public = scene.operator.keys().join("MyKey.pub");
        std::fs::copy(public, scene.user.keys().join("MyKey.pub")).unwrap();
        Some(scene)
    }

    fn channel(&self) -> PathBuf {
        self.operator.path("channel")
    }

    /// A file of the package's subdir.
    fn file(&self, name: &str) -> PathBuf {
        self.channel().join(self.subdir).join(name)
    }

    fn sig(&self) -> PathBuf {
        self.file(&format!("{FILE}.sig"))
    }

    /// Lets the client install the package from somewhere.
    fn create(&self, channel: &str, flags: &[&str]) -> Ran {
        let mut words = vec!["create", "-y", "-q", "-n", "e", "--override-channels"];
        words.extend(["-c", channel, NAME]);
        words.extend(flags);
        self.client.run(&self.user.path(""), &words)
    }

    /// What is installed of the package: its one file, and conda's note of it.
    fn installed(&self) -> Option<String> {
        let prefix = self.user.path("envs/e");
        let text = std::fs::read_to_string(prefix.join(format!("lib/{NAME}.txt"))).ok();
        let noted = prefix.join("conda-meta/signed-1.0-0.json").exists();
        assert_eq!(text.is_some(), noted, "half an installation");
        text
    }

    /// The client installs it over http, and asked for the signature.
    fn installs(&self) {
        let server = Server::of(&self.channel());
        let ran = self.create(server.url(), &[]).demand(0);
        assert_eq!(self.installed().as_deref(), Some(TEXT), "{ran:?}");
        let asked = format!("200 {}/{FILE}.sig", self.subdir);
        assert!(server.log().contains(&asked), "{:?}", server.log());
    }

    /// The client refuses it over http, says why, and installs nothing.
    fn refuses(&self, why: &str) -> Server {
        let server = Server::of(&self.channel());
        let ran = self.create(server.url(), &[]).demand(1);
        let said = format!("{}{}", ran.stdout, ran.stderr);
        assert!(said.contains(why), "{said}");
        assert_eq!(self.installed(), None, "{said}");
        server
    }
}

/// The subdir of this machine.
fn platform() -> &'static str {
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("macos", _) => "osx-64",
        (_, "x86") => "linux-32",
        _ => "linux-64",
    }
}

/// Puts other text into a file; it must have stood there.
fn substitute(path: &Path, old: &str, new: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(old), "{}: no {old}", path.display());
    std::fs::write(path, text.replace(old, new)).unwrap();
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_good_package_installs() {
    for bits in ["2048", "3072"] {
        let Some(scene) = Scene::new(bits) else {
            return;
        };
        scene.installs();
    }
}

#[test]
fn a_good_package_of_the_platform_installs() {
    if let Some(scene) = Scene::in_subdir(platform(), "2048", &[]) {
        scene.installs();
    }
}

#[test]
fn a_good_package_installs_from_a_folder_by_the_bz2_twin() {
    let Some(scene) = Scene::in_subdir("noarch", "2048", &["--bz2"]) else {
        return;
    };
    let ran = scene
        .create(&format!("file://{}", scene.channel().display()), &[])
        .demand(0);
    assert_eq!(scene.installed().as_deref(), Some(TEXT), "{ran:?}");
}

#[test]
fn a_changed_byte_is_refused_by_its_md5() {
    let Some(scene) = Scene::new("2048") else {
        return;
    };
    change_a_byte(&scene.file(FILE));
    let server = Server::of(&scene.channel());
    // Its last word is of a lock; why it tried again, it says with --debug alone.
    let ran = scene.create(server.url(), &["--debug"]).demand(1);
    assert!(ran.stderr.contains("MD5 sums mismatch"), "{}", ran.stderr);
    assert_eq!(scene.installed(), None, "{ran:?}");
    assert!(!server.log().iter().any(|line| line.ends_with(".sig")));
}

/// Changes one byte of a package, and leaves its contents as they were: all reads well but the bytes.
fn change_a_byte(package: &Path) -> Vec<u8> {
    let mut bytes = std::fs::read(package).unwrap();
    // The fourth byte of a bz2 file is its level, which says no more than how much memory is needed.
    assert_eq!(&bytes[..4], b"BZh9");
    bytes[3] = b'8';
    std::fs::write(package, &bytes).unwrap();
    bytes
}

#[test]
fn a_changed_byte_whose_index_was_changed_too_is_refused_by_its_signature() {
    let Some(scene) = Scene::new("2048") else {
        return;
    };
    let package = scene.file(FILE);
    let old = std::fs::read(&package).unwrap();
    let new = change_a_byte(&package);
    let repodata = scene.file("repodata.json");
    let (md5, sha256) = (
        |b: &[u8]| hex(&Md5::digest(b)),
        |b: &[u8]| hex(&Sha256::digest(b)),
    );
    substitute(&repodata, &md5(&old), &md5(&new));
    substitute(&repodata, &sha256(&old), &sha256(&new));
    let server = scene.refuses(&format!("Signature for '{FILE}' is invalid"));
    assert!(server.log().contains(&format!("200 noarch/{FILE}.sig")));

    // It is the signature alone: the same bytes, unsigned as far as the index says, are taken.
    substitute(&repodata, r#""sig":".""#, r#""sig":null"#);
    let unsigned = Scene {
        user: Home::new(),
        ..scene
    };
    let server = Server::of(&unsigned.channel());
    unsigned.create(server.url(), &[]).demand(0);
    assert_eq!(unsigned.installed().as_deref(), Some(TEXT));
}

#[test]
fn a_forged_signature_is_refused() {
    let Some(scene) = Scene::new("2048") else {
        return;
    };
    // Another key under the same name.
    let forger = Home::new();
    forger.run(0, ["keygen", "MyKey"]);
    let (package, honest) = (scene.file(FILE), std::fs::read(scene.sig()).unwrap());
    forger.run(0, ["sign", "--force", package.to_str().unwrap()]);
    let forged = std::fs::read(scene.sig()).unwrap();
    assert!(forged != honest && forged.starts_with(b"MyKey "));
    scene.refuses(&format!("Signature for '{FILE}' is invalid"));
}

#[test]
fn a_signature_of_another_package_is_refused() {
    let Some(scene) = Scene::new("2048") else {
        return;
    };
    let other = scene
        .channel()
        .join(platform())
        .join("another-1.0-0.tar.bz2.sig");
    std::fs::copy(other, scene.sig()).unwrap();
    scene.refuses(&format!("Signature for '{FILE}' is invalid"));
}

#[test]
fn an_unknown_key_is_refused() {
    let Some(scene) = Scene::new("2048") else {
        return;
    };
    let public = scene.user.keys().join("MyKey.pub");
    std::fs::remove_file(&public).unwrap();
    scene.refuses(&format!("public key does not exist: {}", public.display()));
}

#[test]
fn a_missing_signature_is_refused() {
    let Some(scene) = Scene::new("2048") else {
        return;
    };
    std::fs::remove_file(scene.sig()).unwrap();
    let server = scene.refuses("404");
    assert!(
        server.log().contains(&format!("404 noarch/{FILE}.sig")),
        "{:?}",
        server.log()
    );
}
