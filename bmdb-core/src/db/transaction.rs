//! Transactions: fence check, closure, planning, commit.

use crate::db::deadline::Patience;
use crate::db::pool::{Checkout, Pool};
use crate::db::retry::Retry;
use crate::error::TxError;
use bmdb_model::connection::{Access, Isolation};
use bmdb_model::internal::notify::Notify;
use bmdb_model::internal::plan::{self, Definitions};
use bmdb_model::internal::{connection, session};
use bmdb_model::{ErrorKind, MachineId, SessionId};
use diesel_async::AsyncPgConnection;
use std::collections::BTreeSet;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

/// How a transaction runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TxOptions {
    /// How strictly it is kept apart from others. Default: SERIALIZABLE.
    pub isolation: Isolation,
    /// Whether it may write. Default: yes. A read-only one cannot lock its session's row, so it may
    /// go on for a moment after the session has been removed.
    pub access: Access,
    /// For how long it is run again after losing against concurrent ones. Default:
    /// [`Config::retry_for`](crate::Config::retry_for).
    pub retry_for: Option<Duration>,
}

impl TxOptions {
    /// READ COMMITTED: each statement sees what was committed before it began. Enough for writing
    /// tags of a touched machine, and never run again for reads of others.
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

    /// The same, run again for this long at most.
    #[must_use]
    pub const fn retry_for(self, limit: Duration) -> Self {
        Self {
            retry_for: Some(limit),
            ..self
        }
    }
}

/// An async closure whose future can be sent between threads, for every lifetime of its argument.
///
/// Write `async |tx| …`: an `async move` closure with captures, and one that changes a captured
/// variable, do not satisfy it, because a transaction may run more than once.
pub trait TxFn<A, R>: AsyncFn(A) -> R + Fn(A) -> <Self as TxFn<A, R>>::Fut {
    /// The closure's future.
    type Fut: Future<Output = R>;
}

impl<F, A, Fut, R> TxFn<A, R> for F
where
    F: AsyncFn(A) -> R + Fn(A) -> Fut,
    Fut: Future<Output = R>,
{
    type Fut = Fut;
}

/// An open transaction of a session. It dereferences to the connection, so Diesel's queries and the
/// functions of [`bmdb_model`] take it as it is.
pub struct Tx<'c> {
    conn: &'c mut AsyncPgConnection,
    /// What is to be planned before the commit.
    touched: BTreeSet<MachineId>,
    /// What it is to be planned by, read after the last of them was locked.
    definitions: Option<Definitions>,
    notify: Notify,
}

impl<'c> Tx<'c> {
    fn new(conn: &'c mut Checkout) -> Self {
        Self {
            notify: conn.notify(),
            conn,
            touched: BTreeSet::new(),
            definitions: None,
        }
    }

    /// Locks a machine and bumps its version, once per transaction. Call it before tags are written
    /// by raw SQL; the methods of `Tx` do it themselves. Touched machines are planned before the
    /// commit.
    ///
    /// # Errors
    /// [`bmdb_model::Error::NoSuchMachine`], or the database's.
    pub async fn touch(&mut self, machine: MachineId) -> Result<(), TxError> {
        self.touch_all(&[machine]).await
    }

    /// Touches several machines in one statement, in the order that everybody locks them in.
    ///
    /// # Errors
    /// As [`Tx::touch`].
    pub async fn touch_all(&mut self, machines: &[MachineId]) -> Result<(), TxError> {
        let fresh: Vec<MachineId> = machines
            .iter()
            .copied()
            .filter(|id| !self.touched.contains(id))
            .collect();
        if !fresh.is_empty() {
            self.definitions = Some(plan::touch(self.conn, &fresh).await?);
            self.touched.extend(fresh);
        }
        Ok(())
    }

    /// A machine that this transaction made needs no lock, but a plan, by definitions as late as
    /// can be: nobody who changes them waits for a machine that is not there yet.
    pub(crate) fn made(&mut self, machines: impl IntoIterator<Item = MachineId>) {
        self.touched.extend(machines);
        self.definitions = None;
    }

    /// A machine that this transaction deleted needs no plan.
    pub(crate) fn unmade(&mut self, machine: MachineId) {
        self.touched.remove(&machine);
    }

    /// Whether planning notifies here.
    pub(crate) const fn notify(&self) -> Notify {
        self.notify
    }

    /// Reads what the machines are to be planned by, unless that is known already.
    async fn know_definitions(&mut self) -> Result<(), TxError> {
        if self.definitions.is_none() && !self.touched.is_empty() {
            self.definitions = Some(plan::definitions(self.conn).await?);
        }
        Ok(())
    }

    /// Plans what was touched, and commits. Without anything to plan, it still finds out whether the
    /// transaction was aborted by a failed statement whose error the closure swallowed.
    async fn conclude(self) -> Result<(), bmdb_model::Error> {
        match self.definitions {
            Some(definitions) if !self.touched.is_empty() => {
                let touched: Vec<MachineId> = self.touched.into_iter().collect();
                plan::replan_and_commit(self.conn, &touched, &definitions, self.notify).await
            }
            _ => connection::check_not_aborted_and_commit(self.conn).await,
        }
    }
}

impl Deref for Tx<'_> {
    type Target = AsyncPgConnection;

    fn deref(&self) -> &AsyncPgConnection {
        self.conn
    }
}

impl DerefMut for Tx<'_> {
    fn deref_mut(&mut self) -> &mut AsyncPgConnection {
        self.conn
    }
}

impl std::fmt::Debug for Tx<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tx")
            .field("touched", &self.touched)
            .finish_non_exhaustive()
    }
}

