//! Passphrases that are typed on a terminal: shown nowhere, and the terminal as it was, whatever ends the question.

use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::scene::Scene;

/// How long anything may take here; it takes a moment.
const PATIENCE: Duration = Duration::from_secs(120);

/// A shell on a terminal of its own, of the program `script` (util-linux).
struct Terminal {
    child: Child,
    keyboard: ChildStdin,
    screen: Arc<Mutex<String>>,
}

impl Terminal {
    /// Runs these lines; `$SIGINDEX` is the binary. None where there is no such program.
    fn of(scene: &Scene, lines: &str) -> Option<Terminal> {
        let mut call = scene.call(&[]);
        let mut command = Command::new("script");
        for (name, value) in call.command().get_envs() {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        command
            .args(["-q", "-e", "-c", lines, "/dev/null"])
            .env("SHELL", "/bin/sh")
            .env("SIGINDEX", env!("CARGO_BIN_EXE_sigindex"))
            .current_dir(scene.path(""))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(why) => {
                eprintln!("skipped: no terminal can be had: script (util-linux): {why}");
                return None;
            }
        };
        let (keyboard, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let screen = Arc::new(Mutex::new(String::new()));
        let shown = Arc::clone(&screen);
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut piece) {
                let text = String::from_utf8_lossy(&piece[..read]).replace('\r', "");
                shown.lock().unwrap().push_str(&text);
            }
        });
        Some(Terminal {
            child,
            keyboard,
            screen,
        })
    }

    fn screen(&self) -> String {
        self.screen.lock().unwrap().clone()
    }

    /// Waits until this is to be seen.
    fn shows(&self, text: &str) {
        let began = Instant::now();
        while !self.screen().contains(text) {
            assert!(began.elapsed() < PATIENCE, "no {text:?}: {}", self.screen());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
        self.keyboard.flush().unwrap();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What comes before a command: how the terminal is.
const BEFORE: &str = "was=$(stty -g)";

/// What comes after one: its status, and whether the terminal is as it was.
const AFTER: &str = "echo \"ended $?\"; [ \"$was\" = \"$(stty -g)\" ] && echo as it was || echo is another; echo all told";

fn is_as_it_was(terminal: &Terminal) {
    terminal.shows("all told");
    let screen = terminal.screen();
    assert!(screen.contains("as it was"), "{screen}");
}

#[test]
fn a_passphrase_is_typed_and_never_shown() {
    let scene = Scene::without_key();
    scene.write("data", "x");
    let lines =
        format!("{BEFORE}; $SIGINDEX keygen mine --encrypt && $SIGINDEX sign -q data; {AFTER}");
    let Some(mut terminal) = Terminal::of(&scene, &lines) else {
        return;
    };
    terminal.shows("New passphrase for the key mine: ");
    terminal.types("open sésame\n");
    terminal.shows("The same again: ");
    terminal.types("open séx\u{7f}same\n");
    terminal.shows("fingerprint");
    terminal.shows("Passphrase for the key mine: ");
    terminal.types("open sésame\n");
    terminal.shows("ended 0");
    is_as_it_was(&terminal);
    assert!(
        !terminal.screen().contains("same\n"),
        "{}",
        terminal.screen()
    );
    scene.run(&["verify", "data"]).exits(0);
}

#[test]
fn what_ends_a_question_leaves_the_terminal_as_it_was() {
    let scene = Scene::without_key();
    scene.write("data", "x");
    let encrypted = scene.call(&["keygen", "mine", "--encrypt"]);
    encrypted.env("SIGINDEX_PASSPHRASE", "x").run().exits(0);
    for (command, keys, status, says) in [
        ("keygen other --encrypt", "\u{3}", 130, "interrupted"),
        ("keygen other --encrypt", "\u{4}", 1, "none was typed"),
        ("keygen other --encrypt", "one\ntwo\n", 1, "differ"),
        ("sign data", "\u{3}", 130, "interrupted"),
        ("sign data", "\u{4}", 1, "none was typed"),
        ("sign data", "wrong\n", 1, "passphrase"),
        ("sign data", "\u{1a}\n", 1, "no text"),
    ] {
        // The shell goes on after what is typed to end the command.
        let lines = format!("{BEFORE}; trap : INT; $SIGINDEX {command}; {AFTER}");
        let Some(mut terminal) = Terminal::of(&scene, &lines) else {
            return;
        };
        terminal.shows("assphrase for the key");
        terminal.types(keys);
        terminal.shows(&format!("ended {status}"));
        is_as_it_was(&terminal);
        assert!(terminal.screen().contains(says), "{}", terminal.screen());
        assert!(!scene.exists("data.sig") && !scene.key_path("other").exists());
    }
}

#[test]
fn a_signal_ends_a_question() {
    let scene = Scene::of_three();
    scene.take_key("fixture");
    let encrypted = scene.call(&["keygen", "mine", "--encrypt"]);
    encrypted.env("SIGINDEX_PASSPHRASE", "x").run().exits(0);
    for (command, signal) in [
        ("keygen other --encrypt", "TERM"),
        ("sign data", "INT"),
        ("channel --key mine", "TERM"),
    ] {
        scene.write("data", "x");
        let lines = format!(
            "{BEFORE}; $SIGINDEX {command} & until [ -e go ]; do sleep 0.05; done; kill -{signal} $!; wait $!; {AFTER}"
        );
        let Some(terminal) = Terminal::of(&scene, &lines) else {
            return;
        };
        terminal.shows("assphrase for the key");
        scene.write("go", "");
        terminal.shows("ended 130");
        is_as_it_was(&terminal);
        scene.remove("go");
    }
}

#[test]
fn a_question_in_the_background_waits_to_be_in_front() {
    let scene = Scene::without_key();
    scene.write("data", "x");
    let encrypted = scene.call(&["keygen", "mine", "--encrypt"]);
    encrypted.env("SIGINDEX_PASSPHRASE", "x").run().exits(0);
    let stopped = "until grep -q ') T ' /proc/$!/stat; do sleep 0.05; done";
    let lines = format!("{BEFORE}; set -m; $SIGINDEX sign -q data & {stopped}; fg; {AFTER}");
    let Some(mut terminal) = Terminal::of(&scene, &lines) else {
        return;
    };
    terminal.shows("Passphrase for the key mine: ");
    terminal.types("x\r");
    terminal.shows("ended 0");
    is_as_it_was(&terminal);
    scene.run(&["verify", "data"]).exits(0);
}
