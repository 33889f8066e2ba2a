//! A PostgreSQL server of this machine on loopback, with a scratch folder: started, stopped, restarted, and cut off. It owns
//! the server; it must not know the library, or what is tested. A test takes it in by
//! `#[path = "../support/postgres.rs"] mod postgres;`.
#![allow(dead_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

#[path = "shared.rs"]
pub mod shared;

use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_postgres::{NoTls, Row};

/// Whoever comes over the network has to say it.
pub const PASSWORD: &str = "in-no-message";
/// The role that owns all.
pub const ROLE: &str = "tester";
/// How long it may take to start, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(120);

/// How `initdb` makes a server's folder.
const INITDB: [&str; 5] = [
    "--no-sync",
    "--encoding=UTF8",
    "--locale=C",
    "--auth-local=trust",
    "--auth-host=scram-sha-256",
];

/// A server; it ends with the value.
pub struct Server {
    folder: TempDir,
    port: u16,
    child: Option<Child>,
    options: Vec<String>,
}

/// How a server is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Connections are ended, and all is written.
    Fast,
    /// As by a crash: what was committed is found again at the next start.
    Crash,
}

impl Server {
    /// A new one with nothing in it; `None`, said, where this machine has no PostgreSQL, which CI must have.
    pub fn start() -> Option<Server> {
        Server::start_with(&[], |_| {})
    }

    /// As [`Server::start`], with settings, and with files that are put into its folder before it starts.
    pub fn start_with(settings: &[&str], prepare: impl FnOnce(&Path)) -> Option<Server> {
        let Some(programs) = programs() else {
            shared::not_to_be_had("PostgreSQL", "install Debian's package postgresql");
            return None;
        };
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        prepare(folder.path());
        give_away(folder.path());
        copy(&template(&programs), &folder.path().join("data"));
        give_away(&folder.path().join("data"));
        let port = free_port();
        let options = [
            "fsync=off",
            "listen_addresses=127.0.0.1",
            "max_connections=60",
            "shared_buffers=32MB",
            "log_min_messages=fatal",
        ];
        let mut options: Vec<String> = options.iter().map(|&it| it.to_owned()).collect();
        options.push(format!("port={port}"));
        options.push(format!(
            "unix_socket_directories={}",
            folder.path().display()
        ));
        options.extend(settings.iter().map(|&it| it.to_owned()));
        let mut server = Server {
            folder,
            port,
            child: None,
            options,
        };
        server.go();
        Some(server)
    }

    /// Starts it again where it was.
    pub fn go(&mut self) {
        let programs = programs().unwrap();
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        let mut command = as_user(&programs.join("postgres"));
        command.arg("-D").arg(self.folder.path().join("data"));
        for option in &self.options {
            command.args(["-c", option]);
        }
        let command = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        self.child = Some(command.spawn().unwrap());
        let start = Instant::now();
        while Sql::try_new(self, "postgres").is_err() {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap();
            assert!(start.elapsed() < PATIENCE, "it does not start: {log}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Stops it.
    pub fn stop(&mut self, how: Stop) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        let signal = match how {
            Stop::Fast => rustix::process::Signal::INT,
            Stop::Crash => rustix::process::Signal::QUIT,
        };
        let id = rustix::process::Pid::from_child(&child);
        let _ = rustix::process::kill_process(id, signal);
        let _ = child.wait();
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its port on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of a new database, with the password in it.
    pub fn database(&self, name: &str) -> String {
        Sql::new(self, "postgres").run(&format!("CREATE DATABASE {name} TEMPLATE template0"));
        self.url(name)
    }

    /// The URL of a database, over the network.
    pub fn url(&self, database: &str) -> String {
        let port = self.port;
        format!("postgres://{ROLE}:{PASSWORD}@127.0.0.1:{port}/{database}?sslmode=disable")
    }

    /// The URL of a database, by the socket, without a password.
    pub fn socket_url(&self, database: &str) -> String {
        let (folder, port) = (self.folder.path().display(), self.port);
        format!("postgres://{ROLE}@/{database}?host={folder}&port={port}")
    }

    /// Ends all connections to a database but that of this call; how many.
    pub fn cut(&self, database: &str) -> usize {
        let sql = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}' AND pid <> pg_backend_pid()"
        );
        Sql::new(self, "postgres").rows(&sql).len()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop(Stop::Crash);
    }
}

/// A connection of the test's own, by the socket.
pub struct Sql {
    runtime: Runtime,
    client: tokio_postgres::Client,
}

impl Sql {
    /// A connection to a database.
    pub fn new(server: &Server, database: &str) -> Sql {
        Sql::try_new(server, database).unwrap()
    }

