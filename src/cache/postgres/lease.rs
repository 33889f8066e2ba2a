//! That a worker is alive. Owns its row and the task that renews it; must not know what the worker takes.

use std::time::Duration;

use tokio::task::JoinHandle;

use super::failure::Failure;
use super::server::{Line, Server, Session};

/// How long the end of a worker may take to tell.
const FAREWELL: Duration = Duration::from_secs(2);

/// Removes the workers that are dead, by which what they held is free again. Where the server itself was away, nobody is
/// dead before all had a lease's time to come back.
const BURY: &str =
    "DELETE FROM sigindex.worker WHERE id IN (SELECT id FROM sigindex.worker WHERE channel = $1
    AND alive_until < clock_timestamp() AND clock_timestamp() NOT BETWEEN pg_postmaster_start_time()
        AND pg_postmaster_start_time() + $2::float8 * interval '1 second'
    FOR UPDATE SKIP LOCKED)";

/// Shortens leases that end later than any that could begin now: the server's clock was put back. Whoever lives renews its
/// own long before it ends, so that nobody who lives is taken for dead by that.
const SHORTEN: &str = "UPDATE sigindex.worker SET alive_until = clock_timestamp() + $2::float8 * interval '1 second'
    WHERE id IN (SELECT id FROM sigindex.worker WHERE channel = $1
    AND alive_until > clock_timestamp() + $2::float8 * interval '1 second' FOR NO KEY UPDATE SKIP LOCKED)";

const ENTER: &str = "INSERT INTO sigindex.worker (channel, alive_until)
    VALUES ($1, clock_timestamp() + $2::float8 * interval '1 second') RETURNING id::text";

const RENEW: &str =
    "UPDATE sigindex.worker SET alive_until = clock_timestamp() + $2::float8 * interval '1 second'
    WHERE id = $1::text::uuid";

const CLEAR: &str =
    "DELETE FROM sigindex.claim WHERE channel = $1 AND worker IS NULL AND finished IS NULL
    AND NOT EXISTS (SELECT FROM sigindex.worker WHERE channel = $1)";

const LEAVE: &str = "DELETE FROM sigindex.worker WHERE id = $1::text::uuid";

/// The worker of a cache, as soon as it takes part.
#[derive(Debug, Default)]
pub(super) struct Lease {
    /// Its random name; that of one that was taken for dead stays until it takes part again.
    worker: Option<String>,
    task: Option<JoinHandle<()>>,
}

impl Lease {
    /// The worker's name, where it took part.
    pub fn worker(&self) -> Option<&str> {
        self.worker.as_deref()
    }

    /// Takes part under a name that [`present`] gave, and renews that from now on.
    pub fn keep(&mut self, server: &Server, worker: String) {
        if self.worker() == Some(&worker) {
            return;
        }
        self.stop();
        let renewed = renew(server.line().clone(), worker.clone());
        self.task = Some(server.handle().spawn(renewed));
        self.worker = Some(worker);
    }

    fn stop(&mut self) {
        self.task.take().into_iter().for_each(|task| task.abort());
    }

    /// Tells that the worker is gone, so that nobody has to wait until its time is over.
    pub fn end(&mut self, server: &Server) {
        self.stop();
        if let Some(worker) = self.worker.take() {
            server.try_soon(FAREWELL, async |session, _| {
                session.execute(LEAVE, &[&worker]).await.map(drop)
            });
        }
    }
}

/// When a lease is renewed, how long that may take, and how soon it is tried again: before the lease is over there is time for
/// one that fails and for one more.
fn rhythm(lease: Duration) -> [Duration; 3] {
    [lease / 3, lease / 6, lease / 30]
}

/// Renews a worker's lease in each third of its time, until somebody took it for dead. What fails is tried again soon: the
/// worker itself sees what is wrong with the server.
async fn renew(line: Line, worker: String) {
    let lease = line.limits().lease;
    let [usual, patience, soon] = rhythm(lease);
    let mut pause = usual;
    loop {
        tokio::time::sleep(pause).await;
        // A connection that says nothing is given up for another one long before the lease is over.
        let values = [&worker as _, &lease.as_secs_f64() as _];
        pause = match line.execute(patience, RENEW, &values).await {
            Ok(0) => return,
            Ok(_) => usual,
            Err(_) => soon,
        };
    }
}

/// Frees what the dead held and, where nobody is left, forgets what was put up and not finished: whoever comes puts up
/// what is there then.
pub(super) async fn clear(
    session: &Session<'_>,
    channel: i32,
    lease: Duration,
) -> Result<(), Failure> {
    bury(session, channel, lease.as_secs_f64()).await?;
    session.execute(CLEAR, &[&channel]).await.map(drop)
}

/// Removes the dead, and sees to it that each one who dies is dead within a lease.
async fn bury(session: &Session<'_>, channel: i32, lease: f64) -> Result<(), Failure> {
    let values = [&channel as _, &lease as _];
    session.execute(SHORTEN, &values).await?;
    session.execute(BURY, &values).await.map(drop)
}

/// The worker's name in this transaction: its own, alive again, or a new one where it has none or was taken for dead. The
/// dead are removed.
pub(super) async fn present(
    session: &Session<'_>,
    channel: i32,
    worker: Option<&str>,
    lease: Duration,
) -> Result<String, Failure> {
    let lease = lease.as_secs_f64();
    let own = match worker {
        Some(worker) => session.execute(RENEW, &[&worker, &lease]).await?,
        None => 0,
    };
    bury(session, channel, lease).await?;
    match (worker, own) {
        (Some(worker), 1) => Ok(worker.to_owned()),
        _ => Ok(session.one(ENTER, &[&channel, &lease]).await?.try_get(0)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_has_time_for_two_tries() {
        let lease = Duration::from_secs(30);
        let [usual, patience, soon] = rhythm(lease);
        assert!(usual + patience + soon + patience < lease);
        assert!(usual > patience && patience > soon && soon >= lease / 60);
    }
}
