//! What conda-build puts into a package's `info/`: the same files in the same order, with texts of the usual size
//! that are each package's own. Owns those texts; it must not know how packages are compressed.

use serde_json::{Value, json};

use super::Identity;
use super::shape::Installed;
use crate::builder::Random;
use crate::builder::archive::TarMember;

/// Every so many packages have run exports.
const RUN_EXPORTS_EVERY: u64 = 4;
/// What stands in the environments that build packages.
const BUILT_WITH: [&str; 28] = [
    "_libgcc_mutex",
    "_openmp_mutex",
    "bzip2",
    "c-ares",
    "ca-certificates",
    "charset-normalizer",
    "conda-build",
    "conda-package-handling",
    "cryptography",
    "icu",
    "ld_impl_linux-64",
    "libarchive",
    "libcurl",
    "libffi",
    "libgcc-ng",
    "libstdcxx-ng",
    "libxml2",
    "ncurses",
    "openssl",
    "patchelf",
    "python",
    "readline",
    "ruamel.yaml",
    "setuptools",
    "sqlite",
    "tk",
    "xz",
    "zstandard",
];
const BUILD_CONFIG: &str = "c_compiler: gcc
cpu_optimization_target: nocona
cran_mirror: https://cran.r-project.org
cxx_compiler: gxx
extend_keys:
- ignore_build_only_deps
- pin_run_as_build
- extend_keys
- ignore_version
fortran_compiler: gfortran
ignore_build_only_deps:
- numpy
- python
lua: '5'
numpy: '1.26'
perl: 5.26.2
pin_run_as_build:
  python:
    max_pin: x.x
    min_pin: x.x
python: '3.11'
r_base: '3.5'
target_platform: linux-64
";

/// One package's texts.
pub struct Info<'a> {
    pub identity: &'a Identity,
    /// Whether texts are as long as in most packages; those of tiny packages are short.
    pub large: bool,
}

impl Info<'_> {
    /// The members as the beginning of a tar: the small documents first, then the recipe.
    pub fn tar(&self, installed: &Installed) -> Vec<u8> {
        let mut tar = Vec::with_capacity(32 * 1024);
        let mut put = |name: &str, bytes: Vec<u8>| {
            TarMember::file(format!("info/{name}"), bytes).append_to(&mut tar);
        };
        if self.large {
            put(
                "hash_input.json",
                b"{\n  \"c_compiler\": \"gcc\"\n}".to_vec(),
            );
        }
        if let Some(exports) = self.run_exports_json() {
            put("run_exports.json", exports);
        }
        put("files", installed.files.clone().into_bytes());
        put("index.json", self.identity.index_json());
        put("paths.json", installed.paths_json.clone());
        put("about.json", self.about_json());
        if self.large {
            put("git", Vec::new());
            put("test/run_test.sh", self.test().into_bytes());
            put("recipe/conda_build_config.yaml", BUILD_CONFIG.into());
        }
        put("recipe/meta.yaml", self.recipe().into_bytes());
        if self.large {
            put("recipe/meta.yaml.template", self.recipe().into_bytes());
        }
        tar
    }

    /// `info/run_exports.json`, where there is one.
    pub fn run_exports_json(&self) -> Option<Vec<u8>> {
        let exports = || json!({"weak": [self.run_export()]});
        self.has_run_exports()
            .then(|| exports().to_string().into_bytes())
    }

    /// `info/about.json`
    pub fn about_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(&self.about()).expect("what can be written")
    }

    fn random(&self) -> Random {
        Random::new(self.identity.seed ^ 0x1f)
    }

    fn has_run_exports(&self) -> bool {
        self.random().below(RUN_EXPORTS_EVERY) == 0
    }

    fn run_export(&self) -> String {
        let Identity { name, version, .. } = self.identity;
        format!("{name} >={version},<9.0a0")
    }

    /// As `conda list` would print them, each of some version.
    fn built_with(&self) -> Vec<String> {
        let mut random = self.random();
        let one = |name: &&str| {
            let (major, minor, build) = (random.below(12), random.below(40), random.below(1 << 28));
            format!("{name} {major}.{minor}.1 h{build:07x}_0")
        };
        BUILT_WITH.iter().map(one).collect()
    }

    fn home(&self) -> String {
        format!("https://www.example.org/projects/{}", self.identity.name)
    }

    fn description(&self) -> String {
        let Identity { name, version, .. } = self.identity;
        format!(
            "{name} is a library for reading, writing and comparing things, with bindings for other languages.\n\
             It has a command line of its own, stable interfaces since {version}, and no dependencies that\n\
             are not in this channel. See the handbook for what changed since the last release.\n"
        )
    }

    fn about(&self) -> Value {
        let name = &self.identity.name;
        let mut about = json!({
            "home": self.home(),
            "license": "BSD-3-Clause",
            "summary": format!("The package {name}, which does one thing well"),
        });
        if self.large {
            about["channels"] = json!(["defaults"]);
            about["conda_build_version"] = json!("3.28.4");
            about["conda_private"] = json!(false);
            about["conda_version"] = json!("23.11.0");
            about["description"] = json!(self.description());
            about["dev_url"] = json!(format!("{}/source", self.home()));
            about["doc_url"] = json!(format!("{}/handbook", self.home()));
            about["env_vars"] = json!({"CIO_TEST": "<not set>", "CONDA_DEFAULT_ENV": "base"});
            about["extra"] = json!({"copy_test_source_files": true, "final": true, "recipe-maintainers": ["keeper"]});
            about["identifiers"] = json!([]);
            about["keywords"] = json!([]);
            about["license_family"] = json!("BSD");
            about["license_file"] = json!("LICENSE.txt");
            about["root_pkgs"] = json!(self.built_with());
            about["tags"] = json!([]);
        }
        about
    }

    /// The recipe with everything filled in, as conda-build leaves it.
    fn recipe(&self) -> String {
        let Identity {
            name,
            version,
            build,
            build_number,
            depends,
            ..
        } = self.identity;
        let mut text = format!(
            "package:\n  name: {name}\n  version: '{version}'\nbuild:\n  number: '{build_number}'\n  string: {build}\n"
        );
        if self.has_run_exports() {
            text.push_str(&format!("  run_exports:\n    - {}\n", self.run_export()));
        }
        text.push_str("requirements:\n");
        if self.large {
            text.insert_str(0, "# This file created by conda-build 3.28.4\n");
            text.push_str("  build:\n");
            for package in self.built_with() {
                text.push_str(&format!("    - {package}\n"));
            }
        }
        text.push_str("  run:\n");
        for depend in depends {
            text.push_str(&format!("    - {depend}\n"));
        }
        if self.large {
            text.push_str("test:\n  commands:\n");
            for line in self.test().lines().skip(1) {
                text.push_str(&format!("    - {line}\n"));
            }
        }
        text.push_str(&format!(
            "about:\n  home: {}\n  license: BSD-3-Clause\n  summary: The package {name}, which does one thing well\n",
            self.home()
        ));
        if self.large {
            let description = self.description().replace('\n', "\n    ");
            text.push_str(&format!(
                "  description: |\n    {}\n",
                description.trim_end()
            ));
            text.push_str("extra:\n  copy_test_source_files: true\n  final: true\n");
        }
        text
    }

    fn test(&self) -> String {
        let name = &self.identity.name;
        format!("set -ex\ntest -f $PREFIX/lib/{name}.so\n{name} --version\n{name} --help\nexit 0\n")
    }
}
