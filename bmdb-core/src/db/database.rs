//! The database as an operation uses it: checks out a connection, waits with a deadline, and returns or
//! closes the connection.

use crate::db::connect::Target;
use crate::db::deadline::{Deadline, LeaseWatch, silence};
use crate::db::home_runtime::HomeRuntime;
use crate::db::lease_clock::LeaseInstant;
use crate::db::pool::{Checkout, Connector};
use crate::db::retry::Retry;
use crate::db::tx_fn::{ConnBody, TxFn};
use crate::error::{ConnectError, TxError};
use crate::lock::lock;
use bmdb_model::ErrorKind;
use bmdb_model::connection::{Access, Isolation};
use bmdb_model::internal;
use bmdb_model::internal::notify::Notify;
use bmdb_model::internal::plan::Unplanned;
use deadpool::managed::{Pool, PoolError, TimeoutType, Timeouts};
use diesel_async::AsyncPgConnection;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// How long transactions are planned carefully after one has met a workflow that fails.
const CAREFUL_FOR: Duration = Duration::from_secs(60);

/// How a transaction plans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Planning {
    /// In one statement, with the commit. It fails if any workflow does.
    AtOnce,
    /// In several statements, without the workflows that fail.
    Careful,
}

/// How busy the pool is, in connections and operations.
pub(crate) struct Load {
    pub(crate) size: usize,
    pub(crate) in_use: usize,
    pub(crate) waiting: usize,
}

/// A database with a bounded number of connections. Clones share them.
#[derive(Clone)]
pub(crate) struct Database {
    connections: Pool<Connector>,
    pub(crate) home: HomeRuntime,
    statement_timeout: Duration,
    retry_for: Duration,
    /// Whether bmdb's own transactions notify pollers of machines that become due.
    pub(crate) notify: Notify,
    /// Until when transactions begin with careful planning, so that not each of them runs twice.
    careful_until: Arc<Mutex<Option<Instant>>>,
}

impl Database {
    /// At most `size` connections to the target. Transactions that lost against a concurrent one are
    /// retried for `retry_for`.
    pub(crate) fn new(
        home: HomeRuntime,
        target: Target,
        size: usize,
        retry_for: Duration,
        notify: Notify,
    ) -> Self {
        let (wait, statement_timeout) = (Some(target.pool_timeout()), target.statement_timeout());
        let timeouts = Timeouts {
            wait,
            // Connecting has limits of its own, for each address.
            create: None,
            recycle: wait,
        };
        let connections = Pool::builder(Connector(target))
            .max_size(size)
            .timeouts(timeouts)
            .runtime(deadpool::Runtime::Tokio1)
            .build()
            // Building fails only if timeouts are set and no runtime is.
            .unwrap_or_else(|error| unreachable!("a pool with a runtime: {error}"));
        Self {
            connections,
            home,
            statement_timeout,
            retry_for,
            notify,
            careful_until: Arc::default(),
        }
    }

    /// How the next transaction plans first.
    pub(crate) fn planning(&self) -> Planning {
        match *lock(&self.careful_until) {
            Some(until) if Instant::now() < until => Planning::Careful,
            _ => Planning::AtOnce,
        }
    }

    /// Notes and logs what a transaction could not plan.
    pub(crate) fn note_unplanned(&self, unplanned: &[Unplanned]) {
        if unplanned.is_empty() {
            return;
        }
        *lock(&self.careful_until) = Some(Instant::now() + CAREFUL_FOR);
        for Unplanned {
            broken, is_news, ..
        } in unplanned
        {
            // Each writer of the machine would log the same.
            if *is_news {
                tracing::warn!(process = %broken.process, machine = %broken.machine, "{broken}");
            }
        }
    }

    /// The deadline of an operation without a session.
    pub(crate) fn deadline(&self) -> Deadline {
        Deadline::of_server(self.statement_timeout)
    }

    /// The deadline of an operation of a session.
    pub(crate) fn session_deadline(&self, lease: Arc<dyn LeaseWatch>) -> Deadline {
        Deadline::of_session(self.statement_timeout, lease)
    }

    /// The deadline of closing a session whose lease runs out at `expiry`.
    pub(crate) fn closing_deadline(&self, expiry: LeaseInstant) -> Deadline {
        Deadline::of_closing(self.statement_timeout, expiry)
    }

    pub(crate) fn load(&self) -> Load {
        let status = self.connections.status();
        Load {
            size: status.max_size,
            in_use: status.size.saturating_sub(status.available),
            waiting: status.waiting,
        }
    }

    /// Closes idle connections; later operations make new ones.
    pub(crate) fn close_idle(&self) {
        self.connections.retain(|_, _| false);
    }

