//! Work: a claimed machine and process, which outlives transactions and ends exactly once.

use crate::db::lease_clock::LeaseInstant;
use crate::db::transaction::TxOptions;
use crate::db::tx_fn::TxBody;
use crate::error::TxError;
use crate::session::attempt_end::AttemptEnd;
use crate::work::end_error::{EndError, FailureRecorded};
use crate::work::inner::SessionInner;
use crate::work::open_attempt::OpenAttempt;
use bmdb_backoff::{Backoff, Seconds};
use bmdb_model::internal::work::{Claimed, ProviderPause};
use bmdb_model::provided::UnreadableProvided;
use bmdb_model::work::RestCause;
use bmdb_model::{Fence, MachineId, Process, Provided, TagWrites};
use chrono::{DateTime, Utc};
use std::sync::Arc;
use std::time::Duration;
use tracing::Span;

/// A machine that a session has claimed for a process. It ends exactly once: with [`Work::finish`],
/// [`Work::fail`] or [`Work::cancel`]; one that is dropped is canceled in the background.
#[must_use = "work that is dropped is canceled"]
pub struct Work(OpenAttempt);

impl Work {
    pub(crate) fn new(session: Arc<SessionInner>, process: Process, claimed: Claimed) -> Self {
        Self(OpenAttempt::new(session, process, claimed))
    }

    pub(crate) fn into_attempt(self) -> OpenAttempt {
        self.0
    }

    /// The machine.
    #[must_use]
    pub fn machine(&self) -> MachineId {
        self.0.attempt.machine
    }

