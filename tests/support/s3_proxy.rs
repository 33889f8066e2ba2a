//! What stands between the program and a server of the S3 protocol: it counts requests, and does to them what networks
//! and stores do. It owns the faults, by a seed; it must not know what is asked for.
#![allow(dead_code)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::scene::builder::Random;

/// What is done to requests.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manners {
    /// Of so many requests one is spoilt; 0 for none.
    pub faults: u64,
    /// What chance decides.
    pub seed: u64,
    /// Whether conditions of writes are taken away.
    pub unconditional: bool,
    /// Whether writes with conditions are answered as by a store that knows none.
    pub ignorant: bool,
    /// Whether writes reach the server one after the other, each whole: what real stores do, and these do not.
    pub one_by_one: bool,
    /// From how many bytes on the answer to a GET is cut off, once for each key.
    pub cut: Option<usize>,
    /// How long, from the first request on, the store is ill, and answers so.
    pub ill: Option<(Duration, &'static str)>,
    /// Part of the target of requests that are never answered well.
    pub never: Option<&'static str>,
}

/// What is done before a request, `METHOD TARGET`, reaches the server.
pub type Meddler = Box<dyn Fn(&str) + Send + Sync>;

/// A proxy, until the process ends.
pub struct Proxy {
    endpoint: String,
    shared: Arc<Shared>,
}

struct Shared {
    server: String,
    manners: Manners,
    meddler: Meddler,
    random: Mutex<Random>,
    log: Mutex<Vec<String>>,
    writes: Mutex<()>,
    cut: Mutex<std::collections::HashSet<String>>,
    begun: std::sync::OnceLock<Instant>,
    is_healed: std::sync::atomic::AtomicBool,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// It is answered without reaching the server.
    Answered(&'static str),
    /// It is done, and answered as if it were not.
    Denied,
    /// It is done, and the answer ends somewhere.
    CutOff,
    /// It is done, and not answered at all.
    Silent,
    Slow,
}

impl Proxy {
    /// Stands before a server, `HOST:PORT`.
    pub fn before(server: &str, manners: Manners) -> Self {
        Self::meddling(server, manners, Box::new(|_| {}))
    }

    /// The same, with more that happens meanwhile.
    pub fn meddling(server: &str, manners: Manners, meddler: Meddler) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            server: server.to_owned(),
            manners,
            meddler,
            random: Mutex::new(Random::new(manners.seed)),
            log: Mutex::default(),
            writes: Mutex::default(),
            cut: Mutex::default(),
            begun: std::sync::OnceLock::new(),
            is_healed: std::sync::atomic::AtomicBool::default(),
        });
        let all = Arc::clone(&shared);
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let shared = Arc::clone(&all);
                // A client that goes away early is no matter of the proxy's.
                std::thread::spawn(move || shared.serve(connection));
            }
        });
        Self { endpoint, shared }
    }

    /// Where clients find it.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Ends the random faults.
    #[allow(dead_code, reason = "not every test heals")]
    pub fn heal(&self) {
        let healed = &self.shared.is_healed;
        healed.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    /// What was asked for since the last time, each as `METHOD TARGET`.
    pub fn log(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.log.lock().unwrap())
    }
}

impl Shared {
    fn serve(&self, mut client: TcpStream) -> Option<()> {
        let mut from = BufReader::new(client.try_clone().ok()?);
        loop {
            let (head, body) = message(&mut from)?;
            let mut words = head.split(' ');
            let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
            self.log.lock().unwrap().push(format!("{method} {target}"));
            let begun = self.begun.get_or_init(Instant::now);
            let ill = self.manners.ill.filter(|(time, _)| begun.elapsed() < *time);
            let never = self.manners.never.filter(|part| target.contains(part));
            let never = never.map(|_| "500 Internal Server Error");
            let fault = match ill.map(|(_, status)| status).or(never) {
                Some(status) => Fault::Answered(status),
                None => self.fault(),
            };
            if let Fault::Answered(status) = fault {
                let length = "Content-Length: 0\r\n\r\n";
                write!(client, "HTTP/1.1 {status}\r\n{length}").ok()?;
                continue;
            }
            if fault == Fault::Slow {
                std::thread::sleep(Duration::from_millis(100));
            }
            let has_condition = || head.lines().any(is_condition);
            if self.manners.ignorant && method == "PUT" && has_condition() {
                let length = "Content-Length: 0\r\n\r\n";
                write!(client, "HTTP/1.1 501 Not Implemented\r\n{length}").ok()?;
                continue;
            }
            (self.meddler)(&format!("{method} {target}"));
            let answer = self.forward(&method, &head, &body)?;
            match fault {
                Fault::Denied => {
                    let length = "Content-Length: 0\r\n\r\n";
                    write!(client, "HTTP/1.1 500 Internal Server Error\r\n{length}").ok()?;
                    continue;
                }
                Fault::CutOff => {
                    client.write_all(&answer[..answer.len() / 2]).ok()?;
                    return client.shutdown(Shutdown::Both).ok();
                }
                Fault::Silent => return client.shutdown(Shutdown::Both).ok(),
                _ => {}
            }
            if let Some(cut) = self.manners.cut.filter(|cut| answer.len() > *cut)
                && method == "GET"
                && self.cut.lock().unwrap().insert(target)
            {
                client.write_all(&answer[..cut]).ok()?;
                return client.shutdown(Shutdown::Both).ok();
            }
            client.write_all(&answer).ok()?;
            // The answer says that the server closes the connection, and so the client opens another.
            return client.shutdown(Shutdown::Write).ok();
        }
    }

    fn fault(&self) -> Fault {
        let mut random = self.random.lock().unwrap();
        let is_healed = self.is_healed.load(std::sync::atomic::Ordering::Relaxed);
        if is_healed || self.manners.faults == 0 || random.below(self.manners.faults) > 0 {
            return Fault::None;
        }
        match random.below(6) {
            0 => Fault::Answered("500 Internal Server Error"),
            1 => Fault::Answered("503 Slow Down"),
            2 => Fault::Denied,
            3 => Fault::CutOff,
            4 => Fault::Silent,
            _ => Fault::Slow,
        }
    }

    fn forward(&self, method: &str, head: &str, body: &[u8]) -> Option<Vec<u8>> {
        let kept = head.lines().filter(|line| {
            let is_connection = line.to_ascii_lowercase().starts_with("connection:");
            let lost = self.manners.unconditional && method == "PUT" && is_condition(line);
            !is_connection && !lost && !line.is_empty()
        });
        let mut request: String = kept.map(|line| format!("{line}\r\n")).collect();
        request.push_str("Connection: close\r\n\r\n");
        let is_write = self.manners.one_by_one && method != "GET" && method != "HEAD";
        let _one = is_write.then(|| self.writes.lock().unwrap());
        let mut server = TcpStream::connect(&self.server).ok()?;
        server.write_all(request.as_bytes()).ok()?;
        server.write_all(body).ok()?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer).ok()?;
        Some(answer)
    }
}

fn is_condition(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    line.starts_with("if-match:") || line.starts_with("if-none-match:")
}

/// A head, with its lines' ends, and what follows it.
fn message(from: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let mut head = String::new();
    let mut length = 0;
    loop {
        let start = head.len();
        if from.read_line(&mut head).ok()? == 0 {
            return None;
        }
        let line = head[start..].trim().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body).ok()?;
    Some((head, body))
}
