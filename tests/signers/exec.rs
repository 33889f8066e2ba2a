//! A command that signs as it should: what it signs, when it is started, what it sees, and how it ends.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::scene::{Run, Scene, fixtures};
use crate::{demand_same_as_by_file, index_by, scene_of};

/// The documents' script; each start of it leaves a line in `starts`.
const COMMAND: &str = "exec:echo x >> starts; exec sh openssl.sh key.pem";

fn starts(scene: &Scene) -> usize {
    match scene.exists("starts") {
        true => scene.text("starts").lines().count(),
        false => 0,
    }
}

#[test]
fn one_process_of_the_documents_script_signs_a_channel_for_many_threads() {
    let scene = scene_of(24);
    let run = index_by(
        &scene,
        COMMAND,
        &["--threads", "8", "--signatures", "detached"],
    );
    run.exits(0).counts("signed", 24);
    assert_eq!(starts(&scene), 1);
    demand_same_as_by_file(&scene, 24);
    scene.give_public_key("fixture");
    scene.run(&["verify", "channel"]).exits(0);
}

#[test]
fn files_are_signed_too() {
    let scene = scene_of(0);
    scene.write("data", "x");
    let words = ["sign", "data", "--key", COMMAND, "--key-name", "fixture"];
    scene.run(&words).exits(0).says("SIGNED");
    scene.run(&words).exits(0).says("KEPT");
    scene.give_public_key("fixture");
    scene.run(&["verify", "data"]).exits(0);
    // A log names the key as any other.
    scene.remove("data.sig");
    let logged = [&words[..], &["--signing-log", "log"]].concat();
    scene.run(&logged).exits(0);
    assert!(scene.text("log").contains("\"fixture\""));
}

#[test]
fn the_key_counts_as_being_in_the_folder() {
    let scene = scene_of(2);
    index_by(&scene, COMMAND, &[]).exits(0).counts("signed", 2);
    index_by(&scene, COMMAND, &[]).exits(0).counts("kept", 2);
    index_by(&scene, COMMAND, &["--dry-run"])
        .exits(0)
        .counts("kept", 2);
    assert_eq!(starts(&scene), 3);
    // Without it, nobody knows the key.
    scene.give_key("other");
    scene.index(&[]).exits(1).says("unknown key");
}

#[test]
fn with_its_public_half_at_hand_the_command_runs_only_to_sign() {
    let scene = scene_of(2);
    scene.give_public_key("fixture");
    index_by(&scene, COMMAND, &["--dry-run"])
        .exits(0)
        .counts("signed", 2);
    assert_eq!(starts(&scene), 0);
    index_by(&scene, COMMAND, &[]).exits(0).counts("signed", 2);
    index_by(&scene, COMMAND, &[]).exits(0).counts("kept", 2);
    index_by(&scene, "exec:false", &[])
        .exits(0)
        .counts("kept", 2);
    assert_eq!(starts(&scene), 1);
}

#[test]
fn the_key_is_named_by_a_flag_or_the_environment_or_the_command() {
    let scene = scene_of(0);
    scene.write("data", "x");
    let sign = |key: &str, flags: &[&str], name: &str| {
        let call = scene.call(&[&["sign", "data", "--force", "--key", key], flags].concat());
        let run = call.env("SIGINDEX_KEY_NAME", name).run();
        let signed = scene.exists("data.sig").then(|| scene.text("data.sig"));
        let by = signed.map(|text| text.split(' ').next().unwrap().to_owned());
        let _ = std::fs::remove_file(scene.path("data.sig"));
        (run, by)
    };
    let by = |key: &str, flags: &[&str], name: &str| sign(key, flags, name).1.unwrap();
    assert_eq!(by(COMMAND, &["--key-name", "flag"], "environment"), "flag");
    assert_eq!(by(COMMAND, &[], "environment"), "environment");
    let (run, signed) = sign(COMMAND, &[], "");
    run.exits(1).says("name it with --key-name NAME");
    assert_eq!(signed, None);
    let named = "exec:sh openssl.sh key.pem | sed -u 's/^{/{\"key\":\"service\",/'";
    assert_eq!(by(named, &[], ""), "service");
    assert_eq!(by(named, &["--key-name", "service"], ""), "service");
    let run = sign(named, &["--key-name", "flag"], "").0;
    run.exits(1)
        .says("asked for the key flag")
        .says("`service`");
    let run = sign("fixture", &["--key-name", "flag"], "").0;
    run.exits(2).says("--key-name is for keys elsewhere");
    sign("exec:", &[], "").0.exits(2).says("has no command");
    let run = sign(COMMAND, &["--key-name", "../x"], "").0;
    run.exits(1).says("not a key's name");
}

