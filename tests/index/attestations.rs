//! Lists of attestations beside packages (CEP 50).

use base64ct::{Base64, Encoding as _};
use serde_json::{Value, json};
use sha2::Digest as _;

use crate::scene::Scene;
use crate::scene::builder::{Format, PackageSpec};

fn hex(bytes: &[u8]) -> String {
    sha2::Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A bundle that says something of a file.
fn bundle(name: &str, sha256: &str, number: u32) -> Value {
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": sha256}}],
        "predicateType": "https://schemas.conda.org/attestations-publish-1.schema.json",
        "predicate": {"targetChannel": format!("https://example.org/{number}")},
    });
    let payload = Base64::encode_string(statement.to_string().as_bytes());
    json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {},
        "dsseEnvelope": {"payload": payload, "payloadType": "application/vnd.in-toto+json", "signatures": [{"sig": "AA=="}]},
    })
}

struct Attested {
    scene: Scene,
    package: String,
}

impl Attested {
    fn new() -> Self {
        let scene = Scene::of_three();
        let package = scene.package("a");
        Self { scene, package }
    }

    /// Beside another package, whose file name has so many bytes.
    fn long(length: usize) -> Self {
        let scene = Scene::of_three();
        let name = "n".repeat(length - "-1.0-0.conda".len());
        let package = scene.put(&PackageSpec::new(&name, "1.0", "0"), Format::Conda);
        Self { scene, package }
    }

    fn path(&self) -> String {
        format!("channel/{}.sigs", self.package)
    }

    /// Lays a list of so many bundles beside the package, and gives its digest.
    fn lay(&self, numbers: &[u32]) -> String {
        let sha256 = hex(&self.scene.read(&format!("channel/{}", self.package)));
        let name = self.package.rsplit('/').next().unwrap();
        let list: Vec<Value> = numbers.iter().map(|n| bundle(name, &sha256, *n)).collect();
        let text = Value::from(list).to_string();
        self.scene.write(&self.path(), &text);
        hex(text.as_bytes())
    }

    fn field(&self) -> Option<Value> {
        self.scene
            .record(&self.package)
            .get("attestations_sha256")
            .cloned()
    }

    fn twin(&self, digest: &str) -> String {
        format!("{}.{digest}", self.path())
    }
}

#[test]
fn a_good_list_is_named_and_kept_under_its_digest() {
    let it = Attested::new();
    it.scene.index(&[]).exits(0);
    assert_eq!(it.field(), None);
    let first = it.lay(&[1]);
    it.scene.index(&[]).exits(0).counts("opened", 0);
    assert_eq!(it.field(), Some(json!(first)));
    assert_eq!(it.scene.read(&it.twin(&first)), it.scene.read(&it.path()));
    it.scene.index(&[]).exits(0).has::<&str>("files", &[]);
    let second = it.lay(&[1, 2]);
    it.scene.index(&[]).exits(0).counts("opened", 0);
    assert_eq!(it.field(), Some(json!(second)));
    assert!(it.scene.exists(&it.twin(&first)) && it.scene.exists(&it.twin(&second)));
    it.scene.remove("cache");
    it.scene.index(&[]).exits(0).has::<&str>("files", &[]);
    // No sidecar, no field.
    it.scene.remove(&it.path());
    it.scene
        .index(&[])
        .exits(0)
        .says("is gone, and so its record names none now");
    assert_eq!(it.field(), None);
    it.scene.index(&[]).exits(0).never_says("is gone");
    // And none that is shorter comes back.
    it.lay(&[2]);
    it.scene
        .index(&[])
        .exits(1)
        .refuses(&it.package, "lost attestations");
    it.lay(&[1, 2, 3]);
    it.scene.index(&[]).exits(0);
}

#[test]
fn a_list_that_lost_something_is_refused() {
    let it = Attested::new();
    it.lay(&[1, 2]);
    it.scene.index(&[]).exits(0);
    let published = it.field();
    it.lay(&[2]);
    it.scene
        .index(&[])
        .exits(1)
        .refuses(&it.package, "lost attestations");
    assert_eq!(it.field(), published);
    it.lay(&[3, 2, 1]);
    it.scene.index(&[]).exits(0);
}

#[test]
fn a_list_that_does_not_hold_refuses_its_package() {
    let it = Attested::new();
    let name = it.package.rsplit('/').next().unwrap();
    let sha256 = hex(&it.scene.read(&format!("channel/{}", it.package)));
    let of_another = json!([bundle("b-1.0-0.conda", &sha256, 1)]).to_string();
    let other_bytes = json!([bundle(name, &"ab".repeat(32), 1)]).to_string();
    for text in [
        "",
        "[]",
        "{}",
        "[7]",
        "\u{feff}[]",
        "[{}]",
        &of_another,
        &other_bytes,
    ] {
        it.scene.write(&it.path(), text);
        let run = it.scene.index(&[]).exits(3);
        run.refuses(&it.package, "its attestations do not hold");
        assert!(
            !it.scene.exists(&format!("channel/{}.sig", it.package)),
            "{text:.20}"
        );
    }
    it.scene.remove(&it.path());
    std::fs::create_dir(it.scene.path(&it.path())).unwrap();
    it.scene
        .index(&[])
        .exits(3)
        .refuses(&it.package, "its attestations do not hold");
}

