//! The gate as its clients see it: answers in the words of HTTP, tokens, policies, bounds, and its end; and commands
//! behind a gate of their own. What it lets through is not its matter here.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice
)]
#![cfg(feature = "gate")]

#[path = "support/gate.rs"]
mod gate;
#[path = "support/scene.rs"]
mod scene;

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use gate::Gate;
use rustix::process::Signal;
use scene::Scene;
use scene::builder::{Format, PackageSpec};

/// The flags of a gate that checks packages of `channel` by the key `fixture`.
const PACKAGES: [&str; 6] = [
    "--channel",
    "main=channel",
    "--trust",
    "main=fixture",
    "--require",
    "package",
];

/// A gate with these flags, on a free port.
fn gate(scene: &Scene, flags: &[&str]) -> Gate {
    let words = [&["gate", "--listen", "127.0.0.1:0"], flags].concat();
    Gate::start(scene.call(&words).command())
}

/// A channel with the signed packages `a`, `b` and `c`.
fn published() -> Scene {
    let scene = Scene::of_three();
    scene.index(&[]).exits(0);
    scene
}

/// A signed package of about so many bytes, which don't compress; its path in the channel.
fn big(scene: &Scene, name: &str, bytes: usize) -> String {
    let spec = PackageSpec::new(name, "1.0", "0").payload_size(bytes, bytes as u64);
    scene.put(&spec, Format::Conda)
}

#[test]
fn files_come_whole_and_in_parts() {
    let scene = published();
    let gate = gate(&scene, &PACKAGES);
    for path in [
        "linux-64/repodata.json",
        "linux-64/b-1.0-0.tar.bz2",
        "noarch/repodata.json.zst",
        "linux-64/run_exports.json",
    ] {
        let there = scene.read(&format!("channel/{path}"));
        let reply = gate.get(&format!("main/{path}"));
        assert_eq!((reply.status, &reply.body), (200, &there), "{path}");
        let head = gate.ask("HEAD", &format!("main/{path}"), &[]);
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
        let length = there.len().to_string();
        assert_eq!(
            head.header("content-length"),
            Some(length.as_str()),
            "{path}"
        );
        assert_eq!(head.header("etag"), reply.header("etag"), "{path}");
    }
    let path = "main/linux-64/b-1.0-0.tar.bz2";
    let whole = gate.get(path);
    let tag = whole.header("etag").unwrap();
    for known in [tag, "*", &format!("\"x\", W/{tag}")] {
        let reply = gate.ask("GET", path, &[("If-None-Match", known)]);
        assert_eq!((reply.status, reply.body.len()), (304, 0), "{known}");
    }
    let length = whole.body.len();
    for (range, expected) in [
        ("bytes=0-9", 0..10),
        ("bytes=10-", 10..length),
        ("bytes=-7", length - 7..length),
    ] {
        let reply = gate.ask("GET", path, &[("Range", range)]);
        assert_eq!(reply.status, 206, "{range}");
        let about = format!("bytes {}-{}/{length}", expected.start, expected.end - 1);
        assert_eq!(reply.header("content-range"), Some(about.as_str()));
        assert_eq!(reply.body, whole.body[expected], "{range}");
    }
    let reply = gate.ask("GET", path, &[("Range", "bytes=9999999-")]);
    assert_eq!(reply.status, 416);
    let reply = gate.ask("HEAD", path, &[("Range", "bytes=0-9")]);
    let said = reply.header("content-length").map(str::to_owned);
    assert_eq!((reply.status, said), (200, Some(length.to_string())));
    let reply = gate.ask(
        "GET",
        path,
        &[("Range", "bytes=0-1"), ("If-Range", "\"other\"")],
    );
    assert_eq!((reply.status, reply.body), (200, whole.body));
}

