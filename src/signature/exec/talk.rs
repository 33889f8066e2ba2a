//! The conversation with a command that signs: requests in, answers out, in order, each by its time, and the command's
//! end. It must not know what stands in the lines.
//!
//! Many threads ask at once. Each puts its line into the pipe and then waits; one of those that wait watches the pipes
//! for all of them, without the lock, and hands out what comes. So there is no thread of its own, no thread holds the
//! lock while it waits, and a command that says nothing, or reads nothing, is seen by the clock.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, ChildStdout, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::message::MAX_ANSWER;
use super::{ExecFault, ExecPlan, Group};
use crate::child;

/// How long the pipes are watched before the clock, the child and the wish to stop are looked at.
const TICK: Duration = Duration::from_millis(50);
/// How long a command that was told that nothing more comes may take to end.
const GRACE: Duration = Duration::from_secs(5);
/// How long is waited to learn how a command ended that broke off.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How often a command is looked at that should end.
const GLANCE: Duration = Duration::from_millis(2);

/// A running command.
pub(super) struct Talk {
    /// Gone once the command was told that nothing more comes.
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    state: Mutex<State>,
    /// Told whenever answers came, and when nobody watches the pipes any more.
    turn: Condvar,
    timeout: Duration,
    stop: Arc<AtomicBool>,
}

struct State {
    process: Process,
    /// Bytes that the pipe had no room for.
    unsent: VecDeque<u8>,
    /// The beginning of an answer.
    begun: Vec<u8>,
    /// Answers that nobody took yet, by their number.
    answers: BTreeMap<u64, Vec<u8>>,
    asked: u64,
    answered: u64,
    /// When the last answer came, or the first request after it.
    since: Instant,
    is_watched: bool,
    /// Why nothing more will come.
    fault: Option<ExecFault>,
}

