//! The run itself: no more files may be opened, no more may be written, and terminals that are none. The old index is
//! served whatever fails.

use std::process::{Command, Stdio};

use crate::scene::{Call, Run, Scene};
use crate::shared::skip;

/// Runs a call behind words of a shell, which set a limit.
fn limited(mut call: Call, limit: &str) -> Run {
    let inner = call.command();
    let mut shell = Command::new("sh");
    let script = format!("{limit}; exec \"$0\" \"$@\"");
    shell.arg("-c").arg(script).arg(inner.get_program());
    shell.args(inner.get_args()).env_clear();
    let set = inner.get_envs();
    shell.envs(set.filter_map(|(name, value)| Some((name, value?))));
    shell.current_dir(inner.get_current_dir().unwrap());
    let output = shell.stdin(Stdio::null()).output().unwrap();
    Run::new(format!("with {limit}"), &output)
}

/// A published channel in which there is something to do: one more, one gone.
fn with_work() -> Scene {
    let scene = Scene::of_three();
    scene.index(&["--all"]).exits(0);
    scene.package("d");
    scene.remove("channel/linux-64/a-1.0-0.conda");
    scene.remove("channel/linux-64/a-1.0-0.conda.sig");
    scene
}

/// What readers find is whole: each index names what is there, or what was there when it was published.
fn is_whole(scene: &Scene, what: &str) -> bool {
    let listed = |name: &str| scene.is_listed(&format!("linux-64/{name}"));
    let (old, new) = (listed("a-1.0-0.conda"), listed("d-1.0-0.tar.bz2"));
    assert!(old != new, "{what}: neither the old index nor the new one");
    assert!(
        listed("b-1.0-0.tar.bz2") && listed("c-1.0-0.conda"),
        "{what}"
    );
    new
}

/// Limits from nothing to enough, with how many runs failed before one did not.
fn hold(limits: impl Iterator<Item = String>) -> usize {
    let mut failed = 0;
    for limit in limits {
        let scene = with_work();
        let run = limited(scene.index_call(&["--all"]), &limit);
        let published = run.stdout.contains("\"published\":true");
        if published {
            drop(run.exits(0));
            assert!(is_whole(&scene, &limit));
        } else {
            failed += 1;
            drop(run.exits(1));
            is_whole(&scene, &limit);
        }
        // The next run, which may do all, completes it.
        scene.index(&["--all"]).exits(0).counts("listed", 3);
        scene.run(&["verify", "channel"]).exits(0);
    }
    failed
}

#[test]
fn without_open_files_it_fails_and_the_old_index_is_served() {
    // Fewer than a handful, and the program itself can't be loaded.
    let counts = [4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 18, 24, 64];
    let failed = hold(counts.iter().map(|count| format!("ulimit -n {count}")));
    assert!((1..counts.len()).contains(&failed), "{failed} failed");
}

#[test]
fn where_no_file_may_grow_it_fails_and_the_old_index_is_served() {
    // In blocks of 512 bytes; a file that would be larger can't be written, as on a full disk.
    let sizes = [0, 1, 2, 3, 4, 6, 8, 16, 32, 64, 100, 100_000];
    let failed = hold(
        sizes
            .iter()
            .map(|size| format!("trap '' XFSZ; ulimit -f {size}")),
    );
    assert!((1..sizes.len()).contains(&failed), "{failed} failed");
}

#[test]
fn a_terminal_of_no_width_is_no_panic() {
    let found = Command::new("script").arg("--version").output();
    if !found.is_ok_and(|output| output.status.success()) {
        return skip("there is no script on this machine");
    }
    for size in [
        "cols 0 rows 0",
        "cols 1 rows 1",
        "cols 2",
        "cols 65535 rows 65535",
    ] {
        for args in [
            "channel",
            "verify channel",
            "keys",
            "--help",
            "channel --verbose",
        ] {
            let scene = Scene::of_three();
            let binary = env!("CARGO_BIN_EXE_sigindex");
            let line = format!("stty {size}; '{binary}' {args}; echo ended $?");
            let mut call = scene.call(&[]);
            let mut command = Command::new("script");
            command
                .args(["-q", "-e", "-c", &line, "/dev/null"])
                .env_clear();
            let set = call.command().get_envs();
            command.envs(set.filter_map(|(name, value)| Some((name, value?))));
            command.env("TERM", "xterm").current_dir(scene.path(""));
            let output = command.stdin(Stdio::null()).output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(!said.contains("panicked"), "{size} {args}: {said}");
            let ended = said.contains("ended 0") || said.contains("ended 1");
            assert!(ended, "{size} {args}: {said}");
        }
    }
}
