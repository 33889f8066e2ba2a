//! Threads that do jobs, and one that makes lasting what they bring back. Owns when it does: no thread waits for it
//! while jobs are left, and little is left to write when the last job is done. Must not know what the jobs are.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rayon::ThreadPool;

use crate::error::Error;

/// From this many results on they are made lasting, however many jobs are left.
const MANY: usize = 1_000;

/// Fewer are not worth it while jobs are left: each batch waits for the disk several times.
const FEW: usize = 100;

/// And how long none is kept waiting.
const AT_LEAST_EVERY: Duration = Duration::from_secs(2);

/// How much there is to do.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    /// Jobs, each done by one thread.
    pub jobs: usize,
    /// Results that all of them bring back together.
    pub items: usize,
}

/// Does jobs on all threads of a pool, by their numbers from 0; each brings back one result or more. `keep` is given
/// them in batches, on this thread, while the others go on.
///
/// # Errors
/// The first of a job, once `keep` has had what the others brought; or that of `keep`, which is not asked again then.
pub fn work<T: Send>(
    pool: &ThreadPool,
    work: Work,
    job: impl Fn(usize) -> Vec<Result<T, Error>> + Sync,
    keep: impl FnMut(Vec<T>) -> Result<(), Error>,
) -> Result<(), Error> {
    let basket = Basket::new(work, pool.current_num_threads());
    pool.in_place_scope(|scope| {
        scope.spawn_broadcast(|_, _| {
            let _end = End(&basket);
            basket.fill(&job);
        });
        let _stop = Stop(&basket);
        basket.empty(keep)
    })
}

/// [`work`] with jobs that bring back one result each.
///
/// # Errors
/// As [`work`].
pub fn each<T: Send>(
    pool: &ThreadPool,
    jobs: usize,
    job: impl Fn(usize) -> Result<T, Error> + Sync,
    keep: impl FnMut(Vec<T>) -> Result<(), Error>,
) -> Result<(), Error> {
    let work = Work { jobs, items: jobs };
    self::work(pool, work, |number| vec![job(number)], keep)
}

/// Where results lie until somebody takes them all.
struct Basket<T> {
    jobs: usize,
    next: AtomicUsize,
    state: Mutex<State<T>>,
    /// Told when a batch is due: a thread that woke with every result would take time from the others.
    due: Condvar,
}

struct State<T> {
    results: Vec<T>,
    /// How many results have not come.
    left: usize,
    failed: Option<Error>,
    /// No further job is begun.
    stopped: bool,
    /// Threads that may still bring something.
    working: usize,
}

impl<T> State<T> {
    /// The fewer jobs are left, the smaller the batches: what waits when the last job is done is written while the
    /// threads have nothing to do.
    fn is_due(&self) -> bool {
        self.working == 0 || self.results.len() >= (self.left / 2).clamp(FEW, MANY)
    }
}

impl<T> Basket<T> {
    fn new(work: Work, threads: usize) -> Basket<T> {
        Basket {
            jobs: work.jobs,
            next: AtomicUsize::new(0),
            state: Mutex::new(State {
                results: Vec::new(),
                left: work.items,
                failed: None,
                stopped: false,
                working: threads,
            }),
            due: Condvar::new(),
        }
    }

    /// Does jobs until none is left.
    fn fill(&self, job: impl Fn(usize) -> Vec<Result<T, Error>>) {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.jobs || !self.put(job(number)) {
                return;
            }
        }
    }

    /// Puts what a job brought into the basket; whether to go on.
    fn put(&self, results: Vec<Result<T, Error>>) -> bool {
        let mut state = self.state();
        state.left = state.left.saturating_sub(results.len());
        for result in results {
            match result {
                Ok(result) => state.results.push(result),
                Err(error) => {
                    state.stopped = true;
                    state.failed.get_or_insert(error);
                }
            }
        }
        if state.is_due() {
            self.due.notify_one();
        }
        !state.stopped
    }

    /// Takes what comes until nothing more does.
    fn empty(&self, mut keep: impl FnMut(Vec<T>) -> Result<(), Error>) -> Result<(), Error> {
        loop {
            let (results, ended) = self.take();
            if !results.is_empty() {
                keep(results)?;
            }
            if ended {
                return self.state().failed.take().map_or(Ok(()), Err);
            }
        }
    }

    /// What is due, or what there is after a while; and whether that was all.
    fn take(&self) -> (Vec<T>, bool) {
        let waited = self
            .due
            .wait_timeout_while(self.state(), AT_LEAST_EVERY, |state| !state.is_due());
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut state.results), state.working == 0)
    }

    /// A thread that panicked leaves nothing half done in it.
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says that nothing more comes of a thread, even where a job panicked.
struct End<'a, T>(&'a Basket<T>);

impl<T> Drop for End<'_, T> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.working = state.working.saturating_sub(1);
        if state.working == 0 {
            self.0.due.notify_one();
        }
    }
}

/// Lets no further job begin once nobody takes what comes, even where that panicked.
struct Stop<'a, T>(&'a Basket<T>);

impl<T> Drop for Stop<'_, T> {
    fn drop(&mut self) {
        self.0.state().stopped = true;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use rayon::ThreadPoolBuilder;

    fn pool() -> ThreadPool {
        ThreadPoolBuilder::new().num_threads(3).build().unwrap()
    }

    #[test]
    fn every_result_is_kept_once() {
        for jobs in [0, 1, FEW, FEW + 1, 5 * MANY] {
            let mut kept = Vec::new();
            let done = each(&pool(), jobs, Ok, |batch| {
                assert!(!batch.is_empty());
                kept.extend(batch);
                Ok(())
            });
            done.unwrap();
            kept.sort_unstable();
            assert!(kept.iter().copied().eq(0..jobs));
        }
    }

    #[test]
    fn batches_shrink_as_less_is_left() {
        let due = |results, left| {
            let state = State {
                results: vec![(); results],
                left,
                failed: None,
                stopped: false,
                working: 2,
            };
            state.is_due()
        };
        assert!(due(MANY, 1_000_000) && !due(MANY - 1, 1_000_000));
        assert!(due(MANY / 2, MANY) && !due(MANY / 2 - 1, MANY));
        assert!(due(FEW, 1) && !due(FEW - 1, 1));
    }

    #[test]
    fn what_was_done_is_kept_when_a_job_fails() {
        let mut kept = Vec::new();
        let job = |number| match number {
            FEW => Err(Error::Interrupted),
            number => Ok(number),
        };
        let done = each(&pool(), MANY, job, |batch| {
            kept.extend(batch);
            Ok(())
        });
        assert!(matches!(done, Err(Error::Interrupted)));
        kept.sort_unstable();
        assert!(kept.iter().copied().take(FEW).eq(0..FEW));
    }

    #[test]
    fn nothing_more_is_kept_after_it_failed() {
        let mut asked = 0;
        let done = each(&pool(), 10 * MANY, Ok, |_| {
            asked += 1;
            Err(Error::Interrupted)
        });
        assert!(matches!(done, Err(Error::Interrupted)));
        assert_eq!(asked, 1);
    }

    #[test]
    fn a_panic_ends_the_work() {
        let run = || each(&pool(), FEW, |_| -> Result<(), _> { panic!() }, |_| Ok(()));
        assert!(std::panic::catch_unwind(run).is_err());
    }
}