#[test]
fn what_is_not_there_and_what_is_not_asked_so() {
    let scene = published();
    scene.write("secret", "not a file of the channel");
    std::os::unix::fs::symlink(scene.path("secret"), scene.path("channel/noarch/link.json"))
        .unwrap();
    let gate = gate(&scene, &PACKAGES);
    for path in [
        "main/osx-64/repodata.json",
        "main/linux-64/none.json",
        "other/noarch/repodata.json",
        "-/x",
    ] {
        assert_eq!(gate.get(path).status, 404, "{path}");
    }
    for path in [
        "../secret",
        "main/../secret",
        "main/%2e%2e/secret",
        "main/..%2fsecret",
        "main//etc/passwd",
        "main/noarch/link.json",
        "main/noarch/%00",
        "main/noarch\\..\\a",
    ] {
        let reply = gate.get(path);
        assert!(
            reply.status >= 400 && !reply.text().contains("not a file"),
            "{path}: {}",
            reply.status
        );
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let reply = gate.ask(method, "main/noarch/repodata.json", &[]);
        assert_eq!(
            (reply.status, reply.header("allow")),
            (405, Some("GET, HEAD")),
            "{method}"
        );
    }
    // A page whose name was bent to this machine gets nothing.
    let reply = gate.ask(
        "GET",
        "main/noarch/repodata.json",
        &[("Host", "example.org")],
    );
    assert_eq!(reply.status, 421);
    let (status, said) = gate.stop();
    assert_eq!(status, Some(0), "{said}");
}

#[test]
fn a_refusal_says_why_in_three_places() {
    let scene = published();
    let path = scene.put(&PackageSpec::new("unsigned", "1.0", "0"), Format::Conda);
    let gate = gate(&scene, &PACKAGES);
    let reply = gate.get(&format!("main/{path}"));
    assert_eq!(reply.status, 403, "{}", reply.text());
    assert!(
        reply.reason.contains("unsigned-1.0-0.conda"),
        "{}",
        reply.reason
    );
    assert!(
        reply.text().contains(&reply.reason[..30]),
        "{}",
        reply.text()
    );
    let reply = gate.ask(
        "GET",
        &format!("main/{path}"),
        &[("Accept", "application/json")],
    );
    let json: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    assert!(
        json["message"]
            .as_str()
            .unwrap()
            .contains("unsigned-1.0-0.conda"),
        "{json}"
    );
    for page in ["", "main/"] {
        let page = gate.get(page);
        assert!(
            page.header("content-security-policy")
                .unwrap()
                .starts_with("default-src 'none'")
        );
        assert!(
            page.text().contains("unsigned-1.0-0.conda") && page.text().contains("are not stopped")
        );
    }
    let status: serde_json::Value =
        serde_json::from_slice(&gate.get("-/status.json").body).unwrap();
    assert_eq!(status["channels"][0]["require"], "package");
    let refused = status["channels"][0]["refused"].as_object().unwrap();
    assert_eq!(
        refused
            .values()
            .map(|count| count.as_u64().unwrap())
            .sum::<u64>(),
        2
    );
    let (_, said) = gate.stop();
    assert!(
        said.contains("refused: main/linux-64/unsigned-1.0-0.conda: "),
        "{said}"
    );
    assert!(
        said.contains("warning: main: --require package: "),
        "{said}"
    );
}

#[test]
fn without_the_token_there_is_nothing() {
    let scene = published();
    let made = gate(&scene, &[&PACKAGES[..], &["--token", "--verbose"]].concat());
    let path = "main/linux-64/b-1.0-0.tar.bz2";
    assert_eq!(made.get(path).status, 200);
    for at in [
        "/",
        "/main/linux-64/b-1.0-0.tar.bz2",
        "/-/status.json",
        "/t/0000000000000000/main/noarch/repodata.json",
    ] {
        assert_eq!(made.ask_at("GET", at, &[]).status, 404, "{at}");
    }
    let token = made.url.rsplit('/').next().unwrap().to_owned();
    assert_eq!(token.len(), 32, "{}", made.url);
    let (_, said) = made.stop();
    assert!(
        said.contains("served: main/") && !said.contains(&token),
        "{said}"
    );

    let call = scene.call(&[&["gate", "--listen", "127.0.0.1:0"], &PACKAGES[..]].concat());
    let mut call = call.env("SIGINDEX_GATE_TOKEN", "a-secret-of-the-operator");
    let named = Gate::start(call.command());
    assert!(
        named.url.ends_with("/t/a-secret-of-the-operator"),
        "{}",
        named.url
    );
    scene.write("token", "another-secret-of-theirs\n");
    let filed = gate(
        &scene,
        &[&PACKAGES[..], &["--token-file", "token"]].concat(),
    );
    assert!(
        filed.url.ends_with("/t/another-secret-of-theirs"),
        "{}",
        filed.url
    );
    scene.write("token", "bad token/");
    let run = scene.run(&[&["gate", "--token-file", "token"], &PACKAGES[..]].concat());
    run.exits(2).says("letters, digits").never_says("bad token");
}

