//! The first digest that a key elsewhere has to sign: whoever answers shows that the key, its public half and the
//! scheme belong together, before anything is at stake. It must not know who answers.

use crate::keys::PublicKey;

/// The SHA-256 of `sigindex: which key signs here?`, which is no file of anybody's.
pub const PROBE: [u8; 32] = [
    0x03, 0xfc, 0x26, 0x66, 0x8d, 0x78, 0x0a, 0xeb, 0xa5, 0xe0, 0xd9, 0x36, 0xc6, 0xa1, 0xe0, 0xf4,
    0x2f, 0x44, 0x9c, 0xdc, 0x94, 0xd8, 0x49, 0x65, 0x66, 0xd3, 0x37, 0x5d, 0x44, 0x40, 0x74, 0xe4,
];

/// Why the first signature does not stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeFault {
    /// It has another length than any by this key.
    Length,
    /// The public key does not verify it.
    Mismatch,
}

/// Whether a signature of [`PROBE`] is by this key, in the one scheme.
pub fn demand_sound(key: &PublicKey, signature: &[u8]) -> Result<(), ProbeFault> {
    match key.verify(&PROBE, signature) {
        true => Ok(()),
        false if signature.len() != key.signature_len() => Err(ProbeFault::Length),
        false => Err(ProbeFault::Mismatch),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::keys::samples;
    use crate::signature::{RsaSigner, sign};

    #[test]
    fn the_digest_is_what_it_is_said_to_be() {
        let digest = Sha256::digest(b"sigindex: which key signs here?");
        assert_eq!(PROBE, <[u8; 32]>::from(digest));
    }

    #[test]
    fn only_the_key_that_signed_is_taken() {
        let (key, other) = (samples::weak(), samples::strong().public());
        let good = sign(&RsaSigner::new(key), &PROBE).unwrap().value;
        let key = key.public();
        assert_eq!(demand_sound(key, &good), Ok(()));
        assert_eq!(demand_sound(other, &good), Err(ProbeFault::Length));
        assert_eq!(demand_sound(key, &[]), Err(ProbeFault::Length));
        let mut flipped = good;
        flipped.iter_mut().for_each(|byte| *byte ^= 1);
        assert_eq!(demand_sound(key, &flipped), Err(ProbeFault::Mismatch));
    }
}
