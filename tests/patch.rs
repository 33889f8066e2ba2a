//! Holds repodata patches to where they come from: packages, folders and scripts that a real `python3` runs. It
//! uses the library, and starts this test program anew where the environment is part of the matter.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;

use sigindex::channel::SubdirName;
use sigindex::details::Details;
use sigindex::json::Object;
use sigindex::package::{self, Format, ReadOptions};
use sigindex::patch::{CAPS, Instructions, Source, subdir_of};
use sigindex::repodata::{Document, Listed};

#[path = "support/archive.rs"]
mod archive;
#[path = "support/program.rs"]
mod program;
#[path = "support/shared.rs"]
mod shared;
#[path = "support/zip.rs"]
mod zip;

use archive::{bz2, tar_of, zstd};
use program::{Ran, have};
use shared::shared;

/// Tells this program, started anew, which script to run.
const SCRIPT: &str = "SIGINDEX_TEST_SCRIPT";
/// Stands around what it has to say.
const MARK: &str = "\u{1}";
/// What scripts are given.
const REPODATA: &str = r#"{"big":123456789012345678901234567890,"float":1.5,"text":"ü"}"#;

fn write(path: &Path, text: impl AsRef<[u8]>) -> PathBuf {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
    path.to_owned()
}

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// The instructions for a subdir, where the repodata must not be asked for.
fn given(source: &Source, subdir: &str) -> Option<Instructions> {
    let none = || panic!("only scripts need the repodata");
    source
        .instructions(subdir, &none, &AtomicBool::new(false))
        .unwrap()
}

fn document<'a>(subdir: &'a SubdirName, names: &[&str]) -> Document<'a> {
    let listed = names.iter().map(|name| Listed {
        name: (*name).to_owned(),
        format: Format::of(name).unwrap(),
        record: r#"{"depends":["a"],"features":"f","name":"x"}"#.to_owned(),
        details: Details::default(),
    });
    Document {
        subdir,
        listed: listed.collect(),
        removed: Vec::new(),
        signing_keys: BTreeMap::new(),
        signatures: Object::new(),
    }
}

/// The record of `x.conda` after patches.
fn patched(instructions: &Instructions) -> String {
    let subdir = SubdirName::noarch();
    let mut document = document(&subdir, &["x.conda"]);
    instructions.apply(&mut document);
    document.listed.remove(0).record
}

/// What opening this says.
fn refusal(path: &Path) -> String {
    let said = Source::open(path).unwrap_err().to_string();
    assert!(said.contains(path.to_str().unwrap()), "{said}");
    said
}

#[test]
fn a_package_of_conda_forges_patches_is_applied() {
    let Some(path) = shared("channel/noarch/conda-forge-repodata-patches-20180828-0.tar.bz2")
    else {
        return;
    };
    let source = Source::open(&path).unwrap();
    assert!(given(&source, "linux-aarch64").is_none());
    let options = ReadOptions {
        check_archives: false,
        cancelled: &AtomicBool::new(false),
        progress: &|_| {},
    };
    let file = std::fs::File::open(&path).unwrap();
    let wanted = |path: &str| subdir_of(path).is_some();
    let (_, files) = package::files(&file, "a.tar.bz2", &wanted, CAPS, &options).unwrap();
    assert_eq!(files.len(), 7);
    for (path, text) in &files {
        let subdir = SubdirName::chosen(subdir_of(path).unwrap()).unwrap();
        let text: serde_json::Value = serde_json::from_slice(text).unwrap();
        let (fixes, remove) = (&text["packages"], text["remove"].as_array().unwrap());
        let names = fixes.as_object().unwrap().keys().map(String::as_str);
        let removed = remove.iter().map(|name| name.as_str().unwrap());
        let mut names: Vec<&str> = names.chain(removed).chain(["x-1-0.conda"]).collect();
        names.sort_unstable();
        names.dedup();
        let mut document = document(&subdir, &names);
        let applied = given(&source, subdir.as_str())
            .unwrap()
            .apply(&mut document);
        assert_eq!(applied.report.removed.len(), remove.len());
        assert_eq!(document.listed.len() + remove.len(), names.len());
        assert!(applied.report.unmatched.is_empty() && applied.report.ignored.is_empty());
        for one in document.listed.iter().chain(&applied.taken) {
            let record: serde_json::Value = serde_json::from_str(&one.record).unwrap();
            for (key, value) in fixes[&one.name].as_object().into_iter().flatten() {
                assert_eq!(&record[key], value, "{} {key}", one.name);
                assert!(!value.is_null() || record.get(key).is_none());
            }
        }
    }
}

