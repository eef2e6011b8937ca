//! Commit: the writes of a control loop in the transaction that finishes its work.

use crate::db::tx::Tx;
use crate::error::TxError;
use bmdb_model::{AgentStarted, TagWrites};
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
pub struct Commit(Written);

#[derive(Clone)]
enum Written {
    Tags(Arc<TagWrites>),
    Closure(Arc<dyn Write>),
}

impl Commit {
    /// Writes nothing in this transaction. A machine that still needs the process, by what was written
    /// elsewhere too, rests before it is claimed again.
    pub fn unchanged() -> Self {
        Self::write(TagWrites::new())
    }

    /// Writes tags of the machine. Attempts that end at the same time share their statements
    /// ([`Work::complete_with`](crate::Work::complete_with)), which makes this much faster than
    /// [`Commit::tags`] when a loop processes many machines at once.
    ///
    /// ```
    /// # use bmdb_core::control_loop::Commit;
    /// # use bmdb_model::TagWrites;
    /// # fn example() -> Commit {
    /// Commit::write(TagWrites::new().hardware_report(b"32 cores"))
    /// # }
    /// ```
    ///
    /// Values that cannot be stored, and a provider id that another machine has, fail the work, with the error
    /// as cause.
    pub fn write(writes: TagWrites) -> Self {
        Self(Written::Tags(Arc::new(writes)))
    }

    /// Writes what this closure writes, in a transaction of its own: for tables of yours, and for what depends on
    /// what is read there. It **may run more than once**, each time in a new transaction, with a clone of its
    /// captured values; only one of them is committed.
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
        Self(Written::Closure(Arc::new(Closure(write))))
    }

    /// Writes the tag that the machine's agent was started.
    pub fn agent_started(started: AgentStarted) -> Self {
        Self::write(TagWrites::new().agent_started(started))
    }

    /// The closure, if it is one.
    pub(super) fn closure(&self) -> Option<&dyn Write> {
        match &self.0 {
            Written::Tags(_) => None,
            Written::Closure(closure) => Some(&**closure),
        }
    }

    /// The tags to write; none with a closure.
    pub(super) fn writes(&self) -> Arc<TagWrites> {
        match &self.0 {
            Written::Tags(writes) => writes.clone(),
            Written::Closure(_) => Arc::default(),
        }
    }
}

impl From<TagWrites> for Commit {
    fn from(writes: TagWrites) -> Self {
        Self::write(writes)
    }
}

impl std::fmt::Debug for Commit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_tuple(stringify!(Commit));
        match &self.0 {
            Written::Tags(writes) => debug.field(writes),
            Written::Closure(_) => debug.field(&format_args!("closure")),
        }
        .finish()
    }
}

/// What a transaction writes each time that it is run.
pub(super) trait Write: Send + Sync {
    fn write<'r>(&'r self, tx: &'r mut Tx<'_>) -> BoxFuture<'r, Result<(), TxError>>;
}

struct Closure<F>(F);

impl<F> Write for Closure<F>
where
    F: for<'r, 'c> TxFnOnce<&'r mut Tx<'c>, Result<(), TxError>, Fut: Send> + Clone + Send + Sync,
{
    fn write<'r>(&'r self, tx: &'r mut Tx<'_>) -> BoxFuture<'r, Result<(), TxError>> {
        let write = self.0.clone();
        Box::pin(async move { write(tx).await })
    }
}