#[test]
fn words_that_do_not_fit_are_errors() {
    let scene = published();
    let all = ["--channel", "main=channel"];
    for (flags, status, said) in [
        (&[][..], 2, "name a channel with --channel"),
        (&all[..], 2, "--trust main=KEY"),
        (&["--channel", "main"], 2, "there is no = in it"),
        (&["--channel", "a/b=channel"], 2, "is no name for a channel"),
        (&["--channel", "t=channel"], 2, "take another name"),
        (&["--channel", "main=s3://x"], 2, "no s3 URLs"),
        (
            &["--channel", "main=channel", "--channel", "main=channel"],
            2,
            "named twice",
        ),
        (
            &["--channel", "main=channel", "--trust", "other=fixture"],
            2,
            "there is no channel other",
        ),
        (
            &["--channel", "main=channel", "--trust", "main=nobody"],
            2,
            "no public key nobody",
        ),
        (
            &["--channel", "main=channel", "--require", "all"],
            2,
            "take index, package or none",
        ),
        (
            &["--channel", "main=channel", "--trust", "main=fixture"],
            2,
            "fixture signs packages, and vouches for no index",
        ),
        (
            &["--channel", "main=nowhere", "--require", "none"],
            1,
            "nowhere",
        ),
        (
            &[
                "--channel",
                "main=channel",
                "--require",
                "none",
                "--listen",
                "192.0.2.1:1",
            ],
            1,
            "can't listen there",
        ),
        (&["--policy", "none.toml"], 1, "none.toml"),
    ] {
        scene
            .run(&[&["gate"], flags].concat())
            .exits(status)
            .says(said);
    }
    for (text, said) in [
        ("requires = \"none\"\n", "line 1: unknown field `requires`"),
        (
            "[channels.main]\nurl = \"https://user:secret@a\"\nkeys = 1\n",
            "line 3: unknown field `keys`",
        ),
        (
            "[channels.main]\ntrust = []\n",
            "channels.main: it needs either",
        ),
        (
            "[channels.main]\nurl = \"channel\"\n",
            "channels.main: its url is none",
        ),
        (
            "[channels.main]\nfolder = \"channel\"\nrequire = \"all\"\n",
            "channels.main: `all`",
        ),
        (
            "fresh = 86401\n[channels.main]\nfolder = \"channel\"\n",
            "86400 seconds at most",
        ),
        ("channels = 1", "line 1"),
    ] {
        scene.write("policy.toml", text);
        scene
            .run(&["gate", "--policy", "policy.toml"])
            .exits(2)
            .says(said)
            .never_says("secret");
    }
}

