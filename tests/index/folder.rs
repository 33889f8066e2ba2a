//! What may lie in a channel's folder and how it is named: odd kinds of files, links, names, and places
//! that are no channel.

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;

use crate::scene::Scene;
use crate::scene::builder::{Format, PackageSpec};

#[test]
fn a_folder_without_a_subdir_is_an_empty_channel() {
    let scene = Scene::without_key();
    scene
        .index(&[])
        .exits(0)
        .counts("listed", 0)
        .says("no subdir");
    assert_eq!(scene.repodata("noarch")["packages"], serde_json::json!({}));
}

#[test]
fn what_is_no_channel_is_named() {
    let scene = Scene::new();
    scene.write("file", "");
    for place in ["missing", "file", "missing/deeper"] {
        let run = scene.run(&[place]).exits(1);
        run.says(place);
    }
    assert!(!scene.exists("missing"));
    let run = scene.run(&["channel\u{202e}"]).exits(1);
    run.never_says("\u{202e}");
}

#[test]
fn a_folder_called_like_a_subcommand_is_indexed_too() {
    let scene = Scene::of_three();
    crate::scene::copy_tree(&scene.path("channel"), &scene.path("keygen"));
    scene.run(&["./keygen"]).exits(0);
    scene.run(&["index", "keygen"]).exits(0);
    assert!(scene.exists("keygen/linux-64/repodata.json"));
}

#[test]
fn a_package_in_a_folder_that_is_no_subdir_is_warned_of() {
    let scene = Scene::of_three();
    let bytes = scene.read("channel/linux-64/a-1.0-0.conda");
    scene.write("channel/Old_Stuff/a-1.0-0.conda", &bytes);
    scene.write("channel/b-1.0-0.conda", &bytes);
    let run = scene.index(&[]).exits(0).counts("listed", 3);
    run.says("Old_Stuff").says("b-1.0-0.conda");
}

#[test]
fn what_is_no_plain_file_is_skipped_with_a_warning() {
    let scene = Scene::of_three();
    std::fs::create_dir(scene.path("channel/linux-64/folder-1-0.conda")).unwrap();
    let fifo = scene.path("channel/linux-64/fifo-1-0.conda");
    let mode = rustix::fs::Mode::from_raw_mode(0o644);
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let socket = scene.path("channel/linux-64/socket-1-0.tar.bz2");
    let _open = std::os::unix::net::UnixListener::bind(socket).unwrap();
    for ignored in [
        ".hidden-1-0.conda",
        "upload-1-0.conda.part",
        "x-1-0.conda.tmp",
        "readme.txt",
    ] {
        scene.write(&format!("channel/linux-64/{ignored}"), "nothing");
    }
    let run = scene.index(&[]).exits(0).counts("listed", 3);
    let run = run
        .says("folder-1-0.conda")
        .says("fifo-1-0.conda")
        .says("socket-1-0.tar.bz2");
    run.never_says(".hidden").never_says("upload");
}

#[test]
fn links_are_followed_inside_the_channel_only() {
    let scene = Scene::of_three();
    let linux = |name: &str| scene.path("channel/linux-64").join(name);
    let spec = PackageSpec::new("inside", "1.0", "0");
    scene.write("channel/pool/it", spec.conda());
    scene.write(
        "outside.conda",
        PackageSpec::new("outside", "1.0", "0").conda(),
    );
    symlink("../pool/it", linux("inside-1.0-0.conda")).unwrap();
    symlink("../../outside.conda", linux("outside-1.0-0.conda")).unwrap();
    symlink("nowhere", linux("dangling-1.0-0.conda")).unwrap();
    symlink("loop-1.0-0.conda", linux("loop-1.0-0.conda")).unwrap();
    symlink("/dev/zero", linux("zero-1.0-0.conda")).unwrap();
    let bad = ["dangling", "loop", "outside", "zero"];
    let bad = bad.map(|name| format!("linux-64/{name}-1.0-0.conda"));
    scene
        .index(&[])
        .exits(3)
        .has("refused", &bad)
        .counts("listed", 4);
    assert!(scene.is_listed("linux-64/inside-1.0-0.conda"));
    assert!(scene.exists("channel/linux-64/inside-1.0-0.conda.sig"));
}

#[test]
fn links_planted_in_the_place_of_what_is_written_are_not_followed() {
    let scene = Scene::of_three();
    scene.write("victim", "precious");
    for name in ["repodata.json.zst", "repodata.json"] {
        symlink("../../victim", scene.path("channel/linux-64").join(name)).unwrap();
    }
    scene.index(&[]);
    assert_eq!(scene.text("victim"), "precious");
    scene.remove("channel/linux-64/repodata.json");
    scene.index(&[]).exits(0);
    assert_eq!(scene.text("victim"), "precious");
    scene.remove("channel/.sigindex.lock");
    symlink("../victim", scene.path("channel/.sigindex.lock")).unwrap();
    scene.index(&[]).exits(1).says(".sigindex.lock");
    assert_eq!(scene.text("victim"), "precious");
}

