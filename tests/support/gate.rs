//! A gate of the real binary on a free port, and a client that reads its answers to the last byte. It owns the process
//! and the words of HTTP/1.1; it must not know the library, or what is tested. A test takes it in by
//! `#[path = "support/gate.rs"] mod gate;`.
#![allow(dead_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// A gate that answers; it ends with the value.
pub struct Gate {
    child: Child,
    /// Where it is, without a final slash.
    pub url: String,
    said: Arc<Mutex<String>>,
    listener: Option<JoinHandle<()>>,
}

impl Gate {
    /// Starts a gate by its whole command line, and waits until it says that it is ready.
    pub fn start(command: &mut Command) -> Gate {
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let (stderr, log) = (child.stderr.take().unwrap(), Arc::clone(&said));
        // Read all the time: it would wait for a reader once the pipe is full.
        let listener = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                log.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let url = line.trim_end().trim_end_matches('/').to_owned();
        let listener = Some(listener);
        let gate = Gate {
            child,
            url,
            said,
            listener,
        };
        if !gate.url.starts_with("http://") {
            let (status, said) = gate.ended();
            panic!("the gate does not start: {line:?} {status:?} {said}");
        }
        gate
    }

    /// What it said on stderr so far.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its address, without what is behind it.
    pub fn host(&self) -> &str {
        split(&self.url).0
    }

    /// A connection to it.
    pub fn connect(&self) -> TcpStream {
        connect(self.host()).unwrap()
    }

    /// A file below its address.
    pub fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &[])
    }

    /// The same with another method, or with headers.
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
        demand(request(&self.url, method, path, headers), path)
    }

    /// The same with a path from the root of its host.
    pub fn ask_at(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
        let root = format!("http://{}", self.host());
        demand(request(&root, method, path, headers), path)
    }

    /// The most memory that it had so far, in bytes.
    pub fn peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Sends a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.id().try_into().unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Tells it to end, and gives its exit status and all that it said.
    pub fn stop(self) -> (Option<i32>, String) {
        self.signal(rustix::process::Signal::TERM);
        self.ended()
    }

    /// Waits for its end.
    pub fn ended(mut self) -> (Option<i32>, String) {
        let status = self.child.wait().unwrap().code();
        self.listener.take().unwrap().join().unwrap();
        (status, self.said())
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub reason: String,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    /// A header's value, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(one, _)| one == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Asks a server for a path, on a connection of its own; `Err` says what broke.
pub fn try_get(url: &str, path: &str) -> Result<Reply, String> {
    request(url, "GET", path, &[])
}

/// The same with another method, or with headers.
pub fn request(
    url: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Result<Reply, String> {
    let (host, base) = split(url);
    let target = format!("{base}/{}", path.strip_prefix('/').unwrap_or(path));
    let told = |error: std::io::Error| error.to_string();
    let mut stream = connect(host).map_err(told)?;
    let head = head(host, method, &target, headers);
    stream.write_all(head.as_bytes()).map_err(told)?;
    read(stream, method)
}

/// A request that asks for the connection to be closed behind the answer.
pub fn head(host: &str, method: &str, target: &str, headers: &[(&str, &str)]) -> String {
    let mut head = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "Host") {
        head += &format!("Host: {host}\r\n");
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head + "\r\n"
}

fn demand(reply: Result<Reply, String>, path: &str) -> Reply {
    reply.unwrap_or_else(|why| panic!("{path}: {why}"))
}

/// A URL's host, and what is behind it without a final slash.
fn split(url: &str) -> (&str, &str) {
    let rest = url.trim_start_matches("http://").trim_end_matches('/');
    rest.split_at(rest.find('/').unwrap_or(rest.len()))
}

fn connect(host: &str) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    Ok(stream)
}

/// Reads an answer until the connection closes.
fn read(stream: TcpStream, method: &str) -> Result<Reply, String> {
    let told = |error: std::io::Error| error.to_string();
    let mut reader = BufReader::new(stream);
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).map_err(told)?;
        Ok::<_, String>(line.trim_end().to_owned())
    };
    let first = line()?;
    let mut words = first.splitn(3, ' ');
    let status = words.next() == Some("HTTP/1.1");
    let status = status.then(|| words.next()?.parse().ok()).flatten();
    let status = status.ok_or_else(|| format!("no status in {first:?}"))?;
    let reason = words.next().unwrap_or_default().to_owned();
    let mut headers = Vec::new();
    while let Some((name, value)) = line()?.split_once(": ") {
        headers.push((name.to_lowercase(), value.to_owned()));
    }
    let mut body = Vec::new();
    reader.read_to_end(&mut body).map_err(told)?;
    let reply = Reply {
        status,
        reason,
        headers,
        body,
    };
    match reply.header("content-length") {
        Some(length) if method != "HEAD" && length != reply.body.len().to_string() => {
            Err(format!("{} of {length} bytes", reply.body.len()))
        }
        _ => Ok(reply),
    }
}