#[test]
fn a_policy_says_it_by_channel_and_many_clients_read_them_at_once() {
    let scene = published();
    scene::copy_tree(&scene.path("channel"), &scene.path("sub/second"));
    scene.write(
        "sub/policy.toml",
        "require = \"package\"\n[channels.main]\nfolder = \"../channel\"\ntrust = [\"fixture\"]\n\
         [channels.second]\nfolder = \"second\"\nrequire = \"none\"\n",
    );
    let flags = [
        "--policy",
        "sub/policy.toml",
        "--channel",
        "third=channel",
        "--trust",
        "third=fixture",
    ];
    let gate = gate(&scene, &flags);
    let paths = [
        "linux-64/repodata.json",
        "linux-64/a-1.0-0.conda",
        "linux-64/b-1.0-0.tar.bz2",
        "linux-64/c-1.0-0.conda",
    ];
    let there: Vec<_> = paths
        .iter()
        .map(|path| scene.read(&format!("channel/{path}")))
        .collect();
    std::thread::scope(|scope| {
        for client in 0..16 {
            let (gate, there) = (&gate, &there);
            scope.spawn(move || {
                for turn in 0..12 {
                    let at = (client + turn) % paths.len();
                    let channel = ["main", "second", "third"][turn % 3];
                    let reply = gate.get(&format!("{channel}/{}", paths[at]));
                    assert_eq!(
                        (reply.status, &reply.body),
                        (200, &there[at]),
                        "{channel}/{}",
                        paths[at]
                    );
                }
            });
        }
    });
    let status: serde_json::Value =
        serde_json::from_slice(&gate.get("-/status.json").body).unwrap();
    let require: Vec<_> = (0..3)
        .map(|at| status["channels"][at]["require"].as_str().unwrap())
        .collect();
    assert_eq!(require, ["package", "none", "package"]);
}

#[test]
fn a_large_package_takes_little_memory() {
    let scene = Scene::new();
    let path = big(&scene, "large", 96 << 20);
    scene.index(&[]).exits(0);
    let there = scene.read(&format!("channel/{path}"));
    let gate = gate(&scene, &PACKAGES);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert!(gate.get(&format!("main/{path}")).body == there));
        }
    });
    assert!(gate.peak() < 64 << 20, "{} bytes", gate.peak());
}

#[test]
fn the_cache_is_bounded_and_shared_and_checked() {
    let scene = Scene::new();
    let names = ["p1", "p2", "p3", "p4", "p5", "p6"];
    let paths: Vec<String> = names
        .iter()
        .enumerate()
        .map(|(at, name)| big(&scene, name, 300_000 + at))
        .collect();
    scene.index(&[]).exits(0);
    let flags = [
        &PACKAGES[..],
        &["--cache-dir", "gate", "--cache-size", "1M"],
    ]
    .concat();
    let (one, other) = (gate(&scene, &flags), gate(&scene, &flags));
    for turn in 0..3 {
        for path in &paths {
            let gate = if turn == 1 { &other } else { &one };
            let reply = gate.get(&format!("main/{path}"));
            assert!(
                reply.status == 200 && reply.body == scene.read(&format!("channel/{path}")),
                "{path}"
            );
            let kept = kept(&scene);
            assert!(
                kept.iter().map(|(_, length)| length).sum::<u64>() <= 1 << 20,
                "{kept:?}"
            );
        }
    }
    assert_eq!(scene.mode("gate"), 0o700);
    let (_, said) = (one.stop(), other.stop());
    assert_eq!(said.0, Some(0));
    assert_eq!(
        std::fs::read_dir(scene.path("gate/new")).unwrap().count(),
        0
    );
    // What was changed in the cache meanwhile is not served.
    for (file, _) in kept(&scene) {
        std::fs::write(file, "something else").unwrap();
    }
    let gate = gate(&scene, &flags);
    for path in &paths {
        assert!(gate.get(&format!("main/{path}")).body == scene.read(&format!("channel/{path}")));
    }
    scene.set_mode("gate", 0o755);
    scene
        .run(&[&["gate"], &flags[..]].concat())
        .exits(1)
        .says("is open to others");
}

#[test]
fn a_cache_with_odd_things_in_it_serves_and_ends() {
    let scene = published();
    let flags = [&PACKAGES[..], &["--cache-dir", "gate"]].concat();
    let path = "main/linux-64/b-1.0-0.tar.bz2";
    let there = gate(&scene, &flags).get(path).body;
    for (file, _) in kept(&scene) {
        std::fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink(scene.path("nowhere"), &file).unwrap();
    }
    std::fs::create_dir(scene.path("gate/new/folder")).unwrap();
    let old = std::time::SystemTime::now() - Duration::from_secs(3600);
    let folder = std::fs::File::open(scene.path("gate/new/folder")).unwrap();
    folder.set_modified(old).unwrap();
    let gate = gate(&scene, &flags);
    let reply = gate.get(path);
    assert_eq!(
        (reply.status, &reply.body),
        (200, &there),
        "{}",
        reply.text()
    );
    let (status, said) = gate.stop();
    assert_eq!(status, Some(0), "{said}");
}

