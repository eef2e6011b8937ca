//! Setting and removing limits.

use super::{check_known, control, invalid, uncontrol};
use crate::process_control::{Limit, Per};
use crate::statement::statement;
use crate::{Error, Process, process_control};
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

statement! {
    Upsert<'a> = "INSERT INTO process_limit (process, per, max_running, max_starts, window_seconds) \
                  VALUES ($1, $2, $3, $4, $5) \
                  ON CONFLICT (process, per) DO UPDATE SET max_running = excluded.max_running, \
                      max_starts = excluded.max_starts, window_seconds = excluded.window_seconds";
    (
        process: &'a Process => Text, per: Per => Text, running: Option<i64> => Nullable<BigInt>,
        starts: Option<i64> => Nullable<BigInt>, window: Option<i64> => Nullable<BigInt>
    ) -> ()
}

statement! {
    Remove<'a> = "DELETE FROM process_limit WHERE process = $1 AND per = $2";
    (process: &'a Process => Text, per: Per => Text) -> ()
}

statement! {
    /// The result is void, which no client type can read.
    Fit<'a> = "SELECT 1::bigint FROM (SELECT fit_slots($1)) f";
    (process: &'a Process => Text) -> BigInt
}

/// Sets a limit, behind [`crate::internal::items_lock`]; returns the one that it replaces. What is claimed keeps its place, even
/// above the limit: then nothing starts until less is claimed. Starts that have ended before there was a limit
/// of starts are not counted; afterwards, a longer window counts those that are still known.
///
/// # Errors
/// [`Error::InvalidControl`], [`Error::NoSuchProcess`], [`Error::Database`].
pub async fn set_limit(
    conn: &mut AsyncPgConnection,
    process: &Process,
    limit: &Limit,
) -> Result<Option<Limit>, Error> {
    if let Some(problem) = limit.problem() {
        return Err(invalid(process, problem));
    }
    check_known(conn, process).await?;
    let before = limit_of(conn, process, limit.per).await?;
    control(conn, process).await?;
    let upsert = Upsert {
        process,
        per: limit.per,
        running: limit.max_running,
        starts: limit.max_starts.map(|starts| starts.count),
        window: limit.max_starts.map(|starts| starts.window_seconds),
    };
    upsert.execute(conn).await?;
    fit(conn, process).await?;
    Ok(before)
}

/// Removes a limit, behind [`crate::internal::items_lock`]; returns it, or `None` if there was none.
///
/// # Errors
/// [`Error::Database`].
pub async fn remove_limit(
    conn: &mut AsyncPgConnection,
    process: &Process,
    per: Per,
) -> Result<Option<Limit>, Error> {
    let before = limit_of(conn, process, per).await?;
    if before.is_some() {
        Remove { process, per }.execute(conn).await?;
        fit(conn, process).await?;
        uncontrol(conn, process).await?;
    }
    Ok(before)
}

async fn limit_of(
    conn: &mut AsyncPgConnection,
    process: &Process,
    per: Per,
) -> Result<Option<Limit>, Error> {
    let found = process_control::of(conn, process).await?;
    let limits = found.limits.into_iter().map(|state| state.limit);
    Ok(limits.into_iter().find(|limit| limit.per == per))
}

async fn fit(conn: &mut AsyncPgConnection, process: &Process) -> Result<(), Error> {
    let _: i64 = Fit { process }.get_result(conn).await?;
    Ok(())
}
