//! Servers of the S3 protocol that others wrote, on free ports of this machine: `moto` from PyPI, and `s3s-fs` from the
//! registry of crates where it is installed. It owns starting them once for a process, and their end with it, whatever
//! becomes of the process; and buckets on them, filled and looked at beside the program. It must not know what is tested.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path as Key;
use object_store::{ObjectStore as _, ObjectStoreExt as _};
use tokio::runtime::Runtime;

use crate::python::Python;

/// What moto needs; the version is pinned, because the tests rest on how it holds to conditions.
const MOTO: [&str; 1] = ["moto[server,s3]==5.2.5"];

/// The key that the servers know.
pub const ACCESS: [(&str, &str); 5] = [
    ("AWS_ACCESS_KEY_ID", "id-of-a-key"),
    ("AWS_SECRET_ACCESS_KEY", "not-to-be-shown"),
    ("AWS_REGION", "us-east-1"),
    ("AWS_ALLOW_HTTP", "true"),
    // No proxy stands between a client and this machine.
    ("NO_PROXY", "127.0.0.1"),
];

/// A server that runs until this process ends.
pub struct Server {
    /// Whose it is.
    pub name: &'static str,
    address: String,
    _held: Child,
}

/// All that are to be had here; says which are not. In CI none may be missing.
pub fn servers() -> impl Iterator<Item = &'static Server> {
    static MOTO: OnceLock<Option<Server>> = OnceLock::new();
    static S3S: OnceLock<Option<Server>> = OnceLock::new();
    let moto = MOTO.get_or_init(|| had(moto()));
    let s3s = S3S.get_or_init(|| had(s3s()));
    moto.iter().chain(s3s)
}

/// The one of them that is quick to install.
pub fn server() -> Option<&'static Server> {
    servers().next()
}

fn had(server: Result<Server, String>) -> Option<Server> {
    match server {
        Ok(server) => Some(server),
        Err(why) => {
            assert!(std::env::var_os("CI").is_none(), "{why}");
            eprintln!("skipped: {why}");
            None
        }
    }
}

fn moto() -> Result<Server, String> {
    let make = |python: &Python| python.pip(&MOTO, &[]);
    let check = |python: &Python| {
        let mut command = python.command(&["-c", "import moto.server"]);
        crate::python::run(&mut command).map(|_| ())
    };
    let python = Python::installed("moto", &MOTO.join(" "), make, check)?;
    let program = "import sys; from moto.server import main; main(sys.argv[1:])";
    start("moto", |_| {
        let mut words = vec![python.command(&[]).get_program().to_owned()];
        words.extend(["-c", program, "-H", "127.0.0.1", "-p", "0"].map(Into::into));
        words
    })
}

fn s3s() -> Result<Server, String> {
    let there = Command::new("s3s-fs").arg("--version").output();
    there.map_err(|error| {
        format!(
            "s3s-fs: {error}; install it with `cargo install --locked s3s-fs --features binary`"
        )
    })?;
    let [(_, id), (_, secret), ..] = ACCESS;
    start("s3s-fs", |folder| {
        let words = ["s3s-fs", "--host", "127.0.0.1", "--port", "0"];
        let words = words
            .into_iter()
            .chain(["--access-key", id, "--secret-key", secret]);
        words.chain([folder]).map(Into::into).collect()
    })
}