#[test]
fn packages_of_both_formats_hold_instructions() {
    let folder = scratch();
    let text = |license: &str| {
        format!(r#"{{"packages":{{"x.tar.bz2":{{"license":"{license}"}}}}}}"#).into_bytes()
    };
    let (noarch, linux) = (text("N"), text("L"));
    let tar = tar_of(&[
        ("./noarch/patch_instructions.json", &noarch),
        ("linux-64/patch_instructions.json", &linux),
        ("info/index.json", b"{}"),
    ]);
    let none = tar_of(&[("info/index.json", b"{}")]);
    let conda = |pkg: &[u8]| {
        zip::zip_stored(&[
            ("metadata.json", br#"{"conda_pkg_format_version":2}"#),
            ("pkg-p-1-0.tar.zst", &zstd(pkg, 3)),
            ("info-p-1-0.tar.zst", &zstd(&none, 3)),
        ])
    };
    for (name, bytes, empty) in [
        ("p-1-0.tar.bz2", bz2(&tar, 9), bz2(&none, 9)),
        (
            "p-1-0.conda",
            conda(&tar_of(&[
                ("linux-64/patch_instructions.json", &linux),
                ("noarch/patch_instructions.json", &noarch),
            ])),
            conda(&tar_of(&[])),
        ),
    ] {
        let path = write(&folder.path().join(name), bytes);
        let source = Source::open(&path).unwrap();
        let noarch = given(&source, "noarch").unwrap();
        assert!(
            noarch
                .source()
                .ends_with(&format!("{name}: noarch/patch_instructions.json"))
        );
        assert!(patched(&noarch).contains(r#""license":"N""#));
        assert!(patched(&given(&source, "linux-64").unwrap()).contains(r#""license":"L""#));
        assert!(given(&source, "info").is_none());
        write(&path, empty);
        assert!(refusal(&path).contains("it holds no SUBDIR/patch_instructions.json"));
        write(&path, b"text");
        assert!(refusal(&path).contains("can't take repodata patches from it: it is not a"));
    }
}

#[test]
fn a_folder_holds_instructions() {
    let folder = scratch();
    let at = |path: &str| folder.path().join(path);
    assert!(refusal(folder.path()).contains("it holds no SUBDIR/"));
    write(
        &at("noarch/patch_instructions.json"),
        r#"{"remove":["x.conda"]}"#,
    );
    write(&at(".git/patch_instructions.json"), "not JSON");
    write(&at("README"), "text");
    write(&at("osx-64/other.json"), "not JSON");
    write(&at("elsewhere/linux.json"), r#"{"zlib":{}}"#);
    std::fs::create_dir(at("linux-64")).unwrap();
    let link = at("linux-64/patch_instructions.json");
    std::os::unix::fs::symlink("../elsewhere/linux.json", &link).unwrap();
    let source = Source::open(folder.path()).unwrap();
    assert!(!given(&source, "noarch").unwrap().is_empty());
    assert!(given(&source, "linux-64").unwrap().is_empty());
    for subdir in [".git", "osx-64", "README", "elsewhere"] {
        assert!(given(&source, subdir).is_none(), "{subdir}");
    }
    write(&at("noarch/patch_instructions.json"), "{");
    assert!(refusal(folder.path()).contains("noarch/patch_instructions.json: can't use"));
    let large = std::fs::File::create(at("noarch/patch_instructions.json")).unwrap();
    large.set_len(CAPS.each + 1).unwrap();
    assert!(refusal(folder.path()).contains("it is too large; a file may have 64 MiB"));
    std::fs::remove_file(at("noarch/patch_instructions.json")).unwrap();
    std::fs::remove_file(at("elsewhere/linux.json")).unwrap();
    assert!(refusal(folder.path()).contains("linux-64/patch_instructions.json: can't read"));
}

#[test]
fn what_is_no_source_is_refused() {
    let folder = scratch();
    let at = |path: &str| folder.path().join(path);
    assert!(refusal(&at("none.py")).contains("No such file"));
    assert!(refusal(&write(&at("a.json"), "{}")).contains("name a package"));
    for name in ["a.py", "a.conda"] {
        let fifo = at(name);
        let path = fifo.to_str().unwrap().to_owned();
        Ran::of(Command::new("mkfifo").arg(&path)).demand(0);
        assert!(refusal(&fifo).contains("not a regular file"), "{name}");
    }
    let none = Source::of_files("p.conda", BTreeMap::new()).unwrap_err();
    assert!(none.to_string().starts_with("p.conda: can't take"));
    let broken = BTreeMap::from([("noarch".to_owned(), b"[]".to_vec())]);
    let broken = Source::of_files("p.conda", broken).unwrap_err();
    assert!(
        broken
            .to_string()
            .starts_with("p.conda: noarch/patch_instructions.json: can't use")
    );
}

/// What a script gives for `noarch`, or what it fails with.
fn run(script: &Path, repodata: &[u8]) -> Result<Instructions, String> {
    let source = Source::open(script).map_err(|error| error.to_string())?;
    match source.instructions("noarch", &|| repodata.to_vec(), &AtomicBool::new(false)) {
        Ok(instructions) => Ok(instructions.unwrap()),
        Err(error) => Err(error.to_string()),
    }
}

/// No test of itself: what [`anew`] runs. Says the record of `x.conda` after patches, or why there is none.
#[test]
fn as_told_by_the_environment() {
    if let Some(script) = std::env::var_os(SCRIPT) {
        use std::io::Write as _;
        let said = match run(Path::new(&script), REPODATA.as_bytes()) {
            Ok(instructions) => format!("{} {}", instructions.source(), patched(&instructions)),
            Err(said) => said,
        };
        let mut stdout = std::io::stdout();
        write!(stdout, "{MARK}{said}{MARK}").unwrap();
    }
}

/// This program, ready to run a script in a folder. What the script prints does not meet the tests' own words so.
fn anew(script: &Path, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "as_told_by_the_environment", "--nocapture"])
        .env(SCRIPT, script)
        .current_dir(folder);
    command
}

/// What came of a script, and what was printed meanwhile.
fn outcome(command: &mut Command) -> (String, String) {
    let ran = Ran::of(command).demand(0);
    let said = ran.stdout.split(MARK).nth(1);
    (said.expect(&ran.stdout).to_owned(), ran.stderr)
}

fn python() -> bool {
    have("python3", "--version")
}

#[test]
fn a_script_patches_what_it_is_given() {
    if !python() {
        return;
    }
    let folder = scratch();
    let script = write(
        &folder.path().join("gen ü.py"),
        r#"
import os, sys
print("said while it is loaded")
os.system("echo by another program")
print("more", file=sys.__stdout__, flush=True)
sys.stdout.buffer.write(b"bytes\n")
def _patch_repodata(repodata, subdir):
    print("x" * 1_000_000)
    assert __name__ != "__main__" and sys.stdin.read() == ""
    fix = {"of": [subdir, repodata["big"], repodata["float"], repodata["text"]]}
    return {"packages": {"x.tar.bz2": fix}}
"#,
    );
    let (said, printed) = outcome(&mut anew(&script, folder.path()));
    assert!(said.contains("gen ü.py: noarch {"), "{said}");
    let of = r#""of":["noarch",123456789012345678901234567890,1.5,"\u00fc"]"#;
    assert!(said.contains(of), "{said}");
    for words in ["said while", "by another", "more", "bytes", "xxxxxx"] {
        assert!(printed.contains(words), "{words}");
    }
    assert!(!folder.path().join("__pycache__").exists());
}

#[test]
fn much_goes_both_ways() {
    if !python() {
        return;
    }
    let folder = scratch();
    // Says much, leaves a child behind that holds all files open, and passes on what it got.
    let script = write(
        &folder.path().join("gen.py"),
        r#"
import os, sys, time
def _patch_repodata(repodata, subdir):
    if os.fork() == 0:
        os.close(2) # so that nobody waits for this one
        time.sleep(60)
        os._exit(0)
    return {"remove": repodata["names"]}
"#,
    );
    let names: Vec<String> = (0..500_000)
        .map(|at| format!("package-{at}-1.0-0.conda"))
        .collect();
    let repodata = serde_json::to_vec(&serde_json::json!({ "names": names })).unwrap();
    let start = std::time::Instant::now();
    let instructions = run(&script, &repodata).unwrap();
    assert!(start.elapsed().as_secs() < 50);
    let subdir = SubdirName::noarch();
    let report = instructions
        .apply(&mut document(&subdir, &["package-499999-1.0-0.conda"]))
        .report;
    assert_eq!((report.removed.len(), report.unmatched.len()), (1, 499_999));
}

#[test]
fn a_script_that_fails_says_why() {
    if !python() {
        return;
    }
    let folder = scratch();
    let script = folder.path().join("gen.py");
    let said = || outcome(&mut anew(&script, folder.path())).0;
    let ended = "the script ended with exit status: 1; it said at last:";
    for (body, says) in [
        (
            "raise ValueError('\\x1b[2J bad')",
            r"ValueError: \u{1b}[2J bad",
        ),
        ("print('told you'); raise SystemExit(3)", "told you"),
        (
            "import sys; print('told', file=sys.stderr); sys.exit()",
            "told",
        ),
        ("import sys; sys.stdout = None; x", "NameError"),
        (
            "return None",
            "_patch_repodata returned NoneType, not a dict",
        ),
        ("return {'revoke': {'a'}}", "set is not JSON serializable"),
        ("return {'a': float('nan')}", "not JSON compliant"),
        ("import neighbour", "No module named 'neighbour'"),
    ] {
        write(&folder.path().join("neighbour.py"), "");
        write(
            &script,
            format!("def _patch_repodata(repodata, subdir):\n    {body}\n"),
        );
        let said = said();
        assert!(
            said.contains(says) && said.contains(ended),
            "{body}: {said}"
        );
        let path = script.to_str().unwrap();
        let start = format!("{path}: can't make the repodata patches for noarch: ");
        assert!(said.starts_with(&start), "{said}");
        assert!(
            !said.contains('\u{1b}') && said.lines().count() < 15,
            "{said}"
        );
    }
    for (text, says) in [
        ("def", "SyntaxError"),
        ("", "no attribute '_patch_repodata'"),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            "signal: 9",
        ),
        (
            "import os; os._exit(7)",
            "exit status: 7; what it printed stands above",
        ),
    ] {
        write(&script, text);
        let said = said();
        assert!(said.contains(says), "{text}: {said}");
    }
    for (body, says) in [
        ("import os; os._exit(0)", "not valid JSON"),
        (
            "return {'patch_instructions_version': 3}",
            "only 1 and 2 are known",
        ),
        ("return {'packages': []}", "`packages` is not an object"),
    ] {
        write(
            &script,
            format!("def _patch_repodata(repodata, subdir):\n    {body}\n"),
        );
        let said = said();
        let path = script.to_str().unwrap();
        assert!(
            said.starts_with(&format!("{path}: noarch: can't use")),
            "{said}"
        );
        assert!(said.contains(says), "{body}: {said}");
    }
    write(
        &script,
        "def _patch_repodata(repodata, subdir):\n    return {}\n",
    );
    assert!(run(&script, b"{}").unwrap().is_empty());
}

#[test]
fn a_script_sees_the_environment_and_no_secrets() {
    if !python() {
        return;
    }
    let folder = scratch();
    let script = write(
        &folder.path().join("gen.py"),
        "import json, os, sys, uuid\nprint('to people')\ndef _patch_repodata(repodata, subdir):\n    names = sorted(n \
         for n in os.environ if n.startswith('SIGINDEX_'))\n    return {'packages': {'x.conda': {'names': names, 'path': \
         sys.path, 'argv': len(sys.argv)}}}\n",
    );
    // Neither stands in for a module of Python's own.
    for planted in ["json.py", "traceback.py", "uuid.py"] {
        write(&folder.path().join(planted), "raise SystemExit('planted')");
    }
    let (said, printed) = outcome(
        anew(&script, folder.path())
            .env("SIGINDEX_PASSPHRASE", "secret")
            .env("SIGINDEX_PRIVATE_KEY", "secret")
            .env("SIGINDEX_KEY_NAME", "K")
            .env("PYTHONPATH", "/of/the/operator"),
    );
    assert!(said.contains(r#""SIGINDEX_KEY_NAME""#), "{said}");
    for secret in ["SIGINDEX_PASSPHRASE", "SIGINDEX_PRIVATE_KEY", "planted"] {
        assert!(!said.contains(secret), "{said}");
    }
    assert!(said.contains(r#""path":["/of/the/operator","#), "{said}");
    assert!(said.contains(r#""argv":1"#), "{said}");
    assert!(printed.contains("to people") && !said.contains("to people"));
}

#[test]
fn without_python_it_is_said_what_to_install() {
    let folder = scratch();
    let script = write(&folder.path().join("gen.py"), "");
    let (said, _) = outcome(anew(&script, folder.path()).env("PATH", folder.path()));
    let says = "there is no python3 to run it with; install Python 3";
    assert!(said.contains(says), "{said}");
}
