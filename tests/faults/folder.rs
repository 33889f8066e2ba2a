//! The folder: devices, places that may not be read or written, and very many packages, subdirs and long names. Tests that
//! need a user who may not do everything run the binary as one where they are run by root.

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use serde_json::json;

use crate::limits::{MIB, bounded, measured};
use crate::scene::builder::{Format, PackageSpec};
use crate::scene::{Call, Run, Scene};
use crate::shared::skip;

/// The user `nobody`, as most systems have it.
const NOBODY: u32 = 65_534;

#[test]
fn a_device_is_skipped_with_a_warning() {
    let scene = Scene::of_three();
    let device = scene.path("channel/linux-64/device-1-0.conda");
    let zero = makedev(1, 5);
    let mode = Mode::from_raw_mode(0o644);
    if let Err(error) = mknodat(CWD, device, FileType::CharacterDevice, mode, zero) {
        return skip(&format!("no device can be made here: {error}"));
    }
    let run = bounded(&scene, &["channel", "--json"]).exits(0);
    run.counts("listed", 3).says("device-1-0.conda");
}

/// Runs the binary as somebody who may not do everything; `None` where that can't be.
fn as_nobody(scene: &Scene, args: &[&str]) -> Option<Run> {
    call_as_nobody(scene, scene.call(args))
}

