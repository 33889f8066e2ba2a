//! `sigindex exec`: runs one command behind a gate of its own, and ends with it.

use std::ffi::{OsStr, OsString};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ExitStatus};

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGCHLD, SIGINT, SIGQUIT};

use super::flags::Channels;
use super::signals::Signals;
use crate::child;
use crate::error::Error;
use crate::gate::policy::ChannelName;
use crate::gate::{self, Token};
use crate::shown::shown;

/// Tells a command where the gate is.
const URL: &str = "SIGINDEX_GATE_URL";

/// What stands for the gate itself in a command's words.
const GATE: &str = "gate";

/// Flags of `exec`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    channels: Channels,
    /// Set a variable for the command; in its value, too, {NAME} stands for a channel's URL (repeatable)
    #[arg(long, value_name = "VARIABLE=VALUE", value_parser = variable)]
    env: Vec<(String, String)>,
    /// The command; in its words, {NAME} stands for the URL of a channel behind the gate, and {gate} for the gate's
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or("there is no = in it; write VARIABLE=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

pub fn run(args: &Args) -> Result<u8, Error> {
    let mut plan = args
        .channels
        .plan(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    plan.token = Some(Token::make()?);
    let names: Vec<ChannelName> = plan.channels.iter().map(|one| one.name.clone()).collect();
    // Before anything runs that could be told to end.
    let signals = Signals::of_command()?;
    let gate = gate::start(plan)?;
    let ended = command(args, &gate.url(), &names).and_then(|child| attend(child, signals));
    gate.shut_down();
    Ok(status(ended?))
}

/// Starts the command, with the gate's address in its words and its environment.
fn command(args: &Args, url: &str, names: &[ChannelName]) -> Result<Child, Error> {
    let places = places(url, names);
    let words: Vec<OsString> = args
        .command
        .iter()
        .map(|word| fill(word, &places))
        .collect();
    let Some((program, words)) = words.split_first() else {
        return Err(Error::Usage(
            "there is no command to run; write it after --".to_owned(),
        ));
    };
    let mut command = child::command(program);
    command.args(words);
    // A proxy could not reach the gate, and is no business of its clients.
    for name in ["NO_PROXY", "no_proxy"] {
        command.env(name, without_proxy(std::env::var_os(name)));
    }
    command.env(URL, url.trim_end_matches('/'));
    for (name, value) in &args.env {
        command.env(name, fill(OsStr::new(value), &places));
    }
    command.spawn().map_err(|cause| Error::Run {
        program: shown(program),
        cause,
    })
}

/// What stands for what in a command's words.
fn places(url: &str, names: &[ChannelName]) -> Vec<(String, String)> {
    let gate = (format!("{{{GATE}}}"), url.trim_end_matches('/').to_owned());
    let channels = names
        .iter()
        .map(|name| (format!("{{{name}}}"), format!("{url}{name}")));
    std::iter::once(gate).chain(channels).collect()
}

/// A word with its places filled; one that is no UTF-8 stays as it is.
fn fill(word: &OsStr, places: &[(String, String)]) -> OsString {
    let Some(text) = word.to_str() else {
        return word.to_owned();
    };
    let fill = |text: String, (place, value): &(String, String)| text.replace(place, value);
    places.iter().fold(text.to_owned(), fill).into()
}

fn without_proxy(hosts: Option<OsString>) -> OsString {
    let mut hosts = hosts.unwrap_or_default();
    if !hosts.is_empty() {
        hosts.push(",");
    }
    hosts.push("127.0.0.1");
    hosts
}

/// Passes signals on until the command has ended.
fn attend(mut child: Child, mut signals: Signals) -> Result<ExitStatus, Error> {
    let fail = |cause| Error::Run {
        program: "the command".to_owned(),
        cause,
    };
    let process = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    loop {
        if let Some(status) = child.try_wait().map_err(fail)? {
            return Ok(status);
        }
        for signal in signals.wait() {
            let signal = passed_on(signal).and_then(Signal::from_named_raw);
            if let (Some(process), Some(signal)) = (process, signal) {
                // It may have ended meanwhile.
                let _ = kill_process(process, signal);
            }
        }
    }
}

/// A terminal sends its keys' signals to all processes in front of it, and the command has them already.
fn passed_on(signal: i32) -> Option<i32> {
    let from_terminal = matches!(signal, SIGINT | SIGQUIT) && is_in_front();
    (signal != SIGCHLD && !from_terminal).then_some(signal)
}

fn is_in_front() -> bool {
    let terminal = std::fs::File::open("/dev/tty");
    let in_front = terminal.map(|terminal| rustix::termios::tcgetpgrp(&terminal));
    matches!(in_front, Ok(Ok(group)) if group == rustix::process::getpgrp())
}

/// The command's exit status; for one that a signal ended, what a shell says.
fn status(ended: ExitStatus) -> u8 {
    let by_signal = || ended.signal().and_then(|signal| signal.checked_add(128));
    let code = ended.code().or_else(by_signal).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn words_are_filled() {
        let names = [ChannelName::parse("main").unwrap()];
        let places = places("http://127.0.0.1:1/t/x/", &names);
        for (word, filled) in [
            ("{main}", "http://127.0.0.1:1/t/x/main"),
            ("{main}/noarch::a", "http://127.0.0.1:1/t/x/main/noarch::a"),
            ("--url={gate}", "--url=http://127.0.0.1:1/t/x"),
            ("{other}", "{other}"),
            ("main", "main"),
        ] {
            assert_eq!(fill(OsStr::new(word), &places), filled);
        }
    }

    #[test]
    fn the_gate_is_reached_without_a_proxy() {
        assert_eq!(without_proxy(None), "127.0.0.1");
        assert_eq!(without_proxy(Some("a,b".into())), "a,b,127.0.0.1");
    }
}
