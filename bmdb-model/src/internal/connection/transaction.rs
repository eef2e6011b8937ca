//! Beginning and ending transactions, with separate or pipelined statements.
//!
//! # Pipelined statements
//! A statement that is sent without waiting for the answer to the previous one costs no round trip of
//! its own. The server processes statements in the order in which they arrive, and two facts fix that
//! order. A `BEGIN` is a simple message, which is sent when its future is first polled. All other
//! statements go through the connection's cache of prepared statements, behind one fair lock that is
//! held while a statement is prepared. So statements whose futures are polled in turn, by
//! `futures_util`'s `join`, are sent in turn, no matter which of them have to be prepared first. That
//! is why `COMMIT` is a prepared statement here. The tests check what was committed together, on
//! connections that have prepared nothing yet.
//!
//! A statement that is sent after a failed one still runs. After a `BEGIN` that failed it would run on
//! its own, so only statements that are harmless then may be pipelined with it. After any other failure
//! the server refuses the statement, and turns a `COMMIT` into a rollback.

use super::PLAN_ONCE;
use crate::Error;
use crate::connection::{Access, Isolation};
use crate::statement::statement;
use diesel::QueryResult;
use diesel::connection::{TransactionDepthChange, TransactionManagerStatus};
use diesel::sql_types::Integer;
use diesel_async::{
    AnsiTransactionManager, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection,
    TransactionManager,
};
use futures_util::future::join;
use std::num::NonZeroU32;

type Manager = AnsiTransactionManager;

/// How the server plans the statements of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlanSettings {
    /// As it does by default: for statements of a caller's.
    Default,
    /// Once ([`super::plan_once`]): for a transaction of this crate's statements only.
    Kept,
}

/// The message that begins a transaction.
fn begin_sql(settings: PlanSettings, isolation: Isolation, access: Access) -> String {
    let level = match isolation {
        Isolation::Serializable => "SERIALIZABLE",
        Isolation::RepeatableRead => "REPEATABLE READ",
        Isolation::ReadCommitted => "READ COMMITTED",
    };
    let access = match access {
        Access::ReadWrite => "",
        Access::ReadOnly => " READ ONLY",
    };
    let set_back = match settings {
        PlanSettings::Default => {
            PLAN_ONCE.map(|(name, _)| format!("; SET LOCAL {name} TO DEFAULT"))
        }
        PlanSettings::Kept => Default::default(),
    };
    format!("BEGIN ISOLATION LEVEL {level}{access}{}", set_back.concat())
}

/// Begins a transaction and records that in the connection, so that a pool notices when it is left
/// open.
///
/// # Errors
/// [`Error::Database`].
pub async fn begin(
    conn: &mut AsyncPgConnection,
    isolation: Isolation,
    access: Access,
) -> Result<(), Error> {
    let sql = begin_sql(PlanSettings::Default, isolation, access);
    Ok(AnsiTransactionManager::begin_transaction_sql(conn, &sql).await?)
}

/// Sets a savepoint in an open transaction: the next [`commit`] only releases it, and the next
/// [`roll_back`] undoes only what came after it.
///
/// # Errors
/// [`Error::Database`].
pub async fn save(conn: &mut AsyncPgConnection) -> Result<(), Error> {
    Ok(<Manager as TransactionManager<AsyncPgConnection>>::begin_transaction(conn).await?)
}

/// Runs a part of an open transaction. If it fails, only the part is undone, and its error is the inner
/// one. The savepoint is gone afterwards, so any number of parts may follow each other.
///
/// # Errors
/// [`Error::Database`], also if the transaction had been aborted before.
pub async fn attempt<T>(
    conn: &mut AsyncPgConnection,
    part: impl AsyncFnOnce(&mut AsyncPgConnection) -> Result<T, Error>,
) -> Result<Result<T, Error>, Error> {
    conn.batch_execute("SAVEPOINT bmdb_part").await?;
    let done = part(conn).await;
    let end = match done {
        Ok(_) => "RELEASE SAVEPOINT bmdb_part",
        Err(_) => "ROLLBACK TO SAVEPOINT bmdb_part; RELEASE SAVEPOINT bmdb_part",
    };
    // Fails if the connection is lost.
    conn.batch_execute(end).await?;
    Ok(done)
}

