//! Running a patch generator, a Python script that the operator named. Owns how the repodata reaches it, how its
//! instructions come back, and what is said when it fails; must not know what stands in either.
//!
//! Both ways lead through files in memory: with pipes, two processes could wait for each other, or for a third one
//! that a script left behind.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::fs::{MemfdFlags, memfd_create};

use crate::child;
use crate::error::Error;
use crate::shown::{line, shown};

const PYTHON: &str = "python3";
/// What runs the script. It heeds [`OUTPUT_CAP`].
const RUNNER: &str = include_str!("script.py");
/// The largest instructions, in bytes.
const OUTPUT_CAP: u64 = 256 * 1024 * 1024;
/// How much of what a script said last is shown.
const LINES: usize = 12;
const LINE_LENGTH: usize = 400;

/// How often a script is looked at.
const TICK: Duration = Duration::from_millis(5);

/// Calls `_patch_repodata(repodata, subdir)` of a script, and gives what it returned, as JSON. The script may do what
/// the operator may, and what it prints goes to standard error.
///
/// # Errors
/// When there is no `python3`, and when the script fails or returns something else than a dict.
pub(super) fn run(
    script: &Path,
    subdir: &str,
    repodata: &[u8],
    cancelled: &AtomicBool,
) -> Result<Vec<u8>, Error> {
    let fail = |cause: String| Error::Patches {
        path: shown(script),
        operation: format!("make the repodata patches for {subdir}"),
        cause,
    };
    let called = call(script, subdir, repodata, cancelled).map_err(|cause| fail(why(&cause)))?;
    let (status, mut output) = called.ok_or(Error::Interrupted)?;
    if status.success() {
        return read(&mut output).map_err(|cause| fail(cause.to_string()));
    }
    let said = read(&mut output).unwrap_or_default();
    Err(fail(failure(status, &said)))
}

/// `None` when the run is to stop: the script is ended then.
fn call(
    script: &Path,
    subdir: &str,
    repodata: &[u8],
    cancelled: &AtomicBool,
) -> io::Result<Option<(ExitStatus, File)>> {
    let mut input = memory("repodata.json")?;
    input.write_all(repodata)?;
    input.rewind()?;
    let output = memory("patch_instructions.json")?;
    let mut command = child::command(PYTHON);
    // -B: no __pycache__ beside the script.
    command.args(["-B", "-c", RUNNER]).arg(script).arg(subdir);
    command
        .arg(OUTPUT_CAP.to_string())
        .stdin(input)
        .stdout(output.try_clone()?);
    let mut child = command.spawn()?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some((status, output)));
        }
        if cancelled.load(Ordering::Relaxed) {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(TICK);
    }
}

/// Demands that there is a Python to run scripts with.
///
/// # Errors
/// In words, where there is none.
pub(super) fn require_python() -> Result<(), String> {
    let mut command = child::command(PYTHON);
    let command = command.arg("--version").stdin(Stdio::null());
    let run = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    match run.map_err(|cause| why(&cause))? {
        status if status.success() => Ok(()),
        status => Err(format!(
            "{PYTHON} does not run here: `{PYTHON} --version` ended with {status}"
        )),
    }
}

/// A file that is nowhere but in memory, and that no other program inherits unasked.
fn memory(name: &str) -> io::Result<File> {
    Ok(File::from(memfd_create(name, MemfdFlags::CLOEXEC)?))
}

fn read(output: &mut File) -> io::Result<Vec<u8>> {
    output.rewind()?;
    let mut bytes = Vec::new();
    output
        .take(OUTPUT_CAP.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= OUTPUT_CAP) {
        return Ok(bytes);
    }
    let cause = format!("its instructions have more than {OUTPUT_CAP} bytes");
    Err(io::Error::other(cause))
}

fn why(cause: &io::Error) -> String {
    match cause.kind() {
        ErrorKind::NotFound => format!(
            "there is no {PYTHON} to run it with; install Python 3 so that `{PYTHON}` is found by PATH, or give the \
             instructions as a folder of SUBDIR/patch_instructions.json"
        ),
        _ => format!("{PYTHON} can't be run: {cause}"),
    }
}

/// The last lines of what a script said, each on a line of its own, and none that could play with a terminal.
fn failure(status: ExitStatus, said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    if lines.is_empty() {
        return format!("the script ended with {status}; what it printed stands above");
    }
    let mut cause = format!("the script ended with {status}; it said at last:");
    let skipped = lines.len().saturating_sub(LINES);
    for one in lines.into_iter().skip(skipped) {
        cause.push_str("\n  ");
        let cut: String = one.chars().take(LINE_LENGTH).collect();
        cause.push_str(&line(&cut));
    }
    cause
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn the_last_lines_are_shown_without_tricks() {
        let status = ExitStatus::from_raw(256);
        let many: Vec<String> = (0..100).map(|at| format!("line {at}\r")).collect();
        let said = format!("{}\n\n\u{1b}[2J\u{202e}x \u{7}\n", many.join("\n"));
        let shown = failure(status, &[said.as_bytes(), b"\xff"].concat());
        assert!(shown.contains("exit status: 1; it said at last:\n  line 90"));
        assert!(!shown.contains("line 89"));
        assert!(
            shown.ends_with("\n  \\u{1b}[2J\\u{202e}x \\u{7}\n  \u{fffd}"),
            "{shown}"
        );
        let long = failure(status, &[b'x'; 10_000]);
        assert!(long.len() < 600);
        assert!(failure(ExitStatus::from_raw(11), b" \n").contains("signal: 11"));
    }
}
