//! Beginning and ending transactions, alone or in company.
//!
//! # Statements in company
//! What is sent without waiting for the answer to what was sent before costs no round trip of its own.
//! The server works on it in the order in which it comes, and two things see to that order. A `BEGIN`
//! is a simple message, which is sent when its future is first polled. Everything else goes through
//! the connection's cache of prepared statements, behind one fair lock that is held while a statement
//! is being prepared; so statements whose futures are polled in turn, by `futures_util`'s `join`, are
//! sent in turn, whichever of them have yet to be prepared. That is why `COMMIT` is a prepared
//! statement here. The tests look at what committed together, on connections that have prepared
//! nothing yet.
//!
//! A statement that is sent after one that fails still runs. After a `BEGIN` that failed it would run
//! by itself, so only statements that do no harm then may be in its company. After any other, the
//! server refuses it, and turns a `COMMIT` into a rollback.

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

/// The message that begins a transaction. What [`super::plan_once`] has set is set back in it.
fn begin_sql(isolation: Isolation, access: Access) -> String {
    let level = match isolation {
        Isolation::Serializable => "SERIALIZABLE",
        Isolation::RepeatableRead => "REPEATABLE READ",
        Isolation::ReadCommitted => "READ COMMITTED",
    };
    let access = match access {
        Access::ReadWrite => "",
        Access::ReadOnly => " READ ONLY",
    };
    let set_back = PLAN_ONCE.map(|(name, _)| format!("; SET LOCAL {name} TO DEFAULT"));
    format!("BEGIN ISOLATION LEVEL {level}{access}{}", set_back.concat())
}

/// Begins a transaction, known to the connection, so that a pool sees when it is left open.
///
/// # Errors
/// [`Error::Database`].
pub async fn begin(
    conn: &mut AsyncPgConnection,
    isolation: Isolation,
    access: Access,
) -> Result<(), Error> {
    let sql = begin_sql(isolation, access);
    Ok(AnsiTransactionManager::begin_transaction_sql(conn, &sql).await?)
}

/// Sets a savepoint in an open transaction: the next [`commit`] only lets it go, and the next
/// [`roll_back`] takes back only what came after it.
///
/// # Errors
/// [`Error::Database`].
pub async fn save(conn: &mut AsyncPgConnection) -> Result<(), Error> {
    Ok(<Manager as TransactionManager<AsyncPgConnection>>::begin_transaction(conn).await?)
}

/// Commits. When the connection breaks here, the outcome is not known.
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

/// Commits, in one round trip, and fails if an earlier statement has aborted the transaction: PostgreSQL
/// answers such a one's `COMMIT` with a rollback that looks like success.
///
/// # Errors
/// [`Error::Database`] with [`crate::ErrorKind::Aborted`], and everything is rolled back; otherwise as
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
/// then, even if the statement failed. It must be sure to be sent: were it refused on this side of the
/// connection, the commit would go without it.
///
/// # Errors
/// The statement's, and then everything is rolled back; otherwise as [`commit`].
pub(crate) async fn committing(
    conn: &mut AsyncPgConnection,
    last: impl AsyncFnOnce(&AsyncPgConnection) -> Result<(), Error>,
) -> Result<(), Error> {
    let commit = async |mut conn: &AsyncPgConnection| Commit {}.execute(&mut conn).await;
    let (done, committed) = join(last(&*conn), commit(&*conn)).await;
    let over = change_depth(conn, TransactionDepthChange::DecreaseDepth);
    done?;
    committed?;
    Ok(over?)
}

/// Begins a transaction and runs its first statements, in one round trip. Whatever they come to, the
/// transaction is open, unless it could not be begun; then they have run by themselves.
///
/// The connection counts as being in a transaction from before the `BEGIN` is sent, so that a pool
/// does not take it back when the future is dropped midway.
pub(crate) async fn beginning<T>(
    conn: &mut AsyncPgConnection,
    isolation: Isolation,
    access: Access,
    first: impl AsyncFnOnce(&AsyncPgConnection) -> Result<T, Error>,
) -> Result<T, Error> {
    if depth(conn)?.is_some() {
        return Err(diesel::result::Error::AlreadyInTransaction.into());
    }
    change_depth(conn, TransactionDepthChange::IncreaseDepth)?;
    let begin = async |mut conn: &AsyncPgConnection| {
        let sql = begin_sql(isolation, access);
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

/// Tells the connection that a transaction has begun or ended, which its own functions can only do
/// when they send the statement by itself.
fn change_depth(conn: &mut AsyncPgConnection, change: TransactionDepthChange) -> QueryResult<()> {
    match Manager::transaction_manager_status_mut(conn) {
        TransactionManagerStatus::Valid(status) => status.change_transaction_depth(change),
        TransactionManagerStatus::InError => Err(diesel::result::Error::BrokenTransactionManager),
    }
}
