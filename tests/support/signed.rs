//! A channel with a signed index, whoever runs it, and a user who has installed the root's public key alone. It owns
//! their command lines; it must not know what is tested. A test takes it in beside `builder`,
//! `gate`, `program` and `shared`.
#![allow(dead_code)]

use std::path::{Path, PathBuf};

use super::builder::{Format, PackageSpec};
use super::gate::Gate;
use super::program::{Home, Ran};
use super::shared::copy_folder;

/// The subdir of the packages.
pub const SUBDIR: &str = "noarch";

/// Whoever runs a channel: the keys `pkg`, `index` and `root`, and the channel.
pub struct Operator {
    /// Where keys and channel are.
    pub home: Home,
    flags: Vec<&'static str>,
}

impl Operator {
    /// A channel with the package `good`, which needs `lib`, published with a signed index.
    pub fn new() -> Self {
        Self::with_flags(&[])
    }

    /// The same, by more flags in every run.
    pub fn with_flags(flags: &[&'static str]) -> Self {
        let operator = Self::unsigned(flags);
        operator.init(&[]);
        operator.publish();
        operator
    }

    /// The same packages and the key of packages alone, and no index yet.
    pub fn unsigned(flags: &[&'static str]) -> Self {
        let home = Home::new();
        home.run(0, ["keygen", "pkg"]);
        let operator = Self {
            home,
            flags: flags.to_vec(),
        };
        operator.put(&PackageSpec::new("lib", "1.0", "0"));
        operator.put(&PackageSpec::new("good", "1.0", "0").depends(["lib"]));
        // The old conda takes a folder without its own platform for no channel.
        let native = PackageSpec::new("native", "1.0", "0").subdir("linux-64");
        native.write_to(&operator.channel(), Format::TarBz2);
        operator
    }

    /// Switches the signed index on.
    pub fn init(&self, flags: &[&str]) {
        for key in ["index", "root"] {
            self.home.run(0, ["keygen", key]);
        }
        let channel = self.channel();
        let mut words = vec!["trust", "init", channel.to_str().unwrap()];
        words.extend(["--root-key", "root", "--index-key", "index"]);
        words.extend(flags);
        self.home.run(0, words);
    }

    /// The channel's folder.
    pub fn channel(&self) -> PathBuf {
        self.home.path("channel")
    }

    /// A file of the channel.
    pub fn file(&self, path: &str) -> PathBuf {
        self.channel().join(path)
    }

    /// Puts a package into the channel, and gives its path there.
    pub fn put(&self, spec: &PackageSpec) -> String {
        let spec = spec.clone().subdir(SUBDIR);
        spec.write_to(&self.channel(), Format::TarBz2);
        spec.path_in_channel(Format::TarBz2)
    }

    /// Indexes and publishes.
    pub fn publish(&self) {
        self.home.index(0, &self.channel(), &self.flags);
    }

    /// Runs `sigindex` on the channel: the verb's words, the channel, more words.
    pub fn run(&self, status: i32, verb: &[&str], more: &[&str]) -> Ran {
        let channel = self.channel();
        let mut words = verb.to_vec();
        words.push(channel.to_str().unwrap());
        words.extend(more);
        self.home.run(status, words)
    }

    /// The channel as it is now, kept elsewhere.
    pub fn copy(&self) -> tempfile::TempDir {
        let copy = tempfile::tempdir().unwrap();
        copy_folder(&self.channel(), copy.path());
        copy
    }

    /// Somebody who trusts these keys alone.
    pub fn user(&self, keys: &[&str]) -> User {
        let home = Home::new();
        std::fs::create_dir_all(home.keys()).unwrap();
        for key in keys {
            let file = format!("{key}.pub");
            std::fs::copy(self.home.keys().join(&file), home.keys().join(&file)).unwrap();
        }
        User {
            home,
            keys: keys.join(","),
        }
    }
}

/// Somebody who installs from the channel.
pub struct User {
    /// Where keys, what the gate remembers, and installations are.
    pub home: Home,
    keys: String,
}

impl User {
    /// A gate in front of a channel, called `main`, that asks for a fresh index every time.
    pub fn gate(&self, upstream: &str, flags: &[&str]) -> Gate {
        let channel = format!("main={upstream}");
        let trust = format!("main={}", self.keys);
        let mut words = vec!["gate", "--listen", "127.0.0.1:0", "--fresh", "0"];
        words.extend(["--channel", &channel, "--trust", &trust]);
        words.extend(flags);
        Gate::start(&mut self.home.sigindex(words))
    }
}

/// Makes one folder hold exactly what another holds.
pub fn replace_folder(folder: &Path, by: &Path) {
    std::fs::remove_dir_all(folder).unwrap();
    std::fs::create_dir_all(folder).unwrap();
    copy_folder(by, folder);
}
