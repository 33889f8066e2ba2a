//! The agreement of the workers of a channel. Owns what is put up, who holds what, and what is finished; must not know how
//! packages are read.
//!
//! Each package has one row, so at most one worker holds it. A worker's death is the end of its row in `worker`
//! ([`super::lease`]), in the transaction that frees what it held: either that comes first and the worker is no more, or
//! the worker renews first and keeps all. One that was paused and comes back finds that it is dead, and takes part under a
//! new name. What it stores then does no harm: it is what stood in the file, or gives way to what others agreed on
//! ([`super::rows::STORE`]).
//!
//! Rows are looked up one by one (`LATERAL … LIMIT 1`) and changed by their place: of a table that was filled a moment ago
//! the planner has no figures, takes it for empty, and would join it row by row with each batch.
//!
//! Whether a worker could know that something was finished is told by transactions, not by clocks: what was finished by a
//! transaction that was not over when it opened this memory, it could not know.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::failure::Failure;
use super::rows::{Columns, packed, unpacked};
use super::server::{Access, Session, Values};
use super::{PostgresCache, lease, slices};
use crate::cache::{CacheError, Claimed, Claims, PackageName, Unread};

/// The most packages that are put up at once.
const MOST_ROWS: usize = 5_000;

/// Puts packages of a subdir up. What is up already, or could not be known to be finished, is not even locked, so that it
/// can be taken meanwhile. One that somebody holds stays there; that another stat was seen is written down beside it.
const OFFER: &str = "INSERT INTO sigindex.claim AS up (channel, subdir, name, size, stat)
    SELECT $1, $2, new.name, new.size, new.stat
    FROM unnest($3::text[], $4::bigint[], $5::bytea[]) AS new (name, size, stat)
    LEFT JOIN LATERAL (SELECT * FROM sigindex.claim AS one
        WHERE one.channel = $1 AND one.subdir = $2 AND one.name = new.name LIMIT 1) AS old ON true
    WHERE old.name IS NULL
        OR (old.finished IS NULL AND old.stat <> new.stat AND old.again IS DISTINCT FROM new.stat)
        OR (old.finished IS NOT NULL AND (old.stat <> new.stat
            OR pg_visible_in_snapshot(old.finished_by, $6::text::pg_snapshot)))
    ORDER BY new.name COLLATE \"C\"
    ON CONFLICT (channel, subdir, name) DO UPDATE SET
        stat = CASE WHEN up.worker IS NULL THEN excluded.stat ELSE up.stat END,
        size = CASE WHEN up.worker IS NULL THEN excluded.size ELSE up.size END,
        again = CASE WHEN up.worker IS NOT NULL THEN excluded.stat END,
        again_size = CASE WHEN up.worker IS NOT NULL THEN excluded.size END,
        finished = NULL, finished_by = NULL
    WHERE (up.finished IS NULL AND up.stat <> excluded.stat)
        OR (up.finished IS NOT NULL AND (up.stat <> excluded.stat
            OR pg_visible_in_snapshot(up.finished_by, $6::text::pg_snapshot)))";

/// Takes the largest that are free, of some subdirs. Those that another worker takes at this moment are passed over.
const CLAIM: &str = "WITH free AS (SELECT ctid AS row FROM sigindex.claim
        WHERE channel = $1 AND worker IS NULL AND finished IS NULL AND subdir = ANY($5::text[])
        ORDER BY size DESC, subdir, name LIMIT $2 FOR UPDATE SKIP LOCKED)
    UPDATE sigindex.claim SET worker = $3::text::uuid, ticket = $4 FROM free
    WHERE claim.ctid = free.row
    RETURNING claim.subdir, claim.name, claim.size, claim.stat";

/// What was taken with a ticket before, by a commit that nobody heard of.
const TAKEN: &str = "SELECT subdir, name, size, stat FROM sigindex.claim
    WHERE channel = $1 AND worker = $2::text::uuid AND ticket = $3 AND finished IS NULL";