impl Talk {
    /// Starts the command. What it says on standard error goes where that of this process goes.
    pub(super) fn start(plan: &ExecPlan) -> Result<Talk, ExecFault> {
        let mut command = child::command("/bin/sh");
        command.arg("-c").arg(&plan.command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        if plan.group == Group::Own {
            command.process_group(0);
        }
        let failed = |cause: io::Error| ExecFault::Start(cause.to_string());
        let mut child = command.spawn().map_err(failed)?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let process = Process {
            child,
            group: plan.group,
            ended: None,
        };
        let (stdin, stdout) = pipes.ok_or_else(|| ExecFault::Start("it has no pipes".into()))?;
        let talk = Talk {
            state: Mutex::new(State::new(process)),
            stdin: Some(stdin),
            stdout,
            turn: Condvar::new(),
            timeout: plan.timeout,
            stop: Arc::clone(&plan.stop),
        };
        for pipe in [
            talk.stdin.as_ref().map(AsFd::as_fd),
            Some(talk.stdout.as_fd()),
        ] {
            pipe.map_or(Ok(()), |pipe| rustix::io::ioctl_fionbio(pipe, true))
                .map_err(|cause| failed(cause.into()))?;
        }
        Ok(talk)
    }

    /// Sends a line and waits for the one that answers it.
    pub(super) fn ask(&self, line: &[u8]) -> Result<Vec<u8>, ExecFault> {
        let mut state = self.lock();
        let number = state.put(line);
        self.send(&mut state);
        loop {
            if let Some(answer) = state.answers.remove(&number) {
                return Ok(answer);
            }
            if let Some(fault) = &state.fault {
                return Err(fault.clone());
            }
            if state.is_watched {
                let waited = self.turn.wait(state);
                state = waited.unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.is_watched = true;
            let has_unsent = !state.unsent.is_empty();
            drop(state);
            self.watch(has_unsent);
            state = self.lock();
            state.is_watched = false;
            self.send(&mut state);
            self.receive(&mut state);
            self.look_at_the_clock(&mut state);
            self.turn.notify_all();
        }
    }

    /// Ends the command, and fails all who wait, because of what one of them was answered. The first fault stays.
    pub(super) fn give_up(&self, fault: ExecFault) -> ExecFault {
        let mut state = self.lock();
        let first = state.fail(fault);
        self.turn.notify_all();
        first
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a pipe is ready, for a moment.
    fn watch(&self, has_unsent: bool) {
        let mut pipes = vec![PollFd::new(&self.stdout, PollFlags::IN)];
        if let (Some(stdin), true) = (&self.stdin, has_unsent) {
            pipes.push(PollFd::new(stdin, PollFlags::OUT));
        }
        let tick = Timespec::try_from(TICK).ok();
        // A signal that comes first is as good as a pipe that is ready: all is looked at again.
        let _ = poll(&mut pipes, tick.as_ref());
    }

    /// Puts into the pipe what it has room for.
    fn send(&self, state: &mut State) {
        let Some(stdin) = &self.stdin else { return };
        while state.fault.is_none() && !state.unsent.is_empty() {
            let (bytes, _) = state.unsent.as_slices();
            match rustix::io::write(stdin, bytes) {
                Ok(count) => drop(state.unsent.drain(..count)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                // Nobody reads any more. What was answered before counts.
                Err(_) => return self.receive_the_rest(state),
            }
        }
    }

    /// Takes what is in the pipe.
    fn receive(&self, state: &mut State) {
        let mut buffer = [0; 16 * 1024];
        let mut has_ended = false;
        while state.fault.is_none() {
            match rustix::io::read(&self.stdout, &mut buffer[..]) {
                Ok(0) => return state.break_off(),
                Ok(count) => state.take(buffer.get(..count).unwrap_or_default()),
                Err(Errno::INTR) => {}
                // What it started may hold its output open when it is gone, and its last words may have just come.
                Err(Errno::AGAIN) if !has_ended && state.process.has_ended() => has_ended = true,
                Err(Errno::AGAIN) if !has_ended => return,
                Err(_) => return state.break_off(),
            }
        }
    }

    fn receive_the_rest(&self, state: &mut State) {
        state.unsent.clear();
        self.receive(state);
        state.break_off();
    }

    fn look_at_the_clock(&self, state: &mut State) {
        if self.stop.load(Ordering::Relaxed) {
            state.fail(ExecFault::Interrupted);
        } else if state.is_waited_for() && state.since.elapsed() > self.timeout {
            state.fail(ExecFault::Late(self.timeout));
        }
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        // At the end of its input a command ends by itself.
        self.stdin = None;
        let state = self.state.get_mut();
        let state = state.unwrap_or_else(PoisonError::into_inner);
        state.process.ends_within(GRACE);
        state.process.end();
    }
}

impl State {
    fn new(process: Process) -> State {
        State {
            process,
            unsent: VecDeque::new(),
            begun: Vec::new(),
            answers: BTreeMap::new(),
            asked: 0,
            answered: 0,
            since: Instant::now(),
            is_watched: false,
            fault: None,
        }
    }

    /// Takes a request in; its number.
    fn put(&mut self, line: &[u8]) -> u64 {
        if !self.is_waited_for() {
            self.since = Instant::now();
        }
        self.unsent.extend(line);
        let number = self.asked;
        self.asked = number.saturating_add(1);
        number
    }

    fn is_waited_for(&self) -> bool {
        self.answered < self.asked
    }

    /// Takes bytes of answers.
    fn take(&mut self, mut bytes: &[u8]) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end);
            self.begun.extend(line);
            bytes = rest.get(1..).unwrap_or_default();
            let answer = std::mem::take(&mut self.begun);
            if answer.len() > MAX_ANSWER {
                self.fail(ExecFault::TooLong);
            } else if !self.is_waited_for() {
                self.fail(ExecFault::Unasked);
            } else {
                self.answers.insert(self.answered, answer);
                self.answered = self.answered.saturating_add(1);
                self.since = Instant::now();
            }
        }
        self.begun.extend(bytes);
        if self.begun.len() > MAX_ANSWER {
            self.fail(ExecFault::TooLong);
        }
    }

    /// The command reads or says nothing more.
    fn break_off(&mut self) {
        if !self.is_waited_for() {
            return;
        }
        let by_itself = self.process.ends_within(LAST_WORDS);
        let status = self.process.end().filter(|_| by_itself);
        self.fail(status.map_or(ExecFault::Closed, |status| {
            ExecFault::Ended(status.to_string())
        }));
    }

    /// Ends the command, unless something failed before; the first fault.
    fn fail(&mut self, fault: ExecFault) -> ExecFault {
        if self.fault.is_none() {
            self.process.end();
        }
        self.fault.get_or_insert(fault).clone()
    }
}

/// The command's process, and its group.
struct Process {
    child: Child,
    group: Group,
    /// Once it was waited for: from then on, its number may be another's.
    ended: Option<ExitStatus>,
}

impl Process {
    fn has_ended(&mut self) -> bool {
        let process = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // It is looked at and left as it is, so that its number stays its own.
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        let ended = || process.map(|it| waitid(WaitId::Pid(it), look));
        self.ended.is_some() || matches!(ended(), Some(Ok(Some(_)) | Err(Errno::CHILD)))
    }

