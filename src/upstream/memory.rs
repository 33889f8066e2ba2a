//! A channel in memory: files that were read or made, to be looked at as a client would. Owns nothing else.

use std::collections::BTreeMap;
use std::io::Write;

use super::{Upstream, UpstreamError, UpstreamFault};

/// Files in memory, by path.
#[derive(Debug)]
pub struct MemoryUpstream {
    name: String,
    files: BTreeMap<String, Vec<u8>>,
}

impl MemoryUpstream {
    /// These files, under a name for people.
    pub fn new(name: String, files: BTreeMap<String, Vec<u8>>) -> Self {
        Self { name, files }
    }

    /// Whether there is such a file.
    pub fn has(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }
}

impl Upstream for MemoryUpstream {
    fn name(&self) -> &str {
        &self.name
    }

    fn fetch_to(
        &self,
        path: &str,
        cap: u64,
        to: &mut dyn Write,
    ) -> Result<Option<u64>, UpstreamError> {
        let Some(bytes) = self.files.get(path) else {
            return Ok(None);
        };
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let fail = |fault| UpstreamError {
            place: format!("{}/{path}", self.name),
            fault,
        };
        if length > cap {
            return Err(fail(UpstreamFault::TooLarge { cap }));
        }
        let written = to.write_all(bytes);
        written.map_err(|cause| fail(UpstreamFault::Sink(cause)))?;
        Ok(Some(length))
    }
}