/// Commits. If the connection breaks here, the outcome is unknown.
///
/// # Errors
/// [`Error::Database`].
pub async fn commit(conn: &mut AsyncPgConnection) -> Result<(), Error> {
    Ok(
        <AnsiTransactionManager as TransactionManager<AsyncPgConnection>>::commit_transaction(conn)
            .await?,
    )
}

/// Rolls back.
///
/// # Errors
/// [`Error::Database`].
pub async fn roll_back(conn: &mut AsyncPgConnection) -> Result<(), Error> {
    Ok(
        <AnsiTransactionManager as TransactionManager<AsyncPgConnection>>::rollback_transaction(
            conn,
        )
        .await?,
    )
}

statement! {
    NotAborted = "SELECT 1";
    () -> Integer
}

/// Commits in one round trip, and fails if an earlier statement has aborted the transaction: PostgreSQL
/// answers the `COMMIT` of an aborted transaction with a rollback that looks like success.
///
/// # Errors
/// [`Error::Database`] with [`crate::ErrorKind::Aborted`] when everything was rolled back; otherwise as
/// [`commit`].
pub async fn check_not_aborted_and_commit(conn: &mut AsyncPgConnection) -> Result<(), Error> {
    let check = async |mut conn: &AsyncPgConnection| {
        let _one: i32 = NotAborted {}.get_result(&mut conn).await?;
        Ok(())
    };
    committing(conn, check).await
}

statement! {
    Commit = "COMMIT";
    () -> ()
}

/// Runs the last statement of a transaction and commits, in one round trip. The transaction is over
/// then, even if the statement failed. The statement must not fail before it is sent: the commit would
/// go without it.
///
/// # Errors
/// The statement's, and then everything was rolled back; otherwise as [`commit`].
pub(crate) async fn committing<T>(
    conn: &mut AsyncPgConnection,
    last: impl AsyncFnOnce(&AsyncPgConnection) -> Result<T, Error>,
) -> Result<T, Error> {
    let commit = async |mut conn: &AsyncPgConnection| Commit {}.execute(&mut conn).await;
    let (done, committed) = join(last(&*conn), commit(&*conn)).await;
    let over = change_depth(conn, TransactionDepthChange::DecreaseDepth);
    let value = done?;
    committed?;
    over?;
    Ok(value)
}

/// Begins a transaction and runs its first statements, in one round trip. Whatever they return, the
/// transaction is open, unless it could not be begun; then they have run on their own.
///
/// The connection counts as being in a transaction before the `BEGIN` is sent, so that a pool does not
/// take it back when the future is dropped midway.
pub(crate) async fn beginning<T>(
    conn: &mut AsyncPgConnection,
    settings: PlanSettings,
    (isolation, access): (Isolation, Access),
    first: impl AsyncFnOnce(&AsyncPgConnection) -> Result<T, Error>,
) -> Result<T, Error> {
    if depth(conn)?.is_some() {
        return Err(diesel::result::Error::AlreadyInTransaction.into());
    }
    change_depth(conn, TransactionDepthChange::IncreaseDepth)?;
    let begin = async |mut conn: &AsyncPgConnection| {
        let sql = begin_sql(settings, isolation, access);
        conn.batch_execute(&sql).await
    };
    let (begun, first) = join(begin(&*conn), first(&*conn)).await;
    if let Err(error) = begun {
        change_depth(conn, TransactionDepthChange::DecreaseDepth)?;
        return Err(error.into());
    }
    first
}

fn depth(conn: &mut AsyncPgConnection) -> QueryResult<Option<NonZeroU32>> {
    Manager::transaction_manager_status_mut(conn).transaction_depth()
}

/// Records in the connection that a transaction has begun or ended. Its own functions do that only when
/// they send the statement alone.
fn change_depth(conn: &mut AsyncPgConnection, change: TransactionDepthChange) -> QueryResult<()> {
    match Manager::transaction_manager_status_mut(conn) {
        TransactionManagerStatus::Valid(status) => status.change_transaction_depth(change),
        TransactionManagerStatus::InError => Err(diesel::result::Error::BrokenTransactionManager),
    }
}