/// What is not finished is free or in somebody's hands.
const UNFINISHED: &str = "SELECT EXISTS (SELECT FROM sigindex.claim
        WHERE channel = $1 AND worker IS NULL AND finished IS NULL AND subdir = ANY($2::text[]))
    OR EXISTS (SELECT FROM sigindex.worker JOIN sigindex.claim ON claim.worker = worker.id
        WHERE worker.channel = $1 AND claim.subdir = ANY($2::text[]))";

/// What a finished package becomes: done, or up again where another stat was seen meanwhile.
const FINISHED: &str = "worker = NULL, ticket = NULL, again = NULL, again_size = NULL,
    size = CASE WHEN done THEN claim.size ELSE claim.again_size END,
    stat = CASE WHEN done THEN found ELSE claim.again END,
    finished = CASE WHEN done THEN clock_timestamp() END,
    finished_by = CASE WHEN done THEN pg_current_xact_id() END";

/// Finishes what was stored: what this worker holds, and what nobody holds where it is up as just the file that was read.
/// What another one holds stays its own: it is about to store the same.
pub(super) async fn finish_stored(
    session: &Session<'_>,
    channel: i32,
    part: &Columns<'_>,
    worker: Option<&str>,
) -> Result<(), Failure> {
    let found = "unnest($3::text[], $4::bytea[]) AS new (name, stat),
            LATERAL (SELECT one.ctid AS row, one.again FROM sigindex.claim AS one
                WHERE one.channel = $1 AND one.subdir = $2 AND one.name = new.name AND one.finished IS NULL
                AND (one.worker = $5::text::uuid OR (one.worker IS NULL AND one.stat = new.stat))
                LIMIT 1 FOR UPDATE) AS up";
    let sql = format!(
        "UPDATE sigindex.claim SET {FINISHED} FROM (SELECT up.row, new.stat AS found,
            up.again IS NULL OR up.again = new.stat AS done FROM {found}) AS ended
        WHERE claim.ctid = ended.row"
    );
    let stats = slices(&part.stat);
    let values = [
        &channel as _,
        &part.subdir as _,
        &part.name as _,
        &stats as _,
        &worker as _,
    ];
    hold(session, found, &values).await?;
    session.execute(&sql, &values).await.map(drop)
}

/// Holds rows before they are changed by their place, which another transaction may change until they are held.
async fn hold(session: &Session<'_>, found: &str, values: Values<'_>) -> Result<(), Failure> {
    let sql = format!("SELECT count(*) FROM {found}");
    session.one(&sql, values).await.map(drop)
}

/// By subdir: each package's name, and its file. Of two of a name, the later one counts.
fn by_subdir(unread: &[Unread]) -> BTreeMap<&str, Vec<&Unread>> {
    let last = unread.iter().map(|one| (&one.package, one));
    let last: BTreeMap<_, _> = last.collect();
    let mut subdirs: BTreeMap<&str, Vec<&Unread>> = BTreeMap::new();
    for one in last.into_values() {
        subdirs.entry(&one.package.subdir).or_default().push(one);
    }
    subdirs
}

impl PostgresCache {
    /// Takes part, in a transaction of its own or of something else's.
    async fn present(&self, session: &Session<'_>) -> Result<String, Failure> {
        let worker = self.lease.worker();
        let lease = session.limits().lease;
        lease::present(session, self.channel, worker, lease).await
    }

    fn keep(&mut self, worker: String) {
        if let Some(server) = &self.server {
            self.lease.keep(server, worker);
        }
    }

    fn offer_part(&mut self, subdir: &str, part: &[&Unread]) -> Result<(), CacheError> {
        let names: Vec<&str> = part.iter().map(|one| one.package.name.as_str()).collect();
        let sizes = part.iter().map(|one| one.stat.size);
        let sizes: Vec<i64> = sizes
            .map(|size| i64::try_from(size).unwrap_or(i64::MAX))
            .collect();
        let stats: Vec<[u8; 32]> = part.iter().map(|one| packed(&one.stat)).collect();
        let stats = slices(&stats);
        // What was listed was listed later than that, and what is known was loaded later still.
        let snapshot = &self.opened.snapshot;
        let worker = self.transact(self.agreeing(), async |session, _| {
            let worker = self.present(session).await?;
            let values = [
                &self.channel as _,
                &subdir as _,
                &names as _,
                &sizes as _,
                &stats as _,
                &snapshot as _,
            ];
            session.execute(OFFER, &values).await?;
            Ok(worker)
        })?;
        self.keep(worker);
        Ok(())
    }

