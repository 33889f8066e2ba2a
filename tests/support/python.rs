//! A Python of its own for programs that come from PyPI: a virtual environment below cargo's target folder, made
//! once. It owns the making, whole or not at all, and must not know which programs they are.

#![allow(dead_code)]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A virtual environment.
pub struct Python {
    folder: PathBuf,
}

impl Python {
    /// Makes the environment, or finds the one that an earlier run made by the same recipe.
    ///
    /// # Errors
    /// In words, where Python, its parts or the packages are not to be had.
    pub fn installed(
        name: &str,
        recipe: &str,
        make: impl FnOnce(&Python) -> Result<(), String>,
        check: impl Fn(&Python) -> Result<(), String>,
    ) -> Result<Self, String> {
        let base = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let folder = base.join(name);
        // One of several runs of the tests installs, the others wait; the lock ends with its holder.
        std::fs::create_dir_all(base).unwrap();
        let lock = File::create(base.join(format!("{name}.lock"))).unwrap();
        lock.lock().unwrap();
        let python = Self { folder };
        let marker = python.folder.join("complete");
        let complete = std::fs::read_to_string(&marker).is_ok_and(|found| found == recipe);
        if !(complete && check(&python).is_ok()) {
            if python.folder.exists() {
                std::fs::remove_dir_all(&python.folder).unwrap();
            }
            python.environment()?;
            make(&python)?;
            check(&python)?;
            // Written whole or not at all: a run that was cut short leaves no marker.
            let beside = python.folder.join("complete.tmp");
            std::fs::write(&beside, recipe).unwrap();
            std::fs::rename(beside, marker).unwrap();
        }
        Ok(python)
    }

    /// Python with some words, and nothing of this test's environment but where programs are.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.folder.join("bin/python"));
        command.args(words).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        // No proxy stands between a client and this machine.
        command.env("NO_PROXY", "127.0.0.1");
        command
    }

    /// Where its packages are.
    ///
    /// # Errors
    /// In words.
    pub fn packages(&self) -> Result<PathBuf, String> {
        let program = "import sysconfig; print(sysconfig.get_path('purelib'))";
        run(&mut self.command(&["-c", program])).map(|path| path.trim().into())
    }

    /// Installs packages.
    ///
    /// # Errors
    /// In words.
    pub fn pip(&self, packages: &[&str], flags: &[&str]) -> Result<(), String> {
        let mut command = Command::new(self.folder.join("bin/python"));
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

    /// Conda 4.2.7 is of before Python 3.12, which dropped what it builds on.
    fn environment(&self) -> Result<(), String> {
        let mut why = String::new();
        for python in ["python3.11", "python3.10", "python3"] {
            let mut command = Command::new(python);
            match run(command.args(["-m", "venv"]).arg(&self.folder)) {
                Ok(_) => return Ok(()),
                Err(error) => why = error,
            }
        }
        Err(why)
    }
}

/// Runs a program; what went wrong comes back in words.
pub fn run(command: &mut Command) -> Result<String, String> {
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
