//! How `tough` reads a channel: its names become ours, and a file that could not be fetched is never taken for one
//! that is absent.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tough::{Bytes, Transport, TransportError, TransportErrorKind, TransportStream, async_trait};
use url::Url;

use super::{FOLDER, MAX_METADATA, MAX_TARGETS, Role, TARGETS, TufError};
use crate::upstream::{Upstream, UpstreamError, fetch};

/// Where `tough` believes the channel to be. No request goes there.
const BASE: &str = "http://channel.invalid/";

/// The most bytes of a target file that is read through `tough`: it comes whole.
const MAX_TARGET: u64 = 1 << 30;

/// A [`Transport`] over an [`Upstream`]. What it fetched of metadata is kept, to be told of later.
#[derive(Debug, Clone)]
pub struct ChannelTransport {
    upstream: Arc<dyn Upstream>,
    notes: Arc<Mutex<Notes>>,
}

/// What a load came by.
#[derive(Debug, Default)]
struct Notes {
    /// Metadata by its path in the channel.
    seen: BTreeMap<String, Vec<u8>>,
    /// The paths, in the order in which they were asked for.
    asked: Vec<String>,
    /// Why the channel did not answer.
    failure: Option<UpstreamError>,
}

impl ChannelTransport {
    /// Reads this channel.
    pub fn new(upstream: Arc<dyn Upstream>) -> ChannelTransport {
        let notes = Arc::default();
        ChannelTransport { upstream, notes }
    }

    /// The URLs under which `tough` asks for metadata and for targets.
    ///
    /// # Errors
    /// Never, as both are constants.
    pub fn bases() -> Result<(Url, Url), TufError> {
        let base = |folder| {
            Url::parse(&format!("{BASE}{folder}/")).map_err(|cause| TufError::system(&cause))
        };
        Ok((base(FOLDER)?, base(TARGETS)?))
    }

    /// What people call the channel.
    pub(super) fn channel(&self) -> String {
        self.upstream.name().to_owned()
    }

    /// What people call a file in the channel.
    pub(super) fn placed(&self, path: &str) -> String {
        format!("{}/{path}", self.upstream.name())
    }

    /// Takes note of metadata that was there before.
    pub(super) fn know(&self, path: String, bytes: &[u8]) {
        let mut notes = self.notes();
        notes.asked.push(path.clone());
        notes.seen.insert(path, bytes.to_owned());
    }

    /// The bytes of a metadata file as it was fetched last, by its path in the channel.
    pub(super) fn seen(&self, path: &str) -> Option<Vec<u8>> {
        self.notes().seen.get(path).cloned()
    }

    /// The path of a role's metadata that was asked for last.
    pub(super) fn newest(&self, role: Role) -> String {
        let end = format!("{}.json", role.as_str());
        let notes = self.notes();
        let mut asked = notes
            .asked
            .iter()
            .rev()
            .filter(|path| notes.seen.contains_key(*path));
        let found = asked.find(|path| path.ends_with(&end)).cloned();
        found.unwrap_or_else(|| format!("{FOLDER}/{end}"))
    }

    /// Why the channel did not answer, if it did not; told once.
    pub(super) fn take_failure(&self) -> Option<UpstreamError> {
        self.notes().failure.take()
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Transport for ChannelTransport {
    async fn fetch(&self, url: Url) -> Result<TransportStream, TransportError> {
        let absent = || TransportError::new(TransportErrorKind::FileNotFound, &url);
        let (path, cap) = place(url.as_str()).ok_or_else(absent)?;
        let upstream = Arc::clone(&self.upstream);
        let asked = path.clone();
        // Clients of HTTP that block must not do so on a thread of a runtime.
        let work = move || fetch(upstream.as_ref(), &asked, cap);
        let fetched = tokio::task::spawn_blocking(work).await;
        let failed =
            |cause: String| TransportError::new_with_cause(TransportErrorKind::Other, &url, cause);
        let once = match fetched {
            Ok(Ok(None)) => return Err(absent()),
            Ok(Ok(Some(bytes))) => {
                if !path.starts_with(TARGETS) {
                    self.know(path, &bytes);
                }
                Ok(Bytes::from(bytes))
            }
            // `tough` takes an error at this point for the end of the roots; in the stream it ends the load.
            Ok(Err(cause)) => {
                let told = failed(cause.to_string());
                self.notes().failure = Some(cause);
                Err(told)
            }
            Err(cause) => Err(failed(cause.to_string())),
        };
        Ok(Box::pin(Once(Some(once))))
    }
}

/// Where in the channel `tough` means, and the most bytes there.
fn place(url: &str) -> Option<(String, u64)> {
    let path = url.strip_prefix(BASE)?;
    if let Some(target) = path
        .strip_prefix(TARGETS)
        .and_then(|rest| rest.strip_prefix('/'))
    {
        let (hash, name) = target.split_once('.')?;
        return Some(match name.rsplit_once('/') {
            Some((folder, file)) => (format!("{TARGETS}/{folder}/{hash}.{file}"), MAX_TARGET),
            None => (format!("{TARGETS}/{hash}.{name}"), MAX_TARGET),
        });
    }
    let name = path.strip_prefix(FOLDER)?.strip_prefix('/')?;
    let role = name.trim_start_matches(|c: char| c.is_ascii_digit());
    match role.trim_start_matches('.') {
        "root.json" | "timestamp.json" | "snapshot.json" => Some((path.to_owned(), MAX_METADATA)),
        "targets.json" => Some((path.to_owned(), MAX_TARGETS)),
        // A delegated role, which our channels have none of.
        _ => None,
    }
}

/// A stream of one item.
struct Once(Option<Result<Bytes, TransportError>>);

impl futures_core::Stream for Once {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.get_mut().0.take())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_of_tough_become_ours() {
        let (metadata, targets) = ChannelTransport::bases().unwrap();
        let at = |base: &Url, name: &str| place(base.join(name).unwrap().as_str());
        let ours = |path: &str, cap| Some((path.to_owned(), cap));
        assert_eq!(
            at(&metadata, "2.root.json"),
            ours("tuf/2.root.json", MAX_METADATA)
        );
        assert_eq!(
            at(&metadata, "timestamp.json"),
            ours("tuf/timestamp.json", MAX_METADATA)
        );
        assert_eq!(
            at(&metadata, "7.targets.json"),
            ours("tuf/7.targets.json", MAX_TARGETS)
        );
        assert_eq!(
            at(&targets, "abc.linux-64/repodata.json"),
            ours("tuf/targets/linux-64/abc.repodata.json", MAX_TARGET)
        );
        assert_eq!(
            at(&targets, "abc.index.html"),
            ours("tuf/targets/abc.index.html", MAX_TARGET)
        );
        assert_eq!(at(&metadata, "1.other.json"), None);
        assert_eq!(at(&metadata, "../noarch/repodata.json"), None);
    }
}