    /// The process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.0.attempt.process
    }

    /// The claim's number. Hand it to external systems, which should refuse smaller ones.
    #[must_use]
    pub fn fence(&self) -> Fence {
        self.0.attempt.fence
    }

    /// When the claim was made, by the database's clock.
    #[must_use]
    pub fn started_at(&self) -> DateTime<Utc> {
        self.0.attempt.started_at
    }

    /// The interval of the backoff before this attempt; `None` if the last attempt did not fail.
    #[must_use]
    pub fn previous_interval(&self) -> Option<Seconds> {
        self.0.previous_interval
    }

    /// How many times in a row the process has failed on this machine.
    #[must_use]
    pub fn failures(&self) -> i64 {
        self.0.failures
    }

    /// Where the machine comes from and how it is reached, as it was when the machine had been claimed: what the
    /// attempt before has written is there. `None` if no provider has the machine, and for claims without
    /// [`Claim::with_provided`](crate::Claim::with_provided).
    ///
    /// # Errors
    /// [`UnreadableProvided`]: a later release has written what this one does not know. This passes only with an
    /// update of this program, so fail the work.
    pub fn provided(&self) -> Result<Option<&Provided>, &UnreadableProvided> {
        self.0.provided.as_ref().map(Option::as_ref)
    }

    /// The span to act on the machine in. It carries the session, process, machine, fence, and the
    /// number of the attempt since the last success. It is at level info, and the ends of the work are
    /// inside.
    ///
    /// ```
    /// use tracing::Instrument;
    ///
    /// async fn reboot(work: &bmdb_core::Work) {
    ///     async { tracing::info!("rebooting") }.instrument(work.span()).await;
    /// }
    /// ```
    #[must_use]
    pub fn span(&self) -> Span {
        self.0.span.clone()
    }

    /// Resolves when the session's lease is lost. From then on another session may claim the machine,
    /// so stop acting on it. See [`Session::lost`](crate::Session::lost).
    ///
    /// Each poll looks at the clock. So a `select!` that asks this first never acts once more after the process
    /// was stopped, or the computer suspended, past the lease:
    ///
    /// ```
    /// # async fn next_command(_work: &bmdb_core::Work) {}
    /// async fn act(work: &bmdb_core::Work) {
    ///     loop {
    ///         tokio::select! {
    ///             biased;
    ///             () = work.lost() => return,
    ///             () = next_command(work) => {}
    ///         }
    ///     }
    /// }
    /// ```
    pub async fn lost(&self) {
        self.lost_at().await;
    }

    /// Like [`Work::lost`], with the time of the loss.
    pub(crate) async fn lost_at(&self) -> LeaseInstant {
        self.0.session.lease().lost().await
    }

    /// Ends the work as finished: what `body` writes and the end are committed in one transaction.
    /// Clears the process's backoff and failures on the machine.
    ///
    /// The machine is planned at the end of the transaction. If it is still due then, or has been finished
    /// three times in quick succession, it rests for an interval that grows
    /// ([`RestCause`](bmdb_model::work::RestCause)); not for a process without a workflow.
    ///
    /// The transaction is READ COMMITTED and touches the machine first, so the facts about this machine
    /// do not change while the closure runs; if the closure decides by facts about other machines, use
    /// [`Work::finish_with`]. The closure may run more than once. Three round trips in addition to
    /// those of the closure.
    ///
    /// Cancellation: after its future was dropped, the work is ended, or canceled in the background.
    ///
    /// # Errors
    /// [`EndError`] gives the work back unless it is lost; nothing of the closure is committed then,
    /// except possibly after [`TxError::CommitUnknown`] and [`TxError::ClosureEndedTransaction`]: a closure
    /// that sent `COMMIT` has ended the work, and there is none to give back. If the database does not answer:
    /// `CommitUnknown` if the end had been sent, else [`TxError::SessionExpired`], both as soon as the
    /// session is lost and without the work.
    pub async fn finish<T, F>(self, body: F) -> Result<T, EndError>
    where
        F: TxBody<T>,
        T: Send,
    {
        self.finish_with(TxOptions::read_committed(), body).await
    }

    /// As [`Work::finish`], with another isolation level or retry limit.
    ///
    /// # Errors
    /// As [`Work::finish`].
    pub async fn finish_with<T, F>(self, options: TxOptions, body: F) -> Result<T, EndError>
    where
        F: TxBody<T>,
        T: Send,
    {
        let finished = self
            .0
            .end_with(options, AttemptEnd::finished(Arc::default()), &body)
            .await;
        finished.map(|(value, _)| value)
    }

    /// Ends the work as finished without writing anything here: one transaction of two round trips. The
    /// machine is planned, so what was written elsewhere by SQL counts; if it is still due then, it rests,
    /// as after [`Work::finish`].
    ///
    /// The plan does not wait for another transaction that has the machine locked, which plans it at its own
    /// end, and a workflow's view that fails does not keep the work from ending: then the finish is judged by
    /// the plan that there is.
    ///
    /// # Errors
    /// As [`Work::finish`].
    pub async fn complete(self) -> Result<(), EndError> {
        self.complete_with(TagWrites::new()).await
    }

    /// Ends the work as finished, and writes tags of the machine, in one transaction. What to write is a value, so
    /// ends that come at the same time share their statements, one for each kind of tag: many at once cost a
    /// fraction of as many calls of [`Work::finish`]. For everything else that is written, use that one.
    ///
    /// Two round trips; none of them waits for others to end. If one of several ends fails, such as with a
    /// provider id that another machine has, each of them is tried alone.
    ///
    /// Cancellation: after its future was dropped, the work is ended with the writes, or canceled in the
    /// background.
    ///
    /// # Errors
    /// As [`Work::finish`]; those of [`TagWrites::check`] and [`bmdb_model::Error::ProviderIdTaken`]. Nothing is
    /// written then.
    pub async fn complete_with(self, writes: TagWrites) -> Result<(), EndError> {
        self.0.finish(Arc::new(writes)).await.map(drop)
    }

    /// [`Work::finish`], and why the machine rests now.
    pub(crate) async fn finish_judged<F>(self, body: F) -> Result<Option<RestCause>, EndError>
    where
        F: TxBody<()>,
    {
        let options = TxOptions::read_committed();
        let finished = self
            .0
            .end_with(options, AttemptEnd::finished(Arc::default()), &body)
            .await;
        finished.map(|((), rest)| rest.and_then(|rest| rest.cause))
    }

    /// [`Work::complete_with`], and why the machine rests now.
    pub(crate) async fn complete_judged(
        self,
        writes: Arc<TagWrites>,
    ) -> Result<Option<RestCause>, EndError> {
        let finished = self.0.finish(writes).await;
        finished.map(|rest| rest.and_then(|rest| rest.cause))
    }

    /// Ends the work as failed: the machine is backing off for the next interval of `backoff`, which is
    /// computed from the one before. One statement.
    ///
    /// Every `cause` is recorded: one longer than 8 KiB is cut with a mark, and what the database does not store
    /// is escaped.
    ///
    /// # Errors
    /// As [`Work::finish`].
    pub async fn fail(self, backoff: &Backoff, cause: &str) -> Result<FailureRecorded, EndError> {
        self.0.fail(backoff, cause).await
    }

    /// Ends the work as failed and puts the machine on hold, in one transaction: no process starts on it
    /// until an operator releases it, and then the backoff is in force. The hold's reason is the cause,
    /// unless an operator has put the machine on hold in the meantime.
    ///
    /// Five round trips.
    ///
    /// # Errors
    /// As [`Work::finish`].
    pub async fn fail_and_hold(
        self,
        backoff: &Backoff,
        cause: &str,
    ) -> Result<FailureRecorded, EndError> {
        self.0.fail_and_hold(backoff, cause).await
    }

    /// Gives the machine back as neither finished nor failed, as for a shutdown: the interval of an
    /// earlier backoff survives. One statement.
    ///
    /// # Errors
    /// As [`Work::finish`].
    pub async fn cancel(self) -> Result<(), EndError> {
        let end = AttemptEnd::Canceled(self.0.session.cancellation());
        self.0.end(end).await.map(drop)
    }

    /// As [`Work::cancel`], with a rest of at least this long, which the database keeps.
    pub(crate) async fn cancel_resting(self, rest: Duration) -> Result<(), EndError> {
        self.0.cancel_resting(rest).await
    }

    /// Gives the machine back for later, without a verdict: it may be claimed again after `rest`. Nothing is
    /// counted as a failure, and the interval of an earlier backoff survives. The history says that the
    /// attempt was canceled, and `snoozed`. One statement.
    ///
    /// `rest` is rounded up to milliseconds. Zero is [`Work::cancel`]; more than ten years are ten years.
    ///
    /// # Errors
    /// As [`Work::finish`].
    pub async fn snooze(self, rest: Duration) -> Result<(), EndError> {
        self.0.snooze(rest).await
    }

    /// Ends the work as failed and puts only this process on hold on the machine, in one transaction: others
    /// start there, and this one does after an operator has released it
    /// ([`Operator::release_process_hold`](crate::operator::Operator::release_process_hold)). The hold's
    /// reason is the cause, unless the process has been put on hold in the meantime.
    ///
    /// Five round trips.
    ///
    /// # Errors
    /// As [`Work::fail_and_hold`].
    pub async fn fail_and_hold_process(
        self,
        backoff: &Backoff,
        cause: &str,
    ) -> Result<FailureRecorded, EndError> {
        self.0.fail_and_hold_process(backoff, cause).await
    }

    /// Gives the machine back as [`Work::cancel`] does, and pauses the process on all machines of its
    /// provider for `time`, in one transaction: for a provider that refuses requests, such as with HTTP's
    /// 429. The pause has the cause as its reason, and this component's name as its author. Returns the pause
    /// in force; `None` if the machine has no provider, and if `time` is zero: then nothing is paused.
    ///
    /// A pause in force is only extended, and only if it was made like this: that of an operator or a breaker
    /// stays as it is. Attempts that run elsewhere go on. `time` is rounded up to milliseconds; more than ten
    /// years are ten years. Four round trips.
    ///
    /// # Errors
    /// As [`Work::finish`].
    pub async fn pause_provider(
        self,
        time: Duration,
        cause: &str,
    ) -> Result<Option<ProviderPause>, EndError> {
        self.0.pause_provider(time, cause).await
    }
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl EndError {
    /// The work, unless it is lost.
    #[must_use]
    pub fn into_work(self) -> Option<Work> {
        self.into_parts().1
    }

    /// The error and the work.
    #[must_use]
    pub fn into_parts(self) -> (TxError, Option<Work>) {
        (self.reason, self.attempt.map(|attempt| Work(*attempt)))
    }
}
