//! Asks for a passphrase on the terminal. Owns that nothing of it is shown, and that the terminal is left as it was found
//! after an answer, Ctrl-C, Ctrl-D, SIGINT and SIGTERM; must not know what is asked for.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Signal, getpgrp, kill_process_group};
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp,
    tcsetattr,
};
use zeroize::Zeroizing;

use super::signals::Asking;

/// The most bytes of an answer: what a terminal takes of a line.
const MAX_BYTES: usize = 4096;

/// How long a signal may wait.
const TICK: Duration = Duration::from_millis(50);

/// How often is looked whether this runs in the background, once it may be again.
const LOOKS: usize = 20;

/// The characters that stop a process, and end it with its memory written down: a terminal that shows nothing would stay
/// so.
const NOT_NOW: [SpecialCodeIndex; 2] = [SpecialCodeIndex::VSUSP, SpecialCodeIndex::VQUIT];

/// An answer, without the end of its line.
///
/// # Errors
/// [`ErrorKind::NotFound`] without a terminal, [`ErrorKind::UnexpectedEof`] when nothing was typed at all,
/// [`ErrorKind::Interrupted`] after SIGINT or SIGTERM, or what the system said.
pub fn ask(prompt: &str) -> io::Result<Zeroizing<String>> {
    let no_terminal = |_| ErrorKind::NotFound;
    let tty = OpenOptions::new().read(true).write(true).open("/dev/tty");
    let tty = tty.map_err(no_terminal)?;
    let asking = Asking::begin()?;
    come_to_the_front(&tty)?;
    let silent = Silent::begin(&tty)?;
    (&tty).write_all(prompt.as_bytes())?;
    let answer = line(&tty, &asking);
    if answer.is_err() {
        // The cursor still stands behind the prompt.
        let _ = (&tty).write_all(b"\n");
    }
    drop(silent);
    answer
}

/// Stops in the background, as everything does that wants to be typed to: the modes that are found there are those of
/// whoever is in front.
fn come_to_the_front(tty: &File) -> io::Result<()> {
    let is_in_front = || Ok::<_, io::Error>(tcgetpgrp(tty)? == getpgrp());
    if is_in_front()? {
        return Ok(());
    }
    kill_process_group(getpgrp(), Signal::TTOU)?;
    for _ in 0..LOOKS {
        // The signal may take a moment to stop all threads, and whoever brings it to the front one more.
        std::thread::sleep(TICK);
        if is_in_front()? {
            return Ok(());
        }
    }
    // Nobody can bring it there, or nobody did.
    Err(io::Error::other("this runs in the background"))
}

/// A terminal that shows nothing of what is typed but the end of a line, until this is dropped.
struct Silent<'a> {
    tty: &'a File,
    before: Termios,
}

impl Silent<'_> {
    fn begin(tty: &File) -> io::Result<Silent<'_>> {
        let before = tcgetattr(tty)?;
        let mut now = before.clone();
        now.local_modes.remove(LocalModes::ECHO);
        now.local_modes
            .insert(LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG);
        // Enter ends a line.
        now.input_modes.insert(InputModes::ICRNL);
        for character in NOT_NOW {
            now.special_codes[character] = 0;
        }
        tcsetattr(tty, OptionalActions::Now, &now)?;
        Ok(Silent { tty, before })
    }
}

impl Drop for Silent<'_> {
    fn drop(&mut self) {
        // Where the terminal is gone, so are its modes.
        let _ = tcsetattr(self.tty, OptionalActions::Now, &self.before);
    }
}

/// Whether a key was pressed that means something else, and nothing just now.
fn is_no_text(text: &[u8]) -> bool {
    text.iter().any(|byte| [0x1a, 0x1c].contains(byte))
}

/// One line, of which no copy stays in memory.
fn line(mut tty: &File, asking: &Asking<'_>) -> io::Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_BYTES));
    let mut piece = Zeroizing::new([0; 512]);
    while line.last() != Some(&b'\n') {
        wait(tty, asking)?;
        let read = tty.read(piece.as_mut_slice())?;
        let piece = piece.get(..read).unwrap_or_default();
        match (piece.is_empty(), line.is_empty()) {
            (true, true) => return Err(ErrorKind::UnexpectedEof.into()),
            (true, false) => break,
            (false, _) if piece.len() > MAX_BYTES.saturating_sub(line.len()) => {
                return Err(ErrorKind::InvalidInput.into());
            }
            (false, _) => line.extend_from_slice(piece),
        }
    }
    let text = line.strip_suffix(b"\n").unwrap_or(&line);
    match std::str::from_utf8(text) {
        Ok(_) if is_no_text(text) => Err(ErrorKind::InvalidData.into()),
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(ErrorKind::InvalidData.into()),
    }
}

/// Waits until there is something to read.
fn wait(tty: &File, asking: &Asking<'_>) -> io::Result<()> {
    let tick = Timespec {
        tv_sec: 0,
        tv_nsec: TICK.subsec_nanos().into(),
    };
    loop {
        if asking.is_over() {
            return Err(ErrorKind::Interrupted.into());
        }
        let mut ready = [PollFd::new(tty, PollFlags::IN)];
        match poll(&mut ready, Some(&tick)) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}