    fn agreeing(&self) -> (Access, &'static str) {
        (self.access, "agreed upon")
    }
}

impl Claims for PostgresCache {
    fn offer(&mut self, unread: &[Unread]) -> Result<(), CacheError> {
        for (subdir, unread) in by_subdir(unread) {
            for part in unread.chunks(MOST_ROWS) {
                self.offer_part(subdir, part)?;
            }
        }
        Ok(())
    }

    fn claim(&mut self, subdirs: &[&str], most: usize) -> Result<Claimed, CacheError> {
        self.tickets = self.tickets.saturating_add(1);
        let ticket = self.tickets;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let (worker, claimed) = self.transact(self.agreeing(), async |session, attempt| {
            let worker = self.present(session).await?;
            let mut taken = Vec::new();
            if attempt > 0 {
                let values = [&self.channel as _, &worker as _, &ticket as _];
                taken = session.query(TAKEN, &values).await?;
            }
            if taken.is_empty() {
                let values = [
                    &self.channel as _,
                    &most as _,
                    &worker as _,
                    &ticket as _,
                    &subdirs as _,
                ];
                taken = session.query(CLAIM, &values).await?;
            }
            if taken.is_empty() {
                let values = [&self.channel as _, &subdirs as _];
                let left = session.one(UNFINISHED, &values).await?.try_get(0)?;
                let claimed = if left { Claimed::Wait } else { Claimed::Over };
                return Ok((worker, claimed));
            }
            let mut packages = Vec::with_capacity(taken.len());
            for row in taken {
                let (subdir, name) = (row.try_get(0)?, row.try_get(1)?);
                // A stat that nobody can read is that of no file.
                let stat = unpacked(row.try_get(3)?).unwrap_or_default();
                let package = PackageName { subdir, name };
                packages.push((Reverse(row.try_get::<_, i64>(2)?), Unread { package, stat }));
            }
            packages.sort_by(|a, b| (a.0, &a.1.package).cmp(&(b.0, &b.1.package)));
            let packages = packages.into_iter().map(|(_, package)| package).collect();
            Ok((worker, Claimed::Packages(packages)))
        })?;
        self.keep(worker);
        Ok(claimed)
    }

    fn finish(&mut self, refused: &[PackageName]) -> Result<(), CacheError> {
        let Some(worker) = self.lease.worker() else {
            // It never took any.
            return Ok(());
        };
        let subdirs: Vec<&str> = refused.iter().map(|one| one.subdir.as_str()).collect();
        let names: Vec<&str> = refused.iter().map(|one| one.name.as_str()).collect();
        let found = "unnest($2::text[], $3::text[]) AS new (subdir, name),
                LATERAL (SELECT one.ctid AS row, one.stat, one.again FROM sigindex.claim AS one
                    WHERE one.channel = $1 AND one.subdir = new.subdir AND one.name = new.name
                    AND one.finished IS NULL AND one.worker = $4::text::uuid LIMIT 1 FOR UPDATE) AS up";
        let sql = format!(
            "UPDATE sigindex.claim SET {FINISHED} FROM (SELECT up.row, up.stat AS found, up.again IS NULL AS done
                FROM {found}) AS ended
            WHERE claim.ctid = ended.row"
        );
        self.transact(self.agreeing(), async |session, _| {
            let values = [&self.channel as _, &subdirs as _, &names as _, &worker as _];
            hold(session, found, &values).await?;
            session.execute(&sql, &values).await.map(drop)
        })
    }
}
