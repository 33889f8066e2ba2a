//! What is run under faults: a state of a channel, a command that changes it, and the same command once more, which
//! heals. Owns the scenarios and how their channels are made; must not know faults.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::json;
use tempfile::TempDir;

use crate::scene::builder::{Format, PackageSpec};
use crate::scene::{EPOCH, INIT, Run, Scene};

/// A command in a state.
pub struct Scenario {
    pub name: &'static str,
    /// Makes the state in a scene that has nothing but empty folders.
    prepare: fn(&Scene),
    /// The command that is run under faults.
    pub command: &'static [&'static str],
    /// What the command says, with status 1, where it was done before.
    done: Option<&'static str>,
    /// Whether records hold signatures, which differ from run to run.
    pub embeds: bool,
    /// A package that the published index names as it was before somebody removed or replaced it.
    pub touched: Option<&'static str>,
}

/// Files of one indexing run, named here once.
macro_rules! index {
    ($($flag:literal),*) => {
        &["index", "channel", "--json", "--threads", "1", $($flag),*]
    };
}

const DETACHED: &[&str] = index!("--signatures", "detached");
const ALL: &[&str] = index!(
    "--signatures",
    "detached",
    "--all",
    "--signing-log",
    "signed.log"
);
const REPLACE: &[&str] = index!("--signatures", "detached", "--replace");
const RESIGN: &[&str] = index!("--signatures", "detached", "--resign", "--key", "other");
const EMBEDDED: &[&str] = index!();
const ELSEWHERE: &[&str] = index!("--signatures", "detached", "--output", "output", "--bz2");
const MOVED: &[&str] = index!(
    "--signatures",
    "detached",
    "--stat",
    "mtime-size",
    "--keep-shards",
    "0"
);
const REFRESH: &[&str] = &["trust", "refresh", "channel", "--all"];
const ROTATE: &[&str] = &["trust", "root", "channel", "--add-root-key", "other"];
const SIGN: &[&str] = &[
    "sign",
    "one",
    "two",
    "folder/three",
    "--signing-log",
    "signed.log",
    "--threads",
    "1",
];
const KEYGEN: &[&str] = &["keygen", "new", "--size", "1024", "--allow-weak"];

const fn plain(
    name: &'static str,
    prepare: fn(&Scene),
    command: &'static [&'static str],
) -> Scenario {
    Scenario {
        name,
        prepare,
        command,
        done: None,
        embeds: false,
        touched: None,
    }
}

/// All scenarios.
pub const ALL_SCENARIOS: &[Scenario] = &[
    plain("first publication", unpublished, DETACHED),
    plain("one package more, all files, patches", one_more, ALL),
    Scenario {
        touched: Some("linux-64/b-1.0-0.tar.bz2"),
        ..plain("a package removed", one_less, MOVED)
    },
    Scenario {
        touched: Some("linux-64/b-1.0-0.tar.bz2"),
        ..plain("a package replaced", changed, REPLACE)
    },
    plain("all signed anew", published_with_other, RESIGN),
    plain("the cache lost", cache_lost, DETACHED),
    plain("published elsewhere", one_more_elsewhere, ELSEWHERE),
    Scenario {
        embeds: true,
        ..plain("signatures in records", one_more_embedded, EMBEDDED)
    },
    Scenario {
        done: Some("its index is signed already"),
        ..plain("a signed index switched on", to_be_trusted, INIT)
    },
    plain("the first signed index", trusted, DETACHED),
    plain("one package more, signed index", one_more_trusted, DETACHED),
    plain("a signed index renewed", published_trusted, REFRESH),
    Scenario {
        done: Some("is a root key of this channel already"),
        ..plain("the root changed", published_trusted, ROTATE)
    },
    plain("files signed", files, SIGN),
    Scenario {
        done: Some("exists already"),
        ..plain("a key made", nothing, KEYGEN)
    },
];

impl Scenario {
    /// Makes the state anew, whatever is left in the scene.
    pub fn prepare(&self, scene: &Scene) {
        for entry in std::fs::read_dir(scene.path("")).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => std::fs::remove_dir_all(path).unwrap(),
                false => std::fs::remove_file(path).unwrap(),
            }
        }
        for folder in ["home/.conda/keys", "cache", "channel"] {
            std::fs::create_dir_all(scene.path(folder)).unwrap();
        }
        scene.set_mode("home/.conda/keys", 0o700);
        (self.prepare)(scene);
    }

    /// Runs the command without faults, as an operator does after one, and publishes.
    pub fn heal(&self, scene: &Scene) -> Result<(), String> {
        self.heal_with(scene, &[])?;
        match self.command[0] {
            "trust" => status(&run(scene, DETACHED), |_| false),
            _ => Ok(()),
        }
    }

    /// The command with more flags.
    pub fn heal_with(&self, scene: &Scene, flags: &[&str]) -> Result<(), String> {
        age_what_is_left(scene);
        let ran = run(scene, &[self.command, flags].concat());
        if ran.stderr.contains("make the key again") {
            // As the operator is told.
            std::fs::remove_file(scene.key_path("new")).unwrap();
            return status(&run(scene, self.command), |_| false);
        }
        status(&ran, |said| {
            self.done.is_some_and(|done| said.contains(done))
        })
    }

    /// Whether it publishes an index.
    pub fn indexes(&self) -> bool {
        self.command[0] == "index"
    }

    /// Whether it makes a key.
    pub fn makes_key(&self) -> bool {
        self.command[0] == "keygen"
    }

    /// Whether it signs files, each for itself.
    pub fn signs_files(&self) -> bool {
        self.command[0] == "sign"
    }

    /// Where index files go.
    pub fn place(&self) -> &'static str {
        match self.command.contains(&"--output") {
            true => "output",
            false => "channel",
        }
    }
}

