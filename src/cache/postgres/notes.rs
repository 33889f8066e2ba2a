//! What is written down of a channel as a whole: the ledger, and the versions of its signed metadata. Owns when it counts;
//! must not know what it says.

use super::failure::Failure;
use super::server::Session;
use super::{KEPT, Moment, PostgresCache};
use crate::cache::{Seen, Versions};

impl PostgresCache {
    /// Writes a ledger down, unless somebody else stored what this one does not know: it would tell of a state that is no
    /// more.
    pub(super) async fn write_ledger(
        &self,
        session: &Session<'_>,
        text: &str,
        known: &Moment,
    ) -> Result<bool, Failure> {
        let checksum = i64::from(crc32fast::hash(text.as_bytes()));
        let old = "DELETE FROM sigindex.ledger WHERE channel = $1";
        session.execute(old, &[&self.channel]).await?;
        let sql = format!(
            "INSERT INTO sigindex.ledger SELECT $1, $2, $3, $4::text::uuid, $5::text::pg_snapshot
             WHERE $6 > clock_timestamp() - {KEPT} AND NOT EXISTS (SELECT FROM sigindex.stored WHERE channel = $1
                 AND session <> $4::text::uuid AND NOT pg_visible_in_snapshot(stored_by, $5::text::pg_snapshot))
             ON CONFLICT (channel) DO NOTHING"
        );
        let written = session
            .execute(
                &sql,
                &[
                    &self.channel,
                    &text.as_bytes(),
                    &checksum,
                    &self.session,
                    &known.snapshot,
                    &known.clock,
                ],
            )
            .await?;
        Ok(written == 1)
    }
}

/// Writes down versions that are new, held against what stands there now: another run may have seen more meanwhile.
pub(super) async fn see(
    session: &Session<'_>,
    channel: i32,
    news: &[(&String, &u64)],
    which: Seen,
) -> Result<Versions, Failure> {
    let any = which == Seen::Any;
    for (role, version) in news {
        // PostgreSQL counts to i64::MAX, and so high no version is.
        let version = i64::try_from(**version).unwrap_or(i64::MAX);
        let sql = "INSERT INTO sigindex.seen AS old VALUES ($1, $2, $3) ON CONFLICT (channel, role)
            DO UPDATE SET version = excluded.version WHERE $4 OR old.version < excluded.version";
        session
            .execute(sql, &[&channel, role, &version, &any])
            .await?;
    }
    seen(session, channel).await
}

/// The ledger, as long as whoever wrote it knew of all that is stored.
pub(super) async fn ledger(session: &Session<'_>, channel: i32) -> Result<Option<String>, Failure> {
    let sql = "SELECT text, checksum FROM sigindex.ledger WHERE channel = $1 AND NOT EXISTS (SELECT FROM sigindex.stored
        WHERE stored.channel = ledger.channel AND stored.session <> ledger.session
            AND NOT pg_visible_in_snapshot(stored.stored_by, ledger.known))";
    let Some(row) = session.query(sql, &[&channel]).await?.pop() else {
        return Ok(None);
    };
    let (text, checksum): (Vec<u8>, i64) = (row.try_get(0)?, row.try_get(1)?);
    let sound = i64::from(crc32fast::hash(&text)) == checksum;
    Ok(String::from_utf8(text).ok().filter(|_| sound))
}

pub(super) async fn seen(session: &Session<'_>, channel: i32) -> Result<Versions, Failure> {
    let sql = "SELECT role, version FROM sigindex.seen WHERE channel = $1";
    let mut versions = Versions::new();
    for row in session.query(sql, &[&channel]).await? {
        versions.insert(row.try_get(0)?, row.try_get::<_, i64>(1)?.cast_unsigned());
    }
    Ok(versions)
}