#[test]
fn it_has_to_pass_as_any_key() {
    let scene = scene_of(1);
    // Under its name, the folder has another one.
    std::fs::copy(
        fixtures().join("keys/other.pub"),
        scene.key_path("fixture.pub"),
    )
    .unwrap();
    let run = index_by(&scene, COMMAND, &[]).exits(1);
    run.says("is another key than the one that signs");
    scene.take_key("fixture");
    index_by(&scene, COMMAND, &["--min-bits", "4096"])
        .exits(1)
        .says("below 4096 bits do not count");
    scene.give_public_key("fixture");
    mark_as_index_key(&scene);
    for flags in [&[][..], &["--dry-run"]] {
        let run = index_by(&scene, COMMAND, flags).exits(1);
        run.says("the key fixture").says("index");
    }
    assert!(!scene.exists("channel/linux-64/repodata.json"));
}

/// Remembers that the key of the folder signs an index, as `trust init` does.
fn mark_as_index_key(scene: &Scene) {
    let keys = scene.run(&["keys", "--json"]).report();
    let one = serde_json::json!({"fingerprint": keys["keys"][0]["fingerprint"], "uses": ["index"]});
    let text = serde_json::json!({"version": 1, "keys": [one]}).to_string();
    let path = "home/.conda/keys/.sigindex-uses.json";
    scene.write(path, text);
    scene.set_mode(path, 0o600);
}

#[test]
fn it_inherits_no_secret_and_no_open_file() {
    let scene = scene_of(1);
    let look = "env > env; for it in /proc/$$/fd/*; do echo ${it##*/}; done > files";
    // What this test passes on itself, and what the shell opens.
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", look]).current_dir(scene.path(""));
    shell.stdin(Stdio::piped()).stdout(Stdio::piped());
    assert!(shell.status().unwrap().success());
    let before = scene.text("files");
    let command = &format!("exec:{look}; exec sh openssl.sh key.pem");
    let words = ["channel", "--key", command, "--key-name", "fixture"];
    let secrets = [
        "SIGINDEX_PASSPHRASE",
        "SIGINDEX_PIN",
        "SIGINDEX_INDEX_PRIVATE_KEY",
        "SIGINDEX_GATE_TOKEN",
        "SIGINDEX_OF_LATER",
    ];
    let mut call = scene.call(&words).env("AWS_PROFILE", "kept");
    for name in secrets {
        call = call.env(name, "a secret");
    }
    let pem = std::fs::read_to_string(crate::private("other")).unwrap();
    let call = call.env("SIGINDEX_PRIVATE_KEY", pem);
    call.env("SIGINDEX_KEY_NAME", "ci").run().exits(0);
    let seen = scene.text("env");
    assert!(seen.contains("AWS_PROFILE=kept") && seen.contains("PATH="));
    assert!(
        !seen.contains("a secret") && !seen.contains("PRIVATE KEY"),
        "{seen}"
    );
    assert_eq!(scene.text("files"), before);
}

#[test]
fn what_it_says_on_standard_error_is_the_users_and_never_the_reports() {
    let scene = scene_of(1);
    let run = index_by(
        &scene,
        "exec:echo asking >&2; exec sh openssl.sh key.pem",
        &[],
    );
    let run = run.exits(0);
    assert!(run.stderr.contains("asking") && !run.stdout.contains("asking"));
    run.report();
}