/// Starts a server on a free port, which it tells, and waits until it answers. A shell holds it, and ends it when this
/// process ends.
#[allow(
    clippy::zombie_processes,
    reason = "it lives as long as this process does"
)]
fn start(
    name: &'static str,
    words: impl Fn(&str) -> Vec<std::ffi::OsString>,
) -> Result<Server, String> {
    const HOLD: &str = "dir=$1; shift; \"$@\" >\"$dir.log\" 2>&1 & cat >/dev/null; kill $!; rm -rf \"$dir\" \"$dir.log\"";
    let folder = tempfile::tempdir().unwrap().keep();
    let folder = folder.to_str().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", HOLD, "sh", folder]);
    command.args(words(folder)).stdin(Stdio::piped());
    command.env_remove("AWS_PROFILE").env("RUST_LOG", "info");
    let mut held = command.spawn().unwrap();
    let log = format!("{folder}.log");
    let begun = Instant::now();
    loop {
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        let port = said.split_once("http://127.0.0.1:").map(|(_, rest)| {
            let end = rest.find(|c: char| !c.is_ascii_digit());
            rest[..end.unwrap_or(rest.len())].to_owned()
        });
        let address = format!("127.0.0.1:{}", port.unwrap_or_default());
        if TcpStream::connect(&address).is_ok() {
            return Ok(Server {
                name,
                address,
                _held: held,
            });
        }
        if begun.elapsed() > Duration::from_secs(120) {
            drop(held.stdin.take());
            let _ = held.wait();
            return Err(format!("{name}: it does not answer: {said}"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

impl Server {
    /// `HOST:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A new bucket.
    pub fn bucket(&'static self) -> Bucket {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let bucket = Bucket {
            server: self,
            name: format!("channel-{}-{count}", std::process::id()),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
        };
        bucket.make();
        bucket
    }
}

/// A bucket on a server, with a client that is not the program's.
pub struct Bucket {
    /// Where it is.
    pub server: &'static Server,
    name: String,
    runtime: Runtime,
}

impl Bucket {
    fn make(&self) {
        // The client makes objects alone; the request for a bucket is signed with the same words.
        let made = self.signed("PUT", "");
        assert!(made.starts_with("HTTP/1.1 200"), "{made}");
    }

    /// The URL of a prefix in it, for the program.
    pub fn url(&self, prefix: &str) -> String {
        format!("s3://{}/{prefix}", self.name)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn store(&self) -> AmazonS3 {
        let [(_, id), (_, secret), (_, region), ..] = ACCESS;
        AmazonS3Builder::new()
            .with_endpoint(format!("http://{}", self.server.address))
            .with_allow_http(true)
            .with_bucket_name(&self.name)
            .with_access_key_id(id)
            .with_secret_access_key(secret)
            .with_region(region)
            .build()
            .unwrap()
    }

    /// Puts an object there.
    pub fn put(&self, key: &str, bytes: impl Into<Vec<u8>>) {
        let (store, key) = (self.store(), Key::parse(key).unwrap());
        let put = store.put(&key, bytes.into().into());
        self.runtime.block_on(put).unwrap();
    }

    /// An object.
    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        let (store, key) = (self.store(), Key::parse(key).unwrap());
        self.runtime.block_on(async {
            let got = store.get(&key).await.ok()?;
            Some(got.bytes().await.unwrap().to_vec())
        })
    }

    /// Takes an object away.
    pub fn delete(&self, key: &str) {
        let (store, key) = (self.store(), Key::parse(key).unwrap());
        self.runtime.block_on(store.delete(&key)).unwrap();
    }

    /// All keys below a prefix, without it.
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        use futures_util::TryStreamExt as _;
        let (store, prefix) = (self.store(), Key::parse(prefix).unwrap());
        let list = store.list(Some(&prefix)).try_collect::<Vec<_>>();
        let all = self.runtime.block_on(list).unwrap();
        let all = all.into_iter().map(|meta| meta.location.to_string());
        let cut = |key: String| {
            key[prefix.as_ref().len()..]
                .trim_start_matches('/')
                .to_owned()
        };
        let mut all: Vec<String> = all.map(cut).collect();
        all.sort();
        all
    }

    /// All objects below a prefix.
    pub fn objects(&self, prefix: &str) -> BTreeMap<String, Vec<u8>> {
        let keys = self.keys(prefix).into_iter();
        keys.map(|key| {
            let bytes = self.get(&format!("{prefix}/{key}")).unwrap();
            (key, bytes)
        })
        .collect()
    }

    /// Puts the files of a folder below a prefix, those that `wanted` takes.
    pub fn upload(&self, folder: &Path, prefix: &str, wanted: impl Fn(&str) -> bool) {
        for entry in walkdir::WalkDir::new(folder) {
            let entry = entry.unwrap();
            let name = entry.path().strip_prefix(folder).unwrap().to_str().unwrap();
            if entry.file_type().is_file() && wanted(name) {
                let bytes = std::fs::read(entry.path()).unwrap();
                self.put(&format!("{prefix}/{name}"), bytes);
            }
        }
    }

    /// A request with an empty body, by hand, for what clients do not send; the answer's head.
    pub fn signed(&self, method: &str, key: &str) -> String {
        use object_store::signer::Signer as _;
        let method_of = method.parse().unwrap();
        let url = match key {
            // Of the bucket itself.
            "" => {
                let (store, key) = (self.store(), Key::default());
                let signed = store.signed_url(method_of, &key, Duration::from_secs(60));
                let url = self.runtime.block_on(signed).unwrap();
                format!("{}?{}", url.path(), url.query().unwrap())
            }
            key => format!("/{}/{key}", self.name),
        };
        let mut to = TcpStream::connect(&self.server.address).unwrap();
        let head = format!(
            "{method} {url} HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            self.server.address
        );
        to.write_all(head.as_bytes()).unwrap();
        let mut answer = Vec::new();
        to.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }
}
