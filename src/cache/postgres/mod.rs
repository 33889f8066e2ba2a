//! The cache in PostgreSQL, which many workers share: any number of channels in one database, each by its name. Owns what
//! [`Cache`] means there, with many at once; must not know how freshness is judged or what is published.
//!
//! Who may write its tables decides what is in the index: the server's roles and grants are to it what the modes of its
//! file are to [`super::SqliteCache`].

mod address;
mod claims;
mod failure;
mod lease;
mod limits;
mod notes;
mod rows;
mod schema;
mod server;
mod tls;

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use address::Address;
use failure::Failure;
use lease::Lease;
use rows::Columns;
use schema::State;
use server::{Access, Server, Session};

pub use limits::Limits;

use super::{Cache, CacheError, Claims, Entry, Gone, Known, Seen, Versions};

/// How many rows are fetched at once.
const PAGE: i32 = 2_000;
/// How long finished claims, and who stored last, are kept: longer than a run lasts.
const KEPT: &str = "interval '1 day'";

/// The longest that opening is tried again: a server that restarts is back by then, and one that is not there is told soon.
const OPENING: Duration = Duration::from_secs(15);

/// A channel's part of a shared cache.
#[derive(Debug)]
pub struct PostgresCache {
    /// There until it is dropped.
    server: Option<Server>,
    access: Access,
    channel: i32,
    /// This one's own name among those that store.
    session: String,
    /// What was there when it was opened.
    opened: Moment,
    /// What was there when a subdir was last loaded.
    loaded: HashMap<String, Moment>,
    /// Whether the ledger was believed.
    believed: bool,
    lease: Lease,
    /// How often packages were claimed.
    tickets: i64,
}

/// A moment of the database: the transactions that it sees, and its clock.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Moment {
    snapshot: String,
    clock: SystemTime,
}

const MOMENT: &str = "SELECT pg_current_snapshot()::text, clock_timestamp()";

impl Moment {
    async fn now(session: &Session<'_>) -> Result<Moment, Failure> {
        let row = session.one(MOMENT, &[]).await?;
        Ok(Moment {
            snapshot: row.try_get(0)?,
            clock: row.try_get(1)?,
        })
    }
}

/// Opens the shared cache at a URL for a channel of this name, and makes or brings up to date what it needs there.
///
/// # Errors
/// When the URL, the server or the database is of no use.
pub fn open(url: &str, channel: &str) -> Result<PostgresCache, CacheError> {
    open_with(url, channel, Limits::default())
}

/// As [`open`], with limits of one's own.
///
/// # Errors
/// As [`open`].
pub fn open_with(url: &str, channel: &str, limits: Limits) -> Result<PostgresCache, CacheError> {
    let server = connect(url, limits)?;
    schema::migrate(&server)?;
    let opened = server.transact((Access::Write, "opened"), async |session, _| {
        let made = "INSERT INTO sigindex.channel (name) SELECT $1 WHERE NOT EXISTS
            (SELECT FROM sigindex.channel WHERE name = $1) ON CONFLICT DO NOTHING";
        session.execute(made, &[&channel]).await?;
        let Some(own) = Own::find(session, channel).await? else {
            return Err(Failure::Refused {
                cause: "the channel's row is gone again".to_owned(),
                remedy: "run again when nobody else removes it",
            });
        };
        for (table, time) in [("claim", "finished"), ("stored", "stored")] {
            let old = format!(
                "DELETE FROM sigindex.{table} WHERE channel = $1 AND {time} < clock_timestamp() - {KEPT}"
            );
            session.execute(&old, &[&own.channel]).await?;
        }
        lease::clear(session, own.channel, limits.lease).await?;
        Ok(own)
    })?;
    let server = server.with_retry(limits.retry);
    Ok(PostgresCache::new(server, Access::Write, opened))
}

/// Opens it without ever writing it, for a dry run. `None` where there is none that serves.
///
/// # Errors
/// As [`open`].
pub fn open_read_only(url: &str, channel: &str) -> Result<Option<PostgresCache>, CacheError> {
    let limits = Limits::default();
    let server = connect(url, limits)?;
    if schema::look(&server)? == State::Older {
        return Ok(None);
    }
    let own = server.transact((Access::Read, "opened"), async |session, _| {
        Own::find(session, channel).await
    })?;
    let server = server.with_retry(limits.retry);
    Ok(own.map(|own| PostgresCache::new(server, Access::Read, own)))
}

fn connect(url: &str, limits: Limits) -> Result<Server, CacheError> {
    let variable = |name: &str| std::env::var(name).ok();
    let address = Address::parse(url, &variable)?;
    let opening = limits.retry.min(OPENING);
    Ok(Server::new(address, limits)?.with_retry(opening))
}

/// What is this one's own.
struct Own {
    channel: i32,
    session: String,
    opened: Moment,
}

impl Own {
    async fn find(session: &Session<'_>, channel: &str) -> Result<Option<Own>, Failure> {
        let opened = Moment::now(session).await?;
        let sql = "SELECT id, gen_random_uuid()::text FROM sigindex.channel WHERE name = $1";
        let Some(row) = session.query(sql, &[&channel]).await?.pop() else {
            return Ok(None);
        };
        let (channel, session) = (row.try_get(0)?, row.try_get(1)?);
        Ok(Some(Own {
            channel,
            session,
            opened,
        }))
    }
}

impl PostgresCache {
    fn new(server: Server, access: Access, own: Own) -> PostgresCache {
        PostgresCache {
            server: Some(server),
            access,
            channel: own.channel,
            session: own.session,
            opened: own.opened,
            loaded: HashMap::new(),
            believed: false,
            lease: Lease::default(),
            tickets: 0,
        }
    }

