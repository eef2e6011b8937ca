//! Setting and removing breakers.

use super::{check_known, control, invalid, uncontrol};
use crate::process_control::{Breaker, Per};
use crate::statement::statement;
use crate::{Error, Process, process_control};
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

statement! {
    Upsert<'a> = "INSERT INTO process_breaker (process, per, max_due, max_due_percent, max_failures, \
                      failures_window_seconds, resume_after_seconds) \
                  VALUES ($1, $2, $3, $4::bigint / 1000.0, $5, $6, $7) \
                  ON CONFLICT (process, per) DO UPDATE SET max_due = excluded.max_due, \
                      max_due_percent = excluded.max_due_percent, max_failures = excluded.max_failures, \
                      failures_window_seconds = excluded.failures_window_seconds, \
                      resume_after_seconds = excluded.resume_after_seconds";
    (
        process: &'a Process => Text, per: Per => Text, max_due: Option<i64> => Nullable<BigInt>,
        thousandths: Option<i64> => Nullable<BigInt>, failures: Option<i64> => Nullable<BigInt>,
        window: Option<i64> => Nullable<BigInt>, resume_after: Option<i64> => Nullable<BigInt>
    ) -> ()
}

statement! {
    /// The next claim counts by the new thresholds.
    CountSoon<'a> = "UPDATE process_breaker_state SET evaluate_after = '-infinity' WHERE process = $1 AND per = $2";
    (process: &'a Process => Text, per: Per => Text) -> ()
}

statement! {
    Remove<'a> = "DELETE FROM process_breaker WHERE process = $1 AND per = $2";
    (process: &'a Process => Text, per: Per => Text) -> ()
}

statement! {
    /// The result is void, which no client type can read.
    Rearm = "SELECT 1::bigint FROM (SELECT rearm_breakers() WHERE EXISTS ( \
                 SELECT FROM process_breaker_state s \
                 WHERE s.disarmed AND s.evaluate_after <= clock_timestamp())) r";
    () -> BigInt
}

/// Sets a breaker; returns the one that it replaces.
///
/// # Errors
/// [`Error::InvalidControl`], [`Error::NoSuchProcess`], [`Error::Database`].
pub async fn set_breaker(
    conn: &mut AsyncPgConnection,
    process: &Process,
    breaker: &Breaker,
) -> Result<Option<Breaker>, Error> {
    if let Some(problem) = breaker.problem() {
        return Err(invalid(process, problem));
    }
    check_known(conn, process).await?;
    let found = process_control::of(conn, process).await?;
    if breaker.counts_due() && found.workflow.is_none() && found.off_workflow.is_none() {
        return Err(invalid(
            process,
            "it has no workflow, so nobody knows how many machines need it at once: let the breaker count \
             failures only, or define a workflow first",
        ));
    }
    control(conn, process).await?;
    let per = breaker.per;
    let upsert = Upsert {
        process,
        per,
        max_due: breaker.max_due,
        thousandths: breaker.max_due_percent.map(|share| share.thousandths()),
        failures: breaker.max_failures.map(|failures| failures.count),
        window: breaker.max_failures.map(|failures| failures.window_seconds),
        resume_after: breaker.resume_after_seconds,
    };
    upsert.execute(conn).await?;
    CountSoon { process, per }.execute(conn).await?;
    let breakers = found.breakers.into_iter().map(|state| state.breaker);
    Ok(breakers.into_iter().find(|breaker| breaker.per == per))
}

/// Removes a breaker; returns it, or `None` if there was none. A pause that it has caused stays.
///
/// # Errors
/// [`Error::Database`].
pub async fn remove_breaker(
    conn: &mut AsyncPgConnection,
    process: &Process,
    per: Per,
) -> Result<Option<Breaker>, Error> {
    let found = process_control::of(conn, process).await?;
    let breakers = found.breakers.into_iter().map(|state| state.breaker);
    let before = breakers.into_iter().find(|breaker| breaker.per == per);
    if before.is_some() {
        Remove { process, per }.execute(conn).await?;
        uncontrol(conn, process).await?;
    }
    Ok(before)
}

/// Arms breakers again that a person has disarmed, where no more machines than allowed need the process.
///
/// # Errors
/// [`Error::Database`].
pub async fn rearm_breakers(conn: &mut AsyncPgConnection) -> Result<(), Error> {
    let _: Vec<i64> = Rearm {}.load(conn).await?;
    Ok(())
}
