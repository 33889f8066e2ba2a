//! A public key: read strictly from PEM, named by its fingerprint, ready to verify. It knows what a
//! good RSA key looks like, and nothing of files.

use std::fmt;

use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::signature::{ParsedPublicKey, RSA_PSS_2048_8192_SHA256};
use pkcs8::der::{Decode, pem};
use pkcs8::spki::EncodePublicKey;
use pkcs8::{LineEnding, ObjectIdentifier, SubjectPublicKeyInfoRef};
use rsa::pkcs1::{ALGORITHM_OID, RsaPublicKey as Pkcs1PublicKey};
use rsa::pss::{Signature, VerifyingKey};
use rsa::signature::hazmat::PrehashVerifier;
use rsa::traits::PublicKeyParts;
use rsa::{BigUint, RsaPublicKey};
use sha2::Sha256;

use super::pem::Pem;
use super::{Fingerprint, KeyName, MAX_KEY_BITS, MIN_KEY_BITS, PublicKeyFault};

/// The label of a SubjectPublicKeyInfo (RFC 7468, 13).
const LABEL: &str = "PUBLIC KEY";

/// The salt's length in bytes, for signing and verifying alike: that of the hash.
pub(crate) const SALT_BYTES: usize = 32;

/// An RSA public key that may check signatures.
///
/// It is sound as far as one can see from outside: 1024 to 16,384 bits, a multiple of 8; the modulus
/// odd; the exponent odd, at least 3, at most 33 bits. Both verifiers are built once, here, so that a
/// loop over many signatures parses nothing.
#[derive(Clone)]
pub struct PublicKey {
    name: KeyName,
    bits: u32,
    fingerprint: Fingerprint,
    der: Vec<u8>,
    pem: String,
    rsa: RsaPublicKey,
    fast: Option<ParsedPublicKey>,
}

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo in PEM (RFC 7468, 13), strictly: one block, nothing around it.
    ///
    /// # Errors
    /// [`PublicKeyFault`] says which rule the key breaks.
    pub fn from_pem(name: KeyName, bytes: &[u8]) -> Result<Self, PublicKeyFault> {
        let pem = Pem::find(bytes)?;
        match pem.label() {
            LABEL => {}
            "RSA PUBLIC KEY" => return Err(PublicKeyFault::IsPkcs1),
            label if label.ends_with("PRIVATE KEY") => return Err(PublicKeyFault::IsPrivate),
            label => return Err(PublicKeyFault::OtherLabel(label.to_owned())),
        }
        let der = pem.decode()?;
        let key = Self::from_rsa(name, parse_spki(&der)?)?;
        // A second way to write the same key would give it a second fingerprint.
        if key.der == **der {
            Ok(key)
        } else {
            Err(PublicKeyFault::Malformed)
        }
    }

    /// Takes a modulus and a public exponent, as big-endian bytes.
    ///
    /// # Errors
    /// [`PublicKeyFault`] says which rule the key breaks.
    pub fn from_numbers(name: KeyName, n: &[u8], e: &[u8]) -> Result<Self, PublicKeyFault> {
        check_numbers(n, e)?;
        let (n, e) = (BigUint::from_bytes_be(n), BigUint::from_bytes_be(e));
        let rsa = RsaPublicKey::new_with_max_size(n, e, MAX_KEY_BITS as usize)
            .map_err(|_| PublicKeyFault::Malformed)?;
        Self::from_rsa(name, rsa)
    }

    /// Takes the public half of a key whose numbers are already there.
    pub(super) fn from_rsa(name: KeyName, rsa: RsaPublicKey) -> Result<Self, PublicKeyFault> {
        let bits = check_numbers(&rsa.n().to_bytes_be(), &rsa.e().to_bytes_be())?;
        let document = rsa
            .to_public_key_der()
            .map_err(|_| PublicKeyFault::Malformed)?;
        let der = document.into_vec();
        let pem = pem::encode_string(LABEL, LineEnding::LF, &der)
            .map_err(|_| PublicKeyFault::Malformed)?;
        let fast = match bits {
            2048..=8192 => ParsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, &der).ok(),
            _ => None,
        };
        let fingerprint = Fingerprint::of_spki(&der);
        Ok(Self {
            name,
            bits,
            fingerprint,
            der,
            pem,
            rsa,
            fast,
        })
    }

    /// The name under which the key is known.
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// The modulus's length in bits.
    pub fn bits(&self) -> u32 {
        self.bits
    }

    /// The SHA-256 of [`PublicKey::to_der`].
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The key as DER SubjectPublicKeyInfo.
    pub fn to_der(&self) -> &[u8] {
        &self.der
    }

    /// The key as PEM SubjectPublicKeyInfo, with a final newline: the content of `NAME.pub`.
    pub fn to_pem(&self) -> &str {
        &self.pem
    }

    /// The one length in bytes that a signature by this key has.
    pub fn signature_len(&self) -> usize {
        self.rsa.size()
    }

    /// Whether `signature` is this key's RSASSA-PSS signature (RFC 8017, 8.1.2) with SHA-256,
    /// MGF1-SHA-256 and a salt of exactly 32 bytes over a message whose SHA-256 is `digest`.
    pub fn verify(&self, digest: &[u8; 32], signature: &[u8]) -> bool {
        match &self.fast {
            Some(fast) => self.is_full_length(signature) && verify_fast(fast, digest, signature),
            None => self.verify_slow(digest, signature),
        }
    }

    /// [`PublicKey::verify`] through `rsa`, whatever the size.
    pub(crate) fn verify_slow(&self, digest: &[u8; 32], signature: &[u8]) -> bool {
        // Through `VerifyingKey`, because it refuses a value that is not below the modulus, which
        // `RsaPublicKey::verify` does not: there would be several signatures where one was made.
        let key = VerifyingKey::<Sha256>::new_with_salt_len(self.rsa.clone(), SALT_BYTES);
        self.is_full_length(signature)
            && Signature::try_from(signature).is_ok_and(|s| key.verify_prehash(digest, &s).is_ok())
    }

    fn is_full_length(&self, signature: &[u8]) -> bool {
        signature.len() == self.signature_len()
    }
}

