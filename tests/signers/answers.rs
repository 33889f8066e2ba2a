//! Answers of a command that are none, too late, too many or of something else: each has its own words, names the
//! command, and leaves nothing behind.

use std::time::{Duration, Instant};

use crate::exec::sign_by;
use crate::scene::Scene;
use crate::{index_by, private, scene_of};

/// Answers the first request as it should, whatever follows.
const FIRST: &str = "read request; echo \"$request\" | sh openssl.sh key.pem;";

/// The time that a command has which says nothing at all, and so long that others never need it.
const SHORT: &str = "1";
const LONG: &str = "300";
const LATE: &str = "no answer for 1 s";
/// Time enough for one answer.
const FEW: &str = "10";

/// What is said of a command that answers wrongly.
fn refusal(scene: &Scene, command: &str) -> String {
    refusal_within(scene, command, LONG)
}

fn refusal_within(scene: &Scene, command: &str, timeout: &str) -> String {
    let start = Instant::now();
    let run = sign_by(scene, command, &["--key-timeout", timeout]).exits(1);
    assert!(start.elapsed() < Duration::from_secs(200), "{command}");
    let said = run.stderr;
    assert!(said.contains("the signing command `"), "{said}");
    said
}

#[test]
fn each_kind_of_first_answer_that_is_none_has_its_words() {
    let scene = scene_of(0);
    for (command, words) in [
        (
            "exit 3",
            "it ended (exit status: 3) with requests still open",
        ),
        ("no-such-command", "it ended (exit status: 127)"),
        ("kill -9 $$", "it ended (signal: 9"),
        ("read request", "it ended (exit status: 0)"),
        ("echo hello; cat > /dev/null", "no JSON object"),
        ("echo; cat > /dev/null", "no JSON object"),
        ("echo '[]'; cat > /dev/null", "no JSON object"),
        (
            "echo '{\"signature\":1}'; cat > /dev/null",
            "no JSON object",
        ),
        ("printf '\\377\\n'; cat > /dev/null", "no JSON object"),
        ("cat", "it has no `public_key`"),
        (
            "read request; echo '{\"error\":\"no \\u001b[2J money\"}'; cat",
            "it refused: no \\u{1b}[2J money",
        ),
        (
            "read request; head -c 70000 /dev/zero | tr '\\0' x; sleep 100",
            "longer than 65536 bytes",
        ),
        ("read request; sleep 100", LATE),
        ("exec sleep 100", LATE),
        ("exec >&-; sleep 100", "closed its standard input or output"),
        ("sh openssl.sh key.pem | tr -d '\\n'", LATE),
        (
            "sh openssl.sh key.pem | sed -u 's/PUBLIC KEY/CERTIFICATE/g'",
            "the public key in its answer can't be used",
        ),
        (
            "sh openssl.sh key.pem | sed -u 's/\"signature\":\"[^\"]*\"/\"signature\":\"\"/'",
            "`signature` is empty",
        ),
        ("sh openssl.sh key.pem | sed -u 's/==\"/\"/'", "not base64"),
        (
            "sh openssl.sh key.pem | sed -u 's/\"signature\":\"....*==\"/\"signature\":\"AAAA\"/'",
            "has 3 bytes, and one by the public key in its answer has 256",
        ),
    ] {
        let is_late = words == LATE;
        let said = refusal_within(&scene, command, if is_late { SHORT } else { LONG });
        assert!(said.contains(words), "{command}: {said}");
    }
}

#[test]
fn a_command_that_reads_nothing_is_seen() {
    let scene = scene_of(0);
    // By the pipe, or by the clock where the request was in it already.
    let said = refusal_within(&scene, "exec <&-; sleep 100", SHORT);
    let seen = said.contains("closed its standard input or output") || said.contains(LATE);
    assert!(seen, "{said}");
    // Closed before the first answer, it is by the pipe.
    let command = "read request; exec <&-; echo \"$request\" | sh openssl.sh key.pem; sleep 100";
    let said = refusal(&scene, command);
    assert!(
        said.contains("closed its standard input or output"),
        "{said}"
    );
}

