//! A worker among others: what it found unread is put up, and read by whoever claims it. Owns how much is claimed at a
//! time, the waiting for others, and what is finished without being remembered; the agreement itself is
//! [`crate::cache::Claims`]', and reading is [`super::run`]'s.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::collect::Collector;
use super::run::{Job, Run};
use crate::cache::{CacheError, Claimed, PackageName, Unread};
use crate::channel::PackageFile;
use crate::error::Error;

/// Packages that are put up at once.
const OFFERED: usize = 10_000;
/// The fewest packages that a thread claims at once, and with which a worker begins.
const FEWEST: usize = 16;
/// The most packages that a worker claims at once.
const MOST: usize = 4_096;
/// About how long a worker reads what it claimed: long enough that asking costs nothing beside it, and what a worker
/// leaves unfinished that dies is soon read by another.
const AIM: Duration = Duration::from_secs(2);
/// The first wait for others, and the longest.
const WAITS: [Duration; 2] = [Duration::from_millis(20), Duration::from_secs(1)];
/// What a worker says that waits longer than a moment.
const WAITING: &str = "waiting for packages that other workers hold; what a dead one held comes free when its lease is over";

/// How many packages a worker claims at a time.
#[derive(Debug)]
pub(super) struct Appetite {
    fewest: usize,
    /// The next time.
    pub(super) most: usize,
}

impl Appetite {
    /// Of a worker with so many threads.
    pub(super) fn of(threads: usize) -> Appetite {
        let fewest = threads.saturating_mul(FEWEST).clamp(1, MOST);
        Appetite {
            fewest,
            most: fewest,
        }
    }

    /// Learns from how long the last ones took.
    pub(super) fn took(&mut self, time: Duration) {
        let next = match () {
            () if time < AIM / 2 => self.most.saturating_mul(2),
            () if time > AIM.saturating_mul(2) => self.most / 2,
            () => self.most,
        };
        self.most = next.clamp(self.fewest, MOST);
    }
}

impl Run<'_> {
    /// Reads packages side by side with other workers until all of them are finished, by whomever: what this one found
    /// unread is put up, and read by whoever claims it.
    ///
    /// # Errors
    /// As [`Run::examine`], and when the agreement can't be reached or names what this worker can't take.
    pub(super) fn read_claimed(
        &self,
        jobs: Vec<Job<'_>>,
        collector: &mut Collector<'_>,
    ) -> Result<(), Error> {
        if collector.claims().is_none() {
            return self.read_all(jobs, collector);
        }
        offer(&jobs, collector)?;
        drop(jobs);
        let mut appetite = Appetite::of(self.pool.current_num_threads());
        let (mut wait, mut is_told) = (WAITS[0], false);
        loop {
            if self.examiner.cancelled.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            match self.claim(appetite.most, collector)? {
                Claimed::Over => return Ok(()),
                Claimed::Wait => {
                    // At the end of most runs there is a moment of it.
                    if wait == WAITS[1] && !std::mem::replace(&mut is_told, true) {
                        self.examiner.progress.aside(WAITING);
                    }
                    std::thread::sleep(wait);
                    wait = wait.saturating_mul(2).min(WAITS[1]);
                }
                Claimed::Packages(claimed) => {
                    let started = Instant::now();
                    self.read_claim(&claimed, collector)?;
                    appetite.took(started.elapsed());
                    wait = WAITS[0];
                }
            }
        }
    }

    /// Takes packages of the subdirs that this worker looks at.
    fn claim(&self, most: usize, collector: &mut Collector<'_>) -> Result<Claimed, CacheError> {
        let subdirs = self.shelves.iter().map(|shelf| &shelf.lying.subdir.name);
        let subdirs: Vec<&str> = subdirs.map(|subdir| subdir.as_str()).collect();
        let claims = collector.claims();
        claims.map_or(Ok(Claimed::Over), |claims| claims.claim(&subdirs, most))
    }

    /// Reads packages that were claimed, and finishes those of which nothing is remembered.
    fn read_claim(&self, claimed: &[Unread], collector: &mut Collector<'_>) -> Result<(), Error> {
        let files = claimed.iter().map(|one| self.file(&one.package));
        let files: Vec<(usize, PackageFile)> = files.collect::<Result<_, _>>()?;
        let (mut jobs, mut ended) = (Vec::new(), Vec::new());
        for ((shelf, file), one) in files.iter().zip(claimed) {
            match self.job(*shelf, file, &one.stat) {
                Some(job) => jobs.push(job),
                // Gone since somebody found it.
                None => ended.push(one.package.clone()),
            }
        }
        let before = collector.examined().len();
        self.read_all(jobs, collector)?;
        let read = collector.examined().iter().skip(before);
        let forgotten = read.filter(|one| one.known.is_none());
        ended.extend(forgotten.map(|one| name_of(&one.file)));
        match collector.claims() {
            Some(claims) if !ended.is_empty() => Ok(claims.finish(&ended)?),
            _ => Ok(()),
        }
    }

    /// A package that somebody put up, perhaps after this worker listed the channel.
    fn file(&self, name: &PackageName) -> Result<(usize, PackageFile), Error> {
        let subdirs = self.shelves.iter().map(|shelf| &shelf.lying.subdir.name);
        let mut subdirs = subdirs.enumerate();
        let found = subdirs.find(|(_, subdir)| subdir.as_str() == name.subdir);
        let found = found
            .and_then(|(shelf, subdir)| Some((shelf, PackageFile::named(subdir, &name.name)?)));
        found.ok_or_else(|| Error::OthersPackage {
            package: format!("{}/{}", name.subdir, name.name),
        })
    }
}

/// Puts up what has to be read.
fn offer(jobs: &[Job<'_>], collector: &mut Collector<'_>) -> Result<(), CacheError> {
    let Some(claims) = collector.claims() else {
        return Ok(());
    };
    let unread = |job: &Job<'_>| Unread {
        package: name_of(job.file),
        stat: job.stat,
    };
    jobs.chunks(OFFERED)
        .try_for_each(|jobs| claims.offer(&jobs.iter().map(unread).collect::<Vec<_>>()))
}

fn name_of(file: &PackageFile) -> PackageName {
    PackageName {
        subdir: file.subdir.to_string(),
        name: file.name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_claims_what_it_reads_in_a_while() {
        let mut appetite = Appetite::of(2);
        let fewest = appetite.most;
        for _ in 0..20 {
            appetite.took(Duration::ZERO);
        }
        assert_eq!(appetite.most, MOST);
        appetite.took(AIM);
        assert_eq!(appetite.most, MOST);
        appetite.took(AIM * 3);
        assert_eq!(appetite.most, MOST / 2);
        for _ in 0..20 {
            appetite.took(AIM * 3);
        }
        assert_eq!(appetite.most, fewest);
        assert_eq!(Appetite::of(usize::MAX).most, MOST);
        assert_eq!(Appetite::of(0).most, 1);
    }
}