fn verify_fast(key: &ParsedPublicKey, digest: &[u8; 32], signature: &[u8]) -> bool {
    Digest::import_less_safe(digest, &SHA256)
        .is_ok_and(|digest| key.verify_digest_sig(&digest, signature).is_ok())
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey")
            .field("name", &self.name)
            .field("bits", &self.bits)
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

/// The RSA key in a DER SubjectPublicKeyInfo. The numbers are checked as bytes before anything is
/// computed with them.
fn parse_spki(der: &[u8]) -> Result<RsaPublicKey, PublicKeyFault> {
    let info = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| PublicKeyFault::Malformed)?;
    if info.algorithm.oid != ALGORITHM_OID {
        return Err(PublicKeyFault::OtherAlgorithm(algorithm_name(
            info.algorithm.oid,
        )));
    }
    let bits = info
        .subject_public_key
        .as_bytes()
        .ok_or(PublicKeyFault::Malformed)?;
    let key = Pkcs1PublicKey::from_der(bits).map_err(|_| PublicKeyFault::Malformed)?;
    let (n, e) = (key.modulus.as_bytes(), key.public_exponent.as_bytes());
    check_numbers(n, e)?;
    let (n, e) = (BigUint::from_bytes_be(n), BigUint::from_bytes_be(e));
    RsaPublicKey::new_with_max_size(n, e, MAX_KEY_BITS as usize)
        .map_err(|_| PublicKeyFault::Malformed)
}

/// Checks a modulus and an exponent, as big-endian bytes; the modulus's length in bits.
pub(super) fn check_numbers(n: &[u8], e: &[u8]) -> Result<u32, PublicKeyFault> {
    let bits = bit_length(n);
    let size = match u32::try_from(bits) {
        Ok(size) if size < MIN_KEY_BITS => return Err(PublicKeyFault::TooSmall { bits }),
        Ok(size) if size <= MAX_KEY_BITS => size,
        _ => return Err(PublicKeyFault::TooLarge { bits }),
    };
    if !size.is_multiple_of(8) {
        return Err(PublicKeyFault::OddSize { bits });
    }
    if is_even(n) {
        return Err(PublicKeyFault::EvenModulus);
    }
    match (bit_length(e), is_even(e)) {
        (0, _) => Err(PublicKeyFault::TrivialExponent(0)),
        (1, _) => Err(PublicKeyFault::TrivialExponent(1)),
        (34.., _) => Err(PublicKeyFault::LargeExponent),
        (_, true) => Err(PublicKeyFault::EvenExponent),
        (_, false) => Ok(size),
    }
}

