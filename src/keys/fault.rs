//! What can be wrong with the content of a key, and what to do about it. It knows nothing of where the
//! key was found; [`super::KeyError`] says that.

use thiserror::Error;

use super::pem::PemFault;

/// What is wrong with what should be a public key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PublicKeyFault {
    /// It is not one whole PEM block.
    #[error(transparent)]
    Pem(#[from] PemFault),
    /// It is a private key.
    #[error(
        "it is a private key. Write the public one with `openssl rsa -in KEY -pubout -out KEY.pub`; if the file was given away as it is, make a new key"
    )]
    IsPrivate,
    /// It is a PKCS#1 public key.
    #[error(
        "it is a PKCS#1 public key; convert it with `openssl rsa -RSAPublicKey_in -in OLD.pub -pubout -out NEW.pub`"
    )]
    IsPkcs1,
    /// It is PEM of some other kind.
    #[error(
        "it is a PEM file of the kind `{0}`; a public key begins with `-----BEGIN PUBLIC KEY-----`"
    )]
    OtherLabel(String),
    /// The DER inside is not a SubjectPublicKeyInfo of an RSA key (RFC 5280, RFC 8017).
    #[error(
        "what is in the PEM file is damaged, or not a SubjectPublicKeyInfo; get the public key again from who made it"
    )]
    Malformed,
    /// The key is of another algorithm.
    #[error("it is a key of another algorithm ({0}); only RSA keys are used here")]
    OtherAlgorithm(String),
    /// The modulus is too short.
    #[error("it has {bits} bits; keys below 1024 bits are not used at all")]
    TooSmall {
        /// The modulus's length.
        bits: u64,
    },
    /// The modulus is too long.
    #[error("it has {bits} bits; keys above 16384 bits are not used, as they would take too long")]
    TooLarge {
        /// The modulus's length.
        bits: u64,
    },
    /// The modulus's length is not a multiple of 8.
    #[error("it has {bits} bits; the size of a key is a multiple of 8")]
    OddSize {
        /// The modulus's length.
        bits: u64,
    },
    /// The modulus is even.
    #[error("its modulus is even, so it is no RSA key")]
    EvenModulus,
    /// The public exponent is 0 or 1.
    #[error("its public exponent is {0}, with which anybody can make signatures")]
    TrivialExponent(u8),
    /// The public exponent is even.
    #[error("its public exponent is even, so it is no RSA key")]
    EvenExponent,
    /// The public exponent is larger than 2^33 - 1.
    #[error("its public exponent is too large: at most 33 bits are used; 65537 is the usual one")]
    LargeExponent,
}

/// What is wrong with what should be a private key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PrivateKeyFault {
    /// There is no PEM block.
    #[error(
        "it is not a PEM file; an RSA private key begins with `-----BEGIN RSA PRIVATE KEY-----`, `-----BEGIN PRIVATE KEY-----` or `-----BEGIN ENCRYPTED PRIVATE KEY-----`"
    )]
    NotPem,
    /// It is not one whole PEM block.
    #[error(transparent)]
    Pem(PemFault),
    /// It is a public key.
    #[error("it is a public key; the private one is needed to sign")]
    IsPublic,
    /// It is in OpenSSH's own form.
    #[error("it is in OpenSSH's form; convert a copy with `ssh-keygen -p -m PEM -f COPY`")]
    IsOpenSsh,
    /// It is PEM of some other kind.
    #[error(
        "it is a PEM file of the kind `{0}`; an RSA private key begins with `-----BEGIN RSA PRIVATE KEY-----`, `-----BEGIN PRIVATE KEY-----` or `-----BEGIN ENCRYPTED PRIVATE KEY-----`"
    )]
    OtherLabel(String),
    /// It is encrypted in OpenSSL's traditional way.
    #[error(
        "it is encrypted in OpenSSL's old way (`Proc-Type: 4,ENCRYPTED`), which is weak and not read here; convert it with `openssl pkcs8 -topk8 -in OLD -out NEW`"
    )]
    OldEncryption,
    /// The DER inside is not the key that the label promises.
    #[error("what is in the PEM file is damaged; take it from a backup")]
    Malformed,
    /// The key is of another algorithm.
    #[error("it is a key of another algorithm ({0}); only RSA keys are used here")]
    OtherAlgorithm(String),
    /// The key has more than two primes.
    #[error("it is an RSA key of more than two primes, which is not used here; make a new key")]
    MultiPrime,
    /// The numbers of the key do not belong together.
    #[error("its numbers do not make up an RSA key; it is damaged, take it from a backup")]
    Inconsistent,
    /// The public half is not one that is used here.
    #[error(transparent)]
    Public(#[from] PublicKeyFault),
    /// The encryption is of a kind that is not read.
    #[error(
        "it is encrypted in a way that is not read here; convert it with `openssl pkcs8 -topk8 -v2 aes-256-cbc -in OLD -out NEW`"
    )]
    OtherEncryption,
    /// Deriving the key from the passphrase would take more than a GiB or very long.
    #[error(
        "deriving its key from the passphrase would take too much memory or time; convert it with `openssl pkcs8 -topk8 -v2 aes-256-cbc -in OLD -out NEW`"
    )]
    CostlyEncryption,
    /// The passphrase is wrong.
    #[error("the passphrase is wrong (or the file is damaged)")]
    WrongPassphrase,
}

impl From<PemFault> for PrivateKeyFault {
    fn from(fault: PemFault) -> Self {
        match fault {
            // It would name the first line of a public key.
            PemFault::NotPem => PrivateKeyFault::NotPem,
            other => PrivateKeyFault::Pem(other),
        }
    }
}
