//! The clients: wrk, which asks for one file after another on connections that stay open.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::server::Server;

/// Clients that ask for the same files again and again.
pub struct Load {
    script: PathBuf,
    clients: u32,
    seconds: u32,
}

impl Load {
    pub fn new(scratch: &Path, paths: &[String], clients: u32, seconds: u32) -> io::Result<Load> {
        let list: Vec<String> = paths.iter().map(|path| format!("\"{path}\"")).collect();
        let script = scratch.join("paths.lua");
        std::fs::write(
            &script,
            format!(
                "local paths = {{{}}}\nlocal asks, at = {{}}, 0\n\
                 function init()\n for n, path in ipairs(paths) do asks[n] = wrk.format(\"GET\", wrk.path .. path) end\nend\n\
                 function request()\n at = at + 1\n return asks[at % #asks + 1]\nend\n",
                list.join(", ")
            ),
        )?;
        Ok(Load {
            script,
            clients,
            seconds,
        })
    }

    /// Answers per second.
    pub fn on(&self, server: &Server) -> io::Result<f64> {
        let threads = self.clients.clamp(1, 2);
        let run = Command::new("wrk")
            .args(["-t", &threads.to_string(), "-c", &self.clients.to_string()])
            .args([
                "-d",
                &format!("{}s", self.seconds),
                "--timeout",
                "30s",
                "-s",
            ])
            .arg(&self.script)
            .arg(&server.url)
            .output();
        let run =
            run.map_err(|error| io::Error::other(format!("wrk: {error}; install Debian's wrk")))?;
        let said = String::from_utf8_lossy(&run.stdout).into_owned();
        let number = |name: &str| {
            let line = said.lines().find_map(|line| line.trim().strip_prefix(name));
            line.and_then(|rest| rest.trim().parse::<f64>().ok())
        };
        let is_clean = !said.contains("Non-2xx") && !said.contains("Socket errors");
        match number("Requests/sec:") {
            Some(rate) if is_clean => Ok(rate),
            _ => Err(io::Error::other(format!("{}: {said}", server.url))),
        }
    }
}
