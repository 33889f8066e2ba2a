//! The tracer, compiled for this test, and what it tells of a run. Owns the names of points and faults; must not know
//! what the program is for.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::scene::{EPOCH, Scene};
use crate::shared::not_to_be_had;

/// Calls that change files or make them, or make that lasting.
pub const CHANGING: [&str; 18] = [
    "chmod",
    "chown",
    "copy",
    "create",
    "fallocate",
    "fsync",
    "ftruncate",
    "link",
    "mkdir",
    "pwrite",
    "rename",
    "renamex",
    "rmdir",
    "symlink",
    "syncdir",
    "syncfs",
    "unlink",
    "write",
];

/// Calls that take up room on a disk.
pub const FILLING: &str = "create,write,pwrite,writev,pwritev,copy,mkdir,link,symlink,fallocate";

/// One system call on a file of the scene.
#[derive(Debug, Clone)]
pub struct Point {
    /// From 1.
    pub number: u64,
    /// Its name, by what it does.
    pub call: String,
    /// What it gave; nothing where the program was killed in it.
    pub result: Option<i64>,
    /// Flags, offset or size.
    pub value: i64,
    /// Where its bytes begin in what was written.
    pub data: Option<usize>,
    /// The path below the scene's folder.
    pub path: String,
    /// The second path of calls with two.
    pub path2: String,
    /// Whether a rule was carried out on it.
    pub hit: bool,
}

impl Point {
    fn parse(line: &str) -> Point {
        let fields: Vec<&str> = line.split('\t').collect();
        Point {
            number: fields[0].parse().unwrap(),
            call: fields[1].to_owned(),
            result: fields[2].parse().ok(),
            value: fields[3].parse().unwrap(),
            data: fields[4].parse().ok(),
            path: fields[5].to_owned(),
            path2: fields[6].to_owned(),
            hit: fields[7] == "1",
        }
    }

    /// Whether it changes files.
    pub fn changes(&self) -> bool {
        CHANGING.contains(&self.call.as_str())
    }

    /// In words.
    pub fn shown(&self) -> String {
        let Self {
            number,
            call,
            path,
            path2,
            ..
        } = self;
        format!("{number} {call} {path} {path2}")
            .trim_end()
            .to_owned()
    }
}

/// How a traced run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself.
    Exit(i32),
    /// Killed.
    Signal,
    /// By SIGINT or SIGTERM, for which it had no handler.
    Stopped(i32),
    /// Not at all.
    Hang,
}

/// A run, call by call.
pub struct Traced {
    pub end: End,
    pub points: Vec<Point>,
    /// The bytes that it wrote, one after the other.
    pub data: Vec<u8>,
    pub stdout: String,
    pub stderr: String,
}

impl Traced {
    /// The first call on which a rule was carried out; `None` where the fault hit nothing.
    pub fn hit(&self) -> Option<&Point> {
        self.points.iter().find(|point| point.hit)
    }
}

/// The compiled tracer; `None`, and a word about it, where none can be made or nothing may be traced.
pub fn tracer() -> Option<&'static Path> {
    static TRACER: OnceLock<Result<(TempDir, PathBuf), String>> = OnceLock::new();
    match TRACER.get_or_init(made) {
        Ok((_, path)) => Some(path),
        Err(why) => {
            not_to_be_had("the tracer", why);
            None
        }
    }
}

fn made() -> Result<(TempDir, PathBuf), String> {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("tracer");
    crate::compiler::compile("tests/crash/tracer.c", &program, &[])?;
    let mut probe = Command::new(&program);
    let probe = probe.args(["/nowhere", "/dev/null", "/dev/null", "--", "/bin/true"]);
    let probe = probe.stdin(Stdio::null()).output();
    let probe = probe.map_err(|error| error.to_string())?;
    match probe.status.success() {
        true => Ok((folder, program)),
        false => Err(format!(
            "nothing may be traced here: {}",
            String::from_utf8_lossy(&probe.stderr)
        )),
    }
}

/// Runs the binary in a scene under these rules.
pub fn traced<S: AsRef<OsStr>>(scene: &Scene, args: &[S], rules: &[String]) -> Traced {
    let tracer = tracer().unwrap();
    let notes = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    let notes = notes.unwrap();
    let (log, data) = (notes.path().join("log"), notes.path().join("data"));
    let root = scene.path("").canonicalize().unwrap();
    let mut call = Command::new(tracer);
    call.arg(&root).args([&log, &data]).args(rules).arg("--");
    call.arg(env!("CARGO_BIN_EXE_sigindex")).args(args);
    call.env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", scene.path("home"))
        .env("XDG_CACHE_HOME", scene.path("cache"))
        .env("SOURCE_DATE_EPOCH", EPOCH)
        .current_dir(root)
        .stdin(Stdio::null());
    let output = call.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let log = std::fs::read_to_string(log).unwrap();
    let mut lines: Vec<&str> = log.lines().collect();
    let end = lines.pop().unwrap_or_default();
    let end = match end.split(' ').collect::<Vec<_>>().as_slice() {
        ["end", "exit", status] => End::Exit(status.parse().unwrap()),
        ["end", "signal", "9"] => End::Signal,
        ["end", "signal", signal @ ("2" | "15")] => End::Stopped(signal.parse().unwrap()),
        ["end", "hang"] => End::Hang,
        _ => panic!("the tracer failed: {end}: {}", text(&output.stderr)),
    };
    Traced {
        end,
        points: lines.into_iter().map(Point::parse).collect(),
        data: std::fs::read(data).unwrap(),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}
