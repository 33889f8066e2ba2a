//! A server over a folder that does to its clients what attackers and broken servers do: other bytes, cut off, held
//! back, dripping, without an end, led elsewhere. Each path has what it does; all else is served as it lies there.
//! It must not know what it serves. A test takes it in by `#[path = "support/hostile.rs"] mod hostile;`
//! beside `http`.
#![allow(dead_code)]
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::http::{below, send};

/// What is done with a request.
#[derive(Debug, Clone)]
pub enum Deed {
    /// Other bytes, of the right length for themselves.
    Replace(Vec<u8>),
    /// The bytes of another file of the folder.
    Instead(String),
    /// One bit of the file is another, in its middle.
    Flip,
    /// The head promises the whole file, and so many bytes come before the connection ends.
    Truncate(usize),
    /// So many bytes come, then nothing, and the connection stays open.
    Stall(usize),
    /// No word at all, and the connection stays open.
    Silence,
    /// A byte at a time, with so long between two.
    Drip(Duration),
    /// The file, and then bytes without an end.
    Endless,
    /// A status with no body.
    Status(u16),
    /// Away, by a status of 302.
    Redirect(String),
    /// Something that is no HTTP.
    Nonsense,
    /// The connection ends before a word is said.
    HangUp,
}

/// A server that can be told to misbehave, until the value goes.
pub struct Hostile {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    folder: Mutex<PathBuf>,
    deeds: Mutex<HashMap<String, Deed>>,
    every: Mutex<Option<Deed>>,
    log: Mutex<Vec<String>>,
    ended: AtomicBool,
}

impl Hostile {
    /// Begins to serve a folder, well behaved at first.
    pub fn of(folder: &Path) -> Hostile {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            folder: Mutex::new(folder.to_owned()),
            deeds: Mutex::default(),
            every: Mutex::default(),
            log: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                if serving.ended.load(Ordering::SeqCst) {
                    break;
                }
                let shared = Arc::clone(&serving);
                std::thread::spawn(move || converse(connection, &shared));
            }
        });
        Hostile { address, shared }
    }

    /// Where it is, without a final slash.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on this is done with a path, which is relative to the folder.
    pub fn set(&self, path: &str, deed: Deed) {
        self.shared
            .deeds
            .lock()
            .unwrap()
            .insert(path.to_owned(), deed);
    }

    /// From now on this is done with every path that has no deed of its own.
    pub fn set_every(&self, deed: Deed) {
        *self.shared.every.lock().unwrap() = Some(deed);
    }

    /// From now on it behaves.
    pub fn behave(&self) {
        self.shared.deeds.lock().unwrap().clear();
        *self.shared.every.lock().unwrap() = None;
    }

    /// Serves another folder: an older copy of the channel, or another one.
    pub fn serve(&self, folder: &Path) {
        folder.clone_into(&mut self.shared.folder.lock().unwrap());
    }

    /// What was asked for since this was last called, each as `METHOD PATH`, decoded.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.log.lock().unwrap())
    }

    /// How often a path was asked for since [`Hostile::asked`] was last called.
    pub fn times(&self, path: &str) -> usize {
        let log = self.shared.log.lock().unwrap();
        let of_path = |line: &&String| line.split_once(' ').is_some_and(|(_, it)| it == path);
        log.iter().filter(of_path).count()
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // So that it looks up from its waiting.
        drop(TcpStream::connect(self.address));
    }
}

/// Answers requests on one connection until it is to be closed.
fn converse(connection: TcpStream, shared: &Shared) -> Option<()> {
    let mut lines = BufReader::new(connection.try_clone().ok()?).lines();
    let mut connection = connection;
    loop {
        let request = lines.next()?.ok()?;
        while !lines.next()?.ok()?.is_empty() {}
        let mut words = request.split(' ');
        let (method, target) = (words.next()?, words.next()?);
        let path = decoded(target.split('?').next()?.trim_start_matches('/'));
        shared.log.lock().ok()?.push(format!("{method} {path}"));
        let deed = shared.deeds.lock().ok()?.get(&path).cloned();
        let deed = deed.or_else(|| shared.every.lock().ok()?.clone());
        let folder = shared.folder.lock().ok()?.clone();
        let file = below(&folder, &path).and_then(|file| std::fs::read(file).ok());
        match deed {
            None => whole(&mut connection, method, file)?,
            Some(Deed::Replace(bytes)) => whole(&mut connection, method, Some(bytes))?,
            Some(Deed::Instead(other)) => {
                let other = below(&folder, &other).and_then(|file| std::fs::read(file).ok());
                whole(&mut connection, method, other)?;
            }
            Some(Deed::Flip) => {
                let mut bytes = file?;
                let middle = bytes.len() / 2;
                *bytes.get_mut(middle)? ^= 1;
                whole(&mut connection, method, Some(bytes))?;
            }
            Some(deed) => return misbehave(connection, shared, &deed, file.unwrap_or_default()),
        }
    }
}

/// Does what ends with the connection.
fn misbehave(mut to: TcpStream, shared: &Shared, deed: &Deed, file: Vec<u8>) -> Option<()> {
    let promise = head("200 OK", Some(file.len()));
    match deed {
        Deed::Truncate(bytes) => {
            to.write_all(promise.as_bytes()).ok()?;
            to.write_all(file.get(..*bytes).unwrap_or(&file)).ok()
        }
        Deed::Stall(bytes) => {
            // Were the whole file shorter, it would be no stall.
            let promise = head("200 OK", Some(file.len().max(bytes.saturating_add(1))));
            to.write_all(promise.as_bytes()).ok()?;
            to.write_all(file.get(..*bytes).unwrap_or(&file)).ok()?;
            hold(shared)
        }
        Deed::Silence => hold(shared),
        Deed::Drip(pause) => {
            to.write_all(promise.as_bytes()).ok()?;
            for byte in file {
                to.write_all(&[byte]).ok()?;
                std::thread::sleep(*pause);
            }
            Some(())
        }
        Deed::Endless => {
            to.write_all(head("200 OK", None).as_bytes()).ok()?;
            to.write_all(&file).ok()?;
            while !shared.ended.load(Ordering::SeqCst) {
                to.write_all(&[b' '; 4096]).ok()?;
            }
            Some(())
        }
        Deed::Status(status) => {
            let head = head(&format!("{status} As Told"), Some(0));
            to.write_all(head.as_bytes()).ok()
        }
        Deed::Redirect(location) => {
            let status = format!("302 Found\r\nLocation: {location}");
            to.write_all(head(&status, Some(0)).as_bytes()).ok()
        }
        Deed::Nonsense => to.write_all(b"220 mail.example ESMTP\r\n").ok(),
        _ => Some(()),
    }
}

fn whole(to: &mut TcpStream, method: &str, file: Option<Vec<u8>>) -> Option<()> {
    send(to, method, file, "")
}

/// A head after which the connection ends.
fn head(status: &str, length: Option<usize>) -> String {
    let length = length.map_or_else(String::new, |it| format!("Content-Length: {it}\r\n"));
    format!("HTTP/1.1 {status}\r\n{length}Connection: close\r\n\r\n")
}

/// Keeps a connection open until the server goes.
fn hold(shared: &Shared) -> Option<()> {
    while !shared.ended.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(20));
    }
    Some(())
}

/// Percent-encoded text as it was meant.
fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut out = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let byte = part
            .get(..2)
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match byte {
            Some(byte) => {
                out.push(byte);
                out.extend_from_slice(part.get(2..).unwrap_or_default().as_bytes());
            }
            None => {
                out.push(b'%');
                out.extend_from_slice(part.as_bytes());
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
