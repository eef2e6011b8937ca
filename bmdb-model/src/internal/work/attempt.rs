//! Attempts: the key of every end.

use crate::statement::statement;
use crate::time::Timestamptz;
use crate::{Error, Fence, MachineId, Process, SessionId};
use chrono::{DateTime, Utc};
use diesel::OptionalExtension;
use diesel::sql_types::{BigInt, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// Identifies an attempt to end. Every end is keyed on all of these fields and changes exactly one row.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub struct Attempt {
    pub machine: MachineId,
    pub process: Process,
    /// The session that made the claim.
    pub session: SessionId,
    /// The claim's fence.
    pub fence: Fence,
    /// When the claim was made.
    pub started_at: DateTime<Utc>,
}

statement! {
    AttemptsOf = include_str!("../../sql/claimed_by.sql");
    (session: SessionId => SqlUuid) -> (SqlUuid, Text, BigInt, Timestamptz)
}

/// Lists the current attempts of a session, in the lock order of items.
///
/// # Errors
/// [`Error::Database`].
pub async fn attempts_of(
    conn: &mut AsyncPgConnection,
    session: SessionId,
) -> Result<Vec<Attempt>, Error> {
    let rows: Vec<(MachineId, Process, Fence, DateTime<Utc>)> =
        AttemptsOf { session }.load(conn).await?;
    Ok(rows
        .into_iter()
        .map(|(machine, process, fence, started_at)| Attempt {
            machine,
            process,
            session,
            fence,
            started_at,
        })
        .collect())
}

statement! {
    CurrentAttempt<'a> = include_str!("../../sql/current_attempt.sql");
    (machine: MachineId => SqlUuid, process: &'a Process => Text) -> (SqlUuid, BigInt, Timestamptz)
}

/// Returns the current attempt on an item, if there is one.
///
/// # Errors
/// [`Error::Database`].
pub async fn current_attempt(
    conn: &mut AsyncPgConnection,
    machine: MachineId,
    process: &Process,
) -> Result<Option<Attempt>, Error> {
    let row: Option<(SessionId, Fence, DateTime<Utc>)> = CurrentAttempt { machine, process }
        .get_result(conn)
        .await
        .optional()?;
    Ok(row.map(|(session, fence, started_at)| Attempt {
        machine,
        process: process.clone(),
        session,
        fence,
        started_at,
    }))
}
