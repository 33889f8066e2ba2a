//! Tokens whose habits SoftHSM2 lacks: one that is locked, has a PIN pad, gives one session, hides what others show. A
//! module of our own, before SoftHSM2, plays them. It must not know how they are noticed.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::compiler::compile;
use crate::scene::{Call, EPOCH, Run, Scene};
use crate::shared::not_to_be_had;
use crate::softhsm::{PIN, Tokens, module};
use crate::{demand_same_as_by_file, scene_of};

const KEY: &str = "pkcs11:token=signing;object=fixture";

/// The module, or what is said where it can't be made.
fn player() -> Option<&'static Path> {
    static PLAYER: OnceLock<Result<(TempDir, PathBuf), String>> = OnceLock::new();
    let made = PLAYER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("habits.so");
        let flags = ["-std=gnu17", "-shared", "-fPIC"];
        compile("tests/signers/habits.c", &path, &flags)?;
        Ok((folder, path))
    });
    match made {
        Ok((_, path)) => Some(path),
        Err(why) => {
            not_to_be_had("a token with habits", why);
            None
        }
    }
}

/// A scene with this many packages and a token that holds its key.
struct Playing<'a> {
    scene: &'a Scene,
    tokens: Tokens<'a>,
    player: &'static Path,
}

impl<'a> Playing<'a> {
    fn new(scene: &'a Scene) -> Option<Self> {
        let tokens = Tokens::with_key(scene)?;
        let player = player()?;
        scene.write("data", "x");
        Some(Self {
            scene,
            tokens,
            player,
        })
    }

    /// A call to which the token has this habit, without a PIN.
    fn with(&self, habit: &str, call: Call) -> Call {
        self.tokens
            .in_reach(call)
            .env("SIGINDEX_PKCS11_MODULE", self.player)
            .env("HABITS_MODULE", module().unwrap())
            .env("HABITS_PIN", PIN)
            .env("HABIT", habit)
    }

    /// Signs a file, with the PIN or without.
    fn sign(&self, habit: &str, pin: &str) -> Run {
        let call = self.scene.call(&["sign", "data", "--force", "--key", KEY]);
        let call = self.with(habit, call).env("SIGINDEX_PIN", pin);
        call.run().never_says(PIN)
    }
}

#[test]
fn a_token_without_habits_signs() {
    let scene = scene_of(0);
    let Some(playing) = Playing::new(&scene) else {
        return;
    };
    playing.sign("none", PIN).exits(0);
}

#[test]
fn no_try_of_the_pin_is_used_up_that_locks_the_token() {
    let scene = scene_of(0);
    let Some(playing) = Playing::new(&scene) else {
        return;
    };
    let locked = "has locked its PIN";
    for (habit, said) in [
        ("final try", "has one try left"),
        ("locked", locked),
        ("locks itself", locked),
    ] {
        playing.sign(habit, PIN).exits(1).says(said);
    }
    // Nor is there one to be used up where none was given.
    for habit in ["final try", "locked"] {
        playing.sign(habit, "").exits(1).says("wants a PIN");
    }
}

#[test]
fn a_token_with_a_pad_or_without_a_pin_is_given_none() {
    let scene = scene_of(0);
    let Some(playing) = Playing::new(&scene) else {
        return;
    };
    for habit in ["pad", "open to all"] {
        playing.sign(habit, "").exits(0);
    }
}

#[test]
fn a_token_that_signs_in_other_ways_alone_is_refused() {
    let scene = scene_of(0);
    let Some(playing) = Playing::new(&scene) else {
        return;
    };
    let run = playing.sign("no mechanism", PIN).exits(1);
    run.says("can't sign by CKM_RSA_PKCS_PSS");
}

#[test]
fn threads_share_the_sessions_that_a_token_gives() {
    let scene = scene_of(12);
    let Some(playing) = Playing::new(&scene) else {
        return;
    };
    let run = playing.sign("no session", PIN).exits(1);
    run.says("has no session left");
    let flags = ["--key", KEY, "--threads", "4", "--signatures", "detached"];
    let call = playing.with("one session", scene.index_call(&flags));
    let call = call.env("SOURCE_DATE_EPOCH", EPOCH);
    let run = call.env("SIGINDEX_PIN", PIN).run();
    run.exits(0).counts("signed", 12);
    demand_same_as_by_file(&scene, 12);
}

#[test]
fn a_public_half_is_taken_from_the_key_or_else_from_beside_it() {
    let scene = scene_of(0);
    let Some(playing) = Playing::new(&scene) else {
        return;
    };
    playing.sign("hides a private exponent", PIN).exits(0);
    for habit in ["hides exponents", "hides moduli"] {
        let run = playing.sign(habit, PIN).exits(1);
        run.says("does not show its modulus and exponent");
    }
}
