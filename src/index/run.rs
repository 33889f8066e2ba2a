//! The parallel part: one pool for all subdirs, the largest packages first, and one thread that makes lasting
//! what the others find. Owns the threads and the order of work; what is done with a package is
//! [`super::examine`]'s.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;

use rayon::ThreadPool;
use rayon::prelude::*;

use super::collect::Collector;
use super::examine::{Examined, Examiner, Surveyed};
use super::shelf::Shelf;
use crate::channel::PackageFile;
use crate::error::Error;

/// A package that has to be read.
struct Job<'a> {
    shelf: usize,
    file: &'a PackageFile,
    size: u64,
}

/// The parallel part.
pub struct Run<'a> {
    /// What is done with a package.
    pub examiner: &'a Examiner<'a>,
    /// Where the packages are.
    pub shelves: &'a [Shelf<'a>],
    /// The threads.
    pub pool: &'a ThreadPool,
}

impl<'a> Run<'a> {
    /// Looks at every package, reads those that have to be, and makes what was found lasting.
    ///
    /// # Errors
    /// When something could not be written, no package could be signed, or the run is to stop.
    pub fn examine(&self, mut collector: Collector<'_>) -> Result<Vec<Examined>, Error> {
        let (settled, jobs) = self.survey();
        settled
            .into_iter()
            .try_for_each(|one| collector.take(one, None))?;
        self.read_all(&jobs, &mut collector)?;
        Ok(collector.finish())
    }

    /// Looks at every package of every subdir; the largest come first of those that have to be read.
    fn survey(&self) -> (Vec<Examined>, Vec<Job<'a>>) {
        let Run {
            examiner,
            shelves,
            pool,
        } = self;
        let files = shelves
            .iter()
            .enumerate()
            .flat_map(|(shelf, one)| one.subdir.packages.iter().map(move |file| (shelf, file)));
        let files: Vec<(usize, &PackageFile)> = files.collect();
        let surveyed: Vec<Surveyed> = pool.install(|| {
            let look = |(shelf, file): &(usize, &PackageFile)| {
                shelves.get(*shelf).map(|one| examiner.survey(one, file))
            };
            files.par_iter().filter_map(look).collect()
        });
        let (mut settled, mut jobs) = (Vec::new(), Vec::new());
        for (one, (shelf, file)) in surveyed.into_iter().zip(files) {
            match one {
                Surveyed::Settled(examined) => settled.push(*examined),
                Surveyed::ToRead(size) => jobs.push(Job { shelf, file, size }),
            }
        }
        // By size to the power of two: within it by name, which is the cache's order.
        let class = |job: &Job<'_>| job.size.checked_ilog2();
        jobs.sort_by(|a, b| class(b).cmp(&class(a)).then_with(|| a.file.cmp(b.file)));
        (settled, jobs)
    }

    /// Reads the packages on all threads, and makes what they find lasting on this one.
    fn read_all(&self, jobs: &[Job<'_>], collector: &mut Collector<'_>) -> Result<(), Error> {
        let bytes = jobs
            .iter()
            .fold(0u64, |sum, job| sum.saturating_add(job.size));
        self.examiner
            .progress
            .start(u64::try_from(jobs.len()).unwrap_or(u64::MAX), bytes);
        let next = AtomicUsize::new(0);
        let key = || self.examiner.key.opened().map(|signer| signer.public_key());
        std::thread::scope(|scope| {
            let (sender, results) = sync_channel(1_024);
            scope.spawn(|| {
                let sender = sender;
                self.pool.broadcast(|_| {
                    while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let result = self.read(job);
                        let last = result.is_err();
                        if sender.send(result).is_err() || last {
                            break;
                        }
                    }
                });
            });
            let collected = results
                .iter()
                .try_for_each(|result| collector.take(result?, key()));
            // Without a receiver every thread ends with its next package.
            drop(results);
            match collected {
                // What was done is kept when the run is to stop; after a failed write it is not tried again.
                Ok(()) | Err(Error::Interrupted) => collector.flush(key()).and(collected),
                Err(error) => Err(error),
            }
        })
    }

    fn read(&self, job: &Job<'_>) -> Result<Examined, Error> {
        if self.examiner.cancelled.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let shelf = self.shelves.get(job.shelf).ok_or(Error::Interrupted)?;
        let examined = self.examiner.read(shelf, job.file);
        self.examiner.progress.package();
        examined
    }
}
