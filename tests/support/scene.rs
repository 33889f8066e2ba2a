//! A scratch folder with a home, a keys folder and a channel, in which the real binary is run with an
//! environment of its own: `scene.index(&["--strict"]).exits(1).says("…")`. It knows the command line and
//! the files, and nothing of the library. A test takes it in by `#[path = "support/scene.rs"] mod scene;`.
#![allow(dead_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice
)]

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

#[path = "builder.rs"]
pub mod builder;

use builder::{Format, PackageSpec};

/// A moment of the tests' own, in seconds since 1970.
pub const EPOCH: &str = "1700000000";

/// The subdir in which packages are put, unless a test says otherwise.
pub const SUBDIR: &str = "linux-64";

/// Switches the signed index of the channel on, its keys being `root` and `index`.
pub const INIT: &[&str] = &[
    "trust",
    "init",
    "channel",
    "--root-key",
    "root",
    "--index-key",
    "index",
];

/// Where the committed fixtures lie.
pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// The scratch folder; commands run in it, so the channel is `channel` to them.
pub struct Scene {
    root: TempDir,
}

/// What a file was: mode, inode, mtime, content. A folder has no content.
pub type Seen = (u32, u64, (i64, i64), Option<Vec<u8>>);

impl Scene {
    /// Without any key.
    pub fn without_key() -> Self {
        // Where the system has a folder in memory, no test waits for a disk.
        let root = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let root = root.unwrap();
        let scene = Self { root };
        for folder in ["home/.conda/keys", "cache", "channel"] {
            std::fs::create_dir_all(scene.path(folder)).unwrap();
        }
        scene.set_mode("home/.conda/keys", 0o700);
        scene
    }

    /// With the key pair `fixture`.
    pub fn new() -> Self {
        let scene = Self::without_key();
        scene.give_key("fixture");
        scene
    }