/// Whether a run went through, or says what tells that it was done before.
fn status(run: &Run, done: impl Fn(&str) -> bool) -> Result<(), String> {
    match run.status() {
        Some(0) => Ok(()),
        Some(1) if done(&run.stderr) => Ok(()),
        status => Err(format!(
            "the next run ends with {status:?}: {}{}",
            run.stdout, run.stderr
        )),
    }
}

fn run(scene: &Scene, args: &[&str]) -> Run {
    scene.call(args).env("SOURCE_DATE_EPOCH", EPOCH).run()
}

fn done(scene: &Scene, args: &[&str]) {
    run(scene, args).exits(0);
}

fn package(scene: &Scene, name: &str, subdir: &str, format: Format) -> String {
    let spec = PackageSpec::new(name, "1.0", "0").subdir(subdir);
    scene.put(&spec.run_exports(json!({"weak": [name]})), format)
}

/// Two packages in one subdir, one in another, and a key.
fn unpublished(scene: &Scene) {
    scene.give_key("fixture");
    package(scene, "a", "linux-64", Format::Conda);
    package(scene, "b", "linux-64", Format::TarBz2);
    package(scene, "n", "noarch", Format::Conda);
}

fn published(scene: &Scene) {
    unpublished(scene);
    done(scene, DETACHED);
}

fn one_more(scene: &Scene) {
    unpublished(scene);
    let patch = json!({
        "patch_instructions_version": 1,
        "packages.conda": {"a-1.0-0.conda": {"depends": ["patched"]}},
        "packages": {}, "revoke": [], "remove": [],
    });
    scene.write(
        "channel/linux-64/patch_instructions.json",
        patch.to_string(),
    );
    done(scene, ALL);
    package(scene, "c", "linux-64", Format::Conda);
}

fn one_less(scene: &Scene) {
    unpublished(scene);
    done(scene, MOVED);
    scene.remove("channel/linux-64/b-1.0-0.tar.bz2");
    scene.remove("channel/linux-64/b-1.0-0.tar.bz2.sig");
}

fn changed(scene: &Scene) {
    published(scene);
    scene.change("linux-64/b-1.0-0.tar.bz2");
}

fn published_with_other(scene: &Scene) {
    published(scene);
    scene.give_key("other");
}

fn cache_lost(scene: &Scene) {
    published(scene);
    scene.remove("cache");
    std::fs::create_dir(scene.path("cache")).unwrap();
}

fn one_more_elsewhere(scene: &Scene) {
    unpublished(scene);
    done(scene, ELSEWHERE);
    package(scene, "c", "linux-64", Format::TarBz2);
}

fn one_more_embedded(scene: &Scene) {
    unpublished(scene);
    done(scene, EMBEDDED);
    package(scene, "a-more", "linux-64", Format::Conda);
}

/// Keys of a root and of an index, made once.
fn role_key(scene: &Scene, name: &str) {
    static KEYS: OnceLock<(TempDir, Vec<PathBuf>)> = OnceLock::new();
    let (folder, _) = KEYS.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let maker = Scene::without_key();
        let made = ["root", "index"].map(|name| {
            maker.run(&["keygen", name]).exits(0);
            let copy = |file: &str| {
                let to = folder.path().join(file);
                std::fs::copy(maker.key_path(file), &to).unwrap();
                to
            };
            copy(&format!("{name}.pub"));
            copy(name)
        });
        (folder, made.to_vec())
    });
    let copy = |file: &Path| {
        std::fs::copy(
            folder.path().join(file),
            scene.key_path(file.to_str().unwrap()),
        )
    };
    copy(Path::new(name)).unwrap();
    copy(Path::new(&format!("{name}.pub"))).unwrap();
}

fn to_be_trusted(scene: &Scene) {
    published(scene);
    role_key(scene, "root");
    role_key(scene, "index");
}

fn trusted(scene: &Scene) {
    unpublished(scene);
    role_key(scene, "root");
    role_key(scene, "index");
    done(scene, &[DETACHED, &["--key", "fixture"]].concat());
    done(scene, INIT);
}

fn published_trusted(scene: &Scene) {
    trusted(scene);
    done(scene, DETACHED);
    scene.give_key("other");
}

fn one_more_trusted(scene: &Scene) {
    trusted(scene);
    done(scene, DETACHED);
    package(scene, "c", "linux-64", Format::Conda);
}

fn files(scene: &Scene) {
    scene.give_key("fixture");
    for file in ["one", "two", "folder/three"] {
        scene.write(file, file);
    }
}

fn nothing(_: &Scene) {}

/// Lets two hours pass over temporary files: who holds no lock takes younger ones for another run's.
fn age_what_is_left(scene: &Scene) {
    let then = std::time::SystemTime::now() - std::time::Duration::from_secs(7_200);
    for entry in walkdir::WalkDir::new(scene.path("")).into_iter().flatten() {
        let is_ours = entry
            .file_name()
            .to_string_lossy()
            .starts_with(".sigindex-");
        if is_ours && entry.file_type().is_file() {
            let file = std::fs::File::options().write(true).open(entry.path());
            file.unwrap().set_modified(then).unwrap();
        }
    }
}