    /// Whether it ends in this time.
    fn ends_within(&mut self, time: Duration) -> bool {
        let start = Instant::now();
        while !self.has_ended() {
            if start.elapsed() >= time {
                return false;
            }
            std::thread::sleep(GLANCE);
        }
        true
    }

    /// Ends it now, with what it started where that can be told, and takes note of how it ended.
    fn end(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            let process = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
            if let (Some(process), Group::Own) = (process, self.group) {
                let _ = kill_process_group(process, Signal::KILL);
            }
            let _ = self.child.kill();
            self.ended = self.child.wait().ok();
        }
        self.ended
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// With a command that has nothing to say.
    fn state() -> State {
        let child = std::process::Command::new("true").spawn().unwrap();
        let group = Group::Shared;
        State::new(Process {
            child,
            group,
            ended: None,
        })
    }

    #[test]
    fn each_answer_belongs_to_the_next_request() {
        let mut state = state();
        assert_eq!([state.put(b"a\n"), state.put(b"b\n")], [0, 1]);
        state.take(b"A\nB");
        assert!(state.is_waited_for());
        state.take(b"\n");
        assert!(!state.is_waited_for());
        let answers: Vec<_> = state.answers.iter().collect();
        assert_eq!(answers, [(&0, &b"A".to_vec()), (&1, &b"B".to_vec())]);
        assert!(state.fault.is_none());
        // Nothing is missing when it ends here.
        state.break_off();
        assert!(state.fault.is_none());
        state.take(b"C\n");
        assert!(matches!(state.fault, Some(ExecFault::Unasked)));
    }

    #[test]
    fn what_is_missing_when_it_ends_is_missed() {
        let mut state = state();
        state.put(b"a\n");
        state.break_off();
        assert!(matches!(state.fault, Some(ExecFault::Ended(_))));
        // The first fault stays.
        state.take(b"A\nB\n");
        assert!(matches!(state.fault, Some(ExecFault::Ended(_))));
    }

    #[test]
    fn an_answer_has_an_end() {
        for (length, is_too_long) in [(MAX_ANSWER, false), (MAX_ANSWER + 1, true)] {
            for end in ["", "\n"] {
                let mut state = state();
                state.put(b"a\n");
                state.take(&[&vec![b'x'; length], end.as_bytes()].concat());
                let said = matches!(state.fault, Some(ExecFault::TooLong));
                assert_eq!(said, is_too_long, "{length} {end:?}");
            }
        }
    }

    #[test]
    fn time_runs_from_the_first_request_and_from_each_answer() {
        let mut state = state();
        let long_ago = state.since.checked_sub(Duration::from_secs(1)).unwrap();
        state.since = long_ago;
        state.put(b"a\n");
        assert_ne!(state.since, long_ago);
        state.since = long_ago;
        state.put(b"b\n");
        assert_eq!(state.since, long_ago);
        state.take(b"A\n");
        assert_ne!(state.since, long_ago);
    }

    #[test]
    fn a_command_ends_with_who_talked_with_it() {
        let mut sleep = std::process::Command::new("sleep");
        let child = sleep.arg("1000").spawn().unwrap();
        let number = Pid::from_raw(child.id().cast_signed()).unwrap();
        drop(Process {
            child,
            group: Group::Shared,
            ended: None,
        });
        // And it was waited for.
        let look = waitid(
            WaitId::Pid(number),
            WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
        );
        assert!(matches!(look, Err(Errno::CHILD)), "{look:?}");
    }
}