    /// With the key pair `fixture` and the packages `a`, `b` and `c`.
    pub fn of_three() -> Self {
        let scene = Self::new();
        scene.package("a");
        scene.package("b");
        scene.package("c");
        scene
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    /// The path of a key, or of any other file in the keys folder.
    pub fn key_path(&self, name: &str) -> PathBuf {
        self.path("home/.conda/keys").join(name)
    }

    /// Puts a pair of the fixtures into the keys folder.
    pub fn give_key(&self, name: &str) {
        self.give_public_key(name);
        std::fs::copy(fixtures().join("keys").join(name), self.key_path(name)).unwrap();
        std::fs::set_permissions(self.key_path(name), std::fs::Permissions::from_mode(0o600))
            .unwrap();
    }

    /// Puts the public half of a pair of the fixtures into the keys folder.
    pub fn give_public_key(&self, name: &str) {
        let file = format!("{name}.pub");
        std::fs::copy(fixtures().join("keys").join(&file), self.key_path(&file)).unwrap();
    }

    /// Takes a key, both halves of it as far as they are there, out of the keys folder.
    pub fn take_key(&self, name: &str) {
        for file in [name.to_owned(), format!("{name}.pub")] {
            let _ = std::fs::remove_file(self.key_path(&file));
        }
    }

    /// Puts a package of that name into the channel, every second name's in the other format, and
    /// gives its path in the channel.
    pub fn package(&self, name: &str) -> String {
        let even = name.bytes().map(usize::from).sum::<usize>() % 2 == 0;
        let format = if even { Format::TarBz2 } else { Format::Conda };
        self.put(&PackageSpec::new(name, "1.0", "0"), format)
    }

    /// Puts a package into the channel, and gives its path in it.
    pub fn put(&self, spec: &PackageSpec, format: Format) -> String {
        spec.write_to(&self.path("channel"), format);
        spec.path_in_channel(format)
    }

    /// Gives a package other bytes, and nothing else.
    pub fn change(&self, package: &str) {
        let name = package.rsplit('/').next().unwrap();
        let (format, stem) = match name.strip_suffix(".conda") {
            Some(stem) => (Format::Conda, stem),
            None => (Format::TarBz2, name.strip_suffix(".tar.bz2").unwrap()),
        };
        let name = stem.strip_suffix("-1.0-0").unwrap();
        let spec = PackageSpec::new(name, "1.0", "0").payload("something else\n");
        assert_eq!(self.put(&spec, format), package);
    }

    /// Copies a folder of the fixtures into the channel.
    pub fn copy_fixture(&self, folder: &str) {
        copy_tree(&fixtures().join(folder), &self.path("channel"));
    }

    pub fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    pub fn read(&self, path: &str) -> Vec<u8> {
        std::fs::read(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub fn text(&self, path: &str) -> String {
        String::from_utf8(self.read(path)).unwrap()
    }

    pub fn remove(&self, path: &str) {
        let path = self.path(path);
        if path.is_dir() {
            std::fs::remove_dir_all(path).unwrap();
        } else {
            std::fs::remove_file(path).unwrap();
        }
    }

    pub fn exists(&self, path: &str) -> bool {
        self.path(path).symlink_metadata().is_ok()
    }

    pub fn mode(&self, path: &str) -> u32 {
        std::fs::metadata(self.path(path)).unwrap().mode() & 0o7777
    }

    pub fn set_mode(&self, path: &str, mode: u32) {
        std::fs::set_permissions(self.path(path), std::fs::Permissions::from_mode(mode)).unwrap();
    }

    /// An index of the channel, parsed.
    pub fn repodata(&self, subdir: &str) -> Value {
        self.json(&format!("channel/{subdir}/repodata.json"))
    }

    pub fn json(&self, path: &str) -> Value {
        serde_json::from_slice(&self.read(path)).unwrap()
    }

    /// A package's record, by its path in the channel.
    pub fn record(&self, package: &str) -> Value {
        self.find_record(package)
            .unwrap_or_else(|| panic!("{package} is not listed"))
    }

    pub fn find_record(&self, package: &str) -> Option<Value> {
        let (subdir, name) = package.split_once('/').unwrap();
        let repodata = self.repodata(subdir);
        ["packages", "packages.conda"]
            .iter()
            .find_map(|kind| repodata[kind].get(name).cloned())
    }

    pub fn is_listed(&self, package: &str) -> bool {
        self.find_record(package).is_some()
    }

    /// Everything below a folder, itself included, to be compared with what it is later.
    pub fn snapshot(&self, folder: &str) -> BTreeMap<PathBuf, Seen> {
        let see = |entry: walkdir::Result<walkdir::DirEntry>| {
            let entry = entry.unwrap();
            let meta = entry.metadata().unwrap();
            let content = meta.is_file().then(|| std::fs::read(entry.path()).unwrap());
            let times = (meta.mtime(), meta.mtime_nsec());
            (entry.into_path(), (meta.mode(), meta.ino(), times, content))
        };
        walkdir::WalkDir::new(self.path(folder))
            .into_iter()
            .map(see)
            .collect()
    }

    /// The binary with any arguments, to be run.
    pub fn call(&self, args: &[&str]) -> Call {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sigindex"));
        command
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path("home"))
            .env("XDG_CACHE_HOME", self.path("cache"))
            .current_dir(self.root.path())
            .stdin(Stdio::null());
        Call { command }
    }

    /// Runs the binary with any arguments.
    pub fn run(&self, args: &[&str]) -> Run {
        self.call(args).run()
    }

    /// Makes the key pairs `root` and `index`, and switches the signed index of the channel on.
    pub fn init_signed_index(&self) {
        for name in ["root", "index"] {
            self.run(&["keygen", name]).exits(0);
        }
        self.run(INIT).exits(0);
    }

    /// Indexes the channel, with these flags, and reports in JSON.
    pub fn index(&self, flags: &[&str]) -> Run {
        self.index_call(flags).run()
    }

    /// As `index`, to be run.
    pub fn index_call(&self, flags: &[&str]) -> Call {
        self.call(&[&["channel", "--json"], flags].concat())
    }

    /// Indexes the channel at a moment, in seconds since 1970.
    pub fn index_at(&self, seconds: &str, flags: &[&str]) -> Run {
        self.index_call(flags)
            .env("SOURCE_DATE_EPOCH", seconds)
            .run()
    }
}

/// The binary, about to be run.
pub struct Call {
    command: Command,
}

impl Call {
    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn without_env(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Sends stdout elsewhere; the run has none then.
    pub fn stdout(mut self, file: std::fs::File) -> Self {
        self.command.stdout(file);
        self
    }

    pub fn run(mut self) -> Run {
        let output = self.command.output().unwrap();
        Run::new(format!("{:?}", self.command.get_args()), &output)
    }

    /// The command itself, for those who start it otherwise.
    pub fn command(&mut self) -> &mut Command {
        &mut self.command
    }

    /// Starts it, with both outputs piped.
    pub fn start(mut self) -> Child {
        let command = self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }
}

/// What a run did and said.
pub struct Run {
    what: String,
    status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    pub fn new(what: String, output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let run = Self {
            what,
            status: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        };
        run.never_says("panicked")
    }

    /// What is left of a child that was started.
    pub fn of(child: Child) -> Self {
        Self::new(String::new(), &child.wait_with_output().unwrap())
    }

    fn all(&self) -> String {
        let Self { what, status, .. } = self;
        format!(
            "sigindex {what} ended with {status:?}\n--- stdout\n{}\n--- stderr\n{}",
            self.stdout, self.stderr
        )
    }

    /// The exit status; `None` where a signal ended it.
    pub fn status(&self) -> Option<i32> {
        self.status
    }

    #[track_caller]
    pub fn exits(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "{}", self.all());
        self
    }

    /// The text stands in one of the outputs.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        let said = self.stdout.contains(text) || self.stderr.contains(text);
        assert!(said, "`{text}` is not said: {}", self.all());
        self
    }

    #[track_caller]
    pub fn never_says(self, text: &str) -> Self {
        let said = self.stdout.contains(text) || self.stderr.contains(text);
        assert!(!said, "`{text}` is said: {}", self.all());
        self
    }

    /// The report, which is all that stands on stdout.
    #[track_caller]
    pub fn report(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("no report: {error}: {}", self.all()))
    }

