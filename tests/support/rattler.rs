//! Puts py-rattler, the client library of pixi, on the machine: from PyPI, once, and gives a way to run it. It owns
//! what that takes and must not know what is tested with it.
#![allow(dead_code)]

use super::program::{Home, Ran};
use super::python::{Python, run};

const PROGRAM: &str = include_str!("rattler.py");
const RATTLER: &str = "py-rattler==0.28.0";

/// The installed client.
pub struct Rattler(Python);

impl Rattler {
    /// Installs the client, or finds the one that an earlier run installed.
    ///
    /// # Errors
    /// In words, where Python or the packages are not to be had.
    pub fn install() -> Result<Self, String> {
        let make = |python: &Python| python.pip(&[RATTLER], &[]);
        let check = |python: &Python| run(&mut python.command(&["-c", "import rattler"])).map(drop);
        Python::installed("py-rattler", RATTLER, make, check).map(Self)
    }

    /// Solves and installs a package from a URL by one kind of index (`shards`, `zst`, `json`), into `prefix` of a home.
    pub fn run(&self, home: &Home, url: &str, spec: &str, source: &str) -> Ran {
        self.run_with(home, url, spec, &[source])
    }

    /// The same by way of a mirror, as pixi does by its configuration.
    pub fn run_by_mirror(&self, home: &Home, url: &str, mirror: &str, spec: &str) -> Ran {
        self.run_with(home, url, spec, &["shards", mirror])
    }

    fn run_with(&self, home: &Home, url: &str, spec: &str, how: &[&str]) -> Ran {
        let mut command = self.0.command(&["-c", PROGRAM, url, spec]);
        command.args([home.path("prefix"), home.path("cache")]);
        command.args(how);
        command
            .env("HOME", home.path(""))
            .current_dir(home.path(""));
        Ran::of(&mut command)
    }
}
