//! The tables of a shared cache, in a schema of their own. Owns how they are made and brought up to date; must not know what
//! is put into them.
//!
//! The crate `refinery` was looked at for this: it takes no lock, so workers that begin together would stumble over each
//! other, it keeps its table wherever the search path leads, and it has no word for a schema that is newer than the
//! program. What is left of it beyond that is the loop below.

use super::failure::{FOREIGN, Failure};
use super::server::{Access, Server, Session};
use crate::cache::CacheError;

/// The steps, in their order. One that was released is never changed; what is to be otherwise is another step.
const STEPS: [&str; 1] = [include_str!("schema.sql")];

/// "sigindex", as the number of a lock.
const LOCK: i64 = 0x7369_6769_6e64_6578;

/// The oldest server that serves: the functions that tell which transaction a snapshot sees came with it.
const OLDEST: i32 = 130_000;

/// Nothing where no step was noted.
const VERSION: &str = "SELECT max(version) FROM sigindex.migration";

/// Whether the steps are noted, and whether anything stands where the first one makes its tables. Not by names that are
/// looked up: that needs a right to the schema, or fails where there is none.
const FOUND: &str =
    "SELECT coalesce(bool_or(relname = 'migration'), false), coalesce(bool_or(relname IN
        ('channel', 'package', 'seen', 'stored', 'ledger', 'worker', 'claim')), false)
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE nspname = 'sigindex'";

/// What stands in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing, or what an older sigindex made.
    Older,
    /// What this one works with.
    Current,
}

/// Looks at what stands there, without a lock.
///
/// # Errors
/// When a newer sigindex made it, or the database is of no use.
pub(super) fn look(server: &Server) -> Result<State, CacheError> {
    server.transact((Access::Read, "opened"), async |session, _| {
        serves(session).await?;
        let version = version(session).await?;
        Ok(match version == newest() {
            true => State::Current,
            false => State::Older,
        })
    })
}

/// Brings it up to date: each step in a transaction of its own, one worker at a time. Whoever comes second finds it done.
///
/// # Errors
/// When it can't be done, or a newer sigindex was faster.
pub(super) fn migrate(server: &Server) -> Result<(), CacheError> {
    while look(server)? == State::Older {
        server.transact((Access::Write, "made"), async |session, _| {
            session
                .query("SELECT pg_advisory_xact_lock($1)", &[&LOCK])
                .await?;
            let version = version(session).await?;
            let index = usize::try_from(version).unwrap_or_default();
            let Some(step) = STEPS.get(index) else {
                return Ok(());
            };
            session.batch(step).await?;
            let next = version.saturating_add(1);
            let noted = "INSERT INTO sigindex.migration (version) VALUES ($1)";
            session.execute(noted, &[&next]).await.map(drop)
        })?;
    }
    Ok(())
}

fn newest() -> i32 {
    i32::try_from(STEPS.len()).unwrap_or(i32::MAX)
}

async fn serves(session: &Session<'_>) -> Result<(), Failure> {
    let sql =
        "SELECT current_setting('server_version_num')::int, current_setting('server_encoding')";
    let row = session.one(sql, &[]).await?;
    let (number, encoding): (i32, String) = (row.try_get(0)?, row.try_get(1)?);
    demand_new(number)?;
    if encoding != "UTF8" {
        return Err(Failure::Refused {
            cause: format!("the database keeps text in {encoding}"),
            remedy: "make one with createdb --encoding UTF8 --template template0",
        });
    }
    Ok(())
}

fn demand_new(number: i32) -> Result<(), Failure> {
    match number {
        OLDEST.. => Ok(()),
        _ => Err(Failure::Refused {
            cause: format!("the server is PostgreSQL {}", number / 10_000),
            remedy: "PostgreSQL 13 or later is needed",
        }),
    }
}

/// How many steps were made.
async fn version(session: &Session<'_>) -> Result<i32, Failure> {
    let found = session.one(FOUND, &[]).await?;
    let (has_steps, has_others): (bool, bool) = (found.try_get(0)?, found.try_get(1)?);
    let foreign = |cause: &str| Failure::Refused {
        cause: cause.to_owned(),
        remedy: FOREIGN,
    };
    if !has_steps {
        return match has_others {
            true => Err(foreign("its tables have no sigindex.migration beside them")),
            false => Ok(0),
        };
    }
    let version: Option<i32> = session.one(VERSION, &[]).await?.try_get(0)?;
    let version = version.filter(|version| *version > 0);
    let version = version.ok_or_else(|| foreign("sigindex.migration names no version"))?;
    match version <= newest() {
        true => Ok(version),
        false => Err(Failure::Refused {
            cause: format!(
                "a newer sigindex made its schema: it is at version {version}, and this one knows {}",
                newest()
            ),
            remedy: "update sigindex here, or name another database with --cache",
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_server_is_new_enough_from_its_first_version_on() {
        demand_new(OLDEST).unwrap();
        demand_new(OLDEST + 50_000).unwrap();
        let error = demand_new(OLDEST - 1).unwrap_err();
        assert_eq!(error.cause(), "the server is PostgreSQL 12");
    }
}