#[test]
fn clients_are_told_nothing_of_the_places_of_this_machine() {
    let scene = published();
    let gate = gate(&scene, &[&PACKAGES[..], &["--cache-dir", "gate"]].concat());
    std::fs::remove_dir(scene.path("gate/new")).unwrap();
    let reply = gate.get("main/linux-64/b-1.0-0.tar.bz2");
    assert_eq!(reply.status, 500, "{}", reply.text());
    for text in [&reply.reason, &reply.text()] {
        assert!(
            text.contains("store") && !text.contains("gate/new"),
            "{text}"
        );
    }
    let (_, said) = gate.stop();
    assert!(said.contains("gate/new/"), "{said}");
}

#[test]
fn a_file_url_is_a_folder() {
    let scene = published();
    std::fs::rename(scene.path("channel"), scene.path("my channel")).unwrap();
    let place = scene.path("my channel").display().to_string();
    let channel = format!("main=file://{}", place.replace(' ', "%20"));
    let flags = ["--channel", &channel, "--require", "none"];
    let gate = gate(&scene, &flags);
    assert_eq!(gate.get("main/noarch/repodata.json").status, 200);
}

/// The files in the cache, with their lengths.
#[test]
fn what_is_in_a_channels_url_is_never_said() {
    let scene = published();
    let all = ["--channel", "main=channel"];
    for (flags, status, said) in [
        (
            &["--channel", "https://me:hunter2@h/c"][..],
            2,
            "--channel https://h/c: there is no = in it",
        ),
        (
            &["--channel=https://me:hunter2@h/t/sesame/c"],
            2,
            "https://h/t/***/c: there is no = in it",
        ),
        (
            &["--channel", "https://me:hunter2=x@h/c"],
            2,
            "--channel https://h/c: there is no name",
        ),
        (
            &["--channel", "https://h/t/sesame=/c"],
            2,
            "--channel https://h/t/***/c: there is no name",
        ),
        (
            &["--channel", "main=https:/me:hunter2@h/c"],
            2,
            "https:/h/c: it is no URL",
        ),
        (
            &["--trust", "https://me:hunter2@h/c"],
            2,
            "--trust https://h/c: there is no =",
        ),
        (
            &["--trust", "https://me:hunter2=x@h/c"],
            2,
            "--trust https://h/c: there is no name",
        ),
        (
            &["--trust", "main=https://me:hunter2@h/c"],
            1,
            "`https://h/c` is not a key's name",
        ),
        (
            &["--require", "https://me:hunter2@h/c"],
            2,
            "`https://h/c` is not what",
        ),
        (
            &["--require", "https://me:hunter2=x@h/c"],
            2,
            "--require https://h/c: there is no name",
        ),
    ] {
        for (verb, command) in [("gate", &[][..]), ("exec", &["--", "true"])] {
            let words = [&[verb], &all[..], flags, command].concat();
            let run = scene.run(&words).exits(status).says(said);
            run.never_says("hunter2").never_says("sesame");
        }
    }
    scene
        .run(&["exec", "https://me:hunter2@h/c", "--", "true"])
        .exits(2)
        .never_says("hunter2");
}

fn kept(scene: &Scene) -> Vec<(std::path::PathBuf, u64)> {
    let files = std::fs::read_dir(scene.path("gate/files")).unwrap();
    let about = |path: std::path::PathBuf| Some((path.clone(), path.metadata().ok()?.len()));
    files
        .filter_map(|file| about(file.unwrap().path()))
        .collect()
}

