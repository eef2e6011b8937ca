//! Moving time: the recorded past moves back, so that tests never sleep.

use crate::supervisor::connect;
use crate::{TestDb, TestkitError};
use bmdb_model::SessionId;
use std::fmt::Write;
use std::time::Duration;
use tokio_postgres::SimpleQueryMessage;

/// Every recorded moment: read from the catalog, so that columns of later migrations and of
/// downstream users' own tags move too. Sessions live in the present and stay.
///
/// The tables come in the order in which bmdb locks them (machine, work item, the rest), which
/// keeps the table locks below free of deadlocks with running components.
const MOMENTS: &str = "
    SELECT c.oid::regclass::text, string_agg(quote_ident(a.attname), ','),
           bool_or(EXISTS (SELECT 1 FROM pg_index i
                           WHERE i.indrelid = c.oid AND i.indisunique AND a.attnum = ANY (i.indkey)))
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
      AND NOT c.relispartition AND c.relname <> 'sessions'
      AND a.atttypid = 'timestamptz'::regtype AND a.attgenerated = '' AND NOT a.attisdropped
    GROUP BY c.oid, c.relname
    ORDER BY c.relname <> 'machines', c.relname <> 'work_item', c.relname";

/// Further than anybody moves time, and without a calendar.
const FAR: &str = "+ interval '9000000 hours'";
const BACK: &str = "- interval '9000000 hours'";

impl TestDb {
    /// Lets this much time pass, as far as the database's records tell: backoffs, plans, tags,
    /// held work and history all move into the past by `time`, in one transaction.
    ///
    /// Sessions stay as they are, because they are alive: see [`TestDb::expire`]. A plan that
    /// depends on a tag's time moves with it, so nothing has to be planned anew.
    ///
    /// # Errors
    /// [`TestkitError::Database`], also after 10 s of waiting for a transaction that the test
    /// itself has left open.
    pub async fn advance(&self, time: Duration) -> Result<(), TestkitError> {
        let client = connect(&self.config()?).await?;
        let mut sql = String::from("BEGIN; SET LOCAL lock_timeout = '10s';\n");
        for message in client.simple_query(MOMENTS).await? {
            let SimpleQueryMessage::Row(row) = message else {
                continue;
            };
            let (Some(table), Some(columns)) = (row.get(0), row.get(1)) else {
                continue;
            };
            let moved = |by: &str| {
                let columns = columns.split(',');
                let moved: Vec<String> = columns.map(|c| format!("{c} = {c} {by}")).collect();
                format!("UPDATE {table} SET {};", moved.join(", "))
            };
            let time = interval(time);
            // Where a moment is part of a key, a row would meet the one that is to move next: all move
            // far away first.
            let moved = match row.get(2) {
                Some("t") => moved(FAR) + &moved(&format!("{BACK} - {time}")),
                _ => moved(&format!("- {time}")),
            };
            // Writing to a String does not fail.
            let _ = writeln!(sql, "LOCK TABLE {table} IN EXCLUSIVE MODE; {moved}");
        }
        sql.push_str("COMMIT;");
        Ok(client.batch_execute(&sql).await?)
    }

    /// Moves one session's deadline into the past, as if its heartbeats had stopped long ago.
    ///
    /// # Errors
    /// [`TestkitError::UnknownSession`], [`TestkitError::Database`].
    pub async fn expire(&self, session: SessionId) -> Result<(), TestkitError> {
        let client = connect(&self.config()?).await?;
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

/// A duration as SQL, to the microsecond. In seconds, because PostgreSQL 14 reads no more than 32
/// bits of microseconds.
pub(crate) fn interval(time: Duration) -> String {
    format!(
        "interval '{}.{:06} seconds'",
        time.as_secs(),
        time.subsec_micros()
    )
}
