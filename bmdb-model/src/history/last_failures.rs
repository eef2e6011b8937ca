//! The last failures of processes on a machine, whatever else happened there since.

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

/// Returns the last failures on a machine, up to `limit` for each of these processes, the oldest first.
/// A streak of equal failures counts as one.
///
/// Only the machine's last thousand attempts are searched, as many as are kept of a machine by default.
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
