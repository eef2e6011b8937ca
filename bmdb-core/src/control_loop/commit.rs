//! Commit: the writes of a control loop in the transaction that finishes its work.

use crate::db::tx::Tx;
use crate::error::TxError;
use bmdb_model::{AgentStarted, MachineId};
use futures_util::future::BoxFuture;
use std::sync::Arc;

/// An async closure that can be sent between threads, as can its future, such as `async move |tx| …`.
pub trait TxFnOnce<A, R>: AsyncFnOnce(A) -> R + FnOnce(A) -> <Self as TxFnOnce<A, R>>::Fut {
    /// What the closure returns.
    type Fut: Future<Output = R>;
}

impl<F, A, Fut, R> TxFnOnce<A, R> for F
where
    F: AsyncFnOnce(A) -> R + FnOnce(A) -> Fut,
    Fut: Future<Output = R>,
{
    type Fut = Fut;
}

/// What was achieved on a machine. It is written in the transaction that ends the work as finished.
#[must_use = "a commit that is not returned is not written"]
#[derive(Clone)]
pub struct Commit(Option<Arc<dyn Write>>);

impl Commit {
    /// Writes nothing in this transaction. A machine that still needs the process, by what was written
    /// elsewhere too, rests before it is claimed again.
    pub fn unchanged() -> Self {
        Self(None)
    }

    /// Writes what this closure writes. It **may run more than once**, each time in a new transaction,
    /// with a clone of its captured values; only one of them is committed.
    ///
    /// ```
    /// # use bmdb_core::control_loop::{Commit, Machine};
    /// # fn example(machine: &Machine) -> Commit {
    /// let (id, report) = (machine.id, "32 cores".to_owned());
    /// Commit::tags(async move |tx| tx.set_hardware_report(id, report.as_bytes()).await)
    /// # }
    /// ```
    ///
    /// The transaction is that of [`Work::finish`](crate::Work::finish): the facts about the machine do
    /// not change while the closure runs. An error that a retry would not help, such as one of
    /// [`TxError::abort`], fails the work, with the error as cause.
    pub fn tags<F>(write: F) -> Self
    where
        F: for<'r, 'c> TxFnOnce<&'r mut Tx<'c>, Result<(), TxError>, Fut: Send>
            + Clone
            + Send
            + Sync
            + 'static,
    {
        Self(Some(Arc::new(Closure(write))))
    }

    /// Writes the tag that the machine's agent was started.
    pub fn agent_started(started: AgentStarted) -> Self {
        Self(Some(Arc::new(started)))
    }

    /// Whether the end needs a transaction, because it is not its only statement.
    pub(super) fn writes(&self) -> bool {
        self.0.is_some()
    }

    pub(super) async fn write(&self, tx: &mut Tx<'_>, machine: MachineId) -> Result<(), TxError> {
        match &self.0 {
            Some(write) => write.write(tx, machine).await,
            None => Ok(()),
        }
    }
}

impl std::fmt::Debug for Commit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct(stringify!(Commit))
            .field("writes", &self.writes())
            .finish()
    }
}

/// What a transaction writes each time that it is run.
trait Write: Send + Sync {
    fn write<'r>(
        &'r self,
        tx: &'r mut Tx<'_>,
        machine: MachineId,
    ) -> BoxFuture<'r, Result<(), TxError>>;
}

struct Closure<F>(F);

impl<F> Write for Closure<F>
where
    F: for<'r, 'c> TxFnOnce<&'r mut Tx<'c>, Result<(), TxError>, Fut: Send> + Clone + Send + Sync,
{
    fn write<'r>(&'r self, tx: &'r mut Tx<'_>, _: MachineId) -> BoxFuture<'r, Result<(), TxError>> {
        let write = self.0.clone();
        Box::pin(async move { write(tx).await })
    }
}

impl Write for AgentStarted {
    fn write<'r>(
        &'r self,
        tx: &'r mut Tx<'_>,
        machine: MachineId,
    ) -> BoxFuture<'r, Result<(), TxError>> {
        Box::pin(tx.set_agent_started(machine, self))
    }
}
