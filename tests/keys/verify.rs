//! `verify`: a line for each file; `.sig` files that are none.

use std::os::unix::fs::symlink;

use crate::scene::Scene;
use crate::signed;

#[test]
fn verify_prints_a_line_for_each_file() {
    let scene = signed();
    scene.write("changed", "x");
    scene.run(&["sign", "changed"]).exits(0);
    scene.write("changed", "y");
    scene.write("unsigned", "");
    let run = scene
        .run(&["verify", "data", "changed", "unsigned", "missing"])
        .exits(1);
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(lines[0], format!("{:<40} VALID", "data"));
    assert_eq!(lines[1], format!("{:<40} INVALID", "changed"));
    assert!(
        lines[2].starts_with(&format!("{:<40} ERROR: ", "unsigned")),
        "{}",
        lines[2]
    );
    assert!(
        lines[3].starts_with(&format!("{:<40} ERROR: ", "missing")),
        "{}",
        lines[3]
    );
    assert_eq!(lines.len(), 4);
    let run = scene.run(&["verify", "-q", "data"]).exits(0);
    assert_eq!(run.stdout, "");
}

#[test]
fn verify_takes_a_channel() {
    let scene = Scene::of_three();
    scene.index(&[]).exits(0);
    let run = scene.run(&["verify", "-v", "channel"]).exits(0);
    for package in ["a-1.0-0.conda", "b-1.0-0.tar.bz2", "c-1.0-0.conda"] {
        let line = format!("channel/linux-64/{package}");
        let valid = |it: &str| it.starts_with(&line) && it.ends_with(" VALID");
        assert_eq!(run.stdout.lines().filter(|it| valid(it)).count(), 1);
    }
    scene.change("linux-64/a-1.0-0.conda");
    let run = scene.run(&["verify", "channel"]).exits(1);
    run.says(" INVALID").says("channel/linux-64/a-1.0-0.conda");
    scene.package("d");
    scene
        .run(&["verify", "channel"])
        .exits(1)
        .says("ERROR: no index lists it");
    // Trusts no cache: a key that is gone is gone.
    scene.take_key("fixture");
    scene
        .run(&["verify", "channel"])
        .exits(1)
        .says("ERROR: unknown key");
    std::fs::create_dir(scene.path("empty")).unwrap();
    scene.run(&["verify", "empty"]).exits(1).says("ERROR: ");
}

#[test]
fn a_sig_file_that_is_none_is_an_error() {
    let scene = signed();
    let sig = scene.text("data.sig");
    let (name, value) = sig.trim_end().split_once(' ').unwrap();
    let unpadded = value.trim_end_matches('=');
    for (wrong, why) in [
        (String::new(), "empty"),
        ("fixture\n".to_owned(), "words"),
        (format!("{name} {value} {value}\n"), "words"),
        (format!("../x {value}\n"), "not a key's name"),
        (format!("/tmp/x {value}\n"), "not a key's name"),
        (format!("a\0b {value}\n"), "one line"),
        (format!("a\nb {value}\n"), "one line"),
        (format!("{name} {unpadded}\n"), "base64"),
        (format!("{name} {value}\n\n"), "one line"),
        (format!("{name}\t{value}\n"), "one line"),
        (format!("{name} {}\n", "A".repeat(10_000)), "8 KiB"),
        (format!("nobody {value}\n"), "unknown key"),
    ] {
        scene.write("data.sig", &wrong);
        let run = scene
            .run(&["verify", "data"])
            .exits(1)
            .says("ERROR: ")
            .says(why);
        assert_eq!(run.stdout.lines().count(), 1, "{}", run.stdout);
    }
    for right in [format!("{name} {value}"), format!("{name} {value}\r\n")] {
        scene.write("data.sig", right);
        scene.run(&["verify", "data"]).exits(0);
    }
    scene.write("data.sig", format!("{name} {}\n", &value[..340]));
    scene.run(&["verify", "data"]).exits(1).never_says(" VALID");
}

#[test]
fn a_sig_file_that_is_no_file_is_an_error() {
    let scene = signed();
    let sig = scene.read("data.sig");
    scene.remove("data.sig");
    std::fs::create_dir(scene.path("data.sig")).unwrap();
    scene.run(&["verify", "data"]).exits(1).says("ERROR: ");
    scene.remove("data.sig");
    scene.write("elsewhere/data.sig", sig);
    scene.write("inside/data", scene.read("data"));
    symlink("../elsewhere/data.sig", scene.path("inside/data.sig")).unwrap();
    scene
        .run(&["verify", "inside/data"])
        .exits(1)
        .says("ERROR: ");
    symlink("data.sig", scene.path("data.sig")).unwrap();
    scene.run(&["verify", "data"]).exits(1).says("ERROR: ");
    // Huge, and not read.
    scene.remove("data.sig");
    std::fs::File::create(scene.path("data.sig"))
        .unwrap()
        .set_len(1 << 40)
        .unwrap();
    scene.run(&["verify", "data"]).exits(1).says("8 KiB");
}
