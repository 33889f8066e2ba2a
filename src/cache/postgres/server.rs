//! Transactions on a PostgreSQL server. Owns the runtime, the pool of connections, the limits in time, and how often
//! something is tried again; must not know what the transactions do.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_postgres::{
    Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime as Timers, Transaction,
};
use futures_util::TryStreamExt as _;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_postgres::types::ToSql;
use tokio_postgres::{IsolationLevel, Portal, Row};

use super::Limits;
use super::address::Address;
use super::failure::{FOREIGN, Failure};
use crate::cache::CacheError;

/// One for what is asked, one for the lease that is renewed meanwhile, and one to spare while a broken one goes.
const CONNECTIONS: usize = 3;
/// The first pause before something is tried again; each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest one.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How much longer than the server's own limit its answer may take.
const GRACE: Duration = Duration::from_secs(10);

/// What a transaction may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Read, all from one moment.
    Read,
    /// Write, and see what others wrote meanwhile.
    Write,
}

/// Values for a statement.
pub(super) type Values<'v> = &'v [&'v (dyn ToSql + Sync)];

/// A server, with the runtime that its connections live in.
#[derive(Debug)]
pub(super) struct Server {
    runtime: Runtime,
    line: Line,
}

/// A way to the server that tasks of the runtime may take, too.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pool: Pool,
    place: Arc<str>,
    limits: Limits,
}

