//! Somebody who uploads, as people and their tools do: slowly and in pieces, also under the final name; by renaming;
//! over what is there; who deletes, touches, restores times, and spoils signatures.

use std::fs::{File, FileTimes, OpenOptions};
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use crate::field::Field;
use crate::library::{CONTENTS, Package, library};
use crate::scene::builder::Random;

/// Uploads until it is to stop; how often.
pub fn upload(field: &Field, mut chance: Random, calm: bool, stop: &AtomicBool) -> usize {
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        let package = &library()[chance.below(library().len() as u64) as usize];
        match calm {
            true => calmly(field, package, &mut chance),
            false => wildly(field, package, &mut chance),
        }
        count += 1;
        std::thread::sleep(Duration::from_micros(chance.below(12_000)));
    }
    count
}

/// Only what leaves each signature right: new packages, and those that go.
fn calmly(field: &Field, package: &Package, chance: &mut Random) {
    let there = field.scene.exists(&format!("channel/{}", package.path));
    match chance.below(3) {
        0 if there => field.take(&package.path),
        1 if there => touch(field, package),
        // Under a name that has been published only the same bytes come back.
        _ if !there => field.put(&package.path, 0),
        _ => {}
    }
}

fn wildly(field: &Field, package: &Package, chance: &mut Random) {
    let content = chance.below(CONTENTS as u64) as usize;
    let path = package.path.as_str();
    match chance.below(14) {
        0..=2 => field.put(path, content),
        3..=4 => in_pieces(field, package, content, chance),
        5 => in_pieces_beside(field, package, content, chance),
        6 => field.take(path),
        7 => delete_alone(field, package),
        8 => touch(field, package),
        9 => with_the_old_times(field, package, content),
        10 => spoil(field, package, chance),
        11..=12 => sign(field, package, content, chance),
        _ => field.history.touch(path, || {
            let _ = std::fs::remove_file(sig(field, package));
        }),
    }
}

fn place(field: &Field, package: &Package) -> std::path::PathBuf {
    field.scene.path("channel").join(&package.path)
}

fn sig(field: &Field, package: &Package) -> std::path::PathBuf {
    field.scene.path(&format!("channel/{}.sig", package.path))
}

/// Writes a file in pieces, with a rest after each.
fn slowly(file: &mut File, bytes: &[u8], chance: &mut Random) {
    let piece = bytes.len() / (1 + chance.below(4) as usize) + 1;
    for piece in bytes.chunks(piece) {
        file.write_all(piece).unwrap();
        std::thread::sleep(Duration::from_micros(chance.below(30_000)));
    }
}

fn in_pieces(field: &Field, package: &Package, content: usize, chance: &mut Random) {
    let bytes = &package.contents[content].bytes;
    field.history.change(&package.path, Some(bytes), || {
        let mut file = File::create(place(field, package)).unwrap();
        slowly(&mut file, bytes, chance);
    });
}

fn in_pieces_beside(field: &Field, package: &Package, content: usize, chance: &mut Random) {
    let bytes = &package.contents[content].bytes;
    let part = field.scene.path(&format!("channel/{}.part", package.path));
    slowly(&mut File::create(&part).unwrap(), bytes, chance);
    field.history.change(&package.path, Some(bytes), || {
        std::fs::rename(&part, place(field, package)).unwrap();
    });
}

fn delete_alone(field: &Field, package: &Package) {
    field.history.change(&package.path, None, || {
        let _ = std::fs::remove_file(place(field, package));
    });
}

fn touch(field: &Field, package: &Package) {
    if let Ok(file) = OpenOptions::new().write(true).open(place(field, package)) {
        file.set_modified(SystemTime::now()).unwrap();
    }
}

/// Other bytes in the same file, whose times are put back.
fn with_the_old_times(field: &Field, package: &Package, content: usize) {
    let place = place(field, package);
    let Ok(old) = place.metadata() else { return };
    let bytes = &package.contents[content].bytes;
    field.history.change(&package.path, Some(bytes), || {
        let mut file = OpenOptions::new().write(true).open(&place).unwrap();
        file.write_all(bytes).unwrap();
        file.set_len(bytes.len() as u64).unwrap();
        let times = FileTimes::new().set_modified(old.modified().unwrap());
        file.set_times(times).unwrap();
    });
}

fn spoil(field: &Field, package: &Package, chance: &mut Random) {
    let bytes: &[u8] = match chance.below(3) {
        0 => b"",
        1 => b"fixture AAAA\n",
        _ => b"fixture",
    };
    field.history.touch(&package.path, || {
        std::fs::write(sig(field, package), bytes).unwrap();
    });
}

/// A signature that somebody made elsewhere; of the content that lies there, or of another.
fn sign(field: &Field, package: &Package, content: usize, chance: &mut Random) {
    let bytes = &package.contents[content].sig;
    let sig = sig(field, package);
    field
        .history
        .touch(&package.path, || match chance.below(2) {
            0 => {
                let part = sig.with_extension("sig.part");
                std::fs::write(&part, bytes).unwrap();
                std::fs::rename(part, sig).unwrap();
            }
            _ => slowly(&mut File::create(sig).unwrap(), bytes, chance),
        });
}
