//! Makes conda packages, the same bytes for the same input: for the tests, the committed fixtures and the
//! benchmarks. It stands on crates alone and must not use the library, so that no error of the library
//! can hide in the packages that test it. A test takes it in by `#[path = "support/builder.rs"] mod builder;`.
#![allow(dead_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub mod archive;
mod layout;
mod random;
pub mod zip;

// Not every test uses all of it.
#[allow(unused_imports)]
pub use layout::{Format, METADATA_JSON, conda_members, package_of};
pub use random::Random;

use archive::{TarMember, tar_of_members};
use zip::zip_of;

/// What a package is to be; each method changes one thing and hands it on.
#[derive(Clone, Debug)]
pub struct PackageSpec {
    name: String,
    version: String,
    build: String,
    folder: String,
    /// The keys of index.json with their values as JSON text, so that any number keeps its spelling.
    index: BTreeMap<String, String>,
    raw_index: Option<Vec<u8>>,
    about: Value,
    run_exports: Option<Value>,
    payload: Vec<u8>,
    payload_path: String,
    prefix: &'static str,
    info_last: bool,
    conda_info_first: bool,
}

impl PackageSpec {
    /// A package for linux-64 with a short text as its payload, and what index.json has in every real one.
    pub fn new(name: &str, version: &str, build: &str) -> Self {
        let spec = Self {
            name: name.to_owned(),
            version: version.to_owned(),
            build: build.to_owned(),
            folder: String::new(),
            index: BTreeMap::new(),
            raw_index: None,
            about: json!({"license": "BSD-3-Clause", "summary": format!("The package {name}")}),
            run_exports: None,
            payload: format!("This is {name} {version}.\n").into_bytes(),
            payload_path: format!("lib/{name}.txt"),
            prefix: "",
            info_last: false,
            conda_info_first: false,
        };
        spec.extra("name", json!(name))
            .extra("version", json!(version))
            .extra("build", json!(build))
            .extra("license", json!("BSD-3-Clause"))
            .extra("timestamp", json!(1_700_000_000_000_u64))
            .build_number(0)
            .depends::<&str>([])
            .subdir("linux-64")
    }

    /// Sets the folder, and `subdir`, `platform` and `arch` (for noarch also `noarch`) in index.json.
    pub fn subdir(mut self, subdir: &str) -> Self {
        self.folder = subdir.to_owned();
        self.index.remove("noarch");
        let (platform, arch) = match subdir.split_once('-') {
            Some((platform, "64")) => (json!(platform), json!("x86_64")),
            Some((platform, "32")) => (json!(platform), json!("x86")),
            Some((platform, arch)) => (json!(platform), json!(arch)),
            None => (Value::Null, Value::Null),
        };
        let spec = if subdir == "noarch" {
            self.extra("noarch", json!("generic"))
        } else {
            self
        };
        spec.extra("subdir", json!(subdir))
            .extra("platform", platform)
            .extra("arch", arch)
    }

    /// Sets the folder alone, and leaves index.json as it is.
    pub fn folder(mut self, folder: &str) -> Self {
        self.folder = folder.to_owned();
        self
    }

    /// Sets `build_number`.
    pub fn build_number(self, number: u64) -> Self {
        self.extra("build_number", json!(number))
    }

    /// Sets `depends`.
    pub fn depends<S: AsRef<str>>(self, depends: impl IntoIterator<Item = S>) -> Self {
        let depends: Vec<_> = depends.into_iter().map(|one| json!(one.as_ref())).collect();
        self.extra("depends", Value::Array(depends))
    }

    /// Sets any key of index.json; the file's name stays that of `new`.
    pub fn extra(self, key: &str, value: Value) -> Self {
        let text = serde_json::to_string_pretty(&value).unwrap();
        self.extra_text(key, &text)
    }

    /// Sets any key of index.json to a JSON text, which is kept to the letter.
    pub fn extra_text(mut self, key: &str, text: &str) -> Self {
        self.index.insert(key.to_owned(), text.to_owned());
        self
    }

    /// Takes a key out of index.json.
    pub fn without(mut self, key: &str) -> Self {
        self.index.remove(key);
        self
    }

    /// Replaces the whole of index.json, by bytes of any kind.
    pub fn index_json(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.raw_index = Some(bytes.into());
        self
    }

    /// Sets about.json.
    pub fn about(mut self, about: Value) -> Self {
        self.about = about;
        self
    }

    /// Adds run_exports.json.
    pub fn run_exports(mut self, run_exports: Value) -> Self {
        self.run_exports = Some(run_exports);
        self
    }

    /// Sets the contents of the one file outside `info/`.
    pub fn payload(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.payload = bytes.into();
        self
    }

    /// Sets where the payload goes in the package.
    pub fn payload_path(mut self, path: &str) -> Self {
        self.payload_path = path.to_owned();
        self
    }

