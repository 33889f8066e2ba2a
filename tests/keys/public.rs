//! Public keys: `keys` lists them; those that are none are errors that say why, wherever they are met.

use crate::scene::Scene;
use crate::{fixture, signed};

/// A PEM block around DER bytes.
fn pem(label: &str, der: &[u8]) -> String {
    use base64ct::Encoding as _;
    let text = base64ct::Base64::encode_string(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

/// A tag, a length and a value in DER.
fn der(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = value.len();
    let mut out = match length {
        0..=0x7f => vec![tag, u8::try_from(length).unwrap()],
        0x80..=0xff => vec![tag, 0x81, u8::try_from(length).unwrap()],
        _ => [
            &[tag, 0x82][..],
            &u16::try_from(length).unwrap().to_be_bytes(),
        ]
        .concat(),
    };
    out.extend(value);
    out
}

/// A public RSA key of any modulus and exponent, sensible or not (RFC 5280, RFC 8017).
fn public_rsa(modulus: &[u8], exponent: &[u8]) -> String {
    let key = der(0x30, &[der(2, modulus), der(2, exponent)].concat());
    let rsa = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
    let bits = [&[0][..], &key].concat();
    pem(
        "PUBLIC KEY",
        &der(0x30, &[der(0x30, &rsa), der(3, &bits)].concat()),
    )
}

/// An odd modulus of so many bytes, all bits set.
fn modulus(bytes: usize) -> Vec<u8> {
    [vec![0], vec![0xff; bytes]].concat()
}

#[test]
fn a_public_key_that_is_none_is_an_error_that_says_why() {
    let ed25519 = pem(
        "PUBLIC KEY",
        &der(
            0x30,
            &[der(0x30, &[6, 3, 0x2b, 0x65, 0x70]), der(3, &[0; 33])].concat(),
        ),
    );
    let good = String::from_utf8(fixture("keys/fixture.pub")).unwrap();
    let even = [&modulus(256)[..256], &[0xfe]].concat();
    for (wrong, why) in [
        (
            String::from_utf8(fixture("keys/fixture")).unwrap(),
            "private key",
        ),
        (ed25519, "another algorithm"),
        (public_rsa(&modulus(256), &[1]), "exponent is 1"),
        (public_rsa(&modulus(256), &[4]), "exponent is even"),
        (public_rsa(&even, &[1, 0, 1]), "even"),
        (public_rsa(&modulus(64), &[1, 0, 1]), "512 bits"),
        (public_rsa(&modulus(4096), &[1, 0, 1]), "32768 bits"),
        (format!("{good}junk\n"), "fixture.pub"),
        (format!("junk\n{good}"), "fixture.pub"),
        (good.replace("MII", "!!!"), "fixture.pub"),
        (String::new(), "fixture.pub"),
        ("\0".repeat(100_000), "64 KiB"),
    ] {
        let scene = signed();
        std::fs::write(scene.key_path("fixture.pub"), wrong).unwrap();
        let verify = scene.run(&["verify", "data"]).exits(1);
        verify.says("ERROR: ").says(why).never_says(" VALID");
        scene.run(&["keys"]).exits(1).says("ERROR: ").says(why);
        let a = scene.package("a");
        std::fs::write(
            scene.path(&format!("channel/{a}.sig")),
            scene.read("data.sig"),
        )
        .unwrap();
        scene.index(&["--no-sign"]).exits(3).refuses(&a, why);
    }
}

#[test]
fn a_public_key_that_is_no_file_hangs_nobody() {
    let scene = signed();
    scene.remove("home/.conda/keys/fixture.pub");
    let mode = rustix::fs::Mode::from_raw_mode(0o644);
    let fifo = scene.key_path("fixture.pub");
    rustix::fs::mknodat(rustix::fs::CWD, fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    scene
        .run(&["verify", "data"])
        .exits(1)
        .says("not a regular file");
    scene.run(&["keys"]).exits(1).says("not a regular file");
}

#[test]
fn one_broken_key_does_not_hinder_the_others() {
    let scene = signed();
    std::fs::write(scene.key_path("broken.pub"), "rubbish").unwrap();
    scene.run(&["verify", "data"]).exits(0);
    scene.run(&["keys"]).exits(1).says("broken").says("fixture");
}

#[test]
fn keys_lists_both_kinds() {
    let scene = Scene::new();
    scene.give_public_key("other");
    let run = scene.run(&["keys"]).exits(0);
    let lines: Vec<Vec<&str>> = run
        .stdout
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let kinds: Vec<_> = lines
        .iter()
        .map(|words| (words[0], words[1], words[3]))
        .collect();
    assert_eq!(
        kinds,
        [("fixture", "2048", "private"), ("other", "2048", "public")]
    );
    assert!(lines.iter().all(|words| words[2].len() == 64));
    let empty = Scene::without_key();
    empty.run(&["keys"]).exits(0).says("sigindex keygen");
}