/// What came of one run of a session's transaction.
pub(crate) enum Ran<T> {
    /// It is committed.
    Committed(T),
    /// Its commit was sent and not answered.
    CommitUnknown(T, bmdb_model::Error),
    /// The session has expired; nothing was run.
    Expired,
}

/// How a session's transaction begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opening {
    pub(crate) options: TxOptions,
    /// A machine that is touched on the way, before the closure runs.
    pub(crate) touch: Option<MachineId>,
}

impl From<TxOptions> for Opening {
    fn from(options: TxOptions) -> Self {
        Self {
            options,
            touch: None,
        }
    }
}

/// Runs a transaction of a session, again where it lost against a concurrent one.
pub(crate) async fn run<T, F>(
    pool: &Pool,
    session: SessionId,
    opening: Opening,
    retry: &mut Retry,
    body: &F,
) -> Result<Ran<T>, TxError>
where
    F: for<'r, 'c> TxFn<&'r mut Tx<'c>, Result<T, TxError>, Fut: Send> + Sync,
    T: Send,
{
    loop {
        let mut conn = retry.checkout(pool).await?;
        match run_once(&mut conn, session, opening, retry.patience(), body).await {
            Ok(ran @ Ran::CommitUnknown(..)) => return Ok(ran),
            Ok(ran) => {
                conn.give_back();
                return Ok(ran);
            }
            Err(error) => {
                conn.give_back_after(&error);
                retry.after(error).await?;
            }
        }
    }
}

/// Runs a transaction of a session once: fence check, closure, plan, commit. The closure is dropped when
/// the session is lost.
pub(crate) async fn run_once<T, F>(
    conn: &mut Checkout,
    session: SessionId,
    opening: Opening,
    patience: &Patience,
    body: &F,
) -> Result<Ran<T>, TxError>
where
    F: for<'r, 'c> TxFn<&'r mut Tx<'c>, Result<T, TxError>, Fut: Send> + Sync,
    T: Send,
{
    let mut tx = Tx::new(conn);
    let begun = patience.answers(fenced(&mut tx, session, opening, body));
    match begun.await {
        Ok(Some(value)) => match patience.answer(tx.conclude()).await {
            Ok(()) => Ok(Ran::Committed(value)),
            Err(error) if error.kind() == ErrorKind::ConnectionLost => {
                Ok(Ran::CommitUnknown(value, error))
            }
            Err(error) => Err(error.into()),
        },
        Ok(None) => {
            patience.answer(connection::roll_back(tx.conn)).await?;
            Ok(Ran::Expired)
        }
        Err(error) => Err(rolled_back(tx.conn, patience, error).await),
    }
}

/// Begin, fence check and closure; `None` when the session has expired. An expiry that the closure
/// reports is the closure's error: it may be another session's.
async fn fenced<T, F>(
    tx: &mut Tx<'_>,
    session: SessionId,
    Opening { options, touch }: Opening,
    body: &F,
) -> Result<Option<T>, TxError>
where
    F: for<'r, 'c> TxFn<&'r mut Tx<'c>, Result<T, TxError>, Fut: Send> + Sync,
{
    let TxOptions {
        isolation, access, ..
    } = options;
    let alive = match touch {
        None => session::begin_fenced(tx.conn, isolation, access, session).await?,
        Some(machine) => {
            let begun =
                session::begin_fenced_touching(tx.conn, isolation, session, &[machine]).await?;
            tx.touched.insert(machine);
            tx.definitions = begun;
            tx.definitions.is_some()
        }
    };
    if !alive {
        return Ok(None);
    }
    let value = body(tx).await?;
    tx.know_definitions().await?;
    Ok(Some(value))
}

/// Runs a transaction that belongs to no session, again where it lost against a concurrent one.
///
/// READ COMMITTED: those who need it lock in one statement and read in a later one, which sees what
/// was committed while the lock was waited for. All of it takes no longer than the server may take over
/// one statement: these transactions are small.
pub(crate) async fn run_unfenced<T, F>(
    pool: &Pool,
    retry_for: Duration,
    body: &F,
) -> Result<T, TxError>
where
    F: for<'r> TxFn<&'r mut AsyncPgConnection, Result<T, TxError>, Fut: Send> + Sync,
{
    let retry = Retry::new(retry_for, Patience::of_server(pool));
    run_unfenced_by(pool, retry, body).await
}

/// As [`run_unfenced`], with a patience of one's own.
pub(crate) async fn run_unfenced_by<T, F>(
    pool: &Pool,
    mut retry: Retry,
    body: &F,
) -> Result<T, TxError>
where
    F: for<'r> TxFn<&'r mut AsyncPgConnection, Result<T, TxError>, Fut: Send> + Sync,
{
    loop {
        let mut conn = retry.checkout(pool).await?;
        let patience = retry.patience();
        let ran = async {
            connection::begin(&mut conn, Isolation::ReadCommitted, Access::ReadWrite).await?;
            match body(&mut conn).await {
                Ok(value) => {
                    connection::commit(&mut conn).await?;
                    Ok(value)
                }
                Err(error) => Err(rolled_back(&mut conn, patience, error).await),
            }
        };
        match patience.answer(ran).await {
            Ok(value) => {
                conn.give_back();
                return Ok(value);
            }
            Err(error) => {
                conn.give_back_after(&error);
                retry.after(error).await?;
            }
        }
    }
}

/// After the loss of the connection there is nothing to roll back, or nobody who would answer.
async fn rolled_back(conn: &mut AsyncPgConnection, patience: &Patience, error: TxError) -> TxError {
    if error.kind() != Some(ErrorKind::ConnectionLost) {
        let rolled_back = patience.answer(connection::roll_back(conn));
        if rolled_back.await.is_err() {
            tracing::debug!("the connection broke before the rollback");
        }
    }
    error
}
