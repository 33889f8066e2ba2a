//! One fetch at a time of one thing: who asks for what is being fetched waits for it, and gets the same outcome. Owns
//! the waiting; must not know what is fetched.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Work that is under way, by what it is for.
#[derive(Debug)]
pub(super) struct Flights<T> {
    slots: Mutex<HashMap<String, Arc<Slot<T>>>>,
}

/// One piece of work.
#[derive(Debug)]
struct Slot<T> {
    outcome: Mutex<Option<T>>,
    landed: Condvar,
}

impl<T> Default for Flights<T> {
    fn default() -> Self {
        Flights {
            slots: Mutex::default(),
        }
    }
}

impl<T: Clone> Flights<T> {
    /// Does the work, or waits for who does it already. Where that one broke off without an outcome, it is
    /// `broken`.
    pub(super) fn run(&self, key: &str, broken: T, work: impl FnOnce() -> T) -> T {
        let slot = {
            let mut slots = lock(&self.slots);
            if let Some(slot) = slots.get(key) {
                let slot = Arc::clone(slot);
                drop(slots);
                return slot.wait();
            }
            let slot = Arc::new(Slot {
                outcome: Mutex::new(None),
                landed: Condvar::new(),
            });
            slots.insert(key.to_owned(), Arc::clone(&slot));
            slot
        };
        let mut landing = Landing {
            flights: self,
            key,
            slot: &slot,
            outcome: broken,
        };
        landing.outcome = work();
        landing.outcome.clone()
    }
}

impl<T: Clone> Slot<T> {
    fn wait(&self) -> T {
        let mut outcome = lock(&self.outcome);
        loop {
            if let Some(outcome) = outcome.as_ref() {
                return outcome.clone();
            }
            let woken = self.landed.wait(outcome);
            outcome = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Tells the outcome to all who wait, also when the work panics.
struct Landing<'a, T: Clone> {
    flights: &'a Flights<T>,
    key: &'a str,
    slot: &'a Slot<T>,
    outcome: T,
}

impl<T: Clone> Drop for Landing<'_, T> {
    fn drop(&mut self) {
        lock(&self.flights.slots).remove(self.key);
        *lock(&self.slot.outcome) = Some(self.outcome.clone());
        self.slot.landed.notify_all();
    }
}

/// Nothing that is done under these locks leaves half a change behind.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn all_who_ask_meanwhile_get_what_one_fetched() {
        let flights = Flights::<usize>::default();
        let runs = AtomicUsize::new(0);
        let (begun, go) = (Barrier::new(2), Barrier::new(2));
        std::thread::scope(|scope| {
            let leader = scope.spawn(|| {
                flights.run("a", 0, || {
                    begun.wait();
                    go.wait();
                    runs.fetch_add(1, Ordering::SeqCst) + 1
                })
            });
            begun.wait();
            let waiting: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| flights.run("a", 0, || runs.fetch_add(1, Ordering::SeqCst) + 1))
                })
                .collect();
            // Another thing has to wait for nobody.
            assert_eq!(flights.run("b", 0, || 7), 7);
            // Whoever has not come to wait by now runs after it: all is well then, too.
            go.wait();
            assert_eq!(leader.join().unwrap(), 1);
            for one in waiting {
                assert!(one.join().unwrap() >= 1);
            }
        });
        assert!(lock(&flights.slots).is_empty());
    }

    #[test]
    fn who_panics_leaves_nobody_waiting() {
        let flights = Flights::<usize>::default();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            flights.run("a", 3, || panic!("on purpose"))
        }));
        assert!(outcome.is_err());
        assert_eq!(flights.run("a", 3, || 5), 5);
    }
}