/// The length in bits of a big-endian number.
pub(super) fn bit_length(number: &[u8]) -> u64 {
    let mut significant = number.iter().skip_while(|byte| **byte == 0);
    match significant.next() {
        Some(first) => significant.count() as u64 * 8 + u64::from(8 - first.leading_zeros()),
        None => 0,
    }
}

fn is_even(number: &[u8]) -> bool {
    number.last().is_none_or(|byte| byte & 1 == 0)
}

/// A name that people know for an algorithm's object identifier, or the identifier.
pub(super) fn algorithm_name(oid: ObjectIdentifier) -> String {
    match oid.to_string().as_str() {
        "1.2.840.113549.1.1.10" => "RSA restricted to PSS".to_owned(),
        "1.2.840.10040.4.1" => "DSA".to_owned(),
        "1.2.840.10045.2.1" => "elliptic curve".to_owned(),
        "1.3.101.112" => "Ed25519".to_owned(),
        "1.3.101.113" => "Ed448".to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    #![allow(clippy::panic, clippy::string_slice)]
    use super::super::samples::{self, name};
    use super::*;
    use crate::keys::PemFault;
    use pkcs8::der::EncodePem;
    use pkcs8::der::asn1::BitStringRef;
    use pkcs8::{AlgorithmIdentifierRef, EncodePrivateKey};
    use std::time::{Duration, Instant};

    fn read(pem: &str) -> Result<PublicKey, PublicKeyFault> {
        PublicKey::from_pem(name("Odd"), pem.as_bytes())
    }

    /// A key of unsound numbers, by its modulus's length in bits.
    fn odd(bits: usize, last: u8, e: u64) -> String {
        let mut n = vec![0xa5; bits.div_ceil(8)];
        n[0] = 0x80 >> ((8 - bits % 8) % 8);
        *n.last_mut().unwrap() = last;
        numbers(BigUint::from_bytes_be(&n), BigUint::from(e))
    }

    fn numbers(n: BigUint, e: BigUint) -> String {
        RsaPublicKey::new_unchecked(n, e)
            .to_public_key_pem(LineEnding::LF)
            .unwrap()
    }

    fn of_algorithm(oid: &str) -> String {
        let algorithm = AlgorithmIdentifierRef {
            oid: ObjectIdentifier::new_unwrap(oid),
            parameters: None,
        };
        let subject_public_key = BitStringRef::from_bytes(&[7; 32]).unwrap();
        let info = SubjectPublicKeyInfoRef {
            algorithm,
            subject_public_key,
        };
        info.to_pem(LineEnding::LF).unwrap()
    }

    #[test]
    fn a_good_key_comes_back_as_it_was() {
        for key in [samples::weak(), samples::strong()] {
            let key = key.public();
            let again = PublicKey::from_pem(key.name().clone(), key.to_pem().as_bytes()).unwrap();
            assert_eq!(again.to_pem(), key.to_pem());
            assert_eq!(again.fingerprint(), key.fingerprint());
            assert_eq!(again.signature_len() * 8, again.bits() as usize);
        }
        assert_eq!(samples::strong().public().bits(), 2048);
        for (bits, e) in [(16_384, 65537), (8192, 3), (4104, (1 << 33) - 1)] {
            let key = read(&odd(bits, 0xa5, e)).unwrap();
            assert_eq!((key.bits() as usize, key.signature_len()), (bits, bits / 8));
            assert_eq!(key.fast.is_some(), bits <= 8192);
            assert!(!key.verify(&[0; 32], &vec![0; bits / 8]));
        }
    }

    #[test]
    fn a_signature_has_one_length() {
        let key = samples::weak().public();
        for (bytes, full) in [(128, true), (127, false), (129, false), (0, false)] {
            assert_eq!(key.is_full_length(&vec![1; bytes]), full, "{bytes}");
        }
    }

    #[test]
    fn keys_that_are_refused_say_why() {
        use PublicKeyFault as F;
        let good = samples::weak().public().to_pem().to_owned();
        let pkcs1 = good.replace("PUBLIC KEY", "RSA PUBLIC KEY");
        let private = samples::weak().to_pem(None).unwrap().to_string();
        let pkcs8 = samples::weak()
            .rsa()
            .to_pkcs8_pem(LineEnding::LF)
            .unwrap()
            .to_string();
        let huge = BigUint::from_bytes_be(&[0xff; 9]);
        let cases = [
            ("private", private, F::IsPrivate),
            ("private, PKCS#8", pkcs8, F::IsPrivate),
            ("PKCS#1", pkcs1, F::IsPkcs1),
            (
                "certificate",
                good.replace("PUBLIC KEY", "CERTIFICATE"),
                F::OtherLabel("CERTIFICATE".into()),
            ),
            (
                "Ed25519",
                of_algorithm("1.3.101.112"),
                F::OtherAlgorithm("Ed25519".into()),
            ),
            (
                "EC",
                of_algorithm("1.2.840.10045.2.1"),
                F::OtherAlgorithm("elliptic curve".into()),
            ),
            (
                "RSA-PSS",
                of_algorithm("1.2.840.113549.1.1.10"),
                F::OtherAlgorithm("RSA restricted to PSS".into()),
            ),
            (
                "unknown",
                of_algorithm("1.2.3.4"),
                F::OtherAlgorithm("1.2.3.4".into()),
            ),
            (
                "RSA without its parameters",
                of_algorithm("1.2.840.113549.1.1.1"),
                F::Malformed,
            ),
            ("e = 0", odd(2048, 0xa5, 0), F::TrivialExponent(0)),
            ("e = 1", odd(2048, 0xa5, 1), F::TrivialExponent(1)),
            ("e = 2", odd(2048, 0xa5, 2), F::EvenExponent),
            ("e = 65536", odd(2048, 0xa5, 65536), F::EvenExponent),
            (
                "e of 34 bits",
                odd(2048, 0xa5, (1 << 33) + 1),
                F::LargeExponent,
            ),
            (
                "e of 72 bits",
                numbers(BigUint::from_bytes_be(&[0xa5; 256]), huge),
                F::LargeExponent,
            ),
            ("even modulus", odd(2048, 0xa4, 65537), F::EvenModulus),
            (
                "n = 0",
                numbers(BigUint::from(0u8), BigUint::from(3u8)),
                F::TooSmall { bits: 0 },
            ),
            ("512 bits", odd(512, 0xa5, 65537), F::TooSmall { bits: 512 }),
            (
                "1023 bits",
                odd(1023, 0xa5, 65537),
                F::TooSmall { bits: 1023 },
            ),
            (
                "2047 bits",
                odd(2047, 0xa5, 65537),
                F::OddSize { bits: 2047 },
            ),
            (
                "2049 bits",
                odd(2049, 0xa5, 65537),
                F::OddSize { bits: 2049 },
            ),
            (
                "16392 bits",
                odd(16_392, 0xa5, 65537),
                F::TooLarge { bits: 16_392 },
            ),
            (
                "32768 bits",
                odd(32_768, 0xa5, 65537),
                F::TooLarge { bits: 32_768 },
            ),
            (
                "junk before",
                format!("# my key\n{good}"),
                F::Pem(PemFault::Junk),
            ),
            (
                "junk behind",
                format!("{good}{good}"),
                F::Pem(PemFault::Junk),
            ),
            (
                "cut",
                good[..good.len() / 2].to_owned(),
                F::Pem(PemFault::Damaged),
            ),
            ("nothing", String::new(), F::Pem(PemFault::NotPem)),
            (
                "DER cut",
                pem::encode_string(
                    LABEL,
                    LineEnding::LF,
                    &samples::weak().public().to_der()[..99],
                )
                .unwrap(),
                F::Malformed,
            ),
        ];
        for (what, text, fault) in cases {
            let start = Instant::now();
            assert_eq!(read(&text).err(), Some(fault), "{what}");
            assert!(
                start.elapsed() < Duration::from_secs(5),
                "{what} took too long"
            );
        }
    }

    #[test]
    fn bytes_behind_the_der_or_other_parameters_are_refused() {
        let mut der = samples::weak().public().to_der().to_vec();
        der.push(0);
        let text = pem::encode_string(LABEL, LineEnding::LF, &der).unwrap();
        assert_eq!(read(&text).err(), Some(PublicKeyFault::Malformed));
        // A NULL made into an empty OCTET STRING: parsers shrug, the fingerprint would differ.
        let mut der = samples::weak().public().to_der().to_vec();
        let null = der.windows(2).position(|w| w == [5, 0]).unwrap();
        der[null] = 4;
        let text = pem::encode_string(LABEL, LineEnding::LF, &der).unwrap();
        assert_eq!(read(&text).err(), Some(PublicKeyFault::Malformed));
    }
}
