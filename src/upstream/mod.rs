//! A channel as a client sees it: files by path, behind a folder or a URL. Owns the [`Upstream`] seam and what can
//! go wrong on the way; believes nothing that it fetches, and knows nothing of what files mean.

#[cfg(feature = "http")]
mod credentials;
#[cfg(feature = "http")]
mod http;
mod memory;
mod stored;
mod url;

use std::fmt;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "http")]
pub use http::{HttpUpstream, Pace};
pub use memory::MemoryUpstream;
pub use stored::StoredUpstream;
pub use url::{is_meant_as_url, without_secrets};

use crate::storage::{LocalStorage, is_object_url, open_url};

/// A channel to read from. Paths are relative to it, with `/` between their parts. Calls block, and come from many
/// threads at once.
pub trait Upstream: fmt::Debug + Send + Sync {
    /// The channel, as people write it: a folder or a URL without credentials.
    fn name(&self) -> &str;

    /// Writes a file to `to`, as long as it has at most `cap` bytes: how many it had, or `None` where there is none.
    ///
    /// # Errors
    /// When it can't be fetched to its end in time, or has more bytes.
    fn fetch_to(
        &self,
        path: &str,
        cap: u64,
        to: &mut dyn Write,
    ) -> Result<Option<u64>, UpstreamError>;
}

/// A whole file of at most `cap` bytes, or `None` where there is none.
///
/// # Errors
/// As [`Upstream::fetch_to`].
pub fn fetch(
    upstream: &dyn Upstream,
    path: &str,
    cap: u64,
) -> Result<Option<Vec<u8>>, UpstreamError> {
    let mut bytes = Vec::new();
    Ok(upstream.fetch_to(path, cap, &mut bytes)?.map(|_| bytes))
}

/// How long a server may say nothing, unless something else is said.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Opens a channel: `http://` and `https://` are URLs, `s3://` and the like is object storage, `file://` and all else is
/// a folder.
///
/// # Errors
/// When there is no such folder, the URL is not one of a channel, or this build has no HTTP.
pub fn open(name: &str) -> Result<Arc<dyn Upstream>, UpstreamError> {
    open_within(name, PATIENCE)
}

/// The same, where a server may say nothing for no longer than `patience`, nor send next to nothing over that time.
///
/// # Errors
/// As [`open`].
pub fn open_within(name: &str, patience: Duration) -> Result<Arc<dyn Upstream>, UpstreamError> {
    if is_url(name) {
        return open_http(name, patience);
    }
    let unreachable = |why: String| UpstreamError {
        place: name.to_owned(),
        fault: UpstreamFault::Unreachable(why),
    };
    if is_object_url(name) {
        let storage = open_url(name).map_err(|cause| unreachable(cause.to_string()))?;
        let name = name.trim_end_matches('/').to_owned();
        return Ok(Arc::new(StoredUpstream::new(name, storage)));
    }
    let path = match name.strip_prefix("file://") {
        None => name.to_owned(),
        Some(rest) => {
            let path = rest.strip_prefix("localhost").unwrap_or(rest);
            let path = path.starts_with('/').then(|| decoded(path));
            let why = || "a file URL has three slashes, as in file:///srv/channel".to_owned();
            path.ok_or_else(|| unreachable(why()))?
        }
    };
    let storage = LocalStorage::open(Path::new(&path));
    let storage = storage.map_err(|cause| unreachable(cause.to_string()))?;
    let name = name.trim_end_matches('/').to_owned();
    Ok(Arc::new(StoredUpstream::new(name, Arc::new(storage))))
}

/// Whether a channel's name is a URL that takes HTTP.
pub fn is_url(name: &str) -> bool {
    let begins = |scheme: &str| {
        let start = name.get(..scheme.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    begins("http://") || begins("https://")
}

#[cfg(feature = "http")]
fn open_http(url: &str, patience: Duration) -> Result<Arc<dyn Upstream>, UpstreamError> {
    Ok(Arc::new(HttpUpstream::at_pace(
        url,
        Pace::within(patience),
    )?))
}

#[cfg(not(feature = "http"))]
fn open_http(_: &str, _: Duration) -> Result<Arc<dyn Upstream>, UpstreamError> {
    let why = "this sigindex was built without HTTP (feature `http`); name a folder";
    Err(UpstreamError {
        // A URL may hold a password.
        place: "URL".to_owned(),
        fault: UpstreamFault::Unreachable(why.to_owned()),
    })
}

/// Percent-encoded text as it was meant.
pub(crate) fn decoded(text: &str) -> String {
    let digit = |byte: Option<&u8>| byte.and_then(|it| char::from(*it).to_digit(16));
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0_usize);
    while let Some(byte) = bytes.get(at) {
        let pair = bytes.get(at.saturating_add(1)..).unwrap_or_default();
        let byte = match (byte, digit(pair.first()), digit(pair.get(1))) {
            (b'%', Some(high), Some(low)) => {
                at = at.saturating_add(2);
                u8::try_from(high << 4 | low).unwrap_or_default()
            }
            _ => *byte,
        };
        out.push(byte);
        at = at.saturating_add(1);
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Why a file could not be fetched.
#[derive(Debug, thiserror::Error)]
#[error("{place}: can't fetch it: {fault}")]
pub struct UpstreamError {
    /// The file: a path, or a URL without credentials.
    pub place: String,
    /// Why.
    pub fault: UpstreamFault,
}

/// The kinds of failure that people and clients tell apart.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamFault {
    /// The file has more bytes than such a file may have.
    #[error("it has more than {cap} bytes, which is more than such a file may have")]
    TooLarge {
        /// The most that was allowed, in bytes.
        cap: u64,
    },
    /// Nothing, or too little, came in time.
    #[error("{0}")]
    TooSlow(String),
    /// The server sends the client elsewhere, off the channel's host.
    #[error(
        "the server redirects to {0}, which is another host; name that channel itself if you trust it"
    )]
    Redirected(String),
    /// The server answered with another status than 200 or 404.
    #[error("the server answered {0}")]
    Status(u16),
    /// No connection, a broken one, or a folder that can't be read.
    #[error("{0}")]
    Unreachable(String),
    /// What was fetched could not be put down here.
    #[error("what came could not be written: {0}")]
    Sink(std::io::Error),
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_name_is_a_folder_or_a_url() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("my channel");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("a"), "x").unwrap();
        let folder = folder.to_str().unwrap();
        let encoded = folder.replace(' ', "%20");
        for name in [
            folder.to_owned(),
            format!("{folder}/"),
            format!("file://{encoded}"),
            format!("file://localhost{encoded}"),
        ] {
            let upstream = open(&name).unwrap();
            assert_eq!(fetch(upstream.as_ref(), "a", 9).unwrap().unwrap(), b"x");
        }
        assert!(open("file://host/x").is_err());
        assert!(open(&format!("{folder}/none")).is_err());
        assert!(is_url("HTTPS://host") && !is_url("http:/x") && !is_url("häuser"));
    }
}
