//! How long a request to a store is tried again. Owns the pauses, which grow, and their end; must not know what is asked.

use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

/// The first pause, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(10)];

/// How long something is tried that hardly gets better: whoever waits for it should hear of it.
const SHORT: Duration = Duration::from_secs(10);

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

    /// The same of what hardly gets better.
    pub fn lasts_shortly(&self) -> bool {
        self.begun.elapsed() < self.most.min(SHORT)
    }

    /// Waits before another try, longer each time; those who wait at once don't ask at once again.
    pub async fn pause(&mut self) {
        let chance = RandomState::new().hash_one(self.begun) % 1_000;
        let chance = Duration::from_millis(chance).as_secs_f64();
        tokio::time::sleep(self.pause.mul_f64(0.75 + chance / 2.0)).await;
        self.pause = self.pause.saturating_mul(2).min(PAUSES[1]);
    }
}
