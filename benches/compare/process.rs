//! One process from outside: how long it ran, and the most memory that it held. Owns how both are measured;
//! must not know what is run.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// GNU time, where there is one: the kernel's own word on a process that has ended.
const GNU_TIME: &str = "/usr/bin/time";
/// How often a process is asked where there is none.
const POLL: Duration = Duration::from_millis(1);

/// What one run cost.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// From start to end, in seconds.
    pub seconds: f64,
    /// The most memory of the largest process, in KiB, as far as it is known.
    pub peak: Option<u64>,
}

/// How memory is measured.
#[derive(Debug)]
pub enum Gauge {
    /// `ru_maxrss` of the process and of those that it waited for, through GNU time and this file.
    GnuTime(PathBuf),
    /// `VmHWM` in `/proc`, asked again and again: of the process itself, and what it held at last.
    Polling,
}

impl Gauge {
    /// The better one of those that there are.
    pub fn new(scratch: &Path) -> Gauge {
        let said = Command::new(GNU_TIME).arg("--version").output();
        let said = said.map(|output| [output.stdout, output.stderr].concat());
        if said.is_ok_and(|text| String::from_utf8_lossy(&text).contains("GNU")) {
            Gauge::GnuTime(scratch.join("peak"))
        } else {
            Gauge::Polling
        }
    }

    /// What the numbers mean, for a reader.
    pub fn about(&self) -> &'static str {
        match self {
            Gauge::GnuTime(_) => {
                "Peak memory: of the largest process, by the kernel, through GNU time"
            }
            Gauge::Polling => "Peak memory: VmHWM of the process alone, asked every millisecond",
        }
    }

    /// Runs a command to its end. What it prints is thrown away; a failure is an error with its last words.
    pub fn run(&self, words: &[String]) -> io::Result<Cost> {
        let mut command = match self {
            Gauge::GnuTime(file) => {
                let mut command = Command::new(GNU_TIME);
                command.args(["-f", "%M", "-o"]).arg(file).args(words);
                command
            }
            Gauge::Polling => {
                let mut command = Command::new(&words[0]);
                command.args(&words[1..]);
                command
            }
        };
        let mut said = tempfile::tempfile()?;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said.try_clone()?);
        let start = Instant::now();
        let mut child = command.spawn()?;
        let (ended, peak) = (AtomicBool::new(false), child.id());
        let (status, seconds, polled) = std::thread::scope(|scope| {
            let polled = scope.spawn(|| match self {
                Gauge::GnuTime(_) => None,
                Gauge::Polling => poll(peak, &ended),
            });
            let status = child.wait();
            let seconds = start.elapsed().as_secs_f64();
            ended.store(true, Ordering::Relaxed);
            (status, seconds, polled.join().ok().flatten())
        });
        let status = status?;
        if !status.success() {
            let few = words.iter().take(16).map(String::as_str);
            return Err(io::Error::other(format!(
                "`{}` ended with {status}: {}",
                few.collect::<Vec<_>>().join(" "),
                last_line(&mut said)
            )));
        }
        let peak = match self {
            Gauge::GnuTime(file) => fs::read_to_string(file)?.trim().parse().ok(),
            Gauge::Polling => polled,
        };
        Ok(Cost { seconds, peak })
    }
}

/// The last line that says something.
fn last_line(file: &mut File) -> String {
    let mut bytes = Vec::new();
    let read = file.rewind().and_then(|()| file.read_to_end(&mut bytes));
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().rfind(|line| !line.trim().is_empty());
    read.map_or(String::new(), |_| {
        line.unwrap_or_default().trim().to_owned()
    })
}

fn poll(process: u32, ended: &AtomicBool) -> Option<u64> {
    let mut peak = None;
    while !ended.load(Ordering::Relaxed) {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let held = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        peak = peak.max(held);
        std::thread::sleep(POLL);
    }
    peak
}
