//! How long a request to a store is tried again. Owns the pauses, which grow, and their end; must not know what is asked.

use std::time::{Duration, Instant};

use object_store::Error;

use super::fault::{self, Meaning};

/// The first pause, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(10)];

/// What is left of the time in which something is tried.
pub struct Patience {
    begun: Instant,
    most: Duration,
    pause: Duration,
}

impl Patience {
    /// From now on, that long.
    pub fn up_to(most: Duration) -> Patience {
        Patience {
            begun: Instant::now(),
            most,
            pause: PAUSES[0],
        }
    }

    /// Whether it is worth another try.
    pub fn lasts(&self) -> bool {
        self.begun.elapsed() < self.most
    }

    /// Waits before another try, longer each time.
    pub async fn pause(&mut self) {
        tokio::time::sleep(self.pause).await;
        self.pause = self.pause.saturating_mul(2).min(PAUSES[1]);
    }

    /// Asks again where an answer got lost on its way. For what may be done twice.
    ///
    /// # Errors
    /// The last that came.
    pub async fn again<T, F: Future<Output = Result<T, Error>>>(
        mut self,
        ask: impl Fn() -> F,
    ) -> Result<T, Error> {
        loop {
            match ask().await {
                Err(error) if fault::meaning(&error) == Meaning::Unsure && self.lasts() => {
                    self.pause().await;
                }
                done => return done,
            }
        }
    }
}