fn call_as_nobody(scene: &Scene, mut call: Call) -> Option<Run> {
    if rustix::process::geteuid().is_root() {
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(scene.path(""), open).unwrap();
        for entry in walkdir::WalkDir::new(scene.path("")).min_depth(1) {
            let entry = entry.unwrap();
            chown(entry.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        call.command().uid(NOBODY).gid(NOBODY);
    }
    match call.command().output() {
        Ok(output) => {
            let name = format!("as nobody, {:?}", call.command().get_args());
            Some(Run::new(name, &output))
        }
        Err(error) => {
            skip(&format!("another user can't run the binary: {error}"));
            None
        }
    }
}

#[test]
fn a_channel_that_may_not_be_written_or_entered_is_a_clear_error() {
    for (path, mode, words) in [
        ("channel", 0o555, "channel"),
        ("channel", 0o000, "channel"),
        ("channel", 0o444, "channel"),
        ("channel", 0o666, "channel"),
        ("channel/linux-64", 0o555, "linux-64"),
        ("channel/linux-64", 0o444, "linux-64"),
        ("channel/linux-64", 0o000, "linux-64"),
    ] {
        let scene = Scene::of_three();
        scene.set_mode(path, mode);
        let run = as_nobody(&scene, &["channel"]);
        scene.set_mode(path, 0o755);
        let Some(run) = run else { return };
        run.exits(1).says("ermission").says(words);
        assert!(
            !scene.exists("channel/linux-64/repodata.json"),
            "{path} {mode:o}"
        );
    }
    // A package that may not be read is that one's matter.
    let scene = Scene::of_three();
    scene.set_mode("channel/linux-64/a-1.0-0.conda", 0o000);
    let Some(run) = as_nobody(&scene, &["channel", "--json"]) else {
        return;
    };
    let run = run.exits(3).counts("listed", 2);
    run.refuses("linux-64/a-1.0-0.conda", "ermission");
}

#[test]
fn keygen_into_a_folder_that_may_not_be_written_leaves_nothing() {
    for folder in ["ro", "ro/deeper"] {
        let scene = Scene::without_key();
        std::fs::create_dir(scene.path("ro")).unwrap();
        scene.set_mode("ro", 0o500);
        let Some(run) = as_nobody(&scene, &["keygen", "mine", "--keys-dir", folder]) else {
            return;
        };
        run.exits(1).says("ro");
        assert_eq!(std::fs::read_dir(scene.path("ro")).unwrap().count(), 0);
    }
}

#[test]
fn a_private_key_of_another_user_does_not_sign() {
    let scene = Scene::of_three();
    let key = scene.key_path("fixture");
    let Some(_) = as_nobody(&scene, &["keys"]) else {
        return;
    };
    if chown(&key, Some(NOBODY - 1), Some(NOBODY)).is_err() {
        return skip("only root can give a file away");
    }
    // Whoever runs it: root could read the key, and may not sign with it either.
    let run = scene.run(&["channel"]).exits(1).says("fixture");
    run.says("own");
    assert!(!scene.exists("channel/linux-64/repodata.json"));
}

#[test]
fn a_signing_log_that_may_be_appended_to_and_not_read_is_gone_on_with() {
    let scene = Scene::of_three();
    scene.write("log", "what others wrote");
    scene.set_mode("log", 0o220);
    for more in [&["--dry-run"][..], &[]] {
        let args = [&["channel", "--json", "--signing-log", "log"], more].concat();
        let Some(run) = as_nobody(&scene, &args) else {
            return;
        };
        run.exits(0);
    }
    scene.set_mode("log", 0o600);
    assert_eq!(scene.text("log").lines().count(), 4);
    // What may not be appended to is refused by a plan, too.
    scene.set_mode("log", 0o400);
    let args = ["channel", "--dry-run", "--signing-log", "log"];
    let Some(run) = as_nobody(&scene, &args) else {
        return;
    };
    run.exits(1).says("signing log");
}

/// What a run says that may not read a file; `named` are the variables that name it, or what is asked of it.
#[cfg(any(feature = "object-storage", feature = "postgres"))]
fn unread(args: &[&str], file: &str, named: Option<(&str, &str)>) -> Option<Run> {
    let scene = Scene::of_three();
    scene.write("home/.aws/credentials", "[default]\nrole_arn = arn\n");
    scene.write(file, "");
    scene.set_mode(file, 0o000);
    let mut call = scene.call(args);
    if let Some((variable, value)) = named {
        call = call.env(variable, value);
    }
    call_as_nobody(&scene, call)
}

#[cfg(feature = "object-storage")]
#[test]
fn a_profile_that_may_not_be_read_is_none_where_nobody_asked_for_it() {
    let args = ["verify", "s3://bucket/channel"];
    let file = "home/.aws/config";
    // The keys of the other file are come to.
    let Some(run) = unread(&args, file, None) else {
        return;
    };
    run.exits(1).says("role_arn").never_says("can't be read");
    for named in [("AWS_CONFIG_FILE", file), ("AWS_PROFILE", "default")] {
        let run = unread(&args, file, Some(named)).unwrap().exits(1);
        let run = run.says("config can't be read").says("ermission");
        run.says("AWS_CONFIG_FILE").never_says("AWS_PROFILE,");
    }
}

#[cfg(feature = "postgres")]
#[test]
fn a_file_of_passwords_that_may_not_be_read_is_none_where_nobody_named_it() {
    let args = ["channel", "--cache", "postgres://me@127.0.0.1:1/channels"];
    let file = "home/.pgpass";
    let Some(run) = unread(&args, file, None) else {
        return;
    };
    run.says("see that the server runs").never_says(".pgpass");
    let run = unread(&args, file, Some(("PGPASSFILE", file))).unwrap();
    run.exits(1)
        .says(".pgpass")
        .says("ermission")
        .says("PGPASSFILE");
}

/// Puts so many packages into the channel, each of its own name and in its own subdir where there are several.
fn fill(scene: &Scene, packages: usize, subdir: impl Fn(usize) -> String) {
    for at in 0..packages {
        let text = json!({"name": format!("p{at}"), "version": "1.0", "build": "0", "depends": []});
        let spec = PackageSpec::new(&format!("p{at}"), "1.0", "0")
            .index_json(text.to_string())
            .folder(&subdir(at));
        scene.put(&spec, Format::TarBz2);
    }
}

/// `SIGINDEX_PACKAGES=100000` is the long form.
#[test]
fn very_many_packages_and_subdirs_are_indexed_in_bounded_memory() {
    let set = std::env::var("SIGINDEX_PACKAGES").ok();
    let packages = set.map_or(1_500, |text| text.parse().expect("SIGINDEX_PACKAGES"));
    let scene = Scene::without_key();
    fill(&scene, packages, |_| "linux-64".to_owned());
    let subdirs = (packages / 5).min(1_000);
    fill(&scene, subdirs, |at| format!("os{at}-64"));
    let listed = (packages + subdirs) as u64;
    for opened in [listed, 0] {
        let ran = measured(scene.index_call(&["--no-sign"]), MIB);
        let run = ran.run.exits(0).counts("listed", listed);
        run.counts("opened", opened);
        eprintln!(
            "{packages} packages in a subdir, {subdirs} more subdirs: at most {} MiB resident",
            ran.peak / 1024
        );
    }
}

#[test]
fn the_longest_names_work_and_longer_ones_are_refused_by_name() {
    let scene = Scene::of_three();
    // A signature's name has to fit beside it.
    for (length, fits) in [
        (240, true),
        (250, true),
        (251, true),
        (252, false),
        (255, false),
    ] {
        let name = "n".repeat(length - "-1.0-0.conda".len());
        let path = scene.put(&PackageSpec::new(&name, "1.0", "0"), Format::Conda);
        let run = bounded(&scene, &["channel", "--json"]);
        match fits {
            true => drop(run.exits(0).has("signed", &signed(&path, length == 240))),
            false => drop(run.exits(3).refuses(&path, "")),
        }
        assert_eq!(scene.is_listed(&path), fits, "{length} bytes");
        scene.index(&["--allow-mismatch"]);
        scene.remove(&format!("channel/{path}"));
        let _ = std::fs::remove_file(scene.path(&format!("channel/{path}.sig")));
    }
}

/// What is signed: in the first run the others, too.
fn signed(path: &str, is_first: bool) -> Vec<String> {
    let others = [
        "linux-64/a-1.0-0.conda",
        "linux-64/b-1.0-0.tar.bz2",
        "linux-64/c-1.0-0.conda",
    ];
    let others = others.into_iter().filter(|_| is_first).map(str::to_owned);
    others.chain([path.to_owned()]).collect()
}
