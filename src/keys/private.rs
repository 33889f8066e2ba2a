//! A private key: read from PEM in its three forms, checked, made and written. It knows nothing of
//! files, and shows no secret: not by Debug, not in an error, not in memory after it is dropped.

use std::fmt;

use pkcs8::der::Decode;
use pkcs8::pkcs5::{EncryptionScheme, Error as Pkcs5Error, pbes2, scrypt};
use pkcs8::{
    EncodePrivateKey, EncryptedPrivateKeyInfo, LineEnding, PrivateKeyInfo, SecretDocument,
};
use rsa::pkcs1::{ALGORITHM_OID, EncodeRsaPrivateKey, RsaPrivateKey as Pkcs1PrivateKey, Version};
use rsa::rand_core::{OsRng, RngCore};
use rsa::{BigUint, RsaPrivateKey};
use zeroize::Zeroizing;

use super::pem::Pem;
use super::public::{algorithm_name, bit_length, check_numbers};
use super::{AskPassphrase, KeyError, KeyName, KeySize, PrivateKeyFault, PublicKey};

/// How far the lengths of the two primes may be from half the modulus's, in bits. Every tool makes
/// them equal; where they are very unequal the key is weak, and some arithmetic gets slow.
const PRIME_SLACK_BITS: u64 = 8;

/// The most memory that a passphrase's derivation may take, in bytes: N 2^20 with r 8, which is usual for what is to be
/// safe for years, and its lanes beside.
const MAX_SCRYPT_BYTES: u64 = 1025 << 20;
/// The most bytes that its lanes may work through, one after the other: this takes some ten seconds.
const MAX_SCRYPT_WORK: u64 = 4100 << 20;
/// To make a lane by SHA-256 takes as long as so many of the N steps that mix it, or less.
const SCRYPT_LANE_STEPS: u64 = 4;
/// The most rounds of PBKDF2, which are a few seconds.
const MAX_PBKDF2_ROUNDS: u32 = 10_000_000;

/// An RSA private key with its public half. Its numbers are consistent with each other.
pub struct PrivateKey {
    public: PublicKey,
    rsa: RsaPrivateKey,
}

impl PrivateKey {
    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The key's name.
    pub fn name(&self) -> &KeyName {
        self.public.name()
    }

    /// The secret itself, for a signer.
    pub(crate) fn rsa(&self) -> &RsaPrivateKey {
        &self.rsa
    }

    /// The secret as DER RSAPrivateKey (RFC 8017, A.1.2), for a signer; wiped when dropped.
    pub(crate) fn to_pkcs1_der(&self) -> Result<SecretDocument, KeyError> {
        self.rsa.to_pkcs1_der().map_err(|e| self.encode_error(e))
    }

    /// Makes a key from the system's random numbers. This takes from a fraction of a second (2048
    /// bits) to many minutes (16,384).
    pub(crate) fn generate(name: KeyName, size: KeySize) -> Result<Self, KeyError> {
        let bits = size.bits();
        let failed = |source| KeyError::Generate { bits, source };
        let rsa = RsaPrivateKey::new(&mut OsRng, bits as usize).map_err(failed)?;
        let public = PublicKey::from_rsa(name, rsa.to_public_key())
            .map_err(|_| failed(rsa::Error::Internal))?;
        Ok(Self { public, rsa })
    }

    /// The content of the private key's file: PKCS#1 as the historic tool wrote it, or PKCS#8
    /// encrypted with `passphrase`.
    pub(super) fn to_pem(&self, passphrase: Option<&str>) -> Result<Zeroizing<String>, KeyError> {
        let Some(passphrase) = passphrase else {
            return self
                .rsa
                .to_pkcs1_pem(LineEnding::LF)
                .map_err(|e| self.encode_error(e));
        };
        if passphrase.is_empty() {
            return Err(KeyError::EmptyPassphrase);
        }
        self.to_encrypted_pem(passphrase)
            .map_err(|e| self.encode_error(e.into()))
    }