    fn try_new(server: &Server, database: &str) -> Result<Sql, tokio_postgres::Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let url = server.socket_url(database);
        let client = runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
            tokio::spawn(connection);
            Ok::<_, tokio_postgres::Error>(client)
        })?;
        Ok(Sql { runtime, client })
    }

    /// Runs statements.
    pub fn run(&self, sql: &str) {
        let done = self.runtime.block_on(self.client.batch_execute(sql));
        done.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// The rows of a statement.
    pub fn rows(&self, sql: &str) -> Vec<Row> {
        let rows = self.runtime.block_on(self.client.query(sql, &[]));
        rows.unwrap_or_else(|error| panic!("{sql}: {error:?}"))
    }

    /// The one number that a statement gives.
    pub fn number(&self, sql: &str) -> i64 {
        self.rows(sql)[0].get(0)
    }

    /// The first texts of a statement's rows.
    pub fn texts(&self, sql: &str) -> Vec<String> {
        self.rows(sql).iter().map(|row| row.get(0)).collect()
    }
}

/// Where the server's programs are.
fn programs() -> Option<PathBuf> {
    let said = Command::new("pg_config").arg("--bindir").output().ok();
    let said = said.and_then(|said| String::from_utf8(said.stdout).ok());
    let said = said.map(|said| PathBuf::from(said.trim()));
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let mut of_debian: Vec<_> = versions.flatten().map(|it| it.path().join("bin")).collect();
    of_debian.sort();
    of_debian.extend(said);
    let mut there = of_debian.into_iter().rev();
    there.find(|folder| folder.join("initdb").exists() && folder.join("postgres").exists())
}

/// A server's folder with nothing in it, as `initdb` makes it, which takes its time: once for all tests of a version.
fn template(programs: &Path) -> PathBuf {
    static MADE: Mutex<()> = Mutex::new(());
    let _one_at_a_time = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let version = Command::new(programs.join("initdb"))
        .arg("--version")
        .output();
    // Only who made it may read it.
    let user = std::fs::metadata("/proc/self").unwrap().uid();
    let what = format!(
        "{:?} {INITDB:?} {ROLE} {PASSWORD} {user}",
        version.unwrap().stdout
    );
    let name = format!("postgresql-{:x}", Sha256::digest(what));
    let template = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if !template.exists() {
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        let (data, words) = (folder.path().join("data"), folder.path().join("word"));
        std::fs::write(&words, PASSWORD).unwrap();
        give_away(folder.path());
        let mut made = as_user(&programs.join("initdb"));
        made.args(INITDB).args(["--username", ROLE, "--pwfile"]);
        let made = made.arg(&words).arg("-D").arg(&data).output().unwrap();
        assert!(made.status.success(), "initdb: {made:?}");
        let near = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        copy(&data, &near.path().join("data"));
        // Another process may have been faster.
        let _ = std::fs::rename(near.path().join("data"), &template);
    }
    template
}

/// Copies a folder, with the modes of what is in it.
fn copy(from: &Path, to: &Path) {
    let mut cp = Command::new("cp");
    let done = cp.arg("-R").arg(from).arg(to).output().unwrap();
    assert!(done.status.success(), "cp: {done:?}");
}

/// A program, run by a user whom PostgreSQL accepts: it refuses root.
fn as_user(program: &Path) -> Command {
    match user() {
        None => Command::new(program),
        Some((user, group)) => {
            let mut command = Command::new("setpriv");
            command.arg(format!("--reuid={user}"));
            command.arg(format!("--regid={group}"));
            command.args(["--clear-groups", "--"]).arg(program);
            command.current_dir("/");
            command
        }
    }
}

/// Whom to be instead of root.
fn user() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let of = |name: &str| {
        let line = users
            .lines()
            .find(|line| line.starts_with(&format!("{name}:")))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    of("postgres").or_else(|| of("nobody"))
}

/// Lets the server's user have a file or a folder and what is in it, and nobody else.
fn give_away(path: &Path) {
    for entry in walkdir::WalkDir::new(path) {
        let path = entry.unwrap().into_path();
        let mode = std::fs::metadata(&path).unwrap().mode();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode & 0o700)).unwrap();
        if let Some((user, group)) = user() {
            chown(&path, Some(user), Some(group)).unwrap();
        }
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}
