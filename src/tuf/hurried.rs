//! A channel that is asked for nothing more after a while. Owns the end of that while; must not know what is asked for.

use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::upstream::{Upstream, UpstreamError, UpstreamFault};

/// How long after its beginning a load asks for one more file: a server may have as many roots as a load reads, each as
/// late as one file may be.
pub(super) const PATIENCE: Duration = Duration::from_secs(300);

/// A channel until a moment.
pub(super) struct Hurried {
    upstream: Arc<dyn Upstream>,
    began: Instant,
    patience: Duration,
}

impl Hurried {
    /// From now on.
    pub(super) fn new(upstream: Arc<dyn Upstream>, patience: Duration) -> Hurried {
        Hurried {
            upstream,
            began: Instant::now(),
            patience,
        }
    }
}

impl fmt::Debug for Hurried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.upstream.fmt(f)
    }
}

impl Upstream for Hurried {
    fn name(&self) -> &str {
        self.upstream.name()
    }

    fn fetch_to(
        &self,
        path: &str,
        cap: u64,
        to: &mut dyn Write,
    ) -> Result<Option<u64>, UpstreamError> {
        if self.began.elapsed() >= self.patience {
            let seconds = self.patience.as_secs();
            let why = format!("the metadata before it took {seconds} s and more");
            return Err(UpstreamError {
                place: format!("{}/{path}", self.name()),
                fault: UpstreamFault::TooSlow(why),
            });
        }
        self.upstream.fetch_to(path, cap, to)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::upstream::{MemoryUpstream, fetch};

    #[test]
    fn what_takes_too_long_in_all_is_too_slow() {
        let files = [("a".to_owned(), b"x".to_vec())].into_iter().collect();
        let channel: Arc<dyn Upstream> = Arc::new(MemoryUpstream::new("there".to_owned(), files));
        let asked = |patience| fetch(&Hurried::new(Arc::clone(&channel), patience), "a", 9);
        assert_eq!(asked(PATIENCE).unwrap().unwrap(), b"x");
        let late = asked(Duration::ZERO).unwrap_err();
        assert!(matches!(late.fault, UpstreamFault::TooSlow(_)), "{late}");
        assert!(late.to_string().contains("there/a"), "{late}");
    }
}