impl Server {
    /// Gets ready to connect.
    ///
    /// # Errors
    /// When TLS or the runtime can't be had.
    pub fn new(address: Address, limits: Limits) -> Result<Server, CacheError> {
        let connector = address.tls.connector()?;
        let place: Arc<str> = address.place.into();
        let mut config = address.config;
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(limits.connect);
        }
        if config.get_application_name().is_none() {
            config.application_name("sigindex");
        }
        // A server that is gone without a word is noticed, also while nothing is asked.
        config.keepalives_idle(Duration::from_secs(15));
        config.keepalives_interval(Duration::from_secs(5));
        config.keepalives_retries(3);
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(limits.statement);
        }
        let asked = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let pool = Pool::builder(Manager::from_config(config, connector, asked))
            .max_size(CONNECTIONS)
            .runtime(Timers::Tokio1)
            .build();
        let failed = |cause: String| CacheError::Server {
            place: place.to_string(),
            operation: "opened",
            cause,
            remedy: "run again",
        };
        let pool = pool.map_err(|cause| failed(cause.to_string()))?;
        // One thread: connections wait, and so does the task that renews a lease.
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("postgres")
            .enable_all()
            .build()
            .map_err(|cause| failed(cause.to_string()))?;
        let line = Line {
            pool,
            place,
            limits,
        };
        Ok(Server { runtime, line })
    }

    /// The same, which gives up later or sooner what fails for a moment.
    pub fn with_retry(mut self, retry: Duration) -> Server {
        self.line.limits.retry = retry;
        self
    }

    /// Where tasks can be started.
    pub fn handle(&self) -> &Handle {
        self.runtime.handle()
    }

    /// For tasks of the runtime.
    pub fn line(&self) -> &Line {
        &self.line
    }

    /// Does something in a transaction, and all of it again where the connection is lost or the transaction has to give
    /// way, as long as the limit allows. The number tells how often it was tried before: what was committed without an
    /// answer is done twice.
    ///
    /// # Errors
    /// When it can't be done.
    pub fn transact<T>(
        &self,
        (access, operation): (Access, &'static str),
        work: impl AsyncFn(&Session<'_>, u32) -> Result<T, Failure>,
    ) -> Result<T, CacheError> {
        let done = self.runtime.block_on(self.line.persist(access, work));
        done.map_err(|failure| self.line.told(operation, &failure))
    }

    /// Does something once, and gives it up soon.
    pub fn try_soon(
        &self,
        limit: Duration,
        work: impl AsyncFn(&Session<'_>, u32) -> Result<(), Failure>,
    ) {
        let once = self.line.once(Access::Write, 0, &work);
        let _ = self
            .runtime
            .block_on(async { tokio::time::timeout(limit, once).await });
    }

    /// Ends connections and tasks without waiting for them.
    pub fn close(self) {
        self.line.pool.close();
        self.runtime.shutdown_background();
    }
}

impl Line {
    /// How long the limits are.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    fn told(&self, operation: &'static str, failure: &Failure) -> CacheError {
        CacheError::Server {
            place: self.place.to_string(),
            operation,
            cause: failure.cause(),
            remedy: failure.remedy(),
        }
    }

    async fn persist<T>(
        &self,
        access: Access,
        work: impl AsyncFn(&Session<'_>, u32) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let (mut attempt, mut pause, mut since) = (0_u32, FIRST_PAUSE, None);
        loop {
            match self.once(access, attempt, &work).await {
                Err(failure) if failure.passes() => {
                    let since = *since.get_or_insert_with(Instant::now);
                    if since.elapsed().saturating_add(pause) > self.limits.retry {
                        return Err(failure);
                    }
                }
                done => return done,
            }
            tokio::time::sleep(pause.mul_f64(jitter())).await;
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
            attempt = attempt.saturating_add(1);
        }
    }

    /// One transaction, from its connection to its end.
    async fn once<T>(
        &self,
        access: Access,
        attempt: u32,
        work: &impl AsyncFn(&Session<'_>, u32) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut client = self.connect().await?;
        let done = self
            .in_transaction(&mut client, access, attempt, work)
            .await;
        if done.is_err() {
            // What is left of it may be a half-read answer; a new one costs a moment.
            drop(Object::take(client));
        }
        done
    }

    async fn in_transaction<T>(
        &self,
        client: &mut Object,
        access: Access,
        attempt: u32,
        work: &impl AsyncFn(&Session<'_>, u32) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let session = self.begin(client, access).await?;
        let done = work(&session, attempt).await?;
        session.commit().await?;
        Ok(done)
    }

    async fn begin<'c>(
        &self,
        client: &'c mut Object,
        access: Access,
    ) -> Result<Session<'c>, Failure> {
        let builder = client.build_transaction();
        let builder = match access {
            Access::Read => builder
                .isolation_level(IsolationLevel::RepeatableRead)
                .read_only(true),
            Access::Write => builder
                .isolation_level(IsolationLevel::ReadCommitted)
                .read_only(false),
        };
        let limit = self.limits.statement.saturating_add(GRACE);
        let session = Session {
            transaction: within(limit, builder.start()).await?,
            limits: self.limits,
            limit,
        };
        session.batch(&self.limits.settings()).await?;
        Ok(session)
    }

    /// One statement in a transaction of its own, once: for tasks.
    ///
    /// # Errors
    /// When it can't be done now.
    pub async fn execute(
        &self,
        limit: Duration,
        sql: &str,
        values: Values<'_>,
    ) -> Result<u64, Failure> {
        let begun = Instant::now();
        let mut client = within(limit, self.connect()).await?;
        let left = limit.saturating_sub(begun.elapsed());
        let done = within(left, self.execute_by(&mut client, sql, values)).await;
        if done.is_err() {
            drop(Object::take(client));
        }
        done
    }

    async fn execute_by(
        &self,
        client: &mut Object,
        sql: &str,
        values: Values<'_>,
    ) -> Result<u64, Failure> {
        let session = self.begin(client, Access::Write).await?;
        let changed = session.execute(sql, values).await?;
        session.commit().await?;
        Ok(changed)
    }

    async fn connect(&self) -> Result<Object, Failure> {
        // The connection's own limit is for each address of the host.
        let limit = self.limits.connect.saturating_mul(3);
        within(limit, self.pool.get()).await
    }
}

/// A transaction in which each statement has its limit, on the server and here: one that hangs cancels nothing.
pub(super) struct Session<'t> {
    transaction: Transaction<'t>,
    limits: Limits,
    limit: Duration,
}

impl Session<'_> {
    /// How long the limits are.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    async fn commit(self) -> Result<(), Failure> {
        within(self.limit, self.transaction.commit()).await
    }

    /// Statements without values or answers.
    pub async fn batch(&self, sql: &str) -> Result<(), Failure> {
        within(self.limit, self.transaction.batch_execute(sql)).await
    }

    /// All rows of a statement.
    pub async fn query(&self, sql: &str, values: Values<'_>) -> Result<Vec<Row>, Failure> {
        within(self.limit, async {
            let statement = self.transaction.prepare_cached(sql).await?;
            self.transaction.query(&statement, values).await
        })
        .await
    }

    /// The one row of a statement.
    pub async fn one(&self, sql: &str, values: Values<'_>) -> Result<Row, Failure> {
        let row = self.query(sql, values).await?.pop();
        row.ok_or_else(|| Failure::Refused {
            cause: "a statement has no answer".to_owned(),
            remedy: FOREIGN,
        })
    }

    /// How many rows a statement changed.
    pub async fn execute(&self, sql: &str, values: Values<'_>) -> Result<u64, Failure> {
        within(self.limit, async {
            let statement = self.transaction.prepare_cached(sql).await?;
            self.transaction.execute(&statement, values).await
        })
        .await
    }

    /// A statement whose rows are fetched part by part.
    pub async fn open(&self, sql: &str, values: Values<'_>) -> Result<Portal, Failure> {
        within(self.limit, async {
            let statement = self.transaction.prepare_cached(sql).await?;
            self.transaction.bind(&statement, values).await
        })
        .await
    }

    /// The next rows, at most so many; none at the end.
    pub async fn fetch(&self, portal: &Portal, most: i32) -> Result<Vec<Row>, Failure> {
        within(self.limit, async {
            let rows = self.transaction.query_portal_raw(portal, most).await?;
            rows.try_collect().await
        })
        .await
    }
}

/// Waits for an answer, and not for ever.
async fn within<T, E>(
    limit: Duration,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, Failure>
where
    Failure: From<E>,
{
    match tokio::time::timeout(limit, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Failure::Silent(limit)),
    }
}

/// Between a half and one and a half, so that workers that were cut off together do not come back together.
fn jitter() -> f64 {
    let thousandths = RandomState::new().hash_one(()) % 1_000;
    0.5 + Duration::from_millis(thousandths).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_were_cut_off_together_come_back_at_moments_of_their_own() {
        let pauses: Vec<f64> = std::iter::repeat_with(jitter).take(200).collect();
        assert!(
            pauses.iter().all(|pause| (0.5..1.5).contains(pause)),
            "{pauses:?}"
        );
        for bounds in [0.5..0.75, 0.75..1.0, 1.0..1.25, 1.25..1.5] {
            assert!(
                pauses.iter().any(|pause| bounds.contains(pause)),
                "{bounds:?}"
            );
        }
    }
}
