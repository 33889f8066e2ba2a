//! A relay between a worker and the server, which can keep the answer to a commit to itself and hang up: the server has
//! done it, and the worker can't know. It must not know what is committed.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub struct Relay {
    port: u16,
    /// Whether the next commit stays unanswered.
    armed: Arc<AtomicBool>,
}

impl Relay {
    /// To a port of this machine. It lives as long as the process.
    pub fn to(server: u16) -> Relay {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let armed = Arc::new(AtomicBool::new(false));
        let relay = Relay {
            port,
            armed: Arc::clone(&armed),
        };
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let server = TcpStream::connect(("127.0.0.1", server));
                if let (Ok(client), Ok(server)) = (client, server) {
                    pass_on(&client, &server, &armed);
                }
            }
        });
        relay
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The next commit is passed on, and its answer is not.
    pub fn swallow_an_answer(&self) {
        self.armed.store(true, Ordering::SeqCst);
    }

    /// Whether it was.
    pub fn has_swallowed(&self) -> bool {
        !self.armed.load(Ordering::SeqCst)
    }
}

/// Passes on what both say, each in a thread.
fn pass_on(client: &TcpStream, server: &TcpStream, armed: &Arc<AtomicBool>) {
    let is_silent = Arc::new(AtomicBool::new(false));
    let asking = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let answering = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let (armed, silent) = (Arc::clone(armed), Arc::clone(&is_silent));
    // A statement ends with a zero; what begins with "READ COMMITTED" is none of these.
    let is_commit = move |said: &[u8]| said.windows(7).any(|word| word == b"COMMIT\0");
    std::thread::spawn(move || {
        each(asking, |said| {
            if is_commit(said) && armed.swap(false, Ordering::SeqCst) {
                silent.store(true, Ordering::SeqCst);
            }
            true
        });
    });
    std::thread::spawn(move || each(answering, |_| !is_silent.load(Ordering::SeqCst)));
}

/// Passes on what comes, until it ends or is not to be passed on; then both hang up.
fn each((mut from, mut to): (TcpStream, TcpStream), is_passed: impl Fn(&[u8]) -> bool) {
    let mut said = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut said) {
        if !is_passed(&said[..length]) || to.write_all(&said[..length]).is_err() {
            break;
        }
    }
    for end in [from, to] {
        let _ = end.shutdown(Shutdown::Both);
    }
}
