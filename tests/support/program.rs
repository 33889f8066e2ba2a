//! Runs programs as a user would: the real binary with its home, cache and keys in a scratch folder, and
//! others where the machine has them. It must not know what is tested.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A scratch folder that is a home to the program; it goes when the value goes.
pub struct Home(tempfile::TempDir);

impl Home {
    /// A new, empty one.
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A path in it.
    pub fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    /// The keys folder, where the program itself looks for it.
    pub fn keys(&self) -> PathBuf {
        self.path(".conda/keys")
    }

    /// The program, with nothing from the environment of this test but what it needs to run.
    pub fn sigindex<S: AsRef<std::ffi::OsStr>>(
        &self,
        words: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sigindex"));
        command.args(words).env_clear().env("HOME", self.0.path());
        command
    }

    /// Runs the program and demands its exit status.
    pub fn run<S: AsRef<std::ffi::OsStr>>(
        &self,
        status: i32,
        words: impl IntoIterator<Item = S>,
    ) -> Ran {
        Ran::of(&mut self.sigindex(words)).demand(status)
    }

    /// Indexes a channel with more flags, and gives the report.
    pub fn index(&self, status: i32, channel: &Path, flags: &[&str]) -> serde_json::Value {
        let mut words = vec![channel.to_str().unwrap(), "--json"];
        words.extend(flags);
        let ran = self.run(status, words);
        serde_json::from_str(&ran.stdout).unwrap()
    }
}

/// What a program said, and how it ended.
#[derive(Debug)]
pub struct Ran {
    /// What it printed as its result.
    pub stdout: String,
    /// What it said beside it.
    pub stderr: String,
    status: Option<i32>,
}

impl Ran {
    /// Runs a program to its end.
    pub fn of(command: &mut Command) -> Self {
        let output = command
            .output()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        output.into()
    }

    /// Fails the test when the exit status is another.
    pub fn demand(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "{}{}", self.stdout, self.stderr);
        self
    }

    /// Whether the exit status was 0.
    pub fn ok(&self) -> bool {
        self.status == Some(0)
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            status: output.status.code(),
        }
    }
}

/// Whether the machine has a program; where not, says that the test is skipped.
pub fn have(program: &str, argument: &str) -> bool {
    let found = Command::new(program)
        .arg(argument)
        .output()
        .is_ok_and(|output| output.status.success());
    if !found {
        super::shared::skip(&format!("there is no {program} on this machine"));
    }
    found
}

/// Lets openssl verify `FILE.sig` by a public key.
pub fn openssl_verifies(file: &Path, public: &Path, scratch: &Path) -> bool {
    use base64ct::{Base64, Encoding};
    let text = std::fs::read_to_string(format!("{}.sig", file.display())).unwrap();
    let (_, base64) = text.trim_end().split_once(' ').unwrap();
    let raw = scratch.join("openssl.sig");
    std::fs::write(&raw, Base64::decode_vec(base64).unwrap()).unwrap();
    let mut command = Command::new("openssl");
    command.args(["dgst", "-sha256"]);
    for option in [
        "rsa_padding_mode:pss",
        "rsa_pss_saltlen:32",
        "rsa_mgf1_md:sha256",
    ] {
        command.args(["-sigopt", option]);
    }
    command.arg("-verify").arg(public);
    command.arg("-signature").arg(&raw).arg(file);
    let ran = Ran::of(&mut command);
    ran.ok() && ran.stdout.contains("Verified OK")
}
