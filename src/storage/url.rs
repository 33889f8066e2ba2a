//! Which channels lie in object storage, by their names alone.

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