#[test]
fn a_subdir_that_is_a_link_is_an_error() {
    let scene = Scene::of_three();
    std::fs::create_dir(scene.path("elsewhere")).unwrap();
    symlink("../elsewhere", scene.path("channel/osx-64")).unwrap();
    scene.index(&[]).exits(1).says("osx-64");
    assert!(!scene.exists("elsewhere/repodata.json"));
}

#[test]
fn names_that_no_index_can_hold_are_refused() {
    let scene = Scene::of_three();
    let bytes = scene.read("channel/linux-64/a-1.0-0.conda");
    let linux = scene.path("channel/linux-64");
    for odd in [&b"n\xff-1.0-0.conda"[..], b"n\xfe-1.0-0.conda"] {
        std::fs::write(linux.join(std::ffi::OsStr::from_bytes(odd)), &bytes).unwrap();
    }
    std::fs::write(linux.join("new\nline-1.0-0.conda"), &bytes).unwrap();
    std::fs::write(linux.join("bidi\u{202e}-1.0-0.conda"), &bytes).unwrap();
    std::fs::write(
        linux.join(format!("{}-1.0-0.conda", "l".repeat(240))),
        &bytes,
    )
    .unwrap();
    let run = scene
        .index(&[])
        .exits(3)
        .counts("refused", 5)
        .counts("listed", 3);
    let refused = run.refusals();
    for odd in [r"linux-64/n\xff-1.0-0.conda", r"linux-64/n\xfe-1.0-0.conda"] {
        assert!(refused[odd].contains("UTF-8"), "{refused:?}");
    }
    run.never_says("\u{202e}").never_says("\u{fffd}");
}

#[test]
fn folders_that_are_no_subdirs_are_named_whatever_their_names_are() {
    let scene = Scene::of_three();
    let bytes = scene.read("channel/linux-64/a-1.0-0.conda");
    for folder in [&b"pool"[..], b"\xff-64", b"\xfe-64", b"a\nb-64"] {
        let folder = scene
            .path("channel")
            .join(std::ffi::OsStr::from_bytes(folder));
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("a-1.0-0.conda"), &bytes).unwrap();
    }
    let stray = std::ffi::OsStr::from_bytes(b"\xff-1.0-0.conda");
    std::fs::write(scene.path("channel").join(stray), &bytes).unwrap();
    let run = scene.index(&[]).exits(0).counts("listed", 3);
    run.says("warning: pool: packages in a folder that has no subdir's name")
        .says("--subdir 'pool'")
        .says(r"warning: \xff-64: a folder whose name is not UTF-8 is not entered")
        .says(r"warning: \xfe-64: ")
        .says(r"warning: a\nb-64: packages in a folder that has no subdir's name are not indexed (1 of them); rename it")
        .says(r"warning: \xff-1.0-0.conda: a package beside the subdirs");
}

#[test]
fn of_names_that_differ_in_case_alone_the_later_is_refused() {
    let scene = Scene::new();
    let lower = scene.put(&PackageSpec::new("same", "1.0", "0"), Format::Conda);
    scene.index(&[]).exits(0);
    let upper = scene.put(&PackageSpec::new("Same", "1.0", "0"), Format::Conda);
    scene.index(&[]).exits(3).refuses(&upper, "case");
    assert!(scene.is_listed(&lower) && !scene.is_listed(&upper));
    let long = scene.put(&PackageSpec::new("\u{17f}ame", "1.0", "0"), Format::Conda);
    let run = scene.index(&[]).exits(3);
    assert!(
        run.refusals()[&long].contains("case"),
        "{:?}",
        run.refusals()
    );
}

#[test]
fn metadata_that_contradicts_its_place_is_listed_on_demand() {
    let scene = Scene::of_three();
    scene.copy_fixture("flawed/name-mismatch");
    scene.copy_fixture("flawed/subdir-mismatch");
    let run = scene.index(&[]).exits(3).counts("listed", 3);
    assert!(
        run.refusals()
            .values()
            .all(|why| why.contains("--allow-mismatch"))
    );
    let run = scene.index(&["--allow-mismatch"]).exits(0);
    run.counts("opened", 2).counts("refused", 0);
}

#[test]
fn a_signature_without_its_package_is_named() {
    let scene = Scene::of_three();
    scene.write("channel/linux-64/gone-1.0-0.conda.sig", "fixture AAAA\n");
    let run = scene.index(&[]).exits(0).says("gone-1.0-0.conda.sig");
    run.says("without its package");
    assert!(scene.exists("channel/linux-64/gone-1.0-0.conda.sig"));
}

#[test]
fn a_channel_that_cannot_be_written_is_a_clear_error() {
    if rustix::process::geteuid().is_root() {
        eprintln!("skipped: root may write everywhere");
        return;
    }
    let scene = Scene::of_three();
    scene.set_mode("channel", 0o555);
    scene.set_mode("channel/linux-64", 0o555);
    let run = scene.index(&[]).exits(1);
    run.says("channel").says("ermission");
    scene.set_mode("channel", 0o000);
    scene.index(&["--dry-run"]).exits(1).says("channel");
    scene.set_mode("channel", 0o755);
    // With an output the packages need only be readable.
    scene
        .index(&["--output", "public"])
        .exits(0)
        .counts("signed", 3);
    scene.set_mode("channel/linux-64", 0o755);
}
