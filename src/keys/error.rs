//! What can be wrong with a key's name, file or folder, and what to do about it. What can be wrong
//! inside a key is in [`super::fault`]. No message holds key material or a passphrase.

use std::io;
use std::path::PathBuf;

use rustix::io::Errno;
use thiserror::Error;

use crate::shown::shown;
use crate::storage::remedy;

use super::{
    ChannelPlace, Fingerprint, KeyName, PrivateKeyFault, PublicKeyFault, SettingsError, Use,
};

/// Why an operation on keys failed. Each names the file (or the environment variable) and, where
/// there is one, the remedy.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A text is not a key's name.
    #[error(
        "`{name}` is not a key's name: 1 to 64 of A-Z a-z 0-9 . _ -, the first a letter or a digit, and not ending in `.pub`"
    )]
    Name {
        /// The text, escaped and cut.
        name: String,
    },
    /// A text is not a fingerprint.
    #[error(
        "`{text}` is not a fingerprint: 64 hexadecimal digits in lower case, as `sigindex keys` shows them"
    )]
    Fingerprint {
        /// The text, escaped and cut.
        text: String,
    },
    /// A size for a new key lies outside what is made.
    #[error(
        "cannot make a key of {bits} bits: sizes go from 1024 to 16384 bits; 2048 is the usual one"
    )]
    SizeOutOfRange {
        /// The size asked for.
        bits: u32,
    },
    /// A size for a new key is not a multiple of 8.
    #[error("cannot make a key of {bits} bits: a size is a multiple of 8; 2048 is the usual one")]
    SizeStep {
        /// The size asked for.
        bits: u32,
    },
    /// A size for a new key is weak.
    #[error(
        "a key of {bits} bits is weak: its signatures can be forged with much computing. Take 2048 or more, or pass --allow-weak"
    )]
    SizeWeak {
        /// The size asked for.
        bits: u32,
    },
    /// A folder of keys cannot be listed.
    #[error("cannot list the keys in {}: {source}{}", shown(path), remedy(source))]
    ListFolder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A folder of keys cannot be made.
    #[error(
        "cannot make the keys folder {}: {source}; make it yourself with mode 0700, or name another with --keys-dir",
        shown(path)
    )]
    MakeFolder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A folder of keys cannot be written to.
    #[error(
        "cannot write into the keys folder {}: {source}; give it back its write permission, or name another with --keys-dir",
        shown(path)
    )]
    FolderNotWritable {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A folder of keys cannot be synced to disk.
    #[error(
        "cannot sync the folder {} to disk: {source}{}",
        shown(path),
        remedy(source)
    )]
    SyncFolder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A key's file cannot be opened.
    #[error("cannot open the key file {}: {source}{}", shown(path), remedy(source))]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A key's file cannot be read.
    #[error("cannot read the key file {}: {source}{}", shown(path), remedy(source))]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A key's file cannot be made, whole and synced.
    #[error(
        "cannot create the key file {}: {source}{}",
        shown(path),
        remedy(source)
    )]
    Create {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A key's file is a folder, FIFO, socket or device.
    #[error(
        "the key file {} is not a regular file; move it out of the keys folder",
        shown(path)
    )]
    NotAFile {
        /// What stands in the key's place.
        path: PathBuf,
    },
    /// A key's file is far too long to be one.
    #[error(
        "the key file {} is longer than 64 KiB, so it is not a key; move it out of the keys folder",
        shown(path)
    )]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// There is no private key of that name.
    #[error(
        "there is no private key {}; make one with `sigindex keygen {name}`",
        shown(path)
    )]
    NoPrivateKey {
        /// The name asked for.
        name: KeyName,
        /// Where it would be.
        path: PathBuf,
    },
    /// A private key belongs to somebody else.
    #[error(
        "the private key {} belongs to user {owner}, who can read and change it: `chown {user}` it, or use a key of your own",
        shown(path)
    )]
    Owner {
        /// The file.
        path: PathBuf,
        /// The user ID of its owner.
        owner: u32,
        /// The user ID that this process acts as.
        user: u32,
    },
    /// A private key can be read or changed by others.
    #[error("the private key {path} is open to others (mode {mode:04o}): `chmod 600 {path}`; if others may have read it, make a new key", path = shown(path))]
    OpenToOthers {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A private key can be read or changed by its group.
    #[error("the private key {path} is open to its group (mode {mode:04o}): `chmod 600 {path}`, or pass --group-readable-keys for a secret mount that the group only reads", path = shown(path))]
    OpenToGroup {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file that should hold the PIN of a token.
    #[error("cannot use the PIN file {}: {why}", shown(path))]
    Pin {
        /// The file.
        path: PathBuf,
        /// Why, and what to do.
        why: String,
    },
    /// A public key is no key that is used here.
    #[error("cannot use the public key {place}: {fault}")]
    Public {
        /// The file.
        place: String,
        /// What is wrong with it.
        fault: PublicKeyFault,
    },
    /// A private key is no key that is used here.
    #[error("cannot use the private key {place}: {fault}")]
    Private {
        /// The file, or the environment variable.
        place: String,
        /// What is wrong with it.
        fault: PrivateKeyFault,
    },
    /// A private key lies there without its public key.
    #[error("the private key {private} has no {public} beside it; write it with `openssl rsa -in {private} -pubout -out {public}`", private = shown(private), public = shown(public))]
    NoPublicKey {
        /// The private key's file.
        private: PathBuf,
        /// Where the public key's file would be.
        public: PathBuf,
    },
    /// A private key's own public key is not the one beside it.
    #[error(
        "{} is not the public key of {}; clients would refuse its signatures. Find out which of the two is wrong before anything is signed",
        shown(public),
        shown(private)
    )]
    Mismatch {
        /// The private key's file.
        private: PathBuf,
        /// The public key's file.
        public: PathBuf,
    },
    /// A key is to be made where a file is.
    #[error(
        "{} exists already, and a key is never overwritten; choose another name",
        shown(path)
    )]
    Exists {
        /// The file in the way.
        path: PathBuf,
    },
    /// A key is to be made where its private half alone is.
    #[error(
        "{} exists already, and {} does not, as when making the key was cut off; if nothing was signed with it, remove it, and make the key again",
        shown(path),
        shown(public)
    )]
    HalfThere {
        /// The file in the way.
        path: PathBuf,
        /// The file that is missing.
        public: PathBuf,
    },
    /// A key from elsewhere has the name of another key of the folder.
    #[error(
        "the keys folder holds another key, or a broken one, under the name {name}; give the key from the environment another name"
    )]
    NameTaken {
        /// The name.
        name: KeyName,
    },
    /// A key could not be made.
    #[error("cannot make a key of {bits} bits: {source}; run again")]
    Generate {
        /// The size asked for.
        bits: u32,
        /// What the RSA code said.
        source: rsa::Error,
    },
    /// A key could not be brought into the form of its file.
    #[error("cannot write the key {name} as PEM: {source}")]
    Encode {
        /// The key.
        name: KeyName,
        /// What the encoder said.
        source: rsa::pkcs1::Error,
    },
    /// An encrypted key is to be made with an empty passphrase.
    #[error(
        "the passphrase is empty, so it would protect nothing; give one, or make the key without encryption"
    )]
    EmptyPassphrase,
    /// The passphrase of an encrypted key is not to be had.
    #[error(
        "the private key {name} is encrypted, and {why}; set $SIGINDEX_PASSPHRASE, or run where it can be asked for"
    )]
    NoPassphrase {
        /// The key.
        name: KeyName,
        /// Why there is no passphrase, as a clause: `there is no terminal to ask on`.
        why: String,
    },
    /// What the keys folder remembers of keys can't be read or changed.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A key is for something else.
    #[error(
        "the key {name} is a key of the {}, and each key signs one kind of thing only; {}", match has { Use::Package => "packages", Use::Index => "index", Use::Root => "root" }, match wanted { Use::Package => "choose or make another key for packages (--key NAME, `sigindex keygen NAME`)", _ => "make a key of its own for it with `sigindex keygen NAME`" }
    )]
    WrongUse {
        /// The key.
        name: KeyName,
        /// What it is for.
        has: Use,
        /// What it was to be used for.
        wanted: Use,
    },
    /// A text names no channel that a key can be pinned to.
    #[error("`{text}` is not a channel that keys can be pinned to: {why}")]
    Channel {
        /// The text, without credentials, escaped and cut.
        text: String,
        /// What is wrong, and what to do.
        why: String,
    },
    /// Another key of the same name is trusted for a channel.
    #[error(
        "another key of the name {name} (fingerprint {pinned}) is trusted for {channel}; if that is over, first say `sigindex keys trust {name} --channel {channel} --remove`"
    )]
    PinnedOtherwise {
        /// The name.
        name: KeyName,
        /// The channel.
        channel: ChannelPlace,
        /// The key that is trusted for it.
        pinned: Fingerprint,
    },
    /// A key that is to be added is weak.
    #[error(
        "the key {name} has {bits} bits, which is weak: its signatures can be forged with much computing. Ask for a key of 2048 or more, or pass --allow-weak"
    )]
    Weak {
        /// The key.
        name: KeyName,
        /// Its size.
        bits: u32,
    },
    /// A key that is to be added has the name of another.
    #[error(
        "{} is there already and holds another key, or none; add this one under another name with --name, or first `sigindex keys remove` the old one",
        shown(path)
    )]
    OtherKeyThere {
        /// The file in the way.
        path: PathBuf,
    },
    /// A key is not the one that was announced.
    #[error(
        "{place}: its fingerprint is {found}, and not {expected}; ask its owner which is right, and take it from nowhere else"
    )]
    OtherFingerprint {
        /// Where the key is from, without credentials.
        place: String,
        /// What it has.
        found: Fingerprint,
        /// What was announced.
        expected: Fingerprint,
    },
    /// Nothing of a key is there.
    #[error(
        "there is no key {name} in {}; `sigindex keys` lists them",
        shown(folder)
    )]
    NoSuchKey {
        /// The name.
        name: KeyName,
        /// The keys folder.
        folder: PathBuf,
    },
    /// A private key is in the way of removing its public one.
    #[error(
        "the private key {} is there, too, and can't be used without its public key; remove both with --private",
        shown(path)
    )]
    PrivateThere {
        /// The private key's file.
        path: PathBuf,
    },
    /// A key's file can't be removed.
    #[error(
        "cannot remove the key file {}: {source}{}",
        shown(path),
        remedy(source)
    )]
    Remove {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A key is not trusted for a channel from which it is to be removed.
    #[error("the key {name} is not trusted for {channel}; `sigindex keys` lists what is")]
    NotPinned {
        /// The key.
        name: KeyName,
        /// The channel.
        channel: ChannelPlace,
    },
}

/// Errors of a machine, whatever the file.
const UNREAD: [Errno; 6] = [
    Errno::INTR,
    Errno::IO,
    Errno::MFILE,
    Errno::NFILE,
    Errno::NOMEM,
    Errno::STALE,
];

impl KeyError {
    /// Whether the machine failed to read a file of the key: what it says is not known then.
    pub fn is_unread(&self) -> bool {
        let (KeyError::Open { source, .. } | KeyError::Read { source, .. }) = self else {
            return false;
        };
        let error = Errno::from_io_error(source);
        error.is_some_and(|error| UNREAD.contains(&error))
    }
}