#[test]
fn a_list_whose_immutable_name_is_too_long_refuses_its_package_alone() {
    let fits = Attested::long(185);
    let digest = fits.lay(&[1]);
    fits.scene.index(&[]).exits(0);
    assert!(fits.scene.exists(&fits.twin(&digest)));
    let it = Attested::long(186);
    it.lay(&[1]);
    for _ in 0..2 {
        let run = it.scene.index(&[]).exits(3).counts("listed", 3);
        run.refuses(&it.package, "would have 256 bytes");
    }
    it.scene.index(&["--dry-run"]).exits(3);
    it.scene.remove(&it.path());
    it.scene.index(&[]).exits(0).counts("listed", 4);
    // What is published does not shrink silently.
    it.lay(&[1]);
    it.scene.index(&[]).exits(1);
    it.scene
        .index(&["--drop-refused"])
        .exits(3)
        .counts("listed", 3);
}

#[test]
fn what_stands_under_a_lists_digest_has_to_be_that_list() {
    let it = Attested::new();
    let digest = it.lay(&[1]);
    let twin = it.twin(&digest);
    it.scene.write(&twin, "planted");
    it.scene.index(&[]).exits(0);
    assert_eq!(it.scene.read(&twin), it.scene.read(&it.path()));
    // What nobody may take away refuses its package alone.
    it.scene.remove(&twin);
    std::fs::create_dir(it.scene.path(&twin)).unwrap();
    it.scene
        .index(&["--drop-refused"])
        .exits(3)
        .counts("listed", 2)
        .refuses(&it.package, "is not a regular file; remove it");
}

/// What may become of a file, and how.
type Damage = (&'static str, fn(&std::path::Path));

const DAMAGES: [Damage; 5] = [
    ("cut off", |path| std::fs::write(path, "").unwrap()),
    ("exchanged", |path| std::fs::write(path, "[]").unwrap()),
    ("removed", |path| std::fs::remove_file(path).unwrap()),
    ("a FIFO", |path| {
        std::fs::remove_file(path).unwrap();
        let made = std::process::Command::new("mkfifo").arg(path).status();
        assert!(made.unwrap().success());
    }),
    ("a link", |path| {
        std::fs::remove_file(path).unwrap();
        std::os::unix::fs::symlink("nowhere", path).unwrap();
    }),
];

#[test]
fn whatever_becomes_of_an_immutable_list_is_seen_and_mended() {
    let it = Attested::new();
    let digest = it.lay(&[1]);
    it.scene.index(&[]).exits(0);
    let twin = it.twin(&digest);
    let name = twin.strip_prefix("channel/").unwrap();
    let flags: [&[&str]; 4] = [&[], &["--rehash"], &["--verbose"], &["--resign"]];
    for (what, damage) in DAMAGES {
        for (number, flags) in flags.into_iter().enumerate() {
            damage(&it.scene.path(&twin));
            it.scene.run(&["verify", "channel"]).exits(1).says(&digest);
            // With something else to do, and without.
            if number == 2 {
                it.scene.package(what.split(' ').next_back().unwrap());
            }
            let planned = it.scene.index(&[flags, &["--dry-run"]].concat()).exits(0);
            assert!(planned.stdout.contains(&digest), "{what} {flags:?}");
            let run = it.scene.index(flags).exits(0);
            assert!(run.stdout.contains(&digest), "{what} {flags:?}");
            assert_eq!(it.scene.read(&twin), it.scene.read(&it.path()), "{what}");
            it.scene.run(&["verify", "channel"]).exits(0);
        }
        it.scene.index(&[]).exits(0).has::<&str>("files", &[]);
        it.scene.package("z");
        let run = it.scene.index(&[]).exits(0);
        assert!(!run.stdout.contains(&digest), "{what}: {}", run.stdout);
        assert_eq!(it.field(), Some(json!(digest)));
        assert!(it.scene.exists(&format!("channel/{name}")));
    }
}

#[test]
fn an_earlier_list_that_was_exchanged_is_no_earlier_list() {
    let it = Attested::new();
    let first = it.lay(&[1, 2]);
    it.scene.index(&[]).exits(0);
    let shorter = it.lay(&[2]);
    let text = it.scene.read(&it.path());
    it.scene.write(&it.twin(&first), &text);
    let run = it.scene.index(&[]).exits(1);
    run.refuses(&it.package, "has other bytes than its name says");
    it.lay(&[1, 2]);
    let whole = it.scene.read(&it.path());
    it.scene.write(&it.twin(&first), whole);
    it.scene.write(&it.twin(&shorter), text);
    it.scene.index(&[]).exits(0);
}

#[test]
fn patches_leave_the_field_alone() {
    let it = Attested::new();
    let digest = it.lay(&[1]);
    let name = it.package.rsplit('/').next().unwrap();
    let fixes = json!({"packages.conda": {name: {"attestations_sha256": "00", "license": "x"}}});
    it.scene.write(
        "channel/linux-64/patch_instructions.json",
        fixes.to_string(),
    );
    it.scene.index(&[]).exits(0);
    assert_eq!(it.field(), Some(json!(digest)));
    assert_eq!(it.scene.record(&it.package)["license"], "x");
}
