//! Transactions of a session: fence check, closure, planning, commit.

use crate::db::database::{Database, Planning, rolled_back};
use crate::db::deadline::Deadline;
use crate::db::pool::Checkout;
use crate::db::retry::Retry;
use crate::db::tx::Tx;
use crate::db::tx_fn::TxBody;
use crate::error::TxError;
use bmdb_model::connection::{Access, Isolation};
use bmdb_model::internal;
use bmdb_model::internal::plan::may_be_a_views_fault;
use bmdb_model::{ErrorKind, MachineId, SessionId};
use diesel::connection::CacheSize;
use diesel_async::AsyncConnection;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::time::Duration;

/// How a transaction runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TxOptions {
    /// The isolation level. Default: SERIALIZABLE.
    pub isolation: Isolation,
    /// Whether the transaction may write. Default: yes. A read-only transaction cannot lock its session's
    /// row, so it may continue for a moment after the session was removed.
    pub access: Access,
    /// For how long it is retried after losing against concurrent transactions. Default:
    /// [`Config::retry_for`](crate::Config::retry_for).
    pub retry_for: Option<Duration>,
}

impl TxOptions {
    /// READ COMMITTED: each statement sees what was committed before it began. Enough for writing tags of
    /// a touched machine; reads of other machines never cause a retry.
    #[must_use]
    pub const fn read_committed() -> Self {
        Self {
            isolation: Isolation::ReadCommitted,
            access: Access::ReadWrite,
            retry_for: None,
        }
    }

    /// A read-only snapshot.
    #[must_use]
    pub const fn read_only() -> Self {
        Self {
            isolation: Isolation::Serializable,
            access: Access::ReadOnly,
            retry_for: None,
        }
    }

    /// The same, retried for this long at most.
    #[must_use]
    pub const fn retry_for(self, limit: Duration) -> Self {
        Self {
            retry_for: Some(limit),
            ..self
        }
    }
}

/// The result of a session's transaction.
pub(crate) enum TxOutcome<T> {
    Committed(T),
    /// The commit was sent, and its answer was lost.
    CommitUnknown(T, bmdb_model::Error),
    /// The session has expired; nothing was run.
    Expired,
}

impl<T> TxOutcome<T> {
    /// The value if it was committed, or else the error.
    pub(crate) fn committed(self) -> Result<T, TxError> {
        match self {
            Self::Committed(value) => Ok(value),
            Self::CommitUnknown(_, error) => Err(TxError::CommitUnknown(error)),
            Self::Expired => Err(TxError::SessionExpired),
        }
    }
}

/// How a session's transaction begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TxStart {
    pub(crate) options: TxOptions,
    /// A machine to touch in the same round trip, before the closure runs.
    pub(crate) touch: Option<MachineId>,
}

impl From<TxOptions> for TxStart {
    fn from(options: TxOptions) -> Self {
        Self {
            options,
            touch: None,
        }
    }
}

/// Runs a transaction of a session, and retries it if it lost against a concurrent one.
pub(crate) async fn run<T: Send, F: TxBody<T>>(
    database: &Database,
    session: SessionId,
    start: TxStart,
    retry: &mut Retry,
    body: &F,
) -> Result<TxOutcome<T>, TxError> {
    let run_once = async |retry: &Retry| {
        let mut conn = database.checkout_for(retry).await?;
        let deadline = retry.deadline();
        match run_once(database, &mut conn, session, start, deadline, body).await {
            // Its connection is closed.
            Ok(unknown @ TxOutcome::CommitUnknown(..)) => Ok(unknown),
            result => conn.settle(result),
        }
    };
    retry.run(run_once).await
}

