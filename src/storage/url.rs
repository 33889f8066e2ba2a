//! Which channels lie in object storage, by their names alone, and opening those for readers.

use std::sync::Arc;

#[cfg(feature = "object-storage")]
use super::{ObjectOptions, ObjectStorage};
use super::{Storage, StorageError};

/// The schemes of URLs: of Amazon's S3 and what speaks its protocol, of Google's storage and of Azure's.
const SCHEMES: [&str; 3] = ["s3", "gs", "az"];

/// Whether a channel's name is the URL of a place in object storage, as in `s3://BUCKET/PREFIX`.
pub fn is_object_url(name: &str) -> bool {
    name.split_once("://").is_some_and(|(scheme, _)| {
        SCHEMES
            .iter()
            .any(|known| known.eq_ignore_ascii_case(scheme))
    })
}

/// Opens a place in object storage, to be read.
///
/// # Errors
/// When the URL names none, or this build has no object storage.
#[cfg(feature = "object-storage")]
pub fn open_url(url: &str) -> Result<Arc<dyn Storage>, StorageError> {
    let opened = ObjectStorage::open(url, ObjectOptions::default())?;
    Ok(Arc::new(opened))
}

/// Says that this build has no object storage.
///
/// # Errors
/// Always.
#[cfg(not(feature = "object-storage"))]
pub fn open_url(_url: &str) -> Result<Arc<dyn Storage>, StorageError> {
    Err(StorageError::NoObjects)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_object_storage_has_a_scheme() {
        assert!(is_object_url("s3://bucket/channel") && is_object_url("GS://bucket"));
        for folder in ["s3", "s3:/bucket", "./s3://x", "https://host/s3://", ""] {
            assert!(!is_object_url(folder), "{folder}");
        }
    }
}
