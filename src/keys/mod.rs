//! Keys: their names, sizes, fingerprints and files, what may be held in a folder of them, what each is
//! for, and which channel it is trusted for. This is the only room that reads key files; it knows nothing of
//! the command line, of what is in channels, packages or signature files, and asks for a passphrase through
//! a function it is given.

mod admit;
mod create;
mod error;
mod fault;
mod folder;
mod keyring;
mod name;
mod pem;
mod pin;
mod pins;
mod place;
mod private;
mod public;
#[cfg(test)]
pub(crate) mod samples;
mod settings;
mod uses;

pub use admit::{Added, Halves, Removed};
pub use error::KeyError;
pub use fault::{PrivateKeyFault, PublicKeyFault};
pub use folder::KeysDir;
pub(crate) use folder::is_foreign;
pub use keyring::Keyring;
pub use name::{Fingerprint, KeyName, KeySize, WeakSizes};
pub use pem::PemFault;
pub use pins::Pins;
pub use place::ChannelPlace;
pub use private::PrivateKey;
pub use public::PublicKey;
pub(crate) use public::SALT_BYTES;
pub use settings::SettingsError;
pub use uses::{Use, Uses};

use zeroize::Zeroizing;

/// The most bytes that are read of a key file; the largest key in use here (16,384 bits, private)
/// takes about 13 KiB.
pub const MAX_KEY_FILE_BYTES: u64 = 64 * 1024;

/// The smallest key that is read or made at all, in bits.
pub const MIN_KEY_BITS: u32 = 1024;

/// The largest key that is read or made at all, in bits.
pub const MAX_KEY_BITS: u32 = 16_384;

/// The size below which a key is weak, in bits, and the size of a new key unless another is asked for.
pub const DEFAULT_KEY_BITS: u32 = 2048;

/// What supplies the passphrase of an encrypted private key. It is called only for a key that is
/// encrypted, and at most once for each load.
pub type AskPassphrase<'a> = dyn Fn(&KeyName) -> Result<Zeroizing<String>, KeyError> + 'a;