#[test]
fn another_scheme_or_another_key_is_seen_at_the_first_answer() {
    let scene = scene_of(0);
    let script = scene.text("openssl.sh");
    for (from, to) in [
        ("rsa_pss_saltlen:32", "rsa_pss_saltlen:20"),
        (
            "rsa_pss_saltlen:32 -pkeyopt rsa_mgf1_md:sha256",
            "rsa_pss_saltlen:32 -pkeyopt rsa_mgf1_md:sha1",
        ),
        (
            "rsa_padding_mode:pss -pkeyopt rsa_pss_saltlen:32 -pkeyopt rsa_mgf1_md:sha256",
            "rsa_padding_mode:pkcs1",
        ),
        ("base64 -d |", "base64 -d | openssl dgst -sha256 -binary |"),
        ("-sign -inkey \"$1\"", "-sign -inkey other.pem"),
    ] {
        let changed = script.replace(from, to);
        assert_ne!(changed, script);
        std::fs::copy(private("other"), scene.path("other.pem")).unwrap();
        scene.write("changed.sh", changed);
        let said = refusal(&scene, "sh changed.sh key.pem");
        assert!(
            said.contains("does not verify its signature"),
            "{to}: {said}"
        );
        assert!(said.contains("salt of 32 bytes") && said.contains("`sh changed.sh …`"));
    }
}

#[test]
fn a_later_answer_that_does_not_fit_stops_the_run() {
    let scene = scene_of(3);
    std::fs::copy(private("other"), scene.path("other.pem")).unwrap();
    for (then, words) in [
        ("exit 7", "it ended (exit status: 7)"),
        ("cat > /dev/null", "no answer for 10 s"),
        ("exec sh openssl.sh other.pem", "different public keys"),
        (
            "read request; echo '{\"error\":\"the quota is used up\"}'; cat > /dev/null",
            "it refused: the quota is used up",
        ),
        // Always one behind.
        (
            "while read next; do echo \"$request\" | sh openssl.sh key.pem; request=$next; done",
            "order of the requests",
        ),
    ] {
        let command = format!("exec:{FIRST} {then}");
        let timeout = if then.starts_with("cat") { FEW } else { LONG };
        let run = index_by(&scene, &command, &["--key-timeout", timeout]).exits(1);
        run.says(words).says("cannot sign with the key fixture");
        assert!(!scene.exists("channel/linux-64/repodata.json"));
    }
    // What was not asked for is seen at once, or taken for the next answer, which it does not fit.
    let command = format!("{FIRST} echo more; cat > /dev/null");
    let said = refusal(&scene, &command);
    let seen = said.contains("answered more than it was asked") || said.contains("is not one");
    assert!(seen, "{said}");
}

#[test]
fn what_a_command_started_does_not_hold_a_run_up() {
    let scene = scene_of(0);
    // Its output is held open by one that lives on.
    for held in [
        "sleep 1000 2> /dev/null &",
        "exec 3<&0; sleep 1000 <&3 2> /dev/null &",
    ] {
        let said = refusal(&scene, &format!("{held} exit 4"));
        assert!(said.contains("exit status: 4"), "{held}: {said}");
    }
    // Where there is no terminal, all of it is ended.
    if std::fs::File::open("/dev/tty").is_err() {
        let command = "sh -c 'echo $$ > pid; exec sleep 1000' | cat";
        let said = refusal_within(&scene, command, FEW);
        assert!(said.contains("no answer for 10 s"), "{said}");
        let process = format!("/proc/{}/cmdline", scene.text("pid").trim());
        let start = Instant::now();
        while std::fs::read(&process).is_ok_and(|command| !command.is_empty()) {
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "{process} is left"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn no_more_of_a_command_is_said_than_names_it() {
    let scene = scene_of(0);
    let said = refusal(&scene, "TOKEN=abcdef sh openssl.sh");
    assert!(!said.contains("abcdef"), "{said}");
    let said = refusal(&scene, "echo user:password@host");
    assert!(!said.contains("password"), "{said}");
}
