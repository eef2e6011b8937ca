//! Moving time: moves all recorded times, so that tests do not sleep.

use crate::connect::rows;
use crate::{TestDb, TestkitError};
use bmdb_model::SessionId;
use std::fmt::Write;
use std::time::Duration;

/// Every column with times, and whether it is part of a unique index. It is read from the catalog so
/// that columns of later migrations and of downstream users' own tags move too. Sessions are left out,
/// because they are alive now.
///
/// The tables come in the order in which bmdb locks them (machine, work item, the rest), so that the
/// table locks below cannot deadlock with running components.
const TIME_COLUMNS: &str = "
    SELECT c.oid::regclass::text, string_agg(quote_ident(a.attname), ','),
           bool_or(EXISTS (SELECT 1 FROM pg_index i
                           WHERE i.indrelid = c.oid AND i.indisunique AND a.attnum = ANY (i.indkey))),
           a.atttypid = 'timestamptz[]'::regtype
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
      AND NOT c.relispartition AND c.relname <> 'sessions'
      AND a.atttypid IN ('timestamptz'::regtype, 'timestamptz[]'::regtype) AND a.attgenerated = '' AND NOT a.attisdropped
    GROUP BY c.oid, c.relname, a.atttypid
    ORDER BY c.relname <> 'machines', c.relname <> 'work_item', c.relname";

/// Further than any test moves time. In hours, because days depend on the time zone.
const FAR: &str = "+ interval '9000000 hours'";
const BACK: &str = "- interval '9000000 hours'";

impl TestDb {
    /// Lets this much time pass in the database's records: backoffs, plans, tags, claimed work and
    /// history all move into the past by `time`, in one transaction.
    ///
    /// Sessions do not move, because they are alive: see [`TestDb::expire`]. A plan that depends on a
    /// tag's time moves with the tag, so no machine has to be replanned.
    ///
    /// # Errors
    /// [`TestkitError::Database`], also after waiting 10 s for a transaction that the test itself has
    /// left open.
    pub async fn advance(&self, time: Duration) -> Result<(), TestkitError> {
        let time = interval(time);
        self.move_times(&format!("- {time}"), "").await
    }

    /// Sets the database's clock back by this much, as far as its records can tell: all of them move into the
    /// future by `time`, those of sessions too, in one transaction.
    ///
    /// A session that lives has a plausible deadline again after its next heartbeat.
    ///
    /// # Errors
    /// As [`TestDb::advance`].
    pub async fn set_clock_back(&self, time: Duration) -> Result<(), TestkitError> {
        let by = format!("+ {}", interval(time));
        let sessions = format!(
            "UPDATE sessions SET session_created_at = session_created_at {by},
                                 session_deadline = session_deadline {by};"
        );
        self.move_times(&by, &sessions).await
    }

    /// Moves all recorded times by `by`, and runs `further` in the same transaction.
    async fn move_times(&self, by: &str, further: &str) -> Result<(), TestkitError> {
        let client = self.client().await?;
        let mut sql = String::from("BEGIN; SET LOCAL lock_timeout = '10s';\n");
        for row in rows(&client, TIME_COLUMNS).await? {
            let (Some(table), Some(columns)) = (row.get(0), row.get(1)) else {
                continue;
            };
            let moved = |by: &str| {
                let columns = columns.split(',');
                let moved = columns.map(|c| match row.get(3) {
                    Some("t") => format!("{c} = ARRAY(SELECT t {by} FROM unnest({c}) t)"),
                    _ => format!("{c} = {c} {by}"),
                });
                let moved: Vec<String> = moved.collect();
                format!("UPDATE {table} SET {};", moved.join(", "))
            };
            // In a unique index a moved row could collide with one that has not moved yet, so all rows
            // move far away first.
            let moved = match row.get(2) {
                Some("t") => moved(FAR) + &moved(&format!("{BACK} {by}")),
                _ => moved(by),
            };
            // Writing to a String does not fail.
            let _ = writeln!(sql, "LOCK TABLE {table} IN EXCLUSIVE MODE; {moved}");
        }
        sql.push_str(further);
        sql.push_str("COMMIT;");
        Ok(client.batch_execute(&sql).await?)
    }

    /// Moves a session's deadline into the past, as if its heartbeats had stopped.
    ///
    /// # Errors
    /// [`TestkitError::UnknownSession`], [`TestkitError::Database`].
    pub async fn expire(&self, session: SessionId) -> Result<(), TestkitError> {
        let client = self.client().await?;
        let expired = client
            .execute(
                "UPDATE sessions SET session_deadline = clock_timestamp() - interval '1 second'
                 WHERE session_id = $1::text::uuid",
                &[&session.to_string()],
            )
            .await?;
        match expired {
            1 => Ok(()),
            _ => Err(TestkitError::UnknownSession(session)),
        }
    }
}

/// A duration as SQL, with microseconds. In seconds, because PostgreSQL 14 reads only 32 bits of
/// microseconds.
pub(crate) fn interval(time: Duration) -> String {
    format!(
        "interval '{}.{:06} seconds'",
        time.as_secs(),
        time.subsec_micros()
    )
}