    /// A list of the report, such as `added`, as it is there.
    #[track_caller]
    pub fn has<S: AsRef<str>>(self, list: &str, expected: &[S]) -> Self {
        let found: Vec<String> = match list {
            "refused" => self.refusals().into_keys().collect(),
            list => serde_json::from_value(self.report()[list].clone())
                .unwrap_or_else(|_| panic!("no list {list}: {}", self.all())),
        };
        let expected: Vec<&str> = expected.iter().map(AsRef::as_ref).collect();
        assert_eq!(found, expected, "{list}: {}", self.all());
        self
    }

    /// A number of the report's `counts`.
    #[track_caller]
    pub fn counts(self, what: &str, expected: u64) -> Self {
        let found = self.report()["counts"][what].as_u64();
        assert_eq!(found, Some(expected), "{what}: {}", self.all());
        self
    }

    /// Refused packages and why.
    #[track_caller]
    pub fn refusals(&self) -> BTreeMap<String, String> {
        let list = self.report()["refused"].clone();
        let text = |one: &Value, key: &str| one[key].as_str().unwrap().to_owned();
        list.as_array()
            .unwrap_or_else(|| panic!("no refusals: {}", self.all()))
            .iter()
            .map(|one| (text(one, "package"), text(one, "reason")))
            .collect()
    }

    /// Just this package was refused, for this reason.
    #[track_caller]
    pub fn refuses(self, package: &str, reason: &str) -> Self {
        let found = self.refusals();
        let why = found.get(package);
        let fits = why.is_some_and(|why| why.contains(reason));
        assert!(found.len() == 1 && fits, "`{reason}`: {}", self.all());
        self
    }
}

/// Copies a folder into one that may be there, plain files and folders alone.
pub fn copy_tree(from: &Path, to: &Path) {
    for entry in walkdir::WalkDir::new(from) {
        let entry = entry.unwrap();
        let place = to.join(entry.path().strip_prefix(from).unwrap());
        if entry.file_type().is_dir() {
            std::fs::create_dir_all(place).unwrap();
        } else {
            std::fs::copy(entry.path(), place).unwrap();
        }
    }
}