#[test]
fn the_last_answers_finish() {
    let scene = Scene::new();
    let path = big(&scene, "large", 24 << 20);
    scene.index(&[]).exits(0);
    let gate = gate(&scene, &PACKAGES);
    // More than lies in buffers on the way is still to come when the gate is told to end.
    let mut stream = gate.connect();
    stream
        .write_all(gate::head(gate.host(), "GET", &format!("/main/{path}"), &[]).as_bytes())
        .unwrap();
    let mut first = [0; 1];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"H");
    gate.signal(Signal::TERM);
    let began = Instant::now();
    while std::net::TcpStream::connect(gate.host()).is_ok() {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "it still takes clients"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.ends_with(&scene.read(&format!("channel/{path}"))));
    let (status, said) = gate.ended();
    assert_eq!(status, Some(0), "{said}");
}

#[test]
fn a_client_that_says_nothing_sensible_is_let_go() {
    let scene = published();
    let gate = gate(&scene, &PACKAGES);
    for (request, status) in [
        (
            format!(
                "GET /{} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
                "a".repeat(70_000)
            ),
            414,
        ),
        (
            format!(
                "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: {}\r\n\r\n",
                "a".repeat(70_000)
            ),
            431,
        ),
        ("nonsense\r\n\r\n".to_owned(), 400),
    ] {
        let mut stream = gate.connect();
        // It may be let go before all of it was sent.
        let _ = stream.write_all(request.as_bytes());
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(
            said.is_empty()
                || said.starts_with(&format!("HTTP/1.1 {status}"))
                || said.starts_with("HTTP/1.1 4"),
            "{said}"
        );
    }
    assert_eq!(gate.get("main/noarch/repodata.json").status, 200);
}

/// The words of `exec` before the command.
fn exec<'a>(command: &[&'a str]) -> Vec<&'a str> {
    [&["exec"], &PACKAGES[..], &["--"], command].concat()
}

#[test]
fn a_command_runs_behind_a_gate_of_its_own() {
    let scene = published();
    let ran = scene.call(&exec(&[
        "sh",
        "-c",
        "echo \"$1\"; env; cat; exit 7",
        "sh",
        "-c={main}",
    ]));
    let ran = ran
        .env("SIGINDEX_PASSPHRASE", "a passphrase")
        .env("SIGINDEX_INDEX_PRIVATE_KEY", "an index key")
        .env("SIGINDEX_GATE_TOKEN", "0123456789abcdef")
        .env("no_proxy", "example.org")
        .run()
        .exits(7)
        .never_says("a passphrase")
        .never_says("an index key")
        .never_says("0123456789abcdef");
    let channel = ran
        .stdout
        .lines()
        .next()
        .unwrap()
        .strip_prefix("-c=http://127.0.0.1:")
        .unwrap();
    assert!(
        channel.contains("/t/") && channel.ends_with("/main"),
        "{channel}"
    );
    let ran = ran.says("SIGINDEX_GATE_URL=http://127.0.0.1:");
    ran.says("no_proxy=example.org,127.0.0.1")
        .says("NO_PROXY=127.0.0.1");
    let words = [
        &["exec"],
        &PACKAGES[..],
        &["--env", "CONDA_CHANNELS={main}", "--", "env"],
    ]
    .concat();
    scene
        .run(&words)
        .exits(0)
        .says("CONDA_CHANNELS=http://127.0.0.1:");
    scene
        .run(&exec(&["/nowhere/at/all"]))
        .exits(1)
        .says("/nowhere/at/all: can't run it");
    scene.run(&exec(&[])).exits(2);
    scene.run(&exec(&["sh", "-c", "kill -9 $$"])).exits(137);
}

#[test]
fn signals_reach_the_command() {
    let scene = published();
    let script = "trap 'echo told; exit 9' TERM; echo ready; while :; do sleep 0.05; done";
    let mut child = scene.call(&exec(&["sh", "-c", script])).start();
    let mut ready = [0; 6];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut ready)
        .unwrap();
    assert_eq!(&ready, b"ready\n");
    let pid = rustix::process::Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    scene::Run::of(child).exits(9).says("told");
}
