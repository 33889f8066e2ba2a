//! A server of files over http, on a free port of this machine: what a channel lies behind. It owns the
//! least that a client needs and a log of what was asked for; it must not know what it serves.
#![allow(dead_code)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Serves a folder until the process ends.
pub struct Server {
    url: String,
    log: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Begins to serve a folder.
    pub fn of(folder: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let log = Arc::new(Mutex::new(Vec::new()));
        let (folder, writer) = (folder.to_owned(), Arc::clone(&log));
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (folder, log) = (folder.clone(), Arc::clone(&writer));
                // A client that goes away early is no matter of the server's.
                std::thread::spawn(move || answer(connection, &folder, &log));
            }
        });
        Self { url, log }
    }

    /// Where it is, with a final slash.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What was asked for, each as `STATUS PATH`, whether with its content or only about it.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}

/// Answers one request and closes.
fn answer(mut connection: TcpStream, folder: &Path, log: &Mutex<Vec<String>>) -> Option<()> {
    let mut lines = BufReader::new(connection.try_clone().ok()?).lines();
    let request = lines.next()?.ok()?;
    while !lines.next()?.ok()?.is_empty() {}
    let (method, target) = request.split_once(' ')?;
    let path = target.split(' ').next()?;
    let path = path.trim_start_matches('/').to_owned();
    let file = below(folder, &path).and_then(|file| std::fs::read(file).ok());
    let status = if file.is_some() { 200 } else { 404 };
    log.lock().ok()?.push(format!("{status} {path}"));
    send(&mut connection, method, file, "Connection: close\r\n")
}

/// Sends a whole file, or that it is not there, with more lines in the head.
pub fn send(to: &mut TcpStream, method: &str, file: Option<Vec<u8>>, more: &str) -> Option<()> {
    let (status, body) = match file {
        Some(body) => ("200 OK", body),
        None => ("404 Not Found", Vec::new()),
    };
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{more}\r\n");
    to.write_all(head.as_bytes()).ok()?;
    match method {
        "HEAD" => Some(()),
        _ => to.write_all(&body).ok(),
    }
}

/// A path below the folder, by plain names alone.
pub fn below(folder: &Path, path: &str) -> Option<PathBuf> {
    let path = Path::new(path);
    let plain = path
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    plain.then(|| folder.join(path))
}
