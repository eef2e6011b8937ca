//! What a control loop commits together with the end of its work.

use crate::db::tx::Tx;
use crate::error::TxError;
use bmdb_model::{AgentStarted, MachineId};
use futures_util::future::BoxFuture;
use std::sync::Arc;

/// An async closure that can be cloned and sent, as can its future; `async move |tx| …` is one.
pub trait TxFnOnce<A, R>: AsyncFnOnce(A) -> R + FnOnce(A) -> <Self as TxFnOnce<A, R>>::Fut {
    /// The closure's future.
    type Fut: Future<Output = R>;
}

impl<F, A, Fut, R> TxFnOnce<A, R> for F
where
    F: AsyncFnOnce(A) -> R + FnOnce(A) -> Fut,
    Fut: Future<Output = R>,
{
    type Fut = Fut;
}

/// What has been achieved on a machine, to be written in the transaction that ends the work as finished.
#[must_use = "what is not returned is not committed"]
#[derive(Clone)]
pub struct Commit(Option<Arc<dyn Write>>);

impl Commit {
    /// Nothing is to be written. A machine that still needs the process is claimed again at once.
    pub fn unchanged() -> Self {
        Self(None)
    }

    /// What this closure writes. It **may run more than once**, each time in a new transaction of which
    /// nothing was committed before, and gets a clone of what it has captured.
    ///
    /// ```
    /// # use bmdb_core::control_loop::{Commit, Machine};
    /// # fn example(machine: &Machine) -> Commit {
    /// let (id, report) = (machine.id, "32 cores".to_owned());
    /// Commit::tags(async move |tx| tx.set_hardware_report(id, report.as_bytes()).await)
    /// # }
    /// ```
    ///
    /// The transaction is that of [`Work::finish`](crate::Work::finish): everything about the machine
    /// is stable under the closure. An error that would come again fails the work, with the error as
    /// cause; [`TxError::abort`] is one.
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

    /// The tag that says that the machine's agent was started.
    pub fn agent_started(started: AgentStarted) -> Self {
        Self(Some(Arc::new(started)))
    }

    /// Whether the end needs a transaction with more than itself in it.
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

/// Something that can be written as often as the transaction is run.
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
