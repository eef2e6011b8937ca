//! Trimming the history.

use crate::history::Retention;
use crate::statement::statement;
use crate::{Error, MachineId};
use diesel::sql_types::{BigInt, Bool, Nullable, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// The result of [`trim`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trimmed {
    /// How many rows were deleted.
    pub rows: u64,
    /// The machine after which to continue. It is the one of this call if the same machines have more
    /// to delete.
    pub after: Option<MachineId>,
    /// Whether this was the end of the history.
    pub over: bool,
}

statement! {
    Trim = concat!(include_str!("../sql/history_surplus.sql"), include_str!("../sql/trim_history.sql"));
    (after: Option<MachineId> => Nullable<SqlUuid>, rows: i64 => BigInt, per_machine: i64 => BigInt, seconds: i64 => BigInt)
    -> (Nullable<SqlUuid>, Bool, Bool, BigInt)
}

/// Deletes attempts beyond the retention of the next machines after `after`, in id order: of the
/// machines to which the next `rows` rows of history belong, and at most `rows` rows. If these machines
/// have more to delete, call it again for the same ones.
///
/// # Errors
/// [`Error::Database`].
pub async fn trim(
    conn: &mut AsyncPgConnection,
    retention: Retention,
    after: Option<MachineId>,
    rows: u32,
) -> Result<Trimmed, Error> {
    let trim = Trim {
        after,
        rows: rows.into(),
        per_machine: retention.attempts_per_machine.into(),
        seconds: retention.seconds.into(),
    };
    let (last, is_last, is_more, deleted): (Option<MachineId>, bool, bool, i64) =
        trim.get_result(conn).await?;
    Ok(Trimmed {
        rows: deleted.unsigned_abs(),
        after: if is_more { after } else { last },
        over: is_last && !is_more,
    })
}

statement! {
    CountSurplus = concat!(include_str!("../sql/history_surplus.sql"), "SELECT count(*) FROM surplus");
    (after: Option<MachineId> => Nullable<SqlUuid>, rows: i64 => BigInt, per_machine: i64 => BigInt, seconds: i64 => BigInt)
    -> BigInt
}

/// Counts the rows that [`trim`] would delete now. `None` for `rows` counts in the whole history, and
/// reads it.
///
/// # Errors
/// [`Error::Database`].
pub async fn surplus(
    conn: &mut AsyncPgConnection,
    retention: Retention,
    after: Option<MachineId>,
    rows: Option<u32>,
) -> Result<u64, Error> {
    let count = CountSurplus {
        after,
        // One less than the maximum, because the statement reads one row more.
        rows: rows.map_or(i64::MAX - 1, i64::from),
        per_machine: retention.attempts_per_machine.into(),
        seconds: retention.seconds.into(),
    };
    let found: i64 = count.get_result(conn).await?;
    let most = rows.map_or(u64::MAX, u64::from);
    Ok(found.unsigned_abs().min(most))
}