/// Runs a transaction of a session once: fence check, closure, plan, commit. If a workflow makes planning
/// fail, the transaction is run again at once and planned without it. The closure is dropped when the
/// session is lost.
pub(crate) async fn run_once<T: Send, F: TxBody<T>>(
    database: &Database,
    conn: &mut Checkout,
    session: SessionId,
    start: TxStart,
    deadline: &Deadline,
    body: &F,
) -> Result<TxOutcome<T>, TxError> {
    let mut planning = database.planning();
    loop {
        let mut tx = Tx::new(conn);
        let begun = deadline.wait_for(begin_and_run(&mut tx, session, start, body));
        let value = match begun.await {
            Ok(Some(value)) => value,
            Ok(None) => {
                deadline
                    .answer(internal::connection::roll_back(tx.conn))
                    .await?;
                return Ok(TxOutcome::Expired);
            }
            Err(error) => {
                let touched = tx.touched();
                return Err(failed(conn, session, touched, deadline, error).await);
            }
        };
        let has_touched = tx.has_touched();
        let committed = match planning {
            Planning::AtOnce => deadline.answer(tx.plan_and_commit()).await,
            Planning::Careful => {
                match deadline.answer(tx.plan_carefully()).await {
                    Ok(unplanned) => database.note_unplanned(&unplanned),
                    Err(error) => return Err(rolled_back(tx.conn, deadline, error.into()).await),
                }
                deadline.answer(tx.commit_planned()).await
            }
        };
        match committed {
            Ok(()) => return Ok(TxOutcome::Committed(value)),
            Err(error) if error.kind() == ErrorKind::ConnectionLost => {
                return Ok(TxOutcome::CommitUnknown(value, error));
            }
            // It was rolled back.
            Err(error)
                if planning == Planning::AtOnce && has_touched && may_be_a_views_fault(&error) =>
            {
                tracing::debug!(%error, "planning failed, so the transaction is planned carefully");
                planning = Planning::Careful;
            }
            Err(error) => {
                if error.kind() == ErrorKind::Serialization {
                    conn.known_definitions().forget();
                }
                return Err(error.into());
            }
        }
    }
}

/// Rolls back after an error, and returns the error. Machines that the closure touched are planned if it ended
/// the transaction by itself, because it may have committed their tags.
///
/// Boxed: it is rare, and every transaction's future would contain it, also those of transactions inside of
/// closures, which need their stack.
fn failed<'a>(
    conn: &'a mut Checkout,
    session: SessionId,
    touched: Vec<MachineId>,
    deadline: &'a Deadline,
    error: TxError,
) -> BoxFuture<'a, TxError> {
    let failed = async move {
        let error = rolled_back(conn, deadline, error).await;
        if matches!(error, TxError::ClosureEndedTransaction { .. }) && !touched.is_empty() {
            let planned = plan_committed(conn, session, &touched);
            if let Err(error) = deadline.answer(planned).await {
                tracing::debug!(%error, "what a closure committed is left to the next replan");
            }
        }
        error
    };
    failed.boxed()
}

/// Plans machines whose tags a closure may have committed. Fails if some of them do not exist, because the
/// closure rolled back what created them.
async fn plan_committed(
    conn: &mut Checkout,
    session: SessionId,
    machines: &[MachineId],
) -> Result<(), bmdb_model::Error> {
    let notify = conn.notify();
    let isolation = Isolation::ReadCommitted;
    let begun = internal::session::begin_fenced_touching(conn, isolation, session, machines);
    match begun.await? {
        Some(version) => {
            let definitions = conn.known_definitions().clone().of(conn, version).await?;
            internal::plan::replan_and_commit(conn, machines, &definitions, notify).await
        }
        None => internal::connection::roll_back(conn).await,
    }
}

/// Begin, fence check and closure; `None` if the session has expired. An expiry reported by the closure
/// is the closure's error: it may concern another session.
async fn begin_and_run<T, F: TxBody<T>>(
    tx: &mut Tx<'_>,
    session: SessionId,
    TxStart { options, touch }: TxStart,
    body: &F,
) -> Result<Option<T>, TxError> {
    let TxOptions {
        isolation, access, ..
    } = options;
    let version = match touch {
        None => internal::session::begin_fenced(tx.conn, isolation, access, session).await?,
        Some(machine) => {
            let touch = [machine];
            internal::session::begin_fenced_touching(tx.conn, isolation, session, &touch).await?
        }
    };
    let Some(version) = version else {
        return Ok(None);
    };
    tx.begun(version, touch);
    tx.read_definitions().await?;
    let watch = tx.watch();
    let armed = watch.arm();
    let result = body(tx).await;
    let value = armed.settle(result)?;
    if watch.is_changed() {
        // The closure may have deallocated the prepared statements. The connection is closed afterwards.
        tx.conn
            .set_prepared_statement_cache_size(CacheSize::Disabled);
    }
    tx.read_definitions().await?;
    Ok(Some(value))
}
