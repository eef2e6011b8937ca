//! Poisoned work: where a process fails or is lost so often in a row that somebody should look.

use crate::page::{Page, machine_and_name};
use crate::statement::statement;
use crate::{Error, MachineId, Process, SessionId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// A row of the view `work_poisoned`, which is where the limits are, with what is known of the item.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct PoisonedWork {
    /// The machine.
    pub machine: MachineId,
    /// The process.
    pub process: Process,
    /// How many times in a row it has failed there.
    pub failures: i64,
    /// How many times in a row its sessions were lost there.
    pub losses: i64,
    /// Why it failed last.
    pub cause: Option<String>,
    /// Until when it rests, or rested.
    pub backoff_until: Option<DateTime<Utc>>,
    /// Who is at work on it now.
    pub session: Option<SessionId>,
}

machine_and_name! {
    /// Where a page of [`poisoned`] begins.
    PoisonedKey, process: Process
}

statement! {
    PoisonedPage<'a> = "SELECT p.machine_id, p.process, p.failures, p.losses, i.cause, i.backoff_until, \
             i.session_id \
         FROM work_poisoned p JOIN work_item i ON i.machine_id = p.machine_id AND i.process = p.process \
         WHERE (p.machine_id, p.process) > (coalesce($1::uuid, '00000000-0000-0000-0000-000000000000'), $2::text) \
         ORDER BY p.machine_id, p.process LIMIT $3";
    (machine: Option<MachineId> => Nullable<SqlUuid>, process: &'a str => Text, limit: i64 => BigInt)
    -> (SqlUuid, Text, BigInt, BigInt, Nullable<Text>, Nullable<Timestamptz>, Nullable<SqlUuid>)
}

/// Up to `limit` poisoned items in the order of their machines.
///
/// # Errors
/// [`Error::Database`].
pub async fn poisoned(
    conn: &mut AsyncPgConnection,
    after: Option<&PoisonedKey>,
    limit: i64,
) -> Result<Page<PoisonedWork, PoisonedKey>, Error> {
    let page = PoisonedPage {
        machine: after.map(|key| key.machine),
        process: after.map_or("", |key| key.process.as_str()),
        limit: limit + 1,
    };
    let rows = page.load(conn).await?;
    Ok(Page::of(rows, limit, |last: &PoisonedWork| PoisonedKey {
        machine: last.machine,
        process: last.process.clone(),
    }))
}
