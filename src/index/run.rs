//! The parallel part: one pool for all subdirs, the largest packages first. Owns the order of work; who does it when is
//! [`super::crew`]'s, and what is done with a package is [`super::examine`]'s.

use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::thread::Builder;

use rayon::ThreadPool;
use rayon::prelude::*;
use rustix::process::{Resource, getrlimit};

use super::collect::{Collector, Hand};
use super::crew::{self, Work};
use super::examine::{Examined, Examiner, Surveyed};
use super::share::{Share, Stage};
use super::shelf::Shelf;
use crate::channel::PackageFile;
use crate::error::Error;
use crate::package::{Beside, Elsewhere, Here};
use crate::signature::Signature;
use crate::storage::Stat;

/// The most packages that a thread reads side by side: what the widest vector units take.
const TOGETHER: usize = 16;
/// The most packages that all threads have open.
const OPEN: usize = 128;

/// The most bytes that a thread reads before anything comes of them: they are signed and remembered only then.
const BYTES: u64 = 256 << 20;

/// A package that has to be read.
pub(super) struct Job<'a> {
    shelf: usize,
    pub(super) file: &'a PackageFile,
    pub(super) stat: Stat,
}

impl Job<'_> {
    /// The size to the power of two. Only packages of one class are read together, since all take as long as the largest.
    fn class(&self) -> Option<u32> {
        self.stat.size.checked_ilog2()
    }
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

impl Run<'_> {
    /// Looks at every package, reads those that have to be, and makes what was found lasting.
    ///
    /// # Errors
    /// When something could not be written, no package could be signed, or the run is to stop.
    pub fn examine(&self, mut collector: Collector<'_>) -> Result<Vec<Examined>, Error> {
        let (settled, jobs) = self.survey();
        self.examiner.places.demand_answers()?;
        collector.take(settled, None)?;
        let bytes = jobs
            .iter()
            .fold(0u64, |sum, job| sum.saturating_add(job.stat.size));
        self.examiner
            .progress
            .start(u64::try_from(jobs.len()).unwrap_or(u64::MAX), bytes);
        match self.examiner.stage {
            Stage::Scan(Share::Claimed) => self.read_claimed(jobs, &mut collector)?,
            _ => self.read_all(jobs, &mut collector)?,
        }
        self.examiner.places.demand_answers()?;
        Ok(collector.finish())
    }

    /// Looks at every package of every subdir that is this run's to look at, and tells those that have to be read.
    fn survey(&self) -> (Vec<Examined>, Vec<Job<'_>>) {
        let Run {
            examiner,
            shelves,
            pool,
        } = self;
        let files = shelves.iter().enumerate().flat_map(|(shelf, one)| {
            one.lying
                .subdir
                .packages
                .iter()
                .map(move |file| (shelf, file))
        });
        let files: Vec<(usize, &PackageFile)> = match examiner.stage.share() {
            Share::Part(part) => files.filter(|(_, file)| part.has(&file.path())).collect(),
            Share::All | Share::Claimed => files.collect(),
        };
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
                Surveyed::ToRead(stat) => jobs.push(Job { shelf, file, stat }),
            }
        }
        (settled, jobs)
    }

    /// A package that has to be read though this run did not find that itself; `None` where it is gone.
    pub(super) fn job<'f>(
        &self,
        shelf: usize,
        file: &'f PackageFile,
        found: &Stat,
    ) -> Option<Job<'f>> {
        let (source, path) = (self.examiner.places.source, file.path());
        let stat = match source.stat(&path) {
            Ok(Some(stat)) if stat == *found => Ok(Some(stat)),
            // Whoever found it may have looked at the channel later than this run.
            _ => source.look_again(&path),
        };
        // Where it can't be looked at, it can't be opened, which says why.
        let stat = stat.unwrap_or_else(|_| Some(Stat::default()))?;
        Some(Job { shelf, file, stat })
    }

    /// Reads the packages on all threads, the largest first, and makes what they find lasting on this one.
    pub(super) fn read_all(
        &self,
        mut jobs: Vec<Job<'_>>,
        collector: &mut Collector<'_>,
    ) -> Result<(), Error> {
        // By size to the power of two: within it by name, which is the cache's order.
        jobs.sort_by(|a, b| b.class().cmp(&a.class()).then_with(|| a.file.cmp(b.file)));
        let vouch =
            |signature: &Signature, sha256: &[u8; 32]| self.examiner.vouch(signature, sha256);
        let hand = || {
            let signer = self.examiner.key.opened()?;
            Some(Hand {
                key: signer.public_key(),
                vouch: &vouch,
            })
        };
        let batches = self.batches(&jobs);
        let read = |number: usize| {
            batches
                .get(number)
                .map_or(Vec::new(), |batch| self.read(batch))
        };
        let work = Work {
            jobs: batches.len(),
            items: jobs.len(),
        };
        crew::work(self.pool, work, read, |examined| {
            collector.take(examined, hand())
        })
    }

    /// Jobs that one thread does together: as many as pay, but so few at a class's end that no thread is left without.
    fn batches<'j, 'f>(&self, jobs: &'j [Job<'f>]) -> Vec<&'j [Job<'f>]> {
        let threads = self.pool.current_num_threads().max(1);
        let open = (open_at_once() / threads).min(TOGETHER);
        let mut batches = Vec::new();
        for mut class in jobs.chunk_by(|a, b| a.class() == b.class()) {
            let size = class.first().and_then(Job::class).unwrap_or(0);
            let in_time = usize::try_from(BYTES.checked_shr(size).unwrap_or(0)).unwrap_or(TOGETHER);
            let most = open.min(in_time).max(1);
            while let Some((batch, rest)) =
                class.split_at_checked(class.len().div_ceil(threads).clamp(1, most))
            {
                batches.push(batch);
                class = rest;
            }
        }
        batches
    }

    fn read(&self, batch: &[Job<'_>]) -> Vec<Result<Examined, Error>> {
        if self.examiner.cancelled.load(Ordering::Relaxed) {
            return vec![Err(Error::Interrupted)];
        }
        let packages: Vec<_> = batch
            .iter()
            .filter_map(|job| Some((self.shelves.get(job.shelf)?, job.file)))
            .collect();
        let beside: &Beside = match self.pool.current_num_threads() {
            0 | 1 => &alone,
            _ => &beside,
        };
        let examined = self.examiner.read(&packages, beside);
        batch.iter().for_each(|_| self.examiner.progress.package());
        examined
    }
}

/// A thread more for one package, because the pool's are busy with others or wait for work; none where the system has
/// none to give.
fn beside(elsewhere: Elsewhere<'_>, here: Here<'_>) -> bool {
    let work = Mutex::new(Some(elsewhere));
    std::thread::scope(|scope| {
        let lent = Builder::new().spawn_scoped(scope, || {
            let work = work.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(work) = work {
                work();
            }
        });
        if lent.is_ok() {
            here();
        }
        lent.is_ok()
    })
}

/// Where one thread is to do all.
fn alone(_: Elsewhere<'_>, _: Here<'_>) -> bool {
    false
}

/// How many packages all threads may have open: as many as pay, and few of the files that the system lets a process
/// have.
fn open_at_once() -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    OPEN.min(usize::try_from(limit / 4).unwrap_or(OPEN))
}
