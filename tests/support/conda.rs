//! Puts conda 4.2.7, the client that verifies signatures of this format, on the machine: from PyPI, once,
//! and gives a way to run it. It owns what that takes
//! and must not know what is tested with it.

use std::path::Path;

use super::program::Ran;
use super::python::{Python, run};

/// What makes the environment; a change here makes it anew.
const SHIM: &str = include_str!("conda427.py");
const CONDA: &str = "conda==4.2.7";
/// Sources of 2016 need setuptools of before it dropped their ways.
const BUILDERS: [&str; 2] = ["setuptools==65.5.0", "wheel==0.48.0"];
const LIBRARIES: [&str; 12] = [
    "auxlib==0.0.43",
    "certifi==2026.10.18",
    "charset-normalizer==3.5.2",
    "cytoolz==1.2.0",
    "idna==3.20",
    "packaging==26.3",
    "pycosat==0.6.6",
    "pycryptodome==4.4.0",
    "requests==2.34.2",
    "ruamel.yaml==0.19.1",
    "toolz==1.2.0",
    "urllib3==2.8.0",
];
/// Text in files of the client, and what stands there instead.
const REPAIRS: [(&str, &str, &str); 2] = [
    // PEP 479: a generator ends by `return`.
    ("conda/install.py", "raise StopIteration", "return"),
    // A download whose MD5 is wrong is tried again under the lock that the first try still holds: the client
    // waits for itself, for 205 seconds, then gives up. This makes it less than one.
    (
        "conda/lock.py",
        "path_to_lock, retries=10)",
        "path_to_lock, retries=2)",
    ),
];

/// The installed client.
pub struct Conda(Python);

impl Conda {
    /// Installs the client, or finds the one that an earlier run installed.
    ///
    /// # Errors
    /// In words, where Python, its parts or the packages are not to be had.
    pub fn install() -> Result<Self, String> {
        Python::installed("conda-4.2.7", &recipe(), make, check).map(Conda)
    }

    /// The Python that runs it, by `-m conda`.
    #[allow(dead_code)]
    pub fn python(&self) -> std::path::PathBuf {
        self.0.command(&[]).get_program().into()
    }

    /// Runs the client with its home, environments and downloads in a folder.
    #[allow(dead_code)]
    pub fn run(&self, home: &Path, words: &[&str]) -> Ran {
        let mut command = self.0.command(&["-m", "conda"]);
        command.args(words);
        command.env("HOME", home);
        command.env("CONDA_ENVS_DIRS", home.join("envs"));
        command.current_dir(home);
        Ran::of(&mut command)
    }
}

/// The right version starts, with what it verifies signatures with.
fn check(python: &Python) -> Result<(), String> {
    let program = "import conda, conda.cli, conda.signature; print(conda.__version__)";
    match run(&mut python.command(&["-c", program])) {
        Ok(version) if version.trim() == "4.2.7" => Ok(()),
        Ok(other) => Err(format!("the client is of version {other}")),
        Err(why) => Err(why),
    }
}

fn make(python: &Python) -> Result<(), String> {
    python.pip(&BUILDERS, &[])?;
    // What comes as sources is built by these builders, not by the newest; pycosat is C.
    let flags = ["--no-deps", "--no-build-isolation"];
    python.pip(&LIBRARIES, &flags)?;
    python.pip(&[CONDA], &flags)?;
    patch(&python.packages()?);
    Ok(())
}

/// Everything that the environment is made of.
fn recipe() -> String {
    let repairs = REPAIRS.map(|(file, old, new)| format!("{file}: {old}: {new}"));
    let packages = [&[CONDA][..], &BUILDERS, &LIBRARIES].concat();
    [packages.join("\n"), repairs.join("\n"), SHIM.to_owned()].join("\n")
}

/// What no Python of this decade runs, and what no test waits for. Nothing here touches what is verified.
fn patch(packages: &Path) {
    std::fs::write(packages.join("conda427_shim.py"), SHIM).unwrap();
    std::fs::write(packages.join("conda427_shim.pth"), "import conda427_shim\n").unwrap();
    for (file, old, new) in REPAIRS {
        let file = packages.join(file);
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(old), "{}: no {old}", file.display());
        std::fs::write(file, text.replace(old, new)).unwrap();
    }
}