    /// A payload of `size` bytes that no compressor makes smaller.
    pub fn payload_size(self, size: usize, seed: u64) -> Self {
        self.payload(Random::new(seed).bytes(size, 8))
    }

    /// A payload of `size` bytes that compress to next to nothing.
    pub fn payload_compressible(self, size: usize) -> Self {
        self.payload(
            b"again and "
                .iter()
                .copied()
                .cycle()
                .take(size)
                .collect::<Vec<_>>(),
        )
    }

    /// Names members `./info/…` instead of `info/…`, as some old tools did.
    pub fn prefix_dot_slash(mut self, yes: bool) -> Self {
        self.prefix = if yes { "./" } else { "" };
        self
    }

    /// Puts the payload first and index.json last in a `.tar.bz2`, as some old packages have it.
    pub fn info_last(mut self, yes: bool) -> Self {
        self.info_last = yes;
        self
    }

    /// Puts the info member first and metadata.json last in a `.conda`, as early writers did.
    pub fn conda_info_first(mut self, yes: bool) -> Self {
        self.conda_info_first = yes;
        self
    }

    /// `NAME-VERSION-BUILD`.
    pub fn stem(&self) -> String {
        format!("{}-{}-{}", self.name, self.version, self.build)
    }

    /// The name of the package's file.
    pub fn file_name(&self, format: Format) -> String {
        self.stem() + format.extension()
    }

    /// The file's path below the channel, with `/`.
    pub fn path_in_channel(&self, format: Format) -> String {
        format!("{}/{}", self.folder, self.file_name(format))
    }

    /// index.json as it will stand in the package.
    pub fn index_bytes(&self) -> Vec<u8> {
        if let Some(raw) = &self.raw_index {
            return raw.clone();
        }
        let lines: Vec<_> = self
            .index
            .iter()
            .map(|(key, text)| format!("  {}: {}", json!(key), text.replace('\n', "\n  ")))
            .collect();
        format!("{{\n{}\n}}\n", lines.join(",\n")).into_bytes()
    }

    /// The member `info/index.json`.
    pub fn index_member(&self) -> TarMember {
        self.member("info/index.json", self.index_bytes())
    }

    /// The members of `info/`, index.json first.
    pub fn info_members(&self) -> Vec<TarMember> {
        let mut members = vec![self.index_member()];
        members.extend(self.other_info_members());
        members
    }

    /// The members of `info/` without index.json.
    pub fn other_info_members(&self) -> Vec<TarMember> {
        let recipe = format!(
            "package:\n  name: {}\n  version: {}\n",
            self.name, self.version
        );
        let paths = json!({
            "paths": [{
                "_path": self.payload_path,
                "path_type": "hardlink",
                "sha256": hex(&Sha256::digest(&self.payload)),
                "size_in_bytes": self.payload.len(),
            }],
            "paths_version": 1,
        });
        let mut members = vec![
            self.member("info/paths.json", pretty(&paths)),
            self.member("info/about.json", pretty(&self.about)),
            self.member("info/files", self.payload_path.clone() + "\n"),
            self.member("info/recipe/meta.yaml", recipe),
        ];
        if let Some(run_exports) = &self.run_exports {
            members.push(self.member("info/run_exports.json", pretty(run_exports)));
        }
        members
    }

    /// The members outside `info/`.
    pub fn payload_members(&self) -> Vec<TarMember> {
        vec![self.member(&self.payload_path, self.payload.as_slice())]
    }

    fn member(&self, name: &str, bytes: impl Into<Vec<u8>>) -> TarMember {
        TarMember::file(format!("{}{name}", self.prefix), bytes)
    }

    /// The whole package as `.tar.bz2`.
    pub fn tar_bz2(&self) -> Vec<u8> {
        let (mut first, mut second) = (self.info_members(), self.payload_members());
        if self.info_last {
            first.rotate_left(1);
            std::mem::swap(&mut first, &mut second);
        }
        first.append(&mut second);
        archive::bz2(&tar_of_members(&first), 9)
    }

    /// The whole package as `.conda`.
    pub fn conda(&self) -> Vec<u8> {
        let mut members =
            conda_members(&self.stem(), &self.info_members(), &self.payload_members());
        if self.conda_info_first {
            members.reverse();
        }
        zip_of(&members)
    }

    /// The whole package in either format.
    pub fn bytes(&self, format: Format) -> Vec<u8> {
        match format {
            Format::TarBz2 => self.tar_bz2(),
            Format::Conda => self.conda(),
        }
    }

    /// Writes the package into its folder below `channel`, and gives the file's path.
    pub fn write_to(&self, channel: &Path, format: Format) -> PathBuf {
        let path = channel.join(self.path_in_channel(format));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, self.bytes(format)).unwrap();
        path
    }
}

fn pretty(value: &Value) -> Vec<u8> {
    serde_json::to_vec_pretty(value).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
