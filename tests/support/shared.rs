//! The folder of reference material beside a checkout: real packages, other tools' indexes of them, and
//! signatures in the historic format. It owns where that folder is, and says so where it is not, since a
//! user's machine has none. It must not know what is tested with it.
#![allow(dead_code)]

use std::path::{Path, PathBuf};

/// A path in the folder: `$SIGINDEX_SHARED` where it is set, else `../shared`. Where it is absent, says which
/// test is skipped, and gives `None`.
pub fn shared(path: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("SIGINDEX_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"),
        PathBuf::from,
    );
    let found = folder.join(path);
    if found.exists() {
        return Some(found);
    }
    skip(&format!("{} is not there", found.display()));
    None
}

/// Says that the current test is skipped, and why: to stderr itself, since the harness hides what the
/// macros print in a test that passes.
pub fn skip(why: &str) {
    use std::io::Write as _;
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("a test");
    let _ = std::io::stderr().write_all(format!("skipped: {name}: {why}\n").as_bytes());
}

/// Says that the current test is skipped for want of a program that others wrote. In CI it has to be there.
pub fn not_to_be_had(program: &str, why: &str) {
    let in_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(
        !in_ci,
        "{program} is not to be had, and in CI it must be: {why}"
    );
    skip(&format!("{program} is not to be had: {why}"));
}

/// What was installed, or nothing, with what [`not_to_be_had`] says.
pub fn demand<T>(program: &str, installed: Result<T, String>) -> Option<T> {
    installed.map_err(|why| not_to_be_had(program, &why)).ok()
}

/// Copies a folder with all that is below it; the copies can be written.
pub fn copy_folder(from: &Path, to: &Path) {
    for entry in walkdir::WalkDir::new(from) {
        let entry = entry.unwrap();
        let place = to.join(entry.path().strip_prefix(from).unwrap());
        if entry.file_type().is_dir() {
            std::fs::create_dir_all(&place).unwrap();
        } else {
            std::fs::write(&place, std::fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}

/// Copies a folder of keys, with the modes that are demanded of one.
pub fn copy_keys(from: &Path, to: &Path) {
    use std::os::unix::fs::PermissionsExt;
    copy_folder(from, to);
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(to, 0o700);
    for entry in std::fs::read_dir(to).unwrap() {
        mode(&entry.unwrap().path(), 0o600);
    }
}
