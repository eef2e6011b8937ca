//! How some processes failed on a machine of late, whatever else happened there since.

use super::page::{PastAttempt, PastColumns};
use crate::statement::statement;
use crate::{Error, MachineId, Process};
use diesel::sql_types::{Array, BigInt, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

statement! {
    LastFailures<'a> = include_str!("../sql/last_failures.sql");
    (machine: MachineId => SqlUuid, processes: &'a [&'a Process] => Array<Text>, limit: i64 => BigInt)
    -> PastColumns
}

/// The last failures on a machine, up to `limit` of each of these processes, the oldest first. A streak of
/// equal failures is one.
///
/// They are looked for among the machine's last thousand attempts, as many as are kept of a machine by
/// default.
///
/// # Errors
/// [`Error::Database`].
pub async fn last_failures(
    conn: &mut AsyncPgConnection,
    machine: MachineId,
    processes: &[&Process],
    limit: i64,
) -> Result<Vec<PastAttempt>, Error> {
    let failures = LastFailures {
        machine,
        processes,
        limit,
    };
    Ok(failures.load(conn).await?)
}
