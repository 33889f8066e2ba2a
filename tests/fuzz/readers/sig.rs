//! The target `sig`: a `.sig` file, as it stands, held against a key and a digest for which a true one is among the
//! seeds.

use std::sync::OnceLock;

use sigindex::keys::{KeyName, Keyring, PublicKey};
use sigindex::signature::{Check, MAX_SIG_BYTES, Signature, check};

/// The key that is trusted.
pub const KEY: &str = "fixture";
/// What is said to be signed.
pub const DIGEST: [u8; 32] = [7; 32];

pub fn read(bytes: &[u8]) {
    let Ok(signature) = Signature::parse(bytes) else {
        assert!(Signature::parse(bytes).is_err());
        return;
    };
    assert!(bytes.len() <= MAX_SIG_BYTES && bytes.is_ascii());
    let rendered = signature.to_file_bytes();
    assert_eq!(Signature::parse(&rendered).unwrap(), signature);
    let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let line = match bytes.len() > line.len() {
        true => line.strip_suffix(b"\r").unwrap_or(line),
        false => line,
    };
    assert_eq!(
        [line, b"\n"].concat(),
        rendered,
        "one way to write a signature"
    );
    names(&signature);
    holds(signature);
}

fn names(signature: &Signature) {
    let name = signature.key.as_str();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    assert!(name.len() <= 64 && name.bytes().all(plain) && !name.ends_with(".pub"));
    assert!(name.as_bytes()[0].is_ascii_alphanumeric());
}

/// Only the true signature is valid, and nothing near it.
fn holds(mut signature: Signature) {
    let keys = keys();
    let found = check(&signature, &DIGEST, keys, 2048);
    assert_eq!(found, check(&signature, &DIGEST, keys, 2048));
    if !matches!(found, Check::Valid { .. }) {
        return;
    }
    assert_eq!(signature.key.as_str(), KEY);
    let valid = |signature: &Signature, digest: &[u8; 32]| {
        matches!(check(signature, digest, keys, 2048), Check::Valid { .. })
    };
    assert!(!valid(&signature, &[8; 32]));
    let last = signature.value.len() - 1;
    for at in [0, last / 2, last] {
        signature.value[at] ^= 1;
        assert!(!valid(&signature, &DIGEST));
        signature.value[at] ^= 1;
    }
}

fn keys() -> &'static Keyring {
    static KEYS: OnceLock<Keyring> = OnceLock::new();
    KEYS.get_or_init(|| {
        let pem = include_bytes!("../../../fixtures/keys/fixture.pub");
        let mut keys = Keyring::default();
        let key = PublicKey::from_pem(KeyName::parse(KEY).unwrap(), pem).unwrap();
        keys.insert(key).unwrap();
        keys
    })
}
