//! Puts conda 4.2.7, the client that verifies signatures of this format, on the machine: from PyPI into a
//! virtual environment below cargo's target folder, once, and gives a way to run it. It owns what that takes
//! and must not know what is tested with it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::program::Ran;

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
pub struct Conda {
    python: PathBuf,
}

impl Conda {
    /// Installs the client, or finds the one that an earlier run installed.
    ///
    /// # Errors
    /// In words, where Python, its parts or the packages are not to be had.
    pub fn install() -> Result<Self, String> {
        let base = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let folder = base.join("conda-4.2.7");
        // One of several runs of the tests installs, the others wait; the lock ends with its holder.
        std::fs::create_dir_all(base).unwrap();
        let lock = File::create(base.join("conda-4.2.7.lock")).unwrap();
        lock.lock().unwrap();
        let conda = Self {
            python: folder.join("bin/python"),
        };
        let marker = folder.join("complete");
        let recipe = recipe();
        let complete = std::fs::read_to_string(&marker).is_ok_and(|found| found == recipe);
        if !(complete && conda.check().is_ok()) {
            if folder.exists() {
                std::fs::remove_dir_all(&folder).unwrap();
            }
            conda.make(&folder)?;
            conda.check()?;
            // Written whole or not at all: a run that was cut short leaves no marker.
            let beside = folder.join("complete.tmp");
            std::fs::write(&beside, recipe).unwrap();
            std::fs::rename(beside, marker).unwrap();
        }
        Ok(conda)
    }

    /// Runs the client with its home, environments and downloads in a folder.
    pub fn run(&self, home: &Path, words: &[&str]) -> Ran {
        let mut command = self.command(&["-m", "conda"]);
        command.args(words);
        command.env("HOME", home);
        command.env("CONDA_ENVS_DIRS", home.join("envs"));
        command.current_dir(home);
        Ran::of(&mut command)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.python);
        command.args(words).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        // No proxy stands between the client and this machine.
        command.env("NO_PROXY", "127.0.0.1");
        command
    }

    /// The right version starts, with what it verifies signatures with.
    fn check(&self) -> Result<(), String> {
        let program = "import conda, conda.cli, conda.signature; print(conda.__version__)";
        match run(&mut self.command(&["-c", program])) {
            Ok(version) if version.trim() == "4.2.7" => Ok(()),
            Ok(other) => Err(format!("the client is of version {other}")),
            Err(why) => Err(why),
        }
    }

    fn make(&self, folder: &Path) -> Result<(), String> {
        self.environment(folder)?;
        self.pip(&BUILDERS, &[])?;
        // What comes as sources is built by these builders, not by the newest; pycosat is C.
        let flags = ["--no-deps", "--no-build-isolation"];
        self.pip(&LIBRARIES, &flags)?;
        self.pip(&[CONDA], &flags)?;
        let packages = run(&mut self.command(&[
            "-c",
            "import sysconfig; print(sysconfig.get_path('purelib'))",
        ]))?;
        patch(Path::new(packages.trim()));
        Ok(())
    }

    /// Conda 4.2.7 is of before Python 3.12, which dropped what it builds on.
    fn environment(&self, folder: &Path) -> Result<(), String> {
        let mut why = String::new();
        for python in ["python3.11", "python3.10", "python3"] {
            let mut command = Command::new(python);
            match run(command.args(["-m", "venv"]).arg(folder)) {
                Ok(_) => return Ok(()),
                Err(error) => why = error,
            }
        }
        Err(why)
    }

    fn pip(&self, packages: &[&str], flags: &[&str]) -> Result<(), String> {
        let mut command = Command::new(&self.python);
        command.args(["-m", "pip", "install", "--quiet"]);
        command.args([
            "--disable-pip-version-check",
            "--retries",
            "1",
            "--timeout",
            "15",
        ]);
        run(command.args(flags).args(packages)).map(|_| ())
    }
}

/// Everything that the environment is made of.
fn recipe() -> String {
    let repairs = REPAIRS.map(|(file, old, new)| format!("{file}: {old}: {new}"));
    let packages = [&[CONDA][..], &BUILDERS, &LIBRARIES].concat();
    [packages.join("\n"), repairs.join("\n"), SHIM.to_owned()].join("\n")
}

/// Runs a program; what went wrong comes back in words.
fn run(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().display().to_string();
    let output = command
        .output()
        .map_err(|error| format!("{name}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(format!(
            "{name}: {}{}",
            text(&output.stdout),
            text(&output.stderr)
        ))
    }
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
