//! The real binary with little memory and little time: how every bomb is set off. Owns the limits, and how much
//! memory a run took; must not know what is fed to it.

use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::scene::{Call, Run, Scene};

/// What a run may have of address space, in MiB: less than a bomb asks for, and enough for two threads that each
/// decode a frame of the largest window.
pub const MIB: u64 = 1024;
/// What hangs is ended after so long; nothing here takes a hundredth of it on an idle machine.
const PATIENCE: Duration = Duration::from_secs(600);

/// A run in few words, and the most memory that it held at once, in KiB, as far as was seen.
pub struct Bounded {
    pub run: Run,
    pub peak: u64,
}

/// Runs the binary in [`MIB`] of address space. A run that wants more is aborted by its own allocator, and one that
/// hangs is ended; neither has an exit status then.
pub fn bounded(scene: &Scene, args: &[&str]) -> Run {
    measured(scene.call(args), MIB).run
}

/// As [`bounded`], in so many MiB, with what it took.
pub fn measured(mut call: Call, mib: u64) -> Bounded {
    let inner = call.command();
    let limit = format!("ulimit -v {}; exec \"$0\" \"$@\"", mib * 1024);
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(limit).arg(inner.get_program());
    shell.args(inner.get_args()).env_clear();
    let set = inner.get_envs();
    shell.envs(set.filter_map(|(name, value)| Some((name, value?))));
    shell.current_dir(inner.get_current_dir().unwrap());
    let piped = shell.stdin(Stdio::null()).stdout(Stdio::piped());
    let child = piped.stderr(Stdio::piped()).spawn().unwrap();
    let pid = Pid::from_child(&child);
    let (done, ended) = channel::<()>();
    let watch = std::thread::spawn(move || watch(pid, &ended));
    let output = child.wait_with_output().unwrap();
    stop(done);
    let peak = watch.join().unwrap();
    let what = format!("with {mib} MiB, {:?}", inner.get_args());
    let run = Run::new(what, &output);
    Bounded {
        run: run.never_says("memory allocation"),
        peak,
    }
}

/// Tells the watch that there is nothing left to see.
fn stop(done: Sender<()>) {
    drop(done);
}

/// Looks at a process until it ends, and ends it where it hangs; gives the most memory that it was seen to hold.
fn watch(pid: Pid, ended: &std::sync::mpsc::Receiver<()>) -> u64 {
    let (start, mut peak) = (Instant::now(), 0);
    loop {
        peak = peak.max(resident(pid));
        match ended.recv_timeout(Duration::from_millis(20)) {
            Err(RecvTimeoutError::Timeout) if start.elapsed() < PATIENCE => {}
            Err(RecvTimeoutError::Timeout) => {
                let _ = kill_process(pid, Signal::KILL);
                return peak;
            }
            _ => return peak,
        }
    }
}

/// The most memory that a process has held so far, in KiB; 0 where that can't be seen.
fn resident(pid: Pid) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()));
    let status = status.unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|text| text.parse().ok()).unwrap_or(0)
}
