//! Holds the real binary against signatures and keys in the format that `conda sign` wrote from 2015 on, made
//! by the library that it used: theirs verify here, and ours by OpenSSL there. The folders' names say what
//! must come out.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice
)]

use std::path::{Path, PathBuf};

#[path = "support/program.rs"]
mod program;
#[path = "support/shared.rs"]
mod shared;

use program::{Home, have, openssl_verifies};
use shared::{copy_folder, copy_keys, shared};

/// The passphrase of the key `Sealed`.
const PASSPHRASE: &str = "correct horse";
/// A folder of this name beginning holds signatures by a key below the usual limit.
const WEAK: &str = "valid-1024";

/// A home with a copy of the vectors, whose keys are where the program looks for them.
fn vectors() -> Option<(Home, PathBuf)> {
    let from = shared("legacy")?;
    let home = Home::new();
    let vectors = home.path("legacy");
    copy_folder(&from, &vectors);
    copy_keys(&from.join("keys"), &home.keys());
    Some((home, vectors))
}

/// The folders of the vectors with the packages in each, keys aside.
fn cases(vectors: &Path) -> Vec<(String, Vec<PathBuf>)> {
    let mut cases = Vec::new();
    for entry in std::fs::read_dir(vectors).unwrap() {
        let folder = entry.unwrap().path();
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        if folder.is_dir() && name != "keys" {
            let files = std::fs::read_dir(&folder).unwrap();
            let mut packages: Vec<_> = files.map(|file| file.unwrap().path()).collect();
            packages.retain(|path| path.extension().is_some_and(|end| end == "bz2"));
            packages.sort();
            assert!(!packages.is_empty(), "{name} has no packages");
            cases.push((name, packages));
        }
    }
    cases.sort();
    assert!(cases.len() >= 20, "only {} folders", cases.len());
    cases
}

/// The beginning of the verdict that the folder's name promises.
fn promised(folder: &str) -> &'static str {
    match folder.split_once('-').unwrap().0 {
        "valid" if folder.starts_with(WEAK) => "ERROR: weak key",
        "valid" => "VALID",
        "invalid" => "INVALID",
        "error" => "ERROR: ",
        other => panic!("{folder}: {other} promises nothing"),
    }
}

/// The line of a file: its name padded to 40 columns, a space, the verdict.
fn verdict<'a>(line: &'a str, file: &Path) -> &'a str {
    let start = format!("{:<40} ", file.display());
    line.strip_prefix(&start)
        .unwrap_or_else(|| panic!("{line:?} does not begin with {start:?}"))
}

