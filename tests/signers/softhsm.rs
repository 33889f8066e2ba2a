//! A token of SoftHSM2, which is a library that others wrote: made in a scratch folder, and gone with it. It must not
//! know what is tested.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::private;
use crate::program::Ran;
use crate::scene::{Call, Scene};
use crate::shared::not_to_be_had;

/// Where distributions put the library.
const PLACES: [&str; 5] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
];

pub const PIN: &str = "2468-user";

/// The library, or what is said where there is none.
pub fn module() -> Option<&'static Path> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    let found = FOUND.get_or_init(|| PLACES.iter().map(PathBuf::from).find(|it| it.exists()));
    let tool = Command::new("softhsm2-util").arg("--version").output();
    match found {
        Some(module) if tool.is_ok() => Some(module),
        _ => {
            not_to_be_had("SoftHSM2", "install it with `apt install softhsm2`");
            None
        }
    }
}

/// A folder of tokens in a scene.
pub struct Tokens<'a> {
    scene: &'a Scene,
    module: &'static Path,
}

impl<'a> Tokens<'a> {
    /// None yet.
    pub fn new(scene: &'a Scene) -> Option<Self> {
        let module = module()?;
        std::fs::create_dir_all(scene.path("tokens")).unwrap();
        let folder = scene.path("tokens");
        let text = format!(
            "directories.tokendir = {}\nlog.level = ERROR\n",
            folder.display()
        );
        scene.write("softhsm2.conf", text);
        Some(Self { scene, module })
    }

    /// One with the key `fixture`, whose id is a1, in a token `signing`.
    pub fn with_key(scene: &'a Scene) -> Option<Self> {
        let tokens = Self::new(scene)?;
        tokens.init("signing");
        tokens.import("signing", "fixture", "fixture", "a1");
        Some(tokens)
    }

    fn tool(&self, words: &[&str]) {
        let mut command = Command::new("softhsm2-util");
        command.args(words).env("SOFTHSM2_CONF", self.conf());
        Ran::of(&mut command).demand(0);
    }

    fn conf(&self) -> PathBuf {
        self.scene.path("softhsm2.conf")
    }

    /// Makes a token.
    pub fn init(&self, token: &str) {
        let so = ["--so-pin", "1357-officer", "--pin", PIN];
        self.tool(&[&["--init-token", "--free", "--label", token], &so[..]].concat());
    }

    /// Puts a key of the fixtures into a token.
    pub fn import(&self, token: &str, key: &str, label: &str, id: &str) {
        let pem = self.scene.path("import.pem");
        let mut openssl = Command::new("openssl");
        openssl.args(["pkcs8", "-topk8", "-nocrypt", "-in"]);
        openssl.arg(private(key)).arg("-out").arg(&pem);
        Ran::of(&mut openssl).demand(0);
        let pem = pem.to_str().unwrap();
        let words = [
            "--import", pem, "--token", token, "--label", label, "--id", id,
        ];
        self.tool(&[&words[..], &["--pin", PIN]].concat());
    }

    /// The environment in which the tokens are found, without the PIN.
    pub fn in_reach(&self, call: Call) -> Call {
        call.env("SOFTHSM2_CONF", self.conf())
            .env("SIGINDEX_PKCS11_MODULE", self.module)
    }
}