    fn transact<T>(
        &self,
        what: (Access, &'static str),
        work: impl AsyncFn(&Session<'_>, u32) -> Result<T, Failure>,
    ) -> Result<T, CacheError> {
        let Some(server) = &self.server else {
            return Err(CacheError::Server {
                place: "the shared cache".to_owned(),
                operation: "used",
                cause: "it was closed".to_owned(),
                remedy: "run again",
            });
        };
        server.transact(what, work)
    }

    /// What a write may do: nothing, in a dry run.
    fn writing(&self) -> (Access, &'static str) {
        (self.access, "written")
    }

    /// What this one knows to be there: all that it loaded, it loaded then or later.
    fn known(&self) -> &Moment {
        let oldest = self.loaded.values().min_by_key(|moment| moment.clock);
        oldest.unwrap_or(&self.opened)
    }
}

impl Drop for PostgresCache {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            self.lease.end(&server);
            server.close();
        }
    }
}

impl Cache for PostgresCache {
    fn load(&mut self, subdir: &str) -> Result<Known, CacheError> {
        let (moment, known) = self.transact((Access::Read, "read"), async |session, _| {
            let moment = Moment::now(session).await?;
            if self.believed && notes::ledger(session, self.channel).await?.is_none() {
                return Err(Failure::Refused {
                    cause: "another run stored packages while this one began".to_owned(),
                    remedy: "run again",
                });
            }
            let mut known = Known::new();
            let portal = session.open(rows::LOAD, &[&self.channel, &subdir]).await?;
            loop {
                let page = session.fetch(&portal, PAGE).await?;
                if page.is_empty() {
                    return Ok((moment, known));
                }
                // A row that makes no sense is as good as none: its package is read again.
                known.extend(page.iter().filter_map(rows::remembered));
            }
        })?;
        self.loaded.insert(subdir.to_owned(), moment);
        Ok(known)
    }

    fn store(&mut self, learnt: &[Entry], gone: &[Gone]) -> Result<(), CacheError> {
        let parts = Columns::of(learnt);
        let gone = rows::by_subdir(gone);
        let worker = self.lease.worker();
        self.transact(self.writing(), async |session, _| {
            let ledger = "DELETE FROM sigindex.ledger WHERE channel = $1";
            session.execute(ledger, &[&self.channel]).await?;
            for part in &parts {
                self.store_part(session, part, worker).await?;
            }
            for (subdir, names) in &gone {
                let names = [&self.channel as _, subdir as _, names as _];
                session.execute(rows::FORGET, &names).await?;
            }
            let stored = "INSERT INTO sigindex.stored VALUES ($1, $2::text::uuid, pg_current_xact_id(), clock_timestamp())
                ON CONFLICT (channel, session) DO UPDATE SET stored_by = excluded.stored_by, stored = excluded.stored";
            session.execute(stored, &[&self.channel, &self.session]).await?;
            Ok(())
        })?;
        // What is believed of it from now on, this one knows itself.
        self.believed = false;
        Ok(())
    }

    fn seen(&mut self, versions: &Versions, which: Seen) -> Result<Versions, CacheError> {
        let known = self.transact((Access::Read, "read"), async |session, _| {
            notes::seen(session, self.channel).await
        })?;
        let is_new = |(role, version): &(&String, &u64)| match (known.get(*role), which) {
            (None, _) => true,
            (Some(known), Seen::Higher) => known < *version,
            (Some(known), Seen::Any) => known != *version,
        };
        let news: Vec<_> = versions.iter().filter(is_new).collect();
        if news.is_empty() {
            return Ok(known);
        }
        self.transact(self.writing(), async |session, _| {
            notes::see(session, self.channel, &news, which).await
        })
    }

    fn ledger(&mut self, next: Option<&str>) -> Result<Option<String>, CacheError> {
        let Some(text) = next else {
            let found = self.transact((Access::Read, "read"), async |session, _| {
                notes::ledger(session, self.channel).await
            })?;
            self.believed = found.is_some();
            return Ok(found);
        };
        let known = self.known().clone();
        let written = self.transact(self.writing(), async |session, _| {
            self.write_ledger(session, text, &known).await
        })?;
        Ok(written.then(|| text.to_owned()))
    }

    fn claims(&mut self) -> Option<&mut dyn Claims> {
        Some(self)
    }
}

impl PostgresCache {
    async fn store_part(
        &self,
        session: &Session<'_>,
        part: &Columns<'_>,
        worker: Option<&str>,
    ) -> Result<(), Failure> {
        let moment = self.loaded.get(part.subdir).unwrap_or(&self.opened);
        session
            .execute(
                rows::STORE,
                &[
                    &self.channel,
                    &part.subdir,
                    &part.name,
                    &slices(&part.stat),
                    &part.sha256,
                    &part.record,
                    &part.details,
                    &part.mismatch,
                    &part.decoded,
                    &part.indexed_timestamp,
                    &part.checksum,
                    &optional(&part.sig_stat),
                    &part.sig_key,
                    &part.sig_fingerprint,
                    &part.sig_value,
                    &optional(&part.sigs_stat),
                    &part.sigs_sha256,
                    &worker,
                    &moment.snapshot,
                ],
            )
            .await?;
        claims::finish_stored(session, self.channel, part, worker).await
    }
}

fn slices(all: &[[u8; 32]]) -> Vec<&[u8]> {
    all.iter().map(<[u8; 32]>::as_slice).collect()
}

fn optional(all: &[Option<[u8; 32]>]) -> Vec<Option<&[u8]>> {
    let all = all.iter().map(Option::as_ref);
    all.map(|one| one.map(<[u8; 32]>::as_slice)).collect()
}
