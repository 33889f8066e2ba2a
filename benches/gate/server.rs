//! The two servers: each a process of its own, on a free port, that ends with the value.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub const SIGINDEX: &str = env!("CARGO_BIN_EXE_sigindex");

/// A server of the channel.
pub struct Server {
    child: Child,
    /// `http://HOST:PORT/`, and below it the channel's files.
    pub url: String,
}

impl Server {
    /// The gate, which checks signatures.
    pub fn gate(scratch: &Path) -> io::Result<Server> {
        let mut child = Command::new(SIGINDEX)
            .args([
                "gate",
                "--listen",
                "127.0.0.1:0",
                "--channel",
                "main=channel",
                "--keys-dir",
                "keys",
            ])
            .args([
                "--trust",
                "main=bench",
                "--require",
                "package",
                "--cache-dir",
                "gate",
                "-q",
            ])
            .current_dir(scratch)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let url = format!("{}main/", line.trim_end());
        Ok(Server { child, url })
    }

    /// nginx as Debian sets it up, without a log of accesses.
    pub fn nginx(scratch: &Path) -> io::Result<Server> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let here = scratch.display();
        let config = format!(
            "daemon off; worker_processes auto; pid {here}/nginx.pid; error_log {here}/nginx.log;\n\
             events {{ worker_connections 768; }}\n\
             http {{ sendfile on; tcp_nopush on; access_log off; default_type application/octet-stream;\n\
             client_body_temp_path {here}/n1; proxy_temp_path {here}/n2; fastcgi_temp_path {here}/n3;\n\
             uwsgi_temp_path {here}/n4; scgi_temp_path {here}/n5;\n\
             server {{ listen 127.0.0.1:{port}; root {here}/channel; }} }}\n"
        );
        let path = scratch.join("nginx.conf");
        std::fs::write(&path, config)?;
        open_to_others(scratch)?;
        let child = Command::new("nginx").arg("-c").arg(&path).spawn();
        let child = child.map_err(|error| {
            io::Error::other(format!("nginx: {error}; install Debian's nginx-light"))
        })?;
        let (server, began) = (
            Server {
                child,
                url: format!("http://127.0.0.1:{port}/"),
            },
            Instant::now(),
        );
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if began.elapsed() > Duration::from_secs(10) {
                return Err(io::Error::other("nginx does not start"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// Asks for each file once: the gate has it in its cache then, and the system in its memory.
    pub fn warm(&self, paths: &[String]) -> io::Result<()> {
        let address = self.url.trim_start_matches("http://");
        let (host, base) = address.split_once('/').unwrap_or((address, ""));
        for path in paths {
            let mut stream = TcpStream::connect(host)?;
            write!(
                stream,
                "GET /{base}{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
            )?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer)?;
            if !answer.starts_with(b"HTTP/1.1 200") {
                let said = String::from_utf8_lossy(&answer[..answer.len().min(200)]).into_owned();
                return Err(io::Error::other(format!("{}{path}: {said}", self.url)));
            }
        }
        Ok(())
    }
}

/// nginx's workers are another user when it is started by root.
fn open_to_others(scratch: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(scratch, std::fs::Permissions::from_mode(0o755))
}

impl Drop for Server {
    fn drop(&mut self) {
        // TERM, so that nginx ends its workers.
        let pid = i32::try_from(self.child.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.child.wait();
    }
}
