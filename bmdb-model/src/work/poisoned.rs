//! Poisoned work: items whose process fails or expires so often in a row that a person should look.

use crate::page::{Page, key};
use crate::statement::statement;
use crate::time::Timestamptz;
use crate::{Error, MachineId, Process, SessionId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// A row of the view `work_poisoned`, which defines the limits, and the state of its item.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub struct PoisonedWork {
    pub machine: MachineId,
    pub process: Process,
    /// How many times in a row it has failed there.
    pub failures: i64,
    /// How many times in a row its attempt has expired there.
    pub losses: i64,
    /// Why it failed last.
    pub cause: Option<String>,
    /// Until when it backs off, or backed off.
    pub backoff_until: Option<DateTime<Utc>>,
    /// The session that has claimed it now.
    pub session: Option<SessionId>,
}

key! {
    /// Where a page of [`poisoned`] begins.
    PoisonedKey { machine: part(MachineId), process: part(Process) }
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

/// Lists up to `limit` poisoned items in the order of their machines.
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