    /// PBES2 (RFC 8018) of scrypt and AES-256-CBC. The cost is chosen so that OpenSSL, which takes
    /// 32 MiB at most unless told otherwise, can read the file: N 2^14 in five lanes is as hard as
    /// the usual N 2^16 in two, or 2^17 in one.
    fn to_encrypted_pem(&self, passphrase: &str) -> pkcs8::Result<Zeroizing<String>> {
        let (mut salt, mut iv) = ([0; 16], [0; 16]);
        OsRng.fill_bytes(&mut salt);
        OsRng.fill_bytes(&mut iv);
        let cost = scrypt::Params::new(14, 8, 5, 32).map_err(|_| pkcs8::Error::KeyMalformed)?;
        let scheme = pbes2::Parameters::scrypt_aes256cbc(cost, &salt, &iv)?;
        let der = self.rsa.to_pkcs8_der()?;
        let info = PrivateKeyInfo::try_from(der.as_bytes())?;
        let sealed = info.encrypt_with_params(scheme, passphrase)?;
        sealed
            .to_pem("ENCRYPTED PRIVATE KEY", LineEnding::LF)
            .map_err(pkcs8::Error::from)
    }

    fn encode_error(&self, source: rsa::pkcs1::Error) -> KeyError {
        KeyError::Encode {
            name: self.name().clone(),
            source,
        }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

/// What a PEM text turned out to hold: a key, or one that a passphrase opens.
pub(super) enum Found {
    /// A key that lies open.
    Open(Box<PrivateKey>),
    /// A PKCS#8 EncryptedPrivateKeyInfo in DER, of a kind that can be opened.
    Encrypted(Zeroizing<Vec<u8>>),
}

impl Found {
    /// Reads PEM: PKCS#1, PKCS#8, or encrypted PKCS#8.
    pub(super) fn read(name: &KeyName, bytes: &[u8]) -> Result<Self, PrivateKeyFault> {
        let pem = Pem::find(bytes)?;
        if pem.is_traditionally_encrypted() {
            return Err(PrivateKeyFault::OldEncryption);
        }
        match pem.label() {
            "RSA PRIVATE KEY" => Ok(Self::Open(Box::new(from_pkcs1(name, &pem.decode()?)?))),
            "PRIVATE KEY" => Ok(Self::Open(Box::new(from_pkcs8(name, &pem.decode()?)?))),
            "ENCRYPTED PRIVATE KEY" => {
                let der = pem.decode()?;
                check_encryption(&der)?;
                Ok(Self::Encrypted(der))
            }
            "OPENSSH PRIVATE KEY" => Err(PrivateKeyFault::IsOpenSsh),
            "EC PRIVATE KEY" => Err(PrivateKeyFault::OtherAlgorithm("elliptic curve".to_owned())),
            "DSA PRIVATE KEY" => Err(PrivateKeyFault::OtherAlgorithm("DSA".to_owned())),
            label if label.ends_with("PUBLIC KEY") => Err(PrivateKeyFault::IsPublic),
            label => Err(PrivateKeyFault::OtherLabel(label.to_owned())),
        }
    }

    /// The key, with a passphrase where one is needed. `place` is what errors call the text's origin.
    pub(super) fn open(
        self,
        place: &str,
        name: &KeyName,
        passphrase: &AskPassphrase<'_>,
    ) -> Result<PrivateKey, KeyError> {
        match self {
            Self::Open(key) => Ok(*key),
            Self::Encrypted(der) => {
                let passphrase = passphrase(name)?;
                decrypt(name, &der, &passphrase).map_err(|fault| private_error(place, fault))
            }
        }
    }
}

impl PrivateKey {
    /// The private key that came whole as PEM text from `$SIGINDEX_PRIVATE_KEY`; the caller reads
    /// the environment.
    ///
    /// # Errors
    /// [`KeyError::Private`], or what `passphrase` gave.
    pub fn from_env_pem(
        name: KeyName,
        pem: &str,
        passphrase: &AskPassphrase<'_>,
    ) -> Result<Self, KeyError> {
        let place = "$SIGINDEX_PRIVATE_KEY";
        let found =
            Found::read(&name, pem.as_bytes()).map_err(|fault| private_error(place, fault))?;
        found.open(place, &name, passphrase)
    }
}

/// A fault with the place where the key was found.
pub(super) fn private_error(place: &str, fault: PrivateKeyFault) -> KeyError {
    KeyError::Private {
        place: place.to_owned(),
        fault,
    }
}

/// A key from DER RSAPrivateKey (RFC 8017, A.1.2).
///
/// The CRT numbers of the file are not used: they are computed anew from the primes, so that a
/// damaged one cannot leak the key through a faulty signature.
fn from_pkcs1(name: &KeyName, der: &[u8]) -> Result<PrivateKey, PrivateKeyFault> {
    let key = Pkcs1PrivateKey::from_der(der).map_err(|_| PrivateKeyFault::Malformed)?;
    if key.version() != Version::TwoPrime {
        return Err(PrivateKeyFault::MultiPrime);
    }
    let (n, e) = (key.modulus.as_bytes(), key.public_exponent.as_bytes());
    let (d, p, q) = (
        key.private_exponent.as_bytes(),
        key.prime1.as_bytes(),
        key.prime2.as_bytes(),
    );
    let bits = check_numbers(n, e)?;
    check_lengths(u64::from(bits), d, p, q)?;
    let number = BigUint::from_bytes_be;
    let rsa =
        RsaPrivateKey::from_components(number(n), number(e), number(d), vec![number(p), number(q)])
            .map_err(|_| PrivateKeyFault::Inconsistent)?;
    if rsa.crt_coefficient().is_none() {
        return Err(PrivateKeyFault::Inconsistent);
    }
    let public = PublicKey::from_rsa(name.clone(), rsa.to_public_key())?;
    Ok(PrivateKey { public, rsa })
}

/// Holds the secret numbers' lengths against the modulus's, before anything is computed with them.
fn check_lengths(bits: u64, d: &[u8], p: &[u8], q: &[u8]) -> Result<(), PrivateKeyFault> {
    let near_half = |prime| (bit_length(prime) * 2).abs_diff(bits) <= PRIME_SLACK_BITS * 2;
    if near_half(p) && near_half(q) && bit_length(d) <= bits {
        Ok(())
    } else {
        Err(PrivateKeyFault::Inconsistent)
    }
}

/// A key from DER PrivateKeyInfo (RFC 5208).
fn from_pkcs8(name: &KeyName, der: &[u8]) -> Result<PrivateKey, PrivateKeyFault> {
    let info = PrivateKeyInfo::from_der(der).map_err(|_| PrivateKeyFault::Malformed)?;
    if info.algorithm.oid != ALGORITHM_OID {
        return Err(PrivateKeyFault::OtherAlgorithm(algorithm_name(
            info.algorithm.oid,
        )));
    }
    from_pkcs1(name, info.private_key)
}

/// Checks, without a passphrase, that a DER EncryptedPrivateKeyInfo (RFC 5208) is of a kind that can
/// be opened, at a bearable cost.
fn check_encryption(der: &[u8]) -> Result<(), PrivateKeyFault> {
    // An algorithm that is not known fails here already, which the error does not tell apart.
    let info =
        EncryptedPrivateKeyInfo::from_der(der).map_err(|_| PrivateKeyFault::OtherEncryption)?;
    let EncryptionScheme::Pbes2(scheme) = &info.encryption_algorithm else {
        return Err(PrivateKeyFault::OtherEncryption);
    };
    match &scheme.kdf {
        pbes2::Kdf::Scrypt(cost) => check_scrypt(cost),
        pbes2::Kdf::Pbkdf2(cost) if cost.iteration_count > MAX_PBKDF2_ROUNDS => {
            Err(PrivateKeyFault::CostlyEncryption)
        }
        pbes2::Kdf::Pbkdf2(_) => Ok(()),
        _ => Err(PrivateKeyFault::OtherEncryption),
    }
}

/// Holds what scrypt takes against the limits, and its parameters against RFC 7914 (2).
fn check_scrypt(cost: &pbes2::ScryptParams<'_>) -> Result<(), PrivateKeyFault> {
    let (n, lanes) = (cost.cost_parameter, u64::from(cost.parallelization));
    let block = u64::from(cost.block_size).saturating_mul(128);
    // A table of N blocks, one for each lane, and one to work in.
    let blocks = n.saturating_add(lanes).saturating_add(1);
    let bytes = block.saturating_mul(blocks);
    let steps = n.saturating_add(SCRYPT_LANE_STEPS);
    let work = block.saturating_mul(lanes).saturating_mul(steps);
    if bytes > MAX_SCRYPT_BYTES || work > MAX_SCRYPT_WORK {
        return Err(PrivateKeyFault::CostlyEncryption);
    }
    // Who reads the parameters takes an N of 1, which the RFC does not know, and counts below zero with one of 0.
    if n < 2 || scrypt::Params::try_from(cost).is_err() {
        return Err(PrivateKeyFault::OtherEncryption);
    }
    match is_to_be_had(bytes) {
        true => Ok(()),
        false => Err(PrivateKeyFault::CostlyEncryption),
    }
}

/// Whether so much memory is there: who derives the key asks for it without asking whether there is any.
fn is_to_be_had(bytes: u64) -> bool {
    let mut memory: Vec<u8> = Vec::new();
    usize::try_from(bytes).is_ok_and(|bytes| memory.try_reserve_exact(bytes).is_ok())
}

/// A key from DER EncryptedPrivateKeyInfo that [`check_encryption`] accepted.
fn decrypt(name: &KeyName, der: &[u8], passphrase: &str) -> Result<PrivateKey, PrivateKeyFault> {
    let info = EncryptedPrivateKeyInfo::from_der(der).map_err(|_| PrivateKeyFault::Malformed)?;
    let plain = info.decrypt(passphrase).map_err(|error| match error {
        pkcs8::Error::EncryptedPrivateKey(
            Pkcs5Error::UnsupportedAlgorithm { .. }
            | Pkcs5Error::AlgorithmParametersInvalid { .. }
            | Pkcs5Error::NoPbes1CryptSupport,
        ) => PrivateKeyFault::OtherEncryption,
        _ => PrivateKeyFault::WrongPassphrase,
    })?;
    // One wrong passphrase in 256 gives a good padding by chance, and noise instead of a key.
    from_pkcs8(name, plain.as_bytes()).map_err(|fault| match fault {
        PrivateKeyFault::Malformed => PrivateKeyFault::WrongPassphrase,
        other => other,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    #![allow(clippy::panic, clippy::string_slice)]
    use super::super::samples::{self, name};
    use super::*;
    use crate::keys::{PemFault, PublicKeyFault};
    use pkcs8::der::pem;
    use rsa::pkcs1::UintRef;
    use rsa::traits::{PrivateKeyParts, PublicKeyParts};

    fn never(_: &KeyName) -> Result<Zeroizing<String>, KeyError> {
        panic!("the key is not encrypted")
    }

    fn fault(text: &str, passphrase: &AskPassphrase<'_>) -> PrivateKeyFault {
        match PrivateKey::from_env_pem(name("Env"), text, passphrase) {
            Err(KeyError::Private { place, fault }) => {
                assert_eq!(place, "$SIGINDEX_PRIVATE_KEY");
                fault
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_three_forms_are_read() {
        let key = samples::weak();
        let passphrase = "correct horse";
        let pkcs8 = key.rsa().to_pkcs8_pem(LineEnding::LF).unwrap();
        for text in [key.to_pem(None).unwrap(), pkcs8] {
            let again = PrivateKey::from_env_pem(name("Env"), &text, &never).unwrap();
            assert_eq!(again.public().fingerprint(), key.public().fingerprint());
            assert_eq!(again.name(), &name("Env"));
        }
        let sealed = key.to_pem(Some(passphrase)).unwrap();
        assert!(sealed.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
        let good = |asked: &KeyName| {
            assert_eq!(asked.as_str(), "Env");
            Ok(Zeroizing::new(passphrase.to_owned()))
        };
        let again = PrivateKey::from_env_pem(name("Env"), &sealed, &good).unwrap();
        assert_eq!(again.public().fingerprint(), key.public().fingerprint());
        let wrong = |_: &KeyName| Ok(Zeroizing::new("wrong".to_owned()));
        assert_eq!(fault(&sealed, &wrong), PrivateKeyFault::WrongPassphrase);
        let none = |asked: &KeyName| {
            let why = "there is no terminal to ask on".to_owned();
            Err(KeyError::NoPassphrase {
                name: asked.clone(),
                why,
            })
        };
        let error = PrivateKey::from_env_pem(name("Env"), &sealed, &none).unwrap_err();
        assert!(error.to_string().contains("SIGINDEX_PASSPHRASE"), "{error}");
        assert!(matches!(
            key.to_pem(Some("")),
            Err(KeyError::EmptyPassphrase)
        ));
    }

    #[test]
    fn what_is_no_private_key_says_so() {
        use PrivateKeyFault as F;
        let good = samples::weak().to_pem(None).unwrap().to_string();
        let relabel = |label: &str| good.replace("RSA PRIVATE KEY", label);
        let old = good.replacen(
            "-----\n",
            "-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n",
            1,
        );
        let cases = [
            (samples::weak().public().to_pem().to_owned(), F::IsPublic),
            (
                relabel("EC PRIVATE KEY"),
                F::OtherAlgorithm("elliptic curve".into()),
            ),
            (relabel("OPENSSH PRIVATE KEY"), F::IsOpenSsh),
            (relabel("CERTIFICATE"), F::OtherLabel("CERTIFICATE".into())),
            (relabel("PRIVATE KEY"), F::Malformed),
            (relabel("ENCRYPTED PRIVATE KEY"), F::OtherEncryption),
            (old, F::OldEncryption),
            (format!("{good}{good}"), F::Pem(PemFault::Junk)),
            (good.replace('\n', "\\n"), F::Pem(PemFault::EscapedLineEnds)),
            ("secret".into(), F::NotPem),
        ];
        for (text, expected) in cases {
            assert_eq!(fault(&text, &never), expected, "{text}");
        }
    }

    /// The sample key's numbers, one of them replaced.
    fn with(change: &str, number: &[u8]) -> String {
        use pkcs8::der::Encode;
        let key = samples::weak().rsa();
        let part = |part: &str, own: &BigUint| {
            if part == change {
                number.to_vec()
            } else {
                own.to_bytes_be()
            }
        };
        let (n, e, d) = (part("n", key.n()), part("e", key.e()), part("d", key.d()));
        let (p, q) = (part("p", &key.primes()[0]), part("q", &key.primes()[1]));
        let dp = part("dp", key.dp().unwrap());
        let uint = |bytes| UintRef::new(bytes).unwrap();
        let der = Pkcs1PrivateKey {
            modulus: uint(&n),
            public_exponent: uint(&e),
            private_exponent: uint(&d),
            prime1: uint(&p),
            prime2: uint(&q),
            exponent1: uint(&dp),
            exponent2: uint(&[3]),
            coefficient: uint(&[3]),
            other_prime_infos: None,
        };
        pem::encode_string("RSA PRIVATE KEY", LineEnding::LF, &der.to_der().unwrap()).unwrap()
    }

    #[test]
    fn numbers_that_do_not_belong_together_are_refused_quickly() {
        use PrivateKeyFault as F;
        // The CRT numbers are not taken from the file, so a bad one does no harm.
        assert!(PrivateKey::from_env_pem(name("Env"), &with("dp", &[3]), &never).is_ok());
        let n = samples::weak().rsa().n().to_bytes_be();
        let even = [&n[..n.len() - 1], &[2]].concat();
        let cases = [
            ("n", even, F::Public(PublicKeyFault::EvenModulus)),
            (
                "n",
                vec![0xff; 4096],
                F::Public(PublicKeyFault::TooLarge { bits: 32_768 }),
            ),
            ("n", vec![0xff; 128], F::Inconsistent),
            ("e", vec![1], F::Public(PublicKeyFault::TrivialExponent(1))),
            ("e", vec![3], F::Inconsistent),
            ("d", vec![3], F::Inconsistent),
            ("d", vec![0xff; 4096], F::Inconsistent),
            ("p", vec![3], F::Inconsistent),
            ("p", vec![0], F::Inconsistent),
            ("p", n.clone(), F::Inconsistent),
            ("q", vec![0xff; 64], F::Inconsistent),
        ];
        for (part, number, expected) in cases {
            assert_eq!(fault(&with(part, &number), &never), expected, "{part}");
        }
    }

    #[test]
    fn lengths_are_held_against_the_modulus_before_anything_is_computed() {
        let of = |bits: usize| {
            let mut number = vec![0xff; bits.div_ceil(8)];
            number[0] = 0xff >> ((8 - bits % 8) % 8);
            number
        };
        for (d, p, q, fits) in [
            (1024, 512, 512, true),
            (1, 512, 512, true),
            (1024, 520, 504, true),
            (1024, 504, 520, true),
            (1025, 512, 512, false),
            (1024, 521, 512, false),
            (1024, 503, 512, false),
            (1024, 512, 521, false),
            (1024, 512, 503, false),
            (1024, 1024, 1, false),
        ] {
            let found = check_lengths(1024, &of(d), &of(p), &of(q));
            assert_eq!(found.is_ok(), fits, "{d} {p} {q}");
        }
    }

    #[test]
    fn a_key_that_openssl_encrypted_is_opened() {
        let key = samples::weak();
        let der = key.rsa().to_pkcs8_der().unwrap();
        let info = PrivateKeyInfo::try_from(der.as_bytes()).unwrap();
        // What `openssl pkcs8 -topk8` chooses.
        let scheme = pbes2::Parameters::pbkdf2_sha256_aes256cbc(2048, &[1; 8], &[2; 16]).unwrap();
        let sealed = info.encrypt_with_params(scheme, "word").unwrap();
        let text = sealed
            .to_pem("ENCRYPTED PRIVATE KEY", LineEnding::LF)
            .unwrap();
        let ask = |_: &KeyName| Ok(Zeroizing::new("word".to_owned()));
        let again = PrivateKey::from_env_pem(name("Env"), &text, &ask).unwrap();
        assert_eq!(again.public().fingerprint(), key.public().fingerprint());
    }

    #[test]
    fn a_derivation_that_costs_too_much_is_not_begun() {
        // Gigabytes; more than there are; years, in lanes of gigabytes and in many small ones; gigabytes of lanes alone.
        for (log_n, r, p) in [
            (30, 8, 1),
            (63, 1, 1),
            (20, 8, 5),
            (14, 8, 1_000),
            (1, u16::MAX, 512),
            (1, 512, u16::MAX),
        ] {
            let text = scrypt_of(1 << log_n, r, p);
            assert_eq!(fault(&text, &never), PrivateKeyFault::CostlyEncryption);
        }
        for rounds in [10_000_001, 100_000_000] {
            let text = pbkdf2_of(rounds);
            assert_eq!(fault(&text, &never), PrivateKeyFault::CostlyEncryption);
        }
        let der = Pem::find(pbkdf2_of(10_000_000).as_bytes())
            .unwrap()
            .decode();
        assert_eq!(check_encryption(&der.unwrap()), Ok(()));
    }

    fn pbkdf2_of(iteration_count: u32) -> String {
        let kdf = pbes2::Kdf::Pbkdf2(pbes2::Pbkdf2Params {
            salt: &[1; 16],
            iteration_count,
            key_length: None,
            prf: pbes2::Pbkdf2Prf::HmacWithSha256,
        });
        let encryption = pbes2::EncryptionScheme::Aes256Cbc { iv: &[2; 16] };
        sealed_with(pbes2::Parameters { kdf, encryption })
    }

    #[test]
    fn the_last_cost_that_is_borne() {
        use PrivateKeyFault as F;
        for (cost, r, p, expected) in [
            (1 << 20, 8, 4, None),
            // Exactly all the memory, and exactly all the work.
            (1 << 11, 4096, 1, None),
            (1 << 12, 1024, 8, None),
            (1 << 20, 9, 1, Some(F::CostlyEncryption)),
            (1 << 21, 8, 1, Some(F::CostlyEncryption)),
            (1 << 14, 8, 256, None),
            (1 << 14, 8, 257, Some(F::CostlyEncryption)),
            // With so few steps, to make the lanes is what takes memory and time.
            (2, u16::MAX, 85, None),
            (2, u16::MAX, 86, Some(F::CostlyEncryption)),
            // The RFC wants a power of two, from 2 on and below 2^(16 r), a block, and a lane.
            (2, 1, 1, None),
            (0, 8, 1, Some(F::OtherEncryption)),
            (1, 8, 1, Some(F::OtherEncryption)),
            (3, 8, 1, Some(F::OtherEncryption)),
            (1 << 15, 1, 1, None),
            (1 << 16, 1, 1, Some(F::OtherEncryption)),
            (2, 0, 1, Some(F::OtherEncryption)),
            (2, 8, 0, Some(F::OtherEncryption)),
        ] {
            let der = Pem::find(scrypt_of(cost, r, p).as_bytes())
                .unwrap()
                .decode();
            assert_eq!(
                check_encryption(&der.unwrap()).err(),
                expected,
                "{cost} {r} {p}"
            );
        }
    }

    #[test]
    fn what_cannot_be_derived_is_not_put_down_to_the_passphrase() {
        // Nor is it asked for.
        for n in [0, 1, 3] {
            let text = scrypt_of(n, 8, 1);
            assert_eq!(fault(&text, &never), PrivateKeyFault::OtherEncryption);
        }
    }

    fn scrypt_of(cost_parameter: u64, block_size: u16, parallelization: u16) -> String {
        let kdf = pbes2::Kdf::Scrypt(pbes2::ScryptParams {
            salt: &[1; 16],
            cost_parameter,
            block_size,
            parallelization,
            key_length: None,
        });
        let encryption = pbes2::EncryptionScheme::Aes256Cbc { iv: &[2; 16] };
        sealed_with(pbes2::Parameters { kdf, encryption })
    }

    fn sealed_with(scheme: pbes2::Parameters<'_>) -> String {
        use pkcs8::der::EncodePem;
        let encryption_algorithm = EncryptionScheme::Pbes2(scheme);
        let info = EncryptedPrivateKeyInfo {
            encryption_algorithm,
            encrypted_data: &[3; 64],
        };
        info.to_pem(LineEnding::LF).unwrap()
    }

    #[test]
    fn debug_shows_no_secret() {
        let key = samples::weak();
        let text = format!("{key:?}");
        let secret = key.rsa().d().to_str_radix(10);
        assert!(
            !text.contains(&secret) && !text.contains("primes"),
            "{text}"
        );
        assert!(text.contains("Weak"), "{text}");
    }
}
