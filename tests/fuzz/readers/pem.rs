//! The target `pem`. Forms by the first byte: 0 a public key as it stands; 1 a private one; 2 to 5 the DER of a public
//! key, of a private one in PKCS#1, in PKCS#8 and in encrypted PKCS#8, in whole PEM lines. What would take long to
//! open with a passphrase is left shut.

use pkcs8::der::{Decode as _, pem};
use pkcs8::pkcs5::{EncryptionScheme, pbes2};
use pkcs8::{EncryptedPrivateKeyInfo, LineEnding};
use sigindex::keys::{
    KeyError, KeyName, MAX_KEY_BITS, MAX_KEY_FILE_BYTES, MIN_KEY_BITS, PrivateKey, PublicKey,
};
use sigindex::signature::{local_signer, sign};

/// What opens the encrypted seeds.
pub const PASSPHRASE: &str = "open";
const DIGEST: [u8; 32] = [7; 32];
/// The largest key that something is signed with: larger ones take long.
const SIGNED_BITS: u32 = 2048;

pub fn read(bytes: &[u8]) {
    let Some((form, rest)) = bytes.split_first() else {
        return;
    };
    if u64::try_from(rest.len()).unwrap() > MAX_KEY_FILE_BYTES {
        return;
    }
    let wrapped = |label: &str| {
        let text = pem::encode_string(label, LineEnding::LF, rest);
        text.unwrap_or_default().into_bytes()
    };
    match form % 6 {
        0 => public(rest),
        1 => private(rest),
        2 => public(&wrapped("PUBLIC KEY")),
        3 => private(&wrapped("RSA PRIVATE KEY")),
        4 => private(&wrapped("PRIVATE KEY")),
        _ => private(&wrapped("ENCRYPTED PRIVATE KEY")),
    }
}

fn name() -> KeyName {
    KeyName::parse("Odd").unwrap()
}

fn public(text: &[u8]) {
    match PublicKey::from_pem(name(), text) {
        Ok(key) => sound(&key),
        Err(fault) => {
            let again = PublicKey::from_pem(name(), text).unwrap_err();
            assert_eq!(fault.to_string(), again.to_string());
        }
    }
}

fn sound(key: &PublicKey) {
    assert!((MIN_KEY_BITS..=MAX_KEY_BITS).contains(&key.bits()) && key.bits().is_multiple_of(8));
    let again = PublicKey::from_pem(name(), key.to_pem().as_bytes()).unwrap();
    assert_eq!(again.fingerprint(), key.fingerprint());
    assert_eq!(
        (again.to_der(), again.to_pem()),
        (key.to_der(), key.to_pem())
    );
    let length = key.signature_len();
    assert_eq!(length * 8, key.bits() as usize);
    for value in [vec![0; length], vec![0xff; length], vec![1; length - 1]] {
        assert!(!key.verify(&DIGEST, &value));
    }
}

fn private(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let open = |_: &KeyName| match is_cheap(text) {
        true => Ok(PASSPHRASE.to_owned().into()),
        false => Err(KeyError::NoPassphrase {
            name: name(),
            why: "it takes too long".to_owned(),
        }),
    };
    let Ok(key) = PrivateKey::from_env_pem(name(), text, &open) else {
        return;
    };
    sound(key.public());
    assert!(!format!("{key:?}").contains("BEGIN"));
    if key.public().bits() > SIGNED_BITS {
        return;
    }
    // Its numbers fit each other, so that it can sign.
    let signer = local_signer(key);
    let signature = sign(&*signer, &DIGEST).expect("a key that is accepted signs");
    assert!(signer.public_key().verify(&DIGEST, &signature.value));
}

/// Whether a passphrase is tried in a moment.
fn is_cheap(text: &str) -> bool {
    let Ok((_, der)) = pem::decode_vec(text.trim().as_bytes()) else {
        return false;
    };
    let Ok(info) = EncryptedPrivateKeyInfo::from_der(&der) else {
        return false;
    };
    let EncryptionScheme::Pbes2(scheme) = &info.encryption_algorithm else {
        return true;
    };
    match &scheme.kdf {
        pbes2::Kdf::Scrypt(cost) => {
            let block = u64::from(cost.block_size).saturating_mul(u64::from(cost.parallelization));
            cost.cost_parameter.saturating_mul(block) <= 1 << 12
        }
        pbes2::Kdf::Pbkdf2(cost) => cost.iteration_count <= 2_000,
        _ => true,
    }
}