    /// Checks out a connection.
    pub(crate) async fn checkout(&self, deadline: &Deadline) -> Result<Checkout, TxError> {
        self.home.check().await?;
        tokio::select! {
            biased;
            () = deadline.passed() => {
                let silent = silence("no connection in time".to_owned());
                Err(deadline.explain(TxError::Unavailable(silent.into())))
            }
            connection = self.connections.get() => match connection {
                Ok(connection) => Ok(Checkout::new(connection)),
                Err(error) => Err(deadline.explain(self.unavailable(error))),
            },
        }
    }

    fn unavailable(&self, error: PoolError<ConnectError>) -> TxError {
        TxError::Unavailable(match error {
            PoolError::Timeout(TimeoutType::Wait) => format!(
                "none of the {} connections became free in time: raise the pool's size, and begin no \
                 operation inside of a transaction's closure, which would need a second one",
                self.connections.status().max_size
            )
            .into(),
            error => error.into(),
        })
    }

    /// Checks out a connection for the next try.
    pub(crate) async fn checkout_for(&self, retry: &Retry) -> Result<Checkout, TxError> {
        self.checkout(retry.deadline()).await
    }

    /// Runs an operation without a session on a connection, once. All of it may take as long as one answer.
    ///
    /// Cancellation: dropping the future closes the connection.
    pub(crate) async fn run<T>(
        &self,
        operation: impl for<'r> TxFn<&'r mut Checkout, Result<T, TxError>, Fut: Send>,
    ) -> Result<T, TxError> {
        self.run_by(&self.deadline(), operation).await
    }

    /// Like [`Database::run`], with another deadline.
    pub(crate) async fn run_by<T>(
        &self,
        deadline: &Deadline,
        operation: impl for<'r> TxFn<&'r mut Checkout, Result<T, TxError>, Fut: Send>,
    ) -> Result<T, TxError> {
        let mut conn = self.checkout(deadline).await?;
        let result = deadline.answer(operation(&mut conn)).await;
        conn.settle(result)
    }

    /// Like [`Database::run`], for one of several tries.
    pub(crate) async fn run_for<T>(
        &self,
        retry: &Retry,
        operation: impl for<'r> TxFn<&'r mut Checkout, Result<T, TxError>, Fut: Send>,
    ) -> Result<T, TxError> {
        let mut conn = self.checkout_for(retry).await?;
        let result = retry.deadline().answer(operation(&mut conn)).await;
        conn.settle(result)
    }

    /// Reads in a transaction that cannot write, and rolls it back.
    pub(crate) async fn read<T, F: ConnBody<T>>(
        &self,
        isolation: Isolation,
        body: &F,
    ) -> Result<T, TxError> {
        let deadline = self.deadline();
        let mut conn = self.checkout(&deadline).await?;
        let read = async {
            internal::connection::begin(&mut conn, isolation, Access::ReadOnly).await?;
            let watch = conn.watch().clone();
            let armed = watch.arm();
            let read = body(&mut conn).await;
            let read = armed.settle(read);
            // It has written nothing, so there is nothing to commit.
            internal::connection::roll_back(&mut conn).await?;
            read
        };
        let result = deadline.answer(read).await;
        conn.settle(result)
    }

    /// Runs a transaction that belongs to no session, and retries it if it lost against a concurrent one.
    ///
    /// READ COMMITTED: a body that needs more locks in one statement and reads in a later one, which sees
    /// what was committed while the lock was awaited. The whole transaction may take as long as one
    /// statement: these transactions are small.
    pub(crate) async fn transaction<T: Send, F: ConnBody<T>>(
        &self,
        body: &F,
    ) -> Result<T, TxError> {
        self.transaction_by(self.retry_for, self.deadline(), body)
            .await
    }

    /// Like [`Database::transaction`], with another limit and deadline.
    pub(crate) async fn transaction_by<T: Send, F: ConnBody<T>>(
        &self,
        retry_for: Duration,
        deadline: Deadline,
        body: &F,
    ) -> Result<T, TxError> {
        let mut retry = Retry::new(retry_for, deadline);
        let run_once = async |retry: &Retry| {
            let mut conn = self.checkout_for(retry).await?;
            let deadline = retry.deadline();
            let ran = async {
                internal::connection::begin(&mut conn, Isolation::ReadCommitted, Access::ReadWrite)
                    .await?;
                match body(&mut conn).await {
                    Ok(value) => {
                        internal::connection::commit(&mut conn).await?;
                        Ok(value)
                    }
                    Err(error) => Err(rolled_back(&mut conn, deadline, error).await),
                }
            };
            let result = deadline.answer(ran).await;
            conn.settle(result)
        };
        retry.run(run_once).await
    }
}

/// Rolls back after an error, and returns the error. After the loss of the connection there is nothing to
/// roll back.
pub(crate) async fn rolled_back(
    conn: &mut AsyncPgConnection,
    deadline: &Deadline,
    error: TxError,
) -> TxError {
    if error.kind() != Some(ErrorKind::ConnectionLost) {
        let rolled_back = deadline.answer(internal::connection::roll_back(conn));
        if rolled_back.await.is_err() {
            tracing::debug!("the connection broke before the rollback");
        }
    }
    error
}