#[test]
fn it_ends_when_the_run_does() {
    let scene = scene_of(1);
    let command = "exec:sh openssl.sh key.pem; echo ended > ended";
    index_by(&scene, command, &[]).exits(0);
    assert_eq!(scene.text("ended"), "ended\n");
    // One that does not is ended.
    let command = "exec:echo $$ > pid; sh openssl.sh key.pem; sleep 1000; echo late > late";
    let start = Instant::now();
    scene.package("more");
    index_by(&scene, command, &[]).exits(0).counts("signed", 1);
    assert!(start.elapsed() < Duration::from_secs(300));
    assert!(!scene.exists("late"));
    let process = format!("/proc/{}", scene.text("pid").trim());
    assert!(
        !std::path::Path::new(&process).exists(),
        "{process} is left"
    );
}

#[test]
fn a_signal_stops_a_run_that_waits_for_it() {
    let scene = scene_of(1);
    let command = "exec:echo $$ > pid; echo x > waits; read request; exec sleep 1000";
    let mut call = scene.index_call(&["--key", command, "--key-name", "k"]);
    call.command().stdout(Stdio::null());
    let mut child = call.command().stderr(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    while !scene.exists("waits") {
        assert!(start.elapsed() < Duration::from_secs(300));
        std::thread::sleep(Duration::from_millis(5));
    }
    let process = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
    let status = child.wait().unwrap();
    assert_eq!((status.code(), status.signal()), (Some(130), None));
    let process = format!("/proc/{}", scene.text("pid").trim());
    assert!(
        !std::path::Path::new(&process).exists(),
        "{process} is left"
    );
    assert!(!scene.exists("channel/linux-64/repodata.json"));
}

/// A run of `sign` by a command, on one file.
pub fn sign_by(scene: &Scene, command: &str, flags: &[&str]) -> Run {
    scene.write("data", "x");
    let key = format!("exec:{command}");
    let words = ["sign", "data", "--key", &key, "--key-name", "fixture"];
    let run = scene.run(&[&words[..], flags].concat());
    assert_eq!(run.status() == Some(0), scene.exists("data.sig"));
    run
}

#[cfg(feature = "tuf")]
#[test]
fn the_key_of_a_signed_index_may_be_elsewhere_too() {
    let scene = scene_of(2);
    scene.init_signed_index();
    std::fs::rename(scene.key_path("index"), scene.path("index.pem")).unwrap();
    let run = |words: &[&str], command: &str| {
        let call = scene.call(words).env("SIGINDEX_INDEX_KEY", command);
        call.env("SIGINDEX_INDEX_KEY_NAME", "index").run()
    };
    let index = ["channel", "--key", COMMAND, "--key-name", "fixture"];
    let run_with = |command: &str| run(&index, command);
    scene.run(&index).exits(1).says("$SIGINDEX_INDEX_KEY");
    run_with("index")
        .exits(1)
        .says("neither exec:COMMAND nor pkcs11:URI");
    // The command of packages' key, under the name of the other.
    run_with(COMMAND)
        .exits(1)
        .says("is another key than the one that signs");
    assert!(!scene.exists("channel/noarch/repodata.json"));
    run_with("exec:sh openssl.sh index.pem").exits(0);
    let refresh = ["trust", "refresh", "channel", "--all"];
    run(&refresh, "exec:sh openssl.sh index.pem")
        .exits(0)
        .says("renewed");
    run(&refresh, "exec:exit 3").exits(1).says("exit status: 3");
    // It signs no package.
    scene.package("more");
    let words = [
        "channel",
        "--key",
        "exec:sh openssl.sh index.pem",
        "--key-name",
        "index",
    ];
    scene.run(&words).exits(1).says("index");
    assert!(!scene.exists("channel/linux-64/more-1.0-0.conda.sig"));
    assert!(!scene.exists("channel/linux-64/more-1.0-0.tar.bz2.sig"));
}

#[cfg(not(feature = "pkcs11"))]
#[test]
fn a_build_that_knows_no_tokens_says_so() {
    let scene = scene_of(0);
    scene.write("data", "x");
    let run = scene
        .run(&["sign", "data", "--key", "pkcs11:token=a"])
        .exits(2);
    run.says("built without PKCS #11").says("--features pkcs11");
}