#[test]
fn the_folders_name_says_what_comes_out() {
    let Some((home, vectors)) = vectors() else {
        return;
    };
    let mut wrong = Vec::new();
    for (folder, packages) in cases(&vectors) {
        let promise = promised(&folder);
        let status = i32::from(promise != "VALID");
        let mut words = vec![PathBuf::from("verify")];
        words.extend(packages.iter().cloned());
        let ran = home.run(status, words);
        assert_eq!(ran.stdout.lines().count(), packages.len(), "{folder}");
        for (line, file) in ran.stdout.lines().zip(&packages) {
            let verdict = verdict(line, file);
            let exact = promise.ends_with("VALID");
            if (exact && verdict != promise) || !verdict.starts_with(promise) {
                wrong.push(format!("{folder}: {verdict}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn each_error_says_which() {
    let Some((home, vectors)) = vectors() else {
        return;
    };
    for (folder, why) in [
        ("error-bad-base64", "base64"),
        ("error-empty", "empty"),
        ("error-no-signature", "no signature"),
        ("error-one-token", "wrong number of words (1)"),
        ("error-path-in-key-name", "not a key's name"),
        ("error-three-tokens", "wrong number of words (3)"),
        ("error-unknown-key", "unknown key Nobody"),
    ] {
        let file = vectors.join(folder).join("zlib-1.2.11-h7b6447c_3.tar.bz2");
        let ran = home.run(1, [Path::new("verify"), &file]);
        let verdict = verdict(ran.stdout.trim_end(), &file);
        assert!(verdict.contains(why), "{folder}: {verdict}");
    }
}

#[test]
fn a_weak_key_is_accepted_when_the_limit_is_lowered() {
    let Some((home, vectors)) = vectors() else {
        return;
    };
    for (_, packages) in cases(&vectors)
        .iter()
        .filter(|(name, _)| name.starts_with(WEAK))
    {
        for file in packages {
            let file = file.to_str().unwrap();
            let ran = home.run(0, ["verify", "--min-bits", "1024", file]);
            assert_eq!(ran.stdout, format!("{file:<40} VALID\n"));
            home.run(1, ["verify", "--min-bits", "1032", file]);
        }
    }
}

#[test]
fn a_short_name_is_padded_to_forty_columns() {
    let Some((home, vectors)) = vectors() else {
        return;
    };
    let folder = vectors.join("valid-2048");
    let keys = home.keys();
    let words = [
        "verify",
        "--keys-dir",
        keys.to_str().unwrap(),
        "flask-0.11.1-py_0.tar.bz2",
    ];
    let mut command = home.sigindex(words);
    let ran = program::Ran::of(command.current_dir(folder)).demand(0);
    assert_eq!(
        ran.stdout,
        "flask-0.11.1-py_0.tar.bz2                VALID\n"
    );
}

#[test]
fn a_channel_of_such_signatures_keeps_them_all() {
    let Some((home, vectors)) = vectors() else {
        return;
    };
    let channel = home.path("channel");
    copy_folder(&vectors.join("valid-2048"), &channel.join("linux-64"));
    let zlib = channel.join("linux-64/zlib-1.2.11-h7b6447c_3.tar.bz2");
    let sig = PathBuf::from(format!("{}.sig", zlib.display()));
    let before = std::fs::read(&sig).unwrap();
    // flask is a noarch package.
    let report = home.index(0, &channel, &["--allow-mismatch"]);
    assert_eq!(report["counts"]["kept"], 2, "{report}");
    assert_eq!(report["counts"]["signed"], 0, "{report}");
    assert!(std::fs::read(&sig).unwrap() == before);
}

/// Signs by each private key of the vectors, and gives the keys folder with what was signed.
fn signed_by_each(home: &Home) -> Vec<(String, PathBuf)> {
    let mut signed = Vec::new();
    for name in ["MyKey", "Other", "Big", "Small", "Sealed"] {
        let file = home.path(&format!("signed-by-{name}"));
        std::fs::write(&file, format!("any file at all, signed by {name}\n")).unwrap();
        let words = [
            "sign",
            "--key",
            name,
            "--min-bits",
            "1024",
            file.to_str().unwrap(),
        ];
        let mut command = home.sigindex(words);
        command.env("SIGINDEX_PASSPHRASE", PASSPHRASE);
        program::Ran::of(&mut command).demand(0);
        signed.push((name.to_owned(), file));
    }
    signed
}

#[test]
fn what_their_keys_sign_here_openssl_verifies() {
    let Some((home, _)) = vectors() else {
        return;
    };
    if !have("openssl", "version") {
        return;
    }
    let scratch = home.path("scratch");
    std::fs::create_dir(&scratch).unwrap();
    let signed = signed_by_each(&home);
    for (name, file) in &signed {
        let public = home.keys().join(format!("{name}.pub"));
        assert!(openssl_verifies(file, &public, &scratch), "{name}");
        std::fs::write(file, "something else").unwrap();
        assert!(!openssl_verifies(file, &public, &scratch), "{name}");
    }
}

#[test]
fn what_their_keys_sign_has_the_historic_form() {
    let Some((home, _)) = vectors() else {
        return;
    };
    for (name, file) in signed_by_each(&home) {
        let sig = std::fs::read_to_string(format!("{}.sig", file.display())).unwrap();
        let (key, base64) = sig.strip_suffix('\n').unwrap().split_once(' ').unwrap();
        assert_eq!(key, name);
        assert!(
            base64
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte)),
            "{sig}"
        );
        let file = file.to_str().unwrap();
        home.run(0, ["verify", "--min-bits", "1024", file]);
    }
}

#[test]
fn a_wrong_passphrase_signs_nothing() {
    let Some((home, _)) = vectors() else {
        return;
    };
    let file = home.path("file");
    std::fs::write(&file, "x").unwrap();
    let mut command = home.sigindex(["sign", "--key", "Sealed", file.to_str().unwrap()]);
    command.env("SIGINDEX_PASSPHRASE", "wrong horse");
    let ran = program::Ran::of(&mut command).demand(1);
    assert!(
        ran.stderr.contains("Sealed") && ran.stderr.contains("passphrase"),
        "{}",
        ran.stderr
    );
    assert!(!home.path("file.sig").exists());
}
