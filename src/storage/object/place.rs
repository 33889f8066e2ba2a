//! The place that a URL names: which kind of store, which bucket, and which prefix. Owns the form of such URLs and of
//! the keys below them; makes no request.

use object_store::path::Path;

use crate::storage::StorageError;

/// The longest key of an object, in bytes, in all of these stores.
const MOST_OF_A_KEY: usize = 1_024;

/// The longest name of a bucket, in bytes.
const MOST_OF_A_BUCKET: usize = 255;

/// Which protocol is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Amazon's S3, and what speaks its protocol.
    S3,
    /// Google's storage.
    Google,
    /// Azure's blobs.
    Azure,
}

/// A bucket, or a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Which protocol is spoken.
    pub scheme: Scheme,
    /// The bucket or container.
    pub bucket: String,
    /// What all keys begin with: empty, or without a slash at either end.
    prefix: String,
    url: String,
}

impl Place {
    /// Reads a URL, as in `s3://BUCKET/PREFIX`. What follows the bucket is taken as it is, as other tools for S3 do.
    ///
    /// # Errors
    /// When it has no such form. A URL that may hold a secret is not shown.
    pub fn of(url: &str) -> Result<Place, StorageError> {
        let wrong = |url: &str, why| StorageError::ObjectUrl {
            url: url.to_owned(),
            why,
        };
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| wrong(url, "it has no scheme; name it as s3://BUCKET/PREFIX"))?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.contains(['@', ':']) || rest.contains(['?', '#']) {
            let shown = format!("{scheme}://…");
            let why = "it holds more than a bucket and a prefix, perhaps a secret; give credentials in the environment";
            return Err(wrong(&shown, why));
        }
        let known = match scheme.to_ascii_lowercase().as_str() {
            "s3" => Some((Scheme::S3, "s3")),
            "gs" => Some((Scheme::Google, "gs")),
            "az" => Some((Scheme::Azure, "az")),
            _ => None,
        };
        let (scheme, word) =
            known.ok_or_else(|| wrong(url, "its scheme is none of s3, gs and az"))?;
        if bucket.is_empty() {
            return Err(wrong(url, "it names no bucket"));
        }
        if !is_bucket(scheme, bucket) {
            let why = "no bucket has such a name: it has other letters in it than A to Z, 0 to 9, `.`, `_` and `-`, or is none";
            return Err(wrong(&url.escape_debug().to_string(), why));
        }
        let prefix = prefix.trim_end_matches('/');
        if !is_plain(prefix) {
            let why = "its prefix has an empty part, `.`, `..` or a control character";
            return Err(wrong(&url.escape_debug().to_string(), why));
        }
        if prefix.len() > MOST_OF_A_KEY {
            return Err(wrong(
                word,
                "its prefix has more than 1,024 bytes, and no key has",
            ));
        }
        let url = match prefix {
            "" => format!("{word}://{bucket}"),
            prefix => format!("{word}://{bucket}/{prefix}"),
        };
        Ok(Place {
            scheme,
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            url,
        })
    }

    /// The URL, normalised.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A path below it, as people write it.
    pub fn shown(&self, path: &str) -> String {
        match path {
            "" => self.url.clone(),
            path => format!("{}/{path}", self.url),
        }
    }

    /// The key of a path; `None` where no object of ours can have it.
    pub fn key(&self, path: &str) -> Option<Path> {
        let key = match self.prefix.as_str() {
            "" => path.to_owned(),
            prefix => format!("{prefix}/{path}"),
        };
        (is_plain(path) && !path.is_empty() && key.len() <= MOST_OF_A_KEY)
            .then(|| Path::parse(key).ok())
            .flatten()
    }

    /// What the keys of all that lies in a folder begin with.
    pub fn below(&self, folder: &str) -> String {
        let parts = [self.prefix.as_str(), folder];
        let parts = parts.into_iter().filter(|part| !part.is_empty());
        parts.map(|part| format!("{part}/")).collect()
    }
}

/// Whether a bucket can have the name, as far as a URL is to be made of it. Of Azure's containers, some begin with `$`.
fn is_bucket(scheme: Scheme, name: &str) -> bool {
    let rest = match scheme {
        Scheme::Azure => name.strip_prefix('$').unwrap_or(name),
        Scheme::S3 | Scheme::Google => name,
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    // Such a name is that of a host in other letters, where the bucket is part of the host.
    let is_encoded = scheme == Scheme::S3 && name.to_ascii_lowercase().starts_with("xn--");
    !matches!(rest, "" | "." | "..")
        && rest.len() <= MOST_OF_A_BUCKET
        && rest.bytes().all(plain)
        && !is_encoded
}

/// Whether no part of a path leads elsewhere, or is none.
fn is_plain(path: &str) -> bool {
    let plain = |part: &str| !matches!(part, "" | "." | "..");
    path.is_empty()
        || (path.split('/').all(plain) && !path.contains(|c: char| c.is_ascii_control()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_url_is_normalised_and_a_secret_is_not_shown() {
        for (url, normal, below) in [
            ("s3://bucket", "s3://bucket", ""),
            ("S3://bucket/", "s3://bucket", ""),
            ("gs://b/a b/c//", "gs://b/a b/c", "a b/c/"),
            ("az://box/x", "az://box/x", "x/"),
        ] {
            let place = Place::of(url).unwrap();
            assert_eq!((place.url(), place.below("").as_str()), (normal, below));
        }
        let secret = [
            "s3://AKIA:hidden@b/x",
            "az://box/x?sig=hidden",
            "s3://b/x#hidden",
        ];
        for url in secret.into_iter().chain([
            "s3://",
            "s3:///x",
            "ftp://b",
            "b",
            "s3://b/a//b",
            "s3://b/../c",
        ]) {
            let error = Place::of(url).unwrap_err().to_string();
            assert!(!error.contains("hidden"), "{error}");
        }
    }

    #[test]
    fn a_bucket_has_a_name_that_a_url_can_have() {
        let long = format!("s3://b/{}", "x".repeat(1_025));
        for url in [
            "s3://b b/c",
            "s3://b\n/c",
            "s3://b\\c/d",
            "s3://../b",
            "s3://./c",
            "s3://b%20/c",
            "s3://ü/c",
            "s3://$web/c",
            "s3://xn--a/c",
            "gs://b b",
            "az://b b/c",
            "az://$/c",
            long.as_str(),
        ] {
            let error = Place::of(url).unwrap_err().to_string();
            assert!(!error.contains('\n') && error.len() < 400, "{error}");
        }
        for url in ["az://$web/c", "gs://my_bucket.example.com", "s3://B-1.x_y"] {
            assert_eq!(Place::of(url).unwrap().url(), url);
        }
        let deep = "x".repeat(1_024);
        assert!(Place::of("s3://b").unwrap().key(&deep).is_some());
        assert!(Place::of("s3://b/c").unwrap().key(&deep).is_none());
    }

    #[test]
    fn keys_lie_below_the_prefix() {
        let place = Place::of("s3://bucket/channel").unwrap();
        assert_eq!(place.key("noarch/a").unwrap().as_ref(), "channel/noarch/a");
        assert_eq!(place.below("noarch"), "channel/noarch/");
        assert_eq!(place.shown("a"), "s3://bucket/channel/a");
        for odd in ["", "/a", "a/", "a//b", "../a", "a/.", "a\n"] {
            assert!(place.key(odd).is_none(), "{odd:?}");
        }
        assert!(Place::of("s3://bucket").unwrap().key("a%b+ü").is_some());
    }
}
